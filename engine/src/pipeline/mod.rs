//! What carries transactions between threads: [`ring`]s of fixed depth.

pub mod ring;
