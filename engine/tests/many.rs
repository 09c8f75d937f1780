//! A million names and a hundred thousand stakers: what a height costs does not grow with them.
//!
//! `cargo test --release -p dynemix-engine --test many -- --ignored --nocapture` prints what it costs at full size.

use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::Endpoint;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::{Staker, System};
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::item::Items;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A chain with so many names and stakers, and one block that registers one more.
fn scene(names: u32, stakers: u32) -> (Chain, State<HeapMemory>, System, Vec<Option<Arc<CertifiedBlock>>>) {
    let consensus = ConsensusParameters { seats: 20, shards_max: 1, ..ConsensusParameters::default() };
    let reserve = consensus.register_reserve;
    let accounts = [([1; 32], 1_000 * DYNE), ([2; 32], 1_000 * DYNE)];
    let minter = GenesisMinter {
        account: 0,
        name: b"minter".to_vec(),
        stake: 500 * DYNE,
        key: Box::new([3; 96]),
        endpoint: Endpoint::default(),
    };
    let chain = Chain::with_minters(
        ChainParameters { consensus, ..ChainParameters::default() },
        &accounts,
        std::slice::from_ref(&minter),
    );
    let mut system = System::genesis(&chain, &[minter]);
    for number in 0..names {
        assert!(system.names.register(format!("user{number}").as_bytes(), 1_000 + number));
    }
    for number in 0..stakers {
        system.stakers.insert(1_000 + number, Staker { stake: DYNE, key: Box::new([4; 96]), minted: 0 });
    }
    system.pools.stakes = system.stakers.weight();
    let pool = system.pools.sum();
    let memory = HeapMemory::new(StateLayout::new(100));
    let state =
        State::genesis_with_pool(memory, &accounts, 2_000 * DYNE + pool, pool, HashSeed::from_number(1)).unwrap();
    let root = state.header().root;
    let mut patch = Patch { height: 1, slot: 1, shard: 0, parent_root: root, ..Patch::default() };
    patch.delta.debits.accounts.push(1);
    patch.delta.debits.amounts.push(reserve);
    patch.records.push(Record::Register { account: 1, id: [5; 32], name: b"newcomer".to_vec() });
    let mut bytes = Vec::new();
    patch.encode(&mut bytes);
    let (shard, transactions, transactions_root) = (0, 1, [6; 32]);
    let patch_hash = Patch::hash(&bytes);
    let block =
        ShardBlock { parent_root: root, slot: 1, shard, transactions, bytes: 193, transactions_root, patch_hash };
    let block = CertifiedBlock {
        height: 1,
        block,
        hash: block.hash(),
        certificate: Certificate { signers: SeatSet::default(), aggregate: [0; 48] },
        items: Items::default(),
        patch: bytes,
    };
    (chain, state, system, vec![Some(Arc::new(block))])
}

/// The least time of some steps to the next height and its value, once its parent's root is known.
fn step(names: u32, stakers: u32) -> Duration {
    let (chain, state, system, blocks) = scene(names, stakers);
    system.root();
    (0..20)
        .map(|_| {
            let begun = Instant::now();
            let next = Next::new(&chain, &state, &system, &blocks);
            let value = next.value(&system, &blocks);
            let took = begun.elapsed();
            assert_eq!(next.system.names.account_of(b"newcomer"), Some(1));
            assert_eq!(value.height, 1);
            took
        })
        .min()
        .expect("some steps")
}

#[test]
fn a_height_costs_no_more_with_many_names_and_stakers() {
    let (few, many) = (step(100, 100), step(50_000, 50_000));
    // Five hundred times as many; copying or hashing all of them takes a hundred times as long and more.
    assert!(many < 10 * few + Duration::from_millis(1), "{many:?} with many, {few:?} with few");
}

#[test]
#[ignore = "takes a few seconds and measures: a documented command"]
fn a_height_at_a_million_names_and_a_hundred_thousand_stakers() {
    for (names, stakers) in [(1_000, 1_000), (100_000, 100_000), (1_000_000, 1_000), (1_000_000, 100_000)] {
        println!("{names} names, {stakers} stakers: {:?} a height", step(names, stakers));
    }
}
