//! The profiler names what was hot, in the order in which it was, and says the same of the same work.

use dynemix_perf::{Hottest, Profile};
use std::hint::black_box;

/// By work, not by time: what others do on the computer changes no share.
const CALLS: u32 = 700_000;

/// Inlined: where the program knows it, it is hot by itself, and not the function around it.
#[inline(always)]
fn inlined_work(mut sum: u64) -> u64 {
    for round in 0..1_000u64 {
        sum = black_box(sum.wrapping_mul(3).wrapping_add(round));
    }
    sum
}

/// The same in another function, so that the names of both must be kept apart.
#[inline(always)]
fn other_inlined_work(mut sum: u64) -> u64 {
    for round in 0..1_000u64 {
        sum = black_box(sum.rotate_left(5) ^ round);
    }
    sum
}

#[inline(never)]
fn both_in_turn() -> u64 {
    let mut sum = 1;
    for _ in 0..CALLS {
        sum = inlined_work(inlined_work(inlined_work(inlined_work(sum))));
        sum = other_inlined_work(sum);
    }
    sum
}

#[inline(never)]
fn called_seldom() -> u64 {
    (0..CALLS).fold(1, |sum, _| other_inlined_work(sum))
}

fn profiled() -> Hottest {
    let directory = std::env::temp_dir().join(format!("dynemix-perf-test-{}", std::process::id()));
    let profile = Profile::start().unwrap();
    assert!(Profile::start().is_err(), "one at a time");
    let other = std::thread::Builder::new().name("seldom".into()).spawn(called_seldom).unwrap();
    black_box(both_in_turn());
    black_box(other.join().unwrap());
    let files = profile.finish(&directory).unwrap();
    let drawn = std::fs::read_to_string(&files.flame_graph).unwrap();
    for name in ["<svg", "both_in_turn", "called_seldom", "seldom", "inlined_work"] {
        assert!(drawn.contains(name), "{name} is not in the graph");
    }
    let top = std::fs::read_to_string(&files.top).unwrap();
    assert!(top.contains("profile::both_in_turn") || top.contains("profile::inlined_work"), "{top}");
    assert!(files.top_text.lines().all(|line| line.chars().count() <= 80), "{}", files.top_text);
    std::fs::remove_dir_all(directory).unwrap();
    files.hottest
}

/// Shares of all samples: own and with what is called.
fn shares(hottest: &Hottest, function: &str) -> (f64, f64) {
    let share = |count: usize| count as f64 / hottest.samples as f64;
    let named: Vec<_> = hottest.functions.iter().filter(|hot| hot.function.ends_with(function)).collect();
    assert_eq!(named.len(), 1, "{function}: {named:?}");
    (share(named[0].own), share(named[0].total))
}

#[test]
fn a_known_function_leads_and_two_runs_agree() {
    let runs = [profiled(), profiled()];
    for hottest in &runs {
        let shown: Vec<_> = hottest.functions.iter().take(12).collect();
        assert!(hottest.samples > 200 && hottest.lost == 0, "{} samples", hottest.samples);
        assert!(hottest.has_lines, "this test is built with them");
        // Four of six parts of the work.
        assert_eq!(hottest.functions[0].function, "profile::inlined_work", "{shown:#?}");
        let (own, _) = shares(hottest, "profile::inlined_work");
        assert!((0.45..0.90).contains(&own), "{own}: {shown:#?}");
        let (_, both) = shares(hottest, "profile::both_in_turn");
        let (_, seldom) = shares(hottest, "profile::called_seldom");
        assert!(both > 0.6 && seldom > 0.05 && both + seldom > 0.95, "{both} {seldom}: {shown:#?}");
    }
    let [first, second] = &runs;
    for function in ["profile::inlined_work", "profile::other_inlined_work", "profile::both_in_turn"] {
        let (one, other) = (shares(first, function), shares(second, function));
        assert!((one.0 - other.0).abs() < 0.12 && (one.1 - other.1).abs() < 0.12, "{function}: {one:?} {other:?}");
    }
}
