//! What a walk over a store has to look at.

use crate::disk::{Disk, StoreError, files};
use crate::file::image;
use crate::file::index;
use crate::file::page::PAGE_BYTES;
use crate::file::segment;
use crate::file::superblock::{self, Present};
use std::collections::VecDeque;

/// One step of a walk.
pub(super) enum Unit {
    /// Both copies of the superblock.
    Superblock,
    /// A paged file: its header and checksums.
    Opens { name: String, magic: [u8; 8], checksum: Option<[u8; 32]>, spare: bool },
    /// A run of pages of the file that was opened last.
    Pages { first: usize, count: usize, spare: bool },
    /// A segment of the log.
    Segment { first: u64, last: bool },
    /// A file that must have nothing in it.
    Empty { name: String },
    /// A file that belongs to no store.
    Unknown { name: String },
}

/// Every file of a store, with the bytes that it takes. `copies` are the whole ones of its superblock, the newest first.
pub(super) fn plan(disk: &dyn Disk, copies: &[Present]) -> Result<VecDeque<(Unit, u64)>, StoreError> {
    let newest = copies.first();
    let mut units = VecDeque::from([(Unit::Superblock, 2 * PAGE_BYTES)]);
    let all = files(disk)?;
    let last_segment = all.iter().filter_map(|file| segment::first_of(&file.0)).max();
    for (name, bytes) in all {
        let unit = if name == superblock::NAME {
            continue;
        } else if let Some(number) = (0..2).find(|&number| name == image::name(number)) {
            let named = copies.iter().find(|present| present.image == number);
            let spare = newest.is_some_and(|newest| newest.image != number);
            Unit::Opens { name, magic: image::MAGIC, checksum: named.map(|present| present.image_checksum), spare }
        } else if let Some(first) = segment::first_of(&name) {
            Unit::Segment { first, last: Some(first) == last_segment }
        } else if index::first_of(&name).is_some() {
            Unit::Opens { name, magic: index::MAGIC, checksum: None, spare: false }
        } else if name == "lock" {
            Unit::Empty { name }
        } else {
            Unit::Unknown { name }
        };
        units.push_back((unit, bytes));
    }
    Ok(units)
}
