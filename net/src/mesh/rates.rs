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
    /// Of all strangers together, and again of all who call from where we would call.
    pub total_micros: u64,
    /// Of one network.
    pub net_micros: u64,
}

/// A bucket of what fills so fast, and holds what comes in two seconds.
pub(super) fn two_seconds(rate: u64, now_ms: u64) -> Bucket {
    Bucket::holding(rate.saturating_mul(2), rate, now_ms)
}

/// Whether so much is there. What costs more than there ever is waits for all there is.
fn has(bucket: &mut Bucket, cost: u64, now_ms: u64) -> bool {
    bucket.has(now_ms, cost.min(bucket.holds()))
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

/// The work of handshakes under way.
pub(super) struct HandshakeRates {
    work: HandshakeWork,
    begun: Instant,
    strangers: Bucket,
    /// What accepting strangers may cost: who only calls does not use up the time of who says something.
    accepts: Bucket,
    expected: Bucket,
    nets: HashMap<Net, Bucket>,
    other_nets: Bucket,
}

impl HandshakeRates {
    pub(super) fn new(work: HandshakeWork, now: Instant) -> HandshakeRates {
        let [total, other_nets] = [work.total_micros, work.net_micros].map(|micros| two_seconds(micros, 0));
        let (strangers, accepts, expected) = (total, total, total);
        HandshakeRates { work, begun: now, strangers, accepts, expected, nets: HashMap::new(), other_nets }
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_millis() as u64
    }

    /// Whether a connection is begun with; if not it is dropped, and nothing is made for it.
    pub(super) fn accepts(&mut self, caller: &Caller, now: Instant) -> bool {
        self.take(caller, ACCEPT_MICROS, |rates| &mut rates.accepts, now)
    }

    /// Whether work of this cost is done now; if not it can be asked for again later. Strangers use up what is for
    /// strangers, each network what is its own; who is expected waits for neither.
    pub(super) fn allow(&mut self, caller: &Caller, cost: u64, now: Instant) -> bool {
        self.take(caller, cost, |rates| &mut rates.strangers, now)
    }

    fn take(&mut self, caller: &Caller, cost: u64, of: impl Fn(&mut Self) -> &mut Bucket, now: Instant) -> bool {
        let (net_micros, now_ms) = (self.work.net_micros, self.ms(now));
        if caller.expected {
            let has = has(&mut self.expected, cost, now_ms);
            self.expected.take(now_ms, if has { cost } else { 0 });
            return has;
        }
        if !has(of(self), cost, now_ms) {
            return false;
        }
        if caller.net != Net::Loopback {
            let known = self.nets.len() < NETS_MAX || self.nets.contains_key(&caller.net);
            let of_net = match known {
                true => self.nets.entry(caller.net).or_insert_with(|| two_seconds(net_micros, now_ms)),
                false => &mut self.other_nets,
            };
            let cost = if caller.suspected { cost * SUSPECTED_TIMES } else { cost };
            if !has(of_net, cost, now_ms) {
                return false;
            }
            of_net.take(now_ms, cost);
        }
        of(self).take(now_ms, cost);
        true
    }

    /// Forgets networks that have used up nothing.
    pub(super) fn forget(&mut self, now: Instant) {
        let now_ms = self.ms(now);
        self.nets.retain(|_, bucket| !bucket.is_full(now_ms));
        assert!(self.nets.len() <= NETS_MAX, "more networks are counted than there is room for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: HandshakeWork = HandshakeWork { total_micros: 100_000, net_micros: 10_000 };

    fn from(third: u8) -> Caller {
        Caller { net: Net::V4([10, 0, third]), expected: false, suspected: false }
    }

    fn allowed(rates: &mut HandshakeRates, caller: Caller, cost: u64, now: Instant) -> usize {
        (0..100_000).take_while(|_| rates.allow(&caller, cost, now)).count()
    }

    #[test]
    fn one_network_uses_up_its_own_and_all_together_leave_those_who_are_expected_theirs() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        assert_eq!(allowed(&mut rates, from(1), 1_000, now), 20, "two seconds' worth at once");
        assert_eq!(allowed(&mut rates, from(1), 1_000, now + Duration::from_millis(500)), 5);
        assert_eq!(allowed(&mut rates, from(2), 1_000, now), 20, "another network has its own");
        let rest: usize = (3..=255).map(|third| allowed(&mut rates, from(third), 1_000, now)).sum();
        assert!((170..=180).contains(&rest), "{rest} of what is for all strangers");
        let expected = Caller { expected: true, ..from(1) };
        assert_eq!(allowed(&mut rates, expected, 1_000, now), 200);
        let loopback = Caller { net: Net::Loopback, ..from(0) };
        assert_eq!(allowed(&mut rates, loopback, 1_000, now + Duration::from_secs(9)), 200, "it is no network");
    }

    #[test]
    fn who_only_calls_uses_up_nobody_elses_time() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        let loopback = Caller { net: Net::Loopback, ..from(0) };
        let accepted = |rates: &mut HandshakeRates, caller: Caller, now| {
            (0..100_000).take_while(|_| rates.accepts(&caller, now)).count() as u64
        };
        assert_eq!(accepted(&mut rates, loopback, now), 200_000 / ACCEPT_MICROS);
        assert_eq!(allowed(&mut rates, loopback, 1_000, now), 200, "what is said is another matter");
        let later = now + Duration::from_secs(1);
        assert_eq!(accepted(&mut rates, from(1), later), 20_000 / ACCEPT_MICROS, "a network has its own");
        assert_eq!(allowed(&mut rates, from(1), 1_000, later), 0, "for all of it");
        assert!(rates.accepts(&Caller { expected: true, ..from(1) }, later));
    }

    #[test]
    fn where_garbage_came_from_is_served_at_a_tenth_and_never_barred() {
        let now = Instant::now();
        let mut rates = HandshakeRates::new(WORK, now);
        let suspected = Caller { suspected: true, ..from(1) };
        assert_eq!(allowed(&mut rates, suspected, 1_000, now), 2);
        assert!(rates.allow(&suspected, 1_000, now + Duration::from_secs(1)));
        // What costs more than ever is there is done with all there is.
        assert!(rates.allow(&suspected, 9_000, now + Duration::from_secs(60)));
    }

    #[test]
    fn more_networks_than_there_is_room_for_share_one() {
        let now = Instant::now();
        let work = HandshakeWork { total_micros: 1 << 40, net_micros: 10_000 };
        let mut rates = HandshakeRates::new(work, now);
        for third in 0..=u16::MAX {
            let caller = Caller { net: Net::V4([9, (third >> 8) as u8, third as u8]), ..from(0) };
            rates.allow(&caller, 1_000, now);
        }
        assert_eq!(rates.nets.len(), NETS_MAX);
        assert_eq!(allowed(&mut rates, Caller { net: Net::V6([1; 8]), ..from(0) }, 1_000, now), 0);
        rates.forget(now + Duration::from_secs(2));
        assert!(rates.nets.is_empty());
    }
}
