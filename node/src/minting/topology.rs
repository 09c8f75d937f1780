//! A node as one value: which threads it has, and what its memory may come to. Checked and printed before anything
//! starts; nothing else says how large a queue is.

use super::inbox::Inbox;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::base::limits::{FORWARDED_MAX, POOL_TRANSACTIONS_MAX};
use dynemix_engine::transaction::arena::Arena;
use dynemix_engine::verify::KeyCache;
use std::fmt;
use std::sync::Arc;

const MIB: usize = 1 << 20;
/// What waits for consensus may cost so much: the urgent, the ordinary.
const INBOX: [usize; 2] = [32 * MIB, 160 * MIB];
/// The same for those that verify users' cells, what custodians look at, and what rounds need.
const CELLS_IN: usize = 48 * MIB;
const BODIES_IN: usize = 96 * MIB;
const ROUNDS_IN: usize = 160 * MIB;
/// Places for transactions of users: for what all pools and rows may hold, and blocks that are kept. Memory is taken as
/// they are used.
const ARENA_PLACES: u32 = 1 << 20;
const _: () = assert!(ARENA_PLACES as usize >= POOL_TRANSACTIONS_MAX + 2 * FORWARDED_MAX);
/// What a transaction costs in the pool and among own users' beside its place: rows, tables that are half full.
const ROW_BYTES: u64 = 2 * 160;

/// Threads and memory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Threads that verify users' transactions.
    pub verify_threads: usize,
    /// Places for users' transactions.
    pub places: u32,
    /// What may wait for consensus: the urgent, the ordinary.
    pub inbox: [usize; 2],
    /// For the threads that verify users' cells.
    pub cells_in: usize,
    /// For the one that verifies what custodians look at.
    pub bodies_in: usize,
    /// For the one that verifies what rounds need.
    pub rounds_in: usize,
    /// Memory by what it is for.
    pub memory: Vec<(&'static str, u64)>,
}

impl Topology {
    /// With so many verifying threads; `network`: bytes of all connections, `keys` that are kept decoded, `accounts` that
    /// there is room for.
    ///
    /// # Panics
    /// When nobody would verify: the configuration is looked at before.
    pub fn of(verify_threads: usize, network: usize, keys: usize, accounts: u32) -> Topology {
        assert!(verify_threads > 0, "nobody verifies");
        let waiting = (POOL_TRANSACTIONS_MAX + 2 * FORWARDED_MAX) as u64;
        let memory = vec![
            ("transactions", Arena::bytes(ARENA_PLACES)),
            ("pool and own rows", waiting * ROW_BYTES),
            ("to consensus", (INBOX[0] + INBOX[1]) as u64),
            ("to verify", CELLS_IN as u64),
            ("to bodies", BODIES_IN as u64),
            ("to rounds", ROUNDS_IN as u64),
            ("network", network as u64),
            ("decoded keys", KeyCache::bytes(keys)),
            ("accounts, mapped", StateLayout::new(accounts).bytes()),
        ];
        let (places, inbox) = (ARENA_PLACES, INBOX);
        Topology {
            verify_threads,
            places,
            inbox,
            cells_in: CELLS_IN,
            bodies_in: BODIES_IN,
            rounds_in: ROUNDS_IN,
            memory,
        }
    }

    /// All of it together.
    pub fn bytes(&self) -> u64 {
        self.memory.iter().map(|row| row.1).sum()
    }

    /// A queue of which nothing is urgent.
    pub fn queue<T>(cost_max: usize) -> Arc<Inbox<T>> {
        Arc::new(Inbox::new(0, cost_max))
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes.div_ceil(MIB as u64);
        write!(out, "{} threads verify; memory at most {} MiB:", self.verify_threads, mib(self.bytes()))?;
        for (place, (name, bytes)) in self.memory.iter().enumerate() {
            let before = if place == 0 { "" } else { "," };
            write!(out, "{before} {name} {}", mib(*bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_its_rows_and_is_printed() {
        let topology = Topology::of(2, 64 * MIB, 1 << 17, 1_000_000);
        let of = |name: &str| topology.memory.iter().find(|row| row.0 == name).unwrap().1;
        assert_eq!(of("network"), 64 << 20);
        assert_eq!(of("transactions"), u64::from(topology.places) * 260);
        assert_eq!(topology.bytes(), topology.memory.iter().map(|row| row.1).sum::<u64>());
        let text = topology.to_string();
        assert!(text.starts_with("2 threads verify; memory at most "), "{text}");
        assert!(text.contains("network 64,"), "{text}");
    }
}
