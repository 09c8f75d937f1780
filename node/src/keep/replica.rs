//! The replica: a second state that follows the log behind the ledger, on a thread of its own with low priority.
//!
//! It serves whoever needs a consistent height while the ledger goes on: readers, proofs, snapshots, checkpoints. And
//! since it comes to each root by itself, no checkpoint is written of a state that only the ledger believes in.

use super::mapped::MappedMemory;
use super::open::{ReplayError, apply_record};
use super::record::BlockKeys;
use super::snapshot::{self, SnapshotFailure, SnapshotInfo};
use dynemix_engine::accounts::columns::Hot;
use dynemix_engine::accounts::proof::AccountProof;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_storage::{Checkpoint, Disk, Finding, Keeper, Records, Scrubber, StoreError};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

/// Niceness of the thread: it gets its share, but others come first.
const NICENESS: i32 = 10;

/// Why the replica had to stop; the store is broken then.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The log does not continue the state.
    #[error("{0}")]
    Replay(#[from] ReplayError),
    /// The disk refused to read, or to write a checkpoint.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The scrubber has found bytes that are not what was written.
    #[error(
        "{file} is damaged at byte {offset}: {what}; stopped before wrong bytes are served, a start takes the other \
         image"
    )]
    Rotten {
        /// Name of the file.
        file: String,
        /// First byte of what is damaged.
        offset: u64,
        /// What it was.
        what: String,
    },
}

/// What is made durable beside a checkpoint, before it becomes the present one.
pub type Beside = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

enum Request {
    Applied(u64),
    Checkpoint(Checkpoint, Hash, Beside),
    Snapshot(Arc<dyn Disk>, Sender<Result<SnapshotInfo, SnapshotFailure>>),
    Publish(Arc<dyn Disk>, Beside),
    Run(Box<dyn FnOnce() + Send>),
}

/// Tells the replica what to do; it ends when all of these are gone.
#[derive(Clone)]
pub struct ReplicaHandle {
    requests: Sender<Request>,
}

impl ReplicaHandle {
    // A replica that has stopped has broken the store: whoever asks in vain learns it there.

    /// The ledger has applied and sealed this record.
    pub fn applied(&self, record: u64) {
        let _ = self.requests.send(Request::Applied(record));
    }

    /// Write a checkpoint, and first what belongs beside it; `root` is what was sealed.
    pub fn checkpoint(&self, checkpoint: Checkpoint, root: Hash, beside: Beside) {
        let _ = self.requests.send(Request::Checkpoint(checkpoint, root, beside));
    }

    /// Write a snapshot of the height that was said to be applied last, with what belongs beside it. Nobody waits: one
    /// that cannot be written is a line in the log.
    pub fn publish(&self, folder: Arc<dyn Disk>, beside: Beside) {
        let _ = self.requests.send(Request::Publish(folder, beside));
    }

    /// Do this after all that was asked for before.
    pub fn run(&self, work: Box<dyn FnOnce() + Send>) {
        let _ = self.requests.send(Request::Run(work));
    }

    /// Write a snapshot of the replica's height to a directory, and wait for it. Blocks go on meanwhile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn snapshot(&self, directory: Arc<dyn Disk>) -> Result<SnapshotInfo, SnapshotFailure> {
        let (reply, answer) = channel();
        let _ = self.requests.send(Request::Snapshot(directory, reply));
        answer.recv().unwrap_or(Err(SnapshotFailure::Stopped))
    }
}

/// Where a running node is asked for a snapshot, until it stops.
#[derive(Clone)]
pub struct Snapshots {
    of: Arc<Mutex<Option<ReplicaHandle>>>,
}

impl Snapshots {
    /// Of this replica.
    pub fn new(of: ReplicaHandle) -> Snapshots {
        Snapshots { of: Arc::new(Mutex::new(Some(of))) }
    }

    fn of(&self) -> MutexGuard<'_, Option<ReplicaHandle>> {
        self.of.lock().expect("nothing panics while it takes a handle")
    }

    /// Writes one of the replica's height to a directory. A node that stops meanwhile waits for it.
    ///
    /// # Errors
    /// When it cannot be written, or the node has stopped.
    pub fn write(&self, directory: Arc<dyn Disk>) -> Result<SnapshotInfo, SnapshotFailure> {
        let of = self.of().clone();
        of.map_or(Err(SnapshotFailure::Stopped), |of| of.snapshot(directory))
    }

    /// None are written any more: nothing of this keeps a replica from ending.
    pub fn end(&self) {
        *self.of() = None;
    }
}

/// Reads the replica's state, from any thread.
#[derive(Clone)]
pub struct StateReader {
    state: Arc<RwLock<State<MappedMemory>>>,
}

/// An account as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Height of the state.
    pub height: u64,
    /// Its index in the columns.
    pub account: AccountIndex,
    /// Balance, sequence and last activity.
    pub hot: Hot,
}

const UNPOISONED: &str = "whoever panics while holding the replica ends the process";

impl StateReader {
    /// Height of the replica.
    pub fn height(&self) -> u64 {
        self.state.read().expect(UNPOISONED).header().height
    }

    /// Looks at the state at one height.
    pub fn with<T>(&self, look: impl FnOnce(&State<MappedMemory>) -> T) -> T {
        look(&self.state.read().expect(UNPOISONED))
    }

    /// The account of a key.
    pub fn account(&self, key: &Key) -> Option<AccountView> {
        self.with(|state| {
            state.find(key).map(|account| AccountView {
                height: state.header().height,
                account,
                hot: *state.hot(account),
            })
        })
    }

    /// Looks at the state at one height, whose header has its root: computed once a height, by who asks first.
    pub fn sealed<T>(&self, look: impl Fn(&State<MappedMemory>) -> T) -> T {
        let looked = self.with(|state| state.root_known().then(|| look(state)));
        looked.unwrap_or_else(|| {
            let mut state = self.state.write().expect(UNPOISONED);
            state.update_root();
            assert!(state.root_known(), "a state is sealed and has no root");
            look(&state)
        })
    }

    /// The proof of a key's account, and the root that it leads to.
    pub fn prove(&self, key: &Key) -> Option<(AccountProof, Hash)> {
        self.sealed(|state| prove(state, key))
    }
}

fn prove(state: &State<MappedMemory>, key: &Key) -> Option<(AccountProof, Hash)> {
    let proof = state.prove(state.find(key)?)?;
    Some((proof, state.header().root))
}

/// What the thread works with.
pub struct ReplicaStage {
    state: Arc<RwLock<State<MappedMemory>>>,
    records: Records,
    keeper: Keeper,
    keys: BlockKeys,
    requests: Receiver<Request>,
    /// Time between two steps of the scrubber.
    scrub_pause: Duration,
    scrubber: Option<Scrubber>,
    quilt: Quilt,
    /// The record of the last checkpoint that was asked for.
    checkpointed: Option<u64>,
}

/// A replica that starts at what the image holds.
pub fn replica(
    behind: State<MappedMemory>,
    records: Records,
    keeper: Keeper,
    keys: BlockKeys,
    scrub_pause: Duration,
) -> (ReplicaStage, ReplicaHandle, StateReader) {
    let (requests, receiver) = channel();
    let state = Arc::new(RwLock::new(behind));
    let reader = StateReader { state: state.clone() };
    let stage = ReplicaStage {
        state,
        records,
        keeper,
        keys,
        requests: receiver,
        scrub_pause,
        scrubber: None,
        quilt: Quilt::default(),
        checkpointed: None,
    };
    (stage, ReplicaHandle { requests }, reader)
}

impl ReplicaStage {
    /// Runs until every handle is gone.
    ///
    /// # Errors
    /// When the disk fails, something on it has changed, or the log leads elsewhere. The store is broken then: nothing
    /// more becomes final.
    pub fn run(mut self) -> Result<(), ReplicaError> {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        // However this thread ends other than well, nothing more may become final.
        struct BreakUnless<'a>(&'a Keeper, bool);
        impl Drop for BreakUnless<'_> {
            fn drop(&mut self) {
                if !self.1 {
                    self.0.break_store();
                }
            }
        }
        let keeper = self.keeper.clone();
        let mut guard = BreakUnless(&keeper, false);
        let outcome = self.follow();
        guard.1 = outcome.is_ok();
        outcome
    }

    fn follow(&mut self) -> Result<(), ReplicaError> {
        let mut scrubbed = Instant::now();
        loop {
            // However short the slots are: whoever always has a block to follow would never look at what is on disk.
            if scrubbed.elapsed() >= self.scrub_pause {
                self.scrub()?;
                scrubbed = Instant::now();
            }
            match self.requests.recv_timeout(self.scrub_pause.saturating_sub(scrubbed.elapsed())) {
                Ok(request) => self.answer(request)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Does all that was asked for by now, and waits for nothing: of who has no thread for it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn work_off(&mut self) -> Result<(), ReplicaError> {
        while let Ok(request) = self.requests.try_recv() {
            self.answer(request)?;
        }
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<(), ReplicaError> {
        match request {
            Request::Applied(record) => self.advance(record)?,
            Request::Checkpoint(checkpoint, root, beside) => self.checkpoint(checkpoint, root, beside)?,
            Request::Snapshot(directory, reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.snapshot(&*directory));
            }
            Request::Publish(folder, beside) => {
                if let Err(error) = self.snapshot(&*folder) {
                    tracing::warn!(%error, "no snapshot for those who join");
                } else if let Err(error) = beside() {
                    tracing::warn!(%error, "no snapshot for those who join");
                }
            }
            Request::Run(work) => work(),
        }
        Ok(())
    }

    fn snapshot(&mut self, directory: &dyn Disk) -> Result<SnapshotInfo, SnapshotFailure> {
        self.state.write().expect(UNPOISONED).update_root();
        snapshot::create(&self.state.read().expect(UNPOISONED), self.keeper.chain(), directory, |_, _| {})
    }

    /// Applies the records up to `record`.
    fn advance(&mut self, record: u64) -> Result<(), ReplicaError> {
        let mut next = self.state.read().expect(UNPOISONED).header().height + 1;
        while next <= record {
            let payload = self.records.read(next)?;
            apply_record(&mut self.state.write().expect(UNPOISONED), &mut self.quilt, next, &payload)?;
            next += 1;
        }
        let height = self.state.read().expect(UNPOISONED).header().height;
        assert_eq!(height + 1, next, "the replica has gone over records in another order than one by one");
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint, root: Hash, beside: Beside) -> Result<(), ReplicaError> {
        self.advance(checkpoint.record())?;
        let before = self.checkpointed.replace(checkpoint.record());
        let ascends = before.is_none_or(|before| before <= checkpoint.record());
        assert!(ascends, "a checkpoint of record {} follows one of {before:?}", checkpoint.record());
        let mut state = self.state.write().expect(UNPOISONED);
        if state.update_root() != root {
            return Err(ReplayError::Root { height: state.header().height }.into());
        }
        let height = state.header().height;
        assert!(height >= checkpoint.record(), "a checkpoint of record {} at height {height}", checkpoint.record());
        drop(state);
        beside()?;
        let record = checkpoint.record();
        let written = self.keeper.checkpoint(checkpoint, self.state.read().expect(UNPOISONED).memory().image())?;
        tracing::debug!(record, pages = written.pages, pages_written = written.pages_written, "checkpoint");
        self.keeper.release(self.state.write().expect(UNPOISONED).memory_mut().image_mut())?;
        while self.keeper.build_index(&self.keys)? {}
        Ok(())
    }

    /// One step over the files that rest; from the start again after the end, or when a checkpoint has changed them.
    fn scrub(&mut self) -> Result<(), ReplicaError> {
        if self.scrubber.as_ref().is_none_or(|scrubber| scrubber.outdated(&self.keeper)) {
            self.scrubber = Some(Scrubber::resting(&self.keeper)?);
        }
        let scrubber = self.scrubber.as_mut().expect("made above");
        let mut found = Vec::new();
        if !scrubber.step(&mut found)? {
            self.scrubber = None;
        }
        for Finding { file, offset, what, .. } in found.into_iter().filter(|finding| !finding.spare) {
            if self.keeper.can_do_without(&file)? {
                tracing::error!(file, offset, what, "a file of old blocks is damaged; the state is not touched by it");
            } else {
                return Err(ReplicaError::Rotten { file, offset, what });
            }
        }
        Ok(())
    }
}
