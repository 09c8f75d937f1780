//! What minters claim waits a little for what others claim: verified together, ten cost little more than one. Only
//! claims wait, and nothing waits for them.

use super::entry::Entry;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Claims that wait, as they came.
#[derive(Default)]
pub struct Claims {
    waiting: VecDeque<Entry>,
    /// The first of them waits no longer.
    until: Option<Instant>,
}

impl Claims {
    /// One has come, which waits so long at most.
    pub fn add(&mut self, entry: Entry, now: Instant, at_most: Duration) {
        let until = now + at_most;
        self.until = Some(self.until.map_or(until, |first| first.min(until)));
        self.waiting.push_back(entry);
    }

    /// How long the first of them waits yet; none: there is none.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }

    /// All of them, if there are so many or the first has waited long enough.
    pub fn take(&mut self, enough: usize, now: Instant) -> VecDeque<Entry> {
        let due = self.waiting.len() >= enough || self.until.is_some_and(|until| until <= now);
        if !due {
            return VecDeque::new();
        }
        self.until = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_wait_until_there_are_enough_or_the_first_has_waited_long_enough() {
        let (begun, long) = (Instant::now(), Duration::from_secs(20));
        let claim = || Entry::Durable(1);
        let mut claims = Claims::default();
        assert_eq!((claims.left(begun), claims.take(1, begun).len()), (None, 0));
        (0..3).for_each(|_| claims.add(claim(), begun, long));
        assert_eq!(claims.take(4, begun).len(), 0, "another one is to come");
        claims.add(claim(), begun, long);
        assert_eq!((claims.take(4, begun).len(), claims.left(begun)), (4, None), "as many as there are to come");
        claims.add(claim(), begun, long);
        // A step is near: whatever comes now waits for less, and so do those that wait for it.
        claims.add(claim(), begun + long / 4, long / 4);
        assert_eq!(claims.left(begun + long / 4), Some(long / 4));
        assert_eq!(claims.take(4, begun + long / 4).len(), 0);
        assert_eq!(claims.take(4, begun + long / 2).len(), 2, "nobody waits for longer");
    }
}
