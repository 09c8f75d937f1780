//! Untrusted proofs and manifests: never a panic, and whatever is accepted has exactly one encoding.
#![no_main]

use dynemix_engine::accounts::proof::AccountProof;
use dynemix_engine::accounts::snapshot::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = AccountProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        let _ = proof.verify(&[0; 32]);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
        let _ = manifest.verify_chunk(0, bytes);
    }
});
