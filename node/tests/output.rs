//! What every verb prints: into nothing, onto a full disk, at a terminal of eighty columns, as JSON.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DYNEMIX: &str = env!("CARGO_BIN_EXE_dynemix");
/// The key of some account.
const KEY: &str = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29";

/// A command with the paths and the environment of a directory.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(DYNEMIX);
    in_directory(&mut command, directory).args(arguments);
    command
}

fn in_directory<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HOME", "DYNEMIX_DIR"] {
        command.env(variable, directory.join("home"));
    }
    command.env("COLUMNS", "80").env("DYNEMIX_PASSPHRASE", "a long passphrase").current_dir(directory)
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).stdin(Stdio::null()).output().unwrap()
}

/// All verbs, as help lists them, each with those before it.
fn verbs(directory: &Path, of: &[String], out: &mut Vec<Vec<String>>) {
    let arguments: Vec<&str> = of.iter().map(String::as_str).chain(["-h"]).collect();
    let help = String::from_utf8(run(directory, &arguments).stdout).unwrap();
    let mut inside = false;
    for line in help.lines() {
        inside = line == "Commands:" || (inside && !line.is_empty());
        let is_verb = line.starts_with("  ") && !line.starts_with("   ");
        let Some(name) = line.split_whitespace().next().filter(|&name| inside && is_verb && name != "help") else {
            continue;
        };
        let verb: Vec<String> = of.iter().cloned().chain([name.to_owned()]).collect();
        out.push(verb.clone());
        verbs(directory, &verb, out);
    }
}

/// A directory with what verbs look at: a store, a snapshot, keys, a genesis.
fn prepared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let all: &[&[&str]] = &[
        &[
            "bench",
            "engine",
            "--accounts",
            "100",
            "--transactions",
            "200",
            "--connections",
            "2",
            "--slot-ms",
            "200",
            "--keep-transactions",
            "--store",
            "node",
        ],
        &["snapshot", "create", "--store", "node", "--out", "snapshots/one"],
        &["config", "init", "--out", "node.toml"],
    ];
    for arguments in all {
        let output = run(here, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let entry = run(here, &["keys", "new", "--out", "minting.json", "--name", "ada", "--account", KEY]);
    assert!(entry.status.success(), "{}", String::from_utf8_lossy(&entry.stderr));
    std::fs::write(here.join("ada.toml"), entry.stdout).unwrap();
    let genesis = run(here, &["genesis", "new", "--minter", "ada.toml", "--out", "genesis.toml"]);
    assert!(genesis.status.success(), "{}", String::from_utf8_lossy(&genesis.stderr));
    directory
}

/// Arguments with which a verb says something quickly; what it makes is named by `#`, which differs each time.
fn cases() -> BTreeMap<&'static str, String> {
    let cases = [
        ("devnet up", "--nodes 0"),
        ("devnet down", "--dir nothing"),
        ("devnet reset", "--dir nothing"),
        ("devnet status", "--dir nothing"),
        ("devnet logs", "--dir nothing"),
        ("devnet dump", "dumped#.tar.gz --dir nothing"),
        ("devnet load", "nothing.tar.gz --dir loaded#"),
        ("devnet faucet", "ada 5 --dir nothing"),
        ("node run", "--config nothing.toml"),
        ("node status", "--data nothing"),
        ("node stop", "--data nothing"),
        ("node log", "--data nothing"),
        ("node ask", "account key=KEY --node http://127.0.0.1:1/"),
        ("node snapshot", "--out nothing/s# --data nothing"),
        ("wallet new", "w#"),
        ("wallet import", "i#"),
        ("wallet list", ""),
        ("wallet balance", "KEY --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet send", "5 --to KEY --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet status", "KEY --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet history", "KEY --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet register", "ada --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet stake", "5 --minting minting.json --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet unstake", "5 --node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet sent", "--node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("wallet pending", "--node http://127.0.0.1:1/ --genesis genesis.toml"),
        ("keys new", "--out key#.json --name ada --account KEY"),
        ("keys show", "minting.json"),
        ("genesis new", "--minter ada.toml --out genesis#.toml"),
        ("genesis check", "genesis.toml"),
        ("config init", "--out config#.toml"),
        ("config check", "--config node.toml"),
        ("config show", "--effective --config node.toml"),
        ("doctor", ""),
        ("completions", "bash"),
        ("man", "--out man#"),
        ("bench saturate", "--nodes 0"),
        ("bench engine", "--accounts 100 --transactions 200 --connections 2 --slot-ms 200"),
        ("bench verify", "--sizes 1 --rounds 1"),
        ("bench apply", "--accounts 1000 --entries 10 --rounds 1"),
        ("bench state", "--rounds 0"),
        ("state inspect", "--store node"),
        ("state get", "KEY --store node"),
        ("state verify", "--store node"),
        ("block show", "latest --store node"),
        ("block find", "--transaction 01234567 --store node"),
        ("snapshot create", "--store node --out snapshots/s#"),
        ("snapshot list", "snapshots"),
        ("snapshot verify", "snapshots/one"),
        ("snapshot restore", "snapshots/one --store restored#"),
        ("simulate", "--seeds 1 --slots 2 --nodes 4"),
        ("simulate attack", "--draws 10 --heights 1"),
        ("simulate grind", "--tries 1 --heights 1"),
        ("simulate whole", "--seeds 1 --slots 8 --scene calm --load 40"),
        ("simulate takeover", "--stake 0.1 --draws 10"),
        ("profile engine", "--accounts 100 --transactions 2000 --connections 2 --slot-ms 200 --out profile#"),
        ("profile verify", "--sizes 64 --rounds 1 --out profile#"),
        ("profile apply", "--accounts 200000 --entries 2000 --rounds 100 --out profile#"),
    ];
    cases.into_iter().map(|(verb, case)| (verb, case.replace("KEY", KEY))).collect()
}

/// Verbs that only name others.
fn is_family(verb: &str, all: &[Vec<String>]) -> bool {
    verb != "simulate" && all.iter().any(|other| other.join(" ").starts_with(&format!("{verb} ")))
}

/// What stands in an output's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Kept,
    Shut,
    Full,
    Gone,
}

fn run_into(directory: &Path, arguments: &[String], out: Place, err: Place) -> Output {
    let redirect = |descriptor: u8, place| match place {
        Place::Shut => format!(" {descriptor}>&-"),
        Place::Full => format!(" {descriptor}>/dev/full"),
        Place::Kept | Place::Gone => String::new(),
    };
    let script = format!("exec \"$@\"{}{}", redirect(1, out), redirect(2, err));
    let mut command = Command::new("sh");
    in_directory(&mut command, directory).args(["-c", &script, "sh", DYNEMIX]).args(arguments).stdin(Stdio::null());
    let gone = || std::io::pipe().unwrap().1;
    command.stdout(if out == Place::Gone { Stdio::from(gone()) } else { Stdio::piped() });
    command.stderr(if err == Place::Gone { Stdio::from(gone()) } else { Stdio::piped() });
    let child = command.spawn().unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn no_verb_panics_whatever_becomes_of_what_it_prints() {
    let directory = prepared();
    let (mut all, cases, mut number) = (Vec::new(), cases(), 0);
    verbs(directory.path(), &[], &mut all);
    assert!(all.len() > 40, "{all:?}");
    let mut wrong = Vec::new();
    for verb in &all {
        let verb = verb.join(" ");
        if is_family(&verb, &all) {
            continue;
        }
        let case = cases.get(verb.as_str()).unwrap_or_else(|| panic!("no case for the new verb '{verb}'"));
        let mut of = |out, err| {
            number += 1;
            let line = format!("{verb} {}", case.replace('#', &number.to_string()));
            let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
            run_into(directory.path(), &arguments, out, err)
        };
        let plain = of(Place::Kept, Place::Kept);
        let code = plain.status.code();
        for (out, err) in [
            (Place::Full, Place::Kept),
            (Place::Gone, Place::Kept),
            (Place::Kept, Place::Full),
            (Place::Full, Place::Full),
            (Place::Gone, Place::Gone),
            (Place::Shut, Place::Shut),
        ] {
            let output = of(out, err);
            let said = String::from_utf8_lossy(&output.stderr);
            // What a verb has printed counts: on a full disk it has not done what it was asked for.
            let expected = if out == Place::Full && !plain.stdout.is_empty() { Some(4) } else { code };
            if output.status.code() != expected || said.contains("panicked") {
                wrong.push(format!("{verb}: {out:?}, {err:?}: {:?}, not {expected:?}: {said}", output.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn help_and_the_version_end_as_quietly() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [["--help"], ["--version"], ["help"], ["--no-such-flag"]] {
        let arguments = arguments.map(String::from);
        let code = |out, err| run_into(directory.path(), &arguments, out, err).status.code();
        let plain = code(Place::Kept, Place::Kept);
        let full = if plain == Some(0) { Some(4) } else { plain };
        assert_eq!(code(Place::Full, Place::Kept), full, "{arguments:?}");
        for place in [Place::Shut, Place::Gone] {
            assert_eq!(code(place, place), plain, "{arguments:?}");
        }
        assert_eq!(code(Place::Kept, Place::Full), plain, "{arguments:?}");
    }
}

#[test]
fn a_reader_that_is_slow_and_does_not_wait_hears_everything() {
    let directory = tempfile::tempdir().unwrap();
    let expected = run(directory.path(), &["completions", "bash"]).stdout;
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let mut child = command(directory.path(), &["completions", "bash"]).stdout(writer).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let heard = std::io::read_to_string(reader).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(expected.len() > 65_536, "more than a pipe holds");
    assert_eq!(heard.as_bytes(), expected);
}

/// Lines of more than eighty columns.
fn too_wide(what: &str, text: &[u8], out: &mut Vec<String>) {
    let text = String::from_utf8_lossy(text);
    let wide = text.lines().filter(|line| line.chars().count() > 80);
    out.extend(wide.map(|line| format!("{what}: {} columns: {line}", line.chars().count())));
}

#[test]
fn help_and_reports_fit_eighty_columns() {
    let directory = prepared();
    let (mut all, cases, mut wrong) = (vec![Vec::new()], cases(), Vec::new());
    verbs(directory.path(), &[], &mut all);
    for verb in &all {
        for flag in ["-h", "--help"] {
            let arguments: Vec<&str> = verb.iter().map(String::as_str).chain([flag]).collect();
            let help = run(directory.path(), &arguments).stdout;
            too_wide(&arguments.join(" "), &help, &mut wrong);
            // Prose breaks at the width and nowhere else: no line is so short that the next word had found room.
            let text = String::from_utf8(help.clone()).unwrap();
            let is_prose = |line: &str| line.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '`');
            for two in text.lines().collect::<Vec<_>>().windows(2) {
                let word = two[1].split(' ').next().unwrap_or("");
                let had_room = two[0].chars().count() + 1 + word.chars().count() <= 80;
                if is_prose(two[0]) && is_prose(two[1]) && had_room && !two[0].ends_with(':') {
                    wrong.push(format!("{arguments:?} breaks twice: {} / {}", two[0], two[1]));
                }
            }
            // An example can be copied: each of its lines is one that begins a command, or goes on with one.
            let help = String::from_utf8(help).unwrap();
            let mut goes_on = false;
            for line in help.lines().skip_while(|line| *line != "Examples:").skip(1).take_while(|line| !line.is_empty())
            {
                let begins = ["  dynemix ", "  cargo ", "  DYNEMIX_"].iter().any(|begin| line.starts_with(begin));
                if !begins && !goes_on {
                    wrong.push(format!("{arguments:?}: {line}"));
                }
                goes_on = line.ends_with('\\');
            }
        }
        let verb = verb.join(" ");
        // What these print is for programs.
        if let Some(case) = cases.get(verb.as_str()).filter(|_| !["completions", "keys new"].contains(&verb.as_str())) {
            let line = format!("{verb} {}", case.replace('#', "80"));
            let output = run(directory.path(), &line.split_whitespace().collect::<Vec<_>>());
            too_wide(&line, &output.stdout, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn json_alone_is_standard_output_and_a_failure_is_json_too() {
    let directory = prepared();
    let here = directory.path();
    let object = |bytes: &[u8]| -> Value {
        serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
    };
    for json in [&["--json"][..], &["--json", "-"], &["--json=-"]] {
        let output = run(here, &[&["state", "inspect", "--store", "node"], json].concat());
        assert_eq!(object(&output.stdout)["accounts"], 103, "{json:?}");
    }
    // Before other flags it takes none of them.
    let output = run(here, &["state", "inspect", "--json", "--store", "node"]);
    assert_eq!(object(&output.stdout)["accounts"], 103);
    for (arguments, code, words) in [
        (&["state", "inspect", "--store", "nothing", "--json"][..], 1, "holds no store"),
        (&["node", "status", "--data", "nothing", "--json"], 6, ""),
        (&["bench", "verify", "--rounds", "0", "--json"], 2, "--rounds must be at least 1, not 0"),
        (&["bench", "verify", "--colour", "--json"], 2, "--colour"),
        (&["bench", "verify", "--json", "64"], 2, "would be a file"),
    ] {
        let output = run(here, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{arguments:?}: {said}");
        if !words.contains("file") {
            let error = &object(&output.stdout)["error"];
            assert_eq!(error["code"], code, "{arguments:?}");
            assert!(error["message"].as_str().unwrap().contains(words), "{arguments:?}: {error}");
        }
    }
    // Into a file: the table stays, and a failure is written there.
    let path = here.join("report.json");
    let output = run(here, &["state", "inspect", "--store", "node", "--json", "report.json"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("state root"));
    assert_eq!(object(&std::fs::read(&path).unwrap())["accounts"], 103);
    run(here, &["state", "inspect", "--store", "nothing", "--json", "report.json"]);
    assert_eq!(object(&std::fs::read(&path).unwrap())["error"]["code"], 1);
    let output = run(here, &["state", "inspect", "--store", "node", "--json", "/dev/full"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_output_that_cannot_be_opened_is_said_before_the_work_begins() {
    let directory = tempfile::tempdir().unwrap();
    let long = ["bench", "engine", "--seconds", "3000", "--json", "no/such/directory/x.json"];
    let begun = std::time::Instant::now();
    let output = run(directory.path(), &long);
    assert!(begun.elapsed().as_secs() < 5);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("open no/such/directory/x.json"), "{said}");
    let output = run(directory.path(), &["simulate", "attack", "--draws", "1000000000", "--svg", "no/such/x.svg"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--svg: open no/such/x.svg"));
}

#[test]
fn man_pages_keep_examples_as_they_stand() {
    let directory = tempfile::tempdir().unwrap();
    assert!(run(directory.path(), &["man", "--out", "man"]).status.success());
    let page = |name: &str| std::fs::read_to_string(directory.path().join("man").join(name)).unwrap();
    let top = page("dynemix.1");
    let (_, examples) = top.split_once(".SH EXAMPLES\n.nf\n").unwrap();
    assert!(examples.contains("\ndynemix wallet send 5"), "{examples}");
    assert!(examples.contains(".fi"));
    assert!(!top.contains(".SH EXTRA") && top.contains(".SH NOTES\n"));
    let pages: Vec<PathBuf> =
        std::fs::read_dir(directory.path().join("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 50 && pages.iter().any(|page| page.ends_with("dynemix-block-find.1")));
}

#[test]
fn a_doctor_without_any_configuration_looks_at_everything_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    for what in ["processor", "genesis", "data", "disk", "writing"] {
        assert!(findings.iter().any(|finding| finding["what"] == what), "{what}: {report}");
    }
    let writing = findings.iter().find(|finding| finding["what"] == "writing").unwrap();
    assert!(writing["found"].as_str().unwrap().contains("ms for 8 MiB"), "{writing}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "and leaves nothing behind");
}

#[test]
fn an_account_of_a_genesis_is_an_address_or_a_key_with_whole_dynes() {
    let directory = prepared();
    let here = directory.path();
    let new = |account: &str, out: &str| {
        let output = run(here, &["genesis", "new", "--minter", "ada.toml", "--account", account, "--out", out]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    const OTHER: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let key: [u8; 32] = hex::decode(OTHER).unwrap().try_into().unwrap();
    let address = dynemix::setup::address::address("dyn", &key);
    assert_eq!(new(&format!("{address}=7"), "by-address.toml").0, Some(0));
    let text = std::fs::read_to_string(here.join("by-address.toml")).unwrap();
    assert!(text.contains(OTHER) && text.contains("7000000"), "{text}");
    for wrong in ["+5", "-5", "5.5", "", "99999999999999999999"] {
        let (code, said) = new(&format!("{KEY}={wrong}"), "wrong.toml");
        assert!(code == Some(2) && said.contains("no whole number of dynes"), "{wrong}: {code:?} {said}");
    }
    let (code, said) = new("ada=5", "wrong.toml");
    assert!(code == Some(2) && said.contains("'ada' is no key"), "{code:?} {said}");
}

#[test]
fn a_variable_that_is_wrong_is_json_too_and_a_proxy_that_is_not_spoken_is_not_passed_by() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |name: &str, value: &str, node: &str| {
        let mut command = command(directory.path(), &["node", "ask", "status", "--json", "--node", node]);
        let output = command.env(name, value).stdin(Stdio::null()).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code(), told["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let (code, said) = ask("DYNEMIX_LOG", "foo=bar=x", "http://127.0.0.1:1/");
    assert!(code == Some(2) && said.contains("DYNEMIX_LOG"), "{code:?} {said}");
    for proxy in ["socks5://127.0.0.1:1", "SOCKS4A://h:1", "https://h:1", "::::"] {
        let (code, said) = ask("ALL_PROXY", proxy, "http://192.0.2.1:1/");
        assert!(code == Some(6) && said.contains("ALL_PROXY names the proxy"), "{proxy}: {code:?} {said}");
        // This computer is asked past any.
        let (code, said) = ask("ALL_PROXY", proxy, "http://127.0.0.1:1/");
        assert!(code == Some(6) && !said.contains("proxy"), "{proxy}: {code:?} {said}");
    }
}

#[test]
fn a_wallet_that_cannot_be_read_is_listed_as_that() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert!(run(here, &["wallet", "new", "good"]).status.success());
    let folder = here.join("home/dynemix/wallets");
    std::fs::write(folder.join("bad.json"), "{").unwrap();
    std::fs::create_dir(folder.join("odd.json")).unwrap();
    let output = run(here, &["wallet", "list"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && shown.contains("good"), "{shown}");
    for name in ["bad", "odd"] {
        assert!(shown.lines().any(|line| line.contains(name) && line.contains("cannot be read")), "{shown}");
    }
    let missing = run(here, &["wallet", "balance", "--from", "x", "--genesis", "g"]);
    assert!(!String::from_utf8_lossy(&missing.stderr).contains("panicked"));
}
