//! Records: what a shard-block changes beside balances.
//!
//! The first kinds follow from transactions that the shard has executed. The others are items of their own: they prove
//! themselves by signatures, need no sequence and may stand in the blocks of three shards; one of each kind and object
//! counts.
//!
//! ```text
//!   register 1 | account 4 | item id 32 | name
//!   stake    2 | account 4 | amount 8 | voting key 96 | possession 48
//!   unstake  3 | account 4 | amount 8
//!   answer  16 | height 8 | candidate 4 | drawn by 32 | address 16, port 2 | transport key 32 | answer 48 | signature 48
//!   fraud   17 | candidate 4 | kinds 2 | height 8 | numbers 16 | shard 2 | two of: hash 32, justified by 8, signature 48
//!   invalid 18 | attest | header 120 | place 4 | levels 1, each 16 x 32 | item
//!   alert   19 | attest | three of: candidate 4, signature 48 | height 8 | seats | aggregate 48
//!   attest  20 | height 8 | slot 8 | shard 2 | block 32 | seats | aggregate 48           seats: length 1, bitmap
//!   conflict 21 | kinds 2 | height 8 | numbers 16 | shard 2 | two of: hash 32, justified by 8, seats, aggregate 48
//! ```

use super::block::{SHARD_BLOCK_BYTES, ShardBlock};
use crate::base::hash::{FAN_OUT, Hash};
use crate::base::ids::{AccountIndex, Endpoint, Sig, VoteKey};
use crate::base::limits::NAME_BYTES_MAX;
use crate::base::read::{CodecError, Read, array, le_u16, le_u32, le_u64};
use crate::committee::statement::{
    Certificate, Conflict, Evidence, Statement, StatementKind, decode_certificate, decode_conflict, decode_evidence,
    encode_certificate, encode_conflict, encode_evidence,
};
use crate::transaction::check::name_acceptable;
use crate::transaction::item::Item;

/// Who must have raised the alarm before a committee looks for a block's transactions.
pub const ALERTS: usize = 3;
/// Who raised the alarm about a shard-block, and their signatures: as many as a look needs.
pub type Alarms = [(AccountIndex, Sig); ALERTS];
/// Levels of a tree of transactions at most: 16^6 is more than a block holds.
const LEVELS_MAX: usize = 6;

/// "I am in": the answer of a candidate who was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The height that it will mint.
    pub height: u64,
    /// The candidate: the account whose stake was drawn.
    pub candidate: AccountIndex,
    /// Hash of the block that drew it.
    pub drawn_by: Hash,
    /// Where to reach it.
    pub endpoint: Endpoint,
    /// Signature of chain and height alone: nothing in it can be chosen, so it may feed the seed.
    pub answer: Sig,
    /// Signature of the whole, see [`Answer::digest`].
    pub signature: Sig,
}

impl Answer {
    /// What the signature that feeds the seed is of.
    pub fn seed_digest(chain: &Hash, height: u64) -> Hash {
        Statement { kind: StatementKind::Answer, height, number: 0, shard: 0, justified_by: 0, hash: [0; 32] }
            .digest(chain)
    }

    /// What the other signature is of: everything else.
    pub fn digest(&self, chain: &Hash) -> Hash {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.drawn_by);
        bytes.extend_from_slice(&self.endpoint.address);
        bytes.extend_from_slice(&self.endpoint.port.to_le_bytes());
        bytes.extend_from_slice(&self.endpoint.transport_key);
        let (height, hash) = (self.height, *blake3::hash(&bytes).as_bytes());
        Statement {
            kind: StatementKind::Endpoint,
            height,
            number: u64::from(self.candidate),
            shard: 0,
            justified_by: 0,
            hash,
        }
        .digest(chain)
    }
}

/// Who has approved a shard-block: what its signers are rewarded by, or held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attest {
    /// Height that the shard-block is for.
    pub height: u64,
    /// Slot of the shard round.
    pub slot: u64,
    /// Shard that made the block.
    pub shard: u16,
    /// Hash of the shard-block.
    pub block: Hash,
    /// Who signed, and their signatures combined.
    pub certificate: Certificate,
}

impl Attest {
    /// What the minters of the shard have signed.
    pub fn digest(&self, chain: &Hash) -> Hash {
        let Attest { height, slot, shard, block, .. } = *self;
        Statement { kind: StatementKind::ShardVote, height, number: slot, shard, justified_by: 0, hash: block }
            .digest(chain)
    }
}

/// Proof that a certified shard-block holds a transaction that no state makes valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Certificate of the shard-block that holds the transaction.
    pub attest: Attest,
    /// The header that its hash is of.
    pub header: ShardBlock,
    /// The transaction's place in the block.
    pub place: u32,
    /// Its path: on each level the 16 hashes of which one leads to it.
    pub path: Vec<[Hash; FAN_OUT]>,
    /// The transaction itself, with payload and signature.
    pub item: Item,
}

/// Proof that a certified shard-block's transactions are kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Certificate of the shard-block whose transactions are kept back.
    pub attest: Attest,
    /// Who raised the alarm, and their signatures.
    pub alarms: Alarms,
    /// The height whose committee looked.
    pub height: u64,
    /// Those of it who were not served.
    pub not_served: Certificate,
}

impl Alert {
    /// What an alarm is.
    pub fn alarm_digest(chain: &Hash, attest: &Attest) -> Hash {
        let Attest { height, slot, shard, block, .. } = *attest;
        Statement { kind: StatementKind::Alarm, height, number: slot, shard, justified_by: 0, hash: block }
            .digest(chain)
    }

    /// What a member of the committee of `height` says.
    pub fn not_served_digest(chain: &Hash, height: u64, attest: &Attest) -> Hash {
        let Attest { height: of, shard, block, .. } = *attest;
        Statement { kind: StatementKind::NotServed, height, number: of, shard, justified_by: 0, hash: block }
            .digest(chain)
    }
}

/// A change beside balances, as it stands in a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An account takes a name.
    Register {
        /// Index of the account that is named.
        account: AccountIndex,
        /// The transaction: of two for one name in one block the lower counts.
        id: Hash,
        /// Letters, digits, `.`, `_` and `-`: 1 to 32 bytes.
        name: Vec<u8>,
    },
    /// An account puts something at stake.
    Stake {
        /// Index of the account whose stake grows.
        account: AccountIndex,
        /// Units that are put at stake.
        amount: u64,
        /// Its voting key.
        key: Box<VoteKey>,
        /// Proof that this account's owner has the key.
        possession: Box<Sig>,
    },
    /// An account takes something from its stake.
    Unstake {
        /// Index of the account whose stake shrinks.
        account: AccountIndex,
        /// Units that leave the stake.
        amount: u64,
    },
    /// A drawn candidate answers.
    Answer(Box<Answer>),
    /// Two statements of one minter that contradict each other.
    Fraud(Box<Evidence>),
    /// A certified block with an invalid transaction.
    Invalid(Box<Invalid>),
    /// A certified block whose transactions are kept back.
    Alert(Box<Alert>),
    /// Who approved a shard-block.
    Attest(Box<Attest>),
    /// Two certificates that contradict each other.
    Conflict(Box<Conflict>),
}

impl Record {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Register { account, id, name } => {
                out.push(1);
                out.extend_from_slice(&account.to_le_bytes());
                out.extend_from_slice(id);
                out.extend_from_slice(name);
            }
            Record::Stake { account, amount, key, possession } => {
                out.push(2);
                out.extend_from_slice(&account.to_le_bytes());
                out.extend_from_slice(&amount.to_le_bytes());
                out.extend_from_slice(&**key);
                out.extend_from_slice(&**possession);
            }
            Record::Unstake { account, amount } => {
                out.push(3);
                out.extend_from_slice(&account.to_le_bytes());
                out.extend_from_slice(&amount.to_le_bytes());
            }
            Record::Answer(answer) => {
                out.push(16);
                out.extend_from_slice(&answer.height.to_le_bytes());
                out.extend_from_slice(&answer.candidate.to_le_bytes());
                out.extend_from_slice(&answer.drawn_by);
                out.extend_from_slice(&answer.endpoint.address);
                out.extend_from_slice(&answer.endpoint.port.to_le_bytes());
                out.extend_from_slice(&answer.endpoint.transport_key);
                out.extend_from_slice(&answer.answer);
                out.extend_from_slice(&answer.signature);
            }
            Record::Fraud(evidence) => {
                out.push(17);
                encode_evidence(evidence, out);
            }
            Record::Invalid(invalid) => {
                out.push(18);
                encode_attest(&invalid.attest, out);
                out.extend_from_slice(&invalid.header.encode());
                out.extend_from_slice(&invalid.place.to_le_bytes());
                out.push(invalid.path.len() as u8);
                invalid.path.iter().flatten().for_each(|hash| out.extend_from_slice(hash));
                out.extend_from_slice(&invalid.item.to_bytes());
            }
            Record::Alert(alert) => {
                out.push(19);
                encode_attest(&alert.attest, out);
                for (candidate, signature) in &alert.alarms {
                    out.extend_from_slice(&candidate.to_le_bytes());
                    out.extend_from_slice(signature);
                }
                out.extend_from_slice(&alert.height.to_le_bytes());
                encode_certificate(&alert.not_served, out);
            }
            Record::Attest(attest) => {
                out.push(20);
                encode_attest(attest, out);
            }
            Record::Conflict(conflict) => {
                out.push(21);
                encode_conflict(conflict, out);
            }
        }
    }

    /// Whether it follows from a transaction, and is no item of its own.
    pub fn is_of_transaction(&self) -> bool {
        matches!(self, Record::Register { .. } | Record::Stake { .. } | Record::Unstake { .. })
    }

    /// The height whose committee's statements it is a proof of; none if it convicts nobody by statements.
    pub fn evident_at(&self) -> Option<u64> {
        match self {
            Record::Fraud(evidence) => Some(evidence.height),
            Record::Conflict(conflict) => Some(conflict.height()),
            _ => None,
        }
    }

    /// The one encoding of the record, as patches carry it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads a record from untrusted bytes: well formed afterwards, not yet true. None unless they are exactly one
    /// record in its one encoding.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        Record::read(bytes).ok()
    }

    fn read(mut bytes: &[u8]) -> Read<Record> {
        let bytes = &mut bytes;
        let [tag] = array(bytes)?;
        let record = match tag {
            1 => {
                let (account, id) = (le_u32(bytes)?, array(bytes)?);
                let name = std::mem::take(bytes);
                if name.len() > NAME_BYTES_MAX || !name_acceptable(name) {
                    return Err(CodecError::Field);
                }
                Record::Register { account, id, name: name.to_vec() }
            }
            2 => Record::Stake {
                account: le_u32(bytes)?,
                amount: le_u64(bytes)?,
                key: Box::new(array(bytes)?),
                possession: Box::new(array(bytes)?),
            },
            3 => Record::Unstake { account: le_u32(bytes)?, amount: le_u64(bytes)? },
            16 => Record::Answer(Box::new(Answer {
                height: le_u64(bytes)?,
                candidate: le_u32(bytes)?,
                drawn_by: array(bytes)?,
                endpoint: Endpoint { address: array(bytes)?, port: le_u16(bytes)?, transport_key: array(bytes)? },
                answer: array(bytes)?,
                signature: array(bytes)?,
            })),
            17 => Record::Fraud(Box::new(decode_evidence(bytes)?)),
            18 => {
                let (attest, header, place) =
                    (decode_attest(bytes)?, array::<SHARD_BLOCK_BYTES>(bytes)?, le_u32(bytes)?);
                let [levels] = array(bytes)?;
                if usize::from(levels) > LEVELS_MAX {
                    return Err(CodecError::TooMany(u64::from(levels)));
                }
                let mut path = Vec::with_capacity(usize::from(levels));
                for _ in 0..levels {
                    let level: [u8; 32 * FAN_OUT] = array(bytes)?;
                    path.push(bytemuck::cast(level));
                }
                let item = Item::of_bytes(std::mem::take(bytes));
                Record::Invalid(Box::new(Invalid { attest, header: ShardBlock::decode(&header), place, path, item }))
            }
            19 => {
                let attest = decode_attest(bytes)?;
                let mut alarms = [(0, [0; 48]); ALERTS];
                for alarm in &mut alarms {
                    *alarm = (le_u32(bytes)?, array(bytes)?);
                }
                Record::Alert(Box::new(Alert {
                    attest,
                    alarms,
                    height: le_u64(bytes)?,
                    not_served: decode_certificate(bytes)?,
                }))
            }
            20 => Record::Attest(Box::new(decode_attest(bytes)?)),
            21 => Record::Conflict(Box::new(decode_conflict(bytes)?)),
            _ => return Err(CodecError::Tag(tag)),
        };
        if bytes.is_empty() { Ok(record) } else { Err(CodecError::Trailing(bytes.len())) }
    }

    /// The record that an item is, if it is one that may stand by itself.
    pub fn of_item(item: &Item) -> Option<Record> {
        let bytes = item.record().filter(|bytes| bytes.first().is_some_and(|&tag| tag >= 16))?;
        Record::decode(bytes)
    }

    /// The item of this record.
    pub fn item(&self) -> Item {
        Item::of_bytes(&self.to_bytes())
    }
}

fn encode_attest(attest: &Attest, out: &mut Vec<u8>) {
    out.extend_from_slice(&attest.height.to_le_bytes());
    out.extend_from_slice(&attest.slot.to_le_bytes());
    out.extend_from_slice(&attest.shard.to_le_bytes());
    out.extend_from_slice(&attest.block);
    encode_certificate(&attest.certificate, out);
}

fn decode_attest(bytes: &mut &[u8]) -> Read<Attest> {
    Ok(Attest {
        height: le_u64(bytes)?,
        slot: le_u64(bytes)?,
        shard: le_u16(bytes)?,
        block: array(bytes)?,
        certificate: decode_certificate(bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::statement::SeatSet;
    use crate::transaction::item::ITEM_TRANSACTION;
    use proptest::prelude::*;

    fn attest(seed: u8) -> Attest {
        let mut signers = SeatSet::default();
        (0..9).for_each(|seat| assert!(signers.insert(seat * u16::from(seed % 7 + 1))));
        let certificate = Certificate { signers, aggregate: [seed; 48] };
        Attest { height: 7, slot: 8, shard: 2, block: [seed; 32], certificate }
    }

    fn samples() -> Vec<Record> {
        let block = ShardBlock {
            parent_root: [1; 32],
            slot: 8,
            shard: 2,
            transactions: 3,
            bytes: 579,
            transactions_root: [2; 32],
            patch_hash: [3; 32],
        };
        let endpoint = Endpoint { address: [9; 16], port: 4_444, transport_key: [8; 32] };
        let statement = |hash: u8| ([hash; 32], 4, [hash; 48]);
        vec![
            Record::Register { account: 5, id: [6; 32], name: b"ada".to_vec() },
            Record::Stake { account: 5, amount: 6, key: Box::new([7; 96]), possession: Box::new([8; 48]) },
            Record::Unstake { account: 5, amount: 6 },
            Record::Answer(Box::new(Answer {
                height: 3,
                candidate: 4,
                drawn_by: [5; 32],
                endpoint,
                answer: [6; 48],
                signature: [7; 48],
            })),
            Record::Fraud(Box::new(Evidence {
                candidate: 3,
                kinds: [StatementKind::First, StatementKind::Second],
                height: 4,
                numbers: [5, 6],
                shard: 0,
                statements: [statement(1), statement(2)],
            })),
            Record::Invalid(Box::new(Invalid {
                attest: attest(1),
                header: block,
                place: 1,
                path: vec![[[7; 32]; 16]; 2],
                item: Item::of_bytes(&[ITEM_TRANSACTION; 200]),
            })),
            Record::Alert(Box::new(Alert {
                attest: attest(2),
                alarms: [(1, [1; 48]), (2, [2; 48]), (3, [3; 48])],
                height: 8,
                not_served: attest(3).certificate,
            })),
            Record::Attest(Box::new(attest(4))),
            conflict(),
        ]
    }

    fn conflict() -> Record {
        let certified = |hash: u8| {
            let kind = StatementKind::First;
            let statement =
                Statement { kind, height: 7, number: 15, shard: 0, justified_by: u64::from(hash), hash: [hash; 32] };
            (statement, attest(hash).certificate)
        };
        let conflict = Conflict::of_certificates([certified(9), certified(2)]).expect("they contradict each other");
        assert_eq!(conflict, Conflict::of_certificates([certified(2), certified(9)]).unwrap(), "in one order");
        assert_eq!(Conflict::of_certificates([certified(9), certified(9)]), None, "the same twice is none");
        Record::Conflict(Box::new(conflict))
    }

    #[test]
    fn every_record_is_read_as_it_was_written_and_no_other_way() {
        for record in samples() {
            let bytes = record.to_bytes();
            assert_eq!(Record::decode(&bytes), Some(record.clone()));
            let open_ended = matches!(record, Record::Register { .. } | Record::Invalid(_));
            for length in 0..bytes.len() {
                let cut = Record::decode(&bytes[..length]);
                assert!(cut.is_none() || open_ended, "{record:?} cut to {length}");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(open_ended || Record::decode(&longer).is_none());
        }
        // A bitmap with a zero byte at its end is the same set, written longer.
        let mut bytes = Record::Attest(Box::new(attest(1))).to_bytes();
        let at = 1 + 8 + 8 + 2 + 32;
        bytes[at] += 1;
        bytes.insert(at + 1 + usize::from(bytes[at] - 1), 0);
        assert_eq!(Record::decode(&bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_record_or_none(rest in proptest::collection::vec(any::<u8>(), 0..600), tag in 0u8..24) {
            let bytes = [vec![tag], rest].concat();
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.to_bytes(), bytes);
            }
        }
    }
}
