//! One file of the log: numbered records, each chained to the one before by its checksum.
//!
//! ```text
//!   page 0   head | first record u64 | running checksum before it 32
//!   page 1   head | newest synced record u64 | running checksum after it 32       (the mark; zero at first)
//!   record   magic u32 | bytes u32 | number u64 | checksum 32 | payload | zeros up to 8
//!            checksum = BLAKE3(checksum before | number | bytes | payload)
//!   then     zeros, reserved
//! ```
//!
//! The mark is written after each sync and not synced itself. It tells a record that was torn by a power cut (and never
//! acknowledged) from one that was acknowledged and has rotted since.

use super::page::{self, ChainId, PAGE_BYTES, Sum};
use super::record::{RECORD_HEAD_BYTES, RECORD_MAGIC, RecordHead, record_bytes, record_checksum};
use crate::disk::{Disk, NamedFile, StoreError, rename, sync_names};
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;
use std::sync::{Mutex, MutexGuard};

pub(crate) const MAGIC: [u8; 8] = *b"DYNXLOG\0";
const MARK_MAGIC: [u8; 8] = *b"DYNXMRK\0";
/// Where records begin.
pub(crate) const RECORDS_OFFSET: u64 = 2 * PAGE_BYTES;

/// What a segment's header says, and likewise its mark.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct LogPoint {
    /// Header: the first record. Mark: the newest synced one.
    pub(crate) number: u64,
    /// Header: the running checksum before it. Mark: after it.
    pub(crate) chained: Sum,
}
const _: () = {
    assert!(size_of::<LogPoint>() == 8 + 32, "padding or another size");
    assert!(align_of::<LogPoint>() == 8);
    assert!(offset_of!(LogPoint, number) == 0);
    assert!(offset_of!(LogPoint, chained) == 8);
};

/// Name of the segment whose first record is `first`.
pub(crate) fn name(first: u64) -> String {
    format!("log.{first:012}")
}

/// First record of the segment of this name.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    name.strip_prefix("log.")?.parse().ok()
}

/// An open segment. Written to by the log's owner, read by anyone.
pub(crate) struct Segment {
    pub(crate) file: NamedFile,
    pub(crate) first: u64,
    /// Running checksum before the first record.
    pub(crate) chained: Sum,
    /// Offset of each record; none until someone has asked for one.
    offsets: Mutex<Option<Vec<u64>>>,
}

/// Where a walk over records stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) number: u64,
    pub(crate) offset: u64,
    pub(crate) chained: Sum,
}

/// Why a walk ended.
pub(crate) enum WalkEnd {
    /// The bytes at the cursor are zero or the file ends: the records end here.
    Clean,
    /// The bytes at the cursor are something that is no valid record.
    Broken(String),
}

impl Segment {
    /// Makes an empty segment, durable under its name, with room for `bytes` bytes.
    pub(crate) fn create(
        disk: &dyn Disk,
        chain: ChainId,
        first: u64,
        chained: Sum,
        bytes: u64,
    ) -> Result<Segment, StoreError> {
        let mut file = NamedFile::create(disk, "log.new", bytes)?;
        file.write(0, &page::seal(MAGIC, chain, &LogPoint { number: first, chained }).0)?;
        file.sync()?;
        rename(disk, "log.new", &name(first))?;
        sync_names(disk)?;
        file.path.set_file_name(name(first));
        Ok(Segment { file, first, chained, offsets: Mutex::new(Some(Vec::new())) })
    }

    pub(crate) fn open(disk: &dyn Disk, chain: Option<&ChainId>, first: u64) -> Result<Segment, StoreError> {
        let file = NamedFile::open(disk, &name(first))?;
        let point = page::open::<LogPoint>(&file, 0, MAGIC, chain)?.body;
        if point.number != first {
            return Err(file.damaged(
                page::HEAD_BYTES as u64,
                format!("the header says record {}, the name {first}", point.number),
            ));
        }
        Ok(Segment { file, first, chained: point.chained, offsets: Mutex::new(None) })
    }

    pub(crate) fn start(&self) -> Cursor {
        Cursor { number: self.first, offset: RECORDS_OFFSET, chained: self.chained }
    }

    /// The mark, none if there never was one.
    pub(crate) fn mark(&self, chain: Option<&ChainId>) -> Result<Option<LogPoint>, StoreError> {
        let mut bytes = [0; PAGE_BYTES as usize];
        if self.file.bytes()? < RECORDS_OFFSET {
            return Err(self.file.damaged(self.file.bytes()?, "the file ends inside its headers"));
        }
        self.file.read(PAGE_BYTES, &mut bytes)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        Ok(Some(page::open::<LogPoint>(&self.file, PAGE_BYTES, MARK_MAGIC, chain)?.body))
    }

    /// The mark, if it is whole: it is not synced, so one that was torn tells nothing.
    pub(crate) fn whole_mark(&self, chain: &ChainId) -> Result<Option<LogPoint>, StoreError> {
        match self.mark(Some(chain)) {
            Err(error) if error.is_damage() => Ok(None),
            mark => mark,
        }
    }

    /// Writes down that the records up to `number` are synced.
    pub(crate) fn write_mark(&self, chain: ChainId, number: u64, chained: Sum) -> Result<(), StoreError> {
        assert!(number + 1 >= self.first, "the mark of segment {} speaks of record {number} before it", self.first);
        self.file.write(PAGE_BYTES, &page::seal(MARK_MAGIC, chain, &LogPoint { number, chained }).0)
    }

    /// Hands every whole record from the cursor on to `each` with its offset, and leaves the cursor behind the last.
    pub(crate) fn walk(
        &self,
        cursor: &mut Cursor,
        mut each: impl FnMut(u64, u64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<WalkEnd, StoreError> {
        let end = self.walk_some(cursor, |number, offset, payload| each(number, offset, payload).map(|()| true))?;
        Ok(end.expect("nobody asked to stop early"))
    }

    /// Like [`Self::walk`], but stops behind a record for which `each` returns false; none then.
    pub(crate) fn walk_some(
        &self,
        cursor: &mut Cursor,
        mut each: impl FnMut(u64, u64, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<Option<WalkEnd>, StoreError> {
        let end = self.file.bytes()?;
        let mut payload = Vec::new();
        loop {
            let room = end.saturating_sub(cursor.offset);
            if room < RECORD_HEAD_BYTES {
                let clean = self.first_nonzero(cursor.offset)?.is_none();
                return Ok(Some(if clean {
                    WalkEnd::Clean
                } else {
                    WalkEnd::Broken("the file ends inside a record".into())
                }));
            }
            let mut head = RecordHead::zeroed();
            self.file.read(cursor.offset, bytemuck::bytes_of_mut(&mut head))?;
            if bytemuck::bytes_of(&head).iter().all(|&byte| byte == 0) {
                return Ok(Some(WalkEnd::Clean));
            }
            let bytes = record_bytes(head.bytes as usize);
            if head.magic != RECORD_MAGIC || head.number != cursor.number || bytes > room {
                return Ok(Some(WalkEnd::Broken(format!("record {} has a head that cannot be", cursor.number))));
            }
            payload.resize((bytes - RECORD_HEAD_BYTES) as usize, 0);
            self.file.read(cursor.offset + RECORD_HEAD_BYTES, &mut payload)?;
            let (content, padding) = payload.split_at(head.bytes as usize);
            if record_checksum(&cursor.chained, cursor.number, content) != head.checksum
                || padding.iter().any(|&byte| byte != 0)
            {
                return Ok(Some(WalkEnd::Broken(format!("record {} does not match its checksum", cursor.number))));
            }
            let more = each(cursor.number, cursor.offset, content)?;
            *cursor = Cursor { number: cursor.number + 1, offset: cursor.offset + bytes, chained: head.checksum };
            if !more {
                return Ok(None);
            }
        }
    }

    /// Writes the records from number `from` up to the end over themselves.
    pub(crate) fn write_again(&self, from: u64, end: &Cursor) -> Result<(), StoreError> {
        let place = from.saturating_sub(self.first) as usize;
        let offset = self.locked().as_ref().and_then(|offsets| offsets.get(place).copied());
        let Some(mut at) = offset else { return Ok(()) };
        let mut buffer = vec![0; 1 << 20];
        while at < end.offset {
            let part = (end.offset - at).min(buffer.len() as u64) as usize;
            self.file.read(at, &mut buffer[..part])?;
            self.file.write(at, &buffer[..part])?;
            at += part as u64;
        }
        Ok(())
    }

    /// Remembers where the next record stands.
    pub(crate) fn note_offset(&self, offset: u64) {
        let mut locked = self.locked();
        let offsets = locked.get_or_insert_with(Vec::new);
        let before = offsets.last().copied().unwrap_or(0);
        assert!(offset > before, "a record at byte {offset} of the log stands behind one at byte {before}");
        offsets.push(offset);
    }

    /// How many records are known to stand here.
    pub(crate) fn noted(&self) -> u64 {
        self.locked().as_ref().map_or(0, |offsets| offsets.len() as u64)
    }

    pub(crate) fn set_offsets(&self, offsets: Vec<u64>) {
        *self.locked() = Some(offsets);
    }

    pub(crate) fn has_offsets(&self) -> bool {
        self.locked().is_some()
    }

    fn locked(&self) -> MutexGuard<'_, Option<Vec<u64>>> {
        self.offsets.lock().expect("nothing panics while it holds the offsets")
    }

    /// Where a record begins, and the one before it; none if the segment does not hold it.
    fn find(&self, number: u64) -> Result<Option<(Option<u64>, u64)>, StoreError> {
        let mut offsets = self.locked();
        if offsets.is_none() {
            let mut found = Vec::new();
            let mut cursor = self.start();
            let end = self.walk(&mut cursor, |_, offset, _| {
                found.push(offset);
                Ok(())
            })?;
            // Only sealed segments come here: their records must all be whole.
            if let WalkEnd::Broken(what) = end
                && number >= cursor.number
            {
                return Err(self.file.damaged(cursor.offset, what));
            }
            *offsets = Some(found);
        }
        let place = (number - self.first) as usize;
        let known = offsets.as_ref().expect("filled above");
        let before = place.checked_sub(1).map(|place| known[place]);
        Ok(known.get(place).map(|&offset| (before, offset)))
    }

    fn head_at(&self, offset: u64) -> Result<RecordHead, StoreError> {
        let mut head = RecordHead::zeroed();
        self.file.read(offset, bytemuck::bytes_of_mut(&mut head)).map(|()| head)
    }

    /// How many bytes a record has, as far as its head says; none if the segment does not hold it.
    pub(crate) fn bytes_of(&self, number: u64) -> Result<Option<u64>, StoreError> {
        let Some((_, offset)) = self.find(number)? else { return Ok(None) };
        self.head_at(offset).map(|head| Some(u64::from(head.bytes)))
    }

    /// Reads a record and checks it; none if the segment does not hold it.
    pub(crate) fn read(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((before, offset)) = self.find(number)? else { return Ok(None) };
        let chained = before.map_or(Ok(self.chained), |offset| self.head_at(offset).map(|head| head.checksum))?;
        let head = self.head_at(offset)?;
        let wrong = || self.file.damaged(offset, format!("record {number} does not match its checksum"));
        if head.magic != RECORD_MAGIC
            || head.number != number
            || offset + record_bytes(head.bytes as usize) > self.file.bytes()?
        {
            return Err(wrong());
        }
        let mut payload = vec![0; head.bytes as usize];
        self.file.read(offset + RECORD_HEAD_BYTES, &mut payload)?;
        if record_checksum(&chained, number, &payload) != head.checksum { Err(wrong()) } else { Ok(Some(payload)) }
    }

    /// First byte at or behind `offset` that is not zero.
    pub(crate) fn first_nonzero(&self, mut offset: u64) -> Result<Option<u64>, StoreError> {
        let end = self.file.bytes()?;
        let mut buffer = vec![0; 1 << 20];
        while offset < end {
            let part = (end - offset).min(buffer.len() as u64) as usize;
            self.file.read(offset, &mut buffer[..part])?;
            if let Some(at) = buffer[..part].iter().position(|&byte| byte != 0) {
                return Ok(Some(offset + at as u64));
            }
            offset += part as u64;
        }
        Ok(None)
    }

    /// Writes zeros over whatever stands behind `offset`, page by page where there is something.
    pub(crate) fn clear_from(&self, offset: u64) -> Result<(), StoreError> {
        let end = self.file.bytes()?;
        let mut at = offset;
        while let Some(dirty) = self.first_nonzero(at)? {
            let next = (dirty + 1).next_multiple_of(PAGE_BYTES).min(end);
            self.file.write(dirty, &vec![0; (next - dirty) as usize])?;
            at = next;
        }
        Ok(())
    }
}
