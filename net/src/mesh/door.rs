//! The door of the mesh: who lets peers in, what stands before and beside their streams, and what ends them.

use super::channel::TransportKey;
use std::time::Duration;

/// The class of a hello, and of a piece that only says "here I am": neither is a stream.
pub(super) const CLASS_HELLO: u8 = 255;
pub(super) const CLASS_ALIVE: u8 = 254;
/// Silence after which a peer says something, and after which it is taken to be gone.
pub(super) const SILENCE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60));

/// Who someone claims to be, before anything of it is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody with a name.
    Guest,
    /// Nobody with a name, who fetches what it needs to join.
    Joining,
    /// Whoever has this name.
    Named(u32),
}

/// Says who we are, and finds out who others are. Whoever has called says its hello first; ours follows when its hello
/// was admitted, so a stranger has said who it is, and paid for a place in our rates, before we sign anything.
pub trait Doorkeeper: Send {
    /// What proves who we are on the connection of this handshake: at most 1 000 bytes.
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8>;
    /// Who a hello says that its sender is. It must cost nothing: no signature is looked at. A name that nobody wants
    /// is none.
    ///
    /// # Errors
    /// Why it is no hello, for the log.
    fn read(&self, hello: &[u8]) -> Result<Claim, String>;
    /// Whether a hello proves the name that it claims, on the connection of this handshake. It may cost a millisecond.
    fn prove(&self, hello: &[u8], name: u32, remote: &TransportKey, handshake_hash: &[u8; 32]) -> bool;
}
