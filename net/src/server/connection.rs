//! One connection: where it is in the current frame, and what waits to be sent to it.

use mio::net::TcpStream;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Instant;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 8;
/// Bytes that a buffer for answers keeps when it is empty: there are thousands of them.
const OUT_BYTES_KEPT: usize = 1 << 14;
/// Pieces of memory that one body may be received into.
pub const PARTS_MAX: usize = 66;

/// A connection: its place in the table, and which use of that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Place in the table, from 0.
    pub place: u32,
    /// Counts the uses of the place.
    pub generation: u32,
}

/// How far a connection is.
pub(super) enum Phase {
    /// Frames are read and answered.
    Open,
    /// Sending what is left, then shutting down.
    Flushing,
    /// Write side shut; reads are thrown away, so that the peer gets our last words before a reset.
    Draining,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) ip: IpAddr,
    /// When it has said something, or its place was given to it.
    pub(super) heard_at: Instant,
    pub(super) generation: u32,
    pub(super) phase: Phase,
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) header_bytes: usize,
    /// Bytes of the current frame's body, and how many are here; none while the header is incomplete.
    pub(super) body: Option<(usize, usize)>,
    /// When the current frame began, or when the current phase must end.
    pub(super) since: Option<Instant>,
    pub(super) out: Vec<u8>,
    pub(super) out_sent: usize,
    pub(super) dirty: bool,
    /// The last write met a full socket: the next attempt waits for the event.
    pub(super) write_blocked: bool,
    /// In the queue of connections that may have more to read.
    pub(super) queued: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, ip: IpAddr, generation: u32) -> Connection {
        Connection {
            stream,
            ip,
            heard_at: Instant::now(),
            generation,
            phase: Phase::Open,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            body: None,
            since: None,
            out: Vec::new(),
            out_sent: 0,
            dirty: false,
            write_blocked: false,
            queued: false,
        }
    }

    /// Bytes that wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.out_sent
    }

    /// Since when it is silent; none while something is under way.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let rests = self.body.is_none() && self.header_bytes == 0 && self.waiting() == 0;
        (rests && matches!(self.phase, Phase::Open)).then_some(self.heard_at)
    }

    /// Sends what the socket takes; true when nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.out_sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.write_blocked = true;
                    // Sent bytes go once they are the larger half: each byte moves at most once a doubling.
                    if self.out_sent > self.out.len() / 2 {
                        self.out.drain(..self.out_sent);
                        self.out_sent = 0;
                    }
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        self.out_sent = 0;
        Ok(true)
    }
}
