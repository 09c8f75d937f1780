//! Questions to nodes, which may be anyone's: each answer is bounded in bytes and time, is read into the shape that was
//! asked for and nothing else, and what is shown of it to people is plain text.

use super::error::WalletError;
use crate::face::answered::METHOD_NOT_FOUND;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
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
    /// As the environment says, which may name a proxy.
    agent: ureq::Agent,
    /// For nodes of this computer, which no proxy reaches.
    direct: ureq::Agent,
    /// Why the environment's proxy cannot be used.
    unspoken: Option<String>,
}

/// The URL that is meant: people write down a host and a port.
fn url_of(node: &str) -> String {
    let with_scheme = if node.contains("://") { node.to_owned() } else { format!("http://{node}") };
    let has_path = with_scheme.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { with_scheme } else { with_scheme + "/" }
}

/// Whether a URL is of this computer.
fn is_of_here(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or("");
    let host = host
        .strip_prefix('[')
        .map_or_else(|| host.split(':').next().unwrap_or(""), |v6| v6.split(']').next().unwrap_or(""));
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Deserialize)]
struct Answer<T> {
    result: Option<T>,
    error: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

/// Why a text names no place where a node could be asked.
///
/// # Errors
/// What is wrong with it.
pub fn check_node(node: &str) -> Result<(), String> {
    let scheme = node.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None | Some("http") => {}
        Some("https") => {
            return Err(format!(
                "'{node}': nodes speak http, and this wallet believes nothing of what they say without a proof; for \
                 privacy reach the node through a tunnel, as ssh -L"
            ));
        }
        Some(scheme) => return Err(format!("'{node}': a node is asked by http, not by {scheme}")),
    }
    let url = url_of(node);
    let uri = url.parse::<ureq::http::Uri>().ok().and_then(|uri| Some((uri.host()?.len(), uri.port_u16())));
    // A colon that begins no number: an address of IPv6 without its brackets, or a port that is none.
    let authority = url.trim_start_matches("http://").split('/').next().unwrap_or("").to_owned();
    let bare = authority.rsplit(']').next().unwrap_or("").matches(':').count();
    match uri {
        Some((1.., port)) if bare == usize::from(port.is_some()) => Ok(()),
        _ => Err(format!("'{node}' is no address of a node: write http://HOST:PORT/, of IPv6 http://[ADDRESS]:PORT/")),
    }
}

/// Which proxy of the environment this program cannot speak to: it is said, and not passed over, since whoever names one
/// does not want to be seen.
fn unspoken_proxy() -> Option<String> {
    let names = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    let set =
        names.into_iter().find_map(|name| Some((name, std::env::var_os(name).filter(|value| !value.is_empty())?)));
    let (name, value) = set?;
    let value = value.to_string_lossy().into_owned();
    let scheme = value.split_once("://").map_or("http".to_owned(), |(scheme, _)| scheme.to_ascii_lowercase());
    let is_spoken = scheme == "http" && ureq::Proxy::new(&value).is_ok();
    (!is_spoken).then(|| format!("{name} names the proxy '{}', and only http://HOST:PORT is spoken", plain(&value)))
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
        let builder = || {
            // A node is asked where the user said, and nowhere else.
            ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0)
        };
        let nodes = nodes.iter().map(|node| url_of(node)).collect();
        let unspoken = unspoken_proxy();
        let direct: ureq::Agent = builder().proxy(None).build().into();
        // Where the environment's cannot be used nobody is asked past it.
        let agent = if unspoken.is_some() { direct.clone() } else { builder().build().into() };
        Transport { nodes, agent, direct, unspoken }
    }

    /// Where a node is asked.
    pub fn url(&self, node: usize) -> &str {
        &self.nodes[node]
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
        let is_of_here = is_of_here(url);
        if let Some(why) = self.unspoken.clone().filter(|_| !is_of_here) {
            return Err(WalletError::Unreachable { tried: url.clone(), why });
        }
        let agent = if is_of_here { &self.direct } else { &self.agent };
        let asked = agent.post(url).config().timeout_global(Some(patience)).build();
        let mut response = asked.send_json(&request).map_err(unreachable)?;
        let bytes = response.body_mut().with_config().limit(bytes_max).read_to_vec();
        let bytes = bytes.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                WalletError::Lie(format!("its answer to '{method}' has more than {bytes_max} bytes"))
            }
            error => unreachable(error),
        })?;
        let status = response.status();
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let why = format!("what answers there is no node's API (HTTP {})", status.as_u16());
            return Err(WalletError::Unreachable { tried: url.clone(), why });
        }
        let answer: Answer<T> = serde_json::from_slice(&bytes).map_err(|error| {
            WalletError::Lie(format!("its answer to '{method}' is none: {}", plain(&error.to_string())))
        })?;
        match answer {
            Answer { error: Some(Told { code: METHOD_NOT_FOUND, message }), .. } => {
                let why = format!("a node's API of this version is not there: {}", plain(&message));
                Err(WalletError::Unreachable { tried: url.clone(), why })
            }
            Answer { error: Some(Told { message, .. }), .. } => Err(WalletError::Node(plain(&message))),
            Answer { result: Some(result), .. } => Ok(result),
            Answer { .. } => Err(WalletError::Lie(format!("its answer to '{method}' is empty"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_place_is_said_before_anybody_is_asked() {
        for good in ["127.0.0.1:8645", "http://127.0.0.1:8645/", "http://[::1]:8645", "localhost", "[::1]:1", "a.b:1/x"]
        {
            assert_eq!(check_node(good), Ok(()), "{good}");
        }
        for wrong in ["", "::1", "http://", "ftp://x/", "https://x/", "host:port", "a:1:2", "http://a:99999/"] {
            assert!(check_node(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_and_port_is_a_url_and_this_computer_is_asked_past_any_proxy() {
        for (text, url, here) in [
            ("127.0.0.1:8645", "http://127.0.0.1:8645/", true),
            ("localhost:8645", "http://localhost:8645/", true),
            ("[::1]:8645", "http://[::1]:8645/", true),
            ("https://node.example", "https://node.example/", false),
            ("http://10.0.0.7:1/api", "http://10.0.0.7:1/api", false),
            ("http://127.0.0.1.example:80/", "http://127.0.0.1.example:80/", false),
        ] {
            assert_eq!((url_of(text).as_str(), is_of_here(&url_of(text))), (url, here), "{text}");
        }
    }

    #[test]
    fn a_strangers_words_are_short_and_move_no_cursor() {
        assert_eq!(plain("all\u{1b}[2J is\nwell"), "all [2J is well");
        assert_eq!(plain(&"é".repeat(500)).chars().count(), WORDS_MAX + 2);
    }
}
