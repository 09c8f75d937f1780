//! A shard-block: which transactions, from which parent, with which effect.

use crate::base::hash::{FAN_OUT, Hash, ListTree, keyed, list_path_holds, list_root, purpose_key};
use crate::base::ids::Seat;
use crate::base::mutation::{Mutation, planted};
use crate::committee::members::Committee;
use crate::committee::quorum::shard_quorum;
use crate::committee::statement::{Certificate, Statement, StatementKind};
use crate::transaction::item::{Items, items_bytes};
use crate::vote::signing::Signing;
use std::sync::Arc;
use std::sync::LazyLock;

static BLOCK_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix shard-block v2"));
static TRANSACTION_NODE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix transaction tree v1"));

/// Bytes of a shard-block's header.
pub const SHARD_BLOCK_BYTES: usize = 120;

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
    /// Bytes of its items, records too: whoever looks for them knows how long that takes.
    pub bytes: u64,
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
        bytes[48..56].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[56..88].copy_from_slice(&self.transactions_root);
        bytes[88..].copy_from_slice(&self.patch_hash);
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8; SHARD_BLOCK_BYTES]) -> ShardBlock {
        let hash = |at: usize| -> Hash { bytes[at..at + 32].try_into().expect("32 bytes") };
        let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let four = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        ShardBlock {
            parent_root: hash(0),
            slot: eight(32),
            shard: four(40),
            transactions: four(44),
            bytes: eight(48),
            transactions_root: hash(56),
            patch_hash: hash(88),
        }
    }

    /// The block's hash, which its minters sign: keyed BLAKE3 of [`Self::encode`].
    pub fn hash(&self) -> Hash {
        keyed(&BLOCK_KEY, &self.encode())
    }
}

/// Root over transaction ids in ascending order; uses `ids` as scratch.
pub fn transactions_root(ids: &mut Vec<Hash>) -> Hash {
    assert!(ids.is_sorted_by(|a, b| a < b), "ids of a block ascend, each once");
    list_root(&TRANSACTION_NODE_KEY, ids)
}

/// The tree of the transactions of a shard-block with these ids, for their paths.
pub fn transaction_tree(ids: Vec<Hash>) -> ListTree {
    ListTree::of(&TRANSACTION_NODE_KEY, ids)
}

/// The path of one transaction of a shard-block with these ids.
///
/// # Panics
/// When there is none at this place.
pub fn transaction_path(ids: &[Hash], place: usize) -> Vec<[Hash; FAN_OUT]> {
    transaction_tree(ids.to_vec()).path(place)
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

static VALUE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix master-block v1"));

/// A shard-block with its certificate, transactions and patch.
#[derive(Clone, Debug)]
pub struct CertifiedBlock {
    /// Height that it is for.
    pub height: u64,
    /// Header, which commits to parent, transactions and patch.
    pub block: ShardBlock,
    /// Hash of the header, which the shard's minters sign.
    pub hash: Hash,
    /// Who approved it.
    pub certificate: Certificate,
    /// What is in it, in ascending order of id. In quilt mode they stay in the shard, and with those who keep history.
    pub items: Items,
    /// Wire form of what it changes.
    pub patch: Vec<u8>,
}

impl CertifiedBlock {
    /// Bytes of its patch and items, roughly.
    pub fn body_bytes(&self) -> usize {
        self.patch.len() + items_bytes(&self.items)
    }

    /// What its minters have signed, and who they are.
    pub fn certified(&self) -> (Statement, Certificate) {
        let (kind, shard) = (StatementKind::ShardVote, self.block.shard as u16);
        let (height, number, hash) = (self.height, self.block.slot, self.hash);
        (Statement { kind, height, number, shard, justified_by: 0, hash }, self.certificate)
    }

    /// Whether its certificate is one of this committee. What the block says is for [`crate::rules::execution`] to check.
    pub fn certificate_holds(&self, chain: &Hash, committee: &Committee, signing: &(impl Signing + ?Sized)) -> bool {
        let Some(seats) = committee.shards.get(self.block.shard as usize) else { return false };
        self.hash == self.block.hash()
            && self.certificate.signers.iter().all(|seat| seats.contains(&seat))
            && self.certificate.verify(committee, shard_quorum(seats.len()), &self.certified().0.digest(chain), signing)
    }

    /// The hash that a master-block lists.
    pub fn listed_hash(&self) -> Hash {
        if planted(Mutation::CertificateHashedIntoBlock) {
            let mut bytes = self.hash.to_vec();
            bytes.extend(self.certificate.signers.iter().flat_map(Seat::to_le_bytes));
            return keyed(&VALUE_KEY, &bytes);
        }
        self.hash
    }
}

/// A master-block: what a committee agrees on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Height of the block, one above its parent's.
    pub height: u64,
    /// Hash of the master-block before.
    pub parent: Hash,
    /// Latest slot of its shard-blocks; without any, the one after the parent's.
    pub slot: u64,
    /// The shard-block of each shard, if there is one.
    pub headers: Vec<Option<Hash>>,
    /// Hash of the quilt.
    pub quilt: Hash,
    /// Root of the state before it.
    pub parent_root: Hash,
    /// Root of the system after it: names, stakes, who is to mint and what is not mature.
    pub system: Hash,
    /// Seed after it.
    pub seed: Hash,
    /// Hash of the committee of the next height.
    pub committee_next: Hash,
}

impl Value {
    /// Keyed BLAKE3 of all fields: what the committee's votes name.
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&VALUE_KEY);
        hasher.update(&self.height.to_le_bytes()).update(&self.parent).update(&self.slot.to_le_bytes());
        hasher.update(&(self.headers.len() as u32).to_le_bytes());
        for header in &self.headers {
            hasher.update(&[u8::from(header.is_some())]).update(header.as_ref().unwrap_or(&[0; 32]));
        }
        hasher
            .update(&self.quilt)
            .update(&self.parent_root)
            .update(&self.system)
            .update(&self.seed)
            .update(&self.committee_next);
        *hasher.finalize().as_bytes()
    }
}

/// q first votes for one value in one attempt.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Attempt that the first votes are of.
    pub attempt: u64,
    /// Attempt of the certificate that justified the value then.
    pub justified_by: u64,
    /// The master-block that was voted for.
    pub value: Arc<Value>,
    /// Hash of the value, which the votes sign.
    pub hash: Hash,
    /// Seats that voted, with their signatures combined.
    pub certificate: Certificate,
}

impl Prepared {
    /// What its seats have signed, and who they are.
    pub fn certified(&self) -> (Statement, Certificate) {
        let (kind, height, hash) = (StatementKind::First, self.value.height, self.hash);
        let (number, justified_by) = (self.attempt, self.justified_by);
        (Statement { kind, height, number, shard: 0, justified_by, hash }, self.certificate)
    }
}

/// q second votes: the value is final.
#[derive(Clone, Debug)]
pub struct Final {
    /// Attempt that the second votes are of; the next height begins after its slot.
    pub attempt: u64,
    /// The master-block that is final.
    pub value: Arc<Value>,
    /// Hash of the value, which the votes sign.
    pub hash: Hash,
    /// Seats that voted, with their signatures combined.
    pub certificate: Certificate,
}

impl Final {
    /// What its seats have signed, and who they are.
    pub fn certified(&self) -> (Statement, Certificate) {
        let (kind, height, hash) = (StatementKind::Second, self.value.height, self.hash);
        (Statement { kind, height, number: self.attempt, shard: 0, justified_by: 0, hash }, self.certificate)
    }
}
