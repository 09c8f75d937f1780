//! The Dynemix node: engine, network and storage composed into threads.
//!
//! Rooms, the lowest first; a file uses its own room and those above it in this list:
//!
//! * [`keep`] is what a restart finds.
//! * [`setup`] is what a node is given: configuration, genesis, keys, time.
//! * [`peer`] is what nodes say to each other.
//! * [`intake`] says who may cost the node what, before it costs it.
//! * [`minting`] is the node of a network.
//! * [`simulated`] is such nodes in virtual time.
//! * [`face`] is what people and programs see of it.
//! * [`wallet`] is the light client of owners.
//! * [`devnet`] is a network of real node processes on one computer.
//! * [`exit`] says what a process ends with.

#![deny(unsafe_code)]

pub mod devnet;
pub mod exit;
pub mod face;
pub mod intake;
pub mod keep;
pub mod minting;
pub mod peer;
pub mod setup;
pub mod simulated;
pub mod wallet;
