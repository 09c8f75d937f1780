//! The right to one checkpoint.

use super::shared::Shared;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The right to one checkpoint; made by `Store::begin_checkpoint`.
pub struct Checkpoint {
    shared: Arc<Shared>,
    record: u64,
}

impl Checkpoint {
    /// Begins one of the state after `record`.
    pub(super) fn begin(shared: Arc<Shared>, record: u64) -> Checkpoint {
        shared.pending.fetch_add(1, Ordering::AcqRel);
        Checkpoint { shared, record }
    }

    /// Whether it was begun by the writer of this store.
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// The record that the image must stand at.
    pub fn record(&self) -> u64 {
        self.record
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::AcqRel);
    }
}
