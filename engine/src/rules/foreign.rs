//! What is checked of a shard-block that others made.

use super::admit::View;
use super::build::Built;
use super::effect::{register, stake, unstake};
use super::objects::records_standing;
use crate::accounts::columns::StateMemory;
use crate::accounts::delta::DeltaError;
use crate::base::ids::AccountIndex;
use crate::base::limits::HEAVY_MAX;
use crate::base::mutation::{Mutation, planted};
use crate::base::parameters::SUPPLY_GENESIS;
use crate::chain::block::{CertifiedBlock, ShardBlock};
use crate::chain::patch::Patch;
use crate::chain::record::Record;
use crate::committee::members::shard_of;
use crate::verify::account_key_acceptable;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why another shard's patch is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchFault {
    /// The bytes are no patch.
    #[error(transparent)]
    Form(#[from] DeltaError),
    /// It is not the patch of this header, or not on this parent.
    #[error("the patch is not that of its header")]
    Header,
    /// A debit that the account does not cover, of an account that there is not, or of another shard's.
    #[error("account {0} cannot be debited so")]
    Debit(AccountIndex),
    /// A credit to an account that there is not, or of less than the smallest output.
    #[error("account {0} cannot be credited so")]
    Credit(AccountIndex),
    /// A new key that has an account or cannot be one's, is given less than the smallest output, or too many of them.
    #[error("new key {0} cannot become an account")]
    Created(usize),
    /// It makes money, or loses it.
    #[error("{debits} units are debited, {credits} arrive")]
    Sum {
        /// Units that the patch takes from accounts.
        debits: u128,
        /// Credited, locked and paid as fees.
        credits: u128,
    },
    /// A record that is not true, not this shard's, or one too many.
    #[error("record {0} is not admissible")]
    Record(usize),
}

impl<M: StateMemory> View<'_, M> {
    /// What is checked of another shard's patch before its block counts as held: with it a captured shard can take from
    /// its own accounts until the ban, but never make money, and never touch another shard's.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn patch_holds(&self, block: &ShardBlock, bytes: &[u8]) -> Result<Patch, PatchFault> {
        if block.patch_hash != Patch::hash(bytes) {
            return Err(PatchFault::Header);
        }
        // Entries are bounded by the bytes that they stand in, and those by what a message may have.
        let patch = Patch::decode(bytes, u32::MAX as usize)?;
        let header = self.state.header();
        let place = (patch.height, patch.slot, patch.shard, patch.parent_root);
        let in_time = block.slot > self.system.slot && block.slot <= u64::from(u32::MAX);
        if place != (self.system.height + 1, block.slot, block.shard, header.root)
            || block.parent_root != header.root
            || !in_time
            || block.bytes > self.block_bytes_max()
        {
            return Err(PatchFault::Header);
        }
        if planted(Mutation::PatchNotChecked) {
            return Ok(patch);
        }
        self.debits_covered(block.shard as usize, &patch)?;
        self.credits_receivable(&patch)?;
        let locked = self.records_admissible(block.shard as usize, &patch)?;
        let (debits, credits) = patch.delta.sums();
        assert!(locked <= debits, "each record was found to lock no more than its sender's one debit");
        let credits = credits + locked;
        if debits != credits || debits > u128::from(SUPPLY_GENESIS) {
            return Err(PatchFault::Sum { debits, credits });
        }
        Ok(patch)
    }

    /// Whether each debit is of an account of this shard that covers it.
    fn debits_covered(&self, shard: usize, patch: &Patch) -> Result<(), PatchFault> {
        let (accounts, columns) = (self.state.header().accounts, self.state.columns());
        let shards = self.system.committee.shards.len();
        for (account, amount) in patch.delta.debits.iter() {
            let right = u64::from(account) < accounts && {
                let hot = &columns.hot[account as usize];
                let of_shard = shard_of(&self.system.seed, &columns.key[account as usize], shards) == shard;
                of_shard && amount <= hot.balance && hot.sequence < u32::MAX - 1
            };
            if !right {
                return Err(PatchFault::Debit(account));
            }
        }
        Ok(())
    }

    /// Whether each credit is of an account, each new key may become one, and each gets what an output has at least.
    fn credits_receivable(&self, patch: &Patch) -> Result<(), PatchFault> {
        let (accounts, least) = (self.state.header().accounts, self.chain.parameters.amount_min);
        let mut credits = patch.delta.credits.iter();
        if let Some((account, _)) = credits.find(|entry| u64::from(entry.0) >= accounts || entry.1 < least) {
            return Err(PatchFault::Credit(account));
        }
        if let Some(place) = patch.delta.created_amounts.iter().position(|&amount| amount < least) {
            return Err(PatchFault::Created(place));
        }
        let created = &patch.delta.created_keys;
        if created.len() as u64 > self.room() {
            return Err(PatchFault::Created(created.len()));
        }
        match created.iter().position(|key| !account_key_acceptable(key) || self.state.find(key).is_some()) {
            Some(place) => Err(PatchFault::Created(place)),
            None => Ok(()),
        }
    }

    /// Whether a certified block counts as held: in quilt mode if its patch breaks no rule; else if building its items,
    /// each once, gives this very block, whose patch then breaks none either.
    pub fn block_holds(&self, block: &CertifiedBlock, quilt_mode: bool, build: impl FnOnce() -> Arc<Built>) -> bool {
        let Ok(patch) = self.patch_holds(&block.block, &block.patch) else { return false };
        quilt_mode || {
            // Records are bounded where they stand: what is beside those costs pairings, and comes to nothing.
            let brought = block.items.iter().filter(|item| !item.is_transaction()).count();
            let stand = patch.records.iter().filter(|record| !record.is_of_transaction()).count();
            let ascending = block.items.is_sorted_by(|a, b| a.id() < b.id());
            ascending && brought == stand && {
                let built = build();
                built.block == block.block && built.patch == block.patch && built.items.len() == block.items.len()
            }
        }
    }

    /// Checks a patch's records, and returns what they lock and stake.
    fn records_admissible(&self, shard: usize, patch: &Patch) -> Result<u128, PatchFault> {
        let debits = &patch.delta.debits;
        let mut locked: BTreeMap<AccountIndex, u64> = BTreeMap::new();
        let mut pairings = 0;
        let standing = records_standing(self.system, patch.records.iter().enumerate());
        for (place, record) in patch.records.iter().enumerate() {
            let right = match self.own_record(record, &mut pairings) {
                // A transaction's record stands for its sender's one debit, and its only one.
                Some((account, debit, right)) => {
                    let debited = debits.accounts.binary_search(&account).map(|place| debits.amounts[place]);
                    right && debited == Ok(debit) && locked.insert(account, debit).is_none()
                }
                None => {
                    let id = record.item().id();
                    standing.contains(&place) && self.admits(shard, record, &id) && self.record_holds(record)
                }
            };
            if !right {
                return Err(PatchFault::Record(place));
            }
        }
        // A debit of nothing is a sequence's step, and only an unstake makes one.
        let unexplained = |(account, amount): &(AccountIndex, u64)| *amount == 0 && !locked.contains_key(account);
        if let Some((account, _)) = debits.iter().find(unexplained) {
            return Err(PatchFault::Debit(account));
        }
        Ok(locked.values().map(|&amount| u128::from(amount)).sum())
    }

    /// Of a record that follows from a transaction: whose, the sender's debit, and whether it may stand.
    fn own_record(&self, record: &Record, pairings: &mut usize) -> Option<(AccountIndex, u64, bool)> {
        match record {
            Record::Register { account, .. } => {
                let reserve = self.chain.parameters.consensus.register_reserve;
                Some((*account, reserve, register::admissible(self.system, *account)))
            }
            Record::Stake { account, amount, key, possession } => {
                *pairings += 1;
                let may = *pairings <= HEAVY_MAX && stake::admissible(self.system, *account, *amount, key);
                let right = may
                    && self.key_of(*account).is_some_and(|owner| self.signing.possession_holds(owner, key, possession));
                Some((*account, *amount, right))
            }
            Record::Unstake { account, amount } => {
                Some((*account, 0, unstake::admissible(self.system, *account, *amount)))
            }
            _ => None,
        }
    }
}
