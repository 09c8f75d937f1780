//! `bench verify`: signatures a second by batch size and backend, where the cycles go, how threads scale, and,
//! interleaved in the same run, two other libraries.

use crate::rivals::{self, Verifiers};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::verify::{KeyCache, Parts, Signed, Simd, Unavailable, Verifier, ticks};
use dynemix_perf::machine::{cores, cpu_model, peak_rss_bytes};
use dynemix_perf::report::{facts, grouped, median, note, table};
use dynemix_workload::{Workload, WorkloadSpec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

const PREFIX: [u8; 32] = [0x5a; 32];
/// Signatures that one measurement handles at least, so that the clock's grain does not matter.
const MEASURED_MIN: usize = 4096;
/// Batches of each thread between two looks at the clock.
const THREAD_BATCHES: usize = 4;
/// Keys that the signatures are of, at least: no cache of the processor holds them all. Rounds go through them in turn.
const KEYS_MIN: usize = 1 << 16;

/// Processors that users have, and what they run. Intel's 12th to 14th generation has AVX-512 switched off.
const GENERATIONS: [(&str, &str); 6] = [
    ("Intel Core i5 and i7, 4th to 10th generation", "avx2"),
    ("Intel Core i5 and i7, 11th, and Ice Lake of the 10th", "avx512"),
    ("Intel Core i5 and i7, 12th to 14th", "avx2"),
    ("Intel Core Ultra 5 and 7, series 200", "avx_ifma"),
    ("AMD Ryzen, Zen to Zen 3", "avx2"),
    ("AMD Ryzen, Zen 4 and 5", "avx512"),
];

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
    /// Numbers of threads that verify at once.
    pub threads: Vec<usize>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions {
            sizes: vec![1, 4, 16, 64, 256, 1024, 4096, 16384],
            rounds: 9,
            seed: 1,
            simd: None,
            invalid_share: 0.01,
            threads: (0..).map(|power| 1 << power).take_while(|&threads| threads < cores()).chain([cores()]).collect(),
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
    /// Ours over the better of dalek's batch and its `verify`, one at a time, in the same round.
    pub ratio: Option<f64>,
    /// commonware's batch on one core, with the best backend it finds.
    pub commonware_per_s: Option<f64>,
    /// Ours over `commonware_per_s`.
    pub ratio_to_commonware: Option<f64>,
    /// Cycles of the time-stamp counter that one of ours takes, by part of the work.
    pub cycles: BTreeMap<&'static str, f64>,
}

/// Verifiers side by side, a batch of 4096 each, keys cached.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadsRow {
    /// Threads at once.
    pub threads: usize,
    /// Signatures of all of them.
    pub per_s: f64,
    /// Of what as many single threads would do.
    pub of_linear: f64,
}

/// What the run came to; rates are medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// Always "verify", for whoever reads the JSON.
    pub bench: &'static str,
    /// Model of the machine's processor.
    pub cpu: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Instructions found that a backend asks for.
    pub features: Vec<&'static str>,
    /// The backend that is measured where there is only one: the best, or the one that was forced.
    pub simd_backend: Simd,
    /// The rate of the time-stamp counter that `cycles` counts.
    pub ticks_per_s: f64,
    /// Rounds in which all were measured by turns.
    pub rounds: usize,
    /// ed25519-dalek's `verify`, one at a time, on one core; none without rivals.
    pub dalek_single_per_s: Option<f64>,
    /// By number of threads.
    pub threads: Vec<ThreadsRow>,
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
    Signed { key: &cell.sender, signature: &cell.signature, prefix: &PREFIX, message: cell.signed_part(), hint: None }
}

fn verify_batches(verifier: &mut Verifier, cells: &[Cell], size: usize, verdicts: &mut Vec<bool>) {
    for batch in cells.chunks(size) {
        verifier.verify(batch.len(), |i| signed(&batch[i]), verdicts);
        assert!(verdicts.iter().all(|&good| good), "the bench's signatures are good");
    }
}

/// Lets every key come twice, in batches of few: only then it has both of its points in the cache.
fn warm(verifier: &mut Verifier, cells: &[Cell]) {
    [1024, 4].into_iter().for_each(|size| verify_batches(verifier, cells, size, &mut Vec::new()));
}

/// A quick measurement of one core, for sizing a load: signatures a second in batches of 1024.
pub fn rate_estimate(seed: u64, simd: Simd) -> f64 {
    let cells = cells(seed, MEASURED_MIN);
    let keys = KeyCache::new(2 * MEASURED_MIN, simd).expect("asked for an available backend");
    let (mut verifier, mut verdicts) = (Verifier::new(Arc::new(keys)), Vec::new());
    warm(&mut verifier, &cells);
    per_second(MEASURED_MIN, || verify_batches(&mut verifier, &cells, 1024, &mut verdicts))
}

/// One of our ways: a backend, with a cache that holds all keys or none to speak of.
struct Way {
    backend: Simd,
    cached: bool,
    verifier: Verifier,
    rates: Vec<Vec<f64>>,
    /// By batch size: where the time went, and for how many signatures.
    parts: Vec<(BTreeMap<&'static str, u64>, usize)>,
}

impl Way {
    fn new(backend: Simd, cached: bool, cells: &[Cell], sizes: usize) -> Result<Way, Unavailable> {
        let keys = KeyCache::new(if cached { 2 * cells.len() } else { 8 }, backend)?;
        let mut verifier = Verifier::new(Arc::new(keys));
        warm(&mut verifier, if cached { cells } else { &cells[..MEASURED_MIN] });
        Ok(Way { backend, cached, verifier, rates: vec![Vec::new(); sizes], parts: vec![Default::default(); sizes] })
    }

    fn measure(&mut self, place: usize, cells: &[Cell], size: usize, verdicts: &mut Vec<bool>) {
        let before = self.verifier.parts();
        let work = || verify_batches(&mut self.verifier, cells, size, verdicts);
        self.rates[place].push(per_second(cells.len(), work));
        let (parts, count) = &mut self.parts[place];
        for ((name, after), (_, before)) in Parts::named(&self.verifier.parts()).into_iter().zip(before.named()) {
            *parts.entry(name).or_default() += after.saturating_sub(before);
        }
        *count += cells.len();
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

    fn measure_batches(&mut self, place: usize, range: Range<usize>, size: usize) {
        if let Some(verifiers) = &self.verifiers {
            self.dalek[place].push(per_second(range.len(), || verifiers.dalek_batches(range.clone(), size)));
            self.commonware[place].push(per_second(range.len(), || verifiers.commonware_batches(range.clone(), size)));
        }
    }

    fn measure_singles(&mut self, range: Range<usize>) {
        if let Some(verifiers) = &self.verifiers {
            self.dalek_singles.push(per_second(range.len(), || verifiers.dalek_singles(range.clone())));
        }
    }

    /// dalek's better way, by round.
    fn dalek_best(&self, place: usize) -> Vec<f64> {
        self.dalek[place].iter().zip(&self.dalek_singles).map(|(batch, singles)| batch.max(*singles)).collect()
    }
}

/// Threads side by side, and one core with broken signatures among the good ones, each round beside a clean run.
struct Whole {
    verifiers: Vec<(Verifier, Vec<bool>)>,
    /// A verifier of its own: it adapts to what it meets.
    failing: Verifier,
    mixed: Vec<Cell>,
    clean: Vec<f64>,
    broken: Vec<f64>,
    /// By place in the options.
    threads: Vec<Vec<f64>>,
}

impl Whole {
    fn new(options: &VerifyOptions, best: Simd, cells: &[Cell]) -> Result<Whole, Unavailable> {
        let mut mixed = cells[..MEASURED_MIN].to_vec();
        let mut choices = dynemix_workload::Choices::new(options.seed, 9);
        mixed.iter_mut().filter(|_| choices.chance(options.invalid_share)).for_each(|cell| cell.signature[33] ^= 1);
        let keys = Arc::new(KeyCache::new(2 * cells.len(), best)?);
        let most = options.threads.iter().copied().max().unwrap_or(1);
        let mut verifiers: Vec<_> = (0..most).map(|_| (Verifier::new(keys.clone()), Vec::new())).collect();
        warm(&mut verifiers[0].0, cells);
        let threads = vec![Vec::new(); options.threads.len()];
        Ok(Whole { verifiers, failing: Verifier::new(keys), mixed, clean: Vec::new(), broken: Vec::new(), threads })
    }

    fn measure(&mut self, options: &VerifyOptions, cells: &[Cell]) {
        let Whole { verifiers, failing, mixed, .. } = self;
        let (verifier, verdicts) = &mut verifiers[0];
        self.clean.push(per_second(MEASURED_MIN, || verify_batches(verifier, cells, MEASURED_MIN, verdicts)));
        self.broken.push(per_second(MEASURED_MIN, || failing.verify(MEASURED_MIN, |i| signed(&mixed[i]), verdicts)));
        for (rates, &count) in self.threads.iter_mut().zip(&options.threads) {
            rates.push(per_second(count * THREAD_BATCHES * MEASURED_MIN, || {
                thread::scope(|scope| {
                    for (verifier, verdicts) in &mut verifiers[..count] {
                        scope.spawn(|| {
                            let one_more = |_| verify_batches(verifier, cells, MEASURED_MIN, verdicts);
                            (0..THREAD_BATCHES).for_each(one_more);
                        });
                    }
                });
            }));
        }
    }
}

/// Measures; `progress` hears how many of how many rounds are done.
///
/// # Errors
/// When the forced backend is not available.
pub fn run(options: &VerifyOptions, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, Unavailable> {
    let cells = cells(options.seed, options.sizes.iter().copied().max().unwrap_or(1).max(KEYS_MIN));
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
    let (start, ticks_before) = (Instant::now(), ticks());
    let mut next = 0;
    for round in 0..options.rounds {
        for (place, &size) in options.sizes.iter().enumerate() {
            let count = size.max(MEASURED_MIN);
            let range = if next + count <= cells.len() { next..next + count } else { 0..count };
            next = range.end;
            ways.iter_mut().for_each(|way| way.measure(place, &cells[range.clone()], size, &mut verdicts));
            beside.measure_batches(place, range, size);
        }
        beside.measure_singles(0..MEASURED_MIN / 4);
        whole.measure(options, &cells[..MEASURED_MIN]);
        progress(round as u64 + 1, options.rounds as u64);
    }
    let ticks_per_s = ticks().saturating_sub(ticks_before) as f64 / start.elapsed().as_secs_f64();
    Ok(report(options, best, ticks_per_s, &ways, &beside, whole))
}

fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

fn report(
    options: &VerifyOptions,
    best: Simd,
    ticks_per_s: f64,
    ways: &[Way],
    beside: &Beside,
    whole: Whole,
) -> VerifyReport {
    let rate = |rates: &[f64]| (!rates.is_empty()).then(|| median(rates.to_vec()));
    let mut batches = Vec::new();
    for way in ways {
        for (place, &size) in options.sizes.iter().enumerate() {
            let (parts, count) = &way.parts[place];
            let (ours, dalek, commonware) = (&way.rates[place], &beside.dalek[place], &beside.commonware[place]);
            batches.push(BatchRow {
                size,
                backend: way.backend,
                cached: way.cached,
                ours_per_s: median(ours.clone()),
                dalek_batch_per_s: rate(dalek),
                ratio: rate(dalek).map(|_| ratio(ours, &beside.dalek_best(place))),
                commonware_per_s: rate(commonware),
                ratio_to_commonware: rate(commonware).map(|_| ratio(ours, commonware)),
                cycles: parts.iter().map(|(&name, &ticks)| (name, ticks as f64 / (*count).max(1) as f64)).collect(),
            });
        }
    }
    let alone =
        options.threads.iter().position(|&threads| threads == 1).map(|place| median(whole.threads[place].clone()));
    let threads = whole.threads.iter().zip(&options.threads).map(|(rates, &threads)| {
        let per_s = median(rates.clone());
        let one = alone.unwrap_or_else(|| median(whole.clean.clone()));
        ThreadsRow { threads, per_s, of_linear: per_s / (threads as f64 * one) }
    });
    VerifyReport {
        bench: "verify",
        cpu: cpu_model(),
        cores: cores(),
        features: Simd::features(),
        simd_backend: best,
        ticks_per_s,
        rounds: options.rounds,
        dalek_single_per_s: rate(&beside.dalek_singles),
        threads: threads.collect(),
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
        let features = if self.features.is_empty() { "none that we use".to_owned() } else { self.features.join(" ") };
        let mut known =
            vec![("CPU", self.cpu.clone()), ("it has", features), ("backend", self.simd_backend.to_string())];
        let singles = self.dalek_single_per_s.map(|singles| format!("{} signatures/s", rate(singles)));
        known.extend(singles.map(|singles| ("dalek, one by one", singles)));
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
        let decoding = match beside {
            true => {
                ", ratios within a round; dalek's first ratio is to the better of its batch and one by one, its keys are \
                 decoded before; commonware decodes them"
            }
            false => "",
        };
        let rounds = format!("medians of {} interleaved rounds{decoding}", self.rounds);
        text.push_str(&format!("\n{}", note(&rounds)));
        text.push_str(&self.cycles_text());
        text.push_str(&self.threads_text());
        text.push_str(&generations_text());
        text.push_str(rivals::HINT_VERIFY);
        text
    }

    /// Where the time of one signature goes, on the best backend.
    fn cycles_text(&self) -> String {
        let columns = ["decode", "hash", "scalars", "additions", "folding", "verdicts", "keys"];
        let is_shown = |row: &&BatchRow| row.backend == self.simd_backend && row.cached;
        let rows = self.batches.iter().filter(is_shown).map(|row| {
            let of = |part: &str| row.cycles.get(part).copied().unwrap_or_default();
            let sorted = |part| if part == "additions" { of(part) + of("sort") } else { of(part) };
            let all: f64 = row.cycles.values().sum();
            let parts = columns.iter().map(|part| grouped(sorted(part) as u64));
            [row.size.to_string()].into_iter().chain(parts).chain([grouped(all as u64)]).collect()
        });
        let heads: Vec<&str> = ["batch"].into_iter().chain(columns).chain(["all"]).collect();
        let below = format!(
            "cycles a signature, {}, keys cached, at {:.2} GHz of the time-stamp counter; additions: with the sorting \
             before; verdicts: batches too small for sums",
            self.simd_backend,
            self.ticks_per_s / 1e9,
        );
        format!("\n{}\n{}", table(&heads, &rows.collect::<Vec<_>>()), note(&below))
    }

    fn threads_text(&self) -> String {
        let row = |row: &ThreadsRow| {
            vec![row.threads.to_string(), grouped(row.per_s as u64), format!("{:.0} %", 100.0 * row.of_linear)]
        };
        let rows: Vec<_> = self.threads.iter().map(row).collect();
        let below = format!("{}, batches of {MEASURED_MIN}", self.simd_backend);
        format!("\n{}\n{}", table(&["threads", "signatures/s", "of linear"], &rows), note(&below))
    }
}

fn generations_text() -> String {
    let rows: Vec<_> =
        GENERATIONS.iter().map(|(name, backend)| vec![(*name).to_owned(), (*backend).to_owned()]).collect();
    format!("\n{}\n", table(&["what others run", "backend"], &rows))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is printed depends on the processor: no name of a backend or of an instruction is wider than there is room.
    #[test]
    fn the_report_of_the_widest_processor_fits_eighty_columns() {
        let batch = |backend, cached| BatchRow {
            size: 16_384,
            backend,
            cached,
            ours_per_s: 9_999_999.0,
            dalek_batch_per_s: Some(999_999.0),
            ratio: Some(99.99),
            commonware_per_s: Some(999_999.0),
            ratio_to_commonware: Some(99.99),
            cycles: ["decode", "hash", "scalars", "additions", "folding", "verdicts", "keys"]
                .map(|part| (part, 999_999.0))
                .into(),
        };
        let features = ["avx2", "fma", "avx_ifma", "avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512ifma"];
        assert!(Simd::features().iter().all(|feature| features.contains(feature)));
        for backend in Simd::ALL {
            let report = VerifyReport {
                bench: "verify",
                cpu: "11th Gen Intel(R) Core(TM) i7-11850HE @ 2.60GHz".to_owned(),
                cores: 128,
                features: features.to_vec(),
                simd_backend: backend,
                ticks_per_s: 2.6e9,
                rounds: 1_000,
                dalek_single_per_s: Some(999_999.0),
                threads: vec![ThreadsRow { threads: 128, per_s: 99_999_999.0, of_linear: 1.0 }],
                invalid_share: 1.0,
                invalid_ratio: 1.0,
                batches: vec![batch(backend, false), batch(backend, true)],
                peak_rss_bytes: 0,
            };
            let text = report.text();
            let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{}", wide.join("\n"));
        }
    }
}
