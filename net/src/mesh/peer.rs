//! One connection of the mesh, from its first byte to its last.

use super::channel::{Channel, PIECE_BYTES_MAX, Read, TransportKey, wire_bytes};
use super::door::{CLASS_ALIVE, CLASS_HELLO, Doorkeeper, SILENCE, SLOWEST};
use super::frames::{Outgoing, Reassembly};
use super::handle::{Body, Event, MeshCounters, PeerId, PeerInfo, Shared};
use super::link::Line;
use super::options::MeshLimits;
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
pub(super) enum Phase {
    /// Until its hello is admitted.
    Shaking,
    /// It has its place: frames go both ways.
    Open,
}

/// What a connection needs of the mesh that it belongs to.
pub(super) struct House<'a, D> {
    pub(super) door: &'a D,
    pub(super) limits: &'a MeshLimits,
    pub(super) shared: &'a Arc<Shared>,
}

pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) channel: Channel,
    pub(super) outgoing: bool,
    /// The key that was called.
    pub(super) target: Option<TransportKey>,
    pub(super) phase: Phase,
    /// Its hello was admitted, and it has no place yet.
    pub(super) introduced: bool,
    pub(super) name: Option<u32>,
    pub(super) incoming: Vec<u8>,
    pub(super) streams: Reassembly,
    pub(super) waiting: Outgoing,
    pub(super) pending: Arc<AtomicUsize>,
    pub(super) write_blocked: bool,
    /// The call has been answered.
    pub(super) connected: bool,
    /// In the queue of those that may have more to read.
    pub(super) queued: bool,
    pub(super) heard_at: Instant,
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
    pub(super) fn new(
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

    pub(super) fn info(&self) -> PeerInfo {
        PeerInfo { id: PeerId(self.id), name: self.name, called: self.outgoing }
    }

    /// Bytes of frames that the caller has not worked off, and of those under way.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// The next message of the handshake, and once it is done, our hello.
    pub(super) fn shake(&mut self, door: &impl Doorkeeper) -> Result<(), &'static str> {
        self.channel.shake(&mut self.encrypted).map_err(|_| "the handshake failed")?;
        if self.channel.is_open() {
            let hello = door.hello(self.channel.handshake_hash());
            self.channel.write(CLASS_HELLO, &[&hello], &mut self.encrypted);
        }
        Ok(())
    }

    /// Works off the bytes that have come; an error when the connection must end.
    pub(super) fn work(
        &mut self,
        house: &House<'_, impl Doorkeeper>,
        now: Instant,
        on: &mut impl FnMut(Event),
    ) -> Result<(), &'static str> {
        // What follows a hello waits until its peer has a place.
        if self.introduced {
            return Ok(());
        }
        let incoming = std::mem::take(&mut self.incoming);
        let mut bytes = &incoming[..];
        while self.work_one(&mut bytes, house, now, on)? {}
        let consumed = incoming.len() - bytes.len();
        self.incoming = incoming;
        self.incoming.drain(..consumed);
        Ok(())
    }

    /// Works off the first message of `bytes`, which moves past it; false when there is nothing more to do for now.
    fn work_one(
        &mut self,
        bytes: &mut &[u8],
        house: &House<'_, impl Doorkeeper>,
        now: Instant,
        on: &mut impl FnMut(Event),
    ) -> Result<bool, &'static str> {
        let (info, shared) = (self.info(), house.shared);
        // Whom we have called we know by its key, and have asked for something.
        let known = self.name.is_some() || self.outgoing;
        let maxima = if known { &house.limits.member_frame_max } else { &house.limits.guest_frame_max };
        match self.channel.read(bytes) {
            Ok(Read::More) => return Ok(false),
            Ok(Read::Shaken) => self.shake(house.door)?,
            Ok(Read::Piece(CLASS_HELLO, hello)) if matches!(self.phase, Phase::Shaking) => {
                let hello = hello.to_vec();
                self.hear_hello(&hello, house, on)?;
                // The rest is read once its place is found: it may have none.
                return Ok(false);
            }
            Ok(Read::Piece(CLASS_ALIVE, _)) => {}
            Ok(Read::Piece(class, piece)) => {
                if !matches!(self.phase, Phase::Open) {
                    return Err("spoke before its hello");
                }
                let pending = &self.pending;
                let taken = self.streams.take(class, piece, maxima, now, |class, body| {
                    shared.counters.frames[usize::from(class)].fetch_add(1, Ordering::Relaxed);
                    shared.counters.frame_bytes[usize::from(class)].fetch_add(body.len() as u64, Ordering::Relaxed);
                    on(Event::Frame(info, class, Body::new(body, pending, shared)));
                });
                taken.map_err(|_| "a frame that cannot be")?;
            }
            Err(_) => {
                if !self.channel.is_open() {
                    shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                }
                return Err("the channel broke");
            }
        }
        Ok(true)
    }

    /// Who is it? If the door lets it in, it waits for its place.
    fn hear_hello(
        &mut self,
        hello: &[u8],
        house: &House<'_, impl Doorkeeper>,
        on: &mut impl FnMut(Event),
    ) -> Result<(), &'static str> {
        let remote = *self.channel.remote();
        if self.target.is_some_and(|target| target != remote) {
            return Err("another key than the one called");
        }
        match house.door.admit(hello, &remote, self.channel.handshake_hash()) {
            Ok(name) => {
                (self.name, self.introduced) = (name, true);
                Ok(())
            }
            Err(why) => {
                house.shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                on(Event::TurnedAway(self.address, why));
                Err("not let in")
            }
        }
    }

    pub(super) fn wants_to_send(&self) -> bool {
        matches!(self.phase, Phase::Open) && !self.waiting.is_empty() && !self.write_blocked
    }

    /// Gives one piece to a shaped line; false when nothing more waits.
    pub(super) fn encrypt_one(&mut self, line: &mut Line, now: Instant) -> bool {
        let (waiting, channel) = (&mut self.waiting, &mut self.channel);
        let mut piece = Vec::with_capacity(wire_bytes(4_096));
        // Small pieces: on a slow line a large one would hold up the others.
        if waiting.next(4_096, |class, parts| channel.write(class, parts, &mut piece)).is_none() {
            return false;
        }
        let before = self.on_line.back().map(|last| last.0);
        let arrival = line.give(piece.len(), now, before);
        assert!(before <= Some(arrival), "a piece overtakes the one before it on the line");
        self.on_line.push_back((arrival, piece));
        !self.waiting.is_empty()
    }

    /// Sends what there is to send, as far as the socket takes it.
    pub(super) fn flush(&mut self, shaped: bool, now: Instant, counters: &MeshCounters) -> io::Result<()> {
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
    pub(super) fn overdue(&mut self, now: Instant) -> Option<&'static str> {
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
