//! What others may cost before they have shown that they speak the truth, and what a lie costs them: policy alone, by
//! sender and slot.
//!
//! Three rules. Whoever has no right to say a thing is not listened to: that costs nothing. What is said by right and
//! must be verified is verified so often a slot and sender: enough for what an honest one says, with messages of
//! another slot among them. What then does not hold is its sender's lie, since an honest sender has made it or has
//! verified it before: it ends the connection, and the sender is not heard for a while. `docs/consensus.md`, "What a
//! false statement costs", has the kinds of messages one by one.

use crate::base::hash::Hash;
use crate::base::mutation::{Mutation, planted};
use std::collections::{BTreeMap, BTreeSet};

/// Something that no honest node does, whatever it has heard and however late it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// A statement in its own name whose signature does not hold.
    Signature,
    /// A certificate of first or second votes that is none.
    Certificate,
    /// A shard-block whose certificate is none, or that breaks a rule.
    Block,
    /// Transactions that are not those of the block that they are said to be of.
    Bodies,
    /// Another's set root in a list, which that one has not signed.
    List,
    /// So much in a slot that nobody listens to as no honest node says.
    Flood,
}

impl Offence {
    /// Points that the mesh books: all of these end the connection.
    pub fn points(self) -> u32 {
        100
    }
}

/// What costs a pairing or more. What minters of a shard say of its round, and custodians of a block, has no number
/// here: each of them says each thing once, and once more what contradicts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// A vote or proposal of a delegate. An honest one says five a slot; votes of three slots around are timely.
    Vote,
    /// What a delegate holds: two a slot.
    Have,
    /// A certificate of first votes higher than the own one: two a slot become known at most.
    Prepared,
    /// A final certificate: each is told once, and again to who asks.
    Final,
    /// A shard-block. As many shards as there are come from one who was asked for all; more than one of each shard is
    /// rare.
    Block,
}

impl Work {
    /// How often a slot it is done for one sender. `shards` are those of the committee.
    fn most(self, shards: usize) -> usize {
        match self {
            Work::Vote => 16,
            Work::Have => 8,
            Work::Prepared | Work::Final => 4,
            Work::Block => 4 + 2 * shards,
        }
    }
}

/// Final certificates a slot that come unasked from those who have no seat: followers pass on what is final, and of
/// those that are true the first ends the height.
const STRANGERS_FINALS_MAX: usize = 16;
/// Answers to one question of one asker in a slot: the line may have lost the first.
const ANSWERS_MAX: usize = 2;
/// Different questions of one asker that are answered in a slot; who catches up asks for a height after the other.
const QUESTIONS_MAX: usize = 512;
/// What a sender may say in a slot that nobody listens to, before it is a flood. An honest one that is late, ahead or
/// suspended says none of it: things of other heights and other times are not counted.
const USELESS_MAX: usize = 64;
/// Slots for which a liar is not heard: as long as the mesh does not take its calls, ten minutes on a network of
/// ten-second slots.
const QUIET_SLOTS: u64 = 60;

/// A question: what may be asked for, by the first bytes of its name.
pub(super) type Question = [u8; 9];

/// One sender in the slot that goes on.
#[derive(Default)]
struct Spent {
    work: BTreeMap<Work, usize>,
    questions: BTreeMap<Question, usize>,
    useless: usize,
}

/// All senders in the slot that goes on.
#[derive(Default)]
pub(super) struct Allowance {
    slot: u64,
    spent: BTreeMap<u32, Spent>,
    strangers_finals: usize,
    /// Who was asked for what is final in this slot.
    asked: BTreeSet<u32>,
    /// Who has spoilt what was verified together in this slot.
    apart: BTreeSet<u32>,
    /// Liars, and the slot from which on each is heard again.
    quiet: BTreeMap<u32, u64>,
}

impl Allowance {
    /// It is this slot now. A clock that goes back begins a slot anew as well.
    pub(super) fn mind_slot(&mut self, slot: u64) {
        if self.slot != slot {
            self.slot = slot;
            self.spent.clear();
            self.strangers_finals = 0;
            self.asked.clear();
            self.apart.clear();
            // As seen from now: a clock that was ahead makes nobody quiet for longer.
            self.quiet.retain(|_, until| *until > slot && *until <= slot + QUIET_SLOTS);
        }
    }

    /// Whether a sender is heard at all.
    pub(super) fn hears(&self, from: u32) -> bool {
        !self.quiet.contains_key(&from)
    }

    /// Whether what a sender claims is verified together with what others do.
    pub(super) fn is_verified_among_others(&self, from: u32) -> bool {
        !self.apart.contains(&from)
    }

    /// A sender's claims do not hold: in this slot it spoils nothing more of what is verified together.
    pub(super) fn leave_out(&mut self, from: u32) {
        let new = self.apart.insert(from);
        assert!(new, "candidate {from} was left out already, and what it claims was looked at with others'");
    }

    /// Whether this may still be done for a sender in this slot; it is, then.
    pub(super) fn may(&mut self, from: u32, work: Work, shards: usize) -> bool {
        let count = self.spent.entry(from).or_default().work.entry(work).or_insert(0);
        *count += 1;
        *count <= work.most(shards)
    }

    /// Somebody is asked for what is final.
    pub(super) fn ask(&mut self, whom: u32) {
        self.asked.insert(whom);
    }

    /// Whether a final certificate is verified for a sender: for a member and for who was asked some, for others one,
    /// and of all of those so many. Whoever passes on what holds is paid back: who catches up by one peer does so fast.
    pub(super) fn may_final(&mut self, from: u32, has_seat: bool) -> bool {
        if has_seat || self.asked.contains(&from) {
            return self.may(from, Work::Final, 0);
        }
        let count = self.spent.entry(from).or_default().work.entry(Work::Final).or_insert(0);
        if *count > 0 || self.strangers_finals >= STRANGERS_FINALS_MAX {
            return false;
        }
        (*count, self.strangers_finals) = (1, self.strangers_finals + 1);
        true
    }

    /// The final certificate that was last verified for a sender holds.
    pub(super) fn final_held(&mut self, from: u32) {
        self.strangers_finals = 0;
        if let Some(spent) = self.spent.get_mut(&from) {
            spent.work.remove(&Work::Final);
        }
    }

    /// Whether a question is answered once more.
    pub(super) fn may_answer(&mut self, to: u32, question: Question) -> bool {
        let questions = &mut self.spent.entry(to).or_default().questions;
        if questions.len() >= QUESTIONS_MAX && !questions.contains_key(&question) {
            return false;
        }
        let count = questions.entry(question).or_insert(0);
        *count += 1;
        *count <= ANSWERS_MAX
    }

    /// Somebody has said what nobody listens to; true when that makes it a flood.
    pub(super) fn useless(&mut self, from: u32) -> bool {
        let useless = &mut self.spent.entry(from).or_default().useless;
        *useless += 1;
        *useless == USELESS_MAX
    }

    /// Somebody has done what no honest node does. True if that is new: it is punished once.
    pub(super) fn offends(&mut self, from: u32) -> bool {
        if planted(Mutation::PenaltyForgotten) {
            return false;
        }
        self.quiet.insert(from, self.slot + QUIET_SLOTS).is_none()
    }
}

/// The question of this kind for this height.
pub(super) fn question_of_height(kind: u8, height: u64) -> Question {
    let mut question = [kind; 9];
    question[1..].copy_from_slice(&height.to_le_bytes());
    question
}

/// The question of this kind for what has this hash.
pub(super) fn question_of_hash(kind: u8, hash: &Hash) -> Question {
    let mut question = [kind; 9];
    question[1..].copy_from_slice(&hash[..8]);
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_bounded_by_sender_and_slot_and_strangers_by_all_of_them() {
        let mut allowance = Allowance::default();
        allowance.mind_slot(7);
        let done = |allowance: &mut Allowance, from| (0..100).filter(|_| allowance.may(from, Work::Vote, 2)).count();
        assert_eq!([1, 1, 2].map(|from| done(&mut allowance, from)), [16, 0, 16]);
        let finals = (0..100).filter(|&from| allowance.may_final(10 + from % 50, false)).count();
        assert_eq!(finals, STRANGERS_FINALS_MAX);
        assert!(allowance.may_final(9, true), "a member is heard however many strangers there are");
        allowance.ask(10);
        assert!(allowance.may_final(10, false), "and so is who was asked");
        allowance.mind_slot(8);
        assert_eq!(done(&mut allowance, 1), 16);
        assert!(allowance.may_final(10, false) && !allowance.may_final(10, false));
        allowance.final_held(10);
        assert!(allowance.may_final(10, false), "who told the truth may tell the next height");
    }

    #[test]
    fn a_question_is_answered_twice_a_slot() {
        let mut allowance = Allowance::default();
        let answers = (0..9).filter(|_| allowance.may_answer(1, question_of_height(b'f', 4))).count();
        assert_eq!(answers, ANSWERS_MAX);
        assert!(allowance.may_answer(2, question_of_height(b'f', 4)));
        assert!((0..2_000).filter(|&height| allowance.may_answer(3, question_of_height(b'f', height))).count() == 512);
    }

    #[test]
    fn a_liar_is_punished_once_and_heard_again_later_and_a_clock_that_was_ahead_makes_nobody_quiet() {
        let mut allowance = Allowance::default();
        allowance.mind_slot(7);
        assert!(allowance.hears(1) && allowance.offends(1) && !allowance.offends(1) && !allowance.hears(1));
        allowance.mind_slot(66);
        assert!(!allowance.hears(1));
        allowance.mind_slot(67);
        assert!(allowance.hears(1));
        allowance.mind_slot(3_000_000);
        allowance.offends(2);
        allowance.mind_slot(68);
        assert!(allowance.hears(2));
    }

    #[test]
    fn a_flood_is_noticed_once() {
        let mut allowance = Allowance::default();
        assert_eq!((0..1_000).filter(|_| allowance.useless(1)).count(), 1);
    }
}
