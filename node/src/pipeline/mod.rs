//! One node's pipeline of threads from client sockets to durable state, without a network: what `bench engine`
//! measures.
//!
//! ```text
//!   receive --> check --> verify x N --> ledger          one arrow: lock-free rings
//!      ^----------+----------+--------------+            outcomes, back to the connection they belong to
//! ```
//!
//! * [`topology`] declares the stages, rings and pools; [`run`] checks it and starts the threads.
//! * [`receive`] owns the sockets: bytes in, outcomes out. A transaction's slot is taken and given back here only.
//! * [`check`] and [`verify`] are stateless towards accounts; [`ledger`] owns pool, state and store.
//! * [`stage`] is what all of them share, [`outcome`] what travels back, [`suspicion`] who is verified apart.

pub mod check;
pub mod ledger;
#[allow(unsafe_code, reason = "a slot travels through a ring as a number")]
pub mod outcome;
pub mod receive;
pub mod run;
pub mod stage;
pub mod suspicion;
pub mod topology;
pub mod verify;
