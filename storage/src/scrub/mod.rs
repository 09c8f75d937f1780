//! Looks at every byte of a store and names what is not as it was written: all at once for `verify`, or in small steps
//! beside a running node.

mod scrubber;

pub use scrubber::{Finding, Scrubber};
