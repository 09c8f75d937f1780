//! What a node has accepted of its own users it keeps, however it ends: a real process that is killed, a real node whose
//! power is cut at any operation of its disk. The planted fault forgets, and is found.

use bytemuck::Zeroable;
use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd, secret, user_secret};
use dynemix::intake::shares::Holder;
use dynemix::minting::node::{MintingKeys, Node, NodeOptions};
use dynemix::setup::clock::{Clock, unix_ms};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::transaction::cell::Cell;
use dynemix_net::mesh::{LinkShape, MeshLimits, Net};
use dynemix_storage::{CrashChoice, Disk, MemoryDisk, RealDisk, StoreOptions};
use ed25519_dalek::{Signer, SigningKey};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(30);

/// One of four minters, alone: nothing becomes final, and what it has accepted waits.
fn start(data: Arc<dyn Disk>, start_ms: u64) -> Node {
    let shape = DevnetShape {
        nodes: 4,
        shards: 1,
        slot_ms: 1_000,
        quilt: false,
        load_accounts: 8,
        link: String::new(),
        liar: false,
        simd: any_simd(),
    };
    let (pids, ports, api_ports) = (Vec::new(), None, None);
    let devnet = Devnet { format: 1, shape, start_ms, peer_port: 1, api_port: 100, pids, made: true, ports, api_ports };
    let file = devnet.genesis();
    let account = SigningKey::from_bytes(&secret("owner", 0)).verifying_key().to_bytes();
    let options = NodeOptions {
        data,
        genesis: file.genesis().unwrap(),
        minting: Some(MintingKeys { account, vote: Zeroizing::new(secret("vote", 0)) }),
        transport: Zeroizing::new(secret("transport", 0)),
        listen: None,
        public: None,
        bootstrap: Vec::new(),
        link: LinkShape::default(),
        limits: MeshLimits::default(),
        store: StoreOptions {
            segment_bytes: 1 << 20,
            window_records: 1_000,
            limit_bytes: 1 << 30,
            watermark_bytes: 1 << 20,
        },
        checkpoint_bytes: 64 << 20,
        clock: Clock::new(start_ms, true),
        first_run: true,
        key_cache_keys: 1 << 12,
        simd: None,
        verify_threads: 1,
        hints: true,
        counted: None,
        memory_bytes: 4 << 30,
        api_bytes: 0,
        snapshot_blocks: 0,
        snapshot_bytes_per_s: 1 << 20,
    };
    Node::start(options).unwrap()
}

fn payment(node: &Node, user: &str, sequence: u64) -> Cell {
    let owner = SigningKey::from_bytes(&user_secret(user));
    let mut cell = Cell {
        sender: owner.verifying_key().to_bytes(),
        recipient: SigningKey::from_bytes(&user_secret("frank")).verifying_key().to_bytes(),
        amount: DYNE,
        sequence,
        expires_slot: 60,
        version: 1,
        kind: 1,
        outputs: 1,
        ..Cell::zeroed()
    };
    let message = [&node.view().chain.transaction_prefix[..], cell.signed_part()].concat();
    cell.signature = owner.sign(&message).to_bytes();
    cell
}

/// Hands a payment in as the API does, from one of its connections; its id.
fn submit(node: &Node, connection: u64, cell: &Cell) -> Hash {
    let (view, id) = (node.view(), cell.id(&node.view().chain.transaction_prefix));
    view.status.track(|tracked| tracked.hand_in(connection, id, 0)).unwrap();
    view.submit.send(Holder::of(Net::Loopback, connection), connection, cell, &[]).unwrap();
    id
}

/// How far a payment is, once it is judged.
fn state(node: &Node, id: &Hash) -> Option<String> {
    let shown = node.view().status.track(|tracked| tracked.shown(id))?;
    (shown.state != "waiting" || shown.accepted_ms.is_some()).then_some(shown.state)
}

/// Waits until a payment is accepted.
fn accepted(node: &Node, id: &Hash) {
    let end = Instant::now() + PATIENCE;
    while state(node, id).as_deref() != Some("waiting") {
        let shown = || node.view().status.track(|tracked| tracked.shown(id));
        assert!(Instant::now() < end, "it is {:?}", shown());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many of these are accepted by the word of a node that has just been started.
fn remembered(node: &Node, ids: &[Hash]) -> usize {
    ids.iter().filter(|id| state(node, id).as_deref() == Some("waiting")).count()
}

#[test]
fn what_is_accepted_is_there_after_a_power_cut_at_any_time() {
    let (disk, start_ms) = (MemoryDisk::new(), unix_ms() + 500);
    let node = start(Arc::new(disk.clone()), start_ms);
    let mut ids = Vec::new();
    let mut cuts = Vec::new();
    for (round, user) in ["alice", "bob"].iter().enumerate() {
        for sequence in 0..6 {
            let cell = payment(&node, user, sequence);
            ids.push(submit(&node, round as u64, &cell));
            // Another connection has the same: it hears so when the first does.
            if sequence == 3 {
                submit(&node, 9, &cell);
            }
        }
        // Each is on the disk when its user hears of it, whatever else is not.
        for (place, id) in ids.iter().enumerate().skip(6 * round) {
            accepted(&node, id);
            cuts.push((disk.log_len(), place + 1));
        }
    }
    node.stop(true).unwrap();
    for (prefix, count) in [cuts[0], cuts[5], cuts[8], cuts[11]] {
        for choice in [CrashChoice::None, CrashChoice::All] {
            let again = start(Arc::new(disk.crash(prefix, choice)), start_ms);
            assert_eq!(remembered(&again, &ids[..count]), count, "after operation {prefix}");
            again.stop(true).unwrap();
        }
    }
    // Once more after what the last of them has left: they are kept until they have ended.
    let last = disk.crash(disk.log_len(), CrashChoice::None);
    for _ in 0..2 {
        let again = start(Arc::new(last.clone()), start_ms);
        assert_eq!(remembered(&again, &ids), ids.len());
        // What comes now stands behind them, and nothing of them is taken twice.
        let known = payment(&again, "alice", 2);
        accepted(&again, &submit(&again, 3, &known));
        again.stop(true).unwrap();
    }
    forgotten(&last, start_ms, &ids);
}

#[cfg(not(feature = "mutations"))]
fn forgotten(_: &MemoryDisk, _: u64, _: &[Hash]) {}

/// With the fault planted the same start remembers nothing.
#[cfg(feature = "mutations")]
fn forgotten(disk: &MemoryDisk, start_ms: u64, ids: &[Hash]) {
    use dynemix_engine::base::mutation::{Mutation, plant};
    plant(Some(Mutation::OwnForgotten));
    let again = start(Arc::new(disk.copy()), start_ms);
    plant(None);
    assert_eq!(remembered(&again, ids), 0, "the fault is planted, and nothing shows it");
    again.stop(true).unwrap();
}

/// Not a test of its own: the process that [`a_killed_node_forgets_none`] kills.
#[test]
fn victim() {
    let Some(directory) = std::env::var_os("DYNEMIX_TEST_VICTIM") else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let node = start(Arc::new(RealDisk::at(Path::new(&directory))), number("DYNEMIX_TEST_START"));
    let user = std::env::var("DYNEMIX_TEST_USER").unwrap();
    for sequence in 0..8 {
        let id = submit(&node, 1, &payment(&node, &user, sequence));
        accepted(&node, &id);
        println!("accepted {}", hex::encode(id));
    }
    std::thread::sleep(PATIENCE);
}

#[test]
fn a_killed_node_forgets_none() {
    let (directory, start_ms) = (tempfile::tempdir().unwrap(), unix_ms() + 500);
    let mut ids: Vec<Hash> = Vec::new();
    for (round, user) in ["alice", "bob", "carol"].iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("DYNEMIX_TEST_VICTIM", directory.path())
            .env("DYNEMIX_TEST_START", start_ms.to_string())
            .env("DYNEMIX_TEST_USER", user)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| Some(line.split_once("accepted ")?.1.to_owned()));
        // The last of them is told while the next one is on its way.
        for text in said.by_ref().take(5 + round) {
            ids.push(hex::decode(text).unwrap().try_into().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let node = start(Arc::new(RealDisk::at(directory.path())), start_ms);
        assert!(ids.len() >= 5 && remembered(&node, &ids) == ids.len(), "of {} it remembers {}", ids.len(), {
            remembered(&node, &ids)
        });
        node.stop(true).unwrap();
    }
}
