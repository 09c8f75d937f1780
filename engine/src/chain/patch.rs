//! A patch: what one shard-block changes in the state, and nothing else.
//!
//! In memory the changes are columns, sorted by account, ready to be applied in one pass. On the wire they are the same
//! columns as differences and variable-length integers:
//!
//! ```text
//!   patch    version | height v | slot v | shard v | parent root 32 | delta | records v, each: bytes v, record
//!   delta    debits v, credits v, created v, fees v             v: LEB128, shortest form
//!            debit accounts:  first v, then (difference - 1) v
//!            debit amounts v   each also steps the account's sequence by one; 0 where nothing but that happens
//!            credit accounts, credit amounts likewise
//!            created keys 32 each, strictly ascending; created amounts v
//!   record   what the block changes beside balances, see [`super::record`]; in strictly ascending order of bytes
//! ```

use super::record::Record;
use crate::accounts::delta::{DELTA_VERSION, Delta, DeltaError, at_end, fill_created, read_hash, read_version};
use crate::accounts::quilt::Quilt;
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::AccountIndex;
use crate::base::varint;
use std::sync::LazyLock;

static PATCH_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix patch v1"));

/// What one shard-block changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Height of the block.
    pub height: u64,
    /// Slot in which the block was made.
    pub slot: u64,
    /// Shard that made the block; it debits its own accounts only.
    pub shard: u32,
    /// Root of the state that it was made from.
    pub parent_root: Hash,
    /// Changes of balances, new accounts and fees.
    pub delta: Delta,
    /// What changes beside balances, in strictly ascending order of their bytes.
    pub records: Vec<Record>,
}

impl Patch {
    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(DELTA_VERSION);
        for number in [self.height, self.slot, u64::from(self.shard)] {
            varint::write(out, number);
        }
        out.extend_from_slice(&self.parent_root);
        self.delta.encode(out);
        varint::write(out, self.records.len() as u64);
        let (mut record_bytes, mut last) = (Vec::new(), Vec::new());
        for record in &self.records {
            std::mem::swap(&mut record_bytes, &mut last);
            record_bytes.clear();
            record.encode(&mut record_bytes);
            assert!(record_bytes > last, "records of a patch ascend, each once, or nobody reads it");
            varint::write(out, record_bytes.len() as u64);
            out.extend_from_slice(&record_bytes);
        }
    }

    fn decode_records(&mut self, entries_max: usize, bytes: &mut &[u8]) -> Result<(), DeltaError> {
        let count = varint::read(bytes)?;
        if count > entries_max as u64 || count > bytes.len() as u64 {
            return Err(DeltaError::TooMany(count));
        }
        let mut last: &[u8] = &[];
        for _ in 0..count {
            let length = varint::read(bytes)?;
            let (record, rest) = usize::try_from(length)
                .ok()
                .and_then(|length| bytes.split_at_checked(length))
                .ok_or(DeltaError::Truncated)?;
            if record <= last {
                return Err(DeltaError::RecordOrder);
            }
            self.records.push(Record::decode(record).ok_or(DeltaError::Record)?);
            (last, *bytes) = (record, rest);
        }
        Ok(())
    }

    /// Reads the wire form of untrusted bytes: well formed afterwards, not yet valid against a state.
    ///
    /// # Errors
    /// Anything but exactly one patch in its one encoding, or a column of more than `entries_max` entries.
    pub fn decode(mut bytes: &[u8], entries_max: usize) -> Result<Patch, DeltaError> {
        let bytes = &mut bytes;
        read_version(bytes)?;
        let mut patch = Patch { height: varint::read(bytes)?, slot: varint::read(bytes)?, ..Patch::default() };
        patch.shard = u32::try_from(varint::read(bytes)?).map_err(|_| DeltaError::HeaderRange)?;
        patch.parent_root = read_hash(bytes)?;
        patch.delta.decode(entries_max, bytes)?;
        patch.decode_records(entries_max, bytes)?;
        at_end(bytes)?;
        Ok(patch)
    }

    /// How many transactions users have signed of those that a patch is of: each debits its sender, who has one in a
    /// block at most, and records debit nobody. Read without the rest.
    ///
    /// # Errors
    /// When the bytes do not begin as a patch.
    pub fn signed(mut bytes: &[u8]) -> Result<u64, DeltaError> {
        let bytes = &mut bytes;
        read_version(bytes)?;
        for _ in ["height", "slot", "shard"] {
            varint::read(bytes)?;
        }
        read_hash(bytes)?;
        Ok(varint::read(bytes)?)
    }

    /// Hash of a patch's wire form, which the shard-block commits to.
    pub fn hash(encoded: &[u8]) -> Hash {
        keyed(&PATCH_KEY, encoded)
    }
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
        /// Shard of the patch that does not fit the first.
        shard: u32,
    },
    /// Two shards debit one account.
    #[error("account {account} is debited by two shards")]
    DebitedTwice {
        /// Index of the account that both debit.
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
        let sums = patches
            .iter()
            .map(|patch| patch.delta.sums())
            .fold((0, 0), |sums, (debits, credits)| (sums.0 + debits, sums.1 + credits));
        if sums.0.max(sums.1) > u128::from(u64::MAX) {
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
        assert_eq!(delta.sums(), sums, "merging patches neither makes nor loses money");
        Ok(Quilt { height, slot, parent_root, delta, ..Quilt::default() })
    }
}
