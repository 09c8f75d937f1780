//! What a stranger can say to a node before and after the handshake: handshake messages, streams of frames, hellos,
//! cells, outcomes, addresses, pieces of snapshots; and what a node reads from its own disk. Never a panic, never more
//! memory than came.
#![no_main]

use dynemix::peer::frames::{Outcome, Piece, WantPiece, read_cells, read_hello, read_peers};
use dynemix_engine::chain::tables::System;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_net::mesh::{CLASSES, Channel, Read, Reassembly};
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

fuzz_target!(|bytes: &[u8]| {
    // A responder that hears these bytes as its handshake.
    let mut channel = Channel::new(&[7; 32], b"chain", false);
    let mut rest = bytes;
    let mut out = Vec::new();
    while let Ok(Read::Shaken | Read::Piece(..)) = channel.read(&mut rest) {
        if channel.shake(&mut out).is_err() {
            break;
        }
    }
    // The same bytes as pieces of streams.
    let (mut streams, mut whole) = (Reassembly::default(), 0);
    for piece in bytes.chunks(37) {
        let (class, piece) = piece.split_first().expect("not empty");
        if streams.take(class % 5, piece, &[1 << 16; CLASSES], Instant::now(), |_, body| whole += body.len()).is_err() {
            break;
        }
        assert!(streams.held() + whole <= bytes.len());
    }
    let _ = read_hello(&[1; 32], &[2; 32], bytes, |_, _, _| false);
    let _ = (read_cells(bytes), read_peers(bytes));
    if let Some(want) = WantPiece::read(bytes) {
        assert_eq!(want.encode()[1..], *bytes);
    }
    if let Some(piece) = Piece::read(bytes) {
        assert!(piece.offers().len() <= piece.bytes.len() / 40 && piece.bytes.len() <= bytes.len());
    }
    if let Some(outcome) = Outcome::read(bytes) {
        assert_eq!(outcome.encode()[1..], *bytes);
    }
    if let Ok(system) = System::decode(bytes) {
        let mut again = Vec::new();
        system.encode(&mut again);
        assert_eq!(System::decode(&again), Ok(system));
    }
    let _ = SignedOnce::decode(bytes);
});
