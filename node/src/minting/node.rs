//! A running node: its threads, from an open chain to the last sync.

use crate::keep::chain_store::{self, ChainStoreError, Genesis, OpenedChain};
use crate::setup::clock::Clock;
use super::duty::{Duty, Entry, Local, peers_of};
use super::execution::{NodeExecution, SharedState};
use super::inbox::Inbox;
use super::prepare::{Prepare, PrepareCounters, Raw};
use crate::keep::published;
use crate::keep::signed_file::{SignedFile, SignedFileError};
use super::status::{Status, StatusShown, hex};
use super::verdicts::Verdicts;
use crate::peer::frames::{
    self, CELLS, FRAME_CELLS, FRAME_MESSAGE, FRAME_OUTCOME, FRAME_PEERS, FRAME_WANT, VOTES, endpoint_of,
};
use super::writer::{self, Writer, WriterError};
use crate::keep::record::BlockKeys;
use crate::keep::replica::{ReplicaError, ReplicaHandle, replica};
use dynemix_bench::machine;
use dynemix_engine::cell::Key;
use dynemix_engine::chain::Chain;
use dynemix_engine::consensus::codec::{Nobody, decode};
use dynemix_engine::consensus::minter::Minter;
use dynemix_engine::consensus::schedule::Schedule;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::consensus::signing::{BlsSigning, Remembering, Signing, VoteKeys};
use dynemix_engine::verify::{KeyCache, Simd, Unavailable};
use dynemix_net::mesh::{
    Body, Doorkeeper, Event, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerInfo, Target, TransportKey,
    public_key,
};
use dynemix_storage::{RealDisk, Records, StoreError, StoreOptions};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use zeroize::Zeroizing;

/// Slots after a chain's start in which a node without any record of what it signed is taken to be new.
const FRESH_SLOTS: u64 = 64;
/// Transactions are gathered into batches for this part of a slot.
const GATHERING: u64 = 100;

/// Signs and remembers.
pub type NodeSigning = Remembering<BlsSigning>;

/// What a node mints with.
pub struct MintingKeys {
    /// Key of the account whose stake it mints for.
    pub account: Key,
    /// Voting secret.
    pub vote: Zeroizing<[u8; 32]>,
}

/// What a node is started with.
pub struct NodeOptions {
    /// Where everything is.
    pub directory: PathBuf,
    /// The chain.
    pub genesis: Genesis,
    /// Keys, if it mints.
    pub minting: Option<MintingKeys>,
    /// Transport secret.
    pub transport: Zeroizing<[u8; 32]>,
    /// Where it listens; none: it only calls.
    pub listen: Option<SocketAddr>,
    /// Where others reach it, if they can.
    pub public: Option<SocketAddr>,
    /// Peers to begin with, beside those of genesis.
    pub bootstrap: Vec<Target>,
    /// The line.
    pub link: LinkShape,
    /// Bounds of the network.
    pub limits: MeshLimits,
    /// The store's sizes.
    pub store: StoreOptions,
    /// Bytes of records after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// Time.
    pub clock: Clock,
    /// The signed-once record may be missing.
    pub first_run: bool,
    /// Decoded keys that are kept.
    pub key_cache_keys: usize,
    /// Heights between two snapshots for those who join; 0: none are made.
    pub snapshot_blocks: u64,
    /// Bytes of snapshots that are handed out in a second.
    pub snapshot_bytes_per_s: u64,
}

impl NodeOptions {
    /// Whom to call at first: the minters of genesis, and the configuration's peers.
    pub fn targets(&self) -> Vec<Target> {
        let minters = self.genesis.minters.iter().filter_map(|minter| frames::target_of(&minter.endpoint));
        minters.chain(self.bootstrap.iter().copied()).collect()
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeStartError {
    /// The chain on disk.
    #[error(transparent)]
    Chain(#[from] ChainStoreError),
    /// What was signed.
    #[error(transparent)]
    Signed(#[from] SignedFileError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CPU has no such backend.
    #[error(transparent)]
    Simd(#[from] Unavailable),
    /// The network.
    #[error("listen on {}: {source}", address.map_or("nothing".to_owned(), |address| address.to_string()))]
    Listen {
        /// Where.
        address: Option<SocketAddr>,
        /// The system's answer.
        source: io::Error,
    },
    /// A thread.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why a node ended badly.
#[derive(Debug, thiserror::Error)]
pub enum NodeStopError {
    /// The writer.
    #[error("the writer halted: {0}")]
    Writer(#[from] WriterError),
    /// The replica.
    #[error("the replica halted: {0}")]
    Replica(#[from] ReplicaError),
    /// The network.
    #[error("the network failed: {0}")]
    Network(#[from] io::Error),
    /// A thread panicked: a broken invariant.
    #[error("thread '{0}' panicked: an invariant is broken")]
    Panic(&'static str),
}

/// Who we are, and who others are.
struct Door {
    chain: [u8; 32],
    candidate: Option<u32>,
    signing: Arc<NodeSigning>,
    keys: Arc<VoteKeys>,
}

impl Doorkeeper for Door {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        let sign = |digest: &[u8; 32]| self.signing.sign(digest);
        frames::hello(&self.chain, handshake_hash, self.candidate.map(|candidate| (candidate, sign)))
    }

    fn admit(&self, hello: &[u8], _: &TransportKey, handshake_hash: &[u8; 32]) -> Result<Option<u32>, String> {
        let known = |candidate| self.keys.knows(candidate);
        let verify = |candidate, digest: &_, signature: &_| {
            !known(candidate) || self.signing.verify(candidate, digest, signature)
        };
        // A candidate of a later height than ours is a guest until we have caught up.
        frames::read_hello(&self.chain, handshake_hash, hello, verify)
            .map(|candidate| candidate.filter(|&candidate| known(candidate)))
    }
}

/// What other threads of a node work with: the API, the supervisor, tests.
#[derive(Clone)]
pub struct NodeView {
    /// The chain.
    pub chain: Arc<Chain>,
    /// The state.
    pub state: SharedState,
    /// What it shows of itself.
    pub status: Arc<Status>,
    /// The network.
    pub mesh: MeshHandle,
    /// Time.
    pub clock: Clock,
    /// Kept blocks.
    pub records: Records,
    /// The data directory.
    pub data: PathBuf,
    /// Takes transactions of own users.
    pub submit: Sender<Raw>,
    /// Checks what others signed.
    pub signing: Arc<NodeSigning>,
    /// What verification has done: users' cells, and rounds.
    pub prepared: [Arc<PrepareCounters>; 2],
    /// Its candidate.
    pub candidate: Option<u32>,
    /// Its transport key.
    pub transport_key: TransportKey,
}

impl NodeView {
    /// Everything that is shown; `blocks` newest blocks.
    pub fn shown(&self, blocks: usize) -> StatusShown {
        let now_ms = self.clock.now_ms();
        let counters = self.mesh.counters();
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let slot_ms = self.chain.parameters.slot_ms;
        let offers = published::offers(&self.data, &self.chain.genesis_hash);
        let snapshots: Vec<String> =
            offers.iter().map(|offer| format!("{}:{}", offer.height, hex(&offer.block))).collect();
        self.status.look(|live| StatusShown {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: hex(&self.chain.genesis_hash),
            candidate: self.candidate,
            now_ms,
            slot: now_ms / slot_ms,
            slot_ms,
            height: live.height,
            stored: live.stored,
            heard: live.heard,
            seated: live.seated,
            shard: live.shard,
            seats: live.system.as_ref().map_or(0, |system| system.committee.len()),
            shards: live.system.as_ref().map_or(0, |system| system.committee.shards.len()),
            clock_trusted: self.clock.is_trusted(),
            clock_offset_ms: self.clock.offset_ms(),
            pool: live.pool,
            own: live.own,
            members: counters.members.load(relaxed),
            guests: counters.guests.load(relaxed),
            bytes_sent: counters.sent.load(relaxed),
            bytes_received: counters.received.load(relaxed),
            cpu_s: machine::cpu_time().as_secs_f64(),
            verified: self.prepared.iter().map(|counters| counters.signatures.load(relaxed)).sum(),
            verify_s: self.prepared.iter().map(|counters| counters.verify_micros.load(relaxed)).sum::<u64>() as f64
                / 1e6,
            rss_bytes: rss_bytes(),
            duties: live.duties,
            blocks: live.blocks.iter().rev().take(blocks).rev().cloned().collect(),
            snapshots: snapshots.clone(),
            certified: live.certified.iter().rev().take(blocks).rev().cloned().collect(),
        })
    }
}

/// Memory of this process that is resident.
pub fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * rustix::param::page_size() as u64
}

/// A running node.
pub struct Node {
    view: NodeView,
    inbox: Arc<Inbox<Entry>>,
    address: Option<SocketAddr>,
    duty: JoinHandle<()>,
    mesh: JoinHandle<io::Result<()>>,
    writer: JoinHandle<Result<(), WriterError>>,
    replica: (ReplicaHandle, JoinHandle<Result<(), ReplicaError>>),
    prepare: Vec<(Sender<Raw>, JoinHandle<()>)>,
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NodeStartError> {
    thread::Builder::new().name(name.into()).spawn(work).map_err(NodeStartError::Thread)
}

/// Takes what the mesh brings to where it belongs.
struct Sorter {
    inbox: Arc<Inbox<Entry>>,
    cells: Sender<Raw>,
    rounds: Sender<Raw>,
    mesh: MeshHandle,
}

impl Sorter {
    fn sort(&self, event: Event) {
        match event {
            Event::Opened(peer, _, address) => {
                tracing::debug!(name = peer.name, %address, "a peer has come");
                self.inbox.push(Entry::Opened(peer));
            }
            Event::Closed(peer, why) => tracing::debug!(name = peer.name, why, "a peer has gone"),
            Event::TurnedAway(address, why) => tracing::debug!(%address, why, "a peer was turned away"),
            Event::Frame(peer, class, body) => self.frame(peer, class, body),
        }
    }

    fn frame(&self, peer: PeerInfo, class: u8, body: Body) {
        // A thread that has gone takes nothing any more: the node is about to end.
        match (class, body.first().copied()) {
            (VOTES, Some(FRAME_MESSAGE)) => match decode(&body[1..], &Nobody) {
                Ok(message) if peer.name.is_some() => {
                    self.inbox.push_urgent(Entry::Message(peer, Box::new(message), body))
                }
                Ok(message) => self.inbox.push(Entry::Message(peer, Box::new(message), body)),
                Err(_) => self.mesh.penalise(peer.id, 25),
            },
            (CELLS, Some(FRAME_PEERS)) if peer.name.is_none() && !peer.called => {}
            (CELLS, Some(FRAME_PEERS)) => match peers_of(&body[1..]) {
                Some(entry) => self.inbox.push(entry),
                None => self.mesh.penalise(peer.id, 25),
            },
            (CELLS, Some(FRAME_CELLS | FRAME_WANT)) => drop(self.cells.send(Raw::Frame(peer, body))),
            (CELLS, Some(FRAME_OUTCOME)) => {}
            (_, Some(FRAME_MESSAGE)) => drop(self.rounds.send(Raw::Frame(peer, body))),
            _ => self.mesh.penalise(peer.id, 25),
        }
    }
}

impl Node {
    /// Starts all threads. On return the node listens and takes part.
    ///
    /// # Errors
    /// When the chain, the record of what was signed, or the network does not allow it; nothing runs then.
    pub fn start(options: NodeOptions) -> Result<Node, NodeStartError> {
        let targets = options.targets();
        let NodeOptions { directory, genesis, minting, transport, listen, public, link, limits, store, clock, .. } =
            options;
        let disk = Arc::new(RealDisk::new(&directory.join("state"))?);
        let opened = chain_store::open(&directory, disk, &genesis, store)?;
        let OpenedChain { store, state, behind, system, finals, fell_back } = opened;
        if let Some(error) = fell_back {
            tracing::warn!(%error, "started from the older image; the next checkpoint replaces the damaged one");
        }
        let chain = Arc::new(genesis.chain);
        let genesis_hash = chain.genesis_hash;
        let vote_keys = Arc::<VoteKeys>::default();
        let candidate = minting.as_ref().and_then(|minting| state.find(&minting.account));
        if minting.is_some() && candidate.is_none() {
            tracing::warn!("the minting account is not on the chain yet: this node follows");
        }
        // On a chain that has just begun nothing can have been signed before.
        let begins = clock.now_ms() < FRESH_SLOTS * chain.parameters.slot_ms;
        let fresh = (system.height == 0 && begins) || options.first_run;
        let (signed, record) = match candidate {
            Some(_) => {
                let (file, record) = SignedFile::open(&directory, genesis_hash, fresh)?;
                (Some(file), record)
            }
            None => (None, SignedOnce::default()),
        };
        let secret = minting.as_ref().map_or(&transport, |minting| &minting.vote);
        let signing = Arc::new(Remembering::new(BlsSigning::new(&**secret, vote_keys.clone())));
        let transport_key = public_key(&transport);
        let door = Door { chain: genesis_hash, candidate, signing: signing.clone(), keys: vote_keys };
        let mesh_options =
            MeshOptions { listen, prologue: frames::prologue(&genesis_hash), secret: *transport, limits, link };
        let (mesh, mesh_handle) =
            Mesh::new(mesh_options, door).map_err(|source| NodeStartError::Listen { address: listen, source })?;
        let address = mesh_handle.address();

        let keys = Arc::new(KeyCache::new(options.key_cache_keys, Simd::best())?);
        let verdicts = Arc::new(Verdicts::new(chain.transaction_prefix, keys.clone()));
        let records = store.records();
        let block_keys = BlockKeys { prefix: chain.transaction_prefix };
        let (replica_stage, replica_handle, _) =
            replica(behind, records.clone(), store.keeper(), block_keys, Duration::from_secs(1));
        replica_handle.applied(store.last_record());
        let state: SharedState = Arc::new(RwLock::new(state));
        let system = Arc::new(system);
        let endpoint = endpoint_of(public, transport_key);
        let execution = NodeExecution::new(
            chain.clone(),
            state.clone(),
            system,
            signing.clone(),
            verdicts.clone(),
            endpoint,
            candidate,
        );
        let schedule = Schedule::of(&chain.parameters);
        let me = candidate.unwrap_or(u32::MAX);
        let mut minter = Minter::new(genesis_hash, schedule, me, execution, signing.clone(), record, clock.now_ms());
        minter.remember_finals(finals.into_iter().rev());
        if candidate.is_some() {
            for (block, height, items) in writer::kept(&directory, &genesis_hash) {
                minter.remember_items(block, height, items.into());
            }
        }
        let inbox = Arc::<Inbox<Entry>>::default();
        let status = Arc::<Status>::default();
        status.change(|live| live.stored = store.last_record());
        let ((cells, cells_in), (rounds, rounds_in), (jobs, jobs_in)) = (channel(), channel(), channel());
        let prepared: [Arc<PrepareCounters>; 2] = Default::default();
        let prepare = |place: usize, bodies: Option<Sender<Raw>>, niceness: i32, gather: Duration| Prepare {
            chain: chain.clone(),
            state: state.clone(),
            verdicts: verdicts.clone(),
            keys: keys.clone(),
            inbox: inbox.clone(),
            mesh: mesh_handle.clone(),
            records: records.clone(),
            data: directory.clone(),
            counters: prepared[place].clone(),
            snapshot_bytes_per_s: options.snapshot_bytes_per_s,
            bodies,
            niceness,
            gather,
        };
        let gather = Duration::from_millis(chain.parameters.slot_ms / GATHERING);
        let (of_cells, of_rounds) = (prepare(0, None, 5, gather), prepare(1, Some(cells.clone()), 0, Duration::ZERO));
        let data = directory.clone();
        let writer = Writer {
            directory,
            chain: genesis_hash,
            store,
            signed,
            replica: replica_handle.clone(),
            checkpoint_bytes: options.checkpoint_bytes,
            checkpoint_asked: 0,
            snapshot_blocks: options.snapshot_blocks,
            published: None,
            snapshot_written: Arc::default(),
            inbox: inbox.clone(),
        };
        let duty = Duty {
            minter,
            candidate,
            schedule,
            prefix: chain.transaction_prefix,
            clock: clock.clone(),
            inbox: inbox.clone(),
            mesh: mesh_handle.clone(),
            writer: jobs,
            prepare: rounds.clone(),
            status: status.clone(),
            bootstrap: targets,
            local: Local::default(),
        };
        let view = NodeView {
            chain,
            state,
            status: status.clone(),
            mesh: mesh_handle.clone(),
            clock,
            records,
            data,
            submit: cells.clone(),
            signing,
            prepared,
            candidate,
            transport_key,
        };
        let tell = [cells.clone(), rounds.clone()];
        let sorter = Sorter { inbox: inbox.clone(), cells, rounds, mesh: mesh_handle };
        let halt = |what: &'static str, status: Arc<Status>| {
            move |error: &dyn std::fmt::Display| {
                tracing::error!(%error, "{what} has halted; nothing is signed or becomes final here until a restart");
                status.change(|live| live.halted = Some(format!("{what}: {error}")));
            }
        };
        let (writer_halts, replica_halts) = (halt("the writer", status.clone()), halt("the replica", status));
        let writer = spawn("writer", move || writer.run(&jobs_in).inspect_err(|error| writer_halts(error)))?;
        let replica_thread = spawn("replica", move || replica_stage.run().inspect_err(|error| replica_halts(error)))?;
        let [tell_cells, tell_rounds] = tell;
        let prepare = vec![
            (tell_cells, spawn("prepare.cells", move || of_cells.run(&cells_in))?),
            (tell_rounds, spawn("prepare.rounds", move || of_rounds.run(&rounds_in))?),
        ];
        let duty = spawn("duty", move || duty.run())?;
        let mesh = spawn("mesh", move || mesh.run(|event| sorter.sort(event)))?;
        Ok(Node { view, inbox, address, duty, mesh, writer, replica: (replica_handle, replica_thread), prepare })
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
        let prepare = self.prepare.iter().any(|(_, thread)| thread.is_finished());
        prepare
            || self.duty.is_finished()
            || self.writer.is_finished()
            || self.mesh.is_finished()
            || self.replica.1.is_finished()
    }

    /// Stops: at the end of the duty that is under way, at most a slot from now, or at once. Then everything final is
    /// synced.
    ///
    /// # Errors
    /// Why the node had halted, if it had.
    pub fn stop(self, at_once: bool) -> Result<(), NodeStopError> {
        let Node { view, inbox, duty, mesh, writer, replica, prepare, .. } = self;
        inbox.push_urgent(Entry::Stop(at_once));
        let duty = duty.join();
        view.mesh.stop();
        let mesh = mesh.join();
        let mut prepared = true;
        for (tell, thread) in prepare {
            // Others may still hold what leads to these threads: they are told.
            let _ = tell.send(Raw::Stop);
            prepared &= thread.join().is_ok();
        }
        let writer = writer.join();
        drop(replica.0);
        let replica = replica.1.join();
        duty.map_err(|_| NodeStopError::Panic("duty"))?;
        mesh.map_err(|_| NodeStopError::Panic("mesh"))??;
        if !prepared {
            return Err(NodeStopError::Panic("prepare"));
        }
        writer.map_err(|_| NodeStopError::Panic("writer"))??;
        replica.map_err(|_| NodeStopError::Panic("replica"))??;
        Ok(())
    }
}
