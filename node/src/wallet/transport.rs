//! Questions to nodes, which may be anyone's: each answer is bounded in bytes and time, is read into the shape that was
//! asked for and nothing else, and what is shown of it to people is plain text.

use super::error::WalletError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// How long an answer may take that is small, and one that is not.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];
/// Bytes of an answer from which on it is not small.
const SMALL_BYTES: u64 = 1 << 20;
/// Letters of a node's own words that are shown.
const WORDS_MAX: usize = 200;

/// The nodes that are asked.
pub struct Transport {
    nodes: Vec<String>,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    message: String,
}

/// What a stranger wrote, as it may stand on a terminal: without control characters, and short.
pub fn plain(text: &str) -> String {
    let letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut out: String = letters.take(WORDS_MAX).collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        out.push_str("..");
    }
    out
}

impl Transport {
    /// Of these nodes' APIs.
    pub fn new(nodes: Vec<String>) -> Transport {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A node is asked where the user said, and nowhere else.
            .max_redirects(0)
            .build()
            .into();
        Transport { nodes, agent }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Calls a method of a node; its answer has so many bytes at most.
    ///
    /// # Errors
    /// When it does not answer, says no, or answers something else.
    pub fn ask<T: DeserializeOwned>(
        &self,
        node: usize,
        method: &str,
        params: &Value,
        bytes_max: u64,
    ) -> Result<T, WalletError> {
        self.ask_within(Duration::MAX, node, method, params, bytes_max)
    }

    /// Calls a method of a node that has only so long for it.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn ask_within<T: DeserializeOwned>(
        &self,
        within: Duration,
        node: usize,
        method: &str,
        params: &Value,
        bytes_max: u64,
    ) -> Result<T, WalletError> {
        let url = &self.nodes[node];
        let unreachable =
            |error: ureq::Error| WalletError::Unreachable { tried: url.clone(), why: plain(&error.to_string()) };
        // None at all would be taken for no bound.
        let patience = PATIENCE[usize::from(bytes_max > SMALL_BYTES)].min(within.max(Duration::from_millis(1)));
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let asked = self.agent.post(url).config().timeout_global(Some(patience)).build();
        let mut response = asked.send_json(&request).map_err(unreachable)?;
        let bytes = response.body_mut().with_config().limit(bytes_max).read_to_vec();
        let bytes = bytes.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                WalletError::Lie(format!("its answer to '{method}' has more than {bytes_max} bytes"))
            }
            error => unreachable(error),
        })?;
        let answer: Answer<T> = serde_json::from_slice(&bytes).map_err(|error| {
            WalletError::Lie(format!("its answer to '{method}' is none: {}", plain(&error.to_string())))
        })?;
        match answer {
            Answer { error: Some(Told { message }), .. } => Err(WalletError::Node(plain(&message))),
            Answer { result: Some(result), .. } => Ok(result),
            Answer { .. } => Err(WalletError::Lie(format!("its answer to '{method}' is empty"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_words_are_short_and_move_no_cursor() {
        assert_eq!(plain("all\u{1b}[2J is\nwell"), "all [2J is well");
        assert_eq!(plain(&"é".repeat(500)).chars().count(), WORDS_MAX + 2);
    }
}
