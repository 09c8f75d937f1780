//! What can go wrong, with file and place.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
    /// There is no store.
    #[error("{} holds no store", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// What may be a store without its superblock.
    #[error("{} holds '{name}', perhaps of a store that lost its superblock; move it away to begin anew", path.display())]
    Remains {
        /// The directory.
        path: PathBuf,
        /// The file.
        name: String,
    },
    /// Another process has the store open.
    #[error("{} is in use by another process; stop it first", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is not ours, not whole, or changed.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A file of another format version.
    #[error("{} has format version {found}, this program reads {expected}; use the program that wrote it, or restore a snapshot", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A store of another chain.
    #[error("{} belongs to another chain", path.display())]
    WrongChain {
        /// The file.
        path: PathBuf,
    },
    /// The disk is nearly full: nothing was written.
    #[error("{} has {free} bytes free and must keep {watermark}; free some space and start again", path.display())]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that are kept free.
        watermark: u64,
    },
    /// The store may not grow further: nothing was written.
    #[error("{} takes {used} bytes of at most {limit} and nothing more can be pruned; raise the limit", path.display())]
    Limit {
        /// The directory.
        path: PathBuf,
        /// Bytes of all files.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A record that is not there (any more).
    #[error("record {number} is not kept; there are {first} to {last}")]
    NoRecord {
        /// Asked for.
        number: u64,
        /// The oldest kept.
        first: u64,
        /// The newest.
        last: u64,
    },
    /// A write or sync has failed before.
    #[error("the store has failed before and must be opened again")]
    Broken,
}

impl StoreError {
    /// Wraps the system's answer.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { action, path, source }
    }

    /// Whether a file is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether bytes on the disk are not what was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Damaged { .. })
    }

    /// Whether there is no room: the disk's own word, the watermark or the limit.
    pub fn is_full(&self) -> bool {
        match self {
            StoreError::DiskFull { .. } | StoreError::Limit { .. } => true,
            StoreError::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}
