//! `bench engine`: real signed transactions over loopback TCP into durable state, and how many a second.
//!
//! The bench starts an engine in this process (through [`EngineUnderTest`], since composing one is the node's business)
//! and the load generator in another, watches, and reports.

use crate::generator::{GeneratorMessage, GeneratorOrder, GeneratorResult};
use crate::verify::rate_estimate;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::verify::Simd;
use dynemix_perf::machine::{cores, cpu_model, cpu_time, peak_rss_bytes};
use dynemix_perf::report::{bar, bytes, facts, grouped, table};
use dynemix_workload::new_keys;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The user's target on an i5/i7 box.
pub const TARGET_TPS: f64 = 10_000.0;
/// The paper's four figures: setting and transactions a second.
pub const PAPER_TPS: [(&str, f64); 4] = [
    ("10 Mbit/s, one i5 core, blockchain mode", 600.0),
    ("10 Mbit/s, one i5 core, quilt mode", 2_400.0),
    ("100 Mbit/s, whole i7, blockchain mode", 4_000.0),
    ("100 Mbit/s, whole i7, quilt mode", 16_000.0),
];
/// The largest load that is signed beforehand: 192 bytes each.
const TRANSACTIONS_MAX: u64 = 30_000_000;
/// Transactions under way at most; three quarters of the arena, so that nothing is ever `busy`.
const WINDOW_MAX: u64 = 3 << 18;
/// `expires_slot` of the load: within the window of a chain that begins at slot 0, beyond the end of any run.
pub const EXPIRES_SLOT: u64 = 4_000;
/// Transactions a block in runs of a fixed number.
pub const FIXED_BLOCK: u64 = 100_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Accounts at genesis.
    pub accounts: u64,
    /// Time of sending.
    pub seconds: f64,
    /// Exactly so many transactions, in blocks by number and not by time: the root is the same on every run.
    pub transactions: Option<u64>,
    /// Verifying threads and threads of parallel steps.
    pub cores: usize,
    /// Connections.
    pub connections: usize,
    /// Share of broken signatures.
    pub invalid_share: f64,
    /// Share of the connections that send broken signatures.
    pub invalid_connections: f64,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Offered transactions a second; none: as many as the engine takes.
    pub rate: Option<u64>,
    /// Chooses the workload.
    pub seed: u64,
    /// Backend of verification.
    pub simd: Simd,
    /// Show progress.
    pub progress: bool,
}

/// What the bench asks the node to start.
#[derive(Clone, Copy, Debug)]
pub struct EngineSetup {
    /// Accounts at genesis, by [`dynemix_workload::genesis`] from `seed`.
    pub accounts: u64,
    /// Room for this many accounts.
    pub accounts_max: u64,
    /// Seed of the genesis accounts.
    pub seed: u64,
    /// Verifying threads.
    pub cores: usize,
    /// Their backend.
    pub simd: Simd,
    /// Connections to come.
    pub connections: usize,
    /// Milliseconds of a slot, when blocks go by time.
    pub slot_ms: u64,
    /// Transactions of a block and in all, when blocks go by number.
    pub counted: Option<(u64, u64)>,
}

/// Time of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    /// The stage.
    pub name: String,
    /// At work.
    pub busy_s: f64,
    /// Waiting for downstream or the disk.
    pub blocked_s: f64,
    /// Waiting for something to do.
    pub idle_s: f64,
}

/// What a stopped engine tells of itself.
#[derive(Clone, Debug)]
pub struct EngineSummary {
    /// Blocks.
    pub height: u64,
    /// Accounts at the end.
    pub accounts: u64,
    /// Root of the state.
    pub state_root: Hash,
    /// Balances and pools sum to the supply.
    pub supply_conserved: bool,
    /// Bytes of state an account.
    pub bytes_per_account: f64,
    /// What the topology declares.
    pub declared_bytes: u64,
    /// Bytes of all quilts.
    pub quilt_bytes: u64,
    /// Transactions of the largest block.
    pub block_transactions_max: u64,
    /// Signatures of an average batch.
    pub verify_batch_mean: f64,
    /// Arena slots that did not come back.
    pub slots_lost: u64,
    /// Stage by stage.
    pub stages: Vec<StageRow>,
}

/// A running engine.
pub trait EngineUnderTest {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// Its genesis hash and its prefix of transactions.
    fn chain(&self) -> (Hash, Hash);
    /// Rows of what it allocated: name and bytes.
    fn pools(&self) -> Vec<(String, u64)>;
    /// Final transactions so far.
    fn finals(&self) -> u64;
    /// Stops it; an error in words.
    fn stop(self: Box<Self>) -> Result<EngineSummary, String>;
}

/// Latency in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct EngineReport {
    /// "engine".
    pub bench: &'static str,
    /// The machine.
    pub cpu: String,
    /// Cores of the machine that this process may use.
    pub machine_cores: usize,
    /// Verifying threads.
    pub cores: usize,
    /// The vector instructions in use.
    pub simd_backend: Simd,
    /// Accounts at genesis.
    pub accounts: u64,
    /// Accounts at the end.
    pub accounts_end: u64,
    /// Connections.
    pub connections: usize,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Chose the workload.
    pub seed: u64,
    /// Transactions sent and answered.
    pub offered: u64,
    /// Final ones.
    #[serde(rename = "final")]
    pub finals: u64,
    /// Final ones a second on connections that send no broken signatures.
    pub honest_tps_final: f64,
    /// Refused ones by reason.
    pub refused: BTreeMap<String, u64>,
    /// Seconds from the first send to the last answer.
    pub elapsed_s: f64,
    /// Final transactions a second over that time.
    pub tps_final: f64,
    /// The user's target.
    pub target_tps: f64,
    /// `tps_final` over it.
    pub ratio_to_target: f64,
    /// `tps_final` over each of the paper's figures.
    pub ratio_to_paper: BTreeMap<String, f64>,
    /// From intended send time to the final answer.
    pub latency_ms: Latency,
    /// Time by stage.
    pub stages: Vec<StageRow>,
    /// CPU seconds of the engine during the run.
    pub engine_cpu_s: f64,
    /// CPU seconds of the generator during the run, signing not included.
    pub generator_cpu_s: f64,
    /// The generator, not the engine, was the limit.
    pub generator_limited: bool,
    /// Bytes of state an account.
    pub bytes_per_account: f64,
    /// What the topology declares.
    pub declared_bytes: u64,
    /// Largest resident set of the engine's process.
    pub peak_rss_bytes: u64,
    /// Blocks.
    pub height: u64,
    /// Transactions of the largest block.
    pub block_transactions_max: u64,
    /// Bytes of quilt for each final transaction.
    pub quilt_bytes_per_transaction: f64,
    /// Signatures of an average batch.
    pub verify_batch_mean: f64,
    /// Balances and pools sum to the supply at the end.
    pub supply_conserved: bool,
    /// Root of the state.
    pub state_root: String,
}

/// Why a bench failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineBenchError {
    /// The options make no sense.
    #[error("{0}")]
    Options(String),
    /// The engine did not start or stop.
    #[error("the engine: {0}")]
    Engine(String),
    /// The generator did not run.
    #[error("the load generator: {0}")]
    Generator(String),
    /// The numbers do not add up.
    #[error("the result is wrong: {0}")]
    Result(String),
}

impl From<io::Error> for EngineBenchError {
    fn from(error: io::Error) -> Self {
        EngineBenchError::Generator(error.to_string())
    }
}

/// The generator's process; killed when dropped early.
struct Generator {
    child: Child,
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures. `start` starts an engine; `generator` is the command whose process becomes the generator.
///
/// # Errors
/// When the engine or the generator fails, or when money was made or lost.
pub fn run(
    options: &EngineOptions,
    start: impl FnOnce(EngineSetup) -> Result<Box<dyn EngineUnderTest>, String>,
    generator: Command,
) -> Result<EngineReport, EngineBenchError> {
    if options.accounts == 0 || options.connections == 0 || options.cores == 0 || options.slot_ms == 0 {
        return Err(EngineBenchError::Options(
            "--accounts, --connections, --cores and --slot-ms must be at least 1".into(),
        ));
    }
    for (flag, share) in
        [("--invalid-share", options.invalid_share), ("--invalid-connections", options.invalid_connections)]
    {
        if !(0.0..=1.0).contains(&share) {
            return Err(EngineBenchError::Options(format!("{flag} is a share between 0 and 1, not {share}")));
        }
    }
    // What verification alone would allow; the engine cannot do more.
    let verify_rate = rate_estimate(options.seed, options.simd) * options.cores as f64;
    let transactions = options.transactions.unwrap_or_else(|| {
        let limit = options.rate.map_or(verify_rate * 1.25, |rate| rate as f64);
        (limit * options.seconds) as u64
    });
    let transactions = transactions.clamp(1, TRANSACTIONS_MAX);
    let fixed = options.transactions.is_some();
    let wave = FIXED_BLOCK.min(options.accounts).min(WINDOW_MAX / 2);
    let accounts_max = options.accounts + new_keys(transactions);
    if accounts_max > u64::from(u32::MAX) / 2 {
        return Err(EngineBenchError::Options(format!("{accounts_max} accounts do not fit 31 bits")));
    }
    let engine = start(EngineSetup {
        accounts: options.accounts,
        accounts_max,
        seed: options.seed,
        cores: options.cores,
        simd: options.simd,
        connections: options.connections,
        slot_ms: options.slot_ms,
        counted: fixed.then_some((wave, transactions)),
    })
    .map_err(EngineBenchError::Engine)?;
    let pools = engine.pools();
    let sum: u64 = pools.iter().map(|pool| pool.1).sum();
    let rows: Vec<_> = pools.iter().map(|(name, size)| vec![name.clone(), bytes(*size)]).collect();
    eprintln!("{}", table(&["memory, allocated at start", &bytes(sum)], &rows));
    let (genesis_hash, transaction_prefix) = engine.chain();
    let order = GeneratorOrder {
        address: engine.address(),
        genesis_hash,
        transaction_prefix,
        seed: options.seed,
        accounts: options.accounts,
        invalid_share: options.invalid_share,
        invalid_connections: (options.invalid_connections * options.connections as f64).round() as usize,
        expires_slot: EXPIRES_SLOT,
        transactions,
        seconds: (!fixed).then_some(options.seconds),
        wave: fixed.then_some(wave),
        rate: options.rate,
        connections: options.connections,
        // A sender has at most eight transactions waiting: with few accounts the window is theirs, not the arena's.
        window: window(options, verify_rate).min(options.accounts * 4),
    };
    let (result, engine_cpu) = drive(options, &order, &*engine, generator)?;
    let finals_seen = engine.finals();
    let summary = engine.stop().map_err(EngineBenchError::Engine)?;
    check(&order, &result, &summary, finals_seen)?;
    Ok(report(options, &result, &summary, engine_cpu))
}

/// Transactions under way: what two slots could bring at most, so that the engine never waits and little more than
/// needed lies in queues; bounded by the arena.
fn window(options: &EngineOptions, verify_rate: f64) -> u64 {
    let slots = 2.0 * verify_rate * options.slot_ms as f64 / 1e3;
    (slots as u64).clamp(1 << 14, WINDOW_MAX)
}

/// Runs the generator against the engine; returns its result and the engine's CPU time meanwhile.
fn drive(
    options: &EngineOptions,
    order: &GeneratorOrder,
    engine: &dyn EngineUnderTest,
    mut command: Command,
) -> Result<(GeneratorResult, Duration), EngineBenchError> {
    let mut generator = Generator { child: command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()? };
    let mut input = generator.child.stdin.take().expect("piped");
    let output = BufReader::new(generator.child.stdout.take().expect("piped"));
    serde_json::to_writer(&mut input, order).map_err(io::Error::from)?;
    input.write_all(b"\n")?;
    let mut progress = bar(options.progress, order.transactions, "signing the load");
    let (mut start, mut cpu_start) = (Instant::now(), cpu_time());
    for line in output.lines() {
        let message = serde_json::from_str(&line?).map_err(io::Error::from)?;
        match message {
            GeneratorMessage::Signed(count) => progress.set_position(count),
            GeneratorMessage::Ready => {
                progress.finish_and_clear();
                progress = match order.seconds {
                    Some(seconds) => bar(options.progress, (seconds * 1e3) as u64, "running (ms)"),
                    None => bar(options.progress, order.transactions, "running"),
                };
                (start, cpu_start) = (Instant::now(), cpu_time());
                input.write_all(b"go\n")?;
            }
            GeneratorMessage::Answered(count) => match order.seconds {
                Some(seconds) => {
                    progress.set_position((start.elapsed().as_millis() as u64).min((seconds * 1e3) as u64));
                    let tps = engine.finals() as f64 / start.elapsed().as_secs_f64();
                    progress.set_message(format!("{} TPS final", grouped(tps as u64)));
                }
                None => progress.set_position(count),
            },
            GeneratorMessage::Result(result) => {
                progress.finish_and_clear();
                return Ok((*result, cpu_time() - cpu_start));
            }
            GeneratorMessage::Failed(why) => return Err(EngineBenchError::Generator(why)),
        }
    }
    Err(EngineBenchError::Generator("ended without a result".into()))
}

/// The generator's and the engine's books must agree, or the bench measured something else.
fn check(
    order: &GeneratorOrder,
    result: &GeneratorResult,
    summary: &EngineSummary,
    finals: u64,
) -> Result<(), EngineBenchError> {
    let refused: u64 = result.refused.values().sum();
    let broken = |what: String| Err(EngineBenchError::Result(what));
    if result.finals != finals {
        return broken(format!("{finals} transactions are final, {} were answered as final", result.finals));
    }
    if result.offered != result.finals + refused {
        return broken(format!("{} offered, but {} final and {refused} refused", result.offered, result.finals));
    }
    if order.wave.is_some() && result.offered != order.transactions {
        return broken(format!("{} of {} transactions were offered", result.offered, order.transactions));
    }
    if !summary.supply_conserved {
        return broken("the balances do not sum to the supply".into());
    }
    if summary.slots_lost != 0 {
        return broken(format!("{} arena slots did not come back", summary.slots_lost));
    }
    Ok(())
}

fn report(
    options: &EngineOptions,
    result: &GeneratorResult,
    summary: &EngineSummary,
    engine_cpu: Duration,
) -> EngineReport {
    let tps_final = result.finals as f64 / result.elapsed_s.max(1e-9);
    // A sender acts once a block: with few accounts they, not the engine, are what a slot holds.
    let senders_limited =
        options.transactions.is_none() && summary.block_transactions_max * 100 >= options.accounts * 95;
    EngineReport {
        bench: "engine",
        cpu: cpu_model(),
        machine_cores: cores(),
        cores: options.cores,
        simd_backend: options.simd,
        accounts: options.accounts,
        accounts_end: summary.accounts,
        connections: options.connections,
        slot_ms: options.slot_ms,
        seed: options.seed,
        offered: result.offered,
        finals: result.finals,
        honest_tps_final: if options.invalid_share > 0.0 {
            result.honest_finals as f64 / result.honest_elapsed_s.max(1e-9)
        } else {
            tps_final
        },
        refused: result.refused.clone(),
        elapsed_s: result.elapsed_s,
        tps_final,
        target_tps: TARGET_TPS,
        ratio_to_target: tps_final / TARGET_TPS,
        ratio_to_paper: PAPER_TPS.iter().map(|(setting, tps)| ((*setting).to_owned(), tps_final / tps)).collect(),
        latency_ms: Latency { p50: result.latency_ms[0], p99: result.latency_ms[1], max: result.latency_ms[2] },
        stages: summary.stages.clone(),
        engine_cpu_s: engine_cpu.as_secs_f64(),
        generator_cpu_s: result.cpu_s,
        // An open load whose every transaction became final, a load that ran out, or a generator that never waited.
        generator_limited: (options.rate.is_some() && result.finals == result.offered)
            || senders_limited
            || result.exhausted
            || result.generator_busy_share > 0.95,
        bytes_per_account: summary.bytes_per_account,
        declared_bytes: summary.declared_bytes,
        peak_rss_bytes: peak_rss_bytes(),
        height: summary.height,
        block_transactions_max: summary.block_transactions_max,
        quilt_bytes_per_transaction: summary.quilt_bytes as f64 / result.finals.max(1) as f64,
        verify_batch_mean: summary.verify_batch_mean,
        supply_conserved: summary.supply_conserved,
        state_root: hex::encode(summary.state_root),
    }
}

impl EngineReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let refused = match self.refused.is_empty() {
            true => "none".to_owned(),
            false => self
                .refused
                .iter()
                .map(|(reason, count)| format!("{} {reason}", grouped(*count)))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let limit = if self.generator_limited {
            "the load: the engine could have done more (a sender acts once a slot)"
        } else {
            "the engine"
        };
        let mut text = facts(&[
            ("CPU", format!("{}; {} cores, shared with the load generator", self.cpu, self.machine_cores)),
            (
                "SIMD backend",
                format!(
                    "{}, {} verifying threads, {:.0} signatures a batch",
                    self.simd_backend, self.cores, self.verify_batch_mean
                ),
            ),
            ("accounts", format!("{} at genesis, {} at the end", grouped(self.accounts), grouped(self.accounts_end))),
            (
                "offered",
                format!("{} in {:.1} s over {} connections", grouped(self.offered), self.elapsed_s, self.connections),
            ),
            (
                "final",
                format!(
                    "{} in {} blocks, the largest {}",
                    grouped(self.finals),
                    self.height,
                    grouped(self.block_transactions_max)
                ),
            ),
            ("refused", refused),
            ("honest connections", format!("{} TPS final", grouped(self.honest_tps_final as u64))),
            ("limited by", limit.into()),
            (
                "latency",
                format!(
                    "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms from intended send time to final",
                    self.latency_ms.p50, self.latency_ms.p99, self.latency_ms.max
                ),
            ),
            ("CPU time", format!("engine {:.1} s, generator {:.1} s", self.engine_cpu_s, self.generator_cpu_s)),
            (
                "memory",
                format!(
                    "peak {}, declared {}, {:.1} bytes an account",
                    bytes(self.peak_rss_bytes),
                    bytes(self.declared_bytes),
                    self.bytes_per_account
                ),
            ),
            ("quilts", format!("{:.1} bytes a transaction", self.quilt_bytes_per_transaction)),
            ("state root", self.state_root.clone()),
        ]);
        let stages: Vec<_> = self
            .stages
            .iter()
            .map(|stage| {
                vec![
                    stage.name.clone(),
                    format!("{:.2}", stage.busy_s),
                    format!("{:.2}", stage.blocked_s),
                    format!("{:.2}", stage.idle_s),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["stage", "busy s", "blocked s", "idle s"], &stages));
        text.push('\n');
        let mut rows = vec![vec![
            "target on an i5/i7 box".into(),
            grouped(self.target_tps as u64),
            format!("{:.1} x", self.ratio_to_target),
        ]];
        for (setting, tps) in PAPER_TPS {
            rows.push(vec![format!("paper: {setting}"), grouped(tps as u64), format!("{:.1} x", self.tps_final / tps)]);
        }
        text.push_str(&table(&["compared with", "TPS", "this run"], &rows));
        text.push_str(&format!("\n  TPS final: {}\n", grouped(self.tps_final as u64)));
        text
    }
}
