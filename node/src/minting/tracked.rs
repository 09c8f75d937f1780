//! What became of the transactions that came by the API: checkpoint by checkpoint, for those who ask.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Prefix;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::{Item, transaction_of};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Transactions that are remembered; the oldest go first.
const TRACKED_MAX: usize = 100_000;

/// How far a transaction is. Times are milliseconds since the chain's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionShown {
    /// `waiting`, `certified`, `final`, `refused` or `expired`.
    pub state: String,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// When it came.
    pub received_ms: u64,
    /// When its shard-block was certified.
    pub certified_ms: Option<u64>,
    /// When that block was final.
    pub final_ms: Option<u64>,
    /// Height of its block.
    pub height: Option<u64>,
    /// Slot of its block.
    pub slot: Option<u64>,
    /// The shard that its sender belonged to at that height.
    pub shard: Option<u32>,
}

struct Entry {
    cell: Cell,
    shown: TransactionShown,
}

/// Those that are remembered.
#[derive(Default)]
pub struct Tracked {
    entries: HashMap<Hash, Entry>,
    order: VecDeque<Hash>,
    waiting: Vec<Hash>,
}

impl Tracked {
    /// Whether one has not ended.
    pub fn waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How far a transaction is.
    pub fn shown(&self, id: &Hash) -> Option<&TransactionShown> {
        self.entries.get(id).map(|entry| &entry.shown)
    }

    /// Remembers one that has come; of one that waits already the first outcome counts.
    pub fn begin(&mut self, prefix: &Prefix, item: &Arc<Item>, now_ms: u64, outcome: Result<(), Refusal>) {
        let Some((cell, _)) = transaction_of(item) else { return };
        let id = cell.id(prefix);
        if self.entries.get(&id).is_some_and(|entry| entry.shown.state != "refused") {
            return;
        }
        let (state, refusal) = match outcome {
            Ok(()) => ("waiting", None),
            Err(refusal) => ("refused", Some(refusal.name().to_owned())),
        };
        if outcome.is_ok() {
            self.waiting.push(id);
        }
        let shown =
            TransactionShown { state: state.into(), refusal, received_ms: now_ms, ..TransactionShown::default() };
        if self.entries.insert(id, Entry { cell, shown }).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > TRACKED_MAX {
            self.order.pop_front().map(|oldest| self.entries.remove(&oldest));
        }
        // What the API shows and no more: not worth a minter in release.
        debug_assert_eq!(
            self.order.len(),
            self.entries.len(),
            "each transaction that is remembered has its turn to go"
        );
    }

    /// A shard-block of this height is certified; `debits` says whether it takes from the sender.
    pub fn certified(&mut self, height: u64, shard: u32, now_ms: u64, debits: impl Fn(&Cell) -> bool) {
        for id in &self.waiting {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if entry.shown.height != Some(height) && debits(&entry.cell) {
                let TransactionShown { state, certified_ms, height: of, shard: of_shard, .. } = &mut entry.shown;
                *state = "certified".into();
                (*certified_ms, *of, *of_shard) = (Some(now_ms), Some(height), Some(shard));
            }
        }
    }

    /// A block of this height is final; `used` says whether a sequence is used up now, and in which shard.
    pub fn settle(&mut self, height: u64, slot: u64, now_ms: u64, used: impl Fn(&Cell) -> Option<u32>) {
        let entries = &mut self.entries;
        self.waiting.retain(|id| {
            let Some(entry) = entries.get_mut(id) else { return false };
            let shown = &mut entry.shown;
            if let Some(shard) = used(&entry.cell) {
                shown.state = "final".into();
                (shown.final_ms, shown.height, shown.slot, shown.shard) =
                    (Some(now_ms), Some(height), Some(slot), Some(shard));
                return false;
            }
            if entry.cell.expires_slot < slot {
                shown.state = "expired".into();
                return false;
            }
            true
        });
    }
}
