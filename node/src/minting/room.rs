//! How much a minter takes of a height, as it has measured, and what part of that it tells each of those who tell it.
//!
//! A set counts if the shard's other minters have closed the same one. So a minter that was told more than it can
//! verify until sets are closed does not make a block that is a little smaller: it makes none, and nor do the others if
//! a few are like it. Hence it says before how much it takes: its *room*.
//!
//! Measured is what a transaction has cost each of two threads, the one that verifies and the one of consensus, in the
//! time in which they were not waiting. On a computer that does other things as well a signature costs more time than
//! at rest, so what was measured with few transactions says little of many: only half of the time is counted on, from one
//! height to the next room grows to one and a half of what came in time at most, and when something came late it shrinks,
//! whatever was measured. What some of those who tell bring late is their own doing: so many as may lie are left out.
//!
//! Who tells is bounded by what the chain says, which teller and told both know. A small part of the room, the *lot*,
//! goes by stake to who has no seat, without a word. The rest is of those who have one, and before it is known who has,
//! of those who were drawn: it is divided by what each has used lately, nobody gets more than that and some to grow by,
//! what is left goes to who wants more, each as much. Of whom nothing was seen lately it is taken that they want an even
//! part, so that minters who do not know each other say the same. Who has a seat and was sent no word may tell as much as
//! a newcomer, a part of what a minter takes before it has measured anything.
//!
//! A word of this binds nobody but what is sent here: see [`super::pace`].

use super::words::Words;
use crate::intake::duties::lot;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::POOL_TRANSACTIONS_MAX;
use dynemix_engine::base::mutation::{Mutation, planted};
use dynemix_engine::committee::quorum::shard_faults;
use std::collections::BTreeMap;
use std::time::Duration;

/// Transactions that a minter takes of a height before it has measured anything, for each second of a slot.
const FIRST_PER_SECOND: u64 = 2_000;
/// From one height to the next it takes so many times what came in time at most.
const GROWTH: u64 = 2;
/// What who has no seat has minters take for a height, for each second of a slot.
const SEATLESS_PER_SECOND: u64 = 192;
/// Of what it takes then, all newcomers with a seat may tell this part together.
const NEWCOMERS: u64 = 2;
/// Of what it takes, this part has to come in a height, or that one costs less than was thought is not learned: few say
/// little of what a full batch costs.
const MEASURED_PART: u64 = 2;
/// That one costs more is learned of so many.
const DEARER_LEAST: u64 = 512;
/// Of the time until sets are closed, so many quarters are counted on. What a transaction has cost was measured while
/// others did the same, so it says what a full computer takes; the rest is for what nobody foresees, and what was too much
/// all the same is late, which narrows the next room.
const QUARTERS_COUNTED_ON: u64 = 3;
/// So many times its word are taken of a teller: the words of minters differ by what they have measured, and one that
/// takes the pace though it has said less closes the same set as the others, or is one of the few that do not.
pub const TAKEN_AT_MOST: u64 = 2;
/// Of what comes in a height, this part may be late without a narrower room.
const LATE: u64 = 128;
/// The lot is no more than this part of a room.
const LOT_PART: u64 = 4;
/// Heights for which it is remembered what somebody used of its room.
const REMEMBERED: u64 = 8;
/// What building is taken to cost before it is measured, in nanoseconds: some times what it does.
const BUILDING_IMPLIED_NS: u64 = 2_000;
/// A set whose block was not built in time is taken to need so many times the time there is.
const BUILT_TOO_LATE: u64 = 2;
/// A block is built of so many whatever was measured.
const BUILT_LEAST: usize = if POOL_TRANSACTIONS_MAX < 1_024 { POOL_TRANSACTIONS_MAX } else { 1_024 };

/// What a thread has done: transactions, and the time in which it did not wait.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    count: u64,
    micros: u64,
}

impl Work {
    fn add(&mut self, count: usize, busy: Duration) {
        self.count = self.count.saturating_add(count as u64);
        self.micros = self.micros.saturating_add(u64::try_from(busy.as_micros()).unwrap_or(u64::MAX));
    }
}

/// What a transaction costs a thread, in nanoseconds: learned quickly when it is more, slowly when it is less.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// What it is taken to be before it is measured, if anything.
    implied: Option<u64>,
    measured: Option<u64>,
}

impl Cost {
    /// What verifying is taken to cost before it is measured: as much as what is taken then leaves time for.
    fn implied(slot_ms: u64) -> Cost {
        let micros = slot_ms / 2 * (1_000 / 4 * QUARTERS_COUNTED_ON);
        Cost { implied: Some(micros * 1_000 / first(slot_ms)), measured: None }
    }

    fn nanos(self) -> Option<u64> {
        self.measured.or(self.implied)
    }

    /// `least`: of so many it is learned that it is less. That it is more is learned of few as well, the less of it the
    /// fewer they are, unless they have taken all of the time that there was: a small batch costs more each, and so does
    /// what is seen for the first time.
    fn learn(&mut self, work: Work, least: u64, time_ms: u64) {
        let now = (work.micros.saturating_mul(1_000) / work.count.max(1)).max(1);
        let is_dearer = self.nanos().is_none_or(|known| now > known);
        if work.count < if is_dearer { least.min(DEARER_LEAST) } else { least } {
            return;
        }
        // In thousandths.
        let part = |of: u64, all: u64| (of.saturating_mul(1_000) / all.max(1)).min(1_000);
        let weight = part(work.count, least).max(part(work.micros, time_ms.saturating_mul(1_000)));
        assert!(weight <= 1_000, "{work:?} of {time_ms} ms weighs {weight} thousandths");
        let dearer = |known: u64, weight: u64| known + (now - known).saturating_mul(weight) / 1_000;
        self.measured = Some(match (self.measured, self.implied) {
            (Some(known), _) if now > known => dearer(known, weight / 2),
            (Some(known), _) => known / 2 + now / 2,
            (None, Some(implied)) if now > implied => dearer(implied, weight),
            (None, _) => now,
        });
    }

    /// How many transactions fit into this time; none if nothing is known.
    fn fit(self, micros: u64) -> Option<u64> {
        self.nanos().map(|nanos| micros.saturating_mul(1_000) / nanos.max(1))
    }
}

/// What a thread that verifies has done between two looks at what waits, in which it did not wait. Told items stand in it
/// beside those of guests and own users, and of some the signature was known: neither says what one costs that is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch {
    /// The height that was told for.
    pub height: u64,
    /// Transactions told for it whose signatures were asked about.
    pub told: usize,
    /// All that were looked up.
    pub items: usize,
    /// Signatures that were verified: of those that nobody had looked at.
    pub signatures: usize,
    /// Time for reading frames of what was told.
    pub reading: Duration,
    /// Time for looking all up.
    pub looking: Duration,
    /// Time for the signatures.
    pub verifying: Duration,
    /// How long it took, all in all, and how much of that nobody else has worked, or has counted: what threads do side by
    /// side costs its time once.
    pub took: Duration,
    /// The part of it that counts, see `took`.
    pub worked: Duration,
}

impl Batch {
    /// How many it says something of, and what they have cost: each as much as a signature that was verified, whoever
    /// brought that, and its part of all else, as far as no other thread has counted that time.
    fn cost(&self) -> (usize, Duration) {
        let &Batch { told, items, signatures, reading, looking, verifying, took, worked, .. } = self;
        assert!(told <= items && signatures <= items, "of {items} items {told} were told, {signatures} verified");
        let count = told.min(signatures);
        if count == 0 {
            return (0, Duration::ZERO);
        }
        let part = |time: Duration, of: usize| time.as_nanos() * count as u128 / of as u128;
        let all = part(reading, told) + part(looking, items) + part(verifying, signatures);
        let nanos = all * worked.as_nanos() / took.as_nanos().max(1);
        (count, Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// What a teller with a seat has told and may tell.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// What was taken of it for each of the two heights that are told for.
    taken: [(u64, u64); 2],
    /// What it was sent.
    words: Words,
    /// What it tells for a height, lately; none if that was not seen yet.
    used: Option<u64>,
    /// The last height at which it told, or could have told.
    last: u64,
    /// What of it came late since the last set was closed.
    late: u64,
}

impl Asked {
    fn taken(&mut self, height: u64) -> &mut u64 {
        let place = (height % 2) as usize;
        if self.taken[place].0 != height {
            self.taken[place] = (height, 0);
        }
        &mut self.taken[place].1
    }

    /// How much of it is taken for a height.
    fn may_tell(&self, height: u64, newcomer: u64) -> u64 {
        self.words.of(height).map_or(newcomer, |room| room.saturating_mul(TAKEN_AT_MOST))
    }
}

/// What a minter takes of a height before it has measured anything, on a chain of such slots.
fn first(slot_ms: u64) -> u64 {
    (slot_ms.saturating_mul(FIRST_PER_SECOND) / 1_000).clamp(BUILT_LEAST as u64, POOL_TRANSACTIONS_MAX as u64)
}

/// What each of so many who have a seat may tell for a height where it was sent no word, on a chain of such slots: all of
/// them no more than a part of what a minter takes before it has measured anything. Teller and told compute the same.
pub fn newcomer(slot_ms: u64, seats: usize) -> u64 {
    (first(slot_ms) / NEWCOMERS / (seats as u64).max(1)).max(1)
}

/// How many who has no seat tells a shard of its users' for a height, nearly all of it handed in to one minter each.
pub fn of_seatless(slot_ms: u64) -> u64 {
    (slot_ms.saturating_mul(SEATLESS_PER_SECOND) / 1_000).max(16)
}

/// Whether what was told for a height comes to nothing by now, and so must not cost a signature.
pub fn is_past(told: Option<u64>, pending: u64) -> bool {
    told.is_some_and(|height| height < pending) && !planted(Mutation::StaleVerified)
}

/// A total divided by what each wants: nobody gets more than it wants before all have that, or as much as anybody.
/// What nobody wants is divided evenly, as room to grow by.
fn divide(total: u64, wants: &[u64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|&who| wants[who]);
    let (mut left, mut rooms) = (total, vec![0; wants.len()]);
    for (done, &who) in order.iter().enumerate() {
        let part = left / (wants.len() - done) as u64;
        rooms[who] = wants[who].min(part);
        left -= rooms[who];
    }
    let more = left / wants.len().max(1) as u64;
    rooms.iter_mut().for_each(|room| *room += more);
    assert!(rooms.iter().sum::<u64>() <= total, "more room is given than there is: {rooms:?} of {total}");
    rooms
}

/// What a minter has measured, and what it has told of that.
pub struct Room {
    slot_ms: u64,
    /// The height that is told for, and how many have a seat at it.
    height: u64,
    seats: usize,
    begun_ms: u64,
    /// Whether its own set is closed.
    closed: bool,
    /// The height that words were said of last.
    said: u64,
    /// What both threads have done for it.
    verified: Work,
    judged: Work,
    /// What came in time for each of the two heights that are told for, and for the last one of which a set was closed.
    in_time: [u64; 2],
    in_time_before: u64,
    verifying: Cost,
    judging: Cost,
    building: Cost,
    /// How long a height may be told for, lately.
    open_ms: u64,
    /// Beyond this something came late.
    ceiling: u64,
    /// What it took when something came late for the last time.
    narrowed_at: u64,
    /// How many fitted into the time then, by what one cost.
    narrowed_fit: u64,
    /// What it has verified of the height before, in time as far as was known then; and so many it has verified lately
    /// without any being late.
    verified_before: u64,
    proved: u64,
    /// It takes less than its shard's pace.
    lags: bool,
    /// More there is no room for, whatever was measured.
    most: u64,
    total: u64,
    /// Those who have a seat, or may get one.
    tellers: BTreeMap<AccountIndex, Asked>,
    /// What those without one have told by their stakes, by height.
    by_stake: BTreeMap<(u64, AccountIndex), u64>,
}

impl Room {
    /// Of a chain of such slots; nothing is measured.
    pub fn new(slot_ms: u64) -> Room {
        Room {
            slot_ms,
            height: 0,
            seats: 0,
            begun_ms: 0,
            closed: false,
            said: 0,
            verified: Work::default(),
            judged: Work::default(),
            in_time: [0; 2],
            in_time_before: 0,
            verifying: Cost::implied(slot_ms),
            judging: Cost::default(),
            building: Cost { implied: Some(BUILDING_IMPLIED_NS), measured: None },
            open_ms: slot_ms / 2,
            ceiling: u64::MAX,
            narrowed_at: 0,
            narrowed_fit: 0,
            verified_before: 0,
            proved: 0,
            lags: false,
            most: POOL_TRANSACTIONS_MAX as u64,
            total: first(slot_ms),
            tellers: BTreeMap::new(),
            by_stake: BTreeMap::new(),
        }
    }

    /// There is room for no more than so many of a height.
    pub fn bound(&mut self, most: usize) {
        assert!(most >= BUILT_LEAST, "{most} transactions of a height, {BUILT_LEAST} are taken anyhow");
        self.most = (most as u64).min(POOL_TRANSACTIONS_MAX as u64);
        self.total = self.total.min(self.most);
    }

    /// How many transactions of the next height it takes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Nanoseconds that one has cost lately: to verify, for consensus to judge, to build into a block.
    pub fn costs_ns(&self) -> [u64; 3] {
        [self.verifying, self.judging, self.building].map(|cost| cost.nanos().unwrap_or(0))
    }

    /// From now on this height is told for, at which so many have a seat.
    pub fn begin(&mut self, height: u64, seats: usize, now_ms: u64) {
        if height == self.height {
            return;
        }
        assert!(height > self.height, "height {height} is told for after height {}", self.height);
        if height > self.height + 1 {
            self.in_time = [0; 2];
        }
        // What was told ahead counts; for the height after nothing was told yet.
        self.in_time[((height + 1) % 2) as usize] = 0;
        (self.height, self.seats, self.begun_ms, self.closed) = (height, seats, now_ms, false);
        (self.verified, self.judged) = (Work::default(), Work::default());
        self.tellers.retain(|_, asked| asked.last + REMEMBERED > height);
        self.by_stake = self.by_stake.split_off(&(height, AccountIndex::MIN));
    }

    /// A batch was verified.
    pub fn verified(&mut self, batch: &Batch) {
        if !self.closed && batch.height == self.height {
            let (count, busy) = batch.cost();
            self.verified.add(count, busy);
        }
    }

    /// So many were judged by consensus.
    pub fn judged(&mut self, count: usize, busy: Duration) {
        if !self.closed {
            self.judged.add(count, busy);
        }
    }

    /// A block of so many was built; none: it should have been, and there was no time left for it. `build_ms`: how long
    /// that may take.
    pub fn built(&mut self, count: usize, busy: Option<Duration>, build_ms: u64) {
        let mut work = Work::default();
        work.add(count, busy.unwrap_or(Duration::from_millis(build_ms.saturating_mul(BUILT_TOO_LATE))));
        // How long it may take is known when the next set is closed.
        self.building.learn(work, self.total / MEASURED_PART, u64::MAX);
    }

    /// So many came that somebody told for this height: too late if the own set is closed, or it is past. Of nobody more
    /// is late than it may tell.
    pub fn came(&mut self, height: u64, teller: AccountIndex, count: usize) {
        if height > self.height + 1 {
            return;
        }
        if height > self.height || !(height < self.height || self.closed) {
            self.in_time[(height % 2) as usize] += count as u64;
        } else if let Some(asked) = self.tellers.get_mut(&teller) {
            let most = asked.may_tell(height, newcomer(self.slot_ms, self.seats));
            asked.late = asked.late.saturating_add(count as u64).min(most.max(asked.late));
        }
    }

    /// How many of so many that somebody tells for a height are looked at: what is beyond its share or twice its word is
    /// dropped, the newest, before it costs a signature. `share`: of who has no seat, see
    /// [`crate::intake::duties::told_share`].
    pub fn take(&mut self, height: u64, teller: AccountIndex, share: Option<usize>, count: usize) -> usize {
        let (told, may) = match share {
            // So few names have a part of the lot that they need no bound.
            Some(0) => return 0,
            Some(share) => (self.by_stake.entry((height, teller)).or_insert(0), share as u64),
            None => {
                let asked = self.tellers.entry(teller).or_default();
                asked.last = asked.last.max(height);
                let may = asked.may_tell(height, newcomer(self.slot_ms, self.seats));
                (asked.taken(height), may)
            }
        };
        let taken = may.saturating_sub(*told).min(count as u64);
        *told += taken;
        assert!(taken <= count as u64 && *told <= may, "{taken} of {count} are looked at, {told} of {may} in all");
        taken as usize
    }

    /// Of the height whose set is closed it takes so many of itself, and its shard's pace is that. Who takes less closes
    /// another set than the rest, and is one of the few of which a shard bears no more.
    pub fn note_pace(&mut self, own: u64, pace: u64) {
        self.lags = own < pace;
    }

    /// The own set of a height is closed: what it was told by those who have a seat, and by the others, is measured. Once a
    /// height. `build_ms`: how long building may take.
    pub fn close(&mut self, now_ms: u64, build_ms: u64, seated: &[AccountIndex]) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let open_ms = now_ms.saturating_sub(self.begun_ms).min(self.slot_ms);
        self.open_ms = self.open_ms / 4 * 3 + open_ms / 4;
        let least = self.total / MEASURED_PART;
        let time_ms = self.open_ms / 4 * QUARTERS_COUNTED_ON;
        self.verifying.learn(self.verified, least, time_ms);
        self.judging.learn(self.judged, least, time_ms);
        self.fit(build_ms);
        let height = self.height;
        for &teller in seated {
            let asked = self.tellers.entry(teller).or_default();
            let taken = *asked.taken(height);
            asked.used = Some(taken.max(asked.used.unwrap_or(0) / 4 * 3));
            asked.last = asked.last.max(height);
        }
    }

    /// What it says that it takes of the next height, to each of those who were drawn for it. Once a height, by who was
    /// drawn: what is said binds, so all of it has to be sent.
    pub fn say(&mut self, height: u64, drawn: &[AccountIndex]) -> Vec<(AccountIndex, u64)> {
        if height <= self.said || drawn.is_empty() {
            return Vec::new();
        }
        self.said = height;
        let divided = self.total - lot(self.slot_ms).min(self.total / LOT_PART);
        let (even, some) = (divided / drawn.len() as u64, newcomer(self.slot_ms, drawn.len()) / 2);
        let want = |teller: &AccountIndex| {
            let Some((asked, used)) = self.tellers.get(teller).and_then(|asked| Some((asked, asked.used?))) else {
                return even;
            };
            let (told, taken) = asked.taken[(self.height % 2) as usize];
            let room = asked.words.of(told).unwrap_or(0);
            // Who has told nearly all that it may would tell more.
            let wants_more = told == self.height && taken > 0 && taken >= room - room / 8;
            if wants_more { u64::MAX } else { used + used / 2 + some }
        };
        let rooms = divide(divided, &drawn.iter().map(want).collect::<Vec<_>>());
        let words: Vec<(AccountIndex, u64)> = drawn.iter().copied().zip(rooms).collect();
        for &(teller, room) in &words {
            let asked = self.tellers.entry(teller).or_default();
            asked.words.hear(height, room);
            asked.last = asked.last.max(height);
        }
        words
    }

    /// What came late since the last set was closed. So many of those who tell as may lie are left out, those with most:
    /// what only they bring late says nothing of this computer.
    fn late(&mut self) -> u64 {
        let telling = self.tellers.values().filter(|asked| asked.late > 0 || asked.used.is_some_and(|used| used > 0));
        let faults = shard_faults(telling.count());
        let mut late: Vec<u64> = self.tellers.values_mut().map(|asked| std::mem::take(&mut asked.late)).collect();
        late.sort_unstable_by(|one, next| next.cmp(one));
        late.into_iter().skip(faults).sum()
    }

    /// How many transactions of the next height are taken, after what this one has shown.
    fn fit(&mut self, build_ms: u64) {
        let in_time = self.in_time[(self.height % 2) as usize];
        // Of the height before it is known by now what came of it when its set was closed.
        let (late, before) = (self.late(), std::mem::replace(&mut self.in_time_before, in_time));
        let (open_ms, costs) = (self.open_ms, [self.verifying, self.judging, self.building]);
        let fit = |(cost, ms): (Cost, u64)| cost.fit(ms.saturating_mul(1_000 / 4 * QUARTERS_COUNTED_ON));
        let measured = costs.into_iter().zip([open_ms, open_ms, build_ms]).filter_map(fit).min();
        let first = first(self.slot_ms);
        let grown = in_time.saturating_mul(GROWTH).max(first);
        let verified = std::mem::replace(&mut self.verified_before, in_time.min(self.verified.count));
        let is_late = late > (before + late) / LATE;
        // What came in time can be done, whatever was measured. And who lags behind the others tries more: a batch of few
        // costs each of them more, so that whoever is told little for having measured much would stay so.
        self.proved = if is_late { 0 } else { verified.max(self.proved - self.proved / 16) };
        let tried = if self.lags && !is_late && in_time > self.total / 2 { self.total + self.total / 4 } else { 0 };
        if is_late {
            (self.narrowed_at, self.narrowed_fit) = (self.total.min(self.ceiling), measured.unwrap_or(first));
            // What came in time since then can be done all the same.
            self.ceiling = (before.max(in_time) / 8 * 7).max(self.narrowed_at / 2);
        } else if in_time > self.ceiling / 2 {
            // Once is no rule: back quickly to near where it was too much, and slowly from there. It was too much at what
            // one cost then: what is seen for the first time is dear.
            let quickly = self.ceiling < self.narrowed_at / 8 * 7
                || measured.is_some_and(|fit| fit >= self.narrowed_fit.saturating_mul(2));
            let part = if quickly { 2 } else { 8 };
            self.ceiling = self.ceiling.saturating_add(self.ceiling / part);
        }
        let total = grown.min(measured.unwrap_or(first).max(self.proved)).max(tried).min(self.ceiling);
        self.total = total.clamp(BUILT_LEAST as u64, self.most);
    }

    /// How many can be built into a block in so many milliseconds: a set closes with no more. Room counts on three quarters
    /// of that time, so that it comes to this only where a set closes late, or building costs much more than it did.
    pub fn built_in(&self, ms: u64) -> usize {
        let most = self.most as usize;
        let Some(count) = self.building.fit(ms.saturating_mul(1_000)) else { return most };
        usize::try_from(count).unwrap_or(usize::MAX).clamp(BUILT_LEAST, most)
    }
}

// With small limits a pool holds less than what is taken here before anything is measured.
#[cfg(all(test, not(feature = "tiny-limits")))]
mod tests {
    use super::*;

    /// All of it told and new, by one thread.
    fn batch(height: u64, count: usize, verifying: Duration) -> Batch {
        let (took, worked) = (verifying, verifying);
        Batch { height, told: count, items: count, signatures: count, verifying, took, worked, ..Batch::default() }
    }

    #[test]
    fn what_guests_bring_and_what_is_told_again_says_nothing_of_what_is_told() {
        let millis = Duration::from_millis;
        let told = batch(1, 1_000, millis(30));
        assert_eq!(told.cost(), (1_000, millis(30)));
        // One guest sends the same again and again: it is known, and was only looked up.
        let known = Batch { items: 31_000, looking: millis(31), ..told };
        assert_eq!(known.cost(), (1_000, millis(31)));
        // Junk without an account, or frames of nothing: their time is theirs.
        let junk = Batch { items: 4_000, looking: millis(400), ..told };
        assert_eq!(junk.cost(), (1_000, millis(130)));
        assert_eq!(Batch { told: 0, ..junk }.cost(), (0, Duration::ZERO));
        // After a lost height all is told again, and is known.
        let again = Batch { signatures: 0, verifying: millis(1), ..told };
        assert_eq!(again.cost(), (0, Duration::ZERO), "a room does not grow by what it knows");
        let mixed = Batch { signatures: 100, verifying: millis(3), reading: millis(1), ..told };
        assert_eq!(mixed.cost(), (100, Duration::from_micros(3_100)));
        // Others' signatures cost what these would have.
        let of_users = Batch { items: 4_000, signatures: 4_000, verifying: millis(120), ..told };
        assert_eq!(of_users.cost(), (1_000, millis(30)));
        // Two thirds of the time was another thread's as well, which has counted it.
        assert_eq!(Batch { worked: millis(10), ..told }.cost(), (1_000, millis(10)));
        let mut room = Room::new(2_000);
        room.begin(1, 1, 0);
        room.verified(&Batch { height: 2, ..told });
        assert_eq!(room.verified.count, 0, "of another height");
    }

    /// A minter that needs so long for each, told so many by each of these, who all have a seat, at a height; what it says
    /// to them. What it cannot verify in time is late.
    fn height(room: &mut Room, height: u64, micros: u64, tells: &[(u32, u64)]) -> Vec<(AccountIndex, u64)> {
        room.begin(height, tells.len(), height * 2_000 - 200);
        let mut late = Vec::new();
        for &(teller, count) in tells {
            let taken = room.take(height, teller, None, count as usize);
            let fit = (1_300_000 / micros.max(1)).saturating_sub(room.in_time[(height % 2) as usize]).min(taken as u64);
            room.verified(&batch(height, fit as usize, Duration::from_micros(fit * micros)));
            room.came(height, teller, fit as usize);
            late.push((teller, taken - fit as usize));
        }
        let seated: Vec<u32> = tells.iter().map(|&(teller, _)| teller).collect();
        room.close(height * 2_000 + 1_140, 240, &seated);
        late.into_iter().for_each(|(teller, late)| room.came(height, teller, late));
        room.say(height + 1, &seated)
    }

    #[test]
    fn it_takes_what_it_can_verify_and_grows_no_faster_than_it_has_shown() {
        let mut room = Room::new(2_000);
        // Ten who want all that they can get, and a computer that verifies 10 000 a second.
        let mut words: Vec<(u32, u64)> = (0..10).map(|teller| (teller, 5_000)).collect();
        let mut totals = Vec::new();
        for of in 1..40 {
            words = height(&mut room, of, 100, &words).iter().map(|&(teller, _)| (teller, 5_000)).collect();
            totals.push(room.total());
        }
        assert_eq!(words.len(), 10);
        // 1.34 s, of which three quarters are counted on.
        assert!((9_400..=10_050).contains(totals.last().unwrap()), "{totals:?}");
        // Twice of what came, which is a little more than its word.
        assert!(totals.windows(2).all(|pair| pair[1] <= pair[0] * GROWTH / 8 * 9), "{totals:?}");
        // It becomes four times as slow, as when others work on the same computer: two heights later it says so.
        for of in 40..46 {
            height(&mut room, of, 400, &words);
        }
        assert!((2_250..=3_900).contains(&room.total()), "{}", room.total());
    }

    #[test]
    fn what_came_late_narrows_it_whatever_was_measured() {
        let mut room = Room::new(2_000);
        let all: Vec<u32> = (1..=10).collect();
        let tell = |room: &mut Room, of: u64, late: &[(u32, usize)]| {
            room.begin(of, 10, of * 2_000 - 200);
            for &teller in &all {
                let taken = room.take(of, teller, None, 500);
                room.came(of, teller, taken);
            }
            room.close(of * 2_000 + 1_140, 240, &all);
            // Some is judged when the own set is closed, the rest when the height is past.
            late.iter().for_each(|&(teller, count)| room.came(of, teller, count / 2));
            room.say(of + 1, &all);
            room.begin(of + 1, 10, of * 2_000 + 1_800);
            late.iter().for_each(|&(teller, count)| room.came(of, teller, count - count / 2));
        };
        (1..6).for_each(|of| tell(&mut room, of, &[]));
        let before = room.total();
        // Three of ten are late with all that they may tell: they may do so to hold others up.
        (6..9).for_each(|of| tell(&mut room, of, &[(1, 9_000), (2, 9_000), (3, 9_000)]));
        assert!(room.total() >= before, "{before}, then {}", room.total());
        tell(&mut room, 9, &(1..=10).map(|teller| (teller, 200)).collect::<Vec<_>>());
        tell(&mut room, 10, &[]);
        assert!(room.total() < before && room.total() >= before / 2 - 1, "{before}, then {}", room.total());
        // Once is no rule.
        (11..14).for_each(|of| tell(&mut room, of, &[]));
        assert!(room.total() >= before / 8 * 7, "{before}, then {}", room.total());
    }

    #[test]
    fn whoever_lags_since_it_measured_much_once_takes_the_pace_again() {
        let lagging = |lags: bool| {
            let mut room = Room::new(2_000);
            let mut words = height(&mut room, 1, 450, &(0..10).map(|teller| (teller, 300)).collect::<Vec<_>>());
            let first = room.total();
            for of in 2..16 {
                // Told as much as it says: a batch of few costs each of them as much as before.
                let micros = if words[0].1 < 250 { 450 } else { 100 };
                room.note_pace(words[0].1, if lags { 550 } else { 0 });
                let tells: Vec<(u32, u64)> = words.iter().map(|&(teller, word)| (teller, word.min(550))).collect();
                words = height(&mut room, of, micros, &tells);
            }
            (first, room.total(), words[0].1)
        };
        let (first, total, word) = lagging(true);
        assert!(first < 2_300 && word >= 500, "{first}, then {total}, of which {word} are anybody's");
        let (_, total, word) = lagging(false);
        assert!(total < 2_300 && word < 250, "nobody who does not lag tries more than it has measured: {total}");
    }

    #[test]
    fn a_slow_minter_learns_that_it_is_from_some_hundreds() {
        let mut room = Room::new(2_000);
        // It manages 650 in the time, of the 4 000 that it takes before it has measured anything.
        height(&mut room, 1, 2_000, &[(1, 3_000), (2, 3_000)]);
        assert_eq!(room.total(), BUILT_LEAST as u64);
    }

    #[test]
    fn who_floods_gets_what_others_leave_and_a_newcomer_finds_some() {
        assert_eq!(divide(900, &[100, u64::MAX, 100]), [100, 700, 100]);
        assert_eq!(divide(900, &[u64::MAX, u64::MAX, 100]), [400, 400, 100]);
        assert_eq!(divide(900, &[u64::MAX; 3]), [300; 3]);
        assert_eq!(divide(900, &[0, 0, 300]), [200, 200, 500], "room to grow by");
        assert!(divide(900, &[]).is_empty());

        let mut room = Room::new(2_000);
        let mut words = Vec::new();
        for of in 1..20 {
            let honest = (2..6).map(|teller| (teller, 100));
            let tells: Vec<(u32, u64)> = std::iter::once((1, 1_000_000)).chain(honest).collect();
            words = height(&mut room, of, 100, &tells);
        }
        let of = |teller: u32| words.iter().find(|word| word.0 == teller).unwrap().1;
        assert!((2..6).all(|teller| of(teller) >= 150), "{words:?}");
        assert!(of(1) > of(2), "what they leave is its");
        // Its surplus is dropped unseen, and takes nothing from who comes later.
        room.begin(20, 5, 39_800);
        assert_eq!(room.take(20, 1, None, 1_000_000) as u64, of(1) * TAKEN_AT_MOST);
        assert_eq!(room.take(20, 1, None, 1), 0);
        assert_eq!(room.take(20, 9, None, 10_000) as u64, newcomer(2_000, 5));
    }

    #[test]
    fn cheap_names_take_nothing_of_the_room_and_nothing_of_each_other() {
        let mut room = Room::new(2_000);
        let ten: Vec<(u32, u64)> = (0..10).map(|teller| (teller, 300)).collect();
        let before = (1..10).map(|of| height(&mut room, of, 100, &ten)).last().unwrap();
        // Four thousand names tell garbage, some with a stake that is worth a little of the lot.
        for of in 10..30 {
            room.begin(of, 10, of * 2_000 - 200);
            let taken = |name: u32| room.take(of, name, Some(usize::from(name.is_multiple_of(8))), 1_000);
            assert_eq!((1_000..5_000).map(taken).sum::<usize>(), 500, "each its share");
            assert!(height(&mut room, of, 100, &ten).iter().zip(&before).all(|(now, before)| now.1 >= before.1));
        }
        assert!(room.tellers.len() == 10 && room.by_stake.len() <= 1_000, "who has no part of it is not remembered");
        assert_eq!(room.take(30, 77, None, 10_000) as u64, newcomer(2_000, 10), "who has just got a seat");
    }

    #[test]
    fn what_was_not_sent_binds_nobody_and_a_word_ends_for_both() {
        let (mut room, mut heard) = (Room::new(2_000), Words::default());
        let word = room.say(1, &[7, 8])[0].1;
        heard.hear(1, word);
        assert!(room.say(1, &[7]).is_empty(), "once");
        for of in 1..8 {
            room.begin(of, 2, of * 2_000 - 200);
            // It has a seat, and was not drawn for the next height: it says nothing.
            room.close(of * 2_000 + 1_140, 240, &[7, 8]);
            let may = heard.of(of).map_or(newcomer(2_000, 2), |word| word * TAKEN_AT_MOST);
            assert_eq!(room.take(of, 7, None, 100_000) as u64, may, "at height {of}");
        }
    }

    #[test]
    fn a_set_closes_with_what_can_be_built() {
        let mut room = Room::new(2_000);
        assert_eq!(room.built_in(240), 120_000, "nothing was measured");
        room.built(10_000, Some(Duration::from_millis(100)), 240);
        room.close(1_140, 10, &[]);
        assert_eq!(room.total(), 1_024, "10 ms are enough for no more than is taken anyhow");
        assert_eq!([room.built_in(240), room.built_in(160), room.built_in(1)], [24_000, 16_000, BUILT_LEAST]);
    }

    #[test]
    fn a_set_of_which_no_block_came_in_time_is_smaller_the_next_time_until_one_does() {
        let mut room = Room::new(300);
        // 30 ms: a set of all that waits took longer to close than was left to build it.
        let sizes: Vec<usize> = (0..8)
            .map(|_| {
                let most = room.built_in(30);
                room.built(most, None, 30);
                most
            })
            .collect();
        assert!(sizes.windows(2).all(|pair| pair[1] < pair[0] || pair[1] == BUILT_LEAST), "{sizes:?}");
        assert_eq!(*sizes.last().unwrap(), BUILT_LEAST);
        // Then they come in time, at a third of a microsecond each.
        for _ in 0..12 {
            let most = room.built_in(30);
            room.built(most, Some(Duration::from_nanos(340 * most as u64)), 30);
        }
        assert!((80_000..98_304).contains(&room.built_in(30)), "{}", room.built_in(30));
    }

    #[test]
    fn what_is_told_for_a_past_height_costs_no_signature() {
        assert!(is_past(Some(6), 7) && !is_past(Some(7), 7) && !is_past(Some(8), 7) && !is_past(None, 7));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn with_the_fault_planted_it_is_verified_all_the_same() {
        use dynemix_engine::base::mutation::plant;
        plant(Some(Mutation::StaleVerified));
        let past = is_past(Some(6), 7);
        plant(None);
        assert!(!past, "the fault is one that the test above finds");
    }
}
