//! What the log says of each slot: one line for people, and one a step for who looks for what a slot was lost by.

use super::execution::NodeExecution;
use super::own::Own;
use super::status::{ShardShown, Status};
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::minter::Minter;
use dynemix_engine::vote::signing::Signing;

/// Slots without a block after which a node that is behind is told what to do.
const HINT_SLOTS: u64 = 8;

/// How far the log is.
#[derive(Default)]
pub struct SlotLine {
    logged_slot: u64,
    /// Slots in a row that brought no block.
    slots_without: u64,
}

/// One step of the consensus thread.
pub struct Step {
    /// When it was due, milliseconds since the chain's start.
    pub due_ms: u64,
    /// When it was begun.
    pub taken_ms: u64,
    /// When it was done.
    pub done_ms: u64,
}

impl Step {
    /// One line a step, for who looks for what a slot was lost by. `late` are transactions told too late for the set;
    /// `costs_ns` what one costs to verify, to judge, to build.
    pub fn log<S: Signing>(
        &self,
        schedule: &Schedule,
        minter: &Minter<NodeExecution<S>, S>,
        own: &Own,
        (late, room, costs_ns): (usize, u64, [u64; 3]),
    ) {
        tracing::debug!(
            step_ms = self.due_ms % schedule.slot_ms,
            late_ms = self.taken_ms - self.due_ms,
            took_ms = self.done_ms.saturating_sub(self.taken_ms),
            height = minter.pending_height(),
            round = ?minter.round().map(|round| round.shown()),
            master = ?minter.master().shown(),
            pool = minter.execution.pool.len(),
            pool_late = late,
            own = own.len(),
            own_window = own.window(),
            own_pace = own.pace_now(),
            own_left = own.left(),
            room,
            ?costs_ns,
        );
    }
}

/// What a slot's line tells beside the block.
pub struct Surroundings {
    /// The height that is not final yet.
    pub pending: u64,
    /// The highest height that others have spoken of.
    pub heard: u64,
    /// Transactions that wait.
    pub pool: usize,
    /// Peers with a name.
    pub peers: u64,
}

impl SlotLine {
    /// Whether a slot has begun of which nothing was said yet.
    pub fn begins(&mut self, slot: u64) -> bool {
        // Not only a later one: a clock that was ahead and was set right begins slots again.
        let begins = slot != self.logged_slot;
        self.logged_slot = slot;
        begins
    }

    /// The slot that has ended when this one begins; none before the first. A clock can be set back to that.
    pub fn ended(begun: u64) -> Option<u64> {
        begun.checked_sub(1)
    }

    /// One line of the slot that has ended.
    pub fn log(&mut self, ended: u64, slot_ms: u64, status: &Status, around: &Surroundings) {
        let &Surroundings { pending, heard, pool, peers } = around;
        let line = status.look(|live| {
            let block = live.blocks.iter().rev().find(|block| block.attempt / 2 == ended)?;
            let sum = |of: fn(&ShardShown) -> u32| block.shards.iter().map(of).sum::<u32>();
            let payments = sum(|shard| shard.transactions);
            let counts = (payments, sum(|shard| shard.items).saturating_sub(payments));
            let final_ms = block.final_ms % slot_ms;
            Some((block.height, block.shards.len(), counts, block.signers, block.seats, final_ms))
        });
        match line {
            Some((height, shards, (payments, records), signers, seats, final_ms)) => {
                self.slots_without = 0;
                tracing::info!(
                    "slot {ended}: height {height} final after {final_ms} ms, {shards} shard-blocks, \
                     {payments} payments, {records} records, {signers} of {seats} signed; pool {pool}, peers {peers}"
                );
            }
            None if ended > 0 => {
                self.slots_without += 1;
                tracing::warn!(
                    "slot {ended}: nothing final, height {pending} is pending for {} slots; pool {pool}, peers {peers}",
                    self.slots_without
                );
                if heard > pending + 1 && self.slots_without.is_multiple_of(HINT_SLOTS) {
                    tracing::warn!(
                        "peers are at height {heard}, and none gives height {pending}: their blocks begin later. \
                         Begin anew with a snapshot: an empty data directory and network.trust"
                    );
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_a_year_ahead_for_a_slot_begins_slots_again() {
        let mut line = SlotLine::default();
        assert!(line.begins(7) && !line.begins(7) && line.begins(3_153_600));
        // At each, questions are counted anew, and the network is asked what slot it is.
        assert!(line.begins(8) && !line.begins(8) && line.begins(9));
        // And one that is set back to the chain's start begins its first, before which none has ended.
        assert!(line.begins(0) && SlotLine::ended(0).is_none());
        assert_eq!(SlotLine::ended(9), Some(8));
    }
}
