//! What makes one chain: its parameters, its genesis hash, and the prefixes that bind signatures to it.

use super::hash::Hash;
use super::ids::{AccountIndex, Endpoint, Key, Prefix, VoteKey};
use super::limits::BLOCK_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Units of one dyne.
pub const DYNE: u64 = 1_000_000;
/// Units that exist at genesis: 10^12 dynes.
pub const SUPPLY_GENESIS: u64 = 1_000_000_000_000 * DYNE;
/// How many transactions of one sender may wait: sequences from the next one to this many ahead.
pub const SEQUENCES_AHEAD: u32 = 8;

/// Parameters fixed at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainParameters {
    /// When slot 0 begins: milliseconds since 1970.
    #[serde(default)]
    pub start_ms: u64,
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
    /// What consensus goes by.
    #[serde(default)]
    pub consensus: ConsensusParameters,
}

/// What consensus goes by, fixed at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusParameters {
    /// Seats that are drawn for a height, if all who are drawn answer.
    pub seats: u32,
    /// Shards at most; fewer while there are fewer than ten minters for each.
    pub shards_max: u32,
    /// Transactions of a block for which one more shard is opened.
    pub shard_transactions: u32,
    /// The first height in quilt mode: patches travel instead of blocks, and what is received matures for
    /// [`MATURITY_HEIGHTS`].
    pub quilt_from_height: u64,
    /// Units issued for each height, to who minted it.
    pub emission: u64,
    /// Units that are locked with a name.
    pub register_reserve: u64,
    /// Units of the smallest addition to a stake.
    pub stake_min: u64,
    /// Accounts that there may be.
    pub accounts_max: u64,
    /// E: heights for which evidence is taken, and for which a stake is held after its owner's seat. As long as one, so
    /// long the other: whoever may still be punished has something to lose.
    pub evidence_heights: u64,
    /// Bytes that the line of a minter carries in a second, each way: what has to travel is given time by its size, and a
    /// block is no larger than there is time for.
    pub line_bytes_per_s: u64,
    /// When in a slot each step is due.
    pub sub_slots: SubSlots,
}

/// When in a slot each step is due, in parts of a thousand; see [`crate::committee::schedule::Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "as in the schedule")]
pub struct SubSlots {
    pub sets: u32,
    pub lists: u32,
    pub decide: u32,
    pub vote: u32,
    pub have: u32,
    pub try_0: u32,
    pub propose: u32,
    pub try_1: u32,
}

impl SubSlots {
    /// The paper's proportions: for home lines of 10 Mbit/s and 300 ms, where what is exchanged takes its time.
    pub const HOME: SubSlots =
        SubSlots { sets: 200, lists: 330, decide: 400, vote: 450, have: 620, try_0: 680, propose: 800, try_1: 860 };
    /// For a network whose lines are fast, as within one computer: what takes time is the transactions' arrival.
    pub const LOCAL: SubSlots =
        SubSlots { sets: 570, lists: 630, decide: 640, vote: 650, have: 770, try_0: 800, propose: 890, try_1: 930 };

    /// The steps in their order.
    pub fn steps(&self) -> [u32; 8] {
        let SubSlots { sets, lists, decide, vote, have, try_0, propose, try_1 } = *self;
        [sets, lists, decide, vote, have, try_0, propose, try_1]
    }
}

/// W: heights after which what was received in quilt mode can be spent. In the first after its own a block whose
/// transactions are kept back raises the alarm; in the second there is a committee that has nearly a whole slot to look for
/// the largest block; in the third is the ban.
pub const MATURITY_HEIGHTS: u64 = 3;
/// How often the transactions of a block, as long as they are at rest, pass one line while a committee looks for them.
/// Those who were served serve others: from the eleven honest ones of seventeen that have them, a hundred do after four
/// rounds, and what travels is a third shorter.
pub const LOOK_ROUNDS: u64 = 4;
/// Part of a slot that the largest block leaves to spare.
const LOOK_SPARE_PER_MILLE: u32 = 50;

/// E at least: a ban may reach back W heights, and what its signers had at stake must be there still.
pub const EVIDENCE_HEIGHTS_MIN: u64 = MATURITY_HEIGHTS + 1;
/// E at most: the committees of so many heights are part of the system.
pub const EVIDENCE_HEIGHTS_MAX: u64 = 1_000;

impl ConsensusParameters {
    /// W at a height: 0 in blockchain mode.
    pub fn maturity(&self, height: u64) -> u64 {
        if height >= self.quilt_from_height { MATURITY_HEIGHTS } else { 0 }
    }
}

impl ChainParameters {
    /// Bytes of a shard-block's items at most. In quilt mode a committee must be able to look for them from the
    /// beginning of a slot to its first votes, and a little less since no clock is exact.
    pub fn block_bytes_max(&self, height: u64) -> u64 {
        if self.consensus.maturity(height) == 0 {
            return BLOCK_BYTES_MAX as u64;
        }
        let per_mille = self.consensus.sub_slots.try_0.saturating_sub(LOOK_SPARE_PER_MILLE);
        let look_ms = u128::from(self.slot_ms) * u128::from(per_mille) / 1_000;
        let bytes = look_ms * u128::from(self.consensus.line_bytes_per_s) / (1_000 * u128::from(LOOK_ROUNDS));
        u64::try_from(bytes).unwrap_or(u64::MAX).min(BLOCK_BYTES_MAX as u64)
    }
}

impl Default for ConsensusParameters {
    fn default() -> Self {
        ConsensusParameters {
            seats: 20,
            shards_max: 2,
            shard_transactions: 1,
            quilt_from_height: u64::MAX,
            emission: 100 * DYNE,
            register_reserve: 10 * DYNE,
            stake_min: DYNE,
            accounts_max: 1 << 31,
            evidence_heights: 12,
            line_bytes_per_s: 1_250_000,
            sub_slots: SubSlots::HOME,
        }
    }
}

impl Default for ChainParameters {
    fn default() -> Self {
        ChainParameters {
            start_ms: 0,
            slot_ms: 10_000,
            amount_min: DYNE,
            output_fee: DYNE / 100,
            expires_window_slots: 4_096,
            block_transactions_max: 1 << 20,
            consensus: ConsensusParameters::default(),
        }
    }
}

/// A chain as everything else sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Times, amounts and limits that genesis fixes.
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
        Self::with_minters(parameters, accounts, &[])
    }

    /// The same, with those who mint from the start.
    pub fn with_minters(parameters: ChainParameters, accounts: &[(Key, u64)], minters: &[GenesisMinter]) -> Chain {
        let ChainParameters {
            start_ms,
            slot_ms,
            amount_min,
            output_fee,
            expires_window_slots,
            block_transactions_max,
            consensus,
        } = parameters;
        let ConsensusParameters {
            seats,
            shards_max,
            shard_transactions,
            quilt_from_height,
            emission,
            register_reserve,
            stake_min,
            accounts_max,
            evidence_heights,
            line_bytes_per_s,
            sub_slots,
        } = consensus;
        let mut hasher = blake3::Hasher::new_derive_key("dynemix genesis v2");
        for number in
            [start_ms, slot_ms, amount_min, output_fee, expires_window_slots, u64::from(block_transactions_max)]
        {
            hasher.update(&number.to_le_bytes());
        }
        for number in [seats, shards_max, shard_transactions] {
            hasher.update(&number.to_le_bytes());
        }
        for number in
            [quilt_from_height, emission, register_reserve, stake_min, accounts_max, evidence_heights, line_bytes_per_s]
        {
            hasher.update(&number.to_le_bytes());
        }
        for number in sub_slots.steps() {
            hasher.update(&number.to_le_bytes());
        }
        for (key, balance) in accounts {
            hasher.update(key).update(&balance.to_le_bytes());
        }
        for GenesisMinter { account, name, stake, key, endpoint } in minters {
            hasher.update(&account.to_le_bytes()).update(&stake.to_le_bytes()).update(&**key);
            hasher.update(&endpoint.address).update(&endpoint.port.to_le_bytes()).update(&endpoint.transport_key);
            hasher.update(&[name.len() as u8]).update(name);
        }
        let genesis_hash = *hasher.finalize().as_bytes();
        Chain { parameters, genesis_hash, transaction_prefix: transaction_prefix(&genesis_hash) }
    }
}

/// Who mints from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisMinter {
    /// Its account's index.
    pub account: AccountIndex,
    /// Its name, since only who is registered stakes.
    pub name: Vec<u8>,
    /// Units at stake, beside its balance.
    pub stake: u64,
    /// Voting key; its possession was proved to whoever wrote the genesis.
    pub key: Box<VoteKey>,
    /// Where it is reached.
    pub endpoint: Endpoint,
}
