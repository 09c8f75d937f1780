//! Register: an account takes a name, for good; what it costs is locked with it.

use super::explained::Explained;
use super::transaction::{Building, Transaction};
use crate::base::ids::AccountIndex;
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::refusal::Refusal;
use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::transaction::item::Item;

/// Neither the account nor the name may be taken.
pub(in crate::rules) fn fits(system: &System, name: &[u8], account: AccountIndex) -> Result<(), Refusal> {
    match () {
        () if system.names.name_of(account).is_some() => Err(Refusal::NameHeld),
        () if system.names.account_of(name).is_some() => Err(Refusal::NameTaken),
        () => Ok(()),
    }
}

/// Enters the record.
pub(in crate::rules) fn effect(item: &Item, transaction: &Transaction<'_>, building: &mut Building<'_>) {
    let name = transaction.payload;
    assert!(name.len() <= NAME_BYTES_MAX, "the form of a name is checked before it comes here");
    building.patch.records.push(record(transaction.account, item, name));
}

/// Accounts for the record.
pub(in crate::rules) fn explain(account: AccountIndex, item: &Item, name: &[u8], explained: &mut Explained) {
    explained.record(&record(account, item, name));
}

/// Whether its record may stand in a patch: who has a name takes no second one.
pub(in crate::rules) fn admissible(system: &System, account: AccountIndex) -> bool {
    system.names.name_of(account).is_none()
}

fn record(account: AccountIndex, item: &Item, name: &[u8]) -> Record {
    Record::Register { account, id: item.id(), name: name.to_vec() }
}
