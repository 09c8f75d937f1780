//! What the methods answer, field by field: from here come both the answers and their description.

use crate::minting::status::BlockShown;
use crate::minting::tracked::TransactionShown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account. Without its own proof it is the node's word.
#[derive(Serialize, JsonSchema)]
pub struct AccountAnswer {
    /// Its key: 64 hexadecimal digits.
    pub key: String,
    /// The same as people pass it on: with a checksum, for this chain.
    pub address: String,
    /// Its index among all accounts.
    pub account: u32,
    /// The height at which balance and sequence are so.
    pub height: u64,
    /// The height at which the rest is so.
    pub system_height: Option<u64>,
    /// Units that it can spend.
    pub spendable_units: u64,
    /// Units on their way to it that are not mature.
    pub immature_units: u64,
    /// How many transactions it has sent: the sequence of its next one.
    pub sequence: u32,
    /// Units that it has at stake.
    pub stake_units: u64,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// The proof of an account.
#[derive(Serialize, JsonSchema)]
pub struct ProofAnswer {
    /// Height of the accounts that it is of.
    pub height: u64,
    /// Root of the accounts.
    pub root: String,
    /// The proof in hexadecimal; none where there is no account of this key.
    pub proof: Option<String>,
}

/// Whose a name is.
#[derive(Serialize, JsonSchema)]
pub struct NameAnswer {
    /// Index of the account.
    pub account: u32,
    /// Key of that account: 64 hexadecimal digits.
    pub key: String,
    /// Address of that account.
    pub address: String,
}

/// What the chain keeps beside balances, or a piece of it.
#[derive(Serialize, JsonSchema)]
pub struct SystemAnswer {
    /// The height after which it is so.
    pub height: u64,
    /// Of a piece: where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Of a piece: bytes of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// The bytes in hexadecimal.
    pub bytes: String,
}

/// A final certificate with its committee.
#[derive(Serialize, JsonSchema)]
pub struct HeaderAnswer {
    /// Height of the block.
    pub height: u64,
    /// Certificate and committee in hexadecimal.
    pub bytes: String,
}

/// The proof that a transaction stands in a block.
#[derive(Serialize, JsonSchema)]
pub struct InclusionAnswer {
    /// Height of the block.
    pub height: u64,
    /// Shard of the shard-block.
    pub shard: u32,
    /// Header of the shard-block, place, path, and the transaction, in hexadecimal; the block of that height lists the
    /// header's hash.
    pub proof: String,
}

/// How far a transaction is that was handed in here.
#[derive(Serialize, JsonSchema)]
pub struct TransactionAnswer {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// When slot 0 began, milliseconds of Unix time: the times below count from it.
    pub start_unix_ms: u64,
    /// How far it is.
    #[serde(flatten)]
    pub shown: TransactionShown,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// It pays one account or several.
    Payment,
    /// It gives its sender a name.
    Register,
    /// It puts units at stake.
    Stake,
    /// It takes units from the stake.
    Unstake,
    /// In a change of an account: others paid it.
    Receipt,
}

/// A transaction that is kept with its block.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct KeptTransaction {
    /// Height of its block.
    pub height: u64,
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Key of its sender.
    pub sender: String,
    /// Key of its first recipient; of a stake or unstake the block that it names.
    pub recipient: String,
    /// Units for the first recipient, or at stake; of a registration the units that are locked.
    pub amount_units: u64,
    /// What it does.
    pub kind: Does,
    /// Which of its sender's transactions it is.
    pub sequence: u64,
}

/// What a block did to an account.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Height of the block.
    pub height: u64,
    /// Slot of the block.
    pub slot: u64,
    /// The shard that did it.
    pub shard: u32,
    /// What it was.
    pub kind: Does,
    /// The name that was registered.
    pub of: Option<String>,
    /// Units that went to the stake, or leave it.
    pub stake_units: Option<u64>,
    /// Units that were taken.
    pub debited_units: u64,
    /// Units that were given.
    pub credited_units: u64,
}

/// What has happened to an account in the blocks that were looked through.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct HistoryAnswer {
    /// The oldest height that is kept here.
    pub first_height: u64,
    /// Where the next call goes on, as `before`; none: there is nothing older.
    pub next_before: Option<u64>,
    /// What was paid and received, newest block first.
    pub changes: Vec<Change>,
    /// Where blocks carry transactions: newest block first.
    pub transactions: Vec<KeptTransaction>,
    /// Transactions of these blocks that found no place on the page.
    pub transactions_left_out: usize,
}

/// A final block of the log.
#[derive(Serialize, JsonSchema)]
pub struct BlockAnswer {
    /// Height of the block.
    pub height: u64,
    /// Slot of its shard-blocks.
    pub slot: u64,
    /// When that slot began, milliseconds of Unix time.
    pub slot_unix_ms: u64,
    /// Hash of the master-block.
    pub hash: String,
    /// Hash of the block before.
    pub parent: String,
    /// How many have signed its certificate.
    pub signers: usize,
    /// Transactions in it that users have signed.
    pub transactions_total: u64,
    /// Those that are kept here, from `from` on.
    pub transactions: Vec<KeptTransaction>,
    /// Where the next page begins; none: there are no more of them here.
    pub next_from: Option<u64>,
}

/// What there is of a text that was looked for.
#[derive(Serialize, JsonSchema)]
pub struct Found {
    /// `block`, `transaction` or `account`.
    pub what: String,
    /// Height of the block, or of the transaction's, if it stands in one.
    pub height: Option<u64>,
    /// Hash of the block, or the transaction's id.
    pub id: Option<String>,
    /// How far the transaction is.
    pub state: Option<String>,
    /// Index of the account.
    pub account: Option<u32>,
    /// Key of that account.
    pub key: Option<String>,
    /// Address of that account.
    pub address: Option<String>,
    /// Name of that account.
    pub name: Option<String>,
}

/// How many units there are.
#[derive(Serialize, JsonSchema)]
pub struct SupplyAnswer {
    /// The height after which it is so.
    pub height: u64,
    /// All units that exist: those of genesis and those issued since.
    pub total_units: u64,
    /// Those of genesis.
    pub genesis_units: u64,
    /// Issued to minters since.
    pub issued_units: u64,
    /// In balances: what accounts can spend.
    pub spendable_units: u64,
    /// At stake, of all stakers together.
    pub staked_units: u64,
    /// Taken from stakes, not free yet.
    pub unstaking_units: u64,
    /// Locked with names.
    pub reserved_units: u64,
    /// Payments, stakes and rewards that are not mature.
    pub immature_units: u64,
    /// Fees that nobody has earned yet.
    pub fees_units: u64,
    /// Taken from offenders: nobody's.
    pub slashed_units: u64,
}

/// Who has a seat at a height.
#[derive(Serialize, JsonSchema)]
pub struct MinterShown {
    /// Index of its account.
    pub account: u32,
    /// Key of that account.
    pub key: Option<String>,
    /// Address of that account.
    pub address: Option<String>,
    /// Name of that account.
    pub name: Option<String>,
    /// Units at stake when it was drawn.
    pub stake_units: u64,
    /// The shard that it mints in.
    pub shard: u16,
    /// Whether it votes for master-blocks.
    pub delegate: bool,
}

/// The minters of the next height.
#[derive(Serialize, JsonSchema)]
pub struct MintersAnswer {
    /// The height that they mint.
    pub height: u64,
    /// Seats of that height.
    pub seats: usize,
    /// Shards of that height.
    pub shards: usize,
    /// Accounts with something at stake, seated or not.
    pub stakers: usize,
    /// By seat, from `from` on.
    pub minters: Vec<MinterShown>,
}

/// What a subscription brings, as params of the notification `news`.
#[derive(Serialize, JsonSchema)]
pub struct News {
    /// Number of the subscription.
    pub subscription: u64,
    /// Of the topic `blocks`: a block that became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockShown>,
    /// Of the topic `transaction`: how far it is now; null while none of this id was handed in here, or it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<Option<TransactionAnswer>>,
}
