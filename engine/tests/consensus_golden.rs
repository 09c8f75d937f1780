//! Golden vectors of what all nodes must draw, divide and hash alike: `docs/vectors/consensus.json`.

use dynemix_engine::base::ids::Endpoint;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, GenesisMinter};
use dynemix_engine::base::trie::Trie;
use dynemix_engine::chain::block::Value;
use dynemix_engine::chain::record::{Answer, Attest, Record};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::draw::{Lots, draw, next_seed};
use dynemix_engine::committee::members::{Committee, record_shards, shard_of};
use dynemix_engine::committee::quorum::{byzantine_max, master_quorum, shard_quorum};
use dynemix_engine::committee::statement::{Certificate, Conflict, Evidence, SeatSet, Statement, StatementKind};
use serde_json::json;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn draws_committees_and_digests_are_what_the_vectors_say() {
    let seed = [0x42; 32];
    let stakes: Vec<u64> = (0..50).map(|candidate| 1_000_000_000 / (candidate + 5)).collect();
    let of_candidates: Trie<u32, u64> = (0..).zip(stakes.iter().copied()).collect();
    let drawn = draw(&mut Lots::new(&seed, b'd', 7), &of_candidates, 23);
    let minters: Vec<_> = drawn.iter().map(|&candidate| (candidate, stakes[candidate as usize])).collect();
    let committee = Committee::new(7, &seed, &minters, 2);
    let sender = |number: u8| [number; 32];
    let signed =
        Statement { kind: StatementKind::First, height: 7, number: 15, shard: 0, justified_by: 14, hash: [9; 32] };
    let value = Value {
        height: 7,
        parent: [1; 32],
        slot: 12,
        headers: vec![Some([2; 32]), None],
        quilt: [3; 32],
        parent_root: [4; 32],
        system: [7; 32],
        seed: [5; 32],
        committee_next: [6; 32],
    };
    let mut lots = Lots::new(&seed, b'x', 1);
    let quorums = [1, 4, 10, 20, 67, 100, 199, 200, 399]
        .map(|seats| [seats, master_quorum(seats), byzantine_max(seats), shard_quorum(seats)]);
    let candidates =
        |seats: &Vec<u16>| seats.iter().map(|&seat| committee.members[usize::from(seat)].candidate).collect::<Vec<_>>();
    let shards: Vec<_> = committee.shards.iter().map(candidates).collect();
    let found = json!({
        "lots_below_1000": (0..8).map(|_| lots.below(1_000)).collect::<Vec<_>>(),
        "drawn": drawn,
        "shards": shards,
        "committee_hash": hex(&committee.hash(|_| &[1; 96])),
        "lowest_seat": committee.lowest(0..23, &seed, 15, 0),
        "next_seed": hex(&next_seed(&seed, [&[1u8; 48][..], &[2u8; 48][..]].into_iter())),
        "shard_of_sender": (0..8).map(|number| shard_of(&seed, &sender(number), 5)).collect::<Vec<_>>(),
        "record_shards": record_shards(&seed, &[8; 32], 9).collect::<Vec<_>>(),
        "first_vote_digest": hex(&signed.digest(&[7; 32])),
        "value_hash": hex(&value.hash()),
        "quorums_seats_master_byzantine_shard": quorums,
    });
    let found = with_records(found);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/consensus.json");
    if std::env::var_os("DYNEMIX_BLESS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let expected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(found, expected, "DYNEMIX_BLESS=1 rewrites the vectors; a change of them is another chain");
}

/// Records as they are written, and the root of a system at genesis.
fn with_records(mut found: serde_json::Value) -> serde_json::Value {
    let mut signers = SeatSet::default();
    [0, 3, 9].into_iter().for_each(|seat| assert!(signers.insert(seat)));
    let certificate = Certificate { signers, aggregate: [5; 48] };
    let attest = Attest { height: 7, slot: 8, shard: 1, block: [9; 32], certificate };
    let signed = |hash: u8| {
        let (kind, hash) = (StatementKind::Second, [hash; 32]);
        (Statement { kind, height: 7, number: 15, shard: 0, justified_by: 0, hash }, certificate)
    };
    let conflict = Conflict::of_certificates([signed(1), signed(2)]).expect("they contradict each other");
    let endpoint = Endpoint { address: [1; 16], port: 4_747, transport_key: [2; 32] };
    let records = [
        Record::Register { account: 5, id: [6; 32], name: b"ada".to_vec() },
        Record::Stake { account: 5, amount: 6, key: Box::new([7; 96]), possession: Box::new([8; 48]) },
        Record::Unstake { account: 5, amount: 6 },
        Record::Answer(Box::new(Answer {
            height: 3,
            candidate: 4,
            drawn_by: [5; 32],
            endpoint,
            answer: [6; 48],
            signature: [7; 48],
        })),
        Record::Fraud(Box::new(Evidence::of_two(
            3,
            StatementKind::First,
            4,
            9,
            0,
            [([1; 32], 0, [2; 48]), ([3; 32], 0, [4; 48])],
        ))),
        Record::Attest(Box::new(attest)),
        Record::Conflict(Box::new(conflict)),
    ];
    let minter = |account: u32| GenesisMinter {
        account,
        name: format!("minter{account}").into_bytes(),
        stake: 1_000_000 * u64::from(account + 1),
        key: Box::new([account as u8; 96]),
        endpoint,
    };
    let minters: Vec<_> = (0..5).map(minter).collect();
    let accounts: Vec<_> = (0..5u8).map(|number| ([number; 32], 1_000_000_000)).collect();
    let chain = Chain::with_minters(ChainParameters::default(), &accounts, &minters);
    let system = System::genesis(&chain, &minters);
    found["records"] = json!(records.iter().map(|record| hex(&record.to_bytes())).collect::<Vec<_>>());
    found["genesis_hash_with_minters"] = json!(hex(&chain.genesis_hash));
    found["system_root_at_genesis"] = json!(hex(&system.root()));
    let quilt = ConsensusParameters { quilt_from_height: 0, ..ConsensusParameters::default() };
    found["custodians_of_two_shards"] = json!(system.draw_custodians(&quilt, &[9; 32], 8, 2));
    found["drawn_at_genesis"] = json!(system.draw(&[9; 32], 8, 3));
    found
}
