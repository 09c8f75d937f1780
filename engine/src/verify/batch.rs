//! A batch of decoded signatures, and the equation over any run of them.
//!
//! ```text
//!   table:  neutral point | 1 B ... 8 B | unused | R0 | A0 | R1 | A1 | ...
//!   Q(run) = sum of z_i R_i + (z_i h_i) A_i - (z_i s_i) B        good iff [8] Q = 0
//! ```
//!
//! Coefficients stay the same for the life of a batch, so Q of a run is the sum of the Qs of its parts: a half of a run
//! whose Q is known gives the other half's Q by a subtraction.

use super::coefficients::Coefficients;
use super::each::{Lane, MULTIPLES};
use super::field::{Fe, Packed};
use super::key_cache::KeyCache;
use super::msm::{Buffers, Multiple};
use super::point::Extended;
use super::scalar;
use super::sha512::{self, Padded};
use super::signed::Signed;
use super::simd::{Kernels, Simd};
use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, ED25519_BASEPOINT_POINT};
use curve25519_dalek::scalar::Scalar;
use std::ops::Range;

const LANES_MAX: usize = 8;
const NEUTRAL: u32 = 0;
const BASE: u32 = 1;
/// Even, so that keys stand at odd places.
const FIRST: u32 = 10;
const _: () = assert!(FIRST as usize > BASE as usize + MULTIPLES && FIRST.is_multiple_of(2));
/// Signatures whose key lines are fetched ahead.
const PREFETCH_AHEAD: usize = 12;

/// Decoded signatures and the buffers of the equation, reused from batch to batch.
pub(super) struct Batch {
    kernels: Kernels,
    table: Vec<Packed>,
    /// Which of the caller's signatures each term is.
    places: Vec<u32>,
    hashes: Vec<[u64; 8]>,
    s: Vec<[u64; 4]>,
    z: Vec<u128>,
    zh: Vec<[u64; 4]>,
    short: Vec<Multiple<u128>>,
    long: Vec<Multiple<[u64; 4]>>,
    buffers: Buffers,
    /// Table places and encodings that wait for a full vector.
    waiting: Vec<(u32, [u8; 32])>,
    undecodable: Vec<u32>,
    padded: Box<[Padded; LANES_MAX]>,
}

impl Batch {
    pub(super) fn new(kernels: Kernels) -> Batch {
        let mut batch = Batch {
            kernels,
            table: vec![kernels.identity(); FIRST as usize],
            places: Vec::new(),
            hashes: Vec::new(),
            s: Vec::new(),
            z: Vec::new(),
            zh: Vec::new(),
            short: Vec::new(),
            long: Vec::new(),
            buffers: Buffers::default(),
            waiting: Vec::new(),
            undecodable: Vec::new(),
            padded: Box::new([Padded::EMPTY; LANES_MAX]),
        };
        for multiple in 0..MULTIPLES as u32 {
            let point = ED25519_BASEPOINT_POINT * Scalar::from(multiple + 1);
            batch.waiting.push((BASE + multiple, point.compress().0));
            batch.decode_waiting(true);
        }
        assert!(batch.undecodable.is_empty(), "the base point decodes");
        batch
    }

    /// How many terms there are: signatures whose parts decode.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The caller's places of a run of terms.
    pub(super) fn places(&self, run: Range<usize>) -> &[u32] {
        &self.places[run]
    }

    /// Decodes the signatures `signed(i)` for `i` in `0..count`. One that has a malformed part leaves no term.
    pub(super) fn fill<'a>(
        &mut self,
        count: usize,
        signed: &impl Fn(usize) -> Signed<'a>,
        keys: &KeyCache,
        coefficients: &mut Coefficients,
    ) {
        self.table.truncate(FIRST as usize);
        self.places.clear();
        self.s.clear();
        self.undecodable.clear();
        let (mut hits, mut misses) = (0, 0);
        for place in 0..count {
            if place + PREFETCH_AHEAD < count {
                keys.prefetch(signed(place + PREFETCH_AHEAD).key);
            }
            let Signed { key, signature, .. } = signed(place);
            let s = scalar::words_of(signature[32..].try_into().expect("32 bytes"));
            if !scalar::is_canonical(&s) {
                continue;
            }
            let at = self.table.len() as u32;
            self.places.push(place as u32);
            self.s.push(s);
            self.table.push(Packed::default());
            self.waiting.push((at, signature[..32].try_into().expect("32 bytes")));
            match keys.find(key) {
                Some(point) => {
                    hits += 1;
                    self.table.push(point);
                }
                None => {
                    misses += 1;
                    self.table.push(Packed::default());
                    self.waiting.push((at + 1, *key));
                }
            }
            self.decode_full_vectors(signed, keys);
        }
        self.decode_rest(signed, keys);
        assert!(self.waiting.is_empty(), "every point of a batch was decoded, or found not to decode");
        keys.count(hits, misses);
        self.drop_undecodable();
        assert_eq!(self.table.len(), FIRST as usize + 2 * self.places.len(), "each term has two points");
        assert_eq!(self.s.len(), self.places.len(), "each term has its scalar");
        self.hash(signed);
        assert_eq!(self.hashes.len(), self.places.len(), "each term has its hash");
        self.z.resize(self.places.len(), 0);
        coefficients.fill(self.z.iter_mut());
        self.zh.clear();
        self.zh.extend(self.hashes.iter().zip(&self.z).map(|(hash, &z)| scalar::multiply(z, &scalar::reduce(hash))));
    }

    fn decode_full_vectors<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        if self.waiting.len() >= self.kernels.simd().lanes() {
            self.decode_and_keep(signed, keys, false);
        }
    }

    fn decode_rest<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        self.decode_and_keep(signed, keys, true);
    }

    /// Decodes what waits; keys that decode go to the cache.
    fn decode_and_keep<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache, all: bool) {
        let lanes = self.kernels.simd().lanes();
        while self.waiting.len() >= lanes || (all && !self.waiting.is_empty()) {
            let from = self.waiting.len().saturating_sub(lanes);
            let decoded: [u32; LANES_MAX] =
                std::array::from_fn(|i| self.waiting.get(from + i).map_or(NEUTRAL, |waiting| waiting.0));
            let bad = self.undecodable.len();
            self.decode_waiting(all);
            for &at in decoded.iter().filter(|&&at| at >= FIRST && at % 2 == 1) {
                if !self.undecodable[bad..].contains(&at) {
                    let place = self.places[(at - FIRST) as usize / 2];
                    keys.insert(signed(place as usize).key, &self.table[at as usize]);
                }
            }
        }
    }

    /// Decodes the last vector's worth of what waits; the last one may be filled up with the base point.
    fn decode_waiting(&mut self, fill_up: bool) {
        let lanes = self.kernels.simd().lanes();
        debug_assert!(fill_up || self.waiting.len() >= lanes);
        let mut encodings = [ED25519_BASEPOINT_COMPRESSED.0; LANES_MAX];
        let from = self.waiting.len().saturating_sub(lanes);
        for (encoding, waiting) in encodings.iter_mut().zip(&self.waiting[from..]) {
            *encoding = waiting.1;
        }
        let mut packed = [Packed::default(); LANES_MAX];
        let good = self.kernels.decode_lanes(&encodings[..lanes], &mut packed[..lanes]);
        for (lane, (at, _)) in self.waiting.drain(from..).enumerate() {
            self.table[at as usize] = packed[lane];
            if good & (1 << lane) == 0 {
                self.undecodable.push(at);
            }
        }
    }

    /// Removes the terms of points that did not decode; rare.
    fn drop_undecodable(&mut self) {
        if self.undecodable.is_empty() {
            return;
        }
        let mut keep = vec![true; self.places.len()];
        self.undecodable.iter().for_each(|at| keep[(at - FIRST) as usize / 2] = false);
        let mut kept = 0;
        for term in (0..keep.len()).filter(|&term| keep[term]) {
            self.places[kept] = self.places[term];
            self.s[kept] = self.s[term];
            let (to, from) = (FIRST as usize + 2 * kept, FIRST as usize + 2 * term);
            self.table.copy_within(from..from + 2, to);
            kept += 1;
        }
        self.places.truncate(kept);
        self.s.truncate(kept);
        self.table.truncate(FIRST as usize + 2 * kept);
    }

    /// Hashes R, A and what was signed, of every term.
    fn hash<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>) {
        let lanes = self.kernels.simd().lanes();
        self.hashes.clear();
        if self.kernels.simd() == Simd::Portable {
            self.hashes.extend(self.places.iter().map(|&place| sha512::scalar(&signed(place as usize))));
            return;
        }
        self.hashes.resize(self.places.len(), [0; 8]);
        for (places, hashes) in self.places.chunks(lanes).zip(self.hashes.chunks_mut(lanes)) {
            let fits =
                places.iter().zip(self.padded.iter_mut()).all(|(&place, padded)| padded.fill(&signed(place as usize)));
            if fits && places.len() == lanes {
                self.kernels.hash_lanes(&self.padded[..lanes], hashes);
            } else {
                places.iter().zip(hashes).for_each(|(&place, hash)| *hash = sha512::scalar(&signed(place as usize)));
            }
        }
    }

    /// A verdict for each term of a run.
    pub(super) fn each(&self, run: Range<usize>, mut verdict: impl FnMut(u32, bool)) {
        let width = self.kernels.simd().lanes();
        for start in run.clone().step_by(width) {
            let end = (start + width).min(run.end);
            let lanes: [Lane; LANES_MAX] = std::array::from_fn(|i| {
                // Lanes without a term of their own repeat the last.
                let term = (start + i).min(end - 1);
                Lane { r: FIRST + 2 * term as u32, s: self.s[term], h: scalar::reduce(&self.hashes[term]) }
            });
            let good = self.kernels.verdicts(&self.table, NEUTRAL, BASE, &lanes[..width]);
            (start..end).for_each(|term| verdict(self.places[term], good & (1 << (term - start)) != 0));
        }
    }

    /// Q of a run of terms.
    pub(super) fn equation(&mut self, run: Range<usize>) -> Extended<Fe> {
        self.short.clear();
        self.long.clear();
        let mut s = scalar::LazySum::default();
        for term in run {
            let at = FIRST + 2 * term as u32;
            self.short.push(Multiple { point: at, scalar: self.z[term] });
            self.long.push(Multiple { point: at + 1, scalar: self.zh[term] });
            s.add(self.z[term], &self.s[term]);
        }
        self.long.push(Multiple { point: BASE, scalar: s.negated() });
        self.kernels.sum(&self.table, NEUTRAL, &self.short, &self.long, &mut self.buffers)
    }
}

/// Whether [8] Q is the neutral point.
pub(super) fn holds(q: &Extended<Fe>) -> bool {
    q.doubled().doubled().doubled().identities() == 1
}
