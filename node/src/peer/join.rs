//! Joining a chain by a snapshot: fetched from peers, checked against a block's hash that the operator trusts.
//!
//! Everything is checked before it is used: the second block by the trusted hash, the first by the second, the system
//! by the first, the manifest by the second, each chunk by the manifest. A peer can be slow or silent; it cannot lie.
//! What was fetched before an interruption is not fetched again.

use super::frames::{CELLS, OFFERS, PeerFrameKind, Piece, WantPiece};
use super::guest;
use super::patience::Patience;
use crate::keep::chain_store::{state_folder, system_name};
use crate::keep::published::{Offer, PIECE_BYTES, Part, blocks_of};
use crate::keep::sealed::{self, SealedError, SealedKind};
use crate::keep::snapshot::{self, SnapshotFailure};
use crate::setup::trust::Trust;
use dynemix_engine::accounts::snapshot::{MANIFEST_BYTES_MAX, Manifest};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::tables::System;
use dynemix_net::mesh::{Event, LinkShape, MeshHandle, MeshLimits, PeerId, Target, To, TransportKey};
use dynemix_storage::{Disk, StoreOptions};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
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
/// Bytes of a system at most.
const SYSTEM_BYTES_MAX: u64 = 128 << 20;
/// Bytes of two blocks at most, certificates alone: a few hundred each seat.
const BLOCKS_BYTES_MAX: u64 = 1 << 20;

/// What is joined, and how.
pub struct JoinOptions {
    /// The node's directory.
    pub data: Arc<dyn Disk>,
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

/// Why a peer has not given a part.
#[derive(Debug, PartialEq, Eq)]
enum Unfetched {
    /// It has given nothing.
    Silent,
    /// It stopped, or would take too long.
    Slow,
    /// What it gave is no piece of what was asked for.
    Wrong,
}

/// Guests' connections to peers. A peer is known by its key: its connection may break and come back.
struct Peers {
    mesh: MeshHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
    heard: Receiver<Heard>,
    open: BTreeMap<TransportKey, PeerId>,
    patience: Patience,
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
        Ok(Peers { mesh: handle, thread: Some(thread), heard, open: BTreeMap::new(), patience: Patience::default() })
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

    /// Fetches a part of at most so many bytes from one peer. `progress` hears how many have come.
    fn fetch_from(
        &mut self,
        peer: &TransportKey,
        height: u64,
        part: Part,
        bytes_max: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<u8>, Unfetched> {
        let (number, step) = (part.number(), PIECE_BYTES as u64);
        let (mut out, mut waiting) = (Vec::new(), BTreeMap::new());
        let (mut total, mut asked_to, begun) = (None, 0, Instant::now());
        let mut came_at = begun;
        while total != Some(out.len() as u64) {
            let ahead = out.len() as u64 + PIECES_AHEAD * step;
            while asked_to < total.unwrap_or(1).min(ahead) {
                self.want(peer, WantPiece { height, part: number, offset: asked_to });
                asked_to += step;
            }
            // What was not asked for, and whoever was not asked, prolongs nothing.
            if self.patience.is_over(begun.elapsed(), came_at.elapsed(), total.unwrap_or(0)) {
                return Err(if total.is_none() { Unfetched::Silent } else { Unfetched::Slow });
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
                return Err(Unfetched::Wrong);
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
        Ok(out)
    }

    /// Fetches a part from whoever gives one that `right` accepts; who does not is not asked again, who is slow behind
    /// all others.
    fn fetch<T>(
        &mut self,
        have: &mut VecDeque<TransportKey>,
        height: u64,
        (part, bytes_max): (Part, u64),
        mut progress: impl FnMut(u64),
        right: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, JoinError> {
        let (mut wrong, mut slow) = (false, 0);
        while let Some(peer) = have.pop_front() {
            match self.fetch_from(&peer, height, part, bytes_max, &mut progress) {
                Ok(bytes) => {
                    if let Some(right) = right(&bytes) {
                        have.push_front(peer);
                        return Ok(right);
                    }
                    wrong = true;
                    tracing::warn!("a peer's {part} is not what the trusted block proves; it is not asked again");
                }
                Err(Unfetched::Silent | Unfetched::Wrong) => {}
                Err(Unfetched::Slow) => {
                    tracing::debug!("a peer gives the snapshot's {part} too slowly; others are asked first");
                    have.push_back(peer);
                    slow += 1;
                }
            }
            // All that are left are slow: the line may be, so less is expected of each, as long as it is anything.
            if slow >= have.len() && !have.is_empty() {
                slow = 0;
                if !self.patience.lessen() {
                    break;
                }
            }
        }
        if wrong { Err(JoinError::Wrong(part)) } else { Err(JoinError::Silent(part)) }
    }
}

/// Fetches the snapshot that the trusted block proves and makes a store of it; returns its height. `progress` hears
/// bytes of all.
///
/// # Errors
/// When no peer has it, one lies, or the disk refuses. What was fetched stays, for the next try.
pub fn join(options: &JoinOptions, mut progress: impl FnMut(u64, u64)) -> Result<u64, JoinError> {
    let height = options.trust.height - 1;
    let joining = options.data.folder("joining");
    joining.make()?;
    let mut peers = Peers::call(options)?;
    let mut have = peers.who_has(options)?;
    tracing::info!("{} peers have the snapshot of height {height}", have.len());
    let chain = &options.chain;
    let [at, proof] = peers.fetch(
        &mut have,
        height,
        (Part::Blocks, BLOCKS_BYTES_MAX),
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
        (Part::System, SYSTEM_BYTES_MAX),
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
    let keep = |part: Part, bytes: &[u8]| joining.replace(&part.name(), &[bytes]);
    keep(Part::Manifest, &manifest_bytes)?;
    let (all, mut done) = (manifest.bytes(), 0);
    for chunk in 0..manifest.nodes.len() {
        let (part, expected) = (Part::Chunk(chunk as u32), manifest.chunk_bytes(chunk) as u64);
        let right = |bytes: &[u8]| manifest.verify_chunk(chunk, bytes).is_ok().then(|| bytes.to_vec());
        let there = joining.read_whole(&part.name(), expected + 1).is_ok_and(|bytes| right(&bytes).is_some());
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
    sealed::write_whole(&*options.data, &system_name(height), SealedKind::System, &options.chain, height, &system)?;
    let disk = state_folder(&*options.data);
    disk.make()?;
    snapshot::restore(&*joining, disk, Some(options.accounts_max), Some(&manifest.root), options.store, |_, _| {})?;
    // What stays is only in the way.
    let _ = options.data.remove_folder("joining");
    Ok(height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::frames::{BODIES, hello, prologue, read_hello};
    use dynemix_engine::base::ids::Sig;
    use dynemix_net::mesh::{Claim, Doorkeeper, Mesh, MeshOptions, public_key};
    use dynemix_storage::MemoryDisk;
    use std::net::Ipv4Addr;

    const CHAIN: Hash = [3; 32];

    struct OpenDoor;

    impl Doorkeeper for OpenDoor {
        fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
            hello(&CHAIN, handshake_hash, None::<(u32, fn(&Hash) -> Sig)>)
        }

        fn read(&self, hello: &[u8]) -> Result<Claim, String> {
            read_hello(&CHAIN, hello).map_err(|error| error.to_string())
        }

        fn prove(&self, _: &[u8], _: u32, _: &TransportKey, _: &[u8; 32]) -> bool {
            false
        }
    }

    /// A server that answers each question for a piece as `piece` says: of how long a part, which bytes, after how long.
    fn server(number: u8, piece: impl Fn(&WantPiece) -> (u64, Vec<u8>, Duration) + Send + 'static) -> Target {
        let options = MeshOptions {
            listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
            prologue: prologue(&CHAIN),
            secret: [number; 32],
            limits: MeshLimits::default(),
            link: LinkShape::default(),
        };
        let (mesh, handle) = Mesh::new(options, OpenDoor).unwrap();
        let address = handle.address().unwrap();
        let (ask, asked) = channel::<(PeerId, WantPiece)>();
        std::thread::spawn(move || {
            mesh.run(|event| {
                if let Event::Frame(peer, _, body) = event
                    && let Some((PeerFrameKind::Want, bytes)) = PeerFrameKind::split(&body)
                {
                    let _ = ask.send((peer.id, WantPiece::read(bytes).unwrap()));
                }
            })
        });
        std::thread::spawn(move || {
            for (peer, want) in asked {
                let (total, bytes, after) = piece(&want);
                std::thread::sleep(after);
                handle.send(To::Peer(peer), BODIES, Piece::encode(want, total, &bytes).into());
            }
        });
        Target { key: public_key(&[number; 32]), address }
    }

    #[test]
    fn a_server_that_gives_a_little_now_and_then_is_passed_over() {
        let step = PIECE_BYTES as u64;
        // It says that the blocks are as long as they may be, and keeps giving just in time.
        let slow = server(1, move |_| (BLOCKS_BYTES_MAX, vec![7; step as usize], Duration::from_millis(400)));
        let good = server(2, |_| (5, b"right".to_vec(), Duration::ZERO));
        let liar = server(3, |_| (1 << 30, vec![7; 128 << 10], Duration::ZERO));
        let options = JoinOptions {
            data: Arc::new(MemoryDisk::new()),
            chain: CHAIN,
            trust: Trust { height: 9, block: [1; 32] },
            peers: vec![slow, good, liar],
            accounts_max: 10,
            store: StoreOptions::default(),
            limits: MeshLimits::default(),
            link: LinkShape::default(),
        };
        let mut peers = Peers::call(&options).unwrap();
        peers.patience = Patience::waiting(Duration::from_millis(500));
        let begun = Instant::now();
        while peers.open.len() < 3 {
            peers.hear(Duration::from_millis(50));
            assert!(begun.elapsed() < Duration::from_secs(20), "they are reached");
        }
        let mut have: VecDeque<TransportKey> = [liar.key, slow.key, good.key].into();
        let begun = Instant::now();
        let right = |bytes: &[u8]| (bytes == b"right").then(|| bytes.to_vec());
        let fetched = peers.fetch(&mut have, 8, (Part::Blocks, BLOCKS_BYTES_MAX), |_| {}, right);
        assert_eq!(fetched.unwrap(), b"right");
        // Eight pieces of 400 ms are 3.2 s for one megabyte, and without a bound of its own as long as it likes.
        assert!(begun.elapsed() > Duration::from_millis(500), "the slow one had its time");
        assert_eq!(have, [good.key, slow.key], "who claims too much is gone, who is slow is last");
    }
}
