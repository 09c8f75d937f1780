//! What may stand in a shard-block.
//!
//! Everything is decided by the parent's state and system alone: a sender acts once a block, and nothing in a block
//! builds on anything else in it, so its items have no order. What each kind of transaction asks of the chain's tables is
//! in [`super::effect`].

use super::effect::{register, stake, transfer, unstake};
use crate::accounts::columns::StateMemory;
use crate::accounts::state::State;
use crate::base::hash::Hash;
use crate::base::ids::{AccountIndex, Key};
use crate::base::limits::CREATED_MAX;
use crate::base::parameters::Chain;
use crate::base::refusal::Refusal;
use crate::chain::record::{Alert, Answer, Attest, Invalid, Record};
use crate::chain::tables::System;
use crate::committee::members::{record_shards, shard_of};
use crate::committee::quorum::shard_quorum;
use crate::committee::statement::{Certificate, Conflict, Evidence};
use crate::rules::effect::transaction::Transaction;
use crate::transaction::cell::{Cell, TransactionKind};
use crate::transaction::check::{Cost, check, check_form};
use crate::transaction::item::Item;
use crate::vote::signing::Signing;

/// A parent, as blocks are judged by it.
pub struct View<'a, M> {
    /// Parameters and prefixes that items are checked against.
    pub chain: &'a Chain,
    /// Accounts as the parent block left them.
    pub state: &'a State<M>,
    /// Names, stakes, committees and pools after the parent block.
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
    /// Id of the item: BLAKE3 of its bytes, signature included.
    pub id: Hash,
    /// The sender's account.
    pub account: AccountIndex,
    /// What it takes from the sender.
    pub cost: Cost,
}

/// An item that may stand in a block.
pub enum Valid<'a> {
    /// A transaction of an account of this shard.
    Transaction(Box<Transaction<'a>>),
    /// A record of its own.
    Record(Record),
}

impl<M: StateMemory> View<'_, M> {
    /// What an item is, if it may stand in the next block of this shard. Whether a transaction is genuine is not asked
    /// here.
    pub fn valid<'i>(&self, shard: usize, item: &'i Item) -> Option<Valid<'i>> {
        let shards = self.system.committee.shards.len();
        if let Some((cell, payload)) = item.cell_and_payload() {
            if shard_of(&self.system.seed, &cell.sender, shards) != shard {
                return None;
            }
            return self.transaction(cell, payload).map(|transaction| Valid::Transaction(Box::new(transaction)));
        }
        let record = Record::of_item(item)?;
        (self.admits(shard, &record, &item.id()) && self.record_holds(&record)).then_some(Valid::Record(record))
    }

    /// Whether this shard is one of those for the record. One that ends a fraud may stand anywhere.
    pub(super) fn admits(&self, shard: usize, record: &Record, id: &Hash) -> bool {
        let anywhere = matches!(record, Record::Invalid(_) | Record::Alert(_));
        anywhere || record_shards(&self.system.seed, id, self.system.committee.shards.len()).any(|of| of == shard)
    }

    fn transaction<'i>(&self, cell: &Cell, payload: &'i [u8]) -> Option<Transaction<'i>> {
        let account = self.state.find(&cell.sender)?;
        self.transaction_of(cell, payload, account)
    }

    /// What a transaction of this account takes, if it may stand in the next block of this shard: as [`Self::valid`],
    /// for whoever knows the sender's account.
    pub fn judge(&self, shard: usize, item: &Item, account: AccountIndex) -> Option<Cost> {
        let (cell, payload) = item.cell_and_payload()?;
        let of_shard = shard_of(&self.system.seed, &cell.sender, self.system.committee.shards.len()) == shard;
        let right = of_shard && self.state.columns().key[account as usize] == cell.sender;
        self.transaction_of(cell, payload, account).filter(|_| right).map(|transaction| transaction.cost)
    }

    /// Whether the chain's tables let a transaction of this account, whose turn has come, into a block, as far as that
    /// is cheap to say: a stake's proof of possession is not looked at. What is refused here would wait until it
    /// expires.
    ///
    /// # Errors
    /// Why they do not.
    pub fn fits(&self, item: &Item, account: AccountIndex) -> Result<(), Refusal> {
        let recipient = item.cell().and_then(|cell| self.state.find(&cell.recipient));
        self.fits_to(item, account, recipient)
    }

    /// The same for whoever has looked up the recipient: many look-ups together wait for memory once.
    ///
    /// # Errors
    /// As [`Self::fits`].
    pub fn fits_to(&self, item: &Item, account: AccountIndex, recipient: Option<AccountIndex>) -> Result<(), Refusal> {
        let (cell, payload) = item.cell_and_payload().ok_or(Refusal::UnknownKind)?;
        match TransactionKind::from_number(cell.kind) {
            Some(TransactionKind::Transfer | TransactionKind::MultiTransfer) => {
                transfer::fits(self.state, cell, payload, recipient)
            }
            Some(kind) => self.tables_fit(kind, cell, payload, account),
            None => Err(Refusal::UnknownKind),
        }
    }

    fn tables_fit(
        &self,
        kind: TransactionKind,
        cell: &Cell,
        payload: &[u8],
        account: AccountIndex,
    ) -> Result<(), Refusal> {
        match kind {
            TransactionKind::Transfer | TransactionKind::MultiTransfer => Ok(()),
            TransactionKind::Register => register::fits(self.system, payload, account),
            TransactionKind::Stake => stake::fits(self.system, cell, payload, account),
            TransactionKind::Unstake => unstake::fits(self.system, cell, account),
        }
    }

    fn transaction_of<'i>(&self, cell: &Cell, payload: &'i [u8], account: AccountIndex) -> Option<Transaction<'i>> {
        let cost = check(cell, payload, &self.chain.parameters, self.system.slot).ok()?;
        let hot = self.state.hot(account);
        if cell.sequence != u64::from(hot.sequence) || cost.total() > hot.balance {
            return None;
        }
        let kind = TransactionKind::from_number(cell.kind)?;
        let right = self.tables_fit(kind, cell, payload, account).is_ok()
            && (kind != TransactionKind::Stake || stake::possession_holds(self.signing, &cell.sender, payload));
        if right { Transaction::of(cell, payload, account, cost) } else { None }
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
        match record {
            Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. } => false,
            Record::Answer(answer) => self.answer_holds(answer),
            Record::Fraud(evidence) => self.fraud_holds(evidence),
            Record::Conflict(conflict) => self.conflict_holds(conflict),
            Record::Invalid(invalid) => self.invalid_holds(invalid),
            Record::Alert(alert) => self.alert_holds(alert),
            Record::Attest(attest) => {
                let minted = self.system.minted.get(usize::from(attest.shard)).copied().flatten();
                attest.height == self.system.height
                    && minted.is_some_and(|minted| (minted.block, minted.slot) == (attest.block, attest.slot))
                    && self.certified(attest)
            }
        }
    }

    fn answer_holds(&self, answer: &Answer) -> bool {
        let (system, signing, chain) = (self.system, self.signing, &self.chain.genesis_hash);
        answer.height == system.height + 2
            && answer.drawn_by == system.hash
            && system.drawn.contains(&answer.candidate)
            && signing.verify(answer.candidate, &Answer::seed_digest(chain, answer.height), &answer.answer)
            && signing.verify(answer.candidate, &answer.digest(chain), &answer.signature)
    }

    fn fraud_holds(&self, evidence: &Evidence) -> bool {
        let system = self.system;
        system.takes_evidence(&self.chain.parameters.consensus, evidence.height)
            && system.was_seated(evidence.height, evidence.candidate)
            && system.stakers.contains_key(&evidence.candidate)
            && !system.barred.contains_key(&evidence.candidate)
            && evidence.verify(&self.chain.genesis_hash, self.signing)
    }

    fn conflict_holds(&self, conflict: &Conflict) -> bool {
        let system = self.system;
        let Some(committee) = system.committee_of(conflict.height()) else { return false };
        system.takes_evidence(&self.chain.parameters.consensus, conflict.height())
            && !system.convicts(conflict).is_empty()
            && conflict.verify(committee, &self.chain.genesis_hash, self.signing)
    }

    fn invalid_holds(&self, invalid: &Invalid) -> bool {
        let Invalid { attest, header, place, path, item } = invalid;
        let never_valid = self.never_valid(item);
        self.is_immature(attest)
            && header.hash() == attest.block
            && header.holds(&item.id(), *place, path)
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

    /// Accounts that one shard may open in a block: its part of the room that is left, with what is not mature counted,
    /// and no more than every node can afford to look at.
    pub(super) fn room(&self) -> u64 {
        let blocks = self.system.immature.iter().flat_map(|immature| &immature.blocks);
        let coming: usize = blocks.map(|block| block.patch.delta.created_keys.len()).sum();
        let room =
            self.chain.parameters.consensus.accounts_max.saturating_sub(self.state.header().accounts + coming as u64);
        (room / self.system.committee.shards.len().max(1) as u64).min(CREATED_MAX)
    }

    /// The key of an account, if there is one of this index.
    pub(super) fn key_of(&self, account: AccountIndex) -> Option<&Key> {
        let known = u64::from(account) < self.state.header().accounts;
        known.then(|| &self.state.columns().key[account as usize])
    }

    /// Whether an item is one that no state makes valid.
    pub(super) fn never_valid(&self, item: &Item) -> bool {
        match item.cell_and_payload() {
            Some((cell, payload)) => {
                check_form(cell, payload, &self.chain.parameters).is_err() || !(self.genuine)(item)
            }
            None => Record::of_item(item).is_none(),
        }
    }
}
