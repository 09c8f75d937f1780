//! What the three users of a store share: the files, how far the log is synced, and what the superblock says.

use super::options::StoreOptions;
use crate::disk::{Disk, StoreError, files, remove, sync_names};
use crate::file::index;
use crate::file::page::ChainId;
use crate::file::segment::{self, Segment};
use crate::file::superblock::Present;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// One store, as the writer, its readers and its keeper see it.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) chain: ChainId,
    pub(super) options: StoreOptions,
    pub(super) broken: AtomicBool,
    /// Oldest first; the last is being written.
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    /// Newest synced record.
    pub(super) synced: AtomicU64,
    /// What the superblock says, and the record of the other image.
    pub(super) present: Mutex<(Present, u64)>,
    /// Checkpoints that were begun and not ended.
    pub(super) pending: AtomicU64,
    /// Which image files this process has checked or written wholly.
    pub(super) known: [AtomicBool; 2],
    pub(super) pruning: Mutex<()>,
    /// Keeps other processes out as long as anyone uses the store.
    pub(super) _lock: Box<dyn Any + Send + Sync>,
}

impl Shared {
    /// Runs something that must not fail half-way: if it does, the store is broken for everyone.
    pub(super) fn whole<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Broken);
        }
        work().inspect_err(|_| self.broken.store(true, Ordering::Release))
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().expect("nothing panics while it holds the list").clone()
    }

    pub(super) fn present(&self) -> (Present, u64) {
        *self.present.lock().expect("nothing panics while it holds the superblock")
    }

    pub(super) fn holds(&self, first: u64) -> bool {
        self.segments().iter().any(|segment| segment.first == first)
    }

    pub(super) fn used_bytes(&self) -> Result<u64, StoreError> {
        Ok(files(&*self.disk)?.iter().map(|file| file.1).sum())
    }

    /// Removes old segments: those outside the window, and further ones while there is less room than `room` below the
    /// limit. Never one that a restart needs, nor the one being written. Returns the bytes that all files take then.
    pub(super) fn prune(&self, room: u64) -> Result<u64, StoreError> {
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
            let removed = self.segments.write().expect("nothing panics while it holds the list").remove(0);
            assert_eq!(removed.first, oldest.first, "another segment is pruned than was found to be no longer needed");
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
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        let used = self.prune(bytes)?;
        let limit = self.options.limit_bytes;
        if used.saturating_add(bytes) > limit {
            return Err(StoreError::Limit { path: self.disk.path().to_owned(), used, limit });
        }
        Ok(())
    }

    /// Whether there is a file of this name.
    pub(super) fn names(&self, name: &str) -> Result<bool, StoreError> {
        Ok(files(&*self.disk)?.iter().any(|file| file.0 == name))
    }

    /// The first record that a restart replays, also from the older of the two images.
    pub(super) fn needed_from(&self) -> u64 {
        let (present, older) = self.present();
        older.min(present.record) + 1
    }
}
