//! The transaction cell: 192 bytes, three cache lines, the same on the wire and in memory.

use crate::base::hash::Hash;
use crate::base::ids::{Key, Prefix};
use crate::base::limits::{CELL_BYTES, CELL_SIGNED_BYTES, OUTPUT_BYTES, SIGNED_BYTES};
use bytemuck::{Pod, Zeroable};

/// The one version there is.
pub const CELL_VERSION: u8 = 1;
/// A transaction, little endian, laid out as it is signed and sent (protocol section "Transactions").
///
/// ```text
///   0 sender 32 | 32 recipient 32 | 64 amount 8 | 72 sequence 8 | 80 expires 8 | 88 version 1, kind 1, outputs 2, reserved 4
///  96 payload hash 32 | 128 signature 64
/// ```
///
/// A `Cell` is any 192 bytes: [`super::check`] is the door that makes sense of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Cell {
    /// Ed25519 key of the account that pays and signs.
    pub sender: Key,
    /// Key of the account that receives `amount`.
    pub recipient: Key,
    /// Units of the first output.
    pub amount: u64,
    /// Must equal the sender's next sequence number; below 2^32.
    pub sequence: u64,
    /// The last slot in which the transaction may enter a block.
    pub expires_slot: u64,
    /// Must be [`CELL_VERSION`], else the cell is refused.
    pub version: u8,
    /// Number of a [`TransactionKind`]; others are refused.
    pub kind: u8,
    /// Outputs, the one in the cell included.
    pub outputs: u16,
    /// Must be zero, else the cell is refused.
    pub reserved: u32,
    /// BLAKE3 of the payload, or zero where the kind has none.
    pub payload_hash: Hash,
    /// Ed25519 signature (R, s) over prefix and the first 128 bytes.
    pub signature: [u8; 64],
}

const _: () = {
    assert!(size_of::<Cell>() == CELL_BYTES && align_of::<Cell>() == 8);
    assert!(std::mem::offset_of!(Cell, recipient) == 32);
    assert!(std::mem::offset_of!(Cell, amount) == 64);
    assert!(std::mem::offset_of!(Cell, sequence) == 72);
    assert!(std::mem::offset_of!(Cell, expires_slot) == 80);
    assert!(std::mem::offset_of!(Cell, version) == 88);
    assert!(std::mem::offset_of!(Cell, kind) == 89);
    assert!(std::mem::offset_of!(Cell, outputs) == 90);
    assert!(std::mem::offset_of!(Cell, reserved) == 92);
    assert!(std::mem::offset_of!(Cell, payload_hash) == 96);
    assert!(std::mem::offset_of!(Cell, signature) == CELL_SIGNED_BYTES);
};

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransactionKind {
    /// One sender, one recipient.
    Transfer = 1,
    /// One sender, 2 to [`OUTPUTS_MAX`](crate::base::limits::OUTPUTS_MAX) outputs; each further output costs the chain's fee.
    MultiTransfer = 2,
    /// Gives the sender's account a name, for good; `amount` is locked with it. The payload is the name.
    Register = 3,
    /// Puts `amount` at stake. `recipient` names one of the last ancestors, the payload is voting key and proof of
    /// possession.
    Stake = 6,
    /// Takes `amount` from the stake. `recipient` names one of the last ancestors.
    Unstake = 7,
}

impl TransactionKind {
    /// The kind of this number, if there is one.
    pub fn from_number(number: u8) -> Option<TransactionKind> {
        match number {
            1 => Some(TransactionKind::Transfer),
            2 => Some(TransactionKind::MultiTransfer),
            3 => Some(TransactionKind::Register),
            6 => Some(TransactionKind::Stake),
            7 => Some(TransactionKind::Unstake),
            _ => None,
        }
    }
}

/// A further output of a MultiTransfer, as it stands in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Key of the account that receives `amount`.
    pub recipient: Key,
    /// Units that the recipient gets.
    pub amount: u64,
}

impl Cell {
    /// The part of the cell that the signature covers.
    pub fn signed_part(&self) -> &[u8; CELL_SIGNED_BYTES] {
        bytemuck::bytes_of(self)[..CELL_SIGNED_BYTES].try_into().expect("a cell has 192 bytes")
    }

    /// The transaction's id: BLAKE3 of prefix and signed part. Two signatures of one content have one id.
    pub fn id(&self, prefix: &Prefix) -> Hash {
        let mut signed = [0u8; SIGNED_BYTES];
        signed[..32].copy_from_slice(prefix);
        signed[32..].copy_from_slice(self.signed_part());
        *blake3::hash(&signed).as_bytes()
    }
}

/// What a cell says of its payload: BLAKE3, or zero of none.
pub fn payload_hash(payload: &[u8]) -> Hash {
    if payload.is_empty() { [0; 32] } else { *blake3::hash(payload).as_bytes() }
}

/// The further outputs in a payload whose length has been checked to be a multiple of [`OUTPUT_BYTES`].
pub fn payload_outputs(payload: &[u8]) -> impl Iterator<Item = Output> + '_ {
    payload.chunks_exact(OUTPUT_BYTES).map(|bytes| Output {
        recipient: bytes[..32].try_into().expect("32 bytes"),
        amount: u64::from_le_bytes(bytes[32..].try_into().expect("8 bytes")),
    })
}

/// The payload bytes of these further outputs.
pub fn payload_of(outputs: &[Output]) -> Vec<u8> {
    outputs.iter().flat_map(|output| output.recipient.into_iter().chain(output.amount.to_le_bytes())).collect()
}
