//! Many seeds with every trouble that must be survived: no fork, no broken promise, and progress after healing.
//!
//! `DYNEMIX_SEEDS` says how many (default 200).

use dynemix_simulator::options::{FaultSet, Mode, SimOptions};
use dynemix_simulator::run::{SimReport, run_seeds};
use std::thread;

fn seeds() -> u64 {
    std::env::var("DYNEMIX_SEEDS").map_or(200, |number| number.parse().expect("a number"))
}

/// Runs seeds on two threads.
fn all(options: SimOptions, seeds: u64) -> Vec<SimReport> {
    let half = seeds.div_ceil(2);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|part| {
                let options = SimOptions { seed: options.seed + part * half, ..options.clone() };
                scope.spawn(move || run_seeds(&options, half, true, |_, _| ()))
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

fn promises_hold(reports: &[SimReport]) {
    for report in reports {
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!(report.forks, 0);
        assert!(report.transfers > 0);
    }
}

#[test]
fn whatever_must_be_survived_is_survived() {
    let reports = all(SimOptions { seed: 1_000, slots: 40, transfers: 30, ..SimOptions::default() }, seeds());
    promises_hold(&reports);
    // The generator does what it promises.
    for fault in
        ["crashes", "messages lost", "messages replayed", "partitions", "pauses", "total outages", "byzantine nodes"]
    {
        let injected: u64 = reports.iter().map(|report| report.faults.get(fault).copied().unwrap_or(0)).sum();
        assert!(injected > 0, "no {fault}");
    }
}

#[test]
fn liars_on_a_calm_network_spoil_no_more_than_their_part() {
    promises_hold(&all(
        SimOptions { seed: 2_000, slots: 30, transfers: 30, faults: FaultSet::Liars, ..SimOptions::default() },
        seeds() / 10,
    ));
}

#[test]
fn two_hundred_candidates_take_turns_in_twenty_seats() {
    let options = SimOptions { seed: 3_000, slots: 20, transfers: 100, candidates: 200, ..SimOptions::default() };
    promises_hold(&all(options, seeds() / 50));
}

#[test]
fn beyond_what_is_tolerated_it_may_halt() {
    let options =
        SimOptions { seed: 4_000, slots: 20, transfers: 20, faults: FaultSet::Beyond, ..SimOptions::default() };
    for report in all(options, seeds() / 20) {
        assert_eq!(report.forks, 0, "{:?}", report.failures);
    }
}

#[test]
fn one_seed_is_one_history() {
    let history = |seed| {
        let mut lines = Vec::new();
        let mut trace = |line| lines.push(line);
        let options = SimOptions { seed, slots: 15, ..SimOptions::default() };
        dynemix_simulator::world::World::new(&options, Some(&mut trace)).run();
        lines
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

#[test]
fn what_captured_shards_take_is_banned_before_it_can_be_spent() {
    let options = SimOptions {
        seed: 5_000,
        slots: 40,
        transfers: 30,
        candidates: 120,
        faults: FaultSet::Captured,
        mode: Mode::Quilt,
        ..SimOptions::default()
    };
    let reports = all(options, seeds() / 20);
    promises_hold(&reports);
    // Runs end where more seats fall than are tolerated, now and then before the ban.
    let banned: u64 = reports.iter().map(|report| report.banned).sum();
    let unbanned: u64 = reports.iter().map(|report| report.unbanned).sum();
    assert!(banned >= seeds() / 20 && unbanned == 0, "{banned} banned, {unbanned} not");
}
