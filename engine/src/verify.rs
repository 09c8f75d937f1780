//! The one door to signatures: [`Verifier::verify`] takes a batch and gives a verdict each.
//!
//! The rule is ZIP-215 (<https://zips.z.cash/zip-0215>): s is canonical; R and A are any encodings that decode, canonical
//! or not; and `[8][s]B = [8]R + [8][h]A` with h = SHA-512(R | A | message). Because the equation is cofactored, the
//! verdict is the same alone and in any batch, at any place, whatever the random coefficients: nodes never disagree.
//!
//! A batch is one multi-scalar multiplication, `[8](sum z_i s_i B - sum z_i R_i - sum z_i h_i A_i) = 0`, with 128-bit
//! coefficients z that nobody outside can predict. If it fails it is halved; if the first half then holds, the second is
//! known to fail without a look.

mod coefficients;
mod equation;
mod key_cache;

use crate::cell::Key;
use coefficients::Coefficients;
use curve25519_dalek::edwards::CompressedEdwardsY;
use equation::{Term, holds};
pub use key_cache::KeyCache;
use std::sync::Arc;

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

/// One thread's verifier: buffers, coefficients, and a share in the key cache.
pub struct Verifier {
    keys: Arc<KeyCache>,
    coefficients: Coefficients,
    terms: Vec<Term>,
    places: Vec<u32>,
    counters: VerifyCounters,
}

impl Verifier {
    /// A verifier with a share in this cache.
    pub fn new(keys: Arc<KeyCache>) -> Verifier {
        Verifier { keys, coefficients: Coefficients::random(), terms: Vec::new(), places: Vec::new(), counters: VerifyCounters::default() }
    }

    /// What it has done.
    pub fn counters(&self) -> VerifyCounters {
        self.counters
    }

    /// Verifies a batch: `verdicts[i]` becomes whether `signed(i)` is good, for `i` in `0..count`.
    pub fn verify<'a>(&mut self, count: usize, signed: impl Fn(usize) -> Signed<'a>, verdicts: &mut Vec<bool>) {
        verdicts.clear();
        verdicts.resize(count, false);
        self.terms.clear();
        self.places.clear();
        for place in 0..count {
            if let Some(term) = Term::new(&signed(place), &self.keys) {
                self.terms.push(term);
                self.places.push(place as u32);
            }
        }
        self.coefficients.fill(self.terms.iter_mut().map(|term| &mut term.coefficient));
        let mut equations = 0;
        bisect(&self.terms, &self.places, false, &mut equations, verdicts);
        self.counters.signatures += count as u64;
        self.counters.bad += verdicts.iter().filter(|good| !**good).count() as u64;
        self.counters.batches += 1;
        self.counters.equations += equations;
    }
}

/// Marks the good ones of `terms`; `fails` says that the whole is known to contain a bad one.
fn bisect(terms: &[Term], places: &[u32], fails: bool, equations: &mut u64, verdicts: &mut [bool]) {
    if terms.is_empty() || (fails && terms.len() == 1) {
        return;
    }
    if !fails {
        *equations += 1;
        if holds(terms) {
            places.iter().for_each(|&place| verdicts[place as usize] = true);
            return;
        }
        if terms.len() == 1 {
            return;
        }
    }
    let (left, right) = terms.split_at(terms.len() / 2);
    let (left_places, right_places) = places.split_at(terms.len() / 2);
    *equations += 1;
    if holds(left) {
        left_places.iter().for_each(|&place| verdicts[place as usize] = true);
        bisect(right, right_places, true, equations, verdicts);
    } else {
        bisect(left, left_places, true, equations, verdicts);
        bisect(right, right_places, false, equations, verdicts);
    }
}

/// Whether a key may become an account: it decodes and is not of small order.
pub fn account_key_acceptable(key: &Key) -> bool {
    CompressedEdwardsY(*key).decompress().is_some_and(|point| !point.is_small_order())
}

/// The vector instructions that verification uses on this machine.
pub fn simd_backend() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512ifma") && is_x86_feature_detected!("avx512vl") {
            return "avx512ifma";
        }
        if is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "portable"
}
