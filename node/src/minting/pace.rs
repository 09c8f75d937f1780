//! How many transactions a node tells the minters of a shard for a height, by what they say that they take of it.
//!
//! A shard's *pace* is the (f + 1)-th lowest word of its minters. Of the f + 1 lowest at least one is honest, so no f
//! liars who say that they take nothing hold a shard up below what its slowest honest minter takes; and 2f + 1 words are
//! as high or higher, f of them liars' at the worst, so no f liars who say that they take everything make a node tell
//! what only they take. Where fewer than 2f + 1 words were heard these may be the liars' alone, and no more is told than
//! where nobody has spoken. Liars and minters that are slower than the rest are f together: the other 2f + 1, who take the
//! pace, are the shard's quorum, and their sets are the same.
//!
//! A word binds what is sent to whoever has said it, and nothing else. A minter that takes more than the pace is sent the
//! pace. So is one that takes a little less: f of ten always have measured less than the others, it counts on half of its
//! time, and a set that is a part of the others' serves nobody and has to be exchanged. One that takes less than half of
//! the pace would drop the rest, and is sent as much as it has said, the oldest. Who has said nothing is sent the pace,
//! and counts for nothing when it is found: who is away holds nobody up.

use super::room::TAKEN_AT_MOST;
use super::words::Words;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::FORWARDED_MAX;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::committee::quorum::shard_faults;
use std::collections::BTreeMap;

/// What one shard's minters take of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPace {
    /// How many are told at most.
    pub pace: usize,
    /// Those minters that take less than half of that, and how much.
    pub less: BTreeMap<AccountIndex, usize>,
}

/// What minters have said.
#[derive(Clone, Debug)]
pub struct Pace {
    /// What each minter has said of the newest two heights.
    words: BTreeMap<AccountIndex, Words>,
    /// What is told where nobody has said anything.
    unheard: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { words: BTreeMap::new(), unheard: FORWARDED_MAX }
    }
}

impl Pace {
    /// So many are told for a height where no minter has said anything yet.
    pub fn of_newcomer(unheard: u64) -> Pace {
        let unheard = usize::try_from(unheard).unwrap_or(usize::MAX).min(FORWARDED_MAX);
        Pace { words: BTreeMap::new(), unheard }
    }

    /// A minter says how much it takes of this node for a height.
    pub fn hear(&mut self, minter: AccountIndex, height: u64, room: u64) {
        self.words.entry(minter).or_default().hear(height, room);
    }

    /// How much a minter has said that it takes of this node for a height.
    pub fn word_of(&self, minter: AccountIndex, height: u64) -> Option<u64> {
        self.words.get(&minter)?.of(height)
    }

    /// What so many shards take together of a height that nobody is told for yet, by what minters have said of it itself;
    /// none before all have said so but those that may lie. Who has a seat at it is not known: it is taken that they are
    /// as many as now.
    pub fn said(&self, height: u64, seats: usize, shards: usize) -> Option<usize> {
        let faults = shard_faults(seats);
        let said = self.words.values().filter_map(|words| words.said(height));
        let mut rooms: Vec<usize> =
            said.map(|room| usize::try_from(room).unwrap_or(usize::MAX).min(FORWARDED_MAX)).collect();
        rooms.sort_unstable();
        let known = seats > 0 && rooms.len() + faults >= seats;
        rooms.get(faults).filter(|_| known).map(|pace| (pace * shards).min(FORWARDED_MAX))
    }

    /// Words that are good for nothing at this height are forgotten. So many are told for it where nobody has spoken.
    pub fn begin(&mut self, height: u64, unheard: u64) {
        self.unheard = Pace::of_newcomer(unheard).unheard;
        self.words.retain(|_, words| words.is_good(height));
    }

    /// What the minters of a shard take of a height.
    pub fn of_shard(&self, height: u64, minters: &[AccountIndex]) -> ShardPace {
        let cut = |room: u64| usize::try_from(room).unwrap_or(usize::MAX).min(FORWARDED_MAX);
        let said: Vec<(AccountIndex, usize)> =
            minters.iter().filter_map(|&minter| Some((minter, cut(self.words.get(&minter)?.of(height)?)))).collect();
        let mut rooms: Vec<usize> = said.iter().map(|word| word.1).collect();
        if !planted(Mutation::CapacityBelieved) {
            rooms.sort_unstable();
        }
        let faults = if planted(Mutation::CapacityBelieved) { 0 } else { shard_faults(minters.len()) };
        // With fewer words than honest minters at least, those that are as high or higher may all be liars'.
        let most = if said.len() > 2 * faults { FORWARDED_MAX } else { self.unheard };
        let pace = rooms.get(faults).map_or(self.unheard, |&room| room.min(most));
        if planted(Mutation::CapacityIgnored) {
            return ShardPace { pace: FORWARDED_MAX, less: BTreeMap::new() };
        }
        assert!(pace <= FORWARDED_MAX, "a pace of {pace}, beyond all that a node follows");
        let takes_less = |word: &(AccountIndex, usize)| word.1.saturating_mul(TAKEN_AT_MOST as usize) < pace;
        ShardPace { pace, less: said.into_iter().filter(takes_less).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINTERS: [AccountIndex; 10] = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29];

    fn said(rooms: &[(AccountIndex, u64)]) -> Pace {
        let mut pace = Pace::of_newcomer(512);
        rooms.iter().for_each(|&(minter, room)| pace.hear(minter, 7, room));
        pace
    }

    /// Whether so many liars who all say the same neither hold the shard up nor flood it.
    fn withstands(liars: usize, word: u64) -> bool {
        let honest = |at: usize| 700 + 10 * at as u64;
        let rooms: Vec<_> = MINTERS
            .iter()
            .enumerate()
            .map(|(at, &minter)| (minter, if at < liars { word } else { honest(at) }))
            .collect();
        (700..=honest(9) as usize).contains(&said(&rooms).of_shard(7, &MINTERS).pace)
    }

    #[test]
    fn three_liars_of_ten_neither_hold_a_shard_up_nor_flood_it() {
        for word in [0, u64::MAX] {
            assert!((0..=3).all(|liars| withstands(liars, word)), "they say {word}");
        }
    }

    #[test]
    fn three_liars_set_no_pace_however_few_others_are_heard() {
        for honest in 0..=7 {
            let liars = MINTERS[..3].iter().map(|&minter| (minter, u64::MAX));
            let others = MINTERS[3..].iter().take(honest).map(|&minter| (minter, 700));
            let pace = said(&liars.chain(others).collect::<Vec<_>>()).of_shard(7, &MINTERS).pace;
            assert!(pace <= 700, "{pace}, where {honest} honest words of 700 were heard");
        }
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn with_one_minters_word_believed_one_liar_does_both() {
        use dynemix_engine::base::mutation::plant;
        plant(Some(Mutation::CapacityBelieved));
        let withstood = [0, u64::MAX].map(|word| withstands(1, word));
        plant(None);
        assert_eq!(withstood, [false; 2], "the fault is one that the test above finds");
    }

    #[test]
    fn who_takes_less_is_sent_less_and_who_is_silent_holds_nobody_up() {
        let pace = said(&[(20, 5), (21, 100), (22, 200), (23, 300), (24, 400), (25, 500), (26, u64::MAX)]);
        let of = pace.of_shard(7, &MINTERS);
        assert_eq!(of.pace, 300, "three of ten have not spoken");
        assert_eq!(of.less, BTreeMap::from([(20, 5), (21, 100)]), "the third takes more than half of it");
        let six = said(&[(20, 5), (21, 100), (22, 200), (23, 700), (24, 700), (25, 700)]).of_shard(7, &MINTERS);
        assert_eq!(six.pace, 512, "of six words those that are as high may all be liars'");
        let few = said(&[(20, 5), (21, 100), (22, 200)]).of_shard(7, &MINTERS);
        assert_eq!((few.pace, few.less.len()), (512, 3), "they may all be liars");
    }

    #[test]
    fn what_the_next_height_takes_is_known_once_all_but_the_faulty_have_said_so() {
        let mut pace = said(&MINTERS.map(|minter| (minter, 300)));
        assert_eq!(pace.said(8, 10, 1), None, "what was said of the height before says nothing");
        (20..26).for_each(|minter| pace.hear(minter, 8, 200));
        assert_eq!(pace.said(8, 10, 1), None, "three of six may lie");
        pace.hear(26, 8, 50);
        assert_eq!((pace.said(8, 10, 1), pace.said(8, 10, 2)), (Some(200), Some(400)));
        assert_eq!(Pace::default().said(8, 0, 0), None);
    }

    #[test]
    fn a_word_is_good_for_the_height_that_it_names_and_two_more() {
        let mut pace = said(&MINTERS.map(|minter| (minter, 300)));
        let of = |pace: &Pace, height| pace.of_shard(height, &MINTERS).pace;
        assert_eq!([6, 7, 9, 10].map(|height| of(&pace, height)), [512, 300, 300, 512]);
        MINTERS.iter().for_each(|&minter| pace.hear(minter, 8, 900));
        assert_eq!([7, 8].map(|height| of(&pace, height)), [300, 900]);
        // An older word changes nothing.
        MINTERS.iter().for_each(|&minter| pace.hear(minter, 3, 1));
        assert_eq!([7, 8].map(|height| of(&pace, height)), [300, 900]);
        pace.begin(11, 512);
        assert!(pace.words.is_empty());
    }
}
