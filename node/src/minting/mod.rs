//! The node of a network: consensus over the mapped state, the store, and the mesh.
//!
//! ```text
//!   mesh ──► votes ─────────────────────────────► inbox ──► duty (consensus) ──► mesh
//!     └────► rounds, bodies ──► prepare ────────►   ▲             │
//!     └────► users' cells ────► prepare (nice) ─►   └── writer ◄──┘ ──► replica ──► checkpoints
//! ```
//!
//! * [`node`] starts the threads; [`duty`] owns the minter, with [`admit`] for users' transactions, [`outbox`],
//!   [`peers`] and [`slot_line`] beside it; [`writer`] makes things durable; [`prepare`] decodes and verifies, and lets
//!   [`serve`] answer what others ask of the past.
//! * [`execution`] is the state that consensus works on, [`pool`] what waits for it, [`own`] what this node's users
//!   sent.
//! * [`verdicts`] are signatures that were looked at, [`inbox`] what waits for consensus.
//! * [`door`] says who is let in and sorts what they bring; [`entry`] is what the threads hand to each other.
//! * [`view`] is what other threads see of a node, [`status`] what it shows of itself, on a [`board`] where nobody waits;
//!   [`tracked`] is what became of the API's transactions.
//!
//! The design: `docs/node.md`.

pub mod admit;
pub mod board;
pub mod door;
pub mod duty;
pub mod entry;
pub mod execution;
pub mod inbox;
pub mod node;
pub mod outbox;
pub mod own;
pub mod peers;
pub mod pool;
pub mod prepare;
pub mod serve;
pub mod slot_line;
pub mod status;
pub mod tracked;
pub mod verdicts;
pub mod view;
pub mod writer;
