//! The engine of Dynemix: everything that nodes must agree on, and the data-oriented parts that carry it.
//!
//! Nothing in this crate opens a socket, reads a clock or touches a file. Bytes, slot numbers and memory come in as
//! arguments; verdicts, quilts and roots go out as values. The same code runs in the node, in the benches and in tests.
//!
//! The rooms are floors, the highest first: a file uses its own room and those below, never above.
//!
//! | room | what is in it |
//! |---|---|
//! | [`consensus`] | what minters agree on: pure machines over messages and time |
//! | [`messages`] | what they say to each other, and its bytes |
//! | [`rules`] | what may stand in a block, what each kind of transaction does, the step from one state to the next |
//! | [`chain`] | blocks, patches, and what is kept beside balances |
//! | [`committee`] | who mints: draws, shards, thresholds, the schedule, and what a minter's signature states |
//! | [`accounts`] | the flat state in columns, its index and tree, quilts that change it, proofs of it |
//! | [`transaction`] | the 192-byte cell, the rules of its form, items and the arena that they stand in |
//! | [`verify`] | Ed25519 in lanes, by the one door |
//! | [`vote`] | BLS votes, aggregates and batches |
//! | [`base`] | names, hashes, cursors, parameters and limits that everything stands on |
//!
//! One transaction passes through them in this order:
//!
//! | step | module | what happens |
//! |---|---|---|
//! | received | [`transaction::arena`], [`base::free_list`] | it gets a place, which it keeps to its last reader |
//! | checked | [`transaction::check`] | form and expiry, without looking at the state |
//! | verified | [`verify`] | its signature, in a batch, by the one door |
//! | judged | [`rules`] | may it stand in a block on this parent |
//! | agreed on | [`consensus`] | sets become a shard-block, shard-blocks a master-block |
//! | applied | [`chain::patch`], [`accounts::quilt`], [`accounts::state`] | patches merge into a quilt, the quilt changes the state and its root |

#[cfg(not(target_endian = "little"))]
compile_error!("cells and columns are cast in place: the engine runs on little-endian machines only");

pub mod accounts;
pub mod base;
pub mod chain;
pub mod committee;
pub mod consensus;
pub mod messages;
pub mod rules;
pub mod transaction;
pub mod verify;
pub mod vote;
