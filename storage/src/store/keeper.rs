//! Does what takes long, beside the writer: checkpoints, indexes, pruning.

use super::checkpoint::Checkpoint;
use super::shared::Shared;
use crate::disk::{Disk, StoreError, files, remove, sync_names};
use crate::file::image::{self, Image, Written};
use crate::file::index::{self, ReadKeys};
use crate::file::page::{ChainId, Sum};
use crate::file::segment;
use crate::file::superblock::{self, Present};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Does what takes long, beside the writer.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Keeper {
        Keeper { shared }
    }

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
        let (shared, record) = (&self.shared, checkpoint.record());
        assert!(checkpoint.is_of(shared), "a checkpoint of one store is written to another");
        let synced = shared.synced.load(Ordering::Acquire);
        assert!(record <= synced, "a checkpoint of record {record} runs ahead of the log, synced up to {synced}");
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
            superblock::flip(&*shared.disk, shared.chain, &present, next)?;
            *shared.present.lock().expect("nothing panics while it holds the superblock") = (next, present.record);
            shared.prune(0)?;
            let (first, needed) = (shared.segments()[0].first, present.record + 1);
            assert!(first <= needed, "the log begins at record {first}, and the older image needs record {needed}");
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

    /// Where its files are.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// First records of the sealed segments, which nobody writes to any more.
    pub fn sealed(&self) -> Vec<u64> {
        let segments = self.shared.segments();
        segments[..segments.len() - 1].iter().map(|segment| segment.first).collect()
    }
}
