//! Execution: the transactions of a shard-block become its delta.
//!
//! Validity was decided from the parent state alone, each sender acts once and spends nothing received here, so the
//! transactions have no order: debits are unique, credits add up, and any division among threads gives the same
//! columns.

use super::arena::{Arena, Handle};
use crate::accounts::columns::StateMemory;
use crate::accounts::delta::{Delta, DeltaBuilder};
use crate::accounts::state::State;
use crate::base::ids::AccountIndex;
use crate::base::parameters::ChainParameters;
use crate::transaction::cell::payload_outputs;
use crate::transaction::check::cost;

/// Buffers that execution reuses from block to block.
#[derive(Default)]
pub struct Executor {
    builder: DeltaBuilder,
}

/// What a transaction of the block does: where it stands and where its first output goes.
pub struct Selected {
    /// Arena slot that holds its cell and payload.
    pub slot: Handle,
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
        block: &[Selected],
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
        assert_eq!(delta.debits.len(), block.len(), "each transaction debits one sender");
        let (debits, credits) = delta.sums();
        assert_eq!(debits, credits, "a block moves money and makes none");
    }
}
