//! What the log keeps of a block.
//!
//! ```text
//!   version u8 | 0 x 3 | first u32 | quilt u32 | count u32 | rest u32        lengths, and how many of what follows
//!
//!   version 3, a node alone      first  the shard-block's header, 120 bytes
//!                                quilt  wire form
//!                                count  transactions, where they are kept: cells of 192 bytes, ascending by id
//!                                rest   for each transaction its payload: length u16, bytes
//!   version 4, a node of many    first  the final certificate with its master-block, then its committee with keys
//!                                quilt  wire form
//!                                count  shard-blocks, 0 bytes here
//!                                rest   the shard-blocks as they travel: in quilt mode without their transactions
//! ```
//!
//! Versions 1 and 2 had headers that did not say how many bytes their transactions have.
//!
//! Records are ours: they are checksummed by the log and only checked for shape here.

use dynemix_engine::base::ids::Prefix;
use dynemix_engine::chain::block::{CertifiedBlock, Final, SHARD_BLOCK_BYTES, ShardBlock};
use dynemix_engine::chain::block_codec::{put_block, put_final, read_block, read_final};
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::pipeline::arena::{Arena, Handle};
use dynemix_engine::transaction::cell::{Cell, payload_outputs};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_storage::{Keys, ReadKeys, Table};
use std::sync::Arc;

/// Of a node alone.
const SINGLE: u8 = 3;
/// Of a node of many.
const MASTER: u8 = 4;
const HEAD_BYTES: usize = 20;

/// A block as the log keeps it.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a> {
    /// The quilt's wire form.
    pub quilt: &'a [u8],
    body: RecordBody<'a>,
}

#[derive(Clone, Copy, Debug)]
enum RecordBody<'a> {
    Single { block: ShardBlock, cells: &'a [u8], payloads: &'a [u8] },
    Master { decided: &'a [u8], count: usize, blocks: &'a [u8] },
}

/// The bytes of a record are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is no block of version {SINGLE} or {MASTER}")]
pub struct NoBlock;

/// A block is longer than the log can say, which has 32 bits for it: cut, it could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block of slot {slot} has {bytes} bytes, more than a record of the log can have")]
pub struct RecordTooLong {
    /// The block's slot.
    pub slot: u64,
    /// Bytes that the record would have.
    pub bytes: u64,
}

/// Begins a record with its head: its parts, `first`, `quilt` and `rest`, and how many stand between the last two.
fn head(
    out: &mut Vec<u8>,
    (version, slot): (u8, u64),
    [first, quilt, rest]: [usize; 3],
    (count, of_each): (usize, usize),
) -> Result<(), RecordTooLong> {
    out.clear();
    let bytes = [HEAD_BYTES, first, quilt, rest].iter().map(|&part| part as u64).sum::<u64>();
    let bytes = bytes.saturating_add((count as u64).saturating_mul(of_each as u64));
    // Each part is shorter than the whole.
    let short = |length: usize| u32::try_from(length).map_err(|_| RecordTooLong { slot, bytes });
    u32::try_from(bytes).map_err(|_| RecordTooLong { slot, bytes })?;
    out.extend_from_slice(&[version, 0, 0, 0]);
    for length in [first, quilt, count, rest] {
        out.extend_from_slice(&short(length)?.to_le_bytes());
    }
    Ok(())
}

/// Writes the record of a final master-block with its shard-blocks; `committee` is the wire form of who has certified
/// it.
///
/// # Errors
/// A block that is longer than a record can be.
pub fn encode_master(
    out: &mut Vec<u8>,
    decided: &Final,
    committee: &[u8],
    blocks: &[Arc<CertifiedBlock>],
    quilt: &[u8],
) -> Result<(), RecordTooLong> {
    let listed = decided.value.headers.iter().flatten();
    let same = listed.copied().eq(blocks.iter().map(|block| block.listed_hash()));
    assert!(same, "the record of height {} has other shard-blocks than its master-block lists", decided.value.height);
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    put_final(decided, &mut first);
    first.extend_from_slice(committee);
    blocks.iter().for_each(|block| put_block(block, &Nobody, &mut rest));
    head(out, (MASTER, decided.value.slot), [first.len(), quilt.len(), rest.len()], (blocks.len(), 0))?;
    [&first, quilt, &rest].iter().for_each(|part| out.extend_from_slice(part));
    let parts = HEAD_BYTES + first.len() + quilt.len() + rest.len();
    assert_eq!(out.len(), parts, "a record of many is as long as its parts");
    Ok(())
}

/// Writes the record of a block; `transactions` may be empty where they are not kept.
///
/// # Errors
/// A block that is longer than a record can be.
pub fn encode<'a>(
    out: &mut Vec<u8>,
    block: &ShardBlock,
    quilt: &[u8],
    transactions: impl Iterator<Item = &'a Handle> + Clone,
    arena: &Arena,
) -> Result<(), RecordTooLong> {
    let payloads = |slot: &Handle| 2 + arena.payload(slot).len();
    let payload_bytes: usize = transactions.clone().map(payloads).sum();
    let count = transactions.clone().count();
    let lengths = [SHARD_BLOCK_BYTES, quilt.len(), payload_bytes];
    head(out, (SINGLE, block.slot), lengths, (count, size_of::<Cell>()))?;
    out.extend_from_slice(&block.encode());
    out.extend_from_slice(quilt);
    transactions.clone().for_each(|slot| out.extend_from_slice(bytemuck::bytes_of(arena.cell(slot))));
    for slot in transactions {
        let payload = arena.payload(slot);
        out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        out.extend_from_slice(payload);
    }
    let parts = HEAD_BYTES + SHARD_BLOCK_BYTES + quilt.len() + count * size_of::<Cell>() + payload_bytes;
    assert_eq!(out.len(), parts, "the record of a node alone is as long as its parts");
    Ok(())
}

impl<'a> BlockRecord<'a> {
    /// Splits a record.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn decode(bytes: &'a [u8]) -> Result<BlockRecord<'a>, NoBlock> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(NoBlock)?;
        let length = |i: usize| u32::from_le_bytes(head[4 + 4 * i..8 + 4 * i].try_into().expect("4 bytes")) as usize;
        let (first, rest) = rest.split_at_checked(length(0)).ok_or(NoBlock)?;
        let (quilt, rest) = rest.split_at_checked(length(1)).ok_or(NoBlock)?;
        let body = match head[..4] {
            [SINGLE, 0, 0, 0] => {
                let (cells, payloads) =
                    rest.split_at_checked(length(2).checked_mul(size_of::<Cell>()).ok_or(NoBlock)?).ok_or(NoBlock)?;
                let block = ShardBlock::decode(first.try_into().map_err(|_| NoBlock)?);
                RecordBody::Single { block, cells, payloads }
            }
            [MASTER, 0, 0, 0] => RecordBody::Master { decided: first, count: length(2), blocks: rest },
            _ => return Err(NoBlock),
        };
        let tail = match body {
            RecordBody::Single { payloads, .. } => payloads.len(),
            RecordBody::Master { blocks, .. } => blocks.len(),
        };
        if tail == length(3) { Ok(BlockRecord { quilt, body }) } else { Err(NoBlock) }
    }

    /// The final certificate and its shard-blocks; none of a node alone.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn master(&self) -> Result<Option<KeptFinal>, NoBlock> {
        let RecordBody::Master { mut decided, count, mut blocks } = self.body else { return Ok(None) };
        let decided = read_final(&mut decided).map_err(|_| NoBlock)?;
        let blocks =
            (0..count).map(|_| read_block(&mut blocks, &Nobody).map_err(|_| NoBlock)).collect::<Result<_, _>>()?;
        Ok(Some((decided, blocks)))
    }

    /// The final certificate and the committee behind it as they stand there: what a light client follows.
    pub fn light(&self) -> Option<&'a [u8]> {
        match self.body {
            RecordBody::Master { decided, .. } => Some(decided),
            RecordBody::Single { .. } => None,
        }
    }

    /// Headers of the shard-blocks.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn headers(&self) -> Result<Vec<ShardBlock>, NoBlock> {
        match (self.body, self.master()?) {
            (RecordBody::Single { block, .. }, _) => Ok(vec![block]),
            (_, master) => Ok(master.into_iter().flat_map(|(_, blocks)| blocks).map(|block| block.block).collect()),
        }
    }

    /// Transactions that are kept with the block, with their payloads: all or none.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn transactions(&self) -> Result<Vec<(Cell, Vec<u8>)>, NoBlock> {
        let RecordBody::Single { cells, mut payloads, .. } = self.body else {
            let items =
                self.master()?.into_iter().flat_map(|(_, blocks)| blocks).flat_map(|block| block.items.to_vec());
            return Ok(items
                .filter_map(|item| item.cell_and_payload().map(|(cell, payload)| (*cell, payload.to_vec())))
                .collect());
        };
        let payload = || {
            let (length, after) = payloads.split_first_chunk::<2>()?;
            let (payload, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            payloads = after;
            Some(payload.to_vec())
        };
        let payloads = std::iter::from_fn(payload);
        Ok(cells.chunks_exact(size_of::<Cell>()).map(bytemuck::pod_read_unaligned).zip(payloads).collect())
    }
}

/// Reads the ids and accounts of a block's transactions for the index.
pub struct BlockKeys {
    /// Prefix of the chain's transactions.
    pub prefix: Prefix,
}

impl ReadKeys for BlockKeys {
    fn keys(&self, payload: &[u8], keys: &mut Keys) {
        let Ok(transactions) = BlockRecord::decode(payload).and_then(|record| record.transactions()) else { return };
        for (place, (cell, payload)) in (0..).zip(&transactions) {
            keys.add(Table::Transactions, &cell.id(&self.prefix), place);
            keys.add(Table::Accounts, &cell.sender, place);
            keys.add(Table::Accounts, &cell.recipient, place);
            for output in payload_outputs(payload) {
                keys.add(Table::Accounts, &output.recipient, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_cannot_say_is_refused_and_never_cut() {
        let most = u32::MAX as usize;
        let head = |lengths, many| {
            let mut out = vec![1];
            head(&mut out, (MASTER, 7), lengths, many).map(|()| out)
        };
        let lengths = |head: &[u8]| -> Vec<u32> {
            head[4..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap())).collect()
        };
        assert_eq!(lengths(&head([5, 6, 8], (7, 9)).unwrap()), [5, 6, 7, 8]);
        assert!(head([0, 0, most - HEAD_BYTES], (0, 0)).is_ok());
        for (wrong, many) in [
            ([0, 0, most - HEAD_BYTES + 1], (0, 0)),
            ([most + 1, 0, 0], (0, 0)),
            // What was cut to five bytes.
            ([0, 0, (1 << 32) + 5], (0, 0)),
            ([1 << 31, 1 << 31, 0], (0, 0)),
            ([0, 0, 0], (most / 192 + 1, 192)),
            ([0, 0, 0], (most + 1, 0)),
        ] {
            let refused = head(wrong, many).unwrap_err();
            assert!(refused.slot == 7 && (refused.bytes > u64::from(u32::MAX) || many.1 == 0), "{wrong:?} {refused}");
        }
    }
}
