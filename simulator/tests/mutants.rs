//! Every planted fault of the protocol is found by some seed. `cargo test --release -p dynemix-simulator --features
//! mutations`
#![cfg(feature = "mutations")]

use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_simulator::options::{FaultSet, SimOptions};
use dynemix_simulator::world::World;
use std::time::Instant;

/// Seeds that are tried for a fault at most.
const SEEDS_MAX: u64 = 400;

fn found(mutation: Mutation) -> Option<(u64, String)> {
    plant(Some(mutation));
    let mut outcome = None;
    for seed in 1..=SEEDS_MAX {
        // Some faults break the calmest run; most need trouble.
        let faults = match seed {
            1 | 2 => FaultSet::None,
            seed if matches!(seed % 5, 1 | 3) => FaultSet::Liars,
            // Odd, so in quilt mode.
            seed if seed % 10 == 7 => FaultSet::Captured,
            _ => FaultSet::Survivable,
        };
        // In one of ten most candidates have no seat at a time.
        let candidates = if seed % 10 == 4 || faults == FaultSet::Captured { 80 } else { 20 };
        let options = SimOptions { seed, slots: 40, transfers: 20, candidates, faults, ..SimOptions::default() };
        let failure = std::panic::catch_unwind(|| World::new(&options, None).run().failure.map(|failure| failure.what));
        match failure {
            Ok(None) => {}
            Ok(Some(what)) => {
                outcome = Some((seed, what));
                break;
            }
            Err(_) => {
                outcome = Some((seed, "an invariant of the engine itself".into()));
                break;
            }
        }
    }
    plant(None);
    outcome
}

#[test]
fn every_planted_fault_is_found() {
    // Panics are one of the ways to be found.
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("DYNEMIX_MUTANT").ok();
    let mutations: Vec<Mutation> = Mutation::ALL
        .into_iter()
        .filter(|mutation| only.as_ref().is_none_or(|only| format!("{mutation:?}") == *only))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let missed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&mutation) = mutations.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let start = Instant::now();
                    match found(mutation) {
                        Some((seed, what)) => {
                            println!("{mutation:?}: seed {seed}, {:.1} s: {what}", start.elapsed().as_secs_f64())
                        }
                        None => {
                            println!(
                                "{mutation:?}: NOT FOUND in {SEEDS_MAX} seeds, {:.1} s",
                                start.elapsed().as_secs_f64()
                            );
                            missed.lock().unwrap().push(mutation);
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
