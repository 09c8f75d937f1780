//! What light clients follow: final certificates with their committees, and proofs. Pure bytes in, verified facts out;
//! the node serves them, the wallet checks them.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::VoteKey;
use dynemix_engine::chain::block::Final;
use dynemix_engine::chain::block_codec::read_final;
use dynemix_engine::chain::codec::read_committee_with_keys;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Statement, StatementKind};
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::signing::Signing;
use std::sync::Arc;

/// Why what a node has served is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// Not the form.
    #[error("the node's answer for height {0} is malformed")]
    Form(u64),
    /// Not the committee that the block before has named.
    #[error("the committee of height {0} is not the one that the block before has named")]
    Committee(u64),
    /// The certificate does not hold.
    #[error("the certificate of height {0} does not hold")]
    Certificate(u64),
    /// It does not follow the block before.
    #[error("the block of height {0} does not follow the one before")]
    Follows(u64),
}

/// How far a light client has followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightChain {
    chain: Hash,
    /// Newest verified height.
    pub height: u64,
    /// Slot of the block of that height.
    pub slot: u64,
    /// Hash of the block of that height, which the next one names as its parent.
    pub hash: Hash,
    /// Root of the system after it.
    pub system: Hash,
    /// Root of the accounts before it.
    pub parent_root: Hash,
    /// Hash of the committee of the next height.
    pub committee_next: Hash,
}

impl LightChain {
    /// A chain that is believed up to genesis, which is all that is trusted.
    pub fn genesis(system: &System) -> LightChain {
        LightChain {
            chain: system.hash,
            height: 0,
            slot: 0,
            hash: system.hash,
            system: system.root(),
            parent_root: [0; 32],
            committee_next: system.committee_hash(),
        }
    }

    /// Follows the next height, by what a node says of it.
    ///
    /// # Errors
    /// Whatever does not hold; the client stays where it was.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Arc<Final>, LightError> {
        let height = self.height + 1;
        let mut rest = bytes;
        let form = || LightError::Form(height);
        let decided = read_final(&mut rest).map_err(|_| form())?;
        let (committee, keys): (Committee, Vec<VoteKey>) = read_committee_with_keys(&mut rest).map_err(|_| form())?;
        if !rest.is_empty() || decided.value.height != height || committee.height != height {
            return Err(form());
        }
        let key_of = |candidate: u32| committee.seat_of(candidate).map_or(&[0; 96], |seat| &keys[usize::from(seat)]);
        if committee.hash(key_of) != self.committee_next {
            return Err(LightError::Committee(height));
        }
        let table = VoteKeys::default();
        if !committee.members.iter().zip(&keys).all(|(member, key)| table.learn(member.candidate, key)) {
            return Err(LightError::Committee(height));
        }
        // It signs nothing; the secret is of no use.
        let signing: Arc<dyn Signing> = Arc::new(BlsSigning::new(&[1; 32], Arc::new(table)));
        let signed = Statement {
            kind: StatementKind::Second,
            height,
            number: decided.attempt,
            shard: 0,
            justified_by: 0,
            hash: decided.hash,
        };
        if !decided.certificate.verify_master(&committee, &signed.digest(&self.chain), &*signing) {
            return Err(LightError::Certificate(height));
        }
        let value = &decided.value;
        if value.parent != self.hash || value.slot <= self.slot {
            return Err(LightError::Follows(height));
        }
        let (hash, slot, system) = (decided.hash, value.slot, value.system);
        let (parent_root, committee_next) = (value.parent_root, value.committee_next);
        *self = LightChain { chain: self.chain, height, slot, hash, system, parent_root, committee_next };
        Ok(decided)
    }
}
