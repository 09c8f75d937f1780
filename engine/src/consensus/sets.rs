//! The sets of a shard round, as one of its minters holds them.
//!
//! Most minters have the same set, which then is named by its root and told by nobody. What differs is exchanged in
//! short ids of eight bytes, and only what is missing travels whole. Everything stands in columns; a set is a list of
//! places in them.
//!
//! Short ids are salted by the root of the own set: whoever prepares two transactions that share one would have to know
//! it before it closes a set of its own, and loses that set alone.
//!
//! What one minter tells never stands in the way of what another tells: of each set each has its own try, what is missing
//! of what it tells is never more than is left free for others, and a body is asked of one more than may be faulty.

use crate::base::hash::{Hash, list_root, purpose_key};
use crate::base::ids::Seat;
use crate::base::keyed_hash::HashSeed;
use crate::base::limits::{FOREIGN_ITEMS_MAX, SET_ITEMS_MAX};
use crate::rules::objects::SetBounds;
use crate::transaction::item::{ITEM_MEMORY, Item, Items};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static SET_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix minter's set v1"));

/// Of a set that is told in short ids, what is not here yet.
struct Partial {
    places: Vec<u32>,
    missing: BTreeSet<u64>,
}

/// The own set, and what others have told of theirs.
pub struct Sets {
    own: Items,
    /// Root of the own set, and the salt of short ids that are told here.
    root: Hash,
    /// Items of others that the own set has not.
    foreign: Vec<Item>,
    /// How many of these each minter's sets have asked for.
    brought: BTreeMap<Seat, usize>,
    /// Ids of the own items, then of the others.
    ids: Vec<Hash>,
    /// Places by short id; made when somebody tells a set that is not the own one.
    places: HashMap<u64, u32>,
    /// Sets that are held: places, ascending by id.
    held: BTreeMap<Hash, Vec<u32>>,
    /// By root, and who told it.
    partial: BTreeMap<(Hash, Seat), Partial>,
    /// Short ids whose bodies were asked for, and of whom.
    asked: BTreeSet<(u64, Seat)>,
    /// How often each set was told, and by whom.
    tells: BTreeMap<(Hash, Seat), usize>,
}

/// How often one minter may tell one set: when it is its own, and again when it lists it.
const TELLS_MAX: usize = 2;
/// Sets that one minter has told and that are not whole yet, at a time.
const PARTIALS_MAX: usize = 2;
/// Bytes of an item of others: itself, its id, its place by short id, and that it was missing and asked for.
const FOREIGN_BYTES: usize =
    ITEM_MEMORY + size_of::<Hash>() + 3 * size_of::<(u64, u32)>() + 2 * size_of::<(u64, Seat)>();

fn set_root(ids: impl Iterator<Item = Hash>) -> Hash {
    list_root(&SET_KEY, &mut ids.collect())
}

impl Sets {
    /// With the own set, ascending by id.
    pub fn new(mut own: Vec<Item>) -> Sets {
        own.truncate(SET_ITEMS_MAX);
        let ids: Vec<Hash> = own.iter().map(|item| item.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "ids of the own set ascend, each once");
        let root = set_root(ids.iter().copied());
        Sets {
            own: own.into(),
            root,
            foreign: Vec::new(),
            brought: BTreeMap::new(),
            held: BTreeMap::from([(root, (0..ids.len() as u32).collect())]),
            ids,
            places: HashMap::new(),
            partial: BTreeMap::new(),
            asked: BTreeSet::new(),
            tells: BTreeMap::new(),
        }
    }

    /// Bytes that what others tell may take beside an own set of so many, in a shard of so many minters.
    pub fn bytes_of_others(own: usize, minters: usize) -> u64 {
        let places = (own + FOREIGN_ITEMS_MAX) * size_of::<u32>() * PARTIALS_MAX * minters.saturating_sub(1);
        (FOREIGN_ITEMS_MAX * FOREIGN_BYTES + places) as u64
    }

    /// Root of the own set; short ids that are told to this node have it as their salt.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Whether the set of this root is held.
    pub fn holds(&self, root: &Hash) -> bool {
        self.held.contains_key(root)
    }

    /// Whether it is, or was told in part.
    pub fn knows(&self, root: &Hash) -> bool {
        self.holds(root) || self.partial.keys().any(|known| known.0 == *root)
    }

    fn item(&self, place: u32) -> &Item {
        let place = place as usize;
        self.own.get(place).unwrap_or_else(|| &self.foreign[place - self.own.len()])
    }

    /// The short ids of a set that is held, for whoever has this salt.
    pub fn tell(&self, root: &Hash, salt: &Hash) -> Option<Vec<u64>> {
        let salt = HashSeed::from_key(salt);
        Some(self.held.get(root)?.iter().map(|&place| salt.hash(&self.ids[place as usize])).collect())
    }

    /// Those items of a set that is held that have these short ids.
    pub fn bodies(&self, root: &Hash, salt: &Hash, short: Vec<u64>) -> Option<Vec<Item>> {
        let salt = HashSeed::from_key(salt);
        let wanted: BTreeSet<u64> = short.into_iter().collect();
        let places = self.held.get(root)?.iter().copied();
        Some(
            places
                .filter(|&place| wanted.contains(&salt.hash(&self.ids[place as usize])))
                .map(|place| self.item(place).clone())
                .collect(),
        )
    }

    /// Takes a set that a minter tells in short ids. Returns the short ids whose bodies to ask it for: each is asked of
    /// `asks_max` minters at most.
    pub fn take_told(&mut self, root: Hash, from: Seat, short: Vec<u64>, asks_max: usize) -> Vec<u64> {
        // Of a longer one more is missing than may be.
        if short.len() > SET_ITEMS_MAX.min(self.ids.len() + FOREIGN_ITEMS_MAX) || self.holds(&root) {
            return Vec::new();
        }
        if self.partial.keys().filter(|(of, seat)| *seat == from && *of != root).count() >= PARTIALS_MAX {
            return Vec::new();
        }
        let tells = self.tells.entry((root, from)).or_insert(0);
        *tells += 1;
        if *tells > TELLS_MAX {
            return Vec::new();
        }
        if self.places.is_empty() {
            let salt = HashSeed::from_key(&self.root);
            self.places = (0..).zip(&self.ids).map(|(place, id)| (salt.hash(id), place)).collect();
        }
        let places = short.iter().filter_map(|short| self.places.get(short).copied()).collect();
        let missing: BTreeSet<u64> = short.into_iter().filter(|short| !self.places.contains_key(short)).collect();
        // Who is honest sends what is missing; who tells what there is not leaves as much free as it has.
        let (of_it, of_all) = self.taken(from, &root);
        if of_it + missing.len() > FOREIGN_ITEMS_MAX.saturating_sub(of_all + missing.len()) {
            return Vec::new();
        }
        let mut ask: Vec<u64> = missing.iter().copied().collect();
        ask.retain(|&short| {
            let asked = self.asked.range((short, Seat::MIN)..=(short, Seat::MAX)).count();
            self.asked.contains(&(short, from)) || asked < asks_max && self.asked.insert((short, from))
        });
        self.partial.insert((root, from), Partial { places, missing });
        let (of_it, of_all) = self.taken(from, &[0; 32]);
        assert!(of_it <= of_all && of_all <= FOREIGN_ITEMS_MAX, "{of_it} of {of_all} items are one minter's");
        self.complete();
        ask
    }

    /// How many items came or are missing of sets that a minter has told but for this one, and that all have.
    fn taken(&self, from: Seat, root: &Hash) -> (usize, usize) {
        let others = self.partial.iter().filter(|(of, _)| *of != &(*root, from));
        let missing = |of_it: bool| {
            let counted = others.clone().filter(|(of, _)| !of_it || of.1 == from);
            counted.map(|(_, partial)| partial.missing.len()).sum::<usize>()
        };
        let brought = self.brought.get(&from).copied().unwrap_or(0);
        (brought + missing(true), self.foreign.len() + missing(false))
    }

    /// Takes bodies: only what is missing from a set that was told, so that nobody fills the memory with what no one
    /// asked for.
    pub fn take_bodies(&mut self, items: Vec<Item>) {
        let salt = HashSeed::from_key(&self.root);
        for item in items {
            let short = salt.hash(&item.id());
            let place = self.ids.len() as u32;
            let mut wanted = None;
            for (&(_, from), partial) in &mut self.partial {
                if partial.missing.remove(&short) {
                    partial.places.push(place);
                    wanted = wanted.or(Some(from));
                }
            }
            if let Some(from) = wanted {
                *self.brought.entry(from).or_insert(0) += 1;
                self.places.insert(short, place);
                self.ids.push(item.id());
                self.foreign.push(item);
            }
        }
        assert_eq!(self.ids.len(), self.own.len() + self.foreign.len(), "each item has one id");
        self.complete();
    }

    /// Sets of which nothing is missing any more are held, if their root is what was said.
    fn complete(&mut self) {
        let whole: Vec<(Hash, Seat)> =
            self.partial.iter().filter(|partial| partial.1.missing.is_empty()).map(|partial| *partial.0).collect();
        for of in whole {
            // Another telling of the same set may have led to it.
            let Some(Partial { mut places, .. }) = self.partial.remove(&of) else { continue };
            places.sort_unstable_by_key(|&place| self.ids[place as usize]);
            places.dedup();
            if set_root(places.iter().map(|&place| self.ids[place as usize])) == of.0 {
                self.partial.retain(|other, _| other.0 != of.0);
                self.held.insert(of.0, places);
            }
        }
    }

    /// Items of the union of these sets, ascending by id; none if one is not held.
    ///
    /// `bounds` say what a set may hold: one that does not keep within them is left out before any of it is judged.
    /// `sound` says whether an item that the own set has not may stand in a block on this parent. Honest minters put
    /// nothing else into their sets, so a set with an unsound item is left out, with all that only it has: judging it
    /// costs one look, however much it holds.
    pub fn union(
        &self,
        roots: &BTreeSet<Hash>,
        bounds: &SetBounds,
        mut sound: impl FnMut(&Item) -> bool,
    ) -> Option<Items> {
        if roots.len() == 1 && roots.contains(&self.root) {
            return Some(self.own.clone());
        }
        let mut judged: Vec<Option<bool>> = vec![None; self.foreign.len()];
        let mut in_union = vec![false; self.ids.len()];
        for root in roots {
            let places = self.held.get(root)?;
            if !bounds.hold(places.iter().map(|&place| self.item(place))) {
                continue;
            }
            let all_sound = places.iter().all(|&place| match (place as usize).checked_sub(self.own.len()) {
                None => true,
                Some(foreign) => *judged[foreign].get_or_insert_with(|| sound(&self.foreign[foreign])),
            });
            if all_sound {
                places.iter().for_each(|&place| in_union[place as usize] = true);
            }
        }
        let mut union: Vec<u32> = (0..self.ids.len() as u32).filter(|&place| in_union[place as usize]).collect();
        union.sort_unstable_by_key(|&place| self.ids[place as usize]);
        let id = |place: u32| self.ids[place as usize];
        assert!(union.is_sorted_by(|&a, &b| id(a) < id(b)), "what several sets have is in their union once");
        Some(union.into_iter().map(|place| self.item(place).clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::cell::Cell;
    use bytemuck::Zeroable;

    fn items(numbers: impl Iterator<Item = u32>) -> Vec<Item> {
        let mut items: Vec<_> = numbers
            .map(|number| Item::transaction(&Cell { sequence: u64::from(number), ..Cell::zeroed() }, &[]))
            .collect();
        items.sort_by_key(|item| item.id());
        items
    }

    fn ids(items: &[Item]) -> Vec<Hash> {
        items.iter().map(|item| item.id()).collect()
    }

    /// `to` gets the set of `from`, with what is missing.
    fn exchange(from: &Sets, to: &mut Sets) -> usize {
        let (root, salt) = (from.root(), to.root());
        let ask = to.take_told(root, 1, from.tell(&root, &salt).unwrap(), 1);
        let asked = ask.len();
        to.take_bodies(from.bodies(&root, &salt, ask).unwrap());
        asked
    }

    #[test]
    fn only_what_is_missing_travels() {
        let (mut mine, theirs, third) =
            (Sets::new(items(0..900)), Sets::new(items(100..1_000)), Sets::new(items(100..1_001)));
        assert_eq!(exchange(&theirs, &mut mine), 100);
        assert_eq!(exchange(&third, &mut mine), 1, "what one has told is not asked of another");
        assert!(mine.holds(&theirs.root()) && mine.holds(&third.root()));
        let roots = BTreeSet::from([mine.root(), theirs.root(), third.root()]);
        assert_eq!(ids(&mine.union(&roots, &SetBounds::default(), |_| true).unwrap()), ids(&items(0..1_001)));
        assert_eq!(
            ids(&mine.union(&BTreeSet::from([theirs.root()]), &SetBounds::default(), |_| true).unwrap()),
            ids(&items(100..1_000))
        );
    }

    #[test]
    fn a_set_beyond_its_bounds_is_left_out_unjudged_be_it_the_own_one() {
        let record = |number: u32| Item::of_bytes(&[&[17][..], &number.to_le_bytes()].concat());
        let with_records = |mut of: Vec<Item>| {
            of.extend((0..1_000).map(record));
            of.sort_by_key(|item| item.id());
            of
        };
        let (mut mine, theirs) = (Sets::new(items(0..10)), Sets::new(with_records(items(5..12))));
        exchange(&theirs, &mut mine);
        let roots = BTreeSet::from([mine.root(), theirs.root()]);
        let never = |_: &Item| panic!("nothing of it is judged");
        assert_eq!(ids(&mine.union(&roots, &SetBounds::default(), never).unwrap()), ids(&items(0..10)));
        // As whoever closed it sees it.
        let mut theirs = theirs;
        exchange(&mine, &mut theirs);
        assert_eq!(ids(&theirs.union(&roots, &SetBounds::default(), |_| true).unwrap()), ids(&items(0..10)));
    }

    #[test]
    fn an_unsound_item_takes_its_set_with_it() {
        let (mut mine, theirs) = (Sets::new(items(0..10)), Sets::new(items(5..12)));
        exchange(&theirs, &mut mine);
        let bad = items(11..12)[0].id();
        let roots = BTreeSet::from([mine.root(), theirs.root()]);
        assert_eq!(
            ids(&mine.union(&roots, &SetBounds::default(), |item| item.id() != bad).unwrap()),
            ids(&items(0..10))
        );
    }

    #[test]
    fn a_false_answer_is_not_the_set_and_a_second_one_may_be() {
        let (mut mine, theirs) = (Sets::new(items(0..10)), Sets::new(items(5..12)));
        let (root, salt) = (theirs.root(), mine.root());
        let mut short = theirs.tell(&root, &salt).unwrap();
        short.pop();
        let ask = mine.take_told(root, 5, short, 2);
        mine.take_bodies(theirs.bodies(&root, &salt, ask).unwrap());
        assert!(!mine.knows(&root));
        exchange(&theirs, &mut mine);
        assert!(mine.holds(&root));
        assert!(
            mine.union(&BTreeSet::from([[9; 32]]), &SetBounds::default(), |_| true).is_none(),
            "a set that is not held has no union"
        );
    }

    #[test]
    fn a_liar_who_tells_first_and_gives_nothing_holds_up_nobody() {
        let (mut mine, theirs) = (Sets::new(items(0..10)), Sets::new(items(5..12)));
        let (root, salt) = (theirs.root(), mine.root());
        let told = theirs.tell(&root, &salt).unwrap();
        // It names what is missing in a set of its own and in theirs, with what there is not, as often as it may.
        assert_eq!(mine.take_told([8; 32], 5, told.clone(), 2).len(), 2);
        for _ in 0..30 {
            mine.take_told(root, 5, [&told[..], &[77]].concat(), 2);
        }
        let ask = mine.take_told(root, 6, told.clone(), 2);
        assert_eq!(ask.len(), 2, "of two who are asked one gives it");
        assert!(mine.take_told(root, 7, told, 2).is_empty(), "and a third is not asked");
        mine.take_bodies(theirs.bodies(&root, &salt, ask).unwrap());
        assert!(mine.holds(&root));
    }

    #[test]
    fn what_one_invents_takes_no_room_from_what_another_tells() {
        let (mut mine, theirs) = (Sets::new(items(0..10)), Sets::new(items(5..12)));
        let invented =
            |number: u64, count: usize| (0..count as u64).map(|short| (number << 32) + short).collect::<Vec<_>>();
        assert_eq!(mine.take_told([9; 32], 5, invented(9, FOREIGN_ITEMS_MAX / 2 + 1), 2).len(), 0, "more than is left");
        let asked: Vec<usize> = (1..9)
            .map(|number| mine.take_told([number; 32], 5, invented(number.into(), FOREIGN_ITEMS_MAX / 2), 2).len())
            .collect();
        assert_eq!(asked, [FOREIGN_ITEMS_MAX / 2, 0, 0, 0, 0, 0, 0, 0], "a set at a time of whoever sends none");
        // Three of ten may lie: what they leave is enough for what honest sets differ by.
        assert_eq!(mine.take_told([21; 32], 6, invented(21, FOREIGN_ITEMS_MAX / 4), 2).len(), FOREIGN_ITEMS_MAX / 4);
        assert_eq!(mine.take_told([22; 32], 7, invented(22, FOREIGN_ITEMS_MAX / 8), 2).len(), FOREIGN_ITEMS_MAX / 8);
        assert_eq!(exchange(&theirs, &mut mine), 2);
        assert!(mine.holds(&theirs.root()));
    }

    #[test]
    fn bodies_that_nobody_asked_for_are_not_kept() {
        let mut mine = Sets::new(items(0..10));
        mine.take_bodies(items(20..1_000));
        assert!(mine.foreign.is_empty() && mine.ids.len() == 10);
    }
}
