//! The Dynemix node: engine, network and storage composed into a pipeline of threads.
//!
//! ```text
//!   receive --> check --> verify x N --> ledger          one arrow: lock-free rings
//!      ^----------+----------+--------------+            answers, back to the connection they belong to
//! ```
//!
//! * [`topology`] declares the stages, rings and pools; [`minter`] checks it and starts the threads.
//! * [`receive`] owns the sockets: bytes in, answers out. A transaction's slot is taken and given back here only.
//! * [`state_store`] opens the state, [`replica`] follows it for readers, checkpoints and [`snapshot`]s.
//! * [`check`] and [`verify`] are stateless towards accounts; [`ledger`] owns pool, state and store.

pub mod admin;
pub mod answer;
pub mod api;
pub mod bench_state;
pub mod check;
pub mod config;
pub mod daemon;
pub mod devnet;
pub mod exit;
pub mod genesis;
pub mod guest;
pub mod join;
pub mod keystore;
pub mod ledger;
pub mod logs;
pub mod mapped;
pub mod minter;
pub mod receive;
pub mod record;
pub mod replica;
pub mod snapshot;
pub mod sntp;
pub mod stage;
pub mod state_store;
pub mod suspicion;
pub mod topology;
pub mod verify;
pub mod wallet;
