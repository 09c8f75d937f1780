//! Transactions of this node's own users: passed on to the minters of their shard, again for each height, until they are
//! final or cannot be any more; then whoever sent them is told.

use super::wire::{CELLS, CELLS_MAX, Outcome, cells_frame, put_cell};
use dynemix_engine::consensus::committee::shard_of;
use dynemix_engine::consensus::message::Item;
use dynemix_engine::hash::Hash;
use dynemix_engine::refusal::Refusal;
use dynemix_engine::state::{State, StateMemory};
use dynemix_engine::system::build::transaction_of;
use dynemix_engine::system::tables::System;
use dynemix_net::mesh::{PeerId, To};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Transactions that are followed at most.
const OWN_MAX: usize = 300_000;

struct Followed {
    item: Arc<Item>,
    client: Option<(PeerId, u64)>,
    /// The height whose minters have it.
    told: u64,
}

/// A frame for the mesh.
pub type Frame = (To, u8, Arc<[u8]>);

/// Those that are followed.
#[derive(Default)]
pub struct Own {
    followed: HashMap<Hash, Followed>,
    /// Those that nobody has been told yet.
    fresh: Vec<Hash>,
}

impl Own {
    /// How many.
    pub fn len(&self) -> usize {
        self.followed.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    /// Follows a transaction that the pool would take.
    pub fn follow(&mut self, item: &Arc<Item>, client: Option<(PeerId, u64)>) -> Result<(), Refusal> {
        if self.followed.len() >= OWN_MAX {
            return Err(Refusal::Busy);
        }
        // Whoever hands in what another has handed in hears nothing of it: the first is told.
        if !self.followed.contains_key(&item.id) {
            self.followed.insert(item.id, Followed { item: item.clone(), client, told: 0 });
            self.fresh.push(item.id);
        }
        Ok(())
    }

    /// Frames for the minters of the next height, about all that they have not been told, or about those alone that are new
    /// here. Nobody is told a sequence before its turn. Also those that were told, for the own pool: what no other minter has
    /// must not be in an own set either.
    pub fn tell<M: StateMemory>(&mut self, all: bool, state: &State<M>, system: &System, me: u32) -> (Vec<Frame>, Vec<Arc<Item>>) {
        let height = system.height + 1;
        let fresh = std::mem::take(&mut self.fresh);
        let ids = if all { self.followed.keys().copied().collect() } else { fresh };
        let shards = system.committee.shards.len();
        let mut frames: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut told = Vec::new();
        for id in ids {
            let Some(followed) = self.followed.get_mut(&id).filter(|followed| followed.told < height) else { continue };
            let Some((cell, payload)) = transaction_of(&followed.item) else { continue };
            let due = state.find(&cell.sender).is_some_and(|account| u64::from(state.hot(account).sequence) == cell.sequence);
            if !due {
                continue;
            }
            followed.told = height;
            told.push(followed.item.clone());
            let shard = shard_of(&system.seed, &cell.sender, shards);
            let (of_shard, count) = (frames.entry(shard).or_default(), counts.entry(shard).or_insert(0));
            if *count % (CELLS_MAX / 2) == 0 {
                of_shard.push(cells_frame(true, 0));
            }
            *count += 1;
            put_cell(of_shard.last_mut().expect("begun above"), bytemuck::bytes_of(&cell), payload);
        }
        let mut out = Vec::new();
        for (shard, frames) in frames {
            let frames: Vec<Arc<[u8]>> = frames.into_iter().map(Into::into).collect();
            let seats = &system.committee.shards[shard];
            let minters = seats.iter().map(|&seat| system.committee.members[usize::from(seat)].candidate);
            for minter in minters.filter(|&minter| minter != me) {
                out.extend(frames.iter().map(|frame| (To::Name(minter), CELLS, frame.clone())));
            }
        }
        (out, told)
    }

    /// After a block: those that are final, or cannot become so any more, are told to whoever sent them. `parent` is the
    /// system that the block was built on.
    pub fn settle<M: StateMemory>(&mut self, state: &State<M>, parent: &System, system: &System) -> (u64, Vec<Frame>) {
        let shards = parent.committee.shards.len();
        let mut outcomes: BTreeMap<(PeerId, u8, u16), Vec<u64>> = BTreeMap::new();
        let mut finals = 0;
        self.followed.retain(|_, followed| {
            let Some((cell, _)) = transaction_of(&followed.item) else { return false };
            let used = state.find(&cell.sender).is_some_and(|account| u64::from(state.hot(account).sequence) > cell.sequence);
            let expired = cell.expires_slot < system.slot;
            if !used && !expired {
                return true;
            }
            finals += u64::from(used);
            if let Some((client, ordinal)) = followed.client {
                let refusal = if used { 0 } else { Refusal::Expired as u8 };
                let shard = shard_of(&parent.seed, &cell.sender, shards) as u16;
                outcomes.entry((client, refusal, shard)).or_default().push(ordinal);
            }
            false
        });
        let frame = |((client, refusal, shard), ordinals): ((PeerId, u8, u16), Vec<u64>)| {
            let (height, slot) = if refusal == 0 { (system.height, system.slot) } else { (0, 0) };
            let frame: Arc<[u8]> = Outcome { refusal, height, slot, shard, ordinals }.encode().into();
            (To::Peer(client), CELLS, frame)
        };
        (finals, outcomes.into_iter().map(frame).collect())
    }
}
