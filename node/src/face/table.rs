//! The table of methods: what each is called, takes and answers.

use super::answered::{INVALID_PARAMS, LIMIT, NOT_FOUND, REFUSED};
use super::answers::{
    AccountAnswer, BlockAnswer, Found, HeaderAnswer, HistoryAnswer, InclusionAnswer, MintersAnswer, NameAnswer,
    ProofAnswer, SupplyAnswer, SystemAnswer, TransactionAnswer,
};
use crate::minting::status::{BlockShown, StatusShown};
use crate::setup::address::{AddressError, key_of_any};
use crate::setup::digits::{bytes_of_digits, digits};
use dynemix_engine::base::limits::{CELL_BYTES, PAYLOAD_BYTES_MAX};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// Of what form a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number from this one on.
    Whole(u64),
    /// A key, an id or a hash.
    Digits,
    /// An account: its address, or its key.
    Account,
    /// Bytes in hexadecimal, so many at most.
    Bytes(usize),
    /// A text of some letters.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// Letters of a text at most.
const TEXT_MAX: usize = 128;

impl Form {
    fn fits(self, value: &Value) -> bool {
        match self {
            Form::Whole(least) => value.as_u64().is_some_and(|number| number >= least),
            Form::Digits => value.as_str().is_some_and(|text| digits::<32>(text).is_some()),
            // Whether it is one of this chain, and what is wrong with it, says who knows the chain.
            Form::Account => {
                value.as_str().is_some_and(|text| !matches!(key_of_any(text), Err(AddressError::Form { .. })))
            }
            Form::Bytes(most) => value.as_str().is_some_and(|text| bytes_of_digits(text, most).is_some()),
            Form::Text => value.as_str().is_some_and(|text| text.len() <= TEXT_MAX),
            Form::Word(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        }
    }

    /// What it has to be, as a part of a sentence.
    fn said(self) -> String {
        match self {
            Form::Whole(0) => "a whole number, 0 or more".into(),
            Form::Whole(least) => format!("a whole number, {least} or more"),
            Form::Digits => "64 hexadecimal digits in lower case".into(),
            Form::Account => "an address, or 64 hexadecimal digits in lower case".into(),
            Form::Bytes(most) => format!("at most {most} bytes in hexadecimal digits in lower case"),
            Form::Text => format!("a text of at most {TEXT_MAX} bytes"),
            Form::Word(words) => format!("one of '{}'", words.join("', '")),
        }
    }

    pub(super) fn schema(self) -> Value {
        match self {
            Form::Whole(least) => json!({ "type": "integer", "minimum": least }),
            Form::Digits => json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" }),
            Form::Account => json!({ "type": "string", "pattern": "^([0-9a-f]{64}|[0-9a-z]+1[0-9a-z]{58})$" }),
            Form::Bytes(most) => json!({ "type": "string", "pattern": "^([0-9a-f]{2})*$", "maxLength": 2 * most }),
            Form::Text => json!({ "type": "string", "maxLength": TEXT_MAX }),
            Form::Word(words) => json!({ "type": "string", "enum": words }),
        }
    }
}

/// A parameter: its name, form, whether it must be there, and what it is.
pub struct Parameter(pub &'static str, pub Form, pub bool, pub &'static str);

/// A method of the API.
pub struct Method {
    /// What it is called by.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Its parameters, in their order.
    pub parameters: &'static [Parameter],
    /// What it answers.
    pub result: &'static str,
    /// The schema of that.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// What the errors of its own are, beside those of every method.
    pub errors: &'static [i64],
    /// Parameters of an example, as JSON.
    pub example: &'static str,
}

const KEY: Parameter = Parameter("key", Form::Account, true, "the public key of an account");
const PAGE_FROM: Parameter = Parameter("from", Form::Whole(0), false, "only from this one on, counted from 0");
const SAMPLE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The methods, as `rpc.discover` and docs/openrpc.json list them.
pub const METHODS: &[Method] = &[
    Method {
        name: "status",
        what: "What the node is doing, with its newest blocks.",
        parameters: &[Parameter("blocks", Form::Whole(0), false, "how many blocks, 8 unless it is said")],
        result: "the node's state",
        schema: schema::<StatusShown>,
        errors: &[LIMIT],
        example: r#"{ "blocks": 1 }"#,
    },
    Method {
        name: "genesis",
        what: "The genesis file of the chain.",
        parameters: &[],
        result: "its text",
        schema: schema::<String>,
        errors: &[],
        example: "{}",
    },
    Method {
        name: "account",
        what: "An account at the height that the answer says, which is the newest final one or milliseconds behind.",
        parameters: &[KEY],
        result: "the account",
        schema: schema::<AccountAnswer>,
        errors: &[NOT_FOUND],
        example: r#"{ "key": "{SAMPLE}" }"#,
    },
    Method {
        name: "proof",
        what: "The proof of an account against the root of the accounts, which the next height's block certifies.",
        parameters: &[KEY],
        result: "the proof; an account that does not exist has none",
        schema: schema::<ProofAnswer>,
        errors: &[],
        example: r#"{ "key": "{SAMPLE}" }"#,
    },
    Method {
        name: "resolve",
        what: "The account of a name.",
        parameters: &[Parameter("name", Form::Text, true, "a registered name")],
        result: "whose it is",
        schema: schema::<NameAnswer>,
        errors: &[NOT_FOUND],
        example: r#"{ "name": "ada" }"#,
    },
    Method {
        name: "search",
        what: "Looks for a height, the hash of a remembered block, the id of a transaction, the address or key of an \
               account, or a name. A transaction is looked for among those that were handed in here and in the newest \
               blocks whose transactions are here.",
        parameters: &[Parameter("text", Form::Text, true, "what is looked for")],
        result: "all that there is of it, an empty list where there is nothing",
        schema: schema::<Vec<Found>>,
        errors: &[LIMIT],
        example: r#"{ "text": "7" }"#,
    },
    Method {
        name: "system",
        what: "Everything that the chain keeps beside balances, as bytes whose root the newest block certifies.",
        parameters: &[Parameter(
            "offset",
            Form::Whole(0),
            false,
            "only from this byte on, a piece of a table that is too long for one answer",
        )],
        result: "the bytes, or a piece of them",
        schema: schema::<SystemAnswer>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "offset": 0 }"#,
    },
    Method {
        name: "supply",
        what: "How many units there are, and where they are.",
        parameters: &[],
        result: "the sums",
        schema: schema::<SupplyAnswer>,
        errors: &[NOT_FOUND],
        example: "{}",
    },
    Method {
        name: "minters",
        what: "Who mints the next height.",
        parameters: &[PAGE_FROM, Parameter("count", Form::Whole(1), false, "how many, a page unless it is said")],
        result: "the minters by seat",
        schema: schema::<MintersAnswer>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "count": 3 }"#,
    },
    Method {
        name: "headers",
        what: "Final certificates with their committees, for clients that follow the chain by themselves. They are \
               kept for good, from genesis or from the block that the node has joined by.",
        parameters: &[
            Parameter("from", Form::Whole(1), true, "the first height; height 0 is genesis, which nobody certifies"),
            Parameter("count", Form::Whole(0), true, "how many"),
        ],
        result: "one of each height; fewer where the chain ends, or the page is full",
        schema: schema::<Vec<HeaderAnswer>>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "from": 1, "count": 2 }"#,
    },
    Method {
        name: "inclusion",
        what: "The proof that a transaction stands in the final block of a height, as far as that block's transactions \
               are kept here: in blockchain mode those of all kept blocks, in quilt mode those of own shards and of \
               custody, and what other shards have taken of who hands in here. Either 'id' or 'sender' is given.",
        parameters: &[
            Parameter("height", Form::Whole(0), true, "the block's height"),
            Parameter("id", Form::Digits, false, "the transaction's id; or"),
            Parameter("sender", Form::Account, false, "the key of its sender, who has one in a block at most"),
        ],
        result: "the proof",
        schema: schema::<InclusionAnswer>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "height": 1, "id": "{SAMPLE}" }"#,
    },
    Method {
        name: "blocks",
        what: "Final blocks that are remembered, some hundreds of the newest.",
        parameters: &[
            Parameter(
                "from",
                Form::Whole(0),
                true,
                "the first height; the first that is remembered, if that is higher",
            ),
            Parameter("count", Form::Whole(0), true, "how many"),
        ],
        result: "the blocks, the oldest first",
        schema: schema::<Vec<BlockShown>>,
        errors: &[LIMIT],
        example: r#"{ "from": 1, "count": 2 }"#,
    },
    Method {
        name: "block",
        what: "A final block that is kept, with its transactions where they are kept here, as in 'inclusion'.",
        parameters: &[
            Parameter("height", Form::Whole(1), false, "its height, the newest that is kept unless it is said"),
            PAGE_FROM,
            Parameter("count", Form::Whole(1), false, "how many transactions, a page unless it is said"),
        ],
        result: "the block",
        schema: schema::<BlockAnswer>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "height": 1 }"#,
    },
    Method {
        name: "submit",
        what: "Hands in a signed transaction. What is wrong by its form is refused at once; what becomes of the rest, \
               'transaction' tells from then on.",
        parameters: &[
            Parameter("cell", Form::Bytes(CELL_BYTES), true, "the cell, 192 bytes"),
            Parameter("payload", Form::Bytes(PAYLOAD_BYTES_MAX), false, "its payload"),
        ],
        result: "the transaction's id",
        schema: schema::<String>,
        errors: &[LIMIT, REFUSED],
        example: r#"{ "cell": "{CELL}" }"#,
    },
    Method {
        name: "transaction",
        what: "How far a transaction is that was handed in here.",
        parameters: &[Parameter("id", Form::Digits, true, "the transaction's id")],
        result: "its state and the time of each checkpoint",
        schema: schema::<TransactionAnswer>,
        errors: &[NOT_FOUND],
        example: r#"{ "id": "{SAMPLE}" }"#,
    },
    Method {
        name: "history",
        what: "What has happened to an account in the newest blocks that are kept here: what it paid and received in \
               each, and where blocks carry transactions (blockchain mode), those. A call reads so many bytes of \
               blocks, and where it stopped next_before goes on.",
        parameters: &[
            KEY,
            Parameter("count", Form::Whole(1), false, "how many of the newest, 50 unless it is said"),
            Parameter("before", Form::Whole(0), false, "only below this height"),
        ],
        result: "changes and transactions, newest first",
        schema: schema::<HistoryAnswer>,
        errors: &[NOT_FOUND, LIMIT],
        example: r#"{ "key": "{SAMPLE}", "count": 5 }"#,
    },
    Method {
        name: "subscribe",
        what: "By WebSocket only, and in no batch. News come as notifications 'news', whose params are the schema News: \
               each block that becomes final from now on, or how far a transaction is, now and whenever that changes. \
               Nothing is subscribed to twice.",
        parameters: &[
            Parameter("topic", Form::Word(&["blocks", "transaction"]), true, "what about"),
            Parameter("id", Form::Digits, false, "of the topic 'transaction': the transaction's id"),
        ],
        result: "the number of the subscription",
        schema: schema::<u64>,
        errors: &[LIMIT],
        example: r#"{ "topic": "blocks" }"#,
    },
    Method {
        name: "unsubscribe",
        what: "By WebSocket only, and in no batch. Ends a subscription.",
        parameters: &[Parameter("subscription", Form::Whole(1), true, "its number")],
        result: "true",
        schema: schema::<bool>,
        errors: &[NOT_FOUND],
        example: r#"{ "subscription": 1 }"#,
    },
    Method {
        name: "rpc.discover",
        what: "This description.",
        parameters: &[],
        result: "an OpenRPC document",
        schema: schema::<Value>,
        errors: &[],
        example: "{}",
    },
];

/// Parameters of the example of a method.
pub(super) fn example(method: &Method) -> Value {
    let text = method.example.replace("{SAMPLE}", SAMPLE).replace("{CELL}", &"00".repeat(CELL_BYTES));
    serde_json::from_str(&text).expect("an example is JSON")
}

fn invalid<T>(message: impl Into<String>) -> Result<T, (i64, String)> {
    Err((INVALID_PARAMS, message.into()))
}

/// Parameters by name, whether they came so or in their order; each of its form, none that is unknown.
pub(super) fn named(parameters: &[Parameter], params: Option<&Value>) -> Result<Value, (i64, String)> {
    let mut out = serde_json::Map::new();
    match params {
        None | Some(Value::Null) => {}
        Some(Value::Array(values)) if values.len() <= parameters.len() => {
            out.extend(parameters.iter().zip(values).map(|(parameter, value)| (parameter.0.to_owned(), value.clone())));
        }
        Some(Value::Array(values)) => {
            return invalid(format!("there are {} params, and the method has {}", values.len(), parameters.len()));
        }
        Some(Value::Object(values)) => out = values.clone(),
        Some(_) => return invalid("params have to be a list or an object"),
    }
    if let Some(unknown) = out.keys().find(|key| !parameters.iter().any(|parameter| parameter.0 == key.as_str())) {
        let unknown: String = unknown.chars().take(TEXT_MAX).collect();
        let known: Vec<&str> = parameters.iter().map(|parameter| parameter.0).collect();
        let known = if known.is_empty() { "none".into() } else { format!("'{}'", known.join("', '")) };
        return invalid(format!("there is no parameter '{unknown}'; the method has {known}"));
    }
    for Parameter(name, form, required, what) in parameters {
        match out.get(*name) {
            None if *required => return invalid(format!("'{name}' is missing: {what}, {}", form.said())),
            Some(value) if !form.fits(value) => {
                return invalid(format!("'{name}' has to be {}: it is {what}", form.said()));
            }
            _ => {}
        }
    }
    Ok(Value::Object(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_by_name_or_in_order_and_each_of_its_form() {
        let of = |name: &str| METHODS.iter().find(|method| method.name == name).unwrap().parameters;
        let headers = of("headers");
        assert_eq!(named(headers, Some(&json!([1, 2]))), Ok(json!({ "from": 1, "count": 2 })));
        assert_eq!(named(headers, Some(&json!({ "from": 1, "count": 2 }))), Ok(json!({ "from": 1, "count": 2 })));
        for wrong in [
            json!([1]),
            json!([1, 2, 3]),
            json!([-1, 2]),
            json!([0, 2]),
            json!([1.5, 2]),
            json!({ "from": 1, "count": 2, "more": 3 }),
            json!("text"),
            json!([1, "2"]),
        ] {
            let (code, what) = named(headers, Some(&wrong)).unwrap_err();
            assert!(code == INVALID_PARAMS && what.contains(' ') && !what.contains("integer"), "{wrong}: {what}");
        }
        let digits = ["0".repeat(63), "A".repeat(64), format!("+{}", "0".repeat(63)), "0".repeat(66)];
        for wrong in digits {
            let (_, what) = named(of("account"), Some(&json!([wrong]))).unwrap_err();
            let asked = "an address, or 64 hexadecimal digits in lower case";
            assert_eq!(what, format!("'key' has to be {asked}: it is the public key of an account"));
        }
        for method in METHODS {
            assert!(named(method.parameters, Some(&example(method))).is_ok(), "the example of {}", method.name);
        }
    }
}
