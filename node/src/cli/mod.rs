//! The verbs of `dynemix`, a file a family: its flags, and the call that each of its verbs makes.
//!
//! * [`verbs`] lists the families.

pub(crate) mod attack;
pub(crate) mod bench;
pub(crate) mod devnet;
pub(crate) mod durable;
pub(crate) mod inspect;
pub(crate) mod node;
pub(crate) mod setup;
pub(crate) mod simulate;
pub(crate) mod snapshots;
pub(crate) mod verbs;
pub(crate) mod wallet;
