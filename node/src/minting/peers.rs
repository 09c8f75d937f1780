//! Whom a node calls, and what consensus calls them.

use crate::intake::duties::{Duties, DutyTable};
use crate::setup::endpoint::target_of;
use dynemix_engine::chain::tables::System;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_net::mesh::{MeshHandle, PeerId, PeerInfo, Standing, Target, To};
use std::collections::BTreeMap;
use std::sync::Arc;
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

/// Forwarders that are remembered, and for how many heights.
const FORWARDERS_MAX: usize = Standing::Forwarder.bounds().places;
const FORWARDER_HEIGHTS: u64 = 64;

/// What a candidate with something to do is to the network: of several things the greatest.
fn standing_of(duties: Duties) -> Standing {
    match duties {
        Duties { seat: Some(_), .. } | Duties { seated_lately: true, .. } => Standing::Seated,
        Duties { drawn: true, .. } => Standing::Drawn,
        _ => Standing::Custodian,
    }
}

/// What each candidate is to the network at this height: its duty, or that it forwards cells of its users. Nobody else
/// with a stake is more than a name.
pub fn standings(duties: &DutyTable, forwarders: &Forwarders) -> BTreeMap<u32, Standing> {
    let called = duties.called().map(|(name, duties)| (name, standing_of(duties)));
    forwarders.at(duties.system.height).chain(called).collect()
}

/// How many answers a question has, each perhaps longer than who is asked may say unasked; 0 of what is no question.
pub fn answers_to(message: &Message) -> u32 {
    match message {
        Message::WantFinal(_) | Message::WantBodies(..) => 1,
        Message::Shard { message: ShardMessage::WantItems(..), .. } => 1,
        Message::WantBlocks(_, wanted) => wanted.len() as u32,
        _ => 0,
    }
}

/// Who has brought cells of its users lately, and which height it was: as many as there are places for.
#[derive(Default)]
pub struct Forwarders {
    by_name: BTreeMap<u32, u64>,
}

impl Forwarders {
    /// A candidate has told the minters of a height transactions that were taken. Where there are too many already it
    /// takes the place of whoever has done so longest ago, but of nobody at this height.
    pub fn note(&mut self, name: u32, height: u64) {
        if self.by_name.len() >= FORWARDERS_MAX && !self.by_name.contains_key(&name) {
            let oldest = self.by_name.iter().min_by_key(|forwarder| forwarder.1).map(|oldest| (*oldest.0, *oldest.1));
            let Some((oldest, _)) = oldest.filter(|oldest| oldest.1 < height) else { return };
            self.by_name.remove(&oldest);
        }
        self.by_name.insert(name, height);
        assert!(self.by_name.len() <= FORWARDERS_MAX, "more forwarders are remembered than have places");
    }

    fn at(&self, height: u64) -> impl Iterator<Item = (u32, Standing)> {
        let lately = move |forwarder: &(&u32, &u64)| *forwarder.1 + FORWARDER_HEIGHTS > height;
        self.by_name.iter().filter(lately).map(|forwarder| (*forwarder.0, Standing::Forwarder))
    }
}

/// Peers by address.
pub struct Peers {
    /// Of genesis, always called.
    of_genesis: Vec<Target>,
    /// Of the configuration, always called too: whoever has moved since genesis is named there.
    configured: Vec<Target>,
    /// What others have told.
    learned: Vec<Target>,
    /// The own stake took effect with the newest block.
    named_anew: bool,
    /// Who has brought cells.
    pub forwarders: Forwarders,
}

/// Whom a node calls from now on, and what each is to it.
pub struct Calls {
    /// Whose names are good for something.
    pub system: Arc<System>,
    /// What each candidate is to the network.
    pub standings: BTreeMap<u32, Standing>,
    /// Who is called however many peers there are.
    pub always: Vec<Target>,
    /// Who is called as well if they are few.
    pub if_few: Vec<Target>,
}

impl Calls {
    /// Has a mesh make these calls.
    pub fn make(self, mesh: &MeshHandle) {
        let Calls { system, standings, always, if_few } = self;
        mesh.set_names(Arc::new(move |name| system.stake(name) > 0));
        mesh.set_standings(standings);
        let few = are_few(mesh);
        mesh.set_targets(always.into_iter().chain(if_few.into_iter().filter(|_| few)).collect());
    }
}

/// Whether there are so few peers that learned addresses are called.
pub fn are_few(mesh: &MeshHandle) -> bool {
    mesh.counters().members.load(Ordering::Relaxed) < PEERS_WANTED
}

impl Peers {
    /// Those that are always called; nothing is learned yet.
    pub fn new(of_genesis: Vec<Target>, configured: Vec<Target>) -> Peers {
        let (learned, forwarders) = (Vec::new(), Forwarders::default());
        Peers { of_genesis, configured, learned, named_anew: false, forwarders }
    }

    /// Those of the configuration are reached elsewhere from now on.
    pub fn set_configured(&mut self, configured: Vec<Target>) {
        self.configured = configured;
    }

    /// Remembers addresses that a peer has told.
    pub fn learn(&mut self, targets: Vec<Target>) {
        for target in targets {
            if self.learned.len() < LEARNED_MAX && !self.learned.contains(&target) {
                self.learned.push(target);
            }
        }
    }

    /// Those whom a minter needs: the committee of the next height, the last ones, whoever was drawn, and bootstrap
    /// peers.
    pub fn calls(&self, duties: &DutyTable) -> Calls {
        let system = duties.system.clone();
        // What the operator says counts most: it is called first.
        let mut always = [&self.configured[..], &self.of_genesis].concat();
        always.extend(system.endpoints.values().filter_map(target_of));
        let if_few = self.learned.iter().copied().take(PEERS_WANTED as usize).collect();
        Calls { standings: standings(duties, &self.forwarders), system, always, if_few }
    }

    /// Who connected before its stake took effect is a guest to its peers. A block later, when all know its key, it
    /// calls again: true then.
    pub fn mind_name(&mut self, candidate: Option<u32>, parent: &System, system: &System) -> bool {
        let known_now = std::mem::take(&mut self.named_anew);
        self.named_anew = candidate.is_some_and(|candidate| {
            system.stakers.contains_key(&candidate) && !parent.stakers.contains_key(&candidate)
        });
        known_now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarders_are_as_many_as_have_places_and_the_longest_silent_makes_room() {
        let mut forwarders = Forwarders::default();
        (0..FORWARDERS_MAX as u32).for_each(|name| forwarders.note(name, 10 + u64::from(name == 5)));
        forwarders.note(9_000, 10);
        assert!(!forwarders.by_name.contains_key(&9_000), "all of the others have forwarded at this height");
        forwarders.note(9_001, 12);
        assert!(!forwarders.by_name.contains_key(&0) && forwarders.by_name.contains_key(&9_001));
        assert_eq!(forwarders.at(10 + FORWARDER_HEIGHTS).count(), 2, "the others have done so too long ago");
    }
}
