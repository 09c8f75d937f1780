//! What a node hears. Who may say a thing is asked first, whether it is known already second, how much its sender has
//! cost in this slot third; only then is anything verified, and what does not hold costs its sender the connection.
//!
//! ```text
//!   message ──► sender heard? ──► its time? ──► his right? ──► new? ──► allowance left? ──► verified
//!                liars are not     else kept     else useless   else idle   else useless      else an offence
//! ```

use super::allowance::{Offence, Work, question_of_hash, question_of_height};
use super::custody::{Custody, CustodyOut, Watch};
use super::master::{MasterInput, Taken, Vote, is_timely};
use super::minter::{Action, Minter, REPLAY_EACH_MS};
use super::shard::{RoundContext, ShardRound};
use crate::base::hash::Hash;
use crate::chain::block::{CertifiedBlock, Final};
use crate::chain::record::{Alarms, Record};
use crate::messages::message::{Message, ShardMessage};
use crate::rules::execution::Execution;
use crate::transaction::item::Items;
use crate::vote::signing::{Claim, Signing};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Messages of one sender that are verified with others' at a time.
const CLAIMS_MAX: usize = 4;
/// Messages that waited for their time and are heard at a time; what comes now is heard between.
const REPLAYED_AT_ONCE: usize = 16;

impl<E: Execution, S: Signing> Minter<E, S> {
    /// Verifies what these messages of candidates' nodes claim, all at once, before each is handled by itself. Whoever
    /// spoils that is left out of it while the slot lasts: what is handled by itself costs the others nothing.
    pub fn verify_ahead<'m>(&mut self, now_ms: u64, messages: impl Iterator<Item = (u32, &'m Message)>) {
        self.allowance.mind_slot(self.schedule.slot(now_ms));
        let now = self.schedule.attempt(now_ms);
        let mut claims = Vec::new();
        let mut claims_of: BTreeMap<u32, usize> = BTreeMap::new();
        for (from, message) in messages {
            let among = self.allowance.hears(from) && self.allowance.is_verified_among_others(from);
            // Nothing that would not be verified, and of each so many as an honest one says at once.
            let asked = among && self.would_verify(now, from, message);
            let count = claims_of.entry(from).or_insert(0);
            *count += usize::from(asked);
            if asked && *count <= CLAIMS_MAX {
                Claim::of_message(&self.chain, from, message, &mut claims);
            }
        }
        if self.signing.foresee(&claims) {
            return;
        }
        claims.sort_by_key(|claim| claim.candidate);
        for of_one in claims.chunk_by(|claim, next| claim.candidate == next.candidate) {
            let holds = match of_one {
                [claim] => self.signing.verify(claim.candidate, &claim.digest, &claim.signature),
                claims => self.signing.foresee(claims),
            };
            if !holds {
                self.allowance.leave_out(of_one[0].candidate);
            }
        }
    }

    /// Whether a message is signed and would be verified if it were handled in this attempt, as far as one can see
    /// without handling those before it.
    fn would_verify(&self, now: u64, from: u32, message: &Message) -> bool {
        let (height, system) = (self.master.height, self.execution.system());
        let delegate = self.master.committee.seat_of(from).filter(|_| self.is_delegate(from));
        match message {
            Message::Shard { height, slot, shard, message } => {
                let round = self.shard.as_ref().filter(|round| round.is_at(*height, *slot, *shard));
                let seat = self.master.committee.seat_of(from);
                round.zip(seat).is_some_and(|(round, seat)| round.wants(&self.master.committee, seat, message))
            }
            Message::First { attempt, value, justified_by, signature } => delegate.is_some_and(|seat| {
                let (attempt, justified_by, signature) = (*attempt, *justified_by, *signature);
                let vote = Vote { attempt, hash: value.hash(), justified_by, signature };
                self.master.wants_first(seat, now, &vote, value)
            }),
            Message::Second { height: of, attempt, hash, signature } => delegate.is_some_and(|seat| {
                let vote = Vote { attempt: *attempt, hash: *hash, justified_by: 0, signature: *signature };
                *of == height && self.master.wants_second(seat, now, &vote)
            }),
            Message::Item(item) => match Record::of_item(item) {
                Some(Record::Answer(answer)) => {
                    answer.candidate == from && answer.height == system.height + 2 && system.drawn.contains(&from)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// A message has come from a candidate's node.
    pub fn handle(&mut self, now_ms: u64, from: u32, message: Message) -> Vec<Action> {
        self.mind_clock(now_ms);
        let slot = self.schedule.slot(now_ms);
        self.allowance.mind_slot(slot);
        if !self.allowance.hears(from) {
            return self.take();
        }
        if let Some(height) = message.height() {
            self.claims.says_height(from, height, self.execution.system());
        }
        // While it comes: what has waited says nothing of the time now.
        if let Message::Have { height, attempt, .. } = &message
            && *height >= self.master.height
            && self.is_delegate(from)
        {
            self.claims.says_slot(from, attempt / 2, slot);
        }
        self.hear(now_ms, from, message);
        self.settle(now_ms);
        self.take()
    }

    /// Messages that came before their time are heard from now on.
    pub(super) fn release_early(&mut self, now_ms: u64) {
        self.early.release();
        self.replay_at_ms = now_ms;
    }

    /// Hears some of those.
    pub(super) fn replay(&mut self, now_ms: u64) {
        if !self.early.is_due() || now_ms < self.replay_at_ms {
            return;
        }
        self.allowance.mind_slot(self.schedule.slot(now_ms));
        let due: Vec<(u32, Message)> = std::iter::from_fn(|| self.early.next_due()).take(REPLAYED_AT_ONCE).collect();
        self.verify_ahead(now_ms, due.iter().map(|(from, message)| (*from, message)));
        for (from, message) in due {
            self.hear(now_ms, from, message);
            self.settle(now_ms);
        }
        self.replay_at_ms = now_ms + REPLAY_EACH_MS;
    }

    /// Somebody has done what no honest node does.
    pub(super) fn offends(&mut self, from: u32, offence: Offence) {
        if from != self.candidate && self.allowance.offends(from) {
            self.out.push(Action::Penalise(from, offence));
        }
    }

    /// Somebody has said at the pending height what it has no right to say, or more than anyone has to say.
    fn useless(&mut self, from: u32) {
        if self.allowance.useless(from) {
            self.offends(from, Offence::Flood);
        }
    }

    /// Whether a candidate votes in the master round of the pending height.
    fn is_delegate(&self, candidate: u32) -> bool {
        let committee = &self.master.committee;
        committee.seat_of(candidate).is_some_and(|seat| committee.is_delegate(seat))
    }

    /// Keeps a message for later: of the next height if its sender may mint it, of the pending one's round if it has a
    /// seat there. Asks who is ahead.
    fn keep_early(&mut self, now_ms: u64, from: u32, height: u64, message: Message) {
        let (pending, committee) = (self.master.height, &self.master.committee);
        let seated = committee.seat_of(from).is_some();
        let drawn = &self.execution.system().drawn;
        if (height == pending && seated) || (height == pending + 1 && (seated || drawn.contains(&from))) {
            self.early.keep(from, message, committee.len() + drawn.len());
        }
        if height > pending && now_ms >= self.asked_ms.saturating_add(self.schedule.slot_ms / 10) {
            self.asked_ms = now_ms;
            self.ask_final(from);
        }
    }

    fn ask_final(&mut self, whom: u32) {
        self.allowance.ask(whom);
        self.out.push(Action::Send(whom, Message::WantFinal(self.master.height)));
    }

    /// Whether a shard-block is of a time to come by the own clock. What is decided is not: then the clock is behind,
    /// and who follows must not need it.
    fn is_to_come(&self, now_ms: u64, block: &CertifiedBlock) -> bool {
        let decided = || {
            let headers = self.master.decided.as_ref().map(|decided| &decided.value.headers);
            headers.is_some_and(|headers| headers.contains(&Some(block.listed_hash())))
        };
        block.block.slot > self.schedule.slot(now_ms) + 1 && !decided()
    }

    /// A shard-block: one that is ahead of the clock is not held.
    pub(super) fn take_block(&mut self, now_ms: u64, block: &Arc<CertifiedBlock>) -> Taken {
        if self.is_to_come(now_ms, block) {
            return Taken::Idle;
        }
        self.master.take_block(&mut self.execution, &*self.signing, block)
    }

    /// Hears a message: one that is ahead of the pending height, or of a round not yet begun, waits.
    fn hear(&mut self, now_ms: u64, from: u32, message: Message) {
        self.mind_slot(now_ms);
        if !self.allowance.hears(from) {
            return;
        }
        let pending = self.master.height;
        if let Some(height) = message.height() {
            let begun = height < pending || self.round_begun >= height || !matches!(message, Message::Shard { .. });
            if height > pending || !begun {
                return self.keep_early(now_ms, from, height, message);
            }
            if height < pending {
                match message {
                    // Who still says what it holds at an old height has missed its end.
                    Message::Have { .. } => self.tell_final(from, height),
                    Message::Final(decided, _) => self.hear_rival(from, &decided),
                    _ => {}
                }
                return;
            }
        }
        match message {
            Message::Item(item) => self.execution.admit(&item),
            Message::Shard { height, slot, shard, message } => self.hear_in_shard(from, (height, slot, shard), message),
            Message::Block(block) => self.hear_block(now_ms, from, &block),
            Message::WantBlocks(height, wanted) => self.tell_blocks(from, height, &wanted),
            Message::Have { .. } | Message::Proposal { .. } | Message::First { .. } | Message::Second { .. } => {
                self.hear_in_committee(now_ms, from, message);
            }
            Message::Final(decided, blocks) => self.hear_final(now_ms, from, &decided, &blocks),
            Message::WantFinal(height) => self.tell_final(from, height),
            Message::WantBodies(block, alarms) => self.tell_bodies(from, block, alarms.as_deref()),
            Message::Bodies(block, items) => self.hear_bodies(from, block, items),
            Message::Alarm(candidate, attest, signature) => self.watch(|custody, watch, _, out| {
                custody.hear_alarm(watch, from, (candidate, &attest, signature), out);
            }),
            Message::NotServed(height, block, signature) => self.watch(|custody, watch, _, out| {
                custody.hear_not_served(watch, from, (height, block, signature), out);
            }),
        }
    }

    /// Of the own shard's round, if it is that round and the speaker has a seat in it.
    fn hear_in_shard(&mut self, from: u32, (height, slot, shard): (u64, u64, u16), message: ShardMessage) {
        let committee = self.master.committee.clone();
        let of_round = |round: &&mut ShardRound| round.is_at(height, slot, shard);
        let Some(round) = self.shard.as_mut().filter(of_round) else { return };
        let seat = committee.seat_of(from).filter(|&seat| committee.members[usize::from(seat)].shard == shard);
        let Some(seat) = seat else { return self.useless(from) };
        let mut said = Vec::new();
        let context = RoundContext { chain: &self.chain, committee: &committee, signing: &*self.signing };
        let offence = round.handle(&context, seat, message, &mut said);
        self.say_in_shard(said);
        if let Some(offence) = offence {
            self.offends(from, offence);
        }
    }

    /// A shard-block of the pending height. Members send it, by themselves or asked; nobody else is asked.
    fn hear_block(&mut self, now_ms: u64, from: u32, block: &Arc<CertifiedBlock>) {
        if self.master.holds(&block.listed_hash()) || self.is_to_come(now_ms, block) {
            return;
        }
        let committee = &self.master.committee;
        if committee.seat_of(from).is_none() || !self.allowance.may(from, Work::Block, committee.shards.len()) {
            return self.useless(from);
        }
        self.take_block_of(now_ms, from, block);
    }

    /// Takes a block that somebody has sent; false if it is none, which costs the sender.
    fn take_block_of(&mut self, now_ms: u64, from: u32, block: &Arc<CertifiedBlock>) -> bool {
        // In quilt mode the items are nothing that consensus needs, or has looked at.
        let bare = if block.items.is_empty() { block.clone() } else { self.as_it_travels(block) };
        let good = self.take_block(now_ms, &bare) != Taken::False;
        if !good {
            self.offends(from, Offence::Block);
        }
        good
    }

    /// Of the master round: only delegates are heard.
    fn hear_in_committee(&mut self, now_ms: u64, from: u32, message: Message) {
        let now = self.schedule.attempt(now_ms);
        let committee = self.master.committee.clone();
        let seat = committee.seat_of(from).filter(|&seat| committee.is_delegate(seat));
        let Some(seat) = seat else {
            // Minters that are no delegates say what they hold as well.
            return if committee.seat_of(from).is_none() {
                self.useless(from)
            };
        };
        let (work, timely) = match &message {
            Message::Proposal { attempt, .. } | Message::First { attempt, .. } | Message::Second { attempt, .. } => {
                (Work::Vote, is_timely(now, *attempt))
            }
            _ => (Work::Have, true),
        };
        if !timely {
            return;
        }
        if !self.allowance.may(from, work, committee.shards.len()) {
            return self.useless(from);
        }
        match message {
            Message::Have { attempt, held, high, .. } => {
                let high = high.filter(|high| {
                    self.master.wants_prepared(high) && self.allowance.may(from, Work::Prepared, committee.shards.len())
                });
                self.step_master(MasterInput::HeardHave(seat, attempt, &held, high.as_ref()));
            }
            Message::Proposal { attempt, value, prepared, signature } => {
                self.step_master(MasterInput::HeardProposal(seat, attempt, (value, prepared, signature), now));
            }
            Message::First { attempt, value, justified_by, signature } => {
                let vote = Vote { attempt, hash: value.hash(), justified_by, signature };
                self.step_master(MasterInput::HeardFirst(seat, vote, value, now));
            }
            Message::Second { attempt, hash, signature, .. } => {
                let vote = Vote { attempt, hash, justified_by: 0, signature };
                self.step_master(MasterInput::HeardSecond(seat, vote, now));
            }
            _ => {}
        }
    }

    /// A final certificate of the pending height, perhaps with its shard-blocks: of those only what it lists is looked
    /// at.
    fn hear_final(&mut self, now_ms: u64, from: u32, decided: &Arc<Final>, blocks: &[Arc<CertifiedBlock>]) {
        if self.master.wants_final(decided) {
            let has_seat = self.master.committee.seat_of(from).is_some();
            if !self.allowance.may_final(from, has_seat) {
                return self.useless(from);
            }
            self.step_master(MasterInput::HeardFinal(decided));
            if self.master.decided.is_none() {
                return self.offends(from, Offence::Certificate);
            }
            self.allowance.final_held(from);
        }
        let Some(known) = self.master.decided.clone() else { return };
        if known.hash != decided.hash {
            return self.hear_rival(from, decided);
        }
        for block in blocks {
            let hash = block.listed_hash();
            let wanted = known.value.headers.contains(&Some(hash)) && !self.master.holds(&hash);
            if wanted && !self.take_block_of(now_ms, from, block) {
                return;
            }
        }
        if self.master.blocks_of(&known.value).is_none() {
            self.ask_final(from);
        }
    }

    /// A final certificate of a height that is decided here: looked at only if it convicts somebody, should it hold. Of
    /// who follows another chain, where other committees mint, nothing is.
    fn hear_rival(&mut self, from: u32, decided: &Final) {
        let (system, certified) = (self.execution.system(), decided.certified());
        let Some(committee) = system.committee_of_rival(decided).cloned() else { return };
        let has_seat = self.master.committee.seat_of(from).is_some();
        if self.forks.proofs(&certified, system).is_empty() || !self.allowance.may_final(from, has_seat) {
            return;
        }
        let digest = certified.0.digest(&self.chain);
        if decided.value.hash() != decided.hash || !certified.1.verify_master(&committee, &digest, &*self.signing) {
            return self.offends(from, Offence::Certificate);
        }
        self.keep_final(decided);
    }

    /// What is said to be the items of a shard-block.
    fn hear_bodies(&mut self, from: u32, block: Hash, items: Items) {
        let mut out = CustodyOut::default();
        self.custody.hear_bodies(&mut self.execution, self.candidate, (from, block, items), &mut out);
        self.act_on_custody(out);
    }

    /// Shard-blocks of the pending height for another member; what became final at an older one for anyone.
    fn tell_blocks(&mut self, to: u32, height: u64, wanted: &[Hash]) {
        if height < self.master.height {
            return self.tell_final(to, height);
        }
        if height > self.master.height || self.master.committee.seat_of(to).is_none() {
            return;
        }
        let blocks: Vec<_> = self.master.blocks(wanted).cloned().collect();
        for block in blocks {
            if self.allowance.may_answer(to, question_of_hash(b'b', &block.hash)) {
                self.out.push(Action::Send(to, Message::Block(block)));
            }
        }
    }

    fn tell_bodies(&mut self, to: u32, block: Hash, alarms: Option<&Alarms>) {
        if let Some(alarms) = alarms {
            self.watch(|custody, watch, _, out| custody.hear_asker(watch, to, (&block, alarms), out));
        }
        let Some(items) = self.custody.for_asker(&self.execution, to, &block) else { return };
        if self.allowance.may_answer(to, question_of_hash(b'i', &block)) {
            self.out.push(Action::Send(to, Message::Bodies(block, items.clone())));
        }
    }

    fn tell_final(&mut self, to: u32, height: u64) {
        if let Some((decided, blocks)) = self.finals.of(height)
            && self.allowance.may_answer(to, question_of_height(b'f', height))
        {
            self.out.push(Action::Send(to, Message::Final(decided.clone(), blocks.clone())));
        }
    }

    /// Lets the custody see and do.
    pub(super) fn watch(&mut self, with: impl FnOnce(&mut Custody, &Watch<'_, S>, &E, &mut CustodyOut)) {
        let committee = self.master.committee.clone();
        let watch = Watch {
            chain: &self.chain,
            candidate: self.candidate,
            committee: &committee,
            schedule: &self.schedule,
            signing: &*self.signing,
        };
        let mut out = CustodyOut::default();
        with(&mut self.custody, &watch, &self.execution, &mut out);
        self.act_on_custody(out);
    }

    pub(super) fn act_on_custody(&mut self, out: CustodyOut) {
        let CustodyOut { sends, says, proofs, checked, offences, useless } = out;
        let others = sends.into_iter().filter(|send| send.0 != self.candidate);
        self.out.extend(others.map(|(to, message)| Action::Send(to, message)));
        says.iter().for_each(|message| self.tell_committee(message));
        self.out.extend(checked.into_iter().map(|(height, block, items)| Action::Checked(height, block, items)));
        proofs.into_iter().for_each(|item| self.bring(item));
        offences.into_iter().for_each(|(from, offence)| self.offends(from, offence));
        useless.into_iter().for_each(|from| self.useless(from));
    }
}
