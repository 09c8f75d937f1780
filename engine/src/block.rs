//! A shard-block: which transactions, from which parent, with which effect.

use crate::hash::{FAN_OUT, Hash, keyed, list_path, list_path_holds, list_root, purpose_key};
use std::sync::LazyLock;

static BLOCK_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix shard-block v1"));
static TRANSACTION_NODE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix transaction tree v1"));

/// Bytes of a shard-block's header.
pub const SHARD_BLOCK_BYTES: usize = 112;

/// The header of a shard-block. Its transactions stand beside it, in ascending order of id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardBlock {
    /// Root of the parent state.
    pub parent_root: Hash,
    /// Slot in which it was made.
    pub slot: u64,
    /// Shard that made it.
    pub shard: u32,
    /// How many transactions.
    pub transactions: u32,
    /// Root of the 16-wide tree over their ids.
    pub transactions_root: Hash,
    /// Hash of the patch's wire form.
    pub patch_hash: Hash,
}

impl ShardBlock {
    /// The fields in order, numbers little endian.
    pub fn encode(&self) -> [u8; SHARD_BLOCK_BYTES] {
        let mut bytes = [0u8; SHARD_BLOCK_BYTES];
        bytes[..32].copy_from_slice(&self.parent_root);
        bytes[32..40].copy_from_slice(&self.slot.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.shard.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.transactions.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.transactions_root);
        bytes[80..].copy_from_slice(&self.patch_hash);
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8; SHARD_BLOCK_BYTES]) -> ShardBlock {
        let hash = |at: usize| -> Hash { bytes[at..at + 32].try_into().expect("32 bytes") };
        let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        ShardBlock {
            parent_root: hash(0),
            slot: u64::from_le_bytes(bytes[32..40].try_into().expect("8 bytes")),
            shard: four(40),
            transactions: four(44),
            transactions_root: hash(48),
            patch_hash: hash(80),
        }
    }

    /// The block's hash, which its minters sign: keyed BLAKE3 of [`Self::encode`].
    pub fn hash(&self) -> Hash {
        keyed(&BLOCK_KEY, &self.encode())
    }
}

/// Root over transaction ids in ascending order; uses `ids` as scratch.
pub fn transactions_root(ids: &mut Vec<Hash>) -> Hash {
    debug_assert!(ids.is_sorted_by(|a, b| a < b), "ids ascend strictly");
    list_root(&TRANSACTION_NODE_KEY, ids)
}

/// The path of one transaction of a shard-block with these ids.
///
/// # Panics
/// When there is none at this place.
pub fn transaction_path(ids: &[Hash], place: usize) -> Vec<[Hash; FAN_OUT]> {
    list_path(&TRANSACTION_NODE_KEY, ids, place)
}

impl ShardBlock {
    /// Whether the transaction of this id stands at this place of the block, by its path.
    pub fn holds(&self, id: &Hash, place: u32, path: &[[Hash; FAN_OUT]]) -> bool {
        list_path_holds(
            &TRANSACTION_NODE_KEY,
            id,
            place as usize,
            self.transactions as usize,
            path,
            &self.transactions_root,
        )
    }
}
