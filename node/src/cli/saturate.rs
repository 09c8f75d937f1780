//! `dynemix bench saturate`: the rate at which a network of nodes on slow lines starts to lose slots.

use super::devnet::{ModeArg, Screen};
use super::output::{OutputArgs, Shown};
use clap::Args;
use dynemix::devnet::layout::{DevnetShape, any_simd};
use dynemix::devnet::run::{RunOptions, run};
use dynemix_net::mesh::LinkShape;
use dynemix_perf::report::table;
use std::error::Error;
use std::sync::atomic::AtomicBool;

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

#[derive(serde::Serialize)]
struct Saturation {
    nodes: u32,
    slot_ms: u64,
    link: String,
    knees: Vec<Knee>,
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
        format!("{} nodes, {} ms slots, {}\n\n{table}", self.nodes, self.slot_ms, self.link)
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
    #[command(flatten)]
    output: OutputArgs,
}

impl SaturateArgs {
    /// Doubles the rate until slots are lost or transactions wait, then halves the gap twice.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        self.link.parse::<LinkShape>()?;
        let modes = self.mode.map_or(vec![ModeArg::Blockchain, ModeArg::Quilt], |mode| vec![mode]);
        let mut knees = Vec::new();
        for mode in modes {
            let quilt = matches!(mode, ModeArg::Quilt);
            let (mut tried, mut good, mut bad, mut tps) = (Vec::new(), 0, None, self.from.max(1));
            while tried.len() < 12 {
                let held = self.holds(quilt, tps)?;
                eprintln!(
                    "{} mode, {tps} TPS: {}",
                    if quilt { "quilt" } else { "blockchain" },
                    if held { "carried" } else { "not carried" }
                );
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
            knees.push(Knee {
                mode: if quilt { "quilt" } else { "blockchain" }.into(),
                tried,
                tps: good,
                paper_tps: if quilt { 2_400 } else { 600 },
            });
        }
        let saturation = Saturation { nodes: self.nodes, slot_ms: self.slot_ms, link: self.link.clone(), knees };
        self.output.show(&saturation)
    }

    fn holds(&self, quilt: bool, tps: u64) -> Result<bool, Box<dyn Error>> {
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
            kill_every: None,
            flood: None,
        };
        let directory = tempfile::Builder::new().prefix("dynemix-saturate").tempdir()?;
        let stop = AtomicBool::new(false);
        let screen = Screen::new(self.slot_ms, true, directory.path(), false);
        let report = run(directory.path(), &options, None, &stop, &screen)?;
        Ok(report.failures.is_empty() && report.final_transactions == report.offered)
    }
}
