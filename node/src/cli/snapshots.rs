//! `dynemix snapshot`: the verbs over [`dynemix::keep::snapshot`].

use super::bench::Shown;
use super::inspect::open_any;
use dynemix::keep::snapshot::{self, Listed, SnapshotInfo};
use dynemix_bench::report::{bar, bytes, facts, grouped, table};
use dynemix_storage::{RealDisk, StoreOptions};
use serde::Serialize;
use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

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

/// `snapshot create`.
pub(crate) fn create(store: &Path, out: &Path) -> Result<SnapshotDone, Box<dyn Error>> {
    let opened = open_any(store)?;
    let chain = opened.store.keeper().chain();
    timed("created", |progress| Ok(snapshot::create(&opened.state, chain, out, progress)?))
}

/// `snapshot verify`.
pub(crate) fn verify(directory: &Path, root: Option<&[u8; 32]>) -> Result<SnapshotDone, Box<dyn Error>> {
    timed("verified", |progress| Ok(snapshot::verify(directory, root, progress)?))
}

/// `snapshot restore`.
pub(crate) fn restore(
    directory: &Path,
    store: &Path,
    accounts_max: Option<u32>,
    root: Option<&[u8; 32]>,
) -> Result<SnapshotDone, Box<dyn Error>> {
    let disk = Arc::new(RealDisk::new(store)?);
    timed("restored", |progress| {
        Ok(snapshot::restore(directory, disk, accounts_max, root, StoreOptions::default(), progress)?)
    })
}

/// `snapshot list`.
#[derive(Serialize)]
pub(crate) struct SnapshotList {
    snapshots: Vec<Listed>,
}

pub(crate) fn list(directory: &Path) -> Result<SnapshotList, Box<dyn Error>> {
    Ok(SnapshotList { snapshots: snapshot::list(directory)? })
}

impl Shown for SnapshotList {
    fn text(&self) -> String {
        if self.snapshots.is_empty() {
            return "  no snapshots here\n".into();
        }
        let rows: Vec<_> = self
            .snapshots
            .iter()
            .map(|listed| {
                let info = &listed.info;
                vec![
                    listed.directory.display().to_string(),
                    grouped(info.height),
                    grouped(info.accounts),
                    bytes(info.bytes),
                    format!("{}/{}", listed.chunks_there, info.chunks),
                    format!("{}..", &info.state_root[..16]),
                ]
            })
            .collect();
        table(&["directory", "height", "accounts", "size", "chunks", "state root"], &rows)
    }
}
