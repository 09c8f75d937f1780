//! A chain of ten minters that stands still in memory, and what they decide.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Final, Value};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::statement::{Certificate, SeatSet, Statement, StatementKind};
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use ed25519_dalek::SigningKey;
use std::sync::Arc;

const MINTERS: u32 = 10;
const ACCOUNTS: u32 = 20;
const BALANCE: u64 = 1_000 * DYNE;

pub fn key(number: u32) -> Key {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret).verifying_key().to_bytes()
}

/// A chain of one shard in blockchain mode: ten minters, who are the first of twenty accounts.
pub struct Scene {
    pub chain: Chain,
    pub state: State<HeapMemory>,
    pub system: System,
}

impl Scene {
    pub fn new() -> Scene {
        let consensus = ConsensusParameters {
            seats: MINTERS,
            shards_max: 1,
            quilt_from_height: u64::MAX,
            ..ConsensusParameters::default()
        };
        let accounts: Vec<_> = (0..ACCOUNTS).map(|number| (key(number), BALANCE)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake: 500 * DYNE,
            key: Box::new([account as u8 + 1; 96]),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..MINTERS).map(minter).collect();
        let parameters = ChainParameters { consensus, ..ChainParameters::default() };
        let chain = Chain::with_minters(parameters, &accounts, &minters);
        let system = System::genesis(&chain, &minters);
        let pool = system.pools.sum();
        let supply = u64::from(ACCOUNTS) * BALANCE + pool;
        let memory = HeapMemory::new(StateLayout::new(100));
        let state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(1)).unwrap();
        Scene { chain, state, system }
    }

    /// The block of two payments: one to an account, one to a key that has none.
    pub fn build(&self) -> Built {
        let pay = |from: u32, to: u32| {
            let (sender, recipient, payload_hash) = (key(from), key(to), payload_hash(&[]));
            let cell = Cell { sender, recipient, amount: 5 * DYNE, payload_hash, ..Cell::zeroed() };
            Item::transaction(&Cell { expires_slot: 50, version: 1, kind: 1, outputs: 1, ..cell }, &[])
        };
        let mut items = vec![pay(12, 13), pay(14, 90)];
        items.sort_by_key(|item| item.id());
        self.build_of(&items.into())
    }

    pub fn build_of(&self, items: &Items) -> Built {
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.chain, &self.state, &self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        view.build(0, self.system.slot + 1, items)
    }

    /// That block, as if it were certified.
    pub fn blocks(&self) -> [Option<Arc<CertifiedBlock>>; 1] {
        let Built { block, items, patch } = self.build();
        assert_eq!(items.len(), 2, "both payments are valid");
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let height = self.system.height + 1;
        [Some(Arc::new(CertifiedBlock { height, block, hash: block.hash(), certificate, items, patch }))]
    }

    pub fn next(&self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Next {
        Next::new(&self.chain, &self.state, &self.system, blocks)
    }
}

/// Nothing waits here, and what is final is applied.
impl Execution for Scene {
    fn system(&self) -> &System {
        &self.system
    }

    fn quilt_mode(&self) -> bool {
        false
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::default()
    }

    fn waiting(&mut self, _: usize) -> Vec<Item> {
        Vec::new()
    }

    fn sound(&mut self, _: usize, _: &Item) -> bool {
        false
    }

    fn admit(&mut self, _: &Item) {}

    fn proofs(&self) -> Vec<Item> {
        Vec::new()
    }

    fn build(&mut self, _: usize, _: u64, items: &Items) -> Arc<Built> {
        Arc::new(self.build_of(items))
    }

    fn check(&mut self, _: &CertifiedBlock) -> bool {
        true
    }

    fn bodies(&mut self, _: &Hash, _: &[Item]) -> Option<Bodies> {
        None
    }

    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value {
        self.next(blocks).value(&self.system, blocks)
    }

    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) {
        let next = self.next(blocks);
        self.state.apply(&next.quilt).unwrap();
        self.state.update_root();
        self.system = next.finalized(value.hash());
    }
}

/// The final block of the pending height without any shard-block, decided in this attempt, certified by everyone.
pub fn decided(scene: &mut Scene, attempt: u64) -> Final {
    let value = scene.value(&[None]);
    let (height, hash) = (value.height, value.hash());
    let statement = Statement { kind: StatementKind::Second, height, number: attempt, shard: 0, justified_by: 0, hash };
    let digest = statement.digest(&scene.chain.genesis_hash);
    let (mut signers, mut signatures) = (SeatSet::default(), Vec::new());
    for (seat, member) in (0..).zip(&scene.system.committee.members) {
        signers.insert(seat);
        signatures.push(StubSigning::stub(member.candidate, &digest));
    }
    let certificate = Certificate { signers, aggregate: StubSigning { candidate: 0 }.aggregate(&signatures) };
    Final { attempt, value: Arc::new(value), hash, certificate }
}
