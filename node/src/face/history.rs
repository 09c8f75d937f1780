//! What has happened to an account, as far as the kept blocks tell.
//!
//! Patches travel in both modes and say what an account paid and received, unless the block was banned later. Who paid
//! whom stands in the transactions, which only blocks of blockchain mode carry. Blocks are read from the newest down,
//! so many bytes a call, and where it stopped the next call goes on: what a call costs does not depend on how long the
//! chain is, nor on what its newest segment of the log holds.

use super::answered::{Answered, Api, NOT_FOUND};
use crate::keep::record::BlockRecord;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::transaction::cell::payload_outputs;
use serde_json::{Value, json};

/// Bytes of blocks that one call reads: no further block is begun beyond it.
const READ_BYTES_MAX: usize = 4 << 20;

const UNPOISONED: &str = "whoever panics while holding the state ends the process";

/// The newest changes of an account below a height, and the transactions that are kept whole: as many blocks as it
/// takes to `count` of either, or to the bytes of a call. Also how many bytes were read.
pub(super) fn history(api: &Api, key: &[u8; 32], count: usize, before: Option<u64>) -> (usize, Answered) {
    let records = &api.view.records;
    let account = api.view.state.read().expect(UNPOISONED).find(key);
    let (mut changes, mut transactions, mut read, count) = (Vec::new(), Vec::new(), 0, count.max(1));
    let mut height = before.map_or(records.last(), |before| records.last().min(before.saturating_sub(1)));
    let first = records.first().max(1);
    while height >= first && changes.len() < count && transactions.len() < count && read < READ_BYTES_MAX {
        let record = match records.read(height) {
            Ok(record) => record,
            Err(error) => return (read, Err((NOT_FOUND, error.to_string()))),
        };
        read += record.len();
        assert!(read < READ_BYTES_MAX + record.len(), "a block is read beyond the bytes of a call");
        let Ok(record) = BlockRecord::decode(&record) else {
            return (read, Err((NOT_FOUND, format!("the log's record {height} is no block of this program"))));
        };
        for block in record.master().ok().flatten().into_iter().flat_map(|(_, blocks)| blocks) {
            if let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) {
                changes.extend(change(&patch, account, key));
            }
        }
        transactions.extend(transactions_of(api, &record, height, key));
        height -= 1;
    }
    // One block can have more than a page of them.
    let left_out = transactions.len().saturating_sub(api.config.page_max);
    transactions.truncate(api.config.page_max);
    let older = (height >= first).then_some(height + 1);
    let answer = json!({
        "first_height": first,
        "next_before": older,
        "changes": changes,
        "transactions": transactions,
        "transactions_left_out": left_out,
    });
    (read, Ok(answer))
}

/// What a patch does to an account, if anything.
fn change(patch: &Patch, account: Option<AccountIndex>, key: &[u8; 32]) -> Option<Value> {
    let of = |accounts: &[AccountIndex], amounts: &[u64]| {
        let place = accounts.binary_search(&account?).ok()?;
        Some(amounts[place])
    };
    let delta = &patch.delta;
    let debited = of(&delta.debits.accounts, &delta.debits.amounts);
    let opened = delta.created_keys.binary_search(key).ok().map(|place| delta.created_amounts[place]);
    let credited = of(&delta.credits.accounts, &delta.credits.amounts).or(opened);
    let kind = patch.records.iter().find_map(|record| match record {
        Record::Register { account: of, name, .. } if Some(*of) == account => {
            Some(("register", json!(String::from_utf8_lossy(name))))
        }
        Record::Stake { account: of, amount, .. } if Some(*of) == account => Some(("stake", json!(amount))),
        Record::Unstake { account: of, amount } if Some(*of) == account => Some(("unstake", json!(amount))),
        _ => None,
    });
    (debited.is_some() || credited.is_some()).then(|| {
        let (kind, of) = kind.unwrap_or((if debited.is_some() { "payment" } else { "receipt" }, Value::Null));
        json!({
            "height": patch.height,
            "slot": patch.slot,
            "shard": patch.shard,
            "kind": kind,
            "of": of,
            "debited_units": debited.unwrap_or(0),
            "credited_units": credited.unwrap_or(0),
        })
    })
}

/// The transactions of a block that an account has a part in.
fn transactions_of(api: &Api, record: &BlockRecord<'_>, height: u64, key: &[u8; 32]) -> Vec<Value> {
    let mut out = Vec::new();
    for (cell, payload) in record.transactions().unwrap_or_default() {
        let paid = || payload_outputs(&payload).any(|output| output.recipient == *key);
        if cell.sender == *key || cell.recipient == *key || paid() {
            out.push(json!({
                "height": height,
                "id": hex::encode(cell.id(&api.view.chain.transaction_prefix)),
                "sender": hex::encode(cell.sender),
                "recipient": hex::encode(cell.recipient),
                "amount_units": cell.amount,
                "kind": cell.kind,
                "sequence": cell.sequence,
            }));
        }
    }
    out
}
