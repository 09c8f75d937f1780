//! The event loop of the mesh: sockets in, events out, commands obeyed. Who may stay is decided by the roster; here it
//! is carried out. The clock is read once a turn.

use super::answers::Answers;
use super::budget::{Holding, Ledger, Share, largest, least_useful};
use super::channel::{Channel, TransportKey, public_key};
use super::commands::Command;
use super::door::{Claim, Doorkeeper};
use super::handle::{Event, MeshHandle, Shared};
use super::link::Line;
use super::options::MeshOptions;
use super::peer::{FALSE_HELLO, House, Introduction, Peer, Phase};
use super::rates::{CHECK_MICROS, HandshakeRates, SIGN_MICROS, Work};
use super::roster::{Arrival, Roster, Welcome};
use super::sending::Sending;
use super::standing::Standing;
use super::whom::{PeerId, To};
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
/// Bytes of one read, and of one before the handshake is done: whoever has not said who it is says little.
const READ_BYTES: usize = 1 << 16;
const READ_BYTES_SHAKING: usize = 1 << 12;
/// What can be left of a read: a message that is not whole, or what a handshake has brought too early.
const LEFT_BYTES: usize = 1 << 15;
/// Reads of one connection before the others have their turn.
const READS_IN_A_ROW: usize = 4;
/// Connections that are accepted before peers have their turn.
const ACCEPTS_IN_A_ROW: usize = 64;
const HOUSEKEEPING: Duration = Duration::from_millis(25);
/// Points of a hello that is false: a third one within minutes is a ban.
const FALSE_HELLO_POINTS: u32 = 34;

/// The loop and its peers.
pub struct Mesh<D> {
    poll: Poll,
    events: Events,
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    options: MeshOptions,
    door: D,
    roster: Roster,
    rates: HandshakeRates,
    answers: Answers,
    sending: Sending,
    /// A socket for each entry of the roster.
    peers: HashMap<u64, Peer>,
    readable: VecDeque<u64>,
    /// Whose hello waits for its place.
    introduced: VecDeque<u64>,
    /// One of those was not held back when it was read last.
    read_more: bool,
    /// More may call than were accepted in this turn.
    accept_more: bool,
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
        let ledger = Ledger::new(options.limits.budget_bytes, &options.limits.parts);
        let shared = Arc::new(Shared::new(mio::Waker::new(poll.registry(), WAKER)?, address, ledger));
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let seed = u64::from_le_bytes(seed);
        let now = Instant::now();
        let mesh = Mesh {
            poll,
            events: Events::with_capacity(1024),
            listener,
            shared: shared.clone(),
            door,
            roster: Roster::new(public_key(&options.secret), options.limits, seed.rotate_left(32)),
            rates: HandshakeRates::new(options.limits.handshake_work, now),
            answers: Answers::default(),
            sending: Sending::default(),
            peers: HashMap::new(),
            readable: VecDeque::new(),
            introduced: VecDeque::new(),
            read_more: false,
            accept_more: false,
            up: Line::new(options.link, seed),
            down: Line::new(options.link, !seed),
            housekeeping_at: now,
            scratch: vec![0; LEFT_BYTES + READ_BYTES].into(),
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
            self.take_events(now, &mut on);
            for command in self.shared.take_commands() {
                if !self.obey(command, now, &mut on) {
                    return Ok(());
                }
            }
            self.read_all(now, &mut on);
            self.introduce_all(now, &mut on);
            self.write_all(now, &mut on);
            self.shared.ledger.look();
            if now >= self.housekeeping_at {
                self.housekeeping_at = now + HOUSEKEEPING;
                self.keep_house(now, &mut on);
            }
            assert_eq!(self.peers.len(), self.roster.len(), "the mesh has a socket without an entry in its roster");
        }
    }

    fn timeout(&self) -> Duration {
        if self.accept_more || self.read_more && !self.down.shapes() {
            return Duration::ZERO;
        }
        let waits = !self.readable.is_empty() || !self.introduced.is_empty();
        if self.up.shapes() || waits { Duration::from_millis(2) } else { HOUSEKEEPING }
    }

    fn take_events(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        let mut accept = self.accept_more;
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
        if accept {
            self.accept_all(now, on);
        }
    }

    fn accept_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        self.accept_more = false;
        for _ in 0..ACCEPTS_IN_A_ROW {
            match self.listener.as_ref().map(TcpListener::accept) {
                Some(Ok((stream, address))) => self.accept(stream, address, now, on),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
        // The system says only once that somebody calls.
        self.accept_more = self.listener.is_some();
    }

    fn accept(&mut self, stream: TcpStream, address: SocketAddr, now: Instant, on: &mut impl FnMut(Event)) {
        if !self.rates.accepts(&self.roster.caller_at(&address, now), now) {
            self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.roster.arrive(&address) {
            Arrival::Refused => {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Arrival::Instead(least) => {
                let placed = self.peers.get(&least).is_some_and(|peer| peer.phase == Phase::Open);
                let counters = &self.shared.counters;
                let counter = if placed { &counters.displaced } else { &counters.evicted };
                counter.fetch_add(1, Ordering::Relaxed);
                self.close(least, "made room for another", now, on);
            }
            Arrival::Taken => {}
        }
        self.begin(stream, address, None, now);
    }

    /// A connection begins: called by us if `target` is whom we called.
    fn begin(&mut self, mut stream: TcpStream, address: SocketAddr, target: Option<TransportKey>, now: Instant) {
        let id = self.roster.begin(&address, target, now);
        let _ = stream.set_nodelay(true);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(id as usize), interest).is_err() {
            return self.roster.cannot_begin(id, now);
        }
        let channel = Channel::new(&self.options.secret, &self.options.prologue, target.is_some());
        let deadline = now + self.options.limits.hello_time;
        let caller = self.roster.caller(id);
        let mut peer = Peer::new(id, (stream, address), channel, (target, caller), deadline, now);
        peer.charge(&self.shared);
        self.peers.insert(id, peer);
    }

    fn obey(&mut self, command: Command, now: Instant, on: &mut impl FnMut(Event)) -> bool {
        match command {
            Command::Stop => return false,
            Command::Send(to, class, body) => drop(self.send(&to, class, &body, now, on)),
            Command::Ask(to, class, body, answers) => {
                for id in self.send(&to, class, &body, now, on) {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.owed.ask(answers, now);
                    }
                }
            }
            Command::Missed(peer) => self.miss(peer, now, on),
            Command::Names(names) => self.roster.set_names(names),
            Command::Standings(standings) => {
                let (changed, go) = self.roster.set_standings(standings);
                for (id, standing) in changed {
                    self.stand(id, standing);
                }
                for id in go {
                    self.shared.counters.displaced.fetch_add(1, Ordering::Relaxed);
                    self.close(id, "made room for another", now, on);
                }
            }
            Command::Targets(targets) => {
                self.roster.set_targets(targets, now);
                self.housekeeping_at = now;
            }
            Command::Penalise(peer, points) => {
                if self.roster.penalise(peer.0, points, now) {
                    let later = self.roster.namesake(peer.0).filter(|&later| later != peer.0);
                    [Some(peer.0), later].into_iter().flatten().for_each(|id| self.close(id, "banned", now, on));
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

    fn stand(&mut self, id: u64, standing: Standing) {
        let bounds = self.options.limits.of(standing);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.stand(standing, bounds, &mut self.sending, &self.shared);
        }
    }

    /// Queues a frame; returns for whom.
    fn send(&mut self, to: &To, class: u8, body: &Arc<[u8]>, now: Instant, on: &mut impl FnMut(Event)) -> Vec<u64> {
        let ids = match to {
            To::Name(name) => {
                let id = self.roster.named(*name);
                self.shared.counters.unsent.fetch_add(u64::from(id.is_none()), Ordering::Relaxed);
                id.into_iter().collect()
            }
            To::Peer(peer) => vec![peer.0],
            To::Some(count) => {
                let turn = self.turn as usize;
                self.turn = self.turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.roster.some(*count, turn >> 8)
            }
        };
        for id in &ids {
            let Some(peer) = self.peers.get(id).filter(|peer| peer.phase == Phase::Open) else { continue };
            let share = peer.share();
            if Sending::is_aside(share, body, &self.shared.ledger) {
                self.make_room_aside(share, body, now, on);
            } else {
                self.make_room(share, now, on, |sending, ledger| sending.has_room(share, body, ledger));
            }
            let Some(peer) = self.peers.get_mut(id) else { continue };
            let is_sent = if self.sending.has_room(share, body, &self.shared.ledger) {
                peer.queue(class, body, &mut self.sending, &self.shared)
            } else {
                self.shared.counters.dropped.fetch_add(body.len() as u64, Ordering::Relaxed);
                false
            };
            if let Some(peer) = to.peer().filter(|_| !is_sent) {
                self.miss(peer, now, on);
            }
        }
        ids
    }

    /// Of what is for this peer alone something is not sent. Who has no name would wait for its answer as long as its
    /// connection lives, and it does not know for which: its end says so. Names ask again in any case.
    fn miss(&mut self, peer: PeerId, now: Instant, on: &mut impl FnMut(Event)) {
        if self.peers.get(&peer.0).is_some_and(|peer| peer.standing == Standing::Guest) {
            self.close(peer.0, "an answer to it found no room", now, on);
        }
    }

    /// Ends connections of a share until there is room, or nobody who may go is left.
    fn make_room(
        &mut self,
        share: Share,
        now: Instant,
        on: &mut impl FnMut(Event),
        has_room: impl Fn(&Sending, &Ledger) -> bool,
    ) {
        while !has_room(&self.sending, &self.shared.ledger) {
            let of_share = self.peers.values().filter(|peer| peer.share() == share);
            let holding = |peer: &Peer| {
                let (held, moved) = peer.holding(now);
                Holding { id: peer.id, held, moved }
            };
            let holdings: Vec<Holding> = of_share.map(holding).collect();
            let ledger = &self.shared.ledger;
            let of_all = || largest(&holdings).filter(|_| ledger.is_stuck(share, READ_BYTES));
            let Some(least) = least_useful(&holdings, ledger.ceiling_of_reads(share)).or_else(of_all) else { return };
            self.shared.counters.overfull.fetch_add(1, Ordering::Relaxed);
            self.close(least, "its share of the memory is full", now, on);
        }
    }

    /// Ends connections for which long frames have waited for too long, of who has moved least first, until there is room for
    /// another: who takes a block a few bytes at a time would keep the next ones from all others.
    fn make_room_aside(&mut self, share: Share, body: &Arc<[u8]>, now: Instant, on: &mut impl FnMut(Event)) {
        while !self.sending.has_room(share, body, &self.shared.ledger) && self.sending.is_slow_aside(now) {
            let waiting = self.peers.values().filter(|peer| peer.waits_aside(&self.shared));
            let Some(least) = waiting.min_by_key(|peer| (peer.holding(now).1, peer.id)).map(|peer| peer.id) else {
                return;
            };
            self.shared.counters.overfull.fetch_add(1, Ordering::Relaxed);
            self.close(least, "took a long frame too slowly", now, on);
        }
    }

    fn read_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        self.read_more = false;
        for _ in 0..self.readable.len() {
            let Some(id) = self.readable.pop_front() else { return };
            if let Some(share) = self.peers.get(&id).map(Peer::share) {
                self.make_room(share, now, on, |_, ledger| !ledger.is_stuck(share, READ_BYTES));
            }
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let alike = self.roster.alike(peer.standing);
            if held_back(peer, &self.shared.ledger, alike, now) || !self.down.takes(now) {
                // Its turn comes again; until then the socket's own window holds it back. Nobody is excused for a
                // fullness that it has more than its part in.
                if !fills(peer, &self.shared.ledger, alike, now) {
                    peer.excuse(now);
                }
                self.readable.push_back(id);
                continue;
            }
            let worked = self.read_one(id, now, on);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.phase == Phase::Shaking && peer.channel.is_open() {
                self.roster.shaken(id, *peer.channel.remote());
            }
            if peer.introduction.is_some() && worked.is_ok() {
                self.introduced.push_back(id);
            }
            if let Err(why) = worked {
                if why == FALSE_HELLO {
                    self.roster.penalise(id, FALSE_HELLO_POINTS, now);
                }
                self.close(id, why, now, on);
            }
            for id in std::mem::take(&mut self.answers.gave_way) {
                self.shared.counters.overfull.fetch_add(1, Ordering::Relaxed);
                self.close(id, "its answer made room for shorter ones", now, on);
            }
        }
    }

    /// Reads a peer's socket for a while and works off what has come; an error when its connection must end.
    fn read_one(&mut self, id: u64, now: Instant, on: &mut impl FnMut(Event)) -> Result<(), &'static str> {
        let Mesh { peers, door, shared, rates, answers, scratch, roster, down, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return Ok(()) };
        let mut house = House { door, shared, rates, answers };
        let others = roster.alike(peer.standing);
        let mut more = true;
        for _ in 0..READS_IN_A_ROW {
            let left = peer.incoming.len();
            assert!(left <= LEFT_BYTES, "{left} bytes are left of a read, more than one message has");
            scratch[..left].copy_from_slice(&peer.incoming);
            let room = if peer.phase == Phase::Open { READ_BYTES } else { READ_BYTES_SHAKING };
            // What was delayed is worked off before more is read.
            let delayed = peer.delayed;
            let read = if delayed { Ok(0) } else { peer.stream.read(&mut scratch[left..left + room]) };
            let bytes = match read {
                Ok(0) if !delayed => return Err("closed by the other side"),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                Err(_) => return Err("the connection broke"),
            };
            if bytes > 0 {
                peer.hears(bytes, now);
                roster.spoke(id, now);
                if down.shapes() {
                    down.give(bytes, now, None);
                }
                shared.counters.received.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            let consumed = peer.work(&scratch[..left + bytes], &mut house, now, on)?;
            peer.keep(&scratch[consumed..left + bytes]);
            peer.charge(shared);
            let waits = peer.delayed || peer.introduction.is_some();
            more = delayed || waits || bytes == room;
            if !more || waits || held_back(peer, &shared.ledger, others, now) {
                break;
            }
        }
        peer.queued = more;
        if more {
            self.readable.push_back(id);
            self.read_more |= !peer.delayed && peer.introduction.is_none();
        }
        Ok(())
    }

    /// Gives those their places whose hello has come, as far as there is time to look at their proofs.
    fn introduce_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        for _ in 0..self.introduced.len() {
            let Some(id) = self.introduced.pop_front() else { return };
            if self.peers.get(&id).is_some_and(|peer| peer.introduction.is_some()) {
                self.introduce(id, now, on);
            }
        }
    }

    /// What is cheap comes first: whether it is wanted at all, and whether its network has time left; then its proof;
    /// then our own hello, if it has called.
    fn introduce(&mut self, id: u64, now: Instant, on: &mut impl FnMut(Event)) {
        let Mesh { peers, door, shared, rates, answers, roster, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return };
        let Some(Introduction { claim, hello }) = peer.introduction.take() else { return };
        if let Err(why) = roster.wants(id, claim, now) {
            return self.close(id, why, now, on);
        }
        let mut house = House { door, shared, rates, answers };
        let proof = if matches!(claim, Claim::Named(_)) { CHECK_MICROS } else { 0 };
        if !peer.may_cost(Work::Hello, SIGN_MICROS + proof, &mut house, now) {
            peer.introduction = Some(Introduction { claim, hello });
            peer.delayed = true;
            return self.introduced.push_back(id);
        }
        peer.delayed = false;
        if let Claim::Named(name) = claim {
            shared.counters.proofs.fetch_add(1, Ordering::Relaxed);
            if !door.prove(&hello, name, peer.channel.remote(), peer.channel.handshake_hash()) {
                shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                on(Event::TurnedAway(peer.address, format!("name {name} is not proved")));
                roster.penalise(id, FALSE_HELLO_POINTS, now);
                return self.close(id, FALSE_HELLO, now, on);
            }
        }
        if peer.target.is_none() {
            peer.say_hello(door);
        }
        self.welcome(id, claim, now, on);
    }

    /// A peer whose hello was admitted gets its place, or has to go.
    fn welcome(&mut self, id: u64, claim: Claim, now: Instant, on: &mut impl FnMut(Event)) {
        let standing = match self.roster.welcome(id, claim, now) {
            Welcome::Refused(why) => return self.close(id, why, now, on),
            Welcome::Placed { standing, earlier, displaced } => {
                if let Some(earlier) = earlier {
                    self.close(earlier, "called again", now, on);
                }
                if let Some(displaced) = displaced {
                    self.shared.counters.displaced.fetch_add(1, Ordering::Relaxed);
                    self.close(displaced, "made room for another", now, on);
                }
                standing
            }
        };
        self.stand(id, standing);
        let Mesh { peers, door, shared, rates, answers, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return };
        peer.phase = Phase::Open;
        peer.name = if let Claim::Named(name) = claim { Some(name) } else { None };
        on(Event::Opened(peer.info(), *peer.channel.remote(), peer.address));
        // What followed its hello is read now.
        let followed = std::mem::take(&mut peer.incoming);
        let mut house = House { door, shared, rates, answers };
        match peer.work(&followed, &mut house, now, on) {
            Ok(consumed) => peer.keep(&followed[consumed..]),
            Err(why) => return self.close(id, why, now, on),
        }
        peer.charge(shared);
    }

    fn close(&mut self, id: u64, why: &'static str, now: Instant, on: &mut impl FnMut(Event)) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let _ = self.poll.registry().deregister(&mut peer.stream);
        peer.let_go(&mut self.sending, &self.shared);
        self.shared.ledger.let_go(Share::Answers, self.answers.end(id));
        self.roster.leave(id, now);
        if peer.phase == Phase::Open {
            on(Event::Closed(peer.info(), why));
        }
    }

    fn write_all(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        let mut broken = Vec::new();
        let Mesh { peers, up, shared, sending, .. } = self;
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
                    up.takes(now) && peer.encrypt_one(up, sending, shared, now)
                });
            }
        }
        for peer in peers.values_mut() {
            if peer.flush(up.shapes(), now, sending, shared).is_err() {
                broken.push(peer.id);
            }
            peer.charge(shared);
        }
        broken.into_iter().for_each(|id| self.close(id, "the connection broke", now, on));
    }

    fn keep_house(&mut self, now: Instant, on: &mut impl FnMut(Event)) {
        // An accept that failed for want of a descriptor brings no event when one is free again.
        self.accept_all(now, on);
        let mut late = Vec::new();
        for peer in self.peers.values_mut() {
            if let Some(why) = peer.overdue(now) {
                late.push((peer.id, why));
            }
        }
        late.into_iter().for_each(|(id, why)| self.close(id, why, now, on));
        for target in self.roster.calls_due(now) {
            match TcpStream::connect(target.address) {
                Ok(stream) => self.begin(stream, target.address, Some(target.key), now),
                Err(_) => self.roster.cannot_call(&target, now),
            }
        }
        self.roster.forget(now);
        self.rates.forget(now);
        let held: usize = Share::ALL.iter().map(|&share| self.shared.ledger.held(share)).sum();
        assert!(!self.peers.is_empty() || held == 0, "{held} bytes are held for connections that are gone");
        let (counters, counts) = (&self.shared.counters, self.roster.counts());
        counters.standings.iter().zip(counts).for_each(|(shown, count)| shown.store(count as u64, Ordering::Relaxed));
        let (members, guests) = self.roster.members_and_guests();
        counters.members.store(members as u64, Ordering::Relaxed);
        counters.guests.store(guests as u64, Ordering::Relaxed);
    }
}

/// Whether a peer is not read now: it has too much that nobody has worked off, it comes faster than it may, or its share
/// of the memory is full. Where half of the share is used, whoever has more than its part waiting to be worked off makes
/// way for the others.
fn held_back(peer: &mut Peer, ledger: &Ledger, alike: usize, now: Instant) -> bool {
    let share = peer.share();
    if peer.has_enough(now) || !ledger.may_read(share, READ_BYTES) {
        return true;
    }
    let ceiling = ledger.ceiling(share);
    ledger.used(share) > ceiling / 2 && peer.pending() > ceiling / alike.max(1)
}

/// Whether its share is full of what is not worked off yet by the mesh, and it holds more than its part of that.
fn fills(peer: &Peer, ledger: &Ledger, alike: usize, now: Instant) -> bool {
    let (share, held) = (peer.share(), peer.holding(now).0);
    let of_mesh = ledger.held(share) > ledger.pending(share);
    of_mesh && !ledger.may_read(share, READ_BYTES) && held > ledger.ceiling_of_reads(share) / alike.max(1)
}
