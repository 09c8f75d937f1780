//! A guest: whoever speaks the peers' protocol without being a candidate. It brings transactions, or fetches what it
//! needs to join.

use super::frames::{hello, prologue, read_hello};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Sig;
use dynemix_net::mesh::{Doorkeeper, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, TransportKey};
use std::io;

/// Lets in whoever was called: who a node is, its static key has shown.
pub struct GuestDoor {
    chain: Hash,
}

impl Doorkeeper for GuestDoor {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        hello(&self.chain, handshake_hash, None::<(u32, fn(&Hash) -> Sig)>)
    }

    fn admit(&self, hello: &[u8], _: &TransportKey, handshake_hash: &[u8; 32]) -> Result<Option<u32>, String> {
        // Whatever it calls itself: names are not looked at here, so that nobody can take another's.
        read_hello(&self.chain, handshake_hash, hello, |_, _, _| true).map(|_| None).map_err(|error| error.to_string())
    }
}

/// A guest's mesh, under a key of its own that nobody knows.
///
/// # Errors
/// When the system refuses.
pub fn mesh(chain: Hash, limits: MeshLimits, link: LinkShape) -> io::Result<(Mesh<GuestDoor>, MeshHandle)> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let options = MeshOptions { listen: None, prologue: prologue(&chain), secret, limits, link };
    Mesh::new(options, GuestDoor { chain })
}
