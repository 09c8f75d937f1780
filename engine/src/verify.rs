//! The one door to signatures: [`Verifier::verify`] takes a batch and gives a verdict each.
//!
//! The rule is ZIP-215 (<https://zips.z.cash/zip-0215>): s is canonical; R and A are any encodings that decode, canonical
//! or not; and `[8][s]B = [8]R + [8][h]A` with h = SHA-512(R | A | message). Because the equation is cofactored, the
//! verdict is the same alone and in any batch, at any place, whatever the random coefficients: nodes never disagree.
//!
//! A batch is one multi-scalar multiplication, `[8](sum z_i s_i B - sum z_i R_i - sum z_i h_i A_i) = 0`, with 128-bit
//! coefficients z that nobody outside can predict. If it fails, one half is computed and the other follows by subtraction,
//! down to the bad ones. The arithmetic has three backends ([`Simd`]); how they work is in `docs/verification.md`.

mod batch;
mod coefficients;
mod field;
#[cfg(target_arch = "x86_64")]
mod field_avx2;
#[cfg(target_arch = "x86_64")]
mod field_ifma;
mod key_cache;
mod msm;
mod point;
#[cfg(all(test, not(feature = "loom")))]
mod reference_tests;
mod scalar;
mod sha512;
mod simd;
mod single;
#[cfg(target_arch = "x86_64")]
mod words_avx2;
#[cfg(target_arch = "x86_64")]
mod words_avx512;

use crate::cell::Key;
use batch::{Batch, holds};
use coefficients::Coefficients;
use curve25519_dalek::edwards::CompressedEdwardsY;
use field::Fe;
pub use key_cache::KeyCache;
use point::Extended;
pub use simd::{Simd, Unavailable};
use std::ops::Range;
use std::sync::Arc;

/// Up to so many signatures are verified one by one: a batch would cost more.
const SINGLES_MAX: usize = 4;

/// A signature to verify: over `prefix` followed by `message`.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Public key.
    pub key: &'a Key,
    /// R and s.
    pub signature: &'a [u8; 64],
    /// The chain's prefix, or empty.
    pub prefix: &'a [u8],
    /// What was signed.
    pub message: &'a [u8],
}

/// What a verifier has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyCounters {
    /// Signatures.
    pub signatures: u64,
    /// Of them bad.
    pub bad: u64,
    /// Batches asked for.
    pub batches: u64,
    /// Equations computed, halves included.
    pub equations: u64,
}

impl VerifyCounters {
    /// Both together.
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
}

impl Verifier {
    /// A verifier with a share in this cache, of the cache's backend.
    pub fn new(keys: Arc<KeyCache>) -> Verifier {
        let batch = Batch::new(keys.kernels());
        Verifier { keys, coefficients: Coefficients::random(), batch, bad_average: 0, counters: VerifyCounters::default() }
    }

    /// What it has done.
    pub fn counters(&self) -> VerifyCounters {
        self.counters
    }

    /// Verifies a batch: `verdicts[i]` becomes whether `signed(i)` is good, for `i` in `0..count`.
    pub fn verify<'a>(&mut self, count: usize, signed: impl Fn(usize) -> Signed<'a>, verdicts: &mut Vec<bool>) {
        verdicts.clear();
        verdicts.resize(count, false);
        if count <= SINGLES_MAX {
            verdicts.iter_mut().enumerate().for_each(|(place, verdict)| *verdict = single::verify(&signed(place)));
            self.counters.equations += count as u64;
        } else {
            self.batch.fill(count, &signed, &self.keys, &mut self.coefficients);
            let (terms, length) = (self.batch.len(), self.run_length(count));
            for start in (0..terms).step_by(length) {
                self.resolve(start..(start + length).min(terms), None, &signed, verdicts);
            }
        }
        let bad = verdicts.iter().filter(|good| !**good).count() as u64;
        self.bad_average = (3 * self.bad_average + bad * 65_536 / count.max(1) as u64) / 4;
        self.counters.signatures += count as u64;
        self.counters.bad += bad;
        self.counters.batches += 1;
    }

    /// How many terms to begin an equation with: all, unless so many were bad lately that long runs are sure to fail. Then
    /// runs that hold about one bad signature, which is where halving begins to pay.
    fn run_length(&self, count: usize) -> usize {
        if self.bad_average * (count as u64) < 65_536 {
            return count.max(1);
        }
        ((65_536 / self.bad_average) as usize).next_power_of_two().clamp(16, count.max(16))
    }

    /// Finds the verdicts of a run of terms. `known` is the run's Q, if a subtraction gave it.
    fn resolve<'a>(
        &mut self,
        run: Range<usize>,
        known: Option<Extended<Fe>>,
        signed: &impl Fn(usize) -> Signed<'a>,
        verdicts: &mut [bool],
    ) {
        if known.as_ref().is_some_and(holds) {
            self.batch.places(run).iter().for_each(|&place| verdicts[place as usize] = true);
            return;
        }
        if run.len() <= SINGLES_MAX {
            self.counters.equations += run.len() as u64;
            self.batch.places(run).iter().for_each(|&place| verdicts[place as usize] = single::verify(&signed(place as usize)));
            return;
        }
        let Some(q) = known else {
            self.counters.equations += 1;
            let q = self.batch.equation(run.clone());
            return self.resolve(run, Some(q), signed, verdicts);
        };
        // A run that fails: one half is computed, the other half is what is left of the whole.
        let middle = run.start + run.len() / 2;
        self.counters.equations += 1;
        let left = self.batch.equation(run.start..middle);
        let right = q.add(&left.negated());
        self.resolve(run.start..middle, Some(left), signed, verdicts);
        self.resolve(middle..run.end, Some(right), signed, verdicts);
    }
}

/// Whether a key may become an account: it decodes and is not of small order.
pub fn account_key_acceptable(key: &Key) -> bool {
    CompressedEdwardsY(*key).decompress().is_some_and(|point| !point.is_small_order())
}
