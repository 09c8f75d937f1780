//! Where the columns live, and how long each is.

use super::columns::{Columns, ColumnsMut, Hot, StateHeader, StateMemory};
use super::tree;
use crate::base::hash::Hash;
use crate::base::ids::Key;
use bytemuck::Zeroable;

/// The length of each column for a number of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateLayout {
    /// Accounts that fit.
    pub accounts_max: u32,
}

impl StateLayout {
    /// The layout for so many accounts.
    pub fn new(accounts_max: u32) -> StateLayout {
        StateLayout { accounts_max }
    }

    /// Entries of the key index: three for two accounts, so that runs stay within a cache line or two.
    pub fn index_entries(&self) -> usize {
        (self.accounts_max as usize * 3).div_ceil(2).max(8)
    }

    /// Nodes of the tree, all levels.
    pub fn tree_nodes(&self) -> usize {
        tree::levels(self.accounts_max as usize).iter().map(|level| level.nodes).sum()
    }

    /// Name and bytes of each column, in the order in which a store lays them out.
    pub fn columns(&self) -> [(&'static str, u64); 5] {
        let accounts = u64::from(self.accounts_max);
        [
            ("header", size_of::<StateHeader>() as u64),
            ("hot", accounts * size_of::<Hot>() as u64),
            ("key", accounts * size_of::<Key>() as u64),
            ("index", 8 * self.index_entries() as u64),
            ("tree", 32 * self.tree_nodes() as u64),
        ]
    }

    /// All columns together.
    pub fn bytes(&self) -> u64 {
        self.columns().iter().map(|column| column.1).sum()
    }
}

/// Columns on the heap.
#[derive(Clone)]
pub struct HeapMemory {
    header: Box<StateHeader>,
    hot: Vec<Hot>,
    key: Vec<Key>,
    index: Vec<u64>,
    tree: Vec<Hash>,
}

impl HeapMemory {
    /// Zeroed columns of this layout.
    pub fn new(layout: StateLayout) -> HeapMemory {
        let accounts = layout.accounts_max as usize;
        HeapMemory {
            header: Box::new(StateHeader::zeroed()),
            hot: bytemuck::allocation::zeroed_vec(accounts),
            key: bytemuck::allocation::zeroed_vec(accounts),
            index: bytemuck::allocation::zeroed_vec(layout.index_entries()),
            tree: bytemuck::allocation::zeroed_vec(layout.tree_nodes()),
        }
    }
}

impl StateMemory for HeapMemory {
    fn columns(&self) -> Columns<'_> {
        Columns { header: &self.header, hot: &self.hot, key: &self.key, index: &self.index, tree: &self.tree }
    }

    fn columns_mut(&mut self) -> ColumnsMut<'_> {
        ColumnsMut {
            header: &mut self.header,
            hot: &mut self.hot,
            key: &mut self.key,
            index: &mut self.index,
            tree: &mut self.tree,
        }
    }
}
