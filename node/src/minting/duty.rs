//! The consensus thread: it alone owns the minter. It sleeps until the next step or the next entry of its inbox, and
//! carries out what the minter wants in that order, never waiting for a disk or a socket.

use super::counted::Counted;
use super::entry::{Entry, FinalJob, Job, Promise, Raw};
use super::execution::{Applied, NodeExecution};
use super::gate::Gate;
use super::inbox::Inbox;
use super::inclusions::Inclusions;
use super::outbox::Outbox;
use super::own::{Own, Settled};
use super::peers::{Peers, answers_to, name_of, to_of};
use super::places::Taken;
use super::promises::Accepting;
use super::serve::Questions;
use super::slot_line::{SlotLine, Step, Surroundings};
use super::status::{BlockShown, CertifiedShown, ShardShown, Status};
use crate::intake::duties::DutyTable;
use crate::intake::quota::AskedBy;
use crate::peer::frames::{CELLS, peers_frame};
use crate::setup::clock::Clock;
use dynemix_engine::base::ids::{Endpoint, Prefix};
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::codec::put_committee_with_keys;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, To};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Entries of the inbox that are looked at together.
const TAKEN_AT_ONCE: usize = 64;
/// A step that is nearer than this is waited for.
const JUDGING: Duration = Duration::from_millis(10);
/// Peers that gossip goes to.
const GOSSIP: usize = 4;
/// What somebody claims waits for what others claim for this part of a slot at most: verified together, ten cost little
/// more than one.
const GATHERING: u64 = 100;
/// What will follow is computed if no step is due for this part of a slot.
const FORESEEING: u64 = 20;

/// What the thread works with.
pub struct Duty<S: Signing> {
    /// Consensus itself: a machine without threads, which this thread feeds.
    pub minter: Minter<NodeExecution<S>, S>,
    /// Its candidate, if it has one.
    pub candidate: Option<u32>,
    /// When, within a slot, each step is due.
    pub schedule: Schedule,
    /// Prefix of the chain's transactions.
    pub prefix: Prefix,
    /// Milliseconds since the chain's start, and whether they are good enough to mint by.
    pub clock: Clock,
    /// Where all other threads put what consensus is to hear.
    pub inbox: Arc<Inbox<Entry>>,
    /// Takes what is to be sent, and whom to call; never waits.
    pub mesh: MeshHandle,
    /// To the thread that makes things durable.
    pub writer: Sender<Job>,
    /// To the one that keeps own users' transactions.
    pub promises: Sender<Promise>,
    /// Who may send what: told of each height, and of what is asked.
    pub gate: Arc<Gate>,
    /// To the thread that verifies what rounds need.
    pub rounds: Arc<Inbox<Raw>>,
    /// To the thread that answers who asks for what has been.
    pub questions: Arc<Questions>,
    /// What others see.
    pub status: Arc<Status>,
    /// Remembers blocks' transactions for who wants proofs of them.
    pub inclusions: Arc<Inclusions>,
    /// Whom it calls.
    pub peers: Peers,
    /// Blocks go by count, by a clock that stands.
    pub counted: Option<Counted>,
    /// What is known of this thread alone.
    pub local: Local,
}

/// State of the thread that begins empty, but for what an earlier process has accepted.
#[derive(Default)]
pub struct Local {
    pub(super) own: Own,
    /// What waits until it is on the disk, in the order in which it was asked for.
    pub(super) accepting: VecDeque<Accepting>,
    /// Transactions that are in the file of those that were accepted.
    pub(super) in_file: usize,
    /// Taken from the inbox, and not worked off yet.
    taken: VecDeque<Entry>,
    queue: VecDeque<Action>,
    /// Actions wait until own transactions are durable.
    blocked: bool,
    parent: Option<Arc<System>>,
    outbox: Outbox,
    /// The connection that each name has spoken by last: what it says may be heard later.
    connections: BTreeMap<u32, PeerId>,
    /// The newest record of what was signed that was asked to be made durable, and the newest that is.
    tickets: Tickets,
    /// Transactions told for the pending height that came when the own set was closed.
    pub(super) late: usize,
    /// Transactions that users have brought.
    pub(super) brought: u64,
    /// Questions of this slot.
    pub(super) asked_by: AskedBy,
    line: SlotLine,
}

/// Tickets of records: they ascend on their way to the writer, and come back in that order.
#[derive(Default)]
struct Tickets {
    asked: u64,
    durable: u64,
}

impl Tickets {
    fn ask(&mut self, ticket: u64) {
        assert!(ticket > self.asked, "ticket {ticket} is asked for after ticket {}", self.asked);
        self.asked = ticket;
    }

    fn are_durable(&self) -> bool {
        self.asked == self.durable
    }

    fn is_durable(&mut self, ticket: u64) {
        let Tickets { asked, durable } = *self;
        assert!(ticket > durable, "ticket {ticket} is durable after ticket {durable}");
        assert!(ticket <= asked, "ticket {ticket} is durable, and only {asked} were asked for");
        self.durable = ticket;
    }
}

/// Whether all that is to be done with an entry is to verify what a minter claims.
fn is_claim(entry: &Entry) -> bool {
    match entry {
        Entry::Message(_, message, _) => is_light(entry) && !matches!(**message, Message::Item(_)),
        _ => false,
    }
}

/// Whether an entry takes so little that others are looked at with it: claims, which are verified together, and what was
/// verified.
fn is_light(entry: &Entry) -> bool {
    match entry {
        Entry::Record(..) => true,
        Entry::Message(_, message, _) => match &**message {
            Message::First { .. } | Message::Second { .. } => true,
            Message::Shard { message, .. } => !matches!(message, ShardMessage::Items(_) | ShardMessage::Set(..)),
            _ => false,
        },
        _ => false,
    }
}

impl<S: Signing> Duty<S> {
    /// Runs until told to stop.
    pub fn run(mut self) {
        self.local.parent = Some(self.minter.execution.shared_system().clone());
        self.local.own.begin(self.schedule.slot_ms);
        // How much users may bring is known from whom they would be told to.
        self.tell_own();
        self.begin_room();
        self.publish();
        self.peers.call(&self.mesh, &self.gate.duties());
        let resumed = self.minter.resume();
        self.act(resumed);
        let mut leaving_at = None;
        loop {
            let now = self.clock.now_ms();
            self.minter.mind_clock(now);
            self.minter.set_minting(self.candidate.is_some() && self.clock.is_trusted());
            if self.minter.wake_at_ms() <= now {
                let due = self.minter.wake_at_ms();
                self.minter.execution.set_max = self.set_max(now - due);
                let actions = self.minter.tick(now);
                let step = Step { due_ms: due, taken_ms: now, done_ms: self.clock.now_ms() };
                let room = self.gate.room().total();
                step.log(&self.schedule, &self.minter, &self.local.own, (self.local.late, room));
                self.act(actions);
                self.tell_room(now);
                self.end_slot(now);
                continue;
            }
            if leaving_at.is_some_and(|at| now >= at || !self.minter.seated()) {
                return;
            }
            let until_step = self.clock.until(self.minter.wake_at_ms());
            let wait = until_step.min(Duration::from_millis(100));
            // While there is nothing to hear, what waits is judged, and what will follow is computed.
            let spare = wait > JUDGING || self.counted.is_some();
            let idle = if spare && self.minter.seated() { Duration::ZERO } else { wait };
            let mut entry = self.next_entry(idle);
            let judged = entry.is_none() && idle.is_zero() && self.minter.execution.judge_some();
            // What follows takes a while to compute: only with time to spare.
            let mut foreseen =
                || until_step > Duration::from_millis(self.schedule.slot_ms / FORESEEING) && self.minter.foresee();
            if entry.is_none() && idle.is_zero() && !judged && !foreseen() {
                if self.passes_time() {
                    continue;
                }
                entry = self.next_entry(wait);
            }
            match entry {
                None => {}
                Some(Entry::Stop(at_once)) => {
                    if at_once {
                        return;
                    }
                    // At the slot's end nothing is under way that a restart would have to remember.
                    leaving_at = Some((self.schedule.slot(now) + 1) * self.schedule.slot_ms);
                }
                Some(entry) => self.take(now, entry),
            }
        }
    }

    /// Where blocks go by count: nothing is left to do before the next step, so that it is due now. Sets close when all has
    /// been brought that the block is of; until then it is as late as users' transactions are told.
    fn passes_time(&mut self) -> bool {
        let Some(counted) = self.counted else { return false };
        if self.local.blocked || !self.local.tickets.are_durable() || !self.local.accepting.is_empty() {
            return false;
        }
        let (now, next, schedule) = (self.clock.now_ms(), self.minter.wake_at_ms(), self.schedule);
        let closes = next % schedule.slot_ms == schedule.sets_ms;
        let brought = counted.due(self.minter.pending_height()).is_some_and(|due| self.local.brought >= due);
        let to = if closes && !brought { self.last_told_at(next) } else { next };
        let passes = to > now;
        if passes {
            self.clock.set_forward(to);
        }
        passes
    }

    /// The next entry. Several are taken at once, and what their messages claim is verified together.
    fn next_entry(&mut self, wait: Duration) -> Option<Entry> {
        if self.local.taken.is_empty() {
            self.inbox.take_some(wait, TAKEN_AT_ONCE, is_light, &mut self.local.taken);
            if !self.local.taken.is_empty() && self.local.taken.iter().all(is_claim) {
                // No more come than there are others.
                let others = self.minter.master().committee.len().saturating_sub(1).clamp(1, TAKEN_AT_ONCE);
                let at_most = Duration::from_millis(self.schedule.slot_ms / GATHERING);
                let until_step = self.clock.until(self.minter.wake_at_ms());
                self.inbox.gather(at_most.min(until_step / 2), others, is_claim, &mut self.local.taken);
            }
            if self.local.taken.len() > 1 {
                let now = self.clock.now_ms();
                self.minter.verify_ahead(
                    now,
                    self.local.taken.iter().filter_map(|entry| match entry {
                        Entry::Message(from, message, _) if !self.gate.is_out(*from) => Some((from.name?, &**message)),
                        _ => None,
                    }),
                );
            }
        }
        self.local.taken.pop_front()
    }

    fn take(&mut self, now: u64, entry: Entry) {
        match entry {
            Entry::Message(from, ..) if self.gate.is_out(from) => {}
            Entry::Message(from, message, _body) => self.hear(now, from, *message),
            Entry::Record(from, item) => self.hear(now, from, Message::Item(item)),
            Entry::Cells(batch) => {
                let places: Vec<Taken> = batch.into_iter().map(|ready| self.admit(ready)).collect();
                // Before they are given back: nobody takes them twice.
                self.note_own_left();
                drop(places);
            }
            Entry::Accepted(jobs) => self.accepted(now, jobs),
            Entry::Durable(ticket) => {
                self.local.tickets.is_durable(ticket);
                let actions = self.minter.persisted(now, ticket);
                self.act(actions);
            }
            Entry::Kept => {
                assert!(self.local.blocked, "transactions are kept that nothing waits for");
                self.local.blocked = false;
                self.carry_out();
            }
            Entry::Stored(height) => {
                let before = self.status.stored.swap(height, Ordering::Relaxed);
                let newest = self.minter.execution.system().height;
                let next = before < height && height <= newest;
                assert!(next, "height {height} is stored after {before}, and {newest} is the newest that is final");
            }
            Entry::Opened(peer) => self.greet(peer),
            Entry::Room(minter, word) => self.local.own.pace.hear(minter, word.height, word.transactions),
            Entry::Peers(targets) => self.peers.learn(targets, &self.mesh, &self.gate.duties()),
            Entry::Stop(_) => {}
        }
    }

    fn hear(&mut self, now: u64, from: PeerInfo, message: Message) {
        if self.is_answered(from, &message) {
            return;
        }
        self.local.connections.extend(from.name.map(|name| (name, from.id)));
        if let Message::Block(block) = &message
            && block.height == self.minter.pending_height()
            && from.name.is_some()
            && !self.minter.master().holds(&block.listed_hash())
        {
            // A copy of one that is held says nothing new, and looking through all that waits costs as much again.
            self.track_certified(block.height, block);
        }
        let (pending, whole) =
            (self.minter.pending_height(), matches!(&message, Message::Final(_, blocks) if !blocks.is_empty()));
        let block = if let Message::Block(block) = &message { Some((block.height, block.listed_hash())) } else { None };
        let actions = self.minter.handle(now, name_of(from), message);
        self.act(actions);
        let next = self.minter.pending_height();
        // Each minter of a shard sends its block: one is verified.
        block
            .filter(|(height, hash)| *height == next && self.minter.master().holds(hash))
            .into_iter()
            .for_each(|(_, hash)| self.gate.note_held(hash));
        if whole && next > pending && self.minter.height_heard() > next {
            // Whoever has served one height is asked for the next at once.
            self.send(to_of(name_of(from)), &Message::WantFinal(next));
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.local.queue.extend(actions);
        self.carry_out();
        self.status.pool.store(self.minter.execution.pool.len(), Ordering::Relaxed);
        self.status.own.store(self.local.own.len(), Ordering::Relaxed);
        self.note_own_left();
        self.status.heard.store(self.minter.height_heard(), Ordering::Relaxed);
    }

    fn carry_out(&mut self) {
        while !self.local.blocked
            && let Some(action) = self.local.queue.pop_front()
        {
            match action {
                Action::Send(to, _) if Some(to) == self.candidate => {}
                Action::Send(to, message) => self.send(to_of(to), &message),
                Action::Gossip(message) => self.send(To::Some(GOSSIP), &message),
                // In blockchain mode blocks travel whole, and a lock keeps them.
                Action::Keep(..) if !self.minter.execution.quilt_mode() => {}
                Action::Keep(block, height, items) => {
                    self.inclusions.keep(block, height, &items);
                    self.local.blocked = self.writer.send(Job::Keep(block, height, items)).is_ok();
                }
                Action::Persist(ticket, record) => self.persist(ticket, record),
                Action::Penalise(name, offence) => self.penalise(name, offence),
                Action::Refused(decided) => tracing::error!(
                    height = decided.value.height,
                    block = hex::encode(decided.hash),
                    "a quorum has made final what does not follow from its blocks: either more of the committee has \
                     lied than is tolerated, or this node's state is damaged. It goes no further and signs nothing at \
                     this height; compare with other nodes"
                ),
                Action::Certified(block) => self.certified(&block),
                Action::Checked(height, block, items) => {
                    tracing::debug!(height, block = hex::encode(block), "transactions found to make their patch");
                    self.inclusions.keep(block, height, &items);
                }
                Action::Finalized(decided, blocks) => self.finalized(decided, blocks),
            }
        }
    }

    fn persist(&mut self, ticket: u64, mut record: SignedOnce) {
        if self.minter.execution.quilt_mode() {
            // Patches are what others need of these; own transactions are kept beside.
            let bare =
                |block: &Arc<CertifiedBlock>| Arc::new(CertifiedBlock { items: Items::default(), ..(**block).clone() });
            record.locked.blocks = record.locked.blocks.iter().map(bare).collect();
        }
        self.local.tickets.ask(ticket);
        // A writer that has stopped has said why; without it nothing is signed.
        let _ = self.writer.send(Job::Persist(ticket, Box::new(record)));
    }

    /// Whoever lies loses its connection.
    fn penalise(&mut self, name: u32, offence: Offence) {
        let connection = match to_of(name) {
            To::Peer(peer) => Some(peer),
            _ => self.local.connections.get(&name).copied(),
        };
        tracing::warn!(name, ?offence, "a peer has lied");
        let proved = matches!(to_of(name), To::Name(_)).then_some(name);
        connection.into_iter().for_each(|peer| self.gate.book(proved, peer, offence.points()));
    }

    fn send(&mut self, to: To, message: &Message) {
        self.gate.asks(to, message);
        let (class, frame) = self.local.outbox.frame(message, &self.minter.execution);
        match answers_to(message) {
            0 => self.mesh.send(to, class, frame),
            answers => self.mesh.ask(to, class, frame, answers),
        }
    }

    fn certified(&mut self, block: &CertifiedBlock) {
        self.track_certified(block.height, block);
        let at_ms = self.clock.now_ms();
        self.status.add_certified(CertifiedShown { height: block.height, shard: block.block.shard, at_ms });
        self.status.duties.fetch_add(1, Ordering::Relaxed);
    }

    fn finalized(&mut self, decided: Arc<Final>, blocks: Vec<Arc<CertifiedBlock>>) {
        let height = decided.value.height;
        let applied = &mut self.minter.execution.applied;
        let Some(place) = applied.iter().position(|applied| applied.height == height) else { return };
        let Applied { quilt, root, system, bans, .. } = applied.swap_remove(place);
        assert!(applied.iter().all(|later| later.height > height), "height {height} is final after a later one");
        assert_eq!(system.height, height, "the system after a block is of its height");
        for (height, shard) in bans {
            tracing::warn!(height, shard, "a shard-block was banned: nothing of it takes effect");
        }
        let shards: Vec<_> = blocks
            .iter()
            .map(|block| ShardShown {
                shard: block.block.shard,
                hash: hex::encode(block.hash),
                transactions: block.block.transactions,
            })
            .collect();
        self.inclusions.finalized(height, &blocks);
        let transactions: u64 = shards.iter().map(|shard| u64::from(shard.transactions)).sum();
        self.status.final_transactions.fetch_add(transactions, Ordering::Relaxed);
        let parent = self.local.parent.replace(system.clone()).expect("set at the start");
        assert_eq!(parent.height + 1, height, "heights become final one by one");
        self.peers.mind_name(&self.mesh, self.candidate, &parent, &system);
        self.status.add_block(BlockShown {
            height,
            slot: decided.value.slot,
            attempt: decided.attempt,
            hash: hex::encode(&decided.hash),
            state_root: hex::encode(root),
            shards,
            signers: decided.certificate.signers.len(),
            seats: parent.committee.len(),
            final_ms: self.clock.now_ms(),
        });
        let Settled { finals, frames, given_up } = {
            let own = &mut self.local.own;
            self.minter.execution.settled(|view| {
                own.resume_orphans(view.chain, view.state, &system);
                own.settle(view.state, &parent, &system, |item, account| view.fits(item, account))
            })
        };
        self.status.own_final.fetch_add(finals, Ordering::Relaxed);
        self.give_up(given_up);
        self.tidy_accepted();
        self.mesh.send_all(frames);
        self.track_final(height, decided.value.slot, &parent);
        let mut committee = Vec::new();
        put_committee_with_keys(&parent, &parent.committee, &mut committee);
        // A writer that has stopped has said why.
        let _ = self.writer.send(Job::Final(Box::new(FinalJob { decided, blocks, committee, quilt, root, system })));
        self.local.late = 0;
        self.begin_room();
        self.publish();
        if self.minter.execution.system().height == height {
            self.peers.call(&self.mesh, &self.gate.duties());
            self.tell_own();
        }
    }

    /// A height is told for.
    fn begin_room(&self) {
        let seats = self.minter.execution.system().committee.len();
        self.gate.room().begin(self.minter.pending_height(), seats, self.clock.now_ms());
    }

    /// Says what became of the slot before this one, once.
    fn end_slot(&mut self, now: u64) {
        let slot = self.schedule.slot(now);
        if !self.local.line.begins(slot) {
            return;
        }
        self.local.asked_by.clear();
        self.clock.network_says(self.minter.slots_ahead());
        let around = Surroundings {
            pending: self.minter.pending_height(),
            heard: self.minter.height_heard(),
            pool: self.minter.execution.pool.len(),
            peers: self.mesh.counters().members.load(Ordering::Relaxed),
        };
        // A clock that was ahead can be set back to the chain's first slot, before which none has ended.
        if let Some(ended) = SlotLine::ended(slot) {
            self.local.line.log(ended, self.schedule.slot_ms, &self.status, &around);
        }
    }

    /// Shows the system and the own seat to others.
    fn publish(&self) {
        let system = self.minter.execution.shared_system().clone();
        self.gate.begin_height(DutyTable::of(system.clone(), self.minter.execution.quilt_mode(), self.candidate));
        // What came before its time is looked at.
        self.rounds.push_own(Raw::Height);
        let seated = self.minter.seated();
        let seat = self.candidate.and_then(|candidate| system.committee.seat_of(candidate));
        let shard = seat.map(|seat| system.committee.members[usize::from(seat)].shard);
        self.status.change(|live| {
            (live.seated, live.shard) = (seated, shard);
            live.height = system.height;
            live.system = Some(system);
        });
    }

    fn greet(&mut self, peer: PeerInfo) {
        let system = self.minter.execution.system();
        let known: Vec<Endpoint> = system.endpoints.values().filter(|endpoint| endpoint.port != 0).copied().collect();
        self.mesh.send(To::Peer(peer.id), CELLS, peers_frame(known.into_iter()).into());
        // Whoever comes may be ahead. It is told, not asked: room for long answers is for who has shown that it has one.
        let question = Message::WantFinal(self.minter.pending_height());
        let (class, frame) = self.local.outbox.frame(&question, &self.minter.execution);
        self.mesh.send(To::Peer(peer.id), class, frame);
    }
}
