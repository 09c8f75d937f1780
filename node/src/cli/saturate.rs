//! `dynemix bench saturate`: the rate at which a network of nodes starts to lose slots or to keep its users waiting, and
//! what becomes of it beyond.

use super::ending::{WrongUsage, within};
use super::output::{OutputArgs, Shown, note};
use super::up::{ModeArg, Screen, stop_flag};
use clap::Args;
use dynemix::devnet::layout::{DevnetShape, any_simd};
use dynemix::devnet::opening::RunOptions;
use dynemix::devnet::report::{DevnetReport, Overload};
use dynemix::devnet::run::run;
use dynemix::devnet::scratch::Scratch;
use dynemix::devnet::stop::down;
use dynemix_net::mesh::LinkShape;
use dynemix_perf::report::{grouped, table};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a line carries, in one mode.
#[derive(serde::Serialize)]
struct Knee {
    mode: String,
    /// Each rate that was tried, and whether every slot was final and every transaction in its slot or the next two.
    tried: Vec<(u64, bool)>,
    /// The highest rate that was carried.
    tps: u64,
    /// The paper's figure for the same line.
    paper_tps: u64,
}

/// Times the knee that is offered beyond it.
const BEYOND: [u64; 3] = [1, 2, 5];
/// Then half of the knee, for so many slots.
const AFTER_SLOTS: u64 = 8;
/// Characters of the longest bar of the curve.
const CURVE: u64 = 50;

/// What became of a load at the knee or beyond.
#[derive(serde::Serialize)]
struct Beyond {
    mode: String,
    times: u64,
    slots_lost: u64,
    /// Why the run is not good, but for what was not in time.
    failures: Vec<String>,
    #[serde(flatten)]
    overload: Overload,
}

#[derive(serde::Serialize)]
struct Saturation {
    nodes: u32,
    slot_ms: u64,
    link: String,
    knees: Vec<Knee>,
    beyond: Vec<Beyond>,
}

/// A bar of as many of all characters as this is of the most.
fn bar(value: f64, most: f64) -> String {
    "#".repeat((value / most.max(1.0) * CURVE as f64).round() as usize)
}

impl Saturation {
    /// What was offered at the knee and beyond it, and what became of it.
    fn text_beyond(&self) -> String {
        let slots = |slots: Option<u64>| slots.map_or("never".to_owned(), |slots| slots.to_string());
        let row = |beyond: &Beyond| {
            let Overload { tps, tps_final, in_time_share, busy, p99_ms, recovery_slots, .. } = beyond.overload;
            let p99 = p99_ms.map_or("never".to_owned(), |ms| format!("{:.1}", ms as f64 / self.slot_ms as f64));
            vec![
                beyond.mode.clone(),
                format!("{} x", beyond.times),
                grouped(tps),
                grouped(tps_final as u64),
                format!("{:.2} %", in_time_share * 100.0),
                grouped(busy),
                beyond.slots_lost.to_string(),
                p99,
                slots(recovery_slots),
            ]
        };
        let head =
            ["mode", "knee", "offered/s", "final/s", "in time", "busy", "slots lost", "p99, slots", "recovered in"];
        let rows: Vec<_> = self.beyond.iter().map(row).collect();
        let most = self.beyond.iter().map(|beyond| beyond.overload.tps_final).fold(0.0, f64::max);
        let line = |beyond: &Beyond| {
            let Overload { tps, tps_final, .. } = beyond.overload;
            format!("  {:>9}  {:<50} {}\n", grouped(tps), bar(tps_final, most), grouped(tps_final as u64))
        };
        let curve: String = self.beyond.iter().map(line).collect();
        let failures = self.beyond.iter().flat_map(|beyond| beyond.failures.iter().map(|why| format!("  {why}\n")));
        format!("{}\n  offered/s  final/s\n{curve}{}", table(&head, &rows), failures.collect::<String>())
    }
}

impl Shown for Saturation {
    fn text(&self) -> String {
        let tried = |knee: &Knee| {
            knee.tried
                .iter()
                .map(|(tps, held)| format!("{tps}{}", if *held { "" } else { " lost" }))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let rows: Vec<_> = self
            .knees
            .iter()
            .map(|knee| vec![knee.mode.clone(), knee.tps.to_string(), knee.paper_tps.to_string(), tried(knee)])
            .collect();
        let table = table(&["mode", "TPS carried", "paper", "tried"], &rows);
        let beyond = if self.beyond.is_empty() { String::new() } else { format!("\n{}", self.text_beyond()) };
        format!("{} nodes, {} ms slots, {}\n\n{table}{beyond}", self.nodes, self.slot_ms, self.link)
    }
}

#[derive(Debug, Args)]
pub(crate) struct SaturateArgs {
    /// Nodes of the network, each a process on this computer
    #[arg(long, value_name = "N", default_value_t = 10)]
    nodes: u32,
    /// Milliseconds of a slot
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    slot_ms: u64,
    /// The line of each node
    #[arg(long, value_name = "LINE", default_value = "rate=10mbit,delay=150ms")]
    link: String,
    /// Slots that each rate is offered for
    #[arg(long, value_name = "N", default_value_t = 4)]
    slots: u64,
    /// The first rate
    #[arg(long, value_name = "TPS", default_value_t = 200)]
    from: u64,
    /// One mode only
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Then offer 1, 2 and 5 times the rate that was carried, and half of it after each
    #[arg(long)]
    beyond: bool,
    /// Do not look for that rate: it is this
    #[arg(long, value_name = "TPS", requires = "beyond")]
    knee: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Rates that were tried, each with whether it was carried, and the largest that was.
type Searched = (Vec<(u64, bool)>, u64);

impl SaturateArgs {
    /// Doubles the rate until slots are lost or transactions wait, then halves the gap twice.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        self.link.parse::<LinkShape>().map_err(|error| WrongUsage(format!("--link: {error}")))?;
        within("--nodes", self.nodes, 1..=400)?;
        within("--slot-ms", self.slot_ms, 200..=600_000)?;
        within("--slots", self.slots, 1..)?;
        within("--from", self.from, 1..)?;
        within("--knee", self.knee.unwrap_or(1), 1..)?;
        let stop = stop_flag()?;
        let modes = self.mode.map_or(vec![ModeArg::Blockchain, ModeArg::Quilt], |mode| vec![mode]);
        let (mut knees, mut beyond) = (Vec::new(), Vec::new());
        for mode in modes {
            let quilt = matches!(mode, ModeArg::Quilt);
            let name = if quilt { "quilt" } else { "blockchain" };
            let (tried, tps) = match self.knee {
                Some(tps) => (Vec::new(), tps),
                None => self.search(quilt, name, &stop)?,
            };
            knees.push(Knee { mode: name.into(), tried, tps, paper_tps: if quilt { 2_400 } else { 600 } });
            for times in BEYOND.into_iter().filter(|_| self.beyond && tps > 0) {
                beyond.extend(self.beyond_of(quilt, name, (tps, times), &stop)?);
            }
        }
        let (nodes, slot_ms, link) = (self.nodes, self.slot_ms, self.link.clone());
        self.output.show(&Saturation { nodes, slot_ms, link, knees, beyond })
    }

    /// The highest rate that is carried, and each that was tried.
    fn search(&self, quilt: bool, name: &str, stop: &Arc<AtomicBool>) -> Result<Searched, Box<dyn Error>> {
        let (mut tried, mut good, mut bad, mut tps) = (Vec::new(), 0, None, self.from);
        while tried.len() < 12 {
            let report = self.offered(quilt, tps, None, stop)?;
            let held = report.failures.is_empty() && report.final_transactions == report.offered;
            note!("{name} mode, {tps} TPS: {}", if held { "carried" } else { "not carried" });
            tried.push((tps, held));
            if held {
                good = tps
            } else {
                bad = Some(tps)
            }
            tps = match bad {
                None => 2 * tps,
                Some(bad) if bad - good > (bad / 8).max(1) => (good + bad) / 2,
                Some(_) => break,
            };
        }
        Ok((tried, good))
    }

    /// So many times the knee, and what becomes of it.
    fn beyond_of(
        &self,
        quilt: bool,
        name: &str,
        (knee, times): (u64, u64),
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<Beyond>, Box<dyn Error>> {
        let report = self.offered(quilt, knee * times, Some(((knee / 2).max(1), AFTER_SLOTS)), stop)?;
        let Some(overload) = report.overload else { return Ok(None) };
        note!("{name} mode, {} TPS: {:.0} a second final", overload.tps, overload.tps_final);
        let is_other = |why: &String| !why.contains("in its slot or the next") && !why.ends_with(" lost");
        let failures = report.failures.into_iter().filter(is_other).collect();
        Ok(Some(Beyond { mode: name.into(), times, slots_lost: report.slots_lost, failures, overload }))
    }

    /// A network of its own, to which so many a second are offered, and then perhaps others.
    fn offered(
        &self,
        quilt: bool,
        tps: u64,
        then: Option<(u64, u64)>,
        stop: &Arc<AtomicBool>,
    ) -> Result<DevnetReport, Box<dyn Error>> {
        let load_accounts = (tps * self.slot_ms * 22 / 10_000).max(1_000);
        let shape = DevnetShape {
            liar: false,
            simd: any_simd(),
            nodes: self.nodes,
            shards: 1,
            slot_ms: self.slot_ms,
            quilt,
            load_accounts,
            link: self.link.clone(),
        };
        let options = RunOptions {
            shape,
            tps: Some(tps),
            duration_ms: Some(self.slots * self.slot_ms),
            then,
            kill_every: None,
            flood: None,
            api_port: None,
        };
        let directory = Scratch::new("dynemix-saturate-", |dead| drop(down(dead)))?;
        let screen = Screen::new(&options, true, directory.path(), false, stop.clone());
        let report = run(directory.path(), &options, None, stop, &screen)?;
        if stop.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(report) }
    }
}
