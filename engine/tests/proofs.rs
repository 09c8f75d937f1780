//! Proofs and snapshots: what they show is true, and nothing else passes.

use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::delta::{Changes, Delta};
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::proof::{AccountProof, PROOF_BYTES_MAX, ProofError};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::snapshot::{CHUNK_ACCOUNTS, Manifest, SnapshotError};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::HashSeed;

fn key(number: u64) -> Key {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

fn state(accounts: u64, accounts_max: u32) -> State<HeapMemory> {
    let genesis: Vec<_> = (0..accounts).map(|number| (key(number), 1_000 + number)).collect();
    let supply = genesis.iter().map(|account| account.1).sum();
    State::genesis(HeapMemory::new(StateLayout::new(accounts_max)), &genesis, supply, HashSeed::from_number(1)).unwrap()
}

#[test]
fn a_proof_shows_each_account_and_no_changed_bit_passes() {
    for (accounts, accounts_max) in [(1, 1), (8, 8), (9, 500), (129, 129), (2_049, 40_000), (20_000, 20_000)] {
        let mut state = state(accounts, accounts_max);
        for number in [0, accounts / 3, accounts - 1] {
            let root = state.header().root;
            let proof = state.prove(number as u32).unwrap();
            let bytes = proof.encode();
            assert!(bytes.len() <= PROOF_BYTES_MAX);
            let decoded = AccountProof::decode(&bytes).unwrap();
            assert_eq!(decoded, proof);
            let (proved, hot) = decoded.verify(&root).unwrap();
            assert_eq!((proved, hot.balance), (key(number), 1_000 + number));
            assert_eq!(decoded.verify(&[9; 32]), Err(ProofError::Root));
            for at in (0..bytes.len()).step_by(7) {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let passed = AccountProof::decode(&changed)
                    .and_then(|proof| proof.verify(&root).map(|shown| (proof.account, shown)));
                // The account's number alone may move within the proof's group: then it shows that neighbour, truly.
                if let Ok((account, (shown, hot))) = passed {
                    assert_ne!(u64::from(account), number);
                    assert_eq!((shown, hot), (key(account.into()), *state.hot(account)));
                }
            }
            assert_eq!(AccountProof::decode(&bytes[..bytes.len() - 1]), Err(ProofError::Malformed));
        }
        assert_eq!(state.prove(accounts as u32), None);
        // After a block the old proof is for the old root only.
        if accounts > 1 {
            let old = state.prove(1).unwrap();
            let header = *state.header();
            let changes = |account: u32| Changes { accounts: vec![account], amounts: vec![5] };
            let delta = Delta { debits: changes(1), credits: changes(0), ..Delta::default() };
            state.apply(&Quilt { height: 1, slot: 1, parent_root: header.root, delta, ..Quilt::default() }).unwrap();
            let root = state.update_root();
            assert!(old.verify(&root).is_err() && old.verify(&header.root).is_ok());
            assert_eq!(state.prove(1).unwrap().verify(&root).unwrap().1.balance, 996);
        }
    }
}

fn chunk(state: &State<HeapMemory>, manifest: &Manifest, chunk: usize) -> Vec<u8> {
    let columns = state.columns();
    let accounts = manifest.chunk_accounts(chunk);
    let mut bytes: Vec<u8> = bytemuck::cast_slice(&columns.key[accounts.clone()]).to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(&columns.hot[accounts]));
    bytes
}

#[test]
fn chunks_of_a_snapshot_are_checked_one_by_one_against_the_root() {
    // One chunk, a full one, and several of which the last is short: each shape of the tree above the chunks.
    for accounts in [1, 100, CHUNK_ACCOUNTS, CHUNK_ACCOUNTS + 1, 2 * CHUNK_ACCOUNTS + 12_345] {
        let state = state(accounts, accounts as u32 + 77);
        let manifest = Manifest::of(&state, [3; 32]);
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        assert_eq!(manifest.nodes.len() as u64, accounts.div_ceil(CHUNK_ACCOUNTS));
        let mut memory = HeapMemory::new(StateLayout::new(accounts as u32 + 5));
        for number in 0..manifest.nodes.len() {
            let mut bytes = chunk(&state, &manifest, number);
            let (keys, hot) = manifest.verify_chunk(number, &bytes).unwrap();
            let columns = memory.columns_mut();
            columns.key[manifest.chunk_accounts(number)].copy_from_slice(&keys);
            columns.hot[manifest.chunk_accounts(number)].copy_from_slice(&hot);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(manifest.verify_chunk(number, &bytes), Err(SnapshotError::Chunk { chunk: number }));
            assert!(matches!(manifest.verify_chunk(number, &bytes[1..]), Err(SnapshotError::Length { .. })));
        }
        let mut restored = State::reopen(memory);
        assert_eq!(restored.restore(&manifest, HashSeed::from_number(2)).unwrap(), state.header().root);
        assert_eq!(restored.find(&key(accounts - 1)), Some(accounts as u32 - 1));
        // Any bit of the manifest, other than the chain's name, is bound by its root.
        for at in (0..bytes.len()).filter(|at| !(16..48).contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Manifest::decode(&changed).is_err(), "byte {at}");
        }
    }
}
