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
        Signed { key: &self.key, signature: &self.signature, prefix: &[], message: &self.message, hint: None }
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
    let files = [
        ("rfc8032.json", 5),
        ("speccheck.json", 12),
        ("zip215_small_order.json", 196),
        ("wycheproof_ed25519.json", 139),
    ];
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

/// A verifier for each backend that this CPU has; the others are named. The cache is small: keys are evicted all the
/// time.
fn each_backend(mut test: impl FnMut(&mut Verifier)) {
    for simd in Simd::ALL {
        match KeyCache::new(64, simd) {
            Ok(keys) => test(&mut Verifier::new(Arc::new(keys))),
            Err(unavailable) => println!("not tested here: {unavailable}"),
        }
    }
}

fn assert_verdicts(batch: &[&Case], verdicts: &[bool], how: &str) {
    assert_eq!(verdicts.len(), batch.len());
    for (place, (case, verdict)) in batch.iter().zip(verdicts).enumerate() {
        assert_eq!(*verdict, case.good, "{} at place {place} of {}, {how}", case.name, batch.len());
    }
}

/// As they are, then with hints, some of which are wrong: by then keys that are not new get their second point.
fn check(verifier: &mut Verifier, batch: &[&Case]) {
    let (mut verdicts, mut hints) = (Vec::new(), Vec::new());
    verifier.verify(batch.len(), |i| batch[i].signed(), &mut verdicts);
    assert_verdicts(batch, &verdicts, "without hints");
    assert!(verifier.wrong_hints().is_empty());
    verifier.hints(&mut hints);
    for (place, hint) in hints.iter_mut().enumerate() {
        match place % 5 {
            // Nobody says anything, or what nobody found.
            0 => *hint = None,
            1 => *hint = Some(hint.map_or([place as u8; 32], |hint| hint.map(|byte| !byte))),
            2 => hint.iter_mut().for_each(|hint| hint[place % 31] ^= 1 << (place % 8)),
            _ => {}
        }
    }
    verifier.verify(batch.len(), |i| Signed { hint: hints[i].as_ref(), ..batch[i].signed() }, &mut verdicts);
    assert_verdicts(batch, &verdicts, "with hints");
    let mut wrong = verifier.wrong_hints().to_vec();
    wrong.sort_unstable();
    for (place, verdict) in verdicts.iter().enumerate() {
        let is_wrong = wrong.binary_search(&(place as u32)).is_ok();
        let is_changed = matches!(place % 5, 1 | 2) && hints[place].is_some();
        assert!(is_changed || !is_wrong, "{}: a right hint is called wrong", batch[place].name);
        assert!(is_wrong || !is_changed || !verdict, "{}: a wrong hint is believed", batch[place].name);
    }
}

/// A key that comes again and again is decoded, then gets its second point, then has it; alone as in company.
#[test]
fn verdicts_are_the_same_however_often_a_key_came() {
    let good = good_cases(40);
    let mut bad = good_cases(40);
    bad.iter_mut().for_each(|case| (case.signature[50], case.good) = (case.signature[50] ^ 1, false));
    for simd in Simd::available() {
        for size in [1, 2, 3, 5, 8, 13, 20, 40] {
            let mut verifier = Verifier::new(Arc::new(KeyCache::new(512, simd).unwrap()));
            for time in 0..4 {
                let pick = |i: usize| if (i + time).is_multiple_of(3) { &bad[i] } else { &good[i] };
                check(&mut verifier, &(0..size).map(pick).collect::<Vec<_>>());
                check(&mut verifier, &good[..size].iter().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn every_vector_alone_and_all_together() {
    let cases = published();
    each_backend(|verifier| {
        for case in &cases {
            check(verifier, &[case]);
        }
        check(verifier, &cases.iter().collect::<Vec<_>>());
    });
}

#[test]
fn every_vector_at_every_place_of_small_batches_and_some_of_large_ones() {
    let cases = published();
    let good = good_cases(128);
    each_backend(|verifier| {
        for (number, case) in cases.iter().enumerate() {
            for (size, places) in [(2, vec![0, 1]), (7, (0..7).collect()), (64, vec![number % 64])] {
                for place in places {
                    let mut batch: Vec<&Case> = good[..size].iter().collect();
                    batch[place] = case;
                    check(verifier, &batch);
                }
            }
        }
    });
}

/// Powers of two to 16384, clean and with a bad one at either end and in the middle; on several threads at once.
#[test]
fn large_batches_agree_on_any_number_of_threads() {
    let good = good_cases(256);
    let mut bad = good_cases(1).remove(0);
    (bad.signature[33], bad.good) = (bad.signature[33] ^ 4, false);
    for simd in Simd::available() {
        let keys = Arc::new(KeyCache::new(1024, simd).unwrap());
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (keys, good, bad) = (keys.clone(), &good, &bad);
                scope.spawn(move || {
                    let mut verifier = Verifier::new(keys);
                    for size in (8..=14)
                        .map(|power| 1usize << power)
                        .filter(|size| size / 256 % 3 == thread % 3 || *size < 1024)
                    {
                        let mut batch: Vec<&Case> = (0..size).map(|i| &good[i % good.len()]).collect();
                        check(&mut verifier, &batch);
                        for place in [0, size / 2, size - 1] {
                            batch[place] = bad;
                        }
                        check(&mut verifier, &batch);
                    }
                });
            }
        });
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
    each_backend(|verifier| {
        check(verifier, &[]);
        for size in 1..=130 {
            check(verifier, &good[..size].iter().collect::<Vec<_>>());
            for step in [1, 2, 5, 64] {
                let pick = |i: usize| if (i + size).is_multiple_of(step) { &bad[i] } else { &good[i] };
                check(verifier, &(0..size).map(pick).collect::<Vec<_>>());
            }
        }
        let counters = verifier.counters();
        assert!(counters.bad > 0 && counters.equations > counters.batches);
    });
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
        each_backend(|verifier| check(verifier, &cases.iter().collect::<Vec<_>>()));
    }
}

/// Random changes of good signatures, each judged by ed25519-zebra too, on every backend or on `DYNEMIX_SIMD`: 10
/// million with `DYNEMIX_MUTATIONS=10000000 cargo test --release -p dynemix-engine --test verdicts mutations_judged --
/// --nocapture`.
#[test]
fn mutations_judged_by_another_library() {
    let wanted: usize = std::env::var("DYNEMIX_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let good = good_cases(251);
    let mut stream = blake3::Hasher::new_derive_key("dynemix test mutations").finalize_xof();
    let forced = std::env::var("DYNEMIX_SIMD").ok().map(|name| name.parse::<Simd>().unwrap().required().unwrap());
    let backends = forced.map_or_else(Simd::available, |simd| vec![simd]);
    let caches: Vec<_> = backends.into_iter().map(|simd| Arc::new(KeyCache::new(512, simd).unwrap())).collect();
    let mut verifiers: Vec<Verifier> = caches.iter().map(|keys| Verifier::new(keys.clone())).collect();
    let small_order = load("zip215_small_order.json");
    let (mut done, mut accepted) = (0, 0);
    while done < wanted {
        let mut batch = good_cases(0);
        for i in 0..97 {
            let mut dice = [0u8; 8];
            stream.fill(&mut dice);
            let source = &good[dice[0] as usize % good.len()];
            let mut case = Case {
                name: format!("mutation {}", done + i),
                message: source.message.clone(),
                good: false,
                ..*source
            };
            let byte = usize::from(dice[2]);
            match dice[1] % 8 {
                0 => {}
                1 => case.key[byte % 32] ^= 1 << (dice[3] % 8),
                2 => case.signature[byte % 64] ^= 1 << (dice[3] % 8),
                3 => case.message[byte % 160] ^= 1 << (dice[3] % 8),
                4 => case.signature[32..].copy_from_slice(&[dice[3]; 32]),
                5 => case.key = good[dice[3] as usize % good.len()].key,
                // A point of small order in place of R or the key, with s = 0 half of the time.
                kind => {
                    let point: [u8; 32] = unhex(&small_order[byte % 14]["signature"])[..32].try_into().unwrap();
                    if kind == 6 {
                        case.key = point
                    } else {
                        case.signature[..32].copy_from_slice(&point)
                    }
                    if dice[4].is_multiple_of(2) {
                        case.signature[32..].fill(0);
                        case.signature[..32].copy_from_slice(&point);
                    }
                }
            }
            let judged = ed25519_zebra::VerificationKey::try_from(case.key)
                .is_ok_and(|key| key.verify(&ed25519_zebra::Signature::from(case.signature), &case.message).is_ok());
            case.good = judged;
            accepted += usize::from(judged);
            batch.push(case);
        }
        let references: Vec<&Case> = batch.iter().collect();
        // Verifiers that remember judge each by itself; new ones begin with a sum and halve it.
        verifiers.iter_mut().for_each(|verifier| check(verifier, &references));
        if done % 2 == 0 {
            caches.iter().for_each(|keys| check(&mut Verifier::new(keys.clone()), &references));
        }
        done += batch.len();
    }
    println!("{done} mutations, {accepted} of them accepted by both");
    assert!(accepted > done / 10 && accepted < done / 2);
}
