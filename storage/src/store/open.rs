//! How a store comes back: the newest image that is whole, and the log behind it.

use super::options::StoreOptions;
use super::shared::Shared;
use super::writer::Store;
use crate::disk::{Disk, StoreError, files, remove};
use crate::file::image::Image;
use crate::file::page::{ChainId, Sum};
use crate::file::paged::RegionSpec;
use crate::file::segment::{self, Cursor, RECORDS_OFFSET, Segment, WalkEnd};
use crate::file::superblock::{self, Copies, Present};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

/// A store that was opened.
pub struct OpenedStore {
    /// The one writer of its log.
    pub store: Store,
    /// The image, at [`Self::image_record`]: records after it are to be replayed from [`Store::records`].
    pub image: Image,
    /// The last record that is in the image.
    pub image_record: u64,
    /// Why the older of the two images had to be taken, if so.
    pub fell_back: Option<StoreError>,
}

impl Store {
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
        Store::open_beside(disk, chain, specs, options, |_| Ok(()))
    }

    /// The same with an image beside which all is whole that belongs to it: `beside` looks at what there is for the image
    /// of a record.
    ///
    /// # Errors
    /// As there; what `beside` has found wrong with the newest image if no other one serves.
    pub fn open_beside(
        disk: Arc<dyn Disk>,
        chain: ChainId,
        specs: Option<&[RegionSpec]>,
        options: StoreOptions,
        beside: impl Fn(u64) -> Result<(), StoreError>,
    ) -> Result<OpenedStore, StoreError> {
        let lock = disk.lock()?;
        let (newest, older) = Copies::read(&*disk, Some(&chain))?.newest_whole()?;
        let open = |present: &Present| {
            beside(present.record)?;
            Image::open(&*disk, present.image, &chain, &present.image_checksum, specs)
        };
        let (present, image, fell_back) = open_image(open, newest, older)?;
        let (segments, end) = open_log(&*disk, &chain, &present)?;
        assert!(end.number > present.record, "the log ends at record {} before the image", end.number - 1);
        let active = segments.last().expect("checked by open_log").clone();
        settle(&active, &chain, &end)?;
        superblock::write(&*disk, chain, present)?;
        let shared = Shared {
            disk,
            chain,
            options,
            broken: AtomicBool::new(false),
            segments: RwLock::new(segments),
            synced: AtomicU64::new(end.number - 1),
            present: Mutex::new((present, older.unwrap_or(newest).record)),
            pending: AtomicU64::new(0),
            known: [0, 1].map(|number| AtomicBool::new(number == present.image)),
            pruning: Mutex::new(()),
            _lock: lock,
        };
        let reserved = active.file.bytes()?;
        let store = Store::going_on(Arc::new(shared), active, end, reserved);
        Ok(OpenedStore { store, image, image_record: present.record, fell_back })
    }
}

/// The image that counts: the newest, or the older one and why.
fn open_image(
    open: impl Fn(&Present) -> Result<Image, StoreError>,
    newest: Present,
    older: Option<Present>,
) -> Result<(Present, Image, Option<StoreError>), StoreError> {
    // Rotten, unreadable, too short or gone: the other image may serve. One that this user may not read is none of these.
    let excused = |error: &StoreError| match error {
        StoreError::Damaged { .. } => true,
        StoreError::Io { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
        _ => false,
    };
    let why = match open(&newest) {
        Ok(image) => return Ok((newest, image, None)),
        Err(error) if excused(&error) => error,
        Err(error) => return Err(error),
    };
    let Some(older) = older else { return Err(why) };
    match open(&older) {
        Ok(image) => Ok((older, image, Some(why))),
        Err(error) if excused(&error) => Err(why),
        Err(error) => Err(error),
    }
}

/// Makes the log's end as if nothing had been torn or lost there.
fn settle(active: &Segment, chain: &ChainId, end: &Cursor) -> Result<(), StoreError> {
    // What a torn write left behind the end would later look like damage.
    active.clear_from(end.offset)?;
    // Records that no mark calls synced, and the superblock, may be in the system's memory only, after a sync that
    // failed: they are written once more, and synced, before anything is built on them.
    active.write_again(active.whole_mark(chain)?.map_or(active.first, |mark| mark.number + 1), end)?;
    active.file.sync()?;
    if end.number > active.first {
        active.write_mark(*chain, end.number - 1, end.chained)?;
    }
    Ok(())
}

/// Finds the segments and walks those behind the image to the log's end.
fn open_log(disk: &dyn Disk, chain: &ChainId, present: &Present) -> Result<(Vec<Arc<Segment>>, Cursor), StoreError> {
    let mut firsts = Vec::new();
    for (name, _) in files(disk)? {
        if name.ends_with(".new") {
            remove(disk, &name)?;
        }
        firsts.extend(segment::first_of(&name));
    }
    firsts.sort_unstable();
    let start = firsts.iter().rposition(|&first| first <= present.record + 1).ok_or_else(|| StoreError::Damaged {
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
    for (i, segment) in segments.iter().enumerate().skip(start) {
        if (segment.first, segment.chained) != (cursor.number, cursor.chained) {
            let what = format!("the segment does not continue the log at record {}", cursor.number);
            return Err(segment.file.damaged(0, what));
        }
        cursor.offset = RECORDS_OFFSET;
        let last = i + 1 == segments.len();
        walk(segment, chain, &mut cursor, present.record, &mut chained_at_image, last)?;
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

/// Walks a segment to its end, which must be one that a power cut may leave, and notes the running checksum after the
/// image's record if it stands here.
fn walk(
    segment: &Segment,
    chain: &ChainId,
    cursor: &mut Cursor,
    image_record: u64,
    chained_at_image: &mut Option<Sum>,
    last: bool,
) -> Result<(), StoreError> {
    let file = &segment.file;
    let mut offsets = Vec::new();
    let end = loop {
        // In steps of one record, to see the running checksum after the image's.
        let mut one = false;
        let before = *cursor;
        let stop = segment.walk_some(cursor, |_, offset, _| {
            offsets.push(offset);
            one = true;
            Ok(false)
        })?;
        if one && before.number == image_record {
            *chained_at_image = Some(cursor.chained);
        }
        if let Some(end) = stop {
            break end;
        }
    };
    let acknowledged = segment.whole_mark(chain)?.is_some_and(|mark| mark.number >= cursor.number);
    match end {
        WalkEnd::Broken(what) if !last => return Err(file.damaged(cursor.offset, what)),
        WalkEnd::Broken(what) if acknowledged => {
            return Err(file.damaged(cursor.offset, format!("{what}, though it was acknowledged")));
        }
        WalkEnd::Clean if last && acknowledged => {
            let what = format!("record {} is gone, though it was acknowledged", cursor.number);
            return Err(file.damaged(cursor.offset, what));
        }
        _ => segment.set_offsets(offsets),
    }
    Ok(())
}
