//! Execution: the transactions of a shard-block become its delta.
//!
//! Validity was decided from the parent state alone, each sender acts once and spends nothing received here, so the
//! transactions have no order: debits are unique, credits add up, and any division among threads gives the same
//! columns.

use crate::arena::{Arena, Slot};
use crate::cell::{Key, payload_outputs};
use crate::chain::ChainParameters;
use crate::check::cost;
use crate::patch::Delta;
use crate::quilt::fill_created;
use crate::state::{AccountIndex, State, StateMemory};
use rayon::prelude::*;

/// A delta in the making: entries in any order.
#[derive(Default)]
pub(crate) struct DeltaBuilder {
    pub debits: Vec<(AccountIndex, u64)>,
    pub credits: Vec<(AccountIndex, u64)>,
    pub created: Vec<(Key, u64)>,
}

impl DeltaBuilder {
    pub(crate) fn clear(&mut self) {
        self.debits.clear();
        self.credits.clear();
        self.created.clear();
    }

    /// An output, to an account or to a key that has none.
    pub(crate) fn credit(&mut self, account: Option<AccountIndex>, key: &Key, amount: u64) {
        match account {
            Some(account) => self.credits.push((account, amount)),
            None => self.created.push((*key, amount)),
        }
    }

    /// Fills the columns of `delta`.
    ///
    /// # Panics
    /// When an account is debited twice.
    pub(crate) fn finish(&mut self, delta: &mut Delta) {
        // Sorting by account and amount leaves no choice to the sorter: equal entries are equal.
        self.debits.par_sort_unstable();
        self.credits.par_sort_unstable();
        self.created.par_sort_unstable();
        assert!(self.debits.is_sorted_by(|a, b| a.0 < b.0), "a sender acts once a block");
        delta.debits.fill_merged(&self.debits);
        delta.credits.fill_merged(&self.credits);
        fill_created(delta, &self.created);
    }
}

/// Buffers that execution reuses from block to block.
#[derive(Default)]
pub struct Executor {
    builder: DeltaBuilder,
}

/// What a transaction of the block does: where it stands and where its first output goes.
pub struct Item {
    /// The transaction.
    pub slot: Slot,
    /// First eight bytes of its id, big endian: sorts like the id.
    pub id_start: u64,
    /// The account of the first output, if it exists in the parent state.
    pub recipient: Option<AccountIndex>,
}

impl Executor {
    /// Buffers for blocks of up to `transactions_max` transfers.
    pub fn with_capacity(transactions_max: usize) -> Executor {
        let builder = DeltaBuilder {
            debits: Vec::with_capacity(transactions_max),
            credits: Vec::with_capacity(transactions_max),
            created: Vec::with_capacity(transactions_max / 16),
        };
        Executor { builder }
    }

    /// Fills `delta` with the effect of `block` on `state`.
    ///
    /// # Panics
    /// When a transaction was not checked before it came here: its cost is out of range.
    pub fn execute<M: StateMemory>(
        &mut self,
        block: &[Item],
        arena: &Arena,
        state: &State<M>,
        parameters: &ChainParameters,
        delta: &mut Delta,
    ) {
        delta.clear();
        self.builder.clear();
        for (i, item) in block.iter().enumerate() {
            if let Some(ahead) = block.get(i + 8) {
                arena.prefetch(&ahead.slot);
            }
            let (cell, note) = (arena.cell(&item.slot), arena.note(&item.slot));
            let payload = arena.payload(&item.slot);
            let cost = cost(cell, payload, parameters).expect("a transaction in a block has been checked");
            self.builder.debits.push((note.account, cost.total()));
            delta.fees += cost.fee;
            self.builder.credit(item.recipient, &cell.recipient, cell.amount);
            for output in payload_outputs(payload) {
                self.builder.credit(state.find(&output.recipient), &output.recipient, output.amount);
            }
        }
        self.builder.finish(delta);
        let (debits, credits) = delta.sums();
        assert_eq!(debits, credits, "a block moves money and makes none");
    }
}
