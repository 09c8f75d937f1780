//! Joining a chain by a snapshot: fetched from peers, checked against a block's hash that the operator trusts.
//!
//! Everything is checked before it is used: the second block by the trusted hash, the first by the second, the system
//! by the first, the manifest by the second, each chunk by the manifest. A peer can be slow or silent; it cannot lie.
//! What was fetched before an interruption is not fetched again.

use super::frames::{CELLS, OFFERS, PeerFrameKind, Piece, WantPiece};
use super::guest;
use crate::keep::chain_store::system_path;
use crate::keep::published::{Offer, PIECE_BYTES, Part, blocks_of};
use crate::keep::sealed::{self, SealedError, SealedKind};
use crate::keep::snapshot::{self, SnapshotFailure};
use crate::setup::trust::Trust;
use dynemix_engine::accounts::snapshot::{MANIFEST_BYTES_MAX, Manifest};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::tables::System;
use dynemix_net::mesh::{Event, LinkShape, MeshHandle, MeshLimits, PeerId, Target, To, TransportKey};
use dynemix_storage::{Disk, StoreOptions, make_directory};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
/// A piece that has not come after this is asked for again.
const PIECE_WAIT: Duration = Duration::from_millis(500);
/// A peer that has given nothing new for so long is not asked any more.
const PEER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a system or of two blocks at most.
const PART_BYTES_MAX: u64 = 1 << 30;

/// What is joined, and how.
pub struct JoinOptions {
    /// The node's data directory.
    pub data: PathBuf,
    /// Its identity, by the genesis file.
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
    /// A line that is worse than the real one, for tests.
    pub link: LinkShape,
}

/// Why a chain cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The system refuses to connect at all, or a file of what was fetched.
    #[error("the network: {0}")]
    Network(#[from] io::Error),
    /// Nobody has been reached.
    #[error("none of {0} peers has answered; check network.peers, and that the genesis file is this chain's")]
    Alone(usize),
    /// Nobody has a snapshot that the trusted block proves.
    #[error(
        "no peer has a snapshot that block {height} {block} proves. Offered: {offered}. Compare one of these with a \
         source that you \
         trust, such as another operator's `dynemix node status`, and give it"
    )]
    NotOffered {
        /// Height of the block that is trusted.
        height: u64,
        /// Its hash, in hexadecimal.
        block: String,
        /// What there is.
        offered: String,
    },
    /// Peers who have it do not give it.
    #[error("no peer gives the snapshot's {0} any more; run the same command again to go on from here")]
    Silent(Part),
    /// A part that is not what the trusted block proves.
    #[error("the snapshot's {0} is not what the trusted block proves, whoever gave it: those peers are faulty, or lie")]
    Wrong(Part),
    /// The file of the system cannot be written.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The state cannot be made of the snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFailure),
}

enum Heard {
    Opened(PeerId, TransportKey),
    Piece(PeerId, Piece),
}

/// Guests' connections to peers. A peer is known by its key: its connection may break and come back.
struct Peers {
    mesh: MeshHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
    heard: Receiver<Heard>,
    open: BTreeMap<TransportKey, PeerId>,
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
        let (mesh, handle) = guest::mesh(options.chain, true, options.limits, options.link)?;
        let (tell, heard) = channel();
        let thread = std::thread::Builder::new().name("join".into()).spawn(move || {
            mesh.run(|event| {
                let heard = match event {
                    Event::Opened(peer, key, _) => Heard::Opened(peer.id, key),
                    Event::Frame(peer, _, body) => match PeerFrameKind::split(&body) {
                        Some((PeerFrameKind::Piece, bytes)) => match Piece::read(bytes) {
                            Some(piece) => Heard::Piece(peer.id, piece),
                            None => return,
                        },
                        _ => return,
                    },
                    _ => return,
                };
                // Whoever waited for it has gone.
                let _ = tell.send(heard);
            })
        })?;
        handle.set_targets(options.peers.clone());
        Ok(Peers { mesh: handle, thread: Some(thread), heard, open: BTreeMap::new() })
    }

    /// The next piece within this time, and whose it is.
    fn hear(&mut self, wait: Duration) -> Option<(TransportKey, Piece)> {
        let until = Instant::now() + wait;
        loop {
            match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())).ok()? {
                Heard::Opened(peer, key) => drop(self.open.insert(key, peer)),
                Heard::Piece(from, piece) => {
                    if let Some((key, _)) = self.open.iter().find(|open| *open.1 == from) {
                        return Some((*key, piece));
                    }
                }
            }
        }
    }

    fn want(&self, peer: &TransportKey, want: WantPiece) {
        if let Some(&peer) = self.open.get(peer) {
            self.mesh.send(To::Peer(peer), CELLS, want.encode().into());
        }
    }

    /// Peers who have the snapshot that the trusted block proves.
    fn who_has(&mut self, options: &JoinOptions) -> Result<VecDeque<TransportKey>, JoinError> {
        let mut enough_at = Instant::now() + OFFERS_WAIT;
        let (mut asked, mut answered, mut have, mut offered) =
            (BTreeSet::new(), BTreeSet::new(), VecDeque::new(), BTreeMap::new());
        while Instant::now() < enough_at && answered.len() < options.peers.len() {
            let heard = self.hear(Duration::from_millis(200));
            for key in self.open.keys().filter(|&key| asked.insert(*key)) {
                self.want(key, WantPiece { height: OFFERS, part: 0, offset: 0 });
            }
            let Some((from, piece)) = heard else { continue };
            answered.insert(from);
            for Offer { height, block } in piece.offers() {
                offered.insert(height, block);
                if (height, block) == (options.trust.height, options.trust.block) && !have.contains(&from) {
                    have.push_back(from);
                    // Others may answer within a moment.
                    enough_at = enough_at.min(Instant::now() + Duration::from_secs(1));
                }
            }
        }
        if asked.is_empty() {
            return Err(JoinError::Alone(options.peers.len()));
        }
        if have.is_empty() {
            let mut shown: Vec<String> =
                offered.iter().map(|(height, block)| format!("{height}:{}", hex::encode(block))).collect();
            if shown.is_empty() {
                shown.push("nothing".into());
            }
            let Trust { height, block } = options.trust;
            return Err(JoinError::NotOffered { height, block: hex::encode(block), offered: shown.join(", ") });
        }
        Ok(have)
    }

    /// Fetches a part of at most so many bytes from one peer; none when it stops giving. `progress` hears how many have
    /// come.
    fn fetch_from(
        &mut self,
        peer: &TransportKey,
        height: u64,
        part: Part,
        bytes_max: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Option<Vec<u8>> {
        let (number, step) = (part.number(), PIECE_BYTES as u64);
        let (mut out, mut waiting) = (Vec::new(), BTreeMap::new());
        let (mut total, mut asked_to, mut came_at) = (None, 0, Instant::now());
        while total != Some(out.len() as u64) {
            let ahead = out.len() as u64 + PIECES_AHEAD * step;
            while asked_to < total.unwrap_or(1).min(ahead) {
                self.want(peer, WantPiece { height, part: number, offset: asked_to });
                asked_to += step;
            }
            // What was not asked for, and whoever was not asked, prolongs nothing.
            if came_at.elapsed() > PEER_WAIT {
                return None;
            }
            let Some((from, piece)) = self.hear(PIECE_WAIT) else {
                // It may have had nothing left to give this second: what is missing is asked for again.
                asked_to = out.len() as u64;
                continue;
            };
            if from != *peer || (piece.height, piece.part) != (height, number) {
                continue;
            }
            // A whole piece where one was asked for, or this peer is none to ask.
            let length = piece.total.saturating_sub(piece.offset).min(step);
            let asked = piece.offset.is_multiple_of(step) && piece.offset < asked_to;
            if piece.total > bytes_max
                || total.is_some_and(|total| total != piece.total)
                || !asked
                || piece.bytes.len() as u64 != length
            {
                return None;
            }
            total = Some(piece.total);
            if piece.offset >= out.len() as u64 && waiting.insert(piece.offset, piece.bytes).is_none() {
                came_at = Instant::now();
            }
            while let Some(bytes) = waiting.remove(&(out.len() as u64)) {
                out.extend(bytes);
                if total == Some(out.len() as u64) {
                    break;
                }
            }
            let come = out.len() as u64;
            assert!(come <= piece.total, "{come} bytes were put together of a part of {}", piece.total);
            progress(out.len() as u64);
        }
        Some(out)
    }

    /// Fetches a part from whoever gives one that `right` accepts; who does not is not asked again.
    fn fetch<T>(
        &mut self,
        have: &mut VecDeque<TransportKey>,
        height: u64,
        (part, bytes_max): (Part, u64),
        mut progress: impl FnMut(u64),
        right: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, JoinError> {
        let mut wrong = false;
        while let Some(peer) = have.front().copied() {
            if let Some(bytes) = self.fetch_from(&peer, height, part, bytes_max, &mut progress) {
                if let Some(right) = right(&bytes) {
                    return Ok(right);
                }
                wrong = true;
                tracing::warn!("a peer's {part} is not what the trusted block proves; it is not asked again");
            }
            have.pop_front();
        }
        if wrong { Err(JoinError::Wrong(part)) } else { Err(JoinError::Silent(part)) }
    }
}

/// Fetches the snapshot that the trusted block proves and makes a store of it; returns its height. `progress` hears
/// bytes of all.
///
/// # Errors
/// When no peer has it, one lies, or the disk refuses. What was fetched stays, for the next try.
pub fn join(options: &JoinOptions, disk: Arc<dyn Disk>, mut progress: impl FnMut(u64, u64)) -> Result<u64, JoinError> {
    let height = options.trust.height - 1;
    let directory = options.data.join("joining");
    make_directory(&directory)?;
    let mut peers = Peers::call(options)?;
    let mut have = peers.who_has(options)?;
    tracing::info!("{} peers have the snapshot of height {height}", have.len());
    let chain = &options.chain;
    let [at, proof] = peers.fetch(
        &mut have,
        height,
        (Part::Blocks, PART_BYTES_MAX),
        |_| {},
        |bytes| {
            let blocks = blocks_of(bytes, chain)?;
            let [at, proof] = &blocks;
            let linked = proof.value.height == options.trust.height && proof.value.hash() == options.trust.block;
            (linked && proof.value.parent == at.value.hash()).then_some(blocks)
        },
    )?;
    let system = peers.fetch(
        &mut have,
        height,
        (Part::System, PART_BYTES_MAX),
        |_| {},
        |bytes| {
            let (_, payload) = sealed::unseal(bytes, SealedKind::System, chain).ok()?;
            let system = System::decode(&payload).ok()?;
            let right = (system.height, system.hash, system.root()) == (height, at.value.hash(), at.value.system);
            right.then_some(payload)
        },
    )?;
    let (manifest, manifest_bytes) = peers.fetch(
        &mut have,
        height,
        (Part::Manifest, MANIFEST_BYTES_MAX as u64),
        |_| {},
        |bytes| {
            let manifest = Manifest::decode(bytes).ok()?;
            let right = (manifest.chain, manifest.height, manifest.root) == (*chain, height, proof.value.parent_root);
            right.then(|| (manifest, bytes.to_vec()))
        },
    )?;
    let keep = |part: Part, bytes: &[u8]| write_whole(&part.path(&directory), bytes);
    keep(Part::Manifest, &manifest_bytes)?;
    let (all, mut done) = (manifest.bytes(), 0);
    for chunk in 0..manifest.nodes.len() {
        let (part, expected) = (Part::Chunk(chunk as u32), manifest.chunk_bytes(chunk) as u64);
        let right = |bytes: &[u8]| manifest.verify_chunk(chunk, bytes).is_ok().then(|| bytes.to_vec());
        let there = fs::read(part.path(&directory)).is_ok_and(|bytes| right(&bytes).is_some());
        if !there {
            let bytes = peers.fetch(&mut have, height, (part, expected), |more| progress(done + more, all), right)?;
            keep(part, &bytes)?;
        }
        done += expected;
        progress(done, all);
    }
    assert_eq!(done, all, "every chunk of the snapshot is here");
    drop(peers);
    // The system stands there before the store that needs it.
    sealed::write_whole(&system_path(&options.data, height), SealedKind::System, &options.chain, height, &system)?;
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
