//! An item: what consensus carries, by its id. Most are transactions.

use super::cell::{Cell, TransactionKind};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::limits::CELL_BYTES;
use std::sync::{Arc, LazyLock};

static ITEM_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix item v1"));

/// The first byte of an item that is a transaction: cell and payload follow.
pub const ITEM_TRANSACTION: u8 = 4;

/// A transaction or system record, as bytes with their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Hash of the bytes.
    pub id: Hash,
    /// What [`crate::rules::execution::Execution`] understands.
    pub bytes: Vec<u8>,
}

impl Item {
    /// The item of these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Item> {
        Arc::new(Item { id: keyed(&ITEM_KEY, &bytes), bytes })
    }
}

/// Items that many hold and nobody changes, ascending by id: a block's are a hundred thousand, and copying the row
/// would touch each of them.
pub type Items = Arc<[Arc<Item>]>;

/// Bytes that these take in memory, roughly.
pub(crate) fn items_bytes(items: &[Arc<Item>]) -> usize {
    items.iter().map(|item| item.bytes.len() + 64).sum()
}

/// Bytes of an item that is a transaction with so long a payload.
pub fn transaction_bytes(payload_bytes: u32) -> u64 {
    1 + CELL_BYTES as u64 + u64::from(payload_bytes)
}

/// Bytes of a block's items, transactions and records alike: all of them travel to whoever looks for them.
pub fn block_bytes(items: &[Arc<Item>]) -> u64 {
    items.iter().map(|item| item.bytes.len() as u64).sum()
}

/// The cell and payload of an item that is a transaction.
pub fn transaction_of(item: &Item) -> Option<(Cell, &[u8])> {
    let (&tag, bytes) = item.bytes.split_first()?;
    let (cell, payload) = bytes.split_at_checked(CELL_BYTES).filter(|_| tag == ITEM_TRANSACTION)?;
    Some((bytemuck::pod_read_unaligned(cell), payload))
}

/// Whether an item is a transaction that costs a pairing to judge.
pub fn is_heavy(item: &Item) -> bool {
    transaction_of(item).is_some_and(|(cell, _)| cell.kind == TransactionKind::Stake as u8)
}

/// The item of a transaction.
pub fn transaction_item(cell: &Cell, payload: &[u8]) -> Arc<Item> {
    let mut bytes = Vec::with_capacity(1 + CELL_BYTES + payload.len());
    bytes.push(ITEM_TRANSACTION);
    bytes.extend_from_slice(bytemuck::bytes_of(cell));
    bytes.extend_from_slice(payload);
    Item::new(bytes)
}
