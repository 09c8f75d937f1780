//! What waits for a block: transactions that minters were told for one of the next two heights, by account and
//! sequence, and records. Bounded in every direction.
//!
//! The pools of a shard's minters must hold the same when they close their sets. So a transaction is here for the
//! height that it was told for and no longer: whoever follows it for its user tells it again. And which one of two with
//! the same sequence stays does not depend on which came first.

use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::POOL_TRANSACTIONS_MAX;
use dynemix_engine::base::parameters::{Chain, SEQUENCES_AHEAD};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::System;
use dynemix_engine::rules::admit::Judged;
use dynemix_engine::transaction::check::{Cost, check};
use dynemix_engine::transaction::item::{Item, transaction_of};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records at most.
const RECORDS_MAX: usize = 8_192;

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

/// One that waits.
struct Waiting {
    item: Arc<Item>,
    /// What it takes from its sender, if it may stand in the next block of the own shard.
    cost: Option<Cost>,
}

/// Transactions that minters were told for the next two heights, and records that wait.
#[derive(Default)]
pub struct HeightPool {
    transactions: HashMap<Place, Waiting>,
    records: BTreeMap<Hash, Arc<Item>>,
}

impl HeightPool {
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
    pub fn transaction(&self, place: Place) -> Option<&Arc<Item>> {
        self.transactions.get(&place).map(|waiting| &waiting.item)
    }

    /// Notes that the transaction at a place may stand in the next block, and what it takes.
    pub fn judge(&mut self, place: Place, cost: Option<Cost>) {
        if let Some(waiting) = self.transactions.get_mut(&place) {
            waiting.cost = cost;
        }
    }

    /// What was told for this height and may stand in its block.
    pub fn sound(&self, height: u64) -> impl Iterator<Item = (&Arc<Item>, Judged)> {
        self.transactions.iter().filter(move |waiting| waiting.0.told == height).filter_map(|(place, waiting)| {
            let judged = Judged { id: waiting.item.id, account: place.account, cost: waiting.cost? };
            Some((&waiting.item, judged))
        })
    }

    /// Whether a transaction whose signature is good can become part of a block soon: its place, and what its sender
    /// pays. `account` is the sender's, if it was looked up before; `told` the height that it is told for, of one that
    /// is.
    ///
    /// # Errors
    /// Why not.
    pub fn check<M: StateMemory>(
        &self,
        item: &Arc<Item>,
        account: Option<AccountIndex>,
        told: Option<u64>,
        chain: &Chain,
        state: &State<M>,
        system: &System,
    ) -> Result<(Place, u64), Refusal> {
        let (cell, payload) = transaction_of(item).ok_or(Refusal::UnknownKind)?;
        let cost = check(&cell, payload, &chain.parameters, system.slot)?;
        let account = account.or_else(|| state.find(&cell.sender)).ok_or(Refusal::UnknownSender)?;
        let hot = state.hot(account);
        let next = u64::from(hot.sequence);
        if cell.sequence < next || cell.sequence >= next + u64::from(SEQUENCES_AHEAD) {
            return Err(Refusal::WrongSequence);
        }
        if cost.total() > hot.balance {
            return Err(Refusal::InsufficientBalance);
        }
        let place = Place { account, sequence: cell.sequence as u32, told: told.unwrap_or(0) };
        match self.transactions.get(&place) {
            Some(known) if known.item.id < item.id => Err(Refusal::SenderConflict),
            Some(known) if known.item.id == item.id => Err(Refusal::Duplicate),
            None if self.transactions.len() >= POOL_TRANSACTIONS_MAX => Err(Refusal::Busy),
            _ => Ok((place, cost.total())),
        }
    }

    /// Takes a transaction that [`Self::check`] has let through.
    ///
    /// # Panics
    /// When it was not asked: a pool that is full, or a transaction that nobody was told.
    pub fn insert(&mut self, item: &Arc<Item>, place: Place) {
        assert!(place.told > 0, "a transaction is put into the pool of no height");
        self.transactions.insert(place, Waiting { item: item.clone(), cost: None });
        let count = self.transactions.len();
        assert!(count <= POOL_TRANSACTIONS_MAX, "{count} transactions are in a pool of {POOL_TRANSACTIONS_MAX}");
    }

    /// Takes a record; one too many is dropped.
    pub fn admit_record(&mut self, item: &Arc<Item>, system: &System) {
        let height = system.height;
        let near = match Record::of_item(item) {
            Some(Record::Answer(answer)) => (height + 2..=height + 4).contains(&answer.height),
            Some(Record::Attest(attest)) => (height..=height + 2).contains(&attest.height),
            Some(Record::Fraud(evidence)) => evidence.height <= height + 2,
            Some(Record::Conflict(conflict)) => conflict.height() <= height + 1,
            Some(Record::Invalid(_) | Record::Alert(_)) => true,
            _ => false,
        };
        if near && self.records.len() < RECORDS_MAX {
            self.records.entry(item.id).or_insert_with(|| item.clone());
        }
    }

    /// Drops a record that was found false where it had to be true.
    pub fn drop_record(&mut self, id: &Hash) {
        self.records.remove(id);
    }

    /// The records that wait.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.records.values()
    }

    /// After a block: what was told for it or earlier goes, and what is no longer true.
    pub fn settle(&mut self, system: &System) {
        self.transactions.retain(|place, _| {
            let next = system.height + 1;
            assert!(place.told <= next, "a transaction told for height {} waits before height {next}", place.told);
            place.told == next
        });
        self.records.retain(|_, item| match Record::of_item(item) {
            Some(Record::Answer(answer)) => answer.height > system.height + 1,
            Some(Record::Attest(attest)) => attest.height >= system.height,
            Some(Record::Fraud(evidence)) => !system.barred.contains_key(&evidence.candidate),
            Some(Record::Conflict(conflict)) => !system.convicts(&conflict).is_empty(),
            Some(Record::Alert(alert)) => system.immature_block(&alert.attest.block).is_some(),
            Some(Record::Invalid(invalid)) => system.immature_block(&invalid.attest.block).is_some(),
            _ => false,
        });
    }
}
