//! The administration socket: a unix socket in the data directory that only its owner can open. A request is a line of
//! JSON, its answer another.

use super::logs::ScreenLog;
use crate::keep::replica::Snapshots;
use crate::minting::view::NodeView;
use dynemix_storage::RealDisk;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

/// Bytes of a request at most.
const REQUEST_BYTES_MAX: u64 = 4_096;
/// Blocks that one answer brings at most.
const BLOCKS_MAX: usize = 256;

/// How long a node may take to answer; a snapshot takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the supply is added up again when a block came in between.
const AUDIT_TRIES: usize = 100;

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// What the node shows of itself, with so many of its newest blocks.
    Status {
        /// How many, 256 at most.
        blocks: usize,
    },
    /// The whole supply, added up.
    Audit,
    /// A snapshot of the state, while the node goes on.
    Snapshot {
        /// Where to, from the root of the file system.
        directory: PathBuf,
    },
    /// Stop: after the duty that is under way, or now.
    Stop {
        /// Without waiting for the end of the duty.
        now: bool,
    },
    /// The lines that the log has shown last, and its filter.
    Log {
        /// Lines of them at most.
        lines: usize,
        /// What is shown from now on, as `DYNEMIX_LOG` has it: `info`, `dynemix::minting=trace`; none: as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
}

/// What the log shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogShown {
    /// What it lets through.
    pub filter: String,
    /// Its newest lines, oldest first.
    pub lines: Vec<String>,
}

/// What the supply came to.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Audit {
    /// Height of the state.
    pub height: u64,
    /// Its root, in hexadecimal.
    pub state_root: String,
    /// Balances and pools, units.
    pub supply: u64,
    /// Units at genesis.
    pub genesis: u64,
    /// Units issued since.
    pub issued: u64,
    /// Whether the first is the sum of the others.
    pub conserved: bool,
}

/// Where the socket of a data directory is.
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join("admin.sock")
}

/// The socket of a data directory cannot be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// Removes the socket, as the last thing of a node that ends in order. Whether there was one.
///
/// # Errors
/// When the system refuses.
pub fn remove_socket(directory: &Path) -> Result<bool, SocketError> {
    let path = socket_path(directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(|source| SocketError { path, source }),
    }
}

/// What the server of the socket works with.
pub struct Admin {
    /// What is asked: the running node.
    pub view: NodeView,
    /// Units at genesis.
    pub genesis_supply: u64,
    /// Told to stop: at once or not.
    pub stop: Sender<bool>,
    /// What the log shows.
    pub log: ScreenLog,
    /// Where snapshots are asked for.
    pub snapshots: Snapshots,
}

impl Admin {
    /// Serves the socket on a thread of its own, until the process ends. Whether an earlier process has left one: it
    /// did not end in order then, or it would have removed it ([`remove_socket`]).
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(self, directory: &Path) -> Result<bool, SocketError> {
        let path = socket_path(directory);
        let failed = |source| SocketError { path: path.clone(), source };
        // Whoever held it before is gone: the store's lock says so.
        let left = remove_socket(directory)?;
        let listener = UnixListener::bind(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let thread = thread::Builder::new().name("admin".into()).spawn(move || {
            let shared = Arc::new(self);
            for stream in listener.incoming().flatten() {
                let answering = shared.clone();
                // Each on its own thread: a snapshot may take minutes. Its owner is alone, so they are few.
                let begun = thread::Builder::new().name("admin.answer".into()).spawn(move || answering.answer(&stream));
                drop(begun);
            }
        });
        thread.map_err(failed)?;
        Ok(left)
    }

    fn answer(&self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut line = String::new();
        BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => self.handle(request),
            Err(error) => json!({ "error": format!("not a request: {error}") }),
        };
        // In one piece: each piece that is written is a call of the system.
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        let mut stream = stream;
        stream.write_all(&text)
    }

    fn handle(&self, request: AdminRequest) -> Value {
        match request {
            AdminRequest::Status { blocks } => json!(self.view.shown(blocks.min(BLOCKS_MAX))),
            AdminRequest::Audit => match (0..AUDIT_TRIES).find_map(|_| self.audit()) {
                Some(audit) => json!(audit),
                None => json!({ "error": "the node has stopped between a block and its tables" }),
            },
            AdminRequest::Snapshot { directory } => {
                let written = self.snapshots.write(Arc::new(RealDisk::at(&directory)));
                written.map_or_else(|error| json!({ "error": error.to_string() }), |info| json!(info))
            }
            AdminRequest::Stop { now } => {
                let _ = self.stop.send(now);
                json!({ "stopping": true })
            }
            AdminRequest::Log { lines, filter } => match filter.map_or(Ok(()), |filter| self.log.set(&filter)) {
                Ok(()) => json!(LogShown { filter: self.log.filter(), lines: self.log.newest(lines) }),
                Err(error) => json!({ "error": error }),
            },
        }
    }

    /// Adds up the supply; none while the replica has not worked in the block whose system is shown.
    fn audit(&self) -> Option<Audit> {
        let (header, supply) = self.view.accounts.sealed(|state| (*state.header(), state.supply()));
        let issued = self.view.status.look(|live| {
            let system = live.system.as_ref();
            system.filter(|system| system.height == header.height).map(|system| system.pools.issued)
        });
        let Some(issued) = issued else {
            thread::sleep(Duration::from_millis(20));
            return None;
        };
        Some(Audit {
            height: header.height,
            state_root: hex::encode(header.root),
            supply: supply as u64,
            genesis: self.genesis_supply,
            issued,
            conserved: supply == u128::from(self.genesis_supply) + u128::from(issued),
        })
    }
}

/// Why a node cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens at the socket: no node runs over this directory.
    #[error("no node answers at {}: {source}", path.display())]
    Unreachable {
        /// Where it was looked for.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Its answer is none.
    #[error("the node's answer is not understood: {0}")]
    Answer(String),
    /// It will not do that.
    #[error("the node refuses: {0}")]
    Refused(String),
}

/// Asks the node of a data directory.
///
/// # Errors
/// When it does not answer.
pub fn ask<T: for<'a> Deserialize<'a>>(directory: &Path, request: &AdminRequest) -> Result<T, AskError> {
    let path = socket_path(directory);
    let exchange = || {
        let mut stream = UnixStream::connect(&path)?;
        let patience = if matches!(request, AdminRequest::Snapshot { .. }) { None } else { Some(PATIENCE) };
        stream.set_read_timeout(patience)?;
        let mut line = serde_json::to_vec(request).expect("plain fields");
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer: String = exchange().map_err(|source| AskError::Unreachable { path: path.clone(), source })?;
    let value: Value = serde_json::from_str(&answer).map_err(|error| AskError::Answer(error.to_string()))?;
    if let Some(error) = value.get("error") {
        return Err(AskError::Refused(error.as_str().map_or_else(|| error.to_string(), str::to_owned)));
    }
    serde_json::from_value(value).map_err(|error| AskError::Answer(error.to_string()))
}
