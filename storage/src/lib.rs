//! Storage: a directory that holds the memory-mapped image of a state, the log of its changes, and a superblock that
//! says which image is the present one and where in the log it stands. It knows no protocol: regions, records and the
//! chain's identity are bytes.
//!
//! ```text
//!   superblock             two copies, a page each: which image, and where it stands in the log
//!   image.0, image.1       regions of the state, a checksum for every page
//!   log.N                  records from number N on, each chained to the one before
//!   index.N                offsets and keys of the records in a sealed log.N
//!   lock                   held while the store is open
//! ```
//!
//! The image in memory is a *private* mapping: nothing the kernel does can write half a block into the file below. A
//! change is durable once its record is in the log and synced; an image file catches up at a [`Keeper::checkpoint`],
//! and the superblock flips last. A restart is: superblock, its image, the records behind it. The same records, kept
//! for longer, are the block store.
//!
//! After any error of a write or a sync the store is broken: it refuses everything until it is opened again, since the
//! kernel may have dropped what it failed to write. Layouts and the argument for each order of writes:
//! `docs/storage.md`.

#![deny(unsafe_code)]

mod disk;
mod file;
mod scrub;
mod store;

pub use disk::{
    CrashChoice, Disk, DiskFault, DiskFile, DiskOp, Mapping, MemoryDisk, RealDisk, StoreError, make_directory,
};
pub use file::image::{Image, PendingSync, Written};
pub use file::index::{Keys, Occurrence, ReadKeys, Table};
pub use file::layout::layout_text;
pub use file::page::{ChainId, FORMAT_VERSION, PAGE_BYTES};
pub use file::paged::RegionSpec;
pub use file::superblock::chain_of;
pub use scrub::{Finding, Scrubber};
pub use store::{Checkpoint, Keeper, OpenedStore, Records, Store, StoreOptions};
