//! What consensus asks of a state, over the engine's real accounts, patches, quilts and roots.
//!
//! A state is a pure function of the final blocks, so nodes that agree share one, and what one of them has computed the
//! others look up; now and then it is computed again and compared.

use crate::dice::Dice;
use dynemix_engine::arena::{Arena, Slot};
use dynemix_engine::block::{ShardBlock, transactions_root};
use dynemix_engine::cell::{Cell, Key};
use dynemix_engine::chain::{Chain, ChainParameters, DYNE};
use dynemix_engine::check::{check_expiry, cost};
use dynemix_engine::consensus::committee::{Committee, record_shards, shard_of};
use dynemix_engine::consensus::draw::{Lots, draw, next_seed};
use dynemix_engine::consensus::execution::Execution;
use dynemix_engine::consensus::message::{CertifiedBlock, Evidence, Item, Kind, Signed, Value};
use dynemix_engine::consensus::mutation::{Mutation, planted};
use dynemix_engine::consensus::signing::Signing;
use dynemix_engine::execute::{self, Executor};
use dynemix_engine::hash::Hash;
use dynemix_engine::keyed_hash::HashSeed;
use dynemix_engine::patch::Patch;
use dynemix_engine::quilt::Quilt;
use dynemix_engine::state::{HeapMemory, State, StateLayout};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Fewer answers than these do not make a committee alone.
const ANSWERS_MIN: usize = 4;
const KIND_TRANSFER: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_FRAUD: u8 = 3;

/// The state after one height: everything in it follows from final blocks.
pub struct Version {
    /// Height.
    pub height: u64,
    /// Hash of the master-block.
    pub hash: Hash,
    /// Its slot.
    pub slot: u64,
    /// The seed after it.
    pub seed: Hash,
    /// Accounts.
    pub state: State<HeapMemory>,
    /// Committee of the next height.
    pub committee: Arc<Committee>,
    /// Drawn for the height after that.
    pub drawn: Vec<u32>,
    /// Share of the drawn that answer, in millionths, smoothed.
    pub answering: u64,
    /// Who is barred, by proof.
    pub barred: BTreeSet<u32>,
    /// Ids of what the block held.
    pub included: BTreeSet<Hash>,
}

/// Signs the answer to being drawn.
pub type SignAnswer = Rc<dyn Fn(&Hash) -> [u8; 48]>;
/// Parent, shard, slot, root of the items' ids.
type BuildKey = (Hash, usize, u64, Hash);
/// Parent and shard-blocks.
type ValueKey = (Hash, Vec<Option<Hash>>);
type Built = (ShardBlock, Vec<Arc<Item>>, Vec<u8>);

/// What all nodes share: the chain, and what has been computed once.
pub struct Shared {
    /// The chain.
    pub chain: Chain,
    /// Candidates' stakes.
    pub stakes: Vec<u64>,
    seats: usize,
    shards: usize,
    versions: RefCell<HashMap<Hash, Rc<Version>>>,
    built: RefCell<HashMap<BuildKey, Rc<Built>>>,
    checked: RefCell<HashMap<(Hash, Hash), bool>>,
    values: RefCell<HashMap<ValueKey, Rc<Value>>>,
    scratch: RefCell<(Arena, Executor, Dice)>,
    /// Checks signatures in records; signs for nobody.
    pub signing: Box<dyn DynSigning>,
    genesis: RefCell<Option<Rc<Version>>>,
}

/// [`Signing`], for records.
pub trait DynSigning {
    /// Whether the candidate signed this.
    fn verify(&self, candidate: u32, digest: &Hash, signature: &[u8; 48]) -> bool;
    /// Whether the evidence holds.
    fn evidence_holds(&self, evidence: &Evidence, chain: &Hash) -> bool;
}

impl<S: Signing> DynSigning for S {
    fn verify(&self, candidate: u32, digest: &Hash, signature: &[u8; 48]) -> bool {
        Signing::verify(self, candidate, digest, signature)
    }

    fn evidence_holds(&self, evidence: &Evidence, chain: &Hash) -> bool {
        evidence.verify(chain, self)
    }
}

/// The key of simulated account `number`.
pub fn account_key(number: u64) -> Key {
    let mut key = [0; 32];
    let mut dice = Dice::new(number, 77);
    key.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.roll().to_le_bytes()));
    key
}

impl Shared {
    /// A world of so many accounts and candidates with Zipf stakes.
    pub fn new(accounts: u64, candidates: u32, seats: usize, shards: usize, seed: u64, signing: Box<dyn DynSigning>) -> Rc<Shared> {
        let genesis: Vec<(Key, u64)> = (0..accounts).map(|number| (account_key(number), 1_000_000 * DYNE)).collect();
        let chain = Chain::new(ChainParameters::default(), &genesis);
        let stakes: Vec<u64> = (0..u64::from(candidates)).map(|candidate| 1_000_000 * DYNE / (candidate + 5)).collect();
        let supply = 1_000_000 * DYNE * accounts;
        let memory = HeapMemory::new(StateLayout::new(accounts as u32 + 4_096));
        let state = State::genesis(memory, &genesis, supply, HashSeed::from_number(seed)).expect("distinct keys");
        let shared = Rc::new(Shared {
            stakes,
            seats,
            shards,
            versions: RefCell::default(),
            built: RefCell::default(),
            checked: RefCell::default(),
            values: RefCell::default(),
            scratch: RefCell::new((Arena::new(2_048, 1), Executor::with_capacity(2_048), Dice::new(seed, 3))),
            signing,
            genesis: RefCell::default(),
            chain,
        });
        let hash = shared.chain.genesis_hash;
        let first = shared.draw(&hash, 1, &BTreeSet::new(), 1_000_000);
        let committee = Arc::new(Committee::new(1, &hash, &shared.with_stakes(&first), shards));
        let drawn = shared.draw(&hash, 2, &BTreeSet::new(), 1_000_000);
        let barred = BTreeSet::new();
        let included = BTreeSet::new();
        let version = Version { height: 0, hash, slot: 0, seed: hash, state, committee, drawn, answering: 1_000_000, barred, included };
        *shared.genesis.borrow_mut() = Some(Rc::new(version));
        shared
    }

    /// The state that everyone begins with.
    pub fn genesis(&self) -> Rc<Version> {
        self.genesis.borrow().clone().expect("made with the world")
    }

    fn with_stakes(&self, candidates: &[u32]) -> Vec<(u32, u64)> {
        candidates.iter().map(|&candidate| (candidate, self.stakes[candidate as usize])).collect()
    }

    /// Draws candidates for a height: as many more than seats as have not answered of late.
    fn draw(&self, seed: &Hash, height: u64, barred: &BTreeSet<u32>, answering: u64) -> Vec<u32> {
        let stakes: Vec<u64> = self
            .stakes
            .iter()
            .enumerate()
            .map(|(candidate, &stake)| if barred.contains(&(candidate as u32)) { 0 } else { stake })
            .collect();
        let count = (self.seats as u64 * 1_000_000).div_ceil(answering.max(250_000)) as usize;
        draw(&mut Lots::new(seed, b'd', height), &stakes, count)
    }

    /// The state after a final block that some node has applied.
    pub fn version(&self, hash: &Hash) -> Option<Rc<Version>> {
        self.versions.borrow().get(hash).cloned()
    }

    /// Forgets what was computed for heights long past.
    pub fn forget_below(&self, height: u64) {
        self.versions.borrow_mut().retain(|_, version| version.height >= height);
        self.built.borrow_mut().clear();
        self.checked.borrow_mut().clear();
        self.values.borrow_mut().clear();
    }

    fn again(&self) -> bool {
        self.scratch.borrow_mut().2.chance(20)
    }

    fn build(&self, parent: &Version, shard: usize, slot: u64, items: &[Arc<Item>]) -> Rc<Built> {
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id).collect();
        let key = (parent.hash, shard, slot, transactions_root(&mut ids));
        let known = self.built.borrow().get(&key).cloned();
        if let Some(built) = &known
            && !self.again()
        {
            return built.clone();
        }
        let built = Rc::new(self.compute(parent, shard, slot, items));
        if let Some(known) = known {
            assert_eq!((known.0, &known.2), (built.0, &built.2), "building twice gives one block");
        }
        self.built.borrow_mut().insert(key, built.clone());
        built
    }

    /// The block of these items on this parent: what is invalid is left out, of one sender the lowest id stays.
    fn compute(&self, parent: &Version, shard: usize, slot: u64, items: &[Arc<Item>]) -> Built {
        let mut scratch = self.scratch.borrow_mut();
        let (arena, executor, _) = &mut *scratch;
        let (mut taken, mut block, mut slots, mut numbers) = (Vec::new(), Vec::new(), Vec::<Slot>::new(), Vec::new());
        let mut senders = BTreeSet::new();
        for item in items {
            match self.valid(parent, shard, item) {
                Some(Valid::Record) => taken.push(item.clone()),
                Some(Valid::Transfer(cell, account)) if senders.insert(account) => {
                    slots.clear();
                    assert_eq!(arena.take_into(&mut slots, 1, &mut numbers), 1, "blocks of a simulation fit the arena");
                    let mut slot = slots.pop().expect("taken above");
                    *arena.cell_mut(&mut slot) = cell;
                    arena.note_mut(&mut slot).account = account;
                    let id_start = u64::from_be_bytes(item.id[..8].try_into().expect("8 bytes"));
                    block.push(execute::Item { slot, id_start, recipient: parent.state.find(&cell.recipient) });
                    taken.push(item.clone());
                }
                _ => {}
            }
        }
        let header = parent.state.header();
        let (height, parent_root) = (parent.height + 1, header.root);
        let mut patch = Patch { height, slot, shard: shard as u32, parent_root, ..Patch::default() };
        executor.execute(&block, arena, &parent.state, &self.chain.parameters, &mut patch.delta);
        slots.extend(block.into_iter().map(|item| item.slot));
        arena.free(&mut slots, &mut numbers);
        let mut bytes = Vec::new();
        patch.encode(&mut bytes);
        let mut ids: Vec<Hash> = taken.iter().map(|item| item.id).collect();
        let block = ShardBlock {
            parent_root,
            slot,
            shard: shard as u32,
            transactions: taken.len() as u32,
            transactions_root: transactions_root(&mut ids),
            patch_hash: Patch::hash(&bytes),
        };
        (block, taken, bytes)
    }

    fn valid(&self, parent: &Version, shard: usize, item: &Item) -> Option<Valid> {
        let shards = parent.committee.shards.len();
        let (&kind, bytes) = item.bytes.split_first()?;
        if kind == KIND_TRANSFER {
            let cell: Cell = bytemuck::try_pod_read_unaligned(bytes).ok()?;
            let account = parent.state.find(&cell.sender)?;
            let hot = parent.state.hot(account);
            let ok = shard_of(&parent.seed, &cell.sender, shards) == shard
                && check_expiry(cell.expires_slot, &self.chain.parameters, parent.slot).is_ok()
                && cell.sequence == u64::from(hot.sequence)
                && cost(&cell, &[], &self.chain.parameters).is_ok_and(|cost| cost.total() <= hot.balance);
            return ok.then_some(Valid::Transfer(cell, account));
        }
        if !record_shards(&parent.seed, &item.id, shards).any(|of| of == shard) {
            return None;
        }
        match kind {
            KIND_ANSWER => {
                let (height, candidate, signature) = answer_of(bytes)?;
                let right = height == parent.height + 2 && parent.drawn.contains(&candidate);
                (right && self.signing.verify(candidate, &answer_digest(&self.chain.genesis_hash, height), &signature))
                    .then_some(Valid::Record)
            }
            KIND_FRAUD => {
                let evidence = evidence_of(bytes)?;
                let new = !parent.barred.contains(&evidence.candidate) && evidence.height <= parent.height + 1;
                (new && self.signing.evidence_holds(&evidence, &self.chain.genesis_hash)).then_some(Valid::Record)
            }
            _ => None,
        }
    }

    /// What follows from these blocks on this parent.
    fn value(&self, parent: &Version, blocks: &[Option<Arc<CertifiedBlock>>]) -> Rc<Value> {
        let headers: Vec<_> = blocks.iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect();
        let key = (parent.hash, headers.clone());
        if let Some(value) = self.values.borrow().get(&key) {
            return value.clone();
        }
        let (_, next) = self.after(parent, blocks);
        let slot = blocks.iter().flatten().map(|block| block.block.slot).max().unwrap_or(parent.slot + 1);
        let mut quilt = Vec::new();
        if let Some(merged) = merge(blocks) {
            merged.encode(&mut quilt);
        }
        let value = Rc::new(Value {
            height: parent.height + 1,
            parent: parent.hash,
            slot,
            headers,
            quilt: Quilt::hash(&quilt),
            parent_root: parent.state.header().root,
            seed: next.0,
            committee_next: next.1.hash(),
        });
        self.values.borrow_mut().insert(key, value.clone());
        value
    }

    /// Answers in these blocks, and (seed, committee, drawn, answering share, barred) after them.
    #[expect(clippy::type_complexity, reason = "a tuple between two functions of one file")]
    fn after(
        &self,
        parent: &Version,
        blocks: &[Option<Arc<CertifiedBlock>>],
    ) -> (Vec<u32>, (Hash, Committee, Vec<u32>, u64, BTreeSet<u32>)) {
        let mut answers: BTreeMap<u32, [u8; 48]> = BTreeMap::new();
        let mut barred = parent.barred.clone();
        for item in blocks.iter().flatten().flat_map(|block| &block.items) {
            match item.bytes.split_first() {
                Some((&KIND_ANSWER, bytes)) => {
                    let (_, candidate, signature) = answer_of(bytes).expect("checked when the block was held");
                    answers.insert(candidate, signature);
                }
                Some((&KIND_FRAUD, bytes)) => {
                    barred.insert(evidence_of(bytes).expect("checked when the block was held").candidate);
                }
                _ => {}
            }
        }
        let seed = next_seed(&parent.seed, answers.values().map(|signature| &signature[..]));
        let mut minters: Vec<u32> = answers.keys().copied().filter(|candidate| !barred.contains(candidate)).collect();
        if minters.len() < ANSWERS_MIN {
            minters.extend(parent.committee.members.iter().map(|member| member.candidate));
            minters.sort_unstable();
            minters.dedup();
        }
        let height = parent.height + 2;
        let committee = Committee::new(height, &seed, &self.with_stakes(&minters), self.shards);
        let share = answers.len() as u64 * 1_000_000 / (parent.drawn.len() as u64).max(1);
        let answering = (3 * parent.answering + share) / 4;
        let drawn = self.draw(&seed, height + 1, &barred, answering);
        (minters, (seed, committee, drawn, answering, barred))
    }

    fn apply(&self, parent: &Version, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) -> Rc<Version> {
        let hash = value.hash();
        if let Some(version) = self.versions.borrow().get(&hash) {
            return version.clone();
        }
        let (_, (seed, committee, drawn, answering, barred)) = self.after(parent, blocks);
        let mut state = parent.state.clone();
        let mut quilt = merge(blocks).unwrap_or_default();
        (quilt.height, quilt.slot, quilt.parent_root) = (value.height, value.slot, parent.state.header().root);
        state.apply(&quilt).expect("a block of valid transfers applies");
        state.update_root();
        let included = blocks.iter().flatten().flat_map(|block| block.items.iter().map(|item| item.id)).collect();
        let (height, slot, committee) = (value.height, value.slot, Arc::new(committee));
        let version = Rc::new(Version { height, hash, slot, seed, state, committee, drawn, answering, barred, included });
        self.versions.borrow_mut().insert(hash, version.clone());
        version
    }
}

fn merge(blocks: &[Option<Arc<CertifiedBlock>>]) -> Option<Quilt> {
    let patches: Vec<Patch> =
        blocks.iter().flatten().map(|block| Patch::decode(&block.patch, 1 << 20).expect("checked when the block was held")).collect();
    // The blocks of one height may be of different slots: the patches' slots give way to the master-block's.
    let slot = patches.iter().map(|patch| patch.slot).max()?;
    let patches: Vec<_> = patches.into_iter().map(|patch| Patch { slot, ..patch }).collect();
    Some(Quilt::merge(&patches).expect("senders belong to one shard each"))
}

enum Valid {
    Transfer(Cell, u32),
    Record,
}

/// A transfer's item. Its signature plays no part here.
pub fn transfer_item(sender: Key, recipient: Key, amount: u64, sequence: u64, expires_slot: u64) -> Arc<Item> {
    let cell = Cell { sender, recipient, amount, sequence, expires_slot, version: 1, kind: 1, outputs: 1, ..bytemuck::Zeroable::zeroed() };
    let mut bytes = vec![KIND_TRANSFER];
    bytes.extend_from_slice(bytemuck::bytes_of(&cell));
    Item::new(bytes)
}

/// The item of a claim of fraud, true or not.
pub fn fraud_item(evidence: &Evidence) -> Arc<Item> {
    let mut bytes = vec![KIND_FRAUD];
    bytes.extend_from_slice(&evidence_bytes(evidence));
    Item::new(bytes)
}

fn answer_digest(chain: &Hash, height: u64) -> Hash {
    Signed { kind: Kind::Answer, height, number: 0, shard: 0, justified_by: 0, hash: [0; 32] }.digest(chain)
}

fn answer_of(bytes: &[u8]) -> Option<(u64, u32, [u8; 48])> {
    let bytes: &[u8; 60] = bytes.try_into().ok()?;
    let height = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
    let candidate = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes"));
    Some((height, candidate, bytes[12..].try_into().expect("48 bytes")))
}

const EVIDENCE_BYTES: usize = 4 + 1 + 8 + 8 + 8 + 2 + 2 * (32 + 8 + 48);

fn evidence_bytes(evidence: &Evidence) -> Vec<u8> {
    let Evidence { candidate, kind, height, number, number_second, shard, statements } = evidence;
    let mut out = candidate.to_le_bytes().to_vec();
    out.push(*kind as u8);
    [height, number, number_second].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    out.extend_from_slice(&shard.to_le_bytes());
    for (hash, justified_by, signature) in statements {
        out.extend_from_slice(hash);
        out.extend_from_slice(&justified_by.to_le_bytes());
        out.extend_from_slice(signature);
    }
    out
}

fn evidence_of(bytes: &[u8]) -> Option<Evidence> {
    let bytes: &[u8; EVIDENCE_BYTES] = bytes.try_into().ok()?;
    let eight = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let kinds = [Kind::SetRoot, Kind::List, Kind::Decision, Kind::ShardVote, Kind::Proposal, Kind::First, Kind::Second, Kind::Answer];
    let kind = kinds.into_iter().find(|&kind| kind as u8 == bytes[4])?;
    let statement = |at: usize| (bytes[at..at + 32].try_into().expect("32 bytes"), eight(at + 32), bytes[at + 40..at + 88].to_vec());
    Some(Evidence {
        candidate: u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes")),
        kind,
        height: eight(5),
        number: eight(13),
        number_second: eight(21),
        shard: u16::from_le_bytes(bytes[29..31].try_into().expect("2 bytes")),
        statements: [statement(31), statement(119)],
    })
}

/// One node's view: a version that it shares with whoever agrees, and its own pool.
pub struct SimExecution {
    shared: Rc<Shared>,
    candidate: u32,
    sign_answer: SignAnswer,
    /// The newest final state.
    pub version: Rc<Version>,
    pool: BTreeMap<Hash, Arc<Item>>,
}

impl SimExecution {
    /// A node at a state, with an empty pool.
    pub fn new(shared: Rc<Shared>, candidate: u32, version: Rc<Version>, sign_answer: SignAnswer) -> SimExecution {
        SimExecution { shared, candidate, sign_answer, version, pool: BTreeMap::new() }
    }

    fn answer(&self) -> Vec<Arc<Item>> {
        let version = &self.version;
        if !version.drawn.contains(&self.candidate) {
            return Vec::new();
        }
        let height = version.height + 2;
        let mut bytes = vec![KIND_ANSWER];
        bytes.extend_from_slice(&height.to_le_bytes());
        bytes.extend_from_slice(&self.candidate.to_le_bytes());
        bytes.extend_from_slice(&(self.sign_answer)(&answer_digest(&self.shared.chain.genesis_hash, height)));
        vec![Item::new(bytes)]
    }

    /// What a node says when it starts: it may have been drawn.
    pub fn duties(&self) -> Vec<Arc<Item>> {
        self.answer()
    }
}

impl Execution for SimExecution {
    fn height(&self) -> u64 {
        self.version.height
    }

    fn parent(&self) -> Hash {
        self.version.hash
    }

    fn slot(&self) -> u64 {
        self.version.slot
    }

    fn seed(&self) -> Hash {
        self.version.seed
    }

    fn committee(&self) -> &Arc<Committee> {
        &self.version.committee
    }

    fn waiting(&mut self, shard: usize) -> Vec<Hash> {
        let (shared, version) = (&self.shared, &self.version);
        self.pool.values().filter(|item| shared.valid(version, shard, item).is_some()).map(|item| item.id).collect()
    }

    fn item(&self, id: &Hash) -> Option<Arc<Item>> {
        self.pool.get(id).cloned()
    }

    fn admit(&mut self, item: &Arc<Item>) {
        if !self.version.included.contains(&item.id) {
            self.pool.entry(item.id).or_insert_with(|| item.clone());
        }
    }

    fn build(&mut self, shard: usize, slot: u64, items: &[Arc<Item>]) -> (ShardBlock, Vec<Arc<Item>>, Vec<u8>) {
        (*self.shared.build(&self.version, shard, slot, items)).clone()
    }

    fn check(&mut self, block: &CertifiedBlock) -> bool {
        let key = (self.version.hash, block.listed_hash());
        if let Some(&known) = self.shared.checked.borrow().get(&key) {
            return known;
        }
        let ascending = block.items.is_sorted_by(|a, b| a.id < b.id);
        let right = ascending && {
            let built = self.shared.build(&self.version, block.block.shard as usize, block.block.slot, &block.items);
            built.0 == block.block && built.2 == block.patch && built.1.len() == block.items.len()
        };
        self.shared.checked.borrow_mut().insert(key, right);
        right
    }

    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value {
        let mut value = (*self.shared.value(&self.version, blocks)).clone();
        if planted(Mutation::SeedFromOwnView) {
            value.seed[0] ^= (self.pool.len() % 2) as u8;
        }
        value
    }

    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) -> Vec<Arc<Item>> {
        let mut version = self.shared.apply(&self.version, value, blocks);
        if planted(Mutation::CommitteeFromOwnView) && self.candidate % 2 == 1 {
            let committee = Committee::new(
                version.height + 1,
                &[0; 32],
                &version.committee.members.iter().map(|m| (m.candidate, m.stake)).collect::<Vec<_>>(),
                1,
            );
            let Version { height, hash, slot, seed, answering, .. } = *version;
            let (state, drawn, barred) = (version.state.clone(), version.drawn.clone(), version.barred.clone());
            let included = version.included.clone();
            version =
                Rc::new(Version { height, hash, slot, seed, state, committee: Arc::new(committee), drawn, answering, barred, included });
        }
        self.version = version;
        self.pool.retain(|id, _| !self.version.included.contains(id));
        if planted(Mutation::ForgetsUndecided) {
            self.pool.clear();
        }
        let (height, state) = (self.version.height, &self.version.state);
        self.pool.retain(|_, item| match item.bytes.split_first() {
            Some((&KIND_TRANSFER, bytes)) => bytemuck::try_pod_read_unaligned::<Cell>(bytes)
                .is_ok_and(|cell| state.find(&cell.sender).is_some_and(|account| cell.sequence >= u64::from(state.hot(account).sequence))),
            Some((&KIND_ANSWER, bytes)) => answer_of(bytes).is_some_and(|(of, ..)| of > height + 1),
            _ => true,
        });
        self.answer()
    }

    fn evidence_item(&mut self, evidence: &Evidence) -> Arc<Item> {
        fraud_item(evidence)
    }
}
