//! Who forks the chain or contradicts itself is punished, whoever mints when it is found out.

use crate::desk::Desk;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::{Final, Prepared, Value};
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::Staker;
use dynemix_engine::committee::statement::{Certificate, Conflict, Evidence, SeatSet, Statement, StatementKind};
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Records of a kind that were sent since so many actions: to whom.
fn told(desk: &Desk, since: usize, is: fn(&Record) -> bool) -> Vec<u32> {
    let of_kind = |action: &Action| match action {
        Action::Send(whom, Message::Item(item)) => Record::of_item(item).filter(is).map(|_| *whom),
        _ => None,
    };
    desk.said[since..].iter().filter_map(of_kind).collect()
}

/// Makes the pending height final, with no shard-block.
fn finish(desk: &mut Desk, attempt: u64) {
    let value = desk.minter.execution.value(&[None]);
    let (decided, from) = (desk.certified(value, attempt), desk.others()[0].1);
    let height = desk.minter.pending_height();
    desk.hear(from, Message::Final(decided, Vec::new()));
    assert_eq!(desk.minter.pending_height(), height + 1);
    desk.committee = desk.minter.master().committee.clone();
}

#[test]
fn each_committee_is_told_what_no_block_has_taken() {
    let mut desk = Desk::in_round();
    let liar = desk.others()[0].1;
    for hash in [[7; 32], [8; 32]] {
        let message = ShardMessage::Vote(hash, desk.signed(liar, StatementKind::ShardVote, 1, hash));
        desk.hear(liar, Message::Shard { height: 1, slot: 1, shard: 0, message });
    }
    let is_fraud = |record: &Record| matches!(record, Record::Fraud(_));
    assert_eq!(told(&desk, 0, is_fraud).len(), desk.others().len(), "the committee that it was seen in");
    for attempt in [2, 4, 6] {
        let since = desk.said.len();
        finish(&mut desk, attempt);
        let mut members: Vec<u32> = desk.committee.members.iter().map(|member| member.candidate).collect();
        members.retain(|&member| member != desk.me);
        assert_eq!(told(&desk, since, is_fraud), members, "and each that mints while it may be punished");
    }
}

#[test]
fn who_has_no_seat_and_had_none_tells_a_few_and_the_weightiest_first() {
    let first = Desk::new(SignedOnce::default(), 0);
    let (stranger, others) = (first.stranger(), first.others());
    let mut desk = Desk::of(stranger, SignedOnce::default(), 0);
    let fraud = |candidate: u32, number: u64| {
        let said = |hash| (hash, 0, desk.signed(candidate, StatementKind::Second, number, hash));
        let statements = [said([1; 32]), said([2; 32])];
        let evidence = Evidence::of_two(candidate, StatementKind::Second, 1, number, 0, statements);
        Record::Fraud(Box::new(evidence)).item()
    };
    let frauds: Vec<_> = (0..70).map(|number| fraud(others[0].1, number)).collect();
    let of_more = fraud(others[1].1, 1);
    let conflict = {
        let certified = |hash: u8| {
            let (kind, hash) = (StatementKind::Second, [hash; 32]);
            let statement = Statement { kind, height: 1, number: 2, shard: 0, justified_by: 0, hash };
            let mut signers = SeatSet::default();
            signers.insert(2);
            (statement, Certificate { signers, aggregate: [0; 48] })
        };
        Record::Conflict(Box::new(Conflict::of_certificates([certified(1), certified(2)]).unwrap())).item()
    };
    let system = &mut desk.minter.execution.system;
    let stakes =
        [others[1].1, others[2].1].map(|candidate| (candidate, system.stakers.get(&candidate).unwrap().clone()));
    let [(one, more), (other, less)] = stakes;
    system.stakers.insert(one, Staker { stake: more.stake + 1, ..more });
    system.stakers.insert(other, Staker { stake: less.stake - 1, ..less });
    desk.minter.execution.records.extend(frauds.into_iter().chain([of_more.clone(), conflict.clone()]));
    finish(&mut desk, 2);
    let mut told: Vec<(Hash, u32)> = Vec::new();
    for action in &desk.said {
        if let Action::Send(whom, Message::Item(item)) = action
            && matches!(Record::of_item(item), Some(Record::Fraud(_) | Record::Conflict(_)))
        {
            told.push((item.id(), *whom));
        }
    }
    assert!(told[0].0 == conflict.id(), "who signed certificates first");
    let next = told.iter().map(|told| told.0).find(|id| *id != conflict.id());
    assert_eq!(next, Some(of_more.id()), "then whoever has most at stake, whatever the order of names");
    let ids: BTreeSet<Hash> = told.iter().map(|told| told.0).collect();
    let few = |id: &Hash| told.iter().filter(|told| told.0 == *id).count();
    assert!(ids.len() == 64 && ids.iter().all(|id| (1..=4).contains(&few(id))), "{} sent", told.len());
    let whom: BTreeSet<u32> = told.iter().map(|told| told.1).collect();
    assert_eq!(whom.len(), desk.committee.len(), "another few of each proof");
}

fn is_conflict(record: &Record) -> bool {
    matches!(record, Record::Conflict(_))
}

/// Another block than the honest one, of the pending height.
fn other(desk: &mut Desk, seed: u8) -> Value {
    Value { seed: [seed; 32], ..desk.minter.execution.value(&[None]) }
}

#[test]
fn a_second_final_certificate_of_a_past_height_is_evidence() {
    let mut desk = Desk::in_round();
    let fork = other(&mut desk, 9);
    let fork = desk.certified(fork, 2);
    let [unsigned, elsewhere] = [8, 7].map(|seed| other(&mut desk, seed));
    let later = desk.certified(unsigned.clone(), 3);
    let unsigned = desk.certified(unsigned, 2);
    let certificate = Certificate { aggregate: [1; 48], ..unsigned.certificate };
    let unsigned = Arc::new(Final { certificate, ..(*unsigned).clone() });
    let elsewhere = desk.certified(Value { parent: [7; 32], ..elsewhere }, 2);
    finish(&mut desk, 2);
    finish(&mut desk, 4);
    let (from, checks, since) = (desk.others()[0].1, desk.checks(), desk.said.len());
    // Of another attempt it proves nothing; after another block others mint.
    [later, elsewhere].into_iter().for_each(|of| desk.hear(from, Message::Final(of, Vec::new())));
    assert_eq!((desk.checks() - checks, told(&desk, since, is_conflict).len()), (0, 0));
    for _ in 0..20 {
        desk.hear(from, Message::Final(fork.clone(), Vec::new()));
    }
    assert_eq!(told(&desk, since, is_conflict).len(), desk.others().len(), "once to each who mints now");
    assert_eq!((desk.checks() - checks, desk.penalties()), (1, Vec::new()), "who shows it has done no wrong");
    let liar = desk.others()[1].1;
    for _ in 0..20 {
        desk.hear(liar, Message::Final(unsigned.clone(), Vec::new()));
    }
    assert_eq!((desk.checks() - checks, desk.penalties()), (2, vec![(liar, Offence::Certificate)]));
    assert_eq!(desk.minter.pending_height(), 3, "and what is final stays so");
}

#[test]
fn nothing_is_looked_at_of_a_height_of_which_evidence_does_not_count_any_more() {
    let mut desk = Desk::in_round();
    let fork = other(&mut desk, 9);
    let fork = desk.certified(fork, 2);
    let heights = desk.minter.execution.chain.parameters.consensus.evidence_heights;
    (1..=heights + 2).for_each(|height| finish(&mut desk, 2 * height));
    let (from, checks) = (desk.others()[0].1, desk.checks());
    desk.hear(from, Message::Final(fork, Vec::new()));
    assert_eq!((desk.checks() - checks, told(&desk, 0, is_conflict).len()), (0, 0));
}

#[test]
fn a_second_certificate_of_first_votes_of_one_attempt_is_evidence_wherever_it_is_shown() {
    let mut desk = Desk::in_round();
    for seed in [1, 2] {
        let value = other(&mut desk, seed);
        let hash = value.hash();
        let decided = desk.certified(value, 2);
        let seats = decided.certificate.signers;
        let first = |member: &u32| desk.signed(*member, StatementKind::First, 2, hash);
        let members: Vec<u32> = desk.committee.members.iter().map(|member| member.candidate).collect();
        let signatures: Vec<_> = members.iter().map(first).collect();
        let aggregate = StubSigning { candidate: 0 }.aggregate(&signatures);
        let (value, certificate) = (decided.value.clone(), Certificate { signers: seats, aggregate });
        let high = Some(Arc::new(Prepared { attempt: 2, justified_by: 0, value, hash, certificate }));
        let from = desk.others()[usize::from(seed)].1;
        desk.hear(from, Message::Have { height: 1, attempt: 2, held: vec![None], high });
    }
    assert_eq!(told(&desk, 0, is_conflict).len(), desk.others().len());
    assert_eq!(desk.penalties(), []);
}
