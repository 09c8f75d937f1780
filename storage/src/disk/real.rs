//! Files of the operating system.

use super::error::StoreError;
use super::interface::{Disk, DiskFile};
use super::mapping::Mapping;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    directory: PathBuf,
}

/// Makes a directory and those above it, durable under their names.
///
/// # Errors
/// When the system refuses.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl RealDisk {
    /// The directory, made if it does not exist.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(directory: &Path) -> Result<RealDisk, StoreError> {
        make_directory(directory).map_err(StoreError::io("create", directory))?;
        Ok(RealDisk::at(directory))
    }

    /// The directory, which need not be there.
    pub fn at(directory: &Path) -> RealDisk {
        RealDisk { directory: directory.to_owned() }
    }

    /// The directory, which must exist: for whoever only reads.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn existing(directory: &Path) -> Result<RealDisk, StoreError> {
        match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: directory.to_owned() });
            }
            entries => entries.map_err(StoreError::io("open", directory))?,
        };
        Ok(RealDisk::at(directory))
    }
}

impl Disk for RealDisk {
    fn path(&self) -> &Path {
        &self.directory
    }

    fn folder(&self, name: &str) -> Arc<dyn Disk> {
        Arc::new(RealDisk::at(&self.directory.join(name)))
    }

    fn make(&self) -> io::Result<()> {
        make_directory(&self.directory)
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // A link to a directory is one.
            if fs::metadata(entry.path()).is_ok_and(|there| there.is_dir()) {
                folders.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        folders.sort();
        Ok(folders)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        fs::remove_dir_all(self.directory.join(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        // For nobody but whose process it is: some hold what was signed.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(self.directory.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(self.directory.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Renamed or removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_file() {
                files.push((
                    entry.file_name().to_string_lossy().into_owned(),
                    metadata.len().max(512 * metadata.blocks()),
                ));
            }
        }
        files.sort();
        Ok(files)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let status = statvfs(&self.directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn lock(&self) -> Result<Box<dyn Any + Send + Sync>, StoreError> {
        let path = self.directory.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path: self.directory.clone() }),
            Err(error) => Err(StoreError::io("lock", &path)(error.into())),
        }
    }

    /// Also of a file that may only be read.
    fn read_whole(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.directory.join(name))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        Ok(fallocate(&self.0, FallocateFlags::empty(), 0, bytes.max(1))?)
    }

    fn shorten(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn map(&self, bytes: u64) -> io::Result<Mapping> {
        Mapping::of_file(&self.0, bytes)
    }
}
