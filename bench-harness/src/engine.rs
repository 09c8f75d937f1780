//! `bench engine`: real signed transactions over encrypted loopback connections into a minting node's durable state, and
//! how many a second become final.
//!
//! The bench starts a node in this process (through [`EngineToTest`], since composing one is the node's business) and the
//! load generator in another, watches, and reports.

use crate::generator::{EngineAddress, GeneratorMessage, GeneratorOrder, GeneratorResult};
use crate::verify::rate_estimate;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::limits::{FORWARDED_MAX, POOL_TRANSACTIONS_MAX};
use dynemix_engine::verify::Simd;
use dynemix_perf::machine::{ThreadTime, cores, cpu_model, cpu_time, peak_rss_bytes, thread_times};
use dynemix_perf::report::{bar, bytes, facts, grouped, table};
use dynemix_workload::new_keys;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
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
/// Transactions under way on a line at most: what becomes of them fits a frame.
const LINE_WINDOW_MAX: u64 = 100_000;
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
    /// Encrypted connections that share the load, each of a guest with a key of its own.
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
    /// Whether progress is drawn on standard error.
    pub progress: bool,
}

/// What the bench asks the node to start.
#[derive(Clone, Copy, Debug)]
pub struct EngineSetup {
    /// Accounts of the load at genesis, by [`dynemix_workload::KeyChain`] from `seed`.
    pub accounts: u64,
    /// Room for this many accounts.
    pub accounts_max: u64,
    /// Seed of the genesis accounts.
    pub seed: u64,
    /// Threads that verify signatures.
    pub cores: usize,
    /// Vector instructions that those threads use.
    pub simd: Simd,
    /// Connections to come.
    pub connections: usize,
    /// Milliseconds of a slot, when blocks go by time.
    pub slot_ms: u64,
    /// Transactions of a block and in all, when blocks go by number.
    pub counted: Option<(u64, u64)>,
}

/// What a thread had of the processors while the load ran; threads of one name together.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    /// Name of the threads, as the system has it.
    pub name: String,
    /// Seconds that it ran.
    pub busy_s: f64,
    /// Seconds that it could have run, and others did.
    pub queued_s: f64,
}

/// What a stopped node tells of itself.
#[derive(Clone, Debug)]
pub struct EngineSummary {
    /// Blocks of its chain.
    pub height: u64,
    /// Slots from the first block with transactions to the last one that have no block.
    pub slots_lost: u64,
    /// Accounts at the end.
    pub accounts: u64,
    /// Root of the state.
    pub state_root: Hash,
    /// Balances and pools sum to the supply.
    pub supply_conserved: bool,
    /// Bytes of state an account.
    pub bytes_per_account: f64,
    /// Bytes of the quilts of blocks with transactions.
    pub quilt_bytes: u64,
    /// Transactions of the largest block.
    pub block_transactions_max: u64,
    /// Signatures of transactions that were verified.
    pub signatures: u64,
    /// Batches of them.
    pub batches: u64,
    /// Seconds that it took.
    pub verify_s: f64,
}

/// What a node is told that others are not, so that it is what is measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenchSettings {
    /// Committee, slots, what travels.
    pub chain: String,
    /// Which bounds are wider than a node's, and how wide.
    pub bounds: String,
    /// Transactions of a block at most, by the parameters of the chain.
    pub block_transactions_max: u64,
}

/// A node that has a genesis, and does not run yet.
pub trait EngineToTest {
    /// Its genesis hash and its prefix of transactions.
    fn chain(&self) -> (Hash, Hash);
    /// What was set for the bench.
    fn settings(&self) -> BenchSettings;
    /// Starts it; an error in words.
    ///
    /// # Errors
    /// When it does not start.
    fn start(self: Box<Self>) -> Result<Box<dyn EngineUnderTest>, String>;
}

/// A running node.
pub trait EngineUnderTest {
    /// Where it listens.
    fn address(&self) -> EngineAddress;
    /// The chain's time begins: what comes before a load is not measured.
    fn begin(&self);
    /// Transactions of its users that are final so far.
    fn finals(&self) -> u64;
    /// Why it has stopped by itself, if so.
    fn halted(&self) -> Option<String>;
    /// Stops it; an error in words.
    ///
    /// # Errors
    /// When it had halted.
    fn stop(self: Box<Self>) -> Result<EngineSummary, String>;
}

/// Latency in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Half of the transactions took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
    /// The longest that any took.
    pub max: f64,
}

/// What the run came to, as `--json` has it.
#[derive(Clone, Debug, Serialize)]
pub struct EngineReport {
    /// Always "engine", for whoever reads the JSON.
    pub bench: &'static str,
    /// Model of the machine's processor.
    pub cpu: String,
    /// Cores of the machine that this process may use.
    pub machine_cores: usize,
    /// Threads that verified signatures.
    pub cores: usize,
    /// The vector instructions in use.
    pub simd_backend: Simd,
    /// Accounts at genesis.
    pub accounts: u64,
    /// Accounts at the end.
    pub accounts_end: u64,
    /// Encrypted connections that shared the load.
    pub connections: usize,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// What the node was told that others are not.
    pub settings: BenchSettings,
    /// Chose the workload.
    pub seed: u64,
    /// Transactions sent and answered.
    pub offered: u64,
    /// Transactions that were answered as final.
    #[serde(rename = "final")]
    pub finals: u64,
    /// Final ones a second on connections that send no broken signatures.
    pub honest_tps_final: f64,
    /// Refused ones by reason.
    pub refused: BTreeMap<String, u64>,
    /// Not answered: the node had thrown out who sent them.
    pub cut_off: u64,
    /// How often it threw somebody out.
    pub cuts: u64,
    /// Seconds from the first send to the last answer.
    pub elapsed_s: f64,
    /// Final transactions a second over that time.
    pub tps_whole: f64,
    /// Blocks that `tps_final` is of; none if there were too few, and it is that of the whole time.
    pub steady_blocks: Option<usize>,
    /// Final transactions a second while there was something to send: from the answers of the first block to those of
    /// the last one before the load ended.
    pub tps_final: f64,
    /// The user's target.
    pub target_tps: f64,
    /// `tps_final` over it.
    pub ratio_to_target: f64,
    /// `tps_final` over each of the paper's figures.
    pub ratio_to_paper: BTreeMap<String, f64>,
    /// From intended send time to the final answer.
    pub latency_ms: Latency,
    /// Time by thread.
    pub stages: Vec<StageRow>,
    /// CPU seconds of the node during the run.
    pub engine_cpu_s: f64,
    /// CPU seconds of the generator during the run, signing not included.
    pub generator_cpu_s: f64,
    /// The generator, not the node, was the limit.
    pub generator_limited: bool,
    /// What a block may have was the limit, not what the node can do.
    pub block_limited: bool,
    /// Bytes of state an account.
    pub bytes_per_account: f64,
    /// Largest resident set of the node's process.
    pub peak_rss_bytes: u64,
    /// Blocks of the chain.
    pub height: u64,
    /// Slots without a block while there were transactions.
    pub slots_lost: u64,
    /// Transactions of the largest block.
    pub block_transactions_max: u64,
    /// Bytes of quilt for each final transaction.
    pub quilt_bytes_per_transaction: f64,
    /// Signatures of transactions that were verified.
    pub signatures: u64,
    /// Signatures of an average batch.
    pub verify_batch_mean: f64,
    /// Microseconds of a verification.
    pub verify_micros: f64,
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

/// Measures. `prepare` makes a node's genesis; `generator` is the command whose process becomes the generator.
///
/// # Errors
/// When the engine or the generator fails, or when money was made or lost.
pub fn run(
    options: &EngineOptions,
    prepare: impl FnOnce(EngineSetup) -> Result<Box<dyn EngineToTest>, String>,
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
    let wave = FIXED_BLOCK.min(options.accounts).min(FORWARDED_MAX as u64 / 2);
    let accounts_max = options.accounts + new_keys(transactions);
    if accounts_max > u64::from(u32::MAX) / 2 {
        return Err(EngineBenchError::Options(format!("{accounts_max} accounts do not fit 31 bits")));
    }
    let engine = prepare(EngineSetup {
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
    let (genesis_hash, transaction_prefix) = engine.chain();
    let settings = engine.settings();
    let order = GeneratorOrder {
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
        window: window(options, verify_rate),
    };
    let mut run = Run::sign(options, &order, generator)?;
    let engine = engine.start().map_err(EngineBenchError::Engine)?;
    run.connect(engine.address())?;
    let measured = run.drive(&order, &*engine)?;
    let finals_seen = engine.finals();
    let summary = engine.stop().map_err(EngineBenchError::Engine)?;
    check(&order, &measured.result, &summary, finals_seen)?;
    Ok(report(options, settings, &measured, &summary))
}

/// Transactions under way on a line at most: what two slots could bring, so that the node never waits; no more than a
/// node holds of one user, and what senders may have waiting.
fn window(options: &EngineOptions, verify_rate: f64) -> u64 {
    let lines = options.connections as u64;
    let slots = 2.0 * verify_rate * options.slot_ms as f64 / 1e3;
    // Nobody holds more than is left free, of what is followed and of the pool; what waits for its turn has a fourth of
    // that room.
    let of_node = (FORWARDED_MAX as u64 / (lines + 1)).min(POOL_TRANSACTIONS_MAX as u64 / 2 / lines) * 15 / 16;
    // A sender acts once a block, and has at most eight sequences waiting.
    let of_senders = (options.accounts * 4).min(options.accounts + FORWARDED_MAX as u64 / 5) / lines;
    (slots as u64 / lines).min(of_node).min(of_senders).clamp(1, LINE_WINDOW_MAX)
}

/// What a run came to.
struct Measured {
    result: GeneratorResult,
    /// CPU time of the node's process meanwhile, and of each of its threads.
    cpu: Duration,
    threads: BTreeMap<String, ThreadTime>,
}

/// The generator at work.
struct Run {
    generator: Generator,
    input: ChildStdin,
    output: io::Lines<BufReader<std::process::ChildStdout>>,
    shown: bool,
}

impl Run {
    /// Starts the generator and lets it sign the load.
    fn sign(options: &EngineOptions, order: &GeneratorOrder, mut command: Command) -> Result<Run, EngineBenchError> {
        let mut generator = Generator { child: command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()? };
        let input = generator.child.stdin.take().expect("piped");
        let output = BufReader::new(generator.child.stdout.take().expect("piped")).lines();
        let mut run = Run { generator, input, output, shown: options.progress };
        run.tell(order)?;
        let progress = bar(run.shown, order.transactions, "signing the load");
        loop {
            match run.hear()? {
                GeneratorMessage::Signed(count) => progress.set_position(count),
                GeneratorMessage::Ready => break,
                other => return Err(EngineBenchError::Generator(format!("said {other:?} while it signed"))),
            }
        }
        progress.finish_and_clear();
        Ok(run)
    }

    fn tell(&mut self, what: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.input, what)?;
        self.input.write_all(b"\n")
    }

    fn hear(&mut self) -> Result<GeneratorMessage, EngineBenchError> {
        let ended = || EngineBenchError::Generator("ended without a result".into());
        let line = self.output.next().ok_or_else(ended)??;
        match serde_json::from_str(&line).map_err(io::Error::from)? {
            GeneratorMessage::Failed(why) => Err(EngineBenchError::Generator(why)),
            message => Ok(message),
        }
    }

    /// Lets the generator open its lines.
    fn connect(&mut self, address: EngineAddress) -> Result<(), EngineBenchError> {
        self.tell(&address)?;
        match self.hear()? {
            GeneratorMessage::Connected => Ok(()),
            other => Err(EngineBenchError::Generator(format!("said {other:?} while it connected"))),
        }
    }

    /// Runs the load against the node.
    fn drive(mut self, order: &GeneratorOrder, engine: &dyn EngineUnderTest) -> Result<Measured, EngineBenchError> {
        let progress = match order.seconds {
            Some(seconds) => bar(self.shown, (seconds * 1e3) as u64, "running (ms)"),
            None => bar(self.shown, order.transactions, "running"),
        };
        let (start, cpu_start, threads_start) = (Instant::now(), cpu_time(), thread_times());
        engine.begin();
        self.tell(&"go")?;
        loop {
            match self.hear() {
                Ok(GeneratorMessage::Answered(count)) => match order.seconds {
                    Some(seconds) => {
                        progress.set_position((start.elapsed().as_millis() as u64).min((seconds * 1e3) as u64));
                        let tps = engine.finals() as f64 / start.elapsed().as_secs_f64();
                        progress.set_message(format!("{} TPS final", grouped(tps as u64)));
                    }
                    None => progress.set_position(count),
                },
                Ok(GeneratorMessage::Result(result)) => {
                    progress.finish_and_clear();
                    let since = |(name, now): (String, ThreadTime)| {
                        let before = threads_start.get(&name).copied().unwrap_or_default();
                        let (busy, queued) =
                            (now.busy.saturating_sub(before.busy), now.queued.saturating_sub(before.queued));
                        (name, ThreadTime { busy, queued })
                    };
                    let threads = thread_times().into_iter().map(since).collect();
                    drop(self.generator);
                    return Ok(Measured { result: *result, cpu: cpu_time() - cpu_start, threads });
                }
                Ok(other) => return Err(EngineBenchError::Generator(format!("said {other:?} while it ran"))),
                // It may only have lost the node.
                Err(error) => return Err(engine.halted().map_or(error, EngineBenchError::Engine)),
            }
        }
    }
}

/// The generator's and the node's books must agree, or the bench measured something else.
fn check(
    order: &GeneratorOrder,
    result: &GeneratorResult,
    summary: &EngineSummary,
    finals: u64,
) -> Result<(), EngineBenchError> {
    let refused: u64 = result.refused.values().sum();
    let broken = |what: String| Err(EngineBenchError::Result(what));
    // Whoever was thrown out hears nothing of what it had handed in before.
    if result.finals > finals || (result.cuts == 0 && result.finals != finals) {
        return broken(format!("{finals} transactions are final, {} were answered as final", result.finals));
    }
    let GeneratorResult { offered, finals, cut_off, .. } = *result;
    if offered != finals + refused + cut_off {
        return broken(format!("{offered} offered, but {finals} final, {refused} refused and {cut_off} cut off"));
    }
    if order.wave.is_some() && result.offered != order.transactions {
        return broken(format!("{} of {} transactions were offered", result.offered, order.transactions));
    }
    if !summary.supply_conserved {
        return broken("the balances do not sum to the supply".into());
    }
    Ok(())
}

fn report(
    options: &EngineOptions,
    settings: BenchSettings,
    measured: &Measured,
    summary: &EngineSummary,
) -> EngineReport {
    let result = &measured.result;
    let tps_whole = result.finals as f64 / result.elapsed_s.max(1e-9);
    // A fixed number of transactions is measured whole: its blocks follow each other without slots.
    let steady = result.steady.filter(|_| options.transactions.is_none());
    let tps_final = steady.map_or(tps_whole, |steady| steady.tps);
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
        block_limited: summary.block_transactions_max * 100 >= settings.block_transactions_max * 95,
        settings,
        seed: options.seed,
        offered: result.offered,
        finals: result.finals,
        honest_tps_final: match steady {
            _ if options.invalid_share <= 0.0 => tps_final,
            Some(steady) => steady.honest_tps,
            None => result.honest_finals as f64 / result.honest_elapsed_s.max(1e-9),
        },
        refused: result.refused.clone(),
        cut_off: result.cut_off,
        cuts: result.cuts,
        elapsed_s: result.elapsed_s,
        tps_whole,
        steady_blocks: steady.map(|steady| steady.blocks),
        tps_final,
        target_tps: TARGET_TPS,
        ratio_to_target: tps_final / TARGET_TPS,
        ratio_to_paper: PAPER_TPS.iter().map(|(setting, tps)| ((*setting).to_owned(), tps_final / tps)).collect(),
        latency_ms: Latency { p50: result.latency_ms[0], p99: result.latency_ms[1], max: result.latency_ms[2] },
        stages: stages(&measured.threads),
        engine_cpu_s: measured.cpu.as_secs_f64(),
        generator_cpu_s: result.cpu_s,
        // An open load whose every transaction became final, a load that ran out, or a generator that never waited.
        generator_limited: (options.rate.is_some() && result.finals == result.offered)
            || senders_limited
            || result.exhausted
            || result.generator_busy_share > 0.95,
        bytes_per_account: summary.bytes_per_account,
        peak_rss_bytes: peak_rss_bytes(),
        height: summary.height,
        slots_lost: summary.slots_lost,
        block_transactions_max: summary.block_transactions_max,
        quilt_bytes_per_transaction: summary.quilt_bytes as f64 / result.finals.max(1) as f64,
        signatures: summary.signatures,
        verify_batch_mean: summary.signatures as f64 / summary.batches.max(1) as f64,
        verify_micros: summary.verify_s * 1e6 / summary.signatures.max(1) as f64,
        supply_conserved: summary.supply_conserved,
        state_root: hex::encode(summary.state_root),
    }
}

/// Rows of threads, the busiest first; those that did nothing are left out.
fn stages(threads: &BTreeMap<String, ThreadTime>) -> Vec<StageRow> {
    let row = |(name, time): (&String, &ThreadTime)| StageRow {
        name: name.clone(),
        busy_s: time.busy.as_secs_f64(),
        queued_s: time.queued.as_secs_f64(),
    };
    let mut rows: Vec<_> = threads.iter().map(row).filter(|row| row.busy_s >= 0.005).collect();
    rows.sort_by(|one, other| other.busy_s.total_cmp(&one.busy_s));
    rows
}

impl EngineReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let row = |stage: &StageRow| {
            vec![stage.name.clone(), format!("{:.2}", stage.busy_s), format!("{:.2}", stage.queued_s)]
        };
        let stages: Vec<_> = self.stages.iter().map(row).collect();
        let mut rows = vec![vec![
            "target on an i5/i7 box".into(),
            grouped(self.target_tps as u64),
            format!("{:.1} x", self.ratio_to_target),
        ]];
        for (setting, tps) in PAPER_TPS {
            // What one node makes alone and what lines and shards of a network carry have no ratio.
            rows.push(vec![format!("a network, by the paper: {setting}"), grouped(tps as u64), String::new()]);
        }
        format!(
            "{}\n{}\n{}\n  TPS final: {}\n",
            self.facts(),
            table(&["thread", "busy s", "waits for a core s"], &stages),
            table(&["compared with", "TPS", "this run"], &rows),
            grouped(self.tps_final as u64)
        )
    }

    /// What the rate is of.
    fn rate(&self) -> String {
        match self.steady_blocks {
            Some(blocks) => format!(
                "of {blocks} blocks while the load lasted; with its first and last slot {} TPS",
                grouped(self.tps_whole as u64)
            ),
            None => "from the first send to the last answer".into(),
        }
    }

    fn facts(&self) -> String {
        let refused = match self.refused.is_empty() {
            true => "none".to_owned(),
            false => self
                .refused
                .iter()
                .map(|(reason, count)| format!("{} {reason}", grouped(*count)))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let limit = match () {
            () if self.generator_limited => "the load: the node could have done more (a sender acts once a slot)",
            () if self.block_limited => "what a block may have: longer slots hold no more, shorter ones do",
            () => "the node",
        };
        facts(&[
            ("CPU", format!("{}; {} cores, shared with the load generator", self.cpu, self.machine_cores)),
            (
                "SIMD backend",
                format!(
                    "{}, {} verifying threads, {} signatures, {:.0} a batch, {:.1} us each",
                    self.simd_backend,
                    self.cores,
                    grouped(self.signatures),
                    self.verify_batch_mean,
                    self.verify_micros
                ),
            ),
            ("chain", self.settings.chain.clone()),
            ("set for the bench", self.settings.bounds.clone()),
            ("accounts", format!("{} at genesis, {} at the end", grouped(self.accounts), grouped(self.accounts_end))),
            (
                "offered",
                format!("{} in {:.1} s over {} connections", grouped(self.offered), self.elapsed_s, self.connections),
            ),
            (
                "final",
                format!(
                    "{} in {} blocks, the largest {}; {} slots lost",
                    grouped(self.finals),
                    self.height,
                    grouped(self.block_transactions_max),
                    self.slots_lost
                ),
            ),
            ("rate", self.rate()),
            ("refused", refused),
            ("thrown out", format!("{} times, {} not answered for it", self.cuts, grouped(self.cut_off))),
            ("honest connections", format!("{} TPS final", grouped(self.honest_tps_final as u64))),
            ("limited by", limit.into()),
            (
                "latency",
                format!(
                    "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms from intended send time to final",
                    self.latency_ms.p50, self.latency_ms.p99, self.latency_ms.max
                ),
            ),
            ("CPU time", format!("node {:.1} s, generator {:.1} s", self.engine_cpu_s, self.generator_cpu_s)),
            ("memory", format!("peak {}, {:.1} bytes an account", bytes(self.peak_rss_bytes), self.bytes_per_account)),
            ("quilts", format!("{:.1} bytes a transaction", self.quilt_bytes_per_transaction)),
            ("state root", self.state_root.clone()),
        ])
    }
}
