//! Verify stage: whatever has arrived becomes a batch. A light load waits for nothing, a heavy one fills large batches
//! by itself, since more arrives while one is being verified.
//!
//! Connections that have lately sent broken signatures ([`Suspicion`]) are set aside: their transactions wait in a
//! bounded queue and get a ninth of the time while others have work, all of it when nobody else has. When the queue is
//! full, they are told `busy`.

use super::outcome::Outcome;
use super::stage::{IDLE_SLEEP, Outlet, RefusalBoard, Sleeper, StageAccount, StageTimer, Time};
use super::suspicion::Suspicion;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::pipeline::arena::{Arena, Handle};
use dynemix_engine::pipeline::ring::Consumer;
use dynemix_engine::verify::{KeyCache, Signed, Verifier, VerifyCounters};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Signatures of suspects in one batch: small, since some will be broken.
const SUSPECT_BATCH: usize = 256;
/// Honest time to each unit of suspects' time, while both have work.
const HONEST_SHARE: u32 = 8;

/// What one verifying thread works with.
pub struct VerifyStage {
    /// Its prefix stands before what is signed.
    pub chain: Chain,
    /// Cells and payloads of everything that is under way.
    pub arena: Arc<Arena>,
    /// Decoded keys, shared with the other verifiers.
    pub keys: Arc<KeyCache>,
    /// Signatures of one batch at most.
    pub batch_max: usize,
    /// Transactions of suspects that may wait.
    pub suspects_max: usize,
    /// Who is suspected, shared with the other verifiers.
    pub suspicion: Arc<Suspicion>,
    /// From the check stage; shared with the other verifiers.
    pub input: Consumer<Handle>,
    /// To the ledger.
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

/// A verifier with the buffers of its batches. Honest and suspect ones have one each: a verifier learns from failures
/// how to divide its batches.
struct Bench {
    verifier: Verifier,
    batch: Vec<Handle>,
    verdicts: Vec<bool>,
    time: Duration,
}

impl VerifyStage {
    /// Runs until stopped; returns what it did.
    pub fn run(mut self) -> VerifyCounters {
        let mut timer = StageTimer::new();
        let bench = |size: usize| Bench {
            verifier: Verifier::new(self.keys.clone()),
            batch: Vec::with_capacity(size),
            verdicts: Vec::with_capacity(size),
            time: Duration::ZERO,
        };
        let (mut honest, mut suspect) = (bench(self.batch_max), bench(SUSPECT_BATCH));
        let mut waiting: VecDeque<Handle> = VecDeque::with_capacity(self.suspects_max);
        let (mut taken, mut scratch) = (Vec::with_capacity(self.batch_max), Vec::with_capacity(self.batch_max));
        let (mut good, mut answers) = (Vec::with_capacity(self.batch_max), Vec::with_capacity(self.batch_max));
        let mut had_honest = true;
        loop {
            let stopping = self.sleeper.stopping();
            // With nobody but suspects at work they are finished before more is taken.
            let only_suspects = !had_honest && waiting.len() >= self.batch_max.min(self.suspects_max / 2);
            let mut held = waiting.len();
            if !only_suspects {
                held += self.input.take_into(&mut taken, self.batch_max, &mut scratch);
            }
            for slot in taken.drain(..) {
                if !self.suspicion.is_suspect(self.arena.note(&slot).origin.connection) {
                    honest.batch.push(slot);
                } else if waiting.len() < self.suspects_max {
                    waiting.push_back(slot);
                } else {
                    answers.push(Outcome { slot, result: Err(Refusal::Busy) });
                }
            }
            let busy = answers.len() as u64;
            had_honest = !honest.batch.is_empty();
            if had_honest {
                self.verify(&mut honest, &mut good, &mut answers);
            }
            if !waiting.is_empty() && (!had_honest || suspect.time * HONEST_SHARE <= honest.time) {
                suspect.batch.extend(waiting.drain(..waiting.len().min(SUSPECT_BATCH)));
                self.verify(&mut suspect, &mut good, &mut answers);
            } else if !had_honest && answers.is_empty() {
                timer.lap(&self.account, Time::Busy);
                if stopping {
                    return honest.verifier.counters().plus(&suspect.verifier.counters());
                }
                self.sleeper.sleep(IDLE_SLEEP);
                timer.lap(&self.account, Time::Idle);
                (honest.time, suspect.time) = (Duration::ZERO, Duration::ZERO);
                continue;
            }
            let left = good.len() + answers.len() + waiting.len();
            assert_eq!(left, held, "each transaction goes on, is answered or waits, and once");
            assert!(waiting.len() <= self.suspects_max, "{} suspects wait, {} may", waiting.len(), self.suspects_max);
            let bad = answers.len() as u64 - busy;
            self.output.push_all(&mut good, &mut timer, &self.account);
            self.answers.push_all(&mut answers, &mut timer, &self.account);
            self.refusals.add(Refusal::BadSignature, bad);
            self.refusals.add(Refusal::Busy, busy);
            timer.lap(&self.account, Time::Busy);
        }
    }

    /// Verifies a batch and sends its transactions on their ways.
    fn verify(&self, bench: &mut Bench, good: &mut Vec<Handle>, answers: &mut Vec<Outcome>) {
        let start = Instant::now();
        let (arena, prefix, batch) = (&*self.arena, &self.chain.transaction_prefix, &bench.batch);
        let signed = |i: usize| {
            let cell = arena.cell(&batch[i]);
            Signed { key: &cell.sender, signature: &cell.signature, prefix, message: cell.signed_part() }
        };
        bench.verifier.verify(batch.len(), signed, &mut bench.verdicts);
        assert_eq!(bench.verdicts.len(), bench.batch.len(), "each signature of a batch has a verdict");
        for (slot, &verdict) in bench.batch.drain(..).zip(&bench.verdicts) {
            self.suspicion.book(self.arena.note(&slot).origin.connection, verdict);
            match verdict {
                true => good.push(slot),
                false => answers.push(Outcome { slot, result: Err(Refusal::BadSignature) }),
            }
        }
        bench.time += start.elapsed();
    }
}
