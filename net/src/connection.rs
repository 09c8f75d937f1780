//! One connection: where it is in the current frame, and what waits to be sent to it.

use crate::HEADER_BYTES;
use mio::net::TcpStream;
use std::io::{self, Write};
use std::time::Instant;

pub(crate) enum Phase {
    /// Serving frames.
    Open,
    /// Sending what is left, then shutting down.
    Flushing,
    /// Write side shut; reads are thrown away, so that the peer gets our last words before a reset.
    Draining,
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    pub(crate) header: [u8; HEADER_BYTES],
    pub(crate) header_bytes: usize,
    /// Bytes of the current frame's body, and how many are here; none while the header is incomplete.
    pub(crate) body: Option<(usize, usize)>,
    /// When the current frame began, or when the current phase must end.
    pub(crate) since: Option<Instant>,
    pub(crate) out: Vec<u8>,
    pub(crate) out_sent: usize,
    pub(crate) dirty: bool,
    /// The last write met a full socket: the next attempt waits for the event.
    pub(crate) write_blocked: bool,
    /// In the queue of connections that may have more to read.
    pub(crate) queued: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, generation: u32) -> Connection {
        Connection {
            stream,
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

    /// Sends what the socket takes; true when nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
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
        self.out_sent = 0;
        Ok(true)
    }
}
