//! What clients do: pay, register, stake, and speak again as long as it is not final.

use crate::byzantine::Behaviour;
use crate::options::FaultSet;
use crate::signing::vote_key;
use crate::state::{account_key, cell_item, new_key, transfer_item};
use crate::world::{HEALING_SLOTS, World};
use dynemix_engine::base::parameters::DYNE;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::transaction::cell::{Cell, Kind as CellKind};
use dynemix_engine::transaction::item::Item;
use std::sync::Arc;

/// A transaction that is not final yet.
pub(crate) struct Offered {
    pub(crate) item: Arc<Item>,
    pub(crate) sender: u64,
    pub(crate) sequence: u64,
    pub(crate) slot: u64,
    pub(crate) known: bool,
    /// What a service needs to stay possible: the name that is asked for, empty if it is none.
    pub(crate) service: Option<Vec<u8>>,
}

impl World<'_> {
    /// New transfers go to those who have seats; what is not final yet is sent again, as clients do.
    pub(crate) fn offer(&mut self, slot: u64) {
        let stops = slot > self.options.slots + HEALING_SLOTS - 2;
        let now = self.newest.clone();
        let accounts = self.options.accounts();
        for _ in 0..if stops { 0 } else { self.options.transfers } {
            let sender = self.dice.below(accounts);
            if !self.busy.insert(sender) {
                continue;
            }
            let state = &now.state;
            let key = account_key(sender);
            let sequence = u64::from(state.hot(sender as u32).sequence);
            let new = self.dice.chance(10);
            let recipient =
                if new { new_key(1 + self.dice.below(1_000)) } else { account_key(self.dice.below(accounts)) };
            let amount = DYNE * self.dice.between(1, 9);
            let item = transfer_item(key, recipient, amount, sequence, now.system.slot + 3_000);
            self.offered.insert(item.id, Offered { item, sender, sequence, slot, known: false, service: None });
        }
        if !stops {
            self.offer_services(slot);
            self.whisper();
        }
        // Clients speak to every minter of the sender's shard, and again as long as it is not final: shards change.
        let committee = now.system.committee.clone();
        let misses = if self.options.faults == FaultSet::None || self.healed { 0 } else { 100 };
        for offered in self.offered.values_mut() {
            let shard = shard_of(&now.system.seed, &account_key(offered.sender), committee.shards.len());
            for &seat in &committee.shards[shard] {
                let candidate = committee.members[usize::from(seat)].candidate;
                let node = &mut self.nodes[candidate as usize];
                if let Some(minter) = &mut node.minter
                    && !self.dice.chance(misses)
                {
                    if let Some(meter) = &mut self.meter {
                        meter.client(&self.schedule, self.now, candidate);
                    }
                    minter.submit(&offered.item);
                    offered.known |= node.behaviour.is_none();
                }
            }
        }
    }

    /// Who lies about sets has something in its own that nobody else has: else it would make no difference.
    fn whisper(&mut self) {
        let now = self.newest.clone();
        let committee = now.system.committee.clone();
        for member in &committee.members {
            let behaviour = self.nodes[member.candidate as usize].behaviour;
            if !matches!(behaviour, Some(Behaviour::LieAboutSets | Behaviour::Equivocate)) || self.busy.len() > 1_000 {
                continue;
            }
            let sender = self.dice.between(u64::from(self.options.candidates), self.options.accounts() - 1);
            let key = account_key(sender);
            let own = shard_of(&now.system.seed, &key, committee.shards.len()) == usize::from(member.shard);
            if own && self.busy.insert(sender) {
                let sequence = u64::from(now.state.hot(sender as u32).sequence);
                let item = transfer_item(key, account_key(0), DYNE, sequence, now.system.slot + 3_000);
                if let Some(minter) = &mut self.nodes[member.candidate as usize].minter {
                    minter.submit(&item);
                }
            }
        }
    }

    /// One of each kind that consensus itself needs: a name, something staked, something unstaked.
    fn offer_services(&mut self, slot: u64) {
        let now = self.newest.clone();
        for kind in [CellKind::Register, CellKind::Stake, CellKind::Unstake] {
            let candidates = u64::from(self.options.candidates);
            let sender = if kind == CellKind::Register {
                self.dice.between(candidates, self.options.accounts() - 1)
            } else {
                self.dice.below(candidates)
            };
            let named = now.system.names.names.contains_key(&(sender as u32));
            let barred = now.system.barred.contains_key(&(sender as u32))
                || self.nodes.get(sender as usize).is_some_and(|node| node.behaviour.is_some());
            if (kind == CellKind::Register) == named || barred || !self.busy.insert(sender) {
                continue;
            }
            let parameters = &self.shared.chain.parameters.consensus;
            let (amount, payload) = match kind {
                // Names collide now and then.
                CellKind::Register => {
                    (parameters.register_reserve, format!("name{}", self.dice.below(200)).into_bytes())
                }
                CellKind::Stake => {
                    let (key, possession) = vote_key(sender as u32, self.options.real_signatures);
                    (DYNE * self.dice.between(1, 2_000), [&key[..], &possession[..]].concat())
                }
                _ => (DYNE * self.dice.between(1, 1_000), Vec::new()),
            };
            if kind == CellKind::Register && now.system.names.accounts.contains_key(&payload) {
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
            self.count(match kind {
                CellKind::Register => "registrations offered",
                CellKind::Stake => "stakes offered",
                _ => "unstakes offered",
            });
            self.offered
                .insert(item.id, Offered { item, sender, sequence, slot, known: false, service: Some(service) });
        }
    }
}
