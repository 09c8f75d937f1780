//! What a node is given before it runs: configuration, genesis, keys, time.
//!
//! * [`config`] is the node's settings in layers; [`genesis`] what all nodes of a chain begin with.
//! * [`endpoint`] is where a minter is reached, [`trust`] a block that the operator trusts.
//! * [`address`] is a key as people pass it on.
//! * [`host_port`] is a place in the network as people write it, [`names`] asks what names of hosts mean.
//! * [`keystore`] keeps secrets under a passphrase; [`digits`] reads bytes as their hexadecimal digits.
//! * [`clock`] is the node's time, [`sntp`] asks servers how far it is off, [`computer`] looks at the system's,
//!   [`discipline`] says which answer is followed.
//! * [`settings`] says what settings there are; [`new_file`] writes files that are made once.
//! * [`log_filter`] reads what of the log is shown; [`memory`] says how much of it the network may have.

pub mod address;
pub mod clock;
pub mod computer;
pub mod config;
pub mod digits;
pub mod discipline;
pub mod endpoint;
pub mod genesis;
pub mod host_port;
pub mod keystore;
pub mod log_filter;
pub mod memory;
pub mod names;
pub mod new_file;
pub mod settings;
pub mod sntp;
pub mod trust;
