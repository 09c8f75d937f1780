//! How far others say that the chain is, and what time they say it is: believed only as far as one of them must be
//! honest. Nothing here is signed or certified; it decides what a node tells its operator and whether it trusts its
//! clock, never what it takes for final.

use super::master::others_needed;
use crate::chain::tables::System;
use crate::committee::members::Committee;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Whose heights are remembered at most: more names than these are connected to nobody.
const CLAIMANTS_MAX: usize = 4_096;

/// What was said, by candidate.
#[derive(Default)]
pub(super) struct Claims {
    heights: BTreeMap<u32, u64>,
    /// Slots that the clock of each delegate is ahead of the own one, as it said last.
    ahead: BTreeMap<u32, i64>,
    height: u64,
}

impl Claims {
    /// The height that others have plausibly reached.
    pub(super) fn height(&self) -> u64 {
        self.height
    }

    /// Somebody speaks of a height.
    pub(super) fn says_height(&mut self, from: u32, height: u64, system: &System) {
        let staked = system.stake(from) > 0 && height > self.height;
        if !staked || (self.heights.len() >= CLAIMANTS_MAX && !self.heights.contains_key(&from)) {
            return;
        }
        let said = self.heights.entry(from).or_insert(0);
        let raised = height > *said;
        *said = height.max(*said);
        let committee = &system.committee;
        if raised && committee.seat_of(from).is_some() {
            let said = |candidate| self.heights.get(&candidate).copied().unwrap_or(0);
            let mut of_members: Vec<u64> = committee.members.iter().map(|member| said(member.candidate)).collect();
            of_members.sort_unstable_by(|a, b| b.cmp(a));
            let sure = others_needed(committee).checked_sub(1).and_then(|place| of_members.get(place));
            self.height = self.height.max(sure.copied().unwrap_or(0));
        }
    }

    /// A slot begins: who has no seat any more in the committee that this node knows is believed by stake, from a third
    /// of all on. Whoever was away for long knows no other.
    pub(super) fn weigh(&mut self, system: &System) {
        let mut said: Vec<(u64, u64)> =
            self.heights.iter().map(|(&candidate, &height)| (height, system.stake(candidate))).collect();
        said.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0u128;
        for (height, stake) in said {
            sum += u128::from(stake);
            if 3 * sum > u128::from(system.pools.stakes) {
                self.height = self.height.max(height);
                break;
            }
        }
    }

    /// This height is final here: who has said no more says nothing.
    pub(super) fn reached(&mut self, height: u64, committee: &Committee) {
        self.height = self.height.max(height);
        self.heights.retain(|_, said| *said > height);
        self.ahead.retain(|&candidate, _| committee.seat_of(candidate).is_some());
    }

    /// A delegate says which slot it is, while it is another one here.
    pub(super) fn says_slot(&mut self, from: u32, theirs: u64, own: u64) {
        let (theirs, own) = (i64::try_from(theirs).unwrap_or(i64::MAX), i64::try_from(own).unwrap_or(i64::MAX));
        self.ahead.insert(from, theirs.saturating_sub(own));
    }

    /// How many slots the others' clocks are ahead of the own one: between what B + 1 of them say at least and what as
    /// many say at most, so that an honest one's is inside. None while too few have said it.
    pub(super) fn slots_ahead(&self, committee: &Committee) -> Option<RangeInclusive<i64>> {
        let mut ahead: Vec<i64> = self.ahead.values().copied().collect();
        ahead.sort_unstable();
        let place = others_needed(committee).checked_sub(1)?;
        let (low, high) = (*ahead.get(place)?, *ahead.get(ahead.len().checked_sub(1 + place)?)?);
        Some(low.min(high)..=low.max(high))
    }
}
