//! How much memory the computer has, how much of it a node may come to, and how much of that its network may have.

use std::fs;

/// What a node may come to if nothing else is said.
pub const LIMIT_DEFAULT: u64 = 512 << 20;
/// Of the computer's memory, a node takes this part at most by itself.
const PART_OF_COMPUTER: u64 = 2;
/// The most that the network takes by itself: more than two thousand names with duties can make it hold.
const NETWORK_MAX: usize = 1 << 30;
/// The network takes so many sixteenths of a node's memory by itself.
const NETWORK_SIXTEENTHS: usize = 3;
/// Less than this has no room for a committee.
pub const BUDGET_MIN: usize = 64 << 20;

/// Bytes that a node may come to: what the configuration says, or if that is 0 half of what the computer has, 512 MiB at
/// most.
pub fn limit(configured: u64) -> u64 {
    if configured > 0 { configured } else { limit_of(computer_bytes()) }
}

fn limit_of(computer: Option<u64>) -> u64 {
    computer.map_or(LIMIT_DEFAULT, |bytes| (bytes / PART_OF_COMPUTER).min(LIMIT_DEFAULT))
}

/// Bytes for all connections with peers: what the configuration says, or if that is 0 three sixteenths of what the node may
/// come to.
pub fn budget(configured: usize, limit: u64) -> usize {
    let part = usize::try_from(limit).unwrap_or(usize::MAX) / 16 * NETWORK_SIXTEENTHS;
    if configured > 0 { configured } else { part.clamp(BUDGET_MIN, NETWORK_MAX) }
}

/// What a node may come to is more than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node may come to more memory than the {} MiB that {whose} has: {sum}. Give it less (memory.limit_bytes), or the \
     computer more",
    has >> 20
)]
pub struct TooMuch {
    /// Bytes that there are.
    has: u64,
    /// The computer or the container.
    whose: &'static str,
    /// The sum with its terms.
    sum: String,
}

/// Whether the computer, and the container that this process is in, have room for so much; `sum` says what it is for.
///
/// # Errors
/// When they do not.
pub fn has_room(bytes: u64, sum: &impl ToString) -> Result<(), TooMuch> {
    room_in([("the computer", computer()), ("the container (its memory.max)", container())], bytes, sum)
}

fn room_in(places: [(&'static str, Option<u64>); 2], bytes: u64, sum: &impl ToString) -> Result<(), TooMuch> {
    let too_small = places.into_iter().filter_map(|(whose, has)| Some((whose, has.filter(|&has| has < bytes)?)));
    match too_small.min_by_key(|place| place.1) {
        Some((whose, has)) => Err(TooMuch { has, whose, sum: sum.to_string() }),
        None => Ok(()),
    }
}

/// Bytes of memory of the computer, or of the container that this process is in if that has less.
fn computer_bytes() -> Option<u64> {
    computer().into_iter().chain(container()).min()
}

fn computer() -> Option<u64> {
    fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text))
}

/// By either version of control groups; without a bound there is a word, or a number beyond all memory.
fn container() -> Option<u64> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

fn of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_node_takes_half_and_512_mib_at_most_and_its_network_a_part_of_that() {
        assert_eq!(of_meminfo("MemTotal:        8000000 kB\nMemFree:  5 kB\n"), Some(8_192_000_000));
        assert_eq!((of_meminfo(""), of_meminfo("MemTotal: many kB")), (None, None));
        for (computer, expected) in [(Some(16 * GIB), LIMIT_DEFAULT), (Some(GIB / 2), GIB / 4), (None, LIMIT_DEFAULT)] {
            assert_eq!(limit_of(computer), expected);
        }
        assert_eq!((limit(7), budget(7, GIB)), (7, 7), "what people set counts");
        assert_eq!(budget(0, LIMIT_DEFAULT), 96 << 20);
        assert_eq!((budget(0, 1 << 20), budget(0, 64 * GIB)), (BUDGET_MIN, NETWORK_MAX));
    }

    #[test]
    fn what_is_more_than_there_is_is_refused_with_what_it_is_for() {
        let places = [("the computer", Some(GIB)), ("the container", Some(GIB / 4))];
        let refused = room_in(places, GIB / 2, &"network 96, accounts 64").unwrap_err().to_string();
        for word in ["256 MiB", "the container", "network 96, accounts 64", "memory.limit_bytes"] {
            assert!(refused.contains(word), "'{word}' is not in: {refused}");
        }
        assert_eq!(room_in(places, GIB / 4, &""), Ok(()));
        assert_eq!(room_in([("", None), ("", None)], u64::MAX, &""), Ok(()), "nobody can say how much there is");
        assert!(has_room(u64::MAX, &"").is_err() || computer_bytes().is_none());
    }
}
