//! This computer's own clock, where no time servers are asked: it jumps when somebody sets it, or when the computer was
//! asleep, while ours goes on as if nothing were.

use super::clock::Clock;
use super::discipline::{Discipline, Followed};
use std::io;
use std::thread;
use std::time::Duration;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(4);

/// Looks at it now and then, on a thread of its own.
///
/// # Errors
/// When there can be no thread.
pub fn watch(clock: Clock, discipline: Discipline) -> io::Result<()> {
    thread::Builder::new().name("computer-clock".into()).spawn(move || {
        loop {
            thread::sleep(EVERY);
            match clock.looked_at_system(&discipline) {
                Some(Followed::Step(step, _)) => {
                    tracing::warn!(
                        "the clock was {step} ms behind the computer's, which is with the network: it is set"
                    );
                }
                Some(Followed::TooFar | Followed::AgainstTheNetwork) => {
                    tracing::error!("the committee says another slot than this clock and the computer's say");
                }
                None => {}
            }
        }
    })?;
    Ok(())
}
