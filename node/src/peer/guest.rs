//! A guest: whoever speaks the peers' protocol without being a candidate. It brings transactions of users, or fetches
//! what it needs to join.

use super::frames::{
    CELLS, CELLS_MAX, Outcome, PeerFrameKind, cells_frame, hello, joining_hello, prologue, put_cell, read_hello,
};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Sig;
use dynemix_engine::transaction::cell::Cell;
use dynemix_net::mesh::{
    Claim, Doorkeeper, Event, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerId, Standing, Target, To,
    TransportKey,
};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Bytes of cells that may wait to be sent to a node.
const WAITING_MAX: usize = 256 << 20;

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

/// What a guest hears of a node.
pub enum Heard {
    /// It has let us in.
    Opened(PeerId, TransportKey),
    /// It is gone, or has thrown us out.
    Closed(PeerId),
    /// What became of transactions.
    Outcome(PeerId, Outcome, Instant),
}

/// A program that brings users' transactions to nodes, with a key and a thread of its own.
pub struct Guest {
    mesh: MeshHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Guest {
    /// Calls these nodes, again and again while they are away; `hear` is told on the guest's thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn call(chain: Hash, nodes: Vec<Target>, mut hear: impl FnMut(Heard) + Send + 'static) -> io::Result<Guest> {
        let mut limits = MeshLimits::default();
        limits.of_mut(Standing::Called).outgoing_max[usize::from(CELLS)] = WAITING_MAX;
        let (mesh, handle) = mesh(chain, false, limits, LinkShape::default())?;
        handle.set_targets(nodes);
        let run = move || {
            mesh.run(|event| match event {
                Event::Opened(peer, key, _) => hear(Heard::Opened(peer.id, key)),
                Event::Closed(peer, _) => hear(Heard::Closed(peer.id)),
                Event::Frame(peer, _, body) => {
                    if let Some((PeerFrameKind::Outcome, bytes)) = PeerFrameKind::split(&body)
                        && let Some(outcome) = Outcome::read(bytes)
                    {
                        hear(Heard::Outcome(peer.id, outcome, Instant::now()));
                    }
                }
                Event::TurnedAway(..) => {}
            })
        };
        let thread = std::thread::Builder::new().name("guest".into()).spawn(run)?;
        Ok(Guest { mesh: handle, thread: Some(thread) })
    }

    /// Hands in transactions, as they are chosen: to whom, the first one's ordinal there, and as many as a frame takes.
    pub fn hand_in<'a>(&self, frames: impl IntoIterator<Item = (PeerId, u64, &'a [Cell])>) {
        let frame = |(peer, first, cells): (PeerId, u64, &[Cell])| {
            assert!(cells.len() <= CELLS_MAX, "{} cells in a frame of {CELLS_MAX}", cells.len());
            let mut frame = cells_frame(None, first);
            cells.iter().for_each(|cell| put_cell(&mut frame, bytemuck::bytes_of(cell), &[], None));
            (To::Peer(peer), CELLS, Arc::from(frame))
        };
        self.mesh.send_all(frames.into_iter().map(frame));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.mesh.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
