//! Proofs that transactions stand in a shard-block, for a node whose users sent them and that has none of that shard's
//! transactions: it asks one of those who have. Of each sender a block has one transaction at most, so that it is asked for
//! by its sender, and the answer shows also which other one has used up the sequence.
//!
//! Whose users have sent a good part of the block asks for the ids of all of it: 32 bytes each, where a path has two
//! thousand, and their root is the header's.

use super::frames::{PeerFrameKind, array, u16_of, u64_of};
use super::inclusion::{INCLUSION_BYTES_MAX, Inclusion};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_net::mesh::{MEMBER_FRAME_MAX, Standing};

/// Senders of one question at most.
pub const SENDERS_MAX: usize = 32;
/// What stands before the senders, or before the proofs: kind, height, shard.
const HEAD_BYTES: usize = 1 + size_of::<u64>() + size_of::<u16>();

// Whoever asks is a guest perhaps, and whoever answers has a seat, or had one when the block was made and has only been
// called since.
const _: () =
    assert!(HEAD_BYTES + SENDERS_MAX * 32 <= Standing::Guest.bounds().frame_max[super::frames::CELLS as usize]);
const _: () =
    assert!(HEAD_BYTES + 2 + INCLUSION_BYTES_MAX <= PATHS_BYTES_MAX && INCLUSION_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(PATHS_BYTES_MAX <= Standing::Called.bounds().frame_max[super::frames::BODIES as usize]);
const _: () = assert!(PATHS_BYTES_MAX <= MEMBER_FRAME_MAX[super::frames::BODIES as usize]);

/// Bytes of the longest answer: of payments to many, which are longer, fewer stand in it.
pub const PATHS_BYTES_MAX: usize = 128 << 10;

/// A shard-block: its height and its shard.
pub type Place = (u64, u16);

fn put_head(kind: PeerFrameKind, (height, shard): Place) -> Vec<u8> {
    let mut out = vec![kind as u8];
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(&shard.to_le_bytes());
    assert_eq!(out.len(), HEAD_BYTES, "what follows begins where whoever reads it looks for it");
    out
}

/// The shard-block that the body of either frame is about, behind its kind.
pub fn place_of(bytes: &[u8]) -> Option<Place> {
    let mut rest = bytes;
    Some((u64_of(&mut rest)?, u16_of(&mut rest)?))
}

/// Bytes of a path to a transaction, about: four levels.
pub const PATH_BYTES: usize = 2_300;

/// "Show me the transactions of these senders in that shard-block", or the ids of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantPaths {
    /// The shard-block that they are to stand in.
    pub place: Place,
    /// Whose transactions, [`SENDERS_MAX`] at most; none: the ids of all are wanted.
    pub senders: Vec<Key>,
}

impl WantPaths {
    /// The whole frame, its kind first.
    ///
    /// # Panics
    /// When it asks for more than are answered.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.senders.len() <= SENDERS_MAX, "{} senders are asked for", self.senders.len());
        let mut out = put_head(PeerFrameKind::Senders, self.place);
        self.senders.iter().for_each(|sender| out.extend_from_slice(sender));
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<WantPaths> {
        let place = place_of(bytes)?;
        let (senders, after) = bytes[HEAD_BYTES - 1..].as_chunks::<32>();
        let right = after.is_empty() && senders.len() <= SENDERS_MAX;
        right.then(|| WantPaths { place, senders: senders.to_vec() })
    }
}

/// The frame that answers with these proofs, or with as many of the first as there is room for.
///
/// # Panics
/// When they are more than can have been asked for.
pub fn paths_frame(place: Place, proofs: &[Inclusion]) -> Vec<u8> {
    assert!(proofs.len() <= SENDERS_MAX, "{} proofs, {SENDERS_MAX} can be asked for", proofs.len());
    let mut out = put_head(PeerFrameKind::Paths, place);
    for proof in proofs {
        let bytes = proof.encode();
        if out.len() + 2 + bytes.len() > PATHS_BYTES_MAX {
            break;
        }
        out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    assert!(out.len() <= PATHS_BYTES_MAX, "an answer of {} bytes", out.len());
    out
}

/// The frame of all ids of a shard-block.
pub fn ids_frame(place: Place, ids: impl ExactSizeIterator<Item = Hash>) -> Vec<u8> {
    let mut out = put_head(PeerFrameKind::Ids, place);
    out.reserve_exact(ids.len() * size_of::<Hash>());
    ids.for_each(|id| out.extend_from_slice(&id));
    out
}

/// The ids of the body of such a frame, behind its kind. Whose they are is for who knows the header.
pub fn read_ids(bytes: &[u8]) -> Option<&[Hash]> {
    let (ids, after) = bytes.get(HEAD_BYTES - 1..)?.as_chunks::<32>();
    after.is_empty().then_some(ids)
}

/// Reads the body of such a frame, behind its kind: each proof shows that its transaction stands in a block of the header
/// that it has with it. Whether that one is of the chain is for who knows the chain.
pub fn read_paths(bytes: &[u8]) -> Option<(Place, Vec<Inclusion>)> {
    let place = place_of(bytes)?;
    let (mut rest, mut proofs) = (&bytes[HEAD_BYTES - 1..], Vec::new());
    while !rest.is_empty() {
        let length = u16::from_le_bytes(array(&mut rest)?);
        let (proof, after) = rest.split_at_checked(usize::from(length))?;
        let proof = Inclusion::decode(proof).filter(|proof| proof.claimed().is_some());
        (proofs.len() < SENDERS_MAX).then(|| proofs.extend(proof.clone()))?;
        proof?;
        rest = after;
    }
    Some((place, proofs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use dynemix_engine::chain::block::{ShardBlock, transactions_root};
    use dynemix_engine::transaction::cell::Cell;
    use dynemix_engine::transaction::item::{Item, Items};

    #[test]
    fn questions_and_answers_come_back_as_they_were_sent_and_no_byte_more_or_less() {
        let want = WantPaths { place: (7, 2), senders: vec![[1; 32], [2; 32]] };
        let frame = want.encode();
        assert_eq!(PeerFrameKind::split(&frame).map(|split| split.0), Some(PeerFrameKind::Senders));
        assert_eq!(WantPaths::read(&frame[1..]), Some(want));
        let whole = |end: usize| end >= HEAD_BYTES && (end - HEAD_BYTES).is_multiple_of(32);
        assert!((1..frame.len()).all(|end| whole(end) || WantPaths::read(&frame[1..end]).is_none()));
        let ids = [[1; 32], [2; 32]];
        let all = ids_frame((7, 2), ids.iter().copied());
        assert_eq!((place_of(&all[1..]), read_ids(&all[1..])), (Some((7, 2)), Some(&ids[..])));
        assert!(read_ids(&all[1..all.len() - 1]).is_none() && read_ids(&all[1..5]).is_none());
        let many = WantPaths { place: (7, 2), senders: vec![[1; 32]; SENDERS_MAX] }.encode();
        assert!(WantPaths::read(&[&many[1..], &[1; 32]].concat()).is_none(), "more than are answered");

        let mut items: Vec<_> =
            (1..=40).map(|sequence| Item::transaction(&Cell { sequence, ..Cell::zeroed() }, &[])).collect();
        items.sort_unstable_by_key(|item| item.id());
        let root = transactions_root(&mut items.iter().map(|item| item.id()).collect());
        let block = ShardBlock {
            parent_root: [1; 32],
            slot: 9,
            shard: 2,
            transactions: 40,
            bytes: 7720,
            transactions_root: root,
            patch_hash: [2; 32],
        };
        let items: Items = items.into();
        let proofs = [39, 3].map(|place| Inclusion::of(&block, &items, place));
        let frame = paths_frame((7, 2), &proofs);
        let (place, proofs) = read_paths(&frame[1..]).unwrap();
        assert_eq!((place, proofs.len()), ((7, 2), 2));
        assert!(proofs.iter().zip([39, 3]).all(|(proof, place)| proof.item.id() == items[place].id()));
        assert_eq!(read_paths(&paths_frame((7, 2), &[])[1..]).unwrap().1.len(), 0, "it has none of them");
        let half = HEAD_BYTES + (frame.len() - HEAD_BYTES) / 2;
        assert!((1..frame.len()).all(|end| [HEAD_BYTES, half].contains(&end) || read_paths(&frame[1..end]).is_none()));
        for at in HEAD_BYTES..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            assert!(read_paths(&changed[1..]).is_none_or(|(_, read)| read.iter().any(|proof| proof.block != block)));
        }
    }
}
