//! The chain: blocks, what they change, and what is kept beside balances: names, stakes, who mints, what is not mature
//! yet, who is barred.
//!
//! * [`block`] has shard-blocks and master-blocks, [`patch`] what one shard-block changes, [`record`] what it changes
//!   beside balances.
//! * [`tables`] is the system itself: small tables that every node holds whole; [`codec`] is it as bytes, for
//!   checkpoints and for those who fetch it.
//! * [`admit`] decides what may stand in a shard-block, [`build`] builds it, [`foreign`] checks another shard's,
//!   [`bodies`] whether its transactions make its patch; [`effect`] has what each kind of transaction does.
//! * [`next`] takes a state and the blocks of one height to the next state: the only place where anything here changes.
//! * [`execution`] is what consensus asks of all this.
//!
//! Accounts stay in [`crate::accounts`]: [`next`] hands it a quilt. Both together follow from final blocks and nothing
//! else. What each record means: `docs/protocol.md`, "What consensus keeps".

pub mod admit;
pub mod block;
pub mod block_codec;
pub mod bodies;
pub mod build;
pub mod codec;
pub mod effect;
pub mod execution;
pub mod foreign;
pub mod next;
mod objects;
pub mod patch;
pub mod record;
pub mod tables;
