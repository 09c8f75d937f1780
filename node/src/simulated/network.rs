//! Lines between simulated nodes: each carries what it is given in that order, after a while; some of it is lost.

use dynemix_net::mesh::{Net, PeerId, PeerInfo, Standing};
use dynemix_simulator::dice::Dice;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a frame needs for its way at least and at most, microseconds, and what a line carries in a microsecond.
const DELAY_US: [u64; 2] = [1_000, 15_000];
const BYTES_PER_US: u64 = 12;

/// A frame on its way, between a start of one node and a start of another.
pub(super) struct Flying {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Sum of both nodes' starts: when either has started again, the connection has ended.
    pub(super) lives: u64,
    pub(super) class: u8,
    pub(super) frame: Arc<[u8]>,
}

/// The lines between all nodes.
pub(super) struct Network {
    nodes: u32,
    /// When the last frame of each line and class arrives.
    arrived_us: BTreeMap<(u32, u32, u8), u64>,
    /// Of a thousand frames so many are lost.
    pub(super) loss: u64,
    /// Frames that were lost.
    pub(super) lost: u64,
}

impl Network {
    pub(super) fn new(nodes: u32, loss: u64) -> Network {
        Network { nodes, arrived_us: BTreeMap::new(), loss, lost: 0 }
    }

    /// How a node knows another at the end of a connection, by how often both have started.
    pub(super) fn peer(&self, me: u32, other: u32, lives: u64) -> PeerInfo {
        assert!(me != other && other < self.nodes, "node {me} has no line to {other}");
        let id = PeerId(lives * u64::from(self.nodes) + u64::from(other));
        PeerInfo { id, name: Some(other), called: me < other, standing: Standing::Seated, net: Net::Loopback }
    }

    /// Which node is at the end of a connection, and how often both had started when it began.
    pub(super) fn end_of(&self, peer: PeerId) -> (u32, u64) {
        let nodes = u64::from(self.nodes);
        ((peer.0 % nodes) as u32, peer.0 / nodes)
    }

    /// When a frame arrives that is sent now; none of one that is lost.
    pub(super) fn carry(&mut self, now_us: u64, flying: &Flying, dice: &mut Dice) -> Option<u64> {
        if dice.chance(self.loss) {
            self.lost += 1;
            return None;
        }
        let on_its_way_us = dice.between(DELAY_US[0], DELAY_US[1]) + flying.frame.len() as u64 / BYTES_PER_US;
        let line = self.arrived_us.entry((flying.from, flying.to, flying.class)).or_insert(0);
        *line = (*line).max(now_us + on_its_way_us);
        assert!(*line > now_us, "a frame arrives before it is sent");
        Some(*line)
    }

    /// Whom gossip goes to: so many of these, whoever they are.
    pub(super) fn some(count: usize, mut others: Vec<u32>, dice: &mut Dice) -> Vec<u32> {
        while others.len() > count {
            others.swap_remove(dice.below(others.len() as u64) as usize);
        }
        others
    }
}
