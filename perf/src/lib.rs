//! What measuring stands on, below every bench and below the node.
//!
//! * [`profile`] samples a whole run: a flame graph to look at, a table of the hottest functions to read. `sampler` takes
//!   the samples, `symbols` names what they show.
//! * [`machine`] is the machine and the process as reports name them; [`report`] how figures are shown, [`table`] how they
//!   stand below each other.

#![deny(unsafe_code)]

pub mod machine;
pub mod profile;
pub mod report;
#[allow(unsafe_code, reason = "a signal's handler and a timer")]
mod sampler;
mod symbols;
pub mod table;

pub use profile::{Hot, Hottest, Profile, ProfileError, ProfileFiles};
