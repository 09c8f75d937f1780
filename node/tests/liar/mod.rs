//! A node's API with a liar in front: it passes questions on to an honest node, and answers what it likes.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd};
use dynemix::devnet::processes::Processes;
use dynemix::setup::clock::unix_ms;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_dynemix");
pub const SLOT_MS: u64 = 1_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What is sent back.
pub enum Reply {
    /// A whole answer.
    Json(Value),
    /// Bytes of a body that says that it has so many.
    Bytes(Vec<u8>, u64),
    /// A byte a second, for ever.
    Drip,
    /// Another status, with its headers.
    Status(&'static str),
}

/// What the liar does with a question: the method, its parameters, and what the honest node says to it.
pub type Lie = Arc<dyn Fn(&str, &Value, &dyn Fn() -> Value) -> Reply + Send + Sync>;

/// An honest result in place of another.
pub fn result(value: Value) -> Reply {
    Reply::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": value }))
}

/// An error of JSON-RPC.
pub fn error(code: i64, message: &str) -> Reply {
    Reply::Json(json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": message } }))
}

/// Asks a node as it is.
pub fn ask(url: &str, method: &str, params: &Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build().into();
    let answer = agent.post(url).send_json(&request).map(|mut response| response.body_mut().read_json::<Value>());
    match answer {
        Ok(Ok(answer)) => answer,
        other => json!({ "error": { "code": 0, "message": format!("{:?}", other.err()) } }),
    }
}

/// A liar in front of a node; it lives as long as the test.
pub struct Liar {
    pub address: SocketAddr,
}

impl Liar {
    pub fn new(honest: String, lie: Lie) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (honest, lie) = (honest.clone(), lie.clone());
                std::thread::spawn(move || answer(stream, &honest, &lie));
            }
        });
        Liar { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn answer(mut stream: TcpStream, honest: &str, lie: &Lie) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).ok()?;
    let (method, params) = (request["method"].as_str()?, &request["params"]);
    let said = || ask(honest, method, params);
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let _ = match lie(method, params, &said) {
        Reply::Json(value) => {
            let text = value.to_string();
            write!(stream, "{ok}Content-Length: {}\r\n\r\n{text}", text.len())
        }
        Reply::Bytes(bytes, claimed) => {
            write!(stream, "{ok}Content-Length: {claimed}\r\n\r\n").and_then(|()| stream.write_all(&bytes))
        }
        Reply::Drip => {
            let _ = write!(stream, "{ok}Content-Length: 1000000\r\n\r\n{{");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_secs(1));
            }
            Ok(())
        }
        Reply::Status(status) => write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
    };
    let _ = stream.shutdown(Shutdown::Write);
    // A client that is still writing sees its answer, and no reset.
    let _ = stream.read(&mut [0; 64]);
    Some(())
}

/// A network of real nodes.
pub struct Net {
    pub processes: Processes,
    pub directory: tempfile::TempDir,
    /// Held for as long as its nodes run.
    pub alone: Option<MutexGuard<'static, ()>>,
}

/// What a command of the wallet came to.
pub struct Ran {
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Both outputs.
    pub text: String,
    pub took: Duration,
    pub memory_kib: u64,
}

impl Net {
    pub fn up(nodes: u32, quilt: bool) -> Net {
        let net = Net::made(nodes, quilt);
        net.started()
    }

    /// The files of a network that is not started.
    pub fn made(nodes: u32, quilt: bool) -> Net {
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
        Net { processes, directory, alone: Some(alone) }
    }

    pub fn started(mut self) -> Net {
        self.processes.start_all().unwrap();
        self.wait_height(0, 3, 30);
        self
    }

    pub fn url(&self, node: u32) -> String {
        format!("http://{}/", self.processes.devnet().api_address(node))
    }

    pub fn height(&self, node: u32) -> u64 {
        self.processes.status(node, 0).map_or(0, |status| status.height)
    }

    pub fn wait_height(&self, node: u32, height: u64, slots: u64) {
        let end = Instant::now() + Duration::from_millis(slots * SLOT_MS);
        while self.height(node) < height {
            assert!(Instant::now() < end, "node {node} is at {}:\n{}", self.height(node), self.processes.log_end(node));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a verb of the wallet; what it keeps is in `home`.
    pub fn wallet(&self, home: &Path, arguments: &[&str]) -> Ran {
        let begun = Instant::now();
        let mut child = Command::new(PROGRAM)
            .arg("wallet")
            .args(arguments)
            .env("DYNEMIX_DIR", self.directory.path())
            .env("XDG_DATA_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = err.read_to_string(&mut text);
            text
        });
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = out.read_to_string(&mut text);
            text
        });
        let (mut memory_kib, mut code) = (0, None);
        while begun.elapsed() < Duration::from_secs(120) {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let peak =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
            memory_kib = memory_kib.max(peak.unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                code = status.code();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // One that has ended is not there any more.
        let _ = child.kill();
        let _ = child.wait();
        let out = said.join().unwrap();
        let text = out.clone() + &errors.join().unwrap();
        Ran { code, out, text, took: begun.elapsed(), memory_kib }
    }
}
