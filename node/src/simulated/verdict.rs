//! What must hold whatever happens to the nodes of a run, and what they must carry.

use super::options::{Scene, WholeOptions};
use super::users::Seen;
use crate::minting::status::BlockShown;
use dynemix_engine::base::hash::Hash;
use std::collections::BTreeMap;

/// Slots in which nodes begin to know what each of them carries.
const FIRST_SLOTS: u64 = 4;
/// After the load has fallen, slots until what waits is of the last few again; and how many these are.
const RECOVERS_IN: u64 = 5;
const WAITS_SLOTS: u64 = 2;
/// What is admitted under any load is final within so many slots, but for one of a hundred.
const IN_TIME_SLOTS: u64 = 3;
/// Of what they carry, nodes carry so many of a hundred under any load.
const KEPT_PER_CENT: u64 = 90;

/// What was seen, and the first thing that was wrong.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) wrong: Option<String>,
    /// Hash and root of each height, by whoever was the first.
    finals: BTreeMap<u64, (String, String)>,
    /// Transactions in final blocks.
    pub(super) transactions: u64,
    /// Roots of the sets that minters have closed, of the newest heights: whose and which.
    roots: BTreeMap<(u64, u64), (u32, Hash)>,
    /// Payments that had become final when each slot began.
    at_slots: Vec<u64>,
    /// Slots that brought no block.
    pub(super) lost: Vec<u64>,
    newest_at_slot: u64,
    /// The most that a node has said that it takes.
    ceiling: u64,
}

impl Verdict {
    /// Something is wrong.
    pub(super) fn fail(&mut self, what: impl FnOnce() -> String) {
        self.wrong.get_or_insert_with(what);
    }

    /// Newest height that is final anywhere.
    pub(super) fn height(&self) -> u64 {
        self.finals.last_key_value().map_or(0, |last| *last.0)
    }

    /// A node holds a block for final.
    pub(super) fn on_final(&mut self, node: u32, block: &BlockShown) {
        let height = block.height;
        let led = (block.hash.clone(), block.state_root.clone());
        let first = !self.finals.contains_key(&height);
        if first {
            self.transactions += block.shards.iter().map(|shard| u64::from(shard.transactions)).sum::<u64>();
        }
        let before = self.finals.entry(height).or_insert_with(|| led.clone()).clone();
        if before != led {
            self.fail(|| format!("node {node} holds {led:?} for final at height {height}, another one {before:?}"));
        }
    }

    /// A minter calls a set of this root its own. Where nothing is late all have been told the same, and close the same.
    pub(super) fn on_set(&mut self, node: u32, (height, slot): (u64, u64), root: Hash) {
        let (other, before) = *self.roots.entry((height, slot)).or_insert((node, root));
        if slot >= FIRST_SLOTS && before != root {
            self.fail(|| {
                format!("nodes {other} and {node} were told the same and close different sets of height {height}")
            });
        }
        self.roots = self.roots.split_off(&(height.saturating_sub(4), 0));
    }

    /// What a node holds: `room` is what it says that it takes.
    pub(super) fn on_rows(&mut self, node: u32, (pool, room): (usize, u64)) {
        self.ceiling = self.ceiling.max(room);
        // Twice its word is taken of each, for two heights.
        if pool as u64 > 4 * self.ceiling {
            let ceiling = self.ceiling;
            self.fail(|| format!("{pool} wait in the pool of node {node}, which has said that it takes {ceiling}"));
        }
    }

    /// What all nodes follow for their users: what a height takes and three quarters of that, and as much again, since what
    /// it takes changes.
    pub(super) fn on_own(&mut self, own: usize) {
        if own as u64 > 2 * self.ceiling {
            let ceiling = self.ceiling;
            self.fail(|| format!("{own} of their users' wait with all nodes, of which a height takes {ceiling}"));
        }
    }

    /// A slot begins; `oldest`: how many slots the oldest payment waits that was accepted.
    pub(super) fn on_slot(&mut self, options: &WholeOptions, slot: u64, seen: &Seen, oldest: u64) {
        assert_eq!(self.at_slots.len() as u64, slot, "each slot begins once");
        self.at_slots.push(seen.finals);
        let newest = self.height();
        // Of the first slot nobody knows anything.
        if slot > 1 && newest == self.newest_at_slot {
            self.lost.push(slot - 1);
            if options.scene != Scene::Crashes {
                self.fail(|| format!("slot {} brought no block, and nothing was amiss", slot - 1));
            }
        }
        self.newest_at_slot = newest;
        let fell = match options.scene {
            Scene::Overload => 3 * options.slots / 4,
            Scene::Calm => 0,
            Scene::Crashes => options.slots,
        };
        if slot >= fell + RECOVERS_IN && oldest > WAITS_SLOTS {
            self.fail(|| {
                format!("in slot {slot} a payment waits for {oldest} slots, though little is offered since {fell}")
            });
        }
    }

    /// Payments that became final in a slot, on average from one slot to another.
    fn finals_in(&self, from: u64, to: u64) -> u64 {
        // A run may have ended before.
        let at = |slot: u64| self.at_slots.get(slot as usize).or(self.at_slots.last()).copied().unwrap_or(0);
        (at(to) - at(from)) / (to - from).max(1)
    }

    /// What became final a slot of the load, of twice and of five times as much.
    pub(super) fn plateau(&self, options: &WholeOptions) -> [u64; 3] {
        let quarter = (options.slots / 4).max(2);
        let first = FIRST_SLOTS.min(quarter - 1);
        let from = |part: u64| if part == 0 { first } else { part * quarter + 1 };
        [0, 1, 2].map(|part| self.finals_in(from(part), (part + 1) * quarter))
    }

    /// The run is over.
    pub(super) fn on_end(
        &mut self,
        options: &WholeOptions,
        seen: &Seen,
        mut waiting: impl Iterator<Item = (usize, u64, u32)>,
    ) {
        if let Some((user, sequence, node)) = waiting.next() {
            let more = waiting.count();
            self.fail(|| {
                format!(
                    "payment {sequence} of user {user} was accepted by node {node} and is lost, {more} others as well"
                )
            });
        }
        if options.scene != Scene::Overload {
            return;
        }
        let plateau = self.plateau(options);
        if plateau[1..].iter().any(|&finals| finals * 100 < plateau[0] * KEPT_PER_CENT) {
            self.fail(|| format!("final a slot of one, two and five times the load: {plateau:?}"));
        }
        let late: u64 = seen.waits.iter().filter(|wait| *wait.0 > IN_TIME_SLOTS).map(|wait| wait.1).sum();
        if late * 100 > seen.finals {
            self.fail(|| {
                format!("{late} of {} accepted payments waited for more than {IN_TIME_SLOTS} slots", seen.finals)
            });
        }
    }

    /// A number that another run has if the same has happened in it.
    pub(super) fn digest(&self, seen: &Seen) -> u64 {
        let text = format!("{:?} {:?} {:?} {seen:?}", self.finals, self.at_slots, self.lost);
        let hash = blake3::hash(text.as_bytes());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}
