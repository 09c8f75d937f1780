//! Drawing minters: stake-weighted, without replacement, from a seed. Integers only, and rejection instead of modulo,
//! so that no candidate is favoured and every node draws the same.

use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::mutation::{Mutation, planted};
use crate::base::trie::{Trie, TrieValue};
use std::sync::LazyLock;

static DRAW_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix draw v1"));
static SEED_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix seed v1"));

/// Numbers from a seed, for one purpose at one height.
#[derive(Clone)]
pub struct Lots {
    key: Hash,
    counter: u64,
    block: [u64; 4],
    used: usize,
}

impl Lots {
    /// The lots of a seed for a purpose and height.
    pub fn new(seed: &Hash, purpose: u8, height: u64) -> Lots {
        let mut bytes = [0u8; 41];
        bytes[..32].copy_from_slice(seed);
        bytes[32] = purpose;
        bytes[33..].copy_from_slice(&height.to_le_bytes());
        Lots { key: keyed(&DRAW_KEY, &bytes), counter: 0, block: [0; 4], used: 4 }
    }

    fn number(&mut self) -> u64 {
        if self.used == 4 {
            let hash = keyed(&self.key, &self.counter.to_le_bytes());
            for (word, bytes) in self.block.iter_mut().zip(hash.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
            }
            (self.counter, self.used) = (self.counter + 1, 0);
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A number below `bound`, each as likely as any other.
    ///
    /// # Panics
    /// When the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is something to draw");
        if planted(Mutation::ModuloBias) {
            // Of 16 bits, so that the bias shows.
            return (self.number() & 0xffff) % bound;
        }
        // The largest multiple of the bound that fits 64 bits; what lies above is drawn again.
        let limit = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let number = self.number();
            if number <= limit {
                return number % bound;
            }
        }
    }

    /// Puts entries into a random order, in place.
    pub fn shuffle<T>(&mut self, entries: &mut [T]) {
        for i in (1..entries.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            entries.swap(i, j);
        }
    }
}

/// Draws up to `count` different candidates, each next one with a probability in proportion to its stake among those
/// left; in the order drawn, so that who asks for more gets the same and then others. Candidates without stake are never
/// drawn.
pub fn draw<V: TrieValue>(lots: &mut Lots, stakes: &Trie<u32, V>, count: usize) -> Vec<u32> {
    draw_down_to(lots, stakes, count, 0)
}

/// The same, as long as those left weigh more than this together.
pub fn draw_down_to<V: TrieValue>(lots: &mut Lots, stakes: &Trie<u32, V>, count: usize, least: u64) -> Vec<u32> {
    let (mut left, mut taken) = (stakes.clone(), 0);
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count && left.weight() > least {
        let (&candidate, of) = left.at_weight(lots.below(left.weight()));
        let stake = of.weight();
        assert!(stake > 0, "only who has a stake is drawn, and nobody twice");
        taken += stake;
        left.remove(&candidate);
        drawn.push(candidate);
    }
    assert_eq!(left.weight() + taken, stakes.weight(), "what was drawn and what is left are all stakes");
    drawn
}

/// The next seed: of the last one and the answers' signatures recorded in the block, in order. Each signature is the
/// only one that its key can make, so all that a minter can do to the seed is to leave his out.
pub fn next_seed<'a>(seed: &Hash, signatures: impl Iterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(&SEED_KEY);
    hasher.update(seed);
    for signature in signatures {
        hasher.update(&(signature.len() as u32).to_le_bytes()).update(signature);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_stakes() {
        let stakes = [0u64, 1, 2, 3, 10, 0, 84];
        let trie: Trie<u32, u64> = (0..).zip(stakes).collect();
        let mut first = [0u32; 7];
        for height in 0..20_000 {
            let drawn = draw(&mut Lots::new(&[1; 32], 0, height), &trie, 3);
            assert_eq!(drawn.len(), 3);
            assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
            first[drawn[0] as usize] += 1;
        }
        assert_eq!((first[0], first[5]), (0, 0));
        // Chi-square over the five with stake; 4 degrees of freedom, 99.9 % lie below 18.5.
        let chi: f64 = [1, 2, 3, 4, 6]
            .map(|i: usize| {
                let expected = 20_000.0 * stakes[i] as f64 / 100.0;
                (f64::from(first[i]) - expected).powi(2) / expected
            })
            .iter()
            .sum();
        assert!(chi < 18.5, "{chi}: {first:?}");
        assert_eq!(draw(&mut Lots::new(&[1; 32], 0, 1), &trie, 9).len(), 5, "all that have stake");
        assert_eq!(draw(&mut Lots::new(&[1; 32], 0, 1), &Trie::<u32, u64>::default(), 9), []);
    }

    #[test]
    fn more_of_a_draw_begins_with_the_same() {
        let stakes: Trie<u32, u64> = (0..60).map(|candidate| (candidate, 1 + u64::from(candidate).pow(2))).collect();
        let long = draw(&mut Lots::new(&[3; 32], b'd', 1), &stakes, 40);
        for count in 0..40 {
            assert_eq!(draw(&mut Lots::new(&[3; 32], b'd', 1), &stakes, count), long[..count]);
        }
    }

    #[test]
    fn lots_are_even_over_awkward_bounds() {
        let mut lots = Lots::new(&[2; 32], 1, 0);
        let bound = 3u64 << 62;
        let low = (0..10_000).filter(|_| lots.below(bound) < bound / 3).count();
        assert!((3_150..3_520).contains(&low), "{low}");
        assert!((0..1_000).all(|_| lots.below(1) == 0));
    }
}
