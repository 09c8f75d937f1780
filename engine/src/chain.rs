//! What makes one chain: its parameters, its genesis hash, and the prefixes that bind signatures to it.

use crate::cell::Key;
use crate::hash::Hash;
use serde::{Deserialize, Serialize};

/// Units of one dyne.
pub const DYNE: u64 = 1_000_000;
/// Units that exist at genesis: 10^12 dynes.
pub const SUPPLY_GENESIS: u64 = 1_000_000_000_000 * DYNE;
/// How many transactions of one sender may wait: sequences from the next one to this many ahead.
pub const SEQUENCES_AHEAD: u32 = 8;

/// The first 32 bytes of everything that is signed for one purpose on one chain.
pub type Prefix = [u8; 32];

/// Parameters fixed at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainParameters {
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Units of the smallest output.
    pub amount_min: u64,
    /// Units that each output of a MultiTransfer beyond the first costs.
    pub output_fee: u64,
    /// How many slots ahead `expires_slot` may lie.
    pub expires_window_slots: u64,
    /// Transactions of one shard-block at most.
    pub block_transactions_max: u32,
}

impl Default for ChainParameters {
    fn default() -> Self {
        ChainParameters {
            slot_ms: 10_000,
            amount_min: DYNE,
            output_fee: DYNE / 100,
            expires_window_slots: 4_096,
            block_transactions_max: 1 << 20,
        }
    }
}

/// A chain as everything else sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its parameters.
    pub parameters: ChainParameters,
    /// Hash of parameters and genesis accounts: the chain's identity.
    pub genesis_hash: Hash,
    /// Prefix of signed transactions.
    pub transaction_prefix: Prefix,
}

/// Prefix of what is signed as a transaction on the chain of this genesis hash.
pub fn transaction_prefix(genesis_hash: &Hash) -> Prefix {
    blake3::derive_key("dynemix transaction signature v1", genesis_hash)
}

impl Chain {
    /// The chain with these parameters and these genesis accounts, in order of index.
    pub fn new(parameters: ChainParameters, accounts: &[(Key, u64)]) -> Chain {
        let ChainParameters { slot_ms, amount_min, output_fee, expires_window_slots, block_transactions_max } = parameters;
        let mut hasher = blake3::Hasher::new_derive_key("dynemix genesis v1");
        for number in [slot_ms, amount_min, output_fee, expires_window_slots, u64::from(block_transactions_max)] {
            hasher.update(&number.to_le_bytes());
        }
        for (key, balance) in accounts {
            hasher.update(key).update(&balance.to_le_bytes());
        }
        let genesis_hash = *hasher.finalize().as_bytes();
        Chain { parameters, genesis_hash, transaction_prefix: transaction_prefix(&genesis_hash) }
    }
}
