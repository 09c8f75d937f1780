//! A thread's verifier: from a batch of signatures to a verdict each.

use super::batch::{Batch, holds};
use super::coefficients::Coefficients;
use super::field::Fe;
use super::key_cache::KeyCache;
use super::parts::Parts;
use super::point::Extended;
use super::signed::{Hint, Signed};
use super::simd::Simd;
use super::single;
use crate::base::ids::Key;
use curve25519_dalek::edwards::CompressedEdwardsY;
use std::ops::Range;
use std::sync::Arc;

/// Runs of up to so many terms get a verdict each: below, sums cost more.
fn each_max(simd: Simd) -> usize {
    match simd {
        Simd::Portable => 4,
        Simd::Avx2 | Simd::AvxIfma => 12,
        Simd::Avx512 => 24,
    }
}

/// Above this share of bad signatures, in 65 536, a verdict for each is cheaper than sums that fail: 0.4 %.
const EACH_ABOVE: u64 = 65_536 / 256;

/// What a verifier has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyCounters {
    /// Signatures that got a verdict, good or bad.
    pub signatures: u64,
    /// Of them bad.
    pub bad: u64,
    /// Batches asked for.
    pub batches: u64,
    /// Equations computed, halves included.
    pub equations: u64,
}

impl VerifyCounters {
    /// The sums of two verifiers' counters.
    pub fn plus(&self, other: &VerifyCounters) -> VerifyCounters {
        VerifyCounters {
            signatures: self.signatures + other.signatures,
            bad: self.bad + other.bad,
            batches: self.batches + other.batches,
            equations: self.equations + other.equations,
        }
    }
}

/// One thread's verifier: buffers, coefficients, and a share in the key cache.
pub struct Verifier {
    keys: Arc<KeyCache>,
    coefficients: Coefficients,
    batch: Batch,
    /// Moving average of bad signatures in 65 536.
    bad_average: u64,
    counters: VerifyCounters,
    /// How many the last batch had, and whether it went through [`Batch`].
    last_count: usize,
    is_batch: bool,
}

impl Verifier {
    /// A verifier with a share in this cache, of the cache's backend.
    pub fn new(keys: Arc<KeyCache>) -> Verifier {
        let batch = Batch::new(keys.kernels());
        Verifier {
            keys,
            coefficients: Coefficients::random(),
            batch,
            bad_average: 0,
            counters: VerifyCounters::default(),
            last_count: 0,
            is_batch: false,
        }
    }

    /// What it has done.
    pub fn counters(&self) -> VerifyCounters {
        self.counters
    }

    /// Where its time went.
    pub fn parts(&self) -> Parts {
        self.batch.parts()
    }

    /// Verifies a batch: `verdicts[i]` becomes whether `signed(i)` is good, for `i` in `0..count`.
    pub fn verify<'a>(&mut self, count: usize, signed: impl Fn(usize) -> Signed<'a>, verdicts: &mut Vec<bool>) {
        verdicts.clear();
        verdicts.resize(count, false);
        self.last_count = count;
        let is_single = count == 1 && signed(0).hint.is_none() && !self.keys.is_split(signed(0).key);
        self.is_batch = !is_single;
        if is_single {
            verdicts[0] = single::verify(&signed(0));
            self.counters.equations += 1;
            if verdicts[0] {
                self.batch.keep_key(signed(0).key, &self.keys);
            }
        } else {
            let each = self.bad_average > EACH_ABOVE || count <= each_max(self.keys.simd());
            self.batch.fill(count, &signed, &self.keys, &mut self.coefficients, each);
            let terms = self.batch.len();
            assert!(terms <= count, "each signature leaves at most one term");
            if each {
                self.judge_each(0..terms, verdicts);
            } else {
                self.resolve(0..terms, None, verdicts);
            }
        }
        let bad = verdicts.iter().filter(|good| !**good).count() as u64;
        let judged = if is_single { 1 } else { self.batch.len() };
        assert!(count as u64 - bad <= judged as u64, "only a signature that left a term is found good");
        self.bad_average = (3 * self.bad_average + bad * 65_536 / count.max(1) as u64) / 4;
        self.counters.signatures += count as u64;
        self.counters.bad += bad;
        self.counters.batches += 1;
    }

    /// Those of the last batch that came with a hint that is wrong, by place, in no order.
    pub fn wrong_hints(&self) -> &[u32] {
        if self.is_batch { self.batch.wrong_hints() } else { &[] }
    }

    /// The hint for each signature of the last batch that has one: `hints[i]` is what [`Signed::hint`] of signature i may
    /// say to the next verifier. There is none for signatures that cannot be good, nor for one that came alone under a
    /// key that was not seen twice.
    pub fn hints(&self, hints: &mut Vec<Option<Hint>>) {
        hints.clear();
        hints.resize(self.last_count, None);
        if self.is_batch {
            self.batch.hints(0..self.batch.len(), |place, hint| hints[place as usize] = Some(hint));
        }
    }

    /// Gives each term of a run a verdict of its own.
    fn judge_each(&mut self, run: Range<usize>, verdicts: &mut [bool]) {
        self.counters.equations += run.len() as u64;
        self.batch.each(run, |place, good| verdicts[place as usize] = good);
    }

    /// Finds the verdicts of a run of terms. `known` is the run's Q, if a subtraction gave it.
    fn resolve(&mut self, run: Range<usize>, known: Option<Extended<Fe>>, verdicts: &mut [bool]) {
        if known.as_ref().is_some_and(holds) {
            self.batch.places(run).iter().for_each(|&place| verdicts[place as usize] = true);
            return;
        }
        if run.len() <= each_max(self.keys.simd()) {
            return self.judge_each(run, verdicts);
        }
        let Some(q) = known else {
            self.counters.equations += 1;
            let q = self.batch.equation(run.clone());
            return self.resolve(run, Some(q), verdicts);
        };
        // A run that fails: one half is computed, the other half is what is left of the whole.
        let middle = run.start + run.len() / 2;
        self.counters.equations += 1;
        let left = self.batch.equation(run.start..middle);
        let right = q.add(&left.negated());
        self.resolve(run.start..middle, Some(left), verdicts);
        self.resolve(middle..run.end, Some(right), verdicts);
    }
}

/// Whether a key may become an account: it decodes and is not of small order.
pub fn account_key_acceptable(key: &Key) -> bool {
    CompressedEdwardsY(*key).decompress().is_some_and(|point| !point.is_small_order())
}
