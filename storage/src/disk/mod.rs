//! What the store asks of a disk: a directory of files. Two answer: [`RealDisk`], and [`MemoryDisk`] which can
//! crash, tear, fail and flip bits on demand.
//!
//! In flow offsets and bytes, out flow bytes or an error that names the file and what was tried on it. Nothing here
//! knows what the bytes are.

mod error;
mod interface;
#[allow(unsafe_code)]
mod mapping;
mod memory;
mod named;
mod real;

pub use error::StoreError;
pub use interface::{Disk, DiskFile};
pub use mapping::Mapping;
pub use memory::{CrashChoice, DiskFault, DiskOp, MemoryDisk};
pub(crate) use named::{NamedFile, files, remove, rename, sync_names};
pub use real::{RealDisk, make_directory};
