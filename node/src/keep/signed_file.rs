//! The signed-once record on disk: two copies, written in turn, so that one is always whole.

use super::sealed::{self, SealedError, SealedKind};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::consensus::signed_once::SignedOnce;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a node must not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignedFileError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] SealedError),
    /// There is a chain but no record of what was signed on it.
    #[error("{} is missing beside a chain that has begun: whoever signs without it may sign twice; restore it, or say \
             --first-run if this key has never signed", .0.display())]
    Missing(PathBuf),
    /// No copy can be read.
    #[error("no copy of the signed-once record can be read; wait two slots with every other copy of this node stopped, \
             then remove {} and say --first-run", .0.display())]
    Unreadable(PathBuf),
}

/// The two copies.
pub struct SignedFile {
    chain: Hash,
    copies: [(PathBuf, File); 2],
    number: u64,
    /// Height and reserved slot of the newest record: they ascend, or a crash could undo what was promised. At a later
    /// height the slot may be an earlier one: that of a clock that was set right.
    newest: (u64, u64),
}

impl SignedFile {
    /// Opens the record of a directory. `fresh` says that nothing can have been signed yet: then it may be missing.
    ///
    /// # Errors
    /// A record that is missing or cannot be read: nothing may be signed then.
    pub fn open(directory: &Path, chain: Hash, fresh: bool) -> Result<(SignedFile, SignedOnce), SignedFileError> {
        let paths = ["signed.0", "signed.1"].map(|name| directory.join(name));
        let mut newest: Option<(u64, SignedOnce)> = None;
        let (mut there, mut readable) = (false, false);
        for path in &paths {
            there |= path.exists();
            // A torn copy is what a crash leaves; the other one is whole.
            let Ok(Some((number, payload))) = sealed::read(path, SealedKind::SignedOnce, &chain) else { continue };
            let Ok(record) = SignedOnce::decode(&payload) else { continue };
            readable = true;
            if newest.as_ref().is_none_or(|newest| newest.0 < number) {
                newest = Some((number, record));
            }
        }
        if there && !readable {
            return Err(SignedFileError::Unreadable(paths[0].clone()));
        }
        if !there && !fresh {
            return Err(SignedFileError::Missing(paths[0].clone()));
        }
        let open = |path: PathBuf| {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            file.map(|file| (path.clone(), file)).map_err(|source| SealedError::Io { path, source })
        };
        let [first, second] = paths;
        let (number, record) = newest.unwrap_or_default();
        let newest = (record.height, record.reserved_slot);
        let mut file = SignedFile { chain, copies: [open(first)?, open(second)?], number, newest };
        if number == 0 {
            // Both copies are there before anything is signed.
            file.write(&record)?;
            file.write(&record)?;
        }
        Ok((file, record))
    }

    /// Makes a record durable.
    ///
    /// # Errors
    /// Whatever the disk refuses: nothing that rests on it may be said.
    pub fn write(&mut self, record: &SignedOnce) -> Result<(), SignedFileError> {
        let (newest, next) = (self.newest, (record.height, record.reserved_slot));
        assert!(next >= newest, "height and slot {next:?} are written over {newest:?}");
        self.newest = next;
        let mut payload = Vec::new();
        record.encode(&mut payload);
        self.number += 1;
        let (path, file) = &self.copies[(self.number % 2) as usize];
        sealed::write_in_place(file, path, SealedKind::SignedOnce, &self.chain, self.number, &payload)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_whole_copy_counts_and_without_any_nothing_is_signed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(matches!(SignedFile::open(path, [1; 32], false), Err(SignedFileError::Missing(_))));
        let (mut file, record) = SignedFile::open(path, [1; 32], true).unwrap();
        assert_eq!(record.reserved_slot, 0);
        for slot in 1..=5 {
            file.write(&SignedOnce { height: 3, reserved_slot: slot, ..SignedOnce::default() }).unwrap();
        }
        drop(file);
        let newest = |path: &Path| SignedFile::open(path, [1; 32], false).map(|opened| opened.1.reserved_slot);
        assert_eq!(newest(path).unwrap(), 5);
        // A copy that a crash has torn: the other one is at most one write older, and that write was never relied on.
        let torn = ["signed.0", "signed.1"].map(|name| path.join(name));
        let bytes = torn.clone().map(|path| fs::read(path).unwrap());
        for copy in 0..2 {
            fs::write(&torn[copy], &bytes[copy][..40]).unwrap();
            assert!(newest(path).unwrap() >= 4);
            fs::write(&torn[copy], &bytes[copy]).unwrap();
        }
        torn.iter().for_each(|path| fs::write(path, b"garbage").unwrap());
        assert!(matches!(SignedFile::open(path, [1; 32], false), Err(SignedFileError::Unreadable(_))));
        assert!(matches!(SignedFile::open(path, [1; 32], true), Err(SignedFileError::Unreadable(_))));
    }
}
