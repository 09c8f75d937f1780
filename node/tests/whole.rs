//! Whole nodes in virtual time: what they say is true through crashes and under any load, and the same seed is the same
//! run. With faults that can be planted, each is found: `cargo test --release -p dynemix --features mutations --test whole`.
//!
//! `dynemix simulate whole` runs many seeds, longer.
#![cfg(not(feature = "tiny-limits"))]

use dynemix::simulated::options::{Scene, WholeOptions};
use dynemix::simulated::world::{Whole, WholeOutcome};

fn run(scene: Scene, seed: u64, slots: u64) -> WholeOutcome {
    Whole::new(&WholeOptions { seed, slots, scene, ..WholeOptions::default() }).run()
}

fn good(scene: Scene, seed: u64, slots: u64) -> WholeOutcome {
    let outcome = run(scene, seed, slots);
    assert_eq!(outcome.failure, None, "{outcome:?}");
    outcome
}

#[test]
fn the_same_seed_is_the_same_run_and_pools_that_were_told_the_same_close_the_same_set() {
    let [one, again] = [0, 0].map(|_| good(Scene::Calm, 3, 8));
    assert_eq!(one, again);
    assert!(one.height > 16 && one.accepted > 1_500 && one.slots_lost == 0, "{one:?}");
    assert_ne!(one.digest, good(Scene::Calm, 5, 8).digest);
}

#[test]
fn what_was_accepted_is_final_though_nodes_were_killed() {
    let outcome = good(Scene::Crashes, 1, 16);
    assert!(outcome.killed >= 3 && outcome.frames_lost > 0 && outcome.accepted > 2_000, "{outcome:?}");
}

#[test]
fn five_times_the_load_costs_no_slot_and_none_of_what_nodes_carry() {
    let outcome = good(Scene::Overload, 2, 16);
    assert!(outcome.refused.get("busy").is_some_and(|&busy| busy > 1_000), "{outcome:?}");
}

#[cfg(feature = "mutations")]
#[test]
fn every_planted_fault_is_found() {
    use dynemix_engine::base::mutation::{Mutation, plant};
    let scenes = |mutation: Mutation| match mutation {
        Mutation::PoolByArrival => Scene::Calm,
        Mutation::OwnForgotten | Mutation::StaleVerified => Scene::Crashes,
        _ => Scene::Overload,
    };
    for mutation in Mutation::OF_LOAD.into_iter().chain(Mutation::OF_NODE) {
        plant(Some(mutation));
        let found = (1..=6).find_map(|seed| {
            let what = run(scenes(mutation), seed, 24).failure?;
            Some((seed, what))
        });
        plant(None);
        println!("{mutation:?}: {found:?}");
        assert!(found.is_some(), "{mutation:?} is planted, and six seeds do not find it");
    }
}
