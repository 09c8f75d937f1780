//! A node before it has threads: what it finds on its disk, and all that they work with. Whoever starts it gives it threads
//! and sockets ([`super::node`]); whoever simulates it calls the same parts in turn.

use super::bodies::Bodies;
use super::capacity::Capacity;
use super::checks::{Checks, PrepareCounters};
use super::core::{Core, Local};
use super::counted::Counted;
use super::door::{Answer, NodeSigning, Sorter};
use super::entry::{Entry, Raw};
use super::execution::{NodeExecution, SharedState};
use super::gate::{Gate, Penalise};
use super::inbox::Inbox;
use super::inclusions::Inclusions;
use super::peers::Peers;
use super::pool::HeightPool;
use super::prepare::{Gathering, Prepare};
use super::promises::Promises;
use super::rounds::Rounds;
use super::serve::{Answers, Questions};
use super::status::Status;
use super::toll::Toll;
use super::topology::{Given, TooLittle, Topology};
use super::verdicts::Verdicts;
use super::writer::Writer;
use crate::intake::duties::DutyTable;
use crate::intake::shares::User;
use crate::keep::accepted::{Accepted, AcceptedFile};
use crate::keep::certificates::{self, Certificates};
use crate::keep::chain_store::{self, ChainStoreError, Genesis, OpenedChain};
use crate::keep::kept;
use crate::keep::published;
use crate::keep::record::BlockKeys;
use crate::keep::replica::{ReplicaHandle, ReplicaStage, StateReader, replica};
use crate::keep::sealed::SealedError;
use crate::keep::signed_file::{SignedFile, SignedFileError};
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
use dynemix_net::mesh::{LinkShape, MeshLimits, Target, public_key};
use dynemix_storage::{Disk, Records, Store, StoreError, StoreOptions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};
use std::time::Duration;
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
    /// Minters are told hints with transactions: 32 bytes each, which spare whoever verifies them a root.
    pub hints: bool,
    /// Blocks go by count, by a clock that stands.
    pub counted: Option<Counted>,
    /// Bytes that all of its memory may come to, and what of that the API may have.
    pub memory_bytes: u64,
    /// Bytes that the API may have of that.
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

    fn minters(&self) -> impl Iterator<Item = Target> {
        self.genesis.minters.iter().filter_map(|minter| target_of(&minter.endpoint))
    }

    /// Whom to call at first: the configuration's peers, and the minters of genesis.
    pub fn targets(&self) -> Vec<Target> {
        self.bootstrap.iter().copied().chain(self.minters()).collect()
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
    /// A file beside the store.
    #[error("{0}")]
    File(#[from] SealedError),
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

/// What this node signs with, and what it has signed before.
pub struct Signer {
    pub(crate) candidate: Option<u32>,
    pub(crate) signing: Arc<NodeSigning>,
    pub(crate) keys: Arc<VoteKeys>,
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
            tracing::warn!(
                "the minting account is not on the chain yet: this node follows; once it is there, start the node again"
            );
        }
        // Founders of a chain that has just begun have no record; nor has who says so.
        let begins = clock.now_ms() < FRESH_SLOTS * chain.parameters.slot_ms;
        let may_be_missing = (opened.system.height == 0 && begins) || *first_run;
        let (file, record) = match candidate {
            Some(_) => {
                let (file, record) = SignedFile::open(&**data, chain.genesis_hash, may_be_missing)?;
                if record.unsure && opened.system.height == 0 && clock.now_ms() >= 2 * chain.parameters.slot_ms {
                    tracing::warn!(
                        "this founder's first start is after the chain's: if most founders are as late, the chain stays \
                         at its first height, since nobody can know what it has signed. Found it anew then, with a \
                         later start (genesis new --starts-in)"
                    );
                }
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
}

/// What waits for the threads beside consensus.
pub struct Waiting {
    pub(crate) cells: Arc<Inbox<Raw>>,
    pub(crate) bodies: Arc<Inbox<Raw>>,
    pub(crate) rounds: Arc<Inbox<Raw>>,
    pub(crate) questions: Arc<Questions>,
}

impl Waiting {
    fn new(topology: &Topology, snapshot_bytes_per_s: u64, watch: Stopwatch) -> Waiting {
        let questions = Arc::new(Questions::new(snapshot_bytes_per_s, watch));
        let [cells, bodies, rounds] = [topology.cells_in, topology.bodies_in, topology.rounds_in].map(Topology::queue);
        Waiting { cells, bodies, rounds, questions }
    }
}

/// What the threads of a node share.
pub struct Shared {
    pub(crate) chain: Arc<Chain>,
    pub(crate) candidate: Option<u32>,
    pub(crate) state: SharedState,
    pub(crate) signing: Arc<NodeSigning>,
    pub(crate) keys: Arc<KeyCache>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) records: Records,
    pub(crate) certificates: Certificates,
    pub(crate) inclusions: Arc<Inclusions>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) inbox: Arc<Inbox<Entry>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) status: Arc<Status>,
    /// Of users' cells, and of rounds.
    pub(crate) prepared: [Arc<PrepareCounters>; 2],
    pub(crate) capacity: Capacity,
    /// Bytes of other shards' blocks that are kept.
    pub(crate) others: usize,
}

impl Shared {
    /// Consensus over the state, with what an earlier process has kept.
    fn minter(
        &self,
        options: &NodeOptions,
        system: System,
        finals: VecDeque<KeptFinal>,
        record: SignedOnce,
    ) -> Result<Minter<NodeExecution<NodeSigning>, NodeSigning>, SealedError> {
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
        finals.iter().for_each(|(decided, blocks)| drop(self.inclusions.finalized(decided.value.height, blocks)));
        minter.bound_others(self.others);
        minter.remember_finals(finals.into_iter().rev());
        if self.candidate.is_some() {
            for (block, height, items) in kept::read(&*options.data, &chain)? {
                let items = items.into();
                let _ = self.inclusions.keep(block, height, &items);
                minter.remember_items(block, height, items);
            }
        }
        Ok(minter)
    }

    /// What a thread verifies with; `place`: of its counters.
    pub(crate) fn checks(&self, place: usize) -> Checks {
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
    pub(crate) fn prepare(&self, options: &NodeOptions, gathering: &Arc<Gathering>) -> Prepare {
        let (clock, schedule) = (options.clock.clone(), Schedule::of(&self.chain.parameters));
        let (arena, gathering) = (self.arena.clone(), gathering.clone());
        Prepare { checks: self.checks(0), clock, schedule, niceness: 5, arena, gathering, hints: options.hints }
    }

    /// Verifies what rounds need, at once. Bodies of final blocks go to the other.
    pub(crate) fn rounds(&self, bodies: Arc<Inbox<Raw>>) -> Rounds {
        Rounds { checks: self.checks(1), bodies, records: Default::default(), brought: (0, BTreeMap::new()) }
    }

    /// Verifies what custodians look at.
    pub(crate) fn bodies(&self) -> Bodies {
        Bodies { checks: self.checks(0), niceness: 10 }
    }

    /// Finds what others ask of the past.
    pub(crate) fn answers(&self, options: &NodeOptions) -> Answers {
        let (records, data) = (self.records.clone(), options.data.clone());
        let (inclusions, gate) = (self.inclusions.clone(), self.gate.clone());
        Answers { chain: self.chain.genesis_hash, records, inclusions, data, gate }
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
        // Whoever asks before the first step is told where the chain stands as well.
        let system = minter.execution.shared_system().clone();
        self.status.change(|live| (live.height, live.system) = (system.height, Some(system)));
        Core {
            minter,
            candidate: self.candidate,
            schedule: Schedule::of(&self.chain.parameters),
            prefix: self.chain.transaction_prefix,
            gate: self.gate.clone(),
            status: self.status.clone(),
            inclusions: self.inclusions.clone(),
            peers: Peers::new(options.minters().collect(), options.bootstrap.clone()),
            counted: options.counted,
            judging: Toll::Timed,
            local,
        }
    }

    /// Takes what comes to where it belongs; what had to go is answered by `answer`.
    pub(crate) fn sorter(&self, waiting: &Waiting, answer: Answer) -> Sorter {
        Sorter {
            inbox: self.inbox.clone(),
            cells: waiting.cells.clone(),
            rounds: waiting.rounds.clone(),
            questions: waiting.questions.clone(),
            gate: self.gate.clone(),
            answer,
        }
    }
}

/// A node whose disk was opened, and who knows what it signs with.
pub struct Opening {
    pub(crate) options: NodeOptions,
    pub(crate) signer: Signer,
    topology: Topology,
    opened: OpenedChain,
}

/// All that the threads of a node work with.
pub struct Parts {
    pub(crate) options: NodeOptions,
    pub(crate) shared: Shared,
    pub(crate) waiting: Waiting,
    pub(crate) core: Core<NodeSigning>,
    pub(crate) writer: Writer,
    pub(crate) promises: Promises,
    pub(crate) replica: (ReplicaStage, ReplicaHandle, StateReader),
    pub(crate) topology: Topology,
}

impl Opening {
    /// Opens what is on the disk, or begins it from genesis.
    ///
    /// # Errors
    /// When the chain or the record of what was signed does not allow it.
    pub fn of(options: NodeOptions) -> Result<Opening, NodeStartError> {
        let mut opened = chain_store::open(&*options.data, &options.genesis, options.store)?;
        if let Some(error) = opened.fell_back.take() {
            tracing::warn!(%error, "started from the older image; the next checkpoint replaces the damaged one");
        }
        let (chain, role) = (options.genesis.chain.genesis_hash, options.minting.as_ref());
        tracing::info!(
            "dynemix {} on chain {}.. at height {}: {}",
            env!("CARGO_PKG_VERSION"),
            hex::encode(&chain[..8]),
            opened.system.height,
            role.map_or("follows".to_owned(), |keys| format!("mints for {}..", hex::encode(&keys.account[..8])))
        );
        let topology = options.topology()?;
        tracing::info!("{topology}");
        let signer = Signer::open(&options, &opened)?;
        // What of them cannot be read is told at the start, not to who joins by them.
        published::offers(&*options.data, &options.genesis.chain.genesis_hash)?;
        Ok(Opening { options, signer, topology, opened })
    }

    /// Makes the parts of it. Points fade by this watch, and are booked by `penalise` too.
    ///
    /// # Errors
    /// When what was accepted, or a file beside the store, cannot be read or written.
    pub fn assemble(self, watch: &Stopwatch, penalise: Penalise) -> Result<Parts, NodeStartError> {
        let Opening { options, signer, topology, opened } = self;
        let keys = Arc::new(KeyCache::new(options.key_cache_keys, options.simd.unwrap_or_else(Simd::best))?);
        let OpenedChain { store, state, behind, system, finals, .. } = opened;
        let certificates = certificates::beside(&*options.data, &options.genesis.chain.genesis_hash, &store.records())?;
        let chain = Arc::new(options.genesis.chain.clone());
        let prefix = chain.transaction_prefix;
        // Until the minter has begun: nobody is heard before.
        let quilt = chain.parameters.consensus.maturity(system.height + 1) > 0;
        let duties = DutyTable::of(Arc::new(system.clone()), quilt, signer.candidate);
        let shared = Shared {
            candidate: signer.candidate,
            gate: Arc::new(Gate::new(duties, chain.parameters.slot_ms, watch.clone(), penalise)),
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
            prepared: Default::default(),
            capacity: topology.capacity,
            others: topology.others,
            chain,
        };
        shared.gate.room().bound(topology.capacity.height);
        let records = shared.records.clone();
        let replica = replica(behind, records, store.keeper(), BlockKeys { prefix }, Duration::from_secs(1));
        replica.1.applied(store.last_record());
        let minter = shared.minter(&options, system, finals, signer.record)?;
        shared.status.stored.store(store.last_record(), Ordering::Relaxed);
        let (local, promises) = shared.resume(&options, &minter.execution)?;
        let waiting = Waiting::new(&topology, options.snapshot_bytes_per_s, watch.clone());
        let writer = shared.writer(&options, store, signer.file, replica.1.clone());
        let core = shared.core(&options, minter, local);
        Ok(Parts { options, shared, waiting, core, writer, promises, replica, topology })
    }
}
