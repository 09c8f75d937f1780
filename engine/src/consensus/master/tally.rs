//! The votes of one height, counted: a quorum goes out once it is there, and so does what contradicts itself.

use crate::base::hash::Hash;
use crate::base::ids::{Seat, Sig};
use crate::chain::block::Value;
use crate::committee::members::Committee;
use crate::committee::statement::{Evidence, SeatSet, StatementKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How far from the own attempt votes are kept.
pub(super) const ATTEMPTS_KEPT: u64 = 6;

/// A vote, first or second, as one seat has signed it.
#[derive(Clone, Copy, Debug)]
pub struct Vote {
    /// The attempt that it is of.
    pub attempt: u64,
    /// Hash of the value.
    pub hash: Hash,
    /// Attempt of the certificate that justifies the value; 0 for a second vote.
    pub justified_by: u64,
    /// The seat's signature of attempt, hash and justification.
    pub signature: Sig,
}

impl Vote {
    fn statement(&self) -> (Hash, u64, Sig) {
        (self.hash, self.justified_by, self.signature)
    }
}

/// Seats that have voted alike, and their signatures.
#[derive(Default)]
pub(super) struct Tally {
    pub signers: SeatSet,
    pub signatures: Vec<Sig>,
}

impl Tally {
    /// Adds a seat's vote; false if it is in already.
    fn add(&mut self, seat: Seat, signature: Sig) -> bool {
        let new = self.signers.insert(seat);
        if new {
            self.signatures.push(signature);
        }
        assert_eq!(self.signers.len(), self.signatures.len(), "a tally has one signature of each of its seats");
        new
    }
}

/// All votes of one height that are near enough in time.
pub(super) struct Tallies {
    height: u64,
    committee: Arc<Committee>,
    firsts: BTreeMap<(u64, Seat), Vote>,
    seconds: BTreeMap<(u64, Seat), Vote>,
    first_tallies: BTreeMap<(u64, Hash, u64), Tally>,
    second_tallies: BTreeMap<(u64, Hash), Tally>,
    values: BTreeMap<Hash, Arc<Value>>,
    /// Who has contradicted itself: one proof of each is enough.
    contradicted: BTreeSet<Seat>,
    /// Contradictions that were seen.
    pub evidence: Vec<Evidence>,
}

impl Tallies {
    pub(super) fn new(height: u64, committee: Arc<Committee>) -> Tallies {
        Tallies {
            height,
            committee,
            firsts: BTreeMap::new(),
            seconds: BTreeMap::new(),
            first_tallies: BTreeMap::new(),
            second_tallies: BTreeMap::new(),
            values: BTreeMap::new(),
            contradicted: BTreeSet::new(),
            evidence: Vec::new(),
        }
    }

    /// Whether a first vote can change nothing, so that it is not worth its signature: it is counted, or its seat has
    /// voted and contradicted itself already.
    pub(super) fn first_is_idle(&self, from: Seat, vote: &Vote) -> bool {
        self.is_idle(from, self.firsts.get(&(vote.attempt, from)), vote)
    }

    /// The same of a second vote.
    pub(super) fn second_is_idle(&self, from: Seat, vote: &Vote) -> bool {
        self.is_idle(from, self.seconds.get(&(vote.attempt, from)), vote)
    }

    fn is_idle(&self, from: Seat, counted: Option<&Vote>, vote: &Vote) -> bool {
        counted.is_some_and(|counted| counted.statement() == vote.statement() || self.is_contradicted(from))
    }

    /// Whether there is a proof against this seat.
    pub(super) fn is_contradicted(&self, seat: Seat) -> bool {
        self.contradicted.contains(&seat)
    }

    /// Counts a first vote whose signature holds; the tally, when this vote makes it a quorum.
    pub(super) fn count_first(&mut self, from: Seat, vote: Vote, value: &Arc<Value>) -> Option<&Tally> {
        if let Some(first) = self.firsts.get(&(vote.attempt, from)) {
            let statements = [first.statement(), vote.statement()];
            self.contradiction(from, StatementKind::First, vote.attempt, statements);
            return None;
        }
        self.firsts.insert((vote.attempt, from), vote);
        self.left_lock(from);
        self.values.insert(vote.hash, value.clone());
        let tally = self.first_tallies.entry((vote.attempt, vote.hash, vote.justified_by)).or_default();
        let reached = tally.add(from, vote.signature) && tally.signatures.len() == self.committee.quorum();
        reached.then_some(&*tally)
    }

    /// Counts a second vote whose signature holds; the tally, while it is a quorum.
    pub(super) fn count_second(&mut self, from: Seat, vote: Vote) -> Option<&Tally> {
        if let Some(second) = self.seconds.get(&(vote.attempt, from)) {
            let statements = [second.statement(), vote.statement()];
            self.contradiction(from, StatementKind::Second, vote.attempt, statements);
            return None;
        }
        self.seconds.insert((vote.attempt, from), vote);
        self.left_lock(from);
        let tally = self.second_tallies.entry((vote.attempt, vote.hash)).or_default();
        tally.add(from, vote.signature);
        (tally.signatures.len() >= self.committee.quorum()).then_some(&*tally)
    }

    /// The value of this hash, if a first vote for it was heard.
    pub(super) fn value(&self, hash: &Hash) -> Option<&Arc<Value>> {
        self.values.get(hash)
    }

    /// Two statements of one seat in one attempt: evidence, if they differ.
    pub(super) fn contradiction(
        &mut self,
        seat: Seat,
        kind: StatementKind,
        attempt: u64,
        statements: [(Hash, u64, Sig); 2],
    ) {
        if (statements[0].0, statements[0].1) != (statements[1].0, statements[1].1) {
            if !self.contradicted.insert(seat) {
                return;
            }
            let candidate = self.committee.members[usize::from(seat)].candidate;
            self.evidence.push(Evidence::of_two(candidate, kind, self.height, attempt, 0, statements));
        }
    }

    /// A seat that has voted second for one value and then first for another, with nothing in between to free it.
    fn left_lock(&mut self, seat: Seat) {
        let candidate = self.committee.members[usize::from(seat)].candidate;
        let Some((&(newest, _), _)) = self.firsts.last_key_value() else { return };
        for second_in in newest.saturating_sub(2 * ATTEMPTS_KEPT)..=newest {
            let Some(&locked) = self.seconds.get(&(second_in, seat)) else { continue };
            for first_in in second_in + 1..=newest {
                let Some(&first) = self.firsts.get(&(first_in, seat)) else { continue };
                if first.hash != locked.hash && first.justified_by < second_in {
                    let kinds = [StatementKind::First, StatementKind::Second];
                    let (height, numbers) = (self.height, [first_in, second_in]);
                    let statements = [first.statement(), locked.statement()];
                    self.evidence.push(Evidence { candidate, kinds, height, numbers, shard: 0, statements });
                    return;
                }
            }
        }
    }

    /// Most first votes for one value in one attempt, how many values had any, and most second votes.
    pub(super) fn shown(&self) -> (usize, usize, usize) {
        let most = |tallies: &mut dyn Iterator<Item = &Tally>| tallies.map(|tally| tally.signers.len()).max();
        let values = self.first_tallies.keys().map(|key| key.1).collect::<BTreeSet<_>>().len();
        let firsts = most(&mut self.first_tallies.values()).unwrap_or(0);
        (firsts, values, most(&mut self.second_tallies.values()).unwrap_or(0))
    }

    /// Forgets what is older than this attempt.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        self.firsts.retain(|key, _| key.0 >= oldest);
        self.seconds.retain(|key, _| key.0 >= oldest);
        self.first_tallies.retain(|key, _| key.0 >= oldest);
        self.second_tallies.retain(|key, _| key.0 >= oldest);
        let tallies = &self.first_tallies;
        self.values.retain(|hash, _| tallies.keys().any(|key| key.1 == *hash));
    }
}
