//! A guest: whoever speaks the peers' protocol without being a candidate. It brings transactions, or fetches what it
//! needs to join.

use super::frames::{hello, joining_hello, prologue, read_hello};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Sig;
use dynemix_net::mesh::{Claim, Doorkeeper, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, TransportKey};
use std::io;

/// Lets in whoever was called: who a node is, its static key has shown.
pub struct GuestDoor {
    chain: Hash,
    joins: bool,
}

impl Doorkeeper for GuestDoor {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        if self.joins {
            return joining_hello(&self.chain);
        }
        hello(&self.chain, handshake_hash, None::<(u32, fn(&Hash) -> Sig)>)
    }

    fn read(&self, hello: &[u8]) -> Result<Claim, String> {
        // Whatever it calls itself: names are not looked at here, so that nobody can take another's.
        read_hello(&self.chain, hello).map(|_| Claim::Guest).map_err(|error| error.to_string())
    }

    fn prove(&self, _: &[u8], _: u32, _: &TransportKey, _: &[u8; 32]) -> bool {
        false
    }
}

/// A guest's mesh, under a key of its own that nobody knows. Who `joins` says so: nodes keep places for that.
///
/// # Errors
/// When the system refuses.
pub fn mesh(
    chain: Hash,
    joins: bool,
    limits: MeshLimits,
    link: LinkShape,
) -> io::Result<(Mesh<GuestDoor>, MeshHandle)> {
    let limits = limits.of_caller();
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let options = MeshOptions { listen: None, prologue: prologue(&chain), secret, limits, link };
    Mesh::new(options, GuestDoor { chain, joins })
}
