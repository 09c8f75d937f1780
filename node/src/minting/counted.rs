//! Blocks by count: a chain of one minter that is the same on every run. Its clock stands until users have brought what
//! the next block is to have, and goes on to the next step as soon as nothing is left to do before it.

/// Which block has which transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Transactions that users bring for each block, sound or not.
    pub block: u64,
    /// In all; after them no sets close any more.
    pub total: u64,
}

impl Counted {
    /// How many transactions users must have brought before the sets of a height close; none: all are in blocks before
    /// it.
    pub fn due(&self, height: u64) -> Option<u64> {
        let before = height.saturating_sub(1).saturating_mul(self.block);
        (before < self.total).then(|| before.saturating_add(self.block).min(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transaction_is_due_for_one_block() {
        let counted = Counted { block: 100, total: 250 };
        assert_eq!([1, 2, 3, 4].map(|height| counted.due(height)), [Some(100), Some(200), Some(250), None]);
        assert_eq!(Counted { block: 100, total: 200 }.due(3), None);
    }
}
