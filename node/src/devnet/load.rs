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
    /// What each connection was sent: by its ordinals, the numbers of transactions that were not answered yet.
    sent: HashMap<PeerId, Vec<Option<u32>>>,
    /// What was not answered when its connection ended, by the node that is back.
    unanswered: BTreeMap<usize, Vec<u32>>,
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
            unanswered: BTreeMap::new(),
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
        let numbers: Vec<u32> = (first..).take(cells.len()).collect();
        for (cells, numbers) in cells.chunks(FRAME_CELLS).zip(numbers.chunks(FRAME_CELLS)) {
            self.send_to(*turn % self.peers.len(), cells, numbers);
            *turn += 1;
        }
    }

    /// Sends transactions of these numbers to one node.
    ///
    /// # Panics
    /// When there is no such node, or some have no number.
    pub fn send_to(&mut self, node: usize, cells: &[Cell], numbers: &[u32]) {
        assert_eq!(numbers.len(), cells.len(), "each transaction has a number of its own");
        let peer = self.peers[node];
        let sent = self.sent.entry(peer).or_default();
        for (cells, numbers) in cells.chunks(FRAME_CELLS).zip(numbers.chunks(FRAME_CELLS)) {
            self.guest.hand_in([(peer, sent.len() as u64, cells)]);
            sent.extend(numbers.iter().map(|&number| Some(number)));
        }
    }

    /// What nodes that were away and are back have not answered, by node: whoever handed it in does so again.
    pub fn take_unanswered(&mut self) -> BTreeMap<usize, Vec<u32>> {
        std::mem::take(&mut self.unanswered)
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
                        let gone = std::mem::replace(&mut self.peers[place], peer);
                        let left = self.sent.remove(&gone).unwrap_or_default();
                        self.unanswered.entry(place).or_default().extend(left.into_iter().flatten());
                    }
                    continue;
                }
                Heard::Closed(_) => continue,
            };
            let Some(sent) = self.sent.get_mut(&peer) else { continue };
            let numbers = ordinals.iter().filter_map(|&ordinal| sent.get_mut(usize::try_from(ordinal).ok()?)?.take());
            out.extend(numbers.map(|number| Ended { number, refusal, height, slot, shard, at }));
        }
        out
    }
}

/// How many transactions are due when: so many a second for so many slots, then perhaps others.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Transactions a second at first.
    pub tps: u64,
    /// Slots that this lasts.
    pub slots: u64,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Then so many a second, for so many slots.
    pub then: Option<(u64, u64)>,
}

impl Rates {
    fn first(&self) -> u64 {
        self.tps * self.slots * self.slot_ms / 1_000
    }

    /// All that will be offered.
    pub fn all(&self) -> u64 {
        self.first() + self.then.map_or(0, |(tps, slots)| tps * slots * self.slot_ms / 1_000)
    }

    /// How long they are offered, seconds.
    pub fn seconds(&self) -> f64 {
        ((self.slots + self.then.map_or(0, |then| then.1)) * self.slot_ms) as f64 / 1e3
    }

    /// How many are due so long after the first was.
    pub fn due(&self, elapsed_ms: u64) -> u64 {
        let first_ms = self.slots * self.slot_ms;
        let after_ms = elapsed_ms.saturating_sub(first_ms);
        let due = elapsed_ms.min(first_ms) * self.tps / 1_000 + self.then.map_or(0, |then| after_ms * then.0 / 1_000);
        due.min(self.all())
    }

    /// When a transaction is due, by its number, milliseconds after the first was.
    pub fn due_ms(&self, number: u64) -> u64 {
        match self.then.filter(|_| number >= self.first()) {
            Some((tps, _)) => self.slots * self.slot_ms + (number - self.first()) * 1_000 / tps.max(1),
            None => number * 1_000 / self.tps.max(1),
        }
    }
}

/// Whose turn it is: senders come one after the other, and each sends its transactions in order. One that nobody took is
/// sent again when its sender's next turn comes: what comes behind it could not take effect without it.
pub struct Turns {
    /// Of each sender: which of its transactions is the next.
    next: Vec<u32>,
}

impl Turns {
    /// Of so many senders.
    pub fn new(senders: u64) -> Turns {
        Turns { next: vec![0; senders as usize] }
    }

    fn sender(&self, number: u64) -> u64 {
        number % self.next.len() as u64
    }

    /// Which transaction is sent as the one of this number, and which one of its sender's it is.
    pub fn take(&mut self, number: u64) -> (u64, u32) {
        let sender = self.sender(number);
        let round = self.next[sender as usize];
        self.next[sender as usize] += 1;
        let transaction = self.transaction(number, round);
        assert!(transaction <= number, "transaction {transaction} is sent as number {number}, before its turn");
        (transaction, round)
    }

    /// Which transaction was sent as the one of this number, one of its sender's.
    pub fn transaction(&self, number: u64, round: u32) -> u64 {
        self.sender(number) + u64::from(round) * self.next.len() as u64
    }

    /// Nobody took what was sent as this number, one of its sender's.
    pub fn give_back(&mut self, number: u64, round: u32) {
        let sender = self.sender(number) as usize;
        self.next[sender] = self.next[sender].min(round);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_changes_with_the_load_and_each_number_is_due_when_it_is_counted() {
        let rates = Rates { tps: 5_000, slots: 3, slot_ms: 2_000, then: Some((500, 2)) };
        assert_eq!((rates.all(), rates.seconds()), (32_000, 10.0));
        assert_eq!([0, 1_000, 6_000, 7_000, 99_000].map(|ms| rates.due(ms)), [0, 5_000, 30_000, 30_500, 32_000]);
        assert_eq!([0, 5_000, 30_000, 30_500].map(|number| rates.due_ms(number)), [0, 1_000, 6_000, 7_000]);
    }

    #[test]
    fn what_nobody_took_is_sent_again_before_what_comes_behind_it() {
        let mut turns = Turns::new(3);
        assert_eq!([0, 1, 2, 3].map(|number| turns.take(number)), [(0, 0), (1, 0), (2, 0), (3, 1)]);
        turns.give_back(1, 0);
        assert_eq!([4, 5, 6, 7].map(|number| turns.take(number)), [(1, 0), (5, 1), (6, 2), (4, 1)]);
    }
}
