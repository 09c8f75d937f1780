//! How long at least one of several threads has worked: what they do side by side costs that time once, and what one of
//! them does alone costs all of it.

use std::time::{Duration, Instant};

/// Threads at work.
#[derive(Debug, Default)]
pub struct Working {
    threads: usize,
    /// Until when was counted; while somebody works.
    counted: Option<Instant>,
}

impl Working {
    /// One more begins.
    pub fn begin(&mut self, now: Instant) {
        self.counted.get_or_insert(now);
        self.threads += 1;
    }

    /// One has ended: the time in which somebody worked and that was not counted yet.
    ///
    /// # Panics
    /// When none works.
    pub fn end(&mut self, now: Instant) -> Duration {
        assert!(self.threads > 0, "a thread ends its work that has begun none");
        self.threads -= 1;
        let since = self.counted.take().expect("somebody works");
        if self.threads > 0 {
            self.counted = Some(now.max(since));
        }
        now.saturating_duration_since(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_alone_costs_all_of_its_time_and_what_two_do_together_half_of_theirs() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut working = Working::default();
        working.begin(at(0));
        assert_eq!(working.end(at(100)), Duration::from_millis(100), "the other one had nothing to do");
        // Nobody works for a while; then both do, one of them for longer.
        working.begin(at(500));
        working.begin(at(510));
        let both = [working.end(at(600)), working.end(at(650))];
        assert_eq!(both.iter().sum::<Duration>(), Duration::from_millis(150), "{both:?}");
        // One after the other without a pause, as under load.
        working.begin(at(1_000));
        let mut sum = Duration::ZERO;
        for turn in 1..=10 {
            working.begin(at(1_000 + turn * 10));
            sum += working.end(at(1_005 + turn * 10));
        }
        sum += working.end(at(1_200));
        assert_eq!(sum, Duration::from_millis(200));
    }
}
