//! Between network and consensus: bytes become messages, transactions are verified in batches. Nothing that consensus
//! gets from here costs it a signature.

use super::entry::{Entry, Raw, Ready};
use super::execution::{SharedState, StateDirectory};
use super::inbox::Inbox;
use super::serve::Serve;
use super::verdicts::{BATCH_MAX, Verdicts};
use crate::peer::frames::{self, PeerFrameKind, WantPiece};
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::read::CodecError;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::messages::codec::decode;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::check::check_form;
use dynemix_engine::transaction::item::{Item, transaction_item, transaction_of};
use dynemix_engine::verify::{KeyCache, Verifier};
use dynemix_net::mesh::{Body, MeshHandle, PeerInfo};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

const UNPOISONED: &str = "whoever panics while holding the state ends the process";

/// Counters of the thread.
#[derive(Default)]
pub struct PrepareCounters {
    /// Signatures of transactions that were verified, each once.
    pub signatures: AtomicU64,
    /// Time spent on them, microseconds.
    pub verify_micros: AtomicU64,
    /// Batches that they were verified in.
    pub batches: AtomicU64,
    /// Frames that were no messages.
    pub malformed: AtomicU64,
}

/// What the thread works with.
pub struct Prepare {
    /// Its parameters bound what a transaction may look like.
    pub chain: Arc<Chain>,
    /// The state, for keys and indices.
    pub state: SharedState,
    /// What was found good.
    pub verdicts: Arc<Verdicts>,
    /// Senders' keys, decoded once for all threads that verify.
    pub keys: Arc<KeyCache>,
    /// Where what is verified goes: the consensus thread's.
    pub inbox: Arc<Inbox<Entry>>,
    /// To book points.
    pub mesh: MeshHandle,
    /// For who asks for what has been.
    pub serve: Serve,
    /// What was done.
    pub counters: Arc<PrepareCounters>,
    /// Who takes items of final blocks instead of this thread, if someone does.
    pub bodies: Option<Sender<Raw>>,
    /// Of the thread: votes come before new transactions.
    pub niceness: i32,
    /// How long what has come waits for more: a large batch costs a third of many small ones.
    pub gather: Duration,
}

/// A frame of cells on its way: its items, and which ordinals they have.
struct Pending {
    from: Option<PeerInfo>,
    told: Option<u64>,
    items: Vec<(u64, Arc<Item>)>,
    refused: Vec<(u64, Refusal, Option<Arc<Item>>)>,
    body: Option<Body>,
}

impl Prepare {
    /// Runs until told to stop, or nobody sends any more.
    pub fn run(mut self, input: &Receiver<Raw>) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        let mut verifier = Verifier::new(self.keys.clone());
        let mut waiting: VecDeque<Pending> = VecDeque::new();
        loop {
            let raw = match input.recv_timeout(Duration::from_millis(200)) {
                Ok(raw) => raw,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Cells of many frames make one batch.
            let mut next = Some(raw);
            let (mut count, gathered) = (0, Instant::now() + self.gather);
            while let Some(raw) = next.take() {
                match raw {
                    Raw::Frame(from, body) => match PeerFrameKind::split(&body) {
                        Some((PeerFrameKind::Cells, bytes)) => match self.cells(from, bytes) {
                            Some(pending) => {
                                count += pending.items.len();
                                waiting.push_back(Pending { body: Some(body), ..pending });
                            }
                            None => self.malformed(from),
                        },
                        Some((PeerFrameKind::Message, _)) => {
                            self.flush(&mut verifier, &mut waiting);
                            count = 0;
                            self.message(&mut verifier, from, body);
                        }
                        Some((PeerFrameKind::Want, bytes)) => match WantPiece::read(bytes) {
                            Some(want) => self.serve.piece(from, want),
                            None => self.malformed(from),
                        },
                        _ => self.malformed(from),
                    },
                    Raw::Own(items) => {
                        count += items.len();
                        let items = items.into_iter().map(|item| (0, item)).collect();
                        waiting.push_back(Pending { from: None, told: None, items, refused: Vec::new(), body: None });
                    }
                    Raw::Bodies(from, message, body) => {
                        self.flush(&mut verifier, &mut waiting);
                        count = 0;
                        self.verified(&mut verifier, from, message, body);
                    }
                    Raw::History(to, height) => self.serve.history(to, height),
                    Raw::Stop => return,
                }
                let more = gathered.saturating_duration_since(Instant::now());
                if count < BATCH_MAX && !more.is_zero() {
                    next = input.recv_timeout(more).ok();
                }
            }
            self.flush(&mut verifier, &mut waiting);
        }
    }

    fn malformed(&self, from: PeerInfo) {
        self.counters.malformed.fetch_add(1, Ordering::Relaxed);
        self.mesh.penalise(from.id, 25);
    }

    fn cells(&self, from: PeerInfo, bytes: &[u8]) -> Option<Pending> {
        let (told, first, cells) = frames::read_cells(bytes)?;
        // Ordinals are the client's to choose, but not beyond all numbers.
        first.checked_add(cells.len() as u64 + 1)?;
        let told = told.filter(|_| from.name.is_some());
        let mut pending = Pending { from: Some(from), told, items: Vec::new(), refused: Vec::new(), body: None };
        for (ordinal, (cell, payload)) in (first..).zip(&cells) {
            match check_form(cell, payload, &self.chain.parameters) {
                Ok(()) => pending.items.push((ordinal, transaction_item(cell, payload))),
                Err(refusal) => pending.refused.push((ordinal, refusal, None)),
            }
        }
        Some(pending)
    }

    /// Verifies, and counts what it took.
    fn verify(&self, verifier: &mut Verifier, items: &[Arc<Item>]) -> Vec<usize> {
        let (begun, before) = (Instant::now(), verifier.counters());
        let bad = self.verdicts.verify(verifier, items);
        let after = verifier.counters();
        let verified = (after.signatures - before.signatures) as usize;
        assert!(verified <= items.len(), "{verified} signatures were verified for {} items", items.len());
        self.counters.signatures.fetch_add(after.signatures - before.signatures, Ordering::Relaxed);
        self.counters.batches.fetch_add(after.batches - before.batches, Ordering::Relaxed);
        self.counters.verify_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        bad
    }

    fn flush(&self, verifier: &mut Verifier, waiting: &mut VecDeque<Pending>) {
        if waiting.is_empty() {
            return;
        }
        let all: Vec<Arc<Item>> =
            waiting.iter().flat_map(|pending| pending.items.iter().map(|entry| entry.1.clone())).collect();
        let bad = self.verify(verifier, &all);
        let mut bad = bad.into_iter().peekable();
        let mut place = 0;
        // All at once: each look-up waits for memory, many of them wait together.
        let senders: Vec<Key> =
            all.iter().map(|item| transaction_of(item).map_or([0; 32], |(cell, _)| cell.sender)).collect();
        let mut accounts = vec![None; senders.len()];
        self.state.read().expect(UNPOISONED).find_all(senders.len(), |i| &senders[i], &mut accounts);
        let mut batch = Vec::with_capacity(waiting.len());
        for Pending { from, told, items, mut refused, body } in waiting.drain(..) {
            let mut good = Vec::with_capacity(items.len());
            let mut broken = 0;
            for (ordinal, item) in items {
                if bad.next_if_eq(&place).is_some() {
                    refused.push((ordinal, Refusal::BadSignature, Some(item)));
                    broken += 1;
                } else {
                    good.push((ordinal, item, accounts[place]));
                }
                place += 1;
            }
            if let Some(from) = from.filter(|_| broken > 0) {
                self.mesh.penalise(from.id, broken);
            }
            batch.push(Ready { from, told, good, refused, body });
        }
        assert_eq!(bad.next(), None, "a bad signature belongs to none of the transactions that were gathered");
        assert_eq!(place, all.len(), "each transaction that was gathered has had its verdict");
        self.inbox.push(Entry::Cells(batch));
    }

    fn message(&self, verifier: &mut Verifier, from: PeerInfo, body: Body) {
        let directory = StateDirectory(self.state.read().expect(UNPOISONED));
        let message = match decode(&body[1..], &directory) {
            Ok(message) => message,
            // Whoever is ahead of us speaks of accounts that we do not know yet.
            Err(CodecError::UnknownAccount(_)) => return,
            Err(_) => return self.malformed(from),
        };
        drop(directory);
        let message = Box::new(message);
        match (&*message, &self.bodies) {
            // A thread that has gone takes nothing any more: the node is about to end.
            (Message::Bodies(..), Some(bodies)) => drop(bodies.send(Raw::Bodies(from, message, body))),
            _ => self.verified(verifier, from, message, body),
        }
    }

    /// Verifies what a message brings, and hands it on.
    fn verified(&self, verifier: &mut Verifier, from: PeerInfo, message: Box<Message>, body: Body) {
        let bad = match &*message {
            Message::Item(item) => self.verify(verifier, std::slice::from_ref(item)).len(),
            Message::Shard { message: ShardMessage::Items(items), .. } => self.verify(verifier, items).len(),
            Message::Bodies(_, items) => self.verify(verifier, items).len(),
            Message::Block(block) => self.verify(verifier, &block.items).len(),
            Message::Final(_, blocks) => blocks.iter().map(|block| self.verify(verifier, &block.items).len()).sum(),
            _ => 0,
        };
        if bad > 0 {
            // In a shard round another minter may have been deceived: a few points only.
            self.mesh.penalise(from.id, 5);
        }
        self.inbox.push(Entry::Message(from, message, body));
    }
}
