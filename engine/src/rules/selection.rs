//! Who mints, and who keeps: all that the seed of one block decides.
//!
//! The answers that make a block's seed are told before its sets are closed, so whoever puts anything into the block
//! can know the seed. Therefore nothing that the block moves enters what its own seed decides: stakes and load are the
//! parent's, and the parent's was final before any of these answers was told. Who has left or was barred by the block
//! is drawn with the others and skipped: that costs its owner what he would have got, and changes nothing for anybody
//! else. What is left to a minter is to keep its answer back; see `docs/consensus.md`.

use crate::base::hash::{Hash, keyed};
use crate::base::ids::AccountIndex;
use crate::base::limits::SEATS_MAX;
use crate::base::mutation::{Mutation, planted};
use crate::base::parameters::ConsensusParameters;
use crate::chain::record::Answer;
use crate::chain::tables::{MILLION, MINTERS_MIN, System, THIN_HEIGHTS, candidates_wanted};
use crate::committee::draw::next_seed;
use crate::committee::members::Committee;
use std::collections::{BTreeMap, BTreeSet};

/// The answers that a block holds, one a candidate.
pub type Answers<'a> = BTreeMap<AccountIndex, &'a Answer>;

/// What one block's seed decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The seed: of the parent's and of the answers.
    pub seed: Hash,
    /// Who of those that have answered mints the next height, in shards.
    pub committee: Committee,
    /// Who is drawn for the height after it.
    pub drawn: Vec<AccountIndex>,
    /// Who keeps the transactions of the next height's blocks, shard by shard.
    pub custodians: Vec<Vec<AccountIndex>>,
    /// Share of the drawn who answer, smoothed, in millionths.
    pub answering: u64,
    /// Heights in a row with too few answers.
    pub thin: u32,
}

impl Selection {
    /// What follows from these answers in a block on this parent; `now` is the system with all else that the block
    /// does.
    pub fn new(parameters: &ConsensusParameters, parent: &System, now: &System, answers: &Answers<'_>) -> Selection {
        let stakes = if planted(Mutation::DrawByStakesOfNow) { now } else { parent };
        let seed = next_seed(&parent.seed, answers.values().map(|answer| &answer.answer[..]));
        let share = answers.len() as u64 * MILLION / (parent.drawn.len() as u64).max(1);
        let answering = (3 * parent.answering + share) / 4;
        let enough = answers.len() >= MINTERS_MIN;
        let minters = minters(parameters, parent, answers, enough);
        let next = parent.height + 2;
        let divided = stakes.seat(parameters, &seed, next, &minters);
        // Who is barred by this block has nothing at stake. That everyone of a shard is, ends with a shard of others.
        let barred = |candidate: AccountIndex| now.barred.contains_key(&candidate);
        let committee = divided.without(barred).unwrap_or_else(|| {
            let left: Vec<_> = minters.iter().copied().filter(|&account| !barred(account)).collect();
            stakes.seat(parameters, &seed, next, if left.is_empty() { &minters } else { &left })
        });
        assert!(!committee.is_empty() || minters.is_empty(), "somebody mints the next height");
        let has_stake = |account: &AccountIndex| now.stake(*account) > 0;
        let mut drawn = stakes.draw(&seed, next + 1, candidates_wanted(parameters, answering));
        drawn.retain(has_stake);
        let mut custodians = stakes.draw_custodians(parameters, &seed, next, committee.shards.len());
        custodians.iter_mut().for_each(|of_shard| of_shard.retain(has_stake));
        let kept = custodians.len();
        assert!(kept == 0 || kept == committee.shards.len(), "{kept} shards have custodians");
        let thin = if enough { 0 } else { parent.thin + 1 };
        Selection { seed, committee, drawn, custodians, answering, thin }
    }
}

/// Who mints: whoever has answered; with too few answers the committee before as well. After some such heights in a row
/// those who were drawn are seated too, unasked, before the old ones: a committee that keeps answers out cannot keep its
/// seats. Of more than there may be, those that were drawn first.
fn minters(
    parameters: &ConsensusParameters,
    parent: &System,
    answers: &Answers<'_>,
    enough: bool,
) -> Vec<AccountIndex> {
    let mut minters: Vec<_> = parent.drawn.iter().copied().filter(|account| answers.contains_key(account)).collect();
    if enough {
        minters.truncate(SEATS_MAX);
        return minters;
    }
    let seats = parameters.seats as usize;
    let mut old: Vec<_> = parent.committee.members.iter().map(|member| member.candidate).collect();
    old.sort_by_cached_key(|candidate| keyed(&parent.seed, &candidate.to_le_bytes()));
    if parent.thin + 1 >= THIN_HEIGHTS {
        minters.extend(parent.drawn.iter().take(seats));
    }
    minters.extend(&old);
    let mut seen = BTreeSet::new();
    minters.retain(|&account| parent.stake(account) > 0 && seen.insert(account));
    minters.truncate((2 * seats).clamp(MINTERS_MIN, SEATS_MAX));
    if minters.is_empty() {
        // Everyone has left or is barred: someone must go on until others stake, and nobody else is known. What those
        // who have left had at stake is held as long as they have seats.
        minters = old.iter().copied().filter(|account| !parent.barred.contains_key(account)).collect();
    }
    if minters.is_empty() { old } else { minters }
}
