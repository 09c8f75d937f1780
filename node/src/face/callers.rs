//! Who may call the API and how much each may have: places, waiting times, bytes that are held for it, allowances.
//! Neither socket nor clock here: who, what, how much and when come in, a verdict goes out.
//!
//! ```text
//!   places      connections, of which so many of one address (a /64 of IPv6; of loopback, which is one, all)
//!               + KEPT_PLACES when all of those are at work: for /health, /ready and /metrics
//!   bytes       OF_EACH for each place: what small questions and answers take, always there
//!               + held_bytes for all that is longer, of one address (but loopback) half at most
//!   a second    submits and bytes: a bucket for each connection inside one for each address (but loopback)
//! ```
//!
//! Whoever needs room gets that of who has been silent, or slow, or in a row for what takes long, for longest.

use dynemix_net::mesh::Bucket;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Places beside all others that only health, readiness and metrics are served on.
pub const KEPT_PLACES: usize = 8;
/// Bytes of a connection's question and answer that no budget counts.
pub const OF_EACH: u64 = 32 << 10;
/// Transactions that one with a broken signature costs, beside itself: it is looked for by halves of its batch.
const BROKEN_COST: u64 = 9;
/// An address has so many times what one of its connections has.
const CONNECTIONS_WORTH: u64 = 4;
/// Addresses that are remembered after their last connection; until their buckets are full again.
const GONE_MAX: usize = 4_096;

/// How long a connection may be without its first question.
const FRESH_MS: u64 = 10_000;
/// How long it may be without a further one.
const IDLE_MS: u64 = 60_000;
/// How long a question may take to come.
const READING_MS: u64 = 20_000;
/// How long an answer may take to go, beside what its bytes take at the least rate.
const ANSWERING_MS: u64 = 10_000;
/// Bytes of an answer that a reader takes in a second at least.
const READER_BYTES_PER_S: u64 = 32 << 10;
/// How long one on a kept place may stay without being at work.
const KEPT_MS: u64 = 5_000;
/// Who has begun to send or read so lately is not yet slow.
const GRACE_MS: u64 = 1_000;

/// What connections share a bound: an address, or of IPv6 what one customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// This computer: everyone who works on it is one address.
    Loopback,
    /// An address of IPv4.
    V4(Ipv4Addr),
    /// A /64 of IPv6.
    V6([u16; 4]),
}

impl Group {
    /// Of an address.
    pub fn of(address: IpAddr) -> Group {
        match address.to_canonical() {
            address if address.is_loopback() => Group::Loopback,
            IpAddr::V4(address) => Group::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Group::V6([a, b, c, d])
            }
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has come and asked nothing.
    Fresh,
    /// It has had its answer.
    Idle,
    /// A question is coming.
    Reading,
    /// Its question stands in a row for one of our threads, and nothing is done for it yet.
    Queued,
    /// We look for the answer.
    Working,
    /// The answer, of so many bytes, is going.
    Answering(u64),
    /// A WebSocket, which has its own signs of life.
    Subscribed,
}

/// Bounds, as they are configured.
#[derive(Clone, Copy, Debug)]
pub struct CallerLimits {
    /// Connections that have places, but for the kept ones.
    pub connections: usize,
    /// Of one address.
    pub of_address: usize,
    /// Bytes that are held for all together, beyond what each has.
    pub held_bytes: u64,
    /// Transactions a second that a connection may hand in.
    pub submits_per_s: u64,
    /// Bytes a second that a connection may have read and sent for it.
    pub bytes_per_s: u64,
}

/// What becomes of who has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has a place, perhaps that of another, which is to be closed.
    Placed {
        /// The number that it is known by from now on.
        id: u64,
        /// It may ask for health, readiness and metrics only.
        kept: bool,
        /// Who is to be closed.
        instead_of: Option<u64>,
    },
    /// There is none for it.
    Refused,
}

/// Whether a connection becomes a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Subscription {
    /// It is one, perhaps in the place of another, which is to be closed.
    Taken(Option<u64>),
    /// There is no place for it.
    Refused,
}

/// Whether bytes can be held.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// They are counted.
    Taken,
    /// Not yet: these are to be closed; then it may ask again.
    Close(Vec<u64>),
    /// No, and nobody is slow enough to make room.
    Full,
}

struct Caller {
    group: Group,
    kept: bool,
    stage: Stage,
    since_ms: u64,
    held: u64,
    /// It is a WebSocket, whatever it is doing now.
    subscribed: bool,
    /// It is being closed: its place is free, its bytes not yet.
    closing: bool,
    submits: Bucket,
    bytes: Bucket,
}

impl Caller {
    /// Bytes that count against the budget.
    fn counted(&self) -> u64 {
        self.held.saturating_sub(OF_EACH)
    }

    /// Whether it may make room: silent, or slow for a while, or for a while in a row, where its place brings it nothing
    /// yet. Else questions that take long would keep all places for as long as anyone asks them.
    fn waits(&self, now_ms: u64) -> bool {
        match self.stage {
            Stage::Fresh | Stage::Idle => true,
            Stage::Reading | Stage::Answering(_) | Stage::Queued => self.since_ms.saturating_add(GRACE_MS) <= now_ms,
            Stage::Working | Stage::Subscribed => false,
        }
    }

    fn is_overdue(&self, now_ms: u64) -> bool {
        let patience = match self.stage {
            Stage::Queued | Stage::Working | Stage::Subscribed => return false,
            _ if self.kept => KEPT_MS,
            Stage::Fresh => FRESH_MS,
            Stage::Idle => IDLE_MS,
            Stage::Reading => READING_MS,
            Stage::Answering(bytes) => ANSWERING_MS + bytes.saturating_mul(1_000) / READER_BYTES_PER_S,
        };
        self.since_ms.saturating_add(patience) <= now_ms
    }
}

/// An address that others than this computer's programs call from.
struct Address {
    submits: Bucket,
    bytes: Bucket,
}

/// All who call.
pub struct Callers {
    limits: CallerLimits,
    callers: BTreeMap<u64, Caller>,
    addresses: BTreeMap<Group, Address>,
    next: u64,
}

impl Callers {
    /// Nobody yet, under these bounds.
    pub fn new(limits: CallerLimits) -> Callers {
        Callers { limits, callers: BTreeMap::new(), addresses: BTreeMap::new(), next: 1 }
    }

    /// One has come.
    pub fn arrive(&mut self, now_ms: u64, address: IpAddr) -> Arrival {
        let group = Group::of(address);
        let open = |caller: &&Caller| !caller.kept && !caller.closing;
        let of_group = self.callers.values().filter(open).filter(|caller| caller.group == group).count();
        let all = self.callers.values().filter(open).count();
        assert!(all <= self.limits.connections, "{all} connections have places");
        let (mut kept, mut instead_of) = (false, None);
        if group != Group::Loopback && of_group >= self.limits.of_address {
            instead_of = self.longest_silent(now_ms, |caller| !caller.kept && caller.group == group);
            if instead_of.is_none() {
                return Arrival::Refused;
            }
        } else if all >= self.limits.connections {
            let crowd = self.largest_group(now_ms);
            instead_of = crowd.and_then(|crowd| self.longest_silent(now_ms, |c| !c.kept && c.group == crowd));
            kept = instead_of.is_none();
        }
        if kept && self.callers.values().filter(|caller| caller.kept && !caller.closing).count() >= KEPT_PLACES {
            instead_of = self.longest_silent(now_ms, |caller| caller.kept);
            if instead_of.is_none() {
                return Arrival::Refused;
            }
        }
        if let Some(other) = instead_of {
            self.close(other);
        }
        let taken = self.callers.values().filter(|caller| caller.kept == kept && !caller.closing).count();
        let places = if kept { KEPT_PLACES } else { self.limits.connections };
        assert!(taken < places, "{taken} connections have {places} places, and one more comes");
        let id = self.next;
        self.next += 1;
        let CallerLimits { submits_per_s, bytes_per_s, .. } = self.limits;
        let buckets = |worth: u64| {
            let of = |per_s: u64| Bucket::new(per_s.saturating_mul(worth), now_ms);
            (of(submits_per_s), of(bytes_per_s))
        };
        let (submits, bytes) = buckets(1);
        self.callers.insert(
            id,
            Caller {
                group,
                kept,
                stage: Stage::Fresh,
                since_ms: now_ms,
                held: 0,
                subscribed: false,
                closing: false,
                submits,
                bytes,
            },
        );
        if group != Group::Loopback {
            let (submits, bytes) = buckets(CONNECTIONS_WORTH);
            self.addresses.entry(group).or_insert(Address { submits, bytes });
        }
        Arrival::Placed { id, kept, instead_of }
    }

    /// Among those with somebody who waits, the group with the most connections.
    fn largest_group(&self, now_ms: u64) -> Option<Group> {
        let mut groups: BTreeMap<Group, (usize, bool)> = BTreeMap::new();
        for caller in self.callers.values().filter(|caller| !caller.kept && !caller.closing) {
            let (count, waits) = groups.entry(caller.group).or_default();
            *count += 1;
            *waits |= caller.waits(now_ms);
        }
        groups.into_iter().filter(|(_, (_, waits))| *waits).max_by_key(|(_, (count, _))| *count).map(|(group, _)| group)
    }

    fn longest_silent(&self, now_ms: u64, of: impl Fn(&Caller) -> bool) -> Option<u64> {
        let silent = self.callers.iter().filter(|(_, c)| !c.closing && of(c) && c.waits(now_ms));
        silent.min_by_key(|(id, caller)| (caller.since_ms, **id)).map(|(&id, _)| id)
    }

    fn close(&mut self, id: u64) {
        if let Some(caller) = self.callers.get_mut(&id) {
            caller.closing = true;
        }
    }

    /// A connection goes on to something else.
    pub fn enter(&mut self, now_ms: u64, id: u64, stage: Stage) {
        let Some(caller) = self.callers.get_mut(&id) else { return };
        let quiet = if caller.subscribed { Stage::Subscribed } else { Stage::Idle };
        (caller.stage, caller.since_ms) = (if stage == Stage::Idle { quiet } else { stage }, now_ms);
    }

    /// The first bytes of a further question have come: from now on it has the time of a question. The first one has none
    /// beside what it had without.
    pub fn begin(&mut self, now_ms: u64, id: u64) {
        if self.callers.get(&id).is_some_and(|caller| caller.stage == Stage::Idle) {
            self.enter(now_ms, id, Stage::Reading);
        }
    }

    /// A connection becomes a WebSocket, if it may, perhaps in the place of another. Half of all places are for such, of
    /// which an address has half at most; when all are taken whoever comes gets that of the oldest of the address with
    /// the most, as long as it has more than the newcomer's would.
    pub fn subscribe(&mut self, now_ms: u64, id: u64) -> Subscription {
        let Some(group) = self.callers.get(&id).map(|caller| caller.group) else { return Subscription::Refused };
        let places = self.limits.connections.div_ceil(2);
        let mut oldest: BTreeMap<Group, (usize, u64)> = BTreeMap::new();
        for (&other, caller) in self.callers.iter().filter(|(_, caller)| caller.subscribed && !caller.closing) {
            oldest.entry(caller.group).or_insert((0, other)).0 += 1;
        }
        let all: usize = oldest.values().map(|of| of.0).sum();
        assert!(all <= places, "{all} are subscribed of {places}");
        let of_own = oldest.get(&group).map_or(0, |of| of.0);
        let mut instead_of = None;
        if group != Group::Loopback && of_own >= places.div_ceil(2) {
            return Subscription::Refused;
        }
        if all >= places {
            let crowd = oldest.values().max_by_key(|of| of.0).filter(|of| of.0 > of_own + 1);
            let Some(&(_, other)) = crowd else { return Subscription::Refused };
            assert_ne!(other, id, "nobody makes room for itself");
            self.close(other);
            instead_of = Some(other);
        }
        self.callers.get_mut(&id).expect("found above").subscribed = true;
        self.enter(now_ms, id, Stage::Idle);
        Subscription::Taken(instead_of)
    }

    /// One has gone.
    pub fn leave(&mut self, id: u64) {
        self.callers.remove(&id);
    }

    /// Holds more bytes for one.
    pub fn hold(&mut self, now_ms: u64, id: u64, bytes: u64) -> Room {
        let Some(caller) = self.callers.get(&id).filter(|caller| !caller.closing) else { return Room::Full };
        let group = caller.group;
        let more = (caller.held + bytes).saturating_sub(OF_EACH) - caller.counted();
        let counted = |of: &dyn Fn(&Caller) -> bool| -> u64 {
            self.callers.values().filter(|c| of(c)).map(Caller::counted).sum()
        };
        let (all, of_group) = (counted(&|_| true), counted(&|caller| caller.group == group));
        let total = self.limits.held_bytes;
        assert!(all <= total, "{all} bytes are held of {total}");
        let share = if group == Group::Loopback { total } else { total / 2 };
        if more == 0 || (all + more <= total && of_group + more <= share) {
            self.callers.get_mut(&id).expect("found above").held += bytes;
            assert!(more <= bytes, "{more} bytes of {bytes} are counted");
            return Room::Taken;
        }
        if more > share {
            return Room::Full;
        }
        // Those that wait make room, who has waited longest before the others; of the same address
        // if it is its share that is full.
        let of_same = of_group + more > share;
        let mut slow: Vec<(u64, u64, u64)> = self
            .callers
            .iter()
            .filter(|(other, c)| **other != id && c.counted() > 0 && (!of_same || c.group == group))
            .filter(|(_, c)| c.closing || c.waits(now_ms))
            .map(|(&other, c)| (if c.closing { 0 } else { c.since_ms }, other, c.counted()))
            .collect();
        slow.sort_unstable();
        let mut missing = if of_same { of_group + more - share } else { all + more - total };
        let mut closed = Vec::new();
        for (_, other, of_other) in slow {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(of_other);
            closed.push(other);
        }
        if missing > 0 {
            return Room::Full;
        }
        assert!(!closed.contains(&id), "nobody makes room for itself");
        closed.iter().for_each(|&other| self.close(other));
        Room::Close(closed)
    }

    /// Bytes of one are not held any more.
    pub fn give_back(&mut self, id: u64, bytes: u64) {
        // Whoever has gone holds nothing.
        let Some(caller) = self.callers.get_mut(&id) else { return };
        assert!(bytes <= caller.held, "{bytes} bytes are given back of {}", caller.held);
        caller.held -= bytes;
    }

    /// Bytes that are held beyond what each has.
    #[cfg(test)]
    fn held(&self) -> u64 {
        self.callers.values().map(Caller::counted).sum()
    }

    /// Whether one may hand in a transaction now; it is counted. What is refused to an address counts for nobody.
    pub fn may_submit(&mut self, now_ms: u64, id: u64) -> bool {
        let Some(caller) = self.callers.get_mut(&id) else { return false };
        let mut address = self.addresses.get_mut(&caller.group);
        let may =
            caller.submits.has(now_ms, 1) && address.as_mut().is_none_or(|address| address.submits.has(now_ms, 1));
        if may {
            caller.submits.take(now_ms, 1);
            if let Some(address) = address {
                address.submits.take(now_ms, 1);
            }
        }
        may
    }

    /// A transaction of one had a broken signature, which was verified: it costs as many as could have been good.
    pub fn charge_broken(&mut self, now_ms: u64, id: u64) {
        let Some(caller) = self.callers.get_mut(&id) else { return };
        caller.submits.take(now_ms, BROKEN_COST);
        if let Some(address) = self.addresses.get_mut(&caller.group) {
            address.submits.take(now_ms, BROKEN_COST);
        }
    }

    /// Counts bytes that were read or sent for one.
    pub fn charge(&mut self, now_ms: u64, id: u64, bytes: u64) {
        let Some(caller) = self.callers.get_mut(&id) else { return };
        caller.bytes.take(now_ms, bytes);
        if let Some(address) = self.addresses.get_mut(&caller.group) {
            address.bytes.take(now_ms, bytes);
        }
    }

    /// Milliseconds that one has to wait before its next question.
    pub fn owed_ms(&mut self, now_ms: u64, id: u64) -> u64 {
        let Some(caller) = self.callers.get_mut(&id) else { return 0 };
        let of_address = self.addresses.get_mut(&caller.group).map_or(0, |address| address.bytes.owed_ms(now_ms));
        caller.bytes.owed_ms(now_ms).max(of_address)
    }

    /// Those whose time is over: they are to be closed.
    pub fn overdue(&mut self, now_ms: u64) -> Vec<u64> {
        let over = self.callers.iter().filter(|(_, c)| !c.closing && c.is_overdue(now_ms));
        let over: Vec<u64> = over.map(|(&id, _)| id).collect();
        over.iter().for_each(|&id| self.close(id));
        let here: Vec<Group> = self.callers.values().map(|caller| caller.group).collect();
        let crowded = self.addresses.len() > GONE_MAX;
        self.addresses.retain(|group, address| {
            let is_full = address.submits.is_full(now_ms) && address.bytes.is_full(now_ms);
            here.contains(group) || !(crowded || is_full)
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CallerLimits =
        CallerLimits { connections: 10, of_address: 4, held_bytes: 1_000_000, submits_per_s: 10, bytes_per_s: 1_000 };

    fn callers() -> Callers {
        Callers::new(LIMITS)
    }

    fn comes(callers: &mut Callers, now_ms: u64, address: &str) -> u64 {
        match callers.arrive(now_ms, address.parse().unwrap()) {
            Arrival::Placed { id, .. } => id,
            Arrival::Refused => panic!("{address} is refused"),
        }
    }

    #[test]
    fn one_customer_of_ipv6_is_one_and_a_mapped_address_is_that_of_ipv4() {
        let group = |text: &str| Group::of(text.parse().unwrap());
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_eq!(group("::ffff:127.0.0.1"), Group::Loopback);
        assert_eq!((group("::1"), group("127.9.9.9")), (Group::Loopback, Group::Loopback));
    }

    #[test]
    fn who_is_silent_longest_makes_room_for_who_comes() {
        let mut callers = callers();
        let first: Vec<u64> = (0..10).map(|at| comes(&mut callers, at, "127.0.0.1")).collect();
        callers.enter(50, first[0], Stage::Working);
        let arrival = callers.arrive(100, "127.0.0.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 11, kept: false, instead_of: Some(first[1]) });
        // Its place is taken at once, and it is not closed twice.
        let arrival = callers.arrive(101, "127.0.0.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 12, kept: false, instead_of: Some(first[2]) });
        callers.leave(first[1]);
        callers.leave(first[2]);
    }

    #[test]
    fn who_stands_in_a_row_for_longest_makes_room_for_who_comes_and_who_is_served_does_not() {
        let mut callers = callers();
        let alone = comes(&mut callers, 0, "192.0.2.9");
        callers.enter(0, alone, Stage::Queued);
        let crowd: Vec<u64> = (1..10).map(|at| comes(&mut callers, at, "127.0.0.1")).collect();
        crowd.iter().for_each(|&id| callers.enter(id, id, Stage::Queued));
        // Who stands there since just now has its place, and so has who is served.
        let arrival = callers.arrive(20, "192.0.2.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 11, kept: true, instead_of: None });
        callers.enter(30, crowd[0], Stage::Working);
        let arrival = callers.arrive(2 * GRACE_MS, "192.0.2.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 12, kept: false, instead_of: Some(crowd[1]) });
        callers.enter(2 * GRACE_MS, 12, Stage::Queued);
        // Whoever was served and stands in the row again begins anew there.
        callers.enter(2 * GRACE_MS, crowd[2], Stage::Working);
        callers.enter(2 * GRACE_MS, crowd[2], Stage::Queued);
        let arrival = callers.arrive(2 * GRACE_MS, "192.0.2.2".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 13, kept: false, instead_of: Some(crowd[3]) });
        assert!(!callers.overdue(u64::MAX).contains(&alone), "our own slowness is nobody's fault");
    }

    #[test]
    fn when_all_are_at_work_a_few_places_are_kept_for_health() {
        let mut callers = callers();
        for at in 0..10 {
            let id = comes(&mut callers, at, "127.0.0.1");
            callers.enter(at, id, Stage::Working);
        }
        for id in 11..11 + KEPT_PLACES as u64 {
            let arrival = callers.arrive(20, "127.0.0.1".parse().unwrap());
            assert_eq!(arrival, Arrival::Placed { id, kept: true, instead_of: None });
        }
        // Of these the oldest goes as well; at work it does not.
        callers.enter(30, 11, Stage::Working);
        let arrival = callers.arrive(40, "127.0.0.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 19, kept: true, instead_of: Some(12) });
        assert_eq!(callers.overdue(20 + KEPT_MS), (13..19).collect::<Vec<u64>>());
    }

    #[test]
    fn an_address_has_its_share_and_the_crowd_makes_room_before_others() {
        let mut callers = callers();
        let alone = comes(&mut callers, 0, "192.0.2.9");
        let many: Vec<u64> = (1..5).map(|at| comes(&mut callers, at, "2001:db8::1")).collect();
        // A fifth of one /64 takes the place of its own.
        let arrival = callers.arrive(10, "2001:db8::2".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 6, kept: false, instead_of: Some(many[0]) });
        // All of them at work: no more of that address, others still.
        (many[1..].iter().chain(&[6])).for_each(|&id| callers.enter(11, id, Stage::Working));
        assert_eq!(callers.arrive(12, "2001:db8::3".parse().unwrap()), Arrival::Refused);
        let local: Vec<u64> = (20..25).map(|at| comes(&mut callers, at, "127.0.0.1")).collect();
        // Full: the largest group with somebody silent makes room, though another has waited longer.
        let arrival = callers.arrive(30, "198.51.100.1".parse().unwrap());
        assert_eq!(arrival, Arrival::Placed { id: 12, kept: false, instead_of: Some(local[0]) });
        assert!(callers.callers.contains_key(&alone));
    }

    #[test]
    fn each_stage_has_its_patience() {
        let mut callers = callers();
        let id = comes(&mut callers, 0, "127.0.0.1");
        assert!(callers.overdue(FRESH_MS - 1).is_empty());
        callers.enter(FRESH_MS - 1, id, Stage::Reading);
        assert!(callers.overdue(FRESH_MS - 2 + READING_MS).is_empty());
        callers.enter(20_000, id, Stage::Working);
        assert!(callers.overdue(u64::MAX).is_empty(), "our own slowness is not its fault");
        callers.enter(20_000, id, Stage::Answering(READER_BYTES_PER_S));
        assert!(callers.overdue(20_999 + ANSWERING_MS).is_empty());
        callers.enter(40_000, id, Stage::Idle);
        assert!(callers.overdue(40_000 + IDLE_MS - 1).is_empty());
        assert_eq!(callers.overdue(40_000 + IDLE_MS), [id]);
        assert!(callers.overdue(40_000 + IDLE_MS).is_empty(), "once");
        // A head that has begun to come has the time of a question; a first one that of whoever has asked nothing.
        let [first, further] = [0, 0].map(|at| comes(&mut callers, at, "127.0.0.1"));
        callers.enter(1, further, Stage::Idle);
        [first, further].iter().for_each(|&id| callers.begin(2, id));
        assert_eq!(callers.overdue(FRESH_MS), [first]);
        assert_eq!(callers.overdue(2 + READING_MS), [further]);
    }

    #[test]
    fn half_of_the_places_are_not_for_subscriptions() {
        let mut callers = callers();
        let ids: Vec<u64> = (0..10).map(|at| comes(&mut callers, at, "127.0.0.1")).collect();
        let subscribed = ids.iter().filter(|&&id| callers.subscribe(10, id) == Subscription::Taken(None)).count();
        assert_eq!(subscribed, 5);
        // One that was at work for a while is a WebSocket again, and has a time of its own.
        callers.enter(20, ids[0], Stage::Working);
        assert_eq!(callers.subscribe(21, ids[9]), Subscription::Refused, "it counts meanwhile");
        callers.enter(30, ids[0], Stage::Idle);
        assert!(!callers.overdue(u64::MAX).contains(&ids[0]));
    }

    #[test]
    fn no_few_addresses_keep_all_subscriptions() {
        let mut callers = Callers::new(CallerLimits { connections: 500, of_address: 64, ..LIMITS });
        let subscribe = |callers: &mut Callers, address: &str, count: usize| -> Vec<Subscription> {
            (0..count)
                .map(|_| {
                    let id = comes(callers, 0, address);
                    callers.subscribe(0, id)
                })
                .collect()
        };
        // All of this computer: they are one address, which has no share.
        assert!(subscribe(&mut callers, "127.0.0.1", 250).iter().all(|one| *one == Subscription::Taken(None)));
        assert_eq!(subscribe(&mut callers, "127.0.0.1", 1), [Subscription::Refused]);
        assert_eq!(subscribe(&mut callers, "192.0.2.1", 1), [Subscription::Taken(Some(1))], "its oldest goes");
        // Four addresses that have all, and a fifth that comes to as many as each of them has then.
        let mut callers = Callers::new(CallerLimits { connections: 500, of_address: 64, ..LIMITS });
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            subscribe(&mut callers, address, 63);
        }
        let taken = subscribe(&mut callers, "192.0.2.5", 60);
        let taken = taken.iter().filter(|one| matches!(one, Subscription::Taken(Some(_)))).count();
        assert!((45..=50).contains(&taken), "{taken}: as many as each of the others");
        // Of few places none has more than half.
        let mut callers = Callers::new(CallerLimits { connections: 20, of_address: 20, ..LIMITS });
        assert_eq!(subscribe(&mut callers, "192.0.2.1", 6)[4..], [Subscription::Taken(None), Subscription::Refused]);
    }

    #[test]
    fn bytes_are_held_within_the_budget_and_the_slowest_reader_makes_room() {
        let mut callers = callers();
        let ids: Vec<u64> = (0..4).map(|at| comes(&mut callers, at, "127.0.0.1")).collect();
        let answer = 400_000;
        for (at, &id) in (100..).zip(&ids[..2]) {
            assert_eq!(callers.hold(at, id, answer), Room::Taken);
            callers.enter(at, id, Stage::Answering(answer));
        }
        assert_eq!(callers.hold(200, ids[2], answer), Room::Full, "both have only begun");
        assert_eq!(callers.hold(200, ids[2], OF_EACH), Room::Taken, "a small one has its own");
        assert_eq!(callers.hold(1_200, ids[2], answer), Room::Close(vec![ids[0]]));
        // Until it has gone its bytes are there.
        assert_eq!(callers.hold(1_201, ids[3], answer), Room::Close(vec![ids[0]]));
        callers.leave(ids[0]);
        assert_eq!(callers.hold(1_202, ids[2], answer), Room::Taken);
        assert!(callers.held() <= LIMITS.held_bytes);
        assert_eq!(callers.hold(9_000, ids[3], LIMITS.held_bytes + OF_EACH + 1), Room::Full, "nobody is closed for it");
        callers.give_back(ids[2], answer);
        assert_eq!(callers.held(), answer - OF_EACH);
    }

    #[test]
    fn an_address_holds_half_of_the_budget_at_most() {
        let mut callers = callers();
        let [first, second, other] = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|at| comes(&mut callers, 0, at));
        assert_eq!(callers.hold(0, first, 400_000), Room::Taken);
        callers.enter(0, first, Stage::Answering(400_000));
        assert_eq!(callers.hold(1, second, 400_000), Room::Full);
        assert_eq!(callers.hold(1, other, 400_000), Room::Taken);
        callers.enter(1, other, Stage::Answering(400_000));
        // Its own slow reader makes room for it, not that of another address.
        assert_eq!(callers.hold(5_000, second, 400_000), Room::Close(vec![first]));
    }

    #[test]
    fn garbage_is_charged_to_its_connection_and_outside_of_loopback_to_its_address() {
        let mut callers = callers();
        let (flood, honest) = (comes(&mut callers, 0, "127.0.0.1"), comes(&mut callers, 0, "127.0.0.1"));
        let taken = (0..1_000).filter(|_| callers.may_submit(0, flood)).count();
        assert_eq!((taken, callers.may_submit(0, honest)), (10, true));
        // Connections of one address have four times what one has.
        let taken = |callers: &mut Callers, address: &str| -> usize {
            (0..4)
                .map(|_| {
                    let id = comes(callers, 0, address);
                    let taken = (0..100).filter(|_| callers.may_submit(0, id)).count();
                    callers.leave(id);
                    taken
                })
                .sum()
        };
        assert_eq!(taken(&mut callers, "192.0.2.1"), 40);
        assert_eq!(taken(&mut callers, "192.0.2.1"), 0, "coming again gives nothing");
        assert_eq!(taken(&mut callers, "192.0.2.2"), 40);
        callers.overdue(1);
        assert_eq!(taken(&mut callers, "192.0.2.2"), 0, "remembered though it has gone");
        callers.overdue(5_000);
        assert_eq!(callers.addresses.len(), 0, "and forgotten when it would have all again");
    }

    #[test]
    fn a_broken_signature_costs_its_caller_ten() {
        let mut callers = callers();
        let [broken, other] = ["192.0.2.1", "192.0.2.1"].map(|at| comes(&mut callers, 0, at));
        assert!(callers.may_submit(0, broken));
        callers.charge_broken(0, broken);
        assert!(!callers.may_submit(99, broken) && callers.may_submit(100, broken), "ten a second");
        // Four times as much is its address's.
        assert_eq!((0..100).filter(|_| callers.may_submit(100, other)).count(), 10);
        callers.leave(broken);
        callers.charge_broken(100, broken);
    }

    #[test]
    fn who_has_had_much_waits() {
        let mut callers = callers();
        let [first, second] = ["192.0.2.1", "192.0.2.1"].map(|at| comes(&mut callers, 0, at));
        callers.charge(0, first, 3_000);
        assert_eq!((callers.owed_ms(0, first), callers.owed_ms(0, second)), (2_000, 0));
        callers.charge(0, second, 9_000);
        assert_eq!((callers.owed_ms(0, first), callers.owed_ms(0, second)), (2_000, 8_000));
    }
}
