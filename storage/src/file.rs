//! A file with its path, so that every error names it.

use crate::StoreError;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a page: headers take one, regions start at one.
pub(crate) const PAGE_BYTES: u64 = 4096;

pub(crate) struct NamedFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl NamedFile {
    /// Makes a new file of `bytes` bytes that the disk has room for.
    pub(crate) fn create(path: &Path, bytes: u64) -> Result<NamedFile, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let file = NamedFile { file: file.map_err(StoreError::io("create", path))?, path: path.to_owned() };
        file.reserve(0, bytes)?;
        Ok(file)
    }

    pub(crate) fn open(path: &Path) -> Result<NamedFile, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(StoreError::io("open", path))?;
        Ok(NamedFile { file, path: path.to_owned() })
    }

    /// Makes sure that the disk has room: a full disk is an error here, not a SIGBUS later.
    pub(crate) fn reserve(&self, offset: u64, bytes: u64) -> Result<(), StoreError> {
        fallocate(&self.file, FallocateFlags::empty(), offset, bytes)
            .map_err(|error| StoreError::io("reserve space for", &self.path)(error.into()))
    }

    pub(crate) fn bytes(&self) -> Result<u64, StoreError> {
        Ok(self.file.metadata().map_err(StoreError::io("inspect", &self.path))?.len())
    }

    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact_at(bytes, offset).map_err(StoreError::io("read", &self.path))
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(bytes, offset).map_err(StoreError::io("write", &self.path))
    }

    pub(crate) fn sync_data(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(StoreError::io("sync", &self.path))
    }

    pub(crate) fn sync_all(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("sync", &self.path))
    }
}

/// Makes names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", path))
}
