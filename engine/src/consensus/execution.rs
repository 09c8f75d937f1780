//! What consensus asks of the state: which transactions wait, what a block of them changes, what follows from a final one.

use super::committee::Committee;
use super::message::{CertifiedBlock, Item, Value};
use crate::block::ShardBlock;
use crate::hash::Hash;
use std::sync::Arc;

/// A state at the newest final height, and the pool of what waits. Everything is a function of final blocks, except the pool.
pub trait Execution {
    /// Height of the newest final block.
    fn height(&self) -> u64;
    /// Hash of that master-block.
    fn parent(&self) -> Hash;
    /// Its slot.
    fn slot(&self) -> u64;
    /// The seed after it.
    fn seed(&self) -> Hash;
    /// The committee of the next height.
    fn committee(&self) -> &Arc<Committee>;
    /// Ids of the items that wait for this shard and are valid against the state, ascending.
    fn waiting(&mut self, shard: usize) -> Vec<Hash>;
    /// An item of the pool.
    fn item(&self, id: &Hash) -> Option<Arc<Item>>;
    /// Takes an item into the pool.
    fn admit(&mut self, item: &Arc<Item>);
    /// The block of these items, ascending: those that are invalid are left out. Header, items, patch.
    fn build(&mut self, shard: usize, slot: u64, items: &[Arc<Item>]) -> (ShardBlock, Vec<Arc<Item>>, Vec<u8>);
    /// Whether building the block's items gives this very block.
    fn check(&mut self, block: &CertifiedBlock) -> bool;
    /// The master-block over these shard-blocks, one place a shard.
    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value;
    /// The next state. Returns what this node now has to say to the next committee, such as the answer to being drawn.
    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) -> Vec<Arc<Item>>;
    /// An item that carries evidence.
    fn evidence_item(&mut self, evidence: &super::message::Evidence) -> Arc<Item>;
}
