//! A file of named regions, each page of which has a checksum.
//!
//! ```text
//!   page 0    head | regions u32 | pages u32 | number u64 | sum of the checksums' top page 32 | table of regions
//!             region: name 16 | offset u64 | bytes u64
//!   then      each region from a page boundary, the gap after it zero
//!   then      the checksums of these pages, 128 to a page; the checksums of those pages; ... up to one page
//! ```

use super::page::{self, ChainId, PAGE_BYTES, Sum};
use super::sums::{Sums, page_sum};
use crate::disk::{NamedFile, StoreError};
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;
use std::ops::Range;

/// Regions of a file at most.
pub(crate) const REGIONS_MAX: usize = 16;

/// A region to lay out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Its name; at most 16 bytes.
    pub name: &'static str,
    /// Bytes that it has, without the gap up to the next page.
    pub bytes: u64,
}

/// Where a region stands, as the header says it.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable, PartialEq, Eq)]
pub(crate) struct RegionEntry {
    pub(crate) name: [u8; 16],
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}
const _: () = {
    assert!(size_of::<RegionEntry>() == 16 + 8 + 8, "padding or another size");
    assert!(align_of::<RegionEntry>() == 8);
    assert!(offset_of!(RegionEntry, name) == 0);
    assert!(offset_of!(RegionEntry, offset) == 16);
    assert!(offset_of!(RegionEntry, bytes) == 24);
};

/// What a paged file's header says behind the head.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct PagedBody {
    pub(crate) regions: u32,
    pub(crate) pages: u32,
    pub(crate) number: u64,
    pub(crate) top: Sum,
    pub(crate) table: [RegionEntry; REGIONS_MAX],
}
const _: () = {
    assert!(size_of::<PagedBody>() == 4 + 4 + 8 + 32 + 32 * REGIONS_MAX, "padding or another size");
    assert!(align_of::<PagedBody>() == 8);
    assert!(offset_of!(PagedBody, regions) == 0);
    assert!(offset_of!(PagedBody, pages) == 4);
    assert!(offset_of!(PagedBody, number) == 8);
    assert!(offset_of!(PagedBody, top) == 16);
    assert!(offset_of!(PagedBody, table) == 48);
};

impl RegionEntry {
    /// Its name, for messages.
    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).trim_end_matches('\0').to_owned()
    }
}

/// Where each region is.
#[derive(Clone)]
pub(crate) struct Layout {
    entries: Vec<RegionEntry>,
    pub(crate) ranges: Vec<Range<usize>>,
    /// Bytes of header and regions.
    pub(crate) data_bytes: u64,
}

impl Layout {
    pub(crate) fn new(specs: &[RegionSpec]) -> Layout {
        assert!(specs.len() <= REGIONS_MAX, "a file has at most {REGIONS_MAX} regions");
        let mut offset = PAGE_BYTES;
        let mut layout = Layout { entries: Vec::new(), ranges: Vec::new(), data_bytes: 0 };
        for spec in specs {
            let mut name = [0; 16];
            name[..spec.name.len()].copy_from_slice(spec.name.as_bytes());
            layout.entries.push(RegionEntry { name, offset, bytes: spec.bytes });
            layout.ranges.push(offset as usize..(offset + spec.bytes) as usize);
            offset = (offset + spec.bytes).next_multiple_of(PAGE_BYTES);
        }
        layout.data_bytes = offset;
        layout
    }

    /// Pages below the checksums: all but the header.
    pub(crate) fn pages(&self) -> usize {
        (self.data_bytes / PAGE_BYTES) as usize - 1
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.data_bytes + Sums::file_bytes(self.pages())
    }

    /// Region and place within it of a byte of the file.
    pub(crate) fn describe(&self, offset: u64) -> String {
        let region =
            self.entries.iter().rev().find(|entry| entry.offset <= offset).filter(|_| offset < self.data_bytes);
        match region {
            Some(entry) => format!("region '{}' from its byte {}", entry.name(), offset - entry.offset),
            None => "the checksums".to_owned(),
        }
    }
}

/// A file that was opened and whose header and checksums are whole; its data pages are not yet checked.
pub(crate) struct Opened {
    pub(crate) layout: Layout,
    pub(crate) sums: Sums,
    pub(crate) number: u64,
    pub(crate) checksum: Sum,
}

/// Opens header and checksums. `layout` is what the file must have, if that is known.
pub(crate) fn open(
    file: &NamedFile,
    magic: [u8; 8],
    chain: Option<&ChainId>,
    layout: Option<&Layout>,
) -> Result<Opened, StoreError> {
    let page::OpenedPage { body, checksum, .. } = page::open::<PagedBody>(file, 0, magic, chain)?;
    let entries = body
        .table
        .get(..body.regions as usize)
        .ok_or_else(|| file.damaged(page::HEAD_BYTES as u64, "too many regions"))?;
    let found = Layout {
        entries: entries.to_vec(),
        ranges: entries.iter().map(|entry| entry.offset as usize..(entry.offset + entry.bytes) as usize).collect(),
        data_bytes: (u64::from(body.pages) + 1) * PAGE_BYTES,
    };
    if layout.is_some_and(|layout| layout.entries != found.entries) {
        return Err(file.damaged(
            page::HEAD_BYTES as u64,
            "the regions are laid out otherwise than this node's settings ask for \
             (was the greatest number of accounts changed?)",
        ));
    }
    let (bytes, expected) = (file.bytes()?, found.file_bytes());
    if bytes != expected {
        return Err(file.damaged(bytes.min(expected), format!("the file has {bytes} bytes, not {expected}")));
    }
    let sums = Sums::read(file, found.data_bytes, found.pages(), &body.top)?;
    Ok(Opened { layout: found, sums, number: body.number, checksum })
}

impl Opened {
    /// Compares a run of data pages, the first of which is `first`, with their checksums.
    pub(crate) fn check(&self, file: &NamedFile, first: usize, bytes: &[u8]) -> Result<(), StoreError> {
        for (i, page) in bytes.chunks_exact(PAGE_BYTES as usize).enumerate() {
            if page_sum(page) != self.sums.get(first + i) {
                let offset = (first + i + 1) as u64 * PAGE_BYTES;
                return Err(file
                    .damaged(offset, format!("a page does not match its checksum: {}", self.layout.describe(offset))));
            }
        }
        Ok(())
    }
}

/// Writes checksums and header, and returns the header's checksum. The data pages are there already; nothing is synced.
pub(crate) fn finish(
    file: &NamedFile,
    magic: [u8; 8],
    chain: ChainId,
    layout: &Layout,
    number: u64,
    sums: &mut Sums,
) -> Result<Sum, StoreError> {
    let top = sums.finish();
    let end = sums.write(file, layout.data_bytes)?;
    assert_eq!(end, layout.file_bytes(), "the checksums end elsewhere than the file that was laid out for them");
    let mut body = PagedBody {
        regions: layout.entries.len() as u32,
        pages: u32::try_from(layout.pages()).expect("a file has more pages than its header can count"),
        number,
        top,
        table: Zeroable::zeroed(),
    };
    body.table[..layout.entries.len()].copy_from_slice(&layout.entries);
    let (header, checksum) = page::seal(magic, chain, &body);
    file.write(0, &header)?;
    Ok(checksum)
}
