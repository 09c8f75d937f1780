//! To whom something is said: connections and names.

use super::channel::TransportKey;
use std::net::SocketAddr;
use std::sync::Arc;

/// One connection of the mesh; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// Whether a name is good for something.
pub type Names = Arc<dyn Fn(u32) -> bool + Send + Sync>;

/// Whom to keep a connection to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its static key: whoever else answers is not wanted.
    pub key: TransportKey,
    /// Where it listens.
    pub address: SocketAddr,
}

/// To whom a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Whoever has this name, if there is a connection.
    Name(u32),
    /// Whoever is at the end of this connection, if it still is.
    Peer(PeerId),
    /// So many peers, whoever they are.
    Some(usize),
}

impl To {
    /// The connection, if it goes to no other.
    pub(super) fn peer(self) -> Option<PeerId> {
        if let To::Peer(peer) = self { Some(peer) } else { None }
    }
}
