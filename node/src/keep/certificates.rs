//! The final certificate and the committee of every height, for good: what light clients follow, long after the log has
//! pruned the blocks. Beside the store, in a folder of its own, through the same disk.
//!
//! ```text
//!   certificates   head 64 | bytes u32 | checksum 8 | certificate with its master-block, committee        a height each
//!   heights        head 64 | where that stands, u64                                                       a height each
//!   keys           head 64 | account u32 | voting key 96 | checksum 8                                a minter each, once
//!
//!   head           magic 8 | version u32 | kind u32 | chain 32 | first height u64 | checksum 8
//!   committee      shards, members, of each: account less the one before, stake, 2 * shard + whether it is a delegate
//! ```
//!
//! Numbers of a committee are LEB128, the others little endian; a checksum is the first 8 bytes of BLAKE3 over its height
//! or account and what it guards. Of twenty seats a height takes some 540 bytes; the voting keys, which an account keeps
//! for good, would be 1 920 more.
//!
//! Why a power cut is harmless: `heights` is written and synced when what it points to is durable, `BATCH` heights at a
//! time at most, so of the last `BATCH` each is looked at when the files are opened. What is missing then is read from
//! the log again, which keeps far more.

use super::chain_store::state_folder;
use super::record::BlockRecord;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Seat, VoteKey};
use dynemix_engine::base::limits::SEATS_MAX;
use dynemix_engine::base::read::{CodecError, count, number};
use dynemix_engine::base::varint;
use dynemix_engine::chain::block::Final;
use dynemix_engine::chain::block_codec::{put_final, read_final};
use dynemix_engine::chain::codec::{put_committee, read_committee_with_keys};
use dynemix_engine::committee::members::{Committee, Member};
use dynemix_storage::{Disk, DiskFile, Records, StoreError};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

const MAGIC: [u8; 8] = *b"DYNXLITE";
const VERSION: u32 = 1;
const HEAD_BYTES: u64 = 64;
const NAMES: [&str; 3] = ["certificates", "heights", "keys"];
const ENTRY_HEAD_BYTES: usize = 4 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 8;
const PLACE_BYTES: u64 = 8;
const KEY_BYTES: usize = 4 + 96 + CHECKSUM_BYTES;
/// Heights that become durable together at most.
const BATCH: u64 = 64;
/// Bytes of an entry at most.
const ENTRY_BYTES_MAX: u32 = 1 << 20;

const UNPOISONED: &str = "nothing panics while it holds the state";

/// The certificates of a chain from some height on; clones are the same.
#[derive(Clone)]
pub struct Certificates {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    first: u64,
    files: [Arc<dyn DiskFile>; 3],
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// Heights that are durable.
    count: u64,
    /// Where the next entry of `certificates` goes.
    end: u64,
    /// How many keys are durable, and all that are known.
    keys_durable: u64,
    keys: HashMap<u32, VoteKey>,
    /// What is appended and not durable.
    places: Vec<u8>,
    entries: Vec<u8>,
    new_keys: Vec<u8>,
}

fn checksum(number: u64, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::Hasher::new().update(&number.to_le_bytes()).update(bytes).finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn head(kind: usize, chain: &Hash, first: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(chain);
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&checksum(first, &out));
    assert_eq!(out.len() as u64, HEAD_BYTES, "a head has its fields and nothing else");
    out
}

/// The committee of this height as it is kept.
fn put_compact(committee: &Committee, out: &mut Vec<u8>) {
    varint::write(out, committee.shards.len() as u64);
    varint::write(out, committee.members.len() as u64);
    let mut before = 0;
    for &Member { candidate, stake, shard, delegate } in &committee.members {
        varint::write(out, u64::from(candidate - before));
        varint::write(out, stake);
        varint::write(out, 2 * u64::from(shard) + u64::from(delegate));
        before = candidate;
    }
}

fn read_compact(bytes: &mut &[u8], height: u64) -> Result<Committee, CodecError> {
    let shards = usize::try_from(number(bytes)?).ok().filter(|&shards| shards <= SEATS_MAX).ok_or(CodecError::Field)?;
    let members_len = count(bytes, 3, SEATS_MAX)?;
    let mut shards: Vec<Vec<Seat>> = vec![Vec::new(); shards];
    let (mut members, mut before) = (Vec::with_capacity(members_len), 0u64);
    for seat in 0..members_len {
        before = before.checked_add(number(bytes)?).ok_or(CodecError::Field)?;
        let (candidate, stake, place) =
            (u32::try_from(before).map_err(|_| CodecError::Field)?, number(bytes)?, number(bytes)?);
        let (shard, delegate) = (u16::try_from(place / 2).map_err(|_| CodecError::Field)?, place % 2 == 1);
        shards.get_mut(usize::from(shard)).ok_or(CodecError::Field)?.push(seat as Seat);
        members.push(Member { candidate, stake, shard, delegate });
    }
    Ok(Committee { height, members, shards })
}

impl Shared {
    fn failed(&self, action: &'static str, file: usize) -> impl FnOnce(io::Error) -> StoreError {
        let path = self.directory.join(NAMES[file]);
        move |source| StoreError::Io { action, path, source }
    }

    fn damaged(&self, file: usize, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.directory.join(NAMES[file]), offset, what: what.into() }
    }

    /// The kept bytes of a height, and where they end.
    fn entry(&self, height: u64) -> Result<(Vec<u8>, u64), StoreError> {
        let mut place = [0; PLACE_BYTES as usize];
        let at = HEAD_BYTES + PLACE_BYTES * (height - self.first);
        self.files[1].read(at, &mut place).map_err(self.failed("read", 1))?;
        let offset = u64::from_le_bytes(place);
        let wrong = |what: &str| self.damaged(0, offset, format!("height {height}: {what}"));
        let total = self.files[0].bytes().map_err(self.failed("inspect", 0))?;
        let fits = |bytes: u64| offset >= HEAD_BYTES && offset.checked_add(bytes).is_some_and(|end| end <= total);
        if !fits(ENTRY_HEAD_BYTES as u64) {
            return Err(wrong("it stands nowhere"));
        }
        let mut head = [0; ENTRY_HEAD_BYTES];
        self.files[0].read(offset, &mut head).map_err(self.failed("read", 0))?;
        let (length, sum) = head.split_first_chunk::<4>().expect("12 bytes");
        let length = u32::from_le_bytes(*length);
        let whole = ENTRY_HEAD_BYTES as u64 + u64::from(length);
        if length > ENTRY_BYTES_MAX || !fits(whole) {
            return Err(wrong("its length cannot be"));
        }
        let mut bytes = vec![0; length as usize];
        self.files[0].read(offset + ENTRY_HEAD_BYTES as u64, &mut bytes).map_err(self.failed("read", 0))?;
        if checksum(height, &bytes) != *sum {
            return Err(wrong("its checksum does not match"));
        }
        Ok((bytes, offset + whole))
    }
}

impl Certificates {
    /// Opens the certificates on a disk, or begins them at this height if there are none.
    ///
    /// # Errors
    /// Files of another chain, or what the disk refuses.
    pub fn open(disk: &dyn Disk, chain: &Hash, first_if_new: u64) -> Result<Certificates, StoreError> {
        let there =
            disk.files().map_err(|source| StoreError::Io { action: "list", path: disk.path().to_owned(), source })?;
        // The last that is made; without it nothing was kept.
        if !there.iter().any(|(name, _)| name == NAMES[1]) {
            create(disk, chain, first_if_new)?;
        }
        let io = |name: &str| {
            let path = disk.path().join(name);
            move |source| StoreError::Io { action: "open", path, source }
        };
        let open = |name: &str| disk.open(name).map_err(io(name));
        let files = [open(NAMES[0])?, open(NAMES[1])?, open(NAMES[2])?];
        let first = read_head(disk.path(), &files, chain)?;
        let directory = disk.path().to_owned();
        let shared = Shared { directory, first, files, state: RwLock::default() };
        let state = shared.found()?;
        *shared.state.write().expect(UNPOISONED) = state;
        Ok(Certificates { shared: Arc::new(shared) })
    }

    /// Removes all that is kept, to begin elsewhere.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn remove(disk: &dyn Disk) -> Result<(), StoreError> {
        let remove = || {
            for (name, _) in disk.files()? {
                disk.remove(&name)?;
            }
            disk.sync_names()
        };
        remove().map_err(|source| StoreError::Io { action: "empty", path: disk.path().to_owned(), source })
    }

    /// The oldest height that is kept.
    pub fn first(&self) -> u64 {
        self.shared.first
    }

    /// The height after the newest that is kept or appended.
    pub fn next(&self) -> u64 {
        let state = self.shared.state.read().expect(UNPOISONED);
        self.shared.first + state.count + state.places.len() as u64 / PLACE_BYTES
    }

    /// Appends the next height: its certificate, and its committee with keys in wire form. One that is kept already is
    /// what it was. Durable after [`Self::flush`].
    ///
    /// # Errors
    /// What the disk refuses.
    ///
    /// # Panics
    /// When a height is left out, or an account has another voting key than before.
    pub fn append(&self, decided: &Final, committee: &[u8]) -> Result<(), StoreError> {
        let (height, next) = (decided.value.height, self.next());
        if height < next {
            return Ok(());
        }
        assert_eq!(height, next, "certificates are kept height by height");
        let (committee, keys) = read_committee_with_keys(&mut &*committee).expect("it was written by this program");
        let mut entry = Vec::new();
        put_final(decided, &mut entry);
        put_compact(&committee, &mut entry);
        assert!(entry.len() <= ENTRY_BYTES_MAX as usize, "an entry is kept that is too long to be read again");
        let mut state = self.state();
        for (member, key) in committee.members.iter().zip(keys) {
            state.learn(member.candidate, key);
        }
        let place = state.end + state.entries.len() as u64;
        state.places.extend_from_slice(&place.to_le_bytes());
        state.entries.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        state.entries.extend_from_slice(&checksum(height, &entry));
        state.entries.extend_from_slice(&entry);
        let full = state.places.len() as u64 == BATCH * PLACE_BYTES;
        drop(state);
        if full { self.flush() } else { Ok(()) }
    }

    fn state(&self) -> RwLockWriteGuard<'_, State> {
        self.shared.state.write().expect(UNPOISONED)
    }

    /// Makes what was appended durable; readers have it then. They never wait for the disk of whoever writes.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn flush(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let (places, entries, new_keys, at) = {
            let mut state = self.state();
            let State { places, entries, new_keys, .. } = &mut *state;
            let taken = (take(places), take(entries), take(new_keys));
            (taken.0, taken.1, taken.2, (state.keys_durable, state.end, state.count))
        };
        if places.is_empty() {
            return Ok(());
        }
        let put = |file: usize, offset: u64, bytes: &[u8]| {
            shared.files[file].write(offset, bytes).map_err(shared.failed("write", file))?;
            shared.files[file].sync().map_err(shared.failed("sync", file))
        };
        if !new_keys.is_empty() {
            put(2, HEAD_BYTES + at.0 * KEY_BYTES as u64, &new_keys)?;
        }
        put(0, at.1, &entries)?;
        put(1, HEAD_BYTES + PLACE_BYTES * at.2, &places)?;
        let mut state = self.state();
        state.keys_durable += (new_keys.len() / KEY_BYTES) as u64;
        state.end += entries.len() as u64;
        state.count += places.len() as u64 / PLACE_BYTES;
        assert_eq!(state.keys_durable as usize, state.keys.len(), "each key is written once");
        Ok(())
    }

    /// The certificate and committee of a height, as light clients get them.
    ///
    /// # Errors
    /// [`StoreError::NoRecord`] when it is not kept; damage.
    pub fn read(&self, height: u64) -> Result<Vec<u8>, StoreError> {
        let shared = &self.shared;
        let count = shared.state.read().expect(UNPOISONED).count;
        let last = (shared.first + count).saturating_sub(1);
        if height < shared.first || height > last || count == 0 {
            return Err(StoreError::NoRecord { number: height, first: shared.first, last });
        }
        let (entry, _) = shared.entry(height)?;
        let unread = |_| shared.damaged(0, 0, format!("height {height} is no certificate"));
        let mut rest = &entry[..];
        let decided = read_final(&mut rest).map_err(unread)?;
        let committee = read_compact(&mut rest, height).map_err(unread)?;
        assert_eq!(decided.value.height, height, "the certificate of a height is kept in its place");
        let mut out = Vec::with_capacity(entry.len() + 96 * committee.len() + 64);
        put_final(&decided, &mut out);
        put_committee(&committee, &mut out);
        let state = shared.state.read().expect(UNPOISONED);
        for member in &committee.members {
            let key = state.keys.get(&member.candidate);
            let key = key.ok_or_else(|| shared.damaged(2, 0, format!("no key of account {}", member.candidate)))?;
            out.extend_from_slice(key);
        }
        Ok(out)
    }
}

impl State {
    /// Remembers a minter's key, and writes it with what comes next if it is new.
    fn learn(&mut self, account: u32, key: VoteKey) {
        match self.keys.entry(account) {
            Entry::Occupied(known) => {
                assert_eq!(*known.get(), key, "account {account} keeps its voting key for good");
            }
            Entry::Vacant(place) => {
                place.insert(key);
                self.new_keys.extend_from_slice(&account.to_le_bytes());
                self.new_keys.extend_from_slice(&key);
                self.new_keys.extend_from_slice(&checksum(u64::from(account), &key));
            }
        }
    }
}

/// The certificates beside a node's store: opened, and brought up to the newest record of its log.
///
/// # Errors
/// Damage, files of another chain, or what the disk refuses.
pub fn beside(data: &dyn Disk, chain: &Hash, records: &Records) -> Result<Certificates, StoreError> {
    let disk = data.folder("light");
    disk.make().map_err(|source| StoreError::Io { action: "create", path: disk.path().to_owned(), source })?;
    let (oldest, last) = (records.first().max(1), records.last());
    let mut kept = Certificates::open(&*disk, chain, oldest)?;
    if kept.next() < oldest {
        tracing::warn!(
            "certificates end at height {}, and blocks begin at {oldest}: they begin anew there",
            kept.next() - 1
        );
        drop(kept);
        Certificates::remove(&*disk)?;
        kept = Certificates::open(&*disk, chain, oldest)?;
    }
    for height in kept.next()..=last {
        let record = records.read(height)?;
        let mut rest = BlockRecord::decode(&record).map_or(&[][..], |record| record.light);
        let damaged = |_| StoreError::Damaged {
            path: state_folder(data).path().to_owned(),
            offset: 0,
            what: format!("record {height} holds no final certificate"),
        };
        let decided = read_final(&mut rest).map_err(damaged)?;
        read_committee_with_keys(&mut &*rest).map_err(damaged)?;
        kept.append(&decided, rest)?;
    }
    kept.flush()?;
    Ok(kept)
}

fn create(disk: &dyn Disk, chain: &Hash, first: u64) -> Result<(), StoreError> {
    for (kind, name) in [(0, NAMES[0]), (2, NAMES[2]), (1, NAMES[1])] {
        let make = || {
            let part = format!("{name}.new");
            let file = disk.create(&part)?;
            file.write(0, &head(kind, chain, first))?;
            file.sync()?;
            disk.rename(&part, name)?;
            disk.sync_names()
        };
        make().map_err(|source| StoreError::Io { action: "create", path: disk.path().join(name), source })?;
    }
    Ok(())
}

/// The first height, which all heads must name.
fn read_head(directory: &Path, files: &[Arc<dyn DiskFile>; 3], chain: &Hash) -> Result<u64, StoreError> {
    let mut first = None;
    for (kind, file) in files.iter().enumerate() {
        let path = directory.join(NAMES[kind]);
        let mut bytes = [0; HEAD_BYTES as usize];
        let read = file.read(0, &mut bytes);
        read.map_err(|source| StoreError::Io { action: "read", path: path.clone(), source })?;
        let here = u64::from_le_bytes(bytes[48..56].try_into().expect("8 bytes"));
        if bytes[16..48] != chain[..] {
            return Err(StoreError::WrongChain { path });
        }
        if bytes[..] != head(kind, chain, here)[..] || first.is_some_and(|first| first != here) {
            return Err(StoreError::Damaged { path, offset: 0, what: "its head is none".into() });
        }
        first = Some(here);
    }
    Ok(first.expect("three files"))
}

impl Shared {
    /// What the files hold: of the newest heights each is looked at, and what a power cut has left is passed over.
    fn found(&self) -> Result<State, StoreError> {
        let bytes = |file: usize| self.files[file].bytes().map_err(self.failed("inspect", file));
        let listed = bytes(1)?.saturating_sub(HEAD_BYTES) / PLACE_BYTES;
        let mut state = State { count: listed.saturating_sub(BATCH), ..State::default() };
        state.end = HEAD_BYTES;
        if state.count > 0 {
            state.end = self.entry(self.first + state.count - 1)?.1;
        }
        while state.count < listed
            && let Ok((_, end)) = self.entry(self.first + state.count)
        {
            (state.count, state.end) = (state.count + 1, end);
        }
        let mut key = [0; KEY_BYTES];
        for place in 0..bytes(2)?.saturating_sub(HEAD_BYTES) / KEY_BYTES as u64 {
            self.files[2].read(HEAD_BYTES + place * KEY_BYTES as u64, &mut key).map_err(self.failed("read", 2))?;
            let account = u32::from_le_bytes(*key.first_chunk().expect("4 bytes"));
            let voting: VoteKey = key[4..100].try_into().expect("96 bytes");
            if key[100..] != checksum(u64::from(account), &voting) {
                break;
            }
            if state.keys.insert(account, voting).is_some() {
                return Err(self.damaged(2, HEAD_BYTES + place * KEY_BYTES as u64, "a key stands there twice"));
            }
            state.keys_durable += 1;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::chain::block::Value;
    use dynemix_engine::committee::statement::{Certificate, SeatSet};
    use dynemix_storage::{CrashChoice, MemoryDisk};

    /// A certificate of twenty seats of a hundred thousand accounts, two shards, stakes of up to a million dynes.
    fn height(height: u64) -> (Final, Vec<u8>) {
        let minters: Vec<(u32, u64)> = (0..20u64)
            .map(|seat| ((height % 5 * 7 + seat * 5_003) as u32, 1_000_000_000_000 - 977 * seat - height))
            .collect();
        let committee = Committee::new(height, &[3; 32], &minters, 2);
        let mut wire = Vec::new();
        put_committee(&committee, &mut wire);
        for member in &committee.members {
            wire.extend_from_slice(&[member.candidate as u8; 96]);
        }
        let mut signers = SeatSet::default();
        (0..20).for_each(|seat| assert!(signers.insert(seat)));
        let value = Value {
            height,
            parent: [height as u8; 32],
            slot: height + 9,
            headers: vec![Some([1; 32]), Some([2; 32])],
            quilt: [3; 32],
            parent_root: [4; 32],
            system: [5; 32],
            seed: [6; 32],
            committee_next: [7; 32],
        };
        let certificate = Certificate { signers, aggregate: [8; 48] };
        (Final { attempt: 2 * height, hash: value.hash(), value: Arc::new(value), certificate }, wire)
    }

    fn served(height_of: u64) -> Vec<u8> {
        let (decided, wire) = height(height_of);
        let mut out = Vec::new();
        put_final(&decided, &mut out);
        [out, wire].concat()
    }

    fn filled(disk: &MemoryDisk, heights: std::ops::Range<u64>, every: u64) -> Certificates {
        let kept = Certificates::open(disk, &[9; 32], heights.start).unwrap();
        for at in heights {
            let (decided, wire) = height(at);
            kept.append(&decided, &wire).unwrap();
            if at % every == 0 {
                kept.flush().unwrap();
                disk.mark(at);
            }
        }
        kept.flush().unwrap();
        kept
    }

    #[test]
    fn a_height_of_twenty_seats_takes_less_than_six_tenths_of_a_kilobyte_and_comes_back_whole() {
        let disk = MemoryDisk::new();
        let kept = filled(&disk, 3_000_000..3_001_000, 7);
        assert!((3_000_000..3_001_000).all(|at| kept.read(at).unwrap() == served(at)));
        assert!(kept.read(2_999_999).is_err() && kept.read(3_001_000).is_err());
        let bytes: u64 = disk.files().unwrap().iter().map(|file| file.1).sum();
        println!("{} bytes a height, keys included", bytes / 1_000);
        assert!(bytes <= 600 * 1_000, "{} bytes a height", bytes / 1_000);
        drop(kept);
        let again = Certificates::open(&disk, &[9; 32], 1).unwrap();
        assert_eq!((again.first(), again.next()), (3_000_000, 3_001_000));
        assert_eq!(again.read(3_000_999).unwrap(), served(3_000_999));
        assert!(matches!(Certificates::open(&disk, &[8; 32], 1), Err(StoreError::WrongChain { .. })));
    }

    #[test]
    fn a_power_cut_at_any_operation_leaves_what_was_durable_and_it_goes_on_from_there() {
        let disk = MemoryDisk::new();
        drop(filled(&disk, 1..150, 10));
        let mut random = 1u64;
        for prefix in 0..=disk.log_len() {
            for way in 0..3 {
                let mut each = || {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    random >> 63 == 0
                };
                let choice = match way {
                    0 => CrashChoice::All,
                    1 => CrashChoice::None,
                    _ => CrashChoice::Each(&mut each),
                };
                let after = disk.crash(prefix, choice);
                let kept = Certificates::open(&after, &[9; 32], 1).unwrap();
                let durable = disk.last_mark(prefix).unwrap_or(0);
                assert!(kept.next() > durable, "{} after {durable} were durable", kept.next());
                for at in kept.next()..kept.next() + 3 {
                    let (decided, wire) = height(at);
                    kept.append(&decided, &wire).unwrap();
                }
                kept.flush().unwrap();
                let next = kept.next();
                assert!((1..next).all(|at| kept.read(at).unwrap() == served(at)), "operation {prefix}, way {way}");
            }
        }
    }

    #[test]
    fn rot_is_named_and_never_served() {
        let disk = MemoryDisk::new();
        let kept = filled(&disk, 1..100, 1);
        disk.flip("certificates", 3_000, 3);
        let wrong: Vec<u64> = (1..100).filter(|&at| kept.read(at).ok() != Some(served(at))).collect();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(kept.read(wrong[0]).unwrap_err().is_damage());
    }
}
