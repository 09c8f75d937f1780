//! Real files and real processes: kills under load, a full disk, readers and snapshots beside blocks, restores that are
//! interrupted.
//!
//! `DYNEMIX_KILLS` says how many processes are killed (default 20; the full campaign is 200).

mod common;

use common::*;
use dynemix::exit;
use dynemix::keep::open;
use dynemix::keep::snapshot::{self, SnapshotFailure};
use dynemix::pipeline::run::{Pipeline, PipelineConfig, StopError};
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::snapshot::CHUNK_ACCOUNTS;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, DYNE};
use dynemix_engine::base::refusal::Refusal;
use dynemix_storage::{RealDisk, StoreOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Checkpoints, segments and the scrubber come every few blocks.
fn busy_config(path: &Path) -> PipelineConfig {
    let mut config = config(path);
    config.storage.options =
        StoreOptions { segment_bytes: 20_000, window_records: 50, watermark_bytes: 1 << 20, ..StoreOptions::default() };
    config.storage.checkpoint_bytes = 2_000;
    config.storage.keep_transactions = true;
    config.storage.scrub_pause = Duration::from_millis(1);
    config
}

/// Not a test of its own: the process that [`kills_under_load_lose_nothing_final`] kills.
#[test]
fn victim() {
    let Some(directory) = std::env::var_os("DYNEMIX_TEST_VICTIM") else { return };
    let pipeline = Pipeline::start(busy_config(Path::new(&directory))).unwrap();
    println!("listening {}", pipeline.address());
    thread::sleep(Duration::from_secs(60));
}

fn start_victim(path: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("DYNEMIX_TEST_VICTIM", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening ").map(|(_, address)| address.to_owned()));
    (child, listening.expect("the node listens").parse().unwrap())
}

#[test]
fn kills_under_load_lose_nothing_final() {
    let kills = std::env::var("DYNEMIX_KILLS").map_or(20, |number| number.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let chain = Chain::new(busy_config(&path).parameters, &busy_config(&path).genesis);
    // The sequence that each sender's next transaction has, if everything it heard is true.
    let next: Vec<_> = (0..ACCOUNTS).map(|_| AtomicU64::new(0)).collect();
    for round in 0..kills {
        let (mut child, address) = start_victim(&path);
        thread::scope(|scope| {
            for sender in 0..ACCOUNTS {
                let (chain, next) = (&chain, &next[usize::from(sender)]);
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    client.send(&dynemix_engine::transaction::client_frames::hello(&chain.genesis_hash));
                    if client.listen() != Said::Welcome {
                        return;
                    }
                    loop {
                        let sequence = next.load(Ordering::Relaxed);
                        let cell = transfer(chain, sender, key(100 + sender % 3), DYNE, sequence);
                        match client.try_outcome(&cell) {
                            Some(Ok(())) => next.store(sequence + 1, Ordering::Relaxed),
                            // It was in the block that the last kill left unanswered.
                            Some(Err(Refusal::WrongSequence)) => next.store(sequence + 1, Ordering::Relaxed),
                            Some(Err(Refusal::InsufficientBalance)) | None => return,
                            Some(Err(refusal)) => panic!("round {round}, sequence {sequence}: {refusal:?}"),
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(40 + round * 37 % 160));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let config = busy_config(&path);
        let opened = open::open(config.disk, chain.genesis_hash, None, config.storage.options).unwrap();
        assert_eq!(opened.state.supply(), u128::from(config.supply));
        for sender in 0..ACCOUNTS {
            let account = opened.state.find(&key(sender)).unwrap();
            let (has, heard) =
                (u64::from(opened.state.hot(account).sequence), next[usize::from(sender)].load(Ordering::Relaxed));
            assert!(
                has == heard || has == heard + 1,
                "round {round}: sender {sender} heard of {heard} final, the state has {has}"
            );
        }
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
        eprintln!("skipped: only root may mount a small disk; tests/crash.rs does the same on a disk in memory");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(mounted.clone());
    let path = mounted.join("state");
    let ballast = mounted.join("ballast");
    std::fs::write(&ballast, vec![1; 56 << 20]).unwrap();
    let config = || {
        let mut config = busy_config(&path);
        config.storage.options = StoreOptions {
            segment_bytes: 1 << 20,
            window_records: u64::MAX,
            watermark_bytes: 2 << 20,
            ..StoreOptions::default()
        };
        config.storage.checkpoint_bytes = 200_000;
        config
    };
    let pipeline = Pipeline::start(config()).unwrap();
    let chain = pipeline.chain().clone();
    let mut finals = vec![0u64; usize::from(ACCOUNTS)];
    let fill = |pipeline: &Pipeline, finals: &mut Vec<u64>, until: &dyn Fn(&Pipeline) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        'all: while !until(pipeline) && Instant::now() < deadline {
            let mut client = Client::welcomed(pipeline);
            for sender in 0..ACCOUNTS {
                let sequence = finals[usize::from(sender)];
                match client.try_outcome(&transfer(&chain, sender, key(120), DYNE, sequence)) {
                    Some(Ok(())) => finals[usize::from(sender)] += 1,
                    _ => break 'all,
                }
            }
        }
    };
    // Someone else's file takes the last room while the node works.
    fill(&pipeline, &mut finals, &|pipeline| pipeline.finals() >= 40);
    std::fs::write(mounted.join("more"), vec![1; 5 << 20]).unwrap();
    fill(&pipeline, &mut finals, &|pipeline| pipeline.halted());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !pipeline.halted() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(pipeline.halted());
    let error = pipeline.stop().unwrap_err();
    assert_eq!(exit::code(&error), exit::DISK, "{error}");
    assert!(matches!(&error, StopError::Ledger(_) | StopError::Replica(_)), "{error}");
    assert!(error.to_string().contains("free some space") || error.to_string().contains("No space"), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    let pipeline = Pipeline::start(config()).unwrap();
    let mut client = Client::welcomed(&pipeline);
    for sender in 0..ACCOUNTS {
        let outcome = client.outcome(&transfer(&chain, sender, key(120), DYNE, finals[usize::from(sender)]));
        assert!(outcome.is_ok() || outcome == Err(Refusal::WrongSequence), "{outcome:?}");
    }
    pipeline.stop().unwrap();
}

#[test]
fn readers_and_snapshots_see_one_height_while_blocks_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let pipeline = Pipeline::start(busy_config(&directory.path().join("state"))).unwrap();
    let stop = AtomicBool::new(false);
    let chain = pipeline.chain().clone();
    thread::scope(|scope| {
        for sender in 0..4 {
            let (pipeline, stop, chain) = (&pipeline, &stop, &chain);
            scope.spawn(move || {
                let mut client = Client::welcomed(pipeline);
                let mut sequence = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(
                        client.outcome(&transfer(chain, sender, key(60 + sequence as u8 % 30), DYNE, sequence)),
                        Ok(())
                    );
                    sequence += 1;
                }
            });
        }
        let (pipeline, stop) = (&pipeline, &stop);
        let proved = scope.spawn(move || {
            let reader = pipeline.reader();
            let (mut height, mut heights) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let (proof, root) = reader.prove(&key(1)).unwrap();
                let (shown, _) = proof.verify(&root).unwrap();
                assert_eq!(shown, key(1));
                assert!(proof.height >= height, "time does not go back");
                heights += u64::from(proof.height > height);
                height = proof.height;
                let (at, supply) = reader.with(|state| (state.header().height, state.supply()));
                assert!(at >= height);
                assert_eq!(supply, u128::from(1_000 * DYNE * u64::from(ACCOUNTS)), "no reader sees half a block");
            }
            heights
        });
        for number in 0..3 {
            thread::sleep(Duration::from_millis(300));
            let path = directory.path().join(format!("snapshot.{number}"));
            let before = pipeline.reader().height();
            let info = pipeline.snapshot(Arc::new(RealDisk::at(&path))).unwrap();
            assert!(info.height >= before);
            let verified = snapshot::verify(&RealDisk::at(&path), None, |_, _| {}).unwrap();
            assert_eq!(verified, info);
            let disk = Arc::new(RealDisk::new(&directory.path().join(format!("restored.{number}"))).unwrap());
            snapshot::restore(&RealDisk::at(&path), disk.clone(), None, None, StoreOptions::default(), |_, _| {})
                .unwrap();
            let restored = open::open(disk, chain.genesis_hash, None, StoreOptions::default()).unwrap();
            assert_eq!(hex::encode(restored.state.header().root), info.state_root);
            assert_eq!((restored.state.header().height, restored.store.last_record()), (info.height, info.height));
        }
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        assert!(proved.join().unwrap() > 10, "the reader saw many heights");
    });
    let finals = pipeline.finals();
    // Kept blocks can be read beside too.
    let records = pipeline.records().clone();
    assert!(records.last() > 10 && !records.read(records.last()).unwrap().is_empty());
    let summary = pipeline.stop().unwrap();
    assert_eq!(summary.slots_lost, 0);
    assert!(finals > 0);
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
    let path = directory.path().join("state");
    Pipeline::start(busy_config(&path)).unwrap().stop().unwrap();
    // Started once, so there is one image only: rot it where no start looks before the node runs.
    let pipeline = Pipeline::start(busy_config(&path)).unwrap();
    let image = path.join("image.0");
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[4096 + 100] ^= 4;
    // In place, as rot does it; the store's own handles see it.
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(&image).unwrap().write_all_at(&bytes[4096..8192], 4096).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pipeline.halted() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    let error = pipeline.stop().unwrap_err();
    assert_eq!(exit::code(&error), exit::DAMAGED, "{error}");
    assert!(error.to_string().contains("image.0"), "{error}");
}
