//! Votes: how a minter signs, and how the signatures of many are checked at once. Keys and digests come in, signatures,
//! aggregates and verdicts go out; what a digest states is the committee's.

pub mod bls;
mod bls_batch;
pub mod remembering;
pub mod signing;
pub mod stub;
#[cfg(test)]
mod tests;
