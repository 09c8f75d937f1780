//! `bench apply`: quilt entries a second on one core, against a hash map doing the same changes in the same run.

use dynemix_engine::accounts::delta::{Changes, Delta};
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;
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
    /// Accounts of the state before the first quilt.
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

/// What the run came to; rates are medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct ApplyReport {
    /// Always "apply", for whoever reads the JSON.
    pub bench: &'static str,
    /// Model of the machine's processor.
    pub cpu: String,
    /// The vector instructions in use.
    pub simd_backend: Simd,
    /// One: the columns are applied by one thread.
    pub cores: usize,
    /// Accounts of the state that the quilts change.
    pub accounts: u64,
    /// Entries of a quilt.
    pub entries: usize,
    /// Rounds of two quilts each, columns and map by turns.
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
    let mut bench = Bench::prepare(options);
    for round in 0..options.rounds as u64 {
        // Two quilts of the same shape a round: one applied from columns, one from wire form; the map gets both, timed
        // once.
        bench.measure(false);
        bench.measure(true);
        progress(round + 1, options.rounds as u64);
    }
    bench.report()
}

/// What is measured, and the rates so far, a round each.
struct Bench<'a> {
    options: &'a ApplyOptions,
    genesis: Vec<(Key, u64)>,
    state: State<HeapMemory>,
    map: HashMap<Key, u64>,
    choices: Choices,
    applied: Vec<f64>,
    decoded: Vec<f64>,
    hashed: Vec<f64>,
    /// Milliseconds of each update of the root.
    roots: Vec<f64>,
    wire: Vec<u8>,
    from_wire: Quilt,
    wire_bytes_per_entry: f64,
}

impl<'a> Bench<'a> {
    fn prepare(options: &'a ApplyOptions) -> Bench<'a> {
        let accounts = options.accounts;
        let genesis: Vec<_> = (0..accounts).map(|account| (key(account), BALANCE)).collect();
        let map = genesis.iter().copied().collect();
        let (layout, supply) = (StateLayout::new(accounts as u32), BALANCE * accounts);
        let state = State::genesis(HeapMemory::new(layout), &genesis, supply, HashSeed::from_number(options.seed))
            .expect("distinct keys");
        Bench {
            options,
            genesis,
            state,
            map,
            choices: Choices::new(options.seed, 5),
            applied: Vec::new(),
            decoded: Vec::new(),
            hashed: Vec::new(),
            roots: Vec::new(),
            wire: Vec::new(),
            from_wire: Quilt::default(),
            wire_bytes_per_entry: 0.0,
        }
    }

    /// Applies one quilt to columns and map.
    fn measure(&mut self, by_wire: bool) {
        let (options, header) = (self.options, self.state.header());
        let (height, root) = (header.height + 1, header.root);
        let quilt = random_quilt(&mut self.choices, options.accounts, options.entries, height, height, root);
        let entries = quilt.delta.entries() as f64;
        self.wire.clear();
        quilt.encode(&mut self.wire);
        self.wire_bytes_per_entry = self.wire.len() as f64 / entries;
        let start = Instant::now();
        if by_wire {
            self.from_wire.decode_into(&self.wire, options.entries).expect("our own encoding");
            self.state.apply(&self.from_wire).expect("balances are large");
            self.decoded.push(entries / start.elapsed().as_secs_f64());
        } else {
            self.state.apply(&quilt).expect("balances are large");
            self.applied.push(entries / start.elapsed().as_secs_f64());
        }
        let start = Instant::now();
        self.state.update_root();
        self.roots.push(start.elapsed().as_secs_f64() * 1e3);
        let seconds = self.change_map(&quilt);
        if !by_wire {
            self.hashed.push(entries / seconds);
        }
    }

    /// Makes a quilt's changes in the map; returns the seconds that it took.
    fn change_map(&mut self, quilt: &Quilt) -> f64 {
        // The keys are at hand for the map: it is not charged for finding them.
        let by_key = |changes: &Changes| -> Vec<(Key, u64)> {
            changes.iter().map(|(account, amount)| (self.genesis[account as usize].0, amount)).collect()
        };
        let (debits, credits) = (by_key(&quilt.delta.debits), by_key(&quilt.delta.credits));
        let start = Instant::now();
        for (key, amount) in &debits {
            let balance = self.map.get_mut(key).expect("known");
            *balance = balance.checked_sub(*amount).expect("large");
        }
        for (key, amount) in &credits {
            let balance = self.map.get_mut(key).expect("known");
            *balance = balance.checked_add(*amount).expect("large");
        }
        start.elapsed().as_secs_f64()
    }

    fn report(self) -> ApplyReport {
        let Bench { options, genesis, state, map, applied, hashed, .. } = self;
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
            accounts: options.accounts,
            entries: options.entries,
            rounds: options.rounds,
            entries_per_s: median(applied),
            decoded_entries_per_s: median(self.decoded),
            hashmap_entries_per_s: median(hashed),
            ratio: median(ratios),
            wire_bytes_per_entry: self.wire_bytes_per_entry,
            root_ms: median(self.roots),
            bytes_per_account: state.bytes() as f64 / options.accounts as f64,
            peak_rss_bytes: peak_rss_bytes(),
            state_root: hex::encode(state.header().root),
        }
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
            "\n  columns over map: {:.1}    wire form: {:.2} bytes an entry\n  \
             new root: {:.1} ms on all cores\n  \
             medians of {} interleaved rounds\n",
            self.ratio, self.wire_bytes_per_entry, self.root_ms, self.rounds
        ));
        text
    }
}
