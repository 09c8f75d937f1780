//! What the chain keeps beside balances: names, stakes, who mints, what is not mature yet, who is barred; and what a
//! block does to it.
//!
//! * [`record`] is what a shard-block changes beside balances, as bytes.
//! * [`tables`] is the system itself: small tables that every node holds whole.
//! * [`build`] decides what may stand in a shard-block, builds it, and checks another shard's.
//! * [`codec`] is the system as bytes, for checkpoints and for those who fetch it.
//! * [`next`] takes a state and the blocks of one height to the next state: the only place where anything here changes.
//!
//! Accounts stay in [`crate::state`]: [`next`] hands it a quilt. Both together follow from final blocks and nothing
//! else. What each record means: `docs/protocol.md`, "What consensus keeps".

pub mod build;
pub mod codec;
pub mod next;
pub mod record;
pub mod tables;
