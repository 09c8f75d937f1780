//! Whose place is given to a newcomer when there is none: without sockets and without a clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Whoever has said nothing for so long, and has nothing under way, may have to go.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// A connection that has its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupant {
    pub(super) place: u32,
    pub(super) ip: IpAddr,
    /// Since when it is silent; none while a frame of it is under way, or an answer to it.
    pub(super) silent_since: Option<Instant>,
}

/// Who makes room, if anyone may have to: of those that are idle one of the address that has most connections, there the
/// one that has been silent longest. So silent connections do not keep everyone else out for ever.
pub(super) fn who_makes_room(all: &[Occupant], now: Instant) -> Option<u32> {
    let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
    all.iter().for_each(|occupant| *of_address.entry(occupant.ip).or_insert(0) += 1);
    let idle = |occupant: &Occupant| {
        let since = occupant.silent_since.filter(|since| now >= *since + IDLE)?;
        Some((of_address[&occupant.ip], now - since, occupant.place))
    };
    all.iter().filter_map(idle).max().map(|(_, _, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_make_room_first_of_where_most_come_from_and_nobody_else_does() {
        let start = Instant::now();
        let occupant = |place: u32, host: u8, silent_s: Option<u64>| Occupant {
            place,
            ip: IpAddr::from([10, 0, 0, host]),
            silent_since: silent_s.map(|seconds| start + Duration::from_secs(100 - seconds)),
        };
        let now = start + Duration::from_secs(100);
        let mut all = vec![occupant(0, 1, Some(90)), occupant(1, 2, Some(40)), occupant(2, 2, Some(60))];
        all.extend([occupant(3, 2, None), occupant(4, 3, Some(9))]);
        for gone in [2, 1, 0] {
            assert_eq!(who_makes_room(&all, now), Some(gone));
            all.retain(|occupant| occupant.place != gone);
        }
        assert_eq!(who_makes_room(&all, now), None, "one has a frame under way, the other has just spoken");
    }
}
