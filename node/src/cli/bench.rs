//! The benches, composed with a real node.

use super::durable::DurableState;
use dynemix::pipeline::ledger::SlotPlan;
use dynemix::pipeline::run::{Minter, MinterConfig, StorageConfig};
use dynemix::pipeline::topology::Sizes;
use dynemix_bench::apply::{ApplyOptions, ApplyReport};
use dynemix_bench::engine::{
    EngineBenchError, EngineOptions, EngineReport, EngineSetup, EngineSummary, EngineUnderTest, StageRow,
};
use dynemix_bench::report::{bar, spinner, write_json};
use dynemix_bench::state::{StateOptions, StateReport};
use dynemix_bench::verify::{VerifyOptions, VerifyReport};
use dynemix_bench::{
    apply as apply_bench, engine as engine_bench, state as state_bench, verify as verify_bench, workload,
};
use dynemix_engine::chain::{ChainParameters, SUPPLY_GENESIS};
use dynemix_engine::hash::Hash;
use dynemix_engine::verify::Unavailable;
use dynemix_net::Limits;
use dynemix_perf::Profile;
use dynemix_storage::{RealDisk, Store};
use serde::Serialize;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Cell slots of a benched engine.
const SLOTS: u32 = 1 << 20;
/// Decoded keys of a benched engine at most.
const KEY_CACHE_KEYS_MAX: u64 = 1 << 20;

/// A report that people and programs can read.
pub(crate) trait Shown: Serialize {
    /// For people.
    fn text(&self) -> String;
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

/// Prints the table, and writes JSON where asked to; JSON on standard output takes the table's place.
pub(crate) fn show(report: &impl Shown, json: Option<&Path>) -> Result<(), Box<dyn Error>> {
    if json != Some(Path::new("-")) {
        match writeln!(std::io::stdout(), "{}", report.text()) {
            // Whoever read has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    if let Some(path) = json {
        write_json(path, report).map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Runs a bench under the profiler and leaves its files in `directory`.
pub(crate) fn profile<R: Shown>(
    directory: &Path,
    bench: impl FnOnce() -> Result<R, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(directory).map_err(|error| format!("create {}: {error}", directory.display()))?;
    let profile = Profile::start()?;
    let report = bench()?;
    let files = profile.finish(directory)?;
    let json = directory.join("report.json");
    write_json(&json, &report).map_err(|error| format!("write {}: {error}", json.display()))?;
    println!("{}\n{}", report.text(), files.top_text);
    println!(
        "  flame graph  {}\n  top table    {}\n  report       {}",
        files.flame_graph.display(),
        files.top.display(),
        json.display()
    );
    Ok(())
}

struct BenchedNode {
    minter: Minter,
    /// Dropped after the node has stopped.
    _directory: Option<TempDir>,
}

/// Where `bench engine` has its store.
pub(crate) struct BenchStore {
    /// A directory that stays; else a temporary one.
    pub(crate) directory: Option<PathBuf>,
    /// Whether blocks keep their transactions.
    pub(crate) keep_transactions: bool,
}

impl EngineUnderTest for BenchedNode {
    fn address(&self) -> SocketAddr {
        self.minter.address()
    }

    fn chain(&self) -> (Hash, Hash) {
        let chain = self.minter.chain();
        (chain.genesis_hash, chain.transaction_prefix)
    }

    fn pools(&self) -> Vec<(String, u64)> {
        let topology = self.minter.topology();
        let pools = topology.pools.iter().map(|pool| (pool.name.to_owned(), pool.bytes));
        pools.chain([("rings".to_owned(), topology.rings_bytes())]).collect()
    }

    fn finals(&self) -> u64 {
        self.minter.finals()
    }

    fn stop(self: Box<Self>) -> Result<EngineSummary, String> {
        let declared_bytes = self.minter.topology().bytes();
        let summary = self.minter.stop().map_err(|error| error.to_string())?;
        let stages = summary.stages.into_iter().map(|times| StageRow {
            name: times.name,
            busy_s: times.busy_s,
            blocked_s: times.blocked_s,
            idle_s: times.idle_s,
        });
        Ok(EngineSummary {
            height: summary.ledger.height,
            accounts: summary.ledger.accounts,
            state_root: summary.ledger.root,
            supply_conserved: summary.ledger.supply == u128::from(SUPPLY_GENESIS),
            bytes_per_account: summary.bytes_per_account,
            declared_bytes,
            quilt_bytes: summary.ledger.quilt_bytes,
            block_transactions_max: summary.ledger.block_transactions_max,
            verify_batch_mean: summary.verify.signatures as f64 / summary.verify.batches.max(1) as f64,
            slots_lost: summary.slots_lost,
            stages: stages.collect(),
        })
    }
}

fn start_node(setup: EngineSetup, store: BenchStore) -> Result<Box<dyn EngineUnderTest>, String> {
    let EngineSetup { accounts, accounts_max, seed, cores, simd, connections, slot_ms, counted } = setup;
    let (path, directory) = match store.directory {
        Some(path) => (path, None),
        None => {
            let directory = tempfile::Builder::new().prefix("dynemix-bench-").tempdir();
            let directory = directory.map_err(|error| format!("make a temporary directory: {error}"))?;
            (directory.path().to_owned(), Some(directory))
        }
    };
    let disk = RealDisk::new(&path).map_err(|error| error.to_string())?;
    if Store::exists(&disk).map_err(|error| error.to_string())? {
        return Err(format!("{} holds a store already; the bench begins with a new one", path.display()));
    }
    let limits = Limits {
        connections_max: connections + 16,
        frame_timeout: Duration::from_secs(5),
        out_bytes_max: 16 << 20,
        out_bytes_total_max: 64 << 20,
    };
    let config = MinterConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        disk: Arc::new(disk),
        storage: StorageConfig { keep_transactions: store.keep_transactions, ..StorageConfig::default() },
        parameters: ChainParameters { slot_ms, ..ChainParameters::default() },
        genesis: Arc::new(workload::genesis(seed, accounts)),
        supply: SUPPLY_GENESIS,
        sizes: Sizes {
            slots: SLOTS,
            payload_slots: 1 << 12,
            verify_threads: cores,
            simd,
            accounts_max: accounts_max as u32,
            key_cache_keys: (accounts * 5 / 4).min(KEY_CACHE_KEYS_MAX) as usize,
            limits,
        },
        verify_batch_max: 4096,
        plan: match counted {
            Some((block, total)) => SlotPlan::Counted { block, total },
            None => SlotPlan::Timed { slot_ms },
        },
    };
    let minter = Minter::start(config).map_err(|error| error.to_string())?;
    Ok(Box::new(BenchedNode { minter, _directory: directory }))
}

/// `bench engine`.
pub(crate) fn engine(options: &EngineOptions, store: BenchStore) -> Result<EngineReport, EngineBenchError> {
    // Fails only if another part of the process has made the pool before: then its size stands.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.cores.max(1)).build_global();
    let program = std::env::current_exe()?;
    let mut generator = Command::new(program);
    generator.args(["bench", "generate"]);
    engine_bench::run(options, |setup| start_node(setup, store), generator)
}

/// `bench verify`.
pub(crate) fn verify(options: &VerifyOptions) -> Result<VerifyReport, Unavailable> {
    let bar = bar(std::io::stderr().is_terminal(), options.rounds as u64, "rounds");
    let report = verify_bench::run(options, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// `bench apply`.
pub(crate) fn apply(options: &ApplyOptions) -> ApplyReport {
    let bar = bar(std::io::stderr().is_terminal(), options.rounds as u64, "rounds");
    let report = apply_bench::run(options, |done, _| bar.set_position(done));
    bar.finish_and_clear();
    report
}

/// `bench state`.
pub(crate) fn state(options: &StateOptions) -> Result<StateReport, Box<dyn Error>> {
    let directory = tempfile::Builder::new().prefix("dynemix-bench-").tempdir()?;
    let store = directory.path().join("store");
    let create = || Ok(Box::new(DurableState::create(&store, options.accounts, options.seed)?) as _);
    let bar = spinner(std::io::stderr().is_terminal());
    let report = state_bench::run(options, directory.path(), create, |doing| bar.set_message(doing.to_owned()));
    bar.finish_and_clear();
    report
}
