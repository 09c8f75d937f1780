//! What clients and nodes say to each other: the frames of protocol version 1.
//!
//! ```text
//!   every frame:  body length u32 | kind u8 | 0 u8 | count u16 | body          (header 8 bytes, little endian)
//!   -> HELLO      wire version u32 | 0 u32 | genesis hash 32                    first frame of a client
//!   <- WELCOME    slot u64 | height u64 | slot_ms u64
//!   -> SUBMIT     count cells of 192 bytes, 1..=64
//!   -> PAYLOAD    one cell, then its payload of at most 3 960 bytes             count = 1
//!   <- OUTCOME    count records: ordinal u32 | outcome u8 | 0 u8 x 3           ordinal: cells before it on this connection
//!   <- REFUSED    outcome u8 | 0 u8 x 7                                         then the connection is closed
//! ```
//!
//! An outcome is 0 for final (durable, in the state) or the number of a [`Refusal`].

use crate::base::hash::Hash;
use crate::base::limits::{CELL_BYTES, PAYLOAD_BYTES_MAX};
use crate::base::refusal::Refusal;

/// The version that a hello must name.
pub const WIRE_VERSION: u32 = 1;
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 8;
/// Cells in one SUBMIT at most.
pub const SUBMIT_CELLS_MAX: u16 = 64;
/// Bytes of a HELLO's body.
pub const HELLO_BYTES: usize = 40;
/// Bytes of a WELCOME's body.
pub const WELCOME_BYTES: usize = 24;
/// Bytes of one record in an OUTCOME.
pub const OUTCOME_BYTES: usize = 8;
/// The outcome number of a transaction that is final.
pub const OUTCOME_FINAL: u8 = 0;

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Client's first word.
    Hello = 1,
    /// Node's answer to it.
    Welcome = 2,
    /// Cells without payload.
    Submit = 3,
    /// One cell with its payload.
    Payload = 4,
    /// What became of cells.
    Outcome = 5,
    /// Why the connection ends.
    Refused = 6,
}

/// A frame's first eight bytes, as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that follow.
    pub length: u32,
    /// A [`FrameKind`].
    pub kind: u8,
    /// Records in the body, where the kind counts them.
    pub count: u16,
}

impl Header {
    /// Reads a header; any eight bytes are one.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Header {
        Header {
            length: u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes")),
            kind: bytes[4],
            count: u16::from_le_bytes(bytes[6..].try_into().expect("2 bytes")),
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind;
        bytes[6..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }
}

/// What a client may send next, after its header has been checked against the static maxima.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A hello's body.
    Hello,
    /// So many cells.
    Cells(u16),
    /// One cell, and a payload of so many bytes.
    CellWithPayload(u32),
}

/// Checks the header of a frame from a client.
///
/// # Errors
/// [`Refusal::FrameUnknown`], [`Refusal::FrameTooLong`] or [`Refusal::FrameLength`].
pub fn incoming(header: &Header) -> Result<Incoming, Refusal> {
    const PAYLOAD_LENGTH_MAX: u32 = (CELL_BYTES + PAYLOAD_BYTES_MAX) as u32;
    let bounded = |max: u32| if header.length > max { Err(Refusal::FrameTooLong) } else { Ok(()) };
    match header.kind {
        kind if kind == FrameKind::Hello as u8 => {
            bounded(HELLO_BYTES as u32)?;
            if header.length as usize == HELLO_BYTES { Ok(Incoming::Hello) } else { Err(Refusal::FrameLength) }
        }
        kind if kind == FrameKind::Submit as u8 => {
            bounded(u32::from(SUBMIT_CELLS_MAX) * CELL_BYTES as u32)?;
            let fits = header.count > 0 && header.length as usize == usize::from(header.count) * CELL_BYTES;
            if fits { Ok(Incoming::Cells(header.count)) } else { Err(Refusal::FrameLength) }
        }
        kind if kind == FrameKind::Payload as u8 => {
            bounded(PAYLOAD_LENGTH_MAX)?;
            let fits = header.count == 1 && header.length as usize > CELL_BYTES;
            if fits {
                Ok(Incoming::CellWithPayload(header.length - CELL_BYTES as u32))
            } else {
                Err(Refusal::FrameLength)
            }
        }
        _ => Err(Refusal::FrameUnknown),
    }
}

/// A whole HELLO frame.
pub fn hello(genesis_hash: &Hash) -> Vec<u8> {
    let mut frame = Header { length: HELLO_BYTES as u32, kind: FrameKind::Hello as u8, count: 0 }.encode().to_vec();
    frame.extend(WIRE_VERSION.to_le_bytes());
    frame.extend([0; 4]);
    frame.extend(genesis_hash);
    frame
}

/// Checks a HELLO's body.
///
/// # Errors
/// [`Refusal::WireVersion`] or [`Refusal::WrongChain`].
pub fn check_hello(body: &[u8; HELLO_BYTES], genesis_hash: &Hash) -> Result<(), Refusal> {
    if body[..4] != WIRE_VERSION.to_le_bytes() {
        return Err(Refusal::WireVersion);
    }
    if body[8..] != genesis_hash[..] {
        return Err(Refusal::WrongChain);
    }
    Ok(())
}

/// What a node says of itself to a client that it welcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The current slot.
    pub slot: u64,
    /// Blocks so far.
    pub height: u64,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
}

impl Welcome {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame =
            Header { length: WELCOME_BYTES as u32, kind: FrameKind::Welcome as u8, count: 0 }.encode().to_vec();
        for number in [self.slot, self.height, self.slot_ms] {
            frame.extend(number.to_le_bytes());
        }
        frame
    }

    /// Reads the body.
    pub fn decode(body: &[u8; WELCOME_BYTES]) -> Welcome {
        let number = |i: usize| u64::from_le_bytes(body[8 * i..8 * i + 8].try_into().expect("8 bytes"));
        Welcome { slot: number(0), height: number(1), slot_ms: number(2) }
    }
}

/// One record of an OUTCOME frame.
pub fn outcome_record(ordinal: u32, outcome: Result<(), Refusal>) -> [u8; OUTCOME_BYTES] {
    let mut record = [0; OUTCOME_BYTES];
    record[..4].copy_from_slice(&ordinal.to_le_bytes());
    record[4] = outcome.map_or_else(|refusal| refusal as u8, |()| OUTCOME_FINAL);
    record
}

/// A whole REFUSED frame.
pub fn refused(refusal: Refusal) -> [u8; HEADER_BYTES + 8] {
    let mut frame = [0; HEADER_BYTES + 8];
    frame[..HEADER_BYTES].copy_from_slice(&Header { length: 8, kind: FrameKind::Refused as u8, count: 0 }.encode());
    frame[HEADER_BYTES] = refusal as u8;
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_held_to_their_kind() {
        let header = |kind: FrameKind, length: u32, count: u16| Header { length, kind: kind as u8, count };
        assert_eq!(incoming(&header(FrameKind::Hello, 40, 0)), Ok(Incoming::Hello));
        assert_eq!(incoming(&header(FrameKind::Hello, 39, 0)), Err(Refusal::FrameLength));
        assert_eq!(incoming(&header(FrameKind::Hello, 41, 0)), Err(Refusal::FrameTooLong));
        assert_eq!(incoming(&header(FrameKind::Submit, 384, 2)), Ok(Incoming::Cells(2)));
        assert_eq!(incoming(&header(FrameKind::Submit, 383, 2)), Err(Refusal::FrameLength));
        assert_eq!(incoming(&header(FrameKind::Submit, 0, 0)), Err(Refusal::FrameLength));
        assert_eq!(incoming(&header(FrameKind::Submit, u32::MAX, 64)), Err(Refusal::FrameTooLong));
        assert_eq!(incoming(&header(FrameKind::Payload, 232, 1)), Ok(Incoming::CellWithPayload(40)));
        assert_eq!(incoming(&header(FrameKind::Payload, 192, 1)), Err(Refusal::FrameLength));
        assert_eq!(incoming(&header(FrameKind::Payload, 4_153, 1)), Err(Refusal::FrameTooLong));
        assert_eq!(incoming(&header(FrameKind::Welcome, 24, 0)), Err(Refusal::FrameUnknown));
        let some = header(FrameKind::Submit, 192 * 3, 3);
        assert_eq!(Header::decode(&some.encode()), some);
    }
}
