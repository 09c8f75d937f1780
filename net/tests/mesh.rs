//! The mesh over real sockets: who gets in and what arrives.

mod common;

use common::{Door, Seen, start, start_with};
use dynemix_net::mesh::{Mesh, MeshLimits, MeshOptions, Target, To, public_key};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn frames_of_every_class_arrive_and_the_urgent_overtake() {
    let (a, b) = (start(1, Some(1)), start(2, Some(2)));
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
    let (mesh, handle) = Mesh::new(options, Door { name: Some(1) }).unwrap();
    let thread = std::thread::spawn(move || mesh.run(|_| ()).unwrap());
    assert_eq!(public_key(&[1; 32]), key);
    b.wait(|seen| matches!(seen, Seen::Opened(peer) if peer.name == Some(1)));
    handle.stop();
    thread.join().unwrap();
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
    // A name that the door does not know.
    let impostor = start(4, Some(200));
    impostor.handle.set_targets(vec![a.target()]);
    a.wait(|seen| *seen == Seen::TurnedAway);
    let end = Instant::now() + Duration::from_secs(10);
    while other.handle.counters().handshakes_failed.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < end, "the other chain's handshake fails");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    for outside in [&other, &deceived, &impostor] {
        assert_eq!(outside.handle.counters().members.load(Ordering::Relaxed), 0);
    }
    assert_eq!(a.handle.counters().members.load(Ordering::Relaxed), 0);
}

#[test]
fn what_nobody_works_off_is_not_read() {
    let limits = MeshLimits { pending_max: [1 << 20, 1 << 16], ..MeshLimits::default() };
    let (a, b) = (start_with(1, Some(1), b"chain", limits, ""), start(2, Some(2)));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    for _ in 0..20 {
        b.handle.send(To::Name(1), 2, vec![0; 4 << 20].into());
    }
    let mut arrived = 0;
    while arrived < 20 {
        a.wait(|seen| matches!(seen, Seen::Frame(..)));
        arrived += 1;
        assert!(a.handle.pending() <= 8 << 20);
    }
}
