//! A wallet and nodes that do not have the beginning of the chain any more: one whose log is pruned, and one that has
//! joined by a snapshot. Small segments, so that blocks go within seconds.

mod liar;

use dynemix::devnet::ports::Ports;
use dynemix::face::light::Verified;
use dynemix::wallet::kept::Kept;
use liar::{Liar, Net, PROGRAM, Reply};
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SMALL: [&str; 4] = [
    "storage.segment_bytes=16384",
    "storage.window_blocks=3",
    "storage.checkpoint_bytes=8192",
    "storage.snapshot_blocks=5",
];

/// A process that ends with the test, and the ports that nobody else is given until then.
struct Ends(Child, #[expect(dead_code, reason = "held, not read")] Ports);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node without a stake that begins with the snapshot that a trusted block proves; where its API is.
fn joiner(net: &Net, trust: &str) -> (Ends, String) {
    let ports = Ports::reserve(1).unwrap();
    let port = ports.first;
    let directory = net.directory.path();
    let config = net.processes.devnet().node_directory(directory, 0).join("node.toml");
    let settings = [
        format!("data={}", directory.join("joiner").display()),
        format!("api.listen=127.0.0.1:{port}"),
        format!("network.trust={trust}"),
        "minting.enabled=false".into(),
        "network.listen=".into(),
        "network.public=".into(),
    ];
    let mut command = Command::new(PROGRAM);
    command.args(["node", "run", "--config"]).arg(config);
    for setting in &settings {
        command.args(["--set", setting]);
    }
    let log = fs::File::create(directory.join("joiner.log")).unwrap();
    (Ends(command.stdin(Stdio::null()).stderr(log).spawn().unwrap(), ports), format!("http://127.0.0.1:{port}/"))
}

fn waits_until(patience: Duration, what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_wallet_works_with_a_node_that_has_pruned_and_with_one_that_has_joined_by_a_snapshot() {
    let mut net = Net::made(4, true);
    (0..4).for_each(|node| net.processes.start(node, &SMALL).unwrap());
    (0..4).for_each(|node| net.processes.wait_ready(node, Duration::from_secs(60)).unwrap());
    net.wait_height(0, 2, 30);
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A wallet that looks at the chain while it is young.
    let ran = net.wallet(old.path(), &["balance", "--devnet", "--from", "alice"]);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let data = net.processes.devnet().data_directory(net.directory.path(), 0);
    let first_segment = data.join("state/log.000000000001");
    waits_until(Duration::from_secs(60), "the first blocks are never pruned", || !first_segment.exists());
    let record = liar::ask(&net.url(0), "history", &serde_json::json!({ "key": "00".repeat(32) }));
    assert!(record["result"]["first_height"].as_u64().unwrap() > 1, "{record}");

    // From genesis, by certificates alone; and paying.
    let proved = |home: &std::path::Path, arguments: &[&str]| {
        let ran = net.wallet(home, &[arguments, &["--json", "-"]].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.text);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let url = net.url(0);
    let with = ["--devnet", "--from", "alice", "--node", &url];
    assert_eq!(proved(new.path(), &[&["balance"], &with[..]].concat())["proved"], true);
    let sent = proved(new.path(), &[&["send", "2", "--to", "bob"], &with[..]].concat());
    assert_eq!((sent["state"].as_str(), sent["effect"].as_str()), (Some("final"), Some("stands")), "{sent}");

    // The older wallet goes on from the block that it has verified, and asks for nothing before.
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let seen = asked.clone();
    let watched = Liar::new(
        net.url(0),
        Arc::new(move |method, params, said| {
            if method == "headers" {
                seen.lock().unwrap().push(params["from"].as_u64().unwrap());
            }
            Reply::Json(said())
        }),
    );
    let watched_url = watched.url();
    proved(old.path(), &["balance", "--devnet", "--from", "alice", "--node", &watched_url]);
    let least = *asked.lock().unwrap().iter().min().unwrap();
    assert!(least > 2, "it began again at height {least}");

    // What a height takes, beside the blocks.
    let light = |name: &str| fs::metadata(data.join("light").join(name)).unwrap().len();
    let heights = (light("heights") - 64) / 8;
    let bytes = (light("certificates") - 64) / heights + 8;
    println!("{bytes} bytes a height of four seats");
    assert!(bytes < 600);

    joined(&net, &proved);
}

fn joined(net: &Net, proved: &dyn Fn(&std::path::Path, &[&str]) -> Value) {
    waits_until(Duration::from_secs(30), "no snapshot", || {
        net.processes.status(0, 0).is_ok_and(|status| !status.snapshots.is_empty())
    });
    let trust = net.processes.status(0, 0).unwrap().snapshots.pop().unwrap();
    let (_joiner, url) = joiner(net, &trust);
    let height = |url: &str| liar::ask(url, "status", &serde_json::json!({}))["result"]["height"].as_u64();
    let goal = net.height(0);
    let log = || fs::read_to_string(net.directory.path().join("joiner.log")).unwrap_or_default();
    waits_until(Duration::from_secs(60), "the node does not join", || {
        assert!(!log().contains("dynemix: "), "{}", log());
        height(&url) >= Some(goal)
    });
    let (fresh, trusting) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let with = ["--devnet", "--from", "alice", "--node", &url];
    // It has not the beginning, and says so.
    let ran = net.wallet(fresh.path(), &[&["balance"], &with[..]].concat());
    assert!(ran.code == Some(1) && ran.text.contains("--trust"), "{:?} {}", ran.code, ran.text);
    let with = [&with[..], &["--trust", &trust]].concat();
    assert_eq!(proved(trusting.path(), &[&["balance"], &with[..]].concat())["proved"], true);
    // Its node is in no shard: it cannot show the payment's path, and any of the minters can.
    let minter = net.url(1);
    let with = [&with[..], &["--node", &minter]].concat();
    let sent = proved(trusting.path(), &[&["send", "1", "--to", "bob"], &with[..]].concat());
    assert_eq!(sent["state"], "final", "{sent}");
    // A block that the chain does not have is not trusted.
    let wrong = trust.split(':').next().unwrap().to_owned() + ":" + &"77".repeat(32);
    let ran = net.wallet(fresh.path(), &["balance", "--devnet", "--from", "alice", "--node", &url, "--trust", &wrong]);
    assert_eq!(ran.code, Some(9), "{}", ran.text);
    conflicts(net, &trust, &url);
}

/// A wallet that has verified another history is told, and pays nobody.
fn conflicts(net: &Net, trust: &str, url: &str) {
    let home = tempfile::tempdir().unwrap();
    let chain = net.processes.devnet().genesis().genesis().unwrap().chain.genesis_hash;
    let kept = Kept::open(&home.path().join("dynemix/wallets"), chain).unwrap();
    let height = trust.split(':').next().unwrap().parse().unwrap();
    let (slot, hash) = (height, [9; 32]);
    let (parent, system, parent_root, committee_next, headers) = ([1; 32], [2; 32], [3; 32], [4; 32], Vec::new());
    kept.keep_tip(&Verified { height, slot, hash, parent, system, parent_root, committee_next, headers }).unwrap();
    let send = ["send", "1", "--to", "bob", "--devnet", "--from", "alice", "--node", url];
    let ran = net.wallet(home.path(), &send);
    assert!(ran.code == Some(9) && ran.text.contains("committee"), "{:?} {}", ran.code, ran.text);
    let ran = net.wallet(home.path(), &[&send[..], &["--trust", trust]].concat());
    assert!(ran.code == Some(9) && ran.text.contains("both are certified"), "{:?} {}", ran.code, ran.text);

    // One that is higher, of no later slot: no chain has both. And one that the node does not come to: nothing is believed.
    for (slot, code, says) in [(1, 9, "both are certified"), (u64::MAX >> 1, 1, "until it has come as far")] {
        let home = tempfile::tempdir().unwrap();
        let kept = Kept::open(&home.path().join("dynemix/wallets"), chain).unwrap();
        let headers = Vec::new();
        let height = height + 1_000_000;
        kept.keep_tip(&Verified { height, slot, hash, parent, system, parent_root, committee_next, headers }).unwrap();
        let balance = ["balance", "--devnet", "--from", "alice", "--node", url, "--trust", trust];
        let ran = net.wallet(home.path(), &balance);
        assert!(ran.code == Some(code) && ran.text.contains(says), "{:?} {}", ran.code, ran.text);
    }
}
