//! What blocks do to names, stakes and payments that are not mature, height by height, in both modes.

use crate::scene::{BALANCE, MINTERS, Scene, UNSIGNED, genuine, key};
use dynemix_engine::base::parameters::{DYNE, MATURITY_HEIGHTS};
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::record::{Alert, Record};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Certificate, Evidence, SeatSet, Statement, StatementKind};
use dynemix_engine::rules::bodies::Bodies;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;

#[test]
fn what_is_received_matures_three_heights_later_in_quilt_mode_and_at_once_in_blockchain_mode() {
    for (quilt, heights) in [(false, 0), (true, MATURITY_HEIGHTS)] {
        let mut scene = Scene::new(quilt);
        scene.mint(&[scene.pay(20, key(21), 5 * DYNE), scene.pay(22, key(90), 7 * DYNE)]);
        assert_eq!(
            (scene.balance(20), scene.balance(22)),
            (BALANCE - 5 * DYNE, BALANCE - 7 * DYNE),
            "debits are at once"
        );
        for waited in 0..=heights {
            let mature = waited == heights;
            assert_eq!(scene.balance(21) > BALANCE, mature, "quilt {quilt}, after {waited}");
            assert_eq!(scene.state.find(&key(90)).is_some(), mature);
            assert_eq!(scene.system.immature_of(21), if mature { 0 } else { 5 * DYNE });
            assert_eq!(scene.system.immature_since(21), (!mature).then_some(1));
            scene.mint(&[]);
        }
        assert_eq!((scene.balance(21), scene.balance(90)), (BALANCE + 5 * DYNE, 7 * DYNE));
    }
}

#[test]
fn names_are_unique_permanent_and_cost_a_reserve() {
    let mut scene = Scene::new(false);
    let reserve = scene.chain.parameters.consensus.register_reserve;
    let two = [scene.register(20, "ada"), scene.register(21, "ada")];
    let first = if two[0].id() < two[1].id() { 20 } else { 21 };
    scene.mint(&two);
    assert_eq!(scene.system.names.account_of(b"ada"), Some(first));
    assert_eq!((scene.balance(first), scene.balance(41 - first)), (BALANCE - reserve, BALANCE));
    assert_eq!(scene.system.pools.reserves, reserve);
    // Neither a second name nor a taken one may stand in a block.
    let block =
        scene.certify(&[scene.register(first, "eve"), scene.register(30, "ada"), scene.register(31, "minter3")]);
    assert!(block.items.is_empty());
}

#[test]
fn stakes_need_a_name_and_unstaked_funds_are_free_two_heights_later_where_their_owner_had_no_seat() {
    let mut scene = Scene::new(true);
    assert!(scene.certify(&[scene.stake(20, 5 * DYNE)]).items.is_empty(), "only who is registered stakes");
    scene.mint(&[scene.register(20, "ada")]);
    (0..MATURITY_HEIGHTS).for_each(|_| drop(scene.mint(&[])));
    scene.mint(&[scene.stake(20, 100 * DYNE)]);
    assert_eq!(scene.system.stake(20), 0, "a stake matures like a payment");
    (0..MATURITY_HEIGHTS).for_each(|_| drop(scene.mint(&[])));
    assert_eq!(scene.system.stake(20), 100 * DYNE);
    let before = scene.balance(20);
    assert!(
        scene.certify(&[scene.cell(20, 7, 101 * DYNE, scene.system.hash, &[])]).items.is_empty(),
        "more than there is"
    );
    assert!(scene.certify(&[scene.cell(20, 7, DYNE, [4; 32], &[])]).items.is_empty(), "not on this chain");
    scene.mint(&[scene.cell(20, 7, 40 * DYNE, scene.system.hash, &[])]);
    assert_eq!(
        (scene.system.stake(20), scene.balance(20)),
        (60 * DYNE, before),
        "out of the stake at once, in the balance later"
    );
    scene.mint(&[]);
    assert_eq!(scene.balance(20), before);
    scene.mint(&[]);
    assert_eq!(scene.balance(20), before + 40 * DYNE);
}

#[test]
fn two_statements_of_one_minter_cost_its_stake_once() {
    let mut scene = Scene::new(false);
    let (candidate, chain) = (4, scene.chain.genesis_hash);
    let unstaked = scene.cell(candidate, 7, 40 * DYNE, scene.system.hash, &[]);
    scene.mint(&[unstaked]);
    let statement = |hash: [u8; 32]| {
        let signed = Statement { kind: StatementKind::First, height: 1, number: 7, shard: 0, justified_by: 0, hash };
        (hash, 0, StubSigning::stub(candidate, &signed.digest(&chain)))
    };
    let evidence = Evidence::of_two(candidate, StatementKind::First, 1, 7, 0, [statement([1; 32]), statement([2; 32])]);
    let item = Record::Fraud(Box::new(evidence.clone())).item();
    scene.mint(std::slice::from_ref(&item));
    assert_eq!(
        (scene.system.stake(candidate), scene.system.pools.slashed, scene.system.pools.unstaking),
        (0, 500 * DYNE, 0)
    );
    assert!(scene.system.barred.contains_key(&candidate) && !scene.system.drawn.contains(&candidate));
    assert!(scene.certify(&[item]).items.is_empty(), "once");
    // The same vote twice is none, nor a vote after one that a later certificate freed it from.
    let same = Evidence::of_two(5, StatementKind::First, 1, 7, 0, [statement([1; 32]), statement([1; 32])]);
    assert!(!same.verify(&chain, &StubSigning { candidate: 0 }));
    let vote = |kind, number, justified_by, hash| {
        let signed = Statement { kind, height: 1, number, shard: 0, justified_by, hash };
        (hash, justified_by, StubSigning::stub(candidate, &signed.digest(&chain)))
    };
    let left = |justified_by| {
        let statements =
            [vote(StatementKind::First, 9, justified_by, [1; 32]), vote(StatementKind::Second, 7, 0, [2; 32])];
        let evidence = Evidence {
            candidate,
            kinds: [StatementKind::First, StatementKind::Second],
            height: 1,
            numbers: [9, 7],
            shard: 0,
            statements,
        };
        evidence.verify(&chain, &StubSigning { candidate: 0 })
    };
    assert_eq!([0, 6, 7, 8].map(left), [true, true, false, false]);
}

#[test]
fn who_approved_a_block_shares_what_it_earns() {
    let mut scene = Scene::new(false);
    let block = scene.mint(&[scene.pay(20, key(21), 5 * DYNE)]);
    let attest = Scene::attest_of(&block);
    let before = scene.balance(3);
    scene.mint(&[Record::Attest(Box::new(attest)).item()]);
    let each = scene.chain.parameters.consensus.emission / 10;
    assert_eq!(scene.balance(3), before + each);
    assert_eq!(scene.system.pools.issued, 10 * each);
    assert!(scene.certify(&[Record::Attest(Box::new(attest)).item()]).items.is_empty(), "of the height before only");
}

/// A certified block whose patch takes what account 20 has, and the items that are said to be behind it.
fn plunder(scene: &Scene, items: Vec<Item>) -> Arc<CertifiedBlock> {
    let honest = scene.certify(&[scene.pay(20, key(91), 900 * DYNE)]);
    let mut ids: Vec<_> = items.iter().map(|item| item.id()).collect();
    let transactions_root = dynemix_engine::chain::block::transactions_root(&mut ids);
    let header = dynemix_engine::chain::block::ShardBlock {
        transactions: items.len() as u32,
        bytes: dynemix_engine::transaction::item::block_bytes(&items),
        transactions_root,
        ..honest.block
    };
    scene.certified(header, Items::default(), honest.patch.clone())
}

#[test]
fn a_ban_gives_back_what_was_taken_and_drops_what_was_to_come() {
    let mut scene = Scene::new(true);
    let unsigned = scene.pay(20, key(91), 900 * DYNE);
    let mut bytes = unsigned.to_bytes();
    bytes[1 + 128] = UNSIGNED;
    let items = vec![Item::of_bytes(&bytes)];
    let block = plunder(&scene, items.clone());
    assert!(scene.view().patch_holds(&block.block, &block.patch).is_ok(), "the patch by itself breaks no rule");
    scene.apply(&block);
    assert_eq!(scene.balance(20), 100 * DYNE);
    let (height, immature) = scene.system.immature_block(&block.hash).unwrap();
    assert_eq!(scene.view().bodies(height, immature, &[]), Bodies::Other);
    assert_eq!(scene.view().bodies(height, immature, &items), Bodies::Invalid(0));
    // Three custodians and the committee were not served.
    let attest = Scene::attest_of(&block);
    let chain = scene.chain.genesis_hash;
    let mut custodians = immature.custodians.clone();
    custodians.sort_unstable();
    let alarm = |candidate: u32| (candidate, StubSigning::stub(candidate, &Alert::alarm_digest(&chain, &attest)));
    let committee = scene.system.committee.clone();
    scene.mint(&[]);
    let alert = |alarms: [u32; 3], looked: usize| {
        let digest = Alert::not_served_digest(&chain, 2, &attest);
        let mut signers = SeatSet::default();
        (0..looked as u16).for_each(|seat| assert!(signers.insert(seat)));
        let signatures: Vec<_> =
            committee.members[..looked].iter().map(|member| StubSigning::stub(member.candidate, &digest)).collect();
        let not_served = Certificate { signers, aggregate: StubSigning { candidate: 0 }.aggregate(&signatures) };
        Record::Alert(Box::new(Alert { attest, alarms: alarms.map(alarm), height: 2, not_served }))
    };
    let three = [custodians[0], custodians[1], custodians[2]];
    let stranger = (0..MINTERS).find(|account| !custodians.contains(account)).unwrap();
    let mut with_stranger = [custodians[0], custodians[1], stranger];
    with_stranger.sort_unstable();
    assert!(!scene.view().record_holds(&alert(three, 6)), "a quorum of ten is seven");
    assert!(!scene.view().record_holds(&alert([three[0], three[0], three[1]], 7)), "one or two can do nothing");
    assert!(!scene.view().record_holds(&alert(with_stranger, 7)), "custodians of this block only");
    assert!(scene.view().record_holds(&alert(three, 7)));
    scene.mint(&[alert(three, 7).item()]);
    assert_eq!(scene.balance(20), BALANCE, "the debit is back");
    assert_eq!(scene.state.hot(20).sequence, 1, "the sequence stays stepped");
    assert!(scene.state.find(&key(91)).is_none(), "and nothing arrived");
    assert_eq!(scene.system.pools.slashed, 10 * 500 * DYNE, "all who signed lose their stakes");
    (0..3).for_each(|_| drop(scene.mint(&[])));
    assert!(scene.state.find(&key(91)).is_none());
}

#[test]
fn a_block_that_is_mature_cannot_be_banned_and_a_proof_needs_no_opinion() {
    let mut scene = Scene::new(true);
    let unsigned = scene.pay(20, key(91), 900 * DYNE);
    let mut bytes = unsigned.to_bytes();
    bytes[1 + 128] = UNSIGNED;
    let items = vec![Item::of_bytes(&bytes), scene.pay(22, key(23), DYNE)];
    let mut items = items;
    items.sort_by_key(|item| item.id());
    let block = plunder(&scene, items.clone());
    scene.apply(&block);
    let place = items.iter().position(|item| !genuine(item)).unwrap();
    let ids: Vec<_> = items.iter().map(|item| item.id()).collect();
    let path = dynemix_engine::chain::block::transaction_path(&ids, place);
    let attest = Scene::attest_of(&block);
    let proof = |place: usize| {
        let (path, item) = (path.clone(), items[place].clone());
        let invalid =
            dynemix_engine::chain::record::Invalid { attest, header: block.block, place: place as u32, path, item };
        Record::Invalid(Box::new(invalid))
    };
    assert!(scene.view().record_holds(&proof(place)));
    assert!(!scene.view().record_holds(&proof(1 - place)), "the other one is signed");
    (0..MATURITY_HEIGHTS).for_each(|_| drop(scene.mint(&[])));
    assert!(!scene.view().record_holds(&proof(place)), "too late: W heights have passed");
}

#[test]
fn patches_that_make_money_or_reach_too_far_are_not_held() {
    let scene = Scene::new(true);
    let honest = scene.certify(&[scene.pay(20, key(21), 5 * DYNE)]);
    let patch = dynemix_engine::chain::patch::Patch::decode(&honest.patch, 100).unwrap();
    let refused = |change: &dyn Fn(&mut dynemix_engine::chain::patch::Patch)| {
        let mut patch = patch.clone();
        change(&mut patch);
        let mut bytes = Vec::new();
        patch.encode(&mut bytes);
        let header = dynemix_engine::chain::block::ShardBlock {
            patch_hash: dynemix_engine::chain::patch::Patch::hash(&bytes),
            slot: patch.slot,
            ..honest.block
        };
        scene.view().patch_holds(&header, &bytes).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|patch| patch.delta.credits.amounts[0] += 1), "makes money");
    assert!(refused(&|patch| patch.delta.debits.amounts[0] = 2 * BALANCE), "not covered");
    assert!(refused(&|patch| patch.delta.debits.accounts[0] = 77), "no such account");
    assert!(refused(&|patch| patch.delta.credits.accounts[0] = 77), "no such account");
    let small = |patch: &mut dynemix_engine::chain::patch::Patch| {
        (patch.delta.credits.accounts, patch.delta.credits.amounts) = (vec![21, 22], vec![5 * DYNE - 1, 1]);
    };
    assert!(refused(&small), "less than the smallest output");
    let opened = |amount: u64| {
        move |patch: &mut dynemix_engine::chain::patch::Patch| {
            patch.delta.credits.amounts[0] -= amount;
            (patch.delta.created_keys, patch.delta.created_amounts) = (vec![key(90)], vec![amount]);
        }
    };
    assert!(!refused(&opened(DYNE)));
    assert!(refused(&opened(DYNE - 1)), "an account opened with less than the smallest output");
    assert!(refused(&|patch| patch.slot = 0), "not after its parent");
    assert!(refused(&|patch| patch.slot = u64::MAX), "no such slot");
    assert!(refused(&|patch| patch.parent_root = [1; 32]), "another parent");
    assert!(refused(&|patch| patch.records.push(Record::Unstake { account: 20, amount: 1 })), "nothing staked");
    let forged = Record::Register { account: 20, id: [0; 32], name: b"ada".to_vec() };
    assert!(refused(&|patch| patch.records.push(forged.clone())), "a record is its sender's one debit");
}

#[test]
fn the_root_binds_all_that_a_newcomer_is_told() {
    let mut scene = Scene::new(true);
    scene.mint(&[scene.pay(20, key(21), 2 * DYNE)]);
    let system = &scene.system;
    let root = system.root();
    let committee = |change: &dyn Fn(&mut Committee)| {
        let Committee { height, members, shards } = &*system.committee;
        let mut committee = Committee { height: *height, members: members.clone(), shards: shards.clone() };
        change(&mut committee);
        System { committee: Arc::new(committee), ..system.clone() }
    };
    let mut earlier = system.clone();
    earlier.committees.push_back(system.committee.clone());
    let mut ancestors = system.clone();
    ancestors.ancestors.push_back([9; 32]);
    let mut custodians = system.clone();
    custodians.immature[0].blocks[0].custodians.push(7);
    for (what, other) in [
        ("who votes in the master round", committee(&|committee| committee.members[3].delegate = false)),
        ("a shard more", committee(&|committee| committee.shards.push(Vec::new()))),
        ("an earlier committee", earlier),
        ("an ancestor", ancestors),
        ("a custodian", custodians),
    ] {
        assert_ne!(other.root(), root, "{what}");
    }
    assert_ne!(committee(&|committee| committee.members[3].delegate = false).committee_hash(), system.committee_hash());
    assert_ne!(committee(&|committee| committee.shards.push(Vec::new())).committee_hash(), system.committee_hash());
    // The block's own hash has the root in it, and is not in the root.
    assert_eq!(System { hash: [1; 32], ..system.clone() }.root(), root);
    // What a block that is not mature says of itself follows from its hash, or is no system.
    let mut whole = Vec::new();
    system.encode(&mut whole);
    assert_eq!(System::decode(&whole).as_ref(), Ok(system));
    let mut other = system.clone();
    other.immature[0].blocks[0].header.slot += 1;
    let mut forged = Vec::new();
    other.encode(&mut forged);
    assert_eq!(other.root(), root);
    assert!(System::decode(&forged).is_err());
}
