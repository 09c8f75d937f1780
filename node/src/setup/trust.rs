//! A block that the operator trusts: with it a node may begin with a snapshot instead of genesis.

use super::digits::digits;
use dynemix_engine::base::hash::Hash;

/// A block that the operator trusts: `HEIGHT:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its height, 2 at least: a snapshot is proved by the block after it.
    pub height: u64,
    /// Its hash, which everything is checked against.
    pub block: Hash,
}

impl std::str::FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Trust, String> {
        // A sign is no part of a height, though numbers are read with one.
        let number = |height: &str| height.bytes().all(|byte| byte.is_ascii_digit()).then(|| height.parse().ok())?;
        let parts = text.split_once(':').and_then(|(height, hash)| Some((number(height)?, digits(hash)?)));
        let wrong = || format!("'{text}' is not HEIGHT:HASH, the hash as 64 hexadecimal digits in lower case");
        let (height, block) = parts.ok_or_else(wrong)?;
        if height < 2 {
            Err("a snapshot is proved by the block after it: at least height 2".into())
        } else {
            Ok(Trust { height, block })
        }
    }
}
