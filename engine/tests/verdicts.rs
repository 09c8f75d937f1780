//! One rule for signatures: published vectors through the door, alone and inside batches of every kind.

use dynemix_engine::verify::{KeyCache, Signed, Simd, Verifier};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;

struct Case {
    name: String,
    key: [u8; 32],
    signature: [u8; 64],
    message: Vec<u8>,
    good: bool,
}

impl Case {
    fn signed(&self) -> Signed<'_> {
        Signed { key: &self.key, signature: &self.signature, prefix: &[], message: &self.message }
    }
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a string of hexadecimal digits");
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn load(file: &str) -> Vec<Value> {
    let path = format!("{}/../docs/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

/// Every published vector that has a signature of 64 bytes; a frame has no place for another.
fn published() -> Vec<Case> {
    let mut cases = Vec::new();
    let files = [("rfc8032.json", 5), ("speccheck.json", 12), ("zip215_small_order.json", 196), ("wycheproof_ed25519.json", 139)];
    for (file, count) in files {
        let before = cases.len();
        for (i, value) in load(file).iter().enumerate() {
            let Ok(signature) = unhex(&value["signature"]).try_into() else { continue };
            cases.push(Case {
                name: format!("{file}[{i}]"),
                key: unhex(&value["public"]).try_into().unwrap(),
                signature,
                message: unhex(&value["message"]),
                good: value["zip215"].as_bool().unwrap_or(true),
            });
        }
        assert_eq!(cases.len() - before, count, "{file}");
    }
    cases
}

fn good_cases(count: usize) -> Vec<Case> {
    (0..count)
        .map(|i| {
            let secret = SigningKey::from_bytes(&[(i % 251) as u8; 32]);
            let message = (i as u64).to_le_bytes().repeat(20);
            Case {
                name: format!("good[{i}]"),
                key: secret.verifying_key().to_bytes(),
                signature: secret.sign(&message).to_bytes(),
                message,
                good: true,
            }
        })
        .collect()
}

fn verifier() -> Verifier {
    Verifier::new(Arc::new(KeyCache::new(64, Simd::best()).unwrap()))
}

fn check(verifier: &mut Verifier, batch: &[&Case]) {
    let mut verdicts = Vec::new();
    verifier.verify(batch.len(), |i| batch[i].signed(), &mut verdicts);
    for (place, (case, verdict)) in batch.iter().zip(&verdicts).enumerate() {
        assert_eq!(*verdict, case.good, "{} at place {place} of {}", case.name, batch.len());
    }
}

#[test]
fn every_vector_alone_and_all_together() {
    let cases = published();
    let mut verifier = verifier();
    for case in &cases {
        check(&mut verifier, &[case]);
    }
    check(&mut verifier, &cases.iter().collect::<Vec<_>>());
}

#[test]
fn every_vector_at_every_place_of_small_batches_and_some_of_large_ones() {
    let cases = published();
    let good = good_cases(128);
    let mut verifier = verifier();
    for (number, case) in cases.iter().enumerate() {
        for (size, places) in [(2, vec![0, 1]), (7, (0..7).collect()), (64, vec![number % 64])] {
            for place in places {
                let mut batch: Vec<&Case> = good[..size].iter().collect();
                batch[place] = case;
                check(&mut verifier, &batch);
            }
        }
    }
}

#[test]
fn every_batch_size_finds_its_bad_ones() {
    let good = good_cases(130);
    let mut bad = good_cases(130);
    for case in &mut bad {
        case.signature[40] ^= 1;
        case.good = false;
    }
    let mut verifier = verifier();
    check(&mut verifier, &[]);
    for size in 1..=130 {
        check(&mut verifier, &good[..size].iter().collect::<Vec<_>>());
        for step in [1, 2, 5, 64] {
            let pick = |i: usize| if (i + size).is_multiple_of(step) { &bad[i] } else { &good[i] };
            check(&mut verifier, &(0..size).map(pick).collect::<Vec<_>>());
        }
    }
    let counters = verifier.counters();
    assert!(counters.bad > 0 && counters.equations > counters.batches);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Flipping any bit of key, signature or message of a good signature is noticed, in a batch as alone.
    #[test]
    fn mutations_are_refused(choices in proptest::collection::vec((0usize..96 + 160, 0u8..8), 1..20)) {
        let mut cases = good_cases(20);
        for (i, (byte, bit)) in choices.into_iter().enumerate() {
            let case = &mut cases[i];
            match byte {
                0..32 => case.key[byte] ^= 1 << bit,
                32..96 => case.signature[byte - 32] ^= 1 << bit,
                _ => case.message[byte - 96] ^= 1 << bit,
            }
            case.good = false;
        }
        check(&mut verifier(), &cases.iter().collect::<Vec<_>>());
    }
}
