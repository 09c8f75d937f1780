//! Frames between nodes, within the four classes of the mesh.
//!
//! ```text
//!   kind u8 | body
//!   0 message   of consensus, see `dynemix_engine::messages::codec`
//!   1 cells     told for u64 | first ordinal u64 | each: cell 192, payload length u16, payload, maybe hint 32
//!               told for: a height, by a node to its minters; 0 of a user's own transactions
//!               a hint where the length's highest bit is set: x of the signature's R, only of what is told
//!   2 outcome   refusal u8 | height u64 | slot u64 | shard u16 | ordinals u64 each
//!               refusal: 0 final; 255 one of the same sequence is, and whether it is this one nobody has shown
//!   3 peers     each: transport key 32 | address 16 | port u16
//!   4 want      height u64 | part u32 | offset u64                    of a snapshot; height 0: which ones there are
//!   5 piece     height u64 | part u32 | offset u64 | of u64 | bytes   of height 0: each height u64, block 32
//!   6 room      height u64 | transactions u64              that the sender takes of the one it is sent to, for that height
//!   7 senders   height u64 | shard u16 | keys 32 each       whose transactions in that shard-block are wanted, see `paths`
//!               none: the ids of all of them
//!   8 paths     height u64 | shard u16 | each: length u16, proof of inclusion
//!   9 ids       height u64 | shard u16 | 32 each, ascending
//!
//!   hello       version u8 | genesis 32 | 0, or 1 and candidate u32, signature 48 over the handshake's hash, or 2
//!               0 of a guest, 1 of a candidate, 2 of who fetches what it needs to join; whoever has called says it first
//! ```

use crate::keep::published::Offer;
use crate::setup::endpoint::target_of;
use dynemix_engine::base::hash::{Hash, keyed, purpose_key};
use dynemix_engine::base::ids::{Endpoint, Sig};
use dynemix_engine::base::limits::{BLOCK_BYTES_MAX, CELL_BYTES, PAYLOAD_BYTES_MAX, SET_ITEMS_MAX};
use dynemix_engine::committee::statement::{Statement, StatementKind};
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::verify::Hint;
use dynemix_net::mesh::{Claim, MEMBER_FRAME_MAX, Target, To};
use std::sync::{Arc, LazyLock};

/// A frame for the mesh: to whom, in which class, its bytes.
pub type Frame = (To, u8, Arc<[u8]>);

/// Version of everything between nodes.
pub const PEER_VERSION: u8 = 7;
/// The classes of the mesh, most urgent first: votes and what else is small and decides.
pub const VOTES: u8 = 0;
/// What a shard round needs at once.
pub const ROUNDS: u8 = 1;
/// Bodies and history.
pub const BODIES: u8 = 2;
/// Users' transactions and all else.
pub const CELLS: u8 = 3;

/// What a frame is: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PeerFrameKind {
    /// A message of consensus.
    Message = 0,
    /// Transactions: of a user, or told to the minters of a height.
    Cells = 1,
    /// What became of a client's transactions.
    Outcome = 2,
    /// Addresses of candidates.
    Peers = 3,
    /// A question for a piece of a snapshot.
    Want = 4,
    /// The answer to such a question.
    Piece = 5,
    /// How many transactions a minter takes of whoever hears it, for a height.
    Room = 6,
    /// A question for proofs that transactions of these senders stand in a shard-block.
    Senders = 7,
    /// The answer to it.
    Paths = 8,
    /// The answer to who asks for all: ids of a shard-block's transactions.
    Ids = 9,
}

impl PeerFrameKind {
    /// The kind of this number, if there is one.
    pub fn of_number(number: u8) -> Option<PeerFrameKind> {
        use PeerFrameKind::{Cells, Ids, Message, Outcome, Paths, Peers, Piece, Room, Senders, Want};
        let all = [Message, Cells, Outcome, Peers, Want, Piece, Room, Senders, Paths, Ids];
        all.into_iter().find(|kind| *kind as u8 == number)
    }

    /// A frame's kind and its body behind it; none of an empty frame or an unknown kind.
    pub fn split(frame: &[u8]) -> Option<(PeerFrameKind, &[u8])> {
        let (&number, body) = frame.split_first()?;
        Some((PeerFrameKind::of_number(number)?, body))
    }
}

/// The height that asks which snapshots there are.
pub const OFFERS: u64 = 0;

/// Cells of one frame at most.
pub const CELLS_MAX: usize = 1_024;
/// Peers of one frame at most.
pub const PEERS_MAX: usize = 64;
/// Snapshots of one frame at most.
const OFFERS_MAX: usize = 16;

/// A candidate's part of a hello: its number and its signature.
const CANDIDATE_BYTES: usize = size_of::<u32>() + size_of::<Sig>();
/// A peer in a frame of peers: transport key, address, port.
const PEER_BYTES: usize = 32 + 16 + size_of::<u16>();
/// A snapshot in a frame of offers: height and block.
const OFFER_BYTES: usize = size_of::<u64>() + size_of::<Hash>();
/// An ordinal in a frame of outcomes.
const ORDINAL_BYTES: usize = size_of::<u64>();
/// What stands before the cells of a frame: kind, height that they are told for, first ordinal.
const CELLS_HEAD_BYTES: usize = 1 + 2 * size_of::<u64>();
/// What stands before the ordinals of a frame of outcomes: kind, refusal, height, slot, shard.
const OUTCOME_HEAD_BYTES: usize = 2 + 2 * size_of::<u64>() + size_of::<u16>();
/// A frame that asks for a piece: kind, height, part, offset.
const WANT_BYTES: usize = 1 + 2 * size_of::<u64>() + size_of::<u32>();
/// A frame of room: kind, height, transactions.
const ROOM_BYTES: usize = 1 + 2 * size_of::<u64>();

// A frame of half of the cells at most, as nodes tell them, with their payloads fits its class.
const _: () = assert!(
    CELLS_HEAD_BYTES + CELLS_MAX / 2 * (CELL_BYTES + 2 + PAYLOAD_BYTES_MAX) <= MEMBER_FRAME_MAX[CELLS as usize]
);
// So does a shard-block with its items, and the short ids of a set, each behind the frame's kind.
const _: () = assert!(1 + 2 * BLOCK_BYTES_MAX + (1 << 20) <= MEMBER_FRAME_MAX[BODIES as usize]);
const _: () = assert!(1 + 8 * SET_ITEMS_MAX + 1_024 <= MEMBER_FRAME_MAX[ROUNDS as usize]);

/// The next bytes, if there are so many.
pub(super) fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*array)
}

pub(super) fn u16_of(bytes: &mut &[u8]) -> Option<u16> {
    array(bytes).map(u16::from_le_bytes)
}

fn u32_of(bytes: &mut &[u8]) -> Option<u32> {
    array(bytes).map(u32::from_le_bytes)
}

pub(super) fn u64_of(bytes: &mut &[u8]) -> Option<u64> {
    array(bytes).map(u64::from_le_bytes)
}

static HELLO_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix node hello v2"));

/// What nodes of one chain agree on before they shake hands.
pub fn prologue(genesis: &Hash) -> Vec<u8> {
    [&b"dynemix peer "[..], &[PEER_VERSION], genesis].concat()
}

/// What a hello's signature is of.
fn hello_digest(genesis: &Hash, handshake_hash: &[u8; 32]) -> Hash {
    // A kind of its own would do as well; the key keeps it apart from all that consensus signs.
    let hash = keyed(&HELLO_KEY, handshake_hash);
    Statement { kind: StatementKind::Endpoint, height: 0, number: 0, shard: u16::MAX, justified_by: u64::MAX, hash }
        .digest(genesis)
}

/// A hello; `sign` of a candidate.
pub fn hello(
    genesis: &Hash,
    handshake_hash: &[u8; 32],
    candidate: Option<(u32, impl FnOnce(&Hash) -> Sig)>,
) -> Vec<u8> {
    let mut out = vec![PEER_VERSION];
    out.extend_from_slice(genesis);
    out.push(u8::from(candidate.is_some()));
    if let Some((candidate, sign)) = candidate {
        out.extend_from_slice(&candidate.to_le_bytes());
        out.extend_from_slice(&sign(&hello_digest(genesis, handshake_hash)));
    }
    let of_candidate = if out[1 + genesis.len()] == 1 { CANDIDATE_BYTES } else { 0 };
    assert_eq!(out.len(), 2 + genesis.len() + of_candidate, "a hello is as long as whoever reads it expects");
    out
}

/// The hello of who fetches what it needs to join.
pub fn joining_hello(genesis: &Hash) -> Vec<u8> {
    [&[PEER_VERSION], &genesis[..], &[2]].concat()
}

/// Why a hello is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Nothing was said.
    #[error("an empty hello")]
    Empty,
    /// It speaks another version.
    #[error("version {0}, this node speaks {PEER_VERSION}")]
    Version(u8),
    /// It is of another chain.
    #[error("another chain")]
    OtherChain,
    /// Its bytes are no hello.
    #[error("a malformed hello")]
    Malformed,
}

/// Who a hello claims to be from, and the signature that may prove it.
fn parse_hello(genesis: &Hash, hello: &[u8]) -> Result<(Claim, Option<Sig>), HelloError> {
    let (&version, rest) = hello.split_first().ok_or(HelloError::Empty)?;
    if version != PEER_VERSION {
        return Err(HelloError::Version(version));
    }
    let rest = rest.strip_prefix(genesis).ok_or(HelloError::OtherChain)?;
    match rest {
        [0] => Ok((Claim::Guest, None)),
        [2] => Ok((Claim::Joining, None)),
        [1, rest @ ..] if rest.len() == CANDIDATE_BYTES => {
            let mut rest = rest;
            let candidate = u32_of(&mut rest).ok_or(HelloError::Malformed)?;
            let signature = array(&mut rest).ok_or(HelloError::Malformed)?;
            Ok((Claim::Named(candidate), Some(signature)))
        }
        _ => Err(HelloError::Malformed),
    }
}

/// Who a hello claims to be from. Nothing of it is verified: that costs as much as a thousand hellos that are read.
///
/// # Errors
/// Why it is no hello.
pub fn read_hello(genesis: &Hash, hello: &[u8]) -> Result<Claim, HelloError> {
    parse_hello(genesis, hello).map(|parsed| parsed.0)
}

/// Whether a hello is signed by the voting key of the candidate that it names, for this handshake; `verify` judges the
/// signature.
pub fn hello_is_signed(
    genesis: &Hash,
    handshake_hash: &[u8; 32],
    hello: &[u8],
    verify: impl FnOnce(u32, &Hash, &Sig) -> bool,
) -> bool {
    let Ok((Claim::Named(candidate), Some(signature))) = parse_hello(genesis, hello) else { return false };
    verify(candidate, &hello_digest(genesis, handshake_hash), &signature)
}

/// The class that a message travels in.
pub fn class_of(message: &Message) -> u8 {
    match message {
        Message::Item(_) | Message::Block(_) => ROUNDS,
        Message::Shard {
            message: ShardMessage::Set(..) | ShardMessage::WantItems(..) | ShardMessage::Items(_),
            ..
        } => ROUNDS,
        Message::Bodies(..) => BODIES,
        Message::Final(_, blocks) if !blocks.is_empty() => BODIES,
        _ => VOTES,
    }
}

/// Set in a payload's length where a hint follows the payload.
const HINTED: u16 = 1 << 15;
const _: () = assert!(PAYLOAD_BYTES_MAX < HINTED as usize);

/// Appends a cell to a frame of cells, with a hint for whoever verifies it if there is one.
///
/// # Panics
/// When it is no cell, or its payload is longer than any that is admitted.
pub fn put_cell(out: &mut Vec<u8>, cell: &[u8], payload: &[u8], hint: Option<&Hint>) {
    assert_eq!(cell.len(), CELL_BYTES, "a frame of cells is of whole cells");
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload of {} bytes goes out", payload.len());
    out.extend_from_slice(cell);
    let hinted = if hint.is_some() { HINTED } else { 0 };
    out.extend_from_slice(&(payload.len() as u16 | hinted).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend(hint.into_iter().flatten());
}

/// Begins a frame of cells: of a user, or told to the minters of a height.
pub fn cells_frame(told: Option<u64>, first_ordinal: u64) -> Vec<u8> {
    let mut out = vec![PeerFrameKind::Cells as u8];
    out.extend_from_slice(&told.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&first_ordinal.to_le_bytes());
    assert_eq!(out.len(), CELLS_HEAD_BYTES, "cells begin where whoever reads them looks for them");
    out
}

/// A frame of cells, read: for which height another node tells them, the first ordinal, and the cells with their
/// payloads and what was hinted of them.
pub type Cells<'a> = (Option<u64>, u64, Vec<(Cell, &'a [u8], Option<&'a Hint>)>);

/// Reads the body of a frame of cells, behind its kind: there is one at least, since a frame costs work as well.
pub fn read_cells(bytes: &[u8]) -> Option<Cells<'_>> {
    let mut rest = bytes;
    let (told, first_ordinal) = (u64_of(&mut rest)?, u64_of(&mut rest)?);
    if rest.is_empty() {
        return None;
    }
    let mut cells = Vec::with_capacity((rest.len() / CELL_BYTES).min(CELLS_MAX));
    while !rest.is_empty() {
        let (cell, after) = rest.split_first_chunk::<CELL_BYTES>()?;
        rest = after;
        let word = u16_of(&mut rest)?;
        let (is_hinted, length) = (word & HINTED != 0, usize::from(word & !HINTED));
        let (payload, after) = rest.split_at_checked(length)?;
        // Who brings users' own transactions has verified nothing.
        if length > PAYLOAD_BYTES_MAX || cells.len() >= CELLS_MAX || is_hinted && told == 0 {
            return None;
        }
        rest = after;
        let hint = match is_hinted {
            true => {
                let (hint, after) = rest.split_first_chunk()?;
                rest = after;
                Some(hint)
            }
            false => None,
        };
        cells.push((bytemuck::pod_read_unaligned(cell), payload, hint));
    }
    Some((Some(told).filter(|&height| height > 0), first_ordinal, cells))
}

/// How many cells a frame of them has, about: by the first of them.
pub fn cells_about(frame: &[u8]) -> usize {
    let word = frame.get(CELLS_HEAD_BYTES + CELL_BYTES..).and_then(|mut rest| u16_of(&mut rest)).unwrap_or(0);
    let hint = if word & HINTED != 0 { size_of::<Hint>() } else { 0 };
    (frame.len() / (CELL_BYTES + size_of::<u16>() + hint)).max(1)
}

/// Stands for the refusal of transactions whose sequence a final block has used up while nobody has shown by what.
pub const UNPROVED: u8 = 255;

/// What became of a client's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0 when they are final, [`UNPROVED`] when something with their sequence is, else the refusal's number.
    pub refusal: u8,
    /// Height of the block; 0 if refused.
    pub height: u64,
    /// Slot of that block.
    pub slot: u64,
    /// Shard of that block.
    pub shard: u16,
    /// Which, by the order in which they came on this connection.
    pub ordinals: Vec<u64>,
}

impl Outcome {
    /// The whole frame, its kind first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PeerFrameKind::Outcome as u8, self.refusal];
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        self.ordinals.iter().for_each(|ordinal| out.extend_from_slice(&ordinal.to_le_bytes()));
        let expected = OUTCOME_HEAD_BYTES + self.ordinals.len() * ORDINAL_BYTES;
        assert_eq!(out.len(), expected, "a frame of outcomes is as long as its fields");
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<Outcome> {
        let mut rest = bytes;
        let [refusal] = array(&mut rest)?;
        let (height, slot, shard) = (u64_of(&mut rest)?, u64_of(&mut rest)?, u16_of(&mut rest)?);
        let (ordinals, after) = rest.as_chunks::<ORDINAL_BYTES>();
        let ordinals = ordinals.iter().map(|ordinal| u64::from_le_bytes(*ordinal)).collect();
        after.is_empty().then_some(Outcome { refusal, height, slot, shard, ordinals })
    }
}

/// "Give me what follows from this place on of that part of a snapshot."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantPiece {
    /// Height of the snapshot, or [`OFFERS`].
    pub height: u64,
    /// Part, see [`crate::keep::published::Part`].
    pub part: u32,
    /// Place in it.
    pub offset: u64,
}

impl WantPiece {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.part.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
    }

    /// The whole frame, its kind first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PeerFrameKind::Want as u8];
        self.put(&mut out);
        assert_eq!(out.len(), WANT_BYTES, "a frame that asks for a piece is as long as its fields");
        out
    }

    fn take(bytes: &mut &[u8]) -> Option<WantPiece> {
        Some(WantPiece { height: u64_of(bytes)?, part: u32_of(bytes)?, offset: u64_of(bytes)? })
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<WantPiece> {
        let mut rest = bytes;
        WantPiece::take(&mut rest).filter(|_| rest.is_empty())
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Height of the snapshot, or [`OFFERS`].
    pub height: u64,
    /// Which part of it.
    pub part: u32,
    /// Where in the part these bytes begin.
    pub offset: u64,
    /// Bytes of the whole part.
    pub total: u64,
    /// The bytes from there on.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// The whole frame, its kind first: a piece of a part of `total` bytes.
    ///
    /// # Panics
    /// When the bytes run over the part's end.
    pub fn encode(want: WantPiece, total: u64, bytes: &[u8]) -> Vec<u8> {
        let fits = want.offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= total);
        assert!(fits, "a piece of {} bytes at {} is of a part of {total}", bytes.len(), want.offset);
        let mut out = vec![PeerFrameKind::Piece as u8];
        want.put(&mut out);
        out.extend_from_slice(&total.to_le_bytes());
        out.extend_from_slice(bytes);
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<Piece> {
        let mut rest = bytes;
        let WantPiece { height, part, offset } = WantPiece::take(&mut rest)?;
        let total = u64_of(&mut rest)?;
        Some(Piece { height, part, offset, total, bytes: rest.to_vec() })
    }

    /// The frame that says which snapshots there are.
    pub fn encode_offers(offers: &[Offer]) -> Vec<u8> {
        let entries: Vec<u8> =
            offers.iter().flat_map(|offer| [&offer.height.to_le_bytes()[..], &offer.block].concat()).collect();
        assert_eq!(entries.len(), offers.len() * OFFER_BYTES, "each snapshot is named by height and block");
        Piece::encode(WantPiece { height: OFFERS, part: 0, offset: 0 }, entries.len() as u64, &entries)
    }

    /// Which snapshots the sender has, if that was the question.
    pub fn offers(&self) -> Vec<Offer> {
        let entries = if self.height == OFFERS { &self.bytes[..] } else { &[] };
        let offer = |mut entry: &[u8]| Some(Offer { height: u64_of(&mut entry)?, block: array(&mut entry)? });
        entries.chunks_exact(OFFER_BYTES).take(OFFERS_MAX).filter_map(offer).collect()
    }
}

/// How many transactions a minter takes of whoever it says it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomWord {
    /// For the minters of this height.
    pub height: u64,
    /// So many at most.
    pub transactions: u64,
}

impl RoomWord {
    /// The whole frame, its kind first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PeerFrameKind::Room as u8];
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.transactions.to_le_bytes());
        assert_eq!(out.len(), ROOM_BYTES, "a frame of room is as long as its fields");
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<RoomWord> {
        let mut rest = bytes;
        let word = RoomWord { height: u64_of(&mut rest)?, transactions: u64_of(&mut rest)? };
        rest.is_empty().then_some(word)
    }
}

/// The frame of these peers.
pub fn peers_frame(peers: impl Iterator<Item = Endpoint>) -> Vec<u8> {
    let mut out = vec![PeerFrameKind::Peers as u8];
    for endpoint in peers.take(PEERS_MAX) {
        out.extend_from_slice(&endpoint.transport_key);
        out.extend_from_slice(&endpoint.address);
        out.extend_from_slice(&endpoint.port.to_le_bytes());
    }
    let peers_bytes = out.len() - 1;
    assert!(peers_bytes.is_multiple_of(PEER_BYTES), "a frame of peers has {peers_bytes} bytes of them");
    out
}

/// Reads the body of a frame of peers, behind its kind. Those that are nowhere are passed over.
pub fn read_peers(bytes: &[u8]) -> Option<Vec<Target>> {
    let (peers, after) = bytes.as_chunks::<PEER_BYTES>();
    if peers.len() > PEERS_MAX || !after.is_empty() {
        return None;
    }
    let endpoint = |mut peer: &[u8]| {
        let (transport_key, address) = (array(&mut peer)?, array(&mut peer)?);
        Some(Endpoint { transport_key, address, port: u16_of(&mut peer)? })
    };
    Some(peers.iter().filter_map(|peer| target_of(&endpoint(peer)?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::endpoint::endpoint_of;

    #[test]
    fn frames_come_back_as_they_were_sent_and_no_byte_more_or_less() {
        for number in 0..=u8::MAX {
            assert_eq!(
                PeerFrameKind::of_number(number).map(|kind| kind as u8),
                Some(number).filter(|&number| number < 10)
            );
        }
        let outcome = Outcome { refusal: 3, height: 7, slot: 9, shard: 1, ordinals: vec![4, 5] };
        let want = WantPiece { height: 7, part: 2, offset: 1 << 17 };
        let address = "203.0.113.5:7645".parse().unwrap();
        let peers = peers_frame([endpoint_of(Some(address), [8; 32])].into_iter());
        let hash = [1; 32];
        let said = hello(&hash, &[2; 32], Some((6, |_: &Hash| [9; 48])));
        assert_eq!((outcome.encode().len(), want.encode().len(), peers.len(), said.len()), (36, 21, 51, 86));
        assert_eq!(PeerFrameKind::split(&outcome.encode()), Some((PeerFrameKind::Outcome, &outcome.encode()[1..])));
        assert_eq!(Outcome::read(&outcome.encode()[1..]), Some(outcome.clone()));
        assert!(read_cells(&cells_frame(Some(4), 9)[1..]).is_none(), "a frame of cells has one");
        assert_eq!(WantPiece::read(&want.encode()[1..]), Some(want));
        assert_eq!(read_peers(&peers[1..]), Some(vec![Target { key: [8; 32], address }]));
        assert_eq!(read_hello(&hash, &said), Ok(Claim::Named(6)));
        assert!(hello_is_signed(&hash, &[2; 32], &said, |candidate, _, signature| {
            candidate == 6 && *signature == [9; 48]
        }));
        assert_eq!(read_hello(&hash, &joining_hello(&hash)), Ok(Claim::Joining));
        assert!(!hello_is_signed(&hash, &[2; 32], &joining_hello(&hash), |_, _, _| true));
        let piece = Piece::encode_offers(&[Offer { height: 8, block: hash }]);
        assert_eq!(Piece::read(&piece[1..]).unwrap().offers(), [Offer { height: 8, block: hash }]);
        assert!(Outcome::read(&outcome.encode()[1..35]).is_none() && WantPiece::read(&want.encode()[1..20]).is_none());
        assert!(read_peers(&peers[1..50]).is_none());
        let room = RoomWord { height: 7, transactions: u64::MAX };
        assert_eq!(RoomWord::read(&room.encode()[1..]), Some(room));
        assert!(RoomWord::read(&room.encode()[1..16]).is_none() && RoomWord::read(&[0; 17]).is_none());
        assert_eq!(read_hello(&hash, &said[..85]), Err(HelloError::Malformed));
        assert_eq!(read_hello(&[0; 32], &said), Err(HelloError::OtherChain));
    }

    #[test]
    fn hints_come_with_what_is_told_and_with_nothing_else() {
        let cell = Cell { amount: 7, ..bytemuck::Zeroable::zeroed() };
        let (payload, hint) = ([5; 9], [6; 32]);
        let frame = |told| {
            let mut frame = cells_frame(told, 2);
            put_cell(&mut frame, bytemuck::bytes_of(&cell), &payload, Some(&hint));
            put_cell(&mut frame, bytemuck::bytes_of(&cell), &[], None);
            put_cell(&mut frame, bytemuck::bytes_of(&cell), &[], Some(&hint));
            frame
        };
        let told = frame(Some(4));
        let (height, first, cells) = read_cells(&told[1..]).unwrap();
        let read: Vec<_> = cells.iter().map(|(cell, payload, hint)| (cell.amount, *payload, *hint)).collect();
        assert_eq!((height, first), (Some(4), 2));
        assert_eq!(read, [(7, &payload[..], Some(&hint)), (7, &[], None), (7, &[], Some(&hint))]);
        assert_eq!((cells_about(&told), cells_about(&cells_frame(None, 1))), (2, 1));
        let lengths = [CELLS_HEAD_BYTES, 194 + 9 + 32, 194];
        let whole = [lengths[0] + lengths[1], lengths.iter().sum()];
        for end in CELLS_HEAD_BYTES..told.len() {
            assert_eq!(read_cells(&told[1..end]).is_some(), whole.contains(&end), "{end} bytes of {}", told.len());
        }
        assert!(read_cells(&frame(None)[1..]).is_none(), "whoever brings their own has verified nothing");
    }
}
