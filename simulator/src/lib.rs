//! The simulator: the engine's own consensus, pools, patches and roots, many nodes on one thread, in virtual time. One
//! seed decides everything that happens: delays, losses, partitions, clocks, crashes, and what Byzantine nodes do.
//!
//! * [`options`] draws a run's faults from its seed; [`world`] moves time and messages, and says in its [`outcome`]
//!   what the checkers saw; [`meter`] counts bytes.
//! * [`queue`] is virtual time and [`dice`] what a seed decides, for whoever simulates something else by the same rules.
//! * [`run`] runs many seeds and reports.
//! * [`takeover`] asks how long a shard or the committee resists a share of stake, and [`censorship`] how long if
//!   answers are kept out; [`grind`] tries what an owner of stake could put into each block, by the engine's own choice
//!   of who mints.

#![forbid(unsafe_code)]

mod chain;
mod checkers;
mod nodes;
mod odds;
mod runs;
mod seed;

pub use checkers::verdict::Failure;
pub use nodes::{meter, queue};
pub use odds::{censorship, grind, takeover};
pub use runs::{outcome, run, world};
pub use seed::{dice, options};
