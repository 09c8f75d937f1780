//! `dynemix devnet status` and `dynemix devnet logs`: what the nodes of a devnet do, and what they have written.

use super::args::DirArgs;
use super::ending::WrongUsage;
use super::output::{OutputArgs, Shown, print};
use clap::Args;
use dynemix::devnet::hints::command;
use dynemix::devnet::layout::Devnet;
use dynemix::devnet::lock::holder;
use dynemix::devnet::processes::Processes;
use dynemix::devnet::stop::running;
use dynemix_perf::report::{bytes, counted, facts, table};
use serde::Serialize;
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often is looked for more in the logs.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A node as `devnet status` shows it; figures are there if it answers.
#[derive(Debug, Serialize)]
struct NodeShown {
    node: u32,
    runs: bool,
    pid: Option<i32>,
    api: String,
    height: Option<u64>,
    slot: Option<u64>,
    peers: Option<u64>,
    rss_bytes: Option<u64>,
    log: PathBuf,
}

/// A devnet as `devnet status` shows it.
#[derive(Debug, Serialize)]
struct DevnetShown {
    /// Whether an `up` has it.
    runs: bool,
    since_ms: Option<u64>,
    pid: Option<u32>,
    api: String,
    directory: PathBuf,
    slot_ms: u64,
    nodes: Vec<NodeShown>,
    #[serde(skip)]
    state: String,
}

impl Shown for DevnetShown {
    fn text(&self) -> String {
        let facts = facts(&[
            ("devnet", self.state.clone()),
            ("API", format!("http://{}", self.api)),
            ("files", self.directory.display().to_string()),
            ("environment", self.directory.join("env").display().to_string()),
        ]);
        let shown = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let row = |node: &NodeShown| {
            let state = if node.runs { "runs" } else { "stopped" };
            let rss = node.rss_bytes.map_or("-".to_owned(), bytes);
            let (height, slot, peers) = (shown(node.height), shown(node.slot), shown(node.peers));
            vec![node.node.to_string(), state.into(), height, slot, peers, rss, node.api.clone()]
        };
        let rows: Vec<_> = self.nodes.iter().map(row).collect();
        format!("{facts}\n{}", table(&["node", "state", "height", "slot", "peers", "memory", "API"], &rows))
    }
}

impl StatusArgs {
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let directory = std::path::absolute(self.dir.directory())?;
        let devnet = Devnet::read(&directory)?;
        let (holder, running) = (holder(&directory), running(&directory));
        let state = match (&holder, running.len() as u64) {
            (Some(holder), _) => format!("runs since {} (process {})", holder.since(), holder.pid),
            (None, 0) => format!("does not run; `{}` starts it", command("devnet up", &directory)),
            (None, count) => format!(
                "its `devnet up` is gone, and {} left; `{}` stops them",
                counted(count, "node"),
                command("devnet down", &directory)
            ),
        };
        let processes = Processes::new(&directory, devnet.clone())?;
        let node = |node: u32| {
            let found = running.iter().find(|running| running.node == node);
            let status = found.and_then(|_| processes.status(node, 0).ok());
            NodeShown {
                node,
                runs: found.is_some(),
                pid: found.and_then(|running| running.pid).map(|pid| pid.as_raw_nonzero().get()),
                api: devnet.api_address(node).to_string(),
                height: status.as_ref().map(|status| status.height),
                slot: status.as_ref().map(|status| status.slot),
                peers: status.as_ref().map(|status| status.members),
                rss_bytes: status.as_ref().map(|status| status.rss_bytes),
                log: devnet.log_path(&directory, node),
            }
        };
        self.output.show(&DevnetShown {
            runs: holder.is_some(),
            since_ms: holder.as_ref().map(|holder| holder.since_ms),
            pid: holder.as_ref().map(|holder| holder.pid),
            api: devnet.api_address(0).to_string(),
            slot_ms: devnet.shape.slot_ms,
            nodes: (0..devnet.shape.nodes).map(node).collect(),
            directory,
            state,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// One node only, counted from 0
    #[arg(long, value_name = "N")]
    node: Option<u32>,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    dir: DirArgs,
}

/// The log of a node, as far as it was read.
struct Log {
    path: PathBuf,
    /// What its lines begin with.
    prefix: String,
    file: Option<File>,
    /// A line that is not at its end yet.
    rest: Vec<u8>,
}

impl Log {
    /// Whole lines that have come since.
    fn lines(&mut self, last: bool) -> io::Result<String> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                // A node that was never started.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
                file => Some(file?),
            };
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.rest)?;
        }
        let end = if last {
            self.rest.len()
        } else {
            self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
        };
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        let text = String::from_utf8_lossy(&lines);
        Ok(text.split_inclusive('\n').flat_map(|line| [self.prefix.as_str(), line]).collect())
    }
}

impl LogsArgs {
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let directory = self.dir.directory();
        let devnet = Devnet::read(&directory)?;
        let nodes = devnet.shape.nodes;
        if let Some(node) = self.node.filter(|&node| node >= nodes) {
            return Err(WrongUsage(format!("--node {node}: this devnet has the nodes 0 to {}", nodes - 1)).into());
        }
        self.print(&directory, &devnet)
    }

    fn print(&self, directory: &Path, devnet: &Devnet) -> Result<(), Box<dyn Error>> {
        let prefix = |node: u32| if self.node.is_some() { String::new() } else { format!("node{node:02}  ") };
        let log = |node: u32| Log {
            path: devnet.log_path(directory, node),
            prefix: prefix(node),
            file: None,
            rest: Vec::new(),
        };
        let mut logs: Vec<Log> =
            (0..devnet.shape.nodes).filter(|node| self.node.is_none_or(|one| one == *node)).map(log).collect();
        loop {
            for log in &mut logs {
                print(&log.lines(!self.follow)?)?;
            }
            if !self.follow {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }
}
