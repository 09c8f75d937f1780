//! What strangers can do to a mesh: nothing. Alone in its process, since memory is measured.

mod common;

use common::{ByHand, Seen, hello_of, raise_descriptors, resident_bytes, start, start_with};
use dynemix_net::mesh::{MeshLimits, To};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
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
