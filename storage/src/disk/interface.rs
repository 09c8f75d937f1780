//! What is asked of a disk, and what it promises.

use super::error::StoreError;
use super::mapping::Mapping;
use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A directory of files, and of folders that are such directories. What is promised after a power cut: the names as of
/// the last [`Disk::sync_names`] of the directory that they stand in, the bytes and length of each file as of its last
/// [`DiskFile::sync`]; later changes may be there or not, sector by sector.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// The folder of this name, which need not be there: until it is made, files are looked for in it in vain.
    fn folder(&self, name: &str) -> Arc<dyn Disk>;
    /// Makes this directory and those above it, durable under their names; one that is there stays as it is.
    fn make(&self) -> io::Result<()>;
    /// Names of all folders.
    fn folders(&self) -> io::Result<Vec<String>>;
    /// Removes a folder and what is in it. An end in the middle leaves some of its files.
    fn remove_folder(&self, name: &str) -> io::Result<()>;
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

    /// The bytes of a file, or the first `most` of them.
    fn read_whole(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        let mut bytes = vec![0; file.bytes()?.min(most) as usize];
        file.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file under another name, syncs it, and gives it its own, replacing whatever had that: under its name it
    /// is whole, this one or the one before. Which of them is durable with the next [`Disk::sync_names`].
    fn replace(&self, name: &str, parts: &[&[u8]]) -> io::Result<Arc<dyn DiskFile>> {
        let part = Path::new(name).with_extension("part");
        let part = part.to_str().expect("made of text");
        assert_ne!(part, name, "a file that is being made has the name of one that is whole");
        let file = self.create(part)?;
        let mut at = 0;
        for bytes in parts {
            file.write(at, bytes)?;
            at += bytes.len() as u64;
        }
        file.sync()?;
        self.rename(part, name)?;
        Ok(file)
    }
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// How many bytes it has.
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
