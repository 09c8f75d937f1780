//! Everything that can be wrong with what a peer sends: each has a name that the peer hears and a counter, and nobody
//! else is affected.

mod common;

use common::*;
use dynemix::pipeline::run::Pipeline;
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE, SUPPLY_GENESIS};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::{Cell, Output, payload_of};
use dynemix_engine::transaction::client_frames::{FrameKind, Header, hello};
use std::time::{Duration, Instant};

/// A node, a client who only means well, and the next sequence of that client's sender (account 7).
struct Scene {
    _directory: tempfile::TempDir,
    pipeline: Pipeline,
    honest: Client,
    sequence: u64,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let pipeline = Pipeline::start(config(&directory.path().join("state"))).unwrap();
        let honest = Client::welcomed(&pipeline);
        Scene { _directory: directory, pipeline, honest, sequence: 0 }
    }

    fn chain(&self) -> Chain {
        self.pipeline.chain().clone()
    }

    /// The honest client is served as ever, and promptly.
    fn honest_is_fine(&mut self) {
        let cell = transfer(&self.chain(), 7, key(6), DYNE, self.sequence);
        let start = Instant::now();
        assert_eq!(self.honest.outcome(&cell), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        self.sequence += 1;
    }

    /// Stops the node; nothing leaked, and each of these refusals was counted so often.
    fn end(mut self, counted: &[(Refusal, u64)]) {
        self.honest_is_fine();
        drop(self.honest);
        let summary = self.pipeline.stop().unwrap();
        for &(refusal, count) in counted {
            assert_eq!(summary.refused.get(refusal), count, "{}", refusal.name());
        }
        assert_eq!(
            summary.refused.total(),
            counted.iter().map(|counted| counted.1).sum::<u64>(),
            "{:?}",
            summary.refused
        );
        assert_eq!(summary.slots_lost, 0);
        assert_eq!(summary.ledger.supply, u128::from(1_000 * DYNE * u64::from(ACCOUNTS)));
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
    let mut client = Client::welcomed(&scene.pipeline);
    for (cell, refusal) in &cases {
        assert_eq!(client.outcome(cell), Err(*refusal));
    }
    // All of them in one frame with a good one in the middle: only that one passes.
    let mut frame: Vec<Cell> =
        cases.iter().filter(|case| case.1 != Refusal::RecipientInvalid).map(|case| case.0).collect();
    frame.insert(7, good);
    let first = cases.len() as u32;
    client.submit(&frame);
    let outcomes = client.outcomes(frame.len());
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.1.is_ok()).map(|outcome| outcome.0 - first).collect::<Vec<_>>(),
        [7]
    );
    assert_eq!(client.outcome(&good), Err(Refusal::WrongSequence), "a final transaction does not repeat");
    scene.honest_is_fine();
    let mut counted = std::collections::BTreeMap::from([(Refusal::WrongSequence, 1)]);
    for (_, refusal) in &cases {
        *counted.entry(*refusal).or_insert(0) += if *refusal == Refusal::RecipientInvalid { 1 } else { 2 };
    }
    scene.end(&counted.into_iter().collect::<Vec<_>>());
}

#[test]
fn an_expired_transaction_is_refused_at_the_door_and_in_the_pool() {
    let mut scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.pipeline);
    // Waits behind a gap in the sequence until its slot is over.
    let waiting = sign(&chain, 1, Cell { sequence: 1, expires_slot: 30, ..transfer(&chain, 1, key(2), DYNE, 0) });
    client.submit(&[waiting]);
    let mut outcomes = Vec::new();
    client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let start = Instant::now();
    while outcomes.is_empty() && start.elapsed() < Duration::from_secs(20) {
        scene.honest_is_fine();
        if let Said::Outcomes(said) = client.listen() {
            outcomes = said;
        }
    }
    assert_eq!(outcomes, [(0, Err(Refusal::Expired))]);
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(client.outcome(&sign(&chain, 1, Cell { expires_slot: 30, ..waiting })), Err(Refusal::Expired));
    scene.end(&[(Refusal::Expired, 2)]);
}

#[test]
fn duplicates_and_conflicts_leave_one_transaction() {
    let scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.pipeline);
    // A gap keeps them in the pool together.
    let one = transfer(&chain, 1, key(2), DYNE, 1);
    let other = transfer(&chain, 1, key(3), DYNE, 1);
    let (low, high) = if one.id(&chain.transaction_prefix) < other.id(&chain.transaction_prefix) {
        (one, other)
    } else {
        (other, one)
    };
    client.submit(&[high, high]);
    assert_eq!(client.outcomes(1), [(1, Err(Refusal::Duplicate))]);
    client.submit(&[low]);
    assert_eq!(client.outcomes(1), [(0, Err(Refusal::SenderConflict))]);
    client.submit(&[high]);
    assert_eq!(client.outcomes(1), [(3, Err(Refusal::SenderConflict))]);
    client.submit(&[transfer(&chain, 1, key(2), DYNE, 0)]);
    assert_eq!(client.outcomes(2), [(2, Ok(())), (4, Ok(()))]);
    scene.end(&[(Refusal::Duplicate, 1), (Refusal::SenderConflict, 2)]);
}

#[test]
fn a_broken_copy_sent_first_does_not_shut_the_real_transaction_out() {
    let scene = Scene::new();
    let good = transfer(&scene.chain(), 1, key(2), DYNE, 0);
    let mut forged = good;
    forged.signature[0] ^= 1;
    let mut client = Client::welcomed(&scene.pipeline);
    client.submit(&[forged, good]);
    assert_eq!(client.outcomes(2), [(0, Err(Refusal::BadSignature)), (1, Ok(()))]);
    scene.end(&[(Refusal::BadSignature, 1)]);
}

#[test]
fn another_chain_is_refused_at_hello_and_its_signatures_after() {
    let scene = Scene::new();
    let other = Chain::new(ChainParameters { slot_ms: 1, ..scene.chain().parameters }, &[]);
    let mut client = Client::connect(scene.pipeline.address());
    client.send(&hello(&other.genesis_hash));
    assert_eq!((client.listen(), client.listen()), (Said::Refused(Refusal::WrongChain), Said::Closed));
    let mut client = Client::connect(scene.pipeline.address());
    let mut frame = hello(&scene.chain().genesis_hash);
    frame[8] = 9;
    client.send(&frame);
    assert_eq!(client.listen(), Said::Refused(Refusal::WireVersion));
    let mut client = Client::welcomed(&scene.pipeline);
    assert_eq!(client.outcome(&transfer(&other, 1, key(2), DYNE, 0)), Err(Refusal::BadSignature));
    scene.end(&[(Refusal::WrongChain, 1), (Refusal::WireVersion, 1), (Refusal::BadSignature, 1)]);
}

#[test]
fn malformed_frames_end_their_connection_only() {
    let mut scene = Scene::new();
    let header = |kind: u8, length: u32, count: u16| Header { length, kind, count }.encode();
    let submit = FrameKind::Submit as u8;
    let cases = [
        (header(submit, 191, 1), Refusal::FrameLength),
        (header(submit, 192, 0), Refusal::FrameLength),
        (header(submit, 65 * 192, 65), Refusal::FrameTooLong),
        (header(submit, u32::MAX, 64), Refusal::FrameTooLong),
        (header(FrameKind::Payload as u8, 192, 1), Refusal::FrameLength),
        (header(FrameKind::Payload as u8, 192 + 3961, 1), Refusal::FrameTooLong),
        (header(200, 8, 0), Refusal::FrameUnknown),
        (header(FrameKind::Hello as u8, 40, 0), Refusal::FrameUnknown),
        ([0xff; 8], Refusal::FrameUnknown),
    ];
    let mut counted = std::collections::BTreeMap::from([(Refusal::HelloMissing, 1)]);
    for (bytes, refusal) in cases {
        let mut client = Client::welcomed(&scene.pipeline);
        client.send(&bytes);
        assert_eq!((client.listen(), client.listen()), (Said::Refused(refusal), Said::Closed));
        *counted.entry(refusal).or_insert(0) += 1;
    }
    let mut client = Client::connect(scene.pipeline.address());
    client.send(&header(submit, 192, 1));
    assert_eq!(client.listen(), Said::Refused(Refusal::HelloMissing));
    scene.honest_is_fine();
    scene.end(&counted.into_iter().collect::<Vec<_>>());
}

#[test]
fn half_a_frame_and_silence_is_cut_off_while_idle_connections_stay() {
    let mut scene = Scene::new();
    let mut idle = Client::welcomed(&scene.pipeline);
    let halves: Vec<Client> = (0..50)
        .map(|i| {
            let mut client = Client::welcomed(&scene.pipeline);
            let header = Header { length: 64 * 192, kind: FrameKind::Submit as u8, count: 64 };
            client.send(&header.encode()[..if i == 0 { 5 } else { 8 }]);
            if i > 1 {
                client.send(&vec![7; 100 * i]);
            }
            client
        })
        .collect();
    scene.honest_is_fine();
    for mut client in halves {
        assert_eq!((client.listen(), client.listen()), (Said::Refused(Refusal::FrameTimeout), Said::Closed));
    }
    assert_eq!(idle.outcome(&transfer(&scene.chain(), 1, key(2), DYNE, 0)), Ok(()));
    scene.end(&[(Refusal::FrameTimeout, 50)]);
}

#[test]
fn a_connection_that_breaks_off_inside_a_frame_leaves_nothing_behind() {
    let mut scene = Scene::new();
    for i in 0..100 {
        let mut client = Client::welcomed(&scene.pipeline);
        client.send(&Header { length: 64 * 192, kind: FrameKind::Submit as u8, count: 64 }.encode());
        client.send(&vec![1; 61 * i]);
        let mut client = Client::welcomed(&scene.pipeline);
        client.send(&Header { length: 192 + 80, kind: FrameKind::Payload as u8, count: 1 }.encode());
        client.send(&vec![1; 2 * i]);
    }
    scene.honest_is_fine();
    scene.end(&[]);
}

#[test]
fn a_full_arena_says_busy_and_recovers() {
    let scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.pipeline);
    // More than the 4096 slots, all of them waiting behind a gap: eight a sender is not enough, so cells that never
    // leave are made of bodies in progress instead.
    let mut holders: Vec<Client> = (0..80).map(|_| Client::welcomed(&scene.pipeline)).collect();
    for holder in &mut holders {
        holder.send(&Header { length: 64 * 192, kind: FrameKind::Submit as u8, count: 64 }.encode());
        holder.send(&vec![1; 63 * 192]);
    }
    std::thread::sleep(Duration::from_millis(50));
    let mut busy = 0;
    let mut sequence = 0;
    for _ in 0..8 {
        match client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)) {
            Ok(()) => sequence += 1,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Busy);
                busy += 1;
            }
        }
    }
    assert!(busy > 0, "80 bodies of 64 cells fill 4096 slots");
    for mut holder in holders {
        while holder.listen() != Said::Closed {}
    }
    assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
    scene.end(&[(Refusal::Busy, busy), (Refusal::FrameTimeout, 80)]);
}

#[test]
fn payloads_travel_to_the_state_and_bad_ones_are_named() {
    let scene = Scene::new();
    let chain = scene.chain();
    let mut client = Client::welcomed(&scene.pipeline);
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

#[test]
fn a_peer_that_never_reads_is_dropped_and_one_too_many_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory.path().join("state"));
    config.sizes.limits.connections_max = 2;
    config.sizes.limits.out_bytes_max = 4096;
    let pipeline = Pipeline::start(config).unwrap();
    let mut honest = Client::welcomed(&pipeline);
    let mut mute = Client::welcomed(&pipeline);
    let mut third = Client::connect(pipeline.address());
    assert_eq!(third.listen(), Said::Refused(Refusal::ConnectionLimit));
    // Answers to nonsense pile up until the socket and then the budget are full.
    let nonsense = vec![Cell { version: 9, ..transfer(pipeline.chain(), 1, key(2), DYNE, 0) }; 64];
    mute.stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let header = Header { length: 64 * 192, kind: FrameKind::Submit as u8, count: 64 }.encode();
    let frame = [&header[..], bytemuck::cast_slice(&nonsense)].concat();
    let start = Instant::now();
    while std::io::Write::write_all(&mut mute.stream, &frame).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60), "the mute peer is still served");
    }
    // What it sent may fill this small arena for a moment.
    let good = transfer(pipeline.chain(), 7, key(6), DYNE, 0);
    let patience = Instant::now() + Duration::from_secs(20);
    let served = std::iter::repeat_with(|| honest.outcome(&good))
        .inspect(|_| std::thread::sleep(Duration::from_millis(5)))
        .find(|outcome| *outcome != Err(Refusal::Busy) || Instant::now() > patience);
    assert_eq!(served, Some(Ok(())));
    let summary = pipeline.stop().unwrap();
    assert_eq!(summary.refused.get(Refusal::SlowReader), 1);
    assert!(summary.refused.get(Refusal::ConnectionLimit) >= 1);
    assert_eq!(summary.slots_lost, 0);
}
