//! How much memory the computer has, and how much of it the network may have.

use std::fs;

/// The most that the network takes by itself.
const BUDGET_MAX: usize = 1 << 30;
/// Of the computer's memory, the network takes this part at most.
const PART: usize = 4;
/// What is taken where nobody can say how much there is.
const BUDGET_UNKNOWN: usize = 256 << 20;
/// Less than this has no room for a committee.
pub const BUDGET_MIN: usize = 64 << 20;

/// Bytes for all connections with peers: what the configuration says, or if that is 0 what the computer has room for.
pub fn budget(configured: usize) -> usize {
    if configured > 0 { configured } else { budget_of(computer_bytes()) }
}

fn budget_of(computer: Option<usize>) -> usize {
    computer.map_or(BUDGET_UNKNOWN, |bytes| bytes / PART).clamp(BUDGET_MIN, BUDGET_MAX)
}

/// Bytes of memory of the computer, or of the container that this process is in if that has less.
fn computer_bytes() -> Option<usize> {
    let computer = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    computer.into_iter().chain(container).min()
}

fn of_meminfo(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_takes_a_quarter_and_a_gigabyte_at_most() {
        assert_eq!(of_meminfo("MemTotal:        8000000 kB\nMemFree:  5 kB\n"), Some(8_192_000_000));
        assert_eq!((of_meminfo(""), of_meminfo("MemTotal: many kB")), (None, None));
        let gib = 1 << 30;
        for (computer, expected) in
            [(Some(16 * gib), gib), (Some(2 * gib), gib / 2), (Some(1 << 20), BUDGET_MIN), (None, BUDGET_UNKNOWN)]
        {
            assert_eq!(budget_of(computer), expected);
        }
        assert_eq!(budget(7), 7, "what people set counts");
        assert!((BUDGET_MIN..=BUDGET_MAX).contains(&budget(0)));
    }
}
