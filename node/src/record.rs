//! What the log keeps of a block: its header, its quilt and, in nodes that keep everything, its transactions.
//!
//! ```text
//!   version u8 | 0 x 3 | block u32 | quilt u32 | transactions u32 | payloads u32     lengths; transactions: how many
//!   block        the shard-block's header, 112 bytes
//!   quilt        wire form
//!   transactions cells of 192 bytes in ascending order of id
//!   payloads     for each transaction: length u16, bytes
//! ```
//!
//! Records are ours: they are checksummed by the log and only checked for shape here.

use dynemix_engine::arena::{Arena, Slot};
use dynemix_engine::block::{SHARD_BLOCK_BYTES, ShardBlock};
use dynemix_engine::cell::{Cell, payload_outputs};
use dynemix_engine::chain::Prefix;
use dynemix_storage::{Keys, ReadKeys, Table};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 20;

/// A block as the log keeps it.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a> {
    /// The shard-block's header.
    pub block: ShardBlock,
    /// The quilt's wire form.
    pub quilt: &'a [u8],
    cells: &'a [u8],
    payloads: &'a [u8],
}

/// The bytes of a record are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is no block of version {VERSION}")]
pub struct NoBlock;

/// Writes the record of a block; `transactions` may be empty where they are not kept.
pub fn encode<'a>(
    out: &mut Vec<u8>,
    block: &ShardBlock,
    quilt: &[u8],
    transactions: impl Iterator<Item = &'a Slot> + Clone,
    arena: &Arena,
) {
    let payloads = |slot: &Slot| 2 + arena.payload(slot).len() as u32;
    let lengths =
        [SHARD_BLOCK_BYTES as u32, quilt.len() as u32, transactions.clone().count() as u32, transactions.clone().map(payloads).sum()];
    out.clear();
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    lengths.iter().for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
    out.extend_from_slice(&block.encode());
    out.extend_from_slice(quilt);
    transactions.clone().for_each(|slot| out.extend_from_slice(bytemuck::bytes_of(arena.cell(slot))));
    for slot in transactions {
        let payload = arena.payload(slot);
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    }
}

impl<'a> BlockRecord<'a> {
    /// Splits a record.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn decode(bytes: &'a [u8]) -> Result<BlockRecord<'a>, NoBlock> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(NoBlock)?;
        let length = |i: usize| u32::from_le_bytes(head[4 + 4 * i..8 + 4 * i].try_into().expect("4 bytes")) as usize;
        let (block, rest) = rest.split_first_chunk::<SHARD_BLOCK_BYTES>().ok_or(NoBlock)?;
        let (quilt, rest) = rest.split_at_checked(length(1)).ok_or(NoBlock)?;
        let (cells, payloads) = rest.split_at_checked(length(2).checked_mul(size_of::<Cell>()).ok_or(NoBlock)?).ok_or(NoBlock)?;
        if head[..4] != [VERSION, 0, 0, 0] || length(0) != SHARD_BLOCK_BYTES || payloads.len() != length(3) {
            return Err(NoBlock);
        }
        Ok(BlockRecord { block: ShardBlock::decode(block), quilt, cells, payloads })
    }

    /// Transactions that are kept with the block: all or none.
    pub fn transactions(&self) -> impl ExactSizeIterator<Item = Cell> + 'a {
        self.cells.chunks_exact(size_of::<Cell>()).map(bytemuck::pod_read_unaligned)
    }

    /// The transactions' payloads, one for each, mostly empty.
    pub fn payloads(&self) -> impl Iterator<Item = &'a [u8]> + 'a {
        let mut rest = self.payloads;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (payload, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            Some(payload)
        })
    }
}

/// Reads the ids and accounts of a block's transactions for the index.
pub struct BlockKeys {
    /// Prefix of the chain's transactions.
    pub prefix: Prefix,
}

impl ReadKeys for BlockKeys {
    fn keys(&self, payload: &[u8], keys: &mut Keys) {
        let Ok(record) = BlockRecord::decode(payload) else { return };
        for (place, (cell, payload)) in (0..).zip(record.transactions().zip(record.payloads())) {
            keys.add(Table::Transactions, &cell.id(&self.prefix), place);
            keys.add(Table::Accounts, &cell.sender, place);
            keys.add(Table::Accounts, &cell.recipient, place);
            for output in payload_outputs(payload) {
                keys.add(Table::Accounts, &output.recipient, place);
            }
        }
    }
}
