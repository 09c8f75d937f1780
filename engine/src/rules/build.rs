//! The block of a set of items.

use super::admit::{Valid, View};
use super::effect::{register, stake, transfer, unstake};
use super::objects::records_standing;
use crate::accounts::columns::StateMemory;
use crate::accounts::delta::DeltaBuilder;
use crate::base::hash::{Hash, keyed};
use crate::base::ids::AccountIndex;
use crate::base::limits::HEAVY_MAX;
use crate::base::mutation::{Mutation, planted};
use crate::chain::block::{ShardBlock, transactions_root};
use crate::chain::patch::Patch;
use crate::chain::record::Record;
use crate::rules::effect::transaction::{Building, Transaction};
use crate::transaction::cell::TransactionKind;
use crate::transaction::item::{Item, Items, block_bytes};
use hashbrown::HashSet;

/// A shard-block of our own.
#[derive(Clone, Debug)]
pub struct Built {
    /// Header that commits to parent, items and patch.
    pub block: ShardBlock,
    /// What is in it, ascending by id.
    pub items: Items,
    /// Wire form of the patch.
    pub patch: Vec<u8>,
}

/// Items of a set that may stand in the block, by their places in the set.
struct Eligible<'i> {
    transactions: Vec<(usize, Transaction<'i>)>,
    records: Vec<(usize, Record)>,
}

impl<M: StateMemory> View<'_, M> {
    /// The block of these items, ascending by id: what is invalid is left out; of one sender, and of one object, the
    /// lowest id stays; over capacity, those whose sender has the lowest hash under the parent.
    pub fn build(&self, shard: usize, slot: u64, items: &Items) -> Built {
        // Read once: each look at an item waits for memory.
        let ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "a block is built of items that ascend by id, each once");
        let Eligible { mut transactions, mut records } = self.eligible(shard, items, &ids);
        let left = self.limit_records(items, &mut records);
        self.limit(items, left, &mut transactions);
        let transactions_max = self.chain.parameters.block_transactions_max as usize;
        assert!(transactions.len() <= transactions_max, "a block keeps to the chain's maximum");
        assert!(transactions.is_sorted_by(|a, b| a.0 < b.0), "each transaction stands at one place of the set");
        let (height, parent_root) = (self.system.height + 1, self.state.header().root);
        let mut patch = Patch { height, slot, shard: shard as u32, parent_root, ..Patch::default() };
        let mut places: Vec<usize> = records.iter().map(|entry| entry.0).collect();
        patch.records.extend(records.into_iter().map(|entry| entry.1));
        let mut building = Building { room: self.room(), delta: DeltaBuilder::default(), patch: &mut patch };
        let mut recipients = vec![None; transactions.len()];
        self.state.find_all(transactions.len(), |i| &transactions[i].1.recipient, &mut recipients);
        for ((place, transaction), recipient) in transactions.iter().zip(recipients) {
            if self.effect(&items[*place], transaction, recipient, &mut building) {
                places.push(*place);
            }
        }
        let mut delta = building.delta;
        delta.finish(&mut patch.delta);
        self.assert_sums(&patch);
        patch.records.sort_by_cached_key(Record::to_bytes);
        places.sort_unstable();
        assert!(places.is_sorted_by(|a, b| a < b), "an item stands in a block once");
        let whole = places.len() == items.len();
        let mut ids = if whole { ids } else { places.iter().map(|&place| ids[place]).collect() };
        let items: Items =
            if whole { items.clone() } else { places.into_iter().map(|place| items[place].clone()).collect() };
        let mut bytes = Vec::new();
        patch.encode(&mut bytes);
        let block_bytes = block_bytes(&items);
        assert!(
            block_bytes <= self.block_bytes_max(),
            "{block_bytes} bytes: there is time to look for what a block holds"
        );
        let block = ShardBlock {
            parent_root: patch.parent_root,
            slot,
            shard: shard as u32,
            transactions: items.len() as u32,
            bytes: block_bytes,
            transactions_root: transactions_root(&mut ids),
            patch_hash: Patch::hash(&bytes),
        };
        Built { block, items, patch: bytes }
    }

    /// What senders pay arrives somewhere, is locked by a record, or is a fee.
    fn assert_sums(&self, patch: &Patch) {
        let locked = patch.records.iter().map(|record| match record {
            Record::Register { .. } => u128::from(self.chain.parameters.consensus.register_reserve),
            Record::Stake { amount, .. } => u128::from(*amount),
            _ => 0,
        });
        let (debits, credits) = patch.delta.sums();
        assert_eq!(debits, credits + locked.sum::<u128>(), "a block moves money and makes none");
    }

    /// What of a set may stand: of one sender the lowest id. Those that are known to be valid are taken at that word.
    fn eligible<'i>(&self, shard: usize, items: &'i Items, ids: &[Hash]) -> Eligible<'i> {
        let mut senders = HashSet::with_capacity(items.len());
        let mut eligible = Eligible { transactions: Vec::with_capacity(items.len()), records: Vec::new() };
        assert!(self.judged.is_sorted_by(|a, b| a.id <= b.id), "what was judged ascends by id, as the items do");
        let mut judged = self.judged.iter().peekable();
        for (place, item) in items.iter().enumerate() {
            let id = ids[place];
            while judged.next_if(|judged| judged.id < id).is_some() {}
            if let Some(judged) = judged.next_if(|judged| judged.id == id)
                && let Some((cell, payload)) = item.cell_and_payload()
            {
                if senders.insert(judged.account) {
                    let transaction = Transaction::of(cell, payload, judged.account, judged.cost);
                    eligible.transactions.extend(transaction.map(|transaction| (place, transaction)));
                }
                continue;
            }
            match self.valid(shard, item) {
                Some(Valid::Record(record)) => eligible.records.push((place, record)),
                Some(Valid::Transaction(transaction))
                    if !senders.contains(&transaction.account) && (self.genuine)(item) =>
                {
                    senders.insert(transaction.account);
                    eligible.transactions.push((place, *transaction));
                }
                _ => {}
            }
        }
        let records = eligible.records.iter().map(|(place, record)| (*place, record));
        let standing = records_standing(self.system, records);
        eligible.records.retain(|entry| standing.contains(&entry.0));
        eligible
    }

    /// Bytes of a block's items at most.
    pub(crate) fn block_bytes_max(&self) -> u64 {
        self.chain.parameters.block_bytes_max(self.system.height + 1)
    }

    /// Keeps the records within half of a block's bytes, answers first; returns what is left of all for transactions.
    fn limit_records(&self, items: &Items, records: &mut Vec<(usize, Record)>) -> usize {
        let (bytes_max, length) = (self.block_bytes_max() as usize, |place: usize| items[place].length());
        let mut bytes: usize = records.iter().map(|entry| length(entry.0)).sum();
        if bytes > bytes_max / 2 {
            bytes = 0;
            // By kind, then as patches have them.
            records.sort_by(|a, b| items[a.0].record().cmp(&items[b.0].record()));
            records.retain(|(place, _)| {
                let fits = bytes + length(*place) <= bytes_max / 2;
                bytes += if fits { length(*place) } else { 0 };
                fits
            });
        }
        assert!(bytes <= bytes_max / 2, "{bytes} bytes of records stand in a block of {bytes_max}");
        bytes_max - bytes
    }

    /// Keeps the transactions within the chain's maximum, the bytes that records leave, and the pairings that a node can
    /// afford.
    fn limit(&self, items: &Items, bytes_max: usize, transactions: &mut Vec<(usize, Transaction<'_>)>) {
        let max = self.chain.parameters.block_transactions_max as usize;
        let heavy = |transaction: &Transaction<'_>| transaction.kind == TransactionKind::Stake;
        let bytes: usize = transactions.iter().map(|entry| items[entry.0].length()).sum();
        let pairings = transactions.iter().filter(|entry| heavy(&entry.1)).count();
        if transactions.len() <= max && bytes <= bytes_max && pairings <= HEAVY_MAX {
            return;
        }
        let (root, keys) = (self.state.header().root, self.state.columns().key);
        transactions.sort_by_cached_key(|(_, transaction)| keyed(&root, &keys[transaction.account as usize]));
        let (mut count, mut bytes, mut pairings) = (0, 0, 0);
        transactions.retain(|(place, transaction)| {
            let (more, heavier) = (bytes + items[*place].length(), pairings + usize::from(heavy(transaction)));
            let fits = count < max && more <= bytes_max && heavier <= HEAVY_MAX;
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
        building: &mut Building<'_>,
    ) -> bool {
        match transaction.kind {
            TransactionKind::Transfer | TransactionKind::MultiTransfer => {
                if !transfer::effect(self.state, transaction, recipient, building) {
                    return false;
                }
            }
            TransactionKind::Register => register::effect(item, transaction, building),
            TransactionKind::Stake => stake::effect(transaction, building),
            TransactionKind::Unstake => unstake::effect(transaction, building),
        }
        let debit = transaction.cost.total() - u64::from(planted(Mutation::SendersPayLess));
        building.delta.debits.push((transaction.account, debit));
        true
    }
}
