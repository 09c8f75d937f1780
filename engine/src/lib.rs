//! The engine of Dynemix: everything that nodes must agree on, and the data-oriented parts that carry it.
//!
//! Nothing in this crate opens a socket, reads a clock or touches a file. Bytes, slot numbers and memory come in as
//! arguments; verdicts, quilts and roots go out as values. The same code runs in the node, in the benches and in tests.
//!
//! One transaction passes through the modules in this order:
//!
//! | step | module | what happens |
//! |---|---|---|
//! | received | [`arena`], [`free_list`] | its 192 bytes land in a slot of an arena allocated at start |
//! | checked | [`check`], [`in_flight`] | form, expiry and repeats, without looking at the state |
//! | verified | [`verify`] | its signature, in a batch, by the one door |
//! | pooled | [`pool`] | it joins its sender's chain in the shard's set |
//! | executed | [`block`], [`execute`] | the set becomes a shard-block, the block a patch |
//! | applied | [`patch`], [`quilt`], [`state`] | patches merge into a quilt, which changes the flat state and its root |
//!
//! [`ring`]s carry slots between stages, [`topology`] declares stages, rings and pools before anything starts, and
//! [`ledger`] ties pool, execution and state together for the thread that owns them.

#[cfg(not(target_endian = "little"))]
compile_error!("cells and columns are cast in place: the engine runs on little-endian machines only");

pub mod arena;
pub mod block;
pub mod cell;
pub mod chain;
pub mod check;
pub mod consensus;
pub mod execute;
pub mod free_list;
pub mod hash;
pub mod in_flight;
pub mod keyed_hash;
pub mod ledger;
pub mod patch;
pub mod pool;
mod primitive;
pub mod quilt;
pub mod refusal;
pub mod ring;
pub mod state;
pub mod system;
pub mod topology;
pub mod varint;
pub mod verify;
pub mod wire;
