//! Who has a place in the mesh and whom it calls, without sockets and without a clock: `now` in, decisions out.
//!
//! ```text
//!   arrive ────────► begin ──► shaken ──► welcome ──► leave       a call of someone else
//!   calls_due ─────► begin ──► shaken ──► welcome ──► leave       a call of ours, and after it the next one is due
//! ```
//!
//! Whoever drives it owns a socket for each entry, carries out what is decided, and says when a socket is gone.

use super::bans::Bans;
use super::channel::TransportKey;
use super::handle::Target;
use super::options::MeshLimits;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Peers that have gone and are remembered.
const GONE_MAX: usize = 256;
/// The first wait before calling again; it doubles up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// What becomes of a call that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is not taken: its address is banned, or has too many connections.
    Refused,
    /// It is taken, and room is made by ending the oldest unfinished handshake, which has no entry any more.
    Instead(u64),
    /// It is taken.
    Taken,
}

/// What becomes of a peer whose hello was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    /// It gets no place, and why.
    Refused(&'static str),
    /// It has its place.
    Placed,
    /// It has the place of an earlier connection under the same name, which must end.
    InsteadOf(u64),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Until its hello is admitted.
    Shaking,
    /// Under its name, or as a guest.
    Placed(Option<u32>),
}

struct Entry {
    ip: IpAddr,
    /// Whom we have called; none if the other side has.
    target: Option<TransportKey>,
    /// The other side's key, once the handshake is done.
    key: Option<TransportKey>,
    standing: Standing,
}

/// Someone to keep a connection to.
struct Calling {
    address: SocketAddr,
    failures: u32,
    next: Instant,
    under_way: bool,
}

/// The roster. Its tables agree:
/// 1. `by_name` has every placed entry that has a name, under this name, and nothing else;
/// 2. `guests` counts the placed entries without one.
pub(super) struct Roster {
    own_key: TransportKey,
    limits: MeshLimits,
    next_id: u64,
    entries: HashMap<u64, Entry>,
    by_name: HashMap<u32, u64>,
    guests: usize,
    targets: HashMap<TransportKey, Calling>,
    bans: Bans,
    /// Who has gone lately: what they said may still be judged.
    gone: VecDeque<(u64, IpAddr, TransportKey)>,
    /// Spreads calls over time; no secret.
    chance: u64,
}

impl Roster {
    pub(super) fn new(own_key: TransportKey, limits: MeshLimits, seed: u64) -> Roster {
        Roster {
            own_key,
            limits,
            next_id: 0,
            entries: HashMap::new(),
            by_name: HashMap::new(),
            guests: 0,
            targets: HashMap::new(),
            bans: Bans::default(),
            gone: VecDeque::new(),
            chance: seed,
        }
    }

    /// Someone calls from this address: [`Self::begin`] follows unless it is refused.
    pub(super) fn arrive(&mut self, address: &SocketAddr, now: Instant) -> Arrival {
        let ip = address.ip().to_canonical();
        let of_address = self.entries.values().filter(|entry| entry.ip == ip).count();
        if self.bans.address_banned(&ip, now) || (!ip.is_loopback() && of_address >= self.limits.address_max) {
            return Arrival::Refused;
        }
        let shaking = self.entries.iter().filter(|(_, entry)| entry.standing == Standing::Shaking);
        let arrived = shaking.filter(|(_, entry)| entry.target.is_none()).map(|(id, _)| *id);
        let (count, oldest) = arrived.fold((0, u64::MAX), |(count, oldest), id| (count + 1, oldest.min(id)));
        if count >= self.limits.shaking_max && self.entries.remove(&oldest).is_some() {
            return Arrival::Instead(oldest);
        }
        Arrival::Taken
    }

    /// A connection begins: called by us if `target` is whom we called. Returns its number, which is never used twice.
    pub(super) fn begin(&mut self, address: &SocketAddr, target: Option<TransportKey>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry { ip: address.ip().to_canonical(), target, key: None, standing: Standing::Shaking };
        let before = self.entries.insert(id, entry);
        assert!(before.is_none(), "connection {id} of the mesh has begun twice");
        id
    }

    /// A connection that has just begun could not be watched.
    pub(super) fn cannot_begin(&mut self, id: u64, now: Instant) {
        let target = self.entries.remove(&id).and_then(|entry| entry.target);
        if let Some(calling) = target.and_then(|target| self.targets.get_mut(&target)) {
            (calling.under_way, calling.next) = (false, now + BACK_OFF.1);
        }
    }

    /// A call of [`Self::calls_due`] could not even be begun.
    pub(super) fn cannot_call(&mut self, key: &TransportKey, now: Instant) {
        if let Some(calling) = self.targets.get_mut(key) {
            calling.under_way = false;
            calling.failures += 1;
            calling.next = now + BACK_OFF.1;
        }
    }

    /// A handshake is done: the other side has this key.
    pub(super) fn shaken(&mut self, id: u64, key: TransportKey) {
        let Some(entry) = self.entries.get_mut(&id) else { panic!("connection {id} is shaken and has not begun") };
        entry.key = Some(key);
    }

    /// A peer whose hello was admitted gets its place, unless it has a better connection already.
    pub(super) fn welcome(&mut self, id: u64, name: Option<u32>, now: Instant) -> Welcome {
        let entry = &self.entries[&id];
        assert_eq!(entry.standing, Standing::Shaking, "connection {id} is to get a place and has one");
        let key = entry.key.expect("a hello is read from an open channel only");
        let outgoing = entry.target.is_some();
        let full = match name {
            Some(_) => self.by_name.len() >= self.limits.members_max,
            None => self.guests >= self.limits.guests_max,
        };
        if full {
            return Welcome::Refused("no place is free");
        }
        if key == self.own_key || self.bans.key_banned(&key, now) {
            return Welcome::Refused("not wanted");
        }
        let earlier = name.and_then(|name| self.by_name.get(&name).copied());
        if let Some(there) = earlier.and_then(|earlier| self.entries.get(&earlier))
            && there.key == Some(key)
            && there.target.is_some() != outgoing
        {
            // Both have called each other: both keep the call of the one with the lower key.
            let keep_new = outgoing == (self.own_key < key);
            if !keep_new {
                return Welcome::Refused("called each other");
            }
        }
        match name {
            Some(name) => drop(self.by_name.insert(name, id)),
            None => self.guests += 1,
        }
        if let Some(calling) = self.targets.get_mut(&key) {
            (calling.failures, calling.under_way) = (0, false);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.standing = Standing::Placed(name);
        }
        let members = self.by_name.len();
        assert!(
            members <= self.limits.members_max && self.guests <= self.limits.guests_max,
            "more places than there are"
        );
        earlier.map_or(Welcome::Placed, Welcome::InsteadOf)
    }

    /// A connection has ended.
    pub(super) fn leave(&mut self, id: u64, now: Instant) {
        let Some(entry) = self.entries.remove(&id) else { panic!("connection {id} of the mesh has ended twice") };
        if let Some(calling) = entry.target.and_then(|target| self.targets.get_mut(&target)) {
            calling.under_way = false;
            if entry.standing == Standing::Shaking {
                calling.failures += 1;
            }
            let wait = BACK_OFF.0.saturating_mul(1 << calling.failures.min(10)).min(BACK_OFF.1);
            // A little of it by chance, so that not all call at once.
            calling.next = now + wait / 2 + wait.mul_f64((self.chance % 64) as f64 / 128.0);
            self.chance = self.chance.rotate_left(7) ^ id;
        }
        let Standing::Placed(name) = entry.standing else { return };
        if self.gone.len() >= GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back((id, entry.ip, entry.key.unwrap_or_default()));
        match name {
            // It may have gone to a later connection.
            Some(name) if self.by_name.get(&name) == Some(&id) => drop(self.by_name.remove(&name)),
            Some(_) => {}
            None => self.guests -= 1,
        }
    }

    /// Whom to keep connections to from now on. Others stay while they last.
    pub(super) fn set_targets(&mut self, targets: Vec<Target>, now: Instant) {
        let own = self.own_key;
        let mut kept = std::mem::take(&mut self.targets);
        for Target { key, address } in targets.into_iter().filter(|target| target.key != own) {
            // Of two addresses for one key the first counts.
            if self.targets.contains_key(&key) {
                continue;
            }
            let calling = kept.remove(&key).filter(|calling| calling.address == address);
            self.targets.insert(key, calling.unwrap_or(Calling { address, failures: 0, next: now, under_way: false }));
        }
    }

    /// The calls to make now; each counts as under way until its connection leaves or cannot begin.
    pub(super) fn calls_due(&mut self, now: Instant) -> Vec<Target> {
        let open: Vec<TransportKey> = self.entries.values().filter_map(|entry| entry.key).collect();
        let mut due = Vec::new();
        for (key, calling) in &mut self.targets {
            if !calling.under_way && calling.next <= now && !open.contains(key) && !self.bans.key_banned(key, now) {
                calling.under_way = true;
                due.push(Target { key: *key, address: calling.address });
            }
        }
        due
    }

    /// Connections that end when our hello says something new: guests of ours are told nothing.
    pub(super) fn told(&self) -> Vec<u64> {
        let told = |entry: &Entry| entry.target.is_some() || matches!(entry.standing, Standing::Placed(Some(_)));
        self.entries.iter().filter(|(_, entry)| told(entry)).map(|(id, _)| *id).collect()
    }

    /// Every call is due at once.
    pub(super) fn call_all(&mut self, now: Instant) {
        self.targets.values_mut().for_each(|calling| (calling.failures, calling.next) = (0, now));
    }

    /// Books points against a peer, also one that has gone: whoever talks garbage and hangs up has talked garbage. True
    /// if its key is banned now.
    pub(super) fn penalise(&mut self, id: u64, points: u32, now: Instant) -> bool {
        let here = self.entries.get(&id).map(|entry| (entry.ip, entry.key.unwrap_or_default()));
        let gone = || self.gone.iter().find(|gone| gone.0 == id).map(|gone| (gone.1, gone.2));
        let Some((ip, key)) = here.or_else(gone) else { return false };
        self.bans.penalise(&ip, &key, points, now)
    }

    /// Forgets points and bans that are over.
    pub(super) fn forget(&mut self, now: Instant) {
        self.bans.forget(now);
    }

    /// The connection of a name.
    pub(super) fn named(&self, name: u32) -> Option<u64> {
        self.by_name.get(&name).copied()
    }

    /// Everyone who has a place, in the order in which they came.
    pub(super) fn placed(&self) -> Vec<u64> {
        let placed = self.entries.iter().filter(|(_, entry)| entry.standing != Standing::Shaking);
        let mut ids: Vec<u64> = placed.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Connections in all.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Members and guests that have a place.
    pub(super) fn counts(&self) -> (usize, usize) {
        let (mut members, mut guests) = (0, 0);
        for entry in self.entries.values() {
            match entry.standing {
                Standing::Placed(Some(_)) => members += 1,
                Standing::Placed(None) => guests += 1,
                Standing::Shaking => {}
            }
        }
        assert_eq!(members, self.by_name.len(), "a member of the mesh has no connection under its name, or two");
        assert_eq!(guests, self.guests, "the mesh has miscounted its guests");
        (members, guests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: TransportKey = [1; 32];
    const HIGH: TransportKey = [2; 32];

    fn roster(own_key: TransportKey, limits: MeshLimits) -> Roster {
        Roster::new(own_key, limits, 5)
    }

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 4_000))
    }

    /// A connection up to its welcome, called by us if `target` says so.
    fn meet(roster: &mut Roster, key: TransportKey, called: bool, name: Option<u32>, now: Instant) -> (u64, Welcome) {
        if !called {
            assert_eq!(roster.arrive(&address(key[0]), now), Arrival::Taken);
        }
        let id = roster.begin(&address(key[0]), called.then_some(key));
        roster.shaken(id, key);
        (id, roster.welcome(id, name, now))
    }

    #[test]
    fn of_two_calls_to_each_other_both_sides_keep_the_same() {
        let now = Instant::now();
        // The call of the lower key is kept, whichever is welcomed first at either side.
        for first_is_lows in [true, false] {
            for (own, other) in [(LOW, HIGH), (HIGH, LOW)] {
                let mut roster = roster(own, MeshLimits::default());
                let called_by_us = |is_lows: bool| is_lows == (own == LOW);
                let (first, welcome) = meet(&mut roster, other, called_by_us(first_is_lows), Some(7), now);
                assert_eq!(welcome, Welcome::Placed);
                let (second, welcome) = meet(&mut roster, other, called_by_us(!first_is_lows), Some(7), now);
                if first_is_lows {
                    assert_eq!(welcome, Welcome::Refused("called each other"));
                    roster.leave(second, now);
                    assert_eq!(roster.named(7), Some(first));
                } else {
                    assert_eq!(welcome, Welcome::InsteadOf(first));
                    roster.leave(first, now);
                    assert_eq!(roster.named(7), Some(second));
                }
                assert_eq!((roster.counts(), roster.len()), ((1, 0), 1));
            }
        }
    }

    #[test]
    fn a_second_call_of_the_same_side_takes_the_place_of_the_first() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (first, _) = meet(&mut roster, HIGH, false, Some(7), now);
        let (second, welcome) = meet(&mut roster, HIGH, false, Some(7), now);
        assert_eq!(welcome, Welcome::InsteadOf(first));
        roster.leave(first, now);
        assert_eq!((roster.named(7), roster.placed(), roster.counts()), (Some(second), vec![second], (1, 0)));
    }

    #[test]
    fn calls_that_fail_wait_twice_as_long_up_to_a_quarter_of_a_minute() {
        let (start, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let target = Target { key: HIGH, address: address(2) };
        roster.set_targets(vec![target, Target { key: LOW, address: address(1) }], start);
        let mut now = start;
        let mut wait = BACK_OFF.0;
        for _ in 0..12 {
            assert_eq!(roster.calls_due(now), [target], "our own key is never called");
            assert!(roster.calls_due(now).is_empty(), "one call at a time");
            let id = roster.begin(&target.address, Some(HIGH));
            roster.leave(id, now);
            wait = (2 * wait).min(BACK_OFF.1);
            assert!(roster.calls_due(now + wait / 2 - Duration::from_millis(1)).is_empty());
            now += wait;
        }
        assert_eq!(wait, BACK_OFF.1);
        // One that succeeds is called again soon after it has ended.
        assert_eq!(roster.calls_due(now), [target]);
        let (id, welcome) = meet(&mut roster, HIGH, true, Some(7), now);
        assert_eq!(welcome, Welcome::Placed);
        assert!(roster.calls_due(now + BACK_OFF.1).is_empty(), "it is connected");
        roster.leave(id, now);
        assert_eq!(roster.calls_due(now + BACK_OFF.0), [target]);
    }

    #[test]
    fn whoever_is_banned_is_neither_taken_nor_called_until_the_ban_ends() {
        let (now, mut roster) = (Instant::now(), roster(LOW, MeshLimits::default()));
        let (id, _) = meet(&mut roster, HIGH, false, None, now);
        // It hangs up before it is judged.
        roster.leave(id, now);
        assert!(!roster.penalise(id, 60, now) && roster.penalise(id, 60, now));
        assert!(!roster.penalise(77, 1_000, now), "nobody has this number");
        assert_eq!(roster.arrive(&address(HIGH[0]), now), Arrival::Refused);
        let target = Target { key: HIGH, address: address(9) };
        roster.set_targets(vec![target], now);
        assert!(roster.calls_due(now).is_empty());
        // From another address its key gives it away.
        let other = roster.begin(&address(9), None);
        roster.shaken(other, HIGH);
        assert_eq!(roster.welcome(other, None, now), Welcome::Refused("not wanted"));
        roster.leave(other, now);
        let later = now + Duration::from_secs(601);
        assert_eq!((roster.arrive(&address(HIGH[0]), later), roster.calls_due(later)), (Arrival::Taken, vec![target]));
    }

    #[test]
    fn places_are_bounded_in_handshake_by_address_and_by_kind() {
        let limits =
            MeshLimits { shaking_max: 2, members_max: 1, guests_max: 1, address_max: 3, ..MeshLimits::default() };
        let (now, mut roster) = (Instant::now(), roster(LOW, limits));
        let silent: Vec<u64> = (1..=2).map(|host| roster.begin(&address(host), None)).collect();
        assert_eq!(roster.arrive(&address(3), now), Arrival::Instead(silent[0]));
        for (key, name, welcome) in [
            ([10; 32], Some(1), Welcome::Placed),
            ([11; 32], Some(2), Welcome::Refused("no place is free")),
            ([12; 32], None, Welcome::Placed),
            ([13; 32], None, Welcome::Refused("no place is free")),
            (LOW, Some(1), Welcome::Refused("no place is free")),
        ] {
            let id = roster.begin(&address(50), None);
            roster.shaken(id, key);
            assert_eq!(roster.welcome(id, name, now), welcome);
            if welcome != Welcome::Placed {
                roster.leave(id, now);
            }
        }
        roster.begin(&address(50), None);
        assert_eq!(roster.arrive(&address(50), now), Arrival::Refused);
        assert_eq!(roster.counts(), (1, 1));
    }
}
