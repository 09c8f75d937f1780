//! Benches: the load generator, and what is measured beside what.
//!
//! * [`generator`] sends signed transactions over TCP from a process of its own and measures latency from the intended
//!   send time.
//! * [`engine`], [`verify`], [`apply`] and [`state`] are the benches. Their load is `dynemix_workload`'s, their reports
//!   are shown by `dynemix_perf`.

#![forbid(unsafe_code)]

pub mod apply;
pub mod engine;
mod finals;
pub mod generator;
pub mod rivals;
pub mod state;
pub mod verify;
