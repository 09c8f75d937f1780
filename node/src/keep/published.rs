//! Snapshots for those who join: made every so many heights, the two newest kept, handed out piece by piece.
//!
//! ```text
//!   snapshots/HEIGHT/   system     sealed: the system after HEIGHT
//!                       manifest, chunk.N     the accounts, see `snapshot.rs`
//!                       blocks     sealed: the final blocks of HEIGHT and HEIGHT + 1, certificates alone, each length
//!                                  u32, bytes; written last: with it the snapshot is whole
//! ```
//!
//! The second block names the accounts' root after the first and the first block's hash, the first names the system. So
//! whoever trusts the hash of the second can check everything.

use super::sealed::{self, SealedError, SealedKind, failed};
use super::snapshot::{MANIFEST, chunk_name};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::Final;
use dynemix_engine::chain::tables::System;
use dynemix_engine::messages::codec::{decode, encode};
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_storage::Disk;
use std::io;
use std::sync::Arc;

/// Snapshots that are kept.
const KEPT: usize = 2;
/// Bytes of a piece.
pub const PIECE_BYTES: usize = 128 << 10;

/// A snapshot as others name it: the block after it, by height and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Height of the block that proves it, one above its own.
    pub height: u64,
    /// That block's hash.
    pub block: Hash,
}

/// What a snapshot is fetched in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The system after the snapshot's height.
    System,
    /// The final blocks of its height and the next, which prove everything else.
    Blocks,
    /// The manifest of the accounts.
    Manifest,
    /// A chunk of them.
    Chunk(u32),
}

impl Part {
    /// Its number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Part::System => 0,
            Part::Blocks => 1,
            Part::Manifest => 2,
            Part::Chunk(chunk) => chunk.saturating_add(3),
        }
    }

    /// The part of this number.
    pub fn of_number(number: u32) -> Part {
        match number {
            0 => Part::System,
            1 => Part::Blocks,
            2 => Part::Manifest,
            chunk => Part::Chunk(chunk - 3),
        }
    }

    /// Its file in a snapshot's folder.
    pub fn name(self) -> String {
        match self {
            Part::System => "system".into(),
            Part::Blocks => "blocks".into(),
            Part::Manifest => MANIFEST.into(),
            Part::Chunk(chunk) => chunk_name(chunk as usize),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::System => f.write_str("system"),
            Part::Blocks => f.write_str("blocks"),
            Part::Manifest => f.write_str("manifest"),
            Part::Chunk(chunk) => write!(f, "chunk {chunk}"),
        }
    }
}

/// Where a node keeps its snapshots.
fn snapshots_folder(data: &dyn Disk) -> Arc<dyn Disk> {
    data.folder("snapshots")
}

/// Where the snapshot of a height stands.
pub fn snapshot_folder(data: &dyn Disk, height: u64) -> Arc<dyn Disk> {
    snapshots_folder(data).folder(&height.to_string())
}

/// Writes the system into a snapshot's folder.
///
/// # Errors
/// Whatever the disk refuses.
pub fn write_system(folder: &dyn Disk, chain: &Hash, system: &System) -> Result<(), SealedError> {
    let mut payload = Vec::new();
    system.encode(&mut payload);
    sealed::write_whole(folder, &Part::System.name(), SealedKind::System, chain, system.height, &payload)
}

/// Writes the two blocks, which makes a snapshot whole, and removes older ones.
///
/// # Errors
/// Whatever the disk refuses.
pub fn finish(data: &dyn Disk, chain: &Hash, blocks: [&Arc<Final>; 2]) -> Result<(), SealedError> {
    let height = blocks[0].value.height;
    assert_eq!(blocks[1].value.height, height + 1, "a snapshot is proved by the block after it");
    assert_eq!(blocks[1].value.parent, blocks[0].hash, "the block that proves a snapshot follows the snapshot's own");
    let mut payload = Vec::new();
    for decided in blocks {
        let mut bytes = Vec::new();
        encode(&Message::Final(decided.clone(), Vec::new()), &Nobody, &mut bytes);
        payload.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        payload.extend_from_slice(&bytes);
    }
    let folder = snapshot_folder(data, height);
    sealed::write_whole(&*folder, &Part::Blocks.name(), SealedKind::Blocks, chain, height, &payload)?;
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for other in heights(data)?.into_iter().filter(|&other| other <= height) {
        let is_whole = whole_by(&*snapshot_folder(data, other))?.is_some();
        if is_whole { whole.push(other) } else { broken.push(other) }
    }
    assert!(whole.contains(&height), "the snapshot that was just made is whole");
    for old in whole.iter().rev().skip(KEPT).chain(&broken) {
        // One that stays is removed the next time.
        let _ = remove(data, *old);
    }
    Ok(())
}

/// Removes a snapshot, and first the blocks that make it whole: a power cut may take its parts in any order.
fn remove(data: &dyn Disk, height: u64) -> io::Result<()> {
    let folder = snapshot_folder(data, height);
    match folder.remove(&Part::Blocks.name()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => folder.sync_names()?,
    }
    snapshots_folder(data).remove_folder(&height.to_string())
}

/// Heights of which there is a folder, ascending.
fn heights(data: &dyn Disk) -> Result<Vec<u64>, SealedError> {
    let names = match snapshots_folder(data).folders() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(failed(data, "snapshots"))?,
    };
    let mut heights: Vec<u64> = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    heights.sort_unstable();
    Ok(heights)
}

/// The file that makes a snapshot whole; none if it is not there.
fn whole_by(folder: &dyn Disk) -> Result<Option<Vec<u8>>, SealedError> {
    match folder.read_whole(&Part::Blocks.name(), u64::MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(failed(folder, &Part::Blocks.name())),
    }
}

/// The two blocks that a file of them holds; none if they are not two of consecutive heights.
pub fn blocks_of(file: &[u8], chain: &Hash) -> Option<[Arc<Final>; 2]> {
    let (height, payload) = sealed::unseal(file, SealedKind::Blocks, chain).ok()?;
    let mut rest = &payload[..];
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        match decode(bytes, &Nobody) {
            Ok(Message::Final(decided, _)) => Some(decided),
            _ => None,
        }
    };
    let blocks = [next()?, next()?];
    (blocks[0].value.height == height && Some(blocks[1].value.height) == height.checked_add(1)).then_some(blocks)
}

/// The snapshots that are whole, oldest first. Damaged ones are none.
///
/// # Errors
/// One that cannot be read: whether it is whole is not known then.
pub fn offers(data: &dyn Disk, chain: &Hash) -> Result<Vec<Offer>, SealedError> {
    let mut offers = Vec::new();
    for height in heights(data)? {
        let blocks = whole_by(&*snapshot_folder(data, height))?.and_then(|file| blocks_of(&file, chain));
        offers.extend(blocks.map(|[_, proof]| Offer { height: proof.value.height, block: proof.value.hash() }));
    }
    Ok(offers)
}

/// A piece of a part, and how long the part is; none if there is no such snapshot or part.
pub fn read_piece(data: &dyn Disk, height: u64, part: Part, offset: u64) -> Option<(u64, Vec<u8>)> {
    let file = snapshot_folder(data, height).open(&part.name()).ok()?;
    let total = file.bytes().ok()?;
    let mut bytes = vec![0; total.checked_sub(offset)?.min(PIECE_BYTES as u64) as usize];
    file.read(offset, &mut bytes).ok()?;
    Some((total, bytes))
}
