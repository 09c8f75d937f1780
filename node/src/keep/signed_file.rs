//! The signed-once record on disk: two files, and nothing rests on a record before it is in both.
//!
//! A crash tears one write, and rot takes one copy; neither can be told from the other by what is left. With each
//! record in one of two files in turn, a rotted newest one looks like one that was torn and never counted, and the
//! reservation and lock in it are gone without a word. So each is written to one file and synced, then to the other and
//! synced, and only then relied upon. Whatever one of the files has become, the other holds the newest record that
//! anything rests on: the same, or one more that nothing does.
//!
//! What else is found (a file that is gone, records further apart than one write) is no crash. The node then goes on
//! with the newest record, *unsure*: it signs nothing until a height has become final that was begun after its start.

use super::sealed::{self, SealedError, SealedKind};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_storage::{Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAMES: [&str; 2] = ["signed.0", "signed.1"];
/// What a disk says of a sector that it cannot read any more.
const EIO: i32 = 5;

/// Why a node must not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignedFileError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] SealedError),
    /// Whoever runs this process may not read or write a copy, which may be as whole as it was.
    #[error("{}: permission denied; it says what this node has signed, and nothing is wrong with it that is known: give \
             it back to the user that runs the node (chown, as after a start by another user), and remove nothing",
             .0.display())]
    Denied(PathBuf),
    /// There is a chain but no record of what was signed on it.
    #[error("{} is missing beside a chain that has begun: whoever signs without it may sign twice; restore it, or say \
             --first-run if no other copy of this node runs: it then follows until a height is final that was begun \
             after its start", .0.display())]
    Missing(PathBuf),
    /// No copy can be read.
    #[error("neither copy of the signed-once record can be read; stop every other copy of this node, then remove {} and \
             the other one and say --first-run: it then follows until a height is final that was begun after its start",
             .0.display())]
    Unreadable(PathBuf),
}

/// What is found under the name of a copy.
enum Copy {
    Missing,
    /// Torn, or rotted.
    Unreadable(Arc<dyn DiskFile>),
    Whole(Arc<dyn DiskFile>, u64, SignedOnce),
}

/// The two copies.
pub struct SignedFile {
    chain: Hash,
    /// In the order in which they are written.
    copies: [(PathBuf, Arc<dyn DiskFile>); 2],
    number: u64,
    /// Height and reserved slot of the newest record: they ascend, or a crash could undo what was promised. At a later
    /// height the slot may be an earlier one: that of a clock that was set right.
    newest: (u64, u64),
}

impl SignedFile {
    /// Opens the record in a directory. `may_be_missing` says that there need be none: then it begins unsure.
    ///
    /// # Errors
    /// A record that is missing or cannot be read: nothing may be signed then.
    pub fn open(
        disk: &dyn Disk,
        chain: Hash,
        may_be_missing: bool,
    ) -> Result<(SignedFile, SignedOnce), SignedFileError> {
        let paths = NAMES.map(|name| disk.path().join(name));
        let mut found = Vec::new();
        for (name, path) in NAMES.iter().zip(&paths) {
            found.push(read(disk, name, path, &chain)?);
        }
        let numbers: Vec<u64> = found
            .iter()
            .filter_map(|copy| if let Copy::Whole(_, number, _) = copy { Some(*number) } else { None })
            .collect();
        let newest = numbers.iter().copied().max();
        let all_missing = found.iter().all(|copy| matches!(copy, Copy::Missing));
        let missing = found.iter().any(|copy| matches!(copy, Copy::Missing));
        if newest.is_none() && !all_missing {
            return Err(SignedFileError::Unreadable(paths[0].clone()));
        }
        if all_missing && !may_be_missing {
            return Err(SignedFileError::Missing(paths[0].clone()));
        }
        let whole = found.iter().find_map(|copy| match copy {
            Copy::Whole(_, number, record) if Some(*number) == newest => Some(record.clone()),
            _ => None,
        });
        let number = newest.unwrap_or(0);
        let mut record = whole.unwrap_or_default();
        // One write at most is under way when a process ends, and none makes a file disappear.
        let explained = !missing && numbers.iter().all(|other| number - other <= 1);
        let as_it_was = explained && numbers == [number, number];
        record.unsure |= !explained;
        // What is not whole, or older, is written first: the other one stays whole meanwhile.
        assert!(found.len() == NAMES.len() && numbers.len() <= NAMES.len(), "each copy was looked at once");
        let mut copies = Vec::new();
        for ((copy, name), path) in found.into_iter().zip(NAMES).zip(paths) {
            let (at, file) = match copy {
                Copy::Missing => (0, disk.create(name).map_err(refused(&path))?),
                Copy::Unreadable(file) => (0, file),
                Copy::Whole(file, number, _) => (number, file),
            };
            copies.push((at, (path, file)));
        }
        copies.sort_by_key(|copy| copy.0);
        let copies: Vec<_> = copies.into_iter().map(|copy| copy.1).collect();
        let copies = copies.try_into().unwrap_or_else(|_| unreachable!("there are two names"));
        let newest = (record.height, record.reserved_slot);
        let mut file = SignedFile { chain, copies, number, newest };
        if !as_it_was {
            // Both are there, and whole, before anything is signed.
            file.write(&record)?;
            disk.sync_names().map_err(refused(disk.path()))?;
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
        let bytes = sealed::seal(SealedKind::SignedOnce, &self.chain, self.number, &payload);
        for (path, file) in &self.copies {
            // The second is begun when the first is whole on the disk, so that a crash tears one of them.
            let written = file.write(0, &bytes).and_then(|()| file.sync());
            written.map_err(refused(path))?;
        }
        Ok(())
    }
}

/// What the system has refused of a file or its directory.
fn refused(path: &Path) -> impl Fn(io::Error) -> SignedFileError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => SignedFileError::Denied(path.clone()),
        _ => SignedFileError::File(SealedError::Io { path: path.clone(), source }),
    }
}

/// Reads a copy. One that we may not read is an error: it may be as whole as it was.
fn read(disk: &dyn Disk, name: &str, path: &Path, chain: &Hash) -> Result<Copy, SignedFileError> {
    let failed = refused(path);
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copy::Missing),
        opened => opened.map_err(&failed)?,
    };
    let mut bytes = vec![0; usize::try_from(file.bytes().map_err(&failed)?).unwrap_or(usize::MAX)];
    match file.read(0, &mut bytes) {
        Err(error) if error.raw_os_error() == Some(EIO) => return Ok(Copy::Unreadable(file)),
        read => read.map_err(&failed)?,
    }
    let whole = sealed::unseal(&bytes, SealedKind::SignedOnce, chain).ok();
    let record = whole.and_then(|(number, payload)| Some((number, SignedOnce::decode(&payload).ok()?)));
    Ok(record.map_or(Copy::Unreadable(file.clone()), |(number, record)| Copy::Whole(file, number, record)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::consensus::master::Locked;
    use dynemix_storage::{CrashChoice, DiskFault, MemoryDisk};

    const CHAIN: Hash = [1; 32];

    /// A record as that of a lock in a slot.
    fn record(slot: u64) -> SignedOnce {
        let lock = Some(([slot as u8; 32], 2 * slot));
        let locked = Locked { lock, ..Locked::default() };
        SignedOnce { height: 7, reserved_slot: slot, locked, ..SignedOnce::default() }
    }

    fn opened(disk: &MemoryDisk) -> Result<SignedOnce, SignedFileError> {
        SignedFile::open(disk, CHAIN, false).map(|opened| opened.1)
    }

    /// A disk after so many records, at rest.
    fn disk_with(records: u64) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let (mut file, _) = SignedFile::open(&disk, CHAIN, true).unwrap();
        (1..=records).for_each(|slot| file.write(&record(slot)).unwrap());
        disk.copy()
    }

    fn bytes_of(disk: &MemoryDisk, name: &str) -> u64 {
        disk.files().unwrap().iter().find(|file| file.0 == name).unwrap().1
    }

    #[test]
    fn without_a_record_nothing_is_signed_until_the_operator_says_so_and_then_not_at_once() {
        let disk = MemoryDisk::new();
        assert!(matches!(opened(&disk), Err(SignedFileError::Missing(_))));
        assert!(SignedFile::open(&disk, CHAIN, true).unwrap().1.unsure);
        assert!(opened(&disk).unwrap().unsure, "a second start knows no more than the first");
        assert!(!opened(&disk_with(1)).unwrap().unsure, "until something was signed");
        for name in NAMES {
            disk.truncate(name, 40);
        }
        assert!(matches!(opened(&disk), Err(SignedFileError::Unreadable(_))));
        assert!(matches!(SignedFile::open(&disk, CHAIN, true), Err(SignedFileError::Unreadable(_))));
    }

    #[test]
    fn rot_of_any_byte_of_either_copy_loses_neither_reservation_nor_lock() {
        let disk = disk_with(5);
        for name in NAMES {
            for at in 0..bytes_of(&disk, name) {
                let rotted = disk.copy();
                rotted.flip(name, at, (at % 8) as u8);
                let found = opened(&rotted).unwrap();
                assert_eq!((found.reserved_slot, found.locked.lock), (5, record(5).locked.lock), "{name} at {at}");
                assert!(!found.unsure);
                // It is mended: rot of the other copy afterwards loses nothing either.
                let other = NAMES.iter().find(|other| **other != name).unwrap();
                rotted.flip(other, at, 0);
                assert_eq!(opened(&rotted).unwrap().locked.lock, record(5).locked.lock);
            }
            for sector in 0..bytes_of(&disk, name).div_ceil(512) {
                let rotted = disk.copy();
                rotted.truncate(name, sector * 512);
                assert_eq!(opened(&rotted).unwrap().reserved_slot, 5);
            }
        }
    }

    #[test]
    fn a_sector_that_cannot_be_read_is_rot_and_a_file_that_may_not_be_is_none() {
        for operation in 0..8 {
            let disk = disk_with(5);
            disk.fail(Some(DiskFault { operation, errno: EIO }));
            let read = opened(&disk);
            assert!(read.is_err() || read.unwrap().reserved_slot == 5, "operation {operation}");
        }
        // The third operation reads the first copy.
        let disk = disk_with(5);
        disk.fail(Some(DiskFault { operation: 2, errno: EIO }));
        assert_eq!(opened(&disk).unwrap().reserved_slot, 5);
        let disk = disk_with(5);
        disk.fail(Some(DiskFault { operation: 0, errno: 13 }));
        let denied = opened(&disk).unwrap_err();
        assert!(matches!(&denied, SignedFileError::Denied(_)) && !denied.to_string().contains("first-run"), "{denied}");
    }

    #[test]
    fn a_power_cut_anywhere_leaves_what_was_relied_upon_or_one_more() {
        let disk = MemoryDisk::new();
        let (mut file, _) = SignedFile::open(&disk, CHAIN, true).unwrap();
        for slot in 1..=4 {
            file.write(&record(slot)).unwrap();
            disk.mark(slot);
        }
        let mut seed = 1u64;
        let mut dice = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 63 == 1
        };
        let mut tried = 0;
        for prefix in 0..=disk.log_len() {
            let relied = disk.last_mark(prefix).unwrap_or(0);
            let mut images = vec![disk.crash(prefix, CrashChoice::All), disk.crash(prefix, CrashChoice::None)];
            images.extend((0..20).map(|_| disk.crash(prefix, CrashChoice::Each(&mut dice))));
            for image in images {
                match opened(&image) {
                    Ok(found) => {
                        assert!((relied..=relied + 1).contains(&found.reserved_slot), "{found:?} after {relied}");
                        assert!(relied == 0 || !found.unsure, "a crash explains it");
                    }
                    // Before the first of them was whole nothing was signed.
                    Err(SignedFileError::Missing(_) | SignedFileError::Unreadable(_)) => assert_eq!(relied, 0),
                    Err(other) => panic!("{other}"),
                }
                tried += 1;
            }
        }
        assert!(tried > 400, "{tried} images");
    }

    #[test]
    fn what_no_crash_explains_makes_the_node_unsure_and_keeps_the_newest() {
        for name in NAMES {
            let disk = disk_with(5);
            disk.remove(name).unwrap();
            let found = opened(&disk).unwrap();
            assert!(found.unsure && found.locked.lock == record(5).locked.lock, "{name} is gone");
            assert!(opened(&disk).unwrap().unsure, "and stays so");
        }
        // A write that the disk has said to have done, and has not.
        let (old, disk) = (disk_with(2), disk_with(5));
        let mut stale = vec![0; bytes_of(&old, NAMES[0]) as usize];
        old.open(NAMES[0]).unwrap().read(0, &mut stale).unwrap();
        disk.open(NAMES[0]).unwrap().write(0, &stale).unwrap();
        let found = opened(&disk).unwrap();
        assert!(found.unsure && found.reserved_slot == 5);
    }
}
