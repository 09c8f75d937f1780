//! A devnet from its first process to its verdict.

use super::fate::{Fate, FinalIn, in_time_share};
use super::flood::Flood;
use super::layout::{Devnet, LayoutError};
use super::load::{Ended, LoadClient, Rates, Turns, sign};
use super::lock::DevnetLock;
use super::opening::{RunError, RunOptions, opened};
use super::processes::Processes;
use super::report::{DevnetReport, FinalityMs, Overload, Percentiles, SlotRow};
use super::stop::StopSign;
use super::watched::{Agreement, Watched};
use crate::peer::frames::UNPROVED;
use crate::setup::clock::unix_ms;
use crate::wallet::transport::Transport;
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::base::refusal::Refusal;
use dynemix_perf::machine;
use dynemix_perf::report::{counted, grouped};
use dynemix_workload::Workload;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the load looks at the clock.
const TICK: Duration = Duration::from_millis(10);
/// A signal to many processes has come to all of them by then.
const HEARD_LATER: Duration = Duration::from_millis(100);
/// Slots after the load in which the rest may become final.
const TAIL_SLOTS: u64 = 3;
/// Bytes of what a node says of an account at most.
const ANSWER_BYTES_MAX: u64 = 1 << 16;
/// Of what was admitted, this part has to be in its slot or the next, or a run is not good.
const IN_TIME: f64 = 0.999;

/// Hears what happens.
pub trait Watcher: Sync {
    /// A sentence about what is being done.
    fn say(&self, what: &str);
    /// So many transactions of all are signed.
    fn signed(&self, done: u64, of: u64);
    /// The nodes are up.
    fn up(&self, devnet: &Devnet);
    /// A slot is over.
    fn slot(&self, row: &SlotRow);
}

/// Makes or opens the devnet of a directory, and runs it.
///
/// # Errors
/// When it cannot be started; a bad verdict is no error.
pub fn run(
    directory: &Path,
    options: &RunOptions,
    program: Option<&Path>,
    stop: &AtomicBool,
    watcher: &dyn Watcher,
) -> Result<DevnetReport, RunError> {
    let directory = &std::path::absolute(directory)?;
    let slot_ms = options.shape.slot_ms;
    let load_slots = options.duration_ms.map(|duration| duration.div_ceil(slot_ms));
    let rates = options.tps.zip(load_slots).map(|(tps, slots)| Rates { tps, slots, slot_ms, then: options.then });
    let duration_slots = load_slots.map(|slots| slots + options.then.map_or(0, |then| then.1));
    let transactions = rates.map_or(0, |rates| rates.all());
    Devnet::may_be_in(directory)?;
    fs::create_dir_all(directory).map_err(|source| LayoutError::Io { path: directory.clone(), source })?;
    let mut lock = DevnetLock::take(directory)?;
    let sign_of_stop = StopSign::new(directory, stop)?;
    let mut devnet = opened(directory, options, transactions)?;
    if let Some(wish) = options.api_port {
        devnet.move_api(directory, wish)?;
        if devnet.api_port != wish {
            watcher.say(&format!(
                "not all ports from {wish} on are free: the API's are those from {} on",
                devnet.api_port
            ));
        }
    }
    devnet.write_env(directory)?;
    lock.tell_api(directory, devnet.api_address(0).to_string())?;
    let chain = devnet.genesis().genesis()?.chain;
    let workload = (transactions > 0).then(|| {
        let done = std::sync::atomic::AtomicU64::new(0);
        let expires = duration_slots.unwrap_or(0) + 400;
        sign(&devnet, &chain, transactions, expires.min(chain.parameters.expires_window_slots), |count| {
            watcher.signed(done.fetch_add(count, Ordering::Relaxed) + count, transactions);
        })
    });
    let mut processes = Processes::new(directory, devnet)?;
    if let Some(program) = program {
        processes = processes.with_program(program);
    }
    let mut session = Session::new(processes, options, workload.zip(rates), &sign_of_stop, watcher);
    match session.go(directory, &chain, duration_slots) {
        Ok(()) => Ok(session.finish()),
        Err(error) => {
            session.processes.stop_all();
            Err(error)
        }
    }
}

/// What is offered.
struct Load {
    workload: Workload,
    turns: Turns,
    rates: Rates,
}

struct Session<'a> {
    processes: Processes,
    options: &'a RunOptions,
    load: Option<Load>,
    client: Option<LoadClient>,
    stop: &'a StopSign<'a>,
    watcher: &'a dyn Watcher,
    start_ms: u64,
    slot_ms: u64,
    first_slot: u64,
    fates: Vec<Fate>,
    /// Transactions that were handed in again.
    handed_in_again: u64,
    sent: usize,
    turn: usize,
    late_ms: u64,
    watched: Watched,
    before: (Vec<u64>, f64),
    first_bytes: (u64, u64),
    rows: Vec<SlotRow>,
    /// All nodes have answered.
    ready: bool,
    failures: Vec<String>,
    /// Nodes that have ended though nobody here has ended them.
    fallen: BTreeSet<u32>,
    killed: Vec<(u32, Option<u64>)>,
    kills: u64,
    minted_again: u64,
    flood: Option<Flood>,
}

impl<'a> Session<'a> {
    fn new(
        processes: Processes,
        options: &'a RunOptions,
        load: Option<(Workload, Rates)>,
        stop: &'a StopSign<'a>,
        watcher: &'a dyn Watcher,
    ) -> Session<'a> {
        let nodes = options.shape.nodes as usize;
        let start_ms = processes.devnet().start_ms;
        let accounts = options.shape.load_accounts;
        let load = load.map(|(workload, rates)| Load { workload, turns: Turns::new(accounts), rates });
        Session {
            processes,
            options,
            load,
            client: None,
            stop,
            watcher,
            start_ms,
            slot_ms: options.shape.slot_ms,
            first_slot: 0,
            fates: Vec::new(),
            handed_in_again: 0,
            sent: 0,
            turn: 0,
            late_ms: 0,
            watched: Watched::new(nodes),
            before: (vec![0; nodes], 0.0),
            first_bytes: (0, 0),
            rows: Vec::new(),
            ready: false,
            failures: Vec::new(),
            fallen: BTreeSet::new(),
            killed: Vec::new(),
            kills: 0,
            minted_again: 0,
            flood: None,
        }
    }

    fn now_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.start_ms)
    }

    fn slot(&self) -> u64 {
        self.now_ms() / self.slot_ms
    }

    fn stopped(&self) -> bool {
        self.stop.is_up()
    }

    fn go(&mut self, directory: &Path, chain: &Chain, slots: Option<u64>) -> Result<(), RunError> {
        if self.stopped() {
            return Ok(());
        }
        let (stop, nodes) = (self.stop, self.options.shape.nodes);
        self.watcher.say(&format!("starting {}", counted(nodes.into(), "node")));
        self.ready = self.processes.start_all_unless(&|| stop.is_up())?;
        if !self.ready {
            return Ok(());
        }
        self.mark();
        self.watcher.up(self.processes.devnet());
        let is_new = self.watched.statuses.iter().flatten().all(|status| status.height == 0);
        if is_new && self.slot() > 1 {
            self.watcher.say(
                "the nodes took longer to start than this chain expects: if slots are lost from now on, begin anew with \
                 `devnet reset`",
            );
        }
        self.wait_first_block(directory)?;
        if self.stopped() {
            return Ok(());
        }
        if self.load.is_some() {
            let nodes: Vec<u32> = (0..nodes).collect();
            self.client = Some(LoadClient::connect(self.processes.devnet(), chain, &nodes)?);
        }
        self.watch(slots)
    }

    /// Waits for the first block after the start: from the slot after it on slots are counted.
    fn wait_first_block(&mut self, directory: &Path) -> Result<(), RunError> {
        let next = (unix_ms() + self.slot_ms).saturating_sub(self.start_ms) / self.slot_ms;
        let wait_ms = (self.start_ms + next * self.slot_ms).saturating_sub(unix_ms());
        self.watcher.say(&format!("waiting for the first block: slot {next} begins in {:.1} s", wait_ms as f64 / 1e3));
        let height = self.processes.status(0, 0).map_or(0, |status| status.height);
        let patience = self.slot() + 8;
        while !self.stopped() && self.notice_ends() {
            if let Ok(status) = self.processes.status(0, 0)
                && status.height > height
            {
                break;
            }
            if self.slot() > patience && self.now_ms() > 0 {
                return Err(RunError::NoStart(8, directory.to_owned()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // A load begins with a slot; who only watches has seen this one's block.
        self.first_slot = self.slot() + u64::from(self.load.is_some());
        Ok(())
    }

    /// From now on traffic and processor time are counted.
    fn mark(&mut self) {
        self.poll();
        self.first_bytes = self.watched.bytes();
        self.before = (self.watched.sent(), self.watched.cpu());
    }

    fn watch(&mut self, slots: Option<u64>) -> Result<(), RunError> {
        let begins = self.first_slot * self.slot_ms;
        while self.now_ms() + 30 < begins && !self.stopped() {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.load.is_some() {
            self.mark();
        }
        let load_slots = slots.unwrap_or(u64::MAX);
        let end_slot =
            self.first_slot.saturating_add(load_slots).saturating_add(if self.load.is_some() { TAIL_SLOTS } else { 0 });
        let mut next_row = self.first_slot;
        loop {
            let tick = Instant::now();
            self.offer(begins);
            self.hear();
            self.hand_in_again();
            let now = self.now_ms();
            // A slot's row is printed a little after its end.
            if now >= (next_row + 1) * self.slot_ms + self.slot_ms / 20 {
                self.poll();
                self.row(next_row);
                next_row += 1;
                self.trouble(next_row);
                self.lie(next_row, load_slots)?;
                let all = self.load.as_ref().is_some_and(|load| self.sent == load.workload.cells.len());
                let ended = all && self.fates.iter().all(Fate::has_outcome);
                if next_row >= end_slot
                    || self.stopped()
                    || (ended && next_row >= self.first_slot.saturating_add(load_slots))
                {
                    return Ok(());
                }
            }
            if self.stopped() || !self.notice_ends() {
                return Ok(());
            }
            std::thread::sleep(TICK.saturating_sub(tick.elapsed()));
        }
    }

    /// Says which nodes have ended though nobody here has ended them; whether any still runs.
    fn notice_ends(&mut self) -> bool {
        for node in 0..self.options.shape.nodes {
            let Some(status) = self.processes.ended(node) else { continue };
            self.fallen.insert(node);
            self.watched.forget(node);
            // Whoever stops them together with this command, all at once, is heard here a little later.
            std::thread::sleep(HEARD_LATER);
            if self.stopped() && (status.success() || !self.ready) {
                continue;
            }
            let log = self.processes.log_end(node);
            self.watcher.say(&format!("node {node} has ended, {status}; the end of its log:\n{log}"));
            self.failures.push(format!("node {node} has ended, and not by this command: {status}"));
        }
        self.fallen.len() < self.options.shape.nodes as usize
    }

    /// Sends what is due.
    fn offer(&mut self, begins_ms: u64) {
        let (Some(load), Some(client)) = (&mut self.load, &mut self.client) else { return };
        let now = unix_ms().saturating_sub(self.start_ms);
        let due = load.rates.due(now.saturating_sub(begins_ms)) as usize;
        if due <= self.sent {
            return;
        }
        let due_ms = |number: usize| begins_ms + load.rates.due_ms(number as u64);
        self.late_ms = self.late_ms.max(now.saturating_sub(due_ms(self.sent)));
        let mut cells = Vec::with_capacity(due - self.sent);
        for number in self.sent..due {
            let (cell, round) = load.turns.take(number as u64);
            cells.push(load.workload.cells[cell as usize]);
            self.fates.push(Fate { due_ms: due_ms(number), round, ..Fate::default() });
        }
        client.send(&cells, self.sent as u32, &mut self.turn);
        self.sent = due;
        assert_eq!(self.fates.len(), self.sent, "each transaction that was sent is followed");
    }

    /// Hands in again what nodes that are back have not answered: nobody else knows what became of it.
    fn hand_in_again(&mut self) {
        let (Some(load), Some(client)) = (&self.load, &mut self.client) else { return };
        for (node, mut numbers) in client.take_unanswered() {
            numbers.retain(|&number| !self.fates[number as usize].has_outcome());
            // A sender's in their order.
            numbers.sort_unstable();
            let cell = |&number: &u32| {
                let transaction = load.turns.transaction(number.into(), self.fates[number as usize].round);
                load.workload.cells[transaction as usize]
            };
            client.send_to(node, &numbers.iter().map(cell).collect::<Vec<_>>(), &numbers);
            numbers.iter().for_each(|&number| self.fates[number as usize].again = true);
            self.handed_in_again += numbers.len() as u64;
        }
    }

    /// What was handed in again, and refused since its sequence is used up, has become final while nobody could say so; so
    /// has what a node saw used up, and nobody has shown it by what:
    /// no other transaction of this load has that sequence. Asked of nodes, account by account.
    fn find_used(&mut self) {
        let Some(load) = &self.load else { return };
        let devnet = self.processes.devnet();
        let nodes = 0..self.options.shape.nodes;
        let api = |node: u32| format!("http://{}", devnet.api_address(node));
        let transport = Transport::new(nodes.clone().map(api).collect());
        let sequence = |key: &[u8; 32]| {
            let account = nodes.clone().find_map(|node| {
                let params = json!({ "key": hex::encode(key) });
                transport.ask::<Value>(node as usize, "account", &params, ANSWER_BYTES_MAX).ok()
            });
            account.and_then(|account| account["sequence"].as_u64())
        };
        for (number, fate) in (0..).zip(&mut self.fates) {
            let again = fate.again && fate.refusal == Some(Refusal::WrongSequence);
            if (again || fate.unproved) && fate.ended.is_none() {
                let cell = &load.workload.cells[load.turns.transaction(number, fate.round) as usize];
                fate.used = sequence(&cell.sender).is_some_and(|next| next > cell.sequence);
            }
        }
    }

    fn count(&self, of: impl Fn(&Fate) -> bool) -> u64 {
        self.fates.iter().filter(|fate| of(fate)).count() as u64
    }

    /// Refused transactions by reason.
    fn refused(&self) -> BTreeMap<String, u64> {
        let mut refused = BTreeMap::new();
        for refusal in self.fates.iter().filter(|fate| !fate.is_final()).filter_map(|fate| fate.refusal) {
            *refused.entry(refusal.name().to_owned()).or_insert(0) += 1;
        }
        refused
    }

    fn hear(&mut self) {
        let Some(client) = &mut self.client else { return };
        let ended = client.ended();
        let now = (unix_ms().saturating_sub(self.start_ms), Instant::now());
        for Ended { number, refusal, height, slot, shard, at } in ended {
            let Some(fate) = self.fates.get_mut(number as usize) else { continue };
            if refusal == UNPROVED {
                fate.unproved = true;
                continue;
            }
            if refusal != 0 {
                let known = fate.has_outcome();
                fate.refusal = fate.refusal.or(Refusal::from_number(refusal));
                if fate.is_busy() && !known {
                    self.load.iter_mut().for_each(|load| load.turns.give_back(u64::from(number), fate.round));
                }
                continue;
            }
            let at_ms = now.0 - (now.1 - at).as_millis() as u64;
            fate.ended.get_or_insert(FinalIn { height, slot, shard, at_ms });
        }
    }

    /// Asks all nodes.
    fn poll(&mut self) {
        for node in 0..self.options.shape.nodes {
            if let Ok(status) = self.processes.status(node, 64) {
                self.watched.see(node, status);
            }
        }
    }

    /// What became of a load and of that which came after it, if anything did.
    fn overload(&self) -> Option<Overload> {
        let rates = self.load.as_ref()?.rates;
        let (_, after_slots) = rates.then?;
        let slot = |fate: &Fate| fate.due_ms / self.slot_ms - self.first_slot;
        let of_load = |fate: &&Fate| slot(fate) < rates.slots;
        let load = || self.fates.iter().filter(of_load);
        // What became final in as many slots as it was offered for, from the second on.
        let (begin, end) = (self.first_slot + 1, self.first_slot + 1 + rates.slots);
        let final_in = |at_ms: u64| (begin..end).contains(&(at_ms / self.slot_ms));
        let finals = self.fates.iter().filter(|fate| fate.ended.is_some_and(|ended| final_in(ended.at_ms))).count();
        // What never became final waits for ever.
        let mut waits: Vec<u64> = load()
            .filter(|fate| !fate.is_busy())
            .map(|fate| fate.ended.map_or(u64::MAX, |ended| ended.at_ms.saturating_sub(fate.due_ms)))
            .collect();
        waits.sort_unstable();
        let p99_ms = waits.get((waits.len() * 99 / 100).min(waits.len().saturating_sub(1))).copied().unwrap_or(0);
        // From some slot on all is in time that was admitted.
        let of_slot = |number: u64| self.fates.iter().filter(move |fate| slot(fate) == number);
        let is_late = |number: &u64| {
            let busy = of_slot(*number).any(Fate::is_busy);
            busy || in_time_share(of_slot(*number), self.slot_ms) < IN_TIME
        };
        let last_late = (rates.slots..rates.slots + after_slots).rev().find(is_late);
        let recovered = last_late.map_or(0, |last| last + 1 - rates.slots);
        Some(Overload {
            tps: rates.tps,
            tps_final: finals as f64 * 1e3 / (rates.slots * self.slot_ms) as f64,
            in_time_share: in_time_share(load(), self.slot_ms),
            admitted: waits.len() as u64,
            busy: load().filter(|fate| fate.is_busy()).count() as u64,
            p99_ms: (p99_ms < u64::MAX).then_some(p99_ms),
            recovery_slots: (recovered < after_slots).then_some(recovered),
        })
    }

    fn latencies(&self, of: impl Fn(&Fate) -> bool) -> (Histogram<u64>, Histogram<u64>) {
        // Up to an hour, three digits.
        let new = || Histogram::<u64>::new_with_bounds(1, 3_600_000, 3).expect("bounds in order");
        let (mut shard_ms, mut master_ms) = (new(), new());
        let mut known: HashMap<(u64, u16), Option<u64>> = HashMap::new();
        for fate in self.fates.iter().filter(|fate| of(fate)) {
            let Some(FinalIn { height, shard, at_ms: at, .. }) = fate.ended else { continue };
            master_ms.saturating_record(at.saturating_sub(fate.due_ms));
            let certified =
                *known.entry((height, shard)).or_insert_with(|| self.watched.certified_ms(height, shard.into()));
            if let Some(certified) = certified {
                shard_ms.saturating_record(certified.saturating_sub(fate.due_ms));
            }
        }
        (shard_ms, master_ms)
    }

    fn row(&mut self, slot: u64) {
        assert_eq!(slot, self.first_slot + self.rows.len() as u64, "slots have their rows one by one");
        let found = self.watched.block_of(slot).map(|(height, seen)| (height, seen.clone()));
        let of_slot = |ms: u64| ms / self.slot_ms == slot;
        let offered = self.fates.iter().filter(|fate| of_slot(fate.due_ms)).count() as u64;
        let ended = |fate: &Fate| fate.ended.is_some_and(|ended| of_slot(ended.at_ms));
        let (shard_ms, master_ms) = self.latencies(ended);
        let final_after_ms = found
            .as_ref()
            .map_or(0, |(_, seen)| seen.median_final_ms().map_or(0, |ms| ms.saturating_sub(slot * self.slot_ms)));
        let sent = self.watched.sent();
        let sum: u64 = sent.iter().zip(&self.before.0).map(|(now, before)| now.saturating_sub(*before)).sum();
        let cpu = self.watched.cpu();
        let row = SlotRow {
            slot,
            height: found.as_ref().map(|found| found.0),
            shards: found.as_ref().map_or(0, |found| found.1.shards),
            transactions: found.as_ref().map_or(0, |found| found.1.transactions),
            payments: found.as_ref().map_or(0, |found| found.1.payments),
            offered,
            final_transactions: master_ms.len(),
            final_after_ms,
            shard_ms: shard_ms.value_at_quantile(0.5) as f64,
            master_ms: master_ms.value_at_quantile(0.5) as f64,
            sent_per_node: sum / u64::from(self.options.shape.nodes),
            cpu_share: (cpu - self.before.1) * 1e3 / self.slot_ms as f64 / machine::cores() as f64,
        };
        self.before = (sent, cpu);
        self.watcher.slot(&row);
        self.rows.push(row);
    }

    /// Lets the liar begin after one slot, and ends it when a third of the slots are left to become normal in.
    fn lie(&mut self, slot: u64, slots: u64) -> Result<(), RunError> {
        let (Some(options), passed) = (self.options.flood, slot - self.first_slot) else { return Ok(()) };
        if passed == 1 {
            self.flood = Some(Flood::start(self.processes.devnet(), options)?);
        } else if passed > slots - slots / 3
            && let Some(flood) = &self.flood
        {
            flood.hush();
        }
        Ok(())
    }

    /// Kills a node now and then, and starts it again a moment later.
    fn trouble(&mut self, slot: u64) {
        for (node, duties) in std::mem::take(&mut self.killed) {
            let status = self.watched.statuses[node as usize].as_ref();
            match duties {
                None => {
                    if let Err(error) = self.processes.start(node, &[]) {
                        self.failures.push(error.to_string());
                    }
                    self.killed.push((node, Some(slot)));
                }
                Some(since)
                    if status.is_some_and(|status| status.duties > 0 && self.processes.runs(node)) && slot > since =>
                {
                    self.minted_again += 1
                }
                Some(since) => self.killed.push((node, Some(since))),
            }
        }
        let Some(every) = self.options.kill_every else { return };
        let passed = slot - self.first_slot;
        // The last ones need slots to come back in.
        let rest =
            self.options.duration_ms.map_or(u64::MAX, |duration| (duration / self.slot_ms).saturating_sub(passed));
        if passed > 0 && passed.is_multiple_of(every) && rest >= every {
            let node = (self.kills % u64::from(self.options.shape.nodes)) as u32;
            self.watched.forget(node);
            self.processes.kill(node);
            self.kills += 1;
            self.killed.push((node, None));
        }
    }

    fn finish(mut self) -> DevnetReport {
        self.hear();
        self.poll();
        self.notice_ends();
        let (state_roots_equal, compared_height) = self.compare_roots();
        let supply_conserved = self.count_supply(compared_height);
        let slots_lost = self.rows.iter().filter(|row| row.height.is_none()).count() as u64;
        let slots_final = self.rows.len() as u64 - slots_lost;
        let offered = self.fates.len() as u64;
        self.find_used();
        let (finals, heard) = (self.count(Fate::is_final), self.count(|fate| fate.ended.is_some()));
        let (shard_ms, master_ms) = self.latencies(|_| true);
        assert_eq!(master_ms.len(), heard, "each final transaction that was heard of has its latency");
        assert!(finals <= offered && shard_ms.len() <= finals, "more is final than was offered");
        let first_due = self.fates.first().map_or(0, |fate| fate.due_ms);
        // Of a load that was stopped, for as long as it was offered.
        let until_now = if self.stopped() { self.now_ms().saturating_sub(first_due) as f64 / 1e3 } else { f64::MAX };
        let seconds = self.load.as_ref().map_or(1.0, |load| load.rates.seconds().min(until_now));
        let in_time = self.in_time();
        let last_final = self.fates.iter().filter_map(|fate| fate.ended.map(|ended| ended.at_ms)).max().unwrap_or(0);
        let span = (last_final.saturating_sub(first_due) as f64 / 1e3).max(seconds);
        let bytes = self.watched.bytes();
        let per_tx = |now: u64, first: u64| {
            now.saturating_sub(first) as f64 / finals.max(1) as f64 / f64::from(self.options.shape.nodes)
        };
        let failures = self.judge(slots_final, slots_lost, (state_roots_equal, supply_conserved), in_time);
        let rss_bytes = self.watched.statuses.iter().map(|status| status.as_ref().map_or(0, |status| status.rss_bytes));
        let verified = self.watched.statuses.iter().flatten().map(|status| status.verified).sum();
        let verify_s = self.watched.statuses.iter().flatten().fold(0.0, |sum, status| sum + status.verify_s);
        let mut report = DevnetReport {
            verified,
            verify_s,
            nodes: self.options.shape.nodes,
            shards: self.watched.statuses.iter().flatten().map(|status| status.shards as u32).max().unwrap_or(0),
            slot_ms: self.slot_ms,
            mode: if self.options.shape.quilt { "quilt" } else { "blockchain" }.into(),
            link: self.options.shape.link.clone(),
            slots_final,
            slots_lost,
            payments: self.rows.iter().map(|row| row.payments).sum(),
            records: self.rows.iter().map(SlotRow::records).sum(),
            is_judged: self.options.duration_ms.is_some(),
            tps_offered: offered as f64 / seconds.max(1e-9) * f64::from(u8::from(offered > 0)),
            tps_final: if offered > 0 { finals as f64 / span } else { 0.0 },
            offered,
            final_transactions: finals,
            refused: self.refused(),
            handed_in_again: self.handed_in_again,
            used: self.count(|fate| fate.used && fate.again),
            unproved: self.count(|fate| fate.unproved),
            without_outcome: self.count(|fate| !fate.has_outcome()),
            busy: self.count(Fate::is_busy),
            included_next_slot_share: in_time,
            overload: self.overload(),
            finality_ms: FinalityMs { shard: Percentiles::of(&shard_ms), master: Percentiles::of(&master_ms) },
            bytes_per_tx_sent: per_tx(bytes.0, self.first_bytes.0),
            bytes_per_tx_received: per_tx(bytes.1, self.first_bytes.1),
            cpu_s: self.watched.cpu_of_nodes().collect(),
            rss_bytes: rss_bytes.collect(),
            state_roots_equal,
            compared_height,
            supply_conserved,
            kills: self.kills,
            minted_again: self.minted_again,
            generator_late_ms: self.late_ms,
            flood: self.flood.take().map(Flood::stop),
            slots: self.rows.clone(),
            failures,
        };
        self.client = None;
        if self.stop.is_down() {
            self.watcher.say("stopped by `devnet down`");
        }
        self.watcher.say("stopping the nodes");
        let stuck = self.processes.stop_all();
        // One that had not come up yet had no order to stop in.
        if stuck > 0 && self.ready {
            report.failures.push(format!("{} did not stop in order", counted(stuck as u64, "node")));
        }
        report
    }

    /// Every promise that was broken.
    fn judge(
        &mut self,
        slots_final: u64,
        slots_lost: u64,
        (roots_equal, supply_conserved): (Option<bool>, Option<bool>),
        in_time: f64,
    ) -> Vec<String> {
        let mut failures = std::mem::take(&mut self.failures);
        let mut fail = |failed: bool, why: &dyn Fn() -> String| failures.extend(failed.then(why));
        // What nobody could ask is nothing against it.
        fail(roots_equal == Some(false), &|| "state roots differ".into());
        fail(supply_conserved == Some(false), &|| "supply is not conserved".into());
        // Who only watches has asked for no judgement.
        if self.options.duration_ms.is_none() {
            return failures;
        }
        // Whoever kills nodes or lets somebody lie asks what is lost by that, not how soon the rest is final.
        let undisturbed = self.options.kill_every.is_none() && self.options.flood.is_none();
        fail(undisturbed && in_time < IN_TIME, &|| {
            let (is, least) = (in_time * 100.0, IN_TIME * 100.0);
            let stands = |fate: &Fate| fate.stands_in_time(self.slot_ms) && !fate.is_in_time(self.slot_ms);
            let later = |fate: &Fate| fate.ended.is_some() && !fate.stands_in_time(self.slot_ms);
            format!(
                "{is:.3} % of what was admitted is in its slot or the next and known by then, less than {least:.1} %: {} \
                 stood there in time and were heard of later, {} stood in a later block",
                grouped(self.count(stands)),
                grouped(self.count(later)),
            )
        });
        fail(slots_lost > 0, &|| format!("{} lost", counted(slots_lost, "slot")));
        if self.stopped() {
            return failures;
        }
        // After the last slots of the load all has become final or was refused, or somebody has forgotten it.
        let forgotten = self.count(|fate| !fate.has_outcome());
        fail(forgotten > 0, &|| format!("{} without an outcome", counted(forgotten, "transaction")));
        fail(roots_equal.is_none(), &|| "state roots could not be compared: not every node answers".into());
        fail(supply_conserved.is_none(), &|| "the supply could not be counted: not every node answers".into());
        fail(slots_final == 0, &|| "no slot was watched to its end".into());
        failures
    }

    /// The part of what was admitted that was in time. Of a run that was stopped what is too young for that is left out.
    fn in_time(&self) -> f64 {
        let until = if self.stopped() { self.slot().saturating_sub(2) } else { u64::MAX };
        let old_enough = |fate: &&Fate| fate.due_ms / self.slot_ms <= until;
        in_time_share(self.fates.iter().filter(old_enough), self.slot_ms)
    }

    /// Whether all nodes that run say that no unit was made or lost; none if not all could be asked.
    fn count_supply(&self, height: u64) -> Option<bool> {
        if height == 0 {
            return None;
        }
        let audits: Vec<_> = (0..self.options.shape.nodes).filter_map(|node| self.processes.audit(node).ok()).collect();
        let conserved = audits.iter().all(|audit| audit.conserved);
        let all = !audits.is_empty() && audits.len() + self.fallen.len() >= self.options.shape.nodes as usize;
        (all || !conserved).then_some(conserved)
    }

    /// Compares all nodes at the newest height that every one of them has.
    fn compare_roots(&mut self) -> Agreement {
        let end = Instant::now() + Duration::from_millis(2 * self.slot_ms + 2_000);
        loop {
            self.poll();
            let expected = (self.options.shape.nodes as usize).saturating_sub(self.fallen.len());
            let found = self.watched.agreement(expected);
            // Who stops it before anything was final does not wait for that.
            let hurry = expected == 0 || found.1 == 0 && self.stopped();
            if found.0.is_some() || hurry || Instant::now() > end {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
