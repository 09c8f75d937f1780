//! What consensus asks of a state, over the mapped accounts and the system: [`Execution`] of a real node.
//!
//! Nothing is computed twice that does not change: validity is looked at once a height, what follows from a list of
//! shard-blocks is kept until the height is final, and signatures are judged before they come here.

use super::own::{Mine, Payer};
use super::pool::{HeightPool, Place, Teller};
use super::prospect::Prospect;
use super::rows::AHEAD;
use super::toll::Toll;
use super::verdicts::Verdicts;
use crate::keep::mapped::MappedMemory;
use crate::setup::endpoint::endpoint_of;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::{Hash, keyed};
use dynemix_engine::base::ids::{AccountIndex, Endpoint, Key};
use dynemix_engine::base::limits::{HEAVY_MAX, SET_ITEMS_MAX};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::prefetch::prefetch;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, Value};
use dynemix_engine::chain::record::Record;
use dynemix_engine::chain::tables::System;
use dynemix_engine::rules::admit::{Judged, View};
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::rules::build::Built;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::compact::Directory;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

/// The state that all threads of a node look at; only consensus changes it.
pub type SharedState = Arc<RwLock<State<MappedMemory>>>;

/// Transactions that are judged between two looks at the inbox.
const JUDGED_AT_ONCE: usize = 256;

const UNPOISONED: &str = "whoever panics while holding the state ends the process";

/// What became of a height when it was applied.
pub struct Applied {
    /// The height that was applied.
    pub height: u64,
    /// Its quilt's wire form.
    pub quilt: Vec<u8>,
    /// Root of the state after it.
    pub root: Hash,
    /// The system after it.
    pub system: Arc<System>,
    /// Bans that it carried out: height and shard.
    pub bans: Vec<(u64, u16)>,
}

/// Keys and indices of the shared state.
pub struct StateDirectory<'a>(pub RwLockReadGuard<'a, State<MappedMemory>>);

impl Directory for StateDirectory<'_> {
    fn index(&self, key: &Key) -> Option<u32> {
        self.0.find(key)
    }

    fn key(&self, account: u32) -> Option<Key> {
        (u64::from(account) < self.0.header().accounts).then(|| self.0.columns().key[account as usize])
    }
}

/// The same of a thread that consensus does not wait for: it holds the state for one look at a time, however much it
/// reads. Accounts keep their places, so that two looks are as good as one.
pub struct SharedDirectory<'a>(pub &'a SharedState);

impl SharedDirectory<'_> {
    fn look(&self) -> StateDirectory<'_> {
        StateDirectory(self.0.read().expect(UNPOISONED))
    }
}

impl Directory for SharedDirectory<'_> {
    fn index(&self, key: &Key) -> Option<u32> {
        self.look().index(key)
    }

    fn key(&self, account: u32) -> Option<Key> {
        self.look().key(account)
    }
}

/// Makes a set of more than so many smaller, in the order of its ids as before: in coarse steps, so that minters for whom it
/// is too large, and who build about equally fast, leave out the same; at each height those of other accounts, whatever ids somebody has made for his.
/// They are told again. One that is not too large stays whole, however near it comes: the others close it too.
fn leave_out<T: Copy>(seed: &Hash, max: usize, sound: &mut Vec<T>, account: impl Fn(T) -> AccountIndex) {
    let max = max.max(1);
    if sound.len() <= max {
        return;
    }
    let step = 1 << max.ilog2();
    let max = if max >= step + step / 2 { step + step / 2 } else { step };
    // Of one account the lower id stays.
    let rank = |(at, &one): (usize, &T)| (keyed(seed, &account(one).to_le_bytes()), at);
    let mut ranks: Vec<(Hash, usize)> = sound.iter().enumerate().map(rank).collect();
    ranks.select_nth_unstable(max);
    let mut kept: Vec<usize> = ranks[..max].iter().map(|&(_, at)| at).collect();
    kept.sort_unstable();
    *sound = kept.into_iter().map(|at| sound[at]).collect();
    assert_eq!(sound.len(), max, "a set that is made smaller is as large as may be");
}

/// A node's state and pool.
pub struct NodeExecution<S> {
    chain: Arc<Chain>,
    state: SharedState,
    system: Arc<System>,
    signing: Arc<S>,
    verdicts: Arc<Verdicts>,
    endpoint: Endpoint,
    /// Transactions and records that wait for a block.
    pub pool: HeightPool,
    candidate: Option<u32>,
    /// The own shard at the next height.
    shard: Option<usize>,
    /// Transactions of the pool, told for the next height, that have not been judged on the present parent.
    unjudged: Vec<Place>,
    /// The same of those that may cost a pairing.
    heavy: Vec<Place>,
    /// Those of the own set once it is closed, ascending by id.
    closed: Vec<Judged>,
    /// Sound ones of others' sets alone.
    foreign: BTreeMap<Hash, Judged>,
    /// Records that were judged on it, and whether they may stand in the own shard's block.
    records: HashMap<Hash, bool>,
    /// The own block: its shard, slot, the items that it was to be of, and what came of them.
    built: Option<(usize, u64, Items, Arc<Built>)>,
    following: Vec<(Vec<Option<Hash>>, Value, Next)>,
    /// Transactions that the own set closes with at most.
    pub set_max: usize,
    /// How the cost of building is found.
    pub building: Toll,
    /// Items of the block that was built last, and what it took, if it was built in time; none once that was looked at.
    pub built_in: Option<(usize, Option<Duration>)>,
    /// What was applied and not yet taken: one entry a height.
    pub applied: Vec<Applied>,
}

impl<S: Signing> NodeExecution<S> {
    /// Others reach this node there from now on; none: it is not known now, and what was said before stays.
    pub fn set_public(&mut self, public: Option<SocketAddr>) {
        let transport_key = self.endpoint.transport_key;
        self.endpoint = public.map_or(self.endpoint, |public| endpoint_of(Some(public), transport_key));
    }

    /// Over this state and system, which belong together.
    pub fn new(
        chain: Arc<Chain>,
        state: SharedState,
        system: Arc<System>,
        signing: Arc<S>,
        verdicts: Arc<Verdicts>,
        endpoint: Endpoint,
        candidate: Option<u32>,
    ) -> NodeExecution<S> {
        let mut execution = NodeExecution {
            chain,
            state,
            system,
            signing,
            verdicts,
            endpoint,
            pool: HeightPool::default(),
            candidate,
            shard: None,
            unjudged: Vec::new(),
            heavy: Vec::new(),
            closed: Vec::new(),
            foreign: BTreeMap::new(),
            records: HashMap::new(),
            built: None,
            following: Vec::new(),
            set_max: SET_ITEMS_MAX,
            building: Toll::default(),
            built_in: None,
            applied: Vec::new(),
        };
        execution.begin_height();
        execution
    }

    /// With this pool, in which nothing waits yet.
    pub fn with_pool(self, pool: HeightPool) -> NodeExecution<S> {
        assert!(self.pool.is_empty() && pool.is_empty(), "a pool is given to a node that has begun");
        NodeExecution { pool, ..self }
    }

    /// Nothing is judged yet on the present parent.
    fn begin_height(&mut self) {
        let committee = &self.system.committee;
        let seat = self.candidate.and_then(|candidate| committee.seat_of(candidate));
        self.shard = seat.map(|seat| usize::from(committee.members[usize::from(seat)].shard));
        self.records.clear();
        // Nobody's set is closed who has no seat.
        let told = self.pool.told_for(if self.shard.is_some() { self.system.height + 1 } else { 0 });
        let heavy = |place: &Place| self.pool.transaction(*place).is_some_and(|(item, _)| item.is_heavy());
        (self.heavy, self.unjudged) = told.partition(heavy);
        self.closed.clear();
        self.foreign.clear();
        self.built = None;
        self.following.clear();
    }

    /// The shard that this node mints in at the next height, if it does.
    pub fn own_shard(&self) -> Option<usize> {
        self.shard
    }

    /// The chain's parameters.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The system, to share.
    pub fn shared_system(&self) -> &Arc<System> {
        &self.system
    }

    /// The state, to look at.
    pub fn state(&self) -> RwLockReadGuard<'_, State<MappedMemory>> {
        self.state.read().expect(UNPOISONED)
    }

    /// What a transaction is good for now: as it was found, if that was on the present parent.
    fn prospect(&self, item: &Item, found: &Prospect) -> Result<Prospect, Refusal> {
        if found.parent == Some(self.system.height) {
            return Ok(*found);
        }
        Prospect::of(item, found.account, &self.chain, &self.state(), &self.system)
    }

    /// Whether a transaction of a user whose signature is good can become part of a block soon: what it takes of
    /// whom, and whether its turn has come.
    ///
    /// # Errors
    /// Why not.
    pub fn check_transaction(&self, item: &Item, found: &Prospect) -> Result<Payer, Refusal> {
        let prospect = self.prospect(item, found)?;
        let Prospect { account, due, cost, parent, .. } = prospect;
        if !self.pool.has_room() {
            return Err(Refusal::Busy);
        }
        // What no block can take now, though its turn has come, would wait until it expires. On the parent on which it
        // was found this was looked at.
        if due && parent != found.parent {
            self.view(&[], |view| view.fits(item, account))?;
        }
        Ok(Payer { account, total: cost.total(), due, found: Some(prospect), hint: None })
    }

    /// Takes a transaction into the pool that this node was told for a height, the next or the one after it.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_transaction(
        &mut self,
        item: Item,
        found: &Prospect,
        told: u64,
        teller: &Teller,
    ) -> Result<(), Refusal> {
        let next = self.system.height + 1;
        assert!(told == next || told == next + 1, "the pool is of two heights, {told} is none after {next}");
        let prospect = self.prospect(&item, found)?;
        let free = self.pool.check(&item, &prospect, told, teller)?;
        let sound = prospect.sound_in(self.shard).filter(|_| told == next);
        let is_heavy = item.is_heavy();
        let place = self.pool.insert(item, free, teller, sound);
        // Judged as it comes: when sets are closed, everyone has something else to do.
        if told == next && is_heavy {
            self.heavy.push(place);
        } else if told == next && sound.is_none() {
            self.judge_at(place);
        }
        Ok(())
    }

    /// Takes a transaction for the next height of which its account is known.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_of(&mut self, item: Item, account: AccountIndex, teller: &Teller) -> Result<(), Refusal> {
        let prospect = Prospect::of(&item, account, &self.chain, &self.state(), &self.system)?;
        self.admit_transaction(item, &prospect, self.system.height + 1, teller)
    }

    /// Takes what minters are told of own users' into the own pool as well. One that does not fit any more is settled with
    /// the next block.
    pub fn admit_own(&mut self, told: Vec<Mine>, teller: &Teller) {
        let found: Vec<Option<Prospect>> = {
            let state = self.state();
            let look = |(at, (item, account, found)): (usize, &Mine)| {
                if let Some((item, account, None)) = told.get(at + AHEAD) {
                    item.prefetch_cell();
                    state.columns().hot.get(*account as usize).into_iter().for_each(prefetch);
                }
                found.or_else(|| Prospect::of(item, *account, &self.chain, &state, &self.system).ok())
            };
            told.iter().enumerate().map(look).collect()
        };
        for ((item, ..), found) in told.into_iter().zip(found) {
            let next = self.system.height + 1;
            let _ = found.map(|found| self.admit_transaction(item, &found, next, teller));
        }
    }

    /// Judges those that may cost a pairing: as many as a block takes, all minters of the shard the same, by a rank that
    /// the seed gives them. They were proved before they came here, so most cost nothing.
    fn judge_heavy(&mut self) {
        let seed = self.system.seed;
        let rank = |place: &Place| self.pool.transaction(*place).map(|(item, _)| keyed(&seed, &item.id()));
        let mut places: Vec<_> = self.heavy.drain(..).map(|place| (rank(&place), place)).collect();
        // One that was replaced is here twice.
        places.sort_unstable();
        places.dedup();
        places.into_iter().take(HEAVY_MAX).for_each(|(_, place)| self.judge_at(place));
    }

    /// Whether a transaction of the pool may stand in the own shard's block. Its signature was looked at before it came
    /// here.
    fn judge_at(&mut self, place: Place) {
        if let Some((item, account)) = self.pool.transaction(place) {
            let cost = self.view(&[], |view| view.judge(self.shard?, item, account));
            self.pool.judge(place, cost);
        }
    }

    /// Judges some of what waits and has not been judged on the present parent, so that nothing is left to do when sets
    /// are closed. False when there is nothing.
    pub fn judge_some(&mut self) -> bool {
        let of = self.unjudged.len().saturating_sub(JUDGED_AT_ONCE);
        let some: Vec<Place> = self.unjudged.drain(of..).collect();
        some.iter().for_each(|place| self.judge_at(*place));
        if !some.is_empty() {
            return true;
        }
        let Some(item) = self.pool.next_unjudged() else { return false };
        self.judge_record(&item);
        true
    }

    fn judge_record(&mut self, item: &Item) -> bool {
        if let Some(&sound) = self.records.get(&item.id()) {
            return sound;
        }
        let Some(shard) = self.shard else { return false };
        let sound = self.view(&[], |view| view.valid(shard, item).is_some());
        // True at once or never: evidence that does not hold, whoever brought it.
        let of_now =
            matches!(Record::of_item(item), Some(Record::Fraud(evidence)) if evidence.height <= self.system.height);
        if !sound
            && of_now
            && !self.view(&[], |view| Record::of_item(item).is_some_and(|record| view.record_holds(&record)))
        {
            self.pool.drop_record(&item.id());
        }
        self.records.insert(item.id(), sound);
        sound
    }

    /// The present state, and what the chain's tables let into the next block.
    pub fn settled<T>(&self, look: impl FnOnce(&View<'_, MappedMemory>) -> T) -> T {
        self.view(&[], look)
    }

    /// The present parent, to look at; `judged` are known to be sound in the shard that is built.
    fn view<T>(&self, judged: &[Judged], look: impl FnOnce(&View<'_, MappedMemory>) -> T) -> T {
        let state = self.state.read().expect(UNPOISONED);
        let genuine = |item: &Item| self.verdicts.genuine(item);
        let (chain, system, signing) = (&*self.chain, &*self.system, &*self.signing);
        look(&View { chain, state: &state, system, signing, genuine: &genuine, judged })
    }

    /// What follows from these blocks on the present parent.
    fn next(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> &(Vec<Option<Hash>>, Value, Next) {
        let headers: Vec<_> = blocks.iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect();
        if let Some(place) = self.following.iter().position(|following| following.0 == headers) {
            return &self.following[place];
        }
        let next = Next::new(&self.chain, &self.state.read().expect(UNPOISONED), &self.system, blocks);
        let value = next.value(&self.system, blocks);
        // Each try may see another list; more than a few lists there are not.
        if self.following.len() >= 4 {
            self.following.remove(0);
        }
        self.following.push((headers, value, next));
        self.following.last().expect("pushed above")
    }
}

impl<S: Signing> Execution for NodeExecution<S> {
    fn system(&self) -> &System {
        &self.system
    }

    fn quilt_mode(&self) -> bool {
        self.chain.parameters.consensus.maturity(self.system.height + 1) > 0
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    fn waiting(&mut self, shard: usize) -> Vec<Item> {
        assert_eq!(Some(shard), self.shard, "a minter closes the set of its own shard");
        while self.judge_some() {}
        self.judge_heavy();
        let (seed, max) = (self.system.seed, self.set_max);
        let (mut items, sound) =
            self.pool.sound(self.system.height + 1, |rows, account| leave_out(&seed, max, rows, account));
        let transactions = items.len();
        let records = self.pool.records().filter(|item| self.records.get(&item.id()) == Some(&true));
        items.extend(records.cloned());
        // Each look at an item waits for memory: where no record stands between them their order is known.
        let mut once = sound.is_sorted_by(|one, next| one.id < next.id);
        if items.len() > transactions {
            items.sort_by_key(|item| item.id());
            once = items.is_sorted_by(|one, next| one.id() < next.id());
        }
        assert!(once, "the set that shard {shard} closes has an item twice");
        self.closed = sound;
        items
    }

    fn sound(&mut self, _: usize, item: &Item) -> bool {
        if !item.is_transaction() {
            return self.judge_record(item);
        }
        let judge = |view: &View<'_, MappedMemory>| {
            let account = view.state.find(&item.cell_and_payload()?.0.sender)?;
            Some(Judged { id: item.id(), account, cost: view.judge(self.shard?, item, account)? })
        };
        match self.view(&[], judge).filter(|_| self.verdicts.genuine(item)) {
            Some(judged) => {
                self.foreign.insert(item.id(), judged);
                true
            }
            None => false,
        }
    }

    fn admit(&mut self, item: &Item) {
        if item.is_transaction() {
            // Whoever sent it hears nothing: transactions of users come by another way.
            let teller = Teller { name: self.candidate.unwrap_or(u32::MAX), share: None };
            if self.verdicts.genuine(item) {
                let account = item.cell().and_then(|cell| self.state().find(&cell.sender));
                let _ = account.map(|account| self.admit_of(item.clone(), account, &teller));
            }
        } else {
            self.pool.admit_record(item, &self.system);
        }
    }

    fn proofs(&self) -> Vec<Item> {
        self.pool.proofs().cloned().collect()
    }

    fn build(&mut self, shard: usize, slot: u64, items: &Items) -> Arc<Built> {
        let same = |of: &Items| {
            Arc::ptr_eq(of, items) || of.iter().map(|item| item.id()).eq(items.iter().map(|item| item.id()))
        };
        if let Some((of_shard, of_slot, of, built)) = &self.built
            && (*of_shard, *of_slot) == (shard, slot)
            && same(of)
        {
            return built.clone();
        }
        let work = self.building.begin();
        let built = if self.foreign.is_empty() {
            self.view(&self.closed, |view| view.build(shard, slot, items))
        } else {
            let foreign = self
                .foreign
                .values()
                .filter(|judged| self.closed.binary_search_by_key(&judged.id, |judged| judged.id).is_err());
            let mut judged: Vec<Judged> = self.closed.iter().chain(foreign).copied().collect();
            judged.sort_by_key(|judged| judged.id);
            self.view(&judged, |view| view.build(shard, slot, items))
        };
        self.built_in = Some((items.len(), Some(work.took(items.len()))));
        let built = Arc::new(built);
        self.built = Some((shard, slot, items.clone(), built.clone()));
        built
    }

    fn check(&mut self, block: &CertifiedBlock) -> bool {
        // Of our own building: its certificate says so.
        if let Some((.., built)) = &self.built
            && built.block == block.block
            && built.patch == block.patch
            && built.items == block.items
        {
            return true;
        }
        self.view(&[], |view| {
            let build = || Arc::new(view.build(block.block.shard as usize, block.block.slot, &block.items));
            view.block_holds(block, self.quilt_mode(), build)
        })
    }

    fn bodies(&mut self, block: &Hash, items: &[Item]) -> Option<Bodies> {
        let (height, immature) = self.system.immature_block(block)?;
        Some(self.view(&[], |view| view.bodies(height, immature, items)))
    }

    fn value(&mut self, blocks: &[Option<Arc<CertifiedBlock>>]) -> Value {
        self.next(blocks).1.clone()
    }

    fn apply(&mut self, value: &Value, blocks: &[Option<Arc<CertifiedBlock>>]) {
        self.next(blocks);
        let headers: Vec<_> = blocks.iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect();
        let place = self.following.iter().position(|following| following.0 == headers).expect("computed above");
        let (_, computed, next) = self.following.swap_remove(place);
        assert_eq!(computed, *value, "what a quorum has made final follows from its blocks");
        let mut quilt = Vec::new();
        next.quilt.encode(&mut quilt);
        let root = {
            let mut state = self.state.write().expect(UNPOISONED);
            let parent_root = state.header().root;
            assert_eq!(next.quilt.parent_root, parent_root, "a quilt is applied to the accounts that it was made for");
            state.apply(&next.quilt).expect("what follows from checked blocks applies");
            state.update_root()
        };
        let bans = next.bans.clone();
        // Where others have sets as well, a block may also be missing since one of theirs is. Who is alone in a shard would
        // close the same set again at the next height, and for ever.
        let alone = self.shard.is_some_and(|shard| self.system.committee.shards[shard].len() == 1);
        if alone && self.built.is_none() && !self.closed.is_empty() {
            self.built_in = Some((self.closed.len(), None));
        }
        self.system = Arc::new(next.finalized(value.hash()));
        let header = *self.state().header();
        let heights = (header.height, self.system.height);
        assert_eq!(heights, (value.height, value.height), "accounts and system stand after the block that was applied");
        // Invariant 1 of the system's tables.
        assert_eq!(self.system.pools.sum(), header.pool, "the pools sum to what the accounts say is in no balance");
        self.pool.settle(&self.system);
        self.begin_height();
        self.applied.push(Applied { height: value.height, quilt, root, system: self.system.clone(), bans });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_made_smaller_leaves_out_others_at_each_height() {
        let judged = |account: u32| {
            // The lower the account, the lower the id: somebody has looked for low ones.
            let mut id = [0; 32];
            id[..4].copy_from_slice(&account.to_be_bytes());
            (id, account)
        };
        let kept = |seed: u8, order: &mut dyn Iterator<Item = u32>| {
            let mut sound: Vec<([u8; 32], u32)> = order.map(judged).collect();
            sound.sort_unstable();
            leave_out(&[seed; 32], 800, &mut sound, |(_, account)| account);
            assert!(sound.is_sorted());
            sound.into_iter().map(|(_, account)| account).collect::<Vec<_>>()
        };
        assert_eq!(kept(1, &mut (0..1_000)), kept(1, &mut (0..1_000).rev()), "all minters the same");
        let mut left_out = vec![0; 1_000];
        for seed in 0..16 {
            let kept = kept(seed, &mut (0..1_000));
            assert_eq!(kept.len(), 768);
            (0..1_000).filter(|account| kept.binary_search(account).is_err()).for_each(|at| left_out[at as usize] += 1);
        }
        assert!(left_out.iter().all(|&times| times <= 12), "nobody each time: {left_out:?}");
        assert_eq!(kept(1, &mut (0..800)).len(), 800, "what can be built stays whole");
    }
}
