//! Decoded sender keys, kept: decoding a point costs as much as verifying it in a batch. Beside a key that came twice
//! stands 2^127 times it, which halves the windows of the sum.
//!
//! An entry is found by the key's bytes themselves, so it can be missing but never be wrong: replacing an account's key
//! changes the bytes that are looked up. Sets of eight entries, each behind its own lock, are filled round robin; the
//! number of sets is fixed at start. Points are in the packed form of one backend, which the cache therefore belongs
//! to.

use super::field::Packed;
use super::simd::{Kernels, Simd, Unavailable};
use crate::base::ids::Key;
use crate::base::keyed_hash::{HashSeed, place};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const WAYS: usize = 8;

#[derive(Clone)]
struct Set {
    keys: [Key; WAYS],
    points: [Packed; WAYS],
    /// 2^127 times the point, of those whose bit is set in `is_split`.
    splits: [Packed; WAYS],
    is_split: u8,
    used: u8,
    next: u8,
}

impl Set {
    fn way(&self, key: &Key) -> Option<usize> {
        self.keys[..usize::from(self.used)].iter().position(|entry| entry == key)
    }
}

const _: () = assert!(WAYS <= u8::BITS as usize);

/// A key's point, and 2^127 times it once the key has come twice.
pub(super) struct Decoded {
    pub(super) point: Packed,
    pub(super) split: Option<Packed>,
}

/// The cache; shared by all verifiers.
pub struct KeyCache {
    kernels: Kernels,
    seed: HashSeed,
    sets: Box<[Mutex<Set>]>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl KeyCache {
    /// A cache for about `keys_max` keys (rounded up to whole sets), for verifiers of this backend.
    ///
    /// # Errors
    /// When the CPU has no such backend.
    pub fn new(keys_max: usize, simd: Simd) -> Result<KeyCache, Unavailable> {
        let kernels = Kernels::new(simd)?;
        let nothing = [Packed::default(); WAYS];
        let set = Set { keys: [[0; 32]; WAYS], points: nothing, splits: nothing, is_split: 0, used: 0, next: 0 };
        let empty = || Mutex::new(set.clone());
        let sets = (0..keys_max.div_ceil(WAYS).max(1)).map(|_| empty()).collect();
        Ok(KeyCache { kernels, seed: HashSeed::random(), sets, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
    }

    /// Bytes of a cache for so many keys.
    pub fn bytes(keys_max: usize) -> u64 {
        (keys_max.div_ceil(WAYS).max(1) * size_of::<Mutex<Set>>()) as u64
    }

    /// Look-ups that found the key, and those that did not.
    pub fn counters(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The backend whose points are kept.
    pub fn simd(&self) -> Simd {
        self.kernels.simd()
    }

    pub(super) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Counts look-ups, once a batch.
    pub(super) fn count(&self, hits: u64, misses: u64) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.misses.fetch_add(misses, Ordering::Relaxed);
    }

    fn set(&self, key: &Key) -> &Mutex<Set> {
        &self.sets[place(self.seed.hash(key), self.sets.len())]
    }

    /// Asks for the key's lines to be fetched.
    pub(super) fn prefetch(&self, key: &Key) {
        crate::base::prefetch::prefetch(self.set(key));
    }

    /// The key's points, if they are there.
    pub(super) fn find(&self, key: &Key) -> Option<Decoded> {
        let set = self.set(key).lock().expect("no holder panics");
        let way = set.way(key)?;
        let split = (set.is_split & (1 << way) != 0).then(|| set.splits[way]);
        Some(Decoded { point: set.points[way], split })
    }

    /// Whether the key is there with both of its points.
    pub(super) fn is_split(&self, key: &Key) -> bool {
        let set = self.set(key).lock().expect("no holder panics");
        set.way(key).is_some_and(|way| set.is_split & (1 << way) != 0)
    }

    /// Keeps 2^127 times a key's point beside it, if it is still there.
    pub(super) fn keep_split(&self, key: &Key, split: &Packed) {
        let mut set = self.set(key).lock().expect("no holder panics");
        if let Some(way) = set.way(key) {
            set.splits[way] = *split;
            set.is_split |= 1 << way;
        }
    }

    /// Keeps a decoded key, in place of the set's oldest.
    pub(super) fn insert(&self, key: &Key, point: &Packed) {
        let mut set = self.set(key).lock().expect("no holder panics");
        if set.way(key).is_some() {
            return;
        }
        let way = usize::from(set.next);
        set.keys[way] = *key;
        set.points[way] = *point;
        set.is_split &= !(1 << way);
        set.next = ((way + 1) % WAYS) as u8;
        set.used = set.used.max(way as u8 + 1);
    }
}
