//! The writer: the one thread that makes things durable, in the order in which they were asked for. Whoever asked goes
//! on meanwhile and is told when it is done.

use super::entry::{Entry, FinalJob, Job};
use super::inbox::Inbox;
use crate::keep::certificates::Certificates;
use crate::keep::chain_store::write_system;
use crate::keep::kept;
use crate::keep::published;
use crate::keep::record::{RecordTooLong, encode_master};
use crate::keep::replica::ReplicaHandle;
use crate::keep::sealed::SealedError;
use crate::keep::signed_file::{SignedFile, SignedFileError};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::Final;
use dynemix_storage::{Disk, Store, StoreError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// A job that takes longer is worth a line in the debug log.
const SLOW: Duration = Duration::from_millis(200);

/// Why the writer had to stop: nothing more may be signed or become final here.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The store refused a record, a sync or a checkpoint.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The record of what was signed cannot be written.
    #[error(transparent)]
    Signed(#[from] SignedFileError),
    /// A file beside the store cannot be written.
    #[error(transparent)]
    File(#[from] SealedError),
    /// A final block that the log cannot hold.
    #[error(transparent)]
    Record(#[from] RecordTooLong),
}

/// What the thread works with.
pub struct Writer {
    /// The node's directory.
    pub data: Arc<dyn Disk>,
    /// Its identity, in the head of every file.
    pub chain: Hash,
    /// The log of final blocks, and the checkpoints of their state.
    pub store: Store,
    /// Certificates of all heights, for light clients.
    pub certificates: Certificates,
    /// What was signed; none in a node that signs nothing.
    pub signed: Option<SignedFile>,
    /// The replica, which writes checkpoints.
    pub replica: ReplicaHandle,
    /// Bytes of records after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// The record of the last checkpoint that was asked for.
    pub checkpoint_asked: u64,
    /// Heights between two snapshots for those who join; 0: none are made.
    pub snapshot_blocks: u64,
    /// The block of a snapshot that the next block will prove.
    pub published: Option<Arc<Final>>,
    /// Height of the newest snapshot that the replica has written.
    pub snapshot_written: Arc<AtomicU64>,
    /// Who is told.
    pub inbox: Arc<Inbox<Entry>>,
}

/// What was appended to the log and is not synced.
#[derive(Default)]
pub struct Appended {
    unsynced: Option<FinalJob>,
    /// The bytes of the last record, whose place is used again.
    record: Vec<u8>,
}

impl Writer {
    /// Runs until nobody asks any more.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn run(mut self, jobs: &Receiver<Job>) -> Result<(), WriterError> {
        let mut appended = Appended::default();
        loop {
            // Final blocks that come at once are synced at once.
            let job = match jobs.try_recv() {
                Ok(job) => Some(job),
                Err(TryRecvError::Empty) => {
                    self.settle(&mut appended)?;
                    match jobs.recv_timeout(Duration::from_secs(1)) {
                        Ok(job) => Some(job),
                        Err(RecvTimeoutError::Timeout) => None,
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
                Err(TryRecvError::Disconnected) => return self.settle(&mut appended),
            };
            let begun = Instant::now();
            job.map_or(Ok(()), |job| self.work_off(job, &mut appended))?;
            if begun.elapsed() > SLOW {
                tracing::debug!(ms = begun.elapsed().as_millis() as u64, "a job of the writer was slow");
            }
        }
    }

    /// Makes this durable. A final block is appended, and is so with the next job that needs it, or with
    /// [`Self::settle`].
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn work_off(&mut self, job: Job, appended: &mut Appended) -> Result<(), WriterError> {
        match job {
            Job::Persist(ticket, signed) => {
                self.settle(appended)?;
                if let Some(file) = &mut self.signed {
                    file.write(&signed)?;
                    self.inbox.push_own(Entry::Durable(ticket));
                }
            }
            Job::Keep(block, height, items) => {
                kept::keep(&*self.data, &self.chain, &block, height, &items)?;
                self.inbox.push_own(Entry::Kept);
            }
            Job::Final(job) => {
                let job_height = job.decided.value.height;
                encode_master(&mut appended.record, &job.decided, &job.committee, &job.blocks, &job.quilt)?;
                let number = self.store.append(&appended.record)?;
                assert_eq!(number, job_height, "a final block is the log's record of its height");
                self.certificates.append(&job.decided, &job.committee)?;
                appended.unsynced = Some(*job);
                // Of these heights each is needed by itself.
                if self.publishes(job_height) || self.publishes(job_height - 1) {
                    self.settle(appended)?;
                }
            }
        }
        Ok(())
    }

    /// Syncs what was appended, tells the replica, and begins a checkpoint if it is time.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn settle(&mut self, appended: &mut Appended) -> Result<(), WriterError> {
        let Some(job) = appended.unsynced.take() else { return Ok(()) };
        self.store.sync()?;
        let height = job.decided.value.height;
        assert_eq!(self.store.last_record(), height, "what is said to be stored is the end of the log");
        assert_eq!(job.system.height, height, "a block is stored with another system than its own");
        self.replica.applied(height);
        self.publish(&job);
        self.inbox.push_own(Entry::Stored(height));
        self.certificates.flush()?;
        kept::forget(&*self.data, height);
        let keeper = self.store.keeper();
        let present = keeper.checkpoint_record();
        // One at a time: each needs the system of the one before.
        if present >= self.checkpoint_asked && self.store.bytes_since(present) >= self.checkpoint_bytes {
            let ascends = self.checkpoint_asked < height && present < height;
            assert!(ascends, "a checkpoint of {height} follows {present}, and {} asked for", self.checkpoint_asked);
            self.checkpoint_asked = height;
            let (data, chain, system) = (self.data.clone(), self.chain, job.system);
            let beside = move || write_system(&*data, &chain, &system, [present, present]).map_err(store_error);
            self.replica.checkpoint(self.store.begin_checkpoint(), job.root, Box::new(beside));
        }
        Ok(())
    }
}

impl Writer {
    fn publishes(&self, height: u64) -> bool {
        self.snapshot_blocks > 0 && height > 0 && height.is_multiple_of(self.snapshot_blocks)
    }

    /// Makes a snapshot for those who join, if it is time: the state now, what proves it with the next block.
    fn publish(&mut self, job: &FinalJob) {
        let height = job.decided.value.height;
        let (data, chain) = (self.data.clone(), self.chain);
        if let Some(before) = self.published.take().filter(|before| before.value.height + 1 == height) {
            let (data, proof, written) = (data.clone(), job.decided.clone(), self.snapshot_written.clone());
            self.replica.run(Box::new(move || {
                // Without its parts it is not offered.
                if written.load(Ordering::Acquire) != before.value.height {
                    return;
                }
                if let Err(error) = published::finish(&*data, &chain, [&before, &proof]) {
                    tracing::warn!(%error, "no snapshot for those who join");
                }
            }));
        }
        if self.publishes(height) {
            self.published = Some(job.decided.clone());
            let (folder, system) = (published::snapshot_folder(&*data, height), job.system.clone());
            let (of_system, written) = (folder.clone(), self.snapshot_written.clone());
            let beside = move || {
                published::write_system(&*of_system, &chain, &system).map_err(store_error)?;
                written.store(height, Ordering::Release);
                Ok(())
            };
            self.replica.publish(folder, Box::new(beside));
        }
    }
}

fn store_error(error: SealedError) -> StoreError {
    match error {
        SealedError::Io { path, source } => StoreError::Io { action: "write", path, source },
        SealedError::Damaged { path, what } => StoreError::Io { action: "write", path, source: io::Error::other(what) },
    }
}
