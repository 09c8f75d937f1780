//! Verify stage: whatever has arrived becomes a batch. A light load waits for nothing, a heavy one fills large batches by
//! itself, since more arrives while one is being verified.

use crate::answer::Answer;
use crate::stage::{IDLE_SLEEP, Outlet, RefusalBoard, Sleeper, StageAccount, StageTimer, Time};
use dynemix_engine::arena::{Arena, Slot};
use dynemix_engine::chain::Chain;
use dynemix_engine::refusal::Refusal;
use dynemix_engine::ring::Consumer;
use dynemix_engine::verify::{Signed, Verifier, VerifyCounters};
use std::sync::Arc;

/// What one verifying thread works with.
pub struct VerifyStage {
    /// The chain.
    pub chain: Chain,
    /// The arena.
    pub arena: Arc<Arena>,
    /// Its verifier.
    pub verifier: Verifier,
    /// Signatures of one batch at most.
    pub batch_max: usize,
    /// From the check stage; shared with the other verifiers.
    pub input: Consumer<Slot>,
    /// To the ledger.
    pub output: Outlet<Slot>,
    /// Back to the sockets.
    pub answers: Outlet<Answer>,
    /// Counts refusals.
    pub refusals: Arc<RefusalBoard>,
    /// Its time.
    pub account: Arc<StageAccount>,
    /// Its sleep.
    pub sleeper: Sleeper,
}

impl VerifyStage {
    /// Runs until stopped; returns what it did.
    pub fn run(mut self) -> VerifyCounters {
        let mut timer = StageTimer::new();
        let (mut batch, mut scratch) = (Vec::with_capacity(self.batch_max), Vec::with_capacity(self.batch_max));
        let (mut good, mut answers) = (Vec::with_capacity(self.batch_max), Vec::with_capacity(self.batch_max));
        let mut verdicts = Vec::with_capacity(self.batch_max);
        loop {
            let stopping = self.sleeper.stopping();
            if self.input.take_into(&mut batch, self.batch_max, &mut scratch) == 0 {
                timer.lap(&self.account, Time::Busy);
                if stopping {
                    return self.verifier.counters();
                }
                self.sleeper.sleep(IDLE_SLEEP);
                timer.lap(&self.account, Time::Idle);
                continue;
            }
            let (arena, prefix) = (&*self.arena, &self.chain.transaction_prefix);
            let signed = |i: usize| {
                let cell = arena.cell(&batch[i]);
                Signed { key: &cell.sender, signature: &cell.signature, prefix, message: cell.signed_part() }
            };
            self.verifier.verify(batch.len(), signed, &mut verdicts);
            for (slot, verdict) in batch.drain(..).zip(&verdicts) {
                match verdict {
                    true => good.push(slot),
                    false => answers.push(Answer { slot, outcome: Err(Refusal::BadSignature) }),
                }
            }
            self.output.push_all(&mut good, &mut timer, &self.account);
            let bad = answers.len() as u64;
            self.answers.push_all(&mut answers, &mut timer, &self.account);
            self.refusals.add(Refusal::BadSignature, bad);
            timer.lap(&self.account, Time::Busy);
        }
    }
}
