//! What a message is, by its first bytes: enough to say whether it is wanted, before megabytes of it are decoded.

use crate::peer::frames::{BODIES, CELLS, ROUNDS, VOTES};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::read::CodecError;
use dynemix_engine::base::varint;
use dynemix_engine::chain::block::{CertifiedBlock, Final, SHARD_BLOCK_BYTES, ShardBlock};
use dynemix_engine::chain::block_codec::read_final;
use dynemix_engine::committee::statement::decode_certificate;
use dynemix_engine::transaction::item::Items;
use std::sync::Arc;

/// What stands before the body of a message.
#[derive(Debug)]
pub enum Glance {
    /// A record, or a transaction.
    Item,
    /// Small talk of a shard's round: roots, lists, votes.
    ShardTalk {
        /// Height that the round is of.
        height: u64,
        /// Shard whose minters speak.
        shard: u16,
    },
    /// The short ids of a set, or a question for items.
    ShardShorts {
        /// Height that the round is of.
        height: u64,
        /// Shard whose minters speak.
        shard: u16,
    },
    /// Items that were asked for in a shard's round.
    ShardItems {
        /// Height that the round is of.
        height: u64,
        /// Shard whose minters speak.
        shard: u16,
    },
    /// A certified shard-block: all but its items and its patch.
    Block(Box<CertifiedBlock>),
    /// What became final, and how many of its shard-blocks follow.
    Final(Arc<Final>, u64),
    /// Transactions of this shard-block.
    Bodies(Hash),
    /// A vote, a proposal or a statement of what is held, of this height.
    Committee(u64),
    /// A statement about a block whose transactions are kept back.
    Custody,
    /// A question of any kind.
    Question,
}

/// The next bytes, if there are so many.
fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (array, rest) = bytes.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
    *bytes = rest;
    Ok(*array)
}

impl Glance {
    /// Looks at a message, behind the frame's kind.
    ///
    /// # Errors
    /// When it cannot be one, as far as one can see.
    pub fn of(mut bytes: &[u8]) -> Result<Glance, CodecError> {
        let bytes = &mut bytes;
        let number = |bytes: &mut &[u8]| varint::read(bytes).map_err(CodecError::from);
        let [tag] = array(bytes)?;
        Ok(match tag {
            0 => Glance::Item,
            1 => {
                let (height, _slot) = (number(bytes)?, number(bytes)?);
                let shard = u16::try_from(number(bytes)?).map_err(|_| CodecError::Field)?;
                match array(bytes)? {
                    [2 | 3] => Glance::ShardShorts { height, shard },
                    [4] => Glance::ShardItems { height, shard },
                    [0 | 1 | 5..=7] => Glance::ShardTalk { height, shard },
                    [tag] => return Err(CodecError::Tag(tag)),
                }
            }
            2 => {
                let height = number(bytes)?;
                let block = ShardBlock::decode(&array::<SHARD_BLOCK_BYTES>(bytes)?);
                let certificate = decode_certificate(bytes)?;
                let (hash, items, patch) = (block.hash(), Items::default(), Vec::new());
                Glance::Block(Box::new(CertifiedBlock { height, block, hash, certificate, items, patch }))
            }
            4 | 7 => Glance::Committee(number(bytes)?),
            5 | 6 => {
                let (_attempt, height) = (number(bytes)?, number(bytes)?);
                Glance::Committee(height)
            }
            8 => {
                let decided = read_final(bytes)?;
                Glance::Final(decided, number(bytes)?)
            }
            10 => Glance::Bodies(array(bytes)?),
            12 | 13 => Glance::Custody,
            3 | 9 | 11 => Glance::Question,
            _ => return Err(CodecError::Tag(tag)),
        })
    }

    /// Whether it may travel in this class: its own or a slower one, for a long message of rounds travels with the
    /// bodies. What is verified before it is heard must not come by the way of what is heard at once.
    pub fn travels_in(&self, class: u8) -> bool {
        let own = match self {
            Glance::Item | Glance::ShardShorts { .. } | Glance::ShardItems { .. } | Glance::Block(_) => ROUNDS,
            Glance::Final(_, blocks) if *blocks > 0 => BODIES,
            Glance::Bodies(_) => BODIES,
            _ => VOTES,
        };
        class >= own && class != CELLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::frames::class_of;
    use dynemix_engine::chain::block::Value;
    use dynemix_engine::committee::statement::{Certificate, SeatSet};
    use dynemix_engine::messages::codec::encode;
    use dynemix_engine::messages::message::{Message, ShardMessage};
    use dynemix_engine::transaction::compact::Nobody;
    use dynemix_engine::transaction::item::Item;

    fn samples() -> Vec<Message> {
        let mut signers = SeatSet::default();
        signers.insert(3);
        let certificate = Certificate { signers, aggregate: [3; 48] };
        let header = ShardBlock {
            parent_root: [1; 32],
            slot: 8,
            shard: 2,
            transactions: 3,
            bytes: 579,
            transactions_root: [2; 32],
            patch_hash: [3; 32],
        };
        let items: Items = vec![Item::of_bytes(&[99, 1, 2])].into();
        let block = Arc::new(CertifiedBlock {
            height: 300,
            block: header,
            hash: header.hash(),
            certificate,
            items: items.clone(),
            patch: vec![4; 90],
        });
        let value = Arc::new(Value {
            height: 300,
            parent: [1; 32],
            slot: 9,
            headers: vec![Some([2; 32]), None],
            quilt: [3; 32],
            parent_root: [4; 32],
            system: [5; 32],
            seed: [6; 32],
            committee_next: [7; 32],
        });
        let decided = Arc::new(Final { attempt: 7, hash: value.hash(), value: value.clone(), certificate });
        let shard = |message| Message::Shard { height: 300, slot: 1_000, shard: 200, message };
        vec![
            Message::Item(items[0].clone()),
            shard(ShardMessage::SetRoot([1; 32], [2; 48])),
            shard(ShardMessage::WantSet([1; 32], [2; 32])),
            shard(ShardMessage::Set([1; 32], vec![1, 2])),
            shard(ShardMessage::WantItems([1; 32], [2; 32], vec![3])),
            shard(ShardMessage::Items(items.to_vec())),
            shard(ShardMessage::List(vec![(1, [2; 32])], vec![[3; 48]], [4; 48])),
            shard(ShardMessage::Decision(vec![(1, [2; 32])], [4; 48])),
            shard(ShardMessage::Vote([1; 32], [4; 48])),
            Message::Bodies([9; 32], items),
            Message::WantBodies([9; 32], None),
            Message::NotServed(300, [9; 32], [1; 48]),
            Message::Block(block.clone()),
            Message::WantBlocks(300, vec![[1; 32]]),
            Message::Have { height: 300, attempt: 7, held: vec![None], high: None },
            Message::Proposal { attempt: 7, value: value.clone(), prepared: None, signature: [1; 48] },
            Message::First { attempt: 7, value, justified_by: 3, signature: [1; 48] },
            Message::Second { height: 300, attempt: 7, hash: [1; 32], signature: [1; 48] },
            Message::Final(decided.clone(), Vec::new()),
            Message::Final(decided, vec![block]),
            Message::WantFinal(300),
        ]
    }

    #[test]
    fn a_glance_sees_what_decoding_will_find_and_the_class_that_it_belongs_to() {
        for message in samples() {
            let mut bytes = Vec::new();
            encode(&message, &Nobody, &mut bytes);
            let glance = Glance::of(&bytes).unwrap();
            let height = match &glance {
                Glance::ShardTalk { height, shard } | Glance::ShardShorts { height, shard } => {
                    assert_eq!(*shard, 200);
                    Some(*height)
                }
                Glance::ShardItems { height, .. } | Glance::Committee(height) => Some(*height),
                Glance::Block(block) => {
                    let Message::Block(whole) = &message else { panic!("{message:?}") };
                    assert_eq!((block.hash, block.certificate), (whole.hash, whole.certificate));
                    Some(block.height)
                }
                Glance::Final(decided, blocks) => {
                    let Message::Final(whole, bodies) = &message else { panic!("{message:?}") };
                    assert_eq!((decided.hash, *blocks), (whole.hash, bodies.len() as u64));
                    Some(decided.value.height)
                }
                _ => None,
            };
            if let (Some(height), Some(told)) = (height, message.height()) {
                assert_eq!(height, told, "{message:?}");
            }
            let class = class_of(&message);
            assert!(glance.travels_in(class), "{message:?}");
            assert!(!glance.travels_in(CELLS));
            assert_eq!(glance.travels_in(VOTES), class == VOTES, "{message:?}");
        }
        assert!(Glance::of(&[]).is_err() && Glance::of(&[99]).is_err() && Glance::of(&[1, 1, 1, 1, 9]).is_err());
    }
}
