//! Snapshots as directories: `manifest`, and `chunk.00000`, `chunk.00001`, ... Every chunk is checked against the
//! manifest's node for it, the manifest's nodes against the state's root; so a directory may come from anyone.

use super::mapped::{MappedMemory, regions};
use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::snapshot::{MANIFEST_BYTES_MAX, Manifest, SnapshotError};
use dynemix_engine::accounts::state::{GenesisError, State};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_storage::{Disk, Store, StoreError, StoreOptions};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a snapshot cannot be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFailure {
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", path.display())]
    Refused {
        /// Which file or directory.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// The directory holds another snapshot already.
    #[error("{} holds a snapshot of height {height} with another root; choose another directory", path.display())]
    Occupied {
        /// Which file or directory.
        path: PathBuf,
        /// Height of the snapshot that is there.
        height: u64,
    },
    /// The snapshot is not of the state that was asked for.
    #[error("the snapshot's root is {found}, not {expected}")]
    Root {
        /// In the manifest.
        found: String,
        /// The root that was asked for.
        expected: String,
    },
    /// There is a store already.
    #[error("{} holds a store already; a snapshot is restored into an empty directory", path.display())]
    Exists {
        /// Directory that holds the store.
        path: PathBuf,
    },
    /// More accounts than the state is to have room for.
    #[error("the snapshot has {accounts} accounts, the state would have room for {accounts_max}")]
    TooMany {
        /// In the snapshot.
        accounts: u64,
        /// Accounts that the state has room for.
        accounts_max: u32,
    },
    /// A key twice: not a state.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store cannot be made.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The node has stopped.
    #[error("the node stopped before the snapshot was written")]
    Stopped,
}

/// What a snapshot is of.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Height of the state.
    pub height: u64,
    /// Slot of that height's block.
    pub slot: u64,
    /// Accounts in use.
    pub accounts: u64,
    /// Its root, in hexadecimal.
    pub state_root: String,
    /// Chain, in hexadecimal.
    pub chain: String,
    /// How many chunks.
    pub chunks: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Chunks that were there, whole, from an earlier try.
    pub chunks_resumed: usize,
}

impl SnapshotInfo {
    fn of(manifest: &Manifest, chunks_resumed: usize) -> SnapshotInfo {
        let Manifest { height, slot, accounts, .. } = *manifest;
        let (state_root, chain) = (hex::encode(manifest.root), hex::encode(manifest.chain));
        SnapshotInfo {
            height,
            slot,
            accounts,
            state_root,
            chain,
            chunks: manifest.nodes.len(),
            bytes: manifest.bytes(),
            chunks_resumed,
        }
    }
}

/// Of a file in a snapshot's directory; no name: of the directory.
fn failed(action: &'static str, disk: &dyn Disk, name: &str) -> impl FnOnce(io::Error) -> SnapshotFailure {
    let path = if name.is_empty() { disk.path().to_owned() } else { disk.path().join(name) };
    move |source| SnapshotFailure::Io { action, path, source }
}

fn refused(disk: &dyn Disk, name: &str) -> impl FnOnce(SnapshotError) -> SnapshotFailure {
    let path = disk.path().join(name);
    move |source| SnapshotFailure::Refused { path, source }
}

/// The name of a chunk in a snapshot's directory.
pub fn chunk_name(chunk: usize) -> String {
    format!("chunk.{chunk:05}")
}

/// The name of the manifest there.
pub const MANIFEST: &str = "manifest";

/// Reads and checks the manifest of a snapshot; none if there is none.
fn find_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, SnapshotFailure> {
    match disk.read_whole(MANIFEST, MANIFEST_BYTES_MAX as u64 + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let bytes = read.map_err(failed("read", disk, MANIFEST))?;
            Manifest::decode(&bytes).map(Some).map_err(refused(disk, MANIFEST))
        }
    }
}

/// Reads and checks the manifest of a snapshot.
///
/// # Errors
/// No manifest, or one that does not lead to its root.
pub fn read_manifest(disk: &dyn Disk) -> Result<Manifest, SnapshotFailure> {
    let none = || failed("open", disk, MANIFEST)(io::ErrorKind::NotFound.into());
    find_manifest(disk)?.ok_or_else(none)
}

/// Reads a chunk, or as much of it as is more than it may have.
fn read_chunk(disk: &dyn Disk, manifest: &Manifest, chunk: usize) -> Result<Vec<u8>, SnapshotFailure> {
    let name = chunk_name(chunk);
    disk.read_whole(&name, manifest.chunk_bytes(chunk) as u64 + 1).map_err(failed("read", disk, &name))
}

/// Writes a file that is whole under its own name.
fn write_whole(disk: &dyn Disk, name: &str, parts: &[&[u8]]) -> Result<(), SnapshotFailure> {
    disk.replace(name, parts).map(drop).map_err(failed("write", disk, name))
}

/// Writes the snapshot of a state whose tree is up to date. Chunks that an earlier try of the same snapshot has left
/// are kept; the manifest comes first, so that a directory always says what it is to become. `progress` hears bytes
/// done of all.
///
/// # Errors
/// When a file cannot be written, or the directory holds another snapshot.
pub fn create<M: StateMemory>(
    state: &State<M>,
    chain: Hash,
    disk: &dyn Disk,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = Manifest::of(state, chain);
    disk.make().map_err(failed("create", disk, ""))?;
    match find_manifest(disk)? {
        Some(there) if there != manifest => {
            return Err(SnapshotFailure::Occupied { path: disk.path().to_owned(), height: there.height });
        }
        Some(_) => {}
        None => write_whole(disk, MANIFEST, &[&manifest.encode()])?,
    }
    let columns = state.columns();
    let (mut done, mut resumed) = (0, 0);
    for chunk in 0..manifest.nodes.len() {
        let name = chunk_name(chunk);
        let there = disk.open(&name).is_ok();
        let whole = there && manifest.verify_chunk(chunk, &read_chunk(disk, &manifest, chunk)?).is_ok();
        if whole {
            resumed += 1;
        } else {
            let accounts = manifest.chunk_accounts(chunk);
            let (keys, hot) = (&columns.key[accounts.clone()], &columns.hot[accounts]);
            manifest.verify_columns(chunk, keys, hot).map_err(refused(disk, &name))?;
            write_whole(disk, &name, &[bytemuck::cast_slice(keys), bytemuck::cast_slice(hot)])?;
        }
        done += manifest.chunk_bytes(chunk) as u64;
        progress(done, manifest.bytes());
    }
    assert_eq!(done, manifest.bytes(), "the chunks of a snapshot make up all of its accounts");
    disk.sync_names().map_err(failed("sync", disk, ""))?;
    Ok(SnapshotInfo::of(&manifest, resumed))
}

/// Checks every chunk of a snapshot, and its root against `root` if one is given.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    disk: &dyn Disk,
    root: Option<&Hash>,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = read_manifest(disk)?;
    check_root(&manifest, root)?;
    let mut done = 0;
    for chunk in 0..manifest.nodes.len() {
        let bytes = read_chunk(disk, &manifest, chunk)?;
        manifest.verify_chunk(chunk, &bytes).map_err(refused(disk, &chunk_name(chunk)))?;
        done += manifest.chunk_bytes(chunk) as u64;
        progress(done, manifest.bytes());
    }
    assert_eq!(done, manifest.bytes(), "every chunk of a snapshot was checked");
    Ok(SnapshotInfo::of(&manifest, 0))
}

fn check_root(manifest: &Manifest, root: Option<&Hash>) -> Result<(), SnapshotFailure> {
    match root {
        Some(root) if *root != manifest.root => {
            Err(SnapshotFailure::Root { found: hex::encode(manifest.root), expected: hex::encode(root) })
        }
        _ => Ok(()),
    }
}

/// A snapshot among others.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Directory of the snapshot.
    pub directory: PathBuf,
    /// What it is of.
    #[serde(flatten)]
    pub info: SnapshotInfo,
    /// Chunks that are there; all of them in a complete one.
    pub chunks_there: usize,
}

/// The snapshots in the folders of a directory, and in itself, newest first. Folders that hold none are left out.
///
/// # Errors
/// When the directory cannot be listed.
pub fn list(disk: &dyn Disk) -> Result<Vec<Listed>, SnapshotFailure> {
    let mut listed = Vec::from_iter(listed(disk)?);
    for folder in disk.folders().map_err(failed("list", disk, ""))? {
        listed.extend(self::listed(&*disk.folder(&folder))?);
    }
    listed.sort_by_key(|listed| std::cmp::Reverse(listed.info.height));
    Ok(listed)
}

fn listed(disk: &dyn Disk) -> Result<Option<Listed>, SnapshotFailure> {
    let Some(manifest) = find_manifest(disk)? else { return Ok(None) };
    let there = |chunk: &usize| {
        let file = disk.open(&chunk_name(*chunk)).and_then(|file| file.bytes());
        file.is_ok_and(|bytes| bytes == manifest.chunk_bytes(*chunk) as u64)
    };
    let chunks_there = (0..manifest.nodes.len()).filter(there).count();
    Ok(Some(Listed { info: SnapshotInfo::of(&manifest, 0), chunks_there, directory: disk.path().to_owned() }))
}

/// Makes a store of a snapshot. Every chunk is checked before it is taken; what an interrupted try has copied is
/// checked again instead of read again. `root` is the root that the caller trusts.
///
/// # Errors
/// A store that exists, a chunk or root that is wrong, or whatever the disk refuses.
pub fn restore(
    from: &dyn Disk,
    disk: Arc<dyn Disk>,
    accounts_max: Option<u32>,
    root: Option<&Hash>,
    options: StoreOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = read_manifest(from)?;
    check_root(&manifest, root)?;
    if Store::exists(&*disk)? {
        return Err(SnapshotFailure::Exists { path: disk.path().to_owned() });
    }
    // Room for a quarter more accounts, unless told otherwise.
    let accounts_max = accounts_max
        .unwrap_or_else(|| (manifest.accounts + manifest.accounts / 4 + 1024).min(u64::from(u32::MAX)) as u32);
    if manifest.accounts > u64::from(accounts_max) {
        return Err(SnapshotFailure::TooMany { accounts: manifest.accounts, accounts_max });
    }
    let specs = regions(StateLayout::new(accounts_max));
    let mut resumed = 0;
    let fill = |image| {
        let mut memory = MappedMemory::new(image);
        let mut done = 0;
        for chunk in 0..manifest.nodes.len() {
            let accounts = manifest.chunk_accounts(chunk);
            let there = memory.columns();
            let (keys, hot) = (&there.key[accounts.clone()], &there.hot[accounts.clone()]);
            // A first try finds zeros, and need not hash them.
            let begun = keys.last().is_some_and(|key| *key != [0; 32]);
            if begun && manifest.verify_columns(chunk, keys, hot).is_ok() {
                resumed += 1;
            } else {
                let bytes = read_chunk(from, &manifest, chunk)?;
                let (keys, hot) = manifest.verify_chunk(chunk, &bytes).map_err(refused(from, &chunk_name(chunk)))?;
                let filled = (keys.len(), hot.len());
                assert_eq!(filled, (accounts.len(), accounts.len()), "a chunk fills its own accounts and no others");
                memory.write_through(accounts.start, &keys, &hot)?;
            }
            done += manifest.chunk_bytes(chunk) as u64;
            progress(done, manifest.bytes());
        }
        assert_eq!(done, manifest.bytes(), "every account of a snapshot was restored");
        // The disk writes what has come while the index and the tree are made.
        let written = memory.begin_sync();
        let mut state = State::reopen(memory);
        if state.restore(&manifest, HashSeed::random())? != manifest.root {
            return Err(refused(from, MANIFEST)(SnapshotError::Root));
        }
        written.finish()?;
        Ok(state.into_memory().into_image())
    };
    Store::create(&disk, manifest.chain, &specs, options, manifest.height, true, fill)?;
    Ok(SnapshotInfo::of(&manifest, resumed))
}
