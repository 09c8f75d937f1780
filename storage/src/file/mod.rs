//! The kinds of file that a store is made of, each with its own layout, and the sums that say whether it is whole.
//!
//! ```text
//!   page ◄── superblock
//!   page, record ◄── segment ◄── index        records of the log, and where to find what in a sealed part of it
//!   page ◄── sums ◄── paged ◄── index, image
//! ```
//!
//! What is written here is sealed; what is read here is whole, or an error that says at which byte it is not.

pub(crate) mod image;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod page;
pub(crate) mod paged;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod sums;
pub(crate) mod superblock;
