//! The clients' door under clients that do not read. Alone in its process, since memory is measured.

mod common;

use common::resident_bytes;
use dynemix_net::{Closing, ConnectionId, HEADER_BYTES, Handler, Limits, PARTS_MAX, Server};
use std::io::{IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ANSWER_BYTES: usize = 64 << 10;
const TOTAL_BYTES: usize = 2 << 20;

/// Answers each header at length.
#[derive(Default)]
struct Talkative {
    slow: usize,
}

impl Handler for Talkative {
    fn opened(&mut self, _: ConnectionId) {}

    fn header(&mut self, _: ConnectionId, _: &[u8; HEADER_BYTES], out: &mut Vec<u8>) -> Result<usize, ()> {
        out.resize(out.len() + ANSWER_BYTES, 7);
        Ok(0)
    }

    fn parts<'a>(&'a mut self, _: ConnectionId, _: usize, _: &mut [IoSliceMut<'a>; PARTS_MAX]) -> usize {
        unreachable!("no frame has a body")
    }

    fn body(&mut self, _: ConnectionId, _: &mut Vec<u8>) -> Result<(), ()> {
        Ok(())
    }

    fn closing(&mut self, _: Option<ConnectionId>, why: Closing, _: &mut Vec<u8>) {
        self.slow += usize::from(why == Closing::SlowReader);
    }

    fn closed(&mut self, _: ConnectionId) {}
}

/// Asks, and reads nothing, until it is thrown out.
fn mute(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end && stream.write(&[0; HEADER_BYTES]).is_ok() {}
}

#[test]
fn who_asks_and_does_not_read_goes_when_all_together_are_too_much() {
    // Each alone may leave a gigabyte unread, and all together two megabytes.
    let limits = Limits {
        connections_max: 64,
        frame_timeout: Duration::from_secs(30),
        out_bytes_max: 1 << 30,
        out_bytes_total_max: TOTAL_BYTES,
    };
    let mut server = Server::listen("127.0.0.1:0".parse().unwrap(), limits).unwrap();
    let (address, mut handler) = (server.local_address().unwrap(), Talkative::default());
    let before = resident_bytes();
    let crowd: Vec<_> = (0..16).map(|_| std::thread::spawn(move || mute(address))).collect();
    let honest = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut answer = vec![0; ANSWER_BYTES];
        for _ in 0..50 {
            stream.write_all(&[1; HEADER_BYTES]).unwrap();
            stream.read_exact(&mut answer).unwrap();
        }
    });
    let (mut grown, end) = (0, Instant::now() + Duration::from_secs(20));
    while !(honest.is_finished() && handler.slow >= 16) {
        assert!(Instant::now() < end, "{} are thrown out", handler.slow);
        server.turn(&mut handler, Duration::from_millis(1), || false).unwrap();
        grown = grown.max(resident_bytes().saturating_sub(before));
    }
    honest.join().unwrap();
    assert!(grown < 16 * TOTAL_BYTES, "{grown} bytes");
    server.close_all(&mut handler);
    drop(server);
    crowd.into_iter().for_each(|mute| mute.join().unwrap());
}
