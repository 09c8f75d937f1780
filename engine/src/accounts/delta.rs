//! A delta: changes of balances as columns, sorted by account, ready to be applied in one pass. Patches and quilts carry
//! one; on the wire it is the same columns as differences and variable-length integers:
//!
//! ```text
//!   delta    debits v, credits v, created v, fees v             v: LEB128, shortest form
//!            debit accounts:  first v, then (difference - 1) v
//!            debit amounts v   each also steps the account's sequence by one; 0 where nothing but that happens
//!            credit accounts, credit amounts likewise
//!            created keys 32 each, strictly ascending; created amounts v
//! ```

use crate::base::hash::Hash;
use crate::base::ids::{AccountIndex, Key};
use crate::base::varint::{self, VarintError};
use rayon::prelude::*;

/// Version of the wire forms of patch and quilt.
pub const DELTA_VERSION: u8 = 2;
/// Bytes that an entry of a column takes as a rule: the way to the next account, and an amount.
const ENTRY_BYTES_USUAL: usize = 5;

/// Amounts by account, two columns of equal length, accounts strictly ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Indices of the accounts, strictly ascending.
    pub accounts: Vec<AccountIndex>,
    /// Units. A credit is never 0; a debit of 0 only steps the sequence.
    pub amounts: Vec<u64>,
}

impl Changes {
    /// Account and amount, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (AccountIndex, u64)> + '_ {
        self.accounts.iter().copied().zip(self.amounts.iter().copied())
    }

    /// How many accounts.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    fn clear(&mut self) {
        self.accounts.clear();
        self.amounts.clear();
    }

    fn sum(&self) -> u128 {
        self.amounts.iter().map(|&amount| u128::from(amount)).sum()
    }

    /// Replaces the columns by these entries, sorted by account already; entries of one account are added up.
    ///
    /// # Panics
    /// When a sum leaves 64 bits: all amounts of a block together are below the supply.
    pub(crate) fn fill_merged(&mut self, sorted: &[(AccountIndex, u64)]) {
        self.clear();
        for &(account, amount) in sorted {
            match (self.accounts.last(), self.amounts.last_mut()) {
                (Some(&last), Some(sum)) if last == account => {
                    *sum = sum.checked_add(amount).expect("amounts of a block fit the supply")
                }
                _ => {
                    self.accounts.push(account);
                    self.amounts.push(amount);
                }
            }
        }
        assert!(self.accounts.is_sorted_by(|a, b| a < b), "accounts of a column ascend, each once");
        assert_eq!(self.accounts.len(), self.amounts.len(), "each account of a column has its amount");
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(ENTRY_BYTES_USUAL * self.accounts.len());
        let mut next = 0;
        for &account in &self.accounts {
            assert!(u64::from(account) >= next, "accounts of a column ascend, or their differences wrap");
            varint::write(out, u64::from(account) - next);
            next = u64::from(account) + 1;
        }
        for &amount in &self.amounts {
            varint::write(out, amount);
        }
    }

    fn decode(&mut self, count: usize, zero_allowed: bool, bytes: &mut &[u8]) -> Result<(), DeltaError> {
        self.clear();
        self.accounts.reserve(count);
        self.amounts.reserve(count);
        let mut next = 0u64;
        for _ in 0..count {
            let account = varint::read(bytes)?
                .checked_add(next)
                .filter(|&account| account < u64::from(u32::MAX))
                .ok_or(DeltaError::AccountRange)?;
            self.accounts.push(account as AccountIndex);
            next = account + 1;
        }
        read_amounts(&mut self.amounts, count, zero_allowed, bytes)
    }
}

fn read_amounts(amounts: &mut Vec<u64>, count: usize, zero_allowed: bool, bytes: &mut &[u8]) -> Result<(), DeltaError> {
    for _ in 0..count {
        match varint::read(bytes)? {
            0 if !zero_allowed => return Err(DeltaError::AmountZero),
            amount => amounts.push(amount),
        }
    }
    Ok(())
}

/// The changes themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Units taken from senders; each also steps the sender's sequence by one.
    pub debits: Changes,
    /// Units given to accounts that exist.
    pub credits: Changes,
    /// Keys that get an account, strictly ascending.
    pub created_keys: Vec<Key>,
    /// What each of them starts with.
    pub created_amounts: Vec<u64>,
    /// Units that go to the pool.
    pub fees: u64,
}

/// Why bytes are not a patch or quilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// A number is malformed or the bytes end.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// The bytes end.
    #[error("the bytes end early")]
    Truncated,
    /// Bytes follow the end.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// The first byte names a version other than [`DELTA_VERSION`].
    #[error("version {0} is unknown, this node reads version {DELTA_VERSION}")]
    Version(u8),
    /// More entries than the bytes or the limit allow.
    #[error("{0} entries are more than the bytes can hold or a block may have")]
    TooMany(u64),
    /// An account index beyond 32 bits.
    #[error("an account index leaves its 32 bits")]
    AccountRange,
    /// An amount of zero.
    #[error("an amount is zero")]
    AmountZero,
    /// New keys out of order or repeated.
    #[error("new keys are not strictly ascending")]
    KeyOrder,
    /// Records out of order or repeated.
    #[error("records are not strictly ascending")]
    RecordOrder,
    /// Bytes that are no record.
    #[error("a record is not well formed")]
    Record,
    /// A shard or slot number out of range.
    #[error("a number in the header is out of range")]
    HeaderRange,
}

impl Delta {
    /// Makes it empty, keeping its memory.
    pub fn clear(&mut self) {
        self.debits.clear();
        self.credits.clear();
        self.created_keys.clear();
        self.created_amounts.clear();
        self.fees = 0;
    }

    /// Entries of all columns.
    pub fn entries(&self) -> usize {
        self.debits.len() + self.credits.len() + self.created_keys.len()
    }

    /// Sum of debits, and sum of credits, new balances and fees: equal in a valid delta.
    pub fn sums(&self) -> (u128, u128) {
        let created: u128 = self.created_amounts.iter().map(|&amount| u128::from(amount)).sum();
        (self.debits.sum(), self.credits.sum() + created + u128::from(self.fees))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.debits.len(), self.credits.len(), self.created_keys.len()] {
            varint::write(out, count as u64);
        }
        varint::write(out, self.fees);
        self.debits.encode(out);
        self.credits.encode(out);
        for key in &self.created_keys {
            out.extend_from_slice(key);
        }
        for &amount in &self.created_amounts {
            varint::write(out, amount);
        }
    }

    pub(crate) fn decode(&mut self, entries_max: usize, bytes: &mut &[u8]) -> Result<(), DeltaError> {
        self.clear();
        let mut counts = [0usize; 3];
        for (count, entry_bytes) in counts.iter_mut().zip([2, 2, 33]) {
            let read = varint::read(bytes)?;
            // Before anything is reserved: so many entries must be able to stand in the bytes that are there.
            if read > entries_max as u64 || read.saturating_mul(entry_bytes) > bytes.len() as u64 {
                return Err(DeltaError::TooMany(read));
            }
            *count = read as usize;
        }
        self.fees = varint::read(bytes)?;
        self.debits.decode(counts[0], true, bytes)?;
        self.credits.decode(counts[1], false, bytes)?;
        self.created_keys.reserve(counts[2]);
        for _ in 0..counts[2] {
            let (key, rest) = bytes.split_first_chunk::<32>().ok_or(DeltaError::Truncated)?;
            if self.created_keys.last().is_some_and(|last| last >= key) {
                return Err(DeltaError::KeyOrder);
            }
            self.created_keys.push(*key);
            *bytes = rest;
        }
        read_amounts(&mut self.created_amounts, counts[2], false, bytes)
    }
}

/// A delta in the making: entries in any order.
#[derive(Default)]
pub(crate) struct DeltaBuilder {
    pub debits: Vec<(AccountIndex, u64)>,
    pub credits: Vec<(AccountIndex, u64)>,
    pub created: Vec<(Key, u64)>,
}

impl DeltaBuilder {
    /// An output, to an account or to a key that has none.
    pub(crate) fn credit(&mut self, account: Option<AccountIndex>, key: &Key, amount: u64) {
        match account {
            Some(account) => self.credits.push((account, amount)),
            None => self.created.push((*key, amount)),
        }
    }

    /// Fills the columns of `delta`.
    ///
    /// # Panics
    /// When an account is debited twice.
    pub(crate) fn finish(&mut self, delta: &mut Delta) {
        // Sorting by account and amount leaves no choice to the sorter: equal entries are equal.
        self.debits.par_sort_unstable();
        self.credits.par_sort_unstable();
        self.created.par_sort_unstable();
        assert!(self.debits.is_sorted_by(|a, b| a.0 < b.0), "a sender acts once a block");
        delta.debits.fill_merged(&self.debits);
        delta.credits.fill_merged(&self.credits);
        fill_created(delta, &self.created);
    }
}

/// Fills the columns of new accounts from sorted (key, amount) entries; entries of one key are added up.
///
/// # Panics
/// When a sum leaves 64 bits: all amounts of a block together are below the supply.
pub(crate) fn fill_created(delta: &mut Delta, sorted: &[(Key, u64)]) {
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
    assert!(delta.created_keys.is_sorted_by(|a, b| a < b), "new keys ascend, each once");
    assert_eq!(delta.created_keys.len(), delta.created_amounts.len(), "each new key has its amount");
}

/// The header that patch and quilt share on the wire.
pub(crate) fn read_version(bytes: &mut &[u8]) -> Result<(), DeltaError> {
    let (&version, rest) = bytes.split_first().ok_or(DeltaError::Truncated)?;
    *bytes = rest;
    if version == DELTA_VERSION { Ok(()) } else { Err(DeltaError::Version(version)) }
}

pub(crate) fn read_hash(bytes: &mut &[u8]) -> Result<Hash, DeltaError> {
    let (hash, rest) = bytes.split_first_chunk::<32>().ok_or(DeltaError::Truncated)?;
    *bytes = rest;
    Ok(*hash)
}

pub(crate) fn at_end(bytes: &[u8]) -> Result<(), DeltaError> {
    if bytes.is_empty() { Ok(()) } else { Err(DeltaError::Trailing(bytes.len())) }
}
