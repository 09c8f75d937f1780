//! `bench verify`: signatures a second by batch size and backend, and, interleaved in the same run, two other
//! libraries.

use crate::rivals::{self, Verifiers};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::verify::{KeyCache, Signed, Simd, Unavailable, Verifier};
use dynemix_perf::machine::{cores, cpu_model, peak_rss_bytes};
use dynemix_perf::report::{facts, grouped, median, table};
use dynemix_workload::{Workload, WorkloadSpec};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

const PREFIX: [u8; 32] = [0x5a; 32];
/// Signatures that one measurement handles at least, so that the clock's grain does not matter.
const MEASURED_MIN: usize = 4096;

/// What to measure.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Signatures of a batch, for each batch size measured.
    pub sizes: Vec<usize>,
    /// Interleaved rounds; medians are reported.
    pub rounds: usize,
    /// Chooses keys and messages.
    pub seed: u64,
    /// Backends; none: all that the CPU has.
    pub simd: Option<Simd>,
    /// Share of broken signatures in a run of its own.
    pub invalid_share: f64,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions {
            sizes: vec![1, 4, 16, 64, 256, 1024, 4096, 16384],
            rounds: 9,
            seed: 1,
            simd: None,
            invalid_share: 0.01,
        }
    }
}

/// One batch size on one backend.
#[derive(Clone, Debug, Serialize)]
pub struct BatchRow {
    /// Signatures in a batch.
    pub size: usize,
    /// Vector instructions that ours uses.
    pub backend: Simd,
    /// Whether our keys were cached (decoded before); dalek's always are, commonware's never.
    pub cached: bool,
    /// Ours on one core.
    pub ours_per_s: f64,
    /// ed25519-dalek's `verify_batch` on one core, with the best backend it finds; none without rivals.
    pub dalek_batch_per_s: Option<f64>,
    /// Ours over `dalek_batch_per_s`.
    pub ratio: Option<f64>,
    /// commonware's batch on one core, with the best backend it finds.
    pub commonware_per_s: Option<f64>,
    /// Ours over `commonware_per_s`.
    pub ratio_to_commonware: Option<f64>,
}

/// What the run came to; rates are medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// Always "verify", for whoever reads the JSON.
    pub bench: &'static str,
    /// Model of the machine's processor.
    pub cpu: String,
    /// Cores in the all-cores figure.
    pub cores: usize,
    /// The backend that is used when none is forced.
    pub simd_backend: Simd,
    /// Rounds in which all were measured by turns.
    pub rounds: usize,
    /// ed25519-dalek's `verify`, one at a time, on one core; none without rivals.
    pub dalek_single_per_s: Option<f64>,
    /// Ours on all cores, a batch of 4096 each, keys cached.
    pub all_cores_per_s: f64,
    /// Share of broken signatures of the next figure.
    pub invalid_share: f64,
    /// Rate with that share broken over the clean rate, batches of 4096, keys cached, one core.
    pub invalid_ratio: f64,
    /// By backend, size and cache.
    pub batches: Vec<BatchRow>,
    /// Largest resident set.
    pub peak_rss_bytes: u64,
}

fn cells(seed: u64, count: usize) -> Vec<Cell> {
    let spec =
        WorkloadSpec { seed, accounts: count as u64, invalid_share: 0.0, invalid_senders: (1, 1), expires_slot: 1 };
    Workload::new(&spec, &PREFIX, count as u64, |_| ()).cells
}

fn per_second(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn signed(cell: &Cell) -> Signed<'_> {
    Signed { key: &cell.sender, signature: &cell.signature, prefix: &PREFIX, message: cell.signed_part() }
}

fn verify_batches(verifier: &mut Verifier, cells: &[Cell], size: usize, verdicts: &mut Vec<bool>) {
    for batch in cells.chunks(size) {
        verifier.verify(batch.len(), |i| signed(&batch[i]), verdicts);
        assert!(verdicts.iter().all(|&good| good), "the bench's signatures are good");
    }
}

/// A quick measurement of one core, for sizing a load: signatures a second in batches of 1024.
pub fn rate_estimate(seed: u64, simd: Simd) -> f64 {
    let cells = cells(seed, MEASURED_MIN);
    let keys = KeyCache::new(2 * MEASURED_MIN, simd).expect("asked for an available backend");
    let (mut verifier, mut verdicts) = (Verifier::new(Arc::new(keys)), Vec::new());
    verify_batches(&mut verifier, &cells, 1024, &mut verdicts);
    per_second(MEASURED_MIN, || verify_batches(&mut verifier, &cells, 1024, &mut verdicts))
}

/// One of our ways: a backend, with a cache that holds all keys or none to speak of.
struct Way {
    backend: Simd,
    cached: bool,
    verifier: Verifier,
    rates: Vec<Vec<f64>>,
}

impl Way {
    fn new(backend: Simd, cached: bool, cells: &[Cell], sizes: usize) -> Result<Way, Unavailable> {
        let keys = KeyCache::new(if cached { 2 * cells.len() } else { 8 }, backend)?;
        let mut verifier = Verifier::new(Arc::new(keys));
        verify_batches(&mut verifier, cells, 1024, &mut Vec::new());
        Ok(Way { backend, cached, verifier, rates: vec![Vec::new(); sizes] })
    }
}

/// Signatures a second of the others, by batch size and round; empty where they were not built.
struct Beside {
    verifiers: Option<Verifiers>,
    dalek: Vec<Vec<f64>>,
    commonware: Vec<Vec<f64>>,
    dalek_singles: Vec<f64>,
}

impl Beside {
    fn new(cells: &[Cell], sizes: usize) -> Beside {
        let rates = vec![Vec::new(); sizes];
        let verifiers = Verifiers::new(cells, &PREFIX);
        Beside { verifiers, dalek: rates.clone(), commonware: rates, dalek_singles: Vec::new() }
    }

    fn measure_batches(&mut self, place: usize, count: usize, size: usize) {
        if let Some(verifiers) = &self.verifiers {
            self.dalek[place].push(per_second(count, || verifiers.dalek_batches(count, size)));
            self.commonware[place].push(per_second(count, || verifiers.commonware_batches(count, size)));
        }
    }

    fn measure_singles(&mut self, count: usize) {
        if let Some(verifiers) = &self.verifiers {
            self.dalek_singles.push(per_second(count, || verifiers.dalek_singles(count)));
        }
    }
}

/// All cores at once, and one core with broken signatures among the good ones, each round beside a clean run.
struct Whole {
    others: Vec<(Verifier, Vec<bool>)>,
    /// A verifier of its own: it adapts to what it meets.
    failing: Verifier,
    mixed: Vec<Cell>,
    clean: Vec<f64>,
    broken: Vec<f64>,
    all_cores: Vec<f64>,
}

impl Whole {
    fn new(options: &VerifyOptions, best: Simd, cells: &[Cell]) -> Result<Whole, Unavailable> {
        let mut mixed = cells[..MEASURED_MIN].to_vec();
        let mut choices = dynemix_workload::Choices::new(options.seed, 9);
        mixed.iter_mut().filter(|_| choices.chance(options.invalid_share)).for_each(|cell| cell.signature[33] ^= 1);
        let keys = Arc::new(KeyCache::new(2 * cells.len(), best)?);
        let mut others: Vec<_> = (0..cores()).map(|_| (Verifier::new(keys.clone()), Vec::new())).collect();
        verify_batches(&mut others[0].0, cells, 1024, &mut Vec::new());
        let failing = Verifier::new(keys);
        Ok(Whole { others, failing, mixed, clean: Vec::new(), broken: Vec::new(), all_cores: Vec::new() })
    }

    fn measure(&mut self, cells: &[Cell]) {
        let Whole { others, failing, mixed, .. } = self;
        let (verifier, verdicts) = &mut others[0];
        self.clean.push(per_second(MEASURED_MIN, || verify_batches(verifier, cells, MEASURED_MIN, verdicts)));
        self.broken.push(per_second(MEASURED_MIN, || failing.verify(MEASURED_MIN, |i| signed(&mixed[i]), verdicts)));
        self.all_cores.push(per_second(others.len() * MEASURED_MIN, || {
            others
                .par_iter_mut()
                .for_each(|(verifier, verdicts)| verify_batches(verifier, cells, MEASURED_MIN, verdicts));
        }));
    }
}

/// Measures; `progress` hears how many of how many rounds are done.
///
/// # Errors
/// When the forced backend is not available.
pub fn run(options: &VerifyOptions, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, Unavailable> {
    let cells = cells(options.seed, options.sizes.iter().copied().max().unwrap_or(1).max(MEASURED_MIN));
    let backends = match options.simd {
        Some(simd) => vec![simd.required()?],
        None => Simd::available(),
    };
    let best = backends.last().copied().unwrap_or(Simd::Portable);
    let mut ways = Vec::new();
    for &backend in &backends {
        for cached in [true, false] {
            ways.push(Way::new(backend, cached, &cells, options.sizes.len())?);
        }
    }
    let mut beside = Beside::new(&cells, options.sizes.len());
    let mut whole = Whole::new(options, best, &cells)?;
    let mut verdicts = Vec::new();
    for round in 0..options.rounds {
        for (place, &size) in options.sizes.iter().enumerate() {
            let count = size.max(MEASURED_MIN);
            for way in &mut ways {
                let work = || verify_batches(&mut way.verifier, &cells[..count], size, &mut verdicts);
                way.rates[place].push(per_second(count, work));
            }
            beside.measure_batches(place, count, size);
        }
        beside.measure_singles(MEASURED_MIN / 4);
        whole.measure(&cells[..MEASURED_MIN]);
        progress(round as u64 + 1, options.rounds as u64);
    }
    Ok(report(options, best, &ways, &beside, whole))
}

fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

fn report(options: &VerifyOptions, best: Simd, ways: &[Way], beside: &Beside, whole: Whole) -> VerifyReport {
    let rate = |rates: &[f64]| (!rates.is_empty()).then(|| median(rates.to_vec()));
    let mut batches = Vec::new();
    for way in ways {
        for (place, &size) in options.sizes.iter().enumerate() {
            let (ours, dalek, commonware) = (&way.rates[place], &beside.dalek[place], &beside.commonware[place]);
            batches.push(BatchRow {
                size,
                backend: way.backend,
                cached: way.cached,
                ours_per_s: median(ours.clone()),
                dalek_batch_per_s: rate(dalek),
                ratio: rate(dalek).map(|_| ratio(ours, dalek)),
                commonware_per_s: rate(commonware),
                ratio_to_commonware: rate(commonware).map(|_| ratio(ours, commonware)),
            });
        }
    }
    VerifyReport {
        bench: "verify",
        cpu: cpu_model(),
        cores: cores(),
        simd_backend: best,
        rounds: options.rounds,
        dalek_single_per_s: rate(&beside.dalek_singles),
        all_cores_per_s: median(whole.all_cores),
        invalid_share: options.invalid_share,
        invalid_ratio: ratio(&whole.broken, &whole.clean),
        batches,
        peak_rss_bytes: peak_rss_bytes(),
    }
}

impl VerifyReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let rate = |rate: f64| grouped(rate as u64);
        let mut known = vec![("CPU", self.cpu.clone()), ("backend by default", self.simd_backend.to_string())];
        let singles = self.dalek_single_per_s.map(|singles| format!("{} signatures/s", rate(singles)));
        known.extend(singles.map(|singles| ("dalek, one by one", singles)));
        let all_cores = rate(self.all_cores_per_s);
        known.push((
            "ours, all cores",
            format!("{all_cores} signatures/s on {} cores in batches of {MEASURED_MIN}", self.cores),
        ));
        let (share, of_clean) = (100.0 * self.invalid_share, 100.0 * self.invalid_ratio);
        known.push((
            "broken signatures",
            format!("with {share:.1} % broken at random places: {of_clean:.0} % of the clean rate"),
        ));
        let mut text = facts(&known);
        text.push('\n');
        let beside = self.dalek_single_per_s.is_some();
        let rows: Vec<_> = self.batches.iter().map(BatchRow::columns).collect();
        let heads: &[&str] = match beside {
            true => &["one core", "batch", "ours/s", "dalek batch/s", "ratio", "commonware/s", "ratio"],
            false => &["one core", "batch", "ours/s"],
        };
        text.push_str(&table(heads, &rows));
        let decoding =
            if beside { ", ratios within a round;\n  dalek has its keys decoded, commonware decodes them" } else { "" };
        text.push_str(&format!("\n  medians of {} interleaved rounds{decoding}\n", self.rounds));
        text.push_str(rivals::HINT_VERIFY);
        text
    }
}

impl BatchRow {
    fn columns(&self) -> Vec<String> {
        let rate = |rate: f64| grouped(rate as u64);
        let name = format!("{}, key {}", self.backend, if self.cached { "cached" } else { "from bytes" });
        let mut columns = vec![name, self.size.to_string(), rate(self.ours_per_s)];
        let others = [(self.dalek_batch_per_s, self.ratio), (self.commonware_per_s, self.ratio_to_commonware)];
        for (theirs, ratio) in others {
            columns.extend(theirs.map(rate));
            columns.extend(ratio.map(|ratio| format!("{ratio:.2}")));
        }
        columns
    }
}
