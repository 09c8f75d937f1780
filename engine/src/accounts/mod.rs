//! The account state: flat columns by account index, a table from key to index, a hash tree over both. Quilts come in,
//! balances, roots and proofs go out. Whose the memory is, the heap's or a file's, is for who implements
//! [`columns::StateMemory`].

pub mod columns;
pub mod delta;
pub mod index;
pub mod memory;
pub mod proof;
pub mod quilt;
pub mod snapshot;
pub mod state;
pub mod tree;
