//! Networks of real node processes on loopback: what they survive, who joins, who stays outside. One at a time.

use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd};
use dynemix::devnet::processes::Processes;
use dynemix::setup::clock::unix_ms;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const SLOT_MS: u64 = 1_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Net {
    processes: Processes,
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Net {
    fn new(nodes: u32, quilt: bool) -> Net {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let directory = tempfile::tempdir().unwrap();
        let shape = DevnetShape {
            nodes,
            shards: 1,
            slot_ms: SLOT_MS,
            quilt,
            load_accounts: 0,
            link: String::new(),
            liar: false,
            simd: any_simd(),
        };
        let devnet = Devnet::create(directory.path(), shape, unix_ms() + 1_000 + 150 * u64::from(nodes)).unwrap();
        let processes = Processes::new(directory.path(), devnet).unwrap().with_program(Path::new(PROGRAM));
        Net { processes, directory, _alone: alone }
    }

    fn up(nodes: u32, quilt: bool) -> Net {
        let mut net = Net::new(nodes, quilt);
        net.processes.start_all().unwrap();
        net.wait_height(0, 2, 12);
        net
    }

    fn height(&self, node: u32) -> u64 {
        self.processes.status(node, 0).map_or(0, |status| status.height)
    }

    /// Waits until a node has a height, no longer than so many slots.
    fn wait_height(&self, node: u32, height: u64, slots: u64) {
        let end = Instant::now() + Duration::from_millis(slots * SLOT_MS);
        while self.height(node) < height {
            assert!(
                Instant::now() < end,
                "node {node} is at {} and not at {height} after {slots} slots:\n{}",
                self.height(node),
                self.processes.log_end(node)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Slots in which nothing became final, among the newest that a node shows, from a height on.
    fn lost_since(&self, node: u32, height: u64) -> u64 {
        let blocks = self.processes.status(node, 200).unwrap().blocks;
        let slots: Vec<u64> =
            blocks.iter().filter(|block| block.height >= height).map(|block| block.attempt / 2).collect();
        slots.windows(2).map(|pair| pair[1] - pair[0] - 1).sum()
    }

    fn roots_agree(&self, nodes: &[u32]) {
        let height = nodes.iter().map(|&node| self.height(node)).min().unwrap();
        let of = |&node: &u32| {
            let status = self.processes.status(node, 200).unwrap();
            let block = status.blocks.into_iter().find(|block| block.height == height).expect("shown");
            (block.hash, block.state_root)
        };
        let first = of(&nodes[0]);
        assert!(nodes.iter().all(|node| of(node) == first), "nodes differ at height {height}");
        assert!(nodes.iter().all(|&node| self.processes.audit(node).unwrap().conserved));
    }

    fn dynemix(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("DYNEMIX_DIR", self.directory.path())
            .env("XDG_DATA_HOME", self.directory.path())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    }
}

#[test]
fn two_users_pay_each_other_by_name_and_every_figure_is_proved() {
    let net = Net::up(4, true);
    let good = |arguments: &[&str]| {
        let (success, text) = net.dynemix(&[arguments, &["--devnet"]].concat());
        assert!(success, "{arguments:?}: {text}");
        text
    };
    let balance = |of: &str| -> serde_json::Value {
        serde_json::from_str(&good(&["wallet", "balance", of, "--json", "-"])).unwrap()
    };
    good(&["wallet", "register", "ada", "--from", "alice"]);
    good(&["wallet", "register", "babbage", "--from", "bob"]);
    std::thread::sleep(Duration::from_millis(3 * SLOT_MS));
    let sent = good(&["wallet", "send", "12.5", "--to", "babbage", "--from", "alice"]);
    // On slots of a second what is certified is final a moment later: who asks now and then may see the end alone.
    assert!(sent.contains("taken by the node") && sent.contains("final after"), "{sent}");
    good(&["wallet", "send", "2", "--to", "ada", "--from", "bob"]);
    std::thread::sleep(Duration::from_millis(4 * SLOT_MS));
    let (ada, babbage) = (balance("ada"), balance("babbage"));
    assert_eq!((&ada["name"], &babbage["proved"]), (&"ada".into(), &true.into()));
    assert_eq!(ada["spendable_units"], 1_000_000_000_000u64 - 10_000_000 - 12_500_000 + 2_000_000);
    assert_eq!(babbage["spendable_units"], 1_000_000_000_000u64 - 10_000_000 + 12_500_000 - 2_000_000);
    // What cannot be is refused, with its reason.
    for (arguments, reason) in [
        (&["wallet", "send", "9000000", "--to", "bob", "--from", "alice"][..], "insufficient_balance"),
        (&["wallet", "send", "1", "--to", "nobody-has-this", "--from", "alice"], "nobody is called"),
        (&["wallet", "send", "1.0000001", "--to", "bob", "--from", "alice"], "no amount"),
        (&["wallet", "register", "Not A Name", "--from", "carol"], "name_invalid"),
    ] {
        let (success, text) = net.dynemix(&[arguments, &["--devnet"]].concat());
        assert!(!success && text.contains(reason), "{text}");
    }
    // A wallet that trusts another chain believes nothing.
    let genesis = fs::read_to_string(net.directory.path().join("genesis.toml")).unwrap();
    let other = net.directory.path().join("other.toml");
    fs::write(&other, genesis.replacen("emission = 100000000", "emission = 100000001", 1)).unwrap();
    let url = format!("http://{}/", net.processes.devnet().api_address(0));
    let key = ada["key"].as_str().unwrap();
    let (success, text) =
        net.dynemix(&["wallet", "balance", key, "--node", &url, "--genesis", other.to_str().unwrap()]);
    assert!(!success && text.contains("is a node of another chain"), "{text}");
    net.roots_agree(&[0, 1, 2, 3]);
}

#[test]
fn a_third_may_die_all_may_stop_and_whoever_was_away_comes_back() {
    let mut net = Net::up(10, true);
    // kill -9 of a third: the others go on, slot by slot.
    let before = net.height(0);
    (7..10).for_each(|node| net.processes.kill(node));
    net.wait_height(0, before + 6, 16);
    assert!(net.lost_since(0, before) <= 1, "{} slots lost", net.lost_since(0, before));
    // They come back by themselves, and mint.
    (7..10).for_each(|node| net.processes.start(node, &[]).unwrap());
    (7..10).for_each(|node| net.processes.wait_ready(node, Duration::from_secs(20)).unwrap());
    let now = net.height(0);
    (7..10).for_each(|node| net.wait_height(node, now + 5, 20));
    let end = Instant::now() + Duration::from_millis(15 * SLOT_MS);
    while !(7..10).all(|node| net.processes.status(node, 0).unwrap().duties > 0) {
        assert!(Instant::now() < end, "they have not minted again");
        std::thread::sleep(Duration::from_millis(100));
    }
    // All at once, as in a power cut, and all again.
    let before = net.height(0);
    (0..10).for_each(|node| net.processes.kill(node));
    net.processes.start_all().unwrap();
    net.wait_height(0, before + 5, 20);
    // One loses everything that it had, and comes back as a new one; it says that its key has signed before.
    net.processes.kill(9);
    let data = net.processes.devnet().data_directory(net.directory.path(), 9);
    fs::remove_dir_all(&data).unwrap();
    net.processes.start(9, &[]).unwrap();
    let now = net.height(0);
    net.wait_height(9, now + 3, 20);
    // Stopping in order takes a slot at most.
    let begun = Instant::now();
    net.processes.terminate(8);
    assert!(net.processes.wait(8, Duration::from_secs(10)), "it ends well");
    assert!(begun.elapsed() < Duration::from_millis(2 * SLOT_MS + 1_000), "{:?}", begun.elapsed());
    let now = net.height(0);
    (0..8).for_each(|node| net.wait_height(node, now, 4));
    net.roots_agree(&[0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn blockchain_mode_a_wrong_clock_and_strangers_change_nothing_for_the_others() {
    let mut net = Net::new(10, false);
    for node in 0..10 {
        // One clock is half a minute ahead.
        let shift: &[&str] = if node == 9 { &["clock.shift_ms=30000"] } else { &[] };
        net.processes.start(node, shift).unwrap();
    }
    (0..10).for_each(|node| net.processes.wait_ready(node, Duration::from_secs(30)).unwrap());
    net.wait_height(0, 2, 15);
    let before = net.height(0);
    let address = net.processes.devnet().target(0).address;
    // Thousands of half-open calls, garbage, and one that sends a byte a second.
    let silent: Vec<TcpStream> =
        (0..1_500).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()).collect();
    assert!(silent.len() > 300);
    for garbage in [&[0xff; 100][..], &[0, 1, 2, 3, 4, 5, 6, 7], b"GET / HTTP/1.1\r\n\r\n"] {
        let _ = TcpStream::connect(address).and_then(|mut stream| stream.write_all(garbage));
    }
    let mut slow = TcpStream::connect(address).unwrap();
    for _ in 0..8 {
        let _ = slow.write_all(&[0]);
        std::thread::sleep(Duration::from_secs(1));
    }
    net.wait_height(0, before + 6, 12);
    assert!(net.lost_since(0, before) <= 1, "{} slots lost", net.lost_since(0, before));
    let status = net.processes.status(0, 0).unwrap();
    assert!(status.rss_bytes < 200 << 20, "{} bytes", status.rss_bytes);
    assert!(status.members >= 8, "{} peers", status.members);
    drop(silent);
    net.roots_agree(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn keys_of_others_wrong_configurations_and_second_starts_are_refused_by_name() {
    let mut net = Net::up(4, true);
    let at = |node: u32| net.processes.devnet().node_directory(net.directory.path(), node);
    let run = |config: &Path, settings: &[&str], passphrase: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["node", "run", "--config"]).arg(config).env("DYNEMIX_PASSPHRASE", passphrase);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let config: PathBuf = at(0).join("node.toml");
    // The same node twice.
    let (code, text) = run(&config, &[], "devnet");
    assert!(code == Some(5) && text.contains("in use"), "{code:?} {text}");
    let (code, text) = run(&config, &["data=elsewhere"], "wrong");
    assert!(code == Some(1) && text.contains("wrong passphrase"), "{code:?} {text}");
    let (code, text) = run(&config, &["network.lisen=x"], "devnet");
    assert!(code == Some(1) && text.contains("no setting 'network.lisen'"), "{code:?} {text}");
    // A minter whose record of what it signed is gone does not sign.
    net.processes.terminate(3);
    net.processes.wait(3, Duration::from_secs(10));
    let data = net.processes.devnet().data_directory(net.directory.path(), 3);
    ["signed.0", "signed.1"].iter().for_each(|name| fs::remove_file(data.join(name)).unwrap());
    let net_config = net.processes.devnet().node_directory(net.directory.path(), 3).join("node.toml");
    let mut command = Command::new(PROGRAM);
    let output =
        command.args(["node", "run", "--config"]).arg(net_config).env("DYNEMIX_PASSPHRASE", "devnet").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // On a chain that has just begun a record may be missing only if nothing was signed: here there are blocks.
    assert!(output.status.code() == Some(7) && text.contains("--first-run"), "{:?} {text}", output.status.code());
}

/// A node that follows, with a data directory of its own.
fn follower(net: &Net, data: &Path, settings: &[&str]) -> Command {
    let config = net.processes.devnet().node_directory(net.directory.path(), 0).join("node.toml");
    let mut command = Command::new(PROGRAM);
    command.args(["node", "run", "--config"]).arg(config).env("DYNEMIX_PASSPHRASE", "devnet");
    let data = format!("data={}", data.display());
    let own = [&data, "minting.enabled=false", "network.listen=", "network.public=", "api.listen="];
    own.iter().chain(settings).for_each(|setting| {
        command.args(["--set", setting]);
    });
    command
}

#[test]
fn a_new_node_begins_with_a_snapshot_that_a_trusted_block_proves() {
    let mut net = Net::new(4, true);
    (0..4).for_each(|node| net.processes.start(node, &["storage.snapshot_blocks=5"]).unwrap());
    (0..4).for_each(|node| net.processes.wait_ready(node, Duration::from_secs(30)).unwrap());
    let paid = net.dynemix(&["wallet", "send", "3", "--to", "bob", "--from", "alice", "--devnet"]);
    assert!(paid.0, "{}", paid.1);
    net.wait_height(0, 7, 20);
    let trust = net.processes.status(0, 0).unwrap().snapshots.pop().expect("heights 5 and 6 are final");
    let directory = net.directory.path().to_owned();

    // A block that nobody knows is named with what there is instead.
    let wrong = format!("network.trust={}", trust.replace(':', ":00").chars().take(trust.len()).collect::<String>());
    let output = follower(&net, &directory.join("nobody"), &[&wrong]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("no peer has a snapshot") && text.contains(&trust), "{text}");

    let trust = net.processes.status(0, 0).unwrap().snapshots.pop().unwrap();
    let (data, setting) = (directory.join("joiner"), format!("network.trust={trust}"));
    let log = directory.join("joiner.log");
    let run = || {
        follower(&net, &data, &[&setting])
            .stderr(fs::File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap()
    };
    let shown = |data: &Path| {
        let (good, text) = net.dynemix(&["node", "status", "--data", data.to_str().unwrap(), "--json", "-"]);
        good.then(|| serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    let height_of =
        |shown: &Option<serde_json::Value>| shown.as_ref().map_or(0, |shown| shown["height"].as_u64().unwrap());
    let follows = |goal: u64| {
        let end = Instant::now() + Duration::from_secs(30);
        while height_of(&shown(&data)) < goal {
            assert!(Instant::now() < end, "{}", fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let mut child = run();
    follows(net.height(0));
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.contains(&format!("joined at height {}", trust.split(':').next().unwrap().parse::<u64>().unwrap() - 1)),
        "{text}"
    );
    let (ours, theirs) = (shown(&data).unwrap(), net.processes.status(0, 200).unwrap());
    let newest = ours["blocks"].as_array().unwrap().last().unwrap().clone();
    let same = theirs.blocks.iter().find(|block| block.height == newest["height"]).expect("shown");
    assert_eq!((newest["hash"].as_str(), newest["state_root"].as_str()), (Some(&*same.hash), Some(&*same.state_root)));

    // kill -9: what was joined stays joined.
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = run();
    follows(net.height(0) + 1);
    assert!(fs::read_to_string(&log).unwrap().contains("there is a chain here already"));
    child.kill().unwrap();
    child.wait().unwrap();

    // Three of four hand out a snapshot with one wrong byte: they are passed over. Of four liars nobody takes anything.
    net.wait_height(0, net.height(0) / 5 * 5 + 7, 20);
    let trust = net.processes.status(0, 0).unwrap().snapshots.pop().unwrap();
    let snapshot = (trust.split(':').next().unwrap().parse::<u64>().unwrap() - 1).to_string();
    let spoil = |node: u32| {
        let chunk = net
            .processes
            .devnet()
            .data_directory(&directory, node)
            .join("snapshots")
            .join(&snapshot)
            .join("chunk.00000");
        let mut bytes = fs::read(&chunk).unwrap();
        bytes[40] ^= 1;
        fs::write(&chunk, bytes).unwrap();
    };
    (0..3).for_each(spoil);
    let setting = format!("network.trust={trust}");
    let log = directory.join("careful.log");
    let mut child = follower(&net, &directory.join("careful"), &[&setting])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(&log).unwrap().contains("joined at height") {
        assert!(Instant::now() < end, "{}", fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    spoil(3);
    let output = follower(&net, &directory.join("deceived"), &[&setting]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("chunk 0 is not what the trusted block proves"), "{text}");
}

#[test]
fn another_chain_another_key_and_an_impostor_stay_outside() {
    let net = Net::up(4, true);
    let directory = net.directory.path().to_owned();
    let before = net.height(0);
    // Another chain: its nodes do not get past the handshake.
    let genesis = fs::read_to_string(directory.join("genesis.toml")).unwrap();
    fs::write(directory.join("other.toml"), genesis.replacen("emission = 100000000", "emission = 100000001", 1))
        .unwrap();
    let other = format!("genesis={}", directory.join("other.toml").display());
    // An impostor: candidate 0's account with candidate 1's key, though it has another transport key in the chain's
    // tables.
    let theirs = net.processes.devnet().node_directory(&directory, 1);
    let keystore = format!("minting.keystore={}", theirs.join("keys/minting.json").display());
    let mut outside = Vec::new();
    for (name, settings) in
        [("other", vec![other.as_str()]), ("impostor", vec!["minting.enabled=true", &keystore, "clock.source=system"])]
    {
        let log = fs::File::create(directory.join(name).with_extension("log")).unwrap();
        let mut command = follower(&net, &directory.join(name), &settings);
        outside.push((name, command.arg("--first-run").stderr(log).spawn().unwrap()));
    }
    net.wait_height(0, before + 6, 12);
    for (name, child) in &mut outside {
        let (good, text) =
            net.dynemix(&["node", "status", "--data", directory.join(*name).to_str().unwrap(), "--json", "-"]);
        assert!(good, "{name}: {text}");
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (shown["height"].as_u64(), shown["members"].as_u64()),
            (Some(0), Some(0)),
            "{name} is outside: {text}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(net.lost_since(0, before), 0, "nobody else noticed");
    assert!((0..4).all(|node| net.processes.status(node, 0).unwrap().members == 3));
    net.roots_agree(&[0, 1, 2, 3]);
}

#[test]
fn a_devnet_under_load_is_judged_and_says_all_it_promises() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.json");
    let devnet = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["devnet"]).args(arguments).arg("--dir").arg(directory.path().join("net"));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let load =
        ["--nodes", "4", "--slot-ms", "1000", "--tps", "300", "--duration", "6s", "--json", report.to_str().unwrap()];
    let (code, text) = devnet(&[&["up"][..], &load].concat());
    assert!(text.contains("state roots") && text.contains("verdict"), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report}"));
    assert_eq!((number("nodes"), number("shards"), number("tps_offered")), (4.0, 1.0, 300.0));
    assert!(number("slots_final") >= 6.0 && report["slots_lost"].is_u64(), "{report}");
    // On a crowded machine a slot may be lost: then the verdict and the exit code say so.
    assert_eq!(code == Some(0), number("slots_lost") == 0.0, "{code:?} {text}");
    assert_eq!((&report["state_roots_equal"], &report["supply_conserved"]), (&true.into(), &true.into()));
    assert!(number("included_next_slot_share") > 0.8 && number("tps_final") > 100.0, "{report}");
    for checkpoint in ["shard", "master"] {
        let (p50, p99) =
            (report["finality_ms"][checkpoint]["p50"].as_f64(), report["finality_ms"][checkpoint]["p99"].as_f64());
        assert!(p50 > Some(0.0) && p50 <= p99, "{report}");
    }
    assert!(
        number("bytes_per_tx_sent") > 0.0
            && number("bytes_per_tx_received") > 0.0
            && report["cpu_s"].as_array().unwrap().len() == 4
    );
    // A second load needs a chain of its own; a reset makes room.
    let (code, text) = devnet(&[&["up"][..], &load].concat());
    assert!(code == Some(1) && text.contains("devnet reset"), "{text}");
    let (code, text) = devnet(&["reset"]);
    assert!(code == Some(0) && !directory.path().join("net").exists(), "{text}");
}

#[test]
fn up_notices_that_its_nodes_were_stopped_says_so_and_ends() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let directory = tempfile::tempdir().unwrap();
    let net = directory.path().join("net");
    let said = directory.path().join("said");
    let mut up = Command::new(PROGRAM)
        .args(["devnet", "up", "--nodes", "2", "--slot-ms", "1000", "--dir"])
        .arg(&net)
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let height = || {
        let devnet = Devnet::read(&net).ok()?;
        let processes = Processes::new(&net, devnet).ok()?;
        Some(processes.status(0, 0).ok()?.height)
    };
    while height() < Some(2) {
        assert!(Instant::now() < end && up.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    let pids = Devnet::read(&net).unwrap().pids;
    for node in ["node00", "node01"] {
        let stop = Command::new(PROGRAM).args(["node", "stop", "--data"]).arg(net.join(node).join("data")).output();
        assert!(stop.unwrap().status.success());
    }
    let end = Instant::now() + Duration::from_secs(20);
    let code = loop {
        if let Some(status) = up.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > end {
            let _ = up.kill();
            panic!("it goes on without nodes: {}", fs::read_to_string(&said).unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("node 0 has ended") && said.contains("node 1 has ended"), "{said}");
    assert!(!said.contains("not conserved") && !said.contains("roots differ"), "nothing else is claimed: {said}");
    assert!(pids.len() == 2 && pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "{pids:?}");
}
