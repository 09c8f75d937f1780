//! How a store comes back: the newest image that is whole, and the log behind it.

use super::options::StoreOptions;
use super::shared::Shared;
use super::writer::Store;
use crate::disk::{Disk, StoreError, files, remove};
use crate::file::image::Image;
use crate::file::page::ChainId;
use crate::file::paged::RegionSpec;
use crate::file::segment::{self, Cursor, RECORDS_OFFSET, Segment, WalkEnd};
use crate::file::superblock::{self, Present};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

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
        let store = Store::going_on(Arc::new(shared), active, end, reserved);
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
}
