//! A state's snapshot: a manifest and chunks of accounts. A chunk is what lies below one node of the state tree, so the
//! manifest's list of nodes is checked against the root, and each chunk against its node, alone and in any order.
//!
//! ```text
//!   manifest  magic "DYNXSNP" 8 | version u32 | chunks u32 | chain 32 | height u64 | slot u64 | accounts u64 | pool u64
//!             | root 32 | a node a chunk 32
//!   chunk     keys 32 each, then balances, sequences and slots 16 each, of up to 524 288 accounts in order
//! ```

use super::columns::{Hot, StateHeader, StateMemory};
use super::state::{GenesisError, State};
use super::tree::{GROUP, levels, node_bytes, node_hash, root_hash, subtree};
use crate::base::hash::{FAN_OUT, Hash};
use crate::base::ids::Key;
use crate::base::keyed_hash::HashSeed;
use bytemuck::{Pod, Zeroable};

const MAGIC: [u8; 8] = *b"DYNXSNP\0";
/// Version of manifest and chunks.
pub const SNAPSHOT_VERSION: u32 = 1;
/// Levels of the tree above the groups within a chunk.
const CHUNK_DEPTH: usize = 4;
/// Accounts of a full chunk.
pub const CHUNK_ACCOUNTS: u64 = (GROUP * FAN_OUT.pow(CHUNK_DEPTH as u32)) as u64;
/// Bytes of an account in a chunk.
pub const CHUNK_ACCOUNT_BYTES: usize = size_of::<Key>() + size_of::<Hot>();
const HEAD_BYTES: usize = 8 + 4 + 4 + 32 + 4 * 8 + 32;
/// Bytes of the largest manifest: a chunk for each 524 288 of 2^32 accounts.
pub const MANIFEST_BYTES_MAX: usize = HEAD_BYTES + 32 * (1 << 13);

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Genesis hash of the chain.
    pub chain: Hash,
    /// Height of the state.
    pub height: u64,
    /// Slot of the last block in that state.
    pub slot: u64,
    /// Accounts in use.
    pub accounts: u64,
    /// Units in no balance, as the state's header has them.
    pub pool: u64,
    /// Root of the state's tree, which the nodes lead to.
    pub root: Hash,
    /// The tree's node over each chunk.
    pub nodes: Vec<Hash>,
}

/// Why a manifest or chunk is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a manifest.
    #[error("the bytes are not a snapshot's manifest")]
    Malformed,
    /// The manifest names a version other than [`SNAPSHOT_VERSION`].
    #[error("the snapshot has format version {0}, this program reads {SNAPSHOT_VERSION}")]
    Version(u32),
    /// The nodes do not lead to the root.
    #[error("the manifest's nodes do not lead to its root")]
    Root,
    /// A chunk of the wrong length.
    #[error("chunk {chunk} has {bytes} bytes, not {expected}")]
    Length {
        /// Number of the chunk, counted from 0.
        chunk: usize,
        /// How many it has.
        bytes: u64,
        /// How many it must have.
        expected: u64,
    },
    /// A chunk that is not what its node covers.
    #[error("chunk {chunk} is not what the state's root says it is")]
    Chunk {
        /// Number of the chunk, counted from 0.
        chunk: usize,
    },
}

/// Levels above the groups that a chunk's node is at.
fn chunk_depth(accounts: u64) -> usize {
    CHUNK_DEPTH.min(levels(accounts as usize).len() - 1)
}

impl Manifest {
    /// The manifest of a state whose tree is up to date.
    pub fn of<M: StateMemory>(state: &State<M>, chain: Hash) -> Manifest {
        assert!(state.root_known(), "a snapshot is of a state whose tree is up to date: invariant 4");
        let columns = state.columns();
        let StateHeader { height, slot, accounts, pool, root, .. } = *columns.header;
        let level = levels(columns.hot.len())[chunk_depth(accounts)];
        let chunks = accounts.div_ceil(CHUNK_ACCOUNTS).max(1) as usize;
        let nodes = columns.tree[level.start..level.start + chunks].to_vec();
        Manifest { chain, height, slot, accounts, pool, root, nodes }
    }

    /// The accounts of a chunk, as indices.
    pub fn chunk_accounts(&self, chunk: usize) -> std::ops::Range<usize> {
        let start = chunk as u64 * CHUNK_ACCOUNTS;
        start as usize..(start + CHUNK_ACCOUNTS).min(self.accounts) as usize
    }

    /// Bytes of a chunk.
    pub fn chunk_bytes(&self, chunk: usize) -> usize {
        self.chunk_accounts(chunk).len() * CHUNK_ACCOUNT_BYTES
    }

    /// Bytes of all chunks.
    pub fn bytes(&self) -> u64 {
        self.accounts * CHUNK_ACCOUNT_BYTES as u64
    }

    /// Checks that the nodes lead to the root.
    ///
    /// # Errors
    /// [`SnapshotError::Root`].
    pub fn verify(&self) -> Result<(), SnapshotError> {
        let depth = levels(self.accounts as usize).len() - 1;
        let mut nodes = self.nodes.clone();
        for _ in chunk_depth(self.accounts)..depth {
            nodes = (0..nodes.len().div_ceil(FAN_OUT)).map(|node| node_hash(&node_bytes(&nodes, node))).collect();
        }
        let root = root_hash(&nodes[0], self.height, self.slot, self.accounts, self.pool);
        if root == self.root { Ok(()) } else { Err(SnapshotError::Root) }
    }

    /// Checks that the columns of a chunk are what its node covers.
    ///
    /// # Errors
    /// [`SnapshotError::Length`] and [`SnapshotError::Chunk`].
    pub fn verify_columns(&self, chunk: usize, keys: &[Key], hot: &[Hot]) -> Result<(), SnapshotError> {
        let expected = self.chunk_accounts(chunk).len();
        if keys.len() != expected || hot.len() != expected {
            let bytes = (keys.len() * CHUNK_ACCOUNT_BYTES) as u64;
            return Err(SnapshotError::Length { chunk, bytes, expected: (expected * CHUNK_ACCOUNT_BYTES) as u64 });
        }
        if subtree(keys, hot, chunk_depth(self.accounts)) == self.nodes[chunk] {
            Ok(())
        } else {
            Err(SnapshotError::Chunk { chunk })
        }
    }

    /// Splits and checks the bytes of a chunk: keys and balances.
    ///
    /// # Errors
    /// [`SnapshotError::Length`] and [`SnapshotError::Chunk`].
    pub fn verify_chunk(&self, chunk: usize, bytes: &[u8]) -> Result<(Vec<Key>, Vec<Hot>), SnapshotError> {
        let (accounts, expected) = (self.chunk_accounts(chunk).len(), self.chunk_bytes(chunk));
        if bytes.len() != expected {
            return Err(SnapshotError::Length { chunk, bytes: bytes.len() as u64, expected: expected as u64 });
        }
        let (keys, hot) = bytes.split_at(accounts * size_of::<Key>());
        let (keys, hot) = (bytemuck::cast_slice(keys).to_vec(), bytemuck::pod_collect_to_vec(hot));
        self.verify_columns(chunk, &keys, &hot)?;
        Ok((keys, hot))
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        out.extend_from_slice(&(self.nodes.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.chain);
        for number in [self.height, self.slot, self.accounts, self.pool] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.root);
        self.nodes.iter().for_each(|node| out.extend_from_slice(node));
        out
    }

    /// Reads and verifies the wire form of untrusted bytes. Whether its root is the chain's is for the caller to know.
    ///
    /// # Errors
    /// Anything but one whole manifest whose nodes lead to its root.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, SnapshotError> {
        let (head, nodes) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(SnapshotError::Malformed)?;
        if head[..8] != MAGIC {
            return Err(SnapshotError::Malformed);
        }
        let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
        let eight = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
        if four(8) != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(four(8)));
        }
        let manifest = Manifest {
            chain: head[16..48].try_into().expect("32 bytes"),
            height: eight(48),
            slot: eight(56),
            accounts: eight(64),
            pool: eight(72),
            root: head[80..112].try_into().expect("32 bytes"),
            nodes: nodes.chunks_exact(32).map(|node| node.try_into().expect("32 bytes")).collect(),
        };
        let chunks = manifest.accounts.div_ceil(CHUNK_ACCOUNTS).max(1);
        // Heights and slots that leave no room for a next block are no state's.
        let ends = manifest.height == u64::MAX || manifest.slot > u64::from(u32::MAX);
        if ends
            || manifest.accounts > u64::from(u32::MAX)
            || u64::from(four(12)) != chunks
            || nodes.len() as u64 != chunks * 32
        {
            return Err(SnapshotError::Malformed);
        }
        manifest.verify()?;
        Ok(manifest)
    }
}

impl<M: StateMemory> State<M> {
    /// Fills index, tree and header behind columns that hold the first accounts already, as a snapshot brings them, and
    /// returns the root.
    ///
    /// # Errors
    /// A repeated key.
    pub fn restore(&mut self, manifest: &Manifest, index_seed: HashSeed) -> Result<Hash, GenesisError> {
        let columns = self.memory.columns_mut();
        let Manifest { height, slot, accounts, pool, .. } = *manifest;
        *columns.header = StateHeader { height, slot, accounts, pool, index_seed, ..StateHeader::zeroed() };
        // The memory may have held another state: what is not in use is zero, or the tree would cover it.
        clear(&mut columns.hot[accounts as usize..]);
        clear(&mut columns.key[accounts as usize..]);
        clear(columns.tree);
        super::index::rebuild(columns.index, columns.key, accounts as usize, &index_seed)
            .map_err(|account| GenesisError::Repeated { index: u64::from(account) })?;
        Ok(self.rebuild_tree())
    }
}

/// Zeros entries, touching only what is not zero already: untouched pages stay shared with the file below.
fn clear<T: Pod>(entries: &mut [T]) {
    for entries in entries.chunks_mut(256) {
        if bytemuck::cast_slice::<T, u8>(entries).iter().any(|&byte| byte != 0) {
            entries.fill(T::zeroed());
        }
    }
}
