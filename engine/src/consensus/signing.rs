//! How votes are signed: one trait, BLS12-381 aggregates on a network, a stub where thousands of slots are simulated.

use super::bls_batch::all_hold;
use super::claim::Claim;
use super::mutation::{Mutation, planted};
use crate::hash::{Hash, keyed, purpose_key};
use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, AggregateSignature, PublicKey, SecretKey, Signature};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, RwLock};

/// A signature or an aggregate of some: a compressed point of G1, or the stub's.
pub type Sig = [u8; 48];
/// A minter's voting key: a compressed point of G2.
pub type VoteKey = [u8; 96];

const VOTE_DOMAIN: &[u8] = b"DYNEMIX_VOTE_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
static BATCH_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix batch coefficients v1"));
const POSSESSION_DOMAIN: &[u8] = b"DYNEMIX_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// Signs by the own key, and checks what candidates have signed. Messages are 32-byte digests that are bound to the
/// chain.
pub trait Signing {
    /// Signs.
    fn sign(&self, digest: &Hash) -> Sig;
    /// Whether the candidate signed this.
    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool;
    /// Verifies many at once, so that who asks for one of them later is answered at once; where nothing is remembered,
    /// nothing.
    fn foresee(&self, _: &[Claim]) {}
    /// Whether all of these hold.
    fn verify_all(&self, claims: &[Claim]) -> bool {
        claims.iter().all(|claim| self.verify(claim.candidate, &claim.digest, &claim.signature))
    }
    /// Combines signatures of one digest; each was verified.
    fn aggregate(&self, signatures: &[Sig]) -> Sig;
    /// Whether exactly these candidates, each once, signed this.
    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool;
    /// Whether whoever wrote the proof has the key.
    fn possession_holds(&self, key: &VoteKey, possession: &Sig) -> bool;
    /// Learns a candidate's key, whose possession was proved before it came into the chain's tables.
    fn learn(&self, candidate: u32, key: &VoteKey);
}

/// Not a signature at all: a hash that anyone could make. Only for simulations, whose liars keep to their own names.
#[derive(Clone, Copy, Debug)]
pub struct StubSigning {
    /// Who signs.
    pub candidate: u32,
}

impl StubSigning {
    /// What a candidate's stub says of a digest.
    pub fn stub(candidate: u32, digest: &Hash) -> Sig {
        let mut state = u64::from(candidate).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        let mut out = [0; 48];
        for (i, chunk) in out.chunks_exact_mut(8).enumerate() {
            let word = u64::from_le_bytes(digest[8 * (i % 4)..8 * (i % 4) + 8].try_into().expect("8 bytes"));
            state = (state ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
            state ^= state >> 32;
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        out
    }
}

impl Signing for StubSigning {
    fn sign(&self, digest: &Hash) -> Sig {
        StubSigning::stub(self.candidate, digest)
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        planted(Mutation::SignatureNotVerified) || StubSigning::stub(candidate, digest) == *signature
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        let mut out = [0; 48];
        signatures.iter().for_each(|signature| out.iter_mut().zip(signature).for_each(|(out, byte)| *out ^= byte));
        out
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        let signatures: Vec<_> = candidates.iter().map(|&candidate| StubSigning::stub(candidate, digest)).collect();
        self.aggregate(&signatures) == *aggregate
    }

    fn possession_holds(&self, key: &VoteKey, possession: &Sig) -> bool {
        StubSigning::stub(0, &key[..32].try_into().expect("32 bytes")) == *possession
    }

    fn learn(&self, _: u32, _: &VoteKey) {}
}

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

/// Remembers which signatures have held: the same answers and attestations are judged again for each block that they
/// might stand in, and a pairing costs as much as a thousand look-ups. What does not hold is not remembered, so that
/// nobody can fill the memory with it.
pub struct Remembering<S> {
    inner: S,
    held: Mutex<HashSet<Hash>>,
}

/// Signatures that are remembered; beyond, all are forgotten and looked at anew.
const REMEMBERED_MAX: usize = 1 << 16;

impl<S> Remembering<S> {
    /// Remembers for this one.
    pub fn new(inner: S) -> Remembering<S> {
        Remembering { inner, held: Mutex::default() }
    }

    fn name(of: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new();
        of.iter().for_each(|part| {
            hasher.update(part);
        });
        *hasher.finalize().as_bytes()
    }

    fn name_of(claim: &Claim) -> Hash {
        Self::name(&[b"v", &claim.candidate.to_le_bytes(), &claim.digest, &claim.signature])
    }

    fn remember(&self, names: impl Iterator<Item = Hash>) {
        let mut held = self.held.lock().expect("no holder panics");
        if held.len() >= REMEMBERED_MAX {
            held.clear();
        }
        held.extend(names);
    }

    fn look(&self, name: Hash, judge: impl FnOnce() -> bool) -> bool {
        if self.held.lock().expect("no holder panics").contains(&name) {
            return true;
        }
        let holds = judge();
        if holds {
            self.remember(std::iter::once(name));
        }
        holds
    }
}

impl<S: Signing> Signing for Remembering<S> {
    fn sign(&self, digest: &Hash) -> Sig {
        self.inner.sign(digest)
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        let name = Self::name_of(&Claim { candidate, digest: *digest, signature: *signature });
        self.look(name, || self.inner.verify(candidate, digest, signature))
    }

    fn foresee(&self, claims: &[Claim]) {
        let unknown: Vec<(Hash, Claim)> = {
            let held = self.held.lock().expect("no holder panics");
            claims.iter().map(|claim| (Self::name_of(claim), *claim)).filter(|(name, _)| !held.contains(name)).collect()
        };
        let claims: Vec<Claim> = unknown.iter().map(|unknown| unknown.1).collect();
        // Two cost together what one costs alone, nearly. A batch that does not hold says of none whether it does.
        if claims.len() > 1 && self.inner.verify_all(&claims) {
            self.remember(unknown.into_iter().map(|unknown| unknown.0));
        }
    }

    fn verify_all(&self, claims: &[Claim]) -> bool {
        self.inner.verify_all(claims)
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        self.inner.aggregate(signatures)
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        let named: Vec<u8> = candidates.iter().flat_map(|candidate| candidate.to_le_bytes()).collect();
        self.look(Self::name(&[b"a", digest, aggregate, &named]), || {
            self.inner.verify_aggregate(candidates, digest, aggregate)
        })
    }

    fn possession_holds(&self, key: &VoteKey, possession: &Sig) -> bool {
        self.look(Self::name(&[b"p", key, possession]), || self.inner.possession_holds(key, possession))
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        self.inner.learn(candidate, key);
    }
}

impl<S: Signing> Signing for Arc<S> {
    fn sign(&self, digest: &Hash) -> Sig {
        (**self).sign(digest)
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        (**self).verify(candidate, digest, signature)
    }

    fn foresee(&self, claims: &[Claim]) {
        (**self).foresee(claims);
    }

    fn verify_all(&self, claims: &[Claim]) -> bool {
        (**self).verify_all(claims)
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        (**self).aggregate(signatures)
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        (**self).verify_aggregate(candidates, digest, aggregate)
    }

    fn possession_holds(&self, key: &VoteKey, possession: &Sig) -> bool {
        (**self).possession_holds(key, possession)
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        (**self).learn(candidate, key);
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
