//! Signatures that have held are not looked at again.

use super::signing::{Claim, Signing};
use crate::base::hash::Hash;
use crate::base::ids::{Key, Sig, VoteKey};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Remembers which signatures have held: the same answers and attestations are judged again for each block that they
/// might stand in, and a pairing costs as much as a thousand look-ups. What does not hold is not remembered, so that
/// nobody can fill the memory with it.
pub struct Remembering<S> {
    inner: S,
    pub(super) held: Arc<Mutex<Held>>,
}

/// What has held.
#[derive(Default)]
pub(super) struct Held {
    /// By candidate and digest. A candidate has one signature of a digest, so aggregates of these are known as well.
    pub(super) signatures: HashMap<Hash, Sig>,
    /// By digest: what the own key has signed.
    own: HashMap<Hash, Sig>,
    /// Aggregates and proofs, by all that they say.
    pub(super) others: HashSet<Hash>,
}

/// Of each kind so many are remembered; beyond, all are forgotten and looked at anew.
const REMEMBERED_MAX: usize = 1 << 15;
/// Own ones are asked for while their height is pending or has just become final.
const OWN_MAX: usize = 1 << 10;

fn name(of: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    of.iter().for_each(|part| {
        hasher.update(part);
    });
    *hasher.finalize().as_bytes()
}

fn name_of(candidate: u32, digest: &Hash) -> Hash {
    name(&[&candidate.to_le_bytes(), digest])
}

impl Held {
    fn holds(&self, claim: &Claim) -> bool {
        self.signatures.get(&name_of(claim.candidate, &claim.digest)) == Some(&claim.signature)
    }

    fn remember(&mut self, claims: &[Claim]) {
        if self.signatures.len() + claims.len() > REMEMBERED_MAX {
            self.signatures.clear();
        }
        self.signatures.extend(claims.iter().map(|claim| (name_of(claim.candidate, &claim.digest), claim.signature)));
    }
}

impl<S: Signing> Remembering<S> {
    /// Remembers for this one.
    pub fn new(inner: S) -> Remembering<S> {
        Remembering { inner, held: Arc::default() }
    }

    /// Remembers together with another from now on, who knows the same keys: what has held for one holds for both.
    pub fn remember_with(&mut self, other: &Remembering<S>) {
        self.held = other.held.clone();
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }

    /// What all of these have signed of this digest, if it is known.
    fn signatures_of(&self, candidates: &[u32], digest: &Hash) -> Option<Vec<Sig>> {
        let held = self.held();
        let own = |candidate: u32| held.own.get(digest).filter(|_| self.inner.is_own(candidate));
        let of =
            |&candidate: &u32| held.signatures.get(&name_of(candidate, digest)).or_else(|| own(candidate)).copied();
        candidates.iter().map(of).collect()
    }

    fn look(&self, name: Hash, judge: impl FnOnce() -> bool) -> bool {
        if self.held().others.contains(&name) {
            return true;
        }
        let holds = judge();
        if holds {
            let others = &mut self.held().others;
            if others.len() >= REMEMBERED_MAX {
                others.clear();
            }
            others.insert(name);
        }
        holds
    }
}

impl<S: Signing> Signing for Remembering<S> {
    fn sign(&self, digest: &Hash) -> Sig {
        let signature = self.inner.sign(digest);
        let own = &mut self.held().own;
        if own.len() >= OWN_MAX {
            own.clear();
        }
        own.insert(*digest, signature);
        signature
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        let claim = Claim { candidate, digest: *digest, signature: *signature };
        let (known, own) = {
            let held = self.held();
            (held.holds(&claim), held.own.get(digest) == Some(signature))
        };
        if known || (own && self.inner.is_own(candidate)) {
            return true;
        }
        let holds = self.inner.verify(candidate, digest, signature);
        if holds {
            self.held().remember(&[claim]);
        }
        holds
    }

    fn foresee(&self, claims: &[Claim]) -> bool {
        let unknown: Vec<Claim> = {
            let held = self.held();
            claims.iter().filter(|claim| !held.holds(claim)).copied().collect()
        };
        // Two cost together what one costs alone, nearly. A batch that does not hold says of none whether it does.
        if unknown.len() < 2 {
            return true;
        }
        let hold = self.inner.verify_all(&unknown);
        if hold {
            self.held().remember(&unknown);
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
        self.look(name(&[b"a", digest, aggregate, &named]), || {
            // Whose votes have all come is not looked at again in their certificate: a sum costs a tenth of a pairing.
            let known = self.signatures_of(candidates, digest).filter(|known| !known.is_empty());
            known.is_some_and(|known| self.inner.aggregate(&known) == *aggregate)
                || self.inner.verify_aggregate(candidates, digest, aggregate)
        })
    }

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        self.look(name(&[b"p", owner, key, possession]), || self.inner.possession_holds(owner, key, possession))
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        self.inner.learn(candidate, key);
    }
}
