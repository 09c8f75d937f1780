//! Votes of honest nodes: nothing is signed twice, locks are kept, and a vote is for what its voter holds.

use super::verdict::Verdict;
use crate::nodes::cluster::Node;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::committee::statement::StatementKind;
use dynemix_engine::messages::message::{Message, ShardMessage};
use std::collections::{BTreeMap, HashMap};

/// What honest nodes have signed.
#[derive(Default)]
pub(crate) struct Votes {
    signed: HashMap<(u32, u8, u64, u64), (Hash, u64)>,
    seconds: HashMap<(u32, u64), BTreeMap<u64, Hash>>,
    /// Highest attempt of a first vote.
    firsts: HashMap<(u32, u64), u64>,
}

impl Votes {
    /// An honest node sends something: nothing is signed twice, across all its restarts.
    pub(crate) fn on_send(&mut self, candidate: u32, message: &Message, verdict: &mut Verdict) {
        let (kind, height, number, said) = match message {
            Message::First { attempt, value, justified_by, .. } => {
                (StatementKind::First, value.height, *attempt, (value.hash(), *justified_by))
            }
            Message::Second { height, attempt, hash, .. } => (StatementKind::Second, *height, *attempt, (*hash, 0)),
            Message::Proposal { attempt, value, prepared, .. } => (
                StatementKind::Proposal,
                value.height,
                *attempt,
                (value.hash(), prepared.as_ref().map_or(0, |prepared| prepared.attempt)),
            ),
            Message::Shard { height, slot, message: ShardMessage::SetRoot(root, _), .. } => {
                (StatementKind::SetRoot, *height, *slot, (*root, 0))
            }
            Message::Shard { height, slot, message: ShardMessage::Vote(hash, _), .. } => {
                (StatementKind::ShardVote, *height, *slot, (*hash, 0))
            }
            _ => return,
        };
        let first = *self.signed.entry((candidate, kind as u8, height, number)).or_insert(said);
        if first != said {
            verdict.fail(format!("node {candidate} signed two {kind:?} at height {height}, {number}"));
        }
        match kind {
            StatementKind::Second => {
                if self.firsts.get(&(candidate, height)).is_some_and(|&highest| highest > number) {
                    verdict.fail(format!(
                        "node {candidate} cast a second vote of attempt {number} at height {height} \
                         after voting in a later one"
                    ));
                }
                self.seconds.entry((candidate, height)).or_default().insert(number, said.0);
            }
            // After a second vote, a first vote for something else needs a certificate at least as high.
            StatementKind::First => {
                let highest = self.firsts.entry((candidate, height)).or_insert(number);
                *highest = number.max(*highest);
                let earlier =
                    self.seconds.get(&(candidate, height)).and_then(|seconds| seconds.range(..number).next_back());
                if let Some((&attempt, hash)) = earlier
                    && *hash != said.0
                    && said.1 < attempt
                {
                    verdict.fail(format!(
                        "node {candidate} left its lock at height {height}: {attempt} for {}, justified by {}",
                        number, said.1
                    ));
                }
            }
            _ => {}
        }
    }

    /// A first vote is for what the voter holds, and leaves out nothing that it knows enough others to hold.
    pub(crate) fn for_what_it_holds(candidate: u32, node: &Node, message: &Message, verdict: &mut Verdict) {
        let Message::First { attempt, value, justified_by, .. } = message else { return };
        let Some(minter) = &node.minter else { return };
        let master = minter.master();
        if master.height != value.height {
            return;
        }
        let byzantine_max = 2 * (2 * master.committee.len() / 3 + 1) - master.committee.len() - 1;
        let left_out = value
            .headers
            .iter()
            .enumerate()
            .find(|(shard, header)| header.is_none() && master.holders(*shard) > byzantine_max);
        let failure = if master.blocks_of(value).is_none() {
            Some(format!("node {candidate} voted at height {} for a block that it does not hold", value.height))
        } else {
            let rule = attempt % 2 == 1 && *justified_by == 0;
            left_out.filter(|_| rule).map(|(shard, _)| {
                format!("node {candidate} voted to leave shard {shard} empty at height {}", value.height)
            })
        };
        if let Some(failure) = failure {
            verdict.fail(failure);
        }
    }
}
