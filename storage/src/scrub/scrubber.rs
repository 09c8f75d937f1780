//! Looks at every byte of a store and names what is not as it was written: all at once for `verify`, or in small steps
//! beside a running node.

use super::finding::{Finding, finding};
use super::unit::{Unit, plan};
use crate::disk::{Disk, NamedFile, StoreError, files};
use crate::file::page::{self, ChainId, PAGE_BYTES};
use crate::file::paged::{self, Opened};
use crate::file::segment::{self, Cursor, Segment, WalkEnd};
use crate::file::superblock::{self, Copies};
use crate::store::Keeper;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of a step over a paged file.
const STEP_BYTES: u64 = 4 << 20;

/// A walk over the files of a store.
pub struct Scrubber {
    disk: Arc<dyn Disk>,
    chain: ChainId,
    units: VecDeque<(Unit, u64)>,
    open: Option<(NamedFile, Opened)>,
    /// Where the log goes on, once its first segment was walked.
    cursor: Option<Cursor>,
    done: u64,
    total: u64,
    sequence: u64,
}

impl Scrubber {
    /// Every file of a store that nobody has open. The caller holds the lock.
    ///
    /// # Errors
    /// When there is no store of this version, or its directory cannot be read.
    pub fn everything(disk: Arc<dyn Disk>) -> Result<Scrubber, StoreError> {
        let chain = superblock::chain_of(&*disk).or_else(|error| {
            // Without a whole superblock the files can still be checked against each other, if any of them opens.
            let named = files(&*disk)?.into_iter().find_map(|(name, _)| {
                let first = segment::first_of(&name)?;
                let file = NamedFile::open(&*disk, &segment::name(first)).ok()?;
                page::open::<segment::LogPoint>(&file, 0, segment::MAGIC, None).ok().map(|opened| opened.chain)
            });
            if error.is_damage() { named.ok_or(error) } else { Err(error) }
        })?;
        let copies = Copies::read(&*disk, None).map_or(Vec::new(), |copies| copies.whole());
        let units = plan(&*disk, &copies)?;
        let total = units.iter().map(|unit| unit.1).sum();
        let sequence = copies.first().map_or(0, |newest| newest.sequence);
        Ok(Scrubber { disk, chain, units, open: None, cursor: None, done: 0, total, sequence })
    }

    /// The files of a running store that nobody writes to until the next checkpoint: the present image, sealed segments
    /// and their indexes.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn resting(keeper: &Keeper) -> Result<Scrubber, StoreError> {
        let sequence = keeper.checkpoint_sequence();
        let sealed = keeper.sealed();
        let mut scrubber = Scrubber::everything(keeper.disk().clone())?;
        scrubber.units.retain(|(unit, _)| match unit {
            Unit::Superblock => true,
            Unit::Opens { spare, .. } => !spare,
            Unit::Segment { first, .. } => sealed.contains(first),
            _ => false,
        });
        scrubber.total = scrubber.units.iter().map(|unit| unit.1).sum();
        scrubber.sequence = sequence;
        Ok(scrubber)
    }

    /// Whether a checkpoint has changed what this walk was to look at: it must begin anew.
    pub fn outdated(&self, keeper: &Keeper) -> bool {
        keeper.checkpoint_sequence() != self.sequence
    }

    /// Bytes looked at, and bytes in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.min(self.total), self.total)
    }

    /// Looks at the next part and appends what it finds; false at the end.
    ///
    /// # Errors
    /// When the system refuses to read.
    pub fn step(&mut self, found: &mut Vec<Finding>) -> Result<bool, StoreError> {
        let Some((unit, bytes)) = self.units.pop_front() else { return Ok(false) };
        let done = self.done;
        match unit {
            Unit::Superblock => self.superblock(found)?,
            Unit::Opens { name, magic, checksum, spare } => self.opens(&name, magic, checksum, spare, bytes, found)?,
            Unit::Pages { first, count, spare } => self.pages(first, count, spare, found)?,
            Unit::Segment { first, last } => {
                // A segment that was pruned meanwhile is no damage.
                match self.segment(first, last, found) {
                    Err(error) if error.is_missing_file() => self.cursor = None,
                    Err(error) => {
                        self.cursor = None;
                        found.push(finding(error, false)?);
                    }
                    Ok(()) => {}
                }
            }
            Unit::Empty { name } => {
                let file = NamedFile::open(&*self.disk, &name)?;
                if file.bytes()? != 0 {
                    found.push(finding(file.damaged(0, "the lock file is not empty"), true)?);
                }
            }
            Unit::Unknown { name } => {
                let what = "no file of a store; a leftover of an interrupted start, or yours".to_owned();
                found.push(Finding { file: name, offset: 0, what, spare: true });
            }
        }
        if self.done == done {
            self.done += bytes;
        }
        Ok(true)
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn run(mut self, mut progress: impl FnMut(u64, u64)) -> Result<Vec<Finding>, StoreError> {
        let mut found = Vec::new();
        while self.step(&mut found)? {
            let (done, total) = self.progress();
            progress(done, total);
        }
        Ok(found)
    }

    fn superblock(&self, found: &mut Vec<Finding>) -> Result<(), StoreError> {
        match Copies::read(&*self.disk, Some(&self.chain)) {
            Ok(copies) => {
                for error in copies.damage() {
                    found.push(finding(error, false)?);
                }
            }
            Err(error) => found.push(finding(error, false)?),
        }
        Ok(())
    }

    fn opens(
        &mut self,
        name: &str,
        magic: [u8; 8],
        checksum: Option<[u8; 32]>,
        spare: bool,
        bytes: u64,
        found: &mut Vec<Finding>,
    ) -> Result<(), StoreError> {
        let opened = NamedFile::open(&*self.disk, name).and_then(|file| {
            let opened = paged::open(&file, magic, Some(&self.chain), None)?;
            if checksum.is_some_and(|checksum| checksum != opened.checksum) {
                return Err(file.damaged(0, "the header is not the one that the superblock names"));
            }
            Ok((file, opened))
        });
        match opened {
            Ok((file, opened)) => {
                let pages = opened.layout.pages();
                let step = (STEP_BYTES / PAGE_BYTES) as usize;
                for first in (0..pages).step_by(step).rev() {
                    let count = step.min(pages - first);
                    self.units.push_front((Unit::Pages { first, count, spare }, count as u64 * PAGE_BYTES));
                }
                self.done += bytes.saturating_sub(pages as u64 * PAGE_BYTES).max(1);
                self.open = Some((file, opened));
            }
            // Pruned meanwhile.
            Err(error) if error.is_missing_file() => {}
            Err(error @ (StoreError::WrongChain { .. } | StoreError::Version { .. })) => {
                found.push(Finding { file: name.to_owned(), offset: 0, what: error.to_string(), spare })
            }
            Err(error) => found.push(finding(error, spare)?),
        }
        Ok(())
    }

    fn pages(&self, first: usize, count: usize, spare: bool, found: &mut Vec<Finding>) -> Result<(), StoreError> {
        let (file, opened) = self.open.as_ref().expect("pages follow the opening of their file");
        let mut bytes = vec![0; count * PAGE_BYTES as usize];
        file.read((first + 1) as u64 * PAGE_BYTES, &mut bytes)?;
        for (i, page) in bytes.chunks_exact(PAGE_BYTES as usize).enumerate() {
            if let Err(error) = opened.check(file, first + i, page) {
                found.push(finding(error, spare)?);
            }
        }
        Ok(())
    }

    fn segment(&mut self, first: u64, last: bool, found: &mut Vec<Finding>) -> Result<(), StoreError> {
        let segment = Segment::open(&*self.disk, Some(&self.chain), first)?;
        if let Some(cursor) = self.cursor.take()
            && (cursor.number, cursor.chained) != (first, segment.chained)
        {
            found.push(finding(segment.file.damaged(0, "the segment does not continue the one before"), false)?);
        }
        let mark = match segment.mark(Some(&self.chain)) {
            Ok(mark) => mark,
            Err(error) => {
                found.push(finding(error, true)?);
                None
            }
        };
        let mut cursor = segment.start();
        let end = segment.walk(&mut cursor, |_, _, _| Ok(()))?;
        let acknowledged = mark.is_some_and(|mark| mark.number >= cursor.number);
        match end {
            WalkEnd::Broken(what) if last && !acknowledged => {
                let what = format!("{what}; it was being written when the process ended, and never acknowledged");
                found.push(finding(segment.file.damaged(cursor.offset, what), true)?);
            }
            WalkEnd::Broken(what) => found.push(finding(segment.file.damaged(cursor.offset, what), false)?),
            WalkEnd::Clean => {
                if acknowledged {
                    let what = format!("record {} is gone, though it was acknowledged", cursor.number);
                    found.push(finding(segment.file.damaged(cursor.offset, what), false)?);
                }
                if let Some(offset) = segment.first_nonzero(cursor.offset)? {
                    found.push(finding(segment.file.damaged(offset, "reserved space is not zero"), true)?);
                }
                if !last && segment.file.bytes()? != cursor.offset {
                    found.push(finding(
                        segment.file.damaged(cursor.offset, "a sealed segment has bytes behind its last record"),
                        true,
                    )?);
                }
                self.cursor = Some(cursor);
            }
        }
        Ok(())
    }
}
