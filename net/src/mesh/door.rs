//! The door of the mesh: who lets peers in, what stands before and beside their streams, and what ends them.

use super::channel::TransportKey;
use std::time::Duration;

/// The class of a hello, and of a piece that only says "here I am": neither is a stream.
pub(super) const CLASS_HELLO: u8 = 255;
pub(super) const CLASS_ALIVE: u8 = 254;
/// Silence after which a peer says something, and after which it is taken to be gone.
pub(super) const SILENCE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60));
/// An unfinished frame must bring so many bytes in so much time.
pub(super) const SLOWEST: (usize, Duration) = (4_096, Duration::from_secs(10));

/// Says who we are, and finds out who others are.
pub trait Doorkeeper: Send {
    /// What proves who we are on the connection of this handshake: at most 1 000 bytes.
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8>;
    /// Who says this on the connection of this handshake: a name, or a guest.
    ///
    /// # Errors
    /// Why it is not let in, for the log.
    fn admit(&self, hello: &[u8], remote: &TransportKey, handshake_hash: &[u8; 32]) -> Result<Option<u32>, String>;
}
