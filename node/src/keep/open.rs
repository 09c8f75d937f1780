//! The accounts of a store, brought up to date from the log: for those who look at it, and for the replica.

use super::mapped::{MappedMemory, regions};
use super::record::{BlockRecord, NoBlock};
use dynemix_engine::accounts::delta::DeltaError;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::{ApplyError, GenesisError, State};
use dynemix_storage::{Disk, OpenedStore, Store, StoreError, StoreOptions};
use std::sync::Arc;

/// Why a state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be made, opened or read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The genesis accounts are wrong.
    #[error("genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// The log does not continue the image.
    #[error("{0}")]
    Replay(#[from] ReplayError),
}

/// Why a record of the log does not continue the state: a fault in this program or in this computer's memory.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be made, opened or read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Not a block.
    #[error("the log's record {number}: {source}")]
    Record {
        /// Number of the record: the block's height.
        number: u64,
        /// What is wrong with it.
        source: NoBlock,
    },
    /// Its quilt is malformed.
    #[error("the log's record {number} holds no quilt: {source}")]
    Quilt {
        /// Number of the record: the block's height.
        number: u64,
        /// What is wrong with it.
        source: DeltaError,
    },
    /// Its quilt does not fit the state.
    #[error("the log's record {number} does not apply: {source}")]
    Apply {
        /// Number of the record: the block's height.
        number: u64,
        /// What is wrong with it.
        source: ApplyError,
    },
    /// The state that it leads to is another one.
    #[error(
        "the state at height {height} has another root than the one that was sealed; this computer's memory may be \
         failing"
    )]
    Root {
        /// Height of the state before the record.
        height: u64,
    },
}

/// An open state.
pub struct OpenedState {
    /// The store that it is kept in.
    pub store: Store,
    /// The state after the newest record.
    pub state: State<MappedMemory>,
    /// The state that the image file holds, mapped a second time, for the replica.
    pub behind: State<MappedMemory>,
    /// Why the older image had to be taken, if so.
    pub fell_back: Option<StoreError>,
}

/// Applies the log's record `number` to the state before it. Where the state's root is known, it must be the one that
/// the record's quilt was made for.
///
/// # Errors
/// A record that does not fit.
pub fn apply_record(
    state: &mut State<MappedMemory>,
    quilt: &mut Quilt,
    number: u64,
    payload: &[u8],
) -> Result<(), ReplayError> {
    let record = BlockRecord::decode(payload).map_err(|source| ReplayError::Record { number, source })?;
    let entries_max = state.columns().hot.len();
    quilt.decode_into(record.quilt, entries_max).map_err(|source| ReplayError::Quilt { number, source })?;
    if state.root_known() && quilt.parent_root != state.header().root {
        return Err(ReplayError::Root { height: state.header().height });
    }
    let before = state.header().height;
    state.apply(quilt).map_err(|source| ReplayError::Apply { number, source })?;
    assert_eq!(state.header().height, before + 1, "a record leads from one height to the next");
    Ok(())
}

/// Opens a store to look at its accounts: the log's quilts are replayed, nothing of what consensus keeps is.
/// `accounts_max` is what it must have been made for, if that is known.
///
/// Roots are computed twice only, before the last record and after it: the last one's parent is then known to be right,
/// and with it all before.
///
/// # Errors
/// Whatever is damaged or of another chain, or a log that does not continue the image.
pub fn open(
    disk: Arc<dyn Disk>,
    chain: [u8; 32],
    accounts_max: Option<u32>,
    options: StoreOptions,
) -> Result<OpenedState, OpenError> {
    let specs = accounts_max.map(|accounts_max| regions(StateLayout::new(accounts_max)));
    let OpenedStore { store, image, image_record, fell_back } = Store::open(disk, chain, specs.as_deref(), options)?;
    let behind = State::reopen(MappedMemory::new(store.keeper().map_again(&image)?));
    let mut memory = MappedMemory::new(image);
    memory.make_balances_resident();
    let mut state = State::reopen(memory);
    let records = store.records();
    let last = store.last_record();
    let before = state.header().height;
    let mut quilt = Quilt::default();
    for number in image_record + 1..=last {
        if number == last {
            state.update_root();
        }
        apply_record(&mut state, &mut quilt, number, &records.read(number).map_err(ReplayError::Store)?)?;
    }
    state.update_root();
    let stepped = state.header().height - before;
    assert_eq!(stepped, last - image_record, "each record behind the image was applied, and once");
    Ok(OpenedState { store, state, behind, fell_back })
}
