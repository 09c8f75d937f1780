//! The memory of a node: what it may come to is said before it starts, and it is no more than that whatever is offered.

mod common;

use bytemuck::Zeroable;
use common::*;
use dynemix::face::api::bytes_held;
use dynemix::intake::duties::lot;
use dynemix::keep::chain_store::Genesis;
use dynemix::minting::node::{Node, NodeOptions};
use dynemix::minting::topology::{Given, Topology};
use dynemix::setup::clock::unix_ms;
use dynemix::setup::config::Config;
use dynemix::setup::memory;
use dynemix_engine::base::limits::{OUTPUT_BYTES, OUTPUTS_MAX};
use dynemix_engine::base::parameters::{ChainParameters, DYNE, SubSlots};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use ed25519_dalek::{Signer, SigningKey};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What a node with the default configuration has on a chain.
fn topology(parameters: &ChainParameters, accounts: u32) -> Topology {
    let config = Config::default();
    let given = Given {
        memory: memory::LIMIT_DEFAULT,
        network: memory::budget(config.network.memory_bytes, memory::LIMIT_DEFAULT) as u64,
        api: bytes_held(&config.api),
        keys: config.storage.key_cache_keys,
        accounts,
        verify_threads: 2,
        parameters,
    };
    Topology::of(&given).unwrap_or_else(|error| panic!("{error}"))
}

/// A chain whose lines are as fast as a block may be long.
fn fast(slot_ms: u64, seats: u32, shards_max: u32) -> ChainParameters {
    let mut parameters = ChainParameters { slot_ms, ..ChainParameters::default() };
    let consensus = &mut parameters.consensus;
    (consensus.seats, consensus.shards_max, consensus.quilt_from_height) = (seats, shards_max, 0);
    (consensus.line_bytes_per_s, consensus.sub_slots) = (u64::from(u32::MAX), SubSlots::LOCAL);
    parameters
}

#[test]
fn at_defaults_the_sum_is_512_mib_at_most_and_has_room_for_what_the_node_is_for() {
    let default = topology(&ChainParameters::default(), 1_000_000);
    println!("the default chain: {default}");
    assert!(default.bytes() <= 512 << 20);
    // What `dynemix genesis` makes.
    assert!(topology(&ChainParameters::default(), 1 << 20).capacity.height > 10_000);
    // 18 800 a second of one shard in slots of 2 s, 10 000 a second of two in slots of 10 s.
    for (parameters, accounts, needed) in [
        (fast(2_000, 4, 2), 1_000_000, 37_600),
        (fast(2_000, 10, 1), 1_000_000, 2_000 * 18_800 / 1_000),
        (fast(10_000, 20, 2), 350_000, 50_000 + lot(10_000) as usize),
    ] {
        let topology = topology(&parameters, accounts);
        println!("{} seats, slots of {} ms: {topology}", parameters.consensus.seats, parameters.slot_ms);
        assert!(topology.bytes() <= 512 << 20);
        assert!(topology.capacity.height >= needed, "{} of {needed}", topology.capacity.height);
    }
}

/// Senders of the flood: each may have eight transactions under way.
const SENDERS: u64 = 6_000;
const SEQUENCES: u64 = 8;
/// Guests that bring it.
const GUESTS: u64 = 8;

fn sender(number: u64) -> SigningKey {
    SigningKey::from_bytes(blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn crowd() -> Genesis {
    genesis_of((0..SENDERS).map(|number| sender(number).verifying_key().to_bytes()), true)
}

/// A node with no more memory than it takes that carries next to nothing.
fn cramped(directory: &Path, begun_ms: u64) -> NodeOptions {
    let mut options = options(directory, crowd(), begun_ms);
    (options.limits.budget_bytes, options.memory_bytes) = (memory::BUDGET_MIN, 1);
    // With more memory batches of signatures are larger too.
    while let Err(least) = options.topology() {
        options.memory_bytes = least.rows.iter().map(|row| row.1).sum();
    }
    options
}

/// Not a test of its own: the process of the node.
#[test]
fn victim() {
    let Ok(order) = std::env::var("DYNEMIX_TEST_MEMORY") else { return };
    let (begun_ms, directory) = order.split_once(' ').unwrap();
    let options = cramped(Path::new(directory), begun_ms.parse().unwrap());
    let topology = options.topology().unwrap();
    let node = Node::start(options).unwrap();
    println!("{topology}");
    println!("listening {} {}", node.address().unwrap(), topology.bytes());
    // Until whoever has started it has seen enough.
    let _ = std::io::stdin().read_line(&mut String::new());
    println!("final {}", node.view().status.own_final.load(std::sync::atomic::Ordering::Relaxed));
}

/// One transaction in eight has as many outputs as one may have.
fn offered(prefix: &[u8; 32], number: u64, sequence: u64) -> (Cell, Vec<u8>) {
    let key = sender(number);
    let long = (number + sequence).is_multiple_of(8);
    let recipient = sender((number + 1 + sequence) % SENDERS).verifying_key().to_bytes();
    let output = [&recipient[..], &DYNE.to_le_bytes()].concat();
    let payload = if long { output.repeat(usize::from(OUTPUTS_MAX) - 1) } else { Vec::new() };
    assert_eq!(payload.len() % OUTPUT_BYTES, 0);
    let (kind, outputs) = if long { (2, OUTPUTS_MAX) } else { (1, 1) };
    let mut cell = Cell {
        sender: key.verifying_key().to_bytes(),
        recipient,
        amount: DYNE,
        sequence,
        expires_slot: EXPIRES,
        version: 1,
        kind,
        outputs,
        payload_hash: if long { payload_hash(&payload) } else { [0; 32] },
        ..Cell::zeroed()
    };
    cell.signature = key.sign(&[&prefix[..], cell.signed_part()].concat()).to_bytes();
    (cell, payload)
}

#[test]
fn whatever_is_offered_a_node_takes_no_more_memory_than_it_has_said() {
    let (directory, chain) = (tempfile::tempdir().unwrap(), crowd().chain);
    let begun_ms = unix_ms() + 1_000;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("DYNEMIX_TEST_MEMORY", format!("{begun_ms} {}", directory.path().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find_map(|line| line.split_once("listening ").map(|of| of.1.to_owned())).expect("it listens");
    let (address, sum) = line.split_once(' ').unwrap();
    let (address, sum): (std::net::SocketAddr, u64) = (address.parse().unwrap(), sum.parse().unwrap());
    let busy: usize = thread::scope(|scope| {
        let floods: Vec<_> = (0..GUESTS)
            .map(|guest| {
                let chain = &chain;
                scope.spawn(move || {
                    let mut client = Client::try_connect(chain, address, PATIENCE, || ()).expect("it is let in");
                    let mut busy = 0;
                    for sequence in 0..SEQUENCES {
                        for number in (guest..SENDERS).step_by(GUESTS as usize) {
                            let (cell, payload) = offered(&chain.transaction_prefix, number, sequence);
                            client.submit_with_payload(&cell, &payload);
                        }
                        let outcomes = client.try_outcomes(usize::MAX, Duration::from_millis(200));
                        busy += outcomes.iter().filter(|outcome| outcome.1 == Err(Refusal::Busy)).count();
                    }
                    busy
                })
            })
            .collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1_024;
    drop(child.stdin.take());
    let finals = lines.find_map(|line| line.strip_prefix("final ").map(|of| of.parse::<u64>().unwrap()));
    assert!(child.wait().unwrap().success());
    println!("{busy} were answered busy, {finals:?} are final; {} of {} MiB", peak >> 20, sum >> 20);
    assert!(busy > 1_000, "{busy} were answered busy: more is to be offered");
    assert!(finals.unwrap() > 100, "it goes on");
    assert!(peak <= sum, "{peak} bytes were resident, {sum} were said");
}
