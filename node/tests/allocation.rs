//! What a transaction costs of the allocator after warm-up, in the whole process of a minting node: from its frame to the
//! block that is durable and the answer.

mod common;

use common::*;
use dynemix::minting::counted::Counted;
use dynemix::minting::node::Node;
use dynemix::setup::clock::Clock;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Place;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The client's threads are not the node's.
    static IS_CLIENT: Place<bool> = const { Place::new(false) };
}

fn count() {
    // A thread that ends has no such place any more.
    if !IS_CLIENT.try_with(Place::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations a transaction, in hundredths: some 27 as it is, with one block a wave of 4 096. None is a transaction's own: they
/// are rows of a frame, a batch or a block, and what consensus needs for a block however many it has.
const HUNDREDTHS_MAX: u64 = 40;

#[test]
fn a_transaction_costs_few_allocations_after_warm_up() {
    const WAVE: usize = 4_096;
    IS_CLIENT.set(true);
    let directory = tempfile::tempdir().unwrap();
    // One block a wave, and as many senders as a wave has transactions.
    let secrets: Vec<ed25519_dalek::SigningKey> = (0..WAVE as u64)
        .map(|i| ed25519_dalek::SigningKey::from_bytes(blake3::hash(&i.to_le_bytes()).as_bytes()))
        .collect();
    let keys: Vec<_> = secrets.iter().map(|secret| secret.verifying_key().to_bytes()).collect();
    let genesis = || genesis_of(keys.iter().copied(), true);
    let mut options = options(directory.path(), genesis(), 0);
    options.clock = Clock::standing();
    options.counted = Some(Counted { block: WAVE as u64, total: u64::MAX });
    let node = Node::start(options).unwrap();
    let chain = genesis().chain;
    let waves: Vec<Vec<Cell>> = (0..12u64)
        .map(|wave| {
            let cell = |i: usize| {
                let mut cell = transfer(&chain, 1, keys[(7 * i + wave as usize) % WAVE], DYNE, wave);
                cell.sender = keys[i];
                let signed = [&chain.transaction_prefix[..], cell.signed_part()].concat();
                cell.signature = ed25519_dalek::Signer::sign(&secrets[i], &signed).to_bytes();
                cell
            };
            (0..WAVE).map(cell).collect()
        })
        .collect();
    let begin = || IS_CLIENT.set(true);
    let mut client = Client::try_connect(&chain, node.address().unwrap(), PATIENCE, begin).expect("it is let in");
    let mut run = |wave: &[Cell]| {
        client.submit(wave);
        let outcomes = client.outcomes(WAVE);
        assert!(outcomes.iter().all(|outcome| outcome.1.is_ok()));
    };
    let (warm_up, measured) = waves.split_at(6);
    warm_up.iter().for_each(|wave| run(wave));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    measured.iter().for_each(|wave| run(wave));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let transactions = (measured.len() * WAVE) as u64;
    println!("{allocations} allocations for {transactions} transactions");
    let hundredths = allocations * 100 / transactions;
    assert!(hundredths < HUNDREDTHS_MAX, "{allocations} allocations for {transactions} transactions");
    node.stop(true).unwrap();
}
