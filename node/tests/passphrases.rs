//! Passphrases of key files: none that is empty by accident, none that means two things, none that is kept.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PASSWORD: &str = "a password of some length";

/// Runs a verb of the wallet with these lines on its standard input, and perhaps a passphrase in its environment.
fn wallet(home: &Path, arguments: &[&str], lines: &str, environment: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynemix"));
    command.arg("wallet").args(arguments).env("XDG_DATA_HOME", home).env_remove("DYNEMIX_PASSPHRASE");
    environment.iter().for_each(|text| {
        command.env("DYNEMIX_PASSPHRASE", text);
    });
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What does not ask leaves it.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait_with_output().unwrap()
}

fn refused(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains(words), "{:?}: {text}", output.status);
}

fn key(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().find(|word| word.len() == 64).unwrap().to_owned()
}

#[test]
fn an_empty_passphrase_is_a_decision_and_no_accident() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("dynemix/wallets/default.json");
    refused(&wallet(home.path(), &["new", "--passphrase-fd", "0"], "\n", None), "--no-passphrase");
    refused(&wallet(home.path(), &["new"], "", Some("")), "--no-passphrase");
    assert!(!file.exists(), "a key is kept that nobody has protected");
    key(&wallet(home.path(), &["new", "--no-passphrase"], "", None));
    key(&wallet(home.path(), &["new", "second", "--passphrase-fd", "0"], "some words\n", None));
    // Two files under one passphrase have nothing in common: each has a salt of its own.
    key(&wallet(home.path(), &["new", "third", "--passphrase-fd", "0"], "some words\n", None));
    let salt = |name: &str| {
        let text = std::fs::read_to_string(file.with_file_name(name)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["head"]["salt"].as_str().unwrap().to_owned()
    };
    assert_ne!(salt("second.json"), salt("third.json"));
}

#[test]
fn a_password_that_is_the_key_is_not_the_passphrase_of_the_file() {
    let home = tempfile::tempdir().unwrap();
    let import = |name: &str, more: &[&str], lines: &str, environment: Option<&str>| {
        wallet(home.path(), &[&["import", name, "--password"], more].concat(), lines, environment)
    };
    // The environment has the file's passphrase; the password is asked for, and there is nobody to ask.
    refused(&import("one", &[], "", Some(PASSWORD)), "no passphrase for the account itself");
    let lines = format!("{PASSWORD}\nof the file\n");
    let plain = key(&import("one", &["--passphrase-fd", "0"], &lines, None));
    assert_eq!(key(&import("two", &["--passphrase-fd", "0"], &lines, None)), plain, "the password alone leads to it");
    // With a salt of one's own nobody tries it together with everyone else's.
    let own = key(&import("three", &["--passphrase-fd", "0", "--salt", "ada@example.org"], &lines, None));
    assert_ne!(own, plain);
}
