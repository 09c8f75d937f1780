//! The grinder: an owner of a share of the stake who tries, at each height, what he could put into the block, and takes
//! what gives him most seats. He knows every answer, and so the seed, before he chooses.
//!
//! Each try asks the product's own [`Selection`]; what was chosen is then built, checked and carried out by the rules of
//! blocks, and must be drawn as it was foreseen.

use crate::chain::state::{account_key, cell_item, transfer_item};
use crate::seed::dice::Dice;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::{Endpoint, VoteKey};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::record::{Answer, Record};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::quorum::byzantine_max;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::next::Next;
use dynemix_engine::rules::selection::{Answers, Selection};
use dynemix_engine::transaction::cell::{Cell, TransactionKind};
use dynemix_engine::transaction::item::Item;
use dynemix_engine::vote::stub::StubSigning;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

/// What each candidate has at stake, and in its account: the smaller, the more does each unit shift every lot.
const UNITS: u64 = 1_000 * DYNE;
/// Stake that he moves in a block at most, but for leaving: a hundredth of an account's, enough to have every lot fall
/// anywhere.
const AMOUNT_MAX: u64 = UNITS / 100;
/// Own transfers in a block at most, to move its load.
const TRANSFERS_MAX: u64 = 8;
/// Slots by which a block is delayed at most.
const DELAY_MAX: u64 = 8;

/// What the owner may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moves {
    /// Stake, unstake, leave, pay, and let the block be of a later slot.
    Stake,
    /// Keep so many of his own answers back at most.
    Withhold(usize),
}

/// What to ask.
#[derive(Clone, Debug, Serialize)]
pub struct GrindOptions {
    /// Share of the candidates, who have equal stakes, that is his.
    pub stake: f64,
    /// How many accounts have a stake, his among them.
    pub candidates: u32,
    /// Seats of a block.
    pub seats: u32,
    /// Heights at which he grinds.
    pub heights: u64,
    /// Tries at each height at most.
    pub tries: u64,
    /// What he may do.
    pub moves: Moves,
    /// Decides keys, and so seeds, and what is tried.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct GrindReport {
    /// What was asked.
    pub options: GrindOptions,
    /// His seats, of all that are drawn at a height, on average.
    pub mean: f64,
    /// What his share of the stake is worth.
    pub fair: f64,
    /// Standard deviation of the mean of honest draws over so many heights.
    pub sigma: f64,
    /// How many of those the mean is off.
    pub sigmas: f64,
    /// Most at one height.
    pub best: u32,
    /// Seats that the committee tolerates.
    pub tolerated: usize,
    /// Heights at which he had more.
    pub beyond: u64,
    /// Different draws that he could choose from at a height, on average.
    pub choices: f64,
    /// What the best of so many independent draws is worth, on average: the closed form.
    pub closed_form: f64,
    /// Seats that he gave up for it, at a height on average.
    pub given_up: f64,
}

/// Grinds height by height.
///
/// # Panics
/// When a block is not carried out as it was foreseen.
pub fn grind(options: &GrindOptions, mut progress: impl FnMut(u64)) -> GrindReport {
    let mut field = Field::new(options);
    let odds = Odds::new(options.candidates, field.own, options.seats);
    let mut dice = Dice::new(options.seed, 31);
    let (mut sum, mut best, mut beyond, mut choices, mut closed_form, mut given_up) = (0u64, 0, 0, 0u64, 0.0, 0);
    let tolerated = byzantine_max(options.seats as usize);
    for height in 1..=options.heights {
        let found = match options.moves {
            Moves::Stake => field.by_stake(options.tries, &mut dice),
            Moves::Withhold(most) => field.by_withholding(most, options.tries),
        };
        sum += u64::from(found.seats);
        best = best.max(found.seats);
        beyond += u64::from(found.seats as usize > tolerated);
        choices += found.choices;
        closed_form += odds.best_of(found.choices);
        given_up += found.withheld.len() as u64;
        field.play(&found);
        progress(height);
    }
    let heights = options.heights as f64;
    let (mean, sigma) = (sum as f64 / heights, odds.deviation / heights.sqrt());
    GrindReport {
        options: options.clone(),
        mean,
        fair: odds.mean,
        sigma,
        sigmas: (mean - odds.mean) / sigma,
        best,
        tolerated,
        beyond,
        choices: choices as f64 / heights,
        closed_form: closed_form / heights,
        given_up: given_up as f64 / heights,
    }
}

/// One thing to put into the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    Nothing,
    Unstake(u32, u64),
    Stake(u32, u64),
    Pay(u64),
    Delay(u64),
}

/// What was best.
struct Found {
    seats: u32,
    what: Try,
    withheld: Vec<u32>,
    drawn: Vec<u32>,
    choices: u64,
}

/// A chain whose first candidates are his, and on which everyone answers.
struct Field {
    chain: Chain,
    state: State<HeapMemory>,
    system: System,
    own: u32,
    seats: usize,
}

fn vote_key(candidate: u32) -> VoteKey {
    let mut key = [6; 96];
    key[..4].copy_from_slice(&candidate.to_le_bytes());
    key
}

impl Field {
    fn new(options: &GrindOptions) -> Field {
        let GrindOptions { stake, candidates, seats, seed, .. } = *options;
        let consensus = ConsensusParameters { seats, shards_max: 2, ..ConsensusParameters::default() };
        // Who stakes and who pays are others: each acts once a block.
        let accounts: Vec<_> =
            (0..u64::from(candidates) + TRANSFERS_MAX).map(|number| (account_key(number), UNITS)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("user{account}").into_bytes(),
            stake: UNITS,
            key: Box::new(vote_key(account)),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..candidates).map(minter).collect();
        let parameters = ChainParameters { start_ms: seed, consensus, ..ChainParameters::default() };
        let chain = Chain::with_minters(parameters, &accounts, &minters);
        let system = System::genesis(&chain, &minters);
        let (count, pool) = (accounts.len() as u32, system.pools.sum());
        let memory = HeapMemory::new(StateLayout::new(count + 64));
        let supply = UNITS * u64::from(count) + pool;
        let state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(seed));
        let own = (stake * f64::from(candidates)).round() as u32;
        Field { chain, state: state.expect("distinct keys"), system, own, seats: seats as usize }
    }

    /// His seats among those that are drawn first.
    fn won(&self, drawn: &[u32]) -> u32 {
        drawn.iter().take(self.seats).filter(|&&candidate| candidate < self.own).count() as u32
    }

    fn answers(&self) -> Vec<Answer> {
        let (chain, height) = (&self.chain.genesis_hash, self.system.height + 2);
        let answer = |&candidate: &u32| {
            let signature = StubSigning::stub(candidate, &Answer::seed_digest(chain, height));
            let (drawn_by, endpoint) = (self.system.hash, Endpoint::default());
            let mut answer = Answer { height, candidate, drawn_by, endpoint, answer: signature, signature };
            answer.signature = StubSigning::stub(candidate, &answer.digest(chain));
            answer
        };
        self.system.drawn.iter().map(answer).collect()
    }

    /// Tries moves of stake and time, and counts the different draws that come of them.
    fn by_stake(&self, tries: u64, dice: &mut Dice) -> Found {
        let answers = self.answers();
        let answers: Answers<'_> = answers.iter().map(|answer| (answer.candidate, answer)).collect();
        let parameters = &self.chain.parameters.consensus;
        let mut now = self.system.clone();
        let mut found = Found { seats: 0, what: Try::Nothing, withheld: Vec::new(), drawn: Vec::new(), choices: 0 };
        let mut seen = HashSet::new();
        for number in 0..tries {
            let account = dice.below(u64::from(self.own)) as u32;
            let has = self.system.stake(account);
            let what = match number % 16 {
                0 if number == 0 => Try::Nothing,
                0 => Try::Pay(dice.between(1, TRANSFERS_MAX)),
                1 => Try::Delay(dice.between(1, DELAY_MAX)),
                2..=8 => Try::Stake(account, DYNE + dice.below(AMOUNT_MAX)),
                9 if has > 0 => Try::Unstake(account, has),
                _ if has > AMOUNT_MAX => Try::Unstake(account, dice.between(1, AMOUNT_MAX)),
                _ => Try::Nothing,
            };
            self.imagine(&mut now, what);
            let drawn = Selection::new(parameters, &self.system, &now, &answers).drawn;
            self.imagine(&mut now, Try::Nothing);
            if let Try::Stake(account, _) | Try::Unstake(account, _) = what {
                now.stakers.update(&account, |staker| staker.stake = has);
            }
            let seats = self.won(&drawn);
            // To have left is no other draw, it is the same with one less, and costs all seats to come of the account.
            let left = matches!(what, Try::Unstake(_, amount) if amount == has);
            let seats = seats.saturating_sub(u32::from(left));
            if !left {
                seen.insert(drawn.clone());
            }
            if found.drawn.is_empty() || seats > found.seats {
                found = Found { seats, what, drawn, ..found };
            }
        }
        Found { choices: seen.len() as u64, ..found }
    }

    /// What a block with this in it would make of the system, as far as it may matter to a choice.
    fn imagine(&self, now: &mut System, what: Try) {
        let paid = if let Try::Pay(count) = what { count } else { 0 };
        (now.load, now.slot) = ((3 * self.system.load + paid) / 4, self.system.slot + 1);
        match what {
            Try::Nothing | Try::Pay(_) => {}
            Try::Delay(slots) => now.slot += slots,
            Try::Stake(account, amount) => {
                now.stakers.update(&account, |staker| staker.stake += amount);
            }
            Try::Unstake(account, amount) => {
                now.stakers.update(&account, |staker| staker.stake -= amount);
            }
        }
    }

    /// Tries which of his answers to keep back, at most so many.
    fn by_withholding(&self, most: usize, tries: u64) -> Found {
        let answers = self.answers();
        let own: Vec<u32> =
            answers.iter().map(|answer| answer.candidate).filter(|&candidate| candidate < self.own).collect();
        let all: Answers<'_> = answers.iter().map(|answer| (answer.candidate, answer)).collect();
        let parameters = &self.chain.parameters.consensus;
        let mut found = Found { seats: 0, what: Try::Nothing, withheld: Vec::new(), drawn: Vec::new(), choices: 0 };
        let mut kept_back: Vec<usize> = Vec::new();
        loop {
            let withheld: Vec<u32> = kept_back.iter().map(|&place| own[place]).collect();
            let told = all.iter().filter(|(candidate, _)| !withheld.contains(candidate));
            let answers: Answers<'_> = told.map(|(&candidate, &answer)| (candidate, answer)).collect();
            let drawn = Selection::new(parameters, &self.system, &self.system, &answers).drawn;
            let seats = self.won(&drawn);
            found.choices += 1;
            if found.drawn.is_empty() || seats > found.seats {
                found = Found { seats, withheld, drawn, ..found };
            }
            if found.choices >= tries || !next_subset(&mut kept_back, own.len(), most) {
                return found;
            }
        }
    }

    /// The height with what was chosen in it, by the rules of blocks.
    fn play(&mut self, found: &Found) {
        let answers = self.answers().into_iter().filter(|answer| !found.withheld.contains(&answer.candidate));
        let mut items: Vec<Item> = answers.map(|answer| Record::Answer(Box::new(answer)).item()).collect();
        let mut slot = self.system.slot + 1;
        match found.what {
            Try::Nothing => {}
            Try::Delay(slots) => slot += slots,
            Try::Stake(account, amount) => items.push(self.service(TransactionKind::Stake, account, amount)),
            Try::Unstake(account, amount) => items.push(self.service(TransactionKind::Unstake, account, amount)),
            Try::Pay(count) => {
                let first = self.state.header().accounts - TRANSFERS_MAX;
                items.extend((first..first + count).map(|sender| {
                    let sequence = u64::from(self.state.hot(sender as u32).sequence);
                    let (from, to) = (account_key(sender), account_key(sender));
                    transfer_item(from, to, DYNE, sequence, self.system.slot + 100)
                }));
            }
        }
        items.sort_by_key(|item| item.id());
        let signing = StubSigning { candidate: 0 };
        let (chain, state, system) = (&self.chain, &self.state, &self.system);
        let view = View { chain, state, system, signing: &signing, genuine: &|_| true, judged: &[] };
        let block = |shard: usize| {
            let built = view.build(shard, slot, &items.clone().into());
            assert!(view.patch_holds(&built.block, &built.patch).is_ok(), "a block of one's own is held by others");
            let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
            let (height, hash) = (system.height + 1, built.block.hash());
            let (block, items, patch) = (built.block, built.items, built.patch);
            Some(Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch }))
        };
        let blocks: Vec<_> = (0..system.committee.shards.len()).map(block).collect();
        let next = Next::new(chain, state, system, &blocks);
        assert_eq!(next.system.drawn, found.drawn, "what is drawn is what was foreseen");
        let hash = next.value(system, &blocks).hash();
        self.state.apply(&next.quilt).expect("what follows from checked blocks applies");
        self.state.update_root();
        self.system = next.finalized(hash);
    }

    fn service(&self, kind: TransactionKind, account: u32, amount: u64) -> Item {
        let (sender, sequence) = (account_key(account.into()), u64::from(self.state.hot(account).sequence));
        let payload = match kind {
            TransactionKind::Stake => {
                [&vote_key(account)[..], &StubSigning::possession(&sender, &vote_key(account))].concat()
            }
            _ => Vec::new(),
        };
        let (recipient, expires_slot) = (self.system.hash, self.system.slot + 100);
        let cell = Cell { sender, recipient, amount, sequence, expires_slot, ..bytemuck::Zeroable::zeroed() };
        cell_item(Cell { kind: kind as u8, ..cell }, &payload, true)
    }
}

/// The next subset of so many places with at most so many in it: small ones first. False after the last.
fn next_subset(subset: &mut Vec<usize>, places: usize, most: usize) -> bool {
    let size = subset.len();
    for at in (0..size).rev() {
        if subset[at] + (size - at) < places {
            subset[at] += 1;
            (at + 1..size).for_each(|later| subset[later] = subset[later - 1] + 1);
            return true;
        }
    }
    *subset = (0..=size).collect();
    size < most.min(places)
}

/// His seats by chance: drawn without replacement from equal stakes.
struct Odds {
    mean: f64,
    deviation: f64,
    /// Chance of at most so many.
    at_most: Vec<f64>,
}

impl Odds {
    fn new(candidates: u32, own: u32, seats: u32) -> Odds {
        let choose = |from: u32, count: u32| -> f64 {
            if count > from {
                return f64::NEG_INFINITY;
            }
            (0..count).map(|i| (f64::from(from - i) / f64::from(i + 1)).ln()).sum()
        };
        let seats = seats.min(candidates);
        let chance =
            |won: u32| (choose(own, won) + choose(candidates - own, seats - won) - choose(candidates, seats)).exp();
        let mut sum = 0.0;
        let at_most = (0..=seats).map(|won| {
            sum += chance(won);
            f64::min(sum, 1.0)
        });
        let at_most: Vec<f64> = at_most.collect();
        let mean = f64::from(seats) * f64::from(own) / f64::from(candidates);
        let variance = (0..=seats).map(|won| chance(won) * (f64::from(won) - mean).powi(2)).sum::<f64>();
        Odds { mean, deviation: variance.sqrt(), at_most }
    }

    /// What the best of so many draws has on average.
    fn best_of(&self, draws: u64) -> f64 {
        self.at_most.iter().map(|chance| 1.0 - chance.powf(draws as f64)).sum()
    }
}

/// What an owner of this share wins who keeps at most so many back of the answers that are his by right, if candidates
/// are many: the best of all subsets.
pub fn withholding(stake: f64, seats: u32, most: usize) -> f64 {
    const MANY: u32 = 1_000_000;
    let answers = (stake * f64::from(seats)).round() as u64;
    let mut subsets = (1u64, 1u64);
    for kept_back in 1..=(most as u64).min(answers) {
        subsets.1 = subsets.1 * (answers - kept_back + 1) / kept_back;
        subsets.0 += subsets.1;
    }
    Odds::new(MANY, (stake * f64::from(MANY)) as u32, seats).best_of(subsets.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(moves: Moves, tries: u64) -> GrindOptions {
        GrindOptions { stake: 0.1, candidates: 200, seats: 20, heights: 30, tries, moves, seed: 1 }
    }

    #[test]
    fn stake_and_time_move_nothing() {
        let report = grind(&options(Moves::Stake, 200), |_| ());
        assert_eq!(report.choices, 1.0, "all that he can do is one draw");
        assert!(report.sigmas.abs() < 3.0, "{report:?}");
    }

    #[test]
    fn withheld_answers_are_worth_what_the_closed_form_says() {
        let report = grind(&GrindOptions { stake: 0.2, ..options(Moves::Withhold(3), 100_000) }, |_| ());
        assert!(report.choices > 10.0 && report.mean > report.fair + 1.0, "{report:?}");
        assert!((report.mean - report.closed_form).abs() < 0.6, "{report:?}");
        // The table of the design.
        assert!((withholding(0.2, 100, 3) - 34.2).abs() < 0.1, "{}", withholding(0.2, 100, 3));
        assert!((withholding(0.2, 20, 3) - 7.3).abs() < 0.1, "{}", withholding(0.2, 20, 3));
    }

    #[test]
    fn subsets_come_each_once() {
        let (mut subset, mut seen) = (Vec::new(), vec![Vec::new()]);
        while next_subset(&mut subset, 6, 3) {
            assert!(subset.is_sorted_by(|a, b| a < b) && subset.iter().all(|&place| place < 6));
            seen.push(subset.clone());
        }
        assert_eq!(seen.len(), 1 + 6 + 15 + 20);
        assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>().len(), seen.len());
        assert!(!next_subset(&mut Vec::new(), 0, 3));
    }
}
