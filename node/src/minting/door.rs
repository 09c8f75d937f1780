//! The node's door: who is let in, and where what they bring belongs.

use super::entry::{Entry, Raw};
use super::inbox::Inbox;
use crate::peer::frames::{self, CELLS, PeerFrameKind, VOTES};
use dynemix_engine::messages::codec::decode;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::remembering::Remembering;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{Body, Claim, Doorkeeper, Event, MeshHandle, PeerInfo, TransportKey};
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Signs and remembers.
pub type NodeSigning = Remembering<BlsSigning>;

/// Who we are, and who others are.
pub struct Door {
    /// The chain: peers of another one are refused.
    pub chain: [u8; 32],
    /// The own candidate; without it the node calls itself a guest.
    pub candidate: Option<u32>,
    /// Signs the own hello, checks those of others.
    pub signing: Arc<NodeSigning>,
    /// Voting keys of the candidates that are known.
    pub keys: Arc<VoteKeys>,
}

impl Doorkeeper for Door {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        let sign = |digest: &[u8; 32]| self.signing.sign(digest);
        frames::hello(&self.chain, handshake_hash, self.candidate.map(|candidate| (candidate, sign)))
    }

    fn read(&self, hello: &[u8]) -> Result<Claim, String> {
        match frames::read_hello(&self.chain, hello).map_err(|error| error.to_string())? {
            // A candidate of a later height than ours is a guest until we have caught up.
            Claim::Named(candidate) if !self.keys.knows(candidate) => Ok(Claim::Guest),
            claim => Ok(claim),
        }
    }

    fn prove(&self, hello: &[u8], _: u32, _: &TransportKey, handshake_hash: &[u8; 32]) -> bool {
        let verify = |candidate, digest: &_, signature: &_| self.signing.verify(candidate, digest, signature);
        frames::hello_is_signed(&self.chain, handshake_hash, hello, verify)
    }
}

/// Takes what the mesh brings to where it belongs.
pub struct Sorter {
    /// Of the consensus thread.
    pub inbox: Arc<Inbox<Entry>>,
    /// Of the thread that verifies users' cells.
    pub cells: Sender<Raw>,
    /// Of the thread that verifies what shard rounds need.
    pub rounds: Sender<Raw>,
    /// To book points of who sends what is no frame.
    pub mesh: MeshHandle,
}

impl Sorter {
    /// Takes one event; called by the mesh thread, which must not wait.
    pub fn sort(&self, event: Event) {
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
        let kind = body.first().and_then(|&number| PeerFrameKind::of_number(number));
        match (class, kind) {
            (VOTES, Some(PeerFrameKind::Message)) => match decode(&body[1..], &Nobody) {
                Ok(message) if peer.name.is_some() => {
                    self.inbox.push_urgent(Entry::Message(peer, Box::new(message), body))
                }
                Ok(message) => self.inbox.push(Entry::Message(peer, Box::new(message), body)),
                Err(_) => self.mesh.penalise(peer.id, 25),
            },
            (CELLS, Some(PeerFrameKind::Peers)) if peer.name.is_none() && !peer.called => {}
            (CELLS, Some(PeerFrameKind::Peers)) => match frames::read_peers(&body[1..]) {
                Some(targets) => self.inbox.push(Entry::Peers(targets)),
                None => self.mesh.penalise(peer.id, 25),
            },
            (CELLS, Some(PeerFrameKind::Cells | PeerFrameKind::Want)) => drop(self.cells.send(Raw::Frame(peer, body))),
            (CELLS, Some(PeerFrameKind::Outcome)) => {}
            (_, Some(PeerFrameKind::Message)) => drop(self.rounds.send(Raw::Frame(peer, body))),
            _ => self.mesh.penalise(peer.id, 25),
        }
    }
}
