//! A record of the log: a head, a payload, zeros up to 8, and a checksum that chains it to the one before.

use super::page::Sum;
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

pub(crate) const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"DREC");

/// What stands before a payload.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct RecordHead {
    pub(crate) magic: u32,
    pub(crate) bytes: u32,
    pub(crate) number: u64,
    pub(crate) checksum: Sum,
}
const _: () = {
    assert!(size_of::<RecordHead>() == 4 + 4 + 8 + 32, "padding or another size");
    assert!(align_of::<RecordHead>() == 8);
    assert!(offset_of!(RecordHead, magic) == 0);
    assert!(offset_of!(RecordHead, bytes) == 4);
    assert!(offset_of!(RecordHead, number) == 8);
    assert!(offset_of!(RecordHead, checksum) == 16);
};
pub(crate) const RECORD_HEAD_BYTES: u64 = size_of::<RecordHead>() as u64;

/// The running checksum after a record.
pub(crate) fn record_checksum(before: &Sum, number: u64, payload: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&number.to_le_bytes()).update(&(payload.len() as u32).to_le_bytes());
    // Worth a second core for the bodies of large blocks only.
    if payload.len() > 1 << 20 {
        hasher.update_rayon(payload)
    } else {
        hasher.update(payload)
    };
    *hasher.finalize().as_bytes()
}

/// Bytes that a record of such a payload takes.
pub(crate) fn record_bytes(payload: usize) -> u64 {
    (RECORD_HEAD_BYTES + payload as u64).next_multiple_of(8)
}

/// The bytes of a record with this payload.
pub(crate) fn encode(out: &mut Vec<u8>, number: u64, checksum: Sum, payload: &[u8]) {
    out.clear();
    let bytes = u32::try_from(payload.len()).expect("a record's payload is longer than its head can say");
    let head = RecordHead { magic: RECORD_MAGIC, bytes, number, checksum };
    out.extend_from_slice(bytemuck::bytes_of(&head));
    out.extend_from_slice(payload);
    out.resize(record_bytes(payload.len()) as usize, 0);
}
