//! The node's door: who is let in, and where what they bring belongs.

use super::entry::{Entry, Question, Raw, cost_of_frame};
use super::gate::Gate;
use super::inbox::Inbox;
use super::serve::Questions;
use crate::intake::glance::Glance;
use crate::intake::price::Failure;
use crate::peer::frames::{self, BODIES, CELLS, Frame, Outcome, PeerFrameKind, RoomWord, VOTES, WantPiece};
use crate::peer::paths::{WantPaths, place_of, read_paths};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::messages::codec::decode;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::remembering::Remembering;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{Body, Claim, Doorkeeper, Event, PeerInfo, To, TransportKey};
use std::sync::Arc;

/// What a peer that has come costs in the inbox.
const PEER_COST: usize = 4_096;

/// What a record costs while it waits to be verified, beside its bytes: as much as transactions that take as long.
const RECORD_COST: usize = 16 << 10;

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

/// Has a frame sent.
pub type Answer = Arc<dyn Fn(Frame) + Send + Sync>;

/// What had to go while it waited to be verified: whoever hands in transactions of its own is told so, by this frame. What
/// a node tells it tells again.
pub(super) fn refuse_unseen(raw: Raw) -> Option<Frame> {
    let Raw::Frame(peer, body) = raw else { return None };
    let read = PeerFrameKind::split(&body).and_then(|(_, bytes)| frames::read_cells(bytes));
    let (None, first, cells) = read? else { return None };
    let ordinals: Vec<u64> = (0..cells.len() as u64).map_while(|place| first.checked_add(place)).collect();
    let busy = Outcome { refusal: Refusal::Busy as u8, height: 0, slot: 0, shard: 0, ordinals };
    Some((To::Peer(peer.id), CELLS, busy.encode().into()))
}

/// Takes what the mesh brings to where it belongs.
pub struct Sorter {
    /// Of the consensus thread.
    pub inbox: Arc<Inbox<Entry>>,
    /// Of the thread that verifies users' cells.
    pub cells: Arc<Inbox<Raw>>,
    /// Of the thread that verifies what shard rounds need.
    pub rounds: Arc<Inbox<Raw>>,
    /// Of the thread that answers who asks for the past.
    pub questions: Arc<Questions>,
    /// Who may send what, and who pays.
    pub gate: Arc<Gate>,
    /// Answers who has handed in what had to go.
    pub answer: Answer,
}

impl Sorter {
    /// Takes one event; called by the mesh thread, which must not wait.
    pub fn sort(&self, event: Event) {
        match event {
            Event::Opened(peer, _, address) => {
                tracing::debug!(name = peer.name, %address, "a peer has come");
                self.inbox.push(self.gate.source(peer), PEER_COST, Entry::Opened(peer));
            }
            Event::Closed(peer, why) => tracing::debug!(name = peer.name, why, "a peer has gone"),
            Event::TurnedAway(address, why) => tracing::debug!(%address, why, "a peer was turned away"),
            Event::Frame(peer, class, body) => self.frame(peer, class, body),
        }
    }

    fn frame(&self, peer: PeerInfo, class: u8, body: Body) {
        if self.gate.is_out(peer) {
            return;
        }
        let Some((kind, bytes)) = PeerFrameKind::split(&body) else {
            return self.gate.charge(peer, Failure::Malformed(body.len()));
        };
        match (class, kind) {
            (_, PeerFrameKind::Message) => self.message(peer, class, body),
            (CELLS, PeerFrameKind::Peers) if !self.gate.duties_of(peer).named && !peer.called => {
                self.gate.in_vain(peer, body.len());
            }
            (CELLS, PeerFrameKind::Peers) => match frames::read_peers(bytes) {
                Some(targets) => {
                    // Who comes tells once.
                    if !self.gate.in_vain(peer, body.len()) {
                        return;
                    }
                    self.inbox.push(self.gate.source(peer), cost_of_frame(&body), Entry::Peers(targets));
                }
                None => self.gate.charge(peer, Failure::Malformed(body.len())),
            },
            (CELLS, PeerFrameKind::Cells) => {
                let gone = self.cells.push(self.gate.source(peer), cost_of_frame(&body), Raw::Frame(peer, body));
                gone.into_iter().filter_map(refuse_unseen).for_each(|frame| (self.answer)(frame));
            }
            (CELLS, PeerFrameKind::Want) => match WantPiece::read(bytes) {
                Some(want) => self.ask(peer, body.len(), Question::Piece(peer, want, body)),
                None => self.gate.charge(peer, Failure::Malformed(body.len())),
            },
            (CELLS, PeerFrameKind::Senders) => match WantPaths::read(bytes) {
                Some(want) => self.ask(peer, body.len(), Question::Paths(peer, want)),
                None => self.gate.charge(peer, Failure::Malformed(body.len())),
            },
            (BODIES, PeerFrameKind::Paths | PeerFrameKind::Ids) => self.paths(peer, kind, body),
            (VOTES, PeerFrameKind::Room) => match (RoomWord::read(bytes), peer.name) {
                (Some(word), name) if self.gate.hears_room(peer, word.height, body.len()) => {
                    name.into_iter().for_each(|name| {
                        let entry = Entry::Room(name, word);
                        self.inbox.push_urgent(self.gate.source(peer), cost_of_frame(&body), entry);
                    });
                }
                (Some(_), _) => {}
                (None, _) => self.gate.charge(peer, Failure::Malformed(body.len())),
            },
            (CELLS, PeerFrameKind::Outcome) => {
                self.gate.in_vain(peer, body.len());
            }
            _ => self.gate.charge(peer, Failure::Malformed(body.len())),
        }
    }

    /// Has another thread answer.
    fn ask(&self, peer: PeerInfo, bytes: usize, question: Question) {
        if !self.questions.ask(self.gate.source(peer), question) {
            self.gate.in_vain(peer, bytes);
        }
    }

    /// Proofs that this node has asked for: each that shows nothing of its own header is charged here, and whether that is
    /// a header of the chain is for consensus.
    fn paths(&self, peer: PeerInfo, kind: PeerFrameKind, body: Body) {
        let Some(place) = place_of(&body[1..]) else {
            return self.gate.charge(peer, Failure::Malformed(body.len()));
        };
        if !self.gate.awaits_paths(peer, place) {
            self.gate.in_vain(peer, body.len());
            return;
        }
        let (source, cost) = (self.gate.source(peer), cost_of_frame(&body));
        if kind == PeerFrameKind::Ids {
            self.inbox.push(source, cost, Entry::Ids(peer, body));
            return;
        }
        match read_paths(&body[1..]) {
            Some((place, proofs)) => {
                self.inbox.push(source, cost, Entry::Paths(peer, place, proofs, body));
            }
            None => self.gate.charge(peer, Failure::Malformed(body.len())),
        }
    }

    /// A message: in its class, wanted, and then to whoever verifies it first, or to consensus.
    fn message(&self, peer: PeerInfo, class: u8, mut body: Body) {
        let Ok(glance) = Glance::of(&body[1..]) else {
            return self.gate.charge(peer, Failure::Malformed(body.len()));
        };
        if !glance.travels_in(class) {
            return self.gate.charge(peer, Failure::OtherClass);
        }
        if !self.gate.hears(peer, &glance, body.len()) {
            return;
        }
        // Bodies wait until there is time for them, and votes are not to wait with them. Where there is no room aside they
        // count against their sender, as all else does.
        if matches!(glance, Glance::Bodies(_)) {
            let _ = body.set_aside();
        }
        // A record costs pairings, whatever its length.
        let pairings = if matches!(glance, Glance::Item) { RECORD_COST } else { 0 };
        let (source, cost) = (self.gate.source(peer), cost_of_frame(&body) + pairings);
        let may_mint = self.gate.duties_of(peer).may_mint();
        // A certificate of who has no seat is verified before consensus hears of it.
        let first_verified = class != VOTES || (matches!(glance, Glance::Final(..)) && !may_mint);
        if first_verified {
            self.rounds.push(source, cost, Raw::Frame(peer, body));
            return;
        }
        let Ok(message) = decode(&body[1..], &Nobody) else {
            return self.gate.charge(peer, Failure::Malformed(body.len()));
        };
        if let Message::Shard { height, message: ShardMessage::SetRoot(root, _), .. } = &message {
            self.gate.said_root(peer, *height, *root);
        }
        let entry = Entry::Message(peer, Box::new(message), body);
        if may_mint {
            self.inbox.push_urgent(source, cost, entry);
        } else {
            self.inbox.push(source, cost, entry);
        }
    }
}
