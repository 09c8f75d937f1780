//! Untrusted patches and quilts: never a panic, and whatever is accepted has exactly one encoding.
#![no_main]

use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::chain::patch::Patch;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut again = Vec::new();
    if let Ok(patch) = Patch::decode(bytes, 1 << 16) {
        patch.encode(&mut again);
        assert_eq!(again, bytes);
    }
    let mut quilt = Quilt::default();
    if quilt.decode_into(bytes, 1 << 16).is_ok() {
        again.clear();
        quilt.encode(&mut again);
        assert_eq!(again, bytes);
    }
});
