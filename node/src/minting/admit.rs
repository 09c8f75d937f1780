//! Users' transactions at the core: taken in, told to minters, followed to their end.

use super::core::{Core, Effect, Out};
use super::entry::{Promise, Ready};
use super::fate::{Fate, Fates, Used};
use super::outcomes::Outcomes;
use super::own::{Client, Payer, Phase};
use super::places::Taken;
use super::pool::Teller;
use super::prepare::GATHERED_OF_LEFT;
use super::promises::{Accepting, Said};
use super::status::Status;
use super::telling::minters_of;
use super::unproved::{Ended, Shard};
use super::watched::{Made, Ripe};
use crate::intake::duties::told_share;
use crate::intake::price::Failure;
use crate::intake::shares::User;
use crate::keep::accepted::Accepted;
use crate::peer::frames::{CELLS, RoomWord, VOTES};
use crate::peer::inclusion::Inclusion;
use crate::peer::paths::{Place, place_of, read_ids};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::limits::SET_ITEMS_MAX;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, transaction_tree};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{PeerInfo, To};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Transactions are told to minters until this part of a slot before sets are closed, or this part of the time until
/// then if it is longer: what comes later would be in some sets and not in others, and sets that differ have to be
/// exchanged. What waits is told to the next minters, once they are known, and stands in the next slot's block.
const TELLING: u64 = 20;
const TELLING_OF_SETS: u64 = 3;
/// For this part of a slot after a height is final answers about it go before what the next one's minters are told.
const ANSWERS: u64 = 20;
/// Transactions that have ended may be in the file of accepted ones, if not more are that are followed.
const ENDED_KEPT: usize = 16_384;

/// Milliseconds before sets close at which the last is told.
fn telling_ends(schedule: &Schedule) -> u64 {
    (schedule.slot_ms / TELLING).max(schedule.sets_ms / TELLING_OF_SETS)
}

impl<S: Signing> Core<S> {
    /// Takes a frame of verified transactions: into the pool, or among those of own users. The places that were taken for
    /// them are free when it was said how many are left.
    pub(super) fn admit(&mut self, now: u64, ready: Ready, out: Out<'_>) -> Taken {
        let (work, count) = (self.judging.begin(), ready.good.len());
        let Ready { from, client, user, told, good, hints, refused, body: _, places } = ready;
        // Told by someone who is behind, or far ahead: told again when it counts.
        let next = self.minter.pending_height();
        if let Some((height, name)) = told.zip(from.and_then(|from| from.name)) {
            self.gate.room().came(height, name, count);
        }
        if told.is_some_and(|height| height != next && height != next + 1) {
            return places;
        }
        let asked = good.len() + refused.len();
        self.local.brought += if told.is_none() { asked as u64 } else { 0 };
        let mut accepting = Accepting::default();
        let mut fresh = Vec::new();
        let mut outcomes: Vec<(u64, Refusal)> = Vec::new();
        let mut refuse = |status: &Status, ordinal: u64, refusal: Refusal| {
            status.refuse(refusal);
            outcomes.push((ordinal, refusal));
        };
        for (ordinal, refusal, item) in refused {
            accepting.said.extend(item.filter(|_| from.is_none()).map(|item| (item, client, Err(refusal))));
            refuse(&self.status, ordinal, refusal);
        }
        let mut admitted = 0;
        let teller = self.teller(from.and_then(|from| from.name), told.unwrap_or(next));
        if let Some(height) = told {
            self.local.late += if height == next && self.minter.round().is_some() { count } else { 0 };
        }
        assert!(hints.is_empty() || hints.len() == good.len(), "each of them has its hint, or none has");
        let hints = hints.into_iter().chain(std::iter::repeat(None));
        for ((ordinal, item, found), hint) in good.into_iter().zip(hints) {
            let said = from.is_none().then(|| item.clone());
            let outcome = match told {
                Some(height) => self.minter.execution.admit_transaction(item, &found, height, &teller),
                None => {
                    let payer = self.minter.execution.check_transaction(&item, &found);
                    let client = Client { user, told: from.map(|from| (from.id, ordinal)) };
                    let payer = payer.map(|payer| Payer { hint, ..payer });
                    payer.and_then(|payer| self.local.own.follow(&item, payer, client)).map(|is_fresh| {
                        fresh.extend(is_fresh.then(|| Accepted { item, whose: user.to_bytes() }));
                    })
                }
            };
            accepting.said.extend(said.map(|item| (item, client, outcome)));
            match outcome {
                Ok(()) => admitted += 1,
                Err(refusal) => refuse(&self.status, ordinal, refusal),
            }
        }
        if let Some(name) = from.filter(|_| told.is_some() && admitted > 0).and_then(|from| from.name) {
            self.peers.forwarders.note(name, next);
        }
        assert_eq!(
            admitted as usize + outcomes.len(),
            asked,
            "each transaction of a frame is admitted or refused, and once"
        );
        self.status.admitted.fetch_add(admitted, Ordering::Relaxed);
        self.promise(now, fresh, accepting, out);
        if told.is_some() {
            self.gate.room().judged(count, work.took(count));
        }
        if let Some(from) = from.filter(|_| told.is_none()) {
            let mut said = Outcomes::default();
            outcomes.into_iter().for_each(|(ordinal, refusal)| said.refuse((from.id, ordinal), refusal));
            out(Effect::SendAll(said.frames()));
        }
        places
    }

    /// Has what is followed anew kept; whoever handed it in hears so when it is. What else is said waits behind what was to
    /// be said before it.
    fn promise(&mut self, now: u64, fresh: Vec<Accepted>, mut accepting: Accepting, out: Out<'_>) {
        if fresh.is_empty() && (accepting.said.is_empty() || self.local.accepting.is_empty()) {
            return self.say(now, accepting.said);
        }
        accepting.fresh = fresh.len();
        self.local.in_file += fresh.len();
        self.local.accepting.push_back(accepting);
        out(Effect::Keep(Promise::Accept(fresh)));
    }

    /// What so many jobs were about is on the disk: it is accepted, and minters are told.
    pub(super) fn accepted(&mut self, now: u64, jobs: usize, out: Out<'_>) {
        for _ in 0..jobs {
            let Accepting { fresh, said } =
                self.local.accepting.pop_front().expect("no more is durable than was asked for");
            self.local.own.kept(fresh);
            self.say(now, said);
        }
        if self.tells(now) {
            self.tell_own(out);
        }
    }

    fn say(&self, now_ms: u64, said: Vec<Said>) {
        for (item, client, outcome) in said {
            self.status.watch(|watched| watched.begin(&self.prefix, &item, client, now_ms, outcome));
        }
    }

    /// Those of own users that no block can take: the API's users hear so.
    pub(super) fn give_up(&self, now_ms: u64, given_up: Vec<(Item, User, Refusal)>) {
        for (item, user, refusal) in given_up {
            self.status.refuse(refusal);
            // Of what another one has replaced its users hear by which.
            if user.by_api && refusal != Refusal::Replaced {
                self.status.watch(|watched| watched.give_up(&self.prefix, &item, now_ms, refusal));
            }
        }
    }

    /// Has the file of what was accepted written anew when most of it has ended.
    pub(super) fn tidy_accepted(&mut self, out: Out<'_>) {
        let live = self.local.own.promised();
        assert!(live <= self.local.in_file, "{live} are followed, {} were accepted", self.local.in_file);
        if self.local.in_file - live <= live.max(ENDED_KEPT) {
            return;
        }
        let of = |(item, user): (&Item, User)| Accepted { item: item.clone(), whose: user.to_bytes() };
        let all: Vec<Accepted> = self.local.own.all().map(of).collect();
        self.local.in_file = all.len();
        out(Effect::Keep(Promise::Rewrite(all)));
    }

    /// Who tells, and how much it may tell for a height; this node, of what its own users sent.
    fn teller(&self, name: Option<u32>, height: u64) -> Teller {
        let name = name.or(self.candidate).unwrap_or(u32::MAX);
        Teller { name, share: told_share(self.minter.execution.system(), self.schedule.slot_ms, name, height) }
    }

    /// Whether minters are told what is new: sets that are closed take nothing more, and what comes later is told to
    /// the minters of the next height, once it is known.
    pub(super) fn tells(&self, now: u64) -> bool {
        let Schedule { slot_ms, sets_ms, .. } = self.schedule;
        let open = now % slot_ms + telling_ends(&self.schedule) < sets_ms;
        open || self.is_final_now(now) && !self.answers_first(now)
    }

    /// Whether the slot is not over whose block is final.
    fn is_final_now(&self, now: u64) -> bool {
        self.minter.execution.system().slot >= self.schedule.slot(now)
    }

    /// Whether own users wait to hear what the block of this slot took: that comes first, for all nodes have the block
    /// to apply now, and telling the next height's minters is most of what there is to do. It waits for a part of the slot
    /// at most, whoever keeps back answers.
    fn answers_first(&self, now: u64) -> bool {
        let until = self.local.final_ms.saturating_add(self.schedule.slot_ms / ANSWERS);
        self.is_final_now(now) && now < until && self.local.unproved.waits_for(self.minter.execution.system().height)
    }

    /// Minters of the next height, which is known now, are told what own users have sent, or after the answers.
    pub(super) fn tell_next(&mut self, now: u64, out: Out<'_>) {
        self.local.tells_later = self.answers_first(now);
        if !self.local.tells_later {
            self.tell_own(out);
        }
    }

    /// Transactions of the API's users that a certified shard-block debits: their first checkpoint.
    pub(super) fn track_certified(&self, now_ms: u64, height: u64, block: &CertifiedBlock) {
        if !self.status.watch(|watched| watched.waiting()) {
            return;
        }
        let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) else { return };
        let state = self.minter.execution.state();
        self.status.watch(|watched| {
            watched.certified(height, block.block.shard, now_ms, |cell| {
                state
                    .find(&cell.sender)
                    .is_some_and(|account| patch.delta.debits.accounts.binary_search(&account).is_ok())
            });
        });
    }

    /// Those that a final block has used up: their second.
    pub(super) fn track_final(&self, now_ms: u64, block: (u64, u64), parent: &System, fates: &mut Fates) {
        if !self.status.watch(|watched| watched.waiting()) {
            return;
        }
        let (state, shards) = (self.minter.execution.state(), parent.committee.shards.len());
        self.status.watch(|watched| {
            watched.settle(block, now_ms, |item, cell| {
                let used = state
                    .find(&cell.sender)
                    .is_some_and(|account| u64::from(state.hot(account).sequence) > cell.sequence);
                let shard = used.then(|| shard_of(&parent.seed, &cell.sender, shards))?;
                Some((shard as u32, fates.fate(shard, item)))
            });
        });
    }

    /// Those that were final before: what they register or stake has come to be by this height, or has not.
    pub(super) fn track_effects(&self, now_ms: u64, system: &System, bans: &[(u64, u16)]) {
        let parameters = &self.minter.execution.chain().parameters.consensus;
        let state = self.minter.execution.state();
        let void = |sender: &Key, made: &Made| {
            let account = state.find(sender)?;
            let staker = |account| system.stakers.get(&account);
            match made {
                Made::Name(name) if system.names.account_of(name) != Some(account) => {
                    Some(("name_taken", parameters.register_reserve))
                }
                Made::Stake(payload, units) => {
                    let is_barred = system.barred.contains_key(&account);
                    let is_other = staker(account).is_some_and(|staker| !payload.starts_with(&*staker.key));
                    (is_barred || is_other).then_some(("stake_not_admitted", *units))
                }
                Made::Name(_) | Made::Moved => None,
            }
        };
        let ripe = Ripe { maturity: parameters.maturity(system.height), bans, void: &void };
        self.status.watch(|watched| watched.ripen(system.height, now_ms, &ripe));
    }

    /// Transactions of a shard-block have come, perhaps after it was final: then who waits to hear by what a sequence was
    /// used up hears so.
    pub(super) fn keep_items(&mut self, now_ms: u64, block: Hash, height: u64, items: &Items, out: Out<'_>) {
        let Some(shard) = self.inclusions.keep(block, height, items) else { return };
        self.prove((height, shard), now_ms, items.clone(), out);
    }

    /// The same of those that a minter has shown, as this node had asked. What is of no block of the chain costs it.
    pub(super) fn hear_proofs(
        &mut self,
        now_ms: u64,
        from: PeerInfo,
        place: Place,
        proofs: &[Inclusion],
        out: Out<'_>,
    ) {
        if !self.inclusions.remembers(place.0) {
            // An answer that has come too late.
            return;
        }
        let (known, strange): (Vec<_>, Vec<_>) = proofs.iter().partition(|proof| self.inclusions.show(place, proof));
        if !strange.is_empty() {
            self.gate.charge(from, Failure::Malformed(strange.iter().map(|proof| proof.bytes()).sum()));
        }
        let items: Vec<Item> = known.iter().map(|proof| proof.item.clone()).collect();
        if !items.is_empty() {
            self.prove((place.0, u32::from(place.1)), now_ms, items.into(), out);
        }
        // Whoever has answered may be asked for more.
        self.ask_unproved(now_ms, out);
    }

    /// These stand in the final block of a place: whoever waits to hear by what a sequence was used up hears so.
    fn prove(&mut self, place: (u64, u32), now_ms: u64, items: Items, out: Out<'_>) {
        let shard = place.1;
        let fates = Fates::of(self.prefix, vec![(shard, items)]);
        self.status.watch(|watched| {
            watched.prove(place, now_ms, |sender, sequence, id| fates.fate_of(shard, sender, sequence, id));
        });
        let fate = |used: &Used| fates.fate_of(shard, &used.sender, used.sequence, &used.id);
        let ended = self.local.unproved.prove((place.0, shard as u16), fate);
        self.end_unproved(ended, out);
    }

    /// Whoever has sent these hears what has become of them.
    pub(super) fn end_unproved(&self, ended: Vec<Ended>, out: Out<'_>) {
        let mut outcomes = Outcomes::default();
        for (used, block, fate) in ended {
            match fate {
                Fate::Final => drop(self.status.own_final.fetch_add(1, Ordering::Relaxed)),
                Fate::Replaced(_) => self.status.refuse(Refusal::Replaced),
                Fate::Unknown => drop(self.status.own_unproved.fetch_add(1, Ordering::Relaxed)),
            }
            used.told.into_iter().for_each(|told| outcomes.end(told, block, fate));
        }
        out(Effect::SendAll(outcomes.frames()));
    }

    /// These have their sequences used up by a final block, nobody here knows by what: it is asked for.
    pub(super) fn find_out(
        &mut self,
        now_ms: u64,
        block: (u64, u64),
        (parent, blocks): (&System, &[Arc<CertifiedBlock>]),
        used: Vec<Used>,
        out: Out<'_>,
    ) {
        let shard = |minters| Shard { minters, transactions: 0 };
        let mut shards: Vec<Shard> = minters_of(&parent.committee).into_iter().map(shard).collect();
        blocks.iter().for_each(|block| shards[block.block.shard as usize].transactions = block.block.transactions);
        let let_go = self.local.unproved.add(block, shards, used);
        self.end_unproved(let_go, out);
        self.ask_unproved(now_ms, out);
    }

    /// All ids of a shard-block, as this node had asked: what is among them is final, and what is not is asked for by its
    /// sender, who has another one there.
    pub(super) fn hear_ids(&mut self, now_ms: u64, from: PeerInfo, body: &[u8], out: Out<'_>) {
        let read = place_of(&body[1..]).zip(read_ids(&body[1..]));
        if read.is_some_and(|(place, _)| !self.inclusions.remembers(place.0)) {
            return;
        }
        let Some((place, ids, header)) =
            read.and_then(|(place, ids)| Some((place, ids, self.inclusions.are_of(place, ids)?)))
        else {
            return self.gate.charge(from, Failure::Malformed(body.len()));
        };
        let stands = |used: &Used| match ids.binary_search(&used.item.id()) {
            Ok(_) => Fate::Final,
            Err(_) => Fate::Unknown,
        };
        let ended = self.local.unproved.prove(place, stands);
        self.local.unproved.ask_again(place, now_ms);
        // Users of the API can ask for the proof; guests hear of the end alone.
        let by_api: Vec<&Used> = ended.iter().map(|ended| &ended.0).filter(|used| used.told.is_none()).collect();
        if !by_api.is_empty() {
            let tree = transaction_tree(ids.to_vec());
            for used in &by_api {
                let place_there = ids.binary_search(&used.item.id()).expect("it was found there");
                self.inclusions.show(place, &Inclusion::of_item(&header, &used.item, &tree, place_there));
            }
            let finals: HashSet<Hash> = by_api.iter().map(|used| used.id).collect();
            let fate = |_: &Key, _: u64, id: &Hash| if finals.contains(id) { Fate::Final } else { Fate::Unknown };
            self.status.watch(|watched| watched.prove((place.0, u32::from(place.1)), now_ms, fate));
        }
        self.end_unproved(ended, out);
        self.ask_unproved(now_ms, out);
    }

    /// Asks for proofs of what other shards have taken of own users, and gives up what nobody has shown.
    pub(super) fn ask_unproved(&mut self, now_ms: u64, out: Out<'_>) {
        let given_up = self.local.unproved.give_up(now_ms);
        self.end_unproved(given_up, out);
        for (minter, want) in self.local.unproved.ask(now_ms, self.schedule.slot_ms / 2, self.candidate) {
            self.gate.asks_paths(To::Name(minter), want.place);
            out(Effect::Ask((To::Name(minter), CELLS, want.encode().into()), 1));
        }
        if self.local.tells_later && self.tells(now_ms) {
            self.tell_next(now_ms, out);
        }
    }

    /// The last time before sets close at which minters are told what is new.
    pub(super) fn last_told_at(&self, closes_ms: u64) -> u64 {
        closes_ms.saturating_sub(telling_ends(&self.schedule) + 1)
    }

    /// How many transactions a set closes with that is closed so late: what can be built until shard-blocks are to be
    /// there.
    pub(super) fn set_max(&self, late_ms: u64) -> usize {
        if self.counted.is_some() {
            // Time stands while the block is built.
            return SET_ITEMS_MAX;
        }
        self.gate.room().built_in(self.build_ms().saturating_sub(late_ms))
    }

    /// How long building may take.
    fn build_ms(&self) -> u64 {
        self.schedule.have_ms.saturating_sub(self.schedule.vote_ms)
    }

    /// Once the own set of a height is closed: measures what it was told. And when sets close, whether it has closed one
    /// or has no seat: if it was drawn for the height after, tells each of those who were how many it takes of them.
    pub(super) fn tell_room(&mut self, now: u64, out: Out<'_>) {
        if let Some((items, took)) = self.minter.execution.built_in.take() {
            self.gate.room().built(items, took, self.build_ms());
        }
        let (system, height) = (self.minter.execution.shared_system().clone(), self.minter.pending_height() + 1);
        let Schedule { slot_ms, sets_ms, .. } = self.schedule;
        let is_seated = self.minter.round().is_some();
        let sets_close = system.slot < self.schedule.slot(now) && now % slot_ms >= sets_ms;
        if is_seated {
            let committee = &system.committee;
            let candidate = |seat: usize| committee.members[seat].candidate;
            let seated: Vec<u32> = (0..committee.members.len()).map(candidate).collect();
            let pace = &self.local.own.pace;
            let (closed, shard) = (height - 1, self.minter.execution.own_shard());
            let word = self.candidate.and_then(|me| pace.word_of(me, closed));
            let mut room = self.gate.room();
            if let Some((own, shard)) = word.zip(shard) {
                let minters: Vec<u32> =
                    committee.shards[shard].iter().map(|&seat| candidate(usize::from(seat))).collect();
                room.note_pace(own, pace.of_shard(closed, &minters).pace as u64);
            }
            room.close(now, self.build_ms(), &seated);
        }
        let is_drawn = self.candidate.is_some_and(|me| system.drawn.contains(&me));
        if !is_drawn || !(is_seated || sets_close) {
            return;
        }
        let words = self.gate.room().say(height, &system.drawn);
        for (teller, transactions) in words {
            let word = RoomWord { height, transactions };
            if Some(teller) == self.candidate {
                self.local.own.pace.hear(teller, height, transactions);
            } else {
                out(Effect::Send((To::Name(teller), VOTES, word.encode().into())));
            }
        }
    }

    /// Says how many more of own users' transactions may come.
    pub(super) fn note_own_left(&mut self, now: u64) {
        let Schedule { slot_ms, sets_ms, .. } = self.schedule;
        let has_begun = self.minter.execution.system().slot < self.schedule.slot(now);
        // Until then what is read may have come before the slot began, and has to stand in its block.
        let of_before = now % slot_ms < sets_ms / GATHERED_OF_LEFT;
        self.local.own.note_phase(match () {
            () if !has_begun || of_before => Phase::Before,
            () if self.tells(now) => Phase::Told,
            () => Phase::ToldNoMore,
        });
        self.gate.places().note_free(self.local.own.left());
    }

    /// Tells the minters of the next height what own users have sent.
    pub(super) fn tell_own(&mut self, out: Out<'_>) {
        self.local.own.note_builds(self.set_max(0));
        let (frames, told) = {
            let execution = &self.minter.execution;
            self.local.own.tell(&execution.state(), execution.system(), self.candidate)
        };
        out(Effect::SendAll(frames));
        let height = self.minter.pending_height();
        let teller = self.teller(None, height);
        let (work, count) = (self.judging.begin(), told.len());
        self.minter.execution.admit_own(told, &teller);
        if let Some(me) = self.candidate.filter(|_| count > 0) {
            let mut room = self.gate.room();
            room.take(height, me, None, count);
            room.came(height, me, count);
            room.judged(count, work.took(count));
        }
    }
}
