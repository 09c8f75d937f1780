//! The agreement of one height: which shard-blocks become the master-block. Every rule is one of section 7.6 of the
//! design; `docs/consensus.md` has the table of states and the argument.
//!
//! Attempts are counted by the clock, two a slot. Timing matters to progress only: whatever the clocks say, two values
//! are never final at one height while at most B seats are Byzantine.

use super::message::Message;
use super::shard::{RoundContext, certificate_holds};
use crate::base::hash::Hash;
use crate::base::ids::{Seat, Sig};
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::{CertifiedBlock, Final, Prepared, Value};
use crate::chain::execution::Execution;
use crate::committee::members::Committee;
use crate::committee::statement::{Certificate, Evidence, Kind, SeatSet, Signed};
use crate::vote::signing::Signing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How far from the own attempt votes are kept.
const ATTEMPTS_KEPT: u64 = 6;
/// How far beyond what B + 1 members claim a member may sign: a clock that was led astray must not use up attempts to
/// come.
const ATTEMPTS_BEYOND: u64 = 8;

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

/// What the round wants done.
#[derive(Debug)]
pub enum MasterAction {
    /// Say it to the whole committee.
    Say(Message),
    /// Say it to one.
    Tell(Seat, Message),
    /// Make the lock of this attempt durable, then call [`MasterRound::locked`] with it.
    Lock(u64),
}

#[derive(Default)]
struct Tally {
    signers: SeatSet,
    signatures: Vec<Sig>,
}

/// Whether an attempt that another names is near enough to the own one to be kept. It may be any number.
fn is_timely(now: u64, attempt: u64) -> bool {
    attempt.abs_diff(now) < ATTEMPTS_KEPT
}

type FirstVote = (Hash, u64, Sig);
/// A proposal: the value, what justifies it, and the signature.
pub type Proposed = (Arc<Value>, Option<Arc<Prepared>>, Sig);

/// How a round stands, for who watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasterStanding {
    /// Shards of which a block is held.
    pub shards_held: usize,
    /// Most first votes for one value in one attempt.
    pub firsts: usize,
    /// Different values that had first votes.
    pub values: usize,
    /// Most second votes for one value in one attempt.
    pub seconds: usize,
}

/// The state of one node at one height; of a member if it has a seat.
pub struct MasterRound {
    /// Height.
    pub height: u64,
    /// The committee.
    pub committee: Arc<Committee>,
    /// The own seat, if it votes here.
    pub seat: Option<Seat>,
    /// Durable: see [`Locked`].
    pub durable: Locked,
    /// The final certificate, once there is one.
    pub decided: Option<Arc<Final>>,
    /// Contradictions that were seen.
    pub evidence: Vec<Evidence>,
    /// Whether the slot is reserved: outside of it nothing is signed, whatever is heard.
    pub may_sign: bool,
    chain: Hash,
    seed: Hash,
    blocks: BTreeMap<Hash, Arc<CertifiedBlock>>,
    /// The highest certificate whose shard-blocks are not all here yet.
    without_data: Option<Arc<Prepared>>,
    /// What each seat has said last that it holds.
    listed: BTreeMap<Seat, Vec<Option<Hash>>>,
    /// The highest attempt that each seat has claimed to be in.
    claimed: BTreeMap<Seat, u64>,
    firsts: BTreeMap<(u64, Seat), FirstVote>,
    seconds: BTreeMap<(u64, Seat), (Hash, Sig)>,
    first_tallies: BTreeMap<(u64, Hash, u64), (Tally, Arc<Value>)>,
    second_tallies: BTreeMap<(u64, Hash), Tally>,
    values: BTreeMap<Hash, Arc<Value>>,
    proposals: BTreeMap<(u64, Seat), Proposed>,
    first_signed: u64,
    second_signed: u64,
    second_pending: Option<(u64, Hash)>,
    proposed: u64,
}

impl MasterRound {
    /// The round of a height. `durable` is what an earlier process of this node has locked there.
    pub fn new(
        chain: Hash,
        height: u64,
        committee: Arc<Committee>,
        seat: Option<Seat>,
        seed: Hash,
        durable: Locked,
    ) -> MasterRound {
        let blocks = durable.blocks.iter().map(|block| (block.listed_hash(), block.clone())).collect();
        MasterRound {
            height,
            committee,
            seat,
            durable,
            decided: None,
            evidence: Vec::new(),
            chain,
            seed,
            blocks,
            without_data: None,
            listed: BTreeMap::new(),
            may_sign: false,
            claimed: BTreeMap::new(),
            firsts: BTreeMap::new(),
            seconds: BTreeMap::new(),
            first_tallies: BTreeMap::new(),
            second_tallies: BTreeMap::new(),
            values: BTreeMap::new(),
            proposals: BTreeMap::new(),
            first_signed: 0,
            second_signed: 0,
            second_pending: None,
            proposed: 0,
        }
    }

    fn signed(&self, kind: Kind, attempt: u64, justified_by: u64, hash: Hash) -> Hash {
        Signed { kind, height: self.height, number: attempt, shard: 0, justified_by, hash }.digest(&self.chain)
    }

    /// The shard-blocks held, shard by shard; of two of one shard the one with the lower hash.
    pub fn held(&self) -> Vec<Option<Arc<CertifiedBlock>>> {
        let mut held: Vec<Option<Arc<CertifiedBlock>>> = vec![None; self.committee.shards.len()];
        for block in self.blocks.values() {
            // In ascending order of hash: the first of a shard stays.
            held[block.block.shard as usize].get_or_insert_with(|| block.clone());
        }
        held
    }

    /// The blocks that a value lists; none unless all are held and each stands in its own shard's place: a liar's value
    /// may list one block twice, or more places than there are shards.
    pub fn blocks_of(&self, value: &Value) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
        let block = |(shard, header): (usize, &Option<Hash>)| match header {
            None => Some(None),
            Some(hash) => self.blocks.get(hash).filter(|block| block.block.shard as usize == shard).cloned().map(Some),
        };
        let shaped = value.headers.len() == self.committee.shards.len();
        shaped.then(|| value.headers.iter().enumerate().map(block).collect()).flatten()
    }

    /// Listed blocks of a value that are missing here.
    fn missing(&self, headers: &[Option<Hash>]) -> Vec<Hash> {
        headers.iter().flatten().filter(|hash| !self.blocks.contains_key(*hash)).copied().collect()
    }

    /// A shard-block: held if its certificate verifies and it passes the state's own check. True if it is new.
    pub fn take_block<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        block: &Arc<CertifiedBlock>,
    ) -> bool {
        if block.height != self.height || self.blocks.contains_key(&block.listed_hash()) {
            return false;
        }
        let context = RoundContext { chain: &self.chain, committee: &self.committee, signing };
        if !certificate_holds(&context, block) || !execution.check(block) {
            return false;
        }
        self.blocks.insert(block.listed_hash(), block.clone());
        if let Some(prepared) = self.without_data.take() {
            self.adopt(prepared);
        }
        true
    }

    /// Takes a verified certificate for the highest, with its data; without it, remembers to do so. True if it was
    /// taken.
    fn adopt(&mut self, prepared: Arc<Prepared>) -> bool {
        if planted(Mutation::HighNotUpdated)
            || self.durable.high.as_ref().is_some_and(|high| high.attempt >= prepared.attempt)
        {
            return false;
        }
        match self.blocks_of(&prepared.value) {
            Some(blocks) => {
                self.durable.blocks = blocks.into_iter().flatten().collect();
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

    /// Asks everyone for the data of a certificate that cannot be taken without it.
    fn ask_for_data(&self, out: &mut Vec<MasterAction>) {
        if let Some(prepared) = &self.without_data {
            self.ask_for(&prepared.value, out);
        }
    }

    /// Says what is held.
    pub fn have(&mut self, attempt: u64, out: &mut Vec<MasterAction>) {
        self.claimed.extend(self.seat.map(|seat| (seat, attempt)));
        self.ask_for_data(out);
        let held = self.held().iter().map(|block| block.as_ref().map(|block| block.listed_hash())).collect();
        out.push(MasterAction::Say(Message::Have {
            height: self.height,
            attempt,
            held,
            high: self.durable.high.clone(),
        }));
    }

    /// Whether B + 1 members, so at least one honest, claim an attempt that this one is not far beyond.
    fn is_claimed(&self, attempt: u64) -> bool {
        let near = self.claimed.values().filter(|&&claimed| claimed.saturating_add(ATTEMPTS_BEYOND) >= attempt).count();
        near > self.committee.byzantine_max()
    }

    /// Hears what another holds, and asks for what is missing here.
    pub fn hear_have<S: Signing>(
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
        let claimed = self.claimed.entry(from).or_insert(attempt);
        *claimed = attempt.max(*claimed);
        self.listed.insert(from, held.to_vec());
        if let Some(high) = high {
            self.raise(signing, high);
        }
        let missing = self.missing(held);
        if !missing.is_empty() {
            out.push(MasterAction::Tell(from, Message::WantBlocks(self.height, missing)));
        }
    }

    /// Whether a certificate of first votes is one.
    fn prepared_holds<S: Signing>(&self, signing: &S, prepared: &Prepared) -> bool {
        if planted(Mutation::PrepareNotVerified) {
            return true;
        }
        prepared.value.height == self.height
            && prepared.value.hash() == prepared.hash
            && prepared.justified_by < prepared.attempt.max(1)
            && prepared.certificate.verify_master(
                &self.committee,
                &self.signed(Kind::First, prepared.attempt, prepared.justified_by, prepared.hash),
                signing,
            )
    }

    /// Takes over a higher certificate of first votes.
    fn raise<S: Signing>(&mut self, signing: &S, prepared: &Arc<Prepared>) -> bool {
        let higher = self.durable.high.as_ref().is_none_or(|high| high.attempt < prepared.attempt);
        higher && self.prepared_holds(signing, prepared) && self.adopt(prepared.clone())
    }

    /// The value of the highest certificate, or the union of all that is held, and what justifies it.
    fn candidate<E: Execution>(&self, execution: &mut E) -> (Arc<Value>, u64, Option<Arc<Prepared>>) {
        match &self.durable.high {
            Some(high) if !planted(Mutation::NoLock) => (high.value.clone(), high.attempt, Some(high.clone())),
            _ => (Arc::new(execution.value(&self.held())), 0, None),
        }
    }

    /// Whether this is the very value that follows from the blocks it lists, all of them held here.
    fn wholly_held<E: Execution>(&self, execution: &mut E, value: &Value) -> bool {
        planted(Mutation::VoteWithoutData)
            || self.blocks_of(value).is_some_and(|blocks| execution.value(&blocks) == *value)
    }

    /// Signs and says a first vote, unless one was signed in this attempt or a later one.
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
        if self.seat.is_none() || signed || !self.may_sign || !self.is_claimed(attempt) {
            return;
        }
        self.first_signed = attempt;
        let hash = value.hash();
        let signature = signing.sign(&self.signed(Kind::First, attempt, justified_by, hash));
        out.push(MasterAction::Say(Message::First { attempt, value: value.clone(), justified_by, signature }));
        let seat = self.seat.expect("checked above");
        self.count_first(signing, seat, attempt, attempt, value, justified_by, signature, out);
    }

    /// Try 0: first votes for the own candidate.
    pub fn try_0<E: Execution, S: Signing>(
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

    fn ask_for(&self, value: &Value, out: &mut Vec<MasterAction>) {
        let missing = self.missing(&value.headers);
        if !missing.is_empty() && missing.len() <= self.committee.shards.len() {
            out.push(MasterAction::Say(Message::WantBlocks(self.height, missing)));
        }
    }

    /// Try 1: everyone proposes its candidate.
    pub fn propose<E: Execution, S: Signing>(
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
        let signature = signing.sign(&self.signed(Kind::Proposal, attempt, justified_by, value.hash()));
        self.proposals.insert((attempt, seat), (value.clone(), prepared.clone(), signature));
        out.push(MasterAction::Say(Message::Proposal { attempt, value, prepared, signature }));
    }

    /// Hears a proposal; `now` is the own attempt.
    pub fn hear_proposal<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        now: u64,
        attempt: u64,
        (value, prepared, signature): Proposed,
        out: &mut Vec<MasterAction>,
    ) {
        // Of another time: not kept, or proposals for all attempts to come would fill the memory.
        if !is_timely(now, attempt) {
            return;
        }
        let justified_by = prepared.as_ref().map_or(0, |prepared| prepared.attempt);
        let hash = value.hash();
        let candidate = self.committee.members[usize::from(from)].candidate;
        if value.height != self.height
            || !signing.verify(candidate, &self.signed(Kind::Proposal, attempt, justified_by, hash), &signature)
        {
            return;
        }
        if let Some((first, first_prepared, first_signature)) = self.proposals.get(&(attempt, from)) {
            let first_justified_by = first_prepared.as_ref().map_or(0, |prepared| prepared.attempt);
            let statements = [(first.hash(), first_justified_by, *first_signature), (hash, justified_by, signature)];
            self.contradiction(from, Kind::Proposal, attempt, statements);
            return;
        }
        if let Some(prepared) = &prepared {
            self.raise(signing, prepared);
        }
        self.ask_for(&value, out);
        self.proposals.insert((attempt, from), (value, prepared, signature));
    }

    /// Try 1: a first vote for the proposal of the seat that the seed puts first, if it may be voted for.
    pub fn try_1<E: Execution, S: Signing>(
        &mut self,
        execution: &mut E,
        signing: &S,
        attempt: u64,
        out: &mut Vec<MasterAction>,
    ) {
        let proposers = self.proposals.range((attempt, 0)..=(attempt, Seat::MAX)).map(|(&(_, seat), _)| seat);
        let Some(seat) = self.committee.lowest(proposers, &self.seed, attempt, 0) else { return };
        let (value, prepared, _) = self.proposals[&(attempt, seat)].clone();
        let prepared =
            prepared.filter(|prepared| prepared.hash == value.hash() && self.prepared_holds(signing, prepared));
        let justified_by = prepared.as_ref().map_or(0, |prepared| prepared.attempt);
        if let Some((_, locked_at)) = self.durable.lock
            && !planted(Mutation::NoLock)
        {
            let may = if planted(Mutation::ComparesLockWrongly) {
                justified_by <= locked_at
            } else {
                justified_by >= locked_at
            };
            if !may {
                return;
            }
        }
        if justified_by == 0 && self.leaves_out_what_others_hold(&value) && !planted(Mutation::NoHavesRule) {
            return;
        }
        if self.wholly_held(execution, &value) {
            self.first(signing, attempt, value, justified_by, out);
        }
    }

    /// Whether a shard is left empty of which B + 1 seats, so at least one honest, say that they hold a block.
    fn leaves_out_what_others_hold(&self, value: &Value) -> bool {
        let enough = self.committee.byzantine_max() + 1;
        value.headers.iter().enumerate().any(|(shard, header)| header.is_none() && self.holders(shard) >= enough)
    }

    fn contradiction(&mut self, seat: Seat, kind: Kind, attempt: u64, statements: [(Hash, u64, Sig); 2]) {
        if (statements[0].0, statements[0].1) != (statements[1].0, statements[1].1) {
            let candidate = self.committee.members[usize::from(seat)].candidate;
            self.evidence.push(Evidence::of_two(candidate, kind, self.height, attempt, 0, statements));
        }
    }

    /// A seat that has voted second for one value and then first for another, with nothing in between to free it.
    fn left_lock(&mut self, seat: Seat) {
        let candidate = self.committee.members[usize::from(seat)].candidate;
        let Some((&(newest, _), _)) = self.firsts.last_key_value() else { return };
        let kept = newest.saturating_sub(2 * ATTEMPTS_KEPT)..=newest;
        for second_in in kept {
            let Some(&(locked, signature)) = self.seconds.get(&(second_in, seat)) else { continue };
            for first_in in second_in + 1..=newest {
                let Some(&(hash, justified_by, first_signature)) = self.firsts.get(&(first_in, seat)) else { continue };
                if hash != locked && justified_by < second_in {
                    let (kinds, height, numbers) = ([Kind::First, Kind::Second], self.height, [first_in, second_in]);
                    let statements = [(hash, justified_by, first_signature), (locked, 0, signature)];
                    self.evidence.push(Evidence { candidate, kinds, height, numbers, shard: 0, statements });
                    return;
                }
            }
        }
    }

    /// Hears a first vote; `now` is the own attempt.
    pub fn hear_first<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        now: u64,
        (attempt, value, justified_by, signature): (u64, Arc<Value>, u64, Sig),
        out: &mut Vec<MasterAction>,
    ) {
        let candidate = self.committee.members[usize::from(from)].candidate;
        let timely = is_timely(now, attempt);
        let right_height = value.height == self.height;
        if right_height
            && timely
            && signing.verify(candidate, &self.signed(Kind::First, attempt, justified_by, value.hash()), &signature)
        {
            self.count_first(signing, from, now, attempt, value, justified_by, signature, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a vote's fields, in one place")]
    fn count_first<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        now: u64,
        attempt: u64,
        value: Arc<Value>,
        justified_by: u64,
        signature: Sig,
        out: &mut Vec<MasterAction>,
    ) {
        let hash = value.hash();
        if let Some(&(first, first_justified_by, first_signature)) = self.firsts.get(&(attempt, from)) {
            let statements = [(first, first_justified_by, first_signature), (hash, justified_by, signature)];
            self.contradiction(from, Kind::First, attempt, statements);
            return;
        }
        self.firsts.insert((attempt, from), (hash, justified_by, signature));
        self.left_lock(from);
        self.values.insert(hash, value.clone());
        let quorum = self.committee.quorum();
        let (tally, _) = self
            .first_tallies
            .entry((attempt, hash, justified_by))
            .or_insert_with(|| (Tally::default(), value.clone()));
        if !tally.signers.insert(from) {
            return;
        }
        tally.signatures.push(signature);
        if tally.signatures.len() != quorum {
            return;
        }
        let certificate = Certificate { signers: tally.signers, aggregate: signing.aggregate(&tally.signatures) };
        let prepared = Arc::new(Prepared { attempt, justified_by, value, hash, certificate });
        self.adopt(prepared);
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
    /// later lock, under way by now, waits for its own turn.
    pub fn locked<S: Signing>(&mut self, signing: &S, of: u64, now: u64, out: &mut Vec<MasterAction>) {
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
        let signature = signing.sign(&self.signed(Kind::Second, attempt, 0, hash));
        out.push(MasterAction::Say(Message::Second { height: self.height, attempt, hash, signature }));
        self.count_second(signing, seat, attempt, hash, signature, out);
    }

    /// Hears a second vote.
    pub fn hear_second<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        now: u64,
        (attempt, hash, signature): (u64, Hash, Sig),
        out: &mut Vec<MasterAction>,
    ) {
        let candidate = self.committee.members[usize::from(from)].candidate;
        if is_timely(now, attempt)
            && signing.verify(candidate, &self.signed(Kind::Second, attempt, 0, hash), &signature)
        {
            self.count_second(signing, from, attempt, hash, signature, out);
        }
    }

    fn count_second<S: Signing>(
        &mut self,
        signing: &S,
        from: Seat,
        attempt: u64,
        hash: Hash,
        signature: Sig,
        out: &mut Vec<MasterAction>,
    ) {
        if let Some(&(first, first_signature)) = self.seconds.get(&(attempt, from)) {
            self.contradiction(from, Kind::Second, attempt, [(first, 0, first_signature), (hash, 0, signature)]);
            return;
        }
        self.seconds.insert((attempt, from), (hash, signature));
        self.left_lock(from);
        let tally = self.second_tallies.entry((attempt, hash)).or_default();
        tally.signers.insert(from);
        tally.signatures.push(signature);
        if tally.signatures.len() < self.committee.quorum() || self.decided.is_some() {
            return;
        }
        let certificate = Certificate { signers: tally.signers, aggregate: signing.aggregate(&tally.signatures) };
        // Without a first vote heard the value itself is not known: whoever has decided passes it on.
        if let Some(value) = self.values.get(&hash) {
            let decided = Arc::new(Final { attempt, value: value.clone(), hash, certificate });
            self.ask_for(&decided.value.clone(), out);
            self.decided = Some(decided);
        }
    }

    /// Whether a final certificate is one of this height's committee.
    pub fn final_holds<S: Signing>(&self, signing: &S, decided: &Final) -> bool {
        planted(Mutation::FinalNotVerified)
            || (decided.value.height == self.height
                && decided.value.hash() == decided.hash
                && decided.certificate.verify_master(
                    &self.committee,
                    &self.signed(Kind::Second, decided.attempt, 0, decided.hash),
                    signing,
                ))
    }

    /// Hears that the height is decided.
    pub fn hear_final<S: Signing>(&mut self, signing: &S, decided: &Arc<Final>) {
        if self.decided.is_none() && self.final_holds(signing, decided) {
            self.decided = Some(decided.clone());
        }
    }

    /// Seats that say they hold a block of this shard; none for a shard that there is not.
    pub fn holders(&self, shard: usize) -> usize {
        self.listed.values().filter(|held| held.get(shard).is_some_and(Option::is_some)).count()
    }

    /// The shard-blocks of these hashes that are held.
    pub fn blocks(&self, wanted: &[Hash]) -> impl Iterator<Item = &Arc<CertifiedBlock>> {
        wanted.iter().take(self.committee.shards.len()).filter_map(|hash| self.blocks.get(hash))
    }

    /// How the round stands.
    pub fn standing(&self) -> MasterStanding {
        MasterStanding {
            shards_held: self.held().iter().flatten().count(),
            firsts: self.first_tallies.values().map(|(tally, _)| tally.signers.len()).max().unwrap_or(0),
            values: self.first_tallies.keys().map(|key| key.1).collect::<BTreeSet<_>>().len(),
            seconds: self.second_tallies.values().map(|tally| tally.signers.len()).max().unwrap_or(0),
        }
    }

    /// The blocks held, once there is one of every shard.
    pub fn all_held(&self) -> Option<Vec<Option<Arc<CertifiedBlock>>>> {
        let held = self.held();
        held.iter().all(Option::is_some).then_some(held)
    }

    /// A new slot: what is too old to count is forgotten.
    pub fn new_slot(&mut self, now: u64) {
        let oldest = now.saturating_sub(ATTEMPTS_KEPT);
        self.firsts.retain(|key, _| key.0 >= oldest);
        self.seconds.retain(|key, _| key.0 >= oldest);
        self.first_tallies.retain(|key, _| key.0 >= oldest);
        self.second_tallies.retain(|key, _| key.0 >= oldest);
        self.proposals.retain(|key, _| key.0 >= oldest);
        let tallies = &self.first_tallies;
        self.values.retain(|hash, _| tallies.keys().any(|key| key.1 == *hash));
        if planted(Mutation::UnlockByTime) {
            self.durable = Locked::default();
        }
    }
}
