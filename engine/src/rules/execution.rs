//! What consensus asks of the state: which transactions wait, what a block of them changes, what follows from a final
//! one.

use super::bodies::Bodies;
use super::build::Built;
use crate::base::hash::Hash;
use crate::base::ids::Endpoint;
use crate::chain::block::{CertifiedBlock, Value};
use crate::chain::tables::System;
use crate::transaction::item::{Item, Items};
use std::sync::Arc;

/// A state at the newest final height, and the pool of what waits. Everything is a function of final blocks, except the
/// pool.
pub trait Execution {
    /// The system after the newest final block: height, seed, committee and all that nodes hold whole.
    fn system(&self) -> &System;
    /// Whether the next height is in quilt mode: patches travel, and the items stay in their shard.
    fn quilt_mode(&self) -> bool;
    /// Where this node is reached, for its answers.
    fn endpoint(&self) -> Endpoint;
    /// The items that wait for this shard and may stand in its next block, signatures and all, ascending by id.
    fn waiting(&mut self, shard: usize) -> Vec<Item>;
    /// Whether an item that others bring may stand in this shard's next block, signature and all.
    fn sound(&mut self, shard: usize, item: &Item) -> bool;
    /// Takes an item into the pool.
    fn admit(&mut self, item: &Item);
    /// Proofs against minters that hold and that no block has taken yet: one an offender, and of certificates that
    /// contradict each other.
    fn proofs(&self) -> Vec<Item>;
    /// The block of these items, ascending: those that are invalid are left out.
    fn build(&mut self, shard: usize, slot: u64, items: &Items) -> Arc<Built>;
    /// Whether a shard-block may count as held: in blockchain mode, if building its items gives this very block; in
    /// quilt mode, if its patch breaks no rule.
    fn check(&mut self, block: &CertifiedBlock) -> bool;
    /// Judges items that are said to be those of a final shard-block; none if its effects are mature, or banned.
    fn bodies(&mut self, block: &Hash, items: &[Item]) -> Option<Bodies>;
    /// The master-block over these shard-blocks, one place a shard.
    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value;
    /// Makes a value final: the next state.
    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]);
}
