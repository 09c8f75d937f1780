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
            "pipeline",
        ],
    ),
    ("net", &["server", "mesh"]),
    ("storage", &["disk", "file", "store", "scrub"]),
    ("simulator", &["seed", "chain", "nodes", "checkers", "runs", "odds"]),
    ("perf", &[]),
    ("node/workload", &[]),
    ("bench-harness", &["rivals"]),
    ("node", &["keep", "pipeline", "setup", "peer", "minting", "face", "wallet", "devnet", "cli"]),
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
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") || line.trim_start().starts_with("#[cfg(all(test") {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            for inside in lines.by_ref() {
                if inside.trim_end() == end || (inside.trim_end().ends_with(';') && !inside.contains('{')) {
                    break;
                }
            }
            continue;
        }
        code.push(blanked(line));
    }
    code
}

/// A line without its comment and without what stands in its strings.
fn blanked(line: &str) -> String {
    let (mut out, mut inside, mut before) = (String::new(), false, ' ');
    let mut rest = line.chars().peekable();
    while let Some(here) = rest.next() {
        match here {
            '"' if before != '\\' && !(before == '\'' && rest.peek() == Some(&'\'')) => {
                inside = !inside;
                out.push('"');
            }
            '/' if !inside && rest.peek() == Some(&'/') => break,
            _ if inside => {}
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
    for start in 0..count {
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for &(_, to) in arrows.range((at, 0)..(at + 1, 0)) {
                if reached[start].insert(to) {
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
