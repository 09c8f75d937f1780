//! What minters say to each other, and the digest that each signature is of.

use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::{Seat, Sig};
use crate::chain::block::{CertifiedBlock, Final, Prepared, Value};
use crate::chain::record::{Alarms, Attest};
use crate::transaction::item::{Item, Items, items_bytes};
use std::sync::{Arc, LazyLock};

/// Between the minters of one shard.
#[derive(Clone, Debug)]
pub enum ShardMessage {
    /// "My set has this root."
    SetRoot(Hash, Sig),
    /// "Tell me the set of that root, in short ids with this salt."
    WantSet(Hash, Hash),
    /// The salted short ids of a set.
    Set(Hash, Vec<u64>),
    /// "Send me these of that set", with the same salt.
    WantItems(Hash, Hash, Vec<u64>),
    /// The items that were asked for, whole.
    Items(Vec<Item>),
    /// "I hold these minters' sets", with the signature of each root.
    List(Vec<(Seat, Hash)>, Vec<Sig>, Sig),
    /// The tie-breaker's choice among disputed sets.
    Decision(Vec<(Seat, Hash)>, Sig),
    /// "This is the block."
    Vote(Hash, Sig),
}

/// All that minters send to each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// A transaction or record for whoever may need it.
    Item(Item),
    /// Of a shard round.
    Shard {
        /// Height of the block that the round makes.
        height: u64,
        /// Slot of the round.
        slot: u64,
        /// Shard whose minters speak.
        shard: u16,
        /// What one of them says to the others.
        message: ShardMessage,
    },
    /// A shard-block's transactions, for those who keep history or look whether they are there.
    Bodies(Hash, Items),
    /// "Send me the transactions of that shard-block", and by which alarms, if the sender is none of its custodians.
    WantBodies(Hash, Option<Box<Alarms>>),
    /// "The transactions of that shard-block of an earlier height are kept back": whose, of which block, signed.
    Alarm(u32, Box<Attest>, Sig),
    /// "I looked and was not served": at which height, which block, signed.
    NotServed(u64, Hash, Sig),
    /// A certified shard-block.
    Block(Arc<CertifiedBlock>),
    /// "Send me these shard-blocks of that height."
    WantBlocks(u64, Vec<Hash>),
    /// "I hold these", with the highest certificate known.
    Have {
        /// Height that the sender takes part in.
        height: u64,
        /// Attempt that it is by the sender's clock.
        attempt: u64,
        /// Shard by shard.
        held: Vec<Option<Hash>>,
        /// Highest certificate of first votes.
        high: Option<Arc<Prepared>>,
    },
    /// A proposal of try 1.
    Proposal {
        /// Attempt that the value is proposed for.
        attempt: u64,
        /// Master-block that the sender proposes for a vote.
        value: Arc<Value>,
        /// What justifies it, if anything but the headers does.
        prepared: Option<Arc<Prepared>>,
        /// Over the value's hash.
        signature: Sig,
    },
    /// First vote: a quorum of them for one value prepares it.
    First {
        /// Attempt that the vote is of.
        attempt: u64,
        /// Master-block that is voted for.
        value: Arc<Value>,
        /// Attempt of the certificate that justifies it.
        justified_by: u64,
        /// Over the value's hash.
        signature: Sig,
    },
    /// Second vote: a quorum of them makes the value final.
    Second {
        /// Height of the master-block that is voted for.
        height: u64,
        /// Attempt that the vote is of: that of the first votes behind it.
        attempt: u64,
        /// The value's hash.
        hash: Hash,
        /// Over height, attempt and hash.
        signature: Sig,
    },
    /// A final master-block with its shard-blocks.
    Final(Arc<Final>, Vec<Arc<CertifiedBlock>>),
    /// "Send me what became final at that height."
    WantFinal(u64),
}

impl Message {
    /// The height at which it is to be heard; none for what is heard at any time.
    pub fn height(&self) -> Option<u64> {
        match self {
            Message::Shard { height, .. } | Message::Have { height, .. } | Message::Second { height, .. } => {
                Some(*height)
            }
            Message::Proposal { value, .. } | Message::First { value, .. } => Some(value.height),
            Message::Final(decided, _) => Some(decided.value.height),
            Message::Block(block) => Some(block.height),
            Message::Item(_)
            | Message::WantBlocks(..)
            | Message::WantFinal(_)
            | Message::Bodies(..)
            | Message::WantBodies(..)
            | Message::Alarm(..)
            | Message::NotServed(..) => None,
        }
    }

    /// Bytes that it takes in memory, roughly, for whoever keeps messages: a place of a list that is empty takes what a
    /// full one does, though it travels as one byte.
    pub fn body_bytes(&self) -> usize {
        let of_headers = |headers: &[Option<Hash>]| size_of_val(headers);
        let of_prepared = |prepared: &Option<Arc<Prepared>>| {
            prepared.as_ref().map_or(0, |prepared| of_headers(&prepared.value.headers) + size_of::<Prepared>())
        };
        let bytes = match self {
            Message::Block(block) => block.body_bytes(),
            Message::Final(decided, blocks) => {
                of_headers(&decided.value.headers) + blocks.iter().map(|block| block.body_bytes()).sum::<usize>()
            }
            Message::Have { held, high, .. } => of_headers(held) + of_prepared(high),
            Message::Proposal { value, prepared, .. } => of_headers(&value.headers) + of_prepared(prepared),
            Message::First { value, .. } => of_headers(&value.headers),
            Message::WantBlocks(_, blocks) => size_of_val(&blocks[..]),
            Message::Shard { message: ShardMessage::List(list, roots, _), .. } => {
                size_of_val(&list[..]) + size_of_val(&roots[..])
            }
            Message::Shard { message: ShardMessage::Decision(list, _), .. } => size_of_val(&list[..]),
            Message::Bodies(_, items) => items_bytes(items),
            Message::Shard { message: ShardMessage::Items(items), .. } => items_bytes(items),
            Message::Shard {
                message: ShardMessage::Set(_, shorts) | ShardMessage::WantItems(_, _, shorts), ..
            } => 8 * shorts.len(),
            _ => 0,
        };
        bytes + 1_024
    }
}

static LIST_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix list of sets v1"));

/// The hash of a list, which its minter signs.
pub fn list_hash(list: &[(Seat, Hash)]) -> Hash {
    let mut bytes = Vec::with_capacity(34 * list.len());
    for (seat, root) in list {
        bytes.extend_from_slice(&seat.to_le_bytes());
        bytes.extend_from_slice(root);
    }
    keyed(&LIST_KEY, &bytes)
}
