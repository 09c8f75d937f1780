//! How many records of one thing a block may hold.

use crate::chain::record::Record;
use crate::committee::members::SHARD_MINTERS;
use std::collections::BTreeMap;

/// Pairs of certificates about one height that a shard-block may hold: each costs two pairings, and an offender its
/// stake.
const CONFLICTS_MAX: usize = 4;

/// The objects of a block's records: of answers one a candidate, of frauds one an offender, of alarms one a
/// shard-block; of attestations as many as a shard has minters, since each may know other signers; of certificates that
/// contradict each other a few a height, since each pair may convict others.
#[derive(Default)]
pub(super) struct Objects {
    seen: BTreeMap<(u8, u64, u16), usize>,
}

impl Objects {
    pub(super) fn admit(&mut self, record: &Record) -> bool {
        let (object, max) = match record {
            Record::Answer(answer) => ((16, u64::from(answer.candidate), 0), 1),
            Record::Fraud(evidence) => ((17, u64::from(evidence.candidate), 0), 1),
            Record::Invalid(invalid) => ((18, invalid.attest.height, invalid.attest.shard), 1),
            Record::Alert(alert) => ((18, alert.attest.height, alert.attest.shard), 1),
            Record::Attest(attest) => ((20, attest.height, attest.shard), 2 * SHARD_MINTERS),
            Record::Conflict(conflict) => ((21, conflict.height(), 0), CONFLICTS_MAX),
            Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. } => return false,
        };
        let count = self.seen.entry(object).or_insert(0);
        *count += 1;
        *count <= max
    }
}
