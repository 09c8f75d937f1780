//! A running node: its threads, from the checked topology to the last checkpoint.

use super::check::CheckStage;
use super::ledger::{LedgerAccounts, LedgerError, LedgerProgress, LedgerStage, LedgerSummary, SlotPlan};
use super::receive::{Clients, ClientsShare, ReceiveStage};
use crate::keep::record::BlockKeys;
use crate::keep::replica::{ReplicaError, ReplicaHandle, StateReader, replica};
use crate::keep::snapshot::{SnapshotFailure, SnapshotInfo};
use super::stage::{Outlet, RefusalBoard, StageAccount, StageHandle, StageTimes, Wake, sleeper};
use crate::keep::open::{self, OpenError, OpenedState};
use super::suspicion::Suspicion;
use super::topology::{Sizes, in_flight_places, topology};
use super::verify::VerifyStage;
use dynemix_engine::arena::Arena;
use dynemix_engine::cell::Key;
use dynemix_engine::chain::{Chain, ChainParameters};
use dynemix_engine::in_flight::InFlight;
use dynemix_engine::keyed_hash::HashSeed;
use dynemix_engine::ledger::Ledger;
use dynemix_engine::refusal::RefusalCounters;
use dynemix_engine::ring::{Consumer, Producer, Word, ring};
use dynemix_engine::topology::{Topology, TopologyError};
use dynemix_engine::verify::{KeyCache, Unavailable, VerifyCounters};
use dynemix_net::{NetCounters, Server};
use dynemix_storage::{Disk, Records, Store, StoreError, StoreOptions};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct MinterConfig {
    /// Where clients connect; port 0 for any.
    pub listen: SocketAddr,
    /// Where the store is.
    pub disk: Arc<dyn Disk>,
    /// How it is kept.
    pub storage: StorageConfig,
    /// The chain's parameters.
    pub parameters: ChainParameters,
    /// Accounts at genesis, in order of index.
    pub genesis: Arc<Vec<(Key, u64)>>,
    /// Sum of their balances.
    pub supply: u64,
    /// All sizes.
    pub sizes: Sizes,
    /// Signatures of one batch at most.
    pub verify_batch_max: usize,
    /// When blocks are made.
    pub plan: SlotPlan,
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

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The topology cannot run.
    #[error("the topology cannot run: {0}")]
    Topology(#[from] TopologyError),
    /// The CPU has no such backend.
    #[error(transparent)]
    Simd(#[from] Unavailable),
    /// The state.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The network.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A thread.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a node ended badly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The ledger halted.
    #[error("the ledger halted: {0}")]
    Ledger(#[from] LedgerError),
    /// The replica halted.
    #[error("the replica halted: {0}")]
    Replica(#[from] ReplicaError),
    /// The event loop failed.
    #[error("the network failed: {0}")]
    Network(#[from] io::Error),
    /// A stage panicked: a broken invariant.
    #[error("stage '{0}' panicked")]
    Panic(&'static str),
}

/// What a node did.
#[derive(Clone, Debug)]
pub struct MinterSummary {
    /// The ledger's part.
    pub ledger: LedgerSummary,
    /// Where the time went, stage by stage.
    pub stages: Vec<StageTimes>,
    /// Refusals by reason.
    pub refused: RefusalCounters,
    /// Verification, all threads.
    pub verify: VerifyCounters,
    /// Network.
    pub net: NetCounters,
    /// Slots that did not come back to the arena: 0, or something leaks.
    pub slots_lost: u64,
    /// Bytes of state for each account in use.
    pub bytes_per_account: f64,
}

/// A running node.
pub struct Minter {
    address: SocketAddr,
    chain: Chain,
    topology: Topology,
    arena: Arc<Arena>,
    progress: Arc<LedgerProgress>,
    refusals: Arc<RefusalBoard>,
    accounts: Vec<(String, Arc<StageAccount>)>,
    ledger_accounts: Arc<LedgerAccounts>,
    stop_receiving: Arc<AtomicBool>,
    stopped_receiving: Arc<AtomicBool>,
    stop_answers: Arc<AtomicBool>,
    receive: JoinHandle<io::Result<NetCounters>>,
    check: (StageHandle, JoinHandle<()>),
    verify: Vec<(StageHandle, JoinHandle<VerifyCounters>)>,
    ledger: (StageHandle, JoinHandle<Result<LedgerSummary, LedgerError>>),
    replica: (ReplicaHandle, JoinHandle<Result<(), ReplicaError>>),
    reader: StateReader,
    records: Records,
    state_bytes: u64,
}

/// Opens the state: from the store if there is one, else from genesis, written at once.
fn open_state(config: &MinterConfig, chain: &Chain) -> Result<OpenedState, OpenError> {
    let MinterConfig { disk, sizes, storage, genesis, supply, .. } = config;
    if Store::exists(&**disk)? {
        open::open(disk.clone(), chain.genesis_hash, Some(sizes.accounts_max), storage.options)
    } else {
        open::create(disk.clone(), chain, sizes.accounts_max, storage.options, genesis, *supply)
    }
}

fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    thread::Builder::new().name(name).spawn(work).map_err(StartError::Thread)
}

/// Why a node halted: of ledger and replica, the one that found the cause. The other only met a broken store.
fn halt_cause(
    ledger: thread::Result<Result<LedgerSummary, LedgerError>>,
    replica: thread::Result<Result<(), ReplicaError>>,
) -> StopError {
    match (ledger, replica) {
        (Err(_), _) => StopError::Panic("ledger"),
        (_, Err(_)) => StopError::Panic("replica"),
        (Ok(Err(error)), _) if !matches!(error, LedgerError::Store(StoreError::Broken)) => error.into(),
        (_, Ok(Err(error))) => error.into(),
        (Ok(Err(error)), _) => error.into(),
        (Ok(Ok(_)), Ok(Ok(()))) => StopError::Panic("none"),
    }
}

impl Minter {
    /// Starts all stages. On return the node listens.
    ///
    /// # Errors
    /// When the topology, the genesis, the store or the network does not allow it; nothing runs then.
    pub fn start(config: MinterConfig) -> Result<Minter, StartError> {
        let topology = topology(&config.sizes, config.storage.keep_transactions);
        topology.validate()?;
        let chain = Chain::new(config.parameters, &config.genesis);
        let OpenedState { store, state, behind, fell_back } = open_state(&config, &chain)?;
        if let Some(error) = fell_back {
            tracing::warn!(%error, "started from the older image; the next checkpoint replaces the damaged one");
        }
        let keys = BlockKeys { prefix: chain.transaction_prefix };
        let storage = config.storage;
        let (replica_stage, replica, reader) =
            replica(behind, store.records(), store.keeper(), keys, storage.scrub_pause);
        replica.applied(store.last_record());
        let records = store.records();
        let state_bytes = state.bytes();
        let sizes = config.sizes;
        let arena = Arc::new(Arena::new(sizes.slots, sizes.payload_slots));
        let in_flight = Arc::new(InFlight::new(in_flight_places(sizes.slots), HashSeed::random()));
        let keys = Arc::new(KeyCache::new(sizes.key_cache_keys, sizes.simd)?);
        let suspicion = Arc::new(Suspicion::new(sizes.limits.connections_max));
        let refusals = Arc::new(RefusalBoard::default());
        let progress = Arc::new(LedgerProgress::default());
        progress.height.store(state.header().height, Ordering::Relaxed);
        let slot = Arc::new(AtomicU64::new(state.header().slot));
        let ledger_accounts = Arc::new(LedgerAccounts::default());
        let ledger = Ledger::new(chain.clone(), arena.clone(), state);

        let server = Server::listen(config.listen, sizes.limits)
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let address = server.local_address().map_err(|source| StartError::Listen { address: config.listen, source })?;

        fn declared<T: Word>(topology: &Topology, from: &str, to: &str) -> (Producer<T>, Consumer<T>) {
            let spec = topology.rings.iter().find(|ring| (ring.from, ring.to) == (from, to)).expect("a declared ring");
            ring(spec.depth)
        }
        let loop_waker: Arc<dyn Wake> = server.waker();
        let mut answers = Vec::new();
        let mut answer_outlet = |from: &str| {
            let (producer, consumer) = declared(&topology, from, "receive");
            answers.push(consumer);
            Outlet::new(producer, vec![loop_waker.clone()])
        };
        let (check_sleeper, check_handle) = sleeper();
        let (ledger_sleeper, ledger_handle) = sleeper();
        let verify_sleepers: Vec<_> = (0..sizes.verify_threads).map(|_| sleeper()).collect();
        let (to_check, from_receive) = declared(&topology, "receive", "check");
        let (to_verify, from_check) = declared(&topology, "check", "verify");

        let mut accounts = vec![
            ("receive".to_owned(), Arc::new(StageAccount::default())),
            ("check".to_owned(), Arc::new(StageAccount::default())),
        ];
        let check_stage = CheckStage {
            chain: chain.clone(),
            arena: arena.clone(),
            in_flight: in_flight.clone(),
            slot: slot.clone(),
            input: from_receive,
            output: Outlet::new(to_verify, verify_sleepers.iter().map(|(_, handle)| handle.waker()).collect()),
            answers: answer_outlet("check"),
            refusals: refusals.clone(),
            account: accounts[1].1.clone(),
            sleeper: check_sleeper,
        };
        let (mut verify_stages, mut ledger_inputs) = (Vec::new(), Vec::new());
        for (number, (sleeper, handle)) in verify_sleepers.into_iter().enumerate() {
            let (to_ledger, from_verify) = declared(&topology, "verify", "ledger");
            ledger_inputs.push(from_verify);
            let account = Arc::new(StageAccount::default());
            accounts.push((format!("verify.{number}"), account.clone()));
            let stage = VerifyStage {
                chain: chain.clone(),
                arena: arena.clone(),
                keys: keys.clone(),
                suspects_max: sizes.slots as usize / 8 / sizes.verify_threads,
                suspicion: suspicion.clone(),
                batch_max: config.verify_batch_max,
                input: from_check.clone(),
                output: Outlet::new(to_ledger, vec![ledger_handle.waker()]),
                answers: answer_outlet("verify"),
                refusals: refusals.clone(),
                account,
                sleeper,
            };
            verify_stages.push((handle, stage));
        }
        let ledger_stage = LedgerStage {
            ledger,
            store,
            storage,
            replica: replica.clone(),
            plan: config.plan,
            inputs: ledger_inputs,
            answers: answer_outlet("ledger"),
            refusals: refusals.clone(),
            slot: slot.clone(),
            progress: progress.clone(),
            accounts: ledger_accounts.clone(),
            sleeper: ledger_sleeper,
        };
        let [stop_receiving, stopped_receiving, stop_answers] =
            std::array::from_fn(|_| Arc::new(AtomicBool::new(false)));
        let height = progress.clone();
        let share = ClientsShare {
            chain: chain.clone(),
            arena: arena.clone(),
            in_flight,
            refusals: refusals.clone(),
            suspicion,
            slot,
            height: Box::new(move || height.height.load(Ordering::Relaxed)),
        };
        let receive_stage = ReceiveStage {
            clients: Clients::new(share, sizes.limits.connections_max),
            output: Outlet::new(to_check, vec![check_handle.waker()]),
            answers,
            server,
            stop_receiving: stop_receiving.clone(),
            stopped_receiving: stopped_receiving.clone(),
            stop: stop_answers.clone(),
            account: accounts[0].1.clone(),
        };

        tracing::debug!(%address, threads = 3 + sizes.verify_threads, bytes = topology.bytes(), "starting");
        let ledger_thread = spawn("ledger".into(), move || {
            let outcome = ledger_stage.run();
            if let Err(error) = &outcome {
                tracing::error!(%error, "the ledger has halted; nothing more becomes final until a restart");
            }
            outcome
        })?;
        let replica_thread = spawn("replica".into(), move || {
            let outcome = replica_stage.run();
            if let Err(error) = &outcome {
                tracing::error!(%error, "the replica has halted, and with it the store");
            }
            outcome
        })?;
        let mut verify = Vec::new();
        for (number, (handle, stage)) in verify_stages.into_iter().enumerate() {
            verify.push((handle, spawn(format!("verify.{number}"), move || stage.run())?));
        }
        let check_thread = spawn("check".into(), move || check_stage.run())?;
        let receive = spawn("receive".into(), move || receive_stage.run())?;
        Ok(Minter {
            address,
            chain,
            topology,
            arena,
            progress,
            refusals,
            accounts,
            ledger_accounts,
            stop_receiving,
            stopped_receiving,
            stop_answers,
            receive,
            check: (check_handle, check_thread),
            verify,
            ledger: (ledger_handle, ledger_thread),
            replica: (replica, replica_thread),
            reader,
            records,
            state_bytes,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Its topology.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Reads the state at one height while blocks go on.
    pub fn reader(&self) -> &StateReader {
        &self.reader
    }

    /// Reads kept blocks.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Writes a snapshot to a directory while blocks go on.
    ///
    /// # Errors
    /// When it cannot be written, or the node has stopped.
    pub fn snapshot(&self, directory: &Path) -> Result<SnapshotInfo, SnapshotFailure> {
        self.replica.0.snapshot(directory.to_owned())
    }

    /// Final transactions so far.
    pub fn finals(&self) -> u64 {
        self.progress.finals.load(Ordering::Relaxed)
    }

    /// Refusals so far.
    pub fn refused(&self) -> RefusalCounters {
        self.refusals.counters()
    }

    /// Free cell slots; all of them when nothing is under way.
    pub fn slots_free(&self) -> u64 {
        self.arena.slots_free()
    }

    /// Whether the ledger has halted.
    pub fn halted(&self) -> bool {
        self.ledger.1.is_finished() || self.replica.1.is_finished()
    }

    /// Stops in the order of the pipeline, so that nothing is lost on the way: what is in the pool is answered `busy`,
    /// the state is checkpointed, every answer is sent.
    ///
    /// # Errors
    /// When a stage had failed.
    pub fn stop(self) -> Result<MinterSummary, StopError> {
        let (replica, replica_thread) = self.replica;
        drop(replica);
        if self.ledger.1.is_finished() {
            // Nobody takes verified transactions any more: the other stages may wait for ever and are left to the
            // process's end.
            return Err(halt_cause(self.ledger.1.join(), replica_thread.join()));
        }
        self.stop_receiving.store(true, Ordering::Release);
        // A ledger that dies meanwhile takes nothing any more: the stages before it may wait for ever.
        let ledger_died = |ended: &dyn Fn() -> bool| {
            while !ended() {
                if self.ledger.1.is_finished() {
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        };
        let mut died = ledger_died(&|| self.stopped_receiving.load(Ordering::Acquire) || self.receive.is_finished());
        self.check.0.stop();
        died = died || ledger_died(&|| self.check.1.is_finished());
        if !died {
            self.verify.iter().for_each(|(handle, _)| handle.stop());
            died = ledger_died(&|| self.verify.iter().all(|(_, thread)| thread.is_finished()));
        }
        if died {
            return Err(halt_cause(self.ledger.1.join(), replica_thread.join()));
        }
        self.check.1.join().map_err(|_| StopError::Panic("check"))?;
        let mut verify = VerifyCounters::default();
        for (handle, thread) in self.verify {
            handle.stop();
            let counters = thread.join().map_err(|_| StopError::Panic("verify"))?;
            verify = verify.plus(&counters);
        }
        self.ledger.0.stop();
        let ledger = match (self.ledger.1.join(), replica_thread.join()) {
            (Ok(Ok(ledger)), Ok(Ok(()))) => ledger,
            (ledger, replica) => return Err(halt_cause(ledger, replica)),
        };
        self.stop_answers.store(true, Ordering::Release);
        let net = self.receive.join().map_err(|_| StopError::Panic("receive"))??;
        let mut stages: Vec<_> = self.accounts.iter().map(|(name, account)| account.times(name)).collect();
        let steps = &self.ledger_accounts;
        for (name, account) in [
            ("set", &steps.set),
            ("block", &steps.block),
            ("quilt", &steps.quilt),
            ("journal", &steps.journal),
            ("state", &steps.state),
            ("root", &steps.root),
        ] {
            stages.push(account.times(name));
        }
        Ok(MinterSummary {
            stages,
            refused: self.refusals.counters(),
            verify,
            net,
            slots_lost: u64::from(self.arena.slots()) - self.arena.slots_free(),
            bytes_per_account: self.state_bytes as f64 / ledger.accounts.max(1) as f64,
            ledger,
        })
    }
}
