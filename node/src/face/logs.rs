//! Logs: lines on the screen, and in files that are bounded. What is shown can be changed while the node runs.

use crate::setup::log_filter::log_filter;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
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

/// Lines that are remembered for whoever asks what was shown last.
const LAST_LINES: usize = 1_000;
/// Bytes of a line that is remembered, at most.
const LINE_BYTES_MAX: usize = 1_024;

/// The lines that were shown last, oldest first.
#[derive(Clone, Default)]
pub struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl LastLines {
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().expect("nothing panics while it holds the last lines")
    }

    /// So many of the newest.
    pub fn newest(&self, count: usize) -> Vec<String> {
        let lines = self.lines();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }
}

impl Write for LastLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.lines();
        for line in String::from_utf8_lossy(bytes).lines() {
            if lines.len() >= LAST_LINES {
                lines.pop_front();
            }
            lines.push_back(line[..line.floor_char_boundary(LINE_BYTES_MAX)].to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type SetFilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The screen's filter and what it has shown, for whoever asks while the node runs.
pub struct ScreenLog {
    filter: Mutex<String>,
    set: SetFilter,
    last: LastLines,
}

impl ScreenLog {
    /// What is shown at present, as the filter says it.
    pub fn filter(&self) -> String {
        self.filter.lock().expect("nothing panics while it holds a filter's text").clone()
    }

    /// Shows more or less from now on.
    ///
    /// # Errors
    /// What is wrong with the filter; the present one stays then.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        (self.set)(filter)?;
        filter.clone_into(&mut self.filter.lock().expect("nothing panics while it holds a filter's text"));
        Ok(())
    }

    /// So many of the newest lines that were shown.
    pub fn newest(&self, count: usize) -> Vec<String> {
        self.last.newest(count)
    }
}

/// Lines on the screen: in colours if it is one, and nobody wants none (`NO_COLOR`).
pub fn screen<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && !plain)
}

/// Starts logging to the screen and, if there is a file, to it.
///
/// # Errors
/// A filter that is none, or a file that cannot be opened.
pub fn start(shown: &str, file: Option<(&Path, &str, u64, usize)>) -> Result<ScreenLog, Box<dyn std::error::Error>> {
    let (filter, handle) = reload::Layer::new(log_filter(shown)?);
    let last = LastLines::default();
    let kept = last.clone();
    let to_last = fmt::layer().with_writer(move || kept.clone()).with_target(false).with_ansi(false);
    let to_screen = screen().and_then(to_last).with_filter(filter);
    let to_file = match file {
        Some((path, filter, bytes, files)) => {
            let failed = |error| format!("write {}: {error}", path.display());
            let rotating = Mutex::new(Rotating::open(path, bytes, files).map_err(failed)?);
            Some(fmt::layer().json().with_writer(rotating).log_internal_errors(false).with_filter(log_filter(filter)?))
        }
        None => None,
    };
    registry().with(to_screen).with(to_file).try_init()?;
    let set = move |text: &str| handle.reload(log_filter(text)?).map_err(|error| error.to_string());
    Ok(ScreenLog { filter: Mutex::new(shown.to_owned()), set: Box::new(set), last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_remembered_and_no_more() {
        let mut last = LastLines::default();
        for number in 0..3 * LAST_LINES {
            last.write_all(format!("line {number}{}\n", "ü".repeat(number % 2 * LINE_BYTES_MAX)).as_bytes()).unwrap();
        }
        let lines = last.newest(usize::MAX);
        assert_eq!((lines.len(), last.newest(2).len()), (LAST_LINES, 2));
        assert!(lines[LAST_LINES - 1].starts_with(&format!("line {}", 3 * LAST_LINES - 1)));
        assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    }

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
