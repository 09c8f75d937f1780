//! A private view of a file: the one place of this crate that the compiler cannot vouch for.
//!
//! What is promised instead: the store's lock keeps other processes from the file; the store never shortens an image;
//! and it writes to a mapped image only pages of which every mapping has its own copy already (docs/storage.md,
//! "Writing below a private mapping").

use memmap2::{MmapMut, MmapOptions, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};

/// A private view of a file: nothing written there reaches the file.
pub struct Mapping {
    map: MmapMut,
    /// Whether a page that is given back shows the file again.
    of_file: bool,
}

impl Mapping {
    /// The first `bytes` bytes of a file that is at least so long, with room on the disk for all of it.
    pub(crate) fn of_file(file: &File, bytes: u64) -> io::Result<Mapping> {
        // SAFETY: memmap2 asks that nobody changes or shortens the file below the map: see the head of this file. The
        // space was reserved and the length checked by the caller, so no access meets SIGBUS.
        let map = unsafe { MmapOptions::new().len(bytes as usize).map_copy(file) }?;
        Ok(Mapping { map, of_file: true })
    }

    /// Zeros that no file stands behind.
    pub(crate) fn anonymous(bytes: u64) -> io::Result<Mapping> {
        Ok(Mapping { map: MmapMut::map_anon(bytes as usize)?, of_file: false })
    }

    /// Whether a page that is given back shows the file again.
    pub(crate) fn is_of_file(&self) -> bool {
        self.of_file
    }

    /// Gives back the memory of whole pages, which show the file's bytes from then on: the caller has found them equal,
    /// and nobody writes to the file meanwhile.
    pub(crate) fn give_back(&mut self, range: Range<usize>) -> io::Result<()> {
        assert!(self.of_file, "memory without a file behind it is given back as if there were one");
        // SAFETY: the advice drops private copies of pages; the bytes that the map shows there afterwards are the
        // file's, see above. No reference into the map lives across this call: it borrows the map mutably.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) }
    }

    /// Makes a private copy of every page of a range now; an error on kernels before 5.14.
    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.map.advise_range(memmap2::Advice::PopulateWrite, range.start, range.len())
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}
