//! What is verified.

use crate::base::ids::Key;

/// A signature to verify: over `prefix` followed by `message`.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Public key.
    pub key: &'a Key,
    /// R and s.
    pub signature: &'a [u8; 64],
    /// The chain's prefix, or empty.
    pub prefix: &'a [u8],
    /// What was signed.
    pub message: &'a [u8],
}
