//! `dynemix devnet`.

use super::args::{DirArgs, SimdArg, parse_duration_ms};
use super::output::{OutputArgs, Shown, note, say};
use clap::{Args, Subcommand, ValueEnum};
use dynemix::devnet::flood::FloodOptions;
use dynemix::devnet::layout::{Devnet, DevnetShape, USERS, user_secret};
use dynemix::devnet::lies::LieKind;
use dynemix::devnet::processes::down;
use dynemix::devnet::report::{DevnetReport, SlotRow, live_head, live_row};
use dynemix::devnet::run::{RunOptions, Watcher, run};
use dynemix_net::mesh::LinkShape;
use dynemix_perf::report::{bar, counted};
use ed25519_dalek::SigningKey;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

#[derive(Debug, Subcommand)]
pub(crate) enum DevnetVerb {
    /// Start a network of real node processes; with --tps also load and judge it
    #[command(after_help = "\
Examples:
  dynemix devnet up                                          four nodes, until Ctrl-C
  dynemix devnet up --nodes 10 --slot-ms 2000 --tps 1000 --duration 30s
  dynemix devnet up --nodes 20 --shards 2 --slot-ms 10000 --tps 10000 --duration 100s --json devnet.json
  dynemix devnet up --nodes 10 --slot-ms 2000 --tps 200 --duration 80s --kill-every 5
  dynemix devnet up --nodes 10 --slot-ms 10000 --tps 300 --duration 60s --link rate=10mbit,delay=150ms
  dynemix devnet up --nodes 4 --tps 200 --duration 40s --flood finals

Without --tps the network is kept: the same command goes on with it, `devnet reset` removes it. A load gets a chain of \
its own
in a temporary directory, unless --dir says where.

A node that ends without being told by this command is reported at once; with the last of them the command ends.

Exit code 1 when a slot was lost, state roots differ, the supply is not conserved, a node ended by itself or was \
stopped by another command, or, where nobody is killed or lies, less than 99.9 % of what was taken is in its slot or \
the next: what is answered \"busy\" is counted apart.")]
    Up(Box<UpArgs>),
    /// Stop the network that `up` has left running
    #[command(after_help = "Examples:\n  dynemix devnet down\n  dynemix devnet down --dir DIR")]
    Down(DirArgs),
    /// Stop the network and remove all its files
    #[command(after_help = "Examples:\n  dynemix devnet reset")]
    Reset(DirArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModeArg {
    Quilt,
    Blockchain,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Nodes, each a process and a minter
    #[arg(long, value_name = "N", default_value_t = 4)]
    nodes: u32,
    /// Shards, if there are ten nodes for each
    #[arg(long, value_name = "N", default_value_t = 2)]
    shards: u32,
    /// Milliseconds of a slot
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    slot_ms: u64,
    /// Transactions offered a second
    #[arg(long, value_name = "N", requires = "duration")]
    tps: Option<u64>,
    /// Accounts that send them [default: two slots' worth and a tenth]
    #[arg(long, value_name = "N", requires = "tps")]
    accounts: Option<u64>,
    /// What travels between shards: patches, or whole blocks
    #[arg(long, value_enum, default_value = "quilt")]
    mode: ModeArg,
    /// A line that is worse than this computer's, for each node
    #[arg(long, value_name = "rate=10mbit,delay=150ms,loss=0.1%")]
    link: Option<String>,
    /// How long: 60s, 5m [default: until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    duration: Option<u64>,
    /// Every so many slots kill a node as a power cut would, and start it again a slot later
    #[arg(long, value_name = "SLOTS")]
    kill_every: Option<u64>,
    /// One more minter has a stake and lies to all nodes: what it says
    #[arg(long, value_name = "KIND", value_parser = parse_lie, requires = "duration")]
    flood: Option<LieKind>,
    /// Bytes a second that it says to each node
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000, requires = "flood")]
    flood_rate: u64,
    #[command(flatten)]
    simd: SimdArg,
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn parse_lie(text: &str) -> Result<LieKind, String> {
    let names = || LieKind::ALL.map(LieKind::name).join(", ");
    LieKind::ALL
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("'{text}' is no kind of lie; there are {}", names()))
}

impl DevnetVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            DevnetVerb::Up(args) => up(&args),
            DevnetVerb::Down(dir) => {
                let count = down(&dir.directory())?;
                say!("{} stopped", counted(count as u64, "node"))?;
                Ok(())
            }
            DevnetVerb::Reset(dir) => {
                let directory = dir.directory();
                down(&directory)?;
                // Only what `up` has made is removed: the file that it is known by is there.
                std::fs::remove_dir_all(&directory)
                    .map_err(|error| format!("remove {}: {error}", directory.display()))?;
                say!("{} removed", directory.display())?;
                Ok(())
            }
        }
    }
}

impl Shown for DevnetReport {
    fn text(&self) -> String {
        format!("\n{}", DevnetReport::text(self))
    }
}

/// Shows a run on the terminal, or only its table where there is none.
pub(crate) struct Screen {
    slot_ms: u64,
    quiet: bool,
    bar: OnceLock<ProgressBar>,
    head: Mutex<bool>,
    directory: PathBuf,
    kept: bool,
    stop: Arc<AtomicBool>,
}

impl Screen {
    /// Of a devnet in this directory; `kept` if it outlives the run, which `stop` ends.
    pub(crate) fn new(slot_ms: u64, quiet: bool, directory: &Path, kept: bool, stop: &Arc<AtomicBool>) -> Screen {
        let (directory, stop) = (directory.to_owned(), stop.clone());
        Screen { slot_ms, quiet, bar: OnceLock::new(), head: Mutex::new(false), directory, kept, stop }
    }

    /// A run that nobody can follow any more ends in order.
    fn print(&self, line: fmt::Arguments<'_>) {
        if say!("{line}").is_err() {
            self.stop.store(true, Ordering::Relaxed);
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
        let show = !self.quiet && std::io::stderr().is_terminal();
        let bar = self.bar.get_or_init(|| bar(show, of, "signing"));
        bar.set_position(done);
        if done == of {
            bar.finish_and_clear();
        }
    }

    fn up(&self, devnet: &Devnet) {
        if self.quiet || !self.kept {
            return;
        }
        self.print(format_args!(
            "{} nodes run; API of the first: http://{}",
            devnet.shape.nodes,
            devnet.api_address(0)
        ));
        self.print(format_args!("files: {}", self.directory.display()));
        self.print(format_args!("\naccounts with 1 000 000 dynes each; their secrets are known to everyone:"));
        for name in USERS {
            self.print(format_args!(
                "  {name:<6} {}",
                hex::encode(SigningKey::from_bytes(&user_secret(name)).verifying_key().as_bytes())
            ));
        }
        self.print(format_args!("\ntry:  dynemix wallet send 5 --from alice --to bob --devnet"));
        self.print(format_args!("stop: Ctrl-C, or dynemix devnet down\n"));
    }

    fn slot(&self, row: &SlotRow) {
        if self.quiet {
            return;
        }
        let mut head = self.head.lock().expect("one writer");
        if !*head {
            self.print(format_args!("{}", live_head()));
            *head = true;
        }
        self.print(format_args!("{}", live_row(row, self.slot_ms)));
    }
}

fn up(args: &UpArgs) -> Result<(), Box<dyn Error>> {
    let UpArgs { nodes, shards, slot_ms, tps, accounts, duration, kill_every, flood, flood_rate, .. } = *args;
    if !(1..=400).contains(&nodes)
        || shards == 0
        || !(200..=600_000).contains(&slot_ms)
        || tps == Some(0)
        || accounts == Some(0)
        || kill_every == Some(0)
        || flood_rate < 1_000
    {
        return Err(
            "--nodes must be between 1 and 400, --shards, --tps, --accounts and --kill-every at least 1, --slot-ms between 200 and \
             600000, --flood-rate at least 1000"
                .into()
        );
    }
    let link = args.link.clone().unwrap_or_default();
    link.parse::<LinkShape>()?;
    let quilt = matches!(args.mode, ModeArg::Quilt);
    // Each sender has its turn every other slot, and a little later.
    let load_accounts = tps.map_or(0, |tps| accounts.unwrap_or((tps * slot_ms * 22 / 10_000).max(1_000)));
    let shape = DevnetShape {
        nodes,
        shards,
        slot_ms,
        quilt,
        load_accounts,
        link,
        liar: flood.is_some(),
        simd: args.simd.name(),
    };
    let flood = flood.map(|kind| FloodOptions { kind, bytes_per_s: flood_rate });
    let options = RunOptions { shape, tps, duration_ms: duration, then: None, kill_every, flood };
    let temporary = if tps.is_some() && args.dir.dir.is_none() {
        Some(tempfile::Builder::new().prefix("dynemix-devnet").tempdir()?)
    } else {
        None
    };
    let directory = temporary.as_ref().map_or_else(|| args.dir.directory(), |temporary| temporary.path().to_owned());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let screen = Screen::new(slot_ms, args.output.is_json_alone(), &directory, temporary.is_none(), &stop);
    let report = run(&directory, &options, None, &stop, &screen)?;
    args.output.show(&report)?;
    if report.failures.is_empty() { Ok(()) } else { Err(report.failures.join("; ").into()) }
}
