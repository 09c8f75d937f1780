//! Which transactions' signatures have been found good, and which not: looked at once, in batches, before anyone asks.

use super::rows::buckets;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Prefix;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::verify::{Hint, KeyCache, Signed, Verifier};
use hashbrown::HashSet;
use std::borrow::Borrow;
use std::sync::{Arc, Mutex};

/// Ids of a generation of those that were found broken: whoever brings one again costs nothing.
const BROKEN_MAX: usize = 1 << 14;
/// Transactions that are verified at a time.
pub const BATCH_MAX: usize = 16_384;

const UNPOISONED: &str = "nothing panics while it holds the verdicts";

#[derive(Default)]
struct Generations {
    young: HashSet<Hash>,
    old: HashSet<Hash>,
}

impl Generations {
    fn knows(&self, id: &Hash) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    /// Before some are added: what is old goes if the young ones are so many.
    fn age(&mut self, max: usize) {
        if self.young.len() >= max {
            // Of its size at once: what has grown was there twice while it did.
            self.old = std::mem::replace(&mut self.young, HashSet::with_capacity(max + BATCH_MAX));
        }
    }

    /// Bytes of two generations of so many.
    fn bytes(max: usize) -> usize {
        2 * buckets(max + BATCH_MAX) * (size_of::<Hash>() + 1)
    }
}

/// What others say of signatures that are verified, and what is found for those who verify them next.
#[derive(Default)]
pub struct Hints {
    /// Item by item; empty: nobody says anything.
    pub said: Vec<Option<Hint>>,
    /// Hints are wanted.
    pub wanted: bool,
    /// Those that were found, item by item; none of what was known already.
    pub found: Vec<Option<Hint>>,
    /// Places of items of which a wrong one was said.
    pub wrong: Vec<usize>,
}

/// What was found good, and what was not; shared by all threads.
pub struct Verdicts {
    prefix: Prefix,
    /// Ids of a generation; with the one before it, twice as many are remembered.
    generation: usize,
    /// Signatures that are verified at a time.
    batch: usize,
    good: Mutex<Generations>,
    /// An id covers the signature, so what is broken stays so.
    broken: Mutex<Generations>,
    /// For the rare one that nobody has looked at.
    single: Mutex<Verifier>,
}

impl Verdicts {
    /// Of the chain with this prefix; so many at least are remembered of what was found good, and twice as
    /// many at most; so many are verified at a time.
    ///
    /// # Panics
    /// When none would be verified, or more than buffers are for.
    pub fn new(prefix: Prefix, keys: Arc<KeyCache>, generation: usize, batch: usize) -> Verdicts {
        assert!((1..=BATCH_MAX).contains(&batch), "{batch} signatures at a time");
        let (good, broken, single) = (Mutex::default(), Mutex::default(), Mutex::new(Verifier::new(keys)));
        Verdicts { prefix, generation, batch, good, broken, single }
    }

    /// Bytes of what is remembered.
    pub(super) fn bytes(generation: usize) -> usize {
        Generations::bytes(generation) + Generations::bytes(BROKEN_MAX)
    }

    /// Whether it was found good.
    pub fn knows(&self, id: &Hash) -> bool {
        self.good.lock().expect(UNPOISONED).knows(id)
    }

    /// Verifies those of these items that are transactions and not known; those that are not good are returned by
    /// place.
    pub fn verify(&self, verifier: &mut Verifier, items: &[impl Borrow<Item>]) -> Vec<usize> {
        self.verify_hinted(verifier, items, &mut Hints::default())
    }

    /// The same with hints.
    pub fn verify_hinted(&self, verifier: &mut Verifier, items: &[impl Borrow<Item>], hints: &mut Hints) -> Vec<usize> {
        assert!(hints.said.is_empty() || hints.said.len() == items.len(), "hints are said item by item");
        hints.found.clear();
        hints.found.resize(if hints.wanted { items.len() } else { 0 }, None);
        hints.wrong.clear();
        let mut found = Vec::new();
        let item = |place: usize| -> &Item { items[place].borrow() };
        let unknown: Vec<usize> = {
            let good = self.good.lock().expect(UNPOISONED);
            (0..items.len()).filter(|&place| !good.knows(&item(place).id())).collect()
        };
        let (mut bad, unknown): (Vec<usize>, Vec<usize>) = {
            let broken = self.broken.lock().expect(UNPOISONED);
            unknown.into_iter().partition(|&place| broken.knows(&item(place).id()))
        };
        let cells: Vec<_> = unknown.iter().filter_map(|&place| Some((place, item(place).cell()?))).collect();
        let mut verdicts = Vec::new();
        // As few as are enough, and as large: of one and a half a half would cost a third more.
        let batches = cells.len().div_ceil(self.batch).max(1);
        for batch in cells.chunks(cells.len().div_ceil(batches).max(1)) {
            let signed = |i: usize| {
                let (place, cell) = &batch[i];
                Signed {
                    key: &cell.sender,
                    signature: &cell.signature,
                    prefix: &self.prefix,
                    message: cell.signed_part(),
                    hint: hints.said.get(*place).and_then(Option::as_ref),
                }
            };
            verifier.verify(batch.len(), signed, &mut verdicts);
            assert_eq!(verdicts.len(), batch.len(), "each signature that was asked about has a verdict");
            hints.wrong.extend(verifier.wrong_hints().iter().map(|&wrong| batch[wrong as usize].0));
            if hints.wanted {
                verifier.hints(&mut found);
                batch.iter().zip(&found).for_each(|((place, _), hint)| hints.found[*place] = *hint);
            }
            let mut good = self.good.lock().expect(UNPOISONED);
            let mut broken = self.broken.lock().expect(UNPOISONED);
            good.age(self.generation);
            broken.age(BROKEN_MAX);
            for ((place, _), verdict) in batch.iter().zip(&verdicts) {
                if *verdict {
                    good.young.insert(item(*place).id());
                } else {
                    broken.young.insert(item(*place).id());
                    bad.push(*place);
                }
            }
            let young = good.young.len();
            drop((good, broken));
            let max = self.generation + BATCH_MAX;
            assert!(young < max, "{young} ids are in a generation of {max}");
        }
        bad.sort_unstable();
        hints.wrong.sort_unstable();
        bad
    }

    /// Whether a transaction's signature holds.
    pub fn genuine(&self, item: &Item) -> bool {
        let is_broken = || self.broken.lock().expect(UNPOISONED).knows(&item.id());
        self.knows(&item.id())
            || !is_broken() && {
                let Some(cell) = item.cell() else { return false };
                let signed = Signed {
                    key: &cell.sender,
                    signature: &cell.signature,
                    prefix: &self.prefix,
                    message: cell.signed_part(),
                    hint: None,
                };
                let mut verdicts = Vec::new();
                self.single.lock().expect(UNPOISONED).verify(1, |_| signed, &mut verdicts);
                verdicts[0]
            }
    }
}
