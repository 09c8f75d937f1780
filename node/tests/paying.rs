//! What a payer is told by the wallet in front of a real network: paid, not paid or not known, and never by mistake.

use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd};
use dynemix::devnet::processes::Processes;
use dynemix::setup::address::{DEVNET_PREFIX, PREFIX, address};
use dynemix::setup::clock::unix_ms;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
/// Nobody's, and a point that anyone could have.
const STRANGER: [u8; 32] =
    *b"\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\xd5\x4b\xfe\xd3\xc9\x64\x07\x3a\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\x02\x1a\x68\xf7\x07\x51\x1a";

/// A network of one node, and a home for wallets.
struct Net {
    directory: tempfile::TempDir,
    processes: Processes,
}

impl Net {
    fn up() -> Net {
        let directory = tempfile::tempdir().unwrap();
        let shape = DevnetShape {
            nodes: 1,
            shards: 1,
            slot_ms: 1_000,
            quilt: true,
            load_accounts: 0,
            link: String::new(),
            liar: false,
            simd: any_simd(),
        };
        let devnet = Devnet::create(directory.path(), shape, unix_ms() + 1_000).unwrap();
        let mut processes = Processes::new(directory.path(), devnet).unwrap().with_program(Path::new(PROGRAM));
        processes.start_all().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while processes.status(0, 0).map_or(true, |status| status.height < 2) {
            assert!(Instant::now() < end, "no block:\n{}", processes.log_end(0));
            std::thread::sleep(Duration::from_millis(50));
        }
        Net { directory, processes }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("wallet").args(arguments).stdin(Stdio::null());
        command.env("DYNEMIX_DIR", self.directory.path()).env("XDG_DATA_HOME", self.directory.path());
        ["DYNEMIX_NODE", "DYNEMIX_GENESIS", "DYNEMIX_PROFILE"].iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("DYNEMIX_PASSPHRASE", "x");
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        told(&self.command(arguments).output().unwrap())
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    fn units(&self, of: &str) -> u64 {
        let text = self.good(&["balance", of, "--from", "alice", "--devnet", "--json", "-"]);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["spendable_units"].as_u64().unwrap()
    }
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn a_slip_of_the_finger_is_refused_before_anything_is_signed() {
    let net = Net::up();
    let send = |to: &str, amount: &str| net.run(&["send", amount, "--to", to, "--from", "alice", "--devnet"]);
    let right = address(DEVNET_PREFIX, &STRANGER);
    let mut wrong = right.clone();
    let last = if wrong.pop() == Some('q') { 'p' } else { 'q' };
    wrong.push(last);
    let of_other_chain = address(PREFIX, &STRANGER);
    let digits = hex::encode(STRANGER);
    for (to, amount, words) in [
        (wrong.as_str(), "1", "checksum does not fit"),
        (&of_other_chain, "1", "an address of another chain"),
        (&digits[1..], "1", "is no key"),
        (&digits.to_uppercase(), "1", "is no key"),
        (&format!("+{}", &digits[1..]), "1", "is no key"),
        ("alise", "1", "nobody is called 'alise'"),
        (&right, "0.5", "0.500000 dynes are less than the least that this chain takes, 1.000000 dynes"),
        (&right, "5000000", "the account can spend"),
        (&hex::encode([2; 32]), "1", "recipient_invalid"),
    ] {
        let (code, text) = send(to, amount);
        assert!(code == Some(1) && text.contains(words), "{to} {amount}: {code:?} {text}");
    }
    let (code, text) = net.run(&["balance", "--from", "alise", "--devnet"]);
    assert!(code == Some(1) && text.contains("there is no wallet 'alise'") && text.contains("users: alice"), "{text}");
    assert!(net.good(&["sent", "--from", "alice", "--devnet"]).contains("nothing was sent"));
    // Both forms lead to the same account.
    let paid = send(&right, "2");
    assert!(paid.0 == Some(0) && paid.1.contains("paid: "), "{}", paid.1);
    assert_eq!((net.units(&right), net.units(&digits)), (2_000_000, 2_000_000));
}

#[test]
fn a_receipt_that_cannot_be_written_makes_no_payment_undone() {
    let net = Net::up();
    let arguments = ["send", "1", "--to", "bob", "--from", "alice", "--devnet"];
    let before = net.units("bob");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let (code, text) = told(&net.command(&arguments).stdout(full()).output().unwrap());
    assert!(code == Some(0) && text.contains("is paid, which is proved"), "{code:?} {text}");
    // Neither may be written; the payment is told by the code alone.
    let ended = net.command(&arguments).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(ended.code(), Some(0));
    let ended = net.command(&[&arguments[..], &["--json", "/no/such/directory/x"]].concat()).output().unwrap();
    let (code, text) = told(&ended);
    assert!(code != Some(0) && text.contains("/no/such/directory/x") && !text.contains("signed "), "{code:?} {text}");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(net.units("bob") - before, 2_000_000);
    let sent = net.good(&["sent", "--from", "alice", "--devnet"]);
    assert_eq!(sent.matches("final at height").count(), 2, "{sent}");
}

#[test]
fn a_killed_wallet_pays_once_and_the_next_one_knows_it() {
    let net = Net::up();
    let before = net.units("bob");
    let arguments = ["send", "3", "--to", "bob", "--from", "alice", "--devnet"];
    for wait_ms in [100, 400, 900, 1_500] {
        let mut child = net.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, text) = net.run(&["pending", "--from", "alice", "--devnet"]);
        assert!(code == Some(0), "{code:?} {text}");
    }
    std::thread::sleep(Duration::from_secs(4));
    let sent = net.good(&["sent", "--from", "alice", "--devnet"]);
    let finals = sent.matches("final at height").count() as u64;
    assert_eq!(net.units("bob") - before, finals * 3_000_000, "{sent}");
}

#[test]
fn a_terminal_that_is_killed_at_any_moment_leaves_a_payment_made_once_or_not_at_all() {
    let net = Net::up();
    let before = net.units("bob");
    for wait_ms in [10, 40, 90, 150, 250, 400, 700, 1_100, 1_700, 2_600] {
        let line = format!("{PROGRAM} wallet send 3 --to bob --from alice --devnet");
        let mut terminal = Command::new("script");
        terminal.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
        terminal.env("DYNEMIX_DIR", net.directory.path()).env("XDG_DATA_HOME", net.directory.path());
        let mut terminal = terminal.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        let (code, text) = net.run(&["pending", "--from", "alice", "--devnet"]);
        assert!(code == Some(0) && !text.contains("panicked"), "after {wait_ms} ms: {code:?} {text}");
    }
    std::thread::sleep(Duration::from_secs(4));
    let sent = net.good(&["sent", "--from", "alice", "--devnet"]);
    let finals = sent.matches("final at height").count() as u64;
    assert_eq!(net.units("bob") - before, finals * 3_000_000, "{sent}");
    assert!(finals >= 1, "the last had the time: {sent}");
}

#[test]
fn the_environment_and_profiles_say_which_chain_is_meant_and_another_one_is_called_so() {
    let net = Net::up();
    let genesis = net.directory.path().join("genesis.toml");
    let api = format!("127.0.0.1:{}", net.processes.devnet().api_address(0).port());
    let arguments = ["send", "1", "--to", "bob", "--devnet", "--from", "alice"];
    net.good(&arguments);
    net.good(&["new", "mine"]);
    let mine = net.good(&["list", "--json", "-", "--devnet"]);
    let mine: serde_json::Value = serde_json::from_str(&mine).unwrap();
    let address = mine["wallets"][0]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("dyndev1"), "{address}");
    net.good(&["send", "5", "--to", &address, "--devnet", "--from", "alice"]);
    let (code, text) = net.run(&["balance", "--from", "mine", "--node", &api]);
    assert!(code == Some(1) && text.contains("--genesis FILE or DYNEMIX_GENESIS"), "{text}");
    let by_environment = net
        .command(&["balance", "--from", "mine"])
        .env("DYNEMIX_NODE", &api)
        .env("DYNEMIX_GENESIS", &genesis)
        .env("http_proxy", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let (code, text) = told(&by_environment);
    assert!(code == Some(0) && text.contains(&address), "{code:?} {text}");
    let home = net.directory.path().join("dynemix");
    let profile = format!("[home]\nnode = [{api:?}]\ngenesis = {genesis:?}\nfrom = \"mine\"\n");
    fs::write(home.join("profiles.toml"), profile).unwrap();
    assert!(net.good(&["balance", "--profile", "home"]).contains(&address));
    let (code, text) = net.run(&["balance", "--profile", "away"]);
    assert!(code == Some(1) && text.contains("no profile 'away'; it has: home"), "{text}");
    // A file of another chain: the node is not called a liar for it.
    let other = fs::read_to_string(&genesis).unwrap().replace("amount_min = 1000000", "amount_min = 1000001");
    let other_path = net.directory.path().join("other.toml");
    fs::write(&other_path, other).unwrap();
    let other_path = other_path.to_str().unwrap();
    let (code, text) = net.run(&["balance", "--from", "mine", "--node", &api, "--genesis", other_path]);
    assert!(code == Some(1) && text.contains("is a node of another chain"), "{code:?} {text}");
}

#[test]
fn at_a_terminal_a_payment_that_opens_an_account_or_is_large_is_asked_about() {
    let net = Net::up();
    let stranger = address(DEVNET_PREFIX, &STRANGER);
    let answer = |line: &str, typed: &str| {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]).env("DX", PROGRAM);
        command.env("DYNEMIX_DIR", net.directory.path()).env("XDG_DATA_HOME", net.directory.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
        // The terminal goes when nobody types any more.
        std::thread::sleep(Duration::from_secs(9));
        drop(stdin);
        told(&child.wait_with_output().unwrap()).1
    };
    let new = format!("$DX wallet send 1 --to {stranger} --from alice --devnet");
    let shown = answer(&new, "n\n");
    assert!(shown.contains("has no account yet") && shown.contains("nothing was signed"), "{shown}");
    let shown = answer("$DX wallet send 1000 --to bob --from alice --devnet", "\n");
    assert!(shown.contains("This pays 1 000.000000 dynes") && shown.contains("nothing was signed"), "{shown}");
    let shown = answer(&new, "yes\n");
    assert!(shown.contains("paid: "), "{shown}");
    assert_eq!(net.units(&stranger), 1_000_000);
}
