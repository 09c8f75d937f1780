//! What has happened to an account, as far as the kept blocks tell.
//!
//! Patches travel in both modes and say what an account paid and received, unless the block was banned later. Who paid
//! whom stands in the transactions, which only blocks of blockchain mode carry; those are found by the log's index.

use super::answered::{Answered, Api, NOT_FOUND};
use crate::keep::record::{BlockKeys, BlockRecord};
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::transaction::cell::payload_outputs;
use dynemix_storage::{StoreError, Table};
use serde_json::{Value, json};

/// Bytes of blocks that one call reads at most.
const READ_BYTES_MAX: usize = 16 << 20;

const UNPOISONED: &str = "whoever panics while holding the state ends the process";

fn failed(error: StoreError) -> (i64, String) {
    (NOT_FOUND, error.to_string())
}

/// The newest changes of an account below a height, and the transactions that are kept whole, `count` of each at most.
///
/// # Errors
/// When the log cannot be read.
pub fn history(api: &Api, key: &[u8; 32], count: usize, before: Option<u64>) -> Answered {
    let records = &api.view.records;
    let account = api.view.state.read().expect(UNPOISONED).find(key);
    let (mut changes, mut read, count) = (Vec::new(), 0, count.max(1));
    let mut height = before.map_or(records.last(), |before| records.last().min(before.saturating_sub(1)));
    let first = records.first().max(1);
    while height >= first && changes.len() < count && read < READ_BYTES_MAX {
        let record = records.read(height).map_err(failed)?;
        read += record.len();
        let master = BlockRecord::decode(&record).and_then(|record| record.master());
        for block in master.ok().flatten().into_iter().flat_map(|(_, blocks)| blocks) {
            if let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) {
                changes.extend(change(&patch, account, key));
            }
        }
        height -= 1;
    }
    let older = (height >= first).then_some(height + 1);
    Ok(json!({
        "first_height": first,
        "next_before": older,
        "changes": changes,
        "transactions": transactions(api, key, count, before)?,
    }))
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

fn transactions(api: &Api, key: &[u8; 32], count: usize, before: Option<u64>) -> Result<Vec<Value>, (i64, String)> {
    let records = &api.view.records;
    let prefix = api.view.chain.transaction_prefix;
    let occurrences = records.find(Table::Accounts, key, &BlockKeys { prefix }).map_err(failed)?;
    let mut out = Vec::new();
    let mut heights: Vec<u64> = occurrences.iter().map(|occurrence| occurrence.number).collect();
    heights.dedup();
    heights.retain(|&height| before.is_none_or(|before| height < before));
    for height in heights.into_iter().rev() {
        let record = records.read(height).map_err(failed)?;
        let transactions = BlockRecord::decode(&record).and_then(|record| record.transactions());
        for (cell, payload) in transactions.unwrap_or_default() {
            let paid = || payload_outputs(&payload).any(|output| output.recipient == *key);
            if cell.sender == *key || cell.recipient == *key || paid() {
                let (id, sender, recipient) =
                    (hex::encode(cell.id(&prefix)), hex::encode(cell.sender), hex::encode(cell.recipient));
                out.push(json!({
                    "height": height,
                    "id": id,
                    "sender": sender,
                    "recipient": recipient,
                    "amount_units": cell.amount,
                    "kind": cell.kind,
                    "sequence": cell.sequence,
                }));
            }
        }
        if out.len() >= count {
            break;
        }
    }
    out.truncate(count);
    Ok(out)
}
