//! The agreement of one height: which shard-blocks become the master-block. Messages and instants come in as inputs
//! (`round`), votes are counted in `tally`, shard-blocks stand in `held`; what is to be said goes out as actions.

mod held;
mod round;
mod tally;

pub use round::{
    Locked, MasterAction, MasterInput, MasterRound, MasterShown, Proposed, Taken, is_timely, others_needed,
};
pub use tally::Vote;
