//! The node of a network: consensus over the mapped state, the store, and the mesh.
//!
//! ```text
//!   mesh ──► votes ─────────────────────────────► inbox ──► duty (consensus) ──► mesh
//!     └────► rounds, bodies ──► prepare ────────►   ▲             │
//!     └────► users' cells ────► prepare (nice) ─►   └── writer ◄──┘ ──► replica ──► checkpoints
//! ```
//!
//! * [`node`] starts the threads; [`duty`] owns the minter; [`writer`] makes things durable; [`prepare`] decodes and
//!   verifies.
//! * [`execution`] is the state that consensus works on, [`pool`] what waits for it, [`own`] what this node's users
//!   sent.
//! * [`verdicts`] are signatures that were looked at, [`inbox`] what waits for consensus.
//! * [`status`] is what a node shows of itself, [`tracked`] what became of the API's transactions.
//!
//! The design: `docs/node.md`.

pub mod duty;
pub mod execution;
pub mod inbox;
pub mod node;
pub mod own;
pub mod pool;
pub mod prepare;
pub mod status;
pub mod tracked;
pub mod verdicts;
pub mod writer;
