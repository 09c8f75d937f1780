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
    #[error("{} has format version {found}, this program reads {expected}", path.display())]
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

    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), offset, what: what.into() }
    }
}
