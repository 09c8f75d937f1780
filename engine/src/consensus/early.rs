//! Messages that came before their time. Each sender has one place for each thing that an honest one says ahead, and a
//! share of the bytes; all of them together have a budget. What does not fit is dropped: it is asked for or said again
//! when it is due.
//!
//! Once their time has come they are handed out a few at a time, so that no sender decides when many pairings are made
//! at once.

use crate::base::limits::EARLY_BYTES_MAX;
use crate::messages::message::{Message, ShardMessage};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Places of one sender: root, list, decision and vote of its round, what it holds, two attempts' votes, what it asks.
const PLACES_MAX: usize = 24;
/// Bytes of all that is no shard-block.
const LIGHT_BYTES_MAX: usize = 8 << 20;
/// Bytes of one sender of that at most; less where more senders share it.
const LIGHT_BYTES_OF_ONE: usize = 64 << 10;
/// Bytes of shard-blocks: who lacks one asks for it.
const HEAVY_BYTES_MAX: usize = 8 << 20;
/// Bytes of all of them: what a node has to have room for.
pub const EARLY_MESSAGES_BYTES_MAX: usize = LIGHT_BYTES_MAX + HEAVY_BYTES_MAX;
// At least a few of the largest fit.
const _: () = assert!(4 * EARLY_BYTES_MAX <= HEAVY_BYTES_MAX);

/// What a message is, for its place: kind, and attempt, shard or the like.
type Place = (u8, u64);

/// The place of a message; none if it is not kept: answers to what nobody has asked.
fn place_of(message: &Message) -> Option<Place> {
    let of_hash = |hash: &[u8; 32]| u64::from_le_bytes(hash[..8].try_into().expect("8 bytes"));
    Some(match message {
        Message::Shard { message, .. } => match message {
            ShardMessage::SetRoot(..) => (0, 0),
            ShardMessage::List(..) => (1, 0),
            ShardMessage::Decision(..) => (2, 0),
            ShardMessage::Vote(..) => (3, 0),
            ShardMessage::WantSet(root, _) => (4, of_hash(root)),
            ShardMessage::WantItems(root, ..) => (5, of_hash(root)),
            ShardMessage::Set(..) | ShardMessage::Items(_) => return None,
        },
        Message::Have { attempt, .. } => (6, attempt % 2),
        Message::Proposal { attempt, .. } => (7, *attempt),
        Message::First { attempt, .. } => (8, *attempt),
        Message::Second { attempt, .. } => (9, *attempt),
        Message::Final(..) => (10, 0),
        Message::Block(_) => (11, 0),
        _ => return None,
    })
}

fn is_heavy(message: &Message) -> bool {
    matches!(message, Message::Block(_))
}

#[derive(Default)]
pub(super) struct Early {
    kept: VecDeque<(u32, Message)>,
    /// By sender: the places that are taken, and bytes of what is light.
    of: BTreeMap<u32, (BTreeSet<Place>, usize)>,
    /// Their time has come.
    due: VecDeque<(u32, Message)>,
    /// Bytes of all: light, heavy.
    bytes: [usize; 2],
}

impl Early {
    /// Keeps a message of one of so many who have the right to speak, if its place is free and its bytes fit.
    pub(super) fn keep(&mut self, from: u32, message: Message, speakers: usize) {
        // The certificate is enough: blocks are asked for.
        let message = match message {
            Message::Final(decided, _) => Message::Final(decided, Vec::new()),
            message => message,
        };
        let Some(place) = place_of(&message) else { return };
        let (heavy, bytes) = (is_heavy(&message), message.body_bytes());
        let (places, light) = self.of.entry(from).or_default();
        let fits = if heavy {
            bytes <= EARLY_BYTES_MAX && self.bytes[1] + bytes <= HEAVY_BYTES_MAX
        } else {
            let of_one = LIGHT_BYTES_OF_ONE.min(LIGHT_BYTES_MAX / speakers.max(1));
            *light + bytes <= of_one && self.bytes[0] + bytes <= LIGHT_BYTES_MAX
        };
        if fits && places.len() < PLACES_MAX && places.insert(place) {
            *light += if heavy { 0 } else { bytes };
            self.bytes[usize::from(heavy)] += bytes;
            self.kept.push_back((from, message));
        }
    }

    /// The time of all that is kept has come, perhaps: whoever hears one too early keeps it again.
    pub(super) fn release(&mut self) {
        self.of.clear();
        self.due.append(&mut self.kept);
    }

    /// The next of those, in the order in which they came.
    pub(super) fn next_due(&mut self) -> Option<(u32, Message)> {
        let (from, message) = self.due.pop_front()?;
        let (of_kind, bytes) = (&mut self.bytes[usize::from(is_heavy(&message))], message.body_bytes());
        assert!(*of_kind >= bytes, "the bytes of early messages are those of all of them");
        *of_kind -= bytes;
        Some((from, message))
    }

    /// Whether there is one.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::base::limits::SHARDS_MAX;
    use crate::chain::block::{CertifiedBlock, ShardBlock, Value};
    use crate::committee::statement::{Certificate, SeatSet};
    use crate::transaction::item::Items;
    use std::sync::Arc;

    fn have(attempt: u64) -> Message {
        Message::Have { height: 8, attempt, held: Vec::new(), high: None }
    }

    fn second(attempt: u64, hash: Hash) -> Message {
        Message::Second { height: 8, attempt, hash, signature: [0; 48] }
    }

    fn block(bytes: usize) -> Message {
        let header = ShardBlock {
            parent_root: [0; 32],
            slot: 1,
            shard: 0,
            transactions: 0,
            bytes: 0,
            transactions_root: [0; 32],
            patch_hash: [0; 32],
        };
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let (hash, items, patch) = (header.hash(), Items::default(), vec![0; bytes]);
        Message::Block(Arc::new(CertifiedBlock { height: 8, block: header, hash, certificate, items, patch }))
    }

    #[test]
    fn one_sender_has_one_place_for_each_thing_and_no_more() {
        let mut early = Early::default();
        for attempt in 0..1_000 {
            early.keep(1, have(attempt), 20);
            early.keep(1, second(4, [attempt as u8; 32]), 20);
            early.keep(1, block(1 << 20), 20);
        }
        assert_eq!(early.kept.len(), 4);
        (0..1_000).for_each(|attempt| early.keep(1, second(attempt, [0; 32]), 20));
        assert_eq!(early.kept.len(), PLACES_MAX);
        early.keep(2, have(2), 20);
        assert_eq!(early.kept.len(), PLACES_MAX + 1, "what one fills is not another's place");
        assert!(!early.is_due());
        early.release();
        assert_eq!(std::iter::from_fn(|| early.next_due()).count(), PLACES_MAX + 1);
        assert_eq!(early.bytes, [0, 0]);
    }

    #[test]
    fn what_is_kept_of_one_counts_what_it_takes_in_memory() {
        let mut early = Early::default();
        let (hash, headers) = ([0; 32], vec![None; SHARDS_MAX]);
        let [parent, quilt, parent_root, system, seed, committee_next] = [hash; 6];
        let (height, slot) = (8, 1);
        let value = Value { height, parent, slot, headers, quilt, parent_root, system, seed, committee_next };
        let signature = [0; 48];
        for attempt in 0..24 {
            let value = Arc::new(value.clone());
            early.keep(1, Message::Proposal { attempt, value: value.clone(), prepared: None, signature }, 20);
            early.keep(1, Message::First { attempt, value, justified_by: 0, signature }, 20);
        }
        let held = |(_, message): &(u32, Message)| match message {
            Message::Proposal { value, .. } | Message::First { value, .. } => size_of_val(&value.headers[..]),
            _ => 0,
        };
        let held: usize = early.kept.iter().map(held).sum();
        assert!(held <= LIGHT_BYTES_OF_ONE, "{held} bytes of one sender");
        assert!(early.kept.iter().all(|(_, message)| message.body_bytes() <= LIGHT_BYTES_OF_ONE));
    }

    #[test]
    fn all_together_keep_within_the_budget() {
        let (mut early, large) = (Early::default(), block(EARLY_BYTES_MAX - 2_000));
        for from in 0..4_000 {
            early.keep(from, large.clone(), 4_000);
            early.keep(from, have(2), 4_000);
        }
        assert!(early.bytes[0] <= LIGHT_BYTES_MAX && early.bytes[1] <= HEAVY_BYTES_MAX);
        assert_eq!(early.kept.iter().filter(|(_, message)| is_heavy(message)).count(), 4);
        assert_eq!(early.kept.len(), 4_004, "blocks do not crowd out what is small");
        // Over two rounds of keeping the budget is the same.
        early.release();
        (0..4_000).for_each(|from| early.keep(from, large.clone(), 4_000));
        assert!(early.bytes[1] <= HEAVY_BYTES_MAX);
    }
}
