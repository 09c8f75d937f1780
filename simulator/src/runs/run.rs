//! Many seeds, one report.

use super::outcome::{Bytes, Outcome};
use super::world::World;
use crate::seed::options::SimOptions;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Slots of a run with real signatures among many without.
const REAL_SLOTS: u64 = 6;

/// A seed that broke a promise.
#[derive(Clone, Debug, Serialize)]
pub struct FailedSeed {
    /// The seed: the same options and this seed give the same run.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
    /// Whether it was a fork.
    pub fork: bool,
    /// Shows it again, with the report's commit.
    pub replay: String,
}

/// What all seeds came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SimReport {
    /// The code that was run.
    pub commit: &'static str,
    /// Seeds that were run.
    pub seeds: u64,
    /// Virtual time of all of them.
    pub simulated_hours: f64,
    /// Seconds that it took in reality.
    pub wall_seconds: f64,
    /// Virtual over real time.
    pub times_real_time: f64,
    /// How often each trouble happened.
    pub faults: BTreeMap<String, u64>,
    /// Two final blocks at one height.
    pub forks: u64,
    /// Seeds that broke a promise.
    pub failures: Vec<FailedSeed>,
    /// Shards of final blocks.
    pub shards: u64,
    /// Of those: captured by Byzantine minters.
    pub captured: u64,
    /// Of those: could be blocked by them.
    pub blocked: u64,
    /// Runs ended because more Byzantine seats were drawn than are tolerated.
    pub beyond: u64,
    /// Heights that became final, in all seeds.
    pub heights: u64,
    /// Slots without a final block, with all troubles.
    pub slots_lost: u64,
    /// Transactions that became final, in all seeds.
    pub transfers: u64,
    /// Candidates barred by proof.
    pub barred: u64,
    /// Blocks of captured shards that became final in quilt mode.
    pub plundered: u64,
    /// Of those: banned before anything in them could be spent.
    pub banned: u64,
    /// Of those: not banned in time.
    pub unbanned: u64,
    /// Seeds, by how many slots after healing every older transaction was final.
    pub healing_slots: BTreeMap<u64, u64>,
    /// Penalties that nodes have given to liars, in all seeds.
    pub penalties: u64,
    /// Messages sent by all nodes, lost ones included.
    pub messages: u64,
    /// Bytes on the wire in the last seed, if they were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
}

/// Runs `count` seeds from the options' seed on; `progress` hears how many are done. Every 50th seed has real
/// signatures, if `some_real`.
pub fn run_seeds(
    options: &SimOptions,
    count: u64,
    some_real: bool,
    mut progress: impl FnMut(u64, &SimReport),
) -> SimReport {
    let mut report = SimReport { commit: env!("DYNEMIX_COMMIT"), ..SimReport::default() };
    let start = Instant::now();
    let mut slots = 0u64;
    for seed in options.seed..options.seed + count {
        let real_signatures = options.real_signatures || (some_real && seed.is_multiple_of(50));
        // Pairings take a millisecond: such runs are short.
        let slots_here =
            if real_signatures && !options.real_signatures { options.slots.min(REAL_SLOTS) } else { options.slots };
        let outcome =
            World::new(&SimOptions { seed, real_signatures, slots: slots_here, ..options.clone() }, None).run();
        slots += outcome.slots;
        let replay = options.replay_command(seed, slots_here, real_signatures);
        report.add(seed, outcome, replay);
        report.wall_seconds = start.elapsed().as_secs_f64();
        report.simulated_hours = slots as f64 * options.slot_ms as f64 / 3.6e6;
        report.times_real_time = 3_600.0 * report.simulated_hours / report.wall_seconds;
        progress(report.seeds, &report);
    }
    report
}

impl SimReport {
    fn add(&mut self, seed: u64, outcome: Outcome, replay: String) {
        self.seeds += 1;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault.to_owned()).or_insert(0) += count;
        }
        self.shards += outcome.shards;
        self.captured += outcome.captured;
        self.blocked += outcome.blocked;
        self.beyond += u64::from(outcome.beyond);
        self.heights += outcome.height;
        self.slots_lost += outcome.slots_lost;
        self.transfers += outcome.transfers;
        self.barred += outcome.barred;
        self.plundered += outcome.plundered;
        self.banned += outcome.banned;
        self.unbanned += outcome.unbanned;
        self.penalties += outcome.penalties;
        self.messages += outcome.messages;
        if let Some(slots) = outcome.healing_slots {
            *self.healing_slots.entry(slots).or_insert(0) += 1;
        }
        self.bytes = outcome.bytes.or(self.bytes.take());
        if let Some(failure) = outcome.failure {
            self.forks += u64::from(failure.fork);
            self.failures.push(FailedSeed { seed, what: failure.what, fork: failure.fork, replay });
        }
    }
}
