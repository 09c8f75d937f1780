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
//! * [`chain_store`], [`signed_file`] and [`sealed`] are what a restart finds; [`published`] what those who join fetch;
//!   [`wire`] what nodes say to each other.
//!
//! The design: `docs/node.md`.

pub mod chain_store;
pub mod clock;
pub mod duty;
pub mod execution;
pub mod inbox;
pub mod node;
pub mod own;
pub mod pool;
pub mod prepare;
pub mod published;
pub mod sealed;
pub mod signed_file;
pub mod status;
pub mod tracked;
pub mod verdicts;
pub mod wire;
pub mod writer;
