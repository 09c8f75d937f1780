//! The clients' door: one mio event loop that brings their frames from sockets straight into memory that the caller
//! supplies.
//!
//! ```text
//!   sockets ──► header ──► the handler says how long the body is and where it goes ──► body ──► the handler
//!   the caller's answers ──► bytes that wait for each connection ──► sockets
//! ```

mod connection;
mod event_loop;
mod handler;
mod places;
mod waker;

pub use connection::{ConnectionId, HEADER_BYTES, PARTS_MAX};
pub use event_loop::{Limits, NetCounters, Server};
pub use handler::{Closing, Handler};
pub use waker::LoopWaker;
