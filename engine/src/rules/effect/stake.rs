//! Stake: an account with a name puts units at stake, by a voting key that is its own for good.

use super::explained::Explained;
use super::transaction::{Building, Transaction};
use crate::base::ids::{AccountIndex, Key, Sig, VoteKey};
use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::transaction::cell::Cell;
use crate::vote::signing::Signing;

/// Whether the account may stake by this key, naming a block that there was.
pub(in crate::rules) fn fits(system: &System, cell: &Cell, payload: &[u8], account: AccountIndex) -> bool {
    parts(payload).is_some_and(|(key, _)| may(system, account, key) && system.names_ancestor(&cell.recipient))
}

/// Whether the payload proves that its sender has the voting key: a pairing. The proof names the sender's account, so
/// nobody stakes by a key and proof that another has shown.
pub(in crate::rules) fn possession_holds(signing: &dyn Signing, sender: &Key, payload: &[u8]) -> bool {
    parts(payload).is_some_and(|(key, possession)| signing.possession_holds(sender, key, possession))
}

/// Enters the record.
pub(in crate::rules) fn effect(transaction: &Transaction<'_>, building: &mut Building<'_>) {
    let (key, possession) = parts(transaction.payload).expect("the form of a stake is checked before it comes here");
    building.patch.records.push(record(transaction.account, transaction.amount, key, possession));
}

/// Accounts for the record; false if the payload has not its form.
pub(in crate::rules) fn explain(account: AccountIndex, cell: &Cell, payload: &[u8], explained: &mut Explained) -> bool {
    let Some((key, possession)) = parts(payload) else { return false };
    explained.record(&record(account, cell.amount, key, possession));
    true
}

/// Whether its record may stand in a patch, if its proof of possession holds: what can be said without a pairing.
pub(in crate::rules) fn admissible(system: &System, account: AccountIndex, amount: u64, key: &VoteKey) -> bool {
    may(system, account, key) && amount > 0
}

fn may(system: &System, account: AccountIndex, key: &VoteKey) -> bool {
    let registered = system.names.name_of(account).is_some() && !system.barred.contains_key(&account);
    registered && system.stakers.get(&account).is_none_or(|staker| *staker.key == *key)
}

/// Voting key and proof of possession.
fn parts(payload: &[u8]) -> Option<(&VoteKey, &Sig)> {
    let (key, possession) = payload.split_first_chunk()?;
    Some((key, possession.try_into().ok()?))
}

fn record(account: AccountIndex, amount: u64, key: &VoteKey, possession: &Sig) -> Record {
    Record::Stake { account, amount, key: Box::new(*key), possession: Box::new(*possession) }
}
