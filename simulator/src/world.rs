//! One run: nodes, their clocks and disks, the network between them, in virtual time.

use crate::byzantine::{Behaviour, Liar};
use crate::checker::Checker;
use crate::clients::Offered;
use crate::dice::Dice;
use crate::meter::{Meter, StepBytes};
use crate::options::{FaultSet, SimOptions, Troubles};
use crate::plunder::Plundered;
use crate::signing::{AnySigning, signing_of, vote_key};
use crate::state::{Scale, Shared, SimExecution, Version, stake_of};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::ChainParameters;
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::committee::quorum::shard_quorum;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::committee::statement::{Kind, Signed};
use dynemix_engine::consensus::message::{Message, ShardMessage};
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::transaction::item::{Items, transaction_of};
use dynemix_engine::vote::bls::VoteKeys;
use dynemix_engine::vote::signing::Signing;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

/// Slots after healing in which all must become well.
pub const HEALING_SLOTS: u64 = 12;
/// Slots after healing in which everyone who has a seat votes.
const MINTING_SLOTS: u64 = 10;
/// Slots after healing in which every older transfer must be final; and, at the end, how old one may be that is not.
const CATCH_UP_SLOTS: u64 = 3;

enum Event {
    Wake(u32, u32),
    Deliver(u32, u32, Box<Message>),
    Durable(u32, u32, u64, Box<SignedOnce>),
    Restart(u32),
    Blackout,
    Plunder,
    Slot(u64),
}

pub(crate) struct Node {
    pub(crate) minter: Option<Minter<SimExecution, AnySigning>>,
    /// Counts starts: what an earlier process set in motion is not this one's.
    start: u32,
    version: Rc<Version>,
    record: SignedOnce,
    /// Asked for and not yet durable.
    unsynced: Vec<SignedOnce>,
    /// Items of shard-blocks that it has vouched for.
    kept: Vec<(Hash, u64, Items)>,
    offset_ms: i64,
    paused_until: u64,
    pub(crate) behaviour: Option<Behaviour>,
    side: u8,
}

/// What went over the wire.
#[derive(Clone, Debug, Serialize)]
pub struct Bytes {
    /// Bytes that all nodes sent to each other, for a final transaction.
    pub per_transaction: f64,
    /// Bytes that one node sent, and as many received, for a final transaction.
    pub per_transaction_and_node: f64,
    /// Bytes of patches for a transaction.
    pub patch_per_transaction: f64,
    /// The busiest minter of each sub-slot.
    pub steps: Vec<StepBytes>,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Final heights.
    pub height: u64,
    /// Transfers that became final.
    pub transfers: u64,
    /// Slots in which no block became final, healing included.
    pub slots_lost: u64,
    /// Shards of a block whose Byzantine minters could approve alone.
    pub captured: u64,
    /// Shards whose Byzantine minters could block.
    pub blocked: u64,
    /// Shards of all blocks.
    pub shards: u64,
    /// More Byzantine seats than tolerated were drawn: the run was ended there.
    pub beyond: bool,
    /// Times that each trouble happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Slots that were simulated.
    pub slots: u64,
    /// Candidates barred by proof.
    pub barred: u64,
    /// Blocks of captured shards that became final.
    pub plundered: u64,
    /// Of those: banned before anything in them could be spent.
    pub banned: u64,
    /// Of those: not banned in time.
    pub unbanned: u64,
    /// Times that a custodian or member found a final block's transactions to make its patch.
    pub checked: u64,
    /// Messages sent.
    pub messages: u64,
    /// Slots after healing until every older transaction that honest minters knew was final.
    pub healing_slots: Option<u64>,
    /// Bytes on the wire, if they were measured.
    pub bytes: Option<Bytes>,
    /// Seats drawn, by candidate: to compare with the stakes.
    pub seats: Vec<u64>,
    /// What went wrong, if anything.
    pub failure: Option<crate::checker::Failure>,
}

/// One run.
pub struct World<'a> {
    pub(crate) options: SimOptions,
    pub(crate) troubles: Troubles,
    pub(crate) schedule: Schedule,
    pub(crate) shared: Rc<Shared>,
    keys: Option<Arc<VoteKeys>>,
    pub(crate) nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    pub(crate) checker: Checker,
    pub(crate) outcome: Outcome,
    archive: BTreeMap<u64, (Arc<Final>, Vec<Arc<CertifiedBlock>>)>,
    pub(crate) newest: Rc<Version>,
    pub(crate) offered: BTreeMap<Hash, Offered>,
    pub(crate) busy: BTreeSet<u64>,
    partitioned_until: u64,
    pub(crate) healed: bool,
    pub(crate) certified: BTreeSet<Hash>,
    pub(crate) plundered: Vec<Plundered>,
    pub(crate) meter: Option<Meter>,
    height_at_heal: u64,
    /// Who has voted since.
    minted: BTreeSet<u32>,
    trace: Option<&'a mut dyn FnMut(String)>,
}

impl<'a> World<'a> {
    /// A world at its start; `trace` hears what happens.
    pub fn new(options: &SimOptions, trace: Option<&'a mut dyn FnMut(String)>) -> World<'a> {
        let keys = options.real_signatures.then(Arc::<VoteKeys>::default);
        let checking = signing_of(keys.as_ref(), 0);
        let scale = Scale {
            accounts: options.accounts(),
            candidates: options.candidates,
            seats: options.seats,
            shards: options.shards,
            quilt: options.quilt(),
            seed: options.seed,
        };
        let real = options.real_signatures;
        let shared = Shared::new(&scale, |candidate| vote_key(candidate, real).0, Box::new(checking));
        let genesis = shared.genesis();
        let mut world = World {
            troubles: Troubles::draw(options),
            schedule: Schedule::of(&ChainParameters { slot_ms: options.slot_ms, ..ChainParameters::default() }),
            keys,
            nodes: Vec::new(),
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            now: 0,
            dice: Dice::new(options.seed, 2),
            checker: Checker::default(),
            outcome: Outcome { seats: vec![0; options.candidates as usize], ..Outcome::default() },
            archive: BTreeMap::new(),
            newest: genesis.clone(),
            offered: BTreeMap::new(),
            busy: BTreeSet::new(),
            partitioned_until: 0,
            healed: false,
            certified: BTreeSet::new(),
            plundered: Vec::new(),
            meter: options.measure_bytes.then(|| Meter::new(options.candidates as usize)),
            height_at_heal: 0,
            minted: BTreeSet::new(),
            trace,
            options: options.clone(),
            shared,
        };
        for _ in 0..options.candidates {
            let off = world.dice.chance(world.troubles.clock_off);
            let reach = 2 * world.troubles.clock_ms;
            // A good clock is as good as its servers: better than the fastest message where all is well.
            let ordinary = if options.faults == FaultSet::None { 20 } else { 100 };
            let offset_ms = if off {
                world.dice.below(reach + 1) as i64 - world.troubles.clock_ms as i64
            } else {
                world.dice.below(ordinary) as i64
            };
            world.nodes.push(Node {
                minter: None,
                start: 0,
                version: genesis.clone(),
                record: SignedOnce::default(),
                unsynced: Vec::new(),
                kept: Vec::new(),
                offset_ms,
                paused_until: 0,
                behaviour: None,
                side: 0,
            });
        }
        world.corrupt();
        let troubles = format!("{:?}", world.troubles);
        world.say(|| troubles);
        for candidate in 0..options.candidates {
            world.start(candidate);
        }
        world.after(0, Event::Slot(1), options.slot_ms);
        world
    }

    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace(format!("{:>9.3} s  {}", self.now as f64 / 1e3, line()));
        }
    }

    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.outcome.faults.entry(fault).or_insert(0) += 1;
    }

    /// Chooses who is Byzantine: a share of the stake, and, where all candidates sit, no more than the quorum does
    /// without.
    fn corrupt(&mut self) {
        let total: u128 =
            (0..self.options.candidates).map(|candidate| u128::from(stake_of(u64::from(candidate)))).sum();
        let bound = total * u128::from(self.troubles.byzantine) / 1_000;
        let seats = self.options.seats.min(self.options.candidates as usize);
        let most = if self.options.faults == FaultSet::Beyond { seats } else { seats - (2 * seats / 3 + 1) };
        let cap = if self.options.candidates as usize <= self.options.seats {
            most
        } else {
            self.options.candidates as usize
        };
        let mut order: Vec<u32> = (0..self.options.candidates).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, self.dice.below(i as u64 + 1) as usize);
        }
        let (mut sum, mut count) = (0u128, 0);
        for candidate in order {
            let stake = u128::from(stake_of(u64::from(candidate)));
            if sum + stake <= bound && count < cap {
                (sum, count) = (sum + stake, count + 1);
                let behaviour = Behaviour::ALL[self.dice.below(Behaviour::ALL.len() as u64) as usize];
                self.nodes[candidate as usize].behaviour = Some(behaviour);
                self.count("byzantine nodes");
                self.say(|| format!("node {candidate} is Byzantine: {behaviour:?}"));
            }
        }
    }

    fn after(&mut self, from: u64, event: Event, delay: u64) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.sequence += 1;
        self.queue.push(Reverse((from + delay, self.sequence, place)));
    }

    pub(crate) fn local_ms(&self, candidate: u32) -> u64 {
        // A day is added, so that no clock stands before the beginning of time.
        (self.now as i64 + self.nodes[candidate as usize].offset_ms + 100 * self.options.slot_ms as i64) as u64
    }

    pub(crate) fn signing(&self, candidate: u32) -> AnySigning {
        signing_of(self.keys.as_ref(), candidate)
    }

    /// Starts a node from what is durable.
    fn start(&mut self, candidate: u32) {
        let local = self.local_ms(candidate);
        let node = &mut self.nodes[candidate as usize];
        node.start += 1;
        let execution = SimExecution::new(self.shared.clone(), candidate, node.version.clone());
        let chain = self.shared.chain.genesis_hash;
        let signing = signing_of(self.keys.as_ref(), candidate);
        let forgets = node.behaviour == Some(Behaviour::Amnesia);
        let record = if forgets { SignedOnce::default() } else { node.record.clone() };
        let mut minter = Minter::new(chain, self.schedule, candidate, execution, signing, record, local);
        let height = node.version.system.height;
        minter.remember_finals(self.archive.range(..=height).rev().take(64).map(|(_, kept)| kept.clone()));
        node.kept.retain(|(_, of, _)| of + 8 > height);
        node.kept.iter().for_each(|(block, height, items)| minter.remember_items(*block, *height, items.clone()));
        let resumed = minter.resume();
        let start = node.start;
        node.minter = Some(minter);
        self.act(candidate, resumed);
        self.wake(candidate, start);
    }

    fn wake(&mut self, candidate: u32, start: u32) {
        let local = self.local_ms(candidate);
        let Some(minter) = &self.nodes[candidate as usize].minter else { return };
        let delay = minter.wake_at_ms().saturating_sub(local);
        self.after(self.now, Event::Wake(candidate, start), delay);
    }

    fn crash(&mut self, candidate: u32) {
        let node = &mut self.nodes[candidate as usize];
        if node.minter.take().is_none() {
            return;
        }
        // Of the records under way, the first few may have reached the disk.
        let kept = self.dice.below(node.unsynced.len() as u64 + 1) as usize;
        if let Some(record) = node.unsynced.drain(..).take(kept).next_back() {
            node.record = record;
        }
        let down = if self.dice.chance(300) {
            self.dice.between(20, 1_000)
        } else {
            self.dice.between(500, 3 * self.options.slot_ms)
        };
        // A clock that is off is off by something else after a restart: it may have gone back.
        if self.nodes[candidate as usize].offset_ms.unsigned_abs() > 100 {
            let reach = self.troubles.clock_ms;
            self.nodes[candidate as usize].offset_ms = self.dice.below(2 * reach + 1) as i64 - reach as i64;
        }
        self.count("crashes");
        self.say(|| format!("node {candidate} crashes for {down} ms"));
        self.after(self.now, Event::Restart(candidate), down);
    }

    pub(crate) fn transmit(&mut self, from: u32, to: u32, message: Message, later: u64) {
        self.outcome.messages += 1;
        let (a, b) = (&self.nodes[from as usize], &self.nodes[to as usize]);
        let cut = self.now < self.partitioned_until && a.side != b.side;
        if from != to && (cut || self.dice.chance(self.troubles.loss)) {
            *self.outcome.faults.entry("messages lost").or_insert(0) += 1;
            return;
        }
        let (low, high) = self.troubles.delay_ms;
        let delay = self.dice.between(low, high) + later;
        let ends = [(from, self.local_ms(from) + later), (to, self.local_ms(to) + delay)];
        if let Some(meter) = &mut self.meter {
            meter.message(&self.schedule, ends, &message, &self.newest);
        }
        if self.troubles.replay > 0 && self.dice.chance(self.troubles.replay) {
            let again = self.dice.between(low, 4 * high);
            *self.outcome.faults.entry("messages replayed").or_insert(0) += 1;
            self.after(self.now, Event::Deliver(to, from, Box::new(message.clone())), delay + again);
        }
        self.after(self.now, Event::Deliver(to, from, Box::new(message)), delay);
    }

    fn act(&mut self, candidate: u32, actions: Vec<Action>) {
        let behaviour = self.nodes[candidate as usize].behaviour;
        let actions: Vec<(Action, u64)> = match behaviour {
            None => actions.into_iter().map(|action| (action, 0)).collect(),
            Some(behaviour) => {
                let committee = self.nodes[candidate as usize].version.system.committee.clone();
                let signing = signing_of(self.keys.as_ref(), candidate);
                let mut dice = self.dice.clone();
                let mut liar = Liar {
                    chain: &self.shared.chain.genesis_hash,
                    candidate,
                    signing: &signing,
                    committee: &committee,
                    dice: &mut dice,
                };
                let bent = liar.bend(behaviour, actions);
                self.dice = dice;
                bent
            }
        };
        let mut voted = false;
        for (action, later) in actions {
            match action {
                Action::Send(to, message) => {
                    if behaviour.is_none() {
                        self.checker.sends(candidate, &message);
                        self.check_vote(candidate, &message);
                        voted |= matches!(message, Message::Second { .. });
                        if self.healed && matches!(message, Message::First { .. }) {
                            self.minted.insert(candidate);
                        }
                    }
                    let vote = matches!(message, Message::Shard { message: ShardMessage::Vote(..), .. });
                    if behaviour.is_some() && vote && self.plunders(candidate) {
                        continue;
                    }
                    self.transmit(candidate, to, message, later);
                }
                Action::Gossip(message) => {
                    let fan_out = if matches!(message, Message::Final(..)) { 3 } else { 1 };
                    for _ in 0..fan_out {
                        let to = self.dice.below(u64::from(self.options.candidates)) as u32;
                        if to != candidate {
                            self.transmit(candidate, to, message.clone(), later);
                        }
                    }
                }
                Action::Persist(ticket, record) => {
                    let node = &mut self.nodes[candidate as usize];
                    node.unsynced.push(record.clone());
                    let start = node.start;
                    let delay = 1 + self.dice.below(self.troubles.disk_ms);
                    self.after(self.now, Event::Durable(candidate, start, ticket, Box::new(record)), delay);
                }
                Action::Checked(..) => self.outcome.checked += 1,
                Action::Keep(block, height, items) => self.nodes[candidate as usize].kept.push((block, height, items)),
                Action::Certified(block) => {
                    let new = self.certified.insert(block.block.hash());
                    if let Some(meter) = self.meter.as_mut().filter(|_| new) {
                        meter.patch_bytes += block.patch.len() as u64;
                        meter.patch_transactions +=
                            block.items.iter().filter(|item| transaction_of(item).is_some()).count() as u64;
                    }
                }
                Action::Finalized(decided, _) => self.finalized(candidate, &decided),
            }
        }
        // The state itself is durable with its block.
        if let Some(minter) = &self.nodes[candidate as usize].minter {
            self.nodes[candidate as usize].version = minter.execution.version.clone();
        }
        if voted && self.troubles.crash_after_vote > 0 && self.dice.chance(self.troubles.crash_after_vote) {
            self.crash(candidate);
        }
    }

    /// A first vote is for what the voter holds, and leaves out nothing that it knows enough others to hold.
    fn check_vote(&mut self, candidate: u32, message: &Message) {
        let Message::First { attempt, value, justified_by, .. } = message else { return };
        let Some(minter) = &self.nodes[candidate as usize].minter else { return };
        let master = minter.master();
        if master.height != value.height {
            return;
        }
        let byzantine_max = 2 * (2 * master.committee.len() / 3 + 1) - master.committee.len() - 1;
        let left_out = value
            .headers
            .iter()
            .enumerate()
            .find(|(shard, header)| header.is_none() && master.holders(*shard) > byzantine_max);
        let failure = if master.blocks_of(value).is_none() {
            Some(format!("node {candidate} voted at height {} for a block that it does not hold", value.height))
        } else {
            let rule = attempt % 2 == 1 && *justified_by == 0;
            left_out.filter(|_| rule).map(|(shard, _)| {
                format!("node {candidate} voted to leave shard {shard} empty at height {}", value.height)
            })
        };
        if let Some(failure) = failure {
            self.checker.fail(failure);
        }
    }

    fn finalized(&mut self, candidate: u32, decided: &Arc<Final>) {
        let height = decided.value.height;
        if self.nodes[candidate as usize].behaviour.is_some() {
            return;
        }
        self.checker.finishes(candidate, height, decided.hash);
        if height == self.newest.system.height + 1 {
            self.check_final(decided);
        }
        let Some(minter) = &self.nodes[candidate as usize].minter else { return };
        if let Some(kept) = minter.kept_final(height) {
            self.archive.entry(height).or_insert(kept);
        }
        if height != self.newest.system.height + 1 {
            return;
        }
        let Some(version) = self.shared.version(&decided.hash) else { return };
        self.newest = version.clone();
        if self.archive.len() > 256 {
            self.archive.pop_first();
        }
        if height.is_multiple_of(64) {
            self.shared.forget_below(height.saturating_sub(80));
        }
        let supply = version.state.supply();
        let genesis = self.shared.genesis().state.supply();
        if supply != genesis + u128::from(version.system.pools.issued) {
            self.checker.fail(format!("at height {height} there are {supply} units"));
        }
        // A transaction is final when its sequence is used: senders here have one under way at a time.
        let used = |offered: &Offered| u64::from(version.state.hot(offered.sender as u32).sequence) > offered.sequence;
        // A name that another got, or a second name, or a block long past that a stake names: such a service will never
        // be done.
        let (system, ancestors) = (&version.system, 60);
        let now_slot = decided.value.slot.saturating_sub(100);
        let gone = |offered: &Offered| {
            let has_name = system.names.names.contains_key(&(offered.sender as u32));
            let named = |name: &Vec<u8>| {
                let registers = !name.is_empty();
                (registers && (has_name || system.names.accounts.contains_key(name)))
                    || offered.slot + ancestors < now_slot
            };
            offered
                .service
                .as_ref()
                .is_some_and(|name| named(name) || system.barred.contains_key(&(offered.sender as u32)))
        };
        let lost: Vec<Hash> =
            self.offered.iter().filter(|entry| !used(entry.1) && gone(entry.1)).map(|entry| *entry.0).collect();
        for offered in lost.iter().filter_map(|id| self.offered.remove(id)) {
            self.busy.remove(&offered.sender);
        }
        let done: Vec<Hash> = self.offered.iter().filter(|entry| used(entry.1)).map(|entry| *entry.0).collect();
        self.outcome.transfers += done.len() as u64;
        let transfers = done.len();
        for offered in done.iter().filter_map(|id| self.offered.remove(id)) {
            self.busy.remove(&offered.sender);
        }
        self.look_at_plunder(&version);
        let bad = |candidate: u32| self.nodes[candidate as usize].behaviour.is_some();
        for &barred in version.system.barred.keys() {
            if !bad(barred) {
                self.checker.fail(format!("at height {height} node {barred} is barred, and honest"));
            }
        }
        self.outcome.barred = version.system.barred.len() as u64;
        let committee = &version.system.committee;
        let bad_seats = committee.members.iter().filter(|member| bad(member.candidate)).count();
        for seats in &committee.shards {
            let bad_here = seats.iter().filter(|&&seat| bad(committee.members[usize::from(seat)].candidate)).count();
            let quorum = shard_quorum(seats.len());
            self.outcome.shards += 1;
            self.outcome.captured += u64::from(bad_here >= quorum);
            self.outcome.blocked += u64::from(bad_here > seats.len() - quorum);
        }
        committee.members.iter().for_each(|member| self.outcome.seats[member.candidate as usize] += 1);
        if bad_seats > committee.byzantine_max() && self.options.faults != FaultSet::Beyond {
            self.outcome.beyond = true;
        }
        let (slot, members, shards) = (decided.value.slot, committee.members.len(), committee.shards.len());
        let blocks = decided.value.headers.iter().flatten().count();
        let attempt = decided.attempt % 2;
        let count = transfers;
        self.say(|| {
            format!("height {height} final first at node {candidate}: slot {slot}, try {attempt}, {blocks} shard-blocks, {count} transfers; next {members} seats, {shards} shards, {bad_seats} Byzantine")
        });
    }

    /// The first final certificate of a height, looked at without the code that made it.
    fn check_final(&mut self, decided: &Final) {
        let committee = self.newest.system.committee.clone();
        let seats = committee.len();
        let quorum = if seats < 200 { 2 * seats / 3 + 1 } else { (3 * seats).div_ceil(5) };
        let height = decided.value.height;
        let signers: Vec<u32> =
            decided.certificate.signers.iter().map(|seat| committee.members[usize::from(seat)].candidate).collect();
        if signers.len() < quorum {
            self.checker.fail(format!(
                "height {height} is final with {} signers of {seats}, {quorum} are needed",
                signers.len()
            ));
        }
        let signed = Signed {
            kind: Kind::Second,
            height,
            number: decided.attempt,
            shard: 0,
            justified_by: 0,
            hash: decided.hash,
        };
        let digest = signed.digest(&self.shared.chain.genesis_hash);
        if !signing_of(self.keys.as_ref(), 0).verify_aggregate(&signers, &digest, &decided.certificate.aggregate) {
            self.checker.fail(format!("the final certificate of height {height} does not verify"));
        }
        if let Some(header) = decided.value.headers.iter().flatten().find(|header| !self.certified.contains(*header)) {
            self.checker.fail(format!(
                "height {height} lists {:02x}{:02x}.., the hash of no certified shard-block",
                header[0], header[1]
            ));
        }
        if self.options.faults == FaultSet::None && decided.attempt % 2 == 1 {
            self.checker.fail(format!("without faults height {height} needed its second try"));
        }
        if self.options.faults == FaultSet::Liars && !self.healed {
            let bad =
                |seat: &u16| self.nodes[committee.members[usize::from(*seat)].candidate as usize].behaviour.is_some();
            for (shard, header) in decided.value.headers.iter().enumerate() {
                let members = &committee.shards[shard];
                let slot = self.schedule.slot(self.now) + 100;
                let tie_breaker =
                    committee.lowest(members.iter().copied(), &self.newest.system.seed, slot, shard as u16);
                let few = members.iter().filter(|seat| bad(seat)).count() <= (members.len() - 1) / 3;
                if header.is_none()
                    && few
                    && tie_breaker.is_some_and(|seat| !bad(&seat))
                    && decided.attempt / 2 == slot
                    && slot > 102
                {
                    self.checker.fail(format!("at height {height} a few liars spoiled the block of shard {shard}"));
                }
            }
        }
    }

    /// What happens at the start of a slot: troubles, and new transfers.
    fn slot(&mut self, slot: u64) {
        self.outcome.slots += 1;
        if let Some(meter) = &mut self.meter {
            meter.slot_ends();
        }
        let expected = self.newest.system.height;
        if slot > 2 && self.outcome.height == expected {
            self.outcome.slots_lost += 1;
        }
        if slot > 2 && self.options.faults == FaultSet::None {
            if self.outcome.height == expected {
                self.checker.fail(format!("without faults slot {} has no final block", slot - 1));
            }
            if let Some(offered) = self.offered.values().find(|offered| offered.slot + 1 < slot) {
                let of = offered.slot;
                let kind = transaction_of(&offered.item).map_or(0, |(cell, _)| cell.kind);
                self.checker
                    .fail(format!("without faults a transaction of slot {of}, kind {kind}, is not in its block"));
            }
        }
        self.outcome.height = expected;
        if slot == self.options.slots + 1 {
            self.heal();
        }
        if self.healed {
            self.look_at_healing(slot);
        }
        if !self.healed {
            for candidate in 0..self.options.candidates {
                if self.troubles.crash > 0 && self.dice.chance(self.troubles.crash) {
                    self.crash(candidate);
                }
                let forgets = self.nodes[candidate as usize].behaviour == Some(Behaviour::Amnesia);
                if forgets && self.dice.chance(200) {
                    self.crash(candidate);
                }
                if self.troubles.pause > 0 && self.dice.chance(self.troubles.pause) {
                    self.nodes[candidate as usize].paused_until =
                        self.now + self.dice.between(100, 2 * self.options.slot_ms);
                    self.count("pauses");
                }
            }
            if self.troubles.blackout > 0 && self.dice.chance(self.troubles.blackout) {
                // Where it hurts: while votes are under way.
                let moment = self.dice.between(self.schedule.try_0_ms, self.options.slot_ms - 1);
                self.after(self.now, Event::Blackout, moment);
            }
            if self.now >= self.partitioned_until && self.dice.chance(self.troubles.partition) {
                let per_mille = self.dice.between(50, 500);
                for node in 0..self.nodes.len() {
                    self.nodes[node].side = u8::from(self.dice.chance(per_mille));
                }
                self.partitioned_until = self.now + self.dice.between(1_000, 4 * self.options.slot_ms);
                self.count("partitions");
                let until = self.partitioned_until;
                self.say(|| format!("partition until {:.3} s", until as f64 / 1e3));
            }
        }
        self.fall(slot);
        self.after(self.now, Event::Plunder, self.schedule.vote_ms + self.options.slot_ms / 50);
        self.offer(slot);
        if slot <= self.options.slots + HEALING_SLOTS {
            self.after(self.now, Event::Slot(slot + 1), self.options.slot_ms);
        }
    }

    /// How soon all is well after healing: old transactions final, and everyone who always has a seat at work.
    fn look_at_healing(&mut self, slot: u64) {
        let old = self.options.slots;
        let waits = self.offered.values().any(|offered| offered.known && offered.slot <= old);
        if !waits && self.outcome.healing_slots.is_none() {
            self.outcome.healing_slots = Some(slot - old - 1);
        }
        if waits && slot == old + 1 + CATCH_UP_SLOTS && self.options.faults != FaultSet::Beyond {
            self.checker.fail(format!(
                "{CATCH_UP_SLOTS} slots after healing a transaction that honest minters knew before is not final"
            ));
        }
        let all_seated =
            self.options.candidates as usize <= self.options.seats && self.options.faults != FaultSet::Beyond;
        if slot == old + 1 + MINTING_SLOTS && all_seated {
            let seated = |candidate: u32| self.newest.system.committee.seat_of(candidate).is_some();
            let idle = (0..self.options.candidates).find(|&candidate| {
                self.nodes[candidate as usize].behaviour.is_none()
                    && seated(candidate)
                    && !self.minted.contains(&candidate)
            });
            if let Some(candidate) = idle {
                self.checker.fail(format!("node {candidate} has not voted in {MINTING_SLOTS} slots after healing"));
            }
        }
    }

    /// All is well again, but for those who lie.
    fn heal(&mut self) {
        self.healed = true;
        self.height_at_heal = self.newest.system.height;
        self.troubles = Troubles { byzantine: self.troubles.byzantine, ..Troubles::calm() };
        self.partitioned_until = 0;
        for candidate in 0..self.options.candidates {
            let node = &mut self.nodes[candidate as usize];
            (node.offset_ms, node.paused_until) = (0, 0);
            if node.minter.is_none() {
                self.start(candidate);
            } else {
                let start = node.start;
                self.wake(candidate, start);
            }
        }
        self.say(|| "healed".into());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Slot(slot) => self.slot(slot),
            Event::Plunder => self.plunder(),
            Event::Blackout => {
                self.count("total outages");
                self.say(|| "a total outage".into());
                for candidate in 0..self.options.candidates {
                    if self.dice.chance(950) {
                        self.crash(candidate);
                    }
                }
            }
            Event::Restart(candidate) => {
                if self.nodes[candidate as usize].minter.is_none() {
                    self.start(candidate);
                }
            }
            Event::Wake(candidate, start) => {
                let local = self.local_ms(candidate);
                let node = &mut self.nodes[candidate as usize];
                if node.start != start {
                    return;
                }
                if self.now < node.paused_until {
                    let wait = node.paused_until - self.now;
                    return self.after(self.now, Event::Wake(candidate, start), wait);
                }
                let Some(minter) = &mut node.minter else { return };
                if minter.wake_at_ms() <= local {
                    let actions = minter.tick(local);
                    self.act(candidate, actions);
                    self.wake(candidate, start);
                }
            }
            Event::Deliver(candidate, from, message) => {
                let local = self.local_ms(candidate);
                let node = &mut self.nodes[candidate as usize];
                if self.now < node.paused_until {
                    let wait = node.paused_until - self.now;
                    return self.after(self.now, Event::Deliver(candidate, from, message), wait);
                }
                let Some(minter) = &mut node.minter else { return };
                let actions = minter.handle(local, from, *message);
                self.act(candidate, actions);
            }
            Event::Durable(candidate, start, ticket, record) => {
                let local = self.local_ms(candidate);
                let node = &mut self.nodes[candidate as usize];
                if node.start != start || node.minter.is_none() {
                    return;
                }
                if !node.unsynced.is_empty() {
                    node.unsynced.remove(0);
                }
                node.record = *record;
                if let Some(minter) = &mut node.minter {
                    let actions = minter.persisted(local, ticket);
                    self.act(candidate, actions);
                }
            }
        }
    }

    /// Runs to the end, or to the first failure.
    pub fn run(mut self) -> Outcome {
        let end = (self.options.slots + HEALING_SLOTS + 1) * self.options.slot_ms + self.options.slot_ms / 2;
        while let Some(Reverse((time, _, place))) = self.queue.pop() {
            if time > end || self.checker.failure.is_some() || self.outcome.beyond {
                break;
            }
            self.now = time;
            let event = self.events[place].take().expect("queued once");
            self.free.push(place);
            self.event(event);
        }
        if self.checker.failure.is_none() && !self.outcome.beyond && self.options.faults != FaultSet::Beyond {
            self.check_liveness();
        }
        self.outcome.bytes = self.meter.take().map(|meter| {
            let per_transaction = meter.sent as f64 / self.outcome.transfers.max(1) as f64;
            Bytes {
                per_transaction,
                per_transaction_and_node: per_transaction / f64::from(self.options.candidates),
                patch_per_transaction: meter.patch_bytes as f64 / meter.patch_transactions.max(1) as f64,
                steps: meter.steps(&self.schedule),
            }
        });
        self.outcome.height = self.newest.system.height;
        self.outcome.failure = self.checker.failure.take();
        if let Some(failure) = self.outcome.failure.clone() {
            self.say(|| format!("FAILURE: {}", failure.what));
        }
        self.outcome
    }

    fn check_liveness(&mut self) {
        let gained = self.newest.system.height - self.height_at_heal;
        if gained < HEALING_SLOTS - 4 {
            self.checker.fail(format!("in {HEALING_SLOTS} slots after healing only {gained} blocks became final"));
        }
        let old = self.options.slots + HEALING_SLOTS - CATCH_UP_SLOTS;
        if let Some(offered) = self.offered.values().find(|offered| offered.known && offered.slot < old) {
            let (slot, sender) = (offered.slot, offered.sender);
            let kind = transaction_of(&offered.item).map_or(0, |(cell, _)| cell.kind);
            self.checker
                .fail(format!("a transaction of slot {slot}, kind {kind}, sender {sender}, that honest minters knew is still not final"));
        }
        let seated = self.outcome.seats.iter().filter(|&&seats| seats > 0).count();
        if self.options.candidates as usize >= 3 * self.options.seats
            && self.newest.system.height > 30
            && seated < 2 * self.options.seats
        {
            self.checker
                .fail(format!("only {seated} different candidates had seats in {} heights", self.newest.system.height));
        }
        for candidate in 0..self.options.candidates {
            let node = &self.nodes[candidate as usize];
            let behind = self.newest.system.height.saturating_sub(node.version.system.height);
            if node.behaviour.is_none() && behind > 2 {
                self.checker.fail(format!("node {candidate} is {behind} heights behind after healing"));
            }
        }
    }
}
