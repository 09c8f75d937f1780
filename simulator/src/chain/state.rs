//! What consensus asks of a state, over the engine's real accounts, system, patches, quilts and roots.
//!
//! A state is a pure function of the final blocks, so nodes that agree share one, and what one of them has computed the
//! others look up; now and then it is computed again and compared.

use crate::chain::signing::uncounted;
use crate::seed::dice::Dice;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key, VoteKey};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Value, transactions_root};
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::rules::admit::{Valid, View};
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::verify::account_key_acceptable;
use dynemix_engine::vote::signing::Signing;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// The slot that it is when a run begins: late enough for clocks that are behind.
pub(crate) const FOUNDED_SLOT: u64 = 100;
/// What each account has at first.
pub(crate) const BALANCE: u64 = 1_000_000 * DYNE;

/// The state after one height: everything in it follows from final blocks.
pub(crate) struct Version {
    /// Balances and sequences of all accounts, and their root.
    pub(crate) state: State<HeapMemory>,
    /// Names, stakes, committee and whatever else consensus keeps.
    pub(crate) system: System,
    /// Bans that the block carried out.
    pub(crate) bans: Vec<(u64, u16)>,
}

/// Parent, shard, slot, root of the items' ids.
type BuildKey = (Hash, usize, u64, Hash);
/// Parent and shard-blocks.
type ValueKey = (Hash, Vec<Option<Hash>>);

/// What all nodes share: the chain, and what has been computed once.
pub(crate) struct Shared {
    /// Parameters and genesis hash.
    pub(crate) chain: Chain,
    /// Checks what minters have signed; signs for nobody.
    pub(crate) signing: Box<dyn Signing>,
    versions: RefCell<HashMap<Hash, Rc<Version>>>,
    built: RefCell<HashMap<BuildKey, Arc<Built>>>,
    checked: RefCell<HashMap<(Hash, Hash), bool>>,
    sound: RefCell<HashMap<(Hash, usize, Hash), bool>>,
    values: RefCell<HashMap<ValueKey, Rc<(Value, Next)>>>,
    dice: RefCell<Dice>,
    genesis: Rc<Version>,
}

/// A simulated chain's shape.
pub(crate) struct Scale {
    /// Accounts, the candidates' among them.
    pub(crate) accounts: u64,
    /// Accounts that have a stake: as many nodes run.
    pub(crate) candidates: u32,
    /// Seats drawn for a block.
    pub(crate) seats: usize,
    /// Shards that each committee is divided into, if it has the seats.
    pub(crate) shards: usize,
    /// Whether the chain is in quilt mode.
    pub(crate) quilt: bool,
    /// Decides what is computed twice.
    pub(crate) seed: u64,
}

/// The key of simulated account `number`.
pub(crate) fn account_key(number: u64) -> Key {
    let mut key = [0; 32];
    let mut dice = Dice::new(number, 77);
    key.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.roll().to_le_bytes()));
    key
}

/// The first key from `number` on that can become an account: half of all bytes are no point of the curve.
pub(crate) fn new_key(number: u64) -> Key {
    (0..)
        .map(|offset| account_key((number << 16) + offset))
        .find(account_key_acceptable)
        .expect("every second key will do")
}

fn name_of(number: u64) -> Vec<u8> {
    format!("user{number}").into_bytes()
}

/// A stake by Zipf's law.
pub(crate) fn stake_of(candidate: u64) -> u64 {
    1_000_000 * DYNE / (candidate + 5)
}

impl Shared {
    /// A world of this scale, whose candidates have Zipf stakes and these voting keys.
    pub(crate) fn new(scale: &Scale, key: impl Fn(u32) -> VoteKey, signing: Box<dyn Signing>) -> Rc<Shared> {
        let Scale { accounts, candidates, seats, shards, quilt, seed } = *scale;
        let genesis: Vec<(Key, u64)> = (0..accounts).map(|number| (account_key(number), BALANCE)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: name_of(u64::from(account)),
            stake: stake_of(u64::from(account)),
            key: Box::new(key(account)),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..candidates).map(minter).collect();
        let consensus = ConsensusParameters {
            seats: seats as u32,
            shards_max: shards as u32,
            shard_transactions: 1,
            quilt_from_height: if quilt { 0 } else { u64::MAX },
            emission: 7 * DYNE,
            accounts_max: accounts + 4_096,
            ..ConsensusParameters::default()
        };
        let parameters = ChainParameters { consensus, ..ChainParameters::default() };
        let chain = Chain::with_minters(parameters, &genesis, &minters);
        // The chain is founded in the slot in which the nodes start: see `FOUNDED_SLOT`.
        let mut system = System::genesis(&chain, &minters);
        system.slot = FOUNDED_SLOT;
        let memory = HeapMemory::new(StateLayout::new(accounts as u32 + 4_096));
        let (pool, seed) = (system.pools.sum(), seed);
        let state =
            State::genesis_with_pool(memory, &genesis, BALANCE * accounts + pool, pool, HashSeed::from_number(seed));
        let state = state.expect("distinct keys");
        let genesis = Rc::new(Version { state, system, bans: Vec::new() });
        Rc::new(Shared {
            chain,
            signing,
            versions: RefCell::default(),
            built: RefCell::default(),
            checked: RefCell::default(),
            sound: RefCell::default(),
            values: RefCell::default(),
            dice: RefCell::new(Dice::new(seed, 3)),
            genesis,
        })
    }

    /// The state that everyone begins with.
    pub(crate) fn genesis(&self) -> Rc<Version> {
        self.genesis.clone()
    }

    /// The state after a final block that some node has applied.
    pub(crate) fn version(&self, hash: &Hash) -> Option<Rc<Version>> {
        self.versions.borrow().get(hash).cloned()
    }

    /// Forgets what was computed for heights long past.
    pub(crate) fn forget_below(&self, height: u64) {
        self.versions.borrow_mut().retain(|_, version| version.system.height >= height);
        self.built.borrow_mut().clear();
        self.checked.borrow_mut().clear();
        self.sound.borrow_mut().clear();
        self.values.borrow_mut().clear();
    }

    fn again(&self) -> bool {
        self.dice.borrow_mut().chance(20)
    }

    /// A version as blocks are judged by it.
    pub(crate) fn view<'a>(&'a self, version: &'a Version) -> View<'a, HeapMemory> {
        View {
            chain: &self.chain,
            state: &version.state,
            system: &version.system,
            signing: &*self.signing,
            genuine: &genuine,
            judged: &[],
        }
    }

    fn build(&self, parent: &Version, shard: usize, slot: u64, items: &Items) -> Arc<Built> {
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
        let key = (parent.system.hash, shard, slot, transactions_root(&mut ids));
        let known = self.built.borrow().get(&key).cloned();
        if let Some(built) = &known
            && !self.again()
        {
            return built.clone();
        }
        let built = Arc::new(self.view(parent).build(shard, slot, items));
        if let Some(known) = known {
            assert_eq!((known.block, &known.patch), (built.block, &built.patch), "building twice gives one block");
        }
        self.built.borrow_mut().insert(key, built.clone());
        built
    }

    /// What follows from these blocks on this parent.
    fn next(&self, parent: &Version, blocks: &[Option<Arc<CertifiedBlock>>]) -> Rc<(Value, Next)> {
        let headers: Vec<_> = blocks.iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect();
        let key = (parent.system.hash, headers);
        if let Some(next) = self.values.borrow().get(&key) {
            return next.clone();
        }
        let next = Next::new(&self.chain, &parent.state, &parent.system, blocks);
        let next = Rc::new((next.value(&parent.system, blocks), next));
        self.values.borrow_mut().insert(key, next.clone());
        next
    }

    fn apply(&self, parent: &Version, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) -> Rc<Version> {
        let hash = value.hash();
        if let Some(version) = self.versions.borrow().get(&hash) {
            return version.clone();
        }
        let next = self.next(parent, blocks).1.clone();
        let mut state = parent.state.clone();
        state.apply(&next.quilt).expect("what follows from checked blocks applies");
        state.update_root();
        assert_eq!(
            u128::from(next.system.pools.issued) + self.genesis.state.supply(),
            state.supply(),
            "supply is conserved"
        );
        let version = Rc::new(Version { state, bans: next.bans.clone(), system: next.finalized(hash) });
        self.versions.borrow_mut().insert(hash, version.clone());
        version
    }
}

/// A simulated transaction's signature: nobody forges one but by the wrong bytes.
fn stub_signature(cell: &Cell) -> [u8; 64] {
    let hash = cell.id(&[7; 32]);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&hash);
    signature
}

fn genuine(item: &Item) -> bool {
    item.cell_and_payload().is_some_and(|(cell, _)| cell.signature[..8] == stub_signature(cell)[..8])
}

/// A transaction's item. Without `signed` its signature does not hold.
pub(crate) fn cell_item(cell: Cell, payload: &[u8], signed: bool) -> Item {
    let cell = Cell { version: 1, payload_hash: payload_hash(payload), ..cell };
    let signature = if signed { stub_signature(&cell) } else { [1; 64] };
    Item::transaction(&Cell { signature, ..cell }, payload)
}

/// A transfer's item.
pub(crate) fn transfer_item(sender: Key, recipient: Key, amount: u64, sequence: u64, expires_slot: u64) -> Item {
    cell_item(
        Cell { sender, recipient, amount, sequence, expires_slot, kind: 1, outputs: 1, ..bytemuck::Zeroable::zeroed() },
        &[],
        true,
    )
}

/// One node's view: a version that it shares with whoever agrees, and its own pool.
pub(crate) struct SimExecution {
    shared: Rc<Shared>,
    candidate: u32,
    /// The newest final state.
    pub(crate) version: Rc<Version>,
    pool: BTreeMap<Hash, Item>,
}

impl SimExecution {
    /// A node at a state, with an empty pool.
    pub(crate) fn new(shared: Rc<Shared>, candidate: u32, version: Rc<Version>) -> SimExecution {
        SimExecution { shared, candidate, version, pool: BTreeMap::new() }
    }
}

impl Execution for SimExecution {
    fn system(&self) -> &System {
        &self.version.system
    }

    fn quilt_mode(&self) -> bool {
        self.shared.chain.parameters.consensus.maturity(self.version.system.height + 1) > 0
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::default()
    }

    fn waiting(&mut self, shard: usize) -> Vec<Item> {
        let items: Vec<Item> = self.pool.values().cloned().collect();
        items.into_iter().filter(|item| self.sound(shard, item)).collect()
    }

    fn sound(&mut self, shard: usize, item: &Item) -> bool {
        let key = (self.version.system.hash, shard, item.id());
        if let Some(&known) = self.shared.sound.borrow().get(&key) {
            return known;
        }
        let known = match self.shared.view(&self.version).valid(shard, item) {
            Some(Valid::Transaction(_)) => genuine(item),
            valid => valid.is_some(),
        };
        self.shared.sound.borrow_mut().insert(key, known);
        known
    }

    fn admit(&mut self, item: &Item) {
        self.pool.entry(item.id()).or_insert_with(|| item.clone());
    }

    fn proofs(&self) -> Vec<Item> {
        let view = self.shared.view(&self.version);
        let mut of_whom = BTreeSet::new();
        let holds = |item: &&Item| match Record::of_item(item) {
            Some(record @ Record::Fraud(_)) if !view.record_holds(&record) => false,
            Some(Record::Fraud(evidence)) => of_whom.insert(evidence.candidate),
            Some(record @ Record::Conflict(_)) => view.record_holds(&record),
            _ => false,
        };
        uncounted(|| self.pool.values().filter(holds).cloned().collect())
    }

    fn build(&mut self, shard: usize, slot: u64, items: &Items) -> Arc<Built> {
        self.shared.build(&self.version, shard, slot, items)
    }

    fn check(&mut self, block: &CertifiedBlock) -> bool {
        let key = (self.version.system.hash, block.listed_hash());
        if let Some(&known) = self.shared.checked.borrow().get(&key) {
            return known;
        }
        let build = || self.shared.build(&self.version, block.block.shard as usize, block.block.slot, &block.items);
        let right = self.shared.view(&self.version).block_holds(block, self.quilt_mode(), build);
        self.shared.checked.borrow_mut().insert(key, right);
        right
    }

    fn bodies(&mut self, block: &Hash, items: &[Item]) -> Option<Bodies> {
        let (height, immature) = self.version.system.immature_block(block)?;
        Some(self.shared.view(&self.version).bodies(height, immature, items))
    }

    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value {
        let mut value = self.shared.next(&self.version, blocks).0.clone();
        if planted(Mutation::SeedFromOwnView) {
            value.seed[0] ^= (self.pool.len() % 2) as u8;
        }
        value
    }

    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) {
        let mut version = self.shared.apply(&self.version, value, blocks);
        if planted(Mutation::CommitteeFromOwnView) && self.candidate % 2 == 1 {
            let minters: Vec<_> =
                version.system.committee.members.iter().map(|member| (member.candidate, member.stake)).collect();
            let committee = Arc::new(Committee::new(version.system.height + 1, &[0; 32], &minters, 1));
            let system = System { committee, ..version.system.clone() };
            version = Rc::new(Version { state: version.state.clone(), system, bans: version.bans.clone() });
        }
        self.version = version;
        let Version { state, system, .. } = &*self.version;
        let usable = |item: &Item| match (item.cell_and_payload(), Record::of_item(item)) {
            (Some((cell, _)), _) => {
                state.find(&cell.sender).is_some_and(|account| cell.sequence >= u64::from(state.hot(account).sequence))
                    && cell.expires_slot >= system.slot
            }
            (None, Some(Record::Answer(answer))) => answer.height > system.height + 1,
            (None, Some(Record::Attest(attest))) => attest.height >= system.height,
            (None, Some(Record::Fraud(evidence))) => !system.barred.contains_key(&evidence.candidate),
            (None, Some(Record::Conflict(conflict))) => !system.convicts(&conflict).is_empty(),
            (None, Some(Record::Alert(alert))) => system.immature_block(&alert.attest.block).is_some(),
            (None, Some(Record::Invalid(invalid))) => system.immature_block(&invalid.attest.block).is_some(),
            _ => false,
        };
        self.pool.retain(|_, item| usable(item));
    }
}
