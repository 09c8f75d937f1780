//! Attacks on the API of a real node over real sockets: it answers who is honest, holds no more than its budget, and
//! the chain goes on. One at a time.

use bytemuck::Zeroable;
use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd, user_secret};
use dynemix::devnet::processes::Processes;
use dynemix::setup::clock::unix_ms;
use dynemix::setup::genesis::AccountEntry;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::transaction::cell::Cell;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
const SLOT_MS: u64 = 1_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// One node that mints alone.
struct Alone {
    processes: Processes,
    _directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Alone {
    /// With so many further accounts in its genesis file.
    fn up(accounts: u32, settings: &[&str]) -> Alone {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let directory = tempfile::tempdir().unwrap();
        let link = String::new();
        let shape = DevnetShape {
            nodes: 1,
            shards: 1,
            slot_ms: SLOT_MS,
            quilt: true,
            load_accounts: 0,
            link,
            liar: false,
            simd: any_simd(),
        };
        let devnet = Devnet::create(directory.path(), shape, unix_ms() + 1_500).unwrap();
        let mut genesis = devnet.genesis();
        genesis.accounts.extend((0..accounts).map(|number| {
            let mut secret = [9; 32];
            secret[..4].copy_from_slice(&number.to_le_bytes());
            let key = hex::encode(SigningKey::from_bytes(&secret).verifying_key().as_bytes());
            AccountEntry { key, balance: 1_000_000 }
        }));
        fs::write(directory.path().join("genesis.toml"), genesis.text()).unwrap();
        let mut processes = Processes::new(directory.path(), devnet).unwrap().with_program(Path::new(PROGRAM));
        processes.start(0, settings).unwrap();
        processes.wait_ready(0, Duration::from_secs(60)).unwrap();
        let alone = Alone { processes, _directory: directory, _alone: alone };
        let end = Instant::now() + Duration::from_secs(30);
        while alone.height() < 2 {
            assert!(Instant::now() < end, "{}", alone.processes.log_end(0));
            std::thread::sleep(Duration::from_millis(50));
        }
        alone
    }

    fn height(&self) -> u64 {
        self.processes.status(0, 0).map_or(0, |status| status.height)
    }

    fn rss_bytes(&self) -> u64 {
        self.processes.status(0, 0).unwrap().rss_bytes
    }

    fn address(&self) -> SocketAddr {
        self.processes.devnet().api_address(0)
    }

    fn chain(&self) -> Chain {
        self.processes.devnet().genesis().genesis().unwrap().chain
    }

    /// Slots in which nothing became final since a height.
    fn lost_since(&self, height: u64) -> u64 {
        let blocks = self.processes.status(0, 200).unwrap().blocks;
        let slots: Vec<u64> =
            blocks.iter().filter(|block| block.height >= height).map(|block| block.attempt / 2).collect();
        slots.windows(2).map(|pair| pair[1] - pair[0] - 1).sum()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn post(body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// An answer's status and body; none when the connection ends before.
fn read_answer(stream: &mut TcpStream) -> Option<(u16, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.split("content-length: ").nth(1).map_or("0", |rest| rest.split("\r\n").next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((status, body))
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<(u16, Vec<u8>)> {
    stream.write_all(request).ok()?;
    read_answer(stream)
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn call(stream: &mut TcpStream, method: &str, params: Value) -> Value {
    let (_, body) = ask(stream, &post(&request(method, params).to_string())).expect("it is answered");
    serde_json::from_slice(&body).unwrap()
}

/// How long `/health` takes on a connection of its own.
fn health(address: SocketAddr) -> Duration {
    let begun = Instant::now();
    let (status, _) = ask(&mut connect(address), &get("/health")).expect("health is answered");
    assert_eq!(status, 200);
    begun.elapsed()
}

fn pay(chain: &Chain, sequence: u64, expires_slot: u64) -> Cell {
    let secret = SigningKey::from_bytes(&user_secret("frank"));
    let mut cell = Cell {
        sender: secret.verifying_key().to_bytes(),
        recipient: SigningKey::from_bytes(&user_secret("bob")).verifying_key().to_bytes(),
        amount: 1_000_000,
        sequence,
        expires_slot,
        version: 1,
        kind: 1,
        outputs: 1,
        ..Cell::zeroed()
    };
    cell.signature = secret.sign(&[&chain.transaction_prefix[..], cell.signed_part()].concat()).to_bytes();
    cell
}

fn submit(cell: &Cell) -> Value {
    json!({ "cell": hex::encode(bytemuck::bytes_of(cell)) })
}

#[test]
fn five_hundred_silent_connections_keep_nobody_from_health_and_are_closed() {
    let node = Alone::up(0, &["api.connections_max=500"]);
    let address = node.address();
    // Half a head, a whole one without its body, and nothing at all.
    let begun = Instant::now();
    let mut silent: Vec<TcpStream> = Vec::new();
    for number in 0..510 {
        let mut stream = connect(address);
        match number % 3 {
            0 => stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n").unwrap(),
            1 => stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n{").unwrap(),
            _ => {}
        }
        silent.push(stream);
    }
    assert!(health(address) < Duration::from_secs(2));
    assert!(call(&mut connect(address), "status", json!({}))["result"]["height"].is_u64(), "and so are questions");
    let (status, _) = ask(&mut connect(address), &get("/metrics")).unwrap();
    assert_eq!(status, 200);
    // Their time is over: heads after ten seconds, bodies after twenty.
    for stream in &mut silent {
        assert!(read_answer(stream).is_none(), "nobody has asked anything");
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    // One that sends a byte of its head now and then has no more time than others.
    let mut trickle = connect(address);
    let begun = Instant::now();
    while trickle.write_all(b"G").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(15));
        std::thread::sleep(Duration::from_millis(200));
    }
    // A head without end neither.
    let mut endless = connect(address);
    let begun = Instant::now();
    while endless.write_all(&[b'x'; 4_096]).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is closed when it is too long");
    }
}

#[test]
fn heads_without_end_take_no_more_than_each_connection_has() {
    let node = Alone::up(0, &["api.connections_max=500"]);
    let address = node.address();
    let before = node.rss_bytes();
    let mut endless: Vec<TcpStream> = (0..490).map(|_| connect(address)).collect();
    let head = [b"GET /health HTTP/1.1\r\nx: ".to_vec(), vec![b'x'; 400 << 10]].concat();
    for stream in &mut endless {
        assert_eq!(ask(stream, &get("/health")).unwrap().0, 200);
        // Whoever is cut off in the middle cannot send the rest.
        let _ = stream.write_all(&head);
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = node.rss_bytes();
    println!("{} MiB before, {} MiB with {} heads", before >> 20, after >> 20, endless.len());
    assert!(after < before + (100 << 20), "from {before} to {after} bytes");
    // One of an ordinary length is read, also with a body, and what is not served is a question as well.
    let mut stream = connect(address);
    let long = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n", "x".repeat(12 << 10));
    assert_eq!(ask(&mut stream, long.as_bytes()).unwrap().0, 200);
    assert!(call(&mut stream, "status", json!({}))["result"]["height"].is_u64());
    let body = format!("{}{}", " ".repeat(200 << 10), request("status", json!({})));
    assert_eq!(ask(&mut stream, &post(&body)).unwrap().0, 200);
    for _ in 0..400 {
        assert_eq!(ask(&mut stream, &get("/nothing")).unwrap().0, 404);
    }
}

#[test]
fn slow_readers_of_large_batches_take_no_memory_beyond_the_budget_and_nothing_from_others() {
    // Its genesis file has more than a megabyte: the largest answer that a young chain has.
    let node = Alone::up(12_000, &["api.held_bytes_max=33554432", "api.answer_bytes_max=8388608"]);
    let address = node.address();
    let genesis = call(&mut connect(address), "genesis", json!({}))["result"].as_str().unwrap().len();
    assert!(genesis > 1 << 20, "{genesis} bytes");
    let before = node.rss_bytes();
    let one = request("genesis", json!({}));
    let batch = post(&Value::Array(vec![one; 100]).to_string());
    let mut readers: Vec<TcpStream> = (0..24).map(|_| connect(address)).collect();
    for reader in &mut readers {
        reader.write_all(&batch).unwrap();
    }
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(6) {
        most = most.max(node.rss_bytes());
        let status = call(&mut connect(address), "status", json!({}));
        assert!(status["result"]["height"].is_u64(), "{status}");
        let headers = call(&mut connect(address), "headers", json!({ "from": 1, "count": 2 }));
        assert!(headers["result"].as_array().is_some_and(|headers| headers.len() == 2), "{headers}");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{} MiB before, {} MiB at most", before >> 20, most >> 20);
    // The budget, what is being written, and what the allocator keeps of both.
    assert!(most < before + (100 << 20), "from {before} to {most} bytes");
    // An honest reader has what it may have, and is told what to ask instead for the rest.
    drop(readers);
    let mut honest = connect(address);
    let (status, body) = ask(&mut honest, &batch).expect("it is answered");
    let answers: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let whole = answers.iter().filter(|answer| answer["result"].is_string()).count();
    assert!(status == 200 && answers.len() == 100 && body.len() < 9 << 20, "{} bytes", body.len());
    assert!((3..=8).contains(&whole), "{whole} fit");
    let what = answers[99]["error"]["message"].as_str().unwrap();
    assert!(what.contains("8388608 bytes") && what.contains("by itself"), "{what}");
}

#[test]
fn garbage_is_charged_to_its_sender_and_makes_nobody_forgotten() {
    let node = Alone::up(0, &[]);
    let (address, chain) = (node.address(), node.chain());
    let slot = node.processes.status(0, 0).unwrap().slot;
    let mut honest = connect(address);
    let first = pay(&chain, 0, slot + 60);
    let id = call(&mut honest, "submit", submit(&first))["result"].as_str().unwrap().to_owned();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    // Of no form at all, and of a form that has to be verified.
    let shapeless = Value::Array(vec![request("submit", submit(&Cell::zeroed())); 100]).to_string();
    let unsigned = |number: u64| {
        let many = (0..100).map(|i| Cell { signature: [1; 64], ..pay(&chain, number * 100 + i + 1, slot + 60) });
        Value::Array(many.map(|cell| request("submit", submit(&cell))).collect()).to_string()
    };
    let before = node.height();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (stop, sent, shapeless, unsigned) = (&stop, &sent, &shapeless, &unsigned);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Each connection has a new allowance: that is how much junk there can be.
                    let mut stream = connect(address);
                    for _ in 0..20 {
                        number += 1;
                        let body = if thread % 2 == 0 { shapeless.clone() } else { unsigned(thread * 1_000 + number) };
                        if ask(&mut stream, &post(&body)).is_none() {
                            break;
                        }
                        sent.fetch_add(100, Ordering::Relaxed);
                    }
                }
            });
        }
        let tries = std::panic::catch_unwind(|| {
            let end = Instant::now() + Duration::from_secs(60);
            while sent.load(Ordering::Relaxed) < 100_000 && Instant::now() < end {
                let answer = call(&mut connect(address), "submit", submit(&first));
                assert!(answer["result"] == id.as_str(), "{answer}");
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        stop.store(true, Ordering::Relaxed);
        tries.unwrap();
    });
    assert!(sent.load(Ordering::Relaxed) >= 30_000, "{sent:?} pieces of garbage were sent");
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let state = call(&mut honest, "transaction", json!({ "id": id }));
        if state["result"]["state"] == "final" {
            break;
        }
        assert!(state["result"].is_object() && Instant::now() < end, "{state}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(node.lost_since(before) <= 1, "{} slots lost", node.lost_since(before));
}

#[test]
fn floods_of_history_wait_among_themselves_and_keep_nobody_from_proofs() {
    let node = Alone::up(0, &[]);
    let address = node.address();
    let key = hex::encode(SigningKey::from_bytes(&user_secret("bob")).verifying_key().as_bytes());
    let batch = Value::Array(vec![request("history", json!({ "key": key, "count": 1_000 })); 100]).to_string();
    let (stop, before) = (AtomicBool::new(false), node.height());
    std::thread::scope(|scope| {
        for _ in 0..60 {
            let (stop, batch) = (&stop, &batch);
            scope.spawn(move || {
                let mut stream = connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let Some((200, body)) = ask(&mut stream, &post(batch)) else { return };
                    let answers: Vec<Value> = serde_json::from_slice(&body).unwrap();
                    let named = |answer: &Value| answer["result"].is_object() || answer["error"]["code"] == -32_001;
                    assert!(answers.iter().all(named), "{}", answers[0]);
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(8);
        let (mut slowest, mut denied) = (Duration::ZERO, Vec::new());
        for number in 0.. {
            if Instant::now() > end {
                break;
            }
            slowest = slowest.max(health(address));
            if number % 10 == 0 {
                // There is no such transaction; but nobody has to wait for that answer, or hears that too many do.
                let wanted = json!({ "height": 1, "id": "00".repeat(32) });
                for (method, params) in [("inclusion", wanted), ("history", json!({ "key": key }))] {
                    let begun = Instant::now();
                    let answer = call(&mut connect(address), method, params);
                    let is_answered = answer["result"].is_object() || answer["error"]["code"] == -32_002;
                    if !is_answered || begun.elapsed() > Duration::from_secs(5) {
                        denied.push(format!("{method} after {:?}: {answer}", begun.elapsed()));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
        println!("health after {slowest:?} at most");
        assert!(denied.is_empty(), "{denied:?}");
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    });
    assert!(node.height() >= before + 6 && node.lost_since(before) <= 1, "{} slots lost", node.lost_since(before));
}

/// A frame of a WebSocket client, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0][..], text.as_bytes()].concat()
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut length = u64::from(head[1] & 127);
    if length >= 126 {
        let mut more = vec![0; if length == 126 { 2 } else { 8 }];
        stream.read_exact(&mut more).ok()?;
        length = more.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).ok()?;
    Some(if head[0] & 15 == 1 { bytes } else { read_frame(stream)? })
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn pings_without_end_cost_next_to_nothing() {
    let node = Alone::up(0, &[]);
    let cpu = || node.processes.status(0, 0).unwrap().cpu_s;
    let (idle, window) = (cpu(), Duration::from_secs(4));
    std::thread::sleep(window);
    let idle = cpu() - idle;
    let mut stream = connect(node.address());
    assert_eq!(ask(&mut stream, UPGRADE).unwrap().0, 101);
    // What comes back is thrown away, so that nobody waits for whoever sends.
    let mut answers = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || while answers.read(&mut [0; 65_536]).is_ok_and(|read| read > 0) {});
    let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(17_000);
    let (flooding, begun) = (cpu(), Instant::now());
    // A tenth of a megabyte ten times a second, or as much of it as is read.
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    while begun.elapsed() < window {
        let next = Instant::now() + Duration::from_millis(100);
        sent += stream.write(&pings[sent % 6..]).unwrap_or(0);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let flooded = cpu() - flooding;
    println!("{idle:.2} s of processor time in {window:?}, {flooded:.2} s while a WebSocket pings");
    assert!(flooded < idle + window.as_secs_f64() / 10.0, "{idle} s before, then {flooded} s");
    drop(stream.shutdown(std::net::Shutdown::Both));
    reader.join().unwrap();
}

#[test]
fn websockets_hear_of_blocks_ask_within_the_same_bounds_and_leave_places_to_others() {
    let node = Alone::up(0, &["api.connections_max=20"]);
    let address = node.address();
    let mut sockets = Vec::new();
    for _ in 0..30 {
        let mut stream = connect(address);
        stream.write_all(UPGRADE).unwrap();
        let (status, _) = read_answer(&mut stream).unwrap();
        assert_eq!(status, 101);
        stream
            .write_all(&frame(r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"blocks"}}"#))
            .unwrap();
        sockets.push(stream);
    }
    let subscribed = |socket: &mut TcpStream| {
        let answer: Value = serde_json::from_slice(&read_frame(socket)?).unwrap();
        Some(answer["result"].as_u64().expect("the number of the subscription"))
    };
    let mut open: Vec<TcpStream> = sockets.into_iter().filter_map(|mut s| subscribed(&mut s).map(|_| s)).collect();
    assert_eq!(open.len(), 10, "half of the places are for questions");
    assert!(health(address) < Duration::from_secs(1));
    for socket in &mut open {
        let news: Value = serde_json::from_slice(&read_frame(socket).unwrap()).unwrap();
        assert!(news["params"]["block"]["height"].as_u64() > Some(1), "{news}");
    }
    // Questions go the same way.
    let socket = &mut open[0];
    socket.write_all(&frame(r#"{"jsonrpc":"2.0","id":7,"method":"headers","params":[1,2]}"#)).unwrap();
    let answer = loop {
        let answer: Value = serde_json::from_slice(&read_frame(socket).unwrap()).unwrap();
        if answer["id"] == 7 {
            break answer;
        }
    };
    assert_eq!(answer["result"].as_array().map(Vec::len), Some(2), "{answer}");
    // A message that lies about its length is too long before it has come.
    let long = [0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    open[1].write_all(&long).unwrap();
    while read_frame(&mut open[1]).is_some() {}
}
