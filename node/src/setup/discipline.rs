//! Which measurement of its time a clock follows: policy alone, without sockets, threads and clocks.
//!
//! Servers say how far the clock is off, if most of those configured agree; the network says how far its slots are from
//! the own ones, once B + 1 others have said theirs. Neither is enough by itself to move a minter: servers lead it
//! nowhere that the network is not, and the network never moves a clock, it only says that it is wrong.

use std::ops::RangeInclusive;

/// Small errors are followed so many milliseconds a measurement, so that time never jumps in the middle of a slot.
const STEP_MS: i64 = 20;
/// A clock that was good once never jumps by more slots than these while its process runs. An operator who knows that
/// the servers are right restarts the node: what it reserves is bound by what the network says then.
const JUMP_SLOTS: i64 = 2;
/// Slots that others' clocks may differ by: a message takes its time, and slots have borders.
const APART_SLOTS: i64 = 1;

/// What is known when a measurement comes.
#[derive(Clone, Debug)]
pub struct Discipline {
    /// Length of a slot.
    pub slot_ms: u64,
    /// Milliseconds that the clock may be off and mint.
    pub bound_ms: i64,
}

/// What a clock does with a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is set by so much, and is good enough to mint by from then on, or not yet.
    Step(i64, bool),
    /// It stays as it is, and nothing is minted: the jump is larger than any that is made without an operator.
    TooFar,
    /// It stays as it is, and nothing is minted: the network's slots are elsewhere.
    AgainstTheNetwork,
}

/// Whether a clock that others are so many slots ahead of is one of theirs.
pub fn is_with_the_network(ahead: Option<&RangeInclusive<i64>>) -> bool {
    ahead.is_none_or(|ahead| *ahead.start() <= APART_SLOTS && *ahead.end() >= -APART_SLOTS)
}

impl Discipline {
    /// Judges a measurement: the clock is behind by so much, says a majority. `trusted`: it is good now; `confirmed`:
    /// it was good once.
    pub fn judge(
        &self,
        behind_ms: i64,
        (trusted, confirmed): (bool, bool),
        ahead: Option<&RangeInclusive<i64>>,
    ) -> Followed {
        let slot_ms = i64::try_from(self.slot_ms).unwrap_or(i64::MAX).max(1);
        let step = if trusted { behind_ms.clamp(-STEP_MS, STEP_MS) } else { behind_ms };
        if confirmed && step.saturating_abs() > JUMP_SLOTS.saturating_mul(slot_ms) {
            return Followed::TooFar;
        }
        let after = |slots: i64| slots.saturating_mul(slot_ms).saturating_sub(step).div_euclid(slot_ms);
        let there = ahead.map(|ahead| after(*ahead.start())..=after(*ahead.end()));
        if !is_with_the_network(there.as_ref()) {
            return Followed::AgainstTheNetwork;
        }
        Followed::Step(step, behind_ms.saturating_sub(step).saturating_abs() <= self.bound_ms)
    }
}

/// The median of what servers say, if so many of them that most of those asked agree within `bound_ms` of it.
pub fn agreed(offsets_ms: &mut [i64], asked: usize, bound_ms: i64) -> Option<i64> {
    offsets_ms.sort_unstable();
    let median = *offsets_ms.get(offsets_ms.len() / 2)?;
    let near = offsets_ms.iter().filter(|offset| offset.abs_diff(median) <= bound_ms.unsigned_abs()).count();
    (2 * near > asked).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISCIPLINE: Discipline = Discipline { slot_ms: 10_000, bound_ms: 500 };
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;

    #[test]
    fn a_minority_of_the_servers_moves_nothing_whatever_it_says_and_whoever_is_silent() {
        assert_eq!(agreed(&mut [5, 7, 40_000], 3, 100), Some(7));
        assert_eq!(agreed(&mut [-30_000, 5, 7], 3, 100), Some(5));
        assert_eq!(agreed(&mut [-30_000, 7, 40_000], 3, 100), None);
        for lie in [40_000, YEAR_MS, -YEAR_MS, i64::MAX, i64::MIN] {
            // Two of four lie alike, with all others silent, and with none.
            assert_eq!(agreed(&mut [lie, lie], 4, 100), None);
            assert_eq!(agreed(&mut [lie, lie, 3, 4], 4, 100), None);
            assert!(agreed(&mut [lie, 3, 4, 5], 4, 100).is_some_and(|agreed| (3..=5).contains(&agreed)));
        }
        assert_eq!(agreed(&mut [], 3, 100), None);
    }

    #[test]
    fn small_errors_are_followed_slowly_and_a_first_measurement_at_once() {
        assert_eq!(DISCIPLINE.judge(3_000, (false, false), None), Followed::Step(3_000, true));
        assert_eq!(DISCIPLINE.judge(100, (true, true), None), Followed::Step(20, true));
        assert_eq!(DISCIPLINE.judge(-9_000, (true, true), None), Followed::Step(-20, false));
    }

    #[test]
    fn a_clock_that_was_good_never_jumps_far_however_often_it_is_told() {
        for behind in [YEAR_MS, -YEAR_MS, 20_001, -20_001] {
            assert_eq!(DISCIPLINE.judge(behind, (false, true), None), Followed::TooFar);
        }
        assert_eq!(DISCIPLINE.judge(20_000, (false, true), None), Followed::Step(20_000, true));
    }

    #[test]
    fn no_set_of_servers_moves_a_clock_against_the_slots_of_others() {
        // A clock at its start, which would follow anything; others are in its slot, or one beside it.
        for (low, high) in [(0, 0), (-1, 0), (0, 1), (-1, 1)] {
            for behind in [YEAR_MS, -YEAR_MS, 40_000, -40_000] {
                let followed = DISCIPLINE.judge(behind, (false, false), Some(&(low..=high)));
                assert_eq!(followed, Followed::AgainstTheNetwork, "{low} to {high}, {behind}");
            }
            assert_eq!(DISCIPLINE.judge(4_000, (false, false), Some(&(low..=high))), Followed::Step(4_000, true));
        }
        // Led away a little at a time: at two slots it ends.
        let (mut moved, mut steps) = (0, 0);
        while steps < 10_000 {
            let slots = (-moved + 9_999) / 10_000;
            match DISCIPLINE.judge(400, (true, true), Some(&(slots..=slots))) {
                Followed::Step(step, _) => moved += step,
                _ => break,
            }
            steps += 1;
        }
        assert!(moved <= 2 * 10_000, "{moved} ms in {steps} steps");
        // And a clock that is wrong is set right, by the servers, where the network is.
        assert_eq!(DISCIPLINE.judge(400_000, (false, false), Some(&(40..=41))), Followed::Step(400_000, true));
        assert!(!is_with_the_network(Some(&(40..=41))) && is_with_the_network(Some(&(-1..=1))));
    }
}
