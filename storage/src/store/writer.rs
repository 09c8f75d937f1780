//! Appends records to the log and syncs them.

use super::checkpoint::Checkpoint;
use super::keeper::Keeper;
use super::records::Records;
use super::shared::Shared;
use crate::disk::StoreError;
use crate::file::image::Image;
use crate::file::record::{self, record_bytes, record_checksum};
use crate::file::segment::{Cursor, RECORDS_OFFSET, Segment};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The writer of the log.
pub struct Store {
    shared: Arc<Shared>,
    active: Arc<Segment>,
    end: Cursor,
    reserved: u64,
    unsynced: bool,
    /// Which checkpoint's pass of [`Self::release`] is where.
    released: (u64, Option<usize>),
    buffer: Vec<u8>,
}

impl Store {
    /// A writer that goes on at `end`, in the segment `active` of `reserved` bytes.
    pub(super) fn going_on(shared: Arc<Shared>, active: Arc<Segment>, end: Cursor, reserved: u64) -> Store {
        Store { shared, active, end, reserved, unsynced: false, released: (0, None), buffer: Vec::new() }
    }

    /// Appends a record and returns its number; durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreError::TooLong`], [`StoreError::DiskFull`] and [`StoreError::Limit`] before anything is written. After any
    /// error but the first the store is broken.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        let shared = self.shared.clone();
        if u32::try_from(payload.len()).is_err() {
            return Err(StoreError::TooLong { number: self.end.number, bytes: payload.len() as u64 });
        }
        shared.whole(|| {
            let bytes = record_bytes(payload.len());
            let (free, watermark) = (
                shared.disk.free_bytes().map_err(StoreError::io("inspect", shared.disk.path()))?,
                shared.options.watermark_bytes,
            );
            if free < watermark {
                return Err(StoreError::DiskFull { path: shared.disk.path().to_owned(), free, watermark });
            }
            if self.end.offset + bytes > self.reserved {
                self.rotate(bytes)?;
            }
            let room = self.end.offset + bytes <= self.reserved;
            assert!(room, "record {} of {bytes} bytes runs over the end of its segment", self.end.number);
            let number = self.end.number;
            let checksum = record_checksum(&self.end.chained, number, payload);
            record::encode(&mut self.buffer, number, checksum, payload);
            self.active.file.write(self.end.offset, &self.buffer)?;
            self.active.note_offset(self.end.offset);
            self.end = Cursor { number: number + 1, offset: self.end.offset + bytes, chained: checksum };
            self.unsynced = true;
            Ok(number)
        })
    }

    /// Seals the active segment and begins a new one with room for a record of `bytes` bytes.
    fn rotate(&mut self, bytes: u64) -> Result<(), StoreError> {
        if self.end.number == self.active.first {
            // Nothing stands in it yet: it only has to be longer.
            self.active.file.reserve(RECORDS_OFFSET + bytes)?;
            self.active.file.sync()?;
            self.reserved = RECORDS_OFFSET + bytes;
            return Ok(());
        }
        if self.unsynced {
            self.sync_active()?;
        }
        let (noted, records) = (self.active.noted(), self.end.number - self.active.first);
        assert_eq!(noted, records, "segment {} is sealed with records that nobody can find", self.active.first);
        let shared = &self.shared;
        let next_bytes = shared.options.segment_bytes.max(RECORDS_OFFSET + bytes);
        shared.make_room(next_bytes)?;
        self.active.file.shorten(self.end.offset)?;
        self.active.file.sync()?;
        let segment = Segment::create(&*shared.disk, shared.chain, self.end.number, self.end.chained, next_bytes)?;
        self.active = Arc::new(segment);
        self.end.offset = RECORDS_OFFSET;
        self.reserved = next_bytes;
        shared.segments.write().expect("nothing panics while it holds the list").push(self.active.clone());
        Ok(())
    }

    fn sync_active(&mut self) -> Result<(), StoreError> {
        self.active.file.sync()?;
        self.unsynced = false;
        let number = self.end.number - 1;
        let before = self.shared.synced.swap(number, Ordering::AcqRel);
        assert!(before <= number, "the log was synced up to record {before} and is now up to {number}");
        self.active.write_mark(self.shared.chain, number, self.end.chained)
    }

    /// Makes all records durable: one sync for whatever was appended since the last.
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        shared.whole(|| self.sync_active())
    }

    /// The newest record.
    pub fn last_record(&self) -> u64 {
        self.end.number - 1
    }

    /// The right to one checkpoint of the state after the newest record, which must be synced and applied by now. While
    /// it exists, [`Self::release`] rests.
    ///
    /// # Panics
    /// When a record is not synced.
    pub fn begin_checkpoint(&self) -> Checkpoint {
        assert!(!self.unsynced, "a checkpoint is begun of a record that is not synced");
        Checkpoint::begin(self.shared.clone(), self.last_record())
    }

    /// Gives back the memory of up to `pages` pages of the working image that are again as on disk; call between
    /// blocks. Does one pass over the image after each checkpoint to the file below it, and nothing while one is under
    /// way.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn release(&mut self, image: &mut Image, pages: usize) -> Result<(), StoreError> {
        let present = self.shared.present().0;
        if present.image != image.number() || self.shared.pending.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        if self.released.0 != present.sequence {
            self.released = (present.sequence, Some(0));
        }
        if let Some(from) = self.released.1 {
            self.released.1 = image.release(from, pages)?;
        }
        Ok(())
    }

    /// Bytes of records since a record, roughly: whole segments count wholly.
    pub fn bytes_since(&self, record: u64) -> u64 {
        let segments = self.shared.segments();
        let sealed = segments.iter().rev().skip(1).take_while(|segment| segment.first > record);
        sealed.count() as u64 * self.shared.options.segment_bytes + self.end.offset
    }

    /// A reader of what is synced, for any thread.
    pub fn records(&self) -> Records {
        Records::new(self.shared.clone())
    }

    /// Keeps the store.
    pub fn keeper(&self) -> Keeper {
        Keeper::new(self.shared.clone())
    }
}
