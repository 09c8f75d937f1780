//! Transactions of shard-blocks of the own shard, where the end of this process does not reach them: others may still
//! have to find them when the block is final.
//!
//! ```text
//!   kept/HEIGHT.BLOCK   sealed: the block's hash, then of each transaction its length u32 and its bytes
//! ```

use super::sealed::{self, SealedError, SealedKind, failed};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::transaction::item::Item;
use dynemix_storage::Disk;
use std::io;
use std::sync::Arc;

/// Heights for which they are kept: as long as they may be asked for, and two more for who is behind. A start has all of
/// them in memory, in the room that blocks of its own would have.
const KEPT_HEIGHTS: u64 = 5;

/// A shard-block's hash and height, and its transactions.
pub type KeptItems = (Hash, u64, Vec<Item>);

/// Their folder in a node's directory.
fn folder(data: &dyn Disk) -> Arc<dyn Disk> {
    data.folder("kept")
}

/// Keeps the transactions of a shard-block. No sync is waited for: only a power cut at all ten minters of the shard
/// within seconds could lose them, and then the block is banned, and nobody forks.
///
/// # Errors
/// Whatever the disk refuses.
pub fn keep(data: &dyn Disk, chain: &Hash, block: &Hash, height: u64, items: &[Item]) -> Result<(), SealedError> {
    let folder = folder(data);
    folder.make().map_err(failed(data, "kept"))?;
    let lengths: Vec<[u8; 4]> = items.iter().map(|item| (item.length() as u32).to_le_bytes()).collect();
    let parts = items.iter().zip(&lengths).flat_map(|(item, length)| {
        let [tag, cell, payload] = item.parts();
        [&length[..], tag, cell, payload]
    });
    let bytes = 32 + items.iter().map(|item| 4 + item.length() as u64).sum::<u64>();
    let name = format!("{height}.{}", hex::encode(&block[..4]));
    assert_eq!(height_of(&name), Some(height), "what is kept is found again by its height");
    let parts = std::iter::once(&block[..]).chain(parts);
    sealed::write_unsynced(&*folder, &name, (SealedKind::Kept, chain, height), bytes, parts)
}

fn height_of(name: &str) -> Option<u64> {
    name.split('.').next()?.parse().ok()
}

/// Forgets what is too old once this height is final.
pub fn forget(data: &dyn Disk, height: u64) {
    let folder = folder(data);
    // Before the first was kept there is no folder.
    for (name, _) in folder.files().unwrap_or_default() {
        if height_of(&name).is_none_or(|of| of + KEPT_HEIGHTS <= height) {
            // What cannot be removed now goes the next time.
            let _ = folder.remove(&name);
        }
    }
}

/// What an earlier process has kept. A file that is damaged is passed over, and told: others keep the same.
///
/// # Errors
/// One that cannot be read: whether it is whole is not known then.
pub fn read(data: &dyn Disk, chain: &Hash) -> Result<Vec<KeptItems>, SealedError> {
    let folder = folder(data);
    let files = match folder.files() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        files => files.map_err(failed(data, "kept"))?,
    };
    let mut kept = Vec::new();
    for (name, _) in files {
        let items = match sealed::read(&*folder, &name, SealedKind::Kept, chain) {
            Err(refused @ SealedError::Io { .. }) => return Err(refused),
            read => read.ok().flatten().and_then(|(height, payload)| items_of(height, &payload)),
        };
        match items {
            Some(items) => kept.push(items),
            None => {
                tracing::warn!("{}: damaged; its transactions are left to others", folder.path().join(name).display())
            }
        }
    }
    Ok(kept)
}

fn items_of(height: u64, payload: &[u8]) -> Option<KeptItems> {
    let (block, mut rest) = payload.split_first_chunk::<32>()?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        items.push(Item::of_bytes(bytes));
        rest = after;
    }
    Some((*block, height, items))
}
