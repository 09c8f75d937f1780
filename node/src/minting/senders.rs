//! Which item of a shard-block is of which sender: of each it has one transaction at most.

use super::rows::AHEAD;
use dynemix_engine::base::ids::Key;
use dynemix_engine::transaction::item::Item;

/// The first bytes of the senders of a row of items, with their places, ascending. The rest of a sender is looked up in
/// its item.
pub(super) struct Senders(Vec<(u64, u32)>);

fn first_of(key: &Key) -> u64 {
    u64::from_be_bytes(*key.first_chunk().expect("a key has more"))
}

impl Senders {
    /// Bytes for each item.
    pub(super) const ITEM_BYTES: usize = size_of::<(u64, u32)>();

    /// Of these items; records have no sender.
    pub(super) fn of(items: &[Item]) -> Senders {
        let sender = |(place, item): (usize, &Item)| {
            items.get(place + AHEAD).into_iter().for_each(Item::prefetch_cell);
            Some((first_of(&item.cell()?.sender), place as u32))
        };
        let mut senders: Vec<(u64, u32)> = items.iter().enumerate().filter_map(sender).collect();
        senders.sort_unstable();
        Senders(senders)
    }

    /// The place of the transaction of this sender among the items that these are of.
    pub(super) fn find(&self, items: &[Item], sender: &Key) -> Option<usize> {
        let first = first_of(sender);
        let near = self.0[self.0.partition_point(|there| there.0 < first)..].iter();
        let is_it = |place: &usize| items[*place].cell().is_some_and(|cell| cell.sender == *sender);
        near.take_while(|there| there.0 == first).map(|there| there.1 as usize).find(is_it)
    }
}
