//! What waits for a block: transactions that minters were told for one of the next two heights, by account and
//! sequence, and records. Bounded in every direction.
//!
//! The pools of a shard's minters must hold the same when they close their sets. So a transaction is here for the
//! height that it was told for and no longer: whoever follows it for its user tells it again. And which one of two with
//! the same sequence stays does not depend on which came first.

use super::prospect::Prospect;
use super::rows::buckets;
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

/// Account and sequence, of which one transaction can take effect, at a height: what somebody tells for one height
/// changes nothing at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The sender's account.
    pub account: AccountIndex,
    /// Which of its transactions: one of each number can take effect.
    pub sequence: u32,
    /// The height that it was told for; 0 of a user's that nobody was told.
    pub told: u64,
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

/// One that waits.
struct Waiting {
    item: Item,
    /// The item's, beside it: who goes through all that waits looks at no item.
    id: Hash,
    teller: Teller,
    /// Who has put its transaction in the place of another's here: each may do so once.
    replaced_by: Vec<AccountIndex>,
    /// What it takes from its sender, if it may stand in the next block of the own shard.
    cost: Option<Cost>,
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

/// How many transactions a pool holds.
struct Most(usize);

impl Default for Most {
    fn default() -> Self {
        Most(POOL_TRANSACTIONS_MAX)
    }
}

/// Transactions that minters were told for the next two heights, and records that wait.
#[derive(Default)]
pub struct HeightPool {
    most: Most,
    transactions: HashMap<Place, Waiting>,
    /// How many each teller has here.
    shares: Shares<AccountIndex>,
    /// What those without a seat have told, by height.
    of_others: BTreeMap<u64, OfOthers>,
    records: BTreeMap<Key, Vec<Item>>,
    /// Records that were not looked at on the present parent.
    unjudged: VecDeque<Item>,
}

impl HeightPool {
    /// With room for so many.
    pub fn of(most: usize) -> HeightPool {
        assert!(most <= POOL_TRANSACTIONS_MAX, "a pool of {most}, and {POOL_TRANSACTIONS_MAX} are the most");
        HeightPool { most: Most(most), ..HeightPool::default() }
    }

    /// Bytes of a pool that has held so many, beside their places.
    pub(super) fn bytes(most: usize) -> usize {
        buckets(most) * (size_of::<(Place, Waiting)>() + 1)
    }

    /// Transactions that wait.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Where all transactions stand that were told for this height.
    pub fn told_for(&self, height: u64) -> Vec<Place> {
        self.transactions.keys().copied().filter(|place| place.told == height).collect()
    }

    /// The transaction at a place.
    pub fn transaction(&self, place: Place) -> Option<&Item> {
        self.transactions.get(&place).map(|waiting| &waiting.item)
    }

    /// Notes that the transaction at a place may stand in the next block, and what it takes.
    pub fn judge(&mut self, place: Place, cost: Option<Cost>) {
        if let Some(waiting) = self.transactions.get_mut(&place) {
            waiting.cost = cost;
        }
    }

    /// What was told for this height and may stand in its block.
    pub fn sound(&self, height: u64) -> impl Iterator<Item = (&Item, Judged)> {
        self.transactions.iter().filter(move |waiting| waiting.0.told == height).filter_map(|(place, waiting)| {
            let judged = Judged { id: waiting.id, account: place.account, cost: waiting.cost? };
            Some((&waiting.item, judged))
        })
    }

    /// Whether there is room for one more that nobody was told.
    pub fn has_room(&self) -> bool {
        self.transactions.len() < self.most.0
    }

    /// The place of a transaction that is told for this height, if there is room for it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, item: &Item, prospect: &Prospect, height: u64, teller: &Teller) -> Result<Place, Refusal> {
        let place = Place { account: prospect.account, sequence: prospect.sequence, told: height };
        let known = self.transactions.get(&place);
        match known {
            Some(known) if known.id < item.id() => return Err(Refusal::SenderConflict),
            Some(known) if known.id == item.id() => return Err(Refusal::Duplicate),
            None if !self.has_room() => return Err(Refusal::Busy),
            _ => {}
        }
        if let Some(known) = known {
            let replaced = &known.replaced_by;
            if replaced.contains(&teller.name) || replaced.len() >= REPLACED_MAX {
                return Err(Refusal::SenderConflict);
            }
        } else if !self.shares.may_take(teller.name, self.most.0, 1) {
            return Err(Refusal::Busy);
        }
        let may_tell = match self.of_others.get(&height) {
            Some(others) => others.may_tell(teller),
            None => OfOthers::default().may_tell(teller),
        };
        if may_tell { Ok(place) } else { Err(Refusal::Busy) }
    }

    /// Takes a transaction that [`Self::check`] has let through; `cost` is what it takes, if it is known to be sound.
    ///
    /// # Panics
    /// When it was not asked: a pool that is full, or a transaction that nobody was told.
    pub fn insert(&mut self, item: Item, place: Place, teller: &Teller, cost: Option<Cost>) {
        assert!(place.told > 0, "a transaction is put into the pool of no height");
        let mut waiting = Waiting { id: item.id(), item, teller: *teller, replaced_by: Vec::new(), cost };
        if let Some(before) = self.transactions.remove(&place) {
            self.shares.give_back(before.teller.name);
            waiting.replaced_by = before.replaced_by;
            waiting.replaced_by.push(teller.name);
        }
        self.shares.take(teller.name);
        self.of_others.entry(place.told).or_default().tell(teller);
        self.transactions.insert(place, waiting);
        let count = self.transactions.len();
        assert!(count <= self.most.0, "{count} transactions are in a pool of {}", self.most.0);
        assert_eq!(self.shares.total(), count, "each transaction counts for one teller");
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
        let shares = &mut self.shares;
        self.transactions.retain(|place, waiting| {
            assert!(place.told <= next, "a transaction told for height {} waits before height {next}", place.told);
            if place.told != next {
                shares.give_back(waiting.teller.name);
            }
            place.told == next
        });
        assert_eq!(self.shares.total(), self.transactions.len(), "each transaction counts for one teller");
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
