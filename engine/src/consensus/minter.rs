//! One node's consensus: runs shard round and master round by the clock, keeps the signed-once record, follows what
//! others made final, and catches up.
//!
//! ```text
//!   tick(now), handle(now, from, message), persisted(now, ticket)   ──►   Actions
//! ```
//!
//! Nothing is signed in a slot before the record that reserves the slot is durable; no second vote before its lock is.
//! After a crash the node is silent for what it cannot know whether it said it: see `silence`.

use super::allowance::{Allowance, Offence};
use super::claims::Claims;
use super::custody::{Custody, CustodyOut};
use super::early::Early;
use super::finals::{Finals, KeptFinal};
use super::forks::Forks;
use super::master::{Locked, MasterAction, MasterInput, MasterRound, Taken};
use super::shard::{RoundContext, ShardRound, To};
use super::signed_once::SignedOnce;
use super::silence::Silence;
use crate::base::hash::{Hash, keyed};
use crate::base::ids::Seat;
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::{CertifiedBlock, Final};
use crate::chain::record::{Answer, Record};
use crate::chain::tables::Stakers;
use crate::committee::schedule::{Schedule, Step};
use crate::messages::message::{Message, ShardMessage};
use crate::rules::execution::Execution;
use crate::rules::objects::{SetBounds, closing, weightiest_first};
use crate::transaction::item::{Item, Items};
use crate::vote::signing::Signing;
use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Slots beyond the last that brought a block that the own clock alone may reserve. Whoever is further from it waits
/// until others say that it is that late: a clock that is wrong by more silences its node for so long at most.
const SLOTS_BEYOND_FINAL: u64 = 4;
/// Milliseconds between messages that waited for their time, some at a time.
pub(super) const REPLAY_EACH_MS: u64 = 5;
/// Of a slot, how late a step may still be taken that others wait for, in parts of a thousand.
const LATE_PER_MILLE: u64 = 50;
/// Proofs that a new committee is told: each costs somebody its stake, so few wait. Of more, others after these.
const PROOFS_TOLD_MAX: usize = 64;
/// Members whom somebody without a seat tells a proof: by so many parts of one hash.
const STRANGER_TELLS: usize = 4;

/// What the node wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send to a candidate's node.
    Send(u32, Message),
    /// Send to some nodes, whoever they are: what everyone should know.
    Gossip(Message),
    /// Keep a shard-block's items, which are about to be vouched for, where an outage does not reach them: before
    /// anything that follows in the same list is sent.
    Keep(Hash, u64, Items),
    /// Make the record durable, then call [`Minter::persisted`] with the ticket.
    Persist(u64, SignedOnce),
    /// Whoever is connected by this name has done what no honest node does: it is to pay, and loses its connection.
    Penalise(u32, Offence),
    /// A quorum has made final what does not follow from its blocks. More seats have lied than are tolerated, or this
    /// node's state is not that of the others: it goes no further, and signs nothing at this height. People have to
    /// look.
    Refused(Arc<Final>),
    /// A shard-block of ours is certified: the first finality checkpoint.
    Certified(Arc<CertifiedBlock>),
    /// The transactions of a final shard-block are here and make its patch: the third, in quilt mode.
    Checked(u64, Hash, Items),
    /// A height is final: the second. With its shard-blocks as they travel.
    Finalized(Arc<Final>, Vec<Arc<CertifiedBlock>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Of a height and slot.
    Reserve(u64, u64),
    /// Of a height and attempt.
    Lock(u64, u64),
}

/// A node's consensus.
pub struct Minter<E, S> {
    pub(super) chain: Hash,
    pub(super) schedule: Schedule,
    pub(super) candidate: u32,
    /// State and pool.
    pub execution: E,
    pub(super) signing: Arc<S>,
    pub(super) master: MasterRound,
    pub(super) shard: Option<ShardRound>,
    /// Height of the last shard round that was begun.
    pub(super) round_begun: u64,
    /// The pending height has its first slot after the one in which the height before became final.
    begins_slot: u64,
    /// Height and slot that were last asked to be reserved: they ascend.
    asked: (u64, u64),
    next_step: (u64, usize),
    /// Height and slot whose reservation is durable.
    reserved: (u64, u64),
    /// For what an earlier process may have signed that no record has.
    silence: Silence,
    tickets: u64,
    pending: VecDeque<(u64, Pending)>,
    pub(super) finals: Finals,
    pub(super) forks: Forks,
    minting: bool,
    pub(super) custody: Custody,
    pub(super) early: Early,
    pub(super) allowance: Allowance,
    pub(super) claims: Claims,
    /// When messages that waited for their time are heard.
    pub(super) replay_at_ms: u64,
    /// What an earlier process of this node left: where it may have signed, and what it had locked, at a height that
    /// may still be ahead.
    resumed: SignedOnce,
    /// Slots that were promised by all records asked for so far.
    promised: SignedOnce,
    /// Who was accused at the pending height.
    accused: BTreeSet<u32>,
    /// The last height of which the value was computed before it was asked for.
    foreseen: u64,
    pub(super) asked_ms: u64,
    pub(super) out: Vec<Action>,
}

impl<E: Execution, S: Signing> Minter<E, S> {
    /// A node that starts at the execution's height, with what an earlier process of it recorded.
    pub fn new(
        chain: Hash,
        schedule: Schedule,
        candidate: u32,
        execution: E,
        signing: Arc<S>,
        record: SignedOnce,
        now_ms: u64,
    ) -> Minter<E, S> {
        let height = execution.system().height + 1;
        let kept = record.height == height && !planted(Mutation::LockNotDurable);
        let durable = if kept { record.locked.clone() } else { Locked::default() };
        let master = master_round(chain, &execution, candidate, durable);
        execution.system().stakers.iter().for_each(|(&candidate, staker)| signing.learn(candidate, &staker.key));
        let promised = SignedOnce { locked: Locked::default(), ..record.clone() };
        Minter {
            chain,
            schedule,
            candidate,
            execution,
            signing,
            master,
            shard: None,
            round_begun: 0,
            begins_slot: 0,
            asked: (0, 0),
            next_step: (schedule.slot(now_ms) + 1, 0),
            reserved: (0, 0),
            silence: Silence::after(&record, schedule.slot(now_ms)),
            tickets: 0,
            pending: VecDeque::new(),
            finals: Finals::default(),
            forks: Forks::default(),
            minting: true,
            custody: Custody::default(),
            early: Early::default(),
            allowance: Allowance::default(),
            claims: Claims::default(),
            replay_at_ms: 0,
            resumed: record,
            promised,
            accused: BTreeSet::new(),
            foreseen: 0,
            asked_ms: 0,
            out: Vec::new(),
        }
    }

    /// Height that is being agreed on.
    pub fn pending_height(&self) -> u64 {
        self.master.height
    }

    /// The highest height that others have plausibly reached: what is final here, what B + 1 members of the committee
    /// speak of, or who has a third of the stake. One who lies moves it nowhere.
    pub fn height_heard(&self) -> u64 {
        self.claims.height().max(self.execution.system().height)
    }

    /// How many slots the clocks of others are ahead of this node's, an honest one's among them; none while too few
    /// have said it and no heights are heard of while they become final.
    pub fn slots_ahead(&self) -> Option<RangeInclusive<i64>> {
        self.claims.slots_ahead(&self.master.committee)
    }

    /// The agreement of the pending height, to look at.
    pub fn master(&self) -> &MasterRound {
        &self.master
    }

    /// Whether the node has a seat at the pending height.
    pub fn seated(&self) -> bool {
        self.seat().is_some()
    }

    /// The own seat at the pending height, delegate or not.
    pub(super) fn seat(&self) -> Option<Seat> {
        self.master.committee.seat_of(self.candidate).filter(|_| self.minting && !self.master.has_refused())
    }

    /// The own shard's round at the pending height, once its set is closed.
    pub fn round(&self) -> Option<&ShardRound> {
        self.shard.as_ref().filter(|round| round.height == self.master.height)
    }

    /// Final blocks from before the start, to help those who catch up.
    pub fn remember_finals(&mut self, finals: impl Iterator<Item = KeptFinal>) {
        self.finals.remember(finals);
        let system = self.execution.system();
        self.finals.iter().for_each(|kept| self.forks.keep(kept.0.certified()));
        self.forks.forget(system);
        let decided_in = self.finals.of(system.height).map_or(0, |kept| kept.0.attempt / 2);
        // As after a height that was followed: a block may be of a slot after the one in which it was decided.
        self.begins_slot = decided_in.max(system.slot) + 1;
    }

    /// A final block that is still kept.
    pub fn kept_final(&self, height: u64) -> Option<KeptFinal> {
        self.finals.of(height).cloned()
    }

    /// When [`Self::tick`] is to be called next.
    pub fn wake_at_ms(&self) -> u64 {
        let step = self.step_at_ms();
        if self.early.is_due() { step.min(self.replay_at_ms) } else { step }
    }

    /// Whether messages that waited for their time are to be heard before the next step.
    pub fn replays(&self) -> bool {
        self.early.is_due()
    }

    /// When the next step is due.
    fn step_at_ms(&self) -> u64 {
        let (slot, step) = (self.next_step.0, Step::ALL[self.next_step.1]);
        slot.saturating_mul(self.schedule.slot_ms) + step.at(&self.schedule) + self.patience_ms(slot, step)
    }

    /// How long a step waits for lists that are late, a part of the time in which the block has to be there: whoever
    /// builds before a quorum lists any set builds nothing, and its vote is lost.
    fn patience_ms(&self, slot: u64, step: Step) -> u64 {
        // Not the tie-breaker's word: who lacks nothing votes in time, and would not hear it.
        if step != Step::Vote {
            return 0;
        }
        let lacks = self.shard.as_ref().is_some_and(|round| round.slot == slot && round.lacks_lists());
        let Schedule { vote_ms, have_ms, .. } = self.schedule;
        if lacks { have_ms.saturating_sub(vote_ms) / 4 } else { 0 }
    }

    /// Whether the node mints if it has a seat. One that must not, by its clock or since it is about to stop, follows.
    pub fn set_minting(&mut self, minting: bool) {
        if self.minting != minting {
            self.minting = minting;
            self.silence.start_again();
            self.master.seat = self.seat().filter(|&seat| self.master.committee.is_delegate(seat));
        }
    }

    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    fn persist(&mut self, pending: Pending) {
        self.tickets += 1;
        // While the node is behind where it was locked, that lock stays the one to remember: what is behind it is
        // final. A lock that overtakes a reservation under way does not undo it.
        let ahead = self.resumed.height > self.master.height;
        let (height, locked) = match ahead {
            true => (self.resumed.height, self.resumed.locked.clone()),
            false => (self.master.height, self.master.durable.clone()),
        };
        assert!(self.pending.back().is_none_or(|last| last.0 < self.tickets), "tickets ascend");
        assert!(self.asked.0 <= self.master.height, "no slot is reserved for a height to come");
        // A record that is of a height ahead may have a later slot than is reserved here by a clock that was set back
        // since: it stays the one that may have been signed in.
        let before = if height == self.promised.height { self.promised.reserved_slot } else { 0 };
        let promised = self.promised.reserving(height, self.asked.1.max(before));
        self.promised = SignedOnce { unsure: self.silence.is_unsure(), ..promised };
        assert!(self.promised.may_have_signed(self.asked.0, self.asked.1), "what is reserved is in the record");
        self.pending.push_back((self.tickets, pending));
        self.out.push(Action::Persist(self.tickets, SignedOnce { locked, ..self.promised.clone() }));
    }

    /// Takes note of the time before [`Self::wake_at_ms`] is asked: a clock may have jumped. If it was ahead and was
    /// set right, steps are due sooner than it was said; what was signed in slots to come is not signed again, see
    /// `asked`. If it was behind, the steps of slots long past are not even looked at, be they of a year.
    pub fn mind_clock(&mut self, now_ms: u64) {
        let now_slot = self.schedule.slot(now_ms);
        if self.next_step.0 > now_slot + 1 {
            self.next_step = (now_slot + 1, 0);
            self.claims.clock_was_set();
        } else if self.next_step.0 + 1 < now_slot {
            self.next_step = (now_slot - 1, 0);
            self.claims.clock_was_set();
        }
        self.replay_at_ms = self.replay_at_ms.min(now_ms + REPLAY_EACH_MS);
        self.asked_ms = self.asked_ms.min(now_ms);
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        self.mind_clock(now_ms);
        self.silence.pass(self.schedule.slot(now_ms));
        while self.step_at_ms() <= now_ms {
            let (due_ms, slot, step) = (self.step_at_ms(), self.next_step.0, Step::ALL[self.next_step.1]);
            self.next_step =
                if self.next_step.1 + 1 < Step::ALL.len() { (slot, self.next_step.1 + 1) } else { (slot + 1, 0) };
            let Schedule { sets_ms, vote_ms, have_ms, slot_ms, .. } = self.schedule;
            let late_max_ms = match step {
                // A slot can be begun until something is to be said in it: who is late once does not miss it whole.
                Step::Begin => sets_ms,
                // Whoever has no set of its own builds nothing of it: others may have closed the same.
                Step::Sets => vote_ms.saturating_sub(due_ms % slot_ms),
                // What a shard says is of use until its block is to be there. Who closes a large set is late with all of
                // it, and would give away the block if it said nothing any more.
                Step::Lists | Step::Decide | Step::Vote => have_ms.saturating_sub(due_ms % slot_ms),
                _ => slot_ms * LATE_PER_MILLE / 1_000,
            };
            if now_ms - due_ms <= late_max_ms {
                self.step(now_ms, slot, step);
            }
        }
        self.replay(now_ms);
        self.take()
    }

    fn step(&mut self, now_ms: u64, slot: u64, step: Step) {
        let attempt = self.schedule.attempt(now_ms);
        if step == Step::Begin {
            self.claims.weigh(self.execution.system(), slot);
            self.step_master(MasterInput::NewSlot(attempt));
            if !self.seated() || self.master.decided.is_some() || self.silence.is_unsure() {
                // Who does not mint follows; one who hears nothing asks.
                self.out.push(Action::Gossip(Message::WantFinal(self.master.height)));
            }
        }
        self.look(step, now_ms);
        let Some(seat) = self.seat() else { return };
        if slot < self.begins_slot || self.master.decided.is_some() {
            return;
        }
        if !self.reserves(slot) {
            // What is held, and what time it is here, is said without a signature: by that others know which slots are
            // plausible, and this node by theirs.
            if matches!(step, Step::Have | Step::Propose) {
                self.step_master(MasterInput::Have(attempt));
            }
            return;
        }
        self.mind_slot(now_ms);
        let said = match step {
            Step::Sets if self.round_begun == self.master.height => return,
            Step::Sets => self.begin_round(now_ms, slot, seat),
            _ => self.step_round(slot, step),
        };
        let again = if planted(Mutation::VotesTwiceInAnAttempt) { attempt - 1 } else { attempt };
        let inputs = match step {
            Step::Have => vec![MasterInput::Have(attempt)],
            Step::Try0 => vec![MasterInput::Try0(attempt)],
            Step::Propose => vec![MasterInput::Have(attempt), MasterInput::Propose(again)],
            Step::Try1 => vec![MasterInput::Try1(again)],
            Step::Begin | Step::Sets | Step::Lists | Step::Decide | Step::Vote => Vec::new(),
        };
        self.say_in_shard(said);
        for input in inputs {
            self.step_master(input);
        }
        if step == Step::Try0 {
            self.spread_items(slot);
        }
        self.settle(now_ms);
    }

    /// Whether this slot is reserved for the pending height. Asks for it, if the network makes it plausible.
    fn reserves(&mut self, slot: u64) -> bool {
        let wanted = (self.master.height, slot);
        if self.is_silent(slot) {
            return false;
        }
        if self.asked < wanted && self.is_plausible(slot) {
            self.asked = wanted;
            self.persist(Pending::Reserve(wanted.0, wanted.1));
        }
        self.is_reserved(slot)
    }

    /// Whether the newest reservation asked for is of this slot and the pending height, and durable.
    fn is_reserved(&self, slot: u64) -> bool {
        let wanted = (self.master.height, slot);
        self.asked == wanted && self.reserved == wanted
    }

    /// Whether an earlier process may have signed here, or later: nothing is signed again.
    fn is_silent(&self, slot: u64) -> bool {
        let said = self.resumed.may_have_signed(self.master.height, slot) && !planted(Mutation::ReserveNotDurable);
        said || self.silence.covers(self.master.height)
    }

    /// Whether it may be this slot, whatever the own clock says: the last block is near, or B + 1 others say so.
    fn is_plausible(&self, slot: u64) -> bool {
        let last = self.begins_slot.saturating_sub(1).max(self.execution.system().slot);
        slot <= last.saturating_add(SLOTS_BEYOND_FINAL)
            || self.master.is_claimed(slot.saturating_mul(2))
            || planted(Mutation::ReserveImplausible)
    }

    /// The own set is closed: the shard's round begins.
    fn begin_round(&mut self, now_ms: u64, slot: u64, seat: Seat) -> Vec<(To, ShardMessage)> {
        let (height, committee) = (self.master.height, self.master.committee.clone());
        assert!(self.round_begun < height, "a shard's round is begun once a height");
        assert!(self.is_reserved(slot), "nothing is signed in a slot that is not reserved for this height");
        self.round_begun = height;
        let shard = committee.members[usize::from(seat)].shard;
        let mut round = ShardRound::new(height, slot, shard, seat, &committee, self.execution.system().seed);
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &*self.signing };
        let mut said = Vec::new();
        let waiting = self.execution.waiting(usize::from(shard));
        round.close(&context, closing(self.execution.system(), waiting), &mut said);
        self.shard = Some(round);
        self.release_early(now_ms);
        said
    }

    /// A later step of the round that was begun in this slot.
    fn step_round(&mut self, slot: u64, step: Step) -> Vec<(To, ShardMessage)> {
        let mut said = Vec::new();
        let Some(round) = self.shard.as_mut().filter(|round| round.slot == slot) else { return said };
        let committee = self.master.committee.clone();
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &*self.signing };
        match step {
            Step::Lists => round.list(&context, &mut said),
            Step::Decide => round.decide(&context, &mut said),
            // A clock that was set back brings an instant again.
            Step::Vote if round.has_voted() && !planted(Mutation::VotesTwiceInARound) => {}
            Step::Vote => {
                let shard = usize::from(round.shard);
                let bounds = SetBounds::of(self.execution.system());
                if let Some(items) = round.union(&bounds, |item| self.execution.sound(shard, item)) {
                    let built = self.execution.build(shard, slot, &items);
                    let hash = round.vote(&context, &built, &mut said);
                    // In blockchain mode blocks travel whole, and nobody asks for their items.
                    if self.execution.quilt_mode() {
                        self.custody.keep(hash, self.master.height, built.items.clone());
                        self.out.push(Action::Keep(hash, self.master.height, built.items.clone()));
                    }
                }
            }
            _ => {}
        }
        said
    }

    /// When there is time: what would follow if the blocks held became final. False when there is nothing to do.
    pub fn foresee(&mut self) -> bool {
        let height = self.master.height;
        if self.foreseen >= height || !self.seated() || self.master.decided.is_some() {
            return false;
        }
        let Some(blocks) = self.master.all_held() else { return false };
        self.foreseen = height;
        self.execution.value(&blocks);
        true
    }

    pub(super) fn say_in_shard(&mut self, said: Vec<(To, ShardMessage)>) {
        let Some(round) = &self.shard else { return };
        let (height, slot, shard) = (round.height, round.slot, round.shard);
        let members = &self.master.committee.members;
        for (to, message) in said {
            let message = Message::Shard { height, slot, shard, message };
            match to {
                To::Seat(seat) => self.out.push(Action::Send(members[usize::from(seat)].candidate, message)),
                To::Shard => {
                    let seats = self.master.committee.shards[usize::from(shard)].iter();
                    let others = seats
                        .map(|&seat| members[usize::from(seat)].candidate)
                        .filter(|&candidate| candidate != self.candidate);
                    self.out.extend(others.map(|candidate| Action::Send(candidate, message.clone())));
                }
            }
        }
    }

    /// Carries out what the master round wants. Final certificates that are none are for who has heard them.
    fn act(&mut self, actions: Vec<MasterAction>) {
        let candidate_at = |master: &MasterRound, seat: Seat| master.committee.members[usize::from(seat)].candidate;
        for action in actions {
            match action {
                MasterAction::Say(message) => self.tell_committee(&message),
                MasterAction::Tell(seat, message) => {
                    self.out.push(Action::Send(candidate_at(&self.master, seat), message));
                }
                MasterAction::Lock(attempt) => self.persist(Pending::Lock(self.master.height, attempt)),
                MasterAction::FalseSignature(seat) => {
                    self.offends(candidate_at(&self.master, seat), Offence::Signature);
                }
                MasterAction::FalseCertificate(seat) => {
                    self.offends(candidate_at(&self.master, seat), Offence::Certificate);
                }
            }
        }
    }

    pub(super) fn tell_committee(&mut self, message: &Message) {
        let others = self
            .master
            .committee
            .members
            .iter()
            .map(|member| member.candidate)
            .filter(|&candidate| candidate != self.candidate);
        self.out.extend(others.map(|candidate| Action::Send(candidate, message.clone())));
    }

    /// A record is durable.
    pub fn persisted(&mut self, now_ms: u64, ticket: u64) -> Vec<Action> {
        if let Some(at) = self.pending.iter().position(|pending| pending.0 == ticket) {
            match self.pending.remove(at).expect("found above").1 {
                Pending::Reserve(height, slot) => self.reserved = self.reserved.max((height, slot)),
                // Of an earlier height nothing rests on it any more.
                Pending::Lock(height, _) if height != self.master.height => {}
                Pending::Lock(_, attempt) => {
                    self.mind_slot(now_ms);
                    self.step_master(MasterInput::Durable(attempt, self.schedule.attempt(now_ms)));
                }
            }
        }
        self.settle(now_ms);
        self.take()
    }

    /// A transaction or record of this node's own users.
    pub fn submit(&mut self, item: &Item) {
        self.execution.admit(item);
    }

    /// Nothing is signed outside of a slot that is reserved.
    pub(super) fn mind_slot(&mut self, now_ms: u64) {
        let slot = self.schedule.slot(now_ms);
        self.master.may_sign = self.is_reserved(slot) && !self.master.has_refused();
    }

    pub(super) fn step_master(&mut self, input: MasterInput<'_>) {
        let actions = self.master.step(&mut self.execution, &*self.signing, input);
        self.act(actions);
    }

    fn look(&mut self, step: Step, now_ms: u64) {
        self.watch(|custody, watch, execution, out| custody.step(watch, execution, (step, now_ms), out));
        self.settle(now_ms);
    }

    /// What follows from what was just heard: a certified shard-block is passed on, evidence becomes an item, a decided
    /// height whose blocks are all here is applied.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let mut evidence = self.master.take_evidence();
        let mut certified = None;
        if let Some(round) = &mut self.shard {
            evidence.append(&mut round.evidence);
            certified = round.certified.clone().filter(|_| round.height == self.master.height);
        }
        if let Some(block) = certified
            && self.take_block(now_ms, &block) == Taken::New
        {
            self.out.push(Action::Certified(block.clone()));
            self.spread(&block);
        }
        let conflicts = self.master.take_conflicts().into_iter().map(|conflict| Record::Conflict(Box::new(conflict)));
        let accused = evidence.into_iter().filter(|evidence| self.accused.insert(evidence.candidate));
        let proofs = accused.map(|evidence| Record::Fraud(Box::new(evidence))).chain(conflicts);
        let proofs: Vec<_> = proofs.map(|record| record.item()).collect();
        proofs.into_iter().for_each(|item| self.bring(item));
        if let Some(decided) = self.master.decided.clone() {
            self.keep_final(&decided);
        }
        if let Some(decided) = self.master.decided.clone()
            && let Some(blocks) = self.master.blocks_of(&decided.value)
        {
            // What others certify is refused where it does not follow, never asserted on: a node that ended here would
            // end again at each start.
            if self.execution.value(&blocks) == *decided.value {
                self.finish(now_ms, &decided, &blocks);
                self.release_early(now_ms);
            } else {
                self.master.refuse();
                self.out.push(Action::Refused(decided));
            }
        }
    }

    /// Notes a final certificate that holds, for as long as another of its height is proof against who signed both.
    pub(super) fn keep_final(&mut self, decided: &Final) {
        let proofs = self.forks.proofs(&decided.certified(), self.execution.system());
        self.forks.keep(decided.certified());
        proofs.into_iter().for_each(|conflict| self.bring(Record::Conflict(Box::new(conflict)).item()));
    }

    /// A record goes into the own pool, and to the committee.
    pub(super) fn bring(&mut self, item: Item) {
        self.execution.admit(&item);
        self.tell_committee(&Message::Item(item));
    }

    /// Each minter of a shard sends its block to a part of the others, in quilt mode without items: all get it about once.
    fn spread(&mut self, block: &Arc<CertifiedBlock>) {
        let travelling = self.as_it_travels(block);
        let committee = self.master.committee.clone();
        let seats = &committee.shards[block.block.shard as usize];
        let Some(part) = self.seat().and_then(|seat| seats.iter().position(|&other| other == seat)) else { return };
        let others =
            committee.members.iter().enumerate().filter(|(_, member)| u32::from(member.shard) != block.block.shard);
        for (_, (_, member)) in others.enumerate().filter(|(i, _)| i % seats.len() == part) {
            self.out.push(Action::Send(member.candidate, Message::Block(travelling.clone())));
        }
    }

    pub(super) fn as_it_travels(&self, block: &Arc<CertifiedBlock>) -> Arc<CertifiedBlock> {
        if self.execution.quilt_mode() {
            Arc::new(CertifiedBlock { items: Items::default(), ..(**block).clone() })
        } else {
            block.clone()
        }
    }

    /// In quilt mode the items go to who keeps them, once their block is final.
    fn spread_items(&mut self, slot: u64) {
        let Some(block) =
            self.shard.as_ref().and_then(|round| round.certified.clone()).filter(|_| self.execution.quilt_mode())
        else {
            return;
        };
        let seats = &self.master.committee.shards[block.block.shard as usize];
        let Some(part) = self.seat().and_then(|seat| seats.iter().position(|&other| other == seat)) else { return };
        self.custody.spread(&self.execution, &block, slot, (part, seats.len()));
    }

    fn finish(&mut self, now_ms: u64, decided: &Arc<Final>, blocks: &[Option<Arc<CertifiedBlock>>]) {
        let there: Vec<_> = blocks.iter().flatten().map(|block| self.as_it_travels(block)).collect();
        self.out.push(Action::Finalized(decided.clone(), there.clone()));
        // The certificate alone: most have the shard-blocks, and who lacks them asks.
        self.out.push(Action::Gossip(Message::Final(decided.clone(), Vec::new())));
        self.finals.keep((decided.clone(), there));
        if let Some(high) = &self.master.durable.high {
            self.forks.keep(high.certified());
        }
        let mut duties = Vec::new();
        if let Some(round) = &self.shard {
            let attest = round.attest(&*self.signing);
            duties.extend(attest.map(|attest| Record::Attest(Box::new(attest)).item()));
        }
        let committee = self.master.committee.clone();
        let stakers = self.execution.system().stakers.clone();
        if !planted(Mutation::FinalNotApplied) {
            self.execution.apply(&decided.value, blocks);
        }
        let system = self.execution.system();
        assert_eq!(system.height, self.master.height, "a height that is final is the one that was pending");
        assert!(system.hash == decided.hash, "the state is that of the block that was decided");
        let system = self.execution.system();
        self.silence.heard_final(self.minting, system.height, system.slot, decided.attempt / 2);
        self.forks.forget(self.execution.system());
        self.learn_keys(&stakers);
        self.begins_slot = (decided.attempt / 2).max(self.execution.system().slot) + 1;
        self.claims.reached(self.master.height, &self.execution.system().committee);
        self.claims.decided(self.master.height, decided.attempt / 2, self.schedule.slot(now_ms));
        self.shard = None;
        self.accused.clear();
        let ahead = self.resumed.height == self.execution.system().height + 1;
        let durable = if ahead { self.resumed.locked.clone() } else { Locked::default() };
        self.master = master_round(self.chain, &self.execution, self.candidate, durable);
        self.master.seat = self.master.seat.filter(|_| self.minting);
        let mut out = CustodyOut::default();
        self.custody.finish(&mut self.execution, self.candidate, &committee, blocks, &mut out);
        self.act_on_custody(out);
        duties.extend(self.answer());
        duties.into_iter().for_each(|item| self.bring(item));
        self.tell_proofs();
    }

    /// Those who were told of an offence need not mint again as long as it may be punished. Who had a seat beside the
    /// offender, or has one now, tells everyone; of all others, who may be thousands, each tells a few.
    fn tell_proofs(&mut self) {
        let (system, committee) = (self.execution.system(), self.master.committee.clone());
        let seated = committee.seat_of(self.candidate).is_some();
        let witness = |height: u64| system.was_seated(height, self.candidate);
        let mut told = Vec::new();
        for item in weightiest_first(system, self.execution.proofs()).into_iter().take(PROOFS_TOLD_MAX) {
            let record = Record::of_item(&item).expect("a proof against a minter is a record");
            told.push((item, seated || record.evident_at().is_some_and(witness)));
        }
        assert!(told.len() <= PROOFS_TOLD_MAX, "{} proofs are told at once", told.len());
        for (item, everyone) in told {
            if everyone {
                self.tell_committee(&Message::Item(item));
                continue;
            }
            // Another few of each teller, and at each height.
            let lots = [&committee.height.to_le_bytes()[..], &self.candidate.to_le_bytes()].concat();
            let lots = keyed(&item.id(), &lots);
            let lots = lots.as_chunks::<{ 32 / STRANGER_TELLS }>().0.iter().map(|lot| u64::from_le_bytes(*lot));
            let places: BTreeSet<usize> = lots.map(|lot| (lot % committee.len().max(1) as u64) as usize).collect();
            let whom = places.iter().filter_map(|&place| committee.members.get(place));
            self.out.extend(whom.map(|member| Action::Send(member.candidate, Message::Item(item.clone()))));
        }
    }

    /// Everyone who may vote or be drawn, by its key: those of whom nothing was known before this height.
    fn learn_keys(&self, before: &Stakers) {
        let stakers = &self.execution.system().stakers;
        stakers.changed_since(before).into_iter().for_each(|(&candidate, staker)| {
            if !before.contains_key(&candidate) {
                self.signing.learn(candidate, &staker.key);
            }
        });
    }

    /// "I am in", if this node was drawn.
    fn answer(&self) -> Option<Item> {
        let system = self.execution.system();
        if !self.minting || !system.drawn.contains(&self.candidate) || system.barred.contains_key(&self.candidate) {
            return None;
        }
        let height = system.height + 2;
        let answer = self.signing.sign(&Answer::seed_digest(&self.chain, height));
        let (drawn_by, endpoint) = (system.hash, self.execution.endpoint());
        let mut answer = Answer { height, candidate: self.candidate, drawn_by, endpoint, answer, signature: [0; 48] };
        answer.signature = self.signing.sign(&answer.digest(&self.chain));
        Some(Record::Answer(Box::new(answer)).item())
    }

    /// After a start: the node may have been drawn before it went down.
    pub fn resume(&mut self) -> Vec<Action> {
        if let Some(item) = self.answer() {
            self.bring(item);
        }
        self.take()
    }

    /// Items of others' shard-blocks may have so many bytes of memory.
    pub fn bound_others(&mut self, bytes: usize) {
        self.custody.bound(bytes);
    }

    /// Items of shard-blocks that an earlier process of this node kept.
    pub fn remember_items(&mut self, block: Hash, height: u64, items: Items) {
        if self.execution.quilt_mode() {
            self.custody.keep(block, height, items);
        }
    }
}

fn master_round<E: Execution>(chain: Hash, execution: &E, candidate: u32, durable: Locked) -> MasterRound {
    let system = execution.system();
    let committee = system.committee.clone();
    let seat = committee.seat_of(candidate).filter(|&seat| committee.is_delegate(seat));
    MasterRound::new(chain, system.height + 1, committee, seat, system.seed, durable)
}
