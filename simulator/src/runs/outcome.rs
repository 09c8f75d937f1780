//! What a run came to.

use crate::checkers::verdict::Failure;
use crate::nodes::meter::StepBytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// What went over the wire.
#[derive(Clone, Debug, Serialize)]
pub struct Bytes {
    /// Bytes that all nodes sent to each other, for a final transaction.
    pub per_transaction: f64,
    /// Bytes that one node sent, and as many received, for a final transaction.
    pub per_transaction_and_node: f64,
    /// Bytes of patches for a transaction.
    pub patch_per_transaction: f64,
    /// The busiest minter of each sub-slot.
    pub steps: Vec<StepBytes>,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Heights that became final.
    pub height: u64,
    /// Transfers that became final.
    pub transfers: u64,
    /// Slots in which no block became final, healing included.
    pub slots_lost: u64,
    /// Shards of a block whose Byzantine minters could approve alone.
    pub captured: u64,
    /// Shards whose Byzantine minters could block.
    pub blocked: u64,
    /// Shards of all blocks.
    pub shards: u64,
    /// More Byzantine seats than tolerated were drawn: the run was ended there.
    pub beyond: bool,
    /// Times that each trouble happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Slots that were simulated.
    pub slots: u64,
    /// Candidates barred by proof.
    pub barred: u64,
    /// Blocks of captured shards that became final.
    pub plundered: u64,
    /// Of those: banned before anything in them could be spent.
    pub banned: u64,
    /// Of those: not banned in time.
    pub unbanned: u64,
    /// Times that a custodian or member found a final block's transactions to make its patch.
    pub checked: u64,
    /// Penalties that nodes have given each other.
    pub penalties: u64,
    /// Messages sent by all nodes, lost ones included.
    pub messages: u64,
    /// Slots after healing until every older transaction that honest minters knew was final.
    pub healing_slots: Option<u64>,
    /// Bytes on the wire, if they were measured.
    pub bytes: Option<Bytes>,
    /// Seats drawn, by candidate: to compare with the stakes.
    pub seats: Vec<u64>,
    /// What went wrong, if anything.
    pub failure: Option<Failure>,
}
