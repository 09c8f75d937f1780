//! The node's rules of intake, shared by its threads: who stands how at this height, what was asked for, and who is
//! charged for what. Deciding is [`crate::intake`]'s.

use crate::intake::asked::{Sifted, Whom};
use crate::intake::glance::Glance;
use crate::intake::price::Failure;
use crate::intake::queue::Source;
use crate::intake::rules::{Rules, Speaker, Verdict};
use crate::intake::standing::{Standing, Standings};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, To};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

const UNPOISONED: &str = "nothing panics while it holds the rules of intake";

/// Who is asked when something goes this way.
fn whom(to: To) -> Whom {
    match to {
        To::Name(name) => Whom::Name(name),
        To::Peer(PeerId(connection)) => Whom::Connection(connection),
        To::Some(_) => Whom::Anyone,
    }
}

fn speaker(peer: PeerInfo) -> Speaker {
    Speaker { name: peer.name, connection: peer.id.0, called: peer.called }
}

/// The rules, and what they look at.
pub struct Gate {
    rules: Mutex<Rules>,
    standings: RwLock<Arc<Standings>>,
    begun: Instant,
    mesh: MeshHandle,
    charged: AtomicU64,
}

impl Gate {
    /// As of these standings; points are booked with this mesh.
    pub fn new(standings: Standings, mesh: MeshHandle) -> Gate {
        Gate {
            rules: Mutex::default(),
            standings: RwLock::new(Arc::new(standings)),
            begun: Instant::now(),
            mesh,
            charged: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Everybody's standing at the pending height.
    pub fn standings(&self) -> Arc<Standings> {
        self.standings.read().expect(UNPOISONED).clone()
    }

    /// A height is final: from now on these stand as they do.
    pub fn begin_height(&self, standings: Standings) {
        let mut now = self.standings.write().expect(UNPOISONED);
        let (before, after) = (now.pending(), standings.pending());
        assert!(before <= after, "the standings of height {after} follow those of {before}");
        *now = Arc::new(standings);
    }

    /// The standing of a peer.
    pub fn standing(&self, peer: PeerInfo) -> Standing {
        self.standings().of_name(peer.name)
    }

    /// The row that a peer's messages wait in.
    pub fn source(&self, peer: PeerInfo) -> Source {
        Source(self.standing(peer).rank(), peer.id.0)
    }

    /// A message goes out: what it asks for is awaited.
    pub fn asks(&self, to: To, message: &Message) {
        self.rules.lock().expect(UNPOISONED).asked.note(whom(to), message, self.now_ms());
    }

    /// Whether a message is looked at; whoever sent what is not wanted has paid then.
    pub fn hears(&self, peer: PeerInfo, glance: &Glance, bytes: usize) -> bool {
        let standings = self.standings();
        let mut rules = self.rules.lock().expect(UNPOISONED);
        let verdict = rules.hear(&standings, speaker(peer), glance, bytes, self.now_ms());
        drop(rules);
        if let Verdict::Charge(failure) = verdict {
            self.charge(peer, failure);
        }
        verdict == Verdict::Take
    }

    /// A minter calls a set of this root its own.
    pub fn said_root(&self, peer: PeerInfo, height: u64, root: Hash) {
        let pending = self.standings().pending();
        if let Some(name) = peer.name.filter(|_| (pending..=pending + 1).contains(&height)) {
            self.rules.lock().expect(UNPOISONED).asked.said_root(name, height, root);
        }
    }

    /// What of these items this peer was asked for.
    pub fn sift(&self, peer: PeerInfo, height: u64, items: Vec<Arc<Item>>) -> Sifted {
        let name = peer.name.unwrap_or(u32::MAX);
        self.rules.lock().expect(UNPOISONED).asked.sift(name, height, items)
    }

    /// Books what a failure costs.
    pub fn charge(&self, peer: PeerInfo, failure: Failure) {
        self.charged.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(name = peer.name, peer = peer.id.0, ?failure, points = failure.points(), "charged");
        self.mesh.penalise(peer.id, failure.points());
    }

    /// How often somebody was charged.
    pub fn charged(&self) -> u64 {
        self.charged.load(Ordering::Relaxed)
    }
}
