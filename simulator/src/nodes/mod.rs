//! Nodes, their clocks and disks, and the network between them, in virtual time.
//!
//! ```text
//!   queue ──► event ──► a node's minter ──► actions ──► bent by liars ──► messages: lost, delayed, replayed ──► queue
//! ```
//!
//! Whoever runs a cluster takes events from the queue and carries out what minters answer; `faults` crashes, pauses and
//! parts nodes in between.

pub(crate) mod byzantine;
pub(crate) mod cluster;
pub(crate) mod faults;
pub mod meter;
pub mod queue;
