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
//! whatever was measured.
//!
//! Room is divided by what each has asked for lately: nobody gets more than it uses and some to grow by, what is left
//! goes to who wants more, each as much. Who was not told yet what is its part may tell as much as a newcomer.
//!
//! A word of this binds nobody but what is sent here: see [`super::pace`].

use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::POOL_TRANSACTIONS_MAX;
use dynemix_engine::base::mutation::{Mutation, planted};
use std::collections::BTreeMap;
use std::time::Duration;

/// Transactions that a minter takes of a height before it has measured anything, for each second of a slot.
const FIRST_PER_SECOND: u64 = 3_000;
/// What a teller may tell for a height that was told nothing of its part, for each second of a slot.
const NEWCOMER_PER_SECOND: u64 = 192;
/// Of what it takes, this part has to come in a height, or what it cost is not learned: few say nothing of what a full
/// batch costs, and with so few room is no matter.
const MEASURED_PART: u64 = 2;
/// Of the time until sets are closed, this part is counted on: a computer that is shared takes longer the more there is
/// to do, and the rest is for what nobody foresees.
const COUNTED_ON: u64 = 2;
/// So many times its word are taken of a teller, since half of the time is left: the words of minters differ by what they
/// have measured, and one that takes the pace though it has said a little less closes the same set as the others.
pub const TAKEN_AT_MOST: u64 = COUNTED_ON;
/// Of what comes in a height, this part may be late without a narrower room.
const LATE: u64 = 128;
/// A room's part that is divided among nobody: it is for newcomers without a duty.
const RESERVE: u64 = 16;
/// Heights after which a teller that has told nothing is forgotten.
const REMEMBERED: u64 = 8;
/// Tellers that are remembered.
const TELLERS_MAX: usize = 4_096;
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
struct Cost(Option<u64>);

impl Cost {
    fn learn(&mut self, work: Work, least: u64) {
        if work.count < least {
            return;
        }
        let now = (work.micros.saturating_mul(1_000) / work.count).max(1);
        self.0 = Some(match self.0 {
            None => now,
            Some(known) if now > known => known / 2 + now / 2,
            Some(known) => known / 4 * 3 + now / 4,
        });
    }

    /// How many transactions fit into this time; none if nothing was measured.
    fn fit(self, micros: u64) -> Option<u64> {
        self.0.map(|nanos| micros.saturating_mul(1_000) / nanos.max(1))
    }
}

/// What a teller has told and may tell.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// What it has told for each of the two heights that are told for.
    told: [(u64, u64); 2],
    /// The newest word that it was sent.
    room: Option<u64>,
    /// What it tells for a height, lately.
    used: u64,
    /// The last height that it has told for.
    last: u64,
}

impl Asked {
    fn told(&mut self, height: u64) -> &mut u64 {
        let place = (height % 2) as usize;
        if self.told[place].0 != height {
            self.told[place] = (height, 0);
        }
        &mut self.told[place].1
    }
}

/// What a teller may tell for a height before it was sent a word, on a chain of such slots. Teller and told compute the
/// same.
pub fn newcomer(slot_ms: u64) -> u64 {
    (slot_ms.saturating_mul(NEWCOMER_PER_SECOND) / 1_000).max(16)
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
    /// The height that is told for.
    height: u64,
    begun_ms: u64,
    /// Whether its own set is closed.
    closed: bool,
    /// What both threads have done for it.
    verified: Work,
    judged: Work,
    /// Told for it: in time, late.
    came: [u64; 2],
    /// Told for it by who has no duty and was sent no word.
    strangers: u64,
    verifying: Cost,
    judging: Cost,
    building: Cost,
    /// How long a height may be told for, lately.
    open_ms: u64,
    /// Beyond this something came late.
    ceiling: u64,
    /// More there is no room for, whatever was measured.
    most: u64,
    total: u64,
    tellers: BTreeMap<AccountIndex, Asked>,
}

impl Room {
    /// Of a chain of such slots; nothing is measured.
    pub fn new(slot_ms: u64) -> Room {
        Room {
            slot_ms,
            height: 0,
            begun_ms: 0,
            closed: false,
            verified: Work::default(),
            judged: Work::default(),
            came: [0; 2],
            strangers: 0,
            verifying: Cost::default(),
            judging: Cost::default(),
            building: Cost::default(),
            open_ms: slot_ms / 2,
            ceiling: u64::MAX,
            most: POOL_TRANSACTIONS_MAX as u64,
            total: Room::first(slot_ms),
            tellers: BTreeMap::new(),
        }
    }

    fn first(slot_ms: u64) -> u64 {
        (slot_ms.saturating_mul(FIRST_PER_SECOND) / 1_000).clamp(BUILT_LEAST as u64, POOL_TRANSACTIONS_MAX as u64)
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

    /// From now on this height is told for.
    pub fn begin(&mut self, height: u64, now_ms: u64) {
        if height == self.height {
            return;
        }
        assert!(height > self.height, "height {height} is told for after height {}", self.height);
        (self.height, self.begun_ms, self.closed) = (height, now_ms, false);
        (self.verified, self.judged, self.came, self.strangers) = (Work::default(), Work::default(), [0; 2], 0);
        self.tellers.retain(|_, asked| asked.last + REMEMBERED > height);
    }

    /// So many were verified, in this time in which somebody did and that was not said yet.
    pub fn verified(&mut self, count: usize, busy: Duration) {
        if !self.closed {
            self.verified.add(count, busy);
        }
    }

    /// So many were judged by consensus.
    pub fn judged(&mut self, count: usize, busy: Duration) {
        if !self.closed {
            self.judged.add(count, busy);
        }
    }

    /// A block of so many was built.
    pub fn built(&mut self, count: usize, busy: Duration) {
        let mut work = Work::default();
        work.add(count, busy);
        self.building.learn(work, self.total / MEASURED_PART);
    }

    /// So many came that were told for this height: too late if the own set is closed, or it is past.
    pub fn came(&mut self, height: u64, count: usize) {
        if height <= self.height {
            self.came[usize::from(self.closed || height < self.height)] += count as u64;
        }
    }

    /// How many of so many that somebody tells for a height are looked at: beyond twice its word the newest are dropped,
    /// before they cost a signature. `dutiful`: it has a seat, or was drawn; newcomers among the others have the reserve
    /// together.
    pub fn take(&mut self, height: u64, teller: AccountIndex, dutiful: bool, count: usize) -> usize {
        let known = self.tellers.contains_key(&teller);
        if !known && self.tellers.len() >= TELLERS_MAX {
            return 0;
        }
        let asked = self.tellers.entry(teller).or_default();
        asked.last = asked.last.max(height);
        let told = asked.told(height);
        let before = *told;
        *told = told.saturating_add(count as u64);
        let room = match asked.room {
            Some(room) => room.saturating_mul(TAKEN_AT_MOST),
            None if dutiful => newcomer(self.slot_ms),
            None => {
                let free = (self.total / RESERVE).saturating_sub(self.strangers);
                newcomer(self.slot_ms).min(before.saturating_add(free))
            }
        };
        let taken = room.saturating_sub(before).min(count as u64);
        if asked.room.is_none() && !dutiful {
            self.strangers += taken;
        }
        assert!(taken <= count as u64, "{taken} of {count} are looked at");
        taken as usize
    }

    /// The own set of a height is closed: what it was told is measured, and what it takes of the next height is told to
    /// each of those who tell it. Once a height. `build_ms`: how long building may take.
    pub fn close(&mut self, now_ms: u64, build_ms: u64) -> Vec<(AccountIndex, u64)> {
        if std::mem::replace(&mut self.closed, true) {
            return Vec::new();
        }
        let open_ms = now_ms.saturating_sub(self.begun_ms).min(self.slot_ms);
        self.open_ms = self.open_ms / 4 * 3 + open_ms / 4;
        let least = self.total / MEASURED_PART;
        self.verifying.learn(self.verified, least);
        self.judging.learn(self.judged, least);
        self.fit(build_ms);
        let divided = self.total - self.total / RESERVE;
        let (height, some) = (self.height, newcomer(self.slot_ms) / 4);
        let wants: Vec<u64> = self
            .tellers
            .values_mut()
            .map(|asked| {
                let told = *asked.told(height);
                asked.used = told.max(asked.used / 4 * 3);
                let room = asked.room.unwrap_or(0);
                // Who has told nearly all that it may would tell more.
                let wants_more = told > 0 && told >= room - room / 8;
                if wants_more { u64::MAX } else { asked.used + asked.used / 2 + some }
            })
            .collect();
        let rooms = divide(divided, &wants);
        let words = self.tellers.iter_mut().zip(rooms).map(|((&teller, asked), room)| {
            asked.room = Some(room);
            (teller, room)
        });
        words.collect()
    }

    /// How many transactions of the next height are taken, after what this one has shown.
    fn fit(&mut self, build_ms: u64) {
        let [in_time, late] = self.came;
        let (open_ms, costs) = (self.open_ms, [self.verifying, self.judging, self.building]);
        let fit = |(cost, ms): (Cost, u64)| cost.fit(ms.saturating_mul(1_000) / COUNTED_ON);
        let measured = costs.into_iter().zip([open_ms, open_ms, build_ms]).filter_map(fit).min();
        let first = Room::first(self.slot_ms);
        let grown = (in_time / 2).saturating_mul(3).max(first);
        if late > (in_time + late) / LATE {
            self.ceiling = (in_time / 8 * 7).max(self.total.min(self.ceiling) / 2);
        } else if in_time > self.ceiling / 2 {
            self.ceiling = self.ceiling.saturating_add(self.ceiling / 8);
        }
        let total = grown.min(measured.unwrap_or(first)).min(self.ceiling);
        self.total = total.clamp(BUILT_LEAST as u64, self.most);
    }

    /// How many can be built into a block in so many milliseconds: a set closes with no more. Room leaves twice that
    /// time, so that it comes to this only where a set closes late. In coarse steps, so that minters that have measured
    /// much the same close the same set.
    pub fn built_in(&self, ms: u64) -> usize {
        let most = self.most as usize;
        let Some(count) = self.building.fit(ms.saturating_mul(1_000)) else { return most };
        let count = usize::try_from(count).unwrap_or(usize::MAX).clamp(BUILT_LEAST, most);
        let step = 1 << count.ilog2();
        let coarse = (if count >= step + step / 2 { step + step / 2 } else { step }).max(BUILT_LEAST);
        assert!((BUILT_LEAST..=count).contains(&coarse), "{coarse} is no step below {count}");
        coarse
    }
}

// With small limits a pool holds less than what is taken here before anything is measured.
#[cfg(all(test, not(feature = "tiny-limits")))]
mod tests {
    use super::*;

    /// A minter that needs so long for each, told so many by each of these at a height; what it says to them.
    fn height(room: &mut Room, height: u64, micros: u64, tells: &[(u32, u64)]) -> Vec<(AccountIndex, u64)> {
        room.begin(height, height * 2_000 - 200);
        for &(teller, count) in tells {
            let taken = room.take(height, teller, true, count as usize);
            let fit = (1_300_000 / micros.max(1)).saturating_sub(room.came[0]).min(taken as u64);
            room.verified(fit as usize, Duration::from_micros(fit * micros));
            room.came(height, fit as usize);
            room.closed = true;
            room.came(height, taken - fit as usize);
            room.closed = false;
        }
        room.close(height * 2_000 + 1_140, 240)
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
        // 1.34 s, of which half is counted on.
        assert!((6_000..=6_700).contains(totals.last().unwrap()), "{totals:?}");
        assert!(totals.windows(2).all(|pair| pair[1] <= pair[0] / 2 * 3 + 3), "{totals:?}");
        // It becomes four times as slow, as when others work on the same computer: two heights later it says so.
        for of in 40..46 {
            height(&mut room, of, 400, &words);
        }
        assert!((1_500..=2_600).contains(&room.total()), "{}", room.total());
    }

    #[test]
    fn what_came_late_narrows_it_whatever_was_measured() {
        let mut room = Room::new(2_000);
        (1..6).for_each(|of| drop(height(&mut room, of, 10, &[(1, 20_000)])));
        let before = room.total();
        room.begin(6, 11_800);
        room.verified(20_000, Duration::from_millis(200));
        room.came(6, 20_000);
        room.closed = true;
        room.came(6, 10_000);
        room.closed = false;
        room.close(13_140, 240);
        assert!(room.total() < before && room.total() >= before / 2 - 1, "{before}, then {}", room.total());
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
        room.begin(20, 39_800);
        assert_eq!(room.take(20, 1, true, 1_000_000) as u64, of(1) * TAKEN_AT_MOST);
        assert_eq!(room.take(20, 1, true, 1), 0);
        assert_eq!(room.take(20, 9, true, 10_000) as u64, newcomer(2_000));
        // All who have no duty share the reserve.
        let strangers: usize = (100..200).map(|name| room.take(20, name, false, 10_000)).sum();
        assert!(strangers > 0 && strangers as u64 <= room.total() / RESERVE, "{strangers}");
    }

    #[test]
    fn a_set_closes_with_what_can_be_built_in_coarse_steps() {
        let mut room = Room::new(2_000);
        assert_eq!(room.built_in(240), POOL_TRANSACTIONS_MAX, "nothing was measured");
        room.built(10_000, Duration::from_millis(100));
        room.close(1_140, 20);
        assert_eq!(room.total(), 1_024, "20 ms are enough for no more than is taken anyhow");
        assert_eq!([room.built_in(240), room.built_in(160), room.built_in(1)], [16_384, 12_288, BUILT_LEAST]);
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
