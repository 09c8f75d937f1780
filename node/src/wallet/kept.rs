//! What a wallet keeps of a chain: the newest block that it has verified, and of each key what was signed and has not
//! ended. In the wallets' directory, a folder a chain; each file whole or refused.

use super::error::WalletError;
use crate::face::light::Verified;
use crate::keep::sealed::{self, SealedError, SealedKind};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::limits::CELL_BYTES;
use dynemix_engine::transaction::cell::Cell;
use dynemix_storage::RealDisk;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file of the newest verified block.
const TIP: &str = "verified";
/// What the files of what was signed end with.
const PENDING: &str = "pending";

/// A transaction that was signed, and may become final for as long as it has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The cell, signature and all: this one is handed in, and no other.
    pub cell: Cell,
    /// What the cell commits to beside itself; empty for a payment.
    pub payload: Vec<u8>,
    /// The newest verified height when it was signed: it can stand in a later one only.
    pub signed_at: u64,
}

/// The folder of one chain.
#[derive(Clone, Debug)]
pub struct Kept {
    directory: PathBuf,
    chain: Hash,
}

/// The right to sign for a key: one process at a time has it.
pub struct SignerLock {
    _file: File,
}

/// A key's file.
fn name_of(signer: &Key, what: &str) -> String {
    format!("{}.{what}", hex::encode(&signer[..16]))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WalletError {
    let path = path.to_owned();
    move |source| WalletError::Io { path, source }
}

impl Kept {
    /// The folder of this chain among the wallets; made if it does not exist.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(wallets: &Path, chain: Hash) -> Result<Kept, WalletError> {
        let directory = wallets.join("chains").join(hex::encode(&chain[..8]));
        fs::create_dir_all(&directory).map_err(io(&directory))?;
        Ok(Kept { directory, chain })
    }

    /// For the files that are whole or refused.
    fn disk(&self) -> RealDisk {
        RealDisk::at(&self.directory)
    }

    fn tip_path(&self) -> PathBuf {
        self.directory.join(TIP)
    }

    /// The lock of the newest verified block: the commands of all keys keep it in one file.
    fn tip_lock_path(&self) -> PathBuf {
        self.directory.join("verified.lock")
    }

    fn path_of(&self, signer: &Key, what: &str) -> PathBuf {
        self.directory.join(name_of(signer, what))
    }

    pub(super) fn list_path(&self, signer: &Key) -> PathBuf {
        self.path_of(signer, "sent")
    }

    /// The newest block that was verified before; none if this chain was never looked at.
    ///
    /// # Errors
    /// A file that is damaged: see [`Self::set_tip_aside`].
    pub fn tip(&self) -> Result<Option<Verified>, WalletError> {
        let path = self.tip_path();
        let kept = sealed::read(&self.disk(), TIP, SealedKind::Verified, &self.chain)?;
        let Some((height, payload)) = kept else { return Ok(None) };
        let tip = Verified::decode(&payload).ok().filter(|tip| tip.height == height);
        Ok(Some(tip.ok_or(SealedError::Damaged { path, what: "it holds no block" })?))
    }

    /// Sets a damaged file of the newest verified block aside: what was signed stands in others.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn set_tip_aside(&self) -> Result<PathBuf, WalletError> {
        let (path, aside) = (self.tip_path(), self.directory.join("verified.damaged"));
        fs::rename(&path, &aside).map_err(io(&path))?;
        Ok(aside)
    }

    /// Keeps the newest verified block, unless another command has kept a later one, or is about to keep its own: one
    /// at a time writes the file, and whoever comes meanwhile leaves it to the other.
    ///
    /// # Errors
    /// Whatever the disk refuses; or when another command has verified another block of this height.
    pub fn keep_tip(&self, tip: &Verified) -> Result<(), WalletError> {
        let path = self.tip_lock_path();
        let lock = File::create(&path).map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(source)) => return Err(WalletError::Io { path, source }),
        }
        // One that cannot be read any more is written anew.
        match self.tip().ok().flatten() {
            Some(other) if other.height == tip.height && other.hash != tip.hash => {
                return Err(WalletError::Conflict(tip.height));
            }
            Some(other) if other.height >= tip.height => return Ok(()),
            _ => {}
        }
        let mut payload = Vec::new();
        tip.encode(&mut payload);
        Ok(sealed::write_whole(&self.disk(), TIP, SealedKind::Verified, &self.chain, tip.height, &payload)?)
    }

    /// What this key has signed and has not ended.
    ///
    /// # Errors
    /// A file that is damaged: nothing may be signed then.
    pub fn pending(&self, signer: &Key) -> Result<Option<Pending>, WalletError> {
        let path = self.path_of(signer, PENDING);
        let kept = sealed::read(&self.disk(), &name_of(signer, PENDING), SealedKind::Pending, &self.chain)?;
        let Some((_, payload)) = kept else { return Ok(None) };
        let read = || {
            let (signed_at, rest) = payload.split_first_chunk::<8>()?;
            let (cell, payload) = rest.split_at_checked(CELL_BYTES)?;
            let cell: Cell = bytemuck::pod_read_unaligned(cell);
            let pending = Pending { cell, payload: payload.to_vec(), signed_at: u64::from_le_bytes(*signed_at) };
            (pending.cell.sender == *signer).then_some(pending)
        };
        Ok(Some(read().ok_or(SealedError::Damaged { path, what: "it holds no transaction of this key" })?))
    }

    /// The keys that have signed something here which has not ended, in hexadecimal.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn pending_keys(&self) -> Result<Vec<String>, WalletError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io(&self.directory))?,
        };
        let key = |name: String| name.strip_suffix(&format!(".{PENDING}")).map(str::to_owned);
        let mut keys: Vec<String> =
            entries.flatten().filter_map(|entry| key(entry.file_name().into_string().ok()?)).collect();
        keys.sort();
        Ok(keys)
    }

    /// Keeps what was signed, before anybody else sees it.
    ///
    /// # Errors
    /// Whatever the disk refuses: then it must not leave this computer.
    ///
    /// # Panics
    /// When another one is kept: nothing is signed over what may still become final.
    pub fn keep_pending(&self, pending: &Pending) -> Result<(), WalletError> {
        let path = self.path_of(&pending.cell.sender, PENDING);
        assert!(!path.exists(), "a transaction is signed while {} holds another one", path.display());
        let payload =
            [&pending.signed_at.to_le_bytes()[..], bytemuck::bytes_of(&pending.cell), &pending.payload].concat();
        let name = name_of(&pending.cell.sender, PENDING);
        Ok(sealed::write_whole(&self.disk(), &name, SealedKind::Pending, &self.chain, pending.cell.sequence, &payload)?)
    }

    /// Forgets what this key has signed: it has ended.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn forget_pending(&self, signer: &Key) -> Result<(), WalletError> {
        let path = self.path_of(signer, PENDING);
        fs::remove_file(&path).map_err(io(&path))
    }

    /// The right to sign for a key.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self, signer: &Key) -> Result<SignerLock, WalletError> {
        let path = self.path_of(signer, "lock");
        let file = File::create(&path).map_err(io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(SignerLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(WalletError::Busy(path)),
            Err(TryLockError::Error(source)) => Err(WalletError::Io { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn commands_that_keep_their_newest_block_at_once_leave_a_whole_one_and_none_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let block = |height: u64| Verified {
            height,
            slot: height,
            hash: [height as u8; 32],
            parent: [1; 32],
            system: [2; 32],
            parent_root: [3; 32],
            committee_next: [4; 32],
            headers: vec![Some([5; 32]); 100],
        };
        // Each as a command of its own, with its own key.
        std::thread::scope(|scope| {
            for command in 0..4 {
                let kept = Kept::open(directory.path(), [1; 32]).unwrap();
                scope.spawn(move || {
                    for height in 1..=60 {
                        let done = kept.keep_tip(&block(height));
                        assert!(done.is_ok(), "command {command}, height {height}: {done:?}");
                        // Never a part of one, though perhaps none yet: who is first may still be writing.
                        let seen = kept.tip();
                        assert!(seen.is_ok(), "command {command}: {seen:?}");
                    }
                });
            }
        });
        let kept = Kept::open(directory.path(), [1; 32]).unwrap();
        kept.keep_tip(&block(60)).unwrap();
        kept.keep_tip(&block(7)).unwrap();
        assert_eq!(kept.tip().unwrap(), Some(block(60)));
        let other = Verified { hash: [9; 32], ..block(60) };
        assert!(matches!(kept.keep_tip(&other), Err(WalletError::Conflict(60))));
        // Damaged, it goes by itself, and what was signed stays.
        fs::write(kept.tip_path(), b"").unwrap();
        assert!(kept.tip().is_err());
        let aside = kept.set_tip_aside().unwrap();
        assert!(aside.exists() && kept.tip().unwrap().is_none());
    }

    #[test]
    fn what_was_signed_is_there_again_or_named_as_damaged_and_one_process_signs() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::open(directory.path(), [1; 32]).unwrap();
        let pending =
            Pending { cell: Cell { sender: [2; 32], sequence: 7, ..Cell::zeroed() }, payload: vec![5], signed_at: 9 };
        assert!(kept.pending(&[2; 32]).unwrap().is_none() && kept.tip().unwrap().is_none());
        kept.keep_pending(&pending).unwrap();
        assert_eq!(kept.pending(&[2; 32]).unwrap(), Some(pending));
        assert!(kept.pending(&[3; 32]).unwrap().is_none());
        let lock = kept.lock(&[2; 32]).unwrap();
        assert!(matches!(kept.lock(&[2; 32]), Err(WalletError::Busy(_))));
        drop(lock);
        kept.lock(&[2; 32]).unwrap();
        let path = kept.path_of(&[2; 32], PENDING);
        let mut bytes = fs::read(&path).unwrap();
        bytes[90] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(kept.pending(&[2; 32]), Err(WalletError::Kept(_))));
        kept.forget_pending(&[2; 32]).unwrap();
        assert!(kept.pending(&[2; 32]).unwrap().is_none());
    }
}
