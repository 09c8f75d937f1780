//! What is at an address: the functions by name, those of this program that are inlined there among them.

use std::collections::HashMap;
use std::fs;

/// A stretch of code that is mapped from a file.
pub(crate) struct Mapped {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Its last name only.
    pub(crate) file: String,
}

/// All mapped code of this process.
pub(crate) fn mapped_code() -> Vec<Mapped> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = |line: &str| {
        let mut fields = line.split_whitespace();
        let (range, rights, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
        let (from, to) = range.split_once('-')?;
        let address = |digits| usize::from_str_radix(digits, 16).ok();
        let file = path.rsplit('/').next().unwrap_or(path).to_owned();
        rights.contains('x').then_some(Mapped { from: address(from)?, to: address(to)?, file })
    };
    maps.lines().filter_map(mapped).collect()
}

/// Names of addresses, each looked up once.
pub(crate) struct Symbols {
    mapped: Vec<Mapped>,
    own_file: String,
    known: HashMap<usize, Vec<String>>,
    /// Whether this program says which functions were inlined where.
    pub(crate) has_lines: bool,
}

impl Symbols {
    pub(crate) fn new() -> Symbols {
        let own = std::env::current_exe().ok();
        let own_file = own.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Symbols {
            mapped: mapped_code(),
            own_file: own_file.unwrap_or_default(),
            known: HashMap::new(),
            has_lines: false,
        }
    }

    /// The functions at an address, the innermost first. `address` is that of an instruction.
    pub(crate) fn at(&mut self, address: usize) -> &[String] {
        if !self.known.contains_key(&address) {
            let functions = self.look_up(address);
            self.known.insert(address, functions);
        }
        &self.known[&address]
    }

    fn look_up(&mut self, address: usize) -> Vec<String> {
        let file = self.mapped.iter().find(|map| (map.from..map.to).contains(&address)).map(|map| map.file.as_str());
        let is_foreign = file != Some(&self.own_file);
        let (mut functions, mut has_lines) = (Vec::new(), false);
        // The library looks at the byte before what it is given: it expects addresses to return to.
        backtrace::resolve((address + 1) as *mut _, |symbol| {
            let Some(name) = symbol.name() else { return };
            // The standard library comes with lines of its own.
            let is_of_std = symbol.filename().is_some_and(|path| path.starts_with("/rustc"));
            has_lines |= symbol.filename().is_some() && !is_of_std;
            let name = match file {
                Some(file) if is_foreign => format!("{name:#} ({file})"),
                _ => format!("{name:#}"),
            };
            functions.push((name, is_of_std));
        });
        // A sum or a step of a loop says nothing: what is inlined of the standard library counts for who called it.
        let last = functions.len().saturating_sub(1);
        let kept = functions.into_iter().enumerate().filter(|(place, (_, is_of_std))| *place == last || !is_of_std);
        let mut functions: Vec<String> = kept.map(|(_, (name, _))| name).collect();
        self.has_lines |= has_lines && !is_foreign;
        if functions.is_empty() {
            functions.push(format!("({})", file.unwrap_or("nobody's code")));
        }
        functions
    }
}
