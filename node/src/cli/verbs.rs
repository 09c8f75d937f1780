//! The flags, and which call each verb makes.

use super::bench::BenchStore;
use super::{attack, bench, devnet, inspect, node, setup, simulate, snapshots, wallet};
use clap::{Args, CommandFactory, Parser, Subcommand};
use dynemix_bench::apply::ApplyOptions;
use dynemix_bench::engine::EngineOptions;
use dynemix_bench::state::StateOptions;
use dynemix_bench::verify::VerifyOptions;
use dynemix_bench::{generator, machine};
use dynemix_engine::hash::Hash;
use dynemix_engine::verify::{Simd, Unavailable};
use dynemix_simulator::options::{FaultSet, Mode, SimOptions};
use dynemix_simulator::takeover::TakeoverOptions;
use dynemix_storage::Table;
use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;

/// The Dynemix engine: measure it, profile it.
#[derive(Debug, Parser)]
#[command(name = "dynemix", version, about, long_about = None, after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 damaged bytes found, 4 the disk failed or is full, 5 the store is in use,
6 nobody answers, 7 going on would be unsafe.
Environment: DYNEMIX_LOG sets the log filter (default info).

Examples:
  dynemix devnet up                        a network of four nodes on this computer
  dynemix wallet send 5 --from alice --to bob --devnet
  dynemix bench engine                     how many transactions a second, socket to durable state
  dynemix bench verify --json verify.json  signatures a second, by batch size
  dynemix bench state                      a durable block against redb and SQLite
  dynemix state verify --store DIR         every byte of a store
  dynemix profile engine --out profile     the same run with a flame graph")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A network of real nodes on this computer: start it, load it, watch it
    #[command(subcommand)]
    Devnet(devnet::DevnetVerb),
    /// Run a node, look at it, stop it
    #[command(subcommand)]
    Node(node::NodeVerb),
    /// Keys, balances, payments: a light client that trusts no node
    #[command(subcommand)]
    Wallet(Box<wallet::WalletVerb>),
    /// A node's keys
    #[command(subcommand)]
    Keys(setup::KeysVerb),
    /// The genesis of a chain
    #[command(subcommand)]
    Genesis(setup::GenesisVerb),
    /// A node's configuration
    #[command(subcommand)]
    Config(setup::ConfigVerb),
    /// Look whether this computer is fit to run a node
    Doctor(setup::DoctorArgs),
    /// Completions for a shell
    #[command(after_help = "Examples:\n  dynemix completions bash > /etc/bash_completion.d/dynemix")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Man pages, into a directory
    #[command(after_help = "Examples:\n  dynemix man --out man && man -l man/dynemix-devnet-up.1")]
    Man {
        /// The directory
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Measure something, and print a table or JSON
    #[command(subcommand)]
    Bench(Bench),
    /// Look at the account state in a store that no process has open
    #[command(subcommand)]
    State(StateVerb),
    /// Look at kept blocks
    #[command(subcommand)]
    Block(BlockVerb),
    /// Write, check and restore snapshots of the state
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Run the consensus of many nodes in virtual time, under faults drawn from a seed
    #[command(after_help = "\
Examples:
  dynemix simulate --seeds 200
  dynemix simulate --nodes 200 --seats 20 --seeds 50 --json simulate.json
  dynemix simulate --faults none --slots 100
  dynemix simulate --faults captured --mode quilt --nodes 120
  dynemix simulate --faults none --mode quilt --nodes 100 --seats 100 --shards 10 --transfers 100000 --slots 2 --seeds 1 --bytes
  dynemix simulate attack --svg attack.svg       what shares of the stake can do
  dynemix simulate takeover --stake 0.02,0.1,0.2 how long shares of the stake are resisted
  dynemix simulate --seed 7 --replay             one seed's history, line by line

Exit code 1 when a seed broke a promise; the report names it.")]
    #[command(args_conflicts_with_subcommands = true)]
    Simulate {
        #[command(subcommand)]
        question: Option<SimulateQuestion>,
        #[command(flatten)]
        simulate: SimulateArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Run a bench under a sampling profiler: flame graph, hottest functions, stage times
    #[command(subcommand)]
    Profile(Profile),
}

#[derive(Debug, Args)]
struct SimulateArgs {
    /// First seed
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
    /// How long a shard and the committee resist a share of the stake, by drawing
    #[command(after_help = "\
Examples:
  dynemix simulate takeover --stake 0.02,0.05,0.1,0.2,0.3
  dynemix simulate takeover --stake 0.2 --no-bin-sort --record-shards 1 --json -")]
    Takeover {
        /// Shares of the stake that are bad
        #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_values_t = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3])]
        stake: Vec<f64>,
        /// Candidates
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        candidates: u32,
        /// Seats of a block
        #[arg(long, value_name = "N", default_value_t = 20)]
        seats: usize,
        /// Shards
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
            SimulateQuestion::Attack { draws, heights, seed, svg, output } => {
                let attack = attack::attack(draws.max(1), heights.max(1), seed);
                if let Some(svg) = svg {
                    attack::plot(&attack, &svg)?;
                }
                return bench::show(&attack, output.json.as_deref());
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
        let shares = stakes.iter().all(|stake| (0.0..1.0).contains(stake));
        if !shares
            || !(4..=400).contains(&seats)
            || !(1..=1_000_000).contains(&candidates)
            || seats > candidates as usize
            || shards == 0
            || draws == 0
        {
            return Err("--stake must be shares between 0 and 1, --seats between 4 and 400 and not above --candidates (1000000 at most), --shards and --draws at least 1".into());
        }
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
        bench::show(&simulate::takeovers(&options, &stakes), output.json.as_deref())
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

impl SimulateArgs {
    fn options(&self) -> Result<SimOptions, String> {
        let &SimulateArgs {
            seed, nodes, seats, shards, slots, transfers, faults, mode, real_signatures, bytes, ..
        } = self;
        let seats = seats.unwrap_or((nodes as usize).min(20));
        if !(4..=5_000).contains(&nodes)
            || !(4..=1_984).contains(&seats)
            || shards == 0
            || !(1..=200_000).contains(&transfers)
            || slots == 0
        {
            return Err("--nodes must be between 4 and 5000, --seats between 4 and 1984, --transfers between 1 and 200000, --shards and --slots at least 1".into());
        }
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

#[derive(Debug, Args)]
struct StoreArg {
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
}

#[derive(Debug, Args)]
struct RootArg {
    /// The state root to trust, 64 hexadecimal digits; without it the snapshot is only checked against itself
    #[arg(long, value_name = "HASH", value_parser = inspect::parse_hash)]
    root: Option<Hash>,
}

#[derive(Debug, Subcommand)]
enum StateVerb {
    /// Heights, sizes and files
    #[command(
        after_help = "Examples:\n  dynemix state inspect --store ~/dynemix\n  dynemix state inspect --store ~/dynemix --json -"
    )]
    Inspect {
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// One account, with the proof of it
    #[command(after_help = "Examples:\n  dynemix state get 3b6a...da29 --store ~/dynemix --json -")]
    Get {
        /// The account's public key, 64 hexadecimal digits
        #[arg(value_parser = inspect::parse_hash)]
        key: Hash,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check every byte of every file, and the state's root
    #[command(
        after_help = "Examples:\n  dynemix state verify --store ~/dynemix\n\nExit code 3 when something is damaged; it is named."
    )]
    Verify {
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
enum BlockVerb {
    /// One block: header, what it changed, and its transactions where they are kept
    #[command(
        after_help = "Examples:\n  dynemix block show 12 --store ~/dynemix\n  dynemix block show 12 --store ~/dynemix --json block.json"
    )]
    Show {
        /// Its height
        height: u64,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Kept transactions by id or by account
    #[command(
        after_help = "Examples:\n  dynemix block find --transaction 52c1...07ee --store ~/dynemix\n  dynemix block find --account 3b6a...da29 --store ~/dynemix"
    )]
    Find {
        /// A transaction's id, 64 hexadecimal digits
        #[arg(long, value_name = "ID", value_parser = inspect::parse_hash, required_unless_present = "account", conflicts_with = "account")]
        transaction: Option<Hash>,
        /// An account's public key, 64 hexadecimal digits
        #[arg(long, value_name = "KEY", value_parser = inspect::parse_hash)]
        account: Option<Hash>,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
enum SnapshotVerb {
    /// Write a snapshot of a store's state; goes on where an interrupted one stopped
    #[command(after_help = "Examples:\n  dynemix snapshot create --store ~/dynemix --out ~/snapshots/today")]
    Create {
        #[command(flatten)]
        store: StoreArg,
        /// Directory of the snapshot
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The snapshots in a directory
    #[command(after_help = "Examples:\n  dynemix snapshot list ~/snapshots")]
    List {
        /// Where to look
        directory: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check every chunk of a snapshot
    #[command(after_help = "Examples:\n  dynemix snapshot verify ~/snapshots/today --root 9f0c...11ab")]
    Verify {
        /// The snapshot
        directory: PathBuf,
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a store of a snapshot; goes on where an interrupted restore stopped
    #[command(
        after_help = "Examples:\n  dynemix snapshot restore ~/snapshots/today --store ~/dynemix --root 9f0c...11ab"
    )]
    Restore {
        /// The snapshot
        directory: PathBuf,
        #[command(flatten)]
        store: StoreArg,
        /// Accounts that the state is to have room for [default: a quarter more than there are]
        #[arg(long, value_name = "N")]
        accounts_max: Option<u32>,
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The rate at which a network of nodes on slow lines starts to lose slots, beside the paper's
    #[command(after_help = "\
Examples:
  dynemix bench saturate                                           both modes, 10 mbit and 300 ms there and back
  dynemix bench saturate --mode quilt --slots 6 --link rate=100mbit,delay=20ms

Each rate takes some slots: a search lasts ten minutes and more.")]
    Saturate(devnet::SaturateArgs),
    /// Signed transactions over TCP into durable state: final transactions a second
    #[command(after_help = "\
Examples:
  dynemix bench engine
  dynemix bench engine --seconds 5 --accounts 100000 --json -
  dynemix bench engine --rate 50000                 an open load: latency below saturation
  dynemix bench engine --transactions 500000        the same state root on every run and core count

The store is a temporary directory, removed at the end; TMPDIR says where.")]
    Engine {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Signature verification: ours and ed25519-dalek's, interleaved in one run
    #[command(after_help = "\
Examples:
  dynemix bench verify
  dynemix bench verify --sizes 64,1024 --rounds 15 --json -")]
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

#[derive(Debug, Subcommand)]
enum Profile {
    /// Profile `bench engine`
    Engine {
        #[command(flatten)]
        engine: EngineArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
    /// Profile `bench verify`
    Verify {
        #[command(flatten)]
        verify: VerifyArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
    /// Profile `bench apply`
    Apply {
        #[command(flatten)]
        apply: ApplyArgs,
        #[command(flatten)]
        output: ProfileArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Also write the report as JSON to this file; `-` prints JSON instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ProfileArgs {
    /// Directory for flame.svg, top.txt and report.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct EngineArgs {
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
    /// Client connections
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// Share of transactions with a broken signature, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    invalid_share: f64,
    /// Share of the connections that send broken signatures, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    invalid_connections: f64,
    /// Length of a slot
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    slot_ms: u64,
    /// Make the store here and leave it there [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Keep the transactions with their blocks, as master-nodes do
    #[arg(long)]
    keep_transactions: bool,
    /// Offer this many transactions a second, whatever the engine does [default: as many as it takes]
    #[arg(long, value_name = "TPS")]
    rate: Option<u64>,
    /// Chooses accounts and transactions
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    simd: SimdArg,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Batch sizes
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
    #[command(flatten)]
    simd: SimdArg,
}

#[derive(Debug, Args)]
struct SimdArg {
    /// Vector instructions of verification: auto, portable, avx2 or avx512
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_parser = parse_simd)]
    simd: SimdChoice,
}

/// A forced backend, or none.
#[derive(Clone, Copy, Debug)]
struct SimdChoice(Option<Simd>);

fn parse_simd(name: &str) -> Result<SimdChoice, String> {
    if name == "auto" { Ok(SimdChoice(None)) } else { name.parse().map(|simd| SimdChoice(Some(simd))) }
}

#[derive(Debug, Args)]
struct ApplyArgs {
    /// Accounts
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
struct StateArgs {
    /// Accounts
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
    fn options(self) -> Result<StateOptions, String> {
        let StateArgs { accounts, entries, rounds, no_rivals, seed } = self;
        if rounds == 0 || !(1_000..=1 << 28).contains(&accounts) || !(2..=accounts as usize).contains(&entries) {
            return Err("--rounds must be at least 1, --accounts between 1000 and 268435456, --entries between 2 and --accounts".into());
        }
        Ok(StateOptions { accounts, entries, rounds, rivals: !no_rivals, seed })
    }
}

impl EngineArgs {
    fn options(self) -> Result<(EngineOptions, BenchStore), Unavailable> {
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
        let simd = simd.simd.0.unwrap_or_else(Simd::best).required()?;
        let cores = cores.unwrap_or_else(machine::cores);
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
    fn options(self) -> Result<VerifyOptions, String> {
        let VerifyArgs { sizes, rounds, seed, invalid_share, simd } = self;
        if rounds == 0 || sizes.is_empty() || sizes.iter().any(|size| !(1..=1 << 20).contains(size)) {
            return Err("--rounds must be at least 1 and --sizes between 1 and 1048576".into());
        }
        Ok(VerifyOptions { sizes, rounds, seed, simd: simd.simd.0, invalid_share })
    }
}

impl ApplyArgs {
    fn options(self) -> Result<ApplyOptions, String> {
        let ApplyArgs { accounts, entries, rounds, seed } = self;
        if rounds == 0 || !(1_000..=1 << 28).contains(&accounts) || !(2..=accounts as usize).contains(&entries) {
            return Err("--rounds must be at least 1, --accounts between 1000 and 268435456, --entries between 2 and --accounts".into());
        }
        Ok(ApplyOptions { accounts, entries, rounds, seed })
    }
}

impl Cli {
    /// Whether the verb runs a node, which has logs of its own.
    pub(crate) fn is_node(&self) -> bool {
        matches!(self.verb, Verb::Node(node::NodeVerb::Run(_)))
    }

    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self.verb {
            Verb::Devnet(verb) => verb.run(),
            Verb::Node(verb) => verb.run(),
            Verb::Wallet(verb) => verb.run(),
            Verb::Keys(verb) => verb.run(),
            Verb::Genesis(verb) => verb.run(),
            Verb::Config(verb) => verb.run(),
            Verb::Doctor(args) => args.run(),
            Verb::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "dynemix", &mut text);
                match std::io::Write::write_all(&mut std::io::stdout(), &text) {
                    // Whoever read has seen enough.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                    written => Ok(written?),
                }
            }
            Verb::Man { out } => {
                std::fs::create_dir_all(&out)?;
                Ok(clap_mangen::generate_to(Cli::command(), &out)?)
            }
            Verb::Simulate { question: Some(question), .. } => question.run(),
            Verb::Simulate { question: None, simulate, output } => {
                let options = simulate.options()?;
                if simulate.replay {
                    return simulate::replay(&options);
                }
                let report = simulate::simulate(&options, simulate.seeds);
                bench::show(&report, output.json.as_deref())?;
                match report.failures.len() {
                    0 => Ok(()),
                    failures => Err(format!("{failures} of {} seeds broke a promise", report.seeds).into()),
                }
            }
            Verb::State(StateVerb::Inspect { store, output }) => {
                bench::show(&inspect::inspect(&store.store)?, output.json.as_deref())
            }
            Verb::State(StateVerb::Get { key, store, output }) => {
                bench::show(&inspect::get(&store.store, &key)?, output.json.as_deref())
            }
            Verb::State(StateVerb::Verify { store, output }) => {
                let verification = inspect::verify(&store.store)?;
                bench::show(&verification, output.json.as_deref())?;
                verification.outcome(&store.store)
            }
            Verb::Block(BlockVerb::Show { height, store, output }) => {
                bench::show(&inspect::block(&store.store, height)?, output.json.as_deref())
            }
            Verb::Block(BlockVerb::Find { transaction, account, store, output }) => {
                let (key, table) = match (transaction, account) {
                    (Some(id), _) => (id, Table::Transactions),
                    (None, account) => (account.expect("one of the two is required"), Table::Accounts),
                };
                bench::show(&inspect::find(&store.store, &key, table)?, output.json.as_deref())
            }
            Verb::Snapshot(SnapshotVerb::Create { store, out, output }) => {
                bench::show(&snapshots::create(&store.store, &out)?, output.json.as_deref())
            }
            Verb::Snapshot(SnapshotVerb::List { directory, output }) => {
                bench::show(&snapshots::list(&directory)?, output.json.as_deref())
            }
            Verb::Snapshot(SnapshotVerb::Verify { directory, root, output }) => {
                bench::show(&snapshots::verify(&directory, root.root.as_ref())?, output.json.as_deref())
            }
            Verb::Snapshot(SnapshotVerb::Restore { directory, store, accounts_max, root, output }) => bench::show(
                &snapshots::restore(&directory, &store.store, accounts_max, root.root.as_ref())?,
                output.json.as_deref(),
            ),
            Verb::Bench(Bench::Engine { engine, output }) => {
                let (options, store) = engine.options()?;
                bench::show(&bench::engine(&options, store)?, output.json.as_deref())
            }
            Verb::Bench(Bench::Verify { verify, output }) => {
                bench::show(&bench::verify(&verify.options()?)?, output.json.as_deref())
            }
            Verb::Bench(Bench::Apply { apply, output }) => {
                bench::show(&bench::apply(&apply.options()?), output.json.as_deref())
            }
            Verb::Bench(Bench::State { state, output }) => {
                bench::show(&bench::state(&state.options()?)?, output.json.as_deref())
            }
            Verb::Bench(Bench::Saturate(args)) => args.run(),
            Verb::Bench(Bench::Generate) => Ok(generator::run_child()?),
            Verb::Profile(Profile::Engine { engine, output }) => bench::profile(&output.out, || {
                let (options, store) = engine.options()?;
                Ok(bench::engine(&options, store)?)
            }),
            Verb::Profile(Profile::Verify { verify, output }) => {
                bench::profile(&output.out, || Ok(bench::verify(&verify.options()?)?))
            }
            Verb::Profile(Profile::Apply { apply, output }) => {
                bench::profile(&output.out, || Ok(bench::apply(&apply.options()?)))
            }
        }
    }
}
