//! The store: image, log and superblock of one directory, under one lock, and its three users.
//!
//! * [`Store`] appends records and syncs them; one owner, who also works in the image.
//! * [`Records`] reads what is synced, from any thread.
//! * [`Keeper`] does what takes long, beside them: checkpoints, indexes, pruning.

use crate::StoreError;
use crate::disk::{Disk, NamedFile, files, remove, sync_names};
use crate::image::{self, Image, Written};
use crate::index::{self, Occurrence, ReadKeys, SegmentIndex, Table};
use crate::page::Sum;
use crate::paged::RegionSpec;
use crate::segment::{self, Cursor, RECORDS_OFFSET, Segment, WalkEnd, record_bytes, record_checksum};
use crate::superblock::{self, Present};
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Whose store it is: the chain's genesis hash.
pub type ChainId = [u8; 32];

/// Sizes and bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of a segment of the log; a longer record gets a longer one.
    pub segment_bytes: u64,
    /// How many records are kept at least, as far as the limit allows; `u64::MAX` keeps all.
    pub window_records: u64,
    /// Bytes that all files together may take.
    pub limit_bytes: u64,
    /// Bytes of the disk that stay free: below, nothing is appended any more.
    pub watermark_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            segment_bytes: 64 << 20,
            window_records: 4_096,
            limit_bytes: u64::MAX,
            watermark_bytes: 256 << 20,
        }
    }
}

struct Shared {
    disk: Arc<dyn Disk>,
    chain: ChainId,
    options: StoreOptions,
    broken: AtomicBool,
    /// Oldest first; the last is being written.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Newest synced record.
    synced: AtomicU64,
    /// What the superblock says, and the record of the other image.
    present: Mutex<(Present, u64)>,
    /// Checkpoints that were begun and not ended.
    pending: AtomicU64,
    /// Which image files this process has checked or written wholly.
    known: [AtomicBool; 2],
    pruning: Mutex<()>,
    _lock: Box<dyn Any + Send + Sync>,
}

impl Shared {
    /// Runs something that must not fail half-way: if it does, the store is broken for everyone.
    fn whole<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Broken);
        }
        work().inspect_err(|_| self.broken.store(true, Ordering::Release))
    }

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().expect("nothing panics while it holds the list").clone()
    }

    fn present(&self) -> (Present, u64) {
        *self.present.lock().expect("nothing panics while it holds the superblock")
    }

    fn holds(&self, first: u64) -> bool {
        self.segments().iter().any(|segment| segment.first == first)
    }

    fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok(files(&*self.disk)?.iter().map(|file| file.1).sum())
    }

    /// Removes old segments: those outside the window, and further ones while there is less room than `room` below the
    /// limit. Never one that a restart needs, nor the one being written. Returns the bytes that all files take then.
    fn prune(&self, room: u64) -> Result<u64, StoreError> {
        let _one = self.pruning.lock().expect("nothing panics while it prunes");
        let newest = self.synced.load(Ordering::Acquire);
        let keep_from = newest.saturating_sub(self.options.window_records).saturating_add(1);
        let needed_from = self.needed_from();
        let mut used = self.used_bytes()?;
        loop {
            let segments = self.segments();
            let [oldest, second, ..] = segments.as_slice() else { return Ok(used) };
            let outside = second.first <= keep_from;
            let over = used.saturating_add(room) > self.options.limit_bytes;
            if second.first > needed_from || !(outside || over) {
                return Ok(used);
            }
            self.segments.write().expect("nothing panics while it holds the list").remove(0);
            remove(&*self.disk, &segment::name(oldest.first))?;
            let index = index::name(oldest.first);
            if self.names(&index)? {
                remove(&*self.disk, &index)?;
            }
            sync_names(&*self.disk)?;
            used = self.used_bytes()?;
        }
    }

    /// Makes sure that so many bytes more stay within the limit, by pruning if need be.
    fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let used = self.prune(bytes)?;
        let limit = self.options.limit_bytes;
        if used.saturating_add(bytes) > limit {
            return Err(StoreError::Limit { path: self.disk.path().to_owned(), used, limit });
        }
        Ok(())
    }

    /// Whether there is a file of this name.
    fn names(&self, name: &str) -> Result<bool, StoreError> {
        Ok(files(&*self.disk)?.iter().any(|file| file.0 == name))
    }

    /// The first record that a restart replays, also from the older of the two images.
    fn needed_from(&self) -> u64 {
        let (present, older) = self.present();
        older.min(present.record) + 1
    }
}

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

/// The right to one checkpoint; made by [`Store::begin_checkpoint`].
pub struct Checkpoint {
    shared: Arc<Shared>,
    record: u64,
}

impl Checkpoint {
    /// The record that the image must stand at.
    pub fn record(&self) -> u64 {
        self.record
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A store that was opened.
pub struct OpenedStore {
    /// The writer.
    pub store: Store,
    /// The image, at [`Self::image_record`]: records after it are to be replayed from [`Store::records`].
    pub image: Image,
    /// The last record that is in the image.
    pub image_record: u64,
    /// Why the older of the two images had to be taken, if so.
    pub fell_back: Option<StoreError>,
}

/// The running checksum before the first record of a log that begins after record `record`.
fn chain_start(chain: &ChainId, record: u64) -> Sum {
    let mut hasher = blake3::Hasher::new_derive_key("dynemix log start v2");
    hasher.update(chain).update(&record.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// The chain of the store in this directory, without opening it.
///
/// # Errors
/// When there is no store, or none of this version, or its superblock is damaged.
pub fn chain_of(disk: &dyn Disk) -> Result<ChainId, StoreError> {
    let [first, second] = superblock::read(disk, None)?;
    Ok(first.or(second)?.0)
}

impl Store {
    /// Whether the directory holds a store.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn exists(disk: &dyn Disk) -> Result<bool, StoreError> {
        // A store of version 1 has a superblock too: opening it says what it is.
        Ok(files(disk)?.iter().any(|file| file.0 == superblock::NAME))
    }

    /// Makes a store whose image shows the state after `record`, as `fill` fills it. The image is zero at first, or, to
    /// `resume`, holds what an interrupted try has written through: columns of the same layout, perhaps of another
    /// state.
    ///
    /// # Errors
    /// When the system refuses something or the directory is in use, or what `fill` returns.
    pub fn create<E: From<StoreError>>(
        disk: &Arc<dyn Disk>,
        chain: ChainId,
        specs: &[RegionSpec],
        options: StoreOptions,
        record: u64,
        resume: bool,
        fill: impl FnOnce(Image) -> Result<Image, E>,
    ) -> Result<(), E> {
        let _lock = disk.lock()?;
        Self::refuse_remains(&**disk)?;
        let image = fill(Image::create(&**disk, 0, specs, resume)?)?;
        Ok(Self::found(disk, chain, &options, &image, record)?)
    }

    /// Nothing is made over what may be a store: one that lost its superblock is for people to look at.
    fn refuse_remains(disk: &dyn Disk) -> Result<(), StoreError> {
        for (name, _) in files(disk)? {
            let holds_blocks = || -> Result<bool, StoreError> {
                let file = NamedFile::open(disk, &name)?;
                let mut first = [0; 8];
                Ok(file.bytes()? >= RECORDS_OFFSET + 8
                    && file.read(RECORDS_OFFSET, &mut first).map(|()| first != [0; 8])?)
            };
            let remains = name == superblock::NAME
                || name == image::name(1)
                || index::first_of(&name).is_some()
                || segment::first_of(&name).is_some() && holds_blocks()?;
            if remains {
                return Err(StoreError::Remains { path: disk.path().to_owned(), name });
            }
        }
        Ok(())
    }

    /// Writes the filled first image, an empty log, and last the superblock, with which the store exists.
    fn found(
        disk: &Arc<dyn Disk>,
        chain: ChainId,
        options: &StoreOptions,
        image: &Image,
        record: u64,
    ) -> Result<(), StoreError> {
        let (image_checksum, _) = image.write_to(&**disk, 0, chain, record, false)?;
        for (name, _) in files(&**disk)?
            .iter()
            .filter(|file| segment::first_of(&file.0).is_some() || index::first_of(&file.0).is_some())
        {
            remove(&**disk, name)?;
        }
        let chained = chain_start(&chain, record);
        Segment::create(&**disk, chain, record + 1, chained, options.segment_bytes)?;
        superblock::create(&**disk, chain, Present { sequence: 1, image: 0, record, image_checksum, chained })
    }

    /// Opens a store: the newest image that is whole, and the log behind it.
    ///
    /// # Errors
    /// Whatever is damaged, of another version or chain, or in use.
    pub fn open(
        disk: Arc<dyn Disk>,
        chain: ChainId,
        specs: Option<&[RegionSpec]>,
        options: StoreOptions,
    ) -> Result<OpenedStore, StoreError> {
        let lock = disk.lock()?;
        let copies = superblock::read(&*disk, Some(&chain))?;
        let (mut candidates, mut first_error) = (Vec::new(), None);
        for copy in copies {
            match copy {
                Ok((_, present)) => candidates.push(present),
                Err(error) => first_error = Some(error),
            }
        }
        candidates.sort_by_key(|present| std::cmp::Reverse(present.sequence));
        // A copy that was torn at a flip is no reason to worry: the other is the present.
        if !candidates.is_empty() {
            first_error = None;
        }
        let older = candidates.last().map_or(0, |present| present.record);
        let mut opened = None;
        for present in candidates {
            match Image::open(&*disk, present.image, &chain, &present.image_checksum, specs) {
                Ok(image) => {
                    opened = Some((present, image));
                    break;
                }
                // Rotten, unreadable, too short or gone: the other image may serve.
                Err(error @ (StoreError::Damaged { .. } | StoreError::Io { .. })) => {
                    first_error = first_error.or(Some(error))
                }
                Err(error) => return Err(error),
            }
        }
        let Some((present, image)) = opened else {
            return Err(first_error.expect("without a candidate there was an error"));
        };
        let (segments, end) = Self::open_log(&*disk, &chain, &present)?;
        let active = segments.last().expect("checked by open_log").clone();
        // What a torn write left behind the end would later look like damage.
        active.clear_from(end.offset)?;
        // Records that no mark calls synced, and the superblock, may be in the system's memory only, after a sync that
        // failed: they are written once more, and synced, before anything is built on them.
        active.write_again(active.whole_mark(&chain)?.map_or(active.first, |mark| mark.number + 1), &end)?;
        active.file.sync()?;
        if end.number > active.first {
            active.write_mark(chain, end.number - 1, end.chained)?;
        }
        superblock::write(&*disk, chain, present)?;
        let shared = Shared {
            disk,
            chain,
            options,
            broken: AtomicBool::new(false),
            segments: RwLock::new(segments),
            synced: AtomicU64::new(end.number - 1),
            present: Mutex::new((present, older)),
            pending: AtomicU64::new(0),
            known: [0, 1].map(|number| AtomicBool::new(number == present.image)),
            pruning: Mutex::new(()),
            _lock: lock,
        };
        let reserved = active.file.bytes()?;
        let store = Store {
            shared: Arc::new(shared),
            active,
            end,
            reserved,
            unsynced: false,
            released: (0, None),
            buffer: Vec::new(),
        };
        Ok(OpenedStore { store, image, image_record: present.record, fell_back: first_error })
    }

    /// Finds the segments and walks those behind the image to the log's end.
    fn open_log(
        disk: &dyn Disk,
        chain: &ChainId,
        present: &Present,
    ) -> Result<(Vec<Arc<Segment>>, Cursor), StoreError> {
        let mut firsts = Vec::new();
        for (name, _) in files(disk)? {
            if name.ends_with(".new") {
                remove(disk, &name)?;
            }
            firsts.extend(segment::first_of(&name));
        }
        firsts.sort_unstable();
        let start =
            firsts.iter().rposition(|&first| first <= present.record + 1).ok_or_else(|| StoreError::Damaged {
                path: disk.path().to_owned(),
                offset: 0,
                what: format!("the log's segment with record {} is missing", present.record + 1),
            })?;
        let mut segments = Vec::new();
        for &first in &firsts {
            segments.push(Arc::new(Segment::open(disk, Some(chain), first)?));
        }
        let mut cursor = segments[start].start();
        let mut chained_at_image = (cursor.number == present.record + 1).then_some(cursor.chained);
        for i in start..segments.len() {
            let segment = &segments[i];
            let file = &segment.file;
            if (segment.first, segment.chained) != (cursor.number, cursor.chained) {
                return Err(
                    file.damaged(0, format!("the segment does not continue the log at record {}", cursor.number))
                );
            }
            cursor.offset = RECORDS_OFFSET;
            let mut offsets = Vec::new();
            let end = loop {
                // In steps of one record, to see the running checksum after the image's.
                let mut one = false;
                let before = cursor;
                let stop = segment.walk_some(&mut cursor, |_, offset, _| {
                    offsets.push(offset);
                    one = true;
                    Ok(false)
                })?;
                if one && before.number == present.record {
                    chained_at_image = Some(cursor.chained);
                }
                if let Some(end) = stop {
                    break end;
                }
            };
            let last = i + 1 == segments.len();
            let mark = segment.whole_mark(chain)?;
            match end {
                WalkEnd::Broken(what) if !last => return Err(file.damaged(cursor.offset, what)),
                WalkEnd::Broken(what) if mark.is_some_and(|mark| mark.number >= cursor.number) => {
                    return Err(file.damaged(cursor.offset, format!("{what}, though it was acknowledged")));
                }
                WalkEnd::Clean if last && mark.is_some_and(|mark| mark.number >= cursor.number) => {
                    return Err(file.damaged(
                        cursor.offset,
                        format!("record {} is gone, though it was acknowledged", cursor.number),
                    ));
                }
                _ => segment.set_offsets(offsets),
            }
        }
        if chained_at_image != Some(present.chained) {
            let last = segments.last().expect("there is one at least");
            return Err(last.file.damaged(
                cursor.offset,
                format!("the log is not the one that the superblock names: it ends at record {}", cursor.number - 1),
            ));
        }
        Ok((segments, cursor))
    }

    /// Appends a record and returns its number; durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] and [`StoreError::Limit`] before anything is written. After any error the store is
    /// broken.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        let shared = self.shared.clone();
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
            let number = self.end.number;
            let checksum = record_checksum(&self.end.chained, number, payload);
            segment::encode(&mut self.buffer, number, checksum, payload);
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
        self.shared.synced.store(number, Ordering::Release);
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
        assert!(!self.unsynced, "a checkpoint never runs ahead of the log");
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        Checkpoint { shared: self.shared.clone(), record: self.last_record() }
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

    /// Reads records.
    pub fn records(&self) -> Records {
        Records { shared: self.shared.clone() }
    }

    /// Keeps the store.
    pub fn keeper(&self) -> Keeper {
        Keeper { shared: self.shared.clone() }
    }
}

/// Reads synced records.
#[derive(Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

impl Records {
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
        segment.read(number)?.ok_or_else(none)
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

/// Does what takes long, beside the writer.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    /// A second private view of the working image's file, for a replica that follows the log.
    ///
    /// # Errors
    /// When the file cannot be mapped.
    pub fn map_again(&self, image: &Image) -> Result<Image, StoreError> {
        image::map_again(image, &self.shared.disk)
    }

    /// The record at which the newest checkpoint stands.
    pub fn checkpoint_record(&self) -> u64 {
        self.shared.present().0.record
    }

    /// Which checkpoint is the present one; grows by one with each.
    pub fn checkpoint_sequence(&self) -> u64 {
        self.shared.present().0.sequence
    }

    /// Writes `image`, which shows the state after the checkpoint's record, to the file that is not the present one,
    /// and flips the superblock.
    ///
    /// Whoever else has an image of this store mapped must have applied that record: only then is every page that is
    /// written here already a copy of its own in each mapping.
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn checkpoint(&self, checkpoint: Checkpoint, image: &Image) -> Result<Written, StoreError> {
        let (shared, record) = (&self.shared, checkpoint.record);
        shared.whole(|| {
            let present = shared.present().0;
            if present.record == record {
                return Ok(Written::default());
            }
            let chained = self.chained_after(record)?;
            let number = 1 - present.image;
            if !shared.names(&image::name(number))? {
                shared.make_room(image.file_bytes())?;
            }
            let known = &shared.known[number as usize];
            let (image_checksum, written) =
                image.write_to(&*shared.disk, number, shared.chain, record, known.load(Ordering::Relaxed))?;
            known.store(true, Ordering::Relaxed);
            // The other image may be new: its name must be durable before the superblock points to it.
            sync_names(&*shared.disk)?;
            let next = Present { sequence: present.sequence + 1, image: number, record, image_checksum, chained };
            superblock::write(&*shared.disk, shared.chain, next)?;
            *shared.present.lock().expect("nothing panics while it holds the superblock") = (next, present.record);
            shared.prune(0)?;
            Ok(written)
        })
    }

    /// The running checksum after a synced record.
    fn chained_after(&self, record: u64) -> Result<Sum, StoreError> {
        let segments = self.shared.segments();
        let segment = segments.iter().rev().find(|segment| segment.first <= record + 1);
        let segment = segment.expect("the log begins no later than behind the present image");
        let mut cursor = segment.start();
        if cursor.number == record + 1 {
            return Ok(cursor.chained);
        }
        segment.walk_some(&mut cursor, |number, _, _| Ok(number < record))?;
        if cursor.number != record + 1 {
            return Err(segment
                .file
                .damaged(cursor.offset, format!("record {} does not match its checksum", cursor.number)));
        }
        Ok(cursor.chained)
    }

    /// Gives back the memory of a replica's image, after a checkpoint of it to the file below it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn release(&self, image: &mut Image) -> Result<(), StoreError> {
        if self.shared.present().0.image == image.number() {
            let mut from = Some(0);
            while let Some(at) = from {
                from = image.release(at, 4096)?;
            }
        }
        Ok(())
    }

    /// Builds the index of the oldest sealed segment that has none; false when there is none to build, or no room for
    /// it below the limit (look-ups read the segment then).
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn build_index(&self, reader: &dyn ReadKeys) -> Result<bool, StoreError> {
        let shared = &self.shared;
        shared.whole(|| {
            let names = files(&*shared.disk)?;
            let segments = shared.segments();
            let sealed = &segments[..segments.len() - 1];
            let without = sealed.iter().find(|segment| !names.iter().any(|file| file.0 == index::name(segment.first)));
            match without {
                Some(segment) => index::build(&*shared.disk, shared.chain, segment, reader, |bytes| {
                    Ok(shared.prune(bytes)?.saturating_add(bytes) <= shared.options.limit_bytes
                        && shared.holds(segment.first))
                }),
                None => Ok(false),
            }
        })
    }

    /// Whether the store goes on without this damaged file. An index is removed, to be built again; an old segment
    /// stays, and whoever reads its damaged record hears so.
    ///
    /// # Errors
    /// When an index cannot be removed.
    pub fn can_do_without(&self, file: &str) -> Result<bool, StoreError> {
        if index::first_of(file).is_some() {
            let _one = self.shared.pruning.lock().expect("nothing panics while it prunes");
            if self.shared.names(file)? {
                remove(&*self.shared.disk, file)?;
            }
            return Ok(true);
        }
        let segments = self.shared.segments();
        let after = segments.iter().find(|segment| segment::first_of(file).is_some_and(|first| segment.first > first));
        Ok(after.is_some_and(|after| after.first <= self.shared.needed_from()))
    }

    /// Takes the store out of service, for example when a scrubber found damage.
    pub fn break_store(&self) {
        self.shared.broken.store(true, Ordering::Release);
    }

    /// Whether something has failed.
    pub fn broken(&self) -> bool {
        self.shared.broken.load(Ordering::Acquire)
    }

    /// Whose store it is.
    pub fn chain(&self) -> ChainId {
        self.shared.chain
    }

    /// The disk.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// First records of the sealed segments, which nobody writes to any more.
    pub fn sealed(&self) -> Vec<u64> {
        let segments = self.shared.segments();
        segments[..segments.len() - 1].iter().map(|segment| segment.first).collect()
    }
}
