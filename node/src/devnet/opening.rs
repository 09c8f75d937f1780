//! What a run is asked for, and the devnet that it begins with.

use super::flood::FloodOptions;
use super::hints::command;
use super::layout::{Devnet, DevnetShape, LayoutError, any_simd};
use super::lock::LockError;
use super::processes::ProcessError;
use super::reset::clear;
use super::stop::running;
use crate::setup::clock::unix_ms;
use crate::setup::genesis::GenesisFileError;
use dynemix_perf::machine;
use dynemix_perf::report::counted;
use std::io;
use std::path::{Path, PathBuf};

/// However crowded a computer is, a start waits no longer for it than so many times what it takes alone.
const CROWD_MAX: f64 = 10.0;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What the network is made as.
    pub shape: DevnetShape,
    /// Transactions offered a second; none: only slots are watched.
    pub tps: Option<u64>,
    /// Milliseconds that are watched; none: until told to stop.
    pub duration_ms: Option<u64>,
    /// Then so many a second for so many slots: what the network recovers in.
    pub then: Option<(u64, u64)>,
    /// Every so many slots a node is killed and started again.
    pub kill_every: Option<u64>,
    /// What the minter without a node says, if the network is made with one: for all slots but the first and the last
    /// third.
    pub flood: Option<FloodOptions>,
    /// Where the API of the first node is to be, if that is free; the others follow. None: wherever it is free.
    pub api_port: Option<u16>,
}

/// Why a run ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The devnet's files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its genesis file.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// A node that does not start, or ends.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The system refuses the load's connections.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No block became final.
    #[error("nothing became final in {0} slots; the logs are in {1}")]
    NoStart(u64, PathBuf),
    /// Another devnet is in the directory.
    #[error("{} holds a devnet that was made with other flags: {}; use these, another --dir, or remove it: `{}`",
        .0.display(), flags(.1), command("devnet reset", .0))]
    OtherShape(PathBuf, DevnetShape),
    /// A load on a chain that has been used.
    #[error("a load needs a chain of its own: leave --dir out, name another, or remove this one: `{}`",
        command("devnet reset", .0))]
    Used(PathBuf),
    /// Somebody has the directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Nodes run that no `up` has.
    #[error("{} of a `devnet up` that is gone still run in {}; `{}` stops them", counted(*.1 as u64, "node"),
        .0.display(), command("devnet down", .0))]
    Orphans(PathBuf, usize),
}

/// The flags that a devnet is made with, where they are not the usual ones.
pub fn flags(shape: &DevnetShape) -> String {
    let DevnetShape { nodes, shards, slot_ms, quilt, load_accounts, link, liar, simd } = shape;
    let mut flags = format!("--nodes {nodes} --shards {shards} --slot-ms {slot_ms}");
    let mut add = |unusual: bool, flag: String| flags.extend(unusual.then(|| format!(" {flag}")));
    add(!quilt, "--mode blockchain".into());
    add(!link.is_empty(), format!("--link {link}"));
    add(*simd != any_simd(), format!("--simd {simd}"));
    // Those of a load begin with a new chain.
    add(*load_accounts > 0, format!("--tps .. --accounts {load_accounts}"));
    add(*liar, "--flood ..".into());
    flags
}

/// How many times as long as alone something takes on this computer, by what else waits for its processors.
fn crowd() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    (load / machine::cores() as f64).clamp(1.0, CROWD_MAX)
}

/// The devnet of a directory that this process has, made if there is none; `transactions` is how many its load has.
///
/// # Errors
/// When it cannot be made, or is not what is asked for.
pub fn opened(directory: &Path, options: &RunOptions, transactions: u64) -> Result<Devnet, RunError> {
    let shape = &options.shape;
    if directory.join("devnet.json").exists() {
        let devnet = Devnet::read(directory)?;
        if devnet.made {
            let running = running(directory).len();
            if running > 0 {
                return Err(RunError::Orphans(directory.to_owned(), running));
            }
            if devnet.shape != *shape {
                return Err(RunError::OtherShape(directory.to_owned(), devnet.shape));
            }
            if transactions > 0 {
                return Err(RunError::Used(directory.to_owned()));
            }
            devnet.peer_ports_free()?;
            return Ok(devnet);
        }
        // Whoever made it was interrupted.
        clear(directory)?;
    }
    // Signing and starting take their time; the first block is made in the slot after that. Slot 0 has none, so it may
    // have begun before.
    let ready_ms = 500 + transactions / 40 + 120 * u64::from(shape.nodes) + shape.load_accounts / 200;
    let start_ms = unix_ms() + (ready_ms as f64 * crowd()) as u64 - shape.slot_ms;
    Devnet::create(directory, shape.clone(), start_ms).map_err(|error| {
        // What was made until then is of no use.
        let _ = clear(directory);
        error.into()
    })
}
