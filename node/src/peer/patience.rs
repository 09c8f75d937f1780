//! How long a peer may take over a part of a snapshot. No clock here: times that have passed come in.
//!
//! A peer that gives a little now and then must not keep whoever joins for hours: it is expected to give a part at a
//! least rate from its first byte to its last. Whoever is slower is passed over; if all are, each is expected half of it,
//! down to what is not worth waiting for. So a part takes, beside ten seconds a peer, at most twice what the fastest
//! peer needs for it, whatever the others do.

use std::time::Duration;

/// What is expected at first, bytes a second.
const RATE_FIRST: u64 = 512 << 10;
/// The least that is worth waiting for.
const RATE_LEAST: u64 = 32 << 10;
/// What a peer has beside the time that a part's bytes take; and how long it may give nothing new.
const PEER_WAIT: Duration = Duration::from_secs(10);

/// What is expected of peers; remembered from part to part, since it is the line's as much as theirs.
pub(super) struct Patience {
    rate: u64,
    wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience::waiting(PEER_WAIT)
    }
}

impl Patience {
    /// With another time beside that of the bytes.
    pub(super) fn waiting(wait: Duration) -> Patience {
        Patience { rate: RATE_FIRST, wait }
    }

    /// Whether a peer's time is over: so long since it was asked, so long since it gave something new of a part of so
    /// many bytes.
    pub(super) fn is_over(&self, since_asked: Duration, since_new: Duration, bytes: u64) -> bool {
        let of_bytes = Duration::from_millis(bytes.saturating_mul(1_000) / self.rate);
        since_new > self.wait || since_asked > self.wait + of_bytes
    }

    /// Expects less; false when it was the least already.
    pub(super) fn lessen(&mut self) -> bool {
        let less = self.rate > RATE_LEAST;
        self.rate = (self.rate / 2).max(RATE_LEAST);
        less
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_piece_now_and_then_prolongs_nothing_beyond_the_least_rate() {
        let patience = Patience::default();
        // The largest blocks there can be, a piece every nine seconds.
        let over = (1..1_000).find(|&nine| patience.is_over(9 * nine * SECOND, 9 * SECOND, 1 << 20));
        assert_eq!(over, Some(2), "18 s and not 72");
        // The largest system: minutes at the first rate, not the hours that a piece every nine seconds takes.
        let over = (1..).find(|&second| patience.is_over(second * SECOND, SECOND, 128 << 20));
        assert_eq!(over, Some(10 + 256 + 1));
        assert!(patience.is_over(11 * SECOND, 11 * SECOND, 128 << 20), "silent");
    }

    #[test]
    fn a_slow_line_is_met_by_expecting_less_and_not_without_end() {
        let mut patience = Patience::default();
        let chunk = 25 << 20;
        let at_100_kib = Duration::from_secs(chunk / (100 << 10));
        let mut rounds = 0;
        while patience.is_over(at_100_kib, SECOND, chunk) {
            assert!(patience.lessen());
            rounds += 1;
        }
        assert_eq!(rounds, 3, "512, 256, 128 KiB a second are too much of it");
        while patience.lessen() {}
        assert!(patience.rate == RATE_LEAST && !patience.lessen());
    }
}
