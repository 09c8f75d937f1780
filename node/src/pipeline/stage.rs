//! What all stages share: an account of their time, a way to sleep and be woken, and an orderly end.

use crossbeam_utils::sync::{Parker, Unparker};
use dynemix_engine::base::refusal::{Refusal, RefusalCounters};
use dynemix_engine::pipeline::ring::{Producer, Word};
use serde::Serialize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an idle stage sleeps at most before it looks again.
pub const IDLE_SLEEP: Duration = Duration::from_millis(5);

/// Where a stage's time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Doing its work.
    Busy,
    /// Waiting for somebody downstream, or for the disk.
    Blocked,
    /// Waiting for something to do.
    Idle,
}

/// A stage's time, readable by others.
#[derive(Debug, Default)]
pub struct StageAccount {
    nanoseconds: [AtomicU64; 3],
}

/// Times of one stage, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageTimes {
    /// Name of the stage, and its number where there are several.
    pub name: String,
    /// Doing its work, seconds.
    pub busy_s: f64,
    /// Waiting for downstream or the disk, seconds.
    pub blocked_s: f64,
    /// Waiting for something to do, seconds.
    pub idle_s: f64,
}

impl StageAccount {
    /// The account as a row.
    pub fn times(&self, name: &str) -> StageTimes {
        let seconds = |i: usize| self.nanoseconds[i].load(Ordering::Relaxed) as f64 / 1e9;
        StageTimes { name: name.to_owned(), busy_s: seconds(0), blocked_s: seconds(1), idle_s: seconds(2) }
    }

    /// All that was booked.
    pub fn booked(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.iter().map(|part| part.load(Ordering::Relaxed)).sum())
    }
}

/// Divides a thread's time among accounts: every nanosecond since its making goes somewhere.
pub struct StageTimer {
    since: Instant,
}

impl StageTimer {
    /// A timer that counts from now on.
    #[allow(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> StageTimer {
        StageTimer { since: Instant::now() }
    }

    /// Books the time since the last call.
    pub fn lap(&mut self, account: &StageAccount, time: Time) {
        let now = Instant::now();
        let spent = now.duration_since(self.since).as_nanos() as u64;
        account.nanoseconds[time as usize].fetch_add(spent, Ordering::Relaxed);
        self.since = now;
    }

    /// Books the time since the last call as busy but for `waited`, which was idle.
    pub fn lap_after_waiting(&mut self, account: &StageAccount, waited: Duration) {
        self.since += waited;
        account.nanoseconds[Time::Idle as usize].fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
        self.lap(account, Time::Busy);
    }
}

/// Wakes a stage that sleeps.
pub trait Wake: Send + Sync {
    /// Makes the stage look at its rings soon.
    fn wake(&self);
}

impl Wake for Unparker {
    fn wake(&self) {
        self.unpark();
    }
}

/// The sleeping side of a stage.
pub struct Sleeper {
    parker: Parker,
    stop: Arc<AtomicBool>,
}

/// The handle by which others wake and stop a stage.
#[derive(Clone)]
pub struct StageHandle {
    unparker: Unparker,
    stop: Arc<AtomicBool>,
}

/// A sleeper and its handle.
pub fn sleeper() -> (Sleeper, StageHandle) {
    let (parker, stop) = (Parker::new(), Arc::new(AtomicBool::new(false)));
    let unparker = parker.unparker().clone();
    (Sleeper { parker, stop: stop.clone() }, StageHandle { unparker, stop })
}

impl Sleeper {
    /// Sleeps until woken, at most `time`.
    pub fn sleep(&self, time: Duration) {
        self.parker.park_timeout(time);
    }

    /// Whether the stage is asked to end once its rings are empty.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl StageHandle {
    /// Asks the stage to end once its rings are empty: whoever fills them has ended before.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.unparker.unpark();
    }

    /// The waking part.
    pub fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(self.unparker.clone())
    }
}

/// A ring's writing end together with the reader to wake.
pub struct Outlet<T: Word> {
    producer: Producer<T>,
    readers: Vec<Arc<dyn Wake>>,
    next: usize,
}

impl<T: Word> Outlet<T> {
    /// An outlet to these readers; they are woken in turn.
    pub fn new(producer: Producer<T>, readers: Vec<Arc<dyn Wake>>) -> Outlet<T> {
        assert!(!readers.is_empty(), "a ring has a reader");
        Outlet { producer, readers, next: 0 }
    }

    /// Moves all of `values` into the ring, waiting for room if it must; the wait is booked as blocked.
    pub fn push_all(&mut self, values: &mut Vec<T>, timer: &mut StageTimer, account: &StageAccount) {
        while !values.is_empty() {
            if self.producer.push_from(values) > 0 {
                self.readers[self.next].wake();
                self.next = (self.next + 1) % self.readers.len();
                continue;
            }
            timer.lap(account, Time::Busy);
            self.readers.iter().for_each(|reader| reader.wake());
            std::thread::sleep(Duration::from_micros(50));
            timer.lap(account, Time::Blocked);
        }
    }
}

/// Refusals of all stages together: kept by each locally and added up now and then.
#[derive(Default)]
pub struct RefusalBoard {
    total: AtomicU64,
    counters: Mutex<RefusalCounters>,
}

impl RefusalBoard {
    /// Counts one kind; cheap enough for once a batch.
    pub fn add(&self, refusal: Refusal, count: u64) {
        if count > 0 {
            self.counters.lock().expect("no holder panics").add(refusal, count);
            self.total.fetch_add(count, Ordering::Release);
        }
    }

    /// How many so far, of whatever kind.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// A copy of the counters.
    pub fn counters(&self) -> RefusalCounters {
        self.counters.lock().expect("no holder panics").clone()
    }
}
