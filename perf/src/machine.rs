//! The machine and the process, as reports name them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The CPU's name and the clock it claims to run at.
pub fn cpu_model() -> String {
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".into());
    match field("/proc/cpuinfo", "cpu MHz") {
        Some(mhz) => format!("{model}, {mhz} MHz"),
        None => model,
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The largest resident set of this process so far, in bytes; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    let kilobytes =
        field("/proc/self/status", "VmHWM").and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Memory of this process that is resident, in bytes; 0 where the system does not tell.
pub fn rss_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * rustix::param::page_size() as u64
}

/// CPU time that this process has used, user and system, all threads.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a thread has had of the processors since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// How long it ran.
    pub busy: Duration,
    /// How long it could have run, and others did.
    pub queued: Duration,
}

/// The threads of this process now, by name; those of one name together. Empty where the system does not tell.
pub fn thread_times() -> BTreeMap<String, ThreadTime> {
    let mut times = BTreeMap::<String, ThreadTime>::new();
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return times };
    for thread in threads.flatten() {
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).ok();
        // A thread may end while it is looked at.
        let Some((name, scheduled)) = read("comm").zip(read("schedstat")) else { continue };
        let mut numbers = scheduled.split_whitespace().map_while(|number| number.parse().ok());
        let Some((busy, queued)) = numbers.next().zip(numbers.next()) else { continue };
        let time = times.entry(name.trim().to_owned()).or_default();
        time.busy += Duration::from_nanos(busy);
        time.queued += Duration::from_nanos(queued);
    }
    times
}
