//! The node of a network: consensus over the mapped state, the store, and the mesh.
//!
//! ```text
//!   mesh ──► door ──► votes ────────────────────► inbox ──► duty (core) ──► mesh
//!             ├─────► rounds, bodies ► rounds ─►   ▲             │
//!             ├─────► users' cells ──► prepare ─►  └── writer ◄──┘ ──► replica ──► checkpoints
//!             └─────► questions ─────► serve ◄───────────────────┘ old blocks
//! ```
//!
//! * [`opening`] is a node before it has threads; [`node`] starts those that [`topology`] declares, with room for what [`capacity`] says; [`core`] is consensus and users' transactions as a machine without
//!   threads, with [`admit`] for the transactions, [`outbox`], [`peers`], [`questions`] and [`slot_line`] beside it; [`duty`] is the
//!   thread that drives it; [`writer`] makes things durable, [`promises`]
//!   what own users send; [`prepare`] verifies users'
//!   transactions, [`rounds`] what rounds need, and [`bodies`] what custodians look at, all with [`checks`]; [`serve`] answers what others ask of the past.
//!   [`counted`] is for blocks by count, which are the same on every run.
//! * [`execution`] is the state that consensus works on, [`pool`] what waits for it, [`own`] what this node's users
//!   sent, `telling` the frames by which minters hear of it, [`places`] how many more of these may come, [`prospect`] what a transaction is good for on one parent; [`room`] is how much of it a minter takes, [`pace`]
//!   what others say of that.
//! * [`toll`] is what work costs, as it is timed or said. [`verdicts`] are signatures that were looked at, [`inbox`] what waits for a thread.
//! * [`door`] says who is let in and sorts what they bring by the rules of [`gate`]; [`entry`] is what the threads hand
//!   to each other.
//! * [`inclusions`] remembers the newest blocks' transactions for who wants a proof that one stands there.
//! * [`view`] is what other threads see of a node, [`status`] what it shows of itself, on a [`board`] where nobody waits;
//!   [`watched`] is what becomes of the API's transactions, [`tracked`] what their users see of it; [`fate`] says whose
//!   transaction it was that a block took (`senders`), and for one that nobody here knows it of a minter is asked by [`unproved`];
//!   [`outcomes`] are what guests hear.
//!
//! The design: `docs/node.md`.

pub mod admit;
pub mod board;
pub mod bodies;
pub mod capacity;
pub mod checks;
pub mod claims;
pub mod core;
pub mod counted;
pub mod door;
pub mod duty;
pub mod entry;
pub mod execution;
pub mod fate;
pub mod gate;
pub mod inbox;
pub mod inclusions;
pub mod node;
pub mod opening;
pub mod outbox;
pub mod outcomes;
pub mod own;
pub mod pace;
pub mod peers;
pub mod places;
pub mod pool;
pub mod prepare;
pub mod promises;
pub mod prospect;
pub mod questions;
pub mod room;
pub mod rounds;
mod rows;
mod senders;
pub mod serve;
pub mod slot_line;
pub mod status;
mod telling;
mod told;
pub mod toll;
pub mod topology;
pub mod tracked;
pub mod unproved;
pub mod verdicts;
pub mod view;
pub mod watched;
pub mod words;
pub mod working;
pub mod writer;
