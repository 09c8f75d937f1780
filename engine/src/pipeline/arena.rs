//! The arena: every transaction in the node lives in one of its slots, from the socket to its last answer.
//!
//! Columns of equal length, allocated once; a slot's number addresses all of them:
//!
//! ```text
//!   cells    [ 192 B | 192 B | ... ]     the bytes as received
//!   notes    [  64 B |  64 B | ... ]     what the node knows of them: where from, id, account, successor
//!   payloads [ 4 KiB | 4 KiB | ... ]     a smaller arena of its own, for the few kinds that carry one
//! ```
//!
//! A [`Handle`] is the right to one slot's contents. It can be neither copied nor made outside this module; it moves
//! through rings and chains like any value, and whoever holds it may read and write. So no two threads ever see one
//! slot at once, and the columns need no locks.

use super::ring::Word;
use crate::base::free_list::FreeList;
use crate::base::hash::Hash;
use crate::base::limits::{CELL_BYTES, PAYLOAD_BYTES_MAX};
use crate::transaction::cell::Cell;
use std::cell::UnsafeCell;
use std::num::NonZeroU32;

/// Bytes of a payload slot.
pub const PAYLOAD_SLOT_BYTES: usize = 4096;
const _: () = assert!(PAYLOAD_BYTES_MAX <= PAYLOAD_SLOT_BYTES);

/// The right to one cell slot. Give it back with [`Arena::free`]; a dropped one is lost to the arena.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped slot is lost to the arena"]
pub struct Handle(NonZeroU32);

/// The right to one payload slot.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped payload slot is lost to the arena"]
pub struct PayloadSlot(NonZeroU32);

impl Handle {
    /// The slot's number, `0..slots`.
    pub fn number(&self) -> u32 {
        self.0.get() - 1
    }

    fn from_number(number: u32) -> Handle {
        Handle(NonZeroU32::MIN.saturating_add(number))
    }
}

// SAFETY: the number survives, and a word is turned back once, so the right moves with it.
unsafe impl Word for Handle {
    fn into_word(self) -> u64 {
        u64::from(self.number())
    }
    unsafe fn from_word(word: u64) -> Handle {
        Handle::from_number(word as u32)
    }
}

/// Where a transaction came from, for its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Place of the connection in the network's table.
    pub connection: u32,
    /// Which use of that place: an answer for an earlier one is dropped.
    pub generation: u32,
    /// How many cells came on this connection before this one, modulo 2^32.
    pub ordinal: u32,
}

/// What the node knows of the cell in a slot.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Note {
    /// The transaction's id, set by the check stage.
    pub id: Hash,
    /// Where to answer.
    pub origin: Origin,
    /// The payload, if the kind has one.
    pub payload: Option<PayloadSlot>,
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// The sender's account index, set when the pool admits it.
    pub account: u32,
    /// The next transaction of this sender's chain in the pool, by sequence.
    pub successor: Option<Handle>,
}

const _: () = assert!(size_of::<Note>() == 64);
const _: () = assert!(size_of::<Option<Handle>>() == 4);

#[repr(C, align(64))]
struct CellPlace(UnsafeCell<[u8; CELL_BYTES]>);
const _: () = assert!(size_of::<CellPlace>() == CELL_BYTES);

#[repr(C, align(64))]
struct PayloadPlace(UnsafeCell<[u8; PAYLOAD_SLOT_BYTES]>);

/// The columns and their free-lists.
pub struct Arena {
    cells: Box<[CellPlace]>,
    notes: Box<[UnsafeCell<Note>]>,
    payloads: Box<[PayloadPlace]>,
    free: FreeList,
    payloads_free: FreeList,
}

// SAFETY: a place is only reached through the one `Handle` (or `PayloadSlot`) with its number: `&Handle` for reading, `&mut
// Handle` for writing. The free-list hands a number to one owner at a time and orders the old owner's writes before the
// new owner's reads; rings do the same for slots in transit.
unsafe impl Sync for Arena {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Arena {}

impl Arena {
    /// Allocates an arena of `slots` cells and `payload_slots` payloads. Both columns are touched, so that nothing is
    /// allocated later.
    ///
    /// # Panics
    /// When a count is 0 or above `u32::MAX - 2`.
    pub fn new(slots: u32, payload_slots: u32) -> Arena {
        Arena {
            cells: (0..slots).map(|_| CellPlace(UnsafeCell::new([0; CELL_BYTES]))).collect(),
            notes: (0..slots).map(|_| UnsafeCell::new(Note::default())).collect(),
            payloads: (0..payload_slots).map(|_| PayloadPlace(UnsafeCell::new([0; PAYLOAD_SLOT_BYTES]))).collect(),
            free: FreeList::full(slots),
            payloads_free: FreeList::full(payload_slots),
        }
    }

    /// Bytes of an arena of this size, free-lists included.
    pub fn bytes(slots: u32, payload_slots: u32) -> u64 {
        u64::from(slots) * (CELL_BYTES + size_of::<Note>() + 4) as u64
            + u64::from(payload_slots) * (PAYLOAD_SLOT_BYTES + 4) as u64
    }

    /// Cell slots in all.
    pub fn slots(&self) -> u32 {
        self.cells.len() as u32
    }

    /// Free cell slots; exact when nobody is at work.
    pub fn slots_free(&self) -> u64 {
        self.free.free()
    }

    /// Free payload slots; exact when nobody is at work.
    pub fn payload_slots_free(&self) -> u64 {
        self.payloads_free.free()
    }

    /// Takes up to `count_max` free slots; `numbers` is scratch. Fewer than asked: the arena is full.
    pub fn take_into(&self, out: &mut Vec<Handle>, count_max: usize, numbers: &mut Vec<u32>) -> usize {
        numbers.clear();
        let count = self.free.pop_into(numbers, count_max);
        assert!(count <= count_max && numbers.len() == count, "no more slots are handed out than were asked for");
        out.extend(numbers.iter().map(|&number| Handle::from_number(number)));
        count
    }

    /// Takes a free payload slot.
    pub fn take_payload(&self) -> Option<PayloadSlot> {
        self.payloads_free.pop().map(|number| PayloadSlot(NonZeroU32::MIN.saturating_add(number)))
    }

    /// Gives back slots with the payloads they hold; `numbers` is scratch.
    pub fn free(&self, slots: &mut Vec<Handle>, numbers: &mut Vec<u32>) {
        numbers.clear();
        for mut slot in slots.drain(..) {
            let note = self.note_mut(&mut slot);
            debug_assert!(note.successor.is_none(), "a freed slot leads no chain");
            note.payload_bytes = 0;
            if let Some(payload) = note.payload.take() {
                self.free_payload(payload);
            }
            numbers.push(slot.number());
        }
        self.free.push(numbers);
    }

    /// Gives back a payload slot.
    pub fn free_payload(&self, payload: PayloadSlot) {
        self.payloads_free.push(&[payload.0.get() - 1]);
    }

    /// The cell in a slot.
    pub fn cell(&self, slot: &Handle) -> &Cell {
        // SAFETY: in range and initialised (the index is checked), shared by `&Handle` as told at `Sync`; the place is
        // aligned to 64 and any 192 bytes are a `Cell`.
        bytemuck::from_bytes(unsafe { &*self.cells[slot.number() as usize].0.get() })
    }

    /// The cell in a slot, to write.
    pub fn cell_mut<'a>(&'a self, slot: &'a mut Handle) -> &'a mut Cell {
        bytemuck::from_bytes_mut(self.cell_bytes_mut(slot))
    }

    /// The bytes of a slot, to receive into.
    #[allow(clippy::mut_from_ref, reason = "the exclusive right is the slot's, not the arena's")]
    pub fn cell_bytes_mut<'a>(&'a self, slot: &'a mut Handle) -> &'a mut [u8; CELL_BYTES] {
        // SAFETY: in range; exclusive by `&mut Handle` as told at `Sync`.
        unsafe { &mut *self.cells[slot.number() as usize].0.get() }
    }

    /// What is known of the cell.
    pub fn note(&self, slot: &Handle) -> &Note {
        // SAFETY: in range; shared by `&Handle` as told at `Sync`.
        unsafe { &*self.notes[slot.number() as usize].get() }
    }

    /// What is known of the cell, to write.
    #[allow(clippy::mut_from_ref, reason = "the exclusive right is the slot's, not the arena's")]
    pub fn note_mut<'a>(&'a self, slot: &'a mut Handle) -> &'a mut Note {
        // SAFETY: in range; exclusive by `&mut Handle` as told at `Sync`.
        unsafe { &mut *self.notes[slot.number() as usize].get() }
    }

    /// The payload that came with the cell; empty if none.
    pub fn payload(&self, slot: &Handle) -> &[u8] {
        let note = self.note(slot);
        match &note.payload {
            None => &[],
            // SAFETY: in range; shared by the `&PayloadSlot` inside the note that `&Handle` shares.
            Some(payload) => unsafe {
                &(&*self.payloads[payload.0.get() as usize - 1].0.get())[..note.payload_bytes as usize]
            },
        }
    }

    /// The bytes of a payload slot, to receive into.
    #[allow(clippy::mut_from_ref, reason = "the exclusive right is the payload slot's, not the arena's")]
    pub fn payload_bytes_mut<'a>(&'a self, payload: &'a mut PayloadSlot) -> &'a mut [u8; PAYLOAD_SLOT_BYTES] {
        // SAFETY: in range; exclusive by `&mut PayloadSlot`.
        unsafe { &mut *self.payloads[payload.0.get() as usize - 1].0.get() }
    }

    /// Asks the processor to fetch the first two lines of a cell.
    pub fn prefetch(&self, slot: &Handle) {
        crate::base::prefetch::prefetch(&self.cells[slot.number() as usize]);
        crate::base::prefetch::prefetch(&self.notes[slot.number() as usize]);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn slots_and_payloads_come_back() {
        let arena = Arena::new(4, 2);
        let (mut slots, mut numbers) = (Vec::new(), Vec::new());
        assert_eq!(arena.take_into(&mut slots, 9, &mut numbers), 4);
        let mut payload = arena.take_payload().unwrap();
        arena.payload_bytes_mut(&mut payload)[0] = 7;
        let note = arena.note_mut(&mut slots[1]);
        note.payload = Some(payload);
        note.payload_bytes = 1;
        arena.cell_mut(&mut slots[1]).amount = 5;
        assert_eq!(arena.cell(&slots[1]).amount, 5);
        assert_eq!(arena.payload(&slots[1]), [7]);
        assert_eq!(arena.payload(&slots[0]), []);
        assert_eq!((arena.slots_free(), arena.payload_slots_free()), (0, 1));
        arena.free(&mut slots, &mut numbers);
        assert_eq!((arena.slots_free(), arena.payload_slots_free()), (4, 2));
    }
}
