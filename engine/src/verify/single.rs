//! One signature that comes alone, by curve25519-dalek: lanes would stand empty. The same cofactored rule.

use super::signed::Signed;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

/// Whether the signature is good.
pub(super) fn verify(signed: &Signed<'_>) -> bool {
    let r_bytes: [u8; 32] = signed.signature[..32].try_into().expect("32 bytes");
    let s_bytes: [u8; 32] = signed.signature[32..].try_into().expect("32 bytes");
    let s: Option<Scalar> = Scalar::from_canonical_bytes(s_bytes).into();
    let (Some(s), Some(a), Some(r)) =
        (s, CompressedEdwardsY(*signed.key).decompress(), CompressedEdwardsY(r_bytes).decompress())
    else {
        return false;
    };
    let digest = Sha512::new()
        .chain_update(r_bytes)
        .chain_update(signed.key)
        .chain_update(signed.prefix)
        .chain_update(signed.message)
        .finalize();
    let h = Scalar::from_bytes_mod_order_wide(&digest.into());
    let difference = EdwardsPoint::vartime_double_scalar_mul_basepoint(&h, &-a, &s) - r;
    difference.mul_by_cofactor().is_identity()
}
