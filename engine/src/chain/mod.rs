//! The chain: blocks, what they change, and what is kept beside balances: names, stakes, who mints, what is not mature
//! yet, who is barred.
//!
//! * [`block`] has shard-blocks and master-blocks, [`patch`] what one shard-block changes, [`record`] what it changes
//!   beside balances.
//! * [`tables`] is the system itself: small tables that every node holds whole; [`codec`] is it as bytes, for
//!   checkpoints and for those who fetch it.
//! * [`build`] decides what may stand in a shard-block, builds it, and checks another shard's.
//! * [`next`] takes a state and the blocks of one height to the next state: the only place where anything here changes.
//! * [`execution`] is what consensus asks of all this.
//!
//! Accounts stay in [`crate::accounts`]: [`next`] hands it a quilt. Both together follow from final blocks and nothing
//! else. What each record means: `docs/protocol.md`, "What consensus keeps".

pub mod block;
pub mod block_codec;
pub mod build;
pub mod codec;
pub mod execution;
pub mod next;
pub mod patch;
pub mod record;
pub mod tables;
