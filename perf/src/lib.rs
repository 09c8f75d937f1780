//! What measuring stands on, below every bench and below the node.
//!
//! * [`profile`] samples a whole run: a flame graph to look at, a table of the hottest functions to read.
//! * [`machine`] is the machine and the process as reports name them; [`report`] how figures are shown.

#![forbid(unsafe_code)]

pub mod machine;
pub mod profile;
pub mod report;

pub use profile::{Profile, ProfileError, ProfileFiles};
