//! The journal: numbered records, each chained to the one before by its checksum.
//!
//! ```text
//!   page 0   magic 8 | version u32 | 0 u32 | chain 32 | first record u64 | checksum 32
//!   record   magic u32 | bytes u32 | number u64 | checksum 32 | payload | zeros up to 8
//!            checksum = BLAKE3(checksum before | number | bytes | payload); the first chains to the header's
//! ```
//!
//! Space is reserved ahead, so a sync has data to write and no metadata. A record that is torn, or old bytes in reserved
//! space, fail the chain: there the journal ends. Only the record being written at a crash can be lost that way, and that
//! one was not acknowledged.

use crate::error::StoreError;
use crate::file::{NamedFile, PAGE_BYTES};
use crate::store::ChainId;
use bytemuck::{Pod, Zeroable};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"DYNXJRN\0";
const VERSION: u32 = 1;
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"QREC");
/// How far ahead space is reserved.
const RESERVE_BYTES: u64 = 64 << 20;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Header {
    magic: [u8; 8],
    version: u32,
    reserved: u32,
    chain: ChainId,
    first: u64,
    checksum: [u8; 32],
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RecordHeader {
    magic: u32,
    bytes: u32,
    number: u64,
    checksum: [u8; 32],
}
const _: () = assert!(size_of::<Header>() == 88 && size_of::<RecordHeader>() == 48);

/// An open journal, positioned at its end.
pub(crate) struct Journal {
    file: NamedFile,
    chained: [u8; 32],
    number: u64,
    end: u64,
    reserved: u64,
    buffer: Vec<u8>,
}

pub(crate) fn journal_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("journal.{first}"))
}

fn header_checksum(header: &Header) -> [u8; 32] {
    *blake3::hash(&bytemuck::bytes_of(header)[..size_of::<Header>() - 32]).as_bytes()
}

fn record_checksum(before: &[u8; 32], number: u64, payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&number.to_le_bytes()).update(&(payload.len() as u32).to_le_bytes()).update(payload);
    *hasher.finalize().as_bytes()
}

impl Journal {
    /// Makes an empty journal whose first record will be `first`, and syncs it.
    pub(crate) fn create(directory: &Path, chain: ChainId, first: u64) -> Result<Journal, StoreError> {
        let file = NamedFile::create(&journal_path(directory, first), RESERVE_BYTES)?;
        let mut header = Header { magic: MAGIC, version: VERSION, reserved: 0, chain, first, checksum: [0; 32] };
        header.checksum = header_checksum(&header);
        file.write(0, bytemuck::bytes_of(&header))?;
        file.sync_all()?;
        Ok(Journal { file, chained: header.checksum, number: first, end: PAGE_BYTES, reserved: RESERVE_BYTES, buffer: Vec::new() })
    }

    /// Opens a journal and hands every whole record to `each`, in order.
    pub(crate) fn open<E: From<StoreError>>(
        directory: &Path,
        chain: ChainId,
        first: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Journal, E> {
        let path = journal_path(directory, first);
        let file = NamedFile::open(&path)?;
        let mut header = Header::zeroed();
        let reserved = file.bytes()?;
        if reserved < PAGE_BYTES {
            return Err(StoreError::damaged(&path, reserved, "the file is shorter than its header").into());
        }
        file.read(0, bytemuck::bytes_of_mut(&mut header))?;
        if header.magic != MAGIC {
            return Err(StoreError::damaged(&path, 0, "not a journal").into());
        }
        if header.version != VERSION {
            return Err(StoreError::Version { path, found: header.version, expected: VERSION }.into());
        }
        if header_checksum(&header) != header.checksum || header.first != first {
            return Err(StoreError::damaged(&path, 0, "the header's checksum is wrong").into());
        }
        if header.chain != chain {
            return Err(StoreError::WrongChain { path }.into());
        }
        let mut journal = Journal { file, chained: header.checksum, number: first, end: PAGE_BYTES, reserved, buffer: Vec::new() };
        while let Some(payload) = journal.read_next()? {
            each(journal.number - 1, &payload)?;
        }
        Ok(journal)
    }

    fn read_next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let header_bytes = size_of::<RecordHeader>() as u64;
        if self.reserved - self.end < header_bytes {
            return Ok(None);
        }
        let mut header = RecordHeader::zeroed();
        self.file.read(self.end, bytemuck::bytes_of_mut(&mut header))?;
        let fits = u64::from(header.bytes) <= self.reserved - self.end - header_bytes;
        if header.magic != RECORD_MAGIC || header.number != self.number || !fits {
            return Ok(None);
        }
        let mut payload = vec![0; header.bytes as usize];
        self.file.read(self.end + header_bytes, &mut payload)?;
        if record_checksum(&self.chained, self.number, &payload) != header.checksum {
            return Ok(None);
        }
        self.advance(header.checksum, payload.len());
        Ok(Some(payload))
    }

    fn advance(&mut self, checksum: [u8; 32], payload_bytes: usize) {
        self.chained = checksum;
        self.number += 1;
        self.end += (size_of::<RecordHeader>() + payload_bytes).next_multiple_of(8) as u64;
    }

    /// The number that the next record will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.number
    }

    /// Bytes of records so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - PAGE_BYTES
    }

    /// Writes a record; durable after the next [`Self::sync`].
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        let number = self.number;
        let checksum = record_checksum(&self.chained, number, payload);
        let header = RecordHeader { magic: RECORD_MAGIC, bytes: payload.len() as u32, number, checksum };
        self.buffer.clear();
        self.buffer.extend_from_slice(bytemuck::bytes_of(&header));
        self.buffer.extend_from_slice(payload);
        self.buffer.resize(self.buffer.len().next_multiple_of(8), 0);
        let end = self.end + self.buffer.len() as u64;
        if end > self.reserved {
            let more = (end - self.reserved).next_multiple_of(RESERVE_BYTES);
            self.file.reserve(self.reserved, more)?;
            self.file.sync_all()?;
            self.reserved += more;
        }
        self.file.write(self.end, &self.buffer)?;
        self.advance(checksum, payload.len());
        Ok(number)
    }

    /// Makes all records durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data()
    }
}
