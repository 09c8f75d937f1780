//! What rounds need between network and consensus: blocks, items, records, certificates. Each is looked at in the order
//! of what it costs: whether it is wanted, its certificate, its form, then signatures.

use super::checks::Checks;
use super::entry::{Entry, Raw, cost_of_frame};
use super::execution::SharedDirectory;
use super::gate::speaker;
use super::inbox::Inbox;
use crate::intake::duties::DutyTable;
use crate::intake::glance::Glance;
use crate::intake::price::Failure;
use crate::intake::records::{Place, RecordGate, Step};
use crate::intake::rules::Speaker;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::limits::HEAVY_MAX;
use dynemix_engine::base::read::CodecError;
use dynemix_engine::chain::record::Record;
use dynemix_engine::messages::codec::decode;
use dynemix_engine::messages::measure::measure;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::item::Item;
use dynemix_engine::vote::signing::{Claim, Signing};
use dynemix_net::mesh::{Body, Net, PeerId, PeerInfo, Standing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A record waits for others for this part of a slot: minters say theirs at the same time, and none is urgent.
const GATHERING: u64 = 50;
/// Records that are verified at a time.
const RECORDS_AT_ONCE: usize = 64;
/// Broken items of a height that who passes on another's set may bring before no more of its items are verified ahead:
/// it may have been deceived, or lie itself. Consensus looks at a set no further than to the first that is broken.
const BROKEN_OF_OTHERS: usize = 2_048;
/// What a record costs while it waits for consensus.
const RECORD_COST: usize = 2_048;

/// A record, and who brought it.
pub type Brought = (PeerInfo, Item);

/// What the thread works with.
pub struct Rounds {
    /// What it verifies with.
    pub checks: Checks,
    /// Who takes transactions of final blocks: a thread that nothing urgent waits for.
    pub bodies: Arc<Inbox<Raw>>,
    /// Places of records.
    pub records: RecordGate,
    /// Broken items, and proofs of possession, that each has brought at a height.
    pub brought: (u64, BTreeMap<AccountIndex, Burden>),
}

/// What the items that somebody has passed on have cost.
#[derive(Clone, Copy, Default)]
pub struct Burden {
    broken: usize,
    heavy: usize,
}

impl Rounds {
    /// Runs until told to stop.
    pub fn run(mut self, input: &Inbox<Raw>) {
        let gathering = Duration::from_millis(self.checks.chain.parameters.slot_ms / GATHERING);
        let (mut records, mut until) = (Vec::<Brought>::new(), Instant::now());
        loop {
            // Records wait for others, and are verified together.
            let wait = match records.len() {
                0 => Duration::from_millis(200),
                1..RECORDS_AT_ONCE => until.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            let (raw, were) = (if records.len() < RECORDS_AT_ONCE { input.take(wait) } else { None }, records.len());
            match raw {
                Some(Raw::Stop) => return,
                Some(raw) => self.take(raw, &mut records),
                None => self.judge(&mut records),
            }
            if were == 0 {
                until = Instant::now() + gathering;
            }
        }
    }

    /// Takes what has come. Records wait in `records` for others that come at once, see [`Self::judge`].
    pub fn take(&mut self, raw: Raw, records: &mut Vec<Brought>) {
        match raw {
            // What somebody has sent before it was thrown out.
            Raw::Frame(from, _) if self.checks.gate.is_out(from) => {}
            Raw::Frame(from, mut body) => {
                let Some(message) = self.read(from, &mut body) else { return };
                match *message {
                    Message::Item(item) => records.push((from, item)),
                    message => {
                        self.judge(records);
                        self.message(from, message, body);
                    }
                }
            }
            Raw::Height => {
                let duties = self.checks.gate.duties();
                let peer = |from: Speaker| {
                    let standing = from.name.map_or(Standing::Guest, |_| Standing::Named);
                    // Whose records they are goes by name.
                    let net = Net::Loopback;
                    PeerInfo { id: PeerId(from.connection), name: from.name, called: from.called, standing, net }
                };
                records.extend(self.records.ripe(&duties).into_iter().map(|(from, item)| (peer(from), item)));
            }
            // Users' transactions have a thread of their own.
            Raw::Own(..) | Raw::Bodies(..) | Raw::Stop => {}
        }
    }

    /// Decodes a frame whose certificate, if it has one, holds, and that what it becomes has room for.
    fn read(&mut self, from: PeerInfo, body: &mut Body) -> Option<Box<Message>> {
        let duties = self.checks.gate.duties();
        // The door has looked at it; the height may have gone on since.
        let holds = match Glance::of(&body[1..]) {
            Ok(Glance::Block(block)) if block.height < duties.pending() => {
                self.checks.gate.in_vain(from, body.len());
                return None;
            }
            Ok(Glance::Final(decided, _))
                if decided.value.height < duties.pending() && duties.system.committee_of_rival(&decided).is_none() =>
            {
                self.checks.gate.in_vain(from, body.len());
                return None;
            }
            // Each minter of a shard sends its block: one is verified.
            Ok(Glance::Block(block)) if block.height == duties.pending() && self.checks.gate.holds(&block.hash) => {
                return None;
            }
            Ok(Glance::Block(block)) => self.checks.block_holds(&duties, &block),
            Ok(Glance::Final(decided, _)) => self.checks.final_holds(&duties, &decided),
            Ok(_) => true,
            Err(_) => {
                self.checks.malformed(from, body.len());
                return None;
            }
        };
        if !holds {
            self.checks.gate.charge(from, Failure::Certificate);
            return None;
        }
        let Ok(becomes) = measure(&body[1..]) else {
            self.checks.malformed(from, body.len());
            return None;
        };
        // Its share is full of what others bring: nobody is at fault, and who has asked asks again.
        body.charge(becomes).ok()?;
        match decode(&body[1..], &SharedDirectory(&self.checks.state)) {
            Ok(message) => Some(Box::new(message)),
            // Whoever is ahead of us speaks of accounts that we do not know yet.
            Err(CodecError::UnknownAccount(_)) => None,
            Err(_) => {
                self.checks.malformed(from, body.len());
                None
            }
        }
    }

    /// Verifies what a message brings, and hands it on.
    fn message(&mut self, from: PeerInfo, message: Message, body: Body) {
        let bytes = body.len();
        let message = match message {
            Message::Bodies(..) => {
                let cost = cost_of_frame(&body) + message.body_bytes();
                let source = self.checks.gate.source(from);
                self.bodies.push(source, cost, Raw::Bodies(from, Box::new(message), body));
                return;
            }
            Message::Shard { height, slot, shard, message: ShardMessage::Items(items) } => {
                let Some(items) = self.items(from, height, items, bytes) else { return };
                Message::Shard { height, slot, shard, message: ShardMessage::Items(items) }
            }
            Message::Block(ref block) => {
                if let Err(failure) = self.checks.block_items(&self.checks.gate.duties(), block) {
                    return self.checks.gate.charge(from, failure);
                }
                message
            }
            Message::Final(_, ref blocks) => {
                let duties = self.checks.gate.duties();
                for block in blocks {
                    // Decoding has let in only what it lists.
                    if let Err(failure) = self.checks.block_items(&duties, block) {
                        return self.checks.gate.charge(from, failure);
                    }
                }
                message
            }
            message => message,
        };
        self.checks.hand_on(from, Box::new(message), body);
    }

    /// Items of a set: only those that were asked for are verified. What is broken in a set that the speaker calls its
    /// own is its lie; in another's it may be the victim of one.
    fn items(&mut self, from: PeerInfo, height: u64, items: Vec<Item>, bytes: usize) -> Option<Vec<Item>> {
        let duties = self.checks.gate.duties();
        if height != duties.pending() {
            return None;
        }
        let all = items.len();
        let sifted = self.checks.gate.sift(from, height, items);
        if sifted.unwanted > 0 {
            self.checks.gate.charge(from, Failure::Unwanted(bytes / all * sifted.unwanted));
        }
        if sifted.wanted.is_empty() {
            return None;
        }
        if self.brought.0 != height {
            self.brought = (height, BTreeMap::new());
        }
        let mut burden = self.brought.1.get(&from.name?).copied().unwrap_or_default();
        if burden.broken < BROKEN_OF_OTHERS {
            let broken = self.checks.verify(&sifted.wanted);
            if sifted.own && !broken.is_empty() {
                self.checks.gate.charge(from, Failure::Signatures(broken.len()));
            }
            burden.broken += broken.len();
            burden.heavy += self.prove(&duties, &sifted.wanted, HEAVY_MAX.saturating_sub(burden.heavy));
        }
        assert!(burden.heavy <= HEAVY_MAX, "{} stakes of one peer were proved at height {height}", burden.heavy);
        self.brought.1.insert(from.name?, burden);
        Some(sifted.wanted)
    }

    /// Verifies the possessions of stakes, so many at most, for consensus to find them remembered.
    fn prove(&mut self, duties: &DutyTable, items: &[Item], max: usize) -> usize {
        let stakes: Vec<&Item> = items.iter().filter(|item| item.is_heavy()).take(max).collect();
        for item in &stakes {
            if self.checks.verdicts.knows(&item.id()) {
                self.checks.possession_holds(item);
            }
        }
        assert!(stakes.len() <= max, "of height {} no more is proved than may be", duties.pending());
        stakes.len()
    }

    /// Verifies records that have a place, many at once, and hands on those that hold. Of one sender no more at a time
    /// than have held before, and one: at its first lie the rest of what it has brought is dropped.
    pub fn judge(&mut self, records: &mut Vec<Brought>) {
        let mut brought: BTreeMap<u64, VecDeque<Brought>> = BTreeMap::new();
        for (from, item) in records.drain(..) {
            brought.entry(from.id.0).or_default().push_back((from, item));
        }
        let mut at_once = 1;
        while !brought.is_empty() {
            let wave: Vec<Brought> =
                brought.values_mut().flat_map(|of_one| of_one.drain(..at_once.min(of_one.len()))).collect();
            let liars = self.judge_wave(wave);
            brought.retain(|connection, of_one| !of_one.is_empty() && !liars.contains(connection));
            at_once *= 2;
        }
    }

    /// Verifies these together; returns whose do not hold.
    fn judge_wave(&mut self, wave: Vec<Brought>) -> BTreeSet<u64> {
        let duties = self.checks.gate.duties();
        let mut wanted: Vec<(Brought, Record, Place)> = Vec::new();
        let mut claims = Vec::new();
        let mut liars = BTreeSet::new();
        for (from, item) in wave {
            if self.checks.gate.is_out(from) {
                continue;
            }
            let Some(record) = Record::of_item(&item) else {
                // A transaction comes by another way.
                self.checks.gate.charge(from, Failure::Unwanted(item.length()));
                continue;
            };
            match self.records.offer(&duties, speaker(from), &record, &item) {
                Step::Verify(place) => {
                    Claim::of_item(&self.checks.chain.genesis_hash, &item, &mut claims);
                    wanted.push(((from, item), record, place));
                }
                Step::Nothing => {
                    self.checks.gate.in_vain(from, item.length());
                }
                Step::Charge(failure) => self.checks.gate.charge(from, failure),
            }
        }
        self.checks.signing.foresee(&claims);
        for ((from, item), record, place) in wanted {
            if self.records.is_taken(place) || liars.contains(&from.id.0) {
                continue;
            }
            if self.checks.record_holds(&duties, &record) {
                self.records.take(place, item.id());
                let source = self.checks.gate.source(from);
                self.checks.inbox.push(source, RECORD_COST, Entry::Record(from, item));
            } else if self.checks.gate.duties().pending() == duties.pending() {
                self.records.is_false(&duties, from.name);
                liars.insert(from.id.0);
                self.checks.gate.charge(from, Failure::Record);
            }
        }
        liars
    }
}
