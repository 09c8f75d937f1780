//! What other threads see of a node: the API, the owner's socket, tests.

use super::checks::PrepareCounters;
use super::door::{Answer, NodeSigning, refuse_unseen};
use super::entry::{Raw, cost_of_transactions};
use super::gate::Gate;
use super::inbox::Inbox;
use super::inclusions::Inclusions;
use super::status::{StageShown, Status, StatusShown};
use crate::intake::duties::Rank;
use crate::intake::queue::Source;
use crate::intake::shares::Holder;
use crate::keep::certificates::Certificates;
use crate::keep::published;
use crate::keep::replica::StateReader;
use crate::setup::clock::Clock;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::transaction::arena::Arena;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::{MeshHandle, TransportKey};
use dynemix_perf::machine::{self, ThreadTime};
use dynemix_storage::{Disk, Records};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// All users of the API.
const API: Source = Source(Rank::Own, 0);

/// What transactions of own users are handed in by.
#[derive(Clone)]
pub struct Submit {
    cells: Arc<Inbox<Raw>>,
    arena: Arc<Arena>,
    answer: Answer,
}

impl Submit {
    /// To the threads that verify users' cells, in places of this arena; peers whose frames had to go are told by `answer`.
    pub fn new(cells: Arc<Inbox<Raw>>, arena: Arc<Arena>, answer: Answer) -> Submit {
        Submit { cells, arena, answer }
    }

    /// Hands a transaction in whose form was looked at, by this connection to the API. Those that users of the API handed in
    /// before and that had to go for it are handed back, each with its connection: nobody has looked at them.
    ///
    /// # Errors
    /// When so many wait that there is no room for it.
    pub fn send(&self, holder: Holder, client: u64, cell: &Cell, payload: &[u8]) -> Result<Vec<(u64, Item)>, Busy> {
        let item = Item::transaction_in(&self.arena, cell, payload).ok_or(Busy)?;
        let raw = Raw::Own(holder, client, vec![item.clone()]);
        let mut of_users: Vec<(u64, Item)> = Vec::new();
        for raw in self.cells.push(API, cost_of_transactions(1), raw) {
            match raw {
                Raw::Own(_, client, items) => of_users.extend(items.into_iter().map(|item| (client, item))),
                of_peers => refuse_unseen(of_peers).into_iter().for_each(|frame| (self.answer)(frame)),
            }
        }
        // The newest goes: of two copies the one that has just come.
        if of_users.last().is_some_and(|last| *last == (client, item)) { Err(Busy) } else { Ok(of_users) }
    }
}

/// More transactions wait than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many transactions wait")]
pub struct Busy;

/// What other threads of a node work with: the API, the supervisor, tests.
#[derive(Clone)]
pub struct NodeView {
    /// Parameters and identity of the chain.
    pub chain: Arc<Chain>,
    /// Accounts as the replica has them, milliseconds behind consensus: whoever looks holds up nobody there.
    pub accounts: StateReader,
    /// What it shows of itself.
    pub status: Arc<Status>,
    /// The network's counters, and how much of it nobody has worked off.
    pub mesh: MeshHandle,
    /// Milliseconds since the chain's start, and whether they are good enough to mint by.
    pub clock: Clock,
    /// Who may send this node what, and who was charged.
    pub gate: Arc<Gate>,
    /// The log: blocks that are kept, read without asking anyone.
    pub records: Records,
    /// The final certificate of every height, also of those whose blocks are pruned.
    pub certificates: Certificates,
    /// Transactions of the newest final blocks, as far as they are here.
    pub inclusions: Arc<Inclusions>,
    /// The node's directory.
    pub data: Arc<dyn Disk>,
    /// Takes transactions of own users.
    pub submit: Submit,
    /// Checks what others signed.
    pub signing: Arc<NodeSigning>,
    /// What verification has done: users' cells, and rounds.
    pub prepared: [Arc<PrepareCounters>; 2],
    /// The candidate that it mints for; none if it follows.
    pub candidate: Option<u32>,
    /// Its transport key.
    pub transport_key: TransportKey,
    /// Its threads, and what its memory may come to.
    pub topology: String,
    /// When its threads began.
    pub started: Instant,
}

impl NodeView {
    /// What each thread of this process has done with its time. Those that verify say how long they have waited for
    /// consensus; of all others, what is neither work nor waiting for a core is idle.
    fn stages(&self) -> Vec<StageShown> {
        let since = self.started.elapsed();
        let times = machine::thread_times();
        let verifying = times.keys().filter(|name| name.starts_with("verify.")).count().max(1) as u32;
        let blocked = Duration::from_micros(self.prepared[0].blocked_micros.load(Ordering::Relaxed)) / verifying;
        let stage = |(name, time): (String, ThreadTime)| {
            let blocked = if name.starts_with("verify.") { blocked } else { Duration::ZERO };
            let idle = since.saturating_sub(time.busy + time.queued + blocked);
            let [busy_s, queued_s, blocked_s, idle_s] =
                [time.busy, time.queued, blocked, idle].map(|time| time.as_secs_f64());
            StageShown { name, busy_s, queued_s, blocked_s, idle_s }
        };
        times.into_iter().map(stage).collect()
    }

    /// Everything that is shown; `blocks` newest blocks.
    pub fn shown(&self, blocks: usize) -> StatusShown {
        let now_ms = self.clock.now_ms();
        let counters = self.mesh.counters();
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let slot_ms = self.chain.parameters.slot_ms;
        // The start has read them all: what a disk refuses since then is not offered meanwhile.
        let offers = published::offers(&*self.data, &self.chain.genesis_hash).unwrap_or_default();
        let snapshots: Vec<String> =
            offers.iter().map(|offer| format!("{}:{}", offer.height, hex::encode(offer.block))).collect();
        let live = self.status.shown();
        let status = &self.status;
        StatusShown {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: hex::encode(&self.chain.genesis_hash),
            candidate: self.candidate,
            start_unix_ms: self.chain.parameters.start_ms,
            now_ms,
            slot: now_ms / slot_ms,
            slot_ms,
            starts_in_ms: self.clock.until_start().as_millis() as u64,
            height: live.height,
            newest_slot: live.system.as_ref().map_or(0, |system| system.slot),
            stored: status.stored.load(relaxed),
            heard: status.heard.load(relaxed),
            seated: live.seated,
            shard: live.shard,
            seats: live.system.as_ref().map_or(0, |system| system.committee.len()),
            shards: live.system.as_ref().map_or(0, |system| system.committee.shards.len()),
            clock_trusted: self.clock.is_trusted(),
            clock_offset_ms: self.clock.offset_ms(),
            pool: status.pool.load(relaxed),
            own: status.own.load(relaxed),
            members: counters.members.load(relaxed),
            guests: counters.guests.load(relaxed),
            bytes_sent: counters.sent.load(relaxed),
            bytes_received: counters.received.load(relaxed),
            cpu_s: machine::cpu_time().as_secs_f64(),
            verified: self.prepared.iter().map(|counters| counters.signatures.load(relaxed)).sum(),
            verify_s: self.prepared.iter().map(|counters| counters.verify_micros.load(relaxed)).sum::<u64>() as f64
                / 1e6,
            rss_bytes: machine::rss_bytes(),
            topology: self.topology.clone(),
            stages: self.stages(),
            duties: status.duties.load(relaxed),
            blocks: live.blocks.iter().rev().take(blocks).rev().map(|block| (**block).clone()).collect(),
            snapshots,
            certified: live.certified.iter().rev().take(blocks).rev().map(|certified| (**certified).clone()).collect(),
        }
    }
}
