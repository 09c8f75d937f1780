//! The node's durable state as `bench state` measures it.

use dynemix::keep::mapped::{MappedMemory, regions};
use dynemix::keep::open::{OpenedState, apply_record, open};
use dynemix::keep::record;
use dynemix_bench::state::{BALANCE, CommitTimes, StateUnderTest};
use dynemix_engine::accounts::columns::{Hot, StateMemory};
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::snapshot::Manifest;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::chain::block::{Final, Value};
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_storage::{Disk, RealDisk, Store, StoreOptions};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of log after which a node writes a checkpoint: what a restart replays at most.
const CHECKPOINT_BYTES: usize = 128 << 20;
/// Accounts whose keys are real ones; the others' are random bytes, which the state does not mind.
const REAL_KEYS_MAX: u64 = 1_000_000;
const CHAIN: Hash = [7; 32];

/// A store of a directory with a state of its own making.
pub(crate) struct DurableState {
    directory: std::path::PathBuf,
    opened: Option<OpenedState>,
    record: Vec<u8>,
    one_core: ThreadPool,
}

impl DurableState {
    /// Makes a store of so many accounts.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn create(directory: &Path, accounts: u64, seed: u64) -> Result<DurableState, Box<dyn Error>> {
        let specs = regions(StateLayout::new(accounts as u32));
        let real = dynemix_workload::genesis(seed, accounts.min(REAL_KEYS_MAX));
        let fill = |image| {
            let mut memory = MappedMemory::new(image);
            let columns = memory.columns_mut();
            columns.hot.fill(Hot { balance: BALANCE, ..Hot::default() });
            columns.key.par_iter_mut().enumerate().for_each(|(account, key)| {
                *key = real.get(account).map_or_else(|| random_key(seed, account as u64), |account| account.0);
            });
            let manifest =
                Manifest { chain: CHAIN, height: 0, slot: 0, accounts, pool: 0, root: [0; 32], nodes: Vec::new() };
            let mut state = State::reopen(memory);
            state.restore(&manifest, HashSeed::from_number(seed))?;
            Ok::<_, Box<dyn Error>>(state.into_memory().into_image())
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory)?);
        Store::create(&disk, CHAIN, &specs, StoreOptions::default(), 0, false, fill)?;
        let opened = Some(open(disk, CHAIN, None, StoreOptions::default())?);
        let one_core = ThreadPoolBuilder::new().num_threads(1).build()?;
        Ok(DurableState { directory: directory.to_owned(), opened, record: Vec::new(), one_core })
    }

    fn opened(&mut self) -> &mut OpenedState {
        self.opened.as_mut().expect("open between calls")
    }

    fn state(&self) -> &State<MappedMemory> {
        &self.opened.as_ref().expect("open between calls").state
    }

    fn append(&mut self, quilt: &Quilt, wire: &[u8]) -> Result<(), Box<dyn Error>> {
        // A block of no shard that nobody has certified: what it does is in its quilt.
        let value = Value {
            height: quilt.height,
            parent: [0; 32],
            slot: quilt.slot,
            headers: Vec::new(),
            quilt: Quilt::hash(wire),
            parent_root: quilt.parent_root,
            system: [0; 32],
            seed: [0; 32],
            committee_next: [0; 32],
        };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let decided = Final { attempt: 0, hash: value.hash(), value: Arc::new(value), certificate };
        record::encode_master(&mut self.record, &decided, &[], &[], wire)?;
        let record = std::mem::take(&mut self.record);
        self.opened().store.append(&record)?;
        self.record = record;
        Ok(())
    }
}

fn random_key(seed: u64, account: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&account.to_le_bytes());
    *blake3::hash(&bytes).as_bytes()
}

impl StateUnderTest for DurableState {
    fn header(&self) -> (u64, u64, Hash) {
        let header = self.state().header();
        (header.height, header.slot, header.root)
    }

    fn commit(&mut self, quilt: &Quilt, wire: &[u8]) -> Result<CommitTimes, Box<dyn Error>> {
        let start = Instant::now();
        self.append(quilt, wire)?;
        let write_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        self.opened().store.sync()?;
        let sync_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        self.opened().state.apply(quilt)?;
        let apply_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let state = &mut self.opened.as_mut().expect("open between calls").state;
        self.one_core.install(|| state.update_root());
        Ok(CommitTimes { write_s, sync_s, apply_s, root_s: start.elapsed().as_secs_f64() })
    }

    fn balance(&self, account: u32) -> u64 {
        self.state().hot(account).balance
    }

    fn checkpoint(&mut self) -> Result<(u64, u64, f64), Box<dyn Error>> {
        let start = Instant::now();
        let opened = self.opened();
        let checkpoint = opened.store.begin_checkpoint();
        let (records, keeper) = (opened.store.records(), opened.store.keeper());
        let mut quilt = Quilt::default();
        for number in opened.behind.header().height + 1..=checkpoint.record() {
            apply_record(&mut opened.behind, &mut quilt, number, &records.read(number)?)?;
        }
        if opened.behind.update_root() != opened.state.header().root {
            return Err("the replica came to another root".into());
        }
        let written = keeper.checkpoint(checkpoint, opened.behind.memory().image())?;
        Ok((written.pages, written.pages_written, start.elapsed().as_secs_f64()))
    }

    fn crash_and_open(&mut self, quilt: &mut dyn FnMut(u64, u64, Hash) -> Quilt) -> Result<(u64, f64), Box<dyn Error>> {
        let (mut bytes, mut wire) = (0, Vec::new());
        let before = self.opened().store.last_record();
        while bytes < CHECKPOINT_BYTES {
            let (height, slot, root) = self.header();
            let quilt = quilt(height + 1, slot + 1, root);
            wire.clear();
            quilt.encode(&mut wire);
            self.append(&quilt, &wire)?;
            bytes += self.record.len();
            let opened = self.opened();
            opened.store.sync()?;
            opened.state.apply(&quilt)?;
            opened.state.update_root();
        }
        let root = self.header().2;
        let replayed = self.opened().store.last_record() - before;
        // As at a kill: nothing is written on the way out.
        self.opened = None;
        let start = Instant::now();
        self.opened = Some(open(Arc::new(RealDisk::new(&self.directory)?), CHAIN, None, StoreOptions::default())?);
        let open_s = start.elapsed().as_secs_f64();
        if self.header().2 != root {
            return Err("the state came back with another root".into());
        }
        Ok((replayed, open_s))
    }
}
