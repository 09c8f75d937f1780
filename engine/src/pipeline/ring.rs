//! Bounded lock-free ring: one producer, any number of consumers, batches at both ends.
//!
//! Positions count up for ever in 64 bits; a position's place is its low bits. `tail` is written by the producer alone,
//! `head` is claimed by consumers with a compare-and-swap over a whole run of entries:
//!
//! ```text
//!        head                     tail
//!          v                        v
//!   ... | claimed | ready | ready | free | free ...      ready = tail - head,  free = depth - ready
//! ```
//!
//! A consumer copies the words of the run first and claims it afterwards: if the claim fails, somebody else got the run
//! and the copies are forgotten. Words are atomics, so a stale copy is a wrong number, never undefined behaviour. The
//! scheme is the single-producer half of D. Vyukov's bounded queue with the run claim of LMAX's batching consumer.
//!
//! Pairs: `tail` store (release) with `tail` load (acquire) publishes the words; the claim of `head` (release) with the
//! producer's `head` load (acquire) hands the places back.

use crate::base::atomics::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::marker::PhantomData;
use std::sync::Arc;

/// What a ring carries: a value that fits one 64-bit word and survives the trip unchanged.
///
/// # Safety
/// `from_word(into_word(v))` must equal `v`; a word is turned back into a value exactly once, so a type may use this to
/// move ownership (an arena slot) through a ring.
pub unsafe trait Word: Send {
    /// The value as a word.
    fn into_word(self) -> u64;
    /// The value again.
    ///
    /// # Safety
    /// `word` came from `into_word` of this type and has not been turned back before.
    unsafe fn from_word(word: u64) -> Self;
}

// SAFETY: identity.
unsafe impl Word for u64 {
    fn into_word(self) -> u64 {
        self
    }
    unsafe fn from_word(word: u64) -> u64 {
        word
    }
}

struct Shared {
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    words: Box<[AtomicU64]>,
}

impl Shared {
    fn depth(&self) -> u64 {
        self.words.len() as u64
    }

    fn word(&self, position: u64) -> &AtomicU64 {
        &self.words[(position & (self.depth() - 1)) as usize]
    }
}

/// The writing end; there is one.
pub struct Producer<T: Word> {
    shared: Arc<Shared>,
    /// The last `head` seen: the producer only looks again when this one says the ring is full.
    head_seen: u64,
    tail: u64,
    carries: PhantomData<fn(T)>,
}

/// A reading end; clones share the same ring.
pub struct Consumer<T: Word> {
    shared: Arc<Shared>,
    carries: PhantomData<fn() -> T>,
}

impl<T: Word> Clone for Consumer<T> {
    fn clone(&self) -> Self {
        Consumer { shared: self.shared.clone(), carries: PhantomData }
    }
}

/// Makes a ring of `depth` entries and returns its two ends.
///
/// # Panics
/// When `depth` is not a power of two.
pub fn ring<T: Word>(depth: usize) -> (Producer<T>, Consumer<T>) {
    assert!(depth.is_power_of_two(), "a ring's depth is a power of two, not {depth}");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicU64::new(0)),
        tail: CachePadded::new(AtomicU64::new(0)),
        words: (0..depth).map(|_| AtomicU64::new(0)).collect(),
    });
    let producer = Producer { shared: shared.clone(), head_seen: 0, tail: 0, carries: PhantomData };
    (producer, Consumer { shared, carries: PhantomData })
}

impl<T: Word> Producer<T> {
    /// Moves values from the front of `values` into the ring until one of the two is exhausted; returns how many went.
    /// What did not fit stays in `values`, in order.
    pub fn push_from(&mut self, values: &mut Vec<T>) -> usize {
        let depth = self.shared.depth();
        if depth - (self.tail - self.head_seen) < values.len() as u64 {
            self.head_seen = self.shared.head.load(Ordering::Acquire);
        }
        let free = depth - (self.tail - self.head_seen);
        let count = values.len().min(free as usize);
        for (value, position) in values.drain(..count).zip(self.tail..) {
            self.shared.word(position).store(value.into_word(), Ordering::Relaxed);
        }
        self.tail += count as u64;
        self.shared.tail.store(self.tail, Ordering::Release);
        count
    }

    /// Entries that wait to be taken; an upper bound, since consumers go on.
    pub fn waiting(&self) -> usize {
        (self.tail - self.shared.head.load(Ordering::Acquire)) as usize
    }
}

impl<T: Word> Consumer<T> {
    /// Takes at most `count_max` entries, oldest first, and appends them to `values`; returns how many came.
    pub fn take_into(&self, values: &mut Vec<T>, count_max: usize, scratch: &mut Vec<u64>) -> usize {
        let shared = &*self.shared;
        loop {
            let head = shared.head.load(Ordering::Acquire);
            let tail = shared.tail.load(Ordering::Acquire);
            // Another consumer may have moved `head` past our `tail` between the loads' snapshots: then nothing is
            // ready.
            let count = tail.saturating_sub(head).min(count_max as u64);
            if count == 0 {
                return 0;
            }
            scratch.clear();
            scratch.extend((head..head + count).map(|position| shared.word(position).load(Ordering::Relaxed)));
            let claim = shared.head.compare_exchange(head, head + count, Ordering::AcqRel, Ordering::Relaxed);
            if claim.is_ok() {
                // SAFETY: the words came from the producer's `into_word` (`tail` was loaded with acquire), and only the
                // consumer whose claim succeeded turns the words of a run back.
                values.extend(scratch.iter().map(|&word| unsafe { T::from_word(word) }));
                return count as usize;
            }
        }
    }

    /// Entries that wait; a snapshot.
    pub fn waiting(&self) -> usize {
        let head = self.shared.head.load(Ordering::Acquire);
        self.shared.tail.load(Ordering::Acquire).saturating_sub(head) as usize
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_hands_back_what_does_not_fit() {
        let (mut producer, consumer) = ring::<u64>(4);
        let mut values: Vec<u64> = (0..6).collect();
        assert_eq!(producer.push_from(&mut values), 4);
        assert_eq!(values, [4, 5]);
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        assert_eq!(consumer.take_into(&mut out, 3, &mut scratch), 3);
        assert_eq!(producer.push_from(&mut values), 2);
        assert_eq!(consumer.take_into(&mut out, 9, &mut scratch), 3);
        assert_eq!(out, [0, 1, 2, 3, 4, 5]);
        assert_eq!(consumer.take_into(&mut out, 9, &mut scratch), 0);
    }

    #[test]
    fn every_value_reaches_exactly_one_of_many_consumers() {
        const COUNT: u64 = 200_000;
        let (mut producer, consumer) = ring::<u64>(64);
        let sums: Vec<(u64, u64)> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let consumer = consumer.clone();
                    scope.spawn(move || {
                        let (mut out, mut scratch, mut seen, mut sum) = (Vec::new(), Vec::new(), 0, 0u64);
                        while sum < u64::MAX {
                            out.clear();
                            if consumer.take_into(&mut out, 7, &mut scratch) == 0 {
                                std::thread::yield_now();
                            }
                            for &value in &out {
                                if value == u64::MAX {
                                    return (seen, sum);
                                }
                                seen += 1;
                                sum += value;
                            }
                        }
                        unreachable!()
                    })
                })
                .collect();
            let mut pending = Vec::new();
            for value in 0..COUNT {
                pending.push(value);
                while producer.push_from(&mut pending) == 0 {
                    std::thread::yield_now();
                }
            }
            // One end mark a reader, each in a run of its own so that nobody takes two.
            for reader in readers.iter().rev() {
                while consumer.waiting() > 0 {
                    std::thread::yield_now();
                }
                pending.push(u64::MAX);
                producer.push_from(&mut pending);
                while consumer.waiting() > 0 {
                    std::thread::yield_now();
                }
                let _ = reader;
            }
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert_eq!(sums.iter().map(|s| s.0).sum::<u64>(), COUNT);
        assert_eq!(sums.iter().map(|s| s.1).sum::<u64>(), COUNT * (COUNT - 1) / 2);
    }
}
