//! How votes are signed: one trait, BLS12-381 aggregates on a network, a stub where thousands of slots are simulated.

use crate::base::hash::Hash;
use crate::base::ids::{Key, Sig, VoteKey};

/// Signs by the own key, and checks what candidates have signed. Messages are 32-byte digests that are bound to the
/// chain.
pub trait Signing {
    /// Signs a digest by the own key.
    fn sign(&self, digest: &Hash) -> Sig;
    /// Whether this candidate's signatures are those of the own key, as far as is known.
    fn is_own(&self, _candidate: u32) -> bool {
        false
    }
    /// Whether the candidate signed this.
    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool;
    /// Verifies many at once, so that who asks for one of them later is answered at once; where nothing is remembered,
    /// nothing. False if not all of them hold; then nothing more is known of any.
    fn foresee(&self, _: &[Claim]) -> bool {
        true
    }
    /// Whether all of these hold.
    fn verify_all(&self, claims: &[Claim]) -> bool {
        claims.iter().all(|claim| self.verify(claim.candidate, &claim.digest, &claim.signature))
    }
    /// Combines signatures of one digest; each was verified.
    fn aggregate(&self, signatures: &[Sig]) -> Sig;
    /// Whether exactly these candidates, each once, signed this.
    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool;
    /// Whether whoever wrote the proof has the voting key, and wrote it for this account.
    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool;
    /// Learns a candidate's key, whose possession was proved before it came into the chain's tables.
    fn learn(&self, candidate: u32, key: &VoteKey);
}

/// "This candidate has signed this digest."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Account index of who is said to have signed.
    pub candidate: u32,
    /// What was signed, bound to the chain.
    pub digest: Hash,
    /// A single signature, no aggregate.
    pub signature: Sig,
}
