//! The cursor over untrusted bytes: each step takes what it reads off the front, or says what is wrong.

use super::varint::{self, VarintError};

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A number is malformed.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// The bytes end.
    #[error("the message ends early")]
    Truncated,
    /// Bytes follow the end.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// No such message.
    #[error("message {0} is unknown")]
    Tag(u8),
    /// More of something than there may be.
    #[error("a message lists {0} entries, more than it can hold or may")]
    TooMany(u64),
    /// A field that cannot be so.
    #[error("a field of the message is malformed")]
    Field,
    /// An account that this node does not know: it is behind.
    #[error("account {0} is not known here")]
    UnknownAccount(u32),
}

/// What a step of reading gives.
pub type Read<T> = Result<T, CodecError>;

/// Appends bytes whose number the reader knows.
pub(crate) fn put<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    out.extend_from_slice(bytes);
}

/// As many bytes as the caller has room for.
///
/// # Errors
/// The bytes end.
pub fn array<const N: usize>(bytes: &mut &[u8]) -> Read<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
    *bytes = rest;
    Ok(*array)
}

/// A LEB128 number.
///
/// # Errors
/// The bytes end, or it is not the shortest form.
pub fn number(bytes: &mut &[u8]) -> Read<u64> {
    Ok(varint::read(bytes)?)
}

/// A LEB128 number of 16 bits.
pub(crate) fn small(bytes: &mut &[u8]) -> Read<u16> {
    u16::try_from(number(bytes)?).map_err(|_| CodecError::Field)
}

/// A count of entries that take at least `entry_bytes` each: bounded before anything is reserved.
///
/// # Errors
/// More than `max`, or than the bytes can hold.
pub fn count(bytes: &mut &[u8], entry_bytes: usize, max: usize) -> Read<usize> {
    let count = number(bytes)?;
    if count > max as u64 || count.saturating_mul(entry_bytes as u64) > bytes.len() as u64 {
        return Err(CodecError::TooMany(count));
    }
    Ok(count as usize)
}

/// Bytes that begin with their number, `max` at most.
///
/// # Errors
/// More than that, or than there are.
pub fn slice<'b>(bytes: &mut &'b [u8], max: usize) -> Read<&'b [u8]> {
    let length = count(bytes, 1, max)?;
    take(bytes, length)
}

/// So many bytes, whose number is known.
pub(crate) fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Read<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CodecError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

pub(crate) fn le_u16(bytes: &mut &[u8]) -> Read<u16> {
    array(bytes).map(u16::from_le_bytes)
}

pub(crate) fn le_u32(bytes: &mut &[u8]) -> Read<u32> {
    array(bytes).map(u32::from_le_bytes)
}

pub(crate) fn le_u64(bytes: &mut &[u8]) -> Read<u64> {
    array(bytes).map(u64::from_le_bytes)
}
