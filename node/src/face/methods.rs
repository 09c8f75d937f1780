//! The methods of the API: the answer to each.

use super::answered::{
    Answered, Api, Fault, INVALID_PARAMS, INVALID_REQUEST, LIMIT, METHOD_NOT_FOUND, NOT_FOUND, REFUSED,
};
use super::answers::{
    AccountAnswer, HeaderAnswer, InclusionAnswer, NameAnswer, ProofAnswer, SystemAnswer, TransactionAnswer,
};
use super::connection::Connection;
use super::explorer::{block, minters, search, supply};
use super::history::history;
use super::openrpc::openrpc;
use super::slow::Errand;
use crate::keep::mapped::MappedMemory;
use crate::keep::record::BlockRecord;
use crate::keep::replica::AccountView;
use crate::minting::inclusions::Wanted;
use crate::minting::tracked::{TooManyUnjudged, TransactionShown};
use crate::minting::view::Busy;
use crate::setup::address;
use crate::setup::digits::{bytes_of_digits, digits};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::FAN_OUT;
use dynemix_engine::base::limits::{CELL_BYTES, ITEM_BYTES_MAX, PAYLOAD_BYTES_MAX};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::check::check_form;
use dynemix_storage::StoreError;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

fn hash_of(text: &str) -> Result<[u8; 32], (i64, String)> {
    digits(text).ok_or((INVALID_PARAMS, "not 64 hexadecimal digits in lower case".to_owned()))
}

/// The key of an account of this chain: a slip of the finger, or another chain's address, is said by name.
fn key_of(api: &Api, text: &str) -> Result<[u8; 32], (i64, String)> {
    address::key_of(&api.address_prefix, text).map_err(|error| (INVALID_PARAMS, error.to_string()))
}

fn key_in(api: &Api, params: &Value) -> Result<[u8; 32], (i64, String)> {
    key_of(api, params["key"].as_str().unwrap_or(""))
}

/// Made once: it is the same for everybody.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(openrpc);
/// Bytes of it, at most.
const DESCRIPTION_BYTES: usize = 64 << 10;
/// Bytes of an error, or of a result that has no page.
const SMALL_BYTES: usize = 8 << 10;
/// Bytes of an entry of a page; of a shard-block in it a quarter.
const ENTRY_BYTES: usize = 512;
/// Levels of a path to a transaction: 16^6 is more than a block holds.
const LEVELS_MAX: usize = 6;
/// Bytes of a seat in a header: its key and who has it.
const SEAT_BYTES: usize = 160;

/// Bytes that the answer of a method can have: that much is held before it is looked for.
pub(super) fn bytes_max(api: &Api, method: &str, params: &Value) -> usize {
    let blocks = |count: u64| {
        let live = api.view.status.shown();
        let shards = live.system.as_ref().map_or(0, |system| system.committee.shards.len());
        (count.min(live.blocks.len() as u64) as usize).saturating_mul(ENTRY_BYTES + shards * ENTRY_BYTES / 4)
    };
    SMALL_BYTES
        + match method {
            "genesis" => api.genesis.1,
            "rpc.discover" => DESCRIPTION_BYTES,
            "system" => api.config.answer_bytes_max / 2,
            "headers" => {
                // Two digits a byte: what a seat has in a committee and its certificate, and what all have together.
                let header = 2 * (SEAT_BYTES * api.view.chain.parameters.consensus.seats as usize + ENTRY_BYTES);
                let count = params["count"].as_u64().unwrap_or(0).min(api.config.page_max as u64) as usize;
                header.saturating_mul(count).min(api.config.answer_bytes_max / 2)
            }
            "history" => 2 * api.config.page_max * ENTRY_BYTES,
            "block" | "minters" => api.config.page_max * ENTRY_BYTES,
            "inclusion" => 2 * (LEVELS_MAX * 32 * FAN_OUT + ITEM_BYTES_MAX),
            "status" => blocks(params["blocks"].as_u64().unwrap_or(8)),
            "blocks" => blocks(params["count"].as_u64().unwrap_or(0)),
            _ => 0,
        }
}

/// What a method has done on a thread of its own, if it takes long.
pub(super) fn slow(method: &str) -> Option<Errand> {
    match method {
        "system" | "headers" | "minters" => Some(Errand::Table),
        "inclusion" | "search" | "block" => Some(Errand::Proof),
        "history" => Some(Errand::Blocks),
        _ => None,
    }
}

/// The answer of a method. Those that take long are called on a thread of their own.
pub(super) fn call(api: &Api, from: &Connection, method: &str, params: &Value) -> Answered {
    match method {
        "system" => system(api, params["offset"].as_u64()),
        "headers" => headers(api, params),
        "inclusion" => inclusion(api, from, params),
        "history" => {
            let count = count(api, params, 50)?;
            let (read, answered) = history(api, &key_in(api, params)?, count, params["before"].as_u64());
            // Whoever has blocks read pays for them, whatever was found.
            from.charge(read as u64);
            answered
        }
        "block" => {
            let height = params["height"].as_u64().unwrap_or_else(|| api.view.records.last());
            block(api, from, height, from_count(api, params)?)
        }
        "search" => search(api, from, params["text"].as_str().unwrap_or("")),
        "submit" => submit(api, from, params),
        _ => quick(api, method, params),
    }
}

/// The answer of a method that only looks at what is in memory.
fn quick(api: &Api, method: &str, params: &Value) -> Answered {
    let view = &api.view;
    match method {
        "status" => {
            let blocks = params["blocks"].as_u64().unwrap_or(8);
            Ok(json!(view.shown(within_page(api, "blocks", blocks)?)))
        }
        "genesis" => Ok(json!(api.genesis.0)),
        "account" => account(api, &key_in(api, params)?),
        "proof" => {
            let key = key_in(api, params)?;
            let prove = |state: &State<MappedMemory>| {
                (*state.header(), state.find(&key).and_then(|account| state.prove(account)))
            };
            let (header, proof) = view.accounts.sealed(prove);
            let proof = proof.map(|proof| hex::encode(proof.encode()));
            Ok(json!(ProofAnswer { height: header.height, root: hex::encode(header.root), proof }))
        }
        "resolve" => {
            let name = params["name"].as_str().unwrap_or("");
            let account = view
                .status
                .look(|live| live.system.as_ref().and_then(|system| system.names.account_of(name.as_bytes())));
            let account = account.ok_or((NOT_FOUND, format!("nobody is called '{name}'")))?;
            let key = view.accounts.with(|state| {
                (u64::from(account) < state.header().accounts).then(|| state.columns().key[account as usize])
            });
            let key = key.ok_or((NOT_FOUND, format!("the account of '{name}' is not worked in yet")))?;
            Ok(json!(NameAnswer { account, key: hex::encode(key), address: api.address(&key) }))
        }
        "minters" => minters(api, from_count(api, params)?),
        "supply" => supply(api),
        "blocks" => {
            let (from, count) = page(api, params)?;
            let live = view.status.shown();
            let blocks = live.blocks.iter().filter(|block| block.height >= from).take(count);
            Ok(json!(blocks.map(|block| &**block).collect::<Vec<_>>()))
        }
        "transaction" => {
            let id = hash_of(params["id"].as_str().unwrap_or(""))?;
            let shown = view.status.track(|tracked| tracked.shown(&id));
            let none = "no transaction of this id was handed in here, or it is forgotten; ask the node that it was handed \
                        in to, or look for it in blocks by 'search'";
            let shown = shown.ok_or((NOT_FOUND, none.into()))?;
            Ok(json!(transaction_answer(view.chain.parameters.start_ms, &id, shown)))
        }
        "subscribe" | "unsubscribe" => {
            let what = format!("'{method}' works on a WebSocket, in a message of its own");
            Err((INVALID_REQUEST, what).into())
        }
        "rpc.discover" => Ok(DESCRIPTION.clone()),
        _ => Err((METHOD_NOT_FOUND, format!("there is no method '{method}'")).into()),
    }
}

/// How far a transaction is, with what its times count from.
pub(super) fn transaction_answer(start_unix_ms: u64, id: &[u8; 32], shown: TransactionShown) -> TransactionAnswer {
    TransactionAnswer { id: hex::encode(id), start_unix_ms, shown }
}

/// A number of entries, no more than a page has.
fn within_page(api: &Api, name: &str, count: u64) -> Result<usize, (i64, String)> {
    let most = api.config.page_max;
    match usize::try_from(count) {
        Ok(count) if count <= most => Ok(count),
        _ => Err((LIMIT, format!("'{name}' is {count}, and a page has {most} entries at most: ask for several pages"))),
    }
}

fn count(api: &Api, params: &Value, unsaid: usize) -> Result<usize, (i64, String)> {
    params["count"].as_u64().map_or(Ok(unsaid.min(api.config.page_max)), |count| within_page(api, "count", count))
}

/// A place and how many from there on, a page unless it is said.
fn from_count(api: &Api, params: &Value) -> Result<(usize, usize), (i64, String)> {
    let from = usize::try_from(params["from"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    Ok((from, count(api, params, api.config.page_max)?))
}

/// Bytes that a page may have: with its hexadecimal digits half of an answer.
fn page_bytes(api: &Api) -> usize {
    api.config.answer_bytes_max / 4
}

fn system(api: &Api, offset: Option<u64>) -> Answered {
    let system = api.view.status.shown().system.clone().ok_or((NOT_FOUND, "not yet".to_owned()))?;
    let bytes = {
        let mut written = api.system.lock().expect("nothing panics while it holds the table's bytes");
        match &*written {
            Some((height, bytes)) if *height == system.height => bytes.clone(),
            _ => {
                let mut bytes = Vec::new();
                system.encode(&mut bytes);
                written.insert((system.height, Arc::new(bytes))).1.clone()
            }
        }
    };
    let (total, most) = (bytes.len() as u64, page_bytes(api) as u64);
    let Some(offset) = offset else {
        if total > most {
            let what = format!("the system has {total} bytes, an answer {most}: ask with 'offset' 0, {most} and so on");
            return Err((LIMIT, what).into());
        }
        let bytes = hex::encode(&**bytes);
        return Ok(json!(SystemAnswer { height: system.height, offset: None, total_bytes: None, bytes }));
    };
    if offset > total {
        return Err((NOT_FOUND, format!("there is no byte {offset}: the system has {total} bytes")).into());
    }
    let piece = &bytes[offset as usize..offset.saturating_add(most).min(total) as usize];
    assert!(piece.len() as u64 <= most, "a piece of {} bytes, and {most} fit", piece.len());
    let (offset, total_bytes, bytes) = (Some(offset), Some(total), hex::encode(piece));
    Ok(json!(SystemAnswer { height: system.height, offset, total_bytes, bytes }))
}

fn page(api: &Api, params: &Value) -> Result<(u64, usize), (i64, String)> {
    let (from, count) = (params["from"].as_u64().unwrap_or(0), params["count"].as_u64().unwrap_or(0));
    Ok((from, within_page(api, "count", count)?))
}

fn account(api: &Api, key: &[u8; 32]) -> Answered {
    let found = api.view.accounts.account(key).ok_or((NOT_FOUND, "there is no account of this key".to_owned()))?;
    let AccountView { height, account, hot } = found;
    Ok(api.view.status.look(|live| {
        let system = live.system.as_ref();
        let name = system
            .and_then(|system| system.names.name_of(account))
            .map(|name| String::from_utf8_lossy(name).into_owned());
        json!(AccountAnswer {
            key: hex::encode(key),
            address: api.address(key),
            account,
            height,
            system_height: system.map(|system| system.height),
            spendable_units: hot.balance,
            immature_units: system.map_or(0, |system| system.immature_of(account)),
            sequence: hot.sequence,
            stake_units: system.map_or(0, |system| system.stake(account)),
            name,
        })
    }))
}

fn headers(api: &Api, params: &Value) -> Answered {
    let (from, count) = page(api, params)?;
    let certificates = &api.view.certificates;
    let (first, next) = (certificates.first(), certificates.next());
    if from < first {
        return Err((NOT_FOUND, format!("certificates are kept here from height {first} on")).into());
    }
    let mut out: Vec<HeaderAnswer> = Vec::new();
    let mut bytes = 0;
    for height in from..from.saturating_add(count as u64).min(next) {
        let light = match certificates.read(height) {
            // Not durable yet: the chain ends before it, for who asks.
            Err(StoreError::NoRecord { .. }) => break,
            light => light.map_err(|error| (NOT_FOUND, error.to_string()))?,
        };
        // A few hundred bytes to a few hundred kilobytes each: by what they cost, not by how many they are.
        bytes += light.len();
        if bytes > page_bytes(api) && !out.is_empty() {
            break;
        }
        out.push(HeaderAnswer { height, bytes: hex::encode(light) });
    }
    Ok(json!(out))
}

fn inclusion(api: &Api, from: &Connection, params: &Value) -> Answered {
    let height = params["height"].as_u64().unwrap_or(0);
    let wanted = match (params["id"].as_str(), params["sender"].as_str()) {
        (Some(id), None) => Wanted::Id(hash_of(id)?),
        (None, Some(sender)) => Wanted::Sender(key_of(api, sender)?),
        _ => return Err((INVALID_PARAMS, "give either 'id' or 'sender'".to_owned()).into()),
    };
    let prefix = &api.view.chain.transaction_prefix;
    let found = api.view.inclusions.find(height, wanted, prefix).or_else(|| {
        // What is not remembered is in the log with its transactions, but for blocks of quilt mode.
        let whole = api.view.chain.parameters.consensus.maturity(height) == 0;
        let record = whole.then(|| api.view.records.read(height).ok()).flatten()?;
        // Whoever has a block read pays for it.
        from.charge(record.len() as u64);
        let (_, blocks) = BlockRecord::decode(&record).and_then(|record| record.master()).ok()?;
        blocks.iter().find_map(|block| wanted.among(prefix, &block.block, &block.items))
    });
    let none = || {
        let what = "it stands in no block of that height, or that block's transactions are not kept here";
        (NOT_FOUND, format!("no such transaction of height {height} is here: {what}"))
    };
    let found = found.ok_or_else(none)?;
    Ok(json!(InclusionAnswer { height, shard: found.block.shard, proof: hex::encode(found.encode()) }))
}

fn submit(api: &Api, from: &Connection, params: &Value) -> Answered {
    // Whatever it is, it is charged to whoever brings it.
    if !from.may_submit() {
        return Err((LIMIT, "you bring too many transactions a second: send it again in a moment".to_owned()).into());
    }
    let cell =
        bytes_of_digits(params["cell"].as_str().unwrap_or(""), CELL_BYTES).filter(|bytes| bytes.len() == CELL_BYTES);
    let cell: Cell = cell
        .map(|bytes| bytemuck::pod_read_unaligned(&bytes))
        .ok_or((INVALID_PARAMS, format!("'cell' has to be {CELL_BYTES} bytes in hexadecimal digits in lower case")))?;
    let payload = bytes_of_digits(params["payload"].as_str().unwrap_or(""), PAYLOAD_BYTES_MAX);
    let payload = payload.ok_or((
        INVALID_PARAMS,
        format!("'payload' has to be at most {PAYLOAD_BYTES_MAX} bytes in hexadecimal digits"),
    ))?;
    check_form(&cell, &payload, &api.view.chain.parameters).map_err(refused)?;
    let id = cell.id(&api.view.chain.transaction_prefix);
    let busy = |TooManyUnjudged| {
        (LIMIT, "too many of your transactions wait to be verified: send it again in a moment".to_owned())
    };
    api.view.status.track(|tracked| tracked.hand_in(from.id, id, api.view.clock.now_ms())).map_err(busy)?;
    match api.view.submit.send(from.holder, from.id, &cell, &payload) {
        Ok(gone) => {
            let prefix = &api.view.chain.transaction_prefix;
            let now_ms = api.view.clock.now_ms();
            for (client, cell) in gone.iter().filter_map(|(client, item)| Some((*client, item.cell()?))) {
                api.view.status.track(|tracked| tracked.refuse_unseen(client, &cell.id(prefix), now_ms));
            }
            Ok(json!(hex::encode(id)))
        }
        Err(Busy) => {
            api.view.status.track(|tracked| tracked.take_back(from.id, &id));
            Err((LIMIT, "too many transactions wait here: send it again in a moment".to_owned()).into())
        }
    }
}

/// Why a transaction is refused: its name for programs, and a sentence.
fn refused(refusal: Refusal) -> Fault {
    let name = refusal.name();
    let message = format!("the transaction is refused, {name}: {}", refusal.says());
    Fault { code: REFUSED, message, data: Some(json!({ "refusal": name })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_description() {
        assert!(DESCRIPTION.to_string().len() < DESCRIPTION_BYTES);
    }
}
