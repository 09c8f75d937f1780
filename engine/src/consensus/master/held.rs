//! The shard-blocks of one height that are here, and what each seat says that it holds.

use crate::base::hash::Hash;
use crate::base::ids::Seat;
use crate::chain::block::{CertifiedBlock, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks of one shard that are taken whatever lists them: two are the proof against who made both, and each costs a
/// pairing and a whole check.
const OF_SHARD: usize = 2;

pub(super) struct Held {
    shards: usize,
    blocks: BTreeMap<Hash, Arc<CertifiedBlock>>,
    /// What each seat has said last that it holds.
    listed: BTreeMap<Seat, Vec<Option<Hash>>>,
}

impl Held {
    /// With what an earlier process has kept. A record that is not of this committee, or was changed, may have blocks
    /// of shards that there are not: those are left.
    pub(super) fn new(shards: usize, blocks: &[Arc<CertifiedBlock>]) -> Held {
        let there = blocks.iter().filter(|block| (block.block.shard as usize) < shards);
        let blocks = there.map(|block| (block.listed_hash(), block.clone())).collect();
        Held { shards, blocks, listed: BTreeMap::new() }
    }

    pub(super) fn contains(&self, hash: &Hash) -> bool {
        self.blocks.contains_key(hash)
    }

    /// Whether a shard has all that is taken without a reason.
    pub(super) fn is_full(&self, shard: usize) -> bool {
        self.blocks.values().filter(|held| held.block.shard as usize == shard).take(OF_SHARD).count() == OF_SHARD
    }

    /// Takes a block that was checked.
    pub(super) fn insert(&mut self, block: &Arc<CertifiedBlock>) {
        assert!((block.block.shard as usize) < self.shards, "a block that was checked is of a shard that there is");
        self.blocks.insert(block.listed_hash(), block.clone());
    }

    /// Another block of its shard that is held.
    pub(super) fn rival(&self, block: &CertifiedBlock) -> Option<&Arc<CertifiedBlock>> {
        self.blocks.values().find(|held| held.block.shard == block.block.shard && held.hash != block.hash)
    }

    /// Shard by shard; of two of one shard the one with the lower hash.
    pub(super) fn by_shard(&self) -> Vec<Option<Arc<CertifiedBlock>>> {
        let mut held: Vec<Option<Arc<CertifiedBlock>>> = vec![None; self.shards];
        for block in self.blocks.values() {
            // In ascending order of hash: the first of a shard stays.
            held[block.block.shard as usize].get_or_insert_with(|| block.clone());
        }
        held
    }

    /// The blocks that a value lists; none unless all are held and each stands in its own shard's place: a liar's value
    /// may list one block twice, or more places than there are shards.
    pub(super) fn blocks_of(&self, value: &Value) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
        let block = |(shard, header): (usize, &Option<Hash>)| match header {
            None => Some(None),
            Some(hash) => self.blocks.get(hash).filter(|block| block.block.shard as usize == shard).cloned().map(Some),
        };
        let shaped = value.headers.len() == self.shards;
        shaped.then(|| value.headers.iter().enumerate().map(block).collect()).flatten()
    }

    /// Of these, what is not here.
    pub(super) fn missing(&self, headers: &[Option<Hash>]) -> Vec<Hash> {
        headers.iter().flatten().filter(|hash| !self.blocks.contains_key(*hash)).copied().collect()
    }

    /// Of what another holds, what is missing here and would be taken for that alone.
    pub(super) fn wanted(&self, held: &[Option<Hash>]) -> Vec<Hash> {
        let wanted = held.iter().enumerate().filter_map(|(shard, hash)| hash.filter(|_| !self.is_full(shard)));
        wanted.filter(|hash| !self.contains(hash)).collect()
    }

    /// The blocks of these hashes, as many as there are shards at most.
    pub(super) fn of<'a>(&'a self, wanted: &'a [Hash]) -> impl Iterator<Item = &'a Arc<CertifiedBlock>> {
        wanted.iter().take(self.shards).filter_map(|hash| self.blocks.get(hash))
    }

    /// Hears what a seat holds.
    pub(super) fn list(&mut self, seat: Seat, held: &[Option<Hash>]) {
        self.listed.insert(seat, held.to_vec());
    }

    /// Seats that say they hold a block of this shard; none for a shard that there is not.
    pub(super) fn holders(&self, shard: usize) -> usize {
        self.listed.values().filter(|held| held.get(shard).is_some_and(Option::is_some)).count()
    }
}
