//! What everything else is named by: keys, indices, seats, signatures, addresses.

/// A 32-byte Ed25519 public key as it travels.
pub type Key = [u8; 32];

/// The first 32 bytes of everything that is signed for one purpose on one chain.
pub type Prefix = [u8; 32];

/// An account's place in the columns.
pub type AccountIndex = u32;

/// A place in a committee.
pub type Seat = u16;

/// A signature or an aggregate of some: a compressed point of G1, or the stub's.
pub type Sig = [u8; 48];

/// A minter's voting key: a compressed point of G2.
pub type VoteKey = [u8; 96];

/// Where a minter is reached, and by which key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// An IPv6 address, or an IPv4 one mapped into it; zeros: nowhere, it calls itself.
    pub address: [u8; 16],
    /// TCP port.
    pub port: u16,
    /// Static key of the transport.
    pub transport_key: Key,
}
