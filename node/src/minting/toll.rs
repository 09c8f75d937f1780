//! What work costs: the time that it takes, or, where time is not real, what somebody says that it takes.

use std::time::{Duration, Instant};

/// How the cost of work is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Toll {
    /// It is timed.
    #[default]
    Timed,
    /// Each transaction costs so many nanoseconds.
    Said(u64),
}

/// Work that is under way.
pub struct Work {
    begun: Option<Instant>,
    nanos: u64,
}

impl Toll {
    /// Work begins whose cost is to be found.
    pub fn begin(self) -> Work {
        match self {
            Toll::Timed => Work { begun: Some(Instant::now()), nanos: 0 },
            Toll::Said(nanos) => Work { begun: None, nanos },
        }
    }
}

impl Work {
    /// What it has cost, of so many transactions.
    pub fn took(&self, count: usize) -> Duration {
        let said = Duration::from_nanos(self.nanos.saturating_mul(count as u64));
        self.begun.map_or(said, |begun| begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_it_costs_and_what_is_timed_is_not() {
        let said = Toll::Said(2_500).begin();
        assert_eq!([0, 4].map(|count| said.took(count)), [Duration::ZERO, Duration::from_micros(10)]);
        let timed = Toll::Timed.begin();
        std::thread::sleep(Duration::from_millis(2));
        assert!(timed.took(0) >= Duration::from_millis(2));
    }
}
