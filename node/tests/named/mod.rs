//! A peer with a name that says whatever it likes, and nodes to say it to, in this process.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use dynemix::devnet::layout::{Devnet, DevnetShape, any_simd, secret};
use dynemix::devnet::ports::Ports;
use dynemix::keep::chain_store::Genesis;
use dynemix::minting::node::{MintingKeys, Node, NodeOptions};
use dynemix::peer::frames::{self, PeerFrameKind};
use dynemix::setup::clock::{Clock, unix_ms};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::vote::bls::{BlsSigning, VoteKeys};
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{
    Claim, Doorkeeper, Event, LinkShape, Mesh, MeshHandle, MeshLimits, MeshOptions, PeerId, Standing, Target, To,
    TransportKey, public_key,
};
use dynemix_storage::{RealDisk, StoreOptions};
use ed25519_dalek::{Signer, SigningKey};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// The minters of the genesis that have something at stake; one more has a dyne.
pub const MINTERS: u32 = 4;
/// The one with a dyne: never drawn, but it has a name.
pub const POOR: u32 = MINTERS;

/// Nodes of minters, in this process.
pub struct Town {
    pub genesis: Genesis,
    pub nodes: Vec<Node>,
    _directories: Vec<TempDir>,
    _ports: Ports,
}

impl Town {
    /// Nodes of the first so many of four minters, with slots of a second.
    pub fn of(running: u32, quilt: bool) -> Town {
        let shape = DevnetShape {
            nodes: MINTERS + 1,
            shards: 1,
            slot_ms: 1_000,
            quilt,
            load_accounts: 8,
            link: String::new(),
            liar: false,
            simd: any_simd(),
        };
        let start_ms = unix_ms() + 500;
        let (pids, ports, api_ports) = (Vec::new(), None, None);
        let devnet =
            Devnet { format: 1, shape, start_ms, peer_port: 1, api_port: 100, pids, made: true, ports, api_ports };
        let mut file = devnet.genesis();
        file.parameters.consensus.seats = MINTERS;
        let ports = Ports::reserve(MINTERS + 1).unwrap();
        let address = |minter: u32| (Ipv4Addr::LOCALHOST, ports.first + minter as u16).into();
        let addresses: Vec<SocketAddr> = (0..=MINTERS).map(address).collect();
        for (minter, address) in file.minters.iter_mut().zip(&addresses) {
            minter.address = Some(*address);
        }
        file.minters[POOR as usize].stake = DYNE;
        let genesis = file.genesis().unwrap();
        let directories: Vec<TempDir> = (0..running).map(|_| tempfile::tempdir().unwrap()).collect();
        let start = |(minter, directory): (u32, &TempDir)| {
            let owner = SigningKey::from_bytes(&secret("owner", minter.into()));
            let options = NodeOptions {
                data: Arc::new(RealDisk::at(directory.path())),
                genesis: file.genesis().unwrap(),
                minting: Some(MintingKeys {
                    account: owner.verifying_key().to_bytes(),
                    vote: Zeroizing::new(secret("vote", minter.into())),
                }),
                transport: Zeroizing::new(secret("transport", minter.into())),
                listen: Some(addresses[minter as usize]),
                public: Some(addresses[minter as usize]),
                bootstrap: Vec::new(),
                link: LinkShape::default(),
                limits: MeshLimits::default(),
                store: StoreOptions {
                    segment_bytes: 16 << 20,
                    window_records: 1_000,
                    limit_bytes: 1 << 30,
                    watermark_bytes: 1 << 20,
                },
                checkpoint_bytes: 64 << 20,
                clock: Clock::new(start_ms, true),
                first_run: true,
                key_cache_keys: 1 << 12,
                simd: None,
                verify_threads: 1,
                hints: true,
                counted: None,
                memory_bytes: 4 << 30,
                api_bytes: 0,
                snapshot_blocks: 0,
                snapshot_bytes_per_s: 1 << 20,
            };
            Node::start(options).unwrap()
        };
        let nodes = (0..running).zip(&directories).map(start).collect();
        Town { genesis, nodes, _directories: directories, _ports: ports }
    }

    pub fn target(&self, minter: u32) -> Target {
        Target {
            key: public_key(&secret("transport", minter.into())),
            address: self.nodes[minter as usize].address().unwrap(),
        }
    }

    pub fn height(&self, minter: u32) -> u64 {
        self.nodes[minter as usize].view().status.look(|live| live.height)
    }

    /// Waits until this is so.
    pub fn wait(&self, what: &str, patience: Duration, is: impl Fn(&Town) -> bool) {
        let end = Instant::now() + patience;
        while !is(self) {
            assert!(
                Instant::now() < end,
                "not yet {what}: heights {:?}",
                (0..self.nodes.len()).map(|node| self.height(node as u32)).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The account of a minter: its candidate.
    pub fn candidate(&self, minter: u32) -> u32 {
        self.genesis.minters[minter as usize].account
    }

    pub fn stop(self) {
        for node in self.nodes {
            node.stop(true).unwrap();
        }
    }
}

struct Liar {
    chain: Hash,
    candidate: Option<u32>,
    signing: BlsSigning,
}

impl Doorkeeper for Liar {
    fn hello(&self, handshake_hash: &[u8; 32]) -> Vec<u8> {
        let sign = |digest: &Hash| self.signing.sign(digest);
        frames::hello(&self.chain, handshake_hash, self.candidate.map(|candidate| (candidate, sign)))
    }

    fn read(&self, _: &[u8]) -> Result<Claim, String> {
        Ok(Claim::Guest)
    }

    fn prove(&self, _: &[u8], _: u32, _: &TransportKey, _: &[u8; 32]) -> bool {
        false
    }
}

enum Seen {
    Opened(PeerId),
    Closed,
    Frame(Vec<u8>),
}

/// A peer that has proved the name of a minter, or none, and speaks by hand.
pub struct Named {
    handle: MeshHandle,
    seen: Receiver<Seen>,
    peer: PeerId,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Named {
    fn drop(&mut self) {
        self.handle.stop();
        self.thread.take().map(JoinHandle::join);
    }
}

impl Named {
    /// Connects to a node.
    pub fn connect(town: &Town, minter: Option<u32>, to: u32) -> Named {
        Named::try_connect(town, minter, to, Duration::from_secs(10)).expect("it is let in")
    }

    /// Connects to a node under a new key; none if it is not let in within this time.
    pub fn try_connect(town: &Town, minter: Option<u32>, to: u32, within: Duration) -> Option<Named> {
        let chain = town.genesis.chain.genesis_hash;
        let signing = BlsSigning::new(&secret("vote", minter.unwrap_or(99).into()), Arc::<VoteKeys>::default());
        let door = Liar { chain, candidate: minter.map(|minter| town.candidate(minter)), signing };
        let mut transport = [0; 32];
        getrandom::fill(&mut transport).unwrap();
        let mut limits = MeshLimits::default().of_caller();
        limits.of_mut(Standing::Called).outgoing_max = [256 << 20; 4];
        let options = MeshOptions {
            listen: None,
            prologue: frames::prologue(&chain),
            secret: transport,
            limits,
            link: LinkShape::default(),
        };
        let (mesh, handle) = Mesh::new(options, door).unwrap();
        let (tell, seen) = channel();
        let thread = std::thread::spawn(move || {
            mesh.run(|event| {
                let _ = tell.send(match event {
                    Event::Opened(peer, ..) => Seen::Opened(peer.id),
                    Event::Closed(..) => Seen::Closed,
                    Event::Frame(_, _, body) => Seen::Frame(body.to_vec()),
                    Event::TurnedAway(..) => return,
                });
            })
            .unwrap();
        });
        handle.set_targets(vec![town.target(to)]);
        let mut named = Named { handle, seen, peer: PeerId(0), thread: Some(thread) };
        let end = Instant::now() + within;
        named.peer = loop {
            match named.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Seen::Opened(peer)) => break peer,
                Ok(Seen::Closed | Seen::Frame(_)) => {}
                Err(_) => return None,
            }
        };
        // Whoever is thrown out stays out.
        named.handle.set_targets(Vec::new());
        Some(named)
    }

    pub fn send(&self, class: u8, frame: Vec<u8>) {
        self.handle.send(To::Peer(self.peer), class, frame.into());
    }

    pub fn say(&self, class: u8, message: &Message) {
        self.send(class, frame_of(message));
    }

    /// Whether the node has thrown it out, within this time.
    pub fn is_thrown_out(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            match self.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Seen::Closed) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// The next frame of this kind.
    pub fn hear(&self, kind: PeerFrameKind, within: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + within;
        loop {
            match self.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Seen::Frame(frame)) if frame.first() == Some(&(kind as u8)) => return Some(frame),
                Ok(Seen::Closed) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

pub fn frame_of(message: &Message) -> Vec<u8> {
    let mut frame = vec![PeerFrameKind::Message as u8];
    encode(message, &Nobody, &mut frame);
    frame
}

/// A cell with its signature.
pub fn signed(town: &Town, owner: &SigningKey, mut cell: Cell) -> Cell {
    cell.sender = owner.verifying_key().to_bytes();
    let message = [&town.genesis.chain.transaction_prefix[..], cell.signed_part()].concat();
    cell.signature = owner.sign(&message).to_bytes();
    cell
}
