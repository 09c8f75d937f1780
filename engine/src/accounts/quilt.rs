//! A quilt: the patches of a block, merged. Applied to the parent state it gives the next one, on every node.
//!
//! Wire form: `version | height v | slot v | parent root 32 | released v | issued v | delta`, the delta as in
//! [`crate::chain::patch`].

use super::delta::{DELTA_VERSION, Delta, DeltaError, at_end, read_hash, read_version};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::varint;
use std::sync::LazyLock;

static QUILT_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix quilt v1"));

/// The changes of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quilt {
    /// The state's height after it.
    pub height: u64,
    /// Slot of the block.
    pub slot: u64,
    /// Root of the state before it.
    pub parent_root: Hash,
    /// Units that come out of the pool, to be credited.
    pub released: u64,
    /// Units that come into being, in the pool.
    pub issued: u64,
    /// The changes. Its fees go into the pool.
    pub delta: Delta,
}

impl Quilt {
    /// Units that come from somewhere (debits, the pool), and units that go somewhere (credits, new balances, the
    /// pool): equal in a valid quilt.
    pub fn sums(&self) -> (u128, u128) {
        let (debits, credits) = self.delta.sums();
        (debits + u128::from(self.released), credits)
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(DELTA_VERSION);
        varint::write(out, self.height);
        varint::write(out, self.slot);
        out.extend_from_slice(&self.parent_root);
        varint::write(out, self.released);
        varint::write(out, self.issued);
        self.delta.encode(out);
    }

    /// Reads the wire form of untrusted bytes into `self`, reusing its memory: well formed afterwards, not yet valid
    /// against a state (see [`super::state::State::validate`]).
    ///
    /// # Errors
    /// Anything but exactly one quilt in its one encoding, or a column of more than `entries_max` entries.
    pub fn decode_into(&mut self, mut bytes: &[u8], entries_max: usize) -> Result<(), DeltaError> {
        let bytes = &mut bytes;
        read_version(bytes)?;
        self.height = varint::read(bytes)?;
        self.slot = varint::read(bytes)?;
        self.parent_root = read_hash(bytes)?;
        self.released = varint::read(bytes)?;
        self.issued = varint::read(bytes)?;
        self.delta.decode(entries_max, bytes)?;
        at_end(bytes)
    }

    /// Hash of a quilt's wire form, which the master-block commits to.
    pub fn hash(encoded: &[u8]) -> Hash {
        keyed(&QUILT_KEY, encoded)
    }
}
