//! Where one thread shows a value to others and never waits for them.
//!
//! A reader that is preempted while it looks must not hold up consensus, so a value is not changed where it is read:
//! the next one goes to a slot that nobody looks at, and readers are sent there by its number.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// More than threads that read: each can be preempted while it holds one, and there is still another.
const SLOTS: usize = 16;

const UNPOISONED: &str = "nothing panics while it copies a pointer";

/// The newest value, shared with whoever asks.
pub struct Board<T> {
    slots: [Mutex<Arc<T>>; SLOTS],
    newest: AtomicUsize,
}

impl<T> Board<T> {
    /// A board that shows this.
    pub fn new(first: T) -> Board<T> {
        let first = Arc::new(first);
        Board { slots: std::array::from_fn(|_| Mutex::new(first.clone())), newest: AtomicUsize::new(0) }
    }

    /// The newest value. Whoever keeps it keeps its memory, nothing else.
    pub fn shown(&self) -> Arc<T> {
        self.slots[self.newest.load(Ordering::Acquire)].lock().expect(UNPOISONED).clone()
    }

    /// Shows another value. One thread at a time.
    ///
    /// # Panics
    /// When readers hold every slot: there are more of them than there are slots.
    pub fn show(&self, value: T) {
        let newest = self.newest.load(Ordering::Relaxed);
        let value = Arc::new(value);
        let taken = (1..SLOTS).map(|step| (newest + step) % SLOTS).find_map(|slot| {
            let mut place = self.slots[slot].try_lock().ok()?;
            *place = value.clone();
            Some(slot)
        });
        self.newest.store(taken.expect("more threads look at a board than it has slots"), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_does_not_wait_for_who_looks() {
        let board = Board::new(0);
        // Readers that were preempted while they held what was newest.
        let mut held = Vec::new();
        for value in 1..SLOTS {
            held.push(board.slots[board.newest.load(Ordering::Acquire)].lock().unwrap());
            board.show(value);
            assert_eq!(*board.shown(), value);
        }
        drop(held);
        board.show(99);
        assert_eq!(*board.shown(), 99);
    }

    #[test]
    fn values_are_seen_whole_and_in_their_order() {
        let board = Board::new((0u64, 0u64));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 20_000 {
                        let shown = *board.shown();
                        assert!(shown.0 >= last && shown.1 == shown.0 * 3, "{shown:?} after {last}");
                        last = shown.0;
                    }
                });
            }
            (1..=20_000).for_each(|value| board.show((value, value * 3)));
        });
    }
}
