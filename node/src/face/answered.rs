//! What every method of the API works with, and what it answers.

use super::slow::{Busy, Errand, Slow};
use crate::intake::shares::Holder;
use crate::keep::chain_store::Genesis;
use crate::minting::view::NodeView;
use crate::setup::address::address;
use crate::setup::config::ApiConfig;
use crate::setup::genesis::GenesisFile;
use dynemix_engine::base::ids::Key;
use dynemix_engine::chain::tables::System;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex};

/// Codes of errors: those of JSON-RPC, and ours.
pub const PARSE_ERROR: i64 = -32_700;
/// Not a request.
pub const INVALID_REQUEST: i64 = -32_600;
/// No such method.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// Parameters that cannot be so.
pub const INVALID_PARAMS: i64 = -32_602;
/// Too much of something.
pub const LIMIT: i64 = -32_001;
/// There is none.
pub const NOT_FOUND: i64 = -32_002;
/// A transaction that is refused; the message names why.
pub const REFUSED: i64 = -32_003;

/// Errors: name, code, what it means, whether every method can have it.
pub(super) const ERRORS: &[(&str, i64, &str, bool)] = &[
    ("parse_error", PARSE_ERROR, "The body is no JSON.", false),
    ("invalid_request", INVALID_REQUEST, "It is no request of JSON-RPC 2.0.", true),
    ("method_not_found", METHOD_NOT_FOUND, "There is no such method.", false),
    ("invalid_params", INVALID_PARAMS, "A parameter is missing, unknown or of another form.", true),
    ("limit", LIMIT, "It is too much: of a page, of bytes, or a second. The message says what to ask instead.", true),
    ("not_found", NOT_FOUND, "There is none, or it is not kept here.", false),
    ("refused", REFUSED, "The transaction is refused; data.refusal is the name of the reason.", false),
];

/// The name of an error for programs, as `data.error` of every error has it.
fn error_name(code: i64) -> &'static str {
    ERRORS.iter().find(|error| error.1 == code).map_or("error", |error| error.0)
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What sort it is.
    pub code: i64,
    /// A sentence for people.
    pub message: String,
    /// More of it for programs, beside the name of its sort.
    pub data: Option<Value>,
}

impl From<(i64, String)> for Fault {
    fn from((code, message): (i64, String)) -> Fault {
        Fault { code, message, data: None }
    }
}

/// A result, or why there is none.
pub type Answered = Result<Value, Fault>;

/// An error's answer.
pub fn error(id: &Value, code: i64, message: &str) -> Value {
    fault(id, &(code, message.to_owned()).into())
}

/// The same with all that there is to say.
pub fn fault(id: &Value, Fault { code, message, data }: &Fault) -> Value {
    let mut data = data.clone().unwrap_or_else(|| json!({}));
    data["error"] = error_name(*code).into();
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message, "data": data } })
}

/// A height, and the system after it in wire form.
pub(super) type SystemBytes = (u64, Arc<Vec<u8>>);

/// What methods work with.
pub struct Api {
    /// What is asked: the running node.
    pub view: NodeView,
    /// Text of the genesis file, and its bytes in an answer.
    pub genesis: (String, usize),
    /// Prefix of the chain's addresses.
    pub(super) address_prefix: String,
    /// Units that there were at genesis.
    pub(super) genesis_units: u64,
    /// How much a caller may ask for.
    pub config: ApiConfig,
    /// The newest system that was asked for: written out once a height, whoever asks.
    pub(super) system: Mutex<Option<SystemBytes>>,
    /// Reads what certificates and tables there are.
    read: Slow,
    /// Looks through blocks, and proves what is in them.
    history: Slow,
}

impl Api {
    /// Over a node.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn new(view: NodeView, genesis: &GenesisFile, config: ApiConfig) -> io::Result<Api> {
        let read = Slow::start("api.read", config.connections_max)?;
        let history = Slow::start("api.history", config.connections_max)?;
        let units = |Genesis { chain, accounts, minters, .. }: Genesis| {
            accounts.iter().map(|account| account.1).sum::<u64>() + System::genesis(&chain, &minters).pools.sum()
        };
        let genesis_units = units(genesis.genesis().map_err(io::Error::other)?);
        let (genesis, address_prefix) = (genesis.text(), genesis.address_prefix.clone());
        let bytes = json!(genesis).to_string().len();
        let system = Mutex::new(None);
        Ok(Api { view, genesis: (genesis, bytes), address_prefix, genesis_units, config, system, read, history })
    }

    /// The address of a key on this chain.
    pub(super) fn address(&self, key: &Key) -> String {
        address(&self.address_prefix, key)
    }

    /// Has something done for somebody that takes a while.
    pub(super) async fn have<T: Send + 'static>(
        self: &Arc<Self>,
        whose: Holder,
        errand: Errand,
        of: impl FnOnce(&Arc<Api>) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let api = self.clone();
        let thread = if errand == Errand::Table { &self.read } else { &self.history };
        thread.run(whose, errand, move || of(&api)).await
    }
}
