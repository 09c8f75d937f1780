//! The methods of the API, their table, and the answer to each.

use super::answered::{Answered, Api, INVALID_PARAMS, LIMIT, METHOD_NOT_FOUND, NOT_FOUND, REFUSED};
use super::connection::Connection;
use super::history::history;
use super::inclusion::Inclusion;
use super::slow::Errand;
use crate::keep::mapped::MappedMemory;
use crate::keep::record::BlockRecord;
use crate::keep::replica::AccountView;
use crate::minting::inclusions::Wanted;
use crate::minting::tracked::TooManyUnjudged;
use crate::minting::view::Busy;
use crate::setup::digits::{bytes_of_digits, digits};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::FAN_OUT;
use dynemix_engine::base::limits::{CELL_BYTES, ITEM_BYTES_MAX, PAYLOAD_BYTES_MAX};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::check::check_form;
use dynemix_storage::StoreError;
use serde_json::{Value, json};
use std::sync::Arc;

/// A parameter: name, type, whether it must be there, what it is.
type Parameter = (&'static str, &'static str, bool, &'static str);
/// A method: name, what it does, parameters, what it returns.
type Method = (&'static str, &'static str, &'static [Parameter], &'static str);

const KEY: Parameter = ("key", "string", true, "public key of an account, 64 hexadecimal digits");

/// The methods, as `rpc.discover` and docs/openrpc.json list them.
pub const METHODS: &[Method] = &[
    (
        "status",
        "What the node is doing, with its newest blocks.",
        &[("blocks", "integer", false, "how many blocks, 8 by default")],
        "height, slot, role, peers, traffic, blocks",
    ),
    ("genesis", "The genesis file of the chain.", &[], "its text"),
    (
        "account",
        "An account at the height that the answer says, which is the newest final one or milliseconds behind.",
        &[KEY],
        "index, height; spendable units and sequence at that height; not yet mature units, stake and name at 'system_height'",
    ),
    (
        "proof",
        "The proof of an account against the root of the accounts, which the next height's block certifies.",
        &[KEY],
        "height, root, proof in hexadecimal; an account that does not exist has none",
    ),
    ("resolve", "The account of a name.", &[("name", "string", true, "a registered name")], "index and key"),
    (
        "system",
        "Everything that the chain keeps beside balances, as bytes whose root the newest block certifies.",
        &[("offset", "integer", false, "only from this byte on, a piece of a table that is too long for one answer")],
        "height and bytes in hexadecimal; of a piece also its offset and total_bytes",
    ),
    (
        "headers",
        "Final certificates with their committees, for clients that follow the chain by themselves. They are kept for \
         good, from genesis or from the block that the node has joined by.",
        &[("from", "integer", true, "first height"), ("count", "integer", true, "how many")],
        "list of height and bytes in hexadecimal; fewer where the chain ends, or the page is full",
    ),
    (
        "inclusion",
        "The proof that a transaction stands in the final block of a height, as far as that block's transactions are \
         kept here: in blockchain mode those of all kept blocks, in quilt mode those of own shards and of custody.",
        &[
            ("height", "integer", true, "the block's height"),
            ("id", "string", false, "the transaction's id, 64 hexadecimal digits; or"),
            ("sender", "string", false, "the key of its sender, who has one in a block at most"),
        ],
        "proof in hexadecimal: header of the shard-block, place, path, and the transaction; the block of that height \
         lists the header's hash",
    ),
    (
        "blocks",
        "Final blocks that are remembered.",
        &[("from", "integer", true, "first height"), ("count", "integer", true, "how many")],
        "list of blocks",
    ),
    (
        "submit",
        "Hands in a signed transaction.",
        &[("cell", "string", true, "192 bytes in hexadecimal"), ("payload", "string", false, "payload in hexadecimal")],
        "the transaction's id",
    ),
    (
        "transaction",
        "How far a transaction is that was handed in here.",
        &[("id", "string", true, "64 hexadecimal digits")],
        "state and the time of each checkpoint",
    ),
    (
        "history",
        "What has happened to an account in the newest blocks that are kept here: what it paid and received in each, \
         and where blocks carry transactions (blockchain mode), those.",
        &[
            KEY,
            ("count", "integer", false, "how many of the newest, 50 by default"),
            ("before", "integer", false, "only below this height; next_before of the answer goes on from there"),
        ],
        "changes (height, slot, shard, kind, debited and credited units), transactions (height, id, sender, recipient, \
         amount), transactions_left_out, first_height, next_before; a call reads so many bytes of blocks, and where it \
         stopped next_before goes on",
    ),
    ("rpc.discover", "This description.", &[], "an OpenRPC document"),
];

fn invalid<T>(message: impl Into<String>) -> Result<T, (i64, String)> {
    Err((INVALID_PARAMS, message.into()))
}

/// Parameters by name, whether they came so or in their order; each of its type, none that is unknown.
pub(super) fn named(parameters: &[Parameter], params: Option<&Value>) -> Result<Value, (i64, String)> {
    let mut out = serde_json::Map::new();
    match params {
        None | Some(Value::Null) => {}
        Some(Value::Array(values)) if values.len() <= parameters.len() => {
            out.extend(parameters.iter().zip(values).map(|(parameter, value)| (parameter.0.to_owned(), value.clone())));
        }
        Some(Value::Object(values)) => out = values.clone(),
        Some(_) => return invalid("params are a list, no longer than the method's, or an object"),
    }
    if let Some(unknown) = out.keys().find(|key| !parameters.iter().any(|parameter| parameter.0 == key.as_str())) {
        return invalid(format!("there is no parameter '{unknown}'"));
    }
    for (name, kind, required, what) in parameters {
        let right = match (out.get(*name), *kind) {
            (None, _) => !required,
            (Some(value), "integer") => value.is_u64(),
            (Some(value), _) => value.is_string(),
        };
        if !right {
            return invalid(format!("'{name}' is {what}: {kind}"));
        }
    }
    Ok(Value::Object(out))
}

fn hash_of(text: &str) -> Result<[u8; 32], (i64, String)> {
    digits(text).ok_or((INVALID_PARAMS, "not 64 hexadecimal digits in lower case".to_owned()))
}

fn key_of(params: &Value) -> Result<[u8; 32], (i64, String)> {
    hash_of(params["key"].as_str().unwrap_or(""))
}

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
            "system" => api.config.answer_bytes_max / 2,
            "headers" => {
                // Two digits a byte: what a seat has in a committee and its certificate, and what all have together.
                let header = 2 * (SEAT_BYTES * api.view.chain.parameters.consensus.seats as usize + ENTRY_BYTES);
                let count = params["count"].as_u64().unwrap_or(0).min(api.config.page_max as u64) as usize;
                header.saturating_mul(count).min(api.config.answer_bytes_max / 2)
            }
            "history" => 2 * api.config.page_max * ENTRY_BYTES,
            "inclusion" => 2 * (LEVELS_MAX * 32 * FAN_OUT + ITEM_BYTES_MAX),
            "status" => blocks(params["blocks"].as_u64().unwrap_or(8)),
            "blocks" => blocks(params["count"].as_u64().unwrap_or(0)),
            _ => 0,
        }
}

/// What a method has done on a thread of its own, if it takes long.
pub(super) fn slow(method: &str) -> Option<Errand> {
    match method {
        "system" | "headers" => Some(Errand::Table),
        "inclusion" => Some(Errand::Proof),
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
            let count = params["count"].as_u64().unwrap_or(50).min(api.config.page_max as u64) as usize;
            let (read, answered) = history(api, &key_of(params)?, count, params["before"].as_u64());
            // Whoever has blocks read pays for them, whatever was found.
            from.charge(read as u64);
            answered
        }
        "submit" => submit(api, from, params),
        _ => quick(api, method, params),
    }
}

/// The answer of a method that only looks at what is in memory.
fn quick(api: &Api, method: &str, params: &Value) -> Answered {
    let view = &api.view;
    match method {
        "status" => {
            Ok(json!(view.shown(params["blocks"].as_u64().unwrap_or(8).min(api.config.page_max as u64) as usize)))
        }
        "genesis" => Ok(json!(api.genesis.0)),
        "account" => account(api, &key_of(params)?),
        "proof" => {
            let key = key_of(params)?;
            let prove = |state: &State<MappedMemory>| {
                (*state.header(), state.find(&key).and_then(|account| state.prove(account)))
            };
            let (header, proof) = view.accounts.sealed(prove);
            let proof = proof.map(|proof| hex::encode(proof.encode()));
            Ok(json!({ "height": header.height, "root": hex::encode(header.root), "proof": proof }))
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
            Ok(json!({ "account": account, "key": hex::encode(key) }))
        }
        "blocks" => {
            let (from, count) = page(api, params)?;
            let live = view.status.shown();
            let blocks = live.blocks.iter().filter(|block| block.height >= from).take(count);
            Ok(json!(blocks.map(|block| &**block).collect::<Vec<_>>()))
        }
        "transaction" => {
            let id = hash_of(params["id"].as_str().unwrap_or(""))?;
            let shown = view.status.track(|tracked| tracked.shown(&id).cloned());
            shown.map(|shown| json!(shown)).ok_or((NOT_FOUND, "no such transaction was handed in here".into()))
        }
        "rpc.discover" => Ok(openrpc()),
        _ => Err((METHOD_NOT_FOUND, format!("there is no method '{method}'"))),
    }
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
            return Err((LIMIT, what));
        }
        return Ok(json!({ "height": system.height, "bytes": hex::encode(&**bytes) }));
    };
    if offset > total {
        return Err((NOT_FOUND, format!("the system has {total} bytes")));
    }
    let piece = &bytes[offset as usize..offset.saturating_add(most).min(total) as usize];
    assert!(piece.len() as u64 <= most, "a piece of {} bytes, and {most} fit", piece.len());
    Ok(json!({ "height": system.height, "offset": offset, "total_bytes": total, "bytes": hex::encode(piece) }))
}

fn page(api: &Api, params: &Value) -> Result<(u64, usize), (i64, String)> {
    let (from, count) = (params["from"].as_u64().unwrap_or(0), params["count"].as_u64().unwrap_or(0));
    if count > api.config.page_max as u64 {
        return Err((LIMIT, format!("a page has {} entries at most", api.config.page_max)));
    }
    Ok((from, count as usize))
}

fn account(api: &Api, key: &[u8; 32]) -> Answered {
    let found = api.view.accounts.account(key).ok_or((NOT_FOUND, "there is no account of this key".to_owned()))?;
    let AccountView { height, account, hot } = found;
    Ok(api.view.status.look(|live| {
        let system = live.system.as_ref();
        let name = system
            .and_then(|system| system.names.name_of(account))
            .map(|name| String::from_utf8_lossy(name).into_owned());
        json!({
            "account": account,
            "height": height,
            "system_height": system.map(|system| system.height),
            "spendable_units": hot.balance,
            "immature_units": system.map_or(0, |system| system.immature_of(account)),
            "sequence": hot.sequence,
            "stake_units": system.map_or(0, |system| system.stake(account)),
            "name": name,
        })
    }))
}

fn headers(api: &Api, params: &Value) -> Answered {
    let (from, count) = page(api, params)?;
    let certificates = &api.view.certificates;
    let (from, first, next) = (from.max(1), certificates.first(), certificates.next());
    if from < first {
        return Err((NOT_FOUND, format!("certificates are kept here from height {first} on")));
    }
    let mut out: Vec<Value> = Vec::new();
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
        out.push(json!({ "height": height, "bytes": hex::encode(light) }));
    }
    Ok(json!(out))
}

fn inclusion(api: &Api, from: &Connection, params: &Value) -> Answered {
    let height = params["height"].as_u64().unwrap_or(0);
    let wanted = match (params["id"].as_str(), params["sender"].as_str()) {
        (Some(id), None) => Wanted::Id(hash_of(id)?),
        (None, Some(sender)) => Wanted::Sender(hash_of(sender)?),
        _ => return invalid("either 'id' or 'sender' is needed"),
    };
    let prefix = &api.view.chain.transaction_prefix;
    let found = api.view.inclusions.find(height, wanted, prefix).or_else(|| {
        // What is not remembered is in the log with its transactions, but for blocks of quilt mode.
        let whole = api.view.chain.parameters.consensus.maturity(height) == 0;
        let record = whole.then(|| api.view.records.read(height).ok()).flatten()?;
        // Whoever has a block read pays for it.
        from.charge(record.len() as u64);
        let (_, blocks) = BlockRecord::decode(&record).and_then(|record| record.master()).ok()?;
        blocks.iter().find_map(|block| Some((block.block, block.items.clone(), wanted.place(prefix, &block.items)?)))
    });
    let none = || (NOT_FOUND, format!("no such transaction of height {height} is kept here"));
    let (block, items, place) = found.ok_or_else(none)?;
    let proof = Inclusion::of(&block, &items, place).encode();
    Ok(json!({ "height": height, "shard": block.shard, "proof": hex::encode(proof) }))
}

fn submit(api: &Api, from: &Connection, params: &Value) -> Answered {
    // Whatever it is, it is charged to whoever brings it.
    if !from.may_submit() {
        return Err((LIMIT, "too many transactions a second; send it again".into()));
    }
    let cell =
        bytes_of_digits(params["cell"].as_str().unwrap_or(""), CELL_BYTES).filter(|bytes| bytes.len() == CELL_BYTES);
    let cell: Cell = cell
        .map(|bytes| bytemuck::pod_read_unaligned(&bytes))
        .ok_or((INVALID_PARAMS, "'cell' is not 192 bytes in hexadecimal".to_owned()))?;
    let payload = bytes_of_digits(params["payload"].as_str().unwrap_or(""), PAYLOAD_BYTES_MAX);
    let payload = payload.ok_or((INVALID_PARAMS, "'payload' is no hexadecimal, or too long".to_owned()))?;
    check_form(&cell, &payload, &api.view.chain.parameters).map_err(|refusal| (REFUSED, refusal.name().to_owned()))?;
    let id = cell.id(&api.view.chain.transaction_prefix);
    let busy = |TooManyUnjudged| (LIMIT, "too many transactions wait to be verified; send it again".to_owned());
    api.view.status.track(|tracked| tracked.hand_in(from.id, id)).map_err(busy)?;
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
            Err((LIMIT, "too many transactions wait; send it again".to_owned()))
        }
    }
}

/// The description of the API for programs.
pub fn openrpc() -> Value {
    let parameter = |(name, kind, required, what): &Parameter| {
        let schema = json!({ "type": kind });
        json!({ "name": name, "required": required, "description": what, "schema": schema })
    };
    let method = |(name, what, parameters, result): &Method| {
        json!({
            "name": name,
            "description": what,
            "params": parameters.iter().map(parameter).collect::<Vec<_>>(),
            "result": { "name": "result", "description": result, "schema": {} },
        })
    };
    json!({
        "openrpc": "1.3.2",
        "info": { "title": "Dynemix node", "version": env!("CARGO_PKG_VERSION") },
        "methods": METHODS.iter().map(method).collect::<Vec<_>>(),
        "components": { "errors": {
            "limit": { "code": LIMIT, "message": "too much of something" },
            "not_found": { "code": NOT_FOUND, "message": "there is none" },
            "refused": { "code": REFUSED, "message": "the transaction is refused; the message names why" },
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_description_in_the_documents_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openrpc.json");
        let text = serde_json::to_string_pretty(&openrpc()).unwrap() + "\n";
        if std::env::var_os("DYNEMIX_BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap_or_default(),
            text,
            "run again with DYNEMIX_BLESS=1 and look at the difference"
        );
    }

    #[test]
    fn parameters_come_by_name_or_in_order_and_each_of_its_type() {
        let headers = METHODS.iter().find(|method| method.0 == "headers").unwrap().2;
        assert_eq!(named(headers, Some(&json!([1, 2]))), Ok(json!({ "from": 1, "count": 2 })));
        assert_eq!(named(headers, Some(&json!({ "from": 1, "count": 2 }))), Ok(json!({ "from": 1, "count": 2 })));
        for wrong in [
            json!([1]),
            json!([1, 2, 3]),
            json!([-1, 2]),
            json!({ "from": 1, "count": 2, "more": 3 }),
            json!("text"),
            json!([1, "2"]),
        ] {
            assert!(named(headers, Some(&wrong)).is_err(), "{wrong}");
        }
    }
}
