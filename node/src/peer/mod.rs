//! What nodes say to each other, and those who are no minters: guests.
//!
//! * [`frames`] lists every frame between nodes, and the hello that begins a connection.
//! * [`guest`] is a connection of who is no candidate; [`join`] fetches a snapshot over it, and proves
//!   it; how long a peer may take over it is its `patience`.
//! * [`inclusion`] is the proof that a transaction stands in a block; in [`paths`] nodes ask each other for such proofs.

pub mod frames;
pub mod guest;
pub mod inclusion;
pub mod join;
pub mod paths;
mod patience;
