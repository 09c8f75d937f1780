//! Whole nodes in virtual time: the core that the consensus thread drives, with the real intake, verification, rounds,
//! history, keepers and openings around it, each called in turn instead of by a thread of its own, over one disk in memory
//! each. What work would take is said, not measured, so that a node can have too much of it; what a disk has not synced a
//! crash may take.
//!
//! ```text
//!   queue ──► frames, users, time ──► a machine: door ─► verify, rounds ─► core ─► disk ──► frames: delayed, lost ──► queue
//! ```
//!
//! * [`options`] is what happens in a run; [`world`] moves time, and says in its outcome what was wrong; [`report`] is of
//!   many seeds.
//!
//! Consensus alone, under worse troubles and with liars, is simulated much faster by the simulator, which knows nothing of
//! nodes.

mod chain;
mod machine;
mod network;
pub mod options;
pub mod report;
mod users;
mod verdict;
pub mod world;
