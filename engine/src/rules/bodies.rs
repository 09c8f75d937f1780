//! Whether the transactions of a final shard-block are there, and make its patch.

use super::admit::View;
use super::effect::{register, stake, transfer, unstake};
use crate::accounts::columns::StateMemory;
use crate::base::hash::Hash;
use crate::base::ids::{AccountIndex, Key};
use crate::base::limits::TRANSACTION_BYTES_MAX;
use crate::chain::block::transactions_root;
use crate::chain::patch::Patch;
use crate::chain::record::Record;
use crate::chain::tables::ImmatureBlock;
use crate::rules::effect::explained::Explained;
use crate::transaction::cell::{Cell, TransactionKind};
use crate::transaction::check::{check_expiry, cost};
use crate::transaction::item::{Item, block_bytes};
use std::collections::BTreeMap;

/// What items are that are said to be those of a shard-block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Its items, and they make its patch.
    Whole,
    /// Its items, and the one at this place no state makes valid.
    Invalid(usize),
    /// Not its items, or they do not make its patch: as good as none.
    Other,
}

impl<M: StateMemory> View<'_, M> {
    /// Judges what was served as the items of a final shard-block that is not mature. By then the parent's balances are
    /// gone; what they had to cover was checked with the patch. What is left: that each change has its signed
    /// transaction.
    pub fn bodies(&self, height: u64, block: &ImmatureBlock, items: &[Item]) -> Bodies {
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
        let ascending = ids.is_sorted_by(|a, b| a < b) && ids.len() == block.header.transactions as usize;
        if !ascending || transactions_root(&mut ids) != block.header.transactions_root {
            return Bodies::Other;
        }
        if let Some(place) = items.iter().position(|item| self.never_valid(item)) {
            // A proof must fit an item: what is longer than any transaction counts as not shown.
            return if items[place].length() <= TRANSACTION_BYTES_MAX { Bodies::Invalid(place) } else { Bodies::Other };
        }
        if self.explains(height, block, items) { Bodies::Whole } else { Bodies::Other }
    }

    /// Whether these items, all of them well formed and genuine, change what the patch changes, and nothing else.
    fn explains(&self, height: u64, block: &ImmatureBlock, items: &[Item]) -> bool {
        if block_bytes(items) != block.header.bytes {
            return false;
        }
        let patch = &*block.patch;
        let of_height = self.system.immature.iter().find(|immature| immature.height == height);
        let Some(parent_slot) = of_height.map(|immature| immature.parent_slot) else { return false };
        let mut debits: BTreeMap<AccountIndex, u64> = BTreeMap::new();
        let mut explained = Explained::default();
        for item in items {
            let Some((cell, payload)) = item.cell_and_payload() else {
                explained.records.insert(item.to_bytes());
                continue;
            };
            let Ok(cost) = cost(cell, payload, &self.chain.parameters) else { return false };
            let Some(account) = self.state.find(&cell.sender) else { return false };
            let of_time = self.was_its_turn(height, parent_slot, cell, account);
            if !of_time || debits.insert(account, cost.total()).is_some() {
                return false;
            }
            match TransactionKind::from_number(cell.kind) {
                Some(TransactionKind::Transfer | TransactionKind::MultiTransfer) => {
                    transfer::explain(cell, payload, &cost, &mut explained)
                }
                Some(TransactionKind::Register) => register::explain(account, item, payload, &mut explained),
                Some(TransactionKind::Stake) => {
                    if !stake::explain(account, cell, payload, &mut explained) {
                        return false;
                    }
                }
                Some(TransactionKind::Unstake) => unstake::explain(account, cell, &mut explained),
                None => return false,
            }
        }
        let Explained { paid, fees, records } = explained;
        debits.into_iter().eq(patch.delta.debits.iter())
            && paid == self.received(patch)
            && fees == patch.delta.fees
            && records.into_iter().eq(patch.records.iter().map(Record::to_bytes))
    }

    /// Whether a transaction had the sequence that was its account's turn, was in time, and names a block that there
    /// was if it stakes or unstakes.
    fn was_its_turn(&self, height: u64, parent_slot: u64, cell: &Cell, account: AccountIndex) -> bool {
        // Steps of this account since: in this block, and in later ones.
        let immature = self.system.immature.iter();
        let later = immature.filter(|immature| immature.height > height).flat_map(|immature| &immature.blocks);
        let stepped = later.filter(|later| later.patch.delta.debits.accounts.binary_search(&account).is_ok());
        let steps = 1 + stepped.count() as u64;
        let staking =
            matches!(TransactionKind::from_number(cell.kind), Some(TransactionKind::Stake | TransactionKind::Unstake));
        let known = || cell.recipient == self.system.hash || self.system.ancestors.contains(&cell.recipient);
        cell.sequence.checked_add(steps) == Some(u64::from(self.state.hot(account).sequence))
            && check_expiry(cell.expires_slot, &self.chain.parameters, parent_slot).is_ok()
            && (!staking || known())
    }

    /// What a patch credits, by key.
    fn received(&self, patch: &Patch) -> BTreeMap<Key, u128> {
        let keys = self.state.columns().key;
        let mut received: BTreeMap<Key, u128> = BTreeMap::new();
        let credits = patch.delta.credits.iter().map(|(account, amount)| (keys[account as usize], amount));
        let created = patch.delta.created_keys.iter().copied().zip(patch.delta.created_amounts.iter().copied());
        credits.chain(created).for_each(|(key, amount)| *received.entry(key).or_insert(0) += u128::from(amount));
        received
    }
}
