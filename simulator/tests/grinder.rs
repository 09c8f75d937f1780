//! The grinder against a draw that reads the stakes of now: it must win there, or it is no grinder.
//! `cargo test -p dynemix-simulator --features mutations --test grinder`
//!
//! In large, as documented: `DYNEMIX_HEIGHTS=200 DYNEMIX_TRIES=100000`, with `--release` and `--nocapture`.

use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_simulator::grind::{GrindOptions, GrindReport, Moves, grind};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

fn found(fault: Option<Mutation>) -> GrindReport {
    plant(fault);
    let (heights, tries) = (number("DYNEMIX_HEIGHTS", 8), number("DYNEMIX_TRIES", 4_000));
    let options = GrindOptions { stake: 0.1, candidates: 200, seats: 20, heights, tries, moves: Moves::Stake, seed: 1 };
    let report = grind(&options, |_| ());
    plant(None);
    println!("{fault:?}: {report:?}");
    report
}

#[test]
fn the_grinder_wins_where_draws_read_the_stakes_of_now_and_nowhere_else() {
    let (honest, planted) = (found(None), found(Some(Mutation::DrawByStakesOfNow)));
    assert!(honest.sigmas.abs() < 3.0 && honest.choices == 1.0, "{honest:?}");
    assert!(planted.mean >= 6.5 && planted.best >= 7, "{planted:?}");
    assert!((planted.mean - planted.closed_form).abs() < 0.8, "as many independent draws as tries: {planted:?}");
}
