//! `dynemix snapshot`: the verbs over [`dynemix::keep::snapshot`].

use super::args::{StoreArg, open_any, parse_hash};
use super::output::{OutputArgs, Shown};
use clap::{Args, Subcommand};
use dynemix::face::admin::{AdminRequest, ask};
use dynemix::keep::snapshot::{self, Listed, SnapshotInfo};
use dynemix_engine::base::hash::Hash;
use dynemix_perf::report::{bar, bytes, counted, facts, grouped};
use dynemix_storage::{RealDisk, StoreOptions, make_directory};
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotVerb {
    /// Write a snapshot of a store's state; goes on where an interrupted one stopped
    #[command(after_help = "Examples:\n  dynemix snapshot create --store ~/dynemix --out ~/snapshots/today")]
    Create {
        #[command(flatten)]
        store: StoreArg,
        /// Directory of the snapshot
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// The snapshots in a directory
    #[command(after_help = "Examples:\n  dynemix snapshot list ~/snapshots")]
    List {
        /// Where to look
        directory: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Check every chunk of a snapshot
    #[command(after_help = "Examples:\n  dynemix snapshot verify ~/snapshots/today --root 9f0c...11ab")]
    Verify {
        /// Directory of the snapshot
        directory: PathBuf,
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make a store of a snapshot; goes on where an interrupted restore stopped
    #[command(after_help = "Examples:\n  dynemix snapshot restore ~/snapshots/today --store ~/dynemix --root 9f0c...")]
    Restore {
        /// Directory of the snapshot
        directory: PathBuf,
        #[command(flatten)]
        store: StoreArg,
        /// Accounts that the state is to have room for [default: a quarter more than there are]
        #[arg(long, value_name = "N")]
        accounts_max: Option<u32>,
        #[command(flatten)]
        root: RootArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RootArg {
    /// The state root to trust, 64 hexadecimal digits; without it the snapshot is only checked against itself
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    root: Option<Hash>,
}

impl SnapshotVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        match self {
            SnapshotVerb::Create { store, out, output } => output.show(&create(&store.directory(), &out)?),
            SnapshotVerb::List { directory, output } => output.show(&list(&directory)?),
            SnapshotVerb::Verify { directory, root, output } => output.show(&verify(&directory, root.root.as_ref())?),
            SnapshotVerb::Restore { directory, store, accounts_max, root, output } => {
                output.show(&restore(&directory, &store.store, accounts_max, root.root.as_ref())?)
            }
        }
    }
}

/// What a verb did.
#[derive(Serialize)]
pub(crate) struct SnapshotDone {
    done: &'static str,
    #[serde(flatten)]
    info: SnapshotInfo,
    seconds: f64,
    bytes_per_s: f64,
}

impl Shown for SnapshotDone {
    fn text(&self) -> String {
        let info = &self.info;
        facts(&[
            (self.done, format!("height {}, slot {}", grouped(info.height), grouped(info.slot))),
            ("state root", info.state_root.clone()),
            ("chain", info.chain.clone()),
            ("accounts", grouped(info.accounts)),
            (
                "size",
                format!(
                    "{} in {} chunks, {} of them kept from an earlier try",
                    bytes(info.bytes),
                    info.chunks,
                    info.chunks_resumed
                ),
            ),
            ("took", format!("{:.2} s, {}/s", self.seconds, bytes(self.bytes_per_s as u64))),
        ])
    }
}

fn timed(
    done: &'static str,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<SnapshotInfo, Box<dyn Error>>,
) -> Result<SnapshotDone, Box<dyn Error>> {
    let bar = bar(std::io::stderr().is_terminal(), 0, "bytes");
    let start = Instant::now();
    let info = work(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    Ok(SnapshotDone { done, bytes_per_s: info.bytes as f64 / seconds, info, seconds })
}

/// Does `snapshot create`, with a bar of bytes.
pub(crate) fn create(store: &Path, out: &Path) -> Result<SnapshotDone, Box<dyn Error>> {
    let opened = open_any(store)?;
    let chain = opened.store.keeper().chain();
    timed("created", |progress| Ok(snapshot::create(&opened.state, chain, &RealDisk::at(out), progress)?))
}

/// Does `node snapshot`: the node writes it.
pub(crate) fn of_node(data: &Path, out: &Path) -> Result<SnapshotDone, Box<dyn Error>> {
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty: a snapshot is written into a directory of its own", out.display()).into());
    }
    make_directory(out).map_err(|error| format!("make {}: {error}", out.display()))?;
    let directory = out.canonicalize().map_err(|error| format!("{}: {error}", out.display()))?;
    timed("created", |_| Ok(ask(data, &AdminRequest::Snapshot { directory })?))
}

/// Does `snapshot verify`, with a bar of bytes.
pub(crate) fn verify(directory: &Path, root: Option<&[u8; 32]>) -> Result<SnapshotDone, Box<dyn Error>> {
    timed("verified", |progress| Ok(snapshot::verify(&RealDisk::at(directory), root, progress)?))
}

/// Does `snapshot restore`, with a bar of bytes.
pub(crate) fn restore(
    directory: &Path,
    store: &Path,
    accounts_max: Option<u32>,
    root: Option<&[u8; 32]>,
) -> Result<SnapshotDone, Box<dyn Error>> {
    let disk = Arc::new(RealDisk::new(store)?);
    timed("restored", |progress| {
        Ok(snapshot::restore(&RealDisk::at(directory), disk, accounts_max, root, StoreOptions::default(), progress)?)
    })
}

/// What `snapshot list` tells.
#[derive(Serialize)]
pub(crate) struct SnapshotList {
    snapshots: Vec<Listed>,
}

pub(crate) fn list(directory: &Path) -> Result<SnapshotList, Box<dyn Error>> {
    Ok(SnapshotList { snapshots: snapshot::list(&RealDisk::at(directory))? })
}

impl Shown for SnapshotList {
    fn text(&self) -> String {
        if self.snapshots.is_empty() {
            return "  no snapshots here\n".into();
        }
        let one = |listed: &Listed| {
            let info = &listed.info;
            facts(&[
                ("directory", listed.directory.display().to_string()),
                ("height", format!("{}, {}", grouped(info.height), counted(info.accounts, "account"))),
                ("size", format!("{}, {} of {} chunks are here", bytes(info.bytes), listed.chunks_there, info.chunks)),
                ("state root", info.state_root.clone()),
            ])
        };
        self.snapshots.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}
