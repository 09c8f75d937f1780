//! Callers that break the order of a commit are stopped by the assertion that states it, and nothing of the checkpoint
//! is written.

use dynemix_storage::{Disk, MemoryDisk, OpenedStore, RegionSpec, Store, StoreError, StoreOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const CHAIN: [u8; 32] = [7; 32];
const SPECS: [RegionSpec; 1] = [RegionSpec { name: "head", bytes: 8 }];

/// A fresh store with one record, which is synced if `synced`.
fn store(synced: bool) -> OpenedStore {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let options = StoreOptions { watermark_bytes: 0, ..StoreOptions::default() };
    Store::create::<StoreError>(&disk, CHAIN, &SPECS, options, 0, false, Ok).unwrap();
    let mut opened = Store::open(disk, CHAIN, Some(&SPECS), options).unwrap();
    opened.store.append(b"a record").unwrap();
    if synced {
        opened.store.sync().unwrap();
    }
    opened
}

/// What work panics with, if it does.
fn panic_of(work: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(work)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
}

#[test]
fn a_checkpoint_of_a_record_that_is_not_synced_is_never_begun() {
    let mut opened = store(false);
    let panic = panic_of(|| drop(opened.store.begin_checkpoint())).expect("the record is not durable");
    assert!(panic.contains("a checkpoint is begun of a record that is not synced"), "{panic}");
    opened.store.sync().unwrap();
    assert_eq!(panic_of(|| drop(opened.store.begin_checkpoint())), None);
}

#[test]
fn a_checkpoint_of_one_store_is_never_written_to_another() {
    let (one, other) = (store(true), store(true));
    let keeper = other.store.keeper();
    let foreign = one.store.begin_checkpoint();
    let panic = panic_of(|| drop(keeper.checkpoint(foreign, &other.image))).expect("it is another store's");
    assert!(panic.contains("a checkpoint of one store is written to another"), "{panic}");
    assert_eq!(keeper.checkpoint_record(), 0, "nothing was flipped");
    keeper.checkpoint(other.store.begin_checkpoint(), &other.image).unwrap();
    assert_eq!(keeper.checkpoint_record(), 1);
}
