//! The newest final blocks, for those who catch up: so many at most, and so many bytes.

use crate::chain::block::{CertifiedBlock, Final};
use std::collections::VecDeque;
use std::sync::Arc;

/// Final blocks that are kept.
const FINALS_KEPT: usize = 128;
/// Bytes of those at most, but for the newest: older ones are in the store.
pub const FINALS_BYTES_MAX: usize = 4 << 20;

/// A final block with its shard-blocks, as those who catch up get it.
pub type KeptFinal = (Arc<Final>, Vec<Arc<CertifiedBlock>>);

fn body_bytes(kept: &KeptFinal) -> usize {
    kept.1.iter().map(|block| block.body_bytes()).sum()
}

#[derive(Default)]
pub(super) struct Finals {
    kept: VecDeque<KeptFinal>,
    bytes: usize,
}

impl Finals {
    /// Keeps what became final; the oldest make room.
    pub(super) fn keep(&mut self, kept: KeptFinal) {
        self.bytes += body_bytes(&kept);
        self.kept.push_back(kept);
        while self.kept.len() > FINALS_KEPT || (self.bytes > FINALS_BYTES_MAX && self.kept.len() > 1) {
            let gone = self.kept.pop_front().as_ref().map_or(0, body_bytes);
            assert!(gone <= self.bytes, "the bytes of kept finals are those of all of them");
            self.bytes -= gone;
        }
    }

    /// Keeps those of an earlier process; the newest come first.
    pub(super) fn remember(&mut self, finals: impl Iterator<Item = KeptFinal>) {
        let mut newest: Vec<_> = finals.take(FINALS_KEPT).collect();
        newest.sort_unstable_by_key(|kept| kept.0.value.height);
        newest.into_iter().for_each(|kept| self.keep(kept));
    }

    /// All that are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = &KeptFinal> {
        self.kept.iter()
    }

    /// The one of this height, if it is still kept.
    pub(super) fn of(&self, height: u64) -> Option<&KeptFinal> {
        self.kept.iter().find(|kept| kept.0.value.height == height)
    }
}
