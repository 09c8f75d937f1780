//! Many BLS signatures verified at once: those of one digest become one, and all digests share the end of their
//! pairings.
//!
//! Each signature enters with a coefficient of its own that whoever signed could not know, so that two wrong ones
//! cannot make up for each other.

use crate::base::hash::{Hash, keyed};
use crate::base::ids::Sig;
use blst::min_sig::{PublicKey, Signature};
use blst::{
    BLST_ERROR, Pairing, blst_p1, blst_p1_add_or_double, blst_p1_affine, blst_p1_from_affine, blst_p1_mult,
    blst_p1_to_affine, blst_p2, blst_p2_add_or_double, blst_p2_affine, blst_p2_from_affine, blst_p2_mult,
    blst_p2_to_affine,
};
use std::collections::BTreeMap;

/// Bits of a coefficient: a wrong batch passes once in 2^64.
const COEFFICIENT_BITS: usize = 64;

/// Sums of one digest.
#[derive(Default)]
struct Sums {
    keys: blst_p2,
    signatures: blst_p1,
}

impl Sums {
    /// Adds a key and a signature, which are points of their groups, `coefficient` times each.
    fn add(&mut self, key: PublicKey, signature: Signature, coefficient: [u8; 8]) {
        let (key, signature): (blst_p2_affine, blst_p1_affine) = (key.into(), signature.into());
        let (mut key_product, mut signature_product) = (blst_p2::default(), blst_p1::default());
        // SAFETY: plain calls of a C library on initialised values of its own types. The coefficient has the 64 bits
        // that are read; results may stand where operands stand, says the library for these calls.
        unsafe {
            blst_p2_from_affine(&mut key_product, &key);
            blst_p2_mult(&mut key_product, &key_product, coefficient.as_ptr(), COEFFICIENT_BITS);
            blst_p2_add_or_double(&mut self.keys, &self.keys, &key_product);
            blst_p1_from_affine(&mut signature_product, &signature);
            blst_p1_mult(&mut signature_product, &signature_product, coefficient.as_ptr(), COEFFICIENT_BITS);
            blst_p1_add_or_double(&mut self.signatures, &self.signatures, &signature_product);
        }
    }

    fn affine(&self) -> (blst_p2_affine, blst_p1_affine) {
        let (mut keys, mut signatures) = (blst_p2_affine::default(), blst_p1_affine::default());
        // SAFETY: as above.
        unsafe {
            blst_p2_to_affine(&mut keys, &self.keys);
            blst_p1_to_affine(&mut signatures, &self.signatures);
        }
        (keys, signatures)
    }
}

/// Whether all of these hold: key, digest, signature. Keys were checked to be of their group when they were learned.
/// `secret` is known to nobody who signs.
pub(super) fn all_hold(entries: &[(PublicKey, Hash, Sig)], domain: &[u8], secret: &Hash) -> bool {
    if entries.is_empty() {
        return true;
    }
    let mut by_digest: BTreeMap<&Hash, Sums> = BTreeMap::new();
    let mut named = Vec::with_capacity(entries.len() * 80);
    entries.iter().for_each(|(_, digest, signature)| {
        named.extend_from_slice(digest);
        named.extend_from_slice(signature);
    });
    let mut coefficients = [0u8; 40];
    coefficients[..32].copy_from_slice(&keyed(secret, &named));
    for (place, (key, digest, signature)) in entries.iter().enumerate() {
        let Ok(signature) = Signature::sig_validate(signature, true) else { return false };
        coefficients[32..].copy_from_slice(&(place as u64).to_le_bytes());
        let coefficient = keyed(secret, &coefficients)[..8].try_into().expect("8 bytes");
        by_digest.entry(digest).or_default().add(*key, signature, coefficient);
    }
    let mut pairing = Pairing::new(true, domain);
    for (digest, sums) in &by_digest {
        let (keys, signatures) = sums.affine();
        if pairing.aggregate(&keys, false, &signatures, false, *digest, &[]) != BLST_ERROR::BLST_SUCCESS {
            return false;
        }
    }
    pairing.commit();
    pairing.finalverify(None)
}
