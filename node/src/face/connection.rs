//! Connections of the API: taken in, read, written and closed as [`super::callers`] says.

use super::callers::{Arrival, CallerLimits, Callers, OF_EACH, Room, Stage, Subscription};
use crate::intake::shares::Holder;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use dynemix_net::mesh::Net;
use std::collections::HashMap;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

/// Bytes that are read before a question is in its turn: its head, and what of its body comes with it. They lie in memory
/// before anyone can count them, in what is each connection's own.
const HEAD_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(HEAD_BYTES_MAX as u64 <= OF_EACH / 2);
/// How often it is looked whose time is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often, and how soon again, whoever needs room asks for it.
const ROOM_TRIES: u32 = 50;
const ROOM_AGAIN: Duration = Duration::from_millis(5);

/// What a request costs beside its bytes and those of its answer.
const REQUEST_COST: u64 = 256;
/// Whoever has had so much that it would wait longer than this is read on all the same, and told so.
pub(super) const OWED_MAX: Duration = Duration::from_secs(5);

const UNPOISONED: &str = "nothing panics while it holds the callers";

/// All connections: who they are, and how each is closed.
pub(super) struct Desk {
    began: Instant,
    callers: Mutex<Callers>,
    /// Dropping one closes its connection.
    closers: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Desk {
    pub(super) fn new(limits: CallerLimits) -> Arc<Desk> {
        let (callers, closers) = (Mutex::new(Callers::new(limits)), Mutex::default());
        Arc::new(Desk { began: Instant::now(), callers, closers })
    }

    /// Asks the rules, which know no clock.
    pub(super) fn ask<T>(&self, of: impl FnOnce(&mut Callers, u64) -> T) -> T {
        let now_ms = self.began.elapsed().as_millis() as u64;
        of(&mut self.callers.lock().expect(UNPOISONED), now_ms)
    }

    fn close(&self, connections: &[u64]) {
        let mut closers = self.closers.lock().expect(UNPOISONED);
        connections.iter().for_each(|id| drop(closers.remove(id)));
    }

    /// Closes those whose time is over, for as long as anyone serves.
    pub(super) async fn mind(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let over = self.ask(|callers, now_ms| callers.overdue(now_ms));
            self.close(&over);
        }
    }
}

/// One connection, as whoever answers it knows it.
pub(super) struct Connection {
    pub(super) id: u64,
    /// It may ask for health, readiness and metrics only.
    pub(super) kept: bool,
    /// It comes from this computer.
    pub(super) from_here: bool,
    /// Whose share what it hands in is of.
    pub(super) holder: Holder,
    desk: Arc<Desk>,
    /// Bytes that have come since its last question.
    head: AtomicUsize,
    /// It has become a WebSocket.
    subscribed: AtomicBool,
    /// One question at a time, from its first byte to the last of its answer.
    turn: Arc<Semaphore>,
}

/// There is no room for a question or an answer, and nobody is slow enough to make some.
#[derive(Debug)]
pub(super) struct NoRoom;

impl Connection {
    /// Waits until the answer before has gone.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let permit = self.turn.clone().acquire_owned().await.expect("never closed");
        self.head.store(0, Ordering::Relaxed);
        self.enter(Stage::Reading);
        Turn { connection: self.clone(), _permit: permit, held: 0 }
    }

    /// Counts a request, whatever it asks: it costs beside its bytes and its answer.
    pub(super) fn charge_request(&self) {
        self.charge(REQUEST_COST);
    }

    /// Goes on to something else.
    pub(super) fn enter(&self, stage: Stage) {
        self.desk.ask(|callers, now_ms| callers.enter(now_ms, self.id, stage));
    }

    /// Becomes a WebSocket; false where there are too many.
    pub(super) fn subscribe(&self) -> bool {
        let subscription = self.desk.ask(|callers, now_ms| callers.subscribe(now_ms, self.id));
        let Subscription::Taken(instead_of) = subscription else { return false };
        self.desk.close(instead_of.as_slice());
        self.subscribed.store(true, Ordering::Relaxed);
        true
    }

    /// Whether it may hand in a transaction now.
    pub(super) fn may_submit(&self) -> bool {
        self.desk.ask(|callers, now_ms| callers.may_submit(now_ms, self.id))
    }

    /// Counts what was read or sent for it.
    pub(super) fn charge(&self, bytes: u64) {
        self.desk.ask(|callers, now_ms| callers.charge(now_ms, self.id, bytes));
    }

    /// Holds more bytes if they are free; where they are not, those who are slow are closed, and it is to ask again.
    fn try_hold(&self, bytes: u64) -> Result<bool, NoRoom> {
        match self.desk.ask(|callers, now_ms| callers.hold(now_ms, self.id, bytes)) {
            Room::Taken => return Ok(true),
            Room::Close(slow) => self.desk.close(&slow),
            Room::Full => return Err(NoRoom),
        }
        Ok(false)
    }

    /// Holds more bytes for its turn, on a thread that may wait for them.
    pub(super) fn hold_here(&self, bytes: u64) -> Result<(), NoRoom> {
        for _ in 0..ROOM_TRIES {
            if self.try_hold(bytes)? {
                return Ok(());
            }
            std::thread::sleep(ROOM_AGAIN);
        }
        Err(NoRoom)
    }

    /// Holds so many bytes less than [`Self::hold_here`] has come to.
    pub(super) fn let_go(&self, bytes: u64) {
        self.desk.ask(|callers, _| callers.give_back(self.id, bytes));
    }

    /// How long it has to wait for what it has had.
    pub(super) fn owed(&self) -> Duration {
        Duration::from_millis(self.desk.ask(|callers, now_ms| callers.owed_ms(now_ms, self.id)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.desk.close(&[self.id]);
        self.desk.ask(|callers, _| callers.leave(self.id));
    }
}

/// A question that is under way, and the bytes that are held for it.
pub(super) struct Turn {
    pub(super) connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
    held: u64,
}

impl Turn {
    /// Holds more bytes. Who is slow is closed for it, and waited for.
    pub(super) async fn hold(&mut self, bytes: u64) -> Result<(), NoRoom> {
        for _ in 0..ROOM_TRIES {
            if self.connection.try_hold(bytes)? {
                self.held += bytes;
                return Ok(());
            }
            tokio::time::sleep(ROOM_AGAIN).await;
        }
        Err(NoRoom)
    }

    /// Bytes that [`Connection::hold_here`] has come to hold on another thread.
    pub(super) fn took(&mut self, bytes: u64) {
        self.held += bytes;
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Holds no more than this from now on.
    pub(super) fn keep(&mut self, bytes: u64) {
        let more = self.held.saturating_sub(bytes);
        self.held -= more;
        assert!(self.held <= bytes, "{} bytes are held, {bytes} are to be kept", self.held);
        self.connection.desk.ask(|callers, _| callers.give_back(self.connection.id, more));
    }

    /// The answer's bytes. They are held until the last of them is with the system: then the turn is over.
    pub(super) fn answer(self, text: Vec<u8>) -> Bytes {
        self.connection.charge(text.len() as u64);
        self.connection.enter(Stage::Answering(text.len() as u64));
        Bytes::from_owner(Answer { text, _turn: self })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.keep(0);
        self.connection.enter(Stage::Idle);
    }
}

struct Answer {
    text: Vec<u8>,
    _turn: Turn,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// What a handler is given of its connection.
#[derive(Clone)]
pub(super) struct Caller(pub(super) Arc<Connection>);

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Caller(stream.io().connection.clone())
    }
}

/// Takes in whoever has a place.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) desk: Arc<Desk>,
}

impl Listener for Door {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(come) => come,
                // Too many files, or a caller that has gone: tried again a moment later.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let arrival = self.desk.ask(|callers, now_ms| callers.arrive(now_ms, address.ip()));
            let Arrival::Placed { id, kept, instead_of } = arrival else { continue };
            self.desk.close(instead_of.as_slice());
            let (closer, closed) = oneshot::channel();
            self.desk.closers.lock().expect(UNPOISONED).insert(id, closer);
            let connection = Arc::new(Connection {
                id,
                kept,
                from_here: Net::of(address.ip()) == Net::Loopback,
                holder: Holder::of(Net::of(address.ip()), id),
                desk: self.desk.clone(),
                head: AtomicUsize::new(0),
                subscribed: AtomicBool::new(false),
                turn: Arc::new(Semaphore::new(1)),
            });
            return (Placed { stream, connection, closed: Some(closed), owed: None }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection's socket, which ends when its place is taken or its time is over.
pub(super) struct Placed {
    stream: TcpStream,
    connection: Arc<Connection>,
    closed: Option<oneshot::Receiver<()>>,
    /// Until when nothing is read of it.
    owed: Option<Pin<Box<Sleep>>>,
}

impl Placed {
    /// Whether it is to wait for what it has had before it is read on; then whoever polls is woken by that.
    fn waits(&mut self, context: &mut Context<'_>) -> bool {
        let owed = match self.owed.take() {
            Some(owed) => owed,
            None => {
                let owed = self.connection.owed().min(OWED_MAX);
                if owed.is_zero() {
                    return false;
                }
                Box::pin(tokio::time::sleep(owed))
            }
        };
        let waits = self.owed.insert(owed).as_mut().poll(context).is_pending();
        if !waits {
            self.owed = None;
        }
        waits
    }

    /// Fails once it is closed; until then whoever polls is woken by that.
    fn open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let ended = self.closed.as_mut().is_none_or(|closed| Pin::new(closed).poll(context).is_ready());
        if ended {
            self.closed = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.open(context)?;
        if self.waits(context) {
            return Poll::Pending;
        }
        // While a question is worked on its body comes by here too, which has its own bound, as have WebSockets.
        let Connection { turn, subscribed, head, .. } = &*self.connection;
        let of_head = turn.available_permits() > 0 && !subscribed.load(Ordering::Relaxed);
        let (had, before) = (head.load(Ordering::Relaxed), buffer.filled().len());
        let polled = if of_head {
            // Whoever reads on behind so much has found no end of it.
            let left = HEAD_BYTES_MAX.saturating_sub(had);
            if left == 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(left.min(buffer.remaining())));
            let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
            let come = part.filled().len();
            buffer.advance(come);
            polled
        } else {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        };
        let come = buffer.filled().len() - before;
        // Whatever comes is read for it, whether it asks anything or not.
        if come > 0 {
            self.connection.charge(come as u64);
        }
        if of_head {
            if had == 0 && come > 0 {
                self.connection.desk.ask(|callers, now_ms| callers.begin(now_ms, self.connection.id));
            }
            assert!(had + come <= HEAD_BYTES_MAX, "{had} and {come} bytes are read of a head");
            self.connection.head.fetch_add(come, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.open(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    /// With this an answer is written from where it lies, and let go with its last byte; without, it would be copied.
    fn is_write_vectored(&self) -> bool {
        true
    }
}
