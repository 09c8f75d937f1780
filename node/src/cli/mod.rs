//! The verbs of `dynemix`, a file a family: its flags, and the call that each of its verbs makes.
//!
//! * [`verbs`] lists the families; [`args`], [`output`], [`ending`] and [`passphrase`] are what they share;
//!   [`manual`] writes their man pages.
//! * [`allocator`] is the allocator of the process.
//! * [`node`], [`setup`], [`wallet`] (which shows [`receipts`]), [`devnet`] run things: of the last [`up`] runs it,
//!   [`nodes`] looks at it; [`state`], [`block`], [`snapshots`] look at stores;
//!   [`simulate`], [`attack`] and [`grind`] ask the simulator.
//! * With the feature `bench`: `bench` and `profile`, `benched`, `lines` and `durable` (what they measure), `saturate`.

pub(crate) mod allocator;
pub(crate) mod args;
pub(crate) mod ask;
pub(crate) mod attack;
#[cfg(feature = "bench")]
pub(crate) mod bench;
#[cfg(feature = "bench")]
pub(crate) mod benched;
pub(crate) mod block;
pub(crate) mod devnet;
#[cfg(feature = "bench")]
pub(crate) mod durable;
pub(crate) mod ending;
pub(crate) mod grind;
#[cfg(feature = "bench")]
pub(crate) mod lines;
pub(crate) mod manual;
pub(crate) mod node;
pub(crate) mod nodes;
pub(crate) mod output;
#[allow(unsafe_code, reason = "a descriptor is given as a number")]
pub(crate) mod passphrase;
#[cfg(feature = "bench")]
pub(crate) mod profile;
pub(crate) mod receipts;
#[cfg(feature = "bench")]
pub(crate) mod saturate;
pub(crate) mod setup;
pub(crate) mod simulate;
pub(crate) mod snapshots;
pub(crate) mod state;
pub(crate) mod up;
pub(crate) mod verbs;
pub(crate) mod vigil;
pub(crate) mod wallet;
pub(crate) mod whole;
