//! Planted faults of who mints and who keeps: an owner who arranges his stakes finds each.
//! `cargo test -p dynemix-engine --features mutations --test selection_faults`

#[path = "minter/scene.rs"]
mod scene;

use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::statement::{Evidence, Statement, StatementKind};
use dynemix_engine::vote::stub::StubSigning;
use scene::Scene;

/// Does something with a fault planted, or without any.
fn with<T>(fault: Option<Mutation>, run: impl FnOnce() -> T) -> T {
    plant(fault);
    let result = run();
    plant(None);
    result
}

#[test]
fn a_draw_by_the_stakes_of_now_is_moved_by_who_moves_them() {
    let draws = || {
        let mut scene = Scene::of(false, (20, 1), &[2_000 * DYNE; 60]);
        scene.advance(&[]);
        let drawn = |units: u64| scene.follow(&[scene.unstake(3, units * DYNE)]).1.system.drawn;
        (1..30).map(drawn).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(with(None, draws), 1);
    assert!(with(Some(Mutation::DrawByStakesOfNow), draws) > 25, "a draw for each amount");
}

#[test]
fn custody_by_heads_is_the_sybils() {
    let kept = || {
        let stakes: Vec<u64> = (0..200).map(|account| if account < 20 { 1_000_000 * DYNE } else { DYNE }).collect();
        let mut scene = Scene::of(true, (20, 1), &stakes);
        let mut by_sybils = 0;
        for _ in 0..10 {
            by_sybils += scene.system.custodians_of(0).iter().filter(|&&custodian| custodian >= 20).count();
            scene.advance(&[]);
        }
        by_sybils
    };
    assert_eq!(with(None, kept), 0);
    assert!(with(Some(Mutation::CustodyByHeads), kept) > 50, "of 70 places");
}

#[test]
fn evidence_that_outlives_the_stake_is_found_by_what_the_tables_state() {
    let punished = || {
        let mut scene = Scene::new(false);
        scene.advance(&[scene.unstake(4, 500 * DYNE)]);
        (0..4).for_each(|_| scene.advance(&[]));
        let vote = |hash: u8| {
            let (kind, hash) = (StatementKind::Second, [hash; 32]);
            let statement = Statement { kind, height: 2, number: 7, shard: 0, justified_by: 0, hash };
            (hash, 0, StubSigning::stub(4, &statement.digest(&scene.chain.genesis_hash)))
        };
        let evidence = Evidence::of_two(4, StatementKind::Second, 2, 7, 0, [vote(1), vote(2)]);
        scene.advance(&[Record::Fraud(Box::new(evidence)).item()]);
        scene.system.pools.slashed
    };
    assert_eq!(with(None, punished), 500 * DYNE);
    std::panic::set_hook(Box::new(|_| {}));
    let found = with(Some(Mutation::EvidenceOutlivesStake), || std::panic::catch_unwind(punished));
    drop(std::panic::take_hook());
    let panic = found.expect_err("it is free by then");
    let text = panic.downcast_ref::<&str>().copied().unwrap_or("");
    assert!(text.contains("invariant 4"), "{text}");
}
