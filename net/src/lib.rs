//! A lean network: a mio event loop, no runtime, no protocol. [`mesh`] connects nodes to each other and to programs of
//! users: encrypted, by names that are proved, with budgets for everyone.

#![forbid(unsafe_code)]

pub mod mesh;
