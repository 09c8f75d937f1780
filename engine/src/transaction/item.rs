//! An item: what consensus carries, by its id. Most are transactions.
//!
//! Bytes become an item once, and its id is computed once: whoever has an item reads its cell where it lies. Copies of an
//! item share the place that it stands in: see [`super::arena`].

use super::arena::{Arena, Place, Shared};
use super::cell::{Cell, TransactionKind};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::limits::CELL_BYTES;
use crate::base::prefetch::prefetch;
use std::sync::{Arc, LazyLock};

static ITEM_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix item v1"));

/// The first byte of an item that is a transaction: cell and payload follow.
pub const ITEM_TRANSACTION: u8 = 4;

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;

/// A transaction or system record, with its id: a right to read it, which costs nothing to pass on.
#[derive(Clone)]
pub struct Item(Shared);

impl Item {
    /// The item of a transaction, in a place of its own on the heap.
    pub fn transaction(cell: &Cell, payload: &[u8]) -> Item {
        Item(Shared::on_heap(Item::of_cell(cell, payload)))
    }

    /// The same in a place of an arena; none if it is full.
    pub fn transaction_in(arena: &Arc<Arena>, cell: &Cell, payload: &[u8]) -> Option<Item> {
        arena.place(Item::of_cell(cell, payload)).map(Item)
    }

    fn of_cell(cell: &Cell, payload: &[u8]) -> Place {
        let (tag, cell_bytes) = ([ITEM_TRANSACTION], bytemuck::bytes_of(cell));
        let mut hasher = blake3::Hasher::new_keyed(&ITEM_KEY);
        hasher.update(&tag).update(cell_bytes).update(payload);
        Place::new(*cell, *hasher.finalize().as_bytes(), payload.into(), true)
    }

    /// The item of these bytes, as they are hashed: a transaction, or whatever else.
    pub fn of_bytes(bytes: &[u8]) -> Item {
        match bytes.split_first().and_then(|(&tag, rest)| Some((tag, rest.split_at_checked(CELL_BYTES)?))) {
            Some((ITEM_TRANSACTION, (cell, payload))) => {
                Item::transaction(&bytemuck::pod_read_unaligned(cell), payload)
            }
            _ => {
                let (cell, id) = (bytemuck::Zeroable::zeroed(), keyed(&ITEM_KEY, bytes));
                Item(Shared::on_heap(Place::new(cell, id, bytes.into(), false)))
            }
        }
    }

    /// Asks the processor for what is read when a copy of it is made, goes, or says its id: whoever goes through many
    /// would wait for each.
    pub fn prefetch(&self) {
        prefetch(&self.0.id);
    }

    /// The same for its cell.
    pub fn prefetch_cell(&self) {
        bytemuck::bytes_of(&self.0.cell).chunks(LINE_BYTES).for_each(|line| prefetch(&line[0]));
    }

    /// Hash of the bytes.
    pub fn id(&self) -> Hash {
        self.0.id
    }

    /// Whether it is a transaction.
    pub fn is_transaction(&self) -> bool {
        self.0.is_transaction
    }

    /// Its cell, if it is a transaction.
    pub fn cell(&self) -> Option<&Cell> {
        self.0.is_transaction.then_some(&self.0.cell)
    }

    /// Cell and payload, if it is a transaction.
    pub fn cell_and_payload(&self) -> Option<(&Cell, &[u8])> {
        self.cell().map(|cell| (cell, &*self.0.rest))
    }

    /// All of its bytes, if it is none.
    pub fn record(&self) -> Option<&[u8]> {
        (!self.0.is_transaction).then_some(&*self.0.rest)
    }

    /// Its bytes, part by part.
    pub fn parts(&self) -> [&[u8]; 3] {
        match self.cell_and_payload() {
            Some((cell, payload)) => [&[ITEM_TRANSACTION], bytemuck::bytes_of(cell), payload],
            None => [&self.0.rest, &[], &[]],
        }
    }

    /// How many bytes these are.
    pub fn length(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// Its bytes in a row.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// Whether it is a transaction that costs a pairing to judge.
    pub fn is_heavy(&self) -> bool {
        self.cell().is_some_and(|cell| cell.kind == TransactionKind::Stake as u8)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Item {}

impl std::fmt::Debug for Item {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Item({:02x?}, {} bytes)", &self.0.id[..4], self.length())
    }
}

/// Items that many hold and nobody changes, ascending by id: a block's are a hundred thousand, and copying the row
/// would touch each of them.
pub type Items = Arc<[Item]>;

/// Bytes that an item takes in memory beside those of a payload: its place, and its entries in rows.
pub const ITEM_MEMORY: usize = size_of::<Place>() + 16;

/// Bytes that these take in memory.
pub fn items_bytes(items: &[Item]) -> usize {
    items.iter().map(|item| ITEM_MEMORY + item.0.rest.len()).sum()
}

/// Bytes of an item that is a transaction with so long a payload.
pub fn transaction_bytes(payload_bytes: u32) -> u64 {
    1 + CELL_BYTES as u64 + u64::from(payload_bytes)
}

/// Bytes of a block's items, transactions and records alike: all of them travel to whoever looks for them.
pub fn block_bytes(items: &[Item]) -> u64 {
    items.iter().map(|item| item.length() as u64).sum()
}
