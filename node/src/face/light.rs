//! What light clients follow: final certificates with their committees, and proofs. Pure bytes in, verified facts out;
//! the node serves them, the wallet checks them.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::VoteKey;
use dynemix_engine::base::read::{CodecError, array, count, number};
use dynemix_engine::base::varint;
use dynemix_engine::chain::block::{Final, Value};
use dynemix_engine::chain::block_codec::read_final;
use dynemix_engine::chain::codec::read_committee_with_keys;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Statement, StatementKind};
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::signing::Signing;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Verified heights that are remembered: a proof that is some heights old can still be checked.
pub const REMEMBERED: usize = 64;
/// Shards of a master-block at most.
const HEADERS_MAX: usize = 1 << 16;

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
    /// It is not the block whose hash is known.
    #[error("the block of height {0} is not the one whose hash is known")]
    Hash(u64),
}

/// What a block that is verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Height of the block.
    pub height: u64,
    /// Slot of the block: heights have ascending ones.
    pub slot: u64,
    /// Its hash, which the next one names as its parent.
    pub hash: Hash,
    /// Hash of the block before.
    pub parent: Hash,
    /// Root of the system after it.
    pub system: Hash,
    /// Root of the accounts before it.
    pub parent_root: Hash,
    /// Hash of the committee of the next height.
    pub committee_next: Hash,
    /// The shard-block of each shard, if there is one.
    pub headers: Vec<Option<Hash>>,
}

impl Verified {
    fn of(value: &Value, hash: Hash) -> Verified {
        let Value { height, slot, parent, system, parent_root, committee_next, .. } = *value;
        Verified { height, slot, hash, parent, system, parent_root, committee_next, headers: value.headers.clone() }
    }

    /// Whether one chain can have both: slots ascend with heights, and each height has one block.
    pub fn fits(&self, other: &Verified) -> bool {
        match self.height.cmp(&other.height) {
            std::cmp::Ordering::Equal => self.hash == other.hash,
            heights => self.slot.cmp(&other.slot) == heights,
        }
    }

    /// Appends all fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::write(out, self.height);
        varint::write(out, self.slot);
        for hash in [&self.hash, &self.parent, &self.system, &self.parent_root, &self.committee_next] {
            out.extend_from_slice(hash);
        }
        varint::write(out, self.headers.len() as u64);
        for header in &self.headers {
            out.push(u8::from(header.is_some()));
            out.extend_from_slice(header.as_ref().unwrap_or(&[0; 32]));
        }
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(mut bytes: &[u8]) -> Result<Verified, CodecError> {
        let bytes = &mut bytes;
        let (height, slot) = (number(bytes)?, number(bytes)?);
        let (hash, parent, system) = (array(bytes)?, array(bytes)?, array(bytes)?);
        let (parent_root, committee_next) = (array(bytes)?, array(bytes)?);
        let headers_len = count(bytes, 33, HEADERS_MAX)?;
        let one = |_| match (array(bytes)?, array(bytes)?) {
            ([0], _) => Ok(None),
            ([1], hash) => Ok(Some(hash)),
            _ => Err(CodecError::Field),
        };
        let headers = (0..headers_len).map(one).collect::<Result<_, _>>()?;
        match bytes.len() {
            0 => Ok(Verified { height, slot, hash, parent, system, parent_root, committee_next, headers }),
            more => Err(CodecError::Trailing(more)),
        }
    }
}

/// A final certificate and the committee behind it, as a node serves a height.
fn read(bytes: &[u8], height: u64) -> Result<(Arc<Final>, Committee, Vec<VoteKey>), LightError> {
    let mut rest = bytes;
    let form = || LightError::Form(height);
    let decided = read_final(&mut rest).map_err(|_| form())?;
    let (committee, keys) = read_committee_with_keys(&mut rest).map_err(|_| form())?;
    let right = rest.is_empty() && decided.value.height == height && committee.height == height;
    if right { Ok((decided, committee, keys)) } else { Err(form()) }
}

/// What a node serves of the block of this height and hash: whoever knows the hash needs no certificate.
///
/// # Errors
/// Bytes of another block, or none.
pub fn known_block(bytes: &[u8], height: u64, hash: &Hash) -> Result<Verified, LightError> {
    let (decided, ..) = read(bytes, height)?;
    if decided.hash == *hash { Ok(Verified::of(&decided.value, *hash)) } else { Err(LightError::Hash(height)) }
}

/// How far a light client has followed.
#[derive(Clone)]
pub struct LightChain {
    chain: Hash,
    /// Newest last, never empty.
    verified: VecDeque<Verified>,
    /// Voting keys that were validated: a candidate keeps its key for good, and a minter is seated again and again.
    keys: Arc<VoteKeys>,
    known: HashMap<u32, VoteKey>,
}

impl LightChain {
    /// A chain that is believed up to genesis, which is all that is trusted.
    pub fn genesis(system: &System) -> LightChain {
        let begin = Verified {
            height: 0,
            slot: 0,
            hash: system.hash,
            parent: [0; 32],
            system: system.root(),
            parent_root: [0; 32],
            committee_next: system.committee_hash(),
            headers: Vec::new(),
        };
        LightChain::beginning(system.hash, begin)
    }

    /// A chain that is believed up to this block: one that was verified before, or that a person trusts.
    pub fn beginning(chain: Hash, block: Verified) -> LightChain {
        LightChain { chain, verified: VecDeque::from([block]), keys: Arc::default(), known: HashMap::new() }
    }

    /// The newest block that is verified.
    pub fn newest(&self) -> &Verified {
        self.verified.back().expect("never empty")
    }

    /// The oldest block that is remembered.
    pub fn oldest(&self) -> &Verified {
        self.verified.front().expect("never empty")
    }

    /// The verified block of a height, if it is remembered.
    pub fn at(&self, height: u64) -> Option<&Verified> {
        let place = usize::try_from(height.checked_sub(self.oldest().height)?).ok()?;
        let found = self.verified.get(place);
        assert!(found.is_none_or(|block| block.height == height), "verified heights follow each other without a gap");
        found
    }

    /// Follows the next height, by what a node says of it.
    ///
    /// # Errors
    /// Whatever does not hold; the client stays where it was.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<&Verified, LightError> {
        let newest = self.newest();
        let height = newest.height + 1;
        let (decided, committee, keys) = read(bytes, height)?;
        let key_of = |candidate: u32| committee.seat_of(candidate).map_or(&[0; 96], |seat| &keys[usize::from(seat)]);
        if committee.hash(key_of) != newest.committee_next {
            return Err(LightError::Committee(height));
        }
        let value = &decided.value;
        if value.parent != newest.hash || value.slot <= newest.slot {
            return Err(LightError::Follows(height));
        }
        self.learn(&committee, &keys).ok_or(LightError::Committee(height))?;
        // It signs nothing; the secret is of no use.
        let signing: Arc<dyn Signing> = Arc::new(BlsSigning::new(&[1; 32], self.keys.clone()));
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
        self.verified.push_back(Verified::of(value, decided.hash));
        if self.verified.len() > REMEMBERED {
            self.verified.pop_front();
        }
        let (oldest, newest) = (self.oldest().height, self.newest().height);
        assert_eq!(newest + 1 - oldest, self.verified.len() as u64, "certificates are followed height by height");
        Ok(self.newest())
    }

    /// Validates the keys of a committee that are not known; none if one is no key.
    fn learn(&mut self, committee: &Committee, keys: &[VoteKey]) -> Option<()> {
        let other = |candidate: u32, key: &VoteKey| self.known.get(&candidate).is_some_and(|known| known != key);
        if committee.members.iter().zip(keys).any(|(member, key)| other(member.candidate, key)) {
            // A table keeps the first key of a candidate, and the block before has named another one.
            (self.keys, self.known) = (Arc::default(), HashMap::new());
        }
        for (member, key) in committee.members.iter().zip(keys) {
            if !self.keys.learn(member.candidate, key) {
                return None;
            }
            self.known.insert(member.candidate, *key);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_block_comes_back_from_its_bytes_and_from_no_others() {
        let block = Verified {
            height: 300,
            slot: 70_000,
            hash: [1; 32],
            parent: [2; 32],
            system: [3; 32],
            parent_root: [4; 32],
            committee_next: [5; 32],
            headers: vec![Some([6; 32]), None],
        };
        let mut bytes = Vec::new();
        block.encode(&mut bytes);
        assert_eq!(Verified::decode(&bytes), Ok(block));
        assert!((0..bytes.len()).all(|end| Verified::decode(&bytes[..end]).is_err()));
        bytes.push(0);
        assert!(Verified::decode(&bytes).is_err());
    }

    #[test]
    fn two_blocks_of_one_chain_have_slots_in_the_order_of_their_heights() {
        let block = |height: u64, slot: u64, hash: u8| Verified {
            height,
            slot,
            hash: [hash; 32],
            parent: [2; 32],
            system: [3; 32],
            parent_root: [4; 32],
            committee_next: [5; 32],
            headers: Vec::new(),
        };
        let tip = block(300, 700, 1);
        for (other, fits) in [
            (block(300, 700, 1), true),
            (block(300, 700, 9), false),
            (block(299, 699, 9), true),
            (block(299, 700, 9), false),
            (block(299, 800, 9), false),
            (block(301, 701, 9), true),
            (block(301, 700, 9), false),
        ] {
            assert_eq!((other.fits(&tip), tip.fits(&other)), (fits, fits), "{other:?}");
        }
    }
}
