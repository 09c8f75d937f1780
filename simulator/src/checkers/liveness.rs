//! Liveness: without faults every slot counts, and after faults all is well soon.

use super::verdict::Verdict;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use std::collections::BTreeSet;

/// Slots after healing in which all must become well.
pub(crate) const HEALING_SLOTS: u64 = 12;
/// Slots after healing in which everyone who has a seat votes.
const MINTING_SLOTS: u64 = 10;
/// Slots after healing in which every older transfer must be final; and, at the end, how old one may be that is not.
const CATCH_UP_SLOTS: u64 = 3;

/// A transaction that is not final yet, as far as it matters here.
pub(crate) struct Waiting {
    pub(crate) slot: u64,
    pub(crate) kind: u8,
    pub(crate) sender: u64,
}

/// What has happened in time.
#[derive(Default)]
pub(crate) struct Liveness {
    /// Final heights at the beginning of the newest slot.
    height: u64,
    /// Slots in which no block became final.
    pub(crate) slots_lost: u64,
    height_at_heal: u64,
    /// Who has voted since.
    minted: BTreeSet<u32>,
    /// Slots after healing until every older transaction that honest minters knew was final.
    pub(crate) healing_slots: Option<u64>,
}

impl Liveness {
    /// A slot begins. `older_than` finds a transaction that was offered before a slot.
    pub(crate) fn on_slot(
        &mut self,
        cluster: &Cluster<'_>,
        slot: u64,
        older_than: impl FnOnce(u64) -> Option<Waiting>,
        verdict: &mut Verdict,
    ) {
        let (before, height) = (self.height, cluster.newest.system.height);
        self.height = height;
        if slot <= 2 {
            return;
        }
        self.slots_lost += u64::from(before == height);
        if cluster.options.faults != FaultSet::None {
            return;
        }
        if before == height {
            verdict.fail(format!("without faults slot {} has no final block", slot - 1));
        }
        if let Some(Waiting { slot, kind, .. }) = older_than(slot - 1) {
            verdict.fail(format!("without faults a transaction of slot {slot}, kind {kind}, is not in its block"));
        }
    }

    /// All is well from now on.
    pub(crate) fn on_heal(&mut self, cluster: &Cluster<'_>) {
        self.height_at_heal = cluster.newest.system.height;
    }

    /// An honest node has voted after healing.
    pub(crate) fn on_vote(&mut self, candidate: u32) {
        self.minted.insert(candidate);
    }

    /// How soon all is well after healing: old transactions final, and everyone who always has a seat at work. `waits`
    /// says whether a transaction from before, that honest minters knew, is not final.
    pub(crate) fn on_slot_after_healing(
        &mut self,
        cluster: &Cluster<'_>,
        slot: u64,
        waits: bool,
        verdict: &mut Verdict,
    ) {
        let (options, old) = (&cluster.options, cluster.options.slots);
        if !waits && self.healing_slots.is_none() {
            self.healing_slots = Some(slot - old - 1);
        }
        if waits && slot == old + 1 + CATCH_UP_SLOTS && options.faults != FaultSet::Beyond {
            verdict.fail(format!(
                "{CATCH_UP_SLOTS} slots after healing a transaction that honest minters knew before is not final"
            ));
        }
        let all_seated = options.candidates as usize <= options.seats && options.faults != FaultSet::Beyond;
        if slot == old + 1 + MINTING_SLOTS && all_seated {
            let seated = |candidate: u32| cluster.newest.system.committee.seat_of(candidate).is_some();
            let idle = (0..options.candidates)
                .find(|&candidate| !cluster.lies(candidate) && seated(candidate) && !self.minted.contains(&candidate));
            if let Some(candidate) = idle {
                verdict.fail(format!("node {candidate} has not voted in {MINTING_SLOTS} slots after healing"));
            }
        }
    }

    /// The run is over. `known_before` finds a transaction that honest minters knew before a slot; `seats` are those
    /// drawn, by candidate.
    pub(crate) fn at_end(
        &self,
        cluster: &Cluster<'_>,
        known_before: impl FnOnce(u64) -> Option<Waiting>,
        seats: &[u64],
        verdict: &mut Verdict,
    ) {
        let (options, height) = (&cluster.options, cluster.newest.system.height);
        let gained = height - self.height_at_heal;
        if gained < HEALING_SLOTS - 4 {
            verdict.fail(format!("in {HEALING_SLOTS} slots after healing only {gained} blocks became final"));
        }
        if let Some(Waiting { slot, kind, sender }) = known_before(options.slots + HEALING_SLOTS - CATCH_UP_SLOTS) {
            verdict.fail(format!(
                "a transaction of slot {slot}, kind {kind}, sender {sender}, that honest minters knew \
                 is still not final"
            ));
        }
        let seated = seats.iter().filter(|&&seats| seats > 0).count();
        if options.candidates as usize >= 3 * options.seats && height > 30 && seated < 2 * options.seats {
            verdict.fail(format!("only {seated} different candidates had seats in {height} heights"));
        }
        for candidate in 0..options.candidates {
            let behind = height.saturating_sub(cluster.nodes[candidate as usize].version.system.height);
            if !cluster.lies(candidate) && behind > 2 {
                verdict.fail(format!("node {candidate} is {behind} heights behind after healing"));
            }
        }
    }
}
