//! What the server's loop asks of the protocol.

use super::connection::{ConnectionId, HEADER_BYTES, PARTS_MAX};
use std::io::IoSliceMut;

/// Why the loop closes a connection, for the handler to put into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A frame was begun and not finished in time.
    FrameTimeout,
    /// The table is full; there is no connection yet.
    ConnectionLimit,
    /// Too many bytes wait to be sent.
    SlowReader,
}

/// What the loop asks of the protocol. Every method gets the bytes that wait to be sent to this peer, to append to; an
/// `Err(())` closes the connection once they are sent.
pub trait Handler {
    /// A connection begins.
    fn opened(&mut self, connection: ConnectionId);
    /// A header is complete: how many bytes of body follow?
    #[allow(clippy::result_unit_err, reason = "the reason is in the bytes to send")]
    fn header(&mut self, connection: ConnectionId, header: &[u8; HEADER_BYTES], out: &mut Vec<u8>)
    -> Result<usize, ()>;
    /// Fills `parts` with memory for the body's bytes from `received` on, at least one of them and not more than are
    /// missing, and returns how many parts there are: at most [`PARTS_MAX`] - 1.
    fn parts<'a>(
        &'a mut self,
        connection: ConnectionId,
        received: usize,
        parts: &mut [IoSliceMut<'a>; PARTS_MAX],
    ) -> usize;
    /// A body is complete.
    #[allow(clippy::result_unit_err, reason = "the reason is in the bytes to send")]
    fn body(&mut self, connection: ConnectionId, out: &mut Vec<u8>) -> Result<(), ()>;
    /// The loop is about to close the connection (or to refuse one, then `connection` is none).
    fn closing(&mut self, connection: Option<ConnectionId>, why: Closing, out: &mut Vec<u8>);
    /// The connection is gone, perhaps in the middle of a body.
    fn closed(&mut self, connection: ConnectionId);
}
