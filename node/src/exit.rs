//! Exit codes: what a supervisor may conclude from the end of the process.

use crate::devnet::dump::DumpError;
use crate::devnet::lock::LockError;
use crate::devnet::opening::RunError;
use crate::devnet::reset::ResetError;
use crate::face::admin::AskError;
use crate::keep::chain_store::ChainStoreError;
use crate::keep::open::ReplayError;
use crate::keep::replica::ReplicaError;
use crate::keep::sealed::SealedError;
use crate::keep::signed_file::SignedFileError;
use crate::keep::snapshot::SnapshotFailure;
use crate::wallet::error::WalletError;
use dynemix_engine::accounts::snapshot::SnapshotError;
use dynemix_storage::StoreError;
use std::error::Error;

/// What was asked for is done.
pub const OK: u8 = 0;
/// Failed for a reason that is told.
pub const FAILED: u8 = 1;
/// Flags that make no sense; nothing was done.
pub const USAGE: u8 = 2;
/// Bytes on the disk or in memory are not what was written. Start again: the older image or a snapshot may serve.
pub const DAMAGED: u8 = 3;
/// The disk refused a write or a sync, or is full. Nothing final is lost; start again once it works.
pub const DISK: u8 = 4;
/// The store, or a devnet's directory, is in use by another process.
pub const LOCKED: u8 = 5;
/// Nobody answers: no node, or none that can be reached.
pub const UNREACHABLE: u8 = 6;
/// Going on could mean to sign twice: people must look.
pub const UNSAFE: u8 = 7;
/// Not known whether it is paid: a transaction was signed, and what became of it is not proved. It is kept, and `wallet
/// pending` goes on with it.
pub const UNSETTLED: u8 = 8;
/// A node's answer is not what the chain has certified: nothing was done by it.
pub const LIE: u8 = 9;

fn of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::Damaged { .. } => DAMAGED,
        StoreError::Io { .. } | StoreError::DiskFull { .. } | StoreError::Limit { .. } | StoreError::Broken => DISK,
        StoreError::Locked { .. } => LOCKED,
        StoreError::Missing { .. }
        | StoreError::Remains { .. }
        | StoreError::Version { .. }
        | StoreError::WrongChain { .. }
        | StoreError::TooLong { .. }
        | StoreError::NoRecord { .. } => FAILED,
    }
}

/// The code of an error that has one of its own.
fn own_code(error: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(of_store(error));
    }
    let damaged = matches!(
        error.downcast_ref(),
        Some(
            ChainStoreError::Leads { .. }
                | ChainStoreError::Record { .. }
                | ChainStoreError::Foreign { .. }
                | ChainStoreError::System(SealedError::Damaged { .. })
        )
    ) || matches!(error.downcast_ref(), Some(ReplicaError::Rotten { .. }))
        || matches!(error.downcast_ref(), Some(ReplayError::Root { .. } | ReplayError::Apply { .. }));
    let snapshot = match error.downcast_ref() {
        Some(SnapshotFailure::Refused { source, .. }) => !matches!(source, SnapshotError::Version(_)),
        _ => false,
    };
    let wallet = error.downcast_ref::<WalletError>();
    let unsettled = matches!(wallet, Some(WalletError::Unsettled(_) | WalletError::Unproved(_)));
    // What a disk refuses says nothing of what was signed.
    let signed_file = error.downcast_ref::<SignedFileError>();
    let refused = signed_file.is_some_and(|error| {
        matches!(error, SignedFileError::Denied(_) | SignedFileError::File(SealedError::Io { .. }))
    });
    let sealed = error.downcast_ref::<SealedError>();
    let kept_refused = matches!(wallet, Some(WalletError::Kept(SealedError::Io { .. })));
    let signed = signed_file.is_some() && !refused || (matches!(wallet, Some(WalletError::Kept(_))) && !kept_refused);
    let unreachable = error.downcast_ref().is_some_and(|error| !matches!(error, AskError::Refused(_)))
        || matches!(wallet, Some(WalletError::Unreachable { .. }));
    let in_use = matches!(error.downcast_ref(), Some(RunError::Lock(LockError::Held { .. }) | RunError::Orphans(..)))
        || matches!(error.downcast_ref(), Some(ResetError::Lock(LockError::Held { .. }) | ResetError::Running(..)))
        || matches!(error.downcast_ref(), Some(DumpError::Lock(LockError::Held { .. }) | DumpError::Running(..)));
    let codes = [
        (in_use, LOCKED),
        (signed, UNSAFE),
        (refused || kept_refused || matches!(sealed, Some(SealedError::Io { .. })), DISK),
        (unreachable, UNREACHABLE),
        (damaged || snapshot || matches!(sealed, Some(SealedError::Damaged { .. })), DAMAGED),
        (wallet.is_some_and(WalletError::is_lie), LIE),
        (unsettled, UNSETTLED),
    ];
    codes.into_iter().find_map(|(is, code)| is.then_some(code))
}

/// The exit code that an error stands for: that of the first of its causes which has one of its own.
pub fn code(error: &(dyn Error + 'static)) -> u8 {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(own_code).unwrap_or(FAILED)
}
