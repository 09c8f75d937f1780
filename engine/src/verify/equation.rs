//! The batch equation, by curve25519-dalek's multi-scalar multiplication.

use super::{KeyCache, Signed};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};

/// A signature, decoded: what it adds to the sum.
pub(super) struct Term {
    pub(super) coefficient: u128,
    a: EdwardsPoint,
    r: EdwardsPoint,
    s: Scalar,
    h: Scalar,
}

impl Term {
    /// Decodes a signature; none if s is not canonical or a point does not decode.
    pub(super) fn new(signed: &Signed<'_>, keys: &KeyCache) -> Option<Term> {
        let r_bytes: [u8; 32] = signed.signature[..32].try_into().expect("32 bytes");
        let s_bytes: [u8; 32] = signed.signature[32..].try_into().expect("32 bytes");
        let s = Option::from(Scalar::from_canonical_bytes(s_bytes))?;
        let a = keys.point(signed.key)?;
        let r = CompressedEdwardsY(r_bytes).decompress()?;
        let digest = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(signed.key)
            .chain_update(signed.prefix)
            .chain_update(signed.message)
            .finalize();
        let h = Scalar::from_bytes_mod_order_wide(&digest.into());
        Some(Term { coefficient: 0, a, r, s, h })
    }
}

/// Whether the equation holds over these terms.
pub(super) fn holds(terms: &[Term]) -> bool {
    let z = |term: &Term| Scalar::from(term.coefficient);
    let s: Scalar = terms.iter().map(|term| z(term) * term.s).sum();
    let scalars = terms.iter().map(z).chain(terms.iter().map(|term| z(term) * term.h)).chain([-s]);
    let points = terms.iter().map(|term| &term.r).chain(terms.iter().map(|term| &term.a)).chain([&ED25519_BASEPOINT_POINT]);
    EdwardsPoint::vartime_multiscalar_mul(scalars, points).mul_by_cofactor().is_identity()
}
