//! The block rule against a naive ledger: the same transactions, decided and applied by a map and a loop.

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::{ApplyError, State};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::patch::{MergeError, Patch};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, Output, payload_of};
use dynemix_engine::transaction::check::check;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::vote::stub::StubSigning;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

const ACCOUNTS: usize = 6;
const CASES: u32 = 100_000;

/// Keys that can be accounts; the first [`ACCOUNTS`] are, the others may become so.
static KEYS: LazyLock<Vec<Key>> =
    LazyLock::new(|| (0..10).map(|i| SigningKey::from_bytes(&[i; 32]).verifying_key().to_bytes()).collect());
/// A key of small order, and one that does not decode.
const BAD_KEYS: [Key; 2] = [[0; 32], [2; 32]];
/// The minter's account: nobody pays it.
const MINTER: Key = [9; 32];

fn key(number: u8) -> Key {
    let number = usize::from(number);
    KEYS.get(number).copied().unwrap_or_else(|| BAD_KEYS[number % 2])
}

#[derive(Clone, Debug)]
struct Draft {
    sender: u8,
    recipient: u8,
    amount: u64,
    sequence: u64,
    expires_slot: u64,
    further: Vec<(u8, u64)>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let amount = prop_oneof![8 => DYNE..6 * DYNE, 1 => Just(DYNE - 1), 1 => 0..u64::MAX];
    let further = prop_oneof![6 => Just(Vec::new()), 1 => proptest::collection::vec((0u8..12, DYNE..2 * DYNE), 1..3)];
    (0u8..8, 0u8..12, amount, prop_oneof![6 => 0u64..2, 1 => 0u64..12], 0u64..40, further).prop_map(
        |(sender, recipient, amount, sequence, expires_slot, further)| Draft {
            sender,
            recipient,
            amount,
            sequence,
            expires_slot,
            further,
        },
    )
}

/// The ledger as one would explain it: a map, and rules in the order of the specification.
#[derive(Clone, Default)]
struct Naive {
    accounts: BTreeMap<Key, (u64, u64)>,
    fees: u64,
}

fn cost(draft: &Draft, parameters: &ChainParameters) -> u128 {
    let outputs: u128 =
        draft.further.iter().map(|output| u128::from(output.1)).sum::<u128>() + u128::from(draft.amount);
    outputs + u128::from(parameters.output_fee) * draft.further.len() as u128
}

impl Naive {
    /// A block of these, whose form and time are right; how many stand in it.
    fn block(&mut self, drafts: &[(Hash, Draft)], parameters: &ChainParameters) -> u32 {
        let parent = self.accounts.clone();
        let mut of_senders: BTreeMap<Key, (Hash, &Draft)> = BTreeMap::new();
        for (id, draft) in drafts {
            let Some(&(balance, next)) = parent.get(&key(draft.sender)) else { continue };
            if draft.sequence != next || cost(draft, parameters) > u128::from(balance) {
                continue;
            }
            let lowest = of_senders.entry(key(draft.sender)).or_insert((*id, draft));
            if *id < lowest.0 {
                *lowest = (*id, draft);
            }
        }
        let mut count = 0;
        for (sender, (_, draft)) in of_senders {
            let outputs: Vec<(u8, u64)> =
                std::iter::once((draft.recipient, draft.amount)).chain(draft.further.iter().copied()).collect();
            if outputs.iter().any(|output| !parent.contains_key(&key(output.0)) && BAD_KEYS.contains(&key(output.0))) {
                continue;
            }
            count += 1;
            let entry = self.accounts.get_mut(&sender).unwrap();
            entry.0 -= cost(draft, parameters) as u64;
            entry.1 += 1;
            for (recipient, amount) in outputs {
                self.accounts.entry(key(recipient)).or_default().0 += amount;
            }
            self.fees += parameters.output_fee * draft.further.len() as u64;
        }
        count
    }
}

/// A chain of one minter, whose account stands behind those of the users.
struct Setting {
    chain: Chain,
    state: State<HeapMemory>,
    system: System,
}

fn genesis() -> Vec<(Key, u64)> {
    (0..ACCOUNTS).map(|i| (KEYS[i], 10 * DYNE)).collect()
}

fn cell_of(draft: &Draft) -> (Cell, Vec<u8>) {
    let further: Vec<_> =
        draft.further.iter().map(|&(recipient, amount)| Output { recipient: key(recipient), amount }).collect();
    let (payload, multi) = (payload_of(&further), !further.is_empty());
    let cell = Cell {
        sender: key(draft.sender),
        recipient: key(draft.recipient),
        amount: draft.amount,
        sequence: draft.sequence,
        expires_slot: draft.expires_slot,
        version: 1,
        kind: if multi { 2 } else { 1 },
        outputs: 1 + further.len() as u16,
        payload_hash: if multi { *blake3::hash(&payload).as_bytes() } else { [0; 32] },
        ..Cell::zeroed()
    };
    (cell, payload)
}

impl Setting {
    fn new() -> Setting {
        let consensus = ConsensusParameters { seats: 1, shards_max: 1, emission: 0, ..ConsensusParameters::default() };
        let parameters = ChainParameters { expires_window_slots: 30, consensus, ..ChainParameters::default() };
        let accounts: Vec<_> = genesis().into_iter().chain([(MINTER, 0)]).collect();
        let minter = GenesisMinter {
            account: ACCOUNTS as u32,
            name: b"alone".to_vec(),
            stake: DYNE,
            key: Box::new([3; 96]),
            endpoint: Endpoint::default(),
        };
        let chain = Chain::with_minters(parameters, &accounts, std::slice::from_ref(&minter));
        let system = System::genesis(&chain, &[minter]);
        let pool = system.pools.sum();
        let supply = 10 * DYNE * ACCOUNTS as u64 + pool;
        let memory = HeapMemory::new(StateLayout::new(64));
        let state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(1)).unwrap();
        Setting { chain, state, system }
    }

    /// The block of these, and what follows.
    fn block(&self, slot: u64, items: Vec<Item>) -> ([Option<Arc<CertifiedBlock>>; 1], Next) {
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.chain, &self.state, &self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        let Built { block, items, patch } = view.build(0, slot, &items.into());
        assert!(view.patch_holds(&block, &patch).is_ok(), "what the rule builds it takes");
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let (height, hash) = (system.height + 1, block.hash());
        let blocks = [Some(Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch }))];
        let next = Next::new(chain, state, system, &blocks);
        (blocks, next)
    }
}

fn run(blocks: &[Vec<Draft>]) {
    let mut setting = Setting::new();
    let mut naive = Naive {
        accounts: genesis().into_iter().map(|(key, balance)| (key, (balance, 0))).collect(),
        ..Naive::default()
    };
    let (parameters, pool) = (setting.chain.parameters, setting.state.header().pool);
    for (number, drafts) in blocks.iter().enumerate() {
        let parent_slot = setting.system.slot;
        let (mut offered, mut items) = (Vec::new(), Vec::new());
        for draft in drafts {
            let (cell, payload) = cell_of(draft);
            let item = Item::transaction(&cell, &payload);
            if check(&cell, &payload, &parameters, parent_slot).is_ok() {
                offered.push((item.id(), draft.clone()));
            }
            items.push(item);
        }
        items.sort_by_key(|item| item.id());
        items.dedup_by_key(|item| item.id());
        let (listed, next) = setting.block(parent_slot + 1 + 3 * number as u64, items);
        let count = naive.block(&offered, &parameters);
        assert_eq!(listed[0].as_ref().unwrap().block.transactions, count);

        let mut wire = Vec::new();
        next.quilt.encode(&mut wire);
        let mut quilt = Quilt::default();
        quilt.decode_into(&wire, 1000).unwrap();
        assert_eq!(setting.state.validate(&quilt), Ok(()));
        if let Some(first) = quilt.delta.created_keys.first_mut() {
            let key = std::mem::replace(first, BAD_KEYS[0]);
            assert_eq!(setting.state.validate(&quilt), Err(ApplyError::KeyInvalid { position: 0 }));
            quilt.delta.created_keys[0] = key;
        }
        let hash = next.value(&setting.system, &listed).hash();
        setting.state.apply(&quilt).unwrap();
        let root = setting.state.update_root();
        setting.system = next.finalized(hash);

        let state = &mut setting.state;
        let columns = state.columns();
        let found: BTreeMap<Key, (u64, u64)> = (0..columns.header.accounts as usize)
            .map(|i| (columns.key[i], (columns.hot[i].balance, u64::from(columns.hot[i].sequence))))
            .filter(|account| account.0 != MINTER)
            .collect();
        assert_eq!(found, naive.accounts);
        assert_eq!(columns.header.pool, pool + naive.fees);
        assert_eq!(state.supply(), u128::from(10 * DYNE * ACCOUNTS as u64 + pool));
        assert_eq!(state.rebuild_tree(), root, "a rebuild gives the incremental root");
    }
}

/// Outside of the pool's threads every parallel step would wait for one to wake up; inside it runs on the spot.
fn in_pool(work: impl FnOnce() + Send) {
    static POOL: LazyLock<rayon::ThreadPool> =
        LazyLock::new(|| rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    POOL.install(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn blocks_agree_with_the_naive_ledger(blocks in proptest::collection::vec(proptest::collection::vec(draft(), 0..8), 1..4)) {
        in_pool(|| run(&blocks));
    }
}

fn delta() -> impl Strategy<Value = Patch> {
    let changes = || proptest::collection::btree_map(0u32..2000, 1u64..1 << 40, 0..20);
    let created = proptest::collection::btree_map(any::<[u8; 32]>(), 1u64..1 << 40, 0..5);
    (changes(), changes(), created, 0u64..1 << 30, 1u64..u64::MAX, any::<u32>()).prop_map(
        |(debits, credits, created, fees, height, shard)| {
            let mut patch = Patch { height, slot: height / 2, shard, parent_root: [7; 32], ..Patch::default() };
            (patch.delta.debits.accounts, patch.delta.debits.amounts) = debits.into_iter().unzip();
            (patch.delta.credits.accounts, patch.delta.credits.amounts) = credits.into_iter().unzip();
            (patch.delta.created_keys, patch.delta.created_amounts) = created.into_iter().unzip();
            patch.delta.fees = fees;
            patch
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    /// A patch has one encoding: it reads back, every shortening is refused, and changed bytes are refused or are the
    /// one encoding of something else.
    #[test]
    fn wire_forms_are_canonical(patch in delta(), flip in any::<(prop::sample::Index, u8)>(), cut in any::<prop::sample::Index>()) {
        let mut wire = Vec::new();
        patch.encode(&mut wire);
        prop_assert_eq!(&Patch::decode(&wire, 2000).unwrap(), &patch);
        prop_assert!(Patch::decode(&wire[..cut.index(wire.len())], 2000).is_err());
        let place = flip.0.index(wire.len());
        wire[place] ^= flip.1;
        if let Ok(other) = Patch::decode(&wire, 2000) {
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, wire);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// However a block's changes are spread over shards, and in whatever order their patches come, the quilt is the
    /// same.
    #[test]
    fn merging_does_not_depend_on_the_division(patch in delta(), shards in 1u32..5, salt in any::<u64>()) {
        let whole = Quilt::from_patch(Patch { shard: 0, ..patch.clone() });
        let mut parts: Vec<Patch> = (0..shards).map(|shard| Patch { height: patch.height, slot: patch.slot, shard, parent_root: patch.parent_root, ..Patch::default() }).collect();
        let mut turn = salt;
        let mut pick = || { turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); (turn >> 33) as usize % shards as usize };
        for (account, amount) in patch.delta.debits.iter() {
            let part = &mut parts[pick()].delta.debits;
            part.accounts.push(account);
            part.amounts.push(amount);
        }
        for (account, amount) in patch.delta.credits.iter() {
            // A credit of two or more may come from two shards.
            let first = if amount > 1 { amount / 2 } else { amount };
            for amount in [first, amount - first].into_iter().filter(|&amount| amount > 0) {
                let part = &mut parts[pick()].delta.credits;
                if part.accounts.last() == Some(&account) {
                    *part.amounts.last_mut().unwrap() += amount;
                } else {
                    part.accounts.push(account);
                    part.amounts.push(amount);
                }
            }
        }
        for (key, &amount) in patch.delta.created_keys.iter().zip(&patch.delta.created_amounts) {
            let part = &mut parts[pick()].delta;
            part.created_keys.push(*key);
            part.created_amounts.push(amount);
        }
        parts[0].delta.fees = patch.delta.fees;
        parts.rotate_left(salt as usize % shards as usize);
        prop_assert_eq!(Quilt::merge(&parts).unwrap(), whole);
        if let Some(&account) = patch.delta.debits.accounts.first() {
            let mut twice = Patch { shard: 9, delta: Default::default(), ..patch.clone() };
            twice.delta.debits.accounts.push(account);
            twice.delta.debits.amounts.push(1);
            parts.push(twice);
            prop_assert_eq!(Quilt::merge(&parts), Err(MergeError::DebitedTwice { account }));
        }
    }
}
