//! Stopping a devnet from elsewhere, and seeing whether anything of it runs, whoever has started it.

use super::layout::{Devnet, LayoutError};
use super::lock::holder;
use crate::face::admin::{AdminRequest, ask, socket_path};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
/// How long nodes may take to stop whose slots are not known.
const DAMAGED_PATIENCE: Duration = Duration::from_secs(30);
/// How long whoever was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// The file that tells `up` to stop.
pub fn stop_path(directory: &Path) -> PathBuf {
    directory.join("stop")
}

/// What tells a run to stop: a signal, or `devnet down`.
pub struct StopSign<'a> {
    signal: &'a AtomicBool,
    path: PathBuf,
}

impl<'a> StopSign<'a> {
    /// Of a directory that is this process's own; what an earlier `down` has left there is not meant for it.
    ///
    /// # Errors
    /// When that cannot be removed.
    pub fn new(directory: &Path, signal: &'a AtomicBool) -> Result<StopSign<'a>, LayoutError> {
        let path = stop_path(directory);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(LayoutError::Io { path, source }),
            _ => Ok(StopSign { signal, path }),
        }
    }

    /// Whether it is told to stop.
    pub fn is_up(&self) -> bool {
        self.signal.load(Ordering::Relaxed) || self.is_down()
    }

    /// Whether that was `devnet down`.
    pub fn is_down(&self) -> bool {
        self.path.exists()
    }
}

impl Drop for StopSign<'_> {
    fn drop(&mut self) {
        // There is none unless somebody has told it to stop.
        let _ = fs::remove_file(&self.path);
    }
}

/// A node that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Number of the node, from 0.
    pub node: u32,
    /// Its process; none if it is of another system that shares the directory.
    pub pid: Option<Pid>,
}

/// The nodes below a directory that run: those whose processes have files there, and those that answer there.
pub fn running(directory: &Path) -> Vec<Running> {
    let root = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let number = |path: &Path| {
        let name = path.strip_prefix(&root).ok()?.components().next()?.as_os_str().to_str()?.strip_prefix("node")?;
        name.parse::<u32>().ok()
    };
    let of_process = |(config, pid): (PathBuf, Pid)| Some(Running { node: number(&config)?, pid: Some(pid) });
    let mut found: Vec<Running> = node_processes().into_iter().filter_map(of_process).collect();
    for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
        let Some(node) = number(&entry.path()) else { continue };
        let answers = || UnixStream::connect(socket_path(&entry.path().join("data"))).is_ok();
        if found.iter().all(|running| running.node != node) && answers() {
            found.push(Running { node, pid: None });
        }
    }
    found.sort_unstable_by_key(|running| running.node);
    found
}

/// Processes of nodes on this computer, by their configuration.
fn node_processes() -> Vec<(PathBuf, Pid)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let process = |entry: fs::DirEntry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
        let [_, b"node", b"run", b"--config", config, ..] = words[..] else { return None };
        // As the process was told, which may have begun elsewhere; perhaps the file is gone by now.
        let begun = fs::read_link(entry.path().join("cwd")).ok()?;
        let config = begun.join(std::ffi::OsStr::from_bytes(config));
        Some((fs::canonicalize(&config).unwrap_or(config), pid))
    };
    entries.flatten().filter_map(process).collect()
}

/// Stops whatever runs of a devnet: `up`, which stops its nodes, and then what is left without one. How many nodes that
/// were.
///
/// # Errors
/// When there is none, or something cannot be stopped.
pub fn down(directory: &Path) -> Result<usize, LayoutError> {
    let patience = match Devnet::read(directory) {
        Ok(devnet) => Duration::from_millis(2 * devnet.shape.slot_ms + 12_000),
        // Damaged, and all the same something may run.
        Err(LayoutError::Form(_)) => DAMAGED_PATIENCE,
        Err(error) => return Err(error),
    };
    let before = running(directory);
    if holder(directory).is_some() {
        let path = stop_path(directory);
        fs::write(&path, []).map_err(|source| LayoutError::Io { path: path.clone(), source })?;
        wait_until(patience, || holder(directory).is_none());
        // It has removed that itself, unless it does not work any more.
        let _ = fs::remove_file(&path);
    }
    let left = running(directory);
    std::thread::scope(|scope| {
        for running in &left {
            let data = directory.join(format!("node{:02}/data", running.node));
            match running.pid {
                Some(pid) => tell(pid, Signal::TERM),
                // One that does not answer is found below.
                None => drop(scope.spawn(move || ask::<Value>(&data, &AdminRequest::Stop { now: false }))),
            }
        }
    });
    let all_gone = || running(directory).is_empty();
    if !left.is_empty() && !wait_until(patience, all_gone) {
        running(directory).iter().filter_map(|running| running.pid).for_each(|pid| tell(pid, Signal::KILL));
        wait_until(GONE, all_gone);
    }
    let stuck = running(directory).len();
    if stuck > 0 || holder(directory).is_some() {
        return Err(LayoutError::Stuck(directory.to_owned(), stuck));
    }
    Ok(before.len())
}

fn wait_until(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !is_so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

fn tell(pid: Pid, signal: Signal) {
    // One that has gone meanwhile is what was wanted.
    let _ = kill_process(pid, signal);
}
