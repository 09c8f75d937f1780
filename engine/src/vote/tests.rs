use super::bls::{BlsSigning, VoteKeyError, VoteKeys};
use super::remembering::Remembering;
use super::signing::{Claim, Signing};
use crate::base::hash::Hash;
use crate::base::ids::{Key, Sig, VoteKey};
use blst::BLST_ERROR;
use std::sync::Arc;

fn keys(count: u8) -> (Vec<BlsSigning>, Arc<VoteKeys>) {
    let keys = VoteKeys::default();
    for number in 0..count {
        let (key, possession) = BlsSigning::key_and_possession(&[number + 1; 32], &[number; 32]);
        assert_eq!(VoteKeys::check(&[number; 32], &key, &possession), Ok(()));
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
    let verify =
        |candidates: &[u32], digest: &Hash, aggregate: &Sig| signers[1].verify_aggregate(candidates, digest, aggregate);
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
    let held = remembering.held.lock().unwrap();
    assert_eq!((held.signatures.len(), held.others.len()), (1, 1));
}

/// Says no to whatever it would have to pair.
struct NoPairing(BlsSigning);

impl Signing for NoPairing {
    fn sign(&self, digest: &Hash) -> Sig {
        self.0.sign(digest)
    }

    fn is_own(&self, candidate: u32) -> bool {
        self.0.is_own(candidate)
    }

    fn verify(&self, _: u32, _: &Hash, _: &Sig) -> bool {
        false
    }

    fn verify_all(&self, claims: &[Claim]) -> bool {
        self.0.verify_all(claims)
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        self.0.aggregate(signatures)
    }

    fn verify_aggregate(&self, _: &[u32], _: &Hash, _: &Sig) -> bool {
        false
    }

    fn possession_holds(&self, _: &Key, _: &VoteKey, _: &Sig) -> bool {
        false
    }

    fn learn(&self, _: u32, _: &VoteKey) {}
}

#[test]
fn a_certificate_of_votes_that_were_heard_costs_no_pairing() {
    let (signers, keys) = keys(5);
    let remembering = Remembering::new(NoPairing(BlsSigning::new(&[1; 32], keys)));
    let digest = [7; 32];
    // The own one was not heard.
    let own = remembering.sign(&digest);
    assert_eq!(own, signers[0].sign(&digest));
    assert!(remembering.verify(0, &digest, &own), "it was signed here");
    assert!(!remembering.verify(1, &digest, &own) && !remembering.verify(0, &[8; 32], &own));
    let votes: Vec<Claim> = (1..4)
        .map(|candidate: u32| Claim { candidate, digest, signature: signers[candidate as usize].sign(&digest) })
        .collect();
    assert!(remembering.foresee(&votes));
    let aggregate =
        |of: &[usize]| signers[0].aggregate(&of.iter().map(|&at| signers[at].sign(&digest)).collect::<Vec<_>>());
    assert!(remembering.verify_aggregate(&[0, 1, 3], &digest, &aggregate(&[0, 1, 3])));
    assert!(remembering.verify_aggregate(&[0, 1, 2, 3], &digest, &aggregate(&[0, 1, 2, 3])));
    // Others' signatures in their names, one that was not heard, another digest, nobody: nothing is known of these.
    assert!(!remembering.verify_aggregate(&[0, 1, 3], &digest, &aggregate(&[0, 1, 2])));
    assert!(
        !remembering.verify_aggregate(&[4, 1, 3], &digest, &aggregate(&[0, 1, 3])),
        "the own one in another's name"
    );
    assert!(!remembering.verify_aggregate(&[0, 1, 4], &digest, &aggregate(&[0, 1, 4])));
    assert!(!remembering.verify_aggregate(&[0, 1, 3], &[8; 32], &aggregate(&[0, 1, 3])));
    assert!(!remembering.verify_aggregate(&[], &digest, &[0; 48]));
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
    assert!(remembering.held.lock().unwrap().signatures.is_empty());
    remembering.foresee(&claims);
    assert_eq!(remembering.held.lock().unwrap().signatures.len(), 9);
    assert!(claims.iter().all(|claim| remembering.verify(claim.candidate, &claim.digest, &claim.signature)));
    assert_eq!(remembering.held.lock().unwrap().signatures.len(), 9);
}

#[test]
fn a_key_without_its_own_proof_of_possession_is_refused() {
    let owner = [7; 32];
    let (key, possession) = BlsSigning::key_and_possession(&[1; 32], &owner);
    let (other, other_possession) = BlsSigning::key_and_possession(&[2; 32], &owner);
    // Whoever has seen them stakes from another account.
    assert_eq!(VoteKeys::check(&[8; 32], &key, &possession), Err(VoteKeyError::Possession));
    assert_eq!(VoteKeys::check(&owner, &key, &other_possession), Err(VoteKeyError::Possession));
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
    assert_eq!(VoteKeys::check(&owner, &difference, &possession), Err(VoteKeyError::Possession));
    assert_eq!(VoteKeys::check(&owner, &[0; 96], &possession), Err(VoteKeyError::Key));
    let mut identity = [0; 96];
    identity[0] = 0xc0;
    assert_eq!(VoteKeys::check(&owner, &identity, &possession), Err(VoteKeyError::Key));
    assert_eq!(VoteKeys::check(&owner, &key, &possession), Ok(()));
}
