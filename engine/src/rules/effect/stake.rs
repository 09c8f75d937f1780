//! Stake: an account with a name puts units at stake, by a voting key that is its own for good.

use super::explained::Explained;
use super::transaction::{Building, Transaction};
use crate::base::ids::{AccountIndex, Key, Sig, VoteKey};
use crate::base::refusal::Refusal;
use crate::chain::record::Record;
use crate::chain::tables::System;
use crate::transaction::cell::Cell;
use crate::vote::signing::Signing;

/// The account must be one that may stake by this key, and the block that is named one of the last.
pub(in crate::rules) fn fits(
    system: &System,
    cell: &Cell,
    payload: &[u8],
    account: AccountIndex,
) -> Result<(), Refusal> {
    let (key, _) = parts(payload).ok_or(Refusal::PayloadMismatch)?;
    may(system, account, key)?;
    if system.names_ancestor(&cell.recipient) { Ok(()) } else { Err(Refusal::AnchorUnknown) }
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
    may(system, account, key).is_ok() && amount > 0
}

fn may(system: &System, account: AccountIndex, key: &VoteKey) -> Result<(), Refusal> {
    match () {
        () if system.names.name_of(account).is_none() => Err(Refusal::NameMissing),
        () if system.barred.contains_key(&account) => Err(Refusal::Barred),
        () if system.stakers.get(&account).is_some_and(|staker| *staker.key != *key) => Err(Refusal::VoteKeyDiffers),
        () => Ok(()),
    }
}

/// Voting key and proof of possession.
fn parts(payload: &[u8]) -> Option<(&VoteKey, &Sig)> {
    let (key, possession) = payload.split_first_chunk()?;
    Some((key, possession.try_into().ok()?))
}

fn record(account: AccountIndex, amount: u64, key: &VoteKey, possession: &Sig) -> Record {
    Record::Stake { account, amount, key: Box::new(*key), possession: Box::new(*possession) }
}
