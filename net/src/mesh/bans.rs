//! Who has talked garbage: points by address and by key, which fade, and bans, which end.

use super::channel::TransportKey;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Points that lead to a ban.
const POINTS_MAX: f64 = 100.0;
/// Points that fade in a second.
const FADE: f64 = 1.0;
const BAN: Duration = Duration::from_secs(600);
/// Entries of each table; beyond, the oldest knowledge goes.
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
}

fn add<K: std::hash::Hash + Eq + Copy>(table: &mut HashMap<K, Entry>, of: K, points: u32, now: Instant) -> bool {
    if table.len() >= ENTRIES_MAX && !table.contains_key(&of) {
        let oldest = table.iter().min_by_key(|entry| entry.1.at).map(|entry| *entry.0);
        oldest.map(|oldest| table.remove(&oldest));
    }
    let entry = table.entry(of).or_insert(Entry { points: 0.0, at: now, banned_until: None });
    entry.points = (entry.points - FADE * (now - entry.at).as_secs_f64()).max(0.0) + f64::from(points);
    entry.at = now;
    if entry.points >= POINTS_MAX {
        entry.banned_until = Some(now + BAN);
    }
    entry.banned_until.is_some_and(|until| until > now)
}

impl Bans {
    /// Books points; true if the key is banned now. Loopback addresses are not banned: everything on this machine would
    /// be.
    pub fn penalise(&mut self, address: &IpAddr, key: &TransportKey, points: u32, now: Instant) -> bool {
        if !address.is_loopback() {
            add(&mut self.addresses, *address, points, now);
        }
        add(&mut self.keys, *key, points, now)
    }

    /// Whether calls from the address are refused.
    pub fn address_banned(&self, address: &IpAddr, now: Instant) -> bool {
        self.addresses.get(address).and_then(|entry| entry.banned_until).is_some_and(|until| until > now)
    }

    /// Whether the key is.
    pub fn key_banned(&self, key: &TransportKey, now: Instant) -> bool {
        self.keys.get(key).and_then(|entry| entry.banned_until).is_some_and(|until| until > now)
    }

    /// Forgets what has faded.
    pub fn forget(&mut self, now: Instant) {
        let faded = |entry: &Entry| {
            entry.banned_until.is_none_or(|until| until <= now) && entry.points <= FADE * (now - entry.at).as_secs_f64()
        };
        self.addresses.retain(|_, entry| !faded(entry));
        self.keys.retain(|_, entry| !faded(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_add_up_fade_and_end_in_a_ban_that_ends() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let (address, key) = ("10.0.0.1".parse().unwrap(), [1; 32]);
        assert!(!bans.penalise(&address, &key, 60, now));
        assert!(!bans.penalise(&address, &key, 60, now + Duration::from_secs(30)));
        assert!(bans.penalise(&address, &key, 60, now + Duration::from_secs(30)));
        let later = now + Duration::from_secs(31);
        assert!(
            bans.address_banned(&address, later) && bans.key_banned(&key, later) && !bans.key_banned(&[2; 32], later)
        );
        let much_later = later + BAN;
        assert!(!bans.key_banned(&key, much_later));
        bans.forget(much_later);
        assert!(bans.keys.is_empty());
        bans.penalise(&"127.0.0.1".parse().unwrap(), &key, 1_000, now);
        assert!(bans.addresses.is_empty());
    }
}
