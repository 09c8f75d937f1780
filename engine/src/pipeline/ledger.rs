//! The ledger: the one owner of pool and state, from a verified transaction to the new root.
//!
//! A block passes through it in steps, each a method, so that the caller can time them and put the journal between:
//!
//! ```text
//!   admit ... admit            verified transactions join the shard's set
//!   select                     the set's valid part at this slot, in ascending order of id
//!   build                      patch by execution, shard-block over both
//!   quilt                      patches merged and encoded                 (caller: journal, sync)
//!   apply                      the flat state changes; transactions are final
//!   seal                       touched paths hashed, new root
//! ```

use super::arena::{Arena, Handle};
use super::execute::{Executor, Selected};
use super::pool::{Pool, Refused};
use crate::accounts::columns::StateMemory;
use crate::accounts::quilt::Quilt;
use crate::accounts::state::{ApplyError, State};
use crate::base::hash::Hash;
use crate::base::ids::{AccountIndex, Key};
use crate::base::parameters::Chain;
use crate::base::prefetch::prefetch;
use crate::base::refusal::Refusal;
use crate::chain::block::{ShardBlock, transactions_root};
use crate::chain::patch::Patch;
use crate::transaction::cell::{TransactionKind, payload_outputs};
use crate::transaction::check::{check_expiry, cost};
use crate::transaction::item::transaction_bytes;
use crate::verify::account_key_acceptable;
use rayon::prelude::*;
use std::sync::Arc;

/// Verified transactions are looked up in groups of this size, so that the index's cache misses overlap.
const ADMIT_GROUP: usize = 64;

/// Pool, state and the buffers of the block in the making.
pub struct Ledger<M> {
    chain: Chain,
    arena: Arc<Arena>,
    state: State<M>,
    pool: Pool,
    executor: Executor,
    chains: Vec<(AccountIndex, Handle)>,
    block: Vec<Selected>,
    block_scratch: Vec<Selected>,
    recipients: Vec<Option<AccountIndex>>,
    ids: Vec<Hash>,
    patch: Patch,
    patch_bytes: Vec<u8>,
    quilt: Quilt,
    quilt_bytes: Vec<u8>,
}

impl<M: StateMemory> Ledger<M> {
    /// A ledger over this state, for transactions in this arena.
    pub fn new(chain: Chain, arena: Arc<Arena>, state: State<M>) -> Ledger<M> {
        let transactions_max = arena.slots() as usize;
        let block_max = transactions_max.min(chain.parameters.block_transactions_max as usize);
        Ledger {
            pool: Pool::with_capacity(transactions_max),
            executor: Executor::with_capacity(block_max),
            chains: Vec::with_capacity(transactions_max),
            block: Vec::with_capacity(block_max),
            block_scratch: Vec::with_capacity(block_max),
            recipients: Vec::with_capacity(block_max),
            ids: Vec::with_capacity(block_max),
            patch: Patch::default(),
            patch_bytes: Vec::new(),
            quilt: Quilt::default(),
            quilt_bytes: Vec::new(),
            chain,
            arena,
            state,
        }
    }

    /// Bytes of a ledger's buffers beside the state, for an arena of so many slots: pool, chains, block and its
    /// scratch, recipients, ids, sort columns (debit, credit), patch and quilt columns and their wire forms.
    pub fn bytes(slots: u32) -> u64 {
        let slots_long = u64::from(slots);
        let per_transaction = size_of::<(AccountIndex, Handle)>()
            + 2 * size_of::<Selected>()
            + size_of::<Option<AccountIndex>>()
            + 32
            + 2 * 16
            + 2 * 24
            + 2 * 16;
        Pool::bytes(slots as usize) + slots_long * per_transaction as u64
    }

    /// Accounts as the last block left them.
    pub fn state(&self) -> &State<M> {
        &self.state
    }

    /// The state, to replay a journal or to write a checkpoint.
    pub fn state_mut(&mut self) -> &mut State<M> {
        &mut self.state
    }

    /// Transactions that wait for a block.
    pub fn waiting(&self) -> usize {
        self.pool.len()
    }

    /// Takes verified transactions into the pool, in this order; whoever has to go is appended to `refused`.
    pub fn admit(&mut self, verified: &mut Vec<Handle>, refused: &mut Vec<Refused>) {
        let arena = &*self.arena;
        let here = verified.len() + self.pool.len() + refused.len();
        let mut accounts = [None; ADMIT_GROUP];
        let mut drained = verified.drain(..).peekable();
        let mut group: [Option<Handle>; ADMIT_GROUP] = [const { None }; ADMIT_GROUP];
        while drained.peek().is_some() {
            let mut count = 0;
            while count < ADMIT_GROUP
                && let Some(slot) = drained.next()
            {
                arena.prefetch(&slot);
                group[count] = Some(slot);
                count += 1;
            }
            let key = |i: usize| -> &Key { &arena.cell(group[i].as_ref().expect("filled above")).sender };
            self.state.find_all(count, key, &mut accounts[..count]);
            for account in accounts[..count].iter().flatten() {
                prefetch(self.state.hot(*account));
            }
            for (slot, account) in group[..count].iter_mut().zip(&accounts) {
                let slot = slot.take().expect("filled above");
                let Some(account) = *account else {
                    refused.push((slot, Refusal::UnknownSender));
                    continue;
                };
                let hot = self.state.hot(account);
                let cell = arena.cell(&slot);
                if !matches!(
                    TransactionKind::from_number(cell.kind),
                    Some(TransactionKind::Transfer | TransactionKind::MultiTransfer)
                ) {
                    refused.push((slot, Refusal::NeedsConsensus));
                    continue;
                }
                let cost = cost(cell, arena.payload(&slot), &self.chain.parameters);
                // Only the next one is held against the balance now: an earlier one may change it for a successor.
                if cell.sequence == u64::from(hot.sequence) && cost.map_or(true, |cost| cost.total() > hot.balance) {
                    refused.push((slot, Refusal::InsufficientBalance));
                    continue;
                }
                refused.extend(self.pool.admit(arena, slot, account, hot.sequence).err());
            }
        }
        assert_eq!(self.pool.len() + refused.len(), here, "what is verified waits in the pool or is refused");
    }

    /// Chooses the transactions of the next block at `slot`: one a sender, valid against the parent state, at most the
    /// chain's maximum (those with the lowest keyed hash of their sender under the parent's root stay in). Returns how
    /// many.
    ///
    /// # Panics
    /// When the last block has not been applied.
    pub fn select(&mut self, slot: u64, refused: &mut Vec<Refused>) -> usize {
        assert!(self.block.is_empty(), "the last block has been applied");
        let arena = self.arena.clone();
        let arena = &*arena;
        let state = &self.state;
        let here = self.pool.len() + refused.len();
        let mut rest = std::mem::take(&mut self.chains);
        self.pool.take_chains(&mut rest);
        const AHEAD: usize = 16;
        // From the back, so that entries can be popped while those to come are prefetched.
        while let Some((account, mut head)) = rest.pop() {
            if let Some(index) = rest.len().checked_sub(AHEAD) {
                arena.prefetch(&rest[index].1);
                prefetch(state.hot(rest[index].0));
            }
            let hot = state.hot(account);
            let cell = arena.cell(&head);
            let parameters = &self.chain.parameters;
            let spendable = cost(cell, arena.payload(&head), parameters).is_ok_and(|cost| cost.total() <= hot.balance);
            let refusal = match check_expiry(cell.expires_slot, parameters, state.header().slot) {
                Err(refusal) => Some(refusal),
                Ok(()) if cell.sequence < u64::from(hot.sequence) => Some(Refusal::WrongSequence),
                Ok(()) if cell.sequence > u64::from(hot.sequence) => {
                    self.pool.put_back(arena, account, head);
                    continue;
                }
                Ok(()) if !spendable => Some(Refusal::InsufficientBalance),
                Ok(()) => None,
            };
            if let Some(successor) = arena.note_mut(&mut head).successor.take() {
                self.pool.put_back(arena, account, successor);
            }
            match refusal {
                Some(refusal) => refused.push((head, refusal)),
                None => {
                    let id_start = u64::from_be_bytes(arena.note(&head).id[..8].try_into().expect("8 bytes"));
                    self.block.push(Selected { slot: head, id_start, recipient: None });
                }
            }
        }
        self.chains = rest;
        assert!(slot > state.header().slot, "slots go forward");
        self.limit();
        let by_id = |a: &Selected, b: &Selected| {
            a.id_start.cmp(&b.id_start).then_with(|| arena.note(&a.slot).id.cmp(&arena.note(&b.slot).id))
        };
        self.block.par_sort_unstable_by(by_id);
        self.resolve_recipients(refused);
        assert!(self.block.is_sorted_by(|a, b| by_id(a, b).is_lt()), "a block ascends by id, each id once");
        let there = self.block.len() + self.pool.len() + refused.len();
        assert_eq!(there, here, "what waited is in the block, waits on, or is refused");
        self.block.len()
    }

    /// Keeps the block within the chain's maximum; the rest goes back to the pool.
    fn limit(&mut self) {
        let max = self.chain.parameters.block_transactions_max as usize;
        if self.block.len() <= max {
            return;
        }
        let (arena, root) = (&*self.arena, self.state.header().root);
        let rank = |item: &Selected| crate::base::hash::keyed(&root, &arena.cell(&item.slot).sender);
        self.block.sort_by_cached_key(rank);
        for mut item in self.block.drain(max..) {
            let account = arena.note(&item.slot).account;
            // A successor may have gone back already: it joins again behind its predecessor.
            debug_assert!(arena.note_mut(&mut item.slot).successor.is_none());
            let sequence = self.state.hot(account).sequence;
            let displaced = self.pool.admit(arena, item.slot, account, sequence);
            assert!(displaced.is_ok(), "its place in the chain is free");
        }
    }

    /// Finds the account of every first output; transactions to new keys that cannot be accounts leave.
    fn resolve_recipients(&mut self, refused: &mut Vec<Refused>) {
        let (arena, state, block) = (&*self.arena, &self.state, &self.block);
        self.recipients.clear();
        self.recipients.resize(block.len(), None);
        self.recipients.par_chunks_mut(4096).enumerate().for_each(|(chunk, out)| {
            let start = chunk * 4096;
            state.find_all(out.len(), |i| &arena.cell(&block[start + i].slot).recipient, out);
        });
        for (item, recipient) in self.block.iter_mut().zip(&self.recipients) {
            item.recipient = *recipient;
        }
        let acceptable: Vec<bool> = self
            .block
            .par_iter()
            .with_min_len(256)
            .filter(|item| item.recipient.is_none() || arena.note(&item.slot).payload_bytes > 0)
            .map(|item| {
                let first = item.recipient.is_some() || account_key_acceptable(&arena.cell(&item.slot).recipient);
                let further = |key: &Key| state.find(key).is_some() || account_key_acceptable(key);
                first && payload_outputs(arena.payload(&item.slot)).all(|output| further(&output.recipient))
            })
            .collect();
        let mut room = state.columns().hot.len() as u64 - state.header().accounts;
        let mut acceptable = acceptable.into_iter();
        std::mem::swap(&mut self.block, &mut self.block_scratch);
        for item in self.block_scratch.drain(..) {
            let payload = arena.payload(&item.slot);
            if item.recipient.is_some() && payload.is_empty() {
                self.block.push(item);
                continue;
            }
            let new = u64::from(item.recipient.is_none())
                + payload_outputs(payload).filter(|output| state.find(&output.recipient).is_none()).count() as u64;
            if !acceptable.next().expect("one for each that was asked about") {
                refused.push((item.slot, Refusal::RecipientInvalid));
            } else if new > room {
                refused.push((item.slot, Refusal::StateFull));
            } else {
                room -= new;
                self.block.push(item);
            }
        }
        assert!(acceptable.next().is_none(), "what was asked about recipients is used, each answer once");
    }

    /// Executes the selected transactions and returns the shard-block over them.
    pub fn build(&mut self, slot: u64, shard: u32) -> ShardBlock {
        let header = self.state.header();
        let (height, parent_root) = (header.height + 1, header.root);
        assert!(slot > header.slot, "a block is of a later slot than its parent");
        let mut delta = std::mem::take(&mut self.patch.delta);
        self.executor.execute(&self.block, &self.arena, &self.state, &self.chain.parameters, &mut delta);
        self.patch = Patch { height, slot, shard, parent_root, delta, records: Vec::new() };
        self.patch_bytes.clear();
        self.patch.encode(&mut self.patch_bytes);
        self.ids.clear();
        self.ids.extend(self.block.iter().map(|item| self.arena.note(&item.slot).id));
        ShardBlock {
            parent_root,
            slot,
            shard,
            transactions: self.block.len() as u32,
            bytes: self.block.iter().map(|item| transaction_bytes(self.arena.note(&item.slot).payload_bytes)).sum(),
            transactions_root: transactions_root(&mut self.ids),
            patch_hash: Patch::hash(&self.patch_bytes),
        }
    }

    /// The transactions of the block in the making, in ascending order of id.
    pub fn block_transactions(&self) -> &[Selected] {
        &self.block
    }

    /// Where the transactions are.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Wire form of the last quilt.
    pub fn quilt_bytes(&self) -> &[u8] {
        &self.quilt_bytes
    }

    /// Turns the block's patch into the quilt and returns its wire form, for the log.
    pub fn quilt(&mut self) -> &[u8] {
        let spare = std::mem::take(&mut self.quilt.delta);
        let patch = std::mem::replace(&mut self.patch, Patch { delta: spare, ..Patch::default() });
        self.quilt = Quilt::from_patch(patch);
        let header = self.state.header();
        assert_eq!(self.quilt.height, header.height + 1, "a quilt is of the height after the state's");
        assert!(self.quilt.parent_root == header.root, "a quilt is made from the state that it changes");
        self.quilt_bytes.clear();
        self.quilt.encode(&mut self.quilt_bytes);
        &self.quilt_bytes
    }

    /// Applies the quilt and appends the block's transactions, now final, to `finals`.
    ///
    /// # Errors
    /// A quilt of our own that does not fit its own parent: the caller halts.
    pub fn apply(&mut self, finals: &mut Vec<Handle>) -> Result<(), ApplyError> {
        let debits = self.quilt.delta.debits.len();
        assert_eq!(debits, self.block.len(), "each transaction that becomes final has its sender's debit applied");
        self.state.apply(&self.quilt)?;
        finals.extend(self.block.drain(..).map(|item| item.slot));
        Ok(())
    }

    /// Hashes the touched paths and returns the new root.
    pub fn seal(&mut self) -> Hash {
        self.state.update_root()
    }

    /// Entries of the last quilt and bytes of its wire form.
    pub fn quilt_size(&self) -> (usize, usize) {
        (self.quilt.delta.entries(), self.quilt_bytes.len())
    }

    /// Empties the pool: every waiting transaction is appended to `out`.
    pub fn drain_pool(&mut self, out: &mut Vec<Handle>) {
        let here = self.pool.len() + out.len();
        self.pool.take_chains(&mut self.chains);
        for (_, head) in self.chains.drain(..) {
            let mut at = Some(head);
            while let Some(mut slot) = at {
                at = self.arena.note_mut(&mut slot).successor.take();
                out.push(slot);
            }
        }
        assert_eq!(out.len(), here, "every transaction that waited comes out of the pool");
    }
}
