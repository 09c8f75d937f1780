//! Whom a node calls, and what consensus calls them.

use crate::setup::endpoint::target_of;
use dynemix_engine::chain::tables::System;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, Standing, Target, To};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Candidates are accounts, below this; from it on stand connections of those who are none.
const GUEST: u32 = 1 << 31;
/// Addresses that others have told, kept at most.
const LEARNED_MAX: usize = 256;
/// With fewer peers than these, learned addresses are called.
const PEERS_WANTED: u64 = 8;

/// What consensus calls a peer: its candidate, or a number of its connection that is no candidate.
pub fn name_of(from: PeerInfo) -> u32 {
    from.name.unwrap_or(GUEST | (from.id.0 as u32 & !GUEST))
}

/// Where what is meant for that name goes.
pub fn to_of(name: u32) -> To {
    if name < GUEST { To::Name(name) } else { To::Peer(PeerId(u64::from(name & !GUEST))) }
}

/// Committees before that of the next height whose minters may still have something to say.
const SEATED_BEFORE: usize = 2;

/// What each candidate is to the network at this height: who keeps what is not mature, who was drawn, who has a seat or
/// had one a moment ago. Nobody else with a stake is more than a name.
pub fn standings(system: &System) -> BTreeMap<u32, Standing> {
    let blocks = system.immature.iter().flat_map(|immature| &immature.blocks);
    let custodians = blocks.flat_map(|block| &block.custodians).map(|&candidate| (candidate, Standing::Custodian));
    let drawn = system.drawn.iter().map(|&candidate| (candidate, Standing::Drawn));
    let committees = std::iter::once(&system.committee).chain(system.committees.iter().take(SEATED_BEFORE));
    let seated = committees.flat_map(|committee| &committee.members).map(|member| (member.candidate, Standing::Seated));
    // Whoever is several things is the last of them.
    custodians.chain(drawn).chain(seated).collect()
}

/// How many answers a question has, each perhaps longer than who is asked may say unasked; 0 of what is no question.
pub fn answers_to(message: &Message) -> u32 {
    match message {
        Message::WantFinal(_) | Message::WantBodies(_) => 1,
        Message::Shard { message: ShardMessage::WantItems(..), .. } => 1,
        Message::WantBlocks(_, wanted) => wanted.len() as u32,
        _ => 0,
    }
}

/// Peers by address.
pub struct Peers {
    /// Of the configuration and of genesis, always called.
    bootstrap: Vec<Target>,
    /// What others have told.
    learned: Vec<Target>,
    /// The own stake took effect with the newest block.
    named_anew: bool,
}

fn are_few(mesh: &MeshHandle) -> bool {
    mesh.counters().members.load(Ordering::Relaxed) < PEERS_WANTED
}

impl Peers {
    /// Those that are always called; nothing is learned yet.
    pub fn new(bootstrap: Vec<Target>) -> Peers {
        Peers { bootstrap, learned: Vec::new(), named_anew: false }
    }

    /// Remembers addresses that a peer has told; calls them if there are few peers.
    pub fn learn(&mut self, targets: Vec<Target>, mesh: &MeshHandle, system: &System) {
        for target in targets {
            if self.learned.len() < LEARNED_MAX && !self.learned.iter().any(|known| known.key == target.key) {
                self.learned.push(target);
            }
        }
        if are_few(mesh) {
            self.call(mesh, system);
        }
    }

    /// Calls those whom a minter needs: the committee of the next height, the last ones, whoever was drawn, and
    /// bootstrap peers.
    pub fn call(&self, mesh: &MeshHandle, system: &System) {
        mesh.set_standings(standings(system));
        let mut targets = self.bootstrap.clone();
        targets.extend(system.endpoints.values().filter_map(target_of));
        let few = are_few(mesh);
        targets.extend(self.learned.iter().copied().filter(|_| few).take(PEERS_WANTED as usize));
        mesh.set_targets(targets);
    }

    /// Who connected before its stake took effect is a guest to its peers. A block later, when all know its key, it
    /// calls again.
    pub fn mind_name(&mut self, mesh: &MeshHandle, candidate: Option<u32>, parent: &System, system: &System) {
        if std::mem::take(&mut self.named_anew) {
            mesh.call_again();
        }
        let Some(candidate) = candidate else { return };
        self.named_anew = system.stakers.contains_key(&candidate) && !parent.stakers.contains_key(&candidate);
    }
}
