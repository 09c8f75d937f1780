//! Certificates of the newest heights, for as long as evidence about them counts: whoever has made two heights of one is
//! found out by the two, though no vote of his was ever shown.

use crate::chain::tables::System;
use crate::committee::statement::{Certificate, Conflict, Statement};
use std::collections::BTreeMap;

/// Certificates of one height that are kept: a few convict all who made them.
const KEPT_MAX: usize = 8;

/// By height, what is known to hold: its final certificate, the highest of first votes, and what contradicts them.
#[derive(Default)]
pub(super) struct Forks {
    kept: BTreeMap<u64, Vec<(Statement, Certificate)>>,
}

impl Forks {
    /// Keeps a certificate that holds.
    pub(super) fn keep(&mut self, certified: (Statement, Certificate)) {
        let kept = self.kept.entry(certified.0.height).or_default();
        if kept.len() < KEPT_MAX && !kept.iter().any(|known| known.0 == certified.0) {
            kept.push(certified);
        }
        assert!(kept.len() <= KEPT_MAX, "{} certificates of one height are kept", kept.len());
    }

    /// What a certificate proves beside those kept, if it holds: of whom who can still be punished. Nothing if it is
    /// known, or there are enough.
    pub(super) fn proofs(&self, certified: &(Statement, Certificate), system: &System) -> Vec<Conflict> {
        let Some(kept) = self.kept.get(&certified.0.height) else { return Vec::new() };
        if kept.len() >= KEPT_MAX || kept.iter().any(|known| known.0 == certified.0) {
            return Vec::new();
        }
        let conflicts = kept.iter().filter_map(|known| Conflict::of_certificates([*known, *certified]));
        conflicts.filter(|conflict| !system.convicts(conflict).is_empty()).collect()
    }

    /// Forgets the heights of which evidence does not count any more.
    pub(super) fn forget(&mut self, system: &System) {
        self.kept.retain(|&height, _| system.committee_of(height).is_some());
    }
}
