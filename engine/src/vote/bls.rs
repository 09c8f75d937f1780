//! BLS12-381: signatures in G1, keys in G2, aggregates of many signatures over one message.

use super::bls_batch::all_hold;
use super::signing::{Claim, Signing};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::{Key, Sig, VoteKey};
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
    #[error("the voting key's proof of possession does not hold for this account")]
    Possession,
}

impl VoteKeys {
    /// Checks a key with its proof of possession: without it a late key could be chosen to cancel others. The proof is
    /// of one account: with another's key and proof nobody could sign, but everything that its owner signs would count
    /// for two.
    ///
    /// # Errors
    /// A key or proof that does not hold.
    pub fn check(owner: &Key, key: &VoteKey, possession: &Sig) -> Result<(), VoteKeyError> {
        let key = PublicKey::key_validate(key).map_err(|_| VoteKeyError::Key)?;
        let proof = Signature::sig_validate(possession, true).map_err(|_| VoteKeyError::Possession)?;
        match proof.verify(false, &proved(owner, &key.compress()), POSSESSION_DOMAIN, &[], &key, false) {
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
    public: PublicKey,
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
        BlsSigning { public: secret.sk_to_pk(), secret, batch_secret, keys }
    }

    /// The voting key and its proof of possession for this account.
    ///
    /// # Panics
    /// When there are fewer than 32 bytes.
    pub fn key_and_possession(randomness: &[u8], owner: &Key) -> (VoteKey, Sig) {
        let secret = SecretKey::key_gen(randomness, &[]).expect("32 bytes or more");
        let key = secret.sk_to_pk().compress();
        (key, secret.sign(&proved(owner, &key), POSSESSION_DOMAIN, &[]).compress())
    }
}

/// What a proof of possession signs: the voting key, then the account's.
fn proved(owner: &Key, key: &VoteKey) -> [u8; 128] {
    let mut bytes = [0; 128];
    bytes[..96].copy_from_slice(key);
    bytes[96..].copy_from_slice(owner);
    bytes
}

impl Signing for BlsSigning {
    fn sign(&self, digest: &Hash) -> Sig {
        self.secret.sign(digest, VOTE_DOMAIN, &[]).compress()
    }

    fn is_own(&self, candidate: u32) -> bool {
        self.keys.get(candidate) == Some(self.public)
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
        assert_eq!(points.len(), signatures.len(), "what is combined was verified, so it is a point each");
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

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        VoteKeys::check(owner, key, possession).is_ok()
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        self.keys.learn(candidate, key);
    }
}
