//! What a restart finds: everything that a node keeps on its disk.
//!
//! ```text
//!   blocks ──► record ──► the store's log ──► replica ──► checkpoints, snapshots
//!   restart: open or chain_store ◄── image (mapped) + log;  system.N, signed.*, kept/ ◄── sealed
//! ```
//!
//! * [`record`] is a block as the log keeps it, [`mapped`] the state's columns over the image file.
//! * [`open`] makes and opens the state of a node alone, [`chain_store`] that of a node of many.
//! * [`replica`] follows the log for readers, checkpoints and [`snapshot`]s; [`published`] is what those who join
//!   fetch.
//! * [`certificates`] of every height stay for light clients when the log has pruned the blocks.
//! * [`sealed`] files are whole or refused; [`signed_file`] is the one that keeps a node from signing twice, [`kept`]
//!   are transactions of the own shard's blocks, [`accepted`] those of own users.
//!
//! All of it through the store's [`Disk`](dynemix_storage::Disk), so that a test can cut the power of a whole node.

pub mod accepted;
pub mod certificates;
pub mod chain_store;
pub mod kept;
pub mod mapped;
pub mod open;
pub mod published;
pub mod record;
pub mod replica;
pub mod sealed;
pub mod signed_file;
pub mod snapshot;
