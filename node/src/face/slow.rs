//! A thread for what takes long: reading blocks, writing out tables. It is nice, so that it takes no processor from
//! consensus, does one thing at a time, and lets no more wait than it can soon do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use tokio::sync::oneshot;

/// How far it stands behind all other threads.
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// The thread, to whoever gives it something to do.
pub(super) struct Slow {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

/// Too much waits already.
pub(super) struct Busy;

/// One that waits; counted until it is done or given up.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        let waited = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(waited > 0, "what waits is counted");
    }
}

impl Slow {
    /// Starts a thread of this name; so much may wait for it.
    pub(super) fn start(name: &str, waiting_max: usize) -> io::Result<Slow> {
        let (jobs, jobs_in) = channel::<Job>();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // Without it the thread is as any other.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
            jobs_in.into_iter().for_each(|job| job());
        })?;
        Ok(Slow { jobs, waiting: Arc::default(), waiting_max })
    }

    /// Has something done. Whoever goes away before its turn has it not done.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let waits = Waits(self.waiting.clone());
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            return Err(Busy);
        }
        let (tell, told) = oneshot::channel();
        let job = move || {
            let waits = waits;
            if !tell.is_closed() {
                // It has gone meanwhile.
                let _ = tell.send(work());
            }
            drop(waits);
        };
        // A thread that has ended does nothing any more.
        self.jobs.send(Box::new(job)).map_err(|_| Busy)?;
        told.await.map_err(|_| Busy)
    }
}
