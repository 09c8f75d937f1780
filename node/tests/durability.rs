//! Real files and real processes: kills under load, a full disk, snapshots beside blocks, restores that are interrupted,
//! an image that rots.
//!
//! `DYNEMIX_KILLS` says how many processes are killed (default 6; the full campaign is 200).

mod common;

use common::*;
use dynemix::exit;
use dynemix::keep::open;
use dynemix::keep::published::{offers, snapshot_folder};
use dynemix::keep::snapshot::{self, SnapshotFailure};
use dynemix::minting::node::{Node, NodeOptions, NodeStopError};
use dynemix::setup::clock::unix_ms;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::snapshot::CHUNK_ACCOUNTS;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::base::refusal::Refusal;
use dynemix_storage::{RealDisk, StoreOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Checkpoints and segments come every few blocks.
fn busy_options(directory: &Path, begun_ms: u64) -> NodeOptions {
    let mut options = options(directory, genesis(), begun_ms);
    options.store =
        StoreOptions { segment_bytes: 20_000, window_records: 50, watermark_bytes: 1 << 20, ..StoreOptions::default() };
    options.checkpoint_bytes = 2_000;
    options
}

fn halts(node: &Node, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while node.view().status.halted().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    node.view().status.halted().is_some()
}

fn supply() -> u128 {
    let genesis = genesis();
    u128::from(genesis.accounts.iter().map(|account| account.1).sum::<u64>() + genesis.minters[0].stake)
}

/// Not a test of its own: the process that [`kills_under_load_lose_nothing_final`] kills.
#[test]
fn victim() {
    run_victim();
}

#[test]
fn kills_under_load_lose_nothing_final() {
    let kills = std::env::var("DYNEMIX_KILLS").map_or(6, |number| number.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let chain = genesis().chain;
    let begun_ms = unix_ms() + 500;
    // The sequence that each sender's next transaction has, if everything it heard is true.
    let next: Vec<_> = (0..ACCOUNTS).map(|_| AtomicU64::new(0)).collect();
    for round in 0..kills {
        let mut victim = Victim::start(directory.path(), begun_ms);
        thread::scope(|scope| {
            for sender in 0..ACCOUNTS {
                let (chain, next, address) = (&chain, &next[usize::from(sender)], victim.address);
                scope.spawn(move || {
                    let Some(mut client) = Client::try_connect(chain, address, Duration::from_secs(2), || ()) else {
                        return;
                    };
                    loop {
                        let sequence = next.load(Ordering::Relaxed);
                        let cell = transfer(chain, sender, key(100 + sender % 3), DYNE, sequence);
                        match client.try_outcome(&cell) {
                            Some(Ok(())) => next.store(sequence + 1, Ordering::Relaxed),
                            // It was in the block that the last kill left unanswered.
                            Some(Err(Refusal::WrongSequence)) => next.store(sequence + 1, Ordering::Relaxed),
                            None => return,
                            Some(Err(refusal)) => panic!("round {round}, sequence {sequence}: {refusal:?}"),
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(3 * SLOT_MS + round * 37 % (2 * SLOT_MS)));
            victim.kill();
        });
        // What was answered final is certified, and locked on this disk: the node that comes back has it within a slot.
        let node = Node::start(busy_options(directory.path(), begun_ms)).unwrap();
        let behind = || {
            node.view().accounts.with(|state| {
                assert_eq!(state.supply(), supply());
                let has = |sender: u8| u64::from(state.hot(state.find(&key(sender)).unwrap()).sequence);
                (0..ACCOUNTS).find(|&sender| has(sender) < next[usize::from(sender)].load(Ordering::Relaxed))
            })
        };
        let deadline = Instant::now() + PATIENCE;
        while behind().is_some() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(behind(), None, "round {round}: a sender has heard of more than the state has");
        // What was accepted and not answered becomes final by itself, and whoever handed it in does not hear of it.
        thread::sleep(Duration::from_millis(4 * SLOT_MS));
        node.view().accounts.with(|state| {
            for sender in 0..ACCOUNTS {
                let has = state.hot(state.find(&key(sender)).unwrap()).sequence;
                next[usize::from(sender)].store(has.into(), Ordering::Relaxed);
            }
        });
        node.stop(true).unwrap();
    }
    let heard: u64 = next.iter().map(|next| next.load(Ordering::Relaxed)).sum();
    assert!(heard > kills, "there was load: {heard}");
}

#[test]
fn a_full_disk_halts_cleanly_and_goes_on_after_freeing_space() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = directory.path().join("disk");
    std::fs::create_dir(&mounted).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
        .arg(&mounted)
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(mounted.clone());
    let begun_ms = unix_ms() + 500;
    let options = || {
        let mut options = options(&mounted.join("data"), genesis(), begun_ms);
        options.store = StoreOptions {
            segment_bytes: 1 << 20,
            window_records: u64::MAX,
            watermark_bytes: 2 << 20,
            ..StoreOptions::default()
        };
        options
    };
    let chain = genesis().chain;
    let node = Node::start(options()).unwrap();
    let mut client = Client::welcomed(&node);
    assert_eq!(client.outcome(&transfer(&chain, 1, key(120), DYNE, 0)), Ok(()));
    // Someone else's file takes the last room while the node works.
    let ballast = mounted.join("ballast");
    let mut taken = Vec::new();
    while std::fs::write(&ballast, &taken).is_ok() && taken.len() < 64 << 20 {
        taken.resize(taken.len() + (1 << 20), 1);
    }
    client.submit(&[transfer(&chain, 1, key(120), DYNE, 1)]);
    assert!(halts(&node, PATIENCE), "there is no room for a block, nor for what is signed");
    let error = node.stop(true).unwrap_err();
    assert_eq!(exit::code(&error), exit::DISK, "{error}");
    assert!(matches!(&error, NodeStopError::Writer(_) | NodeStopError::Replica(_)), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    let node = Node::start(options()).unwrap();
    // What it had accepted before there was no room left becomes final by itself.
    thread::sleep(Duration::from_millis(6 * SLOT_MS));
    let mut client = Client::welcomed(&node);
    if node.view().accounts.account(&key(1)).is_some_and(|account| account.hot.sequence == 1) {
        assert_eq!(client.outcome(&transfer(&chain, 1, key(120), DYNE, 1)), Ok(()));
    }
    assert_eq!(client.outcome(&transfer(&chain, 1, key(120), DYNE, 2)), Ok(()));
    node.stop(true).unwrap();
}

#[test]
fn snapshots_are_of_one_height_while_blocks_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = busy_options(directory.path(), unix_ms() + 3_600_000);
    options.snapshot_blocks = 4;
    let node = start_with(options);
    let chain = genesis().chain;
    let mut client = Client::welcomed(&node);
    let mut sequence = 0;
    let is_offered = || offers(&RealDisk::at(directory.path()), &chain.genesis_hash).unwrap().into_iter().next_back();
    let deadline = Instant::now() + 2 * PATIENCE;
    let offer = loop {
        assert_eq!(client.outcome(&transfer(&chain, 1, key(60 + sequence as u8 % 30), DYNE, sequence)), Ok(()));
        sequence += 1;
        match is_offered() {
            Some(offer) => break offer,
            None => assert!(Instant::now() < deadline, "a snapshot each four heights"),
        }
    };
    // The block after it proves it.
    let height = offer.height - 1;
    let from = snapshot_folder(&RealDisk::at(directory.path()), height);
    let verified = snapshot::verify(&*from, None, |_, _| {}).unwrap();
    assert_eq!(verified.height, height);
    let disk = Arc::new(RealDisk::new(&directory.path().join("restored")).unwrap());
    snapshot::restore(&*from, disk.clone(), None, None, StoreOptions::default(), |_, _| {}).unwrap();
    let restored = open::open(disk, chain.genesis_hash, None, StoreOptions::default()).unwrap();
    assert_eq!(hex::encode(restored.state.header().root), verified.state_root);
    assert_eq!(restored.state.supply(), supply(), "no snapshot has half a block");
    // Kept blocks can be read beside.
    let records = node.view().records.clone();
    assert!(records.last() >= height && !records.read(records.last()).unwrap().is_empty());
    node.stop(true).unwrap();
}

#[test]
fn an_interrupted_restore_goes_on_and_a_wrong_chunk_or_root_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = CHUNK_ACCOUNTS + 50_000;
    let genesis: Vec<_> = (0..accounts).map(|number| (*blake3::hash(&number.to_le_bytes()).as_bytes(), 7)).collect();
    let state = State::genesis(
        HeapMemory::new(StateLayout::new(accounts as u32)),
        &genesis,
        7 * accounts,
        HashSeed::from_number(1),
    )
    .unwrap();
    let path = directory.path().join("snapshot");
    let from = RealDisk::at(&path);
    let info = snapshot::create(&state, [5; 32], &from, |_, _| {}).unwrap();
    assert_eq!((info.chunks, info.chunks_resumed), (2, 0));
    assert_eq!(snapshot::create(&state, [5; 32], &from, |_, _| {}).unwrap().chunks_resumed, 2);
    let chunk = path.join("chunk.00001");
    let good = std::fs::read(&chunk).unwrap();
    let mut bad = good.clone();
    bad[1_000] ^= 1;
    std::fs::write(&chunk, &bad).unwrap();
    let disk = Arc::new(RealDisk::new(&directory.path().join("store")).unwrap());
    let restore = |root| snapshot::restore(&from, disk.clone(), None, root, StoreOptions::default(), |_, _| {});
    assert!(matches!(restore(Some(&[1; 32])).unwrap_err(), SnapshotFailure::Root { .. }));
    let error = restore(None).unwrap_err();
    assert!(error.to_string().contains("chunk.00001") && error.to_string().contains("chunk 1 is not what"), "{error}");
    std::fs::write(&chunk, &good[1..]).unwrap();
    assert!(restore(None).unwrap_err().to_string().contains("bytes, not"));
    std::fs::write(&chunk, &good).unwrap();
    let root = state.header().root;
    let restored = restore(Some(&root)).unwrap();
    assert_eq!(restored.chunks_resumed, 1, "the chunk that was whole at the first try");
    assert!(matches!(restore(None).unwrap_err(), SnapshotFailure::Exists { .. }));
    let opened = open::open(disk.clone(), [5; 32], None, StoreOptions::default()).unwrap();
    assert_eq!(opened.state.header().root, root);
    // Another state does not go over it.
    let other =
        State::genesis(HeapMemory::new(StateLayout::new(9)), &genesis[..9], 63, HashSeed::from_number(1)).unwrap();
    assert!(matches!(
        snapshot::create(&other, [5; 32], &from, |_, _| {}).unwrap_err(),
        SnapshotFailure::Occupied { .. }
    ));
}

#[test]
fn the_scrubber_stops_a_node_whose_image_rots() {
    let directory = tempfile::tempdir().unwrap();
    let begun_ms = unix_ms();
    let mut options = options(directory.path(), genesis(), begun_ms);
    options.checkpoint_bytes = u64::MAX;
    let node = Node::start(options).unwrap();
    // Started once, so there is one image only: it rots where no start looks before the node runs.
    let image = directory.path().join("state/image.0");
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[4096 + 100] ^= 4;
    // In place, as rot does it; the store's own handles see it.
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(&image).unwrap().write_all_at(&bytes[4096..8192], 4096).unwrap();
    assert!(halts(&node, 3 * PATIENCE), "the scrubber comes by");
    let error = node.stop(true).unwrap_err();
    assert_eq!(exit::code(&error), exit::DAMAGED, "{error}");
    assert!(error.to_string().contains("image.0"), "{error}");
}

/// Heights of the systems beside checkpoints, ascending.
fn systems(directory: &Path) -> Vec<u64> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut heights: Vec<u64> = names.filter_map(|name| name.strip_prefix("system.")?.parse().ok()).collect();
    heights.sort_unstable();
    heights
}

#[test]
fn a_rotten_system_beside_the_newest_checkpoint_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let begun_ms = unix_ms() + 200;
    let options = || busy_options(directory.path(), begun_ms);
    let node = Node::start(options()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while systems(directory.path()).len() < 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    node.stop(true).unwrap();
    let two = systems(directory.path());
    assert_eq!(two.len(), 2, "one beside each image");
    let rot = |height: u64| {
        let path = directory.path().join(format!("system.{height}"));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    rot(two[1]);
    // It starts from the older image, comes by the log to where it was, and goes on.
    let node = Node::start(options()).unwrap();
    let stored = node.view().status.stored.load(Ordering::Relaxed);
    assert!(stored >= two[1], "{stored} blocks are there, {} were", two[1]);
    let deadline = Instant::now() + PATIENCE;
    while systems(directory.path()).last().is_none_or(|&newest| newest <= two[1]) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    node.stop(true).unwrap();
    let after = systems(directory.path());
    assert!(after.last().unwrap() > &two[1], "the next checkpoint replaces it: {after:?}");
    // Where none is whole the start says which one it wants.
    after.iter().for_each(|&height| rot(height));
    let refused = Node::start(options()).err().expect("nothing to start from").to_string();
    assert!(refused.contains(&format!("system.{}", after.last().unwrap())), "{refused}");
}
