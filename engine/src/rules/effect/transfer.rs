//! Transfer and MultiTransfer: units go from one account to others, and the fee to the pool.

use super::explained::Explained;
use super::transaction::{Building, Transaction};
use crate::accounts::columns::StateMemory;
use crate::accounts::state::State;
use crate::base::ids::{AccountIndex, Key};
use crate::base::refusal::Refusal;
use crate::transaction::cell::{Cell, payload_outputs};
use crate::transaction::check::Cost;
use crate::verify::account_key_acceptable;

/// Every recipient must be an account, or a key that may become one; `recipient` is the account of the first, if it has one.
pub(in crate::rules) fn fits<M: StateMemory>(
    state: &State<M>,
    cell: &Cell,
    payload: &[u8],
    recipient: Option<AccountIndex>,
) -> Result<(), Refusal> {
    let acceptable = |key: &Key, known: Option<AccountIndex>| known.is_some() || account_key_acceptable(key);
    let all = acceptable(&cell.recipient, recipient)
        && payload_outputs(payload).all(|output| acceptable(&output.recipient, state.find(&output.recipient)));
    if all { Ok(()) } else { Err(Refusal::RecipientInvalid) }
}

/// Credits every output; false if one cannot become an account, or there is no room for it.
pub(in crate::rules) fn effect<M: StateMemory>(
    state: &State<M>,
    transaction: &Transaction<'_>,
    recipient: Option<AccountIndex>,
    building: &mut Building<'_>,
) -> bool {
    let further: Vec<_> =
        payload_outputs(transaction.payload).map(|output| (state.find(&output.recipient), output)).collect();
    let unknown = further.iter().filter(|(known, _)| known.is_none());
    let mut new: Vec<&Key> = unknown.map(|(_, output)| &output.recipient).collect();
    new.extend(recipient.is_none().then_some(&transaction.recipient));
    if new.len() as u64 > building.room || !new.iter().all(|key| account_key_acceptable(key)) {
        return false;
    }
    building.room -= new.len() as u64;
    building.delta.credit(recipient, &transaction.recipient, transaction.amount);
    for (known, output) in &further {
        building.delta.credit(*known, &output.recipient, output.amount);
    }
    building.patch.delta.fees += transaction.cost.fee;
    true
}

/// Accounts for its outputs and its fee.
pub(in crate::rules) fn explain(cell: &Cell, payload: &[u8], cost: &Cost, explained: &mut Explained) {
    explained.pay(cell.recipient, cell.amount);
    payload_outputs(payload).for_each(|output| explained.pay(output.recipient, output.amount));
    explained.fees += cost.fee;
}
