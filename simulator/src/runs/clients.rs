//! What clients do: pay, register, stake, and speak again as long as it is not final.

use crate::chain::signing::vote_key;
use crate::chain::state::{Version, account_key, cell_item, new_key, transfer_item};
use crate::checkers::liveness::{HEALING_SLOTS, Waiting};
use crate::nodes::byzantine::Behaviour;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::transaction::cell::{Cell, TransactionKind as CellKind};
use dynemix_engine::transaction::item::Item;
use std::collections::{BTreeMap, BTreeSet};

/// Slots after which a stake or an unstake that names an older block can no longer be final.
const ANCESTORS: u64 = 60;

/// A transaction that is not final yet.
struct Offered {
    item: Item,
    sender: u64,
    sequence: u64,
    slot: u64,
    known: bool,
    /// What a service needs to stay possible: the name that is asked for, empty if it is none.
    service: Option<Vec<u8>>,
}

impl Offered {
    fn waiting(&self) -> Waiting {
        let kind = self.item.cell_and_payload().map_or(0, |(cell, _)| cell.kind);
        Waiting { slot: self.slot, kind, sender: self.sender }
    }

    /// A name that another got, or a second name, or a block long past that a stake names: such a service will never be
    /// done.
    fn is_lost(&self, version: &Version, now_slot: u64) -> bool {
        let Some(name) = &self.service else { return false };
        let (system, sender) = (&version.system, self.sender as u32);
        let taken = system.names.name_of(sender).is_some() || system.names.account_of(name).is_some();
        (!name.is_empty() && taken) || self.slot + ANCESTORS < now_slot || system.barred.contains_key(&sender)
    }
}

/// All clients: each has one transaction under way at a time.
#[derive(Default)]
pub(super) struct Clients {
    offered: BTreeMap<Hash, Offered>,
    /// Senders of what is offered or whispered.
    busy: BTreeSet<u64>,
}

impl Clients {
    /// New transfers go to those who have seats; what is not final yet is sent again, as clients do.
    pub(super) fn offer(&mut self, cluster: &mut Cluster<'_>, slot: u64) {
        let stops = slot > cluster.options.slots + HEALING_SLOTS - 2;
        let now = cluster.newest.clone();
        let accounts = cluster.options.accounts();
        for _ in 0..if stops { 0 } else { cluster.options.transfers } {
            let sender = cluster.dice.below(accounts);
            if !self.busy.insert(sender) {
                continue;
            }
            let state = &now.state;
            let key = account_key(sender);
            let sequence = u64::from(state.hot(sender as u32).sequence);
            let new = cluster.dice.chance(10);
            let recipient =
                if new { new_key(1 + cluster.dice.below(1_000)) } else { account_key(cluster.dice.below(accounts)) };
            let amount = DYNE * cluster.dice.between(1, 9);
            let item = transfer_item(key, recipient, amount, sequence, now.system.slot + 3_000);
            self.offered.insert(item.id(), Offered { item, sender, sequence, slot, known: false, service: None });
        }
        if !stops {
            self.offer_services(cluster, slot);
            self.whisper(cluster);
        }
        self.speak(cluster);
    }

    /// Clients speak to every minter of the sender's shard, and again as long as it is not final: shards change.
    fn speak(&mut self, cluster: &mut Cluster<'_>) {
        let now = cluster.newest.clone();
        let committee = now.system.committee.clone();
        let misses = if cluster.options.faults == FaultSet::None || cluster.healed { 0 } else { 100 };
        for offered in self.offered.values_mut() {
            let shard = shard_of(&now.system.seed, &account_key(offered.sender), committee.shards.len());
            for &seat in &committee.shards[shard] {
                let candidate = committee.members[usize::from(seat)].candidate;
                let node = &mut cluster.nodes[candidate as usize];
                if let Some(minter) = &mut node.minter
                    && !cluster.dice.chance(misses)
                {
                    if let Some(meter) = &mut cluster.meter {
                        meter.client(&cluster.schedule, cluster.now, candidate);
                    }
                    minter.submit(&offered.item);
                    offered.known |= node.behaviour.is_none();
                }
            }
        }
    }

    /// A block is final: how many transactions were done by it. A transaction is final when its sequence is used:
    /// senders here have one under way at a time.
    pub(super) fn on_final(&mut self, version: &Version, slot: u64) -> u64 {
        let used = |offered: &Offered| u64::from(version.state.hot(offered.sender as u32).sequence) > offered.sequence;
        let now_slot = slot.saturating_sub(100);
        self.take(|offered| !used(offered) && offered.is_lost(version, now_slot));
        self.take(used)
    }

    /// Ends what is offered and says so of itself; its senders are free again. Returns how many.
    fn take(&mut self, ended: impl Fn(&Offered) -> bool) -> u64 {
        let before = self.offered.len();
        let busy = &mut self.busy;
        self.offered.retain(|_, offered| {
            let ended = ended(offered);
            if ended {
                busy.remove(&offered.sender);
            }
            !ended
        });
        (before - self.offered.len()) as u64
    }

    /// A transaction that was offered before a slot and is not final.
    pub(super) fn older_than(&self, slot: u64) -> Option<Waiting> {
        self.offered.values().find(|offered| offered.slot < slot).map(Offered::waiting)
    }

    /// The same of those that honest minters know.
    pub(super) fn known_older_than(&self, slot: u64) -> Option<Waiting> {
        self.offered.values().find(|offered| offered.known && offered.slot < slot).map(Offered::waiting)
    }

    /// Who lies about sets has something in its own that nobody else has: else it would make no difference.
    fn whisper(&mut self, cluster: &mut Cluster<'_>) {
        let now = cluster.newest.clone();
        let committee = now.system.committee.clone();
        for member in &committee.members {
            let behaviour = cluster.nodes[member.candidate as usize].behaviour;
            if !matches!(behaviour, Some(Behaviour::LieAboutSets | Behaviour::Equivocate)) || self.busy.len() > 1_000 {
                continue;
            }
            let sender = cluster.dice.between(u64::from(cluster.options.candidates), cluster.options.accounts() - 1);
            let key = account_key(sender);
            let own = shard_of(&now.system.seed, &key, committee.shards.len()) == usize::from(member.shard);
            if own && self.busy.insert(sender) {
                let sequence = u64::from(now.state.hot(sender as u32).sequence);
                let item = transfer_item(key, account_key(0), DYNE, sequence, now.system.slot + 3_000);
                if let Some(minter) = &mut cluster.nodes[member.candidate as usize].minter {
                    minter.submit(&item);
                }
            }
        }
    }

    /// One of each kind that consensus itself needs: a name, something staked, something unstaked.
    fn offer_services(&mut self, cluster: &mut Cluster<'_>, slot: u64) {
        let now = cluster.newest.clone();
        for kind in [CellKind::Register, CellKind::Stake, CellKind::Unstake] {
            let candidates = u64::from(cluster.options.candidates);
            let sender = if kind == CellKind::Register {
                cluster.dice.between(candidates, cluster.options.accounts() - 1)
            } else {
                cluster.dice.below(candidates)
            };
            let named = now.system.names.name_of(sender as u32).is_some();
            let barred = now.system.barred.contains_key(&(sender as u32))
                || cluster.nodes.get(sender as usize).is_some_and(|node| node.behaviour.is_some());
            if (kind == CellKind::Register) == named || barred || !self.busy.insert(sender) {
                continue;
            }
            let parameters = &cluster.shared.chain.parameters.consensus;
            let (amount, payload) = match kind {
                // Names collide now and then.
                CellKind::Register => {
                    (parameters.register_reserve, format!("name{}", cluster.dice.below(200)).into_bytes())
                }
                CellKind::Stake => {
                    let (key, possession) =
                        vote_key(sender as u32, &account_key(sender), cluster.options.real_signatures);
                    (DYNE * cluster.dice.between(1, 2_000), [&key[..], &possession[..]].concat())
                }
                _ => (DYNE * cluster.dice.between(1, 1_000), Vec::new()),
            };
            if kind == CellKind::Register && now.system.names.account_of(&payload).is_some() {
                self.busy.remove(&sender);
                continue;
            }
            let recipient = if kind == CellKind::Register { [0; 32] } else { now.system.hash };
            let service = if kind == CellKind::Register { payload.clone() } else { Vec::new() };
            let sequence = u64::from(now.state.hot(sender as u32).sequence);
            let cell = Cell {
                sender: account_key(sender),
                recipient,
                amount,
                sequence,
                expires_slot: now.system.slot + 3_000,
                kind: kind as u8,
                ..bytemuck::Zeroable::zeroed()
            };
            let item = cell_item(cell, &payload, true);
            cluster.count(match kind {
                CellKind::Register => "registrations offered",
                CellKind::Stake => "stakes offered",
                _ => "unstakes offered",
            });
            self.offered
                .insert(item.id(), Offered { item, sender, sequence, slot, known: false, service: Some(service) });
        }
    }
}
