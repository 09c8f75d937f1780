//! Which measurement of its time a clock follows: policy alone, without sockets, threads and clocks.
//!
//! Servers say how far the clock is off, if most of those configured agree; the network says how far its slots are from
//! the own ones, once B + 1 others have said theirs, or heights are heard of while they become final. Neither is enough
//! by itself to move a minter for long: servers lead it nowhere that the network is not, and the network never moves a
//! clock, it only says that it is wrong. Where both agree, a clock goes however far it is: it was asleep, or misled.
//!
//! ```text
//!   the network is heard      into its slots: followed        elsewhere: left, and not minted by
//!   it was heard not long ago two slots in all: followed      further: left, and not minted by
//!   it was not                followed, and doubted as soon as the network is heard
//! ```

use std::ops::RangeInclusive;

/// Small errors are followed so many milliseconds a measurement, so that time never jumps in the middle of a slot.
const STEP_MS: i64 = 20;
/// A clock that the network has confirmed jumps by no more slots than these in all until it is heard again.
const JUMP_SLOTS: i64 = 2;
/// Slots that others' clocks may differ by: a message takes its time, and slots have borders.
const APART_SLOTS: i64 = 1;
/// Slots without a word of the network after which nothing is left of what it has confirmed: if all were asleep at
/// once, nobody but the servers can say what time it is.
const CONFIRMED_SLOTS: u64 = 64;

/// What is known when a measurement comes.
#[derive(Clone, Debug)]
pub struct Discipline {
    /// Length of a slot.
    pub slot_ms: u64,
    /// Milliseconds that the clock may be off and mint.
    pub bound_ms: i64,
}

/// What a clock has shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// It is good enough to mint by now.
    pub trusted: bool,
    /// If servers and network have agreed on it, milliseconds since the network was last with it.
    pub confirmed_ago_ms: Option<u64>,
    /// Milliseconds that it has jumped since then without the network.
    pub jumped_ms: i64,
}

/// What a clock does with a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It is set by so much, and is good enough to mint by from then on, or not yet.
    Step(i64, bool),
    /// It stays as it is, and nothing is minted: the jump is larger than any that is made without the network.
    TooFar,
    /// It stays as it is, and nothing is minted: the network's slots are elsewhere.
    AgainstTheNetwork,
}

/// Whether a clock that others are so many slots ahead of is one of theirs.
pub fn is_with_the_network(ahead: Option<&RangeInclusive<i64>>) -> bool {
    ahead.is_none_or(|ahead| *ahead.start() <= APART_SLOTS && *ahead.end() >= -APART_SLOTS)
}

/// Whether those who say how many slots they are ahead say the same, so that a clock can be led by it. With a wide range
/// somebody lies, and servers would choose where in it.
pub fn is_of_one_mind(ahead: Option<&RangeInclusive<i64>>) -> bool {
    ahead.is_some_and(|ahead| ahead.end().saturating_sub(*ahead.start()) <= 2 * APART_SLOTS)
}

impl Discipline {
    /// How many slots others are ahead of a clock that is set by so much. A step within the bound, and half
    /// a slot, leaves them where they are: whole slots cannot say what it changes, and a millisecond would count as one.
    pub fn ahead_after(&self, ahead: &RangeInclusive<i64>, step_ms: i64) -> RangeInclusive<i64> {
        let slot_ms = self.slot();
        if step_ms.saturating_abs() <= self.bound_ms.min(slot_ms / 2) {
            return ahead.clone();
        }
        let after = |slots: i64| slots.saturating_mul(slot_ms).saturating_sub(step_ms).div_euclid(slot_ms);
        after(*ahead.start())..=after(*ahead.end())
    }

    fn slot(&self) -> i64 {
        i64::try_from(self.slot_ms).unwrap_or(i64::MAX).max(1)
    }

    /// Judges a measurement: the clock is behind by so much, says a majority.
    pub fn judge(&self, behind_ms: i64, track: Track, ahead: Option<&RangeInclusive<i64>>) -> Followed {
        let step = if track.trusted { behind_ms.clamp(-STEP_MS, STEP_MS) } else { behind_ms };
        let there = ahead.map(|ahead| self.ahead_after(ahead, step));
        if !is_with_the_network(there.as_ref()) {
            return Followed::AgainstTheNetwork;
        }
        let lapses_ms = CONFIRMED_SLOTS.saturating_mul(self.slot_ms);
        let confirmed = track.confirmed_ago_ms.is_some_and(|ago| ago <= lapses_ms);
        let jumped = track.jumped_ms.saturating_add(self.jump(step, track.trusted));
        if confirmed && !is_of_one_mind(ahead) && jumped > JUMP_SLOTS.saturating_mul(self.slot()) {
            return Followed::TooFar;
        }
        Followed::Step(step, behind_ms.saturating_sub(step).saturating_abs() <= self.bound_ms)
    }

    /// How much of a step counts as a jump: those of a good clock, which are small, follow what it drifts.
    pub fn jump(&self, step_ms: i64, trusted: bool) -> i64 {
        if trusted { 0 } else { step_ms.saturating_abs() }
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
    const NEW: Track = Track { trusted: false, confirmed_ago_ms: None, jumped_ms: 0 };
    const GOOD: Track = Track { trusted: true, confirmed_ago_ms: Some(0), jumped_ms: 0 };

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
        assert_eq!(DISCIPLINE.judge(3_000, NEW, None), Followed::Step(3_000, true));
        assert_eq!(DISCIPLINE.judge(100, GOOD, None), Followed::Step(20, true));
        assert_eq!(DISCIPLINE.judge(-9_000, GOOD, None), Followed::Step(-20, false));
    }

    #[test]
    fn a_clock_that_was_confirmed_never_jumps_far_without_the_network_however_often_it_is_told() {
        let doubtful = Track { trusted: false, ..GOOD };
        // Nor if those who are heard say different things, and the servers choose among them.
        for (ahead, behind) in [YEAR_MS, -YEAR_MS, 20_001, -20_001]
            .map(|behind| (None, behind))
            .into_iter()
            .chain([(Some(0..=4_000_000), YEAR_MS), (Some(-4_000_000..=0), -YEAR_MS)])
        {
            assert_eq!(DISCIPLINE.judge(behind, doubtful, ahead.as_ref()), Followed::TooFar);
        }
        assert_eq!(DISCIPLINE.judge(20_000, doubtful, None), Followed::Step(20_000, true));
        let jumped = Track { jumped_ms: 1, ..doubtful };
        assert_eq!(DISCIPLINE.judge(20_000, jumped, None), Followed::TooFar);
        // All were asleep, and nobody is left who could confirm it.
        let lapsed = Track { confirmed_ago_ms: Some(64 * 10_000 + 1), ..jumped };
        assert_eq!(DISCIPLINE.judge(3_600_000, lapsed, None), Followed::Step(3_600_000, true));
    }

    #[test]
    fn a_millisecond_is_no_slot() {
        // Others are in the slot before, as at any border, and the clock is good, or has not been measured yet.
        for track in [GOOD, NEW] {
            for behind in [1, 20, 400, -1, -400] {
                let step = if track.trusted { behind.clamp(-STEP_MS, STEP_MS) } else { behind };
                for slots in [-1, 0, 1] {
                    let followed = DISCIPLINE.judge(behind, track, Some(&(slots..=slots)));
                    assert_eq!(followed, Followed::Step(step, true), "{behind} ms, {slots} slots ahead");
                    assert_eq!(DISCIPLINE.ahead_after(&(slots..=slots), step), slots..=slots);
                }
            }
        }
        let wide = Discipline { slot_ms: 1_000, bound_ms: 10_000 };
        assert_eq!(wide.judge(9_000, NEW, Some(&(0..=0))), Followed::AgainstTheNetwork, "a bound of many slots");
        // Beyond the bound a step is looked at in slots, be it a little more.
        assert_eq!(DISCIPLINE.judge(501, NEW, Some(&(-1..=-1))), Followed::AgainstTheNetwork);
        assert_eq!(DISCIPLINE.judge(20, GOOD, Some(&(-2..=-2))), Followed::AgainstTheNetwork);
    }

    #[test]
    fn no_set_of_servers_moves_a_clock_against_the_slots_of_others() {
        // A clock at its start, which would follow anything; others are in its slot, or one beside it.
        for (low, high) in [(0, 0), (-1, 0), (0, 1), (-1, 1)] {
            for behind in [YEAR_MS, -YEAR_MS, 40_000, -40_000] {
                let followed = DISCIPLINE.judge(behind, NEW, Some(&(low..=high)));
                assert_eq!(followed, Followed::AgainstTheNetwork, "{low} to {high}, {behind}");
            }
            assert_eq!(DISCIPLINE.judge(4_000, NEW, Some(&(low..=high))), Followed::Step(4_000, true));
        }
        // Led away a little at a time: at two slots it ends.
        let (mut moved, mut steps) = (0, 0);
        while steps < 10_000 {
            let slots = (-moved + 9_999i64).div_euclid(10_000);
            match DISCIPLINE.judge(400, GOOD, Some(&(slots..=slots))) {
                Followed::Step(step, _) => moved += step,
                _ => break,
            }
            steps += 1;
        }
        assert!(moved <= 2 * 10_000, "{moved} ms in {steps} steps");
        // And a clock that is wrong is set right, by the servers, where the network is, confirmed or not.
        let slept = Track { trusted: false, jumped_ms: 20_000, ..GOOD };
        for track in [NEW, slept] {
            assert_eq!(DISCIPLINE.judge(400_000, track, Some(&(40..=41))), Followed::Step(400_000, true));
        }
        assert!(!is_with_the_network(Some(&(40..=41))) && is_with_the_network(Some(&(-1..=1))));
    }
}
