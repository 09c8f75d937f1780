//! Consensus and users' transactions of a node: a machine without threads, channels, sockets and clocks. An [`Entry`] or
//! a moment goes in, and what is to be done outside comes out as an [`Effect`]. The consensus thread drives it, see
//! [`super::duty`], and so does whoever simulates a node.
//!
//! Effects are handed out one by one as they arise, in their order: a vote is on its way before what comes behind it is
//! worked out, and nothing is gathered or allocated for them. What other threads of the node only look at, or count with,
//! is no effect: the rules of intake ([`Gate`]), what is shown ([`Status`]) and what is remembered for proofs
//! ([`Inclusions`]) are tables that anybody may change from anywhere, and no order of theirs matters to anybody.

use super::counted::Counted;
use super::entry::{Entry, FinalJob, Job, Promise, Question};
use super::execution::{Applied, NodeExecution};
use super::fate::{Fates, Settled};
use super::gate::Gate;
use super::inclusions::Inclusions;
use super::outbox::Outbox;
use super::own::Own;
use super::peers::{Calls, Peers, answers_to, name_of, to_of};
use super::places::Taken;
use super::promises::Accepting;
use super::slot_line::{SlotLine, Step, Surroundings};
use super::status::{BlockShown, CertifiedShown, ShardShown, Status};
use super::toll::Toll;
use super::unproved::Unproved;
use crate::intake::duties::DutyTable;
use crate::intake::quota::AskedBy;
use crate::peer::frames::{CELLS, Frame, peers_frame};
use dynemix_engine::base::ids::{Endpoint, Prefix};
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::codec::put_committee_with_keys;
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{PeerId, PeerInfo, To};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Peers that gossip goes to.
const GOSSIP: usize = 4;

/// What is to be done outside of the core.
pub enum Effect {
    /// A frame goes out.
    Send(Frame),
    /// Several do, in this order.
    SendAll(Vec<Frame>),
    /// A question goes out, which so many answers are awaited to.
    Ask(Frame, u32),
    /// Make this durable, in the order in which it was asked for, and say so.
    Write(Job),
    /// Keep this of own users' transactions, and say so.
    Keep(Promise),
    /// Answer who asks for what has been.
    Answer(PeerInfo, Question),
    /// Call these from now on.
    Call(Box<Calls>),
    /// The same if there are few peers.
    CallIfFew(Box<Calls>),
    /// Call everybody again: the own name is known now.
    CallAgain,
    /// A height has begun: what came before its time may be looked at.
    HeightBegun,
    /// A block is final. When, says whoever shows it: it has taken a while to apply it.
    Final(Box<BlockShown>),
    /// A slot has begun: the one before it, if there is one, has ended.
    SlotBegun(u64),
}

/// Takes effects as they arise.
pub type Out<'a> = &'a mut dyn FnMut(Effect);

/// What the machine works with.
pub struct Core<S: Signing> {
    /// Consensus itself: a machine without threads as well.
    pub minter: Minter<NodeExecution<S>, S>,
    /// Its candidate, if it has one.
    pub candidate: Option<u32>,
    /// When, within a slot, each step is due.
    pub schedule: Schedule,
    /// Prefix of the chain's transactions.
    pub prefix: Prefix,
    /// Who may send what: told of each height, and of what is asked.
    pub gate: Arc<Gate>,
    /// What others see.
    pub status: Arc<Status>,
    /// Remembers blocks' transactions for who wants proofs of them.
    pub inclusions: Arc<Inclusions>,
    /// Whom it calls.
    pub peers: Peers,
    /// Blocks go by count, by a clock that stands.
    pub counted: Option<Counted>,
    /// How the cost of judging transactions is found.
    pub judging: Toll,
    /// What is known of this machine alone.
    pub local: Local,
}

/// State of the machine that begins empty, but for what an earlier process has accepted.
#[derive(Default)]
pub struct Local {
    pub(super) own: Own,
    pub(super) unproved: Unproved,
    /// The next height's minters are told when those are answered, or had their time.
    pub(super) tells_later: bool,
    /// When the last height became final here.
    pub(super) final_ms: u64,
    /// What waits until it is on the disk, in the order in which it was asked for.
    pub(super) accepting: VecDeque<Accepting>,
    /// Transactions that are in the file of those that were accepted.
    pub(super) in_file: usize,
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

impl<S: Signing> Core<S> {
    /// Begins: once, before all else.
    pub fn begin(&mut self, now: u64, out: Out<'_>) {
        assert!(self.local.parent.is_none(), "a core begins once");
        self.local.parent = Some(self.minter.execution.shared_system().clone());
        self.local.own.begin(self.schedule.slot_ms);
        // How much users may bring is known from whom they would be told to.
        self.tell_own(out);
        self.begin_room(now);
        self.publish(out);
        self.call(out);
        let resumed = self.minter.resume();
        self.act(now, resumed, out);
    }

    /// Takes note of the time, before [`Self::wake_at_ms`] is asked: a clock may have jumped. Whether it is good enough
    /// to mint by.
    pub fn mind_clock(&mut self, now: u64, trusted: bool) {
        self.minter.mind_clock(now);
        self.minter.set_minting(self.candidate.is_some() && trusted);
    }

    /// By when the slot before that of the newest block had begun, whatever the own clock says.
    pub fn begun_at_least_ms(&self) -> u64 {
        self.minter.execution.system().slot.saturating_sub(1).saturating_mul(self.schedule.slot_ms)
    }

    /// When [`Self::tick`] is to be called next.
    pub fn wake_at_ms(&self) -> u64 {
        self.minter.wake_at_ms()
    }

    /// Time has passed: a step is due.
    pub fn tick(&mut self, now: u64, out: Out<'_>) {
        let due = self.minter.wake_at_ms();
        assert!(due <= now, "a step that is due at {due} ms is taken at {now}");
        self.minter.execution.set_max = self.set_max(now - due);
        let actions = self.minter.tick(now);
        self.act(now, actions, out);
        self.tell_room(now, out);
        self.ask_unproved(now, out);
        self.end_slot(now, out);
    }

    /// Does some of what would have to be done later, if no step is due soon: what waits is judged, and `ahead` what will
    /// follow is computed, which takes a while. False when there is nothing.
    pub fn use_spare_time(&mut self, ahead: bool) -> bool {
        self.minter.execution.judge_some() || (ahead && self.minter.foresee())
    }

    /// Where blocks go by count: when time may go on to, since nothing is left to do before the next step. Sets close when
    /// all has been brought that the block is of; until then it is as late as users' transactions are told.
    pub fn passes_to(&self) -> Option<u64> {
        let counted = self.counted?;
        if self.local.blocked || !self.local.tickets.are_durable() || !self.local.accepting.is_empty() {
            return None;
        }
        let (next, schedule) = (self.minter.wake_at_ms(), self.schedule);
        let closes = next % schedule.slot_ms == schedule.sets_ms;
        let brought = counted.due(self.minter.pending_height()).is_some_and(|due| self.local.brought >= due);
        Some(if closes && !brought { self.last_told_at(next) } else { next })
    }

    /// Minters that speak at a height beside this one.
    pub fn others(&self) -> usize {
        self.minter.master().committee.len().saturating_sub(1)
    }

    /// Verifies together what messages of these claim, for each of them to be heard at once.
    pub fn verify_ahead<'a>(&mut self, now: u64, entries: impl Iterator<Item = &'a Entry>) {
        let gate = &self.gate;
        self.minter.verify_ahead(
            now,
            entries.filter_map(|entry| match entry {
                Entry::Message(from, message, _) if !gate.is_out(*from) => Some((from.name?, &**message)),
                _ => None,
            }),
        );
    }

    /// Hears an entry.
    pub fn handle(&mut self, now: u64, entry: Entry, out: Out<'_>) {
        match entry {
            Entry::Message(from, ..) if self.gate.is_out(from) => {}
            Entry::Message(from, message, _body) => self.hear(now, from, *message, out),
            Entry::Record(from, item) => self.hear(now, from, Message::Item(item), out),
            Entry::Cells(batch) => {
                let places: Vec<Taken> = batch.into_iter().map(|ready| self.admit(now, ready, out)).collect();
                // Before they are given back: nobody takes them twice.
                self.note_own_left(now);
                drop(places);
            }
            Entry::Accepted(jobs) => self.accepted(now, jobs, out),
            Entry::Durable(ticket) => {
                self.local.tickets.is_durable(ticket);
                let actions = self.minter.persisted(now, ticket);
                self.act(now, actions, out);
            }
            Entry::Kept => {
                assert!(self.local.blocked, "transactions are kept that nothing waits for");
                self.local.blocked = false;
                self.carry_out(now, out);
            }
            Entry::Stored(height) => {
                let before = self.status.stored.swap(height, Ordering::Relaxed);
                let newest = self.minter.execution.system().height;
                let next = before < height && height <= newest;
                assert!(next, "height {height} is stored after {before}, and {newest} is the newest that is final");
            }
            Entry::Opened(peer) => self.greet(peer, out),
            Entry::Paths(from, place, proofs, _body) => self.hear_proofs(now, from, place, &proofs, out),
            Entry::Ids(from, body) => self.hear_ids(now, from, &body, out),
            Entry::Room(minter, word) => self.local.own.pace.hear(minter, word.height, word.transactions),
            Entry::Named(found) => {
                self.peers.set_configured(found.peers);
                self.minter.execution.set_public(found.public);
                self.call(out);
            }
            Entry::Peers(targets) => {
                self.peers.learn(targets);
                out(Effect::CallIfFew(Box::new(self.peers.calls(&self.gate.duties()))));
            }
            // Whoever drives this has stopped.
            Entry::Stop(_) => {}
        }
    }

    fn hear(&mut self, now: u64, from: PeerInfo, message: Message, out: Out<'_>) {
        if self.is_answered(from, &message, out) {
            return;
        }
        self.local.connections.extend(from.name.map(|name| (name, from.id)));
        if let Message::Block(block) = &message
            && block.height == self.minter.pending_height()
            && from.name.is_some()
            && !self.minter.master().holds(&block.listed_hash())
        {
            // A copy of one that is held says nothing new, and looking through all that waits costs as much again.
            self.track_certified(now, block.height, block);
        }
        let (pending, whole) =
            (self.minter.pending_height(), matches!(&message, Message::Final(_, blocks) if !blocks.is_empty()));
        let block = if let Message::Block(block) = &message { Some((block.height, block.listed_hash())) } else { None };
        let actions = self.minter.handle(now, name_of(from), message);
        self.act(now, actions, out);
        let next = self.minter.pending_height();
        // Each minter of a shard sends its block: one is verified.
        block
            .filter(|(height, hash)| *height == next && self.minter.master().holds(hash))
            .into_iter()
            .for_each(|(_, hash)| self.gate.note_held(hash));
        if whole && next > pending && self.minter.height_heard() > next {
            // Whoever has served one height is asked for the next at once.
            self.send(to_of(name_of(from)), &Message::WantFinal(next), out);
        }
    }

    fn act(&mut self, now: u64, actions: Vec<Action>, out: Out<'_>) {
        self.local.queue.extend(actions);
        self.carry_out(now, out);
        self.status.pool.store(self.minter.execution.pool.len(), Ordering::Relaxed);
        self.status.own.store(self.local.own.len(), Ordering::Relaxed);
        self.note_own_left(now);
        self.status.heard.store(self.minter.height_heard(), Ordering::Relaxed);
    }

    fn carry_out(&mut self, now: u64, out: Out<'_>) {
        while !self.local.blocked
            && let Some(action) = self.local.queue.pop_front()
        {
            match action {
                Action::Send(to, _) if Some(to) == self.candidate => {}
                Action::Send(to, message) => self.send(to_of(to), &message, out),
                Action::Gossip(message) => self.send(To::Some(GOSSIP), &message, out),
                // In blockchain mode blocks travel whole, and a lock keeps them.
                Action::Keep(..) if !self.minter.execution.quilt_mode() => {}
                Action::Keep(block, height, items) => {
                    self.keep_items(now, block, height, &items, out);
                    self.local.blocked = true;
                    out(Effect::Write(Job::Keep(block, height, items)));
                }
                Action::Persist(ticket, record) => self.persist(ticket, record, out),
                Action::Penalise(name, offence) => self.penalise(name, offence),
                Action::Refused(decided) => tracing::error!(
                    height = decided.value.height,
                    block = hex::encode(decided.hash),
                    "a quorum has made final what does not follow from its blocks: either more of the committee has \
                     lied than is tolerated, or this node's state is damaged. It goes no further and signs nothing at \
                     this height; compare with other nodes"
                ),
                Action::Certified(block) => self.certified(now, &block),
                Action::Checked(height, block, items) => {
                    tracing::debug!(height, block = hex::encode(block), "transactions found to make their patch");
                    self.keep_items(now, block, height, &items, out);
                }
                Action::Finalized(decided, blocks) => self.finalized(now, decided, blocks, out),
            }
        }
    }

    fn persist(&mut self, ticket: u64, mut record: SignedOnce, out: Out<'_>) {
        if self.minter.execution.quilt_mode() {
            // Patches are what others need of these; own transactions are kept beside.
            let bare =
                |block: &Arc<CertifiedBlock>| Arc::new(CertifiedBlock { items: Items::default(), ..(**block).clone() });
            record.locked.blocks = record.locked.blocks.iter().map(bare).collect();
        }
        self.local.tickets.ask(ticket);
        out(Effect::Write(Job::Persist(ticket, Box::new(record))));
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

    fn send(&mut self, to: To, message: &Message, out: Out<'_>) {
        self.gate.asks(to, message);
        let (class, frame) = self.local.outbox.frame(message, &self.minter.execution);
        out(match answers_to(message) {
            0 => Effect::Send((to, class, frame)),
            answers => Effect::Ask((to, class, frame), answers),
        });
    }

    fn certified(&mut self, at_ms: u64, block: &CertifiedBlock) {
        self.track_certified(at_ms, block.height, block);
        self.status.add_certified(CertifiedShown { height: block.height, shard: block.block.shard, at_ms });
        self.status.duties.fetch_add(1, Ordering::Relaxed);
    }

    fn finalized(&mut self, now: u64, decided: Arc<Final>, blocks: Vec<Arc<CertifiedBlock>>, out: Out<'_>) {
        let height = decided.value.height;
        let applied = &mut self.minter.execution.applied;
        let Some(place) = applied.iter().position(|applied| applied.height == height) else { return };
        let Applied { quilt, root, system, bans, .. } = applied.swap_remove(place);
        assert!(applied.iter().all(|later| later.height > height), "height {height} is final after a later one");
        assert_eq!(system.height, height, "the system after a block is of its height");
        for (height, shard) in &bans {
            tracing::warn!(height, shard, "a shard-block was banned: nothing of it takes effect");
        }
        let shards: Vec<_> = blocks
            .iter()
            .map(|block| ShardShown {
                shard: block.block.shard,
                hash: hex::encode(block.hash),
                transactions: Patch::signed(&block.patch).map_or(block.block.transactions, |signed| signed as u32),
                items: block.block.transactions,
            })
            .collect();
        self.local.final_ms = now;
        let here = self.inclusions.finalized(height, &blocks);
        self.status.count_final(&shards);
        let parent = self.local.parent.replace(system.clone()).expect("set at the start");
        assert_eq!(parent.height + 1, height, "heights become final one by one");
        if self.peers.mind_name(self.candidate, &parent, &system) {
            out(Effect::CallAgain);
        }
        out(Effect::Final(Box::new(BlockShown {
            height,
            slot: decided.value.slot,
            attempt: decided.attempt,
            hash: hex::encode(&decided.hash),
            state_root: hex::encode(root),
            shards,
            signers: decided.certificate.signers.len(),
            seats: parent.committee.len(),
            final_ms: now,
        })));
        let (mut fates, prefix) = (Fates::of(self.prefix, here), self.prefix);
        let Settled { finals, unproved, frames, given_up } = {
            let own = &mut self.local.own;
            let taken = |shard: usize, item: &Item| fates.fate(shard, item);
            self.minter.execution.settled(|view| {
                own.resume_orphans(view.chain, view.state, &system);
                own.settle(&prefix, view.state, &parent, &system, |item, account| view.fits(item, account), taken)
            })
        };
        self.status.own_final.fetch_add(finals, Ordering::Relaxed);
        self.give_up(now, given_up);
        self.tidy_accepted(out);
        out(Effect::SendAll(frames));
        let block = (height, decided.value.slot);
        self.track_final(now, block, &parent, &mut fates);
        self.find_out(now, block, (&parent, &blocks), unproved, out);
        self.track_effects(now, &system, &bans);
        let mut committee = Vec::new();
        put_committee_with_keys(&parent, &parent.committee, &mut committee);
        let job = FinalJob { decided, blocks, committee, quilt, root, system };
        out(Effect::Write(Job::Final(Box::new(job))));
        self.local.late = 0;
        self.begin_room(now);
        self.publish(out);
        if self.minter.execution.system().height == height {
            self.call(out);
            self.tell_next(now, out);
        }
    }

    /// A height is told for.
    fn begin_room(&self, now: u64) {
        let seats = self.minter.execution.system().committee.len();
        self.gate.room().begin(self.minter.pending_height(), seats, now);
    }

    /// Has the slot before this one told of, once.
    fn end_slot(&mut self, now: u64, out: Out<'_>) {
        let slot = self.schedule.slot(now);
        if self.local.line.begins(slot) {
            self.local.asked_by.clear();
            out(Effect::SlotBegun(slot));
        }
    }

    /// How many slots others are ahead, as they say.
    pub fn slots_ahead(&self) -> Option<RangeInclusive<i64>> {
        self.minter.slots_ahead()
    }

    /// Says in the log what became of a slot, with so many `peers` that have a name.
    pub fn log_slot(&mut self, ended: u64, peers: u64) {
        let around = Surroundings {
            pending: self.minter.pending_height(),
            heard: self.minter.height_heard(),
            pool: self.minter.execution.pool.len(),
            peers,
        };
        self.local.line.log(ended, self.schedule.slot_ms, &self.status, &around);
    }

    /// Says in the log what a step has found and left.
    pub fn log_step(&self, step: &Step) {
        let (room, costs_ns) = {
            let room = self.gate.room();
            (room.total(), room.costs_ns())
        };
        step.log(&self.schedule, &self.minter, &self.local.own, (self.local.late, room, costs_ns));
    }

    /// Shows the system and the own seat to others.
    fn publish(&self, out: Out<'_>) {
        let system = self.minter.execution.shared_system().clone();
        self.gate.begin_height(DutyTable::of(system.clone(), self.minter.execution.quilt_mode(), self.candidate));
        // What came before its time is looked at.
        out(Effect::HeightBegun);
        let seated = self.minter.seated();
        let seat = self.candidate.and_then(|candidate| system.committee.seat_of(candidate));
        let shard = seat.map(|seat| system.committee.members[usize::from(seat)].shard);
        self.status.change(|live| {
            (live.seated, live.shard) = (seated, shard);
            live.height = system.height;
            live.system = Some(system);
        });
    }

    fn call(&self, out: Out<'_>) {
        out(Effect::Call(Box::new(self.peers.calls(&self.gate.duties()))));
    }

    fn greet(&mut self, peer: PeerInfo, out: Out<'_>) {
        let system = self.minter.execution.system();
        let known: Vec<Endpoint> = system.endpoints.values().filter(|endpoint| endpoint.port != 0).copied().collect();
        out(Effect::Send((To::Peer(peer.id), CELLS, peers_frame(known.into_iter()).into())));
        // Whoever comes may be ahead. It is told, not asked: room for long answers is for who has shown that it has one.
        let question = Message::WantFinal(self.minter.pending_height());
        let (class, frame) = self.local.outbox.frame(&question, &self.minter.execution);
        out(Effect::Send((To::Peer(peer.id), class, frame)));
    }
}
