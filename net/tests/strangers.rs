//! What strangers can do to a mesh: nothing. Alone in its process, since memory is measured.

mod common;

use common::{Seen, start, start_with};
use dynemix_net::mesh::{Channel, HANDSHAKE_BYTES_MAX, MeshLimits, To};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A client by hand: the handshake of a guest, and then whatever it likes.
struct ByHand {
    stream: TcpStream,
    channel: Channel,
}

impl ByHand {
    fn connect(address: SocketAddr) -> ByHand {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut channel = Channel::new(&[9; 32], b"chain", true);
        let mut read = vec![0; HANDSHAKE_BYTES_MAX];
        while !channel.is_open() {
            let mut out = Vec::new();
            channel.shake(&mut out).unwrap();
            stream.write_all(&out).unwrap();
            if channel.is_open() {
                break;
            }
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let bytes = usize::from(u16::from_be_bytes(length));
            read[..bytes].fill(0);
            stream.read_exact(&mut read[..bytes]).unwrap();
            let message = [&length[..], &read[..bytes]].concat();
            channel.read(&mut &message[..]).unwrap();
        }
        ByHand { stream, channel }
    }

    fn say(&mut self, class: u8, bytes: &[u8]) {
        let mut out = Vec::new();
        self.channel.write(class, &[bytes], &mut out);
        // It may be closed by now.
        let _ = self.stream.write_all(&out);
    }

    fn is_closed(&mut self, within: Duration) -> bool {
        let end = Instant::now() + within;
        let mut bytes = [0; 4096];
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while Instant::now() < end {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
                _ => {}
            }
        }
        false
    }
}

#[test]
fn strangers_lose_their_connection_and_nobody_else_anything() {
    let limits = MeshLimits { hello_time: Duration::from_secs(2), ..MeshLimits::default() };
    let (a, b) = (start_with(1, Some(1), b"chain", limits, ""), start(2, Some(2)));
    b.handle.set_targets(vec![a.target()]);
    b.wait(|seen| matches!(seen, Seen::Opened(_)));
    let address = a.address();
    let memory_before = resident_bytes();

    // Connections that say nothing: 5 000 of them, more than may wait for a handshake.
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(20_000),
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        },
    );
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
    let mut garbled = ByHand::connect(address);
    let hello = garbled.channel.handshake_hash().to_vec();
    garbled.say(255, &hello);
    garbled.stream.write_all(&[0, 40]).unwrap();
    garbled.stream.write_all(&[3; 40]).unwrap();
    assert!(garbled.is_closed(Duration::from_secs(5)));
    // A frame before the hello, an unknown class, a frame that is longer than a guest's may be.
    let long = (1u32 << 31).to_le_bytes();
    for (class, bytes, with_hello) in [(0, &[1, 0, 0, 0, 5][..], false), (77, &[1][..], true), (2, &long[..], true)] {
        let mut client = ByHand::connect(address);
        let hello = client.channel.handshake_hash().to_vec();
        if with_hello {
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

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
