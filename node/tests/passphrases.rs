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
    // Where nobody can be asked a script's variable is both, and nothing is made of none.
    refused(&import("one", &[], "", None), "no passphrase for the account itself");
    let of_script = key(&import("one", &[], "", Some(PASSWORD)));
    std::fs::remove_file(home.path().join("dynemix/wallets/one.json")).unwrap();
    let lines = format!("{PASSWORD}\nof the file\n");
    let plain = key(&import("one", &["--passphrase-fd", "0"], &lines, None));
    assert_eq!(plain, of_script);
    std::fs::remove_file(home.path().join("dynemix/wallets/one.json")).unwrap();
    assert_eq!(key(&import("two", &["--passphrase-fd", "0"], &lines, None)), plain, "the password alone leads to it");
    // With a salt of one's own nobody tries it together with everyone else's.
    let own = key(&import("three", &["--passphrase-fd", "0", "--salt", "ada@example.org"], &lines, None));
    assert_ne!(own, plain);
}

#[test]
fn one_password_is_one_account_in_whichever_form_it_was_typed() {
    let home = tempfile::tempdir().unwrap();
    let import = |name: &str, password: &str| {
        let lines = format!("{password}\nof the file\n");
        wallet(home.path(), &["import", name, "--password", "--passphrase-fd", "0"], &lines, None)
    };
    let composed = key(&import("composed", "caf\u{e9} cr\u{e8}me br\u{fb}l\u{e9}e"));
    // The same letters as another keyboard sends them: one key, and two files of one key are no two wallets.
    refused(
        &import("apart", "cafe\u{301} cre\u{300}me bru\u{302}le\u{301}e"),
        "wallet 'composed' has this key already",
    );
    refused(&import("blank", "a password of some length "), "ends with a space");
    assert_eq!(composed.len(), 64);
    // A script has one for all: its variable is the password too.
    let script =
        wallet(home.path(), &["import", "script", "--password"], "", Some("cafe\u{301} cr\u{e8}me br\u{fb}l\u{e9}e"));
    refused(&script, "wallet 'composed' has this key already");
    // A file opens with either form.
    let file = home.path().join("dynemix/wallets");
    std::fs::remove_file(file.join("composed.json")).unwrap();
    key(&wallet(home.path(), &["new", "n", "--passphrase-fd", "0"], "na\u{ef}ve\n", None));
}

#[test]
fn a_passphrase_that_cannot_be_read_whole_is_refused_and_not_cut() {
    use std::os::unix::ffi::OsStrExt;
    let home = tempfile::tempdir().unwrap();
    let long = "x".repeat(5_000);
    refused(&wallet(home.path(), &["new", "--passphrase-fd", "0"], &long, None), "more than 4096 bytes");
    refused(&wallet(home.path(), &["new"], "", Some(&long)), "more than 4096 bytes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynemix"));
    command.args(["wallet", "new"]).env("XDG_DATA_HOME", home.path());
    command.env("DYNEMIX_PASSPHRASE", std::ffi::OsStr::from_bytes(b"p\xe9")).stdin(Stdio::null());
    refused(&command.output().unwrap(), "DYNEMIX_PASSPHRASE: its value is not UTF-8");
    assert!(!home.path().join("dynemix/wallets/default.json").exists());
}

#[test]
fn a_wallets_name_leads_to_its_folder_and_nowhere_else() {
    let home = tempfile::tempdir().unwrap();
    for name in ["../../outside", "/tmp/absolute", "", ".", "..", "a\nb", "a\u{1b}[2J", "a/b", "\u{e9}"] {
        for verb in [&["new"][..], &["import"], &["import", "--password"]] {
            refused(&wallet(home.path(), &[verb, &["--", name]].concat(), "", Some("x")), "is no name of a wallet");
        }
        refused(&wallet(home.path(), &["balance", "--devnet", "--from", name], "", Some("x")), "");
    }
    assert!(!home.path().join("outside.json").exists() && !home.path().join("dynemix/wallets").exists());
}

#[test]
fn words_are_read_as_they_were_printed_and_lost_words_make_no_wallet() {
    let home = tempfile::tempdir().unwrap();
    let made = wallet(home.path(), &["new", "one"], "", Some("x"));
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    let printed: String =
        text.lines().filter(|line| line.starts_with("  ") && !line.contains("dyn1")).collect::<Vec<_>>().join("\n");
    std::fs::remove_file(home.path().join("dynemix/wallets/one.json")).unwrap();
    let again = wallet(home.path(), &["import", "again"], &printed.to_uppercase(), Some("x"));
    assert_eq!(key(&again), key(&made), "{printed}");
    // Words and passphrase one behind the other.
    std::fs::remove_file(home.path().join("dynemix/wallets/again.json")).unwrap();
    let lines = format!("{printed}\nof the file\n");
    assert_eq!(key(&wallet(home.path(), &["import", "third", "--passphrase-fd", "0"], &lines, None)), key(&made));
    let swapped = printed.replacen("   1  ", "   1  zoo ", 1);
    refused(&wallet(home.path(), &["import", "wrong"], &swapped, Some("x")), "not 24 words of a wallet");
    // Nobody has seen the words: the key is worth nothing.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynemix"));
    command.args(["wallet", "new", "unseen"]).env("XDG_DATA_HOME", home.path()).env("DYNEMIX_PASSPHRASE", "x");
    let ended = command.stdin(Stdio::null()).stdout(full).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(4) && text.contains("write standard output"), "{text}");
    assert!(!home.path().join("dynemix/wallets/unseen.json").exists());
}

/// Runs a verb on a terminal of its own, where somebody types these lines; what the terminal shows.
fn on_a_terminal(home: &Path, line: &str, typed: &[&str]) -> String {
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]).env("XDG_DATA_HOME", home).env_remove("DYNEMIX_PASSPHRASE");
    command.env("DX", env!("CARGO_BIN_EXE_dynemix"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in typed {
        // A person is slower than a prompt; what is typed before it would be thrown away.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(stdin);
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn at_a_terminal_a_passphrase_is_asked_twice_words_are_asked_back_and_nothing_typed_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let wallets = home.path().join("dynemix/wallets");
    let shown = on_a_terminal(home.path(), "$DX wallet new one", &["first try", "second try"]);
    assert!(shown.contains("the two are not the same") && !shown.contains("first try"), "{shown}");
    let shown = on_a_terminal(home.path(), "$DX wallet new one", &["", ""]);
    assert!(shown.contains("protects nothing"), "{shown}");
    let shown = on_a_terminal(home.path(), "$DX wallet new one", &["pass words", "pass words", "nonsense"]);
    assert!(shown.contains("that is another word"), "{shown}");
    assert!(!wallets.join("one.json").exists(), "a wallet counts whose words nobody has");
    // Words come from a file, the passphrase from the terminal.
    let made = wallet(home.path(), &["new", "two"], "", Some("x"));
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    let words: Vec<&str> = text.lines().filter(|line| line.starts_with("  ") && !line.contains("dyn1")).collect();
    std::fs::write(home.path().join("words.txt"), words.join("\n")).unwrap();
    std::fs::remove_file(wallets.join("two.json")).unwrap();
    let line = "$DX wallet import savings < $XDG_DATA_HOME/words.txt";
    let shown = on_a_terminal(home.path(), line, &["pass words", "pass words"]);
    assert!(shown.contains(&key(&made)) && wallets.join("savings.json").exists(), "{shown}");
}
