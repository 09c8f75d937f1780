//! Full pools, full queues and the narrowest window, with the small preset of the limits
//! (`cargo test -p dynemix --features tiny-limits --test limits`).

mod scene;

use dynemix::minting::fate::{Fate, Settled};
use dynemix::minting::own::{Client, Own, Payer};
use dynemix::minting::pool::{HeightPool, Teller};
use dynemix_engine::base::limits::{FORWARDED_MAX, POOL_TRANSACTIONS_MAX, WINDOW_FIRST, WINDOW_MIN};
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::base::refusal::Refusal;
use scene::{Scene, caller, client, due, follow};

/// The first sender that is no minter's account.
const FIRST: u32 = 100;

#[test]
fn a_full_pool_refuses_and_takes_again_after_a_block() {
    let mut scene = Scene::new();
    let mut pool = HeightPool::default();
    let senders = FIRST..FIRST + POOL_TRANSACTIONS_MAX as u32;
    for sender in senders.clone() {
        // Of both heights that it holds, each told by another: one alone does not get all of it.
        let teller = Teller { name: sender, share: None };
        scene.admit_from(&mut pool, &scene.pay(sender, 2 * DYNE), 1 + u64::from(sender % 2), &teller).unwrap();
    }
    assert_eq!(pool.len(), POOL_TRANSACTIONS_MAX);
    let late = scene.pay(senders.end, 2 * DYNE);
    assert_eq!(scene.admit(&mut pool, &late, 1), Err(Refusal::Busy));
    assert_eq!(pool.len(), POOL_TRANSACTIONS_MAX, "nobody has made room");
    // Of two with one sequence the lower id stays, in a full pool too: it takes the place of the other.
    let (one, other) = (scene.pay(FIRST, 2 * DYNE), scene.pay(FIRST, 3 * DYNE));
    let expected = if other.id() < one.id() { Ok(()) } else { Err(Refusal::SenderConflict) };
    assert_eq!(scene.admit(&mut pool, &other, 1), expected);
    assert_eq!(pool.len(), POOL_TRANSACTIONS_MAX);

    scene.block(&[]);
    pool.settle(&scene.system);
    assert_eq!(pool.len(), POOL_TRANSACTIONS_MAX / 2, "what was told for the block is gone");
    scene.admit(&mut pool, &late, 2).unwrap();
}

#[test]
fn a_full_queue_of_own_transactions_refuses_and_takes_again_after_a_block() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    // What the window takes of a height, and half of that.
    let full = WINDOW_FIRST * 3 / 2;
    let senders = FIRST..FIRST + full as u32;
    for sender in senders.clone() {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), client(sender.into(), 0)).unwrap();
    }
    let late = scene.pay(senders.end, 2 * DYNE);
    assert_eq!(follow(&mut own, &late, due(senders.end, 2 * DYNE), client(senders.end.into(), 0)), Err(Refusal::Busy));
    assert_eq!(own.len(), full);

    // No more is told than the window has room for.
    let (_, mine) = own.tell(&scene.state, &scene.system, Some(3));
    assert_eq!((mine.len(), own.window()), (WINDOW_FIRST, WINDOW_FIRST));
    let parent = scene.block(&(FIRST..FIRST + WINDOW_FIRST as u32).collect::<Vec<_>>());
    let Settled { finals, .. } =
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
    assert_eq!((finals as usize, own.len()), (WINDOW_FIRST, full - WINDOW_FIRST));
    follow(&mut own, &late, due(senders.end, 2 * DYNE), client(senders.end.into(), 0)).unwrap();
}

#[test]
fn a_window_narrows_to_its_minimum_and_widens_to_its_maximum_and_no_further() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    let senders = FIRST..FIRST + FORWARDED_MAX as u32;
    let follow = |own: &mut Own, scene: &Scene| {
        for sender in senders.clone() {
            // Most of them are followed still.
            let followed = follow(own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), client(sender.into(), 0));
            assert!(matches!(followed, Ok(()) | Err(Refusal::Busy | Refusal::SenderConflict)), "{followed:?}");
        }
    };
    follow(&mut own, &scene);
    // Nothing goes through: after a height that may be lost by much else, half of what was told is told next, down to the
    // minimum.
    let mut window = WINDOW_FIRST;
    for lost in 0..9 {
        let (_, mine) = own.tell(&scene.state, &scene.system, Some(3));
        assert_eq!(mine.len(), window);
        let parent = scene.block(&[]);
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        window = if lost == 0 { window } else { (window / 2).max(WINDOW_MIN) };
        assert_eq!(own.window(), window);
    }
    assert_eq!(window, WINDOW_MIN);
    // All goes through: it widens, up to what a node forwards at most.
    for _ in 0..24 {
        let before = own.window();
        let told = own.tell(&scene.state, &scene.system, Some(3)).1;
        let mut used: Vec<u32> = told.iter().map(|(_, account, _)| *account).collect();
        used.sort_unstable();
        let parent = scene.block(&used);
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert_eq!(own.window(), (before + before / 4 + WINDOW_MIN).min(FORWARDED_MAX));
        follow(&mut own, &scene);
    }
    assert_eq!((own.window(), own.len()), (FORWARDED_MAX, FORWARDED_MAX));
}

#[test]
fn who_wants_all_the_room_leaves_some_to_whoever_comes_later() {
    let scene = Scene::new();
    let (mut own, mut pool) = (Own::default(), HeightPool::default());
    let greedy = FIRST..FIRST + FORWARDED_MAX as u32;
    let (mut followed, mut told) = (0, 0);
    for sender in greedy.clone() {
        let item = scene.pay(sender, 2 * DYNE);
        followed += usize::from(follow(&mut own, &item, due(sender, 2 * DYNE), client(7, 0)).is_ok());
        told += usize::from(scene.admit(&mut pool, &item, 1).is_ok());
    }
    assert_eq!((followed, told), (FORWARDED_MAX / 2, POOL_TRANSACTIONS_MAX / 2));
    let mut later = 0;
    for sender in greedy.end..greedy.end + 50 {
        let item = scene.pay(sender, 2 * DYNE);
        later += usize::from(follow(&mut own, &item, due(sender, 2 * DYNE), client(8, 0)).is_ok());
        scene.admit_from(&mut pool, &item, 1, &Teller { name: 9, share: None }).unwrap();
    }
    // What may be here, less what the first has.
    let left = WINDOW_FIRST * 3 / 2 - followed;
    assert!((left / 8 * 7..=left).contains(&later), "{later} of {left}: users of another connection");
}

#[test]
fn what_waits_for_its_turn_takes_no_room_from_what_does_not() {
    let scene = Scene::new();
    let mut own = Own::default();
    // Twenty connections in turn hand in what never comes to its turn, until they are refused; one by the API as well.
    let mut ahead = (FIRST..).flat_map(|sender| (1..8).map(move |after| (sender, after)));
    let mut fill = |own: &mut Own, user: Client| {
        let (sender, after) = ahead.next().unwrap();
        follow(own, &scene.pay_after(sender, 2 * DYNE, after), Payer { due: false, ..due(sender, 2 * DYNE) }, user)
    };
    for connection in (1..=20).map(|number| client(number, 0)).chain([caller(1)]) {
        (0..).take_while(|_| fill(&mut own, connection).is_ok()).count();
    }
    assert!((FORWARDED_MAX / 4 - 30..=FORWARDED_MAX / 4).contains(&own.len()), "{} wait for their turn", own.len());
    for sender in 1_000..1_050 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(2)).unwrap();
    }
    // Nor does one caller keep the others out with what is due.
    let some = (FIRST..1_000)
        .filter(|&sender| follow(&mut own, &scene.pay(sender, DYNE), due(sender, DYNE), caller(1)).is_ok());
    assert!((100..150).contains(&some.count()));
    follow(&mut own, &scene.pay(1_100, 2 * DYNE), due(1_100, 2 * DYNE), caller(3)).unwrap();
}

#[test]
fn what_has_come_to_its_turn_counts_among_what_is_due() {
    let mut scene = Scene::new();
    let mut own = Own::default();
    follow(&mut own, &scene.pay(FIRST, 2 * DYNE), due(FIRST, 2 * DYNE), caller(1)).unwrap();
    follow(&mut own, &scene.pay_after(FIRST, 2 * DYNE, 1), Payer { due: false, ..due(FIRST, 2 * DYNE) }, caller(1))
        .unwrap();
    assert_eq!(own.tell(&scene.state, &scene.system, Some(3)).1.len(), 1);
    for left in [1, 0] {
        let parent = scene.block(&[FIRST]);
        own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
        assert_eq!(own.tell(&scene.state, &scene.system, Some(3)).1.len(), left);
    }
    assert!(own.is_empty());
}
