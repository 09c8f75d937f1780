//! Slips inside one function, planted one at a time: the assertion that states the broken fact stops the node before
//! anybody else sees anything. `cargo test -p dynemix-engine --features mutations --test asserted`

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Final, Value};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::committee::statement::{Certificate, SeatSet, Statement, StatementKind};
use dynemix_engine::consensus::minter::Minter;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::{Item, Items, transaction_item};
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use ed25519_dalek::SigningKey;
use std::sync::Arc;

const MINTERS: u32 = 10;
const ACCOUNTS: u32 = 20;
const BALANCE: u64 = 1_000 * DYNE;

fn key(number: u32) -> Key {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret).verifying_key().to_bytes()
}

/// A chain of one shard in blockchain mode: ten minters, who are the first of twenty accounts.
struct Scene {
    chain: Chain,
    state: State<HeapMemory>,
    system: System,
}

impl Scene {
    fn new() -> Scene {
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
    fn build(&self) -> Built {
        let pay = |from: u32, to: u32| {
            let (sender, recipient, payload_hash) = (key(from), key(to), payload_hash(&[]));
            let cell = Cell { sender, recipient, amount: 5 * DYNE, payload_hash, ..Cell::zeroed() };
            transaction_item(&Cell { expires_slot: 50, version: 1, kind: 1, outputs: 1, ..cell }, &[])
        };
        let mut items = vec![pay(12, 13), pay(14, 90)];
        items.sort_by_key(|item| item.id);
        self.build_of(&items.into())
    }

    fn build_of(&self, items: &Items) -> Built {
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.chain, &self.state, &self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        view.build(0, self.system.slot + 1, items)
    }

    /// That block, as if it were certified.
    fn blocks(&self) -> [Option<Arc<CertifiedBlock>>; 1] {
        let Built { block, items, patch } = self.build();
        assert_eq!(items.len(), 2, "both payments are valid");
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let height = self.system.height + 1;
        [Some(Arc::new(CertifiedBlock { height, block, hash: block.hash(), certificate, items, patch }))]
    }

    fn next(&self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Next {
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

    fn waiting(&mut self, _: usize) -> Vec<Arc<Item>> {
        Vec::new()
    }

    fn sound(&mut self, _: usize, _: &Arc<Item>) -> bool {
        false
    }

    fn admit(&mut self, _: &Arc<Item>) {}

    fn build(&mut self, _: usize, _: u64, items: &Items) -> Arc<Built> {
        Arc::new(self.build_of(items))
    }

    fn check(&mut self, _: &CertifiedBlock) -> bool {
        true
    }

    fn bodies(&mut self, _: &Hash, _: &[Arc<Item>]) -> Option<Bodies> {
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

/// From a parent and the blocks of a height to the next system and the quilt.
fn finish() {
    let scene = Scene::new();
    scene.next(&scene.blocks());
}

/// The block of two payments.
fn build() {
    Scene::new().build();
}

/// A quilt that pays a key without an account.
fn apply() {
    let Scene { mut state, .. } = Scene::new();
    let mut quilt = Quilt { height: 1, slot: 1, parent_root: state.header().root, ..Quilt::default() };
    (quilt.delta.debits.accounts, quilt.delta.debits.amounts) = (vec![12], vec![5 * DYNE]);
    (quilt.delta.created_keys, quilt.delta.created_amounts) = (vec![key(90)], vec![5 * DYNE]);
    assert_eq!(state.validate(&quilt), Ok(()));
    state.apply(&quilt).unwrap();
}

/// A node hears of a height that the committee has decided, and goes on to the next.
fn settle() {
    let mut scene = Scene::new();
    let (chain, schedule) = (scene.chain.genesis_hash, Schedule::of(&scene.chain.parameters));
    let value = scene.value(&[None]);
    let (height, attempt, hash) = (value.height, 2, value.hash());
    let statement = Statement { kind: StatementKind::Second, height, number: attempt, shard: 0, justified_by: 0, hash };
    let digest = statement.digest(&chain);
    let (mut signers, mut signatures) = (SeatSet::default(), Vec::new());
    for (seat, member) in (0..).zip(&scene.system.committee.members) {
        signers.insert(seat);
        signatures.push(StubSigning::stub(member.candidate, &digest));
    }
    let signing = StubSigning { candidate: 0 };
    let certificate = Certificate { signers, aggregate: signing.aggregate(&signatures) };
    let mut minter = Minter::new(chain, schedule, 0, scene, Arc::new(signing), SignedOnce::default(), 0);
    assert_eq!(minter.pending_height(), 1);
    let decided = Final { attempt, value: Arc::new(value), hash, certificate };
    minter.handle(0, 1, Message::Final(Arc::new(decided), Vec::new()));
    assert_eq!(minter.pending_height(), 2, "the height is final here");
}

/// What a run panics with, if it does, with this fault planted.
fn panic_of(fault: Option<Mutation>, run: fn()) -> Option<String> {
    plant(fault);
    let result = std::panic::catch_unwind(run);
    plant(None);
    let panic = result.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
}

#[test]
fn each_slip_is_found_by_the_assertion_that_states_the_fact() {
    // Panics are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let cases: [(Mutation, fn(), &str); 4] = [
        (Mutation::NewAccountsGetMore, finish, "the pools sum to what is in no balance"),
        (Mutation::SendersPayLess, build, "a block moves money and makes none"),
        (Mutation::CreatedNotCounted, apply, "the accounts in use are those before and those created"),
        (Mutation::FinalNotApplied, settle, "a height that is final is the one that was pending"),
    ];
    let mut wrong = Vec::new();
    for (fault, run, fact) in cases {
        let (without, with) = (panic_of(None, run), panic_of(Some(fault), run));
        if without.is_some() || !with.as_ref().is_some_and(|text| text.contains(fact)) {
            wrong.push((fault, without, with));
        }
    }
    drop(std::panic::take_hook());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cases.map(|case| case.0), Mutation::ASSERTED, "each slip has its run");
}
