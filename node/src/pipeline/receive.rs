//! Receive stage: owns the sockets and both ends of a transaction's life. Bytes go from the socket into arena slots;
//! answers come back from every stage, are gathered by connection and sent; the slots are given back.

use super::outcome::Outcome;
use super::stage::{Outlet, RefusalBoard, StageAccount, StageTimer, Time, Wake};
use super::suspicion::Suspicion;
use dynemix_engine::base::limits::CELL_BYTES;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::pipeline::arena::{Arena, Handle, Origin, PAYLOAD_SLOT_BYTES, PayloadSlot};
use dynemix_engine::pipeline::in_flight::InFlight;
use dynemix_engine::pipeline::ring::Consumer;
use dynemix_engine::transaction::client_frames::{
    FrameKind, HELLO_BYTES, Header, Incoming, OUTCOME_BYTES, SUBMIT_CELLS_MAX, Welcome, check_hello, incoming,
    outcome_record, refused,
};
use dynemix_net::{Closing, ConnectionId, HEADER_BYTES, Handler, LoopWaker, NetCounters, PARTS_MAX, Server};
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const ANSWERS_MAX: usize = 8192;
const SLEEP: Duration = Duration::from_millis(20);
/// Cells that a body in progress gets slots for at once when many bodies are in progress.
const CELLS_AT_ONCE: usize = 8;
/// Records of one OUTCOME frame.
const RECORDS_MAX: usize = 1 << 12;
const _: () = assert!(PARTS_MAX > SUBMIT_CELLS_MAX as usize + 1);
// A frame's head counts its records in 16 bits.
const _: () = assert!(RECORDS_MAX <= u16::MAX as usize);

impl Wake for LoopWaker {
    fn wake(&self) {
        LoopWaker::wake(self);
    }
}

/// What the stage works with.
pub struct ReceiveStage {
    /// The listener and all connections.
    pub server: Server,
    /// Protocol of the connections.
    pub clients: Clients,
    /// To the check stage.
    pub output: Outlet<Handle>,
    /// From every stage.
    pub answers: Vec<Consumer<Outcome>>,
    /// No more cells are taken once this is set.
    pub stop_receiving: Arc<AtomicBool>,
    /// Set by the stage once it takes no more.
    pub stopped_receiving: Arc<AtomicBool>,
    /// The stage ends once this is set and all answers are sent.
    pub stop: Arc<AtomicBool>,
    /// Where its time is booked.
    pub account: Arc<StageAccount>,
}

impl ReceiveStage {
    /// Runs until stopped; returns the network's counters.
    ///
    /// # Errors
    /// When the event loop itself fails.
    pub fn run(mut self) -> io::Result<NetCounters> {
        let mut timer = StageTimer::new();
        let (mut batch, mut scratch) = (Vec::with_capacity(ANSWERS_MAX), Vec::with_capacity(ANSWERS_MAX));
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let mut answered = 0;
            for consumer in &self.answers {
                answered += consumer.take_into(&mut batch, ANSWERS_MAX, &mut scratch);
            }
            self.clients.answer(&mut batch, &mut self.server);
            if answered == 0 && stopping {
                self.server.flush(&mut self.clients);
                self.server.close_all(&mut self.clients);
                let Clients { partial_slots, received, .. } = &self.clients;
                assert_eq!(*partial_slots, 0, "bodies hold slots, and no connection is open");
                assert!(received.is_empty(), "{} cells were received and never handed on", received.len());
                return Ok(self.server.counters());
            }
            self.server.flush(&mut self.clients);
            timer.lap(&self.account, Time::Busy);

            let answers = &self.answers;
            let timeout = if answered == 0 { SLEEP } else { Duration::ZERO };
            let waited = self
                .server
                .turn(&mut self.clients, timeout, || answers.iter().any(|consumer| consumer.waiting() > 0))?;
            timer.lap_after_waiting(&self.account, waited);

            if self.stop_receiving.load(Ordering::Acquire) && !self.clients.closed_for_cells {
                self.clients.closed_for_cells = true;
            }
            self.output.push_all(&mut self.clients.received, &mut timer, &self.account);
            if self.clients.closed_for_cells {
                self.stopped_receiving.store(true, Ordering::Release);
            }
        }
    }
}

/// A body in progress.
enum Body {
    None,
    Hello,
    /// So many cells; what has no slot goes to the sink and is answered `busy`.
    Cells {
        count: usize,
        sink: bool,
    },
    /// One cell and so many payload bytes; without a place for both, all goes to the sink.
    CellWithPayload {
        payload_bytes: usize,
        payload: Option<PayloadSlot>,
    },
}

struct Client {
    generation: u32,
    open: bool,
    welcomed: bool,
    body: Body,
    hello: [u8; HELLO_BYTES],
    /// Slots of the body in progress.
    slots: Vec<Handle>,
    ordinal: u32,
    /// Outcome records gathered in this round.
    records: Vec<u8>,
}

/// The connections as the protocol sees them.
pub struct Clients {
    chain: Chain,
    arena: Arc<Arena>,
    in_flight: Arc<InFlight>,
    refusals: Arc<RefusalBoard>,
    suspicion: Arc<Suspicion>,
    slot: Arc<AtomicU64>,
    height: Box<dyn Fn() -> u64 + Send>,
    clients: Vec<Client>,
    /// Places with records.
    touched: Vec<u32>,
    /// Cells ready for the check stage.
    received: Vec<Handle>,
    closed_for_cells: bool,
    /// Slots held by bodies in progress, and how many may be before new ones get theirs piecemeal.
    partial_slots: usize,
    partial_slots_easy: usize,
    sink: Box<[u8; SUBMIT_CELLS_MAX as usize * CELL_BYTES]>,
    freed: Vec<Handle>,
    numbers: Vec<u32>,
}

/// Everything that [`Clients`] shares with the rest of the node.
pub struct ClientsShare {
    /// Its identity: who greets another one is refused.
    pub chain: Chain,
    /// Cells and payloads of everything that is under way.
    pub arena: Arc<Arena>,
    /// What is inside the node.
    pub in_flight: Arc<InFlight>,
    /// Refusals of all stages together.
    pub refusals: Arc<RefusalBoard>,
    /// Who is suspected.
    pub suspicion: Arc<Suspicion>,
    /// Slot of the newest block.
    pub slot: Arc<AtomicU64>,
    /// Height of the newest block.
    pub height: Box<dyn Fn() -> u64 + Send>,
}

impl Clients {
    /// No connections yet, of at most so many.
    pub fn new(share: ClientsShare, connections_max: usize) -> Clients {
        let ClientsShare { chain, arena, in_flight, refusals, suspicion, slot, height } = share;
        let client = || Client {
            generation: 0,
            open: false,
            welcomed: false,
            body: Body::None,
            hello: [0; HELLO_BYTES],
            slots: Vec::new(),
            ordinal: 0,
            records: Vec::new(),
        };
        Clients {
            chain,
            in_flight,
            refusals,
            suspicion,
            slot,
            height,
            clients: (0..connections_max).map(|_| client()).collect(),
            touched: Vec::new(),
            received: Vec::with_capacity(PARTS_MAX),
            closed_for_cells: false,
            partial_slots: 0,
            partial_slots_easy: arena.slots() as usize / 4,
            sink: Box::new([0; SUBMIT_CELLS_MAX as usize * CELL_BYTES]),
            freed: Vec::new(),
            numbers: Vec::new(),
            arena,
        }
    }

    /// Sends answers to their connections and gives the slots back.
    fn answer(&mut self, answers: &mut Vec<Outcome>, server: &mut Server) {
        if answers.is_empty() {
            return;
        }
        for Outcome { slot, result } in answers.drain(..) {
            let note = self.arena.note(&slot);
            if result != Err(Refusal::Duplicate) {
                self.in_flight.leave(&note.id, self.arena.cell(&slot));
            }
            let Origin { connection, generation, ordinal } = note.origin;
            self.record(ConnectionId { place: connection, generation }, ordinal, result);
            self.freed.push(slot);
        }
        self.arena.free(&mut self.freed, &mut self.numbers);
        self.send_records(server);
    }

    /// Gathers a record; one for an earlier use of the place is dropped.
    fn record(&mut self, id: ConnectionId, ordinal: u32, outcome: Result<(), Refusal>) {
        let client = &mut self.clients[id.place as usize];
        if !client.open || client.generation != id.generation {
            return;
        }
        if client.records.is_empty() {
            self.touched.push(id.place);
        }
        client.records.extend_from_slice(&outcome_record(ordinal, outcome));
    }

    fn send_records(&mut self, server: &mut Server) {
        let mut touched = std::mem::take(&mut self.touched);
        for place in touched.drain(..) {
            let client = &mut self.clients[place as usize];
            let id = ConnectionId { place, generation: client.generation };
            let mut records = std::mem::take(&mut client.records);
            server.send(id, self, |out| {
                for chunk in records.chunks(RECORDS_MAX * OUTCOME_BYTES) {
                    let count = (chunk.len() / OUTCOME_BYTES) as u16;
                    out.extend_from_slice(
                        &Header { length: chunk.len() as u32, kind: FrameKind::Outcome as u8, count }.encode(),
                    );
                    out.extend_from_slice(chunk);
                }
            });
            records.clear();
            self.clients[place as usize].records = records;
        }
        self.touched = touched;
    }

    fn refuse(&self, refusal: Refusal, out: &mut Vec<u8>) {
        self.refusals.add(refusal, 1);
        out.extend_from_slice(&refused(refusal));
    }

    /// Answers cells that got no slot.
    fn busy(&mut self, id: ConnectionId, first: u32, count: u32, out: &mut Vec<u8>) {
        if count == 0 {
            return;
        }
        self.refusals.add(Refusal::Busy, u64::from(count));
        let length = count * OUTCOME_BYTES as u32;
        out.extend_from_slice(&Header { length, kind: FrameKind::Outcome as u8, count: count as u16 }.encode());
        for i in 0..count {
            out.extend_from_slice(&outcome_record(first.wrapping_add(i), Err(Refusal::Busy)));
        }
        assert!(self.clients[id.place as usize].open, "cells of a connection that is closed are answered");
    }
}

impl Handler for Clients {
    fn opened(&mut self, connection: ConnectionId) {
        let client = &mut self.clients[connection.place as usize];
        assert!(client.slots.is_empty() && !client.open, "a connection is opened in a place that is in use");
        (client.generation, client.open, client.welcomed, client.ordinal) = (connection.generation, true, false, 0);
        client.body = Body::None;
        client.records.clear();
        self.suspicion.forget(connection.place);
    }

    fn header(
        &mut self,
        connection: ConnectionId,
        header: &[u8; HEADER_BYTES],
        out: &mut Vec<u8>,
    ) -> Result<usize, ()> {
        let header = Header::decode(header);
        let client = &mut self.clients[connection.place as usize];
        assert!(client.slots.is_empty(), "a body begins while the one before holds slots");
        let body = match incoming(&header) {
            Ok(Incoming::Hello) if client.welcomed => Err(Refusal::FrameUnknown),
            Ok(Incoming::Hello) => Ok(Body::Hello),
            Ok(_) if !client.welcomed => Err(Refusal::HelloMissing),
            Ok(Incoming::Cells(count)) => Ok(Body::Cells { count: usize::from(count), sink: self.closed_for_cells }),
            Ok(Incoming::CellWithPayload(bytes)) => {
                let payload = if self.closed_for_cells { None } else { self.arena.take_payload() };
                if payload.is_some() {
                    self.partial_slots += self.arena.take_into(&mut client.slots, 1, &mut self.numbers);
                }
                let payload_bytes = bytes as usize;
                match payload {
                    Some(payload) if client.slots.is_empty() => {
                        self.arena.free_payload(payload);
                        Ok(Body::CellWithPayload { payload_bytes, payload: None })
                    }
                    payload => Ok(Body::CellWithPayload { payload_bytes, payload }),
                }
            }
            Err(refusal) => Err(refusal),
        };
        match body {
            Ok(body) => {
                client.body = body;
                Ok(header.length as usize)
            }
            Err(refusal) => {
                self.refuse(refusal, out);
                Err(())
            }
        }
    }

    fn parts<'a>(
        &'a mut self,
        connection: ConnectionId,
        received: usize,
        parts: &mut [IoSliceMut<'a>; PARTS_MAX],
    ) -> usize {
        let Client { body, hello, slots, .. } = &mut self.clients[connection.place as usize];
        match body {
            Body::None => unreachable!("parts are asked for a body in progress"),
            Body::Hello => {
                parts[0] = IoSliceMut::new(&mut hello[received..]);
                1
            }
            Body::Cells { count, sink } => {
                let (cell, offset) = (received / CELL_BYTES, received % CELL_BYTES);
                if !*sink {
                    // When many bodies are in progress a new one gets slots only as its bytes come, so that peers who
                    // begin frames and fall silent cannot hold the arena.
                    let easy = self.partial_slots < self.partial_slots_easy;
                    let wanted = if easy { *count } else { (*count).min((2 * cell).max(CELLS_AT_ONCE)) };
                    if wanted > slots.len() {
                        let missing = wanted - slots.len();
                        let taken = self.arena.take_into(slots, missing, &mut self.numbers);
                        self.partial_slots += taken;
                        *sink = taken < missing;
                    }
                }
                let (mut used, kept) = (0, slots.len());
                for (i, slot) in slots.iter_mut().enumerate().skip(cell) {
                    let bytes = self.arena.cell_bytes_mut(slot);
                    parts[used] = IoSliceMut::new(if i == cell { &mut bytes[offset..] } else { bytes });
                    used += 1;
                }
                if *sink {
                    let sunk_from = received.max(kept * CELL_BYTES);
                    parts[used] = IoSliceMut::new(&mut self.sink[..*count * CELL_BYTES - sunk_from]);
                    used += 1;
                }
                used
            }
            Body::CellWithPayload { payload_bytes, payload: None } => {
                parts[0] = IoSliceMut::new(&mut self.sink[..CELL_BYTES + *payload_bytes - received]);
                1
            }
            Body::CellWithPayload { payload_bytes, payload: Some(payload) } => {
                let bytes = &mut self.arena.payload_bytes_mut(payload)[..*payload_bytes];
                if received >= CELL_BYTES {
                    parts[0] = IoSliceMut::new(&mut bytes[received - CELL_BYTES..]);
                    return 1;
                }
                parts[0] = IoSliceMut::new(&mut self.arena.cell_bytes_mut(&mut slots[0])[received..]);
                parts[1] = IoSliceMut::new(bytes);
                2
            }
        }
    }

    fn body(&mut self, connection: ConnectionId, out: &mut Vec<u8>) -> Result<(), ()> {
        let client = &mut self.clients[connection.place as usize];
        match std::mem::replace(&mut client.body, Body::None) {
            Body::None => unreachable!("a body has ended that had begun"),
            Body::Hello => match check_hello(&client.hello, &self.chain.genesis_hash) {
                Ok(()) => {
                    client.welcomed = true;
                    let slot = self.slot.load(Ordering::Relaxed);
                    out.extend(
                        Welcome { slot, height: (self.height)(), slot_ms: self.chain.parameters.slot_ms }.encode(),
                    );
                    Ok(())
                }
                Err(refusal) => {
                    self.refuse(refusal, out);
                    Err(())
                }
            },
            Body::Cells { count, .. } => {
                let (first, kept) = (client.ordinal, client.slots.len());
                assert!(kept <= count, "a body of {count} cells has {kept} slots");
                client.ordinal = first.wrapping_add(count as u32);
                self.partial_slots -= kept;
                for (i, mut slot) in client.slots.drain(..).enumerate() {
                    let origin = Origin {
                        connection: connection.place,
                        generation: connection.generation,
                        ordinal: first.wrapping_add(i as u32),
                    };
                    self.arena.note_mut(&mut slot).origin = origin;
                    self.received.push(slot);
                }
                self.busy(connection, first.wrapping_add(kept as u32), (count - kept) as u32, out);
                Ok(())
            }
            Body::CellWithPayload { payload_bytes, payload } => {
                let ordinal = client.ordinal;
                client.ordinal = ordinal.wrapping_add(1);
                let Some(payload) = payload else {
                    self.busy(connection, ordinal, 1, out);
                    return Ok(());
                };
                let mut slot = client.slots.pop().expect("taken with the payload");
                self.partial_slots -= 1;
                let note = self.arena.note_mut(&mut slot);
                note.origin = Origin { connection: connection.place, generation: connection.generation, ordinal };
                note.payload = Some(payload);
                note.payload_bytes = payload_bytes as u32;
                self.received.push(slot);
                Ok(())
            }
        }
    }

    fn closing(&mut self, _connection: Option<ConnectionId>, why: Closing, out: &mut Vec<u8>) {
        let refusal = match why {
            Closing::FrameTimeout => Refusal::FrameTimeout,
            Closing::ConnectionLimit => Refusal::ConnectionLimit,
            Closing::SlowReader => Refusal::SlowReader,
        };
        self.refuse(refusal, out);
    }

    fn closed(&mut self, connection: ConnectionId) {
        let client = &mut self.clients[connection.place as usize];
        client.open = false;
        client.records.clear();
        self.partial_slots -= client.slots.len();
        if let Body::CellWithPayload { payload: Some(payload), .. } = std::mem::replace(&mut client.body, Body::None) {
            self.arena.free_payload(payload);
        }
        self.arena.free(&mut client.slots, &mut self.numbers);
    }
}

const _: () =
    assert!(PAYLOAD_SLOT_BYTES + CELL_BYTES <= SUBMIT_CELLS_MAX as usize * CELL_BYTES, "the sink takes any body");
