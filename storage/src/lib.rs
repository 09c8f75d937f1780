//! Storage: a directory that holds the memory-mapped image of a state, the journal of its changes, and a superblock that
//! says which image and which journal belong together. It knows no protocol: regions, records and the chain's identity
//! are bytes.
//!
//! The image in memory is a *private* mapping: nothing the kernel does can write half a block into the file below. A change
//! is durable once its record is in the journal and synced; the image catches up at a [`Store::checkpoint`], in the *other*
//! of two files, and the superblock flips last. A restart is: superblock, its image, the records of its journal.
//!
//! ```text
//!   lock                   held while the store is open
//!   superblock             two copies of 4 KiB, the higher sequence counts
//!   image.0, image.1       header page, then the regions, each from a page boundary
//!   journal.N              header page, then the records from number N on
//! ```
//!
//! After any error of a write or a sync the store is broken: it refuses everything until it is opened again, since the
//! kernel may have dropped what it failed to write. Layouts and the argument for each order of writes: `docs/storage.md`.

mod error;
mod file;
mod image;
mod journal;
mod store;
mod superblock;

pub use error::StoreError;
pub use image::{Image, RegionSpec};
pub use store::{ChainId, Store};
