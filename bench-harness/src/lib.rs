//! Benches: the workload, the load generator, what is measured beside what, and how it is shown.
//!
//! * [`workload`] makes accounts and signed transactions from a seed, far faster than a wallet could.
//! * [`generator`] sends them over TCP from a process of its own and measures latency from the intended send time.
//! * [`engine`], [`verify`], [`apply`] are the three benches; [`report`] is what they print and write as JSON.

#![forbid(unsafe_code)]

pub mod apply;
pub mod engine;
pub mod generator;
pub mod machine;
pub mod report;
pub mod rivals;
pub mod state;
pub mod verify;
pub mod workload;
