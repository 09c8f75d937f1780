//! The node's pipeline as `bench engine` measures it.

use dynemix::pipeline::ledger::{SlotPlan, StorageConfig};
use dynemix::pipeline::run::{Pipeline, PipelineConfig};
use dynemix::pipeline::topology::Sizes;
use dynemix_bench::engine::{EngineSetup, EngineSummary, EngineUnderTest, StageRow};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::{ChainParameters, SUPPLY_GENESIS};
use dynemix_net::Limits;
use dynemix_storage::{RealDisk, Store};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Cell slots of a benched engine.
const SLOTS: u32 = 1 << 20;
/// Decoded keys of a benched engine at most.
const KEY_CACHE_KEYS_MAX: u64 = 1 << 20;

struct BenchedNode {
    pipeline: Pipeline,
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
        self.pipeline.address()
    }

    fn chain(&self) -> (Hash, Hash) {
        let chain = self.pipeline.chain();
        (chain.genesis_hash, chain.transaction_prefix)
    }

    fn pools(&self) -> Vec<(String, u64)> {
        let topology = self.pipeline.topology();
        let pools = topology.pools.iter().map(|pool| (pool.name.to_owned(), pool.bytes));
        pools.chain([("rings".to_owned(), topology.rings_bytes())]).collect()
    }

    fn finals(&self) -> u64 {
        self.pipeline.finals()
    }

    fn stop(self: Box<Self>) -> Result<EngineSummary, String> {
        let declared_bytes = self.pipeline.topology().bytes();
        let summary = self.pipeline.stop().map_err(|error| error.to_string())?;
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

/// Starts a pipeline with a store of its own.
pub(crate) fn start_node(setup: EngineSetup, store: BenchStore) -> Result<Box<dyn EngineUnderTest>, String> {
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
    let config = PipelineConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        disk: Arc::new(disk),
        storage: StorageConfig { keep_transactions: store.keep_transactions, ..StorageConfig::default() },
        parameters: ChainParameters { slot_ms, ..ChainParameters::default() },
        genesis: Arc::new(dynemix_workload::genesis(seed, accounts)),
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
    let pipeline = Pipeline::start(config).map_err(|error| error.to_string())?;
    Ok(Box::new(BenchedNode { pipeline, _directory: directory }))
}
