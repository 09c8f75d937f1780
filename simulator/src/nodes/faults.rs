//! What a run does to its nodes: who is Byzantine, who crashes, pauses or is parted from others, and when all is well.

use super::byzantine::Behaviour;
use super::cluster::Cluster;
use super::queue::Event;
use crate::chain::state::stake_of;
use crate::seed::options::{FaultSet, Troubles};

impl Cluster<'_> {
    /// Chooses who is Byzantine: a share of the stake, and, where all candidates sit, no more than the quorum does
    /// without.
    pub(crate) fn corrupt(&mut self) {
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

    /// The troubles of one slot.
    pub(crate) fn trouble(&mut self) {
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
        if self.troubles.clock_jump > 0 {
            // Now and then all at once, each by something else.
            let all = self.dice.chance(self.troubles.clock_jump);
            for candidate in 0..self.options.candidates {
                if all || self.dice.chance(self.troubles.clock_jump) {
                    self.spoil_clock(candidate);
                }
            }
        }
        if self.troubles.blackout > 0 && self.dice.chance(self.troubles.blackout) {
            // Where it hurts: while votes are under way.
            let moment = self.dice.between(self.schedule.try_0_ms, self.options.slot_ms - 1);
            self.after(moment, Event::Blackout);
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

    /// Nearly everyone crashes at one moment.
    pub(crate) fn black_out(&mut self) {
        self.count("total outages");
        self.say(|| "a total outage".into());
        for candidate in 0..self.options.candidates {
            if self.dice.chance(950) {
                self.crash(candidate);
            }
        }
    }

    /// The network is well again from now on, but for those who lie; nodes follow one by one, see [`Self::recover`].
    pub(crate) fn heal(&mut self) {
        self.healed = true;
        self.troubles = Troubles { byzantine: self.troubles.byzantine, ..Troubles::calm() };
        self.partitioned_until = 0;
    }

    /// Sets a node's clock right and ends its pause; the start that it is in, if it runs.
    pub(crate) fn recover(&mut self, candidate: u32) -> Option<u32> {
        let node = &mut self.nodes[candidate as usize];
        (node.offset_ms, node.paused_until) = (0, 0);
        node.minter.is_some().then_some(node.start)
    }
}
