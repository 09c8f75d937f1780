//! An image: the regions of a state in one file, mapped privately.

use super::page::{ChainId, PAGE_BYTES, Sum};
use super::paged::{self, Layout, Opened, RegionSpec};
use super::sums::{Sums, page_sum};
use crate::disk::{Disk, Mapping, NamedFile, StoreError};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const MAGIC: [u8; 8] = *b"DYNXIMG\0";
/// Pages that are compared, checked or written in one go: 1 MiB.
const RUN_PAGES: usize = 256;
const PAGE: usize = PAGE_BYTES as usize;

/// Name of image `number` (0 or 1) in a store.
pub(crate) fn name(number: u64) -> String {
    format!("image.{number}")
}

/// The regions in memory. Whatever is written here stays in memory until a checkpoint writes it to a file.
pub struct Image {
    layout: Layout,
    file: NamedFile,
    number: u64,
    mapping: Mapping,
    /// Whether the file was made with this image and is zero.
    fresh: AtomicBool,
    /// Pages that stay private copies: see [`Image::make_resident`].
    resident: Range<usize>,
}

/// What is known of the pages of a file that is written over.
enum Base {
    /// They match these sums, or are about to be found different.
    Whole(Sums),
    /// They can be read, but there are no sums yet.
    Unsummed,
    /// They are zero.
    Zero,
    /// Nothing is known: every page is written.
    Unknown,
}

/// A sync under way.
#[must_use = "a sync that failed must be heard of"]
pub struct PendingSync(std::thread::JoinHandle<Result<(), StoreError>>);

impl PendingSync {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it failed.
    pub fn finish(self) -> Result<(), StoreError> {
        self.0.join().expect("a sync does not panic")
    }
}

/// What a write of an image to a file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Pages of the image.
    pub pages: u64,
    /// Pages that differed from the file and were written.
    pub pages_written: u64,
}

impl Image {
    /// Makes an image over a new file of the disk and maps it: zeros, or, to `resume`, what an interrupted try of the
    /// same layout has written through.
    pub(crate) fn create(
        disk: &dyn Disk,
        number: u64,
        specs: &[RegionSpec],
        resume: bool,
    ) -> Result<Image, StoreError> {
        let layout = Layout::new(specs);
        let create = || NamedFile::create(disk, &name(number), layout.file_bytes());
        let file = match NamedFile::open(disk, &name(number)) {
            Ok(file) if resume && file.bytes()? == layout.file_bytes() => file,
            Ok(_) => create()?,
            Err(error) if error.is_missing_file() => create()?,
            Err(error) => return Err(error),
        };
        let mapping = file.map(layout.data_bytes)?;
        Ok(Image { layout, file, number, mapping, fresh: AtomicBool::new(true), resident: 0..0 })
    }

    /// Maps the image of a file whose header has this checksum, after checking every page.
    pub(crate) fn open(
        disk: &dyn Disk,
        number: u64,
        chain: &ChainId,
        checksum: &Sum,
        specs: Option<&[RegionSpec]>,
    ) -> Result<Image, StoreError> {
        let file = NamedFile::open(disk, &name(number))?;
        let layout = specs.map(Layout::new);
        let opened = paged::open(&file, MAGIC, Some(chain), layout.as_ref())?;
        if opened.checksum != *checksum {
            return Err(file.damaged(0, "the header is not the one that the superblock names"));
        }
        // By reading, not through the map: a sector that cannot be read is an error then, and not the process's end.
        let pages = opened.layout.pages();
        (0..pages.div_ceil(RUN_PAGES)).into_par_iter().try_for_each_init(
            || vec![0; RUN_PAGES * PAGE],
            |buffer, run| {
                let first = run * RUN_PAGES;
                let bytes = &mut buffer[..RUN_PAGES.min(pages - first) * PAGE];
                file.read((first + 1) as u64 * PAGE_BYTES, bytes)?;
                opened.check(&file, first, bytes)
            },
        )?;
        let mapping = file.map(opened.layout.data_bytes)?;
        Ok(Image { layout: opened.layout, file, number, mapping, fresh: AtomicBool::new(false), resident: 0..0 })
    }

    /// The file to write to, and what is known of its pages. A file below a mapping is never cut or replaced.
    fn base(
        &self,
        disk: &dyn Disk,
        number: u64,
        chain: &ChainId,
        known: bool,
    ) -> Result<(NamedFile, Base), StoreError> {
        if number == self.number && self.fresh.load(Ordering::Relaxed) {
            return Ok((self.file.clone(), Base::Unsummed));
        }
        let whole = NamedFile::open(disk, &name(number)).and_then(|file| {
            let opened = paged::open(&file, MAGIC, Some(chain), Some(&self.layout))?;
            Ok((file, if known { Base::Whole(opened.sums) } else { Base::Unknown }))
        });
        match whole {
            Err(StoreError::Damaged { .. }) if number == self.number => Ok((self.file.clone(), Base::Unknown)),
            Err(StoreError::Damaged { .. }) => {
                Ok((NamedFile::create(disk, &name(number), self.layout.file_bytes())?, Base::Zero))
            }
            Err(error) if error.is_missing_file() => {
                Ok((NamedFile::create(disk, &name(number), self.layout.file_bytes())?, Base::Zero))
            }
            whole => whole,
        }
    }

    /// Pages that are what the file below shows must match that file's checksums: rot is not carried to the other file
    /// and sealed there.
    fn check_unchanged(&self, own: &Opened, first: usize, bytes: &[u8], below: &mut [u8]) -> Result<(), StoreError> {
        self.file.read((first + 1) as u64 * PAGE_BYTES, below)?;
        for (i, (page, below)) in bytes.chunks_exact(PAGE).zip(below.chunks_exact(PAGE)).enumerate() {
            if page == below {
                own.check(&self.file, first + i, page)?;
            }
        }
        Ok(())
    }

    /// Writes the image to image file `number` so that it shows the state after `record`, and syncs it. Only pages that
    /// differ are written. Returns the header's checksum.
    /// `known` says that this process has checked or written all of that file: else every page counts as different,
    /// since an interrupted checkpoint may have left pages that no sum speaks of, or that only the system's memory
    /// holds.
    pub(crate) fn write_to(
        &self,
        disk: &dyn Disk,
        number: u64,
        chain: ChainId,
        record: u64,
        known: bool,
    ) -> Result<(Sum, Written), StoreError> {
        let pages = self.layout.pages();
        assert_eq!(self.mapping.len() as u64, self.layout.data_bytes, "an image is mapped in part");
        let (file, base) = self.base(disk, number, &chain, known)?;
        let own = if self.fresh.load(Ordering::Relaxed) {
            None
        } else {
            Some(paged::open(&self.file, MAGIC, Some(&chain), Some(&self.layout))?)
        };
        let mut below = vec![0; RUN_PAGES * PAGE];
        let mut sums = Sums::zeroed(pages);
        let mut written = Written { pages: pages as u64, pages_written: 0 };
        let zero_sum = page_sum(&[0; PAGE]);
        let mut there = vec![0; RUN_PAGES * PAGE];
        for (run, bytes) in self.mapping[PAGE..].chunks(RUN_PAGES * PAGE).enumerate() {
            let first = run * RUN_PAGES;
            let there = &mut there[..bytes.len()];
            if let Base::Whole(_) | Base::Unsummed = base {
                file.read((first + 1) as u64 * PAGE_BYTES, there)?;
            }
            let differs = |page: usize| {
                matches!(base, Base::Unknown) || bytes[page * PAGE..][..PAGE] != there[page * PAGE..][..PAGE]
            };
            let in_run = bytes.len() / PAGE;
            if let Some(own) = &own
                && (0..in_run).any(differs)
            {
                self.check_unchanged(own, first, bytes, &mut below[..bytes.len()])?;
            }
            let mut page = 0;
            while page < in_run {
                if !differs(page) {
                    let sum = match &base {
                        Base::Whole(before) => before.get(first + page),
                        Base::Zero => zero_sum,
                        Base::Unsummed | Base::Unknown => page_sum(&bytes[page * PAGE..][..PAGE]),
                    };
                    sums.set(first + page, sum);
                    page += 1;
                    continue;
                }
                let start = page;
                while page < in_run && differs(page) {
                    sums.set(first + page, page_sum(&bytes[page * PAGE..][..PAGE]));
                    page += 1;
                }
                file.write((first + start + 1) as u64 * PAGE_BYTES, &bytes[start * PAGE..page * PAGE])?;
                written.pages_written += (page - start) as u64;
            }
        }
        assert!(written.pages_written <= written.pages, "more pages were written than the image has");
        let checksum = paged::finish(&file, MAGIC, chain, &self.layout, record, &mut sums)?;
        file.sync()?;
        self.fresh.store(false, Ordering::Relaxed);
        Ok((checksum, written))
    }

    /// Gives back the memory of up to `pages` pages, from page `from` on, that are again what the file below holds;
    /// returns where to go on, or none at the end. Must not run while a checkpoint writes to that file.
    pub(crate) fn release(&mut self, from: usize, pages: usize) -> Result<Option<usize>, StoreError> {
        if !self.mapping.is_of_file() {
            return Ok(None);
        }
        let end = (from + pages).min(self.layout.pages());
        let mut there = vec![0; RUN_PAGES * PAGE];
        let mut at = from;
        while at < end {
            let in_run = RUN_PAGES.min(end - at);
            let start = (at + 1) * PAGE;
            let there = &mut there[..in_run * PAGE];
            self.file.read(start as u64, there)?;
            let same = |page: usize, map: &[u8]| {
                !self.resident.contains(&(at + page))
                    && map[start + page * PAGE..][..PAGE] == there[page * PAGE..][..PAGE]
            };
            let mut page = 0;
            while page < in_run {
                let first = page;
                while page < in_run && same(page, &self.mapping) {
                    page += 1;
                }
                if page > first {
                    self.mapping
                        .give_back(start + first * PAGE..start + page * PAGE)
                        .map_err(StoreError::io("release memory of", &self.file.path))?;
                }
                page += 1;
            }
            at += in_run;
        }
        Ok((at < self.layout.pages()).then_some(at))
    }

    /// Makes a private copy of every page of region `i` now, and keeps it: for a region whose pages change all the
    /// time, where a page fault at each first change would cost more than the change.
    pub fn make_resident(&mut self, i: usize) {
        let range = self.layout.ranges[i].clone();
        let bytes = range.len().next_multiple_of(PAGE);
        assert!(range.start.is_multiple_of(PAGE), "region {i} begins inside a page of another");
        self.resident = range.start / PAGE - 1..(range.start + bytes) / PAGE - 1;
        if bytes > 0 && self.mapping.populate(range.start..range.start + bytes).is_err() {
            // Kernels before 5.14: a write to each page does the same.
            for page in self.mapping[range].chunks_mut(PAGE) {
                page[0] = std::hint::black_box(page[0]);
            }
        }
    }

    /// The image file (0 or 1) below this mapping.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Writes bytes of region `i` from `offset` on to the file as well, while the image is being filled for the first
    /// time: a try that is interrupted finds them there. The pages must not have been written to in memory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_through(&mut self, i: usize, offset: usize, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(self.fresh.load(Ordering::Relaxed), "only an image that no superblock names is written through");
        let start = self.layout.ranges[i].start + offset;
        self.file.write(start as u64, bytes)?;
        if !self.mapping.is_of_file() {
            self.mapping[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Begins to make durable what was written through, on a thread of its own.
    pub fn begin_sync(&self) -> PendingSync {
        let file = self.file.clone();
        PendingSync(std::thread::spawn(move || file.sync()))
    }

    /// Bytes of a file with such an image.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.layout.file_bytes()
    }

    /// How many regions.
    pub fn regions(&self) -> usize {
        self.layout.ranges.len()
    }

    /// The bytes of region `i`.
    pub fn region(&self, i: usize) -> &[u8] {
        &self.mapping[self.layout.ranges[i].clone()]
    }

    /// The bytes of all regions, each from a page boundary, to write.
    ///
    /// # Panics
    /// When the image has another number of regions.
    pub fn regions_mut<const N: usize>(&mut self) -> [&mut [u8]; N] {
        assert_eq!(self.layout.ranges.len(), N, "another number of regions is asked for than the image has");
        let mut rest: &mut [u8] = &mut self.mapping;
        let mut at = 0;
        std::array::from_fn(|i| {
            let range = &self.layout.ranges[i];
            let (_, from) = std::mem::take(&mut rest).split_at_mut(range.start - at);
            let (region, after) = from.split_at_mut(range.len());
            (rest, at) = (after, range.end);
            region
        })
    }
}

/// Two mappings of one file: for a second, independent reader of the same image.
pub(crate) fn map_again(image: &Image, disk: &Arc<dyn Disk>) -> Result<Image, StoreError> {
    let file = NamedFile::open(&**disk, &name(image.number))?;
    let mapping = file.map(image.layout.data_bytes)?;
    Ok(Image {
        layout: image.layout.clone(),
        file,
        number: image.number,
        mapping,
        fresh: AtomicBool::new(false),
        resident: 0..0,
    })
}
