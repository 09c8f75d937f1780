//! The consensus thread: it alone owns the [`Core`]. It sleeps until the next step or the next entry of its inbox, and
//! carries out what the core wants in that order, never waiting for a disk or a socket.

use super::claims::Claims;
use super::core::{Core, Effect, Out};
use super::entry::{Entry, Job, Promise, Raw};
use super::gate::Gate;
use super::inbox::Inbox;
use super::peers::are_few;
use super::serve::{QUESTION_BYTES, Questions};
use super::slot_line::{SlotLine, Step};
use super::status::Status;
use crate::setup::clock::Clock;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::MeshHandle;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Entries of the inbox that are looked at together.
pub const TAKEN_AT_ONCE: usize = 64;
/// A step that is nearer than this is waited for.
const JUDGING: Duration = Duration::from_millis(10);
/// What somebody claims waits for what others claim for this part of a slot at most: verified together, ten cost little
/// more than one.
const GATHERING: u64 = 100;
/// What will follow is computed if no step is due for this part of a slot.
const FORESEEING: u64 = 20;

/// What the thread works with.
pub struct Duty<S: Signing> {
    core: Core<S>,
    hands: Hands,
    /// Taken from the inbox, and not worked off yet.
    taken: VecDeque<Entry>,
    claims: Claims,
}

/// What effects are carried out with.
pub struct Hands {
    /// Milliseconds since the chain's start, and whether they are good enough to mint by.
    pub clock: Clock,
    /// Where all other threads put what consensus is to hear.
    pub inbox: Arc<Inbox<Entry>>,
    /// Takes what is to be sent, and whom to call; never waits.
    pub mesh: MeshHandle,
    /// To the thread that makes things durable.
    pub writer: Sender<Job>,
    /// To the one that keeps own users' transactions.
    pub promises: Sender<Promise>,
    /// Who may send what.
    pub gate: Arc<Gate>,
    /// To the thread that verifies what rounds need.
    pub rounds: Arc<Inbox<Raw>>,
    /// To the thread that answers who asks for what has been.
    pub questions: Arc<Questions>,
    /// What others see.
    pub status: Arc<Status>,
}

impl Hands {
    /// Carries out an effect; the slot that has begun, if one has.
    fn carry_out(&mut self, effect: Effect) -> Option<u64> {
        match effect {
            Effect::Send((to, class, frame)) => self.mesh.send(to, class, frame),
            Effect::SendAll(frames) => self.mesh.send_all(frames),
            Effect::Ask((to, class, frame), answers) => self.mesh.ask(to, class, frame, answers),
            Effect::Write(job) => self.write(job),
            // A thread that has stopped has said why; nothing more is accepted then.
            Effect::Keep(promise) => drop(self.promises.send(promise)),
            Effect::Answer(from, question) => {
                if !self.questions.ask(self.gate.source(from), question) {
                    self.gate.in_vain(from, QUESTION_BYTES);
                }
            }
            Effect::Call(calls) => calls.make(&self.mesh),
            Effect::CallIfFew(calls) if are_few(&self.mesh) => calls.make(&self.mesh),
            Effect::CallIfFew(_) => {}
            Effect::CallAgain => self.mesh.call_again(),
            Effect::HeightBegun => self.rounds.push_own(Raw::Height),
            Effect::Final(mut block) => {
                block.final_ms = self.clock.now_ms();
                self.status.add_block(*block);
            }
            Effect::SlotBegun(slot) => return Some(slot),
        }
        None
    }

    /// A writer that has stopped has said why. Without it nothing is signed, and nothing waits for it.
    fn write(&mut self, job: Job) {
        let is_waited_for = matches!(job, Job::Keep(..));
        if self.writer.send(job).is_err() && is_waited_for {
            self.inbox.push_own(Entry::Kept);
        }
    }
}

/// Whether all that is to be done with an entry is to verify what a minter claims.
fn is_claim(entry: &Entry) -> bool {
    match entry {
        Entry::Message(_, message, _) => is_light(entry) && !matches!(**message, Message::Item(_)),
        _ => false,
    }
}

/// Whether an entry takes so little that others are looked at with it: claims, which are verified together, and what was
/// verified.
pub fn is_light(entry: &Entry) -> bool {
    match entry {
        Entry::Record(..) => true,
        Entry::Message(_, message, _) => match &**message {
            Message::First { .. } | Message::Second { .. } => true,
            Message::Shard { message, .. } => !matches!(message, ShardMessage::Items(_) | ShardMessage::Set(..)),
            _ => false,
        },
        _ => false,
    }
}

impl<S: Signing> Duty<S> {
    /// Of this core, for which these are the hands.
    pub fn new(core: Core<S>, hands: Hands) -> Duty<S> {
        Duty { core, hands, taken: VecDeque::new(), claims: Claims::default() }
    }

    /// Has the core do something, and carries out what it wants.
    fn drive(&mut self, what: impl FnOnce(&mut Core<S>, Out<'_>)) {
        let Duty { core, hands, .. } = self;
        let mut begun = None;
        what(core, &mut |effect| begun = hands.carry_out(effect).or(begun));
        let Some(slot) = begun else { return };
        hands.clock.network_says(core.slots_ahead());
        // A clock that was ahead can be set back to the chain's first slot, before which none has ended.
        if let Some(ended) = SlotLine::ended(slot) {
            core.log_slot(ended, hands.mesh.counters().members.load(Ordering::Relaxed));
        }
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let begun = self.hands.clock.now_ms();
        self.drive(|core, out| core.begin(begun, out));
        let mut leaving_at = None;
        loop {
            let now = self.hands.clock.now_ms();
            self.hands.clock.chain_is_at(self.core.begun_at_least_ms());
            self.core.mind_clock(now, self.hands.clock.is_trusted());
            if self.core.wake_at_ms() <= now {
                self.step(now);
                continue;
            }
            if leaving_at.is_some_and(|at| now >= at || !self.core.minter.seated()) {
                return;
            }
            let until_step = self.hands.clock.until(self.core.wake_at_ms());
            let wait = until_step.min(Duration::from_millis(100));
            // While there is nothing to hear, what waits is judged, and what will follow is computed.
            let spare = wait > JUDGING || self.core.counted.is_some();
            let idle = if spare && self.core.minter.seated() { Duration::ZERO } else { wait };
            let mut entry = self.next_entry(idle);
            if entry.is_none() && idle.is_zero() {
                // What follows takes a while to compute: only with time to spare.
                let ahead = until_step > Duration::from_millis(self.core.schedule.slot_ms / FORESEEING);
                if self.core.use_spare_time(ahead) || self.passes_time() {
                    continue;
                }
                entry = self.next_entry(wait);
            }
            match entry {
                None => {}
                Some(Entry::Stop(at_once)) => {
                    if at_once {
                        return;
                    }
                    // At the slot's end nothing is under way that a restart would have to remember.
                    leaving_at = Some((self.core.schedule.slot(now) + 1) * self.core.schedule.slot_ms);
                }
                Some(entry) => {
                    // It may have been waited for.
                    let heard = self.hands.clock.now_ms();
                    self.drive(|core, out| core.handle(heard, entry, out));
                }
            }
        }
    }

    /// Takes the step that is due.
    fn step(&mut self, now: u64) {
        let due_ms = self.core.wake_at_ms();
        self.drive(|core, out| core.tick(now, out));
        self.core.log_step(&Step { due_ms, taken_ms: now, done_ms: self.hands.clock.now_ms() });
    }

    /// Where blocks go by count: sets the clock forward if nothing is left to do before that; false if something is.
    fn passes_time(&mut self) -> bool {
        let now = self.hands.clock.now_ms();
        let to = self.core.passes_to().filter(|&to| to > now);
        to.into_iter().for_each(|to| self.hands.clock.set_forward(to));
        to.is_some()
    }

    /// The next entry. Several are taken at once, and what minters claim is set aside until it is verified together.
    fn next_entry(&mut self, wait: Duration) -> Option<Entry> {
        if self.taken.is_empty() {
            let wait = self.claims.left(Instant::now()).map_or(wait, |left| left.min(wait));
            self.hands.inbox.take_some(wait, TAKEN_AT_ONCE, is_light, &mut self.taken);
            self.part_claims();
        }
        self.taken.pop_front()
    }

    /// Sets claims aside, and takes up those that have waited long enough.
    fn part_claims(&mut self) {
        let (now, Duty { core, hands, taken, claims }) = (Instant::now(), self);
        let until_step = hands.clock.until(core.wake_at_ms());
        let at_most = Duration::from_millis(core.schedule.slot_ms / GATHERING).min(until_step / 2);
        for _ in 0..taken.len() {
            let entry = taken.pop_front().expect("as many as were counted");
            if is_claim(&entry) { claims.add(entry, now, at_most) } else { taken.push_back(entry) }
        }
        // No more come than there are others.
        let mut due = claims.take(core.others().clamp(1, TAKEN_AT_ONCE), now);
        if due.len() > 1 {
            core.verify_ahead(hands.clock.now_ms(), due.iter());
        }
        due.append(taken);
        *taken = due;
    }
}
