//! Which transactions' signatures have been found good: looked at once, in batches, before anyone asks.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Prefix;
use dynemix_engine::transaction::item::{Item, transaction_of};
use dynemix_engine::verify::{KeyCache, Signed, Verifier};
use hashbrown::HashSet;
use std::sync::{Arc, Mutex};

/// Ids of a generation; with the one before it, twice as many are remembered.
const GENERATION_MAX: usize = 1 << 19;
/// Transactions that are verified at a time.
pub const BATCH_MAX: usize = 4_096;

const UNPOISONED: &str = "nothing panics while it holds the verdicts";

#[derive(Default)]
struct Generations {
    young: HashSet<Hash>,
    old: HashSet<Hash>,
}

/// What was found good; shared by all threads.
pub struct Verdicts {
    prefix: Prefix,
    good: Mutex<Generations>,
    /// For the rare one that nobody has looked at.
    single: Mutex<Verifier>,
}

impl Verdicts {
    /// Of the chain with this prefix.
    pub fn new(prefix: Prefix, keys: Arc<KeyCache>) -> Verdicts {
        Verdicts { prefix, good: Mutex::default(), single: Mutex::new(Verifier::new(keys)) }
    }

    /// Whether it was found good.
    pub fn knows(&self, id: &Hash) -> bool {
        let good = self.good.lock().expect(UNPOISONED);
        good.young.contains(id) || good.old.contains(id)
    }

    /// Verifies those of these items that are transactions and not known; those that are not good are returned by
    /// place.
    pub fn verify(&self, verifier: &mut Verifier, items: &[Arc<Item>]) -> Vec<usize> {
        let unknown: Vec<usize> = {
            let good = self.good.lock().expect(UNPOISONED);
            let unknown = |id: &Hash| !good.young.contains(id) && !good.old.contains(id);
            (0..items.len()).filter(|&place| unknown(&items[place].id)).collect()
        };
        let cells: Vec<_> =
            unknown.iter().filter_map(|&place| Some((place, transaction_of(&items[place])?.0))).collect();
        let (mut bad, mut verdicts) = (Vec::new(), Vec::new());
        for batch in cells.chunks(BATCH_MAX) {
            let signed = |i: usize| {
                let cell = &batch[i].1;
                Signed {
                    key: &cell.sender,
                    signature: &cell.signature,
                    prefix: &self.prefix,
                    message: cell.signed_part(),
                }
            };
            verifier.verify(batch.len(), signed, &mut verdicts);
            assert_eq!(verdicts.len(), batch.len(), "each signature that was asked about has a verdict");
            let mut good = self.good.lock().expect(UNPOISONED);
            if good.young.len() >= GENERATION_MAX {
                good.old = std::mem::take(&mut good.young);
            }
            for ((place, _), verdict) in batch.iter().zip(&verdicts) {
                if *verdict {
                    good.young.insert(items[*place].id);
                } else {
                    bad.push(*place);
                }
            }
            let young = good.young.len();
            drop(good);
            assert!(young < GENERATION_MAX + BATCH_MAX, "{young} ids are in a generation of {GENERATION_MAX}");
        }
        bad
    }

    /// Whether a transaction's signature holds.
    pub fn genuine(&self, item: &Item) -> bool {
        self.knows(&item.id) || {
            let Some((cell, _)) = transaction_of(item) else { return false };
            let signed = Signed {
                key: &cell.sender,
                signature: &cell.signature,
                prefix: &self.prefix,
                message: cell.signed_part(),
            };
            let mut verdicts = Vec::new();
            self.single.lock().expect(UNPOISONED).verify(1, |_| signed, &mut verdicts);
            verdicts[0]
        }
    }
}
