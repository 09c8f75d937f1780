//! `dynemix simulate`: the consensus under every fault, by seed.

use super::bench::Shown;
use dynemix_bench::report::{bar, facts, grouped, table};
use dynemix_simulator::meter::StepBytes;
use dynemix_simulator::options::SimOptions;
use dynemix_simulator::run::{SimReport, run_seeds};
use dynemix_simulator::takeover::{SLOTS_PER_YEAR, TakeoverOptions, TakeoverReport, takeover};
use dynemix_simulator::world::World;
use serde::Serialize;
use std::error::Error;
use std::io::{IsTerminal, Write};

impl Shown for SimReport {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("seeds", grouped(self.seeds)),
            (
                "simulated",
                format!(
                    "{:.1} hours in {:.1} s, {:.0} x real time",
                    self.simulated_hours, self.wall_seconds, self.times_real_time
                ),
            ),
            (
                "final",
                format!(
                    "{} blocks, {} transfers; {} slots without a block",
                    grouped(self.heights),
                    grouped(self.transfers),
                    grouped(self.slots_lost)
                ),
            ),
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
            (
                "plundered",
                format!(
                    "{} blocks of captured shards became final; {} banned in time, {} not",
                    grouped(self.plundered),
                    grouped(self.banned),
                    grouped(self.unbanned)
                ),
            ),
            ("healed", {
                let seeds = |slots: &u64, count: &u64| format!("{slots} slots: {count}");
                let parts: Vec<_> = self.healing_slots.iter().map(|(slots, count)| seeds(slots, count)).collect();
                format!("seeds by slots until all older transactions were final: {}", parts.join(", "))
            }),
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
        if let Some(bytes) = &self.bytes {
            text.push_str(&format!(
                "\n  bytes a transaction: {:.0} sent by all nodes, {:.0} by one; {:.1} in the patch\n\n",
                bytes.per_transaction, bytes.per_transaction_and_node, bytes.patch_per_transaction
            ));
            let row = |step: &StepBytes| {
                let sums = [step.length_ms, step.sent_max, step.received_max].map(grouped);
                let [length, sent, received] = sums;
                vec![step.step.into(), length, sent, received, format!("{:.3}", step.megabytes_per_second)]
            };
            let rows: Vec<_> = bytes.steps.iter().map(row).collect();
            text.push_str(&table(&["from", "ms", "sent, busiest", "received, busiest", "MB/s"], &rows));
        }
        for failed in self.failures.iter().take(20) {
            text.push_str(&format!("\n  seed {}: {}", failed.seed, failed.what));
        }
        if let Some(failed) = self.failures.first() {
            text.push_str(&format!("\n\n  see it happen, at commit {}:\n  {}\n", self.commit, failed.replay));
        }
        text
    }
}

/// Several shares of stake, one question.
#[derive(Serialize)]
pub(crate) struct Takeovers {
    takeovers: Vec<TakeoverReport>,
}

/// `simulate takeover`.
pub(crate) fn takeovers(options: &TakeoverOptions, stakes: &[f64]) -> Takeovers {
    let bar = bar(std::io::stderr().is_terminal(), options.draws * stakes.len() as u64, "draws");
    let one = |(i, &stake): (usize, &f64)| {
        takeover(&TakeoverOptions { stake, ..options.clone() }, |done| {
            bar.set_position(i as u64 * options.draws + done)
        })
    };
    let takeovers = stakes.iter().enumerate().map(one).collect();
    bar.finish_and_clear();
    Takeovers { takeovers }
}

impl Shown for Takeovers {
    fn text(&self) -> String {
        let Some(first) = self.takeovers.first() else { return String::new() };
        let options = &first.options;
        let mut text = facts(&[
            (
                "drawn",
                format!(
                    "{} seats of {} candidates, {} shards, {} draws each",
                    options.seats,
                    grouped(options.candidates.into()),
                    options.shards,
                    grouped(options.draws)
                ),
            ),
            (
                "divided",
                if options.bin_sort {
                    "by stake, in rows dealt by the seed".into()
                } else {
                    "by the seed alone".into()
                },
            ),
            ("records", format!("admitted by {} shards", options.record_shards)),
        ]);
        text.push('\n');
        let years = |years: Option<f64>| match years {
            None => format!("> {:.1e}", options.draws as f64 / SLOTS_PER_YEAR),
            Some(years) if years < 0.1 => format!("{:.1} days", years * 365.25),
            Some(years) => format!("{years:.1}"),
        };
        // A bar for every factor of ten between an hour and a hundred thousand years.
        let plot = |years: Option<f64>| {
            let years = years.unwrap_or(options.draws as f64 / SLOTS_PER_YEAR);
            "#".repeat((years * 8_766.0).log10().max(0.0).mul_add(3.0, 0.5) as usize)
        };
        let rows: Vec<_> = self
            .takeovers
            .iter()
            .map(|report| {
                vec![
                    format!("{:.1} %", 100.0 * report.options.stake),
                    format!("{:.4} %", 100.0 * report.captured_share),
                    format!("{:.2} %", 100.0 * report.blocked_share),
                    years(report.years_to_capture),
                    years(report.years_to_beyond),
                    format!("{:.2e}", report.censored_share),
                ]
            })
            .collect();
        text.push_str(&table(
            &["bad stake", "captured", "can block", "years to a capture", "years beyond B", "record censored"],
            &rows,
        ));
        text.push_str("\n  years to a capture, three # a factor of ten, from an hour\n");
        for report in &self.takeovers {
            text.push_str(&format!("  {:>5.1} %  {}\n", 100.0 * report.options.stake, plot(report.years_to_capture)));
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
