//! How far the clock is off, from several time servers: each is asked, the median counts if most agree.

use super::clock::Clock;
use super::discipline::{Discipline, Followed, agreed};
use rsntp::{Config, SntpClient};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// When servers are asked again while the clock is not good.
const SOON: Duration = Duration::from_secs(16);
/// How often it is looked whether somebody has set the computer's clock, or the computer was asleep.
const LOOK: Duration = Duration::from_secs(4);

/// Milliseconds that the computer's clock is off by one server.
fn ask(server: &str) -> Option<i64> {
    let client = SntpClient::with_config(Config::default().timeout(PATIENCE));
    let offset = client.synchronize(server).ok()?.clock_offset().as_secs_f64();
    Some((offset * 1e3) as i64)
}

/// Offsets by server; none where one does not answer.
pub fn ask_all(servers: &[String]) -> Vec<(String, Option<i64>)> {
    let asked: Vec<_> = servers
        .iter()
        .map(|server| {
            let server = server.clone();
            thread::spawn(move || (ask(&server), server))
        })
        .collect();
    asked.into_iter().filter_map(|thread| thread.join().ok()).map(|(offset, server)| (server, offset)).collect()
}

/// Measures now and then, on a thread of its own.
///
/// # Errors
/// When there can be no thread.
pub fn follow(clock: Clock, servers: Vec<String>, every: Duration, discipline: Discipline) -> io::Result<()> {
    thread::Builder::new().name("sntp".into()).spawn(move || {
        let mut failures = 0;
        loop {
            let (begun, apart_ms) = (Instant::now(), clock.system_apart_ms());
            let answers = ask_all(&servers);
            let mut offsets: Vec<i64> = answers.iter().filter_map(|answer| answer.1).collect();
            let offset = agreed(&mut offsets, servers.len(), discipline.bound_ms);
            tracing::debug!(?answers, ?offset, "time servers");
            match offset {
                Some(_) => failures = 0,
                None => failures += 1,
            }
            // A network that is down for a moment is no reason to stop; a clock that nobody has confirmed for long is.
            if offset.is_some() || failures >= 3 || !clock.is_trusted() {
                let before = clock.is_trusted();
                match clock.measured(offset, &discipline) {
                    Some(Followed::TooFar) => tracing::error!(
                        "most time servers say that this clock, which the network has confirmed, is off by more than \
                         two slots, and the network is not heard: it is left, and this node follows until it is, or \
                         has not been for 64 slots"
                    ),
                    Some(Followed::AgainstTheNetwork) => tracing::error!(
                        "most time servers say that it is another slot than the committee says: the clock is left, and \
                         this node follows"
                    ),
                    Some(Followed::Step(..)) | None => {}
                }
                match (before, clock.is_trusted()) {
                    (true, false) => {
                        tracing::error!("the clock is not good enough to mint by: this node follows until it is")
                    }
                    (false, true) => tracing::info!("the clock is good: offset {} ms", clock.offset_ms()),
                    (false, false) => tracing::warn!("too few time servers agree; this node does not mint"),
                    (true, true) => {}
                }
            }
            // The network, or a computer that was asleep, makes a good clock a doubtful one between.
            loop {
                thread::sleep(LOOK);
                let jumped_ms = clock.system_apart_ms().saturating_sub(apart_ms);
                let patience = if clock.is_trusted() { every } else { SOON };
                if jumped_ms.saturating_abs() > discipline.bound_ms {
                    tracing::warn!(
                        "the computer's clock has jumped by {jumped_ms} ms, or the computer was asleep: time servers are \
                         asked"
                    );
                    break;
                }
                if begun.elapsed() >= patience {
                    break;
                }
            }
        }
    })?;
    Ok(())
}
