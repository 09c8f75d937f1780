//! The load: transactions signed before, offered at a fixed rate whatever the network does, and followed to their end.
//!
//! Latency counts from when a transaction was due, not from when it was sent: a network that stalls is not flattered.

use super::layout::Devnet;
use crate::peer::frames::{CELLS_MAX, Outcome};
use crate::peer::guest::{Guest, Heard};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::transaction::cell::Cell;
use dynemix_net::mesh::{PeerId, TransportKey};
use dynemix_workload::{Workload, WorkloadSpec};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Transactions in a frame: what one node gets at a time.
const FRAME_CELLS: usize = 100;
const _: () = assert!(FRAME_CELLS <= CELLS_MAX);

/// A connection to every node of a devnet.
pub struct LoadClient {
    guest: Guest,
    heard: Receiver<Heard>,
    keys: Vec<TransportKey>,
    peers: Vec<PeerId>,
    /// What each connection was sent: by its ordinals, the numbers of transactions.
    sent: HashMap<PeerId, Vec<u32>>,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its place among all that are offered.
    pub number: u32,
    /// 0 when it is final.
    pub refusal: u8,
    /// Height of its block.
    pub height: u64,
    /// The block's slot.
    pub slot: u64,
    /// Shard of its block.
    pub shard: u16,
    /// When this client heard of it.
    pub at: Instant,
}

impl LoadClient {
    /// Connects to these nodes.
    ///
    /// # Errors
    /// When the system refuses, or a node does not let us in for ten seconds.
    pub fn connect(devnet: &Devnet, chain: &Chain, nodes: &[u32]) -> io::Result<LoadClient> {
        let (tell, heard) = channel();
        let targets: Vec<_> = nodes.iter().map(|&node| devnet.target(node)).collect();
        // Whoever waited for it has gone.
        let guest = Guest::call(chain.genesis_hash, targets.clone(), move |heard| drop(tell.send(heard)))?;
        let mut client = LoadClient {
            guest,
            heard,
            keys: targets.iter().map(|target| target.key).collect(),
            peers: Vec::new(),
            sent: HashMap::new(),
        };
        let end = Instant::now() + Duration::from_secs(10);
        let mut open: BTreeMap<TransportKey, PeerId> = BTreeMap::new();
        while open.len() < targets.len() {
            let wait = end.saturating_duration_since(Instant::now());
            match client.heard.recv_timeout(wait) {
                Ok(Heard::Opened(peer, key)) => drop(open.insert(key, peer)),
                Ok(Heard::Outcome(..) | Heard::Closed(_)) => {}
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "a node did not let the load in for ten seconds",
                    ));
                }
            }
        }
        client.peers = targets.iter().map(|target| open[&target.key]).collect();
        Ok(client)
    }

    /// Sends transactions, numbered from `first` on, to the nodes by turns.
    pub fn send(&mut self, cells: &[Cell], first: u32, turn: &mut usize) {
        let mut numbers = first..;
        let mut frames = Vec::new();
        for cells in cells.chunks(FRAME_CELLS) {
            let peer = self.peers[*turn % self.peers.len()];
            *turn += 1;
            let sent = self.sent.entry(peer).or_default();
            frames.push((peer, sent.len() as u64, cells));
            sent.extend(numbers.by_ref().take(cells.len()));
        }
        assert_eq!(numbers.start, first + cells.len() as u32, "each transaction has a number of its own");
        self.guest.hand_in(frames);
    }

    /// What has ended since it was asked last.
    pub fn ended(&mut self) -> Vec<Ended> {
        let mut out = Vec::new();
        while let Ok(heard) = self.heard.try_recv() {
            let (peer, Outcome { refusal, height, slot, shard, ordinals }, at) = match heard {
                Heard::Outcome(peer, outcome, at) => (peer, outcome, at),
                // A node that was away is back.
                Heard::Opened(peer, key) => {
                    if let Some(place) = self.keys.iter().position(|known| *known == key) {
                        self.peers[place] = peer;
                    }
                    continue;
                }
                Heard::Closed(_) => continue,
            };
            let Some(sent) = self.sent.get(&peer) else { continue };
            let numbers = ordinals.iter().filter_map(|&ordinal| sent.get(usize::try_from(ordinal).ok()?).copied());
            out.extend(numbers.map(|number| Ended { number, refusal, height, slot, shard, at }));
        }
        out
    }
}

/// Signs a load for a devnet: distinct senders in turn, recipients by Zipf, 1 % new keys.
pub fn sign(
    devnet: &Devnet,
    chain: &Chain,
    transactions: u64,
    expires_slot: u64,
    progress: impl Fn(u64) + Sync,
) -> Workload {
    let genesis = devnet.genesis();
    let load = genesis.load_accounts.expect("a devnet with a load has accounts for it");
    let spec = WorkloadSpec {
        seed: load.seed,
        accounts: load.count,
        invalid_share: 0.0,
        invalid_senders: (1, 1),
        expires_slot,
    };
    Workload::new(&spec, &chain.transaction_prefix, transactions, progress)
}
