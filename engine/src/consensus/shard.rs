//! One shard round: ten minters turn what each has heard into one block that at least seven sign.
//!
//! Sets (whose roots are signed) → lists of the sets that each holds → for each set a count of lists that name it → the
//! block of the union → votes. A set counts that 2f + 1 lists name; one that no list names does not; between, all
//! follow the tie-breaker, whom the seed chooses, and who takes what f + 1 lists name.

use super::allowance::Offence;
use super::sets::Sets;
use crate::base::hash::Hash;
use crate::base::ids::{Seat, Sig};
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::CertifiedBlock;
use crate::chain::record::Attest;
use crate::committee::members::Committee;
use crate::committee::quorum::{shard_faults, shard_quorum};
use crate::committee::statement::{Certificate, Evidence, SeatSet, Statement, StatementKind};
use crate::messages::message::{ShardMessage, list_hash};
use crate::rules::build::Built;
use crate::rules::objects::SetBounds;
use crate::transaction::item::{Item, Items};
use crate::vote::signing::Signing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// To whom a message of the round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other minter of the shard.
    Shard,
    /// One of them.
    Seat(Seat),
}

/// Who speaks in the round, with what keys.
pub struct RoundContext<'a, S> {
    /// The chain that digests are bound to.
    pub chain: &'a Hash,
    /// Minters of the round's height, divided into shards.
    pub committee: &'a Committee,
    /// Signs and checks.
    pub signing: &'a S,
}

/// How a round stands, for who watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundShown {
    /// Minters whose set's root was heard, the own one among them.
    pub sets: usize,
    /// Different sets among those.
    pub sets_different: usize,
    /// Those of them that are held.
    pub sets_held: usize,
    /// Lists that were heard.
    pub lists: usize,
    /// Votes that were heard.
    pub votes: usize,
}

/// The state of one minter in one round.
///
/// Invariant 1: a minter signs one root, one list, one decision and one vote a round, whatever its clock does: an
/// instant that comes again says nothing.
pub struct ShardRound {
    /// Height of the block that the round makes.
    pub height: u64,
    /// Slot that the round takes place in.
    pub slot: u64,
    /// Shard whose minters take part.
    pub shard: u16,
    seat: Seat,
    seats: Vec<Seat>,
    seed: Hash,
    /// What each minter said its root is, with the signature.
    roots: BTreeMap<Seat, (Hash, Sig)>,
    /// Once the own set is closed.
    sets: Option<Sets>,
    /// How often each minter has asked for sets or bodies.
    wants: BTreeMap<Seat, usize>,
    lists: BTreeMap<Seat, (Vec<(Seat, Hash)>, Sig)>,
    decision: Option<Vec<(Seat, Hash)>>,
    votes: BTreeMap<Seat, (Hash, Sig)>,
    built: Option<(Hash, Arc<Built>)>,
    /// The round's outcome, once there is one.
    pub certified: Option<Arc<CertifiedBlock>>,
    /// Who has contradicted itself: one proof of each is enough.
    contradicted: BTreeSet<Seat>,
    /// Contradictions that were seen.
    pub evidence: Vec<Evidence>,
}

impl ShardRound {
    /// A round that begins.
    pub fn new(height: u64, slot: u64, shard: u16, seat: Seat, committee: &Committee, seed: Hash) -> ShardRound {
        ShardRound {
            height,
            slot,
            shard,
            seat,
            seats: committee.shards[usize::from(shard)].clone(),
            seed,
            roots: BTreeMap::new(),
            sets: None,
            wants: BTreeMap::new(),
            lists: BTreeMap::new(),
            decision: None,
            votes: BTreeMap::new(),
            built: None,
            certified: None,
            contradicted: BTreeSet::new(),
            evidence: Vec::new(),
        }
    }

    fn digest<S>(&self, context: &RoundContext<'_, S>, kind: StatementKind, hash: Hash) -> Hash {
        Statement { kind, height: self.height, number: self.slot, shard: self.shard, justified_by: 0, hash }
            .digest(context.chain)
    }

    fn candidate<S>(&self, context: &RoundContext<'_, S>, seat: Seat) -> u32 {
        context.committee.members[usize::from(seat)].candidate
    }

    /// The own set is closed: its root is told. Items ascend by id.
    pub fn close<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        items: Vec<Item>,
        out: &mut Vec<(To, ShardMessage)>,
    ) {
        assert!(self.sets.is_none(), "a minter closes its set once a round");
        let sets = Sets::new(items);
        let root = sets.root();
        self.sets = Some(sets);
        let signature = context.signing.sign(&self.digest(context, StatementKind::SetRoot, root));
        self.roots.insert(self.seat, (root, signature));
        out.push((To::Shard, ShardMessage::SetRoot(root, signature)));
        // What others said before is asked for now.
        let others: Vec<_> =
            self.roots.iter().filter(|entry| *entry.0 != self.seat).map(|(&seat, &(root, _))| (seat, root)).collect();
        others.into_iter().for_each(|(seat, root)| self.want(seat, root, out));
    }

    fn want(&self, seat: Seat, root: Hash, out: &mut Vec<(To, ShardMessage)>) {
        if let Some(sets) = self.sets.as_ref().filter(|sets| !sets.knows(&root)) {
            out.push((To::Seat(seat), ShardMessage::WantSet(root, sets.root())));
        }
    }

    /// Takes a message of a minter of the shard. What does not hold is that minter's offence.
    pub fn handle<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        from: Seat,
        message: ShardMessage,
        out: &mut Vec<(To, ShardMessage)>,
    ) -> Option<Offence> {
        if !self.seats.contains(&from) || from == self.seat {
            return None;
        }
        match message {
            ShardMessage::SetRoot(root, signature) => self.hear_root(context, from, (root, signature), out),
            ShardMessage::WantSet(root, salt) => {
                if self.may_want(from) {
                    let short = self.sets.as_ref().and_then(|sets| sets.tell(&root, &salt));
                    out.extend(short.map(|short| (To::Seat(from), ShardMessage::Set(root, short))));
                }
                None
            }
            ShardMessage::Set(root, short) => {
                let asks_max = shard_faults(self.seats.len()) + 1;
                let said = self.is_said(&root, from);
                let sets = self.sets.as_mut().filter(|_| said)?;
                let ask = sets.take_told(root, from, short, asks_max);
                if !ask.is_empty() {
                    out.push((To::Seat(from), ShardMessage::WantItems(root, sets.root(), ask)));
                }
                None
            }
            ShardMessage::WantItems(root, salt, short) => {
                if self.may_want(from) {
                    let items = self.sets.as_ref().and_then(|sets| sets.bodies(&root, &salt, short));
                    out.extend(items.map(|items| (To::Seat(from), ShardMessage::Items(items))));
                }
                None
            }
            ShardMessage::Items(items) => {
                self.sets.as_mut()?.take_bodies(items);
                None
            }
            ShardMessage::List(list, roots, signature) => self.hear_list(context, from, (list, roots, signature), out),
            ShardMessage::Decision(list, signature) => {
                let wanted = self.wants_decision(context.committee, from);
                if wanted && !self.signed(context, from, StatementKind::Decision, list_hash(&list), &signature) {
                    return Some(Offence::Signature);
                }
                if wanted {
                    self.decision = Some(list);
                }
                None
            }
            ShardMessage::Vote(hash, signature) => self.hear_vote(context, from, (hash, signature)),
        }
    }

    /// Whether it is the round of this height, slot and shard.
    pub fn is_at(&self, height: u64, slot: u64, shard: u16) -> bool {
        (self.height, self.slot, self.shard) == (height, slot, shard)
    }

    /// Whether what another says is signed and would change something: nothing else is worth its signature.
    pub fn wants(&self, committee: &Committee, from: Seat, message: &ShardMessage) -> bool {
        let of_shard = self.seats.contains(&from) && from != self.seat;
        of_shard
            && match message {
                ShardMessage::SetRoot(root, _) => !self.is_idle(from, self.roots.get(&from), root),
                ShardMessage::Vote(hash, _) => !self.is_idle(from, self.votes.get(&from), hash),
                ShardMessage::List(list, ..) => self.wants_list(from, list),
                ShardMessage::Decision(..) => self.wants_decision(committee, from),
                _ => false,
            }
    }

    /// Whether this is a list of minters of the shard, of each once, in order, as who is honest lists them, and the
    /// first of its own.
    fn wants_list(&self, from: Seat, list: &[(Seat, Hash)]) -> bool {
        let ordered = list.is_sorted_by(|one, next| one.0 < next.0);
        let of_shard = list.iter().all(|(seat, _)| self.seats.contains(seat));
        ordered && of_shard && !self.lists.contains_key(&from)
    }

    fn wants_decision(&self, committee: &Committee, from: Seat) -> bool {
        self.tie_breaker(committee) == Some(from) && self.decision.is_none()
    }

    /// Whether another minter has signed this in this round.
    fn signed<S: Signing>(
        &self,
        context: &RoundContext<'_, S>,
        from: Seat,
        kind: StatementKind,
        hash: Hash,
        signature: &Sig,
    ) -> bool {
        context.signing.verify(self.candidate(context, from), &self.digest(context, kind, hash), signature)
    }

    /// Whether a root or vote can change nothing, so that it is not worth its signature: it is known, or its minter has
    /// said one and contradicted itself already.
    fn is_idle(&self, from: Seat, known: Option<&(Hash, Sig)>, hash: &Hash) -> bool {
        known.is_some_and(|known| known.0 == *hash || self.contradicted.contains(&from))
    }

    fn hear_root<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        from: Seat,
        (root, signature): (Hash, Sig),
        out: &mut Vec<(To, ShardMessage)>,
    ) -> Option<Offence> {
        let known = self.roots.get(&from).copied();
        if self.is_idle(from, known.as_ref(), &root) {
            return None;
        }
        if !self.signed(context, from, StatementKind::SetRoot, root, &signature) {
            return Some(Offence::Signature);
        }
        match known {
            None => {
                self.roots.insert(from, (root, signature));
                self.want(from, root, out);
            }
            Some(first) => self.contradiction(context, from, StatementKind::SetRoot, first, (root, signature)),
        }
        None
    }

    /// Of each minter the first list counts.
    fn hear_list<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        from: Seat,
        (list, roots, signature): (Vec<(Seat, Hash)>, Vec<Sig>, Sig),
        out: &mut Vec<(To, ShardMessage)>,
    ) -> Option<Offence> {
        if !self.wants_list(from, &list) {
            return None;
        }
        assert!(list.len() <= self.seats.len(), "each minter of the shard is listed once");
        if !self.signed(context, from, StatementKind::List, list_hash(&list), &signature) {
            return Some(Offence::Signature);
        }
        let offence = self.compare_roots(context, &list, &roots);
        // Whoever lists a set has it: what its own minter withholds is asked for here.
        if let Some(sets) = &self.sets {
            let missing: BTreeSet<Hash> = list.iter().map(|pair| pair.1).filter(|root| !sets.holds(root)).collect();
            out.extend(missing.into_iter().map(|root| (To::Seat(from), ShardMessage::WantSet(root, sets.root()))));
        }
        self.lists.insert(from, (list, signature));
        offence
    }

    fn hear_vote<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        from: Seat,
        (hash, signature): (Hash, Sig),
    ) -> Option<Offence> {
        let known = self.votes.get(&from).copied();
        if self.is_idle(from, known.as_ref(), &hash) {
            return None;
        }
        if !self.signed(context, from, StatementKind::ShardVote, hash, &signature) {
            return Some(Offence::Signature);
        }
        match known {
            None => {
                self.votes.insert(from, (hash, signature));
                self.count(context);
            }
            Some(first) => self.contradiction(context, from, StatementKind::ShardVote, first, (hash, signature)),
        }
        None
    }

    /// A list brings the signatures of the roots that it names: whoever told two minters different roots is found out.
    /// Who lists has verified them: one that does not hold is the lister's offence, and the last that is looked at.
    fn compare_roots<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        list: &[(Seat, Hash)],
        signatures: &[Sig],
    ) -> Option<Offence> {
        for (&(seat, root), &signature) in list.iter().zip(signatures) {
            let Some(&first) = self.roots.get(&seat) else { continue };
            if self.is_idle(seat, Some(&first), &root) {
                continue;
            }
            if !self.signed(context, seat, StatementKind::SetRoot, root, &signature) {
                return Some(Offence::List);
            }
            self.contradiction(context, seat, StatementKind::SetRoot, first, (root, signature));
        }
        None
    }

    fn contradiction<S>(
        &mut self,
        context: &RoundContext<'_, S>,
        seat: Seat,
        kind: StatementKind,
        first: (Hash, Sig),
        second: (Hash, Sig),
    ) {
        if first.0 == second.0 || !self.contradicted.insert(seat) {
            return;
        }
        let statements = [first, second].map(|(hash, signature)| (hash, 0, signature));
        let candidate = self.candidate(context, seat);
        if planted(Mutation::EvidenceInSameSlot) {
            self.roots.remove(&seat);
        }
        self.evidence.push(Evidence::of_two(candidate, kind, self.height, self.slot, self.shard, statements));
    }

    /// Whether a minter has not asked more than anyone needs: each set once of its minter and once of each who lists
    /// it, and its bodies as often.
    fn may_want(&mut self, from: Seat) -> bool {
        let wants = self.wants.entry(from).or_insert(0);
        *wants += 1;
        *wants <= 4 * self.seats.len()
    }

    /// Whether this minter has signed this root as its own, or listed it.
    fn is_said(&self, root: &Hash, from: Seat) -> bool {
        let signed = self.roots.get(&from).is_some_and(|said| said.0 == *root);
        signed || self.lists.get(&from).is_some_and(|(list, _)| list.iter().any(|pair| pair.1 == *root))
    }

    /// How the round stands.
    pub fn shown(&self) -> RoundShown {
        let roots: BTreeSet<Hash> = self.roots.values().map(|said| said.0).collect();
        let sets_held = self.sets.as_ref().map_or(0, |sets| roots.iter().filter(|root| sets.holds(root)).count());
        let (sets, sets_different) = (self.roots.len(), roots.len());
        RoundShown { sets, sets_different, sets_held, lists: self.lists.len(), votes: self.votes.len() }
    }

    /// Whether no set is in enough lists yet, and fewer have said theirs than are honest at least: what is built then is
    /// built of nothing. Liars who are silent are not waited for.
    pub fn lacks_lists(&self) -> bool {
        let faults = shard_faults(self.seats.len());
        let begun = self.sets.is_some() && !self.has_voted();
        begun
            && self.lists.len() < self.seats.len() - faults
            && self.counts().into_values().all(|count| count <= 2 * faults)
    }

    /// Says which minters' sets are held, once: invariant 1.
    pub fn list<S: Signing>(&mut self, context: &RoundContext<'_, S>, out: &mut Vec<(To, ShardMessage)>) {
        let Some(sets) = self.sets.as_ref().filter(|_| !self.lists.contains_key(&self.seat)) else { return };
        let held = self.roots.iter().filter(|(_, (root, _))| sets.holds(root));
        let (list, roots): (Vec<_>, Vec<_>) = held.map(|(&seat, &(root, signature))| ((seat, root), signature)).unzip();
        let signature = context.signing.sign(&self.digest(context, StatementKind::List, list_hash(&list)));
        self.lists.insert(self.seat, (list.clone(), signature));
        out.push((To::Shard, ShardMessage::List(list, roots, signature)));
    }

    fn tie_breaker(&self, committee: &Committee) -> Option<Seat> {
        committee.lowest(self.seats.iter().copied(), &self.seed, self.slot, self.shard)
    }

    fn counts(&self) -> BTreeMap<(Seat, Hash), usize> {
        let mut counts = BTreeMap::new();
        for (list, _) in self.lists.values() {
            for pair in list.iter().collect::<BTreeSet<_>>() {
                *counts.entry(*pair).or_insert(0) += 1;
            }
        }
        counts
    }

    /// The tie-breaker says, once, which disputed sets count: those that f + 1 lists name. Invariant 1.
    pub fn decide<S: Signing>(&mut self, context: &RoundContext<'_, S>, out: &mut Vec<(To, ShardMessage)>) {
        if self.tie_breaker(context.committee) != Some(self.seat) || self.decision.is_some() {
            return;
        }
        let faults = shard_faults(self.seats.len());
        let disputed = self.counts().into_iter().filter(|&(_, count)| count > faults);
        let list: Vec<_> = disputed.map(|(pair, _)| pair).collect();
        let signature = context.signing.sign(&self.digest(context, StatementKind::Decision, list_hash(&list)));
        self.decision = Some(list.clone());
        out.push((To::Shard, ShardMessage::Decision(list, signature)));
    }

    /// Items of the union of the sets that count, ascending by id; none if one of them is not held. `bounds`, `sound`:
    /// [`Sets::union`].
    pub fn union(&self, bounds: &SetBounds, sound: impl FnMut(&Item) -> bool) -> Option<Items> {
        let sets = self.sets.as_ref()?;
        let faults = shard_faults(self.seats.len());
        let mut roots = BTreeSet::new();
        for ((seat, root), count) in self.counts() {
            if planted(Mutation::EvidenceInSameSlot) && !self.roots.contains_key(&seat) {
                continue;
            }
            let told = self.decision.as_ref().is_some_and(|decision| decision.contains(&(seat, root)));
            let takes = if planted(Mutation::OwnViewCounts) {
                sets.holds(&root) && count > faults
            } else {
                // Someone lists it, or it would not be counted: a liar's list that only some have heard changes
                // nothing.
                count > 2 * faults || told
            };
            if takes {
                roots.insert(root);
            }
        }
        sets.union(&roots, bounds, sound)
    }

    /// Whether the own vote has been said: then there is nothing to build for.
    pub fn has_voted(&self) -> bool {
        self.votes.contains_key(&self.seat)
    }

    /// Votes for the block that was built over the union. One vote a round: invariant 1.
    pub fn vote<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        built: &Arc<Built>,
        out: &mut Vec<(To, ShardMessage)>,
    ) -> Hash {
        assert!(!self.has_voted() || planted(Mutation::VotesTwiceInARound), "a minter votes once a round: invariant 1");
        let hash = built.block.hash();
        let signature = context.signing.sign(&self.digest(context, StatementKind::ShardVote, hash));
        self.built = Some((hash, built.clone()));
        self.votes.insert(self.seat, (hash, signature));
        out.push((To::Shard, ShardMessage::Vote(hash, signature)));
        self.count(context);
        hash
    }

    /// The votes for a block, combined.
    fn certificate<S: Signing>(&self, signing: &S, hash: &Hash) -> Certificate {
        let mut signers = SeatSet::default();
        let mut signatures = Vec::new();
        for (&seat, (voted, signature)) in &self.votes {
            if voted == hash {
                signers.insert(seat);
                signatures.push(*signature);
            }
        }
        assert_eq!(signers.len(), signatures.len(), "each minter's vote counts once");
        assert!(signers.iter().all(|seat| self.seats.contains(&seat)), "only minters of the shard approve its block");
        Certificate { signers, aggregate: signing.aggregate(&signatures) }
    }

    fn count<S: Signing>(&mut self, context: &RoundContext<'_, S>) {
        let Some((hash, built)) = &self.built else { return };
        let votes = self.votes.values().filter(|vote| vote.0 == *hash).count();
        if self.certified.is_some() || votes < shard_quorum(self.seats.len()) {
            return;
        }
        let certificate = self.certificate(context.signing, hash);
        assert_eq!(certificate.signers.len(), votes, "a certificate has the votes that made it a quorum");
        let Built { block, items, patch } = &**built;
        let (block, items, patch) = (*block, items.clone(), patch.clone());
        self.certified =
            Some(Arc::new(CertifiedBlock { height: self.height, block, hash: *hash, certificate, items, patch }));
    }

    /// Who has approved the block that was certified, with all votes that came since.
    pub fn attest<S: Signing>(&self, signing: &S) -> Option<Attest> {
        let block = self.certified.as_ref()?.hash;
        let certificate = self.certificate(signing, &block);
        Some(Attest { height: self.height, slot: self.slot, shard: self.shard, block, certificate })
    }
}
