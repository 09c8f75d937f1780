//! A minter that lies: it has a stake, and so a name, and says one kind of false or useless thing to every node as fast
//! as its line carries it. What it costs the others is what a run beside it and one without it differ in.

use super::layout::{Devnet, secret};
use super::lies::{Liar, LieKind};
use crate::peer::frames::{PeerFrameKind, hello, prologue, read_hello};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::messages::codec::decode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{
    Claim, Doorkeeper, Event, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerId, Standing, To, TransportKey,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often more is said.
const TICK: Duration = Duration::from_millis(20);
/// Bytes that wait to be sent to one node: what a tick brings, many times over.
const WAITING_BYTES: usize = 4 << 20;

/// What is said, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct FloodOptions {
    /// Kind of what is said.
    pub kind: LieKind,
    /// Bytes a second to each node.
    pub bytes_per_s: u64,
}

/// What became of the liar.
#[derive(Clone, Debug, Serialize)]
pub struct FloodShown {
    /// Kind of what was said.
    pub kind: &'static str,
    /// Frames that were handed to the line, to all nodes.
    pub frames: u64,
    /// Connections to nodes that were ended, by them or by this side.
    pub closed: u64,
    /// Milliseconds from the first frame until no node let it speak any more; none if some still do.
    pub gone_after_ms: Option<u64>,
}

/// The liar's door: it says truly who it is, and lets in whoever it has called.
struct FloodDoor {
    chain: Hash,
    candidate: u32,
    signing: Arc<BlsSigning>,
}

impl Doorkeeper for FloodDoor {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        let sign = |digest: &Hash| self.signing.sign(digest);
        hello(&self.chain, handshake_hash, Some((self.candidate, sign)))
    }

    fn read(&self, hello: &[u8]) -> Result<Claim, String> {
        read_hello(&self.chain, hello).map(|_| Claim::Guest).map_err(|error| error.to_string())
    }

    fn prove(&self, _: &[u8], _: u32, _: &TransportKey, _: &[u8; 32]) -> bool {
        false
    }
}

enum Heard {
    Opened(PeerId),
    Closed(PeerId),
    /// A height that a node is at.
    Pending(u64),
    /// A height that is final, and its block.
    Final(u64, Hash),
}

/// A liar at work.
pub struct Flood {
    kind: LieKind,
    mesh: MeshHandle,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    frames: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    gone: Receiver<u64>,
}

impl Flood {
    /// Begins to lie to all nodes of a devnet that was made with a place for it.
    ///
    /// # Errors
    /// When the system refuses a socket or a thread.
    pub fn start(devnet: &Devnet, options: FloodOptions) -> io::Result<Flood> {
        let genesis = devnet.genesis().genesis().expect("made by this program");
        let number = u64::from(devnet.shape.nodes);
        let candidate = genesis.minters.last().map_or(0, |minter| minter.account);
        let signing = Arc::new(BlsSigning::new(&secret("vote", number), Arc::default()));
        let chain = genesis.chain.genesis_hash;
        let door = FloodDoor { chain, candidate, signing: signing.clone() };
        let nodes = u64::from(devnet.shape.nodes);
        let mut limits = MeshLimits::default().of_caller();
        limits.of_mut(Standing::Called).outgoing_max = [WAITING_BYTES; 4];
        // The line is one for all connections.
        let link = LinkShape { rate_bytes: Some(options.bytes_per_s * nodes), ..LinkShape::default() };
        let secret = secret("transport", number);
        let options_of_mesh = MeshOptions { listen: None, prologue: prologue(&chain), secret, limits, link };
        let (mesh, handle) = Mesh::new(options_of_mesh, door)?;
        handle.set_targets((0..devnet.shape.nodes).map(|node| devnet.target(node)).collect());
        let (tell, heard) = channel();
        let listening = std::thread::Builder::new().name("flood.mesh".into()).spawn(move || {
            // An event queue that fails ends the liar, and nothing else.
            let _ = mesh.run(|event| {
                // Whoever listened has gone.
                let _ = heard_of(&event).is_none_or(|heard| tell.send(heard).is_ok());
            });
        })?;
        let (stop, frames, closed) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::default());
        let (tell_gone, gone) = channel();
        let mut work = Work {
            liar: Liar::new(&genesis, candidate, devnet, &signing),
            options,
            mesh: handle.clone(),
            heard,
            open: BTreeMap::new(),
            begun: None,
            stop: stop.clone(),
            frames: Arc::clone(&frames),
            closed: Arc::clone(&closed),
        };
        let lying = std::thread::Builder::new().name("flood".into()).spawn(move || {
            work.run(|after_ms| {
                // Whoever wanted to know has gone.
                let _ = tell_gone.send(after_ms);
            });
        })?;
        let threads = vec![listening, lying];
        Ok(Flood { kind: options.kind, mesh: handle, stop, threads, frames, closed, gone })
    }

    /// Says nothing more; waits for nothing, since whoever watches a network goes on with that.
    pub fn hush(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.mesh.stop();
    }

    /// Ends it, and says what became of it.
    pub fn stop(mut self) -> FloodShown {
        self.end();
        assert!(self.threads.is_empty(), "who has stopped says nothing more");
        FloodShown {
            kind: self.kind.name(),
            frames: self.frames.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
            gone_after_ms: self.gone.try_iter().last(),
        }
    }

    fn end(&mut self) {
        self.hush();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}

fn heard_of(event: &Event) -> Option<Heard> {
    match event {
        Event::Opened(peer, ..) => Some(Heard::Opened(peer.id)),
        Event::Closed(peer, _) => Some(Heard::Closed(peer.id)),
        Event::Frame(_, _, body) => match PeerFrameKind::split(body) {
            Some((PeerFrameKind::Message, bytes)) => match decode(bytes, &Nobody) {
                Ok(Message::WantFinal(height) | Message::Have { height, .. }) => Some(Heard::Pending(height)),
                Ok(Message::Final(decided, _)) => Some(Heard::Final(decided.value.height, decided.hash)),
                _ => None,
            },
            _ => None,
        },
        Event::TurnedAway(..) => None,
    }
}

struct Work {
    liar: Liar,
    options: FloodOptions,
    mesh: MeshHandle,
    heard: Receiver<Heard>,
    /// Connections that are open, and what each may still be sent in this tick, bytes.
    open: BTreeMap<PeerId, u64>,
    begun: Option<Instant>,
    stop: Arc<AtomicBool>,
    frames: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
}

impl Work {
    /// Lies until told to stop; `gone` hears when no node listens any more.
    fn run(&mut self, gone: impl Fn(u64)) {
        while !self.stop.load(Ordering::Relaxed) {
            let tick = Instant::now();
            loop {
                match self.heard.try_recv() {
                    Ok(Heard::Opened(peer)) => drop(self.open.insert(peer, 0)),
                    Ok(Heard::Closed(peer)) => {
                        self.closed.fetch_add(1, Ordering::Relaxed);
                        self.open.remove(&peer);
                        if let Some(begun) = self.begun.filter(|_| self.open.is_empty()) {
                            gone(begun.elapsed().as_millis() as u64);
                        }
                    }
                    Ok(Heard::Pending(height)) => self.liar.pending = self.liar.pending.max(height),
                    Ok(Heard::Final(height, block)) => self.liar.follow(height, block),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.say();
            std::thread::sleep(TICK.saturating_sub(tick.elapsed()));
        }
    }

    fn say(&mut self) {
        let share = self.options.bytes_per_s * TICK.as_millis() as u64 / 1_000;
        let mut said = Vec::new();
        for (&peer, left) in &mut self.open {
            *left += share;
            while *left > 0 {
                let (class, frame) = self.liar.lie(self.options.kind);
                *left = left.saturating_sub(frame.len() as u64);
                said.push((To::Peer(peer), class, frame.into()));
            }
        }
        if !said.is_empty() {
            self.begun.get_or_insert_with(Instant::now);
        }
        self.frames.fetch_add(said.len() as u64, Ordering::Relaxed);
        self.mesh.send_all(said);
    }
}
