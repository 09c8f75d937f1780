//! Many BLS signatures verified at once: those of one digest become one, and all digests share the end of their
//! pairings.
//!
//! Each signature enters with a coefficient of its own that whoever signed could not know, so that two wrong ones
//! cannot make up for each other.

use crate::base::hash::{Hash, keyed};
use crate::base::ids::Sig;
use blst::min_sig::{PublicKey, Signature};
use blst::{
    BLST_ERROR, Pairing, blst_p1, blst_p1_affine, blst_p1_to_affine, blst_p1s_mult_pippenger,
    blst_p1s_mult_pippenger_scratch_sizeof, blst_p2, blst_p2_affine, blst_p2_to_affine, blst_p2s_mult_pippenger,
    blst_p2s_mult_pippenger_scratch_sizeof,
};
use std::collections::BTreeMap;
use std::ptr::null;

/// Bytes of a coefficient: a wrong batch passes once in 2^64.
const COEFFICIENT_BYTES: usize = 8;

/// What is claimed of one digest.
#[derive(Default)]
struct Claimed {
    keys: Vec<blst_p2_affine>,
    signatures: Vec<blst_p1_affine>,
    /// One after another.
    coefficients: Vec<u8>,
}

impl Claimed {
    /// Adds a key and a signature, which are points of their groups.
    fn add(&mut self, key: PublicKey, signature: Signature, coefficient: [u8; COEFFICIENT_BYTES]) {
        self.keys.push(key.into());
        self.signatures.push(signature.into());
        self.coefficients.extend_from_slice(&coefficient);
    }

    /// Sums of the keys and of the signatures, each as many times as its coefficient says.
    fn sums(&self) -> (blst_p2_affine, blst_p1_affine) {
        let count = self.keys.len();
        assert!(count > 0 && count == self.signatures.len(), "{count} keys, {} signatures", self.signatures.len());
        assert_eq!(self.coefficients.len(), COEFFICIENT_BYTES * count, "each has a coefficient");
        // The library takes rows of pointers; after the first, no pointer means that the next one stands behind it.
        let coefficients = [self.coefficients.as_ptr(), null()];
        let (keys, signatures) = ([self.keys.as_ptr(), null()], [self.signatures.as_ptr(), null()]);
        let (mut key_sum, mut signature_sum) = (blst_p2::default(), blst_p1::default());
        let (mut key, mut signature) = (blst_p2_affine::default(), blst_p1_affine::default());
        let bits = 8 * COEFFICIENT_BYTES;
        // SAFETY: calls of a C library on initialised values of its own types, which live until the calls return and are
        // written by nobody else. `count` points and as many coefficients of `bits` stand where the rows say, as asserted;
        // the space for work has the size that the library asks for, rounded up to whole words, and the alignment of one.
        unsafe {
            let words = |bytes: usize| vec![0u64; bytes.div_ceil(size_of::<u64>())];
            let mut space = words(blst_p2s_mult_pippenger_scratch_sizeof(count));
            let (scalars, work) = (coefficients.as_ptr(), space.as_mut_ptr());
            blst_p2s_mult_pippenger(&mut key_sum, keys.as_ptr(), count, scalars, bits, work);
            let mut space = words(blst_p1s_mult_pippenger_scratch_sizeof(count));
            let work = space.as_mut_ptr();
            blst_p1s_mult_pippenger(&mut signature_sum, signatures.as_ptr(), count, scalars, bits, work);
            blst_p2_to_affine(&mut key, &key_sum);
            blst_p1_to_affine(&mut signature, &signature_sum);
        }
        (key, signature)
    }

    /// Puts it into a pairing.
    fn enter(&self, pairing: &mut Pairing, digest: &Hash) -> BLST_ERROR {
        if let ([key], [signature]) = (&self.keys[..], &self.signatures[..]) {
            // One alone: the digest's point takes the coefficient, which is cheaper than the key's.
            let (coefficient, bits) = (&self.coefficients, 8 * COEFFICIENT_BYTES);
            return pairing.mul_n_aggregate(key, false, signature, false, coefficient, bits, digest, &[]);
        }
        let (key, signature) = self.sums();
        pairing.aggregate(&key, false, &signature, false, digest, &[])
    }
}

/// Whether all of these hold: key, digest, signature. Keys were checked to be of their group when they were learned.
/// `secret` is known to nobody who signs.
pub(super) fn all_hold(entries: &[(PublicKey, Hash, Sig)], domain: &[u8], secret: &Hash) -> bool {
    if entries.is_empty() {
        return true;
    }
    let mut by_digest: BTreeMap<&Hash, Claimed> = BTreeMap::new();
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
        let coefficient = keyed(secret, &coefficients)[..COEFFICIENT_BYTES].try_into().expect("8 bytes");
        by_digest.entry(digest).or_default().add(*key, signature, coefficient);
    }
    let mut pairing = Pairing::new(true, domain);
    for (digest, claimed) in &by_digest {
        if claimed.enter(&mut pairing, digest) != BLST_ERROR::BLST_SUCCESS {
            return false;
        }
    }
    pairing.commit();
    pairing.finalverify(None)
}
