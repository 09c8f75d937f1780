//! What a wallet keeps of a chain: the newest block that it has verified, and of each key what was signed and has not
//! ended. In the wallets' directory, a folder a chain; each file whole or refused.

use super::error::WalletError;
use crate::face::light::Verified;
use crate::keep::sealed::{self, SealedError, SealedKind};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::limits::CELL_BYTES;
use dynemix_engine::transaction::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

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

    fn tip_path(&self) -> PathBuf {
        self.directory.join("verified")
    }

    fn path_of(&self, signer: &Key, what: &str) -> PathBuf {
        self.directory.join(format!("{}.{what}", hex::encode(&signer[..16])))
    }

    /// The newest block that was verified before; none if this chain was never looked at.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn tip(&self) -> Result<Option<Verified>, WalletError> {
        let path = self.tip_path();
        let Some((height, payload)) = sealed::read(&path, SealedKind::Verified, &self.chain)? else { return Ok(None) };
        let tip = Verified::decode(&payload).ok().filter(|tip| tip.height == height);
        Ok(Some(tip.ok_or(SealedError::Damaged { path, what: "it holds no block" })?))
    }

    /// Keeps the newest verified block.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn keep_tip(&self, tip: &Verified) -> Result<(), WalletError> {
        let mut payload = Vec::new();
        tip.encode(&mut payload);
        Ok(sealed::write_whole(&self.tip_path(), SealedKind::Verified, &self.chain, tip.height, &payload)?)
    }

    /// What this key has signed and has not ended.
    ///
    /// # Errors
    /// A file that is damaged: nothing may be signed then.
    pub fn pending(&self, signer: &Key) -> Result<Option<Pending>, WalletError> {
        let path = self.path_of(signer, "pending");
        let Some((_, payload)) = sealed::read(&path, SealedKind::Pending, &self.chain)? else { return Ok(None) };
        let read = || {
            let (signed_at, rest) = payload.split_first_chunk::<8>()?;
            let (cell, payload) = rest.split_at_checked(CELL_BYTES)?;
            let cell: Cell = bytemuck::pod_read_unaligned(cell);
            let pending = Pending { cell, payload: payload.to_vec(), signed_at: u64::from_le_bytes(*signed_at) };
            (pending.cell.sender == *signer).then_some(pending)
        };
        Ok(Some(read().ok_or(SealedError::Damaged { path, what: "it holds no transaction of this key" })?))
    }

    /// Keeps what was signed, before anybody else sees it.
    ///
    /// # Errors
    /// Whatever the disk refuses: then it must not leave this computer.
    ///
    /// # Panics
    /// When another one is kept: nothing is signed over what may still become final.
    pub fn keep_pending(&self, pending: &Pending) -> Result<(), WalletError> {
        let path = self.path_of(&pending.cell.sender, "pending");
        assert!(!path.exists(), "a transaction is signed while {} holds another one", path.display());
        let payload =
            [&pending.signed_at.to_le_bytes()[..], bytemuck::bytes_of(&pending.cell), &pending.payload].concat();
        Ok(sealed::write_whole(&path, SealedKind::Pending, &self.chain, pending.cell.sequence, &payload)?)
    }

    /// Forgets what this key has signed: it has ended.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn forget_pending(&self, signer: &Key) -> Result<(), WalletError> {
        let path = self.path_of(signer, "pending");
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
        let path = kept.path_of(&[2; 32], "pending");
        let mut bytes = fs::read(&path).unwrap();
        bytes[90] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(kept.pending(&[2; 32]), Err(WalletError::Kept(_))));
        kept.forget_pending(&[2; 32]).unwrap();
        assert!(kept.pending(&[2; 32]).unwrap().is_none());
    }
}
