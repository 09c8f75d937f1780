//! The minting node as `bench engine` measures it: a chain of one minter, whose thresholds are one of one.

use dynemix::devnet::layout::secret;
use dynemix::devnet::scratch::Scratch;
use dynemix::keep::chain_store::Genesis;
use dynemix::keep::record::BlockRecord;
use dynemix::minting::counted::Counted;
use dynemix::minting::node::{MintingKeys, Node, NodeOptions};
use dynemix::setup::address::PREFIX;
use dynemix::setup::clock::{Clock, unix_ms};
use dynemix::setup::config::StorageConfig;
use dynemix::setup::genesis::{GENESIS_VERSION, GenesisFile, LoadAccounts, MinterEntry};
use dynemix_bench::engine::{BenchSettings, EngineSetup, EngineSummary, EngineToTest, EngineUnderTest};
use dynemix_bench::generator::EngineAddress;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::limits::{CELL_BYTES, FORWARDED_MAX, SET_ITEMS_MAX};
use dynemix_engine::base::parameters::{ChainParameters, ConsensusParameters, DYNE, SUPPLY_GENESIS, SubSlots};
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_net::mesh::{HandshakeWork, LinkShape, MeshLimits, Standing, public_key};
use dynemix_perf::report::bytes;
use dynemix_storage::{RealDisk, Store, StoreOptions};
use ed25519_dalek::SigningKey;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// What the minter has at stake.
const STAKE: u64 = 1_000_000 * DYNE;
/// Decoded keys of a benched node at most.
const KEY_CACHE_KEYS_MAX: u64 = 1 << 20;
/// The line of a minter that has nobody to send to: bodies never wait for it.
const LINE_BYTES_PER_S: u64 = u32::MAX as u64;
/// Memory of the network: room for the frames of all lines at once.
const NETWORK_BYTES: usize = 4 << 30;
/// Longer than it takes to start a node and to open the lines.
const LONG_MS: u64 = 3_600_000;
/// Places beside the lines of the load.
const PLACES_SPARE: usize = 16;

/// Where `bench engine` has its store.
pub(crate) struct BenchStore {
    /// A directory that stays; else a temporary one.
    pub(crate) directory: Option<PathBuf>,
    /// Whether blocks keep their transactions.
    pub(crate) keep_transactions: bool,
}

/// A node with its genesis, before it runs.
struct NodeToBench {
    options: NodeOptions,
    settings: BenchSettings,
    layout: StateLayout,
    /// Removed at the end.
    directory: Option<Scratch>,
}

struct BenchedNode {
    node: Node,
    key: Hash,
    clock: Clock,
    /// When the chain would start; none if its clock stands.
    starts_ms: Option<u64>,
    layout: StateLayout,
    /// Dropped after the node has stopped.
    _directory: Option<Scratch>,
}

/// The genesis of one minter, who has what no account of the load has.
fn genesis(setup: &EngineSetup, keep_transactions: bool) -> Result<Genesis, String> {
    let balance = (SUPPLY_GENESIS - STAKE) / setup.accounts;
    let owner = SigningKey::from_bytes(&secret("owner", 0)).verifying_key().to_bytes();
    let (vote_key, possession) = BlsSigning::key_and_possession(&secret("vote", 0), &owner);
    let consensus = ConsensusParameters {
        seats: 1,
        shards_max: 1,
        // Blocks travel with their transactions, and the log keeps both; else patches do. TOML has no larger number.
        quilt_from_height: if keep_transactions { i64::MAX as u64 } else { 0 },
        // What there is stays what it was.
        emission: 0,
        accounts_max: setup.accounts_max + 1,
        line_bytes_per_s: LINE_BYTES_PER_S,
        sub_slots: SubSlots::LOCAL,
        ..ConsensusParameters::default()
    };
    let minter = MinterEntry {
        name: "bench".into(),
        account: hex::encode(owner),
        balance: SUPPLY_GENESIS - STAKE - balance * setup.accounts,
        stake: STAKE,
        vote_key: hex::encode(vote_key),
        possession: hex::encode(possession),
        transport_key: hex::encode(public_key(&secret("transport", 0))),
        address: None,
    };
    let file = GenesisFile {
        format: GENESIS_VERSION,
        address_prefix: PREFIX.into(),
        parameters: ChainParameters { slot_ms: setup.slot_ms, consensus, ..ChainParameters::default() },
        minters: vec![minter],
        accounts: Vec::new(),
        load_accounts: Some(LoadAccounts { seed: setup.seed, count: setup.accounts, balance }),
    };
    file.genesis().map_err(|error| error.to_string())
}

/// What a node lets guests have, wider: the load is one program, and neither its line nor its handshakes are measured.
fn limits(connections: usize) -> MeshLimits {
    let mut limits = MeshLimits {
        budget_bytes: NETWORK_BYTES,
        handshake_work: HandshakeWork { total_micros: 1_000_000, net_micros: 1_000_000 },
        ..MeshLimits::default()
    };
    let guests = limits.of_mut(Standing::Guest);
    (guests.places, guests.read_rate) = (guests.places.max(connections + PLACES_SPARE), None);
    limits
}

/// A temporary directory of a bench, which goes with it even where it is interrupted.
pub(crate) fn scratch() -> std::io::Result<Scratch> {
    let scratch = Scratch::new("dynemix-bench-", |_| {})?;
    scratch.end_at_signals()?;
    Ok(scratch)
}

/// Makes the genesis of a node with a store of its own.
pub(crate) fn prepare_node(setup: EngineSetup, store: BenchStore) -> Result<Box<dyn EngineToTest>, String> {
    let (path, directory) = match store.directory {
        Some(path) => (path, None),
        None => {
            let directory = scratch().map_err(|error| format!("make a temporary directory: {error}"))?;
            (directory.path().to_owned(), Some(directory))
        }
    };
    let disk = RealDisk::new(&path.join("state")).map_err(|error| error.to_string())?;
    if Store::exists(&disk).map_err(|error| error.to_string())? {
        return Err(format!("{} holds a store already; the bench begins with a new one", path.display()));
    }
    let genesis = genesis(&setup, store.keep_transactions)?;
    let EngineSetup { accounts, cores, simd, connections, counted, .. } = setup;
    let (parameters, limits) = (genesis.chain.parameters, limits(connections));
    assert!(limits.of(Standing::Guest).places > connections, "each line of the load has a place");
    let bytes_max = parameters.block_bytes_max(1);
    let block_transactions_max = (bytes_max / CELL_BYTES as u64)
        .min(parameters.block_transactions_max.into())
        .min(FORWARDED_MAX.min(SET_ITEMS_MAX) as u64);
    let [sets, .., try_0, _, _] = parameters.consensus.sub_slots.steps();
    let settings = BenchSettings {
        chain: format!(
            "one minter of one shard, quorum 1 of 1; slots of {} ms, sets close at {} and votes begin at {} per mille; {}",
            parameters.slot_ms,
            sets,
            try_0,
            if store.keep_transactions { "blocks keep their transactions" } else { "blocks are patches" }
        ),
        bounds: format!(
            "network {}, {} guests at any rate, memory for whatever a block takes; no other bound of a node is moved, and a block has {} transactions at most",
            bytes(NETWORK_BYTES as u64),
            limits.of(Standing::Guest).places,
            block_transactions_max
        ),
        block_transactions_max,
    };
    let storage = StorageConfig::default();
    let layout = StateLayout::new(genesis.accounts_max);
    let owner = SigningKey::from_bytes(&secret("owner", 0)).verifying_key().to_bytes();
    let options = NodeOptions {
        data: Arc::new(RealDisk::at(&path)),
        genesis,
        minting: Some(MintingKeys { account: owner, vote: Zeroizing::new(secret("vote", 0)) }),
        transport: Zeroizing::new(secret("transport", 0)),
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        public: None,
        bootstrap: Vec::new(),
        link: LinkShape::default(),
        limits,
        store: StoreOptions::default(),
        checkpoint_bytes: storage.checkpoint_bytes,
        clock: Clock::standing(),
        first_run: true,
        key_cache_keys: (accounts * 5 / 4).min(KEY_CACHE_KEYS_MAX) as usize,
        simd: Some(simd),
        verify_threads: cores,
        hints: false,
        counted: counted.map(|(block, total)| Counted { block, total }),
        // Whatever a block may have: what is measured is the way, not the memory.
        memory_bytes: u64::MAX,
        api_bytes: 0,
        snapshot_blocks: storage.snapshot_blocks,
        snapshot_bytes_per_s: storage.snapshot_bytes_per_s,
    };
    Ok(Box::new(NodeToBench { options, settings, layout, directory }))
}

impl EngineToTest for NodeToBench {
    fn chain(&self) -> (Hash, Hash) {
        let chain = &self.options.genesis.chain;
        (chain.genesis_hash, chain.transaction_prefix)
    }

    fn settings(&self) -> BenchSettings {
        self.settings.clone()
    }

    fn start(self: Box<Self>) -> Result<Box<dyn EngineUnderTest>, String> {
        let NodeToBench { mut options, layout, directory, .. } = *self;
        let starts_ms = options.counted.is_none().then(|| {
            // Until the load begins it is before the chain's start.
            let starts_ms = unix_ms() + LONG_MS;
            options.clock = Clock::new(starts_ms, true);
            starts_ms
        });
        let (key, clock) = (public_key(&options.transport), options.clock.clone());
        let node = Node::start(options).map_err(|error| error.to_string())?;
        Ok(Box::new(BenchedNode { node, key, clock, starts_ms, layout, _directory: directory }))
    }
}

impl EngineUnderTest for BenchedNode {
    fn address(&self) -> EngineAddress {
        EngineAddress { address: self.node.address().expect("it listens"), key: self.key }
    }

    fn begin(&self) {
        if let Some(starts_ms) = self.starts_ms {
            self.clock.shift(starts_ms.saturating_sub(unix_ms()) as i64);
        }
    }

    fn finals(&self) -> u64 {
        self.node.view().status.own_final.load(Ordering::Relaxed)
    }

    fn halted(&self) -> Option<String> {
        let halted = self.node.view().status.halted().cloned();
        halted.or_else(|| self.node.ended().then(|| "a thread has ended: an invariant is broken".to_owned()))
    }

    fn stop(self: Box<Self>) -> Result<EngineSummary, String> {
        let BenchedNode { node, layout, _directory, .. } = *self;
        let view = node.view().clone();
        node.stop(true).map_err(|error| error.to_string())?;
        // The writer has stored all that is final, and the replica has followed it.
        let (header, supply) = view.accounts.sealed(|state| (*state.header(), state.supply()));
        let [first, second] = &view.prepared;
        let counted =
            |counter: &dyn Fn(&dynemix::minting::checks::PrepareCounters) -> u64| counter(first) + counter(second);
        let blocks = blocks(&view.records, header.accounts).map_err(|error| error.to_string())?;
        let lost = |(first, last): (&Block, &Block)| (last.slot - first.slot) - (last.height - first.height);
        Ok(EngineSummary {
            height: header.height,
            slots_lost: blocks.first().zip(blocks.last()).map_or(0, lost),
            accounts: header.accounts,
            state_root: header.root,
            supply_conserved: supply == u128::from(SUPPLY_GENESIS),
            bytes_per_account: layout.bytes() as f64 / header.accounts.max(1) as f64,
            quilt_bytes: blocks.iter().map(|block| block.quilt_bytes).sum(),
            block_transactions_max: blocks.iter().map(|block| block.transactions).max().unwrap_or(0),
            signatures: counted(&|counters| counters.signatures.load(Ordering::Relaxed)),
            batches: counted(&|counters| counters.batches.load(Ordering::Relaxed)),
            verify_s: counted(&|counters| counters.verify_micros.load(Ordering::Relaxed)) as f64 / 1e6,
        })
    }
}

/// A block that has taken effect on accounts.
struct Block {
    height: u64,
    slot: u64,
    transactions: u64,
    quilt_bytes: u64,
}

/// Blocks of the log that have transactions; a sender has one of each.
fn blocks(records: &dynemix_storage::Records, accounts: u64) -> Result<Vec<Block>, Box<dyn std::error::Error>> {
    let (mut blocks, mut quilt) = (Vec::new(), Quilt::default());
    for height in records.first().max(1)..=records.last() {
        let payload = records.read(height)?;
        let record = BlockRecord::decode(&payload)?;
        quilt.decode_into(record.quilt, accounts as usize)?;
        let (transactions, quilt_bytes) = (quilt.delta.debits.len() as u64, record.quilt.len() as u64);
        if transactions > 0 {
            blocks.push(Block { height, slot: quilt.slot, transactions, quilt_bytes });
        }
    }
    Ok(blocks)
}
