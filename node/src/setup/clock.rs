//! The node's time: milliseconds since the chain's start. Durations come from the monotonic clock; how far it is off is
//! measured by SNTP, or taken as nothing on a devnet, whose nodes share one clock.

use super::discipline::{Discipline, Followed, Track, is_of_one_mind, is_with_the_network};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
    /// Added on purpose, for tests.
    shift_ms: Arc<AtomicI64>,
    known: Arc<Mutex<Known>>,
    /// Where it is at least, if the chain's newest block is to be believed, which a quorum has signed.
    chain_ms: Arc<AtomicU64>,
    /// Where it stands, if it does not go by itself.
    stands_at_ms: Option<Arc<AtomicU64>>,
}

/// What is known of a clock beside its time.
#[derive(Default)]
struct Known {
    trusted: bool,
    /// When the network was last with it, once servers and network have agreed.
    confirmed: Option<Instant>,
    /// Milliseconds that it has jumped since then without the network.
    jumped_ms: i64,
    /// How many slots others are ahead, as they say.
    ahead: Option<RangeInclusive<i64>>,
    /// What the computer's clock was ahead by when it was last looked at, if it was by too much.
    system_ahead_ms: Option<i64>,
}

impl Known {
    /// If what was measured last is good, and the network says the same, that is remembered.
    fn agree(&mut self) {
        let ahead = self.ahead.as_ref();
        if self.trusted && is_of_one_mind(ahead) && is_with_the_network(ahead) {
            (self.confirmed, self.jumped_ms) = (Some(Instant::now()), 0);
        }
    }
}

const UNPOISONED: &str = "nothing panics while it holds what is known of a clock";

impl Clock {
    /// A clock for a chain that starts at `start_ms`. It is trusted from the start, or only once it has been measured.
    pub fn new(start_ms: u64, trusted: bool) -> Clock {
        Clock {
            start_ms,
            base: (unix_ms(), Instant::now()),
            offset_ms: Arc::default(),
            shift_ms: Arc::default(),
            known: Arc::new(Mutex::new(Known { trusted, ..Known::default() })),
            chain_ms: Arc::default(),
            stands_at_ms: None,
        }
    }

    /// A trusted clock that stands at the chain's start until it is set forward: of a node that is alone, whose blocks go
    /// by count.
    pub fn standing() -> Clock {
        Clock { stands_at_ms: Some(Arc::default()), ..Clock::new(0, true) }
    }

    /// Sets a clock forward that stands.
    ///
    /// # Panics
    /// When it goes by itself, or is further.
    pub fn set_forward(&self, to_ms: u64) {
        let stands_at_ms = self.stands_at_ms.as_ref().expect("a clock that goes by itself is not set forward");
        let before = stands_at_ms.swap(to_ms, Ordering::Relaxed);
        assert!(before <= to_ms, "a clock at {before} ms is set back to {to_ms}");
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect(UNPOISONED)
    }

    fn local_ms(&self) -> u64 {
        self.base.0 + self.base.1.elapsed().as_millis() as u64
    }

    /// Milliseconds since the chain's start; 0 before it.
    pub fn now_ms(&self) -> u64 {
        if let Some(stands_at_ms) = &self.stands_at_ms {
            return stands_at_ms.load(Ordering::Relaxed);
        }
        self.local_ms().saturating_add_signed(self.offset_ms()).saturating_sub(self.start_ms)
    }

    /// What is added to the system's time.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Adds an error on purpose: for tests of a node whose clock is wrong.
    pub fn shift(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
        self.shift_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Whether the node may mint by this clock: it was measured, and it is about the slot that others say it is, and not
    /// before that of the chain's newest block.
    pub fn is_trusted(&self) -> bool {
        let known = self.known();
        known.trusted && is_with_the_network(known.ahead.as_ref()) && !self.is_before_the_chain()
    }

    /// The chain's newest block is of a slot that has begun then, or a little later.
    pub fn chain_is_at(&self, begun_ms: u64) {
        self.chain_ms.store(begun_ms, Ordering::Relaxed);
    }

    fn is_before_the_chain(&self) -> bool {
        self.stands_at_ms.is_none() && self.now_ms() < self.chain_ms.load(Ordering::Relaxed)
    }

    /// How far the computer's clock has come since 1970, less what has passed by the monotonic one: it changes when
    /// somebody sets the computer's clock, and by as long as the computer was asleep.
    pub fn system_apart_ms(&self) -> i64 {
        (unix_ms() as i64).saturating_sub(self.local_ms() as i64)
    }

    /// How long until the chain starts.
    pub fn until_start(&self) -> Duration {
        if self.now_ms() > 0 { Duration::ZERO } else { self.until(0) }
    }

    /// Hears how many slots others are ahead; none while too few have said it.
    pub fn network_says(&self, ahead: Option<RangeInclusive<i64>>) {
        let mut known = self.known();
        known.ahead = ahead;
        known.agree();
    }

    /// What the servers say that this clock is off by, against the system's time; none if too few agree. Says what was
    /// made of it.
    pub fn measured(&self, offset_ms: Option<i64>, discipline: &Discipline) -> Option<Followed> {
        let mut known = self.known();
        let Some(offset) = offset_ms else {
            known.trusted = false;
            return None;
        };
        Some(self.follow(&mut known, self.behind_ms(offset), discipline))
    }

    /// How far this clock is behind the system's and so much. A system clock that was stepped meanwhile differs from ours
    /// by as much, and one that has slept: the monotonic clock stands still then.
    fn behind_ms(&self, offset_ms: i64) -> i64 {
        self.system_apart_ms().saturating_add(offset_ms).saturating_sub(self.offset_ms())
    }

    /// Where no servers are asked: looks at the system's clock, which the operator says is right. It is followed at once
    /// where the network is there, and when it is still there at the next look wherever the network is: nodes of one
    /// computer that all see it jump come together again, and one that is misled alone sees that others are elsewhere,
    /// and does not mint. Slots in which something was signed stay signed when it is set back. Says what was made of it.
    pub fn looked_at_system(&self, discipline: &Discipline) -> Option<Followed> {
        self.looked_at(self.behind_ms(self.shift_ms.load(Ordering::Relaxed)), discipline)
    }

    fn looked_at(&self, behind_ms: i64, discipline: &Discipline) -> Option<Followed> {
        let mut known = self.known();
        let before = known.system_ahead_ms.take();
        if behind_ms.saturating_abs() <= discipline.bound_ms {
            return None;
        }
        let led = is_of_one_mind(known.ahead.as_ref()) && !is_with_the_network(known.ahead.as_ref());
        let followed = led.then(|| {
            let trusted = known.trusted;
            let followed = self.follow(&mut known, behind_ms, discipline);
            // That the computer does not help is nothing against the clock.
            known.trusted = trusted;
            followed
        });
        if let Some(Followed::Step(..)) = followed {
            return followed;
        }
        let still = before.is_some_and(|before| before.abs_diff(behind_ms) <= discipline.bound_ms.unsigned_abs());
        if !still {
            known.system_ahead_ms = Some(behind_ms);
            return followed;
        }
        self.offset_ms.fetch_add(behind_ms, Ordering::Relaxed);
        known.ahead = known.ahead.as_ref().map(|ahead| discipline.ahead_after(ahead, behind_ms));
        known.agree();
        Some(Followed::Step(behind_ms, is_with_the_network(known.ahead.as_ref())))
    }

    fn follow(&self, known: &mut Known, behind_ms: i64, discipline: &Discipline) -> Followed {
        let trusted = known.trusted && is_with_the_network(known.ahead.as_ref());
        let confirmed_ago_ms = known.confirmed.map(|at| at.elapsed().as_millis() as u64);
        let track = Track { trusted, confirmed_ago_ms, jumped_ms: known.jumped_ms };
        let followed = discipline.judge(behind_ms, track, known.ahead.as_ref());
        known.trusted = match followed {
            Followed::Step(step, good) => {
                self.offset_ms.fetch_add(step, Ordering::Relaxed);
                let jump = discipline.jump(step, trusted);
                known.jumped_ms = known.jumped_ms.saturating_add(jump);
                if jump > 0 {
                    known.ahead = known.ahead.as_ref().map(|ahead| discipline.ahead_after(ahead, step));
                }
                good
            }
            Followed::TooFar | Followed::AgainstTheNetwork => false,
        };
        known.agree();
        followed
    }

    /// How long until a time.
    pub fn until(&self, at_ms: u64) -> Duration {
        if self.stands_at_ms.is_some() {
            return Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
        }
        // Before the chain's start time stands still at 0.
        let start = self.start_ms.saturating_sub(self.local_ms().saturating_add_signed(self.offset_ms()));
        Duration::from_millis(at_ms.saturating_sub(self.now_ms()) + start)
    }
}

/// Milliseconds that have passed, whatever a clock is set to meanwhile.
#[derive(Clone)]
pub enum Stopwatch {
    /// Since that moment.
    Since(Instant),
    /// By a clock that stands until it is set forward: where time is not real.
    Standing(Clock),
}

impl Stopwatch {
    /// One that runs from now on.
    pub fn start() -> Stopwatch {
        Stopwatch::Since(Instant::now())
    }

    /// How many have passed.
    pub fn passed_ms(&self) -> u64 {
        match self {
            Stopwatch::Since(begun) => begun.elapsed().as_millis() as u64,
            Stopwatch::Standing(clock) => clock.now_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISCIPLINE: Discipline = Discipline { slot_ms: 10_000, bound_ms: 500 };
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;

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
    fn servers_that_are_a_year_ahead_move_a_clock_that_the_network_has_confirmed_by_nothing() {
        for still_heard in [false, true] {
            let clock = Clock::new(0, false);
            clock.measured(Some(0), &DISCIPLINE);
            clock.network_says(Some(0..=0));
            assert!(clock.is_trusted());
            clock.network_says(still_heard.then_some(0..=0));
            // However often they say it, and though the clock is distrusted from the second time on.
            for _ in 0..10 {
                clock.measured(Some(YEAR_MS), &DISCIPLINE);
                assert!(!clock.is_trusted() && clock.offset_ms().abs() <= 20, "{}", clock.offset_ms());
            }
            clock.measured(Some(0), &DISCIPLINE);
            assert!(clock.is_trusted());
        }
    }

    #[test]
    fn jumps_without_the_network_are_two_slots_in_all() {
        let clock = Clock::new(0, false);
        clock.measured(Some(0), &DISCIPLINE);
        clock.network_says(Some(0..=0));
        clock.network_says(None);
        for slots in 1..100 {
            // Too few of them agree for a moment: then the next step is whole.
            clock.measured(None, &DISCIPLINE);
            clock.measured(Some(slots * 10_000), &DISCIPLINE);
        }
        assert!((10_000..=20_000).contains(&clock.offset_ms()), "{}", clock.offset_ms());
    }

    #[test]
    fn one_false_reading_at_the_start_silences_nobody_for_long() {
        for lie in [YEAR_MS, -YEAR_MS, 3_600_000, 40_000] {
            let clock = Clock::new(0, false);
            assert_eq!(clock.measured(Some(lie), &DISCIPLINE), Some(Followed::Step(lie, true)));
            // Those who know better are heard, before the servers are asked again and after it.
            let slots = -lie / 10_000;
            clock.network_says(Some(slots..=slots));
            assert!(!clock.is_trusted());
            for _ in 0..3 {
                clock.measured(Some(lie), &DISCIPLINE);
                assert!(!clock.is_trusted(), "servers that lie on move nothing");
            }
            clock.measured(Some(0), &DISCIPLINE);
            assert!(clock.is_trusted() && clock.offset_ms().abs() <= 20, "{lie}: {}", clock.offset_ms());
            // And a lie that nobody has contradicted yet is not held on to either.
            let alone = Clock::new(0, false);
            alone.measured(Some(lie), &DISCIPLINE);
            for _ in 0..2 {
                alone.measured(Some(0), &DISCIPLINE);
            }
            assert!(alone.is_trusted() && alone.offset_ms().abs() <= 20, "{lie}: {}", alone.offset_ms());
        }
    }

    /// A clock that was confirmed, and whose computer then slept for so long.
    fn slept(by_ms: i64) -> Clock {
        let clock = Clock::new(0, false);
        clock.measured(Some(0), &DISCIPLINE);
        clock.network_says(Some(0..=0));
        clock.offset_ms.fetch_sub(by_ms, Ordering::Relaxed);
        clock
    }

    #[test]
    fn a_computer_that_slept_comes_back_once_servers_and_network_are_heard() {
        for slots in [2i64, 3, 10, 3_000, 3_153_600] {
            let clock = slept(slots * 10_000 + 1_000);
            // The network's word of before, and none.
            for ahead in [Some(0..=0), None] {
                clock.network_says(ahead);
                clock.measured(Some(0), &DISCIPLINE);
            }
            clock.network_says(Some(slots..=slots + 1));
            for _ in 0..2 {
                clock.measured(Some(0), &DISCIPLINE);
            }
            assert!(clock.is_trusted() && clock.offset_ms().abs() <= 20, "{slots}: {}", clock.offset_ms());
        }
    }

    #[test]
    fn without_servers_the_computers_clock_is_followed_wherever_it_goes_at_the_second_look() {
        for ahead in [None, Some(0..=0), Some(-1..=1)] {
            for jump in [YEAR_MS, -YEAR_MS, 32_000, -32_000] {
                let clock = Clock::new(unix_ms(), true);
                clock.network_says(ahead.clone());
                // Two looks that say different things are none that say the same.
                assert_eq!(clock.looked_at(5 * jump, &DISCIPLINE), None);
                assert_eq!(clock.looked_at(jump, &DISCIPLINE), None);
                assert!(clock.is_trusted() && clock.offset_ms() == 0, "it may be set right again at once");
                let alone = ahead.is_none();
                assert_eq!(clock.looked_at(jump, &DISCIPLINE), Some(Followed::Step(jump, alone)));
                assert_eq!((clock.offset_ms(), clock.is_trusted()), (jump, alone), "others are where they were");
                assert_eq!(clock.looked_at(0, &DISCIPLINE), None);
                // The others have followed too, or were not heard for long.
                clock.network_says(Some(0..=1));
                assert!(clock.is_trusted());
            }
        }
        let clock = Clock::new(0, true);
        clock.offset_ms.fetch_sub(21_000, Ordering::Relaxed);
        clock.network_says(Some(2..=2));
        assert!(!clock.is_trusted());
        assert_eq!(clock.looked_at(YEAR_MS, &DISCIPLINE), Some(Followed::AgainstTheNetwork));
        assert!(matches!(clock.looked_at_system(&DISCIPLINE), Some(Followed::Step(20_900..=21_100, true))));
        assert!(clock.is_trusted());
        // One that is wrong on purpose stays so.
        let clock = Clock::new(0, true);
        clock.shift(30_000);
        clock.network_says(Some(-3..=-3));
        assert_eq!(clock.looked_at_system(&DISCIPLINE), None);
        assert!(!clock.is_trusted());
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
    fn by_a_clock_that_is_before_the_newest_block_nobody_mints() {
        let clock = Clock::new(unix_ms() - 100_000, true);
        clock.chain_is_at(90_000);
        assert!(clock.is_trusted());
        clock.shift(-60_000);
        assert!(!clock.is_trusted(), "a quorum has signed that it is later");
        clock.shift(60_000);
        assert!(clock.is_trusted());
    }

    #[test]
    fn before_the_start_time_stands_and_is_waited_for() {
        let clock = Clock::new(unix_ms() + 5_000, true);
        assert_eq!(clock.now_ms(), 0);
        assert!((6_900..=7_000).contains(&clock.until(2_000).as_millis()));
        assert!((4_900..=5_000).contains(&clock.until_start().as_millis()));
    }
}
