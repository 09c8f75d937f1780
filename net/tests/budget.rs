//! Named peers at their worst: what a mesh holds stays within its budget, and comes up to it. Alone in its process, since
//! memory is measured; the crowd has another one.

mod common;

use common::flood::{self, crowd_of, judge};
use std::time::Duration;

/// Not a test of its own: the other process.
#[test]
fn crowd() {
    flood::crowd();
}

#[test]
fn a_crowd_of_names_fills_its_shares_and_nothing_more_and_who_is_honest_is_heard() {
    // Of 64 names 20 have a seat, 8 are drawn, 8 custodians, 8 forward and 20 are only names; and there are 16 guests.
    let crowd = crowd_of([20, 8, 8, 8, 20, 16], 64 << 20, Duration::from_secs(8));
    let harm = crowd.attack(|| ());
    println!("{harm:?}");
    judge(&crowd, &harm).unwrap();
}

/// The campaign: `cargo test -p dynemix-net --test budget -- --ignored --nocapture`. Two minutes, 4 096 descriptors, and
/// memory for the budget twice.
#[test]
#[ignore = "a campaign of minutes and a gigabyte"]
fn two_thousand_names_fill_the_default_budget_and_nothing_more() {
    let budget = std::env::var("DYNEMIX_BUDGET_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(1_024usize);
    let crowd = crowd_of([640, 384, 192, 128, 704, 256], budget << 20, Duration::from_secs(120));
    let harm = crowd.attack(|| ());
    println!("{harm:?}");
    judge(&crowd, &harm).unwrap();
}
