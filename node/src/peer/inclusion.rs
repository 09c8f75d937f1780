//! The proof that a transaction stands in a final block: its bytes, the shard-block's header, and the path from one to
//! the other. Whoever has verified the master-block of that height needs nothing else.
//!
//! ```text
//!   shard-block's header 120 | place u32 | levels u8 | levels x (16 x 32) | item: 4, cell 192, payload
//! ```

use dynemix_engine::base::hash::{FAN_OUT, Hash, ListTree};
use dynemix_engine::base::limits::{CELL_BYTES, PAYLOAD_BYTES_MAX};
use dynemix_engine::chain::block::{SHARD_BLOCK_BYTES, ShardBlock, transaction_tree};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::{Item, Items};

const GROUP_BYTES: usize = FAN_OUT * 32;
/// Levels that 2^32 transactions need.
const LEVELS_MAX: usize = 8;
/// Bytes of the longest proof.
pub const INCLUSION_BYTES_MAX: usize =
    SHARD_BLOCK_BYTES + 4 + 1 + LEVELS_MAX * GROUP_BYTES + 1 + CELL_BYTES + PAYLOAD_BYTES_MAX;

/// Where a transaction stands.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// Header of the shard-block.
    pub block: ShardBlock,
    /// Place in it.
    pub place: u32,
    path: Vec<[Hash; FAN_OUT]>,
    /// The transaction as it stands there, signature and all.
    pub item: Item,
}

/// The tree of a shard-block's items.
///
/// # Panics
/// When they are not those of the block.
pub fn tree_of(block: &ShardBlock, items: &Items) -> ListTree {
    assert_eq!(items.len(), block.transactions as usize, "a shard-block has as many items as its header says");
    transaction_tree(items.iter().map(Item::id).collect())
}

impl Inclusion {
    /// The proof for one of the items of a shard-block.
    ///
    /// # Panics
    /// When there is none at this place.
    pub fn of(block: &ShardBlock, items: &Items, place: usize) -> Inclusion {
        Inclusion::by_tree(block, items, &tree_of(block, items), place)
    }

    /// The same by the tree of these items: for whoever wants many.
    ///
    /// # Panics
    /// When there is none at this place.
    pub fn by_tree(block: &ShardBlock, items: &Items, tree: &ListTree, place: usize) -> Inclusion {
        Inclusion::of_item(block, &items[place], tree, place)
    }

    /// The same where only this item is here.
    ///
    /// # Panics
    /// When there is none at this place.
    pub fn of_item(block: &ShardBlock, item: &Item, tree: &ListTree, place: usize) -> Inclusion {
        // A copy: what is kept for long takes no place of those that wait.
        let bytes: Vec<u8> = item.parts().iter().flat_map(|part| part.iter().copied()).collect();
        Inclusion { block: *block, place: place as u32, path: tree.path(place), item: Item::of_bytes(&bytes) }
    }

    /// Bytes that it takes, roughly.
    pub fn bytes(&self) -> usize {
        let item = self.item.parts().iter().map(|part| part.len()).sum::<usize>();
        size_of::<Inclusion>() + self.path.len() * GROUP_BYTES + item
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.block.encode().to_vec();
        out.extend_from_slice(&self.place.to_le_bytes());
        assert!(self.path.len() <= LEVELS_MAX, "a path has no more levels than whoever reads it takes");
        out.push(self.path.len() as u8);
        self.path.iter().for_each(|group| out.extend_from_slice(bytemuck::bytes_of(group)));
        self.item.parts().iter().for_each(|part| out.extend_from_slice(part));
        out
    }

    /// Reads the wire form of untrusted bytes; it proves something only after [`Self::verify`].
    pub fn decode(bytes: &[u8]) -> Option<Inclusion> {
        let (block, rest) = bytes.split_first_chunk::<SHARD_BLOCK_BYTES>()?;
        let (place, rest) = rest.split_first_chunk::<4>()?;
        let (&levels, rest) = rest.split_first()?;
        let levels = Some(usize::from(levels)).filter(|&levels| levels <= LEVELS_MAX)?;
        let (path, item) = rest.split_at_checked(levels * GROUP_BYTES)?;
        let short = item.len() <= 1 + CELL_BYTES + PAYLOAD_BYTES_MAX;
        let path = path.chunks_exact(GROUP_BYTES).map(bytemuck::pod_read_unaligned).collect();
        let (block, place) = (ShardBlock::decode(block), u32::from_le_bytes(*place));
        short.then(|| Inclusion { block, place, path, item: Item::of_bytes(item) })
    }

    /// The transaction, if it stands in the shard-block whose header is shown with it: whether that one is of the chain
    /// is another question, which costs more.
    pub fn claimed(&self) -> Option<(&Cell, &[u8])> {
        self.item.cell_and_payload().filter(|_| self.block.holds(&self.item.id(), self.place, &self.path))
    }

    /// The transaction, if it stands in one of the shard-blocks that a verified master-block lists.
    pub fn verify(&self, headers: &[Option<Hash>]) -> Option<(&Cell, &[u8])> {
        let listed = headers.get(usize::try_from(self.block.shard).ok()?).copied().flatten();
        self.claimed().filter(|_| listed == Some(self.block.hash()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use dynemix_engine::chain::block::transactions_root;

    #[test]
    fn a_transaction_is_proved_by_its_own_block_and_no_changed_byte_is() {
        let mut items: Vec<_> =
            (1..=40).map(|sequence| Item::transaction(&Cell { sequence, ..Cell::zeroed() }, &[])).collect();
        items.sort_unstable_by_key(|item| item.id());
        let root = transactions_root(&mut items.iter().map(|item| item.id()).collect());
        let block = ShardBlock {
            parent_root: [1; 32],
            slot: 9,
            shard: 1,
            transactions: 40,
            bytes: 7720,
            transactions_root: root,
            patch_hash: [2; 32],
        };
        let (items, headers): (Items, _) = (items.into(), [None, Some(block.hash())]);
        let bytes = Inclusion::of(&block, &items, 17).encode();
        let read = Inclusion::decode(&bytes).unwrap();
        assert_eq!(read.verify(&headers).map(|(cell, _)| cell), items[17].cell_and_payload().map(|(cell, _)| cell));
        assert_eq!(read.claimed(), items[17].cell_and_payload(), "by its header, of whatever chain that is");
        let elsewhere = Inclusion { place: 16, ..read.clone() };
        assert!(elsewhere.claimed().is_none() && elsewhere.verify(&headers).is_none());
        assert!(read.verify(&[Some(block.hash())]).is_none() && read.verify(&[None, Some([3; 32])]).is_none());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let proved = Inclusion::decode(&changed).is_some_and(|read| read.verify(&headers).is_some());
            assert!(!proved, "byte {at}");
        }
        assert!(
            (0..bytes.len())
                .all(|end| { Inclusion::decode(&bytes[..end]).is_none_or(|read| read.verify(&headers).is_none()) })
        );
    }
}
