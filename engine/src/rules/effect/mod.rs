//! What each kind of transaction does, a file a kind: what it asks of the chain's tables (`fits`), what it enters into a
//! block's patch (`effect`), what it accounts for in a patch that others made (`explain`), and what is checked of its
//! record where the transaction itself is not there (`admissible`). A new kind is one file more.

pub mod explained;
pub mod register;
pub mod stake;
pub mod transaction;
pub mod transfer;
pub mod unstake;
