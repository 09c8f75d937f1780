//! How a verb shows what it did: a table for people, JSON for programs.

use clap::Args;
use dynemix_engine::base::parameters::DYNE;
use dynemix_perf::report::{grouped, write_json};
use serde::Serialize;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A report that people and programs can read.
pub(crate) trait Shown: Serialize {
    /// For people.
    fn text(&self) -> String;
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Also write the report as JSON to this file; `-` prints JSON instead of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl OutputArgs {
    /// Whether JSON takes the table's place on standard output.
    pub(crate) fn is_json_alone(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Prints the table, and writes JSON where asked to; JSON on standard output takes the table's place.
    pub(crate) fn show(&self, report: &impl Shown) -> Result<(), Box<dyn Error>> {
        if !self.is_json_alone() {
            match writeln!(std::io::stdout(), "{}", report.text()) {
                // Whoever read has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        if let Some(path) = &self.json {
            write_json(path, report).map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// Units as dynes with six decimals.
pub(crate) fn dynes(units: u64) -> String {
    format!("{}.{:06}", grouped(units / DYNE), units % DYNE)
}
