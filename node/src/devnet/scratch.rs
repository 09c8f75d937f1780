//! Directories that live as long as a process: whoever makes one removes those that dead processes have left behind.

use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The file that says that a directory is one of these, and is locked while its process lives.
const MARK: &str = "scratch.lock";
/// Who is told to end may still write a file for a moment.
const REMOVE_TRIES: u32 = 50;

/// A temporary directory.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// A new one, whose name begins so. Those of dead processes that begin so are removed; `before` sees each first.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(prefix: &str, before: impl Fn(&Path)) -> io::Result<Scratch> {
        sweep(&std::env::temp_dir(), prefix, before);
        let directory = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let lock = File::create(directory.path().join(MARK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Scratch { directory, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Ends the process at a signal that asks for that, and this directory with it: for whoever looks at no flag.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn end_at_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let directory: PathBuf = self.path().to_owned();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                remove(&directory);
                // As a shell says it of whoever a signal has ended.
                std::process::exit(128 + signal);
            }
        })?;
        Ok(())
    }
}

fn remove(directory: &Path) {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
}

/// Removes those of dead processes. What cannot be removed, perhaps another user's, stays.
fn sweep(directory: &Path, prefix: &str, before: impl Fn(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let Ok(mark) = File::options().write(true).open(path.join(MARK)) else { continue };
        if flock(&mark, FlockOperation::NonBlockingLockExclusive).is_ok() {
            before(&path);
            remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_dead_are_removed_and_nothing_else() {
        let room = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = room.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (dead, alive, foreign, other) = (make("x-dead"), make("x-alive"), make("x-foreign"), make("y-dead"));
        let marks = [&dead, &alive, &other].map(|path| File::create(path.join(MARK)).unwrap());
        flock(&marks[1], FlockOperation::LockExclusive).unwrap();
        let seen = std::cell::RefCell::new(Vec::new());
        sweep(room.path(), "x-", |path| seen.borrow_mut().push(path.to_owned()));
        assert_eq!(*seen.borrow(), [dead.as_path()]);
        assert_eq!([&dead, &alive, &foreign, &other].map(|path| path.exists()), [false, true, true, true]);
    }
}
