//! A batch of decoded signatures, and the equation over any run of them.
//!
//! ```text
//!   table:  neutral point | 1 B ... 128 B | 1 B' ... 128 B' | R0 | A0 | A0' | R1 | A1 | A1' | ...
//!   Q(run) = sum of z_i R_i + (z_i h_i) A_i - (z_i s_i) B        good iff [8] Q = 0
//! ```
//!
//! A' is 2^127 A, which the cache keeps beside keys that come often: their scalars of 253 bits are two of 127 then. The
//! high halves of others are summed apart, and the sum is doubled 127 times. B' is the same of the base point.
//!
//! Coefficients stay the same for the life of a batch, so Q of a run is the sum of the Qs of its parts: a half of a run
//! whose Q is known gives the other half's Q by a subtraction.

use super::bases;
use super::coefficients::Coefficients;
use super::each::{Fixed, Rows, Term};
use super::field::{Fe, Packed};
use super::key_cache::{Decoded, KeyCache};
use super::msm::{Buffers, Multiple};
use super::parts::{Parts, Watch};
use super::point::{Extended, SPLIT_BITS};
use super::scalar;
use super::sha512::{self, Padded};
use super::signed::Signed;
use super::simd::{Kernels, Simd};
use crate::base::ids::Key;
use std::ops::Range;

const LANES_MAX: usize = 8;
/// What splitting a key costs: about as much as a verdict.
const SPLIT_COST: u32 = 256;
/// What one key that is not split costs a batch that has up to so many of them, in the same unit: buckets of its own, the
/// more of them the smaller a share.
const UNSPLIT_COSTS: [(usize, u32); 3] = [(24, 100), (128, 51), (512, 21)];
const UNSPLIT_COST_LEAST: u32 = 11;
/// The same where each gets a verdict: twice the doublings, so that splitting pays at once.
const UNSPLIT_COST_EACH: u32 = SPLIT_COST;
/// The same of one that comes alone and is verified by curve25519-dalek.
const UNSPLIT_COST_ALONE: u32 = 24;
const NEUTRAL: u32 = 0;
const BASE: u32 = 1;
const SPLIT_BASE: u32 = BASE + bases::MULTIPLES as u32;
const FIRST: u32 = SPLIT_BASE + bases::MULTIPLES as u32;
/// Points of a term: R, A, A'.
const POINTS: u32 = 3;
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
    /// What is summed, and what is summed and multiplied by 2^127: high halves of keys that are not split.
    low: Vec<Multiple>,
    high: Vec<Multiple>,
    buffers: Buffers,
    rows: Rows,
    /// Table places and encodings that wait for a full vector.
    waiting: Vec<(u32, [u8; 32])>,
    /// Table places, encodings and hints that wait for a full vector; those of the caller's signatures whose hint was
    /// wrong.
    hinted: Vec<(u32, [u8; 32], [u8; 32])>,
    wrong_hints: Vec<u32>,
    /// Table places of those that were decoded last, and of all in the batch that did not.
    decoded: Vec<u32>,
    undecodable: Vec<u32>,
    /// Which terms have their A', and those whose key is cached without one.
    split: Vec<bool>,
    unsplit: Vec<u32>,
    /// What unsplit keys have cost since one was split, in parts of [`SPLIT_COST`].
    missed: u32,
    padded: Box<[Padded; LANES_MAX]>,
    parts: Parts,
}

impl Batch {
    pub(super) fn new(kernels: Kernels) -> Batch {
        let mut batch = Batch {
            kernels,
            table: vec![kernels.identity()],
            places: Vec::new(),
            hashes: Vec::new(),
            s: Vec::new(),
            z: Vec::new(),
            zh: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
            buffers: Buffers::default(),
            rows: Rows::default(),
            waiting: Vec::new(),
            hinted: Vec::new(),
            wrong_hints: Vec::new(),
            decoded: Vec::new(),
            undecodable: Vec::new(),
            split: Vec::new(),
            unsplit: Vec::new(),
            missed: 0,
            padded: Box::new([Padded::EMPTY; LANES_MAX]),
            parts: Parts::default(),
        };
        batch.table.resize(FIRST as usize, Packed::default());
        for (at, encoding) in (BASE..FIRST).zip(bases::ENCODINGS.iter()) {
            batch.waiting.push((at, *encoding));
        }
        while !batch.waiting.is_empty() {
            batch.decode_waiting(2 * kernels.simd().lanes());
        }
        assert!(batch.undecodable.is_empty(), "the base point decodes");
        batch
    }

    /// How many terms there are: signatures whose parts decode.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Where the time went.
    pub(super) fn parts(&self) -> Parts {
        self.parts.plus(&self.buffers.parts)
    }

    /// Which of the caller's signatures came with a hint that is wrong.
    pub(super) fn wrong_hints(&self) -> &[u32] {
        &self.wrong_hints
    }

    /// What hints of a run of terms would say.
    pub(super) fn hints(&self, run: Range<usize>, mut hint: impl FnMut(u32, [u8; 32])) {
        let lanes = self.kernels.simd().lanes();
        let mut found = [[0; 32]; LANES_MAX];
        for start in run.clone().step_by(lanes) {
            let end = (start + lanes).min(run.end);
            let mut indices = [NEUTRAL; LANES_MAX];
            indices.iter_mut().zip(start..end).for_each(|(index, term)| *index = place_of(term));
            self.kernels.hint_lanes(&self.table, &indices[..lanes], &mut found[..lanes]);
            (start..end).zip(&found).for_each(|(term, found)| hint(self.places[term], *found));
        }
    }

    /// The caller's places of a run of terms.
    pub(super) fn places(&self, run: Range<usize>) -> &[u32] {
        &self.places[run]
    }

    /// Decodes the signatures `signed(i)` for `i` in `0..count`. One that has a malformed part leaves no term. `each`:
    /// they get a verdict each.
    pub(super) fn fill<'a>(
        &mut self,
        count: usize,
        signed: &impl Fn(usize) -> Signed<'a>,
        keys: &KeyCache,
        coefficients: &mut Coefficients,
        each: bool,
    ) {
        self.table.truncate(FIRST as usize);
        self.places.clear();
        self.s.clear();
        self.split.clear();
        self.unsplit.clear();
        self.undecodable.clear();
        self.wrong_hints.clear();
        let (mut hits, mut misses) = (0, 0);
        let (mut watch, decoded_before) = (Watch::start(), self.parts.decode);
        for place in 0..count {
            if place + PREFETCH_AHEAD < count {
                keys.prefetch(signed(place + PREFETCH_AHEAD).key);
            }
            let s = scalar::words_of(signed(place).signature[32..].try_into().expect("32 bytes"));
            if scalar::is_canonical(&s) {
                let is_hit = self.begin_term(place as u32, &signed(place), s, keys);
                (hits, misses) = (hits + u64::from(is_hit), misses + u64::from(!is_hit));
                self.decode_full_vectors(signed, keys);
            }
        }
        self.decode_rest(signed, keys);
        assert!(
            self.waiting.is_empty() && self.hinted.is_empty(),
            "every point of a batch was decoded, or found not to decode"
        );
        keys.count(hits, misses);
        self.split_keys(signed, keys, each);
        self.drop_undecodable();
        assert_eq!(self.table.len(), place_of(self.places.len()) as usize, "each term has its points");
        assert_eq!(self.split.len(), self.places.len(), "each term is split or not");
        assert_eq!(self.s.len(), self.places.len(), "each term has its scalar");
        watch.lap(&mut self.parts.keys);
        self.parts.keys = self.parts.keys.wrapping_sub(self.parts.decode.wrapping_sub(decoded_before));
        self.hash(signed);
        watch.lap(&mut self.parts.hash);
        assert_eq!(self.hashes.len(), self.places.len(), "each term has its hash");
        self.z.resize(self.places.len(), 0);
        coefficients.fill(self.z.iter_mut());
        self.zh.clear();
        self.zh.extend(self.hashes.iter().zip(&self.z).map(|(hash, &z)| scalar::multiply(z, &scalar::reduce(hash))));
        watch.lap(&mut self.parts.scalars);
    }

    /// Keeps a key that came alone: its point the first time, later 2^127 times it.
    pub(super) fn keep_key(&mut self, key: &Key, keys: &KeyCache) {
        let lanes = self.kernels.simd().lanes();
        let mut packed = [Packed::default(); LANES_MAX];
        match keys.find(key) {
            None => {
                if self.kernels.decode_lanes(&[*key], &mut packed) & 1 == 1 {
                    keys.insert(key, &packed[0]);
                }
            }
            Some(Decoded { point, .. }) if self.is_due(UNSPLIT_COST_ALONE) => {
                self.kernels.split_lanes(&[point], &[0; LANES_MAX][..lanes], &mut packed[..lanes]);
                keys.keep_split(key, &packed[0]);
            }
            Some(_) => {}
        }
    }

    /// Makes room for a term's points: what is not known of them waits to be decoded. Whether the key was cached.
    fn begin_term(&mut self, place: u32, signed: &Signed<'_>, s: [u64; 4], keys: &KeyCache) -> bool {
        let (at, term) = (self.table.len() as u32, self.split.len() as u32);
        self.places.push(place);
        self.s.push(s);
        self.table.push(Packed::default());
        let encoding = signed.signature[..32].try_into().expect("32 bytes");
        match signed.hint {
            Some(hint) => self.hinted.push((at, encoding, *hint)),
            None => self.waiting.push((at, encoding)),
        }
        let Some(Decoded { point, split }) = keys.find(signed.key) else {
            self.table.extend([Packed::default(); 2]);
            self.split.push(false);
            self.waiting.push((at + 1, *signed.key));
            return false;
        };
        self.table.extend([point, split.unwrap_or_default()]);
        self.split.push(split.is_some());
        self.unsplit.extend(split.is_none().then_some(term));
        true
    }

    fn decode_full_vectors<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        if self.hinted.len() >= self.kernels.simd().lanes() {
            self.decode_hinted();
        }
        let together = 2 * self.kernels.simd().lanes();
        while self.waiting.len() >= together {
            self.decode_waiting(together);
            self.keep_decoded(signed, keys);
        }
    }

    fn decode_rest<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        if !self.hinted.is_empty() {
            self.decode_hinted();
        }
        while !self.waiting.is_empty() {
            self.decode_waiting(2 * self.kernels.simd().lanes());
            self.keep_decoded(signed, keys);
        }
    }

    /// Takes what has hints by them; those that do not fit wait to be decoded.
    fn decode_hinted(&mut self) {
        let lanes = self.kernels.simd().lanes();
        assert!(self.hinted.len() <= lanes, "as soon as a vector is full it goes");
        let mut watch = Watch::start();
        // Lanes without anything hold what fits no y.
        let (mut encodings, mut hints) = ([[0; 32]; LANES_MAX], [[0; 32]; LANES_MAX]);
        for (lane, (_, encoding, hint)) in self.hinted.iter().enumerate() {
            (encodings[lane], hints[lane]) = (*encoding, *hint);
        }
        let mut packed = [Packed::default(); LANES_MAX];
        let fits = self.kernels.decode_hinted_lanes(&encodings[..lanes], &hints[..lanes], &mut packed[..lanes]);
        for (lane, (at, encoding, _)) in self.hinted.drain(..).enumerate() {
            if fits & (1 << lane) != 0 {
                self.table[at as usize] = packed[lane];
            } else {
                self.wrong_hints.push(self.places[((at - FIRST) / POINTS) as usize]);
                self.waiting.push((at, encoding));
            }
        }
        watch.lap(&mut self.parts.decode);
    }

    /// Keys that were decoded last go to the cache.
    fn keep_decoded<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        for &at in self.decoded.iter().filter(|&&at| at >= FIRST && (at - FIRST) % POINTS == 1) {
            let place = self.places[((at - FIRST) / POINTS) as usize];
            keys.insert(signed(place as usize).key, &self.table[at as usize]);
        }
    }

    /// Decodes the last `count` of what waits, or all if there are fewer.
    fn decode_waiting(&mut self, count: usize) {
        let from = self.waiting.len().saturating_sub(count);
        let mut encodings = [[0; 32]; 2 * LANES_MAX];
        for (encoding, waiting) in encodings.iter_mut().zip(&self.waiting[from..]) {
            *encoding = waiting.1;
        }
        let mut packed = [Packed::default(); 2 * LANES_MAX];
        let mut watch = Watch::start();
        let good = self.kernels.decode_lanes(&encodings[..self.waiting.len() - from], &mut packed);
        watch.lap(&mut self.parts.decode);
        self.decoded.clear();
        for (lane, (at, _)) in self.waiting.drain(from..).enumerate() {
            self.table[at as usize] = packed[lane];
            let is_good = good & (1 << lane) != 0;
            if is_good { &mut self.decoded } else { &mut self.undecodable }.push(at);
        }
    }

    /// Chooses keys of this batch that get their second point: one whenever those without have cost as much as splitting
    /// it, so that keys which never stay in the cache for long cost twice what they must at most.
    fn split_keys<'a>(&mut self, signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache, each: bool) {
        let without = self.split.iter().filter(|is_split| !**is_split).count();
        let of_sum = UNSPLIT_COSTS.iter().find(|(most, _)| without <= *most);
        let cost = match each {
            true => UNSPLIT_COST_EACH,
            false => of_sum.map_or(UNSPLIT_COST_LEAST, |&(_, cost)| cost),
        };
        let mut chosen = std::mem::take(&mut self.unsplit);
        chosen.retain(|_| self.is_due(cost));
        self.split_terms(&chosen, signed, keys);
        self.unsplit = chosen;
    }

    /// Whether unsplit keys have cost enough to split this one, which has just cost so much.
    fn is_due(&mut self, cost: u32) -> bool {
        self.missed += cost;
        let is_due = self.missed >= SPLIT_COST;
        self.missed -= if is_due { SPLIT_COST } else { 0 };
        is_due
    }

    /// Gives these terms' keys their second points, as many at once as there are lanes.
    fn split_terms<'a>(&mut self, terms: &[u32], signed: &impl Fn(usize) -> Signed<'a>, keys: &KeyCache) {
        let lanes = self.kernels.simd().lanes();
        let key_of = |places: &[u32], term: u32| signed(places[term as usize] as usize).key;
        let (mut together, mut packed) = (Vec::with_capacity(lanes), [Packed::default(); LANES_MAX]);
        for (number, &term) in terms.iter().enumerate() {
            // A key that stands in the batch again and again has it by now.
            match keys.find(key_of(&self.places, term)).and_then(|found| found.split) {
                Some(split) => self.keep_split(term, split),
                None => together.push(term),
            }
            if together.len() == lanes || number + 1 == terms.len() && !together.is_empty() {
                let mut keys_at = [NEUTRAL; LANES_MAX];
                keys_at.iter_mut().zip(&together).for_each(|(at, &term)| *at = place_of(term as usize) + 1);
                self.kernels.split_lanes(&self.table, &keys_at[..lanes], &mut packed[..lanes]);
                for (term, point) in together.drain(..).zip(packed) {
                    self.keep_split(term, point);
                    keys.keep_split(key_of(&self.places, term), &point);
                }
            }
        }
    }

    fn keep_split(&mut self, term: u32, split: Packed) {
        self.table[place_of(term as usize) as usize + 2] = split;
        self.split[term as usize] = true;
    }

    /// Removes the terms of points that did not decode; rare.
    fn drop_undecodable(&mut self) {
        if self.undecodable.is_empty() {
            return;
        }
        let mut keep = vec![true; self.places.len()];
        self.undecodable.iter().for_each(|at| keep[((at - FIRST) / POINTS) as usize] = false);
        let mut kept = 0;
        for term in (0..keep.len()).filter(|&term| keep[term]) {
            self.places[kept] = self.places[term];
            self.s[kept] = self.s[term];
            self.split[kept] = self.split[term];
            let (to, from) = (place_of(kept) as usize, place_of(term) as usize);
            self.table.copy_within(from..from + POINTS as usize, to);
            kept += 1;
        }
        self.places.truncate(kept);
        self.s.truncate(kept);
        self.split.truncate(kept);
        self.table.truncate(place_of(kept) as usize);
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
    pub(super) fn each(&mut self, run: Range<usize>, mut verdict: impl FnMut(u32, bool)) {
        let width = self.kernels.simd().lanes();
        let mut watch = Watch::start();
        let fixed = Fixed { neutral: NEUTRAL, bases: [BASE, SPLIT_BASE] };
        for start in run.clone().step_by(width) {
            let end = (start + width).min(run.end);
            let mut terms = [Term::default(); LANES_MAX];
            for (place, term) in terms.iter_mut().zip(start..end) {
                let h = scalar::reduce(&self.hashes[term]);
                *place = Term { r: place_of(term), s: self.s[term], h, is_split: self.split[term] };
            }
            let good = self.kernels.verdicts(&self.table, &fixed, &terms[..end - start], &mut self.rows);
            (start..end).for_each(|term| verdict(self.places[term], good & (1 << (term - start)) != 0));
        }
        watch.lap(&mut self.parts.verdicts);
    }

    /// Q of a run of terms.
    pub(super) fn equation(&mut self, run: Range<usize>) -> Extended<Fe> {
        let mut watch = Watch::start();
        self.low.clear();
        self.high.clear();
        let mut s = scalar::LazySum::default();
        for term in run {
            let at = place_of(term);
            let [low, high] = scalar::split(&self.zh[term]);
            self.low.push(Multiple { point: at, scalar: self.z[term] });
            self.low.push(Multiple { point: at + 1, scalar: low });
            match self.split[term] {
                true => self.low.push(Multiple { point: at + 2, scalar: high }),
                false => self.high.push(Multiple { point: at + 1, scalar: high }),
            }
            s.add(self.z[term], &self.s[term]);
        }
        let [low, high] = scalar::split(&s.negated());
        self.low.push(Multiple { point: BASE, scalar: low });
        self.low.push(Multiple { point: SPLIT_BASE, scalar: high });
        watch.lap(&mut self.parts.scalars);
        let sum = self.kernels.sum(&self.table, NEUTRAL, &self.low, &mut self.buffers);
        if self.high.is_empty() {
            return sum;
        }
        let high = self.kernels.sum(&self.table, NEUTRAL, &self.high, &mut self.buffers);
        sum.add(&high.doubled_times(SPLIT_BITS))
    }
}

/// Where a term's points begin in the table.
fn place_of(term: usize) -> u32 {
    FIRST + POINTS * term as u32
}

/// Whether [8] Q is the neutral point.
pub(super) fn holds(q: &Extended<Fe>) -> bool {
    q.doubled_times(3).identities() == 1
}
