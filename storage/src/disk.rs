//! What the store asks of a disk: one flat directory of files. Two answer: [`RealDisk`], and [`MemoryDisk`] which can
//! crash, tear, fail and flip bits on demand.

mod memory;
mod real;

pub use memory::{CrashChoice, DiskFault, DiskOp, MemoryDisk};
pub use real::{RealDisk, make_directory};

use crate::StoreError;
use memmap2::MmapMut;
use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of files. What is promised after a power cut: the names as of the last [`Disk::sync_names`], the bytes
/// and length of each file as of its last [`DiskFile::sync`]; later changes may be there or not, sector by sector.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// Makes an empty file, or empties it.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing whatever had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Names of all files and the bytes that each takes.
    fn files(&self) -> io::Result<Vec<(String, u64)>>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Keeps every other process out until the guard is dropped.
    fn lock(&self) -> Result<Box<dyn Any + Send + Sync>, StoreError>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file at least so long, zeros at its end, with room on the disk for all of it.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Cuts the file to this length.
    fn shorten(&self, bytes: u64) -> io::Result<()>;
    /// Makes bytes and length durable. An error is final: what was not written may be gone.
    fn sync(&self) -> io::Result<()>;
    /// The first `bytes` bytes in memory, private to the caller: nothing written there reaches the file.
    fn map(&self, bytes: u64) -> io::Result<Mapping>;
}

/// A private view of a file.
pub struct Mapping {
    pub(crate) map: MmapMut,
    /// Whether a page that is given back shows the file again.
    pub(crate) of_file: bool,
}

/// A file with its path, so that every error names it.
#[derive(Clone)]
pub(crate) struct NamedFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
}

impl NamedFile {
    pub(crate) fn create(disk: &dyn Disk, name: &str, bytes: u64) -> Result<NamedFile, StoreError> {
        let path = disk.path().join(name);
        let file = NamedFile { file: disk.create(name).map_err(StoreError::io("create", &path))?, path };
        file.reserve(bytes)?;
        Ok(file)
    }

    pub(crate) fn open(disk: &dyn Disk, name: &str) -> Result<NamedFile, StoreError> {
        let path = disk.path().join(name);
        Ok(NamedFile { file: disk.open(name).map_err(StoreError::io("open", &path))?, path })
    }

    pub(crate) fn bytes(&self) -> Result<u64, StoreError> {
        self.file.bytes().map_err(StoreError::io("inspect", &self.path))
    }

    pub(crate) fn reserve(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.reserve(bytes).map_err(StoreError::io("reserve space for", &self.path))
    }

    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.file.read(offset, bytes).map_err(StoreError::io("read", &self.path))
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write(offset, bytes).map_err(StoreError::io("write", &self.path))
    }

    pub(crate) fn shorten(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.shorten(bytes).map_err(StoreError::io("shorten", &self.path))
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync().map_err(StoreError::io("sync", &self.path))
    }

    pub(crate) fn map(&self, bytes: u64) -> Result<Mapping, StoreError> {
        self.file.map(bytes).map_err(StoreError::io("map", &self.path))
    }

    pub(crate) fn damaged(&self, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), offset, what: what.into() }
    }
}

pub(crate) fn rename(disk: &dyn Disk, from: &str, to: &str) -> Result<(), StoreError> {
    disk.rename(from, to).map_err(StoreError::io("rename", &disk.path().join(from)))
}

pub(crate) fn remove(disk: &dyn Disk, name: &str) -> Result<(), StoreError> {
    disk.remove(name).map_err(StoreError::io("remove", &disk.path().join(name)))
}

pub(crate) fn sync_names(disk: &dyn Disk) -> Result<(), StoreError> {
    disk.sync_names().map_err(StoreError::io("sync", disk.path()))
}

pub(crate) fn files(disk: &dyn Disk) -> Result<Vec<(String, u64)>, StoreError> {
    disk.files().map_err(StoreError::io("list", disk.path()))
}
