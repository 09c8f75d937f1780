//! Who mints and who keeps cannot be moved by who sees the seed; whoever does has something at stake as long as evidence
//! about it is taken.

use crate::scene::{BALANCE, MINTERS, Scene, key, vote_key};
use dynemix_engine::base::limits::HEAVY_MAX;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Certificate, Conflict, Evidence, Statement, StatementKind};
use dynemix_engine::rules::foreign::PatchFault;
use dynemix_engine::rules::next::Next;
use dynemix_engine::rules::objects::{SetBounds, closing};
use dynemix_engine::transaction::item::Item;
use dynemix_engine::vote::stub::StubSigning;
use std::collections::BTreeSet;

const STAKE: u64 = 500 * DYNE;

/// A statement of a height with its signature.
fn vote(scene: &Scene, candidate: u32, height: u64, hash: u8) -> ([u8; 32], u64, [u8; 48]) {
    let statement =
        Statement { kind: StatementKind::Second, height, number: 7, shard: 0, justified_by: 0, hash: [hash; 32] };
    ([hash; 32], 0, StubSigning::stub(candidate, &statement.digest(&scene.chain.genesis_hash)))
}

/// Two second votes of one minter at one height.
fn evidence(scene: &Scene, candidate: u32, height: u64) -> Record {
    let statements = [vote(scene, candidate, height, 1), vote(scene, candidate, height, 2)];
    Record::Fraud(Box::new(Evidence::of_two(candidate, StatementKind::Second, height, 7, 0, statements)))
}

fn candidates(committee: &Committee) -> BTreeSet<u32> {
    committee.members.iter().map(|member| member.candidate).collect()
}

/// Sixty minters for twenty seats in two shards, a few heights after genesis.
fn sixty(quilt: bool) -> Scene {
    let mut scene = Scene::of(quilt, (20, 2), &[2_000 * DYNE; 60]);
    (0..3).for_each(|_| scene.advance(&[]));
    scene
}

#[test]
fn nothing_that_a_block_moves_enters_what_its_own_seed_decides() {
    for quilt in [false, true] {
        let scene = sixty(quilt);
        let still = scene.follow(&[]).1.system;
        assert_eq!((still.committee.len(), still.committee.shards.len(), still.drawn.len()), (20, 2, 20));
        assert_eq!(still.custodians.len(), if quilt { 2 } else { 0 });
        let unstakes = (1..40).map(|units| vec![scene.unstake(units as u32, units * DYNE)]);
        let stakes = (1..40).map(|units| vec![scene.stake(units as u32, units * DYNE)]);
        let loads = (1..30).map(|count| (60..60 + count).map(|user| scene.pay(user, key(3), DYNE)).collect());
        for items in unstakes.chain(stakes).chain(loads) {
            let moved = scene.follow(&items).1.system;
            assert_eq!((moved.seed, &moved.drawn), (still.seed, &still.drawn), "quilt {quilt}");
            assert_eq!((&moved.committee, &moved.custodians), (&still.committee, &still.custodians));
        }
    }
}

#[test]
fn who_leaves_or_is_barred_loses_its_own_places_and_moves_nobody_else() {
    for quilt in [false, true] {
        let scene = sixty(quilt);
        let still = scene.follow(&[]).1.system;
        let (mut left_draw, mut left_seat) = (0, 0);
        for account in 0..60 {
            let others = |of: &[u32]| of.iter().copied().filter(|&other| other != account).collect::<Vec<_>>();
            let gone = scene.follow(&[scene.unstake(account, 2_000 * DYNE)]).1.system;
            assert_eq!(gone.drawn, others(&still.drawn));
            assert_eq!(gone.committee, still.committee, "its stake is held: the seat that it has answered for stays");
            left_draw += usize::from(gone.drawn != still.drawn);

            // Of some height at which it had a seat.
            let height = (1..=scene.system.height + 1).find(|&height| scene.system.was_seated(height, account));
            let Some(height) = height else { continue };
            let barred = scene.follow(&[evidence(&scene, account, height).item()]).1.system;
            assert!(barred.barred.contains_key(&account));
            assert_eq!((barred.seed, barred.drawn), (still.seed, others(&still.drawn)));
            let without = still.committee.without(|candidate| candidate == account).unwrap();
            assert_eq!(*barred.committee, without, "and the others stay in their shards");
            left_seat += usize::from(without.len() < still.committee.len());
            for (now, before) in barred.custodians.iter().zip(&still.custodians) {
                assert_eq!(*now, others(before));
            }
        }
        let seated = |account: u32| (1..=4).any(|height| scene.system.was_seated(height, account));
        let of_next = still.committee.members.iter().filter(|member| seated(member.candidate)).count();
        assert!(of_next > 10, "{of_next} of those who mint next had a seat before");
        assert_eq!((left_draw, left_seat), (20, of_next));
    }
}

#[test]
fn sybils_of_a_dyne_keep_nothing_and_larger_ones_their_share() {
    let stakes: Vec<u64> = (0..200).map(|account| if account < 20 { 1_000_000 * DYNE } else { DYNE }).collect();
    let mut scene = Scene::of(true, (20, 1), &stakes);
    let kept_by = |scene: &Scene, whose: fn(u32) -> bool| {
        let of_seed = |number: u64| {
            let seed = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let shards = scene.system.draw_custodians(&scene.chain.parameters.consensus, &seed, 9, 1);
            assert_eq!(shards[0].len(), 7);
            shards[0].iter().filter(|&&custodian| whose(custodian)).count()
        };
        (0..2_000).map(of_seed).sum::<usize>()
    };
    // By their stake nine in a million of 14 000 places.
    assert!(kept_by(&scene, |account| account >= 20) <= 3);
    // Those who are asked are the ones that the height before has drawn.
    let drawn = scene.system.custodians_of(0).to_vec();
    scene.advance(&[]);
    assert_eq!(scene.system.immature[0].blocks[0].custodians, drawn);
    // A tenth of the stake in as many accounts as the rest has: a tenth of the places.
    let stakes: Vec<u64> = (0..200).map(|account| if account < 20 { 81_000 * DYNE } else { DYNE * 1_000 }).collect();
    let share = |stakes: &[u64], whose| kept_by(&Scene::of(true, (20, 1), stakes), whose) as f64 / 14_000.0;
    let of_many = share(&stakes, |account| account >= 20);
    assert!((0.09..0.16).contains(&of_many), "{of_many}");
    // Nor has anybody more who is larger than a thousand others: 5.7 % of the stake, 5.7 % of the places.
    let stakes: Vec<u64> = (0..1_060).map(|account| DYNE * if account < 60 { 1_000 } else { 999 }).collect();
    let of_larger = share(&stakes, |account| account < 60);
    assert!((0.05..0.065).contains(&of_larger), "{of_larger}");
}

#[test]
fn dust_beside_few_large_stakes_is_not_drawn_for_want_of_others() {
    let drawn_of = |large: u32| {
        let stakes: Vec<u64> = (0..200).map(|account| DYNE * if account < large { 1_000_000 } else { 200 }).collect();
        let scene = Scene::of(true, (20, 1), &stakes);
        let of_seed = |number: u64| {
            let seed = *blake3::hash(&number.to_le_bytes()).as_bytes();
            scene.system.draw_custodians(&scene.chain.parameters.consensus, &seed, 9, 1).remove(0)
        };
        (0..500).flat_map(of_seed).partition::<Vec<u32>, _>(|&custodian| custodian < large)
    };
    // Five large ones and whoever was drawn by its own weight: without an end two of seven would be dust.
    let (large, dust) = drawn_of(5);
    assert_eq!(large.len(), 5 * 500);
    assert!(dust.len() < 100, "{} places", dust.len());
    // Three or four of them could raise an alarm only if hardly any is silent: there are five, of whom the large ones
    // are enough, and the others by themselves are not.
    for few in [3, 4] {
        let (large, dust) = drawn_of(few);
        let (of_large, of_dust) = (500 * few as usize, 500 * (5 - few as usize));
        assert!(large.len() == of_large && (of_dust..of_dust + 10).contains(&dust.len()), "{} of dust", dust.len());
    }
    // Two cannot raise an alarm: the others keep as well.
    assert!(drawn_of(2).1.len() > 1_000);
}

/// Runs to a height.
fn run_to(scene: &mut Scene, height: u64) {
    while scene.system.height < height {
        scene.advance(&[]);
    }
}

#[test]
fn what_a_seat_was_given_for_is_at_stake_until_evidence_about_it_is_no_longer_taken() {
    for quilt in [false, true] {
        let evidence_heights = Scene::new(quilt).chain.parameters.consensus.evidence_heights;
        let last = 2 + evidence_heights;
        let left = || {
            let mut scene = Scene::new(quilt);
            // Drawn for height 2 and seated there, it takes everything out before.
            scene.advance(&[scene.unstake(4, STAKE)]);
            let seat = scene.system.committee.seat_of(4).expect("it was drawn, and has answered");
            assert_eq!(scene.system.committee.members[usize::from(seat)].stake, STAKE);
            scene
        };
        // As long as evidence is taken it costs everything.
        for height in [2, 3, last - 1] {
            let mut scene = left();
            run_to(&mut scene, height);
            assert_eq!((scene.system.stake(4), scene.balance(4)), (0, BALANCE), "quilt {quilt} at {height}");
            scene.mint(&[evidence(&scene, 4, 2).item()]);
            assert_eq!((scene.system.pools.slashed, scene.system.pools.unstaking), (STAKE, 0));
        }
        // Afterwards it is neither taken, nor told by a patch that says so.
        let mut scene = left();
        run_to(&mut scene, last);
        assert_eq!((scene.balance(4), scene.system.pools.unstaking), (BALANCE + STAKE, 0), "quilt {quilt}: it is free");
        let late = evidence(&scene, 4, 2);
        assert!(!scene.view().record_holds(&late));
        scene.mint(&[scene.stake(4, STAKE)]);
        run_to(&mut scene, last + 4);
        assert_eq!(scene.system.stake(4), STAKE);
        let honest = scene.certify(&[]);
        let mut patch = Patch::decode(&honest.patch, 100).unwrap();
        patch.records.push(evidence(&scene, 4, 2));
        let mut bytes = Vec::new();
        patch.encode(&mut bytes);
        let forged = scene.certified(
            dynemix_engine::chain::block::ShardBlock { patch_hash: Patch::hash(&bytes), ..honest.block },
            honest.items.clone(),
            bytes,
        );
        assert!(scene.view().patch_holds(&forged.block, &forged.patch).is_err());
        let next = Next::new(&scene.chain, &scene.state, &scene.system, &[Some(forged)]);
        assert_eq!((next.system.stake(4), next.system.barred.len()), (STAKE, 0));
    }
}

#[test]
fn leaving_always_ends_and_a_part_of_a_stake_comes_back_to_who_stays() {
    let mut scene = Scene::new(false);
    let evidence_heights = scene.chain.parameters.consensus.evidence_heights;
    scene.advance(&[scene.unstake(4, STAKE), scene.unstake(3, 40 * DYNE)]);
    for height in 2..=2 + evidence_heights {
        assert!(!scene.system.drawn.contains(&4));
        assert_eq!(scene.system.committee.seat_of(4).is_some(), height == 2, "its last seat is that of height 2");
        let seat = scene.system.committee.seat_of(3).expect("it stays");
        let stake = scene.system.committee.members[usize::from(seat)].stake;
        assert_eq!(stake, STAKE - if height == 2 { 0 } else { 40 * DYNE });
        assert_eq!((scene.balance(3), scene.balance(4)), (BALANCE, BALANCE), "at {height}");
        scene.advance(&[]);
    }
    assert_eq!((scene.balance(4), scene.balance(3)), (BALANCE + STAKE, BALANCE));
    // Heights 3 and later rest on what was left; height 3 was drawn by the whole.
    scene.advance(&[]);
    assert_eq!(scene.balance(3), BALANCE + 40 * DYNE);
}

#[test]
fn nobody_without_a_stake_has_a_seat_even_where_too_few_answer() {
    let mut scene = Scene::new(false);
    scene.silent.extend([0, 1, 2, 5, 6, 7, 8]);
    scene.advance(&[scene.unstake(4, STAKE)]);
    // Three answers are too few: the old committee goes on, and who has left by the height before does not.
    for _ in 0..8 {
        scene.advance(&[]);
        assert!(scene.system.thin > 0);
        assert_eq!(candidates(&scene.system.committee), (0..MINTERS).filter(|&account| account != 4).collect());
    }
    // If all leave, those who are left go on, and what they had at stake is held for it.
    let all: Vec<Item> =
        (0..MINTERS).filter(|&account| account != 4).map(|account| scene.unstake(account, STAKE)).collect();
    scene.advance(&all);
    (0..30).for_each(|_| scene.advance(&[]));
    assert_eq!(candidates(&scene.system.committee).len(), 9);
    assert_eq!(scene.system.pools.unstaking, 9 * STAKE);
}

/// A certificate of these seats, as (what they signed, who).
fn certified(scene: &Scene, statement: Statement, seats: &[u16]) -> (Statement, Certificate) {
    let committee = scene.system.committee_of(statement.height).unwrap();
    (statement, scene.aggregate(committee, seats, &statement.digest(&scene.chain.genesis_hash)))
}

fn said(kind: StatementKind, number: u64, justified_by: u64, hash: u8) -> Statement {
    Statement { kind, height: 2, number, shard: 0, justified_by, hash: [hash; 32] }
}

#[test]
fn certificates_that_contradict_each_other_convict_who_signed_both() {
    use StatementKind::{First, Second, ShardVote};
    let mut scene = Scene::new(false);
    run_to(&mut scene, 3);
    let pair = |one, other| {
        let of = |statement, seats: &[u16]| certified(&scene, statement, seats);
        Conflict::of_certificates([of(one, &[0, 1, 2, 3, 4, 5, 6]), of(other, &[3, 4, 5, 6, 7, 8, 9])])
    };
    // Two final ones, two of first votes, two of a shard; and a first vote that leaves an earlier second one behind.
    for (one, other) in [
        (said(Second, 8, 0, 1), said(Second, 8, 0, 2)),
        (said(First, 8, 0, 1), said(First, 8, 0, 2)),
        (said(ShardVote, 8, 0, 1), said(ShardVote, 8, 0, 2)),
        (said(Second, 8, 0, 1), said(First, 9, 0, 2)),
    ] {
        let conflict = pair(one, other).expect("it contradicts itself");
        let item = Record::Conflict(Box::new(conflict)).item();
        let next = scene.follow(&[item]).1;
        assert_eq!(next.system.barred.iter().map(|(&who, _)| who).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(next.system.pools.slashed, 4 * STAKE);
        assert_eq!(candidates(&next.system.committee), [0, 1, 2, 7, 8, 9].into());
    }
    // A later certificate frees a first vote; the same twice, or of two attempts, says nothing.
    for (one, other) in [
        (said(Second, 8, 0, 1), said(First, 9, 8, 2)),
        (said(Second, 8, 0, 1), said(Second, 8, 0, 1)),
        (said(Second, 8, 0, 1), said(Second, 9, 0, 2)),
        (said(StatementKind::List, 8, 0, 1), said(StatementKind::List, 8, 0, 2)),
    ] {
        assert_eq!(pair(one, other), None);
    }
    // Signers who did not sign; nobody in both; a height that is too old.
    let holds = |conflict: &Conflict| scene.view().record_holds(&Record::Conflict(Box::new(conflict.clone())));
    let true_one = pair(said(Second, 8, 0, 1), said(Second, 8, 0, 2)).unwrap();
    assert!(holds(&true_one));
    for place in [0, 1] {
        let mut forged = true_one.clone();
        forged.certified[place].1.signers.insert(if place == 0 { 9 } else { 0 });
        assert!(!holds(&forged));
        let mut swapped = true_one.clone();
        swapped.certified[place].0.hash = [7; 32];
        assert!(!holds(&swapped));
    }
    let mut reversed = true_one.clone();
    reversed.certified.reverse();
    assert!(!holds(&reversed), "in one order, so that it is one record");
    let apart = [certified(&scene, said(Second, 8, 0, 1), &[0, 1]), certified(&scene, said(Second, 8, 0, 2), &[2, 3])];
    assert_eq!(Conflict::of_certificates(apart), None);
    let record = Record::Conflict(Box::new(true_one));
    let last = 2 + scene.chain.parameters.consensus.evidence_heights - 1;
    run_to(&mut scene, last);
    assert!(scene.view().record_holds(&record));
    scene.advance(&[record.item()]);
    assert!(!scene.view().record_holds(&record), "once, and no longer");
    assert_eq!(scene.system.barred.len(), 4);
}

#[test]
fn whoever_gives_up_one_seat_keeps_no_conflict_out_that_convicts_others() {
    let mut scene = Scene::new(false);
    run_to(&mut scene, 3);
    let conflict = |hash: u8, one: &[u16], other: &[u16]| {
        let of = |hash, seats| certified(&scene, said(StatementKind::Second, 8, 0, hash), seats);
        Record::Conflict(Box::new(Conflict::of_certificates([of(hash, one), of(hash + 1, other)]).unwrap())).item()
    };
    let fork = conflict(1, &[0, 1, 2, 3, 4, 5, 6], &[3, 4, 5, 6, 7, 8, 9]);
    // As many of one seat as there are blocks' places for, all of them before it: ids are for grinding.
    let mut items: Vec<_> =
        (2..250).map(|hash| conflict(hash, &[9], &[9])).filter(|item| item.id() < fork.id()).collect();
    assert!(items.len() > 8, "{} have a lower id", items.len());
    items.push(fork);
    let (blocks, next) = scene.follow(&items);
    assert_eq!(next.system.barred.iter().map(|(&who, _)| who).collect::<Vec<_>>(), [3, 4, 5, 6, 9]);
    let block = blocks[0].as_ref().unwrap();
    let records = Patch::decode(&block.patch, 100).unwrap().records;
    let standing = records.iter().filter(|record| matches!(record, Record::Conflict(_)));
    assert_eq!(standing.count(), 2, "one is enough against each");
}

#[test]
fn a_block_holds_so_many_frauds_against_the_largest_stakes_and_counts_their_bytes() {
    let stakes: Vec<u64> = (0..50).map(|minter| (1_000 + minter) * DYNE).collect();
    let mut scene = Scene::of(true, (50, 1), &stakes);
    (0..2).for_each(|_| scene.advance(&[]));
    let frauds: Vec<_> = (0..50).map(|candidate| evidence(&scene, candidate, 2).item()).collect();
    let pay = scene.pay(60, key(61), DYNE);
    let block = scene.certify(&[&frauds[..], &[pay]].concat());
    assert!(scene.view().patch_holds(&block.block, &block.patch).is_ok());
    assert_eq!(block.block.bytes, block.items.iter().map(|item| item.length() as u64).sum::<u64>());
    assert_eq!(block.items.len(), 33, "and the transaction");
    assert!(frauds[18..].iter().all(|fraud| block.items.contains(fraud)), "those of the largest stakes");
    // Nobody holds a patch with one more, and items that the patch has not are not even looked at.
    let mut patch = Patch::decode(&block.patch, 100).unwrap();
    patch.records.push(evidence(&scene, 0, 2));
    patch.records.sort_by_cached_key(Record::to_bytes);
    let mut bytes = Vec::new();
    patch.encode(&mut bytes);
    let header = ShardBlock { patch_hash: Patch::hash(&bytes), ..block.block };
    assert!(matches!(scene.view().patch_holds(&header, &bytes), Err(PatchFault::Record(_))));
    let mut more: Vec<_> = block.items.iter().chain(&frauds[..1]).cloned().collect();
    more.sort_by_key(|item| item.id());
    let stuffed = CertifiedBlock { items: more.into(), ..(*block).clone() };
    assert!(!scene.view().block_holds(&stuffed, false, || panic!("what is beside the patch's records is not judged")));
}

#[test]
fn a_set_is_judged_by_how_much_it_has_of_what_costs_pairings_before_anything_else() {
    let stakes: Vec<u64> = (0..50).map(|minter| (1_000 + minter) * DYNE).collect();
    let mut scene = Scene::of(true, (50, 1), &stakes);
    (0..2).for_each(|_| scene.advance(&[]));
    let bounds = SetBounds::of(&scene.system);
    let frauds: Vec<_> = (0..50).map(|candidate| evidence(&scene, candidate, 2).item()).collect();
    let stakes: Vec<_> = (0..HEAVY_MAX as u32 + 1).map(|account| scene.stake(account, DYNE)).collect();
    let honest: Vec<_> = scene.answers();
    let set = |items: &[&[Item]]| bounds.hold(items.concat().iter());
    assert!(set(&[&honest, &frauds[..32], &stakes[1..]]));
    assert!(!set(&[&honest, &frauds[..33]]), "a fraud too many");
    assert!(!set(&[&honest, &stakes]), "a stake too many, whoever has which of them");
    assert!(!set(&[&honest, &honest[..1]]), "an answer too many");
    assert!(!set(&[&[Item::of_bytes(&[99; 100])]]), "what is no record");
    // What an honest minter closes of too much that holds.
    let mut all = [&honest[..], &frauds, &stakes].concat();
    all.sort_by_key(|item| item.id());
    let mut other_way = all.clone();
    let closed = closing(&scene.system, all);
    assert_eq!(closed.len(), honest.len() + 32 + HEAVY_MAX);
    assert!(bounds.hold(closed.iter()) && frauds[18..].iter().all(|fraud| closed.contains(fraud)));
    other_way.retain(|item| closed.contains(item));
    assert_eq!(closing(&scene.system, other_way), closed);
}

#[test]
fn who_had_no_seat_at_a_height_is_convicted_of_nothing_there() {
    let scene = sixty(false);
    let seated = candidates(scene.system.committee_of(3).unwrap());
    let stranger = (0..60).find(|candidate| !seated.contains(candidate)).unwrap();
    let holds = |candidate: u32| scene.view().record_holds(&evidence(&scene, candidate, 3));
    assert!(holds(*seated.first().unwrap()) && !holds(stranger));
}

#[test]
fn a_key_and_proof_that_another_has_shown_are_nothing_to_stake_by() {
    let mut scene = Scene::new(false);
    scene.mint(&[scene.register(20, "ada")]);
    let stake = |of: u32, proof_of: u32| {
        let possession = StubSigning::possession(&key(proof_of), &vote_key(of));
        scene.cell(20, 6, DYNE, scene.system.hash, &[&vote_key(of)[..], &possession[..]].concat())
    };
    assert!(scene.certify(&[stake(3, 3)]).items.is_empty(), "minter 3 has shown both when it staked");
    assert_eq!(scene.certify(&[stake(3, 20)]).items.len(), 1);
    assert_eq!(scene.certify(&[stake(20, 20)]).items.len(), 1);
}

#[test]
fn payments_in_a_circle_weigh_nothing() {
    let scene = Scene::new(false);
    let weighs = |items: &[Item]| scene.follow(items).1.system.minted[0].unwrap().transactions;
    assert_eq!(weighs(&[scene.pay(20, key(20), 5 * DYNE)]), 0);
    assert_eq!(weighs(&[scene.pay(20, key(21), 5 * DYNE), scene.pay(21, key(20), 5 * DYNE)]), 0);
    assert_eq!(weighs(&[scene.pay(20, key(21), 5 * DYNE), scene.pay(21, key(90), 4 * DYNE)]), 1);
    assert_eq!(weighs(&[scene.pay(20, key(21), 5 * DYNE), scene.pay(22, key(90), 4 * DYNE)]), 2);
}
