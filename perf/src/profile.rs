//! Sampling profiles of a whole run: a flame graph to look at and a table of the hottest functions to read.
//!
//! How to read them: `perf/README.md`.

use crate::report::{counted, grouped};
use crate::sampler::{Sample, Sampler};
use crate::symbols::Symbols;
use crate::table::{table, table_within};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Rows of the table.
const ROWS: usize = 40;
/// Columns of the table's file: names stand whole in it.
const FILE_WIDTH: usize = 400;

/// Why a profile was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The profiler did not start.
    #[error("the profiler does not start: {0}")]
    Start(#[source] io::Error),
    /// The work was done before the first sample.
    #[error("not one sample: the work took less than a thousandth of a second of processor; give it more to do")]
    Empty,
    /// The flame graph was not drawn.
    #[error("draw {}: {source}", path.display())]
    Draw {
        /// File of the flame graph.
        path: PathBuf,
        /// What was wrong.
        source: io::Error,
    },
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
    sampler: Sampler,
}

/// The files of a finished profile.
#[derive(Clone, Debug)]
pub struct ProfileFiles {
    /// The flame graph.
    pub flame_graph: PathBuf,
    /// File of the table of the hottest functions, `top.txt`.
    pub top: PathBuf,
    /// The table, as wide as the terminal.
    pub top_text: String,
    /// The same as figures.
    pub hottest: Hottest,
}

/// A function, and how many samples fell into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its name with its modules.
    pub function: String,
    /// Samples in it, what is inlined into it not counted where that is known.
    pub own: usize,
    /// Samples in it and in what it called.
    pub total: usize,
}

/// The functions in which samples fell.
#[derive(Clone, Debug)]
pub struct Hottest {
    /// All samples that were kept.
    pub samples: usize,
    /// Samples that found no room, and are not counted.
    pub lost: usize,
    /// Whether the program knows what is inlined where; else that counts for the function around it.
    pub has_lines: bool,
    /// Those with most own samples first.
    pub functions: Vec<Hot>,
}

impl Profile {
    /// Starts sampling.
    ///
    /// # Errors
    /// When another profile is under way in this process.
    pub fn start() -> Result<Profile, ProfileError> {
        Ok(Profile { sampler: Sampler::start().map_err(ProfileError::Start)? })
    }

    /// Stops sampling and writes `flame.svg` and `top.txt` into `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// When nothing was sampled or a file cannot be written.
    pub fn finish(self, directory: &Path) -> Result<ProfileFiles, ProfileError> {
        let (samples, lost) = self.sampler.finish();
        if samples.is_empty() {
            return Err(ProfileError::Empty);
        }
        let mut symbols = Symbols::new();
        let stacks = stacks(&samples, &mut symbols);
        let hottest = Hottest::of(&stacks, lost, symbols.has_lines);
        let write_error = |path: &Path| {
            let path = path.to_owned();
            move |source| ProfileError::Write { path, source }
        };
        fs::create_dir_all(directory).map_err(write_error(directory))?;
        let flame_graph = directory.join("flame.svg");
        let file = File::create(&flame_graph).map_err(write_error(&flame_graph))?;
        draw(&stacks, file).map_err(|error| ProfileError::Draw { path: flame_graph.clone(), source: error })?;
        let top = directory.join("top.txt");
        fs::write(&top, hottest.text(|head, rows| table_within(FILE_WIDTH, head, rows))).map_err(write_error(&top))?;
        Ok(ProfileFiles { flame_graph, top, top_text: hottest.text(table), hottest })
    }
}

/// The functions of each sample, the innermost first; the thread's name is the last.
fn stacks(samples: &[Sample], symbols: &mut Symbols) -> Vec<Vec<String>> {
    let stack = |sample: &Sample| {
        let mut stack = Vec::new();
        for (depth, address) in sample.addresses.iter().enumerate() {
            // All but the first are addresses to return to: the call is before them.
            stack.extend_from_slice(symbols.at(address - usize::from(depth > 0)));
        }
        stack.push(sample.thread.clone());
        stack
    };
    samples.iter().map(stack).collect()
}

/// Whether a function only hands work on: dozens of them lie between those that say something.
fn hands_on(function: &str) -> bool {
    function.trim_start_matches('<').starts_with("rayon")
}

fn draw(stacks: &[Vec<String>], file: File) -> io::Result<()> {
    let mut folded = BTreeMap::<String, usize>::new();
    for stack in stacks {
        let mut line: Vec<&str> = Vec::new();
        for function in stack.iter().rev() {
            let shown = if hands_on(function) { "rayon" } else { function };
            if line.last() != Some(&shown) || shown != "rayon" {
                line.push(shown);
            }
        }
        let line: Vec<String> = line.into_iter().map(|function| function.replace(';', ":")).collect();
        *folded.entry(line.join(";")).or_default() += 1;
    }
    let lines: Vec<String> = folded.iter().map(|(stack, count)| format!("{stack} {count}")).collect();
    inferno::flamegraph::from_lines(&mut Default::default(), lines.iter().map(String::as_str), file)
}

impl Hottest {
    fn of(stacks: &[Vec<String>], lost: usize, has_lines: bool) -> Hottest {
        let mut counts = HashMap::<&str, (usize, usize)>::new();
        for stack in stacks {
            let functions = &stack[..stack.len() - 1];
            counts.entry(&functions[0]).or_default().0 += 1;
            for function in functions.iter().map(String::as_str).collect::<HashSet<_>>() {
                counts.entry(function).or_default().1 += 1;
            }
        }
        let hot = |(function, (own, total)): (&str, (usize, usize))| Hot { function: function.to_owned(), own, total };
        let mut functions: Vec<Hot> = counts.into_iter().map(hot).collect();
        functions.sort_by(|a, b| (b.own, b.total).cmp(&(a.own, a.total)).then_with(|| a.function.cmp(&b.function)));
        Hottest { samples: stacks.len(), lost, has_lines, functions }
    }

    fn text(&self, table: impl Fn(&[&str], &[Vec<String>]) -> String) -> String {
        let share = |count: usize| format!("{:.1}", 100.0 * count as f64 / self.samples as f64);
        let row = |hot: &Hot| vec![share(hot.own), share(hot.total), hot.function.clone()];
        let rows: Vec<_> = self.functions.iter().filter(|hot| hot.own > 0).take(ROWS).map(row).collect();
        let lost = match self.lost as u64 {
            0 => String::new(),
            lost => format!("; {} more found no room", grouped(lost)),
        };
        let lines = if self.has_lines {
            "inlined functions count by themselves, the library's for who called them"
        } else {
            "what is inlined counts for the function around it; by itself with\n  cargo run --profile profiling"
        };
        let samples = counted(self.samples as u64, "sample");
        format!("  {samples} by processor time{lost}\n  {lines}\n\n{}", table(&["own %", "total %", "function"], &rows))
    }
}
