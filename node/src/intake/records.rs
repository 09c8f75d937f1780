//! Places of records: each by its key and by right, so that nobody's junk takes the place of what is true.
//!
//! | record | who may have one | place |
//! |---|---|---|
//! | answer | who was drawn | one each |
//! | attestation | who had a seat in the shard | one each |
//! | fraud | whoever proves it | one an offender |
//! | conflict of certificates | whoever proves it | one for each whom it convicts, the first that is free |
//! | invalid, alert | whoever proves it | one each a block |
//!
//! What is of the height after is kept until it is there: of whom may have it only, and if there is too much, of who has
//! most at stake.

use super::duties::DutyTable;
use super::price::Failure;
use super::rules::Speaker;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::chain::record::{Answer, Attest, Record};
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::item::Item;
use std::collections::BTreeMap;

/// False records of one name that are verified at a height: then none of it are, whatever it comes with.
const FALSE_MAX: u32 = 2;
/// Records of the height after that are kept.
const EARLY_MAX: usize = 1_024;

/// What a record is about: one place, or one for each who may speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A candidate's answer.
    Answer(AccountIndex),
    /// Attestations of a shard's block.
    Attest(u16),
    /// The fraud of a candidate.
    Fraud(AccountIndex),
    /// Two certificates of one height that contradict each other, and one whom they convict.
    Conflict(u64, AccountIndex),
    /// A block with an invalid transaction.
    Invalid(Hash),
    /// A block whose transactions are kept back.
    Alert(Hash),
}

/// When a record may stand in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// In the next one, if its signatures hold; so many have this key at most.
    Now(Key, usize),
    /// Perhaps in the one after.
    Early(Key),
    /// In none that is near, or what it says is known.
    Never,
}

/// Where a record belongs after this system, beside others whose places are taken; its signatures are not looked at.
/// Whoever gives up one seat makes any number of conflicts that convict it: one that convicts somebody else has a place
/// whatever came before.
pub fn timing_beside(record: &Record, system: &System, is_taken: impl Fn(&Key) -> bool) -> Timing {
    let Record::Conflict(conflict) = record else { return timing(record, system) };
    let mut places = system.convicts(conflict).into_iter().map(|whom| Key::Conflict(conflict.height(), whom));
    places.find(|key| !is_taken(key)).map_or(Timing::Never, |key| Timing::Now(key, 1))
}

/// The same, where no place is taken.
pub fn timing(record: &Record, system: &System) -> Timing {
    match record {
        Record::Conflict(_) => timing_beside(record, system, |_| false),
        Record::Answer(answer) => timing_of_answer(answer, system),
        Record::Attest(attest) => timing_of_attest(attest, system),
        Record::Fraud(evidence) => {
            // Committees are kept as long as evidence about them is taken, and convict who sat in them.
            let timely = system.was_seated(evidence.height, evidence.candidate);
            let punishable =
                system.stakers.contains_key(&evidence.candidate) && !system.barred.contains_key(&evidence.candidate);
            match () {
                () if timely && punishable => Timing::Now(Key::Fraud(evidence.candidate), 1),
                () if evidence.height == system.height + 2 && punishable => {
                    Timing::Early(Key::Fraud(evidence.candidate))
                }
                () => Timing::Never,
            }
        }
        Record::Invalid(invalid) if system.immature_block(&invalid.attest.block).is_some() => {
            Timing::Now(Key::Invalid(invalid.attest.block), 1)
        }
        Record::Alert(alert) if system.immature_block(&alert.attest.block).is_some() => {
            Timing::Now(Key::Alert(alert.attest.block), 1)
        }
        _ => Timing::Never,
    }
}

fn timing_of_answer(answer: &Answer, system: &System) -> Timing {
    let key = Key::Answer(answer.candidate);
    let drawn = answer.drawn_by == system.hash && system.drawn.contains(&answer.candidate);
    match answer.height.checked_sub(system.height) {
        Some(2) if drawn => Timing::Now(key, 1),
        Some(3 | 4) => Timing::Early(key),
        _ => Timing::Never,
    }
}

fn timing_of_attest(attest: &Attest, system: &System) -> Timing {
    let key = Key::Attest(attest.shard);
    let minted = system.minted.get(usize::from(attest.shard)).copied().flatten();
    let of_block = minted.is_some_and(|minted| (minted.block, minted.slot) == (attest.block, attest.slot));
    let seats = |height| {
        let committee = system.committee_of(height)?;
        committee.shards.get(usize::from(attest.shard)).map(Vec::len)
    };
    match attest.height.checked_sub(system.height) {
        Some(0) if of_block => seats(attest.height).map_or(Timing::Never, |seats| Timing::Now(key, seats)),
        Some(1) if seats(attest.height).is_some() => Timing::Early(key),
        _ => Timing::Never,
    }
}

/// Whether this speaker may bring the record: attestations of who had a seat in the shard; early answers of the
/// candidate itself, early frauds of who may mint. All else proves itself at once.
fn may_bring(record: &Record, timing: Timing, duties: &DutyTable, name: AccountIndex) -> bool {
    let who = duties.of_name(Some(name));
    match (record, timing) {
        (Record::Attest(attest), Timing::Now(..)) => who.left == Some(attest.shard),
        (Record::Attest(attest), _) => who.seat == Some(attest.shard),
        (Record::Answer(answer), Timing::Early(_)) => answer.candidate == name,
        (Record::Fraud(_), Timing::Early(_)) => who.may_mint(),
        _ => true,
    }
}

/// A place: the record's key; of an attestation, and of what is early, also who brought it.
pub type Place = (Key, Option<AccountIndex>);

/// What is to be done with a record that was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Verify it, then say by its place what came of it.
    Verify(Place),
    /// Nothing: it is kept until its height comes, or is known, or too much.
    Nothing,
    /// Nothing, and whoever brought it pays.
    Charge(Failure),
}

/// Which places are taken at a height, and what is early.
#[derive(Default)]
pub struct RecordGate {
    height: u64,
    taken: BTreeMap<Place, Hash>,
    /// How many of each were false.
    lies: BTreeMap<AccountIndex, u32>,
    early: BTreeMap<Place, (Speaker, Item)>,
}

impl RecordGate {
    /// A record is brought.
    pub fn offer(&mut self, duties: &DutyTable, from: Speaker, record: &Record, item: &Item) -> Step {
        self.of_height(duties);
        let unwanted = Step::Charge(Failure::Unwanted(item.length()));
        let Some(name) = from.name else { return unwanted };
        if self.lies.get(&name).is_some_and(|&lies| lies >= FALSE_MAX) {
            return unwanted;
        }
        if matches!(record, Record::Conflict(_)) && self.taken.values().any(|id| *id == item.id()) {
            return Step::Nothing;
        }
        let timing = timing_beside(record, &duties.system, |&key| self.is_taken((key, None)));
        if !may_bring(record, timing, duties, name) {
            return Step::Nothing;
        }
        let place = |key: Key| (key, matches!(key, Key::Attest(_)).then_some(name));
        match timing {
            Timing::Never => Step::Nothing,
            Timing::Now(key, _) if self.taken.contains_key(&place(key)) => Step::Nothing,
            Timing::Now(key, _) => Step::Verify(place(key)),
            Timing::Early(key) => {
                self.keep(duties, (key, Some(name)), from, item);
                Step::Nothing
            }
        }
    }

    /// Whether somebody's record has this place.
    pub fn is_taken(&self, place: Place) -> bool {
        self.taken.contains_key(&place)
    }

    /// A record that was to be verified holds: its place is taken.
    pub fn take(&mut self, place: Place, id: Hash) {
        self.taken.insert(place, id);
    }

    /// A record that was to be verified does not hold.
    pub fn is_false(&mut self, duties: &DutyTable, name: Option<AccountIndex>) {
        self.of_height(duties);
        name.into_iter().for_each(|name| *self.lies.entry(name).or_insert(0) += 1);
    }

    /// Records that were early and are not any more, with who brought them.
    pub fn ripe(&mut self, duties: &DutyTable) -> Vec<(Speaker, Item)> {
        self.of_height(duties);
        let system = &duties.system;
        let when = |item: &Item| Record::of_item(item).map_or(Timing::Never, |record| timing(&record, system));
        let mut ripe = Vec::new();
        self.early.retain(|_, (from, item)| match when(item) {
            Timing::Early(_) => true,
            Timing::Now(..) => {
                ripe.push((*from, item.clone()));
                false
            }
            Timing::Never => false,
        });
        ripe
    }

    fn of_height(&mut self, duties: &DutyTable) {
        if self.height != duties.system.height {
            assert!(self.height < duties.system.height, "heights become final one by one");
            self.height = duties.system.height;
            // A fraud that no block has taken yet is brought again to each new committee.
            self.taken.clear();
            self.lies.clear();
        }
    }

    /// The first of each stays; of too many those of the largest stakes.
    fn keep(&mut self, duties: &DutyTable, place: Place, from: Speaker, item: &Item) {
        let stake = |from: &Speaker| from.name.map_or(0, |name| duties.system.stake(name));
        if self.early.len() >= EARLY_MAX && !self.early.contains_key(&place) {
            let least =
                self.early.iter().min_by_key(|(_, (from, _))| stake(from)).map(|(place, (from, _))| (*place, *from));
            let Some((least, _)) = least.filter(|(_, kept)| stake(kept) < stake(&from)) else { return };
            self.early.remove(&least);
        }
        assert!(self.early.len() <= EARLY_MAX, "{} records are kept for their height", self.early.len());
        self.early.entry(place).or_insert_with(|| (from, item.clone()));
    }
}
