//! What a liar costs: each kind of message, sent by hundreds, by one who has a seat and by one who has none. Whatever
//! is verified is counted; on a network each is a pairing of a millisecond and more.

use crate::desk::{Desk, SEATS};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::{CertifiedBlock, Final, Prepared, ShardBlock, Value};
use dynemix_engine::chain::record::Attest;
use dynemix_engine::committee::schedule::Step;
use dynemix_engine::committee::statement::{Certificate, SeatSet, StatementKind};
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::messages::message::{Message, ShardMessage, list_hash};
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;

/// Messages of a flood.
const FLOOD: u32 = 300;
/// The slot that all of this happens in.
const SLOT: u64 = 1;
const ATTEMPT: u64 = 2 * SLOT;

const KINDS: [&str; 12] = [
    "first vote",
    "second vote",
    "proposal",
    "proposal with a certificate",
    "final",
    "have with a certificate",
    "block",
    "set root",
    "list",
    "shard vote",
    "alarm",
    "not served",
];

fn value(hash: Hash) -> Arc<Value> {
    let (parent, quilt, parent_root, system, seed, committee_next) = (hash, hash, hash, hash, hash, hash);
    Arc::new(Value {
        height: 1,
        parent,
        slot: SLOT,
        headers: vec![None],
        quilt,
        parent_root,
        system,
        seed,
        committee_next,
    })
}

/// The `number`th falsehood of a kind; no two are alike.
fn falsehood(desk: &Desk, from: u32, kind: &str, number: u32) -> Message {
    let hash = *blake3::hash(&number.to_le_bytes()).as_bytes();
    let signature = [hash[1]; 48];
    let mut signers = SeatSet::default();
    (0..SEATS as u16).for_each(|seat| {
        signers.insert(seat);
    });
    let certificate = Certificate { signers, aggregate: signature };
    let (height, slot, shard, value) = (1, SLOT, 0, value(hash));
    let of_value = value.hash();
    let prepared_value = value.clone();
    let prepared = |attempt| {
        let value = prepared_value.clone();
        Some(Arc::new(Prepared { attempt, justified_by: 0, value, hash: of_value, certificate }))
    };
    let in_shard = |message| Message::Shard { height, slot, shard, message };
    match kind {
        "first vote" => Message::First { attempt: ATTEMPT, value, justified_by: 0, signature },
        "second vote" => Message::Second { height, attempt: ATTEMPT, hash, signature },
        "proposal" => Message::Proposal { attempt: ATTEMPT, value, prepared: None, signature },
        "proposal with a certificate" => {
            let signature = desk.signed(from, StatementKind::Proposal, ATTEMPT, of_value);
            Message::Proposal { attempt: ATTEMPT, value, prepared: prepared(0), signature }
        }
        "final" => Message::Final(Arc::new(Final { attempt: ATTEMPT, value, hash: of_value, certificate }), Vec::new()),
        "have with a certificate" => {
            Message::Have { height, attempt: ATTEMPT, held: vec![None], high: prepared(1 + u64::from(number)) }
        }
        "block" => {
            let block = ShardBlock {
                parent_root: hash,
                slot,
                shard: 0,
                transactions: 0,
                bytes: 0,
                transactions_root: hash,
                patch_hash: hash,
            };
            let (hash, items, patch) = (block.hash(), Items::default(), Vec::new());
            Message::Block(Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch }))
        }
        "set root" => in_shard(ShardMessage::SetRoot(hash, signature)),
        // Signed by its sender, and with a root of ours that we have not signed.
        "list" => {
            let list = vec![(0, hash)];
            let signed = desk.signed(from, StatementKind::List, SLOT, list_hash(&list));
            in_shard(ShardMessage::List(list, vec![signature], signed))
        }
        "shard vote" => in_shard(ShardMessage::Vote(hash, signature)),
        "alarm" => {
            let attest = Attest { height, slot, shard, block: hash, certificate };
            Message::Alarm(from, Box::new(attest), signature)
        }
        _ => Message::NotServed(height, hash, signature),
    }
}

/// What a flood of one kind has made the minter verify, and whether its sender has paid.
fn flood(kind: &str, from: impl Fn(&Desk) -> u32) -> (u64, Vec<Offence>) {
    let mut desk = Desk::in_round();
    let from = from(&desk);
    let before = desk.checks();
    for number in 0..FLOOD {
        let message = falsehood(&desk, from, kind, number);
        desk.hear(from, message);
    }
    let penalties = desk.penalties();
    assert!(penalties.iter().all(|penalty| penalty.0 == from), "{kind}: {penalties:?}");
    (desk.checks() - before, penalties.into_iter().map(|penalty| penalty.1).collect())
}

#[test]
fn a_peer_without_a_seat_costs_one_check_a_slot_at_most_and_pays() {
    for kind in KINDS {
        let (checks, paid) = flood(kind, Desk::stranger);
        match kind {
            "final" => assert_eq!((checks, &paid[..]), (1, &[Offence::Certificate][..])),
            _ => assert_eq!((checks, &paid[..]), (0, &[Offence::Flood][..]), "{kind}"),
        }
    }
}

#[test]
fn a_member_costs_two_checks_a_slot_at_most_and_pays() {
    for kind in KINDS {
        let (checks, paid) = flood(kind, |desk| desk.others()[0].1);
        match kind {
            // About a block that nobody looks for: one or two may be of a height that is past here.
            "alarm" | "not served" => assert_eq!((checks, &paid[..]), (0, &[Offence::Flood][..]), "{kind}"),
            "list" => assert_eq!((checks, &paid[..]), (2, &[Offence::List][..])),
            "block" => assert_eq!((checks, &paid[..]), (1, &[Offence::Block][..])),
            "final" | "have with a certificate" => {
                assert_eq!((checks, &paid[..]), (1, &[Offence::Certificate][..]), "{kind}")
            }
            // A certificate that claims less than what is known is not even looked at, until it would be voted for.
            "proposal with a certificate" => assert!(checks <= 16 && paid.len() <= 1, "{checks} {paid:?}"),
            _ => assert_eq!((checks, &paid[..]), (1, &[Offence::Signature][..]), "{kind}"),
        }
    }
}

/// A second vote of each of the others for something, which holds.
fn second_votes(desk: &Desk, hash: Hash) -> Vec<(u32, Message)> {
    let vote = |(_, from): (_, u32)| {
        let signature = desk.signed(from, StatementKind::Second, ATTEMPT, hash);
        (from, Message::Second { height: 1, attempt: ATTEMPT, hash, signature })
    };
    desk.others().into_iter().map(vote).collect()
}

/// What is verified of all others' votes that come together with what one of them says beside.
fn checks_beside(desk: &mut Desk, hash: Hash, beside: (u32, Message)) -> u64 {
    let before = desk.checks();
    let mut messages = second_votes(desk, hash);
    messages.retain(|(from, _)| *from != beside.0);
    messages.insert(3, beside);
    desk.minter.verify_ahead(desk.now_ms, messages.iter().map(|(from, message)| (*from, message)));
    let checks = desk.checks() - before;
    for (from, message) in messages {
        desk.hear(from, message);
    }
    assert_eq!(desk.checks() - before, checks, "each is known by then, or nothing is verified of it");
    checks
}

#[test]
fn what_nobody_would_verify_spoils_nothing_that_is_verified_together() {
    let (height, slot, shard, signature, hash) = (1, SLOT, 0, [9; 48], [8; 32]);
    let root = ShardMessage::SetRoot(hash, signature);
    let vote = ShardMessage::Vote(hash, signature);
    let beside = [
        Message::Second { height, attempt: u64::MAX, hash, signature },
        Message::First { attempt: ATTEMPT + 99, value: value(hash), justified_by: 0, signature },
        Message::Shard { height, slot: slot + 1, shard, message: vote },
        Message::Shard { height, slot, shard, message: root },
    ];
    for beside in beside {
        let mut desk = Desk::in_round();
        let from = desk.others()[0].1;
        let signed = desk.signed(from, StatementKind::SetRoot, SLOT, hash);
        desk.hear(from, Message::Shard { height, slot, shard, message: ShardMessage::SetRoot(hash, signed) });
        let what = format!("{beside:?}");
        assert_eq!(checks_beside(&mut desk, [1; 32], (from, beside)), 1, "{what}");
        assert_eq!(desk.penalties(), [], "it is of another time, or known: {what}");
    }
}

#[test]
fn who_spoils_what_is_verified_together_does_so_once_a_slot() {
    let mut desk = Desk::in_round();
    let from = desk.others()[0].1;
    let (height, attempt, hash, signature) = (1, ATTEMPT, [9; 32], [9; 48]);
    let mut checks = Vec::new();
    for number in 1..=5 {
        let mut messages = second_votes(&desk, [number; 32]);
        messages.retain(|vote| vote.0 != from);
        messages.push((from, Message::Second { height, attempt, hash, signature }));
        let before = desk.checks();
        desk.minter.verify_ahead(desk.now_ms, messages.iter().map(|(from, message)| (*from, message)));
        checks.push(desk.checks() - before);
    }
    assert_eq!(checks, [1 + u64::from(SEATS) - 1, 1, 1, 1, 1]);
    desk.hear(from, Message::Second { height, attempt, hash, signature });
    assert_eq!(desk.penalties(), [(from, Offence::Signature)]);
}

#[test]
fn true_signatures_by_hundreds_cost_two_checks_and_are_one_proof() {
    for kind in [StatementKind::First, StatementKind::Second, StatementKind::SetRoot, StatementKind::ShardVote] {
        let mut desk = Desk::in_round();
        let from = desk.others()[0].1;
        let before = desk.checks();
        for number in 0..FLOOD {
            let hash = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let value = value(hash);
            let signed = |number, hash| desk.signed(from, kind, number, hash);
            let (height, slot, shard) = (1, SLOT, 0);
            let message = match kind {
                StatementKind::First => {
                    let signature = signed(ATTEMPT, value.hash());
                    Message::First { attempt: ATTEMPT, value, justified_by: 0, signature }
                }
                StatementKind::Second => {
                    Message::Second { height, attempt: ATTEMPT, hash, signature: signed(ATTEMPT, hash) }
                }
                StatementKind::SetRoot => {
                    let message = ShardMessage::SetRoot(hash, signed(SLOT, hash));
                    Message::Shard { height, slot, shard, message }
                }
                _ => {
                    let message = ShardMessage::Vote(hash, signed(SLOT, hash));
                    Message::Shard { height, slot, shard, message }
                }
            };
            desk.hear(from, message);
        }
        assert_eq!(desk.checks() - before, 2, "{kind:?}");
        let told = desk.said.iter().filter(|action| format!("{action:?}").contains("Item(")).count();
        assert!(told > 0, "{kind:?} twice is evidence");
    }
}

#[test]
fn a_proposal_of_blocks_that_do_not_exist_makes_nobody_ask_but_its_proposer() {
    let mut desk = Desk::in_round();
    desk.until(8, Step::Begin);
    let (from, now) = (desk.others()[0].1, 16);
    for attempt in 0..now + 20 {
        let header = *blake3::hash(&[attempt as u8]).as_bytes();
        let value = Arc::new(Value { headers: vec![Some(header)], ..(*value(header)).clone() });
        let signature = desk.signed(from, StatementKind::Proposal, attempt, value.hash());
        desk.hear(from, Message::Proposal { attempt, value, prepared: None, signature });
    }
    let asked = |action: &Action| match action {
        Action::Send(whom, Message::WantBlocks(..)) => Some(*whom),
        _ => None,
    };
    let asked: Vec<u32> = desk.said.iter().filter_map(asked).collect();
    assert!(!asked.is_empty() && asked.len() <= 11, "{} are asked, of eleven timely attempts", asked.len());
    assert!(asked.iter().all(|whom| *whom == from), "an honest proposer has them");
}

/// The `number`th block of shard 0 that its minters have certified.
fn rival(desk: &Desk, number: u8) -> Arc<CertifiedBlock> {
    let (height, hash) = (1, [number; 32]);
    let (parent_root, transactions_root, patch_hash) = (hash, hash, hash);
    let (slot, shard, transactions, bytes) = (SLOT, 0, 0, 0);
    let block = ShardBlock { parent_root, slot, shard, transactions, bytes, transactions_root, patch_hash };
    let (hash, items, patch) = (block.hash(), Items::default(), Vec::new());
    let (mut signers, mut signatures) = (SeatSet::default(), Vec::new());
    for (seat, member) in (0..).zip(&desk.committee.members) {
        signers.insert(seat);
        signatures.push(desk.signed(member.candidate, StatementKind::ShardVote, SLOT, hash));
    }
    let certificate = Certificate { signers, aggregate: StubSigning { candidate: 0 }.aggregate(&signatures) };
    Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch })
}

#[test]
fn of_one_shard_two_blocks_are_looked_at_and_any_that_a_vote_may_be_about() {
    let mut desk = Desk::in_round();
    let others = desk.others();
    let before = desk.checks();
    for number in 0..40 {
        let from = others[usize::from(number) % others.len()].1;
        desk.hear(from, Message::Block(rival(&desk, number)));
    }
    assert_eq!(desk.checks() - before, 2, "a captured shard certifies as many as it likes");
    let last = rival(&desk, 9);
    let asks = |desk: &Desk| desk.said.iter().filter(|said| format!("{said:?}").contains("WantBlocks")).count();
    let held = vec![Some(last.listed_hash())];
    desk.hear(others[0].1, Message::Have { height: 1, attempt: ATTEMPT, held: held.clone(), high: None });
    assert_eq!((asks(&desk), desk.minter.master().holds(&last.listed_hash())), (0, false), "nor is it asked for");
    // Whoever proposes it is asked for it, and it is held then.
    let proposed = Arc::new(Value { headers: held, ..(*value([9; 32])).clone() });
    let signature = desk.signed(others[0].1, StatementKind::Proposal, ATTEMPT, proposed.hash());
    desk.hear(others[0].1, Message::Proposal { attempt: ATTEMPT, value: proposed, prepared: None, signature });
    desk.hear(others[0].1, Message::Block(last.clone()));
    assert_eq!((asks(&desk), desk.minter.master().holds(&last.listed_hash())), (1, true));
    assert_eq!(desk.penalties(), []);
}

#[test]
fn a_thousand_strangers_together_cost_what_is_kept_for_strangers() {
    let mut desk = Desk::in_round();
    let before = desk.checks();
    for from in 1_000..2_000 {
        let message = falsehood(&desk, from, "final", from);
        desk.hear(from, message);
    }
    assert_eq!(desk.checks() - before, 16);
    assert_eq!(desk.penalties().len(), 16);
    // And a member is heard all the same.
    let from = desk.others()[0].1;
    let message = falsehood(&desk, from, "final", 7);
    desk.hear(from, message);
    assert_eq!(desk.checks() - before, 17);
}

#[test]
fn what_is_told_before_its_time_is_verified_a_few_at_a_time() {
    let mut desk = Desk::in_round();
    let next = desk.minter.execution.system.clone();
    // True votes of height 2, by everyone who may mint it, while height 1 is pending.
    for &from in &next.drawn {
        for attempt in 4..12 {
            let hash = [attempt as u8; 32];
            let message = Message::Second { height: 2, attempt, hash, signature: [3; 48] };
            desk.hear(from, message);
        }
    }
    assert_eq!(desk.checks(), 0, "nothing of a height to come is verified");
    let value = {
        use dynemix_engine::rules::execution::Execution;
        desk.minter.execution.value(&[None])
    };
    let decided = desk.certified(value, ATTEMPT);
    let from = desk.others()[0].1;
    let before = desk.checks();
    desk.hear(from, Message::Final(decided, Vec::new()));
    assert_eq!(desk.minter.pending_height(), 2);
    assert_eq!(desk.checks() - before, 1, "the certificate alone");
    assert!(desk.minter.replays() && desk.minter.wake_at_ms() <= desk.now_ms, "and the rest when it is asked again");
    let before = desk.checks();
    desk.tick(desk.now_ms);
    assert!(desk.checks() - before <= 16, "{}", desk.checks() - before);
}

#[test]
fn an_honest_minter_ahead_behind_or_without_the_blocks_pays_nothing() {
    let mut desk = Desk::in_round();
    let others = desk.others();
    for height in [0, 1, 2, 3, 1 << 60] {
        for &(_, from) in &others {
            for number in 0..3 {
                desk.hear(
                    from,
                    Message::Have { height, attempt: ATTEMPT + number, held: vec![Some([9; 32])], high: None },
                );
                desk.hear(from, Message::WantFinal(height));
                desk.hear(from, Message::WantBlocks(height, vec![[9; 32]]));
                let hash = [height as u8; 32];
                let signature = desk.signed(from, StatementKind::Second, ATTEMPT + 40 * number, hash);
                if height != 1 || number == 0 {
                    desk.hear(from, Message::Second { height, attempt: ATTEMPT + 40 * number, hash, signature });
                }
            }
        }
    }
    assert_eq!(desk.penalties(), []);
}
