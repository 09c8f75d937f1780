//! Everything that can be wrong with what a user hands in: each has a name that the user hears and a counter, and nobody
//! else is affected. What can be wrong before that, with connections, handshakes and pieces, is in `net/tests`; what
//! peers with a name can say falsely in `liars.rs`.

mod common;

use common::*;
use dynemix::minting::node::Node;
use dynemix::peer::frames::{CELLS, cells_frame};
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE, SUPPLY_GENESIS};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::{Cell, Output, payload_of};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A node, a client who only means well, and the next sequence of that client's sender (account 7).
struct Scene {
    _directory: tempfile::TempDir,
    node: Node,
    honest: Client,
    sequence: u64,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let node = start(directory.path());
        let honest = Client::welcomed(&node);
        Scene { _directory: directory, node, honest, sequence: 0 }
    }

    fn chain(&self) -> Chain {
        genesis().chain
    }

    /// The honest client is served as ever, and promptly.
    fn honest_is_fine(&mut self) {
        let cell = transfer(&self.chain(), 7, key(6), DYNE, self.sequence);
        let start = Instant::now();
        assert_eq!(self.honest.outcome(&cell), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        self.sequence += 1;
    }

    /// Stops the node; each of these refusals was counted so often, no unit came or went.
    fn end(mut self, counted: &[(Refusal, u64)]) {
        self.honest_is_fine();
        drop(self.honest);
        let view = self.node.view().clone();
        self.node.stop(false).unwrap();
        for &(refusal, count) in counted {
            assert_eq!(view.status.refused(refusal), count, "{}", refusal.name());
        }
        let all: u64 = (1..=255).filter_map(Refusal::from_number).map(|refusal| view.status.refused(refusal)).sum();
        assert_eq!(all, counted.iter().map(|counted| counted.1).sum::<u64>());
        let genesis = genesis();
        let supply = genesis.accounts.iter().map(|account| account.1).sum::<u64>() + genesis.minters[0].stake;
        assert_eq!(view.accounts.with(|state| state.supply()), u128::from(supply));
    }
}

#[test]
fn malformed_cells_are_named_one_by_one() {
    let mut scene = Scene::new();
    let chain = scene.chain();
    let good = transfer(&chain, 1, key(2), DYNE, 0);
    let signed = |change: &dyn Fn(&mut Cell)| {
        let mut cell = good;
        change(&mut cell);
        sign(&chain, 1, cell)
    };
    let cases = [
        (signed(&|cell| cell.version = 2), Refusal::UnknownVersion),
        (signed(&|cell| cell.kind = 99), Refusal::UnknownKind),
        (signed(&|cell| cell.reserved = 1), Refusal::ReservedNotZero),
        (signed(&|cell| cell.outputs = 0), Refusal::OutputCount),
        (signed(&|cell| cell.payload_hash = [1; 32]), Refusal::PayloadMismatch),
        (signed(&|cell| (cell.kind, cell.outputs) = (2, 2)), Refusal::PayloadMismatch),
        (signed(&|cell| cell.sequence = 1 << 32), Refusal::SequenceRange),
        (signed(&|cell| cell.expires_slot = u64::MAX), Refusal::ExpiresTooFar),
        (signed(&|cell| cell.amount = DYNE - 1), Refusal::AmountBelowMinimum),
        (signed(&|cell| cell.amount = u64::MAX), Refusal::AmountOverflow),
        (signed(&|cell| cell.amount = SUPPLY_GENESIS), Refusal::InsufficientBalance),
        (Cell { amount: 2 * DYNE, ..good }, Refusal::BadSignature),
        (Cell { signature: [0xff; 64], ..good }, Refusal::BadSignature),
        (Cell { signature: [0; 64], ..good }, Refusal::BadSignature),
        (sign(&chain, 99, good), Refusal::UnknownSender),
        (transfer(&chain, 1, key(2), DYNE, 8), Refusal::WrongSequence),
        (transfer(&chain, 1, [2; 32], DYNE, 0), Refusal::RecipientInvalid),
        (transfer(&chain, 1, [0; 32], DYNE, 0), Refusal::RecipientInvalid),
    ];
    let mut client = Client::welcomed(&scene.node);
    let named: Vec<_> = cases.iter().map(|(cell, _)| client.outcome(cell)).collect();
    assert_eq!(named, cases.iter().map(|case| Err(case.1)).collect::<Vec<_>>());
    // All of them in one frame with a good one in the middle: only that one passes.
    let mut frame: Vec<Cell> = cases.iter().map(|case| case.0).collect();
    frame.insert(7, good);
    let first = cases.len() as u64;
    client.submit(&frame);
    let outcomes = client.outcomes(frame.len());
    let passed = outcomes.iter().filter(|outcome| outcome.1.is_ok());
    assert_eq!(passed.map(|outcome| outcome.0 - first).collect::<Vec<_>>(), [7]);
    assert_eq!(client.outcome(&good), Err(Refusal::WrongSequence), "a final transaction does not repeat");
    scene.honest_is_fine();
    let mut counted = std::collections::BTreeMap::from([(Refusal::WrongSequence, 1)]);
    for (_, refusal) in &cases {
        *counted.entry(*refusal).or_insert(0) += 2;
    }
    scene.end(&counted.into_iter().collect::<Vec<_>>());
}

#[test]
fn an_expired_transaction_is_refused_at_the_door_and_while_it_waits() {
    let mut scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.node);
    // Waits behind a gap in the sequence until its slot is over.
    let expires_slot = scene.node.view().clock.now_ms() / SLOT_MS + 8;
    let waiting = sign(&chain, 1, Cell { sequence: 1, expires_slot, ..transfer(&chain, 1, key(2), DYNE, 0) });
    client.submit(&[waiting]);
    assert!(client.try_outcomes(1, Duration::from_millis(3 * SLOT_MS)).is_empty(), "it waits");
    scene.honest_is_fine();
    assert_eq!(client.outcomes(1), [(0, Err(Refusal::Expired))]);
    assert_eq!(client.outcome(&sign(&chain, 1, Cell { expires_slot, ..waiting })), Err(Refusal::Expired));
    let view = scene.node.view().clone();
    assert_eq!(view.status.refused(Refusal::Expired), 1, "what has waited is told, what comes is counted");
    scene.end(&[(Refusal::Expired, 1)]);
}

#[test]
fn copies_and_conflicts_leave_one_transaction() {
    let scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.node);
    // A gap keeps them waiting together. The first of one account and sequence is followed.
    let (one, other) = (transfer(&chain, 1, key(2), DYNE, 1), transfer(&chain, 1, key(3), DYNE, 1));
    client.submit(&[one]);
    client.submit(&[other, one]);
    assert_eq!(client.outcomes(1), [(1, Err(Refusal::SenderConflict))]);
    client.submit(&[transfer(&chain, 1, key(2), DYNE, 0)]);
    assert_eq!(client.outcomes(2), [(0, Ok(())), (3, Ok(()))], "whoever hands in a copy hears nothing of it");
    assert_eq!(client.outcome(&other), Err(Refusal::WrongSequence));
    scene.end(&[(Refusal::SenderConflict, 1), (Refusal::WrongSequence, 1)]);
}

#[test]
fn a_broken_copy_sent_first_does_not_shut_the_real_transaction_out() {
    let scene = Scene::new();
    let good = transfer(&scene.chain(), 1, key(2), DYNE, 0);
    let mut forged = good;
    forged.signature[0] ^= 1;
    let mut client = Client::welcomed(&scene.node);
    client.submit(&[forged, good]);
    assert_eq!(client.outcomes(2), [(0, Err(Refusal::BadSignature)), (1, Ok(()))]);
    scene.end(&[(Refusal::BadSignature, 1)]);
}

#[test]
fn who_is_of_another_chain_is_not_let_in_and_its_signatures_do_not_hold() {
    let scene = Scene::new();
    let other = Chain::new(ChainParameters { slot_ms: 1, ..scene.chain().parameters }, &[]);
    let address = scene.node.address().unwrap();
    assert!(Client::try_connect(&other, address, Duration::from_millis(600), || ()).is_none());
    let mut client = Client::welcomed(&scene.node);
    assert_eq!(client.outcome(&transfer(&other, 1, key(2), DYNE, 0)), Err(Refusal::BadSignature));
    scene.end(&[(Refusal::BadSignature, 1)]);
}

#[test]
fn frames_that_are_none_throw_out_who_sends_them_and_nobody_else() {
    let mut scene = Scene::new();
    let mut half = cells_frame(None, 0);
    half.extend_from_slice(&[7; 100]);
    let mut beyond = cells_frame(None, u64::MAX - 1);
    let good = transfer(&scene.chain(), 1, key(2), DYNE, 0);
    for _ in 0..4 {
        dynemix::peer::frames::put_cell(&mut beyond, bytemuck::bytes_of(&good), &[], None);
    }
    let cases = [vec![], vec![200, 1, 2, 3], half, beyond, vec![0, 9, 9, 9, 9], vec![1]];
    for frame in cases {
        let client = Client::welcomed(&scene.node);
        // Now and then anybody errs; who goes on does not.
        (0..6).for_each(|_| client.say(CELLS, frame.clone()));
        assert!(client.is_thrown_out(PATIENCE), "{frame:?}");
    }
    let longer = Client::welcomed(&scene.node);
    longer.say(CELLS, vec![1; 300 << 10]);
    assert!(longer.is_thrown_out(PATIENCE), "a frame that is longer than a guest's may be");
    scene.honest_is_fine();
    scene.end(&[]);
}

#[test]
fn who_shouts_into_the_socket_holds_up_nobody() {
    let mut scene = Scene::new();
    let address = scene.node.address().unwrap();
    let mut shouting: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (place, stream) in shouting.iter_mut().enumerate() {
        // The node may have hung up already.
        let _ = stream.write_all(&vec![place as u8; 61 * place]);
    }
    scene.honest_is_fine();
    scene.end(&[]);
}

#[test]
fn a_flood_of_broken_signatures_ends_with_who_sends_it() {
    let mut scene = Scene::new();
    let chain = scene.chain();
    let forged = Cell { signature: [0x5a; 64], ..transfer(&chain, 1, key(2), DYNE, 0) };
    let mut flood = Client::welcomed(&scene.node);
    // Each is another one: what was found bad once costs nothing the second time.
    let cells: Vec<Cell> = (0..4_000u64).map(|number| Cell { amount: DYNE + number, ..forged }).collect();
    flood.submit(&cells);
    scene.honest_is_fine();
    assert!(flood.is_thrown_out(PATIENCE), "a few thousand broken signatures are a ban");
    scene.honest_is_fine();
    let view = scene.node.view().clone();
    let refused = view.status.refused(Refusal::BadSignature);
    assert!((1..=4_000).contains(&refused), "{refused}");
    scene.end(&[(Refusal::BadSignature, refused)]);
}

#[test]
fn payloads_travel_to_the_state_and_bad_ones_are_named() {
    let scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.node);
    let payload =
        payload_of(&[Output { recipient: key(3), amount: 2 * DYNE }, Output { recipient: key(50), amount: 3 * DYNE }]);
    let cell = |payload: &[u8]| Cell {
        kind: 2,
        outputs: 3,
        payload_hash: *blake3::hash(payload).as_bytes(),
        ..transfer(&chain, 1, key(2), DYNE, 0)
    };
    let good = sign(&chain, 1, cell(&payload));
    let mut changed = payload.clone();
    changed[33] ^= 1;
    client.submit_with_payload(&good, &changed);
    client.submit_with_payload(&good, &payload[..40]);
    assert_eq!(client.outcomes(2), [(0, Err(Refusal::PayloadMismatch)), (1, Err(Refusal::PayloadMismatch))]);
    let bad_key =
        payload_of(&[Output { recipient: key(3), amount: DYNE }, Output { recipient: [2; 32], amount: DYNE }]);
    client.submit_with_payload(&sign(&chain, 1, cell(&bad_key)), &bad_key);
    assert_eq!(client.outcomes(1), [(2, Err(Refusal::RecipientInvalid))]);
    client.submit_with_payload(&good, &payload);
    assert_eq!(client.outcomes(1), [(3, Ok(()))]);
    // What it paid to the new account can be spent from there.
    assert_eq!(client.outcome(&transfer(&chain, 50, key(1), 3 * DYNE, 0)), Ok(()));
    assert_eq!(client.outcome(&transfer(&chain, 50, key(1), DYNE, 1)), Err(Refusal::InsufficientBalance));
    scene.end(&[(Refusal::PayloadMismatch, 2), (Refusal::RecipientInvalid, 1), (Refusal::InsufficientBalance, 1)]);
}
