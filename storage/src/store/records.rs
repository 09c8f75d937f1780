//! Reads what is synced.

use super::shared::Shared;
use crate::disk::StoreError;
use crate::file::index::{self, Occurrence, ReadKeys, SegmentIndex, Table};
use crate::file::segment::Segment;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads synced records.
#[derive(Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

impl Records {
    pub(super) fn new(shared: Arc<Shared>) -> Records {
        Records { shared }
    }

    /// The oldest kept record.
    pub fn first(&self) -> u64 {
        self.shared.segments()[0].first
    }

    /// The newest synced record.
    pub fn last(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// The record's payload.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`] when it is not kept; damage.
    pub fn read(&self, number: u64) -> Result<Vec<u8>, StoreError> {
        self.in_segment(number, Segment::read)
    }

    /// How many bytes the record's payload has, as its head says: nothing else of it is read.
    ///
    /// # Errors
    /// The same.
    pub fn bytes_of(&self, number: u64) -> Result<u64, StoreError> {
        self.in_segment(number, Segment::bytes_of)
    }

    /// What the segment says that holds a record.
    fn in_segment<T>(
        &self,
        number: u64,
        ask: impl FnOnce(&Segment, u64) -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        let segments = self.shared.segments();
        let none = || StoreError::NoRecord { number, first: segments[0].first, last: self.last() };
        if number > self.last() {
            return Err(none());
        }
        let segment = segments.iter().rev().find(|segment| segment.first <= number).ok_or_else(none)?;
        if !segment.has_offsets()
            && let Some(index) = self.index_of(segment)?
        {
            segment.set_offsets(index.offsets()?);
        }
        ask(segment, number)?.ok_or_else(none)
    }

    /// The segment's index, if it has one.
    fn index_of(&self, segment: &Segment) -> Result<Option<SegmentIndex>, StoreError> {
        match SegmentIndex::open(&*self.shared.disk, &self.shared.chain, segment.first) {
            Ok(index) => Ok(Some(index)),
            Err(error) if error.is_missing_file() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where a key occurs in the kept records, oldest first. A hint: other keys may share its first half.
    ///
    /// # Errors
    /// When a file cannot be read or is damaged.
    pub fn find(&self, table: Table, key: &[u8; 32], reader: &dyn ReadKeys) -> Result<Vec<Occurrence>, StoreError> {
        let mut found = Vec::new();
        for segment in self.shared.segments() {
            match self.index_of(&segment)? {
                Some(index) => index.find(segment.first, table, key, &mut found)?,
                None => index::scan(&segment, reader, table, key, &mut found)?,
            }
        }
        let last = self.last();
        found.retain(|occurrence| occurrence.number <= last);
        Ok(found)
    }
}
