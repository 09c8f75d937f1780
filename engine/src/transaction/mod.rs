//! Transactions: the cell of 192 bytes, the rules of form that need no state, the item that consensus carries by its
//! id, and the frames in which clients send cells. Untrusted bytes come in, cells whose form holds go out.

pub mod arena;
pub mod cell;
pub mod check;
pub mod compact;
pub mod item;
