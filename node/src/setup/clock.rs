//! The node's time: milliseconds since the chain's start. Durations come from the monotonic clock; how far it is off is
//! measured by SNTP, or taken as nothing on a devnet, whose nodes share one clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
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
}

impl Clock {
    /// A clock for a chain that starts at `start_ms`. It is trusted from the start, or only once it has been measured.
    pub fn new(start_ms: u64, trusted: bool) -> Clock {
        Clock {
            start_ms,
            base: (unix_ms(), Instant::now()),
            offset_ms: Arc::default(),
            trusted: Arc::new(AtomicBool::new(trusted)),
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

    /// Whether the node may mint by this clock.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// What the servers say that this clock is off by, against the system's time; none if too few agree.
    pub fn measured(&self, offset_ms: Option<i64>, bound_ms: i64) {
        let now = unix_ms() as i64;
        match offset_ms {
            // A system clock that was stepped meanwhile differs from ours by as much.
            Some(offset) => {
                let right = now + offset - self.local_ms() as i64;
                // Small errors are followed a part at a time, so that time never jumps in the middle of a slot.
                let behind = right - self.offset_ms();
                let step = if self.is_trusted() { behind.clamp(-20, 20) } else { behind };
                self.offset_ms.fetch_add(step, Ordering::Relaxed);
                self.trusted.store((behind - step).abs() <= bound_ms, Ordering::Relaxed);
            }
            None => self.trusted.store(false, Ordering::Relaxed),
        }
    }

    /// How long until a time.
    pub fn until(&self, at_ms: u64) -> Duration {
        // Before the chain's start time stands still at 0.
        let start = self.start_ms.saturating_sub(self.local_ms().saturating_add_signed(self.offset_ms()));
        Duration::from_millis(at_ms.saturating_sub(self.now_ms()) + start)
    }
}

/// The median of what servers say, if so many of them that most agree within `bound_ms` of it.
pub fn agreed(offsets_ms: &mut [i64], asked: usize, bound_ms: i64) -> Option<i64> {
    offsets_ms.sort_unstable();
    let median = *offsets_ms.get(offsets_ms.len() / 2)?;
    let near = offsets_ms.iter().filter(|offset| (*offset - median).abs() <= bound_ms).count();
    (2 * near > asked).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_liar_among_servers_changes_nothing_and_two_of_three_are_noticed() {
        assert_eq!(agreed(&mut [5, 7, 40_000], 3, 100), Some(7));
        assert_eq!(agreed(&mut [-30_000, 5, 7], 3, 100), Some(5));
        assert_eq!(agreed(&mut [-30_000, 7, 40_000], 3, 100), None);
        assert_eq!(agreed(&mut [3], 4, 100), None);
        assert_eq!(agreed(&mut [], 3, 100), None);
    }

    #[test]
    fn a_clock_follows_small_errors_slowly_and_large_ones_stop_minting() {
        let clock = Clock::new(0, false);
        assert!(!clock.is_trusted());
        clock.measured(Some(3_000), 500);
        assert!(clock.is_trusted() && (2_990..=3_010).contains(&clock.offset_ms()));
        clock.measured(Some(3_100), 500);
        assert!(clock.is_trusted() && (3_005..=3_035).contains(&clock.offset_ms()));
        clock.measured(Some(9_000), 500);
        assert!(!clock.is_trusted());
        clock.measured(None, 500);
        assert!(!clock.is_trusted());
    }

    #[test]
    fn before_the_start_time_stands_and_is_waited_for() {
        let clock = Clock::new(unix_ms() + 5_000, true);
        assert_eq!(clock.now_ms(), 0);
        assert!((6_900..=7_000).contains(&clock.until(2_000).as_millis()));
    }
}
