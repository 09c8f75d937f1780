//! Who looks whether a shard-block's transactions are there. In quilt mode only patches travel, so a shard whose
//! minters are all bad could change its accounts with no transaction behind it. Custodians, drawn by the block's hash
//! among the largest stakes, fetch the transactions of each final block; three that are not served raise the alarm, the
//! committee of the day looks for itself, and a quorum of it that is not served either is what a ban stands on. No
//! opinion of one or two counts.
//!
//! ```text
//!   Try 0          the minters of a certified block send the items to the custodians
//!   next slot      custodians that lack them ask the signers                       Begin .. Lists
//!                  still lacking: alarm to the committee                            Lists
//!                  the committee asks signers and custodians                        .. Try 0
//!                  still lacking: "not served", signed; q of them make an Alert     Try 0
//! ```

use crate::base::hash::Hash;
use crate::base::ids::Sig;
use crate::chain::block::{CertifiedBlock, transaction_path};
use crate::chain::record::{ALERTS, Alert, Attest, Invalid, Record};
use crate::committee::members::Committee;
use crate::committee::schedule::Step;
use crate::committee::statement::{Certificate, SeatSet};
use crate::messages::message::Message;
use crate::rules::bodies::Bodies;
use crate::rules::execution::Execution;
use crate::transaction::item::{Item, Items};
use crate::vote::signing::Signing;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Heights for which items are kept here; those who keep history have them in their store.
const HEIGHTS_KEPT: u64 = 8;
/// How many are asked for items at a time.
const ASKED_AT_ONCE: usize = 2;
/// A member of the committee has asked so many, and waited, before it says that it was not served.
const ASKED_MIN: usize = 6;

/// One final shard-block whose effects are not mature.
struct Case {
    attest: Attest,
    /// Who may have the items: signers, then custodians.
    holders: Vec<u32>,
    custodians: Vec<u32>,
    /// Whom was asked so far.
    asked: usize,
    /// Of those, in the slot that goes on, since the alarm was known to this member of the committee.
    asked_for_committee: usize,
    looks: bool,
    alarms: BTreeMap<u32, Sig>,
    /// By the height of the committee that looks: who was not served.
    not_served: BTreeMap<u64, BTreeMap<u16, Sig>>,
    alarmed: bool,
    proved: bool,
}

/// What a node keeps and looks for.
#[derive(Default)]
pub struct Custody {
    bodies: BTreeMap<Hash, (u64, Items)>,
    /// Items that came before their block was final: the last of each sender.
    early: BTreeMap<u32, (Hash, Items)>,
    cases: BTreeMap<Hash, Case>,
    /// Proofs that are not in a block yet: told again to every new committee.
    proofs: Vec<(u64, Arc<Item>)>,
}

/// Where and as whom the node looks.
pub struct Watch<'a, S> {
    /// Genesis hash, which all digests are bound to.
    pub chain: &'a Hash,
    /// The node's candidate.
    pub candidate: u32,
    /// The committee of the pending height.
    pub committee: &'a Committee,
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
    pub proofs: Vec<Arc<Item>>,
    /// Shard-blocks whose transactions were found to make their patches: height, hash, transactions.
    pub checked: Vec<(u64, Hash, Items)>,
}

impl Custody {
    /// Keeps the items of a block.
    pub fn keep(&mut self, block: Hash, height: u64, items: Items) {
        self.bodies.insert(block, (height, items));
    }

    /// The items of a block, if they are kept.
    pub fn kept(&self, block: &Hash) -> Option<&Items> {
        self.bodies.get(block).map(|kept| &kept.1)
    }

    /// The minters of a certified block send its items to the custodians, each to some.
    pub fn spread<E: Execution>(
        &self,
        execution: &E,
        block: &CertifiedBlock,
        part: usize,
        parts: usize,
        out: &mut CustodyOut,
    ) {
        let custodians = execution.system().custodians(block.block.shard as u16);
        let mine = custodians.iter().enumerate().filter(|(place, _)| place % parts.max(1) == part);
        out.sends.extend(mine.map(|(_, &custodian)| (custodian, Message::Bodies(block.hash, block.items.clone()))));
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
            let (asked, asked_for_committee) = (0, 0);
            let (looks, alarmed, proved) = (false, false, false);
            let case = Case {
                attest,
                holders,
                custodians,
                asked,
                asked_for_committee,
                looks,
                alarms,
                not_served,
                alarmed,
                proved,
            };
            self.cases.insert(block.hash, case);
        }
        self.cases.retain(|block, _| system.immature_block(block).is_some());
        // A look is that of one committee: the next one begins anew, perhaps without this node.
        self.cases.values_mut().for_each(|case| case.looks = false);
        self.bodies.retain(|_, kept| kept.0 + HEIGHTS_KEPT > height);
        let cases = &self.cases;
        self.proofs.retain(|(of, _)| cases.values().any(|case| case.attest.height == *of));
        out.says.extend(self.proofs.iter().map(|(_, item)| Message::Item(item.clone())));
        for (from, (block, items)) in std::mem::take(&mut self.early) {
            if self.cases.contains_key(&block) {
                self.hear_bodies(execution, from, block, items, out);
            }
        }
    }

    /// Time has passed.
    pub fn step<E: Execution, S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        execution: &E,
        step: Step,
        out: &mut CustodyOut,
    ) {
        let pending = execution.system().height + 1;
        let seated = watch.committee.seat_of(watch.candidate).filter(|&seat| watch.committee.is_delegate(seat));
        for (block, case) in &mut self.cases {
            if self.bodies.contains_key(block) || case.proved {
                continue;
            }
            let custodian = case.custodians.contains(&watch.candidate);
            match step {
                Step::Begin => (case.looks, case.asked_for_committee) = (false, 0),
                // Only alarms that leave time to ask are looked into.
                Step::Decide => case.looks = seated.is_some() && case.alarms.len() >= ALERTS,
                Step::Lists if custodian && !case.alarmed => {
                    case.alarmed = true;
                    let signature = watch.signing.sign(&Alert::alarm_digest(watch.chain, &case.attest));
                    case.alarms.insert(watch.candidate, signature);
                    out.says.push(Message::Alarm(watch.candidate, Box::new(case.attest), signature));
                }
                Step::Try0 if case.looks && case.asked_for_committee >= ASKED_MIN.min(case.holders.len()) => {
                    let Some(seat) = seated else { continue };
                    let signature = watch.signing.sign(&Alert::not_served_digest(watch.chain, pending, &case.attest));
                    case.not_served.entry(pending).or_default().insert(seat, signature);
                    out.says.push(Message::NotServed(pending, *block, signature));
                }
                _ => {}
            }
            // Whoever missed the alarm hears it again.
            if matches!(step, Step::Begin | Step::Sets)
                && let Some(signature) = case.alarms.get(&watch.candidate)
            {
                out.says.push(Message::Alarm(watch.candidate, Box::new(case.attest), *signature));
            }
            if (custodian || case.looks) && step < Step::Try0 {
                case.ask(*block, out);
                case.asked_for_committee += if case.looks { ASKED_AT_ONCE } else { 0 };
            }
        }
        self.prove(watch, pending, out);
    }

    /// Hears an alarm about a block.
    pub fn hear_alarm<S: Signing>(&mut self, watch: &Watch<'_, S>, (from, attest, signature): (u32, &Attest, Sig)) {
        let Some(case) = self.cases.get_mut(&attest.block) else { return };
        let digest = Alert::alarm_digest(watch.chain, &case.attest);
        // Those who were chosen when the block was made: nobody can step in or out since.
        if case.alarms.contains_key(&from)
            || !case.custodians.contains(&from)
            || !watch.signing.verify(from, &digest, &signature)
        {
            return;
        }
        case.alarms.insert(from, signature);
    }

    /// Hears that a member of the committee was not served.
    pub fn hear_not_served<S: Signing>(
        &mut self,
        watch: &Watch<'_, S>,
        from: u32,
        (height, block, signature): (u64, Hash, Sig),
        out: &mut CustodyOut,
    ) {
        let (Some(case), Some(seat)) = (
            self.cases.get_mut(&block),
            watch.committee.seat_of(from).filter(|&seat| watch.committee.is_delegate(seat)),
        ) else {
            return;
        };
        let digest = Alert::not_served_digest(watch.chain, height, &case.attest);
        if height == watch.committee.height && watch.signing.verify(from, &digest, &signature) {
            case.not_served.entry(height).or_default().insert(seat, signature);
            self.prove(watch, height, out);
        }
    }

    /// Makes the proof of each case for which enough has been heard.
    fn prove<S: Signing>(&mut self, watch: &Watch<'_, S>, height: u64, out: &mut CustodyOut) {
        for case in self.cases.values_mut().filter(|case| !case.proved && case.alarms.len() >= ALERTS) {
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
            let mut alarms = case.alarms.iter().map(|(&candidate, &signature)| (candidate, signature));
            let alarms = std::array::from_fn(|_| alarms.next().expect("counted above"));
            let not_served = Certificate { signers, aggregate: watch.signing.aggregate(&signatures) };
            let item = Record::Alert(Box::new(Alert { attest: case.attest, alarms, height, not_served })).item();
            case.proved = true;
            self.proofs.push((case.attest.height, item.clone()));
            out.proofs.push(item);
        }
    }

    /// Hears what is said to be the items of a block.
    pub fn hear_bodies<E: Execution>(
        &mut self,
        execution: &mut E,
        from: u32,
        block: Hash,
        items: Items,
        out: &mut CustodyOut,
    ) {
        if self.bodies.contains_key(&block) {
            return;
        }
        let Some(case) = self.cases.get_mut(&block).filter(|case| !case.proved) else {
            if execution.system().committee.seat_of(from).is_some() {
                self.early.insert(from, (block, items));
            }
            return;
        };
        match execution.bodies(&block, &items) {
            Some(Bodies::Whole) => {
                out.checked.push((case.attest.height, block, items.clone()));
                self.bodies.insert(block, (case.attest.height, items));
            }
            Some(Bodies::Invalid(place)) => {
                let Some((_, found)) = execution.system().immature_block(&block) else { return };
                let ids: Vec<Hash> = items.iter().map(|item| item.id).collect();
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
}

impl Case {
    fn ask(&mut self, block: Hash, out: &mut CustodyOut) {
        for _ in 0..ASKED_AT_ONCE.min(self.holders.len()) {
            out.sends.push((self.holders[self.asked % self.holders.len()], Message::WantBodies(block)));
            self.asked += 1;
        }
    }
}
