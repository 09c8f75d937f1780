//! Many seeds, one report.

use super::options::{Scene, WholeOptions};
use super::world::{CALM_SLOTS, Whole, WholeOutcome};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// What all seeds of a scene came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SceneReport {
    /// Seeds that were run.
    pub seeds: u64,
    /// Slots of all of them, calm ones included.
    pub slots: u64,
    /// Of these: without a block.
    pub slots_lost: u64,
    /// Transactions in final blocks.
    pub transactions: u64,
    /// Payments that users have handed in.
    pub offered: u64,
    /// Of these: said to be accepted.
    pub accepted: u64,
    /// Nodes that were killed.
    pub killed: u64,
    /// Final a slot of the load, of twice and of five times as much, of the last seed.
    pub plateau: [u64; 3],
}

/// A seed in which something was wrong.
#[derive(Clone, Debug, Serialize)]
pub struct FailedWhole {
    /// What was run.
    pub options: WholeOptions,
    /// What was wrong.
    pub what: String,
}

/// What all seeds came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WholeReport {
    /// The seeds of each scene.
    pub scenes: BTreeMap<Scene, SceneReport>,
    /// Seconds that it took.
    pub wall_seconds: f64,
    /// Seeds in which something was wrong.
    pub failures: Vec<FailedWhole>,
}

/// Runs `count` seeds from the options' on, each of this scene or of its own; `progress` hears how many are done.
pub fn run_whole(
    options: &WholeOptions,
    count: u64,
    scene: Option<Scene>,
    mut progress: impl FnMut(u64),
) -> WholeReport {
    let (mut report, begun) = (WholeReport::default(), Instant::now());
    for seed in options.seed..options.seed + count {
        report.add(Whole::new(&options.of_seed(seed, scene)).run());
        progress(seed + 1 - options.seed);
    }
    report.wall_seconds = begun.elapsed().as_secs_f64();
    report
}

impl WholeReport {
    fn add(&mut self, outcome: WholeOutcome) {
        let WholeOutcome { options, transactions, slots_lost, offered, accepted, killed, plateau, failure, .. } =
            outcome;
        assert!(accepted <= offered, "{accepted} of {offered} payments are said to be accepted");
        let of_scene = self.scenes.entry(options.scene).or_default();
        of_scene.seeds += 1;
        of_scene.slots += options.slots + CALM_SLOTS;
        of_scene.slots_lost += slots_lost;
        of_scene.transactions += transactions;
        of_scene.offered += offered;
        of_scene.accepted += accepted;
        of_scene.killed += killed;
        of_scene.plateau = plateau;
        self.failures.extend(failure.map(|what| FailedWhole { options, what }));
    }
}
