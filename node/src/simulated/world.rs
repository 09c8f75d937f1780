//! Whole nodes in virtual time. One seed decides everything that happens to them.

use super::chain::{SLOT_MS, World};
use super::machine::{Did, Machine, NEVER};
use super::network::{Flying, Network};
use super::options::{Scene, WholeOptions};
use super::users::{Seen, Users};
use super::verdict::Verdict;
use crate::minting::door::NodeSigning;
use crate::peer::frames::{Frame, PeerFrameKind, RoomWord, VOTES};
use dynemix_engine::messages::codec::decode;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_net::mesh::{Body, Event, To};
use dynemix_simulator::dice::Dice;
use dynemix_simulator::queue::Queue;
use dynemix_storage::MemoryDisk;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Slots without any trouble that follow those with it.
pub const CALM_SLOTS: u64 = 12;
/// How often users hand something in and look at what became of the rest.
const USERS_MS: u64 = 50;
/// A node is killed so often, in slots.
const KILLED_EVERY: u64 = 5;
/// So many times as long takes verifying on a computer that is slow for a while.
const SLOW: u64 = 8;
/// Of a thousand frames so many are lost where something is.
const LOSS: u64 = 3;
/// Who lies about its room.
const LIAR: u32 = 0;

/// Something that happens.
enum Happens {
    /// A node has something to do: its number, which start of it.
    Look(u32, u64),
    Arrives(Flying),
    /// The power of a node is cut.
    Cut(u32),
    Restart(u32),
    Users,
    Slot(u64),
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WholeOutcome {
    /// What it was.
    pub options: WholeOptions,
    /// Blocks that became final.
    pub height: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Slots that brought none.
    pub slots_lost: u64,
    /// Payments that users have handed in.
    pub offered: u64,
    /// That were said to be accepted.
    pub accepted: u64,
    /// Refusals by name.
    pub refused: BTreeMap<String, u64>,
    /// Final payments by slots since they were accepted.
    pub waits: BTreeMap<u64, u64>,
    /// Final a slot under the load, twice and five times as much; of other scenes nothing to compare.
    pub plateau: [u64; 3],
    /// Nodes that were killed.
    pub killed: u64,
    /// Frames that were lost.
    pub frames_lost: u64,
    /// The same in another run if the same has happened in it.
    pub digest: u64,
    /// What was wrong, if anything was.
    pub failure: Option<String>,
}

/// A run that goes on.
pub struct Whole {
    options: WholeOptions,
    world: World,
    queue: Queue<Happens>,
    now_us: u64,
    dice: Dice,
    network: Network,
    disks: Vec<MemoryDisk>,
    machines: Vec<Option<Machine>>,
    /// How often each node has started.
    lives: Vec<u64>,
    /// When each is looked at next.
    looks: Vec<u64>,
    users: Users,
    /// What of the load was not offered since it is no whole payment, in tenths of a thousandth.
    owed: u64,
    verdict: Verdict,
    /// Signatures of consensus that have held for one node, and so hold for all.
    memory: Option<Arc<NodeSigning>>,
    killed: u64,
}

impl Whole {
    /// Nodes that have not started yet.
    ///
    /// # Panics
    /// With fewer than four nodes, or more than there are ports.
    pub fn new(options: &WholeOptions) -> Whole {
        let nodes = options.nodes;
        assert!((4..=1_000).contains(&nodes), "{nodes} nodes");
        // Those that wait, and as many again to choose from.
        let users = (8 * options.load).max(200);
        let world = World::new(options.seed, nodes, users, options.seed.is_multiple_of(2));
        let loss = if options.scene == Scene::Crashes { LOSS } else { 0 };
        Whole {
            users: Users::new(world.users(), options.scene == Scene::Calm),
            world,
            queue: Queue::default(),
            now_us: 0,
            dice: Dice::new(options.seed, 7),
            network: Network::new(nodes, loss),
            disks: (0..nodes).map(|_| MemoryDisk::new()).collect(),
            machines: (0..nodes).map(|_| None).collect(),
            lives: vec![0; nodes as usize],
            looks: vec![NEVER; nodes as usize],
            owed: 0,
            verdict: Verdict::default(),
            memory: None,
            killed: 0,
            options: options.clone(),
        }
    }

    /// Runs to the end, or to the first thing that is wrong.
    pub fn run(mut self) -> WholeOutcome {
        (0..self.options.nodes).for_each(|node| self.start(node));
        self.queue.push(0, Happens::Slot(0));
        self.queue.push(0, Happens::Users);
        let end_us = (self.options.slots + CALM_SLOTS) * SLOT_MS * 1_000;
        while let Some((at_us, happens)) = self.queue.pop()
            && at_us < end_us
            && self.verdict.wrong.is_none()
        {
            assert!(at_us >= self.now_us, "what is past does not happen");
            self.now_us = at_us;
            match happens {
                Happens::Look(node, life) => {
                    if self.lives[node as usize] == life && self.looks[node as usize] == at_us {
                        self.touch(node);
                    }
                }
                Happens::Arrives(flying) => self.arrives(flying),
                Happens::Cut(node) => self.kill(node),
                Happens::Restart(node) => self.start(node),
                Happens::Users => self.users(),
                Happens::Slot(slot) => self.slot(slot),
            }
        }
        self.outcome()
    }

    fn outcome(mut self) -> WholeOutcome {
        if self.verdict.wrong.is_none() {
            self.look_for_users();
            self.verdict.on_end(&self.options, &self.users.seen, self.users.waiting());
        }
        let Whole { options, users, verdict, .. } = self;
        let Seen { offered, accepted, refused, waits, .. } = users.seen.clone();
        WholeOutcome {
            height: verdict.height(),
            transactions: verdict.transactions,
            slots_lost: verdict.lost.len() as u64,
            offered,
            accepted,
            refused,
            waits,
            plateau: verdict.plateau(&options),
            killed: self.killed,
            frames_lost: self.network.lost,
            digest: verdict.digest(&users.seen),
            failure: verdict.wrong,
            options,
        }
    }

    fn running(&self) -> Vec<u32> {
        (0..self.options.nodes).filter(|&node| self.machines[node as usize].is_some()).collect()
    }

    /// How often two nodes have started.
    fn lives_of(&self, one: u32, other: u32) -> u64 {
        self.lives[one as usize] + self.lives[other as usize]
    }

    /// A node starts, from what is on its disk, and all others come to it.
    fn start(&mut self, node: u32) {
        let place = node as usize;
        if self.machines[place].is_some() {
            return;
        }
        let at = (&self.disks[place], self.now_us / 1_000);
        let (mut machine, did) = Machine::start(&self.world, self.options.seed, node, at, &mut self.memory);
        self.lives[place] += 1;
        self.users.hand_in_again(node, &mut machine);
        self.machines[place] = Some(machine);
        self.looks[place] = NEVER;
        self.bring(node, did);
        let others = self.running().into_iter().filter(|&other| other != node);
        for other in others.collect::<Vec<_>>() {
            self.meets(node, other);
            self.meets(other, node);
            self.touch(other);
        }
        self.touch(node);
    }

    /// A node sees that another has come.
    fn meets(&mut self, node: u32, other: u32) {
        let peer = self.network.peer(node, other, self.lives_of(node, other));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1_000 + other as u16));
        if let Some(machine) = &mut self.machines[node as usize] {
            machine.hear(Event::Opened(peer, [other as u8; 32], address));
        }
    }

    /// Has a node do all that it can by now.
    fn touch(&mut self, node: u32) {
        let (place, now_us) = (node as usize, self.now_us);
        let Some(machine) = &mut self.machines[place] else { return };
        let mut did = Did::default();
        let next_us = machine.advance(now_us, &mut did);
        self.bring(node, did);
        let look = &mut self.looks[place];
        if next_us != NEVER && (*look == NEVER || *look <= now_us || next_us < *look) {
            *look = next_us;
            self.queue.push(next_us, Happens::Look(node, self.lives[place]));
        }
    }

    /// Brings what a node has done to where it belongs.
    fn bring(&mut self, node: u32, did: Did) {
        let Did { sent, finals, stale } = did;
        if stale > 0 {
            self.verdict.fail(|| format!("node {node} verified {stale} signatures of what was told for a past height"));
        }
        finals.iter().for_each(|block| self.verdict.on_final(node, block));
        for frame in sent {
            self.send(node, frame);
        }
    }

    fn send(&mut self, from: u32, (to, class, frame): Frame) {
        let frame = self.said(from, class, frame);
        let targets = match to {
            To::Name(name) => vec![name],
            To::Peer(peer) => {
                let (other, lives) = self.network.end_of(peer);
                if lives == self.lives_of(from, other) { vec![other] } else { Vec::new() }
            }
            To::Some(count) => {
                let others = self.running().into_iter().filter(|&other| other != from).collect();
                Network::some(count, others, &mut self.dice)
            }
        };
        for to in targets {
            let is_there = self.machines.get(to as usize).is_some_and(Option::is_some);
            if to == from || !is_there {
                continue;
            }
            let flying = Flying { from, to, lives: self.lives_of(from, to), class, frame: frame.clone() };
            if let Some(at_us) = self.network.carry(self.now_us, &flying, &mut self.dice) {
                self.queue.push(at_us, Happens::Arrives(flying));
            }
        }
    }

    /// What a node says, as others hear it: looked at, and of a liar bent.
    fn said(&mut self, from: u32, class: u8, frame: Arc<[u8]>) -> Arc<[u8]> {
        if class != VOTES {
            return frame;
        }
        match (self.options.scene, PeerFrameKind::split(&frame)) {
            (Scene::Overload, Some((PeerFrameKind::Room, word))) if from == LIAR => {
                let Some(word) = RoomWord::read(word) else { return frame };
                // By turns nothing at all, and all there is.
                let transactions = if word.height.is_multiple_of(2) { 0 } else { u64::MAX };
                RoomWord { transactions, ..word }.encode().into()
            }
            (Scene::Calm, Some((PeerFrameKind::Message, message))) => {
                if let Ok(Message::Shard { height, slot, message: ShardMessage::SetRoot(root, _), .. }) =
                    decode(message, &Nobody)
                {
                    self.verdict.on_set(from, (height, slot), root);
                }
                frame
            }
            _ => frame,
        }
    }

    fn arrives(&mut self, flying: Flying) {
        let Flying { from, to, lives, class, frame } = flying;
        let peer = self.network.peer(to, from, lives);
        let is_the_same = lives == self.lives_of(from, to);
        if let Some(machine) = self.machines[to as usize].as_mut().filter(|_| is_the_same) {
            machine.hear(Event::Frame(peer, class, Body::of_nobody(frame.to_vec())));
            self.touch(to);
        }
    }

    /// Users look at what became of what they have handed in.
    fn look_for_users(&mut self) {
        let newest = self.machines.iter().flatten().max_by_key(|machine| machine.height());
        let Some(newest) = newest else { return };
        let accounts: Vec<u32> = (0..self.world.users()).map(|user| self.world.account(user)).collect();
        let sequences = newest.sequences(&accounts);
        let wrong = self.users.look(self.now_us, &self.machines, |user| sequences[user]);
        if let Some(wrong) = wrong {
            self.verdict.fail(|| wrong);
        }
    }

    /// Users hand in what they have.
    fn users(&mut self) {
        self.look_for_users();
        let slot = self.now_us / 1_000 / SLOT_MS;
        self.owed += self.options.load * self.options.tenths_offered(slot) * USERS_MS;
        let (count, unit) = (self.owed / (10 * SLOT_MS), 10 * SLOT_MS);
        self.owed %= unit;
        self.users.offer(&self.world, (self.now_us, count), &mut self.machines, &mut self.dice);
        self.running().into_iter().for_each(|node| self.touch(node));
        self.queue.push(self.now_us + USERS_MS * 1_000, Happens::Users);
    }

    /// A slot begins.
    fn slot(&mut self, slot: u64) {
        let oldest = self.users.oldest_slots(self.now_us);
        self.verdict.on_slot(&self.options, slot, &self.users.seen, oldest);
        let rows: Vec<_> = self.machines.iter().map(|machine| machine.as_ref().map(Machine::rows)).collect();
        for (node, &(pool, _, room)) in (0..).zip(&rows).filter_map(|(node, row)| Some((node, row.as_ref()?))) {
            self.verdict.on_rows(node, (pool, room));
        }
        self.verdict.on_own(rows.iter().flatten().map(|row| row.1).sum());
        match slot.cmp(&self.options.slots) {
            std::cmp::Ordering::Less if self.options.scene == Scene::Crashes => self.trouble(slot),
            std::cmp::Ordering::Equal => self.heal(),
            _ => {}
        }
        self.queue.push((slot + 1) * SLOT_MS * 1_000, Happens::Slot(slot + 1));
    }

    /// A node is killed now and then, somewhere in the slot that begins; one computer is slow for a while.
    fn trouble(&mut self, slot: u64) {
        let node = self.dice.below(self.options.nodes.into()) as u32;
        if slot % KILLED_EVERY == KILLED_EVERY - 1 {
            let into_ms = self.dice.below(SLOT_MS);
            self.queue.push(self.now_us + into_ms * 1_000, Happens::Cut(node));
        }
        if slot.is_multiple_of(KILLED_EVERY) {
            self.machines.iter_mut().flatten().for_each(|machine| machine.slowness = 1);
            if let Some(machine) = &mut self.machines[node as usize] {
                machine.slowness = SLOW;
            }
        }
    }

    fn kill(&mut self, node: u32) {
        // What was said until now was heard.
        self.look_for_users();
        let place = node as usize;
        let Some(machine) = self.machines[place].take() else { return };
        self.disks[place] = machine.crash(&self.disks[place], &mut self.dice);
        self.killed += 1;
        let down_ms = self.dice.between(SLOT_MS / 4, 3 * SLOT_MS);
        self.queue.push(self.now_us + down_ms * 1_000, Happens::Restart(node));
    }

    /// All is well from now on.
    fn heal(&mut self) {
        self.network.loss = 0;
        self.machines.iter_mut().flatten().for_each(|machine| machine.slowness = 1);
        (0..self.options.nodes).for_each(|node| self.start(node));
    }
}
