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
            "settings",
            "block_limited",
        ],
    );
    assert_keys(&report["latency_ms"], &["p50", "p99", "max"]);
    assert_keys(&report["stages"][0], &["name", "busy_s", "queued_s"]);
    let (finals, bad) = (report["final"].as_u64().unwrap(), report["refused"]["bad_signature"].as_u64().unwrap());
    assert_eq!(finals + bad, 10_000);
    assert!((100..300).contains(&bad));
    for (cores, connections) in [("2", "3"), ("3", "17")] {
        assert_eq!(run(cores, connections)["state_root"], report["state_root"]);
    }
}

#[test]
fn bench_engine_by_time_and_by_rate() {
    let report = json(&[
        "bench",
        "engine",
        "--accounts",
        "2000",
        "--seconds",
        "1",
        "--slot-ms",
        "200",
        "--connections",
        "4",
        "--json",
        "-",
    ]);
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
        "200",
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
    let cycles = |row: usize, part: &str| report["batches"][row]["cycles"][part].as_f64().unwrap();
    for part in ["decode", "hash", "scalars", "sort", "additions", "folding"] {
        assert!(cycles(1, part) > 0.0, "{part}: {report}");
    }
    let threads: Vec<u64> =
        report["threads"].as_array().unwrap().iter().map(|row| row["threads"].as_u64().unwrap()).collect();
    assert!(threads.first() == Some(&1) && threads.last() == report["cores"].as_u64().as_ref(), "{report}");
    // What others do is measured where they were built in, and said where they were not.
    let rivals = cfg!(feature = "rivals");
    assert_eq!(report["batches"][1]["ratio"].is_number(), rivals, "{report}");
    let shown = dynemix(&["bench", "verify", "--sizes", "4", "--rounds", "1"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(text.contains("--features rivals"), !rivals, "{text}");
    assert_eq!(text.contains("dalek batch/s"), rivals, "{text}");
    let report = json(&["bench", "apply", "--accounts", "20000", "--entries", "1000", "--rounds", "1", "--json", "-"]);
    assert_keys(
        &report,
        &["entries_per_s", "hashmap_entries_per_s", "ratio", "bytes_per_account", "accounts", "state_root"],
    );
}

#[test]
fn bench_state_reports_what_it_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let run = ["bench", "state", "--accounts", "20000", "--entries", "1000", "--rounds", "1", "--json"];
    let output = dynemix(&[&run[..], &[path.to_str().unwrap()]].concat());
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("make the store") && shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let keys = [
        "durable_ms",
        "sync_ms",
        "root_one_core_ms",
        "redb_ms",
        "sqlite_ms",
        "ratio_to_redb",
        "open_after_crash_s",
        "state_root",
    ];
    assert_keys(&report, &keys);
    let rivals = cfg!(feature = "rivals");
    assert_eq!(report["ratio_to_redb"].as_f64().is_some_and(|ratio| ratio > 1.0), rivals, "{report}");
}

#[test]
fn a_store_is_inspected_verified_and_carried_over_by_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (store, snapshot, restored) = (path("store"), path("snapshot"), path("restored"));
    let run = [
        "bench",
        "engine",
        "--accounts",
        "2000",
        "--transactions",
        "6000",
        "--connections",
        "2",
        "--keep-transactions",
    ];
    let report = json(&[&run[..], &["--store", &store, "--json", "-"]].concat());
    let root = report["state_root"].as_str().unwrap();
    let inspected = json(&["state", "inspect", "--store", &store, "--json", "-"]);
    assert_eq!(inspected["state_root"], root);
    assert_eq!(inspected["supply_units"], "1000000000000000000");
    assert_eq!(json(&["state", "verify", "--store", &store, "--json", "-"])["rebuilt_root"], root);
    let block = json(&["block", "show", "1", "--store", &store, "--json", "-"]);
    let transaction = &block["transactions_kept"][3];
    // Each sender has one; what the minter answers stands in the block beside them.
    let kept = block["transactions_kept"].as_array().unwrap().len() as u64;
    assert_eq!(Some(kept), block["debits"].as_u64());
    assert!(kept <= block["transactions"].as_u64().unwrap());
    assert!(block.get("fees_units").is_none(), "the chain is free of fees");
    let newest = json(&["block", "show", "latest", "--store", &store, "--json"]);
    assert_eq!(newest["height"], json(&["state", "inspect", "--store", &store, "--json"])["blocks_last"]);
    let shown = String::from_utf8(dynemix(&["block", "show", "1", "--store", &store]).stdout).unwrap();
    let id = transaction["id"].as_str().unwrap();
    assert!(shown.contains(id) && !shown.contains("fees"), "{shown}");
    let cut = format!("{}..", &id[..16]);
    for begin in [&id[..8], &cut] {
        let found = json(&["block", "find", "--transaction", begin, "--store", &store, "--json"]);
        assert_eq!(found["found"][0]["id"], id, "{begin}");
    }
    let found = json(&["block", "find", "--transaction", id, "--store", &store, "--json", "-"]);
    assert_eq!((found["found"].as_array().unwrap().len(), &found["found"][0]["sender"]), (1, &transaction["sender"]));
    let sender = transaction["sender"].as_str().unwrap();
    let found = json(&["block", "find", "--account", sender, "--store", &store, "--json", "-"]);
    let sent = found["found"].as_array().unwrap().iter().filter(|row| row["sender"] == sender).count() as u64;
    let account = json(&["state", "get", sender, "--store", &store, "--json", "-"]);
    assert_eq!(account["sequence"], sent, "as many sent as the state has counted");
    assert_keys(&account, &["balance_units", "proof", "height", "state_root"]);

    assert_eq!(json(&["snapshot", "create", "--store", &store, "--out", &snapshot, "--json", "-"])["state_root"], root);
    let listed = json(&["snapshot", "list", directory.path().to_str().unwrap(), "--json", "-"]);
    assert_eq!(listed["snapshots"][0]["state_root"], root);
    assert_eq!(json(&["snapshot", "verify", &snapshot, "--root", root, "--json", "-"])["state_root"], root);
    assert_eq!(
        json(&["snapshot", "restore", &snapshot, "--store", &restored, "--root", root, "--json", "-"])["state_root"],
        root
    );
    assert_eq!(
        json(&["state", "get", sender, "--store", &restored, "--json", "-"])["balance_units"],
        account["balance_units"]
    );

    // What goes wrong has its code and says where.
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let output = dynemix(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    fails(&["state", "inspect", "--store", &path("nothing")], 1, "holds no store");
    fails(&["state", "get", &"0".repeat(64), "--store", &store], 1, "no account has the key");
    fails(&["state", "get", "xyz", "--store", &store], 2, "64 hexadecimal digits");
    fails(&["block", "show", "99999", "--store", &store], 1, "record 99999 is not kept");
    fails(&["snapshot", "restore", &snapshot, "--store", &restored], 1, "holds a store already");
    fails(&["snapshot", "verify", &snapshot, "--root", &"0".repeat(64)], 1, "the snapshot's root is");
    fails(&[&run[..], &["--store", &store]].concat(), 1, "holds a store already");
    let image = directory.path().join("restored/image.0");
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[9_000] ^= 2;
    std::fs::write(&image, bytes).unwrap();
    fails(&["state", "verify", "--store", &restored], 3, "image.0 is damaged at byte 8192");
}

#[test]
fn a_profile_leaves_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("profile");
    let output = dynemix(&[
        "profile",
        "apply",
        "--accounts",
        "200000",
        "--entries",
        "100000",
        "--rounds",
        "3",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["flame.svg", "top.txt", "report.json"] {
        assert!(std::fs::metadata(out.join(file)).unwrap().len() > 100, "{file}");
    }
    let top = std::fs::read_to_string(out.join("top.txt")).unwrap();
    assert!(top.contains("dynemix_engine::"), "functions have their modules:\n{top}");
}

#[test]
fn wrong_usage_is_explained_and_has_its_exit_code() {
    for (arguments, code, words) in [
        (&["bench", "engine", "--accounts", "0"][..], 2, "--accounts must be at least 1, not 0"),
        (&["bench", "engine", "--invalid-share", "1.5"], 2, "--invalid-share must be between 0 and 1, not 1.5"),
        (&["bench", "engine", "--seconds", "nan"], 2, "--seconds"),
        (&["bench", "verify", "--sizes", "0"], 2, "--sizes"),
        (&["bench", "saturate", "--link", "fast"], 2, "--link"),
        (&["simulate", "--nodes", "2"], 2, "--nodes must be between 4 and 5000, not 2"),
        (&["simulate", "takeover", "--stake", "2"], 2, "--stake"),
        (&["simulate", "grind", "--tries", "0"], 2, "--tries"),
        (&["simulate", "whole", "--load", "1"], 2, "--load"),
        (&["bench", "verify", "--simd", "sse"], 2, "possible values: auto, portable, avx2, avx_ifma, avx512"),
        (&["block", "find", "--transaction", "0123456", "--store", "x"], 2, "8 to 64 hexadecimal digits"),
        (&["block", "show", "+5", "--store", "x"], 2, "is no height"),
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
