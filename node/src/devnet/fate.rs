//! What becomes of a transaction of the load, as whoever has handed it in knows it.

use dynemix_engine::base::refusal::Refusal;

/// Where and when it has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinalIn {
    /// Height of its block.
    pub(super) height: u64,
    /// The block's slot.
    pub(super) slot: u64,
    /// Shard of its block.
    pub(super) shard: u16,
    /// When its sender heard so, milliseconds since the chain's start.
    pub(super) at_ms: u64,
}

/// A transaction of the load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    pub(super) due_ms: u64,
    /// Which one of its sender's it was.
    pub(super) round: u32,
    /// The node that it was handed in to went before it had answered, and was asked again when it was back.
    pub(super) again: bool,
    /// Why it was refused. If nobody took it for want of room, its sender hands it in again when its turn comes.
    pub(super) refusal: Option<Refusal>,
    pub(super) ended: Option<FinalIn>,
    /// A node says that its sequence is used up, and that nobody has shown it by what.
    pub(super) unproved: bool,
    /// Its sequence is used up, as a node says of the account: it became final while nobody could say so.
    pub(super) used: bool,
}

impl Fate {
    /// Nobody took it.
    pub(super) fn is_busy(&self) -> bool {
        self.refusal == Some(Refusal::Busy)
    }

    /// Whether it is final, whenever its sender heard so.
    pub(super) fn is_final(&self) -> bool {
        self.ended.is_some() || self.used
    }

    /// Whether its sender knows what became of it.
    pub(super) fn has_outcome(&self) -> bool {
        self.is_final() || self.unproved || self.refusal.is_some()
    }

    /// Whether it is in a block of the slot that it was due in, or of the next, and was final by then.
    pub(super) fn is_in_time(&self, slot_ms: u64) -> bool {
        self.stands_in_time(slot_ms)
            && self.ended.is_some_and(|ended| ended.at_ms / slot_ms <= self.due_ms / slot_ms + 1)
    }

    /// The same of the block alone, whenever its sender heard so.
    pub(super) fn stands_in_time(&self, slot_ms: u64) -> bool {
        self.ended.is_some_and(|ended| ended.slot <= self.due_ms / slot_ms + 1)
    }
}

/// The part of what was admitted that was in time; of nothing all.
pub(super) fn in_time_share<'a>(fates: impl Iterator<Item = &'a Fate>, slot_ms: u64) -> f64 {
    let (mut admitted, mut in_time) = (0, 0);
    for fate in fates.filter(|fate| !fate.is_busy()) {
        admitted += 1;
        in_time += u64::from(fate.is_in_time(slot_ms));
    }
    if admitted == 0 { 1.0 } else { in_time as f64 / admitted as f64 }
}
