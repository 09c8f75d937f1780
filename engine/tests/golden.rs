//! The specification's golden vectors: what bytes the formats are. `DYNEMIX_BLESS=1` rewrites the file after a change
//! of the specification; otherwise a difference is a broken format.

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, Output, payload_of};
use dynemix_engine::transaction::item::Item;
use dynemix_engine::vote::stub::StubSigning;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use std::sync::Arc;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn key(number: u8) -> Key {
    secret(number).verifying_key().to_bytes()
}

fn signed(chain: &Chain, sender: u8, mut cell: Cell) -> Cell {
    cell.sender = key(sender);
    (cell.version, cell.expires_slot) = (1, 9);
    cell.signature = secret(sender).sign(&[&chain.transaction_prefix[..], cell.signed_part()].concat()).to_bytes();
    cell
}

/// Three accounts and a minter, one block: a transfer to a known key, one to a new key, and a transfer to three with a fee.
fn vectors(threads: usize) -> Value {
    let genesis: Vec<(Key, u64)> = (1..=3).map(|number| (key(number), 100 * DYNE)).chain([(key(9), 0)]).collect();
    let minter = GenesisMinter {
        account: 3,
        name: b"alone".to_vec(),
        stake: DYNE,
        key: Box::new([3; 96]),
        endpoint: Endpoint::default(),
    };
    let consensus = ConsensusParameters { seats: 1, shards_max: 1, emission: 0, ..ConsensusParameters::default() };
    let parameters = ChainParameters { consensus, ..ChainParameters::default() };
    let chain = Chain::with_minters(parameters, &genesis, std::slice::from_ref(&minter));
    let system = System::genesis(&chain, &[minter]);
    let pool = system.pools.sum();
    let memory = HeapMemory::new(StateLayout::new(20));
    let seed = HashSeed::from_number(threads as u64);
    let mut state = State::genesis_with_pool(memory, &genesis, 300 * DYNE + pool, pool, seed).unwrap();
    let genesis_root = state.header().root;
    let payload =
        payload_of(&[Output { recipient: key(5), amount: 3 * DYNE }, Output { recipient: key(4), amount: 4 * DYNE }]);
    let cells = [
        (
            signed(&chain, 1, Cell { recipient: key(2), amount: 7 * DYNE, kind: 1, outputs: 1, ..Cell::zeroed() }),
            vec![],
        ),
        (
            signed(&chain, 2, Cell { recipient: key(4), amount: 2 * DYNE, kind: 1, outputs: 1, ..Cell::zeroed() }),
            vec![],
        ),
        (
            signed(
                &chain,
                3,
                Cell {
                    recipient: key(1),
                    amount: DYNE,
                    kind: 2,
                    outputs: 3,
                    payload_hash: *blake3::hash(&payload).as_bytes(),
                    ..Cell::zeroed()
                },
            ),
            payload,
        ),
    ];
    let mut items: Vec<Item> = cells.iter().map(|(cell, payload)| Item::transaction(cell, payload)).collect();
    items.sort_by_key(|item| item.id());
    let signing = StubSigning { candidate: 0 };
    let view =
        View { chain: &chain, state: &state, system: &system, signing: &signing, genuine: &|_| true, judged: &[] };
    let Built { block, items, patch } = view.build(0, 4, &items.into());
    assert_eq!(items.len(), cells.len(), "all of it stands");
    let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
    let (hash, wire) = (block.hash(), patch.clone());
    let blocks = [Some(Arc::new(CertifiedBlock { height: 1, block, hash, certificate, items, patch }))];
    let next = Next::new(&chain, &state, &system, &blocks);
    let value = next.value(&system, &blocks);
    let mut quilt_wire = Vec::new();
    next.quilt.encode(&mut quilt_wire);
    state.apply(&next.quilt).unwrap();
    let root = state.update_root();
    let transactions: Vec<Value> = cells
        .iter()
        .map(|(cell, payload)| {
            json!({
                "cell": hex(bytemuck::bytes_of(cell)),
                "payload": hex(payload),
                "signed_bytes": hex(&[&chain.transaction_prefix[..], cell.signed_part()].concat()),
                "id": hex(&cell.id(&chain.transaction_prefix)),
                "item_id": hex(&Item::transaction(cell, payload).id()),
            })
        })
        .collect();
    json!({
        "version": 1,
        "genesis_accounts": genesis.iter().map(|(key, balance)| json!({"key": hex(key), "balance": balance})).collect::<Vec<_>>(),
        "genesis_hash": hex(&chain.genesis_hash),
        "transaction_prefix": hex(&chain.transaction_prefix),
        "genesis_root": hex(&genesis_root),
        "transactions": transactions,
        "patch": hex(&wire),
        "shard_block": {
            "slot": block.slot, "shard": block.shard, "transactions": block.transactions,
            "transactions_root": hex(&block.transactions_root), "patch_hash": hex(&block.patch_hash), "hash": hex(&block.hash()),
        },
        "quilt": hex(&quilt_wire),
        "quilt_hash": hex(&Quilt::hash(&quilt_wire)),
        "root": hex(&root),
        "balances": (0..6).map(|i| { let columns = state.columns(); json!([hex(&columns.key[i]), columns.hot[i].balance, columns.hot[i].sequence]) }).collect::<Vec<_>>(),
        "master_block": hex(&value.hash()),
        "pool": state.header().pool,
    })
}

#[test]
fn formats_are_what_the_specification_says() {
    let path = format!("{}/../docs/vectors/engine.json", env!("CARGO_MANIFEST_DIR"));
    let computed = vectors(1);
    if std::env::var_os("DYNEMIX_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&computed).unwrap() + "\n").unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(computed, golden);
}

#[test]
fn thread_count_and_table_secret_leave_no_trace() {
    let of = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| vectors(threads))
    };
    let one = of(1);
    for threads in [2, 8, 64] {
        assert_eq!(of(threads), one);
    }
}
