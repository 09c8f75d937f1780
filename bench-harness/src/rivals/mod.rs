//! What benches run beside ours, with the feature `rivals`. Without it nothing of it is built: the types are there and
//! cannot be had, so that a bench reads the same either way.

#[cfg(not(feature = "rivals"))]
mod absent;
#[cfg(feature = "rivals")]
mod databases;
#[cfg(feature = "rivals")]
mod verifiers;

#[cfg(not(feature = "rivals"))]
pub use absent::{Databases, Verifiers};
#[cfg(feature = "rivals")]
pub use databases::{Databases, Redb};
#[cfg(feature = "rivals")]
pub use verifiers::Verifiers;

/// How to get the verifiers' columns; empty where they are there.
pub const HINT_VERIFY: &str = if cfg!(feature = "rivals") {
    ""
} else {
    "  beside ed25519-dalek and commonware:\n  cargo run --release --features rivals -- bench verify\n"
};

/// How to get the databases' rows; empty where they can be had.
pub const HINT_STATE: &str = if cfg!(feature = "rivals") {
    ""
} else {
    "  beside redb and SQLite: cargo run --release --features rivals -- bench state\n"
};
