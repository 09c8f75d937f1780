//! What has happened to an account, as far as the kept blocks tell.
//!
//! Patches travel in both modes and say what an account paid and received, unless the block was banned later. Who paid
//! whom stands in the transactions, which only blocks of blockchain mode carry. Blocks are read from the newest down,
//! so many bytes a call, and where it stopped the next call goes on: what a call costs does not depend on how long the
//! chain is, nor on what its newest segment of the log holds.

use super::answered::{Answered, Api, NOT_FOUND};
use super::answers::{Change, Does, HistoryAnswer, KeptTransaction};
use crate::keep::record::BlockRecord;
use dynemix_engine::base::ids::{AccountIndex, Prefix};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::transaction::cell::{Cell, TransactionKind, payload_outputs};
use serde_json::json;

/// Bytes of blocks that one call reads: no further block is begun beyond it.
const READ_BYTES_MAX: usize = 4 << 20;

/// The newest changes of an account below a height, and the transactions that are kept whole: as many blocks as it
/// takes to `count` of either, or to the bytes of a call. Also how many bytes were read.
pub(super) fn history(api: &Api, key: &[u8; 32], count: usize, before: Option<u64>) -> (usize, Answered) {
    let records = &api.view.records;
    let account = api.view.accounts.with(|state| state.find(key));
    let (mut changes, mut transactions, mut read, count) = (Vec::new(), Vec::new(), 0, count.max(1));
    let (mut left_out, page) = (0, api.config.page_max);
    let mut height = before.map_or(records.last(), |before| records.last().min(before.saturating_sub(1)));
    let first = records.first().max(1);
    while height >= first && changes.len() < count && transactions.len() < count && read < READ_BYTES_MAX {
        let record = match records.read(height) {
            Ok(record) => record,
            Err(error) => return (read, Err((NOT_FOUND, error.to_string()).into())),
        };
        read += record.len();
        assert!(read < READ_BYTES_MAX + record.len(), "a block is read beyond the bytes of a call");
        let Ok(record) = BlockRecord::decode(&record) else {
            let what = format!("the log's record {height} is no block of this program");
            return (read, Err((NOT_FOUND, what).into()));
        };
        for block in record.master().ok().into_iter().flat_map(|(_, blocks)| blocks) {
            if let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) {
                changes.extend(change(&patch, account, key));
            }
        }
        let cells = record.transactions().unwrap_or_default();
        let prefix = &api.view.chain.transaction_prefix;
        let (shown, more) = transactions_of(cells.into_iter(), height, key, prefix, page - transactions.len());
        transactions.extend(shown);
        left_out += more;
        height -= 1;
    }
    assert!(transactions.len() <= page, "{} transactions on a page of {page}", transactions.len());
    let older = (height >= first).then_some(height + 1);
    let (first_height, next_before, transactions_left_out) = (first, older, left_out);
    let answer = HistoryAnswer { first_height, next_before, changes, transactions, transactions_left_out };
    (read, Ok(json!(answer)))
}

/// What a patch does to an account, if anything.
fn change(patch: &Patch, account: Option<AccountIndex>, key: &[u8; 32]) -> Option<Change> {
    let of = |accounts: &[AccountIndex], amounts: &[u64]| {
        let place = accounts.binary_search(&account?).ok()?;
        Some(amounts[place])
    };
    let delta = &patch.delta;
    let debited = of(&delta.debits.accounts, &delta.debits.amounts);
    let opened = delta.created_keys.binary_search(key).ok().map(|place| delta.created_amounts[place]);
    let credited = of(&delta.credits.accounts, &delta.credits.amounts).or(opened);
    let of_record = patch.records.iter().find_map(|record| match record {
        Record::Register { account: of, name, .. } if Some(*of) == account => {
            Some((Does::Register, Some(String::from_utf8_lossy(name).into_owned()), None))
        }
        Record::Stake { account: of, amount, .. } if Some(*of) == account => Some((Does::Stake, None, Some(*amount))),
        Record::Unstake { account: of, amount } if Some(*of) == account => Some((Does::Unstake, None, Some(*amount))),
        _ => None,
    });
    let plain = if debited.is_some() { Does::Payment } else { Does::Receipt };
    let (kind, of, stake_units) = of_record.unwrap_or((plain, None, None));
    (debited.is_some() || credited.is_some()).then(|| Change {
        height: patch.height,
        slot: patch.slot,
        shard: patch.shard,
        kind,
        of,
        stake_units,
        debited_units: debited.unwrap_or(0),
        credited_units: credited.unwrap_or(0),
    })
}

/// A transaction as it is shown.
pub(super) fn kept_transaction(cell: &Cell, height: u64, prefix: &Prefix) -> KeptTransaction {
    KeptTransaction {
        height,
        id: hex::encode(cell.id(prefix)),
        sender: hex::encode(cell.sender),
        recipient: hex::encode(cell.recipient),
        amount_units: cell.amount,
        kind: match TransactionKind::from_number(cell.kind) {
            Some(TransactionKind::Register) => Does::Register,
            Some(TransactionKind::Stake) => Does::Stake,
            Some(TransactionKind::Unstake) => Does::Unstake,
            Some(TransactionKind::Transfer | TransactionKind::MultiTransfer) | None => Does::Payment,
        },
        sequence: cell.sequence,
    }
}

/// The transactions of a block that an account has a part in, as far as there is room for them, and how many more there
/// are: one block can have many times what a page has, which is to cost no memory.
fn transactions_of<P: AsRef<[u8]>>(
    cells: impl Iterator<Item = (Cell, P)>,
    height: u64,
    key: &[u8; 32],
    prefix: &Prefix,
    room: usize,
) -> (Vec<KeptTransaction>, usize) {
    let (mut out, mut more) = (Vec::new(), 0);
    for (cell, payload) in cells {
        let paid = || payload_outputs(payload.as_ref()).any(|output| output.recipient == *key);
        if cell.sender != *key && cell.recipient != *key && !paid() {
            continue;
        }
        if out.len() >= room {
            more += 1;
            continue;
        }
        out.push(kept_transaction(&cell, height, prefix));
    }
    (out, more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use std::mem::size_of_val;

    #[test]
    fn of_a_block_with_more_than_a_page_of_them_a_page_is_made() {
        let cells = |own: u64| {
            (0..2 * own).map(move |sequence| {
                let sender = if sequence % 2 == 0 { [7; 32] } else { [8; 32] };
                (Cell { sender, sequence, ..Cell::zeroed() }, Vec::new())
            })
        };
        let of = |own: u64, room: usize| transactions_of(cells(own), 9, &[7; 32], &[0; 32], room);
        let (shown, more) = of(20_000, 3);
        assert_eq!((shown.len(), more), (3, 19_997));
        assert!(shown.capacity() * size_of_val(&shown[0]) < 4_096, "no more is made than is shown");
        assert_eq!(shown[2].sequence, 4);
        let (shown, more) = of(3, 3);
        let (none, left) = of(3, 0);
        assert_eq!((shown.len(), more, none.len(), left), (3, 0, 0, 3));
    }
}
