//! Consensus: how a shard agrees on its block and the committee on the master-block. Pure state machines: time and
//! messages in, actions out. No socket, clock, disk, thread, float or map order inside.
//!
//! * [`shard`] is one shard round over [`sets`], [`master`] the agreement of one height, [`custody`] who looks whether
//!   transactions are there; [`minter`] runs them by the clock, keeps the signed-once record (what it is silent for after
//!   a start without a whole one is `silence`'s) and follows what others made final; what it hears stands in `hear`,
//!   what others may cost, and what a lie costs them, in [`allowance`].
//!
//! The states, the thresholds and why it is safe: `docs/consensus.md`. What a block does to the state is behind
//! [`crate::rules::execution::Execution`].

pub mod allowance;
mod claims;
pub mod custody;
pub mod early;
pub mod finals;
mod forks;
mod hear;
pub mod master;
pub mod minter;
pub mod sets;
pub mod shard;
pub mod signed_once;
mod silence;
