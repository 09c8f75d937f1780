//! The genesis file: what all nodes of a chain begin with, and what its identity is the hash of.

use super::address::{PREFIX, key_of, prefix_acceptable};
use super::digits::digits;
use super::endpoint::endpoint_of;
use crate::keep::chain_store::Genesis;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::limits::{
    BLOCK_BYTES_MAX, CELL_BYTES, OUTPUTS_MAX, SEATS_MAX, SHARDS_MAX, TRANSACTION_BYTES_MAX,
};
use dynemix_engine::base::parameters::{
    Chain, ChainParameters, EVIDENCE_HEIGHTS_MAX, EVIDENCE_HEIGHTS_MIN, GenesisMinter, SUPPLY_GENESIS,
};
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
    /// Key of its account: 64 digits, or its address.
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
    /// Its key: 64 digits, or its address.
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
    /// What the chain's addresses begin with; no rule of the chain, so no part of its hash.
    #[serde(default = "usual_prefix")]
    pub address_prefix: String,
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

fn usual_prefix() -> String {
    PREFIX.to_owned()
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

/// An account's key, as digits or as an address of this chain.
fn key(of: &str, prefix: &str, text: &str) -> Result<Key, GenesisFileError> {
    key_of(prefix, text).map_err(|error| GenesisFileError::Field(format!("{of}: {error}")))
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

/// Refuses a number outside of what it may be.
fn within<N: PartialOrd + std::fmt::Display>(name: &str, number: N, least: N, most: N) -> Result<(), GenesisFileError> {
    if number < least || number > most {
        return wrong(format!("{name} is {number}; it must be between {least} and {most}"));
    }
    Ok(())
}

/// Amounts of nothing make blocks that others refuse, or stakes that nobody can lose; those above the supply sums that
/// leave 64 bits.
fn check_amounts(parameters: &ChainParameters) -> Result<(), GenesisFileError> {
    let consensus = &parameters.consensus;
    within("amount_min", parameters.amount_min, 1, SUPPLY_GENESIS)?;
    within("output_fee", parameters.output_fee, 0, SUPPLY_GENESIS / u64::from(OUTPUTS_MAX))?;
    within("consensus.register_reserve", consensus.register_reserve, 1, SUPPLY_GENESIS)?;
    within("consensus.stake_min", consensus.stake_min, 1, SUPPLY_GENESIS)?;
    // Twice the emission is never exceeded, and there are fewer heights than slots, of which there are 2^32.
    let emission_max = (u64::MAX - SUPPLY_GENESIS) >> 33;
    within("consensus.emission", consensus.emission, 0, emission_max)
}

/// Counts of nothing are no chain, and large ones are more than messages, slots of 32 bits and sums can hold.
fn check_bounds(parameters: &ChainParameters) -> Result<(), GenesisFileError> {
    let consensus = &parameters.consensus;
    let items_max = (BLOCK_BYTES_MAX / CELL_BYTES) as u32 + 1;
    let transactions_max = items_max.next_power_of_two().max(ChainParameters::default().block_transactions_max);
    within("expires_window_slots", parameters.expires_window_slots, 1, u64::from(u32::MAX))?;
    within("block_transactions_max", parameters.block_transactions_max, 1, transactions_max)?;
    within("consensus.seats", consensus.seats, 1, SEATS_MAX as u32)?;
    within("consensus.shards_max", consensus.shards_max, 1, SHARDS_MAX as u32)?;
    within("consensus.shard_transactions", consensus.shard_transactions, 1, transactions_max)?;
    within("consensus.evidence_heights", consensus.evidence_heights, EVIDENCE_HEIGHTS_MIN, EVIDENCE_HEIGHTS_MAX)?;
    // Whatever a shard may make, one transaction fits: records take half at most.
    within("consensus.line_bytes_per_s", consensus.line_bytes_per_s, 1, u64::from(u32::MAX))?;
    // TOML has no larger number: a chain that begins with it never comes to quilt mode.
    if consensus.quilt_from_height >= i64::MAX as u64 {
        return Ok(());
    }
    let bytes_max = parameters.block_bytes_max(consensus.quilt_from_height);
    within("bytes of a block at consensus.line_bytes_per_s", bytes_max, 2 * TRANSACTION_BYTES_MAX as u64, u64::MAX)
}

impl MinterEntry {
    /// Its account's key, and what the chain begins with of it.
    fn minter(&self, account: u32, prefix: &str, stake_min: u64) -> Result<(Key, GenesisMinter), GenesisFileError> {
        let of = format!("minter '{}'", self.name);
        if self.stake < stake_min {
            return wrong(format!("{of}: {} units at stake, of the {stake_min} that a stake has at least", self.stake));
        }
        let owner = key(&of, prefix, &self.account)?;
        let (key, possession) = (field(&of, "vote_key", &self.vote_key)?, field(&of, "possession", &self.possession)?);
        if let Err(error) = VoteKeys::check(&owner, &key, &possession) {
            return wrong(format!("{of}: {error}"));
        }
        let endpoint = endpoint_of(self.address, field(&of, "transport_key", &self.transport_key)?);
        let (name, stake) = (self.name.clone().into_bytes(), self.stake);
        Ok((owner, GenesisMinter { account, name, stake, key: Box::new(key), endpoint }))
    }
}

impl GenesisFile {
    /// Of a chain whose addresses begin as usual, without accounts for loads.
    pub fn new(parameters: ChainParameters, minters: Vec<MinterEntry>, accounts: Vec<AccountEntry>) -> GenesisFile {
        let (format, address_prefix) = (GENESIS_VERSION, usual_prefix());
        GenesisFile { format, address_prefix, parameters, minters, accounts, load_accounts: None }
    }

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
        let (parameters, prefix) = (self.parameters, &self.address_prefix);
        if !prefix_acceptable(prefix) {
            return wrong(format!("address_prefix is '{prefix}'; it must be 1 to 12 of a-z, 0 and 2 to 9"));
        }
        check_times(&parameters)?;
        check_amounts(&parameters)?;
        check_bounds(&parameters)?;
        let (mut accounts, mut minters): (Vec<(Key, u64)>, _) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        for (index, entry) in self.minters.iter().enumerate() {
            let of = format!("minter '{}'", entry.name);
            if !name_acceptable(entry.name.as_bytes()) || !names.insert(entry.name.clone()) {
                return wrong(format!("{of}: not a name of 1 to 32 letters a-z, digits, or taken twice"));
            }
            let (owner, minter) = entry.minter(index as u32, prefix, parameters.consensus.stake_min)?;
            accounts.push((owner, entry.balance));
            minters.push(minter);
        }
        for (place, entry) in self.accounts.iter().enumerate() {
            accounts.push((key(&format!("account {place}"), prefix, &entry.key)?, entry.balance));
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

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::base::parameters::DYNE;
    use dynemix_engine::vote::bls::BlsSigning;

    fn file() -> GenesisFile {
        let owner = KeyChain::new(1).keys(0..1)[0];
        let (vote_key, possession) = BlsSigning::key_and_possession(&[7; 32], &owner);
        let minter = MinterEntry {
            name: "ada".into(),
            account: hex::encode(owner),
            balance: 0,
            stake: 1_000 * DYNE,
            vote_key: hex::encode(vote_key),
            possession: hex::encode(possession),
            transport_key: hex::encode([3; 32]),
            address: None,
        };
        let mut parameters = ChainParameters::default();
        parameters.consensus.accounts_max = 1_000;
        GenesisFile {
            format: GENESIS_VERSION,
            address_prefix: PREFIX.into(),
            parameters,
            minters: vec![minter],
            accounts: Vec::new(),
            load_accounts: None,
        }
    }

    #[test]
    fn numbers_that_make_no_chain_are_refused() {
        assert!(file().genesis().is_ok());
        type Change = (&'static str, fn(&mut GenesisFile));
        let changes: [Change; 18] = [
            ("slot_ms", |file| file.parameters.slot_ms = 0),
            ("amount_min", |file| file.parameters.amount_min = 0),
            ("output_fee", |file| file.parameters.output_fee = u64::MAX),
            ("expires_window_slots", |file| file.parameters.expires_window_slots = 0),
            ("block_transactions_max", |file| file.parameters.block_transactions_max = 0),
            ("seats", |file| file.parameters.consensus.seats = 0),
            ("seats", |file| file.parameters.consensus.seats = 1_985),
            ("shards_max", |file| file.parameters.consensus.shards_max = 0),
            ("shards_max", |file| file.parameters.consensus.shards_max = u32::MAX),
            ("shard_transactions", |file| file.parameters.consensus.shard_transactions = u32::MAX),
            ("register_reserve", |file| file.parameters.consensus.register_reserve = 0),
            ("stake_min", |file| file.parameters.consensus.stake_min = 0),
            ("emission", |file| file.parameters.consensus.emission = u64::MAX),
            ("evidence_heights", |file| file.parameters.consensus.evidence_heights = 2),
            ("line_bytes_per_s", |file| file.parameters.consensus.line_bytes_per_s = 0),
            ("line_bytes_per_s", |file| {
                let consensus = &mut file.parameters.consensus;
                (consensus.line_bytes_per_s, consensus.quilt_from_height) = (1_000, 0);
            }),
            ("at stake", |file| file.minters[0].stake = 0),
            ("possession", |file| file.minters[0].account = hex::encode(KeyChain::new(1).keys(1..2)[0])),
        ];
        for (named, change) in changes {
            let mut file = file();
            change(&mut file);
            let error = file.genesis().err().map_or(String::new(), |error| error.to_string());
            assert!(error.contains(named), "{named}: '{error}'");
        }
    }
}
