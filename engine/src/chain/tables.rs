//! The system's tables. Small, held whole by every node, bound by one root.
//!
//! Invariants, asserted after each block:
//!  1. The pools sum to what the state's header says is in no balance.
//!  2. A name has one account, an account at most one name; neither ever changes.
//!  3. Who is barred has nothing at stake.
//!  4. What a seat was given for is at stake, or on its way out of it, as long as evidence about that seat is taken.

use super::block::{Final, ShardBlock};
use super::names::Names;
use super::patch::Patch;
use super::record::ALERTS;
use crate::base::hash::{Hash, keyed};
use crate::base::ids::{AccountIndex, Endpoint, VoteKey};
use crate::base::limits::{DELEGATES_MAX, SEATS_MAX};
use crate::base::mutation::{Mutation, planted};
use crate::base::parameters::{Chain, ConsensusParameters, GenesisMinter};
use crate::base::trie::{Trie, TrieValue};
use crate::committee::draw::{Lots, draw, draw_down_to};
use crate::committee::members::Committee;
use crate::committee::statement::{Conflict, SeatSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Fewer answers than these do not make a committee alone.
pub const MINTERS_MIN: usize = 4;
/// So many last blocks are remembered.
pub const ANCESTORS: usize = 64;
/// Stake and Unstake may name one of so many; a few more are remembered, for who judges them later.
const ANCESTORS_NAMED: usize = ANCESTORS - 4;
/// Keepers of one shard-block's transactions: any three of them that are honest and not served can raise the alarm.
pub const CUSTODIANS: usize = 7;
/// Keepers at least, where so many have a stake: of five two may be silent or bad, and the others raise the alarm.
pub const CUSTODIANS_MIN: usize = ALERTS + 2;
/// Of all that is at stake the part, one of so many, that must be left for another custodian to be drawn: after few large
/// stakes only dust is.
const CUSTODY_LEFT: u64 = 8;
/// Heights that unstaked funds wait at least: so long a draw that the stake still counted for may seat its owner.
pub const UNSTAKE_HEIGHTS: u64 = 2;
/// After so many heights with too few answers in a row everyone who is drawn is seated.
pub const THIN_HEIGHTS: u32 = 3;
/// One, where shares are counted in millionths.
pub const MILLION: u64 = 1_000_000;

/// Who has a stake, or had one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staker {
    /// Units at stake now; 0 when all was taken.
    pub stake: u64,
    /// Voting key: the account's for good.
    pub key: Box<VoteKey>,
    /// The last height that it was seated for.
    pub minted: u64,
}

impl TrieValue for Staker {
    /// Draws are by stake.
    fn weight(&self) -> u64 {
        self.stake
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stake.to_le_bytes());
        out.extend_from_slice(&self.minted.to_le_bytes());
        out.extend_from_slice(&*self.key);
    }
}

/// Who may neither stake nor mint any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barred {
    /// The height at which its offence was punished.
    pub since: u64,
}

impl TrieValue for Barred {
    fn weight(&self) -> u64 {
        0
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.since.to_le_bytes());
    }
}

/// Stakers by account; the weight of all is what is at stake.
pub type Stakers = Trie<AccountIndex, Staker>;

/// What was taken from a stake and is not free yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstaking {
    /// Index of the account that gets the units back.
    pub account: AccountIndex,
    /// Units that left the stake.
    pub amount: u64,
    /// Height at which it was taken.
    pub height: u64,
}

/// A shard-block whose effects are not mature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmatureBlock {
    /// Shard that made the block.
    pub shard: u16,
    /// Hash of the header below, which bans go by.
    pub block: Hash,
    /// Header that `block` is the hash of.
    pub header: ShardBlock,
    /// What it changes.
    pub patch: Arc<Patch>,
    /// Who keeps its transactions.
    pub custodians: Vec<AccountIndex>,
    /// Whether it was banned: nothing of it will mature.
    pub banned: bool,
}

/// Units for an account, from minting a shard-block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    /// Height of the shard-block.
    pub height: u64,
    /// Shard that made that block.
    pub shard: u16,
    /// Index of the account whose minter signed the block.
    pub account: AccountIndex,
    /// Units of emission and fees together, never 0.
    pub amount: u64,
}

/// What one height brought and is not mature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Immature {
    /// Height whose effects wait.
    pub height: u64,
    /// Slot of the block before: time, for every rule about its transactions.
    pub parent_slot: u64,
    /// Shard-blocks of that height, by shard; missing ones are left out.
    pub blocks: Vec<ImmatureBlock>,
    /// What was earned, for the height before.
    pub rewards: Vec<Reward>,
}

/// A shard-block of the last height, for who is to be rewarded for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// Hash that an Attest must name to be rewarded.
    pub block: Hash,
    /// Slot of its shard round.
    pub slot: u64,
    /// Transactions in it.
    pub transactions: u32,
    /// Fees that they paid.
    pub fees: u64,
}

/// Units in no balance, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// Fees that nobody has earned.
    pub fees: u64,
    /// Units at stake, of all stakers together.
    pub stakes: u64,
    /// Taken from stakes, not free yet.
    pub unstaking: u64,
    /// Locked with names.
    pub reserves: u64,
    /// Payments, stakes and rewards that are not mature.
    pub immature: u64,
    /// Taken from offenders.
    pub slashed: u64,
    /// Issued since genesis: not a pool, but the other side of the sum.
    pub issued: u64,
}

impl Pools {
    /// What the state's header must say.
    ///
    /// # Panics
    /// When the sum leaves 64 bits: all of it is part of the supply.
    pub fn sum(&self) -> u64 {
        let Pools { fees, stakes, unstaking, reserves, immature, slashed, issued: _ } = *self;
        [fees, stakes, unstaking, reserves, immature, slashed]
            .iter()
            .try_fold(0u64, |sum, &part| sum.checked_add(part))
            .expect("part of the supply")
    }
}

/// The system after one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Height of the newest final block.
    pub height: u64,
    /// Slot of that block; a later block has a later one.
    pub slot: u64,
    /// Its hash. Not part of the root, which is part of it.
    pub hash: Hash,
    /// The seed after it.
    pub seed: Hash,
    /// Stakers by account.
    pub stakers: Stakers,
    /// Registered names, those of genesis minters included.
    pub names: Names,
    /// On its way out of stakes, oldest first.
    pub unstaking: Vec<Unstaking>,
    /// Not mature, oldest first.
    pub immature: VecDeque<Immature>,
    /// Units in no balance.
    pub pools: Pools,
    /// Committee of the next height.
    pub committee: Arc<Committee>,
    /// Committees of this height and those before, newest first: of all heights that evidence may speak of.
    pub committees: VecDeque<Arc<Committee>>,
    /// Where those who have answered of late are reached.
    pub endpoints: Arc<BTreeMap<AccountIndex, Endpoint>>,
    /// Drawn for the height after the next.
    pub drawn: Vec<AccountIndex>,
    /// Who keeps the transactions of the next height's shard-blocks, shard by shard; nobody in blockchain mode.
    pub custodians: Vec<Vec<AccountIndex>>,
    /// Share of the drawn who answer, smoothed, in millionths.
    pub answering: u64,
    /// Heights in a row with too few answers.
    pub thin: u32,
    /// Transactions of a block, smoothed.
    pub load: u64,
    /// Who is barred, since which height.
    pub barred: Trie<AccountIndex, Barred>,
    /// What was punished: each offence, (who, height), once.
    pub offences: BTreeSet<(AccountIndex, u64)>,
    /// Hashes of the last blocks before this one, newest first.
    pub ancestors: VecDeque<Hash>,
    /// The shard-blocks of this height.
    pub minted: Vec<Option<Minted>>,
}

impl System {
    /// The system of a chain that begins.
    ///
    /// # Panics
    /// When there is no minter, or one account mints twice or two share a name: genesis files are checked where they
    /// are read.
    pub fn genesis(chain: &Chain, minters: &[GenesisMinter]) -> System {
        assert!(!minters.is_empty(), "someone must begin");
        let mut names = Names::default();
        let mut stakers = Stakers::default();
        for minter in minters {
            assert!(
                names.register(&minter.name, minter.account),
                "a minter of genesis has an account and a name of its own"
            );
            stakers.insert(minter.account, Staker { stake: minter.stake, key: minter.key.clone(), minted: 0 });
        }
        let stakes = minters.iter().map(|minter| minter.stake).sum();
        let pools = Pools { stakes, reserves: 0, ..Pools::default() };
        let seed = chain.genesis_hash;
        let parameters = &chain.parameters.consensus;
        let mut system = System {
            height: 0,
            slot: 0,
            hash: seed,
            seed,
            stakers,
            names,
            unstaking: Vec::new(),
            immature: VecDeque::new(),
            pools,
            committee: Arc::new(Committee { height: 0, members: Vec::new(), shards: Vec::new() }),
            committees: VecDeque::new(),
            endpoints: Arc::new(minters.iter().map(|minter| (minter.account, minter.endpoint)).collect()),
            drawn: Vec::new(),
            custodians: Vec::new(),
            answering: MILLION,
            thin: 0,
            load: u64::from(parameters.shards_max) * u64::from(parameters.shard_transactions),
            barred: Trie::default(),
            offences: BTreeSet::new(),
            ancestors: VecDeque::new(),
            minted: Vec::new(),
        };
        let count = candidates_wanted(parameters, system.answering);
        let first = system.draw(&seed, 1, count);
        system.committee = Arc::new(system.seat(parameters, &seed, 1, &first));
        system.drawn = system.draw(&seed, 2, count);
        system.custodians = system.draw_custodians(parameters, &seed, 1, system.committee.shards.len());
        system
    }

    /// Draws so many candidates for a height by this seed, from what is at stake here; in the order drawn.
    pub fn draw(&self, seed: &Hash, height: u64, count: usize) -> Vec<AccountIndex> {
        let drawn = draw(&mut Lots::new(seed, b'd', height), &self.stakers, count);
        assert!(drawn.len() <= count, "no more are drawn than are asked for");
        drawn
    }

    /// The committee of these minters, by what they have at stake here: in as many shards as the load asks for.
    ///
    /// # Panics
    /// When they are more than a committee can have.
    pub fn seat(
        &self,
        parameters: &ConsensusParameters,
        seed: &Hash,
        height: u64,
        minters: &[AccountIndex],
    ) -> Committee {
        assert!(minters.len() <= SEATS_MAX, "no more have a seat than a bitmap has places for");
        let with_stakes: Vec<_> = minters.iter().map(|&account| (account, self.stake(account))).collect();
        let wanted = self
            .load
            .div_ceil(u64::from(parameters.shard_transactions.max(1)))
            .clamp(1, u64::from(parameters.shards_max.max(1)));
        let committee = Committee::new(height, seed, &with_stakes, wanted as usize);
        assert_eq!(committee.len(), with_stakes.len(), "whoever is seated has a seat");
        assert!(committee.delegates() <= DELEGATES_MAX, "no more seats vote in the master round than it is made for");
        committee
    }

    /// Draws who keeps the transactions of each shard's block of a height: by stake, for each shard, until what is left
    /// is a small part of all. Where that makes so few that each is needed for an alarm, or nearly, the draw goes on,
    /// with the same ones first. No stake is too small to be
    /// weighed: of a floor by heads whoever is above it has what all below it are worth.
    pub fn draw_custodians(
        &self,
        parameters: &ConsensusParameters,
        seed: &Hash,
        height: u64,
        shards: usize,
    ) -> Vec<Vec<AccountIndex>> {
        if parameters.maturity(height) == 0 {
            return Vec::new();
        }
        let heads: Option<Trie<AccountIndex, u64>> = planted(Mutation::CustodyByHeads)
            .then(|| self.stakers.iter().filter(|entry| entry.1.stake > 0).map(|(&account, _)| (account, 1)).collect());
        let of_shard = |shard: usize| {
            let mut lots = Lots::new(&keyed(seed, &(shard as u64).to_le_bytes()), b'c', height);
            if let Some(heads) = &heads {
                return draw(&mut lots, heads, CUSTODIANS);
            }
            let least = self.stakers.weight() / CUSTODY_LEFT;
            let mut again = lots.clone();
            let mut custodians = draw_down_to(&mut lots, &self.stakers, CUSTODIANS, least);
            // Beside three or four large ones so many of what is left as can raise no alarm by themselves.
            let enough = if custodians.len() < ALERTS { CUSTODIANS } else { CUSTODIANS_MIN };
            if custodians.len() < enough {
                custodians = draw(&mut again, &self.stakers, enough);
            }
            assert!(custodians.len() <= CUSTODIANS, "{} keep one block", custodians.len());
            custodians
        };
        (0..shards).map(of_shard).collect()
    }

    /// Whether the block after this one may hold evidence about that height.
    pub fn takes_evidence(&self, parameters: &ConsensusParameters, height: u64) -> bool {
        let block = self.height + 1;
        height <= block && block <= height.saturating_add(parameters.evidence_heights)
    }

    /// Whether somebody had a seat at a height of which a committee is kept: who had none has made no statement that a
    /// block counts, and what it signs at leisure convicts nobody else.
    pub fn was_seated(&self, height: u64, candidate: AccountIndex) -> bool {
        self.committee_of(height).is_some_and(|committee| committee.seat_of(candidate).is_some())
    }

    /// Whom two certificates convict who is not barred already.
    pub fn convicts(&self, conflict: &Conflict) -> Vec<AccountIndex> {
        let Some(committee) = self.committee_of(conflict.height()) else { return Vec::new() };
        candidates(committee, &conflict.seats()).into_iter().filter(|who| !self.barred.contains_key(who)).collect()
    }

    /// Whether Stake and Unstake may name this block.
    pub fn names_ancestor(&self, hash: &Hash) -> bool {
        *hash == self.hash || self.ancestors.iter().take(ANCESTORS_NAMED).any(|ancestor| ancestor == hash)
    }

    /// The hash of a block that is final, of this height or not long before.
    pub fn hash_of(&self, height: u64) -> Option<&Hash> {
        match self.height.checked_sub(height)? {
            0 => Some(&self.hash),
            before => self.ancestors.get(before as usize - 1),
        }
    }

    /// What an account has at stake.
    pub fn stake(&self, account: AccountIndex) -> u64 {
        self.stakers.get(&account).map_or(0, |staker| staker.stake)
    }

    /// What convictions take from these accounts: their stakes, and what is on its way out of them.
    pub fn forfeits(&self, accounts: impl Iterator<Item = AccountIndex>) -> BTreeMap<AccountIndex, u64> {
        let mut forfeits: BTreeMap<_, _> = accounts.map(|account| (account, self.stake(account))).collect();
        for Unstaking { account, amount, .. } in &self.unstaking {
            if let Some(forfeit) = forfeits.get_mut(account) {
                *forfeit = forfeit.checked_add(*amount).expect("part of the supply");
            }
        }
        forfeits
    }

    /// The voting key of an account; zeros if it has none.
    pub fn vote_key(&self, account: AccountIndex) -> &VoteKey {
        const NONE: VoteKey = [0; 96];
        self.stakers.get(&account).map_or(&NONE, |staker| &*staker.key)
    }

    /// The committee of a height that is not long past.
    pub fn committee_of(&self, height: u64) -> Option<&Arc<Committee>> {
        std::iter::once(&self.committee).chain(&self.committees).find(|committee| committee.height == height)
    }

    /// The committee that a final certificate must be of which follows a block of this chain and is not of the one that
    /// did; none of a height long past. Whoever has signed both has forked.
    pub fn committee_of_rival(&self, decided: &Final) -> Option<&Arc<Committee>> {
        let height = decided.value.height;
        let parent = self.hash_of(height.checked_sub(1)?);
        let rival = parent == Some(&decided.value.parent) && self.hash_of(height) != Some(&decided.hash);
        self.committee_of(height).filter(|_| rival)
    }

    /// The hash of the next committee that the block commits to.
    pub fn committee_hash(&self) -> Hash {
        self.committee.hash(|account| self.vote_key(account))
    }

    /// Who keeps the transactions of this shard's block of the next height.
    pub fn custodians_of(&self, shard: u16) -> &[AccountIndex] {
        self.custodians.get(usize::from(shard)).map_or(&[], |custodians| &custodians[..])
    }

    /// A shard-block whose effects are not mature and not banned, with its height.
    pub fn immature_block(&self, block: &Hash) -> Option<(u64, &ImmatureBlock)> {
        let blocks =
            self.immature.iter().flat_map(|immature| immature.blocks.iter().map(|block| (immature.height, block)));
        blocks.filter(|(_, of)| !of.banned).find(|(_, of)| of.block == *block)
    }

    /// Who is paid what, and not yet: payments that mature at a later height, by account.
    pub fn immature_of(&self, account: AccountIndex) -> u64 {
        let of_block = |block: &ImmatureBlock| -> u64 {
            let credits = &block.patch.delta.credits;
            credits.accounts.binary_search(&account).map_or(0, |place| credits.amounts[place])
        };
        let blocks = self.immature.iter().flat_map(|immature| &immature.blocks).filter(|block| !block.banned);
        let rewards =
            self.immature.iter().flat_map(|immature| &immature.rewards).filter(|reward| reward.account == account);
        blocks.map(of_block).sum::<u64>() + rewards.map(|reward| reward.amount).sum::<u64>()
    }

    /// The newest height of which the account has units that are not mature.
    pub fn immature_since(&self, account: AccountIndex) -> Option<u64> {
        let has = |immature: &&Immature| {
            let pays = |block: &ImmatureBlock| {
                !block.banned && block.patch.delta.credits.accounts.binary_search(&account).is_ok()
            };
            immature.blocks.iter().any(pays) || immature.rewards.iter().any(|reward| reward.account == account)
        };
        self.immature.iter().filter(has).map(|immature| immature.height).max()
    }
}

/// How many candidates are drawn: as many more than seats as have not answered of late.
pub fn candidates_wanted(parameters: &ConsensusParameters, answering: u64) -> usize {
    (u64::from(parameters.seats) * MILLION).div_ceil(answering.max(MILLION / 4)) as usize
}

/// The candidates of these seats.
pub(crate) fn candidates(committee: &Committee, seats: &SeatSet) -> Vec<AccountIndex> {
    seats.iter().filter_map(|seat| committee.members.get(usize::from(seat))).map(|member| member.candidate).collect()
}
