//! Transactions of this node's own users: passed on to the minters of their shard, again for each height, until they
//! are final or cannot be any more; then whoever sent them is told.
//!
//! Minters must be able to work off what they are told before they close their sets: sets that differ may not count at
//! all. Nobody knows what others tell them, so each node finds its part by what became of it: the *window* of a height
//! grows while all that was told is in its block, and shrinks when it is not. What is outside of it waits here, the
//! oldest first.
//!
//! What a block that took most others has left out is at fault itself, or was late: it goes behind what was not tried
//! yet, says nothing about the window any more, and is given up after some tries. So nobody's transactions that no
//! block can take hold up those of others.
//!
//! Who has no seat tells minters no more than they take of it, and of that again no more than others without a seat leave
//! free. What it has told and no block has taken may have found no room there: it is handed in to one minter then, another
//! one each height, which tells the others as it tells them its own users'. So nobody who is first with every minter keeps
//! out the users of others.
//!
//! Room is divided among users: none holds more than is left free, so that whoever comes later finds some. What cannot be
//! told yet, since another one of its account comes before it or its account has too little, may wait for ever: it has
//! room of its own, and takes none from what can.

use crate::intake::duties::told_share;
use crate::intake::shares::{User, UserShares};
use crate::peer::frames::{CELLS, CELLS_MAX, Outcome, cells_frame, put_cell};
use dynemix_engine::accounts::columns::StateMemory;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::base::keyed_hash::{HashSeed, place};
use dynemix_engine::base::limits::{FORWARDED_MAX, TRANSACTION_BYTES_MAX, WINDOW_FIRST, WINDOW_MIN};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::{Committee, shard_of};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::{PeerId, Standing, To};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Bytes of a frame of cells at most: to whom it tells them a node without a seat is only a name, and one without a name
/// a guest.
const TOLD_BYTES_MAX: usize = Standing::Guest.bounds().frame_max[CELLS as usize];
const _: () = assert!(TOLD_BYTES_MAX <= Standing::Named.bounds().frame_max[CELLS as usize]);
/// Of what was told for a height, this part may be missing from its block without a narrower window.
const MISSED: usize = 64;
/// Transactions that wait for their turn, beside those whose turn it is.
const AHEAD_MAX: usize = FORWARDED_MAX / 4;
/// Blocks that may leave a transaction out, though they take most others, before it is given up.
const TRIES: u8 = 6;
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

/// What a transaction takes from whom.
#[derive(Clone, Copy, Debug)]
pub struct Payer {
    /// Its sender's account.
    pub account: AccountIndex,
    /// How much it takes.
    pub total: u64,
    /// It can be told now: none of the account comes before it.
    pub due: bool,
}

struct Followed {
    item: Item,
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
    fn used<M: StateMemory>(&self, state: &State<M>) -> bool {
        state.hot(self.account).sequence > self.sequence
    }

    /// Whether it can be told.
    fn is_due<M: StateMemory>(&self, state: &State<M>) -> bool {
        let hot = state.hot(self.account);
        hot.sequence == self.sequence && hot.balance >= self.total
    }
}

/// One of a shard's minters, another one for each sender and height: whoever hands in what it may not tell all.
fn one_of(committee: &Committee, shard: usize, seed: &Hash, sender: &Key) -> u32 {
    let seats = &committee.shards[shard];
    let seat = seats[place(HashSeed::from_key(seed).hash(sender), seats.len())];
    committee.members[usize::from(seat)].candidate
}

/// Frames of cells of one shard, or for one minter, as long as whoever gets them takes of anybody.
#[derive(Default)]
struct Frames {
    frames: Vec<Vec<u8>>,
    count: usize,
}

impl Frames {
    /// Puts a cell into the last frame, or where that is full into another one.
    fn put(&mut self, told: Option<u64>, cell: &Cell, payload: &[u8]) {
        let is_long = |frame: &Vec<u8>| frame.len() + 2 + TRANSACTION_BYTES_MAX > TOLD_BYTES_MAX;
        if self.count.is_multiple_of(CELLS_MAX / 2) || self.frames.last().is_some_and(is_long) {
            self.frames.push(cells_frame(told, 0));
        }
        self.count += 1;
        let frame = self.frames.last_mut().expect("begun above");
        put_cell(frame, bytemuck::bytes_of(cell), payload);
        assert!(frame.len() <= TOLD_BYTES_MAX, "a frame of {} bytes, {TOLD_BYTES_MAX} are taken", frame.len());
    }
}

/// Puts a cell among what this minter is handed; false if there is no room for it.
fn hand_in(handed: &mut BTreeMap<u32, Frames>, minter: u32, cell: &Cell, payload: &[u8]) -> bool {
    let frames = handed.entry(minter).or_default();
    let may = frames.count < CELLS_MAX / 2;
    if may {
        frames.put(None, cell, payload);
    }
    may
}

/// A frame for the mesh.
pub type Frame = (To, u8, Arc<[u8]>);

/// Those that are followed.
pub struct Own {
    /// As they came.
    followed: VecDeque<Followed>,
    /// Those that blocks have left out.
    tried: VecDeque<Followed>,
    /// By account and sequence: one can take effect.
    ids: HashMap<(AccountIndex, u32), Hash>,
    /// How many each user has here whose turn it is, and how many that wait for theirs.
    due: UserShares,
    ahead: UserShares,
    /// The height that transactions are told for, and how many were.
    height: u64,
    told: usize,
    /// The same shard by shard.
    told_shards: Vec<usize>,
    /// How far each row was gone through.
    looked_at: [usize; 2],
    /// At first more than most nodes' users send in a slot; never so narrow that a node falls silent.
    window: usize,
}

impl Default for Own {
    fn default() -> Self {
        Own::with_window(WINDOW_FIRST)
    }
}

impl Own {
    /// Nothing is followed yet; so many are told for the first height at most.
    pub fn with_window(window: usize) -> Own {
        assert!((WINDOW_MIN..=FORWARDED_MAX).contains(&window), "a window of {window} is no window");
        Own {
            followed: VecDeque::new(),
            tried: VecDeque::new(),
            ids: HashMap::new(),
            due: UserShares::default(),
            ahead: UserShares::default(),
            told_shards: Vec::new(),
            height: 0,
            told: 0,
            looked_at: [0; 2],
            window,
        }
    }

    /// Transactions that are followed, tried or not.
    pub fn len(&self) -> usize {
        self.followed.len() + self.tried.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are told for a height at most.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Follows a transaction that the pool would take.
    ///
    /// # Errors
    /// When too many of this user wait already, or another one of this account with the same sequence.
    pub fn follow(&mut self, item: &Item, payer: Payer, client: Client) -> Result<(), Refusal> {
        let Payer { account, total, due } = payer;
        let (shares, room) = if due { (&mut self.due, FORWARDED_MAX) } else { (&mut self.ahead, AHEAD_MAX) };
        let known = |cell: &Cell| {
            let place = u32::try_from(cell.sequence).map(|sequence| (account, sequence));
            place.is_ok_and(|place| self.ids.contains_key(&place))
        };
        if !item.cell_and_payload().is_some_and(|(cell, _)| known(cell)) && !shares.may_take(client.user, room) {
            return Err(Refusal::Busy);
        }
        let (cell, _) = item.cell_and_payload().ok_or(Refusal::UnknownKind)?;
        let (sequence, expires_slot) =
            (u32::try_from(cell.sequence).map_err(|_| Refusal::SequenceRange)?, cell.expires_slot);
        match self.ids.entry((account, sequence)) {
            // Whoever hands in what another has handed in hears nothing of it: the first is told.
            Entry::Occupied(known) if *known.get() == item.id() => return Ok(()),
            Entry::Occupied(_) => return Err(Refusal::SenderConflict),
            Entry::Vacant(place) => drop(place.insert(item.id())),
        }
        shares.take(client.user);
        let item = item.clone();
        self.followed.push_back(Followed {
            item,
            account,
            sequence,
            total,
            expires_slot,
            client,
            due,
            told: 0,
            shard: 0,
            tries: 0,
            handed: 0,
        });
        assert_eq!(self.ids.len(), self.len(), "each transaction that is followed has a place of its own");
        assert_eq!(self.due.total() + self.ahead.total(), self.len(), "each that is followed counts for one user");
        Ok(())
    }

    /// Frames for the minters of the next height, about what they have not been told and the window has room for.
    /// Nobody is told a sequence before its turn. Also those that were told, with their accounts, for the pool of `me`
    /// if they are of its shard: what no other minter has must not be in an own set either.
    pub fn tell<M: StateMemory>(
        &mut self,
        state: &State<M>,
        system: &System,
        me: Option<u32>,
    ) -> (Vec<Frame>, Vec<(Item, AccountIndex)>) {
        let height = system.height + 1;
        if self.height != height {
            (self.height, self.told, self.looked_at) = (height, 0, [0; 2]);
            self.told_shards = vec![0; system.committee.shards.len()];
        }
        let committee = &system.committee;
        let shards = committee.shards.len();
        // What minters take of who has no seat; the rest is handed in to one of them, as users do, and it tells the
        // others. Who has no name tells nobody.
        let share = me.map_or(Some(0), |me| told_share(system, me));
        let seat = me.and_then(|me| committee.seat_of(me));
        let own_shard = seat.map(|seat| usize::from(committee.members[usize::from(seat)].shard));
        let mut frames: Vec<Frames> = (0..shards).map(|_| Frames::default()).collect();
        let (mut handed, mut beyond) = (BTreeMap::<u32, Frames>::new(), 0);
        let mut of_own_shard = Vec::new();
        let Own { followed, tried, looked_at, told, told_shards, window, .. } = self;
        let before = *told;
        let (fresh, tried) = (followed.iter_mut().skip(looked_at[0]), tried.iter_mut().skip(looked_at[1]));
        for (row, followed) in fresh.map(|followed| (0, followed)).chain(tried.map(|followed| (1, followed))) {
            if *told >= *window {
                break;
            }
            looked_at[row] += 1;
            if !followed.is_due(state) || followed.told == height {
                continue;
            }
            let Some((cell, payload)) = followed.item.cell_and_payload() else { continue };
            let shard = shard_of(&system.seed, &cell.sender, shards);
            *told += 1;
            // Told for another height, in vain.
            let in_vain = followed.told != 0;
            if share.is_some_and(|share| in_vain || told_shards[shard] >= share) {
                let minter = one_of(committee, shard, &system.seed, &cell.sender);
                let is_handed = hand_in(&mut handed, minter, cell, payload);
                followed.handed = followed.handed.saturating_add(u8::from(is_handed));
                beyond += 1;
                continue;
            }
            (followed.told, followed.shard) = (height, shard);
            told_shards[shard] += 1;
            if own_shard == Some(shard) {
                of_own_shard.push((followed.item.clone(), followed.account));
            }
            frames[shard].put(Some(height), cell, payload);
        }
        let new = self.told - before - beyond;
        let put = frames.iter().map(|frames| frames.count).sum::<usize>();
        assert_eq!(put, new, "what is told for height {height} stands in a frame, and once");
        assert!(self.told <= self.window, "{} are told for height {height}, {} may be", self.told, self.window);
        let mine = own_shard.map_or(0, |shard| frames[shard].count);
        assert_eq!(of_own_shard.len(), mine, "the own pool gets what the others of its shard are told");
        let mut out: Vec<Frame> = Vec::new();
        for (minter, handed) in handed {
            out.extend(handed.frames.into_iter().map(|frame| (To::Name(minter), CELLS, frame.into())));
        }
        for (seats, frames) in committee.shards.iter().zip(frames) {
            let frames: Vec<Arc<[u8]>> = frames.frames.into_iter().map(Into::into).collect();
            let minters = seats.iter().map(|&seat| committee.members[usize::from(seat)].candidate);
            for minter in minters.filter(|&minter| Some(minter) != me) {
                out.extend(frames.iter().map(|frame| (To::Name(minter), CELLS, frame.clone())));
            }
        }
        (out, of_own_shard)
    }

    /// After a block: those that are final, or cannot become so any more, are told to whoever sent them. `parent` is
    /// the system that the block was built on.
    pub fn settle<M: StateMemory>(&mut self, state: &State<M>, parent: &System, system: &System) -> (u64, Vec<Frame>) {
        let shards = parent.committee.shards.len();
        let mut outcomes: BTreeMap<(PeerId, u8, u16), Vec<u64>> = BTreeMap::new();
        let mut finals = 0;
        // Of each shard: those that were told for the first time, and how many of them the block has.
        let mut counts = vec![(0, 0); shards];
        for followed in self.followed.iter().filter(|followed| followed.told == system.height) {
            let count: &mut (usize, usize) = &mut counts[followed.shard];
            *count = (count.0 + 1, count.1 + usize::from(followed.used(state)));
        }
        let took_most: Vec<bool> = counts.iter().map(|&(told, used)| used * 2 > told).collect();
        let Own { ids, due, ahead, .. } = self;
        let mut settle = |followed: &mut Followed| {
            let used = followed.used(state);
            let left_out = !used && followed.told == system.height && took_most[followed.shard];
            followed.tries += u8::from(left_out);
            let refusal = match () {
                () if used => None,
                () if followed.expires_slot < system.slot => Some(Refusal::Expired),
                () if followed.tries >= TRIES || followed.handed >= HANDED_MAX => Some(Refusal::Inadmissible),
                () => None,
            };
            let user = followed.client.user;
            if followed.due { &mut *due } else { &mut *ahead }.give_back(user);
            if !used && refusal.is_none() {
                // The one before it has been used up, or its account has less than it had.
                followed.due = followed.is_due(state);
                if followed.due { &mut *due } else { &mut *ahead }.take(user);
                return true;
            }
            ids.remove(&(followed.account, followed.sequence));
            finals += u64::from(used);
            if let Some((client, ordinal)) = followed.client.told {
                let shard = shard_of(&parent.seed, &state.columns().key[followed.account as usize], shards) as u16;
                outcomes.entry((client, refusal.map_or(0, |refusal| refusal as u8), shard)).or_default().push(ordinal);
            }
            false
        };
        self.tried.retain_mut(&mut settle);
        self.followed.retain_mut(&mut settle);
        if self.followed.iter().any(|followed| followed.tries > 0) {
            let (tried, fresh) =
                std::mem::take(&mut self.followed).into_iter().partition(|followed| followed.tries > 0);
            self.followed = fresh;
            let mut tried: VecDeque<Followed> = tried;
            self.tried.append(&mut tried);
        }
        if self.height == system.height {
            let (told, used) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            self.fit_window(told, used);
        }
        // The row has moved: it is gone through again, and what was told is passed over.
        self.looked_at = [0; 2];
        assert_eq!(self.ids.len(), self.len(), "what has ended is followed no more, and all else is");
        assert_eq!(self.due.total() + self.ahead.total(), self.len(), "each that is followed counts for one user");
        let frame = |((client, refusal, shard), ordinals): ((PeerId, u8, u16), Vec<u64>)| {
            let (height, slot) = if refusal == 0 { (system.height, system.slot) } else { (0, 0) };
            let frame: Arc<[u8]> = Outcome { refusal, height, slot, shard, ordinals }.encode().into();
            (To::Peer(client), CELLS, frame)
        };
        (finals, outcomes.into_iter().map(frame).collect())
    }

    fn fit_window(&mut self, told: usize, used: usize) {
        assert!(used <= told, "{used} of {told} transactions that were told are in the block");
        let taken = used + told / MISSED >= told;
        // A few that are missing say nothing of what minters can work off.
        if !taken && told > WINDOW_MIN {
            self.window = (told.min(self.window) / 2).max(WINDOW_MIN);
        } else if taken && self.told >= self.window / 4 * 3 {
            self.window = (self.window + self.window / 4 + WINDOW_MIN).min(FORWARDED_MAX);
        }
        let bounded = (WINDOW_MIN..=FORWARDED_MAX).contains(&self.window);
        assert!(bounded, "the window of {} is not between {WINDOW_MIN} and {FORWARDED_MAX}", self.window);
    }
}
