//! The event loop of the mesh: sockets in, events out, commands obeyed.

use super::bans::Bans;
use super::channel::{Channel, Read, TransportKey, public_key};
use super::door::{CLASS_ALIVE, CLASS_HELLO, Doorkeeper};
use super::handle::{Body, Command, Event, MeshHandle, Shared, Target, To};
use super::link::Line;
use super::options::{MeshLimits, MeshOptions};
use super::peer::{Peer, Phase};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const READ_BYTES: usize = 1 << 16;
/// Reads of one connection before the others have their turn.
const READS_IN_A_ROW: usize = 4;
/// Peers that have gone and are remembered.
const GONE_MAX: usize = 256;
const HOUSEKEEPING: Duration = Duration::from_millis(25);
/// The first wait before calling again; it doubles up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

struct Calling {
    address: SocketAddr,
    failures: u32,
    next: Instant,
    under_way: bool,
}

/// The loop and its peers.
pub struct Mesh<D> {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    options: MeshOptions,
    own_key: TransportKey,
    door: D,
    peers: HashMap<u64, Peer>,
    next_id: u64,
    by_name: HashMap<u32, u64>,
    targets: HashMap<TransportKey, Calling>,
    bans: Bans,
    /// Who has gone lately: what they said may still be judged.
    gone: VecDeque<(u64, IpAddr, TransportKey)>,
    readable: VecDeque<u64>,
    /// One of those was not held back when it was read last.
    read_more: bool,
    up: Line,
    down: Line,
    housekeeping_at: Instant,
    scratch: Box<[u8]>,
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
            own_key: public_key(&options.secret),
            door,
            peers: HashMap::new(),
            next_id: 0,
            by_name: HashMap::new(),
            targets: HashMap::new(),
            bans: Bans::default(),
            gone: VecDeque::new(),
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
        let ip = address.ip().to_canonical();
        let of_address = self.peers.values().filter(|peer| peer.address.ip().to_canonical() == ip).count();
        if self.bans.address_banned(&ip, now) || (!ip.is_loopback() && of_address >= self.options.limits.address_max) {
            self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let shaking = self.peers.values().filter(|peer| !matches!(peer.phase, Phase::Open) && !peer.outgoing);
        let (mut count, mut oldest) = (0, u64::MAX);
        shaking.for_each(|peer| (count, oldest) = (count + 1, oldest.min(peer.id)));
        if count >= self.options.limits.shaking_max {
            self.shared.counters.evicted.fetch_add(1, Ordering::Relaxed);
            self.peers.remove(&oldest);
        }
        self.begin(stream, address, None, now);
    }

    /// A connection begins: called by us if `target` is whom we called.
    fn begin(&mut self, mut stream: TcpStream, address: SocketAddr, target: Option<TransportKey>, now: Instant) {
        let id = self.next_id;
        self.next_id += 1;
        let _ = stream.set_nodelay(true);
        if self
            .poll
            .registry()
            .register(&mut stream, Token(id as usize), Interest::READABLE | Interest::WRITABLE)
            .is_err()
        {
            if let Some(calling) = target.and_then(|target| self.targets.get_mut(&target)) {
                (calling.under_way, calling.next) = (false, now + BACK_OFF.1);
            }
            return;
        }
        let channel = Channel::new(&self.options.secret, &self.options.prologue, target.is_some());
        self.peers
            .insert(id, Peer::new(id, stream, address, channel, target, now + self.options.limits.hello_time, now));
    }

    fn obey(&mut self, command: Command, now: Instant, on: &mut impl FnMut(Event)) -> bool {
        match command {
            Command::Stop => return false,
            Command::Send(to, class, body) => self.send(&to, class, &body, on),
            Command::Targets(targets) => {
                let own = self.own_key;
                let mut kept = std::mem::take(&mut self.targets);
                for Target { key, address } in targets.into_iter().filter(|target| target.key != own) {
                    // Of two addresses for one key the first counts.
                    if self.targets.contains_key(&key) {
                        continue;
                    }
                    let calling = kept.remove(&key).filter(|calling| calling.address == address);
                    self.targets
                        .insert(key, calling.unwrap_or(Calling { address, failures: 0, next: now, under_way: false }));
                }
                self.housekeeping_at = now;
            }
            Command::Penalise(peer, points) => {
                // Whoever talks garbage and hangs up has talked garbage.
                let here = self
                    .peers
                    .get(&peer.0)
                    .map(|peer| (peer.id, peer.address.ip().to_canonical(), *peer.channel.remote()));
                let Some((id, ip, key)) = here.or_else(|| self.gone.iter().find(|gone| gone.0 == peer.0).copied())
                else {
                    return true;
                };
                if self.bans.penalise(&ip, &key, points, now) {
                    self.close(id, "banned", on);
                }
            }
            Command::CallAgain => {
                // Guests of ours are told nothing new.
                let named = |peer: &Peer| peer.name.is_some() || peer.target.is_some();
                let ids: Vec<u64> = self.peers.iter().filter(|peer| named(peer.1)).map(|peer| *peer.0).collect();
                ids.into_iter().for_each(|id| self.close(id, "called again", on));
                self.targets.values_mut().for_each(|calling| (calling.failures, calling.next) = (0, now));
                self.housekeeping_at = now;
            }
        }
        true
    }

    fn send(&mut self, to: &To, class: u8, body: &Arc<[u8]>, on: &mut impl FnMut(Event)) {
        match to {
            To::Name(name) => match self.by_name.get(name) {
                Some(&id) => self.queue(id, class, body, on),
                None => drop(self.shared.counters.unsent.fetch_add(1, Ordering::Relaxed)),
            },
            To::Peer(peer) => self.queue(peer.0, class, body, on),
            To::Some(count) => {
                let mut open: Vec<u64> =
                    self.peers.values().filter(|peer| matches!(peer.phase, Phase::Open)).map(|peer| peer.id).collect();
                open.sort_unstable();
                let turn = self.turn as usize;
                self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                for i in 0..(*count).min(open.len()) {
                    let id = open[(turn >> 8).wrapping_add(i) % open.len()];
                    self.queue(id, class, body, on);
                }
            }
        }
    }

    fn queue(&mut self, id: u64, class: u8, body: &Arc<[u8]>, _: &mut impl FnMut(Event)) {
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
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let limit = self.options.limits.pending_max[usize::from(peer.name.is_none())];
            let total = self.shared.pending.load(Ordering::Relaxed);
            // Guests together must not keep members from being heard.
            let full = peer.name.is_none() && total > self.options.limits.pending_total_max;
            if peer.pending() > limit || full || !self.down.takes(now) {
                // Its turn comes again; until then the socket's own window holds it back.
                self.readable.push_back(id);
                continue;
            }
            let mut ended = None;
            let mut more = true;
            for _ in 0..READS_IN_A_ROW {
                match peer.stream.read(&mut self.scratch) {
                    Ok(0) => ended = Some("closed by the other side"),
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
                            ended = Self::work(peer, &self.door, &self.options.limits, &self.shared, now, on).err();
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => ended = Some("the connection broke"),
                }
                if ended.is_some() || !more || peer.introduced {
                    break;
                }
            }
            peer.queued = more && ended.is_none();
            if peer.queued {
                self.readable.push_back(id);
                self.read_more = true;
            }
            // What came with the end is heard as well.
            let worked = Self::work(peer, &self.door, &self.options.limits, &self.shared, now, on);
            let introduced = peer.introduced;
            if let Some(why) = ended.or(worked.err()) {
                self.close(id, why, on);
            } else if introduced {
                self.welcome(id, on);
            }
        }
    }

    /// Works off the bytes that have come.
    fn work(
        peer: &mut Peer,
        door: &D,
        limits: &MeshLimits,
        shared: &Arc<Shared>,
        now: Instant,
        on: &mut impl FnMut(Event),
    ) -> Result<(), &'static str> {
        // What follows a hello waits until its peer has a place.
        if peer.introduced {
            return Ok(());
        }
        let incoming = std::mem::take(&mut peer.incoming);
        let mut bytes = &incoming[..];
        let info = peer.info();
        // Whom we have called we know by its key, and have asked for something.
        let known = peer.name.is_some() || peer.outgoing;
        let maxima = if known { &limits.member_frame_max } else { &limits.guest_frame_max };
        loop {
            match peer.channel.read(&mut bytes) {
                Ok(Read::More) => break,
                Ok(Read::Shaken) => {
                    peer.shake(door)?;
                }
                Ok(Read::Piece(CLASS_HELLO, hello)) if matches!(peer.phase, Phase::Shaking) => {
                    let (hello, remote, hash) =
                        (hello.to_vec(), *peer.channel.remote(), *peer.channel.handshake_hash());
                    if peer.target.is_some_and(|target| target != remote) {
                        return Err("another key than the one called");
                    }
                    match door.admit(&hello, &remote, &hash) {
                        Ok(name) => {
                            peer.name = name;
                            peer.introduced = true;
                            // The rest is read once its place is found: it may have none.
                            break;
                        }
                        Err(why) => {
                            shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                            on(Event::TurnedAway(peer.address, why));
                            return Err("not let in");
                        }
                    }
                }
                Ok(Read::Piece(CLASS_ALIVE, _)) => {}
                Ok(Read::Piece(class, piece)) => {
                    if !matches!(peer.phase, Phase::Open) {
                        return Err("spoke before its hello");
                    }
                    let pending = &peer.pending;
                    let taken = peer.streams.take(class, piece, maxima, now, |class, body| {
                        shared.counters.frames[usize::from(class)].fetch_add(1, Ordering::Relaxed);
                        shared.counters.frame_bytes[usize::from(class)].fetch_add(body.len() as u64, Ordering::Relaxed);
                        on(Event::Frame(info, class, Body::new(body, pending, shared)));
                    });
                    if taken.is_err() {
                        return Err("a frame that cannot be");
                    }
                }
                Err(_) => {
                    if !peer.channel.is_open() {
                        shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                    }
                    return Err("the channel broke");
                }
            }
        }
        let rest = bytes.len();
        peer.incoming = incoming;
        let consumed = peer.incoming.len() - rest;
        peer.incoming.drain(..consumed);
        Ok(())
    }

    /// A peer whose hello was admitted gets its place, unless it has a better connection already.
    fn welcome(&mut self, id: u64, on: &mut impl FnMut(Event)) {
        let own = self.own_key;
        let (mut members, mut guests) = (0, 0);
        for peer in self.peers.values().filter(|peer| matches!(peer.phase, Phase::Open)) {
            if peer.name.is_some() { members += 1 } else { guests += 1 }
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.introduced = false;
        let (name, key, outgoing) = (peer.name, *peer.channel.remote(), peer.outgoing);
        let full = if name.is_some() {
            members >= self.options.limits.members_max
        } else {
            guests >= self.options.limits.guests_max
        };
        if key == own || full || self.bans.key_banned(&key, Instant::now()) {
            return self.close(id, if full { "no place is free" } else { "not wanted" }, on);
        }
        if let Some(&other) = name.and_then(|name| self.by_name.get(&name))
            && let Some(there) = self.peers.get(&other)
            && *there.channel.remote() == key
            && there.outgoing != outgoing
        {
            // Both have called each other: both keep the call of the one with the lower key.
            let keep_new = outgoing == (own < key);
            if !keep_new {
                return self.close(id, "called each other", on);
            }
        }
        if let Some(name) = name
            && let Some(other) = self.by_name.insert(name, id)
        {
            self.close(other, "called again", on);
            self.by_name.insert(name, id);
        }
        if let Some(calling) = self.targets.get_mut(&key) {
            (calling.failures, calling.under_way) = (0, false);
        }
        let now = Instant::now();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.phase = Phase::Open;
        on(Event::Opened(peer.info(), key, peer.address));
        // What followed its hello is read now.
        if let Err(why) = Self::work(peer, &self.door, &self.options.limits, &self.shared, now, on) {
            self.close(id, why, on);
        }
    }

    fn close(&mut self, id: u64, why: &'static str, on: &mut impl FnMut(Event)) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let _ = self.poll.registry().deregister(&mut peer.stream);
        if let Some(target) = peer.target
            && let Some(calling) = self.targets.get_mut(&target)
        {
            calling.under_way = false;
            if !matches!(peer.phase, Phase::Open) {
                calling.failures += 1;
            }
            let wait = BACK_OFF.0.saturating_mul(1 << calling.failures.min(10)).min(BACK_OFF.1);
            // A little of it by chance, so that not all call at once.
            calling.next = Instant::now() + wait / 2 + wait.mul_f64((self.turn % 64) as f64 / 128.0);
            self.turn = self.turn.rotate_left(7) ^ id;
        }
        if matches!(peer.phase, Phase::Open) {
            if self.gone.len() >= GONE_MAX {
                self.gone.pop_front();
            }
            self.gone.push_back((id, peer.address.ip().to_canonical(), *peer.channel.remote()));
            if let Some(name) = peer.name
                && self.by_name.get(&name) == Some(&id)
            {
                self.by_name.remove(&name);
            }
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
        broken.into_iter().for_each(|id| self.close(id, "the connection broke", on));
    }

    fn keep_house(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        let mut late = Vec::new();
        for peer in self.peers.values_mut() {
            if let Some(why) = peer.overdue(now) {
                late.push((peer.id, why));
            }
        }
        late.into_iter().for_each(|(id, why)| self.close(id, why, on));
        let open: Vec<TransportKey> =
            self.peers.values().filter(|peer| peer.channel.is_open()).map(|peer| *peer.channel.remote()).collect();
        let mut calls = Vec::new();
        for (key, calling) in &mut self.targets {
            if !calling.under_way && calling.next <= now && !open.contains(key) && !self.bans.key_banned(key, now) {
                calling.under_way = true;
                calls.push((*key, calling.address));
            }
        }
        for (key, address) in calls {
            match TcpStream::connect(address) {
                Ok(stream) => self.begin(stream, address, Some(key), now),
                Err(_) => {
                    if let Some(calling) = self.targets.get_mut(&key) {
                        calling.under_way = false;
                        calling.failures += 1;
                        calling.next = now + BACK_OFF.1;
                    }
                }
            }
        }
        self.bans.forget(now);
        let counters = &self.shared.counters;
        let of = |wanted: bool| {
            self.peers
                .values()
                .filter(|peer| matches!(peer.phase, Phase::Open) && peer.name.is_some() == wanted)
                .count()
        };
        counters.members.store(of(true) as u64, Ordering::Relaxed);
        counters.guests.store(of(false) as u64, Ordering::Relaxed);
    }
}
