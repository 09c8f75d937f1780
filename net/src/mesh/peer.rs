//! One connection of the mesh, from its first byte to its last.

use super::answers::{Answers, Owed};
use super::bucket::Bucket;
use super::budget::Share;
use super::channel::{Channel, PIECE_BYTES_MAX, Read, TransportKey, is_whole, wire_bytes};
use super::door::{CLASS_ALIVE, CLASS_HELLO, Claim, Doorkeeper, SILENCE};
use super::frames::{CLASSES, Outgoing, Reassembly, Verdict, WINDOW};
use super::handle::{Body, Event, PeerInfo, Shared};
use super::link::Line;
use super::mutation::{Mutation, planted};
use super::nets::Net;
use super::rates::{Caller, HandshakeRates, SHAKE_MICROS, Work, two_seconds};
use super::sending::Sending;
use super::standing::{Bounds, MEMBER_FRAME_MAX, Standing};
use super::whom::PeerId;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Encrypted bytes that are made ahead of the socket: what is urgent waits behind no more. Of who has no duty less, since
/// there are many of them and each may be slow.
const AHEAD_BYTES: [usize; 2] = [1 << 14, 1 << 17];
/// What a connection takes by itself: the state of its encryption with a buffer, its entries in tables.
const CONNECTION_BYTES: usize = 20 << 10;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until its hello is admitted.
    Shaking,
    /// It has its place: frames go both ways.
    Open,
}

/// What a connection needs of the mesh that it belongs to.
pub(super) struct House<'a, D> {
    pub(super) door: &'a D,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) rates: &'a mut HandshakeRates,
    pub(super) answers: &'a mut Answers,
}

/// What is made of a peer's hello: a claim, and the bytes that may prove it.
pub(super) struct Introduction {
    pub(super) claim: Claim,
    pub(super) hello: Vec<u8>,
}

pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) channel: Channel,
    /// The key that was called, if we have called.
    pub(super) target: Option<TransportKey>,
    /// Who makes us work, if it has called us.
    caller: Option<Caller>,
    pub(super) phase: Phase,
    /// Its hello has come, and it has no place yet.
    pub(super) introduction: Option<Introduction>,
    /// A message of its handshake waits until there is time for it.
    pub(super) delayed: bool,
    pub(super) name: Option<u32>,
    pub(super) standing: Standing,
    bounds: Bounds,
    pub(super) owed: Owed,
    pub(super) incoming: Vec<u8>,
    streams: Reassembly,
    waiting: Outgoing,
    pending: Arc<AtomicUsize>,
    /// Where its memory is charged, and how much of what it holds is.
    share: Share,
    charged: usize,
    begun: Instant,
    read_rate: Bucket,
    /// Bytes moved in this window, and in the one before.
    moved: [usize; 2],
    moved_since: Instant,
    pub(super) write_blocked: bool,
    /// The call has been answered.
    pub(super) connected: bool,
    /// In the queue of those that may have more to read.
    pub(super) queued: bool,
    heard_at: Instant,
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
        (stream, address): (TcpStream, SocketAddr),
        channel: Channel,
        (target, caller): (Option<TransportKey>, Option<Caller>),
        deadline: Instant,
        now: Instant,
    ) -> Peer {
        let bounds = Standing::Guest.bounds();
        Peer {
            id,
            stream,
            address,
            channel,
            target,
            caller,
            phase: Phase::Shaking,
            introduction: None,
            delayed: false,
            name: None,
            standing: Standing::Guest,
            bounds,
            owed: Owed::default(),
            incoming: Vec::new(),
            streams: Reassembly::default(),
            waiting: Outgoing::default(),
            pending: Arc::default(),
            share: Share::Handshakes,
            charged: 0,
            begun: now,
            read_rate: two_seconds(bounds.read_rate.unwrap_or(0), 0),
            moved: [0; 2],
            moved_since: now,
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
        PeerInfo {
            id: PeerId(self.id),
            name: self.name,
            called: self.target.is_some(),
            standing: self.standing,
            net: Net::of(self.address.ip()),
        }
    }

    /// Bytes of frames that the caller has not worked off.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// It has this standing from now on, and what it holds is charged there.
    pub(super) fn stand(&mut self, standing: Standing, bounds: &Bounds, sending: &mut Sending, shared: &Shared) {
        let (before, after) = (self.share, Share::Of(standing));
        if before != after {
            for frame in self.waiting.frames() {
                sending.begin(after, frame, &shared.ledger);
                sending.end(before, frame, &shared.ledger);
            }
            shared.ledger.let_go(before, std::mem::take(&mut self.charged));
            self.share = after;
        }
        (self.standing, self.bounds) = (standing, *bounds);
        self.charge(shared);
    }

    pub(super) fn share(&self) -> Share {
        self.share
    }

    /// Charges what it holds now, what waits to be sent apart.
    pub(super) fn charge(&mut self, shared: &Shared) {
        let unfinished = if planted(Mutation::BudgetSkipsUnfinished) { 0 } else { self.streams.held() };
        let on_line: usize = self.on_line.iter().map(|piece| piece.1.capacity()).sum();
        let holds = CONNECTION_BYTES + self.incoming.capacity() + unfinished + self.encrypted.capacity() + on_line;
        if holds >= self.charged {
            shared.ledger.hold(self.share, holds - self.charged);
        } else {
            shared.ledger.let_go(self.share, self.charged - holds);
        }
        self.charged = holds;
    }

    /// It ends: nothing of it is held any more.
    pub(super) fn let_go(&mut self, sending: &mut Sending, shared: &Shared) {
        self.waiting.frames().for_each(|frame| sending.end(self.share, frame, &shared.ledger));
        shared.ledger.let_go(self.share, std::mem::take(&mut self.charged));
    }

    /// Bytes that come free when it ends, as far as nobody else has them, and what it has moved of late: what it moved
    /// before counts less with time, whether or not it is read meanwhile.
    pub(super) fn holding(&self, now: Instant) -> (usize, usize) {
        let [newest, before] = self.moved_by(now);
        (self.charged + self.waiting.bytes(), newest.saturating_add(before))
    }

    /// What it has moved in the window that goes on now, and in the one before.
    fn moved_by(&self, now: Instant) -> [usize; 2] {
        match now.saturating_duration_since(self.moved_since) {
            since if since < WINDOW => self.moved,
            since if since < 2 * WINDOW => [0, self.moved[0]],
            _ => [0; 2],
        }
    }

    fn moves(&mut self, bytes: usize, now: Instant) {
        if now >= self.moved_since + WINDOW {
            (self.moved, self.moved_since) = (self.moved_by(now), now);
        }
        self.moved[0] = self.moved[0].saturating_add(bytes);
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_millis() as u64
    }

    /// Whether it has been read enough for now, whatever others do.
    pub(super) fn has_enough(&mut self, now: Instant) -> bool {
        let now_ms = self.ms(now);
        let slow_down = match self.bounds.read_rate {
            // What we have asked for may come as fast as it can.
            Some(rate) if matches!(self.phase, Phase::Open) && !self.owed.any(now) => {
                self.read_rate.set(rate.saturating_mul(2), rate, now_ms);
                !self.read_rate.has(now_ms, 1)
            }
            _ => false,
        };
        slow_down || self.introduction.is_some() || self.pending() > self.bounds.pending_max
    }

    /// It is not read now though it has said something, and is neither slow nor silent for that.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.streams.excuse(now);
        self.heard_at = now;
    }

    /// Bytes have come.
    pub(super) fn hears(&mut self, bytes: usize, now: Instant) {
        self.heard_at = now;
        self.moves(bytes, now);
        if self.bounds.read_rate.is_some() && matches!(self.phase, Phase::Open) {
            self.read_rate.take(self.ms(now), bytes as u64);
        }
    }

    /// The next message of the handshake; once it is done whoever has called says its hello, if it has reached whom it
    /// has called.
    fn shake(&mut self, door: &impl Doorkeeper) -> Result<(), &'static str> {
        self.channel.shake(&mut self.encrypted).map_err(|_| "the handshake failed")?;
        let Some(target) = self.target.filter(|_| self.channel.is_open()) else { return Ok(()) };
        if target != *self.channel.remote() {
            return Err("another key than the one called");
        }
        self.say_hello(door);
        Ok(())
    }

    pub(super) fn say_hello(&mut self, door: &impl Doorkeeper) {
        let hello = door.hello(self.channel.handshake_hash());
        self.channel.write(CLASS_HELLO, &[&hello], &mut self.encrypted);
    }

    /// Works off bytes that have come, as far as it can; returns how many. An error when the connection must end.
    pub(super) fn work(
        &mut self,
        bytes: &[u8],
        house: &mut House<'_, impl Doorkeeper>,
        now: Instant,
        on: &mut impl FnMut(Event),
    ) -> Result<usize, &'static str> {
        let mut rest = bytes;
        // What follows a hello waits until its peer has a place.
        while self.introduction.is_none() && self.work_one(&mut rest, house, now, on)? {}
        Ok(bytes.len() - rest.len())
    }

    /// Keeps what could not be worked off.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming = rest.to_vec();
        }
    }

    /// Works off the first message of `bytes`, which moves past it; false when there is nothing more to do for now.
    fn work_one(
        &mut self,
        bytes: &mut &[u8],
        house: &mut House<'_, impl Doorkeeper>,
        now: Instant,
        on: &mut impl FnMut(Event),
    ) -> Result<bool, &'static str> {
        if !self.channel.is_open() && is_whole(bytes) {
            self.delayed = !self.may_cost(Work::Message, SHAKE_MICROS, house, now);
            if self.delayed {
                return Ok(false);
            }
        }
        let info = self.info();
        match self.channel.read(bytes) {
            Ok(Read::More) => return Ok(false),
            Ok(Read::Shaken) => self.shake(house.door)?,
            Ok(Read::Piece(CLASS_HELLO, hello)) if self.phase == Phase::Shaking => {
                let hello = hello.to_vec();
                self.hear_hello(hello, house, on)?;
            }
            Ok(Read::Piece(CLASS_ALIVE, _)) => {}
            Ok(Read::Piece(class, piece)) => {
                if self.phase != Phase::Open {
                    return Err("spoke before its hello");
                }
                let (streams, rights) =
                    (&mut self.streams, Rights { id: self.id, bounds: &self.bounds, share: self.share });
                let (owed, pending, shared) = (&mut self.owed, &self.pending, house.shared);
                let answers = std::cell::RefCell::new(&mut *house.answers);
                let taken = streams.take(
                    class,
                    piece,
                    now,
                    |class, length| rights.judge(class, length, owed, &mut answers.borrow_mut(), shared, now),
                    |class, body, is_answer| {
                        shared.counters.frames[usize::from(class)].fetch_add(1, Ordering::Relaxed);
                        shared.counters.frame_bytes[usize::from(class)].fetch_add(body.len() as u64, Ordering::Relaxed);
                        if is_answer {
                            shared.ledger.let_go(Share::Answers, answers.borrow_mut().end(rights.id));
                        }
                        let share = if is_answer { Share::Answers } else { rights.share };
                        on(Event::Frame(info, class, Body::new(body, share, pending, shared)));
                    },
                );
                taken.map_err(|_| "a frame that cannot be")?;
            }
            Err(_) => {
                if !self.channel.is_open() {
                    house.shared.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
                }
                return Err("the channel broke");
            }
        }
        Ok(true)
    }

    /// Whether work of this cost is done for it now; our own calls are never delayed.
    pub(super) fn may_cost(
        &self,
        work: Work,
        micros: u64,
        house: &mut House<'_, impl Doorkeeper>,
        now: Instant,
    ) -> bool {
        let may = self.caller.as_ref().is_none_or(|caller| house.rates.allow(caller, work, micros, now));
        if !may && !self.delayed {
            house.shared.counters.delayed.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Who does it say that it is? It waits for its place, and what it claims for its proof.
    fn hear_hello(
        &mut self,
        hello: Vec<u8>,
        house: &House<'_, impl Doorkeeper>,
        on: &mut impl FnMut(Event),
    ) -> Result<(), &'static str> {
        match house.door.read(&hello) {
            Ok(claim) => {
                self.introduction = Some(Introduction { claim, hello });
                Ok(())
            }
            Err(why) => {
                house.shared.counters.turned_away.fetch_add(1, Ordering::Relaxed);
                on(Event::TurnedAway(self.address, why));
                Err(FALSE_HELLO)
            }
        }
    }

    /// Whether a long frame waits to be sent to it, among the answers.
    pub(super) fn waits_aside(&self, shared: &Shared) -> bool {
        self.waiting.frames().any(|frame| Sending::is_aside(self.share, frame, &shared.ledger))
    }

    /// Queues a frame, unless it would take half of what is for all like this peer. Of a class that holds too much the
    /// oldest frames go. False if it, or another one, is not sent.
    pub(super) fn queue(&mut self, class: u8, body: &Arc<[u8]>, sending: &mut Sending, shared: &Shared) -> bool {
        let (share, max) = (self.share, self.bounds.outgoing_max[usize::from(class)]);
        if sending.is_too_long(share, body, &shared.ledger) {
            shared.counters.dropped.fetch_add(body.len() as u64, Ordering::Relaxed);
            return false;
        }
        sending.begin(share, body, &shared.ledger);
        let mut is_whole = true;
        self.waiting.push(class, body.clone(), max, |dropped| {
            is_whole = false;
            shared.counters.dropped.fetch_add(dropped.len() as u64, Ordering::Relaxed);
            sending.end(share, &dropped, &shared.ledger);
        });
        is_whole
    }

    pub(super) fn wants_to_send(&self) -> bool {
        self.phase == Phase::Open && !self.waiting.is_empty() && !self.write_blocked
    }

    /// Gives one piece to a shaped line; false when nothing more waits.
    pub(super) fn encrypt_one(
        &mut self,
        line: &mut Line,
        sending: &mut Sending,
        shared: &Shared,
        now: Instant,
    ) -> bool {
        let (waiting, channel, share) = (&mut self.waiting, &mut self.channel, self.share);
        let mut piece = Vec::with_capacity(wire_bytes(4_096));
        let done = |frame: Arc<[u8]>| sending.end(share, &frame, &shared.ledger);
        // Small pieces: on a slow line a large one would hold up the others.
        if waiting.next(4_096, |class, parts| channel.write(class, parts, &mut piece), done).is_none() {
            return false;
        }
        let before = self.on_line.back().map(|last| last.0);
        let arrival = line.give(piece.len(), now, before);
        assert!(before <= Some(arrival), "a piece overtakes the one before it on the line");
        self.on_line.push_back((arrival, piece));
        !self.waiting.is_empty()
    }

    /// Sends what there is to send, as far as the socket takes it.
    pub(super) fn flush(
        &mut self,
        shaped: bool,
        now: Instant,
        sending: &mut Sending,
        shared: &Shared,
    ) -> io::Result<()> {
        if !self.connected || self.write_blocked {
            return Ok(());
        }
        if !self.called && self.target.is_some() {
            self.called = true;
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.channel.shake(&mut self.encrypted).map_err(io::Error::other)?;
        }
        let flushed = self.write(shaped, now, sending, shared);
        if self.encrypted_sent == self.encrypted.len() {
            // A buffer that is not used is given back: there are thousands.
            (self.encrypted, self.encrypted_sent, self.stuck_since) = (Vec::new(), 0, None);
        }
        flushed
    }

    fn write(&mut self, shaped: bool, now: Instant, sending: &mut Sending, shared: &Shared) -> io::Result<()> {
        let ahead = AHEAD_BYTES[usize::from(self.standing.has_duty())];
        loop {
            if shaped {
                while self.on_line.front().is_some_and(|piece| piece.0 <= now) {
                    let (_, piece) = self.on_line.pop_front().expect("seen above");
                    self.encrypted.extend_from_slice(&piece);
                }
            } else if self.phase == Phase::Open {
                let (waiting, channel, out, share) =
                    (&mut self.waiting, &mut self.channel, &mut self.encrypted, self.share);
                let mut done = |frame: Arc<[u8]>| sending.end(share, &frame, &shared.ledger);
                while out.len() - self.encrypted_sent < ahead
                    && waiting
                        .next(PIECE_BYTES_MAX - 1, |class, parts| channel.write(class, parts, out), &mut done)
                        .is_some()
                {}
            }
            if self.encrypted_sent == self.encrypted.len() {
                return Ok(());
            }
            match self.stream.write(&self.encrypted[self.encrypted_sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.encrypted_sent += sent;
                    (self.said_at, self.stuck_since) = (now, None);
                    self.moves(sent, now);
                    shared.counters.sent.fetch_add(sent as u64, Ordering::Relaxed);
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
        if self.phase != Phase::Open {
            return (now > self.deadline).then_some("no hello in time");
        }
        if now > self.heard_at + SILENCE.1 {
            return Some("silent for too long");
        }
        if self.stuck_since.is_some_and(|since| now > since + SILENCE.1) {
            return Some("reads too slowly");
        }
        if self.streams.is_slow(now) {
            return Some("sends too slowly");
        }
        if now > self.said_at + SILENCE.0 && self.waiting.is_empty() {
            self.channel.write(CLASS_ALIVE, &[], &mut self.encrypted);
            self.said_at = now;
        }
        None
    }
}

/// Why a connection ends whose hello is a lie or none.
pub(super) const FALSE_HELLO: &str = "a false hello";

/// What a peer may send.
struct Rights<'a> {
    id: u64,
    bounds: &'a Bounds,
    share: Share,
}

impl Rights<'_> {
    /// What becomes of a frame of this length.
    fn judge(
        &self,
        class: u8,
        length: usize,
        owed: &mut Owed,
        answers: &mut Answers,
        shared: &Shared,
        now: Instant,
    ) -> Verdict {
        let class = usize::from(class);
        assert!(class < CLASSES, "a stream of class {class} has a frame, and there is none");
        if length > MEMBER_FRAME_MAX[class] {
            return Verdict::Refuse;
        }
        // What is longer than half of its share would keep all others of it from being read.
        if length <= self.bounds.frame_max[class] && length <= shared.ledger.ceiling(self.share) / 2 {
            return Verdict::Take;
        }
        let taken = shared.ledger.used(Share::Answers).saturating_sub(shared.ledger.long());
        let free = shared.ledger.ceiling(Share::Answers).saturating_sub(taken);
        let (before, gave_way) = (answers.sum(), answers.gave_way.len());
        if answers.begin(self.id, owed, length, free, now) {
            let after = answers.sum();
            shared.ledger.hold(Share::Answers, after.saturating_sub(before));
            shared.ledger.let_go(Share::Answers, before.saturating_sub(after));
            assert!(answers.gave_way.len() <= gave_way + 1, "one answer makes room at most");
            return Verdict::Answer;
        }
        // Whoever has no name has nothing to tell that is so long; others may be right, and we behind.
        if self.share == Share::Of(Standing::Guest) || self.share == Share::Of(Standing::Joining) {
            return Verdict::Refuse;
        }
        shared.counters.passed_over.fetch_add(length as u64, Ordering::Relaxed);
        Verdict::PassOver
    }
}
