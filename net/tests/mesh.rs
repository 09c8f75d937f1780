//! The mesh over real sockets: who gets in and what arrives.

mod common;

use common::{ByHand, Door, Seen, run_with, start, start_with};
use dynemix_net::mesh::{Event, Mesh, MeshLimits, MeshOptions, Share, Standing, Target, To, public_key};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[test]
fn frames_of_every_class_arrive_and_the_urgent_overtake() {
    let (a, b) = (start(1, Some(1)), start(2, Some(2)));
    b.handle.set_standings([(1, Standing::Seated)].into());
    a.handle.set_standings([(2, Standing::Seated)].into());
    // Each calls the other: one connection stays.
    a.handle.set_targets(vec![b.target()]);
    b.handle.set_targets(vec![a.target()]);
    for (running, other) in [(&a, 2), (&b, 1)] {
        running.wait(|seen| matches!(seen, Seen::Opened(peer) if peer.name == Some(other)));
    }
    std::thread::sleep(Duration::from_millis(300));
    let large: Arc<[u8]> = vec![7; 30 << 20].into();
    a.handle.send_all([
        (To::Name(2), 2, large.clone()),
        (To::Name(2), 2, large.clone()),
        (To::Name(2), 0, vec![9].into()),
    ]);
    let mut order = Vec::new();
    while order.len() < 3 {
        if let Seen::Frame(peer, class, body) = b.wait(|seen| matches!(seen, Seen::Frame(..))) {
            assert_eq!(peer.name, Some(1));
            assert!(class == 0 || body[..] == large[..]);
            order.push(class);
        }
    }
    assert_eq!(order[0], 0, "the vote came first");
    assert_eq!(
        (a.handle.counters().members.load(Ordering::Relaxed), b.handle.counters().members.load(Ordering::Relaxed)),
        (1, 1)
    );
}

#[test]
fn a_line_of_ten_megabits_takes_its_time_and_delay() {
    let limits = MeshLimits::default();
    let (a, b) = (
        start_with(1, Some(1), b"c", limits, "rate=10mbit,delay=100ms"),
        start_with(2, Some(2), b"c", limits, "rate=10mbit,delay=100ms"),
    );
    b.handle.set_standings([(1, Standing::Seated)].into());
    a.handle.set_targets(vec![b.target()]);
    a.wait(|seen| matches!(seen, Seen::Opened(_)));
    let begun = Instant::now();
    a.handle.send(To::Name(2), 2, vec![7; 1_250_000].into());
    b.wait(|seen| matches!(seen, Seen::Frame(..)));
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_000)..Duration::from_millis(2_500)).contains(&took), "{took:?}");
}

#[test]
fn whoever_comes_back_is_called_again_and_guests_may_come() {
    let a = start(1, Some(1));
    let b = start(2, None);
    b.handle.set_targets(vec![a.target()]);
    a.wait(|seen| matches!(seen, Seen::Opened(peer) if peer.name.is_none()));
    let (address, key) = (a.address(), a.key);
    drop(a);
    b.wait(|seen| matches!(seen, Seen::Closed(..)));
    let options = MeshOptions {
        listen: Some(address),
        prologue: b"chain".to_vec(),
        secret: [1; 32],
        limits: MeshLimits::default(),
        link: Default::default(),
    };
    let (mesh, handle) = Mesh::new(options, Door { name: Some(1), ..Door::default() }).unwrap();
    let thread = std::thread::spawn(move || mesh.run(|_| ()).unwrap());
    assert_eq!(public_key(&[1; 32]), key);
    b.wait(|seen| matches!(seen, Seen::Opened(peer) if peer.name == Some(1)));
    handle.stop();
    thread.join().unwrap();
}

#[test]
fn who_misses_an_answer_is_told_so_by_the_end_of_its_connection() {
    let mut limits = MeshLimits::default();
    limits.of_mut(Standing::Guest).outgoing_max[3] = 64 << 10;
    let a = start_with(1, Some(1), b"chain", limits, "");
    let b = start(2, None);
    b.handle.set_targets(vec![a.target()]);
    let opened = a.wait(|seen| matches!(seen, Seen::Opened(_)));
    let Seen::Opened(peer) = opened else { panic!("waited for above") };
    // All at once: the first would have to go for the last.
    a.handle.send_all([1, 2, 3].map(|byte| (To::Peer(peer.id), 3, vec![byte; 40 << 10].into())));
    let closed = a.wait(|seen| matches!(seen, Seen::Closed(..)));
    assert_eq!(closed, Seen::Closed(peer, "an answer to it found no room"));
    // It is back, and asks again.
    b.wait(|seen| matches!(seen, Seen::Closed(..)));
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
}

#[test]
fn whoever_hangs_up_at_once_keeps_the_points_it_was_given() {
    let a = start(1, Some(1));
    let b = start(2, None);
    b.handle.set_targets(vec![a.target()]);
    let Seen::Opened(peer) = a.wait(|seen| matches!(seen, Seen::Opened(_))) else { unreachable!("waited for") };
    drop(b);
    a.wait(|seen| matches!(seen, Seen::Closed(..)));
    a.handle.penalise(peer.id, 100);
    let again = start(2, None);
    again.handle.set_targets(vec![a.target()]);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert_eq!(a.handle.counters().guests.load(Ordering::Relaxed), 0, "its key is banned");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_has_something_new_to_say_of_itself_calls_again() {
    let a = start(1, Some(1));
    let b = start(2, Some(2));
    b.handle.set_targets(vec![a.target()]);
    let first = a.wait(|seen| matches!(seen, Seen::Opened(_)));
    b.handle.call_again();
    a.wait(|seen| matches!(seen, Seen::Closed(..)));
    let second = a.wait(|seen| matches!(seen, Seen::Opened(_)));
    let (Seen::Opened(first), Seen::Opened(second)) = (first, second) else { unreachable!("waited for") };
    assert_eq!((first.name, second.name, first.id == second.id), (Some(2), Some(2), false));
}

#[test]
fn another_chain_another_key_and_an_impostor_stay_outside() {
    let a = start(1, Some(1));
    // Another chain: the handshake itself fails.
    let other = start_with(2, Some(2), b"another chain", MeshLimits::default(), "");
    other.handle.set_targets(vec![a.target()]);
    // Someone else answers where a key was expected.
    let deceived = start(3, Some(3));
    deceived.handle.set_targets(vec![Target { key: [77; 32], address: a.address() }]);
    // Someone who repeats what another has said on another connection.
    let before = a.signed.load(Ordering::Relaxed);
    for tried in 1..=3 {
        let mut impostor = ByHand::connect(a.address(), &[4; 32]).unwrap();
        impostor.say(255, &[&[9; 32][..], &2u32.to_le_bytes()].concat());
        a.wait(|seen| *seen == Seen::TurnedAway);
        assert!(impostor.is_closed(Duration::from_secs(5)), "hello {tried}");
    }
    // Three lies are a ban of its key, and the fourth hello is not even looked at. Nothing was signed for it.
    let proofs = a.handle.counters().proofs.load(Ordering::Relaxed);
    let mut impostor = ByHand::connect(a.address(), &[4; 32]).unwrap();
    impostor.say(255, &[&[9; 32][..], &2u32.to_le_bytes()].concat());
    assert!(impostor.is_closed(Duration::from_secs(5)));
    assert_eq!((proofs, a.handle.counters().proofs.load(Ordering::Relaxed)), (3, 3));
    assert_eq!(a.signed.load(Ordering::Relaxed), before);
    let end = Instant::now() + Duration::from_secs(10);
    while other.handle.counters().handshakes_failed.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < end, "the other chain's handshake fails");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    for outside in [&other, &deceived] {
        assert_eq!(outside.handle.counters().members.load(Ordering::Relaxed), 0);
    }
    assert_eq!(a.handle.counters().members.load(Ordering::Relaxed), 0);
}

#[test]
fn who_has_not_introduced_itself_costs_no_signature() {
    let a = start(1, Some(1));
    let _silent: Vec<ByHand> = (0..20).map(|_| ByHand::connect(a.address(), &[9; 32]).unwrap()).collect();
    let mut garbled = ByHand::connect(a.address(), &[8; 32]).unwrap();
    garbled.say(255, b"no hello at all");
    a.wait(|seen| *seen == Seen::TurnedAway);
    assert_eq!(a.signed.load(Ordering::Relaxed), 0);
    ByHand::introduced(a.address(), &[7; 32], None).unwrap();
    assert_eq!((a.signed.load(Ordering::Relaxed), a.handle.counters().proofs.load(Ordering::Relaxed)), (1, 0));
}

#[test]
fn handshakes_cost_no_more_than_they_may_and_who_is_delayed_comes_all_the_same() {
    let mut limits = MeshLimits::default();
    // Of named callers two come at once, and then one in a second and a half.
    limits.handshake_work.total_micros = 1_600;
    let a = start_with(1, Some(1), b"chain", limits, "");
    let address = a.address();
    let begun = Instant::now();
    let callers: Vec<_> = (0..4u8)
        .map(|caller| {
            std::thread::spawn(move || ByHand::introduced(address, &[20 + caller; 32], Some(u32::from(caller) + 10)))
        })
        .collect();
    assert!(callers.into_iter().all(|caller| caller.join().unwrap().is_ok()));
    let took = begun.elapsed();
    assert!((Duration::from_millis(1_500)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert!(a.handle.counters().delayed.load(Ordering::Relaxed) > 0);
}

#[test]
fn megabytes_come_from_who_has_a_duty_or_was_asked_and_from_nobody_else() {
    let (a, b) = (start(1, Some(1)), start(2, Some(2)));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    let Seen::Opened(peer) = a.wait(|seen| matches!(seen, Seen::Opened(_))) else { unreachable!("waited for") };
    assert_eq!(peer.standing, Standing::Named);
    let long: Arc<[u8]> = vec![5; 3 << 20].into();
    let passed = |bytes: u64| {
        a.until("it is thrown away", |handle| handle.counters().passed_over.load(Ordering::Relaxed) == bytes);
    };
    let next = || match a.wait(|seen| matches!(seen, Seen::Frame(..) | Seen::Closed(..))) {
        Seen::Frame(peer, 2, body) => (peer.standing, body.len()),
        other => panic!("{other:?}"),
    };
    // A name alone: it is passed over, and the connection goes on, for it may be honest, and we behind.
    b.handle.send(To::Name(1), 2, long.clone());
    passed(3 << 20);
    // Asked: one answer, and no second one.
    a.handle.ask(To::Name(2), 2, vec![1].into(), 1);
    b.wait(|seen| matches!(seen, Seen::Frame(..)));
    b.handle.send(To::Name(1), 2, long.clone());
    assert_eq!(next(), (Standing::Named, 3 << 20));
    b.handle.send(To::Name(1), 2, vec![6; 3 << 20].into());
    passed(6 << 20);
    // Seated, and no more.
    a.handle.set_standings([(2, Standing::Seated)].into());
    b.handle.send(To::Name(1), 2, long.clone());
    assert_eq!(next(), (Standing::Seated, 3 << 20));
    a.handle.set_standings(BTreeMap::new());
    a.until("its seat is over", |handle| handle.counters().standings[2].load(Ordering::Relaxed) == 1);
    b.handle.send(To::Name(1), 2, vec![6; 3 << 20].into());
    passed(9 << 20);
    // What nobody may send ends the connection.
    b.handle.send(To::Name(1), 1, vec![6; (16 << 20) + 1].into());
    a.wait(|seen| matches!(seen, Seen::Closed(_, "a frame that cannot be")));
}

#[test]
fn what_a_frame_becomes_is_charged_to_its_sender_or_refused() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let a = run_with(
        1,
        Some(1),
        (b"chain", ""),
        MeshLimits::default(),
        || (),
        move |event| match event {
            Event::Frame(_, _, body) => {
                keep.lock().unwrap().push(body);
                None
            }
            Event::Opened(peer, ..) => Some(Seen::Opened(peer)),
            _ => None,
        },
    );
    let b = start(2, Some(2));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    b.handle.send(To::Name(1), 3, vec![1; 1_000].into());
    a.until("it has come", |_| kept.lock().unwrap().len() == 1);
    let named = Share::Of(Standing::Named);
    let before = a.handle.ledger().pending(named);
    assert!((1_000..2_000).contains(&before));
    let mut body = kept.lock().unwrap().pop().unwrap();
    assert_eq!(body.weight(), before);
    body.charge(1 << 20).unwrap();
    assert_eq!((body.weight(), a.handle.pending()), (before + (1 << 20), before + (1 << 20)));
    let ceiling = a.handle.ledger().ceiling(named);
    b.handle.send(To::Name(1), 3, vec![2; 1_000].into());
    a.until("another has come", |_| kept.lock().unwrap().len() == 1);
    assert_eq!(body.charge(ceiling).unwrap_err().share, named);
    assert_eq!(a.handle.counters().over_budget.load(Ordering::Relaxed), 1);
    // One that is alone is worked off whatever it becomes.
    kept.lock().unwrap().clear();
    body.charge(ceiling).unwrap();
    drop(body);
    assert_eq!(a.handle.pending(), 0);
}

#[test]
fn what_is_set_aside_keeps_nothing_of_its_sender_from_being_read() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let mut limits = MeshLimits::default();
    limits.of_mut(Standing::Seated).pending_max = 1 << 20;
    let hear = move |event| match event {
        // Long ones wait until there is time for them.
        Event::Frame(_, 2, mut body) => {
            body.set_aside().expect("alone, or all of them together fit");
            keep.lock().unwrap().push(body);
            None
        }
        Event::Frame(peer, class, body) => Some(Seen::Frame(peer, class, body.to_vec())),
        Event::Opened(peer, ..) => Some(Seen::Opened(peer)),
        _ => None,
    };
    let a = run_with(1, Some(1), (b"chain", ""), limits, || (), hear);
    let b = start(2, Some(2));
    a.handle.set_standings([(2, Standing::Seated)].into());
    b.handle.set_standings([(1, Standing::Seated)].into());
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    b.handle.send(To::Name(1), 2, vec![1; 6 << 20].into());
    a.until("it has come", |_| kept.lock().unwrap().len() == 1);
    // It holds six times what may wait of its sender.
    b.handle.send(To::Name(1), 0, vec![2; 100].into());
    a.wait(|seen| matches!(seen, Seen::Frame(_, 0, _)));
    let pending = |share| a.handle.ledger().pending(share);
    assert!(pending(Share::Answers) > 6 << 20 && pending(Share::Of(Standing::Seated)) < 1 << 20);
    kept.lock().unwrap().clear();
    assert_eq!(a.handle.pending(), 0);
}

#[test]
fn what_nobody_works_off_is_not_read() {
    let mut limits = MeshLimits::default();
    limits.of_mut(Standing::Seated).pending_max = 1 << 20;
    let (a, b) = (start_with(1, Some(1), b"chain", limits, ""), start(2, Some(2)));
    a.handle.set_standings([(2, Standing::Seated)].into());
    b.handle.set_standings([(1, Standing::Seated)].into());
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    for byte in 0..8 {
        b.handle.send(To::Name(1), 2, vec![byte; 4 << 20].into());
    }
    let mut arrived = 0;
    while arrived < 8 {
        a.wait(|seen| matches!(seen, Seen::Frame(..)));
        arrived += 1;
        assert!(a.handle.pending() <= 8 << 20);
    }
}
