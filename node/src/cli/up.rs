//! `dynemix devnet up`.

use super::args::{DirArgs, SimdArg, parse_duration_ms};
use super::ending::WrongUsage;
use super::output::{OutputArgs, PrintError, Shown, note, say};
use clap::{Args, ValueEnum, value_parser};
use dynemix::devnet::flood::FloodOptions;
use dynemix::devnet::hints::command;
use dynemix::devnet::layout::{
    ACCOUNTS_MAX, Devnet, DevnetShape, NODES_MAX, SHARDS_MAX, SLOT_MS_MAX, USERS, user_secret,
};
use dynemix::devnet::lies::LieKind;
use dynemix::devnet::opening::RunOptions;
use dynemix::devnet::report::{DevnetReport, SlotRow, live_head, live_row};
use dynemix::devnet::run::{Watcher, run};
use dynemix::devnet::scratch::Scratch;
use dynemix::devnet::stop::down;
use dynemix_net::mesh::LinkShape;
use dynemix_perf::machine;
use dynemix_perf::report::{bar, counted, grouped};
use ed25519_dalek::SigningKey;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Where the API of the first node is, if that is free.
const API_PORT: u16 = 8_650;
/// Transactions that are signed for a load at most: so many fit in memory.
const TRANSACTIONS_MAX: u128 = 50_000_000;
/// The longest run: a year, with a day to spare.
const DURATION_MAX_MS: u64 = 366 * 24 * 3_600_000;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeArg {
    Quilt,
    Blockchain,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Nodes, each a process and a minter
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
    nodes: u32,
    /// Shards, if there are ten nodes for each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..=i64::from(SHARDS_MAX)))]
    shards: u32,
    /// Milliseconds of a slot
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = value_parser!(u64).range(200..=SLOT_MS_MAX))]
    slot_ms: u64,
    /// Transactions offered a second
    #[arg(long, value_name = "N", requires = "duration", value_parser = value_parser!(u64).range(1..=1_000_000))]
    tps: Option<u64>,
    /// Accounts that send them [default: two slots' worth and a tenth]
    #[arg(long, value_name = "N", requires = "tps", value_parser = value_parser!(u64).range(1..=ACCOUNTS_MAX))]
    accounts: Option<u64>,
    /// What travels between shards: patches, or whole blocks
    #[arg(long, value_enum, default_value = "quilt")]
    mode: ModeArg,
    /// A line that is worse than this computer's, for each node
    #[arg(long, value_name = "rate=10mbit,delay=150ms,loss=0.1%", value_parser = parse_link)]
    link: Option<String>,
    /// How long: 60s, 5m [default: until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    duration: Option<u64>,
    /// Every so many slots kill a node as a power cut would, and start it again a slot later
    #[arg(long, value_name = "SLOTS", value_parser = value_parser!(u64).range(1..))]
    kill_every: Option<u64>,
    /// One more minter has a stake and lies to all nodes: what it says
    #[arg(long, value_name = "KIND", value_parser = parse_lie, requires = "duration")]
    flood: Option<LieKind>,
    /// Bytes a second that it says to each node
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000, requires = "flood",
        value_parser = value_parser!(u64).range(1_000..=1_000_000_000))]
    flood_rate: u64,
    #[command(flatten)]
    simd: SimdArg,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A line as it is written in configurations, if it is one.
pub(crate) fn parse_link(text: &str) -> Result<String, String> {
    text.parse::<LinkShape>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn parse_lie(text: &str) -> Result<LieKind, String> {
    let names = || LieKind::ALL.map(LieKind::name).join(", ");
    LieKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("'{text}' is no kind of lie; there are {}", names()))
}

impl Shown for DevnetReport {
    fn text(&self) -> String {
        format!("\n{}", DevnetReport::text(self))
    }
}

/// The key of a user, in hexadecimal.
pub(crate) fn key_of(user: &str) -> String {
    hex::encode(SigningKey::from_bytes(&user_secret(user)).verifying_key().as_bytes())
}

/// What tells this process to end: each of them sets a flag, and whoever runs nodes stops them in order.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    // Under `nohup` it is not to hear that its terminal has gone.
    let hangup = (!hangup_is_ignored()).then_some(SIGHUP);
    for signal in [SIGINT, SIGQUIT, SIGTERM].into_iter().chain(hangup) {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 << (SIGHUP - 1) != 0
}

/// Shows a run on the terminal, or only its table where there is none.
pub(crate) struct Screen {
    slot_ms: u64,
    quiet: bool,
    load: bool,
    bar: OnceLock<ProgressBar>,
    head: Mutex<bool>,
    directory: PathBuf,
    kept: bool,
    /// Set where nobody can be shown anything any more.
    stop: Arc<AtomicBool>,
    failed: OnceLock<PrintError>,
}

impl Screen {
    /// Of a devnet in this directory; `kept` if it outlives the run.
    pub(crate) fn new(
        options: &RunOptions,
        quiet: bool,
        directory: &Path,
        kept: bool,
        stop: Arc<AtomicBool>,
    ) -> Screen {
        Screen {
            slot_ms: options.shape.slot_ms,
            quiet,
            load: options.tps.is_some(),
            bar: OnceLock::new(),
            head: Mutex::new(false),
            directory: directory.to_owned(),
            kept,
            stop,
            failed: OnceLock::new(),
        }
    }

    fn print(&self, text: &str) {
        if self.quiet || self.failed.get().is_some() {
            return;
        }
        if let Err(error) = say!("{text}") {
            // The first one says why.
            let _ = self.failed.set(error);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Why the table could not be shown; that nobody read on is no reason.
    fn failed(self) -> Result<(), PrintError> {
        match self.failed.into_inner() {
            Some(error) if !error.is_closed() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Watcher for Screen {
    fn say(&self, what: &str) {
        if !self.quiet {
            note!("{what}");
        }
    }

    fn signed(&self, done: u64, of: u64) {
        let show = !self.quiet && io::stderr().is_terminal();
        let bar = self.bar.get_or_init(|| bar(show, of, "signing"));
        bar.set_position(done);
        if done == of {
            bar.finish_and_clear();
        }
    }

    fn up(&self, devnet: &Devnet) {
        let nodes = u64::from(devnet.shape.nodes);
        let run = if nodes == 1 { "runs" } else { "run" };
        if self.quiet || !self.kept {
            return;
        }
        let users: String = USERS.iter().map(|name| format!("  {name:<6} {}\n", key_of(name))).collect();
        self.print(&format!(
            "{} {run}; API of the first: http://{}\nfiles: {}\n\naccounts with 1 000 000 dynes each; their secrets are \
             known to everyone:\n{users}\ntry:  {}\nstop: Ctrl-C, or {}\n",
            counted(nodes, "node"),
            devnet.api_address(0),
            self.directory.display(),
            command("wallet send 5 --from alice --to bob --devnet", &self.directory),
            command("devnet down", &self.directory),
        ));
    }

    fn slot(&self, row: &SlotRow) {
        let mut head = self.head.lock().expect("one writer");
        if !*head {
            self.print(&live_head(self.load));
            *head = true;
        }
        self.print(&live_row(row, self.slot_ms, self.load));
    }
}

impl UpArgs {
    /// Runs a network until it is told to stop, or its time is over.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let options = self.options()?;
        let stop = stop_flag()?;
        self.warn();
        let temporary = if self.tps.is_some() && self.dir.dir.is_none() {
            // Nodes that outlived their `up` are of no use to anybody in such a directory.
            Some(Scratch::new("dynemix-devnet-", |dead| drop(down(dead)))?)
        } else {
            None
        };
        let scratch = temporary.as_ref().map(|temporary| temporary.path().to_owned());
        let directory = std::path::absolute(scratch.unwrap_or_else(|| self.dir.directory()))?;
        let quiet = self.output.is_json_alone();
        let screen = Screen::new(&options, quiet, &directory, temporary.is_none(), stop.clone());
        let report = run(&directory, &options, None, &stop, &screen)?;
        screen.failed()?;
        self.output.show(&report)?;
        if report.failures.is_empty() { Ok(()) } else { Err(report.failures.join("; ").into()) }
    }

    fn options(&self) -> Result<RunOptions, WrongUsage> {
        let UpArgs { nodes, shards, slot_ms, tps, accounts, duration, kill_every, flood, flood_rate, .. } = *self;
        if duration.is_some_and(|duration| duration > DURATION_MAX_MS) {
            return Err(WrongUsage("--duration is a year at most".into()));
        }
        let transactions = u128::from(tps.unwrap_or(0)) * u128::from(duration.unwrap_or(0)) / 1_000;
        if transactions > TRANSACTIONS_MAX {
            return Err(WrongUsage(format!(
                "--tps over --duration is {transactions} transactions, more than the {TRANSACTIONS_MAX} that are signed at most"
            )));
        }
        // Each sender has its turn every other slot, and a little later.
        let load_accounts = tps.map_or(0, |tps| accounts.unwrap_or((tps * slot_ms * 22 / 10_000).max(1_000)));
        if load_accounts > ACCOUNTS_MAX {
            return Err(WrongUsage(format!(
                "--tps over --slot-ms needs {load_accounts} accounts, more than {ACCOUNTS_MAX}: --accounts may say fewer"
            )));
        }
        let shape = DevnetShape {
            nodes,
            shards,
            slot_ms,
            quilt: matches!(self.mode, ModeArg::Quilt),
            load_accounts,
            link: self.link.clone().unwrap_or_default(),
            liar: flood.is_some(),
            simd: self.simd.name(),
        };
        let flood = flood.map(|kind| FloodOptions { kind, bytes_per_s: flood_rate });
        Ok(RunOptions { shape, tps, duration_ms: duration, then: None, kill_every, flood, api_port: Some(API_PORT) })
    }

    /// Says what this computer does not keep, as far as that can be known before.
    fn warn(&self) {
        let cores = machine::cores() as u64;
        // A rule of thumb: on two cores an idle network of four loses slots of 200 ms, and none of 600 ms.
        let least_ms = 400 + 100 * u64::from(self.nodes) / cores.max(1);
        if self.slot_ms < least_ms {
            note!(
                "warning: --slot-ms {} is short for {} on {}: slots may be lost; from about {} ms on they are kept",
                self.slot_ms,
                counted(self.nodes.into(), "node"),
                counted(cores, "core"),
                grouped(least_ms)
            );
        }
    }
}
