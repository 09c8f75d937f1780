//! The grinder against a draw that reads the stakes of now: it must win there, or it is no grinder.
//! `cargo test -p dynemix-simulator --features mutations --test grinder`

use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_simulator::grind::{GrindOptions, GrindReport, Moves, grind};

fn found(fault: Option<Mutation>) -> GrindReport {
    plant(fault);
    let (moves, tries) = (Moves::Stake, 4_000);
    let options = GrindOptions { stake: 0.1, candidates: 200, seats: 20, heights: 8, tries, moves, seed: 1 };
    let report = grind(&options, |_| ());
    plant(None);
    report
}

#[test]
fn the_grinder_wins_where_draws_read_the_stakes_of_now_and_nowhere_else() {
    let (honest, planted) = (found(None), found(Some(Mutation::DrawByStakesOfNow)));
    assert!(honest.sigmas.abs() < 3.0 && honest.choices == 1.0, "{honest:?}");
    assert!(planted.mean >= 6.5 && planted.best >= 7, "{planted:?}");
    assert!((planted.mean - planted.closed_form).abs() < 0.8, "as many independent draws as tries: {planted:?}");
}
