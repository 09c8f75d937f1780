//! Who has a devnet's directory: one command at a time, as long as its process lives.

use super::hints::command;
use crate::setup::clock::unix_ms;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whoever asks whether it is held has it for a moment.
const TRIES: u32 = 5;
const MOMENT: Duration = Duration::from_millis(40);

/// What whoever has a directory says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Holder {
    /// Number of its process.
    pub pid: u32,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// Where the API of the first node is; empty until that is known.
    pub api: String,
}

impl Holder {
    /// Since when, for people.
    pub fn since(&self) -> String {
        let seconds = self.since_ms / 1_000;
        let ago = unix_ms().saturating_sub(self.since_ms) / 1_000;
        let ago = match ago {
            0..120 => format!("{ago} s"),
            120..7_200 => format!("{} min", ago / 60),
            _ => format!("{} h", ago / 3_600),
        };
        format!("{:02}:{:02}:{:02} UTC, {ago} ago", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// Why a directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{}", runs(directory, holder))]
    Held {
        /// The devnet's directory.
        directory: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What the system was asked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn runs(directory: &Path, holder: &Holder) -> String {
    let api = if holder.api.is_empty() { String::new() } else { format!(", its API is http://{}", holder.api) };
    let (at, since, pid) = (directory.display(), holder.since(), holder.pid);
    format!(
        "a devnet runs in {at} already, since {since} (process {pid}){api}; `{}` stops it",
        command("devnet down", directory)
    )
}

/// The file that is locked.
pub fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// A directory that nobody else has while this lives.
#[derive(Debug)]
pub struct DevnetLock {
    file: File,
    holder: Holder,
}

impl DevnetLock {
    /// Takes a directory that is there.
    ///
    /// # Errors
    /// When somebody else has it, or the system refuses.
    pub fn take(directory: &Path) -> Result<DevnetLock, LockError> {
        for _ in 0..TRIES {
            if let Some(file) = try_lock(directory)? {
                let holder = Holder { pid: std::process::id(), since_ms: unix_ms(), api: String::new() };
                let mut lock = DevnetLock { file, holder };
                lock.say(directory)?;
                return Ok(lock);
            }
            std::thread::sleep(MOMENT);
        }
        Err(LockError::Held { directory: directory.to_owned(), holder: said(directory) })
    }

    /// Tells whoever asks where the API of the first node is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn tell_api(&mut self, directory: &Path, api: String) -> Result<(), LockError> {
        self.holder.api = api;
        self.say(directory)
    }

    fn say(&mut self, directory: &Path) -> Result<(), LockError> {
        let text = serde_json::to_vec(&self.holder).expect("plain fields");
        let path = lock_path(directory);
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(&text))
            .map_err(|source| LockError::Io { path, source })
    }
}

/// The locked file; none if another has it.
fn try_lock(directory: &Path) -> Result<Option<File>, LockError> {
    let path = lock_path(directory);
    let refused = |source| LockError::Io { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(refused)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(refused(error.into())),
    }
    // Who removes the directory removes this file too, and whoever was quick has the lock of nothing.
    let is_there = fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
    Ok(is_there.then_some(file))
}

/// Who has a directory; nobody if it is free.
pub fn holder(directory: &Path) -> Option<Holder> {
    let file = File::open(lock_path(directory)).ok()?;
    let held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
    held.then(|| said(directory))
}

fn said(directory: &Path) -> Holder {
    let mut text = String::new();
    let read = File::open(lock_path(directory)).and_then(|mut file| file.read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}
