//! What nodes say to each other, and those who are no minters: guests.
//!
//! * [`frames`] lists every frame between nodes, and the hello that begins a connection.
//! * [`guest`] is a connection of who is no candidate; [`join`] fetches a snapshot over it, and proves it.

pub mod frames;
pub mod guest;
pub mod join;
