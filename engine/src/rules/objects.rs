//! How many records of one thing a block may hold.

use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::committee::members::SHARD_MINTERS;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Frauds that a shard-block may hold: each costs two pairings, and an offender its stake. Who forks in numbers is
/// convicted by conflicts, many at a time.
const FRAUDS_MAX: usize = 32;
/// Pairs of certificates about one height that a shard-block may hold: each costs two pairings, and an offender its
/// stake.
const CONFLICTS_MAX: usize = 4;

/// The objects of a block's records that need no choice: of answers one a candidate, of alarms one a
/// shard-block; of attestations as many as a shard has minters, since each may know other signers.
#[derive(Default)]
struct Objects {
    seen: BTreeMap<(u8, u64, u16), usize>,
}

impl Objects {
    fn admit(&mut self, record: &Record) -> bool {
        let (object, max) = match record {
            Record::Answer(answer) => ((16, u64::from(answer.candidate), 0), 1),
            Record::Invalid(invalid) => ((18, invalid.attest.height, invalid.attest.shard), 1),
            Record::Alert(alert) => ((18, alert.attest.height, alert.attest.shard), 1),
            Record::Attest(attest) => ((20, attest.height, attest.shard), 2 * SHARD_MINTERS),
            // Chosen among themselves.
            Record::Fraud(_) | Record::Conflict(_) => return true,
            // What follows from transactions is bounded with them.
            Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. } => return false,
        };
        let count = self.seen.entry(object).or_insert(0);
        *count += 1;
        *count <= max
    }
}

/// Of the records of their own among these, each with its place, those that stand in one block: of one object the first,
/// of frauds and conflicts those that weigh most. Those that stand are chosen again from among themselves, so that who
/// builds a block and who checks it agree.
pub(super) fn records_standing<'r>(
    system: &System,
    records: impl Iterator<Item = (usize, &'r Record)> + Clone,
) -> BTreeSet<usize> {
    let mut objects = Objects::default();
    let (frauds, conflicts) = (frauds_standing(system, records.clone()), conflicts_standing(system, records.clone()));
    let stands = |(place, record): &(usize, &Record)| match record {
        Record::Fraud(_) => frauds.contains(place),
        Record::Conflict(_) => conflicts.contains(place),
        _ => objects.admit(record),
    };
    records.filter(stands).map(|(place, _)| place).collect()
}

/// Of the frauds, one an offender, those against the largest stakes: whoever gives up many small ones keeps out none
/// against a larger.
fn frauds_standing<'r>(system: &System, records: impl Iterator<Item = (usize, &'r Record)>) -> BTreeSet<usize> {
    let fraud = |(place, record): (usize, &'r Record)| match record {
        Record::Fraud(evidence) => Some((evidence.candidate, (place, record.item().id))),
        _ => None,
    };
    let mut of_whom = BTreeMap::new();
    for (candidate, first) in records.filter_map(fraud) {
        of_whom.entry(candidate).or_insert(first);
    }
    let mut frauds: Vec<_> =
        of_whom.into_iter().map(|(candidate, (place, id))| (Reverse(system.forfeits(candidate)), id, place)).collect();
    frauds.sort_unstable();
    frauds.truncate(FRAUDS_MAX);
    assert!(frauds.is_sorted_by(|a, b| a.0 <= b.0), "the largest stakes come first");
    frauds.into_iter().map(|(.., place)| place).collect()
}

/// Of the conflicts among these records, each with its place, those that stand in one block: first what convicts most,
/// then what convicts most of whom none before it does, a few a height. Whoever gives up one seat makes as many pairs
/// that convict it as he likes: none of them keeps out what convicts others.
fn conflicts_standing<'r>(system: &System, records: impl Iterator<Item = (usize, &'r Record)>) -> BTreeSet<usize> {
    let conflict = |(place, record): (usize, &'r Record)| match record {
        Record::Conflict(conflict) => Some((place, record.item().id, conflict.height(), system.convicts(conflict))),
        _ => None,
    };
    let mut left: Vec<_> = records.filter_map(conflict).collect();
    let (mut standing, mut convicted) = (BTreeSet::new(), BTreeSet::new());
    let mut of_height: BTreeMap<u64, usize> = BTreeMap::new();
    loop {
        let full = |height: &u64| of_height.get(height).is_some_and(|&count| count >= CONFLICTS_MAX);
        let news =
            left.iter().enumerate().filter(|(_, (_, _, height, _))| !full(height)).map(|(at, (_, id, _, who))| {
                let news = who.iter().filter(|who| !convicted.contains(*who)).count();
                (news, Reverse(*id), at)
            });
        let Some((_, _, at)) = news.filter(|(news, ..)| *news > 0).max() else { return standing };
        let (place, _, height, who) = left.swap_remove(at);
        let before = convicted.len();
        convicted.extend(who);
        assert!(convicted.len() > before, "what stands beside others convicts somebody whom they do not");
        *of_height.entry(height).or_insert(0) += 1;
        standing.insert(place);
    }
}
