//! Transactions of this node's own users: passed on to the minters of their shard, again for each height, until they
//! are final or cannot be any more; then whoever sent them is told.
//!
//! Minters must be able to work off what they are told before they close their sets: sets that differ may not count at
//! all. They say how much they take, and a shard is told no more than its [`super::pace`]. Where that was wrong each node
//! finds its part by what became of it: the *window* shrinks when two heights in a row leave out what was told for them,
//! and grows while they take it. What is outside of the lesser of both waits here, the oldest first, and no more of it than can
//! stand in the next slot: what would wait for longer is refused at once.
//!
//! What a block that took most others has left out is at fault itself, or was late: what the chain's tables do not let in
//! any more, as a name that another has got, is given up at once; the rest goes behind what was not tried yet, says nothing
//! about the window any more, and is given up after some tries. A block that was made smaller, and so has left out more
//! than a few, is no try. So nobody's transactions that no block can take hold up those of others.
//!
//! Who has no seat tells minters no more than they take of it, and of that again no more than others without a seat leave
//! free. What it has told and no block has taken may have found no room there: it is handed in to one minter then, another
//! one each height, which tells the others as it tells them its own users'. So nobody who is first with every minter keeps
//! out the users of others.
//!
//! Room is divided among users: none holds more than is left free, so that whoever comes later finds some. What cannot be
//! told yet, since another one of its account comes before it or its account has too little, may wait for ever: it has
//! room of its own, and takes none from what can.

use super::fate::{Fate, Settled, Used};
use super::outcomes::Outcomes;
use super::pace::{Pace, ShardPace};
use super::prospect::Prospect;
use super::room::{newcomer, of_seatless};
use super::rows::{AHEAD, buckets};
use super::telling::{Frames, ToldOf, frames_out, hand_in, minters_of, one_of};
use crate::intake::duties::told_share;
use crate::intake::shares::{User, UserShares};
use crate::peer::frames::Frame;
use dynemix_engine::accounts::columns::{Hot, StateMemory};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Prefix};
use dynemix_engine::base::limits::{FORWARDED_MAX, WINDOW_FIRST, WINDOW_MIN};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::prefetch::prefetch;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::check::cost;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::verify::Hint;
use dynemix_net::mesh::PeerId;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

/// Of what was told for a height, this part may be missing from its block without a narrower window.
const MISSED: usize = 64;
/// And so many are a few whatever was told.
const FEW: usize = 8;
/// Transactions that wait for their turn may be this part of those whose turn it is, beside them.
const AHEAD_OF_DUE: usize = 4;
/// Rows that have more than twice so many times the room that they need give it back, but for so much.
const SLACK: usize = 2;
const ROOM_LEAST: usize = 1_024;
/// Blocks that may leave a transaction out, though they take most others, before it is given up.
const TRIES: u8 = 6;
/// Of what the next height takes, so many quarters may wait for it: what comes when this one is told no more. The rest
/// comes when this one is final, and its slot has not ended.
const QUARTERS_WAITING: usize = 3;
/// The same of what this height takes, while minters have not said yet what they take of the next: it may be less.
const QUARTERS_UNSAID: usize = 2;
/// So many may be here, however little is taken.
const HERE_LEAST: usize = 16;
/// Minters that are handed a transaction, one a height, before it is given up: what none of so many could bring into a
/// block waits for nothing.
const HANDED_MAX: u8 = 32;

/// Who hands a transaction in.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Whose it is.
    pub user: User,
    /// Who is told what becomes of it, with the transaction's ordinal there; none: whoever wants to know asks the API.
    pub told: Option<(PeerId, u64)>,
}

/// How far the height is that is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its slot has not begun, or what came before it did is still read.
    Before,
    /// Its minters are told what comes.
    Told,
    /// They close their sets, or build of them: what comes waits for the next height.
    ToldNoMore,
}

/// What a transaction takes from whom.
#[derive(Clone, Copy, Debug)]
pub struct Payer {
    /// Its sender's account.
    pub account: AccountIndex,
    /// How much it takes.
    pub total: u64,
    /// It can be told now: none of the account comes before it.
    pub due: bool,
    /// What is known of it besides, on the parent on which that was found.
    pub found: Option<Prospect>,
    /// For whoever verifies it as well.
    pub hint: Option<Hint>,
}

/// One that minters were told, for the own pool: its account, and what is known of it on the present parent.
pub type Mine = (Item, AccountIndex, Option<Prospect>);

struct Followed {
    item: Item,
    /// As it was found when it came.
    found: Option<Prospect>,
    hint: Option<Hint>,
    account: AccountIndex,
    sequence: u32,
    /// What it takes from its account.
    total: u64,
    expires_slot: u64,
    client: Client,
    /// It counts among those whose turn it is.
    due: bool,
    /// The height whose minters have it, and their shard.
    told: u64,
    shard: usize,
    /// Blocks that have left it out.
    tries: u8,
    /// Minters that were handed it.
    handed: u8,
}

impl Followed {
    /// One that nobody was told yet.
    fn of(
        item: &Item,
        (account, sequence, total): (AccountIndex, u32, u64),
        expires_slot: u64,
        client: Client,
        due: bool,
    ) -> Followed {
        let (item, found, hint, told, shard, tries, handed) = (item.clone(), None, None, 0, 0, 0, 0);
        Followed { item, found, hint, account, sequence, total, expires_slot, client, due, told, shard, tries, handed }
    }

    fn used(&self, accounts: &[Hot]) -> bool {
        accounts[self.account as usize].sequence > self.sequence
    }

    /// Whether it can be told.
    fn is_due(&self, accounts: &[Hot]) -> bool {
        let hot = accounts[self.account as usize];
        hot.sequence == self.sequence && hot.balance >= self.total
    }

    /// Why it will not become final, if it will not; `unfit`: what the chain's tables have against it now.
    fn refusal(&self, unfit: Option<Refusal>, slot: u64) -> Option<Refusal> {
        let in_vain = self.tries >= TRIES || self.handed >= HANDED_MAX;
        let expired = (self.expires_slot < slot).then_some(Refusal::Expired);
        expired.or(unfit).or(in_vain.then_some(Refusal::Inadmissible))
    }

    /// Asks for what is looked at when a block may have used it up.
    fn prefetch(&self, accounts: &[Hot]) {
        accounts.get(self.account as usize).into_iter().for_each(prefetch);
        self.item.prefetch();
    }

    /// As it is followed on when its sequence is used up and nobody here knows by what.
    fn used_up(&self, prefix: &Prefix, shard: u16, told: Option<(PeerId, u64)>) -> Option<Used> {
        let cell = self.item.cell()?;
        let (id, item) = (cell.id(prefix), self.item.clone());
        Some(Used { id, item, sender: cell.sender, sequence: cell.sequence, shard, told })
    }

    /// What is known of it on this parent.
    fn found_on(&self, parent: u64) -> Option<Prospect> {
        self.found.filter(|found| found.parent == Some(parent))
    }
}

/// Goes through a row: what is let go is dropped, the rest keeps its order.
fn retain(row: &mut VecDeque<Followed>, accounts: &[Hot], stays: &mut impl FnMut(&mut Followed) -> bool) {
    for _ in 0..row.len() {
        row.get(AHEAD).into_iter().for_each(|ahead| ahead.prefetch(accounts));
        let mut followed = row.pop_front().expect("as many as there were");
        if stays(&mut followed) {
            row.push_back(followed);
        }
    }
}

/// Those that are followed.
pub struct Own {
    /// As they came: those that are not on the disk yet. Nobody is told them.
    unkept: VecDeque<Followed>,
    /// Those that are.
    followed: VecDeque<Followed>,
    /// Those that blocks have left out.
    tried: VecDeque<Followed>,
    /// What an earlier process has accepted of senders that the state does not have, which may be some blocks behind what
    /// was known then: it waits for those blocks. No more than was accepted.
    orphans: HashMap<Hash, (Item, User)>,
    /// By account and sequence: one can take effect. The whole id: of two whose first bytes are the same, which their
    /// sender can look for, one would be taken for the other.
    ids: HashMap<(AccountIndex, u32), Hash>,
    /// How many each user has here whose turn it is, and how many that wait for theirs.
    due: UserShares,
    ahead: UserShares,
    /// Of those that an earlier process has accepted: who has handed them in again and is told.
    heirs: HashMap<(AccountIndex, u32), Option<(PeerId, u64)>>,
    /// The height that transactions are told for, and how many were.
    height: u64,
    told: usize,
    /// The same shard by shard.
    told_shards: Vec<usize>,
    /// How far each row was gone through.
    looked_at: [usize; 2],
    /// At first more than most nodes' users send in a slot; never so narrow that a node falls silent.
    window: usize,
    /// This node is all minters of the height: what it takes it finds in its own queue, and no other set can differ.
    alone: bool,
    /// Of so many it can build a block in time.
    builds: usize,
    /// The last height's block has left out what was told.
    missed: bool,
    /// The chain's slots; none where nobody has said.
    slot_ms: Option<u64>,
    /// What minters say that they take.
    pub pace: Pace,
    /// How many all shards take together of the height that is told for.
    pace_now: usize,
    phase: Phase,
    /// How many have a seat at it, in how many shards.
    seats: (usize, usize),
    /// What minters take of the height after it, once they have said so.
    pace_next: Option<usize>,
    /// How many there is room for whose turn it is.
    most: usize,
    /// How many were followed at a time, lately.
    peak: usize,
}

impl Default for Own {
    fn default() -> Self {
        Own {
            unkept: VecDeque::new(),
            followed: VecDeque::new(),
            tried: VecDeque::new(),
            orphans: HashMap::new(),
            ids: HashMap::new(),
            due: UserShares::default(),
            ahead: UserShares::default(),
            heirs: HashMap::new(),
            told_shards: Vec::new(),
            height: 0,
            told: 0,
            looked_at: [0; 2],
            window: WINDOW_FIRST,
            alone: false,
            builds: FORWARDED_MAX,
            missed: false,
            slot_ms: None,
            pace: Pace::default(),
            pace_now: FORWARDED_MAX,
            phase: Phase::Told,
            seats: (0, 0),
            pace_next: None,
            most: FORWARDED_MAX,
            peak: 0,
        }
    }
}

impl Own {
    /// Transactions that are followed, kept or not, tried or not.
    pub fn len(&self) -> usize {
        self.unkept.len() + self.followed.len() + self.tried.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are told for a height at most, by what became of the last ones.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The same by what all shards' minters take of the height that is told for.
    pub fn pace_now(&self) -> usize {
        self.pace_now
    }

    /// The chain has such slots: where no minter has said how much it takes it is told as much as a newcomer may.
    pub fn begin(&mut self, slot_ms: u64) {
        self.slot_ms = Some(slot_ms);
        self.pace_now = 0;
    }

    /// How many a shard is told where nobody has said how much it takes. Who has no seat hands in nearly all that it tells,
    /// and each minter takes of that what it can.
    fn unheard(&self, seats: usize, share: Option<usize>) -> u64 {
        match (self.slot_ms, share) {
            (None, _) => FORWARDED_MAX as u64,
            (Some(slot_ms), None) => newcomer(slot_ms, seats),
            (Some(slot_ms), Some(share)) => of_seatless(slot_ms).max(share as u64),
        }
    }

    /// So many have room whose turn it is.
    pub fn bound(&mut self, most: usize) {
        assert!((1..=FORWARDED_MAX).contains(&most), "{most} own transactions, {FORWARDED_MAX} are the most");
        self.most = most;
    }

    /// Bytes of rows that hold so many, beside their places.
    pub(super) fn bytes(most: usize) -> usize {
        let tables =
            size_of::<((AccountIndex, u32), Hash)>() + size_of::<((AccountIndex, u32), Option<(PeerId, u64)>)>();
        SLACK * most * size_of::<Followed>() + buckets(most) * (tables + 2)
    }

    /// A block can be built of so many in time.
    pub fn note_builds(&mut self, most: usize) {
        self.builds = most.min(FORWARDED_MAX);
    }

    /// It is this time now; and by now minters may have said what they take of the next height.
    pub fn note_phase(&mut self, phase: Phase) {
        let (seats, shards) = self.seats;
        self.phase = phase;
        self.pace_next = self.pace.said(self.height + 1, seats, shards);
    }

    /// How many may be here whose turn it is: no more than can stand in their slot or the next.
    fn due_max(&self) -> usize {
        // Where no other minter is, nobody says how much is taken, and nothing can differ.
        if self.alone {
            return self.most;
        }
        let (now, next) = (self.pace_now.min(self.window), self.pace_next.map(|pace| pace.min(self.window)));
        let waiting = next.map_or(now * QUARTERS_UNSAID / 4, |next| next * QUARTERS_WAITING / 4);
        let here = match self.phase {
            // What comes now has to stand in the slot of this height, or it is a slot late.
            Phase::Before => now,
            Phase::Told => now + waiting,
            // What was not told by now stands in the next one, as far as that takes it.
            Phase::ToldNoMore => now.min(self.told) + waiting,
        };
        here.clamp(HERE_LEAST.min(self.most), self.most)
    }

    /// How many more may come.
    pub fn left(&self) -> usize {
        self.due_max().saturating_sub(self.due.total())
    }

    /// Follows a transaction that the pool would take, once it is kept; whether it was not followed before.
    ///
    /// # Errors
    /// When too many of this user wait already, or another one of this account with the same sequence.
    pub fn follow(&mut self, item: &Item, payer: Payer, client: Client) -> Result<bool, Refusal> {
        let Payer { account, total, due, found, hint } = payer;
        let due_max = self.due_max();
        // What comes behind another one of its account would be late as well where no other finds a place.
        let is_full = due_max < self.most && self.left() == 0;
        let in_turn = if due { self.due.may_use(client.user, due_max) } else { !is_full };
        let most = self.most;
        let (shares, room) = if due { (&mut self.due, most) } else { (&mut self.ahead, most / AHEAD_OF_DUE) };
        let known = |cell: &Cell| {
            let place = u32::try_from(cell.sequence).map(|sequence| (account, sequence));
            place.is_ok_and(|place| self.ids.contains_key(&place))
        };
        let takes = (in_turn && shares.may_take(client.user, room)) || item.cell().is_some_and(known);
        if !takes {
            return Err(Refusal::Busy);
        }
        let (cell, _) = item.cell_and_payload().ok_or(Refusal::UnknownKind)?;
        let (sequence, expires_slot) =
            (u32::try_from(cell.sequence).map_err(|_| Refusal::SequenceRange)?, cell.expires_slot);
        match self.ids.entry((account, sequence)) {
            // Whoever hands in what another has handed in hears nothing of it: the first is told. Of what an earlier
            // process has accepted the first is whoever hands it in again.
            Entry::Occupied(known) if *known.get() == item.id() => {
                if let Some(heir @ None) = self.heirs.get_mut(&(account, sequence)) {
                    *heir = client.told;
                }
                return Ok(false);
            }
            Entry::Occupied(_) => return Err(Refusal::SenderConflict),
            Entry::Vacant(place) => drop(place.insert(item.id())),
        }
        shares.take(client.user);
        let followed = Followed::of(item, (account, sequence, total), expires_slot, client, due);
        self.unkept.push_back(Followed { found, hint, ..followed });
        assert_eq!(self.ids.len(), self.len(), "each transaction that is followed has a place of its own");
        assert_eq!(self.due.total() + self.ahead.total(), self.len(), "each that is followed counts for one user");
        Ok(true)
    }

    /// So many more are on the disk, in the order in which they came: from now on minters may be told.
    pub fn kept(&mut self, count: usize) {
        assert!(count <= self.unkept.len(), "{count} are kept, {} were to be", self.unkept.len());
        self.followed.extend(self.unkept.drain(..count));
        self.peak = self.peak.max(self.followed.len());
    }

    /// How many were accepted and have not ended: those that are followed, and those that wait for their senders.
    pub fn promised(&self) -> usize {
        self.len() + self.orphans.len()
    }

    /// Follows again what an earlier process has accepted and kept; false if it has ended. Whose there is no room for
    /// any more has room all the same: it was accepted. And whose sender is unknown waits for it until it expires: what
    /// was accepted may have been on the disk before the block that made the account.
    pub fn resume<M: StateMemory>(
        &mut self,
        item: &Item,
        user: User,
        chain: &Chain,
        state: &State<M>,
        system: &System,
    ) -> bool {
        let Some((cell, payload)) = item.cell_and_payload() else { return false };
        let Ok(sequence) = u32::try_from(cell.sequence) else { return false };
        let Some(account) = state.find(&cell.sender) else {
            let waits = cell.expires_slot >= system.slot;
            return waits && self.orphans.insert(item.id(), (item.clone(), user)).is_none();
        };
        // Also one that its account cannot pay any more: it waits until it can, as it would have done here. What was
        // near enough once is so, though the newest blocks may have to be fetched again.
        let Ok(cost) = cost(cell, payload, &chain.parameters) else { return false };
        let client = Client { user, told: None };
        let mut followed = Followed::of(item, (account, sequence, cost.total()), cell.expires_slot, client, false);
        let accounts = state.columns().hot;
        if followed.used(accounts) || cell.expires_slot < system.slot || self.ids.contains_key(&(account, sequence)) {
            return false;
        }
        followed.due = followed.is_due(accounts);
        if followed.due { &mut self.due } else { &mut self.ahead }.take(user);
        self.ids.insert((account, sequence), item.id());
        self.heirs.insert((account, sequence), None);
        self.followed.push_back(followed);
        assert_eq!(self.ids.len(), self.len(), "each transaction that is followed has a place of its own");
        true
    }

    /// After a block: those that waited for their senders are followed if they have come, and wait on if not.
    pub fn resume_orphans<M: StateMemory>(&mut self, chain: &Chain, state: &State<M>, system: &System) {
        let before = self.promised();
        for (item, user) in std::mem::take(&mut self.orphans).into_values() {
            self.resume(&item, user, chain, state, system);
        }
        assert!(self.promised() <= before, "{before} were accepted, {} wait", self.promised());
    }

    /// All that were accepted, as they came, and whose each is.
    pub fn all(&self) -> impl Iterator<Item = (&Item, User)> {
        let rows = self.tried.iter().chain(&self.followed).chain(&self.unkept);
        let orphans = self.orphans.values().map(|(item, user)| (item, *user));
        rows.map(|followed| (&followed.item, followed.client.user)).chain(orphans)
    }

    /// Frames for the minters of the next height, about what they have not been told and the window has room for.
    /// Nobody is told a sequence before its turn. Also those that were told, with their accounts, for the pool of `me`
    /// if they are of its shard: what no other minter has must not be in an own set either.
    pub fn tell<M: StateMemory>(
        &mut self,
        state: &State<M>,
        system: &System,
        me: Option<u32>,
    ) -> (Vec<Frame>, Vec<Mine>) {
        let height = system.height + 1;
        if self.height != height {
            (self.height, self.told, self.looked_at) = (height, 0, [0; 2]);
            self.told_shards = vec![0; system.committee.shards.len()];
        }
        let committee = &system.committee;
        let minters = minters_of(committee);
        // What minters take of who has no seat; the rest is handed in to one of them, as users do, and it tells the
        // others. Who has no name tells nobody.
        let share = me.map_or(Some(0), |me| told_share(system, self.slot_ms.unwrap_or(0), me, height));
        self.pace.begin(height, self.unheard(committee.len(), share));
        let paces = self.paces(height, &minters, me);
        let own_shard = me.and_then(|me| minters.iter().position(|minters| minters.contains(&me)));
        let of_shard = |(&before, minters): (&usize, &Vec<u32>)| Frames::of(before, minters, me);
        let mut frames: Vec<Frames> = self.told_shards.iter().zip(&minters).map(of_shard).collect();
        let (mut handed, mut beyond) = (BTreeMap::<u32, Frames>::new(), 0);
        let mut of_own_shard = Vec::new();
        // It may take longer by now than when the height was begun.
        let window = if self.alone { self.builds.max(self.told) } else { self.window };
        let Own { followed, tried, looked_at, told, told_shards, .. } = self;
        let before = *told;
        let accounts = state.columns().hot;
        let (fresh, tried_at) = (looked_at[0]..followed.len(), looked_at[1]..tried.len());
        for (row, at) in fresh.map(|at| (0, at)).chain(tried_at.map(|at| (1, at))) {
            if *told >= window {
                break;
            }
            let row_of = if row == 0 { &mut *followed } else { &mut *tried };
            looked_at[row] = at + 1;
            row_of.get(at + AHEAD).into_iter().for_each(|ahead| ahead.prefetch(accounts));
            let followed = &mut row_of[at];
            let found = followed.found_on(system.height);
            if followed.told == height || !found.map_or_else(|| followed.is_due(accounts), |found| found.due) {
                continue;
            }
            let Some((cell, payload)) = followed.item.cell_and_payload() else { continue };
            let shard = found.map_or_else(|| shard_of(&system.seed, &cell.sender, minters.len()), |found| found.shard);
            if told_shards[shard] >= paces[shard].pace {
                continue;
            }
            *told += 1;
            // What was told for another height was so in vain.
            if share.is_some_and(|share| followed.told != 0 || told_shards[shard] >= share) {
                let minter = one_of(committee, shard, &system.seed, &cell.sender);
                let is_handed = hand_in(&mut handed, minter, cell, payload);
                followed.handed = followed.handed.saturating_add(u8::from(is_handed));
                beyond += 1;
                continue;
            }
            (followed.told, followed.shard) = (height, shard);
            told_shards[shard] += 1;
            if own_shard == Some(shard) {
                of_own_shard.push((followed.item.clone(), followed.account, found));
            }
            let told_of = &ToldOf { cell, payload, hint: followed.hint.as_ref() };
            frames[shard].put(Some(height), told_of, Some(&paces[shard]));
        }
        let put: usize = frames.iter().map(|frames| frames.count).sum();
        assert_eq!(put, self.told - before - beyond, "what is told for height {height} stands in a frame, and once");
        assert!(self.told <= window, "{} are told for height {height}, {window} may be", self.told);
        let mine = own_shard.map_or(0, |shard| frames[shard].count);
        assert_eq!(of_own_shard.len(), mine, "the own pool gets what the others of its shard are told");
        (frames_out(handed, minters, &paces, frames, me), of_own_shard)
    }

    /// How many are told to the minters of each shard of a height at most.
    fn paces(&mut self, height: u64, minters: &[Vec<u32>], me: Option<u32>) -> Vec<ShardPace> {
        self.seats = (minters.iter().map(Vec::len).sum(), minters.len());
        self.alone = me.is_some_and(|me| minters.iter().all(|minters| *minters == [me]));
        let pace_of = |minters: &Vec<u32>| match self.alone {
            true => ShardPace { pace: FORWARDED_MAX, less: BTreeMap::new() },
            false => self.pace.of_shard(height, minters),
        };
        let paces: Vec<ShardPace> = minters.iter().map(pace_of).collect();
        self.pace_now = paces.iter().map(|pace| pace.pace).sum::<usize>().min(FORWARDED_MAX);
        paces
    }

    /// After a block: those that are final, or cannot become so any more, are told to whoever sent them. `parent` is
    /// the system that the block was built on; `fits`: whether the chain's tables let one in now; `taken`: what a shard's
    /// block that used up a sequence took of it.
    pub fn settle<M: StateMemory>(
        &mut self,
        prefix: &Prefix,
        state: &State<M>,
        parent: &System,
        system: &System,
        fits: impl Fn(&Item, AccountIndex) -> Result<(), Refusal>,
        mut taken: impl FnMut(usize, &Item) -> Fate,
    ) -> Settled {
        let shards = parent.committee.shards.len();
        let (mut outcomes, mut unproved) = (Outcomes::default(), Vec::new());
        let (mut finals, mut given_up, accounts) = (0, Vec::new(), state.columns().hot);
        let counts = self.count_shards(accounts, system.height, shards);
        let took_most = |shard: usize| counts[shard].1 * 2 > counts[shard].0;
        let took_nearly_all = |shard: usize| counts[shard].1 + counts[shard].0 / MISSED + FEW >= counts[shard].0;
        let Own { ids, heirs, due, ahead, .. } = self;
        let mut settle = |followed: &mut Followed| {
            let used = followed.used(accounts);
            let left_out = !used && followed.told == system.height && took_most(followed.shard);
            followed.tries += u8::from(left_out && took_nearly_all(followed.shard));
            let unfit = left_out.then(|| fits(&followed.item, followed.account).err()).flatten();
            // Those that were told for this height know it; for the others it costs a hash.
            let shard = used.then(|| match followed.told == system.height {
                true => followed.shard,
                false => shard_of(&parent.seed, &state.columns().key[followed.account as usize], shards),
            });
            let fate = shard.map(|shard| taken(shard, &followed.item));
            let refusal = match fate {
                Some(Fate::Replaced(_)) => Some(Refusal::Replaced),
                Some(_) => None,
                None => followed.refusal(unfit, system.slot),
            };
            let user = followed.client.user;
            if followed.due { &mut *due } else { &mut *ahead }.give_back(user);
            if !used && refusal.is_none() {
                // The one before it has been used up, or its account has less than it had.
                followed.due = followed.is_due(accounts);
                if followed.due { &mut *due } else { &mut *ahead }.take(user);
                return true;
            }
            ids.remove(&(followed.account, followed.sequence));
            finals += u64::from(fate == Some(Fate::Final));
            let given = |why| (followed.item.clone(), user, why);
            given_up.extend(refusal.filter(|why| *why != Refusal::Expired).map(given));
            let heir = heirs.remove(&(followed.account, followed.sequence)).flatten();
            let told = followed.client.told.or(heir);
            match (fate.zip(shard), told) {
                // Whoever sent it hears of it when it is known.
                (Some((Fate::Unknown, shard)), _) => unproved.extend(followed.used_up(prefix, shard as u16, told)),
                (Some((fate, shard)), Some(told)) => {
                    outcomes.end(told, (system.height, system.slot, shard as u32), fate)
                }
                (None, told) => told.zip(refusal).into_iter().for_each(|(told, why)| outcomes.refuse(told, why)),
                (Some(_), None) => {}
            }
            false
        };
        retain(&mut self.tried, accounts, &mut settle);
        retain(&mut self.followed, accounts, &mut settle);
        self.part_tried();
        self.give_back_room();
        if self.height == system.height && !self.alone {
            self.fit_window(&counts);
        }
        // The row has moved: it is gone through again, and what was told is passed over.
        self.looked_at = [0; 2];
        assert_eq!(self.ids.len(), self.len(), "what has ended is followed no more, and all else is");
        assert_eq!(self.due.total() + self.ahead.total(), self.len(), "each that is followed counts for one user");
        Settled { finals, unproved, frames: outcomes.frames(), given_up }
    }

    /// Of each shard: those that were told for the first time, and how many of them the block has.
    fn count_shards(&self, accounts: &[Hot], height: u64, shards: usize) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); shards];
        for (at, followed) in self.followed.iter().enumerate() {
            self.followed.get(at + AHEAD).into_iter().for_each(|ahead| ahead.prefetch(accounts));
            if followed.told == height {
                let count: &mut (usize, usize) = &mut counts[followed.shard];
                *count = (count.0 + 1, count.1 + usize::from(followed.used(accounts)));
            }
        }
        counts
    }

    /// What blocks have left out goes behind what was not tried yet.
    fn part_tried(&mut self) {
        if self.followed.iter().any(|followed| followed.tries > 0) {
            let (tried, fresh): (VecDeque<Followed>, _) =
                std::mem::take(&mut self.followed).into_iter().partition(|followed| followed.tries > 0);
            self.followed = fresh;
            self.tried.extend(tried);
        }
        assert!(self.followed.iter().all(|followed| followed.tries == 0), "what was tried stands behind what was not");
    }

    /// What one row had room for another one may need; but what each height fills again is not taken from it after each.
    fn give_back_room(&mut self) {
        self.peak = self.peak / 4 * 3;
        let needs = [self.unkept.len(), self.followed.len().max(self.peak), self.tried.len()];
        for (row, needed) in [&mut self.unkept, &mut self.followed, &mut self.tried].into_iter().zip(needs) {
            if row.capacity() > (2 * SLACK * needed).max(ROOM_LEAST) {
                row.shrink_to((SLACK * needed).max(ROOM_LEAST));
            }
        }
    }

    fn fit_window(&mut self, counts: &[(usize, usize)]) {
        let (told, used) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        assert!(used <= told, "{used} of {told} transactions that were told are in the block");
        let taken = used + told / MISSED >= told;
        // A few that are missing say nothing of what minters can work off. Nor does one height: a shard can lose it by
        // much else, and what minters take they say themselves.
        let missed = !taken && told > WINDOW_MIN;
        let again = std::mem::replace(&mut self.missed, missed) && missed;
        if again {
            self.window = (told.min(self.window) / 2).max(WINDOW_MIN);
        } else if taken && self.told >= self.window / 4 * 3 {
            self.window = (self.window + self.window / 4 + WINDOW_MIN).min(FORWARDED_MAX);
        }
        let bounded = (WINDOW_MIN..=FORWARDED_MAX).contains(&self.window);
        assert!(bounded, "the window of {} is not between {WINDOW_MIN} and {FORWARDED_MAX}", self.window);
    }
}
