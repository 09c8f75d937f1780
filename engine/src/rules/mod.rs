//! The rules of the chain: what may stand in a block, and what follows from it. A parent's state and system and a set of
//! items come in; a block with its patch, a verdict on another's, or the next state goes out.
//!
//! * [`admit`] decides what may stand in a shard-block, [`build`] builds it, [`foreign`] checks another shard's,
//!   [`bodies`] whether its transactions make its patch; [`effect`] has what each kind of transaction does, [`objects`]
//!   how much there may be of what costs pairings.
//! * [`next`] takes a state and the blocks of one height to the next state: the only place where anything of the system
//!   changes. Accounts stay in [`crate::accounts`]: [`next`] hands it a quilt. Both together follow from final blocks
//!   and nothing else.
//! * [`execution`] is what consensus asks of all this.

pub mod admit;
pub mod bodies;
pub mod build;
pub mod effect;
pub mod execution;
pub mod foreign;
pub mod next;
pub mod objects;
pub mod selection;
