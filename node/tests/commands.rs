//! The binary as a user meets it: verbs, JSON keys, exit codes, reproducible roots.

use serde_json::Value;
use std::process::{Command, Output};

fn dynemix(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dynemix")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = dynemix(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_keys(report: &Value, keys: &[&str]) {
    for key in keys {
        assert!(report.get(key).is_some(), "{key} is missing");
    }
}

#[test]
fn bench_engine_reports_what_it_promises_and_its_root_repeats() {
    let run = |cores: &str, connections: &str| {
        json(&[
            "bench",
            "engine",
            "--accounts",
            "3000",
            "--transactions",
            "10000",
            "--invalid-share",
            "0.02",
            "--cores",
            cores,
            "--connections",
            connections,
            "--json",
            "-",
        ])
    };
    let report = run("1", "3");
    assert_keys(
        &report,
        &[
            "bench",
            "tps_final",
            "target_tps",
            "cores",
            "simd_backend",
            "accounts",
            "bytes_per_account",
            "peak_rss_bytes",
            "stages",
            "state_root",
        ],
    );
    assert_keys(&report["latency_ms"], &["p50", "p99", "max"]);
    assert_keys(&report["stages"][0], &["name", "busy_s", "blocked_s", "idle_s"]);
    let (finals, bad) = (report["final"].as_u64().unwrap(), report["refused"]["bad_signature"].as_u64().unwrap());
    assert_eq!(finals + bad, 10_000);
    assert!((100..300).contains(&bad));
    for (cores, connections) in [("2", "3"), ("3", "17")] {
        assert_eq!(run(cores, connections)["state_root"], report["state_root"]);
    }
}

#[test]
fn bench_engine_by_time_and_by_rate() {
    let report =
        json(&["bench", "engine", "--accounts", "2000", "--seconds", "1", "--slot-ms", "100", "--connections", "4", "--json", "-"]);
    assert!(report["final"].as_u64().unwrap() > 0);
    assert_eq!(report["supply_conserved"], true);
    let report = json(&[
        "bench",
        "engine",
        "--accounts",
        "2000",
        "--seconds",
        "1",
        "--slot-ms",
        "100",
        "--connections",
        "4",
        "--rate",
        "1000",
        "--json",
        "-",
    ]);
    assert!((900..=1010).contains(&report["offered"].as_u64().unwrap()), "{report}");
    assert_eq!(report["generator_limited"], true);
}

#[test]
fn bench_verify_and_apply_report_what_they_promise() {
    let report = json(&["bench", "verify", "--sizes", "1,64", "--rounds", "1", "--json", "-"]);
    assert_keys(&report, &["bench", "cores", "simd_backend", "peak_rss_bytes"]);
    assert_keys(&report["batches"][1], &["size", "ours_per_s", "dalek_batch_per_s", "ratio"]);
    let report = json(&["bench", "apply", "--accounts", "20000", "--entries", "1000", "--rounds", "1", "--json", "-"]);
    assert_keys(&report, &["entries_per_s", "hashmap_entries_per_s", "ratio", "bytes_per_account", "accounts", "state_root"]);
}

#[test]
fn a_profile_leaves_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("profile");
    let output =
        dynemix(&["profile", "apply", "--accounts", "200000", "--entries", "100000", "--rounds", "3", "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["flame.svg", "top.txt", "report.json"] {
        assert!(std::fs::metadata(out.join(file)).unwrap().len() > 100, "{file}");
    }
}

#[test]
fn wrong_usage_is_explained_and_has_its_exit_code() {
    for (arguments, code, words) in [
        (&["bench", "engine", "--accounts", "0"][..], 1, "must be at least 1"),
        (&["bench", "engine", "--invalid-share", "1.5"], 1, "between 0 and 1"),
        (&["bench", "verify", "--sizes", "0"], 1, "--sizes"),
        (&["bench", "engine", "--colour"], 2, "--colour"),
        (&["bench", "engine", "--transactions", "5", "--rate", "7"], 2, "cannot be used with"),
        (&[], 2, "Usage"),
    ] {
        let output = dynemix(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let help = dynemix(&["bench", "engine", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
}
