//! What comes to nothing and is nobody's fault: of a height that is past, a record that is known, a question too many.
//! An honest peer says some of it in every slot. Each costs a few microseconds, so that a line full of it costs what no
//! single one does: beyond so many in a second it is not wanted from whoever says it.
//!
//! A node that stood still hears at once what was said meanwhile. On a network nothing comes to nothing for long only if
//! nobody was listened to, so that such a pause counts as if it were part of the second in which it ends.

use super::asked::Whom;
use std::collections::BTreeMap;

/// Frames in vain that are free in a second: ten times what an honest peer says in a whole slot, in vain or not.
const FREE_IN_SECOND: u32 = 256;
const SECOND_MS: u64 = 1_000;
/// What a pause counts for at most: a computer that stood still for longer has its connections cut by then.
const PAUSE_MAX_MS: u64 = 60_000;

/// What came to nothing in the second that goes on, by name, or by connection of who has none.
#[derive(Default)]
pub struct Vain {
    begun_ms: u64,
    /// When anything has come to nothing for the last time.
    last_ms: Option<u64>,
    /// How long it lasts: a second, or as long as the pause that has ended in it.
    lasts_ms: u64,
    frames: BTreeMap<Whom, u32>,
}

impl Vain {
    /// A frame has come to nothing; whether that is too much.
    pub fn is_too_much(&mut self, whom: Whom, now_ms: u64) -> bool {
        let pause_ms = now_ms.saturating_sub(self.last_ms.replace(now_ms).unwrap_or(now_ms));
        if now_ms.saturating_sub(self.begun_ms) >= self.lasts_ms.max(SECOND_MS) {
            (self.begun_ms, self.lasts_ms) = (now_ms, pause_ms.clamp(SECOND_MS, PAUSE_MAX_MS));
            self.frames.clear();
        }
        assert!(self.lasts_ms <= PAUSE_MAX_MS, "a second of {} ms", self.lasts_ms);
        let frames = self.frames.entry(whom).or_insert(0);
        *frames = frames.saturating_add(1);
        u64::from(*frames) > u64::from(FREE_IN_SECOND) * self.lasts_ms.max(SECOND_MS) / SECOND_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_free_for_each_in_every_second_and_a_line_full_of_it_is_not() {
        let mut vain = Vain::default();
        let too_much =
            |vain: &mut Vain, name, now_ms| (0..1_000).filter(|_| vain.is_too_much(Whom::Name(name), now_ms)).count();
        assert_eq!(too_much(&mut vain, 1, 5_000), 744);
        assert_eq!(too_much(&mut vain, 1, 5_999), 1_000);
        assert!(!vain.is_too_much(Whom::Name(2), 5_999), "another's line");
        assert_eq!(too_much(&mut vain, 1, 6_000), 744);
    }

    #[test]
    fn what_comes_at_once_after_a_pause_was_said_in_all_of_it() {
        let mut vain = Vain::default();
        (0..60_000).step_by(10).for_each(|now_ms| assert!(!vain.is_too_much(Whom::Name(1), now_ms)));
        // It stood still for half a minute, in which each has said a hundred in a second, as it may.
        let burst = |vain: &mut Vain, name, frames: u32, now_ms| {
            (0..frames).filter(|_| vain.is_too_much(Whom::Name(name), now_ms)).count()
        };
        let too_much: usize = (1..100).map(|name| burst(&mut vain, name, 3_000, 90_000)).sum();
        assert_eq!(too_much, 0);
        // No more than that, though, and the next seconds are what they were.
        assert!(burst(&mut vain, 1, 10_000, 90_500) > 5_000);
        assert!((90_500..120_020).step_by(10).all(|now_ms| !vain.is_too_much(Whom::Name(2), now_ms)));
        assert_eq!(burst(&mut vain, 1, 1_000, 120_020), 744);
    }
}
