//! Repeats, caught before they cost a verification: a small memory of the transactions that are inside the node now.
//!
//! The memory is keyed by id *and* signature: with the id alone, somebody could send a victim's content under a broken
//! signature first and have the real one refused. It is a direct-mapped table of 64-bit tags under a secret seed, so it
//! may forget (the pool finds every repeat by comparing ids) and practically never invents one.

use crate::base::atomics::{AtomicU64, Ordering};
use crate::base::hash::Hash;
use crate::base::keyed_hash::{HashSeed, place};
use crate::transaction::cell::Cell;

/// Tags of what is between check and answer.
pub struct InFlight {
    seed: HashSeed,
    tags: Box<[AtomicU64]>,
}

impl InFlight {
    /// A memory with this many places.
    ///
    /// # Panics
    /// When `places` is 0.
    pub fn new(places: usize, seed: HashSeed) -> InFlight {
        assert!(places > 0, "a memory of repeats has places");
        InFlight { seed, tags: (0..places).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Bytes of a memory with this many places.
    pub fn bytes(places: usize) -> u64 {
        8 * places as u64
    }

    fn tag(&self, id: &Hash, cell: &Cell) -> u64 {
        let r: &Hash = cell.signature[..32].try_into().expect("32 bytes");
        let s: &Hash = cell.signature[32..].try_into().expect("32 bytes");
        let folded = self.seed.hash(id).rotate_left(17) ^ self.seed.hash(r).rotate_left(41) ^ self.seed.hash(s);
        folded.max(1)
    }

    /// Notes the transaction; false when the very same bytes are inside already.
    pub fn enter(&self, id: &Hash, cell: &Cell) -> bool {
        let tag = self.tag(id, cell);
        self.tags[place(tag, self.tags.len())].swap(tag, Ordering::Relaxed) != tag
    }

    /// Forgets the transaction, so that it may be sent again.
    pub fn leave(&self, id: &Hash, cell: &Cell) {
        let tag = self.tag(id, cell);
        // If another one took the place meanwhile, it stays.
        let _ = self.tags[place(tag, self.tags.len())].compare_exchange(tag, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    #[test]
    fn the_same_bytes_are_inside_once_and_may_come_back_after_leaving() {
        let memory = InFlight::new(1 << 10, HashSeed::from_number(1));
        let cell = Cell { amount: 7, ..Cell::zeroed() };
        let id = cell.id(&[0; 32]);
        assert!(memory.enter(&id, &cell));
        assert!(!memory.enter(&id, &cell));
        let forged = Cell { signature: [1; 64], ..cell };
        assert!(memory.enter(&id, &forged), "a broken signature does not shut the real one out");
        memory.leave(&id, &cell);
        assert!(memory.enter(&id, &cell));
    }
}
