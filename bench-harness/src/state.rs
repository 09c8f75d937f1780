//! `bench state`: a block's changes made durable, against embedded databases that make the same changes durable in the
//! same run where the program is built with them. The state under test comes in through a trait.

use crate::apply::random_quilt;
use crate::rivals::{self, Databases};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::base::hash::Hash;
use dynemix_perf::machine::{cores, cpu_model, peak_rss_bytes};
use dynemix_perf::report::{facts, grouped, median, note, table};
use dynemix_workload::Choices;
use serde::Serialize;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// What every account has at first.
pub const BALANCE: u64 = 1 << 40;

/// What to measure.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// Accounts that the store is made with.
    pub accounts: u64,
    /// Entries of a quilt: half debits, half credits.
    pub entries: usize,
    /// Interleaved rounds; medians are reported.
    pub rounds: usize,
    /// Whether redb and SQLite run beside.
    pub rivals: bool,
    /// Chooses the entries.
    pub seed: u64,
}

impl Default for StateOptions {
    fn default() -> Self {
        StateOptions { accounts: 10_000_000, entries: 200_000, rounds: 7, rivals: true, seed: 1 }
    }
}

/// Seconds that the parts of one durable block took.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitTimes {
    /// Writing the log's record.
    pub write_s: f64,
    /// The disk's sync.
    pub sync_s: f64,
    /// Changing the columns.
    pub apply_s: f64,
    /// Hashing the touched paths, on one core.
    pub root_s: f64,
}

/// A durable state to measure.
pub trait StateUnderTest {
    /// Height, slot and root now.
    fn header(&self) -> (u64, u64, Hash);
    /// Makes a quilt durable and applies it; `wire` is its wire form.
    ///
    /// # Errors
    /// When the disk fails.
    fn commit(&mut self, quilt: &Quilt, wire: &[u8]) -> Result<CommitTimes, Box<dyn Error>>;
    /// Balance of an account.
    fn balance(&self, account: u32) -> u64;
    /// Appends blocks until a restart has as much to replay as it ever has, forgets everything in memory, and opens
    /// again. Returns how many records were replayed and the seconds that it took.
    ///
    /// # Errors
    /// When the disk fails or the state comes back another one.
    fn crash_and_open(&mut self, quilt: &mut dyn FnMut(u64, u64, Hash) -> Quilt) -> Result<(u64, f64), Box<dyn Error>>;
    /// Writes a checkpoint; returns pages, pages written, and seconds.
    ///
    /// # Errors
    /// When the disk fails.
    fn checkpoint(&mut self) -> Result<(u64, u64, f64), Box<dyn Error>>;
}

/// What the run came to; times are medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct StateReport {
    /// Always "state", for whoever reads the JSON.
    pub bench: &'static str,
    /// Model of the machine's processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Accounts that the store was made with.
    pub accounts: u64,
    /// Entries of a quilt.
    pub entries: usize,
    /// Blocks that were made durable, one a round.
    pub rounds: usize,
    /// Milliseconds of a durable block: log, sync, columns.
    pub durable_ms: f64,
    /// The same without the disk's sync.
    pub durable_without_sync_ms: f64,
    /// The disk's sync.
    pub sync_ms: f64,
    /// Changing the columns only, in milliseconds.
    pub apply_ms: f64,
    /// Nanoseconds an entry of the columns.
    pub apply_ns_per_entry: f64,
    /// New root after the block, on one core.
    pub root_one_core_ms: f64,
    /// redb, the same changes in one transaction.
    pub redb_ms: Option<f64>,
    /// SQLite, the same.
    pub sqlite_ms: Option<f64>,
    /// `redb_ms` over `durable_ms`, round by round, the median.
    pub ratio_to_redb: Option<f64>,
    /// `sqlite_ms` over `durable_ms`.
    pub ratio_to_sqlite: Option<f64>,
    /// Seconds to make the store.
    pub create_s: f64,
    /// Seconds to open it after a crash.
    pub open_after_crash_s: f64,
    /// Records that were replayed then.
    pub replayed: u64,
    /// Pages of the image.
    pub image_pages: u64,
    /// Pages that the checkpoint wrote.
    pub checkpoint_pages_written: u64,
    /// Seconds of the checkpoint.
    pub checkpoint_s: f64,
    /// Largest resident set, mapped files included.
    pub peak_rss_bytes: u64,
    /// Root at the end.
    pub state_root: String,
}

/// What the rounds took: ours in parts, the databases' as a whole.
#[derive(Default)]
struct Rounds {
    ours: Vec<CommitTimes>,
    redb_s: Vec<f64>,
    sqlite_s: Vec<f64>,
}

/// Measures; `create` makes the state under test, `directory` is for the rivals' files, `progress` hears what is being
/// done.
///
/// # Errors
/// When a disk or a database fails, or the three do not hold the same balances in the end.
pub fn run(
    options: &StateOptions,
    directory: &Path,
    create: impl FnOnce() -> Result<Box<dyn StateUnderTest>, Box<dyn Error>>,
    mut progress: impl FnMut(&str),
) -> Result<StateReport, Box<dyn Error>> {
    progress("making the store");
    let start = Instant::now();
    let mut state = create()?;
    let create_s = start.elapsed().as_secs_f64();
    let mut choices = Choices::new(options.seed, 5);
    let rounds = measure(options, directory, &mut *state, &mut choices, &mut progress)?;
    progress("writing a checkpoint");
    let checkpoint = state.checkpoint()?;
    progress("filling the log, crashing, opening");
    let opened = state.crash_and_open(&mut |height, slot, root| {
        random_quilt(&mut choices, options.accounts, options.entries, height, slot, root)
    })?;
    Ok(report(options, &rounds, create_s, checkpoint, opened, &state.header().2))
}

/// The same changes in each, round by round; the same balances in each at the end.
fn measure(
    options: &StateOptions,
    directory: &Path,
    state: &mut dyn StateUnderTest,
    choices: &mut Choices,
    progress: &mut impl FnMut(&str),
) -> Result<Rounds, Box<dyn Error>> {
    let mut rivals =
        if options.rivals { Databases::create(directory, options.accounts, BALANCE, &mut *progress)? } else { None };
    let (mut rounds, mut wire) = (Rounds::default(), Vec::new());
    for round in 0..options.rounds {
        progress(&format!("round {} of {}", round + 1, options.rounds));
        let (height, slot, root) = state.header();
        let quilt = random_quilt(choices, options.accounts, options.entries, height + 1, slot + 1, root);
        wire.clear();
        quilt.encode(&mut wire);
        rounds.ours.push(state.commit(&quilt, &wire)?);
        if let Some(databases) = &mut rivals {
            let [redb_s, sqlite_s] = databases.commit(&quilt)?;
            rounds.redb_s.push(redb_s);
            rounds.sqlite_s.push(sqlite_s);
        }
    }
    if let Some(databases) = &rivals {
        for account in (0..options.accounts as u32).step_by(997) {
            let balance = state.balance(account);
            if databases.balances(account)? != [balance; 2] {
                return Err(format!("account {account} has other balances in the databases").into());
            }
        }
    }
    Ok(rounds)
}

fn report(
    options: &StateOptions,
    rounds: &Rounds,
    create_s: f64,
    (image_pages, checkpoint_pages_written, checkpoint_s): (u64, u64, f64),
    (replayed, open_after_crash_s): (u64, f64),
    root: &Hash,
) -> StateReport {
    let Rounds { ours, redb_s, sqlite_s } = rounds;
    let part = |part: fn(&CommitTimes) -> f64| median(ours.iter().map(|times| 1e3 * part(times)).collect());
    let durable: Vec<f64> = ours.iter().map(|times| times.write_s + times.sync_s + times.apply_s).collect();
    let ratio = |rival: &[f64]| {
        (!rival.is_empty()).then(|| median(rival.iter().zip(&durable).map(|(rival, ours)| rival / ours).collect()))
    };
    let rival_ms = |rival: &[f64]| (!rival.is_empty()).then(|| 1e3 * median(rival.to_vec()));
    StateReport {
        bench: "state",
        cpu: cpu_model(),
        cores: cores(),
        accounts: options.accounts,
        entries: options.entries,
        rounds: options.rounds,
        durable_ms: 1e3 * median(durable.clone()),
        durable_without_sync_ms: part(|times| times.write_s + times.apply_s),
        sync_ms: part(|times| times.sync_s),
        apply_ms: part(|times| times.apply_s),
        apply_ns_per_entry: 1e6 * part(|times| times.apply_s) / options.entries as f64,
        root_one_core_ms: part(|times| times.root_s),
        redb_ms: rival_ms(redb_s),
        sqlite_ms: rival_ms(sqlite_s),
        ratio_to_redb: ratio(redb_s),
        ratio_to_sqlite: ratio(sqlite_s),
        create_s,
        open_after_crash_s,
        replayed,
        image_pages,
        checkpoint_pages_written,
        checkpoint_s,
        peak_rss_bytes: peak_rss_bytes(),
        state_root: hex::encode(root),
    }
}

impl StateReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = facts(&[
            ("CPU", format!("{}, {} cores", self.cpu, self.cores)),
            ("accounts", grouped(self.accounts)),
            ("entries a block", grouped(self.entries as u64)),
            ("state root", self.state_root.clone()),
        ]);
        text.push('\n');
        let row = |name: &str, ms: f64, ratio: Option<f64>| {
            vec![name.into(), format!("{ms:.1}"), ratio.map_or(String::new(), |ratio| format!("{ratio:.1}"))]
        };
        let mut rows = vec![row("a durable block: log, sync, columns", self.durable_ms, Some(1.0))];
        rows.extend(self.redb_ms.map(|ms| row("redb, the same changes", ms, self.ratio_to_redb)));
        rows.extend(self.sqlite_ms.map(|ms| row("SQLite (WAL, FULL), the same changes", ms, self.ratio_to_sqlite)));
        text.push_str(&table(&["durable", "ms", "times ours"], &rows));
        text.push('\n');
        text.push_str(&facts(&[
            (
                "without the disk's sync",
                format!("{:.1} ms, the sync {:.1} ms", self.durable_without_sync_ms, self.sync_ms),
            ),
            ("columns", format!("{:.1} ms, {:.1} ns an entry", self.apply_ms, self.apply_ns_per_entry)),
            ("new root, one core", format!("{:.1} ms", self.root_one_core_ms)),
            (
                "checkpoint",
                format!(
                    "{:.2} s, {} of {} pages written",
                    self.checkpoint_s,
                    grouped(self.checkpoint_pages_written),
                    grouped(self.image_pages)
                ),
            ),
            ("open after a crash", format!("{:.2} s, {} blocks replayed", self.open_after_crash_s, self.replayed)),
            ("make the store", format!("{:.1} s", self.create_s)),
            (
                "peak memory",
                format!(
                    "{} (page cache of mapped files and the databases included)",
                    dynemix_perf::report::bytes(self.peak_rss_bytes)
                ),
            ),
        ]));
        text.push_str(&note(&format!("medians of {} interleaved rounds", self.rounds)));
        text.push_str(rivals::HINT_STATE);
        text
    }
}
