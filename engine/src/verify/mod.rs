//! The one door to signatures: [`Verifier::verify`] takes a batch and gives a verdict each.
//!
//! The rule is ZIP-215 (<https://zips.z.cash/zip-0215>): s is canonical; R and A are any encodings that decode,
//! canonical or not; and `[8][s]B = [8]R + [8][h]A` with h = SHA-512(R | A | message). Because the equation is
//! cofactored, the verdict is the same alone and in any batch, at any place, whatever the random coefficients: nodes
//! never disagree.
//!
//! A batch is one multi-scalar multiplication, `[8](sum z_i s_i B - sum z_i R_i - sum z_i h_i A_i) = 0`, with 128-bit
//! coefficients z that nobody outside can predict. If it fails, one half is computed and the other follows by
//! subtraction, down to the bad ones; small runs, and batches of which many were bad lately, get a verdict each. The
//! arithmetic has four backends ([`Simd`]); how they work is in `docs/verification.md`.

mod bases;
mod batch;
mod coefficients;
mod each;
mod field;
#[cfg(target_arch = "x86_64")]
mod field_fma;
#[cfg(target_arch = "x86_64")]
mod field_ifma;
mod key_cache;
mod msm;
mod parts;
mod point;
#[cfg(all(test, not(feature = "loom")))]
mod reference_tests;
mod scalar;
mod sha512;
mod signed;
mod simd;
mod single;
#[cfg(target_arch = "x86_64")]
mod vectors;
mod verifier;
#[cfg(target_arch = "x86_64")]
mod words_avx2;
#[cfg(target_arch = "x86_64")]
mod words_avx512;

pub use key_cache::KeyCache;
pub use parts::{Parts, ticks};
pub use signed::{Hint, Signed};
pub use simd::{Simd, Unavailable};
pub use verifier::{Verifier, VerifyCounters, account_key_acceptable};
