//! Untrusted messages of consensus, records and items: never a panic, and what is read is written and read again alike.
#![no_main]

use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Record;
use dynemix_engine::messages::codec::{decode, encode};
use dynemix_engine::transaction::compact::Directory;
use libfuzzer_sys::fuzz_target;

/// Two hundred accounts whose keys are their numbers.
struct Few;

impl Directory for Few {
    fn index(&self, key: &[u8; 32]) -> Option<u32> {
        (key[0] < 200 && key[1..].iter().all(|&byte| byte == 0)).then_some(u32::from(key[0]))
    }

    fn key(&self, account: u32) -> Option<[u8; 32]> {
        (account < 200).then(|| std::array::from_fn(|place| if place == 0 { account as u8 } else { 0 }))
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = decode(bytes, &Few) {
        let mut out = Vec::new();
        encode(&message, &Few, &mut out);
        let again = decode(&out, &Few).expect("what was written is read");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
    if let Some(record) = Record::decode(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
    if let Ok(patch) = Patch::decode(bytes, u32::MAX as usize) {
        let mut out = Vec::new();
        patch.encode(&mut out);
        assert_eq!(out, bytes);
    }
});
