//! The node's intake, without sockets, threads or clocks: who may cost us what, before it costs us.
//!
//! Whoever hands something in is judged by four things: who it is at this height ([`duties`]), what it brings
//! ([`glance`]), what that costs, and when. [`rules`] say whether a frame is looked at at all; [`asked`] remembers what
//! this node has asked for, and of whom; [`records`] gives each record a place of its own by key and right; [`shares`]
//! divides room among those who want it, [`quota`] questions, and [`portions`] what of the past is handed out; [`queue`]
//! bounds by cost what waits, [`price`] says what a false statement costs whoever made it, and [`vain`] how much may come
//! to nothing.
//!
//! The passage in `docs/node.md` has the tables.

pub mod asked;
pub mod duties;
pub mod glance;
pub mod portions;
pub mod price;
pub mod queue;
pub mod quota;
pub mod records;
pub mod rules;
pub mod shares;
pub mod vain;
