//! Peers: one mio event loop that keeps encrypted connections to those it is told to, and takes those of others.
//!
//! ```text
//!   sockets ──► channel (Noise XX, pieces) ──► streams of 4 classes ──► frames ──► the caller
//!   commands ──► queue of each peer and class ──► pieces, most urgent class first ──► line ──► sockets
//! ```
//!
//! It knows no protocol: who a peer is, the caller's [`Doorkeeper`] reads from its hello; what a frame means is for
//! whoever gets it. What a peer may say and hold follows from its [`Standing`], the duty that the caller says it has, and
//! from what it was asked for. Everything is bounded: memory of all connections by one budget in [`Share`]s, places by
//! standing, address and network, the work of handshakes by network and in all, time until a hello and of a frame. A
//! peer that is too slow, too fast or talks garbage loses its connection, and nobody else anything.

mod answers;
mod bans;
mod bucket;
mod budget;
mod channel;
mod commands;
mod door;
mod event_loop;
mod frames;
mod handle;
mod link;
mod mutation;
mod nets;
mod options;
mod peer;
mod primitives;
mod rates;
mod roster;
mod sending;
mod standing;
mod whom;

pub use bans::{BAN_POINTS, BAN_TIME, Bans};
pub use bucket::Bucket;
pub use budget::{CALLER_PARTS, Ledger, NODE_PARTS, Parts, SHARES, Share};
pub use channel::{Channel, ChannelError, HANDSHAKE_BYTES_MAX, PIECE_BYTES_MAX, Read, TransportKey, public_key};
pub use door::{Claim, Doorkeeper};
pub use event_loop::Mesh;
pub use frames::{CLASSES, FrameError, Outgoing, Reassembly, Verdict};
pub use handle::{Body, Event, MeshCounters, MeshHandle, OverBudget, PeerInfo};
pub use link::{LinkError, LinkShape};
pub use mutation::Mutation;
#[cfg(feature = "mutations")]
pub use mutation::plant;
pub use nets::Net;
pub use options::{MeshLimits, MeshOptions};
pub use rates::HandshakeWork;
pub use standing::{Bounds, MEMBER_FRAME_MAX, STANDINGS, Standing};
pub use whom::{Names, PeerId, Target, To};
