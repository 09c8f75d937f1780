//! The load generator: one thread, many connections, pre-signed frames, answers counted.
//!
//! It runs in a process of its own, so that its memory and CPU time are not the engine's. Parent and child speak JSON
//! lines: the child gets a [`GeneratorOrder`] on its standard input, signs, says `ready`, waits for `go`, and reports
//! progress and at last a [`GeneratorResult`].
//!
//! Without `rate` the load is closed: each connection keeps `window` transactions under way, and a transaction's
//! intended send time is when the window had room for it. With `rate` the load is open: transaction k is due at k /
//! rate whatever the engine does, and its latency counts from there, so that a stalled engine is not flattered.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::limits::CELL_BYTES;
use dynemix_engine::base::refusal::{Refusal, RefusalCounters};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::client_frames::{
    FrameKind, HEADER_BYTES, Header, OUTCOME_BYTES, SUBMIT_CELLS_MAX, WELCOME_BYTES, hello,
};
use dynemix_perf::machine::cpu_time;
use dynemix_workload::{Workload, WorkloadSpec};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FRAME_CELLS: usize = SUBMIT_CELLS_MAX as usize;
/// With nothing answered for so long the engine is taken to be stuck.
const STALLED: Duration = Duration::from_secs(60);

/// What the generator is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GeneratorOrder {
    /// Where the engine listens.
    pub address: SocketAddr,
    /// Its chain.
    pub genesis_hash: Hash,
    /// Its prefix of transactions.
    pub transaction_prefix: Hash,
    /// Chooses everything.
    pub seed: u64,
    /// Accounts at genesis.
    pub accounts: u64,
    /// Share of broken signatures.
    pub invalid_share: f64,
    /// Connections that send any; the first ones.
    pub invalid_connections: usize,
    /// `expires_slot` of all.
    pub expires_slot: u64,
    /// How many to sign.
    pub transactions: u64,
    /// Stop sending after this time.
    pub seconds: Option<f64>,
    /// Send in waves of so many, each after the last one's answers: what a fixed result needs.
    pub wave: Option<u64>,
    /// Offered transactions a second; none: as many as the window lets through.
    pub rate: Option<u64>,
    /// Connections.
    pub connections: usize,
    /// Transactions under way on all connections at most.
    pub window: u64,
}

/// What the generator says while it works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorMessage {
    /// So many are signed.
    Signed(u64),
    /// All are signed and all connections are welcome.
    Ready,
    /// So many are answered.
    Answered(u64),
    /// Done.
    Result(Box<GeneratorResult>),
    /// It failed.
    Failed(String),
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorResult {
    /// Transactions sent.
    pub offered: u64,
    /// Answered as final.
    pub finals: u64,
    /// Of them on connections that send no broken signatures.
    pub honest_finals: u64,
    /// Answered otherwise, by reason.
    pub refused: BTreeMap<String, u64>,
    /// From the first send to the last final answer on such a connection.
    pub honest_elapsed_s: f64,
    /// From the first send to the last answer.
    pub elapsed_s: f64,
    /// CPU time of sending and counting, without signing.
    pub cpu_s: f64,
    /// Milliseconds from intended send time to the final answer: 50th and 99th percentile and the largest.
    pub latency_ms: [f64; 3],
    /// All transactions were sent before the time was up: more could have been offered.
    pub exhausted: bool,
    /// Share of the time in which the window had room and a socket took bytes, so the generator itself was busy.
    pub generator_busy_share: f64,
}

/// Why the generator gave up.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The order or the conversation was malformed.
    #[error("the order is malformed: {0}")]
    Order(#[from] serde_json::Error),
    /// The engine refused a connection.
    #[error("the engine refused connection {0}: {1}")]
    Refused(usize, String),
    /// Nothing was answered for a long time.
    #[error("nothing answered for {} s, {left} transactions open", STALLED.as_secs())]
    Stalled {
        /// Transactions without answer.
        left: u64,
    },
}

struct Lane {
    stream: TcpStream,
    /// Whole frames, ready to be written.
    frames: Vec<u8>,
    /// Cells and bytes up to the end of each frame.
    frame_ends: Vec<(u64, usize)>,
    /// Cells up to the end of each wave.
    wave_ends: Vec<u64>,
    /// Global number of each cell, for the schedule of an open load.
    numbers: Vec<u32>,
    /// Frames that may be sent.
    allowed: usize,
    sent_bytes: usize,
    answered: u64,
    /// Nanoseconds since the start at which each allowed cell was due.
    due: Vec<u64>,
    writable: bool,
    input: Vec<u8>,
}

impl Lane {
    fn cells(&self) -> u64 {
        self.frame_ends.last().map_or(0, |end| end.0)
    }

    /// Cells up to the end of the last of `frames` frames.
    fn cells_of(&self, frames: usize) -> u64 {
        frames.checked_sub(1).map_or(0, |last| self.frame_ends[last].0)
    }

    fn bytes_of(&self, frames: usize) -> usize {
        frames.checked_sub(1).map_or(0, |last| self.frame_ends[last].1)
    }

    /// Cells of the frames that have been sent, the last perhaps in part.
    fn sent_cells(&self) -> u64 {
        let begun = self.frame_ends.partition_point(|end| end.1 < self.sent_bytes) + usize::from(self.sent_bytes > 0);
        self.cells_of(begun.min(self.frame_ends.len()))
    }

    /// Where wave `number` ends.
    fn wave_end(&self, number: usize) -> u64 {
        self.wave_ends.get(number).copied().unwrap_or(self.cells())
    }

    /// Lets the frames go that end at or before cell `up_to`.
    fn allow(&mut self, up_to: u64, now: u64, rate: Option<f64>) {
        let frames = self.frame_ends.partition_point(|end| end.0 <= up_to).max(self.allowed);
        for cell in self.cells_of(self.allowed)..self.cells_of(frames) {
            self.due.push(rate.map_or(now, |rate| (f64::from(self.numbers[cell as usize]) / rate * 1e9) as u64));
        }
        self.allowed = frames;
    }

    fn send(&mut self) -> io::Result<()> {
        let sendable = self.bytes_of(self.allowed);
        while self.writable && self.sent_bytes < sendable {
            match self.stream.write(&self.frames[self.sent_bytes..sendable]) {
                Ok(sent) => self.sent_bytes += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finishes the frame that is half sent and begins no other.
    fn stop(&mut self) {
        let begun = self.frame_ends.partition_point(|end| end.1 < self.sent_bytes) + usize::from(self.sent_bytes > 0);
        let begun = begun.min(self.frame_ends.len());
        self.frame_ends.truncate(begun);
        self.allowed = begun;
        self.frames.truncate(self.bytes_of(begun));
    }
}

fn say(message: &GeneratorMessage) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The child's whole life.
///
/// # Errors
/// When the engine or the parent is gone or answers nonsense.
pub fn run_child() -> Result<(), GeneratorError> {
    let mut lines = io::stdin().lock().lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    let order: GeneratorOrder = serde_json::from_str(&line()?)?;
    let outcome = prepare(&order).and_then(|mut lanes| {
        say(&GeneratorMessage::Ready)?;
        line()?;
        drive(&order, &mut lanes)
    });
    match outcome {
        Ok(result) => Ok(say(&GeneratorMessage::Result(Box::new(result)))?),
        Err(error) => {
            say(&GeneratorMessage::Failed(error.to_string()))?;
            Err(error)
        }
    }
}

/// Signs everything and opens the connections. A sender's transactions all go over one connection, so they stay in
/// order.
fn prepare(order: &GeneratorOrder) -> Result<Vec<Lane>, GeneratorError> {
    let spec = WorkloadSpec {
        seed: order.seed,
        accounts: order.accounts,
        invalid_share: order.invalid_share,
        invalid_senders: (order.connections.max(1) as u64, order.invalid_connections as u64),
        expires_slot: order.expires_slot,
    };
    let signed = AtomicU64::new(0);
    let workload = Workload::new(&spec, &order.transaction_prefix, order.transactions, |count| {
        let before = signed.fetch_add(count, Ordering::Relaxed);
        if before / 100_000 != (before + count) / 100_000 {
            let _ = say(&GeneratorMessage::Signed(before + count));
        }
    });
    let connections = order.connections.max(1);
    let mut numbers = vec![Vec::new(); connections];
    for (number, &sender) in workload.senders.iter().enumerate() {
        numbers[sender as usize % connections].push(number as u32);
    }
    // An open load at a low rate must not wait for large frames to fill: about 2 ms of a connection's load go in one.
    let frame_cells = order.rate.map_or(FRAME_CELLS, |rate| (rate as usize / connections / 500).clamp(1, FRAME_CELLS));
    let mut lanes = Vec::with_capacity(connections);
    for (place, numbers) in numbers.into_iter().enumerate() {
        let waves = order.wave.map_or(1, |wave| order.transactions.div_ceil(wave));
        let wave_end = |wave: u64| {
            order
                .wave
                .map_or(numbers.len(), |size| numbers.partition_point(|&number| u64::from(number) < (wave + 1) * size))
        };
        let wave_ends: Vec<u64> = (0..waves).map(|wave| wave_end(wave) as u64).collect();
        let (mut frames, mut frame_ends, mut cells) =
            (Vec::with_capacity(numbers.len() * (CELL_BYTES + 1)), Vec::new(), 0);
        for &wave_end in &wave_ends {
            for frame in numbers[cells as usize..wave_end as usize].chunks(frame_cells) {
                let header = Header {
                    length: (frame.len() * CELL_BYTES) as u32,
                    kind: FrameKind::Submit as u8,
                    count: frame.len() as u16,
                };
                frames.extend_from_slice(&header.encode());
                frame.iter().for_each(|&number| {
                    frames.extend_from_slice(bytemuck::bytes_of::<Cell>(&workload.cells[number as usize]))
                });
                cells += frame.len() as u64;
                frame_ends.push((cells, frames.len()));
            }
        }
        let stream = connect(order, place)?;
        lanes.push(Lane {
            stream,
            frames,
            frame_ends,
            wave_ends,
            numbers,
            allowed: 0,
            sent_bytes: 0,
            answered: 0,
            due: Vec::with_capacity(cells as usize),
            writable: true,
            input: Vec::new(),
        });
    }
    Ok(lanes)
}

fn connect(order: &GeneratorOrder, place: usize) -> Result<TcpStream, GeneratorError> {
    let mut stream = std::net::TcpStream::connect(order.address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&hello(&order.genesis_hash))?;
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(&header);
    let mut body = vec![0; (header.length as usize).min(WELCOME_BYTES)];
    stream.read_exact(&mut body)?;
    if header.kind != FrameKind::Welcome as u8 {
        let reason = Refusal::from_number(body[0]).map_or("for no known reason", Refusal::name);
        return Err(GeneratorError::Refused(place, reason.into()));
    }
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Sends everything, counts the answers, and says what came of it.
fn drive(order: &GeneratorOrder, lanes: &mut [Lane]) -> Result<GeneratorResult, GeneratorError> {
    let mut drive = Drive::prepare(order, lanes)?;
    drive.measure()?;
    Ok(drive.report())
}

/// What is under way, and what has come of it so far.
struct Drive<'a> {
    order: &'a GeneratorOrder,
    lanes: &'a mut [Lane],
    poll: Poll,
    /// Cells that one connection may have under way.
    window: u64,
    start: Instant,
    cpu_start: Duration,
    /// Nanoseconds from intended send time to the final answer.
    latency: Histogram<u64>,
    refused: RefusalCounters,
    finals: u64,
    honest_finals: u64,
    /// Nanoseconds from the start to the last final answer on an honest connection.
    honest_elapsed: u64,
    answered: u64,
    last_answer: Instant,
    /// Time spent waiting for sockets.
    idle: Duration,
    /// The time is up: nothing more is begun.
    stopped: bool,
}

impl<'a> Drive<'a> {
    fn prepare(order: &'a GeneratorOrder, lanes: &'a mut [Lane]) -> Result<Drive<'a>, GeneratorError> {
        let poll = Poll::new()?;
        for (place, lane) in lanes.iter_mut().enumerate() {
            poll.registry().register(&mut lane.stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        }
        let window = (order.window / lanes.len() as u64).max(FRAME_CELLS as u64);
        let (start, cpu_start) = (Instant::now(), cpu_time());
        Ok(Drive {
            order,
            lanes,
            poll,
            window,
            start,
            cpu_start,
            latency: Histogram::<u64>::new_with_bounds(1_000, 600_000_000_000, 3).expect("constant bounds"),
            refused: RefusalCounters::default(),
            finals: 0,
            honest_finals: 0,
            honest_elapsed: 0,
            answered: 0,
            last_answer: start,
            idle: Duration::ZERO,
            stopped: false,
        })
    }

    fn measure(&mut self) -> Result<(), GeneratorError> {
        let mut events = Events::with_capacity(256);
        let total: u64 = self.lanes.iter().map(Lane::cells).sum();
        let end = self.order.seconds.map(Duration::from_secs_f64);
        let patience = Duration::from_millis(if self.order.rate.is_some() { 1 } else { 10 });
        let (mut told, mut wave) = (0, 0);
        let mut buffer = vec![0u8; 256 * 1024];
        loop {
            let elapsed = self.start.elapsed();
            if !self.stopped && end.is_some_and(|end| elapsed >= end) {
                self.stopped = true;
                self.lanes.iter_mut().for_each(Lane::stop);
            }
            let wave_done =
                self.order.wave.is_some() && self.lanes.iter().all(|lane| lane.answered == lane.wave_end(wave));
            wave += usize::from(wave_done);
            self.send(elapsed.as_nanos() as u64, wave)?;
            let open: u64 = self.lanes.iter().map(|lane| lane.sent_cells() - lane.answered).sum();
            let all_sent = self.lanes.iter().all(|lane| lane.sent_bytes == lane.frames.len());
            if open == 0 && all_sent && (self.stopped || self.answered == total) {
                return Ok(());
            }
            if self.last_answer.elapsed() > STALLED && open > 0 {
                return Err(GeneratorError::Stalled { left: open });
            }
            let wait = Instant::now();
            self.poll.poll(&mut events, Some(patience))?;
            self.idle += wait.elapsed();
            for event in &events {
                let place = event.token().0;
                self.lanes[place].writable |= event.is_writable();
                if event.is_readable() {
                    self.receive(place, &mut buffer)?;
                    self.count(place)?;
                }
            }
            if self.answered / 20_000 != told {
                told = self.answered / 20_000;
                say(&GeneratorMessage::Answered(self.answered))?;
            }
        }
    }

    /// Sends on each connection what its window, the wave and the schedule let go by now.
    fn send(&mut self, now: u64, wave: usize) -> io::Result<()> {
        let scheduled = self.order.rate.map(|rate| rate as f64);
        for lane in self.lanes.iter_mut() {
            if !self.stopped {
                let mut up_to = lane.answered + self.window;
                if self.order.wave.is_some() {
                    up_to = up_to.min(lane.wave_end(wave));
                }
                if let Some(rate) = scheduled {
                    let due = (now as f64 / 1e9 * rate) as u32;
                    up_to = up_to.min(lane.numbers.partition_point(|&number| number < due) as u64);
                }
                lane.allow(up_to, now, scheduled);
            }
            lane.send()?;
        }
        Ok(())
    }

    /// Reads all that a connection's socket has.
    fn receive(&mut self, place: usize, buffer: &mut [u8]) -> Result<(), GeneratorError> {
        let lane = &mut self.lanes[place];
        loop {
            match lane.stream.read(buffer) {
                Ok(0) => return Err(GeneratorError::Refused(place, "closed by the engine".into())),
                Ok(received) => lane.input.extend_from_slice(&buffer[..received]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts the answers of the whole frames that a connection has received.
    fn count(&mut self, place: usize) -> Result<(), GeneratorError> {
        let lane = &mut self.lanes[place];
        let now = self.start.elapsed().as_nanos() as u64;
        let mut used = 0;
        while let Some((header, rest)) = lane.input[used..].split_first_chunk::<HEADER_BYTES>() {
            let header = Header::decode(header);
            let Some(body) = rest.get(..header.length as usize) else { break };
            used += HEADER_BYTES + body.len();
            if header.kind != FrameKind::Outcome as u8 {
                let reason =
                    body.first().and_then(|&number| Refusal::from_number(number)).map_or("unknown", Refusal::name);
                return Err(GeneratorError::Refused(place, reason.into()));
            }
            for record in body.chunks_exact(OUTCOME_BYTES) {
                let ordinal = u32::from_le_bytes(record[..4].try_into().expect("4 bytes"));
                lane.answered += 1;
                self.answered += 1;
                match Refusal::from_number(record[4]) {
                    Some(refusal) => self.refused.add(refusal, 1),
                    None => {
                        self.finals += 1;
                        if place >= self.order.invalid_connections {
                            self.honest_finals += 1;
                            self.honest_elapsed = now;
                        }
                        self.latency.saturating_record(now.saturating_sub(lane.due[ordinal as usize]));
                    }
                }
            }
            self.last_answer = Instant::now();
        }
        lane.input.drain(..used);
        Ok(())
    }

    fn report(&self) -> GeneratorResult {
        let elapsed = self.last_answer.duration_since(self.start);
        let latency = &self.latency;
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        GeneratorResult {
            offered: self.answered,
            finals: self.finals,
            honest_finals: self.honest_finals,
            refused: self.refused.nonzero().map(|(refusal, count)| (refusal.name().to_owned(), count)).collect(),
            honest_elapsed_s: self.honest_elapsed as f64 / 1e9,
            elapsed_s: elapsed.as_secs_f64(),
            cpu_s: (cpu_time() - self.cpu_start).as_secs_f64(),
            latency_ms: [latency.value_at_quantile(0.5), latency.value_at_quantile(0.99), latency.max()]
                .map(milliseconds),
            exhausted: self.order.seconds.is_some() && !self.stopped,
            generator_busy_share: 1.0 - (self.idle.as_secs_f64() / elapsed.as_secs_f64()).min(1.0),
        }
    }
}
