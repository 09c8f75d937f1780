//! Samples of where the processors are: a timer of processor time interrupts whoever runs, and the handler keeps the
//! addresses that its stack shows. Each sample is kept by itself: what is at its addresses is found out afterwards.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Samples a second of processor time, prime, so that they do not beat with anything periodic; fewer where the system's
/// clock ticks less often.
const FREQUENCY: u32 = 997;
/// Addresses of a sample at most; what lies further out is cut.
const DEPTH_MAX: usize = 96;
/// Words for all samples, 128 MiB that the system gives as they are used: some ten minutes of a busy core.
const WORDS: usize = 1 << 24;
/// Words of a thread's name.
const NAME_WORDS: usize = 16 / size_of::<usize>();
/// How long a handler that has begun may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Where a thread was.
pub(crate) struct Sample {
    /// The thread's name.
    pub(crate) thread: String,
    /// Addresses, the innermost first: that of the next instruction, then those to return to.
    pub(crate) addresses: Vec<usize>,
}

/// What handlers write: each takes its room by one addition, and its first word last.
struct Room {
    words: Box<[AtomicUsize]>,
    next: AtomicUsize,
    lost: AtomicUsize,
    inside: AtomicUsize,
    /// Code from which no stack is walked: that of the walk itself, and of the loader, which may hold its locks.
    closed: Vec<(usize, usize)>,
}

static ROOM: OnceLock<Room> = OnceLock::new();
static RUNS: AtomicBool = AtomicBool::new(false);

/// The address that a signal has interrupted.
///
/// # Safety
/// `context` is what the system gave a handler.
unsafe fn interrupted(context: *mut libc::c_void) -> usize {
    // SAFETY: the system hands a handler with SA_SIGINFO a context of this type.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    return context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.pc as usize;
}

/// Only what a handler may call is called here: nothing that allocates or waits.
extern "C" fn on_tick(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(room) = ROOM.get() else { return };
    room.inside.fetch_add(1, Ordering::SeqCst);
    if RUNS.load(Ordering::SeqCst) {
        // SAFETY: each thread has its own errno; this one's is put back.
        let errno = unsafe { *libc::__errno_location() };
        // SAFETY: the system has given it.
        room.keep(unsafe { interrupted(context) });
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
    }
    room.inside.fetch_sub(1, Ordering::SeqCst);
}

impl Room {
    fn keep(&self, at: usize) {
        let (mut addresses, mut depth) = ([0; DEPTH_MAX], 0);
        if !self.closed.iter().any(|&(from, to)| (from..to).contains(&at)) {
            let each = |frame: &backtrace::Frame| {
                let address = frame.ip() as usize;
                // Below the first function of a thread there is nothing to return to.
                if address == 0 {
                    return false;
                }
                // The handler's own frames come first.
                if depth > 0 || address == at {
                    addresses[depth] = address;
                    depth += 1;
                }
                depth < DEPTH_MAX
            };
            // SAFETY: nothing else here uses the library while samples are taken; the walk itself takes no lock of its.
            unsafe { backtrace::trace_unsynchronized(each) };
        }
        if depth == 0 {
            (addresses[0], depth) = (at, 1);
        }
        let begin = self.next.fetch_add(1 + NAME_WORDS + depth, Ordering::Relaxed);
        let Some(words) = self.words.get(begin..begin + 1 + NAME_WORDS + depth) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut name = [0usize; NAME_WORDS];
        // SAFETY: the name of a thread has sixteen bytes at most, the zero at its end among them.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        for (word, value) in words[1..].iter().zip(name.iter().chain(&addresses[..depth])) {
            word.store(*value, Ordering::Relaxed);
        }
        words[0].store(depth, Ordering::Release);
    }

    /// All samples that are there.
    fn samples(&self) -> Vec<Sample> {
        let (mut samples, mut at) = (Vec::new(), 0);
        while let Some(depth) = self.words.get(at).map(|word| word.load(Ordering::Acquire)).filter(|&depth| depth > 0) {
            let words: Vec<usize> =
                self.words[at + 1..][..NAME_WORDS + depth].iter().map(|word| word.load(Ordering::Relaxed)).collect();
            let name: Vec<u8> = words[..NAME_WORDS].iter().flat_map(|word| word.to_ne_bytes()).collect();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            let thread = String::from_utf8_lossy(name).into_owned();
            samples.push(Sample { thread, addresses: words[NAME_WORDS..].to_vec() });
            at += 1 + NAME_WORDS + depth;
        }
        samples
    }
}

/// Code of files whose names say that they walk stacks or load others.
fn closed() -> Vec<(usize, usize)> {
    let maps = super::symbols::mapped_code();
    let is_closed = |file: &str| ["libgcc", "ld-linux", "ld-musl"].iter().any(|name| file.contains(name));
    maps.into_iter().filter(|map| is_closed(&map.file)).map(|map| (map.from, map.to)).collect()
}

/// A timer that ticks after so much processor time of all threads; none for zero.
fn tick(every: Duration) -> io::Result<()> {
    let every = libc::timeval { tv_sec: 0, tv_usec: every.as_micros() as libc::suseconds_t };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: it only reads what it is given.
    match unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Samples being taken; one at a time in a process.
pub(crate) struct Sampler(());

impl Sampler {
    /// Starts the timer.
    ///
    /// # Errors
    /// When samples are being taken already, or the system refuses.
    pub(crate) fn start() -> io::Result<Sampler> {
        let room = ROOM.get_or_init(|| Room {
            // SAFETY: zero is a value of it.
            words: unsafe { Box::new_zeroed_slice(WORDS).assume_init() },
            next: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            closed: closed(),
        });
        if RUNS.swap(true, Ordering::SeqCst) {
            return Err(io::Error::other("another profile is under way in this process"));
        }
        let sampler = Sampler(());
        room.clear();
        // What the walk needs for its first time it gets now, outside of a handler.
        backtrace::trace(|_| true);
        // SAFETY: all of it is plain numbers.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_tick as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the handler does what handlers may; it stays for good, since a tick may be on its way.
        if unsafe { libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        tick(Duration::from_secs(1) / FREQUENCY)?;
        Ok(sampler)
    }

    /// Stops the timer: the samples, and how many found no room.
    pub(crate) fn finish(self) -> (Vec<Sample>, usize) {
        drop(self);
        let room = ROOM.get().expect("made when it started");
        (room.samples(), room.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // The timer of a process can be stopped; a tick that comes nevertheless finds nothing to do.
        let _ = tick(Duration::ZERO);
        RUNS.store(false, Ordering::SeqCst);
        let begun = Instant::now();
        while ROOM.get().is_some_and(|room| room.inside.load(Ordering::SeqCst) > 0) && begun.elapsed() < GRACE {
            std::thread::yield_now();
        }
    }
}

impl Room {
    fn clear(&self) {
        let used = self.next.swap(0, Ordering::SeqCst).min(WORDS);
        self.words[..used].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.lost.store(0, Ordering::Relaxed);
    }
}
