//! Runs: a cluster, the clients that use it, the attackers who plunder it and the checkers that watch; and many of them
//! in one report.

pub(crate) mod clients;
pub mod outcome;
pub(crate) mod plunder;
pub mod run;
pub mod world;
