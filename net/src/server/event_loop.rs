//! The event loop: accept, read into the handler's memory, send.

use super::connection::{Connection, ConnectionId, HEADER_BYTES, PARTS_MAX, Phase};
use super::handler::{Closing, Handler};
use super::places::{Occupant, who_makes_room};
use super::waker::LoopWaker;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Reads of one connection before the others have their turn.
const READS_IN_A_ROW: usize = 8;
/// How often deadlines are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(50);
/// How long a closed connection may take to read our last words.
const LINGER: Duration = Duration::from_secs(2);

/// What may be held at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: usize,
    /// A frame must be complete this long after its first byte.
    pub frame_timeout: Duration,
    /// Bytes that may wait to be sent to one peer.
    pub out_bytes_max: usize,
    /// Bytes that may wait to be sent to all peers.
    pub out_bytes_total_max: usize,
}

/// What the loop has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Connections that got a place, since the start.
    pub accepted: u64,
    /// Connections that found none vacant, since the start.
    pub refused: u64,
    /// Bytes received since the start, headers included.
    pub bytes_received: u64,
    /// Read calls that brought some.
    pub reads: u64,
}

/// The loop and its connections.
pub struct Server {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    waker: Arc<LoopWaker>,
    limits: Limits,
    connections: Vec<Option<Connection>>,
    generations: Vec<u32>,
    vacant: Vec<u32>,
    readable: VecDeque<u32>,
    dirty: Vec<u32>,
    out_bytes_total: usize,
    housekeeping_at: Instant,
    /// The table was full, and nobody idle, at this time.
    full_at: Option<Instant>,
    counters: NetCounters,
}

impl Server {
    /// Listens on `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(address: SocketAddr, limits: Limits) -> io::Result<Server> {
        let poll = Poll::new()?;
        let waker =
            Arc::new(LoopWaker { sleeping: AtomicBool::new(false), waker: Waker::new(poll.registry(), WAKER)? });
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Server {
            poll,
            events: Events::with_capacity(1024),
            listener,
            waker,
            limits,
            connections: (0..limits.connections_max).map(|_| None).collect(),
            generations: vec![0; limits.connections_max],
            vacant: (0..limits.connections_max as u32).rev().collect(),
            readable: VecDeque::new(),
            dirty: Vec::new(),
            out_bytes_total: 0,
            housekeeping_at: Instant::now(),
            full_at: None,
            counters: NetCounters::default(),
        })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Wakes [`Self::turn`] from another thread.
    pub fn waker(&self) -> Arc<LoopWaker> {
        self.waker.clone()
    }

    /// What the loop has done.
    pub fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Waits up to `timeout` for something to happen on the sockets and deals with it. `work_waits` tells whether the
    /// caller has work of its own: it is asked after wakers can see the loop asleep, so that no wake is lost. Returns
    /// how long it waited.
    ///
    /// # Errors
    /// When waiting itself fails; errors of single connections close them.
    pub fn turn(
        &mut self,
        handler: &mut impl Handler,
        timeout: Duration,
        work_waits: impl Fn() -> bool,
    ) -> io::Result<Duration> {
        let mut timeout = if self.readable.is_empty() { timeout.min(HOUSEKEEPING) } else { Duration::ZERO };
        if !timeout.is_zero() {
            self.waker.sleeping.swap(true, Ordering::SeqCst);
            if work_waits() {
                timeout = Duration::ZERO;
            }
        }
        let before = Instant::now();
        let polled = self.poll.poll(&mut self.events, Some(timeout));
        let waited = if timeout.is_zero() { Duration::ZERO } else { before.elapsed() };
        self.waker.sleeping.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(waited),
            other => other?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                LISTENER => self.accept(handler),
                WAKER => {}
                Token(place) => {
                    let Some(connection) = self.connections[place].as_mut() else { continue };
                    if event.is_readable() && !connection.queued {
                        connection.queued = true;
                        self.readable.push_back(place as u32);
                    }
                    if event.is_writable() {
                        connection.write_blocked = false;
                        if !connection.dirty && !connection.out.is_empty() {
                            connection.dirty = true;
                            self.dirty.push(place as u32);
                        }
                    }
                }
            }
        }
        self.events = events;
        for _ in 0..self.readable.len() {
            let place = self.readable.pop_front().expect("counted");
            if self.connections[place as usize].is_some() && self.read(place, handler) {
                self.readable.push_back(place);
            }
        }
        self.flush(handler);
        if self.housekeeping_at.elapsed() >= HOUSEKEEPING {
            self.housekeeping_at = Instant::now();
            // An accept that failed for want of a descriptor brings no event when one is free again.
            self.accept(handler);
            self.enforce_deadlines(handler);
        }
        Ok(waited)
    }

    /// Lets `write` append bytes for a peer; they go out at the next [`Self::flush`]. False when the peer is gone.
    pub fn send(&mut self, id: ConnectionId, handler: &mut impl Handler, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(connection) = self.connections.get_mut(id.place as usize).and_then(Option::as_mut) else {
            return false;
        };
        if connection.generation != id.generation || !matches!(connection.phase, Phase::Open) {
            return false;
        }
        let before = connection.out.len();
        write(&mut connection.out);
        self.out_bytes_total += connection.out.len() - before;
        self.settle(id.place, before, handler);
        true
    }

    /// After bytes were appended: queues the connection for sending, or closes it when too many wait.
    fn settle(&mut self, place: u32, before: usize, handler: &mut impl Handler) {
        let Some(connection) = self.connections[place as usize].as_mut() else { return };
        if !connection.dirty && connection.out.len() > before {
            connection.dirty = true;
            self.dirty.push(place);
        }
        if connection.write_blocked
            && matches!(connection.phase, Phase::Open)
            && connection.waiting() > self.limits.out_bytes_max
        {
            self.close_with(place, Closing::SlowReader, handler);
        }
        while self.out_bytes_total > self.limits.out_bytes_total_max && self.drop_slowest(handler) {}
    }

    /// Drops the connection that leaves most unread, with all that waits for it; false if everyone reads.
    fn drop_slowest(&mut self, handler: &mut impl Handler) -> bool {
        let slow = |(place, connection): (u32, &Option<Connection>)| {
            let connection = connection.as_ref().filter(|connection| connection.write_blocked)?;
            Some((connection.out.len(), place))
        };
        let Some((_, place)) = (0..).zip(&self.connections).filter_map(slow).max() else { return false };
        let before = self.out_bytes_total;
        self.drop_now(place, Closing::SlowReader, handler);
        assert!(self.out_bytes_total <= before, "more waits to be sent after a connection has ended");
        true
    }

    /// Ends a connection without waiting for it to read our last words, which go out as far as its socket takes them.
    fn drop_now(&mut self, place: u32, why: Closing, handler: &mut impl Handler) {
        let id = self.id(place);
        let Some(connection) = self.connections[place as usize].as_mut() else { return };
        let mut words = Vec::new();
        handler.closing(Some(id), why, &mut words);
        // Behind half an answer they would mean something else.
        if connection.waiting() == 0 {
            let _ = io::Write::write(&mut connection.stream, &words);
        }
        self.drop_connection(place, handler);
    }

    /// Gives the place of who is idle to a newcomer, if someone is.
    fn make_room(&mut self, handler: &mut impl Handler) {
        let now = Instant::now();
        // A crowd that knocks does not make us look at everyone each time.
        if self.full_at.is_some_and(|full_at| now < full_at + HOUSEKEEPING) {
            return;
        }
        let occupant = |(place, connection): (u32, &Option<Connection>)| {
            let connection = connection.as_ref()?;
            Some(Occupant { place, ip: connection.ip, silent_since: connection.silent_since() })
        };
        let all: Vec<Occupant> = (0..).zip(&self.connections).filter_map(occupant).collect();
        match who_makes_room(&all, now) {
            Some(place) => self.drop_now(place, Closing::ConnectionLimit, handler),
            None => self.full_at = Some(now),
        }
    }

    fn id(&self, place: u32) -> ConnectionId {
        ConnectionId { place, generation: self.generations[place as usize] }
    }

    fn accept(&mut self, handler: &mut impl Handler) {
        loop {
            let (mut stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A peer that left again, or no file descriptors: the next event tries again.
                Err(_) => return,
            };
            if self.vacant.is_empty() {
                self.make_room(handler);
            }
            let Some(place) = self.vacant.pop() else {
                self.counters.refused += 1;
                let mut words = Vec::new();
                handler.closing(None, Closing::ConnectionLimit, &mut words);
                let _ = io::Write::write(&mut stream, &words);
                continue;
            };
            let _ = stream.set_nodelay(true);
            let registered = self.poll.registry().register(
                &mut stream,
                Token(place as usize),
                Interest::READABLE | Interest::WRITABLE,
            );
            if registered.is_err() {
                self.vacant.push(place);
                continue;
            }
            assert!(self.connections[place as usize].is_none(), "place {place} is vacant and has a connection");
            self.counters.accepted += 1;
            self.generations[place as usize] = self.generations[place as usize].wrapping_add(1);
            let ip = address.ip().to_canonical();
            self.connections[place as usize] = Some(Connection::new(stream, ip, self.generations[place as usize]));
            handler.opened(self.id(place));
        }
    }

    /// Reads what is there; true when there may be more.
    fn read(&mut self, place: u32, handler: &mut impl Handler) -> bool {
        let id = self.id(place);
        for _ in 0..READS_IN_A_ROW {
            let connection = self.connections[place as usize].as_mut().expect("looked at by the caller");
            if !matches!(connection.phase, Phase::Open) {
                let drained = drain(connection);
                if drained.is_err() {
                    self.drop_connection(place, handler);
                } else {
                    connection.queued = false;
                }
                return false;
            }
            let (received, wanted) = match receive(connection, id, handler) {
                Ok((0, _)) => {
                    self.drop_connection(place, handler);
                    return false;
                }
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.queued = false;
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.drop_connection(place, handler);
                    return false;
                }
            };
            self.counters.bytes_received += received as u64;
            self.counters.reads += 1;
            connection.heard_at = Instant::now();
            let before = connection.out.len();
            let going_on = advance(connection, received, id, handler);
            self.out_bytes_total += connection.out.len() - before;
            self.settle(place, before, handler);
            let Some(connection) = self.connections[place as usize].as_mut() else { return false };
            if going_on.is_err() {
                self.begin_closing(place, handler);
                return self.connections[place as usize].is_some();
            }
            if received < wanted {
                // The socket is empty: with edge-triggered events the next bytes bring an event.
                connection.queued = false;
                return false;
            }
        }
        true
    }

    /// Sends what waits, as far as sockets take it.
    pub fn flush(&mut self, handler: &mut impl Handler) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            let Some(connection) = self.connections[place as usize].as_mut() else { continue };
            connection.dirty = false;
            if connection.write_blocked {
                continue;
            }
            let before = connection.out.len();
            let flushed = connection.flush();
            let after = connection.out.len();
            assert!(after <= before && connection.out_sent <= after, "a flush leaves more to send than there was");
            self.out_bytes_total -= before - after;
            match flushed {
                Err(_) => self.drop_connection(place, handler),
                Ok(true) if matches!(connection.phase, Phase::Flushing) => self.shut_down(place),
                Ok(_) => {}
            }
        }
        self.dirty = dirty;
    }

    fn close_with(&mut self, place: u32, why: Closing, handler: &mut impl Handler) {
        let id = self.id(place);
        if let Some(connection) = self.connections[place as usize].as_mut() {
            let before = connection.out.len();
            handler.closing(Some(id), why, &mut connection.out);
            self.out_bytes_total += connection.out.len() - before;
        }
        self.begin_closing(place, handler);
    }

    /// From here on the connection only sends what waits and then ends.
    fn begin_closing(&mut self, place: u32, handler: &mut impl Handler) {
        let id = self.id(place);
        let Some(connection) = self.connections[place as usize].as_mut() else { return };
        if !matches!(connection.phase, Phase::Open) {
            return;
        }
        handler.closed(id);
        connection.phase = Phase::Flushing;
        connection.since = Some(Instant::now());
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(place);
        }
    }

    fn shut_down(&mut self, place: u32) {
        let connection = self.connections[place as usize].as_mut().expect("looked at by the caller");
        connection.phase = Phase::Draining;
        let _ = connection.stream.shutdown(Shutdown::Write);
    }

    fn drop_connection(&mut self, place: u32, handler: &mut impl Handler) {
        let id = self.id(place);
        let Some(mut connection) = self.connections[place as usize].take() else { return };
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.out_bytes_total -= connection.out.len();
        self.vacant.push(place);
        if matches!(connection.phase, Phase::Open) {
            handler.closed(id);
        }
    }

    /// Ends every connection as it is; what was sent is with the system, what was half received goes back to the
    /// handler.
    pub fn close_all(&mut self, handler: &mut impl Handler) {
        for place in 0..self.connections.len() as u32 {
            self.drop_connection(place, handler);
        }
        assert_eq!(self.vacant.len(), self.connections.len(), "a place of the server is lost, or vacant twice");
        assert_eq!(self.out_bytes_total, 0, "bytes wait for connections that are gone");
    }

    fn enforce_deadlines(&mut self, handler: &mut impl Handler) {
        for place in 0..self.connections.len() as u32 {
            let Some(connection) = &self.connections[place as usize] else { continue };
            let Some(since) = connection.since else { continue };
            match connection.phase {
                Phase::Open if since.elapsed() > self.limits.frame_timeout => {
                    self.close_with(place, Closing::FrameTimeout, handler)
                }
                Phase::Flushing | Phase::Draining if since.elapsed() > LINGER => self.drop_connection(place, handler),
                _ => {}
            }
        }
    }
}

/// Throws away what a closing peer still sends; an error when it is done.
fn drain(connection: &mut Connection) -> io::Result<()> {
    let mut waste = [0u8; 4096];
    for _ in 0..READS_IN_A_ROW * 4 {
        match connection.stream.read(&mut waste) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    // Whoever sends this much after being refused is not reading.
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// One call takes the rest of this body and the header of the next frame, or the rest of a header: bytes received, and
/// bytes that there was room for.
fn receive(connection: &mut Connection, id: ConnectionId, handler: &mut impl Handler) -> io::Result<(usize, usize)> {
    let header_left = &mut connection.header[if connection.body.is_some() { 0 } else { connection.header_bytes }..];
    let mut parts: [IoSliceMut<'_>; PARTS_MAX] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
    let mut count = 0;
    if let Some((length, received)) = connection.body
        && received < length
    {
        count = handler.parts(id, received, &mut parts);
    }
    let mut wanted = parts[..count].iter().map(|part| part.len()).sum::<usize>();
    let missing = connection.body.map_or(0, |(length, received)| length - received);
    assert!(wanted <= missing, "{wanted} bytes are read into a body that misses {missing}");
    // A handler may take a body in several steps; the next header follows only the last of them.
    if connection.body.is_none_or(|(length, received)| received + wanted == length) {
        wanted += header_left.len();
        parts[count] = IoSliceMut::new(header_left);
        count += 1;
    }
    Ok((connection.stream.read_vectored(&mut parts[..count])?, wanted))
}

/// Accounts for `received` new bytes: body first, then the next header.
fn advance(
    connection: &mut Connection,
    received: usize,
    id: ConnectionId,
    handler: &mut impl Handler,
) -> Result<(), ()> {
    let mut received = received;
    if let Some((length, so_far)) = &mut connection.body {
        let taken = received.min(*length - *so_far);
        *so_far += taken;
        received -= taken;
        if *so_far < *length {
            return Ok(());
        }
        connection.body = None;
        connection.header_bytes = 0;
        connection.since = None;
        handler.body(id, &mut connection.out)?;
    }
    if received > 0 {
        connection.since.get_or_insert_with(Instant::now);
        connection.header_bytes += received;
        assert!(connection.header_bytes <= HEADER_BYTES, "bytes of a next frame were read behind a header");
    }
    if connection.header_bytes == HEADER_BYTES {
        let length = handler.header(id, &connection.header, &mut connection.out)?;
        connection.body = Some((length, 0));
    }
    Ok(())
}
