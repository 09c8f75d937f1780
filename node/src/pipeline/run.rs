//! A running node: its threads, from the checked topology to the last checkpoint.

use super::check::CheckStage;
use super::ledger::{LedgerAccounts, LedgerError, LedgerProgress, LedgerStage, LedgerSummary, SlotPlan, StorageConfig};
use super::outcome::Outcome;
use super::receive::{Clients, ClientsShare, ReceiveStage};
use super::stage::{Outlet, RefusalBoard, Sleeper, StageAccount, StageHandle, StageTimes, Wake, sleeper};
use super::suspicion::Suspicion;
use super::topology::{Sizes, in_flight_places, topology};
use super::verify::VerifyStage;
use crate::keep::mapped::MappedMemory;
use crate::keep::open::{self, OpenError, OpenedState};
use crate::keep::record::BlockKeys;
use crate::keep::replica::{ReplicaError, ReplicaHandle, StateReader, replica};
use crate::keep::snapshot::{SnapshotFailure, SnapshotInfo};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters};
use dynemix_engine::base::refusal::RefusalCounters;
use dynemix_engine::pipeline::arena::{Arena, Handle};
use dynemix_engine::pipeline::in_flight::InFlight;
use dynemix_engine::pipeline::ledger::Ledger;
use dynemix_engine::pipeline::ring::{Consumer, Producer, Word, ring};
use dynemix_engine::pipeline::topology::{RingSpec, Topology, TopologyError};
use dynemix_engine::verify::{KeyCache, Unavailable, VerifyCounters};
use dynemix_net::{NetCounters, Server};
use dynemix_storage::{Disk, Records, Store, StoreError};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
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
    /// What arena, rings and tables are sized by.
    pub sizes: Sizes,
    /// Signatures of one batch at most.
    pub verify_batch_max: usize,
    /// When blocks are made.
    pub plan: SlotPlan,
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
    /// The state cannot be made or opened.
    #[error("{0}")]
    State(#[from] OpenError),
    /// The address is taken, or not this computer's.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The system has no thread to give.
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
pub struct PipelineSummary {
    /// The ledger's part.
    pub ledger: LedgerSummary,
    /// Where the time went, stage by stage.
    pub stages: Vec<StageTimes>,
    /// Refusals by reason.
    pub refused: RefusalCounters,
    /// Verification, all threads.
    pub verify: VerifyCounters,
    /// Connections, frames and bytes.
    pub net: NetCounters,
    /// Slots that did not come back to the arena: 0, or something leaks.
    pub slots_lost: u64,
    /// Bytes of state for each account in use.
    pub bytes_per_account: f64,
}

/// A running node.
pub struct Pipeline {
    address: SocketAddr,
    chain: Chain,
    topology: Topology,
    arena: Arc<Arena>,
    progress: Arc<LedgerProgress>,
    refusals: Arc<RefusalBoard>,
    accounts: Vec<(String, Arc<StageAccount>)>,
    ledger_accounts: Arc<LedgerAccounts>,
    /// Before the first stage ran.
    started: Instant,
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
fn open_state(config: &PipelineConfig, chain: &Chain) -> Result<OpenedState, OpenError> {
    let PipelineConfig { disk, sizes, storage, genesis, supply, .. } = config;
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

/// Where the time went, stage by stage and step by step of the ledger; none took longer than the `wall` clock says.
fn stage_times(accounts: &[(String, Arc<StageAccount>)], steps: &LedgerAccounts, wall: Duration) -> Vec<StageTimes> {
    let mut stages = Vec::new();
    for (name, account) in accounts {
        let booked = account.booked();
        assert!(booked <= wall, "stage '{name}' has booked {booked:?} of {wall:?}");
        stages.push(account.times(name));
    }
    let mut booked = Duration::ZERO;
    for (name, account) in [
        ("set", &steps.set),
        ("block", &steps.block),
        ("quilt", &steps.quilt),
        ("journal", &steps.journal),
        ("state", &steps.state),
        ("root", &steps.root),
    ] {
        stages.push(account.times(name));
        booked += account.booked();
    }
    assert!(booked <= wall, "the ledger's steps have booked {booked:?} of {wall:?}");
    stages
}

/// What the stages share.
struct Shared {
    chain: Chain,
    arena: Arc<Arena>,
    in_flight: Arc<InFlight>,
    keys: Arc<KeyCache>,
    suspicion: Arc<Suspicion>,
    refusals: Arc<RefusalBoard>,
    progress: Arc<LedgerProgress>,
    /// Slot of the newest block.
    slot: Arc<AtomicU64>,
}

impl Shared {
    fn new(chain: Chain, sizes: &Sizes, height: u64, slot: u64) -> Result<Shared, StartError> {
        Ok(Shared {
            chain,
            arena: Arc::new(Arena::new(sizes.slots, sizes.payload_slots)),
            in_flight: Arc::new(InFlight::new(in_flight_places(sizes.slots), HashSeed::random())),
            keys: Arc::new(KeyCache::new(sizes.key_cache_keys, sizes.simd)?),
            suspicion: Arc::new(Suspicion::new(sizes.limits.connections_max)),
            refusals: Arc::default(),
            progress: Arc::new(LedgerProgress { height: AtomicU64::new(height), ..LedgerProgress::default() }),
            slot: Arc::new(AtomicU64::new(slot)),
        })
    }

    /// The protocol of the connections.
    fn clients(&self, connections_max: usize) -> Clients {
        let height = self.progress.clone();
        let share = ClientsShare {
            chain: self.chain.clone(),
            arena: self.arena.clone(),
            in_flight: self.in_flight.clone(),
            refusals: self.refusals.clone(),
            suspicion: self.suspicion.clone(),
            slot: self.slot.clone(),
            height: Box::new(move || height.height.load(Ordering::Relaxed)),
        };
        Clients::new(share, connections_max)
    }
}

/// The rings between the stages, as deep as they are declared.
struct Rings<'t> {
    topology: &'t Topology,
    /// Of the stage that owns the sockets.
    waker: Arc<dyn Wake>,
    /// Ends of the rings that lead back to it.
    answers: Vec<Consumer<Outcome>>,
}

impl Rings<'_> {
    fn between<T: Word>(&self, from: &str, to: &str) -> (Producer<T>, Consumer<T>) {
        let declared = |ring: &&RingSpec| (ring.from, ring.to) == (from, to);
        ring(self.topology.rings.iter().find(declared).expect("a declared ring").depth)
    }

    /// How many rings lead to a stage, as declared.
    fn declared_to(&self, to: &str) -> usize {
        self.topology.rings.iter().filter(|ring| ring.to == to).map(|ring| ring.rings).sum()
    }

    /// A stage's way back to the sockets.
    fn answers_of(&mut self, from: &str) -> Outlet<Outcome> {
        let (producer, consumer) = self.between(from, "receive");
        self.answers.push(consumer);
        Outlet::new(producer, vec![self.waker.clone()])
    }
}

/// Times by stage, in the order of the pipeline.
#[derive(Default)]
struct Accounts(Vec<(String, Arc<StageAccount>)>);

impl Accounts {
    fn add(&mut self, name: impl Into<String>) -> Arc<StageAccount> {
        let account = Arc::<StageAccount>::default();
        self.0.push((name.into(), account.clone()));
        account
    }
}

/// The verifying stages, each with its handle, and the rings from them to the ledger.
#[allow(clippy::type_complexity, reason = "two columns")]
fn verify_stages(
    shared: &Shared,
    config: &PipelineConfig,
    rings: &mut Rings<'_>,
    accounts: &mut Accounts,
    sleepers: Vec<(Sleeper, StageHandle)>,
    from_check: &Consumer<Handle>,
    ledger: &StageHandle,
) -> (Vec<(StageHandle, VerifyStage)>, Vec<Consumer<Handle>>) {
    let sizes = &config.sizes;
    let stage = |(number, (sleeper, handle)): (usize, (Sleeper, StageHandle))| {
        let (to_ledger, from_verify) = rings.between("verify", "ledger");
        let stage = VerifyStage {
            chain: shared.chain.clone(),
            arena: shared.arena.clone(),
            keys: shared.keys.clone(),
            suspects_max: sizes.slots as usize / 8 / sizes.verify_threads,
            suspicion: shared.suspicion.clone(),
            batch_max: config.verify_batch_max,
            input: from_check.clone(),
            output: Outlet::new(to_ledger, vec![ledger.waker()]),
            answers: rings.answers_of("verify"),
            refusals: shared.refusals.clone(),
            account: accounts.add(format!("verify.{number}")),
            sleeper,
        };
        ((handle, stage), from_verify)
    };
    sleepers.into_iter().enumerate().map(stage).unzip()
}

/// All stages, each with the handle that stops it, before their threads run.
struct Wired {
    receive: ReceiveStage,
    check: (StageHandle, CheckStage),
    verify: Vec<(StageHandle, VerifyStage)>,
    ledger: (StageHandle, LedgerStage),
    accounts: Accounts,
    ledger_accounts: Arc<LedgerAccounts>,
}

impl Wired {
    fn new(
        shared: &Shared,
        config: &PipelineConfig,
        topology: &Topology,
        server: Server,
        store: Store,
        state: State<MappedMemory>,
        replica: ReplicaHandle,
    ) -> Wired {
        let sizes = &config.sizes;
        let mut rings = Rings { topology, waker: server.waker(), answers: Vec::new() };
        let mut accounts = Accounts::default();
        let (receive_account, check_account) = (accounts.add("receive"), accounts.add("check"));
        let ((check_sleeper, check_handle), (ledger_sleeper, ledger_handle)) = (sleeper(), sleeper());
        let verify_sleepers: Vec<_> = (0..sizes.verify_threads).map(|_| sleeper()).collect();
        let (to_check, from_receive) = rings.between("receive", "check");
        let (to_verify, from_check) = rings.between("check", "verify");
        let check = CheckStage {
            chain: shared.chain.clone(),
            arena: shared.arena.clone(),
            in_flight: shared.in_flight.clone(),
            slot: shared.slot.clone(),
            input: from_receive,
            output: Outlet::new(to_verify, verify_sleepers.iter().map(|(_, handle)| handle.waker()).collect()),
            answers: rings.answers_of("check"),
            refusals: shared.refusals.clone(),
            account: check_account,
            sleeper: check_sleeper,
        };
        let (verify, inputs) =
            verify_stages(shared, config, &mut rings, &mut accounts, verify_sleepers, &from_check, &ledger_handle);
        assert_eq!(inputs.len(), rings.declared_to("ledger"), "the ledger reads each ring that leads to it");
        let ledger_accounts = Arc::new(LedgerAccounts::default());
        let ledger = LedgerStage {
            ledger: Ledger::new(shared.chain.clone(), shared.arena.clone(), state),
            store,
            storage: config.storage,
            replica,
            plan: config.plan,
            inputs,
            answers: rings.answers_of("ledger"),
            refusals: shared.refusals.clone(),
            slot: shared.slot.clone(),
            progress: shared.progress.clone(),
            accounts: ledger_accounts.clone(),
            sleeper: ledger_sleeper,
        };
        assert_eq!(rings.answers.len(), rings.declared_to("receive"), "each ring that leads back is read");
        let [stop_receiving, stopped_receiving, stop] = std::array::from_fn(|_| Arc::default());
        let receive = ReceiveStage {
            clients: shared.clients(sizes.limits.connections_max),
            output: Outlet::new(to_check, vec![check_handle.waker()]),
            answers: rings.answers,
            server,
            stop_receiving,
            stopped_receiving,
            stop,
            account: receive_account,
        };
        Wired {
            receive,
            check: (check_handle, check),
            verify,
            ledger: (ledger_handle, ledger),
            accounts,
            ledger_accounts,
        }
    }
}

impl Pipeline {
    /// Starts all stages. On return the node listens.
    ///
    /// # Errors
    /// When the topology, the genesis, the store or the network does not allow it; nothing runs then.
    pub fn start(config: PipelineConfig) -> Result<Pipeline, StartError> {
        let topology = topology(&config.sizes, config.storage.keep_transactions);
        topology.validate()?;
        let chain = Chain::new(config.parameters, &config.genesis);
        let OpenedState { store, state, behind, fell_back } = open_state(&config, &chain)?;
        if let Some(error) = fell_back {
            tracing::warn!(%error, "started from the older image; the next checkpoint replaces the damaged one");
        }
        let block_keys = BlockKeys { prefix: chain.transaction_prefix };
        let (sizes, storage, records) = (config.sizes, config.storage, store.records());
        let (replica_stage, replica, reader) =
            replica(behind, records.clone(), store.keeper(), block_keys, storage.scrub_pause);
        replica.applied(store.last_record());
        let state_bytes = state.bytes();
        let shared = Shared::new(chain, &sizes, state.header().height, state.header().slot)?;
        let listen_failed = |source| StartError::Listen { address: config.listen, source };
        let server = Server::listen(config.listen, sizes.limits).map_err(listen_failed)?;
        let address = server.local_address().map_err(listen_failed)?;

        let wired = Wired::new(&shared, &config, &topology, server, store, state, replica.clone());
        let Wired { receive, check, verify, ledger, accounts, ledger_accounts } = wired;
        let [stop_receiving, stopped_receiving, stop_answers] =
            [&receive.stop_receiving, &receive.stopped_receiving, &receive.stop].map(Arc::clone);
        let ((check_handle, check_stage), (ledger_handle, ledger_stage)) = (check, ledger);

        tracing::debug!(%address, threads = 3 + sizes.verify_threads, bytes = topology.bytes(), "starting");
        let started = Instant::now();
        let ledger = spawn("ledger".into(), move || {
            ledger_stage.run().inspect_err(|error| {
                tracing::error!(%error, "the ledger has halted; nothing more becomes final until a restart");
            })
        })?;
        let replica_thread = spawn("replica".into(), move || {
            replica_stage
                .run()
                .inspect_err(|error| tracing::error!(%error, "the replica has halted, and with it the store"))
        })?;
        let (stages, mut verify) = (verify, Vec::new());
        for (number, (handle, stage)) in stages.into_iter().enumerate() {
            verify.push((handle, spawn(format!("verify.{number}"), move || stage.run())?));
        }
        let check = spawn("check".into(), move || check_stage.run())?;
        let receive = spawn("receive".into(), move || receive.run())?;
        Ok(Pipeline {
            address,
            chain: shared.chain,
            arena: shared.arena,
            progress: shared.progress,
            refusals: shared.refusals,
            topology,
            accounts: accounts.0,
            ledger_accounts,
            started,
            stop_receiving,
            stopped_receiving,
            stop_answers,
            receive,
            check: (check_handle, check),
            verify,
            ledger: (ledger_handle, ledger),
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

    /// The chain that its clients must greet.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Stages, rings and pools that it was started with.
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
    pub fn snapshot(&self, directory: Arc<dyn Disk>) -> Result<SnapshotInfo, SnapshotFailure> {
        self.replica.0.snapshot(directory)
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
    pub fn stop(self) -> Result<PipelineSummary, StopError> {
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
        let stages = stage_times(&self.accounts, &self.ledger_accounts, self.started.elapsed());
        let (slots, free) = (u64::from(self.arena.slots()), self.arena.slots_free());
        assert!(free <= slots, "{free} of {slots} slots are free: one came back twice");
        Ok(PipelineSummary {
            stages,
            refused: self.refusals.counters(),
            verify,
            net,
            slots_lost: slots - free,
            bytes_per_account: self.state_bytes as f64 / ledger.accounts.max(1) as f64,
            ledger,
        })
    }
}
