//! What waits for a block: transactions that minters were told for one of the next two heights, by account and
//! sequence, and records. Bounded in every direction.
//!
//! The pools of a shard's minters must hold the same when they close their sets. So a transaction is here for the
//! height that it was told for and no longer: whoever follows it for its user tells it again. And which one of two with
//! the same sequence stays does not depend on which came first. What was told stands in columns (`told.rs`).

use super::prospect::Prospect;
use super::told::{Entry, Told};
use crate::intake::records::{Key, Timing, timing, timing_beside};
use crate::intake::shares::Shares;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::POOL_TRANSACTIONS_MAX;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::System;
use dynemix_engine::rules::admit::Judged;
use dynemix_engine::transaction::check::Cost;
use dynemix_engine::transaction::item::Item;
use hashbrown::HashMap;
use std::collections::{BTreeMap, VecDeque};

/// Frauds that wait at most: each was proved, and each costs somebody a stake.
const FRAUDS_MAX: usize = 1_024;
/// Records at most if places are forgotten, see [`Mutation::RecordsFirstCome`].
const FIRST_COME_MAX: usize = 8_192;
/// Tellers whose transaction may take the place of another's, at one place.
const REPLACED_MAX: usize = 8;

/// Where a transaction stands: as long as its height is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The height that it was told for.
    pub told: u64,
    /// Its row among what was told for that.
    pub row: u32,
}

/// Where one may be put: what somebody tells for one height changes nothing at another.
#[derive(Clone, Copy, Debug)]
pub struct Free {
    told: u64,
    account: AccountIndex,
    /// Which of its transactions: one of each number can take effect.
    sequence: u32,
    /// The row of another one, which gives way.
    instead: Option<u32>,
}

/// Who tells a transaction, and how many of them it may tell for a height; none: as many as there is room for. See
/// [`crate::intake::duties::told_share`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teller {
    /// The candidate that it is.
    pub name: AccountIndex,
    /// How many it may tell.
    pub share: Option<usize>,
}

/// What those without a seat have told for a height.
#[derive(Default)]
struct OfOthers(HashMap<AccountIndex, usize>);

impl OfOthers {
    fn may_tell(&self, teller: &Teller) -> bool {
        let told = self.0.get(&teller.name).copied().unwrap_or(0);
        teller.share.is_none_or(|share| told < share)
    }

    fn tell(&mut self, teller: &Teller) {
        let Some(share) = teller.share else { return };
        let told = self.0.entry(teller.name).or_insert(0);
        *told += 1;
        assert!(*told <= share, "{told} are here of a teller that may tell {share}");
    }
}

/// Transactions that minters were told for the next two heights, and records that wait.
pub struct HeightPool {
    most: usize,
    /// Of even heights, and of odd ones.
    told: [Told; 2],
    /// How many each teller has here.
    shares: Shares<AccountIndex>,
    /// What those without a seat have told, by height.
    of_others: BTreeMap<u64, OfOthers>,
    records: BTreeMap<Key, Vec<Item>>,
    /// Records that were not looked at on the present parent.
    unjudged: VecDeque<Item>,
}

impl Default for HeightPool {
    fn default() -> Self {
        HeightPool::of(POOL_TRANSACTIONS_MAX)
    }
}

impl HeightPool {
    /// With room for so many.
    pub fn of(most: usize) -> HeightPool {
        assert!(most <= POOL_TRANSACTIONS_MAX, "a pool of {most}, and {POOL_TRANSACTIONS_MAX} are the most");
        HeightPool {
            most,
            told: [Told::of(most), Told::of(most)],
            shares: Shares::default(),
            of_others: BTreeMap::new(),
            records: BTreeMap::new(),
            unjudged: VecDeque::new(),
        }
    }

    /// Bytes of a pool of so many, beside their places: all may be told for either height.
    pub(super) fn bytes(most: usize) -> usize {
        2 * Told::bytes(most)
    }

    fn of_height(&self, height: u64) -> Option<&Told> {
        let told = &self.told[(height % 2) as usize];
        (told.height() == height).then_some(told)
    }

    /// Transactions that wait.
    pub fn len(&self) -> usize {
        self.told.iter().map(Told::len).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where all transactions stand that were told for this height.
    pub fn told_for(&self, told: u64) -> impl ExactSizeIterator<Item = Place> + use<> {
        let rows = self.of_height(told).map_or(0, Told::len) as u32;
        (0..rows).map(move |row| Place { told, row })
    }

    /// The transaction at a place, and its account.
    pub fn transaction(&self, place: Place) -> Option<(&Item, AccountIndex)> {
        let told = self.of_height(place.told)?;
        told.item(place.row).map(|item| (item, told.account(place.row)))
    }

    /// Notes whether the transaction at a place may stand in the next block, and what it takes.
    pub fn judge(&mut self, place: Place, cost: Option<Cost>) {
        let told = &mut self.told[(place.told % 2) as usize];
        assert_eq!(told.height(), place.told, "what is judged was told for another height");
        told.judge(place.row, cost);
    }

    /// What was told for this height and may stand in its block, ascending by id; `leave_out` takes some of these rows away.
    pub fn sound(
        &self,
        height: u64,
        leave_out: impl FnOnce(&mut Vec<u32>, &dyn Fn(u32) -> AccountIndex),
    ) -> (Vec<Item>, Vec<Judged>) {
        let Some(told) = self.of_height(height) else { return (Vec::new(), Vec::new()) };
        let mut rows = told.sound();
        leave_out(&mut rows, &|row| told.account(row));
        (told.items(&rows).collect(), rows.iter().map(|&row| told.judged(row)).collect())
    }

    /// Whether there is room for one more that nobody was told.
    pub fn has_room(&self) -> bool {
        self.len() < self.most
    }

    /// Where a transaction can be put that is told for this height, if there is room for it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, item: &Item, prospect: &Prospect, height: u64, teller: &Teller) -> Result<Free, Refusal> {
        let (account, sequence) = (prospect.account, prospect.sequence);
        let known = self.of_height(height).and_then(|told| Some((told, told.row(account, sequence)?)));
        match known.map(|(told, row)| told.id(row)) {
            Some(known) if *known == item.id() => return Err(Refusal::Duplicate),
            Some(known) if *known < item.id() || planted(Mutation::PoolByArrival) => {
                return Err(Refusal::SenderConflict);
            }
            None if !self.has_room() => return Err(Refusal::Busy),
            _ => {}
        }
        if let Some((told, row)) = known {
            let replaced = told.replaced_by(row);
            if replaced.contains(&teller.name) || replaced.len() >= REPLACED_MAX {
                return Err(Refusal::SenderConflict);
            }
        } else if !self.shares.may_take(teller.name, self.most, 1) {
            return Err(Refusal::Busy);
        }
        let may_tell = match self.of_others.get(&height) {
            Some(others) => others.may_tell(teller),
            None => OfOthers::default().may_tell(teller),
        };
        let instead = known.map(|(_, row)| row);
        if may_tell { Ok(Free { told: height, account, sequence, instead }) } else { Err(Refusal::Busy) }
    }

    /// Takes a transaction that [`Self::check`] has let through, before it takes another; `cost` is what it takes, if it is
    /// known to be sound.
    ///
    /// # Panics
    /// When it was not asked: a pool that is full, or a transaction that nobody was told.
    pub fn insert(&mut self, item: Item, free: Free, teller: &Teller, cost: Option<Cost>) -> Place {
        let Free { told: height, account, sequence, instead } = free;
        assert!(height > 0, "a transaction is put into the pool of no height");
        let told = &mut self.told[(height % 2) as usize];
        if told.height() != height {
            told.begin(height);
        }
        let entry = Entry { item, account, sequence, teller: teller.name, cost };
        let row = match instead {
            Some(row) => {
                self.shares.give_back(told.replace(row, entry));
                row
            }
            None => told.push(entry),
        };
        self.shares.take(teller.name);
        if teller.share.is_some() {
            self.of_others.entry(height).or_default().tell(teller);
        }
        let count = self.len();
        assert!(count <= self.most, "{count} transactions are in a pool of {}", self.most);
        assert_eq!(self.shares.total(), count, "each transaction counts for one teller");
        Place { told: height, row }
    }

    /// Takes a record that holds, if it has a place: see [`crate::intake::records`].
    pub fn admit_record(&mut self, item: &Item, system: &System) {
        let Some(record) = Record::of_item(item) else { return };
        let (key, max) = match timing_beside(&record, system, |key| self.records.contains_key(key)) {
            _ if planted(Mutation::RecordsFirstCome) => (Key::Attest(0), FIRST_COME_MAX),
            Timing::Now(key, max) => (key, max),
            Timing::Early(_) | Timing::Never => return,
        };
        let frauds = self.records.range(Key::Fraud(AccountIndex::MIN)..=Key::Fraud(AccountIndex::MAX)).count();
        if let Key::Fraud(whom) = key
            && frauds >= FRAUDS_MAX
            && !self.gives_way(whom, system)
        {
            return;
        }
        // One that has a place may have room at another.
        if matches!(key, Key::Conflict(..)) && self.proofs().any(|known| known.id() == item.id()) {
            return;
        }
        let of_key = self.records.entry(key).or_default();
        assert!(of_key.len() <= FIRST_COME_MAX, "{} records have one key", of_key.len());
        if of_key.len() < max && !of_key.iter().any(|known| known.id() == item.id()) {
            of_key.push(item.clone());
            self.unjudged.push_back(item.clone());
        }
    }

    /// Whether of the frauds, which are too many, that against the least stake has gone for one against a larger.
    fn gives_way(&mut self, whom: AccountIndex, system: &System) -> bool {
        let of_whom = |key: &Key| if let Key::Fraud(whom) = key { Some(*whom) } else { None };
        let forfeits = system.forfeits(self.records.keys().filter_map(of_whom).chain([whom]));
        let others = self.records.keys().filter_map(of_whom).map(|other| (forfeits[&other], other));
        let Some((least, other)) = others.min().filter(|_| !self.records.contains_key(&Key::Fraud(whom))) else {
            return false;
        };
        least < forfeits[&whom] && self.records.remove(&Key::Fraud(other)).is_some()
    }

    /// Drops a record that was found false where it had to be true: its place is free.
    pub fn drop_record(&mut self, id: &Hash) {
        for of_key in self.records.values_mut() {
            of_key.retain(|item| item.id() != *id);
        }
        self.records.retain(|_, of_key| !of_key.is_empty());
    }

    /// The records that wait.
    pub fn records(&self) -> impl Iterator<Item = &Item> {
        self.records.values().flatten()
    }

    /// Those of them that are against minters.
    pub fn proofs(&self) -> impl Iterator<Item = &Item> {
        let against = |key: &Key| matches!(key, Key::Fraud(_) | Key::Conflict(..));
        self.records.iter().filter(move |(key, _)| against(key)).flat_map(|(_, of_key)| of_key)
    }

    /// The next record that was not looked at on the present parent: each once.
    pub fn next_unjudged(&mut self) -> Option<Item> {
        self.unjudged.pop_front()
    }

    /// After a block: what was told for it or earlier goes, and what is no longer true.
    pub fn settle(&mut self, system: &System) {
        let next = system.height + 1;
        for told in &mut self.told {
            let height = told.height();
            assert!(height <= next, "transactions told for height {height} wait before height {next}");
            if height != next {
                told.clear(|teller, count| self.shares.give_back_all(teller, count));
            }
        }
        assert_eq!(self.shares.total(), self.len(), "each transaction counts for one teller");
        self.of_others = self.of_others.split_off(&next);
        for of_key in self.records.values_mut() {
            of_key.retain(|item| {
                Record::of_item(item).is_some_and(|record| matches!(timing(&record, system), Timing::Now(..)))
            });
        }
        self.records.retain(|_, of_key| !of_key.is_empty());
        self.unjudged = self.records.values().flatten().cloned().collect();
        assert!(self.of_others.keys().all(|&told| told >= next), "what was told for a height goes with it");
    }
}
