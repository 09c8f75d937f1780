//! A running node: its threads, from an open chain to the last sync.

use super::door::{Answer, Door};
use super::duty::{Duty, Hands};
use super::entry::{Entry, Job, Promise, Raw};
use super::gate::Penalise;
use super::inbox::Inbox;
pub use super::opening::{MintingKeys, NodeOptions, NodeStartError};
use super::opening::{Opening, Parts, Shared, Signer, Waiting};
use super::prepare::Gathering;
use super::serve::{Questions, Serve};
use super::topology::Topology;
use super::view::{NodeView, Submit};
use super::writer::WriterError;
use crate::keep::replica::{ReplicaError, Snapshots, StateReader};
use crate::peer::frames;
use crate::setup::clock::Stopwatch;
use crate::setup::names::Found;
use dynemix_net::mesh::{Mesh, MeshHandle, MeshOptions, public_key};
use dynemix_storage::StoreError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

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
    replica: (Snapshots, JoinHandle<Result<(), ReplicaError>>),
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

/// Listens, behind a door that knows this signer.
fn network(options: &NodeOptions, signer: &Signer) -> Result<(Mesh<Door>, MeshHandle), NodeStartError> {
    let &NodeOptions { listen, limits, link, .. } = options;
    let chain = options.genesis.chain.genesis_hash;
    let door = Door { chain, candidate: signer.candidate, signing: signer.signing.clone(), keys: signer.keys.clone() };
    let mesh_options =
        MeshOptions { listen, prologue: frames::prologue(&chain), secret: *options.transport, limits, link };
    Mesh::new(mesh_options, door).map_err(|source| NodeStartError::Listen { address: listen, source })
}

impl Shared {
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
        let (bodies, input) = (self.bodies(), waiting.bodies.clone());
        threads.push((waiting.bodies.clone(), spawn("bodies", move || bodies.run(&input))?));
        let (rounds, input) = (self.rounds(waiting.bodies.clone()), waiting.rounds.clone());
        threads.push((waiting.rounds.clone(), spawn("rounds", move || rounds.run(&input))?));
        Ok(threads)
    }

    /// What its effects are carried out with: things are made durable by `writer` and `promises`.
    fn hands(
        &self,
        options: &NodeOptions,
        (mesh, writer, promises): (&MeshHandle, Sender<Job>, Sender<Promise>),
        waiting: &Waiting,
    ) -> Hands {
        Hands {
            clock: options.clock.clone(),
            inbox: self.inbox.clone(),
            mesh: mesh.clone(),
            writer,
            promises,
            gate: self.gate.clone(),
            rounds: waiting.rounds.clone(),
            questions: waiting.questions.clone(),
            status: self.status.clone(),
        }
    }

    fn view(
        &self,
        of: (&NodeOptions, &Topology),
        mesh: &MeshHandle,
        submit: Submit,
        accounts: StateReader,
    ) -> NodeView {
        let (options, topology) = of;
        NodeView {
            chain: self.chain.clone(),
            accounts,
            status: self.status.clone(),
            mesh: mesh.clone(),
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

impl Node {
    /// Starts all threads. On return the node listens and takes part.
    ///
    /// # Errors
    /// When the chain, the record of what was signed, or the network does not allow it; nothing runs then.
    pub fn start(options: NodeOptions) -> Result<Node, NodeStartError> {
        let opening = Opening::of(options)?;
        let (mesh, mesh_handle) = network(&opening.options, &opening.signer)?;
        let booked_with = mesh_handle.clone();
        let penalise: Penalise = Box::new(move |peer, points| booked_with.penalise(peer, points));
        let parts = opening.assemble(&Stopwatch::start(), penalise)?;
        let Parts { options, shared, waiting, core, writer, promises: keeps, replica, topology } = parts;
        let (replica_stage, replica_handle, accounts) = replica;
        let ((jobs, jobs_in), (promises, promises_in)) = (channel(), channel());
        let serve = Serve { answers: shared.answers(&options), mesh: mesh_handle.clone(), niceness: 10 };
        let duty = Duty::new(core, shared.hands(&options, (&mesh_handle, jobs, promises), &waiting));
        let answering = mesh_handle.clone();
        let answer: Answer = Arc::new(move |(to, class, frame)| answering.send(to, class, frame));
        let submit = Submit::new(waiting.cells.clone(), shared.arena.clone(), answer.clone());
        let view = shared.view((&options, &topology), &mesh_handle, submit, accounts);
        let sorter = shared.sorter(&waiting, answer);
        let verifying = shared.verifying(&options, &waiting)?;
        let questions = waiting.questions;
        let questions_in = questions.clone();
        let (writer_halts, replica_halts) = (shared.halt("the writer"), shared.halt("the replica"));
        let promises_halt = shared.halt("the keeper of accepted transactions");
        Ok(Node {
            view,
            inbox: shared.inbox,
            address: mesh_handle.address(),
            writer: spawn("writer", move || writer.run(&jobs_in).inspect_err(|error| writer_halts(error)))?,
            promises: spawn("promises", move || keeps.run(&promises_in).inspect_err(|error| promises_halt(error)))?,
            replica: (
                Snapshots::new(replica_handle),
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

    /// From now on it calls these peers of the configuration, and is reached there itself.
    pub fn name(&self, found: Found) {
        self.inbox.push_own(Entry::Named(found));
    }

    /// Where it is asked for a snapshot.
    pub fn snapshots(&self) -> Snapshots {
        self.replica.0.clone()
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
        replica.0.end();
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
