//! A disk in memory that remembers every operation: it can say what a power cut at any moment may have left, fail an
//! operation of choice, and flip bits.

use super::error::StoreError;
use super::interface::{Disk, DiskFile};
use super::mapping::Mapping;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that a disk writes as one.
const SECTOR_BYTES: usize = 512;

const UNPOISONED: &str = "no test panics while it holds the disk";

/// Something that changed the disk, or made changes durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// A name got a new, empty file.
    Create {
        /// Under which name it is found.
        name: String,
        /// Number of the file behind it.
        file: usize,
    },
    /// A name moved.
    Rename {
        /// What it was called.
        from: String,
        /// What it is called now; whatever had the name is gone.
        to: String,
    },
    /// A name went.
    Remove {
        /// Under which name it is found.
        name: String,
    },
    /// Names of a folder became durable.
    SyncNames {
        /// Its path with a stroke at its end; empty: the disk itself.
        folder: String,
    },
    /// A folder was made, and is durable.
    MakeFolder {
        /// Its path with a stroke at its end.
        folder: String,
    },
    /// A folder went, and what was in it.
    RemoveFolder {
        /// Its path with a stroke at its end.
        folder: String,
    },
    /// A file's length changed.
    Resize {
        /// Number of the file, counted from 0 in the order of creation.
        file: usize,
        /// How long it is now, in bytes.
        bytes: u64,
    },
    /// Bytes were written.
    Write {
        /// Number of the file, counted from 0 in the order of creation.
        file: usize,
        /// Offset of the first of them.
        offset: u64,
        /// The bytes themselves.
        bytes: Vec<u8>,
    },
    /// A file became durable.
    Sync {
        /// Number of the file, counted from 0 in the order of creation.
        file: usize,
    },
    /// A sync failed: what was not durable is lost, though reads still show it, until it is written again.
    Lost {
        /// Number of the file, counted from 0 in the order of creation.
        file: usize,
    },
    /// A remark of the test, for example a height that was acknowledged.
    Mark(u64),
}

/// What becomes of each change that was not yet durable at a power cut.
pub enum CrashChoice<'a> {
    /// All of them are there.
    All,
    /// None is there.
    None,
    /// Asked for every sector, length and name: true keeps it.
    Each(&'a mut dyn FnMut() -> bool),
}

impl CrashChoice<'_> {
    fn keeps(&mut self) -> bool {
        match self {
            CrashChoice::All => true,
            CrashChoice::None => false,
            CrashChoice::Each(choice) => choice(),
        }
    }
}

/// An operation that is to fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct DiskFault {
    /// Counted from 0 over all operations that can fail, reads included.
    pub operation: u64,
    /// The system's error number: EIO is 5, ENOSPC is 28.
    pub errno: i32,
}

/// What is found under which path: files, and folders with a stroke at their end.
#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
}

/// The folder that a name stands in, with a stroke at its end.
fn folder_of(name: &str) -> &str {
    let name = name.strip_suffix('/').unwrap_or(name);
    name.rfind('/').map_or("", |at| &name[..=at])
}

#[derive(Default)]
struct Content {
    names: Names,
    files: Vec<Vec<u8>>,
    /// What the disk held before the log's first entry.
    base: (Names, Vec<Vec<u8>>),
    log: Vec<DiskOp>,
    operations: u64,
    fault: Option<DiskFault>,
    capacity: Option<u64>,
}

impl Content {
    /// Counts an operation, and fails it if it is the one.
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(fault) if fault.operation == number => Err(io::Error::from_raw_os_error(fault.errno)),
            _ => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names.files.values().map(|&file| self.files[file].len() as u64).sum()
    }

    fn has_room(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used() + more > capacity => Err(io::Error::from_raw_os_error(28)),
            _ => Ok(()),
        }
    }

    fn file_of(&self, name: &str) -> io::Result<usize> {
        self.names.files.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn must_have(&self, folder: &str) -> io::Result<()> {
        let has = folder.is_empty() || self.names.folders.contains(folder);
        has.then_some(()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn apply(&mut self, op: DiskOp) {
        self.names.apply(&op);
        if let DiskOp::Create { .. } = op {
            self.files.push(Vec::new());
        }
        apply_bytes(&mut self.files, &op, &mut CrashChoice::All);
        self.log.push(op);
    }
}

impl Names {
    fn apply(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Create { name, file } => {
                self.files.insert(name.clone(), *file);
            }
            DiskOp::Rename { from, to } => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            DiskOp::Remove { name } => {
                self.files.remove(name);
            }
            DiskOp::MakeFolder { folder } => {
                self.folders.insert(folder.clone());
            }
            DiskOp::RemoveFolder { folder } => {
                self.files.retain(|name, _| !name.starts_with(folder));
                self.folders.retain(|other| !other.starts_with(folder));
            }
            _ => {}
        }
    }
}

/// The directory whose names an operation changes; none: it changes none, or durably at once.
fn changed_names(op: &DiskOp) -> Option<&str> {
    match op {
        DiskOp::Create { name, .. } | DiskOp::Remove { name } => Some(folder_of(name)),
        DiskOp::Rename { to, .. } => Some(folder_of(to)),
        DiskOp::RemoveFolder { folder } => Some(folder_of(folder)),
        _ => None,
    }
}

fn apply_bytes(files: &mut [Vec<u8>], op: &DiskOp, choice: &mut CrashChoice<'_>) {
    match op {
        DiskOp::Resize { file, bytes } if choice.keeps() => files[*file].resize(*bytes as usize, 0),
        DiskOp::Write { file, offset, bytes } => {
            let content = &mut files[*file];
            let (mut at, mut rest) = (*offset as usize, bytes.as_slice());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.len().min(SECTOR_BYTES - at % SECTOR_BYTES));
                if choice.keeps() {
                    if content.len() < at + part.len() {
                        content.resize(at + part.len(), 0);
                    }
                    content[at..at + part.len()].copy_from_slice(part);
                }
                (at, rest) = (at + part.len(), after);
            }
        }
        _ => {}
    }
}

/// A disk in memory, or a folder of one. Clones are the same disk.
#[derive(Clone)]
pub struct MemoryDisk {
    path: PathBuf,
    /// Which folder it is, with a stroke at its end; empty: the disk itself.
    folder: String,
    content: Arc<Mutex<Content>>,
    /// Folders that somebody keeps the others out of.
    locked: Arc<Mutex<BTreeSet<String>>>,
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryDisk({} operations logged)", self.log_len())
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        MemoryDisk::new()
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        let (path, folder) = (PathBuf::from("memory"), String::new());
        MemoryDisk { path, folder, content: Arc::default(), locked: Arc::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect(UNPOISONED)
    }

    /// Sets which operation fails; the count starts anew.
    pub fn fail(&self, fault: Option<DiskFault>) {
        let mut content = self.content();
        (content.fault, content.operations) = (fault, 0);
    }

    /// Operations since the last [`Self::fail`].
    pub fn operations(&self) -> u64 {
        self.content().operations
    }

    /// Bounds the sum of all files' lengths.
    pub fn limit(&self, capacity: Option<u64>) {
        self.content().capacity = capacity;
    }

    /// Puts a remark into the log.
    pub fn mark(&self, mark: u64) {
        self.content().log.push(DiskOp::Mark(mark));
    }

    /// Length of the log.
    pub fn log_len(&self) -> usize {
        self.content().log.len()
    }

    /// The last remark among the first `prefix` entries of the log.
    pub fn last_mark(&self, prefix: usize) -> Option<u64> {
        let content = self.content();
        content.log[..prefix].iter().rev().find_map(|op| if let DiskOp::Mark(mark) = op { Some(*mark) } else { None })
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Flips one bit.
    ///
    /// # Panics
    /// When there is no such file or bit.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut content = self.content();
        let file = content.file_of(&self.full(name)).expect("the file exists");
        content.files[file][offset as usize] ^= 1 << bit;
    }

    /// Cuts a file as a user's mistake would.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn truncate(&self, name: &str, bytes: u64) {
        let mut content = self.content();
        let file = content.file_of(&self.full(name)).expect("the file exists");
        content.files[file].truncate(bytes as usize);
    }

    /// A copy of the whole disk as it is, with an empty log and no lock.
    pub fn copy(&self) -> MemoryDisk {
        let content = self.content();
        MemoryDisk::holding(content.names.clone(), content.files.clone())
    }

    /// What a power cut after the first `prefix` entries of the log leaves of the whole disk: everything durable, and of
    /// the rest what `choice` keeps.
    pub fn crash(&self, prefix: usize, mut choice: CrashChoice<'_>) -> MemoryDisk {
        let content = self.content();
        let log = &content.log[..prefix];
        let (mut names, mut files) = content.base.clone();
        files.resize(content.files.len(), Vec::new());
        let mut names_synced: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, op) in log.iter().enumerate() {
            if let DiskOp::SyncNames { folder } = op {
                names_synced.insert(folder, at);
            }
        }
        // Backwards: what became of each write is said by the next sync of its file.
        let mut next: Vec<Option<bool>> = vec![None; content.files.len()];
        let mut fates = vec![None; log.len()];
        for (at, op) in log.iter().enumerate().rev() {
            match op {
                DiskOp::Sync { file } => next[*file] = Some(true),
                DiskOp::Lost { file } => next[*file] = Some(false),
                DiskOp::Resize { file, .. } | DiskOp::Write { file, .. } => fates[at] = next[*file],
                _ => {}
            }
        }
        for (at, op) in log.iter().enumerate() {
            let durable = |folder: &str| names_synced.get(folder).is_some_and(|&synced| at < synced);
            if changed_names(op).is_none_or(|folder| durable(folder) || choice.keeps()) {
                names.apply(op);
            }
            match op {
                DiskOp::Resize { .. } | DiskOp::Write { .. } => match fates[at] {
                    Some(true) => apply_bytes(&mut files, op, &mut CrashChoice::All),
                    Some(false) => {}
                    None => apply_bytes(&mut files, op, &mut choice),
                },
                _ => {}
            }
        }
        MemoryDisk::holding(names, files)
    }

    fn holding(names: Names, files: Vec<Vec<u8>>) -> MemoryDisk {
        let content = Content { base: (names.clone(), files.clone()), names, files, ..Content::default() };
        MemoryDisk { content: Arc::new(Mutex::new(content)), ..MemoryDisk::new() }
    }

    fn file(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile { disk: self.clone(), file })
    }
}

struct LockGuard(MemoryDisk);

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.0.locked.lock().expect(UNPOISONED).remove(&self.0.folder);
    }
}

impl Disk for MemoryDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self, name: &str) -> Arc<dyn Disk> {
        let folder = self.full(name) + "/";
        Arc::new(MemoryDisk { path: self.path.join(name), folder, ..self.clone() })
    }

    fn make(&self) -> io::Result<()> {
        let mut content = self.content();
        content.operation()?;
        let mut folder = self.folder.as_str();
        while !folder.is_empty() {
            if !content.names.folders.contains(folder) {
                content.apply(DiskOp::MakeFolder { folder: folder.to_owned() });
            }
            folder = folder_of(folder);
        }
        Ok(())
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut content = self.content();
        content.operation()?;
        content.must_have(&self.folder)?;
        let here = content.names.folders.iter().filter(|folder| folder_of(folder) == self.folder);
        Ok(here.map(|folder| folder[self.folder.len()..folder.len() - 1].to_owned()).collect())
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        let folder = self.full(name) + "/";
        let mut content = self.content();
        content.operation()?;
        content.must_have(&folder)?;
        let inside: Vec<String> =
            content.names.files.keys().filter(|name| name.starts_with(&folder)).cloned().collect();
        for name in inside {
            content.apply(DiskOp::Remove { name });
        }
        content.apply(DiskOp::RemoveFolder { folder });
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.content();
        content.operation()?;
        content.must_have(&self.folder)?;
        let file = content.files.len();
        content.apply(DiskOp::Create { name: self.full(name), file });
        drop(content);
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.content();
        content.operation()?;
        let file = content.file_of(&self.full(name))?;
        drop(content);
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.content();
        content.operation()?;
        let (from, to) = (self.full(from), self.full(to));
        content.file_of(&from)?;
        content.apply(DiskOp::Rename { from, to });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.content();
        content.operation()?;
        let name = self.full(name);
        content.file_of(&name)?;
        content.apply(DiskOp::Remove { name });
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut content = self.content();
        content.operation()?;
        content.must_have(&self.folder)?;
        content.apply(DiskOp::SyncNames { folder: self.folder.clone() });
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut content = self.content();
        content.operation()?;
        content.must_have(&self.folder)?;
        let here = content.names.files.iter().filter(|(name, _)| folder_of(name) == self.folder);
        let bytes = |file: &usize| content.files[*file].len() as u64;
        Ok(here.map(|(name, file)| (name[self.folder.len()..].to_owned(), bytes(file))).collect())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut content = self.content();
        content.operation()?;
        Ok(content.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(content.used())))
    }

    fn lock(&self) -> Result<Box<dyn Any + Send + Sync>, StoreError> {
        if !self.locked.lock().expect(UNPOISONED).insert(self.folder.clone()) {
            return Err(StoreError::Locked { path: self.path.clone() });
        }
        Ok(Box::new(LockGuard(self.clone())))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        let mut content = self.disk.content();
        content.operation()?;
        Ok(content.files[self.file].len() as u64)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut content = self.disk.content();
        content.operation()?;
        let from = content.files[self.file].get(offset as usize..).and_then(|from| from.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.disk.content();
        let file = self.file;
        let fails = content.operation();
        let more = (offset + bytes.len() as u64).saturating_sub(content.files[file].len() as u64);
        content.has_room(more)?;
        // A write that fails may have got half-way.
        let written = if fails.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        content.apply(DiskOp::Write { file, offset, bytes: written.to_vec() });
        fails
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        content.operation()?;
        let length = content.files[self.file].len() as u64;
        if bytes > length {
            content.has_room(bytes - length)?;
            content.apply(DiskOp::Resize { file: self.file, bytes });
        }
        Ok(())
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        content.operation()?;
        content.apply(DiskOp::Resize { file: self.file, bytes });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.disk.content();
        let outcome = content.operation();
        let file = self.file;
        content.apply(if outcome.is_ok() { DiskOp::Sync { file } } else { DiskOp::Lost { file } });
        outcome
    }

    fn map(&self, bytes: u64) -> io::Result<Mapping> {
        let mut mapping = Mapping::anonymous(bytes)?;
        self.read(0, &mut mapping)?;
        Ok(mapping)
    }
}
