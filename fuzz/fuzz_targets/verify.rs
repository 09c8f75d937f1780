//! The door to signatures: any bytes, on every backend, judged by another library too.
#![no_main]

use dynemix_engine::verify::{KeyCache, Signed, Simd, Verifier};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static VERIFIERS: RefCell<Vec<Verifier>> = RefCell::new(
        Simd::available().into_iter().map(|simd| Verifier::new(Arc::new(KeyCache::new(64, simd).unwrap()))).collect(),
    );
}

/// Bytes of a signature with its key and message.
const CASE: usize = 32 + 64 + 160;

fuzz_target!(|bytes: &[u8]| {
    let cases: Vec<&[u8]> = bytes.chunks_exact(CASE).take(40).collect();
    let key = |i: usize| -> &[u8; 32] { cases[i][..32].try_into().unwrap() };
    let signature = |i: usize| -> &[u8; 64] { cases[i][32..96].try_into().unwrap() };
    let expected: Vec<bool> = (0..cases.len())
        .map(|i| {
            let key = ed25519_zebra::VerificationKey::try_from(*key(i));
            key.is_ok_and(|key| key.verify(&ed25519_zebra::Signature::from(*signature(i)), &cases[i][96..]).is_ok())
        })
        .collect();
    VERIFIERS.with_borrow_mut(|verifiers| {
        for verifier in verifiers {
            let mut verdicts = Vec::new();
            let signed = |i: usize| Signed {
                key: key(i),
                signature: signature(i),
                prefix: &cases[i][96..128],
                message: &cases[i][128..],
                hint: None,
            };
            verifier.verify(cases.len(), signed, &mut verdicts);
            assert_eq!(verdicts, expected);
        }
    });
});
