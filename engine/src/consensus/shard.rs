//! One shard round: ten minters turn what each has heard into one block that at least seven sign.
//!
//! Sets (whose roots are signed) → lists of the sets that each holds → for each set a count of lists that name it → the
//! block of the union → votes. A set counts that 2f + 1 lists name; one that no list names does not; between, all
//! follow the tie-breaker, whom the seed chooses, and who takes what f + 1 lists name.

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
pub struct Standing {
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
        items: Vec<Arc<Item>>,
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

    /// Takes a message of a minter of the shard.
    pub fn handle<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        from: Seat,
        message: ShardMessage,
        out: &mut Vec<(To, ShardMessage)>,
    ) {
        if !self.seats.contains(&from) || from == self.seat {
            return;
        }
        let candidate = self.candidate(context, from);
        let signed = |kind, hash, signature: &Sig| {
            context.signing.verify(candidate, &self.digest(context, kind, hash), signature)
        };
        match message {
            ShardMessage::SetRoot(root, signature) => {
                if !signed(StatementKind::SetRoot, root, &signature) {
                    return;
                }
                match self.roots.get(&from) {
                    None => {
                        self.roots.insert(from, (root, signature));
                        self.want(from, root, out);
                    }
                    Some(&first) => self.contradiction(context, from, StatementKind::SetRoot, first, (root, signature)),
                }
            }
            ShardMessage::WantSet(root, salt) => {
                if !self.may_want(from) {
                    return;
                }
                let short = self.sets.as_ref().and_then(|sets| sets.tell(&root, &salt));
                out.extend(short.map(|short| (To::Seat(from), ShardMessage::Set(root, short))));
            }
            ShardMessage::Set(root, short) => {
                let asks_max = shard_faults(self.seats.len()) + 1;
                let said = self.is_said(&root, from);
                let Some(sets) = self.sets.as_mut().filter(|_| said) else { return };
                let ask = sets.take_told(root, from, short, asks_max);
                if !ask.is_empty() {
                    out.push((To::Seat(from), ShardMessage::WantItems(root, sets.root(), ask)));
                }
            }
            ShardMessage::WantItems(root, salt, short) => {
                if !self.may_want(from) {
                    return;
                }
                let items = self.sets.as_ref().and_then(|sets| sets.bodies(&root, &salt, short));
                out.extend(items.map(|items| (To::Seat(from), ShardMessage::Items(items))));
            }
            ShardMessage::Items(items) => {
                if let Some(sets) = &mut self.sets {
                    sets.take_bodies(items);
                }
            }
            ShardMessage::List(list, roots, signature) => {
                if list.len() <= self.seats.len() && signed(StatementKind::List, list_hash(&list), &signature) {
                    self.compare_roots(context, &list, &roots);
                    // Whoever lists a set has it: what its own minter withholds is asked for here.
                    if let Some(sets) = &self.sets {
                        let missing: BTreeSet<Hash> =
                            list.iter().map(|pair| pair.1).filter(|root| !sets.holds(root)).collect();
                        out.extend(
                            missing.into_iter().map(|root| (To::Seat(from), ShardMessage::WantSet(root, sets.root()))),
                        );
                    }
                    self.lists.entry(from).or_insert((list, signature));
                }
            }
            ShardMessage::Decision(list, signature) => {
                let tie_breaker = self.tie_breaker(context.committee);
                if tie_breaker == Some(from) && signed(StatementKind::Decision, list_hash(&list), &signature) {
                    self.decision.get_or_insert(list);
                }
            }
            ShardMessage::Vote(hash, signature) => {
                if !signed(StatementKind::ShardVote, hash, &signature) {
                    return;
                }
                match self.votes.get(&from) {
                    None => {
                        self.votes.insert(from, (hash, signature));
                        self.count(context);
                    }
                    Some(&first) => {
                        self.contradiction(context, from, StatementKind::ShardVote, first, (hash, signature))
                    }
                }
            }
        }
    }

    /// A list brings the signatures of the roots that it names: whoever told two minters different roots is found out.
    fn compare_roots<S: Signing>(&mut self, context: &RoundContext<'_, S>, list: &[(Seat, Hash)], signatures: &[Sig]) {
        for (&(seat, root), &signature) in list.iter().zip(signatures) {
            let Some(&first) = self.roots.get(&seat) else { continue };
            let candidate = self.candidate(context, seat);
            if first.0 != root
                && context.signing.verify(candidate, &self.digest(context, StatementKind::SetRoot, root), &signature)
            {
                self.contradiction(context, seat, StatementKind::SetRoot, first, (root, signature));
            }
        }
    }

    fn contradiction<S>(
        &mut self,
        context: &RoundContext<'_, S>,
        seat: Seat,
        kind: StatementKind,
        first: (Hash, Sig),
        second: (Hash, Sig),
    ) {
        if first.0 == second.0 {
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
    pub fn standing(&self) -> Standing {
        let roots: BTreeSet<Hash> = self.roots.values().map(|said| said.0).collect();
        let sets_held = self.sets.as_ref().map_or(0, |sets| roots.iter().filter(|root| sets.holds(root)).count());
        let (sets, sets_different) = (self.roots.len(), roots.len());
        Standing { sets, sets_different, sets_held, lists: self.lists.len(), votes: self.votes.len() }
    }

    /// Says which minters' sets are held.
    pub fn list<S: Signing>(&mut self, context: &RoundContext<'_, S>, out: &mut Vec<(To, ShardMessage)>) {
        let Some(sets) = &self.sets else { return };
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

    /// The tie-breaker says which disputed sets count: those that f + 1 lists name.
    pub fn decide<S: Signing>(&mut self, context: &RoundContext<'_, S>, out: &mut Vec<(To, ShardMessage)>) {
        if self.tie_breaker(context.committee) != Some(self.seat) {
            return;
        }
        let faults = shard_faults(self.seats.len());
        let disputed = self.counts().into_iter().filter(|&(_, count)| count > faults);
        let list: Vec<_> = disputed.map(|(pair, _)| pair).collect();
        let signature = context.signing.sign(&self.digest(context, StatementKind::Decision, list_hash(&list)));
        self.decision = Some(list.clone());
        out.push((To::Shard, ShardMessage::Decision(list, signature)));
    }

    /// Items of the union of the sets that count, ascending by id; none if one of them is not held. `sound`:
    /// [`Sets::union`].
    pub fn union(&self, sound: impl FnMut(&Arc<Item>) -> bool) -> Option<Items> {
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
        sets.union(&roots, sound)
    }

    /// Votes for the block that was built over the union.
    pub fn vote<S: Signing>(
        &mut self,
        context: &RoundContext<'_, S>,
        built: &Arc<Built>,
        out: &mut Vec<(To, ShardMessage)>,
    ) -> Hash {
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
