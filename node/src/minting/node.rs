//! A running node: its threads, from an open chain to the last sync.

use super::bodies::Bodies;
use super::capacity::Capacity;
use super::checks::{Checks, PrepareCounters};
use super::core::{Core, Local};
use super::counted::Counted;
use super::door::{Door, NodeSigning, Sorter};
use super::duty::{Duty, Hands};
use super::entry::{Entry, Job, Promise, Raw};
use super::execution::{NodeExecution, SharedState};
use super::gate::{Gate, Penalise};
use super::inbox::Inbox;
use super::inclusions::Inclusions;
use super::peers::Peers;
use super::pool::HeightPool;
use super::prepare::{Gathering, Prepare};
use super::promises::Promises;
use super::rounds::Rounds;
use super::serve::{Questions, Serve};
use super::status::Status;
use super::toll::Toll;
use super::topology::{Given, TooLittle, Topology};
use super::verdicts::Verdicts;
use super::view::{NodeView, Submit};
use super::writer::{Writer, WriterError};
use crate::intake::duties::DutyTable;
use crate::intake::shares::User;
use crate::keep::accepted::{Accepted, AcceptedFile};
use crate::keep::certificates::{self, Certificates};
use crate::keep::chain_store::{self, ChainStoreError, Genesis, OpenedChain};
use crate::keep::kept;
use crate::keep::record::BlockKeys;
use crate::keep::replica::{ReplicaError, ReplicaHandle, StateReader, replica};
use crate::keep::signed_file::{SignedFile, SignedFileError};
use crate::peer::frames;
use crate::setup::clock::{Clock, Stopwatch};
use crate::setup::endpoint::{endpoint_of, target_of};
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::consensus::minter::Minter;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::arena::Arena;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::verify::{KeyCache, Simd, Unavailable, Verifier};
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::remembering::Remembering;
use dynemix_net::mesh::{LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, Target, public_key};
use dynemix_storage::{Disk, Records, Store, StoreError, StoreOptions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Slots after a chain's start in which a node without any record of what it signed is taken to be new.
const FRESH_SLOTS: u64 = 64;
/// What a node mints with.
pub struct MintingKeys {
    /// Key of the account whose stake it mints for.
    pub account: Key,
    /// Secret of its voting key (BLS).
    pub vote: Zeroizing<[u8; 32]>,
}

/// What a node is started with.
pub struct NodeOptions {
    /// Where everything is.
    pub data: Arc<dyn Disk>,
    /// What the chain begins with.
    pub genesis: Genesis,
    /// Keys, if it mints.
    pub minting: Option<MintingKeys>,
    /// Secret of the static key that peers know it by.
    pub transport: Zeroizing<[u8; 32]>,
    /// Where it listens; none: it only calls.
    pub listen: Option<SocketAddr>,
    /// Where others reach it, if they can.
    pub public: Option<SocketAddr>,
    /// Peers to begin with, beside those of genesis.
    pub bootstrap: Vec<Target>,
    /// A line that is worse than the real one, for tests.
    pub link: LinkShape,
    /// Bounds of the network.
    pub limits: MeshLimits,
    /// The store's sizes.
    pub store: StoreOptions,
    /// Bytes of records after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// Milliseconds since the chain's start, and whether they are good enough to mint by.
    pub clock: Clock,
    /// The signed-once record may be missing.
    pub first_run: bool,
    /// Decoded keys that are kept.
    pub key_cache_keys: usize,
    /// Vector instructions that signatures are verified with; none: the best that this computer has.
    pub simd: Option<Simd>,
    /// Threads that verify users' transactions.
    pub verify_threads: usize,
    /// Blocks go by count, by a clock that stands.
    pub counted: Option<Counted>,
    /// Bytes that all of its memory may come to, and what of that the API may have.
    pub memory_bytes: u64,
    /// See there.
    pub api_bytes: u64,
    /// Heights between two snapshots for those who join; 0: none are made.
    pub snapshot_blocks: u64,
    /// Bytes of snapshots that are handed out in a second.
    pub snapshot_bytes_per_s: u64,
}

impl NodeOptions {
    /// The threads of this node, and what its memory may come to.
    ///
    /// # Errors
    /// When that is more than it is given.
    pub fn topology(&self) -> Result<Topology, TooLittle> {
        let NodeOptions { verify_threads, limits, key_cache_keys, genesis, memory_bytes, api_bytes, .. } = self;
        Topology::of(&Given {
            memory: *memory_bytes,
            network: limits.budget_bytes as u64,
            api: *api_bytes,
            keys: *key_cache_keys,
            accounts: genesis.accounts_max,
            verify_threads: *verify_threads,
            parameters: &genesis.chain.parameters,
        })
    }

    /// Whom to call at first: the minters of genesis, and the configuration's peers.
    pub fn targets(&self) -> Vec<Target> {
        let minters = self.genesis.minters.iter().filter_map(|minter| target_of(&minter.endpoint));
        minters.chain(self.bootstrap.iter().copied()).collect()
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeStartError {
    /// The chain on disk.
    #[error("{0}")]
    Chain(#[from] ChainStoreError),
    /// What was signed.
    #[error("{0}")]
    Signed(#[from] SignedFileError),
    /// There is too little memory for it.
    #[error(transparent)]
    Memory(#[from] TooLittle),
    /// The disk, before any chain was opened.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The CPU has no such backend.
    #[error(transparent)]
    Simd(#[from] Unavailable),
    /// The address is taken, or not this computer's.
    #[error("listen on {}: {source}", address.map_or("nothing".to_owned(), |address| address.to_string()))]
    Listen {
        /// The address; none if it only calls.
        address: Option<SocketAddr>,
        /// The system's answer.
        source: io::Error,
    },
    /// The system has no thread to give.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a node ended badly.
#[derive(Debug, thiserror::Error)]
pub enum NodeStopError {
    /// The writer stopped: something could not be made durable.
    #[error("the writer halted: {0}")]
    Writer(#[from] WriterError),
    /// The replica stopped: the log and the state do not agree, or the disk failed.
    #[error("the replica halted: {0}")]
    Replica(#[from] ReplicaError),
    /// What own users sent could not be made durable.
    #[error("the keeper of accepted transactions halted: {0}")]
    Promises(#[from] StoreError),
    /// The event loop of the network failed.
    #[error("the network failed: {0}")]
    Network(#[from] io::Error),
    /// A thread panicked: a broken invariant.
    #[error("thread '{0}' panicked: an invariant is broken")]
    Panic(&'static str),
}

/// A running node.
pub struct Node {
    view: NodeView,
    inbox: Arc<Inbox<Entry>>,
    address: Option<SocketAddr>,
    duty: JoinHandle<()>,
    mesh: JoinHandle<io::Result<()>>,
    writer: JoinHandle<Result<(), WriterError>>,
    promises: JoinHandle<Result<(), StoreError>>,
    replica: (ReplicaHandle, JoinHandle<Result<(), ReplicaError>>),
    verifying: Vec<Verifying>,
    serve: (Arc<Questions>, JoinHandle<()>),
}

/// A thread that verifies, and what it reads.
type Verifying = (Arc<Inbox<Raw>>, JoinHandle<()>);

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NodeStartError> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(NodeStartError::Thread)
}

/// What this node signs with, and what it has signed before.
struct Signer {
    candidate: Option<u32>,
    signing: Arc<NodeSigning>,
    keys: Arc<VoteKeys>,
    /// None in a node that signs nothing.
    file: Option<SignedFile>,
    record: SignedOnce,
}

impl Signer {
    fn open(options: &NodeOptions, opened: &OpenedChain) -> Result<Signer, NodeStartError> {
        let NodeOptions { data, genesis, minting, transport, clock, first_run, .. } = options;
        let chain = &genesis.chain;
        let candidate = minting.as_ref().and_then(|minting| opened.state.find(&minting.account));
        if minting.is_some() && candidate.is_none() {
            tracing::warn!("the minting account is not on the chain yet: this node follows");
        }
        // Founders of a chain that has just begun have no record; nor has who says so.
        let begins = clock.now_ms() < FRESH_SLOTS * chain.parameters.slot_ms;
        let may_be_missing = (opened.system.height == 0 && begins) || *first_run;
        let (file, record) = match candidate {
            Some(_) => {
                let (file, record) = SignedFile::open(&**data, chain.genesis_hash, may_be_missing)?;
                if record.unsure && !begins {
                    tracing::warn!(
                        "what this key has signed is not known for sure: nothing is signed until a height is final \
                         that was begun from now on"
                    );
                }
                (Some(file), record)
            }
            None => (None, SignedOnce::default()),
        };
        let secret = minting.as_ref().map_or(transport, |minting| &minting.vote);
        let keys = Arc::<VoteKeys>::default();
        let signing = Arc::new(Remembering::new(BlsSigning::new(&**secret, keys.clone())));
        Ok(Signer { candidate, signing, keys, file, record })
    }

    /// Listens, behind a door that knows this signer.
    fn network(&self, options: &NodeOptions) -> Result<(Mesh<Door>, MeshHandle), NodeStartError> {
        let &NodeOptions { listen, limits, link, .. } = options;
        let chain = options.genesis.chain.genesis_hash;
        let door = Door { chain, candidate: self.candidate, signing: self.signing.clone(), keys: self.keys.clone() };
        let mesh_options =
            MeshOptions { listen, prologue: frames::prologue(&chain), secret: *options.transport, limits, link };
        Mesh::new(mesh_options, door).map_err(|source| NodeStartError::Listen { address: listen, source })
    }
}

/// What waits for the threads beside consensus.
struct Waiting {
    cells: Arc<Inbox<Raw>>,
    bodies: Arc<Inbox<Raw>>,
    rounds: Arc<Inbox<Raw>>,
    questions: Arc<Questions>,
}

impl Waiting {
    fn new(topology: &Topology, snapshot_bytes_per_s: u64) -> Waiting {
        let questions = Arc::new(Questions::new(snapshot_bytes_per_s, Stopwatch::start()));
        let [cells, bodies, rounds] = [topology.cells_in, topology.bodies_in, topology.rounds_in].map(Topology::queue);
        Waiting { cells, bodies, rounds, questions }
    }
}

/// What the threads of a node share.
struct Shared {
    chain: Arc<Chain>,
    candidate: Option<u32>,
    state: SharedState,
    signing: Arc<NodeSigning>,
    keys: Arc<KeyCache>,
    verdicts: Arc<Verdicts>,
    records: Records,
    certificates: Certificates,
    inclusions: Arc<Inclusions>,
    arena: Arc<Arena>,
    inbox: Arc<Inbox<Entry>>,
    gate: Arc<Gate>,
    status: Arc<Status>,
    mesh: MeshHandle,
    /// Of users' cells, and of rounds.
    prepared: [Arc<PrepareCounters>; 2],
    capacity: Capacity,
}

impl Shared {
    /// Consensus over the state, with what an earlier process has kept.
    fn minter(
        &self,
        options: &NodeOptions,
        system: System,
        finals: VecDeque<KeptFinal>,
        record: SignedOnce,
    ) -> Minter<NodeExecution<NodeSigning>, NodeSigning> {
        let execution = NodeExecution::new(
            self.chain.clone(),
            self.state.clone(),
            Arc::new(system),
            self.signing.clone(),
            self.verdicts.clone(),
            endpoint_of(options.public, public_key(&options.transport)),
            self.candidate,
        )
        .with_pool(HeightPool::of(self.capacity.pool));
        let (chain, schedule) = (self.chain.genesis_hash, Schedule::of(&self.chain.parameters));
        let (me, now_ms) = (self.candidate.unwrap_or(u32::MAX), options.clock.now_ms());
        let mut minter = Minter::new(chain, schedule, me, execution, self.signing.clone(), record, now_ms);
        finals.iter().for_each(|(decided, blocks)| self.inclusions.finalized(decided.value.height, blocks));
        self.gate.room().bound(self.capacity.height);
        minter.remember_finals(finals.into_iter().rev());
        if self.candidate.is_some() {
            for (block, height, items) in kept::read(&*options.data, &chain) {
                let items = items.into();
                self.inclusions.keep(block, height, &items);
                minter.remember_items(block, height, items);
            }
        }
        minter
    }

    /// What a thread verifies with; `place`: of its counters.
    fn checks(&self, place: usize) -> Checks {
        Checks {
            chain: self.chain.clone(),
            state: self.state.clone(),
            signing: self.signing.clone(),
            verdicts: self.verdicts.clone(),
            gate: self.gate.clone(),
            inbox: self.inbox.clone(),
            counters: self.prepared[place].clone(),
            verifier: Verifier::new(self.keys.clone()),
            false_proofs: BTreeSet::new(),
        }
    }

    /// Verifies users' cells, gathered, behind all that rounds need; beside others that do the same.
    fn prepare(&self, options: &NodeOptions, gathering: &Arc<Gathering>) -> Prepare {
        let (clock, schedule) = (options.clock.clone(), Schedule::of(&self.chain.parameters));
        let (arena, gathering) = (self.arena.clone(), gathering.clone());
        Prepare { checks: self.checks(0), clock, schedule, niceness: 5, arena, gathering }
    }

    /// Starts all threads that verify: users' cells on as many as there are cores, what custodians look at, what rounds
    /// need.
    fn verifying(&self, options: &NodeOptions, waiting: &Waiting) -> Result<Vec<Verifying>, NodeStartError> {
        let gathering = Arc::<Gathering>::default();
        let mut threads = Vec::new();
        for number in 0..options.verify_threads {
            let (prepare, input) = (self.prepare(options, &gathering), waiting.cells.clone());
            let thread = spawn(&format!("verify.{number}"), move || prepare.run(&input))?;
            threads.push((waiting.cells.clone(), thread));
        }
        let (bodies, input) = (Bodies { checks: self.checks(0), niceness: 10 }, waiting.bodies.clone());
        threads.push((waiting.bodies.clone(), spawn("bodies", move || bodies.run(&input))?));
        let (rounds, input) = (self.rounds(waiting.bodies.clone()), waiting.rounds.clone());
        threads.push((waiting.rounds.clone(), spawn("rounds", move || rounds.run(&input))?));
        Ok(threads)
    }

    /// Verifies what rounds need, at once. Bodies of final blocks go to the other.
    fn rounds(&self, bodies: Arc<Inbox<Raw>>) -> Rounds {
        Rounds { checks: self.checks(1), bodies, records: Default::default(), brought: (0, BTreeMap::new()) }
    }

    fn serve(&self, options: &NodeOptions) -> Serve {
        Serve {
            chain: self.chain.genesis_hash,
            records: self.records.clone(),
            data: options.data.clone(),
            mesh: self.mesh.clone(),
            gate: self.gate.clone(),
            niceness: 10,
        }
    }

    fn writer(
        &self,
        options: &NodeOptions,
        store: Store,
        signed: Option<SignedFile>,
        replica: ReplicaHandle,
    ) -> Writer {
        Writer {
            data: options.data.clone(),
            chain: self.chain.genesis_hash,
            store,
            certificates: self.certificates.clone(),
            signed,
            replica,
            checkpoint_bytes: options.checkpoint_bytes,
            checkpoint_asked: 0,
            snapshot_blocks: options.snapshot_blocks,
            published: None,
            snapshot_written: Arc::default(),
            inbox: self.inbox.clone(),
        }
    }

    /// Follows again what an earlier process has accepted and kept, each verified again: what others are told does not
    /// rest on a file. The file begins anew with these.
    fn resume(
        &self,
        options: &NodeOptions,
        execution: &NodeExecution<NodeSigning>,
    ) -> Result<(Local, Promises), NodeStartError> {
        let (mut file, kept) = AcceptedFile::open(options.data.clone(), self.chain.genesis_hash)?;
        let kept = if planted(Mutation::OwnForgotten) { Vec::new() } else { kept };
        let now_ms = options.clock.now_ms();
        let items: Vec<Item> = kept.iter().map(|accepted| accepted.item.clone()).collect();
        let bad = self.verdicts.verify(&mut Verifier::new(self.keys.clone()), &items);
        let (mut local, mut bad, count) = (Local::default(), bad.into_iter().peekable(), kept.len());
        local.own.bound(self.capacity.own);
        for (place, Accepted { item, whose }) in kept.into_iter().enumerate() {
            let (user, state) = (User::from_bytes(&whose), execution.state());
            if bad.next_if_eq(&place).is_some() {
                tracing::error!("an accepted transaction has come back with a broken signature, and is forgotten");
            } else if local.own.resume(&item, user, &self.chain, &state, execution.system()) && user.by_api {
                self.status.watch(|watched| watched.resume(&self.chain.transaction_prefix, &item, now_ms));
            }
        }
        if count > 0 {
            let live = local.own.promised();
            tracing::info!("{live} of {count} accepted transactions have not ended and are followed again");
        }
        let accepted = |(item, user): (&Item, User)| Accepted { item: item.clone(), whose: user.to_bytes() };
        file.rewrite(&local.own.all().map(accepted).collect::<Vec<_>>())?;
        local.in_file = local.own.promised();
        Ok((local, Promises { file, inbox: self.inbox.clone() }))
    }

    /// Consensus and users' transactions.
    fn core(
        &self,
        options: &NodeOptions,
        minter: Minter<NodeExecution<NodeSigning>, NodeSigning>,
        local: Local,
    ) -> Core<NodeSigning> {
        Core {
            minter,
            candidate: self.candidate,
            schedule: Schedule::of(&self.chain.parameters),
            prefix: self.chain.transaction_prefix,
            gate: self.gate.clone(),
            status: self.status.clone(),
            inclusions: self.inclusions.clone(),
            peers: Peers::new(options.targets()),
            counted: options.counted,
            judging: Toll::Timed,
            local,
        }
    }

    /// What its effects are carried out with: things are made durable by `writer` and `promises`.
    fn hands(
        &self,
        options: &NodeOptions,
        (writer, promises): (Sender<Job>, Sender<Promise>),
        waiting: &Waiting,
    ) -> Hands {
        Hands {
            clock: options.clock.clone(),
            inbox: self.inbox.clone(),
            mesh: self.mesh.clone(),
            writer,
            promises,
            gate: self.gate.clone(),
            rounds: waiting.rounds.clone(),
            questions: waiting.questions.clone(),
            status: self.status.clone(),
        }
    }

    fn sorter(&self, waiting: &Waiting) -> Sorter {
        Sorter {
            inbox: self.inbox.clone(),
            cells: waiting.cells.clone(),
            rounds: waiting.rounds.clone(),
            questions: waiting.questions.clone(),
            gate: self.gate.clone(),
            mesh: self.mesh.clone(),
        }
    }

    fn view(&self, options: &NodeOptions, topology: &Topology, submit: Submit, accounts: StateReader) -> NodeView {
        NodeView {
            chain: self.chain.clone(),
            accounts,
            status: self.status.clone(),
            mesh: self.mesh.clone(),
            clock: options.clock.clone(),
            gate: self.gate.clone(),
            records: self.records.clone(),
            certificates: self.certificates.clone(),
            inclusions: self.inclusions.clone(),
            data: options.data.clone(),
            submit,
            signing: self.signing.clone(),
            prepared: self.prepared.clone(),
            candidate: self.candidate,
            transport_key: public_key(&options.transport),
            topology: topology.to_string(),
            started: Instant::now(),
        }
    }

    /// Says that a thread has halted, in the log and to whoever asks.
    fn halt(&self, what: &'static str) -> impl FnOnce(&dyn std::fmt::Display) + Send + 'static {
        let status = self.status.clone();
        move |error| {
            tracing::error!(%error, "{what} has halted; nothing is signed or becomes final here until a restart");
            status.halt(format!("{what}: {error}"));
        }
    }
}

/// The chain on the disk, or a new one.
fn open(options: &NodeOptions) -> Result<OpenedChain, NodeStartError> {
    let mut opened = chain_store::open(&*options.data, &options.genesis, options.store)?;
    if let Some(error) = opened.fell_back.take() {
        tracing::warn!(%error, "started from the older image; the next checkpoint replaces the damaged one");
    }
    Ok(opened)
}

impl Node {
    /// Starts all threads. On return the node listens and takes part.
    ///
    /// # Errors
    /// When the chain, the record of what was signed, or the network does not allow it; nothing runs then.
    pub fn start(options: NodeOptions) -> Result<Node, NodeStartError> {
        let opened = open(&options)?;
        let topology = options.topology()?;
        tracing::info!("{topology}");
        let signer = Signer::open(&options, &opened)?;
        let (mesh, mesh_handle) = signer.network(&options)?;
        let keys = Arc::new(KeyCache::new(options.key_cache_keys, options.simd.unwrap_or_else(Simd::best))?);
        let OpenedChain { store, state, behind, system, finals, .. } = opened;
        let certificates = certificates::beside(&*options.data, &options.genesis.chain.genesis_hash, &store.records())?;
        let chain = Arc::new(options.genesis.chain.clone());
        let prefix = chain.transaction_prefix;
        // Until the minter has begun: nobody is heard before.
        let quilt = chain.parameters.consensus.maturity(system.height + 1) > 0;
        let duties = DutyTable::of(Arc::new(system.clone()), quilt, signer.candidate);
        let booked_with = mesh_handle.clone();
        let penalise: Penalise = Box::new(move |peer, points| booked_with.penalise(peer, points));
        let shared = Shared {
            candidate: signer.candidate,
            gate: Arc::new(Gate::new(duties, chain.parameters.slot_ms, Stopwatch::start(), penalise)),
            state: Arc::new(RwLock::new(state)),
            signing: signer.signing,
            verdicts: Arc::new(Verdicts::new(prefix, keys.clone(), topology.capacity.verified, topology.batch)),
            keys,
            records: store.records(),
            certificates,
            inclusions: Arc::default(),
            arena: Arena::new(topology.capacity.places, topology.capacity.payload_bytes()),
            inbox: Arc::new(Inbox::new(topology.inbox[0], topology.inbox[1])),
            status: Arc::default(),
            mesh: mesh_handle,
            prepared: Default::default(),
            capacity: topology.capacity,
            chain,
        };
        let (replica_stage, replica_handle, accounts) =
            replica(behind, store.records(), store.keeper(), BlockKeys { prefix }, Duration::from_secs(1));
        replica_handle.applied(store.last_record());
        let mut minter = shared.minter(&options, system, finals, signer.record);
        minter.bound_others(topology.others);
        shared.status.stored.store(store.last_record(), Ordering::Relaxed);

        let (local, keeps) = shared.resume(&options, &minter.execution)?;
        let ((jobs, jobs_in), (promises, promises_in)) = (channel(), channel());
        let waiting = Waiting::new(&topology, options.snapshot_bytes_per_s);
        let serve = shared.serve(&options);
        let writer = shared.writer(&options, store, signer.file, replica_handle.clone());
        let hands = shared.hands(&options, (jobs, promises), &waiting);
        let duty = Duty::new(shared.core(&options, minter, local), hands);
        let submit = Submit::new(waiting.cells.clone(), shared.arena.clone(), shared.mesh.clone());
        let view = shared.view(&options, &topology, submit, accounts);
        let sorter = shared.sorter(&waiting);
        let verifying = shared.verifying(&options, &waiting)?;
        let (questions, questions_in) = (waiting.questions.clone(), waiting.questions);
        let (writer_halts, replica_halts) = (shared.halt("the writer"), shared.halt("the replica"));
        let promises_halt = shared.halt("the keeper of accepted transactions");
        Ok(Node {
            view,
            inbox: shared.inbox,
            address: shared.mesh.address(),
            writer: spawn("writer", move || writer.run(&jobs_in).inspect_err(|error| writer_halts(error)))?,
            promises: spawn("promises", move || keeps.run(&promises_in).inspect_err(|error| promises_halt(error)))?,
            replica: (
                replica_handle,
                spawn("replica", move || replica_stage.run().inspect_err(|error| replica_halts(error)))?,
            ),
            verifying,
            serve: (questions, spawn("serve", move || serve.run(&questions_in))?),
            duty: spawn("duty", move || duty.run())?,
            mesh: spawn("mesh", move || mesh.run(|event| sorter.sort(event)))?,
        })
    }

    /// What other threads work with.
    pub fn view(&self) -> &NodeView {
        &self.view
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether a thread has ended by itself: an invariant is broken, or the disk.
    pub fn ended(&self) -> bool {
        let verifying = self.verifying.iter().any(|(_, thread)| thread.is_finished());
        verifying
            || self.serve.1.is_finished()
            || self.duty.is_finished()
            || self.writer.is_finished()
            || self.promises.is_finished()
            || self.mesh.is_finished()
            || self.replica.1.is_finished()
    }

    /// Stops: at the end of the duty that is under way, at most a slot from now, or at once. Then everything final is
    /// synced.
    ///
    /// # Errors
    /// Why the node had halted, if it had.
    pub fn stop(self, at_once: bool) -> Result<(), NodeStopError> {
        let Node { view, inbox, duty, mesh, writer, promises, replica, verifying, serve, .. } = self;
        inbox.push_own(Entry::Stop(at_once));
        let duty = duty.join();
        view.mesh.stop();
        let mesh = mesh.join();
        let mut verified = true;
        for (tell, thread) in verifying {
            // Others may still hold what leads to these threads: they are told.
            tell.push_own(Raw::Stop);
            verified &= thread.join().is_ok();
        }
        serve.0.stop();
        verified &= serve.1.join().is_ok();
        let (writer, promises) = (writer.join(), promises.join());
        drop(replica.0);
        let replica = replica.1.join();
        duty.map_err(|_| NodeStopError::Panic("duty"))?;
        mesh.map_err(|_| NodeStopError::Panic("mesh"))??;
        if !verified {
            return Err(NodeStopError::Panic("verify"));
        }
        writer.map_err(|_| NodeStopError::Panic("writer"))??;
        promises.map_err(|_| NodeStopError::Panic("promises"))??;
        replica.map_err(|_| NodeStopError::Panic("replica"))??;
        Ok(())
    }
}
