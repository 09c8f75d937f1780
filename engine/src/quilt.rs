//! A quilt: the patches of a block, merged. Applied to the parent state it gives the next one, on every node.
//!
//! Wire form: `version | height v | slot v | parent root 32 | released v | issued v | delta`, the delta as in
//! [`crate::patch`].

use crate::hash::{Hash, keyed, purpose_key};
use crate::patch::{DELTA_VERSION, Delta, DeltaError, Patch, at_end, read_hash, read_version};
use crate::state::AccountIndex;
use crate::varint;
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

/// Why patches do not make a quilt.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is no patch.
    #[error("a quilt needs a patch")]
    Empty,
    /// A patch is for another block.
    #[error("the patch of shard {shard} is for another height, slot or parent than the first")]
    Mismatch {
        /// Its shard.
        shard: u32,
    },
    /// Two shards debit one account.
    #[error("account {account} is debited by two shards")]
    DebitedTwice {
        /// The account.
        account: AccountIndex,
    },
    /// Sums leave 64 bits.
    #[error("the patches' amounts leave 64 bits")]
    Overflow,
}

impl Quilt {
    /// The quilt of a block with only this patch.
    pub fn from_patch(patch: Patch) -> Quilt {
        let Patch { height, slot, shard: _, parent_root, delta, records: _ } = patch;
        Quilt { height, slot, parent_root, delta, ..Quilt::default() }
    }

    /// Merges the patches of a block. The order of the patches does not matter.
    ///
    /// # Errors
    /// Patches of different blocks, an account debited twice, or sums out of range.
    pub fn merge(patches: &[Patch]) -> Result<Quilt, MergeError> {
        let first = patches.first().ok_or(MergeError::Empty)?;
        let Patch { height, slot, parent_root, .. } = *first;
        let other = |patch: &&Patch| (patch.height, patch.slot, patch.parent_root) != (height, slot, parent_root);
        if let Some(patch) = patches.iter().find(other) {
            return Err(MergeError::Mismatch { shard: patch.shard });
        }
        // All amounts are bounded together first; after that no partial sum can leave 64 bits.
        let (debits, credits) = patches
            .iter()
            .map(|patch| patch.delta.sums())
            .fold((0, 0), |sums, (debits, credits)| (sums.0 + debits, sums.1 + credits));
        if debits.max(credits) > u128::from(u64::MAX) {
            return Err(MergeError::Overflow);
        }
        let mut delta = Delta { fees: patches.iter().map(|patch| patch.delta.fees).sum(), ..Delta::default() };

        let mut debits: Vec<_> = patches.iter().flat_map(|patch| patch.delta.debits.iter()).collect();
        debits.sort_unstable();
        if let Some(pair) = debits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(MergeError::DebitedTwice { account: pair[0].0 });
        }
        delta.debits.fill_merged(&debits);

        let mut credits: Vec<_> = patches.iter().flat_map(|patch| patch.delta.credits.iter()).collect();
        credits.sort_unstable();
        delta.credits.fill_merged(&credits);

        let created =
            patches.iter().flat_map(|patch| patch.delta.created_keys.iter().zip(&patch.delta.created_amounts));
        let mut created: Vec<_> = created.map(|(key, &amount)| (*key, amount)).collect();
        created.sort_unstable();
        fill_created(&mut delta, &created);
        Ok(Quilt { height, slot, parent_root, delta, ..Quilt::default() })
    }

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
    /// against a state (see [`crate::state::State::validate`]).
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

/// Fills the columns of new accounts from sorted (key, amount) entries; entries of one key are added up.
///
/// # Panics
/// When a sum leaves 64 bits: all amounts of a block together are below the supply.
pub(crate) fn fill_created(delta: &mut Delta, sorted: &[(crate::cell::Key, u64)]) {
    delta.created_keys.clear();
    delta.created_amounts.clear();
    for &(key, amount) in sorted {
        match (delta.created_keys.last(), delta.created_amounts.last_mut()) {
            (Some(last), Some(sum)) if *last == key => {
                *sum = sum.checked_add(amount).expect("amounts of a block fit the supply")
            }
            _ => {
                delta.created_keys.push(key);
                delta.created_amounts.push(amount);
            }
        }
    }
}
