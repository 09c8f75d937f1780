//! The account state: flat columns, one entry an account, in order of creation.
//!
//! ```text
//!   hot    balance u64 | sequence u32 | last active slot u32      16 B   four to a cache line
//!   key    the account's public key                               32 B
//!   index  open-addressing table key -> account                   8 B x 3/2
//!   tree   16-wide hash tree, bottom groups of 8 accounts         4.3 B
//! ```
//!
//! The memory itself belongs to whoever implements [`StateMemory`]: the heap in tests and benches, mapped files in a
//! node. Invariants, checked where they are touched:
//!  1. `header.accounts` entries of `hot` and `key` are in use, the rest are zero.
//!  2. The index holds each used key once and nothing else.
//!  3. Balances and pool sum to the genesis supply and what was issued since.
//!  4. After [`State::update_root`] the tree is what a rebuild from the columns would give.

use super::columns::{Columns, Hot, StateHeader, StateMemory};
use super::index::{self, Index};
use super::memory::StateLayout;
use super::proof::AccountProof;
use super::quilt::Quilt;
use super::tree::{self, Dirty};
use crate::base::hash::Hash;
use crate::base::ids::{AccountIndex, Key};
use crate::base::keyed_hash::HashSeed;
use crate::base::mutation::{Mutation, planted};
use crate::base::prefetch::prefetch;
use crate::verify::account_key_acceptable;
use bytemuck::Zeroable;

/// Why accounts cannot be created.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// More accounts than the columns hold.
    #[error("{accounts} accounts do not fit the {accounts_max} that the state was laid out for")]
    TooMany {
        /// Accounts that were to be created.
        accounts: u64,
        /// Accounts that the columns have room for.
        accounts_max: u64,
    },
    /// One key twice.
    #[error("account {index} has the same key as an earlier one")]
    Repeated {
        /// Position of the second.
        index: u64,
    },
    /// The balances do not sum to the supply.
    #[error("the balances sum to {sum} units, the supply is {supply}")]
    Supply {
        /// Sum of the balances.
        sum: u128,
        /// What it must be.
        supply: u64,
    },
}

/// Why a quilt cannot be applied. A quilt of our own making never meets one of these: the node halts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The quilt is not for this height.
    #[error("the quilt is for height {quilt}, the state is at {state}")]
    Height {
        /// Height that the quilt is for.
        quilt: u64,
        /// Height that the state is at; the quilt's must be the next.
        state: u64,
    },
    /// The quilt's slot is not later than the state's, or beyond 32 bits.
    #[error("the quilt's slot {quilt} does not follow {state}")]
    Slot {
        /// Slot that the quilt is for.
        quilt: u64,
        /// Slot of the last block applied.
        state: u64,
    },
    /// The quilt is for a parent with another root.
    #[error("the quilt of height {height} is for another parent state")]
    Parent {
        /// The quilt's height.
        height: u64,
    },
    /// An index beyond the accounts in use.
    #[error("account {account} does not exist, there are {accounts}")]
    UnknownAccount {
        /// Index that no account in use has.
        account: AccountIndex,
        /// Accounts in use.
        accounts: u64,
    },
    /// A debit beyond the balance, or a sequence at its end.
    #[error("account {account} cannot be debited {amount} units")]
    Debit {
        /// Index of the account that cannot pay.
        account: AccountIndex,
        /// Units that the quilt takes from the account.
        amount: u64,
    },
    /// A credit beyond 64 bits.
    #[error("account {account} cannot be credited {amount} units")]
    Credit {
        /// Index of the account that cannot receive.
        account: AccountIndex,
        /// Units that the quilt gives to the account.
        amount: u64,
    },
    /// A new key that exists already.
    #[error("the new key at position {position} has an account already")]
    KeyExists {
        /// Position among the new keys.
        position: usize,
    },
    /// A new key that cannot be an account's.
    #[error("the new key at position {position} does not decode or is of small order")]
    KeyInvalid {
        /// Position among the new keys.
        position: usize,
    },
    /// No room for the new accounts.
    #[error("no room for {new} new accounts")]
    Full {
        /// How many accounts the quilt would create.
        new: usize,
    },
    /// The pool does not hold so much, or cannot take it.
    #[error("the pool holds {pool} units, {taken} go in and {released} come out")]
    Pool {
        /// What it holds.
        pool: u64,
        /// Units that go in.
        taken: u64,
        /// Units that come out.
        released: u64,
    },
    /// Debits and what the pool releases are not credits plus what it takes.
    #[error("debits of {debits} units against credits and fees of {credits}")]
    Supply {
        /// Sum of debits.
        debits: u128,
        /// Sum of credits and fees.
        credits: u128,
    },
}

/// What the pool holds after a quilt.
fn pool_after(pool: u64, quilt: &Quilt) -> Result<u64, ApplyError> {
    let (fees, Quilt { released, issued, .. }) = (quilt.delta.fees, quilt);
    let after = u128::from(pool) + u128::from(fees) + u128::from(*issued);
    let after = after.checked_sub(u128::from(*released)).and_then(|after| u64::try_from(after).ok());
    after.ok_or(ApplyError::Pool { pool, taken: fees, released: *released })
}

/// How many entries ahead a run over sorted indices prefetches.
const PREFETCH_AHEAD: usize = 24;

/// The state over some memory.
#[derive(Clone)]
pub struct State<M> {
    pub(super) memory: M,
    dirty: Dirty,
}

impl<M: StateMemory> State<M> {
    /// Fills fresh (zeroed) memory with the genesis accounts, in this order, and computes the root.
    ///
    /// # Errors
    /// Too many accounts, a repeated key, or balances that do not sum to `supply`.
    pub fn genesis(
        memory: M,
        accounts: &[(Key, u64)],
        supply: u64,
        index_seed: HashSeed,
    ) -> Result<State<M>, GenesisError> {
        Self::genesis_with_pool(memory, accounts, supply, 0, index_seed)
    }

    /// Like [`Self::genesis`], with a part of the supply in the pool: the stakes of the first minters.
    ///
    /// # Errors
    /// As there.
    pub fn genesis_with_pool(
        mut memory: M,
        accounts: &[(Key, u64)],
        supply: u64,
        pool: u64,
        index_seed: HashSeed,
    ) -> Result<State<M>, GenesisError> {
        let columns = memory.columns_mut();
        let accounts_max = columns.hot.len() as u64;
        if accounts.len() as u64 > accounts_max {
            return Err(GenesisError::TooMany { accounts: accounts.len() as u64, accounts_max });
        }
        let sum: u128 = accounts.iter().map(|account| u128::from(account.1)).sum::<u128>() + u128::from(pool);
        if sum != u128::from(supply) {
            return Err(GenesisError::Supply { sum, supply });
        }
        for (i, (key, balance)) in accounts.iter().enumerate() {
            columns.hot[i] = Hot { balance: *balance, ..Hot::default() };
            columns.key[i] = *key;
        }
        *columns.header = StateHeader { accounts: accounts.len() as u64, pool, index_seed, ..StateHeader::zeroed() };
        index::rebuild(columns.index, columns.key, accounts.len(), &index_seed)
            .map_err(|account| GenesisError::Repeated { index: u64::from(account) })?;
        let mut state = State { dirty: Dirty::new(accounts_max as usize), memory };
        state.rebuild_tree();
        Ok(state)
    }

    /// The state in memory that was filled before, for example by a checkpoint.
    pub fn reopen(memory: M) -> State<M> {
        State { dirty: Dirty::new(memory.columns().hot.len()), memory }
    }

    /// The memory, taken back.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// The memory, to write it out.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The memory, for whoever owns its files.
    pub fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// What is true of the whole.
    pub fn header(&self) -> &StateHeader {
        self.memory.columns().header
    }

    /// The columns, to read.
    pub fn columns(&self) -> Columns<'_> {
        self.memory.columns()
    }

    /// Index of the account with this key.
    pub fn find(&self, key: &Key) -> Option<AccountIndex> {
        let columns = self.memory.columns();
        Index::new(columns.index, columns.key, &columns.header.index_seed).find(key)
    }

    /// Looks up many keys at once, hiding the memory's latency: `out[i]` is the account of `keys(i)`.
    pub fn find_all<'k>(&self, count: usize, keys: impl Fn(usize) -> &'k Key, out: &mut [Option<AccountIndex>]) {
        let columns = self.memory.columns();
        Index::new(columns.index, columns.key, &columns.header.index_seed).find_all(count, keys, out);
    }

    /// The changing fields of an account in use.
    ///
    /// # Panics
    /// When the index is beyond the columns.
    pub fn hot(&self, account: AccountIndex) -> &Hot {
        &self.memory.columns().hot[account as usize]
    }

    /// Bytes of memory that the state takes, by the layout's sum.
    pub fn bytes(&self) -> u64 {
        StateLayout::new(self.memory.columns().hot.len() as u32).bytes() + self.dirty.bytes()
    }

    /// Balances and pool, summed: invariant 3.
    pub fn supply(&self) -> u128 {
        let columns = self.memory.columns();
        columns.hot.iter().map(|hot| u128::from(hot.balance)).sum::<u128>() + u128::from(columns.header.pool)
    }

    /// Whether [`Self::apply`] would succeed; reads only. For quilts from elsewhere.
    ///
    /// # Errors
    /// The first rule that the quilt breaks.
    pub fn validate(&self, quilt: &Quilt) -> Result<(), ApplyError> {
        let columns = self.memory.columns();
        let header = columns.header;
        if quilt.height != header.height + 1 {
            return Err(ApplyError::Height { quilt: quilt.height, state: header.height });
        }
        if quilt.slot <= header.slot || quilt.slot > u64::from(u32::MAX) {
            return Err(ApplyError::Slot { quilt: quilt.slot, state: header.slot });
        }
        if quilt.parent_root != header.root {
            return Err(ApplyError::Parent { height: quilt.height });
        }
        let accounts = header.accounts;
        let known = |account: AccountIndex| {
            if u64::from(account) < accounts { Ok(()) } else { Err(ApplyError::UnknownAccount { account, accounts }) }
        };
        for (account, amount) in quilt.delta.debits.iter() {
            known(account)?;
            let hot = &columns.hot[account as usize];
            if hot.balance < amount || hot.sequence == u32::MAX {
                return Err(ApplyError::Debit { account, amount });
            }
        }
        for (account, amount) in quilt.delta.credits.iter() {
            known(account)?;
            columns.hot[account as usize].balance.checked_add(amount).ok_or(ApplyError::Credit { account, amount })?;
        }
        let created = quilt.delta.created_keys.len();
        if accounts + created as u64 > columns.hot.len() as u64 {
            return Err(ApplyError::Full { new: created });
        }
        let index = Index::new(columns.index, columns.key, &header.index_seed);
        if let Some(position) = quilt.delta.created_keys.iter().position(|key| index.find(key).is_some()) {
            return Err(ApplyError::KeyExists { position });
        }
        if let Some(position) = quilt.delta.created_keys.iter().position(|key| !account_key_acceptable(key)) {
            return Err(ApplyError::KeyInvalid { position });
        }
        let (debits, credits) = quilt.sums();
        if debits != credits {
            return Err(ApplyError::Supply { debits, credits });
        }
        pool_after(header.pool, quilt).map(|_| ())
    }

    /// Applies a quilt: debits, credits, new accounts, header. New keys get the next indices, in sorted order. The root
    /// stays the parent's until [`Self::update_root`].
    ///
    /// # Errors
    /// A quilt that does not fit is half applied then: the caller stops, or has called [`Self::validate`] before.
    pub fn apply(&mut self, quilt: &Quilt) -> Result<(), ApplyError> {
        let before = *self.header();
        self.change(quilt)?;
        self.assert_followed(&before, quilt);
        Ok(())
    }

    fn change(&mut self, quilt: &Quilt) -> Result<(), ApplyError> {
        let columns = self.memory.columns_mut();
        let header = columns.header;
        if quilt.height != header.height + 1 {
            return Err(ApplyError::Height { quilt: quilt.height, state: header.height });
        }
        if quilt.slot <= header.slot || quilt.slot > u64::from(u32::MAX) {
            return Err(ApplyError::Slot { quilt: quilt.slot, state: header.slot });
        }
        let slot = quilt.slot as u32;
        let accounts = header.accounts as usize;
        let created = quilt.delta.created_keys.len();
        if accounts + created > columns.hot.len() {
            return Err(ApplyError::Full { new: created });
        }
        let unknown = |account| ApplyError::UnknownAccount { account, accounts: accounts as u64 };

        let hot = &mut columns.hot[..accounts];
        let debits = &quilt.delta.debits;
        for (i, (account, amount)) in debits.iter().enumerate() {
            if let Some(ahead) = debits.accounts.get(i + PREFETCH_AHEAD).and_then(|&ahead| hot.get(ahead as usize)) {
                prefetch(ahead);
            }
            let entry = hot.get_mut(account as usize).ok_or_else(|| unknown(account))?;
            let refused = || ApplyError::Debit { account, amount };
            entry.balance = entry.balance.checked_sub(amount).ok_or_else(refused)?;
            entry.sequence = entry.sequence.checked_add(1).ok_or_else(refused)?;
            entry.last_active_slot = slot;
        }
        let credits = &quilt.delta.credits;
        for (i, (account, amount)) in credits.iter().enumerate() {
            if let Some(ahead) = credits.accounts.get(i + PREFETCH_AHEAD).and_then(|&ahead| hot.get(ahead as usize)) {
                prefetch(ahead);
            }
            let entry = hot.get_mut(account as usize).ok_or_else(|| unknown(account))?;
            entry.balance = entry.balance.checked_add(amount).ok_or(ApplyError::Credit { account, amount })?;
            entry.last_active_slot = slot;
        }
        for (position, (key, &amount)) in quilt.delta.created_keys.iter().zip(&quilt.delta.created_amounts).enumerate()
        {
            let account = accounts + position;
            columns.key[account] = *key;
            columns.hot[account] = Hot { balance: amount, sequence: 0, last_active_slot: slot };
            if !index::insert(columns.index, columns.key, &header.index_seed, account as AccountIndex) {
                return Err(ApplyError::KeyExists { position });
            }
        }
        header.accounts += if planted(Mutation::CreatedNotCounted) { 0 } else { created as u64 };
        header.height = quilt.height;
        header.slot = quilt.slot;
        header.pool = pool_after(header.pool, quilt)?;

        let touched = debits.accounts.iter().chain(&credits.accounts).copied();
        self.dirty.mark(touched.chain(accounts as u32..(accounts + created) as u32));
        Ok(())
    }

    /// What is true of the state after a quilt that fitted, seen from the state before it.
    fn assert_followed(&self, before: &StateHeader, quilt: &Quilt) {
        let (header, created) = (self.header(), &quilt.delta.created_keys);
        assert_eq!(header.height, before.height + 1, "a state is of the height after the one before it");
        assert!(header.slot > before.slot, "and of a later slot");
        let accounts = before.accounts + created.len() as u64;
        assert_eq!(header.accounts, accounts, "the accounts in use are those before and those created: invariant 1");
        let newest = created.last().map(|key| self.find(key));
        let last = (accounts as AccountIndex).wrapping_sub(1);
        assert!(newest.is_none_or(|found| found == Some(last)), "the index finds the newest account: invariant 2");
        let out_of_pool = u128::from(header.pool) + u128::from(quilt.released);
        let into_pool = u128::from(before.pool) + u128::from(quilt.delta.fees) + u128::from(quilt.issued);
        assert_eq!(out_of_pool, into_pool, "the pool loses what it releases and gains what it takes: invariant 3");
        assert!(!self.dirty.is_clean(), "a state that has changed has another root: invariant 4");
    }

    /// Recomputes the touched paths of the tree and returns the new root.
    pub fn update_root(&mut self) -> Hash {
        tree::update(&mut self.memory.columns_mut(), &mut self.dirty)
    }

    /// Whether the header's root is that of the newest quilt.
    pub fn root_known(&self) -> bool {
        self.dirty.is_clean()
    }

    /// The proof of an account in use against the root of the last [`Self::update_root`]; none beyond those in use.
    ///
    /// # Panics
    /// When the tree is not up to date.
    pub fn prove(&self, account: AccountIndex) -> Option<AccountProof> {
        assert!(self.dirty.is_clean(), "the root was updated after the last quilt");
        let columns = self.memory.columns();
        (u64::from(account) < columns.header.accounts).then(|| AccountProof::of(&columns, account))
    }

    /// Recomputes the whole tree from the columns and returns the root.
    pub fn rebuild_tree(&mut self) -> Hash {
        let accounts = self.header().accounts as u32;
        self.dirty.mark(0..accounts);
        self.update_root()
    }
}
