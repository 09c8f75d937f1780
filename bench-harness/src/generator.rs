//! The load generator: signed before, sent on many lines by schedule, answers counted.
//!
//! It runs in a process of its own, so that its memory and CPU time are not the engine's. Parent and child speak JSON
//! lines: the child gets a [`GeneratorOrder`] on its standard input, signs, says `ready`, is told where the engine
//! listens, says `connected`, waits for `go`, and reports progress and at last a [`GeneratorResult`]. How a line is
//! opened and what goes over it is for whoever gives the [`Lines`].
//!
//! Without `rate` the load is closed: each line keeps `window` transactions under way, and a transaction's
//! intended send time is when the window had room for it. With `rate` the load is open: transaction k is due at k /
//! rate whatever the engine does, and its latency counts from there, so that a stalled engine is not flattered.

use crate::finals::{Finals, SteadyRate};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::refusal::{Refusal, RefusalCounters};
use dynemix_engine::transaction::cell::Cell;
use dynemix_perf::machine::cpu_time;
use dynemix_workload::{Workload, WorkloadSpec};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Transactions of a frame at most.
const FRAME_CELLS: usize = 1_000;
/// How often an open load looks at the clock: what has come due meanwhile goes in one frame a line.
const TICK: Duration = Duration::from_millis(10);
/// With nothing answered for so long the engine is taken to be stuck.
const STALLED: Duration = Duration::from_secs(60);

/// Lines to the engine, each with a key of its own.
pub trait Lines {
    /// Whether something can be sent on a line.
    fn is_open(&self, line: usize) -> bool;
    /// Sends transactions on a line, behind all that went there before; the first is its `first`th.
    fn send(&mut self, line: usize, first: u64, cells: &[Cell]);
    /// Waits so long for something to be said, and brings all that was.
    ///
    /// # Errors
    /// When nothing more can come.
    fn hear(&mut self, wait: Duration, out: &mut Vec<Said>) -> io::Result<()>;
}

/// What a line brings.
#[derive(Debug)]
pub enum Said {
    /// What became of transactions.
    Ended {
        /// The line that they were sent on.
        line: usize,
        /// Which of the line's.
        ordinals: Vec<u64>,
        /// Why not; none: they are final.
        refusal: Option<Refusal>,
        /// The block that they are final with.
        height: u64,
        /// When it was heard.
        at: Instant,
    },
    /// The engine has ended the line. It is open again, under another key; what was not answered will not be.
    Cut {
        /// Which line it was.
        line: usize,
    },
}

/// What the generator is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GeneratorOrder {
    /// Genesis hash of the engine's chain, which whoever opens lines names.
    pub genesis_hash: Hash,
    /// Its prefix of transactions.
    pub transaction_prefix: Hash,
    /// Decides the workload, as it decided the genesis accounts.
    pub seed: u64,
    /// Accounts at genesis.
    pub accounts: u64,
    /// Share of broken signatures.
    pub invalid_share: f64,
    /// Lines that send any; the first ones.
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
    /// Lines that share the load.
    pub connections: usize,
    /// Transactions under way on a line at most.
    pub window: u64,
}

/// Where the engine is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EngineAddress {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key that it proves.
    pub key: Hash,
}

/// What the generator says while it works.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorMessage {
    /// So many are signed.
    Signed(u64),
    /// All are signed.
    Ready,
    /// All lines are open.
    Connected,
    /// So many are answered.
    Answered(u64),
    /// All is answered, or the time is up: what came of it.
    Result(Box<GeneratorResult>),
    /// It gave up, with the reason in words.
    Failed(String),
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorResult {
    /// Transactions that were sent and answered.
    pub offered: u64,
    /// Answered as final.
    pub finals: u64,
    /// Of them on lines that send no broken signatures.
    pub honest_finals: u64,
    /// Not answered: the engine has ended their line.
    pub cut_off: u64,
    /// How often it has ended one.
    pub cuts: u64,
    /// Answered otherwise, by reason.
    pub refused: BTreeMap<String, u64>,
    /// From the first send to the last final answer on such a line.
    pub honest_elapsed_s: f64,
    /// How many became final a second while there was something to send, if there were blocks enough.
    pub steady: Option<SteadyRate>,
    /// From the first send to the last answer.
    pub elapsed_s: f64,
    /// CPU time of sending and counting, without signing.
    pub cpu_s: f64,
    /// Milliseconds from intended send time to the final answer: 50th and 99th percentile and the largest.
    pub latency_ms: [f64; 3],
    /// All transactions were sent before the time was up: more could have been offered.
    pub exhausted: bool,
    /// Share of the time in which the generator itself had something to do.
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
    /// The engine has ended a line in a run of a fixed number, which must be whole.
    #[error("the engine has ended line {0}, and a run of a fixed number must be whole; send fewer broken signatures")]
    Cut(usize),
    /// Nothing was answered for a long time.
    #[error("nothing answered for {} s, {left} transactions open", STALLED.as_secs())]
    Stalled {
        /// Transactions without answer.
        left: u64,
    },
}

/// A line's part of the load.
struct Lane {
    cells: Vec<Cell>,
    /// Cells up to the end of each wave.
    wave_ends: Vec<u64>,
    /// Number of each cell among all, for the schedule of an open load.
    numbers: Vec<u32>,
    sent: u64,
    answered: u64,
    /// Nanoseconds since the start at which each cell that was sent was due.
    due: Vec<u64>,
    /// The engine has ended it at least once.
    cut: bool,
}

impl Lane {
    fn count(&self) -> u64 {
        self.cells.len() as u64
    }

    /// Where wave `number` ends.
    fn wave_end(&self, number: usize) -> u64 {
        self.wave_ends.get(number).copied().unwrap_or(self.count())
    }

    fn open(&self) -> u64 {
        self.sent - self.answered
    }
}

fn say(message: &GeneratorMessage) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The child's whole life. `open` opens the lines.
///
/// # Errors
/// When the engine or the parent is gone or answers nonsense.
pub fn run_child<L: Lines>(
    open: impl FnOnce(&GeneratorOrder, EngineAddress) -> io::Result<L>,
) -> Result<(), GeneratorError> {
    let mut lines = io::stdin().lock().lines();
    let mut line = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    let order: GeneratorOrder = serde_json::from_str(&line()?)?;
    let mut lanes = prepare(&order);
    let run = || {
        say(&GeneratorMessage::Ready)?;
        let engine = serde_json::from_str(&line()?)?;
        let mut lines = open(&order, engine)?;
        say(&GeneratorMessage::Connected)?;
        line()?;
        let mut drive = Drive::new(&order, &mut lanes, &mut lines);
        drive.measure()?;
        Ok(drive.report())
    };
    match run() {
        Ok(result) => Ok(say(&GeneratorMessage::Result(Box::new(result)))?),
        Err(error) => {
            let error: GeneratorError = error;
            say(&GeneratorMessage::Failed(error.to_string()))?;
            Err(error)
        }
    }
}

/// Signs everything. A sender's transactions all go over one line, so they stay in order.
fn prepare(order: &GeneratorOrder) -> Vec<Lane> {
    let lines = order.connections.max(1);
    let spec = WorkloadSpec {
        seed: order.seed,
        accounts: order.accounts,
        invalid_share: order.invalid_share,
        invalid_senders: (lines as u64, order.invalid_connections as u64),
        expires_slot: order.expires_slot,
    };
    let signed = AtomicU64::new(0);
    let workload = Workload::new(&spec, &order.transaction_prefix, order.transactions, |count| {
        let before = signed.fetch_add(count, Ordering::Relaxed);
        if before / 100_000 != (before + count) / 100_000 {
            let _ = say(&GeneratorMessage::Signed(before + count));
        }
    });
    let mut numbers = vec![Vec::new(); lines];
    for (number, &sender) in workload.senders.iter().enumerate() {
        numbers[sender as usize % lines].push(number as u32);
    }
    let waves = order.wave.map_or(1, |wave| order.transactions.div_ceil(wave));
    let lane = |numbers: Vec<u32>| {
        let wave_end = |wave: u64| {
            order
                .wave
                .map_or(numbers.len(), |size| numbers.partition_point(|&number| u64::from(number) < (wave + 1) * size))
        };
        Lane {
            cells: numbers.iter().map(|&number| workload.cells[number as usize]).collect(),
            wave_ends: (0..waves).map(|wave| wave_end(wave) as u64).collect(),
            due: Vec::with_capacity(numbers.len()),
            numbers,
            sent: 0,
            answered: 0,
            cut: false,
        }
    };
    let lanes: Vec<Lane> = numbers.into_iter().map(lane).collect();
    assert_eq!(lanes.iter().map(Lane::count).sum::<u64>(), order.transactions, "each transaction goes over one line");
    lanes
}

/// What is under way, and what has come of it so far.
struct Drive<'a, L> {
    order: &'a GeneratorOrder,
    lanes: &'a mut [Lane],
    lines: &'a mut L,
    start: Instant,
    cpu_start: Duration,
    /// Nanoseconds from intended send time to the final answer.
    latency: Histogram<u64>,
    refused: RefusalCounters,
    finals: u64,
    honest_finals: u64,
    /// When the last final answer came on an honest line.
    honest_last: Instant,
    blocks: Finals,
    /// When the last transaction was sent, or the time was up.
    sent_until: Option<Instant>,
    answered: u64,
    cut_off: u64,
    cuts: u64,
    last_answer: Instant,
    /// Time spent waiting for answers.
    idle: Duration,
    /// The time is up: nothing more is sent.
    stopped: bool,
}

impl<'a, L: Lines> Drive<'a, L> {
    fn new(order: &'a GeneratorOrder, lanes: &'a mut [Lane], lines: &'a mut L) -> Drive<'a, L> {
        let (start, cpu_start) = (Instant::now(), cpu_time());
        Drive {
            order,
            lanes,
            lines,
            start,
            cpu_start,
            latency: Histogram::<u64>::new_with_bounds(1_000, 600_000_000_000, 3).expect("constant bounds"),
            refused: RefusalCounters::default(),
            finals: 0,
            honest_finals: 0,
            honest_last: start,
            blocks: Finals::default(),
            sent_until: None,
            answered: 0,
            cut_off: 0,
            cuts: 0,
            last_answer: start,
            idle: Duration::ZERO,
            stopped: false,
        }
    }

    fn measure(&mut self) -> Result<(), GeneratorError> {
        let end = self.order.seconds.map(Duration::from_secs_f64);
        let (mut told, mut wave, mut said) = (0, 0, Vec::new());
        loop {
            let elapsed = self.start.elapsed();
            self.stopped |= end.is_some_and(|end| elapsed >= end);
            let wave_done =
                self.order.wave.is_some() && self.lanes.iter().all(|lane| lane.answered == lane.wave_end(wave));
            wave += usize::from(wave_done);
            if !self.stopped {
                self.send(elapsed.as_nanos() as u64, wave);
            }
            // What the engine has not read of a line that it has ended is never answered, nor what came after it.
            let open = |lanes: &[Lane], cut| lanes.iter().filter(|lane| lane.cut == cut).map(Lane::open).sum::<u64>();
            let all_sent = self.lanes.iter().all(|lane| lane.sent == lane.count());
            if self.stopped || all_sent {
                self.sent_until.get_or_insert_with(Instant::now);
            }
            if (self.stopped || all_sent) && open(self.lanes, false) == 0 {
                self.cut_off += open(self.lanes, true);
                return Ok(());
            }
            if self.last_answer.elapsed() > STALLED {
                return Err(GeneratorError::Stalled { left: open(self.lanes, false) });
            }
            let wait = Instant::now();
            self.lines.hear(TICK, &mut said)?;
            self.idle += wait.elapsed();
            for said in said.drain(..) {
                self.hear(said)?;
            }
            if self.answered / 20_000 != told {
                told = self.answered / 20_000;
                say(&GeneratorMessage::Answered(self.answered))?;
            }
        }
    }

    /// Sends on each line what its window, the wave and the schedule let go by now.
    fn send(&mut self, now: u64, wave: usize) {
        let rate = self.order.rate.map(|rate| rate as f64);
        for (line, lane) in self.lanes.iter_mut().enumerate() {
            let mut up_to = (lane.answered + self.order.window).min(lane.count());
            if self.order.wave.is_some() {
                up_to = up_to.min(lane.wave_end(wave));
            }
            if let Some(rate) = rate {
                let due = (now as f64 / 1e9 * rate) as u32;
                up_to = up_to.min(lane.numbers.partition_point(|&number| number < due) as u64);
            }
            while lane.sent < up_to && self.lines.is_open(line) {
                let first = lane.sent;
                lane.sent = up_to.min(first + FRAME_CELLS as u64);
                let range = first as usize..lane.sent as usize;
                let numbers = lane.numbers[range.clone()].iter();
                lane.due
                    .extend(numbers.map(|&number| rate.map_or(now, |rate| (f64::from(number) / rate * 1e9) as u64)));
                self.lines.send(line, first, &lane.cells[range]);
            }
            assert_eq!(lane.due.len() as u64, lane.sent, "each cell that was sent was due at some time");
        }
    }

    /// Counts what was said.
    fn hear(&mut self, said: Said) -> Result<(), GeneratorError> {
        let (line, ordinals, refusal, height, at) = match said {
            Said::Ended { line, ordinals, refusal, height, at } => (line, ordinals, refusal, height, at),
            Said::Cut { line } if self.order.wave.is_some() => return Err(GeneratorError::Cut(line)),
            Said::Cut { line } => {
                let lane = &mut self.lanes[line];
                self.cut_off += lane.open();
                self.cuts += 1;
                (lane.answered, lane.cut) = (lane.sent, true);
                return Ok(());
            }
        };
        let lane = &mut self.lanes[line];
        let now = at.duration_since(self.start).as_nanos() as u64;
        lane.answered += ordinals.len() as u64;
        self.answered += ordinals.len() as u64;
        assert!(lane.answered <= lane.sent, "line {line} has had more answers than questions");
        self.last_answer = self.last_answer.max(at);
        if let Some(refusal) = refusal {
            self.refused.add(refusal, ordinals.len() as u64);
            return Ok(());
        }
        self.finals += ordinals.len() as u64;
        let honest = line >= self.order.invalid_connections;
        self.blocks.add(height, ordinals.len() as u64, honest, at);
        if honest {
            self.honest_finals += ordinals.len() as u64;
            self.honest_last = self.honest_last.max(at);
        }
        for ordinal in ordinals {
            self.latency.saturating_record(now.saturating_sub(lane.due[ordinal as usize]));
        }
        Ok(())
    }

    fn report(&self) -> GeneratorResult {
        let elapsed = self.last_answer.duration_since(self.start);
        let latency = &self.latency;
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        GeneratorResult {
            offered: self.answered + self.cut_off,
            finals: self.finals,
            honest_finals: self.honest_finals,
            cut_off: self.cut_off,
            cuts: self.cuts,
            refused: self.refused.nonzero().map(|(refusal, count)| (refusal.name().to_owned(), count)).collect(),
            honest_elapsed_s: self.honest_last.duration_since(self.start).as_secs_f64(),
            steady: self.sent_until.and_then(|until| self.blocks.steady(until)),
            elapsed_s: elapsed.as_secs_f64(),
            cpu_s: (cpu_time() - self.cpu_start).as_secs_f64(),
            latency_ms: [latency.value_at_quantile(0.5), latency.value_at_quantile(0.99), latency.max()]
                .map(milliseconds),
            exhausted: self.order.seconds.is_some() && !self.stopped,
            generator_busy_share: 1.0 - (self.idle.as_secs_f64() / elapsed.as_secs_f64()).min(1.0),
        }
    }
}
