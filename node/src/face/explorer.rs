//! What people look for: a block with its transactions, who mints, how much there is, and what a text may name.

use super::answered::{Answered, Api, INVALID_PARAMS, NOT_FOUND};
use super::answers::{BlockAnswer, Found, KeptTransaction, MinterShown, MintersAnswer, SupplyAnswer};
use super::connection::Connection;
use super::history::kept_transaction;
use crate::keep::record::BlockRecord;
use crate::setup::address::{self, AddressError};
use crate::setup::digits::digits;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::Items;
use dynemix_storage::StoreError;
use serde_json::json;
use std::sync::Arc;

/// Newest heights in whose transactions an id is looked for.
const SEARCHED: u64 = 64;
/// What a transaction costs that is hashed for that, in bytes of the caller's allowance.
const HASH_COST: u64 = 256;

fn name_of(system: &System, account: AccountIndex) -> Option<String> {
    system.names.name_of(account).map(|name| String::from_utf8_lossy(name).into_owned())
}

fn key_of(api: &Api, account: AccountIndex) -> Option<Key> {
    let of = |keys: &[Key]| keys.get(account as usize).copied();
    api.view.accounts.with(|state| of(&state.columns().key[..state.header().accounts as usize]))
}

/// A block of the log, and of its transactions a page.
pub(super) fn block(api: &Api, caller: &Connection, height: u64, (from, count): (usize, usize)) -> Answered {
    let (first, last) = (api.view.records.first().max(1), api.view.records.last());
    let record = api.view.records.read(height).map_err(|error| match error {
        StoreError::NoRecord { .. } => (NOT_FOUND, format!("blocks are kept here from height {first} to {last}")),
        error => (NOT_FOUND, error.to_string()),
    })?;
    // Whoever has a block read pays for it.
    caller.charge(record.len() as u64);
    let no_block = |_| (NOT_FOUND, format!("the log's record {height} is no block of this program"));
    let (decided, blocks) = BlockRecord::decode(&record).and_then(|record| record.master()).map_err(no_block)?;
    let signed = |block: &Arc<CertifiedBlock>| Patch::signed(&block.patch).unwrap_or(0);
    let transactions_total = blocks.iter().map(signed).sum();
    let here: Vec<Items> = match blocks.iter().any(|block| !block.items.is_empty()) {
        true => blocks.iter().map(|block| block.items.clone()).collect(),
        // Of quilt mode: as far as they are remembered.
        false => api.view.inclusions.of_height(height),
    };
    let cells = here.iter().flat_map(|items| items.iter()).filter_map(|item| item.cell());
    let prefix = &api.view.chain.transaction_prefix;
    let mut page = cells.skip(from);
    let transactions: Vec<KeptTransaction> =
        page.by_ref().take(count).map(|cell| kept_transaction(cell, height, prefix)).collect();
    let next_from = page.next().map(|_| (from + count) as u64);
    let parameters = &api.view.chain.parameters;
    Ok(json!(BlockAnswer {
        height,
        slot: decided.value.slot,
        slot_unix_ms: parameters.start_ms + decided.value.slot * parameters.slot_ms,
        hash: hex::encode(decided.hash),
        parent: hex::encode(decided.value.parent),
        signers: decided.certificate.signers.len(),
        transactions_total,
        transactions,
        next_from,
    }))
}

/// The minters of the next height, a page of them.
pub(super) fn minters(api: &Api, (from, count): (usize, usize)) -> Answered {
    let live = api.view.status.shown();
    let system = live.system.as_ref().ok_or((NOT_FOUND, "the node has no block yet".to_owned()))?;
    let committee = &system.committee;
    let members = committee.members.iter().skip(from).take(count);
    let minters = members.map(|member| {
        let key = key_of(api, member.candidate);
        MinterShown {
            account: member.candidate,
            key: key.map(hex::encode),
            address: key.map(|key| api.address(&key)),
            name: name_of(system, member.candidate),
            stake_units: member.stake,
            shard: member.shard,
            delegate: member.delegate,
        }
    });
    Ok(json!(MintersAnswer {
        height: committee.height,
        seats: committee.members.len(),
        shards: committee.shards.len(),
        stakers: system.stakers.iter().filter(|(_, staker)| staker.stake > 0).count(),
        minters: minters.collect(),
    }))
}

/// All units that there are. What is issued is added to those of genesis at each height, and what is in no pool is in a
/// balance: consensus holds to that, so nobody adds up the balances.
pub(super) fn supply(api: &Api) -> Answered {
    let live = api.view.status.shown();
    let system = live.system.as_ref().ok_or((NOT_FOUND, "the node has no block yet".to_owned()))?;
    let (pools, genesis_units) = (&system.pools, api.genesis_units);
    let total_units = genesis_units + pools.issued;
    Ok(json!(SupplyAnswer {
        height: system.height,
        total_units,
        genesis_units,
        issued_units: pools.issued,
        spendable_units: total_units - pools.sum(),
        staked_units: pools.stakes,
        unstaking_units: pools.unstaking,
        reserved_units: pools.reserves,
        immature_units: pools.immature,
        fees_units: pools.fees,
        slashed_units: pools.slashed,
    }))
}

fn found(what: &str) -> Found {
    let (height, id, state, account, key, address, name) = (None, None, None, None, None, None, None);
    Found { what: what.to_owned(), height, id, state, account, key, address, name }
}

/// The transaction of this id in the newest blocks whose transactions are here.
fn transaction_in_blocks(api: &Api, caller: &Connection, id: &Hash) -> Option<Found> {
    let prefix = &api.view.chain.transaction_prefix;
    let newest = api.view.status.look(|live| live.height);
    (newest.saturating_sub(SEARCHED)..=newest).rev().find_map(|height| {
        let here = api.view.inclusions.of_height(height);
        let mut looked = 0;
        let mut is_it = |cell: &Cell| {
            looked += 1;
            cell.id(prefix) == *id
        };
        let is_here = here.iter().flat_map(|items| items.iter()).filter_map(|item| item.cell()).any(&mut is_it);
        caller.charge(HASH_COST * looked);
        let (height, id, state) = (Some(height), Some(hex::encode(id)), Some("final".to_owned()));
        is_here.then(|| Found { height, id, state, ..found("transaction") })
    })
}

/// Whatever a text names.
pub(super) fn search(api: &Api, caller: &Connection, text: &str) -> Answered {
    let (text, mut all) = (text.trim(), Vec::new());
    let live = api.view.status.shown();
    let records = &api.view.records;
    let is_number = !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit());
    let height = text
        .parse::<u64>()
        .ok()
        .filter(|height| is_number && (records.first().max(1)..=records.last()).contains(height));
    if let Some(height) = height {
        let block = live.blocks.iter().find(|block| block.height == height);
        all.push(Found { height: Some(height), id: block.map(|block| block.hash.clone()), ..found("block") });
    }
    let account = |account: AccountIndex, key: Option<Key>| {
        let name = live.system.as_ref().and_then(|system| name_of(system, account));
        let (key, address) = (key.map(hex::encode), key.map(|key| api.address(&key)));
        Found { account: Some(account), key, address, name, ..found("account") }
    };
    if let Some(hash) = digits::<32>(text) {
        if let Some(block) = live.blocks.iter().find(|block| block.hash == text) {
            all.push(Found { height: Some(block.height), id: Some(text.to_owned()), ..found("block") });
        }
        let shown = api.view.status.track(|tracked| tracked.shown(&hash)).map(|shown| {
            let (height, id, state) = (shown.height, Some(text.to_owned()), Some(shown.state));
            Found { height, id, state, ..found("transaction") }
        });
        // A copy can be refused here since the one that another node has taken is final.
        let is_open = shown.as_ref().is_none_or(|shown| shown.height.is_none());
        let in_block = if is_open { transaction_in_blocks(api, caller, &hash) } else { None };
        all.extend(in_block.or(shown));
    }
    // Another chain's address, or one with a wrong letter, is not only not found.
    let key = match address::key_of(&api.address_prefix, text) {
        Err(AddressError::Form { .. }) => None,
        Err(error) => return Err((INVALID_PARAMS, error.to_string()).into()),
        Ok(key) => Some(key),
    };
    let index = key.and_then(|key| api.view.accounts.with(|state| state.find(&key)));
    all.extend(index.map(|index| account(index, key)));
    let named = live.system.as_ref().and_then(|system| system.names.account_of(text.as_bytes()));
    all.extend(named.map(|index| account(index, key_of(api, index))));
    Ok(json!(all))
}
