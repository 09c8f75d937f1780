//! Key to account: open addressing with linear probing over 64-bit entries.
//!
//! ```text
//!   entry: [ tag : 32 | account + 1 : 32 ]     0 = free
//! ```
//!
//! A key's place is its keyed hash scaled to the table; the tag is the hash's low half, so a probe touches the key
//! column only for the right account (or one time in four thousand million for a wrong one).

use crate::base::ids::{AccountIndex, Key};
use crate::base::keyed_hash::{HashSeed, place};
use crate::base::prefetch::prefetch;

fn entry(hash: u64, account: AccountIndex) -> u64 {
    (hash << 32) | (u64::from(account) + 1)
}

/// A view of the table for look-ups.
pub struct Index<'a> {
    entries: &'a [u64],
    keys: &'a [Key],
    seed: &'a HashSeed,
}

impl<'a> Index<'a> {
    /// The table over these columns.
    pub fn new(entries: &'a [u64], keys: &'a [Key], seed: &'a HashSeed) -> Index<'a> {
        Index { entries, keys, seed }
    }

    /// The account of this key.
    #[inline]
    pub fn find(&self, key: &Key) -> Option<AccountIndex> {
        self.find_hashed(self.seed.hash(key), key)
    }

    #[inline]
    fn find_hashed(&self, hash: u64, key: &Key) -> Option<AccountIndex> {
        let mut at = place(hash, self.entries.len());
        for _ in 0..self.entries.len() {
            let found = self.entries[at];
            if found == 0 {
                return None;
            }
            if (found >> 32) as u32 == hash as u32 {
                let account = found as u32 - 1;
                if self.keys[account as usize] == *key {
                    return Some(account);
                }
            }
            at = if at + 1 == self.entries.len() { 0 } else { at + 1 };
        }
        None
    }

    /// Looks up `count` keys in groups, so that the table's and the key column's lines are fetched together.
    pub fn find_all<'k>(&self, count: usize, keys: impl Fn(usize) -> &'k Key, out: &mut [Option<AccountIndex>]) {
        const GROUP: usize = 32;
        let mut hashes = [0u64; GROUP];
        for start in (0..count).step_by(GROUP) {
            let end = (start + GROUP).min(count);
            for i in start..end {
                let hash = self.seed.hash(keys(i));
                hashes[i - start] = hash;
                prefetch(&self.entries[place(hash, self.entries.len())]);
            }
            for i in start..end {
                let found = self.entries[place(hashes[i - start], self.entries.len())];
                if found != 0 {
                    prefetch(&self.keys[found as u32 as usize - 1]);
                }
            }
            for i in start..end {
                out[i] = self.find_hashed(hashes[i - start], keys(i));
            }
        }
    }
}

/// Enters an account whose key stands in the key column; false when the key is there already.
///
/// # Panics
/// When the table is full: the layout gives it more entries than accounts.
pub fn insert(entries: &mut [u64], keys: &[Key], seed: &HashSeed, account: AccountIndex) -> bool {
    let key = &keys[account as usize];
    let hash = seed.hash(key);
    let mut at = place(hash, entries.len());
    for _ in 0..entries.len() {
        let found = entries[at];
        if found == 0 {
            entries[at] = entry(hash, account);
            return true;
        }
        if (found >> 32) as u32 == hash as u32 && keys[found as u32 as usize - 1] == *key {
            return false;
        }
        at = if at + 1 == entries.len() { 0 } else { at + 1 };
    }
    unreachable!("the index has more entries than accounts")
}

/// Fills the table from the first `accounts` keys.
///
/// # Errors
/// The account whose key is there already.
pub fn rebuild(entries: &mut [u64], keys: &[Key], accounts: usize, seed: &HashSeed) -> Result<(), AccountIndex> {
    assert!(entries.len() > accounts, "the index has more entries than accounts, so that each look-up ends");
    entries.fill(0);
    const AHEAD: usize = 16;
    for account in 0..accounts {
        if account + AHEAD < accounts {
            prefetch(&entries[place(seed.hash(&keys[account + AHEAD]), entries.len())]);
        }
        if !insert(entries, keys, seed, account as AccountIndex) {
            return Err(account as AccountIndex);
        }
    }
    Ok(())
}
