//! What may stand in a shard-block, the block of a set of items, and the check of another shard's block.
//!
//! Everything is decided by the parent's state and system alone: a sender acts once a block, and nothing in a block
//! builds on anything else in it, so its items have no order.

use super::block::{CertifiedBlock, ShardBlock, transactions_root};
use super::patch::Patch;
use super::record::{Alert, Attest, Invalid, Record};
use super::tables::{ANCESTORS, EVIDENCE_HEIGHTS, ImmatureBlock, System};
use crate::accounts::columns::StateMemory;
use crate::accounts::delta::{DeltaBuilder, DeltaError};
use crate::accounts::state::State;
use crate::base::hash::{Hash, keyed};
use crate::base::ids::{AccountIndex, Key};
use crate::base::mutation::{Mutation, planted};
use crate::base::parameters::Chain;
use crate::committee::members::{SHARD_MINTERS, record_shards, shard_of};
use crate::committee::quorum::shard_quorum;
use crate::committee::statement::Certificate;
use crate::transaction::cell::{Cell, Kind, NAME_BYTES_MAX, payload_outputs};
use crate::transaction::check::{Cost, check, check_expiry, check_form, cost};
use crate::transaction::item::transaction_of;
use crate::transaction::item::{Item, Items, TRANSACTION_BYTES_MAX};
use crate::verify::account_key_acceptable;
use crate::vote::signing::Signing;
use hashbrown::HashSet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Transactions of a shard-block that cost a pairing at most.
pub const HEAVY_MAX: usize = 64;
/// Stake and Unstake may name one of so many last blocks; a few more are remembered, for who judges them later.
const ANCESTORS_NAMED: usize = ANCESTORS - 4;
/// Bytes of a shard-block's items at most.
pub const BLOCK_BYTES_MAX: usize = 32 << 20;

/// A parent, as blocks are judged by it.
pub struct View<'a, M> {
    /// The chain.
    pub chain: &'a Chain,
    /// Accounts.
    pub state: &'a State<M>,
    /// Everything else.
    pub system: &'a System,
    /// Checks what minters have signed.
    pub signing: &'a dyn Signing,
    /// Whether a transaction's own signature holds. Whoever calls has checked most of them before, in batches.
    pub genuine: &'a dyn Fn(&Item) -> bool,
    /// Transactions of the shard that is built that are known to be valid on this parent, signatures and all, ascending
    /// by id. Building takes that word.
    pub judged: &'a [Judged],
}

/// What [`View::judge`] has said of a transaction, signature and all.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Its id.
    pub id: Hash,
    /// The sender's account.
    pub account: AccountIndex,
    /// What it takes from the sender.
    pub cost: Cost,
}

/// A transaction that may stand in a block: what building needs of it.
pub struct Transaction<'a> {
    /// Its kind.
    pub kind: Kind,
    /// First output.
    pub amount: u64,
    /// Where that goes.
    pub recipient: Key,
    /// Its payload.
    pub payload: &'a [u8],
    /// The sender's account.
    pub account: AccountIndex,
    /// What it takes from the sender.
    pub cost: Cost,
}

impl<'a> Transaction<'a> {
    fn of(cell: &Cell, payload: &'a [u8], account: AccountIndex, cost: Cost) -> Option<Transaction<'a>> {
        let kind = Kind::from_number(cell.kind)?;
        Some(Transaction { kind, amount: cell.amount, recipient: cell.recipient, payload, account, cost })
    }
}

/// An item that may stand in a block.
pub enum Valid<'a> {
    /// A transaction.
    Transaction(Box<Transaction<'a>>),
    /// A record of its own.
    Record(Record),
}

/// A shard-block of our own.
#[derive(Clone, Debug)]
pub struct Built {
    /// The header.
    pub block: ShardBlock,
    /// What is in it, ascending by id.
    pub items: Items,
    /// Wire form of the patch.
    pub patch: Vec<u8>,
}

/// Why another shard's patch is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchFault {
    /// The bytes are no patch.
    #[error(transparent)]
    Form(#[from] DeltaError),
    /// It is not the patch of this header, or not on this parent.
    #[error("the patch is not that of its header")]
    Header,
    /// A debit that the account does not cover, of an account that there is not, or of another shard's.
    #[error("account {0} cannot be debited so")]
    Debit(AccountIndex),
    /// A credit to an account that there is not.
    #[error("account {0} does not exist")]
    Credit(AccountIndex),
    /// A new key that has an account or cannot be one's, or too many of them.
    #[error("new key {0} cannot become an account")]
    Created(usize),
    /// It makes money, or loses it.
    #[error("{debits} units are debited, {credits} arrive")]
    Sum {
        /// Debited.
        debits: u128,
        /// Credited, locked and paid as fees.
        credits: u128,
    },
    /// A record that is not true, not this shard's, or one too many.
    #[error("record {0} is not admissible")]
    Record(usize),
}

impl<M: StateMemory> View<'_, M> {
    /// What an item is, if it may stand in the next block of this shard. Whether a transaction is genuine is not asked
    /// here.
    pub fn valid<'i>(&self, shard: usize, item: &'i Item) -> Option<Valid<'i>> {
        let shards = self.system.committee.shards.len();
        if let Some((cell, payload)) = transaction_of(item) {
            if shard_of(&self.system.seed, &cell.sender, shards) != shard {
                return None;
            }
            return self.transaction(cell, payload).map(|transaction| Valid::Transaction(Box::new(transaction)));
        }
        let record = Record::of_item(item)?;
        (self.admits(shard, &record, &item.id) && self.record_holds(&record)).then_some(Valid::Record(record))
    }

    /// Whether this shard is one of those for the record. One that ends a fraud may stand anywhere.
    fn admits(&self, shard: usize, record: &Record, id: &Hash) -> bool {
        let anywhere = matches!(record, Record::Invalid(_) | Record::Alert(_));
        anywhere || record_shards(&self.system.seed, id, self.system.committee.shards.len()).any(|of| of == shard)
    }

    fn transaction<'i>(&self, cell: Cell, payload: &'i [u8]) -> Option<Transaction<'i>> {
        let account = self.state.find(&cell.sender)?;
        self.transaction_of(cell, payload, account)
    }

    /// What a transaction of this account takes, if it may stand in the next block of this shard: as [`Self::valid`],
    /// for whoever knows the sender's account.
    pub fn judge(&self, shard: usize, item: &Item, account: AccountIndex) -> Option<Cost> {
        let (cell, payload) = transaction_of(item)?;
        let of_shard = shard_of(&self.system.seed, &cell.sender, self.system.committee.shards.len()) == shard;
        let right = of_shard && self.state.columns().key[account as usize] == cell.sender;
        self.transaction_of(cell, payload, account).filter(|_| right).map(|transaction| transaction.cost)
    }

    /// Whether the chain's tables let a transaction of this account, whose turn has come, into a block, as far as that
    /// is cheap to say: a stake's proof of possession is not looked at. What is refused here would wait until it
    /// expires.
    pub fn fits(&self, item: &Item, account: AccountIndex) -> bool {
        let Some((cell, payload)) = transaction_of(item) else { return false };
        let acceptable = |key: &Key| self.state.find(key).is_some() || account_key_acceptable(key);
        match Kind::from_number(cell.kind) {
            Some(Kind::Transfer | Kind::MultiTransfer) => {
                acceptable(&cell.recipient) && payload_outputs(payload).all(|output| acceptable(&output.recipient))
            }
            Some(kind) => self.tables_fit(kind, &cell, payload, account),
            None => false,
        }
    }

    fn tables_fit(&self, kind: Kind, cell: &Cell, payload: &[u8], account: AccountIndex) -> bool {
        let system = self.system;
        let named = |hash: &Hash| *hash == cell.recipient;
        let ancestor = || named(&system.hash) || system.ancestors.iter().take(ANCESTORS_NAMED).any(named);
        match kind {
            Kind::Transfer | Kind::MultiTransfer => true,
            Kind::Register => {
                !system.names.names.contains_key(&account) && !system.names.accounts.contains_key(payload)
            }
            Kind::Stake => payload.split_first_chunk::<96>().is_some_and(|(key, _)| {
                let registered = system.names.names.contains_key(&account) && !system.barred.contains_key(&account);
                registered && system.stakers.get(&account).is_none_or(|staker| *staker.key == *key) && ancestor()
            }),
            Kind::Unstake => ancestor() && system.stake(account) >= cell.amount,
        }
    }

    fn transaction_of<'i>(&self, cell: Cell, payload: &'i [u8], account: AccountIndex) -> Option<Transaction<'i>> {
        let (system, parameters) = (self.system, &self.chain.parameters);
        let cost = check(&cell, payload, parameters, system.slot).ok()?;
        let hot = self.state.hot(account);
        if cell.sequence != u64::from(hot.sequence) || cost.total() > hot.balance {
            return None;
        }
        let kind = Kind::from_number(cell.kind)?;
        let mut right = self.tables_fit(kind, &cell, payload, account);
        if right && kind == Kind::Stake {
            let (key, possession) = payload.split_first_chunk::<96>()?;
            right = self.signing.possession_holds(key, possession.try_into().ok()?);
        }
        if right { Transaction::of(&cell, payload, account, cost) } else { None }
    }

    fn certified(&self, attest: &Attest) -> bool {
        let Some(committee) = self.system.committee_of(attest.height) else { return false };
        let Some(seats) = committee.shards.get(usize::from(attest.shard)) else { return false };
        let Certificate { signers, .. } = &attest.certificate;
        signers.iter().all(|seat| seats.contains(&seat))
            && attest.certificate.verify(
                committee,
                shard_quorum(seats.len()),
                &attest.digest(&self.chain.genesis_hash),
                self.signing,
            )
    }

    /// Whether this block's effects can still be stopped.
    fn is_immature(&self, attest: &Attest) -> bool {
        let found = self.system.immature_block(&attest.block);
        found.is_some_and(|(height, block)| (height, block.shard) == (attest.height, attest.shard))
    }

    /// Whether a record that proves itself is true, news, and of use on this parent.
    pub fn record_holds(&self, record: &Record) -> bool {
        let (system, signing, chain) = (self.system, self.signing, &self.chain.genesis_hash);
        match record {
            Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. } => false,
            Record::Answer(answer) => {
                answer.height == system.height + 2
                    && answer.drawn_by == system.hash
                    && system.drawn.contains(&answer.candidate)
                    && signing.verify(
                        answer.candidate,
                        &super::record::Answer::seed_digest(chain, answer.height),
                        &answer.answer,
                    )
                    && signing.verify(answer.candidate, &answer.digest(chain), &answer.signature)
            }
            Record::Fraud(evidence) => {
                let timely = evidence.height <= system.height + 1 && evidence.height + EVIDENCE_HEIGHTS > system.height;
                timely
                    && system.stakers.contains_key(&evidence.candidate)
                    && !system.barred.contains_key(&evidence.candidate)
                    && evidence.verify(chain, signing)
            }
            Record::Invalid(invalid) => self.invalid_holds(invalid),
            Record::Alert(alert) => self.alert_holds(alert),
            Record::Attest(attest) => {
                let minted = system.minted.get(usize::from(attest.shard)).copied().flatten();
                attest.height == system.height
                    && minted.is_some_and(|minted| (minted.block, minted.slot) == (attest.block, attest.slot))
                    && self.certified(attest)
            }
        }
    }

    fn invalid_holds(&self, invalid: &Invalid) -> bool {
        let Invalid { attest, header, place, path, item } = invalid;
        let never_valid = self.never_valid(item);
        self.is_immature(attest)
            && header.hash() == attest.block
            && header.holds(&item.id, *place, path)
            && never_valid
            && self.certified(attest)
    }

    fn alert_holds(&self, alert: &Alert) -> bool {
        let (system, chain) = (self.system, &self.chain.genesis_hash);
        let Alert { attest, alarms, height, not_served } = alert;
        let Some((_, block)) = system.immature_block(&attest.block) else { return false };
        let digest = Alert::alarm_digest(chain, attest);
        let alarmed = alarms.is_sorted_by(|a, b| a.0 < b.0)
            && alarms.iter().all(|(candidate, signature)| {
                block.custodians.contains(candidate) && self.signing.verify(*candidate, &digest, signature)
            });
        let Some(committee) = system.committee_of(*height) else { return false };
        self.is_immature(attest)
            && *height > attest.height
            && alarmed
            && not_served.verify_master(committee, &Alert::not_served_digest(chain, *height, attest), self.signing)
            && self.certified(attest)
    }

    /// Accounts that one shard may open in a block: its part of the room that is left, with what is not mature counted.
    fn room(&self) -> u64 {
        let blocks = self.system.immature.iter().flat_map(|immature| &immature.blocks);
        let coming: usize = blocks.map(|block| block.patch.delta.created_keys.len()).sum();
        let room =
            self.chain.parameters.consensus.accounts_max.saturating_sub(self.state.header().accounts + coming as u64);
        room / self.system.committee.shards.len().max(1) as u64
    }

    /// The block of these items, ascending by id: what is invalid is left out; of one sender, and of one object, the
    /// lowest id stays; over capacity, those whose sender has the lowest hash under the parent.
    pub fn build(&self, shard: usize, slot: u64, items: &Items) -> Built {
        let mut senders = HashSet::with_capacity(items.len());
        let mut objects = Objects::default();
        let mut records: Vec<(usize, Record)> = Vec::new();
        let mut transactions: Vec<(usize, Transaction<'_>)> = Vec::with_capacity(items.len());
        let mut judged = self.judged.iter().peekable();
        for (place, item) in items.iter().enumerate() {
            while judged.next_if(|judged| judged.id < item.id).is_some() {}
            if let Some(judged) = judged.next_if(|judged| judged.id == item.id)
                && let Some((cell, payload)) = transaction_of(item)
            {
                if senders.insert(judged.account) {
                    transactions.extend(
                        Transaction::of(&cell, payload, judged.account, judged.cost)
                            .map(|transaction| (place, transaction)),
                    );
                }
                continue;
            }
            match self.valid(shard, item) {
                Some(Valid::Record(record)) if objects.admit(&record) => records.push((place, record)),
                Some(Valid::Transaction(transaction))
                    if !senders.contains(&transaction.account) && (self.genuine)(item) =>
                {
                    senders.insert(transaction.account);
                    transactions.push((place, *transaction));
                }
                _ => {}
            }
        }
        self.limit(items, &mut transactions);
        let mut delta = DeltaBuilder::default();
        let mut patch = self.empty_patch(shard, slot);
        let mut places: Vec<usize> = records.iter().map(|entry| entry.0).collect();
        patch.records.extend(records.into_iter().map(|entry| entry.1));
        let mut recipients = vec![None; transactions.len()];
        self.state.find_all(transactions.len(), |i| &transactions[i].1.recipient, &mut recipients);
        let mut room = self.room();
        for ((place, transaction), recipient) in transactions.iter().zip(recipients) {
            if self.effect(&items[*place], transaction, recipient, &mut room, &mut delta, &mut patch) {
                places.push(*place);
            }
        }
        delta.finish(&mut patch.delta);
        patch.records.sort_by_cached_key(Record::to_bytes);
        places.sort_unstable();
        let whole = places.len() == items.len();
        let items: Items =
            if whole { items.clone() } else { places.into_iter().map(|place| items[place].clone()).collect() };
        let mut bytes = Vec::new();
        patch.encode(&mut bytes);
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id).collect();
        let block = ShardBlock {
            parent_root: patch.parent_root,
            slot,
            shard: shard as u32,
            transactions: items.len() as u32,
            transactions_root: transactions_root(&mut ids),
            patch_hash: Patch::hash(&bytes),
        };
        Built { block, items, patch: bytes }
    }

    fn empty_patch(&self, shard: usize, slot: u64) -> Patch {
        let (height, parent_root) = (self.system.height + 1, self.state.header().root);
        Patch { height, slot, shard: shard as u32, parent_root, ..Patch::default() }
    }

    /// Keeps the transactions within the chain's maximum, the bytes of a block, and the pairings that a node can
    /// afford.
    fn limit(&self, items: &Items, transactions: &mut Vec<(usize, Transaction<'_>)>) {
        let max = self.chain.parameters.block_transactions_max as usize;
        let heavy = |transaction: &Transaction<'_>| transaction.kind == Kind::Stake;
        let bytes: usize = transactions.iter().map(|entry| items[entry.0].bytes.len()).sum();
        let pairings = transactions.iter().filter(|entry| heavy(&entry.1)).count();
        if transactions.len() <= max && bytes <= BLOCK_BYTES_MAX && pairings <= HEAVY_MAX {
            return;
        }
        let (root, keys) = (self.state.header().root, self.state.columns().key);
        transactions.sort_by_cached_key(|(_, transaction)| keyed(&root, &keys[transaction.account as usize]));
        let (mut count, mut bytes, mut pairings) = (0, 0, 0);
        transactions.retain(|(place, transaction)| {
            let (more, heavier) = (bytes + items[*place].bytes.len(), pairings + usize::from(heavy(transaction)));
            let fits = count < max && more <= BLOCK_BYTES_MAX && heavier <= HEAVY_MAX;
            if fits {
                (count, bytes, pairings) = (count + 1, more, heavier);
            }
            fits
        });
        transactions.sort_unstable_by_key(|entry| entry.0);
    }

    /// Enters a transaction's effect; false if a recipient cannot become an account.
    fn effect(
        &self,
        item: &Item,
        transaction: &Transaction<'_>,
        recipient: Option<AccountIndex>,
        room: &mut u64,
        delta: &mut DeltaBuilder,
        patch: &mut Patch,
    ) -> bool {
        let Transaction { kind, amount, recipient: key, payload, account, cost } = transaction;
        match kind {
            Kind::Transfer | Kind::MultiTransfer => {
                let further: Vec<_> =
                    payload_outputs(payload).map(|output| (self.state.find(&output.recipient), output)).collect();
                let mut new = further
                    .iter()
                    .filter(|(known, _)| known.is_none())
                    .map(|(_, output)| &output.recipient)
                    .collect::<Vec<_>>();
                new.extend(recipient.is_none().then_some(key));
                if new.len() as u64 > *room || !new.iter().all(|key| account_key_acceptable(key)) {
                    return false;
                }
                *room -= new.len() as u64;
                delta.credit(recipient, key, *amount);
                further.iter().for_each(|(known, output)| delta.credit(*known, &output.recipient, output.amount));
                patch.delta.fees += cost.fee;
            }
            Kind::Register => {
                debug_assert!(payload.len() <= NAME_BYTES_MAX);
                patch.records.push(Record::Register { account: *account, id: item.id, name: payload.to_vec() });
            }
            Kind::Stake => {
                let (key, possession) = payload.split_first_chunk::<96>().expect("checked");
                let possession = Box::new(possession.try_into().expect("checked"));
                patch.records.push(Record::Stake {
                    account: *account,
                    amount: *amount,
                    key: Box::new(*key),
                    possession,
                });
            }
            Kind::Unstake => patch.records.push(Record::Unstake { account: *account, amount: *amount }),
        }
        delta.debits.push((*account, cost.total()));
        true
    }

    /// What is checked of another shard's patch before its block counts as held: with it a captured shard can take from
    /// its own accounts until the ban, but never make money, and never touch another shard's.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn patch_holds(&self, block: &ShardBlock, bytes: &[u8]) -> Result<Patch, PatchFault> {
        if block.patch_hash != Patch::hash(bytes) {
            return Err(PatchFault::Header);
        }
        // Entries are bounded by the bytes that they stand in, and those by what a message may have.
        let patch = Patch::decode(bytes, u32::MAX as usize)?;
        let header = self.state.header();
        let place = (patch.height, patch.slot, patch.shard, patch.parent_root);
        let in_time = block.slot > self.system.slot && block.slot <= u64::from(u32::MAX);
        if place != (self.system.height + 1, block.slot, block.shard, header.root)
            || block.parent_root != header.root
            || !in_time
        {
            return Err(PatchFault::Header);
        }
        if planted(Mutation::PatchNotChecked) {
            return Ok(patch);
        }
        let shards = self.system.committee.shards.len();
        let columns = self.state.columns();
        for (account, amount) in patch.delta.debits.iter() {
            let known = u64::from(account) < header.accounts;
            let right = known && {
                let hot = &columns.hot[account as usize];
                let of_shard =
                    shard_of(&self.system.seed, &columns.key[account as usize], shards) == block.shard as usize;
                of_shard && amount <= hot.balance && hot.sequence < u32::MAX - 1
            };
            if !right {
                return Err(PatchFault::Debit(account));
            }
        }
        if let Some((account, _)) = patch.delta.credits.iter().find(|entry| u64::from(entry.0) >= header.accounts) {
            return Err(PatchFault::Credit(account));
        }
        let created = &patch.delta.created_keys;
        if created.len() as u64 > self.room() {
            return Err(PatchFault::Created(created.len()));
        }
        if let Some(place) =
            created.iter().position(|key| !account_key_acceptable(key) || self.state.find(key).is_some())
        {
            return Err(PatchFault::Created(place));
        }
        let locked = self.records_admissible(block.shard as usize, &patch)?;
        let (debits, credits) = patch.delta.sums();
        let credits = credits + locked;
        if debits != credits || debits > u128::from(crate::base::parameters::SUPPLY_GENESIS) {
            return Err(PatchFault::Sum { debits, credits });
        }
        Ok(patch)
    }

    /// Whether a certified block counts as held: in quilt mode if its patch breaks no rule; else if building its items,
    /// each once, gives this very block, whose patch then breaks none either.
    pub fn block_holds(&self, block: &CertifiedBlock, quilt_mode: bool, build: impl FnOnce() -> Arc<Built>) -> bool {
        if self.patch_holds(&block.block, &block.patch).is_err() {
            return false;
        }
        quilt_mode || {
            let ascending = block.items.is_sorted_by(|a, b| a.id < b.id);
            ascending && {
                let built = build();
                built.block == block.block && built.patch == block.patch && built.items.len() == block.items.len()
            }
        }
    }

    /// Checks a patch's records, and returns what they lock and stake.
    fn records_admissible(&self, shard: usize, patch: &Patch) -> Result<u128, PatchFault> {
        let system = self.system;
        let reserve = self.chain.parameters.consensus.register_reserve;
        let mut locked: BTreeMap<AccountIndex, u64> = BTreeMap::new();
        let mut objects = Objects::default();
        let mut pairings = 0;
        for (place, record) in patch.records.iter().enumerate() {
            let own = match record {
                Record::Register { account, .. } => Some((account, reserve, !system.names.names.contains_key(account))),
                Record::Stake { account, amount, key, possession } => {
                    pairings += 1;
                    let same_key = system.stakers.get(account).is_none_or(|staker| staker.key == *key);
                    let may = system.names.names.contains_key(account)
                        && !system.barred.contains_key(account)
                        && pairings <= HEAVY_MAX;
                    Some((
                        account,
                        *amount,
                        may && same_key && *amount > 0 && self.signing.possession_holds(key, possession),
                    ))
                }
                Record::Unstake { account, amount } => {
                    Some((account, 0, *amount > 0 && system.stake(*account) >= *amount))
                }
                _ => None,
            };
            let right = match own {
                // A transaction's record stands for its sender's one debit, and its only one.
                Some((account, debit, right)) => {
                    let debited = patch
                        .delta
                        .debits
                        .accounts
                        .binary_search(account)
                        .map(|place| patch.delta.debits.amounts[place]);
                    right && debited == Ok(debit) && locked.insert(*account, debit).is_none()
                }
                None => {
                    let id = record.item().id;
                    objects.admit(record) && self.admits(shard, record, &id) && self.record_holds(record)
                }
            };
            if !right {
                return Err(PatchFault::Record(place));
            }
        }
        // A debit of nothing is a sequence's step, and only an unstake makes one.
        if let Some((account, _)) =
            patch.delta.debits.iter().find(|(account, amount)| *amount == 0 && !locked.contains_key(account))
        {
            return Err(PatchFault::Debit(account));
        }
        Ok(locked.values().map(|&amount| u128::from(amount)).sum())
    }
}

/// What items are that are said to be those of a shard-block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Its items, and they make its patch.
    Whole,
    /// Its items, and the one at this place no state makes valid.
    Invalid(usize),
    /// Not its items, or they do not make its patch: as good as none.
    Other,
}

impl<M: StateMemory> View<'_, M> {
    /// Whether an item is one that no state makes valid.
    fn never_valid(&self, item: &Item) -> bool {
        match transaction_of(item) {
            Some((cell, payload)) => {
                check_form(&cell, payload, &self.chain.parameters).is_err() || !(self.genuine)(item)
            }
            None => Record::of_item(item).is_none(),
        }
    }

    /// Judges what was served as the items of a final shard-block that is not mature. By then the parent's balances are
    /// gone; what they had to cover was checked with the patch. What is left: that each change has its signed
    /// transaction.
    pub fn bodies(&self, height: u64, block: &ImmatureBlock, items: &[Arc<Item>]) -> Bodies {
        let mut ids: Vec<Hash> = items.iter().map(|item| item.id).collect();
        let ascending = ids.is_sorted_by(|a, b| a < b) && ids.len() == block.header.transactions as usize;
        if !ascending || transactions_root(&mut ids) != block.header.transactions_root {
            return Bodies::Other;
        }
        if let Some(place) = items.iter().position(|item| self.never_valid(item)) {
            // A proof must fit an item: what is longer than any transaction counts as not shown.
            return if items[place].bytes.len() <= TRANSACTION_BYTES_MAX {
                Bodies::Invalid(place)
            } else {
                Bodies::Other
            };
        }
        if self.explains(height, block, items) { Bodies::Whole } else { Bodies::Other }
    }

    /// Whether these items, all of them well formed and genuine, change what the patch changes, and nothing else.
    fn explains(&self, height: u64, block: &ImmatureBlock, items: &[Arc<Item>]) -> bool {
        let patch = &*block.patch;
        let of_height = self.system.immature.iter().find(|immature| immature.height == height);
        let Some(parent_slot) = of_height.map(|immature| immature.parent_slot) else { return false };
        let keys = self.state.columns().key;
        let mut records = BTreeSet::new();
        let mut debits: BTreeMap<AccountIndex, u64> = BTreeMap::new();
        let mut paid: BTreeMap<Key, u128> = BTreeMap::new();
        let mut fees = 0u64;
        for item in items {
            let Some((cell, payload)) = transaction_of(item) else {
                records.insert(item.bytes.clone());
                continue;
            };
            let Ok(cost) = cost(&cell, payload, &self.chain.parameters) else { return false };
            let Some(account) = self.state.find(&cell.sender) else { return false };
            // Steps of this account since: in this block, and in later ones.
            let later = self
                .system
                .immature
                .iter()
                .filter(|immature| immature.height > height)
                .flat_map(|immature| &immature.blocks);
            let steps = 1 + later
                .filter(|later| later.patch.delta.debits.accounts.binary_search(&account).is_ok())
                .count() as u64;
            let replayed = cell.sequence.checked_add(steps) != Some(u64::from(self.state.hot(account).sequence));
            let expired = check_expiry(cell.expires_slot, &self.chain.parameters, parent_slot).is_err();
            let staking = matches!(Kind::from_number(cell.kind), Some(Kind::Stake | Kind::Unstake));
            let strange =
                staking && cell.recipient != self.system.hash && !self.system.ancestors.contains(&cell.recipient);
            if replayed || expired || strange || debits.insert(account, cost.total()).is_some() {
                return false;
            }
            match Kind::from_number(cell.kind) {
                Some(Kind::Transfer | Kind::MultiTransfer) => {
                    *paid.entry(cell.recipient).or_insert(0) += u128::from(cell.amount);
                    payload_outputs(payload)
                        .for_each(|output| *paid.entry(output.recipient).or_insert(0) += u128::from(output.amount));
                    fees += cost.fee;
                }
                Some(Kind::Register) => {
                    records.insert(Record::Register { account, id: item.id, name: payload.to_vec() }.to_bytes());
                }
                Some(Kind::Stake) => {
                    let Some((key, possession)) = payload.split_first_chunk::<96>() else { return false };
                    let Ok(possession) = possession.try_into() else { return false };
                    let (key, possession) = (Box::new(*key), Box::new(possession));
                    records.insert(Record::Stake { account, amount: cell.amount, key, possession }.to_bytes());
                }
                Some(Kind::Unstake) => {
                    records.insert(Record::Unstake { account, amount: cell.amount }.to_bytes());
                }
                None => return false,
            }
        }
        let mut received: BTreeMap<Key, u128> = BTreeMap::new();
        let credits = patch.delta.credits.iter().map(|(account, amount)| (keys[account as usize], amount));
        let created = patch.delta.created_keys.iter().copied().zip(patch.delta.created_amounts.iter().copied());
        credits.chain(created).for_each(|(key, amount)| *received.entry(key).or_insert(0) += u128::from(amount));
        debits.into_iter().eq(patch.delta.debits.iter())
            && paid == received
            && fees == patch.delta.fees
            && records.into_iter().eq(patch.records.iter().map(Record::to_bytes))
    }
}

/// The objects of a block's records: of answers one a candidate, of frauds one an offender, of alarms one a
/// shard-block; of attestations as many as a shard has minters, since each may know other signers.
#[derive(Default)]
struct Objects {
    seen: BTreeMap<(u8, u64, u16), usize>,
}

impl Objects {
    fn admit(&mut self, record: &Record) -> bool {
        let (object, max) = match record {
            Record::Answer(answer) => ((16, u64::from(answer.candidate), 0), 1),
            Record::Fraud(evidence) => ((17, u64::from(evidence.candidate), 0), 1),
            Record::Invalid(invalid) => ((18, invalid.attest.height, invalid.attest.shard), 1),
            Record::Alert(alert) => ((18, alert.attest.height, alert.attest.shard), 1),
            Record::Attest(attest) => ((20, attest.height, attest.shard), 2 * SHARD_MINTERS),
            Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. } => return false,
        };
        let count = self.seen.entry(object).or_insert(0);
        *count += 1;
        *count <= max
    }
}
