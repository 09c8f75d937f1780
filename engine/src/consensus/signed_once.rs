//! What a minter must remember across a crash, and its durable bytes.
//!
//! ```text
//!   version 2 | height v | reserved slot v | unsure 0 or 1 | lock 0 or 1: hash 32, attempt v | high 0 or 1: prepared | blocks v, each a block
//! ```

use super::master::Locked;
use crate::base::limits::SEATS_MAX;
use crate::base::read::{CodecError, Read, array, count, number, put};
use crate::base::varint;
use crate::chain::block::SHARD_BLOCK_BYTES;
use crate::chain::block_codec::{put_block, put_maybe_prepared, read_block, read_maybe_prepared};
use crate::transaction::compact::Nobody;

const VERSION: u8 = 2;

/// What a restart must know, whatever else it forgets.
#[derive(Clone, Debug, Default)]
pub struct SignedOnce {
    /// The height that it speaks of.
    pub height: u64,
    /// The last slot in which anything may have been signed.
    pub reserved_slot: u64,
    /// Something may have been signed that is not written here: see [`super::silence`].
    pub unsure: bool,
    /// The lock at that height.
    pub locked: Locked,
}

impl SignedOnce {
    /// The bytes. In quilt mode the caller has taken the items out of the blocks: they are kept elsewhere.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        varint::write(out, self.height);
        varint::write(out, self.reserved_slot);
        out.push(u8::from(self.unsure));
        out.push(u8::from(self.locked.lock.is_some()));
        if let Some((hash, attempt)) = &self.locked.lock {
            put(out, hash);
            varint::write(out, *attempt);
        }
        put_maybe_prepared(self.locked.high.as_ref(), out);
        varint::write(out, self.locked.blocks.len() as u64);
        self.locked.blocks.iter().for_each(|block| put_block(block, &Nobody, out));
    }

    /// Reads exactly what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Bytes that are no record: whoever signs has to stop.
    pub fn decode(mut bytes: &[u8]) -> Result<SignedOnce, CodecError> {
        let bytes = &mut bytes;
        match array(bytes)? {
            [VERSION] => {}
            [version] => return Err(CodecError::Tag(version)),
        }
        let (height, reserved_slot) = (number(bytes)?, number(bytes)?);
        let unsure = match array(bytes)? {
            [0] => false,
            [1] => true,
            _ => return Err(CodecError::Field),
        };
        let lock = match array(bytes)? {
            [0] => None,
            [1] => Some((array(bytes)?, number(bytes)?)),
            _ => return Err(CodecError::Field),
        };
        let high = read_maybe_prepared(bytes)?;
        let blocks = (0..count(bytes, SHARD_BLOCK_BYTES, SEATS_MAX)?)
            .map(|_| read_block(bytes, &Nobody))
            .collect::<Read<_>>()?;
        if !bytes.is_empty() {
            return Err(CodecError::Trailing(bytes.len()));
        }
        Ok(SignedOnce { height, reserved_slot, unsure, locked: Locked { lock, high, blocks } })
    }
}
