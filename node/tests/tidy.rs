//! The house stays as it was built: floors, no circles, ratchets. Reads the sources as text; what it counts it prints
//! (`cargo test -p dynemix --test tidy -- --nocapture`).
//!
//! A ratchet only ever tightens: who makes a number better lowers its limit here in the same change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The rooms of each crate, the lowest floor first. A file may use files of its own room and of rooms before it; a file
/// belongs to the longest of these that its path begins with.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "engine",
        &[
            "base",
            "vote",
            "verify",
            "transaction",
            "accounts",
            "committee",
            "chain",
            "rules/effect",
            "rules",
            "messages",
            "consensus/master",
            "consensus",
        ],
    ),
    ("net", &["mesh"]),
    ("storage", &["disk", "file", "store", "scrub"]),
    ("simulator", &["seed", "chain", "nodes", "checkers", "runs", "odds"]),
    ("perf", &[]),
    ("node/workload", &[]),
    ("bench-harness", &["rivals"]),
    ("node", &["keep", "setup", "peer", "intake", "minting", "simulated", "face", "wallet", "devnet", "cli"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the workspace").to_owned()
}

fn files_below(folder: &Path, ending: &str, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files_below(&path, ending, out);
        } else if name.ends_with(ending) {
            out.push(path);
        }
    }
}

/// A source file: its path below `src` without the ending, its lines without tests, comments and strings.
struct Source {
    krate: &'static str,
    path: String,
    module: Vec<String>,
    text: String,
    code: Vec<String>,
}

impl Source {
    fn name(&self) -> String {
        format!("{}/src/{}", self.krate, self.path)
    }

    /// The rooms of its crate that it stands in, by their place in the table; files beside the folders are the top.
    fn floor(&self, rooms: &[&str]) -> usize {
        let inside = |room: &&str| self.path.starts_with(&format!("{room}/"));
        let longest = rooms.iter().enumerate().filter(|(_, room)| inside(room)).max_by_key(|(_, room)| room.len());
        longest.map_or(rooms.len(), |(place, _)| place)
    }
}

/// The code of a file: what `#[cfg(test)]` guards is cut, comments and the insides of strings are blanked.
fn code_of(text: &str) -> Vec<String> {
    let (mut code, mut in_string) = (Vec::new(), false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if !in_string && (trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test")) {
            let end = format!("{}}}", " ".repeat(line.len() - trimmed.len()));
            // What it guards: one line, or all to the brace that closes it.
            let one_line = lines.next().is_none_or(|guarded| guarded.trim_end().ends_with(';'));
            if !one_line {
                lines.by_ref().find(|inside| inside.trim_end() == end);
            }
            continue;
        }
        code.push(blanked(line, &mut in_string));
    }
    code
}

/// A line without its comment and without what stands in its strings; a string may go on in the next line.
fn blanked(line: &str, in_string: &mut bool) -> String {
    let (mut out, mut before) = (String::new(), ' ');
    let mut rest = line.chars().peekable();
    while let Some(here) = rest.next() {
        match here {
            '"' if before != '\\' && !(before == '\'' && rest.peek() == Some(&'\'')) => {
                *in_string = !*in_string;
                out.push('"');
            }
            '/' if !*in_string && rest.peek() == Some(&'/') => break,
            _ if *in_string => {}
            _ => out.push(here),
        }
        before = if before == '\\' && here == '\\' { ' ' } else { here };
    }
    out
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for &(krate, _) in FLOORS {
        let folder = root().join(krate).join("src");
        let mut paths = Vec::new();
        files_below(&folder, ".rs", &mut paths);
        for path in paths {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let below = path.strip_prefix(&folder).expect("below src").to_string_lossy().into_owned();
            let mut module: Vec<String> = below.trim_end_matches(".rs").split('/').map(String::from).collect();
            if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
                module.pop();
            }
            let is_test = module.last().is_some_and(|last| last == "tests" || last.ends_with("_tests"));
            if !is_test {
                sources.push(Source { krate, path: below, module, code: code_of(&text), text });
            }
        }
    }
    sources
}

/// Every path that a file names: `use` trees opened, `crate::` and `super::` in the code.
fn paths_of(source: &Source) -> BTreeSet<Vec<String>> {
    let whole = source.code.join("\n").replace("pub(in ", "pub(");
    // Who may see a thing is no use of it.
    let whole: String = whole.split("pub(crate::").enumerate().fold(String::new(), |out, (place, part)| {
        out + if place == 0 { part } else { part.split_once(')').map_or("", |part| part.1) }
    });
    let mut paths = BTreeSet::new();
    let mut rest = whole.as_str();
    while let Some(at) = rest.find("use ") {
        let starts = at == 0 || rest[..at].ends_with(|before: char| before.is_whitespace() || before == ')');
        let tail = &rest[at + 4..];
        let end = tail.find(';').unwrap_or(tail.len());
        if starts {
            open_tree(&[], &tail[..end].split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
        }
        rest = &tail[end..];
    }
    for word in whole.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            paths.insert(word.split("::").filter(|part| !part.is_empty()).map(String::from).collect());
        }
    }
    paths
}

fn open_tree(before: &[String], tree: &str, out: &mut BTreeSet<Vec<String>>) {
    let tree = tree.trim();
    let Some(brace) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        let parts = path.split("::").map(|part| part.trim().to_string()).filter(|part| !part.is_empty());
        out.insert(before.iter().cloned().chain(parts).collect());
        return;
    };
    let mut head = before.to_vec();
    head.extend(tree[..brace].split("::").map(|part| part.trim().to_string()).filter(|part| !part.is_empty()));
    let inside = tree[brace + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0usize, 0);
    let inside = if tree.matches('{').count() > tree.matches('}').count() {
        inside
    } else {
        &tree[brace + 1..tree.rfind('}').unwrap_or(tree.len())]
    };
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                open_tree(&head, &inside[start..at], out);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inside[start..].trim().is_empty() {
        open_tree(&head, &inside[start..], out);
    }
}

/// Arrows between the files of one crate, as places in `files`.
fn arrows(files: &[&Source]) -> BTreeSet<(usize, usize)> {
    let by_module: BTreeMap<&[String], usize> =
        files.iter().enumerate().map(|(place, file)| (file.module.as_slice(), place)).collect();
    let mut arrows = BTreeSet::new();
    for (from, file) in files.iter().enumerate() {
        for path in paths_of(file) {
            let mut absolute: Vec<String> = match path[0].as_str() {
                "crate" => Vec::new(),
                "super" | "self" => file.module.clone(),
                _ => continue,
            };
            for part in &path {
                match part.as_str() {
                    "crate" | "self" => {}
                    "super" => drop(absolute.pop()),
                    _ => absolute.push(part.clone()),
                }
            }
            // The longest part of the path that is a file; a folder's sign counts only where something in it is named.
            let target = (1..=absolute.len()).rev().find_map(|length| by_module.get(&absolute[..length]).copied());
            if let Some(to) = target.filter(|&to| to != from) {
                arrows.insert((from, to));
            }
        }
    }
    arrows
}

/// Files that can reach themselves, each with one that leads back to it.
fn circles(count: usize, arrows: &BTreeSet<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut reached: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
    for (start, reached) in reached.iter_mut().enumerate() {
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for &(_, to) in arrows.range((at, 0)..(at + 1, 0)) {
                if reached.insert(to) {
                    open.push(to);
                }
            }
        }
    }
    arrows.iter().filter(|&&(from, to)| reached[to].contains(&from)).copied().collect()
}

#[test]
fn no_file_uses_a_floor_above_its_own_and_none_stand_in_a_circle() {
    let sources = sources();
    let (mut wrong, mut all, mut up) = (String::new(), 0, 0);
    for &(krate, rooms) in FLOORS {
        let files: Vec<&Source> = sources.iter().filter(|source| source.krate == krate).collect();
        let arrows = arrows(&files);
        all += arrows.len();
        for &(from, to) in &arrows {
            if files[to].floor(rooms) > files[from].floor(rooms) {
                up += 1;
                let _ = writeln!(wrong, "{} uses {}, which is above it", files[from].name(), files[to].name());
            }
        }
        for (from, to) in circles(files.len(), &arrows) {
            let _ = writeln!(wrong, "{} uses {}, which leads back to it", files[from].name(), files[to].name());
        }
    }
    println!("{all} arrows between files, {up} up between rooms");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Lines of the longest source file, tests inside it left out.
const FILE_LINES_MAX: usize = 775;
/// Functions above [`FUNCTION_LINES`] lines.
const LONG_FUNCTIONS_MAX: usize = 5;
const FUNCTION_LINES: usize = 70;
/// Assertions in a thousand lines of product code, in tenths.
const ASSERTIONS_PER_10_000_MIN: usize = 72;
/// Columns of a line, but for one that is a string and cannot be broken.
const COLUMNS_MAX: usize = 120;

/// Crates that a node is made of; the others measure it.
const PRODUCT: &[&str] = &["engine", "net", "storage", "node"];

/// Where files are opened by name, or a directory of the computer is: everywhere else they are those of a disk that
/// somebody else has chosen, so that a test can cut its power.
const FILE_ROOMS: &[&str] = &[
    "storage/src/disk/",
    "storage/src/lib.rs",
    "node/src/cli/",
    "node/src/setup/",
    "node/src/devnet/",
    "node/src/wallet/",
    "node/src/face/admin.rs",
    "node/src/face/logs.rs",
    "perf/src/",
];

/// Where unsafe code may stand.
const UNSAFE_ROOMS: &[&str] = &[
    "engine/src/verify/",
    "engine/src/vote/",
    "engine/src/base/prefetch.rs",
    "engine/src/transaction/arena.rs",
    "storage/src/disk/",
    "node/src/cli/allocator.rs",
    "node/src/cli/passphrase.rs",
    "perf/src/sampler.rs",
];

/// The code of a file without what is checked when it is compiled: those assertions are of layouts.
fn without_const_blocks(source: &Source) -> impl Iterator<Item = &String> {
    let mut inside = false;
    source.code.iter().filter(move |line| {
        inside |= line.starts_with("const _");
        let skip = inside;
        inside &= !line.trim_end().ends_with(';') || line.starts_with(' ');
        !skip
    })
}

/// Functions with their lines, body included: where each begins and how long it is.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut functions = Vec::new();
    for (at, line) in source.code.iter().enumerate() {
        let trimmed = line.trim_start();
        let words: Vec<&str> = trimmed.split_whitespace().take(6).collect();
        let Some(place) = words.iter().position(|word| *word == "fn") else { continue };
        if !words[..place].iter().all(|word| word.starts_with("pub") || ["const", "unsafe", "async"].contains(word)) {
            continue;
        }
        let rest = &source.code[at..];
        let head = rest.iter().position(|line| line.contains('{') || line.trim_end().ends_with(';')).unwrap_or(0);
        if !rest[head].contains('{') || rest[head].trim_end().ends_with('}') {
            // A declaration without a body, or a body on its own line.
            continue;
        }
        let end = format!("{}}}", " ".repeat(line.len() - trimmed.len()));
        let length = rest.iter().position(|line| line.trim_end() == end || line.trim_end() == format!("{end},"));
        if let Some(length) = length {
            functions
                .push((words.get(place + 1).unwrap_or(&"").split('(').next().unwrap_or("").to_string(), length + 1));
        }
    }
    functions
}

#[test]
fn files_and_functions_stay_short() {
    let sources = sources();
    let longest = sources.iter().max_by_key(|source| source.code.len()).expect("there are sources");
    println!("{} lines in {}", longest.code.len(), longest.name());
    assert!(longest.code.len() <= FILE_LINES_MAX, "{} has {} lines", longest.name(), longest.code.len());
    let mut long = Vec::new();
    for source in &sources {
        let of_file = functions(source).into_iter().filter(|function| function.1 > FUNCTION_LINES);
        long.extend(of_file.map(|(name, lines)| format!("{} {name}: {lines} lines", source.name())));
    }
    println!("{} functions above {FUNCTION_LINES} lines:\n  {}", long.len(), long.join("\n  "));
    assert!(
        long.len() <= LONG_FUNCTIONS_MAX,
        "{} functions above {FUNCTION_LINES} lines:\n{}",
        long.len(),
        long.join("\n")
    );
}

#[test]
fn what_the_product_has_computed_is_asserted() {
    // The verbs ask and show what others compute.
    let is_verb = |source: &Source| source.name().starts_with("node/src/cli/");
    let product: Vec<Source> =
        sources().into_iter().filter(|source| PRODUCT.contains(&source.krate) && !is_verb(source)).collect();
    let assertions = |line: &str| {
        ["assert!(", "assert_eq!(", "assert_ne!("].iter().map(|name| line.matches(name).count()).sum::<usize>()
    };
    for krate in PRODUCT {
        let of_crate: Vec<&Source> = product.iter().filter(|source| source.krate == *krate).collect();
        let lines: usize = of_crate.iter().map(|source| source.code.len()).sum();
        let stated: usize =
            of_crate.iter().flat_map(|source| without_const_blocks(source)).map(|line| assertions(line)).sum();
        println!(
            "{krate}: {stated} assertions in {lines} lines, {:.1} in a thousand",
            stated as f64 * 1e3 / lines as f64
        );
    }
    let lines: usize = product.iter().map(|source| source.code.len()).sum();
    let stated: usize = product.iter().flat_map(without_const_blocks).map(|line| assertions(line)).sum();
    let rate = stated * 10_000 / lines;
    println!("product: {stated} assertions in {lines} lines, {}.{} in a thousand", rate / 10, rate % 10);
    assert!(rate >= ASSERTIONS_PER_10_000_MIN, "{stated} assertions in {lines} lines of product code");
}

#[test]
fn files_unsafe_code_and_benches_keep_to_their_rooms() {
    let mut wrong = String::new();
    for source in sources() {
        let name = source.name();
        let inside = |rooms: &[&str]| rooms.iter().any(|room| name.starts_with(room));
        for (at, line) in source.code.iter().enumerate() {
            let words: Vec<&str> = line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).collect();
            let by_path = words.windows(3).any(|words| matches!(words, ["File", "", "open" | "create" | "options"]))
                || words.contains(&"RealDisk")
                || words.contains(&"make_directory");
            let opens = line.contains("std::fs") || words.windows(2).any(|pair| pair == ["fs", ""]) || by_path;
            if opens && !line.contains("rustix::fs") && !inside(FILE_ROOMS) {
                let _ = writeln!(wrong, "{name}:{} opens files by name", at + 1);
            }
            if words.contains(&"unsafe") && !inside(UNSAFE_ROOMS) {
                let _ = writeln!(wrong, "{name}:{} has unsafe code", at + 1);
            }
            if words.contains(&"dynemix_bench") && source.krate == "node" && !name.starts_with("node/src/cli/") {
                let _ = writeln!(wrong, "{name}:{} stands on a bench", at + 1);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Where standard output and standard error are written: everywhere else that goes by `say!` and `note!`, which do not end
/// the process when whoever reads has gone or a disk is full.
const PRINTING_ROOMS: &[&str] =
    &["node/src/cli/output.rs", "node/src/main.rs", "node/src/face/logs.rs", "bench-harness/src/generator.rs"];

#[test]
fn nothing_is_printed_that_panics_where_it_cannot_be_written() {
    let mut wrong = String::new();
    for source in sources() {
        let name = source.name();
        let may_print = PRINTING_ROOMS.iter().any(|room| name.starts_with(room));
        for (at, line) in source.code.iter().enumerate() {
            let panics = ["println!(", "print!(", "dbg!("].iter().any(|print| line.contains(print));
            let by_hand =
                ["::stdout()", "::stderr()"].iter().any(|to| line.contains(to)) && !line.contains("is_terminal");
            if panics || (by_hand && !may_print) {
                let _ = writeln!(wrong, "{name}:{} prints by itself", at + 1);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn lines_and_docs_say_something_within_their_width() {
    let (mut wrong, mut filler) = (String::new(), Vec::new());
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let string = line.trim_start().starts_with('"') || line.contains("\"");
            if line.chars().count() > COLUMNS_MAX && !string && !line.trim_start().starts_with("//") {
                let _ = writeln!(wrong, "{}:{} is {} columns wide", source.name(), at + 1, line.chars().count());
            }
            let is_doc = |at: usize| lines.get(at).is_some_and(|line| line.trim_start().starts_with("///"));
            let alone = is_doc(at) && !is_doc(at + 1) && (at == 0 || !is_doc(at - 1));
            let words = line.trim_start().trim_start_matches('/').split_whitespace().count();
            if alone && words <= 2 {
                filler.push(format!("{}:{} {}", source.name(), at + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(filler.is_empty(), "{} docs say nothing:\n{}", filler.len(), filler.join("\n"));
}

/// Anchors of a page, as they are made from its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: char| (letter.is_alphanumeric() || letter == '-' || letter == '_').then_some(letter);
    headings.map(|heading| heading.to_lowercase().replace(' ', "-").chars().filter_map(kept).collect()).collect()
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let (mut pages, mut wrong) = (Vec::new(), String::new());
    files_below(&root(), ".md", &mut pages);
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let there = path.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor)));
            if !there {
                let _ = writeln!(wrong, "{}: {target}", page.display());
            }
        }
        // Files of the house that a page names.
        for word in text.split(|letter: char| letter.is_whitespace() || "`(),;".contains(letter)) {
            let of_house = FLOORS.iter().any(|(krate, _)| word.starts_with(&format!("{krate}/")));
            let plain = word.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
            if of_house && plain && word.ends_with(".rs") && !root().join(word).exists() {
                let _ = writeln!(wrong, "{}: {word}", page.display());
            }
        }
    }
    assert!(pages.len() > 8 && wrong.is_empty(), "{} pages\n{wrong}", pages.len());
}

#[test]
fn each_refusal_is_one_that_something_is_refused_with() {
    const TABLE: &str = "engine/src/base/refusal.rs";
    let sources = sources();
    let table = sources.iter().find(|source| source.name() == TABLE).expect("the table of refusals");
    // `Name = number, "name in reports",` as it stands there.
    let name_of = |line: &str| Some(line.trim().strip_suffix("\",")?.split_once(" = ")?.0.to_owned());
    let names: Vec<String> = table.text.lines().filter_map(name_of).collect();
    assert!(names.len() > 10 && names.contains(&"Busy".to_owned()), "the table is not read: {names:?}");
    let used = |name: &String| {
        let whole = format!("Refusal::{name}");
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        let in_line = |line: &String| line.match_indices(&whole).any(|(at, _)| ends(&line[at + whole.len()..]));
        sources.iter().filter(|source| source.name() != TABLE).any(|source| source.code.iter().any(in_line))
    };
    let unused: Vec<&String> = names.iter().filter(|name| !used(name)).collect();
    assert!(unused.is_empty(), "nothing is refused with these: {unused:?}");
}
