//! Who looks for a block's transactions, and when it may say that it was not served: never for the size of a block, and
//! never at the cost of those whose duty it is.

use crate::desk::Ground;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::{ChainParameters, ConsensusParameters, LOOK_ROUNDS};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::{Alert, Attest};
use dynemix_engine::chain::tables::{Immature, ImmatureBlock};
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::schedule::{Schedule, Step};
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::consensus::allowance::Offence;
use dynemix_engine::consensus::custody::{Custody, CustodyOut, Watch};
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;

const SLOT_MS: u64 = 10_000;

/// A final block whose transactions nobody serves, and a member of the committee that may have to look for them.
struct Looker {
    ground: Ground,
    committee: Arc<Committee>,
    schedule: Schedule,
    custody: Custody,
    block: Hash,
    attest: Attest,
    custodians: Vec<u32>,
    me: u32,
}

impl Looker {
    /// As the first member sees it; the block has so many bytes.
    fn of(bytes: u64) -> Looker {
        Looker::at(0, bytes)
    }

    /// As the member at this place sees it.
    fn at(place: usize, bytes: u64) -> Looker {
        let mut ground = Ground::new();
        let header = ShardBlock {
            parent_root: [1; 32],
            slot: 0,
            shard: 0,
            transactions: (bytes / 193) as u32,
            bytes,
            transactions_root: [2; 32],
            patch_hash: [3; 32],
        };
        let (block, certificate) = (header.hash(), Certificate { signers: SeatSet::default(), aggregate: [0; 48] });
        let committee = ground.system.committee.clone();
        let (me, first) = (committee.members[place].candidate, committee.members[0].candidate);
        let custodians: Vec<u32> = (0..14).filter(|&candidate| candidate != first).take(7).collect();
        let (patch, banned) = (Arc::new(Patch::default()), false);
        let immature = ImmatureBlock { shard: 0, block, header, patch, custodians: custodians.clone(), banned };
        let height = ground.system.height;
        let (parent_slot, blocks, rewards) = (0, vec![immature], Vec::new());
        ground.system.immature.push_back(Immature { height, parent_slot, blocks, rewards });
        let (items, patch) = (Items::default(), Vec::new());
        let certified = CertifiedBlock { height, block: header, hash: block, certificate, items, patch };
        let attest = Attest { height, slot: 0, shard: 0, block, certificate };
        let mut custody = Custody::default();
        let blocks = [Some(Arc::new(certified))];
        custody.finish(&mut ground, me, &committee, &blocks, &mut CustodyOut::default());
        let schedule = Schedule::of(&ground.chain.parameters);
        Looker { ground, committee, schedule, custody, block, attest, custodians, me }
    }

    fn me(&self) -> u32 {
        self.me
    }

    /// Lets its custody see and do; what comes of it.
    fn watches(
        &mut self,
        with: impl FnOnce(&mut Custody, &Watch<'_, StubSigning>, &Ground, &mut CustodyOut),
    ) -> CustodyOut {
        let (candidate, mut out) = (self.me(), CustodyOut::default());
        let watch = Watch {
            chain: &self.ground.chain.genesis_hash,
            candidate,
            committee: &self.committee,
            schedule: &self.schedule,
            signing: &StubSigning { candidate },
        };
        with(&mut self.custody, &watch, &self.ground, &mut out);
        out
    }

    /// So many custodians raise the alarm.
    fn alarms(&mut self, count: usize) {
        let (attest, custodians) = (self.attest, self.custodians[..count].to_vec());
        let out = self.watches(|custody, watch, _, out| {
            for custodian in custodians {
                let signature = StubSigning::stub(custodian, &Alert::alarm_digest(watch.chain, &attest));
                custody.hear_alarm(watch, custodian, (custodian, &attest, signature), out);
            }
        });
        assert!(out.offences.is_empty() && out.useless.is_empty());
    }

    /// A question for the items, with or without alarms, comes to it; what comes of it, and whether they are served.
    fn is_asked(&mut self, from: u32, message: &Message) -> (CustodyOut, bool) {
        let Message::WantBodies(block, alarms) = message else { panic!("{message:?}") };
        let out = self.watches(|custody, watch, _, out| {
            if let Some(alarms) = alarms {
                custody.hear_asker(watch, from, (block, alarms), out);
            }
        });
        (out, self.custody.for_asker(&self.ground, from, block).is_some())
    }

    /// A step of a slot: whom it asks, and whether it says that it was not served.
    fn step(&mut self, slot: u64, step: Step) -> (Vec<u32>, bool) {
        let now_ms = slot * SLOT_MS + step.at(&self.schedule);
        let out = self.watches(|custody, watch, ground, out| custody.step(watch, ground, (step, now_ms), out));
        let asked = out.sends.iter().filter(|send| matches!(send.1, Message::WantBodies(..))).map(|send| send.0);
        (asked.collect(), out.says.iter().any(|message| matches!(message, Message::NotServed(..))))
    }

    /// All steps of a slot up to the first votes.
    fn slot(&mut self, slot: u64, from: Step) -> (usize, bool) {
        let steps = Step::ALL.into_iter().filter(|step| *step >= from && *step <= Step::Try0);
        let taken: Vec<(Vec<u32>, bool)> = steps.map(|step| self.step(slot, step)).collect();
        (taken.iter().map(|taken| taken.0.len()).sum(), taken.iter().any(|taken| taken.1))
    }
}

#[test]
fn nobody_says_that_a_block_was_not_served_before_it_could_have_come() {
    // Known at Decide, as it is after alarms at Lists.
    for (bytes, at_once) in [(1_000, true), (600_000, true), (1_930_000, false)] {
        let mut looker = Looker::of(bytes);
        looker.alarms(3);
        let (asked, said) = looker.slot(1, Step::Decide);
        assert_eq!(said, at_once, "{bytes} bytes: {asked} asked");
        // The next committee has the slot from its beginning; the looker is a member of it as well.
        let mut looker = Looker::of(bytes);
        looker.alarms(3);
        assert!(looker.slot(2, Step::Begin).1, "{bytes} bytes are to be looked for in a whole slot");
    }
}

#[test]
fn who_has_built_the_block_is_not_sent_it() {
    let mut looker = Looker::of(1_000);
    let members: Vec<u32> = looker.committee.members.iter().map(|member| member.candidate).collect();
    let (mints, others): (Vec<u32>, Vec<u32>) = (0..14).partition(|candidate| members.contains(candidate));
    looker.ground.system.custodians = vec![[&mints[..2], &others[..2]].concat()];
    let (items, patch) = (Items::default(), Vec::new());
    let (block, certificate) = (looker.ground.system.immature[0].blocks[0].header, looker.attest.certificate);
    let certified = CertifiedBlock { height: 0, block, hash: looker.block, certificate, items, patch };
    let height = looker.ground.system.height + 1;
    let mut sent = |final_at: u64, is_part: bool, steps: &[(Step, u64)]| -> Vec<u32> {
        let mut sent = Vec::new();
        for part in 0..members.len() {
            // The block is of the pending height, and its items wait.
            looker.ground.system.height = height - 1;
            looker.custody.spread(&looker.ground, &certified, 0, (part, members.len()));
            looker.ground.system.immature[0].blocks[0].banned = !is_part;
            for &(step, now_ms) in steps {
                looker.ground.system.height = if now_ms >= final_at { height } else { height - 1 };
                let out = looker
                    .watches(|custody, watch, execution, out| custody.step(watch, execution, (step, now_ms), out));
                sent.extend(out.sends.iter().filter(|send| matches!(send.1, Message::Bodies(..))).map(|send| send.0));
            }
        }
        sent
    };
    let steps = [(Step::Propose, 8_900), (Step::Try1, 9_300), (Step::Begin, 10_000), (Step::Sets, 15_700)];
    assert_eq!(sent(8_500, true, &steps), others[..2], "those that lack the transactions, each once");
    assert_eq!(sent(9_000, true, &steps), others[..2], "not with proposals, while it is not final");
    assert_eq!(sent(9_500, true, &steps), others[..2]);
    assert!(sent(8_500, false, &steps).is_empty(), "it is no part of the height");
    assert!(sent(10_100, true, &steps).is_empty() && sent(8_500, true, &steps[3..]).is_empty(), "too late");
}

#[test]
fn a_second_copy_is_asked_for_when_the_first_could_be_here() {
    let mut looker = Looker::of(1_930_000);
    looker.alarms(3);
    let steps = [Step::Begin, Step::Sets, Step::Lists, Step::Decide, Step::Vote, Step::Have];
    let asked = steps.map(|step| looker.step(2, step).0.len());
    // 1.54 s on a line of 10 Mbit/s; two holders and perhaps a member.
    assert!(asked[0] >= 2 && asked[1] >= 2 && asked[2] == 0, "{asked:?}");
    let copies = asked.iter().filter(|&&asked| asked > 0).count() as u64;
    assert!(copies <= LOOK_ROUNDS, "{asked:?}");
    let mut small = Looker::of(1_000);
    small.alarms(3);
    assert!(steps.iter().all(|&step| !small.step(2, step).0.is_empty()), "of small ones everyone is asked");
}

#[test]
fn a_member_of_the_committee_is_served_after_three_alarms_and_a_custodian_always() {
    let mut looker = Looker::of(1_000);
    let items: Items = Vec::new().into();
    looker.custody.keep(looker.block, 0, items);
    let custodian = looker.custodians[0];
    let keeps = |candidate: &u32| looker.custodians.contains(candidate);
    let seat = looker.committee.members.iter().map(|member| member.candidate).find(|name| !keeps(name)).unwrap();
    let served = |looker: &Looker, name| looker.custody.for_asker(&looker.ground, name, &looker.block).is_some();
    assert!(served(&looker, custodian) && !served(&looker, seat), "a seat alone draws nothing");
    looker.alarms(2);
    assert!(!served(&looker, seat));
    looker.alarms(3);
    assert!(served(&looker, seat) && !served(&looker, 999));
}

#[test]
fn who_is_told_the_alarms_alone_shows_them_to_whoever_has_the_transactions() {
    // Three bad custodians of an honest shard raise the alarm to one member and to nobody who could serve it.
    let mut looker = Looker::of(1_000);
    looker.alarms(3);
    let out = looker.watches(|custody, watch, ground, out| custody.step(watch, ground, (Step::Begin, SLOT_MS), out));
    let asks = out.sends.iter().filter(|send| matches!(send.1, Message::WantBodies(..)));
    let (mut asked, me) = (0, looker.me());
    for (whom, question) in asks {
        let place = looker.committee.members.iter().position(|member| member.candidate == *whom);
        let Some(place) = place else { continue };
        let mut holder = Looker::at(place, 1_000);
        assert_eq!(holder.me(), *whom);
        holder.custody.keep(holder.block, 0, Items::default());
        let (out, served) = holder.is_asked(me, question);
        assert!(served && out.offences.is_empty() && out.useless.is_empty(), "{whom} has heard no alarm before");
        asked += 1;
    }
    assert!(asked > 0);
}

#[test]
fn false_alarms_in_a_question_are_their_bringers_and_a_stranger_has_nothing_verified() {
    let mut looker = Looker::of(1_000);
    looker.custody.keep(looker.block, 0, Items::default());
    let keeps = |candidate: &u32| looker.custodians.contains(candidate);
    let members: Vec<u32> = looker.committee.members.iter().map(|member| member.candidate).collect();
    let seat = members.iter().copied().skip(1).find(|name| !keeps(name)).unwrap();
    let stranger = (0..14).find(|name| !members.contains(name)).unwrap();
    let digest = Alert::alarm_digest(&looker.ground.chain.genesis_hash, &looker.attest);
    let by = |who: [u32; 3]| who.map(|custodian| (custodian, StubSigning::stub(custodian, &digest)));
    let custodians = [looker.custodians[0], looker.custodians[1], looker.custodians[2]];
    let (block, true_ones) = (looker.block, by(custodians));
    let ask = |alarms| Message::WantBodies(block, Some(Box::new(alarms)));
    let mut forged = true_ones;
    forged[2].1 = [9; 48];
    let (out, served) = looker.is_asked(seat, &ask(forged));
    assert!(!served && out.offences == [(seat, Offence::Signature)]);
    let [a, b, c] = true_ones;
    for wrong in [by([custodians[0], custodians[1], 99]), [a, a, b], [a, c, b]] {
        let (out, served) = looker.is_asked(seat, &ask(wrong));
        assert!(!served && out.useless == [seat] && out.offences.is_empty(), "{wrong:?}");
    }
    let (out, _) = looker.is_asked(stranger, &ask(forged));
    assert!(out.offences.is_empty() && out.useless.is_empty());
    assert!(looker.is_asked(seat, &ask(true_ones)).1);
}

#[test]
fn an_alarm_reaches_those_who_have_the_transactions() {
    let mut looker = Looker::of(1_000);
    let me = looker.me();
    let found = looker.ground.system.immature[0].blocks[0].custodians.clone();
    looker.ground.system.immature[0].blocks[0].custodians = found.into_iter().take(6).chain([me]).collect();
    let blocks = looker.ground.system.immature[0].blocks[0].clone();
    let certified = CertifiedBlock {
        height: 0,
        block: blocks.header,
        hash: blocks.block,
        certificate: looker.attest.certificate,
        items: Items::default(),
        patch: Vec::new(),
    };
    let committee = looker.committee.clone();
    let blocks = [Some(Arc::new(certified))];
    looker.custody.finish(&mut looker.ground, me, &committee, &blocks, &mut CustodyOut::default());
    let (chain, signing, schedule) = (looker.ground.chain.genesis_hash, StubSigning { candidate: me }, looker.schedule);
    let watch = Watch { chain: &chain, candidate: me, committee: &committee, schedule: &schedule, signing: &signing };
    let mut out = CustodyOut::default();
    looker.custody.step(&watch, &looker.ground, (Step::Lists, SLOT_MS + 3_300), &mut out);
    assert!(out.says.iter().any(|message| matches!(message, Message::Alarm(..))), "the committee");
    let told = |name: u32| out.sends.iter().any(|send| send.0 == name && matches!(send.1, Message::Alarm(..)));
    assert!(
        looker.custodians[..6].iter().all(|&custodian| told(custodian)),
        "custodians, who serve the committee then"
    );
}

#[test]
fn the_largest_block_can_be_looked_for_between_a_slots_beginning_and_its_first_votes() {
    let consensus = ConsensusParameters { quilt_from_height: 5, ..ConsensusParameters::default() };
    let parameters = ChainParameters { consensus, ..ChainParameters::default() };
    let schedule = Schedule::of(&parameters);
    let most = parameters.block_bytes_max(5);
    assert!(LOOK_ROUNDS * schedule.carry_ms(most) < schedule.try_0_ms, "{most}");
    assert!(most > 10_000 * 193, "ten thousand transfers on a home line");
    assert_eq!(parameters.block_bytes_max(4), 32 << 20, "in blockchain mode nobody looks");
    let fast = ConsensusParameters { line_bytes_per_s: 125_000_000, ..consensus };
    assert_eq!(ChainParameters { consensus: fast, ..parameters }.block_bytes_max(5), 32 << 20);
}
