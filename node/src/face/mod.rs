//! What people and programs see of a running node. Nothing here can slow consensus.
//!
//! * [`api`] serves JSON-RPC, health and metrics; `news` what WebSockets subscribe to.
//! * [`callers`] has the rules of places, waiting times, bytes and allowances, without socket or clock; `connection`
//!   carries them out.
//! * [`table`] has the methods, [`answers`] what they answer, [`openrpc`] both for programs; [`methods`] answers them,
//!   `explorer` what people look for; `pages` says which web pages may ask, `served` answers by HTTP. [`metrics`] has the table of metrics; [`answered`] is what a method works with and
//!   answers, [`batch`] takes a body apart and puts its answers together, `answering` does so in a connection's turn,
//!   `slow` is a thread for what takes long.
//! * [`history`] looks through kept blocks for an account, [`light`] checks what a node says by certificates alone.
//! * [`admin`] is the owner's socket, [`logs`] what is written on screen and to files.

pub mod admin;
pub mod answered;
mod answering;
pub mod answers;
pub mod api;
pub mod batch;
pub mod callers;
mod connection;
mod explorer;
pub mod history;
pub mod light;
pub mod logs;
pub mod methods;
pub mod metrics;
mod news;
pub mod openrpc;
mod pages;
mod served;
mod slow;
pub mod table;
