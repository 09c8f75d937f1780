//! Transactions of own users whose sequence was used up by a final shard-block whose transactions are not here: in quilt
//! mode a patch says that an account has paid, and not by which of the transactions that it has signed. A minter of that
//! shard is asked for the one that stands there, then another one, and nobody hears that anything is final before it is
//! shown.
//!
//! ```text
//!   used up ──► asked ──► shown: this one is final, or that one is in its place
//!                 │ ▲
//!                 └─┘ of another minter, half a slot later; after some it is not known, and is said so
//! ```
//!
//! Where so many were sent that their paths were longer than the ids of the whole block, these are asked for first.

use super::fate::{Fate, Used};
use super::watched::Where;
use crate::peer::paths::{PATH_BYTES, Place, SENDERS_MAX, WantPaths};
use dynemix_engine::base::hash::Hash;
use std::collections::{BTreeMap, VecDeque};

/// Rows at most; the oldest of more are let go.
pub const UNPROVED_MAX: usize = 4_096;
/// Minters that are asked for one.
const ASKED_MAX: u8 = 6;
/// Questions that one minter is asked at a time.
pub const QUESTIONS_MAX: usize = 4;

struct Row {
    used: Used,
    asked: u8,
    /// Not before this time again.
    again_ms: u64,
}

/// A shard of a final block.
pub struct Shard {
    /// Who has its transactions.
    pub minters: Vec<u32>,
    /// How many it has, by its header.
    pub transactions: u32,
}

impl Shard {
    /// One of its minters who is asked, if there is one: not all nodes ask the same one, nor twice one that has not
    /// answered.
    fn minter(&self, height: u64, asked: u8, me: Option<u32>, free: impl Fn(u32) -> bool) -> Option<u32> {
        let others: Vec<u32> = self.minters.iter().copied().filter(|&minter| Some(minter) != me).collect();
        let first = (height as usize).wrapping_add(me.unwrap_or(0) as usize) + usize::from(asked);
        (0..others.len()).map(|turn| others[(first + turn) % others.len()]).find(|&minter| free(minter))
    }

    fn is_alone(&self, me: Option<u32>) -> bool {
        self.minters.iter().all(|&minter| Some(minter) == me)
    }
}

/// Rows of one block.
struct Block {
    height: u64,
    slot: u64,
    shards: Vec<Shard>,
    rows: Vec<Row>,
}

impl Block {
    fn place_of(&self, used: &Used) -> Where {
        (self.height, self.slot, u32::from(used.shard))
    }
}

/// What has become of one.
pub type Ended = (Used, Where, Fate);

/// All of them, the oldest block first.
#[derive(Default)]
pub struct Unproved {
    blocks: VecDeque<Block>,
    len: usize,
}

impl Unproved {
    /// Bytes of all rows.
    pub(super) fn bytes() -> usize {
        2 * UNPROVED_MAX * size_of::<Row>()
    }

    /// A final block of these shards has used these up. Those that there is no room for are let go.
    pub fn add(&mut self, (height, slot): (u64, u64), shards: Vec<Shard>, used: Vec<Used>) -> Vec<Ended> {
        if used.is_empty() {
            return Vec::new();
        }
        self.len += used.len();
        let rows = used.into_iter().map(|used| Row { used, asked: 0, again_ms: 0 }).collect();
        self.blocks.push_back(Block { height, slot, shards, rows });
        let mut over = self.len.saturating_sub(UNPROVED_MAX);
        self.take(|_, _| {
            let goes = over > 0;
            over -= usize::from(goes);
            goes.then_some(Fate::Unknown)
        })
    }

    /// Whether there are some of this height's block.
    pub fn waits_for(&self, height: u64) -> bool {
        self.blocks.back().is_some_and(|block| block.height == height)
    }

    /// Takes those out whose end is known.
    fn take(&mut self, mut fate: impl FnMut(&Block, &Row) -> Option<Fate>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for block in &mut self.blocks {
            let mut rows = std::mem::take(&mut block.rows);
            rows.retain(|row| {
                let fate = fate(block, row);
                ended.extend(fate.map(|fate| (row.used.clone(), block.place_of(&row.used), fate)));
                fate.is_none()
            });
            block.rows = rows;
        }
        self.blocks.retain(|block| !block.rows.is_empty());
        self.len -= ended.len();
        let rows: usize = self.blocks.iter().map(|block| block.rows.len()).sum();
        assert_eq!(self.len, rows, "each row is of one block");
        ended
    }

    /// Those whom nobody has shown when the last minter had the time to.
    pub fn give_up(&mut self, now_ms: u64) -> Vec<Ended> {
        self.take(|_, row| (row.asked >= ASKED_MAX && row.again_ms <= now_ms).then_some(Fate::Unknown))
    }

    /// Of this place somebody has shown what it took.
    pub fn prove(&mut self, (height, shard): Place, mut fate: impl FnMut(&Used) -> Fate) -> Vec<Ended> {
        self.take(|block, row| {
            let is_there = (block.height, row.used.shard) == (height, shard);
            is_there.then(|| fate(&row.used)).filter(|fate| *fate != Fate::Unknown)
        })
    }

    /// What is left of this place may be asked for at once.
    pub fn ask_again(&mut self, (height, shard): Place, now_ms: u64) {
        let of_height = self.blocks.iter_mut().filter(|block| block.height == height);
        let rows = of_height.flat_map(|block| &mut block.rows).filter(|row| row.used.shard == shard);
        rows.for_each(|row| row.again_ms = now_ms);
    }

    /// Who is asked for what now, and is given so long to answer; `me` is not asked.
    pub fn ask(&mut self, now_ms: u64, patience_ms: u64, me: Option<u32>) -> Vec<(u32, WantPaths)> {
        let mut asked: BTreeMap<u32, usize> = BTreeMap::new();
        let mut questions: Vec<(u32, WantPaths)> = Vec::new();
        for Block { height, shards, rows, .. } in &mut self.blocks {
            for (number, shard) in (0..).zip(shards.iter()) {
                let is_due = |row: &Row| row.used.shard == number && row.again_ms <= now_ms && row.asked < ASKED_MAX;
                let due: Vec<usize> = (0..rows.len()).filter(|&at| is_due(&rows[at])).collect();
                let in_all = due.len() * PATH_BYTES > shard.transactions as usize * size_of::<Hash>();
                let at_once = in_all && due.iter().all(|&at| rows[at].asked == 0);
                for senders in due.chunks(if at_once { due.len() } else { SENDERS_MAX }) {
                    let free = |minter| asked.get(&minter).is_none_or(|&questions| questions < QUESTIONS_MAX);
                    let minter = shard.minter(*height, rows[senders[0]].asked, me, free);
                    if minter.is_none() && !shard.is_alone(me) {
                        break;
                    }
                    // Where there is nobody to ask it ends as if nobody had answered.
                    for &at in senders {
                        (rows[at].asked, rows[at].again_ms) = (rows[at].asked + 1, now_ms + patience_ms);
                    }
                    let Some(minter) = minter else { continue };
                    *asked.entry(minter).or_insert(0) += 1;
                    let named = if at_once { &[][..] } else { senders };
                    let senders = named.iter().map(|&at| rows[at].used.sender).collect();
                    questions.push((minter, WantPaths { place: (*height, number), senders }));
                }
            }
        }
        questions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::transaction::item::Item;
    use dynemix_net::mesh::PeerId;

    const ME: Option<u32> = Some(9);

    fn used(sender: u8) -> Used {
        let item = Item::of_bytes(&[sender]);
        Used { id: [sender; 32], item, sender: [sender; 32], sequence: 3, shard: 1, told: Some((PeerId(4), 7)) }
    }

    fn shards(transactions: u32) -> Vec<Shard> {
        [vec![1, 2], vec![3, 4, 9]].map(|minters| Shard { minters, transactions }).into()
    }

    fn minters() -> Vec<Shard> {
        shards(1 << 20)
    }

    #[test]
    fn minters_of_the_shard_are_asked_in_turn_and_then_it_is_not_known() {
        let mut unproved = Unproved::default();
        assert!(unproved.add((5, 8), minters(), vec![used(1), used(2)]).is_empty());
        let mut asked = Vec::new();
        for round in 0..u64::from(ASKED_MAX) {
            assert!(unproved.give_up(round * 100).is_empty());
            let questions = unproved.ask(round * 100, 100, ME);
            let [(minter, want)] = &questions[..] else { panic!("{} questions", questions.len()) };
            assert_eq!((want.place, want.senders.len()), ((5, 1), 2));
            asked.push(*minter);
            assert!(unproved.ask(round * 100 + 99, 100, ME).is_empty(), "it has its time");
        }
        assert!(asked.windows(2).all(|two| two[0] != two[1]) && !asked.contains(&9), "{asked:?}");
        assert!(unproved.ask(10_000, 100, ME).is_empty());
        let ended = unproved.give_up(10_000);
        assert_eq!(ended, [1, 2].map(|sender| (used(sender), (5, 8, 1), Fate::Unknown)));
        assert_eq!(unproved.len, 0);
    }

    #[test]
    fn what_is_shown_ends_and_only_that() {
        let mut unproved = Unproved::default();
        unproved.add((5, 8), minters(), vec![used(1), used(2), used(3)]);
        unproved.add((6, 9), minters(), vec![used(1)]);
        let fate = |used: &Used| match used.sender[0] {
            1 => Fate::Final,
            2 => Fate::Replaced([7; 32]),
            _ => Fate::Unknown,
        };
        assert!(unproved.prove((5, 0), fate).is_empty(), "another shard");
        let ended = unproved.prove((5, 1), fate);
        assert_eq!(ended, [(used(1), (5, 8, 1), Fate::Final), (used(2), (5, 8, 1), Fate::Replaced([7; 32]))]);
        assert_eq!(unproved.len, 2);
        // A node alone in its shard, without what it has built: there is nobody to ask.
        let mut alone = Unproved::default();
        let shard = |minters| Shard { minters, transactions: 9 };
        alone.add((5, 8), vec![shard(vec![]), shard(vec![9])], vec![used(1)]);
        (0..6).for_each(|round| assert!(alone.ask(round, 1, ME).is_empty()));
        assert_eq!(alone.give_up(7).len(), 1);
    }

    #[test]
    fn rows_and_questions_are_bounded() {
        let mut unproved = Unproved::default();
        let many = |height: u8| (0..3_000u32).map(|_| used(height)).collect::<Vec<_>>();
        assert!(unproved.add((5, 8), minters(), many(5)).is_empty());
        let gone = unproved.add((6, 9), minters(), many(6));
        assert_eq!(gone.len(), 6_000 - UNPROVED_MAX);
        assert!(gone.iter().all(|(_, block, fate)| block.0 == 5 && *fate == Fate::Unknown), "the oldest");
        let questions = unproved.ask(0, 100, ME);
        for minter in [3, 4] {
            assert_eq!(questions.iter().filter(|question| question.0 == minter).count(), QUESTIONS_MAX);
        }
        assert!(questions.iter().all(|(_, want)| want.senders.len() <= SENDERS_MAX));
        // Those that nobody could be asked for are asked for next.
        let next = unproved.ask(1, 100, ME);
        assert_eq!(next.len(), 2 * QUESTIONS_MAX);
        assert!(next.iter().all(|(_, want)| want.place.0 >= 5));
    }

    #[test]
    fn whose_users_have_sent_much_of_a_block_asks_for_the_ids_of_all_and_then_by_sender() {
        let mut unproved = Unproved::default();
        unproved.add((5, 8), shards(400), (0..9).map(used).collect());
        let questions = unproved.ask(0, 100, ME);
        let [(first, want)] = &questions[..] else { panic!("{} questions", questions.len()) };
        assert!(want.place == (5, 1) && want.senders.is_empty(), "{want:?}");
        // Two are not among them: they are asked for by their senders, of another minter, at once.
        let ended = unproved.prove((5, 1), |used| if used.sender[0] < 7 { Fate::Final } else { Fate::Unknown });
        assert_eq!(ended.len(), 7);
        unproved.ask_again((5, 1), 10);
        let questions = unproved.ask(10, 100, ME);
        let [(second, want)] = &questions[..] else { panic!("{} questions", questions.len()) };
        assert!(second != first && want.senders == [[7; 32], [8; 32]], "{want:?}");
    }
}
