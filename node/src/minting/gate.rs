//! The node's rules of intake, shared by its threads: who stands how at this height, what was asked for, and who is
//! charged for what. Deciding is [`crate::intake`]'s.

use super::places::Places;
use super::room::Room;
use crate::intake::asked::{Sifted, Thing, Whom};
use crate::intake::duties::{Duties, DutyTable};
use crate::intake::glance::Glance;
use crate::intake::outcasts::Outcasts;
use crate::intake::price::Failure;
use crate::intake::queue::Source;
use crate::intake::rules::{Rules, Speaker, Verdict};
use crate::intake::vain::Vain;
use crate::peer::paths::Place;
use crate::setup::clock::Stopwatch;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::{BAN_POINTS, PeerId, PeerInfo, To};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

const UNPOISONED: &str = "nothing panics while it holds the rules of intake";

/// Who is asked when something goes this way.
fn whom(to: To) -> Whom {
    match to {
        To::Name(name) => Whom::Name(name),
        To::Peer(PeerId(connection)) => Whom::Connection(connection),
        To::Some(_) => Whom::Anyone,
    }
}

pub(super) fn speaker(peer: PeerInfo) -> Speaker {
    Speaker { name: peer.name, connection: peer.id.0, called: peer.called }
}

/// Books points with whoever keeps the connections, so that it ends those of whom has too many.
pub type Penalise = Box<dyn Fn(PeerId, u32) + Send + Sync>;

/// The rules, and what they look at.
pub struct Gate {
    rules: Mutex<Rules>,
    vain: Mutex<Vain>,
    outcasts: Mutex<Outcasts>,
    duties: RwLock<Arc<DutyTable>>,
    /// Shard-blocks of the pending height that consensus holds.
    held: Mutex<BTreeSet<Hash>>,
    /// How much this node takes of the next height, as a minter.
    room: Mutex<Room>,
    /// For own users' transactions.
    places: Arc<Places>,
    watch: Stopwatch,
    penalise: Penalise,
    charged: AtomicU64,
}

impl Gate {
    /// As of these duties, on a chain with such slots. Points fade by this watch, and are booked by `penalise` too.
    pub fn new(duties: DutyTable, slot_ms: u64, watch: Stopwatch, penalise: Penalise) -> Gate {
        Gate {
            rules: Mutex::new(Rules::new(slot_ms)),
            vain: Mutex::default(),
            outcasts: Mutex::default(),
            duties: RwLock::new(Arc::new(duties)),
            held: Mutex::default(),
            room: Mutex::new(Room::new(slot_ms)),
            places: Places::unbounded(),
            watch,
            penalise,
            charged: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        self.watch.passed_ms()
    }

    /// Everybody's duties at the pending height.
    pub fn duties(&self) -> Arc<DutyTable> {
        self.duties.read().expect(UNPOISONED).clone()
    }

    /// A height is final: from now on these are the duties.
    pub fn begin_height(&self, duties: DutyTable) {
        let mut now = self.duties.write().expect(UNPOISONED);
        let (before, after) = (now.pending(), duties.pending());
        assert!(before <= after, "the duties of height {after} follow those of {before}");
        *now = Arc::new(duties);
        drop(now);
        self.rules.lock().expect(UNPOISONED).asked.begin_height(after);
        self.held.lock().expect(UNPOISONED).clear();
    }

    /// Consensus holds this shard-block of the pending height: nobody verifies a copy of it any more.
    pub fn note_held(&self, block: Hash) {
        self.held.lock().expect(UNPOISONED).insert(block);
    }

    /// Whether consensus holds this shard-block.
    pub fn holds(&self, block: &Hash) -> bool {
        self.held.lock().expect(UNPOISONED).contains(block)
    }

    /// How much this node takes as a minter, as it measures and tells it.
    pub fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect(UNPOISONED)
    }

    /// Places for own users' transactions whose turn has come.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Whether it is listened to how many transactions a peer takes of a height; whoever may not say so has paid then.
    pub fn hears_room(&self, peer: PeerInfo, height: u64, bytes: usize) -> bool {
        let duties = self.duties();
        let verdict = self.rules.lock().expect(UNPOISONED).room(&duties, speaker(peer), height, bytes);
        self.follows(peer, verdict, bytes)
    }

    /// The duties of a peer.
    pub fn duties_of(&self, peer: PeerInfo) -> Duties {
        self.duties().of_name(peer.name)
    }

    /// The row that a peer's messages wait in.
    pub fn source(&self, peer: PeerInfo) -> Source {
        Source(self.duties_of(peer).rank(), peer.id.0)
    }

    /// A message goes out: what it asks for is awaited.
    pub fn asks(&self, to: To, message: &Message) {
        self.rules.lock().expect(UNPOISONED).asked.note(whom(to), message, self.now_ms());
    }

    /// Somebody is asked for proofs of a shard-block: its answer is awaited.
    pub fn asks_paths(&self, to: To, place: Place) {
        self.rules.lock().expect(UNPOISONED).asked.note_paths(whom(to), place, self.now_ms());
    }

    /// Whether this peer owes such an answer; it owes one less then.
    pub fn awaits_paths(&self, peer: PeerInfo, (height, shard): Place) -> bool {
        let whoms = [speaker(peer).whom(), Whom::Connection(peer.id.0)];
        let mut rules = self.rules.lock().expect(UNPOISONED);
        rules.asked.answer(Thing::Paths(height, shard), &whoms, self.now_ms())
    }

    /// Whether a message is looked at; whoever sent what is not wanted has paid then.
    pub fn hears(&self, peer: PeerInfo, glance: &Glance, bytes: usize) -> bool {
        let duties = self.duties();
        let mut rules = self.rules.lock().expect(UNPOISONED);
        let verdict = rules.hear(&duties, speaker(peer), glance, bytes, self.now_ms());
        drop(rules);
        self.follows(peer, verdict, bytes)
    }

    /// Does what a verdict on a frame of so many bytes says; whether it is looked at.
    fn follows(&self, peer: PeerInfo, verdict: Verdict, bytes: usize) -> bool {
        match verdict {
            Verdict::Take => true,
            Verdict::Hint => self.in_vain(peer, bytes),
            Verdict::Pass => {
                self.in_vain(peer, bytes);
                false
            }
            Verdict::Charge(failure) => {
                self.charge(peer, failure);
                false
            }
        }
    }

    /// A frame of so many bytes comes to nothing, and nobody is at fault: not for a few of them. False if it is too many:
    /// what there is of it is not looked at either.
    pub fn in_vain(&self, peer: PeerInfo, bytes: usize) -> bool {
        let too_much = self.vain.lock().expect(UNPOISONED).is_too_much(speaker(peer).whom(), self.now_ms());
        if too_much {
            self.charge(peer, Failure::Unwanted(bytes));
        }
        !too_much
    }

    /// Whether whoever this is has been thrown out: what it has sent before is not worked off.
    pub fn is_out(&self, peer: PeerInfo) -> bool {
        let whoms = [speaker(peer).whom(), Whom::Connection(peer.id.0)];
        self.outcasts.lock().expect(UNPOISONED).is_out(&whoms, self.now_ms())
    }

    /// A minter calls a set of this root its own.
    pub fn said_root(&self, peer: PeerInfo, height: u64, root: Hash) {
        let pending = self.duties().pending();
        if let Some(name) = peer.name.filter(|_| (pending..=pending + 1).contains(&height)) {
            self.rules.lock().expect(UNPOISONED).asked.said_root(name, height, root);
        }
    }

    /// What of these items this peer was asked for.
    pub fn sift(&self, peer: PeerInfo, height: u64, items: Vec<Item>) -> Sifted {
        let name = peer.name.unwrap_or(u32::MAX);
        self.rules.lock().expect(UNPOISONED).asked.sift(name, height, items)
    }

    /// Books what a failure costs.
    pub fn charge(&self, peer: PeerInfo, failure: Failure) {
        tracing::debug!(name = peer.name, peer = peer.id.0, ?failure, points = failure.points(), "charged");
        self.book(peer.name, peer.id, failure.points());
    }

    /// Books points with the mesh: whoever has too many loses its connection, and does not come back for a while.
    pub fn book(&self, name: Option<u32>, peer: PeerId, points: u32) {
        assert!(points > 0, "what costs nothing is not booked");
        self.charged.fetch_add(1, Ordering::Relaxed);
        let connection = Whom::Connection(peer.0);
        let whoms = [name.map_or(connection, Whom::Name), connection];
        let whoms = &whoms[usize::from(name.is_none())..];
        let out = self.outcasts.lock().expect(UNPOISONED).book(whoms, points, self.now_ms());
        // The mesh reads its clock later, and points have faded a little by then: whoever is out for us, so that nothing
        // more of it is looked at, is out there as well.
        let points = if out { points.max(BAN_POINTS) } else { points };
        (self.penalise)(peer, points);
    }

    /// How often somebody was charged.
    pub fn charged(&self) -> u64 {
        self.charged.load(Ordering::Relaxed)
    }
}
