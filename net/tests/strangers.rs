//! What strangers can do to a mesh: nothing. Alone in its process, since memory is measured.

mod common;

use common::{ByHand, Seen, hello_of, raise_descriptors, resident_bytes, start, start_with};
use dynemix_net::mesh::{HandshakeWork, MeshLimits, To};
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn strangers_lose_their_connection_and_nobody_else_anything() {
    let limits = MeshLimits { hello_time: Duration::from_secs(2), ..MeshLimits::default() };
    let (a, b) = (start_with(1, Some(1), b"chain", limits, ""), start(2, Some(2)));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    let address = a.address();
    let memory_before = resident_bytes();

    // Connections that say nothing: 5 000 of them, more than may wait for a handshake.
    raise_descriptors();
    let silent: Vec<_> = (0..5_000).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(silent.len() > 1_000, "only {} connections", silent.len());

    // Garbage before the handshake: lengths that cannot be, and random bytes.
    for garbage in [
        &[0xff; 64][..],
        &[0, 0, 1, 2],
        &[0, 32, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(garbage).unwrap();
    }
    // Garbage after it.
    let mut garbled = ByHand::introduced(address, &[9; 32], None).unwrap();
    garbled.stream.write_all(&[0, 40]).unwrap();
    garbled.stream.write_all(&[3; 40]).unwrap();
    assert!(garbled.is_closed(Duration::from_secs(5)));
    // A frame before the hello, an unknown class, a frame that is longer than a guest's may be.
    let long = (1u32 << 31).to_le_bytes();
    for (class, bytes, with_hello) in [(0, &[1, 0, 0, 0, 5][..], false), (77, &[1][..], true), (2, &long[..], true)] {
        let mut client = ByHand::connect(address, &[9; 32]).unwrap();
        if with_hello {
            let hello = hello_of(client.channel.handshake_hash(), None);
            client.say(255, &hello);
        }
        client.say(class, bytes);
        assert!(client.is_closed(Duration::from_secs(5)), "class {class}");
    }
    // A byte a second never gets to its hello.
    let mut slow = TcpStream::connect(address).unwrap();
    let begun = Instant::now();
    while slow.write_all(&[0]).is_ok() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "closed after its time");

    // All the while the two nodes talk.
    b.handle.send(To::Name(1), 0, vec![1, 2, 3].into());
    a.wait(|seen| matches!(seen, Seen::Frame(peer, 0, body) if peer.name == Some(2) && body[..] == [1, 2, 3]));
    let grown = resident_bytes().saturating_sub(memory_before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert!(a.handle.counters().evicted.load(Ordering::Relaxed) > 0);
    drop(silent);
}

#[test]
fn who_calls_without_a_word_does_not_hold_up_who_talks() {
    // Of the work that strangers may cost by default a fortieth, for a slow computer to come to its end.
    let handshake_work = HandshakeWork { total_micros: 5_000, net_micros: 5_000 };
    let limits = MeshLimits { handshake_work, ..MeshLimits::default() };
    let (a, b) = (start_with(11, Some(11), b"chain", limits, ""), start(12, Some(12)));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    let (address, stop, called) = (a.address(), AtomicBool::new(false), AtomicU64::new(0));
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut silent = VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    match TcpStream::connect(address) {
                        Ok(stream) => {
                            called.fetch_add(1, Ordering::Relaxed);
                            silent.push_back(stream);
                        }
                        // No port is free for a while.
                        Err(_) => std::thread::sleep(Duration::from_millis(1)),
                    }
                    silent.drain(..silent.len().saturating_sub(200));
                }
            });
        }
        let took = (0..300u16).map(|number| {
            let begun = Instant::now();
            b.handle.send(To::Name(11), 0, number.to_le_bytes().to_vec().into());
            let heard = a.handle.counters();
            while heard.frames[0].load(Ordering::Relaxed) <= u64::from(number)
                && begun.elapsed() < Duration::from_secs(5)
            {
                std::thread::sleep(Duration::from_micros(200));
            }
            let took = begun.elapsed();
            std::thread::sleep(Duration::from_millis(10));
            took
        });
        let took = took.collect();
        stop.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    let (median, late) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let refused = a.handle.counters().refused.load(Ordering::Relaxed);
    let called = called.load(Ordering::Relaxed);
    println!("median {median:?}, p99 {late:?}, {refused} of {called} refused");
    assert!(refused > 100, "{refused} of {called} were dropped before anything was made for them");
    assert!(late < Duration::from_millis(50), "{late:?}, and {median:?} in the middle");
}
