//! A node as one value: which threads it has, and what its memory may come to. Checked and printed before anything
//! starts; nothing else says how large a queue is.
//!
//! Memory is given as a whole. What does not grow with transactions is taken from it first: accounts, network, API,
//! messages of consensus, files. What is left decides how many transactions of a height there is room for
//! ([`super::capacity`]), no more than a block of the chain has.
//!
//! What peers have sent and nobody has worked off is counted with the network, in whatever queue it waits: its bytes, and
//! what it became on decoding, are charged there until consensus has heard it. So the queues have bounds, and of the sum
//! only what is verified for consensus.

use super::capacity::Capacity;
use super::entry::{Found, TRANSACTION_COST};
use super::inbox::Inbox;
use super::inclusions::Inclusions;
use super::serve::Serve;
use super::tracked::Tracked;
use super::verdicts::BATCH_MAX;
use dynemix_engine::accounts::memory::StateLayout;
use dynemix_engine::base::parameters::ChainParameters;
use dynemix_engine::committee::members::SHARD_MINTERS;
use dynemix_engine::consensus::custody::OTHERS_BYTES_MAX;
use dynemix_engine::consensus::early::EARLY_MESSAGES_BYTES_MAX;
use dynemix_engine::consensus::finals::FINALS_BYTES_MAX;
use dynemix_engine::transaction::item::ITEM_MEMORY;
use dynemix_engine::verify::{Hint, KeyCache};
use std::fmt;
use std::sync::Arc;

const MIB: usize = 1 << 20;
/// What waits for consensus may cost so much at most: the urgent, the ordinary.
const INBOX: [usize; 2] = [32 * MIB, 160 * MIB];
/// The same for those that verify users' cells, what custodians look at, and what rounds need.
const CELLS_IN: usize = 48 * MIB;
const BODIES_IN: usize = 96 * MIB;
const ROUNDS_IN: usize = 160 * MIB;
/// Bytes that a signature takes of those with which a batch is verified: points, sums, numbers, hints.
const VERIFIED_BYTES: u64 = 1152;
/// Of all memory, so many 64ths are for that.
const VERIFYING_64THS: u64 = 2;
/// Threads that verify beside those of users' cells: rounds, bodies.
const VERIFIERS_BESIDE: u64 = 2;
/// Signatures that are verified at a time at least: small batches cost more each.
const BATCH_LEAST: u64 = 2_048;
/// The program itself, and libraries.
const PROGRAM: u64 = 12 << 20;
/// What a thread has touched of its stack, and how many there are beside those that verify.
const STACK: u64 = 256 << 10;
const THREADS_BESIDE: u64 = 20;
/// The system after each of the newest heights, which share most of what they have.
const SYSTEMS: u64 = 8 << 20;
/// Records on their way to the log, to the replica, to a checkpoint and to a snapshot.
const FILES: u64 = 10 << 20;
/// Records that wait for their place, and what was heard of them.
const RECORDS: u64 = 2 << 20;
/// Of what the allocator gives out, this part is what it holds beyond.
const ALLOCATOR: u64 = 10;

/// What a topology follows from.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Bytes that everything may come to.
    pub memory: u64,
    /// Of them, those of all connections with peers.
    pub network: u64,
    /// Of them, those of questions and answers of the API.
    pub api: u64,
    /// Keys that are kept decoded.
    pub keys: usize,
    /// Accounts that there is room for.
    pub accounts: u32,
    /// Threads that verify users' transactions.
    pub verify_threads: usize,
    /// What the chain says of blocks, seats and shards.
    pub parameters: &'a ChainParameters,
}

/// There is less memory than a node takes that carries next to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node takes {} MiB of memory at least, and {} are given to it (memory.limit_bytes):{}. Give it more, or less to \
     what takes most: accounts follow from the chain's consensus.accounts_max, the network from network.memory_bytes, \
     the API from api.held_bytes_max and api.connections_max, keys from storage.key_cache_keys",
    mib(sum(rows)),
    mib(*given),
    listed(rows)
)]
pub struct TooLittle {
    /// What was given.
    pub given: u64,
    /// What it is for.
    pub rows: Vec<(&'static str, u64)>,
}

fn sum(rows: &[(&'static str, u64)]) -> u64 {
    rows.iter().map(|row| row.1).sum()
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB as u64)
}

fn listed(rows: &[(&'static str, u64)]) -> String {
    let one = |(name, bytes): &(&str, u64)| format!(" {name} {}", mib(*bytes));
    rows.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Threads and memory of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Threads that verify users' transactions.
    pub verify_threads: usize,
    /// How many transactions there is room for.
    pub capacity: Capacity,
    /// What may wait for consensus: the urgent, the ordinary.
    pub inbox: [usize; 2],
    /// For the threads that verify users' cells.
    pub cells_in: usize,
    /// For the one that verifies what custodians look at.
    pub bodies_in: usize,
    /// For the one that verifies what rounds need.
    pub rounds_in: usize,
    /// Bytes of other shards' blocks that are kept.
    pub others: usize,
    /// Signatures that are verified at a time.
    pub batch: usize,
    /// Memory by what it is for.
    pub memory: Vec<(&'static str, u64)>,
}

impl Topology {
    /// What fits into the memory that is given.
    ///
    /// # Errors
    /// When next to nothing would be carried, or not even that fits.
    ///
    /// # Panics
    /// When nobody would verify: the configuration is looked at before.
    pub fn of(given: &Given<'_>) -> Result<Topology, TooLittle> {
        assert!(given.verify_threads > 0, "nobody verifies");
        let carried = Capacity::carried(given.parameters);
        let alone = given.parameters.consensus.seats == 1;
        let fits = |capacity: &Capacity| sum(&given.rows(capacity)) <= given.memory;
        let Some(capacity) = Capacity::largest(carried, alone, fits) else {
            return Err(TooLittle { given: given.memory, rows: given.rows(&Capacity::least(alone)) });
        };
        // No more than half of what all peers may make the node hold.
        let part = |most: usize| most.min(usize::try_from(given.network / 2).unwrap_or(usize::MAX));
        let inbox = [part(INBOX[0]), given.inbox(&capacity)];
        let (cells_in, bodies_in, rounds_in) = (part(CELLS_IN), part(BODIES_IN), part(ROUNDS_IN));
        let memory = given.rows(&capacity);
        assert!(sum(&memory) <= given.memory, "what was found to fit is more than was given");
        let verify_threads = given.verify_threads;
        let others = given.others(&capacity);
        Ok(Topology {
            verify_threads,
            capacity,
            inbox,
            cells_in,
            bodies_in,
            rounds_in,
            others,
            batch: given.batch(),
            memory,
        })
    }

    /// All of it together.
    pub fn bytes(&self) -> u64 {
        sum(&self.memory)
    }

    /// A queue of which nothing is urgent.
    pub fn queue<T>(cost_max: usize) -> Arc<Inbox<T>> {
        Arc::new(Inbox::new(0, cost_max))
    }
}

impl Given<'_> {
    /// What may wait for consensus that is not urgent: all that a height takes.
    fn inbox(&self, capacity: &Capacity) -> usize {
        (capacity.height * TRANSACTION_COST).clamp(BODIES_IN / 4, INBOX[1])
    }

    /// Signatures that each thread verifies at a time: the more threads, the fewer.
    fn batch(&self) -> usize {
        let bytes = self.memory / 64 * VERIFYING_64THS / (self.verify_threads as u64 + VERIFIERS_BESIDE);
        (bytes / VERIFIED_BYTES).clamp(BATCH_LEAST, BATCH_MAX as u64) as usize
    }

    /// Shards at most.
    fn shards(&self) -> usize {
        let of = &self.parameters.consensus;
        (of.seats as usize / SHARD_MINTERS).min(of.shards_max as usize).max(1)
    }

    /// Bytes of items of other shards' blocks: those of three heights, and those that come before their block is final,
    /// each as large as a block may be. With one shard nobody keeps another's block of a height whose own it has made:
    /// these have the places of those.
    fn others(&self, capacity: &Capacity) -> usize {
        let blocks = if self.shards() == 1 { 3 * capacity.height } else { 4 * Capacity::carried(self.parameters) };
        (blocks * ITEM_MEMORY).min(OTHERS_BYTES_MAX)
    }

    /// Memory by what it is for, with room for so many transactions.
    fn rows(&self, capacity: &Capacity) -> Vec<(&'static str, u64)> {
        let layout = StateLayout::new(self.accounts);
        let bytes_of = |names: &[&str]| {
            let columns = layout.columns();
            columns.iter().filter(|column| names.contains(&column.0)).map(|column| column.1).sum::<u64>()
        };
        // The replica's view has pages of its own of what blocks change; of keys both see the file's.
        let accounts = layout.bytes() + bytes_of(&["header", "hot", "index", "tree"]);
        let verifying = (self.verify_threads as u64 + VERIFIERS_BESIDE) * self.batch() as u64 * VERIFIED_BYTES;
        let verified =
            (self.inbox(capacity) / TRANSACTION_COST * (size_of::<Found>() + size_of::<Option<Hint>>())) as u64;
        let threads = self.verify_threads as u64 + THREADS_BESIDE;
        let of_others = if self.shards() == 1 { 0 } else { self.others(capacity) as u64 };
        let proofs = Inclusions::served_bytes(capacity.height) + Serve::bytes();
        let minters = (self.parameters.consensus.seats as usize).div_ceil(self.shards());
        let whole = self.parameters.consensus.maturity(1) == 0;
        let mut rows = vec![
            ("pool and own rows", capacity.rows_bytes()),
            ("sets and blocks", capacity.sets_bytes(minters, self.shards(), whole)),
            ("verified for consensus", verified),
            ("verdicts", capacity.verdicts_bytes()),
            ("blocks of others", of_others + FINALS_BYTES_MAX as u64),
            ("messages before their time", EARLY_MESSAGES_BYTES_MAX as u64 + RECORDS),
            ("API", self.api + Tracked::bytes() as u64),
            ("verifiers", verifying),
            ("systems, files, proofs", SYSTEMS + FILES + proofs),
        ];
        let allocator = sum(&rows) / ALLOCATOR;
        rows.extend([
            ("allocator", allocator),
            ("transactions", capacity.arena_bytes()),
            ("network", self.network),
            ("decoded keys", KeyCache::bytes(self.keys)),
            ("accounts, mapped", accounts),
            ("program and stacks", PROGRAM + threads * STACK),
        ]);
        rows
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} threads verify; room for {} transactions of a height; memory at most {} MiB:{}",
            self.verify_threads,
            self.capacity.height,
            mib(self.bytes()),
            listed(&self.memory)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(parameters: &ChainParameters) -> Given<'_> {
        Given {
            memory: 512 << 20,
            network: 96 << 20,
            api: 32 << 20,
            keys: 1 << 17,
            accounts: 1_000_000,
            verify_threads: 2,
            parameters,
        }
    }

    #[test]
    fn the_sum_is_that_of_its_rows_and_is_printed() {
        let parameters = ChainParameters::default();
        let topology = Topology::of(&given(&parameters)).unwrap();
        let of = |name: &str| topology.memory.iter().find(|row| row.0 == name).unwrap().1;
        assert_eq!(of("network"), 96 << 20);
        assert!(of("transactions") >= u64::from(topology.capacity.places) * 260);
        assert_eq!(topology.bytes(), topology.memory.iter().map(|row| row.1).sum::<u64>());
        let text = topology.to_string();
        assert!(text.starts_with("2 threads verify; room for "), "{text}");
        assert!(text.contains("network 96,") && text.contains("memory at most "), "{text}");
    }

    #[test]
    fn more_memory_is_more_room_and_too_little_is_refused_with_what_it_is_for() {
        let mut parameters = ChainParameters::default();
        parameters.consensus.line_bytes_per_s = 1 << 30;
        let of = |memory: u64| Topology::of(&Given { memory: memory << 20, ..given(&parameters) });
        let (small, large) = (of(512).unwrap(), of(2_048).unwrap());
        assert!(small.bytes() <= 512 << 20 && large.capacity.height > small.capacity.height);
        let refused = of(200).unwrap_err().to_string();
        for word in ["200 are given", "accounts, mapped 9", "network 96", "memory.limit_bytes"] {
            assert!(refused.contains(word), "'{word}' is not in: {refused}");
        }
    }
}
