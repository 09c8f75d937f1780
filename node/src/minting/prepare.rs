//! Users' transactions between network and consensus: bytes become cells, what cannot take effect is refused before it
//! costs a signature, the rest is verified in batches, on as many threads as there are cores for it.

use super::checks::Checks;
use super::entry::{Entry, Found, Raw, Ready, cost_of_transactions};
use super::gate::speaker;
use super::inbox::Inbox;
use super::places::Taken;
use super::prospect::Prospect;
use super::room::{Batch, is_past};
use super::verdicts::{BATCH_MAX, Hints};
use super::working::Working;
use crate::intake::asked::Whom;
use crate::intake::duties::{DutyTable, Rank, told_share};
use crate::intake::price::Failure;
use crate::intake::queue::Source;
use crate::intake::shares::{Holder, User};
use crate::peer::frames::{self, PeerFrameKind};
use crate::setup::clock::Clock;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::base::limits::HEAVY_MAX;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::transaction::arena::Arena;
use dynemix_engine::transaction::check::check_form;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::verify::Hint;
use dynemix_net::mesh::{Body, PeerInfo};
use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Of this node, and of verified transactions that it hands to consensus.
const OWN_CELLS: Source = Source(Rank::Own, 0);
/// Transactions that consensus is handed at a time, by what they cost there: no step of a slot waits for more.
const HANDED_ON: usize = cost_of_transactions(1_024);
/// Stakes of one guest that are looked at for a height; of who has a name, as many as a block takes.
const HEAVY_OF_GUEST: usize = 8;

/// Transactions are gathered into a batch for this part of the time until sets close,
pub(super) const GATHERED_OF_LEFT: u64 = 4;
/// for this part of a slot at least,
const GATHERED_LEAST: u64 = 100;
/// and for this part of one at most.
const GATHERED_MOST: u64 = 5;
/// Verifying a batch may take this part of the time that is left until sets close: what is gathered last is in time too.
const BATCH_OF_LEFT: u64 = 2;
/// So many make a batch however little time is left,
const BATCH_LEAST: usize = 2_048;
/// and however few were measured yet: nanoseconds that each is taken to cost.
const FIRST_NANOS: u64 = 25_000;

/// What the threads that verify users' transactions have in common.
#[derive(Default)]
pub struct Gathering {
    /// Those that verify now.
    working: Mutex<Working>,
    /// Whose turn it is to gather: one batch is filled after the other, while others are verified.
    turn: Mutex<()>,
    /// Proofs of possession that each has brought at this height.
    heavy: Mutex<(u64, BTreeMap<Option<Whom>, usize>)>,
}

impl Gathering {
    /// One more thread begins to work.
    pub fn begin(&self, now: Instant) {
        self.working().begin(now);
    }

    fn working(&self) -> MutexGuard<'_, Working> {
        self.working.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "whoever panics while it verifies ends the process";

/// What each of the threads works with.
pub struct Prepare {
    /// What it verifies with.
    pub checks: Checks,
    /// Says how long what has come may wait for more: a large batch costs a third of many small ones.
    pub clock: Clock,
    /// The steps of a slot; the nearer sets close, the less is waited.
    pub schedule: Schedule,
    /// Of the thread: votes come before new transactions.
    pub niceness: i32,
    /// Where transactions stand from here on.
    pub arena: Arc<Arena>,
    /// Shared with the others.
    pub gathering: Arc<Gathering>,
    /// Minters are told hints with what own users have handed in.
    pub hints: bool,
}

/// A frame of cells on its way: its items, and which ordinals they have.
pub struct Pending {
    from: Option<PeerInfo>,
    client: u64,
    user: User,
    told: Option<u64>,
    items: Vec<(u64, Item)>,
    found: Vec<Found>,
    /// What whoever tells them says of the items, and then of those that were found.
    hints: Vec<Option<Hint>>,
    refused: Vec<(u64, Refusal, Option<Item>)>,
    body: Option<Body>,
    places: Taken,
}

/// How long it is until sets close, or until a slot begins.
fn closing_ms(schedule: &Schedule, now_ms: u64) -> u64 {
    let Schedule { slot_ms, sets_ms, .. } = *schedule;
    let into_ms = now_ms % slot_ms;
    let closing_ms = if into_ms < sets_ms { sets_ms } else { slot_ms };
    closing_ms - into_ms
}

/// How long what has come may wait for more at this time: a part of what is left until minters are told nothing more, so
/// that what comes late is not held up.
pub fn gather_for(schedule: &Schedule, now_ms: u64) -> Duration {
    let (slot_ms, part_ms) = (schedule.slot_ms, closing_ms(schedule, now_ms) / GATHERED_OF_LEFT);
    Duration::from_millis(part_ms.clamp(slot_ms / GATHERED_LEAST, slot_ms / GATHERED_MOST))
}

/// How many transactions make a batch at this time if each costs so many nanoseconds: the larger, the less each costs.
pub fn batch_for(schedule: &Schedule, now_ms: u64, nanos: u64) -> usize {
    let nanos_left = (closing_ms(schedule, now_ms) / BATCH_OF_LEFT).saturating_mul(1_000_000);
    let count = usize::try_from(nanos_left / nanos.max(1)).unwrap_or(usize::MAX);
    count.clamp(BATCH_LEAST, BATCH_MAX)
}

/// How long transactions of own users may wait for more: somebody waits to hear whether they are taken.
pub fn own_waits_for(schedule: &Schedule) -> Duration {
    Duration::from_millis(schedule.slot_ms / GATHERED_LEAST)
}

/// How many transactions it brings, about.
pub fn count_of(raw: &Raw) -> usize {
    match raw {
        Raw::Frame(_, body) => frames::cells_about(body),
        Raw::Own(_, _, items) => items.len(),
        Raw::Bodies(..) | Raw::Height | Raw::Stop => 0,
    }
}

impl Prepare {
    /// Runs until told to stop. Several threads may read one inbox: each takes a batch in its turn, and verifies it while
    /// the next one fills another.
    pub fn run(mut self, input: &Inbox<Raw>) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        let (mut batch, mut waiting) = (Vec::new(), VecDeque::new());
        let mut nanos = FIRST_NANOS;
        while self.gather(input, nanos, &mut batch) {
            let begun = Instant::now();
            self.gathering.begin(begun);
            let mut reading = Duration::ZERO;
            for raw in batch.drain(..) {
                let begun = Instant::now();
                let pending = self.read(raw);
                if pending.as_ref().is_some_and(|pending| pending.told.is_some()) {
                    reading += begun.elapsed();
                }
                waiting.extend(pending);
            }
            let (ready, looked_at, work) = self.verify(&mut waiting, begun, reading);
            if !ready.is_empty() {
                self.checks.gate.room().verified(&work);
            }
            self.hand_on(ready);
            if looked_at >= BATCH_LEAST {
                let each = begun.elapsed().as_nanos() / looked_at as u128;
                nanos = nanos / 4 * 3 + u64::try_from(each).unwrap_or(u64::MAX) / 4;
            }
        }
    }

    /// Reads what users, or other nodes, have brought.
    pub fn read(&self, raw: Raw) -> Option<Pending> {
        match raw {
            // What somebody has sent before it was thrown out.
            Raw::Frame(from, _) if self.checks.gate.is_out(from) => None,
            Raw::Frame(from, body) => self.cells(from, body),
            Raw::Own(holder, client, items) => {
                let items = items.into_iter().map(|item| (0, item)).collect();
                Some(Pending { client, ..Pending::of(None, User { by_api: true, holder }, None, items) })
            }
            Raw::Bodies(..) | Raw::Height | Raw::Stop => None,
        }
    }

    /// Takes frames until they make a batch, or have waited for long enough. False when the node ends.
    fn gather(&self, input: &Inbox<Raw>, nanos: u64, batch: &mut Vec<Raw>) -> bool {
        let _turn = self.gathering.turn.lock().expect(UNPOISONED);
        let mut next = input.take(Duration::from_millis(200));
        let (begun, now_ms) = (Instant::now(), self.clock.now_ms());
        let (mut count, enough) = (0, batch_for(&self.schedule, now_ms, nanos));
        let mut gathered = begun + gather_for(&self.schedule, now_ms);
        while let Some(raw) = next {
            if matches!(raw, Raw::Stop) {
                // For the next thread.
                input.push_own(Raw::Stop);
                return false;
            }
            if matches!(raw, Raw::Own(..)) {
                gathered = begun + own_waits_for(&self.schedule);
            }
            count += count_of(&raw);
            batch.push(raw);
            let more = gathered.saturating_duration_since(Instant::now());
            next = if count < enough && !more.is_zero() { input.take(more) } else { None };
        }
        true
    }

    /// Reads a frame of cells; none of one that is not wanted, or is none.
    fn cells(&self, from: PeerInfo, body: Body) -> Option<Pending> {
        let read = PeerFrameKind::split(&body).filter(|(kind, _)| *kind == PeerFrameKind::Cells);
        // Ordinals are the client's to choose, but not beyond all numbers.
        let read = read.and_then(|(_, bytes)| frames::read_cells(bytes));
        let Some((told, first, mut cells)) =
            read.filter(|(_, first, cells)| first.checked_add(cells.len() as u64 + 1).is_some())
        else {
            self.checks.malformed(from, body.len());
            return None;
        };
        let duties = self.checks.gate.duties();
        let told = told.filter(|_| duties.of_name(from.name).named);
        let own = duties.own();
        let wanted = match told {
            None => true,
            Some(height) if height == duties.pending() => {
                // Nobody is told who has no seat: teller and told know the same committee.
                if own.seat.is_none() {
                    self.checks.gate.charge(from, Failure::Unwanted(body.len()));
                }
                own.seat.is_some()
            }
            // Whoever is a block ahead tells for the height after. Told by someone who is behind, or further ahead:
            // told again when it counts.
            Some(height) => height == duties.pending() + 1 && own.may_mint(),
        };
        if !wanted {
            if let Some((height, name)) = told.zip(from.name).filter(|told| told.0 < duties.pending()) {
                self.checks.gate.room().came(height, name, cells.len());
            }
            self.checks.gate.in_vain(from, body.len());
            return None;
        }
        if let (Some(height), Some(name)) = (told, from.name) {
            // What is beyond its room its node keeps: nobody's fault, since a word may be lost.
            let share = told_share(&duties.system, self.schedule.slot_ms, name, height);
            cells.truncate(self.checks.gate.room().take(height, name, share, cells.len()));
            if cells.is_empty() {
                self.checks.gate.in_vain(from, body.len());
                return None;
            }
        }
        let user = User { by_api: false, holder: Holder::of(from.net, from.id.0) };
        let mut pending = Pending::of(Some(from), user, told, Vec::with_capacity(cells.len()));
        for (ordinal, (cell, payload, hint)) in (first..).zip(&cells) {
            match check_form(cell, payload, &self.checks.chain.parameters) {
                Ok(()) => match Item::transaction_in(&self.arena, cell, payload) {
                    Some(item) => {
                        pending.items.push((ordinal, item));
                        // What nobody with a name has told is a user's.
                        pending.hints.push(hint.copied().filter(|_| told.is_some()));
                    }
                    None => pending.refused.push((ordinal, Refusal::Busy, None)),
                },
                Err(refusal) => pending.refused.push((ordinal, refusal, None)),
            }
        }
        pending.body = Some(body);
        Some(pending)
    }

    /// A height may have become final while they waited: what was told for it costs no signature any more.
    fn drop_past(&self, pending_height: u64, waiting: &mut VecDeque<Pending>) {
        waiting.retain(|pending| {
            let past = is_past(pending.told, pending_height);
            let name = pending.from.and_then(|from| from.name);
            if let Some((height, name)) = pending.told.zip(name).filter(|_| past) {
                self.checks.gate.room().came(height, name, pending.items.len());
            }
            !past
        });
    }

    /// Verifies what waits, each frame with what was refused of it; how many were looked at, and what that took. `began`: when it began to
    /// read them, as one of the threads that work; `reading`: what the frames of what is told have taken.
    pub fn verify(
        &mut self,
        waiting: &mut VecDeque<Pending>,
        began: Instant,
        reading: Duration,
    ) -> (Vec<Ready>, usize, Batch) {
        let duties = self.checks.gate.duties();
        let height = duties.pending();
        self.drop_past(height, waiting);
        let mut work = Batch { height, reading, ..Batch::default() };
        if waiting.is_empty() {
            self.gathering.working().end(Instant::now());
            return (Vec::new(), 0, Batch::default());
        }
        let begun = Instant::now();
        work.items = waiting.iter().map(|pending| pending.items.len()).sum();
        self.look_up(&duties, waiting);
        work.looking = begun.elapsed();
        let told = waiting.iter().filter(|pending| pending.told == Some(height));
        work.told = told.map(|pending| pending.found.len()).sum();
        let all: Vec<&Item> = waiting.iter().flat_map(|pending| pending.found.iter().map(|found| &found.1)).collect();
        let (begun, before) = (Instant::now(), self.checks.verifier.counters().signatures);
        let mut hints = self.hints_of(waiting);
        let (count, bad) = (all.len(), self.checks.verify_hinted(&all, &mut hints));
        work.verifying = begun.elapsed();
        work.signatures = (self.checks.verifier.counters().signatures - before) as usize;
        let ended = Instant::now();
        (work.took, work.worked) = (ended - began, self.gathering.working().end(ended));
        let mut bad = bad.into_iter().peekable();
        let mut wrong = hints.wrong.iter().copied().peekable();
        let mut place = 0;
        let mut all_ready = Vec::with_capacity(waiting.len());
        for Pending { from, client, user, told, found, mut refused, body, places, .. } in waiting.drain(..) {
            let mut good = Vec::with_capacity(found.len());
            let (mut broken, mut unproved, mut misled) = (0, 0, 0);
            let keeps_hints = hints.wanted && told.is_none();
            let mut good_hints = Vec::with_capacity(if keeps_hints { found.len() } else { 0 });
            for (ordinal, item, prospect) in found {
                misled += usize::from(wrong.next_if_eq(&place).is_some());
                if bad.next_if_eq(&place).is_some() {
                    refused.push((ordinal, Refusal::BadSignature, Some(item)));
                    broken += 1;
                } else {
                    match self.possession(&duties, from, &item, prospect.account) {
                        Ok(()) => {
                            good.push((ordinal, item, prospect));
                            good_hints.extend(keeps_hints.then(|| hints.found[place]));
                        }
                        Err((refusal, lied)) => {
                            unproved += usize::from(lied);
                            refused.push((ordinal, refusal, Some(item)));
                        }
                    }
                }
                place += 1;
            }
            if let Some(from) = from {
                let broken_is = if told.is_some() { Failure::ToldSignatures } else { Failure::Signatures };
                let failures = [(broken, broken_is(broken)), (misled, Failure::ToldHints(misled))];
                for (count, failure) in failures.into_iter().chain([(unproved, Failure::Possessions(unproved))]) {
                    (count > 0).then(|| self.checks.gate.charge(from, failure));
                }
            }
            all_ready.push(Ready { from, client, user, told, good, hints: good_hints, refused, body, places });
        }
        assert_eq!(bad.next(), None, "a bad signature belongs to none of the transactions that were gathered");
        assert_eq!(place, count, "each transaction that was gathered has had its verdict");
        (all_ready, count, work)
    }

    /// What others say of the signatures that wait, and whether hints are wanted of them: minters are told what own users
    /// have handed in.
    fn hints_of(&self, waiting: &VecDeque<Pending>) -> Hints {
        let wanted = self.hints && waiting.iter().any(|pending| pending.told.is_none());
        let is_said = waiting.iter().any(|pending| pending.hints.iter().any(Option::is_some));
        let all = waiting.iter().flat_map(|pending| pending.hints.iter().copied());
        Hints { said: if is_said { all.collect() } else { Vec::new() }, wanted, ..Hints::default() }
    }

    /// Hands on to consensus what was verified, a part after the other; waits a little while there is too much before it.
    pub fn hand_on(&self, ready: Vec<Ready>) {
        let (mut batch, mut cost) = (Vec::new(), 0);
        let mut ready = ready.into_iter().peekable();
        while let Some(frame) = ready.next() {
            cost += cost_of_transactions(frame.good.len() + frame.refused.len());
            batch.push(frame);
            if cost >= HANDED_ON || ready.peek().is_none() {
                self.checks.wait_for_room();
                self.checks.inbox.push(OWN_CELLS, take(&mut cost), Entry::Cells(take(&mut batch)));
            }
        }
    }

    /// Account, time, sequence and balance, before any signature: nobody who has no account, or sends again what has
    /// been, costs one.
    fn look_up(&self, duties: &DutyTable, waiting: &mut VecDeque<Pending>) {
        let sender = |item: &Item| item.cell().map_or([0; 32], |cell| cell.sender);
        let recipient = |item: &Item| item.cell().map_or([0; 32], |cell| cell.recipient);
        let senders: Vec<Key> =
            waiting.iter().flat_map(|pending| pending.items.iter().map(|(_, item)| sender(item))).collect();
        // Only own users' are looked at so closely: what is told was by the node that tells it.
        let own_users = waiting.iter().filter(|pending| pending.told.is_none());
        let recipients: Vec<Key> =
            own_users.flat_map(|pending| pending.items.iter().map(|(_, item)| recipient(item))).collect();
        // All at once: each look-up waits for memory, many of them wait together.
        let (mut accounts, mut payees) = (vec![None; senders.len()], vec![None; recipients.len()]);
        let own = duties.own().seat.map(usize::from);
        self.checks.view(duties, |view| {
            view.state.find_all(senders.len(), |i| &senders[i], &mut accounts);
            view.state.find_all(recipients.len(), |i| &recipients[i], &mut payees);
            let (mut accounts, mut payees) = (accounts.iter(), payees.iter());
            for pending in waiting {
                assert!(pending.found.is_empty(), "a frame of cells is looked up once");
                let here = pending.told == Some(duties.pending());
                let wanted = if pending.told.is_none() { pending.items.len() } else { 0 };
                let mut places = self.checks.gate.places().take(wanted);
                let mut used = 0;
                let hints = take(&mut pending.hints);
                for ((ordinal, item), hint) in pending.items.drain(..).zip(hints) {
                    let account: Option<AccountIndex> = *accounts.next().expect("one for each item");
                    let payee = pending.told.is_none().then(|| *payees.next().expect("one for each own user's item"));
                    let account = account.ok_or(Refusal::UnknownSender);
                    let judged = account
                        .and_then(|account| Prospect::of(&item, account, view.chain, view.state, view.system))
                        .and_then(|prospect| {
                            // Of another shard; or what no block can take though its turn has come, of an own user.
                            let foreign = here && own != Some(prospect.shard);
                            let due = pending.told.is_none() && prospect.due;
                            if foreign {
                                return Err(Refusal::Inadmissible);
                            }
                            if due {
                                view.fits_to(&item, prospect.account, payee.flatten())?;
                            }
                            // What would find no place among own users' costs no signature. Of what has cost one
                            // already somebody may want to hear again, after a restart.
                            let is_full = used == places.count();
                            if pending.told.is_none() && is_full && !self.checks.verdicts.knows(&item.id()) {
                                return Err(Refusal::Busy);
                            }
                            used += usize::from(due && !is_full);
                            Ok(prospect)
                        });
                    match judged {
                        Ok(prospect) => {
                            pending.found.push((ordinal, item, prospect));
                            pending.hints.push(hint);
                        }
                        Err(refusal) => pending.refused.push((ordinal, refusal, Some(item))),
                    }
                }
                places.keep(used);
                pending.places = places;
            }
        });
    }

    /// Whether a stake proves its voting key, before anybody is told of it; else the refusal, and whether whoever
    /// brought it lied. Only of an account that may stake: then each costs whoever brings it something.
    fn possession(
        &mut self,
        duties: &DutyTable,
        from: Option<PeerInfo>,
        item: &Item,
        account: AccountIndex,
    ) -> Result<(), (Refusal, bool)> {
        if !item.is_heavy() {
            return Ok(());
        }
        self.checks.view(duties, |view| view.fits(item, account)).map_err(|refusal| (refusal, false))?;
        let rank = from.map_or(Rank::Own, |from| self.checks.gate.duties_of(from).rank());
        let max = if rank == Rank::Guest { HEAVY_OF_GUEST } else { HEAVY_MAX };
        let brought = {
            let mut heavy = self.gathering.heavy.lock().expect(UNPOISONED);
            if heavy.0 != duties.pending() {
                *heavy = (duties.pending(), BTreeMap::new());
            }
            let brought = heavy.1.entry(from.map(|from| speaker(from).whom())).or_insert(0);
            *brought += 1;
            *brought
        };
        match () {
            () if brought > max => Err((Refusal::Busy, false)),
            () if self.checks.possession_holds(item) => Ok(()),
            () => Err((Refusal::VoteKeyUnproved, true)),
        }
    }
}

impl Pending {
    fn of(from: Option<PeerInfo>, user: User, told: Option<u64>, items: Vec<(u64, Item)>) -> Pending {
        let (found, refused, body, places) = (Vec::new(), Vec::new(), None, Taken::default());
        let hints = vec![None; items.len()];
        Pending { from, client: 0, user, told, items, found, hints, refused, body, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_engine::base::parameters::{ChainParameters, SubSlots};

    #[test]
    fn what_comes_late_is_not_held_up() {
        let mut parameters = ChainParameters { slot_ms: 10_000, ..ChainParameters::default() };
        parameters.consensus.sub_slots = SubSlots::LOCAL;
        let schedule = Schedule::of(&parameters);
        let gather = |into_ms: u64| gather_for(&schedule, 70_000 + into_ms).as_millis();
        assert_eq!([gather(0), gather(5_500)], [1_425, 100], "long before sets close, and shortly before");
        assert_eq!(gather(3_700), 500);
        assert_eq!([gather(schedule.sets_ms), gather(9_999)], [1_075, 100], "and for the next height again");
    }

    #[test]
    fn a_batch_takes_half_of_the_time_that_is_left() {
        let mut parameters = ChainParameters { slot_ms: 1_000, ..ChainParameters::default() };
        parameters.consensus.sub_slots = SubSlots::LOCAL;
        let schedule = Schedule::of(&parameters);
        let batch = |into_ms: u64, nanos: u64| batch_for(&schedule, 9_000 + into_ms, nanos);
        assert_eq!(batch(schedule.sets_ms - 200, 20_000), 5_000, "100 ms at 20 us each");
        assert_eq!(batch(schedule.sets_ms - 200, 40_000), 2_500, "and at twice the price half as many");
        assert_eq!(batch(schedule.sets_ms - 1, 20_000), BATCH_LEAST, "few cost more each, so never fewer");
        assert_eq!([batch(0, 1), batch(0, 0)], [BATCH_MAX; 2], "nor more than buffers are for");
    }
}
