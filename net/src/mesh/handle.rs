//! What crosses between the mesh's thread and others: commands in, events out, counters.

use super::budget::{Ledger, Share};
use super::channel::TransportKey;
use super::commands::{Command, Commands};
use super::frames::CLASSES;
use super::nets::Net;
use super::standing::{STANDINGS, Standing};
use super::whom::{Names, PeerId, Target, To};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What is known of whoever speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Which connection it speaks on.
    pub id: PeerId,
    /// The name that its hello has proved; none for a guest.
    pub name: Option<u32>,
    /// Whether we have called it, and so know its key.
    pub called: bool,
    /// What it was to us when it said so.
    pub standing: Standing,
    /// Where it comes from.
    pub net: Net,
}

impl PeerInfo {
    /// Who has it, as far as its address says: all of a network (of IPv6, a /48) are one, on this computer each connection is its own.
    pub fn holder(&self) -> u64 {
        self.net.wide().holder(self.id.0)
    }
}

/// What the smallest frame takes in queues, beside its bytes.
const BODY_BYTES: usize = 512;

/// What a frame becomes would not fit the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes more do not fit what is for {}", share.word())]
pub struct OverBudget {
    /// What was to be charged.
    pub bytes: usize,
    /// The share that is full.
    pub share: Share,
}

/// A frame's body. While it is held, its bytes count against its sender and its sender's share of the budget.
pub struct Body {
    bytes: Vec<u8>,
    weight: usize,
    charged: Option<Charged>,
}

/// Whom a body counts against.
struct Charged {
    share: Share,
    /// What counts against its sender; nothing once it is set aside.
    pending: Option<Arc<AtomicUsize>>,
    shared: Arc<Shared>,
}

impl Charged {
    fn add(&self, bytes: usize) {
        if let Some(pending) = &self.pending {
            pending.fetch_add(bytes, Ordering::Relaxed);
        }
        self.shared.ledger.begin_pending(self.share, bytes);
    }
}

impl Body {
    pub(super) fn new(bytes: Vec<u8>, share: Share, pending: &Arc<AtomicUsize>, shared: &Arc<Shared>) -> Body {
        let weight = bytes.capacity() + BODY_BYTES;
        let charged = Charged { share, pending: Some(pending.clone()), shared: shared.clone() };
        charged.add(weight);
        Body { bytes, weight, charged: Some(charged) }
    }

    /// Of nobody's: it counts against no one. For whoever simulates a network.
    pub fn of_nobody(bytes: Vec<u8>) -> Body {
        let weight = bytes.capacity() + BODY_BYTES;
        Body { bytes, weight, charged: None }
    }

    /// Charges what it is about to become: a message can be many times as long once it is decoded. Say so before, and
    /// hold the body as long as what it became.
    ///
    /// # Errors
    /// When it does not fit, and others of its share wait to be worked off: then it should not be decoded.
    pub fn charge(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if let Some(charged) = &self.charged {
            let Charged { share, shared, .. } = charged;
            if !shared.ledger.may_become(*share, self.weight, bytes) {
                shared.counters.over_budget.fetch_add(1, Ordering::Relaxed);
                return Err(OverBudget { bytes, share: *share });
            }
            charged.add(bytes);
        }
        self.weight += bytes;
        Ok(())
    }

    /// Counts it among long answers from now on, and no more against its sender: what is worked off when there is time for it
    /// is not to keep what its sender says next from being read.
    ///
    /// # Errors
    /// When it does not fit there, and others wait there: it counts as before.
    pub fn set_aside(&mut self) -> Result<(), OverBudget> {
        let Some(charged) = &mut self.charged else { return Ok(()) };
        let (ledger, bytes) = (&charged.shared.ledger, self.weight);
        if charged.share != Share::Answers {
            if !ledger.may_become(Share::Answers, 0, bytes) {
                charged.shared.counters.over_budget.fetch_add(1, Ordering::Relaxed);
                return Err(OverBudget { bytes, share: Share::Answers });
            }
            ledger.begin_pending(Share::Answers, bytes);
            ledger.end_pending(charged.share, bytes);
            charged.share = Share::Answers;
        }
        if let Some(pending) = charged.pending.take() {
            pending.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What it counts for.
    pub fn weight(&self) -> usize {
        self.weight
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
        let Some(Charged { share, pending, shared }) = &self.charged else { return };
        if let Some(pending) = pending {
            let of_peer = pending.fetch_sub(self.weight, Ordering::Relaxed);
            assert!(self.weight <= of_peer, "more is worked off of a peer than it has been charged for");
        }
        shared.ledger.end_pending(*share, self.weight);
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
    /// Calls refused: too many from there.
    pub refused: AtomicU64,
    /// Unfinished handshakes that made room for another.
    pub evicted: AtomicU64,
    /// Peers that made room for another's place.
    pub displaced: AtomicU64,
    /// Connections that ended since their share of the budget was full.
    pub overfull: AtomicU64,
    /// Frames that were not decoded since what they become did not fit the budget.
    pub over_budget: AtomicU64,
    /// Bytes of frames that nobody had asked for, thrown away as they came.
    pub passed_over: AtomicU64,
    /// Times that work of a handshake had to wait for the rate of its network or of all.
    pub delayed: AtomicU64,
    /// Handshakes that failed.
    pub handshakes_failed: AtomicU64,
    /// Hellos that the door refused.
    pub turned_away: AtomicU64,
    /// Signatures in hellos that were looked at.
    pub proofs: AtomicU64,
    /// Peers with a name, now.
    pub members: AtomicU64,
    /// Peers without a name, now.
    pub guests: AtomicU64,
    /// Peers by standing, now.
    pub standings: [AtomicU64; STANDINGS],
}

pub(super) struct Shared {
    commands: Mutex<Commands>,
    waker: mio::Waker,
    address: Option<SocketAddr>,
    pub(super) sleeping: AtomicBool,
    pub(super) ledger: Ledger,
    pub(super) counters: MeshCounters,
}

const UNPOISONED: &str = "nothing panics while it holds the commands";

impl Shared {
    pub(super) fn new(waker: mio::Waker, address: Option<SocketAddr>, ledger: Ledger) -> Shared {
        Shared {
            commands: Mutex::default(),
            waker,
            address,
            sleeping: AtomicBool::new(false),
            ledger,
            counters: MeshCounters::default(),
        }
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.commands.lock().expect(UNPOISONED).is_empty()
    }

    pub(super) fn take_commands(&self) -> Vec<Command> {
        self.commands.lock().expect(UNPOISONED).take()
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
        {
            let mut waiting = self.shared.commands.lock().expect(UNPOISONED);
            for command in commands {
                let dropped = waiting.add(command, self.shared.ledger.ceiling_of_commands());
                self.shared.counters.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            }
        }
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

    /// Sends a question. So many answers, each perhaps longer than who is asked may say unasked, are awaited for a
    /// minute; of all answers together only as much comes as their share of the budget has room for.
    pub fn ask(&self, to: To, class: u8, body: Arc<[u8]>, answers: u32) {
        self.tell([Command::Ask(to, class, body, answers)]);
    }

    /// Which names are good for something when the standings are said next; at first all that can be proved are.
    pub fn set_names(&self, names: Names) {
        self.tell([Command::Names(names)]);
    }

    /// What each name is to us from now on, to be said at every height; a name that is not here is
    /// [`Standing::Named`] if it is good for something, else a guest's.
    pub fn set_standings(&self, standings: BTreeMap<u32, Standing>) {
        self.tell([Command::Standings(standings)]);
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
        self.shared.ledger.pending_total()
    }

    /// What is held of the budget.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }
}
