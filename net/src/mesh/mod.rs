//! Peers: one mio event loop that keeps encrypted connections to those it is told to, and takes those of others.
//!
//! ```text
//!   sockets ──► channel (Noise XX, pieces) ──► streams of 4 classes ──► frames ──► the caller
//!   commands ──► queue of each peer and class ──► pieces, most urgent class first ──► line ──► sockets
//! ```
//!
//! It knows no protocol: who a peer is, the caller's [`Doorkeeper`] reads from its hello; what a frame means is for
//! whoever gets it. Everything is bounded: connections in all, of guests, of one address and in handshake; time until a
//! hello; bytes of a frame by class, of frames that wait here or with the caller, of what waits to be sent. A peer that
//! is too slow, too fast or talks garbage loses its connection, and nobody else anything.

mod bans;
mod channel;
mod door;
mod event_loop;
mod frames;
mod handle;
mod link;
mod options;
mod peer;
mod primitives;
mod roster;

pub use bans::Bans;
pub use channel::{Channel, ChannelError, HANDSHAKE_BYTES_MAX, PIECE_BYTES_MAX, Read, TransportKey, public_key};
pub use door::Doorkeeper;
pub use event_loop::Mesh;
pub use frames::{CLASSES, FrameError, Outgoing, Reassembly};
pub use handle::{Body, Event, MeshCounters, MeshHandle, PeerId, PeerInfo, Target, To};
pub use link::{LinkError, LinkShape};
pub use options::{MEMBER_FRAME_MAX, MeshLimits, MeshOptions};
