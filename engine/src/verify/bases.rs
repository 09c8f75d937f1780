//! Multiples of the base point B and of B' = 2^127 B, encoded; every verifier decodes them into its own form.

use super::point::SPLIT_BITS;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::scalar::Scalar;
use std::sync::LazyLock;

/// How many multiples of each: a signed digit of [`BITS`] bits asks for one of them.
pub(super) const MULTIPLES: usize = 1 << (BITS - 1);
/// Bits of the digits that multiply the base point.
pub(super) const BITS: usize = 8;

/// 1 B to 128 B, then 1 B' to 128 B'.
pub(super) static ENCODINGS: LazyLock<[[u8; 32]; 2 * MULTIPLES]> = LazyLock::new(|| {
    let split = (0..SPLIT_BITS).fold(Scalar::ONE, |power, _| power + power);
    let bases = [ED25519_BASEPOINT_POINT, ED25519_BASEPOINT_POINT * split];
    let mut encodings = [[0; 32]; 2 * MULTIPLES];
    for (base, encodings) in bases.iter().zip(encodings.chunks_mut(MULTIPLES)) {
        let mut multiple = *base;
        for encoding in encodings {
            *encoding = multiple.compress().0;
            multiple += base;
        }
    }
    encodings
});
