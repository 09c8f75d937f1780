//! Signatures that have held are not looked at again.

use super::signing::{Claim, Signing};
use crate::base::hash::Hash;
use crate::base::ids::{Key, Sig, VoteKey};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Remembers which signatures have held: the same answers and attestations are judged again for each block that they
/// might stand in, and a pairing costs as much as a thousand look-ups. What does not hold is not remembered, so that
/// nobody can fill the memory with it.
pub struct Remembering<S> {
    inner: S,
    pub(super) held: Arc<Mutex<HashSet<Hash>>>,
}

/// Signatures that are remembered; beyond, all are forgotten and looked at anew.
const REMEMBERED_MAX: usize = 1 << 16;

impl<S> Remembering<S> {
    /// Remembers for this one.
    pub fn new(inner: S) -> Remembering<S> {
        Remembering { inner, held: Arc::default() }
    }

    /// Remembers together with another from now on, who knows the same keys: what has held for one holds for both.
    pub fn remember_with(&mut self, other: &Remembering<S>) {
        self.held = other.held.clone();
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

    fn foresee(&self, claims: &[Claim]) -> bool {
        let unknown: Vec<(Hash, Claim)> = {
            let held = self.held.lock().expect("no holder panics");
            claims.iter().map(|claim| (Self::name_of(claim), *claim)).filter(|(name, _)| !held.contains(name)).collect()
        };
        let claims: Vec<Claim> = unknown.iter().map(|unknown| unknown.1).collect();
        // Two cost together what one costs alone, nearly. A batch that does not hold says of none whether it does.
        if claims.len() < 2 {
            return true;
        }
        let hold = self.inner.verify_all(&claims);
        if hold {
            self.remember(unknown.into_iter().map(|unknown| unknown.0));
        }
        hold
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

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        self.look(Self::name(&[b"p", owner, key, possession]), || self.inner.possession_holds(owner, key, possession))
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        self.inner.learn(candidate, key);
    }
}
