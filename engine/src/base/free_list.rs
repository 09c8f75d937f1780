//! Lock-free free-list of slot numbers: a stack whose chains are popped and pushed whole.
//!
//! ```text
//!   head: [ tag : 32 | first : 32 ]        first, next[i] = slot number + 1, or 0 for the end
//!            |
//!            +--> 7 --> next[6] --> ... --> 0
//! ```
//!
//! The tag grows with every successful change of `head`, so a head that went away and came back is noticed (the ABA
//! problem; R. K. Treiber's stack with a counted pointer). A popper walks `next` before its claim: the walk may read
//! links that another thread is changing, but each is some slot number or the end, and the claim fails if anything
//! moved.
//!
//! Pairs: a push's exchange of `head` (release) with a pop's load (acquire) publishes the links and whatever the
//! freeing thread wrote to the slots.

use super::atomics::{AtomicU32, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;

const FIRST_BITS: u32 = 32;
const FIRST_MASK: u64 = u32::MAX as u64;

/// Which slots of an arena are free.
pub struct FreeList {
    head: CachePadded<AtomicU64>,
    next: Box<[AtomicU32]>,
    /// Free slots; a counter for people, not for decisions.
    free: CachePadded<AtomicU64>,
}

fn retagged(head: u64, first: u32) -> u64 {
    let tag = ((head >> FIRST_BITS) as u32).wrapping_add(1);
    (u64::from(tag) << FIRST_BITS) | u64::from(first)
}

impl FreeList {
    /// A list in which all of `slots` slots are free, to be handed out in ascending order.
    ///
    /// # Panics
    /// When `slots` is 0 or does not fit below `u32::MAX`.
    pub fn full(slots: u32) -> FreeList {
        assert!(slots > 0 && slots < u32::MAX, "an arena has 1 to 2^32-2 slots, not {slots}");
        let next = (1..=slots).map(|slot| AtomicU32::new(if slot == slots { 0 } else { slot + 1 })).collect();
        FreeList {
            head: CachePadded::new(AtomicU64::new(1)),
            next,
            free: CachePadded::new(AtomicU64::new(u64::from(slots))),
        }
    }

    /// Pops up to `count_max` slot numbers into `out`; returns how many. Fewer than asked means the list ran out.
    pub fn pop_into(&self, out: &mut Vec<u32>, count_max: usize) -> usize {
        let start = out.len();
        loop {
            let head = self.head.load(Ordering::Acquire);
            let mut first = (head & FIRST_MASK) as u32;
            while first != 0 && out.len() - start < count_max {
                out.push(first - 1);
                first = self.next[(first - 1) as usize].load(Ordering::Relaxed);
            }
            let count = out.len() - start;
            if count == 0 {
                return 0;
            }
            let claim =
                self.head.compare_exchange_weak(head, retagged(head, first), Ordering::AcqRel, Ordering::Relaxed);
            if claim.is_ok() {
                self.free.fetch_sub(count as u64, Ordering::Relaxed);
                return count;
            }
            out.truncate(start);
        }
    }

    /// Pops one slot number.
    pub fn pop(&self) -> Option<u32> {
        loop {
            let head = self.head.load(Ordering::Acquire);
            let first = (head & FIRST_MASK) as u32;
            if first == 0 {
                return None;
            }
            let next = self.next[(first - 1) as usize].load(Ordering::Relaxed);
            let claim =
                self.head.compare_exchange_weak(head, retagged(head, next), Ordering::AcqRel, Ordering::Relaxed);
            if claim.is_ok() {
                self.free.fetch_sub(1, Ordering::Relaxed);
                return Some(first - 1);
            }
        }
    }

    /// Pushes all of `slots`.
    ///
    /// # Panics
    /// When a slot number is out of range. Pushing a slot that is free already breaks the list: callers own their slots
    /// (see `transaction::arena`).
    pub fn push(&self, slots: &[u32]) {
        let Some(&last) = slots.last() else { return };
        for pair in slots.windows(2) {
            self.next[pair[0] as usize].store(pair[1] + 1, Ordering::Relaxed);
        }
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.next[last as usize].store((head & FIRST_MASK) as u32, Ordering::Relaxed);
            let linked = retagged(head, slots[0] + 1);
            match self.head.compare_exchange_weak(head, linked, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.free.fetch_add(slots.len() as u64, Ordering::Relaxed);
    }

    /// How many slots are free; exact when nobody is at work.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn hands_out_each_slot_once_and_takes_it_back() {
        let list = FreeList::full(5);
        let mut mine = Vec::new();
        assert_eq!(list.pop_into(&mut mine, 3), 3);
        assert_eq!(mine, [0, 1, 2]);
        assert_eq!(list.pop_into(&mut mine, 9), 2);
        assert_eq!(list.pop_into(&mut mine, 1), 0);
        assert_eq!(list.free(), 0);
        list.push(&mine);
        mine.clear();
        assert_eq!(list.free(), 5);
        assert_eq!(list.pop(), Some(0));
        list.push(&[0]);
        assert_eq!(list.pop_into(&mut mine, 9), 5);
        assert_eq!(mine, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn no_slot_is_owned_twice_under_contention() {
        const SLOTS: u32 = 64;
        let list = FreeList::full(SLOTS);
        let owned: Vec<std::sync::atomic::AtomicBool> = (0..SLOTS).map(|_| false.into()).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (list, owned) = (&list, &owned);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for round in 0..20_000 {
                        list.pop_into(&mut mine, 1 + (round + thread) % 7);
                        for &slot in &mine {
                            assert!(!owned[slot as usize].swap(true, std::sync::atomic::Ordering::SeqCst));
                        }
                        for &slot in &mine {
                            owned[slot as usize].store(false, std::sync::atomic::Ordering::SeqCst);
                        }
                        list.push(&mine);
                        mine.clear();
                    }
                });
            }
        });
        assert_eq!(list.free(), u64::from(SLOTS));
    }
}
