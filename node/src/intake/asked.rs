//! What this node has asked for, and of whom: an answer is looked at only if there was a question, and as often as there
//! were questions.

use crate::peer::paths::Place;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::item::Item;
use std::collections::{BTreeMap, BTreeSet};

/// For how long an answer to a question is awaited, milliseconds.
const AWAITED_MS: u64 = 60_000;
/// Things that are asked for at a time; the oldest questions go first.
const THINGS_MAX: usize = 16_384;
/// Of one thing: whom was asked. Beyond, anybody may answer.
const NAMES_MAX: usize = 256;

/// Whom a question went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// Some peers, whoever they are.
    Anyone,
    /// Whoever has proved this name.
    Name(AccountIndex),
    /// Whoever is at the end of this connection.
    Connection(u64),
}

/// What can be asked for, beside items of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// What became final at a height.
    Final(u64),
    /// A shard-block, by its hash.
    Block(Hash),
    /// A shard-block's transactions.
    Bodies(Hash),
    /// Proofs that some stand in it, by its height and shard.
    Paths(u64, u16),
}

struct Question {
    until_ms: u64,
    /// The height that it is of; transactions of a block are asked for later as well.
    height: Option<u64>,
    /// How many answers each may give.
    answers: BTreeMap<Whom, u32>,
}

/// Items of a set that one minter was asked for.
struct Wanted {
    root: Hash,
    salt: HashSeed,
    /// Short ids by that salt, ascending.
    shorts: Vec<u64>,
}

/// All that one minter was asked for at a height, and how many answers it owes.
#[derive(Default)]
struct Owed {
    answers: usize,
    wanted: Vec<Wanted>,
}

/// What of somebody's items was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sifted {
    /// Those that were.
    pub wanted: Vec<Item>,
    /// How many were not.
    pub unwanted: usize,
    /// Whether all that were asked for are of a set that the speaker has called its own: nobody has deceived it.
    pub own: bool,
}

/// Sets of a height: what was asked of whom, and what each calls its own.
#[derive(Default)]
struct OfHeight {
    items: BTreeMap<AccountIndex, Owed>,
    roots: BTreeMap<AccountIndex, Hash>,
}

/// Questions that wait for an answer.
#[derive(Default)]
pub struct Asked {
    things: BTreeMap<Thing, Question>,
    /// The same by the time until which an answer is awaited: the first to go first.
    by_time: BTreeSet<(u64, Thing)>,
    /// Of the pending height, and of the next one, of which some speak already.
    sets: BTreeMap<u64, OfHeight>,
}

impl Asked {
    /// A message goes out: what it asks for will be awaited.
    pub fn note(&mut self, to: Whom, message: &Message, now_ms: u64) {
        match message {
            Message::WantBodies(block, _) => self.ask(Thing::Bodies(*block), None, to, now_ms),
            // Whoever is ahead answers also the second with the end of that height.
            Message::WantFinal(height) | Message::Have { height, .. } => {
                self.ask(Thing::Final(*height), Some(*height), to, now_ms);
            }
            Message::WantBlocks(height, blocks) => {
                self.ask(Thing::Final(*height), Some(*height), to, now_ms);
                blocks.iter().for_each(|block| self.ask(Thing::Block(*block), Some(*height), to, now_ms));
            }
            Message::Shard { height, message: ShardMessage::WantItems(root, salt, shorts), .. } => {
                let Whom::Name(name) = to else { return };
                let mut shorts = shorts.clone();
                shorts.sort_unstable();
                let wanted = Wanted { root: *root, salt: HashSeed::from_key(salt), shorts };
                // Those of earlier heights are nobody's any more.
                self.sets = self.sets.split_off(height);
                let owed = self.sets.entry(*height).or_default().items.entry(name).or_default();
                owed.answers += 1;
                owed.wanted.push(wanted);
            }
            _ => {}
        }
    }

    /// The same of proofs that transactions stand in a shard-block.
    pub fn note_paths(&mut self, to: Whom, (height, shard): Place, now_ms: u64) {
        self.ask(Thing::Paths(height, shard), None, to, now_ms);
    }

    /// A height begins: what was asked at earlier ones about them is not looked at any more.
    pub fn begin_height(&mut self, pending: u64) {
        self.things.retain(|_, question| question.height.is_none_or(|height| height >= pending));
        self.by_time.retain(|(_, thing)| self.things.contains_key(thing));
        assert_eq!(self.things.len(), self.by_time.len(), "each question is awaited until a time");
    }

    fn ask(&mut self, thing: Thing, height: Option<u64>, to: Whom, now_ms: u64) {
        if !self.things.contains_key(&thing) {
            while self.things.len() >= THINGS_MAX
                && let Some((_, oldest)) = self.by_time.pop_first()
            {
                self.things.remove(&oldest);
            }
        }
        let question = self.things.entry(thing).or_insert(Question { until_ms: 0, height, answers: BTreeMap::new() });
        self.by_time.remove(&(question.until_ms, thing));
        question.until_ms = now_ms + AWAITED_MS;
        self.by_time.insert((question.until_ms, thing));
        let whom = if question.answers.len() >= NAMES_MAX { Whom::Anyone } else { to };
        let answers = question.answers.entry(whom).or_insert(0);
        *answers = answers.saturating_add(1);
        assert!(self.things.len() <= THINGS_MAX, "{} things are asked for at a time", self.things.len());
    }

    /// Whether whoever is one of these was asked for this.
    pub fn is_wanted(&self, thing: Thing, from: &[Whom], now_ms: u64) -> bool {
        let question = self.things.get(&thing).filter(|question| question.until_ms > now_ms);
        question.is_some_and(|question| from.iter().any(|whom| question.answers.contains_key(whom)))
    }

    /// The same; and one question less waits for an answer. What was asked of whoever it is may be answered by several.
    pub fn answer(&mut self, thing: Thing, from: &[Whom], now_ms: u64) -> bool {
        if !self.is_wanted(thing, from, now_ms) {
            return false;
        }
        let question = self.things.get_mut(&thing).expect("looked at above");
        let whom = from.iter().find(|whom| question.answers.contains_key(whom)).expect("looked at above");
        if *whom == Whom::Anyone {
            return true;
        }
        let left = question.answers.get_mut(whom).expect("looked at above");
        *left -= 1;
        if *left == 0 {
            question.answers.remove(whom);
        }
        if question.answers.is_empty() {
            self.by_time.remove(&(question.until_ms, thing));
            self.things.remove(&thing);
        }
        true
    }

    /// A minter calls a set of this root, of the pending height or the next one, its own.
    pub fn said_root(&mut self, name: AccountIndex, height: u64, root: Hash) {
        self.sets = self.sets.split_off(&height.saturating_sub(1));
        // The first counts: who says two is found out elsewhere.
        assert!(self.sets.len() <= 4, "sets of {} heights are spoken of, two are near", self.sets.len());
        self.sets.entry(height).or_default().roots.entry(name).or_insert(root);
    }

    /// Whether this minter was asked for items of a set of this height, and has not answered.
    pub fn wants_items(&self, name: AccountIndex, height: u64) -> bool {
        let owed = self.sets.get(&height).and_then(|sets| sets.items.get(&name));
        owed.is_some_and(|owed| owed.answers > 0)
    }

    /// Takes what this minter was asked for out of what it has sent; it owes one answer less.
    pub fn sift(&mut self, name: AccountIndex, height: u64, items: Vec<Item>) -> Sifted {
        if !self.wants_items(name, height) {
            return Sifted { unwanted: items.len(), ..Sifted::default() };
        }
        let sets = self.sets.get_mut(&height).expect("looked at above");
        let root = sets.roots.get(&name).copied();
        let owed = sets.items.get_mut(&name).expect("looked at above");
        owed.answers -= 1;
        let brought = items.len();
        let mut sifted = Sifted { own: true, ..Sifted::default() };
        for item in items {
            let asked = |wanted: &&Wanted| wanted.shorts.binary_search(&wanted.salt.hash(&item.id())).is_ok();
            let mut of = owed.wanted.iter().filter(asked).peekable();
            if of.peek().is_none() {
                sifted.unwanted += 1;
                continue;
            }
            sifted.own &= of.all(|wanted| root == Some(wanted.root));
            sifted.wanted.push(item);
        }
        assert_eq!(sifted.wanted.len() + sifted.unwanted, brought, "each item was asked for or not");
        sifted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_a_question_of_the_same_and_uses_it_up() {
        let mut asked = Asked::default();
        asked.note(Whom::Name(3), &Message::WantFinal(9), 0);
        let thing = Thing::Final(9);
        assert!(!asked.answer(thing, &[Whom::Name(4), Whom::Connection(8)], 1));
        assert!(!asked.answer(Thing::Final(8), &[Whom::Name(3)], 1));
        assert!(!asked.is_wanted(thing, &[Whom::Name(3)], AWAITED_MS), "too late");
        assert!(asked.answer(thing, &[Whom::Connection(8), Whom::Name(3)], 1));
        assert!(!asked.answer(thing, &[Whom::Name(3)], 1), "once");
        assert!(asked.things.is_empty());
        asked.note(Whom::Anyone, &Message::WantFinal(9), 0);
        for name in 0..100 {
            assert!(asked.answer(thing, &[Whom::Name(name), Whom::Anyone], 1), "a liar uses up nobody's answer");
        }
    }

    #[test]
    fn who_says_what_it_holds_is_told_the_end_of_a_height_that_it_has_missed() {
        let mut asked = Asked::default();
        let have = Message::Have { height: 9, attempt: 1, held: vec![None], high: None };
        (0..1_984).for_each(|name| asked.note(Whom::Name(name), &have, 0));
        asked.note(Whom::Name(7), &Message::WantBlocks(8, vec![[1; 32]]), 0);
        assert!(asked.is_wanted(Thing::Final(9), &[Whom::Name(1_983), Whom::Anyone], 1));
        assert!(asked.is_wanted(Thing::Final(8), &[Whom::Name(7)], 1));
        assert!(asked.is_wanted(Thing::Block([1; 32]), &[Whom::Name(7)], 1));
        assert!(!asked.is_wanted(Thing::Final(7), &[Whom::Name(7), Whom::Anyone], 1));
    }

    #[test]
    fn questions_are_bounded_and_the_oldest_go() {
        let mut asked = Asked::default();
        for height in 0..THINGS_MAX as u64 + 10 {
            asked.note(Whom::Name(1), &Message::WantFinal(height), height);
        }
        assert_eq!(asked.things.len(), THINGS_MAX);
        assert!(!asked.is_wanted(Thing::Final(3), &[Whom::Name(1)], 20));
        assert!(asked.is_wanted(Thing::Final(THINGS_MAX as u64), &[Whom::Name(1)], 20));
        for name in 0..1_000 {
            asked.note(Whom::Name(name), &Message::WantFinal(5_000), 30_000);
        }
        assert!(asked.is_wanted(Thing::Final(5_000), &[Whom::Name(999), Whom::Anyone], 30_001));
    }

    #[test]
    fn what_was_asked_at_a_height_goes_with_it() {
        let mut asked = Asked::default();
        for number in 0..2_000u32 {
            let block = *blake3::hash(&number.to_le_bytes()).as_bytes();
            asked.note(Whom::Name(number), &Message::WantBlocks(8, vec![block]), 0);
        }
        asked.note(Whom::Name(1), &Message::WantBodies([7; 32], None), 0);
        asked.note(Whom::Name(1), &Message::WantFinal(9), 0);
        assert_eq!(asked.things.len(), 2_003);
        asked.begin_height(9);
        assert_eq!(asked.things.keys().collect::<Vec<_>>(), [&Thing::Final(9), &Thing::Bodies([7; 32])]);
        assert!(asked.answer(Thing::Final(9), &[Whom::Name(1)], 1));
        assert_eq!((asked.things.len(), asked.by_time.len()), (1, 1));
    }

    #[test]
    fn only_items_that_were_asked_for_are_taken_and_whose_set_it_is_is_known() {
        let items: Vec<_> = (0..20u8).map(|number| Item::of_bytes(&[number])).collect();
        let salt = HashSeed::from_key(&[5; 32]);
        let shorts: Vec<u64> = items[..10].iter().map(|item| salt.hash(&item.id())).collect();
        let mut asked = Asked::default();
        let want =
            Message::Shard { height: 7, slot: 9, shard: 0, message: ShardMessage::WantItems([1; 32], [5; 32], shorts) };
        asked.said_root(3, 7, [1; 32]);
        asked.said_root(4, 7, [2; 32]);
        [3, 4].iter().for_each(|&name| asked.note(Whom::Name(name), &want, 0));
        assert!(!asked.wants_items(3, 8) && !asked.wants_items(5, 7));
        let sifted = asked.sift(3, 7, items.clone());
        assert_eq!((sifted.wanted.len(), sifted.unwanted, sifted.own), (10, 10, true));
        let sifted = asked.sift(4, 7, items.clone());
        assert_eq!((sifted.wanted.len(), sifted.own), (10, false), "a set that another calls its own");
        let sifted = asked.sift(3, 7, items);
        assert_eq!((sifted.wanted.len(), sifted.unwanted), (0, 20), "once");
        assert!(!asked.wants_items(3, 7));
        // Who is a height ahead takes nothing away of this one.
        asked.note(Whom::Name(3), &want, 0);
        asked.said_root(3, 8, [1; 32]);
        assert!(asked.wants_items(3, 7));
        asked.said_root(3, 9, [1; 32]);
        assert!(!asked.wants_items(3, 7) && asked.sets.len() == 2);
    }
}
