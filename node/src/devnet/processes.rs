//! The node processes of a devnet.

use super::layout::{Devnet, LayoutError, PASSPHRASE};
use crate::face::admin::{AdminRequest, AskError, Audit, ask};
use crate::minting::status::StatusShown;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to answer.
const START: Duration = Duration::from_secs(60);

/// Running nodes; those that are still there are killed when this is dropped.
pub struct Processes {
    directory: PathBuf,
    devnet: Devnet,
    program: PathBuf,
    children: Vec<Option<Child>>,
}

/// Why a process cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The system refused.
    #[error("start node {node}: {source}")]
    Start {
        /// Number of the node, from 0.
        node: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// It ended before it was told to.
    #[error("node {node} ended by itself; the end of its log:\n{log}")]
    Ended {
        /// Number of the node, from 0.
        node: u32,
        /// The last lines of its log.
        log: String,
    },
    /// It does not answer.
    #[error("node {0} does not answer")]
    Silent(u32),
    /// The devnet's own files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl Processes {
    /// Over a devnet of which no process runs yet.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub fn new(directory: &Path, devnet: Devnet) -> io::Result<Processes> {
        let children = (0..devnet.shape.nodes).map(|_| None).collect();
        Ok(Processes { directory: directory.to_owned(), devnet, program: std::env::current_exe()?, children })
    }

    /// With another program than the running one, for tests.
    pub fn with_program(mut self, program: &Path) -> Processes {
        self.program = program.to_owned();
        self
    }

    /// The devnet that they are the processes of.
    pub fn devnet(&self) -> &Devnet {
        &self.devnet
    }

    /// Starts a node.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(&mut self, node: u32, settings: &[&str]) -> Result<(), ProcessError> {
        let at = self.devnet.node_directory(&self.directory, node);
        let refused = |source| ProcessError::Start { node, source };
        let log = self.devnet.log_path(&self.directory, node);
        let log = File::options().create(true).append(true).open(log).map_err(refused)?;
        let mut command = Command::new(&self.program);
        command.args(["node", "run", "--config"]).arg(at.join("node.toml"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.env("DYNEMIX_PASSPHRASE", PASSPHRASE).env("RAYON_NUM_THREADS", "2");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // Who interrupts this command at a terminal does not mean them: it stops them in order.
        command.process_group(0);
        self.children[node as usize] = Some(command.spawn().map_err(refused)?);
        self.devnet.pids = self.children.iter().flatten().map(Child::id).collect();
        self.devnet.save(&self.directory)?;
        Ok(())
    }

    /// Starts all, and waits until each answers.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn start_all(&mut self) -> Result<(), ProcessError> {
        self.start_all_unless(&|| false).map(|all| assert!(all, "nobody has told them to stop"))
    }

    /// Starts all, and waits until each answers or somebody wants to stop; whether all do.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn start_all_unless(&mut self, stop: &dyn Fn() -> bool) -> Result<bool, ProcessError> {
        (0..self.devnet.shape.nodes).try_for_each(|node| self.start(node, &[]))?;
        for node in 0..self.devnet.shape.nodes {
            if !self.wait_ready_unless(node, START, stop)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until a node answers.
    ///
    /// # Errors
    /// When it ends or stays silent.
    pub fn wait_ready(&mut self, node: u32, patience: Duration) -> Result<(), ProcessError> {
        self.wait_ready_unless(node, patience, &|| false).map(|ready| assert!(ready, "nobody has told it to stop"))
    }

    fn wait_ready_unless(
        &mut self,
        node: u32,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool, ProcessError> {
        let end = Instant::now() + patience;
        while self.status(node, 0).is_err() {
            if stop() {
                return Ok(false);
            }
            let ended = self.children[node as usize].as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return Err(ProcessError::Ended { node, log: self.log_end(node) });
            }
            if Instant::now() > end {
                return Err(ProcessError::Silent(node));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(true)
    }

    /// The end of a node's log.
    pub fn log_end(&self, node: u32) -> String {
        let text = std::fs::read_to_string(self.devnet.log_path(&self.directory, node)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// What a node shows of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self, node: u32, blocks: usize) -> Result<StatusShown, AskError> {
        ask(&self.devnet.data_directory(&self.directory, node), &AdminRequest::Status { blocks })
    }

    /// A node's supply, added up.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn audit(&self, node: u32) -> Result<Audit, AskError> {
        ask(&self.devnet.data_directory(&self.directory, node), &AdminRequest::Audit)
    }

    /// Whether a node's process runs.
    pub fn runs(&mut self, node: u32) -> bool {
        self.children[node as usize].as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How a node's process has ended that nobody here has ended; once, then it is forgotten, and no zombie stays.
    pub fn ended(&mut self, node: u32) -> Option<ExitStatus> {
        let child = &mut self.children[node as usize];
        let status = child.as_mut().and_then(|child| child.try_wait().ok().flatten())?;
        *child = None;
        Some(status)
    }

    /// Ends a node as a power cut would.
    pub fn kill(&mut self, node: u32) {
        if let Some(mut child) = self.children[node as usize].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks a node to stop in order.
    pub fn terminate(&mut self, node: u32) {
        // Of one that has ended the number may be another's by now.
        if self.runs(node)
            && let Some(pid) = self.children[node as usize].as_ref().and_then(|child| Pid::from_raw(child.id() as i32))
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for a node's end; whether it ended well.
    pub fn wait(&mut self, node: u32, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while let Some(child) = &mut self.children[node as usize] {
            match child.try_wait() {
                Ok(Some(status)) => {
                    self.children[node as usize] = None;
                    return status.success();
                }
                _ if Instant::now() > end => return false,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        false
    }

    /// Stops all in order; how many did not.
    pub fn stop_all(&mut self) -> usize {
        let nodes = self.devnet.shape.nodes;
        (0..nodes).for_each(|node| self.terminate(node));
        let patience = Duration::from_millis(2 * self.devnet.shape.slot_ms + 10_000);
        let stuck =
            (0..nodes).filter(|&node| self.children[node as usize].is_some() && !self.wait(node, patience)).count();
        (0..nodes).for_each(|node| self.kill(node));
        self.devnet.pids.clear();
        // Only says which processes ran; without it `down` finds none.
        let _ = self.devnet.save(&self.directory);
        stuck
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        (0..self.children.len() as u32).for_each(|node| self.kill(node));
    }
}
