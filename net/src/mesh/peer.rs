//! One connection of the mesh, from its first byte to its last.

use super::channel::{Channel, PIECE_BYTES_MAX, TransportKey, wire_bytes};
use super::door::{CLASS_ALIVE, CLASS_HELLO, Doorkeeper, SILENCE, SLOWEST};
use super::frames::{Outgoing, Reassembly};
use super::handle::{MeshCounters, PeerId, PeerInfo};
use super::link::Line;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Encrypted bytes that are made ahead of the socket: what is urgent waits behind no more.
const AHEAD_BYTES: usize = 1 << 17;

/// How far a connection is.
pub(crate) enum Phase {
    /// Until its hello is admitted.
    Shaking,
    /// A peer.
    Open,
}

pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    pub(crate) outgoing: bool,
    /// The key that was called.
    pub(crate) target: Option<TransportKey>,
    pub(crate) phase: Phase,
    /// Its hello was admitted, and it has no place yet.
    pub(crate) introduced: bool,
    pub(crate) name: Option<u32>,
    pub(crate) incoming: Vec<u8>,
    pub(crate) streams: Reassembly,
    pub(crate) waiting: Outgoing,
    pub(crate) pending: Arc<AtomicUsize>,
    pub(crate) write_blocked: bool,
    /// The call has been answered.
    pub(crate) connected: bool,
    /// In the queue of those that may have more to read.
    pub(crate) queued: bool,
    pub(crate) heard_at: Instant,
    said_at: Instant,
    /// Something waits that the socket has not taken since.
    stuck_since: Option<Instant>,
    deadline: Instant,
    called: bool,
    encrypted: Vec<u8>,
    encrypted_sent: usize,
    /// On a shaped line: bytes on their way, and when they arrive.
    on_line: VecDeque<(Instant, Vec<u8>)>,
}

impl Peer {
    pub(crate) fn new(
        id: u64,
        stream: TcpStream,
        address: SocketAddr,
        channel: Channel,
        target: Option<TransportKey>,
        deadline: Instant,
        now: Instant,
    ) -> Peer {
        Peer {
            id,
            stream,
            address,
            channel,
            outgoing: target.is_some(),
            target,
            phase: Phase::Shaking,
            introduced: false,
            name: None,
            incoming: Vec::new(),
            streams: Reassembly::default(),
            waiting: Outgoing::default(),
            pending: Arc::default(),
            write_blocked: false,
            connected: target.is_none(),
            queued: false,
            heard_at: now,
            said_at: now,
            stuck_since: None,
            deadline,
            called: false,
            encrypted: Vec::new(),
            encrypted_sent: 0,
            on_line: VecDeque::new(),
        }
    }

    pub(crate) fn info(&self) -> PeerInfo {
        PeerInfo { id: PeerId(self.id), name: self.name, called: self.outgoing }
    }

    /// Bytes of frames that the caller has not worked off, and of those under way.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// The next message of the handshake, and once it is done, our hello.
    pub(crate) fn shake(&mut self, door: &impl Doorkeeper) -> Result<(), &'static str> {
        self.channel.shake(&mut self.encrypted).map_err(|_| "the handshake failed")?;
        if self.channel.is_open() {
            let hello = door.hello(self.channel.handshake_hash());
            self.channel.write(CLASS_HELLO, &[&hello], &mut self.encrypted);
        }
        Ok(())
    }

    pub(crate) fn wants_to_send(&self) -> bool {
        matches!(self.phase, Phase::Open) && !self.waiting.is_empty() && !self.write_blocked
    }

    /// Gives one piece to a shaped line; false when nothing more waits.
    pub(crate) fn encrypt_one(&mut self, line: &mut Line, now: Instant) -> bool {
        let (waiting, channel) = (&mut self.waiting, &mut self.channel);
        let mut piece = Vec::with_capacity(wire_bytes(4_096));
        // Small pieces: on a slow line a large one would hold up the others.
        if waiting.next(4_096, |class, parts| channel.write(class, parts, &mut piece)).is_none() {
            return false;
        }
        let arrival = line.give(piece.len(), now, self.on_line.back().map(|last| last.0));
        self.on_line.push_back((arrival, piece));
        !self.waiting.is_empty()
    }

    /// Sends what there is to send, as far as the socket takes it.
    pub(crate) fn flush(&mut self, shaped: bool, now: Instant, counters: &MeshCounters) -> io::Result<()> {
        if !self.connected || self.write_blocked {
            return Ok(());
        }
        if !self.called && self.outgoing {
            self.called = true;
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.channel.shake(&mut self.encrypted).map_err(io::Error::other)?;
        }
        loop {
            if shaped {
                while self.on_line.front().is_some_and(|piece| piece.0 <= now) {
                    let (_, piece) = self.on_line.pop_front().expect("seen above");
                    self.encrypted.extend_from_slice(&piece);
                }
            } else if matches!(self.phase, Phase::Open) {
                let (waiting, channel, out) = (&mut self.waiting, &mut self.channel, &mut self.encrypted);
                while out.len() - self.encrypted_sent < AHEAD_BYTES
                    && waiting.next(PIECE_BYTES_MAX - 1, |class, parts| channel.write(class, parts, out)).is_some()
                {
                }
            }
            if self.encrypted_sent == self.encrypted.len() {
                self.encrypted.clear();
                self.encrypted_sent = 0;
                self.stuck_since = None;
                return Ok(());
            }
            match self.stream.write(&self.encrypted[self.encrypted_sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.encrypted_sent += sent;
                    (self.said_at, self.stuck_since) = (now, None);
                    counters.sent.fetch_add(sent as u64, Ordering::Relaxed);
                    if self.encrypted_sent > self.encrypted.len() / 2 {
                        self.encrypted.drain(..self.encrypted_sent);
                        self.encrypted_sent = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.write_blocked = true;
                    self.stuck_since.get_or_insert(now);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A call that is still under way.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Why the connection must end now, if it must. Says "here I am" after a silence of ours.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<&'static str> {
        if !matches!(self.phase, Phase::Open) {
            return (now > self.deadline).then_some("no hello in time");
        }
        if now > self.heard_at + SILENCE.1 {
            return Some("silent for too long");
        }
        if self.stuck_since.is_some_and(|since| now > since + SILENCE.1) {
            return Some("reads too slowly");
        }
        if let Some((since, bytes)) = self.streams.begun() {
            let seconds = (now - since).as_secs_f64();
            let least = seconds / SLOWEST.1.as_secs_f64() * SLOWEST.0 as f64;
            // Whoever is held back by us is not slow by itself.
            if now > since + SLOWEST.1 && (bytes as f64) < least && self.pending() == 0 {
                return Some("sends too slowly");
            }
        }
        if now > self.said_at + SILENCE.0 && self.waiting.is_empty() {
            self.channel.write(CLASS_ALIVE, &[], &mut self.encrypted);
            self.said_at = now;
        }
        None
    }
}
