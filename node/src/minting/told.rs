//! What minters were told for one height: columns with a row for each transaction, in the order in which they came, and
//! an index by account and sequence.
//!
//! ```text
//!   rows      (account, sequence) -> row      12 bytes a slot
//!   columns   item 8 | id 32 | account 4 | cost 24 | teller 4
//! ```
//!
//! Whoever goes through all that was told reads ids and costs one behind the other, and no item; a height that has passed
//! is cleared as a whole. There is memory for the rows from the start, and it is used again for the height after next.

use super::rows::{AHEAD, buckets};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::rules::admit::Judged;
use dynemix_engine::transaction::check::Cost;
use dynemix_engine::transaction::item::Item;
use hashbrown::HashMap;

/// A transaction that a minter was told.
pub(super) struct Entry {
    pub(super) item: Item,
    pub(super) account: AccountIndex,
    pub(super) sequence: u32,
    pub(super) teller: AccountIndex,
    /// What it takes from its sender, if it may stand in the height's block.
    pub(super) cost: Option<Cost>,
}

/// All of one height.
pub(super) struct Told {
    height: u64,
    rows: HashMap<(AccountIndex, u32), u32>,
    items: Vec<Item>,
    ids: Vec<Hash>,
    accounts: Vec<AccountIndex>,
    costs: Vec<Option<Cost>>,
    tellers: Vec<AccountIndex>,
    /// Who has put its transaction in the place of another's, by row.
    replaced_by: HashMap<u32, Vec<AccountIndex>>,
}

impl Told {
    /// With room for so many.
    pub(super) fn of(most: usize) -> Told {
        Told {
            height: 0,
            rows: HashMap::with_capacity(most),
            items: Vec::with_capacity(most),
            ids: Vec::with_capacity(most),
            accounts: Vec::with_capacity(most),
            costs: Vec::with_capacity(most),
            tellers: Vec::with_capacity(most),
            replaced_by: HashMap::new(),
        }
    }

    /// Bytes of it.
    pub(super) fn bytes(most: usize) -> usize {
        let columns = size_of::<Item>() + size_of::<Hash>() + size_of::<Option<Cost>>() + 2 * size_of::<AccountIndex>();
        most * columns + buckets(most) * (size_of::<((AccountIndex, u32), u32)>() + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The height that it is of, if anything was told for one.
    pub(super) fn height(&self) -> u64 {
        self.height
    }

    /// From now on it is of this height.
    pub(super) fn begin(&mut self, height: u64) {
        assert!(self.items.is_empty(), "what was told for height {} is there at height {height}", self.height);
        self.height = height;
    }

    /// The row of one.
    pub(super) fn row(&self, account: AccountIndex, sequence: u32) -> Option<u32> {
        self.rows.get(&(account, sequence)).copied()
    }

    pub(super) fn item(&self, row: u32) -> Option<&Item> {
        self.items.get(row as usize)
    }

    pub(super) fn id(&self, row: u32) -> &Hash {
        &self.ids[row as usize]
    }

    pub(super) fn account(&self, row: u32) -> AccountIndex {
        self.accounts[row as usize]
    }

    pub(super) fn replaced_by(&self, row: u32) -> &[AccountIndex] {
        self.replaced_by.get(&row).map_or(&[], Vec::as_slice)
    }

    pub(super) fn judge(&mut self, row: u32, cost: Option<Cost>) {
        self.costs[row as usize] = cost;
    }

    /// In a row of its own, which none of its account and sequence has.
    pub(super) fn push(&mut self, entry: Entry) -> u32 {
        let row = u32::try_from(self.items.len()).expect("a pool has fewer");
        let known = self.rows.insert((entry.account, entry.sequence), row);
        assert!(known.is_none(), "two rows of one account and sequence: {known:?} and {row}");
        self.ids.push(entry.item.id());
        self.items.push(entry.item);
        self.accounts.push(entry.account);
        self.costs.push(entry.cost);
        self.tellers.push(entry.teller);
        row
    }

    /// In the place of the one in this row; who had told that.
    pub(super) fn replace(&mut self, row: u32, entry: Entry) -> AccountIndex {
        let at = row as usize;
        assert_eq!(self.accounts[at], entry.account, "one takes the place of another's of its account");
        self.ids[at] = entry.item.id();
        self.items[at] = entry.item;
        self.costs[at] = entry.cost;
        self.replaced_by.entry(row).or_default().push(entry.teller);
        std::mem::replace(&mut self.tellers[at], entry.teller)
    }

    /// Rows of those that may stand in the height's block, ascending by id.
    pub(super) fn sound(&self) -> Vec<u32> {
        // Nearly all differ in the first eight bytes, which are compared in a register.
        let head = |id: &Hash| u64::from_be_bytes(*id.first_chunk().expect("an id has more"));
        let rows = self.ids.iter().zip(&self.costs).zip(0u32..);
        let mut heads: Vec<(u64, u32)> =
            rows.filter(|((_, cost), _)| cost.is_some()).map(|((id, _), row)| (head(id), row)).collect();
        heads.sort_unstable();
        for same in heads.chunk_by_mut(|one, next| one.0 == next.0).filter(|same| same.len() > 1) {
            same.sort_unstable_by_key(|&(_, row)| self.id(row));
        }
        heads.into_iter().map(|(_, row)| row).collect()
    }

    /// The items of these rows.
    pub(super) fn items<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = Item> + 'a {
        rows.iter().enumerate().map(|(at, &row)| {
            if let Some(&ahead) = rows.get(at + AHEAD) {
                self.items[ahead as usize].prefetch();
            }
            self.items[row as usize].clone()
        })
    }

    /// What is known of the one in this row, which may stand in the height's block.
    pub(super) fn judged(&self, row: u32) -> Judged {
        let cost = self.costs[row as usize].expect("a row that is sound has a cost");
        Judged { id: *self.id(row), account: self.account(row), cost }
    }

    /// Forgets all; who had told how many of it, one behind the other.
    pub(super) fn clear(&mut self, mut told: impl FnMut(AccountIndex, usize)) {
        self.tellers.chunk_by(|one, next| one == next).for_each(|same| told(same[0], same.len()));
        while let Some(item) = self.items.pop() {
            if let Some(ahead) = self.items.len().checked_sub(AHEAD) {
                self.items[ahead].prefetch();
            }
            drop(item);
        }
        self.rows.clear();
        self.ids.clear();
        self.accounts.clear();
        self.costs.clear();
        self.tellers.clear();
        self.replaced_by.clear();
    }
}
