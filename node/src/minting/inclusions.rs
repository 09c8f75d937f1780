//! Transactions of the newest final blocks, as far as they have come here, for who wants a proof that one stands in its
//! block. In quilt mode they stay with the minters of their shard and with its custodians; in blockchain mode everyone
//! has them, older ones in the log. Of the own users' transactions in other shards the proofs are here, once a minter
//! there has shown them.

use super::senders::Senders;
use crate::peer::inclusion::{Inclusion, tree_of};
use crate::peer::paths::{Place, ids_frame};
use dynemix_engine::base::hash::{FAN_OUT, Hash, ListTree};
use dynemix_engine::base::ids::{Key, Prefix};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock, transactions_root};
use dynemix_engine::transaction::item::{Item, Items, items_bytes};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// Heights that are remembered at most.
const HEIGHTS_MAX: usize = 512;
/// Bytes of their transactions at most; those of the newest height stay whatever they weigh.
const BYTES_MAX: usize = 24 << 20;
/// Shard-blocks whose trees are kept: it is the newest one that is asked for.
const SERVED_MAX: usize = 1;
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
    fn is(&self, prefix: &Prefix, item: &Item) -> bool {
        match (item.cell_and_payload(), self) {
            (Some((cell, _)), Wanted::Id(id)) => cell.id(prefix) == *id,
            (Some((cell, _)), Wanted::Sender(sender)) => cell.sender == *sender,
            (None, _) => false,
        }
    }

    /// The proof for it, if it is among the items of this shard-block.
    pub fn among(&self, prefix: &Prefix, block: &ShardBlock, items: &Items) -> Option<Inclusion> {
        let place = items.iter().position(|item| self.is(prefix, item))?;
        Some(Inclusion::of(block, items, place))
    }
}

/// What is remembered; every thread of a node may look.
#[derive(Default)]
pub struct Inclusions {
    inner: Mutex<Inner>,
    served: Mutex<VecDeque<Arc<Served>>>,
}

#[derive(Default)]
struct Inner {
    /// By shard-block: items that came before it was final.
    early: BTreeMap<Hash, (u64, Items)>,
    /// Final heights, newest last.
    heights: VecDeque<(u64, Vec<Known>)>,
    bytes: usize,
}

/// A final shard-block.
#[derive(Clone)]
struct Known {
    header: ShardBlock,
    hash: Hash,
    /// Its items, if they are here.
    items: Items,
    /// If not, those that a minter of its shard has shown, by their senders.
    shown: BTreeMap<Key, Arc<Inclusion>>,
}

impl Known {
    fn bytes(&self) -> usize {
        items_bytes(&self.items) + self.shown.values().map(|proof| proof.bytes()).sum::<usize>()
    }
}

/// What many ask for of a shard-block, made once.
struct Served {
    block: Hash,
    /// The tree of its items, and whose they are.
    tree: OnceLock<(ListTree, Senders)>,
    /// The frame of all ids: however many ask for it, it waits to be sent as one.
    ids: OnceLock<Arc<[u8]>>,
}

impl Served {
    fn tree(&self, known: &Known) -> &(ListTree, Senders) {
        self.tree.get_or_init(|| (tree_of(&known.header, &known.items), Senders::of(&known.items)))
    }

    /// The proof for the transaction of this sender, who has one in a block at most.
    fn proof(&self, known: &Known, sender: &Key) -> Option<Inclusion> {
        let (tree, senders) = self.tree(known);
        let place = senders.find(&known.items, sender)?;
        Some(Inclusion::by_tree(&known.header, &known.items, tree, place))
    }
}

impl Inclusions {
    /// Bytes of what is made for who asks, of a block of so many transactions.
    pub(super) fn served_bytes(transactions: usize) -> u64 {
        // The ids' frame, the tree's leaves, and its levels above them, which are a fifteenth.
        let of_each = 2 * size_of::<Hash>() + size_of::<Hash>() / (FAN_OUT - 1) + Senders::ITEM_BYTES;
        (SERVED_MAX * transactions * of_each) as u64
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds what is remembered")
    }

    /// Items of a shard-block of this height have come, before it is final or after; its shard, if they are those of a
    /// final one that were not here.
    pub fn keep(&self, block: Hash, height: u64, items: &Items) -> Option<u32> {
        let mut inner = self.inner();
        let bytes = items_bytes(items);
        let shards = inner.heights.iter_mut().find(|(of, _)| *of == height).map(|(_, shards)| shards);
        match shards.and_then(|shards| shards.iter_mut().find(|known| known.hash == block)) {
            Some(known) if known.items.is_empty() => {
                let shard = known.header.shard;
                known.items = items.clone();
                let shown: usize = std::mem::take(&mut known.shown).values().map(|proof| proof.bytes()).sum();
                inner.bytes = inner.bytes + bytes - shown;
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
            shards.push(Known { header: block.block, hash: block.hash, items, shown: BTreeMap::new() });
        }
        inner.early.retain(|_, early| early.0 > height);
        let here = shards.iter().map(|known| (known.header.shard, known.items.clone())).collect();
        inner.heights.push_back((height, shards));
        inner.make_room();
        here
    }

    /// Items of the shard-blocks of a height, as far as they are here.
    pub fn of_height(&self, height: u64) -> Vec<Items> {
        let inner = self.inner();
        let shards = inner.heights.iter().find(|(of, _)| *of == height);
        shards.into_iter().flat_map(|(_, shards)| shards.iter().map(|known| known.items.clone())).collect()
    }

    /// Somebody has shown that a transaction stands in a block with the header that is shown with it. Kept, if that is
    /// the final block of this place; false if it is not.
    pub fn show(&self, (height, shard): Place, proof: &Inclusion) -> bool {
        let mut inner = self.inner();
        let shards = inner.heights.iter_mut().find(|(of, _)| *of == height).map(|(_, shards)| shards);
        let hash = proof.block.hash();
        let is_it = |known: &&mut Known| known.hash == hash && known.header.shard == u32::from(shard);
        let Some(known) = shards.and_then(|shards| shards.iter_mut().find(is_it)) else { return false };
        let Some(sender) = proof.item.cell().map(|cell| cell.sender) else { return true };
        if known.items.is_empty() && !known.shown.contains_key(&sender) {
            known.shown.insert(sender, Arc::new(proof.clone()));
            inner.bytes += proof.bytes();
            inner.make_room();
        }
        true
    }

    /// Height of the newest final block that is known; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.inner().heights.back().map_or(0, |(height, _)| *height)
    }

    /// Of a height's shards: looked through without the lock, consensus never waits for who asks.
    fn shards(&self, height: u64) -> Option<Vec<Known>> {
        Some(self.inner().heights.iter().find(|(of, _)| *of == height)?.1.clone())
    }

    /// The proof for what is wanted, if it stands in a block of this height.
    pub fn find(&self, height: u64, wanted: Wanted, prefix: &Prefix) -> Option<Inclusion> {
        self.shards(height)?.into_iter().find_map(|known| {
            let shown =
                || known.shown.values().find(|proof| wanted.is(prefix, &proof.item)).map(|proof| (**proof).clone());
            wanted.among(prefix, &known.header, &known.items).or_else(shown)
        })
    }

    /// The frame of the ids of all transactions of a shard-block, if they are here.
    pub fn ids(&self, place: Place) -> Option<Arc<[u8]>> {
        let (height, shard) = (place.0, u32::from(place.1));
        let known = self.shards(height)?.into_iter().find(|known| known.header.shard == shard)?;
        if known.items.is_empty() {
            return None;
        }
        let served = self.served(&known);
        Some(served.ids.get_or_init(|| ids_frame(place, known.items.iter().map(Item::id)).into()).clone())
    }

    /// Whether this height is remembered: of one that is not nobody can be said to have told a lie.
    pub fn remembers(&self, height: u64) -> bool {
        self.inner().heights.iter().any(|(of, _)| *of == height)
    }

    /// Whether these are the ids of all transactions of the final shard-block of this place; its header then.
    pub fn are_of(&self, (height, shard): Place, ids: &[Hash]) -> Option<ShardBlock> {
        let known = self.shards(height)?.into_iter().find(|known| known.header.shard == u32::from(shard))?;
        let could_be = ids.len() == known.header.transactions as usize && ids.is_sorted_by(|a, b| a < b);
        let root = could_be.then(|| transactions_root(&mut ids.to_vec()));
        (root == Some(known.header.transactions_root)).then_some(known.header)
    }

    /// Proofs for those of these senders that stand in the shard-block of this place; none if nothing of it is here.
    pub fn of_senders(&self, (height, shard): Place, senders: &[Key]) -> Option<Vec<Inclusion>> {
        let known = self.shards(height)?.into_iter().find(|known| known.header.shard == u32::from(shard))?;
        if known.items.is_empty() {
            let shown = |sender| known.shown.get(sender).map(|proof| (**proof).clone());
            return (!known.shown.is_empty()).then(|| senders.iter().filter_map(shown).collect());
        }
        let served = self.served(&known);
        Some(senders.iter().filter_map(|sender| served.proof(&known, sender)).collect())
    }

    /// What is kept of a block for all who ask.
    fn served(&self, known: &Known) -> Arc<Served> {
        let mut all = self.served.lock().expect("nothing panics while it holds what is served");
        if let Some(served) = all.iter().find(|served| served.block == known.hash) {
            return served.clone();
        }
        let served = Arc::new(Served { block: known.hash, tree: OnceLock::new(), ids: OnceLock::new() });
        all.push_back(served.clone());
        let over = all.len().saturating_sub(SERVED_MAX);
        all.drain(..over);
        served
    }
}

impl Inner {
    fn make_room(&mut self) {
        while self.heights.len() > HEIGHTS_MAX || (self.bytes > BYTES_MAX && self.heights.len() > 1) {
            let gone = self.heights.pop_front().map_or(0, |(_, shards)| shards.iter().map(Known::bytes).sum());
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
            let found = inclusions.find(height, wanted, &prefix).unwrap();
            assert_eq!((found.block.slot, found.item.id(), found.place), (height, items(height)[0].id(), 0));
        }
        assert!(inclusions.find(2, Wanted::Sender([6; 32]), &prefix).is_none());
        // Whoever asks for all ids is sent the same frame as others, which waits in memory once.
        let ids = [0; 2].map(|_| inclusions.ids((2, 0)).unwrap());
        assert!(Arc::ptr_eq(&ids[0], &ids[1]) && ids[0].ends_with(&items(2)[0].id()));
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
