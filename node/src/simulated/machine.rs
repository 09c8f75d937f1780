//! One node in virtual time: its real core, intake, verification, rounds and keepers over one disk in memory, and what
//! each of its threads would be busy with. All of it but the disk is lost at a crash.

use super::chain::{World, secret};
use crate::intake::shares::Holder;
use crate::keep::replica::ReplicaStage;
use crate::minting::bodies::Bodies;
use crate::minting::core::{Core, Effect, Out};
use crate::minting::door::{Answer, NodeSigning, Sorter};
use crate::minting::duty::{TAKEN_AT_ONCE, is_light};
use crate::minting::entry::{Entry, Job, Promise, Raw, Ready};
use crate::minting::opening::{MintingKeys, NodeOptions, Opening, Parts, Shared, Waiting};
use crate::minting::prepare::{Gathering, Pending, Prepare, batch_for, count_of, gather_for, own_waits_for};
use crate::minting::promises::Promises;
use crate::minting::room::Batch;
use crate::minting::rounds::{Brought, Rounds};
use crate::minting::serve::{Answers, QUESTION_BYTES};
use crate::minting::status::BlockShown;
use crate::minting::toll::Toll;
use crate::minting::tracked::TransactionShown;
use crate::minting::view::Submit;
use crate::minting::writer::{Appended, Writer};
use crate::peer::frames::{BODIES, Frame};
use crate::setup::clock::{Clock, Stopwatch};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::rules::execution::Execution;
use dynemix_engine::transaction::cell::Cell;
use dynemix_net::mesh::{Event, LinkShape, MeshLimits, Net, To};
use dynemix_simulator::dice::Dice;
use dynemix_storage::{CrashChoice, MemoryDisk, StoreOptions};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What work takes, in nanoseconds: to verify a signature, to read a cell, to judge a transaction, to build it into a
/// block.
const VERIFY_NS: u64 = 300_000;
const READ_NS: u64 = 3_000;
const JUDGE_NS: u64 = 4_000;
const BUILD_NS: u64 = 6_000;
/// The same in microseconds: a step or a message of consensus, a moment of spare time, a job of the disk, a question.
const STEP_US: u64 = 300;
const SPARE_US: u64 = 500;
const DISK_US: u64 = 3_000;
const ANSWER_US: u64 = 2_000;
/// So much longer gets a thread that verifies no core, for each time that its computer is slower than others.
const STARVED_US: u64 = 25_000;
/// Who waits for another thread looks again.
const WAITS_US: u64 = 1_000;
/// Nothing is due.
pub(super) const NEVER: u64 = u64::MAX;

/// Where the thread that verifies users' cells is.
enum Verifying {
    Idle,
    /// It waits for more.
    Gathering {
        batch: Vec<Raw>,
        count: usize,
        until_us: u64,
    },
    /// It reads cells.
    Reading {
        waiting: VecDeque<Pending>,
        until_us: u64,
    },
    /// It verifies signatures.
    Busy {
        ready: Vec<Ready>,
        work: Batch,
        until_us: u64,
    },
}

/// What a node did when it was looked at.
#[derive(Default)]
pub(super) struct Did {
    /// Frames that it sends.
    pub(super) sent: Vec<Frame>,
    /// Blocks that it holds for final.
    pub(super) finals: Vec<BlockShown>,
    /// Transactions that cost a signature though what they were told for was past.
    pub(super) stale: usize,
}

/// The threads that have something to do for a while, by their places in [`Machine::free_us`].
const DUTY: usize = 0;
const ROUNDS: usize = 1;
const SERVE: usize = 2;

/// What a crash ends.
pub(super) struct Machine {
    pub(super) core: Core<NodeSigning>,
    pub(super) shared: Shared,
    clock: Clock,
    waiting: Waiting,
    sorter: Sorter,
    prepare: Prepare,
    verifying: Verifying,
    rounds: Rounds,
    records: Vec<Brought>,
    bodies: Bodies,
    answers: Answers,
    submit: Submit,
    writer: Writer,
    appended: Appended,
    jobs: VecDeque<Job>,
    promises: Promises,
    keeps: VecDeque<Promise>,
    replica: ReplicaStage,
    taken: VecDeque<Entry>,
    free_us: [u64; 3],
    /// When the disk is done with what the writer has begun, and the keeper of what was accepted.
    written_us: [u64; 2],
    /// Times as long as on another's computer verifying takes.
    pub(super) slowness: u64,
}

/// What a node is started with.
fn options(world: &World, seed: u64, node: u32, disk: &MemoryDisk, clock: &Clock) -> NodeOptions {
    NodeOptions {
        data: Arc::new(disk.clone()),
        genesis: world.genesis(),
        minting: Some(MintingKeys {
            account: world.owner(node),
            vote: Zeroizing::new(secret("vote", seed, node.into())),
        }),
        transport: Zeroizing::new(secret("transport", seed, node.into())),
        listen: None,
        public: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1_000 + node as u16))),
        bootstrap: Vec::new(),
        link: LinkShape::default(),
        limits: MeshLimits::default(),
        store: StoreOptions {
            segment_bytes: 1 << 20,
            window_records: 1_000,
            limit_bytes: 1 << 30,
            watermark_bytes: 1 << 20,
        },
        checkpoint_bytes: 1 << 20,
        clock: clock.clone(),
        first_run: false,
        key_cache_keys: 1 << 12,
        simd: None,
        verify_threads: 1,
        hints: true,
        counted: None,
        memory_bytes: 4 << 30,
        api_bytes: 0,
        snapshot_blocks: 0,
        snapshot_bytes_per_s: 1 << 20,
    }
}

impl Machine {
    /// Starts a node from what is on its disk: by the same opening as a real one. What has held for `memory` is not
    /// verified again: pairings take real time.
    ///
    /// # Panics
    /// When it cannot be opened: whatever a crash has left can be.
    pub(super) fn start(
        world: &World,
        seed: u64,
        node: u32,
        (disk, now_ms): (&MemoryDisk, u64),
        memory: &mut Option<Arc<NodeSigning>>,
    ) -> (Machine, Did) {
        let clock = Clock::standing();
        clock.set_forward(now_ms);
        let mut opening = Opening::of(options(world, seed, node, disk, &clock)).expect("a node that was killed opens");
        if let Some(memory) = memory {
            let signing = Arc::get_mut(&mut opening.signer.signing).expect("nobody else has it yet");
            signing.remember_with(memory);
        }
        *memory = Some(opening.signer.signing.clone());
        let watch = Stopwatch::Standing(clock.clone());
        let parts = opening.assemble(&watch, Box::new(|_, _| {})).expect("a node that was killed opens");
        let Parts { options, shared, waiting, mut core, writer, promises, replica, .. } = parts;
        (core.judging, core.minter.execution.building) = (Toll::Said(JUDGE_NS), Toll::Said(BUILD_NS));
        // Users come by the API: no peer hands in anything of its own.
        let answer: Answer = Arc::new(|_| {});
        let mut machine = Machine {
            clock,
            sorter: shared.sorter(&waiting, answer.clone()),
            prepare: shared.prepare(&options, &Arc::<Gathering>::default()),
            verifying: Verifying::Idle,
            rounds: shared.rounds(waiting.bodies.clone()),
            records: Vec::new(),
            bodies: shared.bodies(),
            answers: shared.answers(&options),
            submit: Submit::new(waiting.cells.clone(), shared.arena.clone(), answer.clone()),
            writer,
            appended: Appended::default(),
            jobs: VecDeque::new(),
            promises,
            keeps: VecDeque::new(),
            replica: replica.0,
            taken: VecDeque::new(),
            free_us: [now_ms * 1_000; 3],
            written_us: [NEVER; 2],
            slowness: 1,
            core,
            waiting,
            shared,
        };
        let mut did = Did::default();
        machine.drive(&mut did, |core, out| core.begin(now_ms, out));
        (machine, did)
    }

    /// A frame comes, or a peer.
    pub(super) fn hear(&mut self, event: Event) {
        self.sorter.sort(event);
    }

    /// A user hands in a payment by the API, on one of its connections; false if there is no room for it.
    pub(super) fn submit(&mut self, connection: u64, cell: &Cell) -> bool {
        let id = cell.id(&self.shared.chain.transaction_prefix);
        let now_ms = self.clock.now_ms();
        let handed_in = self.shared.status.track(|tracked| tracked.hand_in(connection, id, now_ms));
        handed_in.is_ok() && self.submit.send(Holder::of(Net::Loopback, connection), connection, cell, &[]).is_ok()
    }

    /// Does all that there is to do by now; when there is more.
    pub(super) fn advance(&mut self, now_us: u64, did: &mut Did) -> u64 {
        self.clock.set_forward(now_us / 1_000);
        while self.look_up_from_rounds(now_us)
            | self.verify(now_us, did)
            | self.think(now_us, did)
            | self.keep(now_us)
            | self.answer(now_us, did)
        {}
        self.next_us(now_us)
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Newest height that is final here.
    pub(super) fn height(&self) -> u64 {
        self.core.minter.execution.system().height
    }

    /// The sequences of these accounts.
    pub(super) fn sequences(&self, accounts: &[u32]) -> Vec<u64> {
        let state = self.core.minter.execution.state();
        accounts.iter().map(|&account| state.hot(account).sequence.into()).collect()
    }

    /// What the API says of a payment: its state, and why it was refused; none while it is not judged.
    pub(super) fn shown(&self, id: &Hash) -> Option<(String, Option<String>)> {
        let of = |shown: TransactionShown| (shown.state, shown.refusal);
        let is_judged = |shown: &TransactionShown| shown.state != "waiting" || shown.accepted_ms.is_some();
        self.shared.status.track(|tracked| tracked.shown(id).filter(is_judged).map(of))
    }

    /// How many wait in its pool and among its own users', and how many it says that it takes of a height.
    pub(super) fn rows(&self) -> (usize, usize, u64) {
        let own = self.shared.status.own.load(Ordering::Relaxed);
        (self.core.minter.execution.pool.len(), own, self.shared.gate.room().total())
    }

    /// Whether a thread has time.
    fn is_free(&self, thread: usize, now_us: u64) -> bool {
        self.free_us[thread] <= now_us
    }

    /// When something is due that was not by now.
    fn next_us(&self, now_us: u64) -> u64 {
        let verifying = match &self.verifying {
            Verifying::Idle => NEVER,
            Verifying::Gathering { until_us, .. }
            | Verifying::Reading { until_us, .. }
            | Verifying::Busy { until_us, .. } => *until_us,
        };
        let busy = self.free_us.iter().copied().filter(|&free_us| free_us > now_us);
        let step_us = self.core.wake_at_ms() * 1_000;
        let due = busy.chain(self.written_us).chain([verifying, step_us]).filter(|&at_us| at_us != NEVER);
        // What waits for another thread is looked at again a little later.
        let next_us = due.map(|at_us| if at_us > now_us { at_us } else { now_us + WAITS_US }).min().unwrap_or(NEVER);
        assert!(next_us > now_us, "what is due by {now_us} us was done");
        next_us
    }

    /// Has the core do something, and carries out what it wants.
    fn drive(&mut self, did: &mut Did, what: impl FnOnce(&mut Core<NodeSigning>, Out<'_>)) {
        let mut effects = Vec::new();
        what(&mut self.core, &mut |effect| effects.push(effect));
        for effect in effects {
            match effect {
                Effect::Send(frame) | Effect::Ask(frame, _) => did.sent.push(frame),
                Effect::SendAll(frames) => did.sent.extend(frames),
                Effect::Write(job) => self.jobs.push_back(job),
                Effect::Keep(promise) => self.keeps.push_back(promise),
                Effect::Answer(from, question) => {
                    if !self.waiting.questions.ask(self.shared.gate.source(from), question) {
                        self.shared.gate.in_vain(from, QUESTION_BYTES);
                    }
                }
                Effect::HeightBegun => self.waiting.rounds.push_own(Raw::Height),
                Effect::Final(block) => {
                    self.shared.status.add_block((*block).clone());
                    did.finals.push(*block);
                }
                // Everybody has a line to everybody, and a clock that is right.
                Effect::Call(_) | Effect::CallIfFew(_) | Effect::CallAgain | Effect::SlotBegun(_) => {}
            }
        }
    }

    /// The consensus thread: a step that is due, or the next entry, or what there is time for.
    fn think(&mut self, now_us: u64, did: &mut Did) -> bool {
        if !self.is_free(DUTY, now_us) {
            return false;
        }
        let now_ms = self.now_ms();
        self.core.mind_clock(now_ms, true);
        let took_us = if self.core.wake_at_ms() <= now_ms {
            self.drive(did, |core, out| core.tick(now_ms, out));
            STEP_US
        } else if let Some(entry) = self.next_entry(now_ms) {
            let cost_us = cost_us(&entry);
            self.drive(did, |core, out| core.handle(now_ms, entry, out));
            cost_us
        } else if self.core.minter.seated() && self.core.use_spare_time(true) {
            SPARE_US
        } else {
            return false;
        };
        self.free_us[DUTY] = now_us + took_us;
        true
    }

    fn next_entry(&mut self, now_ms: u64) -> Option<Entry> {
        if self.taken.is_empty() {
            self.shared.inbox.take_some(Duration::ZERO, TAKEN_AT_ONCE, is_light, &mut self.taken);
            if self.taken.len() > 1 {
                self.core.verify_ahead(now_ms, self.taken.iter());
            }
        }
        self.taken.pop_front()
    }

    fn signatures(&self) -> u64 {
        self.shared.prepared.iter().map(|counters| counters.signatures.load(Ordering::Relaxed)).sum()
    }

    /// What so many signatures take here.
    fn verify_us(&self, signatures: u64) -> u64 {
        signatures * VERIFY_NS * self.slowness / 1_000
    }

    /// The threads of rounds and bodies.
    fn look_up_from_rounds(&mut self, now_us: u64) -> bool {
        if !self.is_free(ROUNDS, now_us) || !self.shared.inbox.has_room() {
            return false;
        }
        let before = self.signatures();
        match self.waiting.rounds.take(Duration::ZERO) {
            Some(raw) => self.rounds.take(raw, &mut self.records),
            None if !self.records.is_empty() => self.rounds.judge(&mut self.records),
            None => match self.waiting.bodies.take(Duration::ZERO) {
                Some(raw) => self.bodies.take(raw),
                None => return false,
            },
        }
        self.free_us[ROUNDS] = now_us + STEP_US + self.verify_us(self.signatures() - before);
        true
    }

    /// The thread that verifies users' cells: it gathers, reads, verifies, and hands on; whether it has gone on.
    fn verify(&mut self, now_us: u64, did: &mut Did) -> bool {
        let next = match std::mem::replace(&mut self.verifying, Verifying::Idle) {
            Verifying::Idle => self.gather(Vec::new(), 0, NEVER, now_us),
            Verifying::Gathering { batch, count, until_us } if now_us < until_us && count < self.enough() => {
                self.gather(batch, count, until_us, now_us)
            }
            Verifying::Gathering { batch, .. } => {
                let cells: usize = batch.iter().map(count_of).sum();
                let waiting: VecDeque<Pending> = batch.into_iter().filter_map(|raw| self.prepare.read(raw)).collect();
                // The thread is nice: on a computer that has too much to do it gets no core for a while.
                let starved_us = (self.slowness - 1) * STARVED_US;
                let until_us = now_us + STEP_US + starved_us + cells as u64 * READ_NS / 1_000;
                (Verifying::Reading { waiting, until_us }, true)
            }
            Verifying::Reading { mut waiting, until_us } if now_us >= until_us => {
                let before = self.signatures();
                let pending = self.core.minter.pending_height();
                let begun = Instant::now();
                self.prepare.gathering.begin(begun);
                let (ready, _, work) = self.prepare.verify(&mut waiting, begun, Duration::ZERO);
                let took_us = self.verify_us(self.signatures() - before);
                let is_stale = |ready: &&Ready| ready.told.is_some_and(|height| height < pending);
                did.stale += ready.iter().filter(is_stale).map(|ready| ready.good.len()).sum::<usize>();
                let until_us = now_us + took_us;
                (Verifying::Busy { ready, work: self.said(&work, took_us), until_us }, true)
            }
            Verifying::Busy { ready, work, until_us } if now_us >= until_us && self.shared.inbox.has_room() => {
                self.prepare.hand_on(ready);
                self.shared.gate.room().verified(&work);
                (Verifying::Idle, true)
            }
            waits => (waits, false),
        };
        self.verifying = next.0;
        next.1
    }

    /// What a batch has cost, where time is not real.
    fn said(&self, work: &Batch, verifying_us: u64) -> Batch {
        let nanos = |count: usize, each: u64| Duration::from_nanos(count as u64 * each * self.slowness);
        let (reading, looking) = (nanos(work.told, READ_NS), nanos(work.items, READ_NS));
        let verifying = Duration::from_micros(verifying_us);
        let took = reading + looking + verifying;
        Batch { reading, looking, verifying, took, worked: took, ..*work }
    }

    /// How many make a batch now.
    fn enough(&self) -> usize {
        batch_for(&self.prepare.schedule, self.now_ms(), VERIFY_NS * self.slowness)
    }

    /// Takes what has come into the batch.
    fn gather(&self, mut batch: Vec<Raw>, mut count: usize, mut until_us: u64, now_us: u64) -> (Verifying, bool) {
        let schedule = &self.prepare.schedule;
        let before = batch.len();
        let enough = self.enough();
        while count < enough
            && let Some(raw) = self.waiting.cells.take(Duration::ZERO)
        {
            let waits = match raw {
                Raw::Own(..) => own_waits_for(schedule),
                _ => gather_for(schedule, now_us / 1_000),
            };
            let waits_until_us = now_us + waits.as_micros() as u64;
            until_us =
                if batch.is_empty() || matches!(raw, Raw::Own(..)) { until_us.min(waits_until_us) } else { until_us };
            count += count_of(&raw);
            batch.push(raw);
        }
        let more = batch.len() > before;
        if batch.is_empty() {
            (Verifying::Idle, false)
        } else {
            (Verifying::Gathering { batch, count, until_us }, more)
        }
    }

    /// The threads that make things durable: what was asked for is on the disk when its time has passed.
    fn keep(&mut self, now_us: u64) -> bool {
        let written = self.written_us.map(|at_us| at_us <= now_us);
        if written[0] {
            self.write_one();
        }
        if written[1] {
            self.keep_some();
        }
        for (place, waits) in [!self.jobs.is_empty(), !self.keeps.is_empty()].into_iter().enumerate() {
            let at_us = &mut self.written_us[place];
            if written[place] || *at_us == NEVER {
                *at_us = if waits { now_us + DISK_US } else { NEVER };
            }
        }
        written[0] || written[1]
    }

    /// The next job of the writer; where none follows, what was appended is synced.
    fn write_one(&mut self) {
        let Some(job) = self.jobs.pop_front() else { return };
        self.writer.work_off(job, &mut self.appended).expect("a disk in memory has room");
        if self.jobs.is_empty() {
            self.writer.settle(&mut self.appended).expect("a disk in memory has room");
        }
        self.replica.work_off().expect("the log leads where the ledger is");
    }

    /// What has gathered for the keeper of accepted transactions, in one group.
    fn keep_some(&mut self) {
        let Some(promise) = self.keeps.pop_front() else { return };
        let (mut promise, mut jobs) = (promise, 1);
        while let (Promise::Accept(group), Some(Promise::Accept(_))) = (&mut promise, self.keeps.front()) {
            if let Some(Promise::Accept(more)) = self.keeps.pop_front() {
                group.extend(more);
                jobs += 1;
            }
        }
        self.promises.work_off(promise, jobs).expect("a disk in memory has room");
    }

    /// The thread that answers who asks for the past.
    fn answer(&mut self, now_us: u64, did: &mut Did) -> bool {
        if !self.is_free(SERVE, now_us) {
            return false;
        }
        let Some((line, question)) = self.waiting.questions.next() else { return false };
        let answer = self.answers.answer(&self.waiting.questions, line, question);
        did.sent.extend(answer.map(|(to, frame)| (To::Peer(to), BODIES, frame)));
        self.free_us[SERVE] = now_us + ANSWER_US;
        true
    }

    /// Ends the process, with the power: what was under way on the disk has got as far as the dice say.
    pub(super) fn crash(mut self, disk: &MemoryDisk, dice: &mut Dice) -> MemoryDisk {
        let before = disk.log_len();
        if self.written_us[0] != NEVER {
            self.write_one();
        }
        if self.written_us[1] != NEVER {
            self.keep_some();
        }
        let prefix = dice.between(before as u64, disk.log_len() as u64) as usize;
        disk.crash(prefix, CrashChoice::Each(&mut || dice.chance(500)))
    }
}

/// What an entry takes the consensus thread.
fn cost_us(entry: &Entry) -> u64 {
    match entry {
        Entry::Cells(batch) => {
            let count: usize = batch.iter().map(|ready| ready.good.len() + ready.refused.len()).sum();
            STEP_US + count as u64 * JUDGE_NS / 1_000
        }
        _ => STEP_US,
    }
}
