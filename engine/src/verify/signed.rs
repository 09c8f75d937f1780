//! What is verified.

use crate::base::ids::Key;

/// The x coordinate of a signature's R below p, 255 bits, little endian: what spares a verifier a square root.
pub type Hint = [u8; 32];

/// A signature to verify: over `prefix` followed by `message`.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Ed25519 public key that the signature should be of.
    pub key: &'a Key,
    /// R and s.
    pub signature: &'a [u8; 64],
    /// The chain's prefix, or empty.
    pub prefix: &'a [u8],
    /// What was signed.
    pub message: &'a [u8],
    /// The x coordinate of R, if somebody says it: checking it costs a fortieth of a root. A wrong one is only counted,
    /// R is decoded then.
    pub hint: Option<&'a Hint>,
}
