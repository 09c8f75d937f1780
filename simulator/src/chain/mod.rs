//! The chain that all nodes simulate: how they sign, and one state for as many as agree on it.

pub(crate) mod signing;
pub(crate) mod state;
