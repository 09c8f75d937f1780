//! The superblock: which image is the store's present, and where in the log it stands. Two copies, a page each; a
//! change overwrites the older one, so a torn write leaves the other.

use super::page::{self, ChainId, PAGE_BYTES, Sum};
use crate::disk::{Disk, NamedFile, StoreError, rename, sync_names};
use bytemuck::{Pod, Zeroable};

const MAGIC: [u8; 8] = *b"DYNXSUP\0";
pub(crate) const NAME: &str = "superblock";

/// What the superblock says.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Present {
    /// Grows by one with each flip; its parity says which copy it stands in.
    pub(crate) sequence: u64,
    /// 0 or 1.
    pub(crate) image: u64,
    /// The last record that is in the image.
    pub(crate) record: u64,
    /// Checksum of the image's header page.
    pub(crate) image_checksum: Sum,
    /// The log's running checksum after that record.
    pub(crate) chained: Sum,
}

fn page_of(chain: ChainId, present: &Present) -> page::Page {
    page::seal(MAGIC, chain, present).0
}

/// Makes the superblock of a new store, durable under its name.
pub(crate) fn create(disk: &dyn Disk, chain: ChainId, present: Present) -> Result<(), StoreError> {
    let file = NamedFile::create(disk, "superblock.new", 2 * PAGE_BYTES)?;
    // Both copies say the same at first: a store has two whole copies whenever no flip is under way.
    file.write(0, &page_of(chain, &Present { sequence: 0, ..present }))?;
    file.write(PAGE_BYTES, &page_of(chain, &Present { sequence: 1, ..present }))?;
    file.sync()?;
    rename(disk, "superblock.new", NAME)?;
    sync_names(disk)
}

/// Writes the copy that `present.sequence` owns, and syncs it.
pub(crate) fn write(disk: &dyn Disk, chain: ChainId, present: Present) -> Result<(), StoreError> {
    let file = NamedFile::open(disk, NAME)?;
    file.write((present.sequence % 2) * PAGE_BYTES, &page_of(chain, &present))?;
    file.sync()
}

/// One copy: the chain and what it says, or what is wrong with it.
pub(crate) type CopyRead = Result<(ChainId, Present), StoreError>;

/// Both copies: what each says, or what is wrong with it.
pub(crate) fn read(disk: &dyn Disk, chain: Option<&ChainId>) -> Result<[CopyRead; 2], StoreError> {
    let missing = |error: &StoreError| matches!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    let file = match NamedFile::open(disk, NAME) {
        Err(error) if missing(&error) => return Err(StoreError::Missing { path: disk.path().to_owned() }),
        file => file?,
    };
    let bytes = file.bytes()?;
    if bytes != 2 * PAGE_BYTES {
        return Err(file
            .damaged(bytes.min(2 * PAGE_BYTES), format!("the superblock has {bytes} bytes, not {}", 2 * PAGE_BYTES)));
    }
    let copy = |i: u64| {
        let opened = page::open::<Present>(&file, i * PAGE_BYTES, MAGIC, chain)?;
        let present = opened.body;
        if present.sequence % 2 != i || present.image > 1 {
            return Err(file.damaged(i * PAGE_BYTES, "a copy of the superblock stands in the other's place"));
        }
        Ok((opened.chain, present))
    };
    let copies = [copy(0), copy(1)];
    // Only damage can be in one copy alone; another version, another chain or a disk that fails is an answer by itself.
    match copies {
        [Err(error), _] if !error.is_damage() => Err(error),
        [_, Err(error)] if !error.is_damage() => Err(error),
        copies => Ok(copies),
    }
}

/// The chain of the store in this directory, without opening it.
///
/// # Errors
/// When there is no store, or none of this version, or its superblock is damaged.
pub fn chain_of(disk: &dyn Disk) -> Result<ChainId, StoreError> {
    let [first, second] = read(disk, None)?;
    Ok(first.or(second)?.0)
}
