//! Decoded sender keys, kept: decoding a point costs as much as verifying it in a batch.
//!
//! An entry is found by the key's bytes themselves, so it can be missing but never be wrong: replacing an account's key
//! changes the bytes that are looked up. Sets of eight entries, each behind its own lock, are filled round robin; the
//! number of sets is fixed at start.

use crate::cell::Key;
use crate::keyed_hash::{HashSeed, place};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const WAYS: usize = 8;

struct Set {
    keys: [Key; WAYS],
    points: [EdwardsPoint; WAYS],
    used: u8,
    next: u8,
}

/// The cache; shared by all verifiers.
pub struct KeyCache {
    seed: HashSeed,
    sets: Box<[Mutex<Set>]>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl KeyCache {
    /// A cache for about `keys_max` keys (rounded up to whole sets).
    pub fn new(keys_max: usize) -> KeyCache {
        let empty = || Set { keys: [[0; 32]; WAYS], points: [EdwardsPoint::default(); WAYS], used: 0, next: 0 };
        let sets = (0..keys_max.div_ceil(WAYS).max(1)).map(|_| Mutex::new(empty())).collect();
        KeyCache { seed: HashSeed::random(), sets, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Bytes of a cache for so many keys.
    pub fn bytes(keys_max: usize) -> u64 {
        (keys_max.div_ceil(WAYS).max(1) * size_of::<Mutex<Set>>()) as u64
    }

    /// Look-ups that found the key, and those that did not.
    pub fn counters(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The key's point, decoded now if it has to be; none if it does not decode.
    pub(super) fn point(&self, key: &Key) -> Option<EdwardsPoint> {
        let set = &self.sets[place(self.seed.hash(key), self.sets.len())];
        {
            let set = set.lock().expect("no holder panics");
            if let Some(way) = set.keys[..usize::from(set.used)].iter().position(|entry| entry == key) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Some(set.points[way]);
            }
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let point = CompressedEdwardsY(*key).decompress()?;
        let mut set = set.lock().expect("no holder panics");
        let way = usize::from(set.next);
        set.keys[way] = *key;
        set.points[way] = point;
        set.next = ((way + 1) % WAYS) as u8;
        set.used = set.used.max(way as u8 + 1);
        Some(point)
    }
}
