//! What everything else stands on: the names of things, hashes, cursors over untrusted bytes, the chain's parameters,
//! limits that must fit each other, refusals. Nothing here knows a transaction, a state or a block.

pub(crate) mod atomics;
pub mod free_list;
pub mod hash;
pub mod ids;
pub mod keyed_hash;
pub mod limits;
pub mod mutation;
pub mod parameters;
pub mod prefetch;
pub mod read;
pub mod refusal;
pub mod trie;
pub mod varint;
