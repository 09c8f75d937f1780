//! Snapshots as directories: `manifest`, and `chunk.00000`, `chunk.00001`, ... Every chunk is checked against the
//! manifest's node for it, the manifest's nodes against the state's root; so a directory may come from anyone.

use super::mapped::{MappedMemory, regions};
use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::accounts::snapshot::{MANIFEST_BYTES_MAX, Manifest, SnapshotError};
use dynemix_engine::accounts::state::{GenesisError, State};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_storage::{Disk, Store, StoreError, StoreOptions, make_directory};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
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
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
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

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotFailure {
    let path = path.to_owned();
    move |source| SnapshotFailure::Io { action, path, source }
}

fn refused(path: &Path) -> impl FnOnce(SnapshotError) -> SnapshotFailure {
    let path = path.to_owned();
    move |source| SnapshotFailure::Refused { path, source }
}

/// Where a chunk stands in a snapshot's directory.
pub fn chunk_path(directory: &Path, chunk: usize) -> PathBuf {
    directory.join(format!("chunk.{chunk:05}"))
}

fn manifest_path(directory: &Path) -> PathBuf {
    directory.join("manifest")
}

/// Reads and checks the manifest of a snapshot.
///
/// # Errors
/// No manifest, or one that does not lead to its root.
pub fn read_manifest(directory: &Path) -> Result<Manifest, SnapshotFailure> {
    let path = manifest_path(directory);
    let file = File::open(&path).map_err(failed("open", &path))?;
    let mut bytes = Vec::new();
    file.take(MANIFEST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
    Manifest::decode(&bytes).map_err(refused(&path))
}

/// Reads a chunk, or as much of it as is more than it may have.
fn read_chunk(directory: &Path, manifest: &Manifest, chunk: usize) -> Result<Vec<u8>, SnapshotFailure> {
    let path = chunk_path(directory, chunk);
    let file = File::open(&path).map_err(failed("open", &path))?;
    let expected = manifest.chunk_bytes(chunk);
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(expected as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
    Ok(bytes)
}

/// Writes a file under another name, syncs it, and renames it: under its own name it is always whole.
fn write_whole(path: &Path, parts: &[&[u8]]) -> Result<(), SnapshotFailure> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        parts.iter().try_for_each(|bytes| file.write_all(bytes))?;
        file.sync_data()?;
        fs::rename(&part, path)
    };
    write().map_err(failed("write", path))
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
    directory: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = Manifest::of(state, chain);
    make_directory(directory).map_err(failed("create", directory))?;
    if manifest_path(directory).exists() {
        let there = read_manifest(directory)?;
        if there != manifest {
            return Err(SnapshotFailure::Occupied { path: directory.to_owned(), height: there.height });
        }
    } else {
        write_whole(&manifest_path(directory), &[&manifest.encode()])?;
    }
    let columns = state.columns();
    let (mut done, mut resumed) = (0, 0);
    for chunk in 0..manifest.nodes.len() {
        let path = chunk_path(directory, chunk);
        let whole = path.exists() && manifest.verify_chunk(chunk, &read_chunk(directory, &manifest, chunk)?).is_ok();
        if whole {
            resumed += 1;
        } else {
            let accounts = manifest.chunk_accounts(chunk);
            let (keys, hot) = (&columns.key[accounts.clone()], &columns.hot[accounts]);
            manifest.verify_columns(chunk, keys, hot).map_err(refused(&path))?;
            write_whole(&path, &[bytemuck::cast_slice(keys), bytemuck::cast_slice(hot)])?;
        }
        done += manifest.chunk_bytes(chunk) as u64;
        progress(done, manifest.bytes());
    }
    assert_eq!(done, manifest.bytes(), "the chunks of a snapshot make up all of its accounts");
    File::open(directory).and_then(|names| names.sync_all()).map_err(failed("sync", directory))?;
    Ok(SnapshotInfo::of(&manifest, resumed))
}

/// Checks every chunk of a snapshot, and its root against `root` if one is given.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    directory: &Path,
    root: Option<&Hash>,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = read_manifest(directory)?;
    check_root(&manifest, root)?;
    let mut done = 0;
    for chunk in 0..manifest.nodes.len() {
        manifest
            .verify_chunk(chunk, &read_chunk(directory, &manifest, chunk)?)
            .map_err(refused(&chunk_path(directory, chunk)))?;
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

/// The snapshots in the directories below `directory`, and in itself, newest first. Directories that hold none are left
/// out.
///
/// # Errors
/// When the directory cannot be listed.
pub fn list(directory: &Path) -> Result<Vec<Listed>, SnapshotFailure> {
    let mut directories = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
        directories.push(entry.map_err(failed("list", directory))?.path());
    }
    let mut listed: Vec<Listed> = directories
        .into_iter()
        .filter(|directory| manifest_path(directory).is_file())
        .map(|directory| {
            let manifest = read_manifest(&directory)?;
            let there = |chunk: &usize| {
                fs::metadata(chunk_path(&directory, *chunk))
                    .is_ok_and(|file| file.len() == manifest.chunk_bytes(*chunk) as u64)
            };
            let chunks_there = (0..manifest.nodes.len()).filter(there).count();
            Ok(Listed { info: SnapshotInfo::of(&manifest, 0), chunks_there, directory })
        })
        .collect::<Result<_, SnapshotFailure>>()?;
    listed.sort_by_key(|listed| std::cmp::Reverse(listed.info.height));
    Ok(listed)
}

/// Makes a store of a snapshot. Every chunk is checked before it is taken; what an interrupted try has copied is
/// checked again instead of read again. `root` is the root that the caller trusts.
///
/// # Errors
/// A store that exists, a chunk or root that is wrong, or whatever the disk refuses.
pub fn restore(
    directory: &Path,
    disk: Arc<dyn Disk>,
    accounts_max: Option<u32>,
    root: Option<&Hash>,
    options: StoreOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<SnapshotInfo, SnapshotFailure> {
    let manifest = read_manifest(directory)?;
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
                let bytes = read_chunk(directory, &manifest, chunk)?;
                let (keys, hot) =
                    manifest.verify_chunk(chunk, &bytes).map_err(refused(&chunk_path(directory, chunk)))?;
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
            return Err(SnapshotFailure::Refused { path: manifest_path(directory), source: SnapshotError::Root });
        }
        written.finish()?;
        Ok(state.into_memory().into_image())
    };
    Store::create(&disk, manifest.chain, &specs, options, manifest.height, true, fill)?;
    Ok(SnapshotInfo::of(&manifest, resumed))
}
