//! Peers with a name and no duty, or with one, that lie to a real node: what they send costs them before it costs it.

mod named;

use bytemuck::Zeroable;
use dynemix::devnet::layout::secret;
use dynemix::peer::frames::{BODIES, CELLS, Outcome, PeerFrameKind, ROUNDS, VOTES, cells_frame, put_cell};
use dynemix::peer::inclusion::Inclusion;
use dynemix::peer::paths::{SENDERS_MAX, WantPaths, paths_frame, read_paths};
use dynemix_engine::base::ids::Sig;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, Final, ShardBlock, Value};
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::statement::{Certificate, Evidence, SeatSet, StatementKind};
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::{Item, Items, block_bytes};
use dynemix_engine::vote::bls::BlsSigning;
use ed25519_dalek::SigningKey;
use named::{MINTERS, Named, POOR, Town, frame_of, signed};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Signatures of transactions that the node has verified so far.
fn verified(town: &Town) -> u64 {
    let prepared = &town.nodes[0].view().prepared;
    prepared.iter().map(|counters| counters.signatures.load(Ordering::Relaxed)).sum()
}

fn owner(minter: u32) -> SigningKey {
    SigningKey::from_bytes(&secret("owner", minter.into()))
}

fn payment(sequence: u64, amount: u64) -> Cell {
    Cell {
        recipient: owner(0).verifying_key().to_bytes(),
        amount,
        sequence,
        expires_slot: 50,
        version: 1,
        kind: 1,
        outputs: 1,
        payload_hash: payload_hash(&[]),
        ..Cell::zeroed()
    }
}

/// Transactions with signatures that do not hold.
fn broken_items(count: u64) -> Vec<Item> {
    let sender = owner(1).verifying_key().to_bytes();
    (0..count).map(|number| Item::transaction(&Cell { sender, ..payment(0, DYNE + number) }, &[])).collect()
}

fn in_round(message: ShardMessage) -> Message {
    Message::Shard { height: 1, slot: 0, shard: 0, message }
}

fn block(items: Vec<Item>) -> CertifiedBlock {
    let mut signers = SeatSet::default();
    (0..MINTERS as u16).for_each(|seat| assert!(signers.insert(seat)));
    // A point of the group that signs nothing of the kind.
    let aggregate = BlsSigning::key_and_possession(&secret("vote", 0), &[0; 32]).1;
    let header = ShardBlock {
        parent_root: [1; 32],
        slot: 0,
        shard: 0,
        transactions: items.len() as u32,
        bytes: block_bytes(&items),
        transactions_root: [2; 32],
        patch_hash: [3; 32],
    };
    let certificate = Certificate { signers, aggregate };
    CertifiedBlock {
        height: 1,
        block: header,
        hash: header.hash(),
        certificate,
        items: items.into(),
        patch: vec![4; 90],
    }
}

fn false_final() -> Arc<Final> {
    let value = Arc::new(Value {
        height: 1,
        parent: [1; 32],
        slot: 1,
        headers: vec![None],
        quilt: [3; 32],
        parent_root: [4; 32],
        system: [5; 32],
        seed: [6; 32],
        committee_next: [7; 32],
    });
    Arc::new(Final { attempt: 3, hash: value.hash(), value, certificate: block(Vec::new()).certificate })
}

/// Says it again and again until it is thrown out; how often that was.
fn until_thrown_out(liar: &Named, most: usize, mut say: impl FnMut(&Named)) -> usize {
    for time in 1..=most {
        say(liar);
        if liar.is_thrown_out(Duration::from_millis(30)) {
            return time;
        }
    }
    assert!(liar.is_thrown_out(Duration::from_secs(5)), "still there after {most} times");
    most
}

#[test]
fn nothing_that_nobody_asked_for_is_verified_and_whoever_sends_it_is_thrown_out() {
    let town = Town::of(1, false);
    let before = verified(&town);
    // Items of a set, transactions of a block, a block with items, a final one: of who has no seat, and of who has one.
    let items = broken_items(4_000);
    let whole = Arc::new(block(items.clone()));
    let frames = [
        (ROUNDS, frame_of(&in_round(ShardMessage::Items(items.clone())))),
        (BODIES, frame_of(&Message::Bodies([9; 32], items.into()))),
        (BODIES, frame_of(&Message::Final(false_final(), vec![whole.clone()]))),
    ];
    for (minter, (class, frame)) in (1..).zip(frames) {
        // Of who has a name and no duty frames of this length are not even put together.
        let poor = Named::connect(&town, Some(POOR), 0);
        (0..20).for_each(|_| poor.send(class, frame.clone()));
        let liar = Named::connect(&town, Some(minter), 0);
        until_thrown_out(&liar, 100, |liar| (0..4).for_each(|_| liar.send(class, frame.clone())));
        assert_eq!(verified(&town), before, "class {class}");
    }
    town.stop();
    // Where it is known for nothing: a node that waits for a block asks whomever it sees for it, and what that one answers
    // is put together, and falls back on it.
    let town = Town::of(1, false);
    let before = verified(&town);
    let liar = Named::connect(&town, Some(POOR), 0);
    let short = Arc::new(block(broken_items(40)));
    until_thrown_out(&liar, 100, |liar| (0..4).for_each(|_| liar.say(ROUNDS, &Message::Block(short.clone()))));
    assert_eq!(verified(&town), before);
    town.stop();
}

#[test]
fn a_certificate_that_does_not_hold_ends_the_connection_before_its_block_is_looked_at() {
    let town = Town::of(1, false);
    let before = verified(&town);
    let whole = Arc::new(block(broken_items(1_000)));
    // Of a minter of the shard that made it, who may send it unasked.
    let liar = Named::connect(&town, Some(1), 0);
    liar.say(ROUNDS, &Message::Block(whole));
    assert!(liar.is_thrown_out(PATIENCE));
    // A false end of the height, of who has no seat: gossip that nobody honest passes on.
    let liar = Named::connect(&town, Some(POOR), 0);
    liar.say(VOTES, &Message::Final(false_final(), Vec::new()));
    assert!(liar.is_thrown_out(PATIENCE));
    assert_eq!(verified(&town), before);
    town.stop();
}

#[test]
fn what_is_verified_first_cannot_come_as_a_vote() {
    let town = Town::of(1, false);
    let before = verified(&town);
    let items = broken_items(10);
    let messages = [
        Message::Block(Arc::new(block(items.clone()))),
        in_round(ShardMessage::Items(items.clone())),
        Message::Bodies([9; 32], items.clone().into()),
        Message::Item(items[0].clone()),
    ];
    for (name, message) in [1, 2, 3, POOR].into_iter().zip(messages) {
        let liar = Named::connect(&town, Some(name), 0);
        // A point fades in a second.
        (0..6).for_each(|_| liar.say(VOTES, &message));
        assert!(liar.is_thrown_out(PATIENCE));
    }
    assert_eq!(verified(&town), before);
    town.stop();
}

#[test]
fn cells_that_cannot_take_effect_are_refused_before_their_signature() {
    let town = Town::of(1, false);
    let before = verified(&town);
    let guest = Named::connect(&town, None, 0);
    let stranger = SigningKey::from_bytes(&[77; 32]);
    let cells = [
        // Nobody's; then of one who is known: a sequence that is far ahead, one that is late, more than there is.
        (signed(&town, &stranger, payment(0, DYNE)), Refusal::UnknownSender),
        (signed(&town, &owner(1), payment(1_000, DYNE)), Refusal::WrongSequence),
        (signed(&town, &owner(1), Cell { expires_slot: 100_000, ..payment(0, DYNE) }), Refusal::ExpiresTooFar),
        (signed(&town, &owner(1), payment(0, 90_000_000 * DYNE)), Refusal::InsufficientBalance),
    ];
    for (place, (cell, refusal)) in cells.iter().enumerate() {
        let mut frame = cells_frame(None, place as u64);
        // Its signature does not even hold.
        put_cell(&mut frame, bytemuck::bytes_of(&Cell { signature: [5; 64], ..*cell }), &[], None);
        guest.send(CELLS, frame);
        let outcome = guest.hear(PeerFrameKind::Outcome, PATIENCE).expect("an answer");
        let outcome = Outcome::read(&outcome[1..]).unwrap();
        assert_eq!((outcome.refusal, outcome.ordinals), (*refusal as u8, vec![place as u64]));
    }
    assert_eq!(verified(&town), before);
    // One that can is verified, and what is broken is charged for.
    let mut frame = cells_frame(None, 9);
    put_cell(&mut frame, bytemuck::bytes_of(&Cell { signature: [5; 64], ..cells[0].0 }), &[], None);
    let good = signed(&town, &owner(1), payment(0, DYNE));
    put_cell(&mut frame, bytemuck::bytes_of(&Cell { signature: [5; 64], ..good }), &[], None);
    put_cell(&mut frame, bytemuck::bytes_of(&good), &[], None);
    guest.send(CELLS, frame);
    town.wait("followed", PATIENCE, |town| town.nodes[0].view().status.own.load(Ordering::Relaxed) == 1);
    assert_eq!(verified(&town) - before, 2);
    town.stop();
}

#[test]
fn a_stake_without_its_voting_key_is_told_to_nobody_and_costs_whoever_brings_it() {
    let town = Town::of(1, false);
    let (key, possession) = BlsSigning::key_and_possession(&secret("vote", 1), &owner(1).verifying_key().to_bytes());
    let stake = |possession: &[u8; 48]| {
        let payload = [&key[..], possession].concat();
        let cell = Cell {
            kind: 6,
            outputs: 0,
            amount: 1_000 * DYNE,
            recipient: town.genesis.chain.genesis_hash,
            payload_hash: payload_hash(&payload),
            ..payment(0, DYNE)
        };
        let mut frame = cells_frame(None, 0);
        put_cell(&mut frame, bytemuck::bytes_of(&signed(&town, &owner(1), cell)), &payload, None);
        frame
    };
    let liar = Named::connect(&town, Some(POOR), 0);
    // Points of the group that prove nothing, each another one.
    let sent = until_thrown_out(&liar, 40, |liar| {
        liar.send(CELLS, stake(&BlsSigning::key_and_possession(&secret("other", rand_number()), &[0; 32]).1));
    });
    assert!(sent <= 12, "{sent} false proofs");
    assert_eq!(town.nodes[0].view().status.own.load(Ordering::Relaxed), 0);
    let guest = Named::connect(&town, None, 0);
    guest.send(CELLS, stake(&possession));
    town.wait("followed", PATIENCE, |town| town.nodes[0].view().status.own.load(Ordering::Relaxed) == 1);
    town.stop();
}

#[test]
fn a_wrong_hint_costs_whoever_tells_it_and_not_the_transaction() {
    let town = Town::of(1, false);
    let liar = Named::connect(&town, Some(1), 0);
    let mut amount = DYNE;
    let sent = until_thrown_out(&liar, 20, |liar| {
        amount += 1;
        let mut frame = cells_frame(Some(1), 0);
        let cell = signed(&town, &owner(1), payment(0, amount));
        put_cell(&mut frame, bytemuck::bytes_of(&cell), &[], Some(&[9; 32]));
        liar.send(CELLS, frame);
    });
    assert!((4..=8).contains(&sent), "{sent} wrong hints");
    // They are as good as any: of one account and sequence the pool keeps one.
    let status = &town.nodes[0].view().status;
    town.wait("admitted", PATIENCE, |_| status.admitted.load(Ordering::Relaxed) >= 1);
    // Of users' own transactions there are none: that is no frame.
    let guest = Named::connect(&town, None, 0);
    let mut frame = cells_frame(None, 0);
    put_cell(&mut frame, bytemuck::bytes_of(&signed(&town, &owner(2), payment(0, DYNE))), &[], Some(&[9; 32]));
    until_thrown_out(&guest, 8, |guest| guest.send(CELLS, frame.clone()));
    town.stop();
}

fn rand_number() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

#[test]
fn honest_nodes_charge_each_other_nothing() {
    for quilt in [true, false] {
        // One of them has a name and no seat: it follows.
        let town = Town::of(MINTERS + 1, quilt);
        town.wait("at height 2", Duration::from_secs(30), |town| town.height(0) >= 2);
        let guest = Named::connect(&town, None, POOR);
        for sequence in 0..4 {
            let mut frame = cells_frame(None, sequence);
            let cell = Cell { expires_slot: 500, ..payment(sequence, DYNE) };
            put_cell(&mut frame, bytemuck::bytes_of(&signed(&town, &owner(1), cell)), &[], None);
            guest.send(CELLS, frame);
        }
        town.wait("paid", Duration::from_secs(30), |town| {
            // In quilt mode a node without a seat has not the transactions that would prove it: it asks for the proofs.
            town.nodes[POOR as usize].view().status.own_final.load(Ordering::Relaxed) == 4
        });
        let charged: Vec<u64> = town.nodes.iter().map(|node| node.view().gate.charged()).collect();
        assert_eq!(charged, vec![0; town.nodes.len()], "quilt mode: {quilt}");
        town.stop();
    }
}

#[test]
fn proofs_that_nobody_asked_for_and_questions_without_end_are_looked_at_a_few_times() {
    let town = Town::of(MINTERS, true);
    town.wait("at height 3", Duration::from_secs(30), |town| town.height(0) >= 3);
    let header = ShardBlock {
        parent_root: [1; 32],
        slot: 3,
        shard: 0,
        transactions: 1,
        bytes: 193,
        transactions_root: [2; 32],
        patch_hash: [3; 32],
    };
    let items: Items = vec![Item::transaction(&signed(&town, &owner(1), payment(0, DYNE)), &[])].into();
    let unasked = paths_frame((2, 0), &[Inclusion::of(&header, &items, 0)]);
    let question = WantPaths { place: (2, 0), senders: vec![[7; 32]; SENDERS_MAX] }.encode();
    for (class, frame, at_once) in [
        // Nobody is thrown out for a few of these.
        (BODIES, unasked, 128),
        (CELLS, question.clone(), 512),
        (CELLS, question[..question.len() - 1].to_vec(), 1),
        (BODIES, vec![PeerFrameKind::Paths as u8, 1], 1),
        // In another class than its own.
        (VOTES, question, 1),
    ] {
        let liar = Named::connect(&town, None, 0);
        let times = until_thrown_out(&liar, 40, |liar| (0..at_once).for_each(|_| liar.send(class, frame.clone())));
        assert!(times <= 8, "{times} times {at_once} frames of {} bytes in class {class}", frame.len());
    }
    // Whoever asks as much as it may is answered, with what there is.
    let guest = Named::connect(&town, None, 0);
    guest.send(CELLS, WantPaths { place: (2, 0), senders: vec![[7; 32]] }.encode());
    let answer = guest.hear(PeerFrameKind::Paths, PATIENCE);
    assert!(answer.is_none_or(|answer| read_paths(&answer[1..]).is_some_and(|(_, proofs)| proofs.is_empty())));
    town.stop();
}

#[test]
fn transactions_that_nobody_asked_for_are_verified_of_whose_part_they_are_and_no_further_than_they_hold() {
    let town = Town::of(1, true);
    let before = verified(&town);
    // At most one of them has this node for a custodian.
    for minter in 1..MINTERS {
        let liar = Named::connect(&town, Some(minter), 0);
        liar.say(BODIES, &Message::Bodies([9; 32], broken_items(4_000).into()));
        std::thread::sleep(Duration::from_secs(1));
    }
    let verified = verified(&town) - before;
    assert!(verified <= 1_024, "{verified} of 12 000 broken signatures were looked at");
    town.stop();
}

/// A fraud of an honest minter, with signatures that do not hold: each another one.
fn fraud(town: &Town, junk: Sig) -> Message {
    let mut first = [1; 32];
    first[..8].copy_from_slice(&rand_number().to_le_bytes());
    let (kinds, height) = ([StatementKind::First; 2], town.height(0));
    let statements = [(first, 0, junk), ([2; 32], 0, junk)];
    let evidence = Evidence { candidate: town.candidate(2), kinds, height, numbers: [1; 2], shard: 0, statements };
    Message::Item(Record::Fraud(Box::new(evidence)).item())
}

#[test]
fn what_waits_of_who_is_thrown_out_is_not_worked_off_and_its_name_stays_out_whatever_its_key() {
    let town = Town::of(MINTERS, true);
    town.wait("at height 2", Duration::from_secs(30), |town| town.height(0) >= 2);
    let junk = BlsSigning::key_and_possession(&secret("other", 1), &[0; 32]).1;
    let frauds: Vec<Vec<u8>> = (0..2_500).map(|_| frame_of(&fraud(&town, junk))).collect();
    let charged = || town.nodes[0].view().gate.charged();
    let before = charged();
    let liar = Named::connect(&town, Some(POOR), 0);
    frauds.into_iter().for_each(|fraud| liar.send(ROUNDS, fraud));
    assert!(liar.is_thrown_out(PATIENCE));
    std::thread::sleep(Duration::from_secs(2));
    let charged = charged() - before;
    assert!((2..=8).contains(&charged), "{charged} of 2 500 lies were looked at");
    assert!(Named::try_connect(&town, Some(POOR), 0, Duration::from_secs(3)).is_none(), "another key, the same name");
    // Another node has not heard of it, and guests may come.
    drop((Named::connect(&town, Some(POOR), 1), Named::connect(&town, None, 0)));
    town.stop();
}

#[test]
fn a_false_record_is_charged_and_a_flood_of_each_kind_loses_no_slot() {
    let town = Town::of(MINTERS, true);
    town.wait("at height 3", Duration::from_secs(30), |town| town.height(0) >= 3);
    let junk = BlsSigning::key_and_possession(&secret("other", 1), &[0; 32]).1;
    let liar = Named::connect(&town, Some(POOR), 0);
    let sent = until_thrown_out(&liar, 20, |liar| liar.say(ROUNDS, &fraud(&town, junk)));
    assert!(sent <= 6, "{sent} false records");
    assert!(
        !town.nodes[0].view().status.look(|live| live.system.clone()).unwrap().barred.contains_key(&town.candidate(2))
    );

    // Kinds that cost nothing to make, one after the other, by who comes again under another key when it is thrown out, to
    // one node after the other: first under its name, and then as a guest.
    let begun = town.height(0);
    let end = Instant::now() + Duration::from_secs(6);
    let items = broken_items(2_000);
    for to in (1..MINTERS).cycle().take_while(|_| Instant::now() < end) {
        let pending = town.height(0) + 1;
        let liar = Named::try_connect(&town, Some(POOR), to, Duration::from_millis(500));
        let liar = liar.unwrap_or_else(|| Named::connect(&town, None, to));
        let mut decided = (*false_final()).clone();
        decided.value = Arc::new(Value { height: pending, ..(*decided.value).clone() });
        decided.hash = decided.value.hash();
        let messages = [
            (
                ROUNDS,
                Message::Shard { height: pending, slot: 0, shard: 0, message: ShardMessage::Items(items.clone()) },
            ),
            (BODIES, Message::Bodies([9; 32], items.clone().into())),
            (VOTES, Message::WantFinal(1)),
            (VOTES, Message::WantBodies([9; 32], None)),
            (ROUNDS, fraud(&town, junk)),
            (VOTES, Message::Final(Arc::new(decided), Vec::new())),
        ];
        for (class, message) in messages {
            (0..40).for_each(|_| liar.say(class, &message));
        }
        // It may be thrown out, or not be listened to any more since it has lied before: what counts is what it costs.
        liar.is_thrown_out(Duration::from_millis(500));
    }
    // Slots are of a second: six of them, and none is lost.
    let made = town.height(0) - begun;
    assert!(made >= 5, "{made} heights in six slots");
    let (behind, ahead) = (0..MINTERS)
        .map(|node| town.height(node))
        .fold((u64::MAX, 0), |(low, high), height| (low.min(height), high.max(height)));
    assert!(ahead - behind <= 1, "{behind} to {ahead}");
    town.stop();
}
