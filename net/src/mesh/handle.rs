//! What crosses between the mesh's thread and others: commands in, events out, counters.

use super::channel::TransportKey;
use super::frames::CLASSES;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// One connection of the mesh; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// What is known of whoever speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Which connection it speaks on.
    pub id: PeerId,
    /// The name that its hello has proved; none for a guest.
    pub name: Option<u32>,
    /// Whether we have called it, and so know its key.
    pub called: bool,
}

/// Whom to keep a connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its static key: whoever else answers is not wanted.
    pub key: TransportKey,
    /// Where it listens.
    pub address: SocketAddr,
}

/// To whom a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Whoever has this name, if there is a connection.
    Name(u32),
    /// Whoever is at the end of this connection, if it still is.
    Peer(PeerId),
    /// So many peers, whoever they are.
    Some(usize),
}

/// What the smallest frame takes in queues, beside its bytes.
const BODY_BYTES: usize = 512;

/// A frame's body. While it is held, its bytes count against its sender's budget.
pub struct Body {
    bytes: Vec<u8>,
    pending: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Body {
    pub(super) fn new(bytes: Vec<u8>, pending: &Arc<AtomicUsize>, shared: &Arc<Shared>) -> Body {
        let weight = bytes.len() + BODY_BYTES;
        pending.fetch_add(weight, Ordering::Relaxed);
        shared.pending.fetch_add(weight, Ordering::Relaxed);
        Body { bytes, pending: pending.clone(), shared: shared.clone() }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let weight = self.bytes.len() + BODY_BYTES;
        let of_peer = self.pending.fetch_sub(weight, Ordering::Relaxed);
        let of_all = self.shared.pending.fetch_sub(weight, Ordering::Relaxed);
        assert!(weight <= of_peer && weight <= of_all, "more is worked off of a peer than it has been charged for");
    }
}

/// What the mesh tells its caller, in the order in which it happens.
pub enum Event {
    /// A peer has its place: who, its static key, where it is.
    Opened(PeerInfo, TransportKey, SocketAddr),
    /// It says something.
    Frame(PeerInfo, u8, Body),
    /// It is gone, and why.
    Closed(PeerInfo, &'static str),
    /// Someone's hello was refused, and why.
    TurnedAway(SocketAddr, String),
}

/// What the mesh has done; read at any time.
#[derive(Debug, Default)]
pub struct MeshCounters {
    /// Bytes sent, encryption included.
    pub sent: AtomicU64,
    /// Bytes received, encryption included.
    pub received: AtomicU64,
    /// Frames received, by class.
    pub frames: [AtomicU64; CLASSES],
    /// Bytes of the bodies of these frames, by class.
    pub frame_bytes: [AtomicU64; CLASSES],
    /// Frames for names without a connection.
    pub unsent: AtomicU64,
    /// Bytes dropped since too much waited.
    pub dropped: AtomicU64,
    /// Calls refused: banned, or too many from there.
    pub refused: AtomicU64,
    /// Unfinished handshakes that made room.
    pub evicted: AtomicU64,
    /// Handshakes that failed.
    pub handshakes_failed: AtomicU64,
    /// Hellos that the door refused.
    pub turned_away: AtomicU64,
    /// Peers with a name, now.
    pub members: AtomicU64,
    /// Peers without a name, now.
    pub guests: AtomicU64,
}

pub(super) enum Command {
    Send(To, u8, Arc<[u8]>),
    Targets(Vec<Target>),
    Penalise(PeerId, u32),
    CallAgain,
    Stop,
}

pub(super) struct Shared {
    commands: Mutex<Vec<Command>>,
    waker: mio::Waker,
    address: Option<SocketAddr>,
    pub(super) sleeping: AtomicBool,
    pub(super) pending: AtomicUsize,
    pub(super) counters: MeshCounters,
}

const UNPOISONED: &str = "nothing panics while it holds the commands";

impl Shared {
    pub(super) fn new(waker: mio::Waker, address: Option<SocketAddr>) -> Shared {
        Shared {
            commands: Mutex::default(),
            waker,
            address,
            sleeping: AtomicBool::new(false),
            pending: AtomicUsize::new(0),
            counters: MeshCounters::default(),
        }
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.commands.lock().expect(UNPOISONED).is_empty()
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock().expect(UNPOISONED))
    }
}

/// Tells the mesh what to do, from any thread.
#[derive(Clone)]
pub struct MeshHandle {
    shared: Arc<Shared>,
}

impl MeshHandle {
    pub(super) fn new(shared: Arc<Shared>) -> MeshHandle {
        MeshHandle { shared }
    }

    fn tell(&self, commands: impl IntoIterator<Item = Command>) {
        self.shared.commands.lock().expect(UNPOISONED).extend(commands);
        // Pairs with the loop's look at the commands after it has said that it sleeps.
        if self.shared.sleeping.swap(false, Ordering::SeqCst) {
            // A failed wake only delays: the loop looks by itself every few milliseconds.
            let _ = self.shared.waker.wake();
        }
    }

    /// Sends frames, in this order. Whoever has no connection misses them.
    pub fn send_all(&self, frames: impl IntoIterator<Item = (To, u8, Arc<[u8]>)>) {
        self.tell(frames.into_iter().map(|(to, class, body)| Command::Send(to, class, body)));
    }

    /// Sends one frame.
    pub fn send(&self, to: To, class: u8, body: Arc<[u8]>) {
        self.tell([Command::Send(to, class, body)]);
    }

    /// Whom to keep connections to from now on. Others stay while they last.
    pub fn set_targets(&self, targets: Vec<Target>) {
        self.tell([Command::Targets(targets)]);
    }

    /// Books points against a peer; a hundred are a ban.
    pub fn penalise(&self, peer: PeerId, points: u32) {
        self.tell([Command::Penalise(peer, points)]);
    }

    /// Ends all connections and makes new ones: our hello says something new.
    pub fn call_again(&self) {
        self.tell([Command::CallAgain]);
    }

    /// Ends the loop.
    pub fn stop(&self) {
        self.tell([Command::Stop]);
    }

    /// Where the mesh listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.address
    }

    /// What it has done.
    pub fn counters(&self) -> &MeshCounters {
        &self.shared.counters
    }

    /// Bytes of frames that nobody has worked off.
    pub fn pending(&self) -> usize {
        self.shared.pending.load(Ordering::Relaxed)
    }
}
