//! Ten thousand connections at once: an honest one among them is served as if it were alone.

mod common;

use common::*;
use dynemix::pipeline::run::Pipeline;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::client_frames::hello;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 10_000;

/// Not a test of its own: a process that only holds connections, since one process may not have descriptors for both
/// ends.
#[test]
fn crowd() {
    let Some(order) = std::env::var("DYNEMIX_TEST_CROWD").ok() else { return };
    let (address, hello_hex) = order.split_once(' ').unwrap();
    let hello: Vec<u8> =
        (0..hello_hex.len() / 2).map(|i| u8::from_str_radix(&hello_hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    let mut held = Vec::new();
    for i in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).unwrap();
        // A third says hello, a third half of it, a third nothing.
        stream.write_all(&hello[..[hello.len(), hello.len() / 2, 0][i % 3]]).unwrap();
        held.push(stream);
    }
    println!("holding {}", held.len());
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

#[test]
fn ten_thousand_connections_do_not_slow_an_honest_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory.path().join("state"));
    config.sizes.limits.connections_max = CONNECTIONS + 100;
    config.sizes.limits.frame_timeout = Duration::from_secs(2);
    let pipeline = Pipeline::start(config).unwrap();
    let mut honest = Client::welcomed(&pipeline);
    let chain = pipeline.chain().clone();
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
    let hello_hex: String = hex::encode(hello(&pipeline.chain().genesis_hash));
    let mut crowd = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowd", "--nocapture"])
        .env("DYNEMIX_TEST_CROWD", format!("{} {hello_hex}", pipeline.address()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(crowd.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(&format!("holding {CONNECTIONS}"))));
    let crowded = median();
    // A slot is 20 ms; what is measured is mostly the wait for its end.
    assert!(crowded < alone + Duration::from_millis(100), "{crowded:?} among the crowd, {alone:?} alone");
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
    let summary = pipeline.stop().unwrap();
    assert!(summary.net.accepted as usize > CONNECTIONS);
    assert_eq!(summary.slots_lost, 0);
}
