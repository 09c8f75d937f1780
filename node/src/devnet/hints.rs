//! Commands that somebody is told to type, as they stand there: with the name that this program was called by, and with
//! the directory where it is not the usual one.

use crate::setup::config::data_home;
use std::path::{Path, PathBuf};

/// Where a devnet is if nobody says where.
pub fn usual_directory() -> PathBuf {
    data_home().join("devnet")
}

/// What this program was called by, as a word of a shell.
pub fn program() -> String {
    let program = std::env::args_os().next().map_or("dynemix".into(), |name| name.to_string_lossy().into_owned());
    quoted(&program)
}

/// A verb of this program over a devnet's directory.
pub fn command(verb: &str, directory: &Path) -> String {
    let program = program();
    let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    if whole == usual_directory() {
        return format!("{program} {verb}");
    }
    format!("{program} {verb} --dir {}", quoted(&whole.to_string_lossy()))
}

/// One word of a shell.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:,@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_can_be_typed() {
        assert!(command("devnet down", &usual_directory()).ends_with(" devnet down"));
        assert!(command("devnet down", Path::new("/a b/it's")).ends_with(r" devnet down --dir '/a b/it'\''s'"));
        assert!(command("devnet down", Path::new("/a/b")).ends_with(" devnet down --dir /a/b"));
        assert!(command("devnet down", Path::new("b")).contains(" --dir /"), "from wherever it is typed");
    }
}
