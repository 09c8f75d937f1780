//! What others ask of the past: final blocks, pieces of snapshots, and proofs that transactions stand in a block. A thread of its own, behind all others, answers
//! one question of each after the other, within what may be handed out.

use super::entry::Question;
use super::gate::Gate;
use super::inclusions::Inclusions;
use super::unproved::QUESTIONS_MAX;
use crate::intake::duties::Rank;
use crate::intake::portions::{Line, Portions};
use crate::intake::queue::Source;
use crate::keep::chain_store::read_final_block;
use crate::keep::published::{self, Part};
use crate::peer::frames::{BODIES, OFFERS, PeerFrameKind, Piece, WantPiece};
use crate::peer::paths::{SENDERS_MAX, WantPaths, paths_frame};
use crate::setup::clock::Stopwatch;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, Standing, To};
use dynemix_storage::{Disk, Records};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Bytes of a question, as far as its price goes: less than a point's worth.
pub const QUESTION_BYTES: usize = 64;
/// What a question counts for at least: looking costs something too.
const ASKED_BYTES: usize = 16 << 10;
/// How many times as long as an answer that it is in may be what is read for it: a record has the quilt as well, and
/// what is in memory takes more there.
const TIMES_LONGER: u64 = 4;
/// Questions of one peer that wait: who joins has four pieces under way, who catches up asks for one block, and for its
/// users' transactions a node asks twice in a slot at most.
const PIECES_UNDER_WAY: usize = 4;
const FINALS_UNDER_WAY: usize = 1;
const PATHS_UNDER_WAY: usize = 2 * QUESTIONS_MAX;
/// Questions that wait for a block, of all together.
const EARLY_MAX: usize = 512;
/// How often it is looked whether that block has come.
const EARLY_MS: u64 = 20;
/// How often it is looked whether the node ends, and there is nothing else.
const IDLE_MS: u64 = 200;

const UNPOISONED: &str = "nothing panics while it holds the questions";

/// What was asked and is not answered.
pub struct Questions {
    watch: Stopwatch,
    held: Mutex<Held>,
    filled: Condvar,
}

struct Held {
    portions: Portions<Question>,
    /// Of each connection: pieces, final blocks, proofs.
    under_way: BTreeMap<u64, [usize; 3]>,
    stopped: bool,
}

/// Whose a question is, its place among what is under way, how many of those there may be, and the line it waits in.
fn of(question: &Question) -> Option<(PeerInfo, usize, usize, Line)> {
    Some(match question {
        Question::Piece(from, ..) if from.standing == Standing::Joining => (*from, 0, PIECES_UNDER_WAY, Line::Joining),
        Question::Piece(from, ..) => (*from, 0, PIECES_UNDER_WAY, Line::Pieces),
        Question::Final(from, ..) if from.name.is_some() => (*from, 1, FINALS_UNDER_WAY, Line::Named),
        Question::Final(from, ..) => (*from, 1, FINALS_UNDER_WAY, Line::Guests),
        Question::Paths(from, _) if from.name.is_some() => (*from, 2, PATHS_UNDER_WAY, Line::Named),
        Question::Paths(from, _) => (*from, 2, PATHS_UNDER_WAY, Line::Guests),
        Question::Stop => return None,
    })
}

impl Held {
    /// A question waits no more.
    fn ends(&mut self, question: &Question) {
        let Some((from, place, ..)) = of(question) else { return };
        let PeerId(connection) = from.id;
        let of_peer = self.under_way.get_mut(&connection).expect("what waits is under way");
        assert!(of_peer[place] > 0, "a question of connection {connection} ends that was not asked");
        of_peer[place] -= 1;
        if *of_peer == [0; 3] {
            self.under_way.remove(&connection);
        }
    }
}

impl Questions {
    /// None yet; so many bytes in a second of this watch are handed out of snapshots.
    pub fn new(bytes_per_s: u64, watch: Stopwatch) -> Questions {
        let held = Held { portions: Portions::new(bytes_per_s, 0), under_way: BTreeMap::new(), stopped: false };
        Questions { watch, held: Mutex::new(held), filled: Condvar::new() }
    }

    fn now_ms(&self) -> u64 {
        self.watch.passed_ms()
    }

    /// Asks. False of who has asked too much already: it is not heard, and asks again.
    pub fn ask(&self, source: Source, question: Question) -> bool {
        let Some((from, place, max, line)) = of(&question) else {
            self.stop();
            return true;
        };
        let mut held = self.held.lock().expect(UNPOISONED);
        // A name without a stake buys nothing.
        let line = if line == Line::Named && source.0 == Rank::Guest { Line::Guests } else { line };
        let of_peer = &mut held.under_way.entry(from.id.0).or_default()[place];
        if *of_peer >= max {
            return false;
        }
        *of_peer += 1;
        // Those of a network take turns with others as one, those with a name by it.
        let holder = from.name.map_or_else(|| from.holder(), u64::from);
        let gone = held.portions.ask(line, Source(source.0, holder), question);
        gone.iter().for_each(|question| held.ends(question));
        drop(held);
        self.filled.notify_one();
        true
    }

    /// The node ends.
    pub fn stop(&self) {
        self.held.lock().expect(UNPOISONED).stopped = true;
        self.filled.notify_one();
    }

    /// The next question that there is something to hand out for now, and its line.
    pub fn next(&self) -> Option<(Line, Question)> {
        let mut held = self.held.lock().expect(UNPOISONED);
        let (line, question) = held.portions.next(self.now_ms())?;
        held.ends(&question);
        Some((line, question))
    }

    /// The same, waited for so long at most.
    fn take(&self, most_ms: u64) -> Option<(Line, Question)> {
        let mut held = self.held.lock().expect(UNPOISONED);
        if held.stopped {
            return Some((Line::Named, Question::Stop));
        }
        let mut taken = held.portions.next(self.now_ms());
        if taken.is_none() {
            let wait_ms = held.portions.wait_ms(self.now_ms()).unwrap_or(most_ms).clamp(1, most_ms);
            held = self.filled.wait_timeout(held, Duration::from_millis(wait_ms)).expect(UNPOISONED).0;
            taken = held.portions.next(self.now_ms());
        }
        let (line, question) = taken?;
        held.ends(&question);
        Some((line, question))
    }

    /// Whether so much may be handed out at once; it is counted then.
    fn hands_out(&self, line: Line, frame: Option<&[u8]>) -> bool {
        let mut held = self.held.lock().expect(UNPOISONED);
        let most = held.portions.most(line);
        let may = frame.is_some_and(|frame| frame.len() as u64 <= most);
        // Whatever is asked for costs something, what is looked for in vain too, and what was read for nothing as much as
        // is ever there.
        let bytes = (frame.map_or(0, <[u8]>::len).max(ASKED_BYTES) as u64).min(most);
        held.portions.hand_out(line, bytes, self.now_ms());
        may
    }

    /// Whether there is something to hand out in a line.
    fn hands_out_now(&self, line: Line) -> bool {
        self.held.lock().expect(UNPOISONED).portions.has(line, self.now_ms())
    }

    /// How long an answer may be.
    fn most(&self, line: Line) -> u64 {
        self.held.lock().expect(UNPOISONED).portions.most(line)
    }
}

/// Reads from memory and disk for others, no more than it may hand out.
pub struct Answers {
    /// Its identity: what it hands out is of this chain.
    pub chain: Hash,
    /// Blocks that are kept.
    pub records: Records,
    /// Transactions of the newest of them.
    pub inclusions: Arc<Inclusions>,
    /// The node's directory, for snapshots.
    pub data: Arc<dyn Disk>,
    /// Who is not listened to any more.
    pub gate: Arc<Gate>,
}

/// Questions for proofs of a block that has not come here, by who is a block ahead: where many nodes have little of a
/// processor each, some have a block seconds before others, and whoever hears nothing asks again only half a slot later.
#[derive(Default)]
struct Early {
    waiting: VecDeque<Question>,
}

impl Early {
    /// Keeps a question if it is one, where this is the newest final block; else it comes back.
    fn keep(&mut self, line: Line, question: Question, newest: u64) -> Option<Question> {
        let Question::Paths(from, want) = &question else { return Some(question) };
        let is_early = line == Line::Named && want.place.0 == newest + 1;
        let of_name = |kept: &&Question| of(kept).is_some_and(|(other, ..)| other.name == from.name);
        let is_known = |kept: &Question| matches!(kept, Question::Paths(_, other) if other == want);
        let own: Vec<&Question> = self.waiting.iter().filter(of_name).collect();
        if !is_early || self.waiting.len() >= EARLY_MAX || own.len() >= PATHS_UNDER_WAY || own.into_iter().any(is_known)
        {
            return Some(question);
        }
        self.waiting.push_back(question);
        None
    }

    /// One that can be answered now that this is the newest final block.
    fn due(&mut self, newest: u64) -> Option<Question> {
        let is_due = |question: &Question| matches!(question, Question::Paths(_, want) if want.place.0 <= newest);
        self.waiting.front().is_some_and(is_due).then(|| self.waiting.pop_front()).flatten()
    }
}

/// What the thread works with.
pub struct Serve {
    /// Finds what it answers.
    pub answers: Answers,
    /// Where answers go.
    pub mesh: MeshHandle,
    /// Of the thread: everything else comes first.
    pub niceness: i32,
}

impl Serve {
    /// Bytes of questions that wait for a block.
    pub(super) fn bytes() -> u64 {
        (EARLY_MAX * (size_of::<Question>() + SENDERS_MAX * size_of::<Key>())) as u64
    }

    /// Runs until told to stop.
    pub fn run(self, questions: &Questions) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        let mut early = Early::default();
        loop {
            // Those too are answered out of what their line may be handed out.
            while questions.hands_out_now(Line::Named)
                && let Some(question) = early.due(self.answers.inclusions.newest())
            {
                self.answer(questions, Line::Named, question);
            }
            match questions.take(if early.waiting.is_empty() { IDLE_MS } else { EARLY_MS }) {
                Some((_, Question::Stop)) => return,
                Some((line, question)) => {
                    let now = early.keep(line, question, self.answers.inclusions.newest());
                    now.into_iter().for_each(|question| self.answer(questions, line, question));
                }
                None => {}
            }
        }
    }

    fn answer(&self, questions: &Questions, line: Line, question: Question) {
        if let Some((to, frame)) = self.answers.answer(questions, line, question) {
            self.mesh.send(To::Peer(to), BODIES, frame);
        }
    }
}

impl Answers {
    /// The answer to a question, and to whom it goes, if there is one that may be handed out.
    pub fn answer(&self, questions: &Questions, line: Line, question: Question) -> Option<(PeerId, Arc<[u8]>)> {
        let (to, frame) = match question {
            // Whoever has been thrown out since is not there to be answered.
            Question::Piece(to, ..) | Question::Final(to, ..) | Question::Paths(to, _) if self.gate.is_out(to) => {
                (to, None)
            }
            Question::Piece(to, want, _body) => (to, self.piece(want).map(Into::into)),
            Question::Final(to, height, kept) => (to, self.history(height, kept, questions.most(line)).map(Into::into)),
            Question::Paths(to, want) => (to, self.paths(&want)),
            Question::Stop => return None,
        };
        if questions.hands_out(line, frame.as_deref()) { frame.map(|frame| (to.id, frame)) } else { None }
    }

    /// A piece of a snapshot. What is not there is not answered.
    fn piece(&self, want: WantPiece) -> Option<Vec<u8>> {
        let part = Part::of_number(want.part);
        match want.height {
            OFFERS => {
                let offers = published::offers(&*self.data, &self.chain);
                let told = offers.inspect_err(|error| tracing::warn!(%error, "snapshots are not offered"));
                told.ok().map(|offers| Piece::encode_offers(&offers))
            }
            height => published::read_piece(&*self.data, height, part, want.offset)
                .map(|(total, bytes)| Piece::encode(want, total, &bytes)),
        }
    }

    /// Proofs that transactions stand in a shard-block. Whoever asks of one that is not here asks another.
    fn paths(&self, want: &WantPaths) -> Option<Arc<[u8]>> {
        if want.senders.is_empty() {
            return self.inclusions.ids(want.place);
        }
        self.inclusions.of_senders(want.place, &want.senders).map(|proofs| paths_frame(want.place, &proofs).into())
    }

    /// The final block of a height, from memory or from the log: nothing is read of one that would not be handed out.
    fn history(&self, height: u64, kept: Option<KeptFinal>, most: u64) -> Option<Vec<u8>> {
        let kept_bytes = |kept: &KeptFinal| kept.1.iter().map(|block| block.body_bytes() as u64).sum::<u64>();
        let too_long = match &kept {
            Some(kept) => kept_bytes(kept) > most.saturating_mul(TIMES_LONGER),
            None => self.records.bytes_of(height).ok()? > most.saturating_mul(TIMES_LONGER),
        };
        if too_long {
            return None;
        }
        let read = || read_final_block(&self.records.read(height).ok()?, height).ok();
        kept.or_else(read).map(|(decided, blocks)| {
            let mut frame = vec![PeerFrameKind::Message as u8];
            encode(&Message::Final(decided, blocks), &Nobody, &mut frame);
            frame
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_net::mesh::{Net, Standing};
    use std::time::Instant;

    #[test]
    fn one_question_for_a_block_waits_for_each_and_nobody_has_to_wait_behind_a_flood() {
        let questions = Questions::new(1 << 20, Stopwatch::start());
        let ask = |peer: u64, height: u64| {
            let (id, standing, net) = (PeerId(peer), Standing::Guest, Net::Loopback);
            let from = PeerInfo { id, name: None, called: false, standing, net };
            questions.ask(Source(Rank::Guest, peer), Question::Final(from, height, None))
        };
        assert_eq!((0..10_000).filter(|&height| ask(1, height)).count(), 1);
        (2..50).for_each(|peer| assert!(ask(peer, 7)));
        let mut answered = Vec::new();
        while let Some((Line::Guests, Question::Final(from, height, _))) = questions.take(IDLE_MS) {
            answered.push((from.id.0, height));
            questions.hands_out(Line::Guests, None);
        }
        assert_eq!(answered.len(), 49, "and nothing else waits");
        assert_eq!(answered.iter().filter(|answer| answer.0 == 1).collect::<Vec<_>>(), [&(1, 0)]);
        assert!(ask(1, 9), "answered, it may ask again");
        // Whatever waits is bounded, and whose question had to go may ask again.
        (0..10_000).for_each(|peer| assert!(ask(1_000 + peer, 7)));
        assert!(questions.held.lock().unwrap().under_way.len() <= 1_024);
    }

    #[test]
    fn who_is_a_block_ahead_is_answered_when_the_block_has_come() {
        let mut early = Early::default();
        assert!(early.due(6).is_none());
        let question = |peer: u64, name: u32, height: u64, sender: u8| {
            let standing = Standing::Named;
            let from = PeerInfo { id: PeerId(peer), name: Some(name), called: false, standing, net: Net::Loopback };
            Question::Paths(from, WantPaths { place: (height, 0), senders: vec![[sender; 32]] })
        };
        // Of the block that is here, of one that is far off, and of who has no stake.
        assert!(early.keep(Line::Named, question(1, 3, 6, 0), 6).is_some());
        assert!(early.keep(Line::Named, question(1, 3, 8, 0), 6).is_some());
        assert!(early.keep(Line::Guests, question(1, 3, 7, 0), 6).is_some());
        let most = PATHS_UNDER_WAY as u8;
        assert!((0..most).all(|sender| early.keep(Line::Named, question(1, 3, 7, sender), 6).is_none()));
        assert!(
            early.keep(Line::Named, question(2, 3, 7, most), 6).is_some(),
            "one name does not fill it, however it calls"
        );
        assert!(early.keep(Line::Named, question(9, 4, 7, 0), 6).is_none());
        assert!(early.keep(Line::Named, question(9, 4, 7, 0), 6).is_some(), "it waits already");
        assert!(early.due(6).is_none(), "not yet");
        assert_eq!(std::iter::from_fn(|| early.due(7)).count(), PATHS_UNDER_WAY + 1);
        (0..EARLY_MAX as u32).for_each(|name| assert!(early.keep(Line::Named, question(1, name, 8, 0), 7).is_none()));
        assert!(early.keep(Line::Named, question(1, 5_000, 8, 0), 7).is_some(), "it is bounded");
    }

    #[test]
    fn who_asks_while_there_is_nothing_to_hand_out_is_answered_later() {
        let questions = Questions::new(64 << 10, Stopwatch::start());
        let from = PeerInfo { id: PeerId(1), name: None, called: false, standing: Standing::Guest, net: Net::Loopback };
        assert!(questions.hands_out(Line::Guests, Some(&[0; 64 << 10])), "all there is");
        assert!(!questions.hands_out(Line::Guests, Some(&[0; (64 << 10) + 1])), "more than there ever is");
        assert!(questions.ask(Source(Rank::Guest, 1), Question::Final(from, 7, None)));
        let begun = Instant::now();
        let taken = std::iter::repeat_with(|| questions.take(IDLE_MS)).take(20).flatten().next();
        assert!(matches!(taken, Some((Line::Guests, Question::Final(_, 7, _)))));
        // What was too long was read, and is paid for by who asks next: as far as there ever is so much.
        assert!(begun.elapsed() > Duration::from_millis(900), "what was owed is waited for: {:?}", begun.elapsed());
    }
}
