//! Stop and start, and stop without warning: the state comes back to the same root, and nothing final is lost.

mod common;

use common::*;
use dynemix::keep::chain_store::ChainStoreError;
use dynemix::minting::node::{Node, NodeStartError};
use dynemix::setup::clock::unix_ms;
use dynemix_engine::base::parameters::DYNE;
use dynemix_storage::StoreError;
use std::time::{Duration, Instant};

#[test]
fn a_clean_stop_reopens_to_the_same_root() {
    let directory = tempfile::tempdir().unwrap();
    let chain = genesis().chain;
    let begun_ms = unix_ms();
    let mut before = None;
    for round in 0..3u64 {
        let node = Node::start(options(directory.path(), genesis(), begun_ms)).unwrap();
        let view = node.view().clone();
        // What readers see follows the log.
        while view.accounts.height() < before.map_or(0, |before: (u64, _)| before.0) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let header = view.accounts.sealed(|state| *state.header());
        assert_eq!(before.unwrap_or((header.height, header.root)), (header.height, header.root), "as it was left");
        let mut client = Client::welcomed(&node);
        // Account 50 + round is new each time.
        let cells: Vec<_> = (0..3).map(|i| transfer(&chain, 1, key(50 + round as u8), DYNE, 3 * round + i)).collect();
        client.submit(&cells);
        assert!(client.outcomes(3).iter().all(|outcome| outcome.1.is_ok()));
        node.stop(false).unwrap();
        let (header, found) = view.accounts.sealed(|state| (*state.header(), state.supply()));
        before = Some((header.height, header.root));
        let supply = genesis().accounts.iter().map(|account| account.1).sum::<u64>() + genesis().minters[0].stake;
        assert_eq!(found, u128::from(supply));
    }
}

#[test]
fn one_process_at_a_time_and_one_chain_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path());
    let refused = |genesis| Node::start(options(directory.path(), genesis, unix_ms())).err().unwrap();
    let is_locked = |error| matches!(error, NodeStartError::Chain(ChainStoreError::Store(StoreError::Locked { .. })));
    assert!(is_locked(refused(genesis())));
    node.stop(true).unwrap();
    let other = genesis_of((0..ACCOUNTS).map(key), true);
    let error = refused(other);
    assert!(matches!(&error, NodeStartError::Chain(ChainStoreError::Store(StoreError::WrongChain { .. }))), "{error}");
}

/// Not a test of its own: the process that [`a_kill_loses_nothing_final`] kills.
#[test]
fn victim() {
    run_victim();
}

#[test]
fn a_kill_loses_nothing_final() {
    let directory = tempfile::tempdir().unwrap();
    let chain = genesis().chain;
    let begun_ms = unix_ms() + 500;
    let mut sequence = 0;
    for _ in 0..4 {
        let mut victim = Victim::start(directory.path(), begun_ms);
        let mut client = Client::try_connect(&chain, victim.address, PATIENCE, || ()).unwrap();
        for _ in 0..2 {
            // The next sequence is accepted only if the state remembers all that was final before.
            assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
            sequence += 1;
        }
        // One more is under way at the moment of the kill: final or not, it must be one of the two.
        client.submit(&[transfer(&chain, 1, key(2), DYNE, sequence)]);
        std::thread::sleep(Duration::from_millis(sequence * 37 % SLOT_MS));
        victim.kill();
        let node = Node::start(options(directory.path(), genesis(), begun_ms)).unwrap();
        let has = || node.view().accounts.account(&key(1)).map_or(0, |account| u64::from(account.hot.sequence));
        let end = Instant::now() + Duration::from_millis(8 * SLOT_MS);
        while has() <= sequence && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(has() >= sequence, "what was answered final is there");
        let mut client = Client::welcomed(&node);
        if has() == sequence {
            // The kill came before it was accepted.
            assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
        }
        sequence += 1;
        assert_eq!(client.outcome(&transfer(&chain, 1, key(2), DYNE, sequence)), Ok(()));
        sequence += 1;
        node.stop(true).unwrap();
    }
}
