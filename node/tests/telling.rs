//! Whom a node tells its users' transactions, how many, and what the pools of those who are told come to hold.
// With small limits what is told here fits no window: see `limits.rs`.
#![cfg(not(feature = "tiny-limits"))]

mod scene;

use dynemix::minting::fate::{Fate, Settled};
use dynemix::minting::own::{Own, Payer, Phase};
use dynemix::minting::pool::HeightPool;
use dynemix::peer::frames::{CELLS, read_cells};
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::base::refusal::Refusal;
use dynemix_net::mesh::{Standing, To};
use scene::{ACCOUNTS, Scene, caller, client, due, follow, key};
use std::sync::Arc;

/// The senders that one minter is told, in order.
fn told_to(frames: &[(To, u8, Arc<[u8]>)], minter: u32, height: u64) -> Vec<Key> {
    let mut senders = Vec::new();
    for (to, _, frame) in frames {
        if matches!(to, To::Name(name) if *name == minter) {
            let (told, _, cells) = read_cells(&frame[1..]).expect("a frame of cells");
            assert_eq!(told, Some(height));
            senders.extend(cells.iter().map(|(cell, ..)| cell.sender));
        }
    }
    senders
}

#[test]
fn minters_are_told_the_hints_that_are_known() {
    let scene = Scene::new();
    let mut own = Own::default();
    for sender in 100..110u32 {
        let hint = (!sender.is_multiple_of(3)).then_some([sender as u8; 32]);
        let payer = Payer { hint, ..due(sender, 2 * DYNE) };
        follow(&mut own, &scene.pay(sender, 2 * DYNE), payer, client(9, u64::from(sender))).unwrap();
    }
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(3));
    let cells = read_cells(&frames[0].2[1..]).unwrap().2;
    let expected = |sender: u32| (!sender.is_multiple_of(3)).then_some([sender as u8; 32]);
    let told: Vec<_> = cells.iter().map(|(cell, _, hint)| (cell.sender, hint.copied())).collect();
    assert_eq!(told, (100..110).map(|sender| (key(sender), expected(sender))).collect::<Vec<_>>());
}

#[test]
fn a_window_halves_when_two_blocks_leave_out_and_widens_again() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    for sender in 100..1_100 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), client(9, u64::from(sender))).unwrap();
    }
    let keys = |range: std::ops::Range<u32>| range.map(key).collect::<Vec<_>>();
    let (frames, mine) = own.tell(&scene.state, &scene.system, Some(3));
    assert_eq!(told_to(&frames, 4, 1), keys(100..1_100), "all, in the order in which they came");
    assert!(told_to(&frames, 3, 1).is_empty() && mine.len() == 1_000, "the own pool gets them without the network");
    assert!(own.tell(&scene.state, &scene.system, Some(3)).0.is_empty(), "once a height");

    // Nothing of it is in the block, nor in the next one.
    let before = own.window();
    for window in [before, 500] {
        let parent = scene.block(&[]);
        assert_eq!(
            own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final).finals,
            0
        );
        assert_eq!(own.window(), window);
        if window == before {
            own.tell(&scene.state, &scene.system, Some(3));
        }
    }
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(3));
    assert_eq!(told_to(&frames, 4, 3), keys(100..600), "the oldest");
    assert_eq!(told_to(&frames, 0, 3), keys(100..600), "all minters the same");

    // All that was told is in this one.
    let parent = scene.block(&(100..600).collect::<Vec<_>>());
    let Settled { finals, frames: outcomes, .. } =
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
    assert_eq!((finals, own.len(), outcomes.len()), (500, 500, 1));
    assert_eq!(own.window(), 500 + 125 + 256);
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(3));
    assert_eq!(told_to(&frames, 4, 4), keys(600..1_100));

    // A few that no block takes narrow nothing, stand behind what is new, and are given up while others go through.
    let parent = scene.block(&(605..1_100).collect::<Vec<_>>());
    own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
    assert_eq!((own.len(), own.window()), (5, 881));
    for round in 0..5 {
        let fresh = 10 + 2 * round..12 + 2 * round;
        for sender in fresh.clone() {
            follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), client(9, 1)).unwrap();
        }
        let (frames, _) = own.tell(&scene.state, &scene.system, Some(3));
        let told = told_to(&frames, 4, scene.system.height + 1);
        assert_eq!((told.len(), &told[..2]), (7, &keys(fresh.clone())[..]));
        let parent = scene.block(&fresh.collect::<Vec<_>>());
        let Settled { frames: outcomes, .. } =
            own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert_eq!(outcomes.len(), if round < 4 { 1 } else { 2 }, "at the end those are told that were given up");
    }
    assert_eq!((own.len(), own.window()), (0, 881));
}

#[test]
fn the_narrowest_window_does_not_widen_while_nothing_goes_through() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    for sender in 100..1_100 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(0)).unwrap();
    }
    let first = own.window();
    for window in [first, 500, 256, 256] {
        own.tell(&scene.state, &scene.system, Some(3));
        let parent = scene.block(&[]);
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert_eq!((own.window(), own.len()), (window, 1_000));
    }
}

#[test]
fn what_is_handed_in_comes_in_frames_that_anybody_may_send() {
    let scene = Scene::new();
    // By a node without a name, which hands in all; by one without a seat, which tells its share; by a minter.
    for me in [None, Some(650), Some(3)] {
        let mut own = Own::default();
        for sender in 100..1_100 {
            follow(&mut own, &scene.pay_many(sender), due(sender, 2 * DYNE), caller(u64::from(sender))).unwrap();
        }
        let (frames, _) = own.tell(&scene.state, &scene.system, me);
        let longest = frames.iter().map(|(_, _, frame)| frame.len()).max().unwrap();
        let bound = Standing::Guest.bounds().frame_max[usize::from(CELLS)];
        assert!((bound / 2..=bound).contains(&longest), "{me:?}: {longest} bytes, a guest may send {bound}");
        let cells = |frame: &Arc<[u8]>| read_cells(&frame[1..]).unwrap().2.len();
        let handed: usize = frames.iter().map(|(_, _, frame)| cells(frame)).sum();
        assert!(handed >= 1_000, "{me:?}: {handed}");
    }
}

#[test]
fn what_no_minter_could_bring_into_a_block_is_given_up() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    follow(&mut own, &scene.pay(20, 2 * DYNE), due(20, 2 * DYNE), client(9, 0)).unwrap();
    let expires = scene.system.slot + 50;
    let mut handed = 0;
    while !own.is_empty() {
        assert!(scene.system.slot < expires, "it waits until it expires");
        // A node without a name hands in, and cannot know what became of it.
        handed += own.tell(&scene.state, &scene.system, None).0.len();
        let parent = scene.block(&[]);
        let Settled { finals, frames: outcomes, .. } =
            own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert_eq!((finals, outcomes.len()), (0, usize::from(own.is_empty())), "whoever sent it is told at the end");
    }
    assert_eq!(handed, 32);
}

#[test]
fn what_the_tables_do_not_let_in_any_more_is_given_up_at_once_and_a_smaller_block_is_no_try() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    for sender in 100..300 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(u64::from(sender))).unwrap();
    }
    // Blocks take three quarters of what is told, for many heights, and of the rest what they like.
    for _ in 0..12 {
        own.tell(&scene.state, &scene.system, Some(3));
        let parent = scene.block(&(100..250).collect::<Vec<_>>());
        let settled = own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert!(settled.given_up.is_empty() && own.len() == 50);
        for sender in 100..250 {
            follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(u64::from(sender))).unwrap();
        }
    }
    // One of them names what another has named first: it can stand in no block any more, and who asks hears so.
    own.tell(&scene.state, &scene.system, Some(3));
    let parent = scene.block(&(100..250).collect::<Vec<_>>());
    let settled = own.settle(
        &[0; 32],
        &scene.state,
        &parent,
        &scene.system,
        |_, account| (account != 260).then_some(()).ok_or(Refusal::NameTaken),
        |_, _| Fate::Final,
    );
    let given_up: Vec<_> =
        settled.given_up.iter().map(|(item, user, why)| (item.cell().unwrap().sender, *user, *why)).collect();
    assert_eq!(given_up, [(key(260), caller(260).user, Refusal::NameTaken)]);
    assert_eq!(own.len(), 49);
}

#[test]
fn one_of_an_account_and_sequence_is_followed() {
    let scene = Scene::new();
    let mut own = Own::default();
    let (one, other) = (scene.pay(20, 2 * DYNE), scene.pay(20, 3 * DYNE));
    follow(&mut own, &one, due(20, 2 * DYNE), caller(0)).unwrap();
    assert_eq!(follow(&mut own, &one, due(20, 2 * DYNE), caller(0)), Ok(()));
    assert_eq!(follow(&mut own, &other, due(20, 3 * DYNE), caller(0)), Err(Refusal::SenderConflict));
    assert_eq!(own.len(), 1);
}

#[test]
fn which_of_two_with_one_sequence_stays_does_not_depend_on_which_came_first() {
    let scene = Scene::new();
    let (one, other) = (scene.pay(20, 2 * DYNE), scene.pay(20, 3 * DYNE));
    let lower = if one.id() < other.id() { &one } else { &other };
    for order in [[&one, &other], [&other, &one]] {
        let mut pool = HeightPool::default();
        let outcomes = order.map(|item| scene.admit(&mut pool, item, 1));
        assert_eq!(
            outcomes.iter().filter(|outcome| **outcome == Err(Refusal::SenderConflict)).count(),
            usize::from(order[0].id() == lower.id())
        );
        let mut places = pool.told_for(1);
        assert_eq!(places.len(), 1);
        assert_eq!(pool.transaction(places.next().unwrap()).unwrap().0.id(), lower.id());
    }
}

#[test]
fn a_pool_holds_what_it_was_told_for_a_height_and_no_longer() {
    let mut scene = Scene::new();
    let mut pool = HeightPool::default();
    let (now, again, next) = (scene.pay(20, 2 * DYNE), scene.pay(21, 2 * DYNE), scene.pay(22, 2 * DYNE));
    [&now, &again].iter().for_each(|item| scene.admit(&mut pool, item, 1).unwrap());
    assert_eq!(scene.admit(&mut pool, &now, 1), Err(Refusal::Duplicate));
    // Whoever is a block ahead tells for the height after.
    scene.admit(&mut pool, &next, 2).unwrap();
    scene.admit(&mut pool, &again, 2).unwrap();
    assert_eq!(
        (pool.told_for(1).len(), pool.told_for(2).len()),
        (2, 2),
        "nobody takes anything out of this height by telling it for the next"
    );
    scene.block(&[]);
    pool.settle(&scene.system);
    assert_eq!((pool.len(), pool.told_for(2).len()), (2, 2));
}

/// A shard's minters have said how much they take of the next height: the most that any of them is told beyond its word
/// and the pace, of a thousand that could be told.
fn told_beyond_room() -> usize {
    let scene = Scene::new();
    let mut own = Own::default();
    let rooms: Vec<u64> = (0..10).map(|minter| 100 * (minter + 1)).collect();
    rooms.iter().zip(0..).for_each(|(&room, minter)| own.pace.hear(minter, 1, room));
    for sender in 100..1_100 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(u64::from(sender))).unwrap();
    }
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(3));
    let pace = 400;
    let told = |minter: u32| told_to(&frames, minter, 1);
    let beyond = (0..10).filter(|&minter| minter != 3).map(|minter| {
        let senders = told(minter);
        // Who takes half of the pace is told all of it, and closes the same set.
        let room = rooms[minter as usize];
        let may = if room >= pace / 2 { pace } else { room } as usize;
        assert_eq!(senders, (100..1_100).map(key).take(senders.len()).collect::<Vec<_>>(), "the oldest");
        assert!(senders.len() >= may, "{} of {may} are told to minter {minter}", senders.len());
        senders.len() - may
    });
    beyond.max().unwrap()
}

#[test]
fn a_shard_is_told_its_pace_and_no_minter_more_than_it_takes() {
    assert_eq!(told_beyond_room(), 0);
}

#[cfg(feature = "mutations")]
#[test]
fn with_room_ignored_minters_are_told_more_than_they_take() {
    use dynemix_engine::base::mutation::{Mutation, plant};
    plant(Some(Mutation::CapacityIgnored));
    let beyond = told_beyond_room();
    plant(None);
    assert!(beyond > 0, "the fault is one that the test above finds");
}

#[test]
fn no_more_waits_than_the_next_slot_takes_and_whoever_comes_later_finds_some() {
    let scene = Scene::new();
    let mut own = Own::default();
    own.begin(2_000);
    (0..10).for_each(|minter| own.pace.hear(minter, 1, 100));
    own.tell(&scene.state, &scene.system, Some(3));
    let mut fill = |from: u32, user: u64| {
        let follow = |sender: &u32| {
            follow(&mut own, &scene.pay(*sender, 2 * DYNE), due(*sender, 2 * DYNE), client(user, 0)).is_ok()
        };
        (from..from + 400).filter(follow).count()
    };
    // A hundred are told, and half as many may come while they are not final.
    let (flood, later) = (fill(100, 1), fill(500, 2));
    assert!((120..=150).contains(&flood) && later >= 10, "{flood} of one, then {later} of another");
    assert!(own.len() <= 150 && own.left() < 20, "{} wait, {} more may", own.len(), own.left());
    // Once it is known what the next height takes, three quarters of that.
    let here = own.len();
    let mut left = |room: Option<u64>, phase: Phase| {
        room.into_iter().for_each(|room| (0..10).for_each(|minter| own.pace.hear(minter, 2, room)));
        own.note_phase(phase);
        own.left()
    };
    assert_eq!(left(Some(100), Phase::Told), 175 - here);
    assert_eq!(left(Some(80), Phase::Told), 160 - here);
    // Nobody was told any of these, and for this height nobody is any more: they wait for the next one.
    assert_eq!(left(Some(400), Phase::ToldNoMore), 300 - here);
    assert_eq!(left(Some(100), Phase::ToldNoMore), 0, "{here} wait, of which it takes no more");
    // Before its slot has begun no more may come than it takes.
    own.note_phase(Phase::Before);
    assert_eq!(own.left(), 0);
}

#[test]
fn liars_who_say_that_they_take_everything_have_a_node_accept_no_more_than_its_window() {
    let scene = Scene::new();
    let mut own = Own::default();
    own.begin(2_000);
    (0..10).for_each(|minter| own.pace.hear(minter, 1, u64::MAX));
    own.tell(&scene.state, &scene.system, Some(3));
    let most = own.window() / 4 * 6;
    assert_eq!(own.left(), most, "all ten say so, as if they were liars");
}

#[test]
fn what_an_earlier_process_accepted_is_told_to_who_hands_it_in_again() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    let item = scene.pay(20, 2 * DYNE);
    assert!(own.resume(&item, caller(0).user, &scene.chain, &scene.state, &scene.system));
    assert!(!own.resume(&item, caller(0).user, &scene.chain, &scene.state, &scene.system), "once");
    assert_eq!(own.follow(&item, due(20, 2 * DYNE), client(9, 4)), Ok(false), "it is followed already");
    assert_eq!(own.follow(&item, due(20, 2 * DYNE), client(8, 0)), Ok(false));
    let parent = scene.block(&[20]);
    let Settled { finals, frames: outcomes, .. } =
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
    assert_eq!((finals, own.len(), outcomes.len()), (1, 0, 1), "one of them hears of it");
    assert!(matches!(outcomes[0].0, To::Peer(dynemix_net::mesh::PeerId(9))));
    assert!(!own.resume(&item, caller(0).user, &scene.chain, &scene.state, &scene.system), "it has ended");
}

#[test]
fn what_was_accepted_of_an_account_that_a_block_to_come_opens_waits_for_it() {
    let (before, mut after) = (Scene::new(), Scene::of(ACCOUNTS + 1, 10, 10));
    let mut own = Own::default();
    // Its sender is on the chain a block later: the state on the disk is behind what was accepted.
    let item = after.pay(ACCOUNTS, 2 * DYNE);
    assert!(own.resume(&item, caller(0).user, &before.chain, &before.state, &before.system));
    assert!(!own.resume(&item, caller(0).user, &before.chain, &before.state, &before.system), "once");
    own.resume_orphans(&before.chain, &before.state, &before.system);
    assert_eq!((own.len(), own.promised(), own.all().count()), (0, 1, 1), "it stays in the file");
    own.resume_orphans(&after.chain, &after.state, &after.system);
    assert_eq!((own.len(), own.promised()), (1, 1));
    assert_eq!(own.tell(&after.state, &after.system, Some(3)).1.len(), 1);
    let parent = after.block(&[ACCOUNTS]);
    assert_eq!(own.settle(&[0; 32], &after.state, &parent, &after.system, |_, _| Ok(()), |_, _| Fate::Final).finals, 1);
    // One whose sender never comes ends when it expires.
    assert!(own.resume(&item, caller(0).user, &before.chain, &before.state, &before.system));
    let mut late = before.system.clone();
    late.slot = item.cell().unwrap().expires_slot + 1;
    own.resume_orphans(&before.chain, &before.state, &late);
    assert_eq!(own.promised(), 0);
}
