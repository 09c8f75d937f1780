//! Who forks the chain or contradicts itself is punished, whoever mints when it is found out.

mod desk;

use desk::Desk;
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::statement::StatementKind;
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::rules::execution::Execution;

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
