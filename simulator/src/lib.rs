//! The simulator: the engine's own consensus, pools, patches and roots, many nodes on one thread, in virtual time. One
//! seed decides everything that happens: delays, losses, partitions, clocks, crashes, and what Byzantine nodes do.
//!
//! * [`options`] draws a run's faults from its seed; [`world`] moves time and messages; [`byzantine`] lies, and a shard
//!   that has fallen plunders.
//! * [`state`] is what consensus asks of a state, shared among nodes as long as they agree; [`checker`] watches,
//!   [`meter`] counts bytes.
//! * [`run`] runs many seeds and reports; [`takeover`] asks how long a shard or the committee resists a share of stake.

pub mod byzantine;
pub mod censorship;
pub mod checker;
mod clients;
pub mod dice;
pub mod meter;
pub mod options;
mod plunder;
pub mod run;
pub mod signing;
pub mod state;
pub mod takeover;
pub mod world;
