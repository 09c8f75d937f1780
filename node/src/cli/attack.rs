//! `dynemix simulate attack`: the white paper's estimates of what a share of the stake can do, measured again.

use super::output::Shown;
use dynemix_perf::report::{bar, grouped, lasting, table};
use dynemix_simulator::censorship::{CensorshipOptions, CensorshipReport, censorship, stake_for};
use dynemix_simulator::takeover::{SLOTS_PER_YEAR, TakeoverOptions, TakeoverReport, takeover};
use plotters::prelude::*;
use serde::Serialize;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// One line of the table of seats.
#[derive(Serialize)]
struct Seats {
    seats: usize,
    quorum: usize,
    /// Share of the stake with which more seats than tolerated are bad once in a year, in a hundred years.
    stake_once_a_year: f64,
    stake_once_a_century: f64,
}

/// What was measured.
#[derive(Serialize)]
pub(crate) struct Attack {
    seats: Vec<Seats>,
    /// Share of the stake with which a shard of ten is captured once a year, by number of shards; before bin sort.
    captured_once_a_year: Vec<(usize, f64)>,
    shard: Vec<TakeoverReport>,
    control_one_shard: Vec<CensorshipReport>,
    control_three_shards: Vec<CensorshipReport>,
}

/// Measures; `draws` for each share of stake, `heights` for each chain that is watched.
pub(crate) fn attack(draws: u64, heights: u64, seed: u64) -> Attack {
    let quorums = |seats: usize| [2 * seats / 3 + 1, (3 * seats).div_ceil(5)];
    let line = |seats: usize, quorum: usize| {
        let tolerated = 2 * quorum - seats - 1;
        let once_in = |years: f64| stake_for(seats, tolerated, years * SLOTS_PER_YEAR);
        Seats { seats, quorum, stake_once_a_year: once_in(1.0), stake_once_a_century: once_in(100.0) }
    };
    let seats =
        [20, 100, 200, 1_000].into_iter().flat_map(|seats| quorums(seats).map(|quorum| line(seats, quorum))).collect();
    let captured = |shards: usize| (shards, stake_for(10, 6, SLOTS_PER_YEAR * shards as f64));
    let shares = [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35];
    let censors: Vec<f64> = (4..=26).map(|step| f64::from(step) * 0.02).collect();
    let progress = bar(std::io::stderr().is_terminal(), (shares.len() + 2 * censors.len()) as u64, "shares of stake");
    let shard = shares.map(|stake| {
        let options = TakeoverOptions {
            stake,
            candidates: 10_000,
            seats: 100,
            shards: 10,
            bin_sort: true,
            record_shards: 3,
            draws,
            seed,
        };
        let report = takeover(&options, |_| ());
        progress.inc(1);
        report
    });
    let control = |record_shards: usize| -> Vec<CensorshipReport> {
        let one = |&stake: &f64| {
            let options = CensorshipOptions { stake, seats: 100, shard_minters: 10, record_shards, heights, seed };
            let report = censorship(&options);
            progress.inc(1);
            report
        };
        censors.iter().map(one).collect()
    };
    let (control_one_shard, control_three_shards) = (control(1), control(3));
    progress.finish_and_clear();
    let captured_once_a_year = [2, 10, 100].map(captured).to_vec();
    Attack { seats, captured_once_a_year, shard: shard.to_vec(), control_one_shard, control_three_shards }
}

/// Seconds of a year.
pub(crate) const YEAR_S: f64 = 365.25 * 86_400.0;

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

impl Shown for Attack {
    fn text(&self) -> String {
        let mut text = String::new();
        self.put_shares(&mut text);
        self.put_captures(&mut text);
        self.put_control(&mut text);
        text
    }
}

impl Attack {
    /// Which shares of the stake seat too many, and which capture a shard.
    fn put_shares(&self, text: &mut String) {
        text.push_str("  Stake with which more seats are bad than the committee tolerates\n\n");
        let row = |line: &Seats| {
            vec![
                grouped(line.seats as u64),
                grouped(line.quorum as u64),
                percent(line.stake_once_a_year),
                percent(line.stake_once_a_century),
            ]
        };
        text.push_str(&table(
            &["seats", "quorum", "once a year", "once in 100 years"],
            &self.seats.iter().map(row).collect::<Vec<_>>(),
        ));
        text.push_str("\n  Stake with which a shard of ten is captured once a year, before bin sort\n\n");
        let rows: Vec<_> = self
            .captured_once_a_year
            .iter()
            .map(|&(shards, stake)| vec![grouped(shards as u64), percent(stake)])
            .collect();
        text.push_str(&table(&["shards", "stake"], &rows));
    }

    /// How long it takes to capture a shard, as bars.
    fn put_captures(&self, text: &mut String) {
        text.push_str(
            "\n  Time until one of ten shards is captured (paper, quilt mode: about 2 % of\n  the stake), three # a \
             factor of ten\n\n",
        );
        for report in &self.shard {
            let years = report.years_to_capture;
            let (bars, label) = match years {
                Some(years) => ((years * SLOTS_PER_YEAR).log10(), lasting(years * YEAR_S)),
                None => (
                    (report.options.draws as f64).log10(),
                    format!("never in {} heights", grouped(report.options.draws)),
                ),
            };
            text.push_str(&format!(
                "  {:>5.0} %  {} {label}\n",
                100.0 * report.options.stake,
                "#".repeat((3.0 * bars).max(1.0) as usize)
            ));
        }
    }

    /// How the committee falls to who keeps answers out.
    fn put_control(&self, text: &mut String) {
        let control = |reports: &[CensorshipReport]| {
            reports.iter().find(|report| report.heights_to_control.is_some()).map(|report| report.options.stake)
        };
        text.push_str("\n  Keeping answers out until the committee has fallen (paper: 30-35 % of the\n  stake)\n\n");
        let rows: Vec<_> = self
            .control_one_shard
            .iter()
            .zip(&self.control_three_shards)
            .filter(|(one, three)| one.censored_share > 0.001 || three.censored_share > 0.001)
            .map(|(one, three)| {
                let cells = |report: &CensorshipReport| {
                    let heights = report.heights_to_control.map_or("-".into(), grouped);
                    [percent(report.censored_share), percent(report.bad_share), heights]
                };
                let mut row = vec![percent(one.options.stake)];
                row.extend(cells(one));
                row.extend(cells(three));
                row
            })
            .collect();
        let header = [
            "stake",
            "1 shard: kept out",
            "bad seats",
            "heights to control",
            "3 shards: kept out",
            "bad seats",
            "heights to control",
        ];
        text.push_str(&table(&header, &rows));
        for (shards, reports) in [(1, &self.control_one_shard), (3, &self.control_three_shards)] {
            let from = control(reports).map_or("no share that was tried".into(), percent);
            text.push_str(&format!("\n  answers admitted by {shards}: control of the committee from {from} on"));
        }
        text.push('\n');
    }
}

/// The file that both curves are drawn into, opened before they are measured.
pub(crate) struct Curves {
    path: PathBuf,
    file: File,
}

impl Curves {
    /// Opens the file; what an earlier run has drawn stays until there is something to draw.
    pub(crate) fn open(path: PathBuf) -> Result<Curves, String> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| format!("--svg: open {}: {error}", path.display()))?;
        Ok(Curves { path, file })
    }

    /// Draws both curves.
    pub(crate) fn draw(mut self, attack: &Attack) -> Result<(), Box<dyn Error>> {
        let mut text = String::new();
        drawn(attack, &mut text)?;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(text.as_bytes()));
        Ok(written.map_err(|error| format!("write {}: {error}", self.path.display()))?)
    }
}

/// Blue and orange, which everyone tells apart; their points have different shapes too.
const ONE: RGBColor = RGBColor(0, 90, 181);
const THREE: RGBColor = RGBColor(220, 110, 0);
const GRID: RGBColor = RGBColor(225, 225, 225);

fn in_groups(number: &f64) -> String {
    grouped(*number as u64)
}

fn whole(number: &f64) -> String {
    format!("{number:.0}")
}

fn drawn(attack: &Attack, text: &mut String) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::with_string(text, (900, 900)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(450);
    let mut chart = ChartBuilder::on(&upper)
        .caption("Heights until one of ten shards of ten is captured", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..40.0, (1.0..1e8).log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("bad stake, %").y_desc("heights of 10 s").x_label_formatter(&whole).y_label_formatter(&in_groups);
    mesh.bold_line_style(GRID).light_line_style(TRANSPARENT).draw()?;
    let seen = |report: &TakeoverReport| {
        report.years_to_capture.map(|years| (100.0 * report.options.stake, years * SLOTS_PER_YEAR))
    };
    let points: Vec<_> = attack.shard.iter().filter_map(seen).collect();
    let series = chart.draw_series(LineSeries::new(points.clone(), &ONE))?;
    series.label("captured").legend(|(x, y)| Circle::new((x + 9, y), 3, ONE.filled()));
    chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, ONE.filled())))?;
    // As many heights as were drawn went by without one: it takes longer than that.
    let never = attack.shard.iter().filter(|report| report.years_to_capture.is_none());
    let never = never.map(|report| (100.0 * report.options.stake, report.options.draws as f64));
    let series = chart.draw_series(never.map(|point| TriangleMarker::new(point, 6, THREE)))?;
    series.label("never in so many heights").legend(|(x, y)| TriangleMarker::new((x + 9, y), 6, THREE));
    chart.configure_series_labels().border_style(GRID).background_style(WHITE).draw()?;
    let mut chart = ChartBuilder::on(&lower)
        .caption("Bad seats when answers are kept out by blocked shards", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..55.0, 0.0..100.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("bad stake, %").y_desc("bad seats, %").x_label_formatter(&whole).y_label_formatter(&whole);
    mesh.bold_line_style(GRID).light_line_style(TRANSPARENT).draw()?;
    // A chain whose committee has fallen stays so.
    let share = |report: &CensorshipReport| {
        if report.heights_to_control.is_some() { 100.0 } else { 100.0 * report.bad_share }
    };
    let points = |reports: &[CensorshipReport]| -> Vec<(f64, f64)> {
        reports.iter().map(|report| (100.0 * report.options.stake, share(report))).collect()
    };
    let (one, three) = (points(&attack.control_one_shard), points(&attack.control_three_shards));
    chart.draw_series(LineSeries::new(one.clone(), &ONE))?;
    let series = chart.draw_series(one.into_iter().map(|point| Circle::new(point, 3, ONE.filled())))?;
    series.label("answers admitted by one shard").legend(|(x, y)| Circle::new((x + 9, y), 3, ONE.filled()));
    chart.draw_series(LineSeries::new(three.clone(), &THREE))?;
    let series = chart.draw_series(three.into_iter().map(|point| TriangleMarker::new(point, 5, THREE.filled())))?;
    series.label("by three").legend(|(x, y)| TriangleMarker::new((x + 9, y), 5, THREE.filled()));
    chart.configure_series_labels().border_style(GRID).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}
