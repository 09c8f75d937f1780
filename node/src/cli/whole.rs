//! `dynemix simulate whole`: whole nodes in virtual time, by seed.

use super::ending::within;
use super::output::{OutputArgs, Shown};
use clap::Args;
use dynemix::simulated::options::{Scene, WholeOptions};
use dynemix::simulated::report::{WholeReport, run_whole};
use dynemix_perf::report::{bar, counted, facts, grouped, table};
use std::error::Error;
use std::io::IsTerminal;

#[derive(Debug, Args)]
pub(crate) struct WholeArgs {
    /// Seed to begin with; the others count up from it
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 6)]
    seeds: u64,
    /// Nodes, each a minter
    #[arg(long, value_name = "N", default_value_t = WholeOptions::default().nodes)]
    nodes: u32,
    /// Slots in which something happens; twelve calm ones follow
    #[arg(long, value_name = "N", default_value_t = WholeOptions::default().slots)]
    slots: u64,
    /// Payments offered in a slot where the nodes are offered what they carry
    #[arg(long, value_name = "N", default_value_t = WholeOptions::default().load)]
    load: u64,
    /// calm, crashes or overload [default: by turns of seed]
    #[arg(long, value_name = "SCENE", value_parser = parse_scene)]
    scene: Option<Scene>,
    #[command(flatten)]
    output: OutputArgs,
}

fn parse_scene(name: &str) -> Result<Scene, String> {
    match name {
        "calm" => Ok(Scene::Calm),
        "crashes" => Ok(Scene::Crashes),
        "overload" => Ok(Scene::Overload),
        _ => Err("calm, crashes or overload".into()),
    }
}

impl WholeArgs {
    /// Runs the seeds, and fails if something was wrong in one of them.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let WholeArgs { seed, seeds, nodes, slots, load, scene, output } = self;
        within("--seeds", seeds, 1..)?;
        within("--nodes", nodes, 4..=40)?;
        within("--slots", slots, 8..=1_000)?;
        within("--load", load, 40..=20_000)?;
        let options = WholeOptions { seed, nodes, slots, load, ..WholeOptions::default() };
        let bar = bar(std::io::stderr().is_terminal(), seeds, "seeds");
        let report = run_whole(&options, seeds, scene, |done| bar.set_position(done));
        bar.finish_and_clear();
        output.show(&report)?;
        match report.failures.len() {
            0 => Ok(()),
            failures => Err(format!("something was wrong in {failures} of {}", counted(seeds, "seed")).into()),
        }
    }
}

impl Shown for WholeReport {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("seeds", grouped(self.scenes.values().map(|scene| scene.seeds).sum())),
            ("took", format!("{:.1} s", self.wall_seconds)),
            ("failures", self.failures.len().to_string()),
        ]);
        text.push('\n');
        let rows: Vec<_> = self
            .scenes
            .iter()
            .map(|(scene, report)| {
                let plateau = match scene {
                    Scene::Overload => report.plateau.map(grouped).join(", "),
                    Scene::Calm | Scene::Crashes => "-".into(),
                };
                let counts = [report.seeds, report.slots, report.slots_lost, report.killed, report.offered];
                let mut row = vec![format!("{scene:?}").to_lowercase()];
                row.extend(counts.map(grouped));
                row.extend([grouped(report.accepted), grouped(report.transactions), plateau]);
                row
            })
            .collect();
        let heads =
            ["scene", "seeds", "slots", "lost", "killed", "offered", "accepted", "final", "final a slot at 1, 2, 5 x"];
        text.push_str(&table(&heads, &rows));
        for failed in self.failures.iter().take(20) {
            let WholeOptions { seed, nodes, slots, load, scene } = &failed.options;
            let scene = format!("{scene:?}").to_lowercase();
            text.push_str(&format!(
                "\n  {}\n  again: dynemix simulate whole --seed {seed} --seeds 1 --scene {scene} --nodes {nodes} --slots \
                 {slots} --load {load}\n",
                failed.what
            ));
        }
        text
    }
}
