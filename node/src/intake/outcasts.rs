//! Who is thrown out: the points that the mesh books, by connection and by name, for all threads to look at. What somebody
//! has sent before it was thrown out may still wait in many queues: it is dropped there, and not worked off.

use super::asked::Whom;
use dynemix_net::mesh::{BAN_POINTS, BAN_TIME};
use std::collections::BTreeMap;

/// Entries that are kept; beyond, the one goes that would end first.
const ENTRIES_MAX: usize = 4_096;
/// Milliseconds that a point lasts.
const POINT_MS: u64 = 1_000;

/// Points of one, as the time at which the last of them has faded.
#[derive(Clone, Copy, Default)]
struct Booked {
    faded_ms: u64,
    out_until_ms: u64,
}

impl Booked {
    fn ends_ms(&self) -> u64 {
        self.faded_ms.max(self.out_until_ms)
    }
}

/// Points, and who is out for them.
#[derive(Default)]
pub struct Outcasts {
    booked: BTreeMap<Whom, Booked>,
}

impl Outcasts {
    /// Books points with whoever is all of these; whether it is out now.
    pub fn book(&mut self, whoms: &[Whom], points: u32, now_ms: u64) -> bool {
        for &whom in whoms {
            if self.booked.len() >= ENTRIES_MAX && !self.booked.contains_key(&whom) {
                let first = self.booked.iter().min_by_key(|entry| entry.1.ends_ms()).map(|entry| *entry.0);
                first.map(|first| self.booked.remove(&first));
            }
            let booked = self.booked.entry(whom).or_default();
            booked.faded_ms = booked.faded_ms.max(now_ms).saturating_add(u64::from(points) * POINT_MS);
            if booked.faded_ms - now_ms >= u64::from(BAN_POINTS) * POINT_MS {
                booked.out_until_ms = now_ms + BAN_TIME.as_millis() as u64;
            }
        }
        assert!(self.booked.len() <= ENTRIES_MAX, "{} are remembered for their points", self.booked.len());
        self.is_out(whoms, now_ms)
    }

    /// Whether whoever is one of these is out.
    pub fn is_out(&self, whoms: &[Whom], now_ms: u64) -> bool {
        whoms.iter().filter_map(|whom| self.booked.get(whom)).any(|booked| booked.out_until_ms > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_hundred_points_is_out_under_its_name_on_every_connection_for_a_while() {
        let mut outcasts = Outcasts::default();
        let (name, first, second) = (Whom::Name(7), Whom::Connection(1), Whom::Connection(2));
        assert!(!outcasts.book(&[name, first], 60, 0) && !outcasts.book(&[name, second], 60, 30_000));
        assert!(!outcasts.is_out(&[name, second], 30_000), "thirty have faded");
        assert!(outcasts.book(&[name, second], 10, 30_000));
        assert!(outcasts.is_out(&[name, Whom::Connection(3)], 30_000) && !outcasts.is_out(&[first], 30_000));
        assert!(!outcasts.is_out(&[Whom::Name(8), Whom::Connection(4)], 30_000));
        assert!(outcasts.is_out(&[name], 629_999) && !outcasts.is_out(&[name], 630_000));
    }

    #[test]
    fn who_is_out_stays_so_however_many_others_have_a_point() {
        let mut outcasts = Outcasts::default();
        outcasts.book(&[Whom::Name(7)], u32::MAX, 0);
        assert!((0..2 * ENTRIES_MAX as u64).all(|id| !outcasts.book(&[Whom::Connection(id)], 1, 1)));
        assert!(outcasts.is_out(&[Whom::Name(7)], 2) && outcasts.booked.len() == ENTRIES_MAX);
    }
}
