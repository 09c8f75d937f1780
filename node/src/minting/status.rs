//! What a node shows of itself: written by the consensus thread, read by everyone else.

use super::tracked::Tracked;
use crate::pipeline::stage::RefusalBoard;
use dynemix_engine::chain::tables::System;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Blocks that are remembered.
const BLOCKS_KEPT: usize = 256;

/// A shard-block as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardShown {
    /// Which shard made it.
    pub shard: u32,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// Transactions and records in it.
    pub transactions: u32,
}

/// A final block as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockShown {
    /// Height of the master-block.
    pub height: u64,
    /// Slot that its shard-blocks were made in.
    pub slot: u64,
    /// The slot and try in which it became final.
    pub attempt: u64,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// Root of the state after it, in hexadecimal.
    pub state_root: String,
    /// Its shard-blocks, those that are missing left out.
    pub shards: Vec<ShardShown>,
    /// Who signed the certificate.
    pub signers: usize,
    /// Seats of its committee.
    pub seats: usize,
    /// When it became final here, milliseconds since the chain's start.
    pub final_ms: u64,
}

/// A shard-block of this node's own shard that was certified.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertifiedShown {
    /// Height of the master-block.
    pub height: u64,
    /// Which shard made it.
    pub shard: u32,
    /// When, milliseconds since the chain's start.
    pub at_ms: u64,
}

/// What a node says of itself to its owner and by the API.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatusShown {
    /// Version of the program that runs.
    pub version: String,
    /// The chain, in hexadecimal.
    pub chain: String,
    /// This node's candidate, if it mints.
    pub candidate: Option<u32>,
    /// Milliseconds since the chain's start.
    pub now_ms: u64,
    /// The slot by this node's clock.
    pub slot: u64,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Newest final height.
    pub height: u64,
    /// The newest height that is on disk.
    pub stored: u64,
    /// The highest height that others have spoken of.
    pub heard: u64,
    /// Whether it has a seat at the next height.
    pub seated: bool,
    /// Its shard there.
    pub shard: Option<u16>,
    /// Seats at the next height.
    pub seats: usize,
    /// Shards at the next height.
    pub shards: usize,
    /// Whether its clock is good enough to mint by.
    pub clock_trusted: bool,
    /// What is added to the system's time.
    pub clock_offset_ms: i64,
    /// Transactions that wait.
    pub pool: usize,
    /// Of this node's own users.
    pub own: usize,
    /// Peers with a name.
    pub members: u64,
    /// Peers without a name: guests.
    pub guests: u64,
    /// Bytes sent since the start.
    pub bytes_sent: u64,
    /// Bytes received since the start.
    pub bytes_received: u64,
    /// Processor time of the process, seconds.
    pub cpu_s: f64,
    /// Signatures of transactions verified.
    pub verified: u64,
    /// Time that took, seconds.
    pub verify_s: f64,
    /// Memory of the process that is resident, bytes.
    pub rss_bytes: u64,
    /// Shard-blocks that this node has voted in a certificate for.
    pub duties: u64,
    /// Newest final blocks, oldest first.
    pub blocks: Vec<BlockShown>,
    /// Snapshots that who joins can fetch here, each as the block that proves it: `HEIGHT:HASH`, oldest first.
    pub snapshots: Vec<String>,
    /// Newest certified shard-blocks of own shards, oldest first.
    pub certified: Vec<CertifiedShown>,
}

/// What the consensus thread writes.
#[derive(Default)]
pub struct Live {
    /// As in [`StatusShown`].
    pub height: u64,
    /// As in [`StatusShown`].
    pub stored: u64,
    /// As in [`StatusShown`].
    pub heard: u64,
    /// As in [`StatusShown`].
    pub seated: bool,
    /// As in [`StatusShown`].
    pub shard: Option<u16>,
    /// As in [`StatusShown`].
    pub pool: usize,
    /// As in [`StatusShown`].
    pub own: usize,
    /// As in [`StatusShown`].
    pub duties: u64,
    /// As in [`StatusShown`].
    pub blocks: VecDeque<BlockShown>,
    /// As in [`StatusShown`].
    pub certified: VecDeque<CertifiedShown>,
    /// The system after the newest final block.
    pub system: Option<Arc<System>>,
    /// Transactions of the API's users.
    pub tracked: Tracked,
    /// Why the node has halted, if so.
    pub halted: Option<String>,
}

/// Shared by all threads.
#[derive(Default)]
pub struct Status {
    live: Mutex<Live>,
    changed: Condvar,
    /// Refusals by number.
    pub refused: RefusalBoard,
    /// Transactions taken into the pool.
    pub admitted: AtomicU64,
    /// Transactions of own users that became final.
    pub own_final: AtomicU64,
    /// Transactions in final blocks.
    pub final_transactions: AtomicU64,
}

const UNPOISONED: &str = "nothing panics while it holds the status";

impl Status {
    /// Changes something, and wakes who waits for changes.
    pub fn change<T>(&self, with: impl FnOnce(&mut Live) -> T) -> T {
        let changed = with(&mut self.live.lock().expect(UNPOISONED));
        self.changed.notify_all();
        changed
    }

    /// Looks at what is shown; consensus waits meanwhile, so nothing slow belongs in `with`.
    pub fn look<T>(&self, with: impl FnOnce(&Live) -> T) -> T {
        with(&self.live.lock().expect(UNPOISONED))
    }

    /// Waits until something has changed, no longer than this.
    pub fn wait(&self, at_most: Duration, until: impl Fn(&Live) -> bool) {
        let live = self.live.lock().expect(UNPOISONED);
        drop(self.changed.wait_timeout_while(live, at_most, |live| !until(live)));
    }

    /// Adds a final block.
    ///
    /// # Panics
    /// When it is not the one after the newest.
    pub fn add_block(&self, block: BlockShown) {
        let newest = self.look(|live| live.blocks.back().map(|newest| newest.height));
        let next = newest.is_none_or(|newest| newest + 1 == block.height);
        assert!(next, "the block of height {} is shown after {newest:?}", block.height);
        self.change(|live| {
            live.height = block.height;
            live.blocks.push_back(block);
            if live.blocks.len() > BLOCKS_KEPT {
                live.blocks.pop_front();
            }
        });
    }

    /// Adds a certified shard-block.
    pub fn add_certified(&self, certified: CertifiedShown) {
        self.change(|live| {
            live.certified.push_back(certified);
            if live.certified.len() > BLOCKS_KEPT {
                live.certified.pop_front();
            }
        });
    }

    /// Counts a refusal.
    pub fn refuse(&self, refusal: dynemix_engine::base::refusal::Refusal) {
        self.refused.add(refusal, 1);
    }
}
