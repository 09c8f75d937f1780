//! BLS12-381: signatures in G1, keys in G2, aggregates of many signatures over one message.

use super::bls_batch::all_hold;
use super::signing::{Claim, Signing};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::{Sig, VoteKey};
use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

const VOTE_DOMAIN: &[u8] = b"DYNEMIX_VOTE_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

const POSSESSION_DOMAIN: &[u8] = b"DYNEMIX_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

static BATCH_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix batch coefficients v1"));

/// Voting keys by candidate; a candidate keeps its key for good, so a table that knows more than another never
/// contradicts it.
#[derive(Default)]
pub struct VoteKeys {
    keys: RwLock<HashMap<u32, PublicKey>>,
}

/// Why a voting key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteKeyError {
    /// Not a point of the group, or its identity.
    #[error("the voting key is not a point of the group")]
    Key,
    /// The proof of possession is not of this key.
    #[error("the voting key's proof of possession does not hold")]
    Possession,
}

impl VoteKeys {
    /// Checks a key with its proof of possession: without it a late key could be chosen to cancel others.
    ///
    /// # Errors
    /// A key or proof that does not hold.
    pub fn check(key: &VoteKey, possession: &Sig) -> Result<(), VoteKeyError> {
        let key = PublicKey::key_validate(key).map_err(|_| VoteKeyError::Key)?;
        let proof = Signature::sig_validate(possession, true).map_err(|_| VoteKeyError::Possession)?;
        match proof.verify(false, &key.compress(), POSSESSION_DOMAIN, &[], &key, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            _ => Err(VoteKeyError::Possession),
        }
    }

    /// Registers a candidate's key that [`Self::check`] has passed; false if it is no key after all.
    pub fn learn(&self, candidate: u32, key: &VoteKey) -> bool {
        if self.keys.read().expect("no holder panics").contains_key(&candidate) {
            return true;
        }
        let Ok(key) = PublicKey::key_validate(key) else { return false };
        self.keys.write().expect("no holder panics").insert(candidate, key);
        true
    }

    /// Whether the candidate's key is known.
    pub fn knows(&self, candidate: u32) -> bool {
        self.keys.read().expect("no holder panics").contains_key(&candidate)
    }

    fn get(&self, candidate: u32) -> Option<PublicKey> {
        self.keys.read().expect("no holder panics").get(&candidate).copied()
    }
}

/// BLS12-381, signatures in G1, keys in G2.
pub struct BlsSigning {
    secret: SecretKey,
    /// Of the secret, for coefficients that nobody else can foresee.
    batch_secret: Hash,
    keys: Arc<VoteKeys>,
}

impl BlsSigning {
    /// Signs by this secret, 32 bytes of randomness or more; checks against these keys.
    ///
    /// # Panics
    /// When there are fewer than 32 bytes.
    pub fn new(randomness: &[u8], keys: Arc<VoteKeys>) -> BlsSigning {
        let secret = SecretKey::key_gen(randomness, &[]).expect("32 bytes or more");
        let batch_secret = keyed(&BATCH_KEY, &secret.to_bytes());
        BlsSigning { secret, batch_secret, keys }
    }

    /// The voting key and its proof of possession.
    ///
    /// # Panics
    /// When there are fewer than 32 bytes.
    pub fn key_and_possession(randomness: &[u8]) -> (VoteKey, Sig) {
        let secret = SecretKey::key_gen(randomness, &[]).expect("32 bytes or more");
        let key = secret.sk_to_pk().compress();
        (key, secret.sign(&key, POSSESSION_DOMAIN, &[]).compress())
    }
}

impl Signing for BlsSigning {
    fn sign(&self, digest: &Hash) -> Sig {
        self.secret.sign(digest, VOTE_DOMAIN, &[]).compress()
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        let Some(key) = self.keys.get(candidate) else { return false };
        Signature::sig_validate(signature, true).is_ok_and(|signature| {
            signature.verify(false, digest, VOTE_DOMAIN, &[], &key, false) == BLST_ERROR::BLST_SUCCESS
        })
    }

    fn verify_all(&self, claims: &[Claim]) -> bool {
        let entry = |claim: &Claim| Some((self.keys.get(claim.candidate)?, claim.digest, claim.signature));
        let entries: Option<Vec<_>> = claims.iter().map(entry).collect();
        entries.is_some_and(|entries| all_hold(&entries, VOTE_DOMAIN, &self.batch_secret))
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        let points: Vec<_> = signatures.iter().filter_map(|signature| Signature::from_bytes(signature).ok()).collect();
        let all: Vec<_> = points.iter().collect();
        AggregateSignature::aggregate(&all, false).map_or([0; 48], |aggregate| aggregate.to_signature().compress())
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        let keys: Option<Vec<_>> = candidates.iter().map(|&candidate| self.keys.get(candidate)).collect();
        let sum = keys.and_then(|keys| AggregatePublicKey::aggregate(&keys.iter().collect::<Vec<_>>(), false).ok());
        let Some(sum) = sum else { return false };
        Signature::sig_validate(aggregate, true).is_ok_and(|signature| {
            signature.verify(false, digest, VOTE_DOMAIN, &[], &sum.to_public_key(), false) == BLST_ERROR::BLST_SUCCESS
        })
    }

    fn possession_holds(&self, key: &VoteKey, possession: &Sig) -> bool {
        VoteKeys::check(key, possession).is_ok()
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        self.keys.learn(candidate, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: u8) -> (Vec<BlsSigning>, Arc<VoteKeys>) {
        let keys = VoteKeys::default();
        for number in 0..count {
            let (key, possession) = BlsSigning::key_and_possession(&[number + 1; 32]);
            assert_eq!(VoteKeys::check(&key, &possession), Ok(()));
            assert!(keys.learn(u32::from(number), &key));
        }
        let keys = Arc::new(keys);
        ((0..count).map(|number| BlsSigning::new(&[number + 1; 32], keys.clone())).collect(), keys)
    }

    #[test]
    fn aggregates_show_exactly_who_signed() {
        let (signers, _) = keys(5);
        let digest = [7; 32];
        let signatures: Vec<_> = signers.iter().map(|signer| signer.sign(&digest)).collect();
        assert!(signers[0].verify(3, &digest, &signatures[3]));
        assert!(!signers[0].verify(2, &digest, &signatures[3]) && !signers[0].verify(9, &digest, &signatures[3]));
        let aggregate = signers[0].aggregate(&[signatures[0], signatures[2], signatures[4]]);
        let verify = |candidates: &[u32], digest: &Hash, aggregate: &Sig| {
            signers[1].verify_aggregate(candidates, digest, aggregate)
        };
        assert!(verify(&[0, 2, 4], &digest, &aggregate));
        // Missing, swapped, doubled, unknown signers; another message; no signers; the identity; bytes that are no
        // point.
        for wrong in [&[0, 2][..], &[0, 2, 3], &[0, 2, 4, 4], &[0, 2, 9], &[]] {
            assert!(!verify(wrong, &digest, &aggregate), "{wrong:?}");
        }
        assert!(!verify(&[0, 2, 4], &[8; 32], &aggregate));
        let mut identity = [0; 48];
        identity[0] = 0xc0;
        assert!(!verify(&[0, 2, 4], &digest, &identity) && !verify(&[0, 2, 4], &digest, &[0xff; 48]));
    }

    #[test]
    fn what_is_remembered_is_only_what_held() {
        let (signers, keys) = keys(2);
        let remembering = Remembering::new(BlsSigning::new(&[1; 32], keys));
        let signature = signers[1].sign(&[7; 32]);
        for _ in 0..2 {
            assert!(remembering.verify(1, &[7; 32], &signature));
            assert!(!remembering.verify(0, &[7; 32], &signature) && !remembering.verify(1, &[8; 32], &signature));
            assert!(remembering.verify_aggregate(&[1], &[7; 32], &signature));
            assert!(!remembering.verify_aggregate(&[0], &[7; 32], &signature));
        }
        assert_eq!(remembering.held.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_batch_holds_if_and_only_if_each_does() {
        let (signers, keys) = keys(6);
        let claim = |candidate: u32, digest: Hash| {
            let signature = signers[candidate as usize].sign(&digest);
            Claim { candidate, digest, signature }
        };
        let mut claims: Vec<Claim> = (0..5).map(|candidate| claim(candidate, [7; 32])).collect();
        claims.extend((0..4).map(|candidate| claim(candidate, [candidate as u8; 32])));
        assert!(signers[0].verify_all(&claims) && signers[0].verify_all(&[]) && signers[0].verify_all(&claims[3..4]));
        for place in 0..claims.len() {
            let mut wrong = claims.clone();
            wrong[place].signature = claim(5, wrong[place].digest).signature;
            assert!(!signers[0].verify_all(&wrong), "{place}");
            let mut wrong = claims.clone();
            wrong[place].digest[31] ^= 1;
            assert!(!signers[0].verify_all(&wrong), "{place}");
            let mut wrong = claims.clone();
            wrong[place].candidate = 99;
            assert!(!signers[0].verify_all(&wrong), "{place}");
        }
        // Two signatures that are wrong and whose sum is right: their coefficients keep them apart.
        let mut swapped = claims.clone();
        (swapped[0].signature, swapped[1].signature) = (claims[1].signature, claims[0].signature);
        assert!(!signers[0].verify_all(&swapped));

        let remembering = Remembering::new(BlsSigning::new(&[1; 32], keys));
        remembering.foresee(&swapped);
        assert!(remembering.held.lock().unwrap().is_empty());
        remembering.foresee(&claims);
        assert_eq!(remembering.held.lock().unwrap().len(), 9);
        assert!(claims.iter().all(|claim| remembering.verify(claim.candidate, &claim.digest, &claim.signature)));
        assert_eq!(remembering.held.lock().unwrap().len(), 9);
    }

    #[test]
    fn a_key_without_its_own_proof_of_possession_is_refused() {
        let (key, possession) = BlsSigning::key_and_possession(&[1; 32]);
        let (other, other_possession) = BlsSigning::key_and_possession(&[2; 32]);
        assert_eq!(VoteKeys::check(&key, &other_possession), Err(VoteKeyError::Possession));
        // A rogue key: the own one minus another's. Whoever made it cannot sign for it.
        let difference = {
            let mut point = blst::blst_p2::default();
            let (mut a, mut b) = (blst::blst_p2_affine::default(), blst::blst_p2_affine::default());
            let mut bytes = [0u8; 96];
            // SAFETY: plain calls of a C library on valid, initialised values of its own types; the keys are 96 bytes.
            unsafe {
                assert_eq!(blst::blst_p2_uncompress(&mut a, key.as_ptr()), BLST_ERROR::BLST_SUCCESS);
                assert_eq!(blst::blst_p2_uncompress(&mut b, other.as_ptr()), BLST_ERROR::BLST_SUCCESS);
                let mut negated = blst::blst_p2::default();
                blst::blst_p2_from_affine(&mut negated, &b);
                blst::blst_p2_cneg(&mut negated, true);
                blst::blst_p2_add_or_double_affine(&mut point, &negated, &a);
                blst::blst_p2_compress(bytes.as_mut_ptr(), &point);
            }
            bytes
        };
        assert_eq!(VoteKeys::check(&difference, &possession), Err(VoteKeyError::Possession));
        assert_eq!(VoteKeys::check(&[0; 96], &possession), Err(VoteKeyError::Key));
        let mut identity = [0; 96];
        identity[0] = 0xc0;
        assert_eq!(VoteKeys::check(&identity, &possession), Err(VoteKeyError::Key));
        assert_eq!(VoteKeys::check(&key, &possession), Ok(()));
    }
}
