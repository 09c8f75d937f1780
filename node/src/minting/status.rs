//! What a node shows of itself: written by the consensus thread, read by everyone else.

use super::board::Board;
use super::tracked::Tracked;
use super::watched::Watched;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};

/// Blocks that are remembered.
const BLOCKS_KEPT: usize = 256;

/// A shard-block as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShardShown {
    /// Which shard made it.
    pub shard: u32,
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// Transactions in it that users have signed.
    pub transactions: u32,
    /// These and the records of the chain itself: answers, proofs, who approved a block.
    #[serde(default)]
    pub items: u32,
}

/// A final block as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CertifiedShown {
    /// Height of the master-block.
    pub height: u64,
    /// Which shard made it.
    pub shard: u32,
    /// When, milliseconds since the chain's start.
    pub at_ms: u64,
}

/// What a thread of the node has done with its time since it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageShown {
    /// Name of the thread, as the system has it.
    pub name: String,
    /// It worked, seconds.
    pub busy_s: f64,
    /// It could have worked, and no core was free.
    pub queued_s: f64,
    /// It waited for who comes behind it.
    pub blocked_s: f64,
    /// It had nothing to do.
    pub idle_s: f64,
}

/// What a node says of itself to its owner and by the API.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct StatusShown {
    /// Version of the program that runs.
    pub version: String,
    /// The chain, in hexadecimal.
    pub chain: String,
    /// This node's candidate, if it mints.
    pub candidate: Option<u32>,
    /// When the chain started, which is when slot 0 began: milliseconds of Unix time. All other times count from it.
    #[serde(default)]
    pub start_unix_ms: u64,
    /// Milliseconds since the chain's start.
    pub now_ms: u64,
    /// The slot by this node's clock.
    pub slot: u64,
    /// Milliseconds of a slot.
    pub slot_ms: u64,
    /// Milliseconds until the chain starts; 0 once it has.
    #[serde(default)]
    pub starts_in_ms: u64,
    /// Newest final height.
    pub height: u64,
    /// The slot of its block.
    #[serde(default)]
    pub newest_slot: u64,
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
    /// Threads that verify, and the most that its memory may come to, by what it is for.
    #[serde(default)]
    pub topology: String,
    /// What each of its threads does.
    #[serde(default)]
    pub stages: Vec<StageShown>,
    /// Shard-blocks that this node has voted in a certificate for.
    pub duties: u64,
    /// Newest final blocks, oldest first.
    pub blocks: Vec<BlockShown>,
    /// Snapshots that who joins can fetch here, each as the block that proves it: `HEIGHT:HASH`, oldest first.
    pub snapshots: Vec<String>,
    /// Newest certified shard-blocks of own shards, oldest first.
    pub certified: Vec<CertifiedShown>,
}

/// What changes with a block or a seat: published whole, by the consensus thread.
#[derive(Clone, Default)]
pub struct Live {
    /// As in [`StatusShown`].
    pub height: u64,
    /// As in [`StatusShown`].
    pub seated: bool,
    /// As in [`StatusShown`].
    pub shard: Option<u16>,
    /// As in [`StatusShown`].
    pub blocks: VecDeque<Arc<BlockShown>>,
    /// As in [`StatusShown`].
    pub certified: VecDeque<Arc<CertifiedShown>>,
    /// The system after the newest final block.
    pub system: Option<Arc<System>>,
}

/// Shared by all threads. The consensus thread waits for none of them: what it writes with every message are plain
/// numbers, what changes with a block is shown on a board, and what users ask about their transactions is kept on their
/// side of a channel.
pub struct Status {
    /// What is shown next. Only the consensus thread takes this lock, so it is always free.
    writing: Mutex<Live>,
    board: Board<Live>,
    /// As in [`StatusShown`].
    pub stored: AtomicU64,
    /// As in [`StatusShown`].
    pub heard: AtomicU64,
    /// As in [`StatusShown`].
    pub pool: AtomicUsize,
    /// As in [`StatusShown`].
    pub own: AtomicUsize,
    /// As in [`StatusShown`].
    pub duties: AtomicU64,
    halted: OnceLock<String>,
    /// Transactions of the API's users, as the consensus thread follows them. Nobody else takes this lock either.
    watched: Mutex<Watched>,
    /// The same, as their users see them. The consensus thread never takes this lock.
    tracked: Mutex<Tracked>,
    /// Refusals by their number on the wire.
    refused: [AtomicU64; 256],
    /// Transactions taken into the pool.
    pub admitted: AtomicU64,
    /// Transactions of own users that became final.
    pub own_final: AtomicU64,
    /// Of own users: sequences used up by blocks whose transactions are not here.
    pub own_unproved: AtomicU64,
    /// Transactions in final blocks that users have signed.
    pub final_transactions: AtomicU64,
    /// Records of the chain itself in final blocks.
    pub final_records: AtomicU64,
}

const UNPOISONED: &str = "nothing panics while it holds the status";

impl Default for Status {
    fn default() -> Self {
        let (tell, told) = channel();
        Status {
            writing: Mutex::default(),
            board: Board::new(Live::default()),
            stored: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            pool: AtomicUsize::new(0),
            own: AtomicUsize::new(0),
            duties: AtomicU64::new(0),
            halted: OnceLock::new(),
            watched: Mutex::new(Watched::new(tell)),
            tracked: Mutex::new(Tracked::new(told)),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            admitted: AtomicU64::new(0),
            own_final: AtomicU64::new(0),
            own_unproved: AtomicU64::new(0),
            final_transactions: AtomicU64::new(0),
            final_records: AtomicU64::new(0),
        }
    }
}

impl Status {
    /// Changes what is shown. Of the consensus thread alone.
    pub fn change<T>(&self, with: impl FnOnce(&mut Live) -> T) -> T {
        let mut live = self.writing.lock().expect(UNPOISONED);
        let changed = with(&mut live);
        self.board.show(live.clone());
        changed
    }

    /// What is shown now.
    pub fn shown(&self) -> Arc<Live> {
        self.board.shown()
    }

    /// Looks at what is shown; nobody waits meanwhile.
    pub fn look<T>(&self, with: impl FnOnce(&Live) -> T) -> T {
        with(&self.board.shown())
    }

    /// Looks at, or changes, what is followed for the API's users. Of the consensus thread alone.
    pub fn watch<T>(&self, with: impl FnOnce(&mut Watched) -> T) -> T {
        with(&mut self.watched.lock().expect(UNPOISONED))
    }

    /// Looks at, or changes, what the API's users see of their transactions. Never of the consensus thread.
    pub fn track<T>(&self, with: impl FnOnce(&mut Tracked) -> T) -> T {
        let mut tracked = self.tracked.lock().expect(UNPOISONED);
        tracked.hear();
        with(&mut tracked)
    }

    /// Says why the node has halted; the first reason stays.
    pub fn halt(&self, why: String) {
        // Whatever halts later has halted since the first did.
        let _ = self.halted.set(why);
    }

    /// Why the node has halted, if so.
    pub fn halted(&self) -> Option<&String> {
        self.halted.get()
    }

    /// Adds a final block.
    ///
    /// # Panics
    /// When it is not the one after the newest.
    pub fn add_block(&self, block: BlockShown) {
        self.change(|live| {
            let newest = live.blocks.back().map(|newest| newest.height);
            let next = newest.is_none_or(|newest| newest + 1 == block.height);
            assert!(next, "the block of height {} is shown after {newest:?}", block.height);
            live.height = block.height;
            live.blocks.push_back(Arc::new(block));
            if live.blocks.len() > BLOCKS_KEPT {
                live.blocks.pop_front();
            }
        });
    }

    /// Adds a certified shard-block.
    pub fn add_certified(&self, certified: CertifiedShown) {
        self.change(|live| {
            live.certified.push_back(Arc::new(certified));
            if live.certified.len() > BLOCKS_KEPT {
                live.certified.pop_front();
            }
        });
    }

    /// Counts what stands in a final block: what users have signed, and the chain's own records.
    pub fn count_final(&self, shards: &[ShardShown]) {
        let transactions: u64 = shards.iter().map(|shard| u64::from(shard.transactions)).sum();
        let items: u64 = shards.iter().map(|shard| u64::from(shard.items)).sum();
        assert!(transactions <= items, "{transactions} of {items} items of a block are transactions");
        self.final_transactions.fetch_add(transactions, Ordering::Relaxed);
        self.final_records.fetch_add(items - transactions, Ordering::Relaxed);
    }

    /// Counts a refusal.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused[usize::from(refusal as u8)].fetch_add(1, Ordering::Relaxed);
    }

    /// How often this was a reason to refuse.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[usize::from(refusal as u8)].load(Ordering::Relaxed)
    }
}
