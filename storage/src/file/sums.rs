//! The checksums of a file's pages: a tree whose nodes are pages of 128 sums, so that every page has a parent that
//! holds its checksum, up to the one in the file's header.

use super::page::{PAGE_BYTES, Sum};
use crate::disk::{NamedFile, StoreError};

const SUMS_PER_PAGE: usize = PAGE_BYTES as usize / size_of::<Sum>();

pub(crate) fn page_sum(page: &[u8]) -> Sum {
    *blake3::hash(page).as_bytes()
}

/// The sums of all levels, the data pages' first; each level fills whole pages, unused places zero.
pub(crate) struct Sums {
    levels: Vec<Vec<Sum>>,
}

impl Sums {
    /// Zero sums for so many data pages.
    pub(crate) fn zeroed(pages: usize) -> Sums {
        let mut levels = Vec::new();
        let mut entries = pages;
        loop {
            let filled = entries.next_multiple_of(SUMS_PER_PAGE).max(SUMS_PER_PAGE);
            levels.push(vec![[0; 32]; filled]);
            entries = filled / SUMS_PER_PAGE;
            if entries == 1 {
                let bytes = levels.iter().map(|level| (level.len() * size_of::<Sum>()) as u64).sum();
                assert_eq!(Sums::file_bytes(pages), bytes, "the tree of checksums is not what a file has room for");
                return Sums { levels };
            }
        }
    }

    /// Bytes that the sums of so many data pages take in a file.
    pub(crate) fn file_bytes(pages: usize) -> u64 {
        let (mut bytes, mut entries) = (0, pages);
        loop {
            entries = entries.div_ceil(SUMS_PER_PAGE).max(1);
            bytes += entries as u64 * PAGE_BYTES;
            if entries == 1 {
                return bytes;
            }
        }
    }

    pub(crate) fn set(&mut self, page: usize, sum: Sum) {
        self.levels[0][page] = sum;
    }

    pub(crate) fn get(&self, page: usize) -> Sum {
        self.levels[0][page]
    }

    /// Recomputes all levels above the first and returns the top's sum.
    pub(crate) fn finish(&mut self) -> Sum {
        for level in 1..self.levels.len() {
            let (below, here) = self.levels.split_at_mut(level);
            for (sum, page) in here[0].iter_mut().zip(below[level - 1].chunks_exact(SUMS_PER_PAGE)) {
                *sum = page_sum(bytemuck::cast_slice(page));
            }
        }
        page_sum(bytemuck::cast_slice(self.levels.last().expect("there is one level at least")))
    }

    /// Writes all levels from `offset` on and returns where they end.
    pub(crate) fn write(&self, file: &NamedFile, mut offset: u64) -> Result<u64, StoreError> {
        for level in &self.levels {
            let bytes: &[u8] = bytemuck::cast_slice(level);
            file.write(offset, bytes)?;
            offset += bytes.len() as u64;
        }
        Ok(offset)
    }

    /// Reads the sums and checks each page of them against its parent, from `top` down.
    pub(crate) fn read(file: &NamedFile, offset: u64, pages: usize, top: &Sum) -> Result<Sums, StoreError> {
        let mut sums = Sums::zeroed(pages);
        let mut at = offset;
        let mut offsets = Vec::new();
        for level in &mut sums.levels {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(level);
            file.read(at, bytes)?;
            offsets.push(at);
            at += bytes.len() as u64;
        }
        for (level, entries) in sums.levels.iter().enumerate().rev() {
            for (i, page) in entries.chunks_exact(SUMS_PER_PAGE).enumerate() {
                let expected = sums.levels.get(level + 1).map_or(top, |parent| &parent[i]);
                if page_sum(bytemuck::cast_slice(page)) != *expected {
                    return Err(file.damaged(
                        offsets[level] + i as u64 * PAGE_BYTES,
                        "a page of checksums does not match its parent",
                    ));
                }
            }
        }
        Ok(sums)
    }
}
