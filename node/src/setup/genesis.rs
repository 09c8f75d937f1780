//! The genesis file: what all nodes of a chain begin with, and what its identity is the hash of.

use super::digits::digits;
use super::endpoint::endpoint_of;
use crate::keep::chain_store::Genesis;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::parameters::{Chain, ChainParameters, GenesisMinter, SUPPLY_GENESIS};
use dynemix_engine::transaction::check::name_acceptable;
use dynemix_engine::verify::account_key_acceptable;
use dynemix_engine::vote::bls::VoteKeys;
use dynemix_workload::KeyChain;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Version of the file.
pub const GENESIS_VERSION: u32 = 1;

/// Who mints from the start, as a file says it; `keys minting new` prints one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinterEntry {
    /// Its registered name: 1 to 32 of a-z and digits.
    pub name: String,
    /// Key of its account, 64 digits.
    pub account: String,
    /// Units in its account.
    #[serde(default)]
    pub balance: u64,
    /// Units at stake.
    pub stake: u64,
    /// Voting key, 192 digits.
    pub vote_key: String,
    /// Proof that whoever wrote it has the key, 96 digits.
    pub possession: String,
    /// Static key of its transport, 64 digits.
    pub transport_key: String,
    /// Where it is reached, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
}

/// An account at genesis.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountEntry {
    /// Its key, 64 digits.
    pub key: String,
    /// Units that it begins with.
    pub balance: u64,
}

/// Accounts whose secrets everyone knows: for loads on a devnet.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadAccounts {
    /// What their keys follow from.
    pub seed: u64,
    /// How many, 100 000 000 at most.
    pub count: u64,
    /// Units in each.
    pub balance: u64,
}

/// A genesis file, as it is written: TOML.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisFile {
    /// Always [`GENESIS_VERSION`], else the file is refused.
    pub format: u32,
    /// The chain's parameters.
    pub parameters: ChainParameters,
    /// Who mints from the start.
    #[serde(default)]
    pub minters: Vec<MinterEntry>,
    /// Accounts beside those of minters, after them in order of index.
    #[serde(default)]
    pub accounts: Vec<AccountEntry>,
    /// Accounts for loads; only devnets have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_accounts: Option<LoadAccounts>,
}

/// Why a genesis file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// It cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Genesis file that was named.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is no TOML of this form.
    #[error("{}: {source}", path.display())]
    Form {
        /// Genesis file that was named.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<toml::de::Error>,
    },
    /// A file of another version of this program.
    #[error("the genesis file has format {0}, this program reads {GENESIS_VERSION}")]
    Version(u32),
    /// A field that cannot be so.
    #[error("genesis: {0}")]
    Field(String),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, GenesisFileError> {
    Err(GenesisFileError::Field(what.into()))
}

fn field<const N: usize>(of: &str, name: &str, text: &str) -> Result<[u8; N], GenesisFileError> {
    let wrong = || GenesisFileError::Field(format!("{of}: {name} is not {} hexadecimal digits in lower case", 2 * N));
    digits(text).ok_or_else(wrong)
}

fn check_times(parameters: &ChainParameters) -> Result<(), GenesisFileError> {
    if !(200..=3_600_000).contains(&parameters.slot_ms) {
        return wrong("slot_ms must be between 200 and 3600000");
    }
    let steps = parameters.consensus.sub_slots.steps();
    if !steps.is_sorted_by(|a, b| a < b) || steps[0] == 0 || steps[7] >= 1_000 {
        return wrong("consensus.sub_slots must ascend between 0 and 1000");
    }
    Ok(())
}

impl GenesisFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is none.
    pub fn read(path: &Path) -> Result<GenesisFile, GenesisFileError> {
        let text =
            fs::read_to_string(path).map_err(|source| GenesisFileError::Read { path: path.to_owned(), source })?;
        let file: GenesisFile = toml::from_str(&text)
            .map_err(|source| GenesisFileError::Form { path: path.to_owned(), source: Box::new(source) })?;
        if file.format == GENESIS_VERSION { Ok(file) } else { Err(GenesisFileError::Version(file.format)) }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("plain fields")
    }

    /// Checks everything, and makes what a node begins with. Minters' accounts come first, in their order.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn genesis(&self) -> Result<Genesis, GenesisFileError> {
        if self.minters.is_empty() {
            return wrong("there are no minters; someone must begin");
        }
        let parameters = self.parameters;
        check_times(&parameters)?;
        let (mut accounts, mut minters): (Vec<(Key, u64)>, _) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        for (index, entry) in self.minters.iter().enumerate() {
            let of = format!("minter '{}'", entry.name);
            if !name_acceptable(entry.name.as_bytes()) || !names.insert(entry.name.clone()) {
                return wrong(format!("{of}: not a name of 1 to 32 letters a-z, digits, or taken twice"));
            }
            let (key, possession) =
                (field(&of, "vote_key", &entry.vote_key)?, field(&of, "possession", &entry.possession)?);
            if let Err(error) = VoteKeys::check(&key, &possession) {
                return wrong(format!("{of}: {error}"));
            }
            let endpoint = endpoint_of(entry.address, field(&of, "transport_key", &entry.transport_key)?);
            accounts.push((field(&of, "account", &entry.account)?, entry.balance));
            minters.push(GenesisMinter {
                account: index as u32,
                name: entry.name.clone().into_bytes(),
                stake: entry.stake,
                key: Box::new(key),
                endpoint,
            });
        }
        for (place, entry) in self.accounts.iter().enumerate() {
            accounts.push((field(&format!("account {place}"), "key", &entry.key)?, entry.balance));
        }
        if let Some((key, _)) = accounts.iter().find(|account| !account_key_acceptable(&account.0)) {
            return wrong(format!("{} cannot be an account's key", hex::encode(key)));
        }
        if let Some(load) = self.load_accounts {
            if load.count > 100_000_000 {
                return wrong("load_accounts: more than 100000000");
            }
            let keys = KeyChain::new(load.seed).keys(0..load.count);
            accounts.extend(keys.into_iter().map(|key| (key, load.balance)));
        }
        let loads = self.load_accounts.map_or(0, |load| load.count as usize);
        let named = self.minters.len() + self.accounts.len() + loads;
        assert_eq!(accounts.len(), named, "each account that the file names is there, and once");
        let mut keys = HashSet::with_capacity(accounts.len());
        if let Some((key, _)) = accounts.iter().find(|account| !keys.insert(account.0)) {
            return wrong(format!("{} is the key of two accounts", hex::encode(key)));
        }
        let sum = accounts.iter().map(|account| u128::from(account.1)).sum::<u128>();
        let sum = sum + self.minters.iter().map(|entry| u128::from(entry.stake)).sum::<u128>();
        if sum > u128::from(SUPPLY_GENESIS) {
            return wrong(format!(
                "balances and stakes sum to {sum} units, more than the {SUPPLY_GENESIS} there may be"
            ));
        }
        let accounts_max = parameters.consensus.accounts_max;
        if accounts_max < accounts.len() as u64 || accounts_max > u64::from(u32::MAX / 2) {
            return wrong(format!(
                "consensus.accounts_max is {accounts_max}; there are {} accounts, and at most {} there may be",
                accounts.len(),
                u32::MAX / 2
            ));
        }
        let chain = Chain::with_minters(parameters, &accounts, &minters);
        Ok(Genesis { chain, accounts, minters, accounts_max: accounts_max as u32 })
    }
}
