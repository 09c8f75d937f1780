//! The superblock: which image and which journal are the store's present. Two copies, a page each; a change overwrites the
//! older one, so a torn write leaves the other.

use crate::error::StoreError;
use crate::file::{NamedFile, PAGE_BYTES};
use crate::store::ChainId;
use bytemuck::{Pod, Zeroable};
use std::path::Path;

const MAGIC: [u8; 8] = *b"DYNXSUP\0";
const VERSION: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
struct Copy4k {
    magic: [u8; 8],
    version: u32,
    reserved: u32,
    chain: ChainId,
    sequence: u64,
    image: u64,
    journal_first: u64,
    checksum: [u8; 32],
}
const _: () = assert!(size_of::<Copy4k>() == 104);

/// What the superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) sequence: u64,
    /// 0 or 1.
    pub(crate) image: u64,
    /// The journal's first record: all earlier ones are in the image.
    pub(crate) journal_first: u64,
}

fn checksum(copy: &Copy4k) -> [u8; 32] {
    *blake3::hash(&bytemuck::bytes_of(copy)[..size_of::<Copy4k>() - 32]).as_bytes()
}

pub(crate) fn path(directory: &Path) -> std::path::PathBuf {
    directory.join("superblock")
}

/// Writes the copy that `present.sequence` owns, and syncs it.
pub(crate) fn write(directory: &Path, chain: ChainId, present: Present) -> Result<(), StoreError> {
    let path = path(directory);
    let file = if path.exists() { NamedFile::open(&path)? } else { NamedFile::create(&path, 2 * PAGE_BYTES)? };
    let Present { sequence, image, journal_first } = present;
    let mut copy = Copy4k { magic: MAGIC, version: VERSION, reserved: 0, chain, sequence, image, journal_first, checksum: [0; 32] };
    copy.checksum = checksum(&copy);
    file.write((sequence % 2) * PAGE_BYTES, bytemuck::bytes_of(&copy))?;
    file.sync_all()
}

/// Reads the newer valid copy.
pub(crate) fn read(directory: &Path, chain: ChainId) -> Result<Present, StoreError> {
    let path = path(directory);
    let file = NamedFile::open(&path)?;
    let bytes = file.bytes()?;
    if bytes != 2 * PAGE_BYTES {
        return Err(StoreError::damaged(&path, bytes, format!("the superblock has {bytes} bytes, not {}", 2 * PAGE_BYTES)));
    }
    let mut newest: Option<Copy4k> = None;
    for i in 0..2 {
        let mut copy = Copy4k::zeroed();
        file.read(i * PAGE_BYTES, bytemuck::bytes_of_mut(&mut copy))?;
        if copy.magic == MAGIC && copy.version != VERSION {
            return Err(StoreError::Version { path, found: copy.version, expected: VERSION });
        }
        let valid = copy.magic == MAGIC && checksum(&copy) == copy.checksum && copy.image < 2 && copy.sequence % 2 == i;
        if valid && newest.is_none_or(|newest| newest.sequence < copy.sequence) {
            newest = Some(copy);
        }
    }
    let copy = newest.ok_or_else(|| StoreError::damaged(&path, 0, "neither copy is valid"))?;
    if copy.chain != chain {
        return Err(StoreError::WrongChain { path });
    }
    Ok(Present { sequence: copy.sequence, image: copy.image, journal_first: copy.journal_first })
}
