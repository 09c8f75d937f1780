//! What a seed decides: the dice of a run, and the faults that are drawn with them.

pub mod dice;
pub mod options;
