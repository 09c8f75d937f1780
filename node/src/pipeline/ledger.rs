//! Ledger stage: the one thread that owns pool, state and store. Verified transactions come in; at each slot's end a
//! block is made, journalled, synced and applied, and its transactions are answered as final.

use super::outcome::Outcome;
use super::stage::{IDLE_SLEEP, Outlet, RefusalBoard, Sleeper, StageAccount, StageTimer, Time};
use crate::keep::mapped::MappedMemory;
use crate::keep::record;
use crate::keep::replica::ReplicaHandle;
use dynemix_engine::accounts::state::ApplyError;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::refusal::{Refusal, RefusalCounters};
use dynemix_engine::pipeline::arena::Handle;
use dynemix_engine::pipeline::ledger::Ledger;
use dynemix_engine::pipeline::pool::Refused;
use dynemix_engine::pipeline::ring::Consumer;
use dynemix_storage::{Store, StoreError, StoreOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BATCH_MAX: usize = 4096;
/// Pages that are looked at after a block, to give their memory back: 4 MiB.
const RELEASE_PAGES: usize = 1024;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotPlan {
    /// One each so many milliseconds, if there is anything to put in.
    Timed {
        /// Milliseconds of a slot.
        slot_ms: u64,
    },
    /// One whenever so many transactions more have been decided (waiting in the pool or refused), the last one when all
    /// have: time plays no part, so the same transactions give the same blocks.
    Counted {
        /// Decided transactions for a block.
        block: u64,
        /// Transactions in all.
        total: u64,
    },
}

/// How a node keeps its state and blocks.
#[derive(Clone, Copy, Debug)]
pub struct StorageConfig {
    /// Sizes and bounds of the store.
    pub options: StoreOptions,
    /// Bytes of blocks between two checkpoints: what a restart replays at most.
    pub checkpoint_bytes: u64,
    /// Whether transactions are kept with their blocks, for a master-node.
    pub keep_transactions: bool,
    /// Time between two steps (4 MiB) of the scrubber.
    pub scrub_pause: Duration,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            options: StoreOptions::default(),
            checkpoint_bytes: 128 << 20,
            keep_transactions: false,
            scrub_pause: Duration::from_millis(500),
        }
    }
}

/// Why the ledger had to stop. Nothing is acknowledged that is not durable, so a restart continues from the journal.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A quilt of our own does not fit: a fault in this program.
    #[error("a quilt of our own making does not apply: {0}")]
    Apply(#[from] ApplyError),
    /// A block that the log cannot hold.
    #[error(transparent)]
    Record(#[from] record::RecordTooLong),
}

/// The accounts of the ledger's steps.
#[derive(Default)]
pub struct LedgerAccounts {
    /// Admitting and selecting.
    pub set: StageAccount,
    /// Execution, patch and shard-block.
    pub block: StageAccount,
    /// Merging and encoding.
    pub quilt: StageAccount,
    /// Writing (busy) and syncing (blocked).
    pub journal: StageAccount,
    /// Applying to the columns.
    pub state: StageAccount,
    /// Hashing the touched paths.
    pub root: StageAccount,
}

/// What the ledger tells others while it runs.
#[derive(Default)]
pub struct LedgerProgress {
    /// Transactions that are final since the start.
    pub finals: AtomicU64,
    /// Height of the newest block.
    pub height: AtomicU64,
}

/// What it did, at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSummary {
    /// Root of the state.
    pub root: Hash,
    /// Height of the newest block.
    pub height: u64,
    /// Accounts in use.
    pub accounts: u64,
    /// Balances and pools.
    pub supply: u128,
    /// Bytes of all quilts.
    pub quilt_bytes: u64,
    /// Transactions in the largest block.
    pub block_transactions_max: u64,
}

/// What the stage works with.
pub struct LedgerStage {
    /// Pool and state.
    pub ledger: Ledger<MappedMemory>,
    /// The log of blocks, and the checkpoints of their state.
    pub store: Store,
    /// How it is kept.
    pub storage: StorageConfig,
    /// Follows the log; writes the checkpoints.
    pub replica: ReplicaHandle,
    /// When blocks are made.
    pub plan: SlotPlan,
    /// From the verifiers.
    pub inputs: Vec<Consumer<Handle>>,
    /// Back to the sockets.
    pub answers: Outlet<Outcome>,
    /// Counts refusals; tells, in a counted plan, how many were decided elsewhere.
    pub refusals: Arc<RefusalBoard>,
    /// Slot of the newest block, for the check stage.
    pub slot: Arc<AtomicU64>,
    /// For whoever watches.
    pub progress: Arc<LedgerProgress>,
    /// Where the time of each of its steps is booked.
    pub accounts: Arc<LedgerAccounts>,
    /// How it sleeps while there is nothing to do, and hears that it is to end.
    pub sleeper: Sleeper,
}

impl LedgerStage {
    /// Runs until stopped; then asks for a last checkpoint.
    ///
    /// # Errors
    /// When the disk fails or a quilt does not apply. The stage has stopped then and answers nothing more.
    pub fn run(mut self) -> Result<LedgerSummary, LedgerError> {
        let accounts = self.accounts.clone();
        let mut timer = StageTimer::new();
        let mut buffers = Buffers::new();
        let mut summary = LedgerSummary::default();
        let first_slot = self.ledger.state().header().slot + 1;
        let start = Instant::now();
        loop {
            let stopping = self.sleeper.stopping();
            let mut taken = 0;
            for input in &self.inputs {
                taken += input.take_into(&mut buffers.verified, BATCH_MAX, &mut buffers.scratch);
            }
            buffers.taken += taken as u64;
            self.ledger.admit(&mut buffers.verified, &mut buffers.refused);
            self.answer_refused(&mut buffers, &mut timer);
            if taken > 0 {
                timer.lap(&accounts.set, Time::Busy);
            }
            let (due, wait) = self.due(start, first_slot);
            if let Some(slot) = due {
                self.make_block(slot, &mut buffers, &mut timer, &mut summary)?;
            } else if taken == 0 {
                if stopping {
                    break;
                }
                self.sleeper.sleep(wait.min(IDLE_SLEEP));
                timer.lap(&accounts.set, Time::Idle);
            }
        }
        self.ledger.drain_pool(&mut buffers.verified);
        buffers.refused.extend(buffers.verified.drain(..).map(|slot| (slot, Refusal::Busy)));
        self.answer_refused(&mut buffers, &mut timer);
        assert_eq!(self.ledger.waiting(), 0, "the pool is empty at the end");
        let Buffers { taken, answered, .. } = buffers;
        assert_eq!(answered, taken, "each transaction that the ledger took is answered, and once");
        self.replica.checkpoint(self.store.begin_checkpoint(), self.ledger.state().header().root, Box::new(|| Ok(())));
        let state = self.ledger.state();
        let header = state.header();
        Ok(LedgerSummary {
            root: header.root,
            height: header.height,
            accounts: header.accounts,
            supply: state.supply(),
            ..summary
        })
    }

    /// The slot whose block is to be made now, if any; and how long until the next may be.
    fn due(&self, start: Instant, first_slot: u64) -> (Option<u64>, Duration) {
        let newest = self.ledger.state().header().slot;
        match self.plan {
            SlotPlan::Timed { slot_ms } => {
                let elapsed_ms = start.elapsed().as_millis() as u64;
                // Handle k of this run ends at (k + 1) slot_ms; a slot that has ended and has no block yet is due.
                let ended = elapsed_ms / slot_ms;
                let slot = first_slot + ended.saturating_sub(1);
                if ended > 0 && slot > newest && self.ledger.waiting() > 0 {
                    return (Some(slot), Duration::ZERO);
                }
                (None, Duration::from_millis((ended + 1) * slot_ms - elapsed_ms))
            }
            SlotPlan::Counted { block, total } => {
                let finals = self.progress.finals.load(Ordering::Relaxed);
                let decided = self.refusals.total() + self.ledger.waiting() as u64 + finals;
                let full = decided >= total || (decided >= block && decided.is_multiple_of(block));
                let due = full && self.ledger.waiting() > 0;
                (due.then_some(newest + 1), IDLE_SLEEP)
            }
        }
    }

    fn make_block(
        &mut self,
        slot: u64,
        buffers: &mut Buffers,
        timer: &mut StageTimer,
        summary: &mut LedgerSummary,
    ) -> Result<(), LedgerError> {
        let accounts = self.accounts.clone();
        let selected = self.ledger.select(slot, &mut buffers.refused) as u64;
        timer.lap(&accounts.set, Time::Busy);
        let block = self.ledger.build(slot, 0);
        assert_eq!(u64::from(block.transactions), selected, "a block is made of what was selected for it");
        let parent = self.ledger.state().header().height;
        timer.lap(&accounts.block, Time::Busy);
        self.ledger.quilt();
        timer.lap(&accounts.quilt, Time::Busy);
        let kept = if self.storage.keep_transactions { self.ledger.block_transactions() } else { &[] };
        let transactions = kept.iter().map(|item| &item.slot);
        record::encode(&mut buffers.record, &block, self.ledger.quilt_bytes(), transactions, self.ledger.arena())?;
        let record = self.store.append(&buffers.record)?;
        timer.lap(&accounts.journal, Time::Busy);
        self.store.sync()?;
        timer.lap(&accounts.journal, Time::Blocked);
        self.ledger.apply(&mut buffers.finals)?;
        let height = self.ledger.state().header().height;
        assert_eq!(height, parent + 1, "a block leads from one height to the next");
        assert_eq!(buffers.finals.len() as u64, selected, "what is in the block is final, and nothing else");
        self.slot.store(slot, Ordering::Relaxed);
        timer.lap(&accounts.state, Time::Busy);
        // Before the answers: whoever hears "final" may send the next wave, and it must be counted after this one.
        self.progress.finals.fetch_add(selected, Ordering::Release);
        let shown = self.progress.height.fetch_add(1, Ordering::Release) + 1;
        assert_eq!(shown, height, "the height that is shown is not the state's");
        buffers.answered += selected;
        buffers.answers.extend(buffers.finals.drain(..).map(|slot| Outcome { slot, result: Ok(()) }));
        self.answers.push_all(&mut buffers.answers, timer, &accounts.set);
        self.answer_refused(buffers, timer);
        timer.lap(&accounts.set, Time::Busy);
        let root = self.ledger.seal();
        timer.lap(&accounts.root, Time::Busy);
        self.replica.applied(record);
        buffers.record_bytes += buffers.record.len() as u64;
        if buffers.record_bytes >= self.storage.checkpoint_bytes {
            buffers.record_bytes = 0;
            self.replica.checkpoint(self.store.begin_checkpoint(), root, Box::new(|| Ok(())));
        }
        self.store.release(self.ledger.state_mut().memory_mut().image_mut(), RELEASE_PAGES)?;
        timer.lap(&accounts.journal, Time::Busy);
        summary.quilt_bytes += self.ledger.quilt_size().1 as u64;
        summary.block_transactions_max = summary.block_transactions_max.max(selected);
        Ok(())
    }

    fn answer_refused(&mut self, buffers: &mut Buffers, timer: &mut StageTimer) {
        if buffers.refused.is_empty() {
            return;
        }
        let mut counters = RefusalCounters::default();
        for (slot, refusal) in buffers.refused.drain(..) {
            counters.add(refusal, 1);
            buffers.answered += 1;
            buffers.answers.push(Outcome { slot, result: Err(refusal) });
        }
        counters.nonzero().for_each(|(refusal, count)| self.refusals.add(refusal, count));
        self.answers.push_all(&mut buffers.answers, timer, &self.accounts.set);
    }
}

struct Buffers {
    verified: Vec<Handle>,
    scratch: Vec<u64>,
    refused: Vec<Refused>,
    finals: Vec<Handle>,
    answers: Vec<Outcome>,
    record: Vec<u8>,
    /// Bytes of records since the last checkpoint was asked for.
    record_bytes: u64,
    /// Transactions that came in, and those that were answered.
    taken: u64,
    answered: u64,
}

impl Buffers {
    fn new() -> Buffers {
        Buffers {
            verified: Vec::with_capacity(BATCH_MAX),
            scratch: Vec::new(),
            refused: Vec::new(),
            finals: Vec::new(),
            answers: Vec::new(),
            record: Vec::new(),
            record_bytes: 0,
            taken: 0,
            answered: 0,
        }
    }
}
