//! What waits for a block: transactions by account and sequence, records beside them. Bounded in every direction.

use dynemix_engine::chain::{Chain, SEQUENCES_AHEAD};
use dynemix_engine::check::check;
use dynemix_engine::consensus::message::Item;
use dynemix_engine::hash::Hash;
use dynemix_engine::refusal::Refusal;
use dynemix_engine::state::{AccountIndex, State, StateMemory};
use dynemix_engine::system::build::transaction_of;
use dynemix_engine::system::record::Record;
use dynemix_engine::system::tables::System;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Transactions at most.
const TRANSACTIONS_MAX: usize = 400_000;
/// Records at most.
const RECORDS_MAX: usize = 8_192;

/// One that waits.
struct Waiting {
    item: Arc<Item>,
    account: AccountIndex,
    sequence: u32,
}

/// The pool.
#[derive(Default)]
pub struct Pool {
    transactions: HashMap<Hash, Waiting>,
    places: HashMap<(AccountIndex, u32), Hash>,
    records: BTreeMap<Hash, Arc<Item>>,
}

impl Pool {
    /// Transactions that wait.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Ids of all transactions.
    pub fn ids(&self) -> Vec<Hash> {
        self.transactions.keys().copied().collect()
    }

    /// A transaction with its sender's account.
    pub fn transaction(&self, id: &Hash) -> Option<(Arc<Item>, AccountIndex)> {
        self.transactions.get(id).map(|waiting| (waiting.item.clone(), waiting.account))
    }

    /// One that waits.
    pub fn item(&self, id: &Hash) -> Option<Arc<Item>> {
        self.transactions.get(id).map(|waiting| waiting.item.clone()).or_else(|| self.records.get(id).cloned())
    }

    /// Whether a transaction whose signature is good can become part of a block soon: its sender's account and sequence.
    /// `account` is the sender's, if it was looked up before.
    ///
    /// # Errors
    /// Why not.
    pub fn check<M: StateMemory>(
        &self,
        item: &Arc<Item>,
        account: Option<AccountIndex>,
        chain: &Chain,
        state: &State<M>,
        system: &System,
    ) -> Result<(AccountIndex, u32), Refusal> {
        let (cell, payload) = transaction_of(item).ok_or(Refusal::UnknownKind)?;
        if self.transactions.contains_key(&item.id) {
            return Err(Refusal::Duplicate);
        }
        if self.transactions.len() >= TRANSACTIONS_MAX {
            return Err(Refusal::Busy);
        }
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
        let sequence = cell.sequence as u32;
        if self.places.contains_key(&(account, sequence)) {
            return Err(Refusal::SenderConflict);
        }
        Ok((account, sequence))
    }

    /// Takes a transaction that [`Self::check`] has let through.
    pub fn insert(&mut self, item: &Arc<Item>, (account, sequence): (AccountIndex, u32)) {
        self.places.insert((account, sequence), item.id);
        self.transactions.insert(item.id, Waiting { item: item.clone(), account, sequence });
    }

    /// Takes a record; one too many is dropped.
    pub fn admit_record(&mut self, item: &Arc<Item>, system: &System) {
        let height = system.height;
        let near = match Record::of_item(item) {
            Some(Record::Answer(answer)) => (height + 2..=height + 4).contains(&answer.height),
            Some(Record::Attest(attest)) => (height..=height + 2).contains(&attest.height),
            Some(Record::Fraud(evidence)) => evidence.height <= height + 2,
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

    /// After a block: what is used up, expired or no longer true goes.
    pub fn settle<M: StateMemory>(&mut self, state: &State<M>, system: &System) {
        let places = &mut self.places;
        self.transactions.retain(|_, waiting| {
            let past = waiting.sequence < state.hot(waiting.account).sequence;
            let stays = !past && transaction_of(&waiting.item).is_some_and(|(cell, _)| cell.expires_slot >= system.slot);
            if !stays {
                places.remove(&(waiting.account, waiting.sequence));
            }
            stays
        });
        self.records.retain(|_, item| match Record::of_item(item) {
            Some(Record::Answer(answer)) => answer.height > system.height + 1,
            Some(Record::Attest(attest)) => attest.height >= system.height,
            Some(Record::Fraud(evidence)) => !system.barred.contains_key(&evidence.candidate),
            Some(Record::Alert(alert)) => system.immature_block(&alert.attest.block).is_some(),
            Some(Record::Invalid(invalid)) => system.immature_block(&invalid.attest.block).is_some(),
            _ => false,
        });
    }
}
