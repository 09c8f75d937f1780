//! Places for own users' transactions whose turn has come, as threads that verify and the one of consensus share them.
//!
//! Consensus says how many are free. Who verifies takes some before it looks at a signature, and what it has taken counts
//! until consensus has admitted or refused it, and has said anew how many are free: so what finds no place costs no
//! signature, however many threads look at once and however long it is since consensus has spoken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places that are free, and those that are taken of them.
#[derive(Default)]
pub struct Places {
    free: AtomicUsize,
    taken: AtomicUsize,
}

/// Some that were taken; given back when it is dropped.
#[derive(Default)]
pub struct Taken {
    of: Option<Arc<Places>>,
    count: usize,
}

impl Places {
    /// As many are free as there can be.
    pub fn unbounded() -> Arc<Places> {
        Arc::new(Places { free: AtomicUsize::new(usize::MAX), taken: AtomicUsize::new(0) })
    }

    /// So many are free of what consensus has admitted.
    pub fn note_free(&self, free: usize) {
        self.free.store(free, Ordering::Relaxed);
    }

    /// Takes as many as are free, and no more than this.
    pub fn take(self: &Arc<Places>, at_most: usize) -> Taken {
        let free = self.free.load(Ordering::Relaxed);
        let mut count = 0;
        let take = |taken: usize| {
            count = free.saturating_sub(taken).min(at_most);
            taken.checked_add(count)
        };
        let took = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        assert!(took.is_ok(), "fewer places are taken than numbers can say");
        Taken { of: Some(self.clone()), count }
    }
}

impl Taken {
    /// How many are taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps so many, and gives back the rest.
    ///
    /// # Panics
    /// When fewer were taken.
    pub fn keep(&mut self, count: usize) {
        assert!(count <= self.count, "{count} places are kept of {}", self.count);
        self.give_back(self.count - count);
    }

    fn give_back(&mut self, count: usize) {
        if let Some(places) = &self.of {
            let before = places.taken.fetch_sub(count, Ordering::Relaxed);
            assert!(before >= count, "{count} places are given back, {before} were taken");
        }
        self.count -= count;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_consensus_has_said_what_is_left() {
        let places = Places::unbounded();
        assert_eq!(places.take(7).count(), 7, "nothing was said yet");
        places.note_free(10);
        let (mut first, second) = (places.take(8), places.take(8));
        assert_eq!((first.count(), second.count()), (8, 2), "two threads share what is free");
        assert_eq!(places.take(1).count(), 0);
        first.keep(5);
        assert_eq!(places.take(9).count(), 3, "what was not used is free again");
        // Consensus has admitted the first five, and says so before they are given back.
        places.note_free(5);
        drop(first);
        assert_eq!(places.take(9).count(), 3);
        drop(second);
        assert_eq!(places.take(9).count(), 5);
    }

    #[test]
    fn no_thread_takes_what_another_has() {
        let places = Places::unbounded();
        places.note_free(100);
        let most = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..20_000).map(|round| places.take(round % 60).count()).max().unwrap_or(0)))
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).max()
        });
        assert!(most.is_some_and(|most| most <= 59));
        assert_eq!(places.take(1_000).count(), 100, "all came back");
    }
}
