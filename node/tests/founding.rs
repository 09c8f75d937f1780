//! The way of the README: keys, a genesis, configurations; a chain of four; a stranger who takes a name, stakes, and
//! mints.

use dynemix::devnet::ports::Ports;
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const PASSPHRASE: &str = "a passphrase";

/// A directory with everything of a few people, and their nodes.
struct Place {
    directory: tempfile::TempDir,
    nodes: Vec<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // Some have gone already.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs a command with the passphrase on its standard input, twice: a stake asks for two.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("XDG_DATA_HOME", self.directory.path()).current_dir(self.directory.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // What does not ask for it leaves it.
        let _ = writeln!(child.stdin.take().unwrap(), "{PASSPHRASE}\n{PASSPHRASE}");
        child.wait_with_output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[arguments, &["--json", "-"]].concat())).unwrap()
    }

    /// Keys of a minter; returns its entry's file.
    fn keys(&self, name: &str, account: &str, port: u16) -> String {
        let (out, address) = (format!("{name}.json"), format!("127.0.0.1:{port}"));
        let arguments = [
            "keys",
            "new",
            "--out",
            &out,
            "--name",
            name,
            "--account",
            account,
            "--address",
            &address,
            "--passphrase-fd",
            "0",
        ];
        let entry = self.path(&format!("{name}.toml"));
        fs::write(&entry, self.good(&arguments)).unwrap();
        entry.display().to_string()
    }

    /// Starts a node with these keys.
    fn node(&mut self, name: &str, account: &str, port: u16, api: u16) {
        let set = [
            format!("data={}", self.text(&format!("data.{name}"))),
            "minting.enabled=true".into(),
            format!("minting.account={account}"),
            format!("minting.keystore={name}.json"),
            format!("network.listen=127.0.0.1:{port}"),
            format!("network.public=127.0.0.1:{port}"),
            format!("api.listen=127.0.0.1:{api}"),
            "clock.source=system".into(),
        ];
        let mut command = Command::new(PROGRAM);
        command
            .args(["node", "run", "--config", "node.toml"])
            .current_dir(self.directory.path())
            .env("DYNEMIX_PASSPHRASE", PASSPHRASE);
        set.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        self.nodes.push(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn status(&self, name: &str) -> Option<Value> {
        let output = self.run(&["node", "status", "--data", &self.text(&format!("data.{name}")), "--json", "-"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits until a node shows this.
    fn wait(&self, name: &str, patience_s: u64, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(patience_s);
        loop {
            let shown = self.status(name);
            if let Some(shown) = shown.as_ref().filter(|shown| is(shown)) {
                return shown.clone();
            }
            let log = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
            assert!(Instant::now() < end, "{name}: not yet {what}: {shown:?}\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_chain_founded_by_hand_takes_in_a_stranger_who_stakes_and_mints() {
    let mut place = Place { directory: tempfile::tempdir().unwrap(), nodes: Vec::new() };
    // A stranger with a wallet, who is to get a thousand dynes.
    let words = place.good(&["wallet", "new", "--passphrase-fd", "0"]);
    assert!(words.split_whitespace().count() > 24, "{words}");
    let stranger = place.json(&["wallet", "list"])["wallets"][0]["key"].as_str().unwrap().to_owned();

    // Four founders.
    let names = ["ada", "bob", "cyd", "dee"];
    let accounts: Vec<String> = (1..=4)
        .map(|number: u8| hex::encode(SigningKey::from_bytes(&[number; 32]).verifying_key().as_bytes()))
        .collect();
    let held = Ports::reserve(10).unwrap();
    let ports: Vec<(u16, u16)> = (0..5).map(|i| (held.first + 2 * i, held.first + 2 * i + 1)).collect();
    let entries: Vec<String> = (0..4).map(|i| place.keys(names[i], &accounts[i], ports[i].0)).collect();
    let mut arguments = vec![
        "genesis",
        "new",
        "--slot-ms",
        "1000",
        "--seats",
        "5",
        "--shards",
        "1",
        // Four nodes open their keys first, which takes seconds where others work too.
        "--starts-in",
        "12",
        "--quilt-from",
        "0",
    ];
    entries.iter().for_each(|entry| arguments.extend(["--minter", entry]));
    let funded = format!("{stranger}=5000");
    arguments.extend(["--account", &funded]);
    place.good(&arguments);
    place.good(&["config", "init"]);
    place.good(&["config", "check", "--config", "node.toml"]);
    let effective = place.good(&["config", "show", "--effective", "--config", "node.toml", "--set", "log.screen=warn"]);
    assert!(
        effective.contains("screen") && effective.contains("warn") && effective.contains("command line"),
        "{effective}"
    );
    place.good(&["man", "--out", "man"]);
    assert!(fs::read_to_string(place.path("man/dynemix-node-run.1")).unwrap().contains(".TH"));
    assert!(place.good(&["completions", "bash"]).contains("dynemix"));
    for i in 0..4 {
        place.node(names[i], &accounts[i], ports[i].0, ports[i].1);
    }
    place.wait("ada", 30, "at height 2", |shown| shown["height"].as_u64() >= Some(2));

    let url = format!("http://127.0.0.1:{}/", ports[1].1);
    let asking = ["--node", &url, "--genesis", "genesis.toml"];
    let paying = [&asking[..], &["--passphrase-fd", "0"]].concat();
    let balance = |place: &Place| place.json(&[&["wallet", "balance"][..], &asking].concat());
    assert_eq!(balance(&place)["spendable_units"], 5_000_000_000u64);
    // The stranger's node is there before its stake: it follows.
    let entry = place.keys("eve", &stranger, ports[4].0);
    assert!(fs::read_to_string(entry).unwrap().contains("vote_key"));
    place.node("eve", &stranger, ports[4].0, ports[4].1);
    let shown = place.wait("eve", 30, "following", |shown| shown["height"].as_u64() >= Some(2));
    assert_eq!((shown["seated"].as_bool(), shown["duties"].as_u64()), (Some(false), Some(0)));
    // A stake needs a name, and is told so at once.
    let output = place.run(&[&["wallet", "stake", "1000", "--minting", "eve.json"][..], &paying].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("name_missing"), "{text}");
    place.good(&[&["wallet", "register", "eve"][..], &paying].concat());
    std::thread::sleep(Duration::from_secs(3));
    let staked = place.good(&[&["wallet", "stake", "1000", "--minting", "eve.json"][..], &paying].concat());
    assert!(staked.contains("final"), "{staked}");
    let minted = place.wait("eve", 60, "minting", |shown| shown["duties"].as_u64() > Some(1));
    assert!(minted["members"].as_u64() >= Some(3), "its peers know it by name now: {minted}");
    assert!(place.status("ada").unwrap()["members"].as_u64() >= Some(4));

    let of_stranger = balance(&place);
    assert_eq!(
        (of_stranger["name"].as_str(), of_stranger["stake_units"].as_u64()),
        (Some("eve"), Some(1_000_000_000)),
        "{of_stranger}"
    );
    place.good(&[&["wallet", "unstake", "400"][..], &paying].concat());
    let end = Instant::now() + Duration::from_secs(15);
    while balance(&place)["stake_units"] != 600_000_000u64 {
        assert!(Instant::now() < end, "{}", balance(&place));
        std::thread::sleep(Duration::from_millis(300));
    }
    let history = place.json(&[&["wallet", "history"][..], &asking].concat());
    let kinds: Vec<&str> =
        history["changes"].as_array().unwrap().iter().filter_map(|change| change["kind"].as_str()).collect();
    assert_eq!(kinds, ["unstake", "stake", "register"], "{history}");
    assert_eq!(history["changes"][1]["debited_units"], 1_000_000_000, "{history}");
    let sent = place.json(&[&["wallet", "send", "1", "--to", "eve"][..], &paying].concat());
    let status = place.json(&[&["wallet", "status", sent["id"].as_str().unwrap()][..], &asking].concat());
    assert_eq!(status["state"], "final", "{status}");

    // Whether the computer is fit: its answer is whole, whatever it says of this one.
    let doctor = place.run(&["doctor", "--config", "node.toml", "--json", "-"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let looked_at: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["what"].as_str()).collect();
    assert!(["clock", "disk", "signatures", "open files"].iter().all(|what| looked_at.contains(what)), "{report}");
    let stopped = place.good(&["node", "stop", "--data", &place.text("data.eve")]);
    assert!(stopped.contains("stopping"));
    let eve = place.nodes.last_mut().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    while eve.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "a node stops at the end of its slot");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(Path::new(&place.path("data.eve")).join("state").is_dir());
}
