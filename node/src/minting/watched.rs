//! Transactions of the API's users, as the consensus thread follows them: cells and no words. What happens to each is
//! told to [`super::tracked::Tracked`].
//!
//! One that waits ends when its sequence is used up: by itself or by another one, as the block's transactions show. If
//! they are not here it is told that nobody knows, and followed on until they come, for as many as there is room. What is
//! final is followed on until nothing takes it back, and what it registers or stakes has taken effect, or has not.

use super::fate::Fate;
use super::rows::buckets;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Key, Prefix};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::transaction::cell::{Cell, TransactionKind};
use dynemix_engine::transaction::item::Item;
use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::Sender;

/// Of those that have ended so many are followed on, of each sort; the oldest of more are let go as they are.
const AFTERWARDS_MAX: usize = 4_096;

/// Height, slot and shard of a block.
pub type Where = (u64, u64, u32);

/// Something has happened to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Resumed,
    /// A copy that this client has handed in.
    Judged(u64, Result<(), Refusal>),
    Certified {
        height: u64,
        shard: u32,
    },
    Final(Where),
    /// Its sequence is used up, nobody here knows by what.
    Used(Where),
    /// This one stands in its place.
    Replaced(Where, Hash),
    /// It is final and has no effect; so many units are back.
    Void {
        why: &'static str,
        refunded: Option<u64>,
    },
    Expired,
    /// No block can take it any more.
    GivenUp(Refusal),
}

/// To which, when, what.
pub(super) type News = (Hash, u64, Happened);

/// One whose sequence was used up by a block whose transactions were not here.
struct Unsure {
    id: Hash,
    sender: Key,
    sequence: u64,
    block: Where,
}

/// What is to come of one that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// Units are moved, or leave the stake: nothing else can come between.
    Moved,
    /// The name that was asked for.
    Name(Box<[u8]>),
    /// A stake by this voting key, of so many units.
    Stake(Box<[u8]>, u64),
}

impl Made {
    fn of(cell: &Cell, payload: &[u8]) -> Made {
        match TransactionKind::from_number(cell.kind) {
            Some(TransactionKind::Register) => Made::Name(payload.into()),
            Some(TransactionKind::Stake) => Made::Stake(payload.into(), cell.amount),
            _ => Made::Moved,
        }
    }
}

/// Why something has no effect, and how many units its sender has back.
pub type Void = (&'static str, u64);

/// One that is final, until that stands.
struct Maturing {
    id: Hash,
    sender: Key,
    height: u64,
    shard: u32,
    made: Made,
}

/// What a later height shows of those that were final before.
pub struct Ripe<'a> {
    /// Heights that wait before they take effect.
    pub maturity: u64,
    /// Shard-blocks that were banned: height and shard.
    pub bans: &'a [(u64, u16)],
    /// Why what one was to make has not come to be, and how much its sender has back.
    pub void: &'a dyn Fn(&Key, &Made) -> Option<Void>,
}

/// Those that wait, and those that have ended and are followed on.
pub struct Watched {
    waiting: Vec<(Hash, Item)>,
    ids: HashSet<Hash>,
    unsure: VecDeque<Unsure>,
    maturing: VecDeque<Maturing>,
    tell: Sender<News>,
}

impl Watched {
    /// Nothing yet; what happens is told to `tell`.
    pub(super) fn new(tell: Sender<News>) -> Watched {
        let (waiting, ids) = (Vec::new(), HashSet::new());
        Watched { waiting, ids, unsure: VecDeque::new(), maturing: VecDeque::new(), tell }
    }

    /// Bytes of rows that follow so many.
    pub(super) fn bytes(most: usize) -> usize {
        let afterwards = AFTERWARDS_MAX * (size_of::<Unsure>() + size_of::<Maturing>());
        2 * (most * size_of::<(Hash, Item)>() + afterwards) + buckets(most) * (size_of::<Hash>() + 1)
    }

    /// Whether one has not ended.
    pub fn waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn say(tell: &Sender<News>, id: Hash, now_ms: u64, happened: Happened) {
        // An API that has ended asks nothing any more.
        let _ = tell.send((id, now_ms, happened));
    }

    /// One has come by a client and was judged.
    pub fn begin(&mut self, prefix: &Prefix, item: &Item, client: u64, now_ms: u64, outcome: Result<(), Refusal>) {
        let Some((cell, _)) = item.cell_and_payload() else { return };
        let id = cell.id(prefix);
        if outcome.is_ok() && self.ids.insert(id) {
            self.waiting.push((id, item.clone()));
        }
        assert_eq!(self.ids.len(), self.waiting.len(), "what waits is followed once");
        Self::say(&self.tell, id, now_ms, Happened::Judged(client, outcome));
    }

    /// One that an earlier process has accepted waits again.
    pub fn resume(&mut self, prefix: &Prefix, item: &Item, now_ms: u64) {
        let Some(cell) = item.cell() else { return };
        let id = cell.id(prefix);
        if self.ids.insert(id) {
            self.waiting.push((id, item.clone()));
            Self::say(&self.tell, id, now_ms, Happened::Resumed);
        }
        assert_eq!(self.ids.len(), self.waiting.len(), "what waits is followed once");
    }

    /// One that waits is given up.
    pub fn give_up(&mut self, prefix: &Prefix, item: &Item, now_ms: u64, refusal: Refusal) {
        let Some(cell) = item.cell() else { return };
        let id = cell.id(prefix);
        if self.ids.remove(&id) {
            self.waiting.retain(|(waiting, _)| *waiting != id);
            Self::say(&self.tell, id, now_ms, Happened::GivenUp(refusal));
        }
        assert_eq!(self.ids.len(), self.waiting.len(), "what waits is followed once");
    }

    /// A shard-block of this height is certified; `debits` says whether it takes from the sender.
    pub fn certified(&mut self, height: u64, shard: u32, now_ms: u64, debits: impl Fn(&Cell) -> bool) {
        for (id, _) in self.waiting.iter().filter(|(_, item)| item.cell().is_some_and(&debits)) {
            Self::say(&self.tell, *id, now_ms, Happened::Certified { height, shard });
        }
    }

    /// A block of this height is final; `used` says whether a sequence is used up now, in which shard, and by what.
    pub fn settle(
        &mut self,
        (height, slot): (u64, u64),
        now_ms: u64,
        mut used: impl FnMut(&Item, &Cell) -> Option<(u32, Fate)>,
    ) {
        let Watched { tell, ids, unsure, maturing, .. } = self;
        self.waiting.retain(|(id, item)| {
            let (cell, payload) = item.cell_and_payload().expect("only transactions wait");
            let happened = match used(item, cell) {
                Some((shard, Fate::Final)) => {
                    let made = Made::of(cell, payload);
                    maturing.push_back(Maturing { id: *id, sender: cell.sender, height, shard, made });
                    Happened::Final((height, slot, shard))
                }
                Some((shard, Fate::Replaced(by))) => Happened::Replaced((height, slot, shard), by),
                Some((shard, Fate::Unknown)) => {
                    let block = (height, slot, shard);
                    unsure.push_back(Unsure { id: *id, sender: cell.sender, sequence: cell.sequence, block });
                    Happened::Used(block)
                }
                None if cell.expires_slot < slot => Happened::Expired,
                None => return true,
            };
            Self::say(tell, *id, now_ms, happened);
            ids.remove(id);
            false
        });
        unsure.drain(..unsure.len().saturating_sub(AFTERWARDS_MAX));
        maturing.drain(..maturing.len().saturating_sub(AFTERWARDS_MAX));
    }

    /// Some or all transactions of a final block have come after it.
    pub fn prove(&mut self, (height, shard): (u64, u32), now_ms: u64, mut fate: impl FnMut(&Key, u64, &Hash) -> Fate) {
        let tell = &self.tell;
        self.unsure.retain(|Unsure { id, sender, sequence, block }| {
            if (block.0, block.2) != (height, shard) {
                return true;
            }
            let happened = match fate(sender, *sequence, id) {
                Fate::Final => Happened::Final(*block),
                Fate::Replaced(by) => Happened::Replaced(*block, by),
                Fate::Unknown => return true,
            };
            Self::say(tell, *id, now_ms, happened);
            false
        });
    }

    /// This height is final: what was before it stands now, or has no effect.
    pub fn ripen(&mut self, height: u64, now_ms: u64, ripe: &Ripe<'_>) {
        let tell = &self.tell;
        self.maturing.retain(|Maturing { id, sender, height: of, shard, made }| {
            let is_banned = ripe.bans.iter().any(|ban| (ban.0, u32::from(ban.1)) == (*of, *shard));
            if is_banned {
                Self::say(tell, *id, now_ms, Happened::Void { why: "banned", refunded: None });
                return false;
            }
            let is_due = of + ripe.maturity <= height;
            if let Some((why, units)) = is_due.then(|| (ripe.void)(sender, made)).flatten() {
                Self::say(tell, *id, now_ms, Happened::Void { why, refunded: Some(units) });
            }
            !is_due
        });
    }
}
