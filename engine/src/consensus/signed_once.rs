//! What a minter must remember across a crash, and its durable bytes.
//!
//! ```text
//!   version 4 | height v | reserved slot v | earlier slot v | unsure 0 or 1
//!   lock 0 or 1: hash 32, attempt v | high 0 or 1: prepared | blocks v, each a block
//! ```
//!
//! A slot is reserved for one height. So whoever left this record has signed at its height in slots up to the reserved
//! one, at lower heights in slots up to the later of both, and at higher ones nothing: a slot far ahead, reserved by a
//! clock that was wrong, silences nobody beyond the height that was pending then.

use super::master::Locked;
use crate::base::limits::SEATS_MAX;
use crate::base::read::{CodecError, Read, array, count, number, put};
use crate::base::varint;
use crate::chain::block::SHARD_BLOCK_BYTES;
use crate::chain::block_codec::{put_block, put_maybe_prepared, read_block, read_maybe_prepared};
use crate::transaction::compact::Nobody;
use std::cmp::Ordering;

const VERSION: u8 = 4;

/// What a restart must know, whatever else it forgets.
#[derive(Clone, Debug, Default)]
pub struct SignedOnce {
    /// The height that it speaks of.
    pub height: u64,
    /// The last slot in which anything may have been signed at that height.
    pub reserved_slot: u64,
    /// The last slot that was reserved for any lower height.
    pub earlier_slot: u64,
    /// Something may have been signed that is not written here: see `silence`.
    pub unsure: bool,
    /// The lock at that height.
    pub locked: Locked,
}

impl SignedOnce {
    /// Whether who left this record may have signed at this height in this slot, or in a later one: then nothing is
    /// signed there again.
    pub fn may_have_signed(&self, height: u64, slot: u64) -> bool {
        match height.cmp(&self.height) {
            Ordering::Less => slot <= self.reserved_slot.max(self.earlier_slot),
            Ordering::Equal => slot <= self.reserved_slot,
            Ordering::Greater => false,
        }
    }

    /// The record once a slot is reserved for a height as well: neither ever falls.
    pub fn reserving(&self, height: u64, slot: u64) -> SignedOnce {
        assert!((height, slot) >= (self.height, self.reserved_slot), "no record takes back what was reserved");
        let passed = if height > self.height { self.reserved_slot } else { 0 };
        let earlier_slot = self.earlier_slot.max(passed);
        SignedOnce { height, reserved_slot: slot, earlier_slot, unsure: self.unsure, locked: Locked::default() }
    }

    /// The bytes. In quilt mode the caller has taken the items out of the blocks: they are kept elsewhere.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        varint::write(out, self.height);
        varint::write(out, self.reserved_slot);
        varint::write(out, self.earlier_slot);
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
        let (height, reserved_slot, earlier_slot) = (number(bytes)?, number(bytes)?, number(bytes)?);
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
        Ok(SignedOnce { height, reserved_slot, earlier_slot, unsure, locked: Locked { lock, high, blocks } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_speaks_of_its_height_and_those_before() {
        let far = SignedOnce { height: 7, reserved_slot: 3_000_000, earlier_slot: 40, ..SignedOnce::default() };
        assert!(far.may_have_signed(7, 43) && far.may_have_signed(7, 3_000_000) && !far.may_have_signed(7, 3_000_001));
        assert!(far.may_have_signed(6, 43) && !far.may_have_signed(8, 43));
        // The height is over: an ordinary slot is reserved for the next, and what was promised before stays said.
        let next = far.reserving(8, 43);
        assert!(next.may_have_signed(8, 43) && !next.may_have_signed(8, 44) && !next.may_have_signed(9, 1));
        assert!(next.may_have_signed(7, 3_000_000) && !next.may_have_signed(7, 3_000_001));
        assert_eq!(next.reserving(8, 45).earlier_slot, 3_000_000);
        let mut bytes = Vec::new();
        next.encode(&mut bytes);
        let read = SignedOnce::decode(&bytes).unwrap();
        assert_eq!((read.height, read.reserved_slot, read.earlier_slot), (8, 43, 3_000_000));
    }
}
