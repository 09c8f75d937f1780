//! A lying API server in front of every verb of the wallet. Whatever it says: the user's money moves at most once and
//! only to whom the user named, nothing is called final that is not, every command ends in bounded time and memory with
//! an exit code that is documented, and none panics.

mod liar;

use dynemix::devnet::layout::user_secret;
use dynemix::wallet::client::{Client, ClientOptions};
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::chain::names::Names;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::TransactionKind;
use ed25519_dalek::SigningKey;
use liar::{Liar, Lie, Net, Reply, ask, error, result};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What each payment of a case is; recipients add them up.
const PAID: u64 = 3 * DYNE;
/// Exit codes that a lie may end a command with: done, failed for a reason, no answer, a lie, not settled.
const CODES: [i32; 5] = [0, 1, 6, 8, 9];
/// Who gets what the liar can redirect.
const ATTACKER: &str = "carol";
/// The name that users pay to, and whose it is.
const SHOP: &str = "shop";
const SHOPKEEPER: &str = "bob";

fn key(user: &str) -> String {
    hex::encode(SigningKey::from_bytes(&user_secret(user)).verifying_key().as_bytes())
}

fn units(net: &Net, user: &str) -> u64 {
    ask(&net.url(0), "account", &json!({ "key": key(user) }))["result"]["spendable_units"].as_u64().unwrap()
}

/// The system with the shop's name given to the attacker, at this height if one is named.
fn forged(net: &Net, honest: &Value, height: Option<u64>) -> Value {
    let bytes = hex::decode(honest["result"]["bytes"].as_str().unwrap()).unwrap();
    let mut system = System::decode(&bytes).unwrap();
    let attacker = ask(&net.url(0), "account", &json!({ "key": key(ATTACKER) }))["result"]["account"].as_u64().unwrap();
    let mut names = Names::default();
    assert!(names.register(SHOP.as_bytes(), attacker as u32));
    system.names = names;
    system.height = height.unwrap_or(system.height);
    let mut bytes = Vec::new();
    system.encode(&mut bytes);
    json!({ "height": system.height, "offset": 0, "total_bytes": bytes.len(), "bytes": hex::encode(bytes) })
}

fn passes(said: &dyn Fn() -> Value) -> Reply {
    Reply::Json(said())
}

/// Lies in one method; everything else is the honest node's.
fn in_method(name: &'static str, lie: impl Fn(&Value, &dyn Fn() -> Value) -> Reply + Send + Sync + 'static) -> Lie {
    Arc::new(move |method, params, said| if method == name { lie(params, said) } else { passes(said) })
}

fn changed(said: &dyn Fn() -> Value, field: &str, value: Value) -> Reply {
    let mut answer = said();
    answer["result"][field] = value;
    Reply::Json(answer)
}

/// So many bytes of the system from where they are asked for, however it was served.
fn piece(honest: &Value, params: &Value, length: usize) -> Reply {
    let bytes = hex::decode(honest["result"]["bytes"].as_str().unwrap_or_default()).unwrap();
    let (from, total) = (params["offset"].as_u64().unwrap_or(0), honest["result"]["total_bytes"].clone());
    let piece = &bytes[..length.min(bytes.len())];
    result(json!({ "height": 1, "offset": from, "total_bytes": total, "bytes": hex::encode(piece) }))
}

/// What a submit says when it is taken: the id that the cell has.
fn id_of(net: &Net, params: &Value) -> Value {
    let cell = hex::decode(params["cell"].as_str().unwrap()).unwrap();
    let cell: dynemix_engine::transaction::cell::Cell = bytemuck::pod_read_unaligned(&cell);
    let chain = net.processes.devnet().genesis().genesis().unwrap().chain;
    json!(hex::encode(cell.id(&chain.transaction_prefix)))
}

/// Names the shop as the attacker's, by a system of this height or its own.
fn redirects(net: &'static Net, height: Option<u64>) -> Lie {
    Arc::new(move |method, params, said| match method {
        "system" => result(forged(net, &said(), height)),
        "resolve" if params["name"] == SHOP => result(json!({ "account": 0, "key": key(ATTACKER) })),
        _ => passes(said),
    })
}

/// Keeps what is handed in to itself, and says of it what it likes.
fn swallows(net: &'static Net, state: &'static str, hands_in: bool) -> Lie {
    Arc::new(move |method, params, said| match method {
        "submit" if hands_in => {
            said();
            error(-32_001, "busy")
        }
        "submit" => result(id_of(net, params)),
        "transaction" => {
            let height = ask(&net.url(0), "status", &json!({}))["result"]["height"].clone();
            result(json!({ "state": state, "refusal": "busy", "received_ms": 1, "certified_ms": 2, "final_ms": 3,
                           "height": height, "slot": 9, "shard": 0 }))
        }
        _ => passes(said),
    })
}

/// Answers every question of a method as it was answered first.
fn repeats(methods: &'static [&'static str]) -> Lie {
    let first: Mutex<std::collections::HashMap<String, Value>> = Mutex::default();
    Arc::new(move |method, params, said| {
        if !methods.contains(&method) {
            return passes(said);
        }
        let mut first = first.lock().unwrap();
        Reply::Json(first.entry(format!("{method} {params}")).or_insert_with(said).clone())
    })
}

/// All lies, each by its name.
fn lies(net: &'static Net) -> Vec<(&'static str, Lie)> {
    let everywhere = |reply: fn() -> Reply| -> Lie { Arc::new(move |_, _, _| reply()) };
    let mut lies: Vec<(&'static str, Lie)> = vec![
        ("honest", Arc::new(|_, _, said: &dyn Fn() -> Value| passes(said))),
        ("system forged at height 0", redirects(net, Some(0))),
        ("system forged at its height", redirects(net, None)),
        ("system of the last height of all", in_method("system", |_, said| changed(said, "height", json!(u64::MAX)))),
        ("system of a height ahead", redirects(net, Some(1 << 40))),
        ("a system in one-byte pieces", in_method("system", |params, said| piece(&said(), params, 1))),
        (
            "sequence + 1",
            in_method("account", |_, said| {
                let sequence = said()["result"]["sequence"].as_u64().unwrap_or(0);
                changed(said, "sequence", json!(sequence + 1))
            }),
        ),
        ("slot years ahead", in_method("status", |_, said| changed(said, "slot", json!(30_000_000)))),
        (
            "proof of another account",
            in_method("proof", |_, _| Reply::Json(ask(&net.url(0), "proof", &json!({ "key": key(ATTACKER) })))),
        ),
        (
            "proof of height 2^64 - 1",
            in_method("proof", |_, said| {
                let mut answer = said();
                let mut proof = hex::decode(answer["result"]["proof"].as_str().unwrap()).unwrap();
                proof[5..13].fill(255);
                answer["result"]["proof"] = json!(hex::encode(proof));
                Reply::Json(answer)
            }),
        ),
        ("no such account", in_method("proof", |_, _| result(json!({ "height": 1, "proof": null })))),
        ("proofs of long ago", repeats(&["proof"])),
        ("systems of long ago", repeats(&["system"])),
        ("everything of long ago", repeats(&["proof", "system", "headers", "inclusion", "status"])),
        ("swallowed, said to be final", swallows(net, "final", false)),
        ("swallowed, said to wait", swallows(net, "waiting", false)),
        ("swallowed, said to be refused", swallows(net, "refused", false)),
        ("handed in, said to be busy", swallows(net, "refused", true)),
        ("busy", in_method("submit", |_, _| error(-32_001, "busy"))),
        (
            "another id",
            in_method("submit", |_, said| {
                said();
                result(json!("00".repeat(32)))
            }),
        ),
        (
            "handed in twice",
            in_method("submit", |_, said| {
                said();
                passes(said)
            }),
        ),
        ("inclusion of another", in_method("inclusion", |_, _| result(json!({ "proof": "00".repeat(700) })))),
        ("no inclusion", in_method("inclusion", |_, _| error(-32_002, "none is kept here"))),
        ("no new block ever", in_method("headers", |_, _| result(json!([])))),
        (
            "headers of another chain",
            in_method("headers", |_, said| {
                let mut answer = said();
                for header in answer["result"].as_array_mut().into_iter().flatten() {
                    let bytes = header["bytes"].as_str().unwrap().to_owned();
                    header["bytes"] = json!(format!("{}{}", &bytes[..40], "5".repeat(bytes.len() - 40)));
                }
                Reply::Json(answer)
            }),
        ),
        (
            "more headers than asked for",
            in_method("headers", |_, said| {
                let mut answer = said();
                if let Some(headers) = answer["result"].as_array_mut() {
                    headers.extend_from_within(..);
                    headers.resize(200, json!({ "bytes": "00" }));
                }
                Reply::Json(answer)
            }),
        ),
        ("garbage", everywhere(|| Reply::Bytes(b"<html>no</html>".to_vec(), 15))),
        ("cut off", everywhere(|| Reply::Bytes(b"{\"jsonrpc\":".to_vec(), 5_000))),
        (
            "wrong types",
            everywhere(|| result(json!({ "height": "x", "bytes": 7, "key": [], "proof": {}, "state": 1 }))),
        ),
        ("odd hexadecimal", everywhere(|| result(json!({ "height": 1, "bytes": "+f", "key": "+f", "proof": "é" })))),
        ("an empty answer", everywhere(|| Reply::Json(json!({})))),
        ("nested", everywhere(|| Reply::Bytes([b"{\"result\":".to_vec(), vec![b'['; 100_000]].concat(), 100_010))),
        ("a terminal's escapes", everywhere(|| error(-1, "\u{1b}[2J\u{1b}[31mfinal\u{7}"))),
        ("sent elsewhere", everywhere(|| Reply::Status("302 Found\r\nLocation: http://127.0.0.1:1/"))),
        ("server error", everywhere(|| Reply::Status("500 Internal Server Error"))),
    ];
    lies.push(("history of nonsense", in_method("history", |_, _| {
        let row = json!({ "height": "\u{1b}[2J", "kind": "\u{1b}[2J", "of": "éééééééééééééééééééé", "id": "ab\u{1b}éééééééééééé" });
        result(json!({ "changes": [row], "transactions": [row], "first_height": "\u{1b}" }))
    })));
    lies
}

/// Lies that cost time or memory.
fn heavy_lies() -> Vec<(&'static str, Lie)> {
    let everywhere = |reply: fn() -> Reply| -> Lie { Arc::new(move |_, _, _| reply()) };
    vec![
        ("a byte a second", everywhere(|| Reply::Drip)),
        (
            "a system of the longest, piece after piece",
            in_method("system", |params, _| {
                std::thread::sleep(Duration::from_secs(1));
                let zeros = "00".repeat(16 << 10);
                result(json!({ "height": 1, "offset": params["offset"], "total_bytes": 32 << 20, "bytes": zeros }))
            }),
        ),
        ("a terabyte", everywhere(|| Reply::Bytes(vec![b' '; 200 << 20], 1 << 40))),
        (
            "a million small things",
            everywhere(|| {
                let bytes = [&b"{\"result\":["[..], &b"[],".repeat(20 << 20), b"[]]}"].concat();
                let length = bytes.len() as u64;
                Reply::Bytes(bytes, length)
            }),
        ),
    ]
}

/// One user's place: what its wallet keeps, and what it has paid.
struct Lane<'n> {
    net: &'n Net,
    user: &'static str,
    home: tempfile::TempDir,
    paid: u64,
}

impl<'n> Lane<'n> {
    fn new(net: &'n Net, user: &'static str) -> Lane<'n> {
        Lane { net, user, home: tempfile::tempdir().unwrap(), paid: 0 }
    }

    fn run(&self, home: &Path, node: &str, verb: &[&str]) -> liar::Ran {
        let with = ["--devnet", "--node", node, "--from", self.user, "--expires", "4"];
        let ran = self.net.wallet(home, &[verb, &with[..]].concat());
        let code = ran.code.unwrap_or_else(|| panic!("{verb:?} did not end:\n{}", ran.text));
        assert!(CODES.contains(&code) && !ran.text.contains("panicked"), "{verb:?}, code {code}:\n{}", ran.text);
        assert!(!ran.text.contains('\u{1b}'), "{verb:?} lets a stranger move the cursor: {:?}", ran.text);
        assert!(ran.took < Duration::from_secs(70), "{verb:?} took {:?}:\n{}", ran.took, ran.text);
        assert!(ran.memory_kib < 400 << 10, "{verb:?} took {} KiB", ran.memory_kib);
        ran
    }

    /// Looks: whatever it says, it is so, or it is said that it is not known.
    fn look(&self, name: &str, liar: &Liar, verb: &[&str]) {
        // A wallet that has not seen the chain before is the easier prey.
        let fresh = tempfile::tempdir().unwrap();
        let ran = self.run(fresh.path(), &liar.url(), &[verb, &["--json", "-"]].concat());
        if ran.code == Some(0) && verb[0] == "balance" {
            let shown: Value = serde_json::from_str(&ran.out).unwrap();
            let proved = shown["proved"] == true;
            assert!(proved || shown["spendable_units"] == 0, "{name}: {shown}");
            if verb[1] == SHOP {
                assert_eq!(shown["key"], key(SHOPKEEPER), "{name}: {shown}");
            } else {
                assert!(!proved || shown["spendable_units"] == 1_000_000 * DYNE, "{name}: {shown}");
            }
        }
    }

    /// Pays the shop behind a liar, then finds out by an honest node what became of it.
    fn pay(&mut self, name: &str, liar: &Liar) {
        let before = units(self.net, self.user);
        let amount = (PAID / DYNE).to_string();
        let ran = self.run(self.home.path(), &liar.url(), &["send", &amount, "--to", SHOP]);
        let told = ran.code == Some(0);
        assert!(!told || ran.text.contains("final"), "{name}: {}", ran.text);
        // "final" in words only where the exit code says it as well; what a node says is called its word.
        let own: Vec<&str> = ran.text.lines().filter(|line| !line.starts_with("the node says")).collect();
        let says_final = own.iter().any(|line| line.starts_with("final ") || line.contains(": final at height"));
        assert_eq!(says_final, told, "{name}: {}", ran.text);
        let (honest, home) = (self.net.url(1), self.home.path());
        let settled = self.run(home, &honest, &["pending"]);
        let waits = self.run(home, &honest, &["pending"]);
        assert!(waits.text.contains("on this chain waits for its end"), "{name}: {}\n{}", settled.text, waits.text);
        let settled_final = settled.text.contains("final at height");
        let after = units(self.net, self.user);
        let paid = before - after;
        println!("{:9} {name}: code {:?}, {:.1} s, paid {}", self.user, ran.code, ran.took.as_secs_f64(), paid / DYNE);
        assert!(paid == 0 || paid == PAID, "{name}: {paid} units left {}'s account:\n{}", self.user, ran.text);
        assert_eq!(paid == PAID, told || settled_final, "{name}: {}\n{}", ran.text, settled.text);
        self.paid += paid;
    }
}

/// A network that lives as long as the process: liars in other threads look at it. Its nodes end with the guard.
struct Stage {
    net: &'static Net,
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Stage {
    fn new() -> Stage {
        let mut net = Net::up(4, true);
        let home = tempfile::tempdir().unwrap();
        let arguments = ["register", SHOP, "--devnet", "--from", SHOPKEEPER];
        let ran = net.wallet(home.path(), &arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.text);
        let alone = net.alone.take();
        Stage { net: Box::leak(Box::new(net)), _alone: alone }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pids = self.net.processes.devnet().pids.clone();
        for pid in pids {
            // The children of this very test, which is over.
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

fn every_verb(stage: &Stage, small: bool) {
    let net = stage.net;
    let (cases, at) = (lies(net), AtomicU64::new(0));
    let shop_before = units(net, SHOPKEEPER);
    let (attacker, attackers_key) = (units(net, ATTACKER), key(ATTACKER));
    let lanes = ["alice", "dave", "erin", "frank"];
    let work = |user: &'static str| {
        let mut lane = Lane::new(net, user);
        loop {
            let number = at.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((name, lie)) = cases.get(number) else { return lane.paid };
            let liar = Liar::new(net.url(0), lie.clone());
            lane.pay(name, &liar);
            lane.look(name, &liar, &["balance", &attackers_key]);
            if !small || number.is_multiple_of(5) || *name == "history of nonsense" {
                lane.look(name, &liar, &["history"]);
                lane.look(name, &liar, &["status", &"ab".repeat(32)]);
                lane.look(name, &liar, &["balance", SHOP]);
                lane.look(name, &liar, &["pending"]);
                lane.look(name, &liar, &["register", SHOP]);
                lane.look(name, &liar, &["unstake", "5"]);
            }
        }
    };
    let paid: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .into_iter()
            .map(|user| {
                scope.spawn({
                    let work = &work;
                    move || work(user)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // What was received takes effect three heights later.
    net.wait_height(0, net.height(0) + 4, 10);
    assert_eq!(units(net, ATTACKER), attacker, "money went to the attacker");
    assert_eq!(units(net, SHOPKEEPER), shop_before + paid, "the shop has what was paid, each payment once");
    assert!(paid > 0, "behind an honest node everything works");
}

#[test]
fn behind_a_liar_money_moves_once_to_whom_was_named_and_nothing_is_called_final_that_is_not() {
    every_verb(&Stage::new(), true);
}

#[test]
#[ignore = "minutes: every verb behind every lie, and lies that cost time or memory; docs/node.md"]
fn behind_every_lie_every_verb_ends() {
    let stage = Stage::new();
    every_verb(&stage, false);
    let lane = Lane::new(stage.net, "alice");
    for (name, lie) in heavy_lies() {
        let liar = Liar::new(stage.net.url(0), lie);
        for verb in [&["balance"][..], &["history"], &["send", "1", "--to", SHOP], &["status", &"ab".repeat(32)]] {
            lane.look(name, &liar, verb);
        }
    }
}

/// The attack of finding C1 (a name's key) and of H3 (two cells for one payment), each by the wallet as a library.
fn client(net: &Net, liar: &Liar, home: &Path) -> Client {
    let genesis = net.processes.devnet().genesis();
    let options = ClientOptions { nodes: vec![liar.url()], genesis: &genesis, wallets: home.to_owned(), trust: None };
    Client::new(options).unwrap()
}

/// What a wallet takes for the shop's key behind a server that forges the system of height 0.
fn key_behind_forged_system(stage: &Stage) -> Option<String> {
    let (liar, home) = (Liar::new(stage.net.url(0), redirects(stage.net, Some(0))), tempfile::tempdir().unwrap());
    client(stage.net, &liar, home.path()).key(SHOP).ok().map(hex::encode)
}

/// The sequences of the cells that a server is given which says sequence + 1, by a user whose next is 0.
fn sequence_behind_a_liar(stage: &Stage, user: &str) -> Vec<u64> {
    let cells: Arc<Mutex<Vec<u64>>> = Arc::default();
    let seen = cells.clone();
    let net = stage.net;
    let lie: Lie = Arc::new(move |method, params, said| match method {
        "account" => {
            let sequence = said()["result"]["sequence"].as_u64().unwrap();
            changed(said, "sequence", json!(sequence + 1))
        }
        "submit" => {
            let cell = hex::decode(params["cell"].as_str().unwrap()).unwrap();
            seen.lock().unwrap().push(u64::from_le_bytes(cell[72..80].try_into().unwrap()));
            result(id_of(net, params))
        }
        _ => passes(said),
    });
    let (liar, home) = (Liar::new(net.url(0), lie), tempfile::tempdir().unwrap());
    let signer = SigningKey::from_bytes(&user_secret(user));
    let recipient = *SigningKey::from_bytes(&user_secret(SHOPKEEPER)).verifying_key().as_bytes();
    let order =
        dynemix::wallet::order::Order { kind: TransactionKind::Transfer, recipient, amount: PAID, payload: Vec::new() };
    let options = dynemix::wallet::settling::PayOptions { expires_slots: 2 };
    let ended = client(net, &liar, home.path()).pay(&signer, &order, options, &mut |_| {});
    assert!(ended.is_err(), "nothing was handed in, so nothing is final");
    let mut cells = cells.lock().unwrap().clone();
    cells.dedup();
    cells
}

#[test]
fn a_payment_is_proved_in_blockchain_mode_too_and_again_later_by_its_id() {
    let net = Net::up(4, false);
    let (home, url) = (tempfile::tempdir().unwrap(), net.url(0));
    let with = ["--devnet", "--from", "alice", "--node", &url, "--json", "-"];
    let shown = |arguments: &[&str]| {
        let ran = net.wallet(home.path(), &[arguments, &with[..]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.text);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let sent = shown(&["send", "3", "--to", &key(SHOPKEEPER)]);
    assert_eq!((&sent["effect"], &sent["takes_effect_height"]), (&json!("stands"), &sent["height"]), "{sent}");
    assert_eq!(units(&net, SHOPKEEPER), 1_000_000 * DYNE + PAID);
    // The newest block that was verified is one file beside what was signed. Damaged, it is set aside by itself; where
    // the disk does not take it, that is said, and the payment goes on to its end.
    let genesis_hash = net.processes.devnet().genesis().genesis().unwrap().chain.genesis_hash;
    let chain = home.path().join("dynemix/wallets/chains").join(hex::encode(&genesis_hash[..8]));
    std::fs::write(chain.join("verified"), b"").unwrap();
    std::fs::create_dir(chain.join("verified.part")).unwrap();
    let ran = net.wallet(home.path(), &[&["send", "3", "--to", &key(SHOPKEEPER)], &with[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert!(ran.text.contains("could not be kept") && ran.text.contains("from genesis again"), "{}", ran.text);
    assert!(chain.join("verified.damaged").exists() && !chain.join("verified").exists());
    std::fs::remove_dir(chain.join("verified.part")).unwrap();
    let status = shown(&["status", sent["id"].as_str().unwrap()]);
    assert!(chain.join("verified").exists());
    assert_eq!((&status["state"], &status["proved"]), (&json!("final"), &json!(true)), "{status}");
    // A node that moves it to another height shows no proof, and it is not called proved.
    let lie = in_method("transaction", |_, said| changed(said, "height", json!(1)));
    let liar = Liar::new(net.url(0), lie).url();
    let with = ["status", sent["id"].as_str().unwrap(), "--devnet", "--node", &liar, "--json", "-"];
    let ran = net.wallet(home.path(), &with);
    assert!(ran.code == Some(8) && ran.text.contains("\"proved\": false"), "{:?} {}", ran.code, ran.text);
}

/// What only a node says is called its word, whatever it says, and an honest second node is enough.
#[test]
fn what_only_a_node_says_is_called_its_word() {
    let stage = Stage::new();
    let (net, user, home, honest) = (stage.net, "erin", tempfile::tempdir().unwrap(), stage.net.url(1));
    let look = |nodes: &[&str], verb: &[&str]| {
        let nodes: Vec<&str> = nodes.iter().flat_map(|node| ["--node", node]).collect();
        net.wallet(home.path(), &[verb, &["--devnet", "--from", user], &nodes].concat())
    };
    let json = |nodes: &[&str], verb: &[&str]| -> (Option<i32>, Value) {
        let ran = look(nodes, &[verb, &["--json", "-"]].concat());
        (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.text)))
    };
    let ran = look(&[&honest], &["send", "3", "--to", SHOP]);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let sent = json(&[&honest], &["sent"]).1["sent"][0]["id"].as_str().unwrap().to_owned();
    let liar = |lie: Lie| Liar::new(net.url(0), lie);

    // That it stands in its block is proved, and that it has no effect is not.
    let url = net.url(1);
    let void = liar(Arc::new(move |method, params, said| match method {
        "transaction" => {
            let mut answer = ask(&url, method, params);
            answer["result"]["state"] = json!("void");
            Reply::Json(answer)
        }
        _ => passes(said),
    }));
    let (code, shown) = json(&[&void.url()], &["status", &sent]);
    assert_eq!((code, &shown["proved"], &shown["included"]), (Some(0), &json!(false), &json!(true)), "{shown}");
    let ran = look(&[&void.url()], &["status", &sent]);
    assert!(ran.text.contains("the node says: final, but without effect"), "{}", ran.text);

    // An id that nobody has signed, and one that is paid, behind who says that it was refused.
    let made_up = liar(swallows(net, "final", false));
    let ran = look(&[&made_up.url()], &["status", &"ab".repeat(32)]);
    assert!(ran.code == Some(8) && ran.out.starts_with("the node says: final"), "{:?} {}", ran.code, ran.text);
    let refused = liar(swallows(net, "refused", false));
    let (code, shown) = json(&[&refused.url(), &honest], &["status", &sent]);
    assert_eq!((code, &shown["proved"]), (Some(0), &json!(true)), "{shown}");

    // An account that one says there is not.
    let none = liar(in_method("proof", |_, _| result(json!({ "height": 1, "root": "", "proof": null }))));
    let (_, shown) = json(&[&none.url(), &honest], &["balance"]);
    assert_eq!(shown["proved"], true, "{shown}");
    let ran = look(&[&none.url()], &["balance"]);
    assert!(ran.text.contains("as the node says"), "{}", ran.text);

    // A history of another shape, and of another chain; what is no node at all is not called a lie.
    for shape in [json!(0), json!("x"), json!([]), json!({}), json!([1, 2, { "a": null }])] {
        let odd = liar(in_method("history", move |_, _| result(shape.clone())));
        let ran = look(&[&odd.url()], &["history"]);
        assert!(ran.code == Some(9), "{:?} {}", ran.code, ran.text);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let page = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>");
        }
    });
    let ran = look(&[&page], &["balance"]);
    assert!(ran.code == Some(6) && ran.text.contains("no node's API (HTTP 502)"), "{:?} {}", ran.code, ran.text);
    let ran = look(&[&format!("{honest}no/such/place")], &["balance"]);
    assert!(ran.code == Some(6) && !ran.text.contains("--trust"), "{:?} {}", ran.code, ran.text);
    for wrong in ["https://127.0.0.1:1/", "", "::1", "ftp://x"] {
        let ran = look(&[wrong], &["balance"]);
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.text);
    }
}

/// A server shows the account as it was before the payment, by a proof that is young enough to be looked at.
#[test]
fn who_has_just_paid_signs_no_used_sequence_again() {
    let net = Net::up(4, false);
    let old: Arc<Mutex<Option<Value>>> = Arc::default();
    let lie = in_method("proof", move |_, said| Reply::Json(old.lock().unwrap().get_or_insert_with(said).clone()));
    let (home, honest, liar) = (tempfile::tempdir().unwrap(), net.url(0), Liar::new(net.url(0), lie).url());
    let send = |node: &str| {
        net.wallet(home.path(), &["send", "3", "--to", &key(SHOPKEEPER), "--devnet", "--from", "erin", "--node", node])
    };
    let before = units(&net, "erin");
    // The first is signed by the proof that the server shows ever after.
    let ran = send(&liar);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    let ran = send(&liar);
    assert!(ran.code == Some(1) && ran.text.contains("older heights"), "{:?} {}", ran.code, ran.text);
    assert!(!ran.text.contains("signed "), "{}", ran.text);
    let ran = send(&honest);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_eq!(units(&net, "erin"), before - 2 * PAID);
}

/// A server says that it is busy and keeps the cell; its user turns to another node; then the server hands the cell in.
#[test]
fn who_turns_to_another_node_pays_once() {
    let stage = Stage::new();
    let (net, user) = (stage.net, "erin");
    let kept: Arc<Mutex<Option<Value>>> = Arc::default();
    let keeps = kept.clone();
    let lie = in_method("submit", move |params, _| {
        *keeps.lock().unwrap() = Some(params.clone());
        error(-32_001, "busy")
    });
    let (liar, home, honest) = (Liar::new(net.url(0), lie), tempfile::tempdir().unwrap(), net.url(1));
    let send = |node: &str| {
        net.wallet(
            home.path(),
            &["send", "3", "--to", SHOP, "--devnet", "--from", user, "--expires", "30", "--node", node],
        )
    };
    let before = units(net, user);
    let ran = send(&liar.url());
    assert!(ran.code == Some(8) && ran.text.contains("the node says: busy"), "{:?} {}", ran.code, ran.text);
    // The other node is honest, and the wallet signs nothing all the same.
    let ran = send(&honest);
    assert!(ran.code == Some(8) && ran.text.contains("may still become final"), "{:?} {}", ran.code, ran.text);
    assert!(
        ran.text.contains(&format!("wallet pending --from {user} --node")),
        "what is told can be typed: {}",
        ran.text
    );
    let ran = net.wallet(home.path(), &["pending", "--forget", "--devnet", "--from", user, "--node", &honest]);
    assert_eq!(ran.code, Some(8), "{}", ran.text);
    // Another order is surely not paid: nothing was signed for it.
    let other = net.wallet(home.path(), &["send", "4", "--to", SHOP, "--devnet", "--from", user, "--node", &honest]);
    assert!(other.code == Some(1) && other.text.contains("nothing was signed for this order"), "{}", other.text);
    let cell = kept.lock().unwrap().clone().expect("it was handed in");
    ask(&honest, "submit", &cell);
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while units(net, user) == before {
        assert!(std::time::Instant::now() < end, "what was handed in does not become final");
        std::thread::sleep(Duration::from_millis(100));
    }
    // What has become of it is told, once: the same order is paid, and nothing is paid twice.
    let ran = send(&honest);
    assert!(ran.code == Some(0) && ran.text.contains("nothing new was signed"), "{:?} {}", ran.code, ran.text);
    assert!(ran.text.contains("paid: ") && ran.text.contains("is final at height"), "{}", ran.text);
    assert_eq!(units(net, user), before - PAID);
    let ran = send(&honest);
    assert_eq!(ran.code, Some(0), "{}", ran.text);
    assert_eq!(units(net, user), before - 2 * PAID);
}

#[test]
fn an_honest_second_node_is_enough_behind_a_liar_that_takes_everything() {
    let stage = Stage::new();
    let (net, user, honest) = (stage.net, "erin", stage.net.url(1));
    let liars = [
        swallows(net, "waiting", false),
        swallows(net, "final", false),
        swallows(net, "refused", false),
        repeats(&["proof", "system", "headers", "inclusion", "status"]),
    ];
    for (place, lie) in liars.into_iter().enumerate() {
        let (liar, home, before) = (Liar::new(net.url(0), lie), tempfile::tempdir().unwrap(), units(net, user));
        let nodes = ["--node", &liar.url(), "--node", &honest];
        let order = ["send", "3", "--to", SHOP, "--devnet", "--from", user, "--expires", "12"];
        let ran = net.wallet(home.path(), &[&order[..], &nodes].concat());
        assert_eq!(ran.code, Some(0), "liar {place}: {}", ran.text);
        assert_eq!(units(net, user), before - PAID, "liar {place}");
    }
}

#[test]
fn a_node_that_is_slow_to_show_blocks_keeps_no_command_longer_than_its_time() {
    let stage = Stage::new();
    let (net, user) = (stage.net, "frank");
    let lie: Lie = Arc::new(|method, _, said| match method {
        "submit" => error(-32_001, "busy"),
        "inclusion" => {
            std::thread::sleep(Duration::from_secs(3));
            error(-32_004, "not kept")
        }
        _ => passes(said),
    });
    let (liar, home) = (Liar::new(net.url(0), lie), tempfile::tempdir().unwrap());
    let run =
        |verb: &[&str]| net.wallet(home.path(), &[verb, &["--devnet", "--from", user, "--node", &liar.url()]].concat());
    let ran = run(&["send", "3", "--to", SHOP, "--expires", "30"]);
    assert!(ran.code == Some(8) && ran.text.contains("may still become final"), "{:?} {}", ran.code, ran.text);
    // Many blocks later each of them would be asked for.
    net.wait_height(0, net.height(0) + 34, 60);
    let begun = std::time::Instant::now();
    let ran = run(&["pending"]);
    assert!(ran.text.contains("has come into no block"), "{:?} {}", ran.code, ran.text);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_forged_system_names_nobody_and_a_servers_sequence_is_not_signed() {
    let stage = Stage::new();
    assert_eq!(key_behind_forged_system(&stage), None);
    assert_eq!(sequence_behind_a_liar(&stage, "frank"), [0]);
    planted_faults_are_found(&stage);
}

#[cfg(not(feature = "mutations"))]
fn planted_faults_are_found(_: &Stage) {}

/// With the old slips planted the same two attacks succeed, or they were none.
#[cfg(feature = "mutations")]
fn planted_faults_are_found(stage: &Stage) {
    use dynemix_engine::base::mutation::{Mutation, plant};
    plant(Some(Mutation::SystemUnchecked));
    assert_eq!(key_behind_forged_system(stage), Some(key(ATTACKER)));
    plant(Some(Mutation::SequenceBelieved));
    assert_eq!(sequence_behind_a_liar(stage, "frank"), [1]);
    plant(None);
}
