//! `bench verify`: signatures a second by batch size, ours and, interleaved in the same run, ed25519-dalek's.

use crate::machine::{cores, cpu_model, peak_rss_bytes};
use crate::report::{facts, grouped, median, table};
use crate::workload::{Workload, WorkloadSpec};
use dynemix_engine::cell::{Cell, SIGNED_BYTES};
use dynemix_engine::verify::{KeyCache, Signed, Verifier, simd_backend};
use ed25519_dalek::{Signature, VerifyingKey};
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
}

impl Default for VerifyOptions {
    fn default() -> Self {
        VerifyOptions { sizes: vec![1, 4, 16, 64, 256, 1024, 4096, 16384], rounds: 9, seed: 1 }
    }
}

/// One batch size.
#[derive(Clone, Debug, Serialize)]
pub struct BatchRow {
    /// Signatures in a batch.
    pub size: usize,
    /// Ours on one core, keys cached.
    pub ours_per_s: f64,
    /// Ours on all cores, a batch each.
    pub ours_all_cores_per_s: f64,
    /// ed25519-dalek's `verify_batch` on one core, keys decoded beforehand.
    pub dalek_batch_per_s: f64,
    /// Ours over `dalek_batch_per_s`.
    pub ratio: f64,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// "verify".
    pub bench: &'static str,
    /// The machine.
    pub cpu: String,
    /// Cores in the all-cores column.
    pub cores: usize,
    /// The vector instructions in use.
    pub simd_backend: &'static str,
    /// Interleaved rounds.
    pub rounds: usize,
    /// ed25519-dalek's `verify`, one at a time, on one core.
    pub dalek_single_per_s: f64,
    /// By size.
    pub batches: Vec<BatchRow>,
    /// Largest resident set.
    pub peak_rss_bytes: u64,
}

struct Input {
    cells: Vec<Cell>,
    messages: Vec<[u8; SIGNED_BYTES]>,
    signatures: Vec<Signature>,
    keys: Vec<VerifyingKey>,
}

fn input(seed: u64, count: usize) -> Input {
    let spec = WorkloadSpec { seed, accounts: count as u64, invalid_share: 0.0, expires_slot: 1 };
    let cells = Workload::new(&spec, &PREFIX, count as u64, |_| ()).cells;
    let message = |cell: &Cell| {
        let mut message = [0; SIGNED_BYTES];
        message[..32].copy_from_slice(&PREFIX);
        message[32..].copy_from_slice(cell.signed_part());
        message
    };
    Input {
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
        let signed =
            |i: usize| Signed { key: &batch[i].sender, signature: &batch[i].signature, prefix: &PREFIX, message: batch[i].signed_part() };
        verifier.verify(batch.len(), signed, verdicts);
        assert!(verdicts.iter().all(|&good| good), "the bench's signatures are good");
    }
}

/// A quick measurement of one core, for sizing a load: signatures a second in batches of 1024.
pub fn rate_estimate(seed: u64) -> f64 {
    let input = input(seed, MEASURED_MIN);
    let keys = Arc::new(KeyCache::new(2 * MEASURED_MIN));
    let (mut verifier, mut verdicts) = (Verifier::new(keys), Vec::new());
    verify_batches(&mut verifier, &input.cells, 1024, &mut verdicts);
    per_second(MEASURED_MIN, || verify_batches(&mut verifier, &input.cells, 1024, &mut verdicts))
}

/// Measures; `progress` hears how many of how many steps are done.
pub fn run(options: &VerifyOptions, mut progress: impl FnMut(u64, u64)) -> VerifyReport {
    let largest = options.sizes.iter().copied().max().unwrap_or(1).max(MEASURED_MIN);
    let input = input(options.seed, largest);
    let messages: Vec<&[u8]> = input.messages.iter().map(|message| &message[..]).collect();
    let keys = Arc::new(KeyCache::new(2 * largest));
    let mut verifier = Verifier::new(keys.clone());
    let mut others: Vec<_> = (0..cores()).map(|_| (Verifier::new(keys.clone()), Vec::new())).collect();
    let mut verdicts = Vec::new();
    verify_batches(&mut verifier, &input.cells, 1024, &mut verdicts);

    let steps = (options.rounds * options.sizes.len()) as u64;
    let mut measured = vec![[const { Vec::<f64>::new() }; 3]; options.sizes.len()];
    let mut singles = Vec::new();
    for round in 0..options.rounds {
        for (i, &size) in options.sizes.iter().enumerate() {
            let count = size.max(MEASURED_MIN);
            let cells = &input.cells[..count];
            measured[i][0].push(per_second(count, || verify_batches(&mut verifier, cells, size, &mut verdicts)));
            measured[i][1].push(per_second(count, || {
                for start in (0..count).step_by(size) {
                    let range = start..(start + size).min(count);
                    ed25519_dalek::verify_batch(&messages[range.clone()], &input.signatures[range.clone()], &input.keys[range])
                        .expect("good signatures");
                }
            }));
            let threads = others.len();
            measured[i][2].push(per_second(count * threads, || {
                others.par_iter_mut().for_each(|(verifier, verdicts)| verify_batches(verifier, cells, size, verdicts));
            }));
            progress((round * options.sizes.len() + i + 1) as u64, steps);
        }
        let count = MEASURED_MIN / 4;
        singles.push(per_second(count, || {
            for ((key, message), signature) in input.keys.iter().zip(&messages).zip(&input.signatures).take(count) {
                key.verify_strict(message, signature).expect("good signatures");
            }
        }));
    }
    let batches = options.sizes.iter().zip(measured).map(|(&size, [ours, dalek, all])| {
        let ratios = ours.iter().zip(&dalek).map(|(ours, dalek)| ours / dalek).collect();
        BatchRow {
            size,
            ours_per_s: median(ours),
            ours_all_cores_per_s: median(all),
            dalek_batch_per_s: median(dalek),
            ratio: median(ratios),
        }
    });
    VerifyReport {
        bench: "verify",
        cpu: cpu_model(),
        cores: cores(),
        simd_backend: simd_backend(),
        rounds: options.rounds,
        dalek_single_per_s: median(singles),
        batches: batches.collect(),
        peak_rss_bytes: peak_rss_bytes(),
    }
}

impl VerifyReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let rows: Vec<_> = self
            .batches
            .iter()
            .map(|row| {
                let rate = |rate: f64| grouped(rate as u64);
                vec![
                    row.size.to_string(),
                    rate(row.ours_per_s),
                    rate(row.dalek_batch_per_s),
                    format!("{:.2}", row.ratio),
                    rate(row.ours_all_cores_per_s),
                ]
            })
            .collect();
        let all_cores = format!("ours/s, {} cores", self.cores);
        let mut text = facts(&[
            ("CPU", self.cpu.clone()),
            ("SIMD backend", self.simd_backend.into()),
            ("dalek, one by one", format!("{} signatures/s", grouped(self.dalek_single_per_s as u64))),
        ]);
        text.push('\n');
        text.push_str(&table(&["batch", "ours/s", "dalek batch/s", "ratio", &all_cores], &rows));
        text.push_str(&format!("\n  medians of {} interleaved rounds; keys cached on both sides; ratio of the same rounds\n", self.rounds));
        text
    }
}
