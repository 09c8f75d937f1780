//! What became of the transactions that came by the API: checkpoint by checkpoint, for those who ask.
//!
//! Two sides with a channel between. The consensus thread has [`super::watched::Watched`], cells and no words, and says
//! what happens to each; whoever asks has [`Tracked`], which hears it. So neither waits for the other.
//!
//! Whoever sends junk must not make the node forget what others wait for:
//!
//! * what nobody has judged yet is bounded, and no client has more of it than is free for all others;
//! * what was refused is remembered for a minute, in places of its own;
//! * of the rest, what has ended goes first, the oldest before the others; if all still waits, the oldest of the client
//!   that has the most.

use super::rows::buckets;
use super::watched::{Happened, News};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::refusal::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::take;
use std::sync::mpsc::Receiver;

/// Transactions that are remembered.
const TRACKED_MAX: usize = 8_192;
/// Of those that were handed in, so many may wait to be verified.
const UNJUDGED_MAX: usize = 4_096;
/// Refused ones that are remembered, and for how long.
const REFUSED_MAX: usize = 2_048;
const REFUSED_MS: u64 = 60_000;

/// Whose those are that an earlier process has accepted: of a client whose connection has gone.
const OF_BEFORE: u64 = u64::MAX;

const STATES: [&str; 8] = ["waiting", "certified", "final", "replaced", "used", "void", "refused", "expired"];

/// How far a transaction is. Times are milliseconds since the chain's start, `start_unix_ms` of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransactionShown {
    /// `waiting`: it was handed in. `certified`: a shard-block is certified that takes from its sender. `final`: it stands
    /// in the final block of `height`. `replaced`: another transaction of its sender with its sequence stands there.
    /// `used`: its sequence is used up by the block of `height`, of which this node has no transactions: a minter of
    /// `shard` is asked by which. `void`: it is final, and what it was to do does not happen; `void` says why.
    /// `refused` and `expired`: it stands in no block.
    #[schemars(extend("enum" = STATES))]
    pub state: String,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The id of the transaction that stands where this one was to stand.
    #[serde(default)]
    pub replaced_by: Option<String>,
    /// Why what is final has no effect: `name_taken`, `stake_not_admitted`, `banned`.
    #[serde(default)]
    pub void: Option<String>,
    /// Units that its sender has back.
    #[serde(default)]
    pub refunded_units: Option<u64>,
    /// When it came.
    pub received_ms: u64,
    /// When it was found to be sound and was on this node's disk: a node that ends and starts again still has it.
    #[serde(default)]
    pub accepted_ms: Option<u64>,
    /// When its shard-block was certified.
    pub certified_ms: Option<u64>,
    /// When that block was final.
    pub final_ms: Option<u64>,
    /// Height of its block.
    pub height: Option<u64>,
    /// Slot of its block.
    pub slot: Option<u64>,
    /// The shard that its sender belonged to at that height.
    pub shard: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has looked at it yet.
    Unjudged,
    Waiting,
    Refused,
    /// Final, expired or given up.
    Ended,
}

struct Entry {
    stage: Stage,
    /// Whose copy of it was judged.
    client: u64,
    /// Whose copies of it are on their way to be judged.
    on_their_way: Vec<u64>,
    /// When the first of these came.
    handed_in_ms: u64,
    shown: TransactionShown,
}

impl Entry {
    /// No block takes it; but it may be handed in again.
    fn is_given_up(&self) -> bool {
        self.stage == Stage::Ended && self.shown.refusal.is_some()
    }
}

impl TransactionShown {
    fn waiting(received_ms: u64) -> TransactionShown {
        TransactionShown { state: "waiting".into(), received_ms, ..TransactionShown::default() }
    }
}

/// Those that are remembered, as their users see them.
pub struct Tracked {
    told: Receiver<News>,
    entries: HashMap<Hash, Entry>,
    /// Of each client what waits.
    rows: HashMap<u64, Row>,
    /// Clients by how much of theirs waits, and all together.
    most: BTreeSet<(usize, u64)>,
    waiting: usize,
    /// In the order in which they ended.
    ended: VecDeque<Hash>,
    /// In the order in which they were refused, with when.
    refused: VecDeque<(u64, Hash)>,
    /// Copies on their way, in all and of each client.
    unjudged: usize,
    unjudged_of: HashMap<u64, usize>,
    /// Whose copies had broken signatures, since it was asked.
    broken: Vec<u64>,
    version: u64,
}

/// What waits of one client.
#[derive(Default)]
struct Row {
    count: usize,
    /// As they came; some have ended since, and are passed over.
    order: VecDeque<Hash>,
}

/// Why a transaction is not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyUnjudged;

/// Bytes of the words that say how far one is.
const WORDS: usize = 32;

impl Tracked {
    /// Bytes of all that is remembered: those that wait or have ended, those that were refused, those that nobody has
    /// judged.
    pub(super) fn bytes() -> usize {
        let most = TRACKED_MAX + REFUSED_MAX + UNJUDGED_MAX;
        buckets(most) * (size_of::<(Hash, Entry)>() + 1) + most * (WORDS + 2 * size_of::<Hash>() + size_of::<News>())
    }

    /// Nothing yet; what happens is heard from `told`.
    pub(super) fn new(told: Receiver<News>) -> Tracked {
        Tracked {
            told,
            entries: HashMap::new(),
            rows: HashMap::new(),
            most: BTreeSet::new(),
            waiting: 0,
            ended: VecDeque::new(),
            refused: VecDeque::new(),
            unjudged: 0,
            unjudged_of: HashMap::new(),
            broken: Vec::new(),
            version: 0,
        }
    }

    /// How far a transaction is; none if it was not handed in here, or is forgotten. While a copy of it is to be judged
    /// it waits, whatever was said of copies before: these may have been signed by somebody else.
    pub fn shown(&self, id: &Hash) -> Option<TransactionShown> {
        let entry = self.entries.get(id)?;
        let is_open = matches!(entry.stage, Stage::Unjudged | Stage::Refused) || entry.is_given_up();
        Some(match is_open && !entry.on_their_way.is_empty() {
            true => TransactionShown::waiting(entry.handed_in_ms),
            false => entry.shown.clone(),
        })
    }

    /// Changes whenever something has happened to one of them.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whose transactions had broken signatures since the last time, once for each.
    pub fn take_broken(&mut self) -> Vec<u64> {
        take(&mut self.broken)
    }

    /// A client hands one in, which is to be judged.
    ///
    /// # Errors
    /// When as many wait as are free for all others: it is to be handed in again later.
    pub fn hand_in(&mut self, client: u64, id: Hash, now_ms: u64) -> Result<(), TooManyUnjudged> {
        let of = self.unjudged_of.get(&client).copied().unwrap_or(0);
        // One that has none waiting is always let in: so many connections there are not.
        if of > 0 && of >= UNJUDGED_MAX.saturating_sub(self.unjudged) {
            return Err(TooManyUnjudged);
        }
        *self.unjudged_of.entry(client).or_insert(0) += 1;
        self.unjudged += 1;
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            stage: Stage::Unjudged,
            client,
            on_their_way: Vec::new(),
            handed_in_ms: now_ms,
            shown: TransactionShown::default(),
        });
        if entry.on_their_way.is_empty() {
            entry.handed_in_ms = now_ms;
        }
        entry.on_their_way.push(client);
        Ok(())
    }

    /// Hears what has happened since the last time.
    pub(super) fn hear(&mut self) {
        while let Ok((id, now_ms, happened)) = self.told.try_recv() {
            self.version += 1;
            match happened {
                Happened::Resumed => self.resumed(id, now_ms),
                Happened::Judged(client, outcome) => self.judged(id, now_ms, client, outcome),
                Happened::Certified { height, shard } => self.certified(id, now_ms, height, shard),
                Happened::Void { why, refunded } => self.voided(&id, why, refunded),
                ends => self.ends(id, now_ms, ends),
            }
            self.forget_refused(now_ms);
        }
        while self.waiting + self.ended.len() > TRACKED_MAX {
            self.forget_one();
        }
        let others = self.unjudged + self.refused.len();
        let known = self.entries.len();
        assert!(known <= TRACKED_MAX + others, "{known} are remembered, {others} of them for a while");
    }

    fn resumed(&mut self, id: Hash, now_ms: u64) {
        if self.entries.contains_key(&id) {
            return;
        }
        let shown = TransactionShown { accepted_ms: Some(now_ms), ..TransactionShown::waiting(now_ms) };
        let stage = Stage::Waiting;
        let entry = Entry { stage, client: OF_BEFORE, on_their_way: Vec::new(), handed_in_ms: now_ms, shown };
        self.entries.insert(id, entry);
        self.enqueue(OF_BEFORE, id);
    }

    /// A copy is on its way no more: in any order, since many threads look at what was handed in.
    fn arrived(&mut self, client: u64, id: &Hash) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let Some(place) = entry.on_their_way.iter().position(|&of| of == client) else { return false };
        entry.on_their_way.remove(place);
        assert!(self.unjudged > 0, "a copy is judged that nobody has counted");
        self.unjudged -= 1;
        let of = self.unjudged_of.get_mut(&client).expect("counted when it was handed in");
        *of -= 1;
        if *of == 0 {
            self.unjudged_of.remove(&client);
        }
        true
    }

    /// What a client has handed in found no place on its way: nobody judges it.
    pub fn take_back(&mut self, client: u64, id: &Hash) {
        self.arrived(client, id);
        let is_nothing = |entry: &Entry| entry.stage == Stage::Unjudged && entry.on_their_way.is_empty();
        if self.entries.get(id).is_some_and(is_nothing) {
            self.entries.remove(id);
        }
    }

    /// What a client has handed in waited to be looked at, and had to go: whoever asks is told that there was no room for it.
    pub fn refuse_unseen(&mut self, client: u64, id: &Hash, now_ms: u64) {
        if self.entries.get(id).is_some_and(|entry| entry.on_their_way.contains(&client)) {
            self.version += 1;
            self.judged(*id, now_ms, client, Err(Refusal::Busy));
            self.forget_refused(now_ms);
        }
    }

    fn judged(&mut self, id: Hash, now_ms: u64, client: u64, outcome: Result<(), Refusal>) {
        let was_handed_in = self.arrived(client, &id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // Whose copy it was counts for it.
        if was_handed_in {
            if entry.is_given_up() || matches!(entry.stage, Stage::Unjudged | Stage::Refused) {
                entry.client = client;
            }
            if outcome == Err(Refusal::BadSignature) {
                self.broken.push(client);
            }
        }
        // One that was given up may be handed in again, and is good perhaps.
        let has_ended = entry.stage == Stage::Ended && !entry.is_given_up();
        let known = entry.stage == Stage::Waiting || has_ended;
        let others = !entry.on_their_way.is_empty();
        match outcome {
            // What waits or has ended has its outcome; a copy with a broken signature changes nothing of it.
            _ if known => {}
            Ok(()) => {
                entry.stage = Stage::Waiting;
                let received_ms = if was_handed_in { entry.handed_in_ms } else { now_ms };
                entry.shown = TransactionShown { accepted_ms: Some(now_ms), ..TransactionShown::waiting(received_ms) };
                let client = entry.client;
                self.enqueue(client, id);
            }
            // Another copy may be a good one: who asks is told when that is known.
            Err(_) if others => {}
            Err(refusal) => {
                let again = entry.stage == Stage::Refused;
                entry.stage = Stage::Refused;
                // That another copy is refused as the one before is no news, for who has subscribed to it.
                if entry.shown.refusal.as_deref() != Some(refusal.name()) {
                    entry.shown = TransactionShown {
                        state: "refused".into(),
                        refusal: Some(refusal.name().to_owned()),
                        received_ms: now_ms,
                        ..TransactionShown::default()
                    };
                }
                if !again {
                    self.refused.push_back((now_ms, id));
                }
            }
        }
    }

    fn enqueue(&mut self, client: u64, id: Hash) {
        self.rows.entry(client).or_default().order.push_back(id);
        self.count(client, |count| count + 1);
    }

    /// Counts what waits of a client anew.
    fn count(&mut self, client: u64, to: impl Fn(usize) -> usize) {
        let row = self.rows.get_mut(&client).expect("a client whose transactions are counted has a row");
        let before = row.count;
        row.count = to(before);
        self.most.remove(&(before, client));
        self.waiting = self.waiting + row.count - before;
        if row.count == 0 {
            self.rows.remove(&client);
            return;
        }
        self.most.insert((row.count, client));
        if row.order.len() > 2 * row.count + 64 {
            let entries = &self.entries;
            row.order.retain(|id| entries.get(id).is_some_and(|entry| entry.stage == Stage::Waiting));
        }
    }

    fn certified(&mut self, id: Hash, now_ms: u64, height: u64, shard: u32) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.stage == Stage::Waiting) else { return };
        if entry.shown.height != Some(height) {
            entry.shown.state = "certified".into();
            (entry.shown.certified_ms, entry.shown.height, entry.shown.shard) =
                (Some(now_ms), Some(height), Some(shard));
        }
    }

    fn ends(&mut self, id: Hash, now_ms: u64, happened: Happened) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        // What used up its sequence can be found out later.
        let is_unsure = entry.stage == Stage::Ended && entry.shown.state == "used";
        if entry.stage != Stage::Waiting && !is_unsure {
            return;
        }
        let mut taken = |state: &str, (height, slot, shard): (u64, u64, u32), by: Option<Hash>| {
            let shown = &mut entry.shown;
            (shown.state, shown.replaced_by) = (state.into(), by.map(hex::encode));
            (shown.height, shown.slot, shown.shard) = (Some(height), Some(slot), Some(shard));
            shown.final_ms = shown.final_ms.or(Some(now_ms));
        };
        match happened {
            Happened::Final(block) => taken("final", block, None),
            Happened::Used(block) => taken("used", block, None),
            Happened::Replaced(block, by) => taken("replaced", block, Some(by)),
            Happened::GivenUp(refusal) => {
                entry.shown.state = "refused".into();
                entry.shown.refusal = Some(refusal.name().to_owned());
            }
            _ => entry.shown.state = "expired".into(),
        }
        if !is_unsure {
            entry.stage = Stage::Ended;
            let client = entry.client;
            self.count(client, |count| count - 1);
            self.ended.push_back(id);
        }
    }

    /// What is final has no effect.
    fn voided(&mut self, id: &Hash, why: &str, refunded: Option<u64>) {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.stage == Stage::Ended) else { return };
        let shown = &mut entry.shown;
        (shown.state, shown.void, shown.refunded_units) = ("void".into(), Some(why.to_owned()), refunded);
    }

    fn forget_refused(&mut self, now_ms: u64) {
        while let Some(&(at, id)) = self.refused.front()
            && (self.refused.len() > REFUSED_MAX || at.saturating_add(REFUSED_MS) < now_ms)
        {
            self.refused.pop_front();
            // One that was handed in again and is good has left this row's care.
            let gone = self.entries.get(&id).is_some_and(|entry| entry.stage == Stage::Refused);
            if gone {
                self.forget(&id);
            }
        }
    }

    /// Forgets an entry; one that has a copy on its way stays, and shows nothing.
    fn forget(&mut self, id: &Hash) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.on_their_way.is_empty() {
            self.entries.remove(id);
        } else {
            (entry.stage, entry.shown) = (Stage::Unjudged, take(&mut entry.shown));
        }
    }

    /// Forgets one that has ended, or else the oldest of the client that has the most.
    fn forget_one(&mut self) {
        if let Some(id) = self.ended.pop_front() {
            // One that was given up and handed in again has left this row.
            if self.entries.get(&id).is_some_and(|entry| entry.stage == Stage::Ended) {
                self.forget(&id);
            }
            return;
        }
        let &(_, client) = self.most.last().expect("what is counted waits, or has ended");
        let row = self.rows.get_mut(&client).expect("who has the most has a row");
        let entries = &self.entries;
        let waits = |id: &Hash| entries.get(id).is_some_and(|entry| entry.stage == Stage::Waiting);
        let oldest = std::iter::from_fn(|| row.order.pop_front()).find(waits).expect("as many wait as were counted");
        self.forget(&oldest);
        self.count(client, |count| count - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minting::fate::Fate;
    use crate::minting::watched::{Made, Ripe, Watched};
    use bytemuck::Zeroable;
    use dynemix_engine::base::ids::Prefix;
    use dynemix_engine::transaction::cell::Cell;
    use dynemix_engine::transaction::item::Item;
    use std::sync::mpsc::channel;

    const PREFIX: Prefix = [7; 32];

    fn cell(number: u64) -> Cell {
        Cell { sequence: number, expires_slot: 1_000, version: 1, kind: 1, outputs: 1, ..Cell::zeroed() }
    }

    fn id(number: u64) -> Hash {
        cell(number).id(&PREFIX)
    }

    fn sides() -> (Watched, Tracked) {
        let (tell, told) = channel();
        (Watched::new(tell), Tracked::new(told))
    }

    impl Tracked {
        fn state(&mut self, number: u64) -> Option<String> {
            self.hear();
            self.shown(&id(number)).map(|shown| shown.state)
        }
    }

    fn judge(watched: &mut Watched, client: u64, number: u64, now_ms: u64, outcome: Result<(), Refusal>) {
        watched.begin(&PREFIX, &Item::transaction(&cell(number), &[]), client, now_ms, outcome);
    }

    #[test]
    fn a_copy_that_is_refused_as_the_one_before_is_no_news() {
        let (mut watched, mut tracked) = sides();
        let mut refused = |now_ms: u64, refusal: Refusal| {
            tracked.hand_in(1, id(5), 0).unwrap();
            judge(&mut watched, 1, 5, now_ms, Err(refusal));
            tracked.hear();
            tracked.shown(&id(5)).unwrap()
        };
        let first = refused(10, Refusal::BadSignature);
        assert_eq!(refused(20, Refusal::BadSignature), first);
        let other = refused(40, Refusal::Inadmissible);
        assert_eq!((other.received_ms, other.refusal.as_deref()), (40, Some(Refusal::Inadmissible.name())));
    }

    #[test]
    fn each_checkpoint_is_heard_on_the_other_side() {
        let (mut watched, mut tracked) = sides();
        tracked.hand_in(1, id(5), 0).unwrap();
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"), "also while nobody has looked at it");
        judge(&mut watched, 1, 5, 10, Ok(()));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"));
        watched.certified(3, 1, 20, |_| true);
        assert_eq!(tracked.state(5).as_deref(), Some("certified"));
        watched.settle((3, 9), 30, |_, _| Some((1, Fate::Final)));
        let shown = TransactionShown {
            state: "final".into(),
            received_ms: 0,
            accepted_ms: Some(10),
            certified_ms: Some(20),
            final_ms: Some(30),
            height: Some(3),
            slot: Some(9),
            shard: Some(1),
            ..TransactionShown::default()
        };
        tracked.hear();
        assert_eq!(tracked.shown(&id(5)), Some(shown));
        tracked.hand_in(1, id(6), 0).unwrap();
        judge(&mut watched, 1, 6, 40, Ok(()));
        watched.settle((4, 1_001), 50, |_, _| None);
        assert_eq!(tracked.state(6).as_deref(), Some("expired"));
        assert!(!watched.waiting());
    }

    #[test]
    fn a_hundred_thousand_junk_transactions_of_others_make_nobody_forgotten() {
        let (mut watched, mut tracked) = sides();
        tracked.hand_in(1, id(0), 0).unwrap();
        judge(&mut watched, 1, 0, 1, Ok(()));
        // Refused junk, each of a client of its own, as fast as it comes.
        for number in 1..=100_000 {
            tracked.hand_in(number + 1, id(number), 0).unwrap();
            judge(&mut watched, number + 1, number, 1 + number / 1_000, Err(Refusal::BadSignature));
            tracked.hear();
        }
        assert_eq!(tracked.state(0).as_deref(), Some("waiting"));
        assert!(tracked.entries.len() <= REFUSED_MAX + 1, "{} are remembered", tracked.entries.len());
        // Transactions that an account pays for, more than fit, all of one client.
        for number in 200_000..=310_000 {
            tracked.hand_in(7, id(number), 0).unwrap();
            judge(&mut watched, 7, number, 200, Ok(()));
            tracked.hear();
        }
        assert_eq!(tracked.state(0).as_deref(), Some("waiting"));
        assert_eq!(tracked.state(200_000), None, "its own oldest made room");
        assert_eq!(tracked.state(310_000).as_deref(), Some("waiting"));
        assert_eq!(tracked.waiting + tracked.ended.len(), TRACKED_MAX);
    }

    #[test]
    fn what_ended_goes_before_what_waits_and_refusals_after_a_minute() {
        let (mut watched, mut tracked) = sides();
        for number in 0..TRACKED_MAX as u64 {
            tracked.hand_in(number % 5, id(number), 0).unwrap();
            judge(&mut watched, number % 5, number, 1, Ok(()));
            tracked.hear();
        }
        watched.settle((1, 1), 2, |_, cell| (cell.sequence == 7_777).then_some((0, Fate::Final)));
        tracked.hand_in(9, id(500_000), 0).unwrap();
        judge(&mut watched, 9, 500_000, 3, Ok(()));
        assert_eq!(tracked.state(500_000).as_deref(), Some("waiting"));
        assert_eq!(tracked.state(7_777), None, "it had ended");
        assert_eq!(tracked.state(0).as_deref(), Some("waiting"));

        judge(&mut watched, 9, 600_000, 10, Err(Refusal::BadSignature));
        tracked.hand_in(9, id(600_000), 0).unwrap();
        assert_eq!(tracked.state(600_000).as_deref(), Some("refused"));
        judge(&mut watched, 9, 600_001, 10 + REFUSED_MS + 1, Err(Refusal::BadSignature));
        assert_eq!(tracked.state(600_000), None);
    }

    #[test]
    fn nobody_has_more_unjudged_than_is_free_for_others() {
        let (mut watched, mut tracked) = sides();
        let fill = |tracked: &mut Tracked, client: u64| {
            (0..UNJUDGED_MAX as u64).take_while(|&n| tracked.hand_in(client, id(client << 32 | n), 0).is_ok()).count()
        };
        let (first, second, third) = (fill(&mut tracked, 1), fill(&mut tracked, 2), fill(&mut tracked, 3));
        assert_eq!((first, second), (UNJUDGED_MAX / 2, UNJUDGED_MAX / 4));
        assert!(third == UNJUDGED_MAX / 8 && tracked.hand_in(4, id(1), 0).is_ok());
        assert_eq!(tracked.hand_in(1, id(2), 0), Err(TooManyUnjudged));
        for number in 0..first as u64 {
            judge(&mut watched, 1, 1 << 32 | number, 1, Err(Refusal::BadSignature));
        }
        tracked.hear();
        assert!(tracked.hand_in(1, id(2), 0).is_ok());
        assert!(tracked.take_broken() == vec![1; first] && tracked.take_broken().is_empty());
    }

    #[test]
    fn what_was_not_taken_is_nobodys_any_more_and_what_had_to_go_is_refused_by_name() {
        let (mut watched, mut tracked) = sides();
        for _ in 0..2 * UNJUDGED_MAX as u64 {
            tracked.hand_in(1, id(5), 0).unwrap();
            tracked.take_back(1, &id(5));
        }
        assert_eq!((tracked.unjudged, tracked.entries.len(), tracked.unjudged_of.len()), (0, 0, 0));
        // One of another client waits to be looked at and has to go; its copy of a third client is judged.
        tracked.hand_in(2, id(6), 0).unwrap();
        tracked.refuse_unseen(2, &id(6), 10);
        assert_eq!(tracked.state(6).as_deref(), Some("refused"));
        assert_eq!(tracked.shown(&id(6)).unwrap().refusal.as_deref(), Some("busy"));
        tracked.hand_in(2, id(7), 0).unwrap();
        tracked.hand_in(3, id(7), 0).unwrap();
        tracked.refuse_unseen(3, &id(7), 20);
        assert_eq!(tracked.state(7).as_deref(), Some("waiting"), "the copy that came first is on its way");
        judge(&mut watched, 2, 7, 30, Ok(()));
        assert_eq!(tracked.state(7).as_deref(), Some("waiting"));
        assert_eq!((tracked.unjudged, tracked.unjudged_of.len()), (0, 0), "none stays unjudged");
        // What waits has its outcome, whatever becomes of a copy.
        tracked.hand_in(4, id(7), 0).unwrap();
        tracked.refuse_unseen(4, &id(7), 40);
        assert_eq!(tracked.state(7).as_deref(), Some("waiting"));
        tracked.refuse_unseen(4, &id(99), 40);
        tracked.take_back(4, &id(99));
    }

    #[test]
    fn a_broken_copy_of_ones_transaction_changes_nothing_of_it() {
        let (mut watched, mut tracked) = sides();
        tracked.hand_in(2, id(5), 0).unwrap();
        tracked.hand_in(1, id(5), 0).unwrap();
        judge(&mut watched, 2, 5, 1, Err(Refusal::BadSignature));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"), "the other copy is still on its way");
        judge(&mut watched, 1, 5, 2, Ok(()));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"));
        tracked.hand_in(2, id(5), 0).unwrap();
        judge(&mut watched, 2, 5, 3, Err(Refusal::BadSignature));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"));
        // Refused alone, and good later: the good one counts.
        tracked.hand_in(2, id(6), 0).unwrap();
        judge(&mut watched, 2, 6, 4, Err(Refusal::BadSignature));
        assert_eq!(tracked.state(6).as_deref(), Some("refused"));
        tracked.hand_in(1, id(6), 0).unwrap();
        assert_eq!(tracked.state(6).as_deref(), Some("waiting"), "what is said of the broken copy is not said of this");
        judge(&mut watched, 1, 6, 5, Ok(()));
        assert_eq!(tracked.state(6).as_deref(), Some("waiting"));
    }

    #[test]
    fn final_is_only_what_stands_in_the_block_and_what_was_not_known_is_told_when_it_is() {
        let (mut watched, mut tracked) = sides();
        for number in 1..=3 {
            tracked.hand_in(1, id(number), 0).unwrap();
            judge(&mut watched, 1, number, 10, Ok(()));
        }
        watched.settle((3, 9), 30, |_, cell| match cell.sequence {
            1 => Some((0, Fate::Replaced([9; 32]))),
            _ => Some((0, Fate::Unknown)),
        });
        assert_eq!(tracked.state(1).as_deref(), Some("replaced"));
        assert_eq!(tracked.shown(&id(1)).unwrap().replaced_by, Some(hex::encode([9; 32])));
        assert_eq!(tracked.state(2).as_deref(), Some("used"));
        // Another copy changes nothing of that.
        tracked.hand_in(1, id(2), 0).unwrap();
        judge(&mut watched, 1, 2, 40, Err(Refusal::WrongSequence));
        assert_eq!(tracked.state(2).as_deref(), Some("used"));
        let fate = |_: &_, sequence: u64, _: &Hash| if sequence == 2 { Fate::Final } else { Fate::Replaced([8; 32]) };
        watched.prove((3, 1), 50, fate);
        assert_eq!(tracked.state(2).as_deref(), Some("used"), "these were another shard's");
        watched.prove((3, 0), 50, fate);
        assert_eq!(tracked.state(2).as_deref(), Some("final"));
        assert_eq!(tracked.shown(&id(2)).unwrap().final_ms, Some(30), "the block was final by then");
        assert_eq!(tracked.state(3).as_deref(), Some("replaced"));
        assert_eq!((tracked.waiting, tracked.ended.len()), (0, 3));
    }

    #[test]
    fn a_name_that_another_has_got_is_told_as_void_with_what_is_back() {
        let (mut watched, mut tracked) = sides();
        for (number, kind) in [(1, 3), (2, 3), (3, 1)] {
            let cell = Cell { kind, ..cell(number) };
            tracked.hand_in(1, cell.id(&PREFIX), 0).unwrap();
            watched.begin(&PREFIX, &Item::transaction(&cell, &[b'a', number as u8]), 1, 5, Ok(()));
        }
        let shown = |tracked: &mut Tracked, number: u64, kind: u8| {
            tracked.hear();
            tracked.shown(&Cell { kind, ..cell(number) }.id(&PREFIX)).unwrap()
        };
        watched.settle((3, 9), 30, |_, cell| Some((u32::from(cell.kind == 1), Fate::Final)));
        let void = |_: &_, made: &Made| (*made == Made::Name([b'a', 1].into())).then_some(("name_taken", 500));
        watched.ripen(5, 40, &Ripe { maturity: 3, bans: &[], void: &void });
        assert_eq!(shown(&mut tracked, 1, 3).state, "final", "it is not known yet");
        watched.ripen(5, 40, &Ripe { maturity: 3, bans: &[(3, 1)], void: &void });
        watched.ripen(6, 50, &Ripe { maturity: 3, bans: &[], void: &void });
        let lost = shown(&mut tracked, 1, 3);
        assert_eq!(
            (lost.state.as_str(), lost.void.as_deref(), lost.refunded_units),
            ("void", Some("name_taken"), Some(500))
        );
        assert_eq!(shown(&mut tracked, 2, 3).state, "final");
        assert_eq!(shown(&mut tracked, 3, 1).void.as_deref(), Some("banned"));
    }

    #[test]
    fn who_is_charged_for_a_broken_copy_is_who_has_brought_it_in_whatever_order() {
        let (mut watched, mut tracked) = sides();
        tracked.hand_in(2, id(5), 0).unwrap();
        tracked.hand_in(1, id(5), 0).unwrap();
        // Another thread was first with the good one, which came second.
        judge(&mut watched, 1, 5, 1, Ok(()));
        judge(&mut watched, 2, 5, 2, Err(Refusal::BadSignature));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"));
        assert_eq!(tracked.take_broken(), [2]);
        assert_eq!(tracked.rows.keys().collect::<Vec<_>>(), [&1], "it counts for who has signed it");
    }

    #[test]
    fn what_is_given_up_says_why_and_may_be_handed_in_again() {
        let (mut watched, mut tracked) = sides();
        let item = Item::transaction(&cell(5), &[]);
        tracked.hand_in(1, id(5), 0).unwrap();
        judge(&mut watched, 1, 5, 1, Ok(()));
        watched.give_up(&PREFIX, &item, 9, Refusal::Inadmissible);
        assert_eq!(tracked.state(5).as_deref(), Some("refused"));
        assert_eq!(tracked.shown(&id(5)).unwrap().refusal.as_deref(), Some(Refusal::Inadmissible.name()));
        assert!(!watched.waiting() && tracked.waiting == 0);
        tracked.hand_in(2, id(5), 0).unwrap();
        judge(&mut watched, 2, 5, 12, Ok(()));
        assert_eq!(tracked.state(5).as_deref(), Some("waiting"));
        watched.settle((3, 9), 30, |_, _| Some((1, Fate::Final)));
        assert_eq!(tracked.state(5).as_deref(), Some("final"));
    }
}
