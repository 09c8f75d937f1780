//! Users' transactions between network and consensus: bytes become cells, what cannot take effect is refused before it
//! costs a signature, the rest is verified in batches. Behind it, what custodians have to look at.

use super::checks::{Checks, UNPOISONED};
use super::entry::{Entry, Raw, Ready, cost_of_transactions};
use super::gate::speaker;
use super::inbox::Inbox;
use super::pool::may_come;
use super::verdicts::BATCH_MAX;
use crate::intake::asked::Whom;
use crate::intake::duties::{DutyTable, Rank};
use crate::intake::price::Failure;
use crate::intake::queue::Source;
use crate::intake::shares::{Holder, User};
use crate::peer::frames::{self, PeerFrameKind};
use crate::setup::clock::Clock;
use dynemix_engine::base::ids::{AccountIndex, Key};
use dynemix_engine::base::limits::HEAVY_MAX;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::committee::schedule::Schedule;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::check::check_form;
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::{Body, PeerInfo};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Of this node, and of verified transactions that it hands to consensus.
const OWN_CELLS: Source = Source(Rank::Own, 0);
/// Stakes of one guest that are looked at for a height; of who has a name, as many as a block takes.
const HEAVY_OF_GUEST: usize = 8;

/// Transactions of a block that is not final that are verified before it is looked whether they hold.
const BODIES_AT_ONCE: usize = 1_024;

/// Transactions are gathered into a batch for this part of the time until sets close,
const GATHERED_OF_LEFT: u64 = 4;
/// for this part of a slot at least,
const GATHERED_LEAST: u64 = 100;
/// and for this part of one at most.
const GATHERED_MOST: u64 = 5;

/// What the thread works with.
pub struct Prepare {
    /// What it verifies with.
    pub checks: Checks,
    /// Says how long what has come may wait for more: a large batch costs a third of many small ones.
    pub clock: Clock,
    /// The steps of a slot; the nearer sets close, the less is waited.
    pub schedule: Schedule,
    /// Of the thread: votes come before new transactions.
    pub niceness: i32,
    /// Proofs of possession that each has brought at this height.
    pub heavy: (u64, BTreeMap<Option<Whom>, usize>),
}

/// A transaction that may come into a block, with its ordinal and its sender's account.
type Found = (u64, Item, AccountIndex);

/// A frame of cells on its way: its items, and which ordinals they have.
struct Pending {
    from: Option<PeerInfo>,
    user: User,
    told: Option<u64>,
    items: Vec<(u64, Item)>,
    found: Vec<Found>,
    refused: Vec<(u64, Refusal, Option<Item>)>,
    body: Option<Body>,
}

/// How long what has come may wait for more at this time: a part of what is left until minters are told nothing more, so
/// that what comes late is not held up.
fn gather_for(schedule: &Schedule, now_ms: u64) -> Duration {
    let Schedule { slot_ms, sets_ms, .. } = *schedule;
    let into_ms = now_ms % slot_ms;
    let closing_ms = if into_ms < sets_ms { sets_ms } else { slot_ms };
    let part_ms = (closing_ms - into_ms) / GATHERED_OF_LEFT;
    Duration::from_millis(part_ms.clamp(slot_ms / GATHERED_LEAST, slot_ms / GATHERED_MOST))
}

impl Prepare {
    /// Runs until told to stop.
    pub fn run(mut self, input: &Inbox<Raw>) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        let mut waiting: VecDeque<Pending> = VecDeque::new();
        loop {
            let Some(raw) = input.take(Duration::from_millis(200)) else { continue };
            // Cells of many frames make one batch.
            let mut next = Some(raw);
            let begun = Instant::now();
            let (mut count, mut gathered) = (0, begun + gather_for(&self.schedule, self.clock.now_ms()));
            while let Some(raw) = next.take() {
                match raw {
                    // What somebody has sent before it was thrown out.
                    Raw::Frame(from, _) | Raw::Bodies(from, ..) if self.checks.gate.is_out(from) => {}
                    Raw::Frame(from, body) => {
                        if let Some(pending) = self.cells(from, body) {
                            count += pending.items.len();
                            waiting.push_back(pending);
                        }
                    }
                    Raw::Own(holder, items) => {
                        // Somebody waits to hear whether they are taken.
                        gathered = begun + Duration::from_millis(self.schedule.slot_ms / GATHERED_LEAST);
                        count += items.len();
                        let items = items.into_iter().map(|item| (0, item)).collect();
                        waiting.push_back(Pending::of(None, User { by_api: true, holder }, None, items));
                    }
                    Raw::Bodies(from, message, body) => {
                        self.flush(&mut waiting);
                        count = 0;
                        self.bodies(from, message, body);
                    }
                    Raw::Height => {}
                    Raw::Stop => return,
                }
                let more = gathered.saturating_duration_since(Instant::now());
                if count < BATCH_MAX && !more.is_zero() {
                    next = input.take(more);
                }
            }
            self.flush(&mut waiting);
        }
    }

    /// Reads a frame of cells; none of one that is not wanted, or is none.
    fn cells(&self, from: PeerInfo, body: Body) -> Option<Pending> {
        let read = PeerFrameKind::split(&body).filter(|(kind, _)| *kind == PeerFrameKind::Cells);
        // Ordinals are the client's to choose, but not beyond all numbers.
        let read = read.and_then(|(_, bytes)| frames::read_cells(bytes));
        let Some((told, first, cells)) =
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
            self.checks.gate.in_vain(from, body.len());
            return None;
        }
        let user = User { by_api: false, holder: Holder::of(from.net, from.id.0) };
        let mut pending = Pending::of(Some(from), user, told, Vec::with_capacity(cells.len()));
        for (ordinal, (cell, payload)) in (first..).zip(&cells) {
            match check_form(cell, payload, &self.checks.chain.parameters) {
                Ok(()) => pending.items.push((ordinal, Item::transaction(cell, payload))),
                Err(refusal) => pending.refused.push((ordinal, refusal, None)),
            }
        }
        pending.body = Some(body);
        Some(pending)
    }

    /// Verifies what waits and hands it on, each frame with what was refused of it.
    fn flush(&mut self, waiting: &mut VecDeque<Pending>) {
        let duties = self.checks.gate.duties();
        // A height may have become final while they waited: what was told for it costs no signature any more.
        waiting.retain(|pending| pending.told.is_none_or(|told| told >= duties.pending()));
        if waiting.is_empty() {
            return;
        }
        self.look_up(&duties, waiting);
        let all: Vec<Item> =
            waiting.iter().flat_map(|pending| pending.found.iter().map(|found| found.1.clone())).collect();
        let bad = self.checks.verify(&all);
        let mut bad = bad.into_iter().peekable();
        let mut place = 0;
        let mut batch = Vec::with_capacity(waiting.len());
        for Pending { from, user, told, found, mut refused, body, .. } in waiting.drain(..) {
            let mut good = Vec::with_capacity(found.len());
            let (mut broken, mut unproved) = (0, 0);
            for (ordinal, item, account) in found {
                if bad.next_if_eq(&place).is_some() {
                    refused.push((ordinal, Refusal::BadSignature, Some(item)));
                    broken += 1;
                } else {
                    match self.possession(&duties, from, &item, account) {
                        Ok(()) => good.push((ordinal, item, Some(account))),
                        Err((refusal, lied)) => {
                            unproved += usize::from(lied);
                            refused.push((ordinal, refusal, Some(item)));
                        }
                    }
                }
                place += 1;
            }
            if let Some(from) = from {
                let charge = |failure: Failure| self.checks.gate.charge(from, failure);
                (broken > 0).then(|| charge(Failure::Signatures(broken)));
                (unproved > 0).then(|| charge(Failure::Possessions(unproved)));
            }
            batch.push(Ready { from, user, told, good, refused, body });
        }
        assert_eq!(bad.next(), None, "a bad signature belongs to none of the transactions that were gathered");
        assert_eq!(place, all.len(), "each transaction that was gathered has had its verdict");
        self.checks.wait_for_room();
        self.checks.inbox.push(OWN_CELLS, cost_of_transactions(all.len()), Entry::Cells(batch));
    }

    /// Account, time, sequence and balance, before any signature: nobody who has no account, or sends again what has
    /// been, costs one.
    fn look_up(&self, duties: &DutyTable, waiting: &mut VecDeque<Pending>) {
        let (chain, system) = (&self.checks.chain, &*duties.system);
        let sender = |item: &Item| item.cell_and_payload().map_or([0; 32], |(cell, _)| cell.sender);
        let senders: Vec<Key> =
            waiting.iter().flat_map(|pending| pending.items.iter().map(|(_, item)| sender(item))).collect();
        // All at once: each look-up waits for memory, many of them wait together.
        let mut accounts = vec![None; senders.len()];
        let state = self.checks.state.read().expect(UNPOISONED);
        state.find_all(senders.len(), |i| &senders[i], &mut accounts);
        let mut accounts = accounts.into_iter();
        let (shards, own) = (system.committee.shards.len(), duties.own().seat.map(usize::from));
        for pending in waiting {
            assert!(pending.found.is_empty(), "a frame of cells is looked up once");
            let here = pending.told == Some(duties.pending());
            for (ordinal, item) in pending.items.drain(..) {
                let account: Option<AccountIndex> = accounts.next().expect("one for each item");
                let Some((cell, payload)) = item.cell_and_payload() else { continue };
                let judged = match account {
                    None => Err(Refusal::UnknownSender),
                    Some(_) if here && own != Some(shard_of(&system.seed, &cell.sender, shards)) => {
                        Err(Refusal::Inadmissible)
                    }
                    Some(account) => may_come(cell, payload, account, chain, &state, system).map(|_| account),
                };
                match judged {
                    Ok(account) => pending.found.push((ordinal, item, account)),
                    Err(refusal) => pending.refused.push((ordinal, refusal, Some(item))),
                }
            }
        }
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
        if !self.checks.view(duties, |view| view.fits(item, account)) {
            return Err((Refusal::Inadmissible, false));
        }
        if self.heavy.0 != duties.pending() {
            self.heavy = (duties.pending(), BTreeMap::new());
        }
        let rank = from.map_or(Rank::Own, |from| self.checks.gate.duties_of(from).rank());
        let max = if rank == Rank::Guest { HEAVY_OF_GUEST } else { HEAVY_MAX };
        let brought = self.heavy.1.entry(from.map(|from| speaker(from).whom())).or_insert(0);
        *brought += 1;
        match () {
            () if *brought > max => Err((Refusal::Busy, false)),
            () if self.checks.possession_holds(item) => Ok(()),
            () => Err((Refusal::Inadmissible, true)),
        }
    }

    /// Transactions of a shard-block, for a custodian: those that were not asked for, or are of another block, are not
    /// verified.
    fn bodies(&mut self, from: PeerInfo, message: Box<Message>, body: Body) {
        let Message::Bodies(block, items) = &*message else { return };
        let duties = self.checks.gate.duties();
        match self.checks.bodies_hold(&duties, block, items) {
            Some(false) => return self.checks.gate.charge(from, Failure::OtherItems(body.len())),
            // A broken one among the true transactions of a block is what custodians look for: nobody pays for it.
            Some(true) => drop(self.checks.verify(items)),
            None => {
                // Its minters send it before the block is final: they have built it, and nothing in it is broken. Who
                // lies is found out by the first few, not by all.
                for few in items.chunks(BODIES_AT_ONCE) {
                    if !self.checks.verify(few).is_empty() {
                        return self.checks.gate.charge(from, Failure::Signatures(few.len()));
                    }
                }
            }
        }
        self.checks.hand_on(from, message, body);
    }
}

impl Pending {
    fn of(from: Option<PeerInfo>, user: User, told: Option<u64>, items: Vec<(u64, Item)>) -> Pending {
        Pending { from, user, told, items, found: Vec::new(), refused: Vec::new(), body: None }
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
}
