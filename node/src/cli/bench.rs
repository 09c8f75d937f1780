//! `dynemix bench`: what is measured, by which flags.

use super::args::SimdArg;
use super::benched::{BenchStore, prepare_node, scratch};
use super::durable::DurableState;
use super::ending::{WrongUsage, within};
use super::lines::GuestLines;
use super::output::{OutputArgs, Shown, note};
use super::saturate::SaturateArgs;
use clap::{Args, Subcommand};
use dynemix_bench::apply::{ApplyOptions, ApplyReport};
use dynemix_bench::engine::{EngineBenchError, EngineOptions, EngineReport};
use dynemix_bench::state::{StateOptions, StateReport};
use dynemix_bench::verify::{VerifyOptions, VerifyReport};
use dynemix_bench::{
    apply as apply_bench, engine as engine_bench, generator, state as state_bench, verify as verify_bench,
};
use dynemix_engine::verify::{Simd, Unavailable};
use dynemix_perf::machine;
use dynemix_perf::report::{bar, counted, spinner};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::error::Error;
use std::io::IsTerminal;
use std::ops::Bound;
use std::path::PathBuf;
use std::process::Command;

/// Threads that verify, at most: more than any computer has cores.
const CORES_MAX: usize = 1_024;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// The rate at which a network of nodes on slow lines starts to lose slots, beside the paper's
    #[command(after_help = "\
Examples:
  dynemix bench saturate
  dynemix bench saturate --mode quilt --slots 6 --link rate=100mbit,delay=20ms

The first tries both modes, with lines of 10 mbit and 300 ms there and back. Each rate takes some slots: a search lasts ten minutes and more.")]
    Saturate(SaturateArgs),
    /// Signed transactions over encrypted connections into a minting node: final transactions a second
    #[command(after_help = "\
Examples:
  dynemix bench engine
  dynemix bench engine --seconds 5 --accounts 100000 --json
  dynemix bench engine --rate 50000           latency below saturation
  dynemix bench engine --transactions 500000  the same state root on every run

The node is that of `node run`, alone in its committee. Its data is in a temporary directory, removed at the end; \
TMPDIR says where.")]
    Engine {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Signature verification: by batch size, where the cycles go, how threads scale
    #[command(after_help = "\
Examples:
  dynemix bench verify
  dynemix bench verify --sizes 64,1024 --rounds 15 --json
  dynemix bench verify --simd avx2 --threads 1,2,4")]
    Verify {
        #[command(flatten)]
        verify: VerifyArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Quilt application: sorted columns against a hash map, in one run
    #[command(after_help = "\
Examples:
  dynemix bench apply
  dynemix bench apply --accounts 1000000 --json apply.json")]
    Apply {
        #[command(flatten)]
        apply: ApplyArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// A block's changes made durable: the flat state against redb and SQLite, in one run
    #[command(after_help = "\
Examples:
  dynemix bench state
  dynemix bench state --accounts 1000000 --json state.json
  dynemix bench state --accounts 100000000 --no-rivals    the state alone, 7 GB

Files are made in a temporary directory, removed at the end; TMPDIR says where.")]
    State {
        #[command(flatten)]
        state: StateArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The load generator's process; started by `bench engine`
    #[command(hide = true)]
    Generate,
}

impl BenchVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            BenchVerb::Engine { engine: args, output } => {
                let (options, store) = args.options()?;
                output.show(&engine(&options, store)?)
            }
            BenchVerb::Verify { verify: args, output } => output.show(&verify(&args.options()?)?),
            BenchVerb::Apply { apply: args, output } => output.show(&apply(&args.options()?)),
            BenchVerb::State { state: args, output } => output.show(&state(&args.options()?)?),
            BenchVerb::Saturate(args) => args.run(),
            BenchVerb::Generate => {
                // Without the bench nobody hears what it measures, and it would call a node that is gone on and on.
                set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(generator::run_child(GuestLines::open)?)
            }
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// Accounts at genesis
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    accounts: u64,
    /// How long to send
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    seconds: f64,
    /// Send exactly N transactions, in blocks by number instead of time, so that the state root is reproducible
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "rate"])]
    transactions: Option<u64>,
    /// Verifying threads [default: all cores]
    #[arg(long, value_name = "N")]
    cores: Option<usize>,
    /// Encrypted connections that share the load, each of a user of its own
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// Share of transactions with a broken signature, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    invalid_share: f64,
    /// Share of the connections that send broken signatures, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    invalid_connections: f64,
    /// Length of a slot
    #[arg(long, value_name = "MS", default_value_t = 400)]
    slot_ms: u64,
    /// Make the node's data here and leave it there [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Blockchain mode: blocks keep their transactions, in the log too [default: quilt mode, patches]
    #[arg(long)]
    keep_transactions: bool,
    /// Offer this many transactions a second, whatever the node does [default: as many as it takes]
    #[arg(long, value_name = "TPS")]
    rate: Option<u64>,
    /// Chooses accounts and transactions
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    simd: SimdArg,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Signatures of a batch, for each batch size to measure
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = VerifyOptions::default().sizes)]
    sizes: Vec<usize>,
    /// Interleaved rounds; medians are reported
    #[arg(long, value_name = "N", default_value_t = VerifyOptions::default().rounds)]
    rounds: usize,
    /// Chooses keys and messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Share of broken signatures in the run that has some
    #[arg(long, value_name = "SHARE", default_value_t = VerifyOptions::default().invalid_share)]
    invalid_share: f64,
    /// Numbers of threads that verify at once, to see how they scale [default: 1, 2, 4, ... all cores]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    threads: Vec<usize>,
    #[command(flatten)]
    simd: SimdArg,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Accounts of the state, 1000 to 268435456
    #[arg(long, value_name = "N", default_value_t = ApplyOptions::default().accounts)]
    accounts: u64,
    /// Entries of a quilt
    #[arg(long, value_name = "N", default_value_t = ApplyOptions::default().entries)]
    entries: usize,
    /// Interleaved rounds; medians are reported
    #[arg(long, value_name = "N", default_value_t = ApplyOptions::default().rounds)]
    rounds: usize,
    /// Chooses the entries
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Accounts of the state, 1000 to 268435456
    #[arg(long, value_name = "N", default_value_t = StateOptions::default().accounts)]
    accounts: u64,
    /// Entries of a block
    #[arg(long, value_name = "N", default_value_t = StateOptions::default().entries)]
    entries: usize,
    /// Interleaved rounds; medians are reported
    #[arg(long, value_name = "N", default_value_t = StateOptions::default().rounds)]
    rounds: usize,
    /// Leave redb and SQLite out
    #[arg(long)]
    no_rivals: bool,
    /// Chooses the entries
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl StateArgs {
    pub(crate) fn options(self) -> Result<StateOptions, WrongUsage> {
        let StateArgs { accounts, entries, rounds, no_rivals, seed } = self;
        within("--rounds", rounds, 1..)?;
        within("--accounts", accounts, 1_000..=1 << 28)?;
        within("--entries", entries, 2..=accounts as usize)?;
        Ok(StateOptions { accounts, entries, rounds, rivals: !no_rivals, seed })
    }
}

impl EngineArgs {
    pub(crate) fn options(self) -> Result<(EngineOptions, BenchStore), Box<dyn Error>> {
        let EngineArgs {
            accounts,
            seconds,
            transactions,
            cores,
            connections,
            invalid_share,
            invalid_connections,
            slot_ms,
            rate,
            store,
            keep_transactions,
            seed,
            simd,
        } = self;
        let simd = simd.backend().unwrap_or_else(Simd::best).required()?;
        let cores = cores.unwrap_or_else(machine::cores);
        within("--accounts", accounts, 1..)?;
        within("--seconds", seconds, (Bound::Excluded(0.0), Bound::Included(86_400.0)))?;
        within("--transactions", transactions.unwrap_or(1), 1..)?;
        within("--cores", cores, 1..=CORES_MAX)?;
        within("--connections", connections, 1..)?;
        within("--invalid-share", invalid_share, 0.0..=1.0)?;
        within("--invalid-connections", invalid_connections, 0.0..=1.0)?;
        within("--slot-ms", slot_ms, 1..)?;
        within("--rate", rate.unwrap_or(1), 1..)?;
        if cores > machine::cores() {
            note!(
                "dynemix: note: --cores {cores} threads verify on {}: they take turns",
                counted(machine::cores() as u64, "core")
            );
        }
        let progress = std::io::stderr().is_terminal();
        let options = EngineOptions {
            accounts,
            seconds,
            transactions,
            cores,
            connections,
            invalid_share,
            invalid_connections,
            slot_ms,
            rate,
            seed,
            simd,
            progress,
        };
        Ok((options, BenchStore { directory: store, keep_transactions }))
    }
}

impl VerifyArgs {
    pub(crate) fn options(self) -> Result<VerifyOptions, WrongUsage> {
        let VerifyArgs { sizes, rounds, seed, invalid_share, threads, simd } = self;
        within("--rounds", rounds, 1..)?;
        within("--invalid-share", invalid_share, 0.0..=1.0)?;
        sizes.iter().try_for_each(|&size| within("--sizes", size, 1..=1 << 20))?;
        threads.iter().try_for_each(|&threads| within("--threads", threads, 1..=CORES_MAX))?;
        let threads = if threads.is_empty() { VerifyOptions::default().threads } else { threads };
        Ok(VerifyOptions { sizes, rounds, seed, simd: simd.backend(), invalid_share, threads })
    }
}

impl ApplyArgs {
    pub(crate) fn options(self) -> Result<ApplyOptions, WrongUsage> {
        let ApplyArgs { accounts, entries, rounds, seed } = self;
        within("--rounds", rounds, 1..)?;
        within("--accounts", accounts, 1_000..=1 << 28)?;
        within("--entries", entries, 2..=accounts as usize)?;
        Ok(ApplyOptions { accounts, entries, rounds, seed })
    }
}

impl Shown for EngineReport {
    fn text(&self) -> String {
        EngineReport::text(self)
    }
}
impl Shown for VerifyReport {
    fn text(&self) -> String {
        VerifyReport::text(self)
    }
}
impl Shown for StateReport {
    fn text(&self) -> String {
        StateReport::text(self)
    }
}
impl Shown for ApplyReport {
    fn text(&self) -> String {
        ApplyReport::text(self)
    }
}

/// Runs `bench engine`: the node here, the load generator in its own process.
pub(crate) fn engine(options: &EngineOptions, store: BenchStore) -> Result<EngineReport, EngineBenchError> {
    // Fails only if another part of the process has made the pool before: then its size stands.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.cores.max(1)).build_global();
    let program = std::env::current_exe()?;
    let mut generator = Command::new(program);
    generator.args(["bench", "generate"]);
    engine_bench::run(options, |setup| prepare_node(setup, store), generator)
}

/// Runs `bench verify` with a bar of rounds.
pub(crate) fn verify(options: &VerifyOptions) -> Result<VerifyReport, Unavailable> {
    let bar = bar(std::io::stderr().is_terminal(), options.rounds as u64, "rounds");
    let report = verify_bench::run(options, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// Runs `bench apply` with a bar of rounds.
pub(crate) fn apply(options: &ApplyOptions) -> ApplyReport {
    let bar = bar(std::io::stderr().is_terminal(), options.rounds as u64, "rounds");
    let report = apply_bench::run(options, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// Runs `bench state` in a temporary directory.
fn state(options: &StateOptions) -> Result<StateReport, Box<dyn Error>> {
    let directory = scratch()?;
    let store = directory.path().join("store");
    let create = || Ok(Box::new(DurableState::create(&store, options.accounts, options.seed)?) as _);
    let bar = spinner(std::io::stderr().is_terminal());
    let report = state_bench::run(options, directory.path(), create, |doing| bar.set_message(doing.to_owned()));
    bar.finish_and_clear();
    report
}
