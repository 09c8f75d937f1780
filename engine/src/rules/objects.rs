//! How many records of one thing a block may hold, and a minter's set.

use crate::base::hash::{Hash, keyed};
use crate::base::ids::AccountIndex;
use crate::base::limits::HEAVY_MAX;
use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::committee::members::SHARD_MINTERS;
use crate::transaction::item::Item;
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
        Record::Fraud(evidence) => Some((evidence.candidate, (place, record.item().id()))),
        _ => None,
    };
    let mut of_whom = BTreeMap::new();
    for (candidate, first) in records.filter_map(fraud) {
        of_whom.entry(candidate).or_insert(first);
    }
    let forfeits = system.forfeits(of_whom.keys().copied());
    let mut frauds: Vec<_> =
        of_whom.into_iter().map(|(candidate, (place, id))| (Reverse(forfeits[&candidate]), id, place)).collect();
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
        Record::Conflict(conflict) => Some((place, record.item().id(), conflict.height(), system.convicts(conflict))),
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

/// Proofs against minters in the order in which there is room for them: conflicts, which convict many at a time, then
/// frauds, of each those that take the largest stakes first. What else there is comes last.
pub fn weightiest_first(system: &System, mut proofs: Vec<Item>) -> Vec<Item> {
    let convicted = |item: &Item| match Record::of_item(item) {
        Some(Record::Conflict(conflict)) => (2, system.convicts(&conflict)),
        Some(Record::Fraud(evidence)) => (1, vec![evidence.candidate]),
        _ => (0, Vec::new()),
    };
    let of: Vec<_> = proofs.iter().map(convicted).collect();
    let forfeits = system.forfeits(of.iter().flat_map(|(_, whom)| whom.iter().copied()));
    let weight = |whom: &[AccountIndex]| whom.iter().map(|whom| u128::from(forfeits[whom])).sum::<u128>();
    let weights: BTreeMap<Hash, _> =
        proofs.iter().zip(&of).map(|(item, (kind, whom))| (item.id(), Reverse((*kind, weight(whom))))).collect();
    proofs.sort_by_key(|item| (weights[&item.id()], item.id()));
    assert!(proofs.is_sorted_by_key(|item| weights[&item.id()]), "the weightiest come first");
    proofs
}

/// What a minter's set may hold at most of all that costs a pairing or more, on one parent: as much as one of an honest
/// minter can. By that and its contents alone a set counts or not, before any of it is judged, so all minters of the
/// shard say the same of it, whatever each of them has itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetBounds {
    answers: usize,
    attests: usize,
    frauds: usize,
    conflicts: usize,
    /// Of shard-blocks that are not mature: each is banned once, by one proof or another.
    bans: usize,
    stakes: usize,
}

impl SetBounds {
    /// Of a set for the block after this one.
    pub fn of(system: &System) -> SetBounds {
        // Evidence is taken about the heights whose committees are kept, and about the block's own.
        let evident = system.committees.len() + 1;
        SetBounds {
            answers: system.drawn.len(),
            attests: 2 * SHARD_MINTERS * system.minted.len(),
            frauds: FRAUDS_MAX,
            conflicts: CONFLICTS_MAX * evident,
            bans: system.immature.iter().map(|immature| immature.blocks.len()).sum(),
            stakes: HEAVY_MAX,
        }
    }

    /// Whether a set keeps within them.
    pub fn hold<'i>(&self, items: impl Iterator<Item = &'i Item> + Clone) -> bool {
        let SetBounds { answers, attests, frauds, conflicts, bans, stakes } = *self;
        let most = answers + attests + frauds + conflicts + bans;
        // How many they are is seen without reading them.
        let records = items.clone().filter(|item| !item.is_transaction());
        if records.clone().take(most + 1).count() > most || items.filter(|item| item.is_heavy()).count() > stakes {
            return false;
        }
        let mut left = [answers, attests, frauds, conflicts, bans];
        let mut takes = |kind: usize| left[kind].checked_sub(1).map(|fewer| left[kind] = fewer).is_some();
        records.into_iter().all(|item| match Record::of_item(item) {
            Some(Record::Answer(_)) => takes(0),
            Some(Record::Attest(_)) => takes(1),
            Some(Record::Fraud(_)) => takes(2),
            Some(Record::Conflict(_)) => takes(3),
            Some(Record::Invalid(_) | Record::Alert(_)) => takes(4),
            Some(Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. }) | None => false,
        })
    }
}

/// What an honest minter closes of what may stand in the next block, ascending by id: of what costs pairings no more
/// than a block takes, the stakes by a rank that the seed gives them.
pub fn closing(system: &System, mut items: Vec<Item>) -> Vec<Item> {
    // One look at each: most are transfers, of which there is nothing to choose.
    let (mut records, mut heavy, mut transactions) = (Vec::new(), Vec::new(), 0);
    for (place, item) in items.iter().enumerate() {
        transactions += usize::from(item.is_transaction());
        if !item.is_transaction() {
            records.extend(Record::of_item(item).map(|record| (place, record)));
        } else if item.is_heavy() {
            heavy.push(keyed(&system.seed, &item.id()));
        }
    }
    if transactions == items.len() && heavy.len() <= HEAVY_MAX {
        return items;
    }
    let standing = records_standing(system, records.iter().map(|(place, record)| (*place, record)));
    heavy.sort_unstable();
    let last = heavy.get(HEAVY_MAX);
    let mut place = 0;
    items.retain(|item| {
        place += 1;
        match item.is_transaction() {
            true => !item.is_heavy() || last.is_none_or(|last| keyed(&system.seed, &item.id()) < *last),
            false => standing.contains(&(place - 1)),
        }
    });
    assert!(SetBounds::of(system).hold(items.iter()), "what may stand in a block is within the bounds of a set");
    items
}
