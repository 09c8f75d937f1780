//! What must hold whatever happens, looked at from outside: by what honest nodes send and finish.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::committee::statement::Kind;
use dynemix_engine::consensus::message::{Message, ShardMessage};
use std::collections::{BTreeMap, HashMap};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is broken.
    pub what: String,
    /// Whether two blocks are final at one height.
    pub fork: bool,
}

/// Watches a run.
#[derive(Default)]
pub struct Checker {
    signed: HashMap<(u32, u8, u64, u64), (Hash, u64)>,
    seconds: HashMap<(u32, u64), BTreeMap<u64, Hash>>,
    /// Highest attempt of a first vote.
    firsts: HashMap<(u32, u64), u64>,
    finals: BTreeMap<u64, (Hash, u32)>,
    /// The first failure: what comes after it may follow from it.
    pub failure: Option<Failure>,
}

impl Checker {
    /// Notes a failure.
    pub fn fail(&mut self, what: String) {
        self.failure.get_or_insert(Failure { what, fork: false });
    }

    /// An honest node sends something: nothing is signed twice, across all its restarts.
    pub fn sends(&mut self, candidate: u32, message: &Message) {
        let (kind, height, number, said) = match message {
            Message::First { attempt, value, justified_by, .. } => {
                (Kind::First, value.height, *attempt, (value.hash(), *justified_by))
            }
            Message::Second { height, attempt, hash, .. } => (Kind::Second, *height, *attempt, (*hash, 0)),
            Message::Proposal { attempt, value, prepared, .. } => (
                Kind::Proposal,
                value.height,
                *attempt,
                (value.hash(), prepared.as_ref().map_or(0, |prepared| prepared.attempt)),
            ),
            Message::Shard { height, slot, message: ShardMessage::SetRoot(root, _), .. } => {
                (Kind::SetRoot, *height, *slot, (*root, 0))
            }
            Message::Shard { height, slot, message: ShardMessage::Vote(hash, _), .. } => {
                (Kind::ShardVote, *height, *slot, (*hash, 0))
            }
            _ => return,
        };
        let first = *self.signed.entry((candidate, kind as u8, height, number)).or_insert(said);
        if first != said {
            self.fail(format!("node {candidate} signed two {kind:?} at height {height}, {number}"));
        }
        match kind {
            Kind::Second => {
                if self.firsts.get(&(candidate, height)).is_some_and(|&highest| highest > number) {
                    self.fail(format!(
                        "node {candidate} cast a second vote of attempt {number} at height {height} after voting in a later one"
                    ));
                }
                self.seconds.entry((candidate, height)).or_default().insert(number, said.0);
            }
            // After a second vote, a first vote for something else needs a certificate at least as high.
            Kind::First => {
                let highest = self.firsts.entry((candidate, height)).or_insert(number);
                *highest = number.max(*highest);
                let earlier =
                    self.seconds.get(&(candidate, height)).and_then(|seconds| seconds.range(..number).next_back());
                if let Some((&attempt, hash)) = earlier
                    && *hash != said.0
                    && said.1 < attempt
                {
                    self.fail(format!(
                        "node {candidate} left its lock at height {height}: {attempt} for {}, justified by {}",
                        number, said.1
                    ));
                }
            }
            _ => {}
        }
    }

    /// An honest node holds a height for final.
    pub fn finishes(&mut self, candidate: u32, height: u64, hash: Hash) {
        let (first, by) = *self.finals.entry(height).or_insert((hash, candidate));
        if first != hash {
            self.failure = Some(Failure {
                what: format!("fork at height {height}: nodes {by} and {candidate} hold different blocks"),
                fork: true,
            });
        }
    }
}
