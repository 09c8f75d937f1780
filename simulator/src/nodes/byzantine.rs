//! What Byzantine nodes do: an honest node's actions, bent on their way out. They sign with their own keys only, and
//! know everything else.

use crate::chain::signing::AnySigning;
use crate::seed::dice::Dice;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::{CertifiedBlock, Final, Prepared, ShardBlock, Value};
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::quorum::master_quorum;
use dynemix_engine::committee::statement::{Certificate, Evidence, SeatSet, Statement, StatementKind};
use dynemix_engine::consensus::minter::Action;
use dynemix_engine::messages::message::{Message, ShardMessage, list_hash};
use dynemix_engine::transaction::item::Items;
use dynemix_engine::vote::signing::Signing;
use serde::Serialize;
use std::sync::Arc;

/// One way to misbehave; a node keeps to it for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Behaviour {
    /// Sends no message at all.
    Silent,
    /// Tells half of the others something else.
    Equivocate,
    /// Leaves out half of the messages.
    Withhold,
    /// Says everything two to four seconds late.
    Delay,
    /// Names sets that nobody has, leaves out those it holds.
    LieAboutSets,
    /// Proposes and votes for empty blocks.
    Censor,
    /// Sends certificates that nobody signed.
    Forge,
    /// Sends dozens of falsehoods of one kind at once, with a seat and without.
    Flood,
    /// Forgets what it signed, several times a run, and signs again.
    Amnesia,
    /// Does as it should until its shard has fallen; then it takes what it can.
    Plunder,
}

impl Behaviour {
    /// All of them.
    pub(crate) const ALL: [Behaviour; 10] = [
        Behaviour::Silent,
        Behaviour::Equivocate,
        Behaviour::Withhold,
        Behaviour::Delay,
        Behaviour::LieAboutSets,
        Behaviour::Censor,
        Behaviour::Forge,
        Behaviour::Flood,
        Behaviour::Amnesia,
        Behaviour::Plunder,
    ];
}

/// Falsehoods that one who floods sends at once.
const FLOOD: usize = 24;

/// What a liar works with.
pub(crate) struct Liar<'a> {
    /// Genesis hash of the chain, which stands in all that is signed.
    pub(crate) chain: &'a Hash,
    /// Who it is.
    pub(crate) candidate: u32,
    /// Its own key: it has no other.
    pub(crate) signing: &'a AnySigning,
    /// The committee of its pending height.
    pub(crate) committee: &'a Committee,
    /// The slot by its clock.
    pub(crate) slot: u64,
    /// The run's own dice.
    pub(crate) dice: &'a mut Dice,
}

/// The value with all its shard-blocks left out. Not one that any honest node would compute for those blocks, which is
/// the point.
fn emptied(value: &Value) -> Arc<Value> {
    Arc::new(Value { headers: vec![None; value.headers.len()], ..value.clone() })
}

/// The value with a shard-block that nobody has.
fn phantom(value: &Value, hash: Hash) -> Arc<Value> {
    let mut headers = value.headers.clone();
    headers[0] = Some(hash);
    Arc::new(Value { headers, ..value.clone() })
}

/// The value with one shard-block in every place, and a place too many.
fn doubled(value: &Value) -> Arc<Value> {
    Arc::new(Value {
        headers: vec![value.headers.iter().flatten().next().copied(); value.headers.len() + 1],
        ..value.clone()
    })
}

/// Whether a shard's message is of an even height.
fn even_height(message: &Message) -> bool {
    matches!(message, Message::Shard { height, .. } if height % 2 == 0)
}

impl Liar<'_> {
    fn sign(
        &self,
        kind: StatementKind,
        height: u64,
        number: u64,
        shard: u16,
        justified_by: u64,
        hash: Hash,
    ) -> [u8; 48] {
        self.signing.sign(&Statement { kind, height, number, shard, justified_by, hash }.digest(self.chain))
    }

    /// Bends actions; the second of each pair is how many milliseconds later than otherwise it is to be done.
    pub(crate) fn bend(&mut self, behaviour: Behaviour, actions: Vec<Action>) -> Vec<(Action, u64)> {
        let mut out = Vec::with_capacity(actions.len());
        for action in actions {
            let Action::Send(to, message) = action else {
                // Who has no seat asks each slot what is final: it floods the committee instead.
                if behaviour == Behaviour::Flood
                    && let Action::Gossip(Message::WantFinal(height)) = &action
                {
                    for member in &self.committee.members {
                        if member.candidate != self.candidate {
                            self.flood(member.candidate, *height, 2 * self.slot, &mut out);
                        }
                    }
                }
                if behaviour != Behaviour::Silent || !matches!(action, Action::Gossip(_)) {
                    out.push((action, 0));
                }
                continue;
            };
            match behaviour {
                Behaviour::Silent => {}
                Behaviour::Withhold if self.dice.chance(500) => {}
                Behaviour::Delay => {
                    let later = self.dice.between(2_000, 4_000);
                    out.push((Action::Send(to, message), later));
                }
                // At every second height it contradicts its set only later, and before half of them.
                Behaviour::Equivocate
                    if even_height(&message)
                        && matches!(&message, Message::Shard { message: ShardMessage::SetRoot(..), .. }) =>
                {
                    out.push((Action::Send(to, message), 0));
                }
                Behaviour::Equivocate
                    if to % 2 == 1
                        && even_height(&message)
                        && matches!(&message, Message::Shard { message: ShardMessage::List(..), .. }) =>
                {
                    let Message::Shard { height, slot, shard, .. } = &message else { unreachable!("matched above") };
                    let root = std::array::from_fn(|_| self.dice.roll() as u8);
                    let other =
                        ShardMessage::SetRoot(root, self.sign(StatementKind::SetRoot, *height, *slot, *shard, 0, root));
                    let other = Message::Shard { height: *height, slot: *slot, shard: *shard, message: other };
                    out.push((Action::Send(to, message), 0));
                    out.push((Action::Send(to, other), 0));
                }
                Behaviour::Equivocate if to % 2 == 1 => out.push((Action::Send(to, self.contradict(message)), 0)),
                // Its set is told to a few only.
                Behaviour::LieAboutSets
                    if matches!(message, Message::Shard { message: ShardMessage::SetRoot(..), .. })
                        && !to.is_multiple_of(4) => {}
                Behaviour::LieAboutSets => out.push((Action::Send(to, self.lie_about_sets(to, message)), 0)),
                Behaviour::Censor => out.push((Action::Send(to, self.censor(message)), 0)),
                Behaviour::Flood => {
                    if let Message::Have { height, attempt, .. } = &message {
                        self.flood(to, *height, *attempt, &mut out);
                    }
                    out.push((Action::Send(to, message), 0));
                }
                Behaviour::Forge => {
                    if let Some(forged) = self.forge(&message) {
                        out.push((Action::Send(to, forged), 0));
                    }
                    out.push((Action::Send(to, message), 0));
                }
                _ => out.push((Action::Send(to, message), 0)),
            }
        }
        out
    }

    /// Many falsehoods of one kind, each another.
    fn flood(&mut self, to: u32, height: u64, attempt: u64, out: &mut Vec<(Action, u64)>) {
        let kind = self.dice.below(8);
        let mut signers = SeatSet::default();
        (0..master_quorum(self.committee.len())).for_each(|seat| {
            signers.insert(seat as u16);
        });
        let shard =
            self.committee.seat_of(self.candidate).map_or(0, |seat| self.committee.members[usize::from(seat)].shard);
        for _ in 0..FLOOD {
            let hash: Hash = std::array::from_fn(|_| self.dice.roll() as u8);
            let signature = [hash[0]; 48];
            let certificate = Certificate { signers, aggregate: signature };
            let value = Arc::new(Value {
                height,
                parent: hash,
                slot: attempt / 2,
                headers: vec![None; self.committee.shards.len()],
                quilt: hash,
                parent_root: hash,
                system: hash,
                seed: hash,
                committee_next: hash,
            });
            let of_value = value.hash();
            let message = match kind {
                0 => Message::First { attempt, value, justified_by: 0, signature },
                1 => Message::Second { height, attempt, hash, signature },
                2 => Message::Proposal { attempt, value, prepared: None, signature },
                3 => Message::Final(Arc::new(Final { attempt, value, hash: of_value, certificate }), Vec::new()),
                4 => {
                    let (attempt, justified_by) = (attempt + 1, 0);
                    let high = Arc::new(Prepared { attempt, justified_by, value, hash: of_value, certificate });
                    let held = vec![None; self.committee.shards.len()];
                    Message::Have { height, attempt, held, high: Some(high) }
                }
                5 => Message::Shard { height, slot: attempt / 2, shard, message: ShardMessage::Vote(hash, signature) },
                6 => Message::Block(Arc::new(self.false_block(height, attempt / 2, hash, certificate))),
                _ => Message::Shard {
                    height,
                    slot: attempt / 2,
                    shard,
                    message: ShardMessage::List(Vec::new(), Vec::new(), signature),
                },
            };
            out.push((Action::Send(to, message), 0));
        }
    }

    /// A shard-block that nobody has certified.
    fn false_block(&self, height: u64, slot: u64, hash: Hash, certificate: Certificate) -> CertifiedBlock {
        let block = ShardBlock {
            parent_root: hash,
            slot,
            shard: 0,
            transactions: 0,
            bytes: 0,
            transactions_root: hash,
            patch_hash: hash,
        };
        let mut signers = SeatSet::default();
        self.committee.shards[0].iter().for_each(|&seat| {
            signers.insert(seat);
        });
        let certificate = Certificate { signers, ..certificate };
        CertifiedBlock { height, block, hash: block.hash(), certificate, items: Items::default(), patch: Vec::new() }
    }

    fn contradict(&mut self, message: Message) -> Message {
        let other: Hash = std::array::from_fn(|_| self.dice.roll() as u8);
        match message {
            Message::First { attempt, value, justified_by, .. } => {
                let value = emptied(&value);
                let signature = self.sign(StatementKind::First, value.height, attempt, 0, justified_by, value.hash());
                Message::First { attempt, value, justified_by, signature }
            }
            Message::Proposal { attempt, value, prepared, .. } => {
                let value = match self.dice.below(3) {
                    0 => emptied(&value),
                    1 => phantom(&value, other),
                    _ => doubled(&value),
                };
                let justified_by = prepared.as_ref().map_or(0, |prepared| prepared.attempt);
                let signature =
                    self.sign(StatementKind::Proposal, value.height, attempt, 0, justified_by, value.hash());
                Message::Proposal { attempt, value, prepared, signature }
            }
            Message::Second { height, attempt, .. } => Message::Second {
                height,
                attempt,
                hash: other,
                signature: self.sign(StatementKind::Second, height, attempt, 0, 0, other),
            },
            Message::Shard { height, slot, shard, message } => {
                let message = match message {
                    ShardMessage::SetRoot(..) => {
                        ShardMessage::SetRoot(other, self.sign(StatementKind::SetRoot, height, slot, shard, 0, other))
                    }
                    ShardMessage::Vote(..) => {
                        ShardMessage::Vote(other, self.sign(StatementKind::ShardVote, height, slot, shard, 0, other))
                    }
                    message => message,
                };
                Message::Shard { height, slot, shard, message }
            }
            message => message,
        }
    }

    /// To three it sends its set, to the others a list without it, and the like.
    fn lie_about_sets(&mut self, to: u32, message: Message) -> Message {
        match message {
            Message::Shard { height, slot, shard, message: ShardMessage::Set(root, mut short) }
                if !to.is_multiple_of(3) =>
            {
                short.truncate(short.len() / 2);
                Message::Shard { height, slot, shard, message: ShardMessage::Set(root, short) }
            }
            Message::Shard { height, slot, shard, message: ShardMessage::Items(_) } if !to.is_multiple_of(3) => {
                Message::Shard { height, slot, shard, message: ShardMessage::Items(Vec::new()) }
            }
            // And listed to half of them.
            Message::Shard { height, slot, shard, message: ShardMessage::List(list, roots, _) }
                if !to.is_multiple_of(2) =>
            {
                let own = self.committee.seat_of(self.candidate);
                let entries = list.into_iter().zip(roots).filter(|(entry, _)| Some(entry.0) != own);
                let (list, roots): (Vec<_>, Vec<_>) = entries.unzip();
                let signature = self.sign(StatementKind::List, height, slot, shard, 0, list_hash(&list));
                Message::Shard { height, slot, shard, message: ShardMessage::List(list, roots, signature) }
            }
            Message::Have { height, attempt, held, high } => {
                let held = if to.is_multiple_of(2) { held } else { vec![None; held.len()] };
                Message::Have { height, attempt, held, high }
            }
            message => message,
        }
    }

    fn censor(&mut self, message: Message) -> Message {
        match message {
            Message::Proposal { .. } | Message::First { .. } => self.contradict(message),
            Message::Have { height, attempt, held, high } => {
                Message::Have { height, attempt, held: vec![None; held.len()], high }
            }
            message => message,
        }
    }

    fn forge(&mut self, message: &Message) -> Option<Message> {
        let mut signers = SeatSet::default();
        (0..master_quorum(self.committee.len())).for_each(|seat| {
            signers.insert(seat as u16);
        });
        let certificate = Certificate { signers, aggregate: [self.dice.roll() as u8; 48] };
        match message {
            Message::First { attempt, value, .. } => {
                let value = emptied(value);
                let hash = value.hash();
                Some(if self.dice.chance(500) {
                    Message::Final(Arc::new(Final { attempt: *attempt, value, hash, certificate }), Vec::new())
                } else {
                    let prepared =
                        Arc::new(Prepared { attempt: attempt + 1, justified_by: 0, value, hash, certificate });
                    let held = vec![None; self.committee.shards.len()];
                    Message::Have { height: prepared.value.height, attempt: *attempt, held, high: Some(prepared) }
                })
            }
            Message::Have { height, attempt, .. } => {
                // An accusation of someone else, made up.
                let member = self.committee.members[self.dice.below(self.committee.len() as u64) as usize];
                let statements = [([1; 32], 0, [1; 48]), ([2; 32], 0, [2; 48])];
                let evidence =
                    Evidence::of_two(member.candidate, StatementKind::First, *height, *attempt, 0, statements);
                Some(Message::Item(Record::Fraud(Box::new(evidence)).item()))
            }
            // Another's vote, with a signature made up.
            Message::Second { height, attempt, .. } => {
                let hash: Hash = std::array::from_fn(|_| self.dice.roll() as u8);
                Some(Message::Second { height: *height, attempt: *attempt, hash, signature: [7; 48] })
            }
            _ => None,
        }
    }
}
