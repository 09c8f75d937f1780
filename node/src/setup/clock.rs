//! The node's time: milliseconds since the chain's start. Durations come from the monotonic clock; how far it is off is
//! measured by SNTP, or taken as nothing on a devnet, whose nodes share one clock.

use super::discipline::{Discipline, Followed, is_with_the_network};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as this computer has it.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A clock; clones show the same time.
#[derive(Clone)]
pub struct Clock {
    start_ms: u64,
    /// The system's time when the clock was made, and the moment.
    base: (u64, Instant),
    offset_ms: Arc<AtomicI64>,
    trusted: Arc<AtomicBool>,
    /// Whether it was good once since the process began.
    confirmed: Arc<AtomicBool>,
    /// How many slots others are ahead, as they say.
    ahead: Arc<Mutex<Option<RangeInclusive<i64>>>>,
}

const UNPOISONED: &str = "nothing panics while it holds a range of two numbers";

impl Clock {
    /// A clock for a chain that starts at `start_ms`. It is trusted from the start, or only once it has been measured.
    pub fn new(start_ms: u64, trusted: bool) -> Clock {
        Clock {
            start_ms,
            base: (unix_ms(), Instant::now()),
            offset_ms: Arc::default(),
            trusted: Arc::new(AtomicBool::new(trusted)),
            confirmed: Arc::new(AtomicBool::new(trusted)),
            ahead: Arc::default(),
        }
    }

    fn local_ms(&self) -> u64 {
        self.base.0 + self.base.1.elapsed().as_millis() as u64
    }

    /// Milliseconds since the chain's start; 0 before it.
    pub fn now_ms(&self) -> u64 {
        self.local_ms().saturating_add_signed(self.offset_ms()).saturating_sub(self.start_ms)
    }

    /// What is added to the system's time.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Adds an error on purpose: for tests of a node whose clock is wrong.
    pub fn shift(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Whether the node may mint by this clock: it was measured, and it is about the slot that others say it is.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed) && is_with_the_network(self.network().as_ref())
    }

    fn network(&self) -> Option<RangeInclusive<i64>> {
        self.ahead.lock().expect(UNPOISONED).clone()
    }

    /// Hears how many slots others are ahead; none while too few have said it.
    pub fn network_says(&self, ahead: Option<RangeInclusive<i64>>) {
        *self.ahead.lock().expect(UNPOISONED) = ahead;
    }

    /// What the servers say that this clock is off by, against the system's time; none if too few agree. Says what was
    /// made of it.
    pub fn measured(&self, offset_ms: Option<i64>, discipline: &Discipline) -> Option<Followed> {
        let Some(offset) = offset_ms else {
            self.trusted.store(false, Ordering::Relaxed);
            return None;
        };
        // A system clock that was stepped meanwhile differs from ours by as much.
        let right = (unix_ms() as i64).saturating_add(offset).saturating_sub(self.local_ms() as i64);
        let standing = (self.trusted.load(Ordering::Relaxed), self.confirmed.load(Ordering::Relaxed));
        let behind = right.saturating_sub(self.offset_ms());
        let followed = discipline.judge(behind, standing, self.network().as_ref());
        let good = match followed {
            Followed::Step(step, good) => {
                self.offset_ms.fetch_add(step, Ordering::Relaxed);
                good
            }
            Followed::TooFar | Followed::AgainstTheNetwork => false,
        };
        self.trusted.store(good, Ordering::Relaxed);
        self.confirmed.fetch_or(good, Ordering::Relaxed);
        Some(followed)
    }

    /// How long until a time.
    pub fn until(&self, at_ms: u64) -> Duration {
        // Before the chain's start time stands still at 0.
        let start = self.start_ms.saturating_sub(self.local_ms().saturating_add_signed(self.offset_ms()));
        Duration::from_millis(at_ms.saturating_sub(self.now_ms()) + start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISCIPLINE: Discipline = Discipline { slot_ms: 10_000, bound_ms: 500 };

    #[test]
    fn a_clock_follows_small_errors_slowly_and_large_ones_stop_minting() {
        let clock = Clock::new(0, false);
        assert!(!clock.is_trusted());
        clock.measured(Some(3_000), &DISCIPLINE);
        assert!(clock.is_trusted() && (2_990..=3_010).contains(&clock.offset_ms()));
        clock.measured(Some(3_100), &DISCIPLINE);
        assert!(clock.is_trusted() && (3_005..=3_035).contains(&clock.offset_ms()));
        clock.measured(Some(9_000), &DISCIPLINE);
        assert!(!clock.is_trusted());
        clock.measured(None, &DISCIPLINE);
        assert!(!clock.is_trusted());
    }

    #[test]
    fn servers_that_are_a_year_ahead_move_a_good_clock_by_nothing() {
        let clock = Clock::new(0, false);
        clock.measured(Some(0), &DISCIPLINE);
        assert!(clock.is_trusted());
        // However often they say it, and though the clock is distrusted from the first time on.
        for _ in 0..10 {
            clock.measured(Some(365 * 24 * 3_600_000), &DISCIPLINE);
            assert!(!clock.is_trusted() && clock.offset_ms().abs() <= 20, "{}", clock.offset_ms());
        }
        clock.measured(Some(0), &DISCIPLINE);
        assert!(clock.is_trusted());
    }

    #[test]
    fn a_clock_that_others_contradict_is_not_minted_by() {
        let clock = Clock::new(0, true);
        clock.network_says(Some(-30..=-29));
        assert!(!clock.is_trusted());
        clock.network_says(Some(-1..=1));
        assert!(clock.is_trusted());
    }

    #[test]
    fn before_the_start_time_stands_and_is_waited_for() {
        let clock = Clock::new(unix_ms() + 5_000, true);
        assert_eq!(clock.now_ms(), 0);
        assert!((6_900..=7_000).contains(&clock.until(2_000).as_millis()));
    }
}
