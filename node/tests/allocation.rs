//! After warm-up no transaction costs an allocation: many more transactions, no more allocations than their batches
//! need.

mod common;

use common::*;
use dynemix::pipeline::run::Pipeline;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn transactions_allocate_nothing() {
    const WAVE: usize = 2048;
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory.path().join("state"));
    // One block a wave, and as many senders as a wave has transactions.
    let secrets: Vec<ed25519_dalek::SigningKey> = (0..WAVE as u64)
        .map(|i| ed25519_dalek::SigningKey::from_bytes(blake3::hash(&i.to_le_bytes()).as_bytes()))
        .collect();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.verifying_key().to_bytes()).collect();
    config.genesis = std::sync::Arc::new(keys.iter().map(|&key| (key, 1_000 * DYNE)).collect());
    config.supply = 1_000 * DYNE * WAVE as u64;
    config.plan = dynemix::pipeline::ledger::SlotPlan::Counted { block: WAVE as u64, total: u64::MAX };
    config.sizes.key_cache_keys = 4 * WAVE;
    let pipeline = Pipeline::start(config).unwrap();
    let prefix = pipeline.chain().transaction_prefix;
    let waves: Vec<Vec<Cell>> = (0..12u64)
        .map(|wave| {
            (0..WAVE)
                .map(|i| {
                    let mut cell = transfer(pipeline.chain(), 1, keys[(7 * i + wave as usize) % WAVE], DYNE, wave);
                    cell.sender = keys[i];
                    cell.signature =
                        ed25519_dalek::Signer::sign(&secrets[i], &[&prefix[..], cell.signed_part()].concat())
                            .to_bytes();
                    cell
                })
                .collect()
        })
        .collect();
    let mut client = Client::welcomed(&pipeline);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for wave in &waves {
        let mut bytes = Vec::new();
        for cells in wave.chunks(64) {
            let header = dynemix_engine::transaction::client_frames::Header {
                length: (cells.len() * 192) as u32,
                kind: 3,
                count: cells.len() as u16,
            };
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(bytemuck::cast_slice(cells));
        }
        frames.push(bytes);
    }
    let mut answer = vec![0u8; 1 << 16];
    let mut run = |frames: &[u8]| {
        client.send(frames);
        let mut records = 0;
        let mut expected = None;
        // Counts records without allocating: whole frames of answers are read by their headers.
        while records < WAVE {
            std::io::Read::read_exact(&mut client.stream, &mut answer[..8]).unwrap();
            let header = dynemix_engine::transaction::client_frames::Header::decode(answer[..8].try_into().unwrap());
            std::io::Read::read_exact(&mut client.stream, &mut answer[..header.length as usize]).unwrap();
            records += usize::from(header.count);
            expected = expected.or(Some(answer[4]));
        }
        assert_eq!((records, expected), (WAVE, Some(0)));
    };
    let (warm_up, measured) = frames.split_at(6);
    warm_up.iter().for_each(|frames| run(frames));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    measured.iter().for_each(|frames| run(frames));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let transactions = (measured.len() * WAVE) as u64;
    // What is left belongs to batches and blocks: buffers inside multi-scalar multiplication, jobs of parallel sorts.
    assert!(allocations < transactions / 10, "{allocations} allocations for {transactions} transactions");
    println!("{allocations} allocations for {transactions} transactions");
    pipeline.stop().unwrap();
}
