//! The superblock: which image is the store's present, and where in the log it stands. Two copies, a page each; a
//! change overwrites the older one, so a torn write leaves the other.

use super::page::{self, ChainId, PAGE_BYTES, Sum};
use crate::disk::{Disk, NamedFile, StoreError, rename, sync_names};
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

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
const _: () = {
    assert!(size_of::<Present>() == 8 + 8 + 8 + 32 + 32, "padding or another size");
    assert!(align_of::<Present>() == 8);
    assert!(offset_of!(Present, sequence) == 0);
    assert!(offset_of!(Present, image) == 8);
    assert!(offset_of!(Present, record) == 16);
    assert!(offset_of!(Present, image_checksum) == 24);
    assert!(offset_of!(Present, chained) == 56);
};

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

/// Makes `next` the present, in the place of the copy before `now`.
pub(crate) fn flip(disk: &dyn Disk, chain: ChainId, now: &Present, next: Present) -> Result<(), StoreError> {
    assert_eq!(next.sequence, now.sequence + 1, "a flip overwrites the copy that a restart needs");
    assert_ne!(next.image, now.image, "a flip names the image that the superblock names already, which has changed");
    assert!(next.record > now.record, "a flip goes back from record {} to {}", now.record, next.record);
    write(disk, chain, next)
}

/// One copy: the chain and what it says, or what is wrong with it.
type CopyRead = Result<(ChainId, Present), StoreError>;

/// Both copies as they were read, of which a restart needs one that is whole.
pub(crate) struct Copies([CopyRead; 2]);

impl Copies {
    /// Reads both: only damage can be in one copy alone; another version, another chain or a disk that fails is an
    /// answer by itself.
    pub(crate) fn read(disk: &dyn Disk, chain: Option<&ChainId>) -> Result<Copies, StoreError> {
        let file = match NamedFile::open(disk, NAME) {
            Err(error) if error.is_missing_file() => {
                return Err(StoreError::Missing { path: disk.path().to_owned() });
            }
            file => file?,
        };
        let bytes = file.bytes()?;
        if bytes != 2 * PAGE_BYTES {
            return Err(file.damaged(
                bytes.min(2 * PAGE_BYTES),
                format!("the superblock has {bytes} bytes, not {}", 2 * PAGE_BYTES),
            ));
        }
        let copy = |i: u64| {
            let opened = page::open::<Present>(&file, i * PAGE_BYTES, MAGIC, chain)?;
            let present = opened.body;
            if present.sequence % 2 != i || present.image > 1 {
                return Err(file.damaged(i * PAGE_BYTES, "a copy of the superblock stands in the other's place"));
            }
            Ok((opened.chain, present))
        };
        match [copy(0), copy(1)] {
            [Err(error), _] if !error.is_damage() => Err(error),
            [_, Err(error)] if !error.is_damage() => Err(error),
            copies => Ok(Copies(copies)),
        }
    }

    /// What the whole copies say, the newest first.
    pub(crate) fn whole(&self) -> Vec<Present> {
        let mut whole: Vec<Present> = self.0.iter().flatten().map(|copy| copy.1).collect();
        whole.sort_unstable_by_key(|present| std::cmp::Reverse(present.sequence));
        whole
    }

    /// The copy that counts, and the other if it is whole too. One that was torn at a flip is no reason to worry: the
    /// other is the present.
    ///
    /// # Errors
    /// When neither is whole.
    pub(crate) fn newest_whole(self) -> Result<(Present, Option<Present>), StoreError> {
        match self.whole()[..] {
            [newest, ref older @ ..] => Ok((newest, older.first().copied())),
            [] => Err(self.damage().last().expect("a copy that is not whole says why")),
        }
    }

    /// What is wrong with those that are not whole.
    pub(crate) fn damage(self) -> impl Iterator<Item = StoreError> {
        self.0.into_iter().filter_map(Result::err)
    }
}

/// The chain of the store in this directory, without opening it.
///
/// # Errors
/// When there is no store, or none of this version, or its superblock is damaged.
pub fn chain_of(disk: &dyn Disk) -> Result<ChainId, StoreError> {
    let Copies([first, second]) = Copies::read(disk, None)?;
    Ok(first.or(second)?.0)
}
