//! Who looks whether a shard-block's transactions are there. In quilt mode only patches travel, so a shard whose
//! minters are all bad could change its accounts with no transaction behind it. Custodians, drawn by stake when the
//! height before became final, fetch the transactions of each final block; three that are not served raise the alarm, the
//! committee of the day looks for itself, and a quorum of it that is not served either is what a ban stands on. No
//! opinion of one or two counts.
//!
//! ```text
//!   Propose, Try 1   the minters of a block that is final send the items to the custodians that are none of them
//!   next slot        custodians that lack them ask the signers                       Begin .. Lists
//!                    still lacking: alarm to the committee, signers and custodians    Lists
//!   from then on     the committee asks them, and its own members, by those alarms    .. Try 0
//!                    not served in the time that the block's size takes: said, signed; q of them make an Alert
//! ```
//!
//! Bodies are large and lines are slow: whoever was served serves others, nobody asks for a second copy while the first
//! may be on its way, and nobody says that it was not served before the items could have passed its line
//! [`LOOK_ROUNDS`] times. A block that is too large for that in one slot is not held by anyone.

use super::allowance::Offence;
use crate::base::hash::Hash;
use crate::base::ids::Sig;
use crate::base::limits::{BLOCK_BYTES_MAX, CELL_BYTES};
use crate::base::parameters::LOOK_ROUNDS;
use crate::chain::block::{CertifiedBlock, transaction_path, transactions_root};
use crate::chain::record::{ALERTS, Alarms, Alert, Attest, Invalid, Record};
use crate::committee::members::Committee;
use crate::committee::schedule::{Schedule, Step};
use crate::committee::statement::{Certificate, SeatSet};
use crate::messages::message::Message;
use crate::rules::bodies::Bodies;
use crate::rules::execution::Execution;
use crate::transaction::item::{ITEM_MEMORY, Item, Items, items_bytes};
use crate::vote::signing::Signing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of memory of others' items: those that came before their block was final, and those that were found good and are
/// kept for who asks. Of what is too much the oldest go.
pub const OTHERS_BYTES_MAX: usize = 52 << 20;
// One of the largest blocks fits.
const _: () = assert!(BLOCK_BYTES_MAX / (CELL_BYTES + 1) * ITEM_MEMORY <= OTHERS_BYTES_MAX);
/// A custodian whose alarms of so many blocks were not confirmed is not heard for a while. More than one, since a line
/// may be bad, and who keeps a block back may serve it late on purpose.
const UNCONFIRMED_MAX: usize = 3;
/// Heights for which an alarm that was not confirmed counts.
const UNCONFIRMED_HEIGHTS: u64 = 64;
/// How many holders are asked for items at a time.
const ASKED_AT_ONCE: usize = 2;
/// A member of the committee has asked so many holders, and waited, before it says that it was not served.
const ASKED_MIN: usize = 6;

/// One final shard-block whose effects are not mature.
struct Case {
    attest: Attest,
    /// Who may have the items: signers, then custodians.
    holders: Vec<u32>,
    custodians: Vec<u32>,
    /// Bytes of its transactions.
    bytes: u64,
    /// Who may bring the items: signers once by themselves, and whoever was asked, as often.
    owing: BTreeSet<u32>,
    /// Whom was asked so far.
    asked: usize,
    /// When holders were asked last.
    asked_ms: Option<u64>,
    /// As a member of the committee of this height, if this node is one that knows of the alarm.
    look: Option<Look>,
    alarms: BTreeMap<u32, Sig>,
    /// By the height of the committee that looks: who was not served.
    not_served: BTreeMap<u64, BTreeMap<u16, Sig>>,
    alarmed: bool,
    proved: bool,
}

/// A member of a committee looks for itself.
#[derive(Clone, Copy)]
struct Look {
    /// When the first were asked by the alarms.
    since_ms: Option<u64>,
    /// Holders that were asked so.
    asked: usize,
}

/// Bytes of others' items.
struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Room(OTHERS_BYTES_MAX)
    }
}

/// What a node keeps and looks for.
#[derive(Default)]
pub struct Custody {
    /// As long as anyone may ask for them. Those who keep history have them in their store.
    bodies: BTreeMap<Hash, (u64, Items)>,
    /// Bytes of those of them that came from others, by height: they stand in no arena.
    others: BTreeMap<(u64, Hash), usize>,
    /// Blocks whose items were found good and had to go.
    let_go: BTreeSet<Hash>,
    /// Bytes that those may have, and those that came early.
    others_max: Room,
    /// Items that came before their block was final: of each shard that this node keeps, from the one minter that is to
    /// send them.
    early: BTreeMap<u16, (u32, Hash, Items)>,
    /// What goes to custodians once the height is final.
    to_spread: Option<ToSpread>,
    cases: BTreeMap<Hash, Case>,
    /// Heights of blocks about which a custodian has raised an alarm that the committee has not confirmed.
    unconfirmed: BTreeMap<u32, Vec<u64>>,
    /// Proofs that are not in a block yet: told again to every new committee.
    proofs: Vec<(u64, Item)>,
}

/// The items of the own shard's block, for custodians.
struct ToSpread {
    height: u64,
    slot: u64,
    block: Hash,
    items: Items,
    custodians: Vec<u32>,
}

/// Where and as whom the node looks.
pub struct Watch<'a, S> {
    /// Genesis hash, which all digests are bound to.
    pub chain: &'a Hash,
    /// The node's candidate.
    pub candidate: u32,
    /// The committee of the pending height.
    pub committee: &'a Committee,
    /// How long what takes.
    pub schedule: &'a Schedule,
    /// Signs by the node's voting key, and checks what others signed.
    pub signing: &'a S,
}

/// What is to be done: messages to candidates, and items for everyone.
#[derive(Default)]
pub struct CustodyOut {
    /// To whom, what.
    pub sends: Vec<(u32, Message)>,
    /// To the whole committee.
    pub says: Vec<Message>,
    /// Proofs for the pool and the committee.
    pub proofs: Vec<Item>,
    /// Shard-blocks whose transactions were found to make their patches: height, hash, transactions.
    pub checked: Vec<(u64, Hash, Items)>,
    /// Who has done what no honest node does.
    pub offences: Vec<(u32, Offence)>,
    /// Who has said what it has no right to.
    pub useless: Vec<u32>,
}

impl Custody {
    /// Others' items may have so many bytes: less than [`OTHERS_BYTES_MAX`] where no block is so long.
    pub fn bound(&mut self, bytes: usize) {
        assert!(bytes <= OTHERS_BYTES_MAX, "{bytes} bytes of others' items, {OTHERS_BYTES_MAX} are the most");
        self.others_max = Room(bytes);
    }

    /// Keeps the items of a block.
    pub fn keep(&mut self, block: Hash, height: u64, items: Items) {
        self.bodies.insert(block, (height, items));
    }

    /// The items of a block for who asks, if they are kept: for its custodians, and for the committee once three of them
    /// have raised the alarm, which who asks for that brings along: see [`Self::hear_asker`]. Nobody else needs them, and ten bytes are not to cost a stranger's victim megabytes: a few
    /// seats that ask for everything would take the lines from the custodians.
    pub fn for_asker<E: Execution>(&self, execution: &E, asker: u32, block: &Hash) -> Option<&Items> {
        let system = execution.system();
        let (_, immature) = system.immature_block(block)?;
        let alarmed = || self.cases.get(block).is_some_and(Case::is_alarming);
        let entitled = immature.custodians.contains(&asker) || (system.committee.seat_of(asker).is_some() && alarmed());
        self.bodies.get(block).filter(|_| entitled).map(|kept| &kept.1)
    }

    /// The minters of a certified block send its items to the custodians, each to some: when it is final, or votes would
    /// have to wait for items, at each node that they pass. A custodian that is a minter of the same shard has built the
    /// block from them; if it has not, it asks as whoever was not served does.
    pub fn spread<E: Execution>(
        &mut self,
        execution: &E,
        block: &CertifiedBlock,
        slot: u64,
        (part, parts): (usize, usize),
    ) {
        let (system, shard) = (execution.system(), block.block.shard as u16);
        let custodians = system.custodians_of(shard);
        let mine = custodians.iter().enumerate().filter(|(place, _)| place % parts.max(1) == part);
        let mine = mine.filter(|(_, custodian)| !system.committee.mints_in(**custodian, shard));
        let custodians = mine.map(|(_, &custodian)| custodian).collect();
        let (height, items) = (system.height + 1, block.items.clone());
        self.to_spread = Some(ToSpread { height, slot, block: block.hash, items, custodians });
    }

    /// Sends the items of the own block, if it has become final in its slot: of one that is not part of the height nobody
    /// keeps anything, and who is late sends nothing that is not asked for.
    fn spread_final<E: Execution>(&mut self, execution: &E, step: Step, slot: u64, out: &mut CustodyOut) {
        let height = execution.system().height;
        let Some(ready) = self.to_spread.take_if(|waiting| waiting.height <= height) else { return };
        let in_time = slot == ready.slot || (slot == ready.slot + 1 && step == Step::Begin);
        let is_final = ready.height == height && execution.system().immature_block(&ready.block).is_some();
        if in_time && is_final {
            let items = |custodian| (custodian, Message::Bodies(ready.block, ready.items.clone()));
            out.sends.extend(ready.custodians.into_iter().map(items));
        }
    }

    /// A height is final: its shard-blocks are looked at from now on, and who looked at older ones is told the proofs.
    pub fn finish<E: Execution>(
        &mut self,
        execution: &mut E,
        candidate: u32,
        committee: &Committee,
        blocks: &[Option<Arc<CertifiedBlock>>],
        out: &mut CustodyOut,
    ) {
        let system = execution.system();
        let height = system.height;
        // In blockchain mode everything matures at once, and there is nothing to look for.
        for block in blocks.iter().flatten() {
            let Some((_, immature)) = system.immature_block(&block.hash) else { continue };
            let custodians = &immature.custodians;
            let seats = &committee.shards[block.block.shard as usize];
            let mut holders: Vec<u32> =
                seats.iter().map(|&seat| committee.members[usize::from(seat)].candidate).collect();
            let owing: BTreeSet<u32> = holders.iter().copied().collect();
            holders.extend(custodians);
            // Everyone begins with another one.
            let first = candidate as usize % holders.len();
            holders.rotate_left(first);
            holders.retain(|&holder| holder != candidate);
            let attest = Attest {
                height,
                slot: block.block.slot,
                shard: block.block.shard as u16,
                block: block.hash,
                certificate: block.certificate,
            };
            let (alarms, not_served, custodians) = (BTreeMap::new(), BTreeMap::new(), custodians.clone());
            let (asked, asked_ms, look) = (0, None, None);
            let (alarmed, proved) = (false, false);
            let case = Case {
                attest,
                holders,
                custodians,
                bytes: immature.header.bytes,
                owing,
                asked,
                asked_ms,
                look,
                alarms,
                not_served,
                alarmed,
                proved,
            };
            self.cases.insert(block.hash, case);
        }
        self.count_unconfirmed(execution, candidate);
        let system = execution.system();
        self.cases.retain(|block, _| system.immature_block(block).is_some());
        // A look is that of one committee: the next one begins anew, perhaps without this node.
        self.cases.values_mut().for_each(|case| case.look = None);
        let asked_for = |block: &Hash, of: u64| of > height || system.immature_block(block).is_some();
        self.bodies.retain(|block, kept| asked_for(block, kept.0));
        self.others.retain(|(of, block), _| asked_for(block, *of));
        self.let_go.retain(|block| self.cases.contains_key(block));
        let cases = &self.cases;
        self.proofs.retain(|(of, _)| cases.values().any(|case| case.attest.height == *of));
        out.says.extend(self.proofs.iter().map(|(_, item)| Message::Item(item.clone())));
        for (from, block, items) in std::mem::take(&mut self.early).into_values() {
            if self.cases.contains_key(&block) {
                self.hear_bodies(execution, candidate, (from, block, items), out);
            }
        }
    }

    /// Blocks that are over: who has raised the alarm about one that the committee has not confirmed is noted. There is
    /// no proof in it that others would have to take, so nobody's stake is touched: a custodian that really was not
    /// served looks the same as one that lies.
    fn count_unconfirmed<E: Execution>(&mut self, execution: &E, candidate: u32) {
        let system = execution.system();
        let banned = |of: &Hash| {
            let mut blocks = system.immature.iter().flat_map(|immature| &immature.blocks);
            blocks.any(|block| block.banned && block.block == *of)
        };
        for (block, case) in &self.cases {
            if system.immature_block(block).is_some() || case.proved || banned(block) {
                continue;
            }
            for &alarmed in case.alarms.keys().filter(|&&alarmed| alarmed != candidate) {
                self.unconfirmed.entry(alarmed).or_default().push(case.attest.height);
            }
        }
        self.unconfirmed.retain(|_, heights| {
            heights.retain(|height| height + UNCONFIRMED_HEIGHTS > system.height);
            !heights.is_empty()
        });
    }

    /// Whether a custodian has cried wolf so often that nobody looks any more.
    fn is_discredited(&self, candidate: u32) -> bool {
        self.unconfirmed.get(&candidate).is_some_and(|heights| heights.len() >= UNCONFIRMED_MAX)
    }

    /// Time has passed.
    pub fn step<E: Execution, S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        execution: &E,
        (step, now_ms): (Step, u64),
        out: &mut CustodyOut,
    ) {
        self.spread_final(execution, step, watch.schedule.slot(now_ms), out);
        let pending = execution.system().height + 1;
        let seated = watch.committee.seat_of(watch.candidate).filter(|&seat| watch.committee.is_delegate(seat));
        let discredited: Vec<u32> =
            self.unconfirmed.keys().copied().filter(|&custodian| self.is_discredited(custodian)).collect();
        for (block, case) in &mut self.cases {
            if self.bodies.contains_key(block) || self.let_go.contains(block) || case.proved {
                continue;
            }
            let custodian = case.custodians.contains(&watch.candidate);
            // Those whom nobody believes any more may have come with a question: it is answered, and not followed.
            let believed = case.alarms.keys().filter(|custodian| !discredited.contains(custodian)).count();
            if seated.is_some() && believed >= ALERTS && step < Step::Try0 {
                case.look.get_or_insert(Look { since_ms: None, asked: 0 });
            }
            match step {
                Step::Lists if custodian && !case.alarmed => {
                    case.alarmed = true;
                    let signature = watch.signing.sign(&Alert::alarm_digest(watch.chain, &case.attest));
                    case.alarms.insert(watch.candidate, signature);
                    case.alarm(watch.candidate, signature, out);
                }
                Step::Try0 if case.was_not_served(watch.schedule, now_ms) => {
                    let Some(seat) = seated else { continue };
                    let signature = watch.signing.sign(&Alert::not_served_digest(watch.chain, pending, &case.attest));
                    case.not_served.entry(pending).or_default().insert(seat, signature);
                    out.says.push(Message::NotServed(pending, *block, signature));
                }
                _ => {}
            }
            // Whoever missed the alarm hears it again.
            if matches!(step, Step::Begin | Step::Sets)
                && let Some(&signature) = case.alarms.get(&watch.candidate)
            {
                case.alarm(watch.candidate, signature, out);
            }
            if (custodian || case.look.is_some()) && step < Step::Try0 && case.may_ask(watch.schedule, now_ms) {
                case.ask(*block, watch, now_ms, out);
            }
        }
        self.prove(watch, pending, out);
    }

    /// Hears a custodian's alarm about a block.
    pub fn hear_alarm<S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        from: u32,
        (candidate, attest, signature): (u32, &Attest, Sig),
        out: &mut CustodyOut,
    ) {
        let discredited = self.is_discredited(from);
        // About a block that is final and not mature: a few come a block early or late, nobody says many of them.
        let Some(case) = self.cases.get_mut(&attest.block) else { return out.useless.push(from) };
        // Those who were chosen when the block was made: nobody can step in or out since.
        if candidate != from || !case.custodians.contains(&from) {
            return out.useless.push(from);
        }
        if !discredited && !case.takes_alarm(watch, (candidate, &signature)) {
            out.offences.push((from, Offence::Signature));
        }
    }

    /// Hears the alarms by which a member of the committee asks for the items of a block. Whoever keeps them cannot wait
    /// for the custodians to tell it: three that are bad would tell the members alone, whom no honest holder would then
    /// serve, and who would all say so. Each custodian's is verified once, whoever brings it, and also of who is not
    /// believed any more: to others it may be.
    pub fn hear_asker<S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        from: u32,
        (block, alarms): (&Hash, &Alarms),
        out: &mut CustodyOut,
    ) {
        // Of a block that is not known, or of who has no seat at this height, there is nothing to say yet or any more.
        let seated = watch.committee.seat_of(from).is_some();
        let Some(case) = self.cases.get_mut(block).filter(|_| seated) else { return };
        let ascend = alarms.is_sorted_by(|a, b| a.0 < b.0);
        if !ascend || !alarms.iter().all(|(custodian, _)| case.custodians.contains(custodian)) {
            return out.useless.push(from);
        }
        // Whoever passes an alarm on has verified it.
        if !alarms.iter().all(|(custodian, signature)| case.takes_alarm(watch, (*custodian, signature))) {
            out.offences.push((from, Offence::Signature));
        }
        assert!(case.alarms.len() <= case.custodians.len(), "each custodian has one alarm");
    }

    /// Hears that a member of the committee was not served.
    pub fn hear_not_served<S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        from: u32,
        (height, block, signature): (u64, Hash, Sig),
        out: &mut CustodyOut,
    ) {
        if height != watch.committee.height {
            return;
        }
        let Some(seat) = watch.committee.seat_of(from).filter(|&seat| watch.committee.is_delegate(seat)) else {
            return out.useless.push(from);
        };
        let Some(case) = self.cases.get_mut(&block) else { return out.useless.push(from) };
        let statements = case.not_served.entry(height).or_default();
        if statements.contains_key(&seat) {
            return;
        }
        if watch.signing.verify(from, &Alert::not_served_digest(watch.chain, height, &case.attest), &signature) {
            statements.insert(seat, signature);
            self.prove(watch, height, out);
        } else {
            out.offences.push((from, Offence::Signature));
        }
    }

    /// Makes the proof of each case for which enough has been heard.
    fn prove<S: Signing>(&mut self, watch: &Watch<'_, S>, height: u64, out: &mut CustodyOut) {
        for case in self.cases.values_mut().filter(|case| !case.proved && case.is_alarming()) {
            let Some(statements) =
                case.not_served.get(&height).filter(|statements| statements.len() >= watch.committee.quorum())
            else {
                continue;
            };
            let mut signers = SeatSet::default();
            statements.keys().for_each(|&seat| {
                signers.insert(seat);
            });
            let signatures: Vec<Sig> = statements.values().copied().collect();
            assert_eq!(signers.len(), signatures.len(), "each seat's statement counts once");
            let alarms = *case.alarms_told().expect("asked above");
            let not_served = Certificate { signers, aggregate: watch.signing.aggregate(&signatures) };
            let item = Record::Alert(Box::new(Alert { attest: case.attest, alarms, height, not_served })).item();
            case.proved = true;
            self.proofs.push((case.attest.height, item.clone()));
            out.proofs.push(item);
        }
    }

    /// Hears what is said to be the items of a block: of a signer once, and of whoever was asked.
    pub fn hear_bodies<E: Execution>(
        &mut self,
        execution: &mut E,
        candidate: u32,
        (from, block, items): (u32, Hash, Items),
        out: &mut CustodyOut,
    ) {
        if self.bodies.contains_key(&block) || self.let_go.contains(&block) {
            return;
        }
        let Some(case) = self.cases.get_mut(&block).filter(|case| !case.proved) else {
            return self.keep_early(execution, candidate, (from, block, items));
        };
        if !case.owing.remove(&from) {
            return;
        }
        let Some((_, found)) = execution.system().immature_block(&block) else { return };
        // Who keeps items of a block has them from its own round, or has judged them: whoever brings others lies. That
        // they explain what the block changes is another matter.
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
        let ascend = ids.len() == found.header.transactions as usize && ids.is_sorted_by(|a, b| a < b);
        if !ascend || transactions_root(&mut ids) != found.header.transactions_root {
            return out.offences.push((from, Offence::Bodies));
        }
        match execution.bodies(&block, &items) {
            Some(Bodies::Whole) => {
                let height = case.attest.height;
                out.checked.push((height, block, items.clone()));
                self.others.insert((height, block), items_bytes(&items));
                self.bodies.insert(block, (height, items));
                self.make_room();
            }
            Some(Bodies::Invalid(place)) => {
                let Some((_, found)) = execution.system().immature_block(&block) else { return };
                let ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
                let (path, item) = (transaction_path(&ids, place), items[place].clone());
                let invalid = Invalid { attest: case.attest, header: found.header, place: place as u32, path, item };
                let item = Record::Invalid(Box::new(invalid)).item();
                case.proved = true;
                self.proofs.push((case.attest.height, item.clone()));
                out.proofs.push(item);
            }
            Some(Bodies::Other) | None => {}
        }
    }

    /// Keeps items whose block is not final yet: of a shard that this node is to keep, from the one minter of it that
    /// is to send them, the first that come. In blockchain mode nobody looks for anything, and nothing is kept.
    fn keep_early<E: Execution>(&mut self, execution: &E, candidate: u32, (from, block, items): (u32, Hash, Items)) {
        let system = execution.system();
        let committee = &system.committee;
        let Some(seat) = committee.seat_of(from).filter(|_| execution.quilt_mode()) else { return };
        let shard = committee.members[usize::from(seat)].shard;
        let (custodians, seats) = (system.custodians_of(shard), &committee.shards[usize::from(shard)]);
        if committee.mints_in(candidate, shard) {
            return;
        }
        let sends = |place: usize| seats[place % seats.len()] == seat;
        let mine = custodians.iter().position(|&custodian| custodian == candidate).is_some_and(sends);
        let early: usize = self.early.values().map(|early| items_bytes(&early.2)).sum();
        if mine && early + items_bytes(&items) <= self.others_max.0 {
            self.early.entry(shard).or_insert((from, block, items));
            self.make_room();
        }
    }

    /// Of others' items that take too much the oldest go. They were looked at, so this node neither asks for them again
    /// nor says that it was not served; who needs them asks the minters that have made the block, and other custodians.
    fn make_room(&mut self) {
        let early: usize = self.early.values().map(|early| items_bytes(&early.2)).sum();
        while early + self.others.values().sum::<usize>() > self.others_max.0 {
            let Some(((_, block), _)) = self.others.pop_first() else { break };
            self.bodies.remove(&block);
            self.let_go.insert(block);
        }
        assert!(early <= self.others_max.0, "{early} bytes came before their blocks, {} may", self.others_max.0);
    }
}

impl Case {
    /// Whether as many custodians have raised the alarm as it takes.
    fn is_alarming(&self) -> bool {
        self.alarms.len() >= ALERTS
    }

    /// The alarms that it takes, once there are so many.
    fn alarms_told(&self) -> Option<Box<Alarms>> {
        let mut alarms = self.alarms.iter().map(|(&candidate, &signature)| (candidate, signature));
        self.is_alarming().then(|| Box::new(std::array::from_fn(|_| alarms.next().expect("so many there are"))))
    }

    /// Takes a custodian's alarm, once; false if its signature does not hold.
    fn takes_alarm<S: Signing>(&mut self, watch: &Watch<'_, S>, (custodian, signature): (u32, &Sig)) -> bool {
        if self.alarms.contains_key(&custodian) {
            return true;
        }
        let holds = watch.signing.verify(custodian, &Alert::alarm_digest(watch.chain, &self.attest), signature);
        if holds {
            self.alarms.insert(custodian, *signature);
        }
        holds
    }

    /// Tells the own alarm: to the committee, which looks, and to those who have the items, who serve it.
    fn alarm(&self, candidate: u32, signature: Sig, out: &mut CustodyOut) {
        let alarm = || Message::Alarm(candidate, Box::new(self.attest), signature);
        out.says.push(alarm());
        out.sends.extend(self.holders.iter().map(|&holder| (holder, alarm())));
    }

    /// Whether a member of the committee has looked long enough for what may be on its way to have come.
    fn was_not_served(&self, schedule: &Schedule, now_ms: u64) -> bool {
        let Some(Look { since_ms: Some(since_ms), asked }) = self.look else { return false };
        let needed_ms = LOOK_ROUNDS.saturating_mul(schedule.carry_ms(self.bytes));
        asked >= ASKED_MIN.min(self.holders.len()) && now_ms >= since_ms.saturating_add(needed_ms)
    }

    /// Whether what was asked for last would be here by now: nobody asks for a second copy before.
    fn may_ask(&self, schedule: &Schedule, now_ms: u64) -> bool {
        self.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms.saturating_add(schedule.carry_ms(self.bytes)))
    }

    /// Asks some of those who have the items; as a member of the committee also another one, which may have been served.
    /// Such a member shows all of them the alarms: nobody else may have.
    fn ask<S>(&mut self, block: Hash, watch: &Watch<'_, S>, now_ms: u64, out: &mut CustodyOut) {
        self.asked_ms = Some(now_ms);
        let at_once = ASKED_AT_ONCE.min(self.holders.len());
        let holders = (0..at_once).map(|place| self.holders[(self.asked + place) % self.holders.len()]);
        let mut asked: Vec<u32> = holders.collect();
        self.asked += at_once;
        let alarms = self.look.and_then(|_| self.alarms_told());
        if let Some(look) = &mut self.look {
            assert!(alarms.is_some(), "whoever looks knows of the alarms that it takes");
            look.since_ms.get_or_insert(now_ms);
            look.asked += at_once;
            let members = &watch.committee.members;
            // Everyone goes round from another one.
            let place = (watch.candidate as usize).wrapping_add(self.asked) % members.len();
            asked.push(members[place].candidate);
        }
        for whom in asked.into_iter().filter(|&whom| whom != watch.candidate) {
            out.sends.push((whom, Message::WantBodies(block, alarms.clone())));
            self.owing.insert(whom);
        }
    }
}
