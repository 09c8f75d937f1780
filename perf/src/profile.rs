//! Sampling profiles of a whole run: a flame graph to look at and a table of the hottest functions to read.
//!
//! How to read them: `perf/README.md`.

use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Samples a second: prime, so that it does not beat with anything periodic.
const FREQUENCY: i32 = 997;
/// Rows of the table.
const ROWS: usize = 40;

/// Why a profile was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The profiler did not start or had nothing to report.
    #[error("the profiler: {0}")]
    Profiler(#[from] pprof::Error),
    /// A file could not be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// File or directory that could not be written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A profile in the making: samples every thread of this process until it is finished.
pub struct Profile {
    guard: ProfilerGuard<'static>,
}

/// The files of a finished profile.
#[derive(Clone, Debug)]
pub struct ProfileFiles {
    /// The flame graph.
    pub flame_graph: PathBuf,
    /// File of the table of the hottest functions, `top.txt`.
    pub top: PathBuf,
    /// The table's text.
    pub top_text: String,
}

impl Profile {
    /// Starts sampling.
    ///
    /// # Errors
    /// When another profile is under way in this process.
    pub fn start() -> Result<Profile, ProfileError> {
        let guard = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&["libc", "libgcc", "pthread", "vdso"])
            .build()?;
        Ok(Profile { guard })
    }

    /// Stops sampling and writes `flame.svg` and `top.txt` into `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When nothing was sampled or a file cannot be written.
    pub fn finish(self, directory: &Path) -> Result<ProfileFiles, ProfileError> {
        let report = self.guard.report().build()?;
        let write_error = |path: &Path| {
            let path = path.to_owned();
            move |source| ProfileError::Write { path, source }
        };
        fs::create_dir_all(directory).map_err(write_error(directory))?;
        let flame_graph = directory.join("flame.svg");
        report.flamegraph(File::create(&flame_graph).map_err(write_error(&flame_graph))?)?;
        let top = directory.join("top.txt");
        let top_text = top_table(&report);
        fs::write(&top, &top_text).map_err(write_error(&top))?;
        Ok(ProfileFiles { flame_graph, top, top_text })
    }
}

/// The functions in which most samples fell: by themselves, and with what they called.
fn top_table(report: &Report) -> String {
    let (mut own, mut total): (HashMap<String, isize>, HashMap<String, isize>) = Default::default();
    let mut samples = 0;
    for (frames, &count) in &report.data {
        samples += count;
        let mut names: Vec<String> = frames.frames.iter().flatten().map(|symbol| symbol.name()).collect();
        if let Some(innermost) = names.first() {
            *own.entry(innermost.clone()).or_default() += count;
        }
        names.sort();
        names.dedup();
        for name in names {
            *total.entry(name).or_default() += count;
        }
    }
    let mut rows: Vec<_> = own.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let share = |count: isize| 100.0 * count as f64 / samples.max(1) as f64;
    let mut text = format!("{samples} samples at {FREQUENCY} a second\n\n  own %  total %  function\n");
    for (name, count) in rows.into_iter().take(ROWS) {
        let name: String =
            if name.chars().count() > 120 { name.chars().take(117).chain("...".chars()).collect() } else { name };
        let with_callees = total.get(&name).copied().unwrap_or(count);
        text.push_str(&format!("  {:5.1}  {:7.1}  {name}\n", share(count), share(with_callees)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_busy_loop_is_found() {
        #[inline(never)]
        fn spin_for_the_profiler(time: Duration) -> u64 {
            let start = Instant::now();
            let mut sum = 0u64;
            while start.elapsed() < time {
                sum = std::hint::black_box(sum.wrapping_mul(3).wrapping_add(1));
            }
            sum
        }
        let directory = std::env::temp_dir().join(format!("dynemix-perf-test-{}", std::process::id()));
        let profile = Profile::start().unwrap();
        std::hint::black_box(spin_for_the_profiler(Duration::from_millis(400)));
        let files = profile.finish(&directory).unwrap();
        assert!(fs::read_to_string(&files.flame_graph).unwrap().contains("<svg"));
        assert!(files.top_text.contains("own %"));
        fs::remove_dir_all(directory).unwrap();
    }
}
