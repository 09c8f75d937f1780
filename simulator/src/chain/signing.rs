//! How simulated nodes sign: by a stub in most runs, by BLS in some.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Key, Sig, VoteKey};
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    static FAILED: Cell<u64> = const { Cell::new(0) };
}

/// Signatures and certificates that this thread has verified for nodes and that did not hold.
pub(crate) fn failed_checks() -> u64 {
    FAILED.get()
}

/// Looks at what a real node has verified before, on another thread: what does not hold is not what it was just told.
pub(crate) fn uncounted<T>(look: impl FnOnce() -> T) -> T {
    let before = FAILED.get();
    let found = look();
    assert!(FAILED.get() >= before, "checks that have failed are only counted");
    FAILED.set(before);
    found
}

fn counted(holds: bool) -> bool {
    FAILED.set(FAILED.get() + u64::from(!holds));
    holds
}

/// Stub or BLS.
pub(crate) enum AnySigning {
    /// A hash of digest and signer: quick, and nobody here forges one.
    Stub(StubSigning),
    /// The real thing.
    Bls(Box<BlsSigning>),
}

impl Signing for AnySigning {
    fn sign(&self, digest: &Hash) -> Sig {
        match self {
            AnySigning::Stub(signing) => signing.sign(digest),
            AnySigning::Bls(signing) => signing.sign(digest),
        }
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        counted(match self {
            AnySigning::Stub(signing) => signing.verify(candidate, digest, signature),
            AnySigning::Bls(signing) => {
                remembered((vec![candidate], *digest, *signature), || signing.verify(candidate, digest, signature))
            }
        })
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        match self {
            AnySigning::Stub(signing) => signing.aggregate(signatures),
            AnySigning::Bls(signing) => signing.aggregate(signatures),
        }
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        counted(match self {
            AnySigning::Stub(signing) => signing.verify_aggregate(candidates, digest, aggregate),
            AnySigning::Bls(signing) => remembered((candidates.to_vec(), *digest, *aggregate), || {
                signing.verify_aggregate(candidates, digest, aggregate)
            }),
        })
    }

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        match self {
            AnySigning::Stub(signing) => signing.possession_holds(owner, key, possession),
            AnySigning::Bls(signing) => signing.possession_holds(owner, key, possession),
        }
    }

    fn learn(&self, candidate: u32, key: &VoteKey) {
        match self {
            AnySigning::Stub(signing) => signing.learn(candidate, key),
            AnySigning::Bls(signing) => signing.learn(candidate, key),
        }
    }
}

/// Signers, digest, signature.
type Verdict = (Vec<u32>, Hash, Sig);

/// Every node comes to the same verdict about the same signature: it is worked out once.
fn remembered(key: Verdict, verify: impl FnOnce() -> bool) -> bool {
    thread_local! {
        static VERDICTS: RefCell<HashMap<Verdict, bool>> = RefCell::default();
    }
    if let Some(verdict) = VERDICTS.with_borrow(|verdicts| verdicts.get(&key).copied()) {
        return verdict;
    }
    let verdict = verify();
    VERDICTS.with_borrow_mut(|verdicts| {
        if verdicts.len() > 50_000 {
            verdicts.clear();
        }
        verdicts.insert(key, verdict)
    });
    verdict
}

/// A candidate's voting key and its proof of possession for its account.
pub(crate) fn vote_key(candidate: u32, owner: &Key, real: bool) -> (VoteKey, Sig) {
    if real {
        return BlsSigning::key_and_possession(&randomness(candidate), owner);
    }
    let mut key = [5; 96];
    key[..4].copy_from_slice(&candidate.to_le_bytes());
    (key, StubSigning::possession(owner, &key))
}

fn randomness(candidate: u32) -> [u8; 32] {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&candidate.to_le_bytes());
    bytes
}

/// How a candidate signs: by BLS where there are keys.
pub(crate) fn signing_of(keys: Option<&Arc<VoteKeys>>, candidate: u32) -> AnySigning {
    match keys {
        Some(keys) => AnySigning::Bls(Box::new(BlsSigning::new(&randomness(candidate), keys.clone()))),
        None => AnySigning::Stub(StubSigning { candidate }),
    }
}
