//! Slips inside one function, planted one at a time: the assertion that states the broken fact stops the node before
//! anybody else sees anything. `cargo test -p dynemix-engine --features mutations --test asserted`

#[path = "minter/still.rs"]
mod still;

use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::base::mutation::{Mutation, plant};
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::consensus::minter::Minter;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::vote::stub::StubSigning;
use std::sync::Arc;
use still::{Scene, decided, key};

/// From a parent and the blocks of a height to the next system and the quilt.
fn finish() {
    let scene = Scene::new();
    scene.next(&scene.blocks());
}

/// The block of two payments.
fn build() {
    Scene::new().build();
}

/// A quilt that pays a key without an account.
fn apply() {
    let Scene { mut state, .. } = Scene::new();
    let mut quilt = Quilt { height: 1, slot: 1, parent_root: state.header().root, ..Quilt::default() };
    (quilt.delta.debits.accounts, quilt.delta.debits.amounts) = (vec![12], vec![5 * DYNE]);
    (quilt.delta.created_keys, quilt.delta.created_amounts) = (vec![key(90)], vec![5 * DYNE]);
    assert_eq!(state.validate(&quilt), Ok(()));
    state.apply(&quilt).unwrap();
}

/// A node hears of a height that the committee has decided, and goes on to the next.
fn settle() {
    let mut scene = Scene::new();
    let (chain, schedule) = (scene.chain.genesis_hash, Schedule::of(&scene.chain.parameters));
    let decided = decided(&mut scene, 2);
    let signing = StubSigning { candidate: 0 };
    let mut minter = Minter::new(chain, schedule, 0, scene, Arc::new(signing), SignedOnce::default(), 0);
    assert_eq!(minter.pending_height(), 1);
    minter.handle(0, 1, Message::Final(Arc::new(decided), Vec::new()));
    assert_eq!(minter.pending_height(), 2, "the height is final here");
}

/// What a run panics with, if it does, with this fault planted.
fn panic_of(fault: Option<Mutation>, run: fn()) -> Option<String> {
    plant(fault);
    let result = std::panic::catch_unwind(run);
    plant(None);
    let panic = result.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
}

#[test]
fn each_slip_is_found_by_the_assertion_that_states_the_fact() {
    // Panics are what is looked for.
    std::panic::set_hook(Box::new(|_| {}));
    let cases: [(Mutation, fn(), &str); 4] = [
        (Mutation::NewAccountsGetMore, finish, "the pools sum to what is in no balance"),
        (Mutation::SendersPayLess, build, "a block moves money and makes none"),
        (Mutation::CreatedNotCounted, apply, "the accounts in use are those before and those created"),
        (Mutation::FinalNotApplied, settle, "a height that is final is the one that was pending"),
    ];
    let mut wrong = Vec::new();
    for (fault, run, fact) in cases {
        let (without, with) = (panic_of(None, run), panic_of(Some(fault), run));
        if without.is_some() || !with.as_ref().is_some_and(|text| text.contains(fact)) {
            wrong.push((fault, without, with));
        }
    }
    drop(std::panic::take_hook());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cases.map(|case| case.0), Mutation::ASSERTED, "each slip has its run");
}
