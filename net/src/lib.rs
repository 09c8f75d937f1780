//! A lean network: mio event loops, no runtime, no protocol.
//!
//! * [`Server`] brings clients' frames from sockets straight into memory that the caller supplies.
//! * [`mesh`] connects nodes to each other: encrypted, by names that are proved, with budgets for everyone.
//!
//! For the server a frame is a header of fixed length and a body; the [`Handler`] looks at each header, says how long
//! the body is and where its bytes go, and is told when they are all there. The next header is read in the same system
//! call as the body before it, so that a busy connection costs one call a frame and no copy.
//!
//! Everything is bounded at start: connections, bytes waiting to be sent to one peer and to all, and the time that a
//! frame may take once it has begun.

#![forbid(unsafe_code)]

pub mod mesh;
mod server;

pub use server::{Closing, ConnectionId, HEADER_BYTES, Handler, Limits, LoopWaker, NetCounters, PARTS_MAX, Server};
