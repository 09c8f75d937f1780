//! Clocks that are wrong, and what others say: nothing is signed twice, nothing is reserved for a time that is not
//! plausible, and nobody is silenced for longer than it must be.

use crate::desk::Desk;
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::chain::record::Attest;
use dynemix_engine::committee::schedule::Step;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::consensus::master::Locked;
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;

/// A slot of a clock that is a year ahead.
const FAR: u64 = 3_153_600;

/// How often each signed statement of the shard round was said to one other minter.
fn said_in_shard(desk: &Desk) -> [usize; 4] {
    let to = desk.others()[0].1;
    let count = |is: fn(&ShardMessage) -> bool| {
        let said = |action: &&Action| match action {
            Action::Send(whom, Message::Shard { message, .. }) => *whom == to && is(message),
            _ => false,
        };
        desk.said.iter().filter(said).count()
    };
    [
        count(|message| matches!(message, ShardMessage::SetRoot(..))),
        count(|message| matches!(message, ShardMessage::List(..))),
        count(|message| matches!(message, ShardMessage::Decision(..))),
        count(|message| matches!(message, ShardMessage::Vote(..))),
    ]
}

#[test]
fn a_clock_that_is_set_back_says_nothing_of_a_round_again() {
    let mut desk = Desk::new(SignedOnce::default(), 20_000);
    desk.until(3, Step::Try1);
    let once = said_in_shard(&desk);
    assert!(once[0] == 1 && once[1] == 1 && once[2] <= 1 && once[3] == 1, "{once:?}");
    // Two slots back, and through the same slot again, twice.
    for back in [1, 2] {
        desk.tick(back * desk.schedule.slot_ms);
        desk.until(3, Step::Try1);
        assert_eq!(said_in_shard(&desk), once);
    }
}

#[test]
fn a_vote_waits_for_lists_a_quarter_of_the_time_until_blocks_are_to_be_there() {
    let mut desk = Desk::in_round();
    desk.until(1, Step::Vote);
    assert_eq!(said_in_shard(&desk)[3], 0, "nobody else has said what it holds: it would build of nothing");
    let (slot_ms, vote_ms, have_ms) = (desk.schedule.slot_ms, desk.schedule.vote_ms, desk.schedule.have_ms);
    desk.tick(slot_ms + vote_ms + (have_ms - vote_ms) / 4 - 1);
    assert_eq!(said_in_shard(&desk)[3], 0);
    desk.tick(slot_ms + vote_ms + (have_ms - vote_ms) / 4);
    assert_eq!(said_in_shard(&desk)[3], 1, "and no longer");
}

#[test]
fn a_clock_that_is_set_back_under_a_record_of_a_height_ahead_takes_nothing_back() {
    // As after a store was restored that is older than the record of what was signed.
    for ahead in [2, 5] {
        let record = SignedOnce { height: ahead, reserved_slot: 1, ..SignedOnce::default() };
        let mut desk = Desk::new(record, 0);
        desk.until(4, Step::Sets);
        assert_eq!(desk.reserved(), [2, 3, 4], "not where it may have signed");
        let value = desk.minter.execution.value(&[None]);
        let decided = desk.certified(value, 4);
        desk.hear(desk.others()[0].1, Message::Final(decided, Vec::new()));
        assert_eq!(desk.minter.pending_height(), 2);
        // A slot back, at the next height.
        desk.tick(3 * desk.schedule.slot_ms - 1);
        desk.until(3, Step::Sets);
        assert_eq!(desk.reserved()[3..], [4], "one more, and the record keeps the later slot");
        let Some(Action::Persist(_, record)) = desk.said.iter().rfind(|said| matches!(said, Action::Persist(..)))
        else {
            panic!("it was reserved")
        };
        assert!(record.may_have_signed(2, 3) && record.may_have_signed(1, 4) && !record.may_have_signed(ahead, 5));
        assert!(desk.minter.round().is_some(), "and signs at the height that is pending");
    }
}

#[test]
fn a_slot_is_reserved_only_if_the_network_makes_it_plausible() {
    let mut desk = Desk::new(SignedOnce::default(), FAR * 10_000);
    desk.until(FAR + 3, Step::Try1);
    assert_eq!(desk.reserved(), [], "by its own clock alone it reserves nothing");
    // B liars agree with it, and many others say something else.
    let others = desk.others();
    let have = |attempt| Message::Have { height: 1, attempt, held: vec![None], high: None };
    let byzantine = desk.committee.byzantine_max();
    for (place, &(_, from)) in others.iter().enumerate() {
        desk.hear(from, have(if place < byzantine { 2 * (FAR + 3) } else { 4 + 100 * place as u64 }));
    }
    desk.until(FAR + 4, Step::Try1);
    assert_eq!(desk.reserved(), []);
    assert!(!desk.said.iter().any(|action| matches!(action, Action::Send(_, Message::Shard { .. }))), "nothing signed");
    // The clock is set right: the next step is due in the next slot and not in a year, and no slot is lost.
    desk.minter.mind_clock(15_000);
    assert_eq!(desk.minter.wake_at_ms(), 20_000);
    desk.tick(15_000);
    desk.until(2, Step::Try1);
    assert_eq!(desk.reserved(), [2]);
    assert_eq!(said_in_shard(&desk)[0], 1);
}

#[test]
fn after_a_long_outage_others_make_the_slot_plausible() {
    let mut desk = Desk::new(SignedOnce::default(), 1_000 * 10_000);
    desk.until(1_001, Step::Have);
    assert_eq!(desk.reserved(), []);
    let said = desk.said.iter().any(|action| matches!(action, Action::Send(_, Message::Have { attempt: 2_002, .. })));
    assert!(said, "what time it is here is said unsigned, for others to hear");
    let others = desk.others();
    for &(_, from) in others.iter().take(desk.committee.byzantine_max() + 1) {
        desk.hear(from, Message::Have { height: 1, attempt: 2_002, held: vec![None], high: None });
    }
    desk.until(1_002, Step::Sets);
    assert_eq!(desk.reserved().last(), Some(&1_002));
    assert_eq!(said_in_shard(&desk)[0], 1);
}

#[test]
fn a_record_far_ahead_silences_nobody_beyond_its_height() {
    let record = SignedOnce { height: 1, reserved_slot: FAR, ..SignedOnce::default() };
    let mut desk = Desk::new(record, 0);
    desk.until(2, Step::Try1);
    assert_eq!(desk.reserved(), [], "at its height it may have signed");
    let value = desk.minter.execution.value(&[None]);
    let decided = desk.certified(value, 4);
    let from = desk.others()[0].1;
    desk.hear(from, Message::Final(decided, Vec::new()));
    assert_eq!(desk.minter.pending_height(), 2);
    let seated = desk.minter.seated();
    desk.until(3, Step::Sets);
    assert_eq!(desk.reserved(), if seated { vec![3] } else { vec![] });
    assert!(seated, "with fewer than four answers the committee stays");
}

#[test]
fn whoever_restarts_is_silent_where_it_may_have_signed() {
    let record = SignedOnce { height: 1, reserved_slot: 3, ..SignedOnce::default() };
    let mut desk = Desk::new(record, 0);
    desk.until(3, Step::Try1);
    assert_eq!(desk.reserved(), []);
    desk.until(4, Step::Sets);
    assert_eq!(desk.reserved(), [4]);
}

#[test]
fn a_clock_that_jumps_is_followed_in_one_step() {
    let mut desk = Desk::in_round();
    // Step by step that would take longer than anyone waits.
    desk.tick(u64::MAX / 4);
    desk.tick(35_000);
    desk.until(4, Step::Sets);
    assert_eq!(desk.reserved().last(), Some(&4));
}

#[test]
fn a_final_value_that_does_not_follow_is_refused_and_a_true_one_still_taken() {
    let mut desk = Desk::in_round();
    let from = desk.others()[0].1;
    let value = desk.minter.execution.value(&[None]);
    let false_value = dynemix_engine::chain::block::Value { quilt: [9; 32], ..value.clone() };
    let decided = desk.certified(false_value, 2);
    for _ in 0..3 {
        desk.hear(from, Message::Final(decided.clone(), Vec::new()));
    }
    let refused = desk.said.iter().filter(|action| matches!(action, Action::Refused(_))).count();
    assert_eq!((desk.minter.pending_height(), refused), (1, 1));
    assert!(!desk.minter.seated(), "nothing is signed at this height any more");
    let before = desk.said.len();
    desk.until(3, Step::Try1);
    let signed = |action: &Action| matches!(action, Action::Send(_, Message::Shard { .. } | Message::First { .. }));
    assert!(!desk.said[before..].iter().any(signed));
    let decided = desk.certified(value, 4);
    desk.hear(from, Message::Final(decided, Vec::new()));
    assert_eq!(desk.minter.pending_height(), 2);
    assert_eq!(desk.penalties(), []);
}

#[test]
fn one_who_claims_a_height_moves_nothing_and_enough_members_do() {
    let mut desk = Desk::in_round();
    let others = desk.others();
    let byzantine = desk.committee.byzantine_max();
    let have = |height| Message::Have { height, attempt: 2, held: vec![None], high: None };
    for &(_, from) in others.iter().take(byzantine) {
        desk.hear(from, have(1 << 60));
    }
    desk.hear(desk.stranger(), have(1 << 60));
    desk.hear(77_777, have(1 << 60));
    desk.until(2, Step::Sets);
    assert_eq!(desk.minter.height_heard(), 0);
    desk.hear(others[byzantine].1, have(55));
    assert_eq!(desk.minter.height_heard(), 55);
}

#[test]
fn a_record_with_a_block_of_no_shard_is_survived() {
    let header = ShardBlock {
        parent_root: [0; 32],
        slot: 1,
        shard: 77,
        transactions: 0,
        bytes: 0,
        transactions_root: [0; 32],
        patch_hash: [0; 32],
    };
    let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
    let (hash, items, patch) = (header.hash(), Items::default(), Vec::new());
    let block = Arc::new(CertifiedBlock { height: 1, block: header, hash, certificate, items, patch });
    let locked = Locked { lock: None, high: None, blocks: vec![block] };
    let mut desk = Desk::new(SignedOnce { height: 1, locked, ..SignedOnce::default() }, 0);
    desk.until(1, Step::Try1);
    assert_eq!(desk.minter.master().shown().shards_held, 0);
}

/// The next height's end, decided in this slot, as a follower hears of it: from somebody without a seat.
fn hears_decided(desk: &mut Desk, slot: u64) {
    let height = desk.minter.pending_height();
    let value = desk.minter.execution.value(&[None]);
    let decided = desk.certified(value, 2 * slot + 1);
    desk.hear(desk.stranger(), Message::Final(decided, Vec::new()));
    assert_eq!((desk.minter.pending_height(), desk.penalties()), (height + 1, vec![]));
}

#[test]
fn who_hears_of_heights_in_their_time_knows_which_slot_it_is_elsewhere() {
    // The clock of one who follows is eighteen slots behind, or ahead.
    for (own, theirs) in [(2u64, 20u64), (20, 2)] {
        let ahead = theirs as i64 - own as i64;
        let mut desk = Desk::new(SignedOnce::default(), 0);
        desk.until(own, Step::Try1);
        hears_decided(&mut desk, theirs);
        assert_eq!(desk.minter.slots_ahead(), None, "one height may have been decided long ago");
        desk.until(own + 1, Step::Try1);
        hears_decided(&mut desk, theirs + 1);
        assert_eq!(desk.minter.slots_ahead(), Some(ahead..=ahead + 1));
        // Set right, it is compared anew.
        desk.until(own + 2, Step::Sets);
        desk.tick((theirs + 2) * desk.schedule.slot_ms + 100);
        assert_eq!(desk.minter.slots_ahead(), None);
        for slot in theirs + 2..theirs + 4 {
            desk.until(slot, Step::Try1);
            hears_decided(&mut desk, slot);
        }
        assert_eq!(desk.minter.slots_ahead(), Some(0..=1));
        // What nobody has said for long is not known.
        desk.until(theirs + 13, Step::Have);
        assert_eq!(desk.minter.slots_ahead(), None);
    }
}

#[test]
fn who_catches_up_learns_no_time_from_old_heights() {
    let mut desk = Desk::new(SignedOnce::default(), 0);
    desk.until(50, Step::Sets);
    (2..40).for_each(|slot| hears_decided(&mut desk, slot));
    assert_eq!(desk.minter.slots_ahead(), None, "many at once");
    // Given one a slot, while others are at heights far ahead.
    let committee = desk.minter.execution.system.committee.clone();
    let others = committee.members.iter().map(|member| member.candidate).filter(|&candidate| candidate != desk.me);
    for from in others.take(committee.byzantine_max() + 1).collect::<Vec<_>>() {
        let value = dynemix_engine::chain::block::Value { height: 500, ..desk.minter.execution.value(&[None]) };
        let decided = desk.certified(value, 100);
        desk.hear(from, Message::Final(decided, Vec::new()));
    }
    for slot in 51..54 {
        desk.until(slot, Step::Sets);
        hears_decided(&mut desk, slot - 10);
    }
    assert_eq!(desk.minter.slots_ahead(), None, "one a slot");
}

#[test]
fn what_is_decided_is_taken_however_far_the_own_clock_is_behind() {
    let mut desk = Desk::new(SignedOnce::default(), 0);
    desk.until(2, Step::Sets);
    let built = desk.minter.execution.build(0, 30, &Items::default());
    let (block, hash) = (built.block, built.block.hash());
    let of = |certificate| Attest { height: 1, slot: 30, shard: 0, block: hash, certificate };
    let mut certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
    let digest = of(certificate).digest(&desk.chain);
    let signatures: Vec<_> = (0..)
        .zip(&desk.committee.members)
        .map(|(seat, member)| {
            certificate.signers.insert(seat);
            StubSigning::stub(member.candidate, &digest)
        })
        .collect();
    certificate.aggregate = StubSigning { candidate: 0 }.aggregate(&signatures);
    let (items, patch) = (built.items.clone(), built.patch.clone());
    let block = Arc::new(CertifiedBlock { height: 1, block, hash, certificate, items, patch });
    let (_, from) = desk.others()[0];
    desk.hear(from, Message::Block(block.clone()));
    assert_eq!(desk.minter.master().shown().shards_held, 0, "nobody holds what is of a time to come");
    let value = desk.minter.execution.value(&[Some(block.clone())]);
    let decided = desk.certified(value, 61);
    desk.hear(from, Message::Final(decided, vec![block]));
    assert_eq!((desk.minter.pending_height(), desk.penalties()), (2, vec![]));
}
