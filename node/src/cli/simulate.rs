//! `dynemix simulate`: the consensus under every fault, by seed.

use super::attack;
use super::ending::{WrongUsage, within};
use super::grind::GrindArgs;
use super::output::{OutputArgs, Shown, say};
use super::whole::WholeArgs;
use clap::{Args, Subcommand};
use dynemix_perf::report::{bar, counted, facts, grouped, lasting, table};
use dynemix_simulator::meter::StepBytes;
use dynemix_simulator::options::{FaultSet, Mode, SimOptions};
use dynemix_simulator::outcome::Bytes;
use dynemix_simulator::run::{SimReport, run_seeds};
use dynemix_simulator::takeover::{SLOTS_PER_YEAR, TakeoverOptions, TakeoverReport, takeover};
use dynemix_simulator::world::World;
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dynemix simulate --seeds 200
  dynemix simulate --nodes 200 --seats 20 --seeds 50 --json simulate.json
  dynemix simulate --faults none --slots 100
  dynemix simulate --faults captured --mode quilt --nodes 120
  dynemix simulate --faults none --mode quilt --nodes 100 --seats 100 \\
      --shards 10 --transfers 100000 --slots 2 --seeds 1 --bytes
  dynemix simulate attack --svg attack.svg  what shares of the stake can do
  dynemix simulate grind --tries 100000     who sees the seed, and moves stake
  dynemix simulate takeover --stake 0.1,0.2 how long a share is resisted
  dynemix simulate whole --seeds 6          whole nodes, crashes, too much load
  dynemix simulate --seed 7 --replay        one seed's history, line by line

Exit code 1 when a seed broke a promise; the report names it.")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    question: Option<SimulateQuestion>,
    #[command(flatten)]
    seeds: SeedsArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl SimulateArgs {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        if let Some(question) = self.question {
            return question.run();
        }
        let options = self.seeds.options()?;
        if self.seeds.replay {
            return replay(&options);
        }
        let report = simulate(&options, self.seeds.seeds);
        self.output.show(&report)?;
        match report.failures.len() {
            0 => Ok(()),
            failures => Err(format!("{failures} of {} broke a promise", counted(report.seeds, "seed")).into()),
        }
    }
}

#[derive(Debug, Args)]
struct SeedsArgs {
    /// Seed to begin with; the others count up from it
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: u64,
    /// Candidates, each a node
    #[arg(long, value_name = "N", default_value_t = SimOptions::default().candidates)]
    nodes: u32,
    /// Seats drawn for a block [default: as many as nodes, 20 at most]
    #[arg(long, value_name = "N")]
    seats: Option<usize>,
    /// Shards, if there are ten minters for each
    #[arg(long, value_name = "N", default_value_t = SimOptions::default().shards)]
    shards: usize,
    /// Slots with faults; twelve more without follow
    #[arg(long, value_name = "N", default_value_t = SimOptions::default().slots)]
    slots: u64,
    /// Transfers offered a slot
    #[arg(long, value_name = "N", default_value_t = SimOptions::default().transfers)]
    transfers: u64,
    /// none, liars (on a calm network), survivable, captured (shards fall to an attacker), or beyond what can be
    /// survived
    #[arg(long, value_name = "SET", default_value = "survivable", value_parser = parse_faults)]
    faults: FaultSet,
    /// What travels between shards: blockchain (blocks), quilt (patches), or both, by turns of seed
    #[arg(long, value_name = "MODE", default_value = "both", value_parser = parse_mode)]
    mode: Mode,
    /// Real BLS signatures in every seed, not in each fiftieth only
    #[arg(long)]
    real_signatures: bool,
    /// Count the bytes of each message, by sub-slot and for a transaction
    #[arg(long)]
    bytes: bool,
    /// Print the history of the one seed
    #[arg(long)]
    replay: bool,
}

/// Shares of the stake that are looked at unless others are named.
const SHARES: [f64; 6] = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3];

#[derive(Debug, Subcommand)]
enum SimulateQuestion {
    /// What shares of the stake can do to a shard and to the committee: tables and two curves
    #[command(after_help = "\
Examples:
  dynemix simulate attack
  dynemix simulate attack --svg attack.svg --draws 2000000")]
    Attack {
        /// Draws for each share, of the time until a shard is captured
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        draws: u64,
        /// Heights that each chain is watched, of answers kept out
        #[arg(long, value_name = "N", default_value_t = 50_000)]
        heights: u64,
        /// Decides the draws
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        /// Draw the curves into this file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// What an owner of stake can choose who sees the seed before a block is closed
    #[command(after_help = "\
Examples:
  dynemix simulate grind --tries 100000
  dynemix simulate grind --stake 0.2 --seats 100 --moves withhold --heights 20
  dynemix simulate grind --moves withhold --json")]
    Grind(GrindArgs),
    /// Whole nodes in virtual time: users, verification, disks, crashes, too much load
    #[command(after_help = "\
Examples:
  dynemix simulate whole --seeds 30
  dynemix simulate whole --scene overload --seeds 1 --slots 40 --nodes 10
  dynemix simulate whole --scene crashes --seed 4 --seeds 10 --json

Scenes: calm (little is offered, and some spend twice), crashes (power cuts, a slow computer, lines that lose), \
overload (one, two and five times the load, then little; a minter lies about what it takes).

Exit code 1 when something was wrong in a seed; the report says what, and how to see it again.")]
    Whole(WholeArgs),
    /// How long a shard and the committee resist a share of the stake, by drawing
    #[command(after_help = "\
Examples:
  dynemix simulate takeover --stake 0.02,0.05,0.1,0.2,0.3
  dynemix simulate takeover --stake 0.2 --no-bin-sort --record-shards 1 --json")]
    Takeover {
        /// Shares of the stake that are bad
        #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_values_t = SHARES)]
        stake: Vec<f64>,
        /// Candidates that seats are drawn from, of equal stakes
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        candidates: u32,
        /// Seats of a block
        #[arg(long, value_name = "N", default_value_t = 20)]
        seats: usize,
        /// Shards that the seats are divided into
        #[arg(long, value_name = "N", default_value_t = 2)]
        shards: usize,
        /// Deal seats to shards by the seed alone
        #[arg(long)]
        no_bin_sort: bool,
        /// Shards that admit a system record
        #[arg(long, value_name = "N", default_value_t = 3)]
        record_shards: usize,
        /// Draws for each share
        #[arg(long, value_name = "N", default_value_t = 200_000)]
        draws: u64,
        /// Decides the draws
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl SimulateQuestion {
    fn run(self) -> Result<(), Box<dyn Error>> {
        let (stakes, candidates, seats, shards, no_bin_sort, record_shards, draws, seed, output) = match self {
            SimulateQuestion::Grind(grind) => return grind.run(),
            SimulateQuestion::Whole(whole) => return whole.run(),
            SimulateQuestion::Attack { draws, heights, seed, svg, output } => {
                within("--draws", draws, 1..)?;
                within("--heights", heights, 1..)?;
                let svg = svg.map(attack::Curves::open).transpose()?;
                let attack = attack::attack(draws, heights, seed);
                if let Some(svg) = svg {
                    svg.draw(&attack)?;
                }
                return output.show(&attack);
            }
            SimulateQuestion::Takeover {
                stake,
                candidates,
                seats,
                shards,
                no_bin_sort,
                record_shards,
                draws,
                seed,
                output,
            } => (stake, candidates, seats, shards, no_bin_sort, record_shards, draws, seed, output),
        };
        stakes.iter().try_for_each(|&stake| within("--stake", stake, 0.0..1.0))?;
        within("--seats", seats, 4..=400)?;
        within("--candidates", candidates as usize, seats..=1_000_000)?;
        within("--shards", shards, 1..=seats)?;
        within("--record-shards", record_shards, 1..)?;
        within("--draws", draws, 1..)?;
        let options = TakeoverOptions {
            stake: 0.0,
            candidates,
            seats,
            shards,
            bin_sort: !no_bin_sort,
            record_shards,
            draws,
            seed,
        };
        output.show(&takeovers(&options, &stakes))
    }
}

fn parse_faults(name: &str) -> Result<FaultSet, String> {
    match name {
        "none" => Ok(FaultSet::None),
        "liars" => Ok(FaultSet::Liars),
        "survivable" => Ok(FaultSet::Survivable),
        "captured" => Ok(FaultSet::Captured),
        "beyond" => Ok(FaultSet::Beyond),
        _ => Err("none, liars, survivable, captured or beyond".into()),
    }
}

fn parse_mode(name: &str) -> Result<Mode, String> {
    match name {
        "both" => Ok(Mode::Both),
        "blockchain" => Ok(Mode::Blockchain),
        "quilt" => Ok(Mode::Quilt),
        _ => Err("both, blockchain or quilt".into()),
    }
}

impl SeedsArgs {
    fn options(&self) -> Result<SimOptions, WrongUsage> {
        let &SeedsArgs { seed, nodes, seats, shards, slots, transfers, faults, mode, real_signatures, bytes, .. } =
            self;
        let seats = seats.unwrap_or((nodes as usize).min(20));
        within("--seeds", self.seeds, 1..)?;
        within("--nodes", nodes, 4..=5_000)?;
        within("--seats", seats, 4..=1_984)?;
        within("--shards", shards, 1..)?;
        within("--slots", slots, 1..)?;
        within("--transfers", transfers, 1..=200_000)?;
        Ok(SimOptions {
            seed,
            candidates: nodes,
            seats,
            shards,
            slots,
            transfers,
            faults,
            mode,
            real_signatures,
            measure_bytes: bytes,
            ..SimOptions::default()
        })
    }
}

impl Shown for SimReport {
    fn text(&self) -> String {
        let mut text = summary(self);
        if !self.faults.is_empty() {
            text.push('\n');
            let rows: Vec<_> = self.faults.iter().map(|(fault, count)| vec![fault.clone(), grouped(*count)]).collect();
            text.push_str(&table(&["injected", "times"], &rows));
        }
        if let Some(bytes) = &self.bytes {
            put_bytes(bytes, &mut text);
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

/// What the seeds came to.
fn summary(report: &SimReport) -> String {
    facts(&[
        ("seeds", grouped(report.seeds)),
        (
            "simulated",
            format!(
                "{:.1} hours in {:.1} s, {:.0} x real time",
                report.simulated_hours, report.wall_seconds, report.times_real_time
            ),
        ),
        (
            "final",
            format!(
                "{} blocks, {} transfers; {} slots without a block",
                grouped(report.heights),
                grouped(report.transfers),
                grouped(report.slots_lost)
            ),
        ),
        (
            "shards",
            format!(
                "{} drawn; {} captured ({:.3} %), {} that could be blocked ({:.2} %)",
                grouped(report.shards),
                grouped(report.captured),
                100.0 * report.captured as f64 / report.shards.max(1) as f64,
                grouped(report.blocked),
                100.0 * report.blocked as f64 / report.shards.max(1) as f64
            ),
        ),
        (
            "plundered",
            format!(
                "{} blocks of captured shards became final; {} banned in time, {} not",
                grouped(report.plundered),
                grouped(report.banned),
                grouped(report.unbanned)
            ),
        ),
        ("healed", {
            let seeds = |slots: &u64, count: &u64| format!("{slots} slots: {count}");
            let parts: Vec<_> = report.healing_slots.iter().map(|(slots, count)| seeds(slots, count)).collect();
            format!("seeds by slots until all older transactions were final: {}", parts.join(", "))
        }),
        ("barred by proof", grouped(report.barred)),
        ("messages", grouped(report.messages)),
        ("ended early", format!("{} seeds drew more Byzantine seats than are tolerated", grouped(report.beyond))),
        ("forks", report.forks.to_string()),
        ("failures", report.failures.len().to_string()),
    ])
}

/// Bytes of each message, by sub-slot and for a transaction.
fn put_bytes(bytes: &Bytes, text: &mut String) {
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

/// Several shares of stake, one question.
#[derive(Serialize)]
struct Takeovers {
    takeovers: Vec<TakeoverReport>,
}

/// Answers `simulate takeover`, one share of the stake after the other.
fn takeovers(options: &TakeoverOptions, stakes: &[f64]) -> Takeovers {
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
            None => format!("> {}", lasting(options.draws as f64 / SLOTS_PER_YEAR * attack::YEAR_S)),
            Some(years) => lasting(years * attack::YEAR_S),
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
            &["bad stake", "captured", "can block", "until a capture", "until beyond B", "record censored"],
            &rows,
        ));
        text.push_str("\n  time until a capture, three # a factor of ten, from an hour\n");
        for report in &self.takeovers {
            text.push_str(&format!("  {:>5.1} %  {}\n", 100.0 * report.options.stake, plot(report.years_to_capture)));
        }
        text
    }
}

/// Runs seeds and fails if one of them broke a promise.
fn simulate(options: &SimOptions, seeds: u64) -> SimReport {
    let bar = bar(std::io::stderr().is_terminal(), seeds, "seeds");
    let report = run_seeds(options, seeds, true, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// Prints one seed's history.
fn replay(options: &SimOptions) -> Result<(), Box<dyn Error>> {
    say!("  {}", serde_json::to_string(options)?)?;
    let mut printed = Ok(());
    let mut trace = |line: String| {
        // The verdict comes at the end, also for whoever has seen enough.
        if printed.is_ok() {
            printed = say!("{line}");
        }
    };
    let outcome = World::new(options, Some(&mut trace)).run();
    match outcome.failure {
        Some(failure) => Err(format!("seed {}: {}", options.seed, failure.what).into()),
        None => Ok(printed?),
    }
}
