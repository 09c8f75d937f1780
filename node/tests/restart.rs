//! Stop and start, and stop without warning: the state comes back to the same root, and nothing final is lost.

mod common;

use common::*;
use dynemix::keep::open::OpenError;
use dynemix::pipeline::run::{Pipeline, StartError};
use dynemix_engine::base::parameters::DYNE;
use dynemix_storage::StoreError;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_clean_stop_reopens_to_the_same_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (mut root, mut height) = (None, 0);
    for round in 0..4u64 {
        let pipeline = Pipeline::start(config(&path)).unwrap();
        let mut client = Client::welcomed(&pipeline);
        let chain = pipeline.chain().clone();
        if round != 2 {
            // Account 50 + round is new each time.
            let cells: Vec<_> =
                (0..3).map(|i| transfer(&chain, 1, key(50 + round as u8), DYNE, 3 * round.min(2) + i)).collect();
            client.submit(&cells);
            assert!(client.outcomes(3).iter().all(|outcome| outcome.1.is_ok()));
        }
        let summary = pipeline.stop().unwrap().ledger;
        if round == 2 {
            assert_eq!(Some(summary.root), root, "nothing happened, nothing changed");
            assert_eq!(summary.height, height);
        }
        (root, height) = (Some(summary.root), summary.height);
        assert_eq!(summary.supply, u128::from(1_000 * DYNE * u64::from(ACCOUNTS)));
    }
}

#[test]
fn one_process_at_a_time_and_one_chain_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let pipeline = Pipeline::start(config(&path)).unwrap();
    assert!(matches!(
        Pipeline::start(config(&path)).err().unwrap(),
        StartError::State(OpenError::Store(StoreError::Locked { .. }))
    ));
    pipeline.stop().unwrap();
    let mut other = config(&path);
    other.parameters.amount_min += 1;
    assert!(matches!(
        Pipeline::start(other).err().unwrap(),
        StartError::State(OpenError::Store(StoreError::WrongChain { .. }))
    ));
}

/// Not a test of its own: the process that [`a_kill_loses_nothing_final`] kills.
#[test]
fn victim() {
    let Some(directory) = std::env::var_os("DYNEMIX_TEST_VICTIM") else { return };
    let pipeline = Pipeline::start(config(std::path::Path::new(&directory))).unwrap();
    println!("listening {}", pipeline.address());
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_kill_loses_nothing_final() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut sequence = 0;
    let chain = dynemix_engine::base::parameters::Chain::new(config(&path).parameters, &config(&path).genesis);
    for _ in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("DYNEMIX_TEST_VICTIM", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening ").map(|(_, address)| address.to_owned()))
            .unwrap();
        let mut client = Client::connect(address.parse().unwrap());
        client.send(&dynemix_engine::transaction::client_frames::hello(&chain.genesis_hash));
        assert_eq!(client.listen(), Said::Welcome);
        for _ in 0..4 {
            // The next sequence is accepted only if the state remembers all that was final before.
            assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
            sequence += 1;
        }
        // One more is under way at the moment of the kill: final or not, it must be one of the two.
        client.submit(&[transfer(&chain, 1, key(2), DYNE, sequence)]);
        std::thread::sleep(std::time::Duration::from_millis(sequence % 23));
        child.kill().unwrap();
        child.wait().unwrap();
        let pipeline = Pipeline::start(config(&path)).unwrap();
        let mut client = Client::welcomed(&pipeline);
        let repeated = client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence));
        assert!(
            repeated.is_ok() || repeated == Err(dynemix_engine::base::refusal::Refusal::WrongSequence),
            "{repeated:?}"
        );
        sequence += 1;
        assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
        sequence += 1;
        pipeline.stop().unwrap();
    }
}
