//! The event loop of the mesh: sockets in, events out, commands obeyed. Who may stay is decided by the roster; here it
//! is carried out. The clock is read once a turn.

use super::channel::{Channel, TransportKey, public_key};
use super::door::Doorkeeper;
use super::handle::{Command, Event, MeshHandle, Shared, Target, To};
use super::link::Line;
use super::options::MeshOptions;
use super::peer::{House, Peer, Phase};
use super::roster::{Arrival, Roster, Welcome};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const READ_BYTES: usize = 1 << 16;
/// Reads of one connection before the others have their turn.
const READS_IN_A_ROW: usize = 4;
const HOUSEKEEPING: Duration = Duration::from_millis(25);

/// The loop and its peers.
pub struct Mesh<D> {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    options: MeshOptions,
    door: D,
    roster: Roster,
    /// A socket for each entry of the roster.
    peers: HashMap<u64, Peer>,
    readable: VecDeque<u64>,
    /// One of those was not held back when it was read last.
    read_more: bool,
    up: Line,
    down: Line,
    housekeeping_at: Instant,
    scratch: Box<[u8]>,
    /// Whose turn it is where not all can be served.
    turn: u64,
}

impl<D: Doorkeeper> Mesh<D> {
    /// Listens. Nothing else happens before [`Self::run`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(options: MeshOptions, door: D) -> io::Result<(Mesh<D>, MeshHandle)> {
        let poll = Poll::new()?;
        let mut listener = options.listen.map(TcpListener::bind).transpose()?;
        if let Some(listener) = &mut listener {
            poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let shared = Arc::new(Shared::new(mio::Waker::new(poll.registry(), WAKER)?, address));
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let seed = u64::from_le_bytes(seed);
        let mesh = Mesh {
            poll,
            events: Events::with_capacity(1024),
            listener,
            shared: shared.clone(),
            door,
            roster: Roster::new(public_key(&options.secret), options.limits, seed.rotate_left(32)),
            peers: HashMap::new(),
            readable: VecDeque::new(),
            read_more: false,
            up: Line::new(options.link, seed),
            down: Line::new(options.link, !seed),
            housekeeping_at: Instant::now(),
            scratch: vec![0; READ_BYTES].into(),
            turn: seed,
            options,
        };
        Ok((mesh, MeshHandle::new(shared)))
    }

    /// Runs until told to stop; `on` hears what happens.
    ///
    /// # Errors
    /// When the system's event queue fails.
    pub fn run(mut self, mut on: impl FnMut(Event)) -> io::Result<()> {
        loop {
            let timeout = self.timeout();
            self.shared.sleeping.store(true, Ordering::SeqCst);
            let timeout = if self.shared.has_commands() { Duration::ZERO } else { timeout };
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.shared.sleeping.store(false, Ordering::SeqCst);
            let now = Instant::now();
            self.take_events(now);
            for command in self.shared.take_commands() {
                if !self.obey(command, now, &mut on) {
                    return Ok(());
                }
            }
            self.read_all(now, &mut on);
            self.write_all(now, &mut on);
            if now >= self.housekeeping_at {
                self.housekeeping_at = now + HOUSEKEEPING;
                self.keep_house(now, &mut on);
            }
            assert_eq!(self.peers.len(), self.roster.len(), "the mesh has a socket without an entry in its roster");
        }
    }

    fn timeout(&self) -> Duration {
        if self.read_more && !self.down.shapes() {
            return Duration::ZERO;
        }
        if self.up.shapes() || !self.readable.is_empty() { Duration::from_millis(2) } else { HOUSEKEEPING }
    }

    fn take_events(&mut self, now: Instant) {
        let mut accept = false;
        for event in &self.events {
            match event.token() {
                LISTENER => accept = true,
                WAKER => {}
                Token(id) => {
                    let Some(peer) = self.peers.get_mut(&(id as u64)) else { continue };
                    if event.is_writable() {
                        peer.write_blocked = false;
                        peer.connected = true;
                    }
                    if event.is_readable() && !peer.queued {
                        peer.queued = true;
                        self.readable.push_back(id as u64);
                    }
                }
            }
        }
        while accept {
            match self.listener.as_ref().map(TcpListener::accept) {
                Some(Ok((stream, address))) => self.accept(stream, address, now),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => accept = false,
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, address: SocketAddr, now: Instant) {
        let counters = &self.shared.counters;
        match self.roster.arrive(&address, now) {
            Arrival::Refused => {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Arrival::Instead(oldest) => {
                counters.evicted.fetch_add(1, Ordering::Relaxed);
                self.peers.remove(&oldest);
            }
            Arrival::Taken => {}
        }
        self.begin(stream, address, None, now);
    }

    /// A connection begins: called by us if `target` is whom we called.
    fn begin(&mut self, mut stream: TcpStream, address: SocketAddr, target: Option<TransportKey>, now: Instant) {
        let id = self.roster.begin(&address, target);
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(id as usize), interest).is_err() {
            return self.roster.cannot_begin(id, now);
        }
        let channel = Channel::new(&self.options.secret, &self.options.prologue, target.is_some());
        let deadline = now + self.options.limits.hello_time;
        self.peers.insert(id, Peer::new(id, stream, address, channel, target, deadline, now));
    }

    fn obey(&mut self, command: Command, now: Instant, on: &mut impl FnMut(Event)) -> bool {
        match command {
            Command::Stop => return false,
            Command::Send(to, class, body) => self.send(&to, class, &body),
            Command::Targets(targets) => {
                self.roster.set_targets(targets, now);
                self.housekeeping_at = now;
            }
            Command::Penalise(peer, points) => {
                if self.roster.penalise(peer.0, points, now) {
                    self.close(peer.0, "banned", now, on);
                }
            }
            Command::CallAgain => {
                self.roster.told().into_iter().for_each(|id| self.close(id, "called again", now, on));
                self.roster.call_all(now);
                self.housekeeping_at = now;
            }
        }
        true
    }

    fn send(&mut self, to: &To, class: u8, body: &Arc<[u8]>) {
        match to {
            To::Name(name) => match self.roster.named(*name) {
                Some(id) => self.queue(id, class, body),
                None => drop(self.shared.counters.unsent.fetch_add(1, Ordering::Relaxed)),
            },
            To::Peer(peer) => self.queue(peer.0, class, body),
            To::Some(count) => {
                let open = self.roster.placed();
                let turn = self.turn as usize;
                self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                for i in 0..(*count).min(open.len()) {
                    let id = open[(turn >> 8).wrapping_add(i) % open.len()];
                    self.queue(id, class, body);
                }
            }
        }
    }

    fn queue(&mut self, id: u64, class: u8, body: &Arc<[u8]>) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| matches!(peer.phase, Phase::Open)) else { return };
        let max = self.options.limits.outgoing_max[usize::from(class)];
        let max =
            if peer.name.is_some() || peer.outgoing { max } else { max.min(self.options.limits.guest_outgoing_max) };
        let dropped = peer.waiting.push(class, body.clone(), max);
        self.shared.counters.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }

    fn read_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        self.read_more = false;
        for _ in 0..self.readable.len() {
            let Some(id) = self.readable.pop_front() else { return };
            let Some(peer) = self.peers.get(&id) else { continue };
            if self.held_back(peer, now) {
                // Its turn comes again; until then the socket's own window holds it back.
                self.readable.push_back(id);
                continue;
            }
            let worked = self.read_one(id, now, on);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if matches!(peer.phase, Phase::Shaking) && peer.channel.is_open() {
                self.roster.shaken(id, *peer.channel.remote());
            }
            let introduced = std::mem::take(&mut peer.introduced);
            match worked {
                Err(why) => self.close(id, why, now, on),
                Ok(()) if introduced => self.welcome(id, now, on),
                Ok(()) => {}
            }
        }
    }

    /// Whether a peer is not read now: it has too much that nobody has worked off, or the line is full.
    fn held_back(&self, peer: &Peer, now: Instant) -> bool {
        let limit = self.options.limits.pending_max[usize::from(peer.name.is_none())];
        let total = self.shared.pending.load(Ordering::Relaxed);
        // Guests together must not keep members from being heard.
        let full = peer.name.is_none() && total > self.options.limits.pending_total_max;
        peer.pending() > limit || full || !self.down.takes(now)
    }

    /// Reads a peer's socket for a while and works off what has come; an error when its connection must end.
    fn read_one(&mut self, id: u64, now: Instant, on: &mut impl FnMut(Event)) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(&id) else { return Ok(()) };
        let house = House { door: &self.door, limits: &self.options.limits, shared: &self.shared };
        let mut read = Ok(());
        let mut more = true;
        for _ in 0..READS_IN_A_ROW {
            match peer.stream.read(&mut self.scratch) {
                Ok(0) => read = Err("closed by the other side"),
                Ok(bytes) => {
                    peer.heard_at = now;
                    if self.down.shapes() {
                        self.down.give(bytes, now, None);
                    }
                    self.shared.counters.received.fetch_add(bytes as u64, Ordering::Relaxed);
                    peer.incoming.extend_from_slice(&self.scratch[..bytes]);
                    more = bytes == READ_BYTES;
                    if more {
                        // Worked off before more is taken.
                        read = peer.work(&house, now, on);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => read = Err("the connection broke"),
            }
            if read.is_err() || !more || peer.introduced {
                break;
            }
        }
        peer.queued = more && read.is_ok();
        if peer.queued {
            self.readable.push_back(id);
            self.read_more = true;
        }
        // What came with the end is heard as well.
        let worked = peer.work(&house, now, on);
        read.and(worked)
    }

    /// A peer whose hello was admitted gets its place, or has to go.
    fn welcome(&mut self, id: u64, now: Instant, on: &mut impl FnMut(Event)) {
        let Some(peer) = self.peers.get(&id) else { return };
        match self.roster.welcome(id, peer.name, now) {
            Welcome::Refused(why) => return self.close(id, why, now, on),
            Welcome::InsteadOf(earlier) => self.close(earlier, "called again", now, on),
            Welcome::Placed => {}
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.phase = Phase::Open;
        on(Event::Opened(peer.info(), *peer.channel.remote(), peer.address));
        // What followed its hello is read now.
        let house = House { door: &self.door, limits: &self.options.limits, shared: &self.shared };
        if let Err(why) = peer.work(&house, now, on) {
            self.close(id, why, now, on);
        }
    }

    fn close(&mut self, id: u64, why: &'static str, now: Instant, on: &mut impl FnMut(Event)) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let _ = self.poll.registry().deregister(&mut peer.stream);
        self.roster.leave(id, now);
        if matches!(peer.phase, Phase::Open) {
            on(Event::Closed(peer.info(), why));
        }
    }

    fn write_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        let mut broken = Vec::new();
        let Mesh { peers, up, shared, .. } = self;
        if up.shapes() {
            // The line is one for all: a piece of each in turn, as long as it takes any.
            let mut ids: Vec<u64> = peers.values().filter(|peer| peer.wants_to_send()).map(|peer| peer.id).collect();
            ids.sort_unstable();
            if !ids.is_empty() {
                let first = self.turn as usize % ids.len();
                ids.rotate_left(first);
                self.turn = self.turn.wrapping_add(1);
            }
            while up.takes(now) && !ids.is_empty() {
                ids.retain(|id| {
                    let peer = peers.get_mut(id).expect("listed above");
                    up.takes(now) && peer.encrypt_one(up, now)
                });
            }
        }
        for peer in peers.values_mut() {
            if peer.flush(up.shapes(), now, &shared.counters).is_err() {
                broken.push(peer.id);
            }
        }
        broken.into_iter().for_each(|id| self.close(id, "the connection broke", now, on));
    }

    fn keep_house(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        let mut late = Vec::new();
        for peer in self.peers.values_mut() {
            if let Some(why) = peer.overdue(now) {
                late.push((peer.id, why));
            }
        }
        late.into_iter().for_each(|(id, why)| self.close(id, why, now, on));
        for Target { key, address } in self.roster.calls_due(now) {
            match TcpStream::connect(address) {
                Ok(stream) => self.begin(stream, address, Some(key), now),
                Err(_) => self.roster.cannot_call(&key, now),
            }
        }
        self.roster.forget(now);
        let (members, guests) = self.roster.counts();
        self.shared.counters.members.store(members as u64, Ordering::Relaxed);
        self.shared.counters.guests.store(guests as u64, Ordering::Relaxed);
    }
}
