//! The store: image, log and superblock of one directory, under one lock, and its three users.
//!
//! * [`Store`] appends records and syncs them; one owner, who also works in the image.
//! * [`Records`] reads what is synced, from any thread.
//! * [`Keeper`] does what takes long, beside them: checkpoints, indexes, pruning.
//!
//! What they share stands in `shared`; how a directory becomes a store in `create`, and a store again after a restart
//! in `open`.

mod checkpoint;
mod create;
mod keeper;
mod open;
mod options;
mod records;
mod shared;
mod writer;

pub use checkpoint::Checkpoint;
pub use keeper::Keeper;
pub use open::OpenedStore;
pub use options::StoreOptions;
pub use records::Records;
pub use writer::Store;
