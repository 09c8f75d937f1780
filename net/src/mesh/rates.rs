//! How much work handshakes may cost, by where they come from and in all; and how fast one peer is read. Token buckets,
//! without a clock: who, what it costs, now -> whether it is done now or later.

use super::bucket::Bucket;
use super::nets::Net;
use std::collections::HashMap;
#[cfg(test)]
use std::time::Duration;
use std::time::Instant;

/// Networks whose handshakes are counted at a time. What is beyond shares one bucket.
const NETS_MAX: usize = 4_096;
/// How many times a network's time a /48 has of IPv6.
const WIDE_TIMES: u64 = 4;
/// How much more a handshake counts that comes from where garbage has come from.
const SUSPECTED_TIMES: u64 = 10;

/// Microseconds of the mesh's thread that a connection takes before anything is said on it: its entries, and who goes for
/// it.
const ACCEPT_MICROS: u64 = 40;
/// The same that a message of a handshake takes: key agreements, one of them for a key that is
/// used once.
pub(super) const SHAKE_MICROS: u64 = 200;
/// The same of the signature in our hello.
pub(super) const SIGN_MICROS: u64 = 250;
/// The same of the signature in a hello of theirs.
pub(super) const CHECK_MICROS: u64 = 1_500;

/// Microseconds of work that handshakes of others may cost in a second; twice as many at once.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeWork {
    /// Of all strangers together, and again of all who call from where we would call. Of these each network has half.
    pub total_micros: u64,
    /// Of one network of strangers.
    pub net_micros: u64,
}

/// A kind of work. Each has time of its own, or what is cheap would use up what the dear waits for: who has said nothing
/// yet that of who has, and key agreements that of proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A connection is begun with.
    Accept,
    /// A message of a handshake is looked at.
    Message,
    /// A hello is proved and answered.
    Hello,
}

/// Quarters of a time that each kind of work has.
const QUARTERS: [u64; 3] = [1, 2, 3];

/// A bucket of what fills so fast, and holds what comes in two seconds.
pub(super) fn two_seconds(rate: u64, now_ms: u64) -> Bucket {
    Bucket::holding(rate.saturating_mul(2), rate, now_ms)
}

/// Who makes us work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) net: Net,
    /// It calls from an address where someone is whom we would call.
    pub(super) expected: bool,
    /// Garbage has come from its address.
    pub(super) suspected: bool,
}

/// Time for each kind of work. It may be owed, so that what costs most waits for no more than the next moment that is free.
#[derive(Clone, Copy)]
struct Times([Bucket; 3]);

impl Times {
    fn of(micros: u64, now_ms: u64) -> Times {
        Times(QUARTERS.map(|quarters| two_seconds(micros / 4 * quarters, now_ms)))
    }

    fn has_some(&mut self, work: Work, now_ms: u64) -> bool {
        self.0[work as usize].has(now_ms, 1)
    }

    fn take(&mut self, work: Work, cost: u64, now_ms: u64) {
        self.0[work as usize].take(now_ms, cost);
    }

    fn are_full(&mut self, now_ms: u64) -> bool {
        self.0.iter_mut().all(|bucket| bucket.is_full(now_ms))
    }
}

/// The time of each network.
struct Nets {
    micros: u64,
    times: HashMap<Net, Times>,
    others: Times,
}

impl Nets {
    fn new(micros: u64) -> Nets {
        Nets { micros, times: HashMap::new(), others: Times::of(micros, 0) }
    }

    fn of(&mut self, net: Net, now_ms: u64) -> &mut Times {
        let (micros, known) = (self.micros, self.times.len() < NETS_MAX || self.times.contains_key(&net));
        match known {
            true => self.times.entry(net).or_insert_with(|| Times::of(micros, now_ms)),
            false => &mut self.others,
        }
    }

    fn forget(&mut self, now_ms: u64) {
        self.times.retain(|_, times| !times.are_full(now_ms));
        assert!(self.times.len() <= NETS_MAX, "more networks are counted than there is room for");
    }
}

/// The time of a kind of callers: all of them together, each network, and each /48.
struct Callers {
    all: Times,
    nets: Nets,
    wide: Nets,
}

impl Callers {
    fn new(total_micros: u64, net_micros: u64) -> Callers {
        let wide_micros = net_micros.max(total_micros / 2).min(net_micros * WIDE_TIMES);
        Callers { all: Times::of(total_micros, 0), nets: Nets::new(net_micros), wide: Nets::new(wide_micros) }
    }

    fn take(&mut self, caller: &Caller, (work, cost): (Work, u64), now_ms: u64) -> bool {
        let net = caller.net;
        if !self.all.has_some(work, now_ms) {
            return false;
        }
        if net != Net::Loopback {
            let of_nets = &mut [self.nets.of(net, now_ms), self.wide.of(net.wide(), now_ms)];
            if !of_nets.iter_mut().all(|times| times.has_some(work, now_ms)) {
                return false;
            }
            let cost = if caller.suspected { cost * SUSPECTED_TIMES } else { cost };
            of_nets.iter_mut().for_each(|times| times.take(work, cost, now_ms));
        }
        self.all.take(work, cost, now_ms);
        true
    }

    fn forget(&mut self, now_ms: u64) {
        [&mut self.nets, &mut self.wide].into_iter().for_each(|nets| nets.forget(now_ms));
    }
}

/// The work of handshakes under way.
pub(super) struct HandshakeRates {
    begun: Instant,
    strangers: Callers,
    expected: Callers,
}

impl HandshakeRates {
    pub(super) fn new(work: HandshakeWork, now: Instant) -> HandshakeRates {
        let HandshakeWork { total_micros, net_micros } = work;
        // Who is expected has named where it listens, and so may anybody with a stake.
        let expected = Callers::new(total_micros, total_micros / 2);
        HandshakeRates { begun: now, strangers: Callers::new(total_micros, net_micros), expected }
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_millis() as u64
    }

    /// Whether a connection is begun with; if not it is dropped, and nothing is made for it.
    pub(super) fn accepts(&mut self, caller: &Caller, now: Instant) -> bool {
        self.allow(caller, Work::Accept, ACCEPT_MICROS, now)
    }

    /// Whether work of this cost is done now; if not it can be asked for again later. Strangers use up what is for
    /// strangers, those who are expected what is for them, and each network what is its own.
    pub(super) fn allow(&mut self, caller: &Caller, work: Work, cost: u64, now: Instant) -> bool {
        assert!(cost > 0, "work that costs nothing is not asked for");
        let now_ms = self.ms(now);
        let callers = if caller.expected { &mut self.expected } else { &mut self.strangers };
        callers.take(caller, (work, cost), now_ms)
    }

    /// Forgets networks that have used up nothing.
    pub(super) fn forget(&mut self, now: Instant) {
        let now_ms = self.ms(now);
        [&mut self.strangers, &mut self.expected].into_iter().for_each(|callers| callers.forget(now_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of hellos a hundred milliseconds in a second, of which a network has ten.
    const WORK: HandshakeWork = HandshakeWork { total_micros: 133_336, net_micros: 13_336 };

    fn from(third: u8) -> Caller {
        Caller { net: Net::V4([10, 0, third]), expected: false, suspected: false }
    }

    fn count(rates: &mut HandshakeRates, caller: Caller, work: Work, cost: u64, now: Instant) -> usize {
        (0..100_000).take_while(|_| rates.allow(&caller, work, cost, now)).count()
    }

    fn allowed(rates: &mut HandshakeRates, caller: Caller, cost: u64, now: Instant) -> usize {
        count(rates, caller, Work::Hello, cost, now)
    }

    #[test]
    fn one_network_uses_up_its_own_and_all_together_leave_those_who_are_expected_theirs() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        assert_eq!(allowed(&mut rates, from(1), 1_000, now), 21, "two seconds' worth at once");
        assert_eq!(allowed(&mut rates, from(1), 1_000, now + Duration::from_millis(500)), 5);
        assert_eq!(allowed(&mut rates, from(2), 1_000, now), 21, "another network has its own");
        let rest: usize = (3..=255).map(|third| allowed(&mut rates, from(third), 1_000, now)).sum();
        assert!((165..=180).contains(&rest), "{rest} of what is for all strangers");
        let expected = |third: u8| Caller { expected: true, ..from(third) };
        // Of what is for them one network has half: an endpoint is anybody's who has a stake.
        assert_eq!(allowed(&mut rates, expected(1), 1_000, now), 101);
        let others = allowed(&mut rates, expected(2), 1_000, now);
        assert!((99..=101).contains(&others), "{others} of another network");
        let loopback = Caller { net: Net::Loopback, ..from(0) };
        let later = now + Duration::from_secs(9);
        assert_eq!(allowed(&mut rates, loopback, 1_000, later), 201, "it is no network");
    }

    #[test]
    fn what_is_cheap_uses_up_nothing_of_what_is_dear_and_what_is_dear_waits_for_the_next_moment() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        for expected in [false, true] {
            let caller = Caller { expected, ..from(1) };
            let others =
                [caller, Caller { net: Net::V4([10, 0, 2]), ..caller }, Caller { net: Net::V4([10, 0, 3]), ..caller }];
            for (work, cost) in [(Work::Accept, ACCEPT_MICROS), (Work::Message, SHAKE_MICROS)] {
                assert!(others.iter().map(|caller| count(&mut rates, *caller, work, cost, now)).sum::<usize>() > 100);
            }
            assert!(rates.allow(&caller, Work::Hello, CHECK_MICROS, now), "{expected}");
        }
        // A hello that costs more than is there at a time is not behind all that cost less.
        let mut rates = HandshakeRates::new(WORK, now);
        let (mut done, mut cheap) = (0, 0);
        for ms in 0..20_000 {
            let now = now + Duration::from_millis(ms);
            done += usize::from(ms % 3 == 0 && rates.allow(&from(1), Work::Hello, SIGN_MICROS + CHECK_MICROS, now));
            cheap += usize::from(rates.allow(&from(1), Work::Hello, SIGN_MICROS, now));
        }
        assert!(done > 20, "{done} dear ones, {cheap} cheap ones");
    }

    #[test]
    fn a_48_has_four_times_what_a_64_has_however_many_of_those_call() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        let of = |third: u8, last: u8| Caller { net: Net::V6([0x20, 1, 0, 0, 0, third, 0, last]), ..from(0) };
        assert_eq!(allowed(&mut rates, of(1, 1), 1_000, now), 21);
        let rest: usize = (2..=255).map(|last| allowed(&mut rates, of(1, last), 1_000, now)).sum();
        assert!((59..=64).contains(&rest), "{rest} of all others of its /48");
        assert_eq!(allowed(&mut rates, of(2, 1), 1_000, now), 21, "another's");
    }

    #[test]
    fn who_only_calls_uses_up_nobody_elses_time() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        let loopback = Caller { net: Net::Loopback, ..from(0) };
        let accepted = |rates: &mut HandshakeRates, caller: Caller, now| {
            (0..100_000).take_while(|_| rates.accepts(&caller, now)).count() as u64
        };
        let at_once = |micros: u64| (2 * (micros / 4)).div_ceil(ACCEPT_MICROS);
        assert_eq!(accepted(&mut rates, loopback, now), at_once(WORK.total_micros));
        assert_eq!(allowed(&mut rates, loopback, 1_000, now), 201, "what is said is another matter");
        let later = now + Duration::from_secs(1);
        assert_eq!(accepted(&mut rates, from(1), later), at_once(WORK.net_micros), "a network has its own");
        assert!(rates.accepts(&Caller { expected: true, ..from(1) }, later));
    }

    #[test]
    fn where_garbage_came_from_is_served_at_a_tenth_and_never_barred() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        let suspected = Caller { suspected: true, ..from(1) };
        assert_eq!(allowed(&mut rates, suspected, 1_000, now), 3);
        assert!(rates.allow(&suspected, Work::Hello, 1_000, now + Duration::from_secs(2)));
        // What costs more than ever is there is owed.
        assert!(rates.allow(&suspected, Work::Hello, 9_000, now + Duration::from_secs(60)));
        assert!(!rates.allow(&suspected, Work::Hello, 1, now + Duration::from_secs(65)));
    }

    #[test]
    fn more_networks_than_there_is_room_for_share_one() {
        let now = Instant::now();
        let work = HandshakeWork { total_micros: 1 << 40, net_micros: 10_000 };
        let mut rates = HandshakeRates::new(work, now);
        for third in 0..=u16::MAX {
            let caller = Caller { net: Net::V4([9, (third >> 8) as u8, third as u8]), ..from(0) };
            rates.allow(&caller, Work::Hello, 1_000, now);
        }
        assert_eq!(rates.strangers.nets.times.len(), NETS_MAX);
        assert_eq!(allowed(&mut rates, Caller { net: Net::V6([1; 8]), ..from(0) }, 1_000, now), 0);
        rates.forget(now + Duration::from_secs(3));
        assert!(rates.strangers.nets.times.is_empty());
    }
}
