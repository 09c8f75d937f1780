//! Votes that cost nothing, for simulations.

use super::signing::Signing;
use crate::base::hash::Hash;
use crate::base::ids::{Key, Sig, VoteKey};
use crate::base::mutation::{Mutation, planted};

/// Not a signature at all: a hash that anyone could make. Only for simulations, whose liars keep to their own names.
#[derive(Clone, Copy, Debug)]
pub struct StubSigning {
    /// Account index in whose name digests are signed.
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

impl StubSigning {
    /// The proof that an account's owner has a voting key.
    pub fn possession(owner: &Key, key: &VoteKey) -> Sig {
        StubSigning::stub(0, blake3::hash(&[&key[..], owner].concat()).as_bytes())
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

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        StubSigning::possession(owner, key) == *possession
    }

    fn learn(&self, _: u32, _: &VoteKey) {}
}
