//! What an earlier process of this node may have signed, and for how long it is silent for that.
//!
//! After a crash it is silent for what its record says was reserved: it cannot know what it said there. If the record was
//! lost or is not whole, it is *unsure*, and silent until a height has become final that was begun after its start: of that
//! height's blocks none was made while an earlier process lived, so none of the heights behind it can have been signed
//! before.
//!
//! A founder without a record begins the first height all the same, or all would wait for each other. They would again at
//! the second, if the first block is of the slot in which they have started, or of none: where founders start late it is
//! empty, and an empty block's slot is the one after its parent's, however late it was agreed on. A vote for the second is
//! of a later slot than that in which the first was agreed on, so of an earlier process, which has ended by then, there is
//! none: at the first height it is enough that it was agreed on in the slot of the start or later. At others it is not. An
//! earlier process may have had a clock that was ahead by a part of a slot; a founder has none, as far as anybody can know.

use super::signed_once::SignedOnce;

/// Slots after a chain's start in which a node without a record may begin its first height.
const FOUNDING_SLOTS: u64 = 64;
/// A start whose slot is to be read from the clock.
const NOT_MEASURED: u64 = u64::MAX;

/// When nothing may be signed.
pub(super) struct Silence {
    /// If it is unsure, heights until a block of a later slot than this is final.
    unsure_slot: Option<u64>,
}

impl Silence {
    /// Of a process that starts in this slot with this record of an earlier one.
    pub(super) fn after(record: &SignedOnce, slot: u64) -> Silence {
        Silence { unsure_slot: record.unsure.then_some(slot) }
    }

    /// By a clock that was not good enough to mint by nobody knows what is later than the start: it is that of the next
    /// slot that passes.
    pub(super) fn start_again(&mut self) {
        self.unsure_slot = self.unsure_slot.and(Some(NOT_MEASURED));
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, slot: u64) {
        self.unsure_slot = self.unsure_slot.map(|unsure| if unsure == NOT_MEASURED { slot } else { unsure });
    }

    /// The block of this height is final, and of this slot; it was agreed on in that one.
    pub(super) fn heard_final(&mut self, minting: bool, height: u64, slot: u64, agreed_slot: u64) {
        let founded = |unsure: u64| height == 1 && unsure <= FOUNDING_SLOTS && agreed_slot >= unsure;
        self.unsure_slot = self.unsure_slot.filter(|&unsure| !minting || (slot <= unsure && !founded(unsure)));
    }

    /// Whether something may have been signed that no record has.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure_slot.is_some()
    }

    /// Whether nothing is signed at this height. Founders without a record begin the first height: they
    /// would wait for each other.
    pub(super) fn covers(&self, height: u64) -> bool {
        let founding = |unsure: u64| height == 1 && unsure <= FOUNDING_SLOTS;
        self.unsure_slot.is_some_and(|unsure| !founding(unsure))
    }
}
