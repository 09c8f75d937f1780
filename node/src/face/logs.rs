//! Logs: lines on the screen, and in files that are bounded. What is shown can be changed while the node runs.

use crate::setup::log_filter::log_filter;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

/// A file that begins anew when it is full; older ones stay as `name.1`, `name.2`, ...
pub struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files: usize,
}

impl Rotating {
    /// Opens or begins the file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(path: &Path, bytes_max: u64, files: usize) -> io::Result<Rotating> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Rotating { path: path.to_owned(), file, bytes, bytes_max: bytes_max.max(4_096), files: files.max(1) })
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.files.saturating_sub(1)).rev() {
            let from = self.numbered(number);
            if from.exists() {
                fs::rename(from, self.numbered(number + 1))?;
            }
        }
        if self.files > 1 {
            fs::rename(&self.path, self.numbered(1))?;
        }
        self.file = OpenOptions::new().create(true).write(true).truncate(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes + bytes.len() as u64 > self.bytes_max && self.bytes > 0 {
            self.rotate()?;
        }
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Changes the filter of the screen.
pub type SetFilter = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Starts logging to the screen and, if there is a file, to it.
///
/// # Errors
/// A filter that is none, or a file that cannot be opened.
pub fn start(screen: &str, file: Option<(&Path, &str, u64, usize)>) -> Result<SetFilter, Box<dyn std::error::Error>> {
    let (filter, handle) = reload::Layer::new(log_filter(screen)?);
    let to_screen =
        fmt::layer().with_writer(io::stderr).log_internal_errors(false).with_target(false).with_filter(filter);
    let to_file = match file {
        Some((path, filter, bytes, files)) => {
            let rotating = Mutex::new(Rotating::open(path, bytes, files)?);
            Some(fmt::layer().json().with_writer(rotating).log_internal_errors(false).with_filter(log_filter(filter)?))
        }
        None => None,
    };
    registry().with(to_screen).with(to_file).try_init()?;
    Ok(Arc::new(move |text: &str| {
        let filter = log_filter(text)?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.log");
        let mut file = Rotating::open(&path, 4_096, 3).unwrap();
        for line in 0..2_000 {
            writeln!(file, "line {line} of a log that would grow without end").unwrap();
        }
        let sizes: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|&bytes| bytes <= 4_096), "{sizes:?}");
        assert!(fs::read_to_string(&path).unwrap().contains("line 1999"));
    }
}
