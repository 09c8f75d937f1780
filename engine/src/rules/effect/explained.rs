//! What transactions account for, beside their senders' debits: to be held against a patch.

use crate::base::ids::Key;
use crate::chain::record::Record;
use std::collections::{BTreeMap, BTreeSet};

/// Payments by key, fees, and records by their bytes.
#[derive(Default)]
pub(in crate::rules) struct Explained {
    /// Units by recipient.
    pub paid: BTreeMap<Key, u128>,
    /// Units that go to the pool.
    pub fees: u64,
    /// Bytes of the records that follow.
    pub records: BTreeSet<Vec<u8>>,
}

impl Explained {
    /// A payment.
    pub(super) fn pay(&mut self, key: Key, amount: u64) {
        *self.paid.entry(key).or_insert(0) += u128::from(amount);
    }

    /// A record.
    pub(super) fn record(&mut self, record: &Record) {
        self.records.insert(record.to_bytes());
    }
}
