//! Bytes on the wire, by node, direction and sub-slot: what a minter's line must carry.

use crate::chain::state::Version;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::limits::CELL_BYTES;
use dynemix_engine::committee::schedule::{Schedule, Step};
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Directory;
use serde::Serialize;

/// Bytes around each message and each client's transaction: frame header and cipher's tag.
const FRAME_BYTES: u64 = 4 + 16;

/// What one sub-slot of the busiest minter carried, summed over all its senders or receivers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepBytes {
    /// The sub-slot, by the step that it begins with.
    pub step: &'static str,
    /// How long it is, in milliseconds.
    pub length_ms: u64,
    /// Bytes that the busiest minter sent in it.
    pub sent_max: u64,
    /// Bytes that the busiest minter received in it.
    pub received_max: u64,
    /// The larger of both over the length: megabytes a second.
    pub megabytes_per_second: f64,
}

/// Counts bytes by node, direction and sub-slot.
#[derive(Default)]
pub(crate) struct Meter {
    /// In the slot that goes on, by node and step: sent, received.
    slot: Vec<[[u64; 2]; Step::ALL.len()]>,
    max: [[u64; 2]; Step::ALL.len()],
    /// All bytes that nodes have sent to each other.
    pub(crate) sent: u64,
    /// Bytes of patches, and transfers in them.
    pub(crate) patch_bytes: u64,
    /// Transactions in those patches.
    pub(crate) patch_transactions: u64,
}

struct Known<'a>(&'a Version);

impl Directory for Known<'_> {
    fn index(&self, key: &Key) -> Option<u32> {
        self.0.state.find(key)
    }

    fn key(&self, account: u32) -> Option<Key> {
        self.0.state.columns().key.get(account as usize).copied()
    }
}

/// The sub-slot of a time.
fn step_of(schedule: &Schedule, now_ms: u64) -> usize {
    let in_slot = now_ms % schedule.slot_ms;
    Step::ALL.iter().rposition(|step| step.at(schedule) <= in_slot).expect("a slot begins with its first step")
}

impl Meter {
    /// A meter for so many nodes.
    pub(crate) fn new(nodes: usize) -> Meter {
        Meter { slot: vec![Default::default(); nodes], ..Meter::default() }
    }

    /// A message goes out;
    /// `ends` are sender and receiver, each with its own clock's time.
    pub(crate) fn message(&mut self, schedule: &Schedule, ends: [(u32, u64); 2], message: &Message, known: &Version) {
        let mut bytes = Vec::new();
        encode(message, &Known(known), &mut bytes);
        let bytes = bytes.len() as u64 + FRAME_BYTES;
        for (direction, (node, now_ms)) in ends.into_iter().enumerate() {
            self.slot[node as usize][step_of(schedule, now_ms)][direction] += bytes;
        }
        self.sent += bytes;
    }

    /// A client hands a transaction to a node.
    pub(crate) fn client(&mut self, schedule: &Schedule, now_ms: u64, to: u32) {
        let bytes = CELL_BYTES as u64 + FRAME_BYTES;
        self.slot[to as usize][step_of(schedule, now_ms)][1] += bytes;
    }

    /// A slot ends.
    pub(crate) fn slot_ends(&mut self) {
        for node in &mut self.slot {
            for (max, bytes) in self.max.iter_mut().zip(std::mem::take(node)) {
                *max = [max[0].max(bytes[0]), max[1].max(bytes[1])];
            }
        }
    }

    /// The busiest minter's sub-slots.
    pub(crate) fn steps(&self, schedule: &Schedule) -> Vec<StepBytes> {
        let ends = Step::ALL[1..].iter().map(|step| step.at(schedule)).chain([schedule.slot_ms]);
        let step = |((step, max), end): ((&Step, &[u64; 2]), u64)| {
            let length_ms = end - step.at(schedule);
            let megabytes_per_second = max[0].max(max[1]) as f64 / 1e3 / length_ms as f64;
            StepBytes { step: step.name(), length_ms, sent_max: max[0], received_max: max[1], megabytes_per_second }
        };
        Step::ALL.iter().zip(&self.max).zip(ends).map(step).collect()
    }
}
