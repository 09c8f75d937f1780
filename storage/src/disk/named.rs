//! A disk's files under their names, so that every error says which file and what was tried.

use super::error::StoreError;
use super::interface::{Disk, DiskFile};
use super::mapping::Mapping;
use std::path::PathBuf;
use std::sync::Arc;

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
