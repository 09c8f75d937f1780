//! Copies of pages do not pile up: after a checkpoint to the mapped file their memory is given back, and what the
//! mapping shows stays the same.

use dynemix_storage::{OpenedStore, RealDisk, RegionSpec, Store, StoreError, StoreOptions};
use std::sync::Arc;

const BYTES: usize = 16 << 20;
const SPECS: [RegionSpec; 2] =
    [RegionSpec { name: "head", bytes: 64 }, RegionSpec { name: "body", bytes: BYTES as u64 }];

/// Bytes of private copies in this process's mappings of image files.
fn copied_bytes() -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut inside, mut sum) = (false, 0);
    for line in smaps.lines() {
        if line.contains("image.") {
            inside = true;
        } else if line.split_whitespace().next().is_some_and(|first| !first.ends_with(':')) {
            inside = false;
        } else if inside && let Some(kib) = line.strip_prefix("Anonymous:") {
            sum += 1024 * kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        }
    }
    sum
}

#[test]
fn memory_of_changed_pages_is_given_back_after_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(directory.path()).unwrap());
    let options = StoreOptions { segment_bytes: 1 << 20, watermark_bytes: 0, ..StoreOptions::default() };
    let shared: Arc<dyn dynemix_storage::Disk> = disk.clone();
    Store::create::<StoreError>(&shared, [7; 32], &SPECS, options, 0, false, Ok).unwrap();
    let OpenedStore { mut store, mut image, .. } = Store::open(disk, [7; 32], Some(&SPECS), options).unwrap();
    let keeper = store.keeper();
    let mut replica = keeper.map_again(&image).unwrap();
    for round in 1..=6u8 {
        store.append(&[round]).unwrap();
        store.sync().unwrap();
        for image in [&mut image, &mut replica] {
            let [head, body] = image.regions_mut::<2>();
            head[0] = round;
            body.chunks_mut(4096).for_each(|page| page[7] = round);
        }
        assert!(copied_bytes() > 2 * BYTES as u64);
        keeper.checkpoint(store.begin_checkpoint(), &replica).unwrap();
        keeper.release(&mut replica).unwrap();
        // A block's worth of pages at a time; one page has changed since the checkpoint and stays.
        store.append(&[round]).unwrap();
        store.sync().unwrap();
        image.regions_mut::<2>()[1][8192] = round;
        (0..BYTES / 4096 / 64 + 2).for_each(|_| store.release(&mut image, 64).unwrap());
        if round % 2 == 0 {
            assert!(copied_bytes() < 64 << 10, "{} bytes are still copied", copied_bytes());
        }
        replica.regions_mut::<2>()[1][8192] = round;
        for image in [&image, &replica] {
            assert!(image.region(1).chunks(4096).all(|page| page[7] == round) && image.region(1)[8192] == round);
        }
    }
}
