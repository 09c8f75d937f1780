//! Room that is divided among those who want it: nobody takes more than what is left free.
//!
//! One who is alone gets half of it, n who want all of it get an n + 1st part each, and as much is always left for
//! whoever comes next. Nobody is thrown out for it.

use hashbrown::HashMap;
use std::hash::Hash;

/// How much each holds.
#[derive(Debug)]
pub struct Shares<K> {
    held: HashMap<K, usize>,
    total: usize,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Shares { held: HashMap::new(), total: 0 }
    }
}

impl<K: Hash + Eq + Copy> Shares<K> {
    /// What all hold together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// What one holds.
    pub fn of(&self, who: K) -> usize {
        self.held.get(&who).copied().unwrap_or(0)
    }

    /// Whether one may take one more of `room`. `weight`: how many times what is left free it may hold.
    pub fn may_take(&self, who: K, room: usize, weight: usize) -> bool {
        let free = room.saturating_sub(self.total);
        free > 0 && self.of(who) < free.saturating_mul(weight)
    }

    /// One more is held.
    pub fn take(&mut self, who: K) {
        let held = self.held.entry(who).or_insert(0);
        *held += 1;
        self.total += 1;
        assert!(*held <= self.total, "one holds {held} of {}", self.total);
    }

    /// One less is.
    ///
    /// # Panics
    /// When it holds none.
    pub fn give_back(&mut self, who: K) {
        let held = self.held.get_mut(&who).expect("who gives back has taken");
        *held -= 1;
        if *held == 0 {
            self.held.remove(&who);
        }
        assert!(self.total > 0, "what one holds is in the sum");
        self.total -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(shares: &mut Shares<u32>, who: u32, room: usize) -> usize {
        let before = shares.of(who);
        while shares.may_take(who, room, 1) {
            shares.take(who);
        }
        shares.of(who) - before
    }

    #[test]
    fn who_comes_later_finds_room_however_many_want_all_of_it() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, 1, 1_000), 500, "one alone gets half");
        assert_eq!(fill(&mut shares, 2, 1_000), 250);
        for who in 3..40 {
            assert!(fill(&mut shares, who, 1_000) > 0 || shares.total() > 990, "{who}");
        }
        assert!(shares.total() <= 1_000);
        assert_eq!(fill(&mut shares, 1, 1_000), 0, "who holds much gets nothing more");
        (0..500).for_each(|_| shares.give_back(1));
        assert!(fill(&mut shares, 99, 1_000) > 200);
    }
}
