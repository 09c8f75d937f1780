//! How a directory becomes a store.

use super::options::StoreOptions;
use super::writer::Store;
use crate::disk::{Disk, NamedFile, StoreError, files, remove};
use crate::file::image::{self, Image};
use crate::file::index;
use crate::file::page::{ChainId, Sum};
use crate::file::paged::RegionSpec;
use crate::file::segment::{self, RECORDS_OFFSET, Segment};
use crate::file::superblock::{self, Present};
use std::sync::Arc;

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
}

/// The running checksum before the first record of a log that begins after record `record`.
fn chain_start(chain: &ChainId, record: u64) -> Sum {
    let mut hasher = blake3::Hasher::new_derive_key("dynemix log start v2");
    hasher.update(chain).update(&record.to_le_bytes());
    *hasher.finalize().as_bytes()
}
