//! What a stranger can say to a node before and after the handshake: handshake messages, streams of frames, hellos,
//! cells, outcomes, addresses, pieces of snapshots, room; and what a node reads from its own disk. Never a panic, never more
//! memory than came.
#![no_main]

use dynemix::peer::frames::{Outcome, Piece, RoomWord, WantPiece, hello_is_signed, read_cells, read_hello, read_peers};
use dynemix::peer::paths::{WantPaths, paths_frame, read_paths};
use dynemix_engine::chain::tables::System;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_net::mesh::{Channel, Read, Reassembly, Verdict};
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
        let judge = |_, length| match length % 7 {
            0 => Verdict::PassOver,
            1 if length < 1 << 16 => Verdict::Answer,
            _ if length < 1 << 16 => Verdict::Take,
            _ => Verdict::Refuse,
        };
        if streams.take(class % 5, piece, Instant::now(), judge, |_, body, _| whole += body.len()).is_err() {
            break;
        }
        // Memory grows by half of what has come, and by a page at least in each class.
        assert!(streams.held() + whole <= bytes.len() * 3 / 2 + (4 << 12));
    }
    let _ = (read_hello(&[1; 32], bytes), hello_is_signed(&[1; 32], &[2; 32], bytes, |_, _, _| true));
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
    if let Some(room) = RoomWord::read(bytes) {
        assert_eq!(room.encode()[1..], *bytes);
    }
    if let Some(want) = WantPaths::read(bytes) {
        assert_eq!(want.encode()[1..], *bytes);
    }
    if let Some((place, proofs)) = read_paths(bytes) {
        assert_eq!(paths_frame(place, &proofs)[1..], *bytes);
    }
    if let Ok(system) = System::decode(bytes) {
        let mut again = Vec::new();
        system.encode(&mut again);
        assert_eq!(System::decode(&again), Ok(system));
    }
    let _ = SignedOnce::decode(bytes);
});
