//! Removing a devnet: what `up` has made, and nothing else.

use super::hints::command;
use super::layout::{Devnet, LayoutError};
use super::lock::{DevnetLock, LockError, lock_path};
use super::stop::running;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files of a devnet beside its nodes' directories; the one that it is known by goes last.
const FILES: [&str; 4] = ["genesis.toml", "env", "stop", "devnet.json"];

/// Why a devnet is not removed.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// An `up` has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is none, or a file of it cannot be removed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Nodes run that no `up` has.
    #[error("{} of its nodes still run, though no `devnet up` does; `{}` stops them", .1, command("devnet down", .0))]
    Running(PathBuf, usize),
}

/// Removes a devnet of which nothing runs; what is left in its directory since somebody else has put it there.
///
/// # Errors
/// When there is none, something of it runs, or the system refuses.
pub fn reset(directory: &Path) -> Result<Vec<PathBuf>, ResetError> {
    match Devnet::read(directory) {
        // What a damaged one has is still there to be removed.
        Err(LayoutError::Form(_)) if directory.join("genesis.toml").exists() => {}
        devnet => drop(devnet?),
    }
    let _lock = DevnetLock::take(directory)?;
    let running = running(directory).len();
    if running > 0 {
        return Err(ResetError::Running(directory.to_owned(), running));
    }
    let nodes: Vec<PathBuf> = entries(directory)?.into_iter().filter(|path| is_node(path)).collect();
    clear(directory)?;
    let mut left = Vec::new();
    for path in entries(directory)?.into_iter().filter(|path| *path != lock_path(directory)) {
        // Of a node's directory that was ours it is what lies in it.
        if nodes.contains(&path) { left.extend(entries(&path)?) } else { left.push(path) }
    }
    remove_file(&lock_path(directory))?;
    // It stays where somebody else has something in it.
    let _ = fs::remove_dir(directory);
    Ok(left)
}

/// Removes what belongs to a devnet that this process has.
///
/// # Errors
/// What the system refuses.
pub fn clear(directory: &Path) -> Result<(), LayoutError> {
    for node in entries(directory)?.into_iter().filter(|path| is_node(path)) {
        for file in ["node.toml", "screen.log", "keys/minting.json"] {
            remove_file(&node.join(file))?;
        }
        let data = node.join("data");
        if data.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            fs::remove_dir_all(&data).map_err(|source| LayoutError::Io { path: data, source })?;
        }
        // Those that hold something else stay.
        let _ = fs::remove_dir(node.join("keys"));
        let _ = fs::remove_dir(&node);
    }
    FILES.iter().try_for_each(|name| remove_file(&directory.join(name)))
}

/// Whether that is a node's directory: by its name and by what only `up` puts there.
fn is_node(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let numbered = name.strip_prefix("node").is_some_and(|number| number.len() > 1 && number.parse::<u32>().is_ok());
    numbered && path.symlink_metadata().is_ok_and(|found| found.is_dir()) && path.join("node.toml").exists()
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, LayoutError> {
    let read = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.map_err(|source| LayoutError::Io { path: directory.to_owned(), source })
}

/// What is not there is removed; and a directory in a file's place is somebody else's.
const LEFT: [io::ErrorKind; 3] = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::IsADirectory];

fn remove_file(path: &Path) -> Result<(), LayoutError> {
    match fs::remove_file(path) {
        Err(source) if !LEFT.contains(&source.kind()) => Err(LayoutError::Io { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}
