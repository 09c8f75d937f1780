//! The index of a sealed segment: where each record stands, and which records speak of a transaction or an account.
//!
//! A paged file `index.N` beside the segment `log.N`, with three regions: `offsets` (u64 a record), `transactions` and
//! `accounts` (entries of 24 bytes, sorted: the first half of a 32-byte key, record u32 from the segment's first, place
//! u32 in it). Half a key can be shared by chance or malice, so a find is a hint: whoever asked looks into the record.

use super::page::{ChainId, PAGE_BYTES};
use super::paged::{self, Layout, RegionSpec};
use super::segment::{Segment, WalkEnd};
use super::sums::{Sums, page_sum};
use crate::disk::{Disk, NamedFile, StoreError, rename, sync_names};
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

pub(crate) const MAGIC: [u8; 8] = *b"DYNXIDX\0";

/// What a key is the key of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// 32 bytes that name a transaction.
    Transactions,
    /// 32 bytes that name an account.
    Accounts,
}

/// Where a key occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// Number of the record that speaks of the key.
    pub number: u64,
    /// Place within it, as whoever read its keys counts.
    pub place: u32,
}

/// An occurrence as the file has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub(crate) struct Entry {
    pub(crate) key: [u8; 16],
    pub(crate) record: u32,
    pub(crate) place: u32,
}
const _: () = {
    assert!(size_of::<Entry>() == 16 + 4 + 4, "padding or another size");
    assert!(align_of::<Entry>() == 4);
    assert!(offset_of!(Entry, key) == 0);
    assert!(offset_of!(Entry, record) == 16);
    assert!(offset_of!(Entry, place) == 20);
};
pub(crate) const ENTRY_BYTES: u64 = size_of::<Entry>() as u64;

/// Collects the keys of records.
#[derive(Default)]
pub struct Keys {
    record: u32,
    tables: [Vec<Entry>; 2],
}

impl Keys {
    /// Adds a key of the record that is being read.
    pub fn add(&mut self, table: Table, key: &[u8; 32], place: u32) {
        let entry = Entry { key: half(key), record: self.record, place };
        self.tables[table as usize].push(entry);
    }
}

/// How the store learns the keys of a record, which is bytes to it.
pub trait ReadKeys: Send + Sync {
    /// Adds the record's keys.
    fn keys(&self, payload: &[u8], keys: &mut Keys);
}

fn half(key: &[u8; 32]) -> [u8; 16] {
    *key.first_chunk().expect("32 bytes have 16")
}

pub(crate) fn name(first: u64) -> String {
    format!("index.{first:012}")
}

pub(crate) fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix("index.")?.parse().ok()
}

/// The keys and offsets of a segment, read from its records.
fn read(segment: &Segment, reader: &dyn ReadKeys, sealed: bool) -> Result<(Vec<u64>, Keys), StoreError> {
    let (mut offsets, mut keys) = (Vec::new(), Keys::default());
    let mut cursor = segment.start();
    let end = segment.walk(&mut cursor, |number, offset, payload| {
        offsets.push(offset);
        keys.record = u32::try_from(number - segment.first).expect("a segment has more records than an index counts");
        reader.keys(payload, &mut keys);
        Ok(())
    })?;
    // In the segment being written the last record may be half there.
    if let WalkEnd::Broken(what) = end
        && sealed
    {
        return Err(segment.file.damaged(cursor.offset, what));
    }
    let records = cursor.number - segment.first;
    assert_eq!(offsets.len() as u64, records, "the index of segment {} misses a record", segment.first);
    Ok((offsets, keys))
}

/// Builds the index file of a sealed segment, durable under its name, unless `has_room` says no to its length.
pub(crate) fn build(
    disk: &dyn Disk,
    chain: ChainId,
    segment: &Segment,
    reader: &dyn ReadKeys,
    has_room: impl FnOnce(u64) -> Result<bool, StoreError>,
) -> Result<bool, StoreError> {
    let (offsets, mut keys) = read(segment, reader, true)?;
    keys.tables.iter_mut().for_each(|table| table.sort_unstable());
    let regions: [&[u8]; 3] =
        [bytemuck::cast_slice(&offsets), bytemuck::cast_slice(&keys.tables[0]), bytemuck::cast_slice(&keys.tables[1])];
    let specs = ["offsets", "transactions", "accounts"];
    let specs: Vec<_> =
        specs.iter().zip(&regions).map(|(name, bytes)| RegionSpec { name, bytes: bytes.len() as u64 }).collect();
    let layout = Layout::new(&specs);
    let mut data = vec![0; layout.data_bytes as usize];
    for (range, bytes) in layout.ranges.iter().zip(&regions) {
        data[range.clone()].copy_from_slice(bytes);
    }
    if !has_room(layout.file_bytes())? {
        return Ok(false);
    }
    let file = NamedFile::create(disk, "index.new", layout.file_bytes())?;
    let data = &data[PAGE_BYTES as usize..];
    file.write(PAGE_BYTES, data)?;
    let mut sums = Sums::zeroed(layout.pages());
    data.chunks_exact(PAGE_BYTES as usize).enumerate().for_each(|(i, page)| sums.set(i, page_sum(page)));
    paged::finish(&file, MAGIC, chain, &layout, segment.first, &mut sums)?;
    file.sync()?;
    rename(disk, "index.new", &name(segment.first))?;
    sync_names(disk)?;
    Ok(true)
}

/// An index file, open for look-ups.
pub(crate) struct SegmentIndex {
    file: NamedFile,
    layout: Layout,
}

impl SegmentIndex {
    pub(crate) fn open(disk: &dyn Disk, chain: &ChainId, first: u64) -> Result<SegmentIndex, StoreError> {
        let file = NamedFile::open(disk, &name(first))?;
        let opened = paged::open(&file, MAGIC, Some(chain), None)?;
        if opened.number != first || opened.layout.ranges.len() != 3 {
            return Err(file.damaged(0, "this is not the index of that segment"));
        }
        Ok(SegmentIndex { file, layout: opened.layout })
    }

    pub(crate) fn offsets(&self) -> Result<Vec<u64>, StoreError> {
        let range = &self.layout.ranges[0];
        let mut offsets = vec![0u64; range.len() / 8];
        self.file.read(range.start as u64, bytemuck::cast_slice_mut(&mut offsets))?;
        Ok(offsets)
    }

    /// Appends the occurrences of a key, oldest first.
    pub(crate) fn find(
        &self,
        first: u64,
        table: Table,
        key: &[u8; 32],
        out: &mut Vec<Occurrence>,
    ) -> Result<(), StoreError> {
        let range = &self.layout.ranges[1 + table as usize];
        let count = range.len() as u64 / ENTRY_BYTES;
        let at = |i: u64| {
            let mut entry = Entry::zeroed();
            self.file.read(range.start as u64 + i * ENTRY_BYTES, bytemuck::bytes_of_mut(&mut entry)).map(|()| entry)
        };
        let key = half(key);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if at(middle)?.key < key { low = middle + 1 } else { high = middle }
        }
        while low < count {
            let entry = at(low)?;
            if entry.key != key {
                break;
            }
            out.push(Occurrence { number: first + u64::from(entry.record), place: entry.place });
            low += 1;
        }
        Ok(())
    }
}

/// Appends the occurrences of a key in a segment that has no index yet, by reading it.
pub(crate) fn scan(
    segment: &Segment,
    reader: &dyn ReadKeys,
    table: Table,
    key: &[u8; 32],
    out: &mut Vec<Occurrence>,
) -> Result<(), StoreError> {
    let (_, keys) = read(segment, reader, false)?;
    let key = half(key);
    let mut found: Vec<_> = keys.tables[table as usize].iter().filter(|entry| entry.key == key).collect();
    found.sort_unstable();
    out.extend(
        found
            .into_iter()
            .map(|entry| Occurrence { number: segment.first + u64::from(entry.record), place: entry.place }),
    );
    Ok(())
}
