//! What the chain is made of: blocks, what they change, and what is kept beside balances: names, stakes, who mints, what
//! is not mature yet, who is barred.
//!
//! * [`block`] has shard-blocks and master-blocks, [`patch`] what one shard-block changes, [`record`] what it changes
//!   beside balances; [`block_codec`] is blocks as they travel.
//! * [`tables`] is the system itself: small tables that every node holds whole; [`codec`] is it as bytes, for
//!   checkpoints and for those who fetch it.
//!
//! What may stand in a block and what follows from it is in [`crate::rules`]. What each record means:
//! `docs/protocol.md`, "What consensus keeps".

pub mod block;
pub mod block_codec;
pub mod codec;
pub mod names;
pub mod patch;
pub mod record;
pub mod tables;
