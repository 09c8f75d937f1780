//! Lives of nodes: their starts and crashes, clocks and disks, and the network between them.

use super::byzantine::{Behaviour, Liar};
use super::meter::Meter;
use super::queue::{Event, Queue};
use crate::chain::signing::{AnySigning, signing_of, vote_key};
use crate::chain::state::{FOUNDED_SLOT, Scale, Shared, SimExecution, Version, account_key};
use crate::seed::dice::Dice;
use crate::seed::options::{FaultSet, SimOptions, Troubles};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::ChainParameters;
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::bls::VoteKeys;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// As far as a clock goes wrong.
const YEAR_MS: u64 = 365 * 24 * 3_600_000;
/// Final blocks that any node can restart from.
const ARCHIVE_MAX: usize = 256;

/// One node: what is lost at a crash, and what is not.
pub(crate) struct Node {
    pub(crate) minter: Option<Minter<SimExecution, AnySigning>>,
    /// Counts starts: what an earlier process set in motion is not this one's.
    pub(crate) start: u32,
    pub(crate) version: Rc<Version>,
    pub(crate) record: SignedOnce,
    /// Asked for and not yet durable.
    pub(crate) unsynced: Vec<SignedOnce>,
    /// When the last of those will be: one thread writes them, one after the other.
    synced_at: u64,
    /// Items of shard-blocks that it has vouched for.
    kept: Vec<(Hash, u64, Items)>,
    pub(crate) offset_ms: i64,
    pub(crate) paused_until: u64,
    pub(crate) behaviour: Option<Behaviour>,
    pub(crate) side: u8,
}

/// All nodes of a run.
pub(crate) struct Cluster<'a> {
    pub(crate) options: SimOptions,
    pub(crate) troubles: Troubles,
    pub(crate) schedule: Schedule,
    pub(crate) shared: Rc<Shared>,
    keys: Option<Arc<VoteKeys>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) queue: Queue<Event>,
    /// Milliseconds since the run began.
    pub(crate) now: u64,
    pub(crate) dice: Dice,
    archive: BTreeMap<u64, (Arc<Final>, Vec<Arc<CertifiedBlock>>)>,
    /// The state after the newest final block.
    pub(crate) newest: Rc<Version>,
    pub(crate) partitioned_until: u64,
    pub(crate) healed: bool,
    pub(crate) meter: Option<Meter>,
    /// Times that each trouble happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// Messages sent by all nodes, lost ones included.
    pub(crate) messages: u64,
    trace: Option<&'a mut dyn FnMut(String)>,
}

impl<'a> Cluster<'a> {
    /// Nodes that have their clocks and have not started yet; `trace` hears what happens.
    pub(crate) fn new(options: &SimOptions, trace: Option<&'a mut dyn FnMut(String)>) -> Cluster<'a> {
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
        let key = |candidate: u32| vote_key(candidate, &account_key(u64::from(candidate)), real).0;
        let shared = Shared::new(&scale, key, Box::new(checking));
        let genesis = shared.genesis();
        let mut cluster = Cluster {
            troubles: Troubles::draw(options),
            schedule: Schedule::of(&ChainParameters { slot_ms: options.slot_ms, ..ChainParameters::default() }),
            keys,
            nodes: Vec::new(),
            queue: Queue::default(),
            now: 0,
            dice: Dice::new(options.seed, 2),
            archive: BTreeMap::new(),
            newest: genesis.clone(),
            partitioned_until: 0,
            healed: false,
            meter: options.measure_bytes.then(|| Meter::new(options.candidates as usize)),
            faults: BTreeMap::new(),
            messages: 0,
            trace,
            options: options.clone(),
            shared,
        };
        for _ in 0..options.candidates {
            let offset_ms = cluster.draw_offset();
            cluster.nodes.push(Node {
                minter: None,
                start: 0,
                version: genesis.clone(),
                record: SignedOnce::default(),
                unsynced: Vec::new(),
                synced_at: 0,
                kept: Vec::new(),
                offset_ms,
                paused_until: 0,
                behaviour: None,
                side: 0,
            });
        }
        cluster
    }

    /// How far a node's clock is off.
    fn draw_offset(&mut self) -> i64 {
        let off = self.dice.chance(self.troubles.clock_off);
        let reach = 2 * self.troubles.clock_ms;
        // A good clock is as good as its servers: better than the fastest message where all is well.
        let ordinary = if self.options.faults == FaultSet::None { 20 } else { 100 };
        if off {
            self.dice.below(reach + 1) as i64 - self.troubles.clock_ms as i64
        } else {
            self.dice.below(ordinary) as i64
        }
    }

    /// Tells the trace.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace(format!("{:>9.3} s  {}", self.now as f64 / 1e3, line()));
        }
    }

    /// Counts a trouble.
    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_insert(0) += 1;
    }

    /// Queues an event for so many milliseconds from now.
    pub(crate) fn after(&mut self, delay_ms: u64, event: Event) {
        self.queue.push(self.now + delay_ms, event);
    }

    /// What a node's clock shows.
    pub(crate) fn local_ms(&self, candidate: u32) -> u64 {
        let founded_ms = (FOUNDED_SLOT * self.options.slot_ms) as i64;
        // A clock that is behind by more stands at the beginning of time.
        (self.now as i64 + self.nodes[candidate as usize].offset_ms + founded_ms).max(0) as u64
    }

    pub(crate) fn signing(&self, candidate: u32) -> AnySigning {
        signing_of(self.keys.as_ref(), candidate)
    }

    /// Sets a node's clock to something else while it runs, or sets it right.
    pub(crate) fn set_clock(&mut self, candidate: u32, offset_ms: i64) {
        self.nodes[candidate as usize].offset_ms = offset_ms;
        let start = self.nodes[candidate as usize].start;
        self.wake(candidate, start);
    }

    /// A clock goes wrong, by up to a year or by a few slots, either way, until it is set right again. A few ahead is what
    /// others find plausible: what was signed then comes by a second time when the clock is right.
    pub(crate) fn spoil_clock(&mut self, candidate: u32) {
        let few = 3 * self.options.slot_ms;
        let offset_ms = match self.dice.below(4) {
            0 => -(self.dice.between(few / 3, few) as i64),
            1 => -(self.dice.below(YEAR_MS) as i64),
            2 => self.dice.between(few / 3, few) as i64,
            _ => self.dice.below(YEAR_MS) as i64,
        };
        self.count("clocks spoilt");
        self.say(|| format!("the clock of node {candidate} is off by {offset_ms} ms"));
        self.set_clock(candidate, offset_ms);
        let wrong = self.dice.between(self.options.slot_ms / 4, 3 * self.options.slot_ms);
        self.after(wrong, Event::ClockRight(candidate));
    }

    /// Whether a node is Byzantine.
    pub(crate) fn lies(&self, candidate: u32) -> bool {
        self.nodes[candidate as usize].behaviour.is_some()
    }

    /// Starts a node from what is durable: which start it is, and what its minter does first.
    pub(crate) fn start(&mut self, candidate: u32) -> (u32, Vec<Action>) {
        let local = self.local_ms(candidate);
        let node = &mut self.nodes[candidate as usize];
        node.start += 1;
        let execution = SimExecution::new(self.shared.clone(), candidate, node.version.clone());
        let chain = self.shared.chain.genesis_hash;
        let signing = Arc::new(signing_of(self.keys.as_ref(), candidate));
        let forgets = node.behaviour == Some(Behaviour::Amnesia);
        let record = if forgets { SignedOnce::default() } else { node.record.clone() };
        let mut minter = Minter::new(chain, self.schedule, candidate, execution, signing, record, local);
        let height = node.version.system.height;
        minter.remember_finals(self.archive.range(..=height).rev().take(64).map(|(_, kept)| kept.clone()));
        node.kept.retain(|(_, of, _)| of + 8 > height);
        node.kept.iter().for_each(|(block, height, items)| minter.remember_items(*block, *height, items.clone()));
        let resumed = minter.resume();
        node.minter = Some(minter);
        (node.start, resumed)
    }

    /// Queues the moment at which a node's minter wants to be asked again.
    pub(crate) fn wake(&mut self, candidate: u32, start: u32) {
        let local = self.local_ms(candidate);
        let Some(minter) = &mut self.nodes[candidate as usize].minter else { return };
        minter.mind_clock(local);
        let delay = minter.wake_at_ms().saturating_sub(local);
        self.after(delay, Event::Wake(candidate, start));
    }

    /// Whether a node's minter wants to be asked again before its next step.
    pub(crate) fn is_due_soon(&self, candidate: u32) -> bool {
        let minter = self.nodes[candidate as usize].minter.as_ref();
        minter.is_some_and(|minter| minter.replays())
    }

    /// Ends a node, to be started again later.
    pub(crate) fn crash(&mut self, candidate: u32) {
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
        self.after(down, Event::Restart(candidate));
    }

    /// Sends a message; it may be lost, and it may come twice.
    pub(crate) fn transmit(&mut self, from: u32, to: u32, message: Message, later: u64) {
        self.messages += 1;
        let (a, b) = (&self.nodes[from as usize], &self.nodes[to as usize]);
        let cut = self.now < self.partitioned_until && a.side != b.side;
        if from != to && (cut || self.dice.chance(self.troubles.loss)) {
            self.count("messages lost");
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
            self.count("messages replayed");
            self.after(delay + again, Event::Deliver(to, from, Box::new(message.clone())));
        }
        self.after(delay, Event::Deliver(to, from, Box::new(message)));
    }

    /// To some others, by chance: final blocks to three.
    pub(crate) fn gossip(&mut self, from: u32, message: &Message, later: u64) {
        let fan_out = if matches!(message, Message::Final(..)) { 3 } else { 1 };
        for _ in 0..fan_out {
            let to = self.dice.below(u64::from(self.options.candidates)) as u32;
            if to != from {
                self.transmit(from, to, message.clone(), later);
            }
        }
    }

    /// Writes a record: durable after a while, and not before those that were asked for earlier, unless the node crashes.
    pub(crate) fn persist(&mut self, candidate: u32, ticket: u64, record: SignedOnce) {
        let delay = 1 + self.dice.below(self.troubles.disk_ms);
        let node = &mut self.nodes[candidate as usize];
        node.unsynced.push(record.clone());
        let begun = if node.unsynced.len() > 1 { node.synced_at } else { self.now };
        node.synced_at = begun.max(self.now) + delay;
        let (start, wait) = (node.start, node.synced_at - self.now);
        self.after(wait, Event::Durable(candidate, start, ticket, Box::new(record)));
    }

    /// Remembers the items of a shard-block that a node has vouched for, across its restarts.
    pub(crate) fn keep(&mut self, candidate: u32, block: Hash, height: u64, items: Items) {
        self.nodes[candidate as usize].kept.push((block, height, items));
    }

    /// What really leaves a node, and how many milliseconds later: an honest node's actions as they are, a liar's bent.
    pub(crate) fn bend(&mut self, candidate: u32, actions: Vec<Action>) -> Vec<(Action, u64)> {
        let Some(behaviour) = self.nodes[candidate as usize].behaviour else {
            return actions.into_iter().map(|action| (action, 0)).collect();
        };
        let committee = self.nodes[candidate as usize].version.system.committee.clone();
        let signing = signing_of(self.keys.as_ref(), candidate);
        let slot = self.schedule.slot(self.local_ms(candidate));
        let mut liar = Liar {
            chain: &self.shared.chain.genesis_hash,
            candidate,
            signing: &signing,
            committee: &committee,
            slot,
            dice: &mut self.dice,
        };
        liar.bend(behaviour, actions)
    }

    /// Lets a final block be found by those who restart later.
    pub(crate) fn archive(&mut self, height: u64, kept: (Arc<Final>, Vec<Arc<CertifiedBlock>>)) {
        self.archive.entry(height).or_insert(kept);
    }

    /// The state after a block that has just become final first.
    pub(crate) fn advance(&mut self, version: Rc<Version>) {
        let height = version.system.height;
        self.newest = version;
        if self.archive.len() > ARCHIVE_MAX {
            self.archive.pop_first();
        }
        if height.is_multiple_of(64) {
            self.shared.forget_below(height.saturating_sub(80));
        }
    }
}
