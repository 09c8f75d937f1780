//! `bench apply`: quilt entries a second on one core, against a hash map doing the same changes in the same run.

use dynemix_engine::cell::Key;
use dynemix_engine::hash::Hash;
use dynemix_engine::keyed_hash::HashSeed;
use dynemix_engine::patch::{Changes, Delta};
use dynemix_engine::quilt::Quilt;
use dynemix_engine::state::{HeapMemory, State, StateLayout};
use dynemix_engine::verify::Simd;
use dynemix_perf::machine::{cpu_model, peak_rss_bytes};
use dynemix_perf::report::{bytes, facts, grouped, median, table};
use dynemix_workload::Choices;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Instant;

const BALANCE: u64 = 1 << 40;

/// What to measure.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// Accounts.
    pub accounts: u64,
    /// Entries of a quilt: half debits, half credits.
    pub entries: usize,
    /// Interleaved rounds; medians are reported.
    pub rounds: usize,
    /// Chooses the entries.
    pub seed: u64,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        ApplyOptions { accounts: 10_000_000, entries: 400_000, rounds: 9, seed: 1 }
    }
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct ApplyReport {
    /// "apply".
    pub bench: &'static str,
    /// The machine.
    pub cpu: String,
    /// The vector instructions in use.
    pub simd_backend: Simd,
    /// One: the columns are applied by one thread.
    pub cores: usize,
    /// Accounts.
    pub accounts: u64,
    /// Entries of a quilt.
    pub entries: usize,
    /// Interleaved rounds.
    pub rounds: usize,
    /// Entries a second from columns in memory.
    pub entries_per_s: f64,
    /// Entries a second from wire form, decoding included.
    pub decoded_entries_per_s: f64,
    /// Changes a second of a `HashMap<[u8; 32], u64>`.
    pub hashmap_entries_per_s: f64,
    /// `entries_per_s` over `hashmap_entries_per_s`.
    pub ratio: f64,
    /// Bytes of a quilt on the wire, for each entry.
    pub wire_bytes_per_entry: f64,
    /// Milliseconds to hash the paths that one quilt touches, on all cores.
    pub root_ms: f64,
    /// Bytes of state an account.
    pub bytes_per_account: f64,
    /// Largest resident set.
    pub peak_rss_bytes: u64,
    /// Root after the last quilt.
    pub state_root: String,
}

/// Keys without secrets: nothing here is verified.
fn key(account: u64) -> Key {
    let mut key = [0; 32];
    let mut choices = Choices::new(account, 77);
    key.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&choices.draw().to_le_bytes()));
    key
}

fn changes(choices: &mut Choices, accounts: u64, entries: usize) -> Changes {
    let mut drawn: Vec<u32> = (0..entries + entries / 8).map(|_| choices.below(accounts) as u32).collect();
    drawn.sort_unstable();
    drawn.dedup();
    drawn.truncate(entries);
    let amounts = drawn.iter().map(|_| 1_000_000 + choices.below(4_000_000)).collect();
    Changes { accounts: drawn, amounts }
}

/// A quilt of random debits and credits, half of the entries each, that gives as much as it takes.
pub fn random_quilt(
    choices: &mut Choices,
    accounts: u64,
    entries: usize,
    height: u64,
    slot: u64,
    parent_root: Hash,
) -> Quilt {
    let debits = changes(choices, accounts, entries / 2);
    let mut credits = changes(choices, accounts, entries / 2);
    // As many units in as out: the last credit takes up the difference.
    let spent: u64 = debits.amounts.iter().sum();
    credits.amounts.iter_mut().for_each(|amount| *amount = 1_000_000);
    let given: u64 = credits.amounts.iter().sum();
    if let Some(last) = credits.amounts.last_mut() {
        *last += spent - given;
    }
    Quilt { height, slot, parent_root, delta: Delta { debits, credits, ..Delta::default() }, ..Quilt::default() }
}

/// Measures; `progress` hears how many of how many rounds are done.
pub fn run(options: &ApplyOptions, mut progress: impl FnMut(u64, u64)) -> ApplyReport {
    let accounts = options.accounts;
    let genesis: Vec<_> = (0..accounts).map(|account| (key(account), BALANCE)).collect();
    let mut map: HashMap<Key, u64> = genesis.iter().copied().collect();
    let layout = StateLayout::new(accounts as u32);
    let supply = BALANCE * accounts;
    let mut state = State::genesis(HeapMemory::new(layout), &genesis, supply, HashSeed::from_number(options.seed))
        .expect("distinct keys");
    let mut choices = Choices::new(options.seed, 5);
    let (mut applied, mut decoded, mut hashed, mut roots) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut wire = Vec::new();
    let mut from_wire = Quilt::default();
    let mut wire_bytes_per_entry = 0.0;
    for round in 0..options.rounds as u64 {
        // Two quilts of the same shape a round: one applied from columns, one from wire form; the map gets both, timed
        // once.
        for by_wire in [false, true] {
            let height = state.header().height + 1;
            let quilt = random_quilt(&mut choices, accounts, options.entries, height, height, state.header().root);
            let entries = quilt.delta.entries() as f64;
            wire.clear();
            quilt.encode(&mut wire);
            wire_bytes_per_entry = wire.len() as f64 / entries;
            let start = Instant::now();
            if by_wire {
                from_wire.decode_into(&wire, options.entries).expect("our own encoding");
                state.apply(&from_wire).expect("balances are large");
                decoded.push(entries / start.elapsed().as_secs_f64());
            } else {
                state.apply(&quilt).expect("balances are large");
                applied.push(entries / start.elapsed().as_secs_f64());
            }
            let start = Instant::now();
            state.update_root();
            roots.push(start.elapsed().as_secs_f64() * 1e3);
            // The keys are at hand for the map: it is not charged for finding them.
            let by_key = |changes: &Changes| -> Vec<(Key, u64)> {
                changes.iter().map(|(account, amount)| (genesis[account as usize].0, amount)).collect()
            };
            let (debits, credits) = (by_key(&quilt.delta.debits), by_key(&quilt.delta.credits));
            let start = Instant::now();
            for (key, amount) in &debits {
                let balance = map.get_mut(key).expect("known");
                *balance = balance.checked_sub(*amount).expect("large");
            }
            for (key, amount) in &credits {
                let balance = map.get_mut(key).expect("known");
                *balance = balance.checked_add(*amount).expect("large");
            }
            if !by_wire {
                hashed.push(entries / start.elapsed().as_secs_f64());
            }
        }
        progress(round + 1, options.rounds as u64);
    }
    let agree = genesis
        .iter()
        .step_by(997)
        .all(|(key, _)| state.find(key).is_some_and(|account| state.hot(account).balance == map[key]));
    assert!(agree, "columns and map hold the same balances");
    let ratios = applied.iter().zip(&hashed).map(|(ours, map)| ours / map).collect();
    ApplyReport {
        bench: "apply",
        cpu: cpu_model(),
        simd_backend: Simd::best(),
        cores: 1,
        accounts,
        entries: options.entries,
        rounds: options.rounds,
        entries_per_s: median(applied),
        decoded_entries_per_s: median(decoded),
        hashmap_entries_per_s: median(hashed),
        ratio: median(ratios),
        wire_bytes_per_entry,
        root_ms: median(roots),
        bytes_per_account: state.bytes() as f64 / accounts as f64,
        peak_rss_bytes: peak_rss_bytes(),
        state_root: hex::encode(state.header().root),
    }
}

impl ApplyReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let row = |name: &str, rate: f64| vec![name.into(), format!("{:.1}", rate / 1e6), format!("{:.1}", 1e9 / rate)];
        let mut text = facts(&[
            ("CPU", self.cpu.clone()),
            ("accounts", grouped(self.accounts)),
            ("entries a quilt", grouped(self.entries as u64)),
            ("state", format!("{:.1} bytes an account", self.bytes_per_account)),
            ("peak memory", format!("{} (the map and the keys of the bench included)", bytes(self.peak_rss_bytes))),
        ]);
        text.push('\n');
        text.push_str(&table(
            &["one core", "million entries/s", "ns an entry"],
            &[
                row("columns", self.entries_per_s),
                row("columns, from wire form", self.decoded_entries_per_s),
                row("HashMap<[u8; 32], u64>", self.hashmap_entries_per_s),
            ],
        ));
        text.push_str(&format!(
            "\n  columns over map: {:.1}    wire form: {:.2} bytes an entry    new root: {:.1} ms on all cores\n  medians of {} interleaved rounds\n",
            self.ratio, self.wire_bytes_per_entry, self.root_ms, self.rounds
        ));
        text
    }
}
