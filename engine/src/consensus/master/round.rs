//! The rules of the master round. Each arm of [`MasterRound::step`] is a row of the table in `docs/consensus.md`, "The
//! master round, state by state", where the argument stands too.
//!
//! Attempts are counted by the clock, two a slot. Timing matters to progress only: whatever the clocks say, two values
//! are never final at one height while at most B seats are Byzantine.

use super::held::Held;
use super::tally::{ATTEMPTS_KEPT, Tallies, Vote};
use crate::base::hash::Hash;
use crate::base::ids::{Seat, Sig};
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::{CertifiedBlock, Final, Prepared, Value};
use crate::committee::members::Committee;
use crate::committee::statement::{Certificate, Conflict, Evidence, Statement, StatementKind};
use crate::messages::message::Message;
use crate::rules::execution::Execution;
use crate::vote::signing::Signing;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far from what B + 1 others say a member may sign, or reserve a slot: a clock that was led astray must not use up
/// attempts to come.
const ATTEMPTS_NEAR: u64 = 8;

/// Pairs of certificates of one height that are told of: a few convict all who made them.
const CONFLICTS_MAX: usize = 8;

/// What must be durable before anything that rests on it is said.
#[derive(Clone, Debug, Default)]
pub struct Locked {
    /// Value and attempt of the lock.
    pub lock: Option<(Hash, u64)>,
    /// Highest certificate of first votes known whose shard-blocks are held.
    pub high: Option<Arc<Prepared>>,
    /// The shard-blocks of that value. After an outage of everyone there must be someone who has them: a certificate
    /// without its data would bind the committee to a block that nobody can vote for.
    pub blocks: Vec<Arc<CertifiedBlock>>,
}

/// A proposal: the value, what justifies it, and the signature.
pub type Proposed = (Arc<Value>, Option<Arc<Prepared>>, Sig);

/// What comes to the round: an instant of the schedule, something heard from a seat, or a lock that is durable now.
#[derive(Debug)]
pub enum MasterInput<'a> {
    /// A slot begins in this attempt.
    NewSlot(u64),
    /// It is time to say what is held.
    Have(u64),
    /// Try 0 of this attempt.
    Try0(u64),
    /// It is time to propose in this attempt.
    Propose(u64),
    /// Try 1 of this attempt.
    Try1(u64),
    /// A seat says which attempt it is in, what it holds, and its highest certificate.
    HeardHave(Seat, u64, &'a [Option<Hash>], Option<&'a Arc<Prepared>>),
    /// A seat proposes in an attempt; the own attempt is the last.
    HeardProposal(Seat, u64, Proposed, u64),
    /// A seat's first vote with its value; the own attempt is the last.
    HeardFirst(Seat, Vote, Arc<Value>, u64),
    /// The lock of an attempt is durable; the own attempt is the second.
    Durable(u64, u64),
    /// A seat's second vote; the own attempt is the last.
    HeardSecond(Seat, Vote, u64),
    /// A final certificate.
    HeardFinal(&'a Arc<Final>),
}

/// What the round wants done.
#[derive(Debug)]
pub enum MasterAction {
    /// Say it to the whole committee.
    Say(Message),
    /// Say it to one.
    Tell(Seat, Message),
    /// Make the lock of this attempt durable, then come back with [`MasterInput::Durable`].
    Lock(u64),
    /// This seat's statement does not bear its signature.
    FalseSignature(Seat),
    /// This seat has sent a certificate that is none: an honest one has made or verified what it sends.
    FalseCertificate(Seat),
}

/// What a shard-block is that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is held from now on.
    New,
    /// It is held already, one too many of its shard, or of another height: nothing was looked at.
    Idle,
    /// Its certificate is none, or it breaks a rule: no honest node holds it, and so none has sent it.
    False,
}

/// How a round stands, for who watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasterShown {
    /// Shards of which a block is held.
    pub shards_held: usize,
    /// Most first votes for one value in one attempt.
    pub firsts: usize,
    /// Different values that had first votes.
    pub values: usize,
    /// Most second votes for one value in one attempt.
    pub seconds: usize,
}

/// Whether an attempt that another names is near enough to the own one to be kept. It may be any number.
pub fn is_timely(now: u64, attempt: u64) -> bool {
    attempt.abs_diff(now) < ATTEMPTS_KEPT
}

/// The state of one node at one height; of a member if it has a seat.
///
/// Invariants, cited where they are kept:
///  1. A member signs at most one first vote an attempt, and none below the highest attempt that it has signed.
///  2. A second vote is said only once its lock is durable, with the certificate and its shard-blocks.
///  3. The highest certificate adopted has its shard-blocks here, and its attempt never falls.
pub struct MasterRound {
    /// Height at which the committee agrees on one master-block.
    pub height: u64,
    /// Minters of that height; only its delegates vote here.
    pub committee: Arc<Committee>,
    /// The own seat, if it votes here.
    pub seat: Option<Seat>,
    /// Durable: see [`Locked`].
    pub durable: Locked,
    /// The final certificate, once there is one.
    pub decided: Option<Arc<Final>>,
    /// Whether the slot is reserved: outside of it nothing is signed, whatever is heard.
    pub may_sign: bool,
    chain: Hash,
    seed: Hash,
    held: Held,
    tallies: Tallies,
    conflicts: Vec<Conflict>,
    conflicts_taken: usize,
    /// The highest certificate whose shard-blocks are not all here yet.
    without_data: Option<Arc<Prepared>>,
    /// The attempt that each other seat has said last that it is in.
    claimed: BTreeMap<Seat, u64>,
    proposals: BTreeMap<(u64, Seat), Proposed>,
    first_signed: u64,
    second_signed: u64,
    second_pending: Option<(u64, Hash)>,
    proposed: u64,
    /// A value that a quorum has made final and that does not follow from its blocks.
    refused: Option<Hash>,
}

/// How many others must say a thing for one of them to be honest, as far as a committee has so many.
pub fn others_needed(committee: &Committee) -> usize {
    (committee.byzantine_max() + 1).min(committee.delegates().saturating_sub(1))
}

impl MasterRound {
    /// The round of a height. `durable` is what an earlier process of this node has locked there.
    pub fn new(
        chain: Hash,
        height: u64,
        committee: Arc<Committee>,
        seat: Option<Seat>,
        seed: Hash,
        mut durable: Locked,
    ) -> MasterRound {
        let held = Held::new(committee.shards.len(), &durable.blocks);
        // Invariant 3 of what was recorded, too: a certificate whose blocks were left waits for them, the lock stays.
        let without_data = durable.high.take_if(|high| held.blocks_of(&high.value).is_none());
        let tallies = Tallies::new(height, committee.clone());
        MasterRound {
            height,
            committee,
            seat,
            durable,
            decided: None,
            may_sign: false,
            chain,
            seed,
            held,
            tallies,
            conflicts: Vec::new(),
            conflicts_taken: 0,
            without_data,
            claimed: BTreeMap::new(),
            proposals: BTreeMap::new(),
            first_signed: 0,
            second_signed: 0,
            second_pending: None,
            proposed: 0,
            refused: None,
        }
    }

    /// One input, by the rule of its row.
    pub fn step<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        input: MasterInput<'_>,
    ) -> Vec<MasterAction> {
        let mut out = Vec::new();
        let before = self.marks();
        match input {
            // Row 1.
            MasterInput::NewSlot(now) => self.new_slot(now),
            // Row 2.
            MasterInput::Have(attempt) => self.have(attempt, &mut out),
            // Row 3.
            MasterInput::HeardHave(from, attempt, held, high) => {
                self.hear_have(signing, from, attempt, held, high, &mut out);
            }
            // Row 4.
            MasterInput::Try0(attempt) => self.try_0(execution, signing, attempt, &mut out),
            // Row 5.
            MasterInput::Propose(attempt) => self.propose(execution, signing, attempt, &mut out),
            // Row 6.
            MasterInput::HeardProposal(from, attempt, proposed, now) => {
                self.hear_proposal(signing, (from, attempt, now), proposed, &mut out);
            }
            // Row 7.
            MasterInput::Try1(attempt) => self.try_1(execution, signing, attempt, &mut out),
            // Rows 8 and 9.
            MasterInput::HeardFirst(from, vote, value, now) => {
                if self.wants_first(from, now, &vote, &value) {
                    if self.signed(signing, StatementKind::First, from, &vote) {
                        self.count_first(signing, from, now, vote, value, &mut out);
                    } else {
                        out.push(MasterAction::FalseSignature(from));
                    }
                }
            }
            // Row 10.
            MasterInput::Durable(of, now) => self.locked(signing, of, now, &mut out),
            // Row 11.
            MasterInput::HeardSecond(from, vote, now) => {
                if self.wants_second(from, now, &vote) {
                    if self.signed(signing, StatementKind::Second, from, &vote) {
                        self.count_second(signing, from, vote, &mut out);
                    } else {
                        out.push(MasterAction::FalseSignature(from));
                    }
                }
            }
            // Row 12.
            MasterInput::HeardFinal(decided) => {
                if self.wants_final(decided) && self.final_holds(signing, decided) {
                    let high = self.durable.high.as_ref().map(|high| high.certified());
                    self.compare(high, decided.certified());
                    self.decided = Some(decided.clone());
                }
            }
        }
        self.assert_follows(before);
        out
    }

    /// Attempts that were signed, that of the highest certificate, and what is final.
    fn marks(&self) -> (u64, u64, u64, Option<Hash>) {
        let high = self.durable.high.as_ref().map_or(0, |high| high.attempt);
        (self.first_signed, self.second_signed, high, self.decided.as_ref().map(|decided| decided.hash))
    }

    /// What no input takes back.
    fn assert_follows(&self, (first, second, high, decided): (u64, u64, u64, Option<Hash>)) {
        let now = self.marks();
        assert!(now.0 >= first, "the attempt of first votes fell from {first} to {}: invariant 1", now.0);
        assert!(now.1 >= second, "the attempt of second votes fell from {second} to {}: invariant 2", now.1);
        let forgotten = planted(Mutation::UnlockByTime);
        assert!(now.2 >= high || forgotten, "the highest certificate fell from {high} to {}: invariant 3", now.2);
        assert!(decided.is_none() || now.3 == decided, "a height is decided once");
    }

    /// Whether a final certificate would change anything.
    pub fn wants_final(&self, decided: &Final) -> bool {
        self.decided.is_none() && self.refused != Some(decided.hash)
    }

    /// What a quorum has made final does not follow from its blocks: more than B seats have lied, or this node computes
    /// otherwise than the others. Either way it must not go on from there, nor vote beside it.
    pub fn refuse(&mut self) {
        self.refused = self.decided.take().map(|decided| decided.hash);
    }

    /// Whether a final value was refused.
    pub fn has_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a shard-block of this hash is held.
    pub fn holds(&self, hash: &Hash) -> bool {
        self.held.contains(hash)
    }

    /// Whether a certificate of first votes is one to look at: higher than what is known, or evidence beside it.
    pub fn wants_prepared(&self, prepared: &Prepared) -> bool {
        let known = |of: &Option<Arc<Prepared>>| of.as_ref().map_or(0, |known| known.attempt);
        let news = prepared.attempt > known(&self.durable.high) && prepared.attempt != known(&self.without_data);
        news || self.rival_of(prepared).is_some()
    }

    /// Another certificate of first votes of the same attempt, which cannot be beside this one; once is enough.
    fn rival_of(&self, prepared: &Prepared) -> Option<&Arc<Prepared>> {
        let known = [&self.durable.high, &self.without_data].into_iter().flatten();
        let mut rivals = known.filter(|known| known.attempt == prepared.attempt && known.hash != prepared.hash);
        rivals.next().filter(|_| self.conflicts.is_empty())
    }

    /// Whether a value lists this block that a certificate or a proposal, whose signature held, speaks for.
    fn is_listed(&self, hash: &Hash) -> bool {
        let prepared = [&self.durable.high, &self.without_data].into_iter().flatten().map(|known| &known.value);
        let decided = self.decided.iter().map(|decided| &decided.value);
        let proposed = self.proposals.values().map(|proposed| &proposed.0);
        prepared.chain(decided).chain(proposed).any(|value| value.headers.contains(&Some(*hash)))
    }

    /// A shard-block: held if its certificate verifies and it passes the state's own check. A captured shard certifies
    /// as many as it likes: of each two are looked at, and any that a vote may be about.
    pub fn take_block<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        block: &Arc<CertifiedBlock>,
    ) -> Taken {
        let (hash, shard) = (block.listed_hash(), block.block.shard as usize);
        let idle = self.held.contains(&hash) || (self.held.is_full(shard) && !self.is_listed(&hash));
        if block.height != self.height || idle {
            return Taken::Idle;
        }
        if !block.certificate_holds(&self.chain, &self.committee, signing) || !execution.check(block) {
            return Taken::False;
        }
        let rival = self.held.rival(block).map(|rival| rival.certified());
        self.compare(rival, block.certified());
        self.held.insert(block);
        if let Some(prepared) = self.without_data.take() {
            self.adopt(prepared);
        }
        Taken::New
    }

    /// The blocks that a value lists; none unless all are held, each in its own shard's place.
    pub fn blocks_of(&self, value: &Value) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
        self.held.blocks_of(value)
    }

    /// The shard-blocks of these hashes that are held.
    pub fn blocks<'a>(&'a self, wanted: &'a [Hash]) -> impl Iterator<Item = &'a Arc<CertifiedBlock>> {
        self.held.of(wanted)
    }

    /// The blocks held, once there is one of every shard.
    pub fn all_held(&self) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
        let held = self.held.by_shard();
        held.iter().all(Option::is_some).then_some(held)
    }

    /// Seats that say they hold a block of this shard; none for a shard that there is not.
    pub fn holders(&self, shard: usize) -> usize {
        self.held.holders(shard)
    }

    /// Contradictions that were seen since this was asked last.
    pub fn take_evidence(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.tallies.evidence)
    }

    /// Certificates that contradict each other, seen since this was asked last.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        let new = self.conflicts[self.conflicts_taken..].to_vec();
        self.conflicts_taken = self.conflicts.len();
        new
    }

    /// How the round stands.
    pub fn shown(&self) -> MasterShown {
        let (firsts, values, seconds) = self.tallies.shown();
        MasterShown { shards_held: self.held.by_shard().iter().flatten().count(), firsts, values, seconds }
    }

    /// A new slot: what is too old to count is forgotten.
    fn new_slot(&mut self, now: u64) {
        let oldest = now.saturating_sub(ATTEMPTS_KEPT);
        self.tallies.forget_before(oldest);
        self.proposals.retain(|key, _| key.0 >= oldest);
        if planted(Mutation::UnlockByTime) {
            self.durable = Locked::default();
        }
    }

    /// Says what is held.
    fn have(&mut self, attempt: u64, out: &mut Vec<MasterAction>) {
        self.ask_for_data(out);
        let listed = |block: &Option<Arc<CertifiedBlock>>| block.as_ref().map(|block| block.listed_hash());
        let held = self.held.by_shard().iter().map(listed).collect();
        let (height, high) = (self.height, self.durable.high.clone());
        out.push(MasterAction::Say(Message::Have { height, attempt, held, high }));
    }

    /// Hears what another holds, and asks for what is missing here.
    fn hear_have<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        attempt: u64,
        held: &[Option<Hash>],
        high: Option<&Arc<Prepared>>,
        out: &mut Vec<MasterAction>,
    ) {
        if held.len() != self.committee.shards.len() {
            return;
        }
        self.claimed.insert(from, attempt);
        self.held.list(from, held);
        if let Some(high) = high
            && !self.raise(signing, high)
        {
            return out.push(MasterAction::FalseCertificate(from));
        }
        let missing = self.held.wanted(held);
        if !missing.is_empty() {
            out.push(MasterAction::Tell(from, Message::WantBlocks(self.height, missing)));
        }
    }

    /// Try 0: a first vote for the own candidate, if it is wholly held.
    fn try_0<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        attempt: u64,
        out: &mut Vec<MasterAction>,
    ) {
        let (value, justified_by, _) = self.candidate(execution);
        if self.wholly_held(execution, &value) {
            self.first(signing, attempt, value, justified_by, out);
        } else {
            self.ask_for(&value, out);
        }
    }

    /// Everyone proposes its candidate.
    fn propose<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        attempt: u64,
        out: &mut Vec<MasterAction>,
    ) {
        let Some(seat) = self.seat else { return };
        if self.proposed >= attempt || !self.may_sign {
            return;
        }
        self.proposed = attempt;
        let (value, justified_by, prepared) = self.candidate(execution);
        let signature = signing.sign(&self.digest(StatementKind::Proposal, attempt, justified_by, value.hash()));
        self.proposals.insert((attempt, seat), (value.clone(), prepared.clone(), signature));
        out.push(MasterAction::Say(Message::Proposal { attempt, value, prepared, signature }));
    }

    /// Hears a proposal: from whom, in which attempt, heard in which.
    fn hear_proposal<S: Signing>(
        &mut self,
        signing: &S,
        (from, attempt, now): (Seat, u64, u64),
        (value, prepared, signature): Proposed,
        out: &mut Vec<MasterAction>,
    ) {
        // Of another time: not kept, or proposals for all attempts to come would fill the memory.
        if !is_timely(now, attempt) {
            return;
        }
        let kind = StatementKind::Proposal;
        let said = |of: &Proposed| (of.0.hash(), of.1.as_ref().map_or(0, |prepared| prepared.attempt), of.2);
        let first = self.proposals.get(&(attempt, from)).map(said);
        let proposed = (value, prepared, signature);
        let (hash, justified_by, _) = said(&proposed);
        let idle = first.is_some_and(|first| first == said(&proposed) || self.tallies.is_contradicted(from));
        if proposed.0.height != self.height || idle {
            return;
        }
        if !signing.verify(self.candidate_at(from), &self.digest(kind, attempt, justified_by, hash), &signature) {
            return out.push(MasterAction::FalseSignature(from));
        }
        if let Some(first) = first {
            return self.tallies.contradiction(from, kind, attempt, [first, said(&proposed)]);
        }
        let (value, prepared, signature) = proposed;
        if let Some(prepared) = &prepared
            && !self.raise(signing, prepared)
        {
            return out.push(MasterAction::FalseCertificate(from));
        }
        // Whoever proposes a value has its blocks: nobody else is asked for what a liar may have made up.
        let missing = self.held.missing(&value.headers);
        if !missing.is_empty() && missing.len() <= self.committee.shards.len() {
            out.push(MasterAction::Tell(from, Message::WantBlocks(self.height, missing)));
        }
        self.proposals.insert((attempt, from), (value, prepared, signature));
    }

    /// Try 1: a first vote for the proposal of the seat that the seed puts first, if it may be voted for.
    fn try_1<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        attempt: u64,
        out: &mut Vec<MasterAction>,
    ) {
        let proposers = self.proposals.range((attempt, 0)..=(attempt, Seat::MAX)).map(|(&(_, seat), _)| seat);
        let Some(seat) = self.committee.lowest(proposers, &self.seed, attempt, 0) else { return };
        let (value, prepared, _) = self.proposals[&(attempt, seat)].clone();
        let prepared = prepared.filter(|prepared| prepared.hash == value.hash());
        if prepared.as_ref().is_some_and(|prepared| !self.prepared_holds(signing, prepared)) {
            out.push(MasterAction::FalseCertificate(seat));
            return;
        }
        let justified_by = prepared.as_ref().map_or(0, |prepared| prepared.attempt);
        if !self.lock_allows(justified_by) {
            return;
        }
        if justified_by == 0 && self.leaves_out_what_others_hold(&value) && !planted(Mutation::NoHavesRule) {
            return;
        }
        if self.wholly_held(execution, &value) {
            self.first(signing, attempt, value, justified_by, out);
        }
    }

    /// Whether the own lock, if there is one, lets a value pass that a certificate of this attempt justifies.
    fn lock_allows(&self, justified_by: u64) -> bool {
        match self.durable.lock {
            Some((_, locked_at)) if planted(Mutation::ComparesLockWrongly) => justified_by <= locked_at,
            Some((_, locked_at)) => justified_by >= locked_at || planted(Mutation::NoLock),
            None => true,
        }
    }

    /// Whether a shard is left empty of which B + 1 seats, so at least one honest, say that they hold a block.
    fn leaves_out_what_others_hold(&self, value: &Value) -> bool {
        let enough = self.committee.byzantine_max() + 1;
        value.headers.iter().enumerate().any(|(shard, header)| header.is_none() && self.held.holders(shard) >= enough)
    }

    /// Signs and says a first vote, unless one was signed in this attempt or a later one: invariant 1.
    fn first<S: Signing>(
        &mut self,
        signing: &S,
        attempt: u64,
        value: Arc<Value>,
        justified_by: u64,
        out: &mut Vec<MasterAction>,
    ) {
        let again = planted(Mutation::VotesTwiceInAnAttempt) && self.first_signed == attempt;
        let signed = (self.first_signed >= attempt && !again) || self.second_signed > attempt;
        let Some(seat) = self.seat else { return };
        if signed || !self.may_sign || !self.is_claimed(attempt) {
            return;
        }
        self.first_signed = attempt;
        let hash = value.hash();
        let signature = signing.sign(&self.digest(StatementKind::First, attempt, justified_by, hash));
        out.push(MasterAction::Say(Message::First { attempt, value: value.clone(), justified_by, signature }));
        self.count_first(signing, seat, attempt, Vote { attempt, hash, justified_by, signature }, value, out);
    }

    /// Whether a first vote is timely and would change something: no other is worth its signature.
    pub fn wants_first(&self, from: Seat, now: u64, vote: &Vote, value: &Value) -> bool {
        value.height == self.height && is_timely(now, vote.attempt) && !self.tallies.first_is_idle(from, vote)
    }

    /// The same of a second vote.
    pub fn wants_second(&self, from: Seat, now: u64, vote: &Vote) -> bool {
        is_timely(now, vote.attempt) && !self.tallies.second_is_idle(from, vote)
    }

    fn signed<S: Signing>(&self, signing: &S, kind: StatementKind, from: Seat, vote: &Vote) -> bool {
        let digest = self.digest(kind, vote.attempt, vote.justified_by, vote.hash);
        signing.verify(self.candidate_at(from), &digest, &vote.signature)
    }

    /// Counts a first vote. A quorum is a certificate, which is adopted (row 8) and locked on (row 9).
    fn count_first<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        now: u64,
        vote: Vote,
        value: Arc<Value>,
        out: &mut Vec<MasterAction>,
    ) {
        let Vote { attempt, hash, justified_by, .. } = vote;
        let Some(tally) = self.tallies.count_first(from, vote, &value) else { return };
        let certificate = Certificate { signers: tally.signers, aggregate: signing.aggregate(&tally.signatures) };
        self.adopt(Arc::new(Prepared { attempt, justified_by, value, hash, certificate }));
        let held =
            self.durable.high.as_ref().is_some_and(|high| high.attempt >= attempt) || planted(Mutation::HighNotUpdated);
        if !held {
            // Locking is never owed: without the data a lock could outlive it.
            self.ask_for_data(out);
            return;
        }
        // Only in the attempt that it is now, and only a member: the lock becomes durable, then the second vote is
        // said.
        let late = planted(Mutation::LateSecondVote);
        if self.seat.is_some()
            && self.may_sign
            && (attempt == now || late)
            && self.second_signed < attempt
            && self.first_signed <= attempt.max(now)
        {
            self.durable.lock = Some((hash, attempt));
            self.second_pending = Some((attempt, hash));
            out.push(MasterAction::Lock(attempt));
        }
    }

    /// The lock of attempt `of` is durable: its second vote may go out, if it is still the attempt that it is for. A
    /// later lock, under way by now, waits for its own turn: invariant 2.
    fn locked<S: Signing>(&mut self, signing: &S, of: u64, now: u64, out: &mut Vec<MasterAction>) {
        let Some((attempt, hash)) = self.second_pending.take_if(|pending| pending.0 == of) else { return };
        let Some(seat) = self.seat else { return };
        let timely = attempt == now || planted(Mutation::LateSecondVote);
        if !timely
            || !self.may_sign
            || self.second_signed >= attempt
            || (self.first_signed > attempt && !planted(Mutation::LateSecondVote))
        {
            return;
        }
        self.second_signed = attempt;
        let signature = signing.sign(&self.digest(StatementKind::Second, attempt, 0, hash));
        out.push(MasterAction::Say(Message::Second { height: self.height, attempt, hash, signature }));
        self.count_second(signing, seat, Vote { attempt, hash, justified_by: 0, signature }, out);
    }

    /// Counts a second vote. A quorum decides the height.
    fn count_second<S: Signing>(&mut self, signing: &S, from: Seat, vote: Vote, out: &mut Vec<MasterAction>) {
        let Some(tally) = self.tallies.count_second(from, vote) else { return };
        if self.decided.is_some() || self.refused == Some(vote.hash) {
            return;
        }
        let certificate = Certificate { signers: tally.signers, aggregate: signing.aggregate(&tally.signatures) };
        // Without a first vote heard the value itself is not known: whoever has decided passes it on.
        if let Some(value) = self.tallies.value(&vote.hash).cloned() {
            assert!(value.hash() == vote.hash, "the value that is decided is the one that was voted for");
            self.ask_for(&value, out);
            self.decided = Some(Arc::new(Final { attempt: vote.attempt, value, hash: vote.hash, certificate }));
        }
    }

    /// Takes a verified certificate for the highest, with its data; without it, remembers to do so: invariant 3. True
    /// if it was taken.
    fn adopt(&mut self, prepared: Arc<Prepared>) -> bool {
        if planted(Mutation::HighNotUpdated)
            || self.durable.high.as_ref().is_some_and(|high| high.attempt >= prepared.attempt)
        {
            return false;
        }
        match self.held.blocks_of(&prepared.value) {
            Some(blocks) => {
                self.durable.blocks = blocks.into_iter().flatten().collect();
                let listed = prepared.value.headers.iter().flatten().count();
                assert_eq!(self.durable.blocks.len(), listed, "the highest certificate has its blocks: invariant 3");
                self.durable.high = Some(prepared);
                true
            }
            None => {
                if self.without_data.as_ref().is_none_or(|waiting| waiting.attempt < prepared.attempt) {
                    self.without_data = Some(prepared);
                }
                false
            }
        }
    }

    /// Takes over a higher certificate of first votes; false if it is none. Another one of the same attempt is proof
    /// against whoever signed both.
    fn raise<S: Signing>(&mut self, signing: &S, prepared: &Arc<Prepared>) -> bool {
        let rival = self.rival_of(prepared).map(|rival| rival.certified());
        if !self.wants_prepared(prepared) {
            return true;
        }
        let holds = self.prepared_holds(signing, prepared);
        if holds && rival.is_some() {
            self.compare(rival, prepared.certified());
        } else if holds {
            self.adopt(prepared.clone());
        }
        holds
    }

    /// Keeps the proof that two certificates make which hold both, if they make one.
    fn compare(&mut self, one: Option<(Statement, Certificate)>, other: (Statement, Certificate)) {
        if self.conflicts.len() < CONFLICTS_MAX {
            self.conflicts.extend(one.and_then(|one| Conflict::of_certificates([one, other])));
        }
    }

    /// Whether a certificate of first votes is one.
    fn prepared_holds<S: Signing>(&self, signing: &S, prepared: &Prepared) -> bool {
        if planted(Mutation::PrepareNotVerified) {
            return true;
        }
        let Prepared { attempt, justified_by, hash, .. } = *prepared;
        prepared.value.height == self.height
            && prepared.value.hash() == hash
            && justified_by < attempt.max(1)
            && prepared.certificate.verify_master(
                &self.committee,
                &self.digest(StatementKind::First, attempt, justified_by, hash),
                signing,
            )
    }

    /// Whether a final certificate is one of this height's committee.
    fn final_holds<S: Signing>(&self, signing: &S, decided: &Final) -> bool {
        planted(Mutation::FinalNotVerified)
            || (decided.value.height == self.height
                && decided.value.hash() == decided.hash
                && decided.certificate.verify_master(
                    &self.committee,
                    &self.digest(StatementKind::Second, decided.attempt, 0, decided.hash),
                    signing,
                ))
    }

    /// The value of the highest certificate, or the union of all that is held, and what justifies it.
    fn candidate<E: Execution>(&self, execution: &mut E) -> (Arc<Value>, u64, Option<Arc<Prepared>>) {
        match &self.durable.high {
            Some(high) if !planted(Mutation::NoLock) => (high.value.clone(), high.attempt, Some(high.clone())),
            _ => (Arc::new(execution.value(&self.held.by_shard())), 0, None),
        }
    }

    /// Whether this is the very value that follows from the blocks it lists, all of them held here.
    fn wholly_held<E: Execution>(&self, execution: &mut E, value: &Value) -> bool {
        planted(Mutation::VoteWithoutData)
            || self.held.blocks_of(value).is_some_and(|blocks| execution.value(&blocks) == *value)
    }

    /// Whether B + 1 others, so at least one honest, say that it is about this attempt. The own clock speaks for
    /// nothing here: it is what is doubted. Nor do those who are further ahead: where many clocks are wrong at once,
    /// each is wrong by something else. A committee so small that it has no B + 1 others asks all.
    pub fn is_claimed(&self, attempt: u64) -> bool {
        let near = |claimed: u64| claimed.abs_diff(attempt) <= ATTEMPTS_NEAR;
        let others = self.claimed.iter().filter(|&(&seat, &claimed)| Some(seat) != self.seat && near(claimed)).count();
        others >= others_needed(&self.committee)
    }

    /// Asks everyone for the data of a certificate that cannot be taken without it.
    fn ask_for_data(&self, out: &mut Vec<MasterAction>) {
        if let Some(prepared) = &self.without_data {
            self.ask_for(&prepared.value, out);
        }
    }

    fn ask_for(&self, value: &Value, out: &mut Vec<MasterAction>) {
        let missing = self.held.missing(&value.headers);
        if !missing.is_empty() && missing.len() <= self.committee.shards.len() {
            out.push(MasterAction::Say(Message::WantBlocks(self.height, missing)));
        }
    }

    fn candidate_at(&self, seat: Seat) -> u32 {
        self.committee.members[usize::from(seat)].candidate
    }

    fn digest(&self, kind: StatementKind, attempt: u64, justified_by: u64, hash: Hash) -> Hash {
        Statement { kind, height: self.height, number: attempt, shard: 0, justified_by, hash }.digest(&self.chain)
    }
}
