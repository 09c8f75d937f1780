//! `dynemix simulate`: the consensus under every fault, by seed.

use crate::bench::Shown;
use dynemix_bench::report::{bar, facts, grouped, table};
use dynemix_simulator::options::SimOptions;
use dynemix_simulator::run::{SimReport, run_seeds};
use dynemix_simulator::world::World;
use std::error::Error;
use std::io::{IsTerminal, Write};

impl Shown for SimReport {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("seeds", grouped(self.seeds)),
            ("simulated", format!("{:.1} hours in {:.1} s, {:.0} x real time", self.simulated_hours, self.wall_seconds, self.times_real_time)),
            ("final", format!("{} blocks, {} transfers; {} slots without a block", grouped(self.heights), grouped(self.transfers), grouped(self.slots_lost))),
            (
                "shards",
                format!(
                    "{} drawn; {} captured ({:.3} %), {} that could be blocked ({:.2} %)",
                    grouped(self.shards),
                    grouped(self.captured),
                    100.0 * self.captured as f64 / self.shards.max(1) as f64,
                    grouped(self.blocked),
                    100.0 * self.blocked as f64 / self.shards.max(1) as f64
                ),
            ),
            ("barred by proof", grouped(self.barred)),
            ("messages", grouped(self.messages)),
            ("ended early", format!("{} seeds drew more Byzantine seats than are tolerated", grouped(self.beyond))),
            ("forks", self.forks.to_string()),
            ("failures", self.failures.len().to_string()),
        ]);
        if !self.faults.is_empty() {
            text.push('\n');
            let rows: Vec<_> = self.faults.iter().map(|(fault, count)| vec![fault.clone(), grouped(*count)]).collect();
            text.push_str(&table(&["injected", "times"], &rows));
        }
        for failed in self.failures.iter().take(20) {
            text.push_str(&format!("\n  seed {}: {}", failed.seed, failed.what));
        }
        if let Some(failed) = self.failures.first() {
            text.push_str(&format!("\n\n  see it happen: the same options with --seed {} --replay\n", failed.seed));
        }
        text
    }
}

/// Runs seeds and fails if one of them broke a promise.
pub(crate) fn simulate(options: &SimOptions, seeds: u64) -> SimReport {
    let bar = bar(std::io::stderr().is_terminal(), seeds, "seeds");
    let report = run_seeds(options, seeds, true, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// Prints one seed's history.
pub(crate) fn replay(options: &SimOptions) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "  {}", serde_json::to_string(options)?)?;
    let mut trace = |line: String| {
        // Whoever reads may have seen enough.
        let _ = writeln!(out, "{line}");
    };
    let outcome = World::new(options, Some(&mut trace)).run();
    match outcome.failure {
        Some(failure) => Err(format!("seed {}: {}", options.seed, failure.what).into()),
        None => Ok(()),
    }
}
