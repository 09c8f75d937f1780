//! Frames between nodes, within the four classes of the mesh.
//!
//! ```text
//!   kind u8 | body
//!   0 message   of consensus, see `dynemix_engine::consensus::codec`
//!   1 cells     told for u64 | first ordinal u64 | each: cell 192, payload length u16, payload
//!               told for: a height, by a node to its minters; 0 of a user's own transactions
//!   2 outcome   refusal u8 (0: final) | height u64 | slot u64 | shard u16 | ordinals u64 each
//!   3 peers     each: transport key 32 | address 16 | port u16
//!   4 want      height u64 | part u32 | offset u64                    of a snapshot; height 0: which ones there are
//!   5 piece     height u64 | part u32 | offset u64 | of u64 | bytes   of height 0: each height u64, block 32
//!
//!   hello       version u8 | genesis 32 | 0, or 1 and candidate u32, signature 48 over the handshake's hash
//! ```

use crate::keep::published::Offer;
use dynemix_engine::cell::{CELL_BYTES, Cell, PAYLOAD_BYTES_MAX};
use dynemix_engine::consensus::message::{Kind, Message, ShardMessage, Signed};
use dynemix_engine::consensus::signing::Sig;
use dynemix_engine::hash::{Hash, keyed, purpose_key};
use dynemix_engine::system::record::Endpoint;
use dynemix_net::mesh::Target;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

/// Version of everything between nodes.
pub const PEER_VERSION: u8 = 1;
/// Classes of the mesh, most urgent first.
pub const VOTES: u8 = 0;
/// What a shard round needs at once.
pub const ROUNDS: u8 = 1;
/// Bodies and history.
pub const BODIES: u8 = 2;
/// Users' transactions and all else.
pub const CELLS: u8 = 3;

/// Kinds of frames.
pub const FRAME_MESSAGE: u8 = 0;
/// See above.
pub const FRAME_CELLS: u8 = 1;
/// See above.
pub const FRAME_OUTCOME: u8 = 2;
/// See above.
pub const FRAME_PEERS: u8 = 3;
/// See above.
pub const FRAME_WANT: u8 = 4;
/// See above.
pub const FRAME_PIECE: u8 = 5;
/// The height that asks which snapshots there are.
pub const OFFERS: u64 = 0;

/// Cells of one frame at most.
pub const CELLS_MAX: usize = 1_024;
/// Peers of one frame at most.
pub const PEERS_MAX: usize = 64;
/// Snapshots of one frame at most.
const OFFERS_MAX: usize = 16;

static HELLO_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix node hello v1"));

/// What nodes of one chain agree on before they shake hands.
pub fn prologue(genesis: &Hash) -> Vec<u8> {
    [&b"dynemix peer "[..], &[PEER_VERSION], genesis].concat()
}

/// What a hello's signature is of.
fn hello_digest(genesis: &Hash, handshake_hash: &[u8; 32]) -> Hash {
    // A kind of its own would do as well; the key keeps it apart from all that consensus signs.
    let hash = keyed(&HELLO_KEY, handshake_hash);
    Signed { kind: Kind::Endpoint, height: 0, number: 0, shard: u16::MAX, justified_by: u64::MAX, hash }.digest(genesis)
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
    out
}

/// Who says a hello; `verify` judges a candidate's signature.
///
/// # Errors
/// Why it is refused.
pub fn read_hello(
    genesis: &Hash,
    handshake_hash: &[u8; 32],
    hello: &[u8],
    verify: impl FnOnce(u32, &Hash, &Sig) -> bool,
) -> Result<Option<u32>, String> {
    let Some((&version, rest)) = hello.split_first() else { return Err("an empty hello".into()) };
    if version != PEER_VERSION {
        return Err(format!("version {version}, this node speaks {PEER_VERSION}"));
    }
    let Some(rest) = rest.strip_prefix(genesis) else { return Err("another chain".into()) };
    match rest {
        [0] => Ok(None),
        [1, rest @ ..] if rest.len() == 52 => {
            let candidate = u32::from_le_bytes(rest[..4].try_into().expect("4 bytes"));
            let signature = rest[4..].try_into().expect("48 bytes");
            if verify(candidate, &hello_digest(genesis, handshake_hash), &signature) {
                Ok(Some(candidate))
            } else {
                Err(format!("the hello of candidate {candidate} is not signed by its voting key"))
            }
        }
        _ => Err("a malformed hello".into()),
    }
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

/// Appends a cell to a frame of cells.
pub fn put_cell(out: &mut Vec<u8>, cell: &[u8], payload: &[u8]) {
    out.extend_from_slice(cell);
    out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Begins a frame of cells: of a user, or told to the minters of a height.
pub fn cells_frame(told: Option<u64>, first_ordinal: u64) -> Vec<u8> {
    let mut out = vec![FRAME_CELLS];
    out.extend_from_slice(&told.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&first_ordinal.to_le_bytes());
    out
}

/// A frame of cells, read: for which height another node tells them, the first ordinal, and the cells with their
/// payloads.
pub type Cells<'a> = (Option<u64>, u64, Vec<(Cell, &'a [u8])>);

/// Reads the body of a frame of cells, behind its kind.
pub fn read_cells(bytes: &[u8]) -> Option<Cells<'_>> {
    let (head, mut rest) = bytes.split_first_chunk::<16>()?;
    let mut cells = Vec::with_capacity((rest.len() / CELL_BYTES).min(CELLS_MAX));
    while !rest.is_empty() {
        let (cell, after) = rest.split_at_checked(CELL_BYTES)?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (payload, after) = after.split_at_checked(length)?;
        if length > PAYLOAD_BYTES_MAX || cells.len() >= CELLS_MAX {
            return None;
        }
        cells.push((bytemuck::pod_read_unaligned(cell), payload));
        rest = after;
    }
    let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    Some((Some(eight(&head[..8])).filter(|&height| height > 0), eight(&head[8..]), cells))
}

/// What became of a client's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// 0 when they are final, else the refusal's number.
    pub refusal: u8,
    /// Height of the block; 0 if refused.
    pub height: u64,
    /// Its slot.
    pub slot: u64,
    /// The shard.
    pub shard: u16,
    /// Which, by the order in which they came on this connection.
    pub ordinals: Vec<u64>,
}

impl Outcome {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FRAME_OUTCOME, self.refusal];
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        self.ordinals.iter().for_each(|ordinal| out.extend_from_slice(&ordinal.to_le_bytes()));
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<Outcome> {
        let (head, rest) = bytes.split_first_chunk::<19>()?;
        let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        let (height, slot) = (eight(&head[1..9]), eight(&head[9..17]));
        let shard = u16::from_le_bytes(head[17..].try_into().expect("2 bytes"));
        let ordinals = rest.chunks_exact(8).map(eight).collect();
        (rest.len() % 8 == 0).then_some(Outcome { refusal: head[0], height, slot, shard, ordinals })
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

const WANT_BYTES: usize = 20;

impl WantPiece {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.to_le_bytes());
        out.extend_from_slice(&self.part.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
    }

    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FRAME_WANT];
        self.put(&mut out);
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<WantPiece> {
        let bytes: &[u8; WANT_BYTES] = bytes.try_into().ok()?;
        let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let part = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes"));
        Some(WantPiece { height: eight(0), part, offset: eight(12) })
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// As asked.
    pub height: u64,
    /// As asked.
    pub part: u32,
    /// As asked.
    pub offset: u64,
    /// Bytes of the whole part.
    pub total: u64,
    /// These ones.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// The frame.
    pub fn encode(want: WantPiece, total: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![FRAME_PIECE];
        want.put(&mut out);
        out.extend_from_slice(&total.to_le_bytes());
        out.extend_from_slice(bytes);
        out
    }

    /// Reads the body, behind the kind.
    pub fn read(bytes: &[u8]) -> Option<Piece> {
        let (want, rest) = bytes.split_at_checked(WANT_BYTES)?;
        let (total, bytes) = rest.split_first_chunk::<8>()?;
        let WantPiece { height, part, offset } = WantPiece::read(want)?;
        Some(Piece { height, part, offset, total: u64::from_le_bytes(*total), bytes: bytes.to_vec() })
    }

    /// The frame that says which snapshots there are.
    pub fn encode_offers(offers: &[Offer]) -> Vec<u8> {
        let entries: Vec<u8> =
            offers.iter().flat_map(|offer| [&offer.height.to_le_bytes()[..], &offer.block].concat()).collect();
        Piece::encode(WantPiece { height: OFFERS, part: 0, offset: 0 }, entries.len() as u64, &entries)
    }

    /// Which snapshots the sender has, if that was the question.
    pub fn offers(&self) -> Vec<Offer> {
        let entries = if self.height == OFFERS { &self.bytes[..] } else { &[] };
        let offer = |entry: &[u8]| Offer {
            height: u64::from_le_bytes(entry[..8].try_into().expect("8 bytes")),
            block: entry[8..].try_into().expect("32 bytes"),
        };
        entries.chunks_exact(40).take(OFFERS_MAX).map(offer).collect()
    }
}

/// Where an endpoint is reached, if anywhere.
pub fn target_of(endpoint: &Endpoint) -> Option<Target> {
    let address = Ipv6Addr::from(endpoint.address).to_canonical();
    let somewhere = !address.is_unspecified() && endpoint.port != 0;
    somewhere.then(|| Target { key: endpoint.transport_key, address: SocketAddr::new(address, endpoint.port) })
}

/// The endpoint of an address and a key.
pub fn endpoint_of(address: Option<SocketAddr>, transport_key: [u8; 32]) -> Endpoint {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    match address {
        Some(address) => Endpoint { address: octets(address.ip()), port: address.port(), transport_key },
        None => Endpoint { transport_key, ..Endpoint::default() },
    }
}

/// The frame of these peers.
pub fn peers_frame(peers: impl Iterator<Item = Endpoint>) -> Vec<u8> {
    let mut out = vec![FRAME_PEERS];
    for endpoint in peers.take(PEERS_MAX) {
        out.extend_from_slice(&endpoint.transport_key);
        out.extend_from_slice(&endpoint.address);
        out.extend_from_slice(&endpoint.port.to_le_bytes());
    }
    out
}

/// Reads the body of a frame of peers, behind its kind.
pub fn read_peers(bytes: &[u8]) -> Option<Vec<Target>> {
    if bytes.len() > PEERS_MAX * 50 || !bytes.len().is_multiple_of(50) {
        return None;
    }
    let endpoint = |bytes: &[u8]| Endpoint {
        transport_key: bytes[..32].try_into().expect("32 bytes"),
        address: bytes[32..48].try_into().expect("16 bytes"),
        port: u16::from_le_bytes(bytes[48..].try_into().expect("2 bytes")),
    };
    Some(bytes.chunks_exact(50).filter_map(|bytes| target_of(&endpoint(bytes))).collect())
}
