//! What others ask of the past: final blocks, and pieces of snapshots. A thread of its own, behind all others, answers
//! one question of each after the other, within what may be handed out.

use super::entry::Question;
use super::gate::Gate;
use super::inbox::Inbox;
use crate::intake::queue::Source;
use crate::keep::chain_store::read_final_block;
use crate::keep::published::{self, Allowance, Part};
use crate::peer::frames::{BODIES, OFFERS, PeerFrameKind, Piece, WantPiece};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, To};
use dynemix_storage::Records;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes of a question, as far as its price goes: less than a point's worth.
pub(super) const QUESTION_BYTES: usize = 64;
/// What a question counts for at least: looking costs something too.
const ASKED_BYTES: usize = 16 << 10;
/// Who has a name is handed out so many times what a guest is: a minter that was away catches up.
const NAMED_MORE: u64 = 16;
/// Questions of one peer that wait: who joins has four pieces under way, who catches up asks for one block.
const PIECES_UNDER_WAY: usize = 4;
const FINALS_UNDER_WAY: usize = 1;
/// Questions that wait at all.
const QUESTIONS_MAX: usize = 1_024;

const UNPOISONED: &str = "nothing panics while it holds the questions";

/// What was asked and is not answered.
pub struct Questions {
    inbox: Inbox<Question>,
    /// Of each connection: pieces and final blocks.
    under_way: Mutex<BTreeMap<u64, [usize; 2]>>,
}

impl Default for Questions {
    fn default() -> Self {
        Questions { inbox: Inbox::new(1, QUESTIONS_MAX), under_way: Mutex::default() }
    }
}

impl Questions {
    /// Asks. False of who has asked too much already: it is not heard, and asks again.
    pub fn ask(&self, source: Source, question: Question) -> bool {
        let (PeerId(connection), place, max) = match &question {
            Question::Piece(from, ..) => (from.id, 0, PIECES_UNDER_WAY),
            Question::Final(from, ..) => (from.id, 1, FINALS_UNDER_WAY),
            Question::Stop => {
                self.stop();
                return true;
            }
        };
        let mut under_way = self.under_way.lock().expect(UNPOISONED);
        let of_peer = &mut under_way.entry(connection).or_default()[place];
        if *of_peer >= max {
            return false;
        }
        *of_peer += 1;
        drop(under_way);
        if !self.inbox.push(source, 1, question) {
            // Whose question had to go is not known here: all may ask anew.
            self.under_way.lock().expect(UNPOISONED).clear();
        }
        true
    }

    /// The node ends.
    pub fn stop(&self) {
        self.inbox.push_own(Question::Stop);
    }

    fn take(&self) -> Option<Question> {
        let question = self.inbox.take(Duration::from_millis(200))?;
        let (PeerId(connection), place) = match &question {
            Question::Piece(from, ..) => (from.id, 0),
            Question::Final(from, ..) => (from.id, 1),
            Question::Stop => return Some(question),
        };
        let mut under_way = self.under_way.lock().expect(UNPOISONED);
        if let Some(of_peer) = under_way.get_mut(&connection) {
            of_peer[place] = of_peer[place].saturating_sub(1);
            if *of_peer == [0; 2] {
                under_way.remove(&connection);
            }
        }
        Some(question)
    }
}

/// Reads from memory and disk for others, no more than it may hand out.
pub struct Serve {
    /// Its identity: what it hands out is of this chain.
    pub chain: Hash,
    /// Blocks that are kept.
    pub records: Records,
    /// The data directory, for snapshots.
    pub data: PathBuf,
    /// Where answers go.
    pub mesh: MeshHandle,
    /// Who pays for asking without end.
    pub gate: Arc<Gate>,
    /// Bytes that may be handed out: to who has a name, and to guests.
    pub allowances: [Allowance; 2],
    /// Of the thread: everything else comes first.
    pub niceness: i32,
}

impl Serve {
    /// What may be handed out of so many bytes in a second.
    pub fn allowances(bytes_per_s: u64) -> [Allowance; 2] {
        [Allowance::new(bytes_per_s.saturating_mul(NAMED_MORE)), Allowance::new(bytes_per_s)]
    }

    /// Runs until told to stop.
    pub fn run(mut self, questions: &Questions) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        loop {
            match questions.take() {
                None => {}
                // Whoever has been thrown out since is not there to be answered.
                Some(Question::Piece(from, ..) | Question::Final(from, ..)) if self.gate.is_out(from) => {}
                Some(Question::Piece(to, want, _body)) => self.piece(to, want),
                Some(Question::Final(to, height, kept)) => self.history(to, height, kept),
                Some(Question::Stop) => return,
            }
        }
    }

    fn allowance(&mut self, to: PeerInfo) -> &mut Allowance {
        &mut self.allowances[usize::from(to.name.is_none())]
    }

    /// Hands out a piece of a snapshot. What is not there, or beyond the allowance, is not answered. Snapshots are what
    /// who joins needs, named or not: all share what guests have.
    fn piece(&mut self, to: PeerInfo, want: WantPiece) {
        let [_, allowance] = &mut self.allowances;
        if !allowance.has(to.id) {
            self.gate.in_vain(to, QUESTION_BYTES);
            return;
        }
        let part = Part::of_number(want.part);
        let frame = match want.height {
            OFFERS => Some(Piece::encode_offers(&published::offers(&self.data, &self.chain))),
            height => published::read_piece(&self.data, height, part, want.offset)
                .map(|(total, bytes)| Piece::encode(want, total, &bytes)),
        };
        // Whatever is asked for costs something, what is looked for in vain too.
        allowance.take(to.id, frame.as_ref().map_or(0, Vec::len).max(ASKED_BYTES));
        if let Some(frame) = frame {
            self.mesh.send(To::Peer(to.id), BODIES, frame.into());
        }
    }

    /// Sends the final block of a height, from memory or from the log.
    fn history(&mut self, to: PeerInfo, height: u64, kept: Option<KeptFinal>) {
        if !self.allowance(to).has(to.id) {
            self.gate.in_vain(to, QUESTION_BYTES);
            return;
        }
        let read = || read_final_block(&self.records.read(height).ok()?, height).ok();
        let frame = kept.or_else(read).map(|(decided, blocks)| {
            let mut frame = vec![PeerFrameKind::Message as u8];
            encode(&Message::Final(decided, blocks), &Nobody, &mut frame);
            frame
        });
        self.allowance(to).take(to.id, frame.as_ref().map_or(0, Vec::len).max(ASKED_BYTES));
        if let Some(frame) = frame {
            self.mesh.send(To::Peer(to.id), BODIES, frame.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::duties::Rank;
    use dynemix_net::mesh::Standing;

    #[test]
    fn one_question_for_a_block_waits_for_each_and_nobody_has_to_wait_behind_a_flood() {
        let questions = Questions::default();
        let ask = |peer: u64, height: u64| {
            let from = PeerInfo { id: PeerId(peer), name: None, called: false, standing: Standing::Guest };
            questions.ask(Source(Rank::Guest, peer), Question::Final(from, height, None));
        };
        (0..10_000).for_each(|height| ask(1, height));
        (2..50).for_each(|peer| ask(peer, 7));
        let mut answered = Vec::new();
        while let Some(Question::Final(from, height, _)) = questions.take() {
            answered.push((from.id.0, height));
            if answered.len() == 49 {
                break;
            }
        }
        assert_eq!(answered.iter().filter(|answer| answer.0 == 1).collect::<Vec<_>>(), [&(1, 0)]);
        assert!(questions.inbox.take(Duration::ZERO).is_none(), "nothing else waits");
        ask(1, 9);
        assert!(matches!(questions.take(), Some(Question::Final(_, 9, _))), "answered, it may ask again");
        // Whatever waits is bounded, and whose question had to go may ask again.
        (0..10_000).for_each(|peer| ask(1_000 + peer, 7));
        assert_eq!(questions.inbox.dropped(), 10_000 - QUESTIONS_MAX as u64);
    }
}
