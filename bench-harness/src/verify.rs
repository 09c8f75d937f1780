//! `bench verify`: signatures a second by batch size and backend, and, interleaved in the same run, two other
//! libraries.

use commonware_cryptography::{BatchEntry, BatchVerifier, Signer};
use commonware_cryptography_curve25519::signing as commonware;
use commonware_parallel::Sequential;
use dynemix_engine::cell::{Cell, SIGNED_BYTES};
use dynemix_engine::verify::{KeyCache, Signed, Simd, Unavailable, Verifier};
use dynemix_perf::machine::{cores, cpu_model, peak_rss_bytes};
use dynemix_perf::report::{facts, grouped, median, table};
use dynemix_workload::{Workload, WorkloadSpec};
use ed25519_dalek::{Signature, VerifyingKey};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
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
    /// Batch sizes.
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
    /// Our backend.
    pub backend: Simd,
    /// Whether our keys were cached (decoded before); dalek's always are, commonware's never.
    pub cached: bool,
    /// Ours on one core.
    pub ours_per_s: f64,
    /// ed25519-dalek's `verify_batch` on one core, with the best backend it finds.
    pub dalek_batch_per_s: f64,
    /// Ours over `dalek_batch_per_s`.
    pub ratio: f64,
    /// commonware's batch on one core, with the best backend it finds.
    pub commonware_per_s: f64,
    /// Ours over `commonware_per_s`.
    pub ratio_to_commonware: f64,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// "verify".
    pub bench: &'static str,
    /// The machine.
    pub cpu: String,
    /// Cores in the all-cores figure.
    pub cores: usize,
    /// The backend that is used when none is forced.
    pub simd_backend: Simd,
    /// Interleaved rounds.
    pub rounds: usize,
    /// ed25519-dalek's `verify`, one at a time, on one core.
    pub dalek_single_per_s: f64,
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

/// A signature as commonware's interface wants it: its own keys, over its own prefix.
struct Foreign {
    key: commonware::VerifyingKey,
    signature: commonware::Signature,
}

struct Input {
    cells: Vec<Cell>,
    messages: Vec<[u8; SIGNED_BYTES]>,
    signatures: Vec<Signature>,
    keys: Vec<VerifyingKey>,
    foreign: Vec<(Foreign, [u8; SIGNED_BYTES])>,
}

const NAMESPACE: &[u8] = b"";

fn input(seed: u64, count: usize) -> Input {
    let spec =
        WorkloadSpec { seed, accounts: count as u64, invalid_share: 0.0, invalid_senders: (1, 1), expires_slot: 1 };
    let cells = Workload::new(&spec, &PREFIX, count as u64, |_| ()).cells;
    let message = |cell: &Cell| {
        let mut message = [0; SIGNED_BYTES];
        message[..32].copy_from_slice(&PREFIX);
        message[32..].copy_from_slice(cell.signed_part());
        message
    };
    let foreign = cells.par_iter().enumerate().map(|(i, cell)| {
        let secret = <commonware::SigningKey as Signer>::from_seed(i as u64);
        let message = message(cell);
        (Foreign { key: secret.verifying_key(), signature: secret.sign(NAMESPACE, &message) }, message)
    });
    Input {
        foreign: foreign.collect(),
        messages: cells.iter().map(message).collect(),
        signatures: cells.iter().map(|cell| Signature::from_bytes(&cell.signature)).collect(),
        keys: cells.iter().map(|cell| VerifyingKey::from_bytes(&cell.sender).expect("a key of ours decodes")).collect(),
        cells,
    }
}

fn per_second(count: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn verify_batches(verifier: &mut Verifier, cells: &[Cell], size: usize, verdicts: &mut Vec<bool>) {
    for batch in cells.chunks(size) {
        let signed = |i: usize| Signed {
            key: &batch[i].sender,
            signature: &batch[i].signature,
            prefix: &PREFIX,
            message: batch[i].signed_part(),
        };
        verifier.verify(batch.len(), signed, verdicts);
        assert!(verdicts.iter().all(|&good| good), "the bench's signatures are good");
    }
}

fn dalek_batches(input: &Input, messages: &[&[u8]], count: usize, size: usize) {
    for start in (0..count).step_by(size) {
        let range = start..(start + size).min(count);
        ed25519_dalek::verify_batch(&messages[range.clone()], &input.signatures[range.clone()], &input.keys[range])
            .expect("good signatures");
    }
}

fn commonware_batches(input: &Input, count: usize, size: usize) {
    let mut rng = UnwrapErr(SysRng);
    for batch in input.foreign[..count].chunks(size) {
        let good = commonware::VerifyingKey::verify_batch(
            &mut rng,
            batch,
            |_, (foreign, message)| BatchEntry {
                namespace: NAMESPACE,
                message,
                public_key: &foreign.key,
                signature: &foreign.signature,
            },
            &Sequential,
        );
        assert!(good, "good signatures");
    }
}

/// A quick measurement of one core, for sizing a load: signatures a second in batches of 1024.
pub fn rate_estimate(seed: u64, simd: Simd) -> f64 {
    let spec = WorkloadSpec {
        seed,
        accounts: MEASURED_MIN as u64,
        invalid_share: 0.0,
        invalid_senders: (1, 1),
        expires_slot: 1,
    };
    let cells = Workload::new(&spec, &PREFIX, MEASURED_MIN as u64, |_| ()).cells;
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

/// Measures; `progress` hears how many of how many rounds are done.
///
/// # Errors
/// When the forced backend is not available.
pub fn run(options: &VerifyOptions, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, Unavailable> {
    let largest = options.sizes.iter().copied().max().unwrap_or(1).max(MEASURED_MIN);
    let input = input(options.seed, largest);
    let messages: Vec<&[u8]> = input.messages.iter().map(|message| &message[..]).collect();
    let backends = match options.simd {
        Some(simd) => vec![simd.required()?],
        None => Simd::available(),
    };
    let best = backends.last().copied().unwrap_or(Simd::Portable);
    let mut verdicts = Vec::new();
    let mut ways = Vec::new();
    for &backend in &backends {
        for cached in [true, false] {
            let keys = KeyCache::new(if cached { 2 * largest } else { 8 }, backend)?;
            let mut verifier = Verifier::new(Arc::new(keys));
            verify_batches(&mut verifier, &input.cells, 1024, &mut verdicts);
            ways.push(Way { backend, cached, verifier, rates: vec![Vec::new(); options.sizes.len()] });
        }
    }
    let mut rivals = vec![[const { Vec::<f64>::new() }; 2]; options.sizes.len()];
    let mut singles = Vec::new();
    let (mut clean, mut broken, mut all_cores) = (Vec::new(), Vec::new(), Vec::new());
    let mut mixed = input.cells[..MEASURED_MIN].to_vec();
    let mut choices = dynemix_workload::Choices::new(options.seed, 9);
    mixed.iter_mut().filter(|_| choices.chance(options.invalid_share)).for_each(|cell| cell.signature[33] ^= 1);
    let keys = Arc::new(KeyCache::new(2 * largest, best)?);
    let mut others: Vec<_> = (0..cores()).map(|_| (Verifier::new(keys.clone()), Vec::new())).collect();
    verify_batches(&mut others[0].0, &input.cells, 1024, &mut verdicts);
    // A verifier of its own: it adapts to what it meets.
    let mut failing = Verifier::new(keys.clone());
    for round in 0..options.rounds {
        for (i, &size) in options.sizes.iter().enumerate() {
            let count = size.max(MEASURED_MIN);
            for way in &mut ways {
                let rate =
                    per_second(count, || verify_batches(&mut way.verifier, &input.cells[..count], size, &mut verdicts));
                way.rates[i].push(rate);
            }
            rivals[i][0].push(per_second(count, || dalek_batches(&input, &messages, count, size)));
            rivals[i][1].push(per_second(count, || commonware_batches(&input, count, size)));
        }
        let count = MEASURED_MIN / 4;
        singles.push(per_second(count, || {
            for ((key, message), signature) in input.keys.iter().zip(&messages).zip(&input.signatures).take(count) {
                key.verify_strict(message, signature).expect("good signatures");
            }
        }));
        let verifier = &mut others[0].0;
        clean.push(per_second(MEASURED_MIN, || {
            verify_batches(verifier, &input.cells[..MEASURED_MIN], MEASURED_MIN, &mut verdicts)
        }));
        broken.push(per_second(MEASURED_MIN, || {
            let signed = |i: usize| Signed {
                key: &mixed[i].sender,
                signature: &mixed[i].signature,
                prefix: &PREFIX,
                message: mixed[i].signed_part(),
            };
            failing.verify(MEASURED_MIN, signed, &mut verdicts);
        }));
        let threads = others.len();
        all_cores.push(per_second(threads * MEASURED_MIN, || {
            others.par_iter_mut().for_each(|(verifier, verdicts)| {
                verify_batches(verifier, &input.cells[..MEASURED_MIN], MEASURED_MIN, verdicts)
            });
        }));
        progress(round as u64 + 1, options.rounds as u64);
    }
    let ratio =
        |ours: &[f64], theirs: &[f64]| median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect());
    let mut batches = Vec::new();
    for way in &ways {
        for (i, &size) in options.sizes.iter().enumerate() {
            let ours = &way.rates[i];
            batches.push(BatchRow {
                size,
                backend: way.backend,
                cached: way.cached,
                ours_per_s: median(ours.clone()),
                dalek_batch_per_s: median(rivals[i][0].clone()),
                ratio: ratio(ours, &rivals[i][0]),
                commonware_per_s: median(rivals[i][1].clone()),
                ratio_to_commonware: ratio(ours, &rivals[i][1]),
            });
        }
    }
    Ok(VerifyReport {
        bench: "verify",
        cpu: cpu_model(),
        cores: cores(),
        simd_backend: best,
        rounds: options.rounds,
        dalek_single_per_s: median(singles),
        all_cores_per_s: median(all_cores),
        invalid_share: options.invalid_share,
        invalid_ratio: ratio(&broken, &clean),
        batches,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

impl VerifyReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let rate = |rate: f64| grouped(rate as u64);
        let rows: Vec<_> = self
            .batches
            .iter()
            .map(|row| {
                vec![
                    format!("{}, key {}", row.backend, if row.cached { "cached" } else { "from bytes" }),
                    row.size.to_string(),
                    rate(row.ours_per_s),
                    rate(row.dalek_batch_per_s),
                    format!("{:.2}", row.ratio),
                    rate(row.commonware_per_s),
                    format!("{:.2}", row.ratio_to_commonware),
                ]
            })
            .collect();
        let mut text = facts(&[
            ("CPU", self.cpu.clone()),
            ("backend by default", self.simd_backend.to_string()),
            ("dalek, one by one", format!("{} signatures/s", rate(self.dalek_single_per_s))),
            (
                "ours, all cores",
                format!(
                    "{} signatures/s on {} cores in batches of {MEASURED_MIN}",
                    rate(self.all_cores_per_s),
                    self.cores
                ),
            ),
            (
                "broken signatures",
                format!(
                    "with {:.1} % broken at random places: {:.0} % of the clean rate",
                    100.0 * self.invalid_share,
                    100.0 * self.invalid_ratio
                ),
            ),
        ]);
        text.push('\n');
        text.push_str(&table(
            &["one core", "batch", "ours/s", "dalek batch/s", "ratio", "commonware/s", "ratio"],
            &rows,
        ));
        text.push_str(&format!(
            "\n  medians of {} interleaved rounds, ratios within a round; dalek has its keys decoded, commonware decodes them\n",
            self.rounds
        ));
        text
    }
}
