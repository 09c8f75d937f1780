//! From a parent and the shard-blocks of one height to the next system and the quilt for the accounts.
//!
//! ```text
//!   at once      debits and sequence steps; stakes taken out; bans, slashes, bars; answers, seed, committee, draws
//!   W later      credits, new accounts, names, stakes, rewards      (W = 0 in blockchain mode, 2 in quilt mode)
//! ```
//!
//! Nothing gained in the last W heights can be spent, staked or drawn, so a ban has nothing to chase: it drops what is
//! not mature and gives the debits back. Who mints and keeps is chosen by the parent's stakes: [`super::selection`].

use super::selection::{Answers, Selection};
use crate::accounts::columns::StateMemory;
use crate::accounts::delta::{Delta, DeltaBuilder};
use crate::accounts::quilt::Quilt;
use crate::accounts::state::State;
use crate::base::hash::Hash;
use crate::base::ids::AccountIndex;
use crate::base::mutation::{Mutation, planted};
use crate::base::parameters::{Chain, MATURITY_HEIGHTS};
use crate::chain::block::{CertifiedBlock, Value};
use crate::chain::patch::Patch;
use crate::chain::record::{Attest, Record};
use crate::chain::tables::{
    ANCESTORS, Barred, Immature, ImmatureBlock, MILLION, Minted, Reward, Staker, System, UNSTAKE_HEIGHTS, Unstaking,
    candidates,
};
use crate::committee::members::Committee;
use crate::committee::statement::SeatSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Heights whose minters are still called for what they made.
const RECENT_HEIGHTS: u64 = MATURITY_HEIGHTS + 2;

/// What follows from the blocks of one height.
#[derive(Clone, Debug)]
pub struct Next {
    /// The system after it; its own hash is still the parent's.
    pub system: System,
    /// What happens to the accounts.
    pub quilt: Quilt,
    /// Bans that were carried out: height and shard.
    pub bans: Vec<(u64, u16)>,
}

/// The shard-blocks of one height, one place a shard, each checked before.
pub type Blocks = [Option<Arc<CertifiedBlock>>];

impl Next {
    /// What follows from these blocks on this parent.
    ///
    /// # Panics
    /// When a block was not checked before, or the pools do not sum: the node halts rather than go on wrong.
    pub fn new<M: StateMemory>(chain: &Chain, state: &State<M>, parent: &System, blocks: &Blocks) -> Next {
        let mut step = Step::new(chain, parent, blocks);
        let patches: Vec<_> = blocks.iter().flatten().map(|block| decode(block)).collect();
        let records: BTreeSet<Vec<u8>> =
            patches.iter().flat_map(|patch| &patch.records).map(Record::to_bytes).collect();
        let records: Vec<Record> = records.iter().map(|bytes| Record::decode(bytes).expect("encoded above")).collect();
        step.take_debits(&patches);
        step.enter(blocks, &patches);
        records.iter().for_each(|record| step.punish(record));
        records.iter().for_each(|record| step.unstake(record));
        step.reward(&records);
        step.mature(state);
        step.free_unstaked();
        step.seat_minters(&records, blocks);
        step.finish(state)
    }

    /// The master-block over these blocks.
    pub fn value(&self, parent: &System, blocks: &Blocks) -> Value {
        assert_eq!(self.system.height, parent.height + 1, "a value is of the height after its parent's");
        assert_eq!(self.system.minted.len(), blocks.len(), "a value lists the shard-blocks that it follows from");
        let mut quilt = Vec::new();
        self.quilt.encode(&mut quilt);
        Value {
            height: parent.height + 1,
            parent: parent.hash,
            slot: self.quilt.slot,
            headers: blocks.iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect(),
            quilt: Quilt::hash(&quilt),
            parent_root: self.quilt.parent_root,
            system: self.system.root(),
            seed: self.system.seed,
            committee_next: self.system.committee_hash(),
        }
    }

    /// The system after the block of this hash has become final.
    pub fn finalized(self, hash: Hash) -> System {
        System { hash, ..self.system }
    }
}

fn decode(block: &CertifiedBlock) -> Arc<Patch> {
    Arc::new(Patch::decode(&block.patch, u32::MAX as usize).expect("checked when the block was held"))
}

struct Step<'a> {
    chain: &'a Chain,
    parent: &'a System,
    system: System,
    delta: DeltaBuilder,
    /// Units debited from accounts now.
    debits: u64,
    issued: u64,
    slot: u64,
    bans: Vec<(u64, u16)>,
}

impl<'a> Step<'a> {
    fn new(chain: &'a Chain, parent: &'a System, blocks: &Blocks) -> Step<'a> {
        let mut system = parent.clone();
        system.height += 1;
        let slot = blocks.iter().flatten().map(|block| block.block.slot).max().unwrap_or(parent.slot + 1);
        assert!(slot > parent.slot, "a height is of a later slot than the one before");
        system.slot = slot;
        system.ancestors.push_front(parent.hash);
        system.ancestors.truncate(ANCESTORS - 1);
        let evidence_heights = chain.parameters.consensus.evidence_heights;
        system.committees.push_front(parent.committee.clone());
        system.committees.truncate(evidence_heights.max(RECENT_HEIGHTS) as usize);
        for member in &parent.committee.members {
            let height = system.height;
            system.stakers.update(&member.candidate, |staker| staker.minted = height);
        }
        let oldest = system.height.saturating_sub(evidence_heights);
        system.offences.retain(|offence| offence.1 >= oldest);
        Step { chain, parent, system, delta: DeltaBuilder::default(), debits: 0, issued: 0, slot, bans: Vec::new() }
    }

    fn maturity(&self) -> u64 {
        self.chain.parameters.consensus.maturity(self.system.height)
    }

    fn take_debits(&mut self, patches: &[Arc<Patch>]) {
        for (account, amount) in patches.iter().flat_map(|patch| patch.delta.debits.iter()) {
            self.delta.debits.push((account, amount));
            self.debits = self.debits.checked_add(amount).expect("debits are part of the supply");
        }
    }

    /// The effects of these blocks wait from now on, even where they wait for nothing.
    fn enter(&mut self, blocks: &Blocks, patches: &[Arc<Patch>]) {
        let fees: u64 = patches.iter().map(|patch| patch.delta.fees).sum();
        let before = self.system.pools.sum();
        self.system.pools.fees += fees;
        self.system.pools.immature += self.debits - fees;
        assert_eq!(
            self.system.pools.sum(),
            before + self.debits,
            "what is debited enters the pools, all of it and once"
        );
        let waits = self.maturity() > 0;
        let entries = blocks.iter().flatten().zip(patches).map(|(block, patch)| ImmatureBlock {
            shard: block.block.shard as u16,
            block: block.hash,
            header: block.block,
            patch: patch.clone(),
            custodians: if waits { self.parent.custodians_of(block.block.shard as u16).to_vec() } else { Vec::new() },
            banned: false,
        });
        let blocks_in = entries.collect();
        self.system.immature.push_back(Immature {
            height: self.system.height,
            parent_slot: self.parent.slot,
            blocks: blocks_in,
            rewards: Vec::new(),
        });
        let minted = |block: &Arc<CertifiedBlock>, patch: &Patch| Minted {
            block: block.hash,
            slot: block.block.slot,
            transactions: payers(patch),
            fees: patch.delta.fees,
        };
        let mut patches = patches.iter();
        self.system.minted = blocks
            .iter()
            .map(|block| block.as_ref().map(|block| minted(block, patches.next().expect("one for each block"))))
            .collect();
    }

    /// Carries out what a proof asks for: each offence is punished once.
    fn punish(&mut self, record: &Record) {
        let (attest, signers) = match record {
            Record::Fraud(evidence) => return self.convict(&[evidence.candidate], evidence.height),
            Record::Conflict(conflict) => return self.convict(&self.parent.convicts(conflict), conflict.height()),
            Record::Invalid(invalid) => (&invalid.attest, &invalid.attest.certificate.signers),
            Record::Alert(alert) => (&alert.attest, &alert.attest.certificate.signers),
            _ => return,
        };
        let Some(committee) = self.parent.committee_of(attest.height).cloned() else { return };
        if self.ban(attest) {
            candidates(&committee, signers).into_iter().for_each(|candidate| self.slash(candidate, attest.height));
        }
    }

    /// Punishes whom evidence proves to have contradicted themselves at a height, if it still counts.
    fn convict(&mut self, offenders: &[AccountIndex], height: u64) {
        if self.parent.takes_evidence(&self.chain.parameters.consensus, height) {
            offenders.iter().for_each(|&offender| self.slash(offender, height));
        }
    }

    /// Drops what is not mature of a shard-block, and gives back what it took.
    fn ban(&mut self, attest: &Attest) -> bool {
        let height = self.system.height;
        let immature = self
            .system
            .immature
            .iter_mut()
            .filter(|immature| immature.height == attest.height && immature.height < height);
        let Some(block) = immature
            .flat_map(|immature| &mut immature.blocks)
            .find(|block| block.block == attest.block && !block.banned)
        else {
            return false;
        };
        block.banned = true;
        let patch = block.patch.clone();
        let fees = patch.delta.fees;
        let before = self.system.pools.sum();
        let mut returned = 0u64;
        for (account, amount) in patch.delta.debits.iter().filter(|entry| entry.1 > 0) {
            returned += amount;
            if planted(Mutation::BanKeepsDebits) {
                self.system.pools.slashed += amount;
            } else {
                self.delta.credits.push((account, amount));
            }
        }
        // What it took out of stakes, without a signature, goes back as well: it waits there still.
        for record in &patch.records {
            let Record::Unstake { account, amount } = *record else { continue };
            let taken = |entry: &Unstaking| *entry == Unstaking { account, amount, height: attest.height };
            if let Some(place) = self.system.unstaking.iter().position(taken)
                && self.system.stakers.update(&account, |staker| staker.stake += amount)
            {
                self.system.unstaking.remove(place);
                self.system.pools.unstaking -= amount;
                self.system.pools.stakes += amount;
            }
        }
        // Its fees may have been promised to its signers: what was promised goes back first.
        let rewards = self.system.immature.iter_mut().flat_map(|immature| {
            let of_block = |reward: &Reward| (reward.height, reward.shard) == (attest.height, attest.shard);
            immature.rewards.extract_if(.., move |reward| of_block(reward))
        });
        let promised: u64 = rewards.map(|reward| reward.amount).sum();
        self.system.pools.immature -= promised;
        self.system.pools.fees += promised;
        self.system.pools.fees -= fees;
        self.system.pools.immature -= returned - fees;
        let given_back = if planted(Mutation::BanKeepsDebits) { 0 } else { returned };
        assert_eq!(self.system.pools.sum() + given_back, before, "a ban takes out of the pools what it gives back");
        self.bans.push((attest.height, attest.shard));
        true
    }

    /// Takes all that an offender has at stake, and bars it.
    fn slash(&mut self, offender: AccountIndex, height: u64) {
        let system = &mut self.system;
        if !system.offences.insert((offender, height)) {
            return;
        }
        let stake = system.stake(offender);
        if !system.stakers.update(&offender, |staker| staker.stake = 0) {
            return;
        }
        let before = system.pools.sum();
        let pending: u64 =
            system.unstaking.extract_if(.., |entry| entry.account == offender).map(|entry| entry.amount).sum();
        let seat = self.parent.committee_of(height).and_then(|committee| {
            let seat = committee.seat_of(offender)?;
            Some(committee.members[usize::from(seat)].stake)
        });
        let at_stake = stake + pending;
        assert!(
            seat.is_none_or(|seat| at_stake >= seat || system.barred.contains_key(&offender)),
            "what a seat was given for is there as long as evidence about it is taken: invariant 4"
        );
        system.pools.stakes -= stake;
        system.pools.unstaking -= pending;
        system.pools.slashed += stake + pending;
        assert_eq!(system.pools.sum(), before, "a slash moves units between pools and takes none out");
        if !system.barred.contains_key(&offender) {
            system.barred.insert(offender, Barred { since: system.height });
        }
    }

    fn unstake(&mut self, record: &Record) {
        let Record::Unstake { account, amount } = *record else { return };
        // Who was slashed in this very block has nothing left to take.
        let Some(rest) = self.system.stake(account).checked_sub(amount) else { return };
        if !self.system.stakers.update(&account, |staker| staker.stake = rest) {
            return;
        }
        let before = self.system.pools.sum();
        self.system.pools.stakes -= amount;
        self.system.pools.unstaking += amount;
        assert_eq!(self.system.pools.sum(), before, "what leaves a stake waits in a pool");
        self.system.unstaking.push(Unstaking { account, amount, height: self.system.height });
    }

    /// Who approved the blocks of the last height shares what they earn: emission by the square root of each block's
    /// share of the transactions, and its fees.
    fn reward(&mut self, records: &[Record]) {
        let mut signers: BTreeMap<u16, SeatSet> = BTreeMap::new();
        for record in records {
            if let Record::Attest(attest) = record {
                signers.entry(attest.shard).or_default().extend(&attest.certificate.signers);
            }
        }
        let (height, minted) = (self.parent.height, &self.parent.minted);
        let Some(committee) = self.parent.committee_of(height) else { return };
        let before = self.system.pools.sum();
        let total: u64 = minted.iter().flatten().map(|minted| u64::from(minted.transactions)).sum();
        let count = minted.iter().flatten().count() as u64;
        let mut rewards = Vec::new();
        for (shard, seats) in signers {
            let banned = self.bans.contains(&(height, shard));
            let Some(minted) = minted.get(usize::from(shard)).copied().flatten().filter(|_| !banned) else { continue };
            let share = self.chain.parameters.consensus.emission / minted_shards(committee);
            let weight = weight(u64::from(minted.transactions), count, total);
            let emission = (u128::from(share) * u128::from(weight) / u128::from(MILLION)) as u64;
            let accounts = candidates(committee, &seats);
            let (each, each_fee) = (emission / accounts.len() as u64, minted.fees / accounts.len() as u64);
            for account in accounts.into_iter().filter(|account| !self.system.barred.contains_key(account)) {
                self.issued += each;
                self.system.pools.fees -= each_fee;
                self.system.pools.immature += each + each_fee;
                if each + each_fee > 0 {
                    rewards.push(Reward { height, shard, account, amount: each + each_fee });
                }
            }
        }
        self.system.pools.issued += self.issued;
        let emission = self.chain.parameters.consensus.emission;
        assert!(self.issued.div_ceil(2) <= emission, "no block weighs more than two, so nor does what is issued");
        assert_eq!(
            self.system.pools.sum(),
            before + self.issued,
            "rewards are fees that were there, and what is issued"
        );
        self.system.immature.back_mut().expect("entered above").rewards = rewards;
    }

    /// What has waited long enough takes effect.
    fn mature<M: StateMemory>(&mut self, state: &State<M>) {
        let maturity = if planted(Mutation::MaturityOffByOne) { self.maturity().min(1) } else { self.maturity() };
        let mut registered: Vec<(Hash, AccountIndex, Vec<u8>)> = Vec::new();
        while self.system.immature.front().is_some_and(|immature| immature.height + maturity <= self.system.height) {
            let Immature { blocks, rewards, .. } = self.system.immature.pop_front().expect("seen above");
            for reward in rewards {
                self.release(reward.account, reward.amount);
            }
            let standing: Vec<_> = blocks.into_iter().filter(|block| !block.banned).collect();
            for block in &standing {
                self.credit(state, &block.patch.delta);
            }
            for record in standing.iter().flat_map(|block| &block.patch.records) {
                match record {
                    Record::Register { account, id, name } => registered.push((*id, *account, name.clone())),
                    Record::Stake { account, amount, key, .. } => self.stake(*account, *amount, key),
                    _ => {}
                }
            }
        }
        let waiting = self.system.immature.len() as u64;
        assert!(waiting <= self.maturity(), "no more heights wait than a ban can reach");
        // Of two for one name the lower id counts, whichever shard it came by.
        registered.sort_unstable();
        let reserve = self.chain.parameters.consensus.register_reserve;
        for (_, account, name) in registered {
            if self.system.names.register(&name, account) {
                self.system.pools.immature -= reserve;
                self.system.pools.reserves += reserve;
            } else {
                self.release(account, reserve);
            }
        }
        let held = self.system.pools.immature;
        assert!(waiting > 0 || held == 0, "nothing waits any more, and {held} units are held for it");
    }

    /// From what is not mature to an account.
    fn release(&mut self, account: AccountIndex, amount: u64) {
        self.delta.credits.push((account, amount));
        self.system.pools.immature -= amount;
    }

    fn credit<M: StateMemory>(&mut self, state: &State<M>, delta: &Delta) {
        for (account, amount) in delta.credits.iter() {
            self.release(account, amount);
        }
        for (key, &amount) in delta.created_keys.iter().zip(&delta.created_amounts) {
            // The key may have got its account since, from another block.
            let arrives = amount + u64::from(planted(Mutation::NewAccountsGetMore));
            self.delta.credit(state.find(key), key, arrives);
            self.system.pools.immature -= amount;
        }
    }

    fn stake(&mut self, account: AccountIndex, amount: u64, key: &[u8; 96]) {
        let known = self.system.stakers.get(&account);
        if self.system.barred.contains_key(&account) || known.is_some_and(|staker| *staker.key != *key) {
            return self.release(account, amount);
        }
        if !self.system.stakers.update(&account, |staker| staker.stake += amount) {
            self.system.stakers.insert(account, Staker { stake: amount, key: Box::new(*key), minted: 0 });
        }
        self.system.pools.immature -= amount;
        self.system.pools.stakes += amount;
    }

    /// Unstaked funds are free E heights after the last seat that they were at stake for, when no evidence about it is
    /// taken any more; two heights later if there was none. They still count in the draw of the block that takes them
    /// out, for the height two later: a seat after that one rests on what was left, if anything was.
    fn free_unstaked(&mut self) {
        let height = self.system.height;
        let evidence_heights = self.chain.parameters.consensus.evidence_heights;
        let held = if planted(Mutation::EvidenceOutlivesStake) { 0 } else { evidence_heights };
        let stakers = &self.system.stakers;
        let free = |entry: &mut Unstaking| {
            let (stake, minted) = stakers.get(&entry.account).map_or((0, 0), |staker| (staker.stake, staker.minted));
            let last_drawn = entry.height + UNSTAKE_HEIGHTS;
            let last_seat = if stake == 0 { minted } else { minted.min(last_drawn) };
            height >= last_drawn && (minted == 0 || height >= last_seat + held)
        };
        let freed: Vec<Unstaking> = self.system.unstaking.extract_if(.., free).collect();
        for Unstaking { account, amount, .. } in freed {
            self.delta.credits.push((account, amount));
            self.system.pools.unstaking -= amount;
        }
        let on_the_way: u64 = self.system.unstaking.iter().map(|entry| entry.amount).sum();
        assert_eq!(on_the_way, self.system.pools.unstaking, "what is on its way out of stakes is in its pool");
    }

    /// Answers become the committee of the height after this one, by the new seed; and who minters are after that is
    /// drawn.
    fn seat_minters(&mut self, records: &[Record], blocks: &Blocks) {
        let answers: Answers<'_> = records
            .iter()
            .filter_map(|record| match record {
                Record::Answer(answer) => Some((answer.candidate, &**answer)),
                _ => None,
            })
            .collect();
        let transactions: u64 = blocks.iter().flatten().map(|block| u64::from(block.block.transactions)).sum();
        self.system.load = (3 * self.system.load + transactions) / 4;
        let Selection { seed, committee, drawn, custodians, answering, thin } =
            Selection::new(&self.chain.parameters.consensus, self.parent, &self.system, &answers);
        let system = &mut self.system;
        (system.seed, system.answering, system.thin) = (seed, answering, thin);
        (system.drawn, system.custodians) = (drawn, custodians);
        // Endpoints of who minted of late stay: they still serve what they made.
        let recent = system.committees.iter().take(RECENT_HEIGHTS as usize).map(|committee| &**committee);
        let stay: BTreeSet<_> = recent
            .chain([&committee])
            .flat_map(|committee| &committee.members)
            .map(|member| member.candidate)
            .collect();
        let endpoints = Arc::make_mut(&mut system.endpoints);
        endpoints.retain(|account, _| stay.contains(account));
        endpoints.extend(answers.iter().map(|(&account, answer)| (account, answer.endpoint)));
        system.committee = Arc::new(committee);
    }

    /// What the tables say of themselves: the invariants of [`crate::chain::tables`].
    fn assert_tables(&self) {
        let (system, parent) = (&self.system, self.parent);
        assert_eq!(
            system.stakers.weight(),
            system.pools.stakes,
            "what stakers have at stake is in its pool: invariant 1"
        );
        assert_eq!(system.pools.issued, parent.pools.issued + self.issued, "what is issued is counted: invariant 1");
        assert!(system.names.len() >= parent.names.len(), "no name is ever lost: invariant 2");
        // Of those barred before, a stake would have to be another than the parent's.
        let barred = system.barred.changed_since(&parent.barred).into_iter().map(|(account, _)| account);
        let staked = system.stakers.changed_since(&parent.stakers).into_iter().map(|(account, _)| account);
        let at_stake =
            barred.chain(staked).find(|&account| system.barred.contains_key(account) && system.stake(*account) > 0);
        assert_eq!(at_stake, None, "who is barred has nothing at stake: invariant 3");
    }

    fn finish<M: StateMemory>(mut self, state: &State<M>) -> Next {
        self.assert_tables();
        let mut delta = Delta::default();
        self.delta.finish(&mut delta);
        let credits: u128 =
            delta.credits.amounts.iter().chain(&delta.created_amounts).map(|&amount| u128::from(amount)).sum();
        // All debits go into the pool, and all credits come out of it.
        delta.fees = self.debits;
        let released = u64::try_from(credits).expect("credits are part of the supply");
        let header = state.header();
        let pool = u128::from(header.pool) + u128::from(self.debits) + u128::from(self.issued) - u128::from(released);
        assert_eq!(u128::from(self.system.pools.sum()), pool, "the pools sum to what is in no balance: invariant 1");
        let (height, slot, parent_root) = (self.system.height, self.slot, header.root);
        Next {
            quilt: Quilt { height, slot, parent_root, released, issued: self.issued, delta },
            system: self.system,
            bans: self.bans,
        }
    }
}

/// Senders of a block's patch that pay more than they receive in it: what a transfer to oneself, or around a circle,
/// adds to a block is nothing, and so is what it adds to the block's weight.
fn payers(patch: &Patch) -> u32 {
    let credits = &patch.delta.credits;
    let received =
        |account: AccountIndex| credits.accounts.binary_search(&account).map_or(0, |place| credits.amounts[place]);
    patch.delta.debits.iter().filter(|&(account, amount)| amount > received(account)).count() as u32
}

fn minted_shards(committee: &Committee) -> u64 {
    committee.shards.len().max(1) as u64
}

/// The square root of a block's transactions over the average, in millionths, at least a half and at most two; one
/// where nobody has any.
fn weight(transactions: u64, blocks: u64, total: u64) -> u64 {
    if total == 0 {
        return MILLION;
    }
    let square =
        u128::from(transactions) * u128::from(blocks) * u128::from(MILLION) * u128::from(MILLION) / u128::from(total);
    (square.isqrt() as u64).clamp(MILLION / 2, 2 * MILLION)
}
