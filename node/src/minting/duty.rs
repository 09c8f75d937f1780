//! The consensus thread: it alone owns the minter. It sleeps until the next step or the next entry of its inbox, and
//! carries out what the minter wants in that order, never waiting for a disk or a socket.

use crate::setup::clock::Clock;
use super::execution::{Applied, NodeExecution, StateDirectory};
use super::inbox::Inbox;
use super::own::Own;
use super::prepare::{Raw, Ready};
use super::status::{BlockShown, CertifiedShown, ShardShown, Status, hex};
use crate::peer::frames::{self, BODIES, CELLS, FRAME_MESSAGE, Outcome, ROUNDS, class_of, peers_frame, target_of};
use super::writer::{FinalJob, Job};
use dynemix_engine::chain::Prefix;
use dynemix_engine::consensus::codec::{Nobody, encode};
use dynemix_engine::consensus::committee::shard_of;
use dynemix_engine::consensus::execution::Execution;
use dynemix_engine::consensus::message::{CertifiedBlock, Final, Items, Message, ShardMessage};
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::schedule::Schedule;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::consensus::signing::Signing;
use dynemix_engine::patch::Patch;
use dynemix_engine::refusal::Refusal;
use dynemix_engine::system::codec::put_committee_with_keys;
use dynemix_engine::system::record::Endpoint;
use dynemix_engine::system::tables::System;
use dynemix_net::mesh::{Body, MeshHandle, PeerId, PeerInfo, Target, To};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Candidates are accounts, below this; from it on stand connections of those who are none.
const GUEST: u32 = 1 << 31;
/// Peers that gossip goes to.
const GOSSIP: usize = 4;
/// Addresses that others have told, kept at most.
const LEARNED_MAX: usize = 256;
/// With fewer peers than these, learned addresses are called.
const PEERS_WANTED: u64 = 8;
/// Transactions are told to minters until this part of a slot before sets are closed: what comes later would be in some
/// sets and not in others, and sets that differ have to be exchanged.
const TELLING: u64 = 20;
/// Frames of rounds that are longer travel with the bodies.
const LONG_BYTES: usize = 1 << 20;
/// Entries of the inbox that are looked at together.
const TAKEN_AT_ONCE: usize = 64;
/// A step that is nearer than this is waited for.
const JUDGING: Duration = Duration::from_millis(10);
/// Questions that a guest may ask in a slot.
const ASKED_BY_GUEST: usize = 64;
/// What will follow is computed if no step is due for this part of a slot.
const FORESEEING: u64 = 20;
/// Slots without a block after which a node that is behind is told what to do.
const HINT_SLOTS: u64 = 8;
/// Records that one peer may bring for a height.
const RECORDS_OF_PEER: usize = 64;

/// What waits for the consensus thread.
pub enum Entry {
    /// A message of consensus. Its frame counts against its sender until it is heard.
    Message(PeerInfo, Box<Message>, Body),
    /// Verified transactions, frame by frame.
    Cells(Vec<Ready>),
    /// A record of what was signed is durable.
    Durable(u64),
    /// Own transactions are.
    Kept,
    /// A final block is.
    Stored(u64),
    /// A peer has come.
    Opened(PeerInfo),
    /// Addresses that a peer has told.
    Peers(Vec<Target>),
    /// Stop: at the end of the duty that is under way, or at once.
    Stop(bool),
}

/// What the thread works with.
pub struct Duty<S: Signing> {
    /// The minter.
    pub minter: Minter<NodeExecution<S>, Arc<S>>,
    /// Its candidate, if it has one.
    pub candidate: Option<u32>,
    /// Sub-slots.
    pub schedule: Schedule,
    /// Prefix of the chain's transactions.
    pub prefix: Prefix,
    /// Time.
    pub clock: Clock,
    /// What comes.
    pub inbox: Arc<Inbox<Entry>>,
    /// The network.
    pub mesh: MeshHandle,
    /// The disk.
    pub writer: Sender<Job>,
    /// For history.
    pub prepare: Sender<Raw>,
    /// What others see.
    pub status: Arc<Status>,
    /// Peers of the configuration and of genesis, always called.
    pub bootstrap: Vec<Target>,
    /// What is known of this thread alone.
    pub local: Local,
}

/// State of the thread that begins empty.
#[derive(Default)]
pub struct Local {
    own: Own,
    /// Taken from the inbox, and not worked off yet.
    taken: VecDeque<Entry>,
    queue: VecDeque<Action>,
    /// Actions wait until own transactions are durable.
    blocked: bool,
    parent: Option<Arc<System>>,
    learned: Vec<Target>,
    heard: u64,
    encoded: Option<(Encoded, Arc<[u8]>)>,
    records_of: BTreeMap<u32, usize>,
    /// The own stake took effect with the newest block.
    named_anew: bool,
    /// Transactions told for the pending height that came when the own set was closed.
    late: usize,
    /// Questions of guests in this slot.
    asked_by: BTreeMap<u64, usize>,
    logged_slot: u64,
    slots_without: u64,
}

/// What the last encoded frame was of: a block goes to many.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Encoded {
    Block([u8; 32]),
    Bodies([u8; 32]),
    Final([u8; 32], usize),
}

fn encoded_as(message: &Message) -> Option<Encoded> {
    match message {
        Message::Block(block) => Some(Encoded::Block(block.hash)),
        Message::Bodies(block, _) => Some(Encoded::Bodies(*block)),
        Message::Final(decided, blocks) => Some(Encoded::Final(decided.hash, blocks.len())),
        _ => None,
    }
}

/// Whether an entry takes so little that others are looked at with it: claims, which are verified together.
fn is_light(entry: &Entry) -> bool {
    match entry {
        Entry::Message(_, message, _) => match &**message {
            Message::Item(_) | Message::First { .. } | Message::Second { .. } => true,
            Message::Shard { message, .. } => !matches!(message, ShardMessage::Items(_) | ShardMessage::Set(..)),
            _ => false,
        },
        _ => false,
    }
}

/// The height that a message is about.
fn height_of(message: &Message) -> u64 {
    match message {
        Message::Shard { height, .. } | Message::Have { height, .. } | Message::Second { height, .. } => *height,
        Message::First { value, .. } | Message::Proposal { value, .. } => value.height,
        Message::Final(decided, _) => decided.value.height,
        Message::Block(block) => block.height,
        _ => 0,
    }
}

impl<S: Signing> Duty<S> {
    /// Runs until told to stop.
    pub fn run(mut self) {
        self.local.parent = Some(self.minter.execution.shared_system().clone());
        self.publish();
        self.call_peers();
        let resumed = self.minter.resume();
        self.act(resumed);
        let mut leaving_at = None;
        loop {
            let now = self.clock.now_ms();
            self.minter.set_minting(self.candidate.is_some() && self.clock.is_trusted());
            if self.minter.wake_at_ms() <= now {
                let due = self.minter.wake_at_ms();
                let actions = self.minter.tick(now);
                self.log_step(due, now);
                self.act(actions);
                self.log_slot(now);
                continue;
            }
            if leaving_at.is_some_and(|at| now >= at || !self.minter.seated()) {
                return;
            }
            let until_step = self.clock.until(self.minter.wake_at_ms());
            let wait = until_step.min(Duration::from_millis(100));
            // While there is nothing to hear, what waits is judged, and what will follow is computed.
            let idle = if wait > JUDGING && self.minter.seated() { Duration::ZERO } else { wait };
            let mut entry = self.next_entry(idle);
            let judged = entry.is_none() && idle.is_zero() && self.minter.execution.judge_some();
            // What follows takes a while to compute: only with time to spare.
            let mut foreseen =
                || until_step > Duration::from_millis(self.schedule.slot_ms / FORESEEING) && self.minter.foresee();
            if entry.is_none() && idle.is_zero() && !judged && !foreseen() {
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

    /// The next entry. Several are taken at once, and what their messages claim is verified together.
    fn next_entry(&mut self, wait: Duration) -> Option<Entry> {
        if self.local.taken.is_empty() {
            self.inbox.take_some(wait, TAKEN_AT_ONCE, is_light, &mut self.local.taken);
            if self.local.taken.len() > 1 {
                self.minter.verify_ahead(self.local.taken.iter().filter_map(|entry| match entry {
                    Entry::Message(from, message, _) => Some((from.name?, &**message)),
                    _ => None,
                }));
            }
        }
        self.local.taken.pop_front()
    }

    fn take(&mut self, now: u64, entry: Entry) {
        match entry {
            Entry::Message(from, message, _body) => self.hear(now, from, *message),
            Entry::Cells(batch) => {
                let mut of_users = false;
                for ready in batch {
                    of_users |= ready.told.is_none();
                    self.admit(now, ready);
                }
                if of_users && self.tells(now) {
                    self.tell_own();
                }
            }
            Entry::Durable(ticket) => {
                let actions = self.minter.persisted(now, ticket);
                self.act(actions);
            }
            Entry::Kept => {
                self.local.blocked = false;
                self.carry_out();
            }
            Entry::Stored(height) => self.status.change(|live| live.stored = height),
            Entry::Opened(peer) => self.greet(peer),
            Entry::Peers(targets) => {
                for target in targets {
                    if self.local.learned.len() < LEARNED_MAX
                        && !self.local.learned.iter().any(|known| known.key == target.key)
                    {
                        self.local.learned.push(target);
                    }
                }
                if self.mesh.counters().members.load(Ordering::Relaxed) < PEERS_WANTED {
                    self.call_peers();
                }
            }
            Entry::Stop(_) => {}
        }
    }

    fn name_of(from: PeerInfo) -> u32 {
        from.name.unwrap_or(GUEST | (from.id.0 as u32 & !GUEST))
    }

    fn to_of(name: u32) -> To {
        if name < GUEST { To::Name(name) } else { To::Peer(PeerId(u64::from(name & !GUEST))) }
    }

    fn hear(&mut self, now: u64, from: PeerInfo, message: Message) {
        // Guests ask, a little, and bring transactions; they have no part in consensus. Whom we have called may answer.
        let asks = matches!(message, Message::WantFinal(_) | Message::WantBodies(_) | Message::WantBlocks(..));
        if from.name.is_none() {
            let answers = from.called && matches!(message, Message::Final(..));
            let asked = self.local.asked_by.entry(from.id.0).or_insert(0);
            *asked += 1;
            if !(answers || asks && *asked <= ASKED_BY_GUEST) {
                return;
            }
        }
        if let Message::Item(_) = &message {
            let count = self.local.records_of.entry(Self::name_of(from)).or_insert(0);
            *count += 1;
            if *count > RECORDS_OF_PEER {
                return;
            }
        }
        if let Message::WantFinal(height) = &message
            && *height <= self.minter.execution.system().height
            && self.minter.kept_final(*height).is_none()
        {
            // A thread that has gone takes no part any more.
            let _ = self.prepare.send(Raw::History(from, *height));
            return;
        }
        if from.name.is_some() || from.called {
            self.local.heard = self.local.heard.max(height_of(&message));
        }
        if let Message::Block(block) = &message
            && block.height == self.minter.pending_height()
            && from.name.is_some()
        {
            self.track_certified(block.height, block);
        }
        let (pending, whole) =
            (self.minter.pending_height(), matches!(&message, Message::Final(_, blocks) if !blocks.is_empty()));
        let actions = self.minter.handle(now, Self::name_of(from), message);
        self.act(actions);
        let next = self.minter.pending_height();
        if whole && next > pending && self.local.heard > next {
            // Whoever has served one height is asked for the next at once.
            self.send(Self::to_of(Self::name_of(from)), &Message::WantFinal(next));
        }
    }

    fn admit(&mut self, now: u64, ready: Ready) {
        let Ready { from, told, good, refused, body: _ } = ready;
        // Told by someone who is behind, or far ahead: told again when it counts.
        let next = self.minter.pending_height();
        if told.is_some_and(|height| height != next && height != next + 1) {
            return;
        }
        let mut outcomes: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut refuse = |status: &Status, ordinal: u64, refusal: Refusal| {
            status.refuse(refusal);
            outcomes.entry(refusal as u8).or_default().push(ordinal);
        };
        for (ordinal, refusal, item) in refused {
            if let Some(item) = item.filter(|_| from.is_none()) {
                self.status.change(|live| live.tracked.begin(&self.prefix, &item, now, Err(refusal)));
            }
            refuse(&self.status, ordinal, refusal);
        }
        let mut admitted = 0;
        if told == Some(next) && self.minter.round().is_some() {
            self.local.late += good.len();
        }
        for (ordinal, item, account) in good {
            let outcome = match told {
                Some(height) => self.minter.execution.admit_transaction(&item, account, height),
                None => {
                    let place = self.minter.execution.check_transaction(&item, account);
                    let client = from.map(|from| (from.id, ordinal));
                    place.and_then(|(place, total)| self.local.own.follow(&item, place.account, total, client))
                }
            };
            if from.is_none() {
                let (item, now_ms) = (item.clone(), self.clock.now_ms());
                self.status.change(|live| live.tracked.begin(&self.prefix, &item, now_ms, outcome));
            }
            match outcome {
                Ok(()) => admitted += 1,
                Err(refusal) => refuse(&self.status, ordinal, refusal),
            }
        }
        self.status.admitted.fetch_add(admitted, Ordering::Relaxed);
        if let Some(from) = from.filter(|_| told.is_none()) {
            let frame = |(refusal, ordinals): (u8, Vec<u64>)| {
                let frame: Arc<[u8]> = Outcome { refusal, height: 0, slot: 0, shard: 0, ordinals }.encode().into();
                (To::Peer(from.id), CELLS, frame)
            };
            self.mesh.send_all(outcomes.into_iter().map(frame));
        }
    }

    /// Whether minters are told what is new: sets that are closed take nothing more, and what comes later is told to
    /// the minters of the next height, once it is known.
    fn tells(&self, now: u64) -> bool {
        let open = now % self.schedule.slot_ms + self.schedule.slot_ms / TELLING < self.schedule.sets_ms;
        open || self.minter.execution.system().slot >= self.schedule.slot(now)
    }

    /// Transactions of the API's users that a certified shard-block debits: their first checkpoint.
    fn track_certified(&self, height: u64, block: &CertifiedBlock) {
        let waits = self.status.look(|live| live.tracked.waiting());
        if !waits {
            return;
        }
        let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) else { return };
        let now_ms = self.clock.now_ms();
        let state = self.minter.execution.state();
        self.status.change(|live| {
            live.tracked.certified(height, block.block.shard, now_ms, |cell| {
                state
                    .find(&cell.sender)
                    .is_some_and(|account| patch.delta.debits.accounts.binary_search(&account).is_ok())
            });
        });
    }

    /// Those that a final block has used up: their second.
    fn track_final(&self, height: u64, slot: u64, parent: &System) {
        if !self.status.look(|live| live.tracked.waiting()) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let (state, shards) = (self.minter.execution.state(), parent.committee.shards.len());
        self.status.change(|live| {
            live.tracked.settle(height, slot, now_ms, |cell| {
                let used = state
                    .find(&cell.sender)
                    .is_some_and(|account| u64::from(state.hot(account).sequence) > cell.sequence);
                used.then(|| shard_of(&parent.seed, &cell.sender, shards) as u32)
            });
        });
    }

    fn tell_own(&mut self) {
        let (frames, told) = {
            let execution = &self.minter.execution;
            self.local.own.tell(&execution.state(), execution.system(), self.candidate)
        };
        self.mesh.send_all(frames);
        let height = self.minter.pending_height();
        for (item, account) in told {
            // One that does not fit any more is settled with the next block.
            let _ = self.minter.execution.admit_transaction(&item, Some(account), height);
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.local.queue.extend(actions);
        self.carry_out();
        self.status.change(|live| {
            live.pool = self.minter.execution.pool.len();
            live.own = self.local.own.len();
            live.heard = self.local.heard;
        });
    }

    fn carry_out(&mut self) {
        while !self.local.blocked
            && let Some(action) = self.local.queue.pop_front()
        {
            match action {
                Action::Send(to, _) if Some(to) == self.candidate => {}
                Action::Send(to, message) => self.send(Self::to_of(to), &message),
                Action::Gossip(message) => self.send(To::Some(GOSSIP), &message),
                // In blockchain mode blocks travel whole, and a lock keeps them.
                Action::Keep(..) if !self.minter.execution.quilt_mode() => {}
                Action::Keep(block, height, items) => {
                    self.local.blocked = self.writer.send(Job::Keep(block, height, items)).is_ok();
                }
                Action::Persist(ticket, record) => self.persist(ticket, record),
                Action::Certified(block) => self.certified(&block),
                Action::Checked(height, block) => {
                    tracing::debug!(height, block = hex(&block), "transactions found to make their patch")
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
        // A writer that has stopped has said why; without it nothing is signed.
        let _ = self.writer.send(Job::Persist(ticket, Box::new(record)));
    }

    fn send(&mut self, to: To, message: &Message) {
        let class = class_of(message);
        let known = encoded_as(message);
        if let Some((of, frame)) = &self.local.encoded
            && known == Some(*of)
        {
            let class = if frame.len() > LONG_BYTES && class == ROUNDS { BODIES } else { class };
            return self.mesh.send(to, class, frame.clone());
        }
        let mut frame = vec![FRAME_MESSAGE];
        match message {
            // Between minters of one height, who know the same accounts.
            Message::Block(_) | Message::Shard { message: ShardMessage::Items(_), .. } => {
                encode(message, &StateDirectory(self.minter.execution.state()), &mut frame);
            }
            _ => encode(message, &Nobody, &mut frame),
        }
        // What is long must not hold up its class, and would not fit it.
        let class = if frame.len() > LONG_BYTES && class == ROUNDS { BODIES } else { class };
        let frame: Arc<[u8]> = frame.into();
        if let Some(known) = known {
            self.local.encoded = Some((known, frame.clone()));
        }
        self.mesh.send(to, class, frame);
    }

    fn certified(&mut self, block: &CertifiedBlock) {
        self.track_certified(block.height, block);
        let at_ms = self.clock.now_ms();
        self.status.add_certified(CertifiedShown { height: block.height, shard: block.block.shard, at_ms });
        self.status.change(|live| live.duties += 1);
    }

    fn finalized(&mut self, decided: Arc<Final>, blocks: Vec<Arc<CertifiedBlock>>) {
        let height = decided.value.height;
        let applied = &mut self.minter.execution.applied;
        let Some(place) = applied.iter().position(|applied| applied.height == height) else { return };
        let Applied { quilt, root, system, bans, .. } = applied.swap_remove(place);
        for (height, shard) in bans {
            tracing::warn!(height, shard, "a shard-block was banned: nothing of it takes effect");
        }
        let shards: Vec<_> = blocks
            .iter()
            .map(|block| ShardShown {
                shard: block.block.shard,
                hash: hex(&block.hash),
                transactions: block.block.transactions,
            })
            .collect();
        let transactions: u64 = shards.iter().map(|shard| u64::from(shard.transactions)).sum();
        self.status.final_transactions.fetch_add(transactions, Ordering::Relaxed);
        let parent = self.local.parent.replace(system.clone()).expect("set at the start");
        self.mind_name(&parent, &system);
        self.status.add_block(BlockShown {
            height,
            slot: decided.value.slot,
            attempt: decided.attempt,
            hash: hex(&decided.hash),
            state_root: hex(&root),
            shards,
            signers: decided.certificate.signers.len(),
            seats: parent.committee.len(),
            final_ms: self.clock.now_ms(),
        });
        let (finals, frames) = {
            let state = self.minter.execution.state();
            self.local.own.settle(&state, &parent, &system)
        };
        self.status.own_final.fetch_add(finals, Ordering::Relaxed);
        self.mesh.send_all(frames);
        self.track_final(height, decided.value.slot, &parent);
        let mut committee = Vec::new();
        put_committee_with_keys(&parent, &parent.committee, &mut committee);
        // A writer that has stopped has said why.
        let _ = self.writer.send(Job::Final(Box::new(FinalJob { decided, blocks, committee, quilt, root, system })));
        self.local.records_of.clear();
        self.local.late = 0;
        self.publish();
        if self.minter.execution.system().height == height {
            self.call_peers();
            self.tell_own();
        }
    }

    /// Shows the system and the own seat to others.
    fn publish(&self) {
        let system = self.minter.execution.shared_system().clone();
        let (seated, pool) = (self.minter.seated(), self.minter.execution.pool.len());
        let seat = self.candidate.and_then(|candidate| system.committee.seat_of(candidate));
        let shard = seat.map(|seat| system.committee.members[usize::from(seat)].shard);
        self.status.change(|live| {
            (live.seated, live.shard, live.pool) = (seated, shard, pool);
            live.height = system.height;
            live.system = Some(system);
        });
    }

    /// Who connected before its stake took effect is a guest to its peers. A block later, when all know its key, it
    /// calls again.
    fn mind_name(&mut self, parent: &System, system: &System) {
        if std::mem::take(&mut self.local.named_anew) {
            self.mesh.call_again();
        }
        let Some(candidate) = self.candidate else { return };
        self.local.named_anew = system.stakers.contains_key(&candidate) && !parent.stakers.contains_key(&candidate);
    }

    /// Those whom a minter needs: the committee of the next height, the last ones, whoever was drawn, and bootstrap
    /// peers.
    fn call_peers(&self) {
        let system = self.minter.execution.system();
        let mut targets = self.bootstrap.clone();
        targets.extend(system.endpoints.values().filter_map(target_of));
        let few = self.mesh.counters().members.load(Ordering::Relaxed) < PEERS_WANTED;
        targets.extend(self.local.learned.iter().copied().filter(|_| few).take(PEERS_WANTED as usize));
        self.mesh.set_targets(targets);
    }

    fn greet(&mut self, peer: PeerInfo) {
        let system = self.minter.execution.system();
        let known: Vec<Endpoint> = system.endpoints.values().filter(|endpoint| endpoint.port != 0).copied().collect();
        self.mesh.send(To::Peer(peer.id), CELLS, peers_frame(known.into_iter()).into());
        // Whoever comes may be ahead.
        self.send(To::Peer(peer.id), &Message::WantFinal(self.minter.pending_height()));
    }

    /// One line a step, for who looks for what a slot was lost by.
    fn log_step(&self, due_ms: u64, taken_ms: u64) {
        let Local { own, late, .. } = &self.local;
        let minter = &self.minter;
        tracing::debug!(
            step_ms = due_ms % self.schedule.slot_ms,
            late_ms = taken_ms - due_ms,
            took_ms = self.clock.now_ms().saturating_sub(taken_ms),
            height = minter.pending_height(),
            round = ?minter.round().map(|round| round.standing()),
            master = ?minter.master().standing(),
            pool = minter.execution.pool.len(),
            pool_late = late,
            own = own.len(),
            own_window = own.window(),
        );
    }

    /// One line a slot.
    fn log_slot(&mut self, now: u64) {
        let slot = self.schedule.slot(now);
        if slot <= self.local.logged_slot {
            return;
        }
        self.local.logged_slot = slot;
        self.local.asked_by.clear();
        let before = slot - 1;
        let line = self.status.look(|live| {
            let block = live.blocks.iter().rev().find(|block| block.attempt / 2 == before)?;
            let transactions: u32 = block.shards.iter().map(|shard| shard.transactions).sum();
            Some((
                block.height,
                block.shards.len(),
                transactions,
                block.signers,
                block.seats,
                block.final_ms % self.schedule.slot_ms,
            ))
        });
        let peers = self.mesh.counters().members.load(Ordering::Relaxed);
        let pool = self.minter.execution.pool.len();
        match line {
            Some((height, shards, transactions, signers, seats, final_ms)) => {
                self.local.slots_without = 0;
                tracing::info!(
                    "slot {before}: height {height} final after {final_ms} ms, {shards} shard-blocks, {transactions} transactions, {signers} of {seats} signed; pool {pool}, peers {peers}"
                );
            }
            None if before > 0 => {
                self.local.slots_without += 1;
                let pending = self.minter.pending_height();
                tracing::warn!(
                    "slot {before}: nothing final, height {pending} is pending for {} slots; pool {pool}, peers {peers}",
                    self.local.slots_without
                );
                if self.local.heard > pending + 1 && self.local.slots_without.is_multiple_of(HINT_SLOTS) {
                    tracing::warn!(
                        "peers are at height {}, and none gives height {pending}: their blocks begin later. Begin anew with a snapshot: an empty \
                         data directory and network.trust",
                        self.local.heard
                    );
                }
            }
            None => {}
        }
    }
}

/// Reads a frame of peers.
pub fn peers_of(bytes: &[u8]) -> Option<Entry> {
    frames::read_peers(bytes).map(Entry::Peers)
}
