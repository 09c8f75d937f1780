//! One shard round: ten minters turn what each has heard into one block that at least seven sign.
//!
//! Sets (whose roots are signed) → lists of the sets that each holds → for each set a count of lists that name it → the
//! block of the union → votes. A set counts that 2f + 1 lists name; one that no list names does not; between, all follow the
//! tie-breaker, whom the seed chooses, and who takes what f + 1 lists name.

use super::committee::{Committee, Seat};
use super::message::{Certificate, CertifiedBlock, Evidence, Item, Kind, SeatSet, ShardMessage, Signed};
use super::mutation::{Mutation, planted};
use super::quorum::{shard_faults, shard_quorum};
use super::signing::{Sig, Signing};
use crate::hash::{Hash, keyed, list_root, purpose_key};
use crate::keyed_hash::HashSeed;
use crate::system::build::Built;
use crate::system::record::Attest;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

static SET_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix minter's set v1"));
static LIST_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix list of sets v1"));

/// Ids of a set at most: what a message may list.
pub const SET_ITEMS_MAX: usize = 400_000;

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
    /// The committee.
    pub committee: &'a Committee,
    /// Signs and checks.
    pub signing: &'a S,
}

/// The state of one minter in one round.
pub struct ShardRound {
    /// Height.
    pub height: u64,
    /// Slot.
    pub slot: u64,
    /// Shard.
    pub shard: u16,
    seat: Seat,
    seats: Vec<Seat>,
    seed: Hash,
    own: Option<Hash>,
    /// What each minter said its root is, with the signature.
    roots: BTreeMap<Seat, (Hash, Sig)>,
    /// Sets whose ids are known, by root.
    sets: BTreeMap<Hash, Vec<Hash>>,
    /// Sets of which bodies are missing: the ids known so far, and the short ids still to come.
    partial: BTreeMap<Hash, (Vec<Hash>, BTreeSet<u64>)>,
    /// Bodies by id.
    items: BTreeMap<Hash, Arc<Item>>,
    asked: BTreeSet<u64>,
    /// How often each set was told.
    tells: BTreeMap<Hash, usize>,
    lists: BTreeMap<Seat, (Vec<(Seat, Hash)>, Sig)>,
    decision: Option<Vec<(Seat, Hash)>>,
    votes: BTreeMap<Seat, (Hash, Sig)>,
    built: Option<(Hash, Arc<Built>)>,
    /// The round's outcome, once there is one.
    pub certified: Option<Arc<CertifiedBlock>>,
    /// Contradictions that were seen.
    pub evidence: Vec<Evidence>,
}

fn set_root(ids: &[Hash]) -> Hash {
    list_root(&SET_KEY, &mut ids.to_vec())
}

/// The hash of a list, which its minter signs.
pub fn list_hash(list: &[(Seat, Hash)]) -> Hash {
    let mut bytes = Vec::with_capacity(34 * list.len());
    for (seat, root) in list {
        bytes.extend_from_slice(&seat.to_le_bytes());
        bytes.extend_from_slice(root);
    }
    keyed(&LIST_KEY, &bytes)
}

/// Short ids are salted by set and receiver: nobody can prepare two transactions that share one.
fn short_ids(root: &Hash, receiver: u32) -> HashSeed {
    HashSeed::from_key(&keyed(root, &receiver.to_le_bytes()))
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
            own: None,
            roots: BTreeMap::new(),
            sets: BTreeMap::new(),
            partial: BTreeMap::new(),
            items: BTreeMap::new(),
            asked: BTreeSet::new(),
            tells: BTreeMap::new(),
            lists: BTreeMap::new(),
            decision: None,
            votes: BTreeMap::new(),
            built: None,
            certified: None,
            evidence: Vec::new(),
        }
    }

    fn digest<S>(&self, context: &RoundContext<'_, S>, kind: Kind, hash: Hash) -> Hash {
        Signed { kind, height: self.height, number: self.slot, shard: self.shard, justified_by: 0, hash }.digest(context.chain)
    }

    fn candidate<S>(&self, context: &RoundContext<'_, S>, seat: Seat) -> u32 {
        context.committee.members[usize::from(seat)].candidate
    }

    /// The own set is closed: its root is told.
    pub fn close<S: Signing>(&mut self, context: &RoundContext<'_, S>, mut items: Vec<Arc<Item>>, out: &mut Vec<(To, ShardMessage)>) {
        items.truncate(SET_ITEMS_MAX);
        let ids: Vec<_> = items.iter().map(|item| item.id).collect();
        let root = set_root(&ids);
        self.items.extend(items.into_iter().map(|item| (item.id, item)));
        self.own = Some(root);
        self.sets.insert(root, ids);
        let signature = context.signing.sign(&self.digest(context, Kind::SetRoot, root));
        self.roots.insert(self.seat, (root, signature));
        out.push((To::Shard, ShardMessage::SetRoot(root, signature)));
        // What others said before is asked for now.
        let others: Vec<_> = self.roots.iter().filter(|entry| *entry.0 != self.seat).map(|(&seat, &(root, _))| (seat, root)).collect();
        others.into_iter().for_each(|(seat, root)| self.want(seat, root, out));
    }

    fn want(&mut self, seat: Seat, root: Hash, out: &mut Vec<(To, ShardMessage)>) {
        if self.own.is_some() && !self.sets.contains_key(&root) && !self.partial.contains_key(&root) {
            out.push((To::Seat(seat), ShardMessage::WantSet(root)));
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
        let signed = |kind, hash, signature: &Sig| context.signing.verify(candidate, &self.digest(context, kind, hash), signature);
        match message {
            ShardMessage::SetRoot(root, signature) => {
                if !signed(Kind::SetRoot, root, &signature) {
                    return;
                }
                match self.roots.get(&from) {
                    None => {
                        self.roots.insert(from, (root, signature));
                        self.want(from, root, out);
                    }
                    Some(&first) => self.contradiction(context, from, Kind::SetRoot, first, (root, signature)),
                }
            }
            ShardMessage::WantSet(root) => {
                if let Some(ids) = self.sets.get(&root) {
                    let salt = short_ids(&root, candidate);
                    let short = ids.iter().map(|id| salt.hash(id)).collect();
                    out.push((To::Seat(from), ShardMessage::Set(root, short)));
                }
            }
            ShardMessage::Set(root, short) => self.take_set(context, from, root, short, out),
            ShardMessage::WantItems(root, short) => {
                let Some(ids) = self.sets.get(&root) else { return };
                let wanted: BTreeSet<u64> = short.into_iter().collect();
                let salt = short_ids(&root, candidate);
                let of = |id: &&Hash| wanted.contains(&salt.hash(id));
                let items: Vec<_> = ids.iter().filter(of).filter_map(|id| self.items.get(id).cloned()).collect();
                out.push((To::Seat(from), ShardMessage::Items(items)));
            }
            ShardMessage::Items(items) => {
                // Only what is missing from a set that was told: nobody fills the memory with what no one asked for.
                let me = self.candidate(context, self.seat);
                let salts: Vec<_> = self.partial.iter().map(|(root, partial)| (short_ids(root, me), &partial.1)).collect();
                let wanted = |item: &Arc<Item>| salts.iter().any(|(salt, missing)| missing.contains(&salt.hash(&item.id)));
                let items: Vec<_> = items.into_iter().filter(wanted).collect();
                let new: Vec<Hash> = items.iter().map(|item| item.id).collect();
                self.items.extend(items.into_iter().map(|item| (item.id, item)));
                self.complete(context, &new);
            }
            ShardMessage::List(list, roots, signature) => {
                if list.len() <= self.seats.len() && signed(Kind::List, list_hash(&list), &signature) {
                    self.compare_roots(context, &list, &roots);
                    // Whoever lists a set has it: what its own minter withholds is asked for here.
                    let missing = list.iter().filter(|(_, root)| !self.sets.contains_key(root));
                    out.extend(missing.map(|&(_, root)| (To::Seat(from), ShardMessage::WantSet(root))));
                    self.lists.entry(from).or_insert((list, signature));
                }
            }
            ShardMessage::Decision(list, signature) => {
                let tie_breaker = self.tie_breaker(context.committee);
                if tie_breaker == Some(from) && signed(Kind::Decision, list_hash(&list), &signature) {
                    self.decision.get_or_insert(list);
                }
            }
            ShardMessage::Vote(hash, signature) => {
                if !signed(Kind::ShardVote, hash, &signature) {
                    return;
                }
                match self.votes.get(&from) {
                    None => {
                        self.votes.insert(from, (hash, signature));
                        self.count(context);
                    }
                    Some(&first) => self.contradiction(context, from, Kind::ShardVote, first, (hash, signature)),
                }
            }
        }
    }

    /// A list brings the signatures of the roots that it names: whoever told two minters different roots is found out.
    fn compare_roots<S: Signing>(&mut self, context: &RoundContext<'_, S>, list: &[(Seat, Hash)], signatures: &[Sig]) {
        for (&(seat, root), &signature) in list.iter().zip(signatures) {
            let Some(&first) = self.roots.get(&seat) else { continue };
            let candidate = self.candidate(context, seat);
            if first.0 != root && context.signing.verify(candidate, &self.digest(context, Kind::SetRoot, root), &signature) {
                self.contradiction(context, seat, Kind::SetRoot, first, (root, signature));
            }
        }
    }

    fn contradiction<S>(&mut self, context: &RoundContext<'_, S>, seat: Seat, kind: Kind, first: (Hash, Sig), second: (Hash, Sig)) {
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

    /// Of a set that is told in short ids: which are known, and which bodies to ask for, each from one minter only.
    fn take_set<S>(&mut self, context: &RoundContext<'_, S>, from: Seat, root: Hash, short: Vec<u64>, out: &mut Vec<(To, ShardMessage)>) {
        let listed = || self.lists.values().any(|(list, _)| list.iter().any(|pair| pair.1 == root));
        let said = self.roots.values().any(|said| said.0 == root) || listed();
        if !said || short.len() > SET_ITEMS_MAX || self.sets.contains_key(&root) {
            return;
        }
        // A second answer about a set means that the first did not lead to it: bodies are asked for again.
        let again = self.partial.contains_key(&root);
        let tells = self.tells.entry(root).or_insert(0);
        *tells += 1;
        if *tells > 2 * self.seats.len() || self.asked.len() > 2 * SET_ITEMS_MAX {
            return;
        }
        let me = self.candidate(context, self.seat);
        let salt = short_ids(&root, me);
        let known: HashMap<u64, Hash> = self.items.keys().map(|id| (salt.hash(id), *id)).collect();
        let ids: Vec<Hash> = short.iter().filter_map(|short| known.get(short).copied()).collect();
        let missing: BTreeSet<u64> = short.into_iter().filter(|short| !known.contains_key(short)).collect();
        let ask: Vec<u64> = missing.iter().copied().filter(|&short| self.asked.insert(short) || again).collect();
        self.partial.insert(root, (ids, missing));
        if !ask.is_empty() {
            out.push((To::Seat(from), ShardMessage::WantItems(root, ask)));
        }
        self.complete(context, &[]);
    }

    /// Sets whose last body has come, with these new ones, are held, if their root is what was said.
    fn complete<S>(&mut self, context: &RoundContext<'_, S>, new: &[Hash]) {
        let me = self.candidate(context, self.seat);
        let roots: Vec<_> = self.partial.keys().copied().collect();
        for root in roots {
            let (ids, missing) = self.partial.get_mut(&root).expect("listed above");
            if !missing.is_empty() {
                let salt = short_ids(&root, me);
                let found: Vec<_> = new.iter().filter(|id| missing.remove(&salt.hash(id))).copied().collect();
                ids.extend(found);
            }
            if missing.is_empty() {
                let (mut ids, _) = self.partial.remove(&root).expect("listed above");
                ids.sort_unstable();
                ids.dedup();
                if set_root(&ids) == root {
                    self.sets.insert(root, ids);
                }
            }
        }
    }

    /// Says which minters' sets are held.
    pub fn list<S: Signing>(&mut self, context: &RoundContext<'_, S>, out: &mut Vec<(To, ShardMessage)>) {
        let held = self.roots.iter().filter(|(_, (root, _))| self.sets.contains_key(root));
        let (list, roots): (Vec<_>, Vec<_>) = held.map(|(&seat, &(root, signature))| ((seat, root), signature)).unzip();
        let signature = context.signing.sign(&self.digest(context, Kind::List, list_hash(&list)));
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
        let signature = context.signing.sign(&self.digest(context, Kind::Decision, list_hash(&list)));
        self.decision = Some(list.clone());
        out.push((To::Shard, ShardMessage::Decision(list, signature)));
    }

    /// Ids of the union of the sets that count; none if one of them is not held.
    ///
    /// `sound` says whether an item may stand in a block on this parent. Honest minters put nothing else into their sets, so a
    /// set with an unsound item is left out, with all that only it has: judging it costs one look, however much it holds.
    pub fn union(&self, mut sound: impl FnMut(&Item) -> bool) -> Option<Vec<Arc<Item>>> {
        let faults = shard_faults(self.seats.len());
        let mut roots = BTreeSet::new();
        for ((seat, root), count) in self.counts() {
            if planted(Mutation::EvidenceInSameSlot) && !self.roots.contains_key(&seat) {
                continue;
            }
            let told = self.decision.as_ref().is_some_and(|decision| decision.contains(&(seat, root)));
            let takes = if planted(Mutation::OwnViewCounts) {
                self.sets.contains_key(&root) && count > faults
            } else {
                // Someone lists it, or it would not be counted: a liar's list that only some have heard changes nothing.
                count > 2 * faults || told
            };
            if takes {
                roots.insert(root);
            }
        }
        // Most minters hold the same set: each different one is read once.
        let mut union: Vec<Hash> = Vec::new();
        for root in &roots {
            let ids = self.sets.get(root)?;
            if ids.iter().all(|id| self.items.get(id).is_some_and(|item| sound(item))) {
                union.extend(ids);
            }
        }
        if roots.len() > 1 {
            union.sort_unstable();
            union.dedup();
        }
        union.into_iter().map(|id| self.items.get(&id).cloned()).collect()
    }

    /// Votes for the block that was built over the union.
    pub fn vote<S: Signing>(&mut self, context: &RoundContext<'_, S>, built: &Arc<Built>, out: &mut Vec<(To, ShardMessage)>) -> Hash {
        let hash = built.block.hash();
        let signature = context.signing.sign(&self.digest(context, Kind::ShardVote, hash));
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
        Certificate { signers, aggregate: signing.aggregate(&signatures) }
    }

    fn count<S: Signing>(&mut self, context: &RoundContext<'_, S>) {
        let Some((hash, built)) = &self.built else { return };
        let votes = self.votes.values().filter(|vote| vote.0 == *hash).count();
        if self.certified.is_some() || votes < shard_quorum(self.seats.len()) {
            return;
        }
        let certificate = self.certificate(context.signing, hash);
        let Built { block, items, patch } = &**built;
        let (block, items, patch) = (*block, items.clone(), patch.clone());
        self.certified = Some(Arc::new(CertifiedBlock { height: self.height, block, hash: *hash, certificate, items, patch }));
    }

    /// Who has approved the block that was certified, with all votes that came since.
    pub fn attest<S: Signing>(&self, signing: &S) -> Option<Attest> {
        let block = self.certified.as_ref()?.hash;
        let certificate = self.certificate(signing, &block);
        Some(Attest { height: self.height, slot: self.slot, shard: self.shard, block, certificate })
    }
}

/// Whether a shard-block's certificate is one of this committee. What the block says is for [`super::execution`] to check.
pub fn certificate_holds<S: Signing>(context: &RoundContext<'_, S>, block: &CertifiedBlock) -> bool {
    let Some(seats) = context.committee.shards.get(block.block.shard as usize) else { return false };
    let shard = block.block.shard as u16;
    let signed = Signed { kind: Kind::ShardVote, height: block.height, number: block.block.slot, shard, justified_by: 0, hash: block.hash };
    block.hash == block.block.hash()
        && block.certificate.signers.iter().all(|seat| seats.contains(&seat))
        && block.certificate.verify(context.committee, shard_quorum(seats.len()), &signed.digest(context.chain), context.signing)
}
