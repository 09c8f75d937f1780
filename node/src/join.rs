//! Joining a chain by a snapshot: fetched from peers, checked against a block's hash that the operator trusts.
//!
//! Everything is checked before it is used: the second block by the trusted hash, the first by the second, the system by the
//! first, the manifest by the second, each chunk by the manifest. A peer can be slow or silent; it cannot lie. What was fetched
//! before an interruption is not fetched again.

use crate::daemon::chain_store::system_path;
use crate::daemon::published::{Offer, PIECE_BYTES, Part, read_blocks};
use crate::daemon::sealed::{self, SealedError, SealedKind};
use crate::daemon::wire::{CELLS, FRAME_PIECE, OFFERS, Piece, WantPiece};
use crate::guest;
use crate::snapshot::{self, SnapshotFailure};
use dynemix_engine::hash::Hash;
use dynemix_engine::state::snapshot::{MANIFEST_BYTES_MAX, Manifest};
use dynemix_engine::system::tables::System;
use dynemix_net::mesh::{Event, LinkShape, MeshHandle, MeshLimits, PeerId, Target, To};
use dynemix_storage::{Disk, StoreOptions, make_directory};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long peers are waited for who have the snapshot.
const OFFERS_WAIT: Duration = Duration::from_secs(15);
/// Pieces that are asked for at a time.
const PIECES_AHEAD: u64 = 4;
/// A piece that has not come after this is asked for again, of the next peer.
const PIECE_WAIT: Duration = Duration::from_secs(5);
/// Pieces in a row that nobody has given.
const SILENT_MAX: usize = 24;
/// Bytes of a system or of two blocks at most.
const PART_BYTES_MAX: u64 = 1 << 30;

/// A block that the operator trusts: `HEIGHT:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub block: Hash,
}

impl std::str::FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Trust, String> {
        let parts = text.split_once(':').and_then(|(height, hash)| Some((height.parse().ok()?, crate::genesis::bytes_of(hash)?)));
        let (height, block) = parts.ok_or_else(|| format!("'{text}' is not HEIGHT:HASH, the hash as 64 hexadecimal digits"))?;
        if height < 2 { Err("a snapshot is proved by the block after it: at least height 2".into()) } else { Ok(Trust { height, block }) }
    }
}

/// What is joined, and how.
pub struct JoinOptions {
    /// The node's data directory.
    pub data: PathBuf,
    /// The chain.
    pub chain: Hash,
    /// The block that is trusted.
    pub trust: Trust,
    /// Whom to ask.
    pub peers: Vec<Target>,
    /// Accounts that the state is to have room for.
    pub accounts_max: u32,
    /// The store's sizes.
    pub store: StoreOptions,
    /// Bounds of the network.
    pub limits: MeshLimits,
    /// The line.
    pub link: LinkShape,
}

/// Why a chain cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The network.
    #[error("the network: {0}")]
    Network(#[from] io::Error),
    /// Nobody has been reached.
    #[error("none of {0} peers has answered; check network.peers, and that the genesis file is this chain's")]
    Alone(usize),
    /// Nobody has a snapshot that the trusted block proves.
    #[error(
        "no peer has a snapshot that block {height} {block} proves. Offered: {offered}. Compare one of these with a source that you \
         trust, such as another operator's `dynemix node status`, and give it"
    )]
    NotOffered {
        /// Trusted.
        height: u64,
        /// Its hash.
        block: String,
        /// What there is.
        offered: String,
    },
    /// Peers who have it do not give it.
    #[error("peers have stopped giving part {part} of the snapshot; run the same command again to go on from here")]
    Silent {
        /// Which.
        part: u32,
    },
    /// A part that is not what the trusted block proves.
    #[error("the snapshot's {0} is not what the trusted block proves; its peer is faulty, or lies")]
    Wrong(&'static str),
    /// Files.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFailure),
}

struct Heard {
    from: PeerId,
    piece: Option<Piece>,
}

/// Guests' connections to peers.
struct Peers {
    mesh: MeshHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
    heard: Receiver<Heard>,
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.mesh.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Peers {
    fn call(options: &JoinOptions) -> Result<Peers, JoinError> {
        let (mesh, handle) = guest::mesh(options.chain, options.limits, options.link)?;
        let (tell, heard) = channel();
        let thread = std::thread::Builder::new().name("join".into()).spawn(move || {
            mesh.run(|event| {
                let heard = match event {
                    Event::Opened(peer, ..) => Heard { from: peer.id, piece: None },
                    Event::Frame(peer, _, body) => match body.split_first() {
                        Some((&FRAME_PIECE, bytes)) => Heard { from: peer.id, piece: Piece::read(bytes) },
                        _ => return,
                    },
                    _ => return,
                };
                // Whoever waited for it has gone.
                let _ = tell.send(heard);
            })
        })?;
        handle.set_targets(options.peers.clone());
        Ok(Peers { mesh: handle, thread: Some(thread), heard })
    }

    fn want(&self, peer: PeerId, want: WantPiece) {
        self.mesh.send(To::Peer(peer), CELLS, want.encode().into());
    }

    /// Peers who have the snapshot that the trusted block proves.
    fn who_has(&self, options: &JoinOptions) -> Result<Vec<PeerId>, JoinError> {
        let until = Instant::now() + OFFERS_WAIT;
        let (mut asked, mut have, mut offered) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        let (mut enough_at, mut answered) = (until, BTreeSet::new());
        while let Ok(Heard { from, piece }) = self.heard.recv_timeout(enough_at.saturating_duration_since(Instant::now())) {
            let Some(piece) = piece else {
                asked.insert(from);
                self.want(from, WantPiece { height: OFFERS, part: 0, offset: 0 });
                continue;
            };
            answered.insert(from);
            for Offer { height, block } in piece.offers() {
                offered.insert(height, block);
                if (height, block) == (options.trust.height, options.trust.block) && !have.contains(&from) {
                    have.push(from);
                    // Others may answer within a moment.
                    enough_at = enough_at.min(Instant::now() + Duration::from_secs(1));
                }
            }
            if answered.len() >= options.peers.len() {
                break;
            }
        }
        if asked.is_empty() {
            return Err(JoinError::Alone(options.peers.len()));
        }
        if have.is_empty() {
            let hex = |hash: &Hash| crate::genesis::digits(hash);
            let mut shown: Vec<String> = offered.iter().map(|(height, block)| format!("{height}:{}", hex(block))).collect();
            if shown.is_empty() {
                shown.push("nothing".into());
            }
            let Trust { height, block } = options.trust;
            return Err(JoinError::NotOffered { height, block: hex(&block), offered: shown.join(", ") });
        }
        Ok(have)
    }

    /// Fetches a part of at most so many bytes; `progress` hears how many have come.
    fn fetch(
        &self,
        peers: &[PeerId],
        height: u64,
        part: Part,
        bytes_max: u64,
        mut progress: impl FnMut(u64),
    ) -> Result<Vec<u8>, JoinError> {
        let (number, step) = (part.number(), PIECE_BYTES as u64);
        let (mut out, mut waiting) = (Vec::new(), BTreeMap::new());
        let (mut total, mut asked_to, mut turn, mut silent) = (None, 0, 0, 0);
        while total != Some(out.len() as u64) {
            let ahead = out.len() as u64 + PIECES_AHEAD * step;
            while asked_to < total.unwrap_or(1).min(ahead) {
                self.want(peers[turn % peers.len()], WantPiece { height, part: number, offset: asked_to });
                asked_to += step;
            }
            let Some(piece) = self.heard.recv_timeout(PIECE_WAIT).ok().and_then(|heard| heard.piece) else {
                silent += 1;
                if silent > SILENT_MAX {
                    return Err(JoinError::Silent { part: number });
                }
                // What is missing is asked of the next one.
                (turn, asked_to) = (turn + 1, out.len() as u64);
                continue;
            };
            let of_part = (piece.height, piece.part) == (height, number) && total.is_none_or(|total| total == piece.total);
            let fits = piece.total <= bytes_max && piece.bytes.len() as u64 <= piece.total.saturating_sub(piece.offset);
            if !of_part || !fits {
                continue;
            }
            total = Some(piece.total);
            silent = 0;
            waiting.insert(piece.offset, piece.bytes);
            while let Some(bytes) = waiting.remove(&(out.len() as u64)).filter(|bytes| !bytes.is_empty()) {
                out.extend(bytes);
            }
            progress(out.len() as u64);
        }
        Ok(out)
    }
}

/// Fetches the snapshot that the trusted block proves and makes a store of it; returns its height. `progress` hears bytes of all.
///
/// # Errors
/// When no peer has it, one lies, or the disk refuses. What was fetched stays, for the next try.
pub fn join(options: &JoinOptions, disk: Arc<dyn Disk>, mut progress: impl FnMut(u64, u64)) -> Result<u64, JoinError> {
    let height = options.trust.height - 1;
    let directory = options.data.join("joining");
    make_directory(&directory)?;
    let peers = Peers::call(options)?;
    let have = peers.who_has(options)?;
    tracing::info!("{} peers have the snapshot of height {height}", have.len());
    let keep = |part: Part, bytes: &[u8]| write_whole(&part.path(&directory), bytes);

    keep(Part::Blocks, &peers.fetch(&have, height, Part::Blocks, PART_BYTES_MAX, |_| {})?)?;
    let blocks = read_blocks(&directory, &options.chain).ok_or(JoinError::Wrong("blocks"))?;
    let [at, proof] = &blocks;
    let linked = proof.value.height == options.trust.height && proof.value.hash() == options.trust.block;
    if !linked || proof.value.parent != at.value.hash() {
        return Err(JoinError::Wrong("blocks"));
    }
    keep(Part::System, &peers.fetch(&have, height, Part::System, PART_BYTES_MAX, |_| {})?)?;
    let (_, payload) =
        sealed::read(&Part::System.path(&directory), SealedKind::System, &options.chain)?.ok_or(JoinError::Wrong("system"))?;
    let system = System::decode(&payload).map_err(|_| JoinError::Wrong("system"))?;
    if system.height != height || system.hash != at.value.hash() || system.root() != at.value.system {
        return Err(JoinError::Wrong("system"));
    }
    let manifest_bytes = peers.fetch(&have, height, Part::Manifest, MANIFEST_BYTES_MAX as u64, |_| {})?;
    let manifest = Manifest::decode(&manifest_bytes).map_err(|_| JoinError::Wrong("manifest"))?;
    if (manifest.chain, manifest.height, manifest.root) != (options.chain, height, proof.value.parent_root) {
        return Err(JoinError::Wrong("manifest"));
    }
    keep(Part::Manifest, &manifest_bytes)?;
    let (all, mut done) = (manifest.bytes(), 0);
    for chunk in 0..manifest.nodes.len() {
        let (part, expected) = (Part::Chunk(chunk as u32), manifest.chunk_bytes(chunk) as u64);
        let there = fs::read(part.path(&directory)).is_ok_and(|bytes| manifest.verify_chunk(chunk, &bytes).is_ok());
        if !there {
            let bytes = peers.fetch(&have, height, part, expected, |more| progress(done + more, all))?;
            manifest.verify_chunk(chunk, &bytes).map_err(|_| JoinError::Wrong("chunk"))?;
            keep(part, &bytes)?;
        }
        done += expected;
        progress(done, all);
    }
    drop(peers);
    // The system stands there before the store that needs it.
    sealed::write_whole(&system_path(&options.data, height), SealedKind::System, &options.chain, height, &payload)?;
    snapshot::restore(&directory, disk, Some(options.accounts_max), Some(&manifest.root), options.store, |_, _| {})?;
    // What stays is only in the way.
    let _ = fs::remove_dir_all(&directory);
    Ok(height)
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), JoinError> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(&part, path)?;
    Ok(())
}
