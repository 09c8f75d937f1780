//! Unstake: an account takes units from its stake; they are free some heights later.

use super::explained::Explained;
use super::transaction::{Building, Transaction};
use crate::base::ids::AccountIndex;
use crate::base::refusal::Refusal;
use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::transaction::cell::Cell;

/// So much must be at stake, and the block that is named be one of the last.
pub(in crate::rules) fn fits(system: &System, cell: &Cell, account: AccountIndex) -> Result<(), Refusal> {
    match () {
        () if system.stake(account) < cell.amount => Err(Refusal::StakeShort),
        () if !system.names_ancestor(&cell.recipient) => Err(Refusal::AnchorUnknown),
        () => Ok(()),
    }
}

/// Enters the record.
pub(in crate::rules) fn effect(transaction: &Transaction<'_>, building: &mut Building<'_>) {
    let Transaction { account, amount, .. } = *transaction;
    building.patch.records.push(Record::Unstake { account, amount });
}

/// Accounts for the record.
pub(in crate::rules) fn explain(account: AccountIndex, cell: &Cell, explained: &mut Explained) {
    explained.record(&Record::Unstake { account, amount: cell.amount });
}

/// Whether its record may stand in a patch.
pub(in crate::rules) fn admissible(system: &System, account: AccountIndex, amount: u64) -> bool {
    amount > 0 && system.stake(account) >= amount
}
