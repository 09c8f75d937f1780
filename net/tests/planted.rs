//! The fault that is planted in the budget, and that the crowd finds it. `cargo test -p dynemix-net --features mutations
//! --test planted`

mod common;

use common::flood::{self, crowd_of, judge};
use dynemix_net::mesh::{Mutation, plant};
use std::time::Duration;

/// Not a test of its own: the other process.
#[test]
fn crowd() {
    flood::crowd();
}

#[test]
fn a_budget_that_skips_unfinished_frames_is_found() {
    let crowd = crowd_of([20, 8, 8, 8, 20, 16], 64 << 20, Duration::from_secs(8));
    let harm = crowd.attack(|| plant(Some(Mutation::BudgetSkipsUnfinished)));
    let found = judge(&crowd, &harm).expect_err("it is to be found");
    assert!(harm.grown > 2 * crowd.budget, "memory grows as it likes: {found}");
}
