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

/// Slots after which nobody knows any more what somebody's clock shows, if it is not said again.
const FRESH_SLOTS: u64 = 8;
/// What two heights that are heard of while they become final say of the time differs by no more slots than these.
const JITTER_SLOTS: u64 = 1;

/// How many slots something is ahead of the own clock, and in which slot of that clock it was heard.
#[derive(Clone, Copy)]
struct Heard {
    in_slot: u64,
    ahead: i64,
}

impl Heard {
    fn of(slot: u64, own: u64) -> Heard {
        let signed = |slot: u64| i64::try_from(slot).unwrap_or(i64::MAX);
        Heard { in_slot: own, ahead: signed(slot).saturating_sub(signed(own)) }
    }

    fn is_fresh(&self, own: u64) -> bool {
        self.in_slot.abs_diff(own) <= FRESH_SLOTS
    }
}

/// What was said, by candidate.
#[derive(Default)]
pub(super) struct Claims {
    heights: BTreeMap<u32, u64>,
    /// How far the clock of each delegate is ahead of the own one, as it said last.
    ahead: BTreeMap<u32, Heard>,
    /// The slot in which the newest height was decided, and the same once it is one that was heard of in its time.
    decided: Option<Heard>,
    in_time: Option<Heard>,
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
    /// of all on. Whoever was away for long knows no other. And what was said of the time long ago is forgotten.
    pub(super) fn weigh(&mut self, system: &System, slot: u64) {
        self.ahead.retain(|_, heard| heard.is_fresh(slot));
        self.in_time = self.in_time.filter(|heard| heard.is_fresh(slot));
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
        self.ahead.insert(from, Heard::of(theirs, own));
    }

    /// The height that was reached was decided in this slot, as a quorum has signed: not before, but perhaps long ago.
    /// It is in its time if nobody speaks of later ones, and if the slots of the last two were as far apart as the own
    /// slots in which they were heard of: who catches up hears of them faster.
    pub(super) fn decided(&mut self, height: u64, slot: u64, own: u64) {
        assert!(self.height >= height, "who speaks of height {height} is heard after it is reached");
        let heard = Heard::of(slot, own);
        let newest = self.height <= height.saturating_add(1);
        let as_before = |before: Heard| before.in_slot < own && before.ahead.abs_diff(heard.ahead) <= JITTER_SLOTS;
        let in_time = newest && self.decided.is_some_and(as_before);
        self.decided = Some(heard);
        self.in_time = if in_time { Some(heard) } else { self.in_time };
    }

    /// The own clock was set to another slot: what was said was compared with another time.
    pub(super) fn clock_was_set(&mut self) {
        self.ahead.clear();
        (self.decided, self.in_time) = (None, None);
    }

    /// How many slots the others' clocks are ahead of the own one: between what B + 1 of them say at least and what as
    /// many say at most, so that an honest one's is inside. While too few have said it, heights that are heard of in
    /// their time say it: in their slot, or the one after. None if there are none either.
    pub(super) fn slots_ahead(&self, committee: &Committee) -> Option<RangeInclusive<i64>> {
        self.said_ahead(committee).or_else(|| {
            let Heard { ahead, .. } = self.in_time?;
            Some(ahead..=ahead.saturating_add(1))
        })
    }

    fn said_ahead(&self, committee: &Committee) -> Option<RangeInclusive<i64>> {
        let mut ahead: Vec<i64> = self.ahead.values().map(|heard| heard.ahead).collect();
        ahead.sort_unstable();
        let place = others_needed(committee).checked_sub(1)?;
        let (low, high) = (*ahead.get(place)?, *ahead.get(ahead.len().checked_sub(1 + place)?)?);
        Some(low.min(high)..=low.max(high))
    }
}
