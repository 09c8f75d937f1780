//! `dynemix simulate grind`: what an owner of stake can choose who sees the seed before the block is closed.

use super::ending::{WrongUsage, within};
use super::output::{OutputArgs, Shown};
use clap::{Args, ValueEnum};
use dynemix_perf::report::{bar, facts, grouped};
use dynemix_simulator::grind::{GrindOptions, GrindReport, Moves, grind, withholding};
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MovesArg {
    /// Stake, unstake, leave, pay, delay the block
    Stake,
    /// Keep own answers back
    Withhold,
}

#[derive(Debug, Args)]
pub(crate) struct GrindArgs {
    /// Share of the candidates that is his; all have equal stakes
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    stake: f64,
    /// How many accounts have a stake, his among them
    #[arg(long, value_name = "N", default_value_t = 200)]
    candidates: u32,
    /// Seats of a block
    #[arg(long, value_name = "N", default_value_t = 20)]
    seats: u32,
    /// Heights at which he grinds
    #[arg(long, value_name = "N", default_value_t = 200)]
    heights: u64,
    /// Tries at each height
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    tries: u64,
    /// What he may do
    #[arg(long, value_enum, default_value_t = MovesArg::Stake)]
    moves: MovesArg,
    /// Answers that he keeps back at a height at most
    #[arg(long, value_name = "N", default_value_t = 3)]
    withhold: usize,
    /// Decides keys, seeds and tries
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: OutputArgs,
}

impl GrindArgs {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let GrindArgs { stake, candidates, seats, heights, tries, moves, withhold, seed, output } = self;
        let own = (stake * f64::from(candidates)).round();
        within("--stake", stake, 0.0..1.0)?;
        within("--seats", seats, 4..=400)?;
        within("--candidates", candidates, seats..=100_000)?;
        within("--heights", heights, 1..)?;
        within("--tries", tries, 1..)?;
        if own < 1.0 {
            return Err(
                WrongUsage(format!("--stake {stake} of --candidates {candidates} is less than one of them")).into()
            );
        }
        let moves = match moves {
            MovesArg::Stake => Moves::Stake,
            MovesArg::Withhold => Moves::Withhold(withhold),
        };
        let options = GrindOptions { stake, candidates, seats, heights, tries, moves, seed };
        let bar = bar(std::io::stderr().is_terminal(), heights, "heights");
        let report = grind(&options, |done| bar.set_position(done));
        bar.finish_and_clear();
        let design = match moves {
            Moves::Stake => None,
            Moves::Withhold(most) => Some(withholding(stake, seats, most)),
        };
        output.show(&Ground { report, first_height_closed_form: design })
    }
}

#[derive(Serialize)]
struct Ground {
    #[serde(flatten)]
    report: GrindReport,
    /// What withholding is worth at a height that an honest draw came before, with many candidates.
    first_height_closed_form: Option<f64>,
}

impl Shown for Ground {
    fn text(&self) -> String {
        let report = &self.report;
        let options = &report.options;
        let moves = match options.moves {
            Moves::Stake => "stake, unstake, leave, pay, delay".into(),
            Moves::Withhold(most) => format!("keep at most {most} of his answers back"),
        };
        let mut lines = vec![
            (
                "grinds",
                format!(
                    "{:.1} % of {} equal stakes, {} seats, {} heights, {} tries at each",
                    100.0 * options.stake,
                    grouped(options.candidates.into()),
                    options.seats,
                    grouped(options.heights),
                    grouped(options.tries)
                ),
            ),
            ("may", moves),
            ("could choose", format!("of {:.1} different draws at a height", report.choices)),
            (
                "seats",
                format!(
                    "{:.2} on average, {:.2} by his stake: {:+.1} sigma of {:.3}",
                    report.mean, report.fair, report.sigmas, report.sigma
                ),
            ),
            ("closed form", format!("{:.2}: the best of so many independent draws", report.closed_form)),
            (
                "best height",
                format!(
                    "{} seats; more than the {} that are tolerated at {} heights",
                    report.best,
                    report.tolerated,
                    grouped(report.beyond)
                ),
            ),
        ];
        if let Some(first) = self.first_height_closed_form {
            lines.push(("given up", format!("{:.2} seats at a height, by answers kept back", report.given_up)));
            lines.push(("at first", format!("{first:.1} by the closed form, after a height that was drawn honestly")));
        }
        facts(&lines)
    }
}
