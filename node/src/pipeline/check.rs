//! Check stage: form, expiry and repeats of each cell, and its id.

use super::outcome::Outcome;
use super::stage::{IDLE_SLEEP, Outlet, RefusalBoard, Sleeper, StageAccount, StageTimer, Time};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::refusal::{Refusal, RefusalCounters};
use dynemix_engine::pipeline::arena::{Arena, Handle};
use dynemix_engine::pipeline::in_flight::InFlight;
use dynemix_engine::pipeline::ring::Consumer;
use dynemix_engine::transaction::check::check;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BATCH_MAX: usize = 1024;

/// What the stage works with.
pub struct CheckStage {
    /// Its parameters bound what a transaction may look like.
    pub chain: Chain,
    /// Cells and payloads of everything that is under way.
    pub arena: Arc<Arena>,
    /// What is inside the node.
    pub in_flight: Arc<InFlight>,
    /// Slot of the newest block.
    pub slot: Arc<AtomicU64>,
    /// From the sockets.
    pub input: Consumer<Handle>,
    /// To the verifiers.
    pub output: Outlet<Handle>,
    /// Back to the sockets.
    pub answers: Outlet<Outcome>,
    /// Refusals of all stages together.
    pub refusals: Arc<RefusalBoard>,
    /// Where its time is booked.
    pub account: Arc<StageAccount>,
    /// How it sleeps while there is nothing to do, and hears that it is to end.
    pub sleeper: Sleeper,
}

impl CheckStage {
    /// Runs until stopped.
    pub fn run(mut self) {
        let mut timer = StageTimer::new();
        let (mut batch, mut scratch) = (Vec::with_capacity(BATCH_MAX), Vec::with_capacity(BATCH_MAX));
        let (mut good, mut answers) = (Vec::with_capacity(BATCH_MAX), Vec::with_capacity(BATCH_MAX));
        loop {
            let stopping = self.sleeper.stopping();
            let taken = self.input.take_into(&mut batch, BATCH_MAX, &mut scratch);
            if taken == 0 {
                timer.lap(&self.account, Time::Busy);
                if stopping {
                    return;
                }
                self.sleeper.sleep(IDLE_SLEEP);
                timer.lap(&self.account, Time::Idle);
                continue;
            }
            let slot_now = self.slot.load(Ordering::Relaxed);
            let mut counters = RefusalCounters::default();
            for slot in &batch {
                self.arena.prefetch(slot);
            }
            for mut slot in batch.drain(..) {
                match self.check(&mut slot, slot_now) {
                    Ok(()) => good.push(slot),
                    Err(refusal) => {
                        counters.add(refusal, 1);
                        answers.push(Outcome { slot, result: Err(refusal) });
                    }
                }
            }
            let left = good.len() + answers.len();
            assert_eq!(left, taken, "each cell that was looked at goes on or is answered, and once");
            self.output.push_all(&mut good, &mut timer, &self.account);
            if !answers.is_empty() {
                self.answers.push_all(&mut answers, &mut timer, &self.account);
                counters.nonzero().for_each(|(refusal, count)| self.refusals.add(refusal, count));
            }
            timer.lap(&self.account, Time::Busy);
        }
    }

    fn check(&self, slot: &mut Handle, slot_now: u64) -> Result<(), Refusal> {
        let cell = self.arena.cell(slot);
        check(cell, self.arena.payload(slot), &self.chain.parameters, slot_now)?;
        let id = cell.id(&self.chain.transaction_prefix);
        if !self.in_flight.enter(&id, cell) {
            return Err(Refusal::Duplicate);
        }
        self.arena.note_mut(slot).id = id;
        Ok(())
    }
}
