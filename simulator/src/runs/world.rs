//! One run: a cluster, who uses it and who watches it. Events are taken in order of time, nodes act on them, and every
//! checker hears what matters to it.

use super::clients::Clients;
use super::outcome::{Bytes, Outcome};
use super::plunder::Plunder;
use crate::chain::signing::failed_checks;
use crate::chain::state::Version;
use crate::checkers::finals::Finals;
use crate::checkers::liveness::{HEALING_SLOTS, Liveness};
use crate::checkers::penalties::Penalties;
use crate::checkers::verdict::Verdict;
use crate::checkers::votes::Votes;
use crate::checkers::{liars, supply};
use crate::nodes::cluster::Cluster;
use crate::nodes::queue::Event;
use crate::seed::options::{FaultSet, SimOptions};
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::committee::quorum::shard_quorum;
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::{Message, ShardMessage};
use std::sync::Arc;

/// One run: what happens in it, and what is seen of it.
pub struct World<'a> {
    cluster: Cluster<'a>,
    clients: Clients,
    plunder: Plunder,
    votes: Votes,
    finals: Finals,
    liveness: Liveness,
    penalties: Penalties,
    verdict: Verdict,
    outcome: Outcome,
}

impl<'a> World<'a> {
    /// A world at its start; `trace` hears what happens.
    pub fn new(options: &SimOptions, trace: Option<&'a mut dyn FnMut(String)>) -> World<'a> {
        let mut world = World {
            cluster: Cluster::new(options, trace),
            clients: Clients::default(),
            plunder: Plunder::default(),
            votes: Votes::default(),
            finals: Finals::default(),
            liveness: Liveness::default(),
            penalties: Penalties::default(),
            verdict: Verdict::default(),
            outcome: Outcome { seats: vec![0; options.candidates as usize], ..Outcome::default() },
        };
        world.cluster.corrupt();
        let troubles = format!("{:?}", world.cluster.troubles);
        world.cluster.say(|| troubles);
        for candidate in 0..options.candidates {
            world.start(candidate);
        }
        world.cluster.after(options.slot_ms, Event::Slot(1));
        world
    }

    /// Runs to the end, or to the first failure.
    pub fn run(mut self) -> Outcome {
        let options = &self.cluster.options;
        let end = (options.slots + HEALING_SLOTS + 1) * options.slot_ms + options.slot_ms / 2;
        while let Some((time, event)) = self.cluster.queue.pop() {
            if time > end || self.verdict.is_broken() || self.outcome.beyond {
                break;
            }
            self.cluster.now = time;
            self.event(event);
        }
        if !self.verdict.is_broken() && !self.outcome.beyond && self.cluster.options.faults != FaultSet::Beyond {
            let known_older_than = |slot| self.clients.known_older_than(slot);
            self.liveness.at_end(&self.cluster, known_older_than, &self.outcome.seats, &mut self.verdict);
        }
        self.conclude()
    }

    /// What it came to.
    fn conclude(self) -> Outcome {
        let World { mut cluster, plunder, liveness, verdict, mut outcome, .. } = self;
        outcome.bytes = cluster.meter.take().map(|meter| {
            let per_transaction = meter.sent as f64 / outcome.transfers.max(1) as f64;
            Bytes {
                per_transaction,
                per_transaction_and_node: per_transaction / f64::from(cluster.options.candidates),
                patch_per_transaction: meter.patch_bytes as f64 / meter.patch_transactions.max(1) as f64,
                steps: meter.steps(&cluster.schedule),
            }
        });
        outcome.height = cluster.newest.system.height;
        outcome.slots_lost = liveness.slots_lost;
        outcome.healing_slots = liveness.healing_slots;
        outcome.plundered = plunder.finals();
        outcome.banned = plunder.banned();
        outcome.unbanned = plunder.unbanned;
        outcome.messages = cluster.messages;
        outcome.faults = std::mem::take(&mut cluster.faults);
        outcome.failure = verdict.into_failure();
        if let Some(failure) = &outcome.failure {
            cluster.say(|| format!("FAILURE: {}", failure.what));
        }
        outcome
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Slot(slot) => self.slot(slot),
            Event::Plunder => {
                for block in self.plunder.plunder(&mut self.cluster) {
                    self.finals.on_certified(block);
                }
            }
            Event::ClockRight(candidate) => {
                if !self.cluster.healed {
                    self.cluster.set_clock(candidate, 0);
                }
            }
            Event::Blackout => self.cluster.black_out(),
            Event::Restart(candidate) => {
                if self.cluster.nodes[candidate as usize].minter.is_none() {
                    self.start(candidate);
                }
            }
            Event::Wake(candidate, start) => self.awake(candidate, start),
            Event::Deliver(candidate, from, message) => self.deliver(candidate, from, message),
            Event::Durable(candidate, start, ticket, record) => self.durable(candidate, start, ticket, *record),
        }
    }

    /// Starts a node from what is durable.
    fn start(&mut self, candidate: u32) {
        let (start, resumed) = self.cluster.start(candidate);
        self.act(candidate, resumed);
        self.cluster.wake(candidate, start);
    }

    fn awake(&mut self, candidate: u32, start: u32) {
        let local = self.cluster.local_ms(candidate);
        let node = &mut self.cluster.nodes[candidate as usize];
        if node.start != start {
            return;
        }
        if self.cluster.now < node.paused_until {
            let wait = node.paused_until - self.cluster.now;
            return self.cluster.after(wait, Event::Wake(candidate, start));
        }
        let Some(minter) = &mut node.minter else { return };
        if minter.wake_at_ms() <= local {
            let actions = minter.tick(local);
            self.act(candidate, actions);
            self.cluster.wake(candidate, start);
        }
    }

    fn deliver(&mut self, candidate: u32, from: u32, message: Box<Message>) {
        let local = self.cluster.local_ms(candidate);
        let node = &mut self.cluster.nodes[candidate as usize];
        if self.cluster.now < node.paused_until {
            let wait = node.paused_until - self.cluster.now;
            return self.cluster.after(wait, Event::Deliver(candidate, from, message));
        }
        let Some(minter) = &mut node.minter else { return };
        let failed = failed_checks();
        let mut actions = minter.handle(local, from, *message);
        let cost = failed_checks() - failed;
        // What waited for this is heard soon, and not only with the next step.
        if minter.wake_at_ms() <= local {
            actions.extend(minter.tick(local));
        }
        let start = node.start;
        self.penalties.on_cost(&self.cluster, candidate, from, cost, &mut self.verdict);
        self.act(candidate, actions);
        if self.cluster.is_due_soon(candidate) {
            self.cluster.wake(candidate, start);
        }
    }

    fn durable(&mut self, candidate: u32, start: u32, ticket: u64, record: SignedOnce) {
        let local = self.cluster.local_ms(candidate);
        let node = &mut self.cluster.nodes[candidate as usize];
        if node.start != start || node.minter.is_none() {
            return;
        }
        assert!(!node.unsynced.is_empty(), "what is durable was asked for");
        node.unsynced.remove(0);
        let (height, slot) = (node.record.height, node.record.reserved_slot);
        let ascends = (record.height, record.reserved_slot) >= (height, slot);
        assert!(ascends || node.behaviour.is_some(), "a disk takes back height {height}, slot {slot}");
        node.record = record;
        if let Some(minter) = &mut node.minter {
            let actions = minter.persisted(local, ticket);
            self.act(candidate, actions);
        }
    }

    /// What happens at the start of a slot: troubles, and new transfers.
    fn slot(&mut self, slot: u64) {
        self.outcome.slots += 1;
        if let Some(meter) = &mut self.cluster.meter {
            meter.slot_ends();
        }
        let older_than = |slot| self.clients.older_than(slot);
        self.liveness.on_slot(&self.cluster, slot, older_than, &mut self.verdict);
        let last = self.cluster.options.slots;
        if slot == last + 1 {
            self.heal();
        }
        if self.cluster.healed {
            let waits = self.clients.known_older_than(last + 1).is_some();
            self.liveness.on_slot_after_healing(&self.cluster, slot, waits, &mut self.verdict);
        } else {
            self.cluster.trouble();
        }
        Plunder::fall(&mut self.cluster, slot);
        let slot_ms = self.cluster.options.slot_ms;
        self.cluster.after(self.cluster.schedule.vote_ms + slot_ms / 50, Event::Plunder);
        self.clients.offer(&mut self.cluster, slot);
        if slot <= last + HEALING_SLOTS {
            self.cluster.after(slot_ms, Event::Slot(slot + 1));
        }
    }

    /// All is well again, but for those who lie.
    fn heal(&mut self) {
        self.liveness.on_heal(&self.cluster);
        self.cluster.heal();
        for candidate in 0..self.cluster.options.candidates {
            match self.cluster.recover(candidate) {
                Some(start) => self.cluster.wake(candidate, start),
                None => self.start(candidate),
            }
        }
        self.cluster.say(|| "healed".into());
    }

    /// Carries out what a node's minter wants done.
    fn act(&mut self, candidate: u32, actions: Vec<Action>) {
        let lies = self.cluster.lies(candidate);
        let mut voted = false;
        for (action, later) in self.cluster.bend(candidate, actions) {
            match action {
                Action::Send(to, message) => {
                    if lies {
                        let vote = matches!(message, Message::Shard { message: ShardMessage::Vote(..), .. });
                        if vote && Plunder::keeps_its_vote(&self.cluster, candidate) {
                            continue;
                        }
                    } else {
                        self.look_at(candidate, &message);
                        voted |= matches!(message, Message::Second { .. });
                    }
                    self.cluster.transmit(candidate, to, message, later);
                }
                Action::Gossip(message) => self.cluster.gossip(candidate, &message, later),
                Action::Persist(ticket, record) => self.cluster.persist(candidate, ticket, record),
                Action::Checked(..) => self.outcome.checked += 1,
                Action::Keep(block, height, items) => self.cluster.keep(candidate, block, height, items),
                Action::Penalise(whom, offence) => {
                    self.outcome.penalties += 1;
                    self.penalties.on_penalty(&self.cluster, candidate, whom, offence, &mut self.verdict);
                }
                Action::Refused(decided) => self.refused(candidate, &decided),
                Action::Certified(block) => self.certified(&block),
                Action::Finalized(decided, _) => self.finalized(candidate, &decided),
            }
        }
        // The state itself is durable with its block.
        let node = &mut self.cluster.nodes[candidate as usize];
        if let Some(minter) = &node.minter {
            node.version = minter.execution.version.clone();
        }
        let crash = self.cluster.troubles.crash_after_vote;
        if voted && crash > 0 && self.cluster.dice.chance(crash) {
            self.cluster.crash(candidate);
        }
    }

    /// A node goes no further than what a quorum has made final.
    fn refused(&mut self, candidate: u32, decided: &Final) {
        if !self.cluster.lies(candidate) && self.cluster.options.faults != FaultSet::Beyond {
            let height = decided.value.height;
            self.verdict.fail(format!("node {candidate} refuses what is final at height {height}"));
        }
    }

    /// What an honest node sends.
    fn look_at(&mut self, candidate: u32, message: &Message) {
        self.votes.on_send(candidate, message, &mut self.verdict);
        let node = &self.cluster.nodes[candidate as usize];
        Votes::for_what_it_holds(candidate, node, message, &mut self.verdict);
        if self.cluster.healed && matches!(message, Message::First { .. }) {
            self.liveness.on_vote(candidate);
        }
    }

    /// A shard-block has its certificate.
    fn certified(&mut self, block: &CertifiedBlock) {
        let new = self.finals.on_certified(block.block.hash());
        if let Some(meter) = self.cluster.meter.as_mut().filter(|_| new) {
            meter.patch_bytes += block.patch.len() as u64;
            meter.patch_transactions +=
                block.items.iter().filter(|item| item.cell_and_payload().is_some()).count() as u64;
        }
    }

    /// A node holds a block for final.
    fn finalized(&mut self, candidate: u32, decided: &Arc<Final>) {
        let height = decided.value.height;
        if self.cluster.lies(candidate) {
            return;
        }
        self.finals.on_final(candidate, height, decided.hash, &mut self.verdict);
        let first = height == self.cluster.newest.system.height + 1;
        if first {
            self.finals.on_first(&self.cluster, decided, &mut self.verdict);
            liars::spoil_little(&self.cluster, decided, &mut self.verdict);
        }
        let Some(minter) = &self.cluster.nodes[candidate as usize].minter else { return };
        if let Some(kept) = minter.kept_final(height) {
            self.cluster.archive(height, kept);
        }
        if !first {
            return;
        }
        let Some(version) = self.cluster.shared.version(&decided.hash) else { return };
        self.cluster.advance(version.clone());
        supply::is_conserved(&self.cluster.shared.genesis(), &version, &mut self.verdict);
        let transfers = self.clients.on_final(&version, decided.value.slot);
        self.outcome.transfers += transfers;
        self.plunder.on_final(&self.cluster, &version, &mut self.verdict);
        liars::alone_are_barred(&self.cluster, &version, &mut self.verdict);
        self.outcome.barred = version.system.barred.len() as u64;
        let bad_seats = self.count_seats(&version);
        let committee = &version.system.committee;
        if bad_seats > committee.byzantine_max() && self.cluster.options.faults != FaultSet::Beyond {
            self.outcome.beyond = true;
        }
        let (slot, attempt) = (decided.value.slot, decided.attempt % 2);
        let (members, shards) = (committee.members.len(), committee.shards.len());
        let blocks = decided.value.headers.iter().flatten().count();
        self.cluster.say(|| {
            format!(
                "height {height} final first at node {candidate}: slot {slot}, try {attempt}, {blocks} shard-blocks, \
                 {transfers} transfers; next {members} seats, {shards} shards, {bad_seats} Byzantine"
            )
        });
    }

    /// Counts who was drawn; returns the Byzantine seats.
    fn count_seats(&mut self, version: &Version) -> usize {
        let committee = &version.system.committee;
        let bad = |candidate: u32| self.cluster.lies(candidate);
        for seats in &committee.shards {
            let bad_here = seats.iter().filter(|&&seat| bad(committee.members[usize::from(seat)].candidate)).count();
            let quorum = shard_quorum(seats.len());
            self.outcome.shards += 1;
            self.outcome.captured += u64::from(bad_here >= quorum);
            self.outcome.blocked += u64::from(bad_here > seats.len() - quorum);
        }
        committee.members.iter().for_each(|member| self.outcome.seats[member.candidate as usize] += 1);
        committee.members.iter().filter(|member| bad(member.candidate)).count()
    }
}
