//! The door to signatures: any bytes, on every backend, judged by another library too. Each batch comes four times, so that
//! keys are new, decoded, and split; then with hints: the right ones, and what the bytes say.
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

/// Bytes of a signature with its key and message, and of what is hinted of it.
const CASE: usize = 32 + 64 + 160 + 32;

fuzz_target!(|bytes: &[u8]| {
    let cases: Vec<&[u8]> = bytes.chunks_exact(CASE).take(40).collect();
    let key = |i: usize| -> &[u8; 32] { cases[i][..32].try_into().unwrap() };
    let signature = |i: usize| -> &[u8; 64] { cases[i][32..96].try_into().unwrap() };
    let expected: Vec<bool> = (0..cases.len())
        .map(|i| {
            let key = ed25519_zebra::VerificationKey::try_from(*key(i));
            key.is_ok_and(|key| key.verify(&ed25519_zebra::Signature::from(*signature(i)), &cases[i][96..256]).is_ok())
        })
        .collect();
    VERIFIERS.with_borrow_mut(|verifiers| {
        for verifier in verifiers {
            let (mut verdicts, mut hints) = (Vec::new(), vec![None; cases.len()]);
            for time in 0..4 {
                let signed = |i: usize| Signed {
                    key: key(i),
                    signature: signature(i),
                    prefix: &cases[i][96..128],
                    message: &cases[i][128..256],
                    hint: hints[i].as_ref(),
                };
                verifier.verify(cases.len(), signed, &mut verdicts);
                assert_eq!(verdicts, expected, "time {time}");
                if time == 2 {
                    verifier.hints(&mut hints);
                    let said = |i: usize| -> [u8; 32] { cases[i][256..].try_into().unwrap() };
                    (0..cases.len()).filter(|i| cases[*i][256] & 1 == 1).for_each(|i| hints[i] = Some(said(i)));
                }
            }
            let wrong = verifier.wrong_hints();
            assert!(wrong.iter().all(|&i| cases[i as usize][256] & 1 == 1), "a right hint is called wrong");
        }
    });
});
