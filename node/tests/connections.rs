//! Ten thousand callers at once: an honest guest among them is served as if it were alone, and they cost little.

mod common;

use common::*;
use dynemix_engine::base::parameters::DYNE;
use dynemix_perf::machine::rss_bytes;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 10_000;
/// Guests that are let in and say nothing.
const IDLE: usize = 100;

/// Not a test of its own: a process that only calls, since one process may not have descriptors for both ends.
#[test]
fn crowd() {
    let Some(address) = std::env::var("DYNEMIX_TEST_CROWD").ok() else { return };
    let mut held = Vec::new();
    for i in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(&address).unwrap();
        // A third begins a handshake, a third half of one, a third says nothing. Who comes too fast is hung up on.
        let _ = stream.write_all(&[0, 32, 7, 7, 7, 7][..[6, 3, 0][i % 3]]);
        held.push(stream);
    }
    println!("holding {}", held.len());
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

#[test]
fn ten_thousand_callers_do_not_slow_an_honest_one() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path());
    let mut honest = Client::welcomed(&node);
    let chain = genesis().chain;
    let mut sequence = 0;
    let mut median = || {
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(honest.outcome(&transfer(&chain, 7, key(6), DYNE, sequence)), Ok(()));
                sequence += 1;
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[4]
    };
    let alone = median();
    let idle: Vec<Client> = (0..IDLE).map(|_| Client::welcomed(&node)).collect();
    let before = rss_bytes();
    let mut crowd = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowd", "--nocapture"])
        .env("DYNEMIX_TEST_CROWD", node.address().unwrap().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(crowd.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(&format!("holding {CONNECTIONS}"))));
    let crowded = median();
    let grown = rss_bytes().saturating_sub(before);
    // What is measured is mostly the wait for the slot's end.
    let slot = Duration::from_millis(SLOT_MS);
    assert!(crowded < alone + slot, "{crowded:?} among the crowd, {alone:?} alone");
    assert!(grown < 64 << 20, "the crowd has cost {grown} bytes");
    assert!(idle.iter().all(|idle| !idle.is_thrown_out(Duration::ZERO)), "who says nothing keeps its place");
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
    node.stop(false).unwrap();
}
