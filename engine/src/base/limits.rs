//! Sizes that bound each other.

/// Bytes of a cell that its signature covers, after the chain's 32-byte prefix.
pub const CELL_SIGNED_BYTES: usize = 128;

/// Bytes that a signature is made over: prefix, then the signed part of the cell.
pub const SIGNED_BYTES: usize = 32 + CELL_SIGNED_BYTES;
