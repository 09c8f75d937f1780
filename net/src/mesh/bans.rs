//! Who has talked garbage: points by key, by name and by address, which fade, bans of keys and names, and suspicion of
//! addresses, which end.
//!
//! A key is banned: whoever has it has proved so, and nobody else can speak under it. So is a name that was proved: a key
//! costs nothing, and whoever is thrown out would be back with another one at once. An address is only suspected, for
//! honest peers may stand behind the same one (a carrier's NAT has thousands, loopback all of a computer): whoever calls
//! from there is shaken hands with at a tenth of the rate and makes room before others, and is not turned away. What a
//! liar with ever new keys wins by that is bounded by the rate of handshakes of its network, a tenth of it from then on.

use super::channel::TransportKey;
use super::nets::holder;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Points that lead to a ban. One fades in a second.
pub const BAN_POINTS: u32 = 100;
/// How long a ban lasts.
pub const BAN_TIME: Duration = Duration::from_secs(600);
const POINTS_MAX: f64 = BAN_POINTS as f64;
/// Points that fade in a second.
const FADE: f64 = 1.0;
/// Entries of each table; beyond, the one goes that would end first.
const ENTRIES_MAX: usize = 4_096;

struct Entry {
    points: f64,
    at: Instant,
    banned_until: Option<Instant>,
}

/// Points and bans.
#[derive(Default)]
pub struct Bans {
    addresses: HashMap<IpAddr, Entry>,
    keys: HashMap<TransportKey, Entry>,
    names: HashMap<u32, Entry>,
}

impl Entry {
    /// When nothing of it is left.
    fn ends(&self) -> Instant {
        let faded = self.at + Duration::from_secs_f64(self.points / FADE);
        self.banned_until.map_or(faded, |until| until.max(faded))
    }
}

fn add<K: std::hash::Hash + Eq + Copy>(table: &mut HashMap<K, Entry>, of: K, points: u32, now: Instant) -> bool {
    if table.len() >= ENTRIES_MAX && !table.contains_key(&of) {
        // What would end first: a ban is not washed away by a few points for each of many new keys.
        let first = table.iter().min_by_key(|entry| entry.1.ends()).map(|entry| *entry.0);
        first.map(|first| table.remove(&first));
    }
    let entry = table.entry(of).or_insert(Entry { points: 0.0, at: now, banned_until: None });
    entry.points = (entry.points - FADE * (now - entry.at).as_secs_f64()).max(0.0) + f64::from(points);
    entry.at = now;
    if entry.points >= POINTS_MAX {
        entry.banned_until = Some(now + BAN_TIME);
    }
    entry.banned_until.is_some_and(|until| until > now)
}

impl Bans {
    /// Books points; true if the key, or the name that it has proved, is banned now. Loopback is not suspected:
    /// everything on this machine would be.
    pub fn penalise(
        &mut self,
        address: &IpAddr,
        (key, name): (&TransportKey, Option<u32>),
        points: u32,
        now: Instant,
    ) -> bool {
        if !holder(*address).is_loopback() {
            add(&mut self.addresses, holder(*address), points, now);
        }
        let name_banned = name.is_some_and(|name| add(&mut self.names, name, points, now));
        add(&mut self.keys, *key, points, now) || name_banned
    }

    /// Whether garbage has come from the address, or its /64, of late.
    pub fn suspects(&self, address: &IpAddr, now: Instant) -> bool {
        self.addresses.get(&holder(*address)).and_then(|entry| entry.banned_until).is_some_and(|until| until > now)
    }

    /// Whether the key is.
    pub fn key_banned(&self, key: &TransportKey, now: Instant) -> bool {
        self.keys.get(key).and_then(|entry| entry.banned_until).is_some_and(|until| until > now)
    }

    /// Whether the name is.
    pub fn name_banned(&self, name: u32, now: Instant) -> bool {
        self.names.get(&name).and_then(|entry| entry.banned_until).is_some_and(|until| until > now)
    }

    /// Forgets what has faded.
    pub fn forget(&mut self, now: Instant) {
        let faded = |entry: &Entry| {
            entry.banned_until.is_none_or(|until| until <= now) && entry.points <= FADE * (now - entry.at).as_secs_f64()
        };
        self.addresses.retain(|_, entry| !faded(entry));
        self.keys.retain(|_, entry| !faded(entry));
        self.names.retain(|_, entry| !faded(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_add_up_fade_and_end_in_a_ban_that_ends() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let (address, key) = ("10.0.0.1".parse().unwrap(), [1; 32]);
        assert!(!bans.penalise(&address, (&key, None), 60, now));
        assert!(!bans.penalise(&address, (&key, None), 60, now + Duration::from_secs(30)));
        assert!(bans.penalise(&address, (&key, None), 60, now + Duration::from_secs(30)));
        let later = now + Duration::from_secs(31);
        assert!(bans.suspects(&address, later) && bans.key_banned(&key, later) && !bans.key_banned(&[2; 32], later));
        let much_later = later + BAN_TIME;
        assert!(!bans.key_banned(&key, much_later));
        bans.forget(much_later);
        assert!(bans.keys.is_empty());
        bans.penalise(&"127.0.0.1".parse().unwrap(), (&key, None), 1_000, now);
        assert!(bans.addresses.is_empty());
    }

    #[test]
    fn a_name_is_banned_whatever_key_it_comes_with() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let address = "10.0.0.1".parse().unwrap();
        assert!(!bans.penalise(&address, (&[1; 32], Some(7)), 60, now) && !bans.name_banned(7, now));
        assert!(bans.penalise(&address, (&[2; 32], Some(7)), 60, now), "the points of both keys are its own");
        assert!(bans.name_banned(7, now) && !bans.key_banned(&[2; 32], now) && !bans.name_banned(8, now));
        bans.forget(now + BAN_TIME);
        assert!(bans.names.is_empty());
    }

    #[test]
    fn a_ban_is_not_washed_away_by_points_of_new_keys() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let address = "2001:db8::1".parse().unwrap();
        assert!(bans.penalise(&address, (&[255; 32], None), 100, now));
        for new in 0..2 * ENTRIES_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&new.to_le_bytes());
            bans.penalise(&address, (&key, None), 5, now + Duration::from_secs(1));
        }
        assert!(bans.key_banned(&[255; 32], now + Duration::from_secs(2)) && bans.keys.len() == ENTRIES_MAX);
        // The whole /64 is one holder's.
        assert!(bans.suspects(&"2001:db8::ffff:1".parse().unwrap(), now + Duration::from_secs(2)));
        assert!(!bans.suspects(&"2001:db8:0:1::1".parse().unwrap(), now + Duration::from_secs(2)));
    }
}
