//! Files of a node beside its store, each whole or refused: what they are, of which chain, how long, and a checksum.
//!
//! ```text
//!   magic 8 | version u32 | kind u32 | chain 32 | number u64 | bytes u64 | payload | BLAKE3 of all before 32
//! ```

use dynemix_engine::base::hash::Hash;
use dynemix_storage::Disk;
use std::io;
use std::path::PathBuf;

const MAGIC: [u8; 8] = *b"DYNXSEAL";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 4 + 32 + 8 + 8;
const CHECKSUM_BYTES: usize = 32;
/// Bytes that are gathered of a file's parts before they are written.
const BUFFER_BYTES: usize = 1 << 16;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SealedKind {
    /// What was signed.
    SignedOnce = 1,
    /// The system beside a checkpoint.
    System = 2,
    /// Transactions of a shard-block of our own.
    Kept = 3,
    /// The blocks that prove a snapshot.
    Blocks = 4,
    /// The newest block that a wallet has verified.
    Verified = 5,
    /// What a wallet has signed and has not ended.
    Pending = 6,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File that could not be read or written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Not whole, not ours, or changed.
    #[error("{} is damaged or not of this chain: {what}", path.display())]
    Damaged {
        /// File whose bytes are not to be used.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Of a file of this directory; no name: of the directory.
pub(super) fn failed(disk: &dyn Disk, name: &str) -> impl FnOnce(io::Error) -> SealedError {
    let path = if name.is_empty() { disk.path().to_owned() } else { disk.path().join(name) };
    move |source| SealedError::Io { path, source }
}

fn head(kind: SealedKind, chain: &Hash, number: u64, bytes: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(chain);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&bytes.to_le_bytes());
    assert_eq!(out.len(), HEAD_BYTES, "the head of a sealed file has its fields and nothing else");
    out
}

/// A file's bytes: for who writes them where they belong.
pub(super) fn seal(kind: SealedKind, chain: &Hash, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = head(kind, chain, number, payload.len() as u64);
    out.extend_from_slice(payload);
    let checksum = *blake3::hash(&out).as_bytes();
    out.extend_from_slice(&checksum);
    let parts = HEAD_BYTES + payload.len() + CHECKSUM_BYTES;
    assert_eq!(out.len(), parts, "a sealed file is as long as its head says");
    out
}

/// Writes a file under another name, syncs it, and gives it its name, which is durable then: it is whole or not there.
///
/// # Errors
/// Whatever the disk refuses.
pub fn write_whole(
    disk: &dyn Disk,
    name: &str,
    kind: SealedKind,
    chain: &Hash,
    number: u64,
    payload: &[u8],
) -> Result<(), SealedError> {
    let written = disk.replace(name, &[&seal(kind, chain, number, payload)]).and_then(|_| disk.sync_names());
    written.map_err(failed(disk, name))
}

/// Writes a file from its parts, of so many bytes in all, without a sync: the end of this process does not touch it, a
/// power cut within the next half minute may tear it, which its checksum shows.
///
/// # Errors
/// Whatever the disk refuses.
pub(super) fn write_unsynced<'p>(
    disk: &dyn Disk,
    name: &str,
    (kind, chain, number): (SealedKind, &Hash, u64),
    bytes: u64,
    parts: impl Iterator<Item = &'p [u8]>,
) -> Result<(), SealedError> {
    let write = || {
        let file = disk.create(name)?;
        let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
        // Hashed and written by the buffer, not by the part: small parts cost more than their bytes.
        let mut put = |buffer: &mut Vec<u8>| {
            hasher.update(buffer);
            file.write(at, buffer)?;
            at += buffer.len() as u64;
            buffer.clear();
            Ok::<_, io::Error>(())
        };
        let mut buffer = head(kind, chain, number, bytes);
        buffer.reserve(BUFFER_BYTES);
        let mut come = 0;
        for part in parts {
            come += part.len() as u64;
            buffer.extend_from_slice(part);
            if buffer.len() >= BUFFER_BYTES / 2 {
                put(&mut buffer)?;
            }
        }
        assert_eq!(come, bytes, "the parts of a sealed file weigh other than its head says");
        put(&mut buffer)?;
        file.write(at, hasher.finalize().as_bytes())
    };
    write().map_err(failed(disk, name))
}

/// The number and payload of a file; none if it is not there.
///
/// # Errors
/// A file that cannot be read or is not whole.
pub fn read(
    disk: &dyn Disk,
    name: &str,
    kind: SealedKind,
    chain: &Hash,
) -> Result<Option<(u64, Vec<u8>)>, SealedError> {
    let bytes = match disk.read_whole(name, u64::MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed(disk, name))?,
    };
    let damaged = |what| SealedError::Damaged { path: disk.path().join(name), what };
    unseal(&bytes, kind, chain).map(Some).map_err(damaged)
}

/// The number and payload of a file's bytes, wherever they come from.
///
/// # Errors
/// What is wrong with them.
pub fn unseal(bytes: &[u8], kind: SealedKind, chain: &Hash) -> Result<(u64, Vec<u8>), &'static str> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or("too short")?;
    let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let eight = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    if head[..8] != MAGIC || four(8) != VERSION || four(12) != kind as u32 {
        return Err("another kind of file, or another version");
    }
    if head[16..48] != chain[..] {
        return Err("of another chain");
    }
    let length = usize::try_from(eight(56)).unwrap_or(usize::MAX);
    let (payload, rest) = rest.split_at_checked(length).ok_or("too short")?;
    let checksum = rest.first_chunk::<32>().ok_or("too short")?;
    if blake3::hash(&bytes[..HEAD_BYTES + length]).as_bytes() != checksum {
        return Err("its checksum does not match");
    }
    Ok((eight(48), payload.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_storage::MemoryDisk;

    #[test]
    fn files_are_whole_or_named() {
        let disk = MemoryDisk::new();
        let read = |kind, chain: [u8; 32]| read(&disk, "system.7", kind, &chain);
        assert!(read(SealedKind::System, [1; 32]).unwrap().is_none());
        write_whole(&disk, "system.7", SealedKind::System, &[1; 32], 7, b"payload").unwrap();
        let whole = disk.read_whole("system.7", u64::MAX).unwrap();
        // Part by part it becomes the same.
        write_unsynced(&disk, "parts", (SealedKind::System, &[1; 32], 7), 7, [&b"pay"[..], b"load"].into_iter())
            .unwrap();
        assert_eq!(disk.read_whole("parts", u64::MAX).unwrap(), whole);
        assert_eq!(read(SealedKind::System, [1; 32]).unwrap(), Some((7, b"payload".to_vec())));
        assert!(read(SealedKind::Kept, [1; 32]).is_err() && read(SealedKind::System, [2; 32]).is_err());
        for at in 0..whole.len() {
            disk.flip("system.7", at as u64, 0);
            assert!(read(SealedKind::System, [1; 32]).is_err(), "byte {at}");
            disk.flip("system.7", at as u64, 0);
        }
        for cut in (0..whole.len()).rev() {
            disk.truncate("system.7", cut as u64);
            assert!(read(SealedKind::System, [1; 32]).is_err(), "cut to {cut}");
        }
    }
}
