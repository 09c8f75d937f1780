//! Accounts as a wallet shows them: what is proved of one, and what is only a node's word.

use super::client::Client;
use super::error::WalletError;
use super::sent::Sent;
use super::time;
use crate::face::answers::HistoryAnswer;
use crate::setup::address::address;
use dynemix_engine::accounts::columns::Hot;
use dynemix_engine::base::ids::Key;
use serde_json::json;

/// What is proved of an account.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProvedAccount {
    /// Its public key, 64 digits.
    pub key: String,
    /// The key as an address of this chain.
    pub address: String,
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
    /// The height at which the last of them are, unless their block is banned before.
    pub mature_at_height: Option<u64>,
    /// Units at stake.
    pub stake_units: u64,
    /// The sequence of its next transaction.
    pub sequence: u32,
    /// Whether certificate and proof hold; a key without account has no proof of that.
    pub proved: bool,
}

impl Client {
    /// Whether a key has an account, as far as any node shows: that it has none cannot be proved.
    ///
    /// # Errors
    /// When no node answers well.
    pub fn has_account(&mut self, key: &Key) -> Result<bool, WalletError> {
        self.on_any(|client, node| {
            client.sync_with(node)?;
            Ok(client.proof_of(node, key, 0)?.is_some())
        })
    }

    /// What this key has sent from this computer.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub fn sent(&self, key: &Key) -> std::io::Result<Vec<Sent>> {
        self.kept.sent(key)
    }

    /// What is certified of an account.
    ///
    /// # Errors
    /// When no node proves it.
    pub fn account(&mut self, key: &Key) -> Result<ProvedAccount, WalletError> {
        let mut none = None;
        let found = self.on_any(|client, node| {
            client.sync_with(node)?;
            let system = client.system_of(node)?;
            let Some(proved) = client.proof_of(node, key, 0)? else {
                // That there is no account is one node's word: another one may prove the contrary.
                none = Some(system);
                return Err(WalletError::Node("it knows no account of this key".into()));
            };
            Ok((system, Some(proved)))
        });
        let (system, found) = match (found, none) {
            (Err(error), Some(system)) if !error.is_lie() => (system, None),
            (found, _) => found?,
        };
        if let Err(error) = time::recent(self.light.newest().slot, self.now_slot()) {
            self.warn(error.to_string());
        }
        let account = found.map(|found| found.account);
        let hot = found.map_or_else(Hot::default, |found| found.hot);
        let of = |look: &dyn Fn(u32) -> u64| account.map_or(0, look);
        Ok(ProvedAccount {
            key: hex::encode(key),
            address: address(&self.address_prefix, key),
            height: found.map_or(self.height(), |found| found.height),
            account,
            name: account
                .and_then(|account| system.names.name_of(account))
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            spendable_units: hot.balance,
            immature_units: of(&|account| system.immature_of(account)),
            mature_at_height: account
                .and_then(|account| system.immature_since(account))
                .map(|height| height + self.chain.parameters.consensus.maturity(height)),
            stake_units: of(&|account| system.stake(account)),
            sequence: hot.sequence,
            proved: account.is_some(),
        })
    }

    /// What a node of this chain says has happened to an account: its word.
    ///
    /// # Errors
    /// When none answers, or all say no.
    pub fn history(&mut self, key: &Key) -> Result<HistoryAnswer, WalletError> {
        self.on_any(|client, node| {
            client.sync_with(node)?;
            client.ask(node, "history", &json!({ "key": hex::encode(key) }))
        })
    }

    /// Other keys that have signed on this chain from this computer, what has not ended.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn others_pending(&self, key: &Key) -> Result<Vec<String>, WalletError> {
        let key = hex::encode(key);
        Ok(self.kept.pending_keys()?.into_iter().filter(|other| *other != key).collect())
    }
}
