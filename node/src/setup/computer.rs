//! This computer's own clock, where no time servers are asked: it jumps when somebody sets it, or when the computer was
//! asleep, while ours goes on as if nothing were. It is followed (see [`Clock::looked_at_system`]).

use super::clock::Clock;
use super::discipline::{Discipline, Followed};
use std::io;
use std::thread;
use std::time::Duration;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at it now and then, on a thread of its own.
///
/// # Errors
/// When there can be no thread.
pub fn watch(clock: Clock, discipline: Discipline) -> io::Result<()> {
    thread::Builder::new().name("computer-clock".into()).spawn(move || {
        loop {
            thread::sleep(EVERY);
            match clock.looked_at_system(&discipline) {
                Some(Followed::Step(step, true)) => {
                    tracing::warn!("the computer's clock has jumped, and this node's is set by {step} ms to follow it");
                }
                Some(Followed::Step(step, false)) => {
                    tracing::error!(
                        "the computer's clock has jumped, and this node's is set by {step} ms to follow it, but the \
                         chain is at another slot: nothing is minted until they agree. Set the computer's \
                         clock right, or have clock.source = \"sntp\""
                    );
                }
                Some(Followed::TooFar | Followed::AgainstTheNetwork) => {
                    tracing::error!(
                        "the committee says that it is another slot than this clock and the computer's say: nothing is \
                         minted until they agree. Set the computer's clock right, or have clock.source = \"sntp\""
                    );
                }
                None => {}
            }
        }
    })?;
    Ok(())
}
