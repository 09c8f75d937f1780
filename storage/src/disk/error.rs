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
        /// Where the store is, or should be.
        path: PathBuf,
    },
    /// What may be a store without its superblock.
    #[error(
        "{} holds '{name}', perhaps of a store that lost its superblock; move it away to begin anew",
        path.display()
    )]
    Remains {
        /// Where the store is, or should be.
        path: PathBuf,
        /// What was found there, by its name.
        name: String,
    },
    /// Another process has the store open.
    #[error("{} is in use by another process; stop it first", path.display())]
    Locked {
        /// Where the store is, or should be.
        path: PathBuf,
    },
    /// A file that is not ours, not whole, or changed.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Offset of the first byte that is wrong, as far as it is known.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// A file of another format version.
    #[error(
        "{} has format version {found}, this program reads {expected}; use the program that wrote it, \
         or restore a snapshot",
        path.display()
    )]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// In the file.
        found: u32,
        /// The version that this program reads and writes.
        expected: u32,
    },
    /// A store of another chain.
    #[error("{} belongs to another chain", path.display())]
    WrongChain {
        /// Path of the file.
        path: PathBuf,
    },
    /// The disk is nearly full: nothing was written.
    #[error("{} has {free} bytes free and must keep {watermark}; free some space and start again", path.display())]
    DiskFull {
        /// Where the store is, or should be.
        path: PathBuf,
        /// Bytes that the file system still has for us.
        free: u64,
        /// Bytes that are kept free.
        watermark: u64,
    },
    /// The store may not grow further: nothing was written.
    #[error("{} takes {used} bytes of at most {limit} and nothing more can be pruned; raise the limit", path.display())]
    Limit {
        /// Where the store is, or should be.
        path: PathBuf,
        /// Bytes of all files.
        used: u64,
        /// Bytes that all files together may take.
        limit: u64,
    },
    /// A record whose length its head cannot say: nothing was written.
    #[error("record {number} would have {bytes} bytes, more than a record can have")]
    TooLong {
        /// Number of the record.
        number: u64,
        /// Bytes of its payload.
        bytes: u64,
    },
    /// A record that is not there (any more).
    #[error("record {number} is not kept; there are {first} to {last}")]
    NoRecord {
        /// Number of the record that was asked for.
        number: u64,
        /// The oldest kept.
        first: u64,
        /// Number of the newest record that is synced.
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
