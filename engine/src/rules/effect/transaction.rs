//! A transaction that may stand in a block, and the block in the making that it enters.

use crate::accounts::delta::DeltaBuilder;
use crate::base::ids::{AccountIndex, Key};
use crate::chain::patch::Patch;
use crate::transaction::cell::{Cell, TransactionKind};
use crate::transaction::check::Cost;

/// A transaction that may stand in a block: what building needs of it.
pub struct Transaction<'a> {
    /// Its kind.
    pub kind: TransactionKind,
    /// First output.
    pub amount: u64,
    /// Where that goes.
    pub recipient: Key,
    /// Its payload.
    pub payload: &'a [u8],
    /// The sender's account.
    pub account: AccountIndex,
    /// What it takes from the sender.
    pub cost: Cost,
}

impl<'a> Transaction<'a> {
    pub(in crate::rules) fn of(
        cell: &Cell,
        payload: &'a [u8],
        account: AccountIndex,
        cost: Cost,
    ) -> Option<Transaction<'a>> {
        let kind = TransactionKind::from_number(cell.kind)?;
        Some(Transaction { kind, amount: cell.amount, recipient: cell.recipient, payload, account, cost })
    }
}

/// A block in the making.
pub(in crate::rules) struct Building<'a> {
    /// Accounts that it may still open.
    pub room: u64,
    /// Its changes of balances.
    pub delta: DeltaBuilder,
    /// Its patch: fees and records.
    pub patch: &'a mut Patch,
}
