//! What the API of real nodes says, over real sockets: never more than is so, in the form that its description has. One
//! network at a time.

use bytemuck::Zeroable;
use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd, user_secret};
use dynemix::devnet::processes::Processes;
use dynemix::face::openrpc::openrpc;
use dynemix::peer::guest::{Guest, Heard};
use dynemix::setup::address::{DEVNET_PREFIX, address};
use dynemix::setup::clock::unix_ms;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const SLOT_MS: u64 = 1_000;
/// How long anything may take on a computer with other work.
const PATIENCE: Duration = Duration::from_secs(60);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Some nodes that mint together.
struct Network {
    processes: Processes,
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Network {
    fn up(nodes: u32, quilt: bool, settings: &[&str]) -> Network {
        Network::sharded(nodes, 1, quilt, settings)
    }

    fn sharded(nodes: u32, shards: u32, quilt: bool, settings: &[&str]) -> Network {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let directory = tempfile::tempdir().unwrap();
        let link = String::new();
        let shape = DevnetShape {
            nodes,
            shards,
            slot_ms: SLOT_MS,
            quilt,
            load_accounts: 0,
            link,
            liar: false,
            simd: any_simd(),
        };
        let devnet = Devnet::create(directory.path(), shape, unix_ms() + 2_500).unwrap();
        let mut processes = Processes::new(directory.path(), devnet).unwrap().with_program(Path::new(PROGRAM));
        (0..nodes).for_each(|node| processes.start(node, settings).unwrap());
        (0..nodes).for_each(|node| processes.wait_ready(node, PATIENCE).unwrap());
        let network = Network { processes, directory, _alone: alone };
        network.wait("blocks", || (network.result(0, "status", json!({}))["height"].as_u64() > Some(1)).then_some(()));
        network
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "{what} in {PATIENCE:?}: {}", self.processes.log_end(0));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn address(&self, node: u32) -> SocketAddr {
        self.processes.devnet().api_address(node)
    }

    fn chain(&self) -> Chain {
        self.processes.devnet().genesis().genesis().unwrap().chain
    }

    fn ask(&self, node: u32, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (_, _, body) = http(self.address(node), "POST / HTTP/1.1", &[], &request.to_string());
        serde_json::from_str(&body).unwrap()
    }

    fn result(&self, node: u32, method: &str, params: Value) -> Value {
        let answer = self.ask(node, method, params.clone());
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].clone()
    }

    fn slot(&self) -> u64 {
        self.result(0, "status", json!({}))["slot"].as_u64().unwrap()
    }

    fn account(&self, who: &str) -> Value {
        self.result(0, "account", json!([hex::encode(key(who))]))
    }

    /// A transaction of a user of devnets, with the account's next sequence.
    fn cell(&self, from: &str, change: impl FnOnce(&mut Cell)) -> Cell {
        let mut cell = Cell {
            sender: key(from),
            recipient: key("bob"),
            amount: 1_000_000,
            sequence: self.account(from)["sequence"].as_u64().unwrap(),
            expires_slot: self.slot() + 30,
            version: 1,
            kind: 1,
            outputs: 1,
            ..Cell::zeroed()
        };
        change(&mut cell);
        let signed = [&self.chain().transaction_prefix[..], cell.signed_part()].concat();
        cell.signature = SigningKey::from_bytes(&user_secret(from)).sign(&signed).to_bytes();
        cell
    }

    fn id(&self, cell: &Cell) -> String {
        hex::encode(cell.id(&self.chain().transaction_prefix))
    }

    fn submit(&self, node: u32, cell: &Cell, payload: &[u8]) -> String {
        let params = json!({ "cell": hex::encode(bytemuck::bytes_of(cell)), "payload": hex::encode(payload) });
        self.result(node, "submit", params).as_str().unwrap().to_owned()
    }

    fn shown(&self, node: u32, id: &str) -> Value {
        self.result(node, "transaction", json!([id]))
    }

    /// What becomes of a transaction in the end.
    fn outcome(&self, node: u32, id: &str) -> Value {
        let open = ["waiting", "certified", "used"];
        self.wait("an outcome", || {
            let shown = self.shown(node, id);
            (!open.contains(&shown["state"].as_str().unwrap())).then_some(shown)
        })
    }

    fn metric(&self, node: u32, name: &str) -> f64 {
        let (_, _, text) = http(self.address(node), "GET /metrics HTTP/1.1", &[], "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

fn key(who: &str) -> [u8; 32] {
    SigningKey::from_bytes(&user_secret(who)).verifying_key().to_bytes()
}

/// Sends a request with these further lines of its head; status, head in small letters, and body of the answer.
fn http(address: SocketAddr, first: &str, lines: &[&str], body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = if lines.iter().any(|line| line.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
    let further: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    write!(stream, "{first}\r\n{host}{further}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let head = read_head(&mut stream);
    let length: usize =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, String::from_utf8(body).unwrap())
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// A WebSocket, as a program speaks to it: texts of less than 64 KiB, masked with zeros.
struct Socket(TcpStream);

impl Socket {
    fn open(address: SocketAddr) -> Socket {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                       Sec-WebSocket-Version: 13\r\n\r\n";
        write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n{upgrade}").unwrap();
        assert!(read_head(&mut stream).starts_with("http/1.1 101"));
        Socket(stream)
    }

    fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&[0x81, 0xfe, length[0], length[1], 0, 0, 0, 0][..], text.as_bytes()].concat()).unwrap();
    }

    fn read(&mut self) -> Value {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let more = match head[1] & 127 {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mut bytes = vec![0; more];
            self.0.read_exact(&mut bytes).unwrap();
            let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let mut text = vec![0; if more == 0 { usize::from(head[1] & 127) } else { length }];
            self.0.read_exact(&mut text).unwrap();
            if head[0] & 15 == 1 {
                return serde_json::from_slice(&text).unwrap();
            }
        }
    }

    /// The next message of which this holds.
    fn read_until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.read();
            if wanted(&message) {
                return message;
            }
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string());
        self.read_until(|message| message["id"] == 7)
    }
}

#[test]
fn of_two_with_one_sequence_through_two_nodes_one_is_final_and_both_are_told_so() {
    let network = Network::up(4, true, &[]);
    let final_before: f64 = (0..2).map(|node| network.metric(node, "dynemix_tx_own_final_total")).sum();
    let all_before = network.metric(0, "dynemix_tx_final_total");
    for (round, who) in ["frank", "erin", "dave"].into_iter().enumerate() {
        let before = ["alice", "bob"].map(|who| network.account(who)["spendable_units"].as_u64().unwrap());
        let cells = [("alice", 1_000_000), ("bob", 2_000_000)]
            .map(|(to, amount)| network.cell(who, |cell| (cell.recipient, cell.amount) = (key(to), amount)));
        let mut sockets = [0, 1].map(|node| Socket::open(network.address(node)));
        let ids = [0, 1].map(|node| network.submit(node as u32, &cells[node], &[]));
        for (socket, id) in sockets.iter_mut().zip(&ids) {
            assert!(socket.ask("subscribe", json!(["transaction", id]))["result"].is_u64());
        }
        let outcomes = [0, 1].map(|node| network.outcome(node as u32, &ids[node]));
        let states = outcomes.each_ref().map(|shown| shown["state"].as_str().unwrap());
        assert!(states == ["final", "replaced"] || states == ["replaced", "final"], "{who}: {outcomes:?}");
        let paid = states.iter().position(|state| *state == "final").unwrap();
        assert_eq!(outcomes[1 - paid]["replaced_by"], ids[paid].as_str(), "it says what stands there");
        assert_eq!(outcomes[1 - paid]["height"], outcomes[paid]["height"]);
        // Whoever has subscribed is told the same, and nothing else on the way.
        for (socket, state) in sockets.iter_mut().zip(states) {
            let over = |news: &Value| {
                !["waiting", "certified"]
                    .contains(&news["params"]["transaction"]["state"].as_str().unwrap_or("waiting"))
            };
            assert_eq!(socket.read_until(over)["params"]["transaction"]["state"], state);
        }
        // As the block proves, and as accounts show once it has taken effect.
        let proof = |id: &String| network.ask(0, "inclusion", json!({ "height": outcomes[paid]["height"], "id": id }));
        assert!(proof(&ids[paid])["result"].is_object() && proof(&ids[1 - paid])["error"]["code"] == -32_002);
        network.wait("the payment's effect", || {
            let after = ["alice", "bob"].map(|who| network.account(who)["spendable_units"].as_u64().unwrap());
            let got = [after[0] - before[0], after[1] - before[1]];
            assert_eq!(got[1 - paid], 0, "only what is final is paid");
            (got[paid] == cells[paid].amount).then_some(())
        });
        let own: f64 = (0..2).map(|node| network.metric(node, "dynemix_tx_own_final_total")).sum();
        assert_eq!(own - final_before, (round + 1) as f64, "only what stands in a block counts as final");
    }
    // Only payments are counted as such, records of the chain by themselves.
    assert_eq!(network.metric(0, "dynemix_tx_final_total") - all_before, 3.0);
    assert!(network.metric(0, "dynemix_records_final_total") > 3.0);
    let blocks = network.result(0, "blocks", json!([0, 100]));
    let sum = |name: &str| {
        let shards = blocks.as_array().unwrap().iter().flat_map(|block| block["shards"].as_array().unwrap());
        shards.map(|shard| shard[name].as_u64().unwrap()).sum::<u64>()
    };
    assert!(sum("transactions") <= 3 && sum("items") > sum("transactions"), "{blocks}");
}

#[test]
fn what_another_shard_has_taken_is_final_once_a_minter_of_it_has_shown_it_and_the_node_keeps_the_proof() {
    let network = Network::sharded(8, 2, true, &[]);
    let users = ["frank", "erin", "dave", "carol"];
    // Each user by each node: of half of the nodes it is another shard's.
    for round in 0..2 {
        let by_node = |node: u32| {
            let who = users[(node as usize + round) % users.len()];
            (node, network.cell(who, |cell| cell.recipient = key("alice")))
        };
        let of_half = |first: u32| {
            let handed_in: Vec<_> =
                (first..first + 4).map(by_node).map(|(node, cell)| (node, network.submit(node, &cell, &[]))).collect();
            for (node, id) in handed_in {
                let shown = network.outcome(node, &id);
                assert_eq!(shown["state"], "final", "node {node}: {shown}");
                let proof = network.result(node, "inclusion", json!({ "height": shown["height"], "id": id }));
                assert_eq!(proof["shard"], shown["shard"], "node {node} keeps what was shown to it");
            }
        };
        [0, 4].into_iter().for_each(of_half);
    }
    // Of two with one sequence one is final, whichever shard they are of.
    for (node, who) in [(0, "frank"), (2, "erin"), (4, "dave"), (6, "carol")] {
        let cells = ["alice", "bob"].map(|to| network.cell(who, |cell| cell.recipient = key(to)));
        let ids = [0, 1].map(|place| network.submit(node + place as u32, &cells[place], &[]));
        let outcomes = [0, 1].map(|place| network.outcome(node + place as u32, &ids[place]));
        let states = outcomes.each_ref().map(|shown| shown["state"].as_str().unwrap());
        assert!(states == ["final", "replaced"] || states == ["replaced", "final"], "{who}: {outcomes:?}");
    }
    let sum = |name: &str| (0..8).map(|node| network.metric(node, name)).sum::<f64>();
    assert_eq!((sum("dynemix_tx_own_final_total"), sum("dynemix_tx_own_unproved_total")), (16.0 + 4.0, 0.0));
}

#[test]
fn guests_hear_that_theirs_is_final_when_it_is_shown_and_that_another_is_in_its_place() {
    let network = Network::sharded(8, 2, true, &[]);
    let genesis = network.chain().genesis_hash;
    let nodes = (0..2).map(|node| network.processes.devnet().target(node)).collect();
    let (tell, heard) = std::sync::mpsc::channel();
    let guest = Guest::call(genesis, nodes, move |heard| drop(tell.send(heard))).unwrap();
    let mut connections = Vec::new();
    while connections.len() < 2 {
        if let Heard::Opened(peer, _) = heard.recv_timeout(PATIENCE).unwrap() {
            connections.push(peer);
        }
    }
    for (round, who) in ["frank", "erin", "dave", "carol"].into_iter().enumerate() {
        let cells = ["alice", "bob"].map(|to| network.cell(who, |cell| cell.recipient = key(to)));
        guest.hand_in((0..2).map(|place| (connections[place], round as u64, &cells[place..=place])));
        let mut codes: Vec<u8> = Vec::new();
        while codes.len() < 2 {
            if let Heard::Outcome(_, outcome, _) = heard.recv_timeout(PATIENCE).unwrap() {
                assert_eq!(outcome.ordinals, [round as u64]);
                codes.push(outcome.refusal);
            }
        }
        codes.sort_unstable();
        assert_eq!(codes, [0, Refusal::Replaced as u8], "{who}: one is final, and the other one's sender hears so");
    }
}

#[test]
fn of_two_who_register_one_name_one_is_told_that_it_is_void_and_what_is_back() {
    for quilt in [true, false] {
        let network = Network::up(1, quilt, &[]);
        let reserve = network.chain().parameters.consensus.register_reserve;
        let name = b"contested";

        let outcomes = network.wait("both in one block", || {
            let register = |who: &str| {
                network.cell(who, |cell| {
                    (cell.kind, cell.amount, cell.outputs, cell.recipient) = (3, reserve, 0, [0; 32]);
                    cell.payload_hash = payload_hash(name);
                })
            };
            let ids = ["frank", "erin"].map(|who| network.submit(0, &register(who), name));
            let outcomes = ids.map(|id| network.outcome(0, &id));
            (outcomes[0]["height"] == outcomes[1]["height"]).then_some(outcomes)
        });
        let ids = outcomes.each_ref().map(|shown| shown["id"].as_str().unwrap());
        let void = network.wait("one to be void", || {
            ids.iter().map(|id| network.shown(0, id)).find(|shown| shown["state"] == "void")
        });
        assert_eq!((&void["void"], &void["refunded_units"]), (&json!("name_taken"), &json!(reserve)));
        let other = ids.iter().find(|id| void["id"] != **id).unwrap();
        assert_eq!(network.shown(0, other)["state"], "final");
    }
}

#[test]
fn what_is_handed_in_is_known_at_once_and_nobodys_broken_copy_speaks_for_it() {
    let network = Network::up(1, true, &[]);
    let before = unix_ms();
    let cell = network.cell("frank", |_| {});
    let broken = Cell { signature: [1; 64], ..cell };
    let id = network.submit(0, &broken, &[]);
    network.wait("the broken copy's refusal", || (network.shown(0, &id)["refusal"] == "bad_signature").then_some(()));
    for _ in 0..5 {
        assert_eq!(network.submit(0, &cell, &[]), id);
        let shown = network.shown(0, &id);
        assert!(["waiting", "certified", "final"].contains(&shown["state"].as_str().unwrap()), "{shown}");
        network.submit(0, &broken, &[]);
    }
    let shown = network.outcome(0, &id);
    assert_eq!(shown["state"], "final");
    let at = shown["start_unix_ms"].as_u64().unwrap() + shown["received_ms"].as_u64().unwrap();
    assert!((before - 2_000..=unix_ms() + 2_000).contains(&at), "{at} is Unix time");
    // A key that is no point, and one of small order.
    let no_point = (2..=255).map(|first| [first; 32]).find(|key| ed25519_dalek::VerifyingKey::from_bytes(key).is_err());
    let small = {
        let mut one = [0; 32];
        one[0] = 1;
        one
    };
    for recipient in [no_point.unwrap(), small] {
        let id = network.submit(0, &network.cell("erin", |cell| cell.recipient = recipient), &[]);
        assert_eq!(network.outcome(0, &id)["refusal"], "recipient_invalid");
    }
    // What nobody has handed in.
    let none = network.ask(0, "transaction", json!(["11".repeat(32)]));
    assert_eq!((&none["error"]["code"], &none["error"]["data"]["error"]), (&json!(-32_002), &json!("not_found")));
    let form = network.ask(0, "submit", json!([hex::encode(bytemuck::bytes_of(&Cell::zeroed()))]));
    assert_eq!(form["error"]["data"]["refusal"], "unknown_version", "{form}");
}

#[test]
fn subscriptions_say_what_they_are_to_and_end_when_they_are_told_to() {
    let network = Network::up(1, true, &[]);
    let mut socket = Socket::open(network.address(0));
    for (params, code) in [
        (json!({ "topic": "blocks", "more": 1 }), -32_602),
        (json!({ "topic": "everything" }), -32_602),
        (json!({}), -32_602),
        (json!({ "topic": "transaction" }), -32_602),
        (json!(["transaction", "xx"]), -32_602),
    ] {
        assert_eq!(socket.ask("subscribe", params.clone())["error"]["code"], code, "{params}");
    }
    let cell = network.cell("frank", |_| {});
    let id = network.id(&cell);
    let number = socket.ask("subscribe", json!(["transaction", id]))["result"].clone();
    // Nobody has handed it in: that is told, once.
    let news = socket.read_until(|message| message["method"] == "news");
    assert_eq!(news["params"], json!({ "subscription": number, "transaction": null }));
    network.submit(0, &cell, &[]);
    let news = socket.read_until(|message| message["params"]["transaction"]["state"] == "final");
    assert_eq!((&news["params"]["transaction"]["id"], &news["params"]["subscription"]), (&json!(id), &number));
    let blocks = socket.ask("subscribe", json!(["blocks"]))["result"].clone();
    socket.read_until(|message| message["params"]["block"]["height"].is_u64());
    assert_eq!(socket.ask("unsubscribe", json!([blocks]))["result"], true);
    assert_eq!(socket.ask("unsubscribe", json!([blocks]))["error"]["code"], -32_002);
    let height = network.result(0, "status", json!({}))["height"].as_u64().unwrap();
    network
        .wait("two blocks", || (network.result(0, "status", json!({}))["height"].as_u64()? > height + 1).then_some(()));
    assert_eq!(socket.ask("status", json!({}))["id"], 7, "no news come any more");
    for (id, refused) in [("{}", true), ("[1]", true), ("true", true), ("null", false), ("\"a\"", false)] {
        socket.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscribe","params":["blocks"]}}"#));
        let answer = socket.read_until(|message| message.get("method").is_none());
        assert_eq!(answer["error"]["code"] == -32_600, refused, "{id}: {answer}");
    }
    // Only by WebSocket.
    let posted = network.ask(0, "subscribe", json!(["blocks"]));
    assert!(posted["error"]["message"].as_str().unwrap().contains("WebSocket"), "{posted}");
}

#[test]
fn web_pages_ask_only_where_the_operator_allows_them_and_by_no_name_of_their_own() {
    let network = Network::up(1, true, &["api.origins=https://wallet.example"]);
    let address = network.address(0);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "status" }).to_string();
    let upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ];
    let questions: [(&str, &[&str], &str); 7] = [
        ("POST / HTTP/1.1", &[], &body),
        ("GET / HTTP/1.1", &upgrade, ""),
        ("GET / HTTP/1.1", &[], ""),
        ("GET /health HTTP/1.1", &[], ""),
        ("GET /ready HTTP/1.1", &[], ""),
        ("GET /metrics HTTP/1.1", &[], ""),
        ("OPTIONS / HTTP/1.1", &[], ""),
    ];
    for (first, lines, body) in questions {
        let status = |more: &[&str]| http(address, first, &[lines, more].concat(), body).0;
        for foreign in ["Host: evil.example", "Host: evil.example:8645", "Origin: http://evil.example", "Origin: null"]
        {
            assert_eq!(status(&[foreign]), 403, "{first} with {foreign}");
        }
        assert_eq!(status(&["Origin: https://wallet.example", "Host: evil.example"]), 403);
        let (code, head, _) = http(address, first, &[lines, &["Origin: https://wallet.example"]].concat(), body);
        assert!([101, 200, 204].contains(&code), "{first}: {code}");
        assert!(head.contains("access-control-allow-origin: https://wallet.example\r\n"), "{head}");
        let (code, head, _) = http(address, first, lines, body);
        assert!([101, 200, 204].contains(&code) && !head.contains("access-control"), "{first}: {head}");
    }
    let asked = [
        "Origin: https://wallet.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    ];
    let (code, head, _) = http(address, "OPTIONS / HTTP/1.1", &asked, "");
    assert!(code == 204 && head.contains("access-control-allow-headers: content-type"), "{head}");
    let (code, _, text) = http(address, "GET / HTTP/1.1", &[], "");
    assert!(code == 200 && text.contains("Dynemix") && text.contains("docs/"), "{text}");
}

/// The schema of a method's result, with what it refers to.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let whole = json!({ "components": document["components"], "allOf": [schema] });
    jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&whole).unwrap()
}

#[test]
fn real_answers_are_of_the_form_that_the_description_has_and_bounds_are_said() {
    let network = Network::up(1, false, &[]);
    let described = network.result(0, "rpc.discover", json!({}));
    assert_eq!(described, openrpc());
    let name = |who: &str| hex::encode(key(who));
    let cell = network.cell("frank", |_| {});
    let id = network.submit(0, &cell, &[]);
    let height = network.outcome(0, &id)["height"].clone();
    network.wait("the log", || {
        let block = network.ask(0, "block", json!([height]));
        (block["result"]["transactions"][0]["id"] == id.as_str()).then_some(())
    });
    let cell = network.cell("frank", |_| {});
    let minters = network.result(0, "minters", json!({}));
    let minter = minters["minters"][0].clone();
    let questions = [
        ("status", json!([3])),
        ("genesis", json!([])),
        ("account", json!([name("frank")])),
        ("proof", json!([name("frank")])),
        ("proof", json!(["11".repeat(32)])),
        ("resolve", json!([minter["name"]])),
        ("search", json!([height.to_string()])),
        ("search", json!([id])),
        ("search", json!([name("frank")])),
        ("search", json!([minter["name"]])),
        ("search", json!(["nobody"])),
        ("system", json!([])),
        ("system", json!([0])),
        ("supply", json!([])),
        ("minters", json!([])),
        ("headers", json!([1, 2])),
        ("inclusion", json!({ "height": height, "id": id })),
        ("blocks", json!([0, 5])),
        ("block", json!([height])),
        ("submit", json!([hex::encode(bytemuck::bytes_of(&cell))])),
        ("transaction", json!([id])),
        ("history", json!([name("frank"), 5])),
        ("rpc.discover", json!([])),
    ];
    let methods = described["methods"].as_array().unwrap();
    for method in methods {
        let name = method["name"].as_str().unwrap();
        let asked = questions.iter().any(|question| question.0 == name);
        assert!(asked || name.ends_with("subscribe"), "{name} is tried");
    }
    for (name, params) in &questions {
        let method = methods.iter().find(|method| method["name"] == *name).unwrap();
        let answer = network.result(0, name, params.clone());
        let validator = validator(&described, &method["result"]["schema"]);
        let wrong: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name} {params}: {wrong:?} in {answer}");
    }
    assert!(
        !validator(&described, &methods[2]["result"]["schema"]).is_valid(&json!({ "account": "x" })),
        "it can fail"
    );
    // What they say.
    let account = network.account("frank");
    assert_eq!(account["key"], name("frank"));
    let of = |text: &str| network.result(0, "search", json!([text]));
    assert_eq!(of(&height.to_string())[0]["what"], "block");
    assert_eq!((&of(&id)[0]["what"], &of(&id)[0]["height"]), (&json!("transaction"), &height));
    assert_eq!(of(&name("frank"))[0]["account"], account["account"]);
    assert_eq!(of(minter["name"].as_str().unwrap())[0]["account"], minter["account"]);
    let supply = network.result(0, "supply", json!([]));
    let parts = ["spendable", "staked", "unstaking", "reserved", "immature", "fees", "slashed"];
    let audit = network.processes.audit(0).unwrap();
    assert!(audit.conserved && supply["genesis_units"] == audit.genesis, "{supply}");
    let sum: u64 = parts.iter().map(|part| supply[format!("{part}_units")].as_u64().unwrap()).sum();
    assert_eq!(supply["total_units"], sum);
    assert_eq!(
        supply["total_units"].as_u64(),
        supply["genesis_units"].as_u64().zip(supply["issued_units"].as_u64()).map(|(a, b)| a + b)
    );
    let history = network.result(0, "history", json!([name("frank"), 5]));
    assert_eq!(
        (&history["changes"][0]["kind"], &history["transactions"][0]["kind"]),
        (&json!("payment"), &json!("payment"))
    );
    let block = network.result(0, "block", json!([height]));
    assert_eq!(block["transactions"][0]["kind"], "payment");
    // Bounds are said, in sentences.
    for (method, params, code) in [
        ("headers", json!([0, 1]), -32_602),
        ("headers", json!([1, 1_000_000_000]), -32_001),
        ("blocks", json!([1, 1_000_000_000]), -32_001),
        ("history", json!([name("frank"), 1_000_000_000]), -32_001),
        ("status", json!([1_000_000_000]), -32_001),
        ("minters", json!([0, 1_000_000_000]), -32_001),
        ("block", json!([1_000_000_000]), -32_002),
        ("account", json!([name("frank").replacen('0', "+", 1)]), -32_602),
        ("account", json!([name("frank").to_uppercase()]), -32_602),
        ("account", json!(["11".repeat(32)]), -32_002),
    ] {
        let answer = network.ask(0, method, params.clone());
        let what = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(answer["error"]["code"] == code && what.split(' ').count() > 3, "{method} {params}: {answer}");
        assert!(answer["error"]["data"]["error"].is_string());
    }
}

#[test]
fn an_account_is_asked_for_by_its_address_or_key_and_a_verb_asks_what_the_api_answers() {
    let network = Network::up(1, true, &[]);
    let (key, mine) = (hex::encode(key("alice")), address(DEVNET_PREFIX, &key("alice")));
    let by_key = network.result(0, "account", json!([key]));
    assert_eq!((by_key["address"].as_str(), by_key["key"].as_str()), (Some(&*mine), Some(&*key)));
    let by_address = network.result(0, "account", json!([mine]));
    assert_eq!(by_address["account"], by_key["account"]);
    assert!(network.result(0, "proof", json!({ "key": mine }))["proof"].is_string());
    assert!(network.result(0, "history", json!({ "key": mine })).is_object());
    let found = network.result(0, "search", json!([mine]));
    assert_eq!((found[0]["what"].as_str(), found[0]["address"].as_str()), (Some("account"), Some(&*mine)));
    assert!(network.result(0, "minters", json!({}))["minters"][0]["address"].as_str().unwrap().starts_with("dyndev1"));

    // Another chain's is refused by name, a slip of the finger is seen, and neither is "no such account".
    let foreign = address("dyn", &self::key("alice"));
    let slip = format!("{}{}", &mine[..mine.len() - 1], if mine.ends_with('q') { 'p' } else { 'q' });
    for (text, why) in [(foreign, "another chain"), (slip, "checksum does not fit")] {
        for (method, parameter) in [("account", "key"), ("proof", "key"), ("history", "key"), ("search", "text")] {
            let error = network.ask(0, method, json!({ parameter: text }))["error"].clone();
            assert_eq!(error["code"], -32_602, "{method}: {error}");
            assert!(error["message"].as_str().unwrap().contains(why), "{method}: {error}");
        }
    }

    let ask = |arguments: &[&str]| {
        let node = format!("http://{}/", network.address(0));
        let mut command = std::process::Command::new(PROGRAM);
        let ended = command.args(["node", "ask"]).args(arguments).env("DYNEMIX_NODE", node).output().unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        (ended.status.code().unwrap(), said)
    };
    let (code, newest) = ask(&["block"]);
    let newest: Value = serde_json::from_str(&newest).unwrap();
    assert!(code == 0 && newest["height"].as_u64() > Some(0), "{newest}");
    let (_, first) = ask(&["block", "height=1"]);
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["height"], 1);
    let (_, account) = ask(&["account", &format!("key={mine}")]);
    assert_eq!(serde_json::from_str::<Value>(&account).unwrap()["key"], *key);
    let (_, methods) = ask(&[]);
    assert!(methods.contains("supply") && methods.lines().all(|line| line.chars().count() <= 80), "{methods}");
    for (arguments, code, why) in [
        (&["blok"][..], 2, "there is no method 'blok'"),
        (&["block", "12"], 2, "write NAME=VALUE"),
        (&["block", "height=1", "height=2"], 2, "given twice"),
        (&["block", "hight=1"], 1, "no parameter 'hight'"),
        (&["subscribe", "topic=blocks"], 2, "WebSocket"),
        (&["block", "--node", "http://127.0.0.1:1/"], 6, "no node answers"),
    ] {
        let (ended, said) = ask(arguments);
        assert!(ended == code && said.contains(why), "{arguments:?}: {ended}, {said}");
    }
    // A store that is held says where to look instead.
    let store = network.directory.path().join("node00/data");
    let mut command = std::process::Command::new(PROGRAM);
    let ended = command.args(["block", "show", "latest", "--store"]).arg(store).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(5) && said.contains("dynemix node ask"), "{said}");
}

#[test]
fn a_node_that_is_back_is_as_well_as_its_chain_and_not_as_old() {
    let mut network = Network::up(1, true, &[]);
    let slots = |network: &Network| network.slot();
    while slots(&network) < 14 {
        std::thread::sleep(Duration::from_millis(100));
    }
    network.processes.kill(0);
    network.processes.wait(0, PATIENCE);
    network.processes.start(0, &[]).unwrap();
    let (end, mut answers) = (Instant::now() + Duration::from_secs(4), 0);
    while Instant::now() < end {
        // It may not listen yet.
        let Ok(mut stream) = TcpStream::connect(network.address(0)) else { continue };
        write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            answers += 1;
        }
    }
    assert!(answers > 3, "{answers} answers");
}
