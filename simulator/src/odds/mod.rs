//! How long draws by stake resist whoever holds a share of it, without nodes: by the million.

pub mod censorship;
pub mod grind;
pub mod takeover;
