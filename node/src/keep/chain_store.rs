//! The chain on disk: accounts in the store's image, final blocks in its log, the system in a file beside each
//! checkpoint.

use super::mapped::{MappedMemory, regions};
use super::open::OpenError;
use super::record::{BlockRecord, NoBlock};
use super::sealed::{self, SealedError, SealedKind, failed};
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Key, Sig, VoteKey};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::tables::System;
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::foreign::PatchFault;
use dynemix_engine::rules::next::Next;
use dynemix_engine::vote::signing::Signing;
use dynemix_storage::{Disk, OpenedStore, Store, StoreError, StoreOptions};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// Final blocks that a start reads back, for those who catch up.
const FINALS_READ: u64 = 32;

/// Why a chain cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ChainStoreError {
    /// The store cannot be made, opened or read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The accounts of genesis.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The system beside a checkpoint.
    #[error(transparent)]
    System(#[from] SealedError),
    /// A record of the log that is no final block.
    #[error("record {number} of the log: {source}")]
    Record {
        /// Number of the record: the block's height.
        number: u64,
        /// What is wrong.
        source: NoBlock,
    },
    /// A record that does not lead where its certificate says.
    #[error(
        "the log's record {number} does not lead to its own master-block; this computer's memory or disk may be failing"
    )]
    Leads {
        /// Number of the record: the block's height.
        number: u64,
    },
    /// A record whose checksums are right and whose content is none that a node would have written.
    #[error(
        "the log's record {number} holds a block of shard {shard} that cannot stand at this height: {fault}. No node \
         of this chain has written that; keep the directory for whoever looks into it, and begin anew with an empty \
         one and network.trust"
    )]
    Foreign {
        /// Number of the record: the block's height.
        number: u64,
        /// Which shard's block.
        shard: usize,
        /// The rule that it breaks.
        fault: PatchFault,
    },
    /// The system of a checkpoint cannot be read.
    #[error("{} holds no system of this program; fetch a snapshot, or begin anew", .0.display())]
    NoSystem(PathBuf),
}

/// What a chain begins with.
pub struct Genesis {
    /// Parameters and identity of the chain.
    pub chain: Chain,
    /// Accounts in order of index.
    pub accounts: Vec<(Key, u64)>,
    /// Who mints at first.
    pub minters: Vec<GenesisMinter>,
    /// Accounts that the state has room for.
    pub accounts_max: u32,
}

/// An open chain.
pub struct OpenedChain {
    /// The store that it is kept in.
    pub store: Store,
    /// Accounts after the newest record.
    pub state: State<MappedMemory>,
    /// The image, mapped a second time.
    pub behind: State<MappedMemory>,
    /// The system after the newest record.
    pub system: System,
    /// The newest final blocks, newest last.
    pub finals: VecDeque<KeptFinal>,
    /// Why the older image had to be taken, if so.
    pub fell_back: Option<StoreError>,
}

/// The name of a checkpoint's system in a node's directory.
pub fn system_name(record: u64) -> String {
    format!("system.{record}")
}

/// Writes the system of a checkpoint; those that no image needs any more go.
///
/// # Errors
/// Whatever the disk refuses.
pub fn write_system(data: &dyn Disk, chain: &Hash, system: &System, needed: [u64; 2]) -> Result<(), SealedError> {
    let mut payload = Vec::new();
    system.encode(&mut payload);
    sealed::write_whole(data, &system_name(system.height), SealedKind::System, chain, system.height, &payload)?;
    for (name, _) in data.files().map_err(failed(data, ""))? {
        let record = name.strip_prefix("system.").and_then(|record| record.parse::<u64>().ok());
        if record.is_some_and(|record| record != system.height && !needed.contains(&record)) {
            // One that stays is only in the way.
            let _ = data.remove(&name);
        }
    }
    Ok(())
}

/// The folder of a node's directory that its store is in.
pub fn state_folder(data: &dyn Disk) -> Arc<dyn Disk> {
    data.folder("state")
}

/// The shard-blocks that a master-block lists, one place a shard; none if one is missing.
pub fn placed(decided: &Final, blocks: &[Arc<CertifiedBlock>]) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
    let of = |header: &Option<Hash>| match header {
        None => Some(None),
        Some(hash) => blocks.iter().find(|block| block.listed_hash() == *hash).cloned().map(Some),
    };
    decided.value.headers.iter().map(of).collect()
}

/// Opens the chain of a node's directory, or begins it from genesis.
///
/// # Errors
/// Whatever is damaged, of another chain, or in use.
pub fn open(data: &dyn Disk, genesis: &Genesis, options: StoreOptions) -> Result<OpenedChain, ChainStoreError> {
    let chain = &genesis.chain;
    let disk = state_folder(data);
    let made = disk.make();
    made.map_err(|source| StoreError::Io { action: "create", path: disk.path().to_owned(), source })?;
    let specs = regions(StateLayout::new(genesis.accounts_max));
    let first = System::genesis(chain, &genesis.minters);
    if !Store::exists(&*disk)? {
        let pool = first.pools.sum();
        let supply = genesis.accounts.iter().map(|account| account.1).sum::<u64>() + pool;
        let fill = |image| {
            let memory = MappedMemory::new(image);
            let state = State::genesis_with_pool(memory, &genesis.accounts, supply, pool, HashSeed::random())
                .map_err(OpenError::from)?;
            Ok::<_, OpenError>(state.into_memory().into_image())
        };
        Store::create(&disk, chain.genesis_hash, &specs, options, 0, false, fill)?;
    }
    // Where the system beside the newest image is damaged the older image serves: the log leads on from there by the same
    // rules, and each of its blocks must come of them.
    let beside =
        |record: u64| if record == 0 { Ok(()) } else { read_system(data, &chain.genesis_hash, record).map(drop) };
    let beside = |record: u64| beside(record).map_err(|error| error.into_damage(data, record));
    let OpenedStore { store, image, image_record, fell_back } =
        Store::open_beside(disk, chain.genesis_hash, Some(&specs), options, beside)?;
    let behind = State::reopen(MappedMemory::new(store.keeper().map_again(&image)?));
    let mut memory = MappedMemory::new(image);
    memory.make_balances_resident();
    let mut state = State::reopen(memory);
    state.update_root();
    let mut system = if image_record == 0 { first } else { read_system(data, &chain.genesis_hash, image_record)? };
    let records = store.records();
    let last = store.last_record();
    let mut finals = VecDeque::new();
    let oldest = records.first().max(last.saturating_sub(FINALS_READ) + 1);
    for number in oldest..=image_record {
        finals.push_back(read_final_block(&records.read(number)?, number)?);
    }
    for number in image_record + 1..=last {
        let (decided, blocks) = read_final_block(&records.read(number)?, number)?;
        let of_shards = placed(&decided, &blocks).ok_or(ChainStoreError::Leads { number })?;
        check_blocks(chain, &state, &system, &of_shards).map_err(|(shard, fault)| ChainStoreError::Foreign {
            number,
            shard,
            fault,
        })?;
        let next = Next::new(chain, &state, &system, &of_shards);
        if next.value(&system, &of_shards) != *decided.value {
            return Err(ChainStoreError::Leads { number });
        }
        state.apply(&next.quilt).map_err(|_| ChainStoreError::Leads { number })?;
        state.update_root();
        system = next.finalized(decided.hash);
        finals.push_back((decided, blocks));
        if finals.len() > FINALS_READ as usize {
            finals.pop_front();
        }
    }
    assert_eq!(system.height, last, "the system stands at another height than the log ends at");
    let together = last == image_record || state.header().height == system.height;
    assert!(together, "after {last} records the accounts stand at height {}", state.header().height);
    assert_eq!(finals.len() as u64, last + 1 - oldest, "the newest final blocks are remembered, each once");
    Ok(OpenedChain { store, state, behind, system, finals, fell_back })
}

/// Checks what was checked of each shard-block before it counted as held, but for signatures: what follows from blocks
/// is computed from checked ones alone. Where the first fault is.
fn check_blocks(
    chain: &Chain,
    state: &State<MappedMemory>,
    system: &System,
    blocks: &[Option<Arc<CertifiedBlock>>],
) -> Result<(), (usize, PatchFault)> {
    let view = View { chain, state, system, signing: &Believed, genuine: &|_| true, judged: &[] };
    let shards = system.committee.shards.len();
    if blocks.len() != shards {
        return Err((blocks.len().min(shards), PatchFault::Header));
    }
    for (shard, block) in blocks.iter().enumerate() {
        let Some(block) = block else { continue };
        if block.block.shard as usize != shard || block.height != system.height + 1 {
            return Err((shard, PatchFault::Header));
        }
        view.patch_holds(&block.block, &block.patch).map_err(|fault| (shard, fault))?;
    }
    Ok(())
}

/// Signatures in the own log: they were verified before they came there, and cost more than all else of a start.
struct Believed;

impl Signing for Believed {
    fn sign(&self, _: &Hash) -> Sig {
        [0; 48]
    }

    fn verify(&self, _: u32, _: &Hash, _: &Sig) -> bool {
        true
    }

    fn aggregate(&self, _: &[Sig]) -> Sig {
        [0; 48]
    }

    fn verify_aggregate(&self, _: &[u32], _: &Hash, _: &Sig) -> bool {
        true
    }

    fn possession_holds(&self, _: &Key, _: &VoteKey, _: &Sig) -> bool {
        true
    }

    fn learn(&self, _: u32, _: &VoteKey) {}
}

impl ChainStoreError {
    /// What is wrong with the system of a record, as the store says it of its own files.
    fn into_damage(self, data: &dyn Disk, record: u64) -> StoreError {
        let path = data.path().join(system_name(record));
        match self {
            ChainStoreError::Store(error) => error,
            ChainStoreError::System(SealedError::Io { path, source }) => {
                StoreError::Io { action: "read", path, source }
            }
            ChainStoreError::System(SealedError::Damaged { path, what }) => {
                StoreError::Damaged { path, offset: 0, what: what.to_owned() }
            }
            other => StoreError::Damaged { path, offset: 0, what: other.to_string() },
        }
    }
}

fn read_system(data: &dyn Disk, chain: &Hash, record: u64) -> Result<System, ChainStoreError> {
    let name = system_name(record);
    let none = || ChainStoreError::NoSystem(data.path().join(&name));
    let (_, payload) = sealed::read(data, &name, SealedKind::System, chain)?.ok_or_else(none)?;
    System::decode(&payload).ok().filter(|system| system.height == record).ok_or_else(none)
}

/// The final block of a record.
///
/// # Errors
/// A record of another shape.
pub fn read_final_block(bytes: &[u8], number: u64) -> Result<KeptFinal, ChainStoreError> {
    let master = BlockRecord::decode(bytes).and_then(|record| record.master());
    master.map_err(|source| ChainStoreError::Record { number, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;
    use crate::keep::record::encode_master;
    use dynemix_engine::base::ids::Endpoint;
    use dynemix_engine::base::parameters::{ChainParameters, DYNE};
    use dynemix_engine::chain::block::{ShardBlock, Value};
    use dynemix_engine::chain::patch::Patch;
    use dynemix_engine::committee::statement::{Certificate, SeatSet};
    use dynemix_engine::transaction::item::Items;
    use dynemix_storage::MemoryDisk;
    use ed25519_dalek::SigningKey;

    fn genesis() -> Genesis {
        let key = |number: u8| SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes();
        let accounts: Vec<(Key, u64)> = (1..=8).map(|number| (key(number), 1_000 * DYNE)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake: 500 * DYNE,
            key: Box::new([account as u8 + 1; 96]),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..4).map(minter).collect();
        let chain = Chain::with_minters(ChainParameters::default(), &accounts, &minters);
        Genesis { chain, accounts, minters, accounts_max: 1_000 }
    }

    /// A log whose first record, right in every checksum, has this block.
    fn opened_over(block: ShardBlock, patch: Vec<u8>) -> ChainStoreError {
        let (disk, genesis) = (MemoryDisk::new(), genesis());
        let options = StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() };
        let open = || open(&disk, &genesis, options);
        let OpenedChain { mut store, system, .. } = open().unwrap();
        let hash = block.hash();
        let certificate = || Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let (certified, items) = (certificate(), Items::default());
        let block = Arc::new(CertifiedBlock { height: 1, block, hash, certificate: certified, items, patch });
        let value = Value {
            height: 1,
            parent: system.hash,
            slot: block.block.slot,
            headers: vec![Some(hash)],
            quilt: [0; 32],
            parent_root: block.block.parent_root,
            system: [0; 32],
            seed: [0; 32],
            committee_next: [0; 32],
        };
        let hash = value.hash();
        let decided = Final { attempt: 2, value: Arc::new(value), hash, certificate: certificate() };
        let mut record = Vec::new();
        encode_master(&mut record, &decided, &[], &[block], &[]).unwrap();
        store.append(&record).unwrap();
        store.sync().unwrap();
        drop(store);
        open().err().expect("it is no block of this chain")
    }

    #[test]
    fn a_record_of_wrong_content_is_an_error_that_says_where_and_no_panic() {
        let header = |patch: &[u8]| ShardBlock {
            parent_root: [0; 32],
            slot: 1,
            shard: 0,
            transactions: 0,
            bytes: 0,
            transactions_root: [0; 32],
            patch_hash: Patch::hash(patch),
        };
        let garbage = vec![7; 100];
        let wrong = [
            (header(&garbage), garbage.clone()),
            (header(b"another"), garbage),
            (ShardBlock { slot: 0, ..header(&[]) }, Vec::new()),
            (ShardBlock { shard: 3, ..header(&[]) }, Vec::new()),
        ];
        for (block, patch) in wrong {
            let error = opened_over(block, patch);
            let said = error.to_string();
            assert!(matches!(error, ChainStoreError::Foreign { number: 1, shard: 0, .. }), "{said}");
            assert!(said.contains("record 1") && said.contains("network.trust"), "{said}");
            assert_eq!(exit::code(&error), exit::DAMAGED);
        }
    }
}
