//! A light client: it asks nodes, and believes what a committee has certified.

use crate::face::light::{LightChain, LightError};
use crate::minting::tracked::TransactionShown;
use crate::setup::genesis::{GenesisFile, GenesisFileError};
use bytemuck::Zeroable;
use dynemix_engine::accounts::columns::Hot;
use dynemix_engine::accounts::proof::AccountProof;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::{Cell, TransactionKind, payload_hash};
use ed25519_dalek::{Signer, SigningKey};
use hex::FromHex;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Heights that are asked for at a time.
const HEADERS_AT_ONCE: u64 = 50;
/// How long a node may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Slots ahead in which a transaction expires.
const EXPIRES_SLOTS: u64 = 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// No node answers.
    #[error("no node answers; tried {tried}: {why}")]
    Unreachable {
        /// The nodes that were tried.
        tried: String,
        /// The last error.
        why: String,
    },
    /// A node's own error.
    #[error("the node says: {0}")]
    Node(String),
    /// What it says is not what was certified.
    #[error("the node's answer is not what the chain has certified: {0}")]
    Lie(String),
    /// The chain of certificates.
    #[error(transparent)]
    Light(#[from] LightError),
    /// The genesis file, which is all that is trusted.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// Nobody has this name.
    #[error("nobody is called '{0}'")]
    Name(String),
    /// Nothing became final for long.
    #[error("no block has certified it in {0} slots")]
    Waited(u64),
}

/// What is proved of an account.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProvedAccount {
    /// Its public key, 64 digits.
    pub key: String,
    /// Height of the state that it is proved of.
    pub height: u64,
    /// Its index; none if there is no such account.
    pub account: Option<u32>,
    /// Its registered name, if it has one.
    pub name: Option<String>,
    /// Units that can be spent.
    pub spendable_units: u64,
    /// Units that are not mature.
    pub immature_units: u64,
    /// Units at stake.
    pub stake_units: u64,
    /// The sequence of its next transaction.
    pub sequence: u32,
    /// Whether certificate and proof hold; a key without account has no proof of that.
    pub proved: bool,
}

fn hash_of(text: &str) -> Option<Hash> {
    FromHex::from_hex(text).ok()
}

/// A light client: it believes the genesis file, certificates and proofs.
pub struct Client {
    nodes: Vec<String>,
    agent: ureq::Agent,
    /// The chain of the genesis file.
    pub chain: Chain,
    light: LightChain,
}

impl Client {
    /// A client of these nodes, for the chain of this genesis: what it trusts.
    ///
    /// # Errors
    /// A genesis that is none.
    pub fn new(nodes: Vec<String>, genesis: &GenesisFile) -> Result<Client, WalletError> {
        let genesis = genesis.genesis()?;
        let light = LightChain::genesis(&System::genesis(&genesis.chain, &genesis.minters));
        let agent =
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
        Ok(Client { nodes, agent, chain: genesis.chain, light })
    }

    /// Calls a method on the first node that answers.
    ///
    /// # Errors
    /// When none does, or it says no.
    pub fn call(&self, method: &str, params: Value) -> Result<Value, WalletError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut why = "no node is configured; use --node or --devnet".to_owned();
        for node in &self.nodes {
            let sent = self.agent.post(node).send_json(&request);
            match sent.and_then(|mut response| response.body_mut().read_json::<Value>()) {
                Ok(answer) => match (answer.get("result"), answer["error"]["message"].as_str()) {
                    (_, Some(message)) => return Err(WalletError::Node(message.to_owned())),
                    (Some(result), None) => return Ok(result.clone()),
                    (None, None) => why = "an answer that is none".into(),
                },
                Err(error) => why = error.to_string(),
            }
        }
        Err(WalletError::Unreachable { tried: self.nodes.join(", "), why })
    }

    /// Newest height that is verified.
    pub fn height(&self) -> u64 {
        self.light.height
    }

    /// Follows the chain to its end by its certificates.
    ///
    /// # Errors
    /// A certificate that does not hold, or no node.
    pub fn sync(&mut self) -> Result<(), WalletError> {
        while self.step(u64::MAX)? {}
        Ok(())
    }

    /// Follows up to so many heights more, none beyond `to`; false at the end.
    fn step(&mut self, to: u64) -> Result<bool, WalletError> {
        let from = self.light.height + 1;
        if from > to {
            return Ok(false);
        }
        let headers = self.call("headers", json!({ "from": from, "count": HEADERS_AT_ONCE.min(to - from + 1) }))?;
        let headers = headers.as_array().cloned().unwrap_or_default();
        for header in &headers {
            let bytes = bytes(&header["bytes"]).ok_or_else(|| WalletError::Lie("a header that is none".into()))?;
            let before = self.light.height;
            self.light.follow(&bytes)?;
            assert_eq!(self.light.height, before + 1, "certificates are followed height by height");
        }
        Ok(!headers.is_empty())
    }

    fn wait(&mut self, height: u64, slots: u64) -> Result<(), WalletError> {
        let end = Instant::now() + Duration::from_millis(slots * self.chain.parameters.slot_ms);
        loop {
            self.step(height)?;
            if self.light.height >= height {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(WalletError::Waited(slots));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The system after a certified block: names, stakes, what is not mature.
    ///
    /// # Errors
    /// When a node serves another one.
    pub fn system(&mut self) -> Result<System, WalletError> {
        let answer = self.call("system", json!({}))?;
        let bytes = bytes(&answer["bytes"]).ok_or_else(|| WalletError::Lie("a system that is none".into()))?;
        let system = System::decode(&bytes).map_err(|error| WalletError::Lie(error.to_string()))?;
        self.wait(system.height, 4)?;
        // A node that went on meanwhile has served an older one: only that of the height that is verified can be
        // compared.
        if self.light.height != system.height {
            return self.system();
        }
        let right = system.height == 0 || (system.root() == self.light.system && system.hash == self.light.hash);
        if right { Ok(system) } else { Err(WalletError::Lie("its system has another root".into())) }
    }

    /// A key from 64 digits, or by name.
    ///
    /// # Errors
    /// When nobody has the name.
    pub fn key(&mut self, text: &str) -> Result<Key, WalletError> {
        if let Ok(key) = FromHex::from_hex(text) {
            return Ok(key);
        }
        let system = self.system()?;
        let account = system.names.account_of(text.as_bytes()).ok_or_else(|| WalletError::Name(text.to_owned()))?;
        let answer = self.call("resolve", json!({ "name": text }))?;
        let key: Key =
            answer["key"].as_str().and_then(hash_of).ok_or_else(|| WalletError::Lie("a key that is none".into()))?;
        // The names say which account it is; the proof, which key that account has.
        match self.proof(&key)? {
            Some((proved, _, _)) if proved == account => Ok(key),
            _ => Err(WalletError::Lie(format!("the key it names is not that of '{text}'"))),
        }
    }

    /// An account by its proof: index, fields and height. Waits for the block that certifies the state.
    fn proof(&mut self, key: &Key) -> Result<Option<(u32, Hot, u64)>, WalletError> {
        let answer = self.call("proof", json!({ "key": hex::encode(key) }))?;
        let Some(proof) = bytes(&answer["proof"]) else { return Ok(None) };
        let proof = AccountProof::decode(&proof).map_err(|error| WalletError::Lie(error.to_string()))?;
        self.wait(proof.height + 1, 6)?;
        if self.light.height != proof.height + 1 {
            return self.proof(key);
        }
        let (proved, hot) =
            proof.verify(&self.light.parent_root).map_err(|error| WalletError::Lie(error.to_string()))?;
        if proved != *key {
            return Err(WalletError::Lie("the proof is of another account".into()));
        }
        Ok(Some((proof.account, hot, proof.height)))
    }

    /// What is certified of an account.
    ///
    /// # Errors
    /// When a node lies, or none answers.
    pub fn account(&mut self, key: &Key) -> Result<ProvedAccount, WalletError> {
        self.sync()?;
        let system = self.system()?;
        let found = self.proof(key)?;
        let (account, hot, height) = found
            .map_or((None, Hot::default(), self.light.height), |(account, hot, height)| (Some(account), hot, height));
        let of = |look: &dyn Fn(u32) -> u64| account.map_or(0, look);
        Ok(ProvedAccount {
            key: hex::encode(key),
            height,
            account,
            name: account
                .and_then(|account| system.names.name_of(account))
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            spendable_units: hot.balance,
            immature_units: of(&|account| system.immature_of(account)),
            stake_units: of(&|account| system.stake(account)),
            sequence: hot.sequence,
            proved: account.is_some(),
        })
    }

    /// Signs and hands in a transaction; returns its id.
    ///
    /// # Errors
    /// When it is refused.
    pub fn submit(
        &mut self,
        signer: &SigningKey,
        kind: TransactionKind,
        recipient: Key,
        amount: u64,
        payload: &[u8],
    ) -> Result<Hash, WalletError> {
        let sender = *signer.verifying_key().as_bytes();
        // The sequence need not be proved: a wrong one is refused, and nothing else can come of it.
        let account = self.call("account", json!({ "key": hex::encode(sender) }))?;
        let status = self.call("status", json!({ "blocks": 1 }))?;
        let slot = status["slot"].as_u64().unwrap_or(0);
        let window = self.chain.parameters.expires_window_slots;
        let mut cell = Cell {
            sender,
            recipient,
            amount,
            sequence: account["sequence"].as_u64().unwrap_or(0),
            expires_slot: slot.saturating_add(EXPIRES_SLOTS.min(window / 2)),
            version: 1,
            kind: kind as u8,
            outputs: u16::from(kind == TransactionKind::Transfer),
            payload_hash: payload_hash(payload),
            ..Cell::zeroed()
        };
        let signed = [&self.chain.transaction_prefix[..], cell.signed_part()].concat();
        let signature = signer.sign(&signed);
        cell.signature = signature.to_bytes();
        // As a node will look at it.
        let seen = [&self.chain.transaction_prefix[..], cell.signed_part()].concat();
        let holds = signer.verifying_key().verify_strict(&seen, &signature).is_ok();
        assert!(holds, "a transaction goes out that is not what was signed");
        let params = json!({ "cell": hex::encode(bytemuck::bytes_of(&cell)), "payload": hex::encode(payload) });
        let id = self.call("submit", params)?;
        let id: Hash = id.as_str().and_then(hash_of).ok_or_else(|| WalletError::Lie("an id that is none".into()))?;
        if id != cell.id(&self.chain.transaction_prefix) {
            return Err(WalletError::Lie("it names another transaction".into()));
        }
        Ok(id)
    }

    /// How far a transaction is, as the node that took it says.
    ///
    /// # Errors
    /// When it was handed in elsewhere.
    pub fn transaction(&self, id: &Hash) -> Result<TransactionShown, WalletError> {
        let answer = self.call("transaction", json!({ "id": hex::encode(id) }))?;
        serde_json::from_value(answer).map_err(|error| WalletError::Lie(error.to_string()))
    }

    /// Waits until a transaction has ended; `on` hears each checkpoint. A final one is believed once its height is
    /// verified.
    ///
    /// # Errors
    /// When it is refused or expires.
    pub fn follow(
        &mut self,
        id: &Hash,
        mut on: impl FnMut(&TransactionShown),
    ) -> Result<TransactionShown, WalletError> {
        let mut last: Option<TransactionShown> = None;
        loop {
            match self.transaction(id) {
                Ok(shown) => {
                    if last.as_ref() != Some(&shown) {
                        on(&shown);
                        last = Some(shown.clone());
                    }
                    match (shown.state.as_str(), shown.height) {
                        ("final", Some(height)) => {
                            self.wait(height, 6)?;
                            return Ok(shown);
                        }
                        ("refused", _) => {
                            return Err(WalletError::Node(format!("refused: {}", shown.refusal.unwrap_or_default())));
                        }
                        ("expired", _) => {
                            return Err(WalletError::Node("it expired before it came into a block".into()));
                        }
                        _ => {}
                    }
                }
                // Handed in a moment ago: it is being verified.
                Err(WalletError::Node(_)) if last.is_none() => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Hash of the newest block that is verified: what stakes name.
    pub fn newest_hash(&self) -> Hash {
        self.light.hash
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let pairs = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    if text.len().is_multiple_of(2) { pairs.collect() } else { None }
}
