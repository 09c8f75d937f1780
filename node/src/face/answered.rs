//! What every method of the API works with, and what it answers.

use crate::minting::view::NodeView;
use crate::setup::config::ApiConfig;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Instant;

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

/// A result, or code and message of an error.
pub type Answered = Result<Value, (i64, String)>;

/// An error's answer.
pub fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// What methods work with.
pub struct Api {
    /// What is asked: the running node.
    pub view: NodeView,
    /// Text of the genesis file.
    pub genesis: String,
    /// How much a caller may ask for.
    pub config: ApiConfig,
    /// Transactions that may still be handed in, and when that was counted.
    allowance: Mutex<(f64, Instant)>,
}

impl Api {
    /// Over a node.
    pub fn new(view: NodeView, genesis: String, config: ApiConfig) -> Api {
        let allowance = Mutex::new((f64::from(config.submits_a_second), Instant::now()));
        Api { view, genesis, config, allowance }
    }

    /// Whether one more transaction may be handed in now; it is counted.
    pub(super) fn may_submit(&self) -> bool {
        let mut allowance = self.allowance.lock().expect("nothing panics while it holds the allowance");
        let rate = f64::from(self.config.submits_a_second);
        let now = Instant::now();
        allowance.0 = (allowance.0 + rate * (now - allowance.1).as_secs_f64()).min(rate);
        allowance.1 = now;
        let may = allowance.0 >= 1.0;
        if may {
            allowance.0 -= 1.0;
        }
        may
    }
}
