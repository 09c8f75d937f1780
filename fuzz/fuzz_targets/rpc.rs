//! Bodies of requests to the API: whatever they are, the answer is one of JSON-RPC 2.0 or none.
#![no_main]

use dynemix::face::batch::answer_by;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    let Some(answer) = answer_by(bytes, 100, &|method, params| Ok(json!([method, params]))) else { return };
    let all = match &answer {
        Value::Array(answers) => answers.clone(),
        one => vec![one.clone()],
    };
    for answer in all {
        assert!(
            answer["jsonrpc"] == "2.0" && (answer.get("result").is_some() != answer.get("error").is_some()),
            "{answer}"
        );
    }
});
