//! The store: image, journal and superblock of one directory, under one lock.

use crate::error::StoreError;
use crate::file::sync_directory;
use crate::image::{Image, RegionSpec, image_path};
use crate::journal::{Journal, journal_path};
use crate::superblock::{self, Present};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Whose store it is: the chain's genesis hash.
pub type ChainId = [u8; 32];

/// An open store, without its image: that one goes to whoever works in it.
pub struct Store {
    directory: PathBuf,
    chain: ChainId,
    journal: Journal,
    present: Present,
    broken: bool,
    _lock: File,
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(StoreError::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path: directory.to_owned() }),
        Err(error) => Err(StoreError::io("lock", &path)(error.into())),
    }
}

impl Store {
    /// Whether the directory holds a store.
    pub fn exists(directory: &Path) -> bool {
        superblock::path(directory).exists()
    }

    /// Makes a store and hands out its zeroed image. It exists once [`Self::checkpoint`] has written the filled image.
    ///
    /// # Errors
    /// When the system refuses something, or the directory is in use.
    pub fn create(directory: &Path, chain: ChainId, regions: &[RegionSpec]) -> Result<(Store, Image), StoreError> {
        fs::create_dir_all(directory).map_err(StoreError::io("create", directory))?;
        let lock = lock(directory)?;
        let image = Image::create(&image_path(directory, 1), chain, regions)?;
        let journal = Journal::create(directory, chain, 1)?;
        let present = Present { sequence: 0, image: 1, journal_first: 1 };
        Ok((Store { directory: directory.to_owned(), chain, journal, present, broken: false, _lock: lock }, image))
    }

    /// Opens a store: maps its image, then hands each record of its journal to `replay` together with the image.
    ///
    /// # Errors
    /// Whatever is damaged, of another version or chain, or in use; or what `replay` returns.
    pub fn open<T, E: From<StoreError>>(
        directory: &Path,
        chain: ChainId,
        regions: &[RegionSpec],
        work_in: impl FnOnce(Image) -> T,
        mut replay: impl FnMut(&mut T, u64, &[u8]) -> Result<(), E>,
    ) -> Result<(Store, T), E> {
        let lock = lock(directory)?;
        let present = superblock::read(directory, chain)?;
        let mut work = work_in(Image::open(&image_path(directory, present.image), chain, regions)?);
        let journal = Journal::open(directory, chain, present.journal_first, |number, payload| replay(&mut work, number, payload))?;
        Ok((Store { directory: directory.to_owned(), chain, journal, present, broken: false, _lock: lock }, work))
    }

    /// Runs something that must not fail half-way: if it does, the store is broken.
    fn whole<T>(&mut self, work: impl FnOnce(&mut Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        self.broken = true;
        let done = work(self)?;
        self.broken = false;
        Ok(done)
    }

    /// Appends a record and returns its number; durable after the next [`Self::sync`].
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        self.whole(|store| store.journal.append(payload))
    }

    /// Makes all records durable.
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.whole(|store| store.journal.sync())
    }

    /// The number that the next record will have.
    pub fn next_number(&self) -> u64 {
        self.journal.next_number()
    }

    /// Bytes of records since the last checkpoint.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Writes the image to the other file, begins a new journal and flips the superblock: all records up to now are in the
    /// image then. A crash anywhere in between leaves the old image with the old journal.
    ///
    /// # Errors
    /// After any the store is broken.
    pub fn checkpoint(&mut self, image: &Image) -> Result<(), StoreError> {
        self.whole(|store| {
            let Present { sequence, image: mapped, journal_first } = store.present;
            let next = Present { sequence: sequence + 1, image: 1 - mapped, journal_first: store.journal.next_number() };
            image.write_to(&image_path(&store.directory, next.image))?;
            // Without records since the last checkpoint the journal stays as it is.
            let journal = match next.journal_first == journal_first && sequence > 0 {
                true => None,
                false => Some(Journal::create(&store.directory, store.chain, next.journal_first)?),
            };
            sync_directory(&store.directory)?;
            superblock::write(&store.directory, store.chain, next)?;
            sync_directory(&store.directory)?;
            store.present = next;
            if let Some(journal) = journal {
                store.journal = journal;
            }
            if next.journal_first != journal_first {
                let old = journal_path(&store.directory, journal_first);
                fs::remove_file(&old).map_err(StoreError::io("remove", &old))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = [7; 32];
    const REGIONS: [RegionSpec; 2] = [RegionSpec { name: "head", bytes: 8 }, RegionSpec { name: "body", bytes: 10_000 }];

    /// Each record is a byte that is added to the body's first byte; the head counts records.
    fn apply(image: &mut Image, record: &[u8]) {
        let [head, body] = image.regions_mut::<2>();
        head[0] += 1;
        body[0] = body[0].wrapping_add(record[0]);
        *body.last_mut().unwrap() = record[0];
    }

    fn open(directory: &Path) -> Result<(Store, Image), StoreError> {
        Store::open(
            directory,
            CHAIN,
            &REGIONS,
            |image| image,
            |image, _, record| {
                apply(image, record);
                Ok(())
            },
        )
    }

    fn fresh(directory: &Path) -> (Store, Image) {
        let (mut store, image) = Store::create(directory, CHAIN, &REGIONS).unwrap();
        store.checkpoint(&image).unwrap();
        (store, image)
    }

    fn log(store: &mut Store, image: &mut Image, value: u8) {
        store.append(&[value]).unwrap();
        store.sync().unwrap();
        apply(image, &[value]);
    }

    #[test]
    fn records_and_checkpoints_survive_any_number_of_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut image) = fresh(directory.path());
        let mut count = 0u8;
        for round in 0..6 {
            for value in 0..3 {
                log(&mut store, &mut image, value);
                count += 1;
            }
            if round % 2 == 0 {
                store.checkpoint(&image).unwrap();
            }
            let body = image.region(1).to_vec();
            drop((store, image));
            (store, image) = open(directory.path()).unwrap();
            assert_eq!(image.region(0)[0], count);
            assert_eq!(image.region(1), body);
            assert_eq!(store.next_number(), u64::from(count) + 1);
        }
    }

    #[test]
    fn a_torn_last_record_is_dropped_and_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut image) = fresh(directory.path());
        log(&mut store, &mut image, 1);
        log(&mut store, &mut image, 2);
        drop((store, image));
        let path = journal_path(directory.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096 + 56 + 48] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (mut store, mut image) = open(directory.path()).unwrap();
        assert_eq!(image.region(0)[0], 1);
        log(&mut store, &mut image, 9);
        drop((store, image));
        let (_, image) = open(directory.path()).unwrap();
        assert_eq!((image.region(0)[0], image.region(1)[0]), (2, 10));
    }

    #[test]
    fn a_second_opener_a_flipped_bit_a_short_file_and_another_chain_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let (store, image) = fresh(directory.path());
        assert!(matches!(open(directory.path()).err().unwrap(), StoreError::Locked { .. }));
        drop((store, image));
        let other = Store::open(directory.path(), [8; 32], &REGIONS, |image| image, |_, _, _| Ok::<_, StoreError>(()));
        assert!(matches!(other.err().unwrap(), StoreError::WrongChain { .. }));
        let path = image_path(directory.path(), 0);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[4096 + 4096 + 5_000] ^= 4;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(open(directory.path()).err().unwrap(), StoreError::Damaged { offset: 8192, .. }));
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(matches!(open(directory.path()).err().unwrap(), StoreError::Damaged { .. }));
        fs::write(&path, &good).unwrap();
        assert!(open(directory.path()).is_ok());
    }

    #[test]
    fn a_torn_superblock_leaves_the_older_copy() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut image) = fresh(directory.path());
        log(&mut store, &mut image, 5);
        // As at a crash inside a flip: the other copy is half written, image and journal of the old one are whole.
        drop((store, image));
        let path = superblock::path(directory.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[..40].copy_from_slice(&[0xaa; 40]);
        fs::write(&path, bytes).unwrap();
        let (_, image) = open(directory.path()).unwrap();
        assert_eq!(image.region(1)[0], 5);
    }
}
