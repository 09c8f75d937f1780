//! What the log keeps of a block.
//!
//! ```text
//!   version u8 | 0 x 3 | first u32 | quilt u32 | count u32 | rest u32        lengths, and how many of what follows
//!
//!   version 4    first  the final certificate with its master-block, then its committee with keys
//!                quilt  wire form
//!                count  shard-blocks, 0 bytes here
//!                rest   the shard-blocks as they travel: in quilt mode without their transactions
//! ```
//!
//! Versions 1 and 2 had headers that did not say how many bytes their transactions have; 1 and 3 were of nodes alone.
//!
//! Records are ours: they are checksummed by the log and only checked for shape here.

use dynemix_engine::base::ids::Prefix;
use dynemix_engine::chain::block::{CertifiedBlock, Final, ShardBlock};
use dynemix_engine::chain::block_codec::{put_block, put_final, read_block, read_final};
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::transaction::cell::{Cell, payload_outputs};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_storage::{Keys, ReadKeys, Table};
use std::sync::Arc;

/// Of every record.
const VERSION: u8 = 4;
const HEAD_BYTES: usize = 20;

/// A block as the log keeps it.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a> {
    /// The quilt's wire form.
    pub quilt: &'a [u8],
    /// The final certificate and the committee behind it as they stand there: what a light client follows.
    pub light: &'a [u8],
    count: usize,
    blocks: &'a [u8],
}

/// The bytes of a record are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is no block of version {VERSION}")]
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

/// Begins a record with its head: its parts, `first`, `quilt` and `rest`, and how many blocks are in the last.
fn head(out: &mut Vec<u8>, slot: u64, [first, quilt, rest]: [usize; 3], count: usize) -> Result<(), RecordTooLong> {
    out.clear();
    let bytes = [HEAD_BYTES, first, quilt, rest].iter().map(|&part| part as u64).sum::<u64>();
    // Each part is shorter than the whole.
    let short = |length: usize| u32::try_from(length).map_err(|_| RecordTooLong { slot, bytes });
    u32::try_from(bytes).map_err(|_| RecordTooLong { slot, bytes })?;
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
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
    head(out, decided.value.slot, [first.len(), quilt.len(), rest.len()], blocks.len())?;
    [&first, quilt, &rest].iter().for_each(|part| out.extend_from_slice(part));
    let parts = HEAD_BYTES + first.len() + quilt.len() + rest.len();
    assert_eq!(out.len(), parts, "a record is as long as its parts");
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
        let (light, rest) = rest.split_at_checked(length(0)).ok_or(NoBlock)?;
        let (quilt, blocks) = rest.split_at_checked(length(1)).ok_or(NoBlock)?;
        let whole = head[..4] == [VERSION, 0, 0, 0] && blocks.len() == length(3);
        if whole { Ok(BlockRecord { quilt, light, count: length(2), blocks }) } else { Err(NoBlock) }
    }

    /// The final certificate and its shard-blocks.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn master(&self) -> Result<KeptFinal, NoBlock> {
        let (mut decided, mut blocks) = (self.light, self.blocks);
        let decided = read_final(&mut decided).map_err(|_| NoBlock)?;
        let blocks =
            (0..self.count).map(|_| read_block(&mut blocks, &Nobody).map_err(|_| NoBlock)).collect::<Result<_, _>>()?;
        Ok((decided, blocks))
    }

    /// Headers of the shard-blocks.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn headers(&self) -> Result<Vec<ShardBlock>, NoBlock> {
        Ok(self.master()?.1.iter().map(|block| block.block).collect())
    }

    /// Transactions that are kept with the block, with their payloads: all or none.
    ///
    /// # Errors
    /// When the bytes have another shape.
    pub fn transactions(&self) -> Result<Vec<(Cell, Vec<u8>)>, NoBlock> {
        let (_, blocks) = self.master()?;
        let items = blocks.iter().flat_map(|block| block.items.iter());
        let parts = items.filter_map(|item| item.cell_and_payload());
        Ok(parts.map(|(cell, payload)| (*cell, payload.to_vec())).collect())
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
        let head = |lengths, count| {
            let mut out = vec![1];
            head(&mut out, 7, lengths, count).map(|()| out)
        };
        let lengths = |head: &[u8]| -> Vec<u32> {
            head[4..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap())).collect()
        };
        assert_eq!(lengths(&head([5, 6, 8], 7).unwrap()), [5, 6, 7, 8]);
        assert!(head([0, 0, most - HEAD_BYTES], 0).is_ok());
        for (wrong, count) in [
            ([0, 0, most - HEAD_BYTES + 1], 0),
            ([most + 1, 0, 0], 0),
            // What was cut to five bytes.
            ([0, 0, (1 << 32) + 5], 0),
            ([1 << 31, 1 << 31, 0], 0),
            ([0, 0, 0], most + 1),
        ] {
            let refused = head(wrong, count).unwrap_err();
            assert!(refused.slot == 7 && (refused.bytes > u64::from(u32::MAX) || count > 0), "{wrong:?} {refused}");
        }
    }
}
