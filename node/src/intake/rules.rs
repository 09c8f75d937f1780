//! Which messages are looked at: who may send what at this height, asked or not.
//!
//! | what | from whom | else |
//! |---|---|---|
//! | talk, shorts of a shard's round | who has a seat in the own shard; a height ahead, who may mint it | points |
//! | items of a set | the same, asked for them | points |
//! | a shard-block | asked for it; two copies a height, who has a seat in the shard that made it | points; nothing of who has the seat |
//! | a final block with shard-blocks | asked for it | points |
//! | a final certificate | anybody with a name, or whom we have called; of a past height, one beside the one known | nothing |
//! | transactions of a shard-block, in quilt mode | asked for them; once a height, and once of one that is final, whose part it is to send them here | points |
//! | votes, proposals, what is held | who has a seat; a height ahead, who may mint it; who is behind | points |
//! | a record | anybody with a name: see [`super::records`] | points |
//! | how many transactions a minter takes | who has a seat; a height ahead, who may mint it; twice a height | points |
//! | a question | anybody, in bounds | |
//!
//! Of a height that is past nothing else is looked at, and of one that is further ahead only what shows that we are behind;
//! neither is a fault, since nobody knows how far we are.

use super::asked::{Asked, Thing, Whom};
use super::duties::{Duties, DutyTable, Rank};
use super::glance::Glance;
use super::price::Failure;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use std::collections::BTreeMap;

/// Bytes of a message that is small talk: of who may mint, of anybody else.
const TALK_BYTES: [usize; 2] = [1 << 20, 64 << 10];

/// Shard-blocks whose transactions come unasked from one minter before the first slot of a height is over: of slots that
/// a slow line has delayed.
const SPREAD_AT_ONCE: u64 = 4;

/// Slots that a pause counts for at most, in which this node has heard nothing: what was sent meanwhile comes at once.
const PAUSE_SLOTS: u64 = 60;

/// Shard-blocks of the height after this one that somebody may send.
const AHEAD_MAX: usize = 2;

/// Copies of a shard-block of the pending height that come unasked from one of those who made it: a queue may have lost
/// the first.
const COPIES_MAX: usize = 2;
/// Words of one minter on how much it takes of a height: a second one, if its line has broken.
const WORDS_MAX: usize = 2;

/// All of those that one sends at a height: its shard makes one block, or in bad times a few.
const COPIES_OF_ONE: usize = 16;

/// Whoever speaks, as the mesh knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The name that it has proved.
    pub name: Option<AccountIndex>,
    /// Which connection it speaks on.
    pub connection: u64,
    /// Whether we have called it, and so know its key.
    pub called: bool,
}

impl Speaker {
    /// Who it is: its name, or its connection if it has none.
    pub fn whom(&self) -> Whom {
        self.name.map_or(Whom::Connection(self.connection), Whom::Name)
    }

    /// All that a question to it may have called it.
    fn whoms(&self) -> [Whom; 3] {
        [self.whom(), Whom::Connection(self.connection), Whom::Anyone]
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is looked at.
    Take,
    /// It is looked at, but for what it shows of heights alone: it comes to nothing.
    Hint,
    /// It is thrown away, and nobody is at fault.
    Pass,
    /// It is thrown away, and whoever sent it pays.
    Charge(Failure),
}

/// Where a height is, seen from the pending one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Past,
    Pending,
    Next,
    Ahead,
}

/// Whether a message is small talk, as long as it is honest.
fn is_talk(glance: &Glance) -> bool {
    matches!(
        glance,
        Glance::ShardTalk { .. } | Glance::Committee(_) | Glance::Custody | Glance::Question | Glance::Final(_, 0)
    )
}

/// How often somebody has sent transactions of shard-blocks unasked at a height.
struct Spread {
    since_ms: u64,
    times: u64,
    /// Whether its part of the pending height was taken, and of one that is final: who was slow has both to come.
    taken: [bool; 2],
}

/// What the rules remember.
pub struct Rules {
    slot_ms: u64,
    /// When a message has come for the last time.
    heard_ms: u64,
    /// A pause has ended: as many slots as it had, and until when they count, which is as long again.
    pause: (u64, u64),
    /// What this node has asked for.
    pub asked: Asked,
    /// The pending height, and who has sent transactions of a shard-block unasked at it.
    spread: (u64, BTreeMap<AccountIndex, Spread>),
    /// The same of shard-blocks of its own shard: which, as often as they came.
    made: (u64, BTreeMap<AccountIndex, Vec<Hash>>),
    /// The same of shard-blocks of the height after, whose certificates cannot be judged: how many.
    ahead: (u64, BTreeMap<AccountIndex, usize>),
    /// Words on how much somebody takes, of the pending height and of the one after it.
    words: BTreeMap<(u64, AccountIndex), usize>,
}

impl Rules {
    /// Of a chain with such slots; nothing is asked.
    pub fn new(slot_ms: u64) -> Rules {
        let (spread, made, ahead, words) = Default::default();
        Rules { slot_ms, heard_ms: 0, pause: (0, 0), asked: Asked::default(), spread, made, ahead, words }
    }

    /// Whether a message of so many bytes is looked at.
    pub fn hear(&mut self, duties: &DutyTable, from: Speaker, glance: &Glance, bytes: usize, now_ms: u64) -> Verdict {
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        self.heard_ms = now_ms;
        if silent_ms > self.slot_ms {
            self.pause = ((silent_ms / self.slot_ms.max(1)).min(PAUSE_SLOTS), now_ms.saturating_add(silent_ms));
        }
        let who = duties.of_name(from.name);
        let unwanted = Verdict::Charge(Failure::Unwanted(bytes));
        if is_talk(glance) && bytes > TALK_BYTES[usize::from(!who.may_mint())] {
            return unwanted;
        }
        let when = |height: u64| match height {
            height if height < duties.pending() => When::Past,
            height if height == duties.pending() => When::Pending,
            height if height == duties.pending() + 1 => When::Next,
            _ => When::Ahead,
        };
        // Whoever is ahead shows it by what it says, if it is somebody.
        let shows = if who.named { Verdict::Hint } else { Verdict::Pass };
        let of_round = |shard: u16| who.seat == Some(shard) && duties.own().seat == Some(shard);
        match *glance {
            Glance::Item if who.named => Verdict::Take,
            Glance::Item => unwanted,
            Glance::ShardTalk { height, .. } if when(height) == When::Ahead => shows,
            Glance::ShardTalk { height, shard } | Glance::ShardShorts { height, shard } => match when(height) {
                When::Past | When::Ahead => Verdict::Pass,
                When::Pending if of_round(shard) => Verdict::Take,
                When::Next if who.may_mint() => Verdict::Take,
                When::Pending | When::Next => unwanted,
            },
            Glance::ShardItems { height, shard } => match (when(height), from.name) {
                (When::Past | When::Ahead, _) => Verdict::Pass,
                (When::Pending, Some(name)) if of_round(shard) && self.asked.wants_items(name, height) => Verdict::Take,
                _ => unwanted,
            },
            Glance::Block(ref block) => match when(block.height) {
                When::Past | When::Ahead => Verdict::Pass,
                When::Pending if who.has_made(block) && self.is_wanted_of_maker(duties, from, &block.hash) => {
                    Verdict::Take
                }
                When::Pending if self.answers(Thing::Block(block.hash), from, now_ms) => Verdict::Take,
                When::Pending if who.has_made(block) => Verdict::Pass,
                When::Next if who.may_mint() => self.ahead(duties, from, unwanted),
                When::Pending | When::Next => unwanted,
            },
            Glance::Final(ref decided, blocks) => match when(decided.value.height) {
                // Beside the one that is known it is evidence.
                When::Past if blocks == 0 && who.named => {
                    let rival = duties.system.committee_of_rival(decided).is_some();
                    if rival { Verdict::Take } else { Verdict::Pass }
                }
                When::Past => Verdict::Pass,
                _ if blocks == 0 && !who.named && !from.called => Verdict::Pass,
                When::Pending if blocks == 0 => Verdict::Take,
                _ if blocks == 0 => Verdict::Hint,
                When::Pending if self.answers(Thing::Final(decided.value.height), from, now_ms) => Verdict::Take,
                When::Pending => unwanted,
                When::Next | When::Ahead => Verdict::Pass,
            },
            Glance::Bodies(block) => {
                self.bodies(duties, (from, who), Thing::Bodies(block), bytes, now_ms).unwrap_or(unwanted)
            }
            Glance::Committee(height) => match when(height) {
                // Who still speaks of an old height has missed its end.
                When::Past | When::Ahead => shows,
                When::Pending if who.seat.is_some() => Verdict::Take,
                When::Next if who.may_mint() => Verdict::Take,
                When::Pending | When::Next => unwanted,
            },
            Glance::Custody if who.rank() <= Rank::Called => Verdict::Take,
            Glance::Custody => Verdict::Pass,
            Glance::Question => Verdict::Take,
        }
    }

    /// Whether it is listened to how many transactions somebody takes of a height, in a frame of so many bytes: of who
    /// may mint that height, and not again and again.
    pub fn room(&mut self, duties: &DutyTable, from: Speaker, height: u64, bytes: usize) -> Verdict {
        let (who, pending) = (duties.of_name(from.name), duties.pending());
        let mints = match height {
            height if height < pending => return Verdict::Pass,
            height if height == pending => who.seat.is_some(),
            height if height == pending + 1 => who.may_mint(),
            // We are behind, if it is somebody.
            _ if who.named => return Verdict::Pass,
            _ => false,
        };
        let Some(name) = from.name.filter(|_| mints) else { return Verdict::Charge(Failure::Unwanted(bytes)) };
        self.words = self.words.split_off(&(pending, AccountIndex::MIN));
        let words = self.words.entry((height, name)).or_insert(0);
        *words += 1;
        if *words <= WORDS_MAX { Verdict::Take } else { Verdict::Charge(Failure::Unwanted(bytes)) }
    }

    fn answers(&mut self, thing: Thing, from: Speaker, now_ms: u64) -> bool {
        self.asked.answer(thing, &from.whoms(), now_ms)
    }

    fn bodies(
        &mut self,
        duties: &DutyTable,
        (from, who): (Speaker, Duties),
        thing: Thing,
        bytes: usize,
        now_ms: u64,
    ) -> Option<Verdict> {
        if !duties.quilt {
            return None;
        }
        if self.answers(thing, from, now_ms) {
            return Some(Verdict::Take);
        }
        // The minters of a block send its transactions to those who keep them, before anybody asks; of a final one also who
        // has lost its seat since.
        let Thing::Bodies(block) = thing else { return None };
        let mine = from.name.is_some_and(|name| duties.is_sent_by(&block, name));
        let name = from.name.filter(|_| who.seat.is_some() || who.left.is_some() || mine)?;
        let pending = duties.pending();
        if self.spread.0 != pending {
            self.spread = (pending, BTreeMap::new());
        }
        let of_final = usize::from(duties.system.immature_block(&block).is_some());
        let spread = self.spread.1.entry(name).or_insert(Spread { since_ms: now_ms, times: 0, taken: [false; 2] });
        spread.times += 1;
        // In each slot that the height takes, and of a height that is not ours: no fault.
        let paused = if now_ms < self.pause.1 { self.pause.0 } else { 0 };
        let slots = now_ms.saturating_sub(spread.since_ms) / self.slot_ms.max(1) + paused;
        Some(match spread.times {
            times if times > slots + SPREAD_AT_ONCE => Verdict::Charge(Failure::Repeated(bytes)),
            _ if mine && !spread.taken[of_final] => {
                spread.taken[of_final] = true;
                Verdict::Take
            }
            _ => Verdict::Pass,
        })
    }

    /// Whether a shard-block of the pending height is looked at, of one who has a seat in its shard: each costs a
    /// certificate and a look through its patch.
    fn is_wanted_of_maker(&mut self, duties: &DutyTable, from: Speaker, block: &Hash) -> bool {
        let Some(name) = from.name else { return false };
        if self.made.0 != duties.pending() {
            self.made = (duties.pending(), BTreeMap::new());
        }
        let sent = self.made.1.entry(name).or_default();
        let copies = sent.iter().filter(|known| *known == block).count();
        let wanted = copies < COPIES_MAX && sent.len() < COPIES_OF_ONE;
        sent.extend(wanted.then_some(*block));
        assert!(sent.len() <= COPIES_OF_ONE, "{} blocks of one minter are remembered", sent.len());
        wanted
    }

    /// A shard-block of the height after this one: so many of each as one who is a height ahead may have to tell.
    fn ahead(&mut self, duties: &DutyTable, from: Speaker, unwanted: Verdict) -> Verdict {
        let Some(name) = from.name else { return unwanted };
        if self.ahead.0 != duties.pending() {
            self.ahead = (duties.pending(), BTreeMap::new());
        }
        let told = self.ahead.1.entry(name).or_insert(0);
        *told += 1;
        if *told <= AHEAD_MAX { Verdict::Take } else { unwanted }
    }
}
