//! The state's hash tree: wide, flat, and only as deep as the accounts in use need.
//!
//! ```text
//!   bottom   one node a group of 8 accounts: keyed hash of 8 x (key 32 | hot 16)
//!   inner    one node for 16 children: keyed hash of 16 x 32 bytes, absent children zero
//!   root     keyed hash of: top node | height | slot | accounts | fee pool
//! ```
//!
//! A node without accounts below it is zero. The top is the lowest level at which one node covers all accounts, so the
//! root does not depend on how much room a node laid out. Leaves are not stored: a group is hashed from its columns.

use super::{ColumnsMut, Hot};
use crate::cell::Key;
use crate::hash::{FAN_OUT, Hash, keyed, purpose_key};
use rayon::prelude::*;
use std::sync::LazyLock;

/// Accounts below a bottom node.
pub const GROUP: usize = 8;
const ACCOUNT_BYTES: usize = size_of::<Key>() + size_of::<Hot>();

static GROUP_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix state group v1"));
static NODE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix state node v1"));
static ROOT_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix state root v1"));

/// One level of the tree in the flat array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// First node.
    pub start: usize,
    /// How many.
    pub nodes: usize,
}

/// The levels for so many accounts, bottom first; the last has one node.
pub fn levels(accounts: usize) -> Vec<Level> {
    let mut levels = vec![Level { start: 0, nodes: accounts.div_ceil(GROUP).max(1) }];
    while let Some(&Level { start, nodes }) = levels.last()
        && nodes > 1
    {
        levels.push(Level { start: start + nodes, nodes: nodes.div_ceil(FAN_OUT) });
    }
    levels
}

/// Which nodes must be hashed again: a bit a node, level by level.
pub struct Dirty {
    levels: Vec<Level>,
    bits: Vec<Vec<u64>>,
}

impl Dirty {
    /// Nothing is dirty.
    pub fn new(accounts_max: usize) -> Dirty {
        let levels = levels(accounts_max);
        let bits = levels.iter().map(|level| vec![0; level.nodes.div_ceil(64)]).collect();
        Dirty { levels, bits }
    }

    /// Marks the groups of these accounts.
    pub fn mark(&mut self, accounts: impl Iterator<Item = u32>) {
        let bottom = &mut self.bits[0];
        for account in accounts {
            let group = account as usize / GROUP;
            bottom[group / 64] |= 1 << (group % 64);
        }
    }

    /// Bytes of the bits.
    pub fn bytes(&self) -> u64 {
        self.bits.iter().map(|level| 8 * level.len() as u64).sum()
    }
}

fn group_hash(keys: &[Key], hot: &[Hot], group: usize) -> Hash {
    let mut bytes = [0u8; GROUP * ACCOUNT_BYTES];
    let accounts = group * GROUP..(group * GROUP + GROUP).min(keys.len());
    for (place, account) in bytes.chunks_exact_mut(ACCOUNT_BYTES).zip(accounts) {
        place[..32].copy_from_slice(&keys[account]);
        place[32..].copy_from_slice(bytemuck::bytes_of(&hot[account]));
    }
    keyed(&GROUP_KEY, &bytes)
}

fn node_hash(children: &[Hash]) -> Hash {
    let mut bytes = [[0u8; 32]; FAN_OUT];
    bytes[..children.len()].copy_from_slice(children);
    keyed(&NODE_KEY, bytemuck::bytes_of(&bytes))
}

/// Runs `hash` for every node whose bit is set, in parallel, and clears the bits.
fn rehash(nodes: &mut [Hash], bits: &mut [u64], hash: impl Fn(usize) -> Hash + Sync) {
    nodes.par_chunks_mut(64).zip(bits.par_iter_mut()).with_min_len(16).enumerate().for_each(|(word, (nodes, bits))| {
        let mut set = std::mem::take(bits);
        while set != 0 {
            let bit = set.trailing_zeros() as usize;
            nodes[bit] = hash(64 * word + bit);
            set &= set - 1;
        }
    });
}

/// Hashes what is dirty, bottom up, and returns the root, which it also writes to the header.
pub(super) fn update(columns: &mut ColumnsMut<'_>, dirty: &mut Dirty) -> Hash {
    let accounts = columns.header.accounts as usize;
    let (keys, hot) = (&*columns.key, &*columns.hot);
    let depth = levels(accounts).len();
    for k in 0..depth {
        let Level { start, nodes } = dirty.levels[k];
        let (below, here) = columns.tree.split_at_mut(start);
        let here = &mut here[..nodes];
        if k + 1 < depth {
            let (bits, above) = dirty.bits.split_at_mut(k + 1);
            for (word, &set) in bits[k].iter().enumerate().filter(|entry| *entry.1 != 0) {
                for quarter in (0..4).filter(|quarter| (set >> (16 * quarter)) & 0xffff != 0) {
                    let parent = 4 * word + quarter;
                    above[0][parent / 64] |= 1 << (parent % 64);
                }
            }
        }
        if k == 0 {
            rehash(here, &mut dirty.bits[0], |group| group_hash(keys, hot, group));
        } else {
            let Level { start: below_start, nodes: below_nodes } = dirty.levels[k - 1];
            let children = &below[below_start..below_start + below_nodes];
            rehash(here, &mut dirty.bits[k], |node| node_hash(&children[FAN_OUT * node..(FAN_OUT * (node + 1)).min(below_nodes)]));
        }
    }
    let top = columns.tree[dirty.levels[depth - 1].start];
    let header = &mut *columns.header;
    let mut bytes = [0u8; 64];
    bytes[..32].copy_from_slice(&top);
    for (place, number) in bytes[32..].chunks_exact_mut(8).zip([header.height, header.slot, header.accounts, header.fee_pool]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    header.root = keyed(&ROOT_KEY, &bytes);
    header.root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_shrink_by_sixteen_down_to_one() {
        assert_eq!(levels(0), [Level { start: 0, nodes: 1 }]);
        assert_eq!(levels(8), [Level { start: 0, nodes: 1 }]);
        assert_eq!(levels(9), [Level { start: 0, nodes: 2 }, Level { start: 2, nodes: 1 }]);
        let ten_million = levels(10_000_000);
        assert_eq!(ten_million.iter().map(|level| level.nodes).collect::<Vec<_>>(), [1_250_000, 78_125, 4_883, 306, 20, 2, 1]);
    }
}
