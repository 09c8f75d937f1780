//! One node's consensus: runs shard round and master round by the clock, keeps the signed-once record, follows what
//! others made final, and catches up.
//!
//! ```text
//!   tick(now), handle(now, from, message), persisted(now, ticket)   ──►   Actions
//! ```
//!
//! Nothing is signed in a slot before the record that reserves the slot is durable; no second vote before its lock is.
//! After a crash the node is silent for what it cannot know whether it said it: see [`super::silence`].

use super::custody::{Custody, CustodyOut, Watch};
use super::early::Early;
use super::finals::{Finals, KeptFinal};
use super::master::{Locked, MasterAction, MasterInput, MasterRound, Vote};
use super::shard::{RoundContext, ShardRound, To};
use super::signed_once::SignedOnce;
use super::silence::Silence;
use crate::base::hash::Hash;
use crate::base::ids::Seat;
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::{CertifiedBlock, Final};
use crate::chain::record::{Answer, Record};
use crate::committee::schedule::{Schedule, Step};
use crate::messages::message::{Message, ShardMessage};
use crate::rules::execution::Execution;
use crate::transaction::item::{Item, Items};
use crate::vote::signing::{Claim, Signing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Messages of one sender that are verified with others' at a time.
const CLAIMS_MAX: usize = 4;
/// Of a slot, how late a step may still be taken, in parts of a thousand.
const LATE_PER_MILLE: u64 = 50;

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
    /// A shard-block of ours is certified: the first finality checkpoint.
    Certified(Arc<CertifiedBlock>),
    /// The transactions of a final shard-block are here and make its patch: the third, in quilt mode.
    Checked(u64, Hash),
    /// A height is final: the second. With its shard-blocks as they travel.
    Finalized(Arc<Final>, Vec<Arc<CertifiedBlock>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Reserve(u64),
    /// Of a height and attempt.
    Lock(u64, u64),
}

/// A node's consensus.
pub struct Minter<E, S> {
    chain: Hash,
    schedule: Schedule,
    candidate: u32,
    /// State and pool.
    pub execution: E,
    signing: S,
    master: MasterRound,
    shard: Option<ShardRound>,
    /// Height of the last shard round that was begun.
    round_begun: u64,
    /// The pending height has its first slot after the one in which the height before became final.
    begins_slot: u64,
    /// The slot that was last asked to be reserved.
    asked_slot: u64,
    next_step: (u64, usize),
    /// For what an earlier process may have signed.
    silence: Silence,
    reserved_slot: u64,
    tickets: u64,
    pending: VecDeque<(u64, Pending)>,
    finals: Finals,
    minting: bool,
    custody: Custody,
    early: Early,
    /// What an earlier process of this node had locked, at a height that may still be ahead.
    resumed: SignedOnce,
    /// Who was accused at the pending height.
    accused: BTreeSet<u32>,
    /// The last height of which the value was computed before it was asked for.
    foreseen: u64,
    asked_ms: u64,
    out: Vec<Action>,
}

impl<E: Execution, S: Signing> Minter<E, S> {
    /// A node that starts at the execution's height, with what an earlier process of it recorded.
    pub fn new(
        chain: Hash,
        schedule: Schedule,
        candidate: u32,
        execution: E,
        signing: S,
        record: SignedOnce,
        now_ms: u64,
    ) -> Minter<E, S> {
        let height = execution.system().height + 1;
        let kept = record.height == height && !planted(Mutation::LockNotDurable);
        let durable = if kept { record.locked.clone() } else { Locked::default() };
        let master = master_round(chain, &execution, candidate, durable);
        execution.system().stakers.iter().for_each(|(&candidate, staker)| signing.learn(candidate, &staker.key));
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
            asked_slot: 0,
            next_step: (schedule.slot(now_ms) + 1, 0),
            silence: Silence::after(&record, schedule.slot(now_ms)),
            reserved_slot: 0,
            tickets: 0,
            pending: VecDeque::new(),
            finals: Finals::default(),
            minting: true,
            custody: Custody::default(),
            early: Early::default(),
            resumed: record.clone(),
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

    /// The agreement of the pending height, to look at.
    pub fn master(&self) -> &MasterRound {
        &self.master
    }

    /// Whether the node has a seat at the pending height.
    pub fn seated(&self) -> bool {
        self.seat().is_some()
    }

    /// The own seat at the pending height, delegate or not.
    fn seat(&self) -> Option<Seat> {
        self.master.committee.seat_of(self.candidate).filter(|_| self.minting)
    }

    /// The own shard's round at the pending height, once its set is closed.
    pub fn round(&self) -> Option<&ShardRound> {
        self.shard.as_ref().filter(|round| round.height == self.master.height)
    }

    /// Final blocks from before the start, to help those who catch up.
    pub fn remember_finals(&mut self, finals: impl Iterator<Item = KeptFinal>) {
        self.finals.remember(finals);
        let system = self.execution.system();
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
        self.next_step.0 * self.schedule.slot_ms + Step::ALL[self.next_step.1].at(&self.schedule)
    }

    /// Whether the node mints if it has a seat. One that must not, by its clock or since it is about to stop, follows.
    pub fn set_minting(&mut self, minting: bool) {
        if self.minting != minting {
            self.minting = minting;
            self.silence.start_again();
            self.master.seat = self.seat().filter(|&seat| self.master.committee.is_delegate(seat));
        }
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    fn persist(&mut self, pending: Pending) {
        self.tickets += 1;
        let reserved_slot = match pending {
            Pending::Reserve(slot) => slot,
            // The reservation that is under way is not undone by a lock that overtakes it.
            Pending::Lock(..) => self.asked_slot.max(self.silence.slot),
        };
        // While the node is behind where it was locked, that lock stays to be remembered: what is behind it is final.
        let ahead = self.resumed.height > self.master.height;
        let (height, locked) = match ahead {
            true => (self.resumed.height, self.resumed.locked.clone()),
            false => (self.master.height, self.master.durable.clone()),
        };
        assert!(reserved_slot >= self.asked_slot, "no record takes back a slot that was reserved");
        assert!(self.pending.back().is_none_or(|last| last.0 < self.tickets), "tickets ascend");
        let record = SignedOnce { height, reserved_slot, unsure: self.silence.is_unsure(), locked };
        self.pending.push_back((self.tickets, pending));
        self.out.push(Action::Persist(self.tickets, record));
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        // A clock that was ahead and was set right: what was signed in slots to come is not again, see `asked_slot`.
        let next_slot = self.schedule.slot(now_ms) + 1;
        self.silence.pass(next_slot - 1);
        if self.next_step.0 > next_slot {
            self.next_step = (next_slot, 0);
        }
        while self.wake_at_ms() <= now_ms {
            let (due_ms, slot, step) = (self.wake_at_ms(), self.next_step.0, Step::ALL[self.next_step.1]);
            self.next_step =
                if self.next_step.1 + 1 < Step::ALL.len() { (slot, self.next_step.1 + 1) } else { (slot + 1, 0) };
            // A slot can be begun until something is to be said in it: who is late once does not miss it whole.
            let late_max_ms = if step == Step::Begin {
                self.schedule.sets_ms
            } else {
                self.schedule.slot_ms * LATE_PER_MILLE / 1_000
            };
            if now_ms - due_ms <= late_max_ms {
                self.step(now_ms, slot, step);
            }
        }
        self.take()
    }

    fn step(&mut self, now_ms: u64, slot: u64, step: Step) {
        let attempt = self.schedule.attempt(now_ms);
        if step == Step::Begin {
            self.step_master(MasterInput::NewSlot(attempt));
            if !self.seated() || self.master.decided.is_some() || self.silence.is_unsure() {
                // Who does not mint follows; one who hears nothing asks.
                self.out.push(Action::Gossip(Message::WantFinal(self.master.height)));
            }
        }
        self.look(step, now_ms);
        let Some(seat) = self.seat() else { return };
        let silent = self.silence.covers(slot, self.master.height);
        if slot < self.begins_slot || silent || self.master.decided.is_some() {
            return;
        }
        if self.asked_slot < slot {
            self.asked_slot = slot;
            self.persist(Pending::Reserve(slot));
        }
        if self.reserved_slot != slot {
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
            self.spread_items();
        }
        self.settle(now_ms);
    }

    /// The own set is closed: the shard's round begins.
    fn begin_round(&mut self, now_ms: u64, slot: u64, seat: Seat) -> Vec<(To, ShardMessage)> {
        let (height, committee) = (self.master.height, self.master.committee.clone());
        assert!(self.round_begun < height, "a shard's round is begun once a height");
        assert!(self.reserved_slot == slot && slot > self.silence.slot, "nothing is signed in a slot not reserved");
        self.round_begun = height;
        let shard = committee.members[usize::from(seat)].shard;
        let mut round = ShardRound::new(height, slot, shard, seat, &committee, self.execution.system().seed);
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &self.signing };
        let mut said = Vec::new();
        round.close(&context, self.execution.waiting(usize::from(shard)), &mut said);
        self.shard = Some(round);
        self.replay_early(now_ms);
        said
    }

    /// A later step of the round that was begun in this slot.
    fn step_round(&mut self, slot: u64, step: Step) -> Vec<(To, ShardMessage)> {
        let mut said = Vec::new();
        let Some(round) = self.shard.as_mut().filter(|round| round.slot == slot) else { return said };
        let committee = self.master.committee.clone();
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &self.signing };
        match step {
            Step::Lists => round.list(&context, &mut said),
            Step::Decide => round.decide(&context, &mut said),
            Step::Vote => {
                let shard = usize::from(round.shard);
                if let Some(items) = round.union(|item| self.execution.sound(shard, item)) {
                    let built = self.execution.build(shard, slot, &items);
                    let hash = round.vote(&context, &built, &mut said);
                    self.custody.keep(hash, self.master.height, built.items.clone());
                    self.out.push(Action::Keep(hash, self.master.height, built.items.clone()));
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

    fn say_in_shard(&mut self, said: Vec<(To, ShardMessage)>) {
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

    fn act(&mut self, actions: Vec<MasterAction>) {
        for action in actions {
            match action {
                MasterAction::Say(message) => self.tell_committee(&message),
                MasterAction::Tell(seat, message) => {
                    self.out.push(Action::Send(self.master.committee.members[usize::from(seat)].candidate, message));
                }
                MasterAction::Lock(attempt) => self.persist(Pending::Lock(self.master.height, attempt)),
            }
        }
    }

    fn tell_committee(&mut self, message: &Message) {
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
                Pending::Reserve(slot) => self.reserved_slot = self.reserved_slot.max(slot),
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
    pub fn submit(&mut self, item: &Arc<Item>) {
        self.execution.admit(item);
    }

    /// Verifies what these messages of candidates' nodes claim, all at once, before each is handled by itself.
    pub fn verify_ahead<'m>(&self, messages: impl Iterator<Item = (u32, &'m Message)>) {
        let (height, committee, system) = (self.master.height, &self.master.committee, self.execution.system());
        let own_shard = self.seat().map(|seat| committee.members[usize::from(seat)].shard);
        let mut claims = Vec::new();
        let mut claims_of: BTreeMap<u32, usize> = BTreeMap::new();
        for (from, message) in messages {
            let seat = committee.seat_of(from);
            let of_shard = |shard: u16| seat.is_some_and(|seat| committee.members[usize::from(seat)].shard == shard);
            let delegate = seat.is_some_and(|seat| committee.is_delegate(seat));
            // Nothing that would not be heard, and of each so many as an honest one says at once.
            let asked = match message {
                Message::Shard { height: of, shard, .. } => {
                    *of == height && Some(*shard) == own_shard && of_shard(*shard)
                }
                Message::First { value, .. } => value.height == height && delegate,
                Message::Second { height: of, .. } => *of == height && delegate,
                Message::Item(item) => match Record::of_item(item) {
                    Some(Record::Answer(answer)) => {
                        answer.candidate == from && answer.height == system.height + 2 && system.drawn.contains(&from)
                    }
                    _ => false,
                },
                _ => false,
            };
            let count = claims_of.entry(from).or_insert(0);
            *count += usize::from(asked);
            if asked && *count <= CLAIMS_MAX {
                Claim::of_message(&self.chain, from, message, &mut claims);
            }
        }
        self.signing.foresee(&claims);
    }

    /// A message has come from a candidate's node.
    pub fn handle(&mut self, now_ms: u64, from: u32, message: Message) -> Vec<Action> {
        self.hear(now_ms, from, message);
        self.settle(now_ms);
        self.take()
    }

    /// Messages that came before their time are heard now.
    fn replay_early(&mut self, now_ms: u64) {
        for (from, message) in self.early.take() {
            self.hear(now_ms, from, message);
        }
    }

    /// Keeps a message for later if it is of the height after this one or of a round not yet begun, and of someone who
    /// may mint it; asks who is ahead.
    fn keep_early(&mut self, now_ms: u64, from: u32, height: u64, message: Message) {
        let near = height == self.master.height + 1 || height == self.master.height;
        let minter = self.master.committee.seat_of(from).is_some() || self.execution.system().drawn.contains(&from);
        if near && minter {
            self.early.keep(from, message);
        }
        if height > self.master.height && now_ms >= self.asked_ms + self.schedule.slot_ms / 10 {
            self.asked_ms = now_ms;
            self.out.push(Action::Send(from, Message::WantFinal(self.master.height)));
        }
    }

    /// Nothing is signed outside of a slot that is reserved.
    fn mind_slot(&mut self, now_ms: u64) {
        let slot = self.schedule.slot(now_ms);
        self.master.may_sign = self.reserved_slot == slot && slot > self.silence.slot;
    }

    /// A shard-block from elsewhere: one that is ahead of the clock is not held.
    fn take_block(&mut self, now_ms: u64, block: &Arc<CertifiedBlock>) -> bool {
        block.block.slot <= self.schedule.slot(now_ms) + 1
            && self.master.take_block(&mut self.execution, &self.signing, block)
    }

    /// Hears a message: one that is ahead of the pending height, or of a round not yet begun, waits.
    fn hear(&mut self, now_ms: u64, from: u32, message: Message) {
        self.mind_slot(now_ms);
        let pending = self.master.height;
        if let Some(height) = message.height() {
            let begun = height < pending || self.round_begun >= height || !matches!(message, Message::Shard { .. });
            if height > pending || !begun {
                return self.keep_early(now_ms, from, height, message);
            }
        }
        match message {
            Message::Item(item) => self.execution.admit(&item),
            Message::Shard { height, slot, shard, message } => self.hear_in_shard(from, (height, slot, shard), message),
            Message::Block(block) => {
                self.take_block(now_ms, &block);
            }
            Message::WantBlocks(height, wanted) => {
                if height == pending {
                    let blocks: Vec<_> = self.master.blocks(&wanted).cloned().collect();
                    self.out.extend(blocks.into_iter().map(|block| Action::Send(from, Message::Block(block))));
                } else if height < pending {
                    self.tell_final(from, height);
                }
            }
            Message::Have { .. } | Message::Proposal { .. } | Message::First { .. } | Message::Second { .. } => {
                self.hear_in_committee(now_ms, from, message);
            }
            Message::Final(decided, blocks) => {
                if decided.value.height == pending {
                    self.hear_final(from, &decided, &blocks);
                }
            }
            Message::WantFinal(height) => self.tell_final(from, height),
            Message::WantBodies(block) => {
                if let Some(items) = self.custody.kept(&block) {
                    self.out.push(Action::Send(from, Message::Bodies(block, items.clone())));
                }
            }
            Message::Bodies(block, items) => {
                let mut out = CustodyOut::default();
                self.custody.hear_bodies(&mut self.execution, from, block, items, &mut out);
                self.act_on_custody(out);
            }
            Message::Alarm(candidate, attest, signature) => {
                self.watch(|custody, watch, _, _| custody.hear_alarm(watch, (candidate, &attest, signature)));
            }
            Message::NotServed(height, block, signature) => self.watch(|custody, watch, _, out| {
                custody.hear_not_served(watch, from, (height, block, signature), out);
            }),
        }
    }

    /// Of the own shard's round, if it is that round and the speaker has a seat.
    fn hear_in_shard(&mut self, from: u32, (height, slot, shard): (u64, u64, u16), message: ShardMessage) {
        let Some(seat) = self.master.committee.seat_of(from) else { return };
        let of_round = |round: &&mut ShardRound| (round.height, round.slot, round.shard) == (height, slot, shard);
        let Some(round) = self.shard.as_mut().filter(of_round) else { return };
        let mut said = Vec::new();
        let committee = self.master.committee.clone();
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &self.signing };
        round.handle(&context, seat, message, &mut said);
        self.say_in_shard(said);
    }

    /// Of the master round: only delegates are heard.
    fn hear_in_committee(&mut self, now_ms: u64, from: u32, message: Message) {
        let pending = self.master.height;
        let now = self.schedule.attempt(now_ms);
        let member = self.master.committee.seat_of(from);
        let Some(seat) = member.filter(|&seat| self.master.committee.is_delegate(seat)) else {
            if let Message::Have { height, .. } = message {
                self.tell_final(from, height);
            }
            return;
        };
        match message {
            Message::Have { height, attempt, held, high } if height == pending => {
                self.step_master(MasterInput::HeardHave(seat, attempt, &held, high.as_ref()));
            }
            // Who still asks about an old height has missed its end.
            Message::Have { height, .. } => self.tell_final(from, height),
            Message::Proposal { attempt, value, prepared, signature } => {
                self.step_master(MasterInput::HeardProposal(seat, attempt, (value, prepared, signature), now));
            }
            Message::First { attempt, value, justified_by, signature } => {
                let vote = Vote { attempt, hash: value.hash(), justified_by, signature };
                self.step_master(MasterInput::HeardFirst(seat, vote, value, now));
            }
            Message::Second { height, attempt, hash, signature } if height == pending => {
                let vote = Vote { attempt, hash, justified_by: 0, signature };
                self.step_master(MasterInput::HeardSecond(seat, vote, now));
            }
            _ => {}
        }
    }

    /// A final certificate of the pending height, perhaps with its shard-blocks.
    fn hear_final(&mut self, from: u32, decided: &Arc<Final>, blocks: &[Arc<CertifiedBlock>]) {
        self.step_master(MasterInput::HeardFinal(decided));
        let Some(decided) = self.master.decided.clone() else { return };
        for block in blocks {
            self.master.take_block(&mut self.execution, &self.signing, block);
        }
        if self.master.blocks_of(&decided.value).is_none() {
            self.out.push(Action::Send(from, Message::WantFinal(self.master.height)));
        }
    }

    fn step_master(&mut self, input: MasterInput<'_>) {
        let actions = self.master.step(&mut self.execution, &self.signing, input);
        self.act(actions);
    }

    /// Lets the custody see and do.
    fn watch(&mut self, with: impl FnOnce(&mut Custody, &Watch<'_, S>, &E, &mut CustodyOut)) {
        let committee = self.master.committee.clone();
        let watch =
            Watch { chain: &self.chain, candidate: self.candidate, committee: &committee, signing: &self.signing };
        let mut out = CustodyOut::default();
        with(&mut self.custody, &watch, &self.execution, &mut out);
        self.act_on_custody(out);
    }

    fn look(&mut self, step: Step, now_ms: u64) {
        self.watch(|custody, watch, execution, out| custody.step(watch, execution, step, out));
        self.settle(now_ms);
    }

    fn act_on_custody(&mut self, out: CustodyOut) {
        self.out.extend(
            out.sends
                .into_iter()
                .filter(|send| send.0 != self.candidate)
                .map(|(to, message)| Action::Send(to, message)),
        );
        out.says.iter().for_each(|message| self.tell_committee(message));
        self.out.extend(out.checked.into_iter().map(|(height, block)| Action::Checked(height, block)));
        for item in out.proofs {
            self.execution.admit(&item);
            self.tell_committee(&Message::Item(item));
        }
    }

    fn tell_final(&mut self, to: u32, height: u64) {
        if let Some((decided, blocks)) = self.finals.of(height) {
            self.out.push(Action::Send(to, Message::Final(decided.clone(), blocks.clone())));
        }
    }

    /// What follows from what was just heard: a certified shard-block is passed on, evidence becomes an item, a decided
    /// height whose blocks are all here is applied.
    fn settle(&mut self, now_ms: u64) {
        let mut evidence = self.master.take_evidence();
        let mut certified = None;
        if let Some(round) = &mut self.shard {
            evidence.append(&mut round.evidence);
            certified = round.certified.clone().filter(|_| round.height == self.master.height);
        }
        if let Some(block) = certified
            && self.take_block(now_ms, &block)
        {
            self.out.push(Action::Certified(block.clone()));
            self.spread(&block);
        }
        for evidence in evidence {
            if !self.accused.insert(evidence.candidate) {
                continue;
            }
            let item = Record::Fraud(Box::new(evidence)).item();
            self.execution.admit(&item);
            self.tell_committee(&Message::Item(item));
        }
        while let Some(decided) = self.master.decided.clone()
            && let Some(blocks) = self.master.blocks_of(&decided.value)
        {
            self.finish(&decided, &blocks);
            self.replay_early(now_ms);
        }
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

    fn as_it_travels(&self, block: &Arc<CertifiedBlock>) -> Arc<CertifiedBlock> {
        if self.execution.quilt_mode() {
            Arc::new(CertifiedBlock { items: Items::default(), ..(**block).clone() })
        } else {
            block.clone()
        }
    }

    /// In quilt mode the items go to who keeps them, when the line has nothing else to carry.
    fn spread_items(&mut self) {
        let Some(block) =
            self.shard.as_ref().and_then(|round| round.certified.clone()).filter(|_| self.execution.quilt_mode())
        else {
            return;
        };
        let seats = &self.master.committee.shards[block.block.shard as usize];
        let Some(part) = self.seat().and_then(|seat| seats.iter().position(|&other| other == seat)) else { return };
        let mut out = CustodyOut::default();
        self.custody.spread(&self.execution, &block, part, seats.len(), &mut out);
        self.act_on_custody(out);
    }

    fn finish(&mut self, decided: &Arc<Final>, blocks: &[Option<Arc<CertifiedBlock>>]) {
        let there: Vec<_> = blocks.iter().flatten().map(|block| self.as_it_travels(block)).collect();
        self.out.push(Action::Finalized(decided.clone(), there.clone()));
        // The certificate alone: most have the shard-blocks, and who lacks them asks.
        self.out.push(Action::Gossip(Message::Final(decided.clone(), Vec::new())));
        self.finals.keep((decided.clone(), there));
        let mut duties = Vec::new();
        if let Some(round) = &self.shard {
            let attest = round.attest(&self.signing);
            duties.extend(attest.map(|attest| Record::Attest(Box::new(attest)).item()));
        }
        let committee = self.master.committee.clone();
        if !planted(Mutation::FinalNotApplied) {
            self.execution.apply(&decided.value, blocks);
        }
        let system = self.execution.system();
        assert_eq!(system.height, self.master.height, "a height that is final is the one that was pending");
        assert!(system.hash == decided.hash, "the state is that of the block that was decided");
        self.silence.heard_final(self.minting, self.execution.system().slot);
        self.learn_keys();
        self.begins_slot = (decided.attempt / 2).max(self.execution.system().slot) + 1;
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
        for item in duties {
            self.execution.admit(&item);
            self.tell_committee(&Message::Item(item));
        }
    }

    /// Everyone who may vote or be drawn, by its key.
    fn learn_keys(&self) {
        self.execution
            .system()
            .stakers
            .iter()
            .for_each(|(&candidate, staker)| self.signing.learn(candidate, &staker.key));
    }

    /// "I am in", if this node was drawn.
    fn answer(&self) -> Option<Arc<Item>> {
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
            self.execution.admit(&item);
            self.tell_committee(&Message::Item(item));
        }
        self.take()
    }

    /// Items of shard-blocks that an earlier process of this node kept.
    pub fn remember_items(&mut self, block: Hash, height: u64, items: Items) {
        self.custody.keep(block, height, items);
    }
}

fn master_round<E: Execution>(chain: Hash, execution: &E, candidate: u32, durable: Locked) -> MasterRound {
    let system = execution.system();
    let committee = system.committee.clone();
    let seat = committee.seat_of(candidate).filter(|&seat| committee.is_delegate(seat));
    MasterRound::new(chain, system.height + 1, committee, seat, system.seed, durable)
}
