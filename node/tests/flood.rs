//! A network of real processes with trouble: a minter that lies loses no slot and is gone where it lied, and of nothing that
//! was handed in to nodes that are killed is it unknown what became of it.
//!
//! In small. In large, one kind after the other: docs/threats.md.

use dynemix::devnet::flood::FloodOptions;
use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd};
use dynemix::devnet::lies::LieKind;
use dynemix::devnet::opening::RunOptions;
use dynemix::devnet::report::{DevnetReport, SlotRow};
use dynemix::devnet::run::{Watcher, run};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

struct Silent;

impl Watcher for Silent {
    fn say(&self, _: &str) {}
    fn signed(&self, _: u64, _: u64) {}
    fn up(&self, _: &Devnet) {}
    fn slot(&self, _: &SlotRow) {}
}

/// What is measured is time: a network at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn flooded(kind: LieKind) -> DevnetReport {
    let flood = Some(FloodOptions { kind, bytes_per_s: 1_000_000 });
    troubled(RunOptions {
        tps: Some(20),
        duration_ms: Some(12_000),
        then: None,
        kill_every: None,
        flood,
        shape: shape(true),
        api_port: None,
    })
}

fn shape(liar: bool) -> DevnetShape {
    DevnetShape {
        nodes: 4,
        shards: 1,
        slot_ms: 2_000,
        quilt: true,
        load_accounts: 1_000,
        link: String::new(),
        liar,
        simd: any_simd(),
    }
}

fn troubled(options: RunOptions) -> DevnetReport {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_dynemix"));
    run(directory.path(), &options, Some(program), &AtomicBool::new(false), &Silent).unwrap()
}

#[test]
fn no_slot_is_lost_for_a_liar_and_it_is_gone_within_a_slot() {
    let kinds = [
        LieKind::Finals,
        LieKind::Votes,
        LieKind::Stakes,
        LieKind::Cells,
        LieKind::Garbage,
        LieKind::Bodies,
        // What is nobody's fault is one all the same if it is all that comes.
        LieKind::Alarms,
        LieKind::Answers,
        LieKind::Questions,
    ];
    for kind in kinds {
        let report = flooded(kind);
        let lies = report.flood.as_ref().expect("it lied");
        assert!(report.failures.is_empty(), "{}: {:?}, {lies:?}", kind.name(), report.failures);
        assert_eq!(report.final_transactions, report.offered, "{}", kind.name());
        assert!(lies.gone_after_ms.is_some_and(|ms| ms < 2_000), "{}: {lies:?}", kind.name());
    }
}

#[test]
fn of_what_killed_nodes_had_it_is_known_what_became_of_it() {
    let kills = RunOptions {
        shape: shape(false),
        tps: Some(200),
        duration_ms: Some(24_000),
        then: None,
        kill_every: Some(3),
        flood: None,
        api_port: None,
    };
    let report = troubled(kills);
    assert!(report.failures.is_empty() && report.kills >= 2, "{} kills: {:?}", report.kills, report.failures);
    assert!(report.handed_in_again > 0, "a node was killed that had nothing");
    assert_eq!(report.without_outcome, 0);
    let refused: u64 = report.refused.values().sum();
    assert_eq!(report.final_transactions + refused, report.offered, "{:?}", report.refused);
    // Three of four are a quorum of all, so a slot may be lost to none; who had no room says so.
    assert_eq!(refused, report.busy, "{:?}", report.refused);
}

#[test]
fn no_slot_is_lost_for_frames_that_never_end() {
    let report = flooded(LieKind::Unfinished);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.final_transactions, report.offered);
}
