//! A real node that is alone in its committee, on loopback and a real disk, and guests that speak to it as programs of
//! users do.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use bytemuck::Zeroable;
use dynemix::keep::chain_store::Genesis;
use dynemix::minting::node::{MintingKeys, Node, NodeOptions};
use dynemix::peer::frames::{CELLS, Outcome, PeerFrameKind, cells_frame, put_cell};
use dynemix::peer::guest;
use dynemix::setup::clock::{Clock, unix_ms};
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter, SubSlots};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_net::mesh::{Event, LinkShape, MeshHandle, MeshLimits, PeerId, Target, To, public_key};
use dynemix_storage::{RealDisk, StoreOptions};
use ed25519_dalek::{Signer, SigningKey};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

pub const SLOT_MS: u64 = 200;
pub const ACCOUNTS: u8 = 8;
/// What each account begins with.
pub const BALANCE: u64 = 1_000 * DYNE;
/// `expires_slot` of ordinary transactions.
pub const EXPIRES: u64 = 4_000;
/// How long anything may take on a computer with other work.
pub const PATIENCE: Duration = Duration::from_secs(20);

const OWNER: u8 = 200;
const VOTE: [u8; 32] = [201; 32];
pub const TRANSPORT: [u8; 32] = [202; 32];

pub fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn key(number: u8) -> Key {
    secret(number).verifying_key().to_bytes()
}

/// A chain of one minter, whose account is the first, and these.
pub fn genesis_of(users: impl IntoIterator<Item = Key>, quilt: bool) -> Genesis {
    let owner = (key(OWNER), BALANCE);
    let accounts: Vec<(Key, u64)> =
        std::iter::once(owner).chain(users.into_iter().map(|user| (user, BALANCE))).collect();
    let (vote_key, _) = BlsSigning::key_and_possession(&VOTE, &key(OWNER));
    let minter = GenesisMinter {
        account: 0,
        name: b"alone".to_vec(),
        stake: 1_000 * DYNE,
        key: Box::new(vote_key),
        endpoint: Endpoint::default(),
    };
    let consensus = ConsensusParameters {
        seats: 1,
        shards_max: 1,
        quilt_from_height: if quilt { 0 } else { u64::MAX },
        emission: 0,
        accounts_max: 16_384,
        line_bytes_per_s: 125_000_000,
        sub_slots: SubSlots::LOCAL,
        ..ConsensusParameters::default()
    };
    let parameters = ChainParameters { slot_ms: SLOT_MS, consensus, ..ChainParameters::default() };
    let chain = Chain::with_minters(parameters, &accounts, std::slice::from_ref(&minter));
    Genesis { chain, accounts, minters: vec![minter], accounts_max: 16_384 }
}

pub fn genesis() -> Genesis {
    genesis_of((0..ACCOUNTS).map(key), false)
}

/// A node of this chain, which began at this time.
pub fn options(directory: &Path, genesis: Genesis, begun_ms: u64) -> NodeOptions {
    NodeOptions {
        data: Arc::new(RealDisk::at(directory)),
        genesis,
        minting: Some(MintingKeys { account: key(OWNER), vote: Zeroizing::new(VOTE) }),
        transport: Zeroizing::new(TRANSPORT),
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        public: None,
        bootstrap: Vec::new(),
        link: LinkShape::default(),
        limits: MeshLimits::default(),
        store: StoreOptions { segment_bytes: 1 << 20, ..StoreOptions::default() },
        checkpoint_bytes: 1 << 20,
        clock: Clock::new(begun_ms, true),
        first_run: false,
        key_cache_keys: 1 << 14,
        simd: None,
        verify_threads: 2,
        hints: true,
        counted: None,
        memory_bytes: 4 << 30,
        api_bytes: 0,
        snapshot_blocks: 0,
        snapshot_bytes_per_s: 1 << 20,
    }
}

/// Begins the chain of a directory: its time when the node is there.
pub fn start(directory: &Path) -> Node {
    start_with(options(directory, genesis(), unix_ms() + 3_600_000))
}

/// The same of a node whose chain would start in an hour.
pub fn start_with(options: NodeOptions) -> Node {
    let clock = options.clock.clone();
    let node = Node::start(options).unwrap();
    clock.shift(clock.until(0).as_millis() as i64);
    node
}

/// A transfer of the chain that [`genesis`] makes.
pub fn transfer(chain: &Chain, sender: u8, recipient: Key, amount: u64, sequence: u64) -> Cell {
    let cell =
        Cell { recipient, amount, sequence, expires_slot: EXPIRES, version: 1, kind: 1, outputs: 1, ..Cell::zeroed() };
    sign(chain, sender, cell)
}

pub fn sign(chain: &Chain, sender: u8, cell: Cell) -> Cell {
    let mut cell = Cell { sender: key(sender), ..cell };
    cell.signature = secret(sender).sign(&[&chain.transaction_prefix[..], cell.signed_part()].concat()).to_bytes();
    cell
}

/// What became of a transaction.
pub type Fate = Result<(), Refusal>;

enum Seen {
    Opened(PeerId),
    Closed,
    Outcome(Outcome),
}

/// A guest of a node, by hand.
pub struct Client {
    handle: MeshHandle,
    thread: Option<JoinHandle<()>>,
    seen: Receiver<Seen>,
    peer: PeerId,
    next: u64,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.handle.stop();
        self.thread.take().map(JoinHandle::join);
    }
}

impl Client {
    pub fn welcomed(node: &Node) -> Client {
        Client::try_connect(&genesis().chain, node.address().unwrap(), PATIENCE, || ()).expect("it is let in")
    }

    /// Connects to whoever listens there; none if it is not let in within this time. `begin` is done on the thread that
    /// it hears on.
    pub fn try_connect(
        chain: &Chain,
        address: SocketAddr,
        within: Duration,
        begin: impl FnOnce() + Send + 'static,
    ) -> Option<Client> {
        let (mesh, handle) =
            guest::mesh(chain.genesis_hash, false, MeshLimits::default(), LinkShape::default()).unwrap();
        let (tell, seen) = channel();
        let thread = std::thread::spawn(move || {
            begin();
            mesh.run(|event| {
                let seen = match event {
                    Event::Opened(peer, ..) => Seen::Opened(peer.id),
                    Event::Closed(..) => Seen::Closed,
                    Event::Frame(_, _, body) => match PeerFrameKind::split(&body) {
                        Some((PeerFrameKind::Outcome, bytes)) => Seen::Outcome(Outcome::read(bytes).unwrap()),
                        _ => return,
                    },
                    Event::TurnedAway(..) => return,
                };
                let _ = tell.send(seen);
            })
            .unwrap();
        });
        handle.set_targets(vec![Target { key: public_key(&TRANSPORT), address }]);
        let mut client = Client { handle, thread: Some(thread), seen, peer: PeerId(0), next: 0 };
        let end = Instant::now() + within;
        client.peer = loop {
            match client.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Seen::Opened(peer)) => break peer,
                Ok(_) => {}
                Err(_) => return None,
            }
        };
        // Whoever is thrown out stays out.
        client.handle.set_targets(Vec::new());
        Some(client)
    }

    pub fn say(&self, class: u8, frame: Vec<u8>) {
        self.handle.send(To::Peer(self.peer), class, frame.into());
    }

    pub fn submit(&mut self, cells: &[Cell]) {
        for cells in cells.chunks(512) {
            let mut frame = cells_frame(None, self.next);
            cells.iter().for_each(|cell| put_cell(&mut frame, bytemuck::bytes_of(cell), &[], None));
            self.next += cells.len() as u64;
            self.say(CELLS, frame);
        }
    }

    pub fn submit_with_payload(&mut self, cell: &Cell, payload: &[u8]) {
        let mut frame = cells_frame(None, self.next);
        put_cell(&mut frame, bytemuck::bytes_of(cell), payload, None);
        self.next += 1;
        self.say(CELLS, frame);
    }

    /// The outcomes that come next, until there are so many; fewer if the node goes away or says nothing for so long.
    pub fn try_outcomes(&mut self, count: usize, within: Duration) -> Vec<(u64, Fate)> {
        let (mut all, end) = (Vec::new(), Instant::now() + within);
        while all.len() < count {
            match self.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Seen::Outcome(outcome)) => {
                    let fate = Refusal::from_number(outcome.refusal).map_or(Ok(()), Err);
                    all.extend(outcome.ordinals.into_iter().map(|ordinal| (ordinal, fate)));
                }
                Ok(Seen::Opened(_)) => {}
                Ok(Seen::Closed) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        all.sort_unstable_by_key(|outcome| outcome.0);
        all
    }

    /// The outcomes of the next `count` transactions, by ordinal.
    pub fn outcomes(&mut self, count: usize) -> Vec<(u64, Fate)> {
        let all = self.try_outcomes(count, PATIENCE);
        assert_eq!(all.len(), count, "after {all:?} nothing more");
        all
    }

    /// Sends one transaction and waits for its outcome; none when the node goes away instead.
    pub fn try_outcome(&mut self, cell: &Cell) -> Option<Fate> {
        self.submit(&[*cell]);
        self.try_outcomes(1, PATIENCE).first().map(|outcome| outcome.1)
    }

    /// Sends one transaction and waits for its outcome.
    pub fn outcome(&mut self, cell: &Cell) -> Fate {
        self.submit(&[*cell]);
        self.outcomes(1)[0].1
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
}

/// The process that a [`Victim`] is: a node, until it is killed.
pub fn run_victim() {
    let Ok(order) = std::env::var("DYNEMIX_TEST_VICTIM") else { return };
    let (begun_ms, directory) = order.split_once(' ').unwrap();
    let options = options(Path::new(directory), genesis(), begun_ms.parse().unwrap());
    let node = Node::start(options).unwrap();
    println!("listening {}", node.address().unwrap());
    std::thread::sleep(Duration::from_secs(60));
}

/// A node in a process of its own, which runs the test `victim` of the same program.
pub struct Victim {
    child: Child,
    pub address: SocketAddr,
}

impl Victim {
    pub fn start(directory: &Path, begun_ms: u64) -> Victim {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("DYNEMIX_TEST_VICTIM", format!("{begun_ms} {}", directory.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening ").map(|(_, address)| address.to_owned()));
        Victim { child, address: address.expect("the node listens").parse().unwrap() }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
