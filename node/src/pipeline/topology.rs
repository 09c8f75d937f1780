//! The node's pipeline as one value: which threads, which rings, which memory.

use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::pipeline::arena::Arena;
use dynemix_engine::pipeline::in_flight::InFlight;
use dynemix_engine::pipeline::ledger::Ledger;
use dynemix_engine::pipeline::topology::{PoolSpec, RingSpec, StageSpec, Topology};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::verify::{KeyCache, Simd};
use dynemix_net::Limits;

/// Entries of a forward ring: enough to ride out a block of the ledger without holding the whole arena.
const FORWARD_DEPTH: usize = 1 << 16;

/// The sizes that a topology follows from.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Cells that may be under way at a time.
    pub slots: u32,
    /// Payloads that may be under way at a time.
    pub payload_slots: u32,
    /// Threads that verify, one at least.
    pub verify_threads: usize,
    /// Vector instructions that they use.
    pub simd: Simd,
    /// Accounts that the state has room for.
    pub accounts_max: u32,
    /// Decoded keys that are kept.
    pub key_cache_keys: usize,
    /// The network's limits.
    pub limits: Limits,
}

/// Places in the memory of what is inside the node: two for each slot.
pub fn in_flight_places(slots: u32) -> usize {
    2 * slots as usize
}

/// A block's record stands in the ledger's buffer, in the log's, and in the replica's at a time.
const RECORD_COPIES: u64 = 3;

/// Bytes of the record of a block of every slot: the quilt, and each transaction's cell and length of payload if kept.
fn block_record_bytes(slots: u32, keep_transactions: bool) -> u64 {
    const QUILT_BYTES_PER_TRANSACTION: u64 = 20;
    let kept = if keep_transactions { size_of::<Cell>() as u64 + 2 } else { 0 };
    u64::from(slots) * (QUILT_BYTES_PER_TRANSACTION + kept)
}

/// The topology for these sizes; `keep_transactions` says whether blocks are kept with their transactions.
pub fn topology(sizes: &Sizes, keep_transactions: bool) -> Topology {
    let Sizes { slots, payload_slots, verify_threads, simd: _, accounts_max, key_cache_keys, limits } = *sizes;
    let stage = |name, threads| StageSpec { name, threads };
    let ring = |from, to, depth, rings| RingSpec { from, to, depth, rings };
    let pool = |name, bytes| PoolSpec { name, bytes };
    let forward = FORWARD_DEPTH.min((slots as usize).next_power_of_two());
    // Answers lead back: with room for every slot their writers never wait, so no circle of waiting can close.
    let back = (slots as usize).next_power_of_two();
    let mut pools = vec![
        pool("cells, notes, payloads", Arena::bytes(slots, payload_slots)),
        pool("repeats in flight", InFlight::bytes(in_flight_places(slots))),
        pool("decoded keys", KeyCache::bytes(key_cache_keys)),
        pool("pool and block", Ledger::<HeapMemory>::bytes(slots)),
        pool("bytes to send", limits.out_bytes_total_max as u64),
        pool("block records", RECORD_COPIES * block_record_bytes(slots, keep_transactions)),
        pool("replica: changed pages", StateLayout::new(accounts_max).bytes()),
    ];
    pools.extend(StateLayout::new(accounts_max).columns().map(|(name, bytes)| {
        let name = match name {
            "hot" => "state: balances",
            "key" => "state: keys",
            "index" => "state: key index",
            "tree" => "state: hash tree",
            _ => "state: header",
        };
        pool(name, bytes)
    }));
    Topology {
        stages: vec![stage("receive", 1), stage("check", 1), stage("verify", verify_threads), stage("ledger", 1)],
        rings: vec![
            ring("receive", "check", forward, 1),
            ring("check", "verify", forward, 1),
            ring("verify", "ledger", forward, verify_threads),
            ring("check", "receive", back, 1),
            ring("verify", "receive", back, verify_threads),
            ring("ledger", "receive", back, 1),
        ],
        pools,
        slots,
    }
}
