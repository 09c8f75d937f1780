//! An image: the regions of a state in one file, mapped privately.
//!
//! ```text
//!   page 0   magic 8 | version u32 | regions u32 | chain 32 | region table | ... | checksum of the page's rest 32
//!            region table entry: name 16 | offset u64 | bytes u64 | BLAKE3 of the bytes 32
//!   then     each region from a page boundary, the gap zero
//! ```

use crate::error::StoreError;
use crate::file::{NamedFile, PAGE_BYTES};
use crate::store::ChainId;
use bytemuck::{Pod, Zeroable};
use memmap2::{MmapMut, MmapOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"DYNXIMG\0";
const VERSION: u32 = 1;
const REGIONS_MAX: usize = 16;

/// A region to lay out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Its name; at most 16 bytes.
    pub name: &'static str,
    /// Its length.
    pub bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RegionEntry {
    name: [u8; 16],
    offset: u64,
    bytes: u64,
    hash: [u8; 32],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Header {
    magic: [u8; 8],
    version: u32,
    regions: u32,
    chain: ChainId,
    table: [RegionEntry; REGIONS_MAX],
    checksum: [u8; 32],
}
const _: () = assert!(size_of::<RegionEntry>() == 64 && size_of::<Header>() == 48 + 64 * REGIONS_MAX + 32);
const _: () = assert!(size_of::<Header>() as u64 <= PAGE_BYTES);

impl Header {
    fn checksum(&self) -> [u8; 32] {
        let bytes = bytemuck::bytes_of(self);
        *blake3::hash(&bytes[..size_of::<Header>() - 32]).as_bytes()
    }
}

/// The regions in memory.
pub struct Image {
    chain: ChainId,
    specs: Vec<RegionSpec>,
    ranges: Vec<Range<usize>>,
    map: MmapMut,
}

fn padded_name(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}

fn layout(specs: &[RegionSpec]) -> (Vec<Range<usize>>, u64) {
    assert!(specs.len() <= REGIONS_MAX, "an image has at most {REGIONS_MAX} regions");
    let mut offset = PAGE_BYTES;
    let ranges = specs
        .iter()
        .map(|spec| {
            let range = offset as usize..(offset + spec.bytes) as usize;
            offset = (offset + spec.bytes).next_multiple_of(PAGE_BYTES);
            range
        })
        .collect();
    (ranges, offset)
}

/// Maps a file privately.
///
/// The caller promises what `memmap2` asks for: while the map lives nobody else changes or shortens the file. The store's
/// lock keeps other processes out; the store itself writes to a mapped image file only at a checkpoint, and there only the
/// very bytes that each page not yet copied has already (`docs/storage.md`, "Writing below a private mapping").
fn map_private(file: &NamedFile, bytes: u64) -> Result<MmapMut, StoreError> {
    // SAFETY: as promised above; `bytes` is the file's length, checked by the callers, so no access meets SIGBUS.
    unsafe { MmapOptions::new().len(bytes as usize).map_copy(&file.file) }.map_err(StoreError::io("map", &file.path))
}

impl Image {
    /// Makes an image of zeros in a new file and maps it.
    pub(crate) fn create(path: &Path, chain: ChainId, specs: &[RegionSpec]) -> Result<Image, StoreError> {
        let (ranges, bytes) = layout(specs);
        let file = NamedFile::create(path, bytes)?;
        Ok(Image { chain, specs: specs.to_vec(), ranges, map: map_private(&file, bytes)? })
    }

    /// Maps the image in a file after checking header, lengths and every region's hash.
    pub(crate) fn open(path: &Path, chain: ChainId, specs: &[RegionSpec]) -> Result<Image, StoreError> {
        let file = NamedFile::open(path)?;
        let (ranges, bytes) = layout(specs);
        let found = file.bytes()?;
        if found != bytes {
            return Err(StoreError::damaged(path, found.min(bytes), format!("the file has {found} bytes, not {bytes}")));
        }
        let mut header = Header::zeroed();
        file.read(0, bytemuck::bytes_of_mut(&mut header))?;
        if header.magic != MAGIC {
            return Err(StoreError::damaged(path, 0, "not an image"));
        }
        if header.version != VERSION {
            return Err(StoreError::Version { path: path.to_owned(), found: header.version, expected: VERSION });
        }
        if header.checksum() != header.checksum {
            return Err(StoreError::damaged(path, 0, "the header's checksum is wrong"));
        }
        if header.chain != chain {
            return Err(StoreError::WrongChain { path: path.to_owned() });
        }
        let image = Image { chain, specs: specs.to_vec(), ranges, map: map_private(&file, bytes)? };
        for (i, (spec, range)) in image.specs.iter().zip(&image.ranges).enumerate() {
            let entry = &header.table[i];
            if (entry.name, entry.offset, entry.bytes) != (padded_name(spec.name), range.start as u64, spec.bytes)
                || header.regions != specs.len() as u32
            {
                return Err(StoreError::damaged(path, 48 + 64 * i as u64, format!("region '{}' is laid out otherwise", spec.name)));
            }
            if region_hash(&image.map[range.clone()]) != entry.hash {
                return Err(StoreError::damaged(path, entry.offset, format!("region '{}' does not match its hash", spec.name)));
            }
        }
        Ok(image)
    }

    /// Writes the image to `path`, a file of the same layout or a new one, and syncs it.
    pub(crate) fn write_to(&self, path: &Path) -> Result<(), StoreError> {
        let file = if path.exists() { NamedFile::open(path)? } else { NamedFile::create(path, self.map.len() as u64)? };
        let mut header = Header::zeroed();
        (header.magic, header.version, header.chain) = (MAGIC, VERSION, self.chain);
        header.regions = self.specs.len() as u32;
        for ((entry, spec), range) in header.table.iter_mut().zip(&self.specs).zip(&self.ranges) {
            let bytes = &self.map[range.clone()];
            *entry = RegionEntry { name: padded_name(spec.name), offset: range.start as u64, bytes: spec.bytes, hash: region_hash(bytes) };
            file.write(range.start as u64, bytes)?;
        }
        header.checksum = header.checksum();
        file.write(0, bytemuck::bytes_of(&header))?;
        file.sync_all()
    }

    /// The bytes of region `i`.
    pub fn region(&self, i: usize) -> &[u8] {
        &self.map[self.ranges[i].clone()]
    }

    /// The bytes of all regions, each from a page boundary, to write.
    ///
    /// # Panics
    /// When the image has another number of regions.
    pub fn regions_mut<const N: usize>(&mut self) -> [&mut [u8]; N] {
        assert_eq!(self.ranges.len(), N);
        let mut rest: &mut [u8] = &mut self.map;
        let mut at = 0;
        std::array::from_fn(|i| {
            let range = &self.ranges[i];
            let (_, from) = std::mem::take(&mut rest).split_at_mut(range.start - at);
            let (region, after) = from.split_at_mut(range.len());
            (rest, at) = (after, range.end);
            region
        })
    }
}

fn region_hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update_rayon(bytes).finalize().as_bytes()
}

/// Path of image `number` (0 or 1) in a store.
pub(crate) fn image_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("image.{number}"))
}
