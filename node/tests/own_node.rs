//! A node of one's own as its operator meets it: what it says of files that it may not read, of names that nobody knows, of
//! a clock that jumps, of its log; and that none of it leads to signing twice.

use dynemix::devnet::ports::Ports;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const ACCOUNT: &str = "5ca1e35e4cb4827829a4429792fa032f555a7a08043454e6597529223174d432";
/// Nobody, as most systems have it.
const NOBODY: u32 = 65_534;

/// A directory with one minter's keys, a chain of it alone, and a configuration.
struct Own {
    directory: tempfile::TempDir,
    node: Option<Child>,
    ports: Ports,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            // It may have ended.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Own {
    fn new(slot_ms: u64, starts_in_s: u64) -> Own {
        Own::founded(slot_ms, starts_in_s, &[])
    }

    /// The same, of a minter that was reached there when the chain was founded.
    fn founded(slot_ms: u64, starts_in_s: u64, address: &[&str]) -> Own {
        let own = Own { directory: tempfile::tempdir().unwrap(), node: None, ports: Ports::reserve(3).unwrap() };
        let first = own.ports.first;
        let new = ["keys", "new", "--out", "keys/minting.json", "--name", "ada", "--account", ACCOUNT];
        let entry = own.good(&[&new[..], address].concat());
        fs::write(own.path("ada.toml"), entry).unwrap();
        let (slot_ms, starts_in) = (slot_ms.to_string(), starts_in_s.to_string());
        let times = ["--slot-ms", &slot_ms, "--starts-in", &starts_in];
        own.good(&[&["genesis", "new", "--minter", "ada.toml"][..], &times].concat());
        let config = format!(
            "data = \"data\"\n[network]\nlisten = \"127.0.0.1:{first}\"\npeers = [\"{ACCOUNT}@no-such-host.invalid:7645\"]\n\
             [api]\nlisten = \"127.0.0.1:{}\"\n[clock]\nsource = \"system\"\n\
             [minting]\nenabled = true\naccount = \"{ACCOUNT}\"\n",
            first + 1
        );
        fs::write(own.path("node.toml"), config).unwrap();
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.directory.path()).env("DYNEMIX_PASSPHRASE", "x").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// What a verb says that ends with this code.
    fn ends(&self, code: i32, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    fn start_with(&mut self, change: impl FnOnce(&mut Command)) {
        let screen = File::create(self.path("screen")).unwrap();
        let mut command = self.command(&["node", "run", "--config", "node.toml"]);
        change(command.stdout(Stdio::null()).stderr(screen));
        self.node = Some(command.spawn().unwrap());
    }

    fn start(&mut self) {
        self.start_with(|_| {});
    }

    fn screen(&self) -> String {
        fs::read_to_string(self.path("screen")).unwrap_or_default()
    }

    fn wait(&self, what: &str, is: impl Fn(&Own) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is(self) {
            assert!(Instant::now() < end, "not yet {what}\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_for(&self, words: &str) {
        self.wait(words, |own| own.screen().contains(words));
    }

    fn status(&self) -> Option<Value> {
        let output = self.run(&["node", "status", "--config", "node.toml", "--json=-"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.status()?[field].as_u64()
    }

    fn stop(&mut self) {
        self.good(&["node", "stop", "--config", "node.toml"]);
        assert!(self.node.take().unwrap().wait().unwrap().success(), "{}", self.screen());
    }

    fn kill(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }
}

#[test]
fn whoever_has_moved_since_genesis_is_called_where_the_operator_says_by_name() {
    // At the address of genesis nobody answers.
    let mut own = Own::founded(1_000, 1, &["--address", "127.0.0.1:9"]);
    own.start();
    let entry = fs::read_to_string(own.path("ada.toml")).unwrap();
    let key =
        entry.lines().find_map(|line| line.strip_prefix("transport_key = ")).unwrap().trim_matches('"').to_owned();
    let first = own.ports.first;
    let set = [
        "data=other".to_owned(),
        format!("network.peers={key}@localhost:{first}"),
        format!("network.listen=localhost:{}", first + 2),
        "api.listen=".into(),
        "minting.enabled=false".into(),
    ];
    let mut command = own.command(&["node", "run", "--config", "node.toml"]);
    set.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    let mut other = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let height = |own: &Own| {
        let output = own.run(&["node", "status", "--data", "other", "--json=-"]);
        serde_json::from_slice::<Value>(&output.stdout).ok()?["height"].as_u64()
    };
    own.wait("followed by the other", |own| height(own) >= Some(2));
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Gives a directory and all in it to nobody.
fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[test]
fn a_node_says_who_it_is_and_how_it_ended_and_its_log_can_be_read() {
    let mut own = Own::new(1_000, 1);
    own.start();
    own.wait("final", |own| own.number("height") >= Some(2));
    let screen = own.screen();
    let first = screen.lines().find(|line| line.contains("INFO")).unwrap();
    for words in [env!("CARGO_PKG_VERSION"), "on chain", "at height 0", "mints for 5ca1e35e"] {
        assert!(first.contains(words), "{first}");
    }
    // A name that nobody knows stops nothing: not the start, not who looks at the node, not its end.
    assert!(screen.contains("no-such-host.invalid:7645 has no address at this moment"), "{screen}");
    assert!(!screen.contains('\u{1b}'), "colours in a file: {screen}");
    let checked = own.run(&["config", "check", "--config", "node.toml"]);
    assert!(checked.status.success() && text(&checked.stderr).contains("no-such-host.invalid"), "{checked:?}");

    let log = ["node", "log", "--config", "node.toml"];
    let shown = own.good(&log);
    assert!(shown.contains("filter: info") && shown.contains("final after"), "{shown}");
    let quiet = own.good(&[&log[..], &["--filter", "error", "--lines", "1"]].concat());
    assert!(quiet.ends_with("filter: error\n") && quiet.lines().count() == 2, "{quiet}");
    let said = own.ends(2, &mut own.command(&[&log[..], &["--filter", "[["]].concat()));
    assert!(said.contains("TARGET=LEVEL"), "{said}");
    own.good(&[&log[..], &["--filter", "info"]].concat());
    // It is backed up while it runs.
    let made = own.good(&["node", "snapshot", "--config", "node.toml", "--out", "backup/today", "--json=-"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let checked: Value = serde_json::from_str(&own.good(&["snapshot", "verify", "backup/today", "--json=-"])).unwrap();
    assert_eq!((&made["state_root"], &made["height"]), (&checked["state_root"], &checked["height"]), "{made}");

    // Two of them on one computer.
    let said = own.ends(5, &mut own.command(&["node", "run", "--config", "node.toml"]));
    assert!(said.contains("in use by another process") && said.contains("needs its own data"), "{said}");
    let other = ["node", "run", "--config", "node.toml", "--set", "data=other", "--first-run"];
    let said = own.ends(1, &mut own.command(&other));
    assert!(said.contains("listen on") && said.contains("needs its own data"), "{said}");
    let doctor = own.run(&["doctor", "--config", "node.toml", "--json=-"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding = |what: &str| report["findings"].as_array().unwrap().iter().find(|row| row["what"] == what).unwrap();
    for what in ["node", "peers' port", "API's port", "keys", "data", "memory"] {
        assert_eq!(finding(what)["good"], true, "{report}");
    }
    assert!(finding("API's port")["found"].as_str().unwrap().contains("is held"), "{report}");

    // Where it keeps everything is said: nothing else is needed to find it.
    fs::rename(own.path("genesis.toml"), own.path("elsewhere.toml")).unwrap();
    own.stop();
    fs::rename(own.path("elsewhere.toml"), own.path("genesis.toml")).unwrap();
    assert!(own.screen().contains("stopped at height"), "{}", own.screen());
    own.start();
    own.wait_for("node runs at height");
    assert!(!own.screen().contains("did not end in order"));
    own.kill();
    own.start();
    own.wait_for("did not end in order");
}

#[test]
fn what_may_not_be_read_is_neither_missing_nor_damaged() {
    let mut own = Own::new(500, 1);
    own.start();
    own.wait("final", |own| own.number("height") >= Some(2));
    own.stop();
    // As root nothing is refused: nobody runs the node then, from a place where it can.
    let is_root = rustix::process::geteuid().is_root();
    let program = own.path("dynemix");
    fs::copy(PROGRAM, &program).unwrap();
    if is_root {
        give_away(own.directory.path());
    }
    let started = |own: &Own| {
        let mut command = Command::new(&program);
        command.args(["node", "run", "--config", "node.toml"]).env("DYNEMIX_PASSPHRASE", "x").stdin(Stdio::null());
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        own.ends(4, command.current_dir(own.directory.path()))
    };
    let take = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (name, words) in
        [("signed.0", "permission denied"), ("signed.1", "permission denied"), ("kept", "Permission denied")]
    {
        let path = own.path("data").join(name);
        fs::create_dir_all(own.path("data/kept")).unwrap();
        let before = fs::metadata(&path).unwrap().permissions().mode();
        take(&path, 0);
        let said = started(&own);
        assert!(said.contains(words) && said.contains(&format!("data/{name}")), "{said}");
        assert!(!said.contains("--first-run") && !said.contains("damaged"), "{said}");
        take(&path, before);
    }
    // Absent, and damaged: each has words of its own, and an exit code that people look at.
    let signed = ["signed.0", "signed.1"].map(|name| own.path("data").join(name));
    let whole = signed.each_ref().map(|path| fs::read(path).unwrap());
    signed.iter().for_each(|path| fs::write(path, b"rotten").unwrap());
    let said = own.ends(7, &mut own.command(&["node", "run", "--config", "node.toml"]));
    assert!(said.contains("neither copy") && said.contains("stop every other copy"), "{said}");
    signed.iter().for_each(|path| fs::remove_file(path).unwrap());
    let said = own.ends(7, &mut own.command(&["node", "run", "--config", "node.toml"]));
    assert!(said.contains("is missing beside a chain that has begun"), "{said}");
    signed.iter().zip(whole).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    own.start();
    own.wait_for("node runs at height");
}

#[test]
fn variables_of_others_are_nothing_to_us_and_our_own_are_text() {
    let own = Own::new(1_000, 60);
    let latin = || OsString::from_vec(b"Jos\xe9".to_vec());
    let check = ["config", "check", "--config", "node.toml"];
    let with = |name: &str| {
        let mut command = own.command(&check);
        command.env(name, latin());
        command
    };
    own.ends(0, with("JOSE").env("DYNEMIX_SERVICE_PORT", "7645"));
    for name in ["DYNEMIX_DATA", "DYNEMIX_LOG"] {
        let code = if name == "DYNEMIX_LOG" { 2 } else { 1 };
        let said = own.ends(code, &mut with(name));
        assert!(said.contains(name) && said.contains("UTF-8"), "{said}");
    }
    let said = own.ends(1, own.command(&["node", "run", "--config", "node.toml"]).env("DYNEMIX_LOG", "loud"));
    assert!(said.contains("DYNEMIX_LOG") && said.contains("no level"), "{said}");
    let nokey = ["node", "run", "--config", "node.toml", "--set", "minting.keystore=nokey.json"];
    let said = own.ends(1, own.command(&nokey).env_remove("DYNEMIX_PASSPHRASE"));
    assert!(said.contains("nokey.json") && !said.contains("passphrase"), "{said}");
    let said = own.ends(2, own.command(&check).env("DYNEMIX_LOG", "loud"));
    assert!(said.contains("DYNEMIX_LOG") && said.contains("no level"), "{said}");
    for verb in [
        &["node", "run", "--config", "node.toml"][..],
        &["keys", "new", "--out", "k", "--name", "bob", "--account", ACCOUNT],
    ] {
        let said = own.ends(1, own.command(verb).env("DYNEMIX_PASSPHRASE", latin()));
        assert!(said.contains("DYNEMIX_PASSPHRASE") && said.contains("UTF-8"), "{said}");
        assert!(!own.path("k").exists());
    }
}

#[test]
fn files_that_are_made_once_leave_nothing_on_a_full_disk() {
    let own = Own::new(1_000, 60);
    // No file may have a byte: what a disk without room says, for whoever has no such disk.
    let full = |arguments: &str| {
        let mut shell = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f 0; exec '{PROGRAM}' {arguments}");
        shell
            .args(["-c", &script])
            .current_dir(own.directory.path())
            .env("DYNEMIX_PASSPHRASE", "x")
            .stdin(Stdio::null());
        own.ends(1, shell.stdout(Stdio::null()).stderr(Stdio::piped()))
    };
    let there = |folder: &str| fs::read_dir(own.path(folder)).unwrap().count();
    let before = (there("."), there("keys"));
    for (arguments, name) in [
        (format!("keys new --out keys/other.json --name bob --account {ACCOUNT}"), "keys/other.json"),
        ("config init --out other.toml".into(), "other.toml"),
        ("genesis new --minter ada.toml --out other.toml".into(), "other.toml"),
    ] {
        let said = full(&arguments);
        assert!(said.contains(name), "{said}");
        assert_eq!((there("."), there("keys")), before, "{arguments}");
    }
    own.good(&["keys", "new", "--out", "keys/other.json", "--name", "bob", "--account", ACCOUNT]);
    own.good(&["config", "init", "--out", "other.toml"]);
    own.good(&["config", "check", "--config", "other.toml"]);
    let said = own.ends(1, &mut own.command(&["config", "init", "--out", "other.toml"]));
    assert!(said.contains("other.toml exists"), "{said}");
}

#[test]
fn a_minters_entry_takes_a_hosts_name_and_can_be_shown_again() {
    let own = Own::new(1_000, 60);
    let of = ["--name", "bob", "--account", ACCOUNT, "--address", "localhost:7645"];
    let output = own.run(&[&["keys", "new", "--out", "bob.json"][..], &of].concat());
    let entry = text(&output.stdout);
    assert!(
        entry.contains("address = \"127.0.0.1:7645\"") && text(&output.stderr).contains("network.public"),
        "{output:?}"
    );
    assert_eq!(own.good(&[&["keys", "show", "bob.json"][..], &of].concat()), entry);
    let shown = own.good(&["keys", "show", "bob.json"]);
    let transport = entry.lines().find_map(|line| line.strip_prefix("transport_key = ")).unwrap().trim_matches('"');
    assert!(shown.contains(transport) && !shown.contains("Minting"), "{shown}");
    let nowhere = ["--name", "cyd", "--account", ACCOUNT, "--address", "no-such-host.invalid:7645"];
    let said = own.ends(1, &mut own.command(&[&["keys", "new", "--out", "cyd.json"][..], &nowhere].concat()));
    assert!(said.contains("203.0.113.5:7645") && said.contains("network.public"), "{said}");
    assert!(!own.path("cyd.json").exists());
}

/// Adds the seconds in a file to the computer's clock, as a program sees it.
const STEP: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(id, t);
    if (id == CLOCK_REALTIME) {
        FILE *file = fopen(getenv("STEP_FILE"), "r");
        long seconds = 0;
        if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
        t->tv_sec += seconds;
    }
    return answer;
}
"#;

#[test]
fn the_computers_clock_is_followed_forward_and_back_and_nothing_is_signed_twice() {
    let mut own = Own::new(500, 1);
    let (code, library, step) = (own.path("step.c"), own.path("step.so"), own.path("step"));
    fs::write(&code, STEP).unwrap();
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).arg("-ldl").status().unwrap();
    assert!(built.success());
    own.start_with(|command| {
        command.env("LD_PRELOAD", &library).env("STEP_FILE", &step);
    });
    own.wait("final", |own| own.number("height") >= Some(2));
    let before = own.number("slot").unwrap();
    fs::write(&step, "60").unwrap();
    own.wait("followed", |own| own.number("slot") >= Some(before + 120));
    let height = own.number("height").unwrap();
    own.wait("final after that", |own| own.number("height") >= Some(height + 2));
    assert!(own.status().unwrap()["clock_trusted"] == true, "{}", own.screen());

    File::create(&step).unwrap();
    own.wait("followed back", |own| own.status().is_some_and(|shown| shown["clock_trusted"] == false));
    own.wait_for("behind the chain");
    let shown = own.status().unwrap();
    assert!(shown["slot"].as_u64() < shown["newest_slot"].as_u64(), "{shown}");
    assert!(own.good(&["node", "status", "--config", "node.toml"]).contains("CLOCK IS BEHIND"));
    own.stop();
    // Whoever starts with such a clock is told so at once.
    own.start();
    own.wait_for("behind the chain");
    let height = own.number("height");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        (own.number("height"), own.number("duties")),
        (height, Some(0)),
        "slots that have passed are not minted in"
    );
}

#[test]
fn who_waits_for_the_start_is_told_how_long() {
    let mut own = Own::new(1_000, 30);
    own.start();
    own.wait_for("the chain starts in");
    let shown = own.good(&["node", "status", "--config", "node.toml"]);
    assert!(shown.contains("the chain starts in"), "{shown}");
}
