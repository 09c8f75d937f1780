//! The state's hash tree: wide, flat, and only as deep as the accounts in use need.
//!
//! ```text
//!   bottom   one node a group of 8 accounts: keyed hash of 8 x (key 32 | hot 16)
//!   inner    one node for 16 children: keyed hash of 16 x 32 bytes, absent children zero
//!   root     keyed hash of: top node | height | slot | accounts | pool
//! ```
//!
//! A node without accounts below it is zero. The top is the lowest level at which one node covers all accounts, so the
//! root does not depend on how much room a node laid out. Leaves are not stored: a group is hashed from its columns.

use super::columns::{ColumnsMut, Hot};
use crate::base::hash::{FAN_OUT, Hash, keyed, keyed_many, purpose_key};
use crate::base::ids::Key;
use crate::base::prefetch::prefetch;
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
    /// Place of its first node in the flat array.
    pub start: usize,
    /// How many nodes it has; one at the top.
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
#[derive(Clone)]
pub struct Dirty {
    levels: Vec<Level>,
    bits: Vec<Vec<u64>>,
    clean: bool,
}

impl Dirty {
    /// Nothing is dirty.
    pub fn new(accounts_max: usize) -> Dirty {
        let levels = levels(accounts_max);
        let bits = levels.iter().map(|level| vec![0; level.nodes.div_ceil(64)]).collect();
        Dirty { levels, bits, clean: true }
    }

    /// Marks the groups of these accounts.
    pub fn mark(&mut self, accounts: impl Iterator<Item = u32>) {
        self.clean = false;
        let bottom = &mut self.bits[0];
        for account in accounts {
            let group = account as usize / GROUP;
            bottom[group / 64] |= 1 << (group % 64);
        }
    }

    /// Whether nothing is marked.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// Bytes of the bits.
    pub fn bytes(&self) -> u64 {
        self.bits.iter().map(|level| 8 * level.len() as u64).sum()
    }
}

/// The bytes that a bottom node hashes.
pub(super) type GroupBytes = [u8; GROUP * ACCOUNT_BYTES];
/// The bytes that an inner node hashes.
type NodeBytes = [u8; FAN_OUT * 32];
/// Nodes that are hashed in lanes together.
const LANES: usize = 16;
/// Nodes of one piece of parallel work; a multiple of the dirty bits' words.
const STRIPE: usize = 1024;

pub(super) fn group_bytes(keys: &[Key], hot: &[Hot], group: usize) -> GroupBytes {
    let mut bytes = [0u8; GROUP * ACCOUNT_BYTES];
    let accounts = group * GROUP..(group * GROUP + GROUP).min(keys.len());
    for (place, account) in bytes.chunks_exact_mut(ACCOUNT_BYTES).zip(accounts) {
        place[..32].copy_from_slice(&keys[account]);
        place[32..].copy_from_slice(bytemuck::bytes_of(&hot[account]));
    }
    bytes
}

/// A node's children, those that do not exist zero.
pub(super) fn node_bytes(children: &[Hash], node: usize) -> NodeBytes {
    let mut bytes = [0u8; FAN_OUT * 32];
    let children: &[u8] = bytemuck::cast_slice(&children[FAN_OUT * node..(FAN_OUT * (node + 1)).min(children.len())]);
    bytes[..children.len()].copy_from_slice(children);
    bytes
}

pub(super) fn group_hash(bytes: &GroupBytes) -> Hash {
    keyed(&GROUP_KEY, bytes)
}

pub(super) fn node_hash(bytes: &NodeBytes) -> Hash {
    keyed(&NODE_KEY, bytes)
}

/// The state's root over its top node.
pub(super) fn root_hash(top: &Hash, height: u64, slot: u64, accounts: u64, pool: u64) -> Hash {
    let mut bytes = [0u8; 64];
    bytes[..32].copy_from_slice(top);
    for (place, number) in bytes[32..].chunks_exact_mut(8).zip([height, slot, accounts, pool]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    keyed(&ROOT_KEY, &bytes)
}

/// Hashes every node whose bit is set from what `bytes` says it covers, in lanes and in parallel, and clears the bits.
/// `ahead` is told a node that will come soon.
fn rehash<const N: usize>(
    key: &Hash,
    nodes: &mut [Hash],
    bits: &mut [u64],
    ahead: impl Fn(usize) + Sync,
    bytes: impl Fn(usize) -> [u8; N] + Sync,
) {
    assert!(64 * bits.len() >= nodes.len(), "each node has a bit, or it would never be hashed again");
    let stripes = nodes.par_chunks_mut(STRIPE).zip(bits.par_chunks_mut(STRIPE / 64));
    stripes.with_min_len(2).enumerate().for_each(|(stripe, (nodes, bits))| {
        let mut dirty = [0u16; STRIPE];
        let mut count = 0;
        for (word, bits) in bits.iter_mut().enumerate() {
            let mut set = std::mem::take(bits);
            while set != 0 {
                dirty[count] = (64 * word + set.trailing_zeros() as usize) as u16;
                count += 1;
                set &= set - 1;
            }
        }
        let dirty = &dirty[..count];
        let base = stripe * STRIPE;
        let mut inputs = [[0u8; N]; LANES];
        let mut hashes = [[0u8; 32]; LANES];
        for (batch, places) in dirty.chunks(LANES).enumerate() {
            let next = dirty.iter().skip((batch + 1) * LANES).take(LANES);
            next.for_each(|&place| ahead(base + usize::from(place)));
            for (input, &place) in inputs.iter_mut().zip(places) {
                *input = bytes(base + usize::from(place));
            }
            let all: [&[u8; N]; LANES] = inputs.each_ref();
            keyed_many(key, &all[..places.len()], &mut hashes);
            for (hash, &place) in hashes.iter().zip(places) {
                nodes[usize::from(place)] = *hash;
            }
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
            let ahead = |group: usize| {
                prefetch(&keys[group * GROUP]);
                prefetch(&keys[(group * GROUP + 2).min(keys.len() - 1)]);
                prefetch(&keys[(group * GROUP + 4).min(keys.len() - 1)]);
                prefetch(&keys[(group * GROUP + 6).min(keys.len() - 1)]);
                prefetch(&hot[group * GROUP]);
                prefetch(&hot[(group * GROUP + 4).min(hot.len() - 1)]);
            };
            rehash(&GROUP_KEY, here, &mut dirty.bits[0], ahead, |group| group_bytes(keys, hot, group));
        } else {
            let Level { start: below_start, nodes: below_nodes } = dirty.levels[k - 1];
            let children = &below[below_start..below_start + below_nodes];
            rehash(&NODE_KEY, here, &mut dirty.bits[k], |_| {}, |node| node_bytes(children, node));
        }
    }
    dirty.clean = true;
    let top = columns.tree[dirty.levels[depth - 1].start];
    let header = &mut *columns.header;
    header.root = root_hash(&top, header.height, header.slot, header.accounts, header.pool);
    header.root
}

/// The top node over some accounts at the start of a subtree of `depth` levels above the groups: what [`update`] would
/// compute for that node. Uses lanes and all cores.
pub(super) fn subtree(keys: &[Key], hot: &[Hot], depth: usize) -> Hash {
    let mut nodes = vec![[0; 32]; keys.len().div_ceil(GROUP)];
    let all = |nodes: usize| vec![u64::MAX; nodes.div_ceil(64)];
    let clip = |bits: &mut Vec<u64>, nodes: usize| {
        if !nodes.is_multiple_of(64)
            && let Some(last) = bits.last_mut()
        {
            *last = (1 << (nodes % 64)) - 1;
        }
    };
    let mut bits = all(nodes.len());
    clip(&mut bits, nodes.len());
    rehash(&GROUP_KEY, &mut nodes, &mut bits, |_| {}, |group| group_bytes(keys, hot, group));
    for _ in 0..depth {
        let mut above = vec![[0; 32]; nodes.len().div_ceil(FAN_OUT)];
        let mut bits = all(above.len());
        clip(&mut bits, above.len());
        rehash(&NODE_KEY, &mut above, &mut bits, |_| {}, |node| node_bytes(&nodes, node));
        nodes = above;
    }
    assert!(nodes.len() <= 1, "a subtree ends in one node");
    nodes.first().copied().unwrap_or([0; 32])
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
        assert_eq!(
            ten_million.iter().map(|level| level.nodes).collect::<Vec<_>>(),
            [1_250_000, 78_125, 4_883, 306, 20, 2, 1]
        );
    }
}
