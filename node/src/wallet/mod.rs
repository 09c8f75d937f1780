//! The wallet: keys of owners, and a light client that believes certificates and proofs, no node.
//!
//! * [`client`] talks to nodes, follows the chain from genesis by its certificates, and checks what they say of
//!   accounts.
//! * [`keys`] makes, keeps and opens owners' keys.

pub mod client;
pub mod keys;
