//! A minter that lies to a network of real processes: no slot is lost for it, and where it lied it is gone.
//!
//! In small. In large, one kind after the other: docs/threats.md.

use dynemix::devnet::flood::FloodOptions;
use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd};
use dynemix::devnet::lies::LieKind;
use dynemix::devnet::report::{DevnetReport, SlotRow};
use dynemix::devnet::run::{RunOptions, Watcher, run};
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
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let shape = DevnetShape {
        nodes: 4,
        shards: 1,
        slot_ms: 2_000,
        quilt: true,
        load_accounts: 1_000,
        link: String::new(),
        liar: true,
        simd: any_simd(),
    };
    let options = RunOptions {
        shape,
        tps: Some(20),
        duration_ms: Some(12_000),
        then: None,
        kill_every: None,
        flood: Some(FloodOptions { kind, bytes_per_s: 1_000_000 }),
    };
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
fn no_slot_is_lost_for_frames_that_never_end() {
    let report = flooded(LieKind::Unfinished);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.final_transactions, report.offered);
}
