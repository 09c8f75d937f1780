//! What a run has seen of its nodes: what they show of themselves, and what follows from that.

use crate::minting::status::{BlockShown, StatusShown};
use std::collections::{BTreeMap, HashMap};

/// A block as the nodes have shown it.
#[derive(Default, Clone)]
pub(super) struct BlockSeen {
    attempt_slot: u64,
    /// When nodes had it final.
    final_ms: Vec<u64>,
    pub(super) shards: usize,
    /// Transactions and records.
    pub(super) transactions: u64,
    /// Of them: transactions of users.
    pub(super) payments: u64,
}

impl BlockSeen {
    /// When half of the nodes had it.
    pub(super) fn median_final_ms(&self) -> Option<u64> {
        median(self.final_ms.clone())
    }
}

fn median(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// Whether nodes agree, and at which height that was looked at: none where not all of them could be compared.
pub(super) type Agreement = (Option<bool>, u64);

/// What all nodes have shown.
pub(super) struct Watched {
    /// What each has shown last; none of one that has not been asked, or is gone.
    pub(super) statuses: Vec<Option<StatusShown>>,
    blocks: BTreeMap<u64, BlockSeen>,
    /// By height and shard: when nodes had the certificate.
    certified: HashMap<(u64, u32), Vec<u64>>,
    /// Processor time of processes that were killed.
    cpu_gone: Vec<f64>,
}

impl Watched {
    /// Of so many nodes.
    pub(super) fn new(nodes: usize) -> Watched {
        Watched {
            statuses: vec![None; nodes],
            blocks: BTreeMap::new(),
            certified: HashMap::new(),
            cpu_gone: vec![0.0; nodes],
        }
    }

    /// A node shows this.
    pub(super) fn see(&mut self, node: u32, status: StatusShown) {
        let before = &mut self.statuses[node as usize];
        for block in &status.blocks {
            let seen = self.blocks.entry(block.height).or_default();
            seen.attempt_slot = block.attempt / 2;
            seen.shards = block.shards.len();
            seen.transactions = block.shards.iter().map(|shard| u64::from(shard.items)).sum();
            seen.payments = block.shards.iter().map(|shard| u64::from(shard.transactions)).sum();
            let known = before.as_ref().is_some_and(|before| before.blocks.iter().any(|b| b.height == block.height));
            if !known {
                seen.final_ms.push(block.final_ms);
            }
        }
        for certified in &status.certified {
            let times = self.certified.entry((certified.height, certified.shard)).or_default();
            if !times.contains(&certified.at_ms) {
                times.push(certified.at_ms);
            }
        }
        *before = Some(status);
    }

    /// Of a node whose process is gone only what it has cost is kept.
    pub(super) fn forget(&mut self, node: u32) {
        let status = self.statuses[node as usize].take();
        self.cpu_gone[node as usize] += status.map_or(0.0, |status| status.cpu_s);
    }

    /// Bytes that each has sent.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.statuses.iter().map(|status| status.as_ref().map_or(0, |status| status.bytes_sent)).collect()
    }

    /// Bytes that all have sent and received.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let shown = self.statuses.iter().flatten();
        shown.fold((0, 0), |sum, status| (sum.0 + status.bytes_sent, sum.1 + status.bytes_received))
    }

    /// Processor time of each node, those of its processes that were killed included; seconds.
    pub(super) fn cpu_of_nodes(&self) -> impl Iterator<Item = f64> {
        let of =
            |(status, gone): (&Option<StatusShown>, &f64)| status.as_ref().map_or(0.0, |status| status.cpu_s) + gone;
        self.statuses.iter().zip(&self.cpu_gone).map(of)
    }

    pub(super) fn cpu(&self) -> f64 {
        self.cpu_of_nodes().sum()
    }

    /// When half of the nodes had a shard's certificate.
    pub(super) fn certified_ms(&self, height: u64, shard: u32) -> Option<u64> {
        median(self.certified.get(&(height, shard))?.clone())
    }

    /// What became final in a slot.
    pub(super) fn block_of(&self, slot: u64) -> Option<(u64, &BlockSeen)> {
        self.blocks.iter().find(|(_, seen)| seen.attempt_slot == slot).map(|(&height, seen)| (height, seen))
    }

    /// Compares so many nodes at the newest height that every one that has shown something has.
    pub(super) fn agreement(&self, expected: usize) -> Agreement {
        let running: Vec<&StatusShown> = self.statuses.iter().flatten().collect();
        let height = running.iter().map(|status| status.height).min().unwrap_or(0);
        let of_height = |status: &&StatusShown| status.blocks.iter().find(|block| block.height == height).cloned();
        let blocks: Vec<_> = running.iter().filter_map(of_height).collect();
        let same =
            |one: &BlockShown, other: &BlockShown| (&one.hash, &one.state_root) == (&other.hash, &other.state_root);
        let equal = blocks.windows(2).all(|pair| same(&pair[0], &pair[1]));
        let all = expected > 0 && blocks.len() == expected;
        ((all || !equal).then_some(equal), height)
    }
}
