//! Users' transactions at the consensus thread: taken in, told to minters, followed to their end.

use super::duty::Duty;
use super::entry::Ready;
use super::own::Client;
use super::pool::Teller;
use super::status::Status;
use crate::intake::duties::told_share;
use crate::peer::frames::{CELLS, Outcome};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::CertifiedBlock;
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::To;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Transactions are told to minters until this part of a slot before sets are closed: what comes later would be in some
/// sets and not in others, and sets that differ have to be exchanged.
const TELLING: u64 = 20;

/// The last time before sets close at which minters are told what is new.
pub(super) fn last_told_at(schedule: &Schedule, closes_ms: u64) -> u64 {
    closes_ms.saturating_sub(schedule.slot_ms / TELLING + 1)
}

impl<S: Signing> Duty<S> {
    /// Takes a frame of verified transactions: into the pool, or among those of own users.
    pub(super) fn admit(&mut self, now: u64, ready: Ready) {
        let Ready { from, user, told, good, refused, body: _ } = ready;
        // Told by someone who is behind, or far ahead: told again when it counts.
        let next = self.minter.pending_height();
        if told.is_some_and(|height| height != next && height != next + 1) {
            return;
        }
        let asked = good.len() + refused.len();
        self.local.brought += if told.is_none() { asked as u64 } else { 0 };
        let mut outcomes: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let mut refuse = |status: &Status, ordinal: u64, refusal: Refusal| {
            status.refuse(refusal);
            outcomes.entry(refusal as u8).or_default().push(ordinal);
        };
        for (ordinal, refusal, item) in refused {
            if let Some(item) = item.filter(|_| from.is_none()) {
                self.status.watch(|watched| watched.begin(&self.prefix, &item, now, Err(refusal)));
            }
            refuse(&self.status, ordinal, refusal);
        }
        let mut admitted = 0;
        let teller = self.teller(from.and_then(|from| from.name));
        if told == Some(next) && self.minter.round().is_some() {
            self.local.late += good.len();
        }
        for (ordinal, item, account) in good {
            let outcome = match told {
                Some(height) => self.minter.execution.admit_transaction(&item, account, height, &teller),
                None => {
                    let payer = self.minter.execution.check_transaction(&item, account);
                    let client = Client { user, told: from.map(|from| (from.id, ordinal)) };
                    payer.and_then(|payer| self.local.own.follow(&item, payer, client))
                }
            };
            if from.is_none() {
                let (item, now_ms) = (item.clone(), self.clock.now_ms());
                self.status.watch(|watched| watched.begin(&self.prefix, &item, now_ms, outcome));
            }
            match outcome {
                Ok(()) => admitted += 1,
                Err(refusal) => refuse(&self.status, ordinal, refusal),
            }
        }
        if let Some(name) = from.filter(|_| told.is_some() && admitted > 0).and_then(|from| from.name) {
            self.peers.forwarders.note(name, next);
        }
        let refused: usize = outcomes.values().map(Vec::len).sum();
        assert_eq!(admitted as usize + refused, asked, "each transaction of a frame is admitted or refused, and once");
        self.status.admitted.fetch_add(admitted, Ordering::Relaxed);
        if let Some(from) = from.filter(|_| told.is_none()) {
            let frame = |(refusal, ordinals): (u8, Vec<u64>)| {
                let frame: Arc<[u8]> = Outcome { refusal, height: 0, slot: 0, shard: 0, ordinals }.encode().into();
                (To::Peer(from.id), CELLS, frame)
            };
            self.mesh.send_all(outcomes.into_iter().map(frame));
        }
    }

    /// Who tells, and how much it may tell for the next height; this node, of what its own users sent.
    fn teller(&self, name: Option<u32>) -> Teller {
        let name = name.or(self.candidate).unwrap_or(u32::MAX);
        Teller { name, share: told_share(self.minter.execution.system(), name) }
    }

    /// Whether minters are told what is new: sets that are closed take nothing more, and what comes later is told to
    /// the minters of the next height, once it is known.
    pub(super) fn tells(&self, now: u64) -> bool {
        let open = now % self.schedule.slot_ms + self.schedule.slot_ms / TELLING < self.schedule.sets_ms;
        open || self.minter.execution.system().slot >= self.schedule.slot(now)
    }

    /// Transactions of the API's users that a certified shard-block debits: their first checkpoint.
    pub(super) fn track_certified(&self, height: u64, block: &CertifiedBlock) {
        if !self.status.watch(|watched| watched.waiting()) {
            return;
        }
        let Ok(patch) = Patch::decode(&block.patch, u32::MAX as usize) else { return };
        let now_ms = self.clock.now_ms();
        let state = self.minter.execution.state();
        self.status.watch(|watched| {
            watched.certified(height, block.block.shard, now_ms, |cell| {
                state
                    .find(&cell.sender)
                    .is_some_and(|account| patch.delta.debits.accounts.binary_search(&account).is_ok())
            });
        });
    }

    /// Those that a final block has used up: their second.
    pub(super) fn track_final(&self, height: u64, slot: u64, parent: &System) {
        if !self.status.watch(|watched| watched.waiting()) {
            return;
        }
        let now_ms = self.clock.now_ms();
        let (state, shards) = (self.minter.execution.state(), parent.committee.shards.len());
        self.status.watch(|watched| {
            watched.settle(height, slot, now_ms, |cell| {
                let used = state
                    .find(&cell.sender)
                    .is_some_and(|account| u64::from(state.hot(account).sequence) > cell.sequence);
                used.then(|| shard_of(&parent.seed, &cell.sender, shards) as u32)
            });
        });
    }

    /// Tells the minters of the next height what own users have sent.
    pub(super) fn tell_own(&mut self) {
        let (frames, told) = {
            let execution = &self.minter.execution;
            self.local.own.tell(&execution.state(), execution.system(), self.candidate)
        };
        self.mesh.send_all(frames);
        let (height, teller) = (self.minter.pending_height(), self.teller(None));
        for (item, account) in told {
            // One that does not fit any more is settled with the next block.
            let _ = self.minter.execution.admit_transaction(&item, Some(account), height, &teller);
        }
    }
}
