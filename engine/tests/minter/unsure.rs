//! A minter whose record of what it signed was lost or is not whole: silent until a height is final that was begun
//! after its start.

use crate::still::{Scene, decided};
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;

type TestMinter = Minter<Scene, StubSigning>;

/// A minter that starts in this slot.
fn start(slot: u64, unsure: bool) -> (TestMinter, Schedule) {
    let scene = Scene::new();
    let (chain, schedule) = (scene.chain.genesis_hash, Schedule::of(&scene.chain.parameters));
    let record = SignedOnce { unsure, ..SignedOnce::default() };
    let signing = StubSigning { candidate: 0 };
    (Minter::new(chain, schedule, 0, scene, Arc::new(signing), record, slot * schedule.slot_ms), schedule)
}

/// Whether it asks for anything to be reserved in a slot; without that it signs nothing. What it asks for is durable at
/// once.
fn signs_in(minter: &mut TestMinter, schedule: &Schedule, slot: u64) -> bool {
    let mut signs = false;
    assert!(minter.seated(), "there is something to sign");
    for now_ms in (slot * schedule.slot_ms..(slot + 1) * schedule.slot_ms).step_by(20) {
        let mut actions = minter.tick(now_ms);
        while let Some(action) = actions.pop() {
            if let Action::Persist(ticket, record) = action {
                signs = true;
                assert!(!record.unsure || minter.pending_height() == 1, "behind a new height all is known");
                actions.extend(minter.persisted(now_ms, ticket));
            }
        }
    }
    signs
}

/// It hears of the end of the pending height, of the block of this slot.
fn hears_final(minter: &mut TestMinter, schedule: &Schedule, slot: u64) {
    hears_final_in(minter, schedule, slot, slot);
}

/// The same, where the block was agreed on in a later slot.
fn hears_final_in(minter: &mut TestMinter, schedule: &Schedule, slot: u64, agreed_slot: u64) {
    let height = minter.pending_height();
    let decided = decided(&mut minter.execution, 2 * agreed_slot);
    assert_eq!((decided.value.height, decided.value.slot), (height, slot));
    minter.handle(agreed_slot * schedule.slot_ms, 1, Message::Final(Arc::new(decided), Vec::new()));
    assert_eq!(minter.pending_height(), height + 1);
}

#[test]
fn who_knows_what_it_signed_signs_on() {
    let (mut minter, schedule) = start(1, false);
    hears_final(&mut minter, &schedule, 1);
    assert!(signs_in(&mut minter, &schedule, 2));
}

#[test]
fn who_does_not_waits_for_a_height_that_was_begun_after_its_start() {
    let (mut minter, schedule) = start(2, true);
    // Begun before, or in the slot of its start: an earlier process may have seen its end, and signed at the next height.
    (1..=2).for_each(|slot| hears_final(&mut minter, &schedule, slot));
    assert!(!signs_in(&mut minter, &schedule, 3));
    hears_final(&mut minter, &schedule, 3);
    assert!(signs_in(&mut minter, &schedule, 4));
}

#[test]
fn catching_up_with_what_is_old_proves_nothing() {
    let (mut minter, schedule) = start(100, true);
    (1..=3).for_each(|slot| hears_final(&mut minter, &schedule, slot));
    assert!(!signs_in(&mut minter, &schedule, 101) && !signs_in(&mut minter, &schedule, 102));
}

#[test]
fn a_start_by_a_wrong_clock_counts_from_when_it_is_right() {
    let (mut minter, schedule) = start(1, true);
    minter.set_minting(false);
    (1..=2).for_each(|slot| hears_final(&mut minter, &schedule, slot));
    // The clock was a hundred slots behind.
    minter.set_minting(true);
    assert!(!signs_in(&mut minter, &schedule, 101));
    hears_final(&mut minter, &schedule, 3);
    assert!(!signs_in(&mut minter, &schedule, 102));
}

#[test]
fn founders_begin_the_first_height_though_none_has_a_record() {
    let (mut minter, schedule) = start(2, true);
    assert!(signs_in(&mut minter, &schedule, 3));
    let (mut late, schedule) = start(65, true);
    assert!(!signs_in(&mut late, &schedule, 66), "a chain that stands at its first height for long was not just begun");
}

#[test]
fn founders_go_on_though_the_first_block_is_of_the_slot_in_which_all_have_started() {
    // Whose clock becomes right within a slot starts in it, and takes part in it.
    let begun_in = |slot: u64| {
        let (mut minter, schedule) = start(slot - 1, true);
        minter.set_minting(false);
        minter.tick(slot * schedule.slot_ms);
        minter.set_minting(true);
        (minter, schedule)
    };
    let (mut minter, schedule) = begun_in(1);
    assert!(signs_in(&mut minter, &schedule, 1), "the first height is begun");
    hears_final(&mut minter, &schedule, 1);
    assert!(signs_in(&mut minter, &schedule, 2), "and the second");
    // Who has started after the first block's slot may be another process of a founder that has signed at the second.
    let (mut late, schedule) = start(2, true);
    hears_final(&mut late, &schedule, 1);
    assert!(!signs_in(&mut late, &schedule, 3));
}

#[test]
fn founders_who_start_late_go_on_behind_the_empty_block_that_they_agree_on() {
    // Nobody was there in slot 1: the first block is empty, and so of that slot all the same.
    let (mut minter, schedule) = start(3, true);
    assert!(signs_in(&mut minter, &schedule, 4), "the first height is begun");
    hears_final_in(&mut minter, &schedule, 1, 5);
    assert!(signs_in(&mut minter, &schedule, 6), "and the second");
    // Agreed on before the start: an earlier process may have signed at the second.
    let (mut late, schedule) = start(3, true);
    hears_final_in(&mut late, &schedule, 1, 2);
    assert!(!signs_in(&mut late, &schedule, 4));
    // Nor at another height than the first.
    let (mut late, schedule) = start(3, true);
    hears_final_in(&mut late, &schedule, 1, 2);
    hears_final_in(&mut late, &schedule, 2, 5);
    assert!(!signs_in(&mut late, &schedule, 6));
}
