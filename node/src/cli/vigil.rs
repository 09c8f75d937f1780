//! What a running node says of itself as time passes: how long until its chain starts, that its clock is behind what the
//! chain has signed, that nothing becomes final.

use dynemix::minting::view::NodeView;
use std::time::{Duration, Instant};

/// Slots of silence before it is said that nothing becomes final.
const STALLED_SLOTS: u64 = 8;
/// Slots that a clock may be behind the newest block without a word: a message takes its time, and slots have borders.
const BEHIND_SLOTS: u64 = 1;
/// How often that is said again while it lasts.
const AGAIN: Duration = Duration::from_secs(60);

/// Something that may be so for a while.
#[derive(Default)]
struct Condition {
    said: Option<Instant>,
}

impl Condition {
    /// Whether it is to be said now; and whether it is over.
    fn is(&mut self, so: bool) -> (bool, bool) {
        let due = so && self.said.is_none_or(|said| said.elapsed() >= AGAIN);
        let over = !so && self.said.take().is_some();
        self.said = if due { Some(Instant::now()) } else { self.said };
        (due, over)
    }
}

/// Looks at a node now and then.
#[derive(Default)]
pub(crate) struct Vigil {
    /// Seconds until the start, when it was said last.
    start_said_s: Option<u64>,
    behind: Condition,
    stalled: Condition,
}

/// Whether a countdown that has come to `left_s` is to be said, after it was said at `said_s`: the nearer the more often.
fn counts(said_s: Option<u64>, left_s: u64) -> bool {
    let step = match left_s {
        0..=10 => 5,
        11..=60 => 10,
        61..=600 => 60,
        601..=36_000 => 600,
        _ => 3_600,
    };
    said_s.is_none_or(|said| left_s.div_ceil(step) < said.div_ceil(step))
}

impl Vigil {
    pub(crate) fn look(&mut self, view: &NodeView) {
        let left = view.clock.until_start();
        if !left.is_zero() {
            let left_s = left.as_secs() + 1;
            if counts(self.start_said_s, left_s) {
                self.start_said_s = Some(left_s);
                tracing::info!("the chain starts in {left_s} s: until then there is nothing to do");
            }
            return;
        }
        let slot_ms = view.chain.parameters.slot_ms;
        let now = view.clock.now_ms() / slot_ms;
        // None before the consensus thread has begun.
        let Some(newest) = view.status.look(|live| live.system.as_ref().map(|system| system.slot)) else { return };
        let behind = newest.saturating_sub(now);
        let (due, over) = self.behind.is(behind > BEHIND_SLOTS);
        if due {
            tracing::error!(
                "this clock is {behind} slots ({} s) behind the chain: it says slot {now}, and the newest block here is \
                 of slot {newest}. Nothing is minted until it is past that. Set the computer's clock right; if it is \
                 right, the chain was minted by clocks that were ahead",
                behind.saturating_mul(slot_ms) / 1_000
            );
        } else if over {
            tracing::info!("this clock is not behind the chain any more");
        }
        let silent = now.saturating_sub(newest);
        // Who was away hears of what has been in the meantime first.
        let here_slots = view.started.elapsed().as_millis() as u64 / slot_ms;
        let (due, over) = self.stalled.is(silent.min(here_slots) > STALLED_SLOTS);
        if due {
            tracing::warn!("nothing has become final for {silent} slots: slot {now}, newest block of slot {newest}");
        } else if over {
            tracing::info!("blocks become final again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_is_said_more_often_towards_its_end() {
        let said = |from: u64| {
            let mut said = Vec::new();
            for left in (1..=from).rev() {
                if counts(said.last().copied(), left) {
                    said.push(left);
                }
            }
            said
        };
        assert_eq!(said(75), [75, 60, 50, 40, 30, 20, 10, 5]);
        assert_eq!(said(3), [3]);
        assert!(said(100_000).len() < 100);
    }
}
