//! A whole devnet in one file: a compressed tar archive of what nodes need to go on, to keep or to give away.

use super::hints::command;
use super::layout::{Devnet, LayoutError};
use super::lock::{DevnetLock, LockError};
use super::stop::running;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, EntryType};

/// Files of a devnet beside its nodes' directories. What it is known by comes last: without it there is none.
const FILES: [&str; 2] = ["genesis.toml", "devnet.json"];
/// Bytes of all files in an archive that is believed: a small file could stand for more than the disk has.
const BYTES_MAX: u64 = 1 << 40;

/// Why a devnet is not written to a file, or not read from one.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Somebody has the directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no devnet, or other files are where it is to come.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Nodes run that no `up` has.
    #[error("{} of its nodes still run, though no `devnet up` does; `{}` stops them", .1, command("devnet down", .0))]
    Running(PathBuf, usize),
    /// There is one already.
    #[error("{} holds a devnet already: name another --dir, or remove it: `{}`", .0.display(),
        command("devnet reset", .0))]
    Exists(PathBuf),
    /// The system refused, or the archive is damaged.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// It is an archive of something else.
    #[error("{}: is no devnet that `devnet dump` has written: {why}", path.display())]
    Form {
        /// The file that was to be read.
        path: PathBuf,
        /// What does not belong there.
        why: String,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DumpError {
    let path = path.to_owned();
    move |source| DumpError::Io { path, source }
}

/// Writes a devnet of which nothing runs to a new file.
///
/// # Errors
/// When there is none, it runs, the file is there already, or the disk refuses: then nothing stays of the file.
pub fn dump(directory: &Path, file: &Path) -> Result<(), DumpError> {
    let devnet = Devnet::read(directory)?;
    let _lock = DevnetLock::take(directory)?;
    let running = running(directory).len();
    if running > 0 {
        return Err(DumpError::Running(directory.to_owned(), running));
    }
    let beside = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut written = tempfile::NamedTempFile::new_in(beside).map_err(failed(file))?;
    let mut packed = || {
        let mut archive = Builder::new(GzEncoder::new(BufWriter::new(&mut written), Compression::fast()));
        for node in 0..devnet.shape.nodes {
            let of_node = devnet.node_directory(directory, node);
            for name in ["keys", "data"] {
                pack(&mut archive, directory, &of_node.join(name))?;
            }
        }
        FILES.iter().try_for_each(|name| pack(&mut archive, directory, &directory.join(name)))?;
        archive.into_inner()?.finish()?.flush()
    };
    packed().map_err(failed(file))?;
    written.as_file().sync_all().map_err(failed(file))?;
    written.persist_noclobber(file).map_err(|error| failed(file)(error.error))?;
    Ok(())
}

/// Puts a file, or all files below a directory, into an archive; what is neither, as sockets, is made anew by whoever
/// needs it.
fn pack(archive: &mut Builder<impl Write>, root: &Path, path: &Path) -> io::Result<()> {
    let found = path.symlink_metadata()?;
    if found.is_dir() {
        let mut paths: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        return paths.iter().try_for_each(|path| pack(archive, root, path));
    }
    if found.is_file() {
        archive.append_path_with_name(path, path.strip_prefix(root).expect("below it"))?;
    }
    Ok(())
}

/// Reads a devnet from a file into a directory that is empty or not there yet.
///
/// # Errors
/// When something is there, or the file is not what [`dump`] has written: then nothing of it stays.
pub fn load(file: &Path, directory: &Path) -> Result<Devnet, DumpError> {
    Devnet::may_be_in(directory)?;
    if directory.join("devnet.json").exists() {
        return Err(DumpError::Exists(directory.to_owned()));
    }
    let bytes = BufReader::new(File::open(file).map_err(failed(file))?);
    let is_new = !directory.exists();
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let loaded = (|| {
        let _lock = DevnetLock::take(directory)?;
        let aside = tempfile::tempdir_in(directory).map_err(failed(directory))?;
        unpack(file, bytes, aside.path())?;
        let devnet = Devnet::read(aside.path()).map_err(|error| wrong(file, &error.to_string()))?;
        let mut names: Vec<String> = (0..devnet.shape.nodes).map(|node| format!("node{node:02}")).collect();
        names.extend(FILES.map(String::from));
        if let Some(missing) = names.iter().find(|name| !aside.path().join(name).exists()) {
            return Err(wrong(file, &format!("{missing} is missing")));
        }
        // Whoever has written the archive does not say where nodes of this computer keep what.
        (0..devnet.shape.nodes).try_for_each(|node| devnet.write_config(aside.path(), node))?;
        for name in &names {
            fs::rename(aside.path().join(name), directory.join(name)).map_err(failed(directory))?;
        }
        Ok(devnet)
    })();
    if loaded.is_err() && is_new {
        // Of a directory that nobody had before.
        let _ = fs::remove_dir_all(directory);
    }
    loaded
}

fn wrong(file: &Path, why: &str) -> DumpError {
    DumpError::Form { path: file.to_owned(), why: why.to_owned() }
}

/// Unpacks plain files of a devnet's names, and nothing else, whoever has written the archive.
fn unpack(file: &Path, bytes: impl io::Read, into: &Path) -> Result<(), DumpError> {
    let mut archive = Archive::new(GzDecoder::new(bytes));
    let mut left = BYTES_MAX;
    for entry in archive.entries().map_err(failed(file))? {
        let mut entry = entry.map_err(|error| wrong(file, &format!("it is cut off or damaged: {error}")))?;
        let path = entry.path().map_err(failed(file))?.into_owned();
        let names: Option<Vec<&str>> = path
            .components()
            .map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
            .collect();
        let is_ours = match names.as_deref() {
            Some([name]) => FILES.contains(name),
            Some([node, "keys" | "data", _, ..]) => node.starts_with("node"),
            _ => false,
        };
        left = left.saturating_sub(entry.size());
        if !is_ours || entry.header().entry_type() != EntryType::Regular || left == 0 {
            return Err(wrong(file, &format!("'{}' is in it", path.display())));
        }
        entry
            .unpack_in(into)
            .map_err(|error| wrong(file, &format!("it is cut off or damaged at {}: {error}", path.display())))?;
    }
    Ok(())
}
