//! What a transaction is good for on one parent: found out once, by whoever verifies it, for whoever admits it.

use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::parameters::{Chain, SEQUENCES_AHEAD};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::transaction::cell::TransactionKind;
use dynemix_engine::transaction::check::{Cost, check};
use dynemix_engine::transaction::item::Item;

/// A transaction of an account, as it looks on one parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Height of the parent; none if accounts and system were of different ones, just while a block was applied.
    pub parent: Option<u64>,
    /// Its sender's account.
    pub account: AccountIndex,
    /// Which of the account's transactions it is.
    pub sequence: u32,
    /// What it takes from the account.
    pub cost: Cost,
    /// Its turn has come: none of its account comes before it.
    pub due: bool,
    /// The shard that takes it at the next height.
    pub shard: usize,
    /// It moves units and does nothing else: no table has a say in it.
    pub plain: bool,
}

impl Prospect {
    /// Whether a transaction of this account may come into a block soon, as far as form, time, sequence and balance
    /// say: all that is cheaper than its signature.
    ///
    /// # Errors
    /// Why not.
    pub fn of<M: StateMemory>(
        item: &Item,
        account: AccountIndex,
        chain: &Chain,
        state: &State<M>,
        system: &System,
    ) -> Result<Prospect, Refusal> {
        let (cell, payload) = item.cell_and_payload().ok_or(Refusal::UnknownKind)?;
        let cost = check(cell, payload, &chain.parameters, system.slot)?;
        let hot = state.hot(account);
        let next = u64::from(hot.sequence);
        if cell.sequence < next || cell.sequence >= next + u64::from(SEQUENCES_AHEAD) {
            return Err(Refusal::WrongSequence);
        }
        if cost.total() > hot.balance {
            return Err(Refusal::InsufficientBalance);
        }
        let kind = TransactionKind::from_number(cell.kind);
        Ok(Prospect {
            parent: (state.header().height == system.height).then_some(system.height),
            account,
            sequence: u32::try_from(cell.sequence).map_err(|_| Refusal::SequenceRange)?,
            cost,
            due: cell.sequence == next,
            shard: shard_of(&system.seed, &cell.sender, system.committee.shards.len()),
            plain: matches!(kind, Some(TransactionKind::Transfer | TransactionKind::MultiTransfer)),
        })
    }

    /// What it takes, if it may stand in this shard's next block for certain; else somebody has to look again.
    pub fn sound_in(&self, shard: Option<usize>) -> Option<Cost> {
        (self.plain && self.due && shard == Some(self.shard)).then_some(self.cost)
    }
}
