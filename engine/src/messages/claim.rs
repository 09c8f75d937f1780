//! What a message says that somebody has signed, to be verified before the message is heard, many at once.

use super::message::{Message, ShardMessage, list_hash};
use crate::base::hash::Hash;
use crate::base::ids::Sig;
use crate::chain::record::{Answer, Record};
use crate::committee::statement::{Statement, StatementKind};
use crate::transaction::item::Item;
use crate::vote::signing::Claim;

impl Claim {
    /// The claims of a message that has come from this candidate: just those that hearing it will ask for, in the usual
    /// case.
    pub fn of_message(chain: &Hash, from: u32, message: &Message, out: &mut Vec<Claim>) {
        let mut claim = |signed: Statement, signature: &Sig| {
            out.push(Claim { candidate: from, digest: signed.digest(chain), signature: *signature });
        };
        match message {
            Message::Shard { height, slot, shard, message } => {
                let (kind, hash, signature) = match message {
                    ShardMessage::SetRoot(root, signature) => (StatementKind::SetRoot, *root, signature),
                    ShardMessage::List(list, _, signature) => (StatementKind::List, list_hash(list), signature),
                    ShardMessage::Decision(list, signature) => (StatementKind::Decision, list_hash(list), signature),
                    ShardMessage::Vote(hash, signature) => (StatementKind::ShardVote, *hash, signature),
                    _ => return,
                };
                claim(
                    Statement { kind, height: *height, number: *slot, shard: *shard, justified_by: 0, hash },
                    signature,
                );
            }
            Message::First { attempt, value, justified_by, signature } => {
                let (height, number, hash) = (value.height, *attempt, value.hash());
                claim(
                    Statement {
                        kind: StatementKind::First,
                        height,
                        number,
                        shard: 0,
                        justified_by: *justified_by,
                        hash,
                    },
                    signature,
                );
            }
            Message::Second { height, attempt, hash, signature } => {
                claim(
                    Statement {
                        kind: StatementKind::Second,
                        height: *height,
                        number: *attempt,
                        shard: 0,
                        justified_by: 0,
                        hash: *hash,
                    },
                    signature,
                );
            }
            Message::Item(item) => Claim::of_item(chain, item, out),
            _ => {}
        }
    }

    /// The claims of a record.
    pub fn of_item(chain: &Hash, item: &Item, out: &mut Vec<Claim>) {
        if let Some(Record::Answer(answer)) = Record::of_item(item) {
            let candidate = answer.candidate;
            out.push(Claim { candidate, digest: Answer::seed_digest(chain, answer.height), signature: answer.answer });
            out.push(Claim { candidate, digest: answer.digest(chain), signature: answer.signature });
        }
    }
}
