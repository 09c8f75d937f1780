//! How much somebody may ask in a slot: nobody asks without end.

use super::duties::Rank;
use dynemix_engine::base::hash::Hash;
use std::collections::BTreeMap;

/// Questions of one peer in a slot: of who has something to do, of anybody else.
const QUESTIONS: [usize; 2] = [1_024, 64];
/// How often one peer gets the transactions of one block in a slot.
const BODIES: usize = 2;

/// What was asked in a slot, by connection.
#[derive(Default)]
pub struct AskedBy {
    questions: BTreeMap<u64, usize>,
    bodies: BTreeMap<(u64, Hash), usize>,
}

impl AskedBy {
    /// A new slot.
    pub fn clear(&mut self) {
        self.questions.clear();
        self.bodies.clear();
    }

    /// Whether whoever is at the end of this connection may ask once more.
    pub fn may_ask(&mut self, connection: u64, rank: Rank) -> bool {
        let asked = self.questions.entry(connection).or_insert(0);
        *asked += 1;
        *asked <= QUESTIONS[usize::from(rank > Rank::Called)]
    }

    /// Whether it may have the transactions of a block once more.
    pub fn may_get(&mut self, connection: u64, block: &Hash) -> bool {
        let got = self.bodies.entry((connection, *block)).or_insert(0);
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
        let mut ask = |connection: u64, rank: Rank| (0..5_000).filter(|_| asked.may_ask(connection, rank)).count();
        assert_eq!((ask(1, Rank::Guest), ask(2, Rank::Named), ask(3, Rank::Seated)), (64, 64, 1_024));
        assert_eq!((0..9).filter(|_| asked.may_get(3, &[7; 32])).count(), 2);
        assert!(asked.may_get(3, &[8; 32]));
        asked.clear();
        assert!(asked.may_ask(1, Rank::Guest) && asked.may_get(3, &[7; 32]));
    }
}
