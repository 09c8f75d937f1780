//! Transactions of this node's own users that it has accepted and that have not ended: what is said to be accepted is on
//! the disk, so that a node that is killed forgets none.
//!
//! ```text
//!   accepted      head 64 | group | group | ...                       each group begins at a multiple of 64 bytes
//!
//!   head          magic 8 | version u32 | reserved u32 | chain 32 | checksum 16
//!   group         magic 8 | bytes u32 | count u32 | checksum 16 | count x transaction
//!   transaction   whose 17 | length u16 | bytes
//! ```
//!
//! Numbers are little endian; a checksum is the first 16 bytes of BLAKE3 over the chain, the place in the file, and what it
//! guards. A group is written with one write and synced with one sync; nobody hears of its transactions before that.
//!
//! Why a power cut is harmless: what it tears was told to nobody, and its checksum shows it. The file is made under another
//! name and renamed when it is whole and synced ([`AcceptedFile::rewrite`]): the one before has all that was promised, and so
//! has the new one, which is relied upon once its name is synced. Rot takes the group that it is in and no other, since the
//! next one is found by its place.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::transaction::item::Item;
use dynemix_storage::{Disk, DiskFile, StoreError};
use std::io;
use std::sync::Arc;

const NAME: &str = "accepted";
/// The same while it is made.
const PART: &str = "accepted.part";
const MAGIC: [u8; 8] = *b"DYNXACPT";
const GROUP_MAGIC: [u8; 8] = *b"DYNXGRUP";
const VERSION: u32 = 1;
/// Groups begin at multiples of it, so that one is found behind another that is damaged.
const PLACE_BYTES: usize = 64;
const HEAD_BYTES: usize = 8 + 4 + 4 + 32 + CHECKSUM_BYTES;
const GROUP_HEAD_BYTES: usize = 8 + 4 + 4 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 16;
/// Whose a transaction is, as whoever keeps it writes it.
pub const WHOSE_BYTES: usize = 17;
/// Transactions of a group at most.
pub const GROUP_MAX: usize = 4_096;

/// A transaction, and whose it is.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What its sender has signed.
    pub item: Item,
    /// In whose share it counts.
    pub whose: [u8; WHOSE_BYTES],
}

/// The file, open for what is accepted next.
pub struct AcceptedFile {
    data: Arc<dyn Disk>,
    chain: Hash,
    /// None before the first [`Self::rewrite`].
    file: Option<Arc<dyn DiskFile>>,
    end: u64,
    buffer: Vec<u8>,
}

fn failed(data: &dyn Disk, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = data.path().join(NAME);
    move |source| StoreError::Io { action, path, source }
}

fn checksum(chain: &Hash, place: u64, parts: [&[u8]; 2]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain).update(&place.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn head(chain: &Hash) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(chain);
    out.extend_from_slice(&checksum(chain, 0, [&out, &[]]));
    assert_eq!(out.len(), HEAD_BYTES, "a head has its fields and nothing else");
    out
}

/// Puts a group that stands at this place behind what is in the buffer.
fn put_group(chain: &Hash, place: u64, group: &[Accepted], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&GROUP_MAGIC);
    out.extend_from_slice(&[0; GROUP_HEAD_BYTES - 8]);
    for Accepted { item, whose } in group {
        let length = u16::try_from(item.length()).expect("a transaction has a few kilobytes at most");
        out.extend_from_slice(whose);
        out.extend_from_slice(&length.to_le_bytes());
        item.parts().iter().for_each(|part| out.extend_from_slice(part));
    }
    let bytes = (out.len() - at - GROUP_HEAD_BYTES) as u32;
    out[at + 8..at + 12].copy_from_slice(&bytes.to_le_bytes());
    out[at + 12..at + 16].copy_from_slice(&(group.len() as u32).to_le_bytes());
    let sum = checksum(chain, place, [&out[at + 8..at + 16], &out[at + GROUP_HEAD_BYTES..]]);
    out[at + 16..at + GROUP_HEAD_BYTES].copy_from_slice(&sum);
    // The rest of its last place.
    out.resize(at + (out.len() - at).next_multiple_of(PLACE_BYTES), 0);
    assert!(place.is_multiple_of(PLACE_BYTES as u64), "a group at byte {place} is never found again");
}

/// The group that begins these bytes, which stand at this place: how many bytes it has, and its transactions. None where
/// no whole one begins.
fn read_group(chain: &Hash, place: u64, bytes: &[u8]) -> Option<(usize, Vec<Accepted>)> {
    let (head, rest) = bytes.split_first_chunk::<GROUP_HEAD_BYTES>().filter(|(head, _)| head[..8] == GROUP_MAGIC)?;
    let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
    let (length, count) = (four(8) as usize, four(12) as usize);
    let payload = rest.get(..length)?;
    if checksum(chain, place, [&head[8..16], payload]) != head[16..] {
        return None;
    }
    let (mut group, mut rest) = (Vec::with_capacity(count.min(GROUP_MAX)), payload);
    while !rest.is_empty() {
        let (whose, after) = rest.split_first_chunk::<WHOSE_BYTES>()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (bytes, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        group.push(Accepted { item: Item::of_bytes(bytes), whose: *whose });
        rest = after;
    }
    (group.len() == count).then_some(((GROUP_HEAD_BYTES + length).next_multiple_of(PLACE_BYTES), group))
}

impl AcceptedFile {
    /// What earlier processes have accepted, in that order, and the file to go on with: [`Self::rewrite`] begins it.
    ///
    /// # Errors
    /// A file of another chain or version, or what the disk refuses.
    pub fn open(data: Arc<dyn Disk>, chain: Hash) -> Result<(AcceptedFile, Vec<Accepted>), StoreError> {
        let bytes = match data.read_whole(NAME, u64::MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed(&*data, "read"))?,
        };
        // A head that has rotted says nothing; what its groups are, each of them proves.
        if let Some(found) = bytes.first_chunk::<HEAD_BYTES>()
            && found[..] != head(&chain)[..]
        {
            let of: Hash = found[16..48].try_into().expect("32 bytes");
            let sum = checksum(&of, 0, [&found[..48], &[]]);
            let (path, version) = (data.path().join(NAME), found[8..12].try_into().expect("4 bytes"));
            if sum == found[48..] && of != chain {
                return Err(StoreError::WrongChain { path });
            }
            if sum == found[48..] {
                return Err(StoreError::Version { path, found: u32::from_le_bytes(version), expected: VERSION });
            }
        }
        let (mut accepted, mut at, mut passed) = (Vec::new(), HEAD_BYTES, 0);
        let mut rotten = 0;
        while at < bytes.len() {
            match read_group(&chain, at as u64, &bytes[at..]) {
                Some((length, group)) => {
                    accepted.extend(group);
                    at += length;
                    // What was passed over stands before a whole one: it was whole once.
                    rotten += std::mem::take(&mut passed);
                }
                None => (at, passed) = (at + PLACE_BYTES, passed + PLACE_BYTES),
            }
        }
        if rotten > 0 {
            tracing::error!(
                bytes = rotten,
                file = NAME,
                "a part of the accepted transactions is damaged, and forgotten"
            );
        }
        Ok((AcceptedFile { data, chain, file: None, end: 0, buffer: Vec::new() }, accepted))
    }

    /// Begins the file anew with these, which are all that have not ended.
    ///
    /// # Errors
    /// Whatever the disk refuses.
    pub fn rewrite(&mut self, all: &[Accepted]) -> Result<(), StoreError> {
        let AcceptedFile { data, chain, buffer, .. } = self;
        let mut write = || {
            let file = data.create(PART)?;
            file.write(0, &head(chain))?;
            let mut end = HEAD_BYTES as u64;
            for group in all.chunks(GROUP_MAX) {
                buffer.clear();
                put_group(chain, end, group, buffer);
                file.write(end, buffer)?;
                end += buffer.len() as u64;
            }
            file.sync()?;
            data.rename(PART, NAME)?;
            data.sync_names()?;
            Ok((file, end))
        };
        let (file, end) = write().map_err(failed(&*self.data, "write"))?;
        assert!(end.is_multiple_of(PLACE_BYTES as u64), "the next group is found by its place");
        (self.file, self.end) = (Some(file), end);
        Ok(())
    }

    /// Makes these durable: one write, one sync.
    ///
    /// # Errors
    /// Whatever the disk refuses: none of them is accepted then.
    ///
    /// # Panics
    /// When the file was not begun.
    pub fn append(&mut self, group: &[Accepted]) -> Result<(), StoreError> {
        assert!(!group.is_empty() && group.len() <= GROUP_MAX, "a group of {} transactions", group.len());
        self.buffer.clear();
        put_group(&self.chain, self.end, group, &mut self.buffer);
        let file = self.file.as_ref().expect("it is begun before anybody is heard");
        file.write(self.end, &self.buffer).and_then(|()| file.sync()).map_err(failed(&*self.data, "write"))?;
        self.end += self.buffer.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_storage::{CrashChoice, MemoryDisk};

    const CHAIN: Hash = [7; 32];

    fn accepted(number: u64) -> Accepted {
        let bytes: Vec<u8> = (0..193 + number % 100).map(|at| (at * number) as u8).collect();
        Accepted { item: Item::of_bytes(&bytes), whose: [number as u8; WHOSE_BYTES] }
    }

    fn open(disk: &MemoryDisk) -> (AcceptedFile, Vec<Accepted>) {
        AcceptedFile::open(Arc::new(disk.clone()), CHAIN).unwrap()
    }

    fn numbers(found: &[Accepted], of: u64) -> Vec<u64> {
        let number = |one: &Accepted| (0..of).find(|&number| accepted(number).item == one.item).expect("one of these");
        found.iter().map(number).collect()
    }

    #[test]
    fn what_was_appended_comes_back_in_order_and_of_another_chain_nothing() {
        let disk = MemoryDisk::new();
        let (mut file, found) = open(&disk);
        assert!(found.is_empty());
        file.rewrite(&[]).unwrap();
        for number in 0..40 {
            let group: Vec<_> = (5 * number..5 * (number + 1)).map(accepted).collect();
            file.append(&group).unwrap();
        }
        let (mut file, found) = open(&disk);
        assert_eq!(numbers(&found, 200), (0..200).collect::<Vec<_>>());
        assert_eq!(found[7].whose, [7; WHOSE_BYTES]);
        file.rewrite(&found[100..]).unwrap();
        file.append(&[accepted(200)]).unwrap();
        assert_eq!(numbers(&open(&disk).1, 201), (100..201).collect::<Vec<_>>());
        assert!(AcceptedFile::open(Arc::new(disk), [8; 32]).is_err_and(|error| error.to_string().contains("chain")));
    }

    #[test]
    fn rot_takes_the_group_that_it_is_in_and_no_other() {
        let disk = MemoryDisk::new();
        let (mut file, _) = open(&disk);
        file.rewrite(&[]).unwrap();
        (0..10).for_each(|number| file.append(&[accepted(number)]).unwrap());
        let bytes = disk.files().unwrap()[0].1;
        for at in 0..bytes {
            disk.flip(NAME, at, 3);
            let found = numbers(&open(&disk).1, 10);
            assert!(found.len() >= 9 && found.is_sorted(), "byte {at}: {found:?}");
            disk.flip(NAME, at, 3);
        }
    }

    #[test]
    fn a_power_cut_anywhere_keeps_what_was_durable() {
        let disk = MemoryDisk::new();
        let (mut file, _) = open(&disk);
        file.rewrite(&[]).unwrap();
        // Which are promised after each mark: from the first to the second.
        let mut promised = Vec::new();
        for round in 0..12u64 {
            let first = if round < 6 { 0 } else { 10 };
            if round == 6 {
                let all: Vec<_> = (10..18).map(accepted).collect();
                file.rewrite(&all).unwrap();
            }
            file.append(&(3 * round..3 * (round + 1)).map(accepted).collect::<Vec<_>>()).unwrap();
            disk.mark(promised.len() as u64);
            promised.push((first, 3 * (round + 1)));
        }
        let mut seed = 1u64;
        let mut dice = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 63 == 1
        };
        for prefix in 0..=disk.log_len() {
            let mut images = vec![disk.crash(prefix, CrashChoice::All), disk.crash(prefix, CrashChoice::None)];
            images.extend((0..20).map(|_| disk.crash(prefix, CrashChoice::Each(&mut dice))));
            for image in images {
                let (mut file, found) = open(&image);
                let found = numbers(&found, 40);
                if let Some(mark) = disk.last_mark(prefix) {
                    let (first, end) = promised[mark as usize];
                    let first = if mark == 5 { 10 } else { first };
                    assert!((first..end).all(|number| found.contains(&number)), "operation {prefix}: {found:?}");
                }
                let all: Vec<_> = found.iter().map(|&number| accepted(number)).collect();
                file.rewrite(&all).unwrap();
                file.append(&[accepted(39)]).unwrap();
                let again = numbers(&open(&image.crash(image.log_len(), CrashChoice::None)).1, 40);
                assert_eq!(again, [found, vec![39]].concat());
            }
        }
    }
}
