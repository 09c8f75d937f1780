//! What people and programs see of a running node. Nothing here can slow consensus.
//!
//! * [`api`] serves JSON-RPC, health and metrics; [`methods`] has the table of methods, [`metrics`] that of metrics;
//!   [`answered`] is what a method works with and answers.
//! * [`history`] looks through kept blocks for an account, [`light`] checks what a node says by certificates alone,
//!   [`inclusion`] that a transaction stands in a block.
//! * [`admin`] is the owner's socket, [`logs`] what is written on screen and to files.

pub mod admin;
pub mod answered;
pub mod api;
pub mod history;
pub mod inclusion;
pub mod light;
pub mod logs;
pub mod methods;
pub mod metrics;
