//! The rules of intake without sockets or threads: who may cost a node what, before it costs it.
#![cfg_attr(feature = "tiny-limits", allow(unused_imports, reason = "one test is of the large limits alone"))]

mod scene;

use dynemix::intake::asked::Whom;
use dynemix::intake::duties::{DutyTable, Rank, told_share};
use dynemix::intake::glance::Glance;
use dynemix::intake::price::Failure;
use dynemix::intake::records::{RecordGate, Step};
use dynemix::intake::rules::{Rules, Speaker, Verdict};
use dynemix::minting::fate::Fate;
use dynemix::minting::own::Own;
use dynemix::minting::pool::{HeightPool, Teller};
use dynemix::peer::frames::Frame;
use dynemix_engine::base::ids::Endpoint;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, Final, SHARD_BLOCK_BYTES, ShardBlock, Value};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::{Answer, Attest, Record};
use dynemix_engine::chain::tables::{Immature, ImmatureBlock, Staker, System};
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Certificate, Conflict, Evidence, SeatSet, Statement, StatementKind};
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::{Item, Items};
use scene::{Scene, caller, due, follow};
use std::sync::Arc;

/// Of the scene's chain.
const SLOT_MS: u64 = 10_000;

fn answer(system: &System, candidate: u32, height: u64, salt: u16) -> Item {
    let endpoint = Endpoint { port: salt, ..Endpoint::default() };
    let (answer, signature) = ([salt as u8; 48], [1; 48]);
    Record::Answer(Box::new(Answer { height, candidate, drawn_by: system.hash, endpoint, answer, signature })).item()
}

fn attest(height: u64, shard: u16, number: u32) -> Item {
    let mut block = [7; 32];
    block[..4].copy_from_slice(&number.to_le_bytes());
    let certificate = Certificate { signers: SeatSet::default(), aggregate: [1; 48] };
    Record::Attest(Box::new(Attest { height, slot: 1, shard, block, certificate })).item()
}

fn fraud(candidate: u32, height: u64, salt: u8) -> Item {
    Record::Fraud(Box::new(Evidence {
        candidate,
        kinds: [StatementKind::First; 2],
        height,
        numbers: [1; 2],
        shard: 0,
        statements: [([salt; 32], 0, [1; 48]), ([255; 32], 0, [2; 48])],
    }))
    .item()
}

/// 8 192 records that are not true, of any kind, as whoever has names for eleven dynes brings them.
fn junk(system: &System) -> impl Iterator<Item = Item> {
    let (height, hash) = (system.height, system.clone());
    (0..8_192u32).map(move |number| match number % 4 {
        0 => answer(&hash, 100 + number, height + 2, 1),
        1 => answer(&hash, number % 10, height + 3, (number / 4) as u16),
        2 => attest(height, (number % 3) as u16, number),
        _ => fraud(100 + number, height, 1),
    })
}

fn drawn(scene: &mut Scene) -> Vec<u32> {
    scene.system.drawn = (0..10).collect();
    scene.system.drawn.clone()
}

/// Two final certificates of height 1 that these seats have signed, both of them.
fn conflict(seats: &[u16], salt: u8) -> Item {
    let mut signers = SeatSet::default();
    seats.iter().for_each(|&seat| assert!(signers.insert(seat)));
    let certified = |hash: u8| {
        let (kind, hash) = (StatementKind::Second, [hash; 32]);
        let statement = Statement { kind, height: 1, number: 2, shard: 0, justified_by: 0, hash };
        (statement, Certificate { signers, aggregate: [salt; 48] })
    };
    Record::Conflict(Box::new(Conflict::of_certificates([certified(1), certified(2)]).unwrap())).item()
}

fn taken(pool: &HeightPool, answers: &[Item]) -> usize {
    answers.iter().filter(|item| pool.records().any(|known| known.id() == item.id())).count()
}

#[test]
fn eight_thousand_junk_records_crowd_out_no_answer() {
    let mut scene = Scene::new();
    let answers: Vec<_> = drawn(&mut scene).into_iter().map(|of| answer(&scene.system, of, 2, 9)).collect();
    let mut pool = HeightPool::default();
    junk(&scene.system).for_each(|item| pool.admit_record(&item, &scene.system));
    answers.iter().for_each(|item| pool.admit_record(item, &scene.system));
    assert_eq!(taken(&pool, &answers), 10);
    assert!(pool.records().count() < 40, "{} records wait", pool.records().count());
    // The other way round as well, and an answer of the same candidate takes no second place.
    pool.admit_record(&answer(&scene.system, 3, 2, 8), &scene.system);
    assert_eq!(pool.records().count(), 10);
}

#[cfg(feature = "mutations")]
#[test]
fn with_places_forgotten_the_same_junk_crowds_them_out() {
    use dynemix_engine::base::mutation::{Mutation, plant};
    let mut scene = Scene::new();
    let answers: Vec<_> = drawn(&mut scene).into_iter().map(|of| answer(&scene.system, of, 2, 9)).collect();
    let mut pool = HeightPool::default();
    plant(Some(Mutation::RecordsFirstCome));
    junk(&scene.system).for_each(|item| pool.admit_record(&item, &scene.system));
    answers.iter().for_each(|item| pool.admit_record(item, &scene.system));
    plant(None);
    assert_eq!(taken(&pool, &answers), 0, "the fault is one that the test above finds");
}

/// Those mint the next height beside the first ten.
fn seat(scene: &mut Scene, who: std::ops::Range<u32>) {
    let minters: Vec<u32> = (0..10).chain(who).collect();
    let parameters = &scene.chain.parameters.consensus;
    scene.system.committee = Arc::new(scene.system.seat(parameters, &scene.system.seed, 1, &minters));
}

#[test]
fn of_too_many_frauds_that_against_the_least_stake_gives_way() {
    let mut scene = Scene::new();
    for account in 100..1_126 {
        let staker = Staker { stake: DYNE + u64::from(account), key: Box::new([1; 96]), minted: 0 };
        scene.system.stakers.insert(account, staker);
    }
    seat(&mut scene, 100..1_126);
    let mut pool = HeightPool::default();
    let has = |pool: &HeightPool, account| pool.records().any(|known| known.id() == fraud(account, 1, 1).id());
    (101..1_125).for_each(|account| pool.admit_record(&fraud(account, 1, 1), &scene.system));
    pool.admit_record(&fraud(100, 1, 1), &scene.system);
    assert!(pool.records().count() == 1_024 && !has(&pool, 100), "against less than any");
    pool.admit_record(&fraud(102, 1, 2), &scene.system);
    assert!(has(&pool, 101), "one that has a place moves none");
    pool.admit_record(&fraud(1_125, 1, 1), &scene.system);
    assert!(pool.records().count() == 1_024 && has(&pool, 1_125) && !has(&pool, 101));
}

#[test]
fn each_record_is_judged_once_a_height_however_many_wait() {
    let mut scene = Scene::new();
    for account in 100..700 {
        let staker = Staker { stake: DYNE, key: Box::new([1; 96]), minted: 0 };
        scene.system.stakers.insert(account, staker);
    }
    seat(&mut scene, 100..700);
    let mut pool = HeightPool::default();
    for account in 100..700 {
        pool.admit_record(&fraud(account, 1, 1), &scene.system);
        pool.admit_record(&fraud(account, 1, 2), &scene.system);
    }
    for _ in 0..2 {
        let mut judged: Vec<_> = std::iter::from_fn(|| pool.next_unjudged()).map(|item| item.id()).collect();
        judged.sort_unstable();
        judged.dedup();
        assert_eq!(judged.len(), 600, "one an offender, each once");
        assert!(pool.next_unjudged().is_none());
        // The next height has another parent: all are judged anew.
        scene.block(&[]);
        pool.settle(&scene.system);
    }
    let first = pool.next_unjudged().unwrap();
    pool.drop_record(&first.id());
    assert_eq!(pool.records().count(), 599);
}

#[test]
fn a_conflict_has_a_place_if_it_convicts_somebody_whom_no_other_does() {
    let scene = Scene::new();
    let (now, mut gate, mut pool) = (duties(&scene), RecordGate::default(), HeightPool::default());
    let mut offer = |item: &Item| {
        let step = gate.offer(&now, speaker(Some(6)), &Record::of_item(item).unwrap(), item);
        if let Step::Verify(place) = step {
            gate.take(place, item.id());
            pool.admit_record(item, &scene.system);
        }
        (matches!(step, Step::Verify(_)), pool.records().any(|known| known.id() == item.id()))
    };
    // Whoever gives up seat 9 has made hundreds of these; one of them is enough.
    let kept: Vec<_> = (0..200).map(|salt| offer(&conflict(&[9], salt))).collect();
    assert_eq!(kept.iter().filter(|kept| kept.0 || kept.1).count(), 1);
    assert_eq!(offer(&conflict(&[3, 4, 5, 6], 1)), (true, true), "B + 1 have forked");
    assert_eq!(offer(&conflict(&[3, 4, 5, 6], 1)), (false, true), "the same again");
    assert_eq!(offer(&conflict(&[4, 9], 1)), (true, true), "a true one more costs little");
    assert_eq!(offer(&conflict(&[9], 201)), (false, false));
    assert_eq!(pool.proofs().count(), 3);
}

fn speaker(name: Option<u32>) -> Speaker {
    Speaker { name, connection: 1_000 + u64::from(name.unwrap_or(999)), called: false }
}

/// Somebody with a stake and nothing to do.
const NAMED: u32 = 77;

fn duties(scene: &Scene) -> DutyTable {
    duties_of(scene, 3)
}

fn duties_of(scene: &Scene, me: u32) -> DutyTable {
    let mut system = scene.system.clone();
    system.stakers.insert(NAMED, Staker { stake: DYNE, key: Box::new([1; 96]), minted: 0 });
    DutyTable::of(Arc::new(system), true, Some(me))
}

#[test]
fn records_are_verified_only_of_who_has_a_right_to_them() {
    let mut scene = Scene::new();
    scene.system.drawn = vec![5];
    let (now, mut gate) = (duties(&scene), RecordGate::default());
    let offer = |gate: &mut RecordGate, now: &DutyTable, from: Option<u32>, item: &Item| {
        gate.offer(now, speaker(from), &Record::of_item(item).unwrap(), item)
    };
    let of_drawn = answer(&scene.system, 5, 2, 1);
    assert!(matches!(offer(&mut gate, &now, None, &of_drawn), Step::Charge(_)), "guests bring no records");
    let Step::Verify(place) = offer(&mut gate, &now, Some(700), &of_drawn) else { panic!("it proves itself") };
    // Until one holds, others are looked at: junk does not keep the place.
    assert_eq!(offer(&mut gate, &now, Some(5), &answer(&scene.system, 5, 2, 2)), Step::Verify(place));
    gate.take(place, of_drawn.id());
    assert_eq!(offer(&mut gate, &now, Some(5), &answer(&scene.system, 5, 2, 3)), Step::Nothing);
    assert_eq!(offer(&mut gate, &now, Some(6), &answer(&scene.system, 6, 2, 1)), Step::Nothing, "not drawn");
    assert_eq!(offer(&mut gate, &now, Some(6), &attest(0, 0, 1)), Step::Nothing, "no such block");
    assert_eq!(offer(&mut gate, &now, Some(6), &fraud(900, 1, 1)), Step::Nothing, "nothing at stake");
    assert!(matches!(offer(&mut gate, &now, Some(6), &fraud(7, 1, 1)), Step::Verify(_)));

    // Of the height after: the candidate's own answer alone, once, and it is there when its height comes.
    let next = System { hash: [8; 32], ..scene.system.clone() };
    let early = answer(&next, 5, 3, 1);
    (0..2_000).for_each(|name| assert_eq!(offer(&mut gate, &now, Some(10_000 + name), &early), Step::Nothing));
    (0..2_000).for_each(|name| {
        let own = answer(&next, 10_000 + name, 3, 1);
        assert_eq!(offer(&mut gate, &now, Some(10_000 + name), &own), Step::Nothing);
    });
    assert_eq!(offer(&mut gate, &now, Some(5), &early), Step::Nothing);
    assert!(gate.ripe(&now).is_empty());
    scene.block(&[]);
    (scene.system.hash, scene.system.drawn) = ([8; 32], vec![5]);
    Arc::make_mut(&mut scene.system.committee).height = 2;
    let ripe = gate.ripe(&duties(&scene));
    assert_eq!(ripe.iter().map(|(from, item)| (from.name, item.id())).collect::<Vec<_>>(), [(Some(5), early.id())]);
}

#[test]
fn privileges_come_from_a_duty() {
    let mut scene = Scene::new();
    scene.system.drawn = vec![42];
    let now = duties(&scene);
    assert_eq!(now.of_name(Some(3)).rank(), Rank::Seated);
    assert_eq!(now.of_name(Some(42)).rank(), Rank::Called);
    assert_eq!(now.of_name(Some(NAMED)).rank(), Rank::Named);
    // Whoever has no stake any more has proved a name for nothing.
    assert_eq!(now.of_name(Some(78)).rank(), Rank::Guest);
    assert_eq!(told_share(&scene.system, SLOT_MS, 78, 1), Some(0));
    let mut rules = Rules::new(10_000);
    let mut hear = |name, glance: &Glance| rules.hear(&now, speaker(Some(name)), glance, 100, 10);
    let talk = Glance::ShardTalk { height: 9, shard: 0 };
    assert_eq!([NAMED, 78].map(|name| hear(name, &talk)), [Verdict::Hint, Verdict::Pass]);
    assert_eq!(hear(NAMED, &Glance::Item), Verdict::Take);
    assert!(matches!(hear(78, &Glance::Item), Verdict::Charge(_)), "it brings no records");
    assert_eq!(now.of_name(None).rank(), Rank::Guest);
    assert!(Rank::Seated < Rank::Named && Rank::Named < Rank::Guest);
    assert_eq!(told_share(&scene.system, SLOT_MS, 3, 1), None);
    assert!(told_share(&now.system, SLOT_MS, NAMED, 1).unwrap() < 1_000);
    // Who was drawn has a seat at the height after, perhaps: who only has one now does not tell for that.
    let shares = [42, 3].map(|name| [1, 2].map(|height| told_share(&scene.system, SLOT_MS, name, height).is_none()));
    assert_eq!(shares, [[false, true], [true, false]]);
}

#[test]
fn a_message_is_looked_at_only_of_who_may_send_it() {
    let scene = Scene::new();
    let (now, mut rules) = (duties(&scene), Rules::new(10_000));
    let hear = |rules: &mut Rules, from: Option<u32>, glance: &Glance, bytes: usize| {
        rules.hear(&now, speaker(from), glance, bytes, 10)
    };
    let charged = |verdict: Verdict| matches!(verdict, Verdict::Charge(Failure::Unwanted(_)));
    let (mine, poor) = (Some(4), Some(77));
    let talk = |height: u64| Glance::ShardTalk { height, shard: 0 };
    assert_eq!(hear(&mut rules, mine, &talk(1), 100), Verdict::Take);
    assert!(charged(hear(&mut rules, poor, &talk(1), 100)), "no seat");
    assert!(charged(hear(&mut rules, mine, &Glance::ShardTalk { height: 1, shard: 7 }, 100)), "another shard");
    assert!(charged(hear(&mut rules, poor, &talk(2), 100)), "it cannot have a seat there either");
    assert_eq!(hear(&mut rules, poor, &talk(9), 100), Verdict::Hint, "we may be behind: consensus asks it");
    assert!(charged(hear(&mut rules, poor, &talk(9), 1 << 19)), "but not at any length");
    assert_eq!(hear(&mut rules, None, &talk(9), 100), Verdict::Pass);
    assert_eq!(hear(&mut rules, poor, &talk(0), 100), Verdict::Pass, "past");
    assert!(charged(hear(&mut rules, poor, &Glance::Committee(1), 100)));
    assert_eq!(hear(&mut rules, mine, &Glance::Committee(1), 100), Verdict::Take);

    // A final certificate of a past height is heard if it is not the one known and follows the same block.
    let mut scene = Scene::new();
    let genesis = scene.system.hash;
    scene.block(&[]);
    (scene.system.hash, scene.system.ancestors) = ([1; 32], [genesis].into());
    scene.system.committees.push_front(scene.system.committee.clone());
    Arc::make_mut(&mut scene.system.committee).height = 2;
    let past = duties(&scene);
    let decided = |hash: u8, parent| {
        let [quilt, parent_root, system, seed, committee_next] = [[2; 32]; 5];
        let (height, slot, headers) = (1, 1, vec![None]);
        let value = Value { height, parent, slot, headers, quilt, parent_root, system, seed, committee_next };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [1; 48] };
        Glance::Final(Arc::new(Final { attempt: 2, value: Arc::new(value), hash: [hash; 32], certificate }), 0)
    };
    let mut hear_past = |from, glance| rules.hear(&past, speaker(from), &glance, 300, 10);
    assert_eq!(hear_past(poor, decided(2, genesis)), Verdict::Take, "whoever shows it");
    assert_eq!(hear_past(poor, decided(1, genesis)), Verdict::Pass, "known");
    assert_eq!(hear_past(poor, decided(2, [7; 32])), Verdict::Pass, "of another chain");
    assert_eq!(hear_past(None, decided(2, genesis)), Verdict::Pass, "of nobody");

    let items = Glance::ShardItems { height: 1, shard: 0 };
    assert!(charged(hear(&mut rules, mine, &items, 1 << 20)), "nobody asked");
    // Each custodian has one of the shard's minters: this one is in the second place, and has the second of them.
    let mut scene = scene;
    let second = scene.system.committee.members[usize::from(scene.system.committee.shards[0][1])].candidate;
    scene.system.custodians = vec![vec![900, 3, 901]];
    let bodies = Glance::Bodies([9; 32]);
    // This node has built the block itself: it is sent none.
    assert_eq!(rules.hear(&duties(&scene), speaker(Some(second)), &bodies, 1 << 20, 10), Verdict::Pass);
    scene.system.custodians = vec![vec![900, 902, 901]];
    let (now, mine, mut rules) = (duties_of(&scene, 902), Some(second), Rules::new(10_000));
    let other = Some((0..10).find(|name| *name != second && *name != 3).unwrap());
    let hear = |rules: &mut Rules, from: Option<u32>, glance: &Glance, bytes: usize| {
        rules.hear(&now, speaker(from), glance, bytes, 10)
    };
    assert_eq!(hear(&mut rules, other, &bodies, 1 << 20), Verdict::Pass, "another's part, or of another height");
    assert!(charged(hear(&mut rules, poor, &bodies, 1 << 20)));
    assert_eq!(hear(&mut rules, mine, &bodies, 1 << 20), Verdict::Take, "whose part it is sends it unasked");
    assert_eq!(
        hear(&mut rules, mine, &Glance::Bodies([8; 32]), 1 << 20),
        Verdict::Pass,
        "once a height; again each slot"
    );
    // Bodies leave when their height is final: who has become slower has those of that height and of the pending one to
    // come, and who has sent them may have no seat any more.
    let header = ShardBlock::decode(&[0; SHARD_BLOCK_BYTES]);
    let (patch, custodians) = (Arc::new(Patch::default()), scene.system.custodians[0].clone());
    let block = ImmatureBlock { shard: 0, block: [6; 32], header, patch, custodians, banned: false };
    let rewards = Vec::new();
    scene.system.immature.push_back(Immature { height: 0, parent_slot: 0, blocks: vec![block], rewards });
    let mut committee = (*scene.system.committee).clone();
    scene.system.committees.push_front(Arc::new(Committee { height: 0, ..committee.clone() }));
    committee.members[usize::from(committee.shards[0][1])].candidate = 999;
    scene.system.committee = Arc::new(committee);
    let later = duties_of(&scene, 902);
    let mut both = Rules::new(10_000);
    assert_eq!(hear(&mut both, mine, &bodies, 1 << 20), Verdict::Take);
    let of_final = [(); 2].map(|()| both.hear(&later, speaker(mine), &Glance::Bodies([6; 32]), 1 << 17, 15));
    assert_eq!(of_final, [Verdict::Take, Verdict::Pass], "that too, once");
    let again = |rules: &mut Rules, now_ms| rules.hear(&now, speaker(mine), &Glance::Bodies([7; 32]), 1 << 17, now_ms);
    let at_once: Vec<Verdict> = (0..4).map(|_| again(&mut rules, 20)).collect();
    assert_eq!(at_once.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 2, "a slow line has gathered some");
    assert_eq!(at_once[3], Verdict::Charge(Failure::Repeated(1 << 17)), "not without end");
    assert_eq!(again(&mut rules, 40_010), Verdict::Pass, "four slots later, at the same height");
    // A node that stood still for ten slots hears of all of them at once; and of no more.
    let after: Vec<Verdict> = (0..30).map(|_| again(&mut rules, 140_010)).collect();
    let passed = after.iter().filter(|verdict| **verdict == Verdict::Pass).count();
    assert!((10..=26).contains(&passed), "{passed} after a pause");
    rules.asked.note(Whom::Name(77), &Message::WantBodies([9; 32], None), 0);
    assert_eq!(hear(&mut rules, poor, &bodies, 1 << 20), Verdict::Take);
    assert!(charged(hear(&mut rules, poor, &bodies, 1 << 20)), "one answer to one question");
    assert_eq!(hear(&mut rules, None, &Glance::Question, 10), Verdict::Take);
    assert!(charged(hear(&mut rules, None, &Glance::Question, 1 << 20)));
}

#[test]
fn how_much_a_minter_takes_is_heard_of_who_may_mint_and_twice_a_height() {
    let scene = Scene::new();
    let (now, mut rules) = (duties(&scene), Rules::new(10_000));
    let mut hear = |name: Option<u32>, height: u64| rules.room(&now, speaker(name), height, 17);
    let charged = |verdict: Verdict| verdict == Verdict::Charge(Failure::Unwanted(17));
    assert_eq!([hear(Some(4), 1), hear(Some(4), 1)], [Verdict::Take; 2]);
    assert!(charged(hear(Some(4), 1)), "again and again");
    assert_eq!(hear(Some(4), 2), Verdict::Take, "of the height after it may mint as well");
    assert!(charged(hear(Some(77), 1)) && charged(hear(Some(77), 2)), "it has no seat, and was not drawn");
    assert!(charged(hear(None, 1)) && charged(hear(None, 9)), "it is nobody");
    assert_eq!([hear(Some(4), 0), hear(Some(77), 9)], [Verdict::Pass; 2], "past, and we may be behind");
}

#[test]
fn a_shard_block_of_its_own_maker_is_looked_at_twice_a_height() {
    let mut scene = Scene::new();
    let (now, mut rules) = (duties(&scene), Rules::new(10_000));
    let block = |height, number: u8| {
        let (hash, items, patch) = ([number; 32], Items::default(), Vec::new());
        let [parent_root, transactions_root, patch_hash] = [[number; 32]; 3];
        let (slot, shard, transactions, bytes) = (1, 0, 0, 0);
        let block = ShardBlock { parent_root, slot, shard, transactions, bytes, transactions_root, patch_hash };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [1; 48] };
        Glance::Block(Box::new(CertifiedBlock { height, block, hash, certificate, items, patch }))
    };
    let sent = |rules: &mut Rules, now: &DutyTable, name: u32, height, number: u8| {
        let verdicts = (0..100).map(|_| rules.hear(now, speaker(Some(name)), &block(height, number), 1 << 20, 10));
        let verdicts: Vec<Verdict> = verdicts.collect();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Take | Verdict::Pass)), "no fault: {name}");
        verdicts.into_iter().filter(|verdict| *verdict == Verdict::Take).count()
    };
    assert_eq!([1, 1, 2].map(|number| sent(&mut rules, &now, 4, 1, number)), [2, 0, 2]);
    assert_eq!(sent(&mut rules, &now, 5, 1, 1), 2, "another's copies are another's");
    let all: usize = (3..100).map(|number| sent(&mut rules, &now, 4, 1, number)).sum();
    assert!(all <= 12, "{all} more: a shard makes no more blocks than these");
    // What was asked for comes however many came before.
    rules.asked.note(Whom::Name(4), &Message::WantBlocks(1, vec![[1; 32]]), 0);
    assert_eq!(sent(&mut rules, &now, 4, 1, 1), 1);
    scene.block(&[]);
    Arc::make_mut(&mut scene.system.committee).height = 2;
    let next = duties(&scene);
    assert_eq!(sent(&mut rules, &next, 4, 2, 1), 2, "at the next height there are others");
}

/// Frames of cells by what they say: how many are told to each minter for this height, and how many are handed in.
fn told_and_handed(frames: &[Frame], height: u64) -> (Vec<usize>, usize) {
    let read =
        |frame: &Arc<[u8]>| dynemix::peer::frames::read_cells(&frame[1..]).map(|(told, _, cells)| (told, cells.len()));
    let read: Vec<(Option<u64>, usize)> = frames.iter().map(|(_, _, frame)| read(frame).unwrap()).collect();
    let told = read.iter().filter(|frame| frame.0 == Some(height)).map(|frame| frame.1).collect();
    (told, read.iter().filter(|frame| frame.0.is_none()).map(|frame| frame.1).sum())
}

// With small limits the pool is full before.
#[cfg(not(feature = "tiny-limits"))]
#[test]
fn a_teller_without_a_seat_tells_what_its_stake_is_worth_and_names_without_one_nothing() {
    let mut scene = Scene::new();
    let staker = |stake| Staker { stake, key: Box::new([1; 96]), minted: 0 };
    (600..650).for_each(|name| drop(scene.system.stakers.insert(name, staker(25 * DYNE))));
    (650..700).for_each(|name| drop(scene.system.stakers.insert(name, staker(DYNE / 100))));
    scene.system.pools.stakes += 50 * (25 * DYNE + DYNE / 100);
    let share = |name| told_share(&scene.system, SLOT_MS, name, 1).unwrap();
    assert!((2..=20).contains(&share(600)) && share(650) == 0, "{} and {}", share(600), share(650));
    // Whoever comes first, each minter takes the same of each.
    for order in [(600..700).collect::<Vec<u32>>(), (600..700).rev().collect()] {
        let mut pool = HeightPool::default();
        let mut sender = 100..1_200;
        for name in order {
            let teller = Teller { name, share: Some(share(name)) };
            let tell = |sender| scene.admit_from(&mut pool, &scene.pay(sender, 2 * DYNE), 1, &teller);
            let taken = sender.by_ref().map(tell).take_while(|outcome| *outcome != Err(Refusal::Busy)).count();
            assert_eq!(taken, share(name), "of {name}");
        }
        // Who has a seat is not bounded by it.
        assert_eq!(scene.admit(&mut pool, &scene.pay(50, 2 * DYNE), 1), Ok(()));
    }
    // A node without a seat tells no more than is taken of it, and so all minters the same; the rest it hands in to one
    // minter each, as users do.
    let mut own = Own::default();
    own.begin(SLOT_MS);
    own.tell(&scene.state, &scene.system, Some(600));
    for sender in 100..1_100 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(0)).unwrap();
    }
    let count = own.len();
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(600));
    assert_eq!(told_and_handed(&frames, 1), (vec![share(600); 10], count - share(600)));
    // One without a name tells nobody.
    let mut own = Own::default();
    follow(&mut own, &scene.pay(100, 2 * DYNE), due(100, 2 * DYNE), caller(0)).unwrap();
    assert_eq!(own.tell(&scene.state, &scene.system, None).0.len(), 1);
}

#[test]
fn what_was_told_in_vain_is_handed_in() {
    let mut scene = Scene::new();
    scene.system.stakers.insert(650, Staker { stake: 500 * DYNE, key: Box::new([1; 96]), minted: 0 });
    scene.system.pools.stakes += 500 * DYNE;
    let mut own = Own::default();
    own.begin(SLOT_MS);
    own.tell(&scene.state, &scene.system, Some(650));
    for sender in 100..200 {
        follow(&mut own, &scene.pay(sender, 2 * DYNE), due(sender, 2 * DYNE), caller(0)).unwrap();
    }
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(650));
    assert_eq!(told_and_handed(&frames, 1), (vec![100; 10], 0));
    let parent = scene.block(&[]);
    own.settle(&[0; 32], &scene.state, &parent, &scene.system, |_, _| Ok(()), |_, _| Fate::Final);
    let (frames, _) = own.tell(&scene.state, &scene.system, Some(650));
    assert_eq!(told_and_handed(&frames, 2), (Vec::new(), 100), "each to one minter");
}

#[test]
fn one_teller_replaces_at_one_place_once() {
    let scene = Scene::new();
    let mut rivals: Vec<_> = (2..40).map(|dynes| scene.pay(20, dynes * DYNE)).collect();
    // Falling ids: each would take the place of the one before, and be judged.
    rivals.sort_by_key(|item| std::cmp::Reverse(item.id()));
    let mut pool = HeightPool::default();
    let taken = rivals.iter().filter(|item| scene.admit(&mut pool, item, 1).is_ok()).count();
    assert_eq!(taken, 2);
    // Another may bring a lower one: of two honest tellers the lower id stays, whoever is first.
    let other = Teller { name: 1, share: None };
    assert_eq!(scene.admit_from(&mut pool, &rivals[37], 1, &other), Ok(()));
    assert_eq!(pool.len(), 1);
}
