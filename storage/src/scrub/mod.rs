//! Looks at every byte of a store and names what is not as it was written: all at once for `verify`, or in small steps
//! beside a running node.

mod finding;
mod scrubber;
mod unit;

pub use finding::Finding;
pub use scrubber::Scrubber;
