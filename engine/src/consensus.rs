//! Consensus: who mints, how a shard agrees on its block, how the committee agrees on the master-block. Pure state
//! machines: time and messages in, actions out. No socket, clock, disk, thread, float or map order inside.
//!
//! * [`draw`] seats minters by stake from the seed; [`committee`] divides them into shards and transactions among
//!   those.
//! * [`quorum`] has every threshold; [`message`] what is said and signed; [`signing`] how.
//! * [`shard`] is one shard round, [`master`] the agreement of one height; [`minter`] runs both by the clock, keeps the
//!   signed-once record and follows what others made final.
//!
//! The states, the thresholds and why it is safe: `docs/consensus.md`. What a block does to the state is behind
//! [`execution::Execution`].

mod bls_batch;
pub mod claim;
pub mod codec;
pub mod committee;
pub mod custody;
pub mod draw;
pub mod execution;
pub mod master;
pub mod message;
pub mod minter;
pub mod mutation;
pub mod quorum;
pub mod schedule;
pub mod sets;
pub mod shard;
pub mod signed_once;
pub mod signing;
