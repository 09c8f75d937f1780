//! A power cut at any moment of a store's life, with whatever it may leave: every acknowledged record is there, the
//! image is one that a checkpoint wrote, and the store goes on from there.

use dynemix_storage::{
    CrashChoice, Disk, Image, Keys, MemoryDisk, OpenedStore, ReadKeys, RegionSpec, Store, StoreError, StoreOptions,
    Table,
};
use std::sync::Arc;

const CHAIN: [u8; 32] = [7; 32];
/// The image's checksums have two levels.
const SPECS: [RegionSpec; 2] = [RegionSpec { name: "head", bytes: 8 }, RegionSpec { name: "body", bytes: 600_000 }];
/// Small segments and a short window: in a few records some are sealed, indexed and pruned.
const OPTIONS: StoreOptions =
    StoreOptions { segment_bytes: 12_288, window_records: 2, limit_bytes: u64::MAX, watermark_bytes: 0 };

/// Each record's key is its first 32 bytes.
struct FirstBytes;

impl ReadKeys for FirstBytes {
    fn keys(&self, payload: &[u8], keys: &mut Keys) {
        keys.add(Table::Transactions, payload.first_chunk().unwrap(), 0);
    }
}

fn payload(number: u64) -> Vec<u8> {
    (0..600 + 137 * number % 900).map(|i| (number * 31 + i) as u8).collect()
}

/// What an image shows after a record.
fn fill(image: &mut Image, number: u64) {
    let [head, body] = image.regions_mut::<2>();
    head.copy_from_slice(&number.to_le_bytes());
    body.chunks_mut(1_000).for_each(|chunk| chunk[0] = number as u8);
}

fn open(disk: &MemoryDisk) -> OpenedStore {
    Store::open(Arc::new(disk.clone()), CHAIN, Some(&SPECS), OPTIONS).expect("what a power cut leaves opens")
}

/// Goes on for so many records, and tells the disk what was acknowledged.
fn live(disk: &MemoryDisk, opened: OpenedStore, records: u64) {
    let OpenedStore { mut store, mut image, .. } = opened;
    let keeper = store.keeper();
    for number in store.last_record() + 1..=store.last_record() + records {
        assert_eq!(store.append(&payload(number)).unwrap(), number);
        store.sync().unwrap();
        disk.mark(number);
        fill(&mut image, number);
        if number % 4 == 0 {
            keeper.checkpoint(store.begin_checkpoint(), &image).unwrap();
        }
        keeper.build_index(&FirstBytes).unwrap();
    }
}

fn check(disk: &MemoryDisk, acknowledged: u64) {
    let opened = open(disk);
    let OpenedStore { store, image, image_record, .. } = &opened;
    assert!(store.last_record() >= acknowledged, "{} of {acknowledged}", store.last_record());
    let records = store.records();
    assert!(records.first() <= image_record + 1);
    for number in records.first()..=records.last() {
        assert_eq!(records.read(number).unwrap(), payload(number));
        assert_eq!(records.bytes_of(number).unwrap(), payload(number).len() as u64);
        let found = records.find(Table::Transactions, payload(number).first_chunk().unwrap(), &FirstBytes).unwrap();
        assert!(found.iter().any(|occurrence| occurrence.number == number));
    }
    let shown = u64::from_le_bytes(image.region(0).try_into().unwrap());
    assert_eq!((shown, image.region(1)[1_000]), (*image_record, *image_record as u8));
    live(disk, opened, 4);
}

#[test]
fn a_store_survives_a_power_cut_at_any_moment() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::create::<StoreError>(&shared, CHAIN, &SPECS, OPTIONS, 0, false, Ok).unwrap();
    let begun = disk.log_len();
    live(&disk, open(&disk), 14);
    let mut dice = 1u64;
    let mut choose = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        dice >> 63 == 1
    };
    for prefix in begun..=disk.log_len() {
        let acknowledged = disk.last_mark(prefix).unwrap_or(0);
        check(&disk.crash(prefix, CrashChoice::All), acknowledged);
        check(&disk.crash(prefix, CrashChoice::None), acknowledged);
        check(&disk.crash(prefix, CrashChoice::Each(&mut choose)), acknowledged);
    }
}
