//! How much somebody may ask in a slot: nobody asks without end.

use super::asked::Whom;
use super::duties::Rank;
use dynemix_engine::base::hash::Hash;
use std::collections::BTreeMap;

/// Questions of one peer in a slot: of who has something to do, of anybody else.
const QUESTIONS: [usize; 2] = [1_024, 64];
/// How often one peer gets the transactions of one block in a slot.
const BODIES: usize = 2;

/// What was asked in a slot, by name, or by connection of who has none.
#[derive(Default)]
pub struct AskedBy {
    questions: BTreeMap<Whom, usize>,
    bodies: BTreeMap<(Whom, Hash), usize>,
}

impl AskedBy {
    /// A new slot.
    pub fn clear(&mut self) {
        self.questions.clear();
        self.bodies.clear();
    }

    /// Whether this one may ask once more.
    pub fn may_ask(&mut self, whom: Whom, rank: Rank) -> bool {
        let asked = self.questions.entry(whom).or_insert(0);
        *asked += 1;
        *asked <= QUESTIONS[usize::from(rank > Rank::Called)]
    }

    /// Whether it may have the transactions of a block once more.
    pub fn may_get(&mut self, whom: Whom, block: &Hash) -> bool {
        let got = self.bodies.entry((whom, *block)).or_insert(0);
        *got += 1;
        *got <= BODIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_something_to_do_may_ask_more_and_nobody_without_end() {
        let mut asked = AskedBy::default();
        let mut ask = |name: u32, rank: Rank| (0..5_000).filter(|_| asked.may_ask(Whom::Name(name), rank)).count();
        assert_eq!((ask(1, Rank::Guest), ask(2, Rank::Named), ask(3, Rank::Seated)), (64, 64, 1_024));
        assert_eq!((0..9).filter(|_| asked.may_get(Whom::Name(3), &[7; 32])).count(), 2);
        assert!(asked.may_get(Whom::Name(3), &[8; 32]));
        asked.clear();
        assert!(asked.may_ask(Whom::Connection(1), Rank::Guest) && asked.may_get(Whom::Name(3), &[7; 32]));
    }
}
