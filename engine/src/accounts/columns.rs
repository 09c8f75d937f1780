//! The columns of the account state, and who holds their memory.

use crate::base::hash::Hash;
use crate::base::ids::Key;
use crate::base::keyed_hash::HashSeed;
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

/// The fields of an account that transfers change.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Hot {
    /// Units that the account can spend.
    pub balance: u64,
    /// The sequence that its next transaction must have.
    pub sequence: u32,
    /// Slot of the last change, cut to 32 bits (1 361 years of 10-second slots).
    pub last_active_slot: u32,
}

const _: () = {
    assert!(size_of::<Hot>() == 16 && align_of::<Hot>() == 8);
    assert!(offset_of!(Hot, balance) == 0 && offset_of!(Hot, sequence) == 8 && offset_of!(Hot, last_active_slot) == 12);
};

/// What is true of the state as a whole.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct StateHeader {
    /// Height of the newest block applied; 0 at genesis.
    pub height: u64,
    /// Slot of the last of them.
    pub slot: u64,
    /// Accounts in use.
    pub accounts: u64,
    /// Units that are in no balance: fees, stakes, what is locked with names, payments that are not mature. Whose they
    /// are is for [`crate::chain`] to know.
    pub pool: u64,
    /// Root after the last [`update_root`](super::state::State::update_root).
    pub root: Hash,
    /// Secret of this node's key index.
    pub index_seed: HashSeed,
}

const _: () = {
    assert!(size_of::<StateHeader>() == 4 * 8 + 32 + 80 && align_of::<StateHeader>() == 8);
    assert!(offset_of!(StateHeader, height) == 0 && offset_of!(StateHeader, slot) == 8);
    assert!(offset_of!(StateHeader, accounts) == 16 && offset_of!(StateHeader, pool) == 24);
    assert!(offset_of!(StateHeader, root) == 32 && offset_of!(StateHeader, index_seed) == 64);
};

/// The columns, to read.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    /// What is true of the whole.
    pub header: &'a StateHeader,
    /// Changing fields, an entry an account.
    pub hot: &'a [Hot],
    /// Public keys, an entry an account.
    pub key: &'a [Key],
    /// Open-addressing table that leads from key to account; 0 is a free place.
    pub index: &'a [u64],
    /// Tree nodes, bottom level first.
    pub tree: &'a [Hash],
}

/// The columns, to write.
pub struct ColumnsMut<'a> {
    /// What is true of the whole.
    pub header: &'a mut StateHeader,
    /// Changing fields, an entry an account.
    pub hot: &'a mut [Hot],
    /// Public keys, an entry an account.
    pub key: &'a mut [Key],
    /// Open-addressing table that leads from key to account; 0 is a free place.
    pub index: &'a mut [u64],
    /// Tree nodes, bottom level first.
    pub tree: &'a mut [Hash],
}

/// Whoever holds the columns' memory. All columns have the lengths of one [`StateLayout`](super::memory::StateLayout).
pub trait StateMemory: Send + Sync {
    /// The columns, to read.
    fn columns(&self) -> Columns<'_>;
    /// The columns, to write.
    fn columns_mut(&mut self) -> ColumnsMut<'_>;
}
