//! How a verb shows what it did: a table for people, JSON for programs; and the only way to standard output and standard
//! error. Who reads them may have gone, or the disk that they end on may be full: neither is a panic.

use clap::Args;
use dynemix_engine::base::parameters::DYNE;
use dynemix_perf::report::{grouped, json_text};
use rustix::io::Errno;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Prints a line for people or programs who asked for it: `say!("{count} nodes")?`.
macro_rules! say {
    ($($what:tt)*) => { $crate::cli::output::print_line(format_args!($($what)*)) };
}
/// Prints a line beside what was asked for, on standard error; what cannot be read there is not heard.
macro_rules! note {
    ($($what:tt)*) => { $crate::cli::output::note_line(format_args!($($what)*)) };
}
pub(crate) use {note, say};

/// Why a verb's output did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("write {to}: {source}")]
pub(crate) struct PrintError {
    to: String,
    source: io::Error,
}

impl PrintError {
    /// Whether nothing is wrong: whoever read has seen enough.
    pub(crate) fn is_closed(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Whoever reads slowly is waited for, also where the other end has made the pipe one that does not wait.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    const AGAIN: Duration = Duration::from_millis(5);
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => std::thread::sleep(AGAIN),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A line of [`say!`], as it is written.
pub(crate) fn print_line(line: fmt::Arguments<'_>) -> Result<(), PrintError> {
    print(&format!("{line}\n"))
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), PrintError> {
    let out = io::stdout().lock();
    write_all(out.as_fd(), text.as_bytes()).map_err(|source| PrintError { to: "standard output".into(), source })
}

/// A line of [`note!`], as it is written.
pub(crate) fn note_line(line: fmt::Arguments<'_>) {
    // There is nobody left to whom it could be said.
    let _ = write_all(io::stderr().lock().as_fd(), format!("{line}\n").as_bytes());
}

/// A report that people and programs can read.
pub(crate) trait Shown: Serialize {
    /// The report as a table for people.
    fn text(&self) -> String;
}

/// Where JSON goes.
#[derive(Clone, Debug)]
pub(crate) struct JsonTarget {
    /// A file, beside the table; none: standard output, in the table's place.
    path: Option<PathBuf>,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Opened before the work begins: hours of it are not lost to a wrong path.
    file: OnceLock<File>,
    is_told: AtomicBool,
}

impl JsonTarget {
    /// Standard output, or a file.
    pub(crate) fn new(path: Option<PathBuf>) -> JsonTarget {
        JsonTarget { path, kept: Arc::default() }
    }

    /// Sees to it that what is to be written there can be.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(&self) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        // What an earlier run has left stays until there is something to write.
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let opened = opened.map_err(|error| format!("--json: open {}: {error}", path.display()))?;
        self.kept.file.get_or_init(|| opened);
        Ok(())
    }

    /// Whether the one object that a verb says was said.
    pub(crate) fn is_told(&self) -> bool {
        self.kept.is_told.load(Ordering::Relaxed)
    }

    /// Writes the one object that a verb says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put(&self, text: &str) -> Result<(), PrintError> {
        self.kept.is_told.store(true, Ordering::Relaxed);
        let Some(path) = &self.path else { return print(text) };
        let mut file = self.kept.file.get().expect("opened before the work began");
        // A device has no length to set.
        let is_plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_plain { file.set_len(0) } else { Ok(()) };
        let written = emptied.and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|source| PrintError { to: path.display().to_string(), source })
    }
}

/// `-` or the name of a file. A word without a dot or a slash is rather what was meant for the verb itself.
fn parse_target(text: &str) -> Result<JsonTarget, String> {
    match text {
        "-" => Ok(JsonTarget::new(None)),
        "" => Err("write --json for standard output, --json FILE for a file".into()),
        name if !name.contains(['.', '/']) => Err(format!(
            "'{name}' would be a file; write ./{name} if it is one, or --json=- for JSON on standard output"
        )),
        path => Ok(JsonTarget::new(Some(path.into()))),
    }
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// JSON instead of the table; with a file, the table and JSON into the file. A failure is JSON too
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", value_parser = parse_target)]
    json: Option<JsonTarget>,
}

impl OutputArgs {
    /// Whether JSON takes the table's place on standard output.
    pub(crate) fn is_json_alone(&self) -> bool {
        self.json.as_ref().is_some_and(|target| target.path.is_none())
    }

    /// Prints the table, and writes JSON where asked to; JSON on standard output takes the table's place.
    pub(crate) fn show(&self, report: &impl Shown) -> Result<(), Box<dyn Error>> {
        if !self.is_json_alone() {
            match say!("{}", report.text()) {
                // The file is written nevertheless.
                Err(error) if error.is_closed() => {}
                printed => printed?,
            }
        }
        if let Some(target) = &self.json {
            target.put(&json_text(report)?)?;
        }
        Ok(())
    }
}

/// Units as dynes with six decimals.
pub(crate) fn dynes(units: u64) -> String {
    format!("{}.{:06}", grouped(units / DYNE), units % DYNE)
}
