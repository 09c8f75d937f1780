//! What a final block took: whose transaction it was that used up a sequence, and what becomes of whoever signed another
//! one. That a sequence has moved on proves nothing: of two transactions with one sequence a block takes one.

use super::rows::AHEAD;
use super::senders::Senders;
use crate::intake::shares::User;
use crate::peer::frames::Frame;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Key, Prefix};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_net::mesh::PeerId;
use std::cell::OnceCell;

/// What became of a transaction whose sequence is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stands in the block.
    Final,
    /// Another one of its sender does, with the same sequence: this one.
    Replaced(Hash),
    /// Nobody here can say: the block's transactions are not here.
    Unknown,
}

/// A transaction whose sequence is used up, nobody here knows by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// As users call it: without its signature.
    pub id: Hash,
    /// As it stands in a block, signature and all.
    pub item: Item,
    /// Who has signed it.
    pub sender: Key,
    /// The sequence that is used up.
    pub sequence: u64,
    /// The shard whose block it was.
    pub shard: u16,
    /// The guest that is told, and the ordinal there.
    pub told: Option<(PeerId, u64)>,
}

/// What a block has led to.
#[derive(Default)]
pub struct Settled {
    /// How many became final.
    pub finals: u64,
    /// Those whose sequence is used up by a block whose transactions are not here.
    pub unproved: Vec<Used>,
    /// What those who sent them are told.
    pub frames: Vec<Frame>,
    /// Those that were given up, whose they are, and why.
    pub given_up: Vec<(Item, User, Refusal)>,
}

/// Transactions of shard-blocks, as far as they are here.
pub struct Fates {
    prefix: Prefix,
    shards: Vec<(u32, Items)>,
    /// Of each shard the first bytes of its items' ids, in their order: looked up in a row where an item would cost a
    /// wait for memory at each step. Made when the first one is looked for.
    firsts: Option<Vec<Vec<u64>>>,
    /// Of each shard who has sent what, made when the first one of it is not found by its own id.
    senders: Vec<OnceCell<Senders>>,
}

fn first_of(item: &Item) -> u64 {
    u64::from_be_bytes(*item.id().first_chunk().expect("an id has more"))
}

fn firsts_of(items: &Items) -> Vec<u64> {
    let first = |(at, item): (usize, &Item)| {
        items.get(at + AHEAD).into_iter().for_each(Item::prefetch);
        first_of(item)
    };
    items.iter().enumerate().map(first).collect()
}

impl Fates {
    /// Of shards, each with its items in the order of their ids; none where they are not here.
    pub fn of(prefix: Prefix, shards: Vec<(u32, Items)>) -> Fates {
        let senders = shards.iter().map(|_| OnceCell::new()).collect();
        Fates { prefix, shards, firsts: None, senders }
    }

    /// What the block of a shard took of the sequence of this transaction.
    pub fn fate(&mut self, shard: usize, item: &Item) -> Fate {
        let Some(place) = self.place_of(shard as u32) else { return Fate::Unknown };
        let items = &self.shards[place].1;
        let firsts = &self.firsts.get_or_insert_with(|| self.shards.iter().map(|of| firsts_of(&of.1)).collect())[place];
        let (id, first) = (item.id(), first_of(item));
        let from = firsts.partition_point(|&there| there < first);
        let same = firsts[from..].iter().take_while(|&&there| there == first).count();
        if items[from..from + same].iter().any(|there| there.id() == id) {
            return Fate::Final;
        }
        let Some(cell) = item.cell() else { return Fate::Unknown };
        self.fate_of(shard as u32, &cell.sender, cell.sequence, &cell.id(&self.prefix))
    }

    /// Where the transactions of this shard are, if they are here: of most shards they are not, and of those nothing is
    /// looked for.
    fn place_of(&self, shard: u32) -> Option<usize> {
        self.shards.iter().position(|of| of.0 == shard && !of.1.is_empty())
    }

    /// The same of the transaction of this id: another copy of it can have another signature.
    pub fn fate_of(&self, shard: u32, sender: &Key, sequence: u64, id: &Hash) -> Fate {
        let Some(place) = self.place_of(shard) else { return Fate::Unknown };
        let items = &self.shards[place].1;
        let senders = self.senders[place].get_or_init(|| Senders::of(items));
        match senders.find(items, sender).and_then(|place| items[place].cell()) {
            Some(cell) => match cell.id(&self.prefix) {
                there if there == *id => Fate::Final,
                there if cell.sequence == sequence => Fate::Replaced(there),
                _ => Fate::Unknown,
            },
            None => Fate::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use dynemix_engine::transaction::cell::Cell;

    fn cell(sender: u8, sequence: u64, amount: u64) -> Cell {
        Cell { sender: [sender; 32], sequence, amount, ..Cell::zeroed() }
    }

    #[test]
    fn only_what_stands_in_the_block_is_final_and_what_does_not_names_what_does() {
        let prefix = [7; 32];
        let mut items: Vec<Item> = (0..50).map(|sender| Item::transaction(&cell(sender, 3, 5), &[])).collect();
        items.sort_by_key(Item::id);
        let mut taken = Fates::of(prefix, vec![(1, items.into())]);
        let mut fate = |shard: usize, cell: Cell| taken.fate(shard, &Item::transaction(&cell, &[]));
        assert_eq!(fate(1, cell(9, 3, 5)), Fate::Final);
        let there = cell(9, 3, 5).id(&prefix);
        assert_eq!(fate(1, cell(9, 3, 6)), Fate::Replaced(there), "another one of the sequence");
        assert_eq!(fate(1, cell(9, 2, 5)), Fate::Unknown, "its sequence was used up before");
        assert_eq!(fate(1, cell(77, 3, 5)), Fate::Unknown);
        assert_eq!(fate(0, cell(9, 3, 5)), Fate::Unknown, "of that shard nothing is here");
        // Its id leaves out the signature: a copy that is signed otherwise is the same transaction.
        assert_eq!(fate(1, Cell { signature: [1; 64], ..cell(9, 3, 5) }), Fate::Final);
    }
    /// In quilt mode that is half of a node's transactions and more, at the moment at which all nodes have a block to apply.
    #[test]
    fn of_a_shard_that_is_not_here_nothing_is_looked_for() {
        let here: Items = [Item::transaction(&cell(1, 3, 5), &[])].into();
        let mut taken = Fates::of([7; 32], vec![(0, here), (1, Items::default())]);
        for sender in 0..9 {
            assert_eq!(taken.fate(1, &Item::transaction(&cell(sender, 3, 5), &[])), Fate::Unknown);
        }
        assert!(taken.firsts.is_none() && taken.senders.iter().all(|senders| senders.get().is_none()));
    }
}
