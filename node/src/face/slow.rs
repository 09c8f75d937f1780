//! A thread for what takes long: reading blocks, writing out tables. It is nice, so that it takes no processor from
//! consensus, and does one thing at a time.
//!
//! Whoever asks has a row of its own, and rows are served in turn: of n who ask without end each has an n-th part, and
//! whoever asks once waits for no more than one errand of each of the others. What a wallet needs to be sure that it was
//! paid comes before what people look at.

use crate::intake::shares::Holder;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use tokio::sync::oneshot;

/// How far it stands behind all other threads.
const NICENESS: i32 = 10;

const UNPOISONED: &str = "nothing panics while it holds the rows";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// A table or certificates are written out.
    Table,
    /// A transaction is proved: before others of its thread.
    Proof,
    /// Blocks are looked through.
    Blocks,
}

struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Whoever has asked is not there any more.
    gone: Arc<AtomicBool>,
}

/// Rows of one rank.
#[derive(Default)]
struct Rows {
    rows: HashMap<Holder, VecDeque<Job>>,
    turns: VecDeque<Holder>,
}

impl Rows {
    fn push(&mut self, whose: Holder, job: Job) {
        let whose = whose.wide();
        let row = self.rows.entry(whose).or_default();
        if row.is_empty() {
            self.turns.push_back(whose);
        }
        row.push_back(job);
        assert_eq!(self.rows.len(), self.turns.len(), "each row has one turn");
    }

    /// The next of whoever's turn it is, which then is the last.
    fn pop(&mut self) -> Option<Job> {
        let whose = self.turns.pop_front()?;
        let row = self.rows.get_mut(&whose).expect("who has a turn has a row");
        let job = row.pop_front().expect("no row is empty");
        if row.is_empty() {
            self.rows.remove(&whose);
        } else {
            self.turns.push_back(whose);
        }
        Some(job)
    }

    fn len(&self) -> usize {
        self.rows.values().map(VecDeque::len).sum()
    }

    /// Forgets what nobody waits for.
    fn forget_gone(&mut self) {
        self.rows.retain(|_, row| {
            row.retain(|job| !job.gone.load(Ordering::Relaxed));
            !row.is_empty()
        });
        let rows = &self.rows;
        self.turns.retain(|whose| rows.contains_key(whose));
        assert_eq!(self.rows.len(), self.turns.len(), "each row has one turn");
    }
}

#[derive(Default)]
struct Waiting {
    proofs: Rows,
    others: Rows,
    ended: bool,
}

#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

impl Desk {
    /// Does one after the other until nobody is left who could ask.
    fn serve(&self) {
        loop {
            let mut waiting = self.waiting.lock().expect(UNPOISONED);
            let job = loop {
                if waiting.ended {
                    return;
                }
                if let Some(job) = waiting.proofs.pop().or_else(|| waiting.others.pop()) {
                    break job;
                }
                waiting = self.filled.wait(waiting).expect(UNPOISONED);
            };
            drop(waiting);
            if !job.gone.load(Ordering::Relaxed) {
                (job.work)();
            }
        }
    }
}

/// The thread, to whoever gives it something to do.
pub(super) struct Slow {
    desk: Arc<Desk>,
    waiting_max: usize,
}

/// Too much waits already.
#[derive(Debug)]
pub(super) struct Busy;

/// One that waits, until it is answered or gives up.
struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Slow {
    /// Starts a thread of this name; so much may wait for it. A connection asks one thing at a time, so that as many
    /// places as there are connections are enough for all.
    pub(super) fn start(name: &str, waiting_max: usize) -> io::Result<Slow> {
        let desk: Arc<Desk> = Arc::default();
        let served = desk.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // Without it the thread is as any other.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
            served.serve();
        })?;
        Ok(Slow { desk, waiting_max })
    }

    /// Has something done for somebody. Whoever goes away before its turn has it not done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        whose: Holder,
        errand: Errand,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (tell, told) = oneshot::channel();
        let waits = Waits(Arc::default());
        let job = Job {
            work: Box::new(move || {
                // It may have gone meanwhile.
                let _ = tell.send(work());
            }),
            gone: waits.0.clone(),
        };
        {
            let mut waiting = self.desk.waiting.lock().expect(UNPOISONED);
            if waiting.proofs.len() + waiting.others.len() >= self.waiting_max {
                waiting.proofs.forget_gone();
                waiting.others.forget_gone();
            }
            let count = waiting.proofs.len() + waiting.others.len();
            assert!(count <= self.waiting_max, "{count} wait of {}", self.waiting_max);
            if count >= self.waiting_max {
                return Err(Busy);
            }
            let rows = if errand == Errand::Proof { &mut waiting.proofs } else { &mut waiting.others };
            rows.push(whose, job);
        }
        self.desk.filled.notify_one();
        let answered = told.await;
        drop(waits);
        // A thread that has ended does nothing any more.
        answered.map_err(|_| Busy)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.desk.waiting.lock().expect(UNPOISONED).ended = true;
        self.desk.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynemix_net::mesh::Net;
    use std::sync::mpsc::{Sender, channel};

    fn job(done: &Sender<u64>, number: u64) -> Job {
        let done = done.clone();
        Job { work: Box::new(move || done.send(number).unwrap()), gone: Arc::default() }
    }

    #[test]
    fn who_asks_without_end_is_served_in_turn_with_who_asks_once() {
        let (done, order) = channel();
        let mut rows = Rows::default();
        (0..40).for_each(|number| rows.push(Holder::of(Net::Loopback, 1), job(&done, 100 + number)));
        rows.push(Holder::of(Net::Loopback, 2), job(&done, 2));
        // Whoever comes again when it was served stands behind whoever waits.
        for _ in 0..3 {
            (rows.pop().unwrap().work)();
            rows.push(Holder::of(Net::Loopback, 1), job(&done, 1));
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [100, 2, 101]);
        rows.rows.values().flatten().for_each(|job| job.gone.store(true, Ordering::Relaxed));
        rows.push(Holder::of(Net::Loopback, 3), job(&done, 3));
        rows.forget_gone();
        assert_eq!(rows.len(), 1);
        (rows.pop().unwrap().work)();
        assert!(order.try_iter().eq([3]) && rows.pop().is_none());
    }
}
