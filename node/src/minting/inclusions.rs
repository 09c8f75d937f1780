//! Transactions of the newest final blocks, as far as they have come here, for who wants a proof that one stands in its
//! block. In quilt mode they stay with the minters of their shard and with its custodians; in blockchain mode everyone
//! has them, older ones in the log.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Key, Prefix};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::transaction::item::{Items, items_bytes};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// Heights that are remembered at most.
const HEIGHTS_MAX: usize = 512;
/// Bytes of their transactions at most; those of the newest height stay whatever they weigh.
const BYTES_MAX: usize = 24 << 20;
/// Items of shard-blocks that are not final yet: votes of a few slots.
const EARLY_MAX: usize = 16;

/// Which transaction is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The one of this id.
    Id(Hash),
    /// The one of this sender: it has one in a block at most.
    Sender(Key),
}

impl Wanted {
    /// Its place among items.
    pub fn place(&self, prefix: &Prefix, items: &Items) -> Option<usize> {
        items.iter().position(|item| match (item.cell_and_payload(), self) {
            (Some((cell, _)), Wanted::Id(id)) => cell.id(prefix) == *id,
            (Some((cell, _)), Wanted::Sender(sender)) => cell.sender == *sender,
            (None, _) => false,
        })
    }
}

/// What is remembered; every thread of a node may look.
#[derive(Default)]
pub struct Inclusions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By shard-block: items that came before it was final.
    early: BTreeMap<Hash, (u64, Items)>,
    /// Final heights, newest last.
    heights: VecDeque<(u64, Vec<Known>)>,
    bytes: usize,
}

/// A final shard-block: its header, the header's hash, and its items if they are here.
type Known = (ShardBlock, Hash, Items);

impl Inclusions {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds what is remembered")
    }

    /// Items of a shard-block of this height have come, before it is final or after; its shard, if they are those of a
    /// final one that were not here.
    pub fn keep(&self, block: Hash, height: u64, items: &Items) -> Option<u32> {
        let mut inner = self.inner();
        let bytes = items_bytes(items);
        let shards = inner.heights.iter_mut().find(|(of, _)| *of == height).map(|(_, shards)| shards);
        match shards.and_then(|shards| shards.iter_mut().find(|(_, hash, _)| *hash == block)) {
            Some((header, _, there)) if there.is_empty() => {
                let shard = header.shard;
                *there = items.clone();
                inner.bytes += bytes;
                inner.make_room();
                Some(shard)
            }
            Some(_) => None,
            None => {
                inner.early.insert(block, (height, items.clone()));
                while inner.early.len() > EARLY_MAX {
                    let oldest = inner.early.iter().min_by_key(|(_, early)| early.0).map(|(block, _)| *block);
                    oldest.and_then(|block| inner.early.remove(&block));
                }
                None
            }
        }
    }

    /// A height is final, with these shard-blocks; their items, as far as they are here.
    pub fn finalized(&self, height: u64, blocks: &[Arc<CertifiedBlock>]) -> Vec<(u32, Items)> {
        let mut inner = self.inner();
        let mut shards = Vec::with_capacity(blocks.len());
        for block in blocks {
            let early = inner.early.remove(&block.hash).map(|early| early.1);
            let items = early.filter(|_| block.items.is_empty()).unwrap_or_else(|| block.items.clone());
            inner.bytes += items_bytes(&items);
            shards.push((block.block, block.hash, items));
        }
        inner.early.retain(|_, early| early.0 > height);
        let here = shards.iter().map(|(header, _, items)| (header.shard, items.clone())).collect();
        inner.heights.push_back((height, shards));
        inner.make_room();
        here
    }

    /// Items of the shard-blocks of a height, as far as they are here.
    pub fn of_height(&self, height: u64) -> Vec<Items> {
        let inner = self.inner();
        let shards = inner.heights.iter().find(|(of, _)| *of == height);
        shards.into_iter().flat_map(|(_, shards)| shards.iter().map(|(.., items)| items.clone())).collect()
    }

    /// The shard-block of a height that has what is wanted, its items, and the place among them.
    pub fn find(&self, height: u64, wanted: Wanted, prefix: &Prefix) -> Option<(ShardBlock, Items, usize)> {
        let of_height = |inner: &Inner| Some(inner.heights.iter().find(|(of, _)| *of == height)?.1.clone());
        // Looked through without the lock: consensus never waits for who asks.
        let shards = of_height(&self.inner())?;
        shards.into_iter().find_map(|(block, _, items)| {
            let place = wanted.place(prefix, &items)?;
            Some((block, items, place))
        })
    }
}

impl Inner {
    fn make_room(&mut self) {
        while self.heights.len() > HEIGHTS_MAX || (self.bytes > BYTES_MAX && self.heights.len() > 1) {
            let gone =
                self.heights.pop_front().map_or(0, |(_, shards)| shards.iter().map(|of| items_bytes(&of.2)).sum());
            assert!(gone <= self.bytes, "what is remembered weighs as much as its parts");
            self.bytes -= gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use dynemix_engine::committee::statement::{Certificate, SeatSet};
    use dynemix_engine::transaction::cell::Cell;
    use dynemix_engine::transaction::item::Item;

    fn items(height: u64) -> Items {
        vec![Item::transaction(&Cell { sender: [5; 32], sequence: height, ..Cell::zeroed() }, &[])].into()
    }

    fn block(height: u64, items: Items) -> Arc<CertifiedBlock> {
        let (hash, root) = ([0; 32], [height as u8; 32]);
        let block = ShardBlock {
            parent_root: root,
            slot: height,
            shard: 0,
            transactions: 1,
            bytes: 193,
            transactions_root: hash,
            patch_hash: hash,
        };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        Arc::new(CertifiedBlock { height, block, hash: block.hash(), certificate, items, patch: Vec::new() })
    }

    #[test]
    fn items_are_found_whether_they_came_before_their_block_was_final_with_it_or_after() {
        let (inclusions, prefix, wanted) = (Inclusions::default(), [0; 32], Wanted::Sender([5; 32]));
        let none = Items::default();
        assert_eq!(inclusions.keep(block(1, none.clone()).hash, 1, &items(1)), None);
        assert_eq!(inclusions.finalized(1, &[block(1, none.clone())]), [(0, items(1))]);
        inclusions.finalized(2, &[block(2, items(2))]);
        inclusions.finalized(3, &[block(3, none.clone())]);
        assert!(inclusions.find(3, wanted, &prefix).is_none());
        assert_eq!(inclusions.keep(block(3, none.clone()).hash, 3, &items(3)), Some(0), "late");
        for height in 1..=3 {
            let (header, found, place) = inclusions.find(height, wanted, &prefix).unwrap();
            assert_eq!((header.slot, &found, place), (height, &items(height), 0));
        }
        assert!(inclusions.find(2, Wanted::Sender([6; 32]), &prefix).is_none());
        // What never becomes final, and what is old, goes.
        (4..2_000).for_each(|height| {
            inclusions.keep([height as u8; 32], height + 9, &items(height));
            inclusions.finalized(height, &[block(height, items(height))]);
        });
        let inner = inclusions.inner();
        assert!(inner.heights.len() == HEIGHTS_MAX && inner.early.len() <= EARLY_MAX);
        assert_eq!(inner.bytes, HEIGHTS_MAX * items_bytes(&items(1)));
    }
}
