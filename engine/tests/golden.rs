//! The specification's golden vectors: what bytes the formats are. `DYNEMIX_BLESS=1` rewrites the file after a change
//! of the specification; otherwise a difference is a broken format.

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, DYNE};
use dynemix_engine::pipeline::arena::Arena;
use dynemix_engine::pipeline::ledger::Ledger;
use dynemix_engine::transaction::cell::{Cell, Output, payload_of};
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

/// Three accounts, one block: a transfer to a known key, one to a new key, and a transfer to three with a fee.
fn vectors(threads: usize) -> Value {
    let genesis: Vec<(Key, u64)> = (1..=3).map(|number| (key(number), 100 * DYNE)).collect();
    let chain = Chain::new(ChainParameters::default(), &genesis);
    let memory = HeapMemory::new(StateLayout::new(20));
    let state = State::genesis(memory, &genesis, 300 * DYNE, HashSeed::from_number(threads as u64)).unwrap();
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
    let arena = Arc::new(Arena::new(8, 8));
    let mut ledger = Ledger::new(chain.clone(), arena.clone(), state);
    let mut slots = Vec::new();
    arena.take_into(&mut slots, cells.len(), &mut Vec::new());
    for (slot, (cell, payload)) in slots.iter_mut().zip(&cells) {
        *arena.cell_mut(slot) = *cell;
        arena.note_mut(slot).id = cell.id(&chain.transaction_prefix);
        if !payload.is_empty() {
            let mut held = arena.take_payload().unwrap();
            arena.payload_bytes_mut(&mut held)[..payload.len()].copy_from_slice(payload);
            let note = arena.note_mut(slot);
            (note.payload, note.payload_bytes) = (Some(held), payload.len() as u32);
        }
    }
    let mut refused = Vec::new();
    ledger.admit(&mut slots, &mut refused);
    assert_eq!(ledger.select(4, &mut refused), 3);
    assert!(refused.is_empty());
    let block = ledger.build(4, 0);
    let quilt_wire = ledger.quilt().to_vec();
    let mut quilt = Quilt::default();
    quilt.decode_into(&quilt_wire, 100).unwrap();
    ledger.apply(&mut slots).unwrap();
    let root = ledger.seal();
    let transactions: Vec<Value> = cells
        .iter()
        .map(|(cell, payload)| {
            json!({
                "cell": hex(bytemuck::bytes_of(cell)),
                "payload": hex(payload),
                "signed_bytes": hex(&[&chain.transaction_prefix[..], cell.signed_part()].concat()),
                "id": hex(&cell.id(&chain.transaction_prefix)),
            })
        })
        .collect();
    let patch = dynemix_engine::chain::patch::Patch {
        height: 1,
        slot: 4,
        shard: 0,
        parent_root: genesis_root,
        delta: quilt.delta.clone(),
        records: Vec::new(),
    };
    let mut patch_wire = Vec::new();
    patch.encode(&mut patch_wire);
    json!({
        "version": 1,
        "genesis_accounts": genesis.iter().map(|(key, balance)| json!({"key": hex(key), "balance": balance})).collect::<Vec<_>>(),
        "genesis_hash": hex(&chain.genesis_hash),
        "transaction_prefix": hex(&chain.transaction_prefix),
        "genesis_root": hex(&genesis_root),
        "transactions": transactions,
        "patch": hex(&patch_wire),
        "shard_block": {
            "slot": block.slot, "shard": block.shard, "transactions": block.transactions,
            "transactions_root": hex(&block.transactions_root), "patch_hash": hex(&block.patch_hash), "hash": hex(&block.hash()),
        },
        "quilt": hex(&quilt_wire),
        "quilt_hash": hex(&Quilt::hash(&quilt_wire)),
        "root": hex(&root),
        "balances": (0..5).map(|i| { let columns = ledger.state().columns(); json!([hex(&columns.key[i]), columns.hot[i].balance, columns.hot[i].sequence]) }).collect::<Vec<_>>(),
        "pool": ledger.state().header().pool,
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
