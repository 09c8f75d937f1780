//! How many transactions a node has room for, place by place. All of it follows from one number: how many of one height it
//! takes as a minter. That is what its chain can carry, or less where there is not so much memory.
//!
//! ```text
//!   places of the arena, in heights     kept for custodians, or newest for who wants proofs   3
//!                                       told for the pending height                           1
//!                                       own users', until they are told, and told for later   1
//! ```
//!
//! They are one total: what is told goes from own rows to the pool, from there into the block, and with it among those that
//! are kept, in the same place. Where one of them has less the others have more.

use super::own::Own;
use super::pool::HeightPool;
use super::unproved::Unproved;
use super::verdicts::{BATCH_MAX, Verdicts};
use super::watched::Watched;
use crate::keep::accepted::Accepted;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::limits::{CELL_BYTES, FORWARDED_MAX, POOL_TRANSACTIONS_MAX};
use dynemix_engine::base::parameters::ChainParameters;
use dynemix_engine::consensus::sets::Sets;
use dynemix_engine::rules::admit::Judged;
use dynemix_engine::transaction::arena::Arena;
use dynemix_engine::transaction::item::{ITEM_MEMORY, Item};

/// Heights that there are places for.
const HEIGHTS: usize = 5;
/// Places at most: for all that pool and rows may hold on a chain whose blocks are as large as they may be.
const PLACES_MAX: usize = 1 << 20;
/// Bytes of payloads for each place: most transactions have none, one in fifteen may have ten outputs.
const PAYLOAD_BYTES: usize = 24;
/// What a transaction costs in the own set, the block that is built of it, and the quilt that it becomes part of, beside
/// its place: it is judged, its id stands in the set and in what roots are made of, its effects in two patches and four
/// quilts that may follow.
const BLOCK_BYTES: usize = size_of::<Judged>() + 3 * size_of::<Hash>() + 2 * size_of::<Item>() + 6 * 2 * 12;
/// What a transaction takes in the patch of a shard-block: debit, credit.
const PATCH_BYTES: usize = 2 * 12;
/// Times that shard-blocks of a height are here: of the pending one, of the newest final one, on their way to the disk.
const BLOCKS_HELD: usize = 3;
/// Steps in which it is looked for what fits.
const STEP: usize = 1_024;

/// Bounds of what a node holds of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Told to it of one height, as a minter.
    pub height: usize,
    /// In the pool: of two heights.
    pub pool: usize,
    /// Of own users, of those whose turn has come; a quarter of that more may wait for theirs.
    pub own: usize,
    /// Ids that are known to be genuine, of a generation.
    pub verified: usize,
    /// Places of the arena.
    pub places: u32,
}

impl Capacity {
    /// Of so many transactions of a height. `alone`: no other minter shares what users bring in the time of two slots.
    pub fn of(height: usize, alone: bool) -> Capacity {
        let own = if alone { height * 7 / 4 } else { height * 3 / 4 };
        let pool = if alone { 3 * height } else { 2 * height };
        let (pool, own) = (pool.min(POOL_TRANSACTIONS_MAX), own.min(FORWARDED_MAX));
        let places = (height * HEIGHTS).min(PLACES_MAX);
        assert!(places >= pool && places >= own + own / 4, "a pool of {pool} and {own} own of {places} places");
        let verified = (height * 7 / 4).max(BATCH_MAX);
        Capacity { height, pool, own, verified, places: places as u32 }
    }

    /// The smallest that there is.
    pub(super) fn least(alone: bool) -> Capacity {
        Capacity::of(STEP, alone)
    }

    /// How many transactions a shard-block of a chain has at most.
    pub fn carried(parameters: &ChainParameters) -> usize {
        let bytes = parameters.block_bytes_max(1).max(parameters.block_bytes_max(u64::MAX));
        let transactions = (bytes / (CELL_BYTES as u64 + 1)).min(parameters.block_transactions_max.into());
        usize::try_from(transactions).unwrap_or(usize::MAX).clamp(STEP, POOL_TRANSACTIONS_MAX.max(STEP))
    }

    /// Payload bytes of what stands in the arena.
    pub fn payload_bytes(&self) -> usize {
        self.places as usize * PAYLOAD_BYTES
    }

    /// Bytes of the arena, payloads included.
    pub fn arena_bytes(&self) -> u64 {
        Arena::bytes(self.places) + self.payload_bytes() as u64
    }

    /// Bytes of pool and own rows, and of what follows these for users of the API and for the disk.
    pub fn rows_bytes(&self) -> u64 {
        let own = self.own + self.own / 4;
        let kept = own * size_of::<Accepted>();
        (HeightPool::bytes(self.pool) + Own::bytes(own) + Watched::bytes(own) + Unproved::bytes() + kept) as u64
    }

    /// Bytes of sets, in a shard of so many minters, and of the blocks of so many shards; `whole`: with their transactions,
    /// which stand on the heap.
    pub fn sets_bytes(&self, minters: usize, shards: usize, whole: bool) -> u64 {
        let of_block = self.height * (PATCH_BYTES + if whole { ITEM_MEMORY } else { 0 });
        (self.height * BLOCK_BYTES + shards * BLOCKS_HELD * of_block) as u64
            + Sets::bytes_of_others(self.height, minters)
    }

    /// Bytes of what is remembered of signatures.
    pub fn verdicts_bytes(&self) -> u64 {
        Verdicts::bytes(self.verified) as u64
    }

    /// The largest of these, no more than `carried`, that `fits` holds for; none if not even the smallest does.
    pub(super) fn largest(carried: usize, alone: bool, fits: impl Fn(&Capacity) -> bool) -> Option<Capacity> {
        let steps = (1..=carried / STEP).rev().map(|steps| steps * STEP);
        std::iter::once(carried).chain(steps).map(|height| Capacity::of(height, alone)).find(fits)
    }
}

#[cfg(all(test, not(feature = "tiny-limits")))]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_memory_rows_fit_into_the_arena_and_more_memory_is_more_room() {
        let mut before = 0;
        for mib in [8, 32, 128, 4_096] {
            let fits = |of: &Capacity| of.arena_bytes() + of.rows_bytes() <= mib << 20;
            let Some(found) = Capacity::largest(170_000, false, fits) else { continue };
            assert!(fits(&found) && found.height > before, "{found:?}");
            before = found.height;
        }
        assert_eq!(before, 170_000, "a chain carries no more");
        assert!(Capacity::largest(170_000, false, |_| false).is_none());
    }
}
