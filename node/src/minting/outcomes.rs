//! What guests hear of the transactions that they have handed in: one frame for all of a connection that came to the same.

use super::fate::Fate;
use super::watched::Where;
use crate::peer::frames::{CELLS, Frame, Outcome, UNPROVED};
use dynemix_engine::base::refusal::Refusal;
use dynemix_net::mesh::{PeerId, To};
use std::collections::BTreeMap;

/// What is to be said to whom.
#[derive(Default)]
pub struct Outcomes {
    /// By connection, what has come of it, and the block.
    ordinals: BTreeMap<(PeerId, u8, Where), Vec<u64>>,
}

impl Outcomes {
    /// One of this connection's, the one of this ordinal there, is refused.
    pub fn refuse(&mut self, (client, ordinal): (PeerId, u64), refusal: Refusal) {
        self.ordinals.entry((client, refusal as u8, (0, 0, 0))).or_default().push(ordinal);
    }

    /// Its sequence is used up by this block.
    pub fn end(&mut self, (client, ordinal): (PeerId, u64), block: Where, fate: Fate) {
        let code = match fate {
            Fate::Final => 0,
            Fate::Unknown => UNPROVED,
            Fate::Replaced(_) => return self.refuse((client, ordinal), Refusal::Replaced),
        };
        self.ordinals.entry((client, code, block)).or_default().push(ordinal);
    }

    /// The frames that say so.
    pub fn frames(self) -> Vec<Frame> {
        let frame = |((client, refusal, (height, slot, shard)), ordinals)| {
            let outcome = Outcome { refusal, height, slot, shard: shard as u16, ordinals };
            (To::Peer(client), CELLS, outcome.encode().into())
        };
        self.ordinals.into_iter().map(frame).collect()
    }
}
