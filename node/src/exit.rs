//! Exit codes: what a supervisor may conclude from the end of the process.

use crate::face::admin::AskError;
use crate::keep::chain_store::ChainStoreError;
use crate::minting::node::{NodeStartError, NodeStopError};
use crate::keep::signed_file::SignedFileError;
use crate::minting::writer::WriterError;
use crate::pipeline::ledger::LedgerError;
use crate::pipeline::run::{StartError, StopError};
use crate::keep::replica::ReplicaError;
use crate::keep::snapshot::SnapshotFailure;
use crate::keep::open::{OpenError, ReplayError};
use crate::wallet::client::WalletError;
use dynemix_storage::StoreError;
use std::error::Error;

/// Done.
pub const OK: u8 = 0;
/// Failed for a reason that is told.
pub const FAILED: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// Bytes on the disk or in memory are not what was written. Start again: the older image or a snapshot may serve.
pub const DAMAGED: u8 = 3;
/// The disk refused a write or a sync, or is full. Nothing final is lost; start again once it works.
pub const DISK: u8 = 4;
/// The store is in use by another process.
pub const LOCKED: u8 = 5;
/// Nobody answers: no node, or none that can be reached.
pub const UNREACHABLE: u8 = 6;
/// Going on could mean to sign twice: people must look.
pub const UNSAFE: u8 = 7;

fn of_store(error: &StoreError) -> u8 {
    match error {
        StoreError::Damaged { .. } => DAMAGED,
        StoreError::Io { .. } | StoreError::DiskFull { .. } | StoreError::Limit { .. } | StoreError::Broken => DISK,
        StoreError::Locked { .. } => LOCKED,
        StoreError::Missing { .. }
        | StoreError::Remains { .. }
        | StoreError::Version { .. }
        | StoreError::WrongChain { .. }
        | StoreError::NoRecord { .. } => FAILED,
    }
}

/// The exit code that an error stands for: that of the deepest cause which has one of its own.
pub fn code(error: &(dyn Error + 'static)) -> u8 {
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    if error.is::<SignedFileError>() {
        return UNSAFE;
    }
    if error.is::<AskError>() || matches!(error.downcast_ref(), Some(WalletError::Unreachable { .. })) {
        return UNREACHABLE;
    }
    if matches!(
        error.downcast_ref(),
        Some(ChainStoreError::Leads { .. } | ChainStoreError::Record { .. } | ChainStoreError::System(_))
    ) {
        return DAMAGED;
    }
    if matches!(error.downcast_ref(), Some(ReplicaError::Rotten { .. }))
        || matches!(error.downcast_ref(), Some(ReplayError::Root { .. } | ReplayError::Apply { .. }))
    {
        return DAMAGED;
    }
    // Transparent wrappers hide their cause from `source`.
    let inner: Option<&(dyn Error + 'static)> = None
        .or_else(|| match error.downcast_ref()? {
            NodeStartError::Chain(inner) => Some(inner as _),
            NodeStartError::Signed(inner) => Some(inner as _),
            NodeStartError::Store(inner) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            ChainStoreError::Store(inner) => Some(inner as _),
            ChainStoreError::Open(inner) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            NodeStopError::Writer(WriterError::Store(inner)) => Some(inner as _),
            NodeStopError::Replica(inner) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref() {
            Some(StartError::State(inner)) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            OpenError::Store(inner) => Some(inner as _),
            OpenError::Replay(inner) => Some(inner as _),
            OpenError::Genesis(_) => None,
        })
        .or_else(|| match error.downcast_ref()? {
            ReplayError::Store(inner) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            ReplicaError::Store(inner) => Some(inner as _),
            ReplicaError::Replay(inner) => Some(inner as _),
            ReplicaError::Rotten { .. } => None,
        })
        .or_else(|| match error.downcast_ref()? {
            StopError::Ledger(inner) => Some(inner as _),
            StopError::Replica(inner) => Some(inner as _),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            LedgerError::Store(inner) => Some(inner as _),
            LedgerError::Apply(_) => None,
        })
        .or_else(|| match error.downcast_ref()? {
            SnapshotFailure::Store(inner) => Some(inner as _),
            _ => None,
        });
    inner.map_or(FAILED, code)
}
