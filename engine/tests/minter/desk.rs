//! A chain of one shard, and one of its minters on a desk: whoever tests it is its network, its disk and its clock.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key, Seat, Sig, VoteKey};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, Final, Value};
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::schedule::{Schedule, Step};
use dynemix_engine::committee::statement::{Certificate, SeatSet, Statement, StatementKind};
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::minter::{Action, Minter};
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::verify::account_key_acceptable;
use dynemix_engine::vote::remembering::Remembering;
use dynemix_engine::vote::signing::{Claim, Signing};
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Candidates, of whom [`SEATS`] have a seat.
pub const CANDIDATES: u32 = 14;
pub const SEATS: u32 = 10;
const BALANCE: u64 = 1_000 * DYNE;

fn key(number: u32) -> Key {
    (0u32..)
        .map(|offset| *blake3::hash(&[number.to_le_bytes(), offset.to_le_bytes()].concat()).as_bytes())
        .find(account_key_acceptable)
        .expect("every second key will do")
}

/// What consensus stands on: a pool that no block takes anything from, and what is final is applied.
pub struct Ground {
    pub chain: Chain,
    state: State<HeapMemory>,
    pub system: System,
    /// Records that wait: all of them hold.
    pub records: Vec<Item>,
}

impl Ground {
    pub fn new() -> Ground {
        let consensus = ConsensusParameters {
            seats: SEATS,
            shards_max: 1,
            quilt_from_height: u64::MAX,
            ..ConsensusParameters::default()
        };
        let accounts: Vec<_> = (0..CANDIDATES).map(|number| (key(number), BALANCE)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake: 500 * DYNE,
            key: Box::new([account as u8 + 1; 96]),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..CANDIDATES).map(minter).collect();
        let parameters = ChainParameters { consensus, ..ChainParameters::default() };
        let chain = Chain::with_minters(parameters, &accounts, &minters);
        let system = System::genesis(&chain, &minters);
        let pool = system.pools.sum();
        let supply = u64::from(CANDIDATES) * BALANCE + pool;
        let memory = HeapMemory::new(StateLayout::new(100));
        let state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(1)).unwrap();
        Ground { chain, state, system, records: Vec::new() }
    }
}

impl Execution for Ground {
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

    fn admit(&mut self, item: &Item) {
        self.records.push(item.clone());
    }

    fn proofs(&self) -> Vec<Item> {
        let is_proof = |item: &&Item| matches!(Record::of_item(item), Some(Record::Fraud(_) | Record::Conflict(_)));
        self.records.iter().filter(is_proof).cloned().collect()
    }

    fn build(&mut self, shard: usize, slot: u64, items: &Items) -> Arc<Built> {
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.chain, &self.state, &self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        Arc::new(view.build(shard, slot, items))
    }

    fn check(&mut self, _: &CertifiedBlock) -> bool {
        true
    }

    fn bodies(&mut self, _: &Hash, _: &[Item]) -> Option<Bodies> {
        None
    }

    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value {
        Next::new(&self.chain, &self.state, &self.system, blocks).value(&self.system, blocks)
    }

    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) {
        let next = Next::new(&self.chain, &self.state, &self.system, blocks);
        self.state.apply(&next.quilt).unwrap();
        self.state.update_root();
        self.system = next.finalized(value.hash());
    }
}

/// A stub that counts what it is asked to verify: on a network each of these is a pairing.
pub struct Counting {
    stub: StubSigning,
    checks: Arc<AtomicU64>,
}

impl Signing for Counting {
    fn sign(&self, digest: &Hash) -> Sig {
        self.stub.sign(digest)
    }

    fn verify(&self, candidate: u32, digest: &Hash, signature: &Sig) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.stub.verify(candidate, digest, signature)
    }

    /// All together cost little more than one.
    fn verify_all(&self, claims: &[Claim]) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        claims.iter().all(|claim| self.stub.verify(claim.candidate, &claim.digest, &claim.signature))
    }

    fn aggregate(&self, signatures: &[Sig]) -> Sig {
        self.stub.aggregate(signatures)
    }

    fn verify_aggregate(&self, candidates: &[u32], digest: &Hash, aggregate: &Sig) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.stub.verify_aggregate(candidates, digest, aggregate)
    }

    fn possession_holds(&self, owner: &Key, key: &VoteKey, possession: &Sig) -> bool {
        self.stub.possession_holds(owner, key, possession)
    }

    fn learn(&self, _: u32, _: &VoteKey) {}
}

/// One minter, and what it has said so far.
pub struct Desk {
    pub minter: Minter<Ground, Remembering<Counting>>,
    pub schedule: Schedule,
    pub chain: Hash,
    pub me: u32,
    pub committee: Arc<Committee>,
    checks: Arc<AtomicU64>,
    /// All actions; records become durable at once.
    pub said: Vec<Action>,
    pub now_ms: u64,
}

impl Desk {
    /// A member of the first committee at its start, with this record, at a time.
    pub fn new(record: SignedOnce, now_ms: u64) -> Desk {
        let me = Ground::new().system.committee.members[0].candidate;
        Desk::of(me, record, now_ms)
    }

    /// The same of any candidate.
    pub fn of(me: u32, record: SignedOnce, now_ms: u64) -> Desk {
        let ground = Ground::new();
        let (chain, schedule) = (ground.chain.genesis_hash, Schedule::of(&ground.chain.parameters));
        let committee = ground.system.committee.clone();
        let checks = Arc::<AtomicU64>::default();
        let signing = Remembering::new(Counting { stub: StubSigning { candidate: me }, checks: checks.clone() });
        let minter = Minter::new(chain, schedule, me, ground, Arc::new(signing), record, now_ms);
        Desk { minter, schedule, chain, me, committee, checks, said: Vec::new(), now_ms }
    }

    /// One whose round of slot 1 has begun.
    pub fn in_round() -> Desk {
        let mut desk = Desk::new(SignedOnce::default(), 0);
        desk.until(1, Step::Sets);
        assert!(desk.minter.round().is_some());
        desk
    }

    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Action::Persist(ticket, _) = &action {
                let more = self.minter.persisted(self.now_ms, *ticket);
                self.said.push(action);
                self.carry_out(more);
            } else {
                self.said.push(action);
            }
        }
    }

    /// Time becomes that, in one step.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let actions = self.minter.tick(now_ms);
        self.carry_out(actions);
    }

    /// Time passes, step by step, up to a step of a slot, which is taken.
    pub fn until(&mut self, slot: u64, step: Step) {
        let end = slot * self.schedule.slot_ms + step.at(&self.schedule);
        while self.minter.wake_at_ms() <= end {
            let due = self.minter.wake_at_ms().max(self.now_ms);
            self.tick(due);
        }
        self.tick(end);
    }

    pub fn hear(&mut self, from: u32, message: Message) {
        let actions = self.minter.handle(self.now_ms, from, message);
        self.carry_out(actions);
    }

    /// Somebody who has a stake and no seat.
    pub fn stranger(&self) -> u32 {
        (0..CANDIDATES).find(|&candidate| self.committee.seat_of(candidate).is_none()).expect("fewer seats than these")
    }

    /// The other members, with their seats.
    pub fn others(&self) -> Vec<(Seat, u32)> {
        (0..).zip(&self.committee.members).map(|(seat, member)| (seat, member.candidate)).skip(1).collect()
    }

    /// What a member of the committee signs.
    pub fn signed(&self, candidate: u32, kind: StatementKind, number: u64, hash: Hash) -> Sig {
        let height = self.minter.pending_height();
        let statement = Statement { kind, height, number, shard: 0, justified_by: 0, hash };
        StubSigning::stub(candidate, &statement.digest(&self.chain))
    }

    /// A final certificate of all members of the pending height for a value.
    pub fn certified(&self, value: Value, attempt: u64) -> Arc<Final> {
        let hash = value.hash();
        let (mut signers, mut signatures) = (SeatSet::default(), Vec::new());
        for (seat, member) in (0..).zip(&self.minter.execution.system.committee.members) {
            signers.insert(seat);
            signatures.push(self.signed(member.candidate, StatementKind::Second, attempt, hash));
        }
        let certificate = Certificate { signers, aggregate: StubSigning { candidate: 0 }.aggregate(&signatures) };
        Arc::new(Final { attempt, value: Arc::new(value), hash, certificate })
    }

    /// Who was made to pay so far, and for what.
    pub fn penalties(&self) -> Vec<(u32, Offence)> {
        let penalty = |action: &Action| match action {
            Action::Penalise(whom, offence) => Some((*whom, *offence)),
            _ => None,
        };
        self.said.iter().filter_map(penalty).collect()
    }

    /// Slots that were asked to be reserved.
    pub fn reserved(&self) -> Vec<u64> {
        let slot = |action: &Action| match action {
            Action::Persist(_, record) => Some(record.reserved_slot),
            _ => None,
        };
        self.said.iter().filter_map(slot).collect()
    }
}
