//! What settings there are, in the words that stand beside them in the code: for a configuration to begin with, and for
//! the page of settings.

use super::config::Config;
use std::fmt::Write;
use toml::{Table, Value};

/// The code that describes them.
const CODE: &str = include_str!("config.rs");

/// One setting of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its section; empty: before all sections.
    pub section: String,
    /// Its name there.
    pub name: String,
    /// What it is for.
    pub text: String,
    /// What it is if nothing is said, as TOML.
    pub default: String,
}

/// Fields of a structure of the code: name, type, and what is said of each.
fn fields(structure: &str) -> Vec<(String, String, String)> {
    let begin = format!("pub struct {structure} {{");
    let lines = CODE.lines().skip_while(|line| *line != begin).skip(1).take_while(|line| *line != "}");
    let (mut fields, mut text) = (Vec::new(), String::new());
    for line in lines.map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            text = format!("{text} {}", words.trim()).trim().to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            fields.push((name.to_owned(), kind.trim_end_matches(',').to_owned(), std::mem::take(&mut text)));
        }
    }
    fields
}

fn settings_of(section: &str, structure: &str, defaults: &Table) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, kind, text) in fields(structure) {
        match &defaults[&name] {
            Value::Table(inside) => settings.extend(settings_of(&name, &kind, inside)),
            value => {
                settings.push(Setting { section: section.to_owned(), name, text, default: value.to_string() });
            }
        }
    }
    settings
}

/// All settings, in the order of the code, those without a section first.
pub fn settings() -> Vec<Setting> {
    let defaults = Table::try_from(Config::default()).expect("plain fields");
    settings_of("", "Config", &defaults)
}

/// What a section is for.
fn section_text(section: &str) -> String {
    fields("Config").into_iter().find(|field| field.0 == section).map_or_else(String::new, |field| field.2)
}

/// Breaks words into lines of a comment.
fn comment(out: &mut String, text: &str) {
    const COLUMNS: usize = 100;
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line = format!("{line} {word}");
    }
    let _ = writeln!(out, "{line}");
}

/// A configuration to begin with: every setting with what it is for, each at its default and commented out, so that
/// another default of a later version takes effect.
pub fn commented_file() -> String {
    let mut out = String::new();
    comment(
        &mut out,
        "Settings of a node. Each line that begins with '#' and a name shows a default, which a later version may change; \
         take the '#' away to set it. `dynemix config show --effective` shows what counts.",
    );
    let mut section = String::new();
    for setting in settings() {
        out.push('\n');
        if section != setting.section {
            section.clone_from(&setting.section);
            comment(&mut out, &section_text(&section));
            let _ = writeln!(out, "[{section}]");
        }
        comment(&mut out, &setting.text);
        let _ = writeln!(out, "#{} = {}", setting.name, setting.default);
    }
    out
}

/// The page of settings.
pub fn page() -> String {
    let mut out = String::from(
        "# Settings\n\nAll settings of a node, from the program's own tables (`DYNEMIX_BLESS=1` writes this page anew). \
         The command line (`--set network.listen=...`)\ncounts more than the environment (`DYNEMIX_NETWORK_LISTEN`), \
         that more than the file, and that more than the default. `dynemix config init` writes a\nfile with these \
         words in it, `config check` checks one, `config show --effective` shows what counts and where it comes from.\n",
    );
    let mut section = None;
    for setting in settings() {
        if section.as_ref() != Some(&setting.section) {
            let name = &setting.section;
            let (title, text) = match name.is_empty() {
                true => ("Before all sections".to_owned(), String::new()),
                false => (format!("`[{name}]`"), format!("{}\n\n", section_text(name))),
            };
            let _ = write!(out, "\n## {title}\n\n{text}| setting | default | what it is for |\n|---|---|---|\n");
            section = Some(setting.section.clone());
        }
        let _ = writeln!(out, "| `{}` | `{}` | {} |", setting.name, setting.default, setting.text.replace('|', "\\|"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_setting_is_described_and_the_file_to_begin_with_says_nothing_but_defaults() {
        let described: BTreeSet<String> = settings()
            .into_iter()
            .map(|setting| {
                assert!(setting.text.len() > 5, "{setting:?}");
                format!("{}.{}", setting.section, setting.name)
            })
            .collect();
        let mut there = BTreeSet::new();
        for (name, value) in Table::try_from(Config::default()).unwrap() {
            match value {
                Value::Table(table) => there.extend(table.keys().map(|key| format!("{name}.{key}"))),
                _ => drop(there.insert(format!(".{name}"))),
            }
        }
        assert_eq!(described, there);
        let text = commented_file();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with(['#', '['])), "{text}");
        // Every one of them may be taken in as it stands.
        let set = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
        let all: Vec<String> = text.lines().map(set).collect();
        assert_eq!(toml::from_str::<Config>(&all.join("\n")).unwrap(), Config::default());
    }

    #[test]
    fn the_page_of_settings_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
        if std::env::var_os("DYNEMIX_BLESS").is_some() {
            fs::write(&path, page()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page(), "write it anew with DYNEMIX_BLESS=1");
    }
}
