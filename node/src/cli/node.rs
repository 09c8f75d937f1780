//! `dynemix node`: run a node, look at it, stop it.

use super::args::{ConfigArgs, DataArgs, data_directory, variable};
use super::ask::AskArgs;
use super::output::{OutputArgs, Shown, say};
use super::passphrase::{Asked, passphrase};
use super::snapshots::of_node;
use super::vigil::Vigil;
use clap::{Args, Subcommand};
use dynemix::face::admin::{Admin, AdminRequest, LogShown, ask, remove_socket};
use dynemix::face::api::{bytes_held, serve};
use dynemix::face::logs;
use dynemix::keep::chain_store::{ChainStoreError, Genesis, state_folder};
use dynemix::minting::node::{MintingKeys, Node, NodeOptions, NodeStartError};
use dynemix::minting::status::{StageShown, StatusShown};
use dynemix::peer::join::{self, JoinOptions};
use dynemix::setup::address::key_of;
use dynemix::setup::clock::Clock;
use dynemix::setup::computer;
use dynemix::setup::config::{ApiConfig, Config, Layered, open_to_all};
use dynemix::setup::discipline::Discipline;
use dynemix::setup::genesis::GenesisFile;
use dynemix::setup::host_port::HostPort;
use dynemix::setup::keystore::{self, SecretKind};
use dynemix::setup::log_filter::log_filter;
use dynemix::setup::memory;
use dynemix::setup::names::Found;
use dynemix::setup::sntp;
use dynemix::setup::trust::Trust;
use dynemix_net::mesh::{MeshLimits, Standing};
use dynemix_perf::report::{bytes, facts, grouped, table};
use dynemix_storage::{RealDisk, Store, StoreError, StoreOptions, make_directory};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long names of peers are waited for at the start; later ones are called as soon as they are known.
const NAMES_PATIENCE: Duration = Duration::from_secs(5);
/// Slots without a final block from which on a node's state says so.
const STALLED_SLOTS: u64 = 3;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Run a node until it is told to stop
    #[command(after_help = "\
Examples:
  dynemix node run --config node.toml
  dynemix node run --config node.toml --set log.screen=debug
  dynemix node run --config node.toml --set network.trust=20481:5f0c...
  DYNEMIX_NETWORK_LISTEN=0.0.0.0:7000 dynemix node run --config node.toml

Settings: the command line counts more than the environment (DYNEMIX_<SECTION>_<KEY>), that more than the file.
SIGTERM ends it after the duty that is under way, at most a slot later; a second one at once. kill -9 at any time \
loses nothing final.")]
    Run(RunArgs),
    /// What a running node is doing
    #[command(after_help = "\
Examples:
  dynemix node status --data DIR
  dynemix node status --config node.toml --json -

Exit code 6 when no node answers.")]
    Status {
        #[command(flatten)]
        of: DataArgs,
        /// Show where its threads' time goes, and what its memory may come to
        #[arg(long)]
        stages: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Stop a running node
    #[command(after_help = "Examples:\n  dynemix node stop --data DIR\n  dynemix node stop --data DIR --now")]
    Stop {
        #[command(flatten)]
        of: DataArgs,
        /// Do not wait for the end of a duty
        #[arg(long)]
        now: bool,
    },
    /// Write a snapshot of a running node's state, which goes on meanwhile
    #[command(after_help = "\
Examples:
  dynemix node snapshot --data DIR --out ~/snapshots/today
  dynemix snapshot verify ~/snapshots/today

It is of what the state is; what was signed is not in it, and no other node may mint by it with the same keys.")]
    Snapshot {
        /// Directory of the snapshot
        #[arg(long, value_name = "TO")]
        out: PathBuf,
        #[command(flatten)]
        of: DataArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Look into a running node: blocks, accounts, transactions, whatever its API answers
    #[command(after_help = "\
Examples:
  dynemix node ask
  dynemix node ask block
  dynemix node ask block height=12 --devnet
  dynemix node ask account key=dyndev1... --devnet
  dynemix node ask search text=ada --node http://127.0.0.1:8645/

What it prints is the node's word; the wallet verifies. Exit code 6 when no node answers.")]
    Ask(AskArgs),
    /// The last lines of a running node's log, and what it shows; show more or less
    #[command(after_help = "\
Examples:
  dynemix node log --data DIR
  dynemix node log --filter debug --data DIR
  dynemix node log --filter info,dynemix::minting=trace --data DIR

What it shows is changed until the node ends; log.screen is what it begins with.")]
    Log {
        /// From now on: a level such as debug, or TARGET=LEVEL, several with commas between
        #[arg(long, value_parser = a_filter)]
        filter: Option<String>,
        /// Lines at most
        #[arg(long, default_value_t = 20)]
        lines: usize,
        #[command(flatten)]
        of: DataArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Begin to sign although nothing says what was signed before: only if this key has never signed on this chain
    #[arg(long)]
    first_run: bool,
    /// Read the keystore's passphrase from this open file descriptor
    #[arg(long, value_name = "FD")]
    passphrase_fd: Option<i32>,
}

impl NodeVerb {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            NodeVerb::Run(args) => run(&args),
            NodeVerb::Status { of, stages, output } => {
                let shown: StatusShown = ask(&of.directory()?, &AdminRequest::Status { blocks: 8 })?;
                if stages { output.show(&NodeStages(shown)) } else { output.show(&NodeStatus(shown)) }
            }
            NodeVerb::Stop { of, now } => {
                let _: Value = ask(&of.directory()?, &AdminRequest::Stop { now })?;
                say!("stopping")?;
                Ok(())
            }
            NodeVerb::Snapshot { out, of, output } => output.show(&of_node(&of.directory()?, &out)?),
            NodeVerb::Ask(args) => args.run(),
            NodeVerb::Log { filter, lines, of, output } => {
                let shown: LogShown = ask(&of.directory()?, &AdminRequest::Log { lines, filter })?;
                output.show(&NodeLog(shown))
            }
        }
    }
}

fn a_filter(text: &str) -> Result<String, String> {
    log_filter(text).map(|_| text.to_owned())
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct NodeLog(LogShown);

impl Shown for NodeLog {
    fn text(&self) -> String {
        let LogShown { filter, lines } = &self.0;
        lines.iter().map(|line| format!("{line}\n")).collect::<String>() + &format!("filter: {filter}")
    }
}

#[derive(serde::Serialize)]
#[serde(transparent)]
struct NodeStatus(StatusShown);

#[derive(serde::Serialize)]
#[serde(transparent)]
struct NodeStages(StatusShown);

impl Shown for NodeStages {
    fn text(&self) -> String {
        let StatusShown { topology, stages, verified, verify_s, rss_bytes, .. } = &self.0;
        let cell = |seconds: f64| format!("{seconds:.2}");
        let row = |stage: &StageShown| {
            vec![
                stage.name.clone(),
                cell(stage.busy_s),
                cell(stage.queued_s),
                cell(stage.blocked_s),
                cell(stage.idle_s),
            ]
        };
        let head = ["thread", "busy s", "no core s", "blocked s", "idle s"];
        let mut text = table(&head, &stages.iter().map(row).collect::<Vec<_>>());
        let (first, memory) = topology.split_once(": ").unwrap_or((topology, ""));
        first.split("; ").for_each(|part| text.push_str(&format!("\n  {part}")));
        text.push_str(&format!(", resident {}", bytes(*rss_bytes)));
        memory.split(", ").filter(|part| !part.is_empty()).for_each(|part| {
            let (name, mib) = part.rsplit_once(' ').unwrap_or((part, ""));
            text.push_str(&format!("\n    {name:<20} {mib:>6} MiB"));
        });
        let micros = if *verified > 0 { verify_s * 1e6 / *verified as f64 } else { 0.0 };
        text.push_str(&format!("\n  {} signatures verified, {micros:.1} us each", grouped(*verified)));
        text
    }
}

impl Shown for NodeStatus {
    fn text(&self) -> String {
        let StatusShown {
            chain, height, heard, candidate, seated, shard, seats, shards, members, guests, pool, ..
        } = &self.0;
        let role = match (candidate, seated, shard) {
            (None, ..) => "follows".to_owned(),
            (Some(candidate), true, Some(shard)) => format!("candidate {candidate}, mints in shard {shard}"),
            (Some(candidate), ..) => format!("candidate {candidate}, has no seat at the next height"),
        };
        let clock = match self.0.clock_trusted {
            true => format!("good, offset {} ms", self.0.clock_offset_ms),
            false => format!("not good enough to mint by, offset {} ms", self.0.clock_offset_ms),
        };
        let slot = match self.0.starts_in_ms.div_ceil(1_000) {
            0 => grouped(self.0.slot),
            left_s => format!("none yet: the chain starts in {left_s} s"),
        };
        let (now, newest) = (self.0.slot, self.0.newest_slot);
        let last = match (now.saturating_sub(newest), newest.saturating_sub(now)) {
            (0..=STALLED_SLOTS, 0..=1) => format!("of slot {}", grouped(newest)),
            (_, 2..) => format!("of slot {}: the CLOCK IS BEHIND the chain", grouped(newest)),
            (silent, _) => format!("of slot {}: NOTHING BECAME FINAL for {silent} slots", grouped(newest)),
        };
        let mut text = facts(&[
            ("chain", format!("{}..", &chain[..16])),
            ("slot", slot),
            (
                "height",
                format!("{}, on disk {}, heard of {}", grouped(*height), grouped(self.0.stored), grouped(*heard)),
            ),
            ("newest block", last),
            ("role", role),
            ("committee", format!("{seats} seats, {shards} shards")),
            ("peers", format!("{members} candidates, {guests} guests")),
            ("pool", format!("{} transactions", grouped(*pool as u64))),
            ("clock", clock),
            ("traffic", format!("sent {}, received {}", bytes(self.0.bytes_sent), bytes(self.0.bytes_received))),
            ("memory", bytes(self.0.rss_bytes)),
            (
                "snapshot",
                self.0.snapshots.last().map_or("none to join by yet".to_owned(), |of| format!("network.trust={of}")),
            ),
        ]);
        for block in &self.0.blocks {
            let transactions: u32 = block.shards.iter().map(|shard| shard.transactions).sum();
            text.push_str(&format!(
                "\n  height {:>8}  slot {:>8}  {:>7} transactions  {}..",
                block.height,
                block.slot,
                transactions,
                &block.hash[..16]
            ));
        }
        text
    }
}

fn run(args: &RunArgs) -> Result<(), Box<dyn Error>> {
    let layered = args.config.load()?;
    let Config { minting, clock, api, log, .. } = &layered.config;
    let file = GenesisFile::read(&layered.beside.join(&layered.config.genesis))?;
    let genesis = file.genesis()?;
    let directory = data_directory(&layered, &genesis.chain.genesis_hash);
    make_directory(&directory).map_err(|error| format!("make {}: {error}", directory.display()))?;
    let log_path = directory.join("node.log");
    let to_file = (!log.file.is_empty()).then_some((log_path.as_path(), log.file.as_str(), log.file_bytes, log.files));
    let screen = screen_filter(&log.screen)?;
    let log = logs::start(&screen, to_file)?;
    raise_limits();
    let keys = keys(&layered.beside, minting, &file.address_prefix, args.passphrase_fd)?;
    let node_clock = Clock::new(genesis.chain.parameters.start_ms, clock.source == "system");
    node_clock.shift(clock.shift_ms);
    let genesis_supply = genesis.accounts.iter().map(|account| account.1).sum::<u64>()
        + genesis.minters.iter().map(|minter| minter.stake).sum::<u64>();
    let slot_ms = genesis.chain.parameters.slot_ms;
    let data = Arc::new(RealDisk::at(&directory));
    let named = layered.config.names()?.follow()?;
    let found = named.recv_timeout(NAMES_PATIENCE).unwrap_or(layered.config.names()?.numeric());
    let options = options(&layered, args.first_run, (genesis, found), data, &node_clock, keys)?;
    let topology = options.topology()?;
    memory::has_room(topology.bytes(), &topology)?;
    if let Some(trust) = layered.config.trust()? {
        join(&options, trust)?;
    }
    // Asked for before anything runs, so that an early signal is not lost.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let node = Node::start(options).map_err(hinted)?;
    let discipline = Discipline { slot_ms, bound_ms: clock.bound_ms };
    if clock.source == "sntp" {
        sntp::follow(node_clock, clock.servers.clone(), Duration::from_secs(clock.every_s.max(16)), discipline)?;
    } else {
        computer::watch(node_clock, discipline)?;
    }
    let (stop, stops) = channel();
    let api_address = match layered.config.api_listen()? {
        Some(place) => Some(serve_api(&place, &node, &file, api)?),
        None => None,
    };
    let admin =
        Admin { view: node.view().clone(), genesis_supply, stop: stop.clone(), log, snapshots: node.snapshots() };
    if admin.serve(&directory)? {
        tracing::warn!(
            "the node before this one did not end in order (it was killed, or the power failed): nothing final is lost, \
             and what users had handed in is followed again"
        );
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for (place, _) in signals.forever().enumerate() {
            let _ = stop.send(place > 0);
        }
    })?;
    let shown = |address: Option<SocketAddr>| address.map_or("nowhere".to_owned(), |address| address.to_string());
    tracing::info!(
        "node runs at height {}: peers at {}, API at {}, data in {}",
        node.view().status.stored.load(Ordering::Relaxed),
        shown(node.address()),
        shown(api_address),
        directory.display()
    );
    let view = node.view().clone();
    until_told(node, &stops, &named, slot_ms)?;
    remove_socket(&directory)?;
    tracing::info!("stopped at height {}: everything final is on disk", view.status.stored.load(Ordering::Relaxed));
    Ok(())
}

/// What the screen shows at first: what the environment says, or else the configuration.
fn screen_filter(configured: &str) -> Result<String, String> {
    let asked = variable("DYNEMIX_LOG")?.filter(|text| !text.is_empty());
    let read = |text: String| a_filter(&text).map_err(|error| format!("environment variable DYNEMIX_LOG: {error}"));
    asked.map_or(Ok(configured.to_owned()), read)
}

/// Answers programs there.
fn serve_api(place: &HostPort, node: &Node, file: &GenesisFile, api: &ApiConfig) -> Result<SocketAddr, Box<dyn Error>> {
    let address = place.address().map_err(|error| format!("api.listen: {place}: {error}"))?;
    if !address.ip().is_loopback() {
        tracing::warn!("{}", open_to_all(place));
    }
    let served = serve(address, node.view().clone(), file, api);
    served.map_err(|error| format!("api.listen: {address}: {error}{}", taken(&error)).into())
}

/// What to say of a port that another program has.
fn taken(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "; another program has it. Of two nodes on one computer each needs its own data, \
                                 network.listen and api.listen"
        }
        _ => "",
    }
}

/// A start that failed for what another program has, and what to do then.
#[derive(Debug, thiserror::Error)]
#[error("{source}{hint}")]
struct Hinted {
    source: NodeStartError,
    hint: &'static str,
}

fn hinted(source: NodeStartError) -> Hinted {
    let hint = match &source {
        NodeStartError::Listen { source, .. } => taken(source),
        NodeStartError::Chain(ChainStoreError::Store(StoreError::Locked { .. })) => {
            ". Of two nodes on one computer each needs its own data, network.listen and api.listen"
        }
        _ => "",
    };
    Hinted { source, hint }
}

/// What the configuration says, as the node wants it.
fn options(
    layered: &Layered,
    first_run: bool,
    (genesis, found): (Genesis, Found),
    data: Arc<RealDisk>,
    clock: &Clock,
    (minting, transport): Keys,
) -> Result<NodeOptions, Box<dyn Error>> {
    let Config { network, storage, verification, api, .. } = &layered.config;
    let memory_bytes = memory::limit(layered.config.memory.limit_bytes);
    let mut limits = MeshLimits {
        budget_bytes: memory::budget(network.memory_bytes, memory_bytes),
        address_max: network.address_max,
        ..MeshLimits::default()
    };
    limits.of_mut(Standing::Guest).places = network.guests_max;
    let listen = layered.config.listen()?.map(|place| {
        place.address().map_err(|error| format!("network.listen: {place}: {error}; write an address of this computer"))
    });
    Ok(NodeOptions {
        data,
        genesis,
        minting,
        transport,
        listen: listen.transpose()?,
        public: found.public,
        bootstrap: found.peers,
        link: layered.config.link()?,
        limits,
        store: StoreOptions {
            segment_bytes: storage.segment_bytes,
            window_records: storage.window_blocks,
            limit_bytes: storage.limit_bytes,
            watermark_bytes: storage.watermark_bytes,
        },
        checkpoint_bytes: storage.checkpoint_bytes,
        clock: clock.clone(),
        first_run,
        key_cache_keys: storage.key_cache_keys,
        simd: layered.config.simd()?,
        verify_threads: verification.threads(),
        hints: network.hints,
        counted: None,
        memory_bytes,
        api_bytes: bytes_held(api),
        snapshot_blocks: storage.snapshot_blocks,
        snapshot_bytes_per_s: storage.snapshot_bytes_per_s,
    })
}

/// Waits until the node is told to stop, or ends by itself; then ends it in order.
fn until_told(node: Node, stops: &Receiver<bool>, named: &Receiver<Found>, slot_ms: u64) -> Result<(), Box<dyn Error>> {
    let mut vigil = Vigil::default();
    let now = loop {
        vigil.look(node.view());
        named.try_iter().for_each(|found| node.name(found));
        match stops.recv_timeout(Duration::from_millis(200)) {
            Ok(now) => break now,
            Err(RecvTimeoutError::Timeout) if !node.ended() => {}
            Err(_) => break true,
        }
    };
    if now || !node.view().status.look(|live| live.seated) {
        return Ok(node.stop(now)?);
    }
    tracing::info!("stopping after the duty that is under way, in {slot_ms} ms at most");
    // A second signal does not wait.
    let stopping = std::thread::spawn(move || node.stop(false).map_err(|error| error.to_string()));
    while !stopping.is_finished() {
        if let Ok(true) = stops.recv_timeout(Duration::from_millis(50)) {
            tracing::warn!("stopped at once, before the end of the duty");
            std::process::exit(0);
        }
    }
    match stopping.join() {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err("the node did not stop in order".into()),
    }
}

/// Begins with a snapshot from the network, unless there is a chain already.
fn join(options: &NodeOptions, trust: Trust) -> Result<(), Box<dyn Error>> {
    let state = state_folder(&*options.data);
    state.make()?;
    if Store::exists(&*state)? {
        tracing::info!("there is a chain here already: network.trust is not needed");
        return Ok(());
    }
    let how = JoinOptions {
        data: options.data.clone(),
        chain: options.genesis.chain.genesis_hash,
        trust,
        peers: options.targets(),
        accounts_max: options.genesis.accounts_max,
        store: options.store,
        limits: options.limits,
        link: options.link,
    };
    let mut tenths = 0;
    let height = join::join(&how, |done, all| {
        let now = 10 * done / all.max(1);
        if now > tenths {
            tenths = now;
            tracing::info!("joining: {} of {} accounts' data have come", bytes(done), bytes(all));
        }
    })?;
    tracing::info!("joined at height {height}, which block {} proves", trust.height);
    Ok(())
}

/// What a node mints with, if it does, and its transport secret.
type Keys = (Option<MintingKeys>, Zeroizing<[u8; 32]>);

/// Voting and transport secrets of a node that mints; of one that follows, a transport secret for as long as it runs.
fn keys(
    beside: &Path,
    minting: &dynemix::setup::config::MintingConfig,
    prefix: &str,
    fd: Option<i32>,
) -> Result<Keys, Box<dyn Error>> {
    if !minting.enabled {
        return Ok((None, keystore::random()?));
    }
    let path = beside.join(&minting.keystore);
    // Nobody is asked for the passphrase of what is not there.
    keystore::public(&path).map_err(|error| format!("minting.keystore: {error}"))?;
    let passphrase = passphrase(fd, &path.display().to_string(), Asked::ToOpen)?;
    let secrets = keystore::open::<64>(&path, SecretKind::Minting, &passphrase)?;
    let (vote, transport) = secrets.split_at(32);
    let half = |bytes: &[u8]| Zeroizing::new(<[u8; 32]>::try_from(bytes).expect("32 bytes"));
    let account = key_of(prefix, &minting.account).map_err(|error| format!("minting.account: {error}"))?;
    Ok((Some(MintingKeys { account, vote: half(vote) }), half(transport)))
}

/// As many files as the system allows: each peer is one.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it fewer peers fit; the doctor says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
